//! The card capabilities in the historical bytes (tag 7).

use std::fmt;

bitflags::bitflags! {
    /// The ways to select directories (DF).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct SelectionMethods: u8 {
        /// By the full DF name, such as an application identifier.
        const FULL_NAME = 0x80;
        /// By the first bytes of the DF name.
        const PARTIAL_NAME = 0x40;
        /// By path.
        const PATH = 0x20;
        /// By file identifier.
        const FILE_IDENTIFIER = 0x10;
        /// Implicitly.
        const IMPLICIT = 0x08;
    }
}

impl fmt::Display for SelectionMethods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (SelectionMethods::FULL_NAME, "full name"),
            (SelectionMethods::PARTIAL_NAME, "partial name"),
            (SelectionMethods::PATH, "path"),
            (SelectionMethods::FILE_IDENTIFIER, "file identifier"),
            (SelectionMethods::IMPLICIT, "implicit"),
        ];
        list(f, names.map(|(flag, name)| (self.contains(flag), name)))
    }
}

bitflags::bitflags! {
    /// The ways to refer to files (EF) and records.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct FileReferences: u8 {
        /// By short EF identifier.
        const SHORT_IDENTIFIER = 0x04;
        /// By record number.
        const RECORD_NUMBER = 0x02;
        /// By record identifier.
        const RECORD_IDENTIFIER = 0x01;
    }
}

impl fmt::Display for FileReferences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (FileReferences::SHORT_IDENTIFIER, "short identifier"),
            (FileReferences::RECORD_NUMBER, "record number"),
            (FileReferences::RECORD_IDENTIFIER, "record identifier"),
        ];
        list(f, names.map(|(flag, name)| (self.contains(flag), name)))
    }
}

/// Prints the names of those present, or `none`.
fn list<const N: usize>(f: &mut fmt::Formatter<'_>, names: [(bool, &str); N]) -> fmt::Result {
    let there = names.into_iter().filter(|(is_there, _)| *is_there);
    let there: Vec<&str> = there.map(|(_, name)| name).collect();
    match there.as_slice() {
        [] => f.write_str("none"),
        there => f.write_str(&there.join(", ")),
    }
}

/// The capabilities declared by a card: one to three bytes ("software function tables").
///
/// # Examples
///
/// ```
/// // OpenPGP card 3.
/// let text = "3B DA 18 FF 81 B1 FE 75 1F 03 00 31 F5 73 C0 01 60 00 90 00 1C";
/// let atr: scard::Atr = text.parse()?;
/// let capabilities = atr.parse().capabilities().expect("it has them");
/// assert!(capabilities.extended_length());
/// assert!(!capabilities.command_chaining());
/// # Ok::<(), scard::ParseAtrError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CardCapabilities {
    first: u8,
    second: Option<u8>,
    third: Option<u8>,
}

impl CardCapabilities {
    /// `None` unless there are one, two or three bytes.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<CardCapabilities> {
        let (first, second, third) = match *bytes {
            [first] => (first, None, None),
            [first, second] => (first, Some(second), None),
            [first, second, third] => (first, Some(second), Some(third)),
            _ => return None,
        };
        Some(CardCapabilities {
            first,
            second,
            third,
        })
    }

    /// Returns the ways to select directories.
    pub fn selection_methods(&self) -> SelectionMethods {
        SelectionMethods::from_bits_truncate(self.first)
    }

    /// Returns the ways to refer to files and records.
    pub fn file_references(&self) -> FileReferences {
        FileReferences::from_bits_truncate(self.first)
    }

    /// Returns the data coding byte, if present.
    pub fn data_coding(&self) -> Option<DataCoding> {
        self.second.map(DataCoding)
    }

    /// Returns whether the card supports command chaining.
    ///
    /// Also `false` if unknown, because there are only one or two bytes.
    pub fn command_chaining(&self) -> bool {
        self.third.is_some_and(|byte| byte & 0x80 != 0)
    }

    /// Returns whether the card supports extended length fields Lc and Le.
    ///
    /// Also `false` if unknown, because there are only one or two bytes.
    pub fn extended_length(&self) -> bool {
        self.third.is_some_and(|byte| byte & 0x40 != 0)
    }

    /// Returns whether the file EF.ATR/INFO contains the maximum lengths of commands and responses.
    pub fn extended_length_in_file(&self) -> bool {
        self.third.is_some_and(|byte| byte & 0x20 != 0)
    }

    /// Returns the logical channels, if declared.
    pub fn logical_channels(&self) -> Option<LogicalChannels> {
        self.third.map(LogicalChannels)
    }
}

/// The data coding byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DataCoding(u8);

impl DataCoding {
    /// Returns the byte.
    pub const fn raw(self) -> u8 {
        self.0
    }

    /// Returns whether there are files (EF) with a TLV structure.
    pub const fn has_tlv_files(self) -> bool {
        self.0 & 0x80 != 0
    }

    /// What the WRITE commands do.
    pub const fn write_behavior(self) -> WriteBehavior {
        match self.0 >> 5 & 3 {
            0 => WriteBehavior::Once,
            1 => WriteBehavior::Proprietary,
            2 => WriteBehavior::Or,
            _ => WriteBehavior::And,
        }
    }

    /// Returns whether FF can be the first byte of a BER-TLV tag. Otherwise it is padding.
    pub const fn is_ff_a_tag(self) -> bool {
        self.0 & 0x10 != 0
    }

    /// Returns the size of a data unit in quartets (half bytes): a power of 2 up to 32,768.
    pub const fn unit_quartets(self) -> u16 {
        1 << (self.0 & 0x0F)
    }
}

impl fmt::Display for DataCoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.write_behavior())?;
        match self.unit_quartets() {
            1 => f.write_str(", data unit of half a byte")?,
            2 => f.write_str(", data unit of a byte")?,
            quartets => write!(f, ", data unit of {} bytes", quartets / 2)?,
        }
        if self.has_tlv_files() {
            f.write_str(", files with TLV structure")?;
        }
        if self.is_ff_a_tag() {
            f.write_str(", tags may begin with FF")?;
        }
        Ok(())
    }
}

/// Returns what the WRITE commands do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WriteBehavior {
    /// They write only what has not been written yet.
    Once,
    /// Proprietary behaviour.
    Proprietary,
    /// They set bits: logical or.
    Or,
    /// They clear bits: logical and.
    And,
}

impl fmt::Display for WriteBehavior {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WriteBehavior::Once => "one-time write",
            WriteBehavior::Proprietary => "proprietary write",
            WriteBehavior::Or => "write or",
            WriteBehavior::And => "write and",
        })
    }
}

/// The logical channels of a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogicalChannels(u8);

impl LogicalChannels {
    /// Returns the maximum number of channels, including the basic channel: 1 to 8.
    ///
    /// 8 means eight or more.
    pub const fn maximum(self) -> u8 {
        (self.0 & 0x07) + 1
    }

    /// Returns whether the card assigns the number of a new channel.
    pub const fn assigned_by_card(self) -> bool {
        self.0 & 0x10 != 0
    }

    /// Returns whether the program assigns the number of a new channel.
    pub const fn assigned_by_program(self) -> bool {
        self.0 & 0x08 != 0
    }

    /// Returns whether there are channels besides the basic one.
    pub const fn are_supported(self) -> bool {
        self.0 & 0x18 != 0
    }
}

impl fmt::Display for LogicalChannels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.maximum(), self.are_supported()) {
            (_, false) => return f.write_str("no logical channels"),
            (8, _) => f.write_str("8 or more logical channels")?,
            (1, _) => f.write_str("1 logical channel")?,
            (maximum, _) => write!(f, "{maximum} logical channels")?,
        }
        f.write_str(
            match (self.assigned_by_card(), self.assigned_by_program()) {
                (true, true) => ", assigned by card or program",
                (true, false) => ", assigned by the card",
                _ => ", assigned by the program",
            },
        )
    }
}
