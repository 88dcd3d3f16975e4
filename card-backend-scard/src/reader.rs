//! The capabilities of a reader.

use card_backend::{CardCaps, PinType, SmartcardError};
use scard::features::{
    Feature, PinFormat, PinModification, PinVerification, ReaderFeatures, ReaderProperties,
};
use scard::{Protocol, Transmit};

use crate::error::of_call;

/// The maximum PIN length of readers that do not report theirs: that of small PIN pads.
const CAUTIOUS_MAX: u8 = 8;

#[derive(Debug, Clone, Default)]
pub(crate) struct Reader {
    features: ReaderFeatures,
    properties: ReaderProperties,
}

impl Reader {
    /// Queries the card's reader. If it does not answer, it has no features.
    pub(crate) fn of<T: Transmit>(card: &mut T) -> Reader {
        let features = card.features().unwrap_or_default();
        Reader {
            properties: card.reader_properties(&features).unwrap_or_default(),
            features,
        }
    }

    /// Limits a card's capabilities to those of this reader and protocol.
    pub(crate) fn limit(&self, caps: CardCaps, protocol: Option<Protocol>) -> CardCaps {
        let longest = self.properties.max_apdu_data_size();
        let short = longest == Some(0) || protocol == Some(Protocol::T0);
        let limit = longest.filter(|limit| *limit > 0);
        let limited = |bytes: u16| {
            limit.map_or(bytes, |limit| {
                bytes.min(u16::try_from(limit).unwrap_or(u16::MAX))
            })
        };
        CardCaps::new(
            caps.ext_support() && !short,
            caps.chaining_support(),
            limited(caps.max_cmd_bytes()),
            limited(caps.max_rsp_bytes()),
            caps.pw1_max_len(),
            caps.pw3_max_len(),
        )
    }

    pub(crate) fn has(&self, feature: Feature) -> bool {
        self.features.has(feature) && self.properties.false_pin_pad().is_none()
    }

    pub(crate) fn verify(
        &self,
        card: &mut impl Transmit,
        pin: PinType,
        caps: &Option<CardCaps>,
    ) -> Result<Vec<u8>, SmartcardError> {
        let request = PinVerification::iso(pin.id(), PinFormat::ascii());
        let request = request.digits(self.digits(pin, caps)?);
        let answer = card.verify_pin(&self.features, &request);
        answer
            .map(|a| a.as_bytes().to_vec())
            .map_err(|e| of_call(&e))
    }

    pub(crate) fn modify(
        &self,
        card: &mut impl Transmit,
        pin: PinType,
        caps: &Option<CardCaps>,
    ) -> Result<Vec<u8>, SmartcardError> {
        let request = PinModification::iso(changed(pin), PinFormat::ascii());
        let request = request.digits(self.digits(pin, caps)?);
        let answer = card.modify_pin(&self.features, &request);
        answer
            .map(|a| a.as_bytes().to_vec())
            .map_err(|e| of_call(&e))
    }

    /// The number of digits a PIN can have, according to the card and the reader.
    fn digits(
        &self,
        pin: PinType,
        caps: &Option<CardCaps>,
    ) -> Result<std::ops::RangeInclusive<u8>, SmartcardError> {
        let caps = caps.as_ref().ok_or_else(|| {
            SmartcardError::Error("the lengths of the card's PINs are not known".into())
        })?;
        let (least, most) = match pin {
            PinType::Sign | PinType::User => (6, caps.pw1_max_len()),
            PinType::Admin => (8, caps.pw3_max_len()),
        };
        let least = least.max(self.properties.min_pin_size().unwrap_or(0));
        let longest = match self.properties.max_pin_size() {
            None | Some(0) => CAUTIOUS_MAX,
            Some(longest) => longest,
        };
        Ok(least..=most.min(longest))
    }
}

/// The number of the PIN to change. The user's PIN for signatures and for other uses is the same.
fn changed(pin: PinType) -> u8 {
    match pin {
        PinType::Sign | PinType::User => PinType::Sign.id(),
        PinType::Admin => PinType::Admin.id(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(properties: &[u8]) -> Reader {
        Reader {
            features: ReaderFeatures::default(),
            properties: ReaderProperties::from_bytes(properties),
        }
    }

    fn caps() -> CardCaps {
        CardCaps::new(true, true, 2048, 4096, 127, 127)
    }

    #[test]
    fn sizes_are_those_of_the_card_the_reader_and_the_protocol() {
        // dwMaxAPDUDataSize
        let short = [0x0A, 4, 0, 0, 0, 0];
        let limited = [0x0A, 4, 0, 4, 0, 0];
        let longest = [0x0A, 4, 0, 0, 1, 0];
        for (properties, protocol, extended, command, answer) in [
            (&[][..], Protocol::T1, true, 2048, 4096),
            (&[], Protocol::T0, false, 2048, 4096),
            (&short, Protocol::T1, false, 2048, 4096),
            (&limited, Protocol::T1, true, 1024, 1024),
            (&longest, Protocol::T1, true, 2048, 4096),
        ] {
            let caps = reader(properties).limit(caps(), Some(protocol));
            assert_eq!(caps.ext_support(), extended, "{properties:?}");
            assert_eq!(caps.max_cmd_bytes(), command, "{properties:?}");
            assert_eq!(caps.max_rsp_bytes(), answer, "{properties:?}");
            assert!(caps.chaining_support());
        }
    }

    #[test]
    fn digits_are_those_that_card_and_reader_can_have() {
        // bMinPINSize, bMaxPINSize
        for (properties, pin, digits) in [
            (&[][..], PinType::Sign, 6..=8),
            (&[], PinType::Admin, 8..=8),
            (&[0x06, 1, 4, 0x07, 1, 0], PinType::User, 6..=8),
            (&[0x06, 1, 7, 0x07, 1, 12], PinType::User, 7..=12),
            (&[0x07, 1, 200], PinType::User, 6..=127),
        ] {
            let found = reader(properties).digits(pin, &Some(caps()));
            assert_eq!(found.unwrap(), digits, "{properties:?}");
        }
        assert!(reader(&[]).digits(PinType::User, &None).is_err());
    }

    #[test]
    fn the_user_has_one_pin_to_change() {
        assert_eq!(changed(PinType::User), 0x81);
        assert_eq!(changed(PinType::Admin), 0x83);
    }
}
