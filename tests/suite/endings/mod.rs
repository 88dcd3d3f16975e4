//! What ends a transaction or a connection, and what becomes of the card: a test for each row of
//! the guide's page `endings`.
#![cfg(target_os = "linux")]
#![allow(unsafe_code)]

mod disposed;
mod late;
mod programs;

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

/// How a connection holds the card.
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

    /// What becomes of the card if the program does not end the connection.
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
    /// A cold reset.
    Repowered,
}
use Outcome::{Left, Repowered, Reset};

/// What the other programs see.
struct Others<'a> {
    fixture: &'a Fixture,
    hold: Hold,
    /// None can be connected during exclusive access.
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

    /// The card is held: events from now on count.
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
            // Unlike a command, this can be configured not to wait for the end of the transaction.
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

    /// A command of the other programs, if there are any.
    fn wait(self) -> Option<Receiver<Result<Vec<u8>>>> {
        let mut card = self.card?;
        Some(in_background(move || card.transmit(COMMAND)))
    }

    /// Checks that the connection has ended or is about to, and what becomes of the card.
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
            // The service powers an unused card down: only resets count.
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
        // Waits until no other connection is left.
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

/// Nothing notifies others of the end of exclusive access.
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

/// Checks that the slow command has run to completion.
#[track_caller]
fn assert_answered(fixture: &Fixture) {
    let log = fixture.card.log();
    let slow = log.iter().rfind(|exchange| exchange.command == SLOW);
    assert_eq!(slow.unwrap().response.as_deref(), Some(OK));
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
            // The next card is free, unless the access is exclusive.
            let next = slot.insert(plain_card()).unwrap();
            assert_fails(card.transmit(COMMAND), Operation::Transmit, removed);
            match hold {
                Exclusive => Others::beside(&fixture, hold).are_kept_out(),
                _ => assert_eq!(finish(&fixture.use_by_another()).unwrap(), OK),
            }
            // A removed card is not an error.
            card.disconnect(Disposition::Leave).unwrap();
            assert_works(&mut fixture.connect());
            assert_eq!(next.resets(), 0);
        }
    });
}
