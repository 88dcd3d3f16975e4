//! Transactions.

use super::Card;
use crate::apdu::{Command, CommandBytes, ExchangeError, ExchangeOptions, Response};
use crate::error::{Error, Operation, Refusal, Result};
use crate::exchange::{Control, Transmit};
use crate::values::{
    Atr, Attribute, CardStatus, ControlCode, Disposition, Initialization, Protocol, Protocols,
    ReaderName, ShareMode,
};

/// Whether a transaction still holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hold {
    held: bool,
    interrupted: bool,
    /// Whether a reset was acknowledged before it began.
    was_reset: bool,
}

impl Hold {
    pub(super) const fn begun(was_reset: bool) -> Hold {
        Hold {
            held: true,
            was_reset,
            interrupted: false,
        }
    }

    pub(super) fn was_reset(&self) -> bool {
        self.was_reset
    }

    /// Fails if the transaction no longer protects the card.
    #[inline]
    pub(super) fn check(&self, operation: Operation, reader: &ReaderName) -> Result<()> {
        match self.held {
            true => Ok(()),
            false => Err(Hold::lost(operation, reader)),
        }
    }

    #[cold]
    fn lost(operation: Operation, reader: &ReaderName) -> Error {
        Error::refused(operation, reader, Refusal::TRANSACTION_LOST)
    }

    pub(super) fn is_held(&self) -> bool {
        self.held
    }

    pub(super) fn interrupted(&self) -> bool {
        self.interrupted
    }

    /// Notes a reconnect. If the transaction has ended, it is not held until it was [begun
    /// again](Hold::begun_again).
    pub(super) fn reconnected(&mut self, is_held: bool) {
        self.held = is_held;
        self.interrupted |= !is_held;
    }

    pub(super) fn begun_again(&mut self) {
        self.held = true;
    }

    pub(super) fn end(&mut self) {
        self.held = false;
    }
}

/// Exclusive use of a card for a sequence of commands.
///
/// Created by [`Card::transaction`]. It borrows the card: meanwhile the card is used through the
/// transaction, and there cannot be a second one.
///
/// ```compile_fail
/// # fn demo(mut card: scard::Card) -> scard::Result<()> {
/// let one = card.transaction()?;
/// let two = card.transaction()?;
/// drop((one, two));
/// # Ok(())
/// # }
/// ```
///
/// Dropping the transaction, even in a panic, ends it and leaves the card as it is;
/// [`end`](Transaction::end) takes a disposition and returns errors. If a process ends within a
/// transaction, its card is reset: see [every way in which a transaction can
/// end](crate::guide::endings).
///
/// # Platform notes
///
/// Windows resets the card to end a transaction that is idle for five seconds.
///
/// With pcsc-lite, what another program did outside a transaction may still reach the card at the
/// beginning of this one: a command, or the reset when a process ends. The daemon looks for a
/// transaction first, and waits for the reader only then.
#[derive(Debug)]
#[must_use = "dropping a transaction ends it"]
pub struct Transaction<'card> {
    card: &'card mut Card,
    hold: Hold,
}

impl<'card> Transaction<'card> {
    pub(super) fn new(card: &'card mut Card, hold: Hold) -> Transaction<'card> {
        Transaction { card, hold }
    }

    /// Returns the reader that the card is in.
    pub fn reader_name(&self) -> &ReaderName {
        self.card.reader_name()
    }

    /// Returns the share mode of the connection.
    pub fn share_mode(&self) -> ShareMode {
        self.card.share_mode()
    }

    /// See [`Card::protocol`].
    pub fn protocol(&self) -> Option<Protocol> {
        self.card.protocol()
    }

    /// See [`Card::transmit`].
    ///
    /// # Errors
    ///
    /// Those of [`Card::transmit`].
    #[doc(alias = "SCardTransmit")]
    pub fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>> {
        self.card(Operation::Transmit)?.transmit(command)
    }

    /// See [`Card::transmit_ref`].
    ///
    /// # Errors
    ///
    /// Those of [`Card::transmit`].
    #[doc(alias = "SCardTransmit")]
    pub fn transmit_ref(&mut self, command: &[u8]) -> Result<&[u8]> {
        let card = self.card(Operation::Transmit)?;
        card.channel.transmit(CommandBytes::new(command))
    }

    /// See [`Card::exchange`].
    ///
    /// # Errors
    ///
    /// Those of [`Card::exchange`].
    pub fn exchange(&mut self, command: &Command) -> Result<Response, ExchangeError> {
        self.exchange_with(command, &self.card.exchange_options())
    }

    /// See [`Card::exchange_with`].
    ///
    /// # Errors
    ///
    /// Those of [`Card::exchange`].
    pub fn exchange_with(
        &mut self,
        command: &Command,
        options: &ExchangeOptions,
    ) -> Result<Response, ExchangeError> {
        Transmit::exchange_with(self, command, options)
    }

    /// See [`Card::status`].
    ///
    /// # Errors
    ///
    /// Those of [`Card::status`].
    #[doc(alias = "SCardStatus")]
    pub fn status(&mut self) -> Result<CardStatus> {
        self.card(Operation::Status)?.status()
    }

    /// Reconnects like [`Card::reconnect`]. The transaction is held afterwards on every platform.
    ///
    /// # Errors
    ///
    /// Those of [`Card::reconnect`] and [`Card::transaction`].
    ///
    /// # Platform notes
    ///
    /// With pcsc-lite the transaction continues, unless the card was removed, which ends it.
    /// Windows and macOS end it with the reconnect. A transaction that has ended is begun again:
    /// other programs may have used the card in between, which
    /// [`interrupted`](Transaction::interrupted) reports.
    #[doc(alias = "SCardReconnect")]
    pub fn reconnect(
        &mut self,
        share_mode: ShareMode,
        protocols: Protocols,
        initialization: Initialization,
    ) -> Result<Protocol> {
        let protocol =
            self.card(Operation::Reconnect)?
                .reconnect(share_mode, protocols, initialization)?;
        self.hold.reconnected(self.card.in_transaction());
        if !self.hold.is_held() {
            self.card.begin_transaction_again()?;
            self.hold.begun_again();
        }
        Ok(protocol)
    }

    /// Returns whether other programs may have used the card since the transaction began, because
    /// [`reconnect`](Transaction::reconnect) had to begin it again.
    pub fn interrupted(&self) -> bool {
        self.hold.interrupted()
    }

    /// Returns whether a reset by another program was acknowledged when the transaction began.
    /// Always `false` unless it was begun by [`Card::transaction_acknowledging_reset`].
    pub fn was_reset(&self) -> bool {
        self.hold.was_reset()
    }

    /// Ends the transaction and applies `disposition` to the card.
    ///
    /// Corresponds to `SCardEndTransaction`. After anything but [`Disposition::Leave`], calls of
    /// this connection fail with `SCARD_W_RESET_CARD`, too, until it reconnects.
    ///
    /// # Errors
    ///
    /// `SCARD_W_REMOVED_CARD` or `SCARD_W_RESET_CARD` if the card was removed or reset meanwhile,
    /// `SCARD_E_INVALID_VALUE` if the reader was unplugged, 0x8010001F with pcsc-lite if the reader
    /// cannot [eject](Disposition::Eject). The transaction is over anyway, and `disposition` was
    /// not applied: a card that was reset before is not reset again.
    #[doc(alias = "SCardEndTransaction")]
    pub fn end(mut self, disposition: Disposition) -> Result<()> {
        self.finish(disposition)
    }

    /// Ends the borrow of the card without ending the transaction, which continues until it is
    /// [`resume`](Transaction::resume)d or the connection ends.
    pub(crate) fn suspend(&mut self) -> Hold {
        let hold = self.hold;
        self.hold.end();
        hold
    }

    pub(crate) fn resume(card: &'card mut Card, hold: Hold) -> Transaction<'card> {
        Transaction::new(card, hold)
    }

    /// Ends the transaction, and the [deadline](Card::set_end) of the card.
    pub(crate) fn end_with_deadline(&mut self) -> Result<()> {
        let ended = self.finish(Disposition::Leave);
        self.hold.end();
        self.card.set_end(None);
        ended
    }

    fn finish(&mut self, disposition: Disposition) -> Result<()> {
        self.card(Operation::EndTransaction)?;
        self.hold.end();
        self.card.end_transaction(disposition)
    }

    /// Returns the card, if the transaction still protects it.
    #[inline]
    fn card(&mut self, operation: Operation) -> Result<&mut Card> {
        self.hold.check(operation, self.card.reader_name())?;
        Ok(self.card)
    }
}

impl Control for Transaction<'_> {
    fn reader_name(&self) -> &ReaderName {
        self.reader_name()
    }

    fn control(&mut self, code: ControlCode, input: &[u8]) -> Result<Vec<u8>> {
        self.card(Operation::Control)?.control(code, input)
    }

    fn attribute(&mut self, attribute: Attribute) -> Result<Vec<u8>> {
        self.card(Operation::GetAttribute)?.attribute(attribute)
    }

    fn set_attribute(&mut self, attribute: Attribute, value: &[u8]) -> Result<()> {
        self.card(Operation::SetAttribute)?
            .set_attribute(attribute, value)
    }
}

impl Transmit for Transaction<'_> {
    fn protocol(&self) -> Option<Protocol> {
        self.protocol()
    }

    fn atr(&mut self) -> Result<Atr> {
        Ok(self.status()?.atr())
    }

    fn send(&mut self, command: CommandBytes<'_>) -> Result<&[u8]> {
        self.card(Operation::Transmit)?.send(command)
    }

    fn exchange_options(&self) -> ExchangeOptions {
        self.card.exchange_options()
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.hold.is_held() {
            return;
        }
        if let Err(error) = self.finish(Disposition::Leave) {
            tracing::debug!(%error, "a transaction was dropped");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_ended_by_a_reconnect_protects_nothing_until_it_begins_again() {
        let reader = ReaderName::new("Reader").expect("a name");
        let mut hold = Hold::begun(false);
        hold.reconnected(true);
        assert!(hold.is_held() && !hold.interrupted());
        hold.reconnected(false);
        // If it cannot be begun again, nothing continues as if it were held, and it is not ended.
        assert!(!hold.is_held());
        let lost = hold.check(Operation::Transmit, &reader).unwrap_err();
        assert_eq!(lost.kind(), crate::ErrorKind::NotInTransaction);
        hold.begun_again();
        assert!(hold.is_held() && hold.interrupted());
        hold.check(Operation::Transmit, &reader).expect("held");
    }
}
