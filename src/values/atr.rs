//! The bytes of an answer to reset.

use std::fmt;

/// The bytes a card sends after a reset (answer to reset, ISO 7816-3), up to 33 of them.
///
/// [`Display`](fmt::Display) prints them as hex: `3B 80 80 01 01`.
#[derive(Clone, Copy)]
pub struct Atr {
    bytes: [u8; Atr::MAX_LEN],
    len: usize,
}

impl Atr {
    /// The longest an ATR can be.
    pub const MAX_LEN: usize = 33;

    /// An ATR from its bytes. Bytes past [`Atr::MAX_LEN`] are no part of an ATR and are left
    /// out.
    pub fn new(bytes: &[u8]) -> Atr {
        let mut atr = Atr {
            bytes: [0; Atr::MAX_LEN],
            len: bytes.len().min(Atr::MAX_LEN),
        };
        for (to, from) in atr.bytes.iter_mut().zip(bytes) {
            *to = *from;
        }
        atr
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none: no card, or one that does not answer.
    pub fn is_empty(&self) -> bool {
        self.len == 0
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

impl From<&[u8]> for Atr {
    /// See [`Atr::new`].
    fn from(bytes: &[u8]) -> Atr {
        Atr::new(bytes)
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
        for (i, byte) in self.as_bytes().iter().enumerate() {
            let gap = if i == 0 { "" } else { " " };
            write!(f, "{gap}{byte:02X}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Atr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Atr({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_display() {
        let atr = Atr::new(&[0x3B, 0x80, 0x80, 0x01, 0x01]);
        assert_eq!(atr.as_bytes(), [0x3B, 0x80, 0x80, 0x01, 0x01]);
        assert_eq!(atr.to_string(), "3B 80 80 01 01");
        assert_eq!(format!("{atr:?}"), "Atr(3B 80 80 01 01)");
    }

    #[test]
    fn any_length_is_taken() {
        assert!(Atr::new(&[]).is_empty());
        assert_eq!(Atr::new(&[]).to_string(), "");
        let long = [0x5A; 40];
        assert_eq!(Atr::new(&long).as_bytes(), &long[..33]);
    }

    #[test]
    fn only_the_bytes_count_for_equality() {
        assert_eq!(Atr::new(&[1, 2]), Atr::new(&[1, 2]));
        assert_ne!(Atr::new(&[1, 2]), Atr::new(&[1, 2, 0]));
    }
}
