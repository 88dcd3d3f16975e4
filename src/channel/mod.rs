//! A connection with time limits for its calls, which run on this thread or on a worker.

pub(crate) mod call;
#[cfg(feature = "async")]
mod detached;
#[cfg(all(test, model))]
#[path = "../../tests/models/channel.rs"]
mod model;

#[cfg(feature = "async")]
pub(crate) use detached::{begin, started};

use std::sync::Arc;
use std::time::{Duration, Instant};

use self::call::{About, Call, Job};
use crate::apdu::CommandBytes;
use crate::connection::{Access, Agreed, Connection, Target};
use crate::error::{Error, ErrorKind, Operation, Refusal, Result};
use crate::limits::pause::Pause;
use crate::limits::{Abandoned, AbortHandle, GivenUp, Here, Pending, Permit, Worker};
use crate::service::{Canceller, block_on};
use crate::sync::{Mutex, lock, now};
use crate::trace;
use crate::values::{Disposition, ReaderName};

/// How long to wait for the end of a transaction or connection when no time is left.
const GRACE: Duration = Duration::from_millis(50);

/// How long a drop that does not affect the card waits for the connection to end. The service can
/// need the driver for that, which may be busy with the card in another slot.
const DROP: Duration = Duration::from_millis(100);

/// The time limits of calls.
#[derive(Debug, Clone, Default)]
pub(crate) struct Limits {
    /// For each call.
    timeout: Option<Duration>,
    /// For all calls together.
    until: Option<Instant>,
    abort: Option<AbortHandle>,
    /// Whether there are any of these limits, which is checked for every command.
    are_any: bool,
    /// Counts calls that continue past their limits.
    pending: Pending,
}

impl Limits {
    pub(crate) fn new(timeout: Option<Duration>, abort: Option<AbortHandle>) -> Limits {
        let mut limits = Limits::default();
        limits.change(|limits| {
            limits.timeout = timeout;
            limits.abort = abort;
        });
        limits
    }

    /// For ending something without much waiting.
    pub(crate) fn of_a_moment() -> Limits {
        Limits::new(Some(GRACE), None)
    }

    /// Counts calls together with those of other limits.
    pub(crate) fn counted_with(self, others: &Limits) -> Limits {
        self.counted_by(&others.pending)
    }

    /// Counts calls there.
    pub(crate) fn counted_by(self, pending: &Pending) -> Limits {
        Limits {
            pending: pending.clone(),
            ..self
        }
    }

    fn change<T>(&mut self, change: impl FnOnce(&mut Limits) -> T) -> T {
        let given = change(self);
        self.are_any = self.timeout.is_some() || self.until.is_some() || self.abort.is_some();
        given
    }

    /// Without limits, calls are made on the caller's thread.
    pub(crate) fn are_none(&self) -> bool {
        !self.are_any
    }

    /// The deadline of a call that begins now. A timeout beyond the range of the clock is no limit.
    fn deadline(&self) -> Option<Instant> {
        let of_call = self.timeout.and_then(|timeout| now().checked_add(timeout));
        match (of_call, self.until) {
            (Some(of_call), Some(until)) => Some(of_call.min(until)),
            (of_call, until) => of_call.or(until),
        }
    }

    /// The limits of something that must be done, because others would keep waiting otherwise: if
    /// no time is left, a moment is allowed.
    fn of_clean_up(&self) -> Limits {
        match self.are_exceeded() {
            None => self.clone(),
            Some(_) => Limits::of_a_moment().counted_by(&self.pending),
        }
    }

    pub(crate) fn pending(&self) -> &Pending {
        &self.pending
    }

    /// Refuses further calls if too many were given up.
    pub(crate) fn refuse_more(&self) -> Option<Refusal> {
        let refused = self.are_any && self.pending.is_full();
        refused.then_some(Refusal::TOO_MANY_PENDING)
    }

    /// The limits of a call that ends by itself, with the canceller of its context.
    pub(crate) fn here(&self, canceller: impl FnOnce() -> Option<Canceller>) -> Here {
        Here::new(
            self.deadline(),
            self.abort.as_ref(),
            &self.pending,
            canceller,
        )
    }

    /// Whether no time is left to begin a call.
    fn are_exceeded(&self) -> Option<GivenUp> {
        if self.abort.as_ref().is_some_and(AbortHandle::is_aborted) {
            return Some(GivenUp::Aborted);
        }
        let over = self.until.is_some_and(|until| until <= now());
        let never = self.timeout.is_some_and(|timeout| timeout.is_zero());
        (over || never).then_some(GivenUp::Deadline)
    }
}

/// The last obstacle of a connect that waits for access.
#[derive(Debug, Clone)]
struct Prevented(Option<Arc<Mutex<Option<Error>>>>);

/// A connect that has not been made yet.
pub(crate) struct Opening {
    pub(crate) target: Target,
    pub(crate) disposition_on_drop: Disposition,
    /// Whether to wait while another connection excludes this one.
    pub(crate) waits_for_access: bool,
    pub(crate) limits: Limits,
}

impl Opening {
    /// Why the connect is refused, if it is.
    fn refusal(&self) -> Option<Refusal> {
        if self.target.access != Access::Direct && self.target.protocols.is_empty() {
            return Some(Refusal::NO_PROTOCOL);
        }
        let exceeded = self.limits.are_exceeded();
        let exceeded = exceeded.map(|why| Refusal::given_up(Abandoned::before_it_began(why)));
        exceeded.or_else(|| self.limits.refuse_more())
    }

    fn refuse(&self, refusal: Refusal) -> Error {
        Error::refused(Operation::Connect, &self.target.reader, refusal)
    }

    fn attempts(&self, prevented: &Prevented) -> Attempts {
        Attempts {
            target: self.target.clone(),
            prevented: prevented.clone(),
            end: self.limits.deadline(),
            abort: self.limits.abort.clone(),
        }
    }

    /// If a connect that waits for access is given up, it fails with the obstacle it waited for.
    fn given_up(&self, abandoned: Abandoned, prevented: &Prevented) -> Error {
        let last = match (&prevented.0, abandoned.why) {
            (Some(last), GivenUp::Deadline) => lock(last).take(),
            _ => None,
        };
        last.unwrap_or_else(|| self.refuse(Refusal::given_up(abandoned)))
    }

    fn prevented(&self) -> Prevented {
        Prevented(self.waits_for_access.then(Arc::default))
    }

    fn channel(self, connection: Connection, worker: Option<Worker>) -> Channel {
        Channel {
            agreed: connection.agreed(),
            connection: Some(Box::new(connection)),
            reader: self.target.reader,
            limits: self.limits,
            disposition_on_drop: self.disposition_on_drop,
            waits_for_transactions: true,
            worker,
            #[cfg(feature = "async")]
            detached: None,
        }
    }

    /// Connects within the limits.
    pub(crate) fn open(self) -> Result<Channel> {
        if let Some(refusal) = self.refusal() {
            return Err(self.refuse(refusal));
        }
        let prevented = self.prevented();
        let attempts = self.attempts(&prevented);
        if self.limits.are_none() {
            let connection = block_on(attempts.make(&Permit::GRANTED))?;
            return Ok(self.channel(connection, None));
        }
        let way = &self.target.home.address.way;
        if way.ends_calls() {
            let here = self.limits.here(|| Canceller::ahead(way));
            let opened = block_on(attempts.make(&here.permit()));
            return match here.gave_up_on(&opened) {
                Some(abandoned) => Err(self.given_up(abandoned, &prevented)),
                None => Ok(self.channel(opened?, None)),
            };
        }
        let mut worker = None;
        let connect = |(): &mut (), permit: &Permit<'_>| block_on(attempts.make(permit));
        match run(&mut worker, (), &self.limits, connect) {
            Ok(((), opened)) => Ok(self.channel(opened?, worker)),
            Err(abandoned) => Err(self.given_up(abandoned, &prevented)),
        }
    }
}

/// What connects, as often as necessary.
struct Attempts {
    target: Target,
    prevented: Prevented,
    end: Option<Instant>,
    abort: Option<AbortHandle>,
}

impl Attempts {
    async fn make(self, permit: &Permit<'_>) -> Result<Connection> {
        let mut pause = Pause::default();
        loop {
            let error = match self.target.connect(permit).await {
                Ok(connection) => return Ok(connection),
                Err(error) => error,
            };
            let waits = error.kind() == ErrorKind::SharingViolation;
            match &self.prevented.0 {
                Some(last) if waits => *lock(last) = Some(error),
                _ => return Err(error),
            }
            match permit.here() {
                Some(_) => permit.pause(&mut pause).await,
                None => pause.take(self.end, self.abort.as_ref()),
            }
        }
    }
}

/// A connection, or nothing after a call on it was given up.
#[derive(Debug)]
pub(crate) struct Channel {
    /// Moves to the worker during a call, and stays there if the call is given up.
    connection: Option<Box<Connection>>,
    /// The agreement as of the last time the connection was here.
    agreed: Agreed,
    reader: ReaderName,
    limits: Limits,
    disposition_on_drop: Disposition,
    waits_for_transactions: bool,
    /// Started by the first call with a limit.
    worker: Option<Worker>,
    /// Set for a channel that never blocks its owner's thread.
    #[cfg(feature = "async")]
    detached: Option<detached::Detached>,
}

impl Channel {
    pub(crate) fn reader_name(&self) -> &ReaderName {
        &self.reader
    }

    pub(crate) fn agreed(&self) -> Agreed {
        match &self.connection {
            Some(connection) => connection.agreed(),
            None => self.agreed,
        }
    }

    /// Whether the connection has ended because a call was given up or failed.
    pub(crate) fn is_abandoned(&self) -> bool {
        #[cfg(feature = "async")]
        if self.is_on_its_way_back() {
            return false;
        }
        self.connection.as_ref().is_none_or(|it| it.is_over())
    }

    /// Whether the connection holds a transaction.
    pub(crate) fn in_transaction(&self) -> bool {
        self.connection
            .as_ref()
            .is_some_and(|it| it.in_transaction())
    }

    /// Marks the acknowledged resets as reported to the caller.
    pub(crate) fn resets_are_reported(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.resets_are_reported();
        }
    }

    pub(crate) fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.limits.change(|limits| limits.timeout = timeout);
    }

    /// Sets whether calls to the reader wait for others' transactions.
    pub(crate) fn set_wait_for_transactions(&mut self, wait: bool) {
        self.waits_for_transactions = wait;
    }

    /// Limits the wait for the end of the connection to a moment.
    pub(crate) fn hurry(&mut self) {
        self.limits = Limits::of_a_moment().counted_with(&self.limits);
    }

    /// Returns the handle that stops this connection's calls, creating it if there is none.
    pub(crate) fn abort_handle(&mut self) -> AbortHandle {
        self.limits
            .change(|limits| limits.abort.get_or_insert_with(AbortHandle::new).clone())
    }

    /// Sets the handle that stops the calls.
    #[cfg(feature = "async")]
    pub(crate) fn set_abort(&mut self, abort: Option<AbortHandle>) {
        self.limits.change(|limits| limits.abort = abort);
    }

    /// Sets a deadline for all calls together, unless an earlier one is set. Returns the previous
    /// deadline, for [`Channel::set_end`].
    pub(crate) fn end_within(&mut self, limit: Duration) -> Option<Instant> {
        let before = self.limits.until;
        let end = now().checked_add(limit);
        self.set_end(match (before, end) {
            (Some(before), Some(end)) => Some(before.min(end)),
            (before, end) => before.or(end),
        });
        before
    }

    pub(crate) fn set_end(&mut self, before: Option<Instant>) {
        self.limits.change(|limits| limits.until = before);
    }

    fn refuse(&self, about: About, refusal: Refusal) -> Error {
        about.refuse(&self.reader, refusal)
    }

    /// The connection, if it was not given up and belongs to this process.
    fn usable(&mut self, about: About) -> Result<&mut Connection> {
        let refusal = match &mut self.connection {
            Some(connection) if connection.is_forked() => Refusal::FORKED,
            Some(connection) if connection.is_over() => Refusal::ENDED,
            Some(connection) => {
                connection.set_wait_for_transactions(self.waits_for_transactions);
                return Ok(connection);
            }
            None => Refusal::ABANDONED,
        };
        Err(about.refuse(&self.reader, refusal))
    }

    /// Takes the connection for a call.
    fn take(&mut self, about: About) -> Result<Box<Connection>> {
        self.usable(about)?;
        match self.connection.take() {
            Some(connection) => {
                self.agreed = connection.agreed();
                Ok(connection)
            }
            None => Err(self.refuse(about, Refusal::ABANDONED)),
        }
    }

    /// The limits of a call that begins now, which is refused if no time is left.
    fn limits_of(&self, about: About) -> Result<Limits> {
        match self.limits.are_exceeded() {
            None => Ok(self.limits.clone()),
            Some(_) if about.ends_something() => Ok(self.limits.of_clean_up()),
            Some(why) => {
                // Nothing was begun, so the connection stays usable.
                let abandoned = Abandoned::before_it_began(why);
                Err(self.refuse(about, Refusal::given_up(abandoned)))
            }
        }
    }

    /// Records that the connection stayed with a call that was given up.
    fn lose_connection(&mut self) {
        // The thread ends when the call returns.
        self.worker = None;
        self.agreed.forget();
    }

    #[cold]
    fn give_up(&mut self, about: About, abandoned: Abandoned) -> Error {
        self.lose_connection();
        tracing::debug!(operation = %about.operation, reader_name = %self.reader, ?abandoned, "a call was given up");
        self.refuse(about, Refusal::given_up(abandoned))
    }

    /// Makes a call within the limits.
    pub(crate) fn call<J: Job>(&mut self, call: Call<J>) -> Result<J::Given> {
        let about = call.about;
        call.check(&self.reader)?;
        if self.limits.are_none() {
            return block_on(call.make(self.usable(about)?, &Permit::GRANTED));
        }
        if self.usable(about)?.ends_calls() {
            let limits = self.limits_of(about)?;
            let call = async |connection: &mut Connection, permit: &Permit<'_>| {
                call.make(connection, permit).await
            };
            return self.call_here(about, &limits, call);
        }
        let limits = self.limits_of(about)?;
        let connection = self.take(about)?;
        match run(&mut self.worker, connection, &limits, call.on_worker()) {
            Ok((connection, given)) => {
                self.connection = Some(connection);
                given
            }
            Err(abandoned) => Err(self.give_up(about, abandoned)),
        }
    }

    /// Makes a call that ends by itself on this thread.
    fn call_here<T>(
        &mut self,
        about: About,
        limits: &Limits,
        call: impl AsyncFnOnce(&mut Connection, &Permit<'_>) -> Result<T>,
    ) -> Result<T> {
        let connection = self.usable(about)?;
        let here = limits.here(|| Some(connection.canceller()));
        let given = block_on(connection.within(&here, call));
        let Some(abandoned) = connection.gave_up(&given, &here) else {
            return given;
        };
        if let Some(connection) = self.connection.take() {
            self.agreed = connection.agreed();
            connection.abandon(&here);
        }
        Err(self.give_up(about, abandoned))
    }

    /// Sends a command and returns the response in the connection's own buffer.
    // Always: the compiler's estimate includes the rare paths, but the code is short.
    #[inline(always)]
    pub(crate) fn transmit(&mut self, command: CommandBytes<'_>) -> Result<&[u8]> {
        if !self.limits.are_none() {
            return self.transmit_within_limits(command);
        }
        // Not through a `Call`, which would own the command.
        if Refusal::of_command(&command).is_some() {
            return self.refuse_command(&command);
        }
        match &self.connection {
            Some(connection) if connection.is_ready() && !trace::may_tell() => {}
            _ => return self.transmit_with_care(command),
        }
        match &mut self.connection {
            Some(connection) => connection.send(&command),
            None => Err(About::TRANSMIT.refuse(&self.reader, Refusal::ABANDONED)),
        }
    }

    #[cold]
    fn transmit_within_limits(&mut self, command: CommandBytes<'_>) -> Result<&[u8]> {
        if self.connection.as_mut().is_some_and(|it| it.ends_calls()) {
            return self.transmit_here(command);
        }
        let len = self.call(Call::transmit(command))?;
        self.received(len)
    }

    /// Sends a command without copying it.
    fn transmit_here(&mut self, command: CommandBytes<'_>) -> Result<&[u8]> {
        if Refusal::of_command(&command).is_some() {
            return self.refuse_command(&command);
        }
        self.usable(About::TRANSMIT)?;
        let limits = self.limits_of(About::TRANSMIT)?;
        let transmit = async |connection: &mut Connection, permit: &Permit<'_>| {
            connection.transmit_permitted(permit, command).await
        };
        let len = self.call_here(About::TRANSMIT, &limits, transmit)?;
        self.received(len)
    }

    #[cold]
    fn refuse_command(&self, command: &[u8]) -> Result<&[u8]> {
        let refusal = Refusal::of_command(command).unwrap_or(Refusal::ABANDONED);
        Err(self.refuse(About::TRANSMIT, refusal))
    }

    /// Everything beyond plain sending and receiving.
    #[cold]
    fn transmit_with_care(&mut self, command: CommandBytes<'_>) -> Result<&[u8]> {
        block_on(self.usable(About::TRANSMIT)?.transmit(command))
    }

    /// The response to the last command.
    fn received(&self, len: usize) -> Result<&[u8]> {
        match &self.connection {
            Some(connection) => Ok(connection.received(len)),
            None => Err(self.refuse(About::TRANSMIT, Refusal::ABANDONED)),
        }
    }
}

impl Drop for Channel {
    /// Ends the connection within the limits of its calls, or a shorter one if the card is to be
    /// left as it is.
    fn drop(&mut self) {
        #[cfg(feature = "async")]
        if self.detached.is_some() {
            return self.end_later();
        }
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        // A forked child has no worker; the drop of the connection handles that.
        if connection.is_forked() || connection.is_over() {
            return;
        }
        let disposition = self.disposition_on_drop;
        if self.limits.are_none() {
            return block_on(connection.end(&Permit::GRANTED, disposition));
        }
        let end = move |connection: &mut Box<Connection>, permit: &Permit<'_>| {
            block_on(connection.end(permit, disposition));
        };
        let mut limits = self.limits.of_clean_up();
        if disposition == Disposition::Leave {
            limits.timeout = Some(limits.timeout.map_or(DROP, |timeout| timeout.min(DROP)));
        }
        if connection.ends_calls() {
            let here = limits.here(|| Some(connection.canceller()));
            let end = async |connection: &mut Connection, permit: &Permit<'_>| {
                connection.end(permit, disposition).await;
            };
            block_on(connection.within(&here, end));
            if here.gave_up().is_some() && !connection.is_settled() {
                connection.abandon(&here);
            }
            return;
        }
        // If this takes too long, it continues in the background.
        let _ = run(&mut self.worker, connection, &limits, end);
    }
}

/// Makes a call on the worker, starting one if necessary.
pub(crate) fn run<S: Send + 'static, T: Send + 'static>(
    worker: &mut Option<Worker>,
    subject: S,
    limits: &Limits,
    call: impl FnOnce(&mut S, &Permit<'_>) -> T + Send + 'static,
) -> Result<(S, T), Abandoned> {
    let call = trace::in_span(call);
    let deadline = limits.deadline();
    if worker.is_none() {
        *worker = Worker::start();
    }
    let abort = limits.abort.as_ref();
    match worker {
        Some(worker) => worker.run(subject, deadline, abort, &limits.pending, call),
        None => Err(Abandoned::before_it_began(GivenUp::NoThread)),
    }
}
