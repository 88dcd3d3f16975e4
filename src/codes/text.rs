//! Codes as people and logs write them, and errors as lines.

use std::fmt::{self, Write as _};

use super::table::Table;
use crate::codes::Platform;

/// Implements `Debug` as the line of `{:#}`, because `main` prints returned errors with `{:?}`.
macro_rules! debug_as_line {
    ($error:ident $(<$handle:ident>)?) => {
        impl$(<$handle>)? std::fmt::Debug for $error$(<$handle>)? {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                $crate::codes::write_line(f, &format!("{self:#}"))
            }
        }
    };
}

pub(crate) use debug_as_line;

/// Writes a text with its line breaks and other control characters escaped: the program's own words
/// may be in it.
pub(crate) fn write_line(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    text.chars()
        .try_for_each(|character| match character.is_control() {
            true => write!(f, "{}", character.escape_debug()),
            false => f.write_char(character),
        })
}

/// The error for text that is neither a name of the family nor a 32-bit number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("neither a known name nor a 32-bit number")]
#[non_exhaustive]
pub struct ParseCodeError;

debug_as_line!(ParseCodeError);

/// `NAME, 0xNUMBER`, or the number alone.
pub(crate) struct Identity {
    pub(crate) name: Option<&'static str>,
    pub(crate) number: u32,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = self.name {
            write!(f, "{name}, ")?;
        }
        write!(f, "{:#010X}", self.number)
    }
}

/// Parses a 32-bit code from decimal or hexadecimal text.
///
/// Decimal numbers may be negative, as a `LONG` or an `HRESULT` prints as an `i32`. A number is
/// hexadecimal if it begins with `0x`, contains a letter, or has exactly eight digits. A 64-bit
/// number is accepted if its upper half is the sign extension of the lower one, as in a 64-bit
/// `LONG`.
///
/// ```
/// use scard::codes::parse_number;
///
/// assert_eq!(parse_number("0x80100068"), Some(0x8010_0068));
/// assert_eq!(parse_number("80100068"), Some(0x8010_0068));
/// assert_eq!(parse_number("-2146434968"), Some(0x8010_0068));
/// assert_eq!(parse_number("2148532328"), Some(0x8010_0068));
/// assert_eq!(parse_number("31"), Some(31));
/// assert_eq!(parse_number("1F"), Some(31));
/// assert_eq!(parse_number("0xFFFFFFFF80100068"), Some(0x8010_0068));
/// assert_eq!(parse_number("0x100000000"), None);
/// ```
pub fn parse_number(text: &str) -> Option<u32> {
    let text = text.trim();
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return hexadecimal(digits);
    }
    if let Some(digits) = text
        .strip_prefix("-0x")
        .or_else(|| text.strip_prefix("-0X"))
    {
        // Python's `hex` of a negative number.
        return hexadecimal(digits)
            .filter(|number| *number <= 1 << 31)
            .map(u32::wrapping_neg);
    }
    if text.starts_with('-') {
        return text.parse::<i32>().ok().map(|number| number as u32);
    }
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit());
    if is_decimal && text.len() != 8 {
        return text.parse().ok().and_then(without_sign);
    }
    hexadecimal(text)
}

/// Accepts digits only; `from_str_radix` would also accept a sign.
fn hexadecimal(digits: &str) -> Option<u32> {
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let number = u64::from_str_radix(digits, 16).ok()?;
    without_sign(number)
}

/// The lower half, if the upper one is zero or its sign extension.
fn without_sign(number: u64) -> Option<u32> {
    let low = number as u32;
    let extended = i64::from(low as i32) as u64;
    (number == u64::from(low) || number == extended).then_some(low)
}

/// The name of a code, its number, or both, as a text mentions it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mention<'a> {
    pub(crate) name: Option<&'a str>,
    pub(crate) number: Option<u32>,
}

impl<'a> Mention<'a> {
    /// Reads the whole text, or the parentheses at its end, where the `Display` output of codes and
    /// errors has the code.
    pub(crate) fn of(text: &'a str) -> Mention<'a> {
        let text = text.trim();
        let inner = text
            .strip_suffix(')')
            .and_then(|text| text.rsplit_once('('))
            .map(|(_, inner)| inner.trim());
        let (name, number) = match inner.unwrap_or(text).rsplit_once(',') {
            Some((name, number)) => (Some(name.trim()), number.trim()),
            None => (None, inner.unwrap_or(text)),
        };
        // Inside other text, accept only what is formatted like a code.
        let alone = name.is_none() && inner.is_none();
        if alone || number.starts_with("0x") {
            if let Some(value) = parse_number(number) {
                return Mention {
                    name,
                    number: Some(value),
                };
            }
        }
        Mention {
            name: match name {
                // "NAME, something" is not a code.
                Some(_) => None,
                None => Some(number),
            },
            number: None,
        }
    }
}

/// Parses a text as a code of this table.
pub(crate) fn parse(table: &Table, text: &str) -> Result<u32, ParseCodeError> {
    let Mention { name, number } = Mention::of(text);
    let code = match (name, number) {
        (Some(name), Some(number)) => table.agrees(number, name).then_some(number),
        (Some(name), None) => table.named_on(name, Platform::CURRENT).map(|row| row.value),
        (None, number) => number,
    };
    code.ok_or(ParseCodeError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_reading() {
        assert_eq!(parse_number("0"), Some(0));
        assert_eq!(parse_number("10"), Some(10));
        assert_eq!(parse_number("0x10"), Some(16));
        assert_eq!(parse_number("00000010"), Some(16));
        assert_eq!(parse_number("a4"), Some(0xA4));
        assert_eq!(parse_number(" 0XFFFFFFFF\n"), Some(u32::MAX));
        assert_eq!(parse_number("4294967295"), Some(u32::MAX));
        assert_eq!(parse_number("-1"), Some(u32::MAX));
        assert_eq!(parse_number("-2147483648"), Some(0x8000_0000));
        assert_eq!(parse_number("-0x1"), Some(u32::MAX));
        assert_eq!(parse_number("-0X80000000"), Some(0x8000_0000));
        assert_eq!(parse_number("ffffffff80100068"), Some(0x8010_0068));
        assert_eq!(parse_number("18446744071563116648"), Some(0x8010_0068));
    }

    #[test]
    fn text_that_is_not_a_32_bit_number_is_refused() {
        for text in [
            "",
            " ",
            "-",
            "0x",
            "+5",
            "0x+5",
            "0x-5",
            "--1",
            "-0x80000001",
            "-0x",
            "-0x-1",
            "0xFFFFFFFF00000001",
            "18446744073709551616",
            "4294967296",
            "-2147483649",
            "0x100000000",
            "1FFFFFFFFF",
            "12 34",
            "W_RESET_CARD",
            "\u{661}\u{662}",
            "é",
        ] {
            assert_eq!(parse_number(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_mention_is_the_text_or_its_last_parentheses() {
        let both = Mention {
            name: Some("NAME"),
            number: Some(16),
        };
        assert_eq!(Mention::of("NAME, 0x10"), both);
        assert_eq!(Mention::of("Type(NAME, 0x00000010)"), both);
        assert_eq!(Mention::of("it (really) failed (NAME, 0x10)\n"), both);
        for odd in [
            "",
            ")",
            "()",
            "(",
            ",",
            "(,)",
            "a, b",
            "(a, b)",
            "f(1, x)",
            "X 00 (00)",
        ] {
            assert_eq!(Mention::of(odd).number, None, "{odd:?}");
        }
    }
}
