//! The end of a connection, and what is done with the card before.

use super::{Access, Connection};
use crate::codes::{Platform, ReturnCode};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::limits::Permit;
use crate::service::{self, Failure, Process};
use crate::values::{Disposition, Initialization};

/// Whether a call that failed with this has done nothing, so that a disconnect has failed, too.
/// What is wrong with the card or the reader does not keep a connection from ending.
fn prevents_disconnect(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ServiceGone | ErrorKind::SharingViolation
    )
}

impl Connection {
    /// Disconnects, unless the caller has left by the time that nobody else holds a
    /// transaction.
    pub(crate) fn disconnect_permitted(
        &mut self,
        permit: &Permit<'_>,
        disposition: Disposition,
    ) -> Result<()> {
        if disposition != Disposition::Leave && permit.is_conditional() {
            // Ends with the connection.
            let _ = self.wait_for_others();
        }
        if permit.grant() {
            self.disconnect(disposition)
        } else {
            Err(self.left(Operation::Disconnect))
        }
    }

    /// Ends the connection of an owner who does not want to know how. If the disposition cannot
    /// be done, the drop that follows leaves the card as it is.
    pub(crate) fn end(&mut self, permit: &Permit<'_>, disposition: Disposition) {
        if let Err(error) = self.disconnect_permitted(permit, disposition) {
            tracing::debug!(%error, "the end of a connection that was dropped");
        }
    }

    /// Ends the connection, after it has done with the card what `disposition` says.
    ///
    /// On failure the connection is as it was, or over.
    pub(crate) fn disconnect(&mut self, disposition: Disposition) -> Result<()> {
        let done = match Platform::CURRENT {
            Platform::PcscLite => self.prepare_release(disposition),
            _ => self.make(Operation::Disconnect, |context, handle| {
                service::disconnect(context, handle, disposition.raw())
            }),
        };
        let ended = done.and_then(|()| {
            self.ready = Process::NONE;
            match (Platform::CURRENT, self.context.end()) {
                (Platform::PcscLite, ended) => ended,
                // The connection has ended before.
                _ => Ok(()),
            }
        });
        ended.map_err(|failure| self.error(Operation::Disconnect, failure))
    }

    /// What is to be done before the context is released, where that is how a connection ends.
    ///
    /// In pcsc-lite's client library before 2.4, `SCardDisconnect` looks through the lists of all
    /// contexts of the process without their lock, and crashes where another thread makes or
    /// releases one. Releasing the context ends the connection as well. The service then resets
    /// the card of a connection that holds a transaction or has exclusive access: both end first.
    pub(super) fn prepare_release(&mut self, disposition: Disposition) -> Result<(), Failure> {
        let done = match disposition {
            Disposition::Leave => Ok(()),
            // Direct access needs no protocol, and not even a card.
            Disposition::Reset => self.reset_directly(Initialization::Reset),
            Disposition::Unpower => self.reset_directly(Initialization::Unpower),
            Disposition::Eject => self.eject(),
        };
        if let Err(failure) = done {
            if prevents_disconnect(&self.error(Operation::Disconnect, failure)) {
                return Err(failure);
            }
        }
        if self.access.is_exclusive() {
            let left = self.make_reconnect(Access::Direct, 0, Initialization::Leave);
            if left.is_ok() {
                self.access = Access::Direct;
            }
            self.release_exclusive_lock();
        } else if self.in_transaction {
            // A reset that is not acknowledged yet keeps it from ending. The service does not
            // reset the card once more then.
            let _ = self.make_end_transaction(Disposition::Leave);
        }
        self.in_transaction = false;
        Ok(())
    }

    pub(super) fn reset_directly(&mut self, initialization: Initialization) -> Result<(), Failure> {
        self.make_reconnect(Access::Direct, 0, initialization)?;
        if self.access.is_exclusive() {
            self.release_exclusive_lock();
        }
        self.access = Access::Direct;
        Ok(())
    }

    /// The end of a transaction ejects the card as `SCardDisconnect` does.
    pub(super) fn eject(&mut self) -> Result<(), Failure> {
        if !self.in_transaction && !self.access.is_exclusive() {
            self.acknowledging(|it| {
                it.make(Operation::BeginTransaction, service::begin_transaction)
            })?;
        }
        self.in_transaction = false;
        self.acknowledging(|it| it.make_end_transaction(Disposition::Eject))
    }

    /// Makes a call, and once more after a reset that it is refused for.
    pub(super) fn acknowledging(
        &mut self,
        call: impl Fn(&mut Connection) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        match call(self) {
            Err(failure) if failure.code == ReturnCode::W_RESET_CARD => {
                self.make_reconnect(Access::Direct, 0, Initialization::Leave)?;
                call(self)
            }
            answer => answer,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.is_over() || self.is_forked() {
            return;
        }
        if let Err(error) = self.disconnect(Disposition::Leave) {
            tracing::debug!(%error, "the end of a connection that was dropped");
        }
    }
}
