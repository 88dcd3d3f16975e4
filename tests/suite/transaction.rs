//! Transactions: whom they keep out, when they end, and what they leave behind.
#![cfg(target_os = "linux")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use scard::{
    ConnectOptions, Context, Control, Disposition, Error, ErrorKind, Initialization, Operation,
    Protocol, Protocols, ReaderName, Recovery, ReturnCode, ShareMode,
};
use scard_testkit::{isolated, isolated_with_peer};

use crate::support::*;

/// Another connection's command, which must wait while a transaction is held.
fn command_by_another(fixture: &Fixture) -> std::sync::mpsc::Receiver<scard::Result<Vec<u8>>> {
    // Connecting would wait, too.
    let mut other = fixture.connect();
    in_background(move || other.transmit(COMMAND))
}

#[test]
fn a_transaction_excludes_others_until_it_ends() {
    isolated(|| {
        let fixture = fixture();
        let mut card = fixture.connect();
        let mut other = fixture.connect();
        let mut transaction = card.transaction().unwrap();
        let waiting = in_background(move || other.transmit(&[0, 0xA4, 0, 0]));
        assert_blocked(&waiting);
        fixture.card.clear_log();
        assert_eq!(transaction.transmit(COMMAND).unwrap(), OK);
        assert_eq!(transaction.transmit_ref(COMMAND).unwrap(), OK);
        transaction.end(Disposition::Leave).unwrap();
        assert_eq!(finish(&waiting).unwrap(), OK);
        let log = fixture.card.log();
        let seen: Vec<&[u8]> = log.iter().map(|entry| &entry.command[..]).collect();
        assert_eq!(seen, [COMMAND, COMMAND, &[0, 0xA4, 0, 0]]);
    });
}

#[test]
fn a_transaction_ends_when_it_is_dropped() {
    isolated(|| {
        let fixture = fixture();
        let mut card = fixture.connect();
        let mut other = fixture.connect();
        let transaction = card.transaction().unwrap();
        let waiting = in_background(move || other.transmit(COMMAND));
        assert_blocked(&waiting);
        drop(transaction);
        assert_eq!(finish(&waiting).unwrap(), OK);
    });
}

#[test]
fn a_transaction_ends_in_a_panic() {
    isolated(|| {
        let fixture = fixture();
        let mut card = fixture.connect();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _transaction = card.transaction().unwrap();
            panic!("on purpose");
        }));
        assert!(panicked.is_err());
        assert_eq!(finish(&command_by_another(&fixture)).unwrap(), OK);
        assert_works(&mut card);
    });
}

/// pcsc-lite resets the card of a process that ends inside a transaction. A connection made at this
/// moment does not see the reset, and finds its protocol no longer active.
#[test]
fn a_transaction_ends_with_its_process() {
    isolated_with_peer(
        |peers| {
            let fixture = fixture();
            for killed in [true, false] {
                let resets = fixture.card.resets();
                let peer = peers.spawn();
                peer.send(&fixture.reader.to_string());
                assert_eq!(peer.recv(), "held");
                let (context, reader) = (fixture.context.clone(), fixture.reader.clone());
                let waiting = in_background(move || {
                    let mut card = context.connect(&reader, ConnectOptions::new())?;
                    Ok::<_, Error>((card.transmit(COMMAND), card))
                });
                assert_blocked(&waiting);
                if killed {
                    peer.kill();
                } else {
                    peer.send("exit");
                }
                let (answer, mut card) = finish(&waiting).unwrap();
                match answer {
                    Ok(answer) => assert_eq!(answer, OK),
                    Err(error) => assert!(
                        [ReturnCode::W_RESET_CARD, ReturnCode::E_PROTO_MISMATCH]
                            .contains(&error.code()),
                        "{error}"
                    ),
                }
                reconnect(&mut card, Initialization::Leave).unwrap();
                assert_works(&mut card);
                assert_eq!(fixture.card.resets(), resets + 1);
            }
        },
        |link| {
            let reader = ReaderName::new(link.recv()).unwrap();
            let context = Context::establish().unwrap();
            let mut card = context.connect(&reader, ConnectOptions::new()).unwrap();
            let transaction = card.transaction().unwrap();
            link.send("held");
            link.recv();
            // No destructor runs.
            std::mem::forget(transaction);
            std::process::exit(0);
        },
    );
}

#[test]
fn ending_with_a_reset_is_reported_to_the_own_connection_too() {
    isolated(|| {
        let fixture = fixture();
        for disposition in [Disposition::Reset, Disposition::Unpower] {
            let mut card = fixture.connect();
            let mut other = fixture.connect();
            let before = fixture.card.stats();
            card.transaction().unwrap().end(disposition).unwrap();
            let after = fixture.card.stats();
            assert_eq!(
                after.resets + after.power_ons,
                before.resets + before.power_ons + 1
            );
            assert_eq!(card.protocol(), None);
            for card in [&mut card, &mut other] {
                assert_fails(
                    card.transmit(COMMAND),
                    Operation::Transmit,
                    ReturnCode::W_RESET_CARD,
                );
                reconnect(card, Initialization::Leave).unwrap();
                assert_works(card);
            }
            assert_eq!(card.protocol(), Some(Protocol::T1));
        }
    });
}

#[test]
fn a_transaction_on_a_removed_card_ends_with_an_error_and_is_over() {
    isolated(|| {
        let fixture = fixture();
        let mut card = fixture.connect();
        let mut transaction = card.transaction().unwrap();
        let slot = fixture.sandbox.reader(0);
        slot.remove().unwrap();
        assert_fails(
            transaction.transmit(COMMAND),
            Operation::Transmit,
            ReturnCode::W_REMOVED_CARD,
        );
        assert_fails(
            transaction.end(Disposition::Leave),
            Operation::EndTransaction,
            ReturnCode::W_REMOVED_CARD,
        );
        slot.insert(plain_card()).unwrap();
        assert_eq!(finish(&command_by_another(&fixture)).unwrap(), OK);
    });
}

#[test]
fn a_reset_inside_a_transaction_keeps_the_transaction() {
    isolated(|| {
        let fixture = fixture();
        let mut card = fixture.connect();
        let mut other = fixture.connect();
        let mut transaction = card.transaction().unwrap();
        for initialization in [
            Initialization::Leave,
            Initialization::Reset,
            Initialization::Unpower,
        ] {
            let protocol = transaction.reconnect(ShareMode::Shared, Protocols::ANY, initialization);
            assert_eq!(protocol.unwrap(), Protocol::T1);
            assert!(!transaction.interrupted(), "pcsc-lite keeps it");
            assert_eq!(transaction.transmit(COMMAND).unwrap(), OK);
        }
        let waiting = in_background(move || (other.status().map(drop), other));
        assert_blocked(&waiting);
        transaction.end(Disposition::Leave).unwrap();
        let (status, mut other) = finish(&waiting);
        assert_fails(status, Operation::Status, ReturnCode::W_RESET_CARD);
        reconnect(&mut other, Initialization::Leave).unwrap();
        assert_works(&mut other);
    });
}

/// pcsc-lite does not end a transaction whose card was reset until the reset is acknowledged, and
/// keeps all others out.
#[test]
fn a_failed_reset_inside_a_transaction_does_not_lock_others_out() {
    isolated(|| {
        let fixture = fixture();
        for explicit in [true, false] {
            let mut card = fixture.connect();
            let mut other = fixture.connect();
            let mut transaction = card.transaction().unwrap();
            let refused =
                transaction.reconnect(ShareMode::Shared, Protocols::T0, Initialization::Reset);
            assert_fails(refused, Operation::Reconnect, ReturnCode::E_PROTO_MISMATCH);
            if explicit {
                // It is not reset again.
                let resets = fixture.card.resets();
                assert_fails(
                    transaction.end(Disposition::Reset),
                    Operation::EndTransaction,
                    ReturnCode::W_RESET_CARD,
                );
                assert_eq!(fixture.card.resets(), resets);
            } else {
                drop(transaction);
            }

            let used = in_background(move || {
                reconnect(&mut other, Initialization::Leave)?;
                other.transmit(COMMAND)
            });
            assert_eq!(finish(&used).unwrap(), OK);

            // Every call still reports the reset to this connection.
            let reset = ReturnCode::W_RESET_CARD;
            assert_fails(card.transmit(COMMAND), Operation::Transmit, reset);
            assert_fails(card.status(), Operation::Status, reset);
            assert_fails(card.transaction(), Operation::BeginTransaction, reset);
            reconnect(&mut card, Initialization::Leave).unwrap();
            assert_works(&mut card);
        }
    });
}

#[test]
fn everything_a_card_can_do_can_be_done_in_a_transaction() {
    isolated(|| {
        let fixture = fixture();
        let mut card = fixture.connect();
        let mut transaction = card.transaction().unwrap();
        assert_eq!(transaction.reader_name(), &fixture.reader);
        assert_eq!(transaction.share_mode(), ShareMode::Shared);
        assert_eq!(transaction.protocol(), Some(Protocol::T1));
        assert!(transaction.status().is_ok());
        let unknown = transaction.attribute(scard::Attribute::from_raw(0x7_FFFF));
        assert_eq!(unknown.unwrap_err().operation(), Operation::GetAttribute);
        let set = transaction.set_attribute(scard::Attribute::from_raw(0x7_FFFF), &[1]);
        assert_eq!(set.unwrap_err().operation(), Operation::SetAttribute);
        let control = transaction.control(scard::ControlCode::from_function(1), &[]);
        assert_eq!(control.unwrap_err().operation(), Operation::Control);
    });
}

#[test]
fn exclusive_access_and_transactions_go_together() {
    isolated(|| {
        let fixture = fixture();
        let mut card = fixture.connect_exclusive();
        for _ in 0..3 {
            let mut transaction = card.transaction().unwrap();
            assert_eq!(transaction.transmit(COMMAND).unwrap(), OK);
            transaction.end(Disposition::Leave).unwrap();
        }
        drop(card);
        assert_works(&mut fixture.connect());
    });
}

/// pcsc-lite ends a transaction when the card is removed, and does not report that later.
#[test]
fn a_transaction_is_begun_again_for_the_next_card() {
    isolated(|| {
        let fixture = fixture();
        for noticed in [true, false] {
            let mut card = fixture.connect();
            let mut transaction = card.transaction().unwrap();
            let slot = fixture.sandbox.reader(0);
            slot.remove().unwrap();
            slot.insert(plain_card()).unwrap();
            if noticed {
                let removed = ReturnCode::W_REMOVED_CARD;
                assert_fails(transaction.transmit(COMMAND), Operation::Transmit, removed);
            }
            transaction
                .reconnect(ShareMode::Shared, Protocols::ANY, Initialization::Leave)
                .unwrap();
            assert!(transaction.interrupted());
            let other = fixture.use_by_another();
            assert_blocked(&other);
            transaction.end(Disposition::Leave).unwrap();
            assert_eq!(finish(&other).unwrap(), OK);
        }
    });
}

#[test]
fn exclusive_access_goes_on_with_the_next_card() {
    isolated(|| {
        let fixture = fixture();
        let mut card = fixture.connect_exclusive();
        let slot = fixture.sandbox.reader(0);
        for initialization in [Initialization::Leave, Initialization::Reset] {
            slot.remove().unwrap();
            slot.insert(plain_card()).unwrap();
            card.reconnect(ShareMode::Exclusive, Protocols::ANY, initialization)
                .unwrap();
            for _ in 0..2 {
                let transaction = card.transaction().unwrap();
                transaction.end(Disposition::Leave).unwrap();
            }
            assert_fails(
                fixture.try_connect(ConnectOptions::new()),
                Operation::Connect,
                ReturnCode::E_SHARING_VIOLATION,
            );
        }
        drop(card);
        assert_eq!(finish(&fixture.use_by_another()).unwrap(), OK);
    });
}

/// However often others reset the card, no reset reaches the caller that begins a transaction.
#[test]
fn resets_by_others_are_acknowledged_before_a_transaction_begins() {
    isolated(|| {
        let fixture = fixture();
        let mut card = fixture.connect();
        let none = card
            .transaction_acknowledging_reset(Protocols::ANY)
            .unwrap();
        assert!(!none.was_reset());
        drop(none);
        let mut other = fixture.connect();
        let (asks, asked) = mpsc::channel();
        let (done, is_done) = mpsc::channel();
        let resetting = std::thread::spawn(move || {
            for () in asked {
                reconnect(&mut other, Initialization::Reset).unwrap();
                done.send(()).unwrap();
            }
        });
        let (mut resets, mut late) = (0, 0);
        for _ in 0..100 {
            // At the same time: before, during or after it.
            asks.send(()).unwrap();
            let begun = card.transaction_acknowledging_reset(Protocols::ANY);
            let mut transaction = begun.unwrap();
            resets += usize::from(transaction.was_reset());
            // Nobody can begin a reset now. What began before may not be over (pcsc-lite).
            let answer = match transaction.transmit(COMMAND) {
                Err(error) if error.recovery() == Recovery::Reconnect => {
                    late += 1;
                    assert!(!error.command_may_have_run());
                    let leave = Initialization::Leave;
                    let again = transaction.reconnect(ShareMode::Shared, Protocols::ANY, leave);
                    again.unwrap();
                    transaction.transmit(COMMAND)
                }
                answer => answer,
            };
            assert_eq!(answer.unwrap(), OK);
            assert_eq!(transaction.protocol(), Some(Protocol::T1));
            drop(transaction);
            is_done.recv().unwrap();
        }
        drop(asks);
        resetting.join().unwrap();
        // Two of them may have come before one transaction.
        assert!(resets >= 49, "{resets}");
        println!("{resets} resets, {late} late");
        assert!(late <= 10, "{late}");
    });
}

#[test]
fn what_is_no_reset_is_not_acknowledged() {
    isolated(|| {
        let fixture = fixture();
        let mut card = fixture.connect();
        let refused = card.transaction_acknowledging_reset(Protocols::empty());
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidArgument);
        fixture.sandbox.reader(0).remove().unwrap();
        let removed = card
            .transaction_acknowledging_reset(Protocols::ANY)
            .unwrap_err();
        assert_eq!(removed.kind(), ErrorKind::CardRemoved);
        fixture.sandbox.reader(0).insert(plain_card()).unwrap();
        // Afterwards the card uses a protocol that is not accepted.
        let mut card = fixture.connect();
        fixture.reset_by_another();
        let refused = card
            .transaction_acknowledging_reset(Protocols::T0)
            .unwrap_err();
        assert_eq!(refused.operation(), Operation::Reconnect);
        assert_eq!(refused.kind(), ErrorKind::ProtocolMismatch);
        assert!(!refused.command_may_have_run());
    });
}

/// It waits for another program's transaction, but not past its limit.
#[test]
fn acknowledging_a_reset_keeps_the_limit() {
    isolated(|| {
        let fixture = fixture();
        let mut card = fixture.connect();
        fixture.reset_by_another();
        let mut other = fixture.connect();
        let _held = other.transaction().unwrap();
        let limit = Duration::from_millis(200);
        card.set_timeout(Some(limit));
        let begun = Instant::now();
        let late = card
            .transaction_acknowledging_reset(Protocols::ANY)
            .unwrap_err();
        assert_eq!(late.kind(), ErrorKind::DeadlineExceeded);
        assert!(begun.elapsed() < limit + SOON);
        assert!(!late.command_may_have_run());
    });
}
