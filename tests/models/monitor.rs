//! The monitor, with its threads in every order: see [`crate::sync::model`].

use std::sync::Arc;

use super::mailbox::{CAPACITY, Mailbox};
use super::power::{PowerUps, UnderWay};
use super::tracker::Tracker;
use super::view::View;
use super::*;
use crate::codes::Platform;
use crate::sync::model::check;
use crate::sync::thread;
use crate::values::Atr;
use crate::values::ReaderName;

/// The successive views of a reader whose card is inserted and removed.
fn views(count: u32) -> Vec<View> {
    let name = ReaderName::new("R").unwrap();
    let mut tracker = Tracker::new(Platform::PcscLite, false);
    tracker.list(vec![name.clone()]);
    let seen = (1..=count).map(|number| {
        let flags = if number % 2 == 0 { 0x20 } else { 0x10 };
        tracker.see(&name, flags | (number << 16), Atr::new(&[0x3B]).unwrap());
        tracker.view().clone()
    });
    seen.collect()
}

/// Posts the views from a separate thread.
fn poster(mailbox: &Arc<Mailbox>, count: u32) -> thread::JoinHandle<()> {
    let (mailbox, views) = (Arc::clone(mailbox), views(count));
    thread::spawn(move || views.iter().for_each(|view| mailbox.post(view)))
}

/// Whether this is the last event, if the last change has this number.
fn is_last(event: &Event, number: u32) -> bool {
    match event {
        Event::CardInserted { .. } | Event::CardExchanged { .. } => number % 2 == 0,
        Event::CardRemoved { .. } | Event::CardMissed { .. } => number % 2 == 1,
        _ => false,
    }
}

/// A consumer is always woken up, and events that do not fit into the queue are merged.
#[test]
fn a_consumer_does_not_sleep_while_there_are_events() {
    check(|| {
        let count = 4;
        let mailbox = Arc::new(Mailbox::default());
        let posts = poster(&mailbox, count);
        let expected = views(count).pop().unwrap();
        let mut received = 0;
        while mailbox.reported() != expected || mailbox.has_events() {
            assert!(mailbox.next(None).unwrap().is_some());
            received += 1;
        }
        // At most one for the reader, and one for each change.
        assert!(received <= count as usize + 1, "{received}");
        assert!(received >= CAPACITY.min(count as usize));
        posts.join().unwrap();
    });
}

#[test]
fn a_wait_for_a_state_sees_the_last_one() {
    check(|| {
        let mailbox = Arc::new(Mailbox::default());
        let posts = poster(&mailbox, 3);
        let expected = views(3).pop().unwrap();
        let mut known = None;
        loop {
            let (number, view) = mailbox.news(known, None).unwrap().unwrap();
            assert!(known < Some(number));
            known = Some(number);
            if view == expected {
                break;
            }
        }
        posts.join().unwrap();
    });
}

/// A mailbox is closed before, during and after a wait; later posts have no effect.
#[test]
fn closing_a_mailbox_is_final_and_wakes_all_waits() {
    check(|| {
        let mailbox = Arc::new(Mailbox::default());
        let posts = poster(&mailbox, 1);
        let waits = Arc::clone(&mailbox);
        let waiting = thread::spawn(move || waits.pause(std::time::Duration::from_secs(3600)));
        let closes = Arc::clone(&mailbox);
        let closer = thread::spawn(move || closes.close());
        while mailbox.next(None).is_ok() {}
        waiting.join().unwrap();
        posts.join().unwrap();
        closer.join().unwrap();
        assert_eq!(mailbox.next(None), Err(Closed));
        assert_eq!(mailbox.news(None, None), Err(Closed));
    });
}

/// A wait begins at the moment when a power-up ends for lack of waits. Afterwards there is exactly
/// one power-up, either the old one or a new one.
#[test]
fn a_wait_that_begins_during_the_end_of_a_power_up_has_one() {
    check(|| {
        let name = ReaderName::new("R").unwrap();
        let mut tracker = Tracker::new(Platform::PcscLite, false);
        tracker.list(vec![name.clone()]);
        tracker.see(&name, 0x0001_0220, Atr::default());
        let (_, card) = tracker.view().mute_cards().next().unwrap();
        let shared = Shared::new(Address::default(), CardFilter::new());

        let mut old = UnderWay::begin(&shared, &name, card).unwrap();
        let ends = thread::spawn(move || {
            // Checked before and after the pause.
            old.goes_on();
            old.goes_on().then_some(old)
        });
        let wait = PowerUps::new(&shared, &Pending::NotCounted);
        let new = UnderWay::begin(&shared, &name, card);
        let old = ends.join().unwrap();
        assert_ne!(old.is_some(), new.is_some());
        drop(wait);
    });
}

#[cfg(feature = "async")]
mod tasks {
    use super::*;
    use crate::sync::model::{Task, block_on};
    use std::future::poll_fn;

    #[test]
    fn no_event_is_lost() {
        check(|| {
            let mailbox = Arc::new(Mailbox::default());
            let posts = poster(&mailbox, 2);
            let next = || block_on(poll_fn(|task| mailbox.poll_next(task)));
            while !is_last(&next().unwrap(), 2) {}
            posts.join().unwrap();
        });
    }

    #[test]
    fn the_end_is_reported() {
        check(|| {
            let mailbox = Arc::new(Mailbox::default());
            let closes = Arc::clone(&mailbox);
            let closer = thread::spawn(move || closes.close());
            let news = poll_fn(|task| mailbox.poll_news(None, task));
            assert_eq!(block_on(news), Err(Closed));
            closer.join().unwrap();
        });
    }

    /// The task that polled last is woken.
    #[test]
    fn the_last_task_is_woken() {
        check(|| {
            let mailbox = Arc::new(Mailbox::default());
            let posts = poster(&mailbox, 1);
            let (first, second) = (Task::new(), Task::new());
            let mut next = poll_fn(|task| mailbox.poll_next(task));
            if first.poll(&mut next).is_pending() {
                while second.poll(&mut next).is_pending() {
                    second.wait();
                }
            }
            posts.join().unwrap();
        });
    }
}

/// With the whole watcher and a service: too much for every order.
#[cfg(not(model = "loom"))]
mod whole {
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use super::*;
    use crate::service;
    use crate::sync::AtomicBool;
    use crate::sync::model::pass_until_somebody_wakes;

    /// Advances the time to the next sleeper's, until it is stopped.
    struct Clock(Arc<AtomicBool>, thread::JoinHandle<()>);

    impl Clock {
        fn start() -> Clock {
            let over = Arc::new(AtomicBool::new(false));
            let is_over = Arc::clone(&over);
            let ticks = thread::spawn(move || {
                while !is_over.load(Ordering::SeqCst) {
                    pass_until_somebody_wakes();
                }
            });
            Clock(over, ticks)
        }

        fn stop(self) {
            self.0.store(true, Ordering::SeqCst);
            self.1.join().unwrap();
        }
    }

    fn start(options: MonitorOptions) -> Monitor {
        Monitor::start(&Address::default(), options, &Pending::NotCounted).unwrap()
    }

    /// A stop at any moment ends the wait and the thread, and releases the context, which is not
    /// used afterwards.
    #[test]
    fn a_stop_at_any_moment_ends_the_wait_and_the_thread() {
        check(|| {
            let abort = AbortHandle::new();
            let stops = abort.clone();
            let stopper = thread::spawn(move || stops.abort());
            let clock = Clock::start();
            let monitor = start(MonitorOptions::new().abort_handle(&abort));
            let changes = thread::spawn(service::change);
            let mut monitor = monitor;
            while monitor.next().is_some() {}
            assert!(monitor.is_stopped());
            stopper.join().unwrap();
            changes.join().unwrap();
            service::wait_until_unused();
            drop(monitor);
            clock.stop();
        });
    }

    #[test]
    fn a_monitor_that_is_dropped_ends() {
        check(|| {
            let clock = Clock::start();
            let mut monitor = start(MonitorOptions::new());
            let changes = thread::spawn(service::change);
            // The initial state, and perhaps the change.
            assert!(monitor.next().is_some());
            drop(monitor);
            changes.join().unwrap();
            service::wait_until_unused();
            clock.stop();
        });
    }

    /// Two aborts at the same time.
    #[test]
    fn two_stops_have_the_effect_of_one() {
        check(|| {
            let clock = Clock::start();
            let mut monitor = start(MonitorOptions::new());
            let abort = monitor.abort_handle();
            let stopper = thread::spawn(move || abort.abort());
            let first = monitor.next_timeout(Duration::from_secs(1));
            monitor.abort_handle().abort();
            assert!(monitor.next().is_none(), "after {first:?}");
            stopper.join().unwrap();
            drop(monitor);
            service::wait_until_unused();
            clock.stop();
        });
    }

    /// Every change is reported, or a later one.
    #[test]
    fn a_change_reaches_a_wait() {
        check(|| {
            let clock = Clock::start();
            let mut monitor = start(MonitorOptions::new());
            let changes = thread::spawn(|| (0..3).for_each(|_| service::change()));
            // The third change is a card that stays.
            let found = monitor.wait_for_card(&CardFilter::new(), None);
            assert_eq!(found.unwrap().reader_name(), service::READER);
            changes.join().unwrap();
            while !matches!(
                monitor.next(),
                Some(Event::CardInserted { .. } | Event::CardExchanged { .. })
            ) {}
            drop(monitor);
            service::wait_until_unused();
            clock.stop();
        });
    }

    #[cfg(feature = "async")]
    #[test]
    fn a_stream_can_be_stopped_and_receives_events() {
        use crate::sync::model::block_on;

        check(|| {
            let clock = Clock::start();
            let mut events = start(MonitorOptions::new()).into_stream();
            let abort = events.abort_handle();
            let stopper = thread::spawn(move || {
                service::change();
                abort.abort();
            });
            let limit = Some(Duration::from_secs(10));
            let found = block_on(Box::pin(events.wait_for_card(&CardFilter::new(), limit)));
            if let Err(error) = found {
                let kind = error.kind();
                use crate::ErrorKind::{Cancelled, DeadlineExceeded};
                assert!(matches!(kind, Cancelled | DeadlineExceeded), "{error}");
            }
            while block_on(Box::pin(events.next())).is_some() {}
            stopper.join().unwrap();
            drop(events);
            service::wait_until_unused();
            crate::limits::Alarm::outlast();
            clock.stop();
        });
    }
}
