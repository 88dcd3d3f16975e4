//! The bytes of an answer to reset (ATR).

use std::fmt;
use std::str::FromStr;

use super::hex::{self, InvalidHex};
use crate::codes::{debug_as_line, stored_as_text};

/// An answer to reset (ISO 7816-3): the up to 33 bytes a card sends after a reset.
///
/// [`Display`](fmt::Display) prints them as hex, and [`str::parse`] reads that back, with or
/// without spaces or colons between bytes:
///
/// ```
/// use scard::Atr;
///
/// let atr = Atr::new(b"\x3B\x80\x80\x01\x01")?;
/// assert_eq!(atr.to_string(), "3B 80 80 01 01");
/// assert_eq!("3B:80:80:01:01".parse(), Ok(atr));
/// assert!(Atr::new(&[0x3B; 34]).is_err());
/// # Ok::<(), scard::InvalidAtr>(())
/// ```
///
/// With the feature `serde` it is serialized as this text, too. The [default](Default) is empty: no
/// card.
///
/// # Platform notes
///
/// An ATR from the service has every byte that the service returned. On Windows that can be up to
/// 36; [`Atr::parse`] then reports [`AtrProblem::TooLong`](crate::AtrProblem::TooLong).
#[derive(Clone, Copy)]
pub struct Atr {
    bytes: [u8; Atr::CAPACITY],
    len: u8,
}

impl Atr {
    /// The maximum length of an ATR, in bytes.
    pub const MAX_LEN: usize = 33;

    /// More than any service has room for.
    pub(crate) const CAPACITY: usize = 39;

    /// Creates an ATR from its bytes.
    ///
    /// # Errors
    ///
    /// [`InvalidAtr`] if there are more than [`Atr::MAX_LEN`].
    pub fn new(bytes: &[u8]) -> Result<Atr, InvalidAtr> {
        let too_long = InvalidAtr { len: bytes.len() };
        match Atr::received(bytes) {
            Some(atr) if atr.len() <= Atr::MAX_LEN => Ok(atr),
            _ => Err(too_long),
        }
    }

    /// The bytes that the service or the driver returned, even if too many for an ATR. `None` if
    /// they exceed the capacity.
    pub(crate) fn received(bytes: &[u8]) -> Option<Atr> {
        let mut atr = Atr::default();
        atr.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        atr.len = u8::try_from(bytes.len()).ok()?;
        Some(atr)
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len()).unwrap_or_default()
    }

    /// Returns the number of bytes.
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Returns whether there are no bytes: no card, or one that does not answer.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// The error of [`Atr::new`]: more bytes than an ATR can have.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an ATR has at most {max} bytes, not {len}", max = Atr::MAX_LEN)]
pub struct InvalidAtr {
    len: usize,
}

debug_as_line!(InvalidAtr);

impl InvalidAtr {
    /// Returns the number of bytes passed.
    pub fn byte_count(&self) -> usize {
        self.len
    }

    /// Returns the maximum, [`Atr::MAX_LEN`].
    pub fn max_len(&self) -> usize {
        Atr::MAX_LEN
    }
}

/// The error for text that is not an ATR.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseAtrError {
    /// The text is not hexadecimal.
    #[error(transparent)]
    Hex(#[from] InvalidHex),
    /// There are too many bytes.
    #[error(transparent)]
    Length(#[from] InvalidAtr),
}

debug_as_line!(ParseAtrError);

impl Default for Atr {
    fn default() -> Atr {
        Atr {
            bytes: [0; Atr::CAPACITY],
            len: 0,
        }
    }
}

impl AsRef<[u8]> for Atr {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartialEq for Atr {
    fn eq(&self, other: &Atr) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Atr {}

impl PartialOrd for Atr {
    fn partial_cmp(&self, other: &Atr) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Atr {
    fn cmp(&self, other: &Atr) -> std::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl TryFrom<&[u8]> for Atr {
    type Error = InvalidAtr;

    /// See [`Atr::new`].
    fn try_from(bytes: &[u8]) -> Result<Atr, InvalidAtr> {
        Atr::new(bytes)
    }
}

/// Parses hex, with or without spaces or colons between bytes.
impl FromStr for Atr {
    type Err = ParseAtrError;

    fn from_str(text: &str) -> Result<Atr, ParseAtrError> {
        Ok(Atr::new(&hex::parse(text)?)?)
    }
}

impl<const N: usize> PartialEq<[u8; N]> for Atr {
    fn eq(&self, other: &[u8; N]) -> bool {
        self.as_bytes() == other
    }
}

impl PartialEq<[u8]> for Atr {
    fn eq(&self, other: &[u8]) -> bool {
        self.as_bytes() == other
    }
}

impl std::hash::Hash for Atr {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Display for Atr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(f, self.as_bytes())
    }
}

stored_as_text!(Atr, "an ATR in hex");

impl fmt::Debug for Atr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Atr({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn atr(bytes: &[u8]) -> Atr {
        Atr::new(bytes).unwrap()
    }

    #[test]
    fn bytes_and_display() {
        let atr = atr(&[0x3B, 0x80, 0x80, 0x01, 0x01]);
        assert_eq!(atr.as_bytes(), [0x3B, 0x80, 0x80, 0x01, 0x01]);
        assert_eq!(atr.to_string(), "3B 80 80 01 01");
        assert_eq!(format!("{atr:?}"), "Atr(3B 80 80 01 01)");
        assert_eq!(AsRef::<[u8]>::as_ref(&atr), atr.as_bytes());
    }

    #[test]
    fn up_to_33_bytes_are_an_atr() {
        assert!(atr(&[]).is_empty());
        assert_eq!(atr(&[]), Atr::default());
        assert_eq!(atr(&[]).to_string(), "");
        let long = [0x5A; 40];
        assert_eq!(atr(&long[..33]).as_bytes(), &long[..33]);
        for len in [34, 40] {
            let error = Atr::try_from(&long[..len]).unwrap_err();
            assert_eq!((error.byte_count(), error.max_len()), (len, 33));
        }
        assert_eq!(
            Atr::new(&long).unwrap_err().to_string(),
            "an ATR has at most 33 bytes, not 40"
        );
    }

    #[test]
    fn received_bytes_are_not_truncated() {
        let long = [0x5A; 40];
        for len in 0..40 {
            assert_eq!(Atr::received(&long[..len]).unwrap(), long[..len]);
        }
        assert_eq!(Atr::received(&long), None);
    }

    #[test]
    fn only_the_bytes_count_for_equality() {
        assert_eq!(atr(&[1, 2]), atr(&[1, 2]));
        assert_ne!(atr(&[1, 2]), atr(&[1, 2, 0]));
        assert!(atr(&[1, 2]) < atr(&[1, 2, 0]));
    }

    #[test]
    fn text_of_any_length_is_read_back() {
        let bytes: Vec<u8> = (0x3B..).take(33).collect();
        for len in 0..=33 {
            let atr = atr(&bytes[..len]);
            assert_eq!(atr.to_string().parse(), Ok(atr));
        }
        for text in ["3b8001", "3B 80 01", "3B:80:01"] {
            assert_eq!(text.parse(), Ok(atr(&[0x3B, 0x80, 0x01])));
        }
    }

    #[test]
    fn text_that_is_not_an_atr_is_refused() {
        let error = |text: &str| text.parse::<Atr>().unwrap_err().to_string();
        assert_eq!(error("3B 8"), "the byte at position 3 has only one digit");
        assert_eq!(error("3B;80"), "';' at position 2 is not a hex digit");
        assert_eq!(
            error(&"3B".repeat(34)),
            "an ATR has at most 33 bytes, not 34"
        );
    }
}
