//! Sessions: work on a card that goes on after resets, removals and restarts.

#[cfg(feature = "async")]
mod async_session;
mod builder;
mod card;
mod error;
mod event;
mod guard;
mod recovery;
mod steps;

use std::fmt;
use std::time::Duration;

use crate::card::{Card, Hold, Transaction};
use crate::context::Context;
use crate::error::{BoxError, Error, ErrorKind, Operation, Recovery, Refusal, Result};
use crate::limits::AbortHandle;
use crate::values::{Disposition, Initialization, ReaderName};

#[cfg(feature = "async")]
pub use async_session::AsyncSession;
use builder::{Config, Events, Hooks};
pub use builder::{SessionBuilder, SetUpWhen};
pub use card::SessionCard;
use card::slice;
pub use error::SessionError;
pub use event::SessionEvent;
pub use guard::SessionGuard;
use recovery::{Action, Over, Trial, action, wants_reset};
use steps::{Stop, attend, begin, can_recover, look, prepare};

/// How long the end of a connection is waited for, in a session with a deadline.
const RELEASE: Duration = Duration::from_secs(1);

/// How often at most a session recovers when nobody has asked it to do anything.
const BRIEF: u32 = 4;

/// Work on a card that survives what happens to cards: other programs reset it, somebody
/// pulls it out and puts it back, the service is restarted.
///
/// A session keeps a card connected. Each [`run`](Session::run) does a piece of work in a
/// transaction, after a set-up that the session repeats whenever the card may have lost its
/// state. What fails on the way is recovered as [`Error::recovery`] says, until the
/// [time-out](SessionBuilder::timeout).
///
/// ```no_run
/// use scard::{BoxError, Context, Session, SessionError};
///
/// let context = Context::establish()?;
/// let mut session = Session::builder(&context)
///     .setup(|card| -> Result<(), BoxError> {
///         let answer = card.transmit(b"\x00\xA4\x04\x00\x05\xA0\x00\x00\x03\x08")?;
///         match answer.ends_with(&[0x90, 0x00]) {
///             true => Ok(()),
///             false => Err("this card does not have the application".into()),
///         }
///     })
///     .on_event(|event| eprintln!("{event:?}"))
///     .open()?;
///
/// let data = session.run(|card| card.transmit(b"\x00\xCB\x3F\xFF\x03\x5C\x01\x7E\x00"));
/// match data {
///     Ok(data) => println!("{data:02X?}"),
///     Err(SessionError::Interrupted { error, completed, .. }) => {
///         println!("after {completed} commands: {error}");
///     }
///     Err(error) => return Err(error.into()),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What is repeated, and what is not
///
/// A command that may have reached the card is never sent again, unless the program said that
/// is fine:
///
/// - The set-up and identity hooks are repeated at will.
/// - The work of [`run`](Session::run) is called again only if no command of it has run, for
///   certain.
/// - The work of [`run_restartable`](Session::run_restartable) is called again from its
///   beginning.
///
/// # Recovery
///
/// | [`Error::recovery`] | What the session does |
/// |---|---|
/// | [`Reconnect`](Recovery::Reconnect) | reconnects and leaves the card as it is; if another protocol has become active that the session does not accept, with a reset |
/// | [`ResetCard`](Recovery::ResetCard) | reconnects with a reset |
/// | [`InsertCard`](Recovery::InsertCard), [`AttachReader`](Recovery::AttachReader), [`ConnectAgain`](Recovery::ConnectAgain) | gives up the connection, waits for a card, connects |
/// | [`RetryLater`](Recovery::RetryLater) | tries again, after pauses that grow from 10 ms to a second |
/// | others | nothing: [`SessionError::Card`]. With pcsc-lite, two answers are believed only when they come a third time: `SCARD_W_SECURITY_VIOLATION`, which also comes from a service that ends, and `SCARD_E_PROTO_MISMATCH` when the card is connected or reconnected, which also comes at the moment at which a card loses its power |
///
/// All but the first recovery in a run come after such a pause. Each is reported to
/// [`SessionBuilder::on_event`].
///
/// # Threads
///
/// A session is used by one thread at a time and can be sent to another. With a deadline, its
/// calls run on a thread that it keeps for them; see
/// [`Card::set_timeout`](crate::Card::set_timeout).
/// An [abort handle](crate::ConnectOptions::abort_handle) stops it from any thread.
pub struct Session {
    card: Option<Card>,
    state: State,
    config: Config,
    hooks: Hooks,
    events: Events,
}

/// What the session knows of the card.
struct State {
    /// Whether the set-up has run since the card last lost its state, as far as is known.
    set_up: bool,
    /// Whether this could be another card than the one that was identified.
    unidentified: bool,
    identity: Option<Vec<u8>>,
    /// Where the card was last.
    reader: Option<ReaderName>,
    /// Where another card than the right one was found in this run.
    refused: Vec<ReaderName>,
    /// A failure of the last run that the next one has to recover from.
    pending: Option<Error>,
    /// Whether the next run has to give up the connection before it begins.
    is_unfit: bool,
    /// Whether it was told that there is no card.
    loss_is_told: bool,
}

impl State {
    fn new() -> State {
        State {
            set_up: false,
            unidentified: true,
            identity: None,
            reader: None,
            refused: Vec::new(),
            pending: None,
            is_unfit: false,
            loss_is_told: false,
        }
    }
}

impl Session {
    /// Describes a session with the service that `context` belongs to.
    pub fn builder(context: &Context) -> SessionBuilder {
        SessionBuilder::new(context)
    }

    /// The reader that the card is in, or was last in.
    pub fn reader_name(&self) -> Option<&ReaderName> {
        self.state.reader.as_ref()
    }

    /// The identity that the session began with, if it has an
    /// [identity hook](SessionBuilder::identity).
    pub fn identity(&self) -> Option<&[u8]> {
        self.state.identity.as_deref()
    }

    /// Forgets the identity: the next card is the session's, whichever it is.
    pub fn forget_identity(&mut self) {
        self.state.identity = None;
        self.state.unidentified = true;
    }

    /// Does a piece of work, in a transaction, after the set-up. Its commands reach the card
    /// at most once.
    ///
    /// If the card fails before any command of the work has reached it, the session recovers
    /// and calls `work` again. If it fails later, the work is
    /// [`Interrupted`](SessionError::Interrupted), and it is up to the program to find out
    /// how far the card got. Either way the next run begins with a recovery and a set-up.
    ///
    /// [`SessionCard::control`] counts as a command; status and attributes do not.
    ///
    /// A function that is generic over [`Transmit`](crate::Transmit) is passed as
    /// `|card| read(card)`.
    ///
    /// The work can fail with any error: [`Error`], an error of the program, a text,
    /// `anyhow::Error`. A closure that uses `?` has to name the type. The [`SessionError`] contains
    /// it unchanged, unless the last call on the card had failed and no command had run. Whether the card failed, the session decides by the last call on the card; if
    /// that succeeded, by the [`Error`] of an earlier call, where it [is found](Error::find) behind
    /// the error of the work.
    ///
    /// ```no_run
    /// # fn demo(session: &mut scard::Session) -> anyhow::Result<()> {
    /// use anyhow::Context;
    /// use scard::Command;
    ///
    /// let label = session.run(|card| -> anyhow::Result<String> {
    ///     let read = Command::new(0x00, 0xB0, 0x00, 0x00)?.expecting_all();
    ///     let bytes = card.exchange(&read)?.ok().context("no label")?;
    ///     Ok(String::from_utf8(bytes)?)
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// | | |
    /// |---|---|
    /// | [`Work`](SessionError::Work) | the work returned an error that is not about a call on the card that failed |
    /// | [`Interrupted`](SessionError::Interrupted) | the card failed after a command of the work had run, or may have |
    /// | [`Deadline`](SessionError::Deadline) | there was no success by the deadline; no command of the work has run |
    /// | [`Card`](SessionError::Card) | no recovery is possible; no command of the work has run |
    /// | [`WrongCard`](SessionError::WrongCard) | there is another card |
    /// | [`Hook`](SessionError::Hook) | a hook has failed for a reason of its own |
    ///
    /// # Platform notes
    ///
    /// Windows ends a transaction in which nothing happens for five seconds by resetting the
    /// card: [`SessionCard::wait_for`].
    pub fn run<T, E: Into<BoxError>>(
        &mut self,
        work: impl FnMut(&mut SessionCard<'_>) -> Result<T, E>,
    ) -> Result<T, SessionError> {
        let trial = self.trial();
        self.work(trial, false, work)
    }

    /// Does a piece of work that can be repeated: after every failure that the session can
    /// recover from, `work` is called again from its beginning, even if commands have run.
    ///
    /// ```no_run
    /// # fn demo(session: &mut scard::Session) -> Result<(), scard::SessionError> {
    /// let certificate = session.run_restartable(|card| -> scard::Result<_> {
    ///     let mut data = Vec::new();
    ///     for offset in 0..4 {
    ///         let part = card.transmit(&[0x00, 0xB0, offset, 0x00, 0x00])?;
    ///         data.extend_from_slice(part.strip_suffix(&[0x90, 0x00]).unwrap_or_default());
    ///     }
    ///     Ok(data)
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`run`](Session::run); [`Interrupted`](SessionError::Interrupted) only if
    /// no recovery is possible any more, by the deadline or at all.
    pub fn run_restartable<T, E: Into<BoxError>>(
        &mut self,
        work: impl FnMut(&mut SessionCard<'_>) -> Result<T, E>,
    ) -> Result<T, SessionError> {
        let trial = self.trial();
        self.work(trial, true, work)
    }

    /// Begins a piece of work and returns the card for it: in a transaction, identified and set
    /// up. It ends when the [guard](SessionGuard) does.
    ///
    /// For work that cannot be a closure, such as the implementation of another crate's trait.
    /// The session recovers until the card is ready, and not while the guard lives: what fails
    /// then is up to the program, and the next run begins with a recovery and a set-up. Commands
    /// reach the card at most once.
    ///
    /// ```no_run
    /// # fn demo(session: &mut scard::Session) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut card = session.begin()?;
    /// let challenge = card.transmit(b"\x00\x84\x00\x00\x08")?;
    /// card.end()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The [time-out](SessionBuilder::timeout) counts from here on, for the whole of the work.
    ///
    /// # Errors
    ///
    /// Those of [`run`](Session::run), as far as they are not about work.
    pub fn begin(&mut self) -> Result<SessionGuard<'_>, SessionError> {
        let trial = self.trial();
        let end = trial.end;
        let hold = self.perform(trial, |session, trial| session.attempt_to_begin(trial))?;
        let Session {
            card,
            state,
            config,
            ..
        } = self;
        let Some(card) = card else {
            // It cannot be begun without one.
            let refused = Error::given_up(Operation::BeginTransaction, Refusal::ABANDONED);
            return Err(SessionError::Card(refused));
        };
        card.set_end(end);
        let transaction = Transaction::resume(card, hold);
        let card = SessionCard::new(transaction, config.keep_alive, end);
        Ok(SessionGuard::new(card, state))
    }

    /// Looks whether the card is still there, and if not, recovers now, so that the next run
    /// need not: connects, identifies and sets up.
    ///
    /// It does not wait for a card, whatever
    /// [`wait_for_card`](SessionBuilder::wait_for_card) says, and recovers a few times at
    /// most. Failing does no harm: the next run recovers as it would have without this.
    ///
    /// Corresponds to `SCardStatus`, which does not disturb the card. While another program
    /// holds a transaction, it waits, until the [time-out](SessionBuilder::timeout).
    ///
    /// # Errors
    ///
    /// Those of [`run`](Session::run), as far as they are not about work.
    pub fn keep_alive(&mut self) -> Result<(), SessionError> {
        let limit = self.config.attempts.unwrap_or(u32::MAX).min(BRIEF);
        let mut trial = Trial::new(self.config.timeout, Some(limit), false);
        self.let_go_if_unfit();
        if let (Some(card), None) = (&mut self.card, &self.state.pending) {
            card.set_end(trial.end);
            let status = match card.status().map(drop) {
                // A transaction finds out what a status would.
                Err(error) if error.kind() == ErrorKind::StaleProcess => card
                    .transaction()
                    .and_then(|transaction| transaction.end(Disposition::Leave)),
                status => status,
            };
            if status.is_ok() {
                card.set_end(None);
            }
            match status {
                Ok(()) => return Ok(()),
                Err(error) => match self.recover(error, &mut trial) {
                    Ok(()) => {}
                    Err(Stop::Recover(error)) => self.remember(error),
                    Err(Stop::Fail(error)) => return Err(error),
                },
            }
        }
        self.work(trial, false, |_| Ok::<_, Error>(()))
    }

    /// Waits for something other than the card, such as the next customer, and
    /// [keeps the card alive](Session::keep_alive) meanwhile: so a reset or a restarted
    /// service is found, and recovered from, before the next run.
    ///
    /// `wait` is called again and again with a time, the interval of
    /// [`SessionBuilder::keep_alive`]; it waits that long itself and gives what it was waiting
    /// for when that is there. Everything is done on this thread. Without an interval it is
    /// asked to wait for a day at a time.
    ///
    /// Whether the card could be kept alive shows in the [events](SessionBuilder::on_event)
    /// and in the next run.
    ///
    /// ```no_run
    /// # fn demo(session: &mut scard::Session, orders: std::sync::mpsc::Receiver<Vec<u8>>)
    /// # -> Result<(), Box<dyn std::error::Error>> {
    /// loop {
    ///     let command = session.wait_for(|time| orders.recv_timeout(time).ok());
    ///     let answer = session.run(|card| card.transmit(&command))?;
    ///     println!("{answer:02X?}");
    /// }
    /// # }
    /// ```
    pub fn wait_for<T>(&mut self, mut wait: impl FnMut(Duration) -> Option<T>) -> T {
        loop {
            if let Some(found) = wait(slice(self.config.keep_alive, None)) {
                return found;
            }
            if let Err(error) = self.keep_alive() {
                tracing::debug!(error = %format_args!("{error:#}"), "the card is not there");
            }
        }
    }

    /// What stops it for good.
    #[cfg(feature = "async")]
    pub(crate) fn abort_handle(&self) -> Option<AbortHandle> {
        self.config.options.abort.clone()
    }

    /// Does something with the session that `stop` stops; afterwards it stops nothing more.
    #[cfg(feature = "async")]
    pub(crate) fn stopped_by<T>(
        &mut self,
        stop: &AbortHandle,
        f: impl FnOnce(&mut Session) -> T,
    ) -> T {
        let own = self.abort_handle();
        self.set_abort(Some(stop.clone()));
        let given = f(self);
        self.set_abort(own);
        given
    }

    #[cfg(feature = "async")]
    fn set_abort(&mut self, abort: Option<AbortHandle>) {
        if let Some(card) = &mut self.card {
            card.set_abort(abort.clone());
        }
        self.config.options.abort = abort;
    }

    fn trial(&self) -> Trial {
        let Config {
            timeout,
            attempts,
            wait_for_card,
            ..
        } = self.config;
        Trial::new(timeout, attempts, wait_for_card)
    }

    fn work<T, E: Into<BoxError>>(
        &mut self,
        trial: Trial,
        restartable: bool,
        mut work: impl FnMut(&mut SessionCard<'_>) -> Result<T, E>,
    ) -> Result<T, SessionError> {
        self.perform(trial, |session, trial| {
            session.attempt(trial, restartable, &mut work)
        })
    }

    /// Tries until it succeeds or nothing helps any more.
    fn perform<T>(
        &mut self,
        mut trial: Trial,
        mut attempt: impl FnMut(&mut Session, &mut Trial) -> Result<T, Stop>,
    ) -> Result<T, SessionError> {
        self.let_go_if_unfit();
        let mut failed = self.state.pending.take();
        self.state.refused.clear();
        let result = loop {
            let attempted = match failed.take() {
                Some(error) => self.recover(error, &mut trial),
                None => Ok(()),
            }
            .and_then(|()| attempt(self, &mut trial));
            match attempted {
                Ok(value) => break Ok(value),
                Err(Stop::Recover(error)) => failed = Some(error),
                Err(Stop::Fail(SessionError::WrongCard { .. })) if self.has_other(&trial) => {}
                Err(Stop::Fail(error)) => break Err(error),
            }
        };
        if let Some(card) = &mut self.card {
            card.set_end(None);
        }
        result
    }

    /// Whether the right card may be in another reader than those that were tried.
    fn has_other(&self, trial: &Trial) -> bool {
        let found = look(&self.config, &self.state, trial);
        matches!(found, Ok(Some(_)))
    }

    /// Does what helps against a failure.
    fn recover(&mut self, error: Error, trial: &mut Trial) -> Result<(), Stop> {
        self.state.set_up = false;
        let recovery = trial.recovery(&error);
        // A connection that was lost says nothing of the card that may be there now.
        let absent = !trial.wait && self.card.is_none();
        let action = match recovery {
            Recovery::InsertCard | Recovery::AttachReader if absent => None,
            recovery => action(recovery),
        };
        let Some(action) = action else {
            if absent && !std::mem::replace(&mut self.state.loss_is_told, true) {
                let error = error.clone();
                self.events.tell(SessionEvent::CardLost { error });
            }
            self.remember(error.clone());
            return Err(Stop::Fail(SessionError::Card(error)));
        };
        let attempt = match trial.next() {
            Ok(attempt) => attempt,
            Err(over) => {
                self.remember(error.clone());
                return Err(Stop::Fail(match over {
                    Over::Attempts => SessionError::Card(error),
                    Over::Deadline => SessionError::Deadline {
                        cause: Some(trial.cause(error)),
                    },
                }));
            }
        };
        trial.recovers_from(&error);
        self.events.tell(SessionEvent::Recovering {
            error,
            recovery,
            attempt,
        });
        trial.pause(action, self.config.options.abort.as_ref());
        match action {
            Action::Retry => {}
            Action::ConnectAgain => self.let_go(),
            Action::Acknowledge => self.reconnect(Initialization::Leave, trial)?,
            Action::Reset => self.reconnect(Initialization::Reset, trial)?,
        }
        Ok(())
    }

    fn reconnect(&mut self, mut initialization: Initialization, trial: &mut Trial) -> Result<()> {
        let Some(card) = &mut self.card else {
            return Ok(());
        };
        self.state.unidentified = true;
        card.set_end(trial.end);
        let options = &self.config.options;
        let (share_mode, protocols) = (options.share_mode, options.protocols);
        let mut reconnected = card.reconnect(share_mode, protocols, initialization);
        if let (Initialization::Leave, Err(error)) = (initialization, &reconnected) {
            if wants_reset(error) {
                initialization = Initialization::Reset;
                reconnected = card.reconnect(share_mode, protocols, initialization);
            }
        }
        let protocol = reconnected?;
        trial.has_reconnected();
        self.events.tell(SessionEvent::Reconnected {
            initialization,
            protocol,
        });
        Ok(())
    }

    /// Keeps in mind what the next run has to do about a failure.
    fn remember(&mut self, error: Error) {
        self.state.set_up = false;
        let abandoned = self.card.as_ref().is_some_and(Card::is_abandoned);
        let ends = error.operation() == Operation::EndTransaction;
        match action(error.recovery()) {
            _ if abandoned => self.let_go(),
            // There was no time to begin the call.
            _ if error.kind() == ErrorKind::DeadlineExceeded => {}
            Some(Action::Acknowledge | Action::Reset) => self.state.pending = Some(error),
            Some(Action::ConnectAgain) => self.let_go(),
            // Others may be kept out for as long as this connection lives.
            Some(Action::Retry) | None if ends => self.let_go(),
            Some(Action::Retry) | None => {}
        }
    }

    fn let_go_if_unfit(&mut self) {
        if std::mem::take(&mut self.state.is_unfit) {
            self.let_go();
        }
    }

    /// Ends the connection, within limits.
    fn let_go(&mut self) {
        let Some(mut card) = self.card.take() else {
            return;
        };
        if self.config.timeout.is_some() {
            let own = self.config.call_timeout().unwrap_or(RELEASE);
            card.set_timeout(Some(own.min(RELEASE)));
        }
        drop(card);
    }

    /// Tries once: connects if there is no connection, identifies, sets up, works.
    fn attempt<T, E: Into<BoxError>>(
        &mut self,
        trial: &mut Trial,
        restartable: bool,
        work: &mut impl FnMut(&mut SessionCard<'_>) -> Result<T, E>,
    ) -> Result<T, Stop> {
        let Session {
            card,
            state,
            config,
            hooks,
            events,
        } = self;
        let mut card = begin(card, config, state, events, trial)?;
        let prepared = prepare(&mut card, config, hooks, state, events);
        let outcome = prepared.and_then(|()| attend(&mut card, state, work));
        let ended = card.finish();
        let outcome = match outcome {
            Err(Stop::Fail(SessionError::Interrupted { error, .. }))
                if restartable && can_recover(&error, trial) =>
            {
                Err(Stop::Recover(error))
            }
            outcome => outcome,
        };
        self.settle(outcome.as_ref().err(), ended);
        outcome
    }

    /// Connects, identifies and sets up as [`attempt`](Session::attempt) does, and leaves the
    /// transaction as it is.
    fn attempt_to_begin(&mut self, trial: &mut Trial) -> Result<Hold, Stop> {
        let Session {
            card,
            state,
            config,
            hooks,
            events,
        } = self;
        let mut card = begin(card, config, state, events, trial)?;
        match prepare(&mut card, config, hooks, state, events) {
            Ok(()) => Ok(card.suspend()),
            Err(stop) => {
                let ended = card.finish();
                self.settle(Some(&stop), ended);
                Err(stop)
            }
        }
    }

    /// Notes how an attempt, and then its transaction, has ended.
    fn settle(&mut self, stop: Option<&Stop>, ended: Result<()>) {
        match stop {
            Some(Stop::Recover(_)) => {}
            Some(Stop::Fail(SessionError::Interrupted { error, .. })) => {
                self.remember(error.clone());
            }
            Some(Stop::Fail(SessionError::WrongCard { .. })) => {
                let refused = self.card.as_ref().map(|card| card.reader_name().clone());
                self.state.refused.extend(refused);
                self.let_go();
            }
            _ => {
                if let Err(error) = ended {
                    self.remember(error);
                }
            }
        }
    }
}

impl Drop for Session {
    /// With a deadline, and once it was aborted, a session waits for a moment only until
    /// connection and context have ended; what takes longer goes on by itself.
    fn drop(&mut self) {
        let abort = self.config.options.abort.as_ref();
        if self.config.timeout.is_none() && !abort.is_some_and(AbortHandle::is_aborted) {
            return;
        }
        if let Some(card) = &mut self.card {
            card.hurry();
        }
        self.card = None;
        self.config.context.hurry_if_last();
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("card", &self.card)
            .field("set_up", &self.state.set_up)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
