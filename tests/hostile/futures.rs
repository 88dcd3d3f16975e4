//! The same calls as futures, some of which are dropped.

use std::time::Duration;

use scard::{
    AsyncCard, AsyncContext, AsyncSession, AsyncTransaction, CardFilter, Context, ContextOptions,
    MonitorOptions, Protocols, Session, ShareMode,
};
use scard::{AsyncControl as _, AsyncTransmit as _};

use crate::calls::{
    ask, ask_more, some_disposition, some_initialization, some_options, some_protocols,
    some_reader, tagged, timed,
};
use crate::support::random::Random;
use crate::world::{LIMIT, World};

pub(crate) fn work(world: &World, context: &Context, random: &mut Random) {
    let reader = some_reader(world, context, random);
    let options = some_options(random);
    let all = async {
        match random.below(16) {
            0..2 => establish(world).await,
            2 => waits(world, context).await,
            3..6 => session(world, context, random).await,
            6..8 => {
                let context = AsyncContext::from(context.clone());
                let call = world.begin("AsyncContext::open_reader", LIMIT);
                let reader = context.open_reader(&reader).await;
                drop(call);
                let Ok(mut reader) = reader else { return };
                ask!(world, random, &mut reader, "AsyncReader", [.await]);
                ask_more!(world, random, &mut reader, "AsyncReader", [.await]);
                let how = some_initialization(random);
                let call = world.begin("AsyncReader::reconnect", LIMIT);
                let _ = reader.reconnect(how).await;
                drop(call);
                let how = some_disposition(random);
                let _ = timed!(
                    world,
                    "AsyncReader::disconnect",
                    reader.disconnect(how).await
                );
            }
            _ => {
                let context = AsyncContext::from(context.clone());
                let call = world.begin("AsyncContext::connect", LIMIT);
                let card = context.connect(&reader, options).await;
                drop(call);
                if let Ok(card) = card {
                    self::card(world, card, random).await;
                }
            }
        }
    };
    smol::block_on(all);
}

/// Runs a future for a time, and drops it if it has not completed by then.
async fn for_a_time<F: Future>(random: &mut Random, future: F) -> Option<F::Output> {
    let time = Duration::from_micros(random.below(3_000));
    let end = async {
        smol::Timer::after(time).await;
        None
    };
    smol::future::or(async { Some(future.await) }, end).await
}

async fn establish(world: &World) {
    let options = ContextOptions::new().timeout(Some(LIMIT));
    let call = world.begin("ContextOptions::establish_async", LIMIT);
    let context = options.establish_async().await;
    drop(call);
    let Ok(context) = context else { return };
    let _ = timed!(world, "AsyncContext::readers", context.readers().await);
    let call = world.begin("AsyncContext::reader_groups", LIMIT);
    let _ = context.reader_groups().await;
    drop(call);
    let call = world.begin("AsyncContext::reader_states", LIMIT);
    let states = context.reader_states().await;
    drop(call);
    for state in states.unwrap_or_default() {
        world.check_name(state.reader_name().as_bytes());
    }
    let _ = timed!(world, "AsyncContext::release", context.release().await);
}

async fn waits(world: &World, context: &Context) {
    let context = AsyncContext::from(context.clone());
    let filter = CardFilter::new();
    let call = world.begin("AsyncContext::wait_for_card", LIMIT);
    let _ = context.wait_for_card(&filter, Some(LIMIT)).await;
    drop(call);
    let call = world.begin("AsyncContext::wait_for_removal", LIMIT);
    let _ = context.wait_for_removal(&filter, Some(LIMIT)).await;
    drop(call);
    let call = world.begin("AsyncContext::monitor", LIMIT);
    let stream = context.monitor(MonitorOptions::new());
    drop(call);
    let Ok(mut stream) = stream else { return };
    let call = world.begin("EventStream::next", LIMIT);
    let end = async {
        smol::Timer::after(LIMIT / 2).await;
        None
    };
    let all = async {
        while stream.next().await.is_some() {}
        None::<()>
    };
    smol::future::or(all, end).await;
    drop(call);
    world.drop("EventStream", stream);
}

async fn card(world: &World, mut card: AsyncCard, random: &mut Random) {
    for _ in 0..random.below(5) {
        match random.below(8) {
            0 | 1 => {
                let tag = world.tag();
                let command = tag.command();
                let call = world.begin("AsyncCard::transmit", LIMIT);
                let answer = card.transmit(&command).await;
                drop(call);
                if let Ok(answer) = answer {
                    world.check(&tag, &answer);
                }
            }
            2 => ask!(world, random, &mut card, "AsyncCard", [.await]),
            3 => ask_more!(world, random, &mut card, "AsyncCard", [.await]),
            4 => {
                let how = some_initialization(random);
                let call = world.begin("AsyncCard::reconnect", LIMIT);
                let protocols = some_protocols(random);
                let _ = card.reconnect(ShareMode::Shared, protocols, how).await;
                drop(call);
            }
            5 => {
                let call = world.begin("AsyncCard::transaction", LIMIT);
                let transaction = card.transaction().await;
                drop(call);
                if let Ok(transaction) = transaction {
                    self::transaction(world, transaction, random).await;
                }
            }
            6 => {
                let tag = world.tag();
                let command = tagged(&tag);
                let call = world.begin("AsyncCard::within", LIMIT);
                let whole = card.within(LIMIT, async |card: &mut AsyncCard| {
                    let answer = card.exchange(&command).await;
                    if let Ok(mut channel) = card.logical_channel().await {
                        let _ = channel.exchange(&command).await;
                        let _ = channel.close().await;
                    }
                    answer
                });
                let answer = whole.await;
                drop(call);
                if let Ok(answer) = answer {
                    world.check(&tag, answer.data());
                }
            }
            _ => {
                let tag = world.tag();
                let command = tag.command();
                let call = world.begin("AsyncCard::transmit, dropped", LIMIT);
                let answer = for_a_time(random, card.transmit(&command)).await;
                drop(call);
                if let Some(Ok(answer)) = answer {
                    world.check(&tag, &answer);
                }
            }
        }
    }
    match random.below(3) {
        0 => {
            let how = some_disposition(random);
            let call = world.begin("AsyncCard::disconnect", LIMIT);
            let _ = card.disconnect(how).await;
            drop(call);
        }
        1 => {
            let how = some_initialization(random);
            let call = world.begin("AsyncCard::into_reader", LIMIT);
            let reader = card.into_reader(how).await;
            drop(call);
            let Ok(reader) = reader else { return };
            let call = world.begin("AsyncReader::into_card", LIMIT);
            let card = reader.into_card(ShareMode::Shared, Protocols::ANY, how);
            let card = card.await;
            drop(call);
            world.drop("AsyncCard", card);
        }
        _ => world.drop("AsyncCard", card),
    }
}

async fn transaction(world: &World, mut transaction: AsyncTransaction<'_>, random: &mut Random) {
    let tag = world.tag();
    let command = tag.command();
    let call = world.begin("AsyncTransaction::transmit", LIMIT);
    let answer = transaction.transmit(&command).await;
    drop(call);
    if let Ok(answer) = answer {
        world.check(&tag, &answer);
    }
    match random.below(3) {
        0 => ask!(world, random, &mut transaction, "AsyncTransaction", [.await]),
        1 => ask_more!(world, random, &mut transaction, "AsyncTransaction", [.await]),
        _ => {
            let how = some_initialization(random);
            let call = world.begin("AsyncTransaction::reconnect", LIMIT);
            let again = transaction.reconnect(ShareMode::Shared, Protocols::ANY, how);
            let _ = again.await;
            drop(call);
        }
    }
    if random.one_in(2) {
        let how = some_disposition(random);
        let call = world.begin("AsyncTransaction::end", LIMIT);
        let _ = transaction.end(how).await;
        drop(call);
    } else {
        world.drop("AsyncTransaction", transaction);
    }
}

async fn session(world: &World, context: &Context, random: &mut Random) {
    let builder = Session::builder(context).timeout(Some(LIMIT));
    let call = world.begin("SessionBuilder::open_async", LIMIT);
    let session: Result<AsyncSession, _> = builder.open_async().await;
    drop(call);
    let Ok(mut session) = session else { return };
    for _ in 0..random.below(4) {
        let tag = world.tag();
        let command = tag.command();
        match random.below(4) {
            0 => {
                let call = world.begin("AsyncSession::keep_alive", LIMIT);
                let _ = session.keep_alive().await;
                drop(call);
            }
            1 => {
                let call = world.begin("AsyncSession::run_restartable", LIMIT);
                let run = session.run_restartable(move |card| card.transmit(&command));
                let answer = run.await;
                drop(call);
                if let Ok(answer) = answer {
                    world.check(&tag, &answer);
                }
            }
            2 => {
                let call = world.begin("AsyncSession::run, dropped", LIMIT);
                let run = session.run(move |card| card.transmit(&command));
                let answer = for_a_time(random, run).await;
                drop(call);
                if let Some(Ok(answer)) = answer {
                    world.check(&tag, &answer);
                }
                // The next run waits for the dropped one.
                let call = world.begin("AsyncSession::run after a dropped one", 2 * LIMIT);
                let _ = session.run(|card| card.status().map(drop)).await;
                drop(call);
            }
            _ => {
                let call = world.begin("AsyncSession::run", LIMIT);
                let answer = session.run(move |card| card.transmit(&command)).await;
                drop(call);
                if let Ok(answer) = answer {
                    world.check(&tag, &answer);
                }
            }
        }
    }
    let call = world.begin("AsyncSession::into_session", 2 * LIMIT);
    let session = session.into_session().await;
    drop(call);
    world.drop("Session", session);
}
