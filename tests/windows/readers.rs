//! Readers: their names, groups and number.

use std::time::Duration;

use scard::{CardFilter, ConnectOptions, Context, Event, MonitorOptions, ReaderName, Session};
use scard_on_windows as scard;
use scard_testkit::isolated;

use crate::world::{PLUG_AND_PLAY, Reader, plug, plug_in, units, world};

const LIMIT: Option<Duration> = Some(Duration::from_secs(20));

/// No code page contains all of them, and the last one is not valid UTF-16.
fn names() -> Vec<Vec<u16>> {
    let mut names: Vec<_> = ["Leser für Karten 0", "読取装置 0", "🂡 0"]
        .map(units)
        .into();
    names.push([&units("half "), &[0xD83C][..], &units(" 0")].concat());
    names
}

#[test]
fn every_name_can_be_used_to_find_its_reader() {
    isolated(|| {
        plug_in(names().into_iter().map(Reader::new));
        let context = Context::establish().unwrap();
        let readers = context.readers().unwrap();
        let shown: Vec<String> = readers.iter().map(ReaderName::to_string).collect();
        let text = |name: &Vec<u16>| String::from_utf16_lossy(name);
        assert_eq!(
            shown[..3],
            names().iter().map(text).collect::<Vec<_>>()[..3]
        );
        assert!(shown[3].starts_with("half \u{FFFD}"), "{shown:?}");
        for (number, reader) in readers.iter().enumerate() {
            let mut card = context.connect(reader, ConnectOptions::new()).unwrap();
            assert_eq!(
                card.status().unwrap().reader_names(),
                std::slice::from_ref(reader)
            );
            assert_eq!(card.transmit(&[0, 0, 0, 0]).unwrap(), [0x90, 0x00]);
            let states = context.reader_states().unwrap();
            assert_eq!(states[number].reader_name(), reader);
            assert!(states[number].has_card());
            let only = CardFilter::new().reader(reader);
            let found = context.wait_for_card(&only, LIMIT).unwrap();
            assert_eq!(found.reader_name(), reader);
        }
        // From user input or a configuration file.
        let typed = ReaderName::new("読取装置 0").unwrap();
        assert_eq!(readers[1], typed);
        drop(context.connect(&typed, ConnectOptions::new()).unwrap());
        drop(context.open_reader("🂡 0").unwrap());
        // In another code page.
        let bytes = ReaderName::from_bytes(b"Leser f\xFCr Karten 0").unwrap();
        let error = context.connect(&bytes, ConnectOptions::new()).unwrap_err();
        assert_eq!(error.code(), scard::ReturnCode::E_UNKNOWN_READER);
    });
}

#[test]
fn a_monitor_reports_names_unchanged() {
    isolated(|| {
        plug(&["Leser für Karten 0"]);
        let context = Context::establish().unwrap();
        let mut monitor = context.monitor(MonitorOptions::new()).unwrap();
        let mut next = || monitor.next_timeout(LIMIT.unwrap()).unwrap();
        let name = |event: &Event| event.reader_name().unwrap().to_string();
        let attached = next();
        assert!(
            matches!(attached, Event::ReaderAttached { .. }),
            "{attached}"
        );
        assert_eq!(name(&attached), "Leser für Karten 0");
        assert!(matches!(next(), Event::CardInserted { .. }));
        plug(&["読取装置 0"]);
        assert_eq!(name(&next()), "読取装置 0");
    });
}

#[test]
fn a_group_lists_only_its_readers() {
    isolated(|| {
        let mut mine = Reader::new(units("Mine"));
        mine.group = "Größere";
        plug_in([Reader::new(units("R")), mine]);
        let context = Context::establish().unwrap();
        assert_eq!(
            context.reader_groups().unwrap(),
            ["SCard$DefaultReaders", "Größere"]
        );
        assert_eq!(context.readers().unwrap(), ["R", "Mine"]);
        assert_eq!(context.readers_in("Größere").unwrap(), ["Mine"]);
        assert_eq!(context.readers_in("SCard$DefaultReaders").unwrap(), ["R"]);
        assert_eq!(context.readers_in("No such group").unwrap(), [""; 0]);
        let error = context.readers_in("a\0b").unwrap_err();
        assert_eq!(error.kind(), scard::ErrorKind::InvalidArgument);
    });
}

/// A listed reader that is unknown to a wait, such as one of another session, is ignored, and does
/// not cause polling.
#[test]
fn a_reader_of_another_session_is_ignored() {
    isolated(|| {
        world().ghost = Some("Ghost");
        plug(&["R"]);
        let context = Context::establish().unwrap();
        let states = context.reader_states().unwrap();
        let known: Vec<_> = states.iter().filter(|it| it.has_card()).collect();
        assert_eq!(known.len(), 1);
        let mut monitor = context.monitor(MonitorOptions::new()).unwrap();
        let attached = monitor.next_timeout(LIMIT.unwrap()).unwrap();
        assert_eq!(attached.reader_name().unwrap(), "R");
        let inserted = monitor.next_timeout(LIMIT.unwrap()).unwrap();
        assert!(matches!(inserted, Event::CardInserted { .. }), "{inserted}");
        assert!(monitor.next_timeout(Duration::from_millis(1500)).is_none());
        let before = world().waits;
        assert!(monitor.next_timeout(Duration::from_secs(3)).is_none());
        let waits = world().waits - before;
        // A monitor looks once a second if the service counts readers that a wait does not know.
        assert!(waits <= 16, "{waits} calls");
    });
}

/// The codes returned for a wait for too many readers: PC/SC's and Windows' codes, and over a
/// remote desktop those of the remote procedure call.
const TOO_MANY: [u32; 6] = [0x8010_0004, 0x8010_0011, 87, 1734, 1783, 1780];

#[test]
fn more_than_ten_readers_are_seen_and_used() {
    isolated(|| {
        let names: Vec<String> = (0..25).map(|number| format!("R{number}")).collect();
        plug(&names.iter().map(String::as_str).collect::<Vec<_>>());
        for number in 0..24 {
            crate::world::exchange(number, false);
        }
        let context = Context::establish().unwrap();
        for code in TOO_MANY {
            world().too_many = code;
            let states = context.reader_states().unwrap();
            let seen: Vec<_> = states
                .iter()
                .map(|it| it.reader_name().to_string())
                .collect();
            assert_eq!(seen, names, "{code:#X}");
            let found = context.wait_for_card(&CardFilter::new(), LIMIT).unwrap();
            assert_eq!(found.reader_name(), "R24", "{code:#X}");
            let mut session = Session::builder(&context).timeout(LIMIT).open().unwrap();
            assert_eq!(session.reader_name().unwrap(), "R24", "{code:#X}");
            let answer = session.run(|card| card.transmit(&[0, 0, 0, 0]));
            assert_eq!(answer.unwrap(), [0x90, 0x00]);
        }
        assert!(world().longest_wait > 10, "{PLUG_AND_PLAY}");
    });
}

/// Cards inserted into the last readers are reported, too.
#[test]
fn a_monitor_sees_all_of_more_than_ten_readers() {
    isolated(|| {
        world().too_many = 1734;
        let names: Vec<String> = (0..12).map(|number| format!("R{number}")).collect();
        plug(&names.iter().map(String::as_str).collect::<Vec<_>>());
        crate::world::exchange(11, false);
        let context = Context::establish().unwrap();
        let mut monitor = context.monitor(MonitorOptions::new()).unwrap();
        let mut inserted = || loop {
            let event = monitor.next_timeout(LIMIT.unwrap()).unwrap();
            if let Event::CardInserted { reader_name, .. } = event {
                return reader_name.to_string();
            }
        };
        let mut seen: Vec<String> = (0..11).map(|_| inserted()).collect();
        seen.sort();
        let mut expected = names[..11].to_vec();
        expected.sort();
        assert_eq!(seen, expected);
        crate::world::exchange(11, true);
        assert_eq!(inserted(), "R11");
    });
}
