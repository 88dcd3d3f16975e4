//! No call blocks past its limit, whether another process holds the card or the daemon is stopped.
#![cfg(target_os = "linux")]

use std::time::{Duration, Instant};

use scard::{
    AbortHandle, Attribute, Card, CardCondition, ConnectOptions, Context, ContextOptions, Control,
    ControlCode, Disposition, Error, ErrorKind, Initialization, Operation, Origin, Protocols,
    ReaderName, Recovery, Result, ShareMode,
};
use scard_testkit::{Sandbox, VirtualCard, isolated, isolated_with_peer};

use crate::support::usage::*;
use crate::support::*;

/// A limit to be exceeded.
const LIMIT: Duration = Duration::from_millis(200);

/// The call fails at its deadline: not before, and soon after.
#[track_caller]
fn assert_given_up<T>(call: impl FnOnce() -> Result<T>, operation: Operation) -> Error {
    let begun = Instant::now();
    let Err(error) = call() else {
        panic!("{operation} succeeded, it should wait");
    };
    let took = begun.elapsed();
    assert_eq!(error.operation(), operation);
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
    assert_eq!(error.recovery(), Recovery::ConnectAgain);
    assert_eq!(error.origin(), Origin::Library);
    assert!(took >= LIMIT, "{operation} gave up after {took:?}");
    println!("{operation}: {:?} past its deadline", took - LIMIT);
    // Much less than what it waits for; the precision depends on the load of the machine.
    assert!(
        took < LIMIT + SOON / 4,
        "{operation} gave up after {took:?}"
    );
    error
}

/// A blocking call on a card that another process holds.
type Call = fn(Card) -> (Result<()>, Option<Card>);

const CALLS: &[(Operation, Call)] = &[
    (Operation::Transmit, |mut card| {
        (card.transmit(COMMAND).map(drop), Some(card))
    }),
    (Operation::Status, |mut card| {
        (card.status().map(drop), Some(card))
    }),
    (Operation::BeginTransaction, |mut card| {
        (card.transaction().map(drop), Some(card))
    }),
    (Operation::Reconnect, |mut card| {
        let reconnected = reconnect(&mut card, Initialization::Leave);
        (reconnected.map(drop), Some(card))
    }),
    (Operation::Reconnect, |mut card| {
        let reconnected = reconnect(&mut card, Initialization::Reset);
        (reconnected.map(drop), Some(card))
    }),
    (Operation::Reconnect, |mut card| {
        let exclusive = ShareMode::Exclusive;
        let leave = Initialization::Leave;
        let reconnected = card.reconnect(exclusive, Protocols::ANY, leave);
        (reconnected.map(drop), Some(card))
    }),
    (Operation::Disconnect, |card| {
        match card.disconnect(Disposition::Reset) {
            Ok(()) => (Ok(()), None),
            Err(failed) => {
                let (card, error) = failed.into_parts();
                (Err(error), Some(card))
            }
        }
    }),
];

#[test]
fn calls_on_a_card_that_another_process_holds_end_at_their_deadline() {
    isolated_with_peer(
        |peers| {
            let fixture = fixture();
            let peer = peers.spawn();
            peer.send(&fixture.reader.to_string());
            let unused = usage_at_rest(&fixture);
            for (operation, call) in CALLS {
                let mut card = fixture.connect();
                card.set_timeout(Some(LIMIT));
                peer.send("hold");
                assert_eq!(peer.recv(), "held");
                fixture.card.clear_log();
                let before = fixture.card.stats();

                let mut left = None;
                let error = assert_given_up(
                    || {
                        let (answer, card) = call(card);
                        left = card;
                        answer
                    },
                    *operation,
                );
                assert!(!error.command_may_have_run(), "it never got to it");

                // The card is abandoned, and reports it at once.
                let mut left = left.unwrap();
                assert!(left.is_abandoned());
                let error = left.transmit(COMMAND).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Abandoned);
                assert_eq!(error.recovery(), Recovery::ConnectAgain);
                drop(left);

                // A given-up call leaves nothing behind, and has no late effect.
                peer.send("release");
                assert_eq!(peer.recv(), "released");
                assert_becomes(&fixture, &unused);
                assert_eq!(fixture.card.log().len(), 0, "{operation}: a late command");
                assert_eq!(
                    fixture.card.resets(),
                    before.resets,
                    "{operation}: a late reset"
                );
                assert_works(&mut fixture.connect());
            }
        },
        holder,
    );
}

#[test]
fn a_connect_to_a_card_that_another_process_holds_ends_at_its_deadline() {
    isolated_with_peer(
        |peers| {
            let fixture = fixture();
            let peer = peers.spawn();
            peer.send(&fixture.reader.to_string());
            let unused = usage_at_rest(&fixture);
            peer.send("hold");
            assert_eq!(peer.recv(), "held");
            let options = ConnectOptions::new().timeout(Some(LIMIT));
            let error = assert_given_up(
                || fixture.try_connect(options.clone()).map(drop),
                Operation::Connect,
            );
            assert_eq!(error.reader_name(), Some(&fixture.reader));
            peer.send("release");
            assert_eq!(peer.recv(), "released");
            // A connection that comes late is closed.
            assert_becomes(&fixture, &unused);
            assert_works(&mut fixture.try_connect(options).unwrap());
        },
        holder,
    );
}

#[test]
fn a_slow_card_is_left_and_the_error_says_that_the_command_may_have_run() {
    isolated(|| {
        let fixture = fixture_with(VirtualCard::new(|_: &[u8]| OK).delay(LIMIT * 3));
        let unused = usage_at_rest(&fixture);
        let mut card = fixture.connect();
        card.set_timeout(Some(LIMIT));
        let error = assert_given_up(|| card.transmit(COMMAND), Operation::Transmit);
        assert!(error.command_may_have_run());
        assert!(error.to_string().contains("the deadline passed"), "{error}");
        drop(card);
        assert_becomes(&fixture, &unused);
        assert_eq!(fixture.card.log().len(), 1);
    });
}

/// A call that can fail only by its deadline: the daemon is stopped.
#[test]
fn with_a_stopped_daemon_every_call_ends_at_its_deadline() {
    isolated(|| {
        let fixture = fixture();
        let context = ContextOptions::new().timeout(Some(LIMIT)).lazy();
        // What should succeed has more time, or tries again.
        let connect = || {
            let patient = ConnectOptions::new().timeout(Some(SOON));
            context.connect(&fixture.reader, patient).unwrap()
        };
        let connect_limited = || {
            let mut card = connect();
            card.set_timeout(Some(LIMIT));
            card
        };
        let count = || {
            let mut count = None;
            wait_until("the readers", || {
                count = context.readers().ok().map(|readers| readers.len());
                count.is_some()
            });
            count.unwrap()
        };
        assert_eq!(count(), 2);
        // Over the socket, the connection of one card is kept.
        drop(connect());
        let unused = usage_at_rest(&fixture);

        let mut cards: Vec<Card> = (0..7).map(|_| connect_limited()).collect();
        let (mut card, dropped) = (connect_limited(), connect_limited());
        let mut reader = fixture.context.open_reader(&fixture.reader).unwrap();
        reader.set_timeout(Some(LIMIT));
        let mut held = connect();
        held.set_timeout(Some(5 * LIMIT));
        let transaction = held.transaction().unwrap();
        fixture.sandbox.pause().unwrap();

        // Ending and dropping come first, while there is something to end.
        assert_given_up(
            || transaction.end(Disposition::Leave),
            Operation::EndTransaction,
        );
        let begun = Instant::now();
        drop(dropped);
        assert!(begun.elapsed() < LIMIT + SOON / 4);
        let mut next = || cards.pop().unwrap();
        let mut it = next();
        assert_given_up(|| it.transmit(COMMAND), Operation::Transmit);
        let mut it = next();
        assert_given_up(|| it.status(), Operation::Status);
        let mut it = next();
        assert_given_up(|| it.transaction().map(drop), Operation::BeginTransaction);
        let mut it = next();
        assert_given_up(
            || reconnect(&mut it, Initialization::Leave),
            Operation::Reconnect,
        );
        let it = next();
        assert_given_up(
            || Ok(it.disconnect(Disposition::Leave)?),
            Operation::Disconnect,
        );
        let mut it = next();
        let code = ControlCode::GET_FEATURE_REQUEST;
        let error = assert_given_up(|| it.control(code, &[]), Operation::Control);
        assert!(error.command_may_have_run());
        let mut it = next();
        let id = Attribute::VENDOR_NAME;
        assert_given_up(|| it.attribute(id), Operation::GetAttribute);
        assert_given_up(|| card.set_attribute(id, &[1]), Operation::SetAttribute);
        assert_given_up(
            || reader.reconnect(Initialization::Leave),
            Operation::Reconnect,
        );

        assert_given_up(|| context.readers(), Operation::ListReaders);
        assert_given_up(|| context.reader_groups(), Operation::ListReaderGroups);
        assert_given_up(|| context.reader_states(), Operation::GetStatusChange);
        let options = ContextOptions::new().timeout(Some(LIMIT));
        assert_given_up(|| options.establish(), Operation::EstablishContext);
        assert_given_up(
            || context.connect(&fixture.reader, ConnectOptions::new()),
            Operation::Connect,
        );
        assert_given_up(|| context.open_reader(&fixture.reader), Operation::Connect);

        fixture.sandbox.resume().unwrap();
        drop((card, held, reader));
        assert_becomes(&fixture, &unused);
        // The context has survived.
        assert_eq!(count(), 2);
        wait_until("the context is valid", || {
            context.is_valid().is_ok_and(|is_valid| is_valid)
        });
        assert_works(&mut connect());
    });
}

#[test]
fn a_limit_that_is_kept_changes_nothing() {
    isolated(|| {
        let fixture = fixture();
        for timeout in [Some(SOON), Some(Duration::MAX), None] {
            let options = ConnectOptions::new().timeout(timeout);
            let mut card = fixture.try_connect(options).unwrap();
            for _ in 0..3 {
                assert_works(&mut card);
            }
            let mut transaction = card.transaction().unwrap();
            assert_eq!(transaction.transmit(COMMAND).unwrap(), OK);
            assert_eq!(transaction.transmit_ref(COMMAND).unwrap(), OK);
            transaction.end(Disposition::Leave).unwrap();
            fixture.reset_by_another();
            let reset = card.transmit(COMMAND).unwrap_err();
            assert_eq!(reset.kind(), ErrorKind::CardReset);
            assert!(!reset.command_may_have_run());
            reconnect(&mut card, Initialization::Reset).unwrap();
            assert_works(&mut card);
            assert!(!card.is_abandoned());
            let reader = card.into_reader(Initialization::Leave).unwrap();
            let card = reader.into_card(ShareMode::Shared, Protocols::ANY, Initialization::Leave);
            let mut card = card.unwrap();
            assert_works(&mut card);
            card.disconnect(Disposition::Leave).unwrap();
        }
    });
}

/// Over the socket it needs no thread.
#[cfg(feature = "library")]
#[test]
fn a_command_with_a_limit_takes_a_transaction_for_itself() {
    isolated(|| {
        let (release, released) = std::sync::mpsc::channel();
        let fixture = fixture_with(VirtualCard::new(move |_: &[u8]| {
            let _ = released.recv_timeout(SOON);
            OK
        }));
        let mut other = fixture.connect();
        let mut card = fixture.connect();
        card.set_timeout(Some(SOON));
        let answer = in_background(move || card.transmit(COMMAND));
        fixture.card.wait_for_commands(1, SOON).unwrap();
        // A call that does not wait is refused during a transaction.
        other.set_wait_for_transactions(false);
        let refused = other.attribute(Attribute::ATR_STRING).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::SharingViolation);
        release.send(()).unwrap();
        assert_eq!(finish(&answer).unwrap(), OK);
        // The transaction has ended.
        release.send(()).unwrap();
        assert_works(&mut other);
    });
}

#[test]
fn no_time_at_all_is_refused_and_abandons_nothing() {
    isolated(|| {
        let fixture = fixture();
        let mut card = fixture.connect();
        card.set_timeout(Some(Duration::ZERO));
        let error = card.transmit(COMMAND).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        assert_eq!(error.recovery(), Recovery::RetryLater);
        let before = "the deadline had passed before the call began";
        assert_eq!(error.description(), before);
        assert!(!error.command_may_have_run());
        let error = reconnect(&mut card, Initialization::Reset).unwrap_err();
        assert_eq!(error.recovery(), Recovery::RetryLater);
        assert_eq!(error.card_condition(), Some(CardCondition::Unchanged));
        assert!(!card.is_abandoned(), "as advised");
        card.set_timeout(None);
        assert_works(&mut card);
        let none = ConnectOptions::new().timeout(Some(Duration::ZERO));
        let error = fixture.try_connect(none).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        assert_eq!(error.operation(), Operation::Connect);
    });
}

#[test]
fn several_calls_together_end_at_one_deadline() {
    isolated(|| {
        let fixture = fixture_with(VirtualCard::new(|_: &[u8]| OK).delay(LIMIT / 4));
        let mut card = fixture.connect();
        let begun = Instant::now();
        let (completed, error) = card.within(LIMIT, |card| {
            let mut transaction = card.transaction().unwrap();
            let mut completed = 0;
            loop {
                match transaction.transmit(COMMAND) {
                    Ok(_) => completed += 1,
                    Err(error) => break (completed, error),
                }
            }
        });
        assert!(begun.elapsed() >= LIMIT);
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        assert!(completed < 4, "{completed} commands");

        // With time left nothing changes, and afterwards there is no limit.
        let mut card = fixture.connect();
        card.within(SOON, assert_works);
        card.within(Duration::MAX, assert_works);
        card.within(SOON, |card| {
            card.within(Duration::ZERO, |card| {
                let error = card.transmit(COMMAND).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
            });
            assert_works(card);
        });
        assert!(!card.is_abandoned());
        assert_works(&mut card);
    });
}

#[test]
fn a_transaction_ends_even_if_the_time_is_over() {
    isolated(|| {
        let fixture = fixture();
        // The card stays usable if the end takes no more than a moment. On a busy machine some take
        // longer, but not all.
        let are_usable = [(); 3].map(|()| {
            let mut card = fixture.connect();
            card.within(5 * LIMIT, |card| {
                let transaction = card.transaction().unwrap();
                std::thread::sleep(5 * LIMIT);
                drop(transaction);
            });
            let mut other = fixture.connect();
            let answer = in_background(move || other.transmit(COMMAND));
            assert_eq!(finish(&answer).unwrap(), OK);
            let is_usable = !card.is_abandoned();
            if is_usable {
                assert_works(&mut card);
            }
            is_usable
        });
        assert!(are_usable.contains(&true));
    });
}

#[test]
fn a_card_is_stopped_from_another_thread() {
    isolated(|| {
        let fixture = fixture();
        let mut holder = fixture.connect();
        let mut card = fixture.connect();
        let unused_but_for_two = usage_at_rest(&fixture);
        let mut third = fixture.connect();
        let transaction = holder.transaction().unwrap();
        let abort = third.make_abortable();
        let waiting = in_background(move || (third.transmit(COMMAND), third));
        assert_blocked(&waiting);
        abort.abort();
        let (answer, mut third) = finish(&waiting);
        let error = answer.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        assert!(!error.command_may_have_run());
        // It is final.
        assert!(third.is_abandoned());
        assert!(third.status().is_err());
        drop(third);
        drop(transaction);
        assert_becomes(&fixture, &unused_but_for_two);

        // One handle can stop several cards, even before they are connected.
        let abort = AbortHandle::new();
        let options = ConnectOptions::new().abort_handle(&abort);
        let mut a = fixture.try_connect(options.clone()).unwrap();
        assert_works(&mut a);
        abort.abort();
        assert_eq!(
            a.transmit(COMMAND).unwrap_err().kind(),
            ErrorKind::Cancelled
        );
        let error = fixture.try_connect(options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        assert_works(&mut card);
    });
}

#[test]
fn the_connect_is_stopped_from_another_thread() {
    isolated(|| {
        let fixture = fixture();
        let mut holder = fixture.connect();
        let _transaction = holder.transaction().unwrap();
        let abort = AbortHandle::new();
        let options = ConnectOptions::new().abort_handle(&abort);
        let (context, reader) = (fixture.context.clone(), fixture.reader.clone());
        let waiting = in_background(move || context.connect(&reader, options).map(drop));
        assert_blocked(&waiting);
        abort.abort();
        let error = finish(&waiting).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        assert_eq!(error.operation(), Operation::Connect);
    });
}

#[test]
fn without_a_limit_there_is_no_thread() {
    isolated(|| {
        let sandbox = Sandbox::builder().card(0, plain_card()).start().unwrap();
        let name = ReaderName::new(sandbox.reader(0).name()).unwrap();
        let context = Context::establish().unwrap();
        let before = threads();
        let mut card = context.connect(&name, ConnectOptions::new()).unwrap();
        assert_works(&mut card);
        assert_eq!(threads_since(&before), 0);
        card.set_timeout(Some(SOON));
        assert_works(&mut card);
        // Over the socket, calls end by themselves.
        let expected = usize::from(cfg!(feature = "library"));
        assert_eq!(threads_since(&before), expected);
    });
}
