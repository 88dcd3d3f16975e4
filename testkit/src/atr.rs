//! ATRs of typical cards, by the protocols they offer.
//!
//! ```
//! use scard_testkit::{VirtualCard, atr};
//!
//! let card = VirtualCard::new(|_: &[u8]| [0x6D, 0x00]).atr(atr::T0);
//! # drop(card);
//! ```

/// A card that offers only T=1, without historical bytes. The default.
pub const T1: &[u8] = &[0x3B, 0x80, 0x01, 0x81];

/// A card that offers only T=0. It has no TCK: ISO 7816-3 forbids one if T=0 is
/// the only protocol.
pub const T0: &[u8] = &[0x3B, 0x02, 0x14, 0x50];

/// A card that offers T=0 (first) and T=1.
pub const T0_T1: &[u8] = &[0x3B, 0x80, 0x80, 0x01, 0x01];

/// A contactless card as a PC/SC Part 3 reader presents it: a storage card
/// (MIFARE Classic 1K), T=0 and T=1.
pub const CONTACTLESS: &[u8] = &[
    0x3B, 0x8F, 0x80, 0x01, 0x80, 0x4F, 0x0C, 0xA0, 0x00, 0x00, 0x03, 0x06, 0x03, 0x00, 0x01, 0x00,
    0x00, 0x00, 0x00, 0x6A,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The protocols of an ATR, and whether it has the length and the check
    /// byte that they require.
    fn parse(atr: &[u8]) -> (Vec<u8>, bool) {
        let historical = usize::from(atr[1] & 0x0F);
        let mut protocols = Vec::new();
        let (mut at, mut y) = (2, atr[1] >> 4);
        loop {
            at += (y & 0x07).count_ones() as usize;
            if y & 0x08 == 0 {
                break;
            }
            protocols.push(atr[at] & 0x0F);
            y = atr[at] >> 4;
            at += 1;
        }
        if protocols.is_empty() {
            protocols.push(0);
        }
        let end = at + historical;
        let valid = if protocols == [0] {
            atr.len() == end
        } else {
            atr.len() == end + 1 && atr[1..].iter().fold(0, |x, b| x ^ b) == 0
        };
        (protocols, valid)
    }

    #[test]
    fn atrs_offer_what_their_names_say() {
        assert_eq!(parse(T0), (vec![0], true));
        assert_eq!(parse(T1), (vec![1], true));
        assert_eq!(parse(T0_T1), (vec![0, 1], true));
        assert_eq!(parse(CONTACTLESS), (vec![0, 1], true));
    }

    #[test]
    fn a_wrong_check_byte_is_noticed() {
        assert!(!parse(&[0x3B, 0x80, 0x80, 0x01, 0x02]).1);
        assert!(!parse(&[0x3B, 0x80, 0x80, 0x01]).1);
    }
}
