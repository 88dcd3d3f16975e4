//! Transactions whose calls are futures.

use super::async_card::AsyncCard;
use super::transaction::Hold;
use crate::apdu::{Command, CommandBytes, ExchangeError, ExchangeOptions, Response};
use crate::channel::call::Call;
use crate::error::{Operation, Result};
use crate::exchange::{AsyncControl, AsyncTransmit};
use crate::values::{
    Atr, Attribute, CardStatus, ControlCode, Disposition, Initialization, Protocol, Protocols,
    ReaderName, ShareMode,
};

/// Exclusive use of an [`AsyncCard`] for as long as commands belong together: a
/// [`Transaction`](crate::Transaction) whose calls are futures.
///
/// Made by [`AsyncCard::transaction`]. Needs the feature `async`.
///
/// Ends when it is dropped, and the card is left as it is then; [`end`](AsyncTransaction::end)
/// can do more and says what failed. The drop does not wait for the end: the next call on the
/// card does.
///
/// For dropping the futures of its calls see
/// [Dropping a future](AsyncCard#dropping-a-future): it abandons the card, and the transaction
/// ends with the connection.
///
/// # Platform notes
///
/// Windows ends a transaction in which nothing happens for five seconds, by resetting the
/// card: await nothing for long that is not a call on the card.
#[derive(Debug)]
#[must_use = "dropping a transaction ends it"]
pub struct AsyncTransaction<'card> {
    card: &'card mut AsyncCard,
    hold: Hold,
}

impl<'card> AsyncTransaction<'card> {
    pub(super) fn new(card: &'card mut AsyncCard, hold: Hold) -> AsyncTransaction<'card> {
        AsyncTransaction { card, hold }
    }

    /// See [`Transaction::was_reset`](crate::Transaction::was_reset).
    pub fn was_reset(&self) -> bool {
        self.hold.was_reset()
    }

    /// The reader that the card is in.
    pub fn reader_name(&self) -> &ReaderName {
        self.card.reader_name()
    }

    /// The share mode of the connection.
    pub fn share_mode(&self) -> ShareMode {
        self.card.share_mode()
    }

    /// See [`Card::protocol`](crate::Card::protocol).
    pub fn protocol(&self) -> Option<Protocol> {
        self.card.protocol()
    }

    /// See [`AsyncCard::transmit`].
    ///
    /// # Errors
    ///
    /// Those of [`Card::transmit`](crate::Card::transmit).
    ///
    /// # Cancel safety
    ///
    /// That of [`AsyncCard::transmit`].
    #[doc(alias = "SCardTransmit")]
    pub async fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>> {
        self.card(Operation::Transmit)?.transmit(command).await
    }

    /// See [`AsyncCard::transmit_ref`].
    ///
    /// # Errors
    ///
    /// Those of [`Card::transmit`](crate::Card::transmit).
    ///
    /// # Cancel safety
    ///
    /// That of [`AsyncCard::transmit`].
    #[doc(alias = "SCardTransmit")]
    pub async fn transmit_ref(&mut self, command: &[u8]) -> Result<&[u8]> {
        self.card(Operation::Transmit)?.transmit_ref(command).await
    }

    /// See [`AsyncCard::exchange`].
    ///
    /// # Errors
    ///
    /// Those of [`Card::exchange`](crate::Card::exchange).
    ///
    /// # Cancel safety
    ///
    /// That of [`AsyncCard::exchange`].
    pub async fn exchange(&mut self, command: &Command) -> Result<Response, ExchangeError> {
        let options = self.card.exchange_options();
        self.exchange_with(command, &options).await
    }

    /// [`exchange`](AsyncTransaction::exchange) with options.
    ///
    /// # Errors
    ///
    /// Those of [`Card::exchange`](crate::Card::exchange).
    ///
    /// # Cancel safety
    ///
    /// That of [`AsyncCard::exchange`].
    pub async fn exchange_with(
        &mut self,
        command: &Command,
        options: &ExchangeOptions,
    ) -> Result<Response, ExchangeError> {
        AsyncTransmit::exchange_with(self, command, options).await
    }

    /// See [`AsyncCard::status`].
    ///
    /// # Errors
    ///
    /// Those of [`Card::status`](crate::Card::status).
    ///
    /// # Cancel safety
    ///
    /// That of [`AsyncCard::status`].
    #[doc(alias = "SCardStatus")]
    pub async fn status(&mut self) -> Result<CardStatus> {
        self.card(Operation::Status)?.status().await
    }

    /// Re-establishes the connection as [`AsyncCard::reconnect`] does. The transaction is held
    /// afterwards on every platform.
    ///
    /// # Errors
    ///
    /// Those of [`Card::reconnect`](crate::Card::reconnect) and
    /// [`Card::transaction`](crate::Card::transaction).
    ///
    /// # Platform notes
    ///
    /// Those of [`Transaction::reconnect`](crate::Transaction::reconnect).
    ///
    /// # Cancel safety
    ///
    /// That of [`AsyncCard::reconnect`]. The transaction is lost if the future is dropped, and
    /// calls on it fail with
    /// [`ErrorKind::NotInTransaction`](crate::ErrorKind::NotInTransaction) if the card is not
    /// abandoned.
    #[doc(alias = "SCardReconnect")]
    pub async fn reconnect(
        &mut self,
        share_mode: ShareMode,
        protocols: Protocols,
        initialization: Initialization,
    ) -> Result<Protocol> {
        self.card(Operation::Reconnect)?;
        // Before it is known, for the case that this future is dropped.
        let before = self.hold;
        self.hold.reconnected(false);
        let reconnected = self.card.reconnect(share_mode, protocols, initialization);
        let reconnected = reconnected.await;
        self.hold = before;
        let protocol = reconnected?;
        self.hold.reconnected(self.card.channel().in_transaction());
        if !self.hold.is_held() {
            let again = Call::begin_transaction();
            self.card.channel().call_detached(again).await?;
            self.hold.begun_again();
        }
        Ok(protocol)
    }

    /// See [`Transaction::interrupted`](crate::Transaction::interrupted).
    pub fn interrupted(&self) -> bool {
        self.hold.interrupted()
    }

    /// Ends the transaction and does with the card what `disposition` says. See
    /// [`Transaction::end`](crate::Transaction::end).
    ///
    /// Corresponds to `SCardEndTransaction`.
    ///
    /// # Errors
    ///
    /// Those of [`Transaction::end`](crate::Transaction::end).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before its first poll ends the transaction and leaves the card as
    /// it is, as dropping the transaction does. While the end is under way, it
    /// [abandons the card](AsyncCard#dropping-a-future), and the transaction ends all the
    /// same.
    #[doc(alias = "SCardEndTransaction")]
    pub async fn end(mut self, disposition: Disposition) -> Result<()> {
        self.card(Operation::EndTransaction)?;
        let call = Call::end_transaction(disposition);
        self.card.channel().call_detached(call).await
    }

    /// The card, if the transaction still protects it.
    fn card(&mut self, operation: Operation) -> Result<&mut AsyncCard> {
        self.hold.check(operation, self.card.reader_name())?;
        Ok(self.card)
    }
}

impl AsyncControl for AsyncTransaction<'_> {
    fn reader_name(&self) -> &ReaderName {
        self.reader_name()
    }

    async fn control(&mut self, code: ControlCode, input: &[u8]) -> Result<Vec<u8>> {
        self.card(Operation::Control)?.control(code, input).await
    }

    async fn attribute(&mut self, attribute: Attribute) -> Result<Vec<u8>> {
        let card = self.card(Operation::GetAttribute)?;
        card.attribute(attribute).await
    }

    async fn set_attribute(&mut self, attribute: Attribute, value: &[u8]) -> Result<()> {
        let card = self.card(Operation::SetAttribute)?;
        card.set_attribute(attribute, value).await
    }
}

impl AsyncTransmit for AsyncTransaction<'_> {
    fn protocol(&self) -> Option<Protocol> {
        self.protocol()
    }

    async fn atr(&mut self) -> Result<Atr> {
        Ok(self.status().await?.atr())
    }

    async fn send(&mut self, command: CommandBytes<'_>) -> Result<&[u8]> {
        self.card(Operation::Transmit)?.send(command).await
    }

    fn exchange_options(&self) -> ExchangeOptions {
        self.card.exchange_options()
    }
}

impl Drop for AsyncTransaction<'_> {
    fn drop(&mut self) {
        // Whatever this one takes itself for: the connection knows whether there is one.
        self.card.channel().end_transaction_later();
    }
}
