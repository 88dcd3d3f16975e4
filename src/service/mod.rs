//! The PC/SC calls, one function each, and what has to be known of the process: the only unsafe
//! code of the library.
//!
//! What goes in and comes out is safe Rust: handles that only this module makes, `u32`
//! instead of `DWORD` (64 bits wide on 64-bit Unix), [`ReturnCode`] instead of `LONG`. Who
//! may call what, and when, is decided above.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::ptr;

use pcsc::ffi::{self, DWORD, LONG};

use crate::codes::{Platform, ReturnCode};
use crate::values::Atr;

mod fork;
mod gate;
mod locks;
mod multi;
#[cfg_attr(any(windows, stand_in = "windows"), path = "wide.rs")]
#[cfg_attr(not(any(windows, stand_in = "windows")), path = "narrow.rs")]
mod names;
mod process;
mod readers;
mod started;
mod table;
#[cfg(any(windows, stand_in = "windows", test))]
mod utf16;

pub(crate) use gate::keeps_out;
#[cfg(unix)]
pub(crate) use locks::Inside;
pub(crate) use multi::sized_answer;
pub(crate) use process::Process;
pub(crate) use readers::{
    ReaderQuery, cancel, get_status_change, list_reader_groups, list_readers,
};
pub(crate) use started::StartedEvent;

use gate::Use;
use multi::{FIRST_LEN, is_too_small};
use names::Name;
use table::{READERS, Worth};

/// The largest command or answer that can pass: an extended APDU with its length fields and
/// status word.
pub(crate) const MAX_APDU_LEN: usize = ffi::MAX_BUFFER_SIZE_EXTENDED;

/// How much room there is for an answer. Drivers on Windows look at the low 16 bits of the length
/// only, as of a built-in NFC reader, or refuse a length that the header of CCID makes too long,
/// which was seen of 65,548 bytes for `SCardControl`.
pub(crate) const MAX_ANSWER_LEN: usize = match Platform::CURRENT {
    Platform::Windows => 65_535,
    _ => MAX_APDU_LEN,
};

/// An established context.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ContextHandle(ffi::SCARDCONTEXT);

impl ContextHandle {
    /// The number that the service gave it.
    #[allow(clippy::unnecessary_cast)]
    pub(crate) fn number(self) -> u64 {
        self.0 as u64
    }
}

/// A connected card or reader.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CardHandle(ffi::SCARDHANDLE);

impl CardHandle {
    /// The number that the service gave it.
    #[allow(clippy::unnecessary_cast)]
    pub(crate) fn number(self) -> u64 {
        self.0 as u64
    }
}

/// What commands are sent with.
pub(crate) struct ProtocolInfo(ffi::SCARD_IO_REQUEST);

impl ProtocolInfo {
    pub(crate) fn of(protocol: u32) -> ProtocolInfo {
        ProtocolInfo(ffi::SCARD_IO_REQUEST {
            dwProtocol: widen(protocol),
            cbPciLength: length(size_of::<ffi::SCARD_IO_REQUEST>()),
        })
    }
}

/// A new connection and the protocol the service reports for it.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) handle: CardHandle,
    pub(crate) protocol: u32,
}

/// The outputs of `SCardStatus`.
#[derive(Debug, PartialEq)]
pub(crate) struct Status {
    pub(crate) names: Vec<u8>,
    pub(crate) state: u32,
    pub(crate) protocol: u32,
    pub(crate) atr: Atr,
}

/// A call that failed, and how long the answer is where it did not fit its buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: ReturnCode,
    pub(crate) needed_len: Option<usize>,
    /// Whether the service answered, but no answer could be believed. The code is ours then.
    pub(crate) is_contradictory: bool,
}

impl Failure {
    pub(crate) const CONTRADICTORY: Failure = Failure {
        code: ReturnCode::F_INTERNAL_ERROR,
        needed_len: None,
        is_contradictory: true,
    };

    /// `needed_len` is what the call gave as the length of its answer.
    #[cold]
    fn of_answer(code: ReturnCode, needed_len: DWORD, capacity: usize) -> Failure {
        let needed_len = usize::try_from(needed_len).unwrap_or(usize::MAX);
        let too_small = is_too_small(code) && needed_len > capacity;
        Failure {
            code,
            needed_len: too_small.then_some(needed_len),
            is_contradictory: false,
        }
    }
}

impl From<ReturnCode> for Failure {
    fn from(code: ReturnCode) -> Failure {
        Failure {
            code,
            needed_len: None,
            is_contradictory: false,
        }
    }
}

/// The one place where a return value becomes a result.
///
/// `LONG` is 64 bits wide on 64-bit Unix. The codes are 32-bit values, sign-extended or not;
/// a value whose low half alone is zero is no success.
fn check(returned: LONG) -> Result<(), ReturnCode> {
    if returned == 0 {
        return Ok(());
    }
    #[allow(clippy::unnecessary_cast)]
    match returned as u32 {
        0 => Err(ReturnCode::F_UNKNOWN_ERROR),
        code => Err(ReturnCode::from_raw(code)),
    }
}

/// Makes a call. Every call of PC/SC is made here.
#[inline]
fn call(by: Use, made: impl FnOnce() -> LONG) -> Result<(), ReturnCode> {
    check(gate::pass(by, made)?)
}

/// A number that PC/SC gave, as 32 bits. Wider values than that mean nothing in PC/SC.
#[allow(clippy::unnecessary_cast)]
fn narrow(value: DWORD) -> u32 {
    value as u32
}

/// A number for PC/SC.
#[allow(clippy::unnecessary_cast)]
fn widen(value: u32) -> DWORD {
    value as DWORD
}

/// A length for PC/SC. One that `DWORD` cannot hold becomes the largest that it can, which
/// no service accepts.
fn length(len: usize) -> DWORD {
    DWORD::try_from(len).unwrap_or(DWORD::MAX)
}

/// A length that PC/SC gave. One that does not fit the buffer is a fault of the service.
fn length_within(len: DWORD, capacity: usize) -> Result<usize, ReturnCode> {
    match usize::try_from(len) {
        Ok(len) if len <= capacity => Ok(len),
        _ => Err(ReturnCode::F_INTERNAL_ERROR),
    }
}

pub(crate) fn establish_context(scope: u32) -> Result<ContextHandle, ReturnCode> {
    let mut handle = 0;
    // SAFETY: the reserved pointers may be null, and `handle` outlives the call.
    call(Use::IsBrief, || unsafe {
        ffi::SCardEstablishContext(widen(scope), ptr::null(), ptr::null(), &mut handle)
    })?;
    Ok(ContextHandle(handle))
}

pub(crate) fn release_context(context: ContextHandle) -> Result<(), ReturnCode> {
    // It is brief unless a connection ends with it, and the driver takes its time.
    // SAFETY: takes a handle by value; the service checks it.
    call(Use::IsBrief, || unsafe {
        ffi::SCardReleaseContext(context.0)
    })
}

pub(crate) fn is_valid_context(context: ContextHandle) -> Result<(), ReturnCode> {
    // SAFETY: takes a handle by value; the service checks it.
    call(Use::IsBrief, || unsafe {
        ffi::SCardIsValidContext(context.0)
    })
}

/// Takes each lock that pcsc-lite's library has for all of its threads, and says whether it did:
/// without the service, only one of them. See [`gate`].
fn take_locks_of_library() -> bool {
    let (mut context, mut len) = (0, 0);
    let scope = ffi::SCARD_SCOPE_SYSTEM;
    // SAFETY: the reserved pointers may be null, and `context` outlives the call.
    if unsafe { ffi::SCardEstablishContext(scope, ptr::null(), ptr::null(), &mut context) } != 0 {
        return false;
    }
    // SAFETY: null asks for the length, which outlives the call, of the names of all groups.
    unsafe { names::SCardListReaders(context, ptr::null(), ptr::null_mut(), &mut len) };
    // SAFETY: takes a handle by value; the service checks it.
    unsafe { ffi::SCardReleaseContext(context) };
    true
}

pub(crate) fn connect(
    context: ContextHandle,
    reader: &CStr,
    share_mode: u32,
    protocols: u32,
) -> Result<Connected, ReturnCode> {
    let reader = Name::new(reader);
    let mut handle = 0;
    let mut protocol = 0;
    // SAFETY: `reader` ends with NUL; the outputs outlive the call.
    call(Use::LooksUp, || unsafe {
        names::SCardConnect(
            context.0,
            reader.as_ptr(),
            widen(share_mode),
            widen(protocols),
            &mut handle,
            &mut protocol,
        )
    })?;
    Ok(Connected {
        handle: CardHandle(handle),
        protocol: narrow(protocol),
    })
}

/// Gives the protocol that is active afterwards.
pub(crate) fn reconnect(
    card: CardHandle,
    share_mode: u32,
    protocols: u32,
    initialization: u32,
) -> Result<u32, ReturnCode> {
    let mut protocol = 0;
    // SAFETY: the output outlives the call.
    call(Use::LooksUp, || unsafe {
        ffi::SCardReconnect(
            card.0,
            widen(share_mode),
            widen(protocols),
            widen(initialization),
            &mut protocol,
        )
    })?;
    Ok(narrow(protocol))
}

/// Not for pcsc-lite: see [`gate`].
pub(crate) fn disconnect(card: CardHandle, disposition: u32) -> Result<(), ReturnCode> {
    // SAFETY: takes a handle by value; the service checks it.
    call(Use::IsBrief, || unsafe {
        ffi::SCardDisconnect(card.0, widen(disposition))
    })
}

pub(crate) fn begin_transaction(card: CardHandle) -> Result<(), ReturnCode> {
    // SAFETY: takes a handle by value; the service checks it.
    call(Use::LooksUp, || unsafe {
        ffi::SCardBeginTransaction(card.0)
    })
}

pub(crate) fn end_transaction(card: CardHandle, disposition: u32) -> Result<(), ReturnCode> {
    // SAFETY: takes a handle by value; the service checks it.
    call(Use::LooksUp, || unsafe {
        ffi::SCardEndTransaction(card.0, widen(disposition))
    })
}

pub(crate) fn status(card: CardHandle) -> Result<Status, Failure> {
    READERS.ask(|| status_now(card), |_| Worth::Doubtful)
}

fn status_now(card: CardHandle) -> Result<Status, Failure> {
    let mut state = 0;
    let mut protocol = 0;
    // One more than an ATR has: pcsc-lite's length of one that was not looked at yet.
    let mut atr = [0u8; ffi::ATR_BUFFER_SIZE + 1];
    let mut atr_len = 0;
    let names = sized_answer(FIRST_LEN, 0, |buffer: &mut Vec<names::Unit>, len| {
        atr_len = length(atr.len());
        // SAFETY: `buffer` has room for `len` units and `atr` for `atr_len` bytes; all outlive
        // the call.
        call(Use::LooksUp, || unsafe {
            names::SCardStatus(
                card.0,
                buffer.as_mut_ptr().cast(),
                len,
                &mut state,
                &mut protocol,
                atr.as_mut_ptr(),
                &mut atr_len,
            )
        })
    })?;
    let atr_len = usize::try_from(atr_len).unwrap_or(usize::MAX);
    Ok(Status {
        names: names::to_bytes(names),
        state: narrow(state),
        protocol: narrow(protocol),
        atr: atr_of(&atr, atr_len),
    })
}

/// No buffer is longer than what an [`Atr`] has room for.
const _: () = assert!(ffi::ATR_BUFFER_SIZE < Atr::CAPACITY);

/// The ATR in a buffer, with all of its bytes. pcsc-lite states one byte more than there can be for a card that it has
/// not looked at yet.
fn atr_of(buffer: &[u8], len: usize) -> Atr {
    match len == ffi::ATR_BUFFER_SIZE + 1 && Platform::CURRENT == Platform::PcscLite {
        true => Atr::default(),
        false => Atr::received(buffer.get(..len).unwrap_or(buffer)).unwrap_or_default(),
    }
}

/// Gives the length of the answer in `answer`.
#[inline]
pub(crate) fn transmit(
    card: CardHandle,
    protocol: &ProtocolInfo,
    command: &[u8],
    answer: &mut [u8],
) -> Result<usize, Failure> {
    let mut answer_len = length(answer.len());
    // SAFETY: `command` and `answer` are as long as the call is told, the receiving PCI may
    // be null, and everything outlives the call.
    call(Use::LooksUp, || unsafe {
        ffi::SCardTransmit(
            card.0,
            &protocol.0,
            command.as_ptr(),
            length(command.len()),
            ptr::null_mut(),
            answer.as_mut_ptr(),
            &mut answer_len,
        )
    })
    .map_err(|code| Failure::of_answer(code, answer_len, answer.len()))?;
    Ok(length_within(answer_len, answer.len())?)
}

/// Gives the length of the output in `output`.
pub(crate) fn control(
    card: CardHandle,
    code: u32,
    input: &[u8],
    output: &mut [u8],
) -> Result<usize, Failure> {
    let mut output_len = 0;
    // SAFETY: `input` and `output` are as long as the call is told, and everything outlives
    // the call.
    call(Use::LooksUp, || unsafe {
        ffi::SCardControl(
            card.0,
            widen(code),
            input.as_ptr(),
            length(input.len()),
            output.as_mut_ptr(),
            length(output.len()),
            &mut output_len,
        )
    })
    .map_err(|code| Failure::of_answer(code, output_len, output.len()))?;
    Ok(length_within(output_len, output.len())?)
}

pub(crate) fn get_attribute(card: CardHandle, id: u32) -> Result<Vec<u8>, Failure> {
    sized_answer(FIRST_LEN, 0, |buffer: &mut Vec<u8>, len| {
        // SAFETY: `buffer` has room for `len` bytes, and both outlive the call.
        call(Use::LooksUp, || unsafe {
            ffi::SCardGetAttrib(card.0, widen(id), buffer.as_mut_ptr(), len)
        })
    })
}

pub(crate) fn set_attribute(card: CardHandle, id: u32, value: &[u8]) -> Result<(), ReturnCode> {
    // SAFETY: `value` is as long as the call is told and outlives it.
    call(Use::LooksUp, || unsafe {
        ffi::SCardSetAttrib(card.0, widen(id), value.as_ptr(), length(value.len()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn return_values_keep_their_32_bits_however_wide_or_signed_long_is() {
        assert_eq!(check(0), Ok(()));
        #[allow(overflowing_literals, clippy::unnecessary_cast)]
        let signed = 0x8010_0068_u32 as i32 as LONG;
        assert_eq!(check(signed), Err(ReturnCode::W_RESET_CARD));
        assert_eq!(check(6), Err(ReturnCode::from_raw(6)));
        assert_eq!(check(-1), Err(ReturnCode::from_raw(u32::MAX)));
    }

    #[test]
    fn every_byte_of_an_atr_is_kept() {
        let buffer = [0x3B; ffi::ATR_BUFFER_SIZE + 1];
        for len in 0..=ffi::ATR_BUFFER_SIZE {
            assert_eq!(atr_of(&buffer, len).len(), len);
        }
        // A length past the buffer says nothing of the bytes in it.
        assert_eq!(atr_of(&buffer, usize::MAX), buffer);
        let not_looked_at = atr_of(&buffer, buffer.len()).is_empty();
        assert_eq!(not_looked_at, Platform::CURRENT == Platform::PcscLite);
        // As winscard could, whose buffer is longer than an ATR.
        assert_eq!(atr_of(&[0x3B; 36], 36).len(), 36);
    }

    #[cfg(target_pointer_width = "64")]
    #[cfg(not(any(windows, target_os = "macos")))]
    #[test]
    fn wide_return_values_are_never_taken_for_success() {
        assert_eq!(check(0x8010_0068), Err(ReturnCode::W_RESET_CARD));
        assert_eq!(check(0x1_0000_0000), Err(ReturnCode::F_UNKNOWN_ERROR));
        assert_eq!(check(i64::MIN), Err(ReturnCode::F_UNKNOWN_ERROR));
    }

    #[test]
    fn lengths_past_the_buffer_are_a_fault_of_the_service() {
        assert_eq!(length_within(2, 2), Ok(2));
        assert_eq!(length_within(3, 2), Err(ReturnCode::F_INTERNAL_ERROR));
        assert_eq!(
            length_within(DWORD::MAX, 2),
            Err(ReturnCode::F_INTERNAL_ERROR)
        );
    }
}
