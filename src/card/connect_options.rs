//! How a card or reader is connected.

use std::time::Duration;

use crate::apdu::ExchangeOptions;
use crate::limits::AbortHandle;
use crate::values::{Disposition, Protocols, ShareMode};

/// How [`Context::connect`](crate::Context::connect) opens a card.
///
/// ```
/// use scard::{ConnectOptions, Protocols, ShareMode};
///
/// let options = ConnectOptions::new()
///     .share_mode(ShareMode::Exclusive)
///     .protocols(Protocols::T1);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use]
pub struct ConnectOptions {
    pub(crate) share_mode: ShareMode,
    pub(crate) protocols: Protocols,
    pub(crate) disposition_on_drop: Disposition,
    /// Outer `None`: that of the context.
    pub(crate) timeout: Option<Option<Duration>>,
    pub(crate) abort: Option<AbortHandle>,
    pub(crate) wait_for_access: bool,
    pub(crate) exchange_options: ExchangeOptions,
}

impl ConnectOptions {
    /// Shared, T=0 or T=1, and the card is left as it is when the [`Card`](crate::Card) is
    /// dropped.
    pub fn new() -> ConnectOptions {
        ConnectOptions::default()
    }

    /// Whether others may use the card at the same time.
    pub fn share_mode(mut self, share_mode: ShareMode) -> ConnectOptions {
        self.share_mode = share_mode;
        self
    }

    /// The protocols that are acceptable.
    pub fn protocols(mut self, protocols: Protocols) -> ConnectOptions {
        self.protocols = protocols;
        self
    }

    /// How long the connect, and each call on the card, may take: see
    /// [`Card::set_timeout`](crate::Card::set_timeout). Without this, it is what the
    /// [context](crate::ContextOptions::timeout) has.
    pub fn timeout(mut self, timeout: Option<Duration>) -> ConnectOptions {
        self.timeout = Some(timeout);
        self
    }

    /// A handle that stops the connect, and each call on the card, from any thread.
    pub fn abort_handle(mut self, abort: &AbortHandle) -> ConnectOptions {
        self.abort = Some(abort.clone());
        self
    }

    /// Whether the connect waits while another connection prevents it: a program that has exclusive
    /// access, or, if exclusive access is asked for, any that is connected. Without this it fails at
    /// once with `SCARD_E_SHARING_VIOLATION`.
    ///
    /// It tries again with growing pauses of up to a second, until the
    /// [time-out](ConnectOptions::timeout) is over or the
    /// [abort handle](ConnectOptions::abort_handle) is used, and then fails with
    /// `SCARD_E_SHARING_VIOLATION`, or [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled). Without
    /// these it waits as long as it takes.
    ///
    /// ```no_run
    /// # fn demo(context: &scard::Context, reader: &scard::ReaderName) -> scard::Result<()> {
    /// use std::time::Duration;
    /// use scard::ConnectOptions;
    ///
    /// let seconds = Some(Duration::from_secs(10));
    /// let options = ConnectOptions::new().wait_for_access(true).timeout(seconds);
    /// let card = context.connect(reader, options)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait_for_access(mut self, wait: bool) -> ConnectOptions {
        self.wait_for_access = wait;
        self
    }

    /// How the card's [exchanges](crate::Card::exchange) go, for cards and readers that want it
    /// otherwise than usual: [`Card::set_exchange_options`](crate::Card::set_exchange_options).
    ///
    /// ```
    /// use scard::ConnectOptions;
    /// use scard::apdu::{Continuation, ExchangeOptions};
    ///
    /// let oath = ExchangeOptions::new().continuation(Continuation::Oath);
    /// let options = ConnectOptions::new().exchange_options(oath);
    /// ```
    pub fn exchange_options(mut self, options: ExchangeOptions) -> ConnectOptions {
        self.exchange_options = options;
        self
    }

    /// What happens to the card when the [`Card`](crate::Card) is dropped without
    /// [`disconnect`](crate::Card::disconnect).
    ///
    /// Anything but [`Disposition::Leave`] makes the drop wait while another program holds a
    /// transaction on the card, until a [limit](ConnectOptions::timeout) is over: the card is left
    /// as it is then, as after every call that was given up.
    pub fn disposition_on_drop(mut self, disposition: Disposition) -> ConnectOptions {
        self.disposition_on_drop = disposition;
        self
    }
}
