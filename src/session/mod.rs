//! Sessions: work on a card that goes on after resets, removals and restarts.

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
/// - The set-up and identity hooks are repeated when the card has failed, and not when it has
///   answered and they fail anyway.
/// - The [login](SessionBuilder::login) is called again only if no command of it has run, for
///   certain. Credentials that were refused are not presented again.
/// - The work of [`run`](Session::run) is called again only if no command of it has run, for
///   certain.
/// - The work of [`run_restartable`](Session::run_restartable) is called again from its
///   beginning.
///
/// # Which card
///
/// A session that may use [several cards](SessionBuilder::cards) takes the one in the reader that
/// it has used before, or the first. It turns to the next one if that card is held exclusively by
/// another program, does not answer, has none of the accepted protocols, has another
/// [identity](SessionBuilder::identity), or if a hook returns [`NotThisCard`]. If none will do, it
/// waits or fails, and [`Error::seen`] says what was in each reader.
///
/// # Recovery
///
/// | [`Error::recovery`] | What the session does |
/// |---|---|
/// | [`Reconnect`](crate::Recovery::Reconnect) | reconnects and leaves the card as it is; if another protocol has become active that the session does not accept, with a reset |
/// | [`ResetCard`](crate::Recovery::ResetCard), and what says that the card does not answer | reconnects with a warm reset; if that does not help, with a cold one; then connects anew. After two rounds without any answer: [`SessionError::Unresponsive`] |
/// | [`InsertCard`](crate::Recovery::InsertCard), [`AttachReader`](crate::Recovery::AttachReader), [`ConnectAgain`](crate::Recovery::ConnectAgain) | gives up the connection, waits for a card, connects |
/// | [`RetryLater`](crate::Recovery::RetryLater) | tries again, after pauses that grow from 10 ms to a second |
/// | others | nothing: [`SessionError::Card`]. With pcsc-lite, two answers are believed only when they come a third time: `SCARD_W_SECURITY_VIOLATION`, which also comes from a service that ends, and `SCARD_E_PROTO_MISMATCH` when the card is connected or reconnected, which also comes at the moment at which a card loses its power |
///
/// A card that answers, but refuses the parameters of the protocol (PPS), is reset and connected
/// again: with all protocols that the session accepts, then with each alone. If it refuses them all,
/// the session turns to the next card, or ends with [`SessionError::Card`].
///
/// All but the first recovery in a run come after such a pause. Each is reported to
/// [`SessionBuilder::on_event`].
///
/// # Other programs
///
/// An idle session keeps its connection. Other programs can use the card at the same time, but not
/// those that need it for themselves, as gpg's scdaemon does by default:
/// [`SessionBuilder::release_after`] and [`Session::release`] let go of the card.
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
    /// Has the card between runs, if it is to be let go of.
    idle: Option<Idle>,
}

/// What the session knows of the card.
#[derive(Default)]
struct State {
    /// Whether the set-up has run since the card last lost its state, as far as is known.
    set_up: bool,
    /// Whether no login has followed the last set-up.
    needs_login: bool,
    /// Whether a hook has failed that the program has not asked for again.
    hook_failed: bool,
    /// Whether this is the card that was identified.
    is_identified: bool,
    /// How often there could have been another card.
    connection: u64,
    identity: Option<Vec<u8>>,
    /// Where the card was last.
    reader: Option<ReaderName>,
    /// The card that was connected last, or was to be.
    candidate: Option<Candidate>,
    /// Whether a card has been connected since there was none.
    has_connected: bool,
    turned_away: TurnedAways,
    ladder: Ladder,
    /// A failure of the last run that the next one has to recover from.
    pending: Option<Error>,
    /// Whether the next run has to give up the connection before it begins.
    is_unfit: bool,
    /// Whether it was told that there is no card.
    loss_is_told: bool,
    /// Whether it has let go of the card, and has not been used since.
    is_released: bool,
    /// The work of a guard, while the guard does not borrow the session.
    suspended: Option<SuspendedWork>,
}

impl State {
    /// From now on the card may be another one, and has lost its state.
    fn card_is_new(&mut self) {
        self.set_up = false;
        self.is_identified = false;
        self.connection += 1;
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
        self.state.is_identified = false;
        // Any of them may be the right one now.
        self.state.turned_away.clear();
        if let Some(login) = &mut self.hooks.login {
            login.forget_card();
        }
    }

    /// Gives the session other credentials: instead of those of
    /// [`SessionBuilder::login`], whether it had any or not, and whatever became of them. They are
    /// presented in the next run.
    pub fn set_login<E: Into<BoxError>>(
        &mut self,
        login: impl FnMut(&mut SessionCard<'_>) -> Result<(), E> + Send + 'static,
    ) {
        self.hooks.login = Some(Login::new(hook(login)));
        self.state.needs_login = true;
    }

    /// How long each of the next runs may take, with everything: as
    /// [`SessionBuilder::timeout`]. For work that takes longer than the rest, such as the
    /// generation of a key.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.config.timeout = timeout;
    }

    /// Lets go of the card now: the connection ends, so that a program that needs the card for
    /// itself can have it. Identity and hooks stay; the next run connects again, identifies the
    /// card and sets it up, and [`keep_alive`](Session::keep_alive) leaves it alone until then.
    ///
    /// Corresponds to `SCardDisconnect`. See also [`SessionBuilder::release_after`].
    pub fn release(&mut self) {
        self.wake();
        self.state.pending = None;
        if self.card.is_some() {
            self.let_go();
            self.is_released();
        }
        // Also of a card that is not connected at this moment.
        self.state.is_released = true;
    }

    /// Does a piece of work, in a transaction, after the set-up. Its commands reach the card
    /// at most once.
    ///
    /// If the card fails before any command of the work has reached it, the session recovers
    /// and calls `work` again. If it fails later, the work is
    /// [`Interrupted`](SessionError::Interrupted), and it is up to the program to find out
    /// how far the card got. Either way the next run begins with a recovery and a set-up.
    ///
    /// [`Control::control`](crate::Control::control) counts as a command; status and attributes do
    /// not.
    ///
    /// A function that is generic over [`Transmit`](crate::Transmit) is passed as
    /// `|card| read(card)`. Logical channels are opened [within the
    /// work](crate::LogicalChannel#within-a-session).
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
        let work = self.perform(trial, |session, trial| session.attempt_to_begin(trial))?;
        if let Some(idle) = &mut self.idle {
            idle.begin();
        }
        self.state.suspended = Some(work);
        self.resume().map_err(SessionError::Card)
    }

    /// The guard of the work that was suspended. Fails if there is none.
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
        self.wake();
        if self.state.is_released {
            return Ok(());
        }
        let kept = self.look_after_card();
        self.rest();
        kept
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

    /// Ends the work that was suspended, if there is any.
    #[cfg(feature = "async")]
    fn end_suspended_work(&mut self) {
        // As if its guard was dropped.
        drop(self.resume());
        self.rest();
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
    /// With a deadline, and once it was aborted, a session waits for a moment only until
    /// connection and context have ended; what takes longer goes on by itself.
    fn drop(&mut self) {
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
