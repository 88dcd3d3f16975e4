//! What takes commands.

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

/// A card that takes commands, however it is reached: write code for an application (PIV,
/// OpenPGP, a badge) over this trait, and it works with every handle and with mocks.
///
/// [`Card`](crate::Card), [`Transaction`](crate::Transaction),
/// [`SessionCard`](crate::SessionCard) and [`LogicalChannel`] implement it. Their everyday
/// methods ([`transmit`](crate::Card::transmit), [`exchange`](crate::Card::exchange), …) need
/// no import; [`logical_channel`](Transmit::logical_channel),
/// [`contactless`](Transmit::contactless) and
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
/// # Implementing it
///
/// A mock, or a card behind something other than PC/SC, needs [`protocol`](Transmit::protocol),
/// [`atr`](Transmit::atr), [`send`](Transmit::send) and
/// [`reader_name`](Control::reader_name). [`Error::from_code`](crate::Error::from_code) makes
/// the errors that it returns.
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
/// The trait is object-safe. [`LogicalChannel::open`] and [`Contactless::new`] take a
/// `&mut dyn Transmit`; functions of your own do if they are generic over
/// `impl Transmit + ?Sized`. `Box<dyn Transmit>` implements it, too.
pub trait Transmit: Control {
    /// The protocol that was negotiated; `None` if it is not known. Over T=0 an exchange sends
    /// commands differently. See [`Card::protocol`](crate::Card::protocol).
    fn protocol(&self) -> Option<Protocol>;

    /// The card's answer to reset. An [exchange](Transmit::exchange) with a long command asks
    /// for it, to find out what the card can do.
    ///
    /// # Errors
    ///
    /// Those of [`Card::status`](crate::Card::status).
    fn atr(&mut self) -> Result<Atr>;

    /// Sends one command and lends the answer, status word included, until the next call.
    ///
    /// Implementations must show neither the body nor the answer of a command that
    /// [is secret](CommandBytes::is_secret), in logs or errors.
    ///
    /// # Errors
    ///
    /// Those of [`Card::transmit`](crate::Card::transmit).
    #[doc(alias = "SCardTransmit")]
    fn send(&mut self, command: CommandBytes<'_>) -> Result<&[u8]>;

    /// Sends a command and returns the answer, status word included. See
    /// [`Card::transmit`](crate::Card::transmit).
    ///
    /// # Errors
    ///
    /// Those of [`Card::transmit`](crate::Card::transmit).
    #[doc(alias = "SCardTransmit")]
    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>> {
        self.send(CommandBytes::new(command)).map(<[u8]>::to_vec)
    }

    /// [`transmit`](Transmit::transmit) without allocating: lends the answer until the next
    /// call.
    ///
    /// # Errors
    ///
    /// Those of [`Card::transmit`](crate::Card::transmit).
    #[doc(alias = "SCardTransmit")]
    fn transmit_ref(&mut self, command: &[u8]) -> Result<&[u8]> {
        self.send(CommandBytes::new(command))
    }

    /// [`transmit`](Transmit::transmit) for a command that carries a secret which its header
    /// does not reveal, such as a key: neither the command nor the answer appears in a
    /// [trace].
    ///
    /// The headers that need no mark are listed at [`Command::is_secret`]. Overwriting the
    /// bytes of `command` and the answer after use is up to the caller.
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

    /// The options of every [`exchange`](Transmit::exchange) that is given none:
    /// [`ExchangeOptions::new`] unless implemented. See
    /// [`Card::set_exchange_options`](crate::Card::set_exchange_options).
    fn exchange_options(&self) -> ExchangeOptions {
        ExchangeOptions::new()
    }

    /// What the reader says of the most data in one command; `None` if it does not say.
    /// [`ExchangeOptions::reader_max_data`] has more on it. An exchange asks before a long command
    /// to a card that takes extended lengths.
    ///
    /// Two calls of [`control`](Control::control).
    fn reader_max_data(&mut self) -> Option<u32> {
        let features = self.features().ok()?;
        self.reader_properties(&features).ok()?.max_apdu_data_size()
    }

    /// Exchanges a command: sends it and fetches the whole answer. See
    /// [`Card::exchange`](crate::Card::exchange).
    ///
    /// # Errors
    ///
    /// Those of [`Card::exchange`](crate::Card::exchange).
    fn exchange(&mut self, command: &Command) -> Result<Response, ExchangeError> {
        let options = self.exchange_options();
        self.exchange_with(command, &options)
    }

    /// [`exchange`](Transmit::exchange) with options.
    ///
    /// [`send`](Transmit::send)s one command after the other. A [`Card`](crate::Card) begins a
    /// transaction for them.
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
                options = options.for_reader(self.reader_max_data());
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

    /// [`send`](Transmit::send) on a logical channel: the class byte gets its number, as by
    /// [`Command::on_channel`]. A [`LogicalChannel`] does this for each command.
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

    /// [`exchange_with`](Transmit::exchange_with) on a logical channel:
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
    /// Any program's reset closes it, and other programs can use the card in between: a
    /// [`Transaction`](crate::Transaction) or a [`Session`](crate::Session) keeps them out.
    ///
    /// # Errors
    ///
    /// Those of [`Card::exchange`](crate::Card::exchange);
    /// [`StatusWord::CHANNEL_NOT_SUPPORTED`](crate::StatusWord::CHANNEL_NOT_SUPPORTED) or
    /// another status word if the card has no logical channels, or none left.
    #[doc(alias = "MANAGE CHANNEL")]
    fn logical_channel(&mut self) -> Result<LogicalChannel<'_, Self>, ExchangeError>
    where
        Self: Sized,
    {
        LogicalChannel::open(self)
    }

    /// The card as a contactless one: its UID, and the blocks of storage cards. See
    /// [`contactless`](crate::contactless).
    ///
    /// Not for a [`LogicalChannel`]: these commands are the reader's and have none. There each is
    /// refused with [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument), and nothing
    /// is sent.
    fn contactless(&mut self) -> Contactless<'_, Self>
    where
        Self: Sized,
    {
        Contactless::new(self)
    }
}

/// A pointer to a card is one itself.
impl<T: Transmit + ?Sized> Transmit for &mut T {
    forward_transmit!(self => (**self));
}

impl<T: Transmit + ?Sized> Transmit for Box<T> {
    forward_transmit!(self => (**self));
}

/// [`Transmit`] in futures. Needs the feature `async`.
///
/// [`AsyncCard`](crate::AsyncCard), [`AsyncTransaction`](crate::AsyncTransaction) and
/// [`AsyncLogicalChannel`] implement it. Each method does what the one of the same name in
/// [`Transmit`] does, and fails with the same errors.
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
/// [Dropping a future](crate::AsyncCard#dropping-a-future) abandons the card while a command
/// is under way. Which commands of an exchange had been sent by then is not known.
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
                        options = options.for_reader(self.reader_max_data().await);
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

    /// [`Transmit::logical_channel`] as a future. If it is dropped, a channel may stay open.
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

/// A command with another logical channel in its class byte.
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
