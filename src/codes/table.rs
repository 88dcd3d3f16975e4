//! The macro that turns a table of codes into a type, and the lookups common to all tables.

use super::Severity;
use crate::codes::Platform;

/// One row of a code table: what a number means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Row {
    pub(crate) value: u32,
    /// The name in the C headers.
    pub(crate) name: &'static str,
    /// The name of the constant, without the family's prefix.
    pub(crate) short: &'static str,
    /// Other names with the same meaning.
    pub(crate) aliases: &'static [&'static str],
    /// The platforms on which the name has this number; empty for all platforms that have the name.
    pub(crate) platforms: &'static [Platform],
    pub(crate) description: &'static str,
}

impl Row {
    /// Whether the name means this row, ignoring case.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.short.eq_ignore_ascii_case(name) || self.is_named(name)
    }

    /// Whether the C headers use this name for the row, ignoring case.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
            || self
                .aliases
                .iter()
                .any(|own| own.eq_ignore_ascii_case(name))
    }

    pub(crate) fn is_on(&self, platform: Platform) -> bool {
        self.platforms.is_empty() || self.platforms.contains(&platform)
    }

    /// The severity in the name: the letter after the prefix, in families that have one. All
    /// `NTE_…` are errors, and zero is success in every family.
    pub(crate) fn severity(&self) -> Option<Severity> {
        if self.value == 0 {
            // Includes SEC_E_OK, whose letter says otherwise.
            return Some(Severity::Success);
        }
        if self.name.starts_with("NTE_") {
            return Some(Severity::Error);
        }
        let lettered = ["SCARD_", "SEC_", "CRYPT_", "CERT_"]
            .iter()
            .find_map(|prefix| self.name.strip_prefix(prefix))?;
        match lettered.bytes().next()? {
            b'S' => Some(Severity::Success),
            b'I' => Some(Severity::Information),
            b'P' => Some(Severity::Progress),
            b'W' => Some(Severity::Warning),
            b'E' => Some(Severity::Error),
            b'F' => Some(Severity::Fatal),
            _ => None,
        }
    }
}

/// All rows of a family.
#[derive(Debug)]
pub(crate) struct Table {
    /// One row for each constant; all numbers differ.
    pub(crate) constants: &'static [Row],
    /// Further meanings of numbers that also have a constant.
    pub(crate) others: &'static [Row],
}

impl Table {
    pub(crate) fn rows(&self) -> impl Iterator<Item = &'static Row> + use<> {
        self.constants.iter().chain(self.others)
    }

    /// The row of the number on this platform.
    pub(crate) fn row_on(&self, value: u32, platform: Platform) -> Option<&'static Row> {
        let mut rows = self.rows().filter(|row| row.value == value);
        preferred(&mut rows, platform)
    }

    /// The meaning of the number on this platform, or else on any other.
    pub(crate) fn meaning_on(&self, value: u32, platform: Platform) -> Option<&'static Row> {
        self.row_on(value, platform)
            .or_else(|| self.rows().find(|row| row.value == value))
    }

    /// The row with this name on this platform, or else on any other.
    pub(crate) fn named_on(&self, name: &str, platform: Platform) -> Option<&'static Row> {
        let mut rows = self.rows().filter(|row| row.is_called(name));
        preferred(&mut rows, platform).or_else(|| self.rows().find(|row| row.is_called(name)))
    }

    /// Whether the number has the name on any platform.
    pub(crate) fn agrees(&self, value: u32, name: &str) -> bool {
        self.rows()
            .any(|row| row.value == value && row.is_called(name))
    }
}

/// The row specific to this platform, or else the first one for all platforms.
fn preferred(
    rows: &mut dyn Iterator<Item = &'static Row>,
    platform: Platform,
) -> Option<&'static Row> {
    let mut general = None;
    for row in rows.filter(|row| row.is_on(platform)) {
        if !row.platforms.is_empty() {
            return Some(row);
        }
        general = general.or(Some(row));
    }
    general
}

/// The C name of a row: the given one, or else the name of the constant.
macro_rules! c_name {
    ($konst:ident) => {
        stringify!($konst)
    };
    ($konst:ident $name:literal) => {
        $name
    };
}

/// The description of a code without a row.
macro_rules! unnamed {
    ($value:expr) => {
        "unknown code"
    };
    ($value:expr, $unnamed:path) => {
        $unnamed($value, $crate::codes::Platform::CURRENT)
    };
}

/// Defines a newtype over `u32` from a table of rows
///
/// ```text
/// CONSTANT = number as "C_NAME" also "OTHER_NAME" on Platform, "description";
/// ```
///
/// with one associated constant for each row. Every other number is a valid value of the type, too.
/// Omit `as` where the constant has the C name itself, because rustdoc rejects an alias equal to
/// the item's name. Rows after `=> others` are further meanings of numbers that already have a
/// constant.
macro_rules! code_table {
    (
        $(#[$type_meta:meta])*
        pub struct $Type:ident $(unnamed by $unnamed:path)?;
        $(
            $(#[$row_meta:meta])*
            $konst:ident = $value:literal $(as $name:literal)? $(also $alias:literal)*
                $(on $($platform:ident)|+)?, $description:literal;
        )+
        $(=> others
            $( $ovalue:literal as $oname:literal short $oshort:literal
                $(on $($oplatform:ident)|+)?, $odescription:literal; )+
        )?
    ) => {
        $(#[$type_meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $Type(u32);

        impl $Type {
            $(
                #[doc = concat!(
                    "`", c_name!($konst $($name)?), "`, ", stringify!($value), ": ",
                    $description, "."
                )]
                $(#[$row_meta])*
                $(#[doc(alias = $name)])?
                $(#[doc(alias = $alias)])*
                pub const $konst: $Type = $Type($value);
            )+

            pub(crate) const TABLE: $crate::codes::table::Table = $crate::codes::table::Table {
                constants: &[
                    $( $crate::codes::table::Row {
                        value: $value,
                        name: c_name!($konst $($name)?),
                        short: stringify!($konst),
                        aliases: &[$($alias),*],
                        platforms: &[$($($crate::codes::Platform::$platform),+)?],
                        description: $description,
                    }, )+
                ],
                others: &[$($(
                    $crate::codes::table::Row {
                        value: $ovalue,
                        name: $oname,
                        short: $oshort,
                        aliases: &[],
                        platforms: &[$($($crate::codes::Platform::$oplatform),+)?],
                        description: $odescription,
                    },
                )+)?],
            };

            /// Creates a code from its number, known or not.
            pub const fn from_raw(raw: u32) -> $Type {
                $Type(raw)
            }

            /// Returns the number.
            pub const fn raw(self) -> u32 {
                self.0
            }

            /// Returns every code this library knows, in the order of its table.
            pub fn known() -> impl Iterator<Item = $Type> {
                Self::TABLE.constants.iter().map(|row| $Type(row.value))
            }

            /// Returns the code with this C name or constant name, ignoring case.
            ///
            /// Other notations, such as numbers, are read by [`str::parse`].
            pub fn from_name(name: &str) -> Option<$Type> {
                let row = Self::TABLE.named_on(name, $crate::codes::Platform::CURRENT)?;
                Some($Type(row.value))
            }

            /// Returns the C name on this platform, or else on one that has the code.
            ///
            /// `None` for an unknown code.
            pub fn name(self) -> Option<&'static str> {
                let row = Self::TABLE.meaning_on(self.0, $crate::codes::Platform::CURRENT)?;
                Some(row.name)
            }

            /// Returns the description: a clause, not capitalized and without a full stop.
            ///
            /// The description of an error can follow "failed:".
            pub fn description(self) -> &'static str {
                match Self::TABLE.meaning_on(self.0, $crate::codes::Platform::CURRENT) {
                    Some(row) => row.description,
                    None => $crate::codes::table::unnamed!(self.0 $(, $unnamed)?),
                }
            }

            /// Returns the severity encoded in the code's name.
            ///
            /// `None` for unknown codes and for names without a severity.
            pub fn severity(self) -> Option<$crate::codes::Severity> {
                Self::TABLE
                    .meaning_on(self.0, $crate::codes::Platform::CURRENT)?
                    .severity()
            }

            /// `NAME, 0xNUMBER`, or the number alone.
            pub(crate) fn identity(self) -> $crate::codes::text::Identity {
                $crate::codes::text::Identity { name: self.name(), number: self.0 }
            }
        }

        impl std::fmt::Display for $Type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{} ({})", self.description(), self.identity())
            }
        }

        impl std::fmt::Debug for $Type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($Type), "({})"), self.identity())
            }
        }

        /// Parses names, the output of `Display` and `Debug`, and numbers: decimal, including
        /// negative `i32`, or hexadecimal with or without `0x`.
        impl std::str::FromStr for $Type {
            type Err = $crate::codes::ParseCodeError;

            fn from_str(text: &str) -> Result<$Type, $crate::codes::ParseCodeError> {
                $crate::codes::text::parse(&Self::TABLE, text).map($Type)
            }
        }

        $crate::codes::stored_as_text!($Type, "a code", |code| code.identity());

        impl From<u32> for $Type {
            fn from(raw: u32) -> $Type {
                $Type(raw)
            }
        }

        impl From<$Type> for u32 {
            fn from(code: $Type) -> u32 {
                code.0
            }
        }

        impl std::fmt::LowerHex for $Type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::LowerHex::fmt(&self.0, f)
            }
        }

        impl std::fmt::UpperHex for $Type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::UpperHex::fmt(&self.0, f)
            }
        }
    };
}

pub(crate) use {c_name, code_table, unnamed};
