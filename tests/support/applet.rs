//! A card with applications, which reports when a command reaches the wrong one.

use std::collections::BTreeMap;

use scard_testkit::{Applet, Reply, VirtualCard};

/// The answer to a command for an application that is not selected.
pub const NOT_SELECTED: &[u8] = &[0x69, 0x85];

/// Selects an application.
pub fn select(application: u8) -> Vec<u8> {
    vec![0x00, 0xA4, 0x04, 0x00, 0x01, application]
}

/// Queries the card's serial number.
pub const SERIAL: &[u8] = &[0x00, 0xCA, 0x00, 0x00];

/// A numbered command of an application.
pub fn numbered(application: u8, number: u32) -> Vec<u8> {
    let mut command = vec![0x80, application, 0x00, 0x00, 0x04];
    command.extend_from_slice(&number.to_be_bytes());
    command
}

/// The application and the number of a numbered command.
pub fn number_of(command: &[u8]) -> Option<(u8, u32)> {
    match command {
        [0x80, application, 0x00, 0x00, 0x04, a, b, c, d] => {
            Some((*application, u32::from_be_bytes([*a, *b, *c, *d])))
        }
        _ => None,
    }
}

/// SELECT, GET SERIAL, numbered commands.
pub struct Applications {
    serial: Vec<u8>,
    selected: Option<u8>,
    /// What to do with the nth numbered command instead of answering it, from 1.
    faults: BTreeMap<u32, Reply>,
    count: u32,
}

impl Applications {
    pub fn card(serial: &[u8]) -> VirtualCard {
        Applications::card_with(serial, [])
    }

    pub fn new(serial: &[u8]) -> Applications {
        Applications {
            serial: serial.to_vec(),
            selected: None,
            faults: BTreeMap::new(),
            count: 0,
        }
    }

    pub fn card_with<const N: usize>(serial: &[u8], faults: [(u32, Reply); N]) -> VirtualCard {
        VirtualCard::with_applet(Applications {
            faults: faults.into(),
            ..Applications::new(serial)
        })
    }
}

impl Applet for Applications {
    fn process(&mut self, command: &[u8]) -> Reply {
        match command {
            [0x00, 0xA4, 0x04, 0x00, 0x01, application] => {
                self.selected = Some(*application);
                Reply::from([0x90, 0x00])
            }
            [0x00, 0xCA, ..] => {
                let mut answer = self.serial.clone();
                answer.extend_from_slice(&[0x90, 0x00]);
                Reply::Answer(answer)
            }
            [0x80, application, ..] => {
                self.count += 1;
                match self.faults.remove(&self.count) {
                    Some(fault) => fault,
                    None if self.selected == Some(*application) => Reply::from([0x90, 0x00]),
                    None => Reply::from(NOT_SELECTED),
                }
            }
            _ => Reply::from([0x90, 0x00]),
        }
    }

    fn power_on(&mut self) {
        self.selected = None;
    }

    fn power_off(&mut self) {
        self.selected = None;
    }

    fn reset(&mut self) {
        self.selected = None;
    }
}
