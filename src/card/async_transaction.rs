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

/// Exclusive use of an [`AsyncCard`] for a sequence of commands: a
/// [`Transaction`](crate::Transaction) whose calls are futures.
///
/// Created by [`AsyncCard::transaction`]. Requires the feature `async`.
///
/// Dropping the transaction ends it and leaves the card as it is; [`end`](AsyncTransaction::end)
/// takes a disposition and returns errors. The drop does not wait for the end; the next call on the
/// card does.
///
/// Dropping the future of a call [abandons the card](AsyncCard#dropping-a-future), and the
/// transaction ends with the connection.
///
/// # Platform notes
///
/// Windows resets the card to end a transaction that is idle for five seconds: do not await
/// anything else for long.
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

    /// Returns the reader that the card is in.
    pub fn reader_name(&self) -> &ReaderName {
        self.card.reader_name()
    }

    /// Returns the share mode of the connection.
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

    /// Like [`exchange`](AsyncTransaction::exchange), with options.
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

    /// Reconnects like [`AsyncCard::reconnect`]. The transaction is held afterwards on every
    /// platform.
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
    /// That of [`AsyncCard::reconnect`]. If the future is dropped, the transaction is lost, and
    /// calls on it fail with [`ErrorKind::NotInTransaction`](crate::ErrorKind::NotInTransaction)
    /// unless the card is abandoned.
    #[doc(alias = "SCardReconnect")]
    pub async fn reconnect(
        &mut self,
        share_mode: ShareMode,
        protocols: Protocols,
        initialization: Initialization,
    ) -> Result<Protocol> {
        self.card(Operation::Reconnect)?;
        // Saved in case this future is dropped.
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

    /// Ends the transaction and applies `disposition` to the card. See
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
    /// Dropping the future before its first poll ends the transaction and leaves the card as it is,
    /// like dropping the transaction. Later, it [abandons the card](AsyncCard#dropping-a-future),
    /// and the transaction ends anyway.
    #[doc(alias = "SCardEndTransaction")]
    pub async fn end(mut self, disposition: Disposition) -> Result<()> {
        self.card(Operation::EndTransaction)?;
        let call = Call::end_transaction(disposition);
        self.card.channel().call_detached(call).await
    }

    /// Returns the card, if the transaction still protects it.
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
        // The connection knows whether there is a transaction, so this is unconditional.
        self.card.channel().end_transaction_later();
    }
}
