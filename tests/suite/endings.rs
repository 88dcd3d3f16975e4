//! What ends a transaction or a connection, and what becomes of the card: a test for each row of
//! the guide's page `endings`.
#![cfg(target_os = "linux")]
#![allow(unsafe_code)]

use std::mem;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use scard::{
    AbortHandle, Attribute, Card, ConnectOptions, Context, Control, Disposition, ErrorKind,
    Initialization, Operation, Protocols, ReaderName, Result, ReturnCode, ShareMode,
};
use scard_testkit::{
    CardStats, Driver, Link, Peer, Peers, Sandbox, VirtualCard, isolated, isolated_with_peer,
};

use crate::support::*;

/// How a connection has the card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    Shared,
    InTransaction,
    Exclusive,
}
use Hold::{Exclusive, InTransaction, Shared};

const HOLDS: [Hold; 3] = [Shared, InTransaction, Exclusive];

impl Hold {
    fn named(name: &str) -> Hold {
        let mut holds = HOLDS.into_iter();
        holds.find(|hold| format!("{hold:?}") == name).unwrap()
    }

    fn options(self) -> ConnectOptions {
        ConnectOptions::new().share_mode(match self {
            Exclusive => ShareMode::Exclusive,
            _ => ShareMode::Shared,
        })
    }

    /// Holds the card until the connection ends.
    fn take(self, card: &mut Card) {
        if self == InTransaction {
            mem::forget(card.transaction().unwrap());
        }
        assert_works(card);
    }

    /// What becomes of the card if nobody ends the connection.
    fn outcome_without_end(self) -> Outcome {
        match self {
            Shared => Left,
            _ => Reset,
        }
    }
}

/// What becomes of the card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Left,
    /// A warm reset.
    Reset,
    /// A cold one.
    Repowered,
}
use Outcome::{Left, Repowered, Reset};

/// What the other programs see.
struct Others<'a> {
    fixture: &'a Fixture,
    hold: Hold,
    /// None can be connected beside exclusive access.
    card: Option<Card>,
    before: CardStats,
}

impl<'a> Others<'a> {
    fn beside(fixture: &'a Fixture, hold: Hold) -> Others<'a> {
        Others {
            fixture,
            hold,
            card: (hold != Exclusive).then(|| fixture.connect()),
            before: fixture.card.stats(),
        }
    }

    /// The card is held: what happens from now on counts.
    fn note(&mut self) {
        self.before = self.fixture.card.stats();
    }

    /// The connection has not ended.
    #[track_caller]
    fn are_kept_out(&mut self) {
        match &mut self.card {
            None => {
                let refused = self.fixture.try_connect(ConnectOptions::new());
                assert_fails(refused, Operation::Connect, ReturnCode::E_SHARING_VIOLATION);
            }
            // Unlike a command, this can be told not to wait for the transaction to end.
            Some(card) if self.hold == InTransaction => {
                card.set_wait_for_transactions(false);
                let refused = card.attribute(Attribute::ATR_STRING);
                assert_fails(
                    refused,
                    Operation::GetAttribute,
                    ReturnCode::E_SHARING_VIOLATION,
                );
            }
            Some(card) => assert_works(card),
        }
    }

    /// A command of theirs, if there are any.
    fn wait(self) -> Option<Receiver<Result<Vec<u8>>>> {
        let mut card = self.card?;
        Some(in_background(move || card.transmit(COMMAND)))
    }

    /// The connection has ended, or is about to, and this becomes of the card.
    #[track_caller]
    fn see(self, outcome: Outcome) {
        let (fixture, before) = (self.fixture, self.before);
        let expected = match outcome {
            Left => (before.resets, before.power_ons),
            Reset => (before.resets + 1, before.power_ons),
            Repowered => (before.resets, before.power_ons + 1),
        };
        fixture
            .card
            .wait_until(SOON, |stats| (stats.resets, stats.power_ons) == expected)
            .unwrap();
        let Some(mut card) = self.card else {
            // The service takes the power from a card that nobody uses: only resets count.
            assert_works(&mut connect_when_free(fixture));
            assert_eq!(fixture.card.stats().resets, expected.0);
            return;
        };
        let command = in_background(move || (card.transmit(COMMAND), card));
        let (answer, mut card) = finish(&command);
        match outcome {
            Left => assert_eq!(answer.unwrap(), OK),
            Reset | Repowered => {
                assert_fails(answer, Operation::Transmit, ReturnCode::W_RESET_CARD);
            }
        }
        // Waits until nobody else is connected.
        let alone = in_background(move || {
            card.reconnect(ShareMode::Exclusive, Protocols::ANY, Initialization::Leave)
                .unwrap();
            card
        });
        assert_works(&mut finish(&alone));
        let stats = fixture.card.stats();
        assert_eq!((stats.resets, stats.power_ons), expected);
        assert_eq!(stats.power_ons - stats.power_offs, 1);
    }
}

impl Fixture {
    fn connect_as(&self, hold: Hold) -> Card {
        let mut card = self.try_connect(hold.options()).unwrap();
        hold.take(&mut card);
        card
    }
}

/// Nothing tells others when exclusive access ends.
fn connect_when_free(fixture: &Fixture) -> Card {
    let begun = Instant::now();
    loop {
        match fixture.try_connect(ConnectOptions::new()) {
            Err(error) if error.kind() == ErrorKind::SharingViolation => {
                assert!(begun.elapsed() < SOON, "{error}");
            }
            connected => return connected.unwrap(),
        }
    }
}

/// Connects and holds the card in each way, ends that, and looks at the card.
#[track_caller]
fn assert_ends(outcome: Outcome, options: fn(ConnectOptions) -> ConnectOptions, end: fn(Card)) {
    let fixture = fixture();
    for hold in HOLDS {
        let mut others = Others::beside(&fixture, hold);
        let mut card = fixture.try_connect(options(hold.options())).unwrap();
        hold.take(&mut card);
        others.note();
        end(card);
        others.see(outcome);
    }
}

#[test]
fn ending_a_transaction_does_what_the_disposition_says() {
    isolated(|| {
        let fixture = fixture();
        for (disposition, outcome) in [
            (Disposition::Leave, Left),
            (Disposition::Reset, Reset),
            (Disposition::Unpower, Repowered),
            (Disposition::Eject, Left),
        ] {
            let mut others = Others::beside(&fixture, InTransaction);
            let mut card = fixture.connect();
            let transaction = card.transaction().unwrap();
            others.are_kept_out();
            others.note();
            let ended = transaction.end(disposition);
            match disposition {
                // Not with these readers, nor with any that has a driver of today.
                Disposition::Eject => drop(assert_fails(
                    ended,
                    Operation::EndTransaction,
                    ReturnCode::E_UNEXPECTED,
                )),
                _ => ended.unwrap(),
            }
            // This connection is told, too.
            match outcome {
                Left => assert_works(&mut card),
                _ => drop(assert_fails(
                    card.transmit(COMMAND),
                    Operation::Transmit,
                    ReturnCode::W_RESET_CARD,
                )),
            }
            drop(card);
            others.see(outcome);
        }
    });
}

#[test]
fn dropping_a_transaction_leaves_the_card() {
    isolated(|| {
        let fixture = fixture();
        for panics in [false, true] {
            let mut others = Others::beside(&fixture, InTransaction);
            let mut card = fixture.connect();
            let unwound = catch_unwind(AssertUnwindSafe(|| {
                let _transaction = card.transaction().unwrap();
                others.are_kept_out();
                others.note();
                assert!(!panics, "on purpose");
            }));
            assert_eq!(unwound.is_err(), panics);
            assert_works(&mut card);
            drop(card);
            others.see(Left);
        }
    });
}

#[test]
fn dropping_a_card_leaves_it() {
    isolated(|| assert_ends(Left, |options| options, drop));
}

#[test]
fn a_panic_leaves_the_card() {
    isolated(|| {
        assert_ends(
            Left,
            |options| options,
            |card| {
                let unwound = catch_unwind(AssertUnwindSafe(move || {
                    let _card = card;
                    panic!("on purpose");
                }));
                assert!(unwound.is_err());
            },
        );
    });
}

#[test]
fn disconnecting_with_leave_leaves_the_card() {
    isolated(|| {
        let end = |card: Card| card.disconnect(Disposition::Leave).unwrap();
        assert_ends(Left, |options| options, end);
    });
}

#[test]
fn disconnecting_with_reset_resets_the_card() {
    isolated(|| {
        let end = |card: Card| card.disconnect(Disposition::Reset).unwrap();
        assert_ends(Reset, |options| options, end);
    });
}

#[test]
fn disconnecting_with_unpower_powers_the_card_down_and_up() {
    isolated(|| {
        let end = |card: Card| card.disconnect(Disposition::Unpower).unwrap();
        assert_ends(Repowered, |options| options, end);
    });
}

/// The readers here cannot eject, nor can any that has a driver of today.
#[test]
fn disconnecting_with_eject_leaves_the_card() {
    isolated(|| {
        let end = |card: Card| card.disconnect(Disposition::Eject).unwrap();
        assert_ends(Left, |options| options, end);
    });
}

#[test]
fn dropping_a_card_does_what_disposition_on_drop_says() {
    isolated(|| {
        let options = |it: ConnectOptions| it.disposition_on_drop(Disposition::Reset);
        assert_ends(Reset, options, drop);
    });
}

/// A command that takes this time.
const SLOW: &[u8] = &[0x00, 0x01, 0x00, 0x00];
const SLOWNESS: Duration = Duration::from_secs(1);

fn slow_fixture() -> Fixture {
    let card = VirtualCard::new(|command: &[u8]| {
        if command == SLOW {
            std::thread::sleep(SLOWNESS);
        }
        OK
    });
    fixture_with(card.atr(scard_testkit::atr::T1))
}

/// The slow command has run to its end.
#[track_caller]
fn assert_answered(fixture: &Fixture) {
    let log = fixture.card.log();
    let slow = log.iter().rfind(|exchange| exchange.command == SLOW);
    assert_eq!(slow.unwrap().response.as_deref(), Some(OK));
}

/// Gives the slow command up with the card held in each way, although the drop was to reset the
/// card.
#[track_caller]
fn assert_given_up(give_up: fn(&Fixture, ConnectOptions, Hold, &mut dyn FnMut())) {
    let fixture = slow_fixture();
    for hold in HOLDS {
        let mut others = Others::beside(&fixture, hold);
        let options = hold.options().disposition_on_drop(Disposition::Reset);
        give_up(&fixture, options, hold, &mut || others.note());
        // The connection ends after the command, which is not stopped.
        others.see(Left);
        assert_answered(&fixture);
    }
}

#[test]
fn a_passed_deadline_leaves_the_card() {
    isolated(|| {
        assert_given_up(|fixture, options, hold, note| {
            let mut card = fixture.try_connect(options).unwrap();
            hold.take(&mut card);
            note();
            let commands = fixture.card.commands();
            card.set_timeout(Some(SLOWNESS / 2));
            let error = card.transmit(SLOW).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
            assert_eq!(fixture.card.commands(), commands + 1, "too busy a machine");
        });
    });
}

#[test]
fn an_abort_leaves_the_card() {
    isolated(|| {
        assert_given_up(|fixture, options, hold, note| {
            let abort = AbortHandle::new();
            let mut card = fixture.try_connect(options.abort_handle(&abort)).unwrap();
            hold.take(&mut card);
            note();
            let commands = fixture.card.commands();
            let slow = in_background(move || card.transmit(SLOW).map(drop));
            fixture.card.wait_for_commands(commands + 1, SOON).unwrap();
            abort.abort();
            let error = finish(&slow).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Cancelled);
        });
    });
}

#[cfg(feature = "async")]
#[test]
fn a_dropped_future_leaves_the_card() {
    use crate::support::executor::{Woken, block_on};
    use scard::AsyncContext;

    isolated(|| {
        assert_given_up(|fixture, options, hold, note| {
            let context = AsyncContext::from(fixture.context.clone());
            let mut card = block_on(context.connect(&fixture.reader, options)).unwrap();
            if hold == InTransaction {
                mem::forget(block_on(card.transaction()).unwrap());
            }
            assert_eq!(block_on(card.transmit(COMMAND)).unwrap(), OK);
            note();
            let commands = fixture.card.commands();
            let mut slow = Box::pin(card.transmit(SLOW));
            assert!(Woken::new().poll(slow.as_mut()).is_pending());
            fixture.card.wait_for_commands(commands + 1, SOON).unwrap();
            drop(slow);
            assert!(card.is_abandoned());
        });
    });
}

/// Ways in which a process can end.
const ENDS: [(&str, fn()); 7] = [
    ("returns", || {}),
    ("exit", || std::process::exit(0)),
    // SAFETY: ends this process.
    ("_exit", || unsafe { libc::_exit(0) }),
    ("abort", || std::process::abort()),
    ("signal", || raise(libc::SIGTERM)),
    ("killed", || raise(libc::SIGKILL)),
    ("exec", || panic!("{}", Command::new("true").exec())),
];

fn raise(signal: libc::c_int) {
    // SAFETY: a signal to this process, which has no handler for it.
    unsafe { libc::raise(signal) };
}

fn signal(process: u32, signal: libc::c_int) {
    let process = libc::pid_t::try_from(process).unwrap();
    // SAFETY: to a process that this test has started and nobody has waited for.
    assert_eq!(unsafe { libc::kill(process, signal) }, 0);
}

fn wait_for(process: libc::pid_t, options: libc::c_int) -> libc::c_int {
    let mut status = 0;
    // SAFETY: waits for our own child; the output outlives the call.
    let changed = unsafe { libc::waitpid(process, &mut status, options) };
    assert_eq!(changed, process);
    status
}

/// A process that has this thread alone, and all that is open.
fn fork(child: impl FnOnce()) -> libc::pid_t {
    // SAFETY: the child waits for no other thread.
    match unsafe { libc::fork() } {
        0 => {
            child();
            // SAFETY: ends this process.
            unsafe { libc::_exit(0) }
        }
        child => {
            assert!(child > 0, "fork failed");
            child
        }
    }
}

fn end_by(name: &str) {
    let (_, end) = ENDS.iter().find(|(known, _)| *known == name).unwrap();
    end();
}

/// The other program: holds the card, and does what it is told.
fn program(link: &mut Link) {
    let reader = ReaderName::new(link.recv()).unwrap();
    let hold = Hold::named(&link.recv());
    let context = Context::establish().unwrap();
    let mut card = context.connect(&reader, hold.options()).unwrap();
    hold.take(&mut card);
    let mut own = Some((card, context));
    link.send("done");
    loop {
        let order = link.recv();
        let (what, how) = order.split_once(' ').unwrap_or((&order, ""));
        match what {
            "end" => {
                mem::forget(own);
                return end_by(how);
            }
            "drop" => return,
            "transmit" => {
                let (card, _) = own.as_mut().unwrap();
                let command = if how == "slow" { SLOW } else { COMMAND };
                assert_eq!(card.transmit(command).unwrap(), OK);
            }
            // A child that ends in one of the ways, or drops its copies before.
            "fork" => {
                let child = fork(|| match how {
                    "drops" => drop(own.take()),
                    _ => end_by(how),
                });
                wait_for(child, 0);
            }
            "stay" => {
                let child = fork(|| {
                    loop {
                        // SAFETY: no pointers. In the end the alarm ends a process that the test
                        // has forgotten.
                        unsafe { libc::alarm(60) };
                        // SAFETY: as above.
                        unsafe { libc::pause() };
                    }
                });
                link.send(&child.to_string());
                continue;
            }
            "start" => {
                // It outlives this one.
                #[allow(clippy::zombie_processes)]
                let child = Command::new("sleep").arg("60").spawn().unwrap();
                link.send(&child.id().to_string());
                continue;
            }
            other => panic!("{other}?"),
        }
        link.send("done");
    }
}

/// Starts the other program, which holds the card.
#[track_caller]
fn start<'a>(peers: &Peers, fixture: &'a Fixture, hold: Hold) -> (Peer, Others<'a>) {
    let mut others = Others::beside(fixture, hold);
    let peer = peers.spawn();
    peer.send(&fixture.reader.to_string());
    peer.send(&format!("{hold:?}"));
    assert_eq!(peer.recv(), "done");
    others.note();
    others.are_kept_out();
    (peer, others)
}

fn assert_process_ends(hold: Hold) {
    isolated_with_peer(
        |peers| {
            let fixture = fixture();
            for (name, _) in ENDS {
                println!("{name}");
                let (peer, others) = start(peers, &fixture, hold);
                peer.send(&format!("end {name}"));
                others.see(hold.outcome_without_end());
                // It has ended by itself.
                peer.kill();
            }
        },
        program,
    );
}

#[test]
fn a_process_that_ends_leaves_a_shared_card() {
    assert_process_ends(Shared);
}

#[test]
fn a_process_that_ends_in_a_transaction_has_its_card_reset() {
    assert_process_ends(InTransaction);
}

#[test]
fn calls_that_wait_for_a_transaction_learn_of_the_reset_by_its_end() {
    isolated_with_peer(
        |peers| {
            let fixture = fixture();
            let calls: [fn(&mut Card) -> Result<()>; 3] = [
                |card| card.transmit(COMMAND).map(drop),
                |card| card.status().map(drop),
                |card| card.transaction().map(drop),
            ];
            let cards = calls.map(|call| (call, fixture.connect()));
            let (peer, _) = start(peers, &fixture, InTransaction);
            let waiting = cards.map(|(call, mut card)| in_background(move || call(&mut card)));
            waiting.iter().for_each(assert_blocked);
            peer.kill();
            for call in &waiting {
                let error = finish(call).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::CardReset, "{error}");
            }
        },
        program,
    );
}

#[test]
fn a_process_that_ends_with_exclusive_access_has_its_card_reset() {
    assert_process_ends(Exclusive);
}

#[test]
fn a_process_that_is_killed_in_a_command_has_it_run_to_its_end() {
    isolated_with_peer(
        |peers| {
            let fixture = slow_fixture();
            for hold in HOLDS {
                let (peer, others) = start(peers, &fixture, hold);
                let commands = fixture.card.commands();
                peer.send("transmit slow");
                fixture.card.wait_for_commands(commands + 1, SOON).unwrap();
                peer.kill();
                others.see(hold.outcome_without_end());
                assert_answered(&fixture);
            }
        },
        program,
    );
}

#[test]
fn what_is_forgotten_goes_on() {
    // A process each.
    for hold in [InTransaction, Exclusive] {
        isolated(|| {
            let fixture = fixture();
            let mut others = Others::beside(&fixture, hold);
            let mut card = fixture.try_connect(hold.options()).unwrap();
            hold.take(&mut card);
            mem::forget(card);
            others.are_kept_out();
        });
    }
}

#[test]
fn a_stopped_process_holds_what_it_holds() {
    isolated_with_peer(
        |peers| {
            let fixture = fixture();
            for hold in HOLDS {
                let (peer, mut others) = start(peers, &fixture, hold);
                let process = libc::pid_t::try_from(peer.pid()).unwrap();
                signal(peer.pid(), libc::SIGSTOP);
                assert!(libc::WIFSTOPPED(wait_for(process, libc::WUNTRACED)));
                others.are_kept_out();
                signal(peer.pid(), libc::SIGCONT);
                peer.send("transmit");
                assert_eq!(peer.recv(), "done");
                peer.send("drop");
                others.see(Left);
                peer.wait();
            }
        },
        program,
    );
}

#[test]
fn a_forked_child_that_ends_or_drops_its_copies_changes_nothing() {
    isolated_with_peer(
        |peers| {
            let fixture = fixture();
            for hold in HOLDS {
                let (peer, mut others) = start(peers, &fixture, hold);
                let ends = ENDS.map(|(name, _)| name);
                for how in ends.into_iter().chain(["drops"]) {
                    println!("{how}");
                    for order in [&format!("fork {how}"), "transmit"] {
                        peer.send(order);
                        assert_eq!(peer.recv(), "done");
                    }
                    others.are_kept_out();
                }
                peer.send("drop");
                others.see(Left);
                peer.wait();
            }
        },
        program,
    );
}

#[test]
fn a_forked_child_keeps_the_connection_when_its_parent_has_ended() {
    isolated_with_peer(
        |peers| {
            let fixture = fixture();
            for hold in HOLDS {
                let (peer, mut others) = start(peers, &fixture, hold);
                peer.send("stay");
                let child = peer.recv().parse().unwrap();
                peer.send("end _exit");
                peer.wait();
                others.are_kept_out();
                signal(child, libc::SIGKILL);
                others.see(hold.outcome_without_end());
            }
        },
        program,
    );
}

#[test]
fn a_program_that_was_started_does_not_keep_the_connection() {
    isolated_with_peer(
        |peers| {
            let fixture = fixture();
            for hold in HOLDS {
                let (peer, others) = start(peers, &fixture, hold);
                peer.send("start");
                let started = peer.recv().parse().unwrap();
                peer.send("end _exit");
                others.see(hold.outcome_without_end());
                signal(started, libc::SIGKILL);
            }
        },
        program,
    );
}

#[test]
fn the_end_of_the_service_ends_every_connection() {
    isolated(|| {
        let fixture = fixture();
        for hold in HOLDS {
            let others = Others::beside(&fixture, hold);
            let mut card = fixture.connect_as(hold);
            let waiting = others.wait();
            let power_ons = fixture.card.power_ons();
            fixture.sandbox.kill().unwrap();
            for answer in waiting.iter().map(finish) {
                assert_eq!(answer.unwrap_err().kind(), ErrorKind::ServiceGone);
            }
            let error = card.transmit(COMMAND).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ServiceGone);
            fixture.sandbox.restart().unwrap();
            assert_eq!(fixture.card.power_ons(), power_ons + 1);
            let error = card.transmit(COMMAND).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ServiceGone);
            assert_works(&mut fixture.connect());
        }
    });
}

#[test]
fn an_unplugged_reader_ends_every_connection() {
    const NAME: &str = "ACS ACR122U";
    isolated(|| {
        let sandbox = Sandbox::builder().driver(Driver::Kit).hot_plug(NAME);
        let sandbox = sandbox.start().unwrap();
        let context = Context::establish().unwrap();
        for hold in HOLDS {
            let usb = sandbox.plug(NAME).unwrap();
            usb.insert(plain_card()).unwrap();
            let reader = ReaderName::new(usb.name()).unwrap();
            let connect = || context.connect(&reader, hold.options()).unwrap();
            let other = (hold == InTransaction).then(connect);
            let mut card = connect();
            hold.take(&mut card);
            let waiting = other.map(|mut other| in_background(move || other.transmit(COMMAND)));
            waiting.iter().for_each(assert_blocked);
            usb.unplug().unwrap();
            for answer in waiting.iter().map(finish).chain([card.transmit(COMMAND)]) {
                assert_eq!(answer.unwrap_err().kind(), ErrorKind::ReaderGone);
            }
            card.disconnect(Disposition::Reset).unwrap();
        }
    });
}

#[test]
fn a_removed_card_ends_its_transaction_and_no_connection() {
    isolated(|| {
        let fixture = fixture();
        let slot = fixture.sandbox.reader(0);
        let removed = ReturnCode::W_REMOVED_CARD;
        for hold in HOLDS {
            let others = Others::beside(&fixture, hold);
            let mut card = fixture.connect_as(hold);
            let waiting = (hold == InTransaction).then(|| others.wait()).flatten();
            waiting.iter().for_each(assert_blocked);
            slot.remove().unwrap();
            for answer in waiting.iter().map(finish).chain([card.transmit(COMMAND)]) {
                assert_fails(answer, Operation::Transmit, removed);
            }
            // The next card is nobody's, unless the access is exclusive.
            let next = slot.insert(plain_card()).unwrap();
            assert_fails(card.transmit(COMMAND), Operation::Transmit, removed);
            match hold {
                Exclusive => Others::beside(&fixture, hold).are_kept_out(),
                _ => assert_eq!(finish(&fixture.use_by_another()).unwrap(), OK),
            }
            // That the card is gone is no error.
            card.disconnect(Disposition::Leave).unwrap();
            assert_works(&mut fixture.connect());
            assert_eq!(next.resets(), 0);
        }
    });
}

#[test]
fn disconnecting_with_reset_resets_the_next_card() {
    isolated(|| {
        let fixture = fixture();
        let card = fixture.connect();
        let slot = fixture.sandbox.reader(0);
        slot.remove().unwrap();
        let next = slot.insert(plain_card()).unwrap();
        card.disconnect(Disposition::Reset).unwrap();
        next.wait_until(SOON, |stats| stats.resets == 1).unwrap();
    });
}

#[test]
fn the_last_connection_takes_the_power_with_it() {
    isolated(|| {
        let fixture = fixture();
        let card = fixture.connect();
        let power_offs = fixture.card.power_offs();
        card.disconnect(Disposition::Leave).unwrap();
        fixture
            .card
            .wait_until(SOON, |stats| stats.power_offs == power_offs + 1)
            .unwrap();
    });
}
