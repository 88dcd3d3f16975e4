//! A contactless reader as described in Part 3, with a MIFARE Classic 1K on it.

use std::collections::HashMap;

use scard_testkit::{Applet, Reply, VirtualCard};

pub const UID: [u8; 4] = [0x04, 0xA1, 0xB2, 0xC3];

/// The ATR of MIFARE Classic 1K according to Part 3.
pub const ATR: &[u8] = &[
    0x3B, 0x8F, 0x80, 0x01, 0x80, 0x4F, 0x0C, 0xA0, 0x00, 0x00, 0x03, 0x06, 0x03, 0x00, 0x01, 0x00,
    0x00, 0x00, 0x00, 0x6A,
];

/// The key of a card from the factory.
pub const FACTORY: [u8; 6] = [0xFF; 6];

/// The reader's places for keys.
const PLACES: u8 = 2;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    A,
    B,
}

/// Reader and card.
pub struct Mifare {
    blocks: Vec<[u8; 16]>,
    keys: HashMap<u8, [u8; 6]>,
    /// The authenticated sector, and the kind of key.
    authenticated: Option<(usize, Kind)>,
}

impl Mifare {
    /// A card from the factory: every sector has the same keys, and both allow everything.
    pub fn new() -> Mifare {
        let mut blocks = vec![[0; 16]; 64];
        for trailer in blocks.iter_mut().skip(3).step_by(4) {
            *trailer = trailer_of(FACTORY, [0, 0, 0], FACTORY);
        }
        blocks[0][..4].copy_from_slice(&UID);
        Mifare {
            blocks,
            keys: HashMap::new(),
            authenticated: None,
        }
    }

    /// Sets the keys of a sector, and the access conditions C1 C2 C3 of its three blocks.
    pub fn sector(mut self, sector: usize, a: [u8; 6], access: [u8; 3], b: [u8; 6]) -> Mifare {
        self.blocks[sector * 4 + 3] = trailer_of(a, access, b);
        self
    }

    pub fn block(mut self, block: usize, data: [u8; 16]) -> Mifare {
        self.blocks[block] = data;
        self
    }

    pub fn card(self) -> VirtualCard {
        VirtualCard::with_applet(self).atr(ATR)
    }

    fn answer(&mut self, command: &[u8]) -> Result<Vec<u8>, u16> {
        match *command {
            [0xFF, 0xCA, 0x00, 0x00, _] => Ok(UID.to_vec()),
            [0xFF, 0xCA, ..] => Err(0x6A81),
            [0xFF, 0x82, place, number, 6, ref key @ ..] => {
                let key = key.try_into().map_err(|_| 0x6700_u16)?;
                match (place, number) {
                    (0x00, 0..PLACES) => drop(self.keys.insert(number, key)),
                    (0x20, _) => return Err(0x6987),
                    (0x00, _) => return Err(0x6988),
                    _ => return Err(0x6985),
                }
                Ok(Vec::new())
            }
            [0xFF, 0x82, ..] => Err(0x6989),
            [0xFF, 0x86, 0, 0, 5, 1, 0, block, kind, number] => {
                // Whatever the result, the previous authentication is over.
                self.authenticated = None;
                let key = self.keys.get(&number).ok_or(0x6984_u16)?;
                let sector = usize::from(block) / 4;
                let trailer = self.blocks.get(sector * 4 + 3).ok_or(0x6581_u16)?;
                let (kind, right) = match kind {
                    0x60 => (Kind::A, &trailer[..6]),
                    0x61 => (Kind::B, &trailer[10..]),
                    _ => return Err(0x6986),
                };
                if key != right {
                    return Err(0x6300);
                }
                self.authenticated = Some((sector, kind));
                Ok(Vec::new())
            }
            [0xFF, 0xB0, 0, block, 16] => {
                self.allowed(block, 0)?;
                let mut data = self.blocks[usize::from(block)];
                if block % 4 == 3 {
                    data[..6].fill(0); // Key A is never read.
                }
                Ok(data.to_vec())
            }
            [0xFF, 0xB0, 0, _, _] => Err(0x6C10),
            [0xFF, 0xD6, 0, block, 16, ref data @ ..] => {
                self.allowed(block, 1)?;
                let data = data.try_into().map_err(|_| 0x6700_u16)?;
                self.blocks[usize::from(block)] = data;
                Ok(Vec::new())
            }
            [0xFF, 0xD6, ..] => Err(0x6700),
            [
                0xFF,
                0xC2,
                0,
                3,
                11,
                what,
                9,
                0x80,
                1,
                block,
                0x81,
                4,
                a,
                b,
                c,
                d,
                0,
            ] => {
                self.allowed(block, if what == 0xA0 { 2 } else { 3 })?;
                let by = u32::from_le_bytes([a, b, c, d]);
                let value = value_of(&self.blocks[usize::from(block)]).ok_or(0x6981_u16)?;
                let value = match what {
                    0xA0 => value.wrapping_add(by),
                    _ => value.wrapping_sub(by),
                };
                self.blocks[usize::from(block)] = value_block(value, block);
                Ok(vec![0xC0, 0x03, 0x00, 0x90, 0x00])
            }
            _ => Err(0x6D00),
        }
    }

    /// Whether the key allows reading (0), writing (1), incrementing (2) or decrementing (3).
    fn allowed(&self, block: u8, what: usize) -> Result<(), u16> {
        let block = usize::from(block);
        let trailer = self.blocks.get(block / 4 * 4 + 3).ok_or(0x6A82_u16)?;
        let kind = match self.authenticated {
            Some((sector, kind)) if sector == block / 4 => kind,
            _ => return Err(0x6982),
        };
        let condition = match block % 4 {
            // Key A allows writing trailers here, whatever their own condition.
            3 => return Ok(()),
            group => {
                let bit = |byte: u8, shift: usize| (byte >> (group + shift)) & 1;
                bit(trailer[7], 4) << 2 | bit(trailer[8], 0) << 1 | bit(trailer[8], 4)
            }
        };
        // Which keys may: none, both, or only B.
        let table = match condition {
            0b000 => "++++",
            0b010 => "+---",
            0b100 => "+B--",
            0b110 => "+BB+",
            0b001 => "+--+",
            0b011 => "BB--",
            0b101 => "B---",
            _ => "----",
        };
        match table.as_bytes()[what] {
            b'+' => Ok(()),
            b'B' if kind == Kind::B => Ok(()),
            _ => Err(0x6982),
        }
    }
}

impl Applet for Mifare {
    fn process(&mut self, command: &[u8]) -> Reply {
        let (mut answer, word) = match self.answer(command) {
            Ok(answer) => (answer, 0x9000),
            Err(word) => (Vec::new(), word),
        };
        answer.extend(word.to_be_bytes());
        Reply::Answer(answer)
    }

    fn power_off(&mut self) {
        self.authenticated = None;
    }

    fn reset(&mut self) {
        self.authenticated = None;
    }
}

/// Keys and access conditions; the trailer's own condition is the factory's.
fn trailer_of(a: [u8; 6], access: [u8; 3], b: [u8; 6]) -> [u8; 16] {
    let conditions = [access[0], access[1], access[2], 0b001];
    let row = |bit: u8| {
        let bits = conditions.iter().enumerate();
        bits.fold(0, |row, (group, condition)| {
            row | ((condition >> bit) & 1) << group
        })
    };
    let (c1, c2, c3): (u8, u8, u8) = (row(2), row(1), row(0));
    let mut trailer = [0; 16];
    trailer[..6].copy_from_slice(&a);
    trailer[6] = (!c2 & 15) << 4 | (!c1 & 15);
    trailer[7] = c1 << 4 | (!c3 & 15);
    trailer[8] = c3 << 4 | c2;
    trailer[9] = 0x69;
    trailer[10..].copy_from_slice(&b);
    trailer
}

/// A value block, which can be incremented and decremented.
pub fn value_block(value: u32, address: u8) -> [u8; 16] {
    let (value, inverse) = (value.to_le_bytes(), (!value).to_le_bytes());
    let mut block = [0; 16];
    block[..4].copy_from_slice(&value);
    block[4..8].copy_from_slice(&inverse);
    block[8..12].copy_from_slice(&value);
    block[12..].copy_from_slice(&[address, !address, address, !address]);
    block
}

fn value_of(block: &[u8; 16]) -> Option<u32> {
    let part = |from: usize| u32::from_le_bytes(block[from..from + 4].try_into().unwrap());
    let is_value = part(0) == !part(4) && part(0) == part(8);
    is_value.then(|| part(0))
}
