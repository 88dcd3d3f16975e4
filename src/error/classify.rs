//! The meaning of each code, by call and platform.

use super::{ErrorKind, Operation, Recovery};
use crate::codes::{Platform, ReturnCode};
use crate::service::Obstacle;

/// The kind and recovery of codes that mean the same in every call.
macro_rules! classification {
    ($( $kind:ident, $recovery:ident: $( $code:ident )+; )+) => {
        const fn by_code(code: ReturnCode) -> Option<(ErrorKind, Recovery)> {
            match code {
                $( $( ReturnCode::$code )|+ => Some((ErrorKind::$kind, Recovery::$recovery)), )+
                _ => None,
            }
        }
    };
}

classification! {
    CardReset, Reconnect: W_RESET_CARD;
    CardRemoved, InsertCard: W_REMOVED_CARD;
    NoCard, InsertCard: E_NO_SMARTCARD NO_MEDIA_IN_DRIVE;
    // Dirty contacts, a card inserted the wrong way round, a blank: only the user can help.
    CardUnresponsive, InsertCard: W_UNRESPONSIVE_CARD W_UNPOWERED_CARD UNRECOGNIZED_MEDIA;
    CardUnsupported, InsertCard: E_CARD_UNSUPPORTED W_UNSUPPORTED_CARD;
    ReaderGone, AttachReader: E_UNKNOWN_READER E_READER_UNAVAILABLE E_NO_READERS_AVAILABLE
        DEVICE_NOT_CONNECTED DEVICE_REMOVED NO_SUCH_DEVICE;
    SharingViolation, RetryLater: E_SHARING_VIOLATION;
    // F_COMM_ERROR is about the communication with the service, not with the card. E_INVALID_HANDLE
    // cannot be a mistake of the caller, who never sees a handle: the service has lost it. Windows
    // returns E_SYSTEM_CANCELLED from waiting calls when the last reader is unplugged, and the
    // service stops with it. The codes of the remote procedure call come from a service that is
    // starting or stopping.
    ServiceGone, ConnectAgain: E_NO_SERVICE E_SERVICE_STOPPED F_COMM_ERROR E_INVALID_HANDLE
        E_SYSTEM_CANCELLED P_SHUTDOWN INVALID_HANDLE SERVICE_NOT_ACTIVE RPC_SERVER_UNAVAILABLE
        RPC_CALL_FAILED RPC_CALL_FAILED_DNE RPC_PROTOCOL_ERROR RPC_IN_NULL_CONTEXT
        EPT_NOT_REGISTERED;
    ServiceGone, AskAdministrator: SERVICE_DISABLED;
    // A remote session that does not redirect smart cards.
    ServiceGone, AskAdministrator: BROKEN_PIPE SYSTEM_BROKEN_PIPE;
    // pcsc-lite returns E_NO_MEMORY when its contexts or handles are used up.
    ServiceBusy, RetryLater: E_NO_MEMORY E_SERVER_TOO_BUSY NOT_ENOUGH_MEMORY BUSY
        OUT_OF_MEMORY NO_SYSTEM_RESOURCES RPC_SERVER_TOO_BUSY;
    AccessDenied, AskAdministrator: W_SECURITY_VIOLATION ACCESS_DENIED;
    // The file's access rule, which presenting a PIN usually satisfies.
    AccessDenied, AskUser: E_NO_ACCESS;
    ProtocolMismatch, FixCall: E_PROTO_MISMATCH;
    // pcsc-lite returns E_NOT_TRANSACTED for nearly every failure of a driver. The system codes are
    // Windows' translations of a driver's.
    Communication, ResetCard: E_NOT_TRANSACTED E_COMM_DATA_LOST GEN_FAILURE SEM_TIMEOUT
        IO_DEVICE OPERATION_ABORTED BAD_COMMAND CRC REQUEST_ABORTED TIMEOUT;
    Communication, RetryLater: E_NOT_READY NOT_READY;
    Timeout, RetryLater: E_TIMEOUT F_WAITED_TOO_LONG;
    Cancelled, None: E_CANCELLED SHUTDOWN_IN_PROGRESS;
    Cancelled, AskUser: W_CANCELLED_BY_USER CANCELLED;
    BufferTooSmall, FixCall: E_INSUFFICIENT_BUFFER E_PCI_TOO_SMALL INSUFFICIENT_BUFFER MORE_DATA;
    InvalidArgument, FixCall: E_INVALID_PARAMETER E_INVALID_VALUE INVALID_PARAMETER NOACCESS
        INVALID_USER_BUFFER RPC_INVALID_BOUND RPC_NULL_REF_POINTER RPC_BAD_STUB_DATA;
    Unsupported, FixCall: E_UNSUPPORTED_FEATURE E_CANT_DISPOSE E_ICC_CREATEORDER INVALID_FUNCTION
        NOT_SUPPORTED;
    Unsupported, AskAdministrator: E_READER_UNSUPPORTED;
    WrongPin, AskUser: E_INVALID_CHV W_WRONG_CHV;
    PinBlocked, AskUser: W_CHV_BLOCKED;
    PinRequired, AskUser: W_CARD_NOT_AUTHENTICATED E_NO_PIN_CACHE E_PIN_CACHE_EXPIRED;
    CardData, FixCall: E_DIR_NOT_FOUND E_FILE_NOT_FOUND E_NO_DIR E_NO_FILE E_WRITE_TOO_MANY
        E_BAD_SEEK W_EOF;
    CardData, None: E_READ_ONLY_CARD E_NO_KEY_CONTAINER E_NO_SUCH_CERTIFICATE
        E_CERTIFICATE_UNAVAILABLE;
    Cache, FixCall: W_CACHE_ITEM_NOT_FOUND W_CACHE_ITEM_STALE W_CACHE_ITEM_TOO_BIG;
    Configuration, AskAdministrator: E_INVALID_TARGET E_INVALID_ATR E_UNKNOWN_CARD
        E_ICC_INSTALLATION E_DUPLICATE_READER FILE_NOT_FOUND;
    Internal, None: F_INTERNAL_ERROR F_UNKNOWN_ERROR E_UNKNOWN_RES_MNG;
    // Windows' E_UNEXPECTED. Elsewhere the number means an unsupported feature; see below.
    Communication, ResetCard: E_UNEXPECTED;
    // Not an error: a service that reports it as one is at fault.
    Internal, None: S_SUCCESS;
}

/// Whether the call is on an open connection. The others open one or query the service.
const fn is_on_connection(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::Reconnect
            | Operation::Disconnect
            | Operation::BeginTransaction
            | Operation::EndTransaction
            | Operation::Status
            | Operation::Transmit
            | Operation::Control
            | Operation::GetAttribute
            | Operation::SetAttribute
    )
}

/// Whether there is no service to connect to. Windows starts it with the first reader, and stops it
/// some time after the last one is unplugged.
const fn is_without_service(operation: Operation, code: ReturnCode) -> bool {
    matches!(operation, Operation::EstablishContext)
        && matches!(
            code,
            ReturnCode::E_NO_SERVICE
                | ReturnCode::E_SERVICE_STOPPED
                | ReturnCode::SERVICE_NOT_ACTIVE
        )
}

/// Whether the code means that there is no reader at all.
pub(super) const fn means_no_reader(
    platform: Platform,
    operation: Operation,
    code: ReturnCode,
) -> bool {
    let asks = matches!(
        operation,
        Operation::ListReaders | Operation::ListReaderGroups | Operation::GetStatusChange
    );
    match code {
        ReturnCode::E_NO_READERS_AVAILABLE => asks,
        code => matches!(platform, Platform::Windows) && is_without_service(operation, code),
    }
}

/// The meaning of a code in a call, if it differs from the general one: kind, recovery, and a
/// description if the code's own does not fit.
const fn by_call(
    platform: Platform,
    operation: Operation,
    code: ReturnCode,
) -> Option<(ErrorKind, Recovery, Option<&'static str>)> {
    use Operation as Op;
    use {ErrorKind as Kind, Recovery as Way};
    let on_windows = matches!(platform, Platform::Windows);
    let on_pcsc_lite = matches!(platform, Platform::PcscLite);
    let on_connection = is_on_connection(operation);
    // Calls on a card that was present when connecting.
    let on_card = on_connection && !matches!(operation, Op::Reconnect);
    let opens = matches!(operation, Op::Connect | Op::Reconnect);
    Some(match code {
        // Two codes for one situation, depending on whether the service or the driver noticed
        // first.
        ReturnCode::E_NO_SMARTCARD | ReturnCode::NO_MEDIA_IN_DRIVE if on_card => (
            Kind::CardRemoved,
            Way::InsertCard,
            Some("the card was removed"),
        ),
        ReturnCode::W_REMOVED_CARD if opens => (
            Kind::NoCard,
            Way::InsertCard,
            Some("there is no card in the reader"),
        ),
        ReturnCode::E_SHARING_VIOLATION if opens => (
            Kind::SharingViolation,
            Way::RetryLater,
            Some(
                "another program, such as gpg's scdaemon, has exclusive access, or this \
                 connection requested it while others are connected",
            ),
        ),
        ReturnCode::E_SHARING_VIOLATION if on_card && on_pcsc_lite => (
            Kind::SharingViolation,
            Way::RetryLater,
            Some("another program holds a transaction on the card"),
        ),
        // A card that does not power up is W_UNPOWERED_CARD here. pcsc-lite's `SCardConnect`
        // returns this code only if the negotiation of the protocol parameters (PPS) fails. A
        // reconnect returns it for both.
        ReturnCode::W_UNRESPONSIVE_CARD if on_pcsc_lite && matches!(operation, Op::Connect) => (
            Kind::CardUnsupported,
            Way::FixCall,
            Some("the card answers to reset, but refused the protocol parameters"),
        ),
        // The remote session did redirect smart cards when the card was connected.
        ReturnCode::BROKEN_PIPE | ReturnCode::SYSTEM_BROKEN_PIPE if on_connection => (
            Kind::ServiceGone,
            Way::ConnectAgain,
            Some("the connection to the smart-card service broke"),
        ),
        // The card had power when it was connected.
        ReturnCode::W_UNPOWERED_CARD if on_card => (Kind::CardReset, Way::ResetCard, None),
        // pcsc-lite cannot find the handle's reader. The arguments are not at fault: for any
        // invalid protocol bits, pcsc-lite returns E_PROTO_MISMATCH.
        ReturnCode::E_INVALID_VALUE if !on_windows && on_connection => (
            Kind::ReaderGone,
            Way::AttachReader,
            Some("the reader was unplugged"),
        ),
        // pcsc-lite reports a reset connection to the daemon like a denial by polkit, and the
        // daemon also refuses a client this way when all its contexts are in use. polkit is only
        // asked when a context or a card is opened.
        ReturnCode::W_SECURITY_VIOLATION
            if !on_windows
                && !matches!(operation, Op::EstablishContext | Op::Connect | Op::Unknown) =>
        {
            (
                Kind::ServiceGone,
                Way::ConnectAgain,
                Some("the connection to the smart-card service broke"),
            )
        }
        ReturnCode::W_SECURITY_VIOLATION if !on_windows => (
            Kind::AccessDenied,
            Way::AskAdministrator,
            Some("access was denied by a security rule, or the service has no context left"),
        ),
        // The client library of pcsc-lite 2.5 accepts no table of readers smaller than the largest
        // one it has received, and reads events as answers while it registers for them.
        ReturnCode::E_UNEXPECTED
            if on_pcsc_lite && matches!(operation, Op::ListReaders | Op::Status) =>
        {
            (
                Kind::StaleProcess,
                Way::RestartProcess,
                Some("the PC/SC library of this process can no longer read the list of readers"),
            )
        }
        ReturnCode::E_UNEXPECTED if on_pcsc_lite && matches!(operation, Op::GetStatusChange) => (
            Kind::Internal,
            Way::RetryLater,
            Some("the PC/SC library misread an answer of the service"),
        ),
        ReturnCode::E_UNEXPECTED if !on_windows => (Kind::Unsupported, Way::FixCall, None),
        // The daemon hangs up on a client for which it has no context. Whether the client finds the
        // connection closed or reset depends on timing.
        ReturnCode::E_NO_SERVICE if !on_windows && matches!(operation, Op::EstablishContext) => (
            Kind::ServiceGone,
            Way::RetryLater,
            Some("the smart-card service is not running, or has no context left"),
        ),
        _ if on_windows && is_without_service(operation, code) => (
            Kind::ReaderGone,
            Way::AttachReader,
            Some(
                "there is no reader, and Windows runs the smart-card service only while there is one",
            ),
        ),
        // Here the code matches its name. The next call reports the state of the card.
        ReturnCode::E_NOT_TRANSACTED if matches!(operation, Op::EndTransaction) => (
            Kind::NotInTransaction,
            Way::None,
            Some("there is no transaction to end"),
        ),
        // The driver did not answer; the card is not involved.
        ReturnCode::E_NOT_TRANSACTED
            if matches!(operation, Op::GetAttribute | Op::SetAttribute) =>
        {
            let text = Some("the reader's driver failed");
            (Kind::Communication, Way::RetryLater, text)
        }
        ReturnCode::E_NOT_TRANSACTED if on_card => (
            Kind::Communication,
            Way::ResetCard,
            Some("the exchange with the card failed"),
        ),
        // Another connection changed the active protocol.
        ReturnCode::E_PROTO_MISMATCH if on_card => (
            Kind::ProtocolMismatch,
            Way::Reconnect,
            Some("another protocol has become active"),
        ),
        _ => return None,
    })
}

/// The kind and recovery of an error.
pub(super) const fn classify(
    platform: Platform,
    operation: Operation,
    code: ReturnCode,
) -> (ErrorKind, Recovery) {
    if let Some((kind, recovery, _)) = by_call(platform, operation, code) {
        return (kind, recovery);
    }
    match by_code(code) {
        // The failed connection is the only one to the service.
        Some((ErrorKind::ServiceGone, Recovery::ConnectAgain))
            if matches!(operation, Operation::EstablishContext) =>
        {
            (ErrorKind::ServiceGone, Recovery::RetryLater)
        }
        Some(meaning) => meaning,
        None => (ErrorKind::Unknown, Recovery::None),
    }
}

/// The kind and recovery of a context that could not be established because of an obstacle.
pub(super) const fn before_service(obstacle: Obstacle, code: ReturnCode) -> (ErrorKind, Recovery) {
    match obstacle {
        Obstacle::BadPath => (ErrorKind::InvalidArgument, Recovery::FixCall),
        Obstacle::NoSocket | Obstacle::NothingListens => {
            (ErrorKind::ServiceGone, Recovery::RetryLater)
        }
        Obstacle::NoPermission => (ErrorKind::AccessDenied, Recovery::AskAdministrator),
        Obstacle::NoDescriptor => (ErrorKind::ServiceBusy, Recovery::RetryLater),
        Obstacle::HungUp => classify(Platform::PcscLite, Operation::EstablishContext, code),
    }
}

/// The description of an obstacle.
pub(super) const fn describe_obstacle(obstacle: Obstacle) -> &'static str {
    match obstacle {
        Obstacle::BadPath => {
            "no socket can have the path of the smart-card service's: it is empty, too long, or \
             contains a zero byte"
        }
        Obstacle::NoSocket => {
            "the smart-card service is not installed or has not been started: it has no socket"
        }
        Obstacle::NothingListens => {
            "the smart-card service has ended: nothing listens on its socket"
        }
        Obstacle::NoPermission => {
            "this program has no permission to use the socket of the smart-card service"
        }
        Obstacle::NoDescriptor => {
            "no file descriptor is left for a connection to the smart-card service"
        }
        Obstacle::HungUp => {
            "the smart-card service closed the connection: it has no context left, or access was \
             denied by a security rule"
        }
    }
}

/// The description of a code in a call.
pub(super) fn describe(platform: Platform, operation: Operation, code: ReturnCode) -> &'static str {
    match by_call(platform, operation, code) {
        Some((_, _, Some(text))) => text,
        _ => code.description(),
    }
}

impl ReturnCode {
    /// Returns the kind of error that the code means if the call is unknown.
    ///
    /// Some codes have a different meaning in certain calls, which
    /// [`Error::kind`](crate::Error::kind) takes into account.
    pub const fn kind(self) -> ErrorKind {
        classify(Platform::CURRENT, Operation::Unknown, self).0
    }

    /// Returns the recovery if the call that returned the code is unknown.
    ///
    /// See also [`Error::recovery`](crate::Error::recovery).
    pub const fn recovery(self) -> Recovery {
        self.recovery_on(Platform::CURRENT)
    }

    pub(crate) const fn recovery_on(self, platform: Platform) -> Recovery {
        classify(platform, Operation::Unknown, self).1
    }
}

/// Whether a command may have reached the card although the call failed with this code.
pub(super) const fn may_have_run(
    platform: Platform,
    operation: Operation,
    code: ReturnCode,
) -> bool {
    if !matches!(operation, Operation::Transmit | Operation::Control) {
        return false;
    }
    match code {
        // Checked before anything is sent.
        ReturnCode::W_RESET_CARD
        | ReturnCode::W_UNPOWERED_CARD
        | ReturnCode::E_PROTO_MISMATCH
        | ReturnCode::E_SHARING_VIOLATION
        | ReturnCode::E_INVALID_PARAMETER
        | ReturnCode::E_INVALID_HANDLE
        | ReturnCode::INVALID_HANDLE
        | ReturnCode::E_UNKNOWN_READER => false,
        // pcsc-lite also checks these first, or could not pass the command on. Windows also returns
        // W_REMOVED_CARD for a card that was removed during the command.
        ReturnCode::W_REMOVED_CARD | ReturnCode::E_INVALID_VALUE | ReturnCode::E_NO_SERVICE => {
            !matches!(platform, Platform::PcscLite)
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests;
