//! The model checker's primitives: it decides which thread runs when, and the test decides what
//! time it is.
//!
//! There are two checkers. *loom* tries all orders up to a number of preemptions, which suits small
//! parts. *shuttle* tries many at random, which suits combinations of them. Both detect a thread
//! that is never woken, because then no thread can run.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LockResult, OnceLock, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

#[cfg(model = "loom")]
use loom as checker;
#[cfg(not(model = "loom"))]
use shuttle as checker;

pub(crate) use checker::sync::atomic::AtomicBool;
pub(crate) use checker::sync::{Mutex, MutexGuard};
pub(crate) use checker::thread;

use super::lock;

pub(crate) mod mpsc;

/// Runs a test in many orders, and prints how many.
#[track_caller]
pub(crate) fn check(test: impl Fn() + Send + Sync + 'static) {
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = {
        let runs = Arc::clone(&runs);
        move || {
            runs.fetch_add(1, Ordering::Relaxed);
            test();
        }
    };
    explore(counted);
    let (test, runs) = (std::thread::current(), runs.load(Ordering::Relaxed));
    println!("{}: {runs} orders", test.name().unwrap_or_default());
}

/// A number from an environment variable.
fn setting(name: &str, default: usize) -> usize {
    let set = std::env::var(name).ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[cfg(model = "loom")]
fn explore(test: impl Fn() + Send + Sync + 'static) {
    let mut builder = checker::model::Builder::new();
    builder.preemption_bound = Some(setting("SCARD_MODEL_PREEMPTIONS", 3));
    builder.max_branches = 20_000;
    builder.check(test);
}

/// Half of the rounds choose randomly at every step, half switch threads only at a few chosen
/// steps.
#[cfg(not(model = "loom"))]
fn explore(test: impl Fn() + Send + Sync + 'static) {
    let rounds = setting("SCARD_MODEL_ROUNDS", 8000);
    let test = Arc::new(test);
    let again = Arc::clone(&test);
    checker::check_random(move || test(), rounds / 2);
    checker::check_pct(move || again(), rounds / 2, 3);
}

/// The time, which only the test advances.
#[derive(Default)]
struct Time {
    now: Duration,
    sleepers: Vec<Sleeper>,
    next: u64,
    /// The time each thread saw last.
    seen: Vec<(thread::ThreadId, Duration)>,
}

impl Time {
    fn look(&mut self) -> Duration {
        let (now, me) = (self.now, thread::current().id());
        match self.seen.iter_mut().find(|(thread, _)| *thread == me) {
            Some((_, seen)) => *seen = now,
            None => self.seen.push((me, now)),
        }
        now
    }

    fn seen(&self) -> Duration {
        let me = thread::current().id();
        let mut seen = self.seen.iter().filter(|(thread, _)| *thread == me);
        seen.next().map_or(self.now, |(_, seen)| *seen)
    }
}

struct Sleeper {
    number: u64,
    until: Duration,
    sleeps_on: Arc<checker::sync::Condvar>,
}

checker::lazy_static! {
    static ref TIME: Mutex<Time> = Mutex::new(Time::default());
}

fn time() -> MutexGuard<'static, Time> {
    lock(&TIME)
}

/// The time at which every run begins.
pub(crate) fn beginning() -> Instant {
    static BEGINNING: OnceLock<Instant> = OnceLock::new();
    *BEGINNING.get_or_init(Instant::now)
}

pub(crate) fn now() -> Instant {
    beginning() + time().look()
}

/// Advances the time, and wakes the sleepers whose time has come.
pub(crate) fn pass(passes: Duration) {
    time().now += passes;
    wake_sleepers();
}

/// Advances the time to that of the next sleeper.
pub(crate) fn pass_until_somebody_wakes() {
    {
        let mut time = time();
        let next = time.sleepers.iter().map(|sleeper| sleeper.until).min();
        time.now = next.map_or(time.now, |next| next.max(time.now));
    }
    wake_sleepers();
    thread::yield_now();
}

/// Repeats until all are awake, so as not to miss threads that are about to sleep.
fn wake_sleepers() {
    loop {
        let due: Vec<_> = {
            let time = time();
            let due = time.sleepers.iter().filter(|it| it.until <= time.now);
            due.map(|it| Arc::clone(&it.sleeps_on)).collect()
        };
        if due.is_empty() {
            return;
        }
        due.iter().for_each(|it| it.notify_all());
        thread::yield_now();
    }
}

/// Like that of the standard library, with the model's time.
#[derive(Debug)]
pub(crate) struct Condvar(Arc<checker::sync::Condvar>);

pub(crate) struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    pub(crate) fn timed_out(&self) -> bool {
        self.0
    }
}

impl Condvar {
    pub(crate) fn new() -> Condvar {
        Condvar(Arc::new(checker::sync::Condvar::new()))
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }

    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        self.0.wait(guard)
    }

    pub(crate) fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        limit: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let (number, until) = {
            let mut time = time();
            // Counts from the time that the thread saw last, so that it wakes up as intended even
            // if time has passed since.
            let (number, until) = (time.next, time.seen() + limit);
            if until <= time.now {
                time.look();
                return Ok((guard, WaitTimeoutResult(true)));
            }
            time.next += 1;
            time.sleepers.push(Sleeper {
                number,
                until,
                sleeps_on: Arc::clone(&self.0),
            });
            (number, until)
        };
        let guard = self.0.wait(guard).unwrap_or_else(PoisonError::into_inner);
        let mut time = time();
        time.sleepers.retain(|sleeper| sleeper.number != number);
        Ok((guard, WaitTimeoutResult(time.look() >= until)))
    }

    pub(crate) fn wait_timeout_while<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        limit: Duration,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let end = now() + limit;
        while condition(&mut guard) {
            let left = end.saturating_duration_since(now());
            let (awake, slept) = self
                .wait_timeout(guard, left)
                .unwrap_or_else(PoisonError::into_inner);
            guard = awake;
            if slept.timed_out() {
                return Ok((guard, slept));
            }
        }
        Ok((guard, WaitTimeoutResult(false)))
    }
}

impl Default for Condvar {
    fn default() -> Condvar {
        Condvar::new()
    }
}

/// A static variable that is new in each run of a test.
macro_rules! global {
    ($(#[$meta:meta])* static $name:ident: $type:ty = $value:expr;) => {
        $crate::sync::model::lazy_static! {
            $(#[$meta])*
            static ref $name: $type = $value;
        }
    };
}
pub(crate) use checker::lazy_static;
pub(crate) use global;

/// Wakes a thread that waits for a future.
pub(crate) struct Task {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        *lock(&self.woken) = true;
        self.changed.notify_all();
    }
}

impl Task {
    pub(crate) fn new() -> Arc<Task> {
        Arc::new(Task {
            woken: Mutex::new(false),
            changed: Condvar::new(),
        })
    }

    pub(crate) fn poll<F: Future + Unpin>(self: &Arc<Self>, future: &mut F) -> Poll<F::Output> {
        let waker = Waker::from(Arc::clone(self));
        std::pin::Pin::new(future).poll(&mut Context::from_waker(&waker))
    }

    /// Waits until the task is woken.
    pub(crate) fn wait(&self) {
        let mut woken = lock(&self.woken);
        while !*woken {
            woken = self
                .changed
                .wait(woken)
                .unwrap_or_else(PoisonError::into_inner);
        }
        *woken = false;
    }
}

/// Polls a future, again only when woken.
pub(crate) fn block_on<F: Future + Unpin>(mut future: F) -> F::Output {
    let task = Task::new();
    loop {
        match task.poll(&mut future) {
            Poll::Ready(output) => return output,
            Poll::Pending => task.wait(),
        }
    }
}
