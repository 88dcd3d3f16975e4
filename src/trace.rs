//! Events and spans for [`tracing`].
//!
//! Each PC/SC call is an event when it returns, with the operation, the reader, the code and the
//! duration; for a command, also with its header, both lengths and the status word. Calls on other
//! threads are recorded in the span of their caller.
//!
//! | Target | Level | |
//! |---|---|---|
//! | `scard::call` | debug | PC/SC calls; those of a [`Monitor`](crate::Monitor), and [waits](crate::Context::wait_for_card), at level trace |
//! | `scard::apdu` | trace | whole commands and responses, after [`show_apdus`] |
//! | other targets that begin with `scard` | debug | failures during drops, and failures that a session recovers from |
//!
//! An [exchange](crate::Card::exchange) is a span `exchange` at level debug, with the header of
//! its command.
//!
//! Without an interested subscriber, each call costs one comparison.
//!
//! With tracing's feature `log` and no subscriber, everything is a record of the crate `log`, with
//! the same target and level.
//!
//! # Secrets
//!
//! The bodies of commands and the data of responses are recorded only after [`show_apdus`], and
//! never for [secret](crate::apdu::Command::is_secret) commands. A command is secret by its header,
//! or if marked as such: a [`Command`] with [`sensitive`](crate::apdu::Command::sensitive), bytes
//! by sending them with [`transmit_secret`](crate::Transmit::transmit_secret). The input and output
//! of [`Control::control`](crate::Control::control), and attributes, are never recorded.

use std::fmt;
use std::future::Future;
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

/// Sets whether the whole program records complete commands and responses.
///
/// They are recorded at level trace under the target `scard::apdu`; by default they are not.
///
/// [Secret](crate::apdu::Command::is_secret) commands and their responses are never recorded.
/// Others can contain personal data: use this for debugging, not for permanent logs.
pub fn show_apdus(show: bool) {
    APDUS_ARE_SHOWN.store(show, Ordering::Relaxed);
}

fn code_of<T>(returned: &Result<T, Failure>) -> ReturnCode {
    match returned {
        Ok(_) => ReturnCode::S_SUCCESS,
        Err(failure) => failure.code,
    }
}

/// Whether records may go to the crate `log`: if `tracing` was built for that, its macros send them
/// there while there is no subscriber, which earlier checks must not prevent.
pub(crate) fn logs() -> bool {
    const UNKNOWN: u8 = 0;
    const NO: u8 = 1;
    const YES: u8 = 2;
    static LOGS: AtomicU8 = AtomicU8::new(UNKNOWN);

    match LOGS.load(Ordering::Relaxed) {
        UNKNOWN => {}
        known => return known == YES,
    }
    // A subscriber would receive the span, and takes precedence over the log.
    if tracing::level_enabled!(Level::ERROR) {
        return false;
    }
    // Without that feature, a span that no one receives is disabled.
    let logs = !tracing::trace_span!(target: "scard::log", "scard").is_none();
    LOGS.store(if logs { YES } else { NO }, Ordering::Relaxed);
    logs
}

/// Makes a call and records it.
#[inline]
pub(crate) async fn call<T>(
    operation: Operation,
    reader_name: Option<&ReaderName>,
    call: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    if !tracing::enabled!(target: "scard::call", Level::DEBUG) && !logs() {
        return call.await;
    }
    let begun = Instant::now();
    let returned = call.await;
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

/// Makes a call on another thread record itself in this thread's span.
pub(crate) fn in_span<S, T>(
    call: impl FnOnce(&mut S, &Permit<'_>) -> T + Send + 'static,
) -> impl FnOnce(&mut S, &Permit<'_>) -> T + Send + 'static {
    let span = tracing::Span::current();
    move |subject, permit| span.in_scope(|| call(subject, permit))
}

/// Makes a call of a continuous watch, and records it.
pub(crate) async fn watch<T>(
    operation: Operation,
    call: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    if !tracing::enabled!(target: "scard::call", Level::TRACE) && !logs() {
        return call.await;
    }
    let begun = Instant::now();
    let returned = call.await;
    let code = code_of(&returned);
    tracing::trace!(target: "scard::call", %operation, ?code, duration = ?begun.elapsed());
    returned
}

/// Whether a command may have to be recorded: the cheapest possible check.
#[inline]
pub(crate) fn may_tell() -> bool {
    // Calls are at this level, and whole commands at a finer one.
    tracing::level_enabled!(Level::DEBUG)
}

/// The recording of a command that is being sent, if someone is interested.
pub(crate) struct Recording {
    begun: Option<Instant>,
}

impl Recording {
    pub(crate) fn begin() -> Recording {
        let calls = tracing::enabled!(target: "scard::call", Level::DEBUG);
        let apdus = tracing::enabled!(target: "scard::apdu", Level::TRACE);
        let is_wanted = calls || apdus || logs();
        Recording {
            begun: is_wanted.then(Instant::now),
        }
    }

    /// The response is at the beginning of `received`.
    pub(crate) fn end(
        self,
        reader_name: &ReaderName,
        command: CommandBytes<'_>,
        returned: &Result<usize, Failure>,
        received: &[u8],
    ) {
        if let Some(begun) = self.begun {
            let answer = returned.as_ref().ok().and_then(|len| received.get(..*len));
            tell_transmit(reader_name, command, code_of(returned), answer, begun);
        }
    }
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

/// Bytes, or a note that they are secret.
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
