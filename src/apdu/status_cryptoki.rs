//! PKCS #11 return values for status words.

use super::error::StatusError;
use super::status_family::StatusFamily;
use super::status_word::{StatusClass, StatusWord};
use crate::codes::CryptokiRv;

impl StatusWord {
    /// Returns the equivalent PKCS #11 return value, for a module whose function ended because of
    /// this status word. For failed calls, see [`Error::to_cryptoki`](crate::Error::to_cryptoki).
    ///
    /// | Status word | |
    /// |---|---|
    /// | 9000, 61XX | `CKR_OK` |
    /// | 6300, 63CX | `CKR_PIN_INCORRECT` |
    /// | 63C0, 6983 | `CKR_PIN_LOCKED` |
    /// | 6982 | `CKR_USER_NOT_LOGGED_IN` |
    /// | 6984 | `CKR_USER_PIN_NOT_INITIALIZED` |
    /// | 6A82, 6A83, 6A88 | `CKR_OBJECT_HANDLE_INVALID` |
    /// | 6A84 | `CKR_DEVICE_MEMORY` |
    /// | other warnings, and commands that the card refuses without running them (62XX, 63XX, 67XX to 6EXX) | `CKR_FUNCTION_FAILED` |
    /// | all others | `CKR_DEVICE_ERROR` |
    ///
    /// None of them becomes an error about the arguments: a card that refuses a command says
    /// nothing about the program that called the module. The module has to accept harmless
    /// warnings, such as 6282 at the end of a file, before calling this.
    ///
    /// ```
    /// use scard::StatusWord;
    /// use scard::codes::CryptokiRv;
    ///
    /// assert_eq!(StatusWord(0x63C2).to_cryptoki(), CryptokiRv::PIN_INCORRECT);
    /// assert_eq!(StatusWord(0x6983).to_cryptoki(), CryptokiRv::PIN_LOCKED);
    /// ```
    pub const fn to_cryptoki(self) -> CryptokiRv {
        match (self.raw(), self.class()) {
            (0x63C0 | 0x6983, _) => CryptokiRv::PIN_LOCKED,
            (0x6300 | 0x63C1..=0x63CF, _) => CryptokiRv::PIN_INCORRECT,
            (0x6982, _) => CryptokiRv::USER_NOT_LOGGED_IN,
            (0x6984, _) => CryptokiRv::USER_PIN_NOT_INITIALIZED,
            (0x6A82 | 0x6A83 | 0x6A88, _) => CryptokiRv::OBJECT_HANDLE_INVALID,
            (0x6A84, _) => CryptokiRv::DEVICE_MEMORY,
            (0x6F00..=0x6FFF, _) => CryptokiRv::DEVICE_ERROR,
            (_, StatusClass::Success) => CryptokiRv::OK,
            (_, StatusClass::Warning | StatusClass::CheckingError) => CryptokiRv::FUNCTION_FAILED,
            (_, StatusClass::ExecutionError | StatusClass::Other) => CryptokiRv::DEVICE_ERROR,
        }
    }
}

impl StatusWord {
    /// Returns the PKCS #11 return value for the meaning in a [family](StatusFamily): that of
    /// [`to_cryptoki`](StatusWord::to_cryptoki), except for these.
    ///
    /// | Status word | Family | PKCS #11 return value |
    /// |---|---|---|
    /// | each [success](StatusWord::is_success_in) | | `CKR_OK` |
    /// | 9804 | GSM | `CKR_PIN_INCORRECT` |
    /// | 9840 | GSM | `CKR_PIN_LOCKED` |
    /// | 9802 | GSM | `CKR_USER_PIN_NOT_INITIALIZED` |
    /// | 9404 | GSM | `CKR_OBJECT_HANDLE_INVALID` |
    /// | 91AE | DESFire | `CKR_USER_NOT_LOGGED_IN` |
    /// | 91A0, 91F0 | DESFire | `CKR_OBJECT_HANDLE_INVALID` |
    /// | 910E | DESFire | `CKR_DEVICE_MEMORY` |
    pub const fn to_cryptoki_in(self, family: StatusFamily) -> CryptokiRv {
        match (family, self.raw()) {
            (StatusFamily::Gsm, 0x9804) => CryptokiRv::PIN_INCORRECT,
            (StatusFamily::Gsm, 0x9840) => CryptokiRv::PIN_LOCKED,
            (StatusFamily::Gsm, 0x9802) => CryptokiRv::USER_PIN_NOT_INITIALIZED,
            (StatusFamily::Gsm, 0x9404) => CryptokiRv::OBJECT_HANDLE_INVALID,
            (StatusFamily::Desfire, 0x91AE) => CryptokiRv::USER_NOT_LOGGED_IN,
            (StatusFamily::Desfire, 0x91A0 | 0x91F0) => CryptokiRv::OBJECT_HANDLE_INVALID,
            (StatusFamily::Desfire, 0x910E) => CryptokiRv::DEVICE_MEMORY,
            _ if self.is_success_in(family) => CryptokiRv::OK,
            _ => self.to_cryptoki(),
        }
    }
}

impl StatusError {
    /// Returns the PKCS #11 return value for this error: that of [`StatusWord::to_cryptoki_in`] its
    /// [family](StatusError::family), but
    /// never `CKR_OK`. A response can be refused although its status word is a success: 61XX if the
    /// rest was not fetched, 9000 in the middle of a chain. These are `CKR_FUNCTION_FAILED`.
    pub fn to_cryptoki(&self) -> CryptokiRv {
        match self.status.to_cryptoki_in(self.family()) {
            CryptokiRv::OK => CryptokiRv::FUNCTION_FAILED,
            refused => refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apdu::{Header, Response, Step};

    #[test]
    fn a_refusal_is_never_ok() {
        let rv = |answer: &[u8]| {
            Response::parse(answer)
                .unwrap()
                .ok()
                .unwrap_err()
                .to_cryptoki()
        };
        assert_eq!(rv(b"\x69\x82"), CryptokiRv::USER_NOT_LOGGED_IN);
        let in_family = |class, raw| {
            let header = Header {
                class,
                instruction: 0x20,
                p1: 0,
                p2: 1,
            };
            let error = StatusError {
                command: Some(header),
                step: Step::Command,
                status: StatusWord(raw),
            };
            error.to_cryptoki()
        };
        assert_eq!(in_family(0xA0, 0x9804), CryptokiRv::PIN_INCORRECT);
        assert_eq!(in_family(0xA0, 0x9840), CryptokiRv::PIN_LOCKED);
        assert_eq!(in_family(0xA0, 0x910B), CryptokiRv::FUNCTION_FAILED);
        assert_eq!(in_family(0x00, 0x9804), CryptokiRv::DEVICE_ERROR);
        assert_eq!(in_family(0x90, 0x91AE), CryptokiRv::USER_NOT_LOGGED_IN);
        assert_eq!(rv(b"half a signature\x61\x10"), CryptokiRv::FUNCTION_FAILED);
    }

    #[test]
    fn only_a_success_is_ok() {
        for raw in 0..=u16::MAX {
            let status = StatusWord(raw);
            let rv = status.to_cryptoki();
            assert_eq!(rv == CryptokiRv::OK, status.is_success(), "{raw:04X}");
        }
    }

    #[test]
    fn the_reason_for_a_refused_pin_is_kept() {
        for (raw, rv) in [
            (0x6300, CryptokiRv::PIN_INCORRECT),
            (0x6310, CryptokiRv::FUNCTION_FAILED),
            (0x63C1, CryptokiRv::PIN_INCORRECT),
            (0x63C0, CryptokiRv::PIN_LOCKED),
            (0x6983, CryptokiRv::PIN_LOCKED),
            (0x6982, CryptokiRv::USER_NOT_LOGGED_IN),
            (0x6984, CryptokiRv::USER_PIN_NOT_INITIALIZED),
            (0x6985, CryptokiRv::FUNCTION_FAILED),
            (0x6A82, CryptokiRv::OBJECT_HANDLE_INVALID),
            (0x6A84, CryptokiRv::DEVICE_MEMORY),
            (0x6D00, CryptokiRv::FUNCTION_FAILED),
            (0x6581, CryptokiRv::DEVICE_ERROR),
            (0x6F00, CryptokiRv::DEVICE_ERROR),
            (0x91AE, CryptokiRv::DEVICE_ERROR),
        ] {
            assert_eq!(StatusWord(raw).to_cryptoki(), rv, "{raw:04X}");
        }
    }
}
