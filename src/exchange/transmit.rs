//! The traits of everything that takes commands.

#[cfg(feature = "async")]
use std::future::Future;

#[cfg(feature = "async")]
use tracing::Instrument;
use zeroize::Zeroizing;

use super::contactless::Contactless;
use super::control::Control;
use super::forward::forward_transmit;
use super::logical::LogicalChannel;
#[cfg(feature = "async")]
use super::{AsyncContactless, AsyncControl, AsyncLogicalChannel};
use crate::apdu::{
    Command, CommandBytes, Exchange, ExchangeError, ExchangeOptions, Next, Response,
};
use crate::error::{Error, Operation, Refusal, Result};
use crate::trace;
use crate::values::{Atr, Protocol, ReaderName};

/// A card that takes commands, over any kind of handle.
///
/// Write code for an application (PIV, OpenPGP, a badge) against this trait, and it works with
/// every handle and with mocks.
///
/// [`Card`](crate::Card), [`Transaction`](crate::Transaction), [`SessionCard`](crate::SessionCard)
/// and [`LogicalChannel`] implement this trait. Their everyday methods
/// ([`transmit`](crate::Card::transmit), [`exchange`](crate::Card::exchange), …) need no import;
/// [`logical_channel`](Transmit::logical_channel), [`contactless`](Transmit::contactless) and
/// [`transmit_secret`](Transmit::transmit_secret) need `use scard::Transmit`.
///
/// ```
/// use scard::contactless::ContactlessError;
/// use scard::Transmit;
///
/// fn read_uid(card: &mut impl Transmit) -> Result<Vec<u8>, ContactlessError> {
///     card.contactless().uid()
/// }
/// # fn demo(mut card: scard::Card) -> Result<(), ContactlessError> {
/// read_uid(&mut card)?;
/// read_uid(&mut card.transaction()?)?;
/// # Ok(())
/// # }
/// ```
///
/// # Implementing `Transmit`
///
/// A mock, or a card behind something other than PC/SC, needs [`protocol`](Transmit::protocol),
/// [`atr`](Transmit::atr), [`send`](Transmit::send) and [`reader_name`](Control::reader_name).
/// [`Error::from_code`](crate::Error::from_code) creates the errors to return.
///
/// ```
/// use scard::apdu::CommandBytes;
/// use scard::{Atr, Control, Protocol, ReaderName, Result, Transmit};
///
/// struct Badge(ReaderName);
///
/// impl Control for Badge {
///     fn reader_name(&self) -> &ReaderName {
///         &self.0
///     }
/// }
///
/// impl Transmit for Badge {
///     fn protocol(&self) -> Option<Protocol> {
///         Some(Protocol::T1)
///     }
///
///     fn atr(&mut self) -> Result<Atr> {
///         Ok(Atr::new(b"\x3B\x80\x80\x01\x01").expect("not too long"))
///     }
///
///     fn send(&mut self, command: CommandBytes<'_>) -> Result<&[u8]> {
///         Ok(match command.as_bytes() {
///             b"\xFF\xCA\x00\x00\x00" => b"\x04\xA2\x24\x7A\x90\x00",
///             _ => b"\x6D\x00",
///         })
///     }
/// }
///
/// let mut badge = Badge(ReaderName::new("Test")?);
/// assert_eq!(badge.contactless().uid()?, [0x04, 0xA2, 0x24, 0x7A]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Trait objects
///
/// The trait is dyn-compatible. [`LogicalChannel::open`] and [`Contactless::new`] accept a
/// `&mut dyn Transmit`; your own functions do if they take `impl Transmit + ?Sized`.
/// `Box<dyn Transmit>` implements the trait, too.
pub trait Transmit: Control {
    /// Returns the negotiated protocol; `None` if it is unknown. Over T=0 an exchange sends
    /// commands differently. See [`Card::protocol`](crate::Card::protocol).
    fn protocol(&self) -> Option<Protocol>;

    /// Returns the card's answer to reset. An [exchange](Transmit::exchange) of a long command uses
    /// it to find out what the card supports.
    ///
    /// # Errors
    ///
    /// Those of [`Card::status`](crate::Card::status).
    fn atr(&mut self) -> Result<Atr>;

    /// Sends one command and lends the answer, including the status word, until the next call.
    ///
    /// For a command that [is secret](CommandBytes::is_secret), implementations must not show its
    /// body or answer in logs or errors.
    ///
    /// # Errors
    ///
    /// Those of [`Card::transmit`](crate::Card::transmit).
    #[doc(alias = "SCardTransmit")]
    fn send(&mut self, command: CommandBytes<'_>) -> Result<&[u8]>;

    /// Sends a command and returns the answer, including the status word. See
    /// [`Card::transmit`](crate::Card::transmit).
    ///
    /// # Errors
    ///
    /// Those of [`Card::transmit`](crate::Card::transmit).
    #[doc(alias = "SCardTransmit")]
    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>> {
        self.send(CommandBytes::new(command)).map(<[u8]>::to_vec)
    }

    /// Like [`transmit`](Transmit::transmit), without allocating: lends the answer until the next
    /// call.
    ///
    /// # Errors
    ///
    /// Those of [`Card::transmit`](crate::Card::transmit).
    #[doc(alias = "SCardTransmit")]
    fn transmit_ref(&mut self, command: &[u8]) -> Result<&[u8]> {
        self.send(CommandBytes::new(command))
    }

    /// Like [`transmit`](Transmit::transmit), for a command that carries a secret, such as a key,
    /// but whose header does not show that: neither the command nor the answer appears in a
    /// [trace].
    ///
    /// [`Command::is_secret`] lists the headers that are recognised as secret. The caller has to
    /// overwrite the bytes of `command` and the answer after use.
    ///
    /// ```no_run
    /// use scard::Transmit;
    ///
    /// # fn demo(mut card: scard::Card, put_key: zeroize::Zeroizing<Vec<u8>>) -> scard::Result<()> {
    /// let answer = card.transmit_secret(&put_key)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Card::transmit`](crate::Card::transmit).
    #[doc(alias = "SCardTransmit")]
    fn transmit_secret(&mut self, command: &[u8]) -> Result<Vec<u8>> {
        let command = CommandBytes::new(command).sensitive();
        self.send(command).map(<[u8]>::to_vec)
    }

    /// Returns the options of every [`exchange`](Transmit::exchange) without options; by default
    /// [`ExchangeOptions::new`]. See
    /// [`Card::set_exchange_options`](crate::Card::set_exchange_options).
    fn exchange_options(&self) -> ExchangeOptions {
        ExchangeOptions::new()
    }

    /// Returns the maximum amount of data in one command according to the reader; `None` if it does
    /// not say. See [`ExchangeOptions::reader_max_data`]. An exchange asks before a long command to
    /// a card that supports extended lengths.
    ///
    /// Takes two calls of [`control`](Control::control).
    fn reader_max_data(&mut self) -> Option<u32> {
        let features = self.features().ok()?;
        self.reader_properties(&features).ok()?.max_apdu_data_size()
    }

    /// Exchanges a command: sends it and returns the complete answer. See
    /// [`Card::exchange`](crate::Card::exchange).
    ///
    /// # Errors
    ///
    /// Those of [`Card::exchange`](crate::Card::exchange).
    fn exchange(&mut self, command: &Command) -> Result<Response, ExchangeError> {
        let options = self.exchange_options();
        self.exchange_with(command, &options)
    }

    /// Like [`exchange`](Transmit::exchange), with options.
    ///
    /// Calls [`send`](Transmit::send) for one command after the other. A [`Card`](crate::Card)
    /// begins a transaction for them.
    ///
    /// # Errors
    ///
    /// Those of [`Card::exchange`](crate::Card::exchange).
    fn exchange_with(
        &mut self,
        command: &Command,
        options: &ExchangeOptions,
    ) -> Result<Response, ExchangeError> {
        let _span = trace::exchange(self.reader_name(), command).entered();
        let mut options = *options;
        if options.depend_on_card(command) {
            options = options.for_card(&self.atr()?);
            if options.depend_on_reader(command, self.protocol()) {
                options = options.with_reported(self.reader_max_data());
            }
        }
        let mut exchange = Exchange::new(command, self.protocol(), &options)?;
        loop {
            let next = match self.send(exchange.to_send()) {
                Ok(answer) => exchange.answered(answer)?,
                Err(error) => return Err(exchange.failed(error)),
            };
            match next {
                Next::Send(another) => exchange = another,
                Next::Done(response) => return Ok(response),
            }
        }
    }

    /// Like [`send`](Transmit::send), on a logical channel: the channel number in the class byte is
    /// replaced, as by [`Command::on_channel`]. A [`LogicalChannel`] does this for each command.
    ///
    /// # Errors
    ///
    /// Those of [`Card::transmit`](crate::Card::transmit), and
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument), with nothing sent, if
    /// the class cannot carry this channel.
    fn send_on(&mut self, channel: u8, command: CommandBytes<'_>) -> Result<&[u8]> {
        let moved = moved(command, channel, self.reader_name())?;
        self.send(CommandBytes::marked(&moved, command.is_marked()))
    }

    /// Like [`exchange_with`](Transmit::exchange_with), on a logical channel; see
    /// [`Command::on_channel`]. A [`LogicalChannel`] does this for each command.
    ///
    /// # Errors
    ///
    /// Those of [`Card::exchange`](crate::Card::exchange), and
    /// [`InvalidCommand::Channel`](crate::apdu::InvalidCommand::Channel) if the class cannot
    /// carry this channel.
    fn exchange_on(
        &mut self,
        channel: u8,
        command: &Command,
        options: &ExchangeOptions,
    ) -> Result<Response, ExchangeError> {
        self.exchange_with(&command.clone().on_channel(channel)?, options)
    }

    /// Opens a logical channel.
    ///
    /// A reset by any program closes the channel, and other programs can use the card in between: a
    /// [`Transaction`](crate::Transaction) or a [`Session`](crate::Session) keeps them out.
    ///
    /// # Errors
    ///
    /// Those of [`Card::exchange`](crate::Card::exchange);
    /// [`StatusWord::CHANNEL_NOT_SUPPORTED`](crate::StatusWord::CHANNEL_NOT_SUPPORTED) or another
    /// status word if the card has no logical channels or none left.
    #[doc(alias = "MANAGE CHANNEL")]
    fn logical_channel(&mut self) -> Result<LogicalChannel<'_, Self>, ExchangeError>
    where
        Self: Sized,
    {
        LogicalChannel::open(self)
    }

    /// Gives access to the card as a contactless card: its UID, and the blocks of storage cards.
    /// See [`contactless`](crate::contactless).
    ///
    /// These commands are for the reader and have no logical channel. On a [`LogicalChannel`], each
    /// is refused with [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument), and
    /// nothing is sent.
    fn contactless(&mut self) -> Contactless<'_, Self>
    where
        Self: Sized,
    {
        Contactless::new(self)
    }
}

/// Forwards to the card.
impl<T: Transmit + ?Sized> Transmit for &mut T {
    forward_transmit!(self => (**self));
}

impl<T: Transmit + ?Sized> Transmit for Box<T> {
    forward_transmit!(self => (**self));
}

/// [`Transmit`] with futures. Requires the feature `async`.
///
/// [`AsyncCard`](crate::AsyncCard), [`AsyncTransaction`](crate::AsyncTransaction) and
/// [`AsyncLogicalChannel`] implement this trait. Each method corresponds to the [`Transmit`] method
/// of the same name, and fails with the same errors.
///
/// ```
/// use scard::contactless::ContactlessError;
/// use scard::AsyncTransmit;
///
/// async fn read_uid(card: &mut impl AsyncTransmit) -> Result<Vec<u8>, ContactlessError> {
///     card.contactless().uid().await
/// }
/// # async fn demo(mut card: scard::AsyncCard) -> Result<(), ContactlessError> {
/// read_uid(&mut card).await?;
/// read_uid(&mut card.transaction().await?).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
///
/// [Dropping a future](crate::AsyncCard#dropping-a-future) abandons the card while a command is in
/// progress. Which commands of an exchange were sent by then is not known.
#[cfg(feature = "async")]
pub trait AsyncTransmit: AsyncControl {
    /// See [`Transmit::protocol`].
    fn protocol(&self) -> Option<Protocol>;

    /// [`Transmit::atr`] as a future.
    fn atr(&mut self) -> impl Future<Output = Result<Atr>> + Send;

    /// [`Transmit::send`] as a future.
    #[doc(alias = "SCardTransmit")]
    fn send(&mut self, command: CommandBytes<'_>) -> impl Future<Output = Result<&[u8]>> + Send;

    /// [`Transmit::transmit`] as a future.
    #[doc(alias = "SCardTransmit")]
    fn transmit(&mut self, command: &[u8]) -> impl Future<Output = Result<Vec<u8>>> + Send {
        async move { Ok(self.send(CommandBytes::new(command)).await?.to_vec()) }
    }

    /// [`Transmit::transmit_ref`] as a future.
    #[doc(alias = "SCardTransmit")]
    fn transmit_ref(&mut self, command: &[u8]) -> impl Future<Output = Result<&[u8]>> + Send {
        self.send(CommandBytes::new(command))
    }

    /// [`Transmit::transmit_secret`] as a future.
    #[doc(alias = "SCardTransmit")]
    fn transmit_secret(&mut self, command: &[u8]) -> impl Future<Output = Result<Vec<u8>>> + Send {
        async move {
            let command = CommandBytes::new(command).sensitive();
            Ok(self.send(command).await?.to_vec())
        }
    }

    /// See [`Transmit::exchange_options`].
    fn exchange_options(&self) -> ExchangeOptions {
        ExchangeOptions::new()
    }

    /// [`Transmit::reader_max_data`] as a future.
    fn reader_max_data(&mut self) -> impl Future<Output = Option<u32>> + Send {
        async move {
            let features = self.features().await.ok()?;
            let properties = self.reader_properties(&features).await.ok()?;
            properties.max_apdu_data_size()
        }
    }

    /// [`Transmit::exchange`] as a future.
    fn exchange(
        &mut self,
        command: &Command,
    ) -> impl Future<Output = Result<Response, ExchangeError>> + Send {
        async move {
            let options = self.exchange_options();
            self.exchange_with(command, &options).await
        }
    }

    /// [`Transmit::exchange_with`] as a future.
    fn exchange_with(
        &mut self,
        command: &Command,
        options: &ExchangeOptions,
    ) -> impl Future<Output = Result<Response, ExchangeError>> + Send {
        async move {
            let span = trace::exchange(self.reader_name(), command);
            let exchanged = async {
                let mut options = *options;
                if options.depend_on_card(command) {
                    options = options.for_card(&self.atr().await?);
                    if options.depend_on_reader(command, self.protocol()) {
                        options = options.with_reported(self.reader_max_data().await);
                    }
                }
                let mut exchange = Exchange::new(command, self.protocol(), &options)?;
                loop {
                    let next = match self.send(exchange.to_send()).await {
                        Ok(answer) => exchange.answered(answer)?,
                        Err(error) => return Err(exchange.failed(error)),
                    };
                    match next {
                        Next::Send(another) => exchange = another,
                        Next::Done(response) => return Ok(response),
                    }
                }
            };
            exchanged.instrument(span).await
        }
    }

    /// [`Transmit::send_on`] as a future.
    fn send_on(
        &mut self,
        channel: u8,
        command: CommandBytes<'_>,
    ) -> impl Future<Output = Result<&[u8]>> + Send {
        async move {
            let moved = moved(command, channel, self.reader_name())?;
            let moved = CommandBytes::marked(&moved, command.is_marked());
            self.send(moved).await
        }
    }

    /// [`Transmit::exchange_on`] as a future.
    fn exchange_on(
        &mut self,
        channel: u8,
        command: &Command,
        options: &ExchangeOptions,
    ) -> impl Future<Output = Result<Response, ExchangeError>> + Send {
        async move {
            let command = command.clone().on_channel(channel)?;
            self.exchange_with(&command, options).await
        }
    }

    /// [`Transmit::logical_channel`] as a future. If the future is dropped, a channel may stay
    /// open.
    #[doc(alias = "MANAGE CHANNEL")]
    fn logical_channel(
        &mut self,
    ) -> impl Future<Output = Result<AsyncLogicalChannel<'_, Self>, ExchangeError>> + Send
    where
        Self: Sized,
    {
        AsyncLogicalChannel::open(self)
    }

    /// See [`Transmit::contactless`].
    fn contactless(&mut self) -> AsyncContactless<'_, Self>
    where
        Self: Sized,
    {
        AsyncContactless::new(self)
    }
}

#[cfg(feature = "async")]
impl<T: AsyncTransmit> AsyncTransmit for &mut T {
    forward_transmit!(async self => (**self));
}

/// Returns the command with another logical channel in its class byte.
fn moved(
    command: CommandBytes<'_>,
    channel: u8,
    reader_name: &ReaderName,
) -> Result<Zeroizing<Vec<u8>>> {
    command.on_channel(channel).ok_or_else(|| {
        let why = match command.first() {
            Some(0xFF) => {
                "a command of class FF is the reader's and has no logical channel: send it on the \
                 card itself, as by contactless() there, before the channel is opened or after"
            }
            _ => "the class byte of the command cannot carry this logical channel",
        };
        Error::refused(Operation::Transmit, reader_name, Refusal::argument(why))
    })
}
