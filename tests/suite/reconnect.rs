//! `SCardReconnect`: what it acknowledges, resets, negotiates and refuses.
#![cfg(target_os = "linux")]

use std::sync::atomic::{AtomicBool, Ordering};

use scard::{
    Card, CardCondition, ConnectOptions, Control, Disposition, ErrorKind, Initialization,
    Operation, Protocol, Protocols, ReturnCode, ShareMode,
};
use scard_testkit::{Driver, IfdCall, IfdError, Sandbox, atr, isolated};

use crate::support::*;

const BOTH_RESETS: [Initialization; 2] = [Initialization::Reset, Initialization::Unpower];

#[test]
fn leave_acknowledges_a_reset_by_another_connection() {
    isolated(|| {
        let fixture = fixture();
        let mut card = fixture.connect();
        assert_works(&mut card);
        fixture.reset_by_another();

        // Every call reports the reset until it is acknowledged, and nothing reaches the card.
        fixture.card.clear_log();
        for _ in 0..2 {
            let reset = ReturnCode::W_RESET_CARD;
            let error = assert_fails(card.transmit(COMMAND), Operation::Transmit, reset);
            assert_eq!(error.reader_name(), Some(&fixture.reader));
            assert_fails(card.status(), Operation::Status, reset);
            assert_fails(card.transaction(), Operation::BeginTransaction, reset);
        }
        assert_eq!(fixture.card.log().len(), 0);
        assert_eq!(card.protocol(), None, "it is open after a reset");

        let resets = fixture.card.resets();
        let protocol = reconnect(&mut card, Initialization::Leave).unwrap();
        assert_eq!(protocol, Protocol::T1);
        assert_works(&mut card);
        assert_eq!(fixture.card.resets(), resets, "leaving resets nothing");
    });
}

#[test]
fn reset_is_warm_and_unpower_is_cold() {
    isolated(|| {
        let fixture = fixture();
        let mut card = fixture.connect();
        let before = fixture.card.stats();

        assert_eq!(
            reconnect(&mut card, Initialization::Reset).unwrap(),
            Protocol::T1
        );
        let warm = fixture.card.stats();
        assert_eq!(warm.resets, before.resets + 1);
        assert_eq!(warm.power_ons, before.power_ons);

        assert_eq!(
            reconnect(&mut card, Initialization::Unpower).unwrap(),
            Protocol::T1
        );
        let cold = fixture.card.stats();
        assert_eq!(cold.resets, warm.resets);
        assert_eq!(cold.power_offs, warm.power_offs + 1);
        assert_eq!(cold.power_ons, warm.power_ons + 1);

        // The connection that resets does not see its own reset.
        assert_works(&mut card);
    });
}

#[test]
fn both_resets_are_reported_to_every_other_connection() {
    isolated(|| {
        let fixture = fixture();
        for initialization in BOTH_RESETS {
            let mut cards = [fixture.connect(), fixture.connect(), fixture.connect()];
            reconnect(&mut cards[0], initialization).unwrap();
            assert_works(&mut cards[0]);
            for card in &mut cards[1..] {
                assert_fails(
                    card.transmit(COMMAND),
                    Operation::Transmit,
                    ReturnCode::W_RESET_CARD,
                );
                reconnect(card, Initialization::Leave).unwrap();
                assert_works(card);
            }
            // Acknowledging is not a reset: the first one still works.
            assert_works(&mut cards[0]);
        }
    });
}

#[test]
fn leave_with_another_protocol_is_refused_and_changes_nothing() {
    isolated(|| {
        let fixture = fixture();
        let mut card = fixture.connect();
        let before = fixture.card.stats();
        let refused = card.reconnect(ShareMode::Shared, Protocols::T0, Initialization::Leave);
        assert_fails(refused, Operation::Reconnect, ReturnCode::E_PROTO_MISMATCH);
        assert_eq!(card.protocol(), Some(Protocol::T1));
        assert_works(&mut card);
        assert_eq!(fixture.card.stats().resets, before.resets);
        assert_eq!(fixture.card.stats().power_ons, before.power_ons);
    });
}

#[test]
fn a_reset_with_an_impossible_protocol_is_refused_and_has_happened() {
    isolated(|| {
        let fixture = fixture();
        for initialization in BOTH_RESETS {
            let mut card = fixture.connect();
            let before = fixture.card.stats();
            let refused = card.reconnect(ShareMode::Shared, Protocols::T0, initialization);
            assert_fails(refused, Operation::Reconnect, ReturnCode::E_PROTO_MISMATCH);
            let after = fixture.card.stats();
            assert_eq!(
                after.resets + after.power_ons,
                before.resets + before.power_ons + 1,
                "the card was reset all the same"
            );
            assert_eq!(card.protocol(), None, "no stale protocol");
            assert_fails(
                card.transmit(COMMAND),
                Operation::Transmit,
                ReturnCode::W_RESET_CARD,
            );
            let protocol = reconnect(&mut card, Initialization::Leave).unwrap();
            assert_eq!(card.protocol(), Some(protocol));
            assert_works(&mut card);
        }
    });
}

#[test]
fn no_protocol_at_all_is_refused_before_anything_happens() {
    isolated(|| {
        let fixture = fixture();
        let mut card = fixture.connect();
        let before = fixture.card.stats();
        for initialization in BOTH_RESETS {
            let refused = card.reconnect(ShareMode::Shared, Protocols::empty(), initialization);
            let error = assert_fails(
                refused,
                Operation::Reconnect,
                ReturnCode::E_INVALID_PARAMETER,
            );
            assert_eq!(error.card_condition(), Some(CardCondition::Unchanged));
        }
        assert_eq!(fixture.card.stats().resets, before.resets);
        assert_eq!(card.protocol(), Some(Protocol::T1));
        assert_works(&mut card);
    });
}

#[test]
fn the_protocol_can_be_changed_with_a_reset_only() {
    isolated(|| {
        let fixture = fixture_with(plain_card().atr(atr::T0_T1));
        let only = |protocols| ConnectOptions::new().protocols(protocols);
        let mut card = fixture.try_connect(only(Protocols::T0)).unwrap();
        assert_eq!(card.protocol(), Some(Protocol::T0));
        let left = card.reconnect(ShareMode::Shared, Protocols::T1, Initialization::Leave);
        assert_fails(left, Operation::Reconnect, ReturnCode::E_PROTO_MISMATCH);
        for initialization in BOTH_RESETS {
            for (protocols, protocol) in
                [(Protocols::T1, Protocol::T1), (Protocols::T0, Protocol::T0)]
            {
                let changed = card.reconnect(ShareMode::Shared, protocols, initialization);
                assert_eq!(changed.unwrap(), protocol);
                assert_eq!(card.protocol(), Some(protocol));
                assert_eq!(card.status().unwrap().protocol(), Some(protocol));
                assert_works(&mut card);
            }
        }
    });
}

/// Whoever comes first after a reset chooses the protocol, but the one who resets comes first.
#[test]
fn the_protocol_after_a_reset_is_that_of_the_connection_that_resets() {
    isolated(|| {
        let fixture = fixture_with(plain_card().atr(atr::T0_T1));
        let mut card = fixture.connect();
        let mut other = fixture.connect();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    // Refused while T=1 is active.
                    let _ =
                        other.reconnect(ShareMode::Shared, Protocols::T0, Initialization::Leave);
                }
            });
            let (mut resets, mut failed) = (0..100, None);
            while failed.is_none() && resets.next().is_some() {
                let reset = Initialization::Reset;
                let changed = card.reconnect(ShareMode::Shared, Protocols::T1, reset);
                failed = (changed != Ok(Protocol::T1)).then_some(changed);
            }
            is_over.store(true, Ordering::SeqCst);
            assert_eq!(failed, None);
        });
    });
}

#[test]
fn raw_stays_until_the_card_loses_its_power() {
    isolated(|| {
        let fixture = fixture();
        let mut card = fixture.connect();
        let raw = card.reconnect(ShareMode::Shared, Protocols::RAW, Initialization::Leave);
        assert_eq!(raw.unwrap(), Protocol::Raw);
        assert_eq!(card.protocol(), Some(Protocol::Raw));
        assert_works(&mut card);

        // For this connection and all others.
        assert_fails(
            reconnect(&mut card, Initialization::Leave),
            Operation::Reconnect,
            ReturnCode::E_PROTO_MISMATCH,
        );
        assert_eq!(card.protocol(), Some(Protocol::Raw));
        assert_works(&mut card);
        assert_fails(
            fixture.try_connect(ConnectOptions::new()),
            Operation::Connect,
            ReturnCode::E_PROTO_MISMATCH,
        );

        assert_eq!(
            reconnect(&mut card, Initialization::Unpower).unwrap(),
            Protocol::T1
        );
        assert_works(&mut card);
        assert_works(&mut fixture.connect());
    });
}

#[test]
fn a_removed_card_is_reported_until_a_reconnect_finds_another_one() {
    isolated(|| {
        let fixture = fixture();
        let mut card = fixture.connect();
        let slot = fixture.sandbox.reader(0);
        slot.remove().unwrap();
        let removed = ReturnCode::W_REMOVED_CARD;
        assert_fails(card.transmit(COMMAND), Operation::Transmit, removed);
        assert_fails(card.status(), Operation::Status, removed);
        assert_fails(card.transaction(), Operation::BeginTransaction, removed);
        assert_fails(
            reconnect(&mut card, Initialization::Leave),
            Operation::Reconnect,
            ReturnCode::E_NO_SMARTCARD,
        );
        assert_eq!(card.protocol(), None);

        let next = slot.insert(plain_card().atr(atr::T0)).unwrap();
        assert_fails(card.transmit(COMMAND), Operation::Transmit, removed);
        assert_eq!(next.log().len(), 0, "the other card got no command");
        assert_eq!(
            reconnect(&mut card, Initialization::Leave).unwrap(),
            Protocol::T0
        );
        assert_works(&mut card);
        assert_eq!(next.log().len(), 1);
    });
}

#[test]
fn control_calls_are_for_the_reader_and_not_stopped_by_what_happens_to_the_card() {
    isolated(|| {
        let fixture = fixture();
        let mut card = fixture.connect();
        // The driver is asked, whether it knows the code or not.
        let request = scard::ControlCode::GET_FEATURE_REQUEST;
        let before = card.control(request, &[]).map_err(|error| error.code());
        let same = |card: &mut scard::Card| {
            let answer = card.control(request, &[]).map_err(|error| error.code());
            assert_eq!(answer, before);
        };
        fixture.reset_by_another();
        same(&mut card);
        let reset = ReturnCode::W_RESET_CARD;
        assert_fails(card.transmit(COMMAND), Operation::Transmit, reset);
        fixture.sandbox.reader(0).remove().unwrap();
        same(&mut card);
        let removed = ReturnCode::W_REMOVED_CARD;
        assert_fails(card.transmit(COMMAND), Operation::Transmit, removed);
    });
}

#[test]
fn exclusive_access_is_given_when_no_other_connection_is_left() {
    isolated(|| {
        let fixture = fixture();
        let mut card = fixture.connect();
        let exclusive = card.reconnect(ShareMode::Exclusive, Protocols::ANY, Initialization::Leave);
        assert_eq!(exclusive.unwrap(), Protocol::T1);
        assert_eq!(card.share_mode(), ShareMode::Exclusive);
        assert_fails(
            fixture.try_connect(ConnectOptions::new()),
            Operation::Connect,
            ReturnCode::E_SHARING_VIOLATION,
        );
        assert_works(&mut card);
    });
}

#[test]
fn exclusive_access_waits_for_other_connections_to_end() {
    isolated(|| {
        let fixture = fixture();
        let mut card = fixture.connect();
        let other = fixture.connect();
        let waiting = in_background(move || {
            let exclusive =
                card.reconnect(ShareMode::Exclusive, Protocols::ANY, Initialization::Leave);
            (exclusive, card)
        });
        assert_blocked(&waiting);
        drop(other);
        let (exclusive, mut card) = finish(&waiting);
        assert_eq!(exclusive.unwrap(), Protocol::T1);
        assert_works(&mut card);
    });
}

#[test]
fn from_exclusive_to_shared_lets_others_in() {
    isolated(|| {
        let fixture = fixture();
        let mut card = fixture.connect_exclusive();
        reconnect(&mut card, Initialization::Leave).unwrap();
        assert_eq!(card.share_mode(), ShareMode::Shared);

        // Use the card, not only connect: pcsc-lite by itself leaves a lock behind.
        let other = fixture.use_by_another();
        assert_eq!(finish(&other).unwrap(), OK);
        assert_works(&mut card);
    });
}

#[test]
fn from_exclusive_to_direct_lets_others_in() {
    isolated(|| {
        let fixture = fixture();
        let card = fixture.connect_exclusive();
        let _direct = card.into_reader(Initialization::Leave).unwrap();
        let other = fixture.use_by_another();
        assert_eq!(finish(&other).unwrap(), OK);
    });
}

#[test]
fn exclusive_to_shared_inside_a_transaction_keeps_the_transaction() {
    isolated(|| {
        let fixture = fixture();
        let mut card = fixture.connect_exclusive();
        let mut transaction = card.transaction().unwrap();
        transaction
            .reconnect(ShareMode::Shared, Protocols::ANY, Initialization::Leave)
            .unwrap();
        let other = fixture.use_by_another();
        assert_blocked(&other);
        assert_eq!(transaction.transmit(COMMAND).unwrap(), OK);
        drop(transaction);
        assert_eq!(finish(&other).unwrap(), OK);
    });
}

fn kit() -> Fixture {
    let sandbox = Sandbox::builder().driver(Driver::Kit).readers(2);
    Fixture::of(sandbox.card(0, plain_card()).start().unwrap())
}

/// Resets the card, which does not answer.
fn assert_is_mute_after<T: std::fmt::Debug>(
    fixture: &Fixture,
    reset: impl FnOnce() -> scard::Result<T>,
) {
    let slot = fixture.sandbox.reader(0);
    slot.fail_next(IfdCall::Reset, IfdError::POWER_ACTION)
        .unwrap();
    let mute = ReturnCode::W_UNRESPONSIVE_CARD;
    assert_fails(reset(), Operation::Reconnect, mute);
}

/// In pcsc-lite, nobody can end a transaction then.
#[test]
fn a_card_that_does_not_answer_a_reset_is_left_to_others() {
    isolated(|| {
        for timeout in [None, Some(SOON)] {
            for recovers in [false, true] {
                let fixture = kit();
                let mut card = fixture.connect();
                card.set_timeout(timeout);
                assert_is_mute_after(&fixture, || reconnect(&mut card, Initialization::Reset));
                if recovers {
                    reconnect(&mut card, Initialization::Unpower).unwrap();
                    assert_works(&mut card);
                }
                let context = fixture.context.clone();
                let reader = fixture.reader.clone();
                let other = in_background(move || {
                    let mut other = context.open_reader(&reader)?;
                    other.reconnect(Initialization::Reset)?;
                    let mut other = context.connect(&reader, ConnectOptions::new())?;
                    other.transmit(COMMAND)
                });
                assert_eq!(finish(&other).unwrap(), OK);
                // The first connection is told that the card was reset.
                let told = card.transmit(COMMAND).unwrap_err();
                assert_eq!(told.code(), ReturnCode::W_RESET_CARD);
            }
        }
    });
}

#[test]
fn a_transaction_on_a_card_that_does_not_answer_ends_when_it_answers_again() {
    isolated(|| {
        let fixture = kit();
        let mut card = fixture.connect();
        let mut transaction = card.transaction().unwrap();
        let (shared, any) = (ShareMode::Shared, Protocols::ANY);
        assert_is_mute_after(&fixture, || {
            transaction.reconnect(shared, any, Initialization::Reset)
        });
        drop(transaction);
        reconnect(&mut card, Initialization::Unpower).unwrap();
        assert_works(&mut card);
        let other = fixture.use_by_another();
        assert_eq!(finish(&other).unwrap(), OK);
    });
}

/// pcsc-lite reports a reset before it is made. What others did until then would be undone without
/// another report, so a transaction keeps them out.
#[test]
fn others_are_kept_out_during_a_reset() {
    isolated(|| {
        let fixture = kit();
        let slot = fixture.sandbox.reader(0);
        for call in [IfdCall::Reset, IfdCall::PowerOn] {
            slot.delay_every(call, NEVER).unwrap();
        }
        let made = || fixture.card.resets() + fixture.card.power_ons();
        let resets: [fn(Card) -> scard::Result<()>; 3] = [
            |mut card| reconnect(&mut card, Initialization::Reset).map(drop),
            |mut card| reconnect(&mut card, Initialization::Unpower).map(drop),
            |card| Ok(card.disconnect(Disposition::Reset)?),
        ];
        for reset in resets {
            for (timeout, is_pending) in [(None, false), (Some(SOON), false), (None, true)] {
                let (mut card, mut other) = (fixture.connect(), fixture.connect());
                other.set_timeout(timeout);
                if is_pending {
                    // One that only the other connection has not acknowledged.
                    fixture.reset_by_another();
                    reconnect(&mut card, Initialization::Leave).unwrap();
                }
                let before = made();
                let resetting = in_background(move || reset(other));
                let told = loop {
                    if let Err(error) = card.status() {
                        break error;
                    }
                };
                assert_eq!(told.kind(), ErrorKind::CardReset);
                assert_eq!(made(), before + 1);
                finish(&resetting).unwrap();
            }
        }
    });
}

/// pcsc-lite resets the card before it checks for other connections, and its client library retries
/// ten times a second.
#[test]
fn exclusive_access_with_a_reset_resets_once() {
    isolated(|| {
        let fixture = fixture();
        for initialization in BOTH_RESETS {
            let mut card = fixture.connect();
            let mut other = fixture.connect();
            let before = fixture.card.stats();
            let waiting = in_background(move || {
                let exclusive = ShareMode::Exclusive;
                let reconnected = card.reconnect(exclusive, Protocols::ANY, initialization);
                (reconnected, card)
            });
            assert_blocked(&waiting);
            // The wait does not disturb the other connection.
            assert_works(&mut other);
            drop(other);
            let (reconnected, mut card) = finish(&waiting);
            assert_eq!(reconnected.unwrap(), Protocol::T1);
            assert_works(&mut card);
            let after = fixture.card.stats();
            assert_eq!(
                after.resets + after.power_ons,
                before.resets + before.power_ons + 1
            );
        }
    });
}

#[test]
fn a_refused_reset_to_exclusive_access_leaves_the_card_shared() {
    isolated(|| {
        let fixture = fixture();
        let mut card = fixture.connect();
        let before = fixture.card.stats();
        let exclusive = ShareMode::Exclusive;
        let refused = card.reconnect(exclusive, Protocols::T0, Initialization::Reset);
        assert_fails(refused, Operation::Reconnect, ReturnCode::E_PROTO_MISMATCH);
        assert_eq!(fixture.card.stats().resets, before.resets + 1);
        assert_eq!(card.share_mode(), ShareMode::Shared);
        assert_eq!(card.protocol(), None);
        // Others get in, and this connection sees the reset.
        let other = fixture.use_by_another();
        assert_eq!(finish(&other).unwrap(), OK);
        assert_fails(
            card.transmit(COMMAND),
            Operation::Transmit,
            ReturnCode::W_RESET_CARD,
        );
        reconnect(&mut card, Initialization::Leave).unwrap();
        assert_works(&mut card);
    });
}
