//! Readers that are plugged in and unplugged, as PC/SC clients see them.
#![cfg(target_os = "linux")]

mod common;

use std::thread;
use std::time::{Duration, Instant};

use common::{SELECT, connect, context, name, sees_card, transmit, until_a_client_waits};
use pcsc::{Context, Error, ReaderState, State};
use scard_testkit::{
    CardHandle, Driver, ReaderModel, Reply, Sandbox, SandboxBuilder, TestkitError, VirtualCard,
    isolated,
};

const SOON: Duration = Duration::from_secs(20);
const NAME: &str = "ACS ACR122U";

fn builder() -> SandboxBuilder {
    Sandbox::builder().driver(Driver::Kit).hot_plug(NAME)
}

fn listed(context: &Context) -> Vec<String> {
    context
        .list_readers_owned()
        .expect("readers")
        .into_iter()
        .map(|name| name.into_string().expect("UTF-8"))
        .collect()
}

#[test]
fn a_plugged_reader_is_there_and_an_unplugged_one_is_not() {
    isolated(|| {
        let sandbox = builder().start().unwrap();
        let context = context();
        assert_eq!(listed(&context), [""; 0]);
        let reader = sandbox.plug(NAME).unwrap();
        assert!(reader.is_plugged());
        assert_eq!(reader.name(), "ACS ACR122U 00 00");
        assert_eq!(listed(&context), [reader.name()]);
        let card = reader.insert(VirtualCard::iso()).unwrap();
        let client = connect(&context, &reader).unwrap();
        transmit(&client, SELECT).unwrap();
        reader.unplug().unwrap();
        assert!(!reader.is_plugged() && !card.is_inserted());
        assert_eq!(listed(&context), [""; 0]);
        assert!(transmit(&client, SELECT).is_err());
        assert_eq!(connect(&context, &reader).err(), Some(Error::UnknownReader));
        reader.unplug().unwrap();
        for error in [
            reader.insert(&card).unwrap_err(),
            reader.insert_now(&card).unwrap_err(),
        ] {
            assert!(matches!(error, TestkitError::Unplugged { .. }), "{error}");
        }
        let again = sandbox.plug(NAME).unwrap();
        assert_eq!(again.name(), reader.name());
        again.insert(&card).unwrap();
        assert!(sees_card(&context, &again));
    });
}

#[test]
fn none_of_a_hundred_cycles_is_lost() {
    isolated(|| {
        let sandbox = builder().reader("Always There").start().unwrap();
        let context = context();
        let (mut plugging, mut unplugging) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..100 {
            let start = Instant::now();
            let reader = sandbox.plug(NAME).unwrap();
            plugging = plugging.max(start.elapsed());
            assert_eq!(listed(&context), ["Always There 00 00", reader.name()]);
            reader.insert(VirtualCard::iso()).unwrap();
            let client = connect(&context, &reader).unwrap();
            transmit(&client, SELECT).unwrap();
            let start = Instant::now();
            reader.unplug().unwrap();
            unplugging = unplugging.max(start.elapsed());
            assert_eq!(listed(&context), ["Always There 00 00"]);
        }
        println!("100 cycles, the slowest seen after {plugging:?} and {unplugging:?}");
    });
}

#[test]
fn a_client_that_waits_learns_of_it() {
    isolated(|| {
        let sandbox = builder().debug_log(true).start().unwrap();
        for _ in 0..20 {
            let context = context();
            let mut states = [ReaderState::new(pcsc::PNP_NOTIFICATION(), State::UNAWARE)];
            // Newer daemons count: the first answer tells where they are.
            let _ = context.get_status_change(Duration::ZERO, &mut states);
            states[0].sync_current_state();
            let waiting = thread::spawn(move || {
                context.get_status_change(SOON, &mut states).unwrap();
                assert!(states[0].event_state().contains(State::CHANGED));
                Instant::now()
            });
            // Older daemons tell those alone who wait already.
            until_a_client_waits(&sandbox, || waiting.is_finished());
            let start = Instant::now();
            let reader = sandbox.plug(NAME).unwrap();
            println!("noticed after {:?}", waiting.join().unwrap() - start);
            reader.unplug().unwrap();
        }
    });
}

#[test]
fn several_are_plugged_at_once() {
    isolated(|| {
        let sandbox = builder().hot_plug("Clé & Token #1").start().unwrap();
        let context = context();
        let readers: Vec<_> = (0..4)
            .flat_map(|_| [NAME, "Clé & Token #1"])
            .map(|name| sandbox.plug_now(name).unwrap())
            .collect();
        for reader in &readers {
            reader.wait_until_published().unwrap();
            reader.insert_now(VirtualCard::iso()).unwrap();
        }
        let names: Vec<&str> = readers.iter().map(|reader| reader.name()).collect();
        assert_eq!(
            names,
            [
                "ACS ACR122U 00 00",
                "Clé & Token #1 00 00",
                "ACS ACR122U 01 00",
                "Clé & Token #1 01 00",
                "ACS ACR122U 02 00",
                "Clé & Token #1 02 00",
                "ACS ACR122U 03 00",
                "Clé & Token #1 03 00",
            ]
        );
        let mut seen = listed(&context);
        seen.sort();
        let mut expected = names.clone();
        expected.sort_unstable();
        assert_eq!(seen, expected);
        for reader in &readers {
            reader.wait_until_published().unwrap();
            let client = connect(&context, reader).unwrap();
            transmit(&client, SELECT).unwrap();
            assert_eq!(reader.card().unwrap().commands(), 1);
        }
        // The lowest free number is that of the next.
        readers[2].unplug().unwrap();
        assert_eq!(listed(&context).len(), 7);
        assert_eq!(sandbox.plug(NAME).unwrap().name(), "ACS ACR122U 01 00");
        for reader in &readers {
            reader.unplug_now().unwrap();
        }
        for reader in &readers {
            reader.wait_until_published().unwrap();
        }
        assert_eq!(listed(&context), ["ACS ACR122U 01 00"]);
    });
}

#[test]
fn names_have_interface_and_serial_number() {
    isolated(|| {
        let sandbox = builder().start().unwrap();
        for (model, name) in [
            (
                ReaderModel::new(NAME).serial("0001"),
                "ACS ACR122U (0001) 00 00",
            ),
            (
                ReaderModel::new(NAME).interface("PICC"),
                "ACS ACR122U [PICC] 01 00",
            ),
            (
                ReaderModel::new(NAME).interface("PICC").serial("2"),
                "ACS ACR122U [PICC] (2) 02 00",
            ),
            (
                ReaderModel::new(NAME).interface("No. 34").serial("34"),
                "ACS ACR122U [No. 34] 03 00",
            ),
            (
                ReaderModel::new(NAME).interface("für").serial("é"),
                "ACS ACR122U [f..r] (é) 04 00",
            ),
        ] {
            let reader = sandbox.plug(model).unwrap();
            assert_eq!(reader.name(), name);
            assert!(listed(&context()).contains(&name.to_owned()));
        }
    });
}

#[test]
fn a_reader_with_slots_comes_and_goes_as_one() {
    isolated(|| {
        let sandbox = builder().start().unwrap();
        let context = context();
        for _ in 0..10 {
            let reader = sandbox.plug(ReaderModel::new(NAME).slots(3)).unwrap();
            let names: Vec<&str> = reader.slots().iter().map(|slot| slot.name()).collect();
            assert_eq!(
                names,
                [
                    "ACS ACR122U 00 00",
                    "ACS ACR122U 00 01",
                    "ACS ACR122U 00 02"
                ]
            );
            assert_eq!(listed(&context), names);
            let slot = &reader.slots()[2];
            slot.insert(VirtualCard::iso()).unwrap();
            let client = connect(&context, slot).unwrap();
            transmit(&client, SELECT).unwrap();
            reader.unplug().unwrap();
            assert_eq!(listed(&context), [""; 0]);
        }
    });
}

#[test]
fn plugged_readers_survive_the_daemon() {
    isolated(|| {
        let sandbox = builder().reader("Always There").start().unwrap();
        let first = sandbox.plug(NAME).unwrap();
        let second = sandbox.plug(ReaderModel::new(NAME).slots(2)).unwrap();
        let card = second.slots()[1].insert(VirtualCard::iso()).unwrap();
        for round in 1..=10 {
            sandbox.kill().unwrap();
            assert!(matches!(
                sandbox.plug(NAME),
                Err(TestkitError::DaemonNotRunning)
            ));
            sandbox.restart().unwrap();
            let context = context();
            let readers = listed(&context);
            assert_eq!(readers.len(), 4, "{readers:?}");
            for reader in [&*first, &second.slots()[1]] {
                assert!(readers.contains(&reader.name().to_owned()));
            }
            let client = connect(&context, &second.slots()[1]).unwrap();
            transmit(&client, SELECT).unwrap();
            assert_eq!(card.commands(), round);
        }
        first.unplug().unwrap();
        assert!(!listed(&context()).contains(&first.name().to_owned()));
    });
}

#[test]
fn a_reader_unplugged_while_there_is_no_daemon_does_not_come_back() {
    isolated(|| {
        let sandbox = builder().start().unwrap();
        let reader = sandbox.plug(NAME).unwrap();
        sandbox.kill().unwrap();
        reader.unplug().unwrap();
        let other = sandbox.plug_now(NAME).unwrap();
        other.insert_now(VirtualCard::iso()).unwrap();
        sandbox.restart().unwrap();
        let context = context();
        assert_eq!(listed(&context), [other.name()]);
        assert!(sees_card(&context, &other));
    });
}

#[test]
fn a_paused_daemon_catches_up() {
    isolated(|| {
        // Long enough for what should succeed.
        let sandbox = builder().timeout(Duration::from_secs(4)).start().unwrap();
        let first = sandbox.plug(NAME).unwrap();
        sandbox.pause().unwrap();
        let error = first.unplug().unwrap_err();
        assert!(matches!(error, TestkitError::Timeout { .. }), "{error}");
        let second = sandbox.plug_now(NAME).unwrap();
        let third = sandbox.plug_now(NAME).unwrap();
        second.unplug_now().unwrap();
        third.insert_now(VirtualCard::iso()).unwrap();
        sandbox.resume().unwrap();
        for reader in [&first, &second, &third] {
            reader.wait_until_published().unwrap();
        }
        let context = context();
        assert_eq!(listed(&context), [third.name()]);
        assert!(sees_card(&context, &third));
    });
}

/// Plugged in with its card, as a token is.
#[test]
fn a_card_can_be_there_from_the_start() {
    isolated(|| {
        let sandbox = builder().start().unwrap();
        let reader = sandbox.plug_now(NAME).unwrap();
        reader.insert_now(VirtualCard::iso()).unwrap();
        reader.wait_until_published().unwrap();
        assert!(sees_card(&context(), &reader));
    });
}

#[test]
fn a_command_on_its_way_fails_when_the_reader_is_unplugged() {
    isolated(|| {
        let sandbox = builder().start().unwrap();
        let reader = sandbox.plug(NAME).unwrap();
        let card = reader
            .insert(VirtualCard::new(|_: &[u8]| Reply::Mute))
            .unwrap();
        thread::scope(|scope| {
            let exchange = scope.spawn(|| {
                let context = context();
                let client = connect(&context, &reader).unwrap();
                transmit(&client, SELECT)
            });
            card.wait_for_commands(1, SOON).unwrap();
            reader.unplug().unwrap();
            assert_eq!(exchange.join().unwrap(), Err(Error::NotTransacted));
        });
    });
}

#[test]
fn a_waiting_client_learns_that_its_reader_has_gone() {
    isolated(|| {
        let sandbox = builder().debug_log(true).start().unwrap();
        let reader = sandbox.plug(NAME).unwrap();
        let mut states = [ReaderState::new(name(&reader), State::EMPTY)];
        let context = context();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| context.get_status_change(SOON, &mut states));
            until_a_client_waits(&sandbox, || waiting.is_finished());
            reader.unplug().unwrap();
            waiting.join().unwrap().unwrap();
        });
        let state = states[0].event_state();
        assert!(state.intersects(State::UNKNOWN | State::UNAVAILABLE));
    });
}

#[test]
fn what_cannot_be_plugged_in_says_why() {
    isolated(|| {
        let sandbox = builder().start().unwrap();
        let error = sandbox.plug("Another").unwrap_err();
        let said = error.to_string();
        assert!(
            said.contains(".hot_plug(\"Another\")") && said.contains(NAME),
            "{said}"
        );
        // Nothing was announced, and with the other driver.
        let sandbox = Sandbox::builder().driver(Driver::Kit).start().unwrap();
        let said = sandbox.plug(NAME).unwrap_err().to_string();
        assert!(said.contains(".hot_plug(\"ACS ACR122U\")"), "{said}");
        let sandbox = Sandbox::builder().driver(Driver::Vpcd).start().unwrap();
        let said = sandbox.plug(NAME).unwrap_err().to_string();
        assert!(said.contains("Driver::Kit"), "{said}");
        let error = Sandbox::builder()
            .driver(Driver::Vpcd)
            .hot_plug(NAME)
            .start()
            .unwrap_err();
        assert!(matches!(error, TestkitError::NeedsKitDriver { .. }));
        for name in ["", "a<b", "a\nb"] {
            let error = builder().hot_plug(name).start().unwrap_err();
            assert!(matches!(error, TestkitError::InvalidReaderName { .. }));
        }
    });
}

/// The daemon has 16 places, or as many as it needs.
#[test]
fn a_reader_that_the_daemon_has_no_place_for_is_not_plugged() {
    isolated(|| {
        let places = Sandbox::max_readers().unwrap().min(16);
        let sandbox = builder()
            .readers(places - 1)
            // Long enough for what should succeed.
            .timeout(Duration::from_secs(4))
            .start()
            .unwrap();
        let last = sandbox.plug(NAME).unwrap();
        match sandbox.plug(NAME) {
            Ok(one_more) => println!("there is a place for {}", one_more.name()),
            Err(error) => {
                assert!(matches!(error, TestkitError::Timeout { .. }), "{error}");
                last.unplug().unwrap();
                // The one that failed does not take the place.
                assert_eq!(sandbox.plug(NAME).unwrap().name(), last.name());
            }
        }
    });
}

#[test]
fn an_unplugged_readers_card_can_be_used_elsewhere() {
    isolated(|| {
        let sandbox = builder().reader("Other").start().unwrap();
        let card = CardHandle::from(VirtualCard::iso());
        let context = context();
        for _ in 0..20 {
            let reader = sandbox.plug(NAME).unwrap();
            reader.insert(&card).unwrap();
            reader.unplug().unwrap();
            sandbox.reader(0).insert(&card).unwrap();
            assert!(sees_card(&context, sandbox.reader(0)));
            sandbox.reader(0).remove().unwrap();
        }
    });
}
