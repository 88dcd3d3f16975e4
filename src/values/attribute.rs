//! Attribute numbers.

use std::fmt;
use std::str::FromStr;

use super::words::ParseValueError;
use crate::codes::{parse_number, stored_as_text};

/// The number of an attribute of a reader or a card: `SCARD_ATTR_…`.
///
/// For numbers without a constant here, use [`Attribute::from_raw`].
///
/// [`Display`](fmt::Display) prints the C name, or else the number. [`str::parse`] reads both:
///
/// ```
/// use scard::Attribute;
///
/// assert_eq!(Attribute::VENDOR_NAME.to_string(), "SCARD_ATTR_VENDOR_NAME");
/// assert_eq!("SCARD_ATTR_VENDOR_NAME".parse(), Ok(Attribute::VENDOR_NAME));
/// assert_eq!("VENDOR_NAME".parse(), Ok(Attribute::VENDOR_NAME));
/// assert_eq!("0x7A0FF".parse(), Ok(Attribute::from_raw(0x7_A0FF)));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attribute(u32);

macro_rules! attributes {
    ($( $konst:ident = $value:literal, $name:literal, $text:literal; )+) => {
        impl Attribute {
            $(
                #[doc = concat!("`", $name, "`: ", $text, ".")]
                #[doc(alias = $name)]
                pub const $konst: Attribute = Attribute($value);
            )+

            const TABLE: &[(Attribute, &str)] = &[$( (Attribute::$konst, $name) ),+];

            /// Returns the name in the C headers; `None` for a number without a constant here.
            pub fn name(self) -> Option<&'static str> {
                match self {
                    $( Attribute::$konst => Some($name), )+
                    _ => None,
                }
            }
        }
    };
}

attributes! {
    VENDOR_NAME = 0x1_0100, "SCARD_ATTR_VENDOR_NAME", "the name of the reader's manufacturer";
    VENDOR_IFD_TYPE = 0x1_0101, "SCARD_ATTR_VENDOR_IFD_TYPE", "the manufacturer's name for the model";
    VENDOR_IFD_VERSION = 0x1_0102, "SCARD_ATTR_VENDOR_IFD_VERSION", "the version, as 0xMMmmbbbb in native byte order";
    VENDOR_IFD_SERIAL_NO = 0x1_0103, "SCARD_ATTR_VENDOR_IFD_SERIAL_NO", "the serial number";
    CHANNEL_ID = 0x2_0110, "SCARD_ATTR_CHANNEL_ID", "how the reader is attached, as 0xDDDDCCCC in native byte order";
    ASYNC_PROTOCOL_TYPES = 0x3_0120, "SCARD_ATTR_ASYNC_PROTOCOL_TYPES", "the asynchronous protocols the reader supports";
    DEFAULT_CLK = 0x3_0121, "SCARD_ATTR_DEFAULT_CLK", "the default clock, in kHz";
    MAX_CLK = 0x3_0122, "SCARD_ATTR_MAX_CLK", "the fastest clock, in kHz";
    DEFAULT_DATA_RATE = 0x3_0123, "SCARD_ATTR_DEFAULT_DATA_RATE", "the default data rate, in bit/s";
    MAX_DATA_RATE = 0x3_0124, "SCARD_ATTR_MAX_DATA_RATE", "the highest data rate, in bit/s";
    MAX_IFSD = 0x3_0125, "SCARD_ATTR_MAX_IFSD", "the largest information field the reader takes, in bytes";
    SYNC_PROTOCOL_TYPES = 0x3_0126, "SCARD_ATTR_SYNC_PROTOCOL_TYPES", "the synchronous protocols the reader supports";
    POWER_MGMT_SUPPORT = 0x4_0131, "SCARD_ATTR_POWER_MGMT_SUPPORT", "0 if the reader cannot switch the card's power";
    USER_TO_CARD_AUTH_DEVICE = 0x5_0140, "SCARD_ATTR_USER_TO_CARD_AUTH_DEVICE", "how users can authenticate themselves to the card";
    USER_AUTH_INPUT_DEVICE = 0x5_0142, "SCARD_ATTR_USER_AUTH_INPUT_DEVICE", "the devices with which users can enter a PIN or other credentials";
    CHARACTERISTICS = 0x6_0150, "SCARD_ATTR_CHARACTERISTICS", "the mechanical characteristics of the reader";
    CURRENT_PROTOCOL_TYPE = 0x8_0201, "SCARD_ATTR_CURRENT_PROTOCOL_TYPE", "the protocol that is active";
    CURRENT_CLK = 0x8_0202, "SCARD_ATTR_CURRENT_CLK", "the clock that is active, in kHz";
    CURRENT_F = 0x8_0203, "SCARD_ATTR_CURRENT_F", "the clock conversion factor";
    CURRENT_D = 0x8_0204, "SCARD_ATTR_CURRENT_D", "the bit rate conversion factor";
    CURRENT_N = 0x8_0205, "SCARD_ATTR_CURRENT_N", "the guard time";
    CURRENT_W = 0x8_0206, "SCARD_ATTR_CURRENT_W", "the work waiting time";
    CURRENT_IFSC = 0x8_0207, "SCARD_ATTR_CURRENT_IFSC", "the information field size of the card, in bytes";
    CURRENT_IFSD = 0x8_0208, "SCARD_ATTR_CURRENT_IFSD", "the information field size of the reader, in bytes";
    CURRENT_BWT = 0x8_0209, "SCARD_ATTR_CURRENT_BWT", "the block waiting time";
    CURRENT_CWT = 0x8_020A, "SCARD_ATTR_CURRENT_CWT", "the character waiting time";
    CURRENT_EBC_ENCODING = 0x8_020B, "SCARD_ATTR_CURRENT_EBC_ENCODING", "the error detection: 0 for LRC, 1 for CRC";
    EXTENDED_BWT = 0x8_020C, "SCARD_ATTR_EXTENDED_BWT", "the extended block waiting time";
    ICC_PRESENCE = 0x9_0300, "SCARD_ATTR_ICC_PRESENCE", "0 without a card, 1 with one not in position, 2 with one";
    ICC_INTERFACE_STATUS = 0x9_0301, "SCARD_ATTR_ICC_INTERFACE_STATUS", "nonzero if the card's contacts are active";
    CURRENT_IO_STATE = 0x9_0302, "SCARD_ATTR_CURRENT_IO_STATE", "the state of the I/O contact";
    ATR_STRING = 0x9_0303, "SCARD_ATTR_ATR_STRING", "the card's answer to reset";
    ICC_TYPE_PER_ATR = 0x9_0304, "SCARD_ATTR_ICC_TYPE_PER_ATR", "the type of the card";
    MAXINPUT = 0x7_A007, "SCARD_ATTR_MAXINPUT", "the longest command that the reader takes, in bytes";
    DEVICE_UNIT = 0x7FFF_0001, "SCARD_ATTR_DEVICE_UNIT", "the number of this reader among readers of the same name";
    DEVICE_IN_USE = 0x7FFF_0002, "SCARD_ATTR_DEVICE_IN_USE", "whether another program uses the reader";
    DEVICE_FRIENDLY_NAME = 0x7FFF_0003, "SCARD_ATTR_DEVICE_FRIENDLY_NAME", "the name that is shown to users";
    DEVICE_SYSTEM_NAME = 0x7FFF_0004, "SCARD_ATTR_DEVICE_SYSTEM_NAME", "the name that the system uses";
    SUPRESS_T1_IFS_REQUEST = 0x7FFF_0007, "SCARD_ATTR_SUPRESS_T1_IFS_REQUEST", "whether the driver leaves out the T=1 IFS request";
}

impl Attribute {
    /// Creates an attribute from its number.
    pub const fn from_raw(raw: u32) -> Attribute {
        Attribute(raw)
    }

    /// Returns the number.
    pub const fn raw(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => f.pad(&format!("{:#X}", self.0)),
        }
    }
}

/// Parses the C name, ignoring case, with or without `SCARD_ATTR_`, or a number as read by
/// [`parse_number`].
impl FromStr for Attribute {
    type Err = ParseValueError;

    fn from_str(text: &str) -> Result<Attribute, ParseValueError> {
        let word = text.trim();
        let is_called = |name: &str| {
            let short = name.strip_prefix("SCARD_ATTR_").unwrap_or(name);
            [name, short].iter().any(|it| it.eq_ignore_ascii_case(word))
        };
        let mut table = Attribute::TABLE.iter();
        match table.find(|(_, name)| is_called(name)) {
            Some((attribute, _)) => Ok(*attribute),
            None => parse_number(word)
                .map(Attribute)
                .ok_or_else(|| ParseValueError::new(text, "an attribute")),
        }
    }
}

stored_as_text!(Attribute, "an attribute");

impl fmt::Debug for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "Attribute({name}, {:#X})", self.0),
            None => write!(f, "Attribute({:#X})", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use pcsc::ffi;

    use super::*;

    #[test]
    #[allow(clippy::unnecessary_cast)]
    fn numbers_are_those_of_the_bindings() {
        for (ours, theirs) in [
            (Attribute::VENDOR_NAME, ffi::SCARD_ATTR_VENDOR_NAME),
            (Attribute::VENDOR_IFD_TYPE, ffi::SCARD_ATTR_VENDOR_IFD_TYPE),
            (
                Attribute::VENDOR_IFD_VERSION,
                ffi::SCARD_ATTR_VENDOR_IFD_VERSION,
            ),
            (
                Attribute::VENDOR_IFD_SERIAL_NO,
                ffi::SCARD_ATTR_VENDOR_IFD_SERIAL_NO,
            ),
            (Attribute::CHANNEL_ID, ffi::SCARD_ATTR_CHANNEL_ID),
            (
                Attribute::ASYNC_PROTOCOL_TYPES,
                ffi::SCARD_ATTR_ASYNC_PROTOCOL_TYPES,
            ),
            (Attribute::DEFAULT_CLK, ffi::SCARD_ATTR_DEFAULT_CLK),
            (Attribute::MAX_CLK, ffi::SCARD_ATTR_MAX_CLK),
            (
                Attribute::DEFAULT_DATA_RATE,
                ffi::SCARD_ATTR_DEFAULT_DATA_RATE,
            ),
            (Attribute::MAX_DATA_RATE, ffi::SCARD_ATTR_MAX_DATA_RATE),
            (Attribute::MAX_IFSD, ffi::SCARD_ATTR_MAX_IFSD),
            (
                Attribute::SYNC_PROTOCOL_TYPES,
                ffi::SCARD_ATTR_SYNC_PROTOCOL_TYPES,
            ),
            (
                Attribute::POWER_MGMT_SUPPORT,
                ffi::SCARD_ATTR_POWER_MGMT_SUPPORT,
            ),
            (
                Attribute::USER_TO_CARD_AUTH_DEVICE,
                ffi::SCARD_ATTR_USER_TO_CARD_AUTH_DEVICE,
            ),
            (
                Attribute::USER_AUTH_INPUT_DEVICE,
                ffi::SCARD_ATTR_USER_AUTH_INPUT_DEVICE,
            ),
            (Attribute::CHARACTERISTICS, ffi::SCARD_ATTR_CHARACTERISTICS),
            (
                Attribute::CURRENT_PROTOCOL_TYPE,
                ffi::SCARD_ATTR_CURRENT_PROTOCOL_TYPE,
            ),
            (Attribute::CURRENT_CLK, ffi::SCARD_ATTR_CURRENT_CLK),
            (Attribute::CURRENT_F, ffi::SCARD_ATTR_CURRENT_F),
            (Attribute::CURRENT_D, ffi::SCARD_ATTR_CURRENT_D),
            (Attribute::CURRENT_N, ffi::SCARD_ATTR_CURRENT_N),
            (Attribute::CURRENT_W, ffi::SCARD_ATTR_CURRENT_W),
            (Attribute::CURRENT_IFSC, ffi::SCARD_ATTR_CURRENT_IFSC),
            (Attribute::CURRENT_IFSD, ffi::SCARD_ATTR_CURRENT_IFSD),
            (Attribute::CURRENT_BWT, ffi::SCARD_ATTR_CURRENT_BWT),
            (Attribute::CURRENT_CWT, ffi::SCARD_ATTR_CURRENT_CWT),
            (
                Attribute::CURRENT_EBC_ENCODING,
                ffi::SCARD_ATTR_CURRENT_EBC_ENCODING,
            ),
            (Attribute::EXTENDED_BWT, ffi::SCARD_ATTR_EXTENDED_BWT),
            (Attribute::ICC_PRESENCE, ffi::SCARD_ATTR_ICC_PRESENCE),
            (
                Attribute::ICC_INTERFACE_STATUS,
                ffi::SCARD_ATTR_ICC_INTERFACE_STATUS,
            ),
            (
                Attribute::CURRENT_IO_STATE,
                ffi::SCARD_ATTR_CURRENT_IO_STATE,
            ),
            (Attribute::ATR_STRING, ffi::SCARD_ATTR_ATR_STRING),
            (
                Attribute::ICC_TYPE_PER_ATR,
                ffi::SCARD_ATTR_ICC_TYPE_PER_ATR,
            ),
            (Attribute::MAXINPUT, ffi::SCARD_ATTR_MAXINPUT),
        ] {
            assert_eq!(ours.raw(), theirs as u32, "{ours:?}");
        }
        // The bindings have 0 for the class of the system's own attributes; the headers of
        // pcsc-lite and Windows have 0x7FFF.
        for (ours, theirs) in [
            (Attribute::DEVICE_UNIT, ffi::SCARD_ATTR_DEVICE_UNIT),
            (Attribute::DEVICE_IN_USE, ffi::SCARD_ATTR_DEVICE_IN_USE),
            (
                Attribute::DEVICE_FRIENDLY_NAME,
                ffi::SCARD_ATTR_DEVICE_FRIENDLY_NAME,
            ),
            (
                Attribute::DEVICE_SYSTEM_NAME,
                ffi::SCARD_ATTR_DEVICE_SYSTEM_NAME,
            ),
            (
                Attribute::SUPRESS_T1_IFS_REQUEST,
                ffi::SCARD_ATTR_SUPRESS_T1_IFS_REQUEST,
            ),
        ] {
            assert_eq!(ours.raw(), 0x7FFF_0000 | theirs as u32, "{ours:?}");
        }
        assert_eq!(Attribute::TABLE.len(), 39, "every row is compared above");
    }

    #[test]
    fn debug_shows_known_names() {
        assert_eq!(
            format!("{:?}", Attribute::ATR_STRING),
            "Attribute(SCARD_ATTR_ATR_STRING, 0x90303)"
        );
        assert_eq!(
            format!("{:?}", Attribute::from_raw(0x7_A0FF)),
            "Attribute(0x7A0FF)"
        );
    }

    #[test]
    fn names_and_numbers_are_read_back() {
        for (attribute, name) in Attribute::TABLE {
            assert_eq!(attribute.to_string(), *name);
            assert_eq!(name.to_lowercase().parse(), Ok(*attribute));
            let short = name.strip_prefix("SCARD_ATTR_").unwrap();
            assert_eq!(short.parse(), Ok(*attribute));
            assert_eq!(format!("{:#x}", attribute.raw()).parse(), Ok(*attribute));
        }
        for raw in [0, 0x7_A0FF, u32::MAX] {
            let attribute = Attribute::from_raw(raw);
            assert_eq!(attribute.to_string().parse(), Ok(attribute));
        }
        assert_eq!(format!("{:>8}", Attribute::from_raw(0x12)), "    0x12");
        assert_eq!(
            "SCARD_ATTR_NAME"
                .parse::<Attribute>()
                .unwrap_err()
                .to_string(),
            r#""SCARD_ATTR_NAME" is not an attribute"#
        );
    }
}
