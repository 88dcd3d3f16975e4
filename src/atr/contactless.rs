//! ATRs that readers compose for contactless cards (PC/SC Part 3).

use std::fmt;

use super::historical::HistoricalBytes;

/// The registered identifier of the PC/SC workgroup, under which storage cards are named.
const PCSC_RID: [u8; 5] = [0xA0, 0x00, 0x00, 0x03, 0x06];

/// An ATR that a reader composes for a card without one, according to PC/SC Part 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ContactlessAtr {
    /// A storage card, with its kind.
    Storage(StorageCard),
    /// `3B 8n 80 01`, historical bytes, TCK: the form for cards that accept commands (ISO 14443-4).
    ///
    /// For type A the historical bytes are those of the card (ATS); for type B, see [`TypeB`]. A
    /// few contact cards also have ATRs of this form.
    Iso14443_4 {
        /// The historical bytes interpreted as those of a type B card, if possible.
        type_b: Option<TypeB>,
    },
}

impl ContactlessAtr {
    pub(super) fn recognize(atr: &[u8], historical: HistoricalBytes<'_>) -> Option<ContactlessAtr> {
        if let Some(card) = StorageCard::recognize(historical) {
            return Some(ContactlessAtr::Storage(card));
        }
        match atr {
            [0x3B, 0x80..=0x8F, 0x80, 0x01, ..] => Some(ContactlessAtr::Iso14443_4 {
                type_b: TypeB::recognize(historical.as_bytes()),
            }),
            _ => None,
        }
    }
}

impl fmt::Display for ContactlessAtr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ContactlessAtr::Storage(card) => card.fmt(f),
            ContactlessAtr::Iso14443_4 { .. } => f.write_str("contactless form (ISO 14443-4)"),
        }
    }
}

/// The eight historical bytes for an ISO 14443 type B card, from its ATQB and answer to ATTRIB.
///
/// The bytes of a type A card can look the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TypeB {
    /// The application data.
    pub application_data: [u8; 4],
    /// The protocol info: bit rates, frame size, protocol type.
    pub protocol_info: [u8; 3],
    /// The maximum buffer length index, MBLI.
    pub buffer_length_index: u8,
}

impl TypeB {
    /// Accepts bytes with the protocol type of ISO 14443-4 and zeros where required.
    fn recognize(historical: &[u8]) -> Option<TypeB> {
        let &[a, b, c, d, rates, frame, options, length] = historical else {
            return None;
        };
        (length & 0x0F == 0 && frame & 0x09 == 0x01).then_some(TypeB {
            application_data: [a, b, c, d],
            protocol_info: [rates, frame, options],
            buffer_length_index: length >> 4,
        })
    }
}

/// A contactless (or ISO 7816-10) storage card: its standard and name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StorageCard {
    standard: StorageStandard,
    name: StorageName,
}

impl StorageCard {
    fn recognize(historical: HistoricalBytes<'_>) -> Option<StorageCard> {
        let aid = historical.application_identifier()?;
        match aid.strip_prefix(&PCSC_RID)? {
            [standard, high, low, ..] => Some(StorageCard {
                standard: StorageStandard(*standard),
                name: StorageName(u16::from_be_bytes([*high, *low])),
            }),
            _ => None,
        }
    }

    /// Returns the standard, the byte SS.
    pub fn standard(&self) -> StorageStandard {
        self.standard
    }

    /// Returns the name, the bytes NN.
    pub fn name(&self) -> StorageName {
        self.name
    }
}

impl fmt::Display for StorageCard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.name, self.standard)
    }
}

/// Defines a number with names, with one constant for each row.
macro_rules! named_number {
    (
        $(#[$meta:meta])*
        pub struct $Type:ident($int:ident), unnamed $unnamed:path;
        $($konst:ident = $value:literal, $name:literal;)+
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $Type($int);

        impl $Type {
            $(
                #[doc = concat!($name, ".")]
                pub const $konst: $Type = $Type($value);
            )+

            /// Creates a value from its number, named or not.
            pub const fn from_raw(raw: $int) -> $Type {
                $Type(raw)
            }

            /// Returns the number.
            pub const fn raw(self) -> $int {
                self.0
            }

            /// Returns the name of the number, if it has one.
            pub const fn text(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some($name),)+
                    _ => None,
                }
            }
        }

        impl fmt::Display for $Type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.text() {
                    Some(text) => f.pad(text),
                    None => $unnamed(*self, f),
                }
            }
        }
    };
}

named_number! {
    /// The standard of a storage card, according to the supplement to PC/SC Part 3.
    ///
    /// Any number is a valid value, named or not.
    pub struct StorageStandard(u8), unnamed unknown_standard;
    NOT_GIVEN = 0x00, "no standard given";
    ISO_14443_A_1 = 0x01, "ISO 14443 A, part 1";
    ISO_14443_A_2 = 0x02, "ISO 14443 A, part 2";
    ISO_14443_A_3 = 0x03, "ISO 14443 A, part 3";
    ISO_14443_B_1 = 0x05, "ISO 14443 B, part 1";
    ISO_14443_B_2 = 0x06, "ISO 14443 B, part 2";
    ISO_14443_B_3 = 0x07, "ISO 14443 B, part 3";
    ISO_15693_1 = 0x09, "ISO 15693, part 1";
    ISO_15693_2 = 0x0A, "ISO 15693, part 2";
    ISO_15693_3 = 0x0B, "ISO 15693, part 3";
    ISO_15693_4 = 0x0C, "ISO 15693, part 4";
    ISO_7816_10_I2C = 0x0D, "ISO 7816-10, I2C";
    ISO_7816_10_EXTENDED_I2C = 0x0E, "ISO 7816-10, extended I2C";
    ISO_7816_10_2WBP = 0x0F, "ISO 7816-10, 2WBP";
    ISO_7816_10_3WBP = 0x10, "ISO 7816-10, 3WBP";
    FELICA = 0x11, "FeliCa standard";
    LOW_FREQUENCY = 0x40, "low frequency";
}

named_number! {
    /// The name of a storage card, according to the supplement to PC/SC Part 3.
    ///
    /// Any number is a valid value, named or not.
    ///
    /// ACS readers name cards unknown to them by [their SAK](StorageName::acs_sak).
    pub struct StorageName(u16), unnamed unknown_card;
    NOT_GIVEN = 0x0000, "no name given";
    MIFARE_CLASSIC_1K = 0x0001, "MIFARE Classic 1K";
    MIFARE_CLASSIC_4K = 0x0002, "MIFARE Classic 4K";
    MIFARE_ULTRALIGHT = 0x0003, "MIFARE Ultralight";
    SLE55R = 0x0004, "SLE55R";
    SR176 = 0x0006, "SR176";
    SRI_X4K = 0x0007, "SRI X4K";
    AT88RF020 = 0x0008, "AT88RF020";
    AT88SC0204CRF = 0x0009, "AT88SC0204CRF";
    AT88SC0808CRF = 0x000A, "AT88SC0808CRF";
    AT88SC1616CRF = 0x000B, "AT88SC1616CRF";
    AT88SC3216CRF = 0x000C, "AT88SC3216CRF";
    AT88SC6416CRF = 0x000D, "AT88SC6416CRF";
    SRF55V10P = 0x000E, "SRF55V10P";
    SRF55V02P = 0x000F, "SRF55V02P";
    SRF55V10S = 0x0010, "SRF55V10S";
    SRF55V02S = 0x0011, "SRF55V02S";
    TAG_IT = 0x0012, "Tag-it";
    LRI512 = 0x0013, "LRI512";
    ICODE_SLI = 0x0014, "ICODE SLI";
    TEMPSENS = 0x0015, "TempSens";
    ICODE_1 = 0x0016, "ICODE 1";
    PICOPASS_2K = 0x0017, "PicoPass 2K";
    PICOPASS_2KS = 0x0018, "PicoPass 2KS";
    PICOPASS_16K = 0x0019, "PicoPass 16K";
    PICOPASS_16KS = 0x001A, "PicoPass 16KS";
    PICOPASS_16K_8X2 = 0x001B, "PicoPass 16K (8x2)";
    PICOPASS_16KS_8X2 = 0x001C, "PicoPass 16KS (8x2)";
    PICOPASS_32KS_16_16 = 0x001D, "PicoPass 32KS (16+16)";
    PICOPASS_32KS_16_8X2 = 0x001E, "PicoPass 32KS (16+8x2)";
    PICOPASS_32KS_8X2_16 = 0x001F, "PicoPass 32KS (8x2+16)";
    PICOPASS_32KS_8X2_8X2 = 0x0020, "PicoPass 32KS (8x2+8x2)";
    LRI64 = 0x0021, "LRI64";
    ICODE_UID = 0x0022, "ICODE UID";
    ICODE_EPC = 0x0023, "ICODE EPC";
    LRI12 = 0x0024, "LRI12";
    LRI128 = 0x0025, "LRI128";
    MIFARE_MINI = 0x0026, "MIFARE Mini";
    SLE66R01P = 0x0027, "my-d move (SLE 66R01P)";
    SLE66RXXP = 0x0028, "my-d NFC (SLE 66RxxP)";
    SLE66RXXS = 0x0029, "my-d proximity 2 (SLE 66RxxS)";
    SLE55RXXE = 0x002A, "my-d proximity enhanced (SLE 55RxxE)";
    SRF55V01P = 0x002B, "my-d light (SRF 55V01P)";
    SRF66V10ST = 0x002C, "PJM stack tag (SRF 66V10ST)";
    SRF66V10IT = 0x002D, "PJM item tag (SRF 66V10IT)";
    SRF66V01ST = 0x002E, "PJM light (SRF 66V01ST)";
    JEWEL = 0x002F, "Jewel";
    TOPAZ = 0x0030, "Topaz (NFC Forum type 1)";
    AT88SC0104CRF = 0x0031, "AT88SC0104CRF";
    AT88SC0404CRF = 0x0032, "AT88SC0404CRF";
    AT88RF01C = 0x0033, "AT88RF01C";
    AT88RF04C = 0x0034, "AT88RF04C";
    ICODE_SL2 = 0x0035, "ICODE SL2";
    MIFARE_PLUS_SL1_2K = 0x0036, "MIFARE Plus 2K, security level 1";
    MIFARE_PLUS_SL1_4K = 0x0037, "MIFARE Plus 4K, security level 1";
    MIFARE_PLUS_SL2_2K = 0x0038, "MIFARE Plus 2K, security level 2";
    MIFARE_PLUS_SL2_4K = 0x0039, "MIFARE Plus 4K, security level 2";
    MIFARE_ULTRALIGHT_C = 0x003A, "MIFARE Ultralight C";
    FELICA = 0x003B, "FeliCa";
    MLX90129 = 0x003C, "Melexis MLX90129";
    MIFARE_ULTRALIGHT_EV1 = 0x003D, "MIFARE Ultralight EV1";
    ACS_TOPAZ = 0xF004, "Topaz or Jewel (readers of ACS)";
    ACS_FELICA_212 = 0xF011, "FeliCa at 212 kbit/s (readers of ACS)";
    ACS_FELICA_424 = 0xF012, "FeliCa at 424 kbit/s (readers of ACS)";
    ACS_JCOP_30 = 0xFF28, "JCOP 30 (readers of ACS)";
}

impl StorageName {
    /// Returns the SAK of the card, which ACS readers use for ISO 14443 A cards without a name.
    ///
    /// The name is then FF and the SAK. NXP's AN10833 explains how to identify cards by it.
    ///
    /// ```
    /// use scard::atr::StorageName;
    ///
    /// let name = StorageName::from_raw(0xFF88);
    /// assert_eq!(name.acs_sak(), Some(0x88));
    /// assert_eq!(name.to_string(), "card with SAK 0x88 (readers of ACS)");
    /// ```
    pub const fn acs_sak(self) -> Option<u8> {
        match self.0 {
            0xFF00..=0xFFFF => Some(self.0 as u8),
            _ => None,
        }
    }
}

fn unknown_standard(standard: StorageStandard, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "unknown standard {:#X}", standard.0)
}

fn unknown_card(name: StorageName, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match name.acs_sak() {
        Some(sak) => write!(f, "card with SAK {sak:#04X} (readers of ACS)"),
        None => write!(f, "unknown card {:#X}", name.0),
    }
}
