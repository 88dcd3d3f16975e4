//! Cards with a PIN, which are occasionally removed in the middle of a command.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use scard_testkit::{Applet, Reply, VirtualCard};

use crate::ROLES;
use crate::support::OK;
use crate::support::applet::{Applications, number_of};
use crate::support::random::Random;

/// The answer to a command that needs the PIN.
pub(crate) const NOT_VERIFIED: &[u8] = &[0x69, 0x82];

/// Enough that only a fault of the library can use them up: each change of the PIN costs each
/// session on the card one try, and a success restores all.
const TRIES: u8 = 15;

/// The PIN of a card, and the attempts to verify it. Both survive a loss of power.
#[derive(Clone)]
pub(crate) struct Pin(Arc<Mutex<Kept>>);

struct Kept {
    value: u32,
    tries: u8,
    was_blocked: bool,
    presented: Vec<Presented>,
}

/// A VERIFY that reached a card.
#[derive(Clone, Copy)]
pub(crate) struct Presented {
    pub(crate) application: u8,
    pub(crate) attempt: u32,
    pub(crate) is_accepted: bool,
}

impl Pin {
    pub(crate) fn new() -> Pin {
        Pin(Arc::new(Mutex::new(Kept {
            value: 0,
            tries: TRIES,
            was_blocked: false,
            presented: Vec::new(),
        })))
    }

    /// The current value, known to the card's holder.
    pub(crate) fn value(&self) -> u32 {
        self.0.lock().unwrap().value
    }

    pub(crate) fn was_blocked(&self) -> bool {
        self.0.lock().unwrap().was_blocked
    }

    pub(crate) fn presented(&self) -> Vec<Presented> {
        self.0.lock().unwrap().presented.clone()
    }

    fn verify(&self, application: u8, tried: u32, attempt: u32) -> bool {
        let mut kept = self.0.lock().unwrap();
        let is_accepted = kept.tries > 0 && tried == kept.value;
        kept.tries = match is_accepted {
            true => TRIES,
            false => kept.tries.saturating_sub(1),
        };
        kept.was_blocked |= kept.tries == 0;
        kept.presented.push(Presented {
            application,
            attempt,
            is_accepted,
        });
        is_accepted
    }

    fn change(&self) {
        self.0.lock().unwrap().value += 1;
    }
}

/// Presents a PIN. The attempts of each application are numbered.
pub(crate) fn verify(application: u8, pin: u32, attempt: u32) -> Vec<u8> {
    let mut command = vec![0x00, 0x20, 0x00, application, 0x08];
    command.extend_from_slice(&pin.to_be_bytes());
    command.extend_from_slice(&attempt.to_be_bytes());
    command
}

/// Queries the number of tries left.
pub(crate) const TRIES_LEFT: &[u8] = &[0x00, 0x20, 0x00, 0x00];

/// Changes the PIN to the next one.
pub(crate) const CHANGE: &[u8] = &[0x00, 0x24, 0x00, 0x00];

pub(crate) struct Shaky {
    card: Applications,
    pin: Pin,
    /// The application whose session has verified the PIN.
    verified: Option<u8>,
    random: Random,
    /// Set when the card must stay in its reader.
    stays: Arc<AtomicBool>,
}

impl Shaky {
    pub(crate) fn card(
        serial: u8,
        pin: &Pin,
        random: Random,
        stays: &Arc<AtomicBool>,
    ) -> VirtualCard {
        VirtualCard::with_applet(Shaky {
            card: Applications::new(&[serial]),
            pin: pin.clone(),
            verified: None,
            random,
            stays: Arc::clone(stays),
        })
    }

    /// Whether the card is removed during this command, once in so many.
    fn is_removed(&mut self, times: u64) -> bool {
        self.random.one_in(times) && !self.stays.load(Ordering::SeqCst)
    }
}

impl Applet for Shaky {
    fn process(&mut self, command: &[u8]) -> Reply {
        match command {
            [0x00, 0x20, 0x00, application, 0x08, a, b, c, d, e, f, g, h] => {
                let tried = u32::from_be_bytes([*a, *b, *c, *d]);
                let attempt = u32::from_be_bytes([*e, *f, *g, *h]);
                let is_accepted = self.pin.verify(*application, tried, attempt);
                self.verified = is_accepted.then_some(*application);
                match is_accepted {
                    // The try is counted, but the answer is lost.
                    _ if self.is_removed(300) => Reply::Drop,
                    true => Reply::from(OK),
                    false => Reply::from([0x63, 0xC0]),
                }
            }
            TRIES_LEFT if self.is_removed(4) => Reply::Drop,
            TRIES_LEFT => Reply::from([0x63, 0xC0]),
            CHANGE => {
                self.pin.change();
                Reply::from(OK)
            }
            [0x00, 0xA4, ..] => {
                self.verified = None;
                self.card.process(command)
            }
            _ => match number_of(command) {
                Some(_) if self.is_removed(2_000) => Reply::Drop,
                Some((application, _))
                    if ROLES[usize::from(application)].logs_in
                        && self.verified != Some(application) =>
                {
                    Reply::from(NOT_VERIFIED)
                }
                _ => self.card.process(command),
            },
        }
    }

    fn power_on(&mut self) {
        self.verified = None;
        self.card.power_on();
    }

    fn power_off(&mut self) {
        self.verified = None;
        self.card.power_off();
    }

    fn reset(&mut self) {
        self.verified = None;
        self.card.reset();
    }
}
