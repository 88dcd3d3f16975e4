//! The calls of the system's PC/SC library (winscard, PCSC.framework or pcsc-lite's client
//! library), one function each.
//!
//! `DWORD` and `LONG`, which are 64 bits wide on 64-bit Unix, do not leave this module.

use std::ffi::CStr;
use std::ptr;

use pcsc::ffi::{self, DWORD, LONG};

use super::gate::Use;
use super::{CardHandle, Connected, Failure, MAX_APDU_LEN, Status};
use crate::codes::{Platform, ReturnCode};
use crate::values::Atr;

pub(super) mod gate;
mod multi;
#[cfg_attr(any(windows, stand_in = "windows"), path = "wide.rs")]
#[cfg_attr(not(any(windows, stand_in = "windows")), path = "narrow.rs")]
mod names;
mod readers;
pub(super) mod table;
mod threads;
#[cfg(any(windows, stand_in = "windows", test))]
mod utf16;

pub(super) use readers::{cancel, get_status_change, list_reader_groups, list_readers};

use multi::{FIRST_LEN, is_too_small, sized_answer};
use names::Name;
use table::{READERS, Worth};

const _: () = assert!(MAX_APDU_LEN == ffi::MAX_BUFFER_SIZE_EXTENDED);

/// An established context.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context(ffi::SCARDCONTEXT);

impl Context {
    /// The number that the service assigned, by which pcsc-lite's library looks the context up.
    #[allow(clippy::unnecessary_cast)]
    pub(super) fn looked_up_number(self) -> Option<u64> {
        (Platform::CURRENT == Platform::PcscLite).then_some(self.0 as u64)
    }
}

impl CardHandle {
    #[allow(clippy::unnecessary_cast)]
    fn of_library(handle: ffi::SCARDHANDLE) -> CardHandle {
        CardHandle(handle as u64)
    }

    #[allow(clippy::unnecessary_cast)]
    fn in_library(self) -> ffi::SCARDHANDLE {
        self.0 as ffi::SCARDHANDLE
    }
}

/// The failure of a call that returned `needed_len` as the length of its answer.
#[cold]
fn failure_of_answer(failure: Failure, needed_len: DWORD, capacity: usize) -> Failure {
    let needed_len = usize::try_from(needed_len).unwrap_or(usize::MAX);
    let too_small = is_too_small(failure.code) && needed_len > capacity;
    Failure {
        needed_len: too_small.then_some(needed_len),
        ..failure
    }
}

/// Turns a return value into a result; nothing else does.
///
/// `LONG` is 64 bits wide on 64-bit Unix. The codes are 32-bit values, sign-extended or not; a
/// value of which only the low half is zero is not success.
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

/// Makes a call. Every PC/SC call is made here.
#[inline]
fn call(by: Use, made: impl FnOnce() -> LONG) -> Result<(), Failure> {
    Ok(check(gate::pass(by, made)?)?)
}

/// Converts a number from PC/SC to 32 bits. Wider values have no meaning in PC/SC.
#[allow(clippy::unnecessary_cast)]
fn narrow(value: DWORD) -> u32 {
    value as u32
}

/// Converts a number for PC/SC.
#[allow(clippy::unnecessary_cast)]
fn widen(value: u32) -> DWORD {
    value as DWORD
}

/// Converts a length for PC/SC. One too large for a `DWORD` becomes the largest possible value,
/// which no service accepts.
fn length(len: usize) -> DWORD {
    DWORD::try_from(len).unwrap_or(DWORD::MAX)
}

/// Converts a length from PC/SC. One beyond the buffer is a fault of the service.
fn length_within(len: DWORD, capacity: usize) -> Result<usize, ReturnCode> {
    match usize::try_from(len) {
        Ok(len) if len <= capacity => Ok(len),
        _ => Err(ReturnCode::F_INTERNAL_ERROR),
    }
}

pub(super) fn establish_context(scope: u32) -> Result<Context, Failure> {
    let mut handle = 0;
    // SAFETY: the reserved pointers may be null, and `handle` outlives the call.
    call(Use::IsBrief, || unsafe {
        ffi::SCardEstablishContext(widen(scope), ptr::null(), ptr::null(), &mut handle)
    })?;
    Ok(Context(handle))
}

pub(super) fn release_context(context: Context) -> Result<(), Failure> {
    // Brief, unless a connection ends with it and the driver is slow.
    // SAFETY: takes a handle by value; the service checks it.
    call(Use::IsBrief, || unsafe {
        ffi::SCardReleaseContext(context.0)
    })
}

pub(super) fn is_valid_context(context: Context) -> Result<(), Failure> {
    // SAFETY: takes a handle by value; the service checks it.
    call(Use::IsBrief, || unsafe {
        ffi::SCardIsValidContext(context.0)
    })
}

/// Takes each lock of pcsc-lite's library that all threads share, and returns whether it did:
/// without the service, it takes only one of them. See [`gate`].
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

pub(super) fn connect(
    context: Context,
    reader: &CStr,
    share_mode: u32,
    protocols: u32,
) -> Result<Connected, Failure> {
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
        handle: CardHandle::of_library(handle),
        protocol: narrow(protocol),
    })
}

/// Returns the protocol that is active afterwards.
pub(super) fn reconnect(
    card: CardHandle,
    share_mode: u32,
    protocols: u32,
    initialization: u32,
) -> Result<u32, Failure> {
    let mut protocol = 0;
    // SAFETY: the output outlives the call.
    call(Use::LooksUp, || unsafe {
        ffi::SCardReconnect(
            card.in_library(),
            widen(share_mode),
            widen(protocols),
            widen(initialization),
            &mut protocol,
        )
    })?;
    Ok(narrow(protocol))
}

/// Not for pcsc-lite: see [`gate`].
pub(super) fn disconnect(card: CardHandle, disposition: u32) -> Result<(), Failure> {
    // SAFETY: takes a handle by value; the service checks it.
    call(Use::IsBrief, || unsafe {
        ffi::SCardDisconnect(card.in_library(), widen(disposition))
    })
}

pub(super) fn begin_transaction(card: CardHandle) -> Result<(), Failure> {
    // SAFETY: takes a handle by value; the service checks it.
    call(Use::LooksUp, || unsafe {
        ffi::SCardBeginTransaction(card.in_library())
    })
}

pub(super) fn end_transaction(card: CardHandle, disposition: u32) -> Result<(), Failure> {
    // SAFETY: takes a handle by value; the service checks it.
    call(Use::LooksUp, || unsafe {
        ffi::SCardEndTransaction(card.in_library(), widen(disposition))
    })
}

pub(super) fn status(card: CardHandle) -> Result<Status, Failure> {
    READERS.ask(|| status_now(card), |_| Worth::Doubtful)
}

fn status_now(card: CardHandle) -> Result<Status, Failure> {
    let mut state = 0;
    let mut protocol = 0;
    // One byte more than an ATR: pcsc-lite's length for a card that it has not looked at yet.
    let mut atr = [0u8; ffi::ATR_BUFFER_SIZE + 1];
    let mut atr_len = 0;
    let names = sized_answer(FIRST_LEN, 0, |buffer: &mut Vec<names::Unit>, len| {
        atr_len = length(atr.len());
        // SAFETY: `buffer` has room for `len` units and `atr` for `atr_len` bytes; all outlive
        // the call.
        call(Use::LooksUp, || unsafe {
            names::SCardStatus(
                card.in_library(),
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

/// No buffer is longer than the capacity of an [`Atr`].
const _: () = assert!(ffi::ATR_BUFFER_SIZE < Atr::CAPACITY);

/// The ATR in a buffer, with all of its bytes. For a card that it has not looked at yet, pcsc-lite
/// returns a length one byte too long.
fn atr_of(buffer: &[u8], len: usize) -> Atr {
    match len == ffi::ATR_BUFFER_SIZE + 1 && Platform::CURRENT == Platform::PcscLite {
        true => Atr::default(),
        false => Atr::received(buffer.get(..len).unwrap_or(buffer)).unwrap_or_default(),
    }
}

/// Returns the length of the response in `answer`.
#[inline]
pub(super) fn transmit(
    card: CardHandle,
    protocol: u32,
    command: &[u8],
    answer: &mut [u8],
) -> Result<usize, Failure> {
    let mut answer_len = length(answer.len());
    let protocol = ffi::SCARD_IO_REQUEST {
        dwProtocol: widen(protocol),
        cbPciLength: length(size_of::<ffi::SCARD_IO_REQUEST>()),
    };
    // SAFETY: the lengths passed are those of `command` and `answer`, the receiving PCI may be
    // null, and everything outlives the call.
    call(Use::LooksUp, || unsafe {
        ffi::SCardTransmit(
            card.in_library(),
            &protocol,
            command.as_ptr(),
            length(command.len()),
            ptr::null_mut(),
            answer.as_mut_ptr(),
            &mut answer_len,
        )
    })
    .map_err(|failure| failure_of_answer(failure, answer_len, answer.len()))?;
    Ok(length_within(answer_len, answer.len())?)
}

/// Returns the length of the output in `output`.
pub(super) fn control(
    card: CardHandle,
    code: u32,
    input: &[u8],
    output: &mut [u8],
) -> Result<usize, Failure> {
    let mut output_len = 0;
    // SAFETY: the lengths passed are those of `input` and `output`, and everything outlives the
    // call.
    call(Use::LooksUp, || unsafe {
        ffi::SCardControl(
            card.in_library(),
            widen(code),
            input.as_ptr(),
            length(input.len()),
            output.as_mut_ptr(),
            length(output.len()),
            &mut output_len,
        )
    })
    .map_err(|failure| failure_of_answer(failure, output_len, output.len()))?;
    Ok(length_within(output_len, output.len())?)
}

pub(super) fn get_attribute(card: CardHandle, id: u32) -> Result<Vec<u8>, Failure> {
    sized_answer(FIRST_LEN, 0, |buffer: &mut Vec<u8>, len| {
        // SAFETY: `buffer` has room for `len` bytes, and both outlive the call.
        call(Use::LooksUp, || unsafe {
            ffi::SCardGetAttrib(card.in_library(), widen(id), buffer.as_mut_ptr(), len)
        })
    })
}

pub(super) fn set_attribute(card: CardHandle, id: u32, value: &[u8]) -> Result<(), Failure> {
    // SAFETY: the length passed is that of `value`, which outlives the call.
    call(Use::LooksUp, || unsafe {
        ffi::SCardSetAttrib(
            card.in_library(),
            widen(id),
            value.as_ptr(),
            length(value.len()),
        )
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
        // A length beyond the buffer says nothing about the bytes in it.
        assert_eq!(atr_of(&buffer, usize::MAX), buffer);
        let not_looked_at = atr_of(&buffer, buffer.len()).is_empty();
        assert_eq!(not_looked_at, Platform::CURRENT == Platform::PcscLite);
        // Possible on Windows, where the buffer is longer than an ATR.
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
