//! Events as a stream, under several executors.
#![cfg(all(target_os = "linux", feature = "async"))]

use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

use scard::{
    CardFilter, ContextOptions, ErrorKind, Event, EventStream, MonitorOptions, ReaderName,
};
use scard_testkit::{Driver, Sandbox, isolated};
use smol::stream::StreamExt;

use crate::support::events::*;
use crate::support::executor::*;
use crate::support::*;

/// A fixture in which cards are seen at once.
fn quick() -> Fixture {
    let sandbox = Sandbox::builder().driver(Driver::Kit).readers(2);
    let sandbox = sandbox.card(0, plain_card()).start().unwrap();
    Fixture::of(sandbox)
}

fn watch(fixture: &Fixture) -> EventStream {
    let context = scard::AsyncContext::from(fixture.context.clone());
    context.monitor(MonitorOptions::new()).unwrap()
}

fn events(reader: &ReaderName) -> (Expected, Expected, Expected) {
    (attached(reader), inserted(reader), removed(reader))
}

#[test]
fn events_come_as_a_stream() {
    isolated(|| {
        everywhere(quick(), |fixture| async move {
            let mut stream = watch(&fixture);
            let (attached, inserted, removed) = events(&fixture.reader);
            let (other, ..) = events(&fixture.empty_reader);
            // Through the trait, like any stream.
            let there: Vec<Event> = StreamExt::take(&mut stream, 3).collect().await;
            assert_eq!(there, [attached, inserted.clone(), other]);
            for _ in 0..20 {
                let slot = fixture.sandbox.reader(0);
                slot.remove_now();
                assert_eq!(stream.next().await.unwrap(), removed);
                slot.insert_now(&fixture.card).unwrap();
                assert_eq!(stream.next().await.unwrap(), inserted);
            }
            // The service ends and comes back.
            fixture.sandbox.kill().unwrap();
            let lost = stream.next().await.unwrap();
            assert!(matches!(lost, Event::ServiceLost { .. }), "{lost:?}");
            fixture.sandbox.restart().unwrap();
            while stream.next().await.unwrap() != inserted {}
        });
    });
}

#[test]
fn an_abort_ends_the_stream_and_wakes_its_task() {
    isolated(|| {
        let fixture = quick();
        for _ in 0..200 {
            let mut stream = watch(&fixture);
            let abort = stream.abort_handle();
            let woken = Woken::new();
            while let Poll::Ready(event) = woken.poll(pin!(stream.next()).as_mut()) {
                assert!(event.is_some());
            }
            let aborter = std::thread::spawn(move || abort.abort());
            loop {
                match woken.poll(pin!(stream.next()).as_mut()) {
                    Poll::Ready(None) => break,
                    Poll::Ready(Some(_)) => {}
                    Poll::Pending => woken.wait(),
                }
            }
            aborter.join().unwrap();
            assert!(stream.is_stopped());
            assert_eq!(block_on(stream.next()), None);
        }
    });
}

#[test]
fn a_future_that_is_dropped_loses_no_event() {
    isolated(|| {
        everywhere(quick(), |fixture| async move {
            let mut stream = watch(&fixture);
            for _ in 0..3 {
                stream.next().await.unwrap();
            }
            let (_, inserted, removed) = events(&fixture.reader);
            give_up(stream.next(), Duration::from_millis(20)).await;
            fixture.sandbox.reader(0).remove().unwrap();
            assert_eq!(stream.next().await.unwrap(), removed);
            fixture.sandbox.reader(0).insert(&fixture.card).unwrap();
            // From one task to another, and to a thread.
            let stream = smol::spawn(async move {
                let mut stream = stream;
                assert_eq!(stream.next().await.unwrap(), inserted);
                stream
            });
            drop(stream.await);
        });
    });
}

#[test]
fn waits_for_cards_are_futures() {
    isolated(|| {
        everywhere(quick(), |fixture| async move {
            let context = scard::AsyncContext::from(fixture.context.clone());
            let slot = fixture.sandbox.reader(0);
            let soon = Some(SOON);
            let any = CardFilter::new();
            let found = context.wait_for_card(&any, soon).await.unwrap();
            assert_eq!(found.reader_name(), &fixture.reader);
            let same = CardFilter::new().same_card(&found);

            // Both at once, on any thread.
            let leaves = async {
                slot.remove_now();
                slot.insert(&fixture.card).unwrap();
            };
            let removal = context.wait_for_removal(&same, soon);
            let (removed, ()) = smol::future::zip(removal, leaves).await;
            removed.unwrap();

            let other = CardFilter::new().atr(&[0x3B, 0x00]);
            let begun = Instant::now();
            let error = context
                .wait_for_card(&other, Some(NEVER))
                .await
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
            assert!(begun.elapsed() >= NEVER);
            let error = context
                .wait_for_removal(&any, Some(NEVER))
                .await
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
            give_up(context.wait_for_card(&other, None), NEVER).await;

            let mut stream = watch(&fixture);
            let abort = stream.abort_handle();
            // Polled second, so that the first one waits already.
            let stop = async { abort.abort() };
            let waiting = stream.wait_for_card(&other, None);
            let (stopped, ()) = smol::future::zip(waiting, stop).await;
            assert_eq!(stopped.unwrap_err().kind(), ErrorKind::Cancelled);
        });
    });
}

/// With a hanging daemon, nothing that a task does blocks its thread.
#[test]
fn a_daemon_that_hangs_keeps_no_executor_from_its_work() {
    isolated(|| {
        let fixture = quick();
        let runtime = current_thread();
        let mut stream = watch(&fixture);
        let limited = ContextOptions::new().timeout(Some(NEVER));
        runtime.block_on(async {
            stream.next().await.unwrap();
            // On a busy machine it may take longer.
            let begun = Instant::now();
            let context = loop {
                match limited.clone().establish_async().await {
                    Ok(context) => break context,
                    Err(error) => assert!(begun.elapsed() < SOON, "{error}"),
                }
            };
            fixture.sandbox.pause().unwrap();
            let begun = Instant::now();
            let filter = CardFilter::new();
            let error = context
                .wait_for_card(&filter, Some(NEVER))
                .await
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
            drop(stream);
            drop(context.monitor(MonitorOptions::new()).unwrap());
            assert!(begun.elapsed() < SOON / 4, "{:?}", begun.elapsed());
            fixture.sandbox.resume().unwrap();
        });
        assert_works(&mut fixture.connect());
    });
}

#[test]
fn a_monitor_becomes_a_stream_without_losing_anything() {
    isolated(|| {
        let fixture = quick();
        let monitor = fixture.context.monitor(MonitorOptions::new()).unwrap();
        fixture.sandbox.reader(0).remove().unwrap();
        let mut stream = monitor.into_stream();
        let (attached, inserted, removed) = events(&fixture.reader);
        let (other, ..) = events(&fixture.empty_reader);
        let told: Vec<Event> = block_on(StreamExt::take(&mut stream, 4).collect());
        assert_eq!(told, [attached, inserted, other, removed]);
        let _: Pin<&mut EventStream> = Pin::new(&mut stream);
    });
}
