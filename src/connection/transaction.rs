//! Transactions of a connection, including those around a single call.

use super::{Access, Connection};
use crate::codes::{Platform, ReturnCode};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::limits::Permit;
use crate::limits::pause::Pause;
use crate::service::{self, Failure};
use crate::values::{Disposition, Initialization, Protocols};

/// How often the protocol must be refused, while others reset the card, for the refusal to be
/// believed.
const BELIEVED: u32 = 4;

impl Connection {
    /// Begins a transaction. A leaked one is ended first, because pcsc-lite counts them.
    pub(crate) async fn begin_transaction(&mut self) -> Result<()> {
        if std::mem::take(&mut self.in_transaction) {
            if let Err(Failure { code, .. }) = self.make_end_transaction(Disposition::Leave).await {
                tracing::debug!(%code, reader_name = %self.reader, "ending a leaked transaction failed");
            }
        }
        self.call(Operation::BeginTransaction, service::begin_transaction)
            .await?;
        self.in_transaction = true;
        Ok(())
    }

    /// Begins a transaction, acknowledging resets until it succeeds or the caller has given up.
    /// Returns whether there was an unreported reset.
    ///
    /// pcsc-lite checks for resets before it locks the card; one in between is found by checking
    /// again afterwards. Also, while a reset is under way, pcsc-lite can briefly refuse every
    /// protocol.
    pub(crate) async fn begin_transaction_acknowledging_reset(
        &mut self,
        permit: &Permit<'_>,
        protocols: Protocols,
    ) -> Result<bool> {
        let keeps = Platform::CURRENT.reconnect_keeps_transaction();
        let (mut pause, mut mismatches) = (Pause::default(), 0);
        for resets in 0u32.. {
            let begun = match self.in_transaction {
                true => Ok(()),
                false => self.begin_transaction().await,
            };
            let looked = match begun {
                Ok(()) => self.call(Operation::Status, service::status).await,
                Err(error) => Err(error),
            };
            let Err(error) = looked else {
                break;
            };
            if error.kind() != ErrorKind::CardReset || permit.is_void() {
                return Err(self.without_transaction(error).await);
            }
            if resets > 1 {
                permit.pause(&mut pause).await;
            }
            if !keeps {
                self.leave_transaction().await;
            }
            self.unreported_reset = true;
            self.note(&error);
            // Does not affect the card, so it needs no permission.
            let leave = Initialization::Leave;
            let reconnected =
                self.reconnect_permitted(&Permit::GRANTED, self.access, protocols, leave);
            if let Err(error) = reconnected.await {
                let is_mismatch = error.kind() == ErrorKind::ProtocolMismatch;
                mismatches += u32::from(is_mismatch);
                if !keeps || !is_mismatch || mismatches == BELIEVED {
                    return Err(self.without_transaction(error.of_reconnect(leave)).await);
                }
                permit.pause(&mut pause).await;
            }
        }
        Ok(self.unreported_reset)
    }

    /// Marks the acknowledged resets as reported to the caller.
    pub(crate) fn resets_are_reported(&mut self) {
        self.unreported_reset = false;
    }

    pub(super) async fn without_transaction(&mut self, error: Error) -> Error {
        self.leave_transaction().await;
        error
    }

    pub(super) async fn leave_transaction(&mut self) {
        if self.in_transaction {
            if let Err(error) = self.end_transaction(Disposition::Leave).await {
                tracing::debug!(%error, "ending a useless transaction failed");
            }
        }
    }

    /// Ends the transaction. After anything but [`Disposition::Leave`] the protocol is unknown.
    pub(crate) async fn end_transaction(&mut self, disposition: Disposition) -> Result<()> {
        self.in_transaction = false;
        self.agreed.is_current &= disposition == Disposition::Leave;
        let ended = self.make_end_transaction(disposition).await;
        if ended.is_err_and(|failure| failure.code == ReturnCode::W_RESET_CARD) {
            self.release_transaction_of_reset_card().await;
        }
        ended.map_err(|failure| self.error(Operation::EndTransaction, failure))
    }

    /// pcsc-lite refuses to end a transaction while a reset of the card is unacknowledged, and
    /// keeps everyone else out. A reconnect with direct access acknowledges the reset without
    /// negotiating a protocol for the caller; the reset is still reported.
    pub(super) async fn release_transaction_of_reset_card(&mut self) {
        if Platform::CURRENT != Platform::PcscLite || self.access.is_exclusive() {
            return;
        }
        // A card that does not answer refuses it.
        self.lock_is_left = true;
        if self.acknowledge_unreported().await.is_ok() {
            self.release_lock_left().await;
        }
    }

    /// Acknowledges a reset to the service; it is still reported to the caller. Returns the active
    /// protocol, or zero.
    pub(super) async fn acknowledge_unreported(&mut self) -> Result<u32, Failure> {
        let protocol = self
            .make_reconnect(Access::Direct, 0, Initialization::Leave)
            .await?;
        self.set_unacknowledged(Some(ReturnCode::W_RESET_CARD));
        Ok(protocol)
    }

    /// Ends a transaction whose end was refused, now that no reset is unacknowledged.
    pub(super) async fn release_lock_left(&mut self) {
        if self.lock_is_left && !self.in_transaction && !self.access.is_exclusive() {
            self.lock_is_left = false;
            self.release_exclusive_lock().await;
        }
    }

    /// Resets the card by a transaction that ends with the reset (pcsc-lite). Returns whether that was
    /// done: not if a transaction cannot begin, or is already there, nor with exclusive access.
    ///
    /// `SCardReconnect` and `SCardDisconnect` report the reset to others before they make it: these
    /// could acknowledge it and select an application, which the reset would take away without
    /// another report. In a transaction that could not happen; but if the card does not answer,
    /// none can end. Its end with a reset resets first, then reports, and unlocks the card always.
    ///
    /// `access` is the one that follows. A card that is used only directly may lose its power at any
    /// moment, also right after the reset.
    pub(super) async fn reset_by_transaction(
        &mut self,
        permit: &Permit<'_>,
        access: Access,
        disposition: Disposition,
    ) -> bool {
        let resets = matches!(disposition, Disposition::Reset | Disposition::Unpower);
        if Platform::CURRENT != Platform::PcscLite || !resets {
            return false;
        }
        let began = match self.wait_for_others().await {
            // An unacknowledged reset is no reason not to reset.
            Err(error) if error.kind() == ErrorKind::CardReset => self.begin_despite_reset().await,
            began => began.unwrap_or(false),
        };
        if !began {
            return false;
        }
        if self.access == Access::Direct && access != Access::Direct && !permit.is_void() {
            // From now on the card is in use, unless it has none of these protocols.
            let (any, leave) = (Protocols::ANY, Initialization::Leave);
            let any = Platform::CURRENT.preferred_protocols(any);
            let _ = self.make_reconnect(access, any, leave).await;
            if self.is_under_way() {
                // The transaction ends with the connection.
                return false;
            }
        }
        if !permit.grant() {
            self.leave_transaction().await;
            return false;
        }
        match self
            .end_transaction(disposition)
            .await
            .map_err(|error| error.kind())
        {
            Err(
                ErrorKind::CardReset
                | ErrorKind::CardRemoved
                | ErrorKind::SharingViolation
                | ErrorKind::ServiceGone
                | ErrorKind::DeadlineExceeded
                | ErrorKind::Cancelled,
            ) => false,
            // Any code of the driver: what the card is like is found out by the next call.
            Ok(()) | Err(_) => true,
        }
    }

    /// Begins a transaction although a reset is unacknowledged. It is still reported to the caller.
    async fn begin_despite_reset(&mut self) -> bool {
        if self.acknowledge_unreported().await.is_err() {
            return false;
        }
        self.in_transaction = self.make_begin_transaction().await.is_ok();
        self.in_transaction
    }

    /// Begins a transaction if there is none and others could hold one. Returns whether it did.
    pub(super) async fn wait_for_others(&mut self) -> Result<bool> {
        if self.in_transaction || self.access.is_exclusive() {
            return Ok(false);
        }
        self.begin_transaction().await?;
        Ok(true)
    }

    pub(super) async fn let_others(&mut self, began: bool) {
        if !began || self.is_over() {
            return;
        }
        if let Err(error) = self.end_transaction(Disposition::Leave).await {
            tracing::debug!(%error, "ending the transaction around a call failed");
        }
    }

    pub(super) async fn make_begin_transaction(&mut self) -> Result<(), Failure> {
        self.make(Operation::BeginTransaction, service::begin_transaction)
            .await
    }

    pub(super) async fn make_end_transaction(
        &mut self,
        disposition: Disposition,
    ) -> Result<(), Failure> {
        self.make(Operation::EndTransaction, |context, handle| {
            service::end_transaction(context, handle, disposition.raw())
        })
        .await
    }

    pub(crate) fn in_transaction(&self) -> bool {
        self.in_transaction
    }
}
