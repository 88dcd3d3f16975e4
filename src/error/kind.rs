//! The meaning of an error for the program: its kind and its recovery.

use std::fmt;

use crate::values::Initialization;

/// Defines a short phrase for each value, and the list of all values for tests.
macro_rules! phrases {
    ($type:ident: $( $name:ident = $phrase:literal, )+) => {
        /// Prints a short lower-case phrase for people.
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self {
                    $( $type::$name => $phrase, )+
                })
            }
        }

        #[cfg(test)]
        impl $type {
            pub(super) const ALL: &[$type] = &[$( $type::$name ),+];
        }
    };
}

pub(super) use phrases;

/// The kind of an [`Error`](crate::Error), for programs to branch on.
///
/// PC/SC has several codes for one situation; which one is returned depends on the platform, the
/// driver and the call. The kind is the same for all of them: an unplugged reader is
/// [`ErrorKind::ReaderGone`], whether the code is `SCARD_E_INVALID_VALUE`,
/// `SCARD_E_READER_UNAVAILABLE` or `SCARD_E_UNKNOWN_READER`.
#[doc = include_str!("kinds.md")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The card lost its state: another connection reset it, or it lost power.
    CardReset,
    /// The card was removed or replaced.
    CardRemoved,
    /// There is no card to connect to.
    NoCard,
    /// Something is in the reader, but does not answer like a card.
    CardUnresponsive,
    /// The card answers, but the reader or the system cannot work with it.
    CardUnsupported,
    /// The reader was unplugged, or no reader has this name.
    ///
    /// On Windows also: there is no reader at all, and therefore no service.
    ReaderGone,
    /// Another connection prevents this one.
    SharingViolation,
    /// The smart-card service is not running, has stopped, or does not know this connection.
    ServiceGone,
    /// The service has no resources left, this process has no file descriptor left for a connection
    /// to it, or too many calls to it were given up.
    ///
    /// Calls are given up at their time limit
    /// ([`ContextOptions::timeout`](crate::ContextOptions::timeout)) if the service does not
    /// answer.
    ServiceBusy,
    /// The PC/SC library in this process can no longer list the readers; a new process can.
    ///
    /// This happens with pcsc-lite 2.5 when its service is restarted with fewer readers than
    /// before. Connecting to a reader by name and sending commands still work.
    StaleProcess,
    /// The system denies this program the use of the service, the reader or the file.
    AccessDenied,
    /// The requested protocols are not possible now.
    ProtocolMismatch,
    /// The exchange with the card or the reader failed.
    Communication,
    /// There is no transaction: it was never begun, or the platform ended it.
    NotInTransaction,
    /// A time limit of the service or the driver passed.
    Timeout,
    /// The deadline that the program set for the call passed.
    ///
    /// If the call was under way, it was given up and the connection has ended
    /// ([`Card::is_abandoned`](crate::Card::is_abandoned)): [`Recovery::ConnectAgain`]. If the
    /// deadline passed before the call began, nothing was done and the connection still works:
    /// [`Recovery::RetryLater`]. A [wait for a card](crate::Context::wait_for_card) ends with
    /// [`Recovery::InsertCard`], or [`AttachReader`](Recovery::AttachReader) without a reader, or
    /// [`RetryLater`](Recovery::RetryLater) without the service.
    DeadlineExceeded,
    /// The connection has ended.
    ///
    /// An earlier call was given up or failed, or the connection belongs to the process that this
    /// one was forked from.
    Abandoned,
    /// The program, the user or the system cancelled the operation.
    Cancelled,
    /// A response does not fit into its buffer.
    BufferTooSmall,
    /// The call cannot work with these arguments.
    InvalidArgument,
    /// The service, the driver or the card cannot do this.
    Unsupported,
    /// The PIN is wrong.
    WrongPin,
    /// The PIN is blocked.
    PinBlocked,
    /// A PIN must be presented first.
    PinRequired,
    /// A file, key or certificate on the card is missing or does not allow this.
    CardData,
    /// The system's cache of card data does not have the item.
    Cache,
    /// The system's registration of readers and cards is incomplete.
    Configuration,
    /// The service reported an internal error.
    Internal,
    /// The code is unknown to this library. [`Error::code`](crate::Error::code) returns it.
    Unknown,
}

phrases! {
    ErrorKind:
    CardReset = "card reset",
    CardRemoved = "card removed",
    NoCard = "no card",
    CardUnresponsive = "unresponsive card",
    CardUnsupported = "unsupported card",
    ReaderGone = "reader unavailable",
    SharingViolation = "sharing violation",
    ServiceGone = "smart-card service unavailable",
    ServiceBusy = "smart-card service busy",
    StaleProcess = "stale PC/SC library",
    AccessDenied = "access denied",
    ProtocolMismatch = "protocol mismatch",
    Communication = "communication failure",
    NotInTransaction = "not in a transaction",
    Timeout = "timed out",
    DeadlineExceeded = "deadline exceeded",
    Abandoned = "connection ended",
    Cancelled = "cancelled",
    BufferTooSmall = "buffer too small",
    InvalidArgument = "invalid argument",
    Unsupported = "not supported",
    WrongPin = "wrong PIN",
    PinBlocked = "PIN blocked",
    PinRequired = "PIN required",
    CardData = "card data missing or protected",
    Cache = "not in the cache",
    Configuration = "configuration error",
    Internal = "internal error",
    Unknown = "unknown error",
}

/// The action that resolves an [`Error`](crate::Error).
#[doc = include_str!("recoveries.md")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Recovery {
    /// Reconnect without a reset.
    ///
    /// Call [`Card::reconnect`](crate::Card::reconnect) with [`Initialization::Leave`].
    ///
    /// Then set the card's state up again (selected application, verified PIN).
    Reconnect,
    /// Reconnect with [`Card::reconnect`](crate::Card::reconnect), resetting the card.
    ///
    /// The card's state is unknown. Whether the command ran is also unknown.
    ResetCard,
    /// Have a card inserted, or inserted again. Then reconnect or connect.
    InsertCard,
    /// Have the reader attached. Its connections are lost; connect again.
    AttachReader,
    /// Connect again: the service no longer knows this connection.
    ///
    /// The [`Context`](crate::Context) renews itself.
    ConnectAgain,
    /// Make the same call later. The connection, if any, still works.
    RetryLater,
    /// Restart the process. Until then, everything that does not list the readers works.
    RestartProcess,
    /// The user must act: enter another PIN, or answer.
    AskUser,
    /// The administrator must act: permissions, installation, configuration.
    AskAdministrator,
    /// The program must make a different call.
    FixCall,
    /// No known remedy.
    None,
}

phrases! {
    Recovery:
    Reconnect = "reconnect",
    ResetCard = "reconnect with a reset",
    InsertCard = "insert a card",
    AttachReader = "attach the reader",
    ConnectAgain = "connect again",
    RetryLater = "try again later",
    RestartProcess = "restart the program",
    AskUser = "ask the user",
    AskAdministrator = "ask the administrator",
    FixCall = "correct the call",
    None = "no known remedy",
}

impl Recovery {
    /// Returns an instruction to a person, with a full stop.
    pub const fn advice(self) -> &'static str {
        match self {
            Recovery::Reconnect => {
                "Reconnect without resetting the card, and set up its state again: select the \
                 application, verify the PIN."
            }
            Recovery::ResetCard => {
                "Reconnect with a reset of the card. Find out whether the command ran before \
                 sending it again."
            }
            Recovery::InsertCard => "Insert the card, or remove it and insert it again.",
            Recovery::AttachReader => "Attach the reader and connect again.",
            Recovery::ConnectAgain => {
                "Check that the smart-card service is running, and connect again: an old connection \
                 is lost."
            }
            Recovery::RetryLater => "Try again later.",
            Recovery::RestartProcess => "Restart the program: its PC/SC library cannot recover.",
            Recovery::AskUser => "Ask the user to enter another PIN or to continue.",
            Recovery::AskAdministrator => {
                "Ask the administrator to check permissions, installation and configuration."
            }
            Recovery::FixCall => "Correct the call; it cannot succeed as it is.",
            Recovery::None => "No known remedy.",
        }
    }
}

/// The condition of the card after a failed reconnect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum CardCondition {
    /// The card was left alone: the connection works, or does not, as before.
    Unchanged,
    /// The card may have been reset although the call failed.
    ///
    /// The next command fails with `SCARD_W_RESET_CARD`; another reconnect continues from there.
    MayBeReset,
    /// There is no card.
    Absent,
    /// There is a card that does not answer.
    Unresponsive,
    /// The connection to the card, the reader or the service is lost.
    Lost,
    /// Not known.
    Unknown,
}

phrases! {
    CardCondition:
    Unchanged = "unchanged",
    MayBeReset = "possibly reset",
    Absent = "absent",
    Unresponsive = "unresponsive",
    Lost = "connection lost",
    Unknown = "unknown",
}

impl CardCondition {
    pub(super) fn after(kind: ErrorKind, initialization: Initialization) -> CardCondition {
        let was_left = initialization == Initialization::Leave;
        match kind {
            ErrorKind::NoCard | ErrorKind::CardRemoved => CardCondition::Absent,
            ErrorKind::CardUnresponsive => CardCondition::Unresponsive,
            ErrorKind::ReaderGone
            | ErrorKind::ServiceGone
            | ErrorKind::DeadlineExceeded
            | ErrorKind::Cancelled
            | ErrorKind::Abandoned => CardCondition::Lost,
            // Checked before the card is touched.
            ErrorKind::InvalidArgument => CardCondition::Unchanged,
            // Checked before and after the reset.
            ErrorKind::SharingViolation | ErrorKind::ProtocolMismatch if was_left => {
                CardCondition::Unchanged
            }
            _ if was_left => CardCondition::Unknown,
            _ => CardCondition::MayBeReset,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::error::Origin;

    #[test]
    fn what_is_left_after_a_reconnect() {
        use CardCondition as Is;
        use Initialization::{Leave, Reset, Unpower};
        for (kind, initialization, condition) in [
            (ErrorKind::ProtocolMismatch, Leave, Is::Unchanged),
            (ErrorKind::ProtocolMismatch, Reset, Is::MayBeReset),
            (ErrorKind::SharingViolation, Unpower, Is::MayBeReset),
            (ErrorKind::SharingViolation, Leave, Is::Unchanged),
            (ErrorKind::NoCard, Reset, Is::Absent),
            (ErrorKind::CardUnresponsive, Reset, Is::Unresponsive),
            (ErrorKind::ReaderGone, Leave, Is::Lost),
            (ErrorKind::ServiceGone, Reset, Is::Lost),
            (ErrorKind::Unknown, Leave, Is::Unknown),
            (ErrorKind::Unknown, Reset, Is::MayBeReset),
        ] {
            assert_eq!(CardCondition::after(kind, initialization), condition);
        }
    }

    #[test]
    fn phrases_are_short_lower_case_distinct_and_padded() {
        fn check<T: fmt::Display>(all: &[T]) {
            let phrases: BTreeSet<String> = all.iter().map(T::to_string).collect();
            assert_eq!(phrases.len(), all.len(), "{phrases:?}");
            for phrase in phrases {
                // Abbreviations keep their capitals.
                let first = phrase.split(' ').next().unwrap();
                let is_lower = first == first.to_lowercase();
                assert!(is_lower || first == first.to_uppercase(), "{phrase}");
                assert!(phrase.len() <= 32 && !phrase.ends_with('.'), "{phrase}");
            }
        }
        check(ErrorKind::ALL);
        check(Recovery::ALL);
        check(CardCondition::ALL);
        check(Origin::ALL);
        assert_eq!(format!("[{:>8}]", ErrorKind::NoCard), "[ no card]");
        assert_eq!(format!("[{:<10}]", Recovery::Reconnect), "[reconnect ]");
        assert!(ErrorKind::CardReset < ErrorKind::Unknown);
    }
}
