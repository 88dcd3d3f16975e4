//! The OpenPGP demonstration card.

use super::{Pin, Rest, answer, challenge, ok, status, tlv};
use crate::card::{Applet, Reply};

/// A mock of an OpenPGP card, version 3.4, without any cryptography:
/// [`VirtualCard::openpgp`](crate::VirtualCard::openpgp). `gpg --card-status` shows it.
///
/// | Command | Answer |
/// |---|---|
/// | SELECT `00 A4 04 00 06 D2 76 00 01 24 01` | 9000; 6A82 for other AIDs |
/// | GET DATA `00 CA` | 4F, 5E, 5F50, 5F52, 65, 6E, 7A, 93, C4; 6A88 for others |
/// | VERIFY `00 20 00 81`, `82`, `83` | 9000 for [`USER_PIN`](Self::USER_PIN) (81, 82) and [`ADMIN_PIN`](Self::ADMIN_PIN) (83), 63Cx with the tries left for another |
/// | GET CHALLENGE `00 84 00 00 Le` | Le bytes counting up from 01 |
/// | PSO: COMPUTE DIGITAL SIGNATURE `00 2A 9E 9A` | 64 bytes, the repeated input, which are not a signature; 6982 unless 81 is verified. Increments the counter in 93; 81 is verified for one signature only |
/// | GET RESPONSE `00 C0` | the rest of a long answer |
/// | any other instruction | 6D00 |
///
/// Commands may have short and extended lengths. A reset, cold or warm, clears the
/// verification, but not the tries left and the counter.
#[derive(Debug)]
pub struct OpenPgpCard {
    selected: bool,
    user: Pin,
    admin: Pin,
    /// Verified for signatures; for the other uses of the user's PIN, see `user.verified`.
    signing: bool,
    signatures: u32,
    rest: Rest,
}

impl OpenPgpCard {
    /// Its answer to reset: T=1, extended lengths, command chaining.
    pub const ATR: &[u8] = &[
        0x3B, 0xDA, 0x18, 0xFF, 0x81, 0xB1, 0xFE, 0x75, 0x1F, 0x03, 0x00, 0x31, 0xF5, 0x73, 0xC0,
        0x01, 0x60, 0x00, 0x90, 0x00, 0x1C,
    ];
    /// The AID, with version 3.4, a manufacturer for tests and a serial number.
    pub const AID: &[u8] = &[
        0xD2, 0x76, 0x00, 0x01, 0x24, 0x01, 0x03, 0x04, 0xFF, 0xFE, 0x00, 0x00, 0x00, 0x01, 0x00,
        0x00,
    ];
    /// The user's PIN.
    pub const USER_PIN: &[u8] = b"123456";
    /// The administrator's PIN.
    pub const ADMIN_PIN: &[u8] = b"12345678";

    /// Creates a card that is not selected, with three tries left and no signatures.
    pub fn new() -> Self {
        Self {
            selected: false,
            user: Pin::new(Self::USER_PIN),
            admin: Pin::new(Self::ADMIN_PIN),
            signing: false,
            signatures: 0,
            rest: Rest::default(),
        }
    }

    fn data(&self, tag: u16) -> Option<Vec<u8>> {
        // Extended lengths, and both ways of chaining.
        const HISTORICAL: &[u8] = &[0x00, 0x31, 0xF5, 0x73, 0xC0, 0x01, 0x60, 0x05, 0x90, 0x00];
        // RSA with 2048 bits, exponents of 32 bits.
        const ALGORITHM: &[u8] = &[0x01, 0x08, 0x00, 0x00, 0x20, 0x00];
        let tries = [0, 127, 127, 127, self.user.tries, 0, self.admin.tries];
        let counter = &self.signatures.to_be_bytes()[1..];
        Some(match tag {
            0x004F => Self::AID.to_vec(),
            0x005E => b"scard".to_vec(),
            0x5F50 => Vec::new(),
            0x5F52 => HISTORICAL.to_vec(),
            0x0065 => [
                tlv(0x5B, b"Card<<Demonstration"),
                tlv(0x5F2D, b"en"),
                tlv(0x5F35, b"9"),
            ]
            .concat(),
            0x006E => {
                // GET CHALLENGE, changes of PW1, fixed algorithms: 255 bytes, 2048 of a
                // certificate, 255 of others.
                let capabilities = [0x50, 0x00, 0x00, 0xFF, 0x08, 0x00, 0x00, 0xFF, 0x00, 0x00];
                let discretionary = [
                    tlv(0xC0, &capabilities),
                    tlv(0xC1, ALGORITHM),
                    tlv(0xC2, ALGORITHM),
                    tlv(0xC3, ALGORITHM),
                    tlv(0xC4, &tries),
                    tlv(0xC5, &[0; 60]),
                    tlv(0xC6, &[0; 60]),
                    tlv(0xCD, &[0; 12]),
                ];
                let sizes = [0x02, 0x02, 0x08, 0x00, 0x02, 0x02, 0x08, 0x00];
                [
                    tlv(0x4F, Self::AID),
                    tlv(0x5F52, HISTORICAL),
                    tlv(0x7F66, &sizes),
                    tlv(0x73, &discretionary.concat()),
                ]
                .concat()
            }
            0x007A => tlv(0x93, counter),
            0x0093 => counter.to_vec(),
            0x00C4 => tries.to_vec(),
            _ => return None,
        })
    }

    fn verify(&mut self, reference: [u8; 2], pin: &[u8]) -> Reply {
        match reference {
            [0x00, 0x81] => {
                // Verified for one signature only.
                let others = std::mem::replace(&mut self.user.verified, self.signing);
                let reply = self.user.verify(pin);
                self.signing = self.user.verified;
                self.user.verified = others;
                reply
            }
            [0x00, 0x82] => self.user.verify(pin),
            [0x00, 0x83] => self.admin.verify(pin),
            _ => status(0x6A88),
        }
    }

    fn sign(&mut self, data: &[u8]) -> Reply {
        if !std::mem::take(&mut self.signing) {
            return status(0x6982);
        }
        if data.is_empty() {
            return status(0x6700);
        }
        self.signatures += 1;
        ok(data.iter().copied().cycle().take(64).collect())
    }
}

impl Default for OpenPgpCard {
    fn default() -> Self {
        Self::new()
    }
}

impl Applet for OpenPgpCard {
    fn process(&mut self, command: &[u8]) -> Reply {
        answer(command, |instruction, p1_p2, data, le| {
            match (instruction, p1_p2) {
                (0xA4, [0x04, _]) => {
                    if data.len() < 6 || !Self::AID.starts_with(data) {
                        return status(0x6A82);
                    }
                    self.reset();
                    self.selected = true;
                    status(0x9000)
                }
                (0xC0, _) => self.rest.more(le),
                _ if !self.selected => status(0x6985),
                (0xCA, tag) => match self.data(u16::from_be_bytes(tag)) {
                    Some(data) => self.rest.answer(data, le),
                    None => status(0x6A88),
                },
                (0x20, reference) => self.verify(reference, data),
                (0x84, _) => challenge(le),
                (0x2A, [0x9E, 0x9A]) => self.sign(data),
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
        self.signing = false;
        self.user.verified = false;
        self.admin.verified = false;
        self.rest = Rest::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SELECT: &[u8] = &[0, 0xA4, 4, 0, 6, 0xD2, 0x76, 0x00, 0x01, 0x24, 0x01];
    const COUNTER: &[u8] = &[0, 0xCA, 0, 0x93, 0];
    const SIGN: &[u8] = &[0, 0x2A, 0x9E, 0x9A, 1, 7, 0];
    const FOR_SIGNATURES: &[u8] = b"\x00\x20\x00\x81\x06123456";

    #[test]
    fn a_verification_is_for_one_signature_which_counts() {
        let card = &mut OpenPgpCard::new();
        assert_eq!(card.process(COUNTER), status(0x6985));
        assert_eq!(card.process(SELECT), status(0x9000));
        assert_eq!(card.process(SIGN), status(0x6982));
        assert_eq!(card.process(b"\x00\x20\x00\x81\x06123457"), status(0x63C2));
        assert_eq!(card.process(FOR_SIGNATURES), status(0x9000));
        assert_eq!(card.process(SIGN), ok(vec![7; 64]));
        assert_eq!(card.process(SIGN), status(0x6982));
        assert_eq!(card.process(COUNTER), ok(vec![0, 0, 1]));
        assert_eq!(card.process(FOR_SIGNATURES), status(0x9000));
        card.reset();
        card.process(SELECT);
        assert_eq!(card.process(SIGN), status(0x6982));
    }

    #[test]
    fn long_objects_come_in_parts_where_the_command_is_short() {
        let card = &mut OpenPgpCard::new();
        card.process(SELECT);
        let Reply::Answer(part) = card.process(&[0, 0xCA, 0, 0x6E, 0]) else {
            panic!("no answer");
        };
        let Reply::Answer(whole) = card.process(&[0, 0xCA, 0, 0x6E, 0, 0, 0]) else {
            panic!("no answer");
        };
        assert_eq!(whole.len(), part.len() + usize::from(part[part.len() - 1]));
        assert_eq!(whole[whole.len() - 2..], [0x90, 0x00]);
        assert_eq!(card.process(&[0, 0xCA, 0x7F, 0x21, 0]), status(0x6A88));
    }
}
