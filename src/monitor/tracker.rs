//! Turns answers of the service into the state of the readers.
//!
//! Makes no calls, so the differences between platforms can be tested on all of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::event::Usage;
use super::view::{BELIEVED, CardView, ReaderView, View};
use crate::codes::Platform;
use crate::error::Error;
use crate::values::{Atr, ReaderFlags, ReaderName, ReaderState};

/// `SCARD_STATE_UNAWARE`.
const UNAWARE: u32 = 0;

/// Everything known about the readers, and what to ask next.
#[derive(Debug)]
pub(super) struct Tracker {
    platform: Platform,
    use_changes: bool,
    view: View,
    readers: BTreeMap<ReaderName, Known>,
    /// The state to pass in the plug-and-play entry.
    plug_and_play: u32,
    /// The number of readers attached so far.
    attachments: u64,
}

/// What the service reported about a reader.
#[derive(Debug, Default)]
struct Known {
    /// The state to pass, so that only a difference is a change; `None` asks for everything.
    state: Option<u32>,
    count: Option<u16>,
    /// Whether the count of one observed change may be late.
    one_late: bool,
    /// Whether the reader is watched elsewhere.
    aside: bool,
}

impl Tracker {
    pub(super) fn new(platform: Platform, use_changes: bool) -> Tracker {
        Tracker {
            platform,
            use_changes,
            view: View::default(),
            readers: BTreeMap::new(),
            plug_and_play: 0,
            attachments: 0,
        }
    }

    /// Returns the current state.
    pub(super) fn view(&self) -> &View {
        &self.view
    }

    /// Returns the readers to ask about, and the state to pass for each.
    pub(super) fn known_states(&self) -> Vec<(ReaderName, u32)> {
        let readers = self.readers.iter();
        readers
            .filter(|(_, known)| !known.aside)
            .map(|(name, known)| (name.clone(), known.state.unwrap_or(UNAWARE)))
            .collect()
    }

    /// The state to pass in the plug-and-play entry.
    pub(super) fn plug_and_play(&self) -> u32 {
        self.plug_and_play
    }

    /// Returns whether the next wait reports a reader that was attached before it.
    pub(super) fn counts_readers(&self) -> bool {
        self.plug_and_play >> 16 != 0
    }

    /// Returns whether something is unknown that the service reports at once.
    pub(super) fn is_incomplete(&self) -> bool {
        let mut asked = self.readers.values().filter(|known| !known.aside);
        asked.any(|known| known.state.is_none())
    }

    /// Returns the slow readers with their known states: those with a mute card, and unknown ones
    /// that had one before.
    pub(super) fn mute_ones(
        &self,
        was_mute: impl Fn(&ReaderName) -> bool,
    ) -> Vec<(ReaderName, u32)> {
        let mute =
            |name: &ReaderName, known: &Known| match (known.state, self.view.readers.get(name)) {
                (Some(state), Some(view)) => view.card.is_some_and(|it| it.mute).then_some(state),
                (None, None) => was_mute(name).then_some(UNAWARE),
                _ => None,
            };
        let asked = self.readers.iter().filter(|(_, known)| !known.aside);
        let found = asked.filter_map(|(name, known)| Some((name.clone(), mute(name, known)?)));
        found.collect()
    }

    /// Notes that this reader is watched elsewhere.
    pub(super) fn put_aside(&mut self, name: &ReaderName) {
        if let Some(known) = self.readers.get_mut(name) {
            known.aside = true;
        }
        self.note_unanswered();
    }

    /// Takes back a reader that was watched elsewhere, with what was seen; `None` if it has to be
    /// asked about.
    pub(super) fn see_aside(&mut self, name: &ReaderName, seen: Option<(u32, Atr)>) {
        let Some(known) = self.readers.get_mut(name) else {
            return;
        };
        match seen {
            Some((event_state, atr)) if known.aside => self.see(name, event_state, atr),
            _ => known.state = None,
        }
        if let Some(known) = self.readers.get_mut(name) {
            known.aside = false;
        }
        self.note_unanswered();
    }

    /// Notes the attached readers that are unknown because they are slow: those that are watched
    /// elsewhere, and those that were and have not answered since.
    fn note_unanswered(&mut self) {
        let before = std::mem::take(&mut self.view.unanswered);
        let slow = |name: &ReaderName, known: &Known| known.aside || before.contains(name);
        let readers = self
            .readers
            .iter()
            .filter(|(name, known)| slow(name, known));
        let unanswered = readers.filter(|(name, _)| !self.view.readers.contains_key(*name));
        self.view.unanswered = unanswered.map(|(name, _)| name.clone()).collect();
    }

    /// Returns whether the service wakes a waiter for every change of these readers.
    ///
    /// With an event counter of zero, a wait usually misses card swaps, and pcsc-lite never reports a
    /// program that begins to use a reader.
    pub(super) fn is_notified_of_everything(&self, is_exact: bool) -> bool {
        let counts = |known: &Known| known.count.is_some_and(|count| count != 0 || is_exact);
        (!self.use_changes || self.platform.reports_when_use_begins())
            && self.readers.values().all(counts)
    }

    /// Asks for everything again.
    pub(super) fn ask_anew(&mut self) {
        for known in self.readers.values_mut().filter(|known| !known.aside) {
            known.state = None;
        }
    }

    /// Notes that the next call is the first in a context.
    pub(super) fn begin_anew(&mut self) {
        self.plug_and_play = 0;
        self.ask_anew();
    }

    /// Notes the loss of the service, and of all readers with it.
    pub(super) fn lose(&mut self, error: Error) {
        let service = &mut self.view.service;
        if service.lost.is_none() {
            service.losses += 1;
            service.last = Some(error.clone());
        }
        let what = |error: &Error| (error.code(), error.kind());
        if service.lost.as_ref().map(what) != Some(what(&error)) {
            service.failures = 0;
        }
        service.failures = (service.failures + 1).min(BELIEVED);
        service.lost = Some(error);
        self.view.readers.clear();
        self.view.unanswered.clear();
        self.readers.clear();
        self.plug_and_play = 0;
    }

    /// Notes a complete answer of the service.
    pub(super) fn found(&mut self) {
        self.view.service.lost = None;
    }

    /// Returns whether these are the known readers.
    pub(super) fn is_list<'n>(&self, names: impl Iterator<Item = &'n ReaderName>) -> bool {
        let mut count = 0;
        let mut known = names.inspect(|_| count += 1);
        known.all(|it| self.readers.contains_key(it)) && count == self.readers.len()
    }

    /// Sets the list of readers. Returns whether it changed.
    pub(super) fn list(&mut self, names: Vec<ReaderName>) -> bool {
        let before = self.readers.len();
        self.readers.retain(|name, _| names.contains(name));
        let mut is_new = self.readers.len() != before;
        let readers = &self.readers;
        self.view
            .readers
            .retain(|name, _| readers.contains_key(name));
        for name in names {
            self.readers.entry(name).or_insert_with(|| {
                is_new = true;
                Known::default()
            });
        }
        self.note_unanswered();
        is_new
    }

    /// Takes the answer in the plug-and-play entry.
    pub(super) fn see_plug_and_play(&mut self, event_state: u32) {
        self.plug_and_play = event_state & !ReaderFlags::CHANGED.bits();
    }

    /// Takes the answer for a reader.
    pub(super) fn see(&mut self, name: &ReaderName, event_state: u32, atr: Atr) {
        let flags = ReaderFlags::from_bits_retain(event_state & 0xFFFF);
        if flags.intersects(ReaderFlags::UNKNOWN | ReaderFlags::IGNORE) {
            self.readers.remove(name);
            self.view.readers.remove(name);
            self.view.unanswered.remove(name);
            return;
        }
        let Some(known) = self.readers.get_mut(name) else {
            return;
        };
        known.state = Some(self.platform.handed_back(event_state, self.use_changes));

        let before = self.view.readers.get(name);
        let available = !flags.contains(ReaderFlags::UNAVAILABLE);
        let present = available && flags.contains(ReaderFlags::PRESENT);
        let old_card = before.and_then(|before| before.card);
        // An unavailable reader has no counter (pcsc-lite).
        let count = self.platform.event_count(event_state);
        let count = count.filter(|_| available);
        let stays = present && old_card.is_some();
        let other_atr = stays && before.is_some_and(|before| before.state.atr() != atr);
        let counted = count != known.count;
        let hidden = match known.count_changes(count, old_card.is_some() != present) {
            // The count is late or missing (macOS), but the ATR differs.
            Hidden::None if other_atr && (counted || count.is_none()) => match old_card {
                Some(old) if !old.mute && !flags.contains(ReaderFlags::MUTE) => {
                    known.one_late = true;
                    Hidden::Some
                }
                _ => Hidden::None,
            },
            hidden => hidden,
        };
        let mut cards = before.map_or(0, |before| before.cards);
        let card = match (old_card, present) {
            (Some(old), true) if hidden == Hidden::None => Some(old.number),
            (_, present) => {
                // Of the unseen cards of an exchange, one is still present.
                let unseen = hidden == Hidden::Some && !stays;
                cards += u64::from(unseen) + u64::from(present);
                present.then_some(cards)
            }
        };
        let card = card.map(|number| CardView {
            number,
            mute: flags.contains(ReaderFlags::MUTE),
        });
        let usage = match self.use_changes && available {
            true if flags.contains(ReaderFlags::EXCLUSIVE) => Usage::Exclusive,
            true if flags.contains(ReaderFlags::INUSE) => Usage::Shared,
            _ => Usage::Unused,
        };
        let view = ReaderView {
            attachment: match before {
                Some(before) => before.attachment,
                None => {
                    self.attachments += 1;
                    self.attachments
                }
            },
            available,
            card,
            cards,
            usage,
            state: ReaderState {
                reader_name: name.clone(),
                event_state: event_state & !ReaderFlags::CHANGED.bits(),
                atr: if present { atr } else { Atr::default() },
            },
        };
        if before.is_none_or(|before| **before != view) {
            self.view.readers.insert(name.clone(), Arc::new(view));
        }
        self.view.unanswered.remove(name);
    }
}

/// What came and went unseen between two answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hidden {
    None,
    /// Cards.
    Some,
    /// The reader, and a card that was in it.
    Reader,
}

impl Known {
    /// Compares the service's count with what was seen: one change if a card came or went. More
    /// changes mean that a card was inserted and removed, or removed and inserted, between two
    /// answers.
    ///
    /// pcsc-lite changes the state of a reader before it counts the change, so one count can be
    /// late. If a reader is replaced too fast to be seen, one count never comes.
    fn count_changes(&mut self, count: Option<u16>, changed: bool) -> Hidden {
        let before = std::mem::replace(&mut self.count, count);
        let late = std::mem::replace(&mut self.one_late, true);
        let (Some(before), Some(count)) = (before, count) else {
            return Hidden::None;
        };
        let counted = count.wrapping_sub(before);
        if counted > u16::MAX / 2 {
            // The count went backwards: it belongs to a reader that was attached again.
            return Hidden::Reader;
        }
        if counted == 0 && !changed {
            self.one_late = late;
            return Hidden::None;
        }
        let more = i32::from(counted) - i32::from(changed) - i32::from(late);
        self.one_late = more < 0 || more % 2 == 1;
        if more > 0 { Hidden::Some } else { Hidden::None }
    }
}

#[cfg(test)]
mod tests;
