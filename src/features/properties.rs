//! The properties of a reader.

use super::entry::EntryValidation;
use super::feature::Property;
use super::list::Entries;
use crate::apdu::ExchangeOptions;

bitflags::bitflags! {
    /// The ways to send pseudo-APDUs to the reader itself: `bPPDUSupport`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct PpduSupport: u8 {
        /// By `SCardControl`, with the control code of
        /// [`FEATURE_CCID_ESC_COMMAND`](super::Feature::CCID_ESC_COMMAND).
        const CONTROL = 0x01;
        /// By `SCardTransmit`.
        const TRANSMIT = 0x02;
    }
}

/// The properties of a reader, from its answer to
/// [`FEATURE_GET_TLV_PROPERTIES`](super::Feature::GET_TLV_PROPERTIES).
///
/// Returned by [`Control::reader_properties`](crate::Control::reader_properties). A property that
/// is missing, or whose value is not a number of at most four bytes, is `None`;
/// [`value`](ReaderProperties::value) returns the bytes.
///
/// ```
/// use scard::features::{Property, ReaderProperties};
///
/// let properties = ReaderProperties::from_bytes(&[0x0A, 0x04, 0x00, 0x00, 0x01, 0x00]);
/// assert_eq!(properties.max_apdu_data_size(), Some(65536));
/// assert_eq!(properties.value(Property::MAX_PIN_SIZE), None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ReaderProperties {
    entries: Vec<(Property, Vec<u8>)>,
}

impl ReaderProperties {
    /// Parses an answer: for each property a tag, a length and a little-endian value. A truncated
    /// entry at the end is ignored.
    pub fn from_bytes(bytes: &[u8]) -> ReaderProperties {
        let entries = Entries(bytes);
        ReaderProperties {
            entries: entries
                .map(|(tag, value)| (Property::from_raw(tag), value.to_vec()))
                .collect(),
        }
    }

    /// Returns the value of a property as reported by the reader; of several, the first.
    pub fn value(&self, property: Property) -> Option<&[u8]> {
        let mut found = self.entries.iter().filter(|entry| entry.0 == property);
        found.next().map(|entry| entry.1.as_slice())
    }

    /// Returns all entries as reported by the reader.
    pub fn iter(&self) -> impl Iterator<Item = (Property, &[u8])> + '_ {
        let entries = self.entries.iter();
        entries.map(|(property, value)| (*property, value.as_slice()))
    }

    /// Returns whether there are no properties.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns `dwMaxAPDUDataSize`, the maximum number of bytes of data in a command or answer with
    /// this reader and its driver. 0 means only short commands; 256 to 65,536 means extended
    /// commands with this amount of data.
    #[doc(alias = "dwMaxAPDUDataSize")]
    pub fn max_apdu_data_size(&self) -> Option<u32> {
        self.number(Property::MAX_APDU_DATA_SIZE)
    }

    /// Returns `bMinPINSize`, the minimum number of digits that the PIN pad accepts.
    #[doc(alias = "bMinPINSize")]
    pub fn min_pin_size(&self) -> Option<u8> {
        self.number(Property::MIN_PIN_SIZE)
    }

    /// Returns `bMaxPINSize`, the maximum number of digits that the PIN pad accepts.
    #[doc(alias = "bMaxPINSize")]
    pub fn max_pin_size(&self) -> Option<u8> {
        self.number(Property::MAX_PIN_SIZE)
    }

    /// Returns `bEntryValidationCondition`, the conditions that can end a PIN entry.
    #[doc(alias = "bEntryValidationCondition")]
    pub fn entry_validation(&self) -> Option<EntryValidation> {
        let bits = self.number(Property::ENTRY_VALIDATION)?;
        Some(EntryValidation::from_bits_retain(bits))
    }

    /// Returns `bTimeOut2`, whether the time after the first key is separate.
    #[doc(alias = "bTimeOut2")]
    pub fn has_second_timeout(&self) -> Option<bool> {
        Some(self.number::<u8>(Property::TIMEOUT2)? != 0)
    }

    /// Returns `wLcdLayout`, the layout of the display; 0 if there is none.
    #[doc(alias = "wLcdLayout")]
    pub fn lcd_layout(&self) -> Option<u16> {
        self.number(Property::LCD_LAYOUT)
    }

    /// Returns `wLcdMaxCharacters`, the number of characters in a line of the display.
    #[doc(alias = "wLcdMaxCharacters")]
    pub fn lcd_max_characters(&self) -> Option<u16> {
        self.number(Property::LCD_MAX_CHARACTERS)
    }

    /// Returns `wLcdMaxLines`, the number of lines of the display.
    #[doc(alias = "wLcdMaxLines")]
    pub fn lcd_max_lines(&self) -> Option<u16> {
        self.number(Property::LCD_MAX_LINES)
    }

    /// Returns `sFirmwareID`, the version of the firmware, up to the first NUL. Invalid UTF-8 is
    /// replaced.
    #[doc(alias = "sFirmwareID")]
    pub fn firmware(&self) -> Option<String> {
        let value = self.value(Property::FIRMWARE_ID)?;
        let text = value.split(|&byte| byte == 0).next()?;
        Some(String::from_utf8_lossy(text).into_owned())
    }

    /// Returns `bPPDUSupport`, the ways to send pseudo-APDUs to the reader itself.
    #[doc(alias = "bPPDUSupport")]
    pub fn ppdu_support(&self) -> Option<PpduSupport> {
        let bits = self.number(Property::PPDU_SUPPORT)?;
        Some(PpduSupport::from_bits_retain(bits))
    }

    /// Returns `wIdVendor`, the USB vendor ID.
    #[doc(alias = "wIdVendor")]
    pub fn vendor_id(&self) -> Option<u16> {
        self.number(Property::ID_VENDOR)
    }

    /// Returns `wIdProduct`, the USB product ID.
    #[doc(alias = "wIdProduct")]
    pub fn product_id(&self) -> Option<u16> {
        self.number(Property::ID_PRODUCT)
    }

    /// Returns a number. Drivers differ in the number of bytes they use.
    fn number<T: TryFrom<u32>>(&self, property: Property) -> Option<T> {
        let value = self.value(property)?;
        if value.is_empty() || value.len() > 4 {
            return None;
        }
        let number = value
            .iter()
            .rev()
            .fold(0_u32, |number, &byte| number << 8 | u32::from(byte));
        T::try_from(number).ok()
    }
}

impl ExchangeOptions {
    /// Sets [`reader_max_data`](Self::reader_max_data) to the value that the reader reports, if it
    /// does.
    ///
    /// ```no_run
    /// # fn demo(mut card: scard::Card) -> scard::Result<()> {
    /// use scard::Control;
    /// use scard::apdu::ExchangeOptions;
    ///
    /// let features = card.features()?;
    /// let properties = card.reader_properties(&features)?;
    /// let options = ExchangeOptions::new().for_reader(&properties);
    /// # Ok(())
    /// # }
    /// ```
    pub fn for_reader(self, properties: &ReaderProperties) -> ExchangeOptions {
        match properties.max_apdu_data_size() {
            Some(max) => self.reader_max_data(max),
            None => self,
        }
    }
}
