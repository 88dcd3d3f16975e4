//! Logical channels.

use std::fmt;

use super::control::Control;
use super::forward::forward_control;
use super::transmit::Transmit;
#[cfg(feature = "async")]
use super::{AsyncControl, AsyncTransmit};
use crate::apdu::{
    AnswerProblem, Command, CommandBytes, ExchangeError, ExchangeOptions, Response, Step,
};
use crate::error::Result;
use crate::values::{Atr, Protocol, ReaderName};

/// A logical channel of a card, which it borrows.
///
/// Each channel has its own selected application. Opened by [`Transmit::logical_channel`]. A
/// channel implements [`Transmit`], too, but refuses commands of class FF, which are for the reader
/// and have no channel ([`contactless`](Transmit::contactless)).
///
/// ```no_run
/// # fn demo(mut card: scard::Card) -> Result<(), scard::apdu::ExchangeError> {
/// use scard::{Command, Transmit};
///
/// let mut channel = card.logical_channel()?;
/// channel.exchange(&Command::select(b"\xA0\x00\x00\x03\x08")?)?.ok()?;
/// let challenge = channel.transmit(&[0x00, 0x84, 0x00, 0x00, 0x08])?;
/// channel.close()?;
/// # Ok(())
/// # }
/// ```
///
/// # Within a session
///
/// The card of a [`Session`](crate::Session) supports channels, and so does that of an
/// `AsyncSession`. A reset closes all channels, so each run has to open its own: work that is
/// repeated after a recovery then opens it again.
///
/// ```no_run
/// # fn demo(session: &mut scard::Session) -> Result<(), scard::SessionError> {
/// use scard::apdu::ExchangeError;
/// use scard::{Command, LogicalChannel};
///
/// let challenge = session.run(|card| -> Result<_, ExchangeError> {
///     let mut channel = LogicalChannel::open(card)?;
///     channel.exchange(&Command::select(b"\xA0\x00\x00\x03\x08")?)?.ok()?;
///     let challenge = channel.transmit(&[0x00, 0x84, 0x00, 0x00, 0x08])?;
///     channel.close()?;
///     Ok(challenge)
/// })?;
/// # Ok(())
/// # }
/// ```
///
/// Opening a channel is a command of the work: a later failure
/// [interrupts](crate::SessionError::Interrupted) the work, and the channel stays open unless the
/// card was reset. For work that may be repeated, use
/// [`run_restartable`](crate::Session::run_restartable).
///
/// # Dropping
///
/// Closing a channel requires a command, which can block on the card or on another program's
/// transaction. Therefore dropping a channel sends nothing, and the channel stays open until the
/// card is reset; the [trace](crate::trace) records this. Cards have few channels:
/// [`close`](LogicalChannel::close) them.
#[must_use = "a channel that is dropped stays open"]
pub struct LogicalChannel<'a, T: Transmit + ?Sized> {
    card: &'a mut T,
    channel: OpenChannel,
}

impl<'a, T: Transmit + ?Sized> LogicalChannel<'a, T> {
    /// Opens a channel. Like [`Transmit::logical_channel`], but also accepts a `dyn Transmit`.
    ///
    /// # Errors
    ///
    /// Those of [`Transmit::logical_channel`].
    pub fn open(card: &'a mut T) -> Result<LogicalChannel<'a, T>, ExchangeError> {
        let open = Command::open_channel();
        let response = card.exchange(&open)?;
        let channel = OpenChannel::of(&open, response, card.reader_name())?;
        Ok(LogicalChannel { card, channel })
    }

    /// Returns the number of the channel, 1 to 19.
    pub fn number(&self) -> u8 {
        self.channel.number
    }

    /// Sends a command on this channel and returns the answer, including the status word. The
    /// channel number in the class byte is replaced; see [`Command::on_channel`].
    ///
    /// # Errors
    ///
    /// Those of [`Card::transmit`](crate::Card::transmit), and
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument), with nothing sent, if
    /// the class cannot carry this channel.
    #[doc(alias = "SCardTransmit")]
    pub fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>> {
        Transmit::transmit(self, command)
    }

    /// Like [`transmit`](LogicalChannel::transmit), but lends the answer until the next call.
    ///
    /// # Errors
    ///
    /// Those of [`transmit`](LogicalChannel::transmit).
    #[doc(alias = "SCardTransmit")]
    pub fn transmit_ref(&mut self, command: &[u8]) -> Result<&[u8]> {
        Transmit::transmit_ref(self, command)
    }

    /// Exchanges a command on this channel. The channel number in the class byte is replaced; see
    /// [`Command::on_channel`].
    ///
    /// # Errors
    ///
    /// Those of [`Card::exchange`](crate::Card::exchange), and
    /// [`InvalidCommand::Channel`](crate::apdu::InvalidCommand::Channel) if the class cannot
    /// carry this channel.
    pub fn exchange(&mut self, command: &Command) -> Result<Response, ExchangeError> {
        Transmit::exchange(self, command)
    }

    /// Like [`exchange`](LogicalChannel::exchange), with options.
    ///
    /// # Errors
    ///
    /// Those of [`exchange`](LogicalChannel::exchange).
    pub fn exchange_with(
        &mut self,
        command: &Command,
        options: &ExchangeOptions,
    ) -> Result<Response, ExchangeError> {
        self.card.exchange_on(self.number(), command, options)
    }

    /// Closes the channel, with a command on the channel from which it was opened.
    ///
    /// # Errors
    ///
    /// Those of [`Card::exchange`](crate::Card::exchange), and a status word other than 9000. After
    /// an error, the channel may still be open on the card.
    pub fn close(mut self) -> Result<(), ExchangeError> {
        let close = self.channel.close();
        self.card.exchange(&close)?.ok()?;
        Ok(())
    }
}

impl<T: Transmit + ?Sized> Control for LogicalChannel<'_, T> {
    forward_control!(self => self.card);
}

impl<T: Transmit + ?Sized> Transmit for LogicalChannel<'_, T> {
    fn protocol(&self) -> Option<Protocol> {
        self.card.protocol()
    }

    fn atr(&mut self) -> Result<Atr> {
        self.card.atr()
    }

    fn send(&mut self, command: CommandBytes<'_>) -> Result<&[u8]> {
        self.card.send_on(self.number(), command)
    }

    fn exchange_options(&self) -> ExchangeOptions {
        self.card.exchange_options()
    }

    fn reader_max_data(&mut self) -> Option<u32> {
        self.card.reader_max_data()
    }

    fn exchange_with(
        &mut self,
        command: &Command,
        options: &ExchangeOptions,
    ) -> Result<Response, ExchangeError> {
        self.exchange_with(command, options)
    }

    /// On the given channel, not on this one.
    fn send_on(&mut self, channel: u8, command: CommandBytes<'_>) -> Result<&[u8]> {
        self.card.send_on(channel, command)
    }

    /// On the given channel, not on this one.
    fn exchange_on(
        &mut self,
        channel: u8,
        command: &Command,
        options: &ExchangeOptions,
    ) -> Result<Response, ExchangeError> {
        self.card.exchange_on(channel, command, options)
    }
}

impl<T: Transmit + ?Sized> Drop for LogicalChannel<'_, T> {
    fn drop(&mut self) {
        self.channel.dropped(self.card.reader_name());
    }
}

impl<T: Transmit + ?Sized> fmt::Debug for LogicalChannel<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.number();
        debug(f, "LogicalChannel", self.card.reader_name(), number)
    }
}

/// A [`LogicalChannel`] whose calls are futures. Requires the feature `async`.
///
/// Opened by [`logical_channel`](AsyncTransmit::logical_channel). Its methods are those of
/// [`AsyncTransmit`]; the ones listed here need no import.
///
/// ```no_run
/// # async fn demo(mut card: scard::AsyncCard) -> Result<(), scard::apdu::ExchangeError> {
/// use scard::{AsyncTransmit, Command};
///
/// let mut channel = card.logical_channel().await?;
/// channel.exchange(&Command::select(b"\xA0\x00\x00\x03\x08")?).await?.ok()?;
/// channel.close().await?;
/// # Ok(())
/// # }
/// ```
///
/// # Dropping
///
/// As with a [`LogicalChannel`](LogicalChannel#dropping), nothing is sent: the channel stays
/// open until the card is reset.
///
/// # Cancel safety
///
/// That of [`AsyncTransmit`](AsyncTransmit#cancel-safety).
#[cfg(feature = "async")]
#[must_use = "a channel that is dropped stays open"]
pub struct AsyncLogicalChannel<'a, T: AsyncTransmit> {
    card: &'a mut T,
    channel: OpenChannel,
}

#[cfg(feature = "async")]
impl<'a, T: AsyncTransmit> AsyncLogicalChannel<'a, T> {
    pub(super) async fn open(card: &'a mut T) -> Result<AsyncLogicalChannel<'a, T>, ExchangeError> {
        let open = Command::open_channel();
        let response = card.exchange(&open).await?;
        let channel = OpenChannel::of(&open, response, card.reader_name())?;
        Ok(AsyncLogicalChannel { card, channel })
    }

    /// Returns the number of the channel, 1 to 19.
    pub fn number(&self) -> u8 {
        self.channel.number
    }

    /// [`LogicalChannel::transmit`] as a future.
    ///
    /// # Errors
    ///
    /// Those of [`LogicalChannel::transmit`].
    #[doc(alias = "SCardTransmit")]
    pub async fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>> {
        AsyncTransmit::transmit(self, command).await
    }

    /// [`LogicalChannel::exchange`] as a future.
    ///
    /// # Errors
    ///
    /// Those of [`LogicalChannel::exchange`].
    pub async fn exchange(&mut self, command: &Command) -> Result<Response, ExchangeError> {
        AsyncTransmit::exchange(self, command).await
    }

    /// [`LogicalChannel::exchange_with`] as a future.
    ///
    /// # Errors
    ///
    /// Those of [`LogicalChannel::exchange`].
    pub async fn exchange_with(
        &mut self,
        command: &Command,
        options: &ExchangeOptions,
    ) -> Result<Response, ExchangeError> {
        let number = self.number();
        self.card.exchange_on(number, command, options).await
    }

    /// [`LogicalChannel::close`] as a future. If the future is dropped, the channel may stay open.
    ///
    /// # Errors
    ///
    /// Those of [`LogicalChannel::close`].
    pub async fn close(mut self) -> Result<(), ExchangeError> {
        let close = self.channel.close();
        self.card.exchange(&close).await?.ok()?;
        Ok(())
    }
}

#[cfg(feature = "async")]
impl<T: AsyncTransmit> AsyncControl for AsyncLogicalChannel<'_, T> {
    forward_control!(async self => self.card);
}

#[cfg(feature = "async")]
impl<T: AsyncTransmit> AsyncTransmit for AsyncLogicalChannel<'_, T> {
    fn protocol(&self) -> Option<Protocol> {
        self.card.protocol()
    }

    async fn atr(&mut self) -> Result<Atr> {
        self.card.atr().await
    }

    async fn send(&mut self, command: CommandBytes<'_>) -> Result<&[u8]> {
        self.card.send_on(self.number(), command).await
    }

    fn exchange_options(&self) -> ExchangeOptions {
        self.card.exchange_options()
    }

    async fn reader_max_data(&mut self) -> Option<u32> {
        self.card.reader_max_data().await
    }

    async fn exchange_with(
        &mut self,
        command: &Command,
        options: &ExchangeOptions,
    ) -> Result<Response, ExchangeError> {
        self.exchange_with(command, options).await
    }

    /// On the given channel, not on this one.
    async fn send_on(&mut self, channel: u8, command: CommandBytes<'_>) -> Result<&[u8]> {
        self.card.send_on(channel, command).await
    }

    /// On the given channel, not on this one.
    async fn exchange_on(
        &mut self,
        channel: u8,
        command: &Command,
        options: &ExchangeOptions,
    ) -> Result<Response, ExchangeError> {
        self.card.exchange_on(channel, command, options).await
    }
}

#[cfg(feature = "async")]
impl<T: AsyncTransmit> Drop for AsyncLogicalChannel<'_, T> {
    fn drop(&mut self) {
        self.channel.dropped(self.card.reader_name());
    }
}

#[cfg(feature = "async")]
impl<T: AsyncTransmit> fmt::Debug for AsyncLogicalChannel<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.number();
        debug(f, "AsyncLogicalChannel", self.card.reader_name(), number)
    }
}

fn debug(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    reader_name: &ReaderName,
    number: u8,
) -> fmt::Result {
    f.debug_struct(name)
        .field("reader_name", reader_name)
        .field("number", &number)
        .finish_non_exhaustive()
}

/// An open channel of a card.
struct OpenChannel {
    number: u8,
    closing: bool,
}

impl OpenChannel {
    /// Returns the channel opened by this answer.
    fn of(
        open: &Command,
        response: Response,
        reader_name: &ReaderName,
    ) -> Result<OpenChannel, ExchangeError> {
        match *response.ok()? {
            [number @ 1..=19] => Ok(OpenChannel {
                number,
                closing: false,
            }),
            ref answer => {
                tracing::debug!(
                    ?reader_name,
                    ?answer,
                    "a logical channel without a valid number was opened and stays open"
                );
                Err(ExchangeError::Answer {
                    problem: AnswerProblem::NoChannel,
                    command: open.header(),
                    step: Step::Command,
                })
            }
        }
    }

    /// Returns the command that closes the channel, to be sent next.
    fn close(&mut self) -> Command {
        self.closing = true;
        Command::close_channel(self.number)
    }

    /// Traces that the channel was dropped.
    fn dropped(&self, reader_name: &ReaderName) {
        if !self.closing {
            tracing::debug!(
                ?reader_name,
                channel = self.number,
                "a logical channel was dropped and stays open"
            );
        }
    }
}
