//! Reconnecting: changing the access, resetting or acknowledging a reset, and the lock involved.

use super::{Access, Connection};
use crate::codes::{Platform, ReturnCode};
use crate::error::{Error, Operation, Result};
use crate::limits::Permit;
use crate::service::{self, Failure};
use crate::values::{Disposition, Initialization, Protocol, Protocols, ShareMode};

impl Connection {
    /// Reconnects, unless the caller has given up by the time no one else holds a transaction. A
    /// reset that was given up is never done late.
    pub(crate) async fn reconnect_permitted(
        &mut self,
        permit: &Permit<'_>,
        access: Access,
        protocols: Protocols,
        initialization: Initialization,
    ) -> Result<Protocol> {
        let has_lost_lock = self.has_lost_lock().await;
        self.in_transaction &= !has_lost_lock;
        let resets = initialization != Initialization::Leave;
        let becomes_exclusive = access.is_exclusive() && !self.access.is_exclusive();
        let (before, mut began, mut is_reset) = (self.access, false, false);
        if resets && becomes_exclusive {
            self.wait_for_exclusive_access().await;
        } else if Platform::CURRENT == Platform::PcscLite {
            let disposition = match initialization {
                Initialization::Leave => Disposition::Leave,
                Initialization::Reset => Disposition::Reset,
                Initialization::Unpower => Disposition::Unpower,
            };
            is_reset = self.reset_by_transaction(permit, access, disposition).await;
        } else if resets && permit.is_conditional() {
            // An unacknowledged reset is no reason not to reset.
            began = self.wait_for_others().await.unwrap_or(false);
        }
        let reconnected = if permit.grant() {
            match is_reset {
                true => {
                    self.reconnect_after_reset(permit, before, access, protocols, initialization)
                        .await
                }
                false => {
                    self.reconnect(before, access, protocols, initialization)
                        .await
                }
            }
        } else {
            Err(self.left(Operation::Reconnect))
        };
        self.let_others(began).await;
        if reconnected.is_err() && resets && becomes_exclusive {
            self.give_up_exclusive_access(before).await;
        }
        if reconnected.is_ok() && has_lost_lock && before.is_exclusive() && access.is_exclusive() {
            // Without it, the end of the next transaction would be refused.
            let _ = self.make_begin_transaction().await;
        }
        reconnected
    }

    /// `before` is the access before the caller requested another one.
    pub(super) async fn reconnect(
        &mut self,
        before: Access,
        access: Access,
        protocols: Protocols,
        initialization: Initialization,
    ) -> Result<Protocol> {
        let accepted = Platform::CURRENT.preferred_protocols(protocols);
        let answer = self.make_reconnect(access, accepted, initialization).await;
        self.agree(before, access, accepted, answer).await
    }

    /// Reconnects after [`Connection::reset_by_transaction`]. If another connection has chosen the
    /// protocol since then, the card is reset once more, to choose it here.
    async fn reconnect_after_reset(
        &mut self,
        permit: &Permit<'_>,
        before: Access,
        access: Access,
        protocols: Protocols,
        initialization: Initialization,
    ) -> Result<Protocol> {
        let accepted = Platform::CURRENT.preferred_protocols(protocols);
        let leave = Initialization::Leave;
        let answer = self.make_reconnect(access, accepted, leave).await;
        let is_mismatch = |failure: Failure| failure.code == ReturnCode::E_PROTO_MISMATCH;
        let another_chose = answer.is_err_and(is_mismatch)
            && self
                .acknowledge_unreported()
                .await
                .is_ok_and(|protocol| protocol != 0);
        let agreed = match another_chose {
            false => self.agree(before, access, accepted, answer).await,
            true if permit.grant() => {
                self.reconnect(before, access, protocols, initialization)
                    .await
            }
            true => Err(self.left(Operation::Reconnect)),
        };
        agreed.map_err(Error::after_reset)
    }

    /// Takes over what the service answered.
    async fn agree(
        &mut self,
        before: Access,
        access: Access,
        accepted: u32,
        answer: Result<u32, Failure>,
    ) -> Result<Protocol> {
        let protocol = match answer {
            Ok(protocol) => protocol,
            Err(failure) => {
                let error = self.error(Operation::Reconnect, failure);
                let has_refused = self
                    .has_refused_parameters(before, access, failure.code)
                    .await;
                return Err(match has_refused {
                    true => error.of_refused_parameters(),
                    false => error,
                });
            }
        };
        self.set_unacknowledged(None);
        self.in_transaction &= Platform::CURRENT.reconnect_keeps_transaction();
        if self.access.is_exclusive() && !access.is_exclusive() && !self.in_transaction {
            self.release_exclusive_lock().await;
        }
        self.access = access;
        self.release_lock_left().await;
        let negotiated = match protocol {
            // pcsc-lite took the power from the card, which was not in use, and forgot the protocol
            // just negotiated. Now the card is in use, but it stays without power.
            0 if access != Access::Direct && Platform::CURRENT == Platform::PcscLite => {
                self.make_reconnect(access, accepted, Initialization::Leave)
                    .await
            }
            protocol => Ok(protocol),
        };
        let refused = match negotiated {
            Ok(protocol) if access.accepts(protocol, accepted) => {
                self.protocol = protocol;
                let protocol = Platform::CURRENT.protocol(protocol);
                self.agreed.set(access, protocol);
                return Ok(protocol);
            }
            Ok(_) => ReturnCode::E_PROTO_MISMATCH.into(),
            Err(failure) => failure,
        };
        self.refuse_protocol(before).await;
        Err(self.error(Operation::Reconnect, refused))
    }

    /// Whether the card answers although a reconnect failed with the code for a mute card:
    /// pcsc-lite also returns it if the negotiation of the protocol parameters (PPS) fails.
    ///
    /// Direct access negotiates nothing, and is refused with the same code if the card is mute.
    /// (`SCardGetStatusChange` would take 0.4 s for a mute card, and `SCardStatus` reports only the
    /// reset.) A reset that this acknowledges is still reported to the caller. The lock of
    /// exclusive access stays.
    async fn has_refused_parameters(
        &mut self,
        before: Access,
        access: Access,
        code: ReturnCode,
    ) -> bool {
        if Platform::CURRENT != Platform::PcscLite
            || code != ReturnCode::W_UNRESPONSIVE_CARD
            || access == Access::Direct
        {
            return false;
        }
        let (direct, leave) = (Access::Direct, Initialization::Leave);
        if self.make_reconnect(direct, 0, leave).await.is_err() {
            return false;
        }
        if before != Access::Direct {
            self.set_unacknowledged(Some(ReturnCode::W_RESET_CARD));
        }
        true
    }

    /// Restores the state of a service that refuses the protocol, after one that did not: no access
    /// to the card if there was none before, and no commands until the caller has reconnected.
    /// (Only a card that was reset, by this call or another program, gets another protocol.)
    pub(super) async fn refuse_protocol(&mut self, before: Access) {
        self.agreed.forget();
        if before != Access::Direct {
            self.set_unacknowledged(Some(ReturnCode::W_RESET_CARD));
        }
        let became_exclusive = self.access.is_exclusive() && !before.is_exclusive();
        if became_exclusive || before == Access::Direct {
            let (direct, leave) = (Access::Direct, Initialization::Leave);
            if self.make_reconnect(direct, 0, leave).await.is_ok() {
                self.access = before;
                if became_exclusive && !self.in_transaction {
                    self.release_exclusive_lock().await;
                }
            }
        }
    }

    /// pcsc-lite implements exclusive access as a lock, the same one that a transaction takes, and
    /// does not release it when a reconnect ends the exclusive access: every other program would
    /// wait for it forever. Ending "the transaction" releases it.
    pub(super) async fn release_exclusive_lock(&mut self) {
        if Platform::CURRENT != Platform::PcscLite {
            return;
        }
        // More than one if ending a transaction failed before.
        for _ in 0..4 {
            if self.make_end_transaction(Disposition::Leave).await.is_err() {
                break;
            }
        }
    }

    /// Whether the service has unlocked the card, as pcsc-lite does when it is removed. A reconnect
    /// does not report this.
    pub(super) async fn has_lost_lock(&mut self) -> bool {
        let had_lock = self.in_transaction || self.access.is_exclusive();
        Platform::CURRENT == Platform::PcscLite
            && had_lock
            && self
                .make(Operation::Status, service::status)
                .await
                .is_err_and(|failure| failure.code == ReturnCode::W_REMOVED_CARD)
    }

    /// Waits until there is no other connection to the card, without affecting the card.
    ///
    /// pcsc-lite resets the card before it checks whether others are connected, and its client
    /// library repeats the call ten times a second until no one is: a reset in the same call would
    /// be repeated every tenth of a second.
    pub(super) async fn wait_for_exclusive_access(&mut self) {
        if Platform::CURRENT != Platform::PcscLite {
            return;
        }
        let exclusive = Access::Card(ShareMode::Exclusive);
        let leave = Initialization::Leave;
        // One of them includes the active protocol. A failure here is repeated by the following
        // call.
        for protocols in [Protocols::ANY, Protocols::RAW] {
            let protocols = Platform::CURRENT.preferred_protocols(protocols);
            match self.make_reconnect(exclusive, protocols, leave).await {
                Ok(_) => {
                    self.access = exclusive;
                    return;
                }
                Err(failure) if failure.code == ReturnCode::E_PROTO_MISMATCH => {}
                Err(_) => return,
            }
        }
    }

    /// Restores the access from before [`Connection::wait_for_exclusive_access`], after the card
    /// was, or may have been, reset.
    pub(super) async fn give_up_exclusive_access(&mut self, before: Access) {
        if !self.access.is_exclusive() {
            return;
        }
        let (direct, leave) = (Access::Direct, Initialization::Leave);
        if self.make_reconnect(direct, 0, leave).await.is_ok() {
            self.access = before;
            self.set_unacknowledged(Some(ReturnCode::W_RESET_CARD));
            if !self.in_transaction {
                self.release_exclusive_lock().await;
            }
        }
    }

    pub(super) async fn make_reconnect(
        &mut self,
        access: Access,
        protocols: u32,
        initialization: Initialization,
    ) -> Result<u32, Failure> {
        let (access, initialization) = (access.raw(), initialization.raw());
        self.make(Operation::Reconnect, |context, handle| {
            service::reconnect(context, handle, access, protocols, initialization)
        })
        .await
    }
}
