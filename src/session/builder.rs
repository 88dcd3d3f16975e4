//! How a session is made.

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
    /// Before every run before which another program may have used the card: with
    /// [`ShareMode::Shared`](crate::ShareMode::Shared) that is every one, with
    /// [`ShareMode::Exclusive`](crate::ShareMode::Exclusive) those that
    /// [`OnReset`](SetUpWhen::OnReset) names.
    #[default]
    OnLoss,
    /// Only after the card was connected, reset or reconnected, or a call on it has failed.
    ///
    /// For programs that are alone with the card, or do not mind which application is
    /// selected: another program may select another one between two runs, and the commands of
    /// the next run go there.
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

/// What the program chose.
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
    /// The limit of each call.
    pub(super) fn call_timeout(&self) -> Option<Duration> {
        let inherited = self.context.timeout();
        self.options.timeout.unwrap_or(inherited)
    }
}

/// Describes a [`Session`]; made by [`Session::builder`].
#[must_use = "a session begins with `open`"]
pub struct SessionBuilder {
    config: Config,
    hooks: Hooks,
    events: Events,
}

impl SessionBuilder {
    /// The deadline of a session that has not set another one.
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

    /// Uses only cards in this reader. Without this, any reader is fine: the one that the
    /// session has used before, if it has a card, or else the first that has one.
    ///
    /// Where readers cannot be listed any more
    /// ([`ErrorKind::StaleProcess`](crate::ErrorKind::StaleProcess)), the session goes on with
    /// this reader or the one that it has used before, unless it has other conditions.
    pub fn reader(self, name: &ReaderName) -> SessionBuilder {
        self.cards(CardFilter::new().reader(name))
    }

    /// Uses only these cards. Instead of an earlier choice, by
    /// [`reader`](SessionBuilder::reader) as well.
    pub fn cards(mut self, wanted: CardFilter) -> SessionBuilder {
        self.config.wanted = wanted;
        self
    }

    /// How the card is connected. Its [time-out](ConnectOptions::timeout) is a limit for each
    /// single call beside the [time-out](SessionBuilder::timeout) of the whole; a call that
    /// was given up for it is recovered by connecting again. Its
    /// [abort handle](ConnectOptions::abort_handle) stops the session from any thread, also
    /// while it waits for a card. [`wait_for_access`](ConnectOptions::wait_for_access) changes
    /// nothing: a session waits in any case, unless there is another card.
    pub fn connect_options(mut self, options: ConnectOptions) -> SessionBuilder {
        self.config.options = options;
        self
    }

    /// Brings the card into the state that the work needs: selects the application, reads what
    /// the work has to know. Runs in the same transaction as the work and before it, so that no
    /// other program can come between; [`SessionBuilder::setup_when`] says when. A PIN is verified
    /// by the [login](SessionBuilder::login).
    ///
    /// It is repeated at will after a failure of the card, also in the middle of it, and by default
    /// before every run of a card that is shared. If it fails although the card has answered, the
    /// run fails with [`SessionError::Hook`] or, for [`NotThisCard`](crate::NotThisCard), goes on
    /// with the next card; [`Session::keep_alive`] does not repeat it before the next run.
    ///
    /// It can fail with any error: [`Error`](crate::Error), an error of the program, a text,
    /// `anyhow::Error`. A closure that uses `?` has to name the type, for instance
    /// `|card| -> Result<(), BoxError> { … }`.
    pub fn setup<E: Into<BoxError>>(
        mut self,
        setup: impl FnMut(&mut SessionCard<'_>) -> Result<(), E> + Send + 'static,
    ) -> SessionBuilder {
        self.hooks.setup = Some(hook(setup));
        self
    }

    /// Does what uses up tries, such as verifying a PIN. Runs after each
    /// [set-up](SessionBuilder::setup), in the same transaction.
    ///
    /// It owns the credentials, and the session is careful with them:
    ///
    /// - Once it has failed although the card has answered, it is not called again until the
    ///   program gives new credentials by [`Session::set_login`]. Runs fail with
    ///   [`SessionError::LoginWithheld`] meanwhile.
    /// - If the card fails after a command of it has run, or may have, it needs new credentials as
    ///   well, because that command may have used up a try. The run fails with
    ///   [`SessionError::Interrupted`]. Cards tell how many tries are left: ask before the same
    ///   credentials are given again.
    /// - It is called for the first card, and then only for a card that is known to be the same: by
    ///   its [identity](SessionBuilder::identity) or, without such a hook, because the connection
    ///   has not been lost and the card not been reset.
    /// - It is called in runs that the program has asked for, never by [`Session::keep_alive`].
    ///
    /// ```no_run
    /// use scard::apdu::ExchangeError;
    /// use scard::features::{Pin, PinFormat};
    /// use scard::{BoxError, Command, Context, Session, SessionError};
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
    /// let get_serial = Command::new(0x00, 0xCA, 0x00, 0x5A)?.expecting_all();
    /// let select = Command::select(b"\xA0\x00\x00\x03\x08")?;
    /// let get_challenge = Command::new(0x00, 0x84, 0x00, 0x00)?.expecting(8)?;
    /// let mut session = Session::builder(&context)
    ///     .identity(move |card| Ok::<_, ExchangeError>(card.exchange(&get_serial)?.ok()?))
    ///     .setup(move |card| Ok::<_, ExchangeError>(card.exchange(&select)?.ok().map(drop)?))
    ///     .login(verify(ask_for_pin()))
    ///     .build();
    /// loop {
    ///     match session.run(|card| Ok::<_, ExchangeError>(card.exchange(&get_challenge)?.ok()?)) {
    ///         Ok(challenge) => break println!("{challenge:02X?}"),
    ///         Err(SessionError::Login(refused)) => {
    ///             eprintln!("{refused}");
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

    /// When the set-up runs again. By default, [whenever](SetUpWhen::OnLoss) another program
    /// may have used the card.
    pub fn setup_when(mut self, when: SetUpWhen) -> SessionBuilder {
        self.config.setup_when = when;
        self
    }

    /// Tells one card from another, for instance by a serial number.
    ///
    /// Runs in the transaction, before the set-up, whenever there could be another card than
    /// before: after every connect and reconnect. The first answer is the session's; another
    /// one is [`SessionError::WrongCard`], unless the right card is in another reader that the
    /// session may use. The session goes on when the right card is back.
    /// Without this, any card is fine.
    ///
    /// It is repeated at will, and fails with any error, as the set-up.
    pub fn identity<E: Into<BoxError>>(
        mut self,
        identity: impl FnMut(&mut SessionCard<'_>) -> Result<Vec<u8>, E> + Send + 'static,
    ) -> SessionBuilder {
        self.hooks.identity = Some(hook(identity));
        self
    }

    /// Whether to wait until there is a card, the default, or to fail at once when there is
    /// none. A service that is not there is waited for in any case, until the deadline.
    pub fn wait_for_card(mut self, wait: bool) -> SessionBuilder {
        self.config.wait_for_card = wait;
        self
    }

    /// How long [`open`](SessionBuilder::open) and each run may take, with everything: waiting
    /// for the card, recovery, set-up and the work. By default
    /// [30 seconds](SessionBuilder::DEFAULT_TIMEOUT). `None` is without limit: a card that answers
    /// some commands and fails in each attempt is then tried for ever, unless
    /// [`attempts`](SessionBuilder::attempts) says how often.
    ///
    /// It is kept inside of calls, too: what does not return in time is given up, as
    /// [`Card::set_timeout`](crate::Card::set_timeout) says. The end of a transaction or connection
    /// is waited for 50 ms more. With a deadline, dropping the session takes no longer than that
    /// either; what takes longer ends by itself. The deadline cannot interrupt the work
    /// while that does something else than call the card.
    pub fn timeout(mut self, timeout: Option<Duration>) -> SessionBuilder {
        self.config.timeout = timeout;
        self
    }

    /// How many times at most the session recovers within one run; after that the failure is
    /// [`SessionError::Card`]. By default the deadline is the only limit.
    pub fn attempts(mut self, attempts: u32) -> SessionBuilder {
        self.config.attempts = Some(attempts);
        self
    }

    /// How often [`Session::wait_for`] and [`SessionCard::wait_for`] ask the card for its
    /// status. Not at all without this.
    ///
    /// The session makes no calls by itself in the background. pcsc-lite keeps the power of a
    /// card that is connected, so that a verified PIN stays; Windows wants a call on the card
    /// at least every five seconds while a transaction is held: two seconds are a good
    /// interval.
    pub fn keep_alive(mut self, interval: Duration) -> SessionBuilder {
        // No wait at all would be a busy loop.
        self.config.keep_alive = Some(interval.max(Duration::from_millis(1)));
        self
    }

    /// Tells everything that the session does by itself. The same goes to `tracing`, at level
    /// `DEBUG`.
    pub fn on_event(
        mut self,
        observer: impl FnMut(&SessionEvent) + Send + 'static,
    ) -> SessionBuilder {
        self.events = Events(Some(Box::new(observer)));
        self
    }

    /// Lets go of the card when the session has not been used for this long: the connection ends,
    /// so that a program that needs the card for itself can have it. The next run connects again,
    /// identifies the card and sets it up. By default the connection is kept.
    ///
    /// The time counts from the end of each run; after [`Session::begin`], from the next call of
    /// the session; with futures, from the end of the guard. The session has a thread for it, from
    /// its first connection until it is dropped. [`Session::keep_alive`] does not connect again what
    /// was let go of. [`Session::release`] does it at once.
    pub fn release_after(mut self, idle: Duration) -> SessionBuilder {
        self.config.release_after = Some(idle);
        self
    }

    /// The session, without a call: the first [run](Session::run) connects, identifies the card,
    /// sets it up and logs in, and waits for whatever is not there yet, the service included.
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

    /// Connects, identifies the card and sets it up, so that what is wrong shows now. It does not
    /// [log in](SessionBuilder::login). The first run of a card that is shared sets it up again,
    /// because another program may have used it in between; [`build`](SessionBuilder::build) leaves
    /// everything to that run.
    ///
    /// # Errors
    ///
    /// Those of [`Session::run`], as far as they are not about work.
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
