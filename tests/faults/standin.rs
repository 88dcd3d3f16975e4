//! A stand-in for the PC/SC library, linked into this test before the real one.
//!
//! The test executable defines the SCard functions itself, so the library's calls arrive here. Each
//! is forwarded to the real function, unless [`inject`] has armed a fault. The FFI boundary is the
//! real one, with the same symbols and types, but with values that no service has ever returned.
#![allow(unsafe_code, non_snake_case, clippy::undocumented_unsafe_blocks)]
#![allow(
    unreachable_pub,
    clippy::missing_safety_doc,
    clippy::multiple_unsafe_ops_per_block
)]

use std::ffi::{CStr, CString, c_char, c_void};
use std::sync::{LazyLock, Mutex, PoisonError};

use libloading::Library;
use pcsc::ffi::{DWORD, LONG, SCARD_IO_REQUEST, SCARD_READERSTATE, SCARDCONTEXT, SCARDHANDLE};

const UNKNOWN_READER: LONG = 0x8010_0009_u32 as LONG;

/// What the next call of a function does, or every call.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// The C function, such as `SCardTransmit`.
    pub function: &'static str,
    /// What it returns.
    pub returned: LONG,
    /// Whether every call does so until [`disarm`].
    pub lasts: bool,
    /// Whether the real function is called before, so that the call has its effect.
    pub after_the_call: bool,
    /// Overwrites every returned length.
    pub length: Option<DWORD>,
    /// Overwrites the returned protocol.
    pub protocol: Option<DWORD>,
    /// Overwrites the returned state.
    pub state: Option<DWORD>,
}

static NEXT: Mutex<Option<Fault>> = Mutex::new(None);

/// Arms a fault for the next call of its function, or for all that follow.
pub fn inject(fault: Fault) {
    *NEXT.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
}

/// Whether the fault is still waiting for its call.
pub fn disarm() -> bool {
    let mut next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
    next.take().is_some()
}

fn take(function: &str) -> Option<Fault> {
    let mut next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
    match *next {
        Some(fault) if fault.function == function && fault.lasts => *next,
        _ => next.take_if(|fault| fault.function == function),
    }
}

/// A reader that is listed, but unknown when its state is queried.
static PHANTOM: Mutex<Option<CString>> = Mutex::new(None);

/// Makes this reader unknown, or all of them known.
pub fn forget(reader: Option<&CStr>) {
    let mut phantom = PHANTOM.lock().unwrap_or_else(PoisonError::into_inner);
    *phantom = reader.map(CStr::to_owned);
}

unsafe fn asks_for_phantom(states: *const SCARD_READERSTATE, count: DWORD) -> bool {
    let phantom = PHANTOM.lock().unwrap_or_else(PoisonError::into_inner);
    (0..count as usize).any(|i| {
        let name = unsafe { CStr::from_ptr((*states.add(i)).szReader) };
        phantom.as_deref() == Some(name)
    })
}

static REAL: LazyLock<Library> = LazyLock::new(|| {
    // SAFETY: every PC/SC program runs the real library's initializers.
    unsafe { Library::new("libpcsclite.so.1") }.expect("libpcsclite.so.1")
});

/// Overwrites an output, if there is a value and the pointer is not null.
unsafe fn overwrite(output: *mut DWORD, value: Option<DWORD>) {
    if let Some(value) = value {
        if !output.is_null() {
            unsafe { output.write(value) };
        }
    }
}

macro_rules! stand_in {
    ($(
        fn $name:ident($($argument:ident: $type:ty),* $(,)?)
            $(lengths($($length:ident),*))? $(protocol($protocol:ident))? $(state($state:ident))?;
    )+) => {
        $(
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $name($($argument: $type),*) -> LONG {
                let fault = take(stringify!($name));
                let answer = if fault.is_none_or(|fault| fault.after_the_call) {
                    let real = unsafe {
                        REAL.get::<unsafe extern "C" fn($($type),*) -> LONG>(
                            concat!(stringify!($name), "\0").as_bytes(),
                        )
                    }
                    .expect(stringify!($name));
                    unsafe { real($($argument),*) }
                } else {
                    0
                };
                let Some(fault) = fault else { return answer };
                $($( unsafe { overwrite($length, fault.length) }; )*)?
                $( unsafe { overwrite($protocol, fault.protocol) }; )?
                $( unsafe { overwrite($state, fault.state) }; )?
                fault.returned
            }
        )+
    };
}

stand_in! {
    fn SCardEstablishContext(
        scope: DWORD, reserved1: *const c_void, reserved2: *const c_void,
        context: *mut SCARDCONTEXT,
    );
    fn SCardReleaseContext(context: SCARDCONTEXT);
    fn SCardIsValidContext(context: SCARDCONTEXT);
    fn SCardListReaders(
        context: SCARDCONTEXT, groups: *const c_char, readers: *mut c_char, len: *mut DWORD,
    ) lengths(len);
    fn SCardListReaderGroups(
        context: SCARDCONTEXT, groups: *mut c_char, len: *mut DWORD,
    ) lengths(len);
    fn SCardConnect(
        context: SCARDCONTEXT, reader: *const c_char, share_mode: DWORD, protocols: DWORD,
        card: *mut SCARDHANDLE, protocol: *mut DWORD,
    ) protocol(protocol);
    fn SCardReconnect(
        card: SCARDHANDLE, share_mode: DWORD, protocols: DWORD, initialization: DWORD,
        protocol: *mut DWORD,
    ) protocol(protocol);
    fn SCardDisconnect(card: SCARDHANDLE, disposition: DWORD);
    fn SCardBeginTransaction(card: SCARDHANDLE);
    fn SCardEndTransaction(card: SCARDHANDLE, disposition: DWORD);
    fn SCardStatus(
        card: SCARDHANDLE, reader: *mut c_char, reader_len: *mut DWORD, state: *mut DWORD,
        protocol: *mut DWORD, atr: *mut u8, atr_len: *mut DWORD,
    ) lengths(reader_len, atr_len) protocol(protocol) state(state);
    fn SCardTransmit(
        card: SCARDHANDLE, send_pci: *const SCARD_IO_REQUEST, command: *const u8,
        command_len: DWORD, receive_pci: *mut SCARD_IO_REQUEST, answer: *mut u8,
        answer_len: *mut DWORD,
    ) lengths(answer_len);
    fn SCardControl(
        card: SCARDHANDLE, code: DWORD, input: *const u8, input_len: DWORD, output: *mut u8,
        output_capacity: DWORD, output_len: *mut DWORD,
    ) lengths(output_len);
    fn SCardGetAttrib(
        card: SCARDHANDLE, id: DWORD, value: *mut u8, len: *mut DWORD,
    ) lengths(len);
    fn SCardSetAttrib(card: SCARDHANDLE, id: DWORD, value: *const u8, len: DWORD);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn SCardGetStatusChange(
    context: SCARDCONTEXT,
    timeout: DWORD,
    states: *mut SCARD_READERSTATE,
    count: DWORD,
) -> LONG {
    type Real = unsafe extern "C" fn(SCARDCONTEXT, DWORD, *mut SCARD_READERSTATE, DWORD) -> LONG;
    if unsafe { asks_for_phantom(states, count) } {
        return UNKNOWN_READER;
    }
    let fault = take("SCardGetStatusChange");
    let answer = if fault.is_none_or(|fault| fault.after_the_call) {
        let real = unsafe { REAL.get::<Real>(b"SCardGetStatusChange\0") };
        let real = real.expect("SCardGetStatusChange");
        unsafe { real(context, timeout, states, count) }
    } else {
        0
    };
    let Some(fault) = fault else { return answer };
    for i in 0..count as usize {
        unsafe {
            let state = states.add(i);
            overwrite(&raw mut (*state).cbAtr, fault.length);
            overwrite(&raw mut (*state).dwEventState, fault.state);
        }
    }
    fault.returned
}
