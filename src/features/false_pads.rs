//! Readers that falsely claim a PIN pad.

use super::properties::ReaderProperties;

/// A reader that claims a PIN pad but must not be used as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct FalsePinPad {
    /// The USB vendor ID.
    pub vendor_id: u16,
    /// The USB product ID.
    pub product_id: u16,
    /// The name of the reader.
    pub name: &'static str,
    /// The problem: a clause without capital and full stop.
    pub reason: &'static str,
}

impl FalsePinPad {
    /// All known readers, from the lists of pcsc-lite's CCID driver and OpenSC. That driver hides
    /// the PIN pads of these readers itself; older versions of it, and drivers on Windows and
    /// macOS, do not.
    pub const KNOWN: &'static [FalsePinPad] = &[
        known(0x03F0, 0x0036, "HP USB CCID Smartcard Keyboard", LEAKS),
        known(0x03F0, 0x1024, "HP USB Smart Card Keyboard", LEAKS),
        known(0x046A, 0x00A7, "Cherry Smart Terminal XX44", NONE),
        known(
            0x04F2,
            0x1469,
            "Chicony HP Skylab USB Smartcard Keyboard",
            LEAKS,
        ),
        known(0x076B, 0x3031, "HID OMNIKEY 1021, 3021 and 3121", NONE),
        known(0x076B, 0x3A21, "HID OMNIKEY, generic", NONE),
        known(0x076B, 0x6632, "HID OMNIKEY 6121", NONE),
        known(0x0783, 0x0006, "C3PO LTC31 v2", NONE),
        known(0x0BF8, 0x1017, "Fujitsu smart-card keyboard", LEAKS),
        known(0x0BF8, 0x1024, "Fujitsu Smartcard Reader D323", NONE),
        known(0x25DD, 0x3111, "Bit4id miniLector EVO, firmware 1.11", NONE),
    ];
}

const NONE: &str = "it has no PIN pad, as newer firmware of some models reports";
const LEAKS: &str = "the typed digits also reach the computer";

const fn known(
    vendor_id: u16,
    product_id: u16,
    name: &'static str,
    reason: &'static str,
) -> FalsePinPad {
    FalsePinPad {
        vendor_id,
        product_id,
        name,
        reason,
    }
}

impl ReaderProperties {
    /// Returns the reader's entry if it is [known](FalsePinPad::KNOWN) to claim a PIN pad that is
    /// missing or unsafe. Uses [`vendor_id`](ReaderProperties::vendor_id) and
    /// [`product_id`](ReaderProperties::product_id); a reader that does not report them is trusted.
    ///
    /// ```
    /// use scard::features::ReaderProperties;
    ///
    /// let properties = ReaderProperties::from_bytes(b"\x0B\x02\x6B\x07\x0C\x02\x31\x30");
    /// let claims = properties.false_pin_pad().expect("an OMNIKEY 3121");
    /// println!("no PIN pad: {}, {}", claims.name, claims.reason);
    /// ```
    pub fn false_pin_pad(&self) -> Option<&'static FalsePinPad> {
        let (vendor, product) = (self.vendor_id()?, self.product_id()?);
        let mut known = FalsePinPad::KNOWN.iter();
        known.find(|it| it.vendor_id == vendor && it.product_id == product)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_readers_are_found_in_it() {
        let numbers = |it: &FalsePinPad| (it.vendor_id, it.product_id);
        for pair in FalsePinPad::KNOWN.windows(2) {
            assert!(numbers(&pair[0]) < numbers(&pair[1]), "{}", pair[1].name);
        }
        for known in FalsePinPad::KNOWN {
            let [a, b] = known.vendor_id.to_le_bytes();
            let [c, d] = known.product_id.to_le_bytes();
            let properties = ReaderProperties::from_bytes(&[0x0B, 2, a, b, 0x0C, 2, c, d]);
            assert_eq!(properties.false_pin_pad(), Some(known));
            let other = ReaderProperties::from_bytes(&[0x0B, 2, a, b, 0x0C, 2, c, d ^ 0x80]);
            assert_eq!(other.false_pin_pad(), None);
            let half = ReaderProperties::from_bytes(&[0x0B, 2, a, b]);
            assert_eq!(half.false_pin_pad(), None);
        }
    }
}
