//! The card service data in the historical bytes (tag 3).

use std::fmt;

/// The services that a card offers to programs that do not know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CardServiceData(u8);

impl CardServiceData {
    pub(super) const fn from_raw(byte: u8) -> CardServiceData {
        CardServiceData(byte)
    }

    /// Returns the byte.
    pub const fn raw(self) -> u8 {
        self.0
    }

    /// Returns whether applications can be selected by their full name.
    pub const fn selects_full_name(self) -> bool {
        self.0 & 0x80 != 0
    }

    /// Returns whether applications can be selected by the first bytes of their name.
    pub const fn selects_partial_name(self) -> bool {
        self.0 & 0x40 != 0
    }

    /// Returns whether the file EF.DIR has data objects.
    pub const fn has_dir_file(self) -> bool {
        self.0 & 0x20 != 0
    }

    /// Returns whether the file EF.ATR/INFO has data objects.
    pub const fn has_atr_file(self) -> bool {
        self.0 & 0x10 != 0
    }

    /// Returns how these two files are read.
    pub const fn file_access(self) -> FileAccess {
        match self.0 >> 1 & 7 {
            0 => FileAccess::ReadRecord,
            2 => FileAccess::GetData,
            4 => FileAccess::ReadBinary,
            other => FileAccess::Reserved(other),
        }
    }

    /// Returns whether there is a master file.
    pub const fn has_master_file(self) -> bool {
        self.0 & 0x01 == 0
    }
}

impl fmt::Display for CardServiceData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.selects_full_name(), "selection by full name, "),
            (self.selects_partial_name(), "by partial name, "),
            (self.has_dir_file(), "EF.DIR, "),
            (self.has_atr_file(), "EF.ATR, "),
        ];
        for (_, part) in parts.iter().filter(|(is_there, _)| *is_there) {
            f.write_str(part)?;
        }
        if self.has_dir_file() || self.has_atr_file() {
            write!(f, "read with {}, ", self.file_access())?;
        }
        f.write_str(if self.has_master_file() {
            "with master file"
        } else {
            "without master file"
        })
    }
}

/// How EF.DIR and EF.ATR/INFO are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileAccess {
    /// READ RECORD: the files have records.
    ReadRecord,
    /// GET DATA: the files have a TLV structure.
    GetData,
    /// READ BINARY: the files are transparent.
    ReadBinary,
    /// A reserved value of the three bits.
    Reserved(u8),
}

impl fmt::Display for FileAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileAccess::ReadRecord => f.write_str("READ RECORD"),
            FileAccess::GetData => f.write_str("GET DATA"),
            FileAccess::ReadBinary => f.write_str("READ BINARY"),
            FileAccess::Reserved(bits) => write!(f, "a reserved method ({bits})"),
        }
    }
}
