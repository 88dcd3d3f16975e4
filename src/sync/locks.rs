//! Locks that a forked child can continue to use; see [`crate::sync`]. They work like those of the
//! standard library, and are never poisoned.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, LockResult, PoisonError};
use std::time::{Duration, Instant};

use super::lock;
use crate::service::{Inside, Process};

/// A mutex that no other thread holds when the process forks.
#[derive(Default)]
pub(crate) struct Mutex<T>(std::sync::Mutex<T>);

pub(crate) struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
    // Dropped in this order.
    guard: std::sync::MutexGuard<'a, T>,
    _inside: Inside,
}

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Mutex<T> {
        Mutex(std::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        let inside = Inside::enter();
        Ok(MutexGuard {
            mutex: self,
            guard: self.0.lock().unwrap_or_else(PoisonError::into_inner),
            _inside: inside,
        })
    }

    pub(crate) fn get_mut(&mut self) -> LockResult<&mut T> {
        self.0.get_mut()
    }
}

/// Omits the value: the formatter is foreign code, and would run with the lock held.
impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutex").finish_non_exhaustive()
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

/// A condition variable whose waiting threads hold no lock: the one of the standard library locks
/// the mutex when it wakes up, even while the process forks.
#[derive(Debug, Default)]
pub(crate) struct Condvar {
    /// `None` until a thread waits.
    signals: Mutex<Option<Signals>>,
}

/// What the threads of one process sleep on. In a child it can be locked by a thread that does not
/// exist there, so the child gets a new one.
struct Signals {
    process: Process,
    signal: Arc<Signal>,
}

impl Signals {
    fn new() -> Signals {
        Signals {
            process: Process::current(),
            signal: Arc::default(),
        }
    }
}

#[derive(Default)]
struct Signal {
    /// How often the signal was given.
    count: std::sync::Mutex<u64>,
    given: std::sync::Condvar,
}

#[cfg_attr(not(feature = "async"), allow(dead_code))]
pub(crate) struct WaitTimeoutResult(bool);

#[cfg_attr(not(feature = "async"), allow(dead_code))]
impl WaitTimeoutResult {
    pub(crate) fn timed_out(&self) -> bool {
        self.0
    }
}

impl Condvar {
    pub(crate) const fn new() -> Condvar {
        Condvar {
            signals: Mutex::new(None),
        }
    }

    pub(crate) fn notify_one(&self) {
        if let Some(signal) = self.signal() {
            let mut count = signal.count();
            *count += 1;
            // Before another thread can wait for the next signal and be woken instead.
            signal.given.notify_one();
        }
    }

    pub(crate) fn notify_all(&self) {
        if let Some(signal) = self.signal() {
            *signal.count() += 1;
            signal.given.notify_all();
        }
    }

    /// `None` if no thread of this process has waited yet.
    fn signal(&self) -> Option<Arc<Signal>> {
        let signals = lock(&self.signals);
        let own = signals.as_ref().filter(|it| !it.process.is_forked());
        own.map(|it| Arc::clone(&it.signal))
    }

    /// The next signal to wait for. The caller holds the mutex, so that no later change is missed.
    fn next_signal(&self) -> NextSignal {
        let mut signals = lock(&self.signals);
        let own = signals.take().filter(|it| !it.process.is_forked());
        let signals = signals.insert(own.unwrap_or_else(Signals::new));
        let signal = Arc::clone(&signals.signal);
        let before = *signal.count();
        NextSignal { signal, before }
    }

    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        let (mutex, next) = (guard.mutex, self.next_signal());
        drop(guard);
        next.wait();
        mutex.lock()
    }

    pub(crate) fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        limit: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let (mutex, next) = (guard.mutex, self.next_signal());
        drop(guard);
        let timed_out = next.wait_timeout(limit);
        Ok((lock(mutex), WaitTimeoutResult(timed_out)))
    }

    pub(crate) fn wait_timeout_while<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        limit: Duration,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let begun = Instant::now();
        while condition(&mut guard) {
            let left = limit.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Ok((guard, WaitTimeoutResult(true)));
            }
            let woken = self.wait_timeout(guard, left);
            guard = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok((guard, WaitTimeoutResult(false)))
    }
}

impl Signal {
    fn count(&self) -> std::sync::MutexGuard<'_, u64> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct NextSignal {
    signal: Arc<Signal>,
    before: u64,
}

/// Both can wake spuriously, like all such waits.
impl NextSignal {
    fn wait(self) {
        let count = self.signal.count();
        if *count == self.before {
            drop(self.signal.given.wait(count));
        }
    }

    /// Returns whether the wait timed out.
    fn wait_timeout(self, limit: Duration) -> bool {
        let count = self.signal.count();
        if *count != self.before {
            return false;
        }
        let waited = self.signal.given.wait_timeout(count, limit);
        let (count, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        *count == self.before && waited.timed_out()
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;
    use crate::sync::Turn;

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn one_thread_at_a_time_has_its_turn_and_every_thread_gets_one() {
        let (turn, inside) = (Turn::of(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        turn.lend(|taken| {
                            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                            thread::yield_now();
                            inside.fetch_sub(1, Ordering::SeqCst);
                            *taken += 1;
                        });
                    }
                });
            }
        });
        let panics = catch_unwind(AssertUnwindSafe(|| turn.lend(|_| panic!("on purpose"))));
        assert!(panics.is_err());
        assert_eq!(turn.into_inner(), Some(8 * 500));
    }

    #[test]
    fn all_waiting_threads_wake_up_and_none_spuriously() {
        let (number, changed) = (Mutex::new(0), Condvar::new());
        let waited = changed.wait_timeout(lock(&number), Duration::from_millis(20));
        assert!(waited.unwrap().1.timed_out());
        thread::scope(|scope| {
            for place in 0..8 {
                let (number, changed) = (&number, &changed);
                scope.spawn(move || {
                    let is_another = |number: &mut i32| *number != place;
                    let waited = changed.wait_timeout_while(lock(number), LONG, is_another);
                    let (mut number, waited) = waited.unwrap();
                    assert!(!waited.timed_out());
                    *number += 1;
                    changed.notify_all();
                });
            }
        });
        assert_eq!(*lock(&number), 8);
    }

    #[test]
    fn a_lock_stays_usable_after_a_panic_and_while_it_is_formatted() {
        let number = Mutex::new(1);
        let panics = thread::scope(|scope| {
            let panics = scope.spawn(|| {
                let _inside = lock(&number);
                panic!("on purpose");
            });
            panics.join()
        });
        assert!(panics.is_err());
        let inside = lock(&number);
        assert_eq!(format!("{number:?}"), "Mutex { .. }");
        assert_eq!(*inside, 1);
    }
}
