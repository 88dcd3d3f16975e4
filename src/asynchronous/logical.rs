//! Logical channels whose calls are futures.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use super::card::AsyncCard;
use super::transaction::AsyncTransaction;
use crate::apdu::{Command, ExchangeError, ExchangeOptions, Response};
use crate::exchange::OpenChannel;
use crate::values::ReaderName;

type Exchanged<'a> = Pin<Box<dyn Future<Output = Result<Response, ExchangeError>> + Send + 'a>>;

/// What exchanges commands: a card, a transaction.
pub(super) trait AsyncExchanges: Send {
    fn reader(&self) -> &ReaderName;

    fn exchange_boxed<'a>(
        &'a mut self,
        command: &'a Command,
        options: &'a ExchangeOptions,
    ) -> Exchanged<'a>;
}

impl AsyncExchanges for AsyncCard {
    fn reader(&self) -> &ReaderName {
        self.reader()
    }

    fn exchange_boxed<'a>(
        &'a mut self,
        command: &'a Command,
        options: &'a ExchangeOptions,
    ) -> Exchanged<'a> {
        Box::pin(self.exchange_with(command, options))
    }
}

impl AsyncExchanges for AsyncTransaction<'_> {
    fn reader(&self) -> &ReaderName {
        self.reader()
    }

    fn exchange_boxed<'a>(
        &'a mut self,
        command: &'a Command,
        options: &'a ExchangeOptions,
    ) -> Exchanged<'a> {
        Box::pin(self.exchange_with(command, options))
    }
}

/// A [`LogicalChannel`](crate::LogicalChannel) whose calls are futures. Needs the
/// feature `async`.
///
/// Made by [`AsyncCard::logical_channel`] and [`AsyncTransaction::logical_channel`].
///
/// ```no_run
/// # async fn demo(mut card: scard::AsyncCard) -> Result<(), scard::apdu::ExchangeError> {
/// use scard::apdu::Command;
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
/// As with [`LogicalChannel`](crate::LogicalChannel#dropping), nothing is sent: the
/// channel stays open until the card is reset.
#[must_use = "a channel that is dropped stays open"]
pub struct AsyncLogicalChannel<'a> {
    over: &'a mut dyn AsyncExchanges,
    channel: OpenChannel,
}

impl<'a> AsyncLogicalChannel<'a> {
    pub(super) async fn open(
        over: &'a mut dyn AsyncExchanges,
    ) -> Result<AsyncLogicalChannel<'a>, ExchangeError> {
        let open = Command::open_channel();
        let response = over.exchange_boxed(&open, &ExchangeOptions::new()).await?;
        let channel = OpenChannel::of(&open, response)?;
        Ok(AsyncLogicalChannel { over, channel })
    }

    /// The number of the channel, 1 to 19.
    pub fn number(&self) -> u8 {
        self.channel.number()
    }

    /// Exchanges a command on this channel. See
    /// [`LogicalChannel::exchange`](crate::LogicalChannel::exchange).
    ///
    /// # Errors
    ///
    /// Those of [`LogicalChannel::exchange`](crate::LogicalChannel::exchange).
    ///
    /// # Cancel safety
    ///
    /// That of [`AsyncCard::exchange`].
    pub async fn exchange(&mut self, command: &Command) -> Result<Response, ExchangeError> {
        self.exchange_with(command, &ExchangeOptions::new()).await
    }

    /// [`exchange`](AsyncLogicalChannel::exchange) with options.
    ///
    /// # Errors
    ///
    /// Those of [`exchange`](AsyncLogicalChannel::exchange).
    ///
    /// # Cancel safety
    ///
    /// That of [`AsyncCard::exchange`].
    pub async fn exchange_with(
        &mut self,
        command: &Command,
        options: &ExchangeOptions,
    ) -> Result<Response, ExchangeError> {
        let command = command.clone().on_channel(self.number())?;
        self.over.exchange_boxed(&command, options).await
    }

    /// Closes the channel, by a command on the basic one.
    ///
    /// # Errors
    ///
    /// Those of [`LogicalChannel::close`](crate::LogicalChannel::close).
    ///
    /// # Cancel safety
    ///
    /// That of [`AsyncCard::exchange`]; whether the channel was closed is not told.
    pub async fn close(mut self) -> Result<(), ExchangeError> {
        let close = self.channel.close();
        let options = ExchangeOptions::new();
        self.over.exchange_boxed(&close, &options).await?.ok()?;
        Ok(())
    }
}

impl Drop for AsyncLogicalChannel<'_> {
    fn drop(&mut self) {
        self.channel.dropped(self.over.reader());
    }
}

impl fmt::Debug for AsyncLogicalChannel<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncLogicalChannel")
            .field("reader", self.over.reader())
            .field("number", &self.number())
            .finish_non_exhaustive()
    }
}
