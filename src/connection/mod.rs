//! The connection of a card or a directly opened reader: its own PC/SC context with a handle in it.

mod agreed;
mod context;
mod disconnect;
#[cfg(not(all(test, model)))]
mod numbers;
#[cfg(all(test, model))]
#[path = "../../tests/models/numbers.rs"]
mod numbers;
mod open;
mod reader;
mod reconnect;
mod spare;
mod transaction;

use std::fmt;

use crate::apdu::CommandBytes;
use crate::codes::{Platform, ReturnCode};
use crate::error::{Error, Operation, Result};
use crate::limits::{Abandoned, Here, Permit};
use crate::service::{self, Canceller, CardHandle, ContextHandle, Failure, Process, block_on};
use crate::trace;
use crate::values::{CardStatus, Disposition, ReaderName, split_multi_string};

pub(crate) use agreed::{Access, Agreed};
pub(crate) use context::{OwnedContext, SharedContext};
pub(crate) use open::Target;
pub(crate) use spare::{Home, Spare};

/// Whether the answers in a context can no longer be matched to calls after this failure.
///
/// pcsc-lite's client library does not read a response that claims to be longer than the caller's
/// buffer: the rest would be taken for the response to the next call.
fn is_out_of_step(operation: Operation, failure: Failure) -> bool {
    Platform::CURRENT == Platform::PcscLite
        && matches!(operation, Operation::Transmit | Operation::Control)
        && failure.needed_len.is_some()
}

/// Creates the error of a call that returns data, and ends the context if necessary. Takes parts of
/// the connection, because its buffer may be lent to the caller of a command that succeeds.
#[cold]
async fn failed_call(
    operation: Operation,
    failure: Failure,
    reader: &ReaderName,
    agreed: &mut Agreed,
    ready: &mut Process,
    context: &mut OwnedContext,
) -> Error {
    let error = Error::on_reader(operation, failure, reader);
    agreed.note(&error);
    if is_out_of_step(operation, failure) {
        *ready = Process::NONE;
        context.end_out_of_step().await;
    }
    error
}

/// Room for the longest response, or empty. All of it is overwritten on drop, but not byte by byte
/// as `Zeroizing` does, which is slow for this size.
#[derive(Default)]
struct ReceiveBuffer(Vec<u8>);

impl ReceiveBuffer {
    fn new() -> ReceiveBuffer {
        ReceiveBuffer(vec![0; service::MAX_ANSWER_LEN])
    }
}

impl Drop for ReceiveBuffer {
    fn drop(&mut self) {
        self.0.fill(0);
        // Keeps the compiler from omitting the write, as nothing reads the buffer.
        zeroize::optimization_barrier(self.0.as_slice());
    }
}

/// A connected handle in a context of its own.
///
/// Dropping it ends the connection and leaves the card as it is: a connection dropped after a call
/// was given up must have no effect on the card.
pub(crate) struct Connection {
    handle: CardHandle,
    context: OwnedContext,
    home: Home,
    reader: ReaderName,
    agreed: Agreed,
    access: Access,
    /// The protocol used to send commands.
    protocol: u32,
    in_transaction: bool,
    /// The end of a transaction was refused, so that it still keeps others out.
    lock_is_left: bool,
    /// A reset was acknowledged that has not been reported to the caller yet.
    unreported_reset: bool,
    /// A reset that had to be acknowledged to the service before it was reported to the caller.
    /// Until the caller reconnects, calls fail with it as they would in the service.
    unacknowledged: Option<ReturnCode>,
    /// Whether calls to the reader wait for others' transactions.
    waits_for_transactions: bool,
    /// The process of the context, or none while there is no buffer or a reset is unacknowledged: a
    /// single check for each command instead of three.
    ready: Process,
    /// Buffer for responses, always of the full size, because a response that does not fit is lost
    /// although its command ran. Allocated at the first command.
    received: ReceiveBuffer,
}

/// Omits the buffer, which contains the last response.
impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("reader_name", &self.reader)
            .field("access", &self.access)
            .field("is_over", &self.is_over())
            .field("in_transaction", &self.in_transaction)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Whether this process is a child of the one that connected.
    pub(crate) fn is_forked(&self) -> bool {
        self.context.is_forked()
    }

    /// Whether the connection has ended, so that no call can be made.
    pub(crate) fn is_over(&self) -> bool {
        self.context.is_released()
    }

    pub(crate) fn agreed(&self) -> Agreed {
        self.agreed
    }

    /// Whether the calls end by themselves.
    #[inline]
    pub(crate) fn ends_calls(&mut self) -> bool {
        self.context.handle().ends_calls()
    }

    /// The canceller of the calls.
    pub(crate) fn canceller(&mut self) -> Canceller {
        self.context.canceller()
    }

    /// Makes calls within limits on this thread.
    pub(crate) async fn within<T>(
        &mut self,
        here: &Here,
        call: impl AsyncFnOnce(&mut Connection, &Permit<'_>) -> T,
    ) -> T {
        self.context.handle().set_limit(here.limit().clone());
        let given = call(self, &here.permit()).await;
        self.context.handle().set_limit(here.rest());
        given
    }

    /// Whether a call that was given up is still under way.
    pub(crate) fn is_under_way(&mut self) -> bool {
        self.context.handle().is_under_way()
    }

    /// Whether the connection has ended and no call is under way.
    pub(crate) fn is_settled(&mut self) -> bool {
        self.is_over() && !self.is_under_way()
    }

    /// Why a call was given up, if it was.
    pub(crate) fn gave_up<T>(&mut self, given: &Result<T>, here: &Here) -> Option<Abandoned> {
        let mut abandoned = here.gave_up_on(given)?;
        abandoned.permitted &= !self.context.handle().only_waited();
        Some(abandoned)
    }

    /// Ends a connection that was given up, after any call under way on it, without waiting.
    pub(crate) fn abandon(mut self: Box<Self>, here: &Here) {
        here.do_afterwards(async move |limit| {
            self.context.handle().set_limit(limit);
            self.context.handle().settle().await;
            self.end(&Permit::GRANTED, Disposition::Leave).await;
        });
    }

    /// Sets the limit of the calls from now on.
    #[cfg(feature = "async")]
    pub(crate) fn set_limit(&mut self, limit: service::Limit) {
        self.context.handle().set_limit(limit);
    }

    /// Updates the protocol after an error.
    pub(crate) fn note(&mut self, error: &Error) {
        self.agreed.note(error);
    }

    /// Makes a call on the handle, unless there is an unacknowledged reset.
    async fn call<'a, T, F: Future<Output = Result<T, Failure>>>(
        &'a mut self,
        operation: Operation,
        call: impl FnOnce(&'a mut ContextHandle, CardHandle) -> F,
    ) -> Result<T> {
        if let Some(code) = self.unacknowledged {
            return Err(self.error(operation, code));
        }
        let reader = &self.reader;
        let call = call(self.context.handle(), self.handle);
        let returned = trace::call(operation, Some(reader), call).await;
        returned.map_err(|failure| Error::on_reader(operation, failure, reader))
    }

    /// Makes a call on the handle and traces it.
    async fn make<'a, T, F: Future<Output = Result<T, Failure>>>(
        &'a mut self,
        operation: Operation,
        call: impl FnOnce(&'a mut ContextHandle, CardHandle) -> F,
    ) -> Result<T, Failure> {
        let call = call(self.context.handle(), self.handle);
        trace::call(operation, Some(&self.reader), call).await
    }

    #[cold]
    fn error(&self, operation: Operation, failure: impl Into<Failure>) -> Error {
        Error::on_reader(operation, failure, &self.reader)
    }

    pub(crate) async fn status(&mut self) -> Result<CardStatus> {
        let status = self.call(Operation::Status, service::status).await?;
        let (state, event_count) = Platform::CURRENT.card_state(status.state);
        Ok(CardStatus {
            reader_names: split_multi_string(&status.names),
            state,
            raw_state: status.state,
            event_count,
            protocol: match status.protocol {
                0 => None,
                value => Some(Platform::CURRENT.protocol(value)),
            },
            atr: status.atr,
        })
    }

    /// Whether a command only needs [`send`](Connection::send).
    #[inline]
    pub(crate) fn is_ready(&self) -> bool {
        !self.ready.is_forked()
    }

    fn get_ready(&mut self) {
        let is_special = self.received.0.is_empty() || self.unacknowledged.is_some();
        // If logging is on, every command must be traced.
        self.ready = match is_special || trace::logs() {
            true => Process::NONE,
            false => self.context.process,
        };
    }

    fn set_unacknowledged(&mut self, code: Option<ReturnCode>) {
        self.unacknowledged = code;
        self.get_ready();
    }

    /// Sends a command and returns the response. Requires a connection that is ready; traces
    /// nothing.
    // Always, because the compiler counts what is rare, too.
    #[inline(always)]
    pub(crate) fn send(&mut self, command: &[u8]) -> Result<&[u8]> {
        // Apart: the compiler then keeps the result of the other in registers.
        if self.ends_calls() {
            return self.send_over_socket(command);
        }
        self.send_anyhow(command)
    }

    #[inline(never)]
    fn send_over_socket(&mut self, command: &[u8]) -> Result<&[u8]> {
        self.send_anyhow(command)
    }

    #[inline(always)]
    fn send_anyhow(&mut self, command: &[u8]) -> Result<&[u8]> {
        let (context, received) = (self.context.handle(), self.received.0.as_mut_slice());
        match service::transmit_at_once(context, self.handle, self.protocol, command, received) {
            Ok(len) => Ok(received.get(..len).unwrap_or_default()),
            Err(failure) => {
                let (agreed, ready) = (&mut self.agreed, &mut self.ready);
                let context = &mut self.context;
                Err(block_on(failed_call(
                    Operation::Transmit,
                    failure,
                    &self.reader,
                    agreed,
                    ready,
                    context,
                )))
            }
        }
    }

    /// Sends a command and returns the response.
    pub(crate) async fn transmit(&mut self, command: CommandBytes<'_>) -> Result<&[u8]> {
        if self.received.0.is_empty() {
            self.received = ReceiveBuffer::new();
            self.get_ready();
        }
        let (context, handle, protocol) = (self.context.handle(), self.handle, self.protocol);
        let sent = match self.unacknowledged {
            None => {
                let (recording, received) = (trace::Recording::begin(), &mut self.received.0);
                let sent = service::transmit(context, handle, protocol, &command, received).await;
                recording.end(&self.reader, command, &sent, received);
                sent
            }
            Some(code) => Err(code.into()),
        };
        match sent {
            Ok(len) => Ok(self.received(len)),
            Err(failure) => Err(self.failed(Operation::Transmit, failure).await),
        }
    }

    #[cold]
    async fn failed(&mut self, operation: Operation, failure: Failure) -> Error {
        let (agreed, ready) = (&mut self.agreed, &mut self.ready);
        let context = &mut self.context;
        failed_call(operation, failure, &self.reader, agreed, ready, context).await
    }

    /// The response to the last command.
    pub(crate) fn received(&self, len: usize) -> &[u8] {
        self.received.0.get(..len).unwrap_or_default()
    }

    /// Sends a command, unless the caller has given up by the time no one else holds a transaction.
    /// A command that was given up is never sent late.
    pub(crate) async fn transmit_permitted(
        &mut self,
        permit: &Permit<'_>,
        command: CommandBytes<'_>,
    ) -> Result<usize> {
        // A command that ends by itself has not been sent while it waits.
        let began = permit.here().is_none() && self.wait_for_others().await?;
        let sent = if permit.grant() {
            self.transmit(command).await.map(<[u8]>::len)
        } else {
            Err(self.left(Operation::Transmit))
        };
        self.let_others(began).await;
        sent
    }

    /// The result of a call that no one waits for.
    #[cold]
    pub(crate) fn left(&self, operation: Operation) -> Error {
        self.error(operation, ReturnCode::E_CANCELLED)
    }
}
