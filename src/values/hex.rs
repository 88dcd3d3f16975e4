//! Bytes as hexadecimal text.

use std::fmt;

use crate::codes::debug_as_line;

/// The error for text that is not hexadecimal bytes.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidHex {
    /// A character that is neither a hex digit nor a separator between bytes.
    #[error("{found:?} at position {position} is not a hex digit")]
    Digit {
        /// The character.
        found: char,
        /// Its byte offset in the text.
        position: usize,
    },
    /// A byte with one digit instead of two.
    #[error("the byte at position {position} has only one digit")]
    HalfByte {
        /// The byte offset of the digit in the text.
        position: usize,
    },
}

debug_as_line!(InvalidHex);

/// Reads two digits for each byte. White space and colons between bytes are skipped.
pub(crate) fn parse(text: &str) -> Result<Vec<u8>, InvalidHex> {
    let mut bytes = Vec::new();
    parse_into(text, &mut bytes)?;
    Ok(bytes)
}

/// The same, appending to a vector, including the bytes before an error. The vector grows once, at
/// the start, so that if it was empty, no reallocation leaves a secret behind.
pub(crate) fn parse_into(text: &str, bytes: &mut Vec<u8>) -> Result<(), InvalidHex> {
    bytes.reserve(text.len() / 2);
    let mut half: Option<(usize, u8)> = None;
    for (position, found) in text.char_indices() {
        let digit = found.to_digit(16).and_then(|it| u8::try_from(it).ok());
        let is_separator = found.is_ascii_whitespace() || found == ':';
        half = match (half, digit) {
            (None, Some(digit)) => Some((position, digit)),
            (Some((_, high)), Some(low)) => {
                bytes.push(high << 4 | low);
                None
            }
            (None, None) if is_separator => None,
            (Some((position, _)), None) if is_separator => {
                return Err(InvalidHex::HalfByte { position });
            }
            (_, None) => return Err(InvalidHex::Digit { found, position }),
        };
    }
    match half {
        Some((position, _)) => Err(InvalidHex::HalfByte { position }),
        None => Ok(()),
    }
}

/// Writes `00 A4 04 00`.
pub(crate) fn write(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    for (i, byte) in bytes.iter().enumerate() {
        let gap = if i == 0 { "" } else { " " };
        write!(f, "{gap}{byte:02X}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_may_be_separated() {
        let bytes = vec![0x00, 0xA4, 0x0F];
        for text in [
            "00A40F",
            "00a40f",
            "00 A4 0F",
            "00:A4:0f",
            " 00\tA40F\n",
            "00A4 0F",
        ] {
            assert_eq!(parse(text), Ok(bytes.clone()), "{text:?}");
        }
        assert_eq!(parse(""), Ok(vec![]));
        assert_eq!(parse(" "), Ok(vec![]));
    }

    #[test]
    fn errors_name_the_position() {
        let digit = |found, position| Err(InvalidHex::Digit { found, position });
        let half = |position| Err(InvalidHex::HalfByte { position });
        assert_eq!(parse("0x00"), digit('x', 1));
        assert_eq!(parse("00 é0"), digit('é', 3));
        assert_eq!(parse("00-A4"), digit('-', 2));
        assert_eq!(parse("00 A"), half(3));
        assert_eq!(parse("0 0A4"), half(0));
        assert_eq!(parse("00:A:40"), half(3));
        // Digits of other scripts are refused.
        assert_eq!(parse("\u{661}1"), digit('\u{661}', 0));
        assert_eq!(
            parse("0x00").unwrap_err().to_string(),
            "'x' at position 1 is not a hex digit"
        );
        assert_eq!(
            parse("00 A").unwrap_err().to_string(),
            "the byte at position 3 has only one digit"
        );
    }
}
