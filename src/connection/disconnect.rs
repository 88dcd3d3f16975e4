//! Ending a connection, with a disposition for the card.

use super::{Access, Connection};
use crate::codes::{Platform, ReturnCode};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::limits::Permit;
use crate::service::{self, Failure, Process, block_on};
use crate::values::{Disposition, Initialization};

/// Whether a call that failed with this error had no effect, so that the disconnect has failed,
/// too. Errors of the card or the reader do not prevent a connection from ending.
fn prevents_disconnect(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ServiceGone | ErrorKind::SharingViolation
    )
}

impl Connection {
    /// Disconnects, unless the caller has given up by the time no one else holds a transaction.
    pub(crate) async fn disconnect_permitted(
        &mut self,
        permit: &Permit<'_>,
        disposition: Disposition,
    ) -> Result<()> {
        let is_reset = self.reset_by_transaction(permit, self.access, disposition);
        let left_to_do = match is_reset.await {
            true => Disposition::Leave,
            false => disposition,
        };
        let waits = left_to_do != Disposition::Leave;
        if waits && permit.is_conditional() && !permit.is_void() {
            // The transaction ends with the connection.
            let _ = self.wait_for_others().await;
        }
        if permit.grant() {
            self.disconnect(left_to_do).await
        } else {
            Err(self.left(Operation::Disconnect))
        }
    }

    /// Ends the connection, ignoring errors. If the disposition fails, the card is left as it is.
    pub(crate) async fn end(&mut self, permit: &Permit<'_>, disposition: Disposition) {
        if self.is_over() {
            return;
        }
        if let Err(error) = self.disconnect_permitted(permit, disposition).await {
            tracing::debug!(%error, "ending a dropped connection failed");
            // A call that is still under way keeps it from ending.
            if !self.is_over() && !self.is_under_way() {
                self.end_quietly().await;
            }
        }
    }

    /// Ends the connection, ignoring errors, and leaves the card as it is.
    async fn end_quietly(&mut self) {
        if let Err(error) = self.disconnect(Disposition::Leave).await {
            tracing::debug!(%error, "ending a dropped connection failed");
        }
    }

    /// Ends the connection after applying the disposition.
    ///
    /// On failure the connection is unchanged, or has ended.
    pub(crate) async fn disconnect(&mut self, disposition: Disposition) -> Result<()> {
        let done = match Platform::CURRENT {
            Platform::PcscLite => self.prepare_release(disposition).await,
            _ => {
                let disposition = disposition.raw();
                self.make(Operation::Disconnect, |context, handle| {
                    service::disconnect(context, handle, disposition)
                })
                .await
            }
        };
        let ended = match done {
            Ok(()) => {
                self.ready = Process::NONE;
                match (Platform::CURRENT, self.end_context().await) {
                    (Platform::PcscLite, ended) => ended,
                    // The connection has already ended.
                    _ => Ok(()),
                }
            }
            Err(failure) => Err(failure),
        };
        ended.map_err(|failure| self.error(Operation::Disconnect, failure))
    }

    /// Releases the context, or disconnects the card and keeps the context for the next one.
    async fn end_context(&mut self) -> Result<(), Failure> {
        if self.is_under_way() || !self.home.has_room() {
            return self.context.end().await;
        }
        let leave = Disposition::Leave.raw();
        let left = self
            .make(Operation::Disconnect, |context, handle| {
                service::disconnect(context, handle, leave)
            })
            .await;
        match left {
            Ok(()) => {
                if let Some(context) = self.context.hand_on() {
                    self.home.leave(context);
                }
                Ok(())
            }
            // Given up: it ends with the context.
            Err(_) if self.is_under_way() => self.context.end().await.and(left),
            Err(_) => self.context.end().await,
        }
    }

    /// Prepares for ending the connection by releasing its context.
    ///
    /// In pcsc-lite's client library before 2.4, `SCardDisconnect` walks the lists of all contexts
    /// of the process without locking them, and crashes if another thread establishes or releases
    /// one. Releasing the context also ends the connection. The service then resets the card if the
    /// connection holds a transaction or has exclusive access, so these end first.
    pub(super) async fn prepare_release(
        &mut self,
        disposition: Disposition,
    ) -> Result<(), Failure> {
        let done = match disposition {
            Disposition::Leave => Ok(()),
            // Direct access needs no protocol, and not even a card.
            Disposition::Reset => self.reset_directly(Initialization::Reset).await,
            Disposition::Unpower => self.reset_directly(Initialization::Unpower).await,
            Disposition::Eject => self.eject().await,
        };
        if let Err(failure) = done {
            if prevents_disconnect(&self.error(Operation::Disconnect, failure)) {
                return Err(failure);
            }
        }
        if self.access.is_exclusive() {
            let leave = Initialization::Leave;
            let left = self.make_reconnect(Access::Direct, 0, leave).await;
            if left.is_ok() {
                self.access = Access::Direct;
            }
            self.release_exclusive_lock().await;
        } else if self.in_transaction {
            // An unacknowledged reset keeps it from ending. The service then does not reset the
            // card again.
            let _ = self.make_end_transaction(Disposition::Leave).await;
        }
        self.in_transaction = false;
        Ok(())
    }

    pub(super) async fn reset_directly(
        &mut self,
        initialization: Initialization,
    ) -> Result<(), Failure> {
        self.make_reconnect(Access::Direct, 0, initialization)
            .await?;
        if self.access.is_exclusive() {
            self.release_exclusive_lock().await;
        }
        self.access = Access::Direct;
        Ok(())
    }

    /// Ending a transaction ejects the card like `SCardDisconnect`.
    pub(super) async fn eject(&mut self) -> Result<(), Failure> {
        if !self.in_transaction && !self.access.is_exclusive() {
            let begun = self.make_begin_transaction().await;
            if !self.was_done_before_reset(begun).await? {
                self.make_begin_transaction().await?;
            }
        }
        self.in_transaction = false;
        let ejected = self.make_end_transaction(Disposition::Eject).await;
        if !self.was_done_before_reset(ejected).await? {
            self.make_end_transaction(Disposition::Eject).await?;
        }
        Ok(())
    }

    /// Returns whether a call was made. If it was refused because of a reset, the reset is
    /// acknowledged, and the call is to be repeated.
    async fn was_done_before_reset(
        &mut self,
        answer: Result<(), Failure>,
    ) -> Result<bool, Failure> {
        match answer {
            Err(failure) if failure.code == ReturnCode::W_RESET_CARD => {
                self.make_reconnect(Access::Direct, 0, Initialization::Leave)
                    .await?;
                Ok(false)
            }
            answer => answer.map(|()| true),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.is_over() || self.is_forked() {
            return;
        }
        if self.context.handle().is_suspending() {
            // After a panic in a task. There must be no wait: the context hangs up, and the service
            // resets the card if the connection keeps others out.
            return;
        }
        block_on(self.end_quietly());
    }
}
