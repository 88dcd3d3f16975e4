//! What a slot shows to the daemon, and how much of it the daemon has published.

use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, OnceLock};

use rustix::net::SendFlags;

use super::wire::Round;
use crate::card_handle::CardHandle;

/// The names that the slot has had: one, unless the daemon has assigned the reader
/// an unexpected number.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) name: String,
    /// The number of the reader in the name.
    pub(super) number: u32,
    next: OnceLock<Box<Names>>,
}

impl Names {
    pub(super) fn new(name: String, number: u32) -> Self {
        Self {
            name,
            number,
            next: OnceLock::new(),
        }
    }

    pub(super) fn last(&self) -> &Self {
        let mut last = self;
        while let Some(next) = last.next.get() {
            last = next;
        }
        last
    }

    /// The daemon has opened the reader as this number.
    pub(super) fn number(&self, number: u32) {
        let last = self.last();
        // "… NN SS"
        let Some((start, slot)) = last.name.rsplit_once(' ') else {
            return;
        };
        let Some((start, _)) = start.rsplit_once(' ') else {
            return;
        };
        let name = format!("{start} {number:02X} {slot}");
        if name != last.name {
            let _ = last.next.set(Box::new(Self::new(name, number)));
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// The daemon runs or is being started.
    pub(super) daemon: bool,
    /// The reader was unplugged.
    pub(super) gone: bool,
    /// The daemon has published the reader.
    pub(super) added: bool,
    pub(super) card: Option<CardHandle>,
    /// The card that looks see.
    pub(super) shown: Option<CardHandle>,
    /// The number of the last change that looks see.
    pub(super) change: u64,
    /// The last change that clients of the daemon can see.
    pub(super) published: Option<u64>,
    /// What the daemon's threads have seen, as long as they have not waited.
    pub(super) looks: HashMap<Round, Look>,
    pub(super) link: Option<Link>,
    /// The number of connections so far; each gets the next number.
    pub(super) links: u64,
    /// The pending command.
    pub(super) command: Option<u64>,
    pub(super) commands: u64,
}

/// An answer to the query for a card.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) change: u64,
    pub(super) present: bool,
    pub(super) failed: bool,
    /// The card left between two looks without a wait in between. The daemon
    /// also looks before it powers a card on or off, and what it publishes then
    /// may differ from what it saw last.
    pub(super) doubtful: bool,
}

/// The connection of the running daemon.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) id: u64,
    /// The number of slots of the reader.
    pub(super) slots: u8,
    pub(super) slots_take_turns: bool,
    pub(super) requests: Arc<UnixStream>,
    pub(super) events: Option<Arc<UnixStream>>,
}

impl State {
    /// Shows another card or none, and makes the daemon look.
    pub(super) fn show(&mut self, card: Option<CardHandle>) {
        self.shown = card;
        self.touch();
    }

    pub(super) fn touch(&mut self) {
        self.change += 1;
        self.wake();
    }

    /// Ends the daemon's wait, unless it has seen the last change.
    fn wake(&self) {
        self.send_event(self.change);
    }

    /// Ends the daemon's wait in any case.
    pub(super) fn look_again(&self) {
        self.send_event(u64::MAX);
    }

    fn send_event(&self, change: u64) {
        if let Some(events) = self.link.as_ref().and_then(|link| link.events.as_ref()) {
            // If it is full, it already contains a reason to wake.
            let _ = rustix::net::send(events, &change.to_ne_bytes(), SendFlags::DONTWAIT);
        }
    }

    pub(super) fn is_published(&self) -> bool {
        self.published == Some(self.change)
    }

    pub(super) fn is_current(&self, id: u64) -> bool {
        self.link.as_ref().is_some_and(|link| link.id == id)
    }
}
