//! Time limits and cancellation of the calls on a card.

use std::time::{Duration, Instant};

use super::Card;
#[cfg(doc)]
use crate::exchange::Control;
use crate::limits::AbortHandle;

impl Card {
    /// Sets the time-out of each call on this card; `None` means no limit.
    ///
    /// When the time is over, the call fails with
    /// [`ErrorKind::DeadlineExceeded`](crate::ErrorKind::DeadlineExceeded), and the card is
    /// *abandoned*: every later call fails at once. The call continues in the background until the
    /// service answers, and is then undone: a transaction that begins too late ends, and the
    /// connection is closed, leaving the card as it is, whatever
    /// [`ConnectOptions::disposition_on_drop`](crate::ConnectOptions::disposition_on_drop) says. A
    /// command or reset that the driver is working on runs to its end; one that has not begun is
    /// dropped. A command that was still waiting for another program's transaction is not sent, and
    /// [`command_may_have_run`](crate::Error::command_may_have_run) is `false`.
    ///
    /// A call with a time-out runs on the card's own thread and, outside a transaction, in a
    /// transaction of its own. Without a time-out there is no thread. Over the socket
    /// ([`ContextOptions`](crate::ContextOptions)), calls can be ended: a thread only cleans up
    /// after an abandoned call, and a command needs no transaction of its own.
    ///
    /// [`ConnectOptions::timeout`](crate::ConnectOptions::timeout) sets the time-out of the connect
    /// as well.
    ///
    /// ```no_run
    /// # fn demo(mut card: scard::Card) -> scard::Result<()> {
    /// use std::time::Duration;
    /// use scard::ErrorKind;
    ///
    /// card.set_timeout(Some(Duration::from_secs(5)));
    /// match card.transmit(&[0x00, 0x84, 0x00, 0x00, 0x08]) {
    ///     Err(error) if error.kind() == ErrorKind::DeadlineExceeded => {
    ///         eprintln!("{error}; sent: {}", error.command_may_have_run());
    ///     }
    ///     answer => println!("{:02X?}", answer?),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.channel.set_timeout(timeout);
    }

    /// Calls `f` with a limit on its total time.
    ///
    /// When the time is over, the current call ends as described at
    /// [`set_timeout`](Card::set_timeout), whose time-out for each single call still applies. A
    /// call that begins later is not made, and does not abandon the card.
    ///
    /// ```no_run
    /// # fn demo(mut card: scard::Card) -> Result<(), scard::apdu::ExchangeError> {
    /// use std::time::Duration;
    /// use scard::Command;
    /// use scard::apdu::ExchangeError;
    ///
    /// let select = Command::select(b"\xA0\x00\x00\x03\x08")?;
    /// let get_challenge = Command::new(0x00, 0x84, 0x00, 0x00)?.expecting(8)?;
    /// let challenge = card.within(Duration::from_secs(2), |card| -> Result<_, ExchangeError> {
    ///     let mut transaction = card.transaction()?;
    ///     transaction.exchange(&select)?.ok()?;
    ///     Ok(transaction.exchange(&get_challenge)?.ok()?)
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn within<T>(&mut self, limit: Duration, f: impl FnOnce(&mut Card) -> T) -> T {
        /// Removes the limit, even after a panic.
        struct Within<'a>(&'a mut Card, Option<Instant>);

        impl Drop for Within<'_> {
            fn drop(&mut self) {
                self.0.channel.set_end(self.1);
            }
        }

        let before = self.channel.end_within(limit);
        let within = Within(self, before);
        f(&mut *within.0)
    }

    /// Returns a handle that stops the calls on this card from any thread, now and later. To stop
    /// the connect, too, use [`ConnectOptions::abort_handle`](crate::ConnectOptions::abort_handle).
    ///
    /// From then on, calls run on the same thread as those with a [time-out](Card::set_timeout).
    pub fn make_abortable(&mut self) -> AbortHandle {
        self.channel.abort_handle()
    }

    /// Sets whether [`Control::control`], [`Control::attribute`], [`Control::set_attribute`] and
    /// calls built on them, such as [`Control::features`], wait while another program holds a
    /// transaction, as all other calls do. By default they wait.
    ///
    /// Without waiting, they fail at once with the service's answer, `SCARD_E_SHARING_VIOLATION`,
    /// and nothing is sent.
    ///
    /// ```no_run
    /// # fn demo(mut card: scard::Card) -> scard::Result<()> {
    /// use scard::{Attribute, Control, ErrorKind};
    ///
    /// card.set_wait_for_transactions(false);
    /// match card.attribute(Attribute::VENDOR_NAME) {
    ///     Err(error) if error.kind() == ErrorKind::SharingViolation => println!("in use"),
    ///     name => println!("{:?}", name?),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Platform notes
    ///
    /// Windows and macOS are not known to refuse these calls, so this has no effect there.
    pub fn set_wait_for_transactions(&mut self, wait: bool) {
        self.channel.set_wait_for_transactions(wait);
    }

    /// Returns whether the connection has ended: with an abandoned call, or with an answer that
    /// could not be received completely. Every call fails now.
    pub fn is_abandoned(&self) -> bool {
        self.channel.is_abandoned()
    }

    /// From now on, waits only briefly for the end of the connection.
    pub(crate) fn hurry(&mut self) {
        self.channel.hurry();
    }

    /// Sets the deadline of all calls; `None` for no deadline.
    pub(crate) fn set_end(&mut self, end: Option<Instant>) {
        self.channel.set_end(end);
    }

    /// Sets the handle that stops the calls.
    #[cfg(feature = "async")]
    pub(crate) fn set_abort(&mut self, abort: Option<AbortHandle>) {
        self.channel.set_abort(abort);
    }
}
