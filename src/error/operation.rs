//! The PC/SC calls that can fail.

use std::fmt;

/// The SCard function that an [`Error`](crate::Error) is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// `SCardEstablishContext`
    EstablishContext,
    /// `SCardReleaseContext`
    ReleaseContext,
    /// `SCardIsValidContext`
    IsValidContext,
    /// `SCardListReaders`
    ListReaders,
    /// `SCardListReaderGroups`
    ListReaderGroups,
    /// `SCardGetStatusChange`
    GetStatusChange,
    /// `SCardConnect`
    Connect,
    /// `SCardReconnect`
    Reconnect,
    /// `SCardDisconnect`
    Disconnect,
    /// `SCardBeginTransaction`
    BeginTransaction,
    /// `SCardEndTransaction`
    EndTransaction,
    /// `SCardStatus`
    Status,
    /// `SCardTransmit`
    Transmit,
    /// `SCardControl`
    Control,
    /// `SCardGetAttrib`
    GetAttribute,
    /// `SCardSetAttrib`
    SetAttribute,
    /// An error from elsewhere that does not tell which call failed.
    Unknown,
}

impl Operation {
    /// Returns the name of the C function; "a PC/SC call" for [`Operation::Unknown`].
    pub const fn function_name(self) -> &'static str {
        match self {
            Operation::EstablishContext => "SCardEstablishContext",
            Operation::ReleaseContext => "SCardReleaseContext",
            Operation::IsValidContext => "SCardIsValidContext",
            Operation::ListReaders => "SCardListReaders",
            Operation::ListReaderGroups => "SCardListReaderGroups",
            Operation::GetStatusChange => "SCardGetStatusChange",
            Operation::Connect => "SCardConnect",
            Operation::Reconnect => "SCardReconnect",
            Operation::Disconnect => "SCardDisconnect",
            Operation::BeginTransaction => "SCardBeginTransaction",
            Operation::EndTransaction => "SCardEndTransaction",
            Operation::Status => "SCardStatus",
            Operation::Transmit => "SCardTransmit",
            Operation::Control => "SCardControl",
            Operation::GetAttribute => "SCardGetAttrib",
            Operation::SetAttribute => "SCardSetAttrib",
            Operation::Unknown => "a PC/SC call",
        }
    }
}

#[cfg(test)]
impl Operation {
    /// Each call.
    pub(super) const ALL: &[Operation] = &[
        Operation::EstablishContext,
        Operation::ReleaseContext,
        Operation::IsValidContext,
        Operation::ListReaders,
        Operation::ListReaderGroups,
        Operation::GetStatusChange,
        Operation::Connect,
        Operation::Reconnect,
        Operation::Disconnect,
        Operation::BeginTransaction,
        Operation::EndTransaction,
        Operation::Status,
        Operation::Transmit,
        Operation::Control,
        Operation::GetAttribute,
        Operation::SetAttribute,
    ];
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.function_name())
    }
}
