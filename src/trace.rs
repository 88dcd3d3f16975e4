//! What this library tells [`tracing`].
//!
//! Each call of PC/SC is an event when it has returned, with the operation, the reader, the
//! code and how long it took; a command also with its header, both lengths and the status
//! word. Calls that run on a thread of their own tell it in the span of their caller.
//!
//! | Target | Level | |
//! |---|---|---|
//! | `scard::call` | debug | calls of PC/SC; those of a [`Monitor`](crate::Monitor), and [waits](crate::Context::wait_for_card), at level trace |
//! | `scard::apdu` | trace | whole commands and answers, if [`show_apdus`] |
//! | other targets that begin with `scard` | debug | what a drop could not do, what a session recovers from |
//!
//! An [exchange](crate::Card::exchange) is a span `exchange` at level debug, with the header of
//! its command.
//!
//! No subscriber, or one that wants none of it, costs a comparison for each call.
//!
//! With tracing's feature `log`, and no subscriber, all of it is a record of the crate `log`, with
//! the same target and level.
//!
//! # Secrets
//!
//! The bodies of commands and the data of answers are shown only after [`show_apdus`], and
//! those of commands that [are secret](crate::apdu::Command::is_secret) never. The header decides
//! whether a command is; any other is marked: a [`Command`] with
//! [`sensitive`](crate::apdu::Command::sensitive), and bytes by sending them with
//! [`transmit_secret`](crate::Transmit::transmit_secret). Input and output of
//! [`Control::control`](crate::Control::control), and attributes, are never shown.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Instant;

use tracing::Level;

use crate::apdu::{Command, CommandBytes, StatusWord, hex};
use crate::codes::ReturnCode;
use crate::error::Operation;
use crate::limits::Permit;
use crate::service::Failure;
use crate::values::ReaderName;

static APDUS_ARE_SHOWN: AtomicBool = AtomicBool::new(false);

/// Whether commands and answers are shown whole, at level trace under the target
/// `scard::apdu`, for the whole program. They are not unless this is called.
///
/// Commands that [are secret](crate::apdu::Command::is_secret), and their answers, are never
/// shown. Others can be personal: this is for finding faults, not for logs that stay.
pub fn show_apdus(show: bool) {
    APDUS_ARE_SHOWN.store(show, Ordering::Relaxed);
}

fn code_of<T>(returned: &Result<T, Failure>) -> ReturnCode {
    match returned {
        Ok(_) => ReturnCode::S_SUCCESS,
        Err(failure) => failure.code,
    }
}

/// Whether records may go to the crate `log`: where `tracing` was built for that, they do while
/// there is no subscriber. The macros of `tracing` see to it, and what is asked before them must not
/// keep them from it.
pub(crate) fn logs() -> bool {
    const UNKNOWN: u8 = 0;
    const NO: u8 = 1;
    const YES: u8 = 2;
    static LOGS: AtomicU8 = AtomicU8::new(UNKNOWN);

    match LOGS.load(Ordering::Relaxed) {
        UNKNOWN => {}
        known => return known == YES,
    }
    // A subscriber would hear of the span, and is preferred to the log.
    if tracing::level_enabled!(Level::ERROR) {
        return false;
    }
    // Without that feature, a span that nobody hears of is none.
    let logs = !tracing::trace_span!(target: "scard::log", "scard").is_none();
    LOGS.store(if logs { YES } else { NO }, Ordering::Relaxed);
    logs
}

/// Makes a call and tells of it.
#[inline]
pub(crate) fn call<T>(
    operation: Operation,
    reader_name: Option<&ReaderName>,
    call: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    if !tracing::enabled!(target: "scard::call", Level::DEBUG) && !logs() {
        return call();
    }
    let begun = Instant::now();
    let returned = call();
    tell(operation, reader_name, code_of(&returned), begun);
    returned
}

#[cold]
fn tell(operation: Operation, reader_name: Option<&ReaderName>, code: ReturnCode, begun: Instant) {
    let duration = begun.elapsed();
    let reader_name = reader_name.map(tracing::field::debug);
    tracing::debug!(target: "scard::call", %operation, reader_name, ?code, ?duration);
}

/// The span of an exchange.
pub(crate) fn exchange(reader_name: &ReaderName, command: &Command) -> tracing::Span {
    tracing::debug_span!(target: "scard::call", "exchange", ?reader_name, %command)
}

/// Has a call that is made on another thread tell of itself in the span of this one.
pub(crate) fn in_span<S, T>(
    call: impl FnOnce(&mut S, &Permit<'_>) -> T + Send + 'static,
) -> impl FnOnce(&mut S, &Permit<'_>) -> T + Send + 'static {
    let span = tracing::Span::current();
    move |subject, permit| span.in_scope(|| call(subject, permit))
}

/// Makes a call that goes on all the time, and tells of it.
pub(crate) fn watch<T>(
    operation: Operation,
    call: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    if !tracing::enabled!(target: "scard::call", Level::TRACE) && !logs() {
        return call();
    }
    let begun = Instant::now();
    let returned = call();
    let code = code_of(&returned);
    tracing::trace!(target: "scard::call", %operation, ?code, duration = ?begun.elapsed());
    returned
}

/// Whether somebody may want to be told of a command: the least that can be asked.
#[inline]
pub(crate) fn may_tell() -> bool {
    // Calls are at this level, and whole commands need a finer one.
    tracing::level_enabled!(Level::DEBUG)
}

/// Sends a command and tells of it. The answer is at the beginning of `received`.
pub(crate) fn transmit(
    reader_name: &ReaderName,
    command: CommandBytes<'_>,
    received: &mut [u8],
    transmit: impl FnOnce(&mut [u8]) -> Result<usize, Failure>,
) -> Result<usize, Failure> {
    let calls = tracing::enabled!(target: "scard::call", Level::DEBUG);
    let apdus = tracing::enabled!(target: "scard::apdu", Level::TRACE);
    if !calls && !apdus && !logs() {
        return transmit(received);
    }
    let begun = Instant::now();
    let returned = transmit(received);
    let answer = returned.as_ref().ok().and_then(|len| received.get(..*len));
    tell_transmit(reader_name, command, code_of(&returned), answer, begun);
    returned
}

#[cold]
fn tell_transmit(
    reader_name: &ReaderName,
    command: CommandBytes<'_>,
    code: ReturnCode,
    answer: Option<&[u8]>,
    begun: Instant,
) {
    let duration = begun.elapsed();
    let operation = Operation::Transmit;
    let status = answer.and_then(|answer| answer.last_chunk().copied());
    tracing::debug!(
        target: "scard::call",
        %operation,
        ?reader_name,
        ?code,
        ?duration,
        command = command.header().map(tracing::field::display),
        sent = command.len(),
        received = answer.map(<[u8]>::len),
        status = status.map(|status| tracing::field::display(StatusWord::from(status))),
    );
    if !APDUS_ARE_SHOWN.load(Ordering::Relaxed) {
        return;
    }
    let is_secret = command.is_secret();
    let shown = |bytes| Shown { bytes, is_secret };
    tracing::trace!(
        target: "scard::apdu",
        ?reader_name,
        command = %shown(command.as_bytes()),
        answer = answer.map(|answer| tracing::field::display(shown(answer))),
    );
}

/// Bytes, or that they are secret.
struct Shown<'a> {
    bytes: &'a [u8],
    is_secret: bool,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_secret {
            true => f.write_str("secret"),
            false => hex(f, self.bytes),
        }
    }
}
