//! Wakes callers at their deadlines if they do not block a thread.
//!
//! There is one thread for the whole process, which exists only while it is needed. It costs a call
//! next to nothing: the thread is not notified of a deadline later than the one it sleeps until,
//! nor of one that is no longer needed.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::Wake;
use crate::service::Process;
use crate::sync::{Condvar, Mutex, global, lock, now, start_thread};

/// How long the thread stays when there are no deadlines.
const LINGER: Duration = Duration::from_secs(5);

/// The callers by time. The numbers distinguish equal times.
type Alarms = BTreeMap<(Instant, u64), Arc<dyn Wake>>;

struct Clock {
    alarms: Alarms,
    next: u64,
    /// When the thread wakes by itself; `None` while it is awake or waits to be notified.
    sleeps_until: Option<Instant>,
    /// The process that the thread runs in; a forked child has no thread.
    runs_in: Option<Process>,
}

global! {
    static CLOCK: Mutex<Clock> = Mutex::new(Clock {
        alarms: BTreeMap::new(),
        next: 0,
        sleeps_until: None,
        runs_in: None,
    });
}
global! {
    static CHANGED: Condvar = Condvar::new();
}

/// Wakes a caller at a time, unless dropped before.
pub(crate) struct Alarm {
    at: Instant,
    number: u64,
}

impl Alarm {
    /// `None` if the thread cannot be started.
    pub(crate) fn set(at: Instant, caller: Arc<dyn Wake>) -> Option<Alarm> {
        let mut clock = lock(&CLOCK);
        let process = Process::current();
        if clock.runs_in != Some(process) {
            if clock.runs_in.is_some() {
                // These belong to the process that this one was forked from.
                std::mem::forget(std::mem::take(&mut clock.alarms));
            }
            clock.sleeps_until = None;
            let is_there = start_thread("scard clock", run).is_ok();
            clock.runs_in = is_there.then_some(process);
            clock.runs_in?;
        }
        let number = clock.next;
        clock.next += 1;
        clock.alarms.insert((at, number), caller);
        let is_told = clock.sleeps_until.is_none_or(|until| at < until);
        drop(clock);
        if is_told {
            CHANGED.notify_one();
        }
        Some(Alarm { at, number })
    }
}

#[cfg(all(test, model))]
impl Alarm {
    /// Waits until the thread has ended.
    pub(crate) fn outlast() {
        while lock(&CLOCK).runs_in.is_some() {
            crate::sync::model::pass_until_somebody_wakes();
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let caller = lock(&CLOCK).alarms.remove(&(self.at, self.number));
        // Unlocked first: this may drop what the caller waited for.
        drop(caller);
    }
}

fn run() {
    let mut clock = lock(&CLOCK);
    loop {
        clock.sleeps_until = None;
        let now = now();
        let later = clock.alarms.split_off(&(now, u64::MAX));
        let due = std::mem::replace(&mut clock.alarms, later);
        if !due.is_empty() {
            drop(clock);
            for caller in due.into_values() {
                // A waker that panics must not stop the clock for all others.
                let _ = catch_unwind(AssertUnwindSafe(|| caller.wake()));
            }
            clock = lock(&CLOCK);
            continue;
        }
        let first = clock.alarms.first_key_value().map(|((at, _), _)| *at);
        clock.sleeps_until = first;
        let sleep = first.map_or(LINGER, |at| at.saturating_duration_since(now));
        let (awake, slept) = CHANGED
            .wait_timeout(clock, sleep)
            .unwrap_or_else(PoisonError::into_inner);
        clock = awake;
        if first.is_none() && slept.timed_out() && clock.alarms.is_empty() {
            clock.runs_in = None;
            return;
        }
    }
}

#[cfg(all(test, not(model)))]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::thread;

    use super::*;

    struct Ring(Mutex<Sender<Instant>>);

    impl Wake for Ring {
        fn wake(&self) {
            let _ = lock(&self.0).send(Instant::now());
        }
    }

    struct Broken;

    impl Wake for Broken {
        fn wake(&self) {
            panic!("on purpose");
        }
    }

    #[test]
    fn all_callers_are_woken_in_time_but_not_those_that_left() {
        let now = Instant::now();
        let in_ms = |ms| now + Duration::from_millis(ms);
        let mut set = Vec::new();
        // Not in the order of their times, so that the thread is notified of some and not of
        // others.
        for ms in [40_u64, 10, 30, 20, 20] {
            let (sender, woken) = channel();
            let alarm = Alarm::set(in_ms(ms), Arc::new(Ring(Mutex::new(sender)))).unwrap();
            set.push((ms, woken, alarm));
        }
        let (sender, woken) = channel();
        let left = Alarm::set(in_ms(15), Arc::new(Ring(Mutex::new(sender)))).unwrap();
        drop(left);
        let broken = Alarm::set(in_ms(5), Arc::new(Broken)).unwrap();
        for (ms, woken, alarm) in set {
            let at = woken.recv_timeout(Duration::from_secs(20)).unwrap();
            assert!(at >= in_ms(ms), "{ms} ms: woken too early");
            drop(alarm);
        }
        assert!(woken.recv().is_err(), "a caller that left was woken");
        drop(broken);
    }

    fn ring_at(at: Instant) -> (Alarm, Receiver<Instant>) {
        let (sender, woken) = channel();
        let alarm = Alarm::set(at, Arc::new(Ring(Mutex::new(sender))));
        (alarm.unwrap(), woken)
    }

    #[test]
    fn a_sleeping_thread_is_notified_of_an_earlier_deadline() {
        const LONG: Duration = Duration::from_secs(60);
        let near = || ring_at(Instant::now() + Duration::from_millis(10));
        // Here it mostly just waits to be notified.
        for _ in 0..5 {
            let (_alarm, woken) = near();
            woken.recv_timeout(LONG / 2).unwrap();
        }
        let (_far, _) = ring_at(Instant::now() + LONG);
        while lock(&CLOCK).sleeps_until.is_none() {
            thread::yield_now();
        }
        let (_alarm, woken) = near();
        woken.recv_timeout(LONG / 2).unwrap();
    }
}
