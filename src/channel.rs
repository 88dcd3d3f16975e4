//! A connection as its owner uses it: calls within limits of time, on this thread or on one
//! of their own.

use std::time::{Duration, Instant};

use crate::Protocols;
use crate::attribute::Attribute;
use crate::connection::{Access, Connection};
use crate::control::ControlCode;
use crate::error::{Error, Operation, Refusal, Result};
use crate::name::ReaderName;
use crate::options::{Disposition, Initialization, Protocol, Scope};
use crate::status::CardStatus;
use crate::worker::{Abandoned, AbortHandle, GivenUp, Permit, Worker};

/// How long the end of a transaction or connection is waited for when there is no time left.
const GRACE: Duration = Duration::from_millis(10);

/// How long calls may take.
#[derive(Debug, Clone, Default)]
pub(crate) struct Limits {
    /// Each call.
    pub(crate) timeout: Option<Duration>,
    /// All calls together.
    until: Option<Instant>,
    pub(crate) abort: Option<AbortHandle>,
}

impl Limits {
    pub(crate) fn new(timeout: Option<Duration>, abort: Option<AbortHandle>) -> Limits {
        Limits {
            timeout,
            until: None,
            abort,
        }
    }

    /// Without limits, calls are made on the caller's thread.
    fn are_none(&self) -> bool {
        self.timeout.is_none() && self.until.is_none() && self.abort.is_none()
    }

    /// When a call that begins now has to be over. A time-out that goes past the end of the
    /// clock is none.
    fn deadline(&self) -> Option<Instant> {
        let of_call = self
            .timeout
            .and_then(|timeout| Instant::now().checked_add(timeout));
        match (of_call, self.until) {
            (Some(of_call), Some(until)) => Some(of_call.min(until)),
            (of_call, until) => of_call.or(until),
        }
    }

    /// Whether there is no time left to begin a call.
    fn are_exceeded(&self) -> Option<GivenUp> {
        if self.abort.as_ref().is_some_and(AbortHandle::is_aborted) {
            return Some(GivenUp::Aborted);
        }
        let over = self.until.is_some_and(|until| until <= Instant::now());
        let never = self.timeout.is_some_and(|timeout| timeout.is_zero());
        (over || never).then_some(GivenUp::Deadline)
    }
}

/// A connection, or what is left when a call on it was given up: nothing.
#[derive(Debug)]
pub(crate) struct Channel {
    /// Moves to the worker for the time of a call and stays there if the call is given up.
    connection: Option<Box<Connection>>,
    reader: ReaderName,
    limits: Limits,
    /// Started by the first call with a limit.
    worker: Option<Worker>,
}

impl Channel {
    /// `SCardConnect`, in a new context.
    pub(crate) fn open(
        scope: Scope,
        reader: &ReaderName,
        access: Access,
        protocols: Protocols,
        disposition_on_drop: Disposition,
        limits: Limits,
    ) -> Result<(Channel, Protocol)> {
        let mut worker = None;
        let refuse =
            |abandoned| Error::refused(Operation::Connect, reader, Refusal::given_up(abandoned));
        if access != Access::Direct && protocols.is_empty() {
            return Err(Error::refused(
                Operation::Connect,
                reader,
                Refusal::NO_PROTOCOL,
            ));
        }
        if let Some(why) = limits.are_exceeded() {
            return Err(refuse(Abandoned::before_it_began(why)));
        }
        let (connection, protocol) = if limits.are_none() {
            Connection::open(scope, reader, access, protocols, disposition_on_drop)?
        } else {
            let name = reader.clone();
            let open = move |_: &mut (), _: &Permit<'_>| {
                Connection::open(scope, &name, access, protocols, disposition_on_drop)
            };
            let ((), opened) = run(&mut worker, (), &limits, open).map_err(refuse)?;
            opened?
        };
        let channel = Channel {
            connection: Some(Box::new(connection)),
            reader: reader.clone(),
            limits,
            worker,
        };
        Ok((channel, protocol))
    }

    pub(crate) fn reader(&self) -> &ReaderName {
        &self.reader
    }

    /// Whether a call was given up, and the connection with it.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.connection.is_none()
    }

    pub(crate) fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.limits.timeout = timeout;
    }

    /// The handle that stops this connection's calls; from the first one on, they can be.
    pub(crate) fn abort_handle(&mut self) -> AbortHandle {
        self.limits
            .abort
            .get_or_insert_with(AbortHandle::new)
            .clone()
    }

    /// Sets the end of all calls together, if it is sooner than the one that there is, which
    /// is given back for [`Channel::set_end`].
    pub(crate) fn end_within(&mut self, limit: Duration) -> Option<Instant> {
        let before = self.limits.until;
        let end = Instant::now().checked_add(limit);
        self.limits.until = match (before, end) {
            (Some(before), Some(end)) => Some(before.min(end)),
            (before, end) => before.or(end),
        };
        before
    }

    pub(crate) fn set_end(&mut self, before: Option<Instant>) {
        self.limits.until = before;
    }

    /// The connection, if it was not given up and is this process's own.
    fn usable(&mut self, operation: Operation) -> Result<&mut Connection> {
        let refusal = match &mut self.connection {
            Some(connection) if !connection.is_forked() => return Ok(connection),
            Some(_) => Refusal::FORKED,
            None => Refusal::ABANDONED,
        };
        Err(Error::refused(operation, &self.reader, refusal))
    }

    /// Makes a call, within the limits.
    fn call<T: Send + 'static>(
        &mut self,
        operation: Operation,
        call: impl FnOnce(&mut Connection, &Permit<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let limits_are_none = self.limits.are_none();
        let connection = self.usable(operation)?;
        if limits_are_none {
            return call(connection, &Permit::GRANTED);
        }
        let refuse = |refusal| Error::refused(operation, &self.reader, refusal);
        let Some(connection) = self.connection.take() else {
            return Err(refuse(Refusal::ABANDONED));
        };
        let exceeded = self.limits.are_exceeded();
        let ends = matches!(operation, Operation::EndTransaction | Operation::Disconnect);
        let limits = match exceeded {
            None => &self.limits,
            // What ends something is done all the same, or others would go on waiting.
            Some(_) if ends => &Limits::new(Some(GRACE), None),
            Some(why) => {
                // Nothing was begun, so nothing is abandoned.
                self.connection = Some(connection);
                return Err(refuse(Refusal::given_up(Abandoned::before_it_began(why))));
            }
        };
        let call = |connection: &mut Box<Connection>, permit: &Permit<'_>| call(connection, permit);
        match run(&mut self.worker, connection, limits, call) {
            Ok((connection, given)) => {
                self.connection = Some(connection);
                given
            }
            Err(abandoned) => {
                // It ends when the call returns.
                self.worker = None;
                tracing::debug!(%operation, reader = %self.reader, ?abandoned, "a call was given up");
                Err(refuse(Refusal::given_up(abandoned)))
            }
        }
    }

    pub(crate) fn reconnect(
        &mut self,
        access: Access,
        protocols: Protocols,
        initialization: Initialization,
    ) -> Result<Protocol> {
        if access != Access::Direct && protocols.is_empty() {
            let refusal = Refusal::NO_PROTOCOL;
            let error = Error::refused(Operation::Reconnect, &self.reader, refusal);
            return Err(error.of_reconnect(initialization));
        }
        self.call(Operation::Reconnect, move |connection, permit| {
            connection.reconnect_permitted(permit, access, protocols, initialization)
        })
        .map_err(|error| error.of_reconnect(initialization))
    }

    pub(crate) fn begin_transaction(&mut self) -> Result<()> {
        self.call(Operation::BeginTransaction, |connection, _| {
            connection.begin_transaction()
        })
    }

    pub(crate) fn end_transaction(&mut self, disposition: Disposition) -> Result<()> {
        self.call(Operation::EndTransaction, move |connection, _| {
            connection.end_transaction(disposition)
        })
    }

    pub(crate) fn status(&mut self) -> Result<CardStatus> {
        self.call(Operation::Status, |connection, _| connection.status())
    }

    /// Sends a command and gives the answer in the connection's own buffer.
    pub(crate) fn transmit(&mut self, protocol: Protocol, command: &[u8]) -> Result<&[u8]> {
        if let Some(refusal) = Refusal::of_command(command) {
            return Err(Error::refused(Operation::Transmit, &self.reader, refusal));
        }
        let len = if self.limits.are_none() {
            self.usable(Operation::Transmit)?
                .transmit(protocol, command)?
        } else {
            let command = command.to_vec();
            self.call(Operation::Transmit, move |connection, permit| {
                connection.transmit_permitted(permit, protocol, &command)
            })?
        };
        match &self.connection {
            Some(connection) => Ok(connection.received(len)),
            None => Err(Error::refused(
                Operation::Transmit,
                &self.reader,
                Refusal::ABANDONED,
            )),
        }
    }

    pub(crate) fn control(&mut self, code: ControlCode, input: &[u8]) -> Result<Vec<u8>> {
        let input = input.to_vec();
        self.call(Operation::Control, move |connection, permit| {
            // Does not wait for other programs' transactions.
            permit.grant();
            connection.control(code, &input)
        })
    }

    pub(crate) fn attribute(&mut self, attribute: Attribute) -> Result<Vec<u8>> {
        self.call(Operation::GetAttribute, move |connection, _| {
            connection.attribute(attribute)
        })
    }

    pub(crate) fn set_attribute(&mut self, attribute: Attribute, value: &[u8]) -> Result<()> {
        let value = value.to_vec();
        self.call(Operation::SetAttribute, move |connection, _| {
            connection.set_attribute(attribute, &value)
        })
    }

    /// Disconnects; on failure the connection is as it was, unless it was given up.
    pub(crate) fn disconnect(&mut self, disposition: Disposition) -> Result<()> {
        self.call(Operation::Disconnect, move |connection, permit| {
            connection.disconnect_permitted(permit, disposition)
        })
    }
}

impl Drop for Channel {
    /// With a time-out, the end of the connection has one, too.
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        // A forked child has no worker; the connection knows what to do.
        if self.limits.timeout.is_some() && !connection.is_forked() {
            let limits = Limits::new(self.limits.timeout, None);
            // If it takes too long, it goes on by itself.
            let drop_it = |connection: &mut Option<_>, _: &Permit<'_>| drop(connection.take());
            let _ = run(&mut self.worker, Some(connection), &limits, drop_it);
        }
    }
}

/// Makes a call on the worker, which is started if there is none.
pub(crate) fn run<S: Send + 'static, T: Send + 'static>(
    worker: &mut Option<Worker>,
    subject: S,
    limits: &Limits,
    call: impl FnOnce(&mut S, &Permit<'_>) -> T + Send + 'static,
) -> Result<(S, T), Abandoned> {
    let deadline = limits.deadline();
    if worker.is_none() {
        *worker = Worker::start();
    }
    match worker {
        Some(worker) => worker.run(subject, deadline, limits.abort.as_ref(), call),
        None => Err(Abandoned::before_it_began(GivenUp::NoThread)),
    }
}
