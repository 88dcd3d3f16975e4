//! Reader names.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::codes::debug_as_line;

/// The name by which PC/SC knows a reader, such as `ACS ACR122U PICC Interface 00 00`.
///
/// Usually obtained from [`Context::readers`](crate::Context::readers); [`ReaderName::new`] creates
/// one from a configuration file or the command line. Cloning is cheap.
///
/// ```
/// use scard::ReaderName;
///
/// let name = ReaderName::new("ACS ACR122U PICC Interface 00 00")?;
/// assert_eq!(name, "ACS ACR122U PICC Interface 00 00");
/// assert!(ReaderName::new("two\0names").is_err());
/// # Ok::<(), scard::InvalidReaderName>(())
/// ```
///
/// # Names do not identify readers
///
/// A name depends on the order in which readers were plugged in. With pcsc-lite and two readers of
/// one model on a hub, `Reader 00 00` and `Reader 01 00` can be swapped after the hub is plugged in
/// again, and a lone `Reader (0123) 00 00` can come back as `Reader (0123) 01 00`. A program that
/// stores a name may therefore find another reader, or none. If the reader has a serial number,
/// store that instead: [`parts`](ReaderName::parts) returns it, and
/// [`CardFilter::serial`](crate::CardFilter::serial) and
/// [`ReaderSelector::Serial`](crate::ReaderSelector::Serial) find the reader. Readers of one model
/// without serial numbers cannot be told apart.
///
/// # Platform notes
///
/// Names are UTF-8 on every platform: pcsc-lite and macOS return UTF-8, and Windows' UTF-16 is
/// converted, whatever the code page. A name from the service always finds its reader, even if it
/// is not valid text: bytes that are not UTF-8 are kept as they are, and Windows' unpaired
/// surrogates are kept as three bytes (WTF-8). [`Display`](fmt::Display) replaces both. On Windows,
/// a name created from any other bytes finds no reader.
///
/// With the feature `serde` a name is serialized as text, or as an array of bytes if it is not
/// UTF-8; in binary formats always as bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReaderName(Arc<CStr>);

impl ReaderName {
    /// Creates a name from text.
    ///
    /// # Errors
    ///
    /// [`InvalidReaderName`] if the text contains a NUL, where PC/SC would cut the name off.
    pub fn new(name: impl AsRef<str>) -> Result<ReaderName, InvalidReaderName> {
        ReaderName::from_bytes(name.as_ref().as_bytes())
    }

    /// Creates a name from bytes: UTF-8, or on platforms other than Windows any the service uses.
    ///
    /// # Errors
    ///
    /// [`InvalidReaderName`] if one of them is NUL.
    pub fn from_bytes(name: &[u8]) -> Result<ReaderName, InvalidReaderName> {
        match CString::new(name) {
            Ok(name) => Ok(ReaderName(name.into())),
            Err(error) => Err(InvalidReaderName {
                position: error.nul_position(),
                name: String::from_utf8_lossy(name).into_owned(),
            }),
        }
    }

    /// Returns the bytes of the name, without the terminating NUL.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.to_bytes()
    }

    /// Returns the name with its terminating NUL.
    pub fn as_c_str(&self) -> &CStr {
        &self.0
    }
}

impl From<&CStr> for ReaderName {
    fn from(name: &CStr) -> ReaderName {
        ReaderName(name.into())
    }
}

impl From<&ReaderName> for ReaderName {
    fn from(name: &ReaderName) -> ReaderName {
        name.clone()
    }
}

impl TryFrom<String> for ReaderName {
    type Error = InvalidReaderName;

    fn try_from(name: String) -> Result<ReaderName, InvalidReaderName> {
        ReaderName::new(name)
    }
}

impl TryFrom<&String> for ReaderName {
    type Error = InvalidReaderName;

    fn try_from(name: &String) -> Result<ReaderName, InvalidReaderName> {
        ReaderName::new(name)
    }
}

impl FromStr for ReaderName {
    type Err = InvalidReaderName;

    fn from_str(name: &str) -> Result<ReaderName, InvalidReaderName> {
        ReaderName::new(name)
    }
}

impl TryFrom<&str> for ReaderName {
    type Error = InvalidReaderName;

    fn try_from(name: &str) -> Result<ReaderName, InvalidReaderName> {
        ReaderName::new(name)
    }
}

impl PartialEq<str> for ReaderName {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<&str> for ReaderName {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

impl ReaderName {
    /// Returns the name for texts: it comes from a device, and must not break the line or quotes.
    pub(crate) fn escaped(&self) -> String {
        let name = String::from_utf8_lossy(self.as_bytes());
        name.escape_debug().to_string()
    }
}

impl fmt::Display for ReaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_string_lossy())
    }
}

impl fmt::Debug for ReaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(feature = "serde")]
mod stored {
    use std::fmt;

    use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
    use serde::ser::{Serialize, Serializer};

    use super::ReaderName;

    impl Serialize for ReaderName {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            match self.0.to_str() {
                Ok(text) if serializer.is_human_readable() => serializer.serialize_str(text),
                _ => serializer.serialize_bytes(self.as_bytes()),
            }
        }
    }

    struct NameVisitor;

    impl<'de> Visitor<'de> for NameVisitor {
        type Value = ReaderName;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the name of a reader, as text or bytes")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<ReaderName, E> {
            self.visit_bytes(text.as_bytes())
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<ReaderName, E> {
            ReaderName::from_bytes(bytes).map_err(E::custom)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<ReaderName, A::Error> {
            let mut bytes = Vec::new();
            while let Some(byte) = seq.next_element()? {
                bytes.push(byte);
            }
            self.visit_bytes(&bytes)
        }
    }

    impl<'de> Deserialize<'de> for ReaderName {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ReaderName, D::Error> {
            match deserializer.is_human_readable() {
                true => deserializer.deserialize_any(NameVisitor),
                false => deserializer.deserialize_bytes(NameVisitor),
            }
        }
    }
}

/// The error for a reader name that contains a NUL.
#[derive(Clone, PartialEq, Eq, Hash, thiserror::Error)]
#[error("a reader name cannot contain NUL: byte {position} of {name:?}")]
pub struct InvalidReaderName {
    position: usize,
    name: String,
}

debug_as_line!(InvalidReaderName);

impl From<Infallible> for InvalidReaderName {
    fn from(never: Infallible) -> InvalidReaderName {
        match never {}
    }
}

impl InvalidReaderName {
    /// Returns the byte offset of the first NUL.
    pub fn position(&self) -> usize {
        self.position
    }
}

/// Splits a multi-string: NUL-terminated names, ending with an empty one.
///
/// Tolerates missing terminators, and stops at the first empty name.
pub(crate) fn split_multi_string(bytes: &[u8]) -> Vec<ReaderName> {
    bytes
        .split(|&byte| byte == 0)
        .take_while(|name| !name.is_empty())
        .filter_map(|name| ReaderName::from_bytes(name).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(bytes: &[u8]) -> Vec<String> {
        split_multi_string(bytes)
            .iter()
            .map(ReaderName::to_string)
            .collect()
    }

    #[test]
    fn multi_strings_are_split_at_nul_up_to_the_empty_one() {
        assert_eq!(split(b"A 00 00\0B 00 00\0\0"), ["A 00 00", "B 00 00"]);
        assert_eq!(split(b"A\0\0ignored\0\0"), ["A"]);
    }

    #[test]
    fn malformed_multi_strings_yield_the_names_they_contain() {
        assert_eq!(split(b""), [""; 0]);
        assert_eq!(split(b"\0"), [""; 0]);
        assert_eq!(split(b"\0\0"), [""; 0]);
        assert_eq!(split(b"A"), ["A"]);
        assert_eq!(split(b"A\0B"), ["A", "B"]);
    }

    #[test]
    fn names_are_compared_with_text_and_made_of_it() {
        let name = ReaderName::new("A 00 00").unwrap();
        assert!(name == "A 00 00" && name != "A 00 01" && name != "A");
        assert!(name == *"A 00 00" && name != *"a 00 00");
        assert_eq!("A 00 00".parse(), Ok(name.clone()));
        assert_eq!(ReaderName::try_from("A 00 00".to_owned()), Ok(name.clone()));
        assert_eq!(ReaderName::from(name.as_c_str()), name);
        assert_eq!(ReaderName::from(&name), name);
    }

    #[test]
    fn bytes_outside_utf8_survive() {
        let name = ReaderName::from_bytes(b"Leser \xE4").unwrap();
        assert_eq!(name.as_bytes(), b"Leser \xE4");
        assert_eq!(name.to_string(), "Leser \u{FFFD}");
        assert_eq!(format!("{name:?}"), r#""Leser \xe4""#);
    }

    #[test]
    fn nul_is_refused_and_located() {
        let error = ReaderName::new("ab\0c").unwrap_err();
        assert_eq!(error.position(), 2);
        assert_eq!(
            error.to_string(),
            r#"a reader name cannot contain NUL: byte 2 of "ab\0c""#
        );
    }

    #[cfg(feature = "serde")]
    #[test]
    fn names_are_stored_as_text_or_bytes() {
        use serde_json::json;

        for (name, stored) in [
            (&b"R 00"[..], json!("R 00")),
            (b"R \xE4", json!([0x52, 0x20, 0xE4])),
        ] {
            let name = ReaderName::from_bytes(name).unwrap();
            assert_eq!(json!(name), stored);
            assert_eq!(serde_json::from_value::<ReaderName>(stored).unwrap(), name);
        }
        for refused in [json!("a\0b"), json!([0x52, 0]), json!([256]), json!(1)] {
            assert!(serde_json::from_value::<ReaderName>(refused).is_err());
        }
        let error = serde_json::from_value::<ReaderName>(json!(1)).unwrap_err();
        let text = "expected the name of a reader, as text or bytes";
        assert!(error.to_string().contains(text), "{error}");
    }

    #[test]
    fn padding_and_order_are_those_of_text() {
        let (a, b) = (ReaderName::new("A").unwrap(), ReaderName::new("B").unwrap());
        assert!(a < b);
        assert_eq!(format!("{a:>3}"), "  A");
        assert_eq!("A".parse::<ReaderName>().unwrap(), a);
    }
}
