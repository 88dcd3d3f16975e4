//! Readers that come and go under the real daemon, and what a monitor reports about them.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use scard::{
    Atr, CardFilter, ConnectOptions, Context, Disposition, ErrorKind, Event, Monitor,
    MonitorOptions, ReaderName, Session,
};
use scard_testkit::{
    Driver, IfdCall, IfdError, Sandbox, SandboxBuilder, TestkitError, UsbReader, VirtualCard,
    VirtualReader, isolated,
};

use crate::support::events;
use crate::support::random::Random;
use crate::support::*;

const NAMES: [&str; 6] = [
    "ACS ACR122U",
    "Gemalto PC Twin",
    "SCM SCR 3310",
    "Yubico YubiKey",
    "Cherry ST-1044U",
    "OMNIKEY 5022",
];

fn sandbox() -> Sandbox {
    started(Sandbox::builder().driver(Driver::Kit))
}

fn started(builder: SandboxBuilder) -> Sandbox {
    let builder = NAMES
        .iter()
        .fold(builder, |builder, name| builder.hot_plug(*name));
    builder.start().expect("the sandbox")
}

fn name(reader: &VirtualReader) -> ReaderName {
    ReaderName::new(reader.name()).unwrap()
}

/// The result of the events so far: the readers and their cards.
#[derive(Debug, Default)]
struct Picture {
    readers: BTreeMap<ReaderName, Option<Atr>>,
    lost: bool,
    /// The events in words, since they were last taken.
    told: Vec<String>,
}

impl Picture {
    /// Adds an event, which must be consistent.
    fn add(&mut self, event: &Event) {
        let words = match event.reader_name() {
            Some(_) => event.to_string(),
            None => event
                .to_string()
                .split(": SCard")
                .next()
                .unwrap_or_default()
                .to_owned(),
        };
        self.told.push(words);
        let card = |picture: &Picture, reader: &ReaderName| {
            let known = picture.readers.get(reader).copied();
            known.unwrap_or_else(|| panic!("{reader} is not attached: {event:?}"))
        };
        match event {
            Event::ReaderAttached {
                reader_name: reader,
                ..
            } => {
                assert!(!self.lost, "{event:?} of a lost service");
                let before = self.readers.insert(reader.clone(), None);
                assert_eq!(before, None, "{event:?} twice");
            }
            Event::ReaderDetached {
                reader_name: reader,
                ..
            } => {
                assert_eq!(card(self, reader), None, "{event:?} with a card");
                self.readers.remove(reader);
            }
            Event::CardInserted {
                reader_name: reader,
                atr,
                ..
            } => {
                assert_eq!(card(self, reader), None, "{event:?} on a card");
                self.readers.insert(reader.clone(), Some(*atr));
            }
            Event::CardExchanged {
                reader_name: reader,
                atr,
                ..
            } => {
                assert!(card(self, reader).is_some(), "{event:?} of none");
                self.readers.insert(reader.clone(), Some(*atr));
            }
            Event::CardRemoved {
                reader_name: reader,
                ..
            } => {
                assert!(card(self, reader).is_some(), "{event:?} of none");
                self.readers.insert(reader.clone(), None);
            }
            Event::ServiceLost { .. } => self.lost = true,
            Event::ServiceRestored => {
                assert!(self.lost && self.readers.is_empty(), "{self:?}");
                self.lost = false;
            }
            Event::CardMissed {
                reader_name: reader,
                ..
            } => drop(card(self, reader)),
            event => panic!("not here: {event:?}"),
        }
    }

    /// Adds events until they lead to this, and returns them.
    #[track_caller]
    fn follow(
        &mut self,
        monitor: &mut Monitor,
        truth: &BTreeMap<ReaderName, Option<Atr>>,
        done: impl Fn(&[String]) -> bool,
    ) -> Vec<String> {
        let end = Instant::now() + SOON;
        while self.readers != *truth || self.lost || !done(&self.told) {
            let left = end.saturating_duration_since(Instant::now());
            match monitor.next_timeout(left) {
                Some(event) => self.add(&event),
                None => panic!(
                    "told {:#?}\nso that {:#?}\nbut {truth:#?}",
                    self.told, self.readers
                ),
            }
        }
        // What was noticed together with the last event.
        while let Some(event) = monitor.next_timeout(Duration::ZERO) {
            self.add(&event);
        }
        std::mem::take(&mut self.told)
    }
}

#[test]
fn readers_are_told_to_come_and_go() {
    isolated(|| {
        let sandbox = sandbox();
        let context = Context::establish().unwrap();
        let mut monitor = context.monitor(MonitorOptions::new()).unwrap();
        assert_eq!(monitor.next_timeout(NEVER), None);
        for _ in 0..3 {
            let reader = sandbox.plug(NAMES[0]).unwrap();
            let attached = monitor.next_timeout(SOON).unwrap();
            assert_eq!(attached, events::attached(&name(&reader)));
            reader.insert(plain_card()).unwrap();
            let inserted = monitor.next_timeout(SOON).unwrap();
            assert!(
                matches!(&inserted, Event::CardInserted { .. }),
                "{inserted:?}"
            );
            reader.unplug().unwrap();
            let removed = monitor.next_timeout(SOON).unwrap();
            assert_eq!(removed, events::removed(&name(&reader)));
            let detached = monitor.next_timeout(SOON).unwrap();
            assert_eq!(detached, events::detached(&name(&reader)));
        }
    });
}

#[test]
fn a_wait_for_a_card_sees_readers_that_are_plugged_in_meanwhile() {
    isolated(|| {
        let sandbox = sandbox();
        let context = Context::establish().unwrap();
        let waiting = in_background(move || context.wait_for_card(&CardFilter::new(), None));
        assert_blocked(&waiting);
        let reader = sandbox.plug(NAMES[1]).unwrap();
        assert_blocked(&waiting);
        reader.insert(plain_card()).unwrap();
        assert_eq!(finish(&waiting).unwrap().reader_name(), &name(&reader));
    });
}

#[test]
fn an_unplugged_reader_has_no_card_any_more() {
    isolated(|| {
        let sandbox = sandbox();
        let context = Context::establish().unwrap();
        let reader = sandbox.plug(NAMES[1]).unwrap();
        reader.insert(plain_card()).unwrap();
        let found = context
            .wait_for_card(&CardFilter::new(), Some(SOON))
            .unwrap();
        let same = CardFilter::new().same_card(&found);
        let waiting = in_background(move || context.wait_for_removal(&same, None));
        assert_blocked(&waiting);
        reader.unplug().unwrap();
        finish(&waiting).unwrap();
    });
}

/// The reader is unplugged during the work, and plugged in again.
#[test]
fn a_session_goes_on_in_a_reader_that_is_plugged_in_again() {
    isolated(|| {
        let sandbox = sandbox();
        let context = Context::establish().unwrap();
        let card = scard_testkit::CardHandle::from(plain_card());
        let mut reader = sandbox.plug(NAMES[2]).unwrap();
        reader.insert(&card).unwrap();
        let mut session = Session::builder(&context)
            .timeout(Some(SOON))
            .open()
            .unwrap();
        for round in 0..10 {
            let answer = session.run(|card| card.transmit(COMMAND)).unwrap();
            assert_eq!(answer, OK);
            reader.unplug().unwrap();
            if round % 2 == 0 {
                reader = sandbox.plug(NAMES[2]).unwrap();
                reader.insert(&card).unwrap();
                continue;
            }
            // The session notices before the reader is back.
            let (sender, answered) = std::sync::mpsc::channel();
            std::thread::scope(|scope| {
                scope.spawn(|| sender.send(session.run(|card| card.transmit(COMMAND))));
                assert_blocked(&answered);
                reader = sandbox.plug(NAMES[2]).unwrap();
                reader.insert(&card).unwrap();
                assert_eq!(finish(&answered).unwrap(), OK);
            });
        }
        assert_eq!(card.log().len(), 15);
    });
}

/// Every call on a reader that was unplugged fails with the same kind, at once.
#[test]
fn calls_on_an_unplugged_reader_say_that_it_is_gone() {
    isolated(|| {
        let sandbox = sandbox();
        let context = Context::establish().unwrap();
        let reader = sandbox.plug(NAMES[3]).unwrap();
        reader.insert(plain_card()).unwrap();
        let connect = || context.connect(name(&reader), ConnectOptions::new());
        let mut card = connect().unwrap();
        let mut direct = context.open_reader(name(&reader)).unwrap();
        let mut held = connect().unwrap();
        let transaction = held.transaction().unwrap();
        reader.unplug().unwrap();
        let mut errors = vec![
            transaction.end(Disposition::Leave).unwrap_err(),
            card.transmit(COMMAND).map(drop).unwrap_err(),
            card.status().map(drop).unwrap_err(),
            card.transaction().map(drop).unwrap_err(),
            direct.status().map(drop).unwrap_err(),
            connect().map(drop).unwrap_err(),
        ];
        errors.push(
            reconnect(&mut card, scard::Initialization::Leave)
                .map(drop)
                .unwrap_err(),
        );
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::ReaderGone, "{error}");
        }
        // The old handle stays dead; a new one works.
        let again = sandbox.plug(NAMES[3]).unwrap();
        again.insert(plain_card()).unwrap();
        assert_eq!(
            card.transmit(COMMAND).map(drop).unwrap_err().kind(),
            ErrorKind::ReaderGone
        );
        assert_works(&mut connect().unwrap());
    });
}

#[test]
fn a_card_without_an_answer_is_mute_and_a_reader_without_one_unavailable() {
    isolated(|| {
        let sandbox = Sandbox::builder().driver(Driver::Kit).start().unwrap();
        let slot = sandbox.reader(0);
        let context = Context::establish().unwrap();
        let mut monitor = context.monitor(MonitorOptions::new()).unwrap();
        let mut next = || monitor.next_timeout(SOON).map(|event| event.to_string());
        let mut expect = |expected: &str| {
            let expected = format!("{}: {expected}", slot.name());
            assert_eq!(next(), Some(expected));
        };
        expect("reader attached");
        slot.fail_every(IfdCall::PowerOn, IfdError::COMMUNICATION_ERROR)
            .unwrap();
        slot.insert_now(plain_card()).unwrap();
        expect("card does not answer");
        slot.remove().unwrap();
        expect("card removed");
        slot.clear_faults().unwrap();
        slot.insert(plain_card()).unwrap();
        expect("card inserted (3B 80 01 81)");
        slot.fail_every(IfdCall::Presence, IfdError::COMMUNICATION_ERROR)
            .unwrap();
        expect("card removed");
        expect("reader unavailable");
        slot.clear_faults().unwrap();
        expect("reader available again");
        expect("card inserted (3B 80 01 81)");
    });
}

#[test]
fn a_reader_for_which_the_daemon_has_no_place_is_not_plugged_in() {
    isolated(|| {
        let mut count = Sandbox::max_readers().unwrap().min(16);
        let sandbox = Sandbox::builder()
            .driver(Driver::Kit)
            .readers(count)
            .hot_plug(NAMES[0])
            // This waits for nothing else.
            .timeout(Duration::from_secs(1))
            .start()
            .unwrap();
        match sandbox.plug(NAMES[0]) {
            // pcsc-lite 2.5 adds a place.
            Ok(_) => count += 1,
            Err(error) => assert!(matches!(error, TestkitError::Timeout { .. }), "{error}"),
        }
        let context = Context::establish().unwrap();
        assert_eq!(context.readers().unwrap().len(), count);
    });
}

/// More entries than a call accepts before pcsc-lite 2.5: 16 readers, the daemon's limit there, and
/// the entry for plug and play.
#[test]
fn many_readers() {
    isolated(|| {
        let count = Sandbox::max_readers().unwrap().min(20);
        let sandbox = Sandbox::builder()
            .driver(Driver::Kit)
            .readers(count - 2)
            .hot_plug(NAMES[0])
            .hot_plug(NAMES[1])
            .hot_plug(NAMES[2])
            .start()
            .unwrap();
        let context = Context::establish().unwrap();
        let mut monitors = [(); 2].map(|()| {
            let monitor = context.monitor(MonitorOptions::new()).unwrap();
            (monitor, Picture::default())
        });
        let mut truth: BTreeMap<_, _> = sandbox
            .readers()
            .iter()
            .map(|it| (name(it), None))
            .collect();
        let mut check = |truth: &BTreeMap<_, _>| {
            for (monitor, picture) in &mut monitors {
                picture.follow(monitor, truth, |_| true);
            }
        };
        check(&truth);
        let plugged = [NAMES[0], NAMES[1]].map(|it| sandbox.plug(it).unwrap());
        truth.extend(plugged.iter().map(|it| (name(it), None)));
        check(&truth);
        for round in 0..3 {
            let slots = sandbox
                .readers()
                .iter()
                .chain(plugged.iter().map(|it| &**it));
            for (at, slot) in slots.enumerate() {
                let (card, atr) = numbered_card(round * 16 + at as u16);
                slot.insert(card).unwrap();
                truth.insert(name(slot), Some(atr));
                check(&truth);
            }
            for slot in sandbox
                .readers()
                .iter()
                .chain(plugged.iter().map(|it| &**it))
            {
                slot.remove().unwrap();
                truth.insert(name(slot), None);
            }
            check(&truth);
        }
        plugged[0].unplug().unwrap();
        truth.remove(&name(&plugged[0]));
        check(&truth);
        let last = sandbox.plug(NAMES[2]).unwrap();
        truth.insert(name(&last), None);
        check(&truth);
    });
}

/// A card with a unique ATR.
fn numbered_card(number: u16) -> (VirtualCard, Atr) {
    let [high, low] = number.to_be_bytes();
    let atr = [0x3B, 0x02, high, low];
    (plain_card().atr(atr), Atr::new(&atr).unwrap())
}

/// What the test has done, and the resulting state.
struct Scene {
    sandbox: Sandbox,
    /// The card in the first reader, which is never unplugged: its events come after all others.
    marks: u16,
    plugged: Vec<(UsbReader, &'static str)>,
    /// How many were plugged in at once.
    most: usize,
    truth: BTreeMap<ReaderName, Option<Atr>>,
    cards: u16,
}

impl Scene {
    fn new() -> Scene {
        Scene {
            sandbox: started(Sandbox::builder().driver(Driver::Kit).reader("Mark")),
            marks: 0,
            plugged: Vec::new(),
            most: 0,
            truth: BTreeMap::new(),
            cards: 0,
        }
    }

    fn card(&mut self) -> (VirtualCard, Atr) {
        self.cards += 1;
        numbered_card(self.cards)
    }

    /// Puts another card into the first reader, and returns the last event about it.
    fn mark(&mut self) -> String {
        self.marks += 1;
        let (card, atr) = numbered_card(0x8000 | self.marks);
        let slot = self.sandbox.reader(0);
        match slot.card() {
            Some(_) => slot.swap(card).unwrap(),
            None => slot.insert(card).unwrap(),
        };
        self.truth.insert(name(slot), Some(atr));
        format!("({atr})")
    }

    /// Performs one possible operation, and returns the expected events.
    fn act(&mut self, random: &mut Random) -> Vec<String> {
        loop {
            let at = random.below(NAMES.len() as u64) as usize;
            let found = self.plugged.iter().position(|(_, name)| *name == NAMES[at]);
            let what = random.below(100);
            let (reader, at) = match found {
                None if what < 60 => {
                    let reader = self.sandbox.plug(NAMES[at]).unwrap();
                    let told = vec![format!("{}: reader attached", reader.name())];
                    self.truth.insert(name(&reader), None);
                    self.plugged.push((reader, NAMES[at]));
                    self.most = self.most.max(self.plugged.len());
                    return told;
                }
                None => continue,
                Some(found) => (name(&self.plugged[found].0), found),
            };
            let card = self.truth[&reader];
            let (card_in, card_atr) = self.card();
            let slot = &self.plugged[at].0;
            let inserted = format!("{reader}: card inserted ({card_atr})");
            let removed = format!("{reader}: card removed");
            return match (what, card) {
                // With fewer readers than before, pcsc-lite 2.5 lists no readers.
                (0..3, _) if self.plugged.len() == self.most => {
                    self.sandbox.restart().unwrap();
                    // Everything goes and comes back.
                    Vec::new()
                }
                (3..20, card) => {
                    slot.unplug().unwrap();
                    self.plugged.remove(at);
                    self.truth.remove(&reader);
                    let detached = format!("{reader}: reader detached");
                    match card {
                        Some(_) => vec![removed, detached],
                        None => vec![detached],
                    }
                }
                (20..60, None) => {
                    slot.insert(card_in).unwrap();
                    self.truth.insert(reader, Some(card_atr));
                    vec![inserted]
                }
                (20..50, Some(_)) => {
                    slot.remove().unwrap();
                    self.truth.insert(reader, None);
                    vec![removed]
                }
                (50..100, Some(_)) => {
                    slot.swap(card_in).unwrap();
                    let exchanged = format!("{reader}: card exchanged ({card_atr})");
                    self.truth.insert(reader, Some(card_atr));
                    vec![exchanged]
                }
                _ => continue,
            };
        }
    }
}

/// `SCARD_MONITOR_OPERATIONS` makes it longer, `SCARD_MONITOR_SEED` another.
#[test]
fn whatever_happens_is_told_and_leads_to_what_is_there() {
    isolated(|| {
        let number = |variable: &str, default| {
            let text = std::env::var(variable).ok();
            text.and_then(|text| text.parse().ok()).unwrap_or(default)
        };
        let seed = number("SCARD_MONITOR_SEED", 1);
        let operations = number("SCARD_MONITOR_OPERATIONS", 300);
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let mut scene = Scene::new();
        let context = Context::establish().unwrap();
        let mut monitor = context.monitor(MonitorOptions::new()).unwrap();
        let mut picture = Picture::default();
        let mut done = 0;
        while done < operations {
            // Mostly one at a time, sometimes several at once.
            let count = if random.below(4) == 0 {
                1 + random.below(4)
            } else {
                1
            };
            let expected: Vec<Vec<String>> = (0..count).map(|_| scene.act(&mut random)).collect();
            done += count;
            let expected: Vec<String> = expected.concat();
            if done == count {
                // The initial state, reported once.
                scene.truth.insert(name(scene.sandbox.reader(0)), None);
            }
            let mark = scene.mark();
            let mut told = picture.follow(&mut monitor, &scene.truth, |told| {
                told.iter().any(|it| it.ends_with(&mark))
            });
            told.retain(|it| !it.starts_with("Mark "));
            if count > 1 || expected.is_empty() {
                // The events of several at once depend on when the daemon was queried.
                continue;
            }
            assert!(is_told(&told, &expected), "{expected:#?} but {told:#?}");
        }
        println!("{done} operations, {} cards", scene.cards);
        assert_eq!(monitor.next_timeout(NEVER), None);
    });
}

/// Checks that exactly these events were reported.
fn is_told(told: &[String], expected: &[String]) -> bool {
    if told == expected {
        return true;
    }
    let [it] = expected else { return false };
    let Some((reader, atr)) = it.split_once("card exchanged") else {
        return false;
    };
    told == [
        format!("{reader}card removed"),
        format!("{reader}card inserted{atr}"),
    ]
}
