//! Translations of errors for PKCS #11 modules and Windows credential providers.

use super::{Error, ErrorKind, Operation, Recovery};
use crate::codes::{CryptokiRv, ReturnCode, SspiStatus};

impl Error {
    /// Translates the error to the value that a PKCS #11 module returns.
    ///
    /// A module should first recover from what it can (see [`recovery`](Error::recovery)). The
    /// rationale:
    ///
    /// - A card removed during a call is `CKR_DEVICE_REMOVED`; a card that was not there to begin
    ///   with is `CKR_TOKEN_NOT_PRESENT`. Applications close their sessions after the former and
    ///   ask the user after the latter. If the reader or the service is gone, so is the card.
    /// - An unrecovered reset or a failed exchange is `CKR_DEVICE_ERROR`: the token has a problem
    ///   that the session may survive.
    /// - Conditions that may end without touching the token, such as another program's exclusive
    ///   access, are `CKR_FUNCTION_FAILED`. `CKR_GENERAL_ERROR` is not used: it means that the
    ///   library is beyond recovery, and applications unload it.
    /// - `CKR_BUFFER_TOO_SMALL` and `CKR_ARGUMENTS_BAD` are about the arguments of the PKCS #11
    ///   call and would make an application retry with others. The buffers and arguments here are
    ///   the module's own, so these errors become `CKR_DEVICE_ERROR` and `CKR_FUNCTION_FAILED`.
    #[doc = include_str!("translations.md")]
    pub fn to_cryptoki(&self) -> CryptokiRv {
        self.situation().to_cryptoki()
    }

    /// Translates the error to the status that a credential provider or security package returns.
    ///
    /// SSPI has few codes for smart cards. The rationale:
    ///
    /// - A wrong or blocked PIN is `SEC_E_LOGON_DENIED`, the one status for which Windows asks the
    ///   user for other credentials. Nothing else becomes this status, or a broken reader would
    ///   look like a typing error.
    /// - A missing card, reader, key or certificate, or a dialog cancelled by the user, is
    ///   `SEC_E_NO_CREDENTIALS`; a PIN not yet entered is `SEC_E_INCOMPLETE_CREDENTIALS`.
    /// - A card or an installation that lacks a needed capability, or a service that is missing or
    ///   denied, is `SEC_E_CRYPTO_SYSTEM_INVALID`.
    /// - The rest is `SEC_E_INTERNAL_ERROR`, for everything without a status of its own.
    ///   `SEC_E_BUFFER_TOO_SMALL` and `SEC_E_INVALID_TOKEN` are not used, because they are about
    ///   the arguments of the SSPI call.
    ///
    /// [`to_cryptoki`](Error::to_cryptoki) has the table.
    pub fn to_sspi(&self) -> SspiStatus {
        self.situation().to_sspi()
    }

    fn situation(&self) -> Situation {
        Situation {
            kind: self.kind(),
            recovery: self.recovery(),
            operation: self.operation(),
            code: self.code(),
        }
    }
}

/// The properties of an error that its translations depend on.
#[derive(Debug, Clone, Copy)]
struct Situation {
    kind: ErrorKind,
    recovery: Recovery,
    operation: Operation,
    code: ReturnCode,
}

impl Situation {
    fn to_cryptoki(self) -> CryptokiRv {
        match self.kind {
            ErrorKind::CardRemoved => CryptokiRv::DEVICE_REMOVED,
            ErrorKind::NoCard => CryptokiRv::TOKEN_NOT_PRESENT,
            ErrorKind::ReaderGone
                if matches!(
                    self.operation,
                    Operation::Connect | Operation::EstablishContext
                ) =>
            {
                CryptokiRv::TOKEN_NOT_PRESENT
            }
            ErrorKind::ReaderGone => CryptokiRv::DEVICE_REMOVED,
            ErrorKind::ServiceGone if self.recovery == Recovery::ConnectAgain => {
                CryptokiRv::DEVICE_REMOVED
            }
            ErrorKind::CardUnresponsive | ErrorKind::CardUnsupported | ErrorKind::Configuration => {
                CryptokiRv::TOKEN_NOT_RECOGNIZED
            }
            ErrorKind::ProtocolMismatch if self.operation == Operation::Connect => {
                CryptokiRv::TOKEN_NOT_RECOGNIZED
            }
            ErrorKind::ServiceBusy
                if matches!(
                    self.code,
                    ReturnCode::E_NO_MEMORY
                        | ReturnCode::NOT_ENOUGH_MEMORY
                        | ReturnCode::OUT_OF_MEMORY
                ) =>
            {
                CryptokiRv::HOST_MEMORY
            }
            ErrorKind::AccessDenied if self.recovery == Recovery::AskUser => {
                CryptokiRv::USER_NOT_LOGGED_IN
            }
            ErrorKind::SharingViolation
            | ErrorKind::ServiceGone
            | ErrorKind::ServiceBusy
            | ErrorKind::StaleProcess
            | ErrorKind::AccessDenied
            | ErrorKind::InvalidArgument
            | ErrorKind::Unsupported
            | ErrorKind::Cache
            | ErrorKind::Internal => CryptokiRv::FUNCTION_FAILED,
            ErrorKind::Cancelled => CryptokiRv::FUNCTION_CANCELED,
            ErrorKind::WrongPin => CryptokiRv::PIN_INCORRECT,
            ErrorKind::PinBlocked => CryptokiRv::PIN_LOCKED,
            ErrorKind::PinRequired => CryptokiRv::USER_NOT_LOGGED_IN,
            ErrorKind::CardData => match self.code {
                ReturnCode::E_NO_KEY_CONTAINER | ReturnCode::E_NO_SUCH_CERTIFICATE => {
                    CryptokiRv::OBJECT_HANDLE_INVALID
                }
                ReturnCode::E_READ_ONLY_CARD => CryptokiRv::TOKEN_WRITE_PROTECTED,
                ReturnCode::E_WRITE_TOO_MANY => CryptokiRv::DEVICE_MEMORY,
                _ => CryptokiRv::DEVICE_ERROR,
            },
            ErrorKind::CardReset
            | ErrorKind::ProtocolMismatch
            | ErrorKind::Communication
            | ErrorKind::NotInTransaction
            | ErrorKind::Timeout
            | ErrorKind::DeadlineExceeded
            | ErrorKind::Abandoned
            | ErrorKind::BufferTooSmall
            | ErrorKind::Unknown => CryptokiRv::DEVICE_ERROR,
        }
    }

    fn to_sspi(self) -> SspiStatus {
        match self.kind {
            ErrorKind::WrongPin | ErrorKind::PinBlocked => SspiStatus::E_LOGON_DENIED,
            ErrorKind::PinRequired => SspiStatus::E_INCOMPLETE_CREDENTIALS,
            ErrorKind::AccessDenied if self.recovery == Recovery::AskUser => {
                SspiStatus::E_INCOMPLETE_CREDENTIALS
            }
            ErrorKind::CardRemoved
            | ErrorKind::NoCard
            | ErrorKind::ReaderGone
            | ErrorKind::Cancelled => SspiStatus::E_NO_CREDENTIALS,
            ErrorKind::CardData => match self.code {
                ReturnCode::E_NO_KEY_CONTAINER
                | ReturnCode::E_NO_SUCH_CERTIFICATE
                | ReturnCode::E_CERTIFICATE_UNAVAILABLE => SspiStatus::E_NO_CREDENTIALS,
                _ => SspiStatus::E_INTERNAL_ERROR,
            },
            ErrorKind::CardUnresponsive
            | ErrorKind::CardUnsupported
            | ErrorKind::Configuration
            | ErrorKind::AccessDenied
            | ErrorKind::ServiceGone => SspiStatus::E_CRYPTO_SYSTEM_INVALID,
            ErrorKind::Unsupported => SspiStatus::E_UNSUPPORTED_FUNCTION,
            ErrorKind::ServiceBusy
                if matches!(
                    self.code,
                    ReturnCode::E_NO_MEMORY
                        | ReturnCode::NOT_ENOUGH_MEMORY
                        | ReturnCode::OUT_OF_MEMORY
                ) =>
            {
                SspiStatus::E_INSUFFICIENT_MEMORY
            }
            ErrorKind::CardReset
            | ErrorKind::SharingViolation
            | ErrorKind::ServiceBusy
            | ErrorKind::StaleProcess
            | ErrorKind::ProtocolMismatch
            | ErrorKind::Communication
            | ErrorKind::NotInTransaction
            | ErrorKind::Timeout
            | ErrorKind::DeadlineExceeded
            | ErrorKind::Abandoned
            | ErrorKind::BufferTooSmall
            | ErrorKind::InvalidArgument
            | ErrorKind::Cache
            | ErrorKind::Internal
            | ErrorKind::Unknown => SspiStatus::E_INTERNAL_ERROR,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fmt::Write;

    use super::*;
    use crate::codes::Platform;
    use crate::error::Refusal;
    use crate::error::classify::classify;
    use crate::error::tables::{assert_written, name};
    use crate::service::Obstacle;

    #[test]
    fn each_situation_has_its_word() {
        use Operation::{Connect, EstablishContext, Transmit};
        use {CryptokiRv as C, ReturnCode as R, SspiStatus as S};
        for (operation, code, rv, status) in [
            (
                Transmit,
                R::W_RESET_CARD,
                C::DEVICE_ERROR,
                S::E_INTERNAL_ERROR,
            ),
            (
                Transmit,
                R::W_REMOVED_CARD,
                C::DEVICE_REMOVED,
                S::E_NO_CREDENTIALS,
            ),
            (
                Transmit,
                R::E_NO_SMARTCARD,
                C::DEVICE_REMOVED,
                S::E_NO_CREDENTIALS,
            ),
            (
                Connect,
                R::E_NO_SMARTCARD,
                C::TOKEN_NOT_PRESENT,
                S::E_NO_CREDENTIALS,
            ),
            (
                Connect,
                R::E_UNKNOWN_READER,
                C::TOKEN_NOT_PRESENT,
                S::E_NO_CREDENTIALS,
            ),
            (
                Transmit,
                R::E_READER_UNAVAILABLE,
                C::DEVICE_REMOVED,
                S::E_NO_CREDENTIALS,
            ),
            (
                Connect,
                R::E_SHARING_VIOLATION,
                C::FUNCTION_FAILED,
                S::E_INTERNAL_ERROR,
            ),
            (
                Transmit,
                R::E_NO_SERVICE,
                C::DEVICE_REMOVED,
                S::E_CRYPTO_SYSTEM_INVALID,
            ),
            (
                EstablishContext,
                R::F_COMM_ERROR,
                C::FUNCTION_FAILED,
                S::E_CRYPTO_SYSTEM_INVALID,
            ),
            (
                Transmit,
                R::E_NOT_TRANSACTED,
                C::DEVICE_ERROR,
                S::E_INTERNAL_ERROR,
            ),
            (
                Transmit,
                R::E_INSUFFICIENT_BUFFER,
                C::DEVICE_ERROR,
                S::E_INTERNAL_ERROR,
            ),
            (
                Transmit,
                R::E_INVALID_PARAMETER,
                C::FUNCTION_FAILED,
                S::E_INTERNAL_ERROR,
            ),
            (
                Connect,
                R::E_NO_MEMORY,
                C::HOST_MEMORY,
                S::E_INSUFFICIENT_MEMORY,
            ),
            (
                Connect,
                R::E_SERVER_TOO_BUSY,
                C::FUNCTION_FAILED,
                S::E_INTERNAL_ERROR,
            ),
            (
                Connect,
                R::W_SECURITY_VIOLATION,
                C::FUNCTION_FAILED,
                S::E_CRYPTO_SYSTEM_INVALID,
            ),
            (
                Transmit,
                R::E_NO_ACCESS,
                C::USER_NOT_LOGGED_IN,
                S::E_INCOMPLETE_CREDENTIALS,
            ),
            (
                Transmit,
                R::W_WRONG_CHV,
                C::PIN_INCORRECT,
                S::E_LOGON_DENIED,
            ),
            (Transmit, R::W_CHV_BLOCKED, C::PIN_LOCKED, S::E_LOGON_DENIED),
            (
                Transmit,
                R::W_CARD_NOT_AUTHENTICATED,
                C::USER_NOT_LOGGED_IN,
                S::E_INCOMPLETE_CREDENTIALS,
            ),
            (
                Transmit,
                R::W_CANCELLED_BY_USER,
                C::FUNCTION_CANCELED,
                S::E_NO_CREDENTIALS,
            ),
            (
                Connect,
                R::W_UNRESPONSIVE_CARD,
                C::TOKEN_NOT_RECOGNIZED,
                S::E_CRYPTO_SYSTEM_INVALID,
            ),
            (
                Connect,
                R::E_PROTO_MISMATCH,
                C::TOKEN_NOT_RECOGNIZED,
                S::E_INTERNAL_ERROR,
            ),
            (
                Transmit,
                R::E_NO_KEY_CONTAINER,
                C::OBJECT_HANDLE_INVALID,
                S::E_NO_CREDENTIALS,
            ),
            (
                Transmit,
                R::E_READ_ONLY_CARD,
                C::TOKEN_WRITE_PROTECTED,
                S::E_INTERNAL_ERROR,
            ),
            (
                Transmit,
                R::E_UNSUPPORTED_FEATURE,
                C::FUNCTION_FAILED,
                S::E_UNSUPPORTED_FUNCTION,
            ),
            (
                Transmit,
                R::from_raw(0x1234),
                C::DEVICE_ERROR,
                S::E_INTERNAL_ERROR,
            ),
        ] {
            let error = Error::new(operation, code);
            assert_eq!(error.to_cryptoki(), rv, "{error}");
            assert_eq!(error.to_sspi(), status, "{error}");
        }
    }

    #[test]
    fn no_error_becomes_a_success_or_a_complaint_about_the_callers_arguments() {
        for code in ReturnCode::known() {
            for operation in [Operation::Connect, Operation::Transmit] {
                let error = Error::new(operation, code);
                let rv = error.to_cryptoki();
                let misleading = [
                    CryptokiRv::OK,
                    CryptokiRv::ARGUMENTS_BAD,
                    CryptokiRv::BUFFER_TOO_SMALL,
                    CryptokiRv::GENERAL_ERROR,
                ];
                assert!(!misleading.contains(&rv), "{error}");
                assert_ne!(error.to_sspi(), SspiStatus::E_OK);
            }
        }
    }

    /// The table in the documentation of [`Error::to_cryptoki`].
    fn documentation() -> String {
        let mut text = String::from(
            "\n# Translations by code\n\n\
             | Code | Calls | Platforms | PKCS #11 | SSPI |\n|---|---|---|---|---|\n",
        );
        let unknown = ReturnCode::from_raw(0x1234);
        let platforms = [
            (Platform::PcscLite, "pcsc-lite"),
            (Platform::MacOs, "macOS"),
            (Platform::Windows, "Windows"),
        ];
        for code in ReturnCode::known().chain([unknown]) {
            // The translations, each with its calls and platforms.
            let mut rows: BTreeMap<String, BTreeMap<&str, Vec<&str>>> = BTreeMap::new();
            for (platform, called) in platforms {
                for &operation in Operation::ALL {
                    let (kind, recovery) = classify(platform, operation, code);
                    let situation = Situation {
                        kind,
                        recovery,
                        operation,
                        code,
                    };
                    let becomes = becomes(situation);
                    let calls = rows.entry(becomes).or_default().entry(called);
                    calls.or_default().push(operation.function_name());
                }
            }
            let code = match code == unknown {
                true => "an unknown code".to_owned(),
                false => name(code),
            };
            for (becomes, platforms) in rows {
                // The platforms with this translation in the same calls.
                let mut by_calls: BTreeMap<String, Vec<&str>> = BTreeMap::new();
                for (platform, calls) in platforms {
                    by_calls.entry(these(&calls)).or_default().push(platform);
                }
                for (calls, platforms) in by_calls {
                    let platforms = match platforms.len() {
                        3 => "all".to_owned(),
                        _ => platforms.join(", "),
                    };
                    writeln!(text, "| {code} | {calls} | {platforms} | {becomes} |").unwrap();
                }
            }
        }
        text += "\nCalls that this library refused or gave up, and contexts that could not be \
                 established because pcsc-lite's daemon could not be reached:\n\n\
                 | Reason | PKCS #11 | SSPI |\n|---|---|---|\n";
        let mut rows = Vec::new();
        let refusals = Refusal::all().into_iter();
        let refusals = refusals.map(|it| Error::given_up(Operation::Transmit, it));
        let obstacles = Obstacle::ALL.map(|it| Error::new(Operation::EstablishContext, it));
        for error in refusals.chain(obstacles) {
            let becomes = becomes(error.situation());
            let row = format!("| {} | {becomes} |\n", error.description());
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
        text.extend(rows);
        text
    }

    fn becomes(situation: Situation) -> String {
        let (rv, status) = (situation.to_cryptoki(), situation.to_sspi());
        format!("`{}` | `{}`", rv.name().unwrap(), status.name().unwrap())
    }

    /// All calls, these, or all except these, whichever is shorter.
    fn these(calls: &[&str]) -> String {
        let all = Operation::ALL.iter().map(|it| it.function_name());
        let others: Vec<&str> = all.filter(|it| !calls.contains(it)).collect();
        match others.len() {
            0 => "all".to_owned(),
            len if len < calls.len() => format!("all except {}", others.join(", ")),
            _ => calls.join(", "),
        }
    }

    #[test]
    fn the_documentation_shows_the_translations() {
        assert_written(
            "translations.md",
            include_str!("translations.md"),
            &documentation(),
        );
    }
}
