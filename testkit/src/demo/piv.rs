//! The PIV demonstration card.

use super::{Pin, Rest, answer, status, tlv};
use crate::card::{Applet, Reply};

/// A mock of a PIV card, without keys: [`VirtualCard::piv`](crate::VirtualCard::piv).
/// `opensc-tool --name` recognizes it.
///
/// | Command | Answer |
/// |---|---|
/// | SELECT `00 A4 04 00` and [`AID`](Self::AID), or the start of it | the application's properties; 6A82 for other AIDs |
/// | GET DATA `00 CB 3F FF` | the objects 5FC102 (CHUID), 5FC107 (capabilities), 7E (discovery), 5FC105 (a certificate of 1,500 bytes, all 30); 6A82 for others |
/// | VERIFY `00 20 00 80 08` | 9000 for [`PIN`](Self::PIN), 63Cx with the tries left for another |
/// | GET RESPONSE `00 C0` | the rest of a long answer |
/// | any other instruction | 6D00 |
///
/// Commands may have short and extended lengths. A reset, cold or warm, clears the
/// verification, but not the tries left.
#[derive(Debug)]
pub struct PivCard {
    selected: bool,
    pin: Pin,
    rest: Rest,
}

impl PivCard {
    /// The AID.
    pub const AID: &[u8] = &[
        0xA0, 0x00, 0x00, 0x03, 0x08, 0x00, 0x00, 0x10, 0x00, 0x01, 0x00,
    ];
    /// The PIN, padded to eight bytes as VERIFY requires.
    pub const PIN: &[u8] = b"123456\xFF\xFF";

    /// Creates a card that is not selected, with three tries left.
    pub fn new() -> Self {
        Self {
            selected: false,
            pin: Pin::new(Self::PIN),
            rest: Rest::default(),
        }
    }

    fn select(&mut self, aid: &[u8], le: Option<usize>) -> Reply {
        if aid.len() < 5 || !Self::AID.starts_with(aid) {
            return status(0x6A82);
        }
        self.reset();
        self.selected = true;
        let (provider, version) = Self::AID.split_at(5);
        let authority = tlv(0x79, &tlv(0x4F, provider));
        let properties = [tlv(0x4F, version), authority].concat();
        self.rest.answer(tlv(0x61, &properties), le)
    }

    /// The data object whose tag is in a tag list `5C`.
    fn object(list: &[u8]) -> Option<Vec<u8>> {
        let content = match list {
            [0x5C, 1, 0x7E] => {
                let pins = tlv(0x5F2F, &[0x40, 0x00]);
                return Some(tlv(0x7E, &[tlv(0x4F, Self::AID), pins].concat()));
            }
            [0x5C, 3, 0x5F, 0xC1, 0x02] => [
                // No agency's number, a GUID, a date of expiry, no signature.
                tlv(0x30, &[0; 25]),
                tlv(0x34, &[0x5C; 16]),
                tlv(0x35, b"20991231"),
                tlv(0x3E, &[]),
                tlv(0xFE, &[]),
            ]
            .concat(),
            [0x5C, 3, 0x5F, 0xC1, 0x07] => [
                tlv(0xF0, &[0x5C; 21]),
                tlv(0xF1, &[0x21]),
                tlv(0xF2, &[0x21]),
                tlv(0xF5, &[0x10]),
                tlv(0xFE, &[]),
            ]
            .concat(),
            [0x5C, 3, 0x5F, 0xC1, 0x05] => {
                [tlv(0x70, &[0x30; 1500]), tlv(0x71, &[0]), tlv(0xFE, &[])].concat()
            }
            _ => return None,
        };
        Some(tlv(0x53, &content))
    }
}

impl Default for PivCard {
    fn default() -> Self {
        Self::new()
    }
}

impl Applet for PivCard {
    fn process(&mut self, command: &[u8]) -> Reply {
        answer(command, |instruction, p1_p2, data, le| {
            match (instruction, p1_p2) {
                (0xA4, [0x04, _]) => self.select(data, le),
                (0xC0, _) => self.rest.more(le),
                _ if !self.selected => status(0x6985),
                (0xCB, [0x3F, 0xFF]) => match Self::object(data) {
                    Some(object) => self.rest.answer(object, le),
                    None => status(0x6A82),
                },
                (0x20, [0x00, 0x80]) => self.pin.verify(data),
                (0x20, _) => status(0x6A88),
                _ => status(0x6D00),
            }
        })
    }

    fn power_on(&mut self) {
        self.reset();
    }

    fn power_off(&mut self) {
        self.reset();
    }

    fn reset(&mut self) {
        self.selected = false;
        self.pin.verified = false;
        self.rest = Rest::default();
    }
}

#[cfg(test)]
mod tests {
    use super::super::ok;
    use super::*;

    #[test]
    fn the_card_is_selected_by_the_start_of_its_name_and_has_its_objects() {
        let card = &mut PivCard::new();
        let chuid = [
            &[0, 0xCB, 0x3F, 0xFF, 5][..],
            &[0x5C, 3, 0x5F, 0xC1, 0x02, 0],
        ]
        .concat();
        assert_eq!(card.process(&chuid), status(0x6985));
        let select = [&[0, 0xA4, 4, 0, 5][..], &PivCard::AID[..5], &[0]].concat();
        let expected = [0x61, 0x11, 0x4F, 6, 0, 0, 0x10, 0, 1, 0];
        match card.process(&select) {
            Reply::Answer(answer) => assert_eq!(answer[..10], expected),
            other => panic!("{other:?}"),
        }
        match card.process(&chuid) {
            Reply::Answer(answer) => assert_eq!(answer[..2], [0x53, 59]),
            other => panic!("{other:?}"),
        }
        let verify = [&[0, 0x20, 0, 0x80, 8][..], PivCard::PIN].concat();
        assert_eq!(card.process(&verify), ok(vec![]));
        assert_eq!(card.process(&[0, 0x20, 0, 0x80]), ok(vec![]));
    }
}
