//! The calls of futures over the daemon's socket.
#![cfg(all(target_os = "linux", feature = "socket", feature = "async"))]

mod disposition;
mod disturbed;
mod thread;

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context as Task, Poll, Waker};
use std::time::{Duration, Instant};

use scard::{
    AbortHandle, AsyncCard, AsyncContext, ConnectOptions, Context, ContextOptions, ErrorKind,
    Result, ShareMode,
};
use scard_testkit::fake::{Answer, Gate, Message, Reader, Service};
use scard_testkit::isolated;

use crate::support::executor::block_on;
use crate::support::fake::{stop, stop_after};
use crate::support::usage::own_threads;
use crate::support::*;

const LIMIT: Duration = Duration::from_millis(100);

fn name(number: usize) -> String {
    format!("Reader {number} 00 00")
}

fn service_with(readers: usize) -> Service {
    let service = Service::start().unwrap();
    service.set_readers((0..readers).map(|number| Reader::new(name(number))));
    service
}

fn context_at(path: &Path) -> Context {
    ContextOptions::new().socket_path(path).lazy()
}

/// Stops the answers to all commands that begin with this byte.
fn stop_commands(service: &Service, first: u8) -> Gate {
    stop(service, move |request| request.data.first() == Some(&first))
}

#[track_caller]
fn wait_for_the_end_of_all_connections(service: &Service) {
    wait_until("all connections end", || service.open_connections() == 0);
}

/// Begins a call, which waits.
fn begin<T>(call: Pin<&mut (impl Future<Output = T> + ?Sized)>) {
    let polled = call.poll(&mut Task::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Pending));
}

async fn works(card: &mut AsyncCard) {
    let answer = card.transmit(COMMAND).await.unwrap();
    assert_eq!(answer, [COMMAND, OK].concat());
}

#[test]
fn all_futures_share_one_thread_and_wait_for_none_but_their_own_card() {
    const CARDS: usize = 40;
    isolated(|| {
        let service = service_with(CARDS);
        let options = ContextOptions::new().socket_path(service.socket_path());
        let context = block_on(options.establish_async()).unwrap();
        let connect = |number| {
            // Half of them with limits, which take no thread either.
            let limit = (number % 2 == 0).then_some(SOON);
            let options = ConnectOptions::new().timeout(limit);
            block_on(context.connect(name(number), options)).unwrap()
        };
        let mut quick = connect(0);
        let mut cards: Vec<AsyncCard> = (1..CARDS).map(connect).collect();
        let gate = stop_commands(&service, 0xEE);
        let slow = cards
            .iter_mut()
            .map(|card| Box::pin(card.transmit(&[0xEE; 5])));
        let mut slow: Vec<_> = slow.collect();
        slow.iter_mut().for_each(|call| begin(call.as_mut()));
        gate.wait_for(CARDS - 1, SOON).unwrap();
        for _ in 0..10 {
            block_on(works(&mut quick));
            assert_eq!(block_on(context.readers()).unwrap().len(), CARDS);
            assert_eq!(block_on(context.reader_states()).unwrap().len(), CARDS);
            drop(connect(0));
        }
        assert_eq!(own_threads(), ["scard futures"]);
        gate.open();
        for call in slow {
            assert_eq!(block_on(call).unwrap().len(), 7);
        }
        for card in &mut cards {
            block_on(works(card));
        }
        drop((quick, cards, context));
        wait_for_the_end_of_all_connections(&service);
        wait_until("the thread ends", || own_threads().is_empty());
    });
}

/// Neither its deadline nor its end depends on the thread that polls it.
#[test]
fn what_a_given_up_future_leaves_delays_no_other() {
    isolated(|| {
        let service = service_with(2);
        let context = AsyncContext::from(context_at(service.socket_path()));
        let gate = stop_commands(&service, 0xEE);
        let abort = AbortHandle::new();
        type End = fn(&mut AsyncCard, &AbortHandle) -> Option<ErrorKind>;
        let ends: [End; 3] = [
            |card, _| {
                // Long enough for the command to be sent, also on a busy machine.
                card.set_timeout(Some(LIMIT * 10));
                let begun = Instant::now();
                let error = block_on(card.transmit(&[0xEE; 5])).unwrap_err();
                assert!(begun.elapsed() >= LIMIT * 10);
                assert!(error.command_may_have_run());
                Some(error.kind())
            },
            |card, abort| {
                let mut call = Box::pin(card.transmit(&[0xEE; 5]));
                begin(call.as_mut());
                abort.abort();
                let error = block_on(call).unwrap_err();
                Some(error.kind())
            },
            |card, _| {
                let mut call = Box::pin(card.transmit(&[0xEE; 5]));
                begin(call.as_mut());
                None
            },
        ];
        let expected = [
            Some(ErrorKind::DeadlineExceeded),
            Some(ErrorKind::Cancelled),
            None,
        ];
        let mut other = block_on(context.connect(name(1), ConnectOptions::new())).unwrap();
        for (end, expected) in ends.into_iter().zip(expected) {
            let options = ConnectOptions::new().abort_handle(&abort);
            let options = if expected == Some(ErrorKind::Cancelled) {
                options
            } else {
                ConnectOptions::new()
            };
            let mut card = block_on(context.connect(name(0), options)).unwrap();
            assert_eq!(end(&mut card, &abort), expected);
            assert!(card.is_abandoned());
            block_on(works(&mut other));
        }
        assert_eq!(own_threads(), ["scard futures"]);
        gate.open();
        drop(other);
        wait_for_the_end_of_all_connections(&service);
    });
}

/// It would reset the card at the end of the connection.
#[test]
fn what_comes_after_a_future_was_dropped_has_no_effect() {
    isolated(|| {
        let messages = |stalled, call: fn(AsyncContext) -> Pin<Box<dyn Future<Output = ()>>>| {
            let service = service_with(1);
            let context = AsyncContext::from(context_at(service.socket_path()));
            let gate = stop_after(&service, 3, move |request| request.message == stalled);
            let mut call = call(context);
            // Each call before the one that is stalled is an answer to wait for.
            let begun = Instant::now();
            while gate.wait_for(1, Duration::from_millis(1)).is_err() {
                begin(call.as_mut());
                assert!(begun.elapsed() < SOON);
            }
            drop(call);
            service.clear_log();
            gate.open();
            wait_for_the_end_of_all_connections(&service);
            // The thread may have had the answer first; then the connection ends as any other does.
            let log = service.log().into_iter().map(|it| it.message);
            let mut effects: Vec<_> = log.filter(|it| *it != Message::Release).collect();
            effects.dedup();
            effects
        };
        let begun = messages(Message::Begin, |context| {
            Box::pin(async move {
                let mut card = context
                    .connect(name(0), ConnectOptions::new())
                    .await
                    .unwrap();
                drop(card.transaction().await);
            })
        });
        assert_eq!(begun, [Message::End]);
        let connected = messages(Message::Connect, |context| {
            Box::pin(async move {
                let options = ConnectOptions::new().share_mode(ShareMode::Exclusive);
                drop(context.connect(name(0), options).await);
            })
        });
        assert_eq!(connected, [Message::Reconnect, Message::End]);
    });
}

/// Calls with limits end on their own thread.
#[test]
fn calls_of_a_context_with_limits_take_no_thread() {
    isolated(|| {
        let service = service_with(3);
        let path = service.socket_path();
        let options = ContextOptions::new().socket_path(path).timeout(Some(SOON));
        let context = options.establish().unwrap();
        type Call = fn(&Context) -> Result<usize>;
        let calls: [(Message, Call); 3] = [
            (Message::StatesArray, |context| Ok(context.readers()?.len())),
            (Message::StatesArray, |context| {
                Ok(context.reader_states()?.len())
            }),
            (Message::Connect, |context| {
                let card = context.connect(name(2), ConnectOptions::new())?;
                Ok(card.reader_name().as_bytes().len().min(3))
            }),
        ];
        for (stalled, call) in calls {
            let gate = stop(&service, move |request| request.message == stalled);
            let called = in_background({
                let context = context.clone();
                move || call(&context)
            });
            gate.wait_for(1, SOON).unwrap();
            assert_eq!(own_threads(), [""; 0], "{stalled:?}");
            gate.open();
            assert_eq!(finish(&called).unwrap(), 3);
        }
        // A limit that is reached takes none either.
        service.script(move |_| Answer::raw([]));
        let options = ContextOptions::new().socket_path(path);
        let context = options.timeout(Some(LIMIT)).lazy();
        let begun = Instant::now();
        let error = context.readers().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        assert!(begun.elapsed() >= LIMIT);
        assert_eq!(own_threads(), [""; 0]);
    });
}
