//! The kit's own driver, where it is more than `vpcd`. What both can do is
//! tested by `cards.rs` and `sandbox.rs`, with `SCARD_TESTKIT_DRIVER=kit` too.
#![cfg(target_os = "linux")]

mod common;

use std::env;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use common::{SELECT, connect, context, name, sees_card, transmit, until_a_client_waits};
use pcsc::{Context, Disposition, Error, ReaderState, State};
use scard_testkit::{
    CardHandle, Driver, ReaderModel, Reply, Sandbox, SandboxBuilder, TestkitError, VirtualCard,
    VirtualReader, atr, isolated,
};

const SOON: Duration = Duration::from_secs(5);

fn builder() -> SandboxBuilder {
    Sandbox::builder().driver(Driver::Kit)
}

/// How many insertions and removals a client is told of.
fn events(context: &Context, reader: &VirtualReader) -> u32 {
    let mut states = [ReaderState::new(name(reader), State::UNAWARE)];
    context
        .get_status_change(Duration::ZERO, &mut states)
        .expect("a status");
    states[0].event_count()
}

#[test]
fn readers_are_single_and_in_any_number() {
    isolated(|| {
        let sandbox = builder()
            .reader("ACS ACR122U")
            .reader("Gemalto PC Twin Reader")
            .readers(3)
            .start()
            .unwrap();
        let names: Vec<_> = sandbox.readers().iter().map(|r| r.name()).collect();
        assert_eq!(
            names,
            [
                "ACS ACR122U 00 00",
                "Gemalto PC Twin Reader 00 00",
                "Virtual Reader A 00 00"
            ]
        );
        let seen = context().list_readers_owned().unwrap();
        assert_eq!(seen.len(), 3);
        for (seen, name) in seen.iter().zip(names) {
            assert_eq!(seen.to_str(), Ok(name));
        }
    });
}

/// Whether a command to the second slot waits for one to the first.
fn take_turns(slots: &[VirtualReader]) -> bool {
    let (begun, begins) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let slow = VirtualCard::new(move |_: &[u8]| {
        begun.send(()).unwrap();
        released.recv().unwrap();
        [0x90, 0x00]
    });
    slots[0].insert(slow).unwrap();
    slots[1].insert(VirtualCard::iso()).unwrap();
    thread::scope(|scope| {
        let clients = [0, 1].map(|slot| connect(&context(), &slots[slot]).unwrap());
        let [first, second] = clients;
        let first = scope.spawn(move || transmit(&first, SELECT));
        begins.recv().unwrap();
        let (answered, answer) = mpsc::channel();
        scope.spawn(move || answered.send(transmit(&second, SELECT)));
        let early = answer.recv_timeout(Duration::from_millis(500)).is_ok();
        release.send(()).unwrap();
        first.join().unwrap().unwrap();
        if !early {
            answer.recv_timeout(SOON).unwrap().unwrap();
        }
        !early
    })
}

#[test]
fn slots_work_at_the_same_time_or_take_turns() {
    let all_do = env::var_os("SCARD_TESTKIT_SLOTS").is_some();
    isolated(|| {
        let twin = |name| ReaderModel::new(name).slots(2);
        let builder = builder()
            .reader(twin("Twin"))
            .reader(twin("In Turn").slots_take_turns())
            .hot_plug("USB Twin")
            .hot_plug("USB In Turn");
        let sandbox = builder.start().unwrap();
        assert_eq!(take_turns(&sandbox.readers()[..2]), all_do);
        assert!(take_turns(&sandbox.readers()[2..]));
        let plugged = sandbox.plug(twin("USB Twin")).unwrap();
        assert_eq!(take_turns(plugged.slots()), all_do);
        let plugged = sandbox.plug(twin("USB In Turn").slots_take_turns());
        assert!(take_turns(plugged.unwrap().slots()));
    });
}

#[test]
fn the_environment_makes_all_slots_take_turns() {
    let output = Command::new(env::current_exe().unwrap())
        .args(["slots_work_at_the_same_time_or_take_turns", "--exact"])
        .env("SCARD_TESTKIT_SLOTS", "take-turns")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn all_slots_of_a_reader_work() {
    isolated(|| {
        let sandbox = builder()
            .reader(ReaderModel::new("Five Slots").slots(5))
            .start()
            .unwrap();
        assert_eq!(sandbox.readers().len(), 5);
        assert_eq!(sandbox.reader(4).name(), "Five Slots 00 04");
        let context = context();
        let cards: Vec<CardHandle> = sandbox
            .readers()
            .iter()
            .map(|reader| reader.insert(VirtualCard::iso()).unwrap())
            .collect();
        for (reader, card) in sandbox.readers().iter().zip(&cards) {
            let client = connect(&context, reader).unwrap();
            transmit(&client, SELECT).unwrap();
            assert_eq!(card.commands(), 1);
        }
        sandbox.reader(2).remove().unwrap();
        for (index, reader) in sandbox.readers().iter().enumerate() {
            assert_eq!(sees_card(&context, reader), index != 2);
        }
    });
}

/// One slot waits for its card, and the others do not wait for it.
#[test]
fn slots_do_not_wait_for_each_other() {
    isolated(|| {
        let sandbox = builder()
            .reader(ReaderModel::new("Twin").slots(2))
            .card(0, VirtualCard::new(|_: &[u8]| Reply::Mute))
            .card(1, VirtualCard::iso())
            .start()
            .unwrap();
        let mute = sandbox.reader(0).card().unwrap();
        thread::scope(|scope| {
            let blocked = scope.spawn(|| {
                let context = context();
                let client = connect(&context, sandbox.reader(0)).unwrap();
                transmit(&client, SELECT)
            });
            mute.wait_for_commands(1, SOON).unwrap();
            let context = context();
            let client = connect(&context, sandbox.reader(1)).unwrap();
            transmit(&client, SELECT).unwrap();
            assert!(!blocked.is_finished());
            sandbox.reader(0).remove().unwrap();
            assert_eq!(blocked.join().unwrap(), Err(Error::NotTransacted));
        });
    });
}

/// What `vpcd` cannot tell from its own orders, and has no length for.
#[test]
fn commands_of_any_length_reach_the_card() {
    isolated(|| {
        let card = VirtualCard::new(|command: &[u8]| [command, &[0x90, 0x00]].concat());
        let sandbox = builder().card(0, card).start().unwrap();
        let context = context();
        let client = connect(&context, sandbox.reader(0)).unwrap();
        for command in [&[][..], &[0], &[1], &[2], &[4], &[0xFF; 65_533]] {
            let answer = transmit(&client, command).unwrap();
            assert_eq!(answer, [command, &[0x90, 0x00]].concat());
        }
        let stats = sandbox.reader(0).card().unwrap().stats();
        assert_eq!((stats.power_ons, stats.resets), (1, 0));
    });
}

#[test]
fn insertions_are_seen_at_once() {
    isolated(|| {
        let sandbox = builder().start().unwrap();
        let reader = sandbox.reader(0);
        let context = context();
        let mut worst = Duration::ZERO;
        for _ in 0..200 {
            let start = Instant::now();
            reader.insert(VirtualCard::iso()).unwrap();
            worst = worst.max(start.elapsed());
            assert!(sees_card(&context, reader));
            reader.remove().unwrap();
            assert!(!sees_card(&context, reader));
        }
        println!("200 insertions, the slowest seen after {worst:?}");
        assert_eq!(events(&context, reader), 400);
    });
}

#[test]
fn a_client_that_waits_is_woken() {
    isolated(|| {
        let sandbox = builder().debug_log(true).start().unwrap();
        let reader = sandbox.reader(0);
        let context = context();
        let mut states = [ReaderState::new(name(reader), State::EMPTY)];
        thread::scope(|scope| {
            let woken = scope.spawn(|| {
                context.get_status_change(SOON, &mut states).unwrap();
                Instant::now()
            });
            until_a_client_waits(&sandbox, || woken.is_finished());
            let start = Instant::now();
            reader.insert(VirtualCard::iso()).unwrap();
            let after = woken.join().unwrap() - start;
            println!("woken {after:?} after the insertion began");
        });
        assert!(states[0].event_state().contains(State::PRESENT));
    });
}

#[test]
fn a_swap_is_two_events_for_clients() {
    isolated(|| {
        let sandbox = builder().card(0, VirtualCard::iso()).start().unwrap();
        let reader = sandbox.reader(0);
        let context = context();
        let before = events(&context, reader);
        let client = connect(&context, reader).unwrap();
        for round in 1..=100 {
            let old = reader.card().unwrap();
            let new = reader.swap(VirtualCard::iso().atr(atr::T0)).unwrap();
            assert!(!old.is_inserted() && new.is_inserted());
            assert_eq!(new.power_ons(), 1);
            assert_eq!(events(&context, reader), before + 2 * round);
        }
        assert_eq!(transmit(&client, SELECT), Err(Error::RemovedCard));
        // Without waiting, and without a card in between.
        reader.remove_now();
        reader.insert_now(VirtualCard::iso()).unwrap();
        reader.wait_until_published().unwrap();
        assert_eq!(events(&context, reader), before + 202);
    });
}

#[test]
fn an_unnoticed_swap_is_none_to_clients() {
    isolated(|| {
        let sandbox = builder().start().unwrap();
        let reader = sandbox.reader(0);
        let other = CardHandle::from(VirtualCard::new(|_: &[u8]| [0x6A, 0x82]));
        assert!(matches!(
            reader.swap_unnoticed(&other),
            Err(TestkitError::NoCard { .. })
        ));
        let card = reader.insert(VirtualCard::iso()).unwrap();
        let context = context();
        let before = events(&context, reader);
        let client = connect(&context, reader).unwrap();
        transmit(&client, SELECT).unwrap();
        reader.swap_unnoticed(&other).unwrap();
        assert!(!card.is_inserted() && other.is_inserted());
        assert_eq!(transmit(&client, SELECT).unwrap(), [0x6A, 0x82]);
        assert_eq!(events(&context, reader), before);
        assert_eq!((card.commands(), other.commands()), (1, 1));
        assert!(!other.stats().powered);
    });
}

#[test]
fn everything_comes_back_after_a_killed_daemon() {
    isolated(|| {
        let sandbox = builder()
            .reader(ReaderModel::new("Twin").slots(2))
            .readers(3)
            .card(1, VirtualCard::iso())
            .start()
            .unwrap();
        for round in 1..=10 {
            sandbox.kill().unwrap();
            assert!(matches!(
                sandbox.reader(0).insert(VirtualCard::iso()),
                Err(TestkitError::DaemonNotRunning)
            ));
            sandbox.restart().unwrap();
            let context = context();
            assert!(sees_card(&context, sandbox.reader(1)));
            assert!(!sees_card(&context, sandbox.reader(2)));
            let client = connect(&context, sandbox.reader(1)).unwrap();
            transmit(&client, SELECT).unwrap();
            assert_eq!(sandbox.reader(1).card().unwrap().commands(), round);
            sandbox.reader(2).insert(VirtualCard::iso()).unwrap();
            sandbox.reader(2).remove().unwrap();
        }
    });
}

/// The card's program is still at work when its place is taken.
#[test]
fn a_removal_does_not_wait_for_the_card() {
    isolated(|| {
        let slow = VirtualCard::iso().delay(Duration::from_secs(3));
        let sandbox = builder().card(0, slow).start().unwrap();
        let reader = sandbox.reader(0);
        let card = reader.card().unwrap();
        let start = Instant::now();
        thread::scope(|scope| {
            let exchange = scope.spawn(|| {
                let context = context();
                let client = connect(&context, reader).unwrap();
                let answer = transmit(&client, SELECT);
                // A drop would reset the card. The daemon marks the reader as
                // empty after a reset that found no card, even if the next card
                // has come in the meantime.
                let left = client.disconnect(Disposition::LeaveCard);
                left.map_err(|(_, error)| error).unwrap();
                answer
            });
            card.wait_for_commands(1, SOON).unwrap();
            let other = reader.swap(VirtualCard::iso()).unwrap();
            assert_eq!(exchange.join().unwrap(), Err(Error::NotTransacted));
            let context = context();
            let client = connect(&context, reader).unwrap();
            transmit(&client, SELECT).unwrap();
            assert_eq!(other.commands(), 1);
        });
        assert!(start.elapsed() < Duration::from_secs(3));
        assert_eq!(card.log()[0].response, None);
    });
}

#[test]
fn what_needs_the_kits_driver_says_so() {
    let error = Sandbox::builder()
        .driver(Driver::Vpcd)
        .reader(ReaderModel::new("Triple").slots(3))
        .start()
        .unwrap_err();
    assert!(error.to_string().contains("Driver::Kit"), "{error}");
    let sandbox = Sandbox::builder().driver(Driver::Vpcd).start().unwrap();
    let error = sandbox.reader(0).clear_faults().unwrap_err();
    assert!(
        matches!(error, TestkitError::NeedsKitDriver { .. }),
        "{error}"
    );
    let what = "simulating faults or answers of a reader requires the kit's own driver";
    assert!(error.to_string().starts_with(what), "{error}");
}
