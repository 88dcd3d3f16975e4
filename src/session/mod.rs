//! Sessions: work on a card that survives resets, removals and restarts.

#[cfg(feature = "async")]
mod async_guard;
#[cfg(feature = "async")]
mod async_session;
mod builder;
mod candidates;
mod card;
mod connect;
mod engine;
mod error;
mod event;
mod guard;
mod hooks;
mod idle;
mod recovery;
mod steps;

use std::fmt;
use std::time::Duration;

use crate::card::Card;
use crate::context::Context;
use crate::error::{BoxError, Error, Operation, Refusal, Result};
use crate::limits::AbortHandle;
use crate::values::ReaderName;

#[cfg(feature = "async")]
pub use async_guard::AsyncSessionGuard;
#[cfg(feature = "async")]
pub use async_session::AsyncSession;
use builder::{Config, Events};
pub use builder::{SessionBuilder, SetUpWhen};
use candidates::{Candidate, TurnedAways};
pub use card::SessionCard;
use card::{SuspendedWork, slice};
pub use error::{LoginWithheld, SessionError};
pub use event::{SessionEvent, SessionHook};
pub use guard::SessionGuard;
pub use hooks::NotThisCard;
use hooks::{Hooks, Login, hook};
use idle::Idle;
use recovery::Ladder;

/// Work on a card that survives resets by other programs, removal and reinsertion of the card, and
/// restarts of the service.
///
/// A session keeps a card connected. Each [`run`](Session::run) performs a piece of work in a
/// transaction, after a set-up that the session repeats whenever the card may have lost its state.
/// The session recovers from failures as [`Error::recovery`] says, until the
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
/// # Repetition
///
/// A command that may have reached the card is never sent again unless the program allowed it:
///
/// - The set-up and identity hooks are repeated if the card failed, but not if it answered and the
///   hook failed anyway.
/// - The [login](SessionBuilder::login) is called again only if it is certain that none of its
///   commands has run. Refused credentials are not presented again.
/// - The work of [`run`](Session::run) is called again only if it is certain that none of its
///   commands has run.
/// - The work of [`run_restartable`](Session::run_restartable) is called again from the beginning.
///
/// # Choice of the card
///
/// A session that may use [several cards](SessionBuilder::cards) takes the card in the reader it
/// used before, or else the first. It tries the next card if this one is held exclusively by
/// another program, does not answer, supports none of the accepted protocols, has another
/// [identity](SessionBuilder::identity), or if the identity or set-up hook returns [`NotThisCard`].
/// If no card is suitable, the session waits or fails, and [`Error::seen`] reports what was in each
/// reader.
///
/// # Recovery
///
/// | [`Error::recovery`] | What the session does |
/// |---|---|
/// | [`Reconnect`](crate::Recovery::Reconnect) | reconnects without a reset; with a reset if the protocol that is now active is not accepted |
/// | [`ResetCard`](crate::Recovery::ResetCard), and failures of a card that does not answer | reconnects with a warm reset, then with a cold reset, then connects anew (without a connection that is first; the resets follow only with pcsc-lite, and if the session waits for cards). After two rounds without any answer, and with pcsc-lite not before a second has passed: [`SessionError::Unresponsive`]. The steps continue for a card that answers and fails again |
/// | [`InsertCard`](crate::Recovery::InsertCard), [`AttachReader`](crate::Recovery::AttachReader), [`ConnectAgain`](crate::Recovery::ConnectAgain) | drops the connection, waits for a card, connects |
/// | [`RetryLater`](crate::Recovery::RetryLater) | tries again, after pauses that grow from 10 ms to 1 s |
/// | others | nothing: [`SessionError::Card`]. With pcsc-lite, two answers are accepted only when they come a third time: [`AccessDenied`](crate::ErrorKind::AccessDenied), which a starting or terminating service returns too, and, not before a second has passed, `SCARD_E_PROTO_MISMATCH` from a connect or reconnect, which is also returned when a card loses power, and for a card whose removal the service has not noticed yet |
///
/// A card that answers but refuses the protocol parameters (PPS) is reset and connected again: with
/// all protocols that the session accepts, then with each alone. If it refuses them all, the
/// session tries the next card, or fails with [`SessionError::Card`].
///
/// Each recovery in a run but the first is preceded by such a pause. Each is reported to
/// [`SessionBuilder::on_event`].
///
/// # Other programs
///
/// An idle session stays connected. Other programs can use the card at the same time, except those
/// that need it exclusively, such as gpg's scdaemon by default. [`SessionBuilder::release_after`]
/// and [`Session::release`] release the card for them.
///
/// # Threads
///
/// A session is used by one thread at a time and can be sent to another. With a deadline, its calls
/// run on a thread of its own; see [`Card::set_timeout`](crate::Card::set_timeout). An [abort
/// handle](crate::ConnectOptions::abort_handle) stops it from any thread.
pub struct Session {
    card: Option<Card>,
    state: State,
    config: Config,
    hooks: Hooks,
    events: Events,
    /// Holds the card between runs, if an idle card is to be released.
    idle: Option<Idle>,
}

/// What the session knows about the card.
#[derive(Default)]
struct State {
    /// Whether the set-up has run since the card last lost its state, as far as known.
    set_up: bool,
    /// Whether the last set-up was not followed by a login.
    needs_login: bool,
    /// Whether a hook failed that the program has not asked for again.
    hook_failed: bool,
    /// Whether the identity of this card was checked.
    is_identified: bool,
    /// How many connections there have been.
    connection: u64,
    /// How many times the card may have been reset or replaced.
    resets: u64,
    identity: Option<Vec<u8>>,
    /// The last known reader of the card.
    reader: Option<ReaderName>,
    /// The card of the last attempt to connect.
    candidate: Option<Candidate>,
    /// Whether the card of the last attempt was ever connected.
    has_connected: bool,
    turned_away: TurnedAways,
    ladder: Ladder,
    /// A failure of the last run that the next run has to recover from.
    pending: Option<Error>,
    /// Whether the next run has to drop the connection first.
    is_unfit: bool,
    /// Whether the loss of the card was reported.
    loss_is_told: bool,
    /// Whether the card was released and the session not used since.
    is_released: bool,
    /// The work of a guard that does not borrow the session at present.
    suspended: Option<SuspendedWork>,
}

impl State {
    /// From now on the card may be another one, and has lost its state.
    fn card_is_new(&mut self) {
        self.set_up = false;
        self.is_identified = false;
        self.resets += 1;
    }
}

impl Session {
    /// Returns a builder for a session with the service of `context`.
    pub fn builder(context: &Context) -> SessionBuilder {
        SessionBuilder::new(context)
    }

    /// Returns the reader that the card is in, or was last in.
    pub fn reader_name(&self) -> Option<&ReaderName> {
        self.state.reader.as_ref()
    }

    /// Returns the identity that the session began with, if it has an [identity
    /// hook](SessionBuilder::identity).
    pub fn identity(&self) -> Option<&[u8]> {
        self.state.identity.as_deref()
    }

    /// Forgets the identity: the session accepts any card next. A [login](SessionBuilder::login)
    /// that was called before needs [new credentials](Session::set_login).
    pub fn forget_identity(&mut self) {
        self.state.identity = None;
        self.state.is_identified = false;
        // Any of them may be suitable now.
        self.state.turned_away.clear();
        if let Some(login) = &mut self.hooks.login {
            login.forget_card();
        }
    }

    /// Replaces the credentials of [`SessionBuilder::login`], if there are any, whether or not they
    /// were refused. The new ones are presented in the next run.
    pub fn set_login<E: Into<BoxError>>(
        &mut self,
        login: impl FnMut(&mut SessionCard<'_>) -> Result<(), E> + Send + 'static,
    ) {
        self.hooks.login = Some(Login::new(hook(login)));
        self.state.needs_login = true;
    }

    /// Sets the time-out of the next runs, like [`SessionBuilder::timeout`]: for work that takes
    /// longer than usual, such as generating a key.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.config.timeout = timeout;
    }

    /// Releases the card now: disconnects, so that a program that needs the card exclusively can
    /// have it. Identity and hooks stay. The next run connects again, identifies the card and sets
    /// it up; until then [`keep_alive`](Session::keep_alive) leaves the card alone.
    ///
    /// Corresponds to `SCardDisconnect`. See also [`SessionBuilder::release_after`].
    pub fn release(&mut self) {
        self.wake();
        self.state.pending = None;
        if self.card.is_some() {
            self.let_go();
            self.is_released();
        }
        // Even if no card is connected right now.
        self.state.is_released = true;
    }

    /// Performs a piece of work in a transaction, after the set-up. Its commands reach the card at
    /// most once.
    ///
    /// If the card fails before a command of the work has reached it, the session recovers and
    /// calls `work` again. If it fails later, the work is
    /// [`Interrupted`](SessionError::Interrupted), and the program has to find out how far the card
    /// got. In both cases the next run begins with a recovery and a set-up.
    ///
    /// [`Control::control`](crate::Control::control) counts as a command; reading the status or an
    /// attribute does not.
    ///
    /// Pass a function that is generic over [`Transmit`](crate::Transmit) as `|card| read(card)`.
    /// Open logical channels [within the work](crate::LogicalChannel#within-a-session).
    ///
    /// The work can fail with any error: an [`Error`], an error of the program, a string,
    /// `anyhow::Error`. A closure that uses `?` has to name the type. The [`SessionError`] contains
    /// the error unchanged, except if the last call on the card failed and no command has run. The
    /// last call on the card decides whether the card failed; if that call succeeded, the [`Error`]
    /// of an earlier call decides if it [is found](Error::find) behind the error of the work.
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
    /// | [`Work`](SessionError::Work) | the work returned an error that is not about a failed call on the card |
    /// | [`Interrupted`](SessionError::Interrupted) | the card failed after a command of the work has run or may have run |
    /// | [`Deadline`](SessionError::Deadline) | the deadline passed without success; no command of the work has run |
    /// | [`Card`](SessionError::Card) | no recovery is possible; no command of the work has run |
    /// | [`WrongCard`](SessionError::WrongCard) | the card is not the one that the session began with |
    /// | [`Hook`](SessionError::Hook) | a hook failed for a reason of its own |
    /// | [`Login`](SessionError::Login), [`LoginWithheld`](SessionError::LoginWithheld) | the [login](SessionBuilder::login) failed, or could waste a try |
    /// | [`Unresponsive`](SessionError::Unresponsive) | the card does not answer |
    ///
    /// # Platform notes
    ///
    /// Windows resets the card to end a transaction that is idle for five seconds; see
    /// [`SessionCard::wait_for`].
    pub fn run<T, E: Into<BoxError>>(
        &mut self,
        work: impl FnMut(&mut SessionCard<'_>) -> Result<T, E>,
    ) -> Result<T, SessionError> {
        let trial = self.trial();
        self.work(trial, false, work)
    }

    /// Performs a piece of work that can be repeated: after every failure that the session can
    /// recover from, `work` is called again from the beginning, even if commands have run.
    ///
    /// ```no_run
    /// # fn demo(session: &mut scard::Session) -> Result<(), scard::SessionError> {
    /// use scard::Command;
    /// use scard::apdu::ExchangeError;
    ///
    /// let certificate = session.run_restartable(|card| -> Result<_, ExchangeError> {
    ///     let mut data = Vec::new();
    ///     for page in 0..4 {
    ///         let read = Command::new(0x00, 0xB0, page, 0x00)?.expecting(256)?;
    ///         data.extend(card.exchange(&read)?.ok()?);
    ///     }
    ///     Ok(data)
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`run`](Session::run); [`Interrupted`](SessionError::Interrupted) only if the
    /// deadline has passed or no recovery is possible.
    pub fn run_restartable<T, E: Into<BoxError>>(
        &mut self,
        work: impl FnMut(&mut SessionCard<'_>) -> Result<T, E>,
    ) -> Result<T, SessionError> {
        let trial = self.trial();
        self.work(trial, true, work)
    }

    /// Begins a piece of work and returns its card: in a transaction, identified and set up.
    ///
    /// The work ends with the [guard](SessionGuard).
    ///
    /// Use this for work that cannot be a closure, such as the implementation of another crate's
    /// trait. The session recovers until the card is ready, but not while the guard lives: the
    /// program handles failures then, and the next run begins with a recovery and a set-up.
    /// Commands reach the card at most once.
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
    /// The [time-out](SessionBuilder::timeout) starts here and covers the whole work.
    ///
    /// # Errors
    ///
    /// Those of [`run`](Session::run) that are not about the work.
    pub fn begin(&mut self) -> Result<SessionGuard<'_>, SessionError> {
        let trial = self.trial();
        let work = self.perform(trial, |session, trial| session.attempt_to_begin(trial))?;
        if let Some(idle) = &mut self.idle {
            idle.begin();
        }
        self.state.suspended = Some(work);
        self.resume().map_err(SessionError::Card)
    }

    /// Returns the guard of the suspended work. Fails if there is none.
    fn resume(&mut self) -> Result<SessionGuard<'_>> {
        match (&mut self.card, self.state.suspended.take()) {
            (Some(card), Some(work)) => {
                let card = SessionCard::resume(card, work, &mut self.state);
                Ok(SessionGuard::new(card))
            }
            _ => Err(Error::given_up(
                Operation::BeginTransaction,
                Refusal::ABANDONED,
            )),
        }
    }

    /// Checks that the card is still there, and if not, recovers now instead of in the next run:
    /// connects, identifies the card and sets it up.
    ///
    /// This does not wait for a card, whatever [`wait_for_card`](SessionBuilder::wait_for_card)
    /// says, and recovers a few times at most. A hook that was refused is not repeated, nor is a card
    /// that does not answer tried again, before the next run. A failure is harmless: the next run
    /// recovers as it would have without this call.
    ///
    /// Corresponds to `SCardStatus`, which does not disturb the card. While another program holds a
    /// transaction, this waits, at most until the [time-out](SessionBuilder::timeout).
    ///
    /// # Errors
    ///
    /// Those of [`run`](Session::run) that are not about the work.
    pub fn keep_alive(&mut self) -> Result<(), SessionError> {
        self.wake();
        if self.state.is_released {
            return Ok(());
        }
        let kept = self.look_after_card();
        self.rest();
        kept
    }

    /// Waits for something other than the card, such as the next customer, and [keeps the card
    /// alive](Session::keep_alive) meanwhile. A reset or a restart of the service is noticed, and
    /// recovered from, before the next run.
    ///
    /// `wait` is called repeatedly with a duration, the interval of [`SessionBuilder::keep_alive`].
    /// It waits that long and returns what it was waiting for, or `None`. Everything happens on the
    /// calling thread. Without an interval, the duration is one day.
    ///
    /// Failures to keep the card alive show in the [events](SessionBuilder::on_event) and in the
    /// next run.
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

    /// Ends the suspended work, if there is any.
    #[cfg(feature = "async")]
    fn end_suspended_work(&mut self) {
        // As if its guard were dropped.
        drop(self.resume());
        self.rest();
    }

    /// Returns the handle that stops the session for good.
    #[cfg(feature = "async")]
    pub(crate) fn abort_handle(&self) -> Option<AbortHandle> {
        self.config.options.abort.clone()
    }

    /// Calls `f` with the session while `stop` can stop it.
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
        self.rest();
        given
    }

    #[cfg(feature = "async")]
    fn set_abort(&mut self, abort: Option<AbortHandle>) {
        self.wake();
        if let Some(card) = &mut self.card {
            card.set_abort(abort.clone());
        }
        self.config.options.abort = abort;
    }
}

impl Drop for Session {
    /// With a deadline, or after an abort, this waits only briefly for connection and context to
    /// end; what takes longer continues in the background.
    fn drop(&mut self) {
        // An observer in a destructor could deadlock or abort the process.
        self.events = Events::default();
        self.wake();
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
