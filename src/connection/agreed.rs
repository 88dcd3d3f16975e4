//! The access mode of a connection and the negotiated protocol.

use crate::error::{CardCondition, Error, ErrorKind};
use crate::values::{Protocol, ShareMode};

/// How a connection uses its reader: `dwShareMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Card(ShareMode),
    Direct,
}

impl Access {
    pub(super) const fn raw(self) -> u32 {
        match self {
            Access::Card(share_mode) => share_mode.raw(),
            Access::Direct => crate::values::SHARE_DIRECT,
        }
    }

    pub(super) fn is_exclusive(self) -> bool {
        self == Access::Card(ShareMode::Exclusive)
    }

    /// Whether a connection with this protocol is acceptable. pcsc-lite reports success with
    /// another protocol if the reader supports none of the accepted ones.
    pub(super) fn accepts(self, protocol: u32, accepted: u32) -> bool {
        self == Access::Direct || (protocol.is_power_of_two() && protocol & accepted != 0)
    }
}

/// The parameters agreed on with the card and the service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Agreed {
    /// The share mode of the card; meaningless for direct access.
    pub(crate) share_mode: ShareMode,
    /// The protocol of the last successful connect or reconnect, used to send commands.
    pub(super) protocol: Protocol,
    /// Whether it is still the active one, as far as is known.
    pub(super) is_current: bool,
}

impl Agreed {
    /// The protocol, if known.
    pub(crate) fn protocol(&self) -> Option<Protocol> {
        self.is_current.then_some(self.protocol)
    }

    pub(crate) fn forget(&mut self) {
        self.is_current = false;
    }

    pub(super) fn set(&mut self, access: Access, protocol: Protocol) {
        if let Access::Card(share_mode) = access {
            self.share_mode = share_mode;
        }
        self.protocol = protocol;
        self.is_current = true;
    }

    /// Updates the protocol after an error.
    pub(super) fn note(&mut self, error: &Error) {
        self.is_current &= match error.card_condition() {
            Some(condition) => condition == CardCondition::Unchanged,
            None => !ends_protocol(error),
        };
    }
}

/// Whether the protocol is unknown after this error.
fn ends_protocol(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::CardReset
            | ErrorKind::CardRemoved
            | ErrorKind::NoCard
            | ErrorKind::ProtocolMismatch
            | ErrorKind::ReaderGone
            | ErrorKind::ServiceGone
            | ErrorKind::DeadlineExceeded
            | ErrorKind::Abandoned
    )
}
