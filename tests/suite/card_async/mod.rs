//! Cards whose calls are futures, under several executors.
#![cfg(all(target_os = "linux", feature = "async"))]

mod dropped;
mod stuck;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
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

/// A limit to be exceeded, and how long futures are polled before they are dropped.
const LIMIT: Duration = Duration::from_millis(100);

/// The ATR, under vpcd's number for it.
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

/// The card was given up, and reports it at once.
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
            assert_eq!(context.readers_in("SCard$AllReaders").await.unwrap(), names);
            assert!(context.readers_in("None").await.unwrap().is_empty());
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

            // What others do is reported, and requests are carried out.
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

            // To the reader and back, and to blocking calls and back.
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
            // The next call waits for the end of the previous one.
            for _ in 0..20 {
                drop(card.transaction().await.unwrap());
                let mut transaction = card.transaction().await.unwrap();
                assert_eq!(transaction.transmit(COMMAND).await.unwrap(), OK);
                drop(transaction);
                works(&mut card).await;
                drop(card.transaction().await.unwrap());
                card = AsyncCard::from(card.into_card().await.unwrap());
            }
            // A transaction whose ending future is dropped.
            let transaction = card.transaction().await.unwrap();
            drop(transaction.end(Disposition::Reset));
            assert_eq!(finish(&fixture.use_by_another()).unwrap(), OK);
            works(&mut card).await;
            // With a reset.
            let transaction = card.transaction().await.unwrap();
            transaction.end(Disposition::Reset).await.unwrap();
            assert_eq!(card.protocol(), None);
            // And a transaction that ends with its card.
            let mut card = connect(&fixture).await;
            drop(card.transaction().await.unwrap());
            drop(card);
            assert_eq!(finish(&fixture.use_by_another()).unwrap(), OK);
        });
    });
}

/// A call that waits for a card that another process holds.
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

/// pcsc-lite ends a transaction when the card is removed.
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

/// Two slow cards work at the same time, in one task.
#[test]
fn cards_do_not_wait_for_each_other() {
    isolated(|| {
        const TIME: Duration = Duration::from_millis(500);
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
fn a_card_has_one_thread_and_a_dropped_one_has_none() {
    isolated(|| {
        let sandbox = Sandbox::builder().card(0, plain_card()).start().unwrap();
        let name = ReaderName::new(sandbox.reader(0).name()).unwrap();
        let context = block_on(AsyncContext::establish()).unwrap();
        let mut cards = Vec::new();
        let wait_for = |count| {
            // Over the socket, they share one.
            let (own, shared) = match cfg!(feature = "library") {
                true => (count, 0),
                false => (0, 1),
            };
            wait_until(&format!("{own} threads, {shared} shared"), || {
                workers() == own && threads_named("scard futures") == shared
            });
        };
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
