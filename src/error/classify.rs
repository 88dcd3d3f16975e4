//! Which code means what, in which call, on which platform.

use super::{ErrorKind, Operation, Recovery};
use crate::codes::{Platform, ReturnCode};

/// Kind and recovery of a code that means the same in every call.
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
    // Dirty contacts, a card the wrong way round, a blank: only the user can help.
    CardUnresponsive, InsertCard: W_UNRESPONSIVE_CARD W_UNPOWERED_CARD UNRECOGNIZED_MEDIA;
    CardUnsupported, InsertCard: E_CARD_UNSUPPORTED W_UNSUPPORTED_CARD;
    ReaderGone, AttachReader: E_UNKNOWN_READER E_READER_UNAVAILABLE E_NO_READERS_AVAILABLE
        DEVICE_NOT_CONNECTED DEVICE_REMOVED;
    SharingViolation, RetryLater: E_SHARING_VIOLATION;
    // F_COMM_ERROR is the communication with the service, not with the card. E_INVALID_HANDLE
    // cannot be a mistake of the caller, who never sees a handle: the service has lost it.
    ServiceGone, ConnectAgain: E_NO_SERVICE E_SERVICE_STOPPED F_COMM_ERROR E_INVALID_HANDLE
        P_SHUTDOWN INVALID_HANDLE;
    // A remote session that does not redirect smart cards.
    ServiceGone, AskAdministrator: BROKEN_PIPE SYSTEM_BROKEN_PIPE;
    // pcsc-lite gives E_NO_MEMORY when its contexts or handles are used up.
    ServiceBusy, RetryLater: E_NO_MEMORY E_SERVER_TOO_BUSY NOT_ENOUGH_MEMORY BUSY;
    AccessDenied, AskAdministrator: W_SECURITY_VIOLATION ACCESS_DENIED;
    // The file's access rule; presenting a PIN is what usually satisfies it.
    AccessDenied, AskUser: E_NO_ACCESS;
    ProtocolMismatch, FixCall: E_PROTO_MISMATCH;
    // E_NOT_TRANSACTED is what pcsc-lite makes of nearly every failure of a driver.
    // The system codes are what Windows makes of the driver's.
    Communication, ResetCard: E_NOT_TRANSACTED E_COMM_DATA_LOST GEN_FAILURE SEM_TIMEOUT
        IO_DEVICE OPERATION_ABORTED BAD_COMMAND;
    Communication, RetryLater: E_NOT_READY NOT_READY;
    Timeout, RetryLater: E_TIMEOUT F_WAITED_TOO_LONG;
    Cancelled, None: E_CANCELLED E_SYSTEM_CANCELLED;
    Cancelled, AskUser: W_CANCELLED_BY_USER;
    BufferTooSmall, FixCall: E_INSUFFICIENT_BUFFER E_PCI_TOO_SMALL INSUFFICIENT_BUFFER MORE_DATA;
    InvalidArgument, FixCall: E_INVALID_PARAMETER E_INVALID_VALUE INVALID_PARAMETER NOACCESS
        INVALID_USER_BUFFER;
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
        E_ICC_INSTALLATION E_DUPLICATE_READER;
    Internal, None: F_INTERNAL_ERROR F_UNKNOWN_ERROR E_UNKNOWN_RES_MNG;
    // Windows' E_UNEXPECTED; elsewhere the number means an unsupported feature, see below.
    Communication, ResetCard: E_UNEXPECTED;
    // Not an error; a service that reports it as one is at fault.
    Internal, None: S_SUCCESS;
}

/// The calls on an open connection; the others make one or ask the service.
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

/// What a code means in a call, where that is not what it means everywhere: kind, what
/// helps, and a description if the code's own does not fit.
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
    // Calls on a card that was there when it was connected.
    let on_card = on_connection && !matches!(operation, Op::Reconnect);
    let opens = matches!(operation, Op::Connect | Op::Reconnect);
    Some(match code {
        // One situation, two codes; which one comes depends on whether the service or the
        // driver noticed first.
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
        // The session was redirected when the card was connected.
        ReturnCode::BROKEN_PIPE | ReturnCode::SYSTEM_BROKEN_PIPE if on_connection => (
            Kind::ServiceGone,
            Way::ConnectAgain,
            Some("the connection to the smart-card service broke"),
        ),
        // The card had power when it was connected.
        ReturnCode::W_UNPOWERED_CARD if on_card => (Kind::CardReset, Way::ResetCard, None),
        // pcsc-lite does not find the reader that the handle belongs to. Our own arguments
        // are not at fault: whatever bits a caller makes up for the protocols, pcsc-lite
        // answers with E_PROTO_MISMATCH.
        ReturnCode::E_INVALID_VALUE if !on_windows && on_connection => (
            Kind::ReaderGone,
            Way::AttachReader,
            Some("the reader was unplugged"),
        ),
        // pcsc-lite reports a connection to the daemon that was reset in the same way as a
        // denial by polkit, and the daemon refuses a client in this way, too, when all its
        // contexts are in use. polkit is asked when a context or a card is opened only.
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
        // The client library of pcsc-lite 2.5 takes no table of readers that is smaller than
        // the largest one it has had, and reads events as answers while it registers for them.
        ReturnCode::E_UNEXPECTED
            if on_pcsc_lite && matches!(operation, Op::ListReaders | Op::Status) =>
        {
            (
                Kind::StaleProcess,
                Way::RestartProcess,
                Some("the PC/SC library of this process cannot read the list of readers any more"),
            )
        }
        ReturnCode::E_UNEXPECTED if on_pcsc_lite && matches!(operation, Op::GetStatusChange) => (
            Kind::Internal,
            Way::RetryLater,
            Some("the PC/SC library misread an answer of the service"),
        ),
        ReturnCode::E_UNEXPECTED if !on_windows => (Kind::Unsupported, Way::FixCall, None),
        // The daemon hangs up on a client for which it has no context. Whether the client
        // finds the connection closed or reset is a matter of time.
        ReturnCode::E_NO_SERVICE if !on_windows && matches!(operation, Op::EstablishContext) => (
            Kind::ServiceGone,
            Way::RetryLater,
            Some("the smart-card service is not running, or has no context left"),
        ),
        ReturnCode::E_NO_SERVICE | ReturnCode::E_SERVICE_STOPPED | ReturnCode::F_COMM_ERROR
            if matches!(operation, Op::EstablishContext) =>
        {
            (Kind::ServiceGone, Way::RetryLater, None)
        }
        // The name of its call, for once. What became of the card, the next call says.
        ReturnCode::E_NOT_TRANSACTED if matches!(operation, Op::EndTransaction) => (
            Kind::NotInTransaction,
            Way::None,
            Some("there is no transaction to end"),
        ),
        // The driver did not answer; the card has no part in it.
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
        // Another protocol has become active behind this connection's back.
        ReturnCode::E_PROTO_MISMATCH if on_card => (
            Kind::ProtocolMismatch,
            Way::Reconnect,
            Some("another protocol has become active"),
        ),
        _ => return None,
    })
}

/// The kind of an error and what helps.
pub(super) const fn classify(
    platform: Platform,
    operation: Operation,
    code: ReturnCode,
) -> (ErrorKind, Recovery) {
    if let Some((kind, recovery, _)) = by_call(platform, operation, code) {
        return (kind, recovery);
    }
    match by_code(code) {
        Some(meaning) => meaning,
        None => (ErrorKind::Unknown, Recovery::None),
    }
}

/// What a code says in a call.
pub(super) fn describe(platform: Platform, operation: Operation, code: ReturnCode) -> &'static str {
    match by_call(platform, operation, code) {
        Some((_, _, Some(text))) => text,
        _ => code.description(),
    }
}

impl ReturnCode {
    /// What the code means when it is not known which call returned it.
    /// [`Error::kind`](crate::Error::kind) knows the call, which makes a difference for some
    /// codes.
    pub const fn kind(self) -> ErrorKind {
        classify(Platform::CURRENT, Operation::Unknown, self).0
    }

    /// What helps when it is not known which call returned the code. See
    /// [`Error::recovery`](crate::Error::recovery).
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
        // pcsc-lite checks these before, too, and could not hand the command over. Windows
        // also gives W_REMOVED_CARD for a card that was taken out during the command.
        ReturnCode::W_REMOVED_CARD | ReturnCode::E_INVALID_VALUE | ReturnCode::E_NO_SERVICE => {
            !matches!(platform, Platform::PcscLite)
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::fmt::Write;

    use super::*;
    use crate::codes::Platform::{MacOs, PcscLite, Windows};
    use crate::error::Refusal;
    use crate::error::tables::{assert_written, name};

    #[test]
    fn every_known_code_is_classified() {
        for code in ReturnCode::known() {
            assert!(by_code(code).is_some(), "{code:?}");
        }
        let unknown = classify(PcscLite, Operation::Transmit, ReturnCode::from_raw(0x1234));
        assert_eq!(unknown, (ErrorKind::Unknown, Recovery::None));
    }

    fn kind(platform: Platform, operation: Operation, code: ReturnCode) -> ErrorKind {
        classify(platform, operation, code).0
    }

    #[test]
    fn a_pulled_reader_is_one_situation() {
        for (operation, code) in [
            (Operation::Status, ReturnCode::E_READER_UNAVAILABLE),
            (Operation::Transmit, ReturnCode::E_INVALID_VALUE),
            (Operation::EndTransaction, ReturnCode::E_INVALID_VALUE),
            (Operation::Control, ReturnCode::E_INVALID_VALUE),
            (Operation::GetAttribute, ReturnCode::E_INVALID_VALUE),
            (Operation::SetAttribute, ReturnCode::E_INVALID_VALUE),
            (Operation::BeginTransaction, ReturnCode::E_INVALID_VALUE),
            (Operation::Reconnect, ReturnCode::E_INVALID_VALUE),
            (Operation::Connect, ReturnCode::E_UNKNOWN_READER),
            (Operation::GetStatusChange, ReturnCode::E_UNKNOWN_READER),
            (Operation::Transmit, ReturnCode::E_READER_UNAVAILABLE),
        ] {
            let meaning = classify(PcscLite, operation, code);
            assert_eq!(meaning, (ErrorKind::ReaderGone, Recovery::AttachReader));
        }
        // A name that is too long, and arguments on Windows, are another thing.
        let value = ReturnCode::E_INVALID_VALUE;
        assert_eq!(
            kind(PcscLite, Operation::Connect, value),
            ErrorKind::InvalidArgument
        );
        assert_eq!(
            kind(Windows, Operation::Transmit, value),
            ErrorKind::InvalidArgument
        );
    }

    #[test]
    fn the_sentence_fits_the_kind() {
        let said = |operation, code| describe(PcscLite, operation, code);
        let value = ReturnCode::E_INVALID_VALUE;
        assert_eq!(said(Operation::Transmit, value), "the reader was unplugged");
        assert_eq!(said(Operation::Connect, value), value.description());
        let security = ReturnCode::W_SECURITY_VIOLATION;
        assert!(said(Operation::Transmit, security).contains("connection to the smart-card"));
        assert!(said(Operation::Connect, security).contains("no context left"));
        let not_transacted = ReturnCode::E_NOT_TRANSACTED;
        assert!(said(Operation::EndTransaction, not_transacted).contains("no transaction"));
        assert!(said(Operation::Transmit, not_transacted).contains("the exchange"));
        for code in ReturnCode::known() {
            for &operation in Operation::ALL {
                let text = said(operation, code);
                assert!(text.starts_with(|c: char| c.is_lowercase()), "{text}");
                assert!(!text.ends_with('.'), "{text}");
            }
        }
    }

    #[test]
    fn a_dead_daemon_is_one_situation() {
        for code in [
            ReturnCode::F_COMM_ERROR,
            ReturnCode::E_NO_SERVICE,
            ReturnCode::E_SERVICE_STOPPED,
            ReturnCode::E_INVALID_HANDLE,
            ReturnCode::INVALID_HANDLE,
            ReturnCode::W_SECURITY_VIOLATION,
        ] {
            let meaning = classify(PcscLite, Operation::Transmit, code);
            assert_eq!(meaning, (ErrorKind::ServiceGone, Recovery::ConnectAgain));
        }
        for operation in [Operation::EstablishContext, Operation::Connect] {
            let denied = classify(PcscLite, operation, ReturnCode::W_SECURITY_VIOLATION);
            assert_eq!(
                denied,
                (ErrorKind::AccessDenied, Recovery::AskAdministrator)
            );
        }
    }

    #[test]
    fn a_missing_card_is_one_situation_and_a_lost_one_another() {
        let (none, removed) = (ReturnCode::E_NO_SMARTCARD, ReturnCode::W_REMOVED_CARD);
        for platform in [Windows, MacOs, PcscLite] {
            for code in [none, removed, ReturnCode::NO_MEDIA_IN_DRIVE] {
                let connect = kind(platform, Operation::Connect, code);
                assert_eq!(connect, ErrorKind::NoCard);
                let transmit = kind(platform, Operation::Transmit, code);
                assert_eq!(transmit, ErrorKind::CardRemoved);
            }
        }
    }

    #[test]
    fn an_unsupported_feature_has_two_numbers() {
        let (unexpected, unsupported) =
            (ReturnCode::E_UNEXPECTED, ReturnCode::E_UNSUPPORTED_FEATURE);
        let control = Operation::Control;
        assert_eq!(kind(PcscLite, control, unexpected), ErrorKind::Unsupported);
        assert_eq!(kind(MacOs, control, unexpected), ErrorKind::Unsupported);
        assert_eq!(kind(Windows, control, unsupported), ErrorKind::Unsupported);
        assert_eq!(kind(Windows, control, unexpected), ErrorKind::Communication);
    }

    #[test]
    fn a_library_that_cannot_read_the_list_is_one_situation() {
        let code = ReturnCode::E_UNEXPECTED;
        for operation in [Operation::ListReaders, Operation::Status] {
            let meaning = classify(PcscLite, operation, code);
            let stale = (ErrorKind::StaleProcess, Recovery::RestartProcess);
            assert_eq!(meaning, stale);
            assert_eq!(kind(MacOs, operation, code), ErrorKind::Unsupported);
        }
        let misread = classify(PcscLite, Operation::GetStatusChange, code);
        assert_eq!(misread, (ErrorKind::Internal, Recovery::RetryLater));
    }

    #[test]
    fn system_codes_of_windows_mean_what_their_twins_mean() {
        for (system, twin) in [
            (6, ReturnCode::E_INVALID_HANDLE),
            (0x109, ReturnCode::E_NO_SERVICE),
            (87, ReturnCode::E_INVALID_PARAMETER),
            (8, ReturnCode::E_NO_MEMORY),
            (122, ReturnCode::E_INSUFFICIENT_BUFFER),
            (1, ReturnCode::E_UNSUPPORTED_FEATURE),
            (31, ReturnCode::E_COMM_DATA_LOST),
            (1167, ReturnCode::E_READER_UNAVAILABLE),
            (1617, ReturnCode::E_READER_UNAVAILABLE),
        ] {
            let system = ReturnCode::from_raw(system);
            let own = classify(Windows, Operation::Transmit, system);
            let of_twin = classify(Windows, Operation::Transmit, twin);
            assert_eq!(own, of_twin, "{system} and {twin}");
        }
        // A handle that is closed is known before anything is sent.
        let closed = ReturnCode::from_raw(6);
        assert!(!may_have_run(Windows, Operation::Transmit, closed));
    }

    #[test]
    fn commands_that_were_not_sent_are_known() {
        for platform in [Windows, MacOs, PcscLite] {
            for code in [
                ReturnCode::W_RESET_CARD,
                ReturnCode::E_SHARING_VIOLATION,
                ReturnCode::E_PROTO_MISMATCH,
            ] {
                assert!(!may_have_run(platform, Operation::Transmit, code));
            }
            for code in [
                ReturnCode::E_NOT_TRANSACTED,
                ReturnCode::F_COMM_ERROR,
                ReturnCode::E_NO_SMARTCARD,
                ReturnCode::E_INSUFFICIENT_BUFFER,
                ReturnCode::from_raw(0x1234),
            ] {
                assert!(may_have_run(platform, Operation::Transmit, code));
                assert!(may_have_run(platform, Operation::Control, code));
                assert!(!may_have_run(platform, Operation::Status, code));
            }
        }
        let removed = ReturnCode::W_REMOVED_CARD;
        assert!(!may_have_run(PcscLite, Operation::Transmit, removed));
        assert!(may_have_run(Windows, Operation::Transmit, removed));
    }

    /// The tables in the documentation of [`ErrorKind`].
    fn documentation() -> String {
        let mut text = String::from(
            "\n# What each code means\n\n| Code | Kind | What helps |\n|---|---|---|\n",
        );
        for code in ReturnCode::known() {
            let Some((kind, recovery)) = by_code(code) else {
                continue;
            };
            writeln!(text, "| {} | {kind:?} | {recovery:?} |", name(code)).unwrap();
        }
        text += "\nIn some calls a code means something else:\n\n\
                 | Code | Calls | Platforms | Kind | What helps | What it says |\n\
                 |---|---|---|---|---|---|\n";
        // The same exception of several platforms is one row.
        let mut rows: BTreeMap<_, Vec<&str>> = BTreeMap::new();
        for (platform, called) in [
            (PcscLite, "pcsc-lite"),
            (MacOs, "macOS"),
            (Windows, "Windows"),
        ] {
            for code in ReturnCode::known() {
                let mut calls: BTreeMap<String, Vec<&str>> = BTreeMap::new();
                for &operation in Operation::ALL {
                    let meaning = classify(platform, operation, code);
                    let text = describe(platform, operation, code);
                    let own = code.description();
                    if Some(meaning) != by_code(code) || text != own {
                        let (kind, recovery) = meaning;
                        let text = if text == own { "" } else { text };
                        let meaning = format!("{kind:?} | {recovery:?} | {text}");
                        calls
                            .entry(meaning)
                            .or_default()
                            .push(operation.function_name());
                    }
                }
                for (meaning, calls) in calls {
                    let calls = match calls.len() {
                        16 => "all".to_owned(),
                        _ => calls.join(", "),
                    };
                    rows.entry((name(code), calls, meaning))
                        .or_default()
                        .push(called);
                }
            }
        }
        for ((code, calls, meaning), platforms) in rows {
            let platforms = match platforms.len() {
                3 => "all".to_owned(),
                _ => platforms.join(", "),
            };
            writeln!(text, "| {code} | {calls} | {platforms} | {meaning} |").unwrap();
        }
        text
    }

    /// The documentation is written by [`documentation`]; on a failure, put what is printed
    /// into `kinds.md`.
    #[test]
    fn the_documentation_shows_the_classification() {
        let written = documentation();
        assert_written("kinds.md", include_str!("kinds.md"), &written);
    }

    /// The table in the documentation of [`Recovery`].
    fn documentation_of_recovery() -> String {
        let mut helps: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut note = |kind: ErrorKind, recovery: Recovery| {
            let recoveries = helps.entry(format!("{kind:?}")).or_default();
            recoveries.insert(format!("[`{recovery:?}`](Recovery::{recovery:?})"));
        };
        let unknown = ReturnCode::from_raw(0x1234);
        let codes = ReturnCode::known().filter(|code| *code != ReturnCode::S_SUCCESS);
        for code in codes.chain([unknown]) {
            for platform in [PcscLite, MacOs, Windows] {
                for &operation in Operation::ALL {
                    let (kind, recovery) = classify(platform, operation, code);
                    note(kind, recovery);
                }
            }
        }
        for refusal in Refusal::all() {
            note(refusal.kind, refusal.recovery);
        }
        let mut text = String::from(
            "\n# What helps against what\n\n\
             Where there are several, [`Error::recovery`](crate::Error::recovery) knows which.\n\n\
             | | |\n|---|---|\n",
        );
        for (kind, recoveries) in helps {
            let recoveries: Vec<String> = recoveries.into_iter().collect();
            let recoveries = recoveries.join(", ");
            writeln!(text, "| [`{kind}`](ErrorKind::{kind}) | {recoveries} |").unwrap();
        }
        text
    }

    /// As above, in `recoveries.md`.
    #[test]
    fn the_documentation_shows_what_helps() {
        let written = documentation_of_recovery();
        assert_written("recoveries.md", include_str!("recoveries.md"), &written);
    }
}
