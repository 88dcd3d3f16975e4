//! The builder of sessions.

use std::fmt;
use std::time::Duration;

use super::card::SessionCard;
use super::error::SessionError;
use super::event::SessionEvent;
use super::hooks::{Hooks, Login, hook};
use super::idle::Idle;
use super::{Session, State};
use crate::card::ConnectOptions;
use crate::context::Context;
use crate::error::BoxError;
use crate::monitor::CardFilter;
use crate::values::ReaderName;

/// When [`SessionBuilder::setup`] runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum SetUpWhen {
    /// Before every run.
    Always,
    /// Before every run if another program may have used the card since the last one. With
    /// [`ShareMode::Shared`](crate::ShareMode::Shared) that is every run; with
    /// [`ShareMode::Exclusive`](crate::ShareMode::Exclusive), the runs of
    /// [`OnReset`](SetUpWhen::OnReset).
    #[default]
    OnLoss,
    /// Only after the card was connected, reset or reconnected, or a call on it failed.
    ///
    /// For programs that are the only user of the card, or for which the selected application does
    /// not matter: if another program selects another application between two runs, the next run's
    /// commands go to that one.
    OnReset,
}

type Observer = Box<dyn FnMut(&SessionEvent) + Send + 'static>;

/// The observer of a session.
#[derive(Default)]
pub(super) struct Events(Option<Observer>);

impl Events {
    pub(super) fn tell(&mut self, event: SessionEvent) {
        tracing::debug!(?event, "session");
        if let Some(observer) = &mut self.0 {
            observer(&event);
        }
    }
}

/// The program's choices.
pub(super) struct Config {
    pub(super) context: Context,
    pub(super) wanted: CardFilter,
    pub(super) options: ConnectOptions,
    pub(super) setup_when: SetUpWhen,
    pub(super) wait_for_card: bool,
    pub(super) timeout: Option<Duration>,
    pub(super) attempts: Option<u32>,
    pub(super) keep_alive: Option<Duration>,
    pub(super) release_after: Option<Duration>,
}

impl Config {
    /// Returns the time-out of each call.
    pub(super) fn call_timeout(&self) -> Option<Duration> {
        let inherited = self.context.timeout();
        self.options.timeout.unwrap_or(inherited)
    }
}

/// Configures a [`Session`]; created by [`Session::builder`].
#[must_use = "a session begins with `open`"]
pub struct SessionBuilder {
    config: Config,
    hooks: Hooks,
    events: Events,
}

impl SessionBuilder {
    /// The time-out of a session that sets none.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

    pub(super) fn new(context: &Context) -> SessionBuilder {
        SessionBuilder {
            config: Config {
                context: context.clone(),
                wanted: CardFilter::new(),
                options: ConnectOptions::new(),
                setup_when: SetUpWhen::default(),
                wait_for_card: true,
                timeout: Some(SessionBuilder::DEFAULT_TIMEOUT),
                attempts: None,
                keep_alive: None,
                release_after: None,
            },
            hooks: Hooks::default(),
            events: Events::default(),
        }
    }

    /// Uses only cards in this reader. By default, the session uses any reader: the one it used
    /// before if that has a card, else the first with a card.
    ///
    /// If the readers can no longer be listed
    /// ([`ErrorKind::StaleProcess`](crate::ErrorKind::StaleProcess)), the session continues with
    /// this reader or the one it used before, unless it has other conditions.
    pub fn reader(self, name: &ReaderName) -> SessionBuilder {
        self.cards(CardFilter::new().reader(name))
    }

    /// Uses only matching cards. Replaces an earlier choice, including that of
    /// [`reader`](SessionBuilder::reader).
    pub fn cards(mut self, wanted: CardFilter) -> SessionBuilder {
        self.config.wanted = wanted;
        self
    }

    /// Sets how the card is connected.
    ///
    /// The [time-out](ConnectOptions::timeout) of the options limits each single call, in addition
    /// to the [time-out](SessionBuilder::timeout) of the run; after it, the session recovers by
    /// connecting again. The [abort handle](ConnectOptions::abort_handle) stops the session from
    /// any thread, even while it waits for a card.
    /// [`wait_for_access`](ConnectOptions::wait_for_access) has no effect: a session always waits
    /// unless there is another card.
    pub fn connect_options(mut self, options: ConnectOptions) -> SessionBuilder {
        self.config.options = options;
        self
    }

    /// Sets the hook that prepares the card for the work: selects the application, reads data.
    ///
    /// It runs in the same transaction as the work and before it, so no other program can
    /// interfere; [`SessionBuilder::setup_when`] says when. Verify PINs in the
    /// [login](SessionBuilder::login).
    ///
    /// It may be repeated any number of times after a failure of the card, even in the middle of
    /// the hook, and by default runs before every run on a shared card. If it fails although the
    /// card answered, the run fails with [`SessionError::Hook`] or, for
    /// [`NotThisCard`](crate::NotThisCard), continues with the next card; [`Session::keep_alive`]
    /// does not repeat it before the next run.
    ///
    /// It can fail with any error: an [`Error`](crate::Error), an error of the program, a string,
    /// `anyhow::Error`. A closure that uses `?` has to name the type, for instance
    /// `|card| -> Result<(), BoxError> { … }`.
    pub fn setup<E: Into<BoxError>>(
        mut self,
        setup: impl FnMut(&mut SessionCard<'_>) -> Result<(), E> + Send + 'static,
    ) -> SessionBuilder {
        self.hooks.setup = Some(hook(setup));
        self
    }

    /// Sets the hook for steps that consume tries, such as verifying a PIN.
    ///
    /// It runs after each [set-up](SessionBuilder::setup), in the same transaction.
    ///
    /// It owns the credentials, and the session protects them:
    ///
    /// - Once it has failed although the card answered a command, it is not called again until the
    ///   program calls [`Session::set_login`]. Until then, runs fail with
    ///   [`SessionError::LoginWithheld`]. If it fails before its first command, because the user
    ///   canceled, for example, the next run calls it again.
    /// - If the card fails after one of its commands has run or may have run, new credentials are
    ///   needed as well, because that command may have consumed a try. The run fails with
    ///   [`SessionError::Interrupted`]. [Set](Session::set_login) a login that first asks how
    ///   many tries are left (VERIFY without data), and stops if they are too few.
    /// - It is called for the first card, then only for a card that is known to be the same: by its
    ///   [identity](SessionBuilder::identity) or, without that hook, because the connection was not
    ///   lost and the card not reset after a command of it.
    /// - It is called only in runs, never by [`Session::keep_alive`].
    ///
    /// ```no_run
    /// use scard::apdu::ExchangeError;
    /// use scard::features::{Pin, PinFormat, PinOutcome};
    /// use scard::{BoxError, Command, Context, Session, SessionError, StatusWord};
    ///
    /// # fn ask_for_pin() -> Pin { unimplemented!() }
    /// /// Presents the PIN. The command is kept out of logs and overwritten.
    /// fn verify(
    ///     pin: Pin,
    /// ) -> impl FnMut(&mut scard::SessionCard<'_>) -> Result<(), BoxError> + Send {
    ///     move |card| {
    ///         let verify = Command::verify(0x80, PinFormat::ascii().block_len(8), &pin)?;
    ///         card.exchange(&verify)?.ok()?;
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let context = Context::establish()?;
    /// let get_serial = Command::new(0x00, 0xCA, 0x01, 0x01)?.expecting_all();
    /// let select = Command::select(b"\xA0\x00\x00\x03\x08")?;
    /// let get_challenge = Command::new(0x00, 0x84, 0x00, 0x00)?.expecting(8)?;
    /// let mut session = Session::builder(&context)
    ///     .identity(move |card| Ok::<_, ExchangeError>(card.exchange(&get_serial)?.ok()?))
    ///     .setup(move |card| Ok::<_, ExchangeError>(card.exchange(&select)?.ok().map(drop)?))
    ///     .login(verify(ask_for_pin()))
    ///     .build();
    /// loop {
    ///     let challenge = session.run(|card| -> Result<_, ExchangeError> {
    ///         Ok(card.exchange(&get_challenge)?.ok()?)
    ///     });
    ///     match challenge {
    ///         Ok(challenge) => break println!("{challenge:02X?}"),
    ///         Err(SessionError::Login(refused)) => {
    ///             match StatusWord::find(refused.as_ref()).map(PinOutcome::from_card) {
    ///                 Some(PinOutcome::Blocked) => return Err("the PIN is blocked".into()),
    ///                 Some(outcome) => eprintln!("{outcome}"),
    ///                 None => eprintln!("{refused}"),
    ///             }
    ///             session.set_login(verify(ask_for_pin()));
    ///         }
    ///         Err(error) => return Err(error.into()),
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn login<E: Into<BoxError>>(
        mut self,
        login: impl FnMut(&mut SessionCard<'_>) -> Result<(), E> + Send + 'static,
    ) -> SessionBuilder {
        self.hooks.login = Some(Login::new(hook(login)));
        self
    }

    /// Sets when the set-up runs again. By default, [whenever](SetUpWhen::OnLoss) another program
    /// may have used the card.
    pub fn setup_when(mut self, when: SetUpWhen) -> SessionBuilder {
        self.config.setup_when = when;
        self
    }

    /// Sets the hook that returns the card's identity, for instance a serial number.
    ///
    /// It runs in the transaction, before the set-up, whenever the card may have been replaced:
    /// after every connect and reconnect. That of the first card that the set-up accepts becomes
    /// the session's identity; a different one is [`SessionError::WrongCard`], unless the right
    /// card is in another reader that the session may use. The session continues when the right
    /// card is back. Without this hook, any card is accepted.
    ///
    /// Like the set-up, it may be repeated and can fail with any error.
    pub fn identity<E: Into<BoxError>>(
        mut self,
        identity: impl FnMut(&mut SessionCard<'_>) -> Result<Vec<u8>, E> + Send + 'static,
    ) -> SessionBuilder {
        self.hooks.identity = Some(hook(identity));
        self
    }

    /// Sets whether to wait for a card (the default) or to fail at once if there is none. The
    /// session always waits for a service that is not running, until the deadline.
    pub fn wait_for_card(mut self, wait: bool) -> SessionBuilder {
        self.config.wait_for_card = wait;
        self
    }

    /// Limits the total time of [`open`](SessionBuilder::open) and of each run: waiting for the
    /// card, recovery, set-up and the work.
    ///
    /// The default is [30 seconds](SessionBuilder::DEFAULT_TIMEOUT). `None` means no limit: a card
    /// that answers some commands but fails in each attempt is then tried for ever, unless
    /// [`attempts`](SessionBuilder::attempts) sets a limit.
    ///
    /// The limit holds within calls, too: a call that does not return in time is abandoned, as
    /// [`Card::set_timeout`](crate::Card::set_timeout) describes. Ending a transaction or
    /// connection may take 50 ms more. With a deadline, dropping the session takes 100 ms at most,
    /// unless it drops the last clone of a context with a time-out of its own; what takes longer
    /// continues in the background. The deadline cannot interrupt the work while that does
    /// something other than calling the card.
    pub fn timeout(mut self, timeout: Option<Duration>) -> SessionBuilder {
        self.config.timeout = timeout;
        self
    }

    /// Limits the number of recoveries within one run; after that, the run fails with
    /// [`SessionError::Card`]. By default the deadline is the only limit.
    pub fn attempts(mut self, attempts: u32) -> SessionBuilder {
        self.config.attempts = Some(attempts);
        self
    }

    /// Sets how often [`Session::wait_for`] and [`SessionCard::wait_for`] ask for the card's
    /// status. By default they do not.
    ///
    /// The session makes no calls in the background, except to [release](Self::release_after) an
    /// idle card. pcsc-lite keeps a connected card powered, so a verified PIN stays verified; Windows
    /// requires a call on the card at least every five seconds while a transaction is held: two
    /// seconds are a good interval.
    pub fn keep_alive(mut self, interval: Duration) -> SessionBuilder {
        // An interval of zero would be a busy loop.
        self.config.keep_alive = Some(interval.max(Duration::from_millis(1)));
        self
    }

    /// Calls `observer` for everything that the session does by itself. The events also go to
    /// `tracing`, at level `DEBUG`.
    pub fn on_event(
        mut self,
        observer: impl FnMut(&SessionEvent) + Send + 'static,
    ) -> SessionBuilder {
        self.events = Events(Some(Box::new(observer)));
        self
    }

    /// Releases the card when the session has been idle for this long.
    ///
    /// The session disconnects, so that a program that needs the card exclusively can have it. The
    /// next run connects again, identifies the card and sets it up. By default the connection is
    /// kept.
    ///
    /// The time starts at the end of each run; after [`Session::begin`], at the next call of the
    /// session; with futures, at the end of the guard. The session keeps a thread for this, from
    /// its first connection until it is dropped. [`Session::keep_alive`] does not reconnect a
    /// released card. [`Session::release`] releases it at once.
    pub fn release_after(mut self, idle: Duration) -> SessionBuilder {
        self.config.release_after = Some(idle);
        self
    }

    /// Returns the session without a call to the service.
    ///
    /// The first [run](Session::run) connects, identifies the card, sets it up and logs in, and
    /// waits for whatever is missing, including the service.
    pub fn build(self) -> Session {
        Session {
            card: None,
            state: State::default(),
            idle: self.config.release_after.map(Idle::new),
            config: self.config,
            hooks: self.hooks,
            events: self.events,
        }
    }

    /// Connects, identifies the card and sets it up, so that problems show now.
    ///
    /// It does not [log in](SessionBuilder::login). The first run on a shared card sets it up
    /// again, because another program may have used it in between; [`build`](SessionBuilder::build)
    /// leaves everything to that run.
    ///
    /// # Errors
    ///
    /// Those of [`Session::run`] that are not about the work.
    pub fn open(self) -> Result<Session, SessionError> {
        let mut session = self.build();
        session.open()?;
        Ok(session)
    }
}

impl fmt::Debug for SessionBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionBuilder")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("options", &self.options)
            .field("setup_when", &self.setup_when)
            .field("wait_for_card", &self.wait_for_card)
            .field("timeout", &self.timeout)
            .field("attempts", &self.attempts)
            .field("keep_alive", &self.keep_alive)
            .field("release_after", &self.release_after)
            .finish_non_exhaustive()
    }
}
