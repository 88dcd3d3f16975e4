//! Ends chosen by the program: a disposition, a drop, a panic.

use super::*;

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
                // Not with these readers, nor with any current driver.
                Disposition::Eject => drop(assert_fails(
                    ended,
                    Operation::EndTransaction,
                    ReturnCode::E_UNEXPECTED,
                )),
                _ => ended.unwrap(),
            }
            // This connection sees it, too.
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

/// The readers here cannot eject, nor can any with a current driver.
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
