//! Tests of the watcher with simulated services and clock.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::*;
use crate::codes::ReturnCode as Code;
use crate::error::Operation;
use crate::look::Service;
use crate::values::Atr;
use crate::values::ReaderFlags as Flags;

/// The kinds of services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// pcsc-lite before 2.3: reports readers only if they are attached during the call.
    OldLite,
    /// pcsc-lite since 2.3: counts attached and detached readers.
    NewLite,
    /// Counts the readers; any difference from the passed state is a change.
    Windows,
    /// No plug-and-play entry, no counters.
    MacOs,
}

const KINDS: [Kind; 4] = [Kind::OldLite, Kind::NewLite, Kind::Windows, Kind::MacOs];

#[derive(Debug, Clone)]
enum Op {
    Attach(&'static str),
    Detach(&'static str),
    Insert(&'static str),
    Remove(&'static str),
    /// Every call fails with this from now on; `None` ends that.
    Fail(Option<Code>),
    /// The consumer closes the host.
    Close,
    /// The current wait ends, as by `SCardCancel`.
    Cancel,
    /// Every look fails with this in the current contexts, or also in future ones.
    Break(Code, Lasting),
    /// A reader is attached, or one that is listed but unknown becomes known, without being counted.
    Know(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lasting {
    InThisContext,
    ForEver,
}

#[derive(Debug, Clone)]
struct Reader {
    name: ReaderName,
    card: bool,
    count: u16,
}

struct World {
    kind: Kind,
    readers: Vec<Reader>,
    comings: u16,
    /// How many entries one call takes.
    capacity: usize,
    /// A reader that is listed but not known.
    phantom: Option<ReaderName>,
    failing: Option<Code>,
    broken: Option<(Code, Lasting)>,
    /// Every wait returns at once.
    never_waits: bool,
    /// A wait also reports what happens as it begins.
    is_exact: bool,
    /// The number of looks, of which three in four are misread.
    misread: Option<u32>,
    /// A card is inserted or removed at every look.
    restless: bool,
    /// What happens in waits, each after this delay.
    later: VecDeque<(Duration, Vec<Op>)>,
    /// What happens right after the next list.
    behind_the_list: Vec<Op>,
    clock: Instant,
    end: Instant,
    closed: bool,
    cancelled: bool,
    calls: u32,
    contexts: u32,
    /// The number of entries in the last wait.
    entries: usize,
    pauses: Vec<Duration>,
    reported: View,
    events: Vec<(Duration, String)>,
    begun: Instant,
}

#[derive(Clone)]
struct Simulation(Rc<RefCell<World>>);

fn name(text: &str) -> ReaderName {
    ReaderName::new(text).unwrap()
}

fn error(code: Code) -> Error {
    Error::new(Operation::GetStatusChange, code)
}

impl World {
    fn apply(&mut self, op: &Op) {
        let reader = |world: &mut World, of: &str| {
            let found = world.readers.iter().position(|it| it.name == *of);
            found.unwrap_or_else(|| panic!("no reader {of}"))
        };
        match op {
            Op::Attach(of) => {
                self.comings += 1;
                self.readers.push(Reader {
                    name: name(of),
                    card: false,
                    count: 0,
                });
            }
            Op::Detach(of) => {
                self.comings += 1;
                let at = reader(self, of);
                self.readers.remove(at);
            }
            Op::Insert(of) | Op::Remove(of) => {
                let at = reader(self, of);
                let it = &mut self.readers[at];
                it.card = matches!(op, Op::Insert(_));
                it.count = it.count.wrapping_add(1);
            }
            Op::Fail(code) => self.failing = *code,
            Op::Close => self.closed = true,
            Op::Cancel => self.cancelled = true,
            Op::Break(code, lasting) => self.broken = Some((*code, *lasting)),
            Op::Know(of) => {
                self.phantom = None;
                self.readers.push(Reader {
                    name: name(of),
                    card: false,
                    count: 7,
                });
            }
        }
    }

    fn flags(&self, reader: &Reader) -> u32 {
        let flags = match reader.card {
            true => Flags::PRESENT,
            false => Flags::EMPTY,
        };
        match self.kind {
            Kind::MacOs => flags.bits(),
            _ => flags.bits() | (u32::from(reader.count) << 16),
        }
    }

    fn plug_and_play(&self) -> u32 {
        match self.kind {
            Kind::NewLite => u32::from(self.comings + 1) << 16,
            Kind::Windows => (self.readers.len() as u32) << 16,
            Kind::OldLite | Kind::MacOs => 0,
        }
    }

    /// Fills in the answer, and returns whether something has changed.
    fn compare(&self, watched: &mut [ReaderQuery<'_>], readers_at_begin: usize) -> bool {
        let mut any = false;
        for it in watched {
            let current = it.current_state;
            let (state, changed) = if it.name == PLUG_AND_PLAY {
                let state = self.plug_and_play();
                let changed = match self.kind {
                    Kind::OldLite => self.readers.len() != readers_at_begin,
                    Kind::NewLite => current >> 16 != 0 && current != state,
                    _ => current == 0 || current != state,
                };
                (state, changed)
            } else if let Some(reader) = self
                .readers
                .iter()
                .find(|reader| *reader.name.as_c_str() == *it.name)
            {
                let state = self.flags(reader);
                let counted = current >> 16 != 0 && current >> 16 != state >> 16;
                let changed = match self.kind {
                    Kind::Windows | Kind::MacOs => current & 0xFFFF != state & 0xFFFF,
                    _ => {
                        let turned = if reader.card {
                            Flags::EMPTY
                        } else {
                            Flags::PRESENT
                        };
                        current & turned.bits() != 0
                    }
                };
                (state, changed || counted || current == 0)
            } else {
                ((Flags::UNKNOWN | Flags::UNAVAILABLE).bits(), true)
            };
            any |= changed;
            let mark = if changed { Flags::CHANGED.bits() } else { 0 };
            it.event_state = state | mark;
            it.atr = Atr::new(&[0x3B]).unwrap();
        }
        any
    }
}

impl Simulation {
    fn new(kind: Kind, readers: &[&'static str]) -> Simulation {
        let now = Instant::now();
        let mut world = World {
            kind,
            readers: Vec::new(),
            comings: 0,
            capacity: usize::MAX,
            phantom: None,
            failing: None,
            broken: None,
            never_waits: false,
            is_exact: false,
            misread: None,
            restless: false,
            later: VecDeque::new(),
            behind_the_list: Vec::new(),
            clock: now,
            end: now + Duration::from_secs(60),
            closed: false,
            cancelled: false,
            calls: 0,
            contexts: 0,
            entries: 0,
            pauses: Vec::new(),
            reported: View::default(),
            events: Vec::new(),
            begun: now,
        };
        for reader in readers {
            world.apply(&Op::Attach(reader));
        }
        Simulation(Rc::new(RefCell::new(world)))
    }

    fn set(self, change: impl FnOnce(&mut World)) -> Simulation {
        change(&mut self.0.borrow_mut());
        self
    }

    fn later(self, seconds: f64, ops: &[Op]) -> Simulation {
        self.set(|world| {
            let after = Duration::from_secs_f64(seconds);
            world.later.push_back((after, ops.to_vec()));
        })
    }

    fn platform(&self) -> Platform {
        match self.0.borrow().kind {
            Kind::OldLite | Kind::NewLite => Platform::PcscLite,
            Kind::Windows => Platform::Windows,
            Kind::MacOs => Platform::MacOs,
        }
    }

    /// Watches for one simulated minute, and returns the events and their times.
    fn run(&self) -> Vec<(Duration, String)> {
        Watcher::new(self, self.platform(), false).run();
        self.0.borrow().events.clone()
    }

    /// The same without the times.
    fn events(&self) -> Vec<String> {
        self.run().into_iter().map(|(_, event)| event).collect()
    }

    fn calls(&self) -> u32 {
        self.0.borrow().calls
    }

    /// Lets time pass with everything that happens in it, and stops early if requested. Returns
    /// whether something happened.
    fn advance(&self, limit: Duration, stop_early: bool) -> bool {
        let mut world = self.0.borrow_mut();
        let until = world.clock + limit.min(world.end - world.clock);
        let mut happened = false;
        while let Some((after, ops)) = world.later.front().cloned() {
            let at = world.clock + after;
            if at > until {
                let passed = until - world.clock;
                if let Some(next) = world.later.front_mut() {
                    next.0 -= passed;
                }
                break;
            }
            world.later.pop_front();
            world.clock = at;
            ops.iter().for_each(|op| world.apply(op));
            happened = true;
            if stop_early {
                return true;
            }
        }
        world.clock = until;
        world.closed |= world.clock >= world.end;
        happened
    }

    fn call(&self) -> Result<()> {
        let mut world = self.0.borrow_mut();
        world.calls += 1;
        assert!(world.calls < 500_000, "a busy loop");
        match world.failing {
            Some(code) => Err(error(code)),
            None => Ok(()),
        }
    }
}

impl Source for Simulation {
    type Service = Simulation;

    async fn establish(&self) -> Result<Simulation> {
        self.call()?;
        self.0.borrow_mut().contexts += 1;
        let broken = &mut self.0.borrow_mut().broken;
        *broken = broken.filter(|(_, lasting)| *lasting == Lasting::ForEver);
        Ok(self.clone())
    }

    fn is_exact(&self) -> bool {
        self.0.borrow().is_exact
    }
}

impl Host for Simulation {
    fn post(&self, view: &View) {
        let mut world = self.0.borrow_mut();
        let events = view.events_since(&world.reported);
        world.reported = view.clone();
        let at = world.clock - world.begun;
        for event in events {
            world.events.push((at, event.to_string()));
        }
    }

    fn is_closed(&self) -> bool {
        self.0.borrow().closed
    }

    fn pause(&self, pause: Duration) {
        self.0.borrow_mut().pauses.push(pause);
        self.advance(pause, false);
    }

    fn now(&self) -> Instant {
        self.0.borrow().clock
    }
}

impl Service for Simulation {
    async fn list_readers(&mut self) -> Result<Vec<ReaderName>> {
        self.call()?;
        let mut world = self.0.borrow_mut();
        let mut names: Vec<_> = world.readers.iter().map(|it| it.name.clone()).collect();
        names.extend(world.phantom.clone());
        for op in std::mem::take(&mut world.behind_the_list) {
            world.apply(&op);
        }
        Ok(names)
    }

    async fn status_change(
        &mut self,
        limit: Duration,
        watched: &mut [ReaderQuery<'_>],
    ) -> Result<bool> {
        self.call()?;
        let begin = {
            let mut world = self.0.borrow_mut();
            if let Some((code, _)) = world.broken {
                return Err(error(code));
            }
            if let Some(looks) = &mut world.misread {
                *looks += 1;
                match *looks % 4 {
                    1 => return Err(error(Code::E_UNEXPECTED)),
                    2 => return Err(error(Code::E_UNKNOWN_READER)),
                    3 => {
                        let unknown = Flags::UNKNOWN | Flags::UNAVAILABLE | Flags::CHANGED;
                        let of_readers = watched.iter_mut().filter(|it| it.name != PLUG_AND_PLAY);
                        of_readers.for_each(|it| it.event_state = unknown.bits());
                        return Ok(true);
                    }
                    _ => {}
                }
            }
            if watched.len() > world.capacity {
                return Err(error(Code::E_INVALID_PARAMETER));
            }
            if !limit.is_zero() {
                world.entries = watched.len();
            }
            let known = |name: &std::ffi::CStr| {
                let has_entry = world.kind != Kind::MacOs && name == PLUG_AND_PLAY;
                has_entry || world.readers.iter().any(|it| *it.name.as_c_str() == *name)
            };
            if !watched.iter().all(|it| known(it.name)) {
                return Err(error(Code::E_UNKNOWN_READER));
            }
            if world.restless {
                let turned = if world.readers[0].card {
                    Op::Remove("A")
                } else {
                    Op::Insert("A")
                };
                world.apply(&turned);
            }
            world.readers.len()
        };
        let end = self.now() + limit.min(Duration::from_secs(60));
        loop {
            let changed = self.0.borrow().compare(watched, begin);
            if changed || self.0.borrow().never_waits {
                return Ok(true);
            }
            let left = end.saturating_duration_since(self.now());
            if left.is_zero() {
                return Ok(false);
            }
            self.advance(left, true);
            let broken = self.0.borrow().broken.map(|(code, _)| code);
            if let Some(code) = self.0.borrow().failing.or(broken) {
                return Err(error(code));
            }
            if self.is_closed() || std::mem::take(&mut self.0.borrow_mut().cancelled) {
                return Err(error(Code::E_CANCELLED));
            }
        }
    }
}

fn at(seconds: u64, event: &str) -> (Duration, String) {
    (Duration::from_secs(seconds), event.to_owned())
}

#[test]
fn changes_during_a_wait_are_reported_at_once() {
    for kind in KINDS {
        let simulation = Simulation::new(kind, &["A"])
            .later(10.0, &[Op::Insert("A")])
            .later(10.0, &[Op::Remove("A")])
            .later(10.0, &[Op::Detach("A")]);
        let expected = [
            at(0, "A: reader attached"),
            at(10, "A: card inserted (3B)"),
            at(20, "A: card removed"),
            at(30, "A: reader detached"),
        ];
        assert_eq!(simulation.run(), expected, "{kind:?}");
    }
}

#[test]
fn a_reader_attached_during_a_wait_is_reported_at_once_if_the_service_does() {
    for kind in KINDS {
        for before in [&["A"][..], &[]] {
            let simulation = Simulation::new(kind, before).later(9.9, &[Op::Attach("B")]);
            let (reported, event) = simulation.run().pop().unwrap();
            assert_eq!(event, "B: reader attached");
            let late = reported - Duration::from_secs_f64(9.9);
            match kind {
                Kind::MacOs => assert!(late <= ROUND),
                // A count of zero cannot be distinguished from none.
                Kind::Windows if before.is_empty() => assert!(late <= ROUND),
                _ => assert_eq!(late, Duration::ZERO, "{kind:?} {before:?}"),
            }
        }
    }
}

/// In this moment old versions of pcsc-lite are blind.
#[test]
fn a_reader_attached_between_list_and_wait_is_reported_within_a_second() {
    for kind in KINDS {
        for (before, gap) in [(&["A"][..], 0.0), (&[], 0.0), (&["A"], 5.0)] {
            let attach = vec![Op::Attach("B")];
            let simulation = match gap {
                0.0 => Simulation::new(kind, before).set(|world| world.behind_the_list = attach),
                // While the answer to something else is handled.
                gap => {
                    Simulation::new(kind, before).later(gap, &[Op::Insert("A"), Op::Attach("B")])
                }
            };
            let events = simulation.run();
            let reported = events
                .iter()
                .find(|(_, event)| event == "B: reader attached");
            let (reported, _) = reported.unwrap_or_else(|| panic!("{kind:?}: {events:?}"));
            let late = *reported - Duration::from_secs_f64(gap);
            assert!(late <= ROUND, "{kind:?} {late:?}");
            if kind == Kind::NewLite || kind == Kind::Windows {
                assert_eq!(late, Duration::ZERO, "{kind:?}");
            }
        }
    }
}

/// pcsc-lite compares its count only when a wait begins, before it counts a reader that is being
/// attached; later in the wait it compares the number of readers.
#[test]
fn a_reader_that_the_service_does_not_report_is_found() {
    let simulation = Simulation::new(Kind::NewLite, &["A"])
        .set(|world| world.readers[0].count = 7)
        .set(|world| world.behind_the_list = vec![Op::Know("B")])
        .later(40.0, &[Op::Know("C")]);
    let events = simulation.run();
    let reported = |event: &str| events.iter().find(|(_, it)| it == event).unwrap().0;
    assert!(reported("B: reader attached") <= ROUND, "{events:?}");
    let late = reported("C: reader attached") - Duration::from_secs(40);
    assert!(late <= LONGEST, "{events:?}");
    // Contexts, lists and waits of a minute.
    assert!(simulation.calls() < 50, "{}", simulation.calls());
}

#[test]
fn a_detached_reader_does_not_hide_changes_of_others() {
    for kind in KINDS {
        let simulation = Simulation::new(kind, &["A", "B"])
            .set(|world| world.behind_the_list = vec![Op::Detach("B")])
            .later(5.0, &[Op::Insert("A")]);
        let expected = [at(0, "A: reader attached"), at(5, "A: card inserted (3B)")];
        assert_eq!(simulation.run(), expected, "{kind:?}");
    }
}

#[test]
fn a_reader_that_is_listed_but_unknown_does_not_hide_changes_of_others() {
    for kind in KINDS {
        let simulation = Simulation::new(kind, &["A"])
            .set(|world| world.phantom = Some(name("Ghost")))
            .later(5.0, &[Op::Insert("A")])
            .later(5.0, &[Op::Attach("B")]);
        let expected = [
            "A: reader attached",
            "A: card inserted (3B)",
            "B: reader attached",
        ];
        assert_eq!(simulation.events(), expected, "{kind:?}");
        // Ten a second: the list, each reader on its own, all together, the wait. pcsc-lite,
        // where list and look have one source, is asked in other contexts first.
        let limit = match kind {
            Kind::OldLite | Kind::NewLite => 10_000,
            Kind::Windows | Kind::MacOs => 600,
        };
        assert!(
            simulation.calls() < limit,
            "{kind:?}: {}",
            simulation.calls()
        );
    }
}

/// Substitutes for a service, as in remote sessions, may lack the entry.
#[test]
fn a_service_without_the_entry_for_readers_is_queried_once_a_second() {
    for platform in [Platform::PcscLite, Platform::Windows] {
        for before in [&["A"][..], &[]] {
            let simulation = Simulation::new(Kind::MacOs, before)
                .later(5.0, &[Op::Attach("B")])
                .later(5.0, &[Op::Insert("B")]);
            Watcher::new(&simulation, platform, false).run();
            let events = simulation.0.borrow().events.clone();
            assert_eq!(events.len(), before.len() + 2, "{platform}: {events:?}");
            for ((reported, event), second) in events.iter().rev().zip([10, 5]) {
                let late = reported.saturating_sub(Duration::from_secs(second));
                assert!(late <= ROUND, "{platform}: {event} {reported:?}");
            }
            assert!(simulation.calls() < 500, "{}", simulation.calls());
        }
    }
}

#[test]
fn more_readers_than_fit_into_one_call() {
    const NAMES: [&str; 25] = [
        "A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "K", "L", "M", "N", "O", "P", "Q", "R",
        "S", "T", "U", "V", "W", "X", "Y",
    ];
    for kind in KINDS {
        for (count, capacity) in [(16, 16), (16, 17), (25, 10), (25, 1), (11, 10), (10, 10)] {
            let last = NAMES[count - 1];
            let simulation = Simulation::new(kind, &NAMES[..count])
                .set(|world| world.capacity = capacity)
                .later(10.0, &[Op::Insert(last), Op::Insert("A")])
                .later(10.0, &[Op::Detach(last)])
                .later(10.0, &[Op::Attach("Z")]);
            let events = simulation.run();
            assert_eq!(events.len(), count + 5, "{kind:?} {count} {capacity}");
            let expected = [
                (10, "A: card inserted (3B)".to_owned()),
                (10, format!("{last}: card inserted (3B)")),
                (20, format!("{last}: card removed")),
                (20, format!("{last}: reader detached")),
                (30, "Z: reader attached".to_owned()),
            ];
            for (second, expected) in expected {
                let found = events.iter().find(|(_, event)| *event == expected);
                let (reported, _) = found.unwrap_or_else(|| panic!("{expected}: {events:?}"));
                let late = reported.saturating_sub(Duration::from_secs(second));
                assert!(late <= ROUND, "{kind:?} {expected} {reported:?}");
            }
            let each_time = 5 * count.div_ceil(capacity) + 4;
            let calls = simulation.calls() as usize;
            assert!(
                calls < 60 * each_time,
                "{kind:?} {count} {capacity}: {calls}"
            );
        }
    }
}

/// With a counter of zero the service does not report card swaps.
#[test]
fn an_exchange_at_a_count_of_zero_is_reported_within_a_second() {
    for kind in [Kind::OldLite, Kind::NewLite, Kind::Windows] {
        let mut simulation = Simulation::new(kind, &["A"]);
        simulation = simulation.set(|world| world.readers[0].card = true);
        simulation = simulation.later(5.5, &[Op::Remove("A"), Op::Insert("A")]);
        let events = simulation.run();
        let (reported, event) = events.last().unwrap();
        assert_eq!(event, "A: card exchanged (3B)", "{kind:?}");
        let late = *reported - Duration::from_secs_f64(5.5);
        assert!(late <= ROUND, "{kind:?} {late:?}");
    }
}

#[test]
fn an_exchange_during_a_wait_is_reported_at_once() {
    for kind in [Kind::OldLite, Kind::NewLite, Kind::Windows] {
        let simulation = Simulation::new(kind, &["A"])
            .later(5.5, &[Op::Insert("A")])
            .later(1.0, &[Op::Remove("A"), Op::Insert("A")])
            .later(1.0, &[Op::Remove("A"), Op::Insert("A"), Op::Remove("A")])
            .later(1.0, &[Op::Insert("A"), Op::Remove("A")]);
        let expected = [
            "A: reader attached",
            "A: card inserted (3B)",
            "A: card exchanged (3B)",
            "A: card came and went",
            "A: card removed",
            "A: card came and went",
        ];
        assert_eq!(simulation.events(), expected, "{kind:?}");
    }
}

#[test]
fn looks_become_rarer_while_idle_if_the_service_reports_everything() {
    // Waits of 1, 2, 4, 8, 16, 16 and 13 seconds, each after a list.
    let waits = 7 * 2;
    // Establish, list, ask (twice, of pcsc-lite's library).
    for (kind, is_exact, calls) in [
        (Kind::NewLite, false, 4 + waits),
        (Kind::NewLite, true, 3 + 2),
        (Kind::Windows, false, 3 + waits),
        (Kind::Windows, true, 3 + 2),
    ] {
        let simulation = Simulation::new(kind, &["A"])
            .set(|world| world.readers[0].count = 7)
            .set(|world| world.is_exact = is_exact);
        simulation.run();
        assert_eq!(simulation.calls(), calls, "{kind:?}, {is_exact}");
    }
    // No reader and no count: this does not identify the version.
    let simulation = Simulation::new(Kind::NewLite, &[]);
    simulation.run();
    assert_eq!(simulation.calls(), 3 + waits);
}

#[test]
fn otherwise_it_looks_once_a_second() {
    for (kind, count, calls_each_time) in [
        (Kind::OldLite, 7, 2),
        (Kind::OldLite, 0, 5),
        (Kind::NewLite, 0, 5),
        (Kind::MacOs, 0, 4),
    ] {
        let simulation = Simulation::new(kind, &["A"]).set(|world| world.readers[0].count = count);
        simulation.run();
        let calls = simulation.calls();
        assert!(
            calls <= 60 * calls_each_time + 10,
            "{kind:?} {count}: {calls}"
        );
    }
    let simulation = Simulation::new(Kind::MacOs, &[]);
    simulation.run();
    assert!(simulation.calls() <= 130, "{}", simulation.calls());
}

/// Such as winscard in Wine 10.
#[test]
fn a_service_that_never_waits_is_queried_once_a_second() {
    for kind in KINDS {
        let simulation = Simulation::new(kind, &["A"])
            .set(|world| world.never_waits = true)
            .later(30.0, &[Op::Insert("A")]);
        let events = simulation.run();
        assert_eq!(events.last().unwrap().1, "A: card inserted (3B)");
        assert!(simulation.calls() < 250, "{kind:?}: {}", simulation.calls());
    }
}

#[test]
fn no_code_causes_a_busy_loop_or_ends_the_watcher() {
    let codes = Code::known().chain([Code::from_raw(1), Code::from_raw(u32::MAX)]);
    for code in codes.filter(|code| *code != Code::S_SUCCESS) {
        for kind in [Kind::OldLite, Kind::Windows] {
            let simulation = Simulation::new(kind, &["A"])
                .later(1.0, &[Op::Insert("A")])
                .later(1.0, &[Op::Fail(Some(code))])
                .later(30.0, &[Op::Fail(None)]);
            let events = simulation.events();
            assert_eq!(
                events[..2],
                ["A: reader attached", "A: card inserted (3B)"],
                "{code}"
            );
            // Lost and restored, or not noticed at all.
            if events.len() > 2 {
                assert!(events[2].starts_with("service lost"), "{code}: {events:?}");
                let back = [
                    "service restored",
                    "A: reader attached",
                    "A: card inserted (3B)",
                ];
                assert!(
                    events.ends_with(&back.map(str::to_owned)),
                    "{code}: {events:?}"
                );
            }
            assert!(simulation.calls() < 500, "{code}: {}", simulation.calls());
        }
    }
}

/// A failure other than the loss of the service may concern only the context.
#[test]
fn a_broken_context_is_replaced_without_an_event() {
    for code in [Code::E_NO_MEMORY, Code::F_INTERNAL_ERROR] {
        for kind in KINDS {
            let simulation = Simulation::new(kind, &["A"])
                .later(10.0, &[Op::Break(code, Lasting::InThisContext)])
                .later(10.0, &[Op::Insert("A")]);
            let events = simulation.events();
            let expected = ["A: reader attached", "A: card inserted (3B)"];
            assert_eq!(events, expected, "{kind:?} {code}");
        }
    }
}

/// Only what the service does not accept is omitted from its calls.
#[test]
fn only_too_many_readers_make_calls_smaller() {
    const NAMES: [&str; 4] = ["A", "B", "C", "D"];
    for (kind, capacity, entries) in [
        (Kind::NewLite, 5, 5),
        // Without the plug-and-play entry.
        (Kind::NewLite, 4, 4),
        (Kind::NewLite, 3, 2),
        (Kind::MacOs, 4, 4),
        (Kind::MacOs, 3, 2),
    ] {
        let simulation = Simulation::new(kind, &NAMES).set(|world| world.capacity = capacity);
        simulation.run();
        assert_eq!(
            simulation.0.borrow().entries,
            entries,
            "{kind:?} {capacity}"
        );
        let broken = Op::Break(Code::F_INTERNAL_ERROR, Lasting::InThisContext);
        let simulation = Simulation::new(kind, &NAMES).later(10.0, &[broken]);
        simulation.run();
        let all = if kind == Kind::MacOs { 4 } else { 5 };
        assert_eq!(simulation.0.borrow().entries, all, "{kind:?}");
    }
}

/// If a call has only one entry, that cannot be too many.
#[test]
fn one_reader_is_not_too_many() {
    for (kind, readers) in [
        (Kind::NewLite, &[][..]),
        (Kind::NewLite, &["A"]),
        (Kind::MacOs, &["A"]),
    ] {
        let code = Code::E_INVALID_PARAMETER;
        let simulation =
            Simulation::new(kind, readers).later(10.0, &[Op::Break(code, Lasting::ForEver)]);
        let events = simulation.events();
        let lost = events.iter().any(|event| event.starts_with("service lost"));
        assert!(lost, "{kind:?} {readers:?}: {events:?}");
    }
}

#[test]
fn a_failure_after_closing_is_not_reported() {
    for kind in KINDS {
        let end = [Op::Close, Op::Fail(Some(Code::E_NO_SERVICE))];
        let simulation = Simulation::new(kind, &["A"]).later(10.0, &end);
        assert_eq!(simulation.events(), ["A: reader attached"], "{kind:?}");
    }
}

#[test]
fn a_wait_that_is_cancelled_is_followed_by_another_in_the_same_context() {
    for kind in KINDS {
        let simulation = Simulation::new(kind, &["A"])
            .later(10.0, &[Op::Cancel])
            .later(10.0, &[Op::Insert("A")]);
        let expected = [at(0, "A: reader attached"), at(20, "A: card inserted (3B)")];
        assert_eq!(simulation.run(), expected, "{kind:?}");
        assert_eq!(simulation.0.borrow().contexts, 1, "{kind:?}");
    }
}

#[test]
fn fruitless_rounds_are_followed_by_pauses_that_grow() {
    let simulation = Simulation::new(Kind::NewLite, &["A"]).set(|world| world.never_waits = true);
    simulation.run();
    let pauses: Vec<u128> = simulation.0.borrow().pauses[..8]
        .iter()
        .map(Duration::as_millis)
        .collect();
    assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1000]);
}

/// A failure in every context is reported once, and not mistaken for too many readers.
#[test]
fn a_failure_in_every_context_is_reported_as_a_lost_service() {
    for kind in KINDS {
        let code = Code::E_NO_MEMORY;
        let simulation =
            Simulation::new(kind, &["A"]).later(10.0, &[Op::Break(code, Lasting::ForEver)]);
        let events = simulation.run();
        assert_eq!(events.len(), 3, "{kind:?} {events:?}");
        assert!(events[1].1.starts_with("service lost"), "{events:?}");
        let late = events[1].0.saturating_sub(Duration::from_secs(10));
        assert!(late <= 2 * ROUND, "{kind:?} {late:?}");
    }
}

/// The reader is listed but not known; then it is known, and no count shows that.
#[test]
fn a_reader_that_becomes_known_is_reported_within_a_second() {
    for kind in [Kind::NewLite, Kind::Windows] {
        let mut simulation = Simulation::new(kind, &["A"]).later(30.0, &[Op::Know("B")]);
        simulation = simulation.set(|world| {
            world.readers[0].count = 7;
            world.phantom = Some(name("B"));
        });
        let events = simulation.run();
        let (reported, event) = events.last().unwrap();
        assert_eq!(event, "B: reader attached", "{kind:?}: {events:?}");
        let late = reported.saturating_sub(Duration::from_secs(30));
        assert!(late <= 2 * ROUND, "{kind:?} {late:?}");
    }
}

#[test]
fn the_burst_is_refilled_over_time() {
    let begun = Instant::now();
    let mut pace = Pace::new(begun);
    let mut free = |now| (0..BURST).filter(|_| pace.pause(now).is_zero()).count();
    assert_eq!(free(begun), BURST as usize);
    assert_eq!(free(begun), 0);
    assert_eq!(free(begun + Duration::from_secs(60)), BURST as usize);
    assert_eq!(free(begun + Duration::from_secs(60)), 0);
    // No faster than one per millisecond.
    let later = begun + Duration::from_secs(60) + 11 * PACE;
    assert!((9..=11).contains(&free(later)));
}

/// Even if no time between two rounds earns a full one.
#[test]
fn twice_the_pace_exhausts_the_burst_after_twice_its_rounds() {
    let begun = Instant::now();
    let mut pace = Pace::new(begun);
    let rounds = (1..2 * BURST + 100).map(|round| begun + round * PACE / 2);
    let free = rounds.take_while(|now| pace.pause(*now).is_zero()).count();
    assert_eq!(free, 2 * BURST as usize);
}

/// As in pcsc-lite 2.5 while cards are inserted and removed.
#[test]
fn a_misread_answer_is_not_an_event() {
    let simulation = Simulation::new(Kind::NewLite, &["A", "B"])
        .set(|world| world.misread = Some(0))
        .later(10.0, &[Op::Insert("A")])
        .later(10.0, &[Op::Detach("B")])
        .later(10.0, &[Op::Attach("C")]);
    let expected = [
        at(0, "A: reader attached"),
        at(0, "B: reader attached"),
        at(10, "A: card inserted (3B)"),
        at(20, "B: reader detached"),
        at(30, "C: reader attached"),
    ];
    assert_eq!(simulation.run(), expected);
}

#[test]
fn a_service_that_fails_from_the_beginning_is_lost_once() {
    let simulation = Simulation::new(Kind::NewLite, &["A"])
        .set(|world| world.failing = Some(Code::E_NO_SERVICE))
        .later(30.2, &[Op::Fail(None)]);
    let events = simulation.run();
    assert!(events[0].1.starts_with("service lost"), "{events:?}");
    assert_eq!(events[1].1, "service restored");
    assert!(events[1].0 <= Duration::from_millis(31_200), "{events:?}");
    assert_eq!(events[2..].len(), 1);
}

#[test]
fn a_restless_reader_does_not_cause_a_busy_loop() {
    let simulation = Simulation::new(Kind::NewLite, &["A"]).set(|world| world.restless = true);
    let events = simulation.run();
    // One minute of at most 1,000 rounds of up to seven calls a second.
    assert!(
        simulation.calls() < 60 * 1_000 * 7,
        "{}",
        simulation.calls()
    );
    assert!(
        events.len() > 1000,
        "changes must still be reported: {}",
        events.len()
    );
}
