//! Options for connecting to cards.

use std::time::Duration;

use crate::apdu::ExchangeOptions;
use crate::limits::AbortHandle;
use crate::values::{Disposition, Protocols, ShareMode};

/// Options of [`Context::connect`](crate::Context::connect).
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
    /// The outer `None` means the time-out of the context.
    pub(crate) timeout: Option<Option<Duration>>,
    pub(crate) abort: Option<AbortHandle>,
    pub(crate) wait_for_access: bool,
    pub(crate) exchange_options: ExchangeOptions,
}

impl ConnectOptions {
    /// Returns the default options: shared, T=0 or T=1, and [`Disposition::Leave`] when the
    /// [`Card`](crate::Card) is dropped.
    pub fn new() -> ConnectOptions {
        ConnectOptions::default()
    }

    /// Sets whether other programs may use the card at the same time.
    pub fn share_mode(mut self, share_mode: ShareMode) -> ConnectOptions {
        self.share_mode = share_mode;
        self
    }

    /// Sets the accepted protocols.
    pub fn protocols(mut self, protocols: Protocols) -> ConnectOptions {
        self.protocols = protocols;
        self
    }

    /// Sets the time-out of the connect and of each call on the card; see
    /// [`Card::set_timeout`](crate::Card::set_timeout). The default is that of the
    /// [context](crate::ContextOptions::timeout).
    pub fn timeout(mut self, timeout: Option<Duration>) -> ConnectOptions {
        self.timeout = Some(timeout);
        self
    }

    /// Sets a handle that stops the connect, and each call on the card, from any thread.
    pub fn abort_handle(mut self, abort: &AbortHandle) -> ConnectOptions {
        self.abort = Some(abort.clone());
        self
    }

    /// Sets whether the connect waits while another connection prevents it: a program with
    /// exclusive access or, if exclusive access is requested, any connected program. By default the
    /// connect fails at once with `SCARD_E_SHARING_VIOLATION`.
    ///
    /// The connect is retried, with pauses growing to 1 s, until the
    /// [time-out](ConnectOptions::timeout) is over or the [abort
    /// handle](ConnectOptions::abort_handle) is used. It then fails with
    /// `SCARD_E_SHARING_VIOLATION` or [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled).
    /// Without time-out and abort handle, the wait is unlimited.
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

    /// Sets the options of the card's [exchanges](crate::Card::exchange), for cards and readers
    /// with special requirements; see
    /// [`Card::set_exchange_options`](crate::Card::set_exchange_options).
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

    /// Sets what happens to the card when the [`Card`](crate::Card) is dropped without
    /// [`disconnect`](crate::Card::disconnect).
    ///
    /// With anything but [`Disposition::Leave`], the drop waits while another program holds a
    /// transaction on the card, until the [time-out](ConnectOptions::timeout); after that the card
    /// is left as it is, as after every abandoned call.
    pub fn disposition_on_drop(mut self, disposition: Disposition) -> ConnectOptions {
        self.disposition_on_drop = disposition;
        self
    }
}
