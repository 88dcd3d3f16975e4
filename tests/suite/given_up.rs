//! Given-up calls end without an effect on the card, and calls that hang do not pile up, whether
//! the daemon is paused or another program holds the card.
#![cfg(target_os = "linux")]

use std::time::{Duration, Instant};

#[cfg(feature = "async")]
use scard::AsyncContext;
use scard::{
    AbortHandle, Card, CardFilter, ConnectOptions, Context, ContextOptions, Disposition, ErrorKind,
    Initialization, Protocols, ReaderName, Result, Session, ShareMode,
};
use scard_testkit::{Driver, Sandbox, VirtualCard, isolated};

#[cfg(feature = "async")]
use crate::support::executor::{block_on, sleep};
use crate::support::usage::{threads_named, wait_for_workers, workers};
use crate::support::*;

/// A limit to be exceeded.
const LIMIT: Duration = Duration::from_millis(200);

/// A context whose calls end soon. On a busy machine the first ones may end too soon.
fn context_with_limit(limit: Duration) -> Context {
    let context = ContextOptions::new().timeout(Some(limit)).lazy();
    wait_until("the context", || context.readers().is_ok());
    context
}

fn resetting() -> ConnectOptions {
    ConnectOptions::new().disposition_on_drop(Disposition::Reset)
}

/// Gives up a call on, or a connect to, a card that a first program holds in a transaction: the
/// card is not reset when the transaction ends.
fn assert_leaves_card(give_up: impl Fn(&Fixture, &mut Option<Card>) -> Result<()>) {
    let fixture = fixture();
    let mut first = fixture.connect();
    let mut second = Some(fixture.try_connect(resetting()).unwrap());
    let transaction = first.transaction().unwrap();

    let error = give_up(&fixture, &mut second).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
    drop(second);
    transaction.end(Disposition::Leave).unwrap();
    wait_for_workers(0);
    wait_until("no other connection is left", || {
        let (exclusive, leave) = (ShareMode::Exclusive, Initialization::Leave);
        first.reconnect(exclusive, Protocols::ANY, leave).is_ok()
    });
    assert_eq!(fixture.card.resets(), 0);
    assert_works(&mut first);
}

#[test]
fn a_connect_that_is_given_up_does_not_reset_the_card() {
    isolated(|| {
        assert_leaves_card(|fixture, second| {
            // Only the first program is still connected.
            let second = second.take().unwrap();
            second.disconnect(Disposition::Leave)?;
            let options = resetting().timeout(Some(LIMIT));
            fixture.try_connect(options).map(drop)
        });
    });
}

#[test]
fn calls_that_are_given_up_do_not_reset_the_card() {
    isolated(|| {
        for call in [
            |card| Card::transmit(card, COMMAND).map(drop),
            |card| card.status().map(drop),
            |card| card.transaction().map(drop),
            |card| reconnect(card, Initialization::Reset).map(drop),
        ] as [fn(&mut Card) -> Result<()>; 4]
        {
            assert_leaves_card(|_, second| {
                let card = second.as_mut().unwrap();
                card.set_timeout(Some(LIMIT));
                call(card)
            });
        }
    });
}

/// A drop that should have reset the card, but reached its limit.
#[test]
fn a_drop_that_takes_too_long_does_not_reset_the_card() {
    isolated(|| {
        let fixture = fixture();
        let mut first = fixture.connect();
        let mut second = fixture.try_connect(resetting()).unwrap();
        second.set_timeout(Some(LIMIT));
        let transaction = first.transaction().unwrap();
        let begun = Instant::now();
        drop(second);
        assert!(begun.elapsed() >= LIMIT, "{:?}", begun.elapsed());
        transaction.end(Disposition::Leave).unwrap();
        wait_for_workers(0);
        assert_eq!(fixture.card.resets(), 0);

        // A drop that is in time does.
        drop(
            fixture
                .try_connect(resetting().timeout(Some(SOON)))
                .unwrap(),
        );
        assert_eq!(fixture.card.resets(), 1);
    });
}

/// At most this many calls hang until their deadline; the next one is refused.
#[track_caller]
fn assert_busy_after(at_most: usize, call: impl Fn() -> Result<()>) {
    let kinds = std::iter::repeat_with(|| call().unwrap_err().kind());
    let mut kinds = kinds.skip_while({
        let mut hang = 0;
        move |kind| {
            hang += 1;
            *kind == ErrorKind::DeadlineExceeded && hang <= at_most
        }
    });
    assert_eq!(kinds.next(), Some(ErrorKind::ServiceBusy));
}

/// Like [`assert_busy_after`], but over the socket nothing is left of the calls, so none is refused.
#[track_caller]
fn assert_does_not_pile_up(at_most: usize, call: impl Fn() -> Result<()>) {
    if cfg!(feature = "library") {
        return assert_busy_after(at_most, call);
    }
    for _ in 0..=at_most {
        assert_eq!(call().unwrap_err().kind(), ErrorKind::DeadlineExceeded);
    }
    assert_eq!(workers(), 0);
}

/// The number of hanging calls is limited, whatever they are; when the service resumes, nothing
/// begins that would only be undone.
#[test]
fn calls_to_a_service_that_hangs_do_not_pile_up() {
    isolated(|| {
        let fixture = fixture();
        let context = context_with_limit(LIMIT);
        let soon_over = || ConnectOptions::new().timeout(Some(Duration::from_millis(2)));
        fixture.sandbox.pause().unwrap();
        let mut refused = 0;
        let mut connect = || {
            let error = context.connect(&fixture.reader, soon_over()).unwrap_err();
            refused += usize::from(error.kind() == ErrorKind::ServiceBusy);
            refused
        };
        if cfg!(feature = "library") {
            // Some may be given up before they begin.
            wait_until("connects are refused", || {
                (0..100).map(|_| connect()).max() >= Some(100)
            });
            let connecting = workers();
            assert!((1..=64).contains(&connecting), "{connecting}");
        } else {
            let refused = (0..200).map(|_| connect()).max();
            assert_eq!(refused, Some(0));
            // They end here, except for one that had a connection already.
            assert!(workers() <= 1);
        }
        // Other calls of this context are refused, too, but not those of another one. Calls that
        // had not begun have made room for a few.
        assert_does_not_pile_up(32, || context.readers().map(drop));
        let error = fixture.try_connect(soon_over()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
        // Calls that belong to no context.
        assert_does_not_pile_up(64, || {
            let options = ContextOptions::new().timeout(Some(Duration::from_millis(2)));
            options.establish().map(drop)
        });

        fixture.sandbox.resume().unwrap();
        wait_for_workers(0);
        let patient = ConnectOptions::new().timeout(Some(SOON));
        drop(context.connect(&fixture.reader, patient).unwrap());
    });
}

/// How many monitors have a thread.
fn monitors() -> usize {
    threads_named("scard-monitor")
}

/// Waits for cards do not pile up, either.
#[test]
fn waits_for_a_service_that_hangs_do_not_pile_up() {
    isolated(|| {
        let fixture = fixture();
        let filter = CardFilter::new().reader(&fixture.empty_reader);
        let moment = Some(Duration::from_millis(2));
        fixture.sandbox.pause().unwrap();
        let mut kinds = Vec::new();
        for _ in 0..100 {
            let waited = fixture.context.wait_for_card(&filter, moment);
            kinds.push(waited.unwrap_err().kind());
        }
        let waiting = monitors();
        assert!((1..=64).contains(&waiting), "{waiting}");
        assert_eq!(kinds.first(), Some(&ErrorKind::DeadlineExceeded));
        assert!(kinds.contains(&ErrorKind::ServiceBusy));

        fixture.sandbox.resume().unwrap();
        let begun = Instant::now();
        loop {
            let waited = fixture.context.wait_for_card(&filter, moment);
            match waited.unwrap_err().kind() {
                ErrorKind::DeadlineExceeded => break,
                kind => assert_eq!(kind, ErrorKind::ServiceBusy),
            }
            assert!(begun.elapsed() < SOON);
        }
    });
}

/// Nor do futures, including dropped ones.
#[cfg(feature = "async")]
#[test]
fn futures_that_wait_for_a_service_that_hangs_do_not_pile_up() {
    isolated(|| {
        let fixture = fixture();
        let filter = CardFilter::new().reader(&fixture.empty_reader);
        let moment = Some(Duration::from_millis(2));
        fixture.sandbox.pause().unwrap();
        // Separate contexts, each with its own count.
        for is_dropped in [false, true] {
            let context = AsyncContext::from(Context::lazy());
            let waiting = monitors();
            let mut kinds = Vec::new();
            for _ in 0..100 {
                let limit = if is_dropped { None } else { moment };
                let wait = async {
                    let card = context.wait_for_card(&filter, limit).await;
                    Some(card.unwrap_err().kind())
                };
                kinds.push(block_on(smol::future::or(wait, async {
                    match is_dropped {
                        // Long enough for its thread to reach the service.
                        true => sleep(Duration::from_millis(5)).await,
                        false => std::future::pending().await,
                    }
                    None
                })));
            }
            let waiting = monitors() - waiting;
            assert!((1..=64).contains(&waiting), "{waiting}");
            let first = (!is_dropped).then_some(ErrorKind::DeadlineExceeded);
            assert_eq!(kinds.first(), Some(&first));
            assert!(kinds.contains(&Some(ErrorKind::ServiceBusy)));
            // Waits that had not begun have made room for a few.
            assert_busy_after(32, || block_on(context.wait_for_removal(&filter, moment)));
        }

        fixture.sandbox.resume().unwrap();
        wait_until("the end of the monitors", || monitors() == 0);
    });
}

type Ask = fn(&Context) -> Result<()>;

/// Every call of a context with a limit ends at its limit.
fn assert_in_time(disturb: impl Fn(&Sandbox)) {
    for (call, ask) in [
        ("readers", |context| context.readers().map(drop)),
        ("reader_groups", |context| context.reader_groups().map(drop)),
        ("reader_states", |context| context.reader_states().map(drop)),
        ("is_valid", |context| context.is_valid().map(drop)),
    ] as [(&str, Ask); 4]
    {
        let sandbox = Sandbox::builder().driver(Driver::Kit).readers(1);
        let sandbox = sandbox.start().unwrap();
        let context = context_with_limit(5 * LIMIT);
        disturb(&sandbox);
        let answer = in_background(move || {
            let answer = ask(&context).map_err(|error| error.kind());
            drop(context);
            answer
        });
        let answer = finish(&answer);
        assert!(
            matches!(answer, Ok(()) | Err(ErrorKind::DeadlineExceeded)),
            "{call}: {answer:?}"
        );
        sandbox.resume().unwrap();
    }
}

#[test]
fn a_context_keeps_its_limit_while_the_service_is_paused() {
    isolated(|| assert_in_time(|sandbox| sandbox.pause().unwrap()));
}

#[test]
fn a_context_keeps_its_limit_when_the_service_is_restarted_and_paused() {
    isolated(|| {
        assert_in_time(|sandbox| {
            sandbox.restart().unwrap();
            sandbox.pause().unwrap();
        });
    });
}

/// After a stop, nothing waits for the end of the connection.
#[test]
fn an_aborted_card_is_dropped_at_once() {
    isolated(|| {
        let fixture = fixture();
        let abort = AbortHandle::new();
        let options = || ConnectOptions::new().abort_handle(&abort);
        let card = fixture.try_connect(options()).unwrap();
        let mut in_transaction = fixture.try_connect(options()).unwrap();
        let transaction = in_transaction.transaction().unwrap();
        fixture.sandbox.pause().unwrap();
        abort.abort();
        let dropped = std::thread::scope(|scope| {
            let dropped = scope.spawn(move || {
                let begun = Instant::now();
                drop(transaction);
                drop(card);
                begun.elapsed()
            });
            dropped.join().unwrap()
        });
        assert!(dropped < SOON / 4, "{dropped:?}");
        fixture.sandbox.resume().unwrap();
        drop(in_transaction);
        wait_for_workers(0);
        assert_eq!(fixture.card.resets(), 0);
    });
}

/// A session with a deadline, the last user of a context without a limit.
#[test]
fn the_last_session_of_a_context_is_dropped_at_once() {
    isolated(|| {
        let sandbox = Sandbox::builder().driver(Driver::Kit).readers(1);
        let sandbox = sandbox.card(0, VirtualCard::iso()).start().unwrap();
        let reader = ReaderName::new(sandbox.reader(0).name()).unwrap();
        for run in [false, true] {
            let context = Context::establish().unwrap();
            let session = Session::builder(&context).reader(&reader);
            let mut session = session.timeout(Some(LIMIT * 5)).open().unwrap();
            drop(context);
            sandbox.pause().unwrap();
            let begun = Instant::now();
            if run {
                let answer = session.run(|card| card.transmit(COMMAND));
                assert!(answer.is_err());
                assert!(begun.elapsed() < LIMIT * 5 + SOON / 4);
            }
            drop(session);
            assert!(begun.elapsed() < LIMIT * 5 + SOON / 4);
            sandbox.resume().unwrap();
            wait_for_workers(0);
        }
    });
}
