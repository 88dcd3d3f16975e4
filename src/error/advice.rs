//! Recoveries and advice for the codes of every family.

use super::{ErrorKind, Operation, Recovery};
use crate::codes::{
    CryptoApiStatus, CryptokiRv, Family, Meaning, ReturnCode, SspiStatus, WlanReason,
};
use crate::service::Obstacle;

/// The advice on an error: an instruction to a person.
pub(super) fn of_error(kind: ErrorKind, operation: Operation, recovery: Recovery) -> &'static str {
    match (kind, operation, recovery) {
        (ErrorKind::ServiceGone, _, Recovery::RetryLater) => {
            "Start the smart-card service, or try again later."
        }
        (
            ErrorKind::DeadlineExceeded,
            Operation::Connect | Operation::Reconnect | Operation::BeginTransaction,
            Recovery::ConnectAgain,
        ) => {
            "Connect again later: another program may be using the card, or the service does not \
             respond."
        }
        (ErrorKind::DeadlineExceeded, Operation::GetStatusChange, Recovery::AttachReader) => {
            "Attach the reader."
        }
        (ErrorKind::DeadlineExceeded, Operation::GetStatusChange, Recovery::InsertCard) => {
            "Insert the card, in place of another one if there is one."
        }
        (ErrorKind::Unsupported, _, Recovery::FixCall) => {
            "The reader or its driver cannot do this; continue without it."
        }
        (ErrorKind::CardUnsupported, _, Recovery::FixCall) => {
            "Reset the card, or accept another protocol."
        }
        (ErrorKind::SharingViolation, Operation::Connect | Operation::Reconnect, _) => {
            "Close the program that has exclusive access, or try again later. Often it is gpg's \
             scdaemon: `gpgconf --kill scdaemon` stops it, and the option `pcsc-shared` in its \
             scdaemon.conf makes it share the card. If this connection requested exclusive \
             access, close the others, such as a browser's, or request shared access."
        }
        (ErrorKind::SharingViolation, _, _) => {
            "Try again when the other program has finished its transaction."
        }
        _ => recovery.advice(),
    }
}

/// The advice on an obstacle to establishing a context.
pub(super) const fn of_obstacle(obstacle: Obstacle) -> &'static str {
    match obstacle {
        Obstacle::BadPath => {
            "Correct `PCSCLITE_CSOCK_NAME` or the path that the program sets: systems accept about \
             100 bytes."
        }
        Obstacle::NoSocket => {
            "Install pcsc-lite's daemon and start it: with systemd, `systemctl enable --now \
             pcscd.socket`. In a container, mount the host's directory with the socket. If the \
             path is wrong, correct `PCSCLITE_CSOCK_NAME` or the path that the program sets."
        }
        Obstacle::NothingListens => {
            "Start the smart-card service again: with systemd, `systemctl restart pcscd.socket`. \
             In a container, mount the host's directory with the socket, not the socket alone. If \
             the path is wrong, correct `PCSCLITE_CSOCK_NAME` or the path that the program sets."
        }
        Obstacle::NoPermission => {
            "Ask the administrator for write access to the socket and search access to its \
             directories."
        }
        Obstacle::NoDescriptor => {
            "Close files and connections of this program, or raise its limit of open files."
        }
        Obstacle::HungUp => {
            "Close connections of programs that use cards, or ask the administrator to allow \
             access, usually in polkit."
        }
    }
}

impl Meaning {
    /// Returns the action that resolves the error.
    ///
    /// For PC/SC codes this is [`ReturnCode::recovery`] on the platform where the number has this
    /// meaning; the other families are mapped to the same values.
    ///
    /// ```
    /// use scard::{Recovery, codes};
    ///
    /// let meaning = codes::parse("CKR_PIN_LOCKED").next().unwrap();
    /// assert_eq!(meaning.recovery(), Recovery::AskUser);
    /// ```
    #[doc = include_str!("advice.md")]
    pub fn recovery(&self) -> Recovery {
        let value = self.value();
        match self.family() {
            Family::Scard | Family::System => {
                ReturnCode::from_raw(value).recovery_on(self.platform())
            }
            Family::Sspi => sspi(SspiStatus::from_raw(value)),
            Family::CryptoApi => crypto_api(CryptoApiStatus::from_raw(value)),
            Family::Cryptoki => cryptoki(CryptokiRv::from_raw(value)),
            Family::Wlan => wlan(WlanReason::from_raw(value), self.name()),
        }
    }
}

fn sspi(status: SspiStatus) -> Recovery {
    use SspiStatus as S;
    match status {
        S::E_OK
        | S::I_CONTINUE_NEEDED
        | S::I_COMPLETE_NEEDED
        | S::I_COMPLETE_AND_CONTINUE
        | S::I_LOCAL_LOGON
        | S::I_GENERIC_EXTENSION_RECEIVED
        | S::I_CONTEXT_EXPIRED
        | S::I_RENEGOTIATE
        | S::I_NO_LSA_CONTEXT
        | S::I_SIGNATURE_NEEDED
        | S::I_NO_RENEGOTIATION
        | S::I_MESSAGE_FRAGMENT
        | S::I_CONTINUE_NEEDED_MESSAGE_OK
        | S::I_ASYNC_CALL_PENDING => Recovery::None,
        S::E_SMARTCARD_LOGON_REQUIRED => Recovery::InsertCard,
        S::I_INCOMPLETE_CREDENTIALS
        | S::E_LOGON_DENIED
        | S::E_UNKNOWN_CREDENTIALS
        | S::E_NO_CREDENTIALS
        | S::E_INCOMPLETE_CREDENTIALS
        | S::E_INVALID_UPN_NAME => Recovery::AskUser,
        S::E_INSUFFICIENT_MEMORY
        | S::E_INTERNAL_ERROR
        | S::E_NO_AUTHENTICATING_AUTHORITY
        | S::E_NO_IP_ADDRESSES
        | S::E_SHUTDOWN_IN_PROGRESS
        | S::E_KDC_UNABLE_TO_REFER
        | S::E_REVOCATION_OFFLINE_C
        | S::E_REVOCATION_OFFLINE_KDC => Recovery::RetryLater,
        S::E_CONTEXT_EXPIRED
        | S::E_UNFINISHED_CONTEXT_DELETED
        | S::E_MESSAGE_ALTERED
        | S::E_OUT_OF_SEQUENCE
        | S::E_ENCRYPT_FAILURE
        | S::E_DECRYPT_FAILURE
        | S::E_ILLEGAL_MESSAGE => Recovery::ConnectAgain,
        S::E_INVALID_HANDLE
        | S::E_UNSUPPORTED_FUNCTION
        | S::E_SECPKG_NOT_FOUND
        | S::E_BAD_PKGID
        | S::E_NOT_OWNER
        | S::E_NO_IMPERSONATION
        | S::E_INVALID_TOKEN
        | S::E_CANNOT_PACK
        | S::E_QOP_NOT_SUPPORTED
        | S::E_INCOMPLETE_MESSAGE
        | S::E_BUFFER_TOO_SMALL
        | S::E_EXT_BUFFER_TOO_SMALL
        | S::E_INSUFFICIENT_BUFFERS
        | S::E_WRONG_CREDENTIAL_HANDLE
        | S::E_BAD_BINDINGS
        | S::E_INVALID_PARAMETER
        | S::E_NO_CONTEXT => Recovery::FixCall,
        // Certificates, accounts, clocks, policies.
        _ => Recovery::AskAdministrator,
    }
}

fn crypto_api(status: CryptoApiStatus) -> Recovery {
    use CryptoApiStatus as C;
    match status {
        // Results, not failures.
        C::NTE_BAD_SIGNATURE | C::NTE_NO_MORE_ITEMS | C::CRYPT_E_EXISTS => Recovery::None,
        C::NTE_NO_MEMORY
        | C::NTE_FAIL
        | C::NTE_SYS_ERR
        | C::NTE_INTERNAL_ERROR
        | C::NTE_DEVICE_NOT_READY
        | C::CRYPT_E_REVOCATION_OFFLINE
        | C::CERT_E_REVOCATION_FAILURE => Recovery::RetryLater,
        // The container is on a card that is missing, or on another one.
        C::NTE_NO_KEY
        | C::NTE_NOT_FOUND
        | C::NTE_BAD_KEYSET
        | C::NTE_KEYSET_NOT_DEF
        | C::CRYPT_E_NOT_FOUND
        | C::CRYPT_E_NO_MATCH
        | C::CRYPT_E_NO_DECRYPT_CERT => Recovery::InsertCard,
        C::NTE_DEVICE_NOT_FOUND => Recovery::AttachReader,
        C::NTE_INCORRECT_PASSWORD | C::NTE_USER_CANCELLED | C::NTE_PASSWORD_CHANGE_REQUIRED => {
            Recovery::AskUser
        }
        C::NTE_PERM
        | C::NTE_PROV_TYPE_NOT_DEF
        | C::NTE_PROV_TYPE_ENTRY_BAD
        | C::NTE_KEYSET_ENTRY_BAD
        | C::NTE_PROV_TYPE_NO_MATCH
        | C::NTE_SIGNATURE_FILE_BAD
        | C::NTE_PROVIDER_DLL_FAIL
        | C::NTE_PROV_DLL_NOT_FOUND
        | C::NTE_BAD_PUBLIC_KEY
        | C::NTE_TOKEN_KEYSET_STORAGE_FULL
        | C::NTE_TEMPORARY_PROFILE
        | C::NTE_NOT_ACTIVE_CONSOLE
        | C::NTE_VALIDATION_FAILED
        | C::NTE_AUTHENTICATION_IGNORED => Recovery::AskAdministrator,
        // Certificates, authorities, policies.
        _ if status.name().is_some_and(|name| !name.starts_with("NTE_")) => {
            Recovery::AskAdministrator
        }
        _ => Recovery::FixCall,
    }
}

fn cryptoki(rv: CryptokiRv) -> Recovery {
    use CryptokiRv as C;
    match rv {
        // An invalid signature is a result, not a failure.
        C::OK | C::NO_EVENT | C::SIGNATURE_INVALID | C::VENDOR_DEFINED => Recovery::None,
        C::HOST_MEMORY
        | C::GENERAL_ERROR
        | C::FUNCTION_FAILED
        | C::DEVICE_ERROR
        | C::DEVICE_MEMORY
        | C::SESSION_COUNT
        | C::TOKEN_RESOURCE_EXCEEDED
        | C::OPERATION_CANCEL_FAILED
        | C::PENDING => Recovery::RetryLater,
        C::TOKEN_NOT_PRESENT | C::TOKEN_NOT_RECOGNIZED | C::DEVICE_REMOVED => Recovery::InsertCard,
        C::SLOT_ID_INVALID => Recovery::AttachReader,
        C::SESSION_HANDLE_INVALID | C::SESSION_CLOSED => Recovery::ConnectAgain,
        C::CANCEL
        | C::FUNCTION_CANCELED
        | C::FUNCTION_REJECTED
        | C::PIN_INCORRECT
        | C::PIN_INVALID
        | C::PIN_LEN_RANGE
        | C::PIN_EXPIRED
        | C::PIN_LOCKED
        | C::PIN_TOO_WEAK
        | C::USER_NOT_LOGGED_IN
        | C::USER_PIN_NOT_INITIALIZED
        | C::NEW_PIN_MODE
        | C::NEXT_OTP => Recovery::AskUser,
        C::LIBRARY_LOAD_FAILED
        | C::FIPS_SELF_TEST_FAILED
        | C::TOKEN_NOT_INITIALIZED
        | C::TOKEN_WRITE_PROTECTED => Recovery::AskAdministrator,
        _ => Recovery::FixCall,
    }
}

fn wlan(reason: WlanReason, name: &str) -> Recovery {
    use WlanReason as W;
    match reason {
        W::SUCCESS | W::UNKNOWN | W::MSMSEC_AUTH_WCN_COMPLETED => Recovery::None,
        W::USER_CANCELLED
        | W::USER_DENIED
        | W::USER_NOT_RESPOND
        | W::KEY_MISMATCH
        | W::UI_REQUEST_TIMEOUT
        | W::TOO_MANY_SECURITY_ATTEMPTS
        | W::MSMSEC_PSK_MISMATCH_SUSPECTED
        | W::MSMSEC_CANCELLED
        | W::MSMSEC_UI_REQUEST_FAILURE
        | W::ONEX_UNABLE_TO_IDENTIFY_USER
        | W::ONEX_IDENTITY_NOT_FOUND
        | W::ONEX_EAP_FAILURE_RECEIVED
        | W::ONEX_UI_CANCELLED
        | W::ONEX_PROFILE_EXPIRED_EXPLICIT_CREDENTIALS => Recovery::AskUser,
        W::NOT_VISIBLE
        | W::NETWORK_NOT_AVAILABLE
        | W::NO_VISIBLE_AP
        | W::IN_FAILED_LIST
        | W::CONNECT_CALL_FAIL
        | W::SCAN_CALL_FAIL
        | W::ASSOCIATION_FAILURE
        | W::ASSOCIATION_TIMEOUT
        | W::PRE_SECURITY_FAILURE
        | W::START_SECURITY_FAILURE
        | W::SECURITY_FAILURE
        | W::SECURITY_TIMEOUT
        | W::ROAMING_FAILURE
        | W::ROAMING_SECURITY_FAILURE
        | W::ADHOC_SECURITY_FAILURE
        | W::DRIVER_DISCONNECTED
        | W::DRIVER_OPERATION_FAILURE
        | W::IHV_NOT_RESPONDING
        | W::DISCONNECT_TIMEOUT
        | W::INTERNAL_FAILURE
        | W::AP_STARTING_FAILURE
        | W::MSMSEC_AUTH_START_TIMEOUT
        | W::MSMSEC_AUTH_SUCCESS_TIMEOUT
        | W::MSMSEC_KEY_START_TIMEOUT
        | W::MSMSEC_KEY_SUCCESS_TIMEOUT
        | W::MSMSEC_NO_AUTHENTICATOR
        | W::MSMSEC_NIC_FAILURE
        | W::MSMSEC_TRANSITION_NETWORK
        | W::ONEX_AUTHENTICATOR_NO_LONGER_PRESENT
        | W::ONEX_NO_RESPONSE_TO_IDENTITY
        | W::ONEX_UI_FAILURE => Recovery::RetryLater,
        // A profile that violates its schema or contradicts itself.
        _ if name.contains("PROFILE_INVALID_")
            || name.contains("_CODE_INVALID_")
            || name.contains("MSMSEC_PROFILE_") =>
        {
            Recovery::FixCall
        }
        // Limits of the network, the adapter or a policy.
        _ => Recovery::AskAdministrator,
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;
    use crate::codes;
    use crate::error::tables::assert_written;
    use crate::error::{Error, Refusal};
    use crate::limits::{Abandoned, GivenUp};

    fn recovery(name: &str) -> Recovery {
        let mut meanings = codes::parse(name);
        meanings.next().expect(name).recovery()
    }

    #[test]
    fn the_families_agree_on_the_same_situation() {
        for (recovery_of_all, names) in [
            (
                Recovery::InsertCard,
                [
                    "SCARD_E_NO_SMARTCARD",
                    "CKR_TOKEN_NOT_PRESENT",
                    "SEC_E_SMARTCARD_LOGON_REQUIRED",
                ],
            ),
            (
                Recovery::AskUser,
                [
                    "SCARD_W_WRONG_CHV",
                    "CKR_PIN_INCORRECT",
                    "SEC_E_LOGON_DENIED",
                ],
            ),
            (
                Recovery::FixCall,
                [
                    "SCARD_E_INVALID_PARAMETER",
                    "CKR_ARGUMENTS_BAD",
                    "SEC_E_INVALID_PARAMETER",
                ],
            ),
            (
                Recovery::None,
                ["SCARD_S_SUCCESS", "CKR_OK", "WLAN_REASON_CODE_SUCCESS"],
            ),
        ] {
            for name in names {
                assert_eq!(recovery(name), recovery_of_all, "{name}");
            }
        }
        assert_eq!(recovery("NTE_INCORRECT_PASSWORD"), Recovery::AskUser);
        assert_eq!(recovery("NTE_INVALID_PARAMETER"), Recovery::FixCall);
        assert_eq!(recovery("NTE_BAD_KEYSET"), Recovery::InsertCard);
        assert_eq!(recovery("CERT_E_EXPIRED"), Recovery::AskAdministrator);
        let profile = "WLAN_REASON_CODE_INVALID_PROFILE_SCHEMA";
        assert_eq!(recovery(profile), Recovery::FixCall);
        assert_eq!(recovery("ONEX_UI_CANCELLED"), Recovery::AskUser);
        assert_eq!(
            recovery("WLAN_REASON_CODE_GP_DENIED"),
            Recovery::AskAdministrator
        );
    }

    #[test]
    fn the_advice_about_an_error_fits_its_call() {
        let of = |operation, code| Error::new(operation, code).advice();
        let violation = ReturnCode::E_SHARING_VIOLATION;
        for operation in [Operation::Connect, Operation::Reconnect] {
            let error = Error::new(operation, violation);
            assert!(error.description().contains("scdaemon"), "{error}");
            assert!(error.advice().contains("scdaemon"));
            assert!(error.advice().contains("shared access"));
        }
        // The holder of a transaction is already connected.
        assert!(!of(Operation::Control, violation).contains("scdaemon"));
        assert!(of(Operation::Control, violation).contains("transaction"));
        let none = ReturnCode::F_COMM_ERROR;
        assert!(of(Operation::EstablishContext, none).starts_with("Start"));
        assert!(of(Operation::Transmit, none).contains("connect again"));
        let late = Abandoned::before_it_began(GivenUp::Deadline);
        let late = Refusal::given_up(Abandoned {
            begun: true,
            ..late
        });
        let connect = Error::given_up(Operation::Connect, late);
        assert!(connect.advice().contains("another program"));
        let unsupported = ReturnCode::E_UNSUPPORTED_FEATURE;
        assert!(of(Operation::Control, unsupported).contains("continue without it"));
        for code in ReturnCode::known() {
            for &operation in Operation::ALL {
                let advice = of(operation, code);
                assert!(advice.ends_with('.'), "{advice}");
            }
        }
    }

    #[test]
    fn a_number_with_two_meanings_has_the_advice_of_each() {
        let advice: Vec<_> = codes::lookup(ReturnCode::E_UNEXPECTED.raw())
            .map(|meaning| (meaning.name(), meaning.recovery()))
            .collect();
        assert_eq!(
            advice,
            [
                ("SCARD_E_UNEXPECTED", Recovery::ResetCard),
                ("SCARD_E_UNSUPPORTED_FEATURE", Recovery::FixCall),
            ]
        );
    }

    /// In the order of the tables.
    fn every_meaning() -> Vec<Meaning> {
        let families = [
            (
                Family::Scard,
                ReturnCode::known().map(ReturnCode::raw).collect::<Vec<_>>(),
            ),
            (
                Family::System,
                ReturnCode::known().map(ReturnCode::raw).collect(),
            ),
            (
                Family::Sspi,
                SspiStatus::known().map(SspiStatus::raw).collect(),
            ),
            (
                Family::CryptoApi,
                CryptoApiStatus::known().map(CryptoApiStatus::raw).collect(),
            ),
            (
                Family::Cryptoki,
                CryptokiRv::known().map(CryptokiRv::raw).collect(),
            ),
            (
                Family::Wlan,
                WlanReason::known().map(WlanReason::raw).collect(),
            ),
        ];
        let mut all: Vec<Meaning> = Vec::new();
        for (family, numbers) in families {
            for number in numbers {
                let new: Vec<Meaning> = codes::lookup(number)
                    .filter(|it| it.family() == family && !all.contains(it))
                    .collect();
                all.extend(new);
            }
        }
        all
    }

    /// The table in the documentation of [`Meaning::recovery`].
    fn documentation() -> String {
        let mut text = String::new();
        let mut family = None;
        for meaning in every_meaning() {
            if family != Some(meaning.family()) {
                family = Some(meaning.family());
                let title = meaning.family();
                write!(text, "\n# {title}\n\n| Code | Recovery |\n|---|---|\n").unwrap();
            }
            let (name, number, recovery) = (meaning.name(), meaning.code(), meaning.recovery());
            writeln!(text, "| `{name}` {number:#X} | {recovery:?} |").unwrap();
        }
        text
    }

    #[test]
    fn the_documentation_shows_the_advice() {
        assert_written("advice.md", include_str!("advice.md"), &documentation());
    }
}
