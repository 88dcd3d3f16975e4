//! Converts names between 16-bit units and UTF-8. An unpaired surrogate becomes the three bytes
//! that UTF-8 would have for it (WTF-8), so that every name from the service finds its reader.

use std::char::decode_utf16;

/// Replaces bytes that are not text.
const REPLACEMENT: u16 = 0xFFFD;

pub(super) fn to_bytes(units: Vec<u16>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(units.len());
    for character in decode_utf16(units) {
        match character {
            Ok(character) => bytes.extend(character.encode_utf8(&mut [0; 4]).bytes()),
            Err(alone) => {
                let [high, low] = alone.unpaired_surrogate().to_be_bytes();
                bytes.extend([0xED, 0x80 | (high & 0xF) << 2 | low >> 6, 0x80 | low & 0x3F]);
            }
        }
    }
    bytes
}

/// Bytes that are not text cannot be a name on Windows; they become one that no reader has.
pub(super) fn from_bytes(bytes: &[u8]) -> Vec<u16> {
    let mut units = Vec::with_capacity(bytes.len() + 1);
    let mut rest = bytes;
    while let Some(chunk) = rest.utf8_chunks().next() {
        units.extend(chunk.valid().encode_utf16());
        let behind = rest.get(chunk.valid().len()..).unwrap_or_default();
        rest = match behind {
            [0xED, a @ 0xA0..=0xBF, b @ 0x80..=0xBF, behind @ ..] => {
                units.push(0xD000 | u16::from(a & 0x3F) << 6 | u16::from(b & 0x3F));
                behind
            }
            _ => {
                if !chunk.invalid().is_empty() {
                    units.push(REPLACEMENT);
                }
                behind.get(chunk.invalid().len()..).unwrap_or_default()
            }
        };
    }
    units
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(text: &str) -> Vec<u16> {
        text.encode_utf16().collect()
    }

    #[test]
    fn text_is_utf_8() {
        for text in [
            "",
            "R 0",
            "Leser ä 0",
            "読取装置 0",
            "🂡 0",
            "two\0names\0\0",
        ] {
            assert_eq!(to_bytes(units(text)), text.as_bytes());
            assert_eq!(from_bytes(text.as_bytes()), units(text));
        }
    }

    #[test]
    fn every_unit_comes_back() {
        for unit in 0..=u16::MAX {
            for name in [vec![unit], vec![b'R'.into(), unit, b'0'.into()]] {
                assert_eq!(from_bytes(&to_bytes(name.clone())), name, "{unit:#06X}");
            }
        }
        // Both halves of a pair, in the wrong order and twice.
        for name in [[0xDC00, 0xD800, 0x52], [0xD800, 0xD800, 0xDC00]] {
            assert_eq!(from_bytes(&to_bytes(name.to_vec())), name);
        }
    }

    #[test]
    fn what_is_no_text_is_no_name() {
        assert_eq!(from_bytes(b"R \xE4 0"), units("R \u{FFFD} 0"));
        // Cut in the middle of a character and of a surrogate, and an invalid byte.
        for cut in [&b"R\xE8\xAA"[..], b"R\xED", b"R\xED\xA0", b"R\xFF"] {
            let name = from_bytes(cut);
            assert_eq!(name.first(), Some(&0x52));
            assert!(name.iter().skip(1).all(|unit| *unit == REPLACEMENT) && name.len() > 1);
        }
        assert_eq!(from_bytes(b"\xED\xA0\x80"), [0xD800]);
    }
}
