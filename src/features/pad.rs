//! The properties of PIN pad and display, in the form that predates the reader properties.

use super::entry::EntryValidation;

/// The properties of a PIN pad: `PIN_PROPERTIES_STRUCTURE`, the answer to
/// [`FEATURE_IFD_PIN_PROPERTIES`](super::Feature::IFD_PIN_PROPERTIES).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[doc(alias = "PIN_PROPERTIES_STRUCTURE")]
pub struct PinPadProperties {
    display: Option<DisplayProperties>,
    lcd_layout: u16,
    entry_validation: EntryValidation,
    has_second_timeout: bool,
}

impl PinPadProperties {
    /// Parses an answer; `None` if it has fewer than four bytes.
    ///
    /// Eight bytes are the structure of Part 10 before 2.02.06, which older Windows drivers return:
    /// it contains the size of the display in the middle. In any other answer, bytes after the
    /// fourth are ignored.
    pub fn from_bytes(bytes: &[u8]) -> Option<PinPadProperties> {
        let (display, &[low, high, validation, timeout2]) = match bytes {
            [low, high, size @ .., validation, timeout2] if bytes.len() == 8 => (
                DisplayProperties::from_bytes(size),
                &[*low, *high, *validation, *timeout2],
            ),
            _ => (None, bytes.first_chunk()?),
        };
        Some(PinPadProperties {
            display,
            lcd_layout: u16::from_le_bytes([low, high]),
            entry_validation: EntryValidation::from_bits_retain(validation),
            has_second_timeout: timeout2 != 0,
        })
    }

    /// Returns `wLcdLayout`, the layout of the display; 0 if there is none. The high byte is the
    /// number of lines, the low byte the number of characters in a line.
    pub fn lcd_layout(self) -> u16 {
        self.lcd_layout
    }

    /// Returns `wLcdMaxCharacters` and `wLcdMaxLines`, the size of the display, if the answer
    /// contains it. Newer drivers have a [separate feature](super::Feature::IFD_DISPLAY_PROPERTIES)
    /// for this.
    pub fn display(self) -> Option<DisplayProperties> {
        self.display
    }

    /// Returns `bEntryValidationCondition`, the conditions that can end a PIN entry.
    pub fn entry_validation(self) -> EntryValidation {
        self.entry_validation
    }

    /// Returns `bTimeOut2`, whether the time after the first key is separate.
    pub fn has_second_timeout(self) -> bool {
        self.has_second_timeout
    }
}

/// The size of a reader's display: `DISPLAY_PROPERTIES_STRUCTURE`, the answer to
/// [`FEATURE_IFD_DISPLAY_PROPERTIES`](super::Feature::IFD_DISPLAY_PROPERTIES).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[doc(alias = "DISPLAY_PROPERTIES_STRUCTURE")]
pub struct DisplayProperties {
    max_characters: u16,
    max_lines: u16,
}

impl DisplayProperties {
    /// Parses an answer; `None` if it has fewer than four bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<DisplayProperties> {
        let &[a, b, c, d] = bytes.first_chunk()?;
        Some(DisplayProperties {
            max_characters: u16::from_le_bytes([a, b]),
            max_lines: u16::from_le_bytes([c, d]),
        })
    }

    /// Returns `wLcdMaxCharacters`, the number of characters in a line.
    pub fn max_characters(self) -> u16 {
        self.max_characters
    }

    /// Returns `wLcdMaxLines`, the number of lines.
    pub fn max_lines(self) -> u16 {
        self.max_lines
    }
}
