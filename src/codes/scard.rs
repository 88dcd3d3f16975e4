//! The return codes of the SCard functions.

use std::fmt;

use super::table::{Row, code_table, row_of};

code_table! {
    /// The exact 32-bit code that an SCard function returned.
    ///
    /// Known codes are associated constants and can be matched in patterns. Unknown codes
    /// are ordinary values: services, drivers and remote-desktop clients return codes of
    /// their own, and none is lost.
    ///
    /// ```
    /// use scard::ReturnCode;
    ///
    /// let code = ReturnCode::from_raw(0x8010_0068);
    /// assert_eq!(code, ReturnCode::W_RESET_CARD);
    /// assert_eq!(code.name(), Some("SCARD_W_RESET_CARD"));
    /// assert_eq!(code.to_string(), "the card was reset (SCARD_W_RESET_CARD, 0x80100068)");
    ///
    /// let unknown = ReturnCode::from_raw(0x8010_00FF);
    /// assert_eq!(unknown.raw(), 0x8010_00FF);
    /// assert_eq!(unknown.to_string(), "unknown code (0x801000FF)");
    /// ```
    ///
    /// # Platform notes
    ///
    /// 0x8010001F is `SCARD_E_UNEXPECTED` on Windows, where an unsupported feature is
    /// 0x80100022; with pcsc-lite and on macOS it is `SCARD_E_UNSUPPORTED_FEATURE`, and
    /// 0x80100022 does not occur. The constants carry the Windows values; [`name`] follows
    /// the platform the program runs on.
    ///
    /// [`name`]: ReturnCode::name
    pub struct ReturnCode;

    S_SUCCESS = 0x0000_0000, "SCARD_S_SUCCESS", "no error was encountered";

    F_INTERNAL_ERROR = 0x8010_0001, "SCARD_F_INTERNAL_ERROR", "an internal consistency check failed";
    E_CANCELLED = 0x8010_0002, "SCARD_E_CANCELLED", "the wait was cancelled by the program";
    E_INVALID_HANDLE = 0x8010_0003, "SCARD_E_INVALID_HANDLE", "the context or card handle is not valid";
    E_INVALID_PARAMETER = 0x8010_0004, "SCARD_E_INVALID_PARAMETER", "a parameter could not be interpreted";
    E_INVALID_TARGET = 0x8010_0005, "SCARD_E_INVALID_TARGET", "the registered start-up information is missing or not valid";
    E_NO_MEMORY = 0x8010_0006, "SCARD_E_NO_MEMORY", "there is not enough memory, or a limit of the service is reached";
    F_WAITED_TOO_LONG = 0x8010_0007, "SCARD_F_WAITED_TOO_LONG", "an internal timer ran out";
    E_INSUFFICIENT_BUFFER = 0x8010_0008, "SCARD_E_INSUFFICIENT_BUFFER", "the data does not fit into the buffer";
    E_UNKNOWN_READER = 0x8010_0009, "SCARD_E_UNKNOWN_READER", "there is no reader of this name";
    E_TIMEOUT = 0x8010_000A, "SCARD_E_TIMEOUT", "the time limit passed";
    E_SHARING_VIOLATION = 0x8010_000B, "SCARD_E_SHARING_VIOLATION", "another connection to the card excludes this one";
    E_NO_SMARTCARD = 0x8010_000C, "SCARD_E_NO_SMARTCARD", "there is no card in the reader";
    E_UNKNOWN_CARD = 0x8010_000D, "SCARD_E_UNKNOWN_CARD", "the card name is not known to the system";
    E_CANT_DISPOSE = 0x8010_000E, "SCARD_E_CANT_DISPOSE", "the card cannot be disposed of in the requested way";
    E_PROTO_MISMATCH = 0x8010_000F, "SCARD_E_PROTO_MISMATCH", "the requested protocols do not include the one the card uses";
    E_NOT_READY = 0x8010_0010, "SCARD_E_NOT_READY", "the reader or the card is not ready for commands";
    E_INVALID_VALUE = 0x8010_0011, "SCARD_E_INVALID_VALUE", "a parameter has a value that is not possible here";
    E_SYSTEM_CANCELLED = 0x8010_0012, "SCARD_E_SYSTEM_CANCELLED", "the system cancelled the operation, for instance to log off or shut down";
    F_COMM_ERROR = 0x8010_0013, "SCARD_F_COMM_ERROR", "the communication with the smart-card service broke down";
    F_UNKNOWN_ERROR = 0x8010_0014, "SCARD_F_UNKNOWN_ERROR", "an internal error of unknown source occurred";
    E_INVALID_ATR = 0x8010_0015, "SCARD_E_INVALID_ATR", "the registered ATR is not a valid one";
    E_NOT_TRANSACTED = 0x8010_0016, "SCARD_E_NOT_TRANSACTED", "there is no transaction to end, or the exchange with the card failed";
    E_READER_UNAVAILABLE = 0x8010_0017, "SCARD_E_READER_UNAVAILABLE", "the reader is not available";
    P_SHUTDOWN = 0x8010_0018, "SCARD_P_SHUTDOWN", "the operation was ended to let the service shut down";
    E_PCI_TOO_SMALL = 0x8010_0019, "SCARD_E_PCI_TOO_SMALL", "the buffer for the protocol control information is too small";
    E_READER_UNSUPPORTED = 0x8010_001A, "SCARD_E_READER_UNSUPPORTED", "the reader's driver does not meet the minimal requirements";
    E_DUPLICATE_READER = 0x8010_001B, "SCARD_E_DUPLICATE_READER", "the driver did not give the reader a name of its own";
    E_CARD_UNSUPPORTED = 0x8010_001C, "SCARD_E_CARD_UNSUPPORTED", "the card does not meet the minimal requirements";
    E_NO_SERVICE = 0x8010_001D, "SCARD_E_NO_SERVICE", "the smart-card service is not running";
    E_SERVICE_STOPPED = 0x8010_001E, "SCARD_E_SERVICE_STOPPED", "the smart-card service has shut down";
    /// With pcsc-lite and on macOS this value means that a feature is not supported.
    E_UNEXPECTED = 0x8010_001F, "SCARD_E_UNEXPECTED", "an unexpected error of the card occurred";
    E_ICC_INSTALLATION = 0x8010_0020, "SCARD_E_ICC_INSTALLATION", "no primary provider is registered for the card";
    E_ICC_CREATEORDER = 0x8010_0021, "SCARD_E_ICC_CREATEORDER", "the objects cannot be created in this order";
    /// Windows only: see [`ReturnCode::E_UNEXPECTED`] for the other platforms.
    E_UNSUPPORTED_FEATURE = 0x8010_0022, "SCARD_E_UNSUPPORTED_FEATURE", "the feature is not supported";
    E_DIR_NOT_FOUND = 0x8010_0023, "SCARD_E_DIR_NOT_FOUND", "the directory does not exist on the card";
    E_FILE_NOT_FOUND = 0x8010_0024, "SCARD_E_FILE_NOT_FOUND", "the file does not exist on the card";
    E_NO_DIR = 0x8010_0025, "SCARD_E_NO_DIR", "the path does not lead to a directory of the card";
    E_NO_FILE = 0x8010_0026, "SCARD_E_NO_FILE", "the path does not lead to a file of the card";
    E_NO_ACCESS = 0x8010_0027, "SCARD_E_NO_ACCESS", "the access to the file is denied";
    E_WRITE_TOO_MANY = 0x8010_0028, "SCARD_E_WRITE_TOO_MANY", "more data was written than the target holds";
    E_BAD_SEEK = 0x8010_0029, "SCARD_E_BAD_SEEK", "the position in the card's file could not be set";
    E_INVALID_CHV = 0x8010_002A, "SCARD_E_INVALID_CHV", "the PIN is not correct";
    E_UNKNOWN_RES_MNG = 0x8010_002B, "SCARD_E_UNKNOWN_RES_MNG", "a layer below returned a code that the service does not know";
    E_NO_SUCH_CERTIFICATE = 0x8010_002C, "SCARD_E_NO_SUCH_CERTIFICATE", "the certificate does not exist";
    E_CERTIFICATE_UNAVAILABLE = 0x8010_002D, "SCARD_E_CERTIFICATE_UNAVAILABLE", "the certificate could not be read";
    E_NO_READERS_AVAILABLE = 0x8010_002E, "SCARD_E_NO_READERS_AVAILABLE", "there is no reader";
    E_COMM_DATA_LOST = 0x8010_002F, "SCARD_E_COMM_DATA_LOST", "data was lost in the communication with the card";
    E_NO_KEY_CONTAINER = 0x8010_0030, "SCARD_E_NO_KEY_CONTAINER", "the key container does not exist on the card";
    E_SERVER_TOO_BUSY = 0x8010_0031, "SCARD_E_SERVER_TOO_BUSY", "the smart-card service is too busy";
    E_PIN_CACHE_EXPIRED = 0x8010_0032, "SCARD_E_PIN_CACHE_EXPIRED", "the cached PIN is no longer valid";
    E_NO_PIN_CACHE = 0x8010_0033, "SCARD_E_NO_PIN_CACHE", "the PIN cannot be cached";
    E_READ_ONLY_CARD = 0x8010_0034, "SCARD_E_READ_ONLY_CARD", "the card cannot be written";

    W_UNSUPPORTED_CARD = 0x8010_0065, "SCARD_W_UNSUPPORTED_CARD", "the reader cannot talk to the card: its ATR has settings that do not fit together";
    W_UNRESPONSIVE_CARD = 0x8010_0066, "SCARD_W_UNRESPONSIVE_CARD", "the card does not answer to a reset";
    W_UNPOWERED_CARD = 0x8010_0067, "SCARD_W_UNPOWERED_CARD", "the card has no power";
    W_RESET_CARD = 0x8010_0068, "SCARD_W_RESET_CARD", "the card was reset";
    W_REMOVED_CARD = 0x8010_0069, "SCARD_W_REMOVED_CARD", "the card was removed";
    W_SECURITY_VIOLATION = 0x8010_006A, "SCARD_W_SECURITY_VIOLATION", "access was denied by a security rule";
    W_WRONG_CHV = 0x8010_006B, "SCARD_W_WRONG_CHV", "the PIN was wrong";
    W_CHV_BLOCKED = 0x8010_006C, "SCARD_W_CHV_BLOCKED", "the PIN is blocked after too many wrong attempts";
    W_EOF = 0x8010_006D, "SCARD_W_EOF", "the end of the card's file is reached";
    W_CANCELLED_BY_USER = 0x8010_006E, "SCARD_W_CANCELLED_BY_USER", "the user cancelled the operation";
    W_CARD_NOT_AUTHENTICATED = 0x8010_006F, "SCARD_W_CARD_NOT_AUTHENTICATED", "no PIN was presented to the card";
    W_CACHE_ITEM_NOT_FOUND = 0x8010_0070, "SCARD_W_CACHE_ITEM_NOT_FOUND", "the item is not in the cache";
    W_CACHE_ITEM_STALE = 0x8010_0071, "SCARD_W_CACHE_ITEM_STALE", "the cached item was too old and is deleted";
    W_CACHE_ITEM_TOO_BIG = 0x8010_0072, "SCARD_W_CACHE_ITEM_TOO_BIG", "the item is too big for the cache";

    /// A Windows system code.
    BROKEN_PIPE = 0x0000_0109, "ERROR_BROKEN_PIPE", "the remote session does not redirect smart cards";
}

/// How bad a code says its situation is: the letter after `SCARD_` in its name.
///
/// The number alone does not say it; all codes of the SCard facility have the same
/// severity bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// `S`: success.
    Success,
    /// `P`: a progress message, no failure of the caller's.
    Progress,
    /// `W`: a warning: the card needs attention before the operation can be done.
    Warning,
    /// `E`: an error: the operation was not done.
    Error,
    /// `F`: a fatal error inside the service or in the communication with it.
    Fatal,
}

/// 0x8010001F where it means what Windows calls 0x80100022.
const UNSUPPORTED_FEATURE_OFF_WINDOWS: Row = Row {
    value: ReturnCode::E_UNEXPECTED.raw(),
    name: "SCARD_E_UNSUPPORTED_FEATURE",
    description: "the feature is not supported",
};

impl ReturnCode {
    fn row(self) -> Option<&'static Row> {
        if !cfg!(windows) && self == ReturnCode::E_UNEXPECTED {
            return Some(&UNSUPPORTED_FEATURE_OFF_WINDOWS);
        }
        row_of(ReturnCode::TABLE, self.raw())
    }

    /// The constant's name in the PC/SC headers of this platform, such as
    /// `SCARD_W_RESET_CARD`; `None` for an unknown code.
    pub fn name(self) -> Option<&'static str> {
        self.row().map(|row| row.name)
    }

    /// What the code means: a clause without capital and full stop, made to stand after
    /// "failed:".
    pub fn description(self) -> &'static str {
        self.row().map_or("unknown code", |row| row.description)
    }

    /// The severity that the code's name carries; `None` for unknown codes and for system
    /// codes, whose names carry none.
    pub fn severity(self) -> Option<Severity> {
        match self.name()?.strip_prefix("SCARD_")?.bytes().next()? {
            b'S' => Some(Severity::Success),
            b'P' => Some(Severity::Progress),
            b'W' => Some(Severity::Warning),
            b'E' => Some(Severity::Error),
            b'F' => Some(Severity::Fatal),
            _ => None,
        }
    }

    /// `NAME, 0xNUMBER`, or the number alone.
    pub(crate) fn identity(self) -> impl fmt::Display {
        struct Identity(ReturnCode);
        impl fmt::Display for Identity {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                if let Some(name) = self.0.name() {
                    write!(f, "{name}, ")?;
                }
                write!(f, "{:#010X}", self.0)
            }
        }
        Identity(self)
    }
}

impl fmt::Display for ReturnCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.description(), self.identity())
    }
}

impl fmt::Debug for ReturnCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReturnCode({})", self.identity())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn numbers_pass_through_unchanged() {
        for base in [0u32, 0x7FFF_FF00, 0x8000_0000, 0x8010_0000, 0xFFFF_FF00] {
            for low in 0..=0xFF {
                assert_eq!(ReturnCode::from_raw(base | low).raw(), base | low);
            }
        }
    }

    #[test]
    fn no_value_stands_twice() {
        let values: BTreeSet<u32> = ReturnCode::TABLE.iter().map(|row| row.value).collect();
        assert_eq!(values.len(), ReturnCode::TABLE.len());
    }

    #[test]
    fn descriptions_read_on_after_failed() {
        for row in ReturnCode::TABLE {
            assert!(
                row.description.starts_with(|c: char| c.is_lowercase()),
                "{row:?}"
            );
            assert!(!row.description.ends_with('.'), "{row:?}");
        }
    }

    #[test]
    fn severity_is_the_letter_of_the_name() {
        assert_eq!(ReturnCode::S_SUCCESS.severity(), Some(Severity::Success));
        assert_eq!(ReturnCode::P_SHUTDOWN.severity(), Some(Severity::Progress));
        assert_eq!(ReturnCode::W_RESET_CARD.severity(), Some(Severity::Warning));
        assert_eq!(ReturnCode::E_NO_SERVICE.severity(), Some(Severity::Error));
        assert_eq!(ReturnCode::F_COMM_ERROR.severity(), Some(Severity::Fatal));
        assert_eq!(ReturnCode::BROKEN_PIPE.severity(), None);
        assert_eq!(ReturnCode::from_raw(0xFFFF_FFFF).severity(), None);
    }

    #[test]
    fn unsupported_feature_is_named_for_the_platform() {
        let name = ReturnCode::from_raw(0x8010_001F).name();
        if cfg!(windows) {
            assert_eq!(name, Some("SCARD_E_UNEXPECTED"));
        } else {
            assert_eq!(name, Some("SCARD_E_UNSUPPORTED_FEATURE"));
        }
    }

    #[test]
    fn unknown_codes_are_shown_by_number() {
        let unknown = ReturnCode::from_raw(0x1F);
        assert_eq!(unknown.name(), None);
        assert_eq!(unknown.to_string(), "unknown code (0x0000001F)");
        assert_eq!(format!("{unknown:?}"), "ReturnCode(0x0000001F)");
    }
}
