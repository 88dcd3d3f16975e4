//! Status words.

use std::fmt;
use std::str::FromStr;

use crate::codes::stored_as_text;
use crate::values::{ParseValueError, hex};

/// The kind of outcome that a status word reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum StatusClass {
    /// 9000 and 61XX: the command was processed.
    Success,
    /// 62XX and 63XX: the command was processed, with a warning.
    Warning,
    /// 64XX to 66XX: processing the command failed.
    ExecutionError,
    /// 67XX to 6FXX: the command was refused.
    CheckingError,
    /// Words that ISO 7816-4 leaves to others, such as 91XX, or does not allow.
    Other,
}

/// The two bytes at the end of every answer: SW1 and SW2 of ISO 7816-4.
///
/// [`Display`](fmt::Display) prints the meaning and the number:
///
/// ```
/// use scard::apdu::StatusWord;
///
/// let status = StatusWord(0x6A82);
/// assert_eq!(status, StatusWord::FILE_NOT_FOUND);
/// assert_eq!(status.to_string(), "file or application not found (6A82)");
/// assert_eq!(StatusWord(0x63C2).remaining_tries(), Some(2));
/// ```
///
/// Some words have other meanings outside ISO 7816-4; see [`StatusFamily`](super::StatusFamily).
///
/// Every number is a valid status word, known or not. [`str::parse`] accepts the four digits, alone
/// or as [`Display`](fmt::Display) prints them:
///
/// ```
/// use scard::StatusWord;
///
/// assert_eq!("63C2".parse(), Ok(StatusWord(0x63C2)));
/// let text = "file or application not found (6A82)";
/// assert_eq!(text.parse(), Ok(StatusWord::FILE_NOT_FOUND));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StatusWord(pub u16);

struct Row {
    first: u16,
    last: u16,
    name: &'static str,
    description: &'static str,
}

/// Defines the constants and the table of all meanings. Rows after `=> ranges` have no
/// constant.
macro_rules! status_words {
    (
        $( $konst:ident = $value:literal, $description:literal; )+
        => ranges
        $( $name:ident = $first:literal to $last:literal, $range:literal; )+
    ) => {
        impl StatusWord {
            $(
                #[doc = concat!("`", stringify!($value), "`: ", $description, ".")]
                pub const $konst: StatusWord = StatusWord($value);
            )+

            /// The first matching row counts.
            const TABLE: &[Row] = &[
                $( Row {
                    first: $value,
                    last: $value,
                    name: stringify!($konst),
                    description: $description,
                }, )+
                $( Row {
                    first: $first,
                    last: $last,
                    name: stringify!($name),
                    description: $range,
                }, )+
            ];
        }
    };
}

status_words! {
    SUCCESS = 0x9000, "success";

    WARNING_UNCHANGED = 0x6200, "warning; nothing was changed on the card";
    DATA_MAY_BE_CORRUPTED = 0x6281, "part of the returned data may be corrupted";
    END_OF_FILE = 0x6282, "the end of the file or record was reached, or the search found nothing";
    FILE_DEACTIVATED = 0x6283, "the selected file is deactivated";
    BAD_CONTROL_INFORMATION = 0x6284, "the file control information is not well-formed";
    FILE_TERMINATED = 0x6285, "the selected file is in the termination state";
    NO_SENSOR_INPUT = 0x6286, "no input data from a sensor on the card";
    RECORD_DEACTIVATED = 0x6287, "at least one of the records is deactivated";
    UICC_MORE_AVAILABLE = 0x62F1, "warning; with a UICC: more data available";
    WARNING_CHANGED = 0x6300, "warning; something may have been changed on the card";
    GLOBAL_PLATFORM_MORE = 0x6310, "warning; with GlobalPlatform: more data is available";
    COMPARISON_FAILED = 0x6340, "the comparison failed";
    FILE_FILLED_UP = 0x6381, "the file was filled up by the last write";
    UICC_MORE_EXPECTED = 0x63F1, "warning; with a UICC: more data expected";

    EXECUTION_ERROR_UNCHANGED = 0x6400, "execution failed; nothing was changed on the card";
    IMMEDIATE_RESPONSE_REQUIRED = 0x6401, "the card requires an immediate response";
    SHARED_CHANNEL_DENIED = 0x6481, "sharing the logical channel was denied";
    CHANNEL_DENIED = 0x6482, "opening the logical channel was denied";
    EXECUTION_ERROR_CHANGED = 0x6500, "execution failed; something was changed on the card";
    MEMORY_FAILURE = 0x6581, "memory failure";
    SECURITY_ERROR = 0x6600, "security-related error";

    WRONG_LENGTH = 0x6700, "wrong length";
    NOT_AN_APDU = 0x6701, "the format of the command is not that of ISO 7816-4";
    UNEXPECTED_LC = 0x6702, "unexpected length of the data";
    CLASS_FUNCTION_NOT_SUPPORTED = 0x6800, "function of the class not supported";
    CHANNEL_NOT_SUPPORTED = 0x6881, "logical channel not supported";
    SECURE_MESSAGING_NOT_SUPPORTED = 0x6882, "secure messaging not supported";
    LAST_OF_CHAIN_EXPECTED = 0x6883, "the last command of the chain was expected";
    CHAINING_NOT_SUPPORTED = 0x6884, "command chaining not supported";
    COMMAND_NOT_ALLOWED = 0x6900, "command not allowed";
    INCOMPATIBLE_FILE = 0x6981, "the command does not fit the structure of the file";
    SECURITY_STATUS_NOT_SATISFIED = 0x6982, "security status not satisfied";
    AUTHENTICATION_BLOCKED = 0x6983, "the authentication method is blocked";
    REFERENCE_DATA_UNUSABLE = 0x6984, "the reference data is not usable";
    CONDITIONS_NOT_SATISFIED = 0x6985, "conditions of use not satisfied";
    NO_CURRENT_FILE = 0x6986, "command not allowed: no current file";
    SECURE_MESSAGING_MISSING = 0x6987, "expected secure messaging data objects are missing";
    SECURE_MESSAGING_INCORRECT = 0x6988, "incorrect secure messaging data objects";
    WRONG_PARAMETERS = 0x6A00, "wrong parameters P1-P2";
    INCORRECT_DATA = 0x6A80, "incorrect parameters in the data";
    FUNCTION_NOT_SUPPORTED = 0x6A81, "function not supported";
    FILE_NOT_FOUND = 0x6A82, "file or application not found";
    RECORD_NOT_FOUND = 0x6A83, "record not found";
    NOT_ENOUGH_MEMORY = 0x6A84, "not enough memory";
    LENGTH_NOT_TLV = 0x6A85, "the length of the data does not match its TLV structure";
    INCORRECT_P1_P2 = 0x6A86, "incorrect parameters P1-P2";
    LENGTH_NOT_P1_P2 = 0x6A87, "the length of the data does not match P1-P2";
    REFERENCED_DATA_NOT_FOUND = 0x6A88, "referenced data or reference data not found";
    FILE_EXISTS = 0x6A89, "the file already exists";
    NAME_EXISTS = 0x6A8A, "the DF name already exists";
    OFFSET_OUTSIDE = 0x6B00, "wrong parameters P1-P2, such as an offset outside the file";
    INSTRUCTION_NOT_SUPPORTED = 0x6D00, "instruction not supported";
    CLASS_NOT_SUPPORTED = 0x6E00, "class not supported";
    NO_PRECISE_DIAGNOSIS = 0x6F00, "no precise diagnosis";

    => ranges

    MORE_AVAILABLE = 0x6100 to 0x61FF, "success; more of the answer is available";
    TRIGGERED_BY_CARD = 0x6202 to 0x6280, "the card asks to be queried for data";
    WARNING_UNCHANGED = 0x6201 to 0x62FF, "warning; nothing was changed on the card";
    TRIES_LEFT = 0x63C0 to 0x63CF, "verification failed, or a counter is returned";
    WARNING_CHANGED = 0x6301 to 0x63FF, "warning; something may have been changed on the card";
    TRIGGERED_BY_CARD = 0x6402 to 0x6480, "execution failed; the card asks to be queried for data";
    EXECUTION_ERROR_UNCHANGED = 0x6403 to 0x64FF, "execution failed; nothing was changed on the card";
    EXECUTION_ERROR_CHANGED = 0x6501 to 0x65FF, "execution failed; something was changed on the card";
    SECURITY_ERROR = 0x6601 to 0x66FF, "security-related error";
    WRONG_LENGTH = 0x6703 to 0x67FF, "wrong length";
    CLASS_FUNCTION_NOT_SUPPORTED = 0x6801 to 0x68FF, "function of the class not supported";
    COMMAND_NOT_ALLOWED = 0x6901 to 0x69FF, "command not allowed";
    WRONG_PARAMETERS = 0x6A01 to 0x6AFF, "wrong parameters P1-P2";
    WRONG_PARAMETERS = 0x6B01 to 0x6BFF, "wrong parameters P1-P2";
    WRONG_LE = 0x6C00 to 0x6CFF, "wrong expected length; the correct one is returned";
    INSTRUCTION_NOT_SUPPORTED = 0x6D01 to 0x6DFF, "instruction not supported";
    CLASS_NOT_SUPPORTED = 0x6E01 to 0x6EFF, "class not supported";
    NO_PRECISE_DIAGNOSIS = 0x6F01 to 0x6FFF, "no precise diagnosis";
}

impl StatusWord {
    /// Returns the number.
    pub const fn raw(self) -> u16 {
        self.0
    }

    /// Returns SW1, the first byte.
    pub const fn sw1(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// Returns SW2, the second byte.
    pub const fn sw2(self) -> u8 {
        self.0 as u8
    }

    /// Returns the bytes as the card sends them.
    pub const fn to_bytes(self) -> [u8; 2] {
        self.0.to_be_bytes()
    }

    fn row(self) -> Option<&'static Row> {
        let mut rows = Self::TABLE.iter();
        rows.find(|row| (row.first..=row.last).contains(&self.0))
    }

    /// Returns the name of the constant; for other words with the same first byte, and for ranges
    /// such as `MORE_AVAILABLE`, their common name. `None` for words that ISO 7816-4 does not
    /// define.
    pub fn name(self) -> Option<&'static str> {
        Some(self.row()?.name)
    }

    /// Returns the meaning: a clause without capital and full stop.
    pub fn description(self) -> &'static str {
        match self.row() {
            Some(row) => row.description,
            None if self.sw1() & 0xF0 == 0x90 => "an application-specific status word",
            None => "not a status word of ISO 7816-4",
        }
    }

    /// Returns the kind of outcome.
    pub const fn class(self) -> StatusClass {
        match self.0 {
            0x9000 | 0x6100..=0x61FF => StatusClass::Success,
            0x6200..=0x63FF => StatusClass::Warning,
            0x6400..=0x66FF => StatusClass::ExecutionError,
            0x6700..=0x6FFF => StatusClass::CheckingError,
            _ => StatusClass::Other,
        }
    }

    /// Returns whether the command was processed: 9000, or 61XX, after which [more
    /// data](StatusWord::more_available) has to be fetched.
    pub const fn is_success(self) -> bool {
        matches!(self.class(), StatusClass::Success)
    }

    /// Returns whether this is a warning: 62XX and 63XX.
    pub const fn is_warning(self) -> bool {
        matches!(self.class(), StatusClass::Warning)
    }

    /// Returns whether this is an execution error: 64XX to 66XX.
    pub const fn is_execution_error(self) -> bool {
        matches!(self.class(), StatusClass::ExecutionError)
    }

    /// Returns whether this is a checking error: 67XX to 6FXX.
    pub const fn is_checking_error(self) -> bool {
        matches!(self.class(), StatusClass::CheckingError)
    }

    /// Returns how many tries are left after a failed verification: X of 63CX, 0 to 15. Other
    /// commands use the same words to return a counter.
    pub const fn remaining_tries(self) -> Option<u8> {
        match self.0 {
            0x63C0..=0x63CF => Some(self.sw2() & 0x0F),
            _ => None,
        }
    }

    /// Returns how many bytes GET RESPONSE can fetch: XX of 61XX, 1 to 256. 256 can also mean that
    /// there are more.
    pub const fn more_available(self) -> Option<u32> {
        match self.sw1() {
            0x61 => Some(self.length()),
            _ => None,
        }
    }

    /// Returns the length that the command should have asked for: XX of 6CXX, 1 to 256.
    pub const fn correct_le(self) -> Option<u32> {
        match self.sw1() {
            0x6C => Some(self.length()),
            _ => None,
        }
    }

    const fn length(self) -> u32 {
        match self.sw2() {
            0 => 256,
            len => len as u32,
        }
    }
}

impl From<u16> for StatusWord {
    fn from(raw: u16) -> StatusWord {
        StatusWord(raw)
    }
}

impl From<[u8; 2]> for StatusWord {
    fn from(bytes: [u8; 2]) -> StatusWord {
        StatusWord(u16::from_be_bytes(bytes))
    }
}

impl From<StatusWord> for u16 {
    fn from(status: StatusWord) -> u16 {
        status.0
    }
}

impl fmt::Display for StatusWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.description())?;
        match (self.remaining_tries(), self.more_available()) {
            (Some(tries), _) => write!(f, ": {tries} left")?,
            (None, Some(len)) => write!(f, ": {len} bytes")?,
            (None, None) => {}
        }
        write!(f, " ({:04X})", self.0)
    }
}

impl fmt::Debug for StatusWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "StatusWord({name}, {:04X})", self.0),
            None => write!(f, "StatusWord({:04X})", self.0),
        }
    }
}

/// Parses four hex digits, optionally after `0x`, with a space between the bytes, or at the end of
/// `Display` and `Debug` output.
impl FromStr for StatusWord {
    type Err = ParseValueError;

    fn from_str(text: &str) -> Result<StatusWord, ParseValueError> {
        let digits = match text.trim().strip_suffix(')') {
            Some(inner) => inner.rsplit(['(', ' ']).next().unwrap_or_default(),
            None => text.trim(),
        };
        let digits = digits.strip_prefix("0x").unwrap_or(digits);
        let bytes = hex::parse(digits).ok();
        let bytes = bytes.and_then(|bytes| <[u8; 2]>::try_from(bytes).ok());
        bytes
            .map(StatusWord::from)
            .ok_or_else(|| ParseValueError::new(text, "a status word (four hex digits)"))
    }
}

stored_as_text!(StatusWord, "a status word", |status| format_args!(
    "{:04X}",
    status.0
));

impl fmt::UpperHex for StatusWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::UpperHex::fmt(&self.0, f)
    }
}

impl fmt::LowerHex for StatusWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::LowerHex::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_65536_words_have_a_class_and_a_meaning() {
        for raw in 0..=u16::MAX {
            let status = StatusWord(raw);
            let class = match raw >> 8 {
                0x61 => StatusClass::Success,
                0x62 | 0x63 => StatusClass::Warning,
                0x64..=0x66 => StatusClass::ExecutionError,
                0x67..=0x6F => StatusClass::CheckingError,
                _ if raw == 0x9000 => StatusClass::Success,
                _ => StatusClass::Other,
            };
            assert_eq!(status.class(), class, "{raw:04X}");
            let said = [
                status.is_success(),
                status.is_warning(),
                status.is_execution_error(),
                status.is_checking_error(),
            ];
            let others = usize::from(class == StatusClass::Other);
            assert_eq!(said.iter().filter(|it| **it).count() + others, 1);
            // Exactly the words that ISO 7816-4 defines have a name.
            assert_eq!(
                status.name().is_some(),
                class != StatusClass::Other,
                "{raw:04X}"
            );
            assert!(status.to_string().ends_with(&format!(" ({raw:04X})")));
            assert!(format!("{status:?}").ends_with(&format!("{raw:04X})")));
            assert!(!status.description().ends_with('.'));
            assert_eq!(StatusWord::from(status.to_bytes()), status);
            assert_eq!(u16::from(status), raw);
            assert_eq!(status.to_string().parse(), Ok(status));
            assert_eq!(format!("{status:?}").parse(), Ok(status));
            assert_eq!(format!("{status:04X}").parse(), Ok(status));
            assert_eq!(status.remaining_tries().is_some(), raw & 0xFFF0 == 0x63C0);
            assert_eq!(status.more_available().is_some(), raw >> 8 == 0x61);
            assert_eq!(status.correct_le().is_some(), raw >> 8 == 0x6C);
        }
    }

    #[test]
    fn the_table_is_sorted_and_without_duplicates() {
        let single = |row: &&Row| row.first == row.last;
        let constants: Vec<&Row> = StatusWord::TABLE.iter().filter(single).collect();
        for row in &constants {
            let same = |other: &&&Row| other.first == row.first || other.name == row.name;
            assert_eq!(constants.iter().filter(same).count(), 1, "{}", row.name);
        }
        for row in StatusWord::TABLE {
            assert!(row.first <= row.last, "{}", row.name);
        }
    }

    #[test]
    fn only_digits_are_read() {
        for text in ["6A82", "6a82", "0x6A82", "6A 82", " 6A82\n", "x (6A82)"] {
            assert_eq!(text.parse(), Ok(StatusWord::FILE_NOT_FOUND), "{text:?}");
        }
        for text in [
            "",
            "6A8",
            "6A820",
            "6A82 00",
            "0x",
            "0x0x6A82",
            "FILE_NOT_FOUND",
            "()",
            ")",
        ] {
            assert!(text.parse::<StatusWord>().is_err(), "{text:?}");
        }
        assert_eq!(
            "90".parse::<StatusWord>().unwrap_err().to_string(),
            r#""90" is not a status word (four hex digits)"#
        );
    }

    #[cfg(feature = "serde")]
    #[test]
    fn a_status_word_is_stored_as_its_digits() {
        let stored = serde_json::to_string(&StatusWord(0x63C2)).unwrap();
        assert_eq!(stored, r#""63C2""#);
        assert_eq!(
            serde_json::from_str::<StatusWord>(&stored).unwrap(),
            StatusWord(0x63C2)
        );
    }

    #[test]
    fn numbers_in_words() {
        assert_eq!(StatusWord(0x63C0).remaining_tries(), Some(0));
        assert_eq!(StatusWord(0x63CF).remaining_tries(), Some(15));
        assert_eq!(StatusWord(0x6101).more_available(), Some(1));
        assert_eq!(StatusWord(0x6100).more_available(), Some(256));
        assert_eq!(StatusWord(0x6CFF).correct_le(), Some(255));
        assert_eq!(StatusWord(0x6C00).correct_le(), Some(256));
        assert_eq!(
            StatusWord(0x63C2).to_string(),
            "verification failed, or a counter is returned: 2 left (63C2)"
        );
        assert_eq!(
            format!("{:?}", StatusWord(0x6A82)),
            "StatusWord(FILE_NOT_FOUND, 6A82)"
        );
        assert_eq!(
            StatusWord(0x91AF).to_string(),
            "an application-specific status word (91AF)"
        );
        assert_eq!(
            StatusWord(0x1234).to_string(),
            "not a status word of ISO 7816-4 (1234)"
        );
    }
}
