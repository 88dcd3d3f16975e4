//! Printing values as words and reading them back.

use std::fmt;

use crate::codes::debug_as_line;

/// The error for text that is not a value of the type it was parsed as.
///
/// ```
/// use scard::ShareMode;
///
/// let error = "share".parse::<ShareMode>().unwrap_err();
/// assert_eq!(error.to_string(), r#""share" is not a share mode (shared or exclusive)"#);
/// ```
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct ParseValueError {
    text: String,
    expected: &'static str,
}

debug_as_line!(ParseValueError);

impl ParseValueError {
    pub(crate) fn new(text: &str, expected: &'static str) -> ParseValueError {
        ParseValueError {
            text: text.to_owned(),
            expected,
        }
    }

    /// Returns the text; for a list, the part that is not a value.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Assigns each variant of an enum a word that `Display` prints and `FromStr` reads.
macro_rules! words {
    ($type:ident, $expected:literal, { $( $variant:ident = $word:literal, )+ }) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(match self {
                    $( $type::$variant => $word, )+
                })
            }
        }

        /// Parses the output of `Display`, ignoring case.
        impl std::str::FromStr for $type {
            type Err = $crate::values::ParseValueError;

            fn from_str(text: &str) -> Result<$type, $crate::values::ParseValueError> {
                $(
                    if text.trim().eq_ignore_ascii_case($word) {
                        return Ok($type::$variant);
                    }
                )+
                Err($crate::values::ParseValueError::new(text, $expected))
            }
        }
    };
}

pub(crate) use words;

/// The words of a set of flags.
pub(super) struct FlagWords {
    /// Each word with its bit.
    pub(super) words: &'static [(u32, &'static str)],
    /// The text between two words.
    pub(super) separator: &'static str,
    /// Completes "is not …" for other text.
    pub(super) expected: &'static str,
}

impl FlagWords {
    /// Writes the words of the set bits, a number for bits without a word, or `none`.
    pub(super) fn write(&self, bits: u32, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = bits;
        let mut parts: Vec<String> = Vec::new();
        for (bit, word) in self.words.iter().filter(|(bit, _)| bits & bit != 0) {
            rest &= !bit;
            parts.push((*word).to_owned());
        }
        if rest != 0 {
            parts.push(format!("{rest:#x}"));
        }
        match parts.is_empty() {
            true => f.pad("none"),
            false => f.pad(&parts.join(self.separator)),
        }
    }

    /// Reads words between separators, commas or bars, ignoring case.
    pub(super) fn read(&self, text: &str) -> Result<u32, ParseValueError> {
        let upper = self.separator.to_ascii_uppercase();
        let text = text.replace(self.separator, "|").replace(&upper, "|");
        let mut bits = 0;
        for part in text.split(['|', ',']) {
            let part = part.trim();
            bits |= self
                .bit(part)
                .ok_or_else(|| ParseValueError::new(part, self.expected))?;
        }
        Ok(bits)
    }

    fn bit(&self, part: &str) -> Option<u32> {
        let named = |(_, word): &&(u32, &str)| word.eq_ignore_ascii_case(part);
        if let Some((bit, _)) = self.words.iter().find(named) {
            return Some(*bit);
        }
        if part.eq_ignore_ascii_case("none") {
            return Some(0);
        }
        number(part)
    }
}

/// Reads a hexadecimal number after `0x`.
pub(super) fn number(text: &str) -> Option<u32> {
    let is_hex = text
        .get(..2)
        .is_some_and(|it| it.eq_ignore_ascii_case("0x"));
    is_hex.then(|| crate::codes::parse_number(text)).flatten()
}

#[cfg(all(test, feature = "serde"))]
mod tests {
    use std::fmt::Debug;

    use serde::Serialize;
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use crate::codes::{CryptokiRv, ReturnCode};
    use crate::values::{Atr, Attribute, CardState, ControlCode, Disposition, Initialization};
    use crate::values::{Protocol, Protocols, ReaderFlags, Scope, ShareMode};

    fn is_stored<T>(value: T, text: &str)
    where
        T: Serialize + DeserializeOwned + PartialEq + Debug,
    {
        assert_eq!(serde_json::to_value(&value).unwrap(), Value::from(text));
        assert_eq!(serde_json::from_value::<T>(json!(text)).unwrap(), value);
    }

    #[test]
    fn values_are_stored_as_text() {
        is_stored(Atr::new(&[0x3B, 0x00]).unwrap(), "3B 00");
        is_stored(Atr::default(), "");
        is_stored(Protocols::ANY, "T=0 or T=1");
        is_stored(Protocols::empty(), "none");
        is_stored(Protocol::Raw, "raw");
        is_stored(Protocol::Other(16), "protocol 0x10");
        is_stored(ShareMode::Exclusive, "exclusive");
        is_stored(Disposition::Eject, "eject");
        is_stored(Initialization::Leave, "leave");
        is_stored(Scope::System, "system");
        is_stored(CardState::from_bits_retain(0x84), "present, 0x80");
        is_stored(ReaderFlags::PRESENT | ReaderFlags::INUSE, "present, in-use");
        is_stored(Attribute::VENDOR_NAME, "SCARD_ATTR_VENDOR_NAME");
        is_stored(Attribute::from_raw(0x7_A0FF), "0x7A0FF");
        is_stored(ControlCode::from_raw(0x0031_3520), "0x00313520");
        is_stored(ReturnCode::W_RESET_CARD, "SCARD_W_RESET_CARD, 0x80100068");
        is_stored(ReturnCode::from_raw(0x8010_00FF), "0x801000FF");
        is_stored(CryptokiRv::from_raw(0xA4), "CKR_PIN_LOCKED, 0x000000A4");
    }

    #[test]
    fn text_that_is_not_a_value_is_refused() {
        let error = serde_json::from_value::<ShareMode>(json!("both")).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#""both" is not a share mode (shared or exclusive)"#
        );
        let error = serde_json::from_value::<Protocols>(json!(3)).unwrap_err();
        assert!(error.to_string().ends_with("expected protocols"), "{error}");
        assert!(serde_json::from_value::<Atr>(json!("3B0")).is_err());
    }

    #[test]
    fn all_codes_are_read_back() {
        for code in ReturnCode::known() {
            let stored = serde_json::to_string(&code).unwrap();
            assert_eq!(serde_json::from_str::<ReturnCode>(&stored).unwrap(), code);
        }
    }
}
