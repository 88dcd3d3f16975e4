//! From the answers of the service to what is known of the readers.
//!
//! No calls are made here: what the platforms differ in can be tested on all of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::event::Usage;
use super::view::{BELIEVED, CardView, ReaderView, View};
use crate::codes::Platform;
use crate::error::Error;
use crate::values::{Atr, ReaderFlags, ReaderName, ReaderState};

/// `SCARD_STATE_UNAWARE`.
const UNAWARE: u32 = 0;

/// Everything that is known of the readers, and what to ask next.
#[derive(Debug)]
pub(super) struct Tracker {
    platform: Platform,
    use_changes: bool,
    view: View,
    readers: BTreeMap<ReaderName, Known>,
    /// What to hand back in the entry for readers that come and go.
    plug_and_play: u32,
    /// How many readers have been plugged in so far.
    attachments: u64,
}

/// What the service said of a reader.
#[derive(Debug, Default)]
struct Known {
    /// What to hand back, so that only something else is a change; `None` asks for everything.
    state: Option<u32>,
    count: Option<u16>,
    /// Whether one change that was seen may be counted later.
    one_late: bool,
    /// Whether it is watched elsewhere.
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

    /// What is known at this moment.
    pub(super) fn view(&self) -> &View {
        &self.view
    }

    /// The readers to ask for, and what to hand back for each.
    pub(super) fn known_states(&self) -> Vec<(ReaderName, u32)> {
        let readers = self.readers.iter();
        readers
            .filter(|(_, known)| !known.aside)
            .map(|(name, known)| (name.clone(), known.state.unwrap_or(UNAWARE)))
            .collect()
    }

    /// What to hand back in the entry for readers that come and go.
    pub(super) fn plug_and_play(&self) -> u32 {
        self.plug_and_play
    }

    /// Whether the service tells in the next wait of a reader that came before it.
    pub(super) fn counts_readers(&self) -> bool {
        self.plug_and_play >> 16 != 0
    }

    /// Whether something is not known yet that the service tells at once.
    pub(super) fn is_incomplete(&self) -> bool {
        let mut asked = self.readers.values().filter(|known| !known.aside);
        asked.any(|known| known.state.is_none())
    }

    /// The readers that take long to ask about, with what is known of them: those that have a mute
    /// card, and those of which nothing is known but that they had one.
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

    /// This reader is watched elsewhere.
    pub(super) fn put_aside(&mut self, name: &ReaderName) {
        if let Some(known) = self.readers.get_mut(name) {
            known.aside = true;
        }
        self.note_unanswered();
    }

    /// What was seen of a reader that is watched elsewhere, and is no longer; or that it is to be
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

    /// Notes which readers are there of which nothing is known yet because they are slow.
    fn note_unanswered(&mut self) {
        let slow = self.readers.iter().filter(|(_, known)| known.aside);
        let unanswered = slow.filter(|(name, _)| !self.view.readers.contains_key(*name));
        self.view.unanswered = unanswered.map(|(name, _)| name.clone()).collect();
    }

    /// Whether the service wakes a waiter for everything that is to be told of these readers.
    ///
    /// With an event counter of zero it does not report card swaps, and
    /// pcsc-lite never does of a program that begins to use a reader.
    pub(super) fn is_told_everything(&self) -> bool {
        let counts = |known: &Known| known.count.is_some_and(|count| count != 0);
        (!self.use_changes || self.platform.tells_when_use_begins())
            && self.readers.values().all(counts)
    }

    /// Asks for everything again.
    pub(super) fn ask_anew(&mut self) {
        for known in self.readers.values_mut().filter(|known| !known.aside) {
            known.state = None;
        }
    }

    /// The next call is the first one in a context.
    pub(super) fn begin_anew(&mut self) {
        self.plug_and_play = 0;
        self.ask_anew();
    }

    /// The service is lost, and all readers with it.
    pub(super) fn lose(&mut self, error: Error) {
        let service = &mut self.view.service;
        if service.lost.is_none() {
            service.losses += 1;
            service.last = Some(error.clone());
        }
        let before = service.lost.as_ref().map(Error::code);
        if before != Some(error.code()) {
            service.failures = 0;
        }
        service.failures = (service.failures + 1).min(BELIEVED);
        service.lost = Some(error);
        self.view.readers.clear();
        self.view.unanswered.clear();
        self.readers.clear();
        self.plug_and_play = 0;
    }

    /// The service has answered in full.
    pub(super) fn found(&mut self) {
        self.view.service.lost = None;
    }

    /// Whether these are the readers that are known.
    pub(super) fn is_list<'n>(&self, names: impl Iterator<Item = &'n ReaderName>) -> bool {
        let mut count = 0;
        let mut known = names.inspect(|_| count += 1);
        known.all(|it| self.readers.contains_key(it)) && count == self.readers.len()
    }

    /// The service has these readers and no others. Says if that is new.
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

    /// The answer in the entry for readers that come and go.
    pub(super) fn see_plug_and_play(&mut self, event_state: u32) {
        self.plug_and_play = event_state & !ReaderFlags::CHANGED.bits();
    }

    /// The answer for a reader.
    pub(super) fn see(&mut self, name: &ReaderName, event_state: u32, atr: Atr) {
        let flags = ReaderFlags::from_bits_retain(event_state & 0xFFFF);
        if flags.intersects(ReaderFlags::UNKNOWN | ReaderFlags::IGNORE) {
            self.readers.remove(name);
            self.view.readers.remove(name);
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
            // A count that will be late, or none at all (macOS): the ATR tells the same.
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
                // An exchange has one card that is not seen: the one that is there.
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
    }
}

/// What came and went between two answers without being seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hidden {
    None,
    /// Cards.
    Some,
    /// The reader, and a card that was in it.
    Reader,
}

impl Known {
    /// Compares what the service has counted with what was seen: one change if there was a
    /// card and now is none, or the other way round. More are a card that was put in and taken
    /// out, or taken out and put in, between two answers.
    ///
    /// pcsc-lite changes the state of a reader before it counts the change, so that one count
    /// can be late. If a reader is replaced so fast that nothing is seen of it, one never
    /// comes.
    fn count_changes(&mut self, count: Option<u16>, changed: bool) -> Hidden {
        let before = std::mem::replace(&mut self.count, count);
        let late = std::mem::replace(&mut self.one_late, true);
        let (Some(before), Some(count)) = (before, count) else {
            return Hidden::None;
        };
        let counted = count.wrapping_sub(before);
        if counted > u16::MAX / 2 {
            // It runs backwards: this is another count, of a reader that came back.
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
mod tests {
    use super::*;
    use Platform::{MacOs, PcscLite, Windows};

    const EMPTY: u32 = 0x10;
    const PRESENT: u32 = 0x20;
    const MUTE: u32 = 0x220;
    const UNAVAILABLE: u32 = 0x08;
    const CHANGED: u32 = 0x02;
    const IN_USE: u32 = 0x100;
    const EXCLUSIVE: u32 = 0x80;

    fn name(name: &str) -> ReaderName {
        ReaderName::new(name).unwrap()
    }

    struct Bench {
        tracker: Tracker,
        before: View,
    }

    impl Bench {
        /// One reader, which has answered this.
        fn new(platform: Platform, flags: u32, count: u32) -> Bench {
            Bench::watching(Tracker::new(platform, false), flags, count)
        }

        fn watching(mut tracker: Tracker, flags: u32, count: u32) -> Bench {
            assert!(tracker.list(vec![name("R")]));
            assert!(tracker.is_incomplete());
            let before = View::default();
            let mut bench = Bench { tracker, before };
            bench.see(flags, count, 1);
            bench
        }

        /// The events that this answer makes; the card's ATR is this byte.
        fn see(&mut self, flags: u32, count: u32, atr: u8) -> Vec<String> {
            let state = flags | CHANGED | (count << 16);
            self.tracker
                .see(&name("R"), state, Atr::new(&[atr]).unwrap());
            self.events()
        }

        fn events(&mut self) -> Vec<String> {
            let view = self.tracker.view().clone();
            let events = view.events_since(&self.before);
            self.before = view;
            events.iter().map(ToString::to_string).collect()
        }
    }

    #[test]
    fn cards_come_and_go() {
        for platform in [PcscLite, Windows, MacOs] {
            let mut bench = Bench::new(platform, EMPTY, 0);
            assert_eq!(bench.see(PRESENT, 1, 1), ["card inserted (01)"]);
            assert_eq!(bench.see(PRESENT, 1, 1), [""; 0]);
            assert_eq!(bench.see(EMPTY, 2, 1), ["card removed"]);
            assert_eq!(bench.see(MUTE, 3, 0), ["card does not answer"]);
            assert_eq!(bench.see(EMPTY, 4, 1), ["card removed"]);
        }
    }

    #[test]
    fn an_exchange_between_two_looks_shows_in_the_counter() {
        for platform in [PcscLite, Windows] {
            let mut bench = Bench::new(platform, PRESENT, 1);
            assert_eq!(bench.see(PRESENT, 3, 1), ["card exchanged (01)"]);
            assert_eq!(bench.see(PRESENT, 9, 2), ["card exchanged (02)"]);
            assert_eq!(
                bench.see(MUTE, 11, 0),
                ["card removed", "card does not answer"]
            );
            assert_eq!(
                bench.see(PRESENT, 13, 1),
                ["card removed", "card inserted (01)"]
            );
            // From the start, when there is a card that was never counted.
            let mut bench = Bench::new(platform, PRESENT, 0);
            assert_eq!(bench.see(PRESENT, 2, 1), ["card exchanged (01)"]);
        }
        let mut bench = Bench::new(MacOs, PRESENT, 0);
        assert_eq!(bench.see(PRESENT, 0, 2), ["card exchanged (02)"]);
    }

    #[test]
    fn a_card_that_came_and_went_between_two_looks_is_told() {
        let mut bench = Bench::new(PcscLite, EMPTY, 4);
        assert_eq!(bench.see(EMPTY, 6, 0), ["card came and went"]);
        assert_eq!(
            bench.see(PRESENT, 9, 1),
            ["card came and went", "card inserted (01)"]
        );
        assert_eq!(
            bench.see(EMPTY, 12, 0),
            ["card came and went", "card removed"]
        );
    }

    #[test]
    fn the_counter_wraps() {
        let mut bench = Bench::new(PcscLite, PRESENT, 0xFFFF);
        assert_eq!(bench.see(PRESENT, 1, 1), ["card exchanged (01)"]);
        let mut bench = Bench::new(PcscLite, PRESENT, 0xFFFF);
        assert_eq!(bench.see(EMPTY, 0, 1), ["card removed"]);
        assert_eq!(bench.see(PRESENT, 1, 1), ["card inserted (01)"]);
        // At zero nothing tells of an exchange, so that it has to be looked for.
        let mut bench = Bench::new(PcscLite, PRESENT, 0xFFFE);
        assert!(bench.tracker.is_told_everything());
        assert_eq!(bench.see(PRESENT, 0, 1), ["card exchanged (01)"]);
        assert!(!bench.tracker.is_told_everything());
        assert_eq!(bench.see(PRESENT, 2, 1), ["card exchanged (01)"]);
        assert!(bench.tracker.is_told_everything());
    }

    /// pcsc-lite changes the state before it counts.
    #[test]
    fn a_count_that_comes_late_is_no_event() {
        let mut bench = Bench::new(PcscLite, EMPTY, 4);
        assert_eq!(bench.see(PRESENT, 4, 1), ["card inserted (01)"]);
        assert_eq!(bench.see(PRESENT, 5, 1), [""; 0]);
        assert_eq!(bench.see(EMPTY, 5, 0), ["card removed"]);
        assert_eq!(bench.see(PRESENT, 6, 1), ["card inserted (01)"]);
        assert_eq!(bench.see(PRESENT, 7, 1), [""; 0]);
        // And an exchange behind a late count is one all the same.
        assert_eq!(bench.see(EMPTY, 7, 0), ["card removed"]);
        assert_eq!(bench.see(EMPTY, 10, 0), ["card came and went"]);
        // Of an exchange, too: also of the first one, when one might be late already.
        let mut bench = Bench::new(PcscLite, PRESENT, 1);
        for count in [2, 4, 6] {
            assert_eq!(
                bench.see(PRESENT, count, count as u8),
                [format!("card exchanged (0{count})")]
            );
            assert_eq!(bench.see(PRESENT, count + 1, count as u8), [""; 0]);
        }
    }

    #[test]
    fn another_atr_without_a_count_is_the_same_card() {
        let mut bench = Bench::new(PcscLite, PRESENT, 1);
        assert_eq!(bench.see(PRESENT, 1, 2), ["card has another ATR (02)"]);
        assert_eq!(bench.see(MUTE, 1, 2), ["card does not answer"]);
        assert_eq!(bench.see(PRESENT, 1, 2), ["card inserted (02)"]);
        // A card that does not answer has none.
        let mut mute = Bench::new(Windows, MUTE, 1);
        assert_eq!(mute.see(MUTE, 1, 2), [""; 0]);
        assert_eq!(mute.see(PRESENT, 1, 2), ["card inserted (02)"]);
    }

    #[test]
    fn an_unavailable_reader_has_no_card_and_no_counter() {
        for platform in [PcscLite, Windows, MacOs] {
            let mut bench = Bench::new(platform, PRESENT, 5);
            let gone = bench.see(UNAVAILABLE, 0, 1);
            assert_eq!(gone, ["card removed", "reader unavailable"]);
            assert_eq!(bench.see(UNAVAILABLE, 0, 0), [""; 0]);
            let back = bench.see(PRESENT, 6, 1);
            assert_eq!(back, ["reader available again", "card inserted (01)"]);
            assert_eq!(bench.see(UNAVAILABLE, 0, 1).len(), 2);
            assert_eq!(bench.see(EMPTY, 7, 0), ["reader available again"]);
        }
    }

    #[test]
    fn readers_come_and_go() {
        let mut bench = Bench::new(PcscLite, PRESENT, 1);
        assert!(!bench.tracker.list(vec![name("R")]));
        assert!(bench.tracker.list(vec![name("A"), name("R")]));
        assert!(bench.events().is_empty(), "nothing is known of A");
        bench.tracker.see(&name("A"), EMPTY, Atr::default());
        assert_eq!(bench.events(), ["reader attached"]);
        // Unplugged during a wait, or between two lists.
        assert_eq!(bench.see(0xE, 0, 0), ["card removed", "reader detached"]);
        assert!(bench.tracker.list(vec![]));
        assert_eq!(bench.events(), ["reader detached"]);
        let before = bench.tracker.view().clone();
        bench.tracker.see(&name("A"), EMPTY, Atr::default());
        assert_eq!(*bench.tracker.view(), before);
        assert!(bench.events().is_empty());
    }

    #[test]
    fn a_reader_that_was_away_between_two_looks_counts_anew() {
        let mut bench = Bench::new(PcscLite, PRESENT, 5);
        assert_eq!(bench.see(PRESENT, 0, 1), ["card exchanged (01)"]);
        // No card is told that was never there.
        for (before, after, told) in [
            (EMPTY, EMPTY, &[][..]),
            (PRESENT, EMPTY, &["card removed"]),
            (EMPTY, PRESENT, &["card inserted (01)"]),
        ] {
            let mut bench = Bench::new(PcscLite, before, 6);
            assert_eq!(bench.see(after, 0, 1), told);
        }
    }

    #[test]
    fn use_is_told_where_it_is_wanted() {
        let mut bench = Bench::new(PcscLite, PRESENT, 1);
        assert_eq!(bench.see(PRESENT | IN_USE, 1, 1), [""; 0]);
        let tracker = Tracker::new(PcscLite, true);
        let mut bench = Bench::watching(tracker, PRESENT | IN_USE, 1);
        assert_eq!(bench.see(PRESENT | EXCLUSIVE, 1, 1), ["in exclusive use"]);
        assert_eq!(bench.see(PRESENT, 1, 1), ["not in use"]);
        assert!(!bench.tracker.is_told_everything(), "of the beginning");
        let bench = Bench::watching(Tracker::new(Windows, true), PRESENT, 1);
        assert!(bench.tracker.is_told_everything());
    }

    #[test]
    fn what_is_handed_back_is_what_was_answered() {
        // The use of a reader is left out where it would only wake for nothing.
        for (platform, expected) in [(PcscLite, 0x0003_0020), (Windows, 0x0003_0120)] {
            let mut bench = Bench::new(platform, PRESENT, 1);
            bench.see(PRESENT | IN_USE, 3, 1);
            assert_eq!(bench.tracker.known_states(), [(name("R"), expected)]);
            bench.tracker.ask_anew();
            assert_eq!(bench.tracker.known_states(), [(name("R"), 0)]);
        }
        let mut tracker = Tracker::new(Windows, false);
        assert!(!tracker.counts_readers());
        for _ in 0..2 {
            tracker.see_plug_and_play(0x0002_0002);
            assert_eq!(tracker.plug_and_play(), 0x0002_0000);
        }
        assert!(tracker.counts_readers());
    }

    #[test]
    fn a_failure_is_believed_when_it_is_repeated_and_not_after_others() {
        use crate::codes::ReturnCode;
        use crate::error::Operation;
        let mut tracker = Tracker::new(PcscLite, false);
        let mut lose = |code| {
            tracker.lose(Error::new(Operation::EstablishContext, code));
            tracker.view().failure().map(Error::code)
        };
        let denied = ReturnCode::W_SECURITY_VIOLATION;
        for _ in 0..5 {
            assert_eq!(lose(ReturnCode::E_NO_SERVICE), None);
        }
        assert_eq!(lose(denied), None);
        assert_eq!(lose(ReturnCode::E_NO_SERVICE), None);
        assert_eq!(lose(denied), None);
        assert_eq!(lose(denied), None);
        assert_eq!(lose(denied), Some(denied));
    }

    #[test]
    fn the_service_takes_its_readers_along() {
        use crate::codes::ReturnCode;
        use crate::error::Operation;
        let error = |code| Error::new(Operation::GetStatusChange, code);
        let mut bench = Bench::new(PcscLite, PRESENT, 1);
        bench.tracker.lose(error(ReturnCode::F_COMM_ERROR));
        let events = bench.events();
        assert!(events[0].starts_with("service lost: SCardGetStatusChange failed"));
        assert_eq!(events[1..], ["card removed", "reader detached"]);
        bench.tracker.lose(error(ReturnCode::E_NO_SERVICE));
        assert!(bench.events().is_empty());
        bench.tracker.list(vec![name("R")]);
        bench.tracker.found();
        let back = ["service restored", "reader attached", "card inserted (01)"];
        assert_eq!(bench.see(PRESENT, 1, 1), back);
        // Lost and found again before anybody looked.
        bench.tracker.lose(error(ReturnCode::E_NO_SERVICE));
        bench.tracker.list(vec![name("R")]);
        bench.tracker.found();
        let events = bench.see(EMPTY, 1, 0);
        assert!(events[0].starts_with("service lost"));
        let rest = [
            "card removed",
            "reader detached",
            "service restored",
            "reader attached",
        ];
        assert_eq!(events[1..], rest);
    }
}
