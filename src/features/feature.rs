//! The tags of features and properties.

use std::fmt;

macro_rules! tags {
    (
        $(#[$attribute:meta])*
        $type:ident {
            $( $konst:ident = $value:literal, $name:literal, $text:literal; )+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(u8);

        impl $type {
            $(
                #[doc = concat!("`", $name, "`: ", $text, ".")]
                #[doc(alias = $name)]
                pub const $konst: $type = $type($value);
            )+

            /// Returns the value with this tag.
            pub const fn from_raw(raw: u8) -> $type {
                $type(raw)
            }

            /// Returns the tag.
            pub const fn raw(self) -> u8 {
                self.0
            }

            /// Returns the name in Part 10; `None` for a tag without a constant here.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $( $value => Some($name), )+
                    _ => None,
                }
            }
        }

        /// Prints the name in Part 10, or else the tag, as `0x42`.
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.name() {
                    Some(name) => f.pad(name),
                    None => f.pad(&format!("{:#04X}", self.0)),
                }
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.name() {
                    Some(name) => write!(f, concat!(stringify!($type), "({}, {:#04X})"), name, self.0),
                    None => write!(f, concat!(stringify!($type), "({:#04X})"), self.0),
                }
            }
        }
    };
}

tags! {
    /// A feature of a reader: `FEATURE_…` of PC/SC Part 10.
    ///
    /// Tags without a constant here are ordinary values.
    Feature {
        VERIFY_PIN_START = 0x01, "FEATURE_VERIFY_PIN_START", "begins a PIN entry for verification";
        VERIFY_PIN_FINISH = 0x02, "FEATURE_VERIFY_PIN_FINISH", "ends it and returns the card's answer";
        MODIFY_PIN_START = 0x03, "FEATURE_MODIFY_PIN_START", "begins a PIN entry for a change";
        MODIFY_PIN_FINISH = 0x04, "FEATURE_MODIFY_PIN_FINISH", "ends it and returns the card's answer";
        GET_KEY_PRESSED = 0x05, "FEATURE_GET_KEY_PRESSED", "returns the pressed key, after one of the two `START` features";
        VERIFY_PIN_DIRECT = 0x06, "FEATURE_VERIFY_PIN_DIRECT", "takes a PIN and lets the card verify it";
        MODIFY_PIN_DIRECT = 0x07, "FEATURE_MODIFY_PIN_DIRECT", "takes PINs and lets the card change its PIN";
        MCT_READER_DIRECT = 0x08, "FEATURE_MCT_READER_DIRECT", "commands of multifunctional card terminals, for the reader";
        MCT_UNIVERSAL = 0x09, "FEATURE_MCT_UNIVERSAL", "commands of multifunctional card terminals, for any part";
        IFD_PIN_PROPERTIES = 0x0A, "FEATURE_IFD_PIN_PROPERTIES", "the properties of the PIN pad";
        ABORT = 0x0B, "FEATURE_ABORT", "ends a PIN entry";
        SET_SPE_MESSAGE = 0x0C, "FEATURE_SET_SPE_MESSAGE", "sets a message of the PIN pad";
        VERIFY_PIN_DIRECT_APP_ID = 0x0D, "FEATURE_VERIFY_PIN_DIRECT_APP_ID", "like the feature without `APP_ID`, with the name of the application";
        MODIFY_PIN_DIRECT_APP_ID = 0x0E, "FEATURE_MODIFY_PIN_DIRECT_APP_ID", "like the feature without `APP_ID`, with the name of the application";
        WRITE_DISPLAY = 0x0F, "FEATURE_WRITE_DISPLAY", "writes on the reader's display";
        GET_KEY = 0x10, "FEATURE_GET_KEY", "waits for a key press at the reader";
        IFD_DISPLAY_PROPERTIES = 0x11, "FEATURE_IFD_DISPLAY_PROPERTIES", "the size of the reader's display";
        GET_TLV_PROPERTIES = 0x12, "FEATURE_GET_TLV_PROPERTIES", "the properties of the reader";
        CCID_ESC_COMMAND = 0x13, "FEATURE_CCID_ESC_COMMAND", "commands of the reader's vendor";
        EXECUTE_PACE = 0x20, "FEATURE_EXECUTE_PACE", "establishes a PACE channel with the PIN pad";
    }
}

tags! {
    /// A property of a reader: a tag in the answer to
    /// [`FEATURE_GET_TLV_PROPERTIES`](Feature::GET_TLV_PROPERTIES).
    ///
    /// Tags without a constant here are ordinary values.
    Property {
        LCD_LAYOUT = 0x01, "wLcdLayout", "the layout of the display";
        ENTRY_VALIDATION = 0x02, "bEntryValidationCondition", "the conditions that can end a PIN entry";
        TIMEOUT2 = 0x03, "bTimeOut2", "whether the time after the first key is separate";
        LCD_MAX_CHARACTERS = 0x04, "wLcdMaxCharacters", "the characters in a line of the display";
        LCD_MAX_LINES = 0x05, "wLcdMaxLines", "the lines of the display";
        MIN_PIN_SIZE = 0x06, "bMinPINSize", "the minimum number of digits that the pad accepts";
        MAX_PIN_SIZE = 0x07, "bMaxPINSize", "the maximum number of digits that the pad accepts";
        FIRMWARE_ID = 0x08, "sFirmwareID", "the version of the firmware, in ASCII";
        PPDU_SUPPORT = 0x09, "bPPDUSupport", "how pseudo-APDUs reach the reader";
        MAX_APDU_DATA_SIZE = 0x0A, "dwMaxAPDUDataSize", "the maximum data length of a command, in bytes";
        ID_VENDOR = 0x0B, "wIdVendor", "the USB vendor ID";
        ID_PRODUCT = 0x0C, "wIdProduct", "the USB product ID";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_displayed() {
        let direct = Feature::VERIFY_PIN_DIRECT;
        assert_eq!(direct.to_string(), "FEATURE_VERIFY_PIN_DIRECT");
        assert_eq!(format!("{direct:<27}|"), "FEATURE_VERIFY_PIN_DIRECT  |");
        assert_eq!(Feature::from_raw(0x42).to_string(), "0x42");
        assert_eq!(Property::MIN_PIN_SIZE.to_string(), "bMinPINSize");
        assert_eq!(format!("{:>6}", Property::from_raw(0xFE)), "  0xFE");
    }
}
