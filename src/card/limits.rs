//! How long the calls on a card may take, and what stops them.

use std::time::{Duration, Instant};

use super::Card;
#[cfg(doc)]
use crate::exchange::Control;
use crate::limits::AbortHandle;

impl Card {
    /// How long each call on this card may take from now on; `None` is without limit.
    ///
    /// When the time is over, the call fails with
    /// [`ErrorKind::DeadlineExceeded`](crate::ErrorKind::DeadlineExceeded), and the card is
    /// *abandoned*: every later call fails at once. Whatever the call was doing goes on
    /// behind the scenes until the service answers, and is undone then: a transaction that is
    /// won too late ends, the connection is closed, and the card is left as it is, whatever
    /// [`ConnectOptions::disposition_on_drop`](crate::ConnectOptions::disposition_on_drop) says.
    /// A command or reset that the driver is at work on runs to its end; one that had not begun
    /// is not begun any more. A command that still waited for another program's transaction is
    /// not sent any more, and
    /// [`command_may_have_run`](crate::Error::command_may_have_run) is `false`.
    ///
    /// A call with a limit runs on a thread that this card keeps for it, and one outside of a
    /// transaction takes a transaction for itself. Without a limit there is no thread. Over the socket
    /// ([`ContextOptions`](crate::ContextOptions)) a call ends by itself: a thread is there only to
    /// clean up after one that was given up, and a command takes no transaction for itself.
    ///
    /// [`ConnectOptions::timeout`](crate::ConnectOptions::timeout) sets the time for the connect
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

    /// Does something with the card that has to be over, as a whole, within a time.
    ///
    /// What happens at the end is described at [`set_timeout`](Card::set_timeout), whose
    /// limit for each single call stays in force. A call that is begun when the time is over
    /// already is not made, and the card is not abandoned.
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
        /// Takes the limit away again, in a panic, too.
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

    /// A handle that stops the calls on this card from any thread, now and later. See
    /// [`ConnectOptions::abort_handle`](crate::ConnectOptions::abort_handle) for
    /// one that stops the connect, too.
    ///
    /// From then on calls run on a thread that this card keeps for them, as they do with a
    /// [limit](Card::set_timeout).
    pub fn make_abortable(&mut self) -> AbortHandle {
        self.channel.abort_handle()
    }

    /// Whether [`Control::control`], [`Control::attribute`], [`Control::set_attribute`] and what is
    /// built on them, such as [`Control::features`], wait while another program holds a
    /// transaction, as every other call does. They do unless this says otherwise.
    ///
    /// Without waiting they fail at once, with `SCARD_E_SHARING_VIOLATION`, as the service answers.
    /// Nothing has been sent then.
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
    /// Windows and macOS are not known to refuse these calls: there it makes no difference.
    pub fn set_wait_for_transactions(&mut self, wait: bool) {
        self.channel.set_wait_for_transactions(wait);
    }

    /// Whether the connection has ended before its owner: with a call that was given up, or with
    /// an answer that could not be received as a whole. Every call fails now.
    pub fn is_abandoned(&self) -> bool {
        self.channel.is_abandoned()
    }

    /// From now on, its end is waited for a moment only.
    pub(crate) fn hurry(&mut self) {
        self.channel.hurry();
    }

    /// Sets the end of all calls together; `None` for no end.
    pub(crate) fn set_end(&mut self, end: Option<Instant>) {
        self.channel.set_end(end);
    }

    /// Sets what stops its calls.
    #[cfg(feature = "async")]
    pub(crate) fn set_abort(&mut self, abort: Option<AbortHandle>) {
        self.channel.set_abort(abort);
    }
}
