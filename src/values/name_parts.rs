//! The parts of a reader's name.

use std::borrow::Cow;

use super::ReaderName;

/// The parts of a [`ReaderName`], from [`ReaderName::parts`].
///
/// | | Name | Parts |
/// |---|---|---|
/// | pcsc-lite | `ACS ACR1252 [PICC Interface] (0123) 01 00` | model, interface, serial number, index, slot |
/// | Windows | `ACS ACR1252 0` | model, index |
///
/// Anything that cannot be attributed stays in the model, so nothing is lost. The format of names
/// is not guaranteed: the service builds them from what the reader and its driver report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReaderNameParts<'a> {
    model: &'a [u8],
    interface: Option<&'a [u8]>,
    serial: Option<&'a [u8]>,
    index: Option<u8>,
    slot: Option<u8>,
}

impl ReaderNameParts<'_> {
    /// Returns the model, as named by the driver: `ACS ACR1252`.
    pub fn model(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.model)
    }

    /// Returns the USB interface of a reader that has several: the part in brackets.
    pub fn interface(&self) -> Option<Cow<'_, str>> {
        self.interface.map(String::from_utf8_lossy)
    }

    /// Returns the serial number of the reader: the part in parentheses.
    ///
    /// Not every reader has one, and names on Windows never contain it; use
    /// [`Context::find_reader`](crate::Context::find_reader), which asks the reader itself.
    pub fn serial(&self) -> Option<Cow<'_, str>> {
        self.serial.map(String::from_utf8_lossy)
    }

    /// Returns the number that distinguishes readers of one driver or model.
    ///
    /// pcsc-lite numbers the readers of one driver, Windows those of one model. The number depends
    /// on the order in which they were plugged in.
    pub fn index(&self) -> Option<u8> {
        self.index
    }

    /// Returns the slot of the reader, from 0 (pcsc-lite).
    pub fn slot(&self) -> Option<u8> {
        self.slot
    }
}

impl ReaderName {
    /// Splits the name into its parts.
    ///
    /// ```
    /// use scard::ReaderName;
    ///
    /// let name = ReaderName::new("Yubico YubiKey OTP+FIDO+CCID (0001234) 01 00")?;
    /// let parts = name.parts();
    /// assert_eq!(parts.model(), "Yubico YubiKey OTP+FIDO+CCID");
    /// assert_eq!(parts.serial().as_deref(), Some("0001234"));
    /// assert_eq!((parts.index(), parts.slot()), (Some(1), Some(0)));
    /// # Ok::<(), scard::InvalidReaderName>(())
    /// ```
    pub fn parts(&self) -> ReaderNameParts<'_> {
        let name = self.as_bytes();
        let mut parts = ReaderNameParts {
            model: name,
            interface: None,
            serial: None,
            index: None,
            slot: None,
        };
        if let Some((rest, index, slot)) = split_numbers(name) {
            (parts.index, parts.slot) = (Some(index), Some(slot));
            (parts.model, parts.serial) = split_enclosed(rest, b'(', b')');
            (parts.model, parts.interface) = split_enclosed(parts.model, b'[', b']');
        } else if let Some((model, index)) = split_number(name) {
            (parts.model, parts.index) = (model, Some(index));
        }
        parts
    }
}

/// The part before ` 0A 01`, and these two numbers.
fn split_numbers(name: &[u8]) -> Option<(&[u8], u8, u8)> {
    let (rest, end) = name.split_at_checked(name.len().checked_sub(6)?)?;
    let &[b' ', a, b, b' ', c, d] = end else {
        return None;
    };
    let number = |high, low| Some(hex(high)? << 4 | hex(low)?);
    let (index, slot) = (number(a, b)?, number(c, d)?);
    (!rest.is_empty()).then_some((rest, index, slot))
}

/// The value of a hex digit as pcsc-lite writes it.
fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// The part before ` 7`, and this number: up to two digits, because more belong to the model.
fn split_number(name: &[u8]) -> Option<(&[u8], u8)> {
    let space = name.iter().rposition(|&byte| byte == b' ')?;
    let (model, digits) = (name.get(..space)?, name.get(space + 1..)?);
    let digit = |digit: u8| digit.is_ascii_digit().then(|| digit - b'0');
    let number = match *digits {
        [one] => digit(one)?,
        [ten, one] if ten != b'0' => digit(ten)? * 10 + digit(one)?,
        _ => return None,
    };
    (!model.is_empty()).then_some((model, number))
}

/// The parts before and inside the last parentheses, if the name ends with them.
fn split_enclosed(name: &[u8], open: u8, close: u8) -> (&[u8], Option<&[u8]>) {
    let split = || {
        let enclosed = name.strip_suffix(&[close])?;
        let begin = enclosed.windows(2).rposition(|two| *two == [b' ', open])?;
        let (rest, inner) = (enclosed.get(..begin)?, enclosed.get(begin + 2..)?);
        (!rest.is_empty() && !inner.is_empty()).then_some((rest, inner))
    };
    match split() {
        Some((rest, inner)) => (rest, Some(inner)),
        None => (name, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Parts<'a> = (
        &'a str,
        Option<&'a str>,
        Option<&'a str>,
        Option<u8>,
        Option<u8>,
    );

    #[test]
    fn names_have_parts() {
        let cases: &[(&str, Parts<'_>)] = &[
            (
                "ACS ACR1252 [PICC Interface] (0123) 0A 1F",
                (
                    "ACS ACR1252",
                    Some("PICC Interface"),
                    Some("0123"),
                    Some(10),
                    Some(31),
                ),
            ),
            (
                "Yubico YubiKey (0001234) 01 00",
                ("Yubico YubiKey", None, Some("0001234"), Some(1), Some(0)),
            ),
            (
                "Alcor Micro AU9540 00 00",
                ("Alcor Micro AU9540", None, None, Some(0), Some(0)),
            ),
            ("A [B] 00 01", ("A", Some("B"), None, Some(0), Some(1))),
            ("ACS ACR1252 0", ("ACS ACR1252", None, None, Some(0), None)),
            ("A 12", ("A", None, None, Some(12), None)),
            // Part of the model.
            ("SCR 3310", ("SCR 3310", None, None, None, None)),
            ("A 07", ("A 07", None, None, None, None)),
            ("Reader (1)", ("Reader (1)", None, None, None, None)),
            ("A 0a 00", ("A 0a 00", None, None, None, None)),
            (" 00 00", (" 00 00", None, None, None, None)),
            ("A () 00 00", ("A ()", None, None, Some(0), Some(0))),
            ("(1) 00 00", ("(1)", None, None, Some(0), Some(0))),
            (
                "A (1) (2) 00 00",
                ("A (1)", None, Some("2"), Some(0), Some(0)),
            ),
            ("", ("", None, None, None, None)),
        ];
        for (text, expected) in cases {
            let name = ReaderName::new(text).unwrap();
            let parts = name.parts();
            let (interface, serial) = (parts.interface(), parts.serial());
            let found: Parts<'_> = (
                &parts.model(),
                interface.as_deref(),
                serial.as_deref(),
                parts.index(),
                parts.slot(),
            );
            assert_eq!(found, *expected, "{text:?}");
        }
    }

    /// The name that has these parts.
    fn joined(parts: &ReaderNameParts<'_>) -> Vec<u8> {
        let mut name = parts.model.to_vec();
        if let Some(interface) = parts.interface {
            name.extend([b" [", interface, b"]"].concat());
        }
        if let Some(serial) = parts.serial {
            name.extend([b" (", serial, b")"].concat());
        }
        name.extend(match (parts.index, parts.slot) {
            (Some(index), Some(slot)) => format!(" {index:02X} {slot:02X}").into_bytes(),
            (Some(index), None) => format!(" {index}").into_bytes(),
            (None, _) => Vec::new(),
        });
        name
    }

    /// For every name of up to five of these bytes, also followed by a valid ending.
    #[test]
    fn nothing_of_a_name_is_lost() {
        let alphabet = *b"A0 ([])\xE4";
        for end in ["", " 00 0F", ") 01 00", "] (1) 00 00", " 7"] {
            let limit = if end.is_empty() { 5 } else { 4 };
            let mut numbers = vec![Vec::new()];
            for _ in 0..limit {
                let longer = |name: &Vec<u8>| {
                    let name = name.clone();
                    alphabet.map(move |byte| [&name[..], &[byte]].concat())
                };
                numbers = numbers.iter().flat_map(longer).collect();
                for name in &numbers {
                    let name = [name, end.as_bytes()].concat();
                    let name = ReaderName::from_bytes(&name).unwrap();
                    assert_eq!(joined(&name.parts()), name.as_bytes(), "{name:?}");
                }
            }
        }
    }

    /// Names are split into the parts that pcsc-lite and Windows composed them from.
    #[test]
    fn composed_names_are_split_again() {
        for model in ["A", "ACS ACR122U", "Leser \u{E4} 3000", "X (Y)", "Z [0] w"] {
            for interface in [None, Some("CCID"), Some("PICC Interface")] {
                for serial in [None, Some("0"), Some("5533 22"), Some("A]B")] {
                    for (index, slot) in [(0, 0), (1, 15), (255, 255)] {
                        // In the model's last word, parentheses belong to the model.
                        if model == "X (Y)" && serial.is_none() && interface.is_none() {
                            continue;
                        }
                        let parts = ReaderNameParts {
                            model: model.as_bytes(),
                            interface: interface.map(str::as_bytes),
                            serial: serial.map(str::as_bytes),
                            index: Some(index),
                            slot: Some(slot),
                        };
                        let name = ReaderName::from_bytes(&joined(&parts)).unwrap();
                        assert_eq!(name.parts(), parts, "{name:?}");
                    }
                }
            }
            for index in [0, 9, 10, 99] {
                let name = ReaderName::new(format!("{model} {index}")).unwrap();
                let parts = name.parts();
                assert_eq!(
                    (parts.model().as_ref(), parts.index()),
                    (model, Some(index))
                );
            }
        }
    }
}
