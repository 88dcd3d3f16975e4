//! Cards whose calls are futures, under several executors.
#![cfg(all(target_os = "linux", feature = "async"))]

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use scard::{
    AbortHandle, AsyncCard, AsyncContext, AsyncControl, AsyncReader, Attribute, Card,
    ConnectOptions, ContextOptions, ControlCode, Disposition, ErrorKind, Initialization, Operation,
    Protocol, Protocols, ReaderName, Recovery, Result, ShareMode,
};
use scard_testkit::{Reply, Sandbox, VirtualCard, isolated, isolated_with_peer};

use crate::support::executor::*;
use crate::support::usage::*;
use crate::support::*;

/// The limit that is exceeded here, and how long futures are polled that are dropped then.
const LIMIT: Duration = Duration::from_millis(100);

/// The ATR, under the number that the driver vpcd gives it.
const DRIVERS_ATR: Attribute = Attribute::from_raw(0x0303);

fn context(fixture: &Fixture) -> AsyncContext {
    AsyncContext::from(fixture.context.clone())
}

async fn connect(fixture: &Fixture) -> AsyncCard {
    let context = context(fixture);
    let connected = context.connect(&fixture.reader, ConnectOptions::new());
    connected.await.unwrap()
}

async fn works(card: &mut AsyncCard) {
    assert_eq!(card.transmit(COMMAND).await.unwrap(), OK);
}

/// The card was given up, and says so at once.
async fn assert_abandoned(card: &mut AsyncCard) {
    assert!(card.is_abandoned());
    assert_eq!(card.protocol(), None);
    let error = card.transmit(COMMAND).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Abandoned);
    assert_eq!(error.recovery(), Recovery::ConnectAgain);
    assert!(!error.command_may_have_run());
}

#[test]
fn a_card_does_what_it_does_without_futures() {
    isolated(|| {
        everywhere(fixture(), |fixture| async move {
            let context = AsyncContext::establish().await.unwrap();
            let names = context.readers().await.unwrap();
            assert_eq!(
                names,
                [fixture.reader.clone(), fixture.empty_reader.clone()]
            );
            assert_eq!(context.reader_groups().await.unwrap().len(), 1);
            let states = context.reader_states().await.unwrap();
            assert!(states[0].has_card() && !states[1].has_card());

            let mut card = connect(&fixture).await;
            assert_eq!(card.reader_name(), &fixture.reader);
            assert_eq!(card.protocol(), Some(Protocol::T1));
            works(&mut card).await;
            let status = card.status().await.unwrap();
            assert_eq!(status.protocol(), Some(Protocol::T1));
            let error = card.transmit(&[]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            let error = card.control(ControlCode::from_raw(1), &[]).await;
            assert_eq!(error.unwrap_err().operation(), Operation::Control);
            let atr = card.attribute(DRIVERS_ATR).await.unwrap();
            assert_eq!(atr, fixture.card.atr());
            let set = card.set_attribute(Attribute::VENDOR_NAME, &[1]).await;
            assert_eq!(set.unwrap_err().operation(), Operation::SetAttribute);
            assert!(!card.is_abandoned());

            // What others do is told, and what is asked for is done.
            fixture.reset_by_another();
            let error = card.transmit(COMMAND).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::CardReset);
            assert!(!error.command_may_have_run());
            assert_eq!(card.protocol(), None);
            let (shared, any) = (ShareMode::Shared, Protocols::ANY);
            let none = card.reconnect(shared, Protocols::empty(), Initialization::Reset);
            let error = none.await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.card_condition().is_some());
            let protocol = card.reconnect(shared, any, Initialization::Leave).await;
            assert_eq!(protocol.unwrap(), Protocol::T1);
            assert_eq!(card.protocol(), Some(Protocol::T1));
            let exclusive = ShareMode::Exclusive;
            card.reconnect(exclusive, any, Initialization::Leave)
                .await
                .unwrap();
            assert_eq!(card.share_mode(), exclusive);
            let other = context.connect(&fixture.reader, ConnectOptions::new());
            let error = other.await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::SharingViolation);
            card.reconnect(shared, any, Initialization::Leave)
                .await
                .unwrap();
            assert_works(&mut fixture.connect());

            // To the reader and back, and to calls that wait and back.
            let mut reader = card.into_reader(Initialization::Leave).await.unwrap();
            assert_eq!(reader.reader_name(), &fixture.reader);
            reader.status().await.unwrap();
            reader.attribute(DRIVERS_ATR).await.unwrap();
            let reader = AsyncReader::from(reader.into_reader().await.unwrap());
            let card = reader.into_card(shared, any, Initialization::Reset).await;
            let mut card: Card = card.unwrap().into_card().await.unwrap();
            assert_works(&mut card);
            let mut card = AsyncCard::from(card);
            works(&mut card).await;
            card.disconnect(Disposition::Leave).await.unwrap();

            let mut reader = context.open_reader(&fixture.empty_reader).await.unwrap();
            let error = reader.reconnect(Initialization::Leave).await.unwrap_err();
            assert_eq!(error.operation(), Operation::Reconnect);
            let failed = reader.into_card(shared, any, Initialization::Leave).await;
            let (reader, error) = failed.unwrap_err().into_parts();
            assert_eq!(error.operation(), Operation::Reconnect);
            reader.disconnect(Disposition::Leave).await.unwrap();
            context.release().await.unwrap();
        });
    });
}

#[test]
fn a_transaction_keeps_others_out_until_it_ends_or_is_dropped() {
    isolated(|| {
        everywhere(fixture(), |fixture| async move {
            let mut card = connect(&fixture).await;
            for ends in [true, false] {
                let mut transaction = card.transaction().await.unwrap();
                assert_eq!(transaction.transmit(COMMAND).await.unwrap(), OK);
                let other = fixture.use_by_another();
                assert_blocked(&other);
                assert!(transaction.status().await.is_ok());
                let (shared, any) = (ShareMode::Shared, Protocols::ANY);
                let again = transaction.reconnect(shared, any, Initialization::Leave);
                assert_eq!(again.await.unwrap(), Protocol::T1);
                assert!(!transaction.interrupted());
                assert!(other.try_recv().is_err(), "another got in between");
                match ends {
                    true => transaction.end(Disposition::Leave).await.unwrap(),
                    false => drop(transaction),
                }
                assert_eq!(finish(&other).unwrap(), OK);
                assert!(!card.is_abandoned());
                assert_eq!(card.protocol(), Some(Protocol::T1));
            }
            // The next call waits for the end of the one before.
            for _ in 0..20 {
                drop(card.transaction().await.unwrap());
                let mut transaction = card.transaction().await.unwrap();
                assert_eq!(transaction.transmit(COMMAND).await.unwrap(), OK);
                drop(transaction);
                works(&mut card).await;
                drop(card.transaction().await.unwrap());
                card = AsyncCard::from(card.into_card().await.unwrap());
            }
            // One that is not ended by the future that was to end it.
            let transaction = card.transaction().await.unwrap();
            drop(transaction.end(Disposition::Reset));
            assert_eq!(finish(&fixture.use_by_another()).unwrap(), OK);
            works(&mut card).await;
            // With a reset.
            let transaction = card.transaction().await.unwrap();
            transaction.end(Disposition::Reset).await.unwrap();
            assert_eq!(card.protocol(), None);
            // And one that ends with its card.
            let mut card = connect(&fixture).await;
            drop(card.transaction().await.unwrap());
            drop(card);
            assert_eq!(finish(&fixture.use_by_another()).unwrap(), OK);
        });
    });
}

/// A call that waits on a card that another process holds.
type Call = fn(AsyncCard) -> futures::Made;

mod futures {
    use super::*;

    pub(crate) type Made = std::pin::Pin<Box<dyn Future<Output = Given> + Send>>;
    pub(crate) type Given = (Result<()>, Option<AsyncCard>);

    pub(crate) fn made(f: impl Future<Output = Given> + Send + 'static) -> Made {
        Box::pin(f)
    }
}
use futures::made;

const CALLS: &[(Operation, Call)] = &[
    (Operation::Transmit, |mut card| {
        made(async move { (card.transmit(COMMAND).await.map(drop), Some(card)) })
    }),
    (Operation::Status, |mut card| {
        made(async move { (card.status().await.map(drop), Some(card)) })
    }),
    (Operation::BeginTransaction, |mut card| {
        made(async move { (card.transaction().await.map(drop), Some(card)) })
    }),
    (Operation::Reconnect, |mut card| {
        made(async move {
            let (shared, any) = (ShareMode::Shared, Protocols::ANY);
            let reconnected = card.reconnect(shared, any, Initialization::Reset).await;
            (reconnected.map(drop), Some(card))
        })
    }),
    (Operation::Reconnect, |mut card| {
        made(async move {
            let (exclusive, any) = (ShareMode::Exclusive, Protocols::ANY);
            let reconnected = card.reconnect(exclusive, any, Initialization::Leave).await;
            (reconnected.map(drop), Some(card))
        })
    }),
    (Operation::Disconnect, |card| {
        made(async move {
            match card.disconnect(Disposition::Reset).await {
                Ok(()) => (Ok(()), None),
                Err(failed) => {
                    let (card, error) = failed.into_parts();
                    (Err(error), Some(card))
                }
            }
        })
    }),
];

/// pcsc-lite ends a transaction when the card is taken out.
#[test]
fn a_transaction_is_begun_again_for_the_next_card() {
    isolated(|| {
        let fixture = fixture();
        let mut card = block_on(connect(&fixture));
        let mut transaction = block_on(card.transaction()).unwrap();
        let slot = fixture.sandbox.reader(0);
        slot.remove().unwrap();
        slot.insert(plain_card()).unwrap();
        let any = Protocols::ANY;
        let again = transaction.reconnect(ShareMode::Shared, any, Initialization::Leave);
        block_on(again).unwrap();
        assert!(transaction.interrupted());
        let other = fixture.use_by_another();
        assert_blocked(&other);
        block_on(transaction.end(Disposition::Leave)).unwrap();
        assert_eq!(finish(&other).unwrap(), OK);
    });
}

/// What is given up leaves nothing behind, and nothing is done late.
#[test]
fn calls_on_a_card_that_another_process_holds_can_be_dropped_and_end_at_deadlines() {
    isolated_with_peer(
        |peers| {
            let peer = Arc::new(peers.spawn());
            let fixture = fixture();
            peer.send(&fixture.reader.to_string());
            everywhere(fixture, |fixture| {
                let peer = Arc::clone(&peer);
                async move {
                    let unused = usage_at_rest(&fixture);
                    for (operation, call) in CALLS {
                        for dropped in [true, false] {
                            let mut card = connect(&fixture).await;
                            peer.send("hold");
                            assert_eq!(peer.recv(), "held");
                            fixture.card.clear_log();
                            let before = fixture.card.stats();
                            if dropped {
                                give_up(call(card), LIMIT / 4).await;
                            } else {
                                card.set_timeout(Some(LIMIT));
                                let begun = Instant::now();
                                let (answer, card) = call(card).await;
                                let error = answer.unwrap_err();
                                assert!(begun.elapsed() >= LIMIT);
                                assert_eq!(error.operation(), *operation);
                                assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
                                assert!(!error.command_may_have_run());
                                assert_abandoned(&mut card.unwrap()).await;
                            }
                            peer.send("release");
                            assert_eq!(peer.recv(), "released");
                            assert_becomes(&fixture, &unused);
                            assert_eq!(fixture.card.log(), [], "{operation}: a late command");
                            let resets = fixture.card.resets();
                            assert_eq!(resets, before.resets, "{operation}: a late reset");
                            assert_works(&mut fixture.connect());
                        }
                    }
                }
            });
        },
        holder,
    );
}

#[test]
fn a_connect_that_waits_can_be_dropped_and_stopped() {
    isolated_with_peer(
        |peers| {
            let peer = Arc::new(peers.spawn());
            let fixture = fixture();
            peer.send(&fixture.reader.to_string());
            everywhere(fixture, |fixture| {
                let peer = Arc::clone(&peer);
                async move {
                    let context = context(&fixture);
                    let options = ConnectOptions::new;
                    let connect = |options| context.connect(&fixture.reader, options);
                    let unused = usage_at_rest(&fixture);
                    peer.send("hold");
                    assert_eq!(peer.recv(), "held");
                    give_up(connect(options()), LIMIT / 4).await;
                    give_up(context.open_reader(&fixture.reader), LIMIT / 4).await;
                    let error = connect(options().timeout(Some(LIMIT))).await.unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
                    assert_eq!(error.operation(), Operation::Connect);
                    assert_eq!(error.reader_name(), Some(&fixture.reader));
                    let abort = AbortHandle::new();
                    let waiting = connect(options().abort_handle(&abort));
                    let aborted = smol::future::zip(waiting, async {
                        sleep(LIMIT / 4).await;
                        abort.abort();
                    });
                    let error = aborted.await.0.unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::Cancelled);
                    peer.send("release");
                    assert_eq!(peer.recv(), "released");
                    // The connections that came late are closed.
                    assert_becomes(&fixture, &unused);
                    works(&mut connect(options()).await.unwrap()).await;
                }
            });
        },
        holder,
    );
}

#[test]
fn a_future_that_is_never_polled_does_nothing() {
    isolated(|| {
        everywhere(fixture(), |fixture| async move {
            let mut card = connect(&fixture).await;
            fixture.card.clear_log();
            drop(card.transmit(COMMAND));
            drop(card.transaction());
            drop(card.within(LIMIT, async |card| card.status().await));
            assert!(!card.is_abandoned());
            assert_eq!(fixture.card.log(), []);
            works(&mut card).await;
            assert_eq!(fixture.card.log().len(), 1);
        });
    });
}

/// The call has returned when its future is dropped: only the answer is lost.
#[test]
fn an_answer_that_is_not_taken_costs_no_connection() {
    isolated(|| {
        let fixture = fixture();
        let mut card = block_on(connect(&fixture));
        let mut ignored = 0;
        // Polls once, waits until the call has returned, and does not look.
        let mut ignore = |poll: &mut dyn FnMut(&Arc<Woken>) -> bool| {
            let woken = Woken::new();
            if poll(&woken) {
                woken.wait();
                ignored += 1;
            }
        };
        for _ in 0..20 {
            fixture.card.clear_log();
            {
                let mut future = pin!(card.transmit(COMMAND));
                ignore(&mut |woken| woken.poll(future.as_mut()).is_pending());
            }
            assert!(!card.is_abandoned());
            assert_eq!(fixture.card.log().len(), 1);
            {
                let mut future = pin!(card.transaction());
                ignore(&mut |woken| woken.poll(future.as_mut()).is_pending());
            }
            // It was won, and ends.
            assert_eq!(finish(&fixture.use_by_another()).unwrap(), OK);
            block_on(works(&mut card));
            // What a reconnect has agreed is known all the same.
            let (exclusive, any) = (ShareMode::Exclusive, Protocols::ANY);
            fixture.reset_by_another();
            assert!(block_on(card.status()).is_err());
            assert_eq!(card.protocol(), None);
            {
                let mut future = pin!(card.reconnect(exclusive, any, Initialization::Leave));
                ignore(&mut |woken| woken.poll(future.as_mut()).is_pending());
            }
            assert_eq!(card.share_mode(), exclusive);
            assert_eq!(card.protocol(), Some(Protocol::T1));
            let shared = ShareMode::Shared;
            block_on(card.reconnect(shared, any, Initialization::Leave)).unwrap();
        }
        // A card that is connected and not taken is disconnected.
        drop(card);
        let unused = usage_at_rest(&fixture);
        let context = context(&fixture);
        for _ in 0..20 {
            let mut future = pin!(context.connect(&fixture.reader, ConnectOptions::new()));
            ignore(&mut |woken| woken.poll(future.as_mut()).is_pending());
        }
        assert_becomes(&fixture, &unused);
        println!("{ignored} of 80 answers were there and not taken");
        assert!(ignored > 0);
    });
}

#[test]
fn a_mute_card_is_left_and_the_error_says_that_the_command_may_have_run() {
    isolated(|| {
        let mute = || VirtualCard::new(|_: &[u8]| Reply::Mute);
        everywhere(fixture_with(mute()), move |fixture| async move {
            let slot = fixture.sandbox.reader(0);
            for dropped in [false, true] {
                slot.remove().unwrap();
                let seen = slot.insert(mute()).unwrap();
                let mut card = connect(&fixture).await;
                if dropped {
                    let arrives = seen.clone();
                    let arrived = move || arrives.wait_for_commands(1, SOON);
                    let early =
                        smol::future::or(async { Some(card.transmit(COMMAND).await) }, async {
                            smol::unblock(arrived).await.unwrap();
                            None
                        });
                    assert!(early.await.is_none());
                } else {
                    // Enough for the command to get to the card.
                    card.set_timeout(Some(LIMIT * 10));
                    let error = card.transmit(COMMAND).await.unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
                    assert!(error.command_may_have_run());
                }
                assert_abandoned(&mut card).await;
                assert_eq!(seen.log().len(), 1);
            }
        });
    });
}

#[test]
fn limits_are_those_of_a_card_without_futures() {
    isolated(|| {
        let slow = VirtualCard::new(|_: &[u8]| OK).delay(LIMIT / 4);
        everywhere(fixture_with(slow), |fixture| async move {
            let mut card = connect(&fixture).await;
            // No time at all is refused and abandons nothing.
            card.set_timeout(Some(Duration::ZERO));
            let error = card.transmit(COMMAND).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
            assert!(!error.command_may_have_run());
            assert_eq!(card.protocol(), Some(Protocol::T1));
            for long in [Some(SOON), Some(Duration::MAX), None] {
                card.set_timeout(long);
                works(&mut card).await;
            }
            // Several calls together.
            card.within(SOON, async |card| works(card).await).await;
            let nested = card.within(Duration::MAX, async |card| {
                let none = card.within(Duration::ZERO, async |card| {
                    card.transmit(COMMAND).await.map(drop)
                });
                let error = none.await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
                works(card).await;
            });
            nested.await;
            // A limit goes with its future.
            give_up(
                card.within(LIMIT, async |_| std::future::pending::<()>().await),
                LIMIT / 10,
            )
            .await;
            sleep(LIMIT).await;
            works(&mut card).await;
            let begun = Instant::now();
            let endless = card.within(LIMIT, async |card| {
                let mut transaction = match card.transaction().await {
                    Ok(transaction) => transaction,
                    Err(error) => return error,
                };
                loop {
                    if let Err(error) = transaction.transmit(COMMAND).await {
                        return error;
                    }
                }
            });
            assert_eq!(endless.await.kind(), ErrorKind::DeadlineExceeded);
            assert!(begun.elapsed() >= LIMIT);
            assert_eq!(finish(&fixture.use_by_another()).unwrap(), OK);

            // Stopped from elsewhere, for good.
            let abort = AbortHandle::new();
            let options = ConnectOptions::new().abort_handle(&abort);
            let connected = context(&fixture).connect(&fixture.reader, options).await;
            let mut card = connected.unwrap();
            let mut holder = connect(&fixture).await;
            let held = holder.transaction().await.unwrap();
            let (answer, ()) = smol::future::zip(card.transmit(COMMAND), async {
                sleep(LIMIT / 4).await;
                abort.abort();
            })
            .await;
            let error = answer.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Cancelled);
            assert!(!error.command_may_have_run());
            assert_abandoned(&mut card).await;
            drop(held);
            let abort = holder.make_abortable();
            works(&mut holder).await;
            abort.abort();
            let error = holder.transmit(COMMAND).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Cancelled);
        });
    });
}

/// Two slow cards work at the same time, in one task.
#[test]
fn cards_do_not_wait_for_each_other() {
    isolated(|| {
        const TIME: Duration = Duration::from_millis(200);
        let slow = || VirtualCard::new(|_: &[u8]| OK).delay(TIME);
        // Two slots of one reader may have to take turns.
        let sandbox = Sandbox::builder().readers(3).card(0, slow());
        let fixture = Fixture::of(sandbox.start().unwrap());
        everywhere(fixture, move |fixture| async move {
            let second = fixture.sandbox.reader(2);
            let (card, other) = match second.card() {
                Some(card) => (fixture.card.clone(), card),
                None => (fixture.card.clone(), second.insert(slow()).unwrap()),
            };
            let context = context(&fixture);
            let connect = |name| context.connect(name, ConnectOptions::new());
            let second_name = ReaderName::new(second.name()).unwrap();
            let (mut one, mut two) =
                tokio::try_join!(connect(&fixture.reader), connect(&second_name)).unwrap();
            for seen in [&card, &other] {
                seen.clear_log();
            }
            let (a, b) = tokio::join!(one.transmit(COMMAND), two.transmit(COMMAND));
            assert_eq!((a.unwrap().as_slice(), b.unwrap().as_slice()), (OK, OK));
            let (a, b) = (card.log()[0].at, other.log()[0].at);
            let apart = a.max(b) - a.min(b);
            assert!(apart < TIME, "one began {apart:?} after the other");
        });
    });
}

#[test]
fn the_executor_goes_on_while_a_card_is_stuck() {
    isolated(|| {
        let fixture = fixture();
        let mut holder = fixture.connect();
        let held = holder.transaction().unwrap();
        current_thread().block_on(async {
            let ticks = Arc::new(AtomicUsize::new(0));
            let ticking = tokio::spawn({
                let ticks = Arc::clone(&ticks);
                async move {
                    loop {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                        ticks.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
            let on = async |more: usize| {
                let until = ticks.load(Ordering::SeqCst) + more;
                while ticks.load(Ordering::SeqCst) < until {
                    tokio::task::yield_now().await;
                }
            };
            let (context, name) = (context(&fixture), fixture.reader.clone());
            let waiting = tokio::spawn(async move {
                let mut card = context.connect(&name, ConnectOptions::new()).await?;
                card.transmit(COMMAND).await
            });
            on(20).await;
            assert!(!waiting.is_finished());
            drop(held);
            assert_eq!(waiting.await.unwrap().unwrap(), OK);
            on(20).await;
            ticking.abort();
        });
    });
}

/// With a stopped daemon, whatever waited for it would wait for ever.
#[test]
fn nothing_that_is_dropped_waits() {
    isolated(|| {
        let fixture = fixture();
        let context = AsyncContext::from(scard::Context::establish().unwrap());
        let name = &fixture.reader;
        let connect = || block_on(context.connect(name, ConnectOptions::new())).unwrap();
        let unused = usage_at_rest(&fixture);
        let (card, late, mut in_transaction, mut again) =
            (connect(), connect(), connect(), connect());
        let limited = {
            let mut card = connect();
            card.set_timeout(Some(SOON * 10));
            card
        };
        let made_of_a_card = AsyncCard::from(fixture.connect());
        let reader = block_on(context.open_reader(name)).unwrap();
        let transaction = block_on(in_transaction.transaction()).unwrap();
        fixture.sandbox.pause().unwrap();

        drop(transaction);
        drop(in_transaction);
        drop((card, limited, made_of_a_card, reader));
        let woken = Woken::new();
        // A call on the way, everything dropped around it; without an executor.
        let mut late = Box::pin(async move {
            let mut late = late;
            late.transmit(COMMAND).await
        });
        assert!(woken.poll(late.as_mut()).is_pending());
        drop(late);
        let mut listing = Box::pin(context.readers());
        assert!(woken.poll(listing.as_mut()).is_pending());
        drop(listing);
        let mut connecting = Box::pin(context.connect(name, ConnectOptions::new()));
        assert!(woken.poll(connecting.as_mut()).is_pending());
        drop(connecting);
        let mut establishing = Box::pin(AsyncContext::establish());
        assert!(woken.poll(establishing.as_mut()).is_pending());
        drop(establishing);

        // The call after a transaction that was dropped waits for its end; leaving it then
        // costs nothing, because nothing of its own has begun.
        fixture.sandbox.resume().unwrap();
        let transaction = block_on(again.transaction()).unwrap();
        fixture.sandbox.pause().unwrap();
        drop(transaction);
        {
            let mut status = pin!(again.status());
            assert!(woken.poll(status.as_mut()).is_pending());
        }
        assert!(!again.is_abandoned());
        fixture.sandbox.resume().unwrap();
        block_on(works(&mut again));
        // But a limit holds.
        let transaction = block_on(again.transaction()).unwrap();
        fixture.sandbox.pause().unwrap();
        drop(transaction);
        again.set_timeout(Some(LIMIT));
        let error = block_on(again.status()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        assert_eq!(error.operation(), Operation::Status);
        block_on(assert_abandoned(&mut again));
        drop(again);
        drop(context);

        fixture.sandbox.resume().unwrap();
        assert_becomes(&fixture, &unused);
        assert_works(&mut fixture.connect());
    });
}

#[test]
fn with_a_stopped_daemon_calls_end_at_their_deadlines() {
    isolated(|| {
        everywhere(fixture(), |fixture| async move {
            let options = ContextOptions::new().timeout(Some(LIMIT));
            // What is to succeed has more time than that, or tries again.
            let patient = || ConnectOptions::new().timeout(Some(SOON));
            let begun = Instant::now();
            let context = loop {
                match options.clone().establish_async().await {
                    Ok(context) => break context,
                    Err(error) => assert!(begun.elapsed() < SOON, "{error}"),
                }
            };
            let name = &fixture.reader;
            let mut card = context.connect(name, patient()).await.unwrap();
            card.set_timeout(Some(LIMIT));
            let mut held = context.connect(name, patient()).await.unwrap();
            held.transaction()
                .await
                .unwrap()
                .end(Disposition::Leave)
                .await
                .unwrap();
            fixture.sandbox.pause().unwrap();
            let ends = |operation, error: scard::Error| {
                assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{operation}");
                assert_eq!(error.operation(), operation);
            };
            held.set_timeout(Some(LIMIT));
            let answer = held.transaction().await.map(drop);
            ends(Operation::BeginTransaction, answer.unwrap_err());
            let answer = card.transmit(COMMAND).await;
            ends(Operation::Transmit, answer.unwrap_err());
            let answer = context.readers().await;
            ends(Operation::ListReaders, answer.unwrap_err());
            let answer = context.reader_states().await;
            ends(Operation::GetStatusChange, answer.unwrap_err());
            let answer = context.connect(name, ConnectOptions::new()).await;
            ends(Operation::Connect, answer.unwrap_err());
            let answer = options.establish_async().await;
            ends(Operation::EstablishContext, answer.unwrap_err());
            fixture.sandbox.resume().unwrap();
            // The context has survived.
            let mut card = context.connect(name, patient()).await.unwrap();
            works(&mut card).await;
            let begun = Instant::now();
            let readers = loop {
                match context.readers().await {
                    Ok(readers) => break readers,
                    Err(error) => assert!(begun.elapsed() < SOON, "{error}"),
                }
            };
            assert_eq!(readers.len(), 2);
        });
    });
}

/// The PC/SC context that a call was left in ends with that call. The next call gets one of its
/// own, and does not wait in the one that is stuck.
#[test]
fn a_context_whose_call_was_left_is_replaced() {
    isolated(|| {
        everywhere(fixture(), |fixture| async move {
            let unused = usage_at_rest(&fixture);
            let context = AsyncContext::establish().await.unwrap();
            let with_context = usage_at_rest(&fixture);
            for _ in 0..3 {
                assert_eq!(context.readers().await.unwrap().len(), 2);
                assert_becomes(&fixture, &with_context);
                fixture.sandbox.pause().unwrap();
                give_up(context.readers(), LIMIT / 4).await;
                fixture.sandbox.resume().unwrap();
                // What was left is released although the context is still there.
                assert_becomes(&fixture, &unused);
            }
            // One whose answer is there stays.
            context.readers().await.unwrap();
            drop(context.readers());
            assert_eq!(context.reader_states().await.unwrap().len(), 2);
            drop(context);
            assert_becomes(&fixture, &unused);
        });
    });
}

#[test]
fn a_daemon_that_dies_is_told() {
    isolated(|| {
        let slow = VirtualCard::new(|_: &[u8]| OK).delay(Duration::from_secs(2));
        everywhere(fixture_with(slow), |fixture| async move {
            let context = context(&fixture);
            let mut card = connect(&fixture).await;
            let seen = fixture.card.commands();
            let (answer, ()) = smol::future::zip(card.transmit(COMMAND), async {
                let arrives = Arc::clone(&fixture);
                let arrived = move || arrives.card.wait_for_commands(seen + 1, SOON);
                smol::unblock(arrived).await.unwrap();
                fixture.sandbox.kill().unwrap();
            })
            .await;
            let error = answer.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ServiceGone);
            assert!(error.command_may_have_run());
            assert!(!card.is_abandoned(), "the call has returned");
            assert!(card.status().await.is_err());
            drop(card);
            fixture.sandbox.restart().unwrap();
            assert_eq!(context.readers().await.unwrap().len(), 2);
            connect(&fixture).await.status().await.unwrap();
        });
    });
}

#[test]
fn loops_that_select_keep_the_call() {
    isolated(|| {
        let slow = VirtualCard::new(|_: &[u8]| OK).delay(LIMIT * 5);
        everywhere(fixture_with(slow), |fixture| async move {
            let mut card = connect(&fixture).await;
            fixture.card.clear_log();
            let mut ticks = 0;
            let answer = {
                let mut call = pin!(card.transmit(COMMAND));
                loop {
                    tokio::select! {
                        answer = &mut call => break answer,
                        () = sleep(LIMIT / 20) => ticks += 1,
                    }
                }
            };
            assert_eq!(answer.unwrap(), OK);
            assert!(ticks > 0);
            assert_eq!(fixture.card.log().len(), 1);
            // And one that does not keep it.
            tokio::select! {
                _ = card.transmit(COMMAND) => panic!("the card is slow"),
                () = sleep(LIMIT / 10) => {}
            }
            assert_abandoned(&mut card).await;
        });
    });
}

/// Two tasks that poll in turn: whoever polled last is woken.
#[test]
fn a_call_can_move_to_another_task() {
    isolated(|| {
        let fixture = fixture_with(VirtualCard::new(|_: &[u8]| OK).delay(LIMIT));
        let mut card = block_on(connect(&fixture));
        let mut call = Box::pin(async move { card.transmit(COMMAND).await });
        assert!(Woken::new().poll(call.as_mut()).is_pending());
        let answer = in_background(move || block_on(call));
        assert_eq!(finish(&answer).unwrap(), OK);
    });
}

#[test]
fn a_card_has_one_thread_and_a_dropped_one_has_none() {
    isolated(|| {
        let sandbox = Sandbox::builder().card(0, plain_card()).start().unwrap();
        let name = ReaderName::new(sandbox.reader(0).name()).unwrap();
        let context = block_on(AsyncContext::establish()).unwrap();
        let mut cards = Vec::new();
        let wait_for = |count| wait_until(&format!("{count} threads"), || workers() == count);
        for count in 1..=3 {
            let connected = block_on(context.connect(&name, ConnectOptions::new()));
            cards.push(connected.unwrap());
            for card in &mut cards {
                block_on(works(card));
                card.set_timeout(Some(SOON));
            }
            wait_for(count);
        }
        let mut without = block_on(cards.remove(0).into_card()).unwrap();
        without.set_timeout(None);
        assert_works(&mut without);
        wait_for(2);
        drop(cards);
        wait_for(0);
    });
}

/// Many futures on one card, dropped at any moment: either the card works on or it says that
/// it is abandoned, and nothing is left behind.
#[test]
fn futures_can_be_dropped_at_any_moment() {
    isolated(|| {
        let fixture = fixture();
        let unused = usage_at_rest(&fixture);
        let mut card = block_on(connect(&fixture));
        let (mut kept, mut lost) = (0, 0);
        for number in 0..300_u32 {
            let time = Duration::from_micros(u64::from(number % 50) * 20);
            let used = async {
                let mut transaction = card.transaction().await?;
                transaction.transmit(COMMAND).await?;
                transaction.end(Disposition::Leave).await?;
                card.transmit(COMMAND).await
            };
            let mut used = Box::pin(used);
            let woken = Woken::new();
            let begun = Instant::now();
            let over = loop {
                match woken.poll(used.as_mut()) {
                    Poll::Ready(answer) => break Some(answer),
                    Poll::Pending if begun.elapsed() < time => std::hint::spin_loop(),
                    Poll::Pending => break None,
                }
            };
            drop(used);
            if let Some(answer) = over {
                assert_eq!(answer.unwrap(), OK);
            }
            if card.is_abandoned() {
                lost += 1;
                card = block_on(connect(&fixture));
            } else {
                kept += 1;
                block_on(works(&mut card));
            }
        }
        println!("{kept} kept, {lost} lost");
        drop(card);
        assert_becomes(&fixture, &unused);
    });
}

/// A reset that was acknowledged for a future that was dropped is reported to the next caller.
#[test]
fn no_acknowledged_reset_is_lost() {
    isolated(|| {
        let fixture = fixture();
        let mut card = block_on(async {
            let context = scard::AsyncContext::establish().await.unwrap();
            let options = ConnectOptions::new();
            context.connect(&fixture.reader, options).await.unwrap()
        });
        fixture.reset_by_another();
        {
            let woken = Woken::new();
            let mut begun = pin!(card.transaction_acknowledging_reset(scard::Protocols::ANY));
            assert!(woken.poll(begun.as_mut()).is_pending());
            // The call has returned, and nobody takes its answer.
            woken.wait();
        }
        let begun = block_on(card.transaction_acknowledging_reset(scard::Protocols::ANY));
        assert!(begun.unwrap().was_reset());
        let begun = block_on(card.transaction_acknowledging_reset(scard::Protocols::ANY));
        assert!(!begun.unwrap().was_reset());
    });
}
