//! A card that follows ISO 7816-4: answers in pieces, chains, logical channels.

use std::collections::BTreeSet;

use scard::Command;
use scard::apdu::Expected;
use scard_testkit::{Applet, Reply, VirtualCard};

/// The object on the card: longer than a short answer, with no two pieces alike.
pub fn object(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}

/// An ATR that says that the card chains commands, over T=1.
pub const CHAINS: &[u8] = &[0x3B, 0x85, 0x01, 0x80, 0x73, 0x00, 0x00, 0x80, 0xF7];

/// An ATR that says that the card takes extended lengths, over T=1.
pub const EXTENDS: &[u8] = &[0x3B, 0x85, 0x01, 0x80, 0x73, 0x00, 0x00, 0x40, 0x37];

/// PUT DATA stores the object, GET DATA returns it in pieces; GET CHALLENGE requires Le 08; SELECT
/// returns the channel.
#[derive(Default)]
pub struct Iso7816 {
    kept: Vec<u8>,
    chain: Vec<u8>,
    rest: Vec<u8>,
    /// How much it returns at once.
    piece: usize,
    is_t0: bool,
    chains: bool,
    extends: bool,
    channels: BTreeSet<u8>,
}

impl Iso7816 {
    pub fn card(atr: &[u8]) -> VirtualCard {
        Iso7816::keeping(atr, object(700))
    }

    pub fn keeping(atr: &[u8], kept: Vec<u8>) -> VirtualCard {
        Iso7816::over(atr, atr == scard_testkit::atr::T0, kept)
    }

    pub fn over(atr: &[u8], is_t0: bool, kept: Vec<u8>) -> VirtualCard {
        let card = Iso7816 {
            kept,
            piece: 256,
            is_t0,
            chains: atr == CHAINS,
            extends: atr == EXTENDS,
            ..Iso7816::default()
        };
        VirtualCard::with_applet(card).atr(atr)
    }

    fn give(&mut self, at_once: usize) -> Vec<u8> {
        let at_once = at_once.min(self.rest.len());
        let mut answer: Vec<u8> = self.rest.drain(..at_once).collect();
        answer.extend_from_slice(&match self.rest.len() {
            0 => [0x90, 0x00],
            left => [0x61, u8::try_from(left).unwrap_or(0)],
        });
        answer
    }

    fn answer(&mut self, bytes: &[u8]) -> Vec<u8> {
        let Ok(command) = Command::parse(bytes) else {
            return vec![0x67, 0x01];
        };
        let header = command.header();
        let has_both = !command.data().is_empty() && command.expected() != Expected::None;
        if self.is_t0 && (has_both || command.is_extended()) {
            // This is more than the protocol can carry.
            return vec![0x67, 0x00];
        }
        if command.is_extended() && !self.extends {
            return vec![0x67, 0x00];
        }
        let channel = command.channel().unwrap_or(0);
        if channel != 0 && !self.channels.contains(&channel) {
            return vec![0x68, 0x81];
        }
        let is_part = header.class & 0x10 != 0;
        if is_part && !self.chains {
            return vec![0x68, 0x84];
        }
        let asked = match command.expected() {
            Expected::None => 0,
            Expected::Exactly(len) => len as usize,
            Expected::All if command.is_extended() => 65_536,
            Expected::All => 256,
        };
        match header.instruction {
            0x70 if header.p1 == 0 => {
                let free = (1..=19).find(|number| self.channels.insert(*number));
                free.map_or(vec![0x6A, 0x81], |number| vec![number, 0x90, 0x00])
            }
            0x70 if self.channels.remove(&header.p2) => vec![0x90, 0x00],
            0x70 => vec![0x68, 0x81],
            0x84 if asked != 8 => vec![0x6C, 0x08],
            0x84 => vec![1, 2, 3, 4, 5, 6, 7, 8, 0x90, 0x00],
            0xA4 => {
                self.rest = vec![0x6F, 0x01, channel];
                // Over T=0 there is no answer to a command with a body.
                self.give(if self.is_t0 { 0 } else { asked })
            }
            0xC0 => self.give(asked.min(self.piece)),
            0xCB => {
                self.rest = self.kept.clone();
                let at_once = match command.is_extended() {
                    true => asked,
                    false if self.is_t0 => 0,
                    false => asked.min(self.piece),
                };
                self.give(at_once)
            }
            0xDB => {
                self.chain.extend_from_slice(command.data());
                if !is_part {
                    self.kept = std::mem::take(&mut self.chain);
                }
                vec![0x90, 0x00]
            }
            0x20 if command.data() == b"1234" => vec![0x90, 0x00],
            0x20 => vec![0x63, 0xC2],
            _ => vec![0x6D, 0x00],
        }
    }
}

impl Applet for Iso7816 {
    fn process(&mut self, command: &[u8]) -> Reply {
        Reply::Answer(self.answer(command))
    }

    fn power_off(&mut self) {
        self.channels.clear();
    }

    fn reset(&mut self) {
        self.channels.clear();
    }
}

/// SELECT of an application.
pub fn select() -> Command {
    Command::select(b"\xA0\x00\x00\x03\x08").unwrap()
}

/// GET DATA of the whole object.
pub fn get() -> Command {
    let get = Command::new(0x00, 0xCB, 0x3F, 0xFF).unwrap();
    get.with_data(*b"\x5C\x00").unwrap().expecting_all()
}

/// PUT DATA.
pub fn put(data: &[u8]) -> Command {
    let put = Command::new(0x00, 0xDB, 0x3F, 0xFF).unwrap();
    put.with_data(data).unwrap()
}
