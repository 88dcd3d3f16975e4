//! The one macro that turns a table of codes into a type.

/// One row of a code table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) value: u32,
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
}

/// The row of the first code with this value.
pub(crate) fn row_of(table: &'static [Row], value: u32) -> Option<&'static Row> {
    table.iter().find(|row| row.value == value)
}

/// Defines a newtype over `u32` with one associated constant, one name and one
/// description for each row. Every other value is an ordinary value of the type, too.
macro_rules! code_table {
    (
        $(#[$type_meta:meta])*
        pub struct $Type:ident;
        $( $(#[$row_meta:meta])* $konst:ident = $value:literal, $name:literal, $description:literal; )+
    ) => {
        $(#[$type_meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $Type(u32);

        impl $Type {
            $(
                #[doc = concat!("`", $name, "`, ", stringify!($value), ": ", $description, ".")]
                $(#[$row_meta])*
                #[doc(alias = $name)]
                pub const $konst: $Type = $Type($value);
            )+

            pub(crate) const TABLE: &'static [$crate::codes::table::Row] = &[
                $( $crate::codes::table::Row {
                    value: $value,
                    name: $name,
                    description: $description,
                }, )+
            ];

            /// The code with this number, known or not.
            pub const fn from_raw(raw: u32) -> $Type {
                $Type(raw)
            }

            /// The number.
            pub const fn raw(self) -> u32 {
                self.0
            }

            /// Every code this library knows, in the order of its table.
            pub fn known() -> impl Iterator<Item = $Type> {
                Self::TABLE.iter().map(|row| $Type(row.value))
            }
        }

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

pub(crate) use code_table;
