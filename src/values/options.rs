//! What a caller chooses: scope, share mode, protocols, initialization, disposition.

use std::fmt;

/// Which resource manager a context belongs to: `SCARD_SCOPE_USER` and its kin.
///
/// # Platform notes
///
/// Only Windows makes a difference between them. pcsc-lite accepts each and ignores it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Scope {
    /// The domain of the user: what applications use.
    #[default]
    User,
    /// The domain of the system: for services that need access to every reader.
    System,
}

impl Scope {
    pub(crate) const fn raw(self) -> u32 {
        match self {
            Scope::User => 0,
            Scope::System => 2,
        }
    }
}

/// `SCARD_SHARE_DIRECT`.
pub(crate) const SHARE_DIRECT: u32 = 3;

/// Whether other programs may use the card at the same time.
///
/// Direct access to a reader (`SCARD_SHARE_DIRECT`) is a type of its own,
/// [`Reader`](crate::Reader): without a card there is nothing to transmit to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ShareMode {
    /// `SCARD_SHARE_SHARED`: others may connect, too. A [`Transaction`](crate::Transaction)
    /// keeps them out while commands belong together.
    #[default]
    Shared,
    /// `SCARD_SHARE_EXCLUSIVE`: nobody else can connect until this connection ends.
    Exclusive,
}

impl ShareMode {
    pub(crate) const fn raw(self) -> u32 {
        match self {
            ShareMode::Exclusive => 1,
            ShareMode::Shared => 2,
        }
    }
}

bitflags::bitflags! {
    /// The protocols that a caller accepts: the bit mask `dwPreferredProtocols`.
    ///
    /// The bits have the same values on every platform; they are translated where a
    /// platform has others (`SCARD_PROTOCOL_RAW` on Windows).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Protocols: u32 {
        /// T=0: characters.
        const T0 = 1;
        /// T=1: blocks.
        const T1 = 2;
        /// No protocol: what is sent goes to the card or the reader as it is.
        const RAW = 4;
        /// T=15. Known to pcsc-lite only, and no card talks it.
        const T15 = 8;
        /// T=0 or T=1, whichever the card prefers: the right choice nearly always.
        const ANY = Self::T0.bits() | Self::T1.bits();
    }
}

impl Default for Protocols {
    /// [`Protocols::ANY`].
    fn default() -> Protocols {
        Protocols::ANY
    }
}

/// The protocol that is active between reader and card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// T=0: characters.
    T0,
    /// T=1: blocks.
    T1,
    /// No protocol: what is sent goes to the card or the reader as it is.
    Raw,
    /// T=15.
    T15,
    /// A value of `dwActiveProtocol` that has no name, as the service returned it.
    Other(u32),
}

impl Protocol {
    /// The set that holds just this protocol; empty for [`Protocol::Other`].
    pub fn as_protocols(self) -> Protocols {
        match self {
            Protocol::T0 => Protocols::T0,
            Protocol::T1 => Protocols::T1,
            Protocol::Raw => Protocols::RAW,
            Protocol::T15 => Protocols::T15,
            Protocol::Other(_) => Protocols::empty(),
        }
    }
}

impl From<Protocol> for Protocols {
    fn from(protocol: Protocol) -> Protocols {
        protocol.as_protocols()
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Protocol::T0 => f.pad("T=0"),
            Protocol::T1 => f.pad("T=1"),
            Protocol::Raw => f.pad("raw"),
            Protocol::T15 => f.pad("T=15"),
            Protocol::Other(value) => write!(f, "protocol {value:#x}"),
        }
    }
}

/// What a reconnect does to the card: `dwInitialization`.
///
/// Eject is not among them: it is a [`Disposition`] and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Initialization {
    /// `SCARD_LEAVE_CARD`: nothing. The way to acknowledge another program's reset.
    Leave,
    /// `SCARD_RESET_CARD`: a warm reset. The card keeps its power and forgets its state.
    Reset,
    /// `SCARD_UNPOWER_CARD`: a cold reset. The card loses its power and gets it back.
    Unpower,
}

impl Initialization {
    pub(crate) const fn raw(self) -> u32 {
        match self {
            Initialization::Leave => 0,
            Initialization::Reset => 1,
            Initialization::Unpower => 2,
        }
    }
}

/// What happens to the card when a connection or a transaction ends: `dwDisposition`.
///
/// What ends either, and what other programs notice: [`guide::endings`](crate::guide::endings).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Disposition {
    /// `SCARD_LEAVE_CARD`: nothing.
    #[default]
    Leave,
    /// `SCARD_RESET_CARD`: a warm reset.
    Reset,
    /// `SCARD_UNPOWER_CARD`: the card loses its power. With pcsc-lite it gets it back at once, as
    /// other connections need it, and loses it for good when nobody uses the card any more.
    Unpower,
    /// `SCARD_EJECT_CARD`: the reader ejects the card, if it is one that can. pcsc-lite has that
    /// done by drivers for version 2.0 of its interface only, as hardly any are.
    Eject,
}

impl Disposition {
    pub(crate) const fn raw(self) -> u32 {
        match self {
            Disposition::Leave => 0,
            Disposition::Reset => 1,
            Disposition::Unpower => 2,
            Disposition::Eject => 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use pcsc::ffi;

    use super::*;

    #[test]
    #[allow(clippy::unnecessary_cast)]
    fn numbers_are_those_of_the_bindings() {
        assert_eq!(Scope::User.raw(), ffi::SCARD_SCOPE_USER as u32);
        assert_eq!(Scope::System.raw(), ffi::SCARD_SCOPE_SYSTEM as u32);
        assert_eq!(SHARE_DIRECT, ffi::SCARD_SHARE_DIRECT as u32);
        assert_eq!(ShareMode::Shared.raw(), ffi::SCARD_SHARE_SHARED as u32);
        assert_eq!(
            ShareMode::Exclusive.raw(),
            ffi::SCARD_SHARE_EXCLUSIVE as u32
        );
        assert_eq!(Initialization::Leave.raw(), ffi::SCARD_LEAVE_CARD as u32);
        assert_eq!(Initialization::Reset.raw(), ffi::SCARD_RESET_CARD as u32);
        assert_eq!(
            Initialization::Unpower.raw(),
            ffi::SCARD_UNPOWER_CARD as u32
        );
        assert_eq!(Disposition::Leave.raw(), ffi::SCARD_LEAVE_CARD as u32);
        assert_eq!(Disposition::Reset.raw(), ffi::SCARD_RESET_CARD as u32);
        assert_eq!(Disposition::Unpower.raw(), ffi::SCARD_UNPOWER_CARD as u32);
        assert_eq!(Disposition::Eject.raw(), ffi::SCARD_EJECT_CARD as u32);
        assert_eq!(Protocols::T0.bits(), ffi::SCARD_PROTOCOL_T0 as u32);
        assert_eq!(Protocols::T1.bits(), ffi::SCARD_PROTOCOL_T1 as u32);
        assert_eq!(Protocols::T15.bits(), ffi::SCARD_PROTOCOL_T15 as u32);
    }
}
