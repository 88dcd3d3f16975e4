//! Keys of contactless storage cards.

use std::fmt;

use zeroize::Zeroizing;

/// A key of a contactless storage card, such as the six bytes of MIFARE Classic.
///
/// Its bytes are overwritten when it is dropped, and so are this library's copies of the command
/// that loads it; copies in PC/SC and the driver may not be. `Debug` does not print the bytes.
///
/// ```
/// use scard::contactless::Key;
///
/// let key = Key::new([0xFF; 6]);
/// assert_eq!(format!("{key:?}"), "Key(6 bytes)");
/// ```
#[derive(Clone)]
pub struct Key(Zeroizing<Vec<u8>>);

impl Key {
    /// Returns a key from its bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Key {
        Key(Zeroizing::new(bytes.into()))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} bytes)", self.0.len())
    }
}

/// Where the reader stores a loaded key: the key structure of LOAD KEYS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyPlace {
    /// A card key, in volatile memory.
    Volatile,
    /// A card key, in non-volatile memory. Some readers wear out from this.
    NonVolatile,
    /// The byte itself, for reader keys and for keys that are sent encrypted.
    Other(u8),
}

impl KeyPlace {
    /// Returns the byte in the command.
    pub const fn raw(self) -> u8 {
        match self {
            KeyPlace::Volatile => 0x00,
            KeyPlace::NonVolatile => 0x20,
            KeyPlace::Other(raw) => raw,
        }
    }
}

/// The kind of key to authenticate with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyKind {
    /// Key A of MIFARE Classic: 0x60.
    A,
    /// Key B of MIFARE Classic: 0x61.
    B,
    /// Any other number, such as those of PicoPass.
    Other(u8),
}

impl KeyKind {
    /// Returns the number.
    pub const fn raw(self) -> u8 {
        match self {
            KeyKind::A => 0x60,
            KeyKind::B => 0x61,
            KeyKind::Other(raw) => raw,
        }
    }
}
