//! Tests of the tracker.

use super::*;
use crate::monitor::event::What;
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
    /// Returns a bench with one reader in this state.
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

    /// Returns the events of this answer; the card's ATR is this byte.
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
        events.iter().map(|it| What(it).to_string()).collect()
    }
}

#[test]
fn cards_are_inserted_and_removed() {
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
        // From the start, with a card that was never counted.
        let mut bench = Bench::new(platform, PRESENT, 0);
        assert_eq!(bench.see(PRESENT, 2, 1), ["card exchanged (01)"]);
    }
    let mut bench = Bench::new(MacOs, PRESENT, 0);
    assert_eq!(bench.see(PRESENT, 0, 2), ["card exchanged (02)"]);
}

#[test]
fn a_card_inserted_and_removed_between_two_looks_is_reported() {
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
    // At zero the service does not report an exchange, so the monitor has to look for it.
    let mut bench = Bench::new(PcscLite, PRESENT, 0xFFFE);
    assert!(bench.tracker.is_notified_of_everything(false));
    assert_eq!(bench.see(PRESENT, 0, 1), ["card exchanged (01)"]);
    assert!(!bench.tracker.is_notified_of_everything(false));
    assert!(bench.tracker.is_notified_of_everything(true));
    assert_eq!(bench.see(PRESENT, 2, 1), ["card exchanged (01)"]);
    assert!(bench.tracker.is_notified_of_everything(false));
}

/// pcsc-lite changes the state before it counts.
#[test]
fn a_late_count_is_not_an_event() {
    let mut bench = Bench::new(PcscLite, EMPTY, 4);
    assert_eq!(bench.see(PRESENT, 4, 1), ["card inserted (01)"]);
    assert_eq!(bench.see(PRESENT, 5, 1), [""; 0]);
    assert_eq!(bench.see(EMPTY, 5, 0), ["card removed"]);
    assert_eq!(bench.see(PRESENT, 6, 1), ["card inserted (01)"]);
    assert_eq!(bench.see(PRESENT, 7, 1), [""; 0]);
    // An exchange after a late count is still reported.
    assert_eq!(bench.see(EMPTY, 7, 0), ["card removed"]);
    assert_eq!(bench.see(EMPTY, 10, 0), ["card came and went"]);
    // The same for an exchange, even the first, when a count may already be late.
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
    // A mute card has no ATR.
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
fn readers_are_attached_and_detached() {
    let mut bench = Bench::new(PcscLite, PRESENT, 1);
    assert!(!bench.tracker.list(vec![name("R")]));
    assert!(bench.tracker.list(vec![name("A"), name("R")]));
    assert!(bench.events().is_empty(), "A is not known yet");
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
fn a_reader_that_was_detached_between_two_looks_counts_from_one() {
    let mut bench = Bench::new(PcscLite, PRESENT, 5);
    assert_eq!(bench.see(PRESENT, 0, 1), ["card exchanged (01)"]);
    // A card that was never present is not reported.
    for (before, after, expected) in [
        (EMPTY, EMPTY, &[][..]),
        (PRESENT, EMPTY, &["card removed"]),
        (EMPTY, PRESENT, &["card inserted (01)"]),
    ] {
        let mut bench = Bench::new(PcscLite, before, 6);
        assert_eq!(bench.see(after, 0, 1), expected);
    }
}

#[test]
fn use_changes_are_reported_only_if_requested() {
    let mut bench = Bench::new(PcscLite, PRESENT, 1);
    assert_eq!(bench.see(PRESENT | IN_USE, 1, 1), [""; 0]);
    let tracker = Tracker::new(PcscLite, true);
    let mut bench = Bench::watching(tracker, PRESENT | IN_USE, 1);
    assert_eq!(bench.see(PRESENT | EXCLUSIVE, 1, 1), ["in exclusive use"]);
    assert_eq!(bench.see(PRESENT, 1, 1), ["not in use"]);
    assert!(
        !bench.tracker.is_notified_of_everything(false),
        "the beginning of a use is not reported"
    );
    let bench = Bench::watching(Tracker::new(Windows, true), PRESENT, 1);
    assert!(bench.tracker.is_notified_of_everything(false));
}

#[test]
fn the_state_passed_back_is_the_last_answer() {
    // The use of a reader is omitted where it would only cause wakeups.
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
fn a_failure_is_accepted_only_when_repeated_without_others_in_between() {
    use crate::codes::ReturnCode;
    use crate::error::Operation;
    use crate::service::{Failure, Obstacle};
    let mut tracker = Tracker::new(PcscLite, false);
    let mut lose = |failure: Failure| {
        tracker.lose(Error::new(Operation::EstablishContext, failure));
        tracker.view().failure().map(Error::code)
    };
    // The last one has the same code as a missing service.
    let (gone, denied) = (ReturnCode::E_NO_SERVICE, ReturnCode::W_SECURITY_VIOLATION);
    for denied in [denied.into(), Failure::from(Obstacle::NoPermission)] {
        for _ in 0..5 {
            assert_eq!(lose(gone.into()), None);
        }
        assert_eq!(lose(denied), None);
        assert_eq!(lose(gone.into()), None);
        assert_eq!(lose(denied), None);
        assert_eq!(lose(denied), None);
        assert_eq!(lose(denied), Some(denied.code));
    }
}

#[test]
fn all_readers_are_lost_with_the_service() {
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
    // Lost and restored before anyone looked.
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

/// A removal is reported only once the card is known to be gone.
#[test]
fn a_reader_that_could_not_be_watched_elsewhere_is_not_considered_empty() {
    let mut tracker = Tracker::new(PcscLite, false);
    let reader = name("R");
    tracker.list(vec![reader.clone()]);
    let was_mute = tracker.mute_ones(|_| true);
    assert_eq!(was_mute, [(reader.clone(), UNAWARE)]);
    tracker.put_aside(&reader);
    assert!(!tracker.view().is_complete());
    // There was no thread or no context.
    tracker.see_aside(&reader, None);
    assert!(!tracker.view().is_complete() && tracker.is_incomplete());
    tracker.list(vec![reader.clone()]);
    assert!(!tracker.view().is_complete());
    let seen = [MUTE, EMPTY].map(|flags| {
        let mut tracker = Tracker::new(PcscLite, false);
        tracker.list(vec![reader.clone()]);
        tracker.put_aside(&reader);
        tracker.see_aside(&reader, None);
        tracker.see(&reader, flags, Atr::default());
        (tracker.view().is_complete(), tracker.view().cards().count())
    });
    assert_eq!(seen, [(true, 1), (true, 0)]);
    // Unplugged.
    tracker.list(vec![]);
    assert!(tracker.view().is_complete());
}
