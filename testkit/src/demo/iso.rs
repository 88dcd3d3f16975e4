//! The ISO 7816-4 demonstration card.

use super::{Pin, answer, challenge, ok, status};
use crate::card::{Applet, Reply};

/// A small ISO 7816-4 card, for demonstrations and first tests:
/// [`VirtualCard::iso`](crate::VirtualCard::iso).
///
/// | Command | Answer |
/// |---|---|
/// | SELECT by AID `00 A4 04 00 Lc AID [Le]` | 9000 and the FCI `6F len 84 len AID` for every AID of 5 to 16 bytes; 6A82 for [`UNKNOWN_AID`](Self::UNKNOWN_AID); 6700 for other lengths; 6A86 for other P1-P2 |
/// | GET CHALLENGE `00 84 00 00 Le` | Le bytes counting up from 01 (Le 00: 256; extended up to 65,536), so that tests can expect them |
/// | VERIFY `00 20 00 01 04 31 32 33 34` | 9000 for the PIN [`1234`](Self::PIN), 63Cx with the tries left (initially three) for another, 6983 if none are left; without data: 9000 if verified, otherwise 63Cx |
/// | READ BINARY `00 B0 off off Le` | up to Le bytes of [`FILE`](Self::FILE); 6985 without a selected application, 6982 without the PIN, 6B00 past the end |
/// | any other instruction | 6D00 |
/// | any other class | 6E00 |
///
/// A reset, cold or warm, clears the selection and the verification, but not the
/// tries left, as on a real card.
#[derive(Debug)]
pub struct IsoCard {
    selected: Option<Vec<u8>>,
    pin: Pin,
}

impl IsoCard {
    /// The one AID that the card does not know.
    pub const UNKNOWN_AID: &[u8] = &[0xF0, 0x00, 0x00, 0x00, 0x00];

    /// The PIN.
    pub const PIN: &[u8] = b"1234";

    /// The content of the file.
    pub const FILE: &[u8] = b"scard-testkit demonstration card";

    /// Creates a card with nothing selected and three tries left.
    pub fn new() -> Self {
        Self {
            selected: None,
            pin: Pin::new(Self::PIN),
        }
    }

    fn select(&mut self, p1_p2: [u8; 2], data: &[u8]) -> Reply {
        if p1_p2 != [0x04, 0x00] {
            return status(0x6A86);
        }
        if !(5..=16).contains(&data.len()) {
            return status(0x6700);
        }
        if data == Self::UNKNOWN_AID {
            return status(0x6A82);
        }
        self.selected = Some(data.to_vec());
        self.pin.verified = false;
        let mut fci = vec![0x6F, data.len() as u8 + 2, 0x84, data.len() as u8];
        fci.extend_from_slice(data);
        ok(fci)
    }

    fn verify(&mut self, p1_p2: [u8; 2], pin: &[u8]) -> Reply {
        match p1_p2 {
            [0x00, 0x01] => self.pin.verify(pin),
            _ => status(0x6A86),
        }
    }

    fn read_binary(&self, p1_p2: [u8; 2], le: Option<usize>) -> Reply {
        let Some(le) = le else { return status(0x6700) };
        if self.selected.is_none() {
            return status(0x6985);
        }
        if !self.pin.verified {
            return status(0x6982);
        }
        let offset = usize::from(u16::from_be_bytes(p1_p2));
        let Some(rest) = Self::FILE.get(offset..) else {
            return status(0x6B00);
        };
        ok(rest[..rest.len().min(le)].to_vec())
    }
}

impl Default for IsoCard {
    fn default() -> Self {
        Self::new()
    }
}

impl Applet for IsoCard {
    fn process(&mut self, command: &[u8]) -> Reply {
        answer(command, |instruction, p1_p2, data, le| match instruction {
            0xA4 => self.select(p1_p2, data),
            0x84 if p1_p2 != [0, 0] => status(0x6A86),
            0x84 => challenge(le),
            0x20 => self.verify(p1_p2, data),
            0xB0 => self.read_binary(p1_p2, le),
            _ => status(0x6D00),
        })
    }

    fn power_on(&mut self) {
        self.reset();
    }

    fn power_off(&mut self) {
        self.reset();
    }

    fn reset(&mut self) {
        self.selected = None;
        self.pin.verified = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(card: &mut IsoCard, command: &str) -> String {
        let bytes: Vec<u8> = (0..command.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&command[i..i + 2], 16).unwrap())
            .collect();
        match card.process(&bytes) {
            Reply::Answer(answer) => answer.iter().map(|b| format!("{b:02X}")).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn commands_and_answers() {
        let card = &mut IsoCard::new();
        for (command, answer) in [
            ("00", "6700"),
            ("80A4040005A000000001", "6E00"),
            ("00CA0000", "6D00"),
            ("00C00000", "6D00"),
            ("00A4000005A000000001", "6A86"),
            ("00A4040004A0000000", "6700"),
            ("00A4040006A000000001", "6700"),
            ("00A4040005F000000000", "6A82"),
            ("00B0000000", "6985"),
            ("00A4040005A000000001", "6F078405A0000000019000"),
            ("00A4040005A00000000100", "6F078405A0000000019000"),
            ("00B0000000", "6982"),
            ("0084000003", "0102039000"),
            ("00840000", "6700"),
            ("0084010003", "6A86"),
            ("00200001", "63C3"),
            ("002000020431323334", "6A86"),
            ("002000010430303030", "63C2"),
            ("002000010431323334", "9000"),
            ("00200001", "9000"),
            ("00B0000005", "73636172649000"),
            ("00B0001F00", "649000"),
            ("00B0002000", "9000"),
            ("00B0002100", "6B00"),
            ("00B00000", "6700"),
            ("002000010430303030", "63C2"),
            ("00B0000005", "6982"),
            ("002000010430303030", "63C1"),
            ("002000010430303030", "63C0"),
            ("002000010431323334", "6983"),
            ("00200001", "6983"),
        ] {
            assert_eq!(run(card, command), answer, "{command}");
        }
        assert_eq!(run(card, "0084000000").len(), 2 * 258);
    }

    #[test]
    fn a_reset_clears_selection_and_verification_but_not_the_tries() {
        let clear: [fn(&mut IsoCard); 3] = [Applet::reset, Applet::power_on, Applet::power_off];
        for reset in clear {
            let card = &mut IsoCard::new();
            run(card, "00A4040005A000000001");
            run(card, "002000010430303030");
            reset(card);
            assert_eq!(run(card, "00B0000001"), "6985");
            assert_eq!(run(card, "00200001"), "63C2");
            run(card, "002000010431323334");
            reset(card);
            assert_eq!(run(card, "00200001"), "63C3");
        }
    }
}
