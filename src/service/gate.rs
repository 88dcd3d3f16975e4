//! A gate that counts the threads inside, lets none in while the process forks, and can be closed
//! for good.
#![cfg_attr(not(feature = "library"), allow(dead_code))]
#![cfg_attr(not(unix), allow(dead_code))]

use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::Failure;
use super::fork::is_forking;

/// The limit for brief waits in case the service hangs. Otherwise they take no time, or a moment on
/// a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
pub(super) const STEP: Duration = Duration::from_micros(100);

/// How a call uses the library's locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Takes a lock at its beginning to look a handle up. Then it may wait for a long time; if it
    /// waits for another program, it looks the handle up again from time to time.
    LooksUp,
    /// Can hold a lock at any time, and returns at once while the service runs.
    IsBrief,
}

/// The weight of a brief call; calls that may wait count 1.
const BRIEF: usize = 1 << (usize::BITS / 2 - 2);
/// The weight of a pending fork. Meanwhile no thread is let in.
const FORK: usize = 1 << (usize::BITS - 8);
/// Set when a fork takes so long that threads no longer wait for it.
const OVERDUE: usize = 1 << (usize::BITS - 3);
/// Set in a child in which the gate [must be tried](Gate::must_be_tried) first.
const UNTRIED: usize = 1 << (usize::BITS - 2);
/// Set when the gate is closed for good.
const CLOSED: usize = 1 << (usize::BITS - 1);

const INSIDE: usize = FORK - 1;
const FORKS: usize = OVERDUE - FORK;

impl Use {
    pub(super) const fn weight(self) -> usize {
        match self {
            Use::LooksUp => 1,
            Use::IsBrief => BRIEF,
        }
    }
}

/// Counts the threads inside, by weight, and the forks.
pub(super) struct Gate {
    state: AtomicUsize,
    /// Finds out whether a child can use what the gate protects.
    trial: fn() -> Result<(), Failure>,
}

impl Gate {
    pub(super) const fn new(trial: fn() -> Result<(), Failure>) -> Gate {
        Gate {
            state: AtomicUsize::new(0),
            trial,
        }
    }

    /// Each success must be paired with one [`leave`](Gate::leave).
    #[inline]
    pub(super) fn enter(&self, by: Use) -> Result<(), Failure> {
        match self.state.fetch_add(by.weight(), Ordering::Acquire) & !INSIDE {
            0 => Ok(()),
            _ => self.enter_with_care(by),
        }
    }

    #[cold]
    fn enter_with_care(&self, by: Use) -> Result<(), Failure> {
        let mut is_tried = false;
        loop {
            let state = self.state.load(Ordering::Acquire);
            // The thread that ends the process may still make calls before the library is
            // destroyed.
            if state & CLOSED != 0 && LAST_THREAD.load(Ordering::Relaxed) != this_thread() {
                self.leave(by);
                return Err(Failure::KEPT_OUT);
            }
            let is_held = is_held(state) && !is_forking();
            if !is_held && (is_tried || state & UNTRIED == 0) {
                return Ok(());
            }
            self.leave(by);
            if is_held {
                self.wait_for_forks();
            } else {
                (self.trial)()?;
                is_tried = true;
            }
            self.state.fetch_add(by.weight(), Ordering::Acquire);
        }
    }

    #[inline]
    pub(super) fn leave(&self, by: Use) {
        self.state.fetch_sub(by.weight(), Ordering::Release);
    }

    /// Keeps threads out until [`release`](Gate::release).
    pub(super) fn hold(&self) {
        while self
            .change(|state| (state & FORKS != FORKS).then_some(state + FORK))
            .is_err()
        {
            thread::sleep(STEP);
        }
    }

    pub(super) fn release(&self) {
        let _ = self.change(|state| match state & FORKS {
            0 => None,
            FORK => Some((state - FORK) & !OVERDUE),
            _ => Some(state - FORK),
        });
    }

    fn change(&self, change: impl Fn(usize) -> Option<usize>) -> Result<usize, usize> {
        self.state
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, change)
    }

    /// Waits for forks, for a limited time: a handler of the program that runs between ours and the
    /// fork may be waiting for this thread.
    fn wait_for_forks(&self) {
        let begun = Instant::now();
        while is_held(self.state.load(Ordering::Acquire)) {
            if begun.elapsed() >= PATIENCE {
                let _ = self.change(|state| (state & FORKS != 0).then_some(state | OVERDUE));
            }
            thread::sleep(STEP);
        }
    }

    /// Waits for the threads inside, at most `may_wait` for calls that may wait and `brief` for
    /// brief ones. Returns whether all but `own` have left. (Threads that arrive now and are not
    /// let in are counted for a moment, so the count must not be checked later.)
    pub(super) fn wait(&self, own: usize, may_wait: Duration, brief: Duration) -> bool {
        let begun = Instant::now();
        loop {
            let inside = self.inside().saturating_sub(own);
            let limit = if inside >= BRIEF { brief } else { may_wait };
            if inside == 0 || begun.elapsed() >= limit {
                return inside == 0;
            }
            thread::sleep(STEP);
        }
    }

    /// Whether no thread is inside.
    #[cfg(feature = "library")]
    pub(super) fn is_empty(&self) -> bool {
        self.inside() == 0
    }

    fn inside(&self) -> usize {
        self.state.load(Ordering::Acquire) & INSIDE
    }

    /// In a child: resets the count to `own`, without forks. Returns whether no other thread was
    /// let in since the fork's [`hold`](Gate::hold).
    pub(super) fn begin_anew(&self, own: usize) -> bool {
        let state = self.state.load(Ordering::Acquire);
        self.state
            .store(state & (CLOSED | UNTRIED) | own, Ordering::Release);
        state & OVERDUE == 0 || state & INSIDE == own
    }

    /// In a child: requires the first thread to find out whether what the gate protects can be
    /// used.
    #[cfg(feature = "library")]
    pub(super) fn must_be_tried(&self) {
        self.state.fetch_or(UNTRIED, Ordering::Relaxed);
    }

    /// Runs the trial, which returns whether what the gate protects can be used.
    #[cfg(feature = "library")]
    pub(super) fn try_it(&self, works: impl FnOnce() -> bool) {
        let weight = Use::LooksUp.weight();
        let before = self.state.fetch_add(weight, Ordering::Acquire);
        if before & CLOSED == 0 && works() {
            self.state.fetch_and(!UNTRIED, Ordering::Relaxed);
        }
        self.leave(Use::LooksUp);
    }

    /// Closes the gate at the end of the process, except for this thread. Returns whether it was
    /// open.
    #[cfg(feature = "library")]
    pub(super) fn close_but_for_this_thread(&self) -> bool {
        LAST_THREAD.store(this_thread(), Ordering::Relaxed);
        self.close()
    }

    /// Closes the gate. Returns whether it was open.
    pub(super) fn close(&self) -> bool {
        self.state.fetch_or(CLOSED, Ordering::AcqRel) & CLOSED == 0
    }
}

fn is_held(state: usize) -> bool {
    state & FORKS != 0 && state & OVERDUE == 0
}

/// The thread that ends the process; zero while none does.
static LAST_THREAD: AtomicUsize = AtomicUsize::new(0);

/// A number that identifies this thread. Works at any time, even while a thread ends.
fn this_thread() -> usize {
    thread_local! {
        static HERE: u8 = const { 0 };
    }
    HERE.with(|here| ptr::from_ref(here).addr())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_inside_are_counted_and_none_enters_a_closed_gate() {
        let gate = Gate::new(|| Ok(()));
        gate.enter(Use::LooksUp).unwrap();
        assert_eq!(gate.inside(), 1);
        gate.enter(Use::IsBrief).unwrap();
        assert!(gate.close());
        assert!(!gate.close(), "the gate was already closed");
        assert_eq!(gate.inside(), 1 + BRIEF);
        gate.leave(Use::IsBrief);
        assert!(!gate.wait(0, Duration::ZERO, PATIENCE));
        assert!(gate.wait(1, Duration::ZERO, PATIENCE));
        gate.leave(Use::LooksUp);
        assert!(gate.wait(0, Duration::ZERO, PATIENCE));
        for by in [Use::LooksUp, Use::IsBrief] {
            assert_eq!(gate.enter(by), Err(Failure::KEPT_OUT));
        }
        assert_eq!(gate.inside(), 0, "refused threads are not counted");
    }

    /// Starts a thread that enters, and waits until it has reached the gate.
    fn enter_on_thread<'scope>(
        gate: &'scope Gate,
        scope: &'scope thread::Scope<'scope, '_>,
    ) -> thread::ScopedJoinHandle<'scope, Result<(), Failure>> {
        let (arrived, has_arrived) = std::sync::mpsc::channel();
        let late = scope.spawn(move || {
            arrived.send(()).unwrap();
            gate.enter(Use::IsBrief)
        });
        has_arrived.recv().unwrap();
        late
    }

    #[test]
    fn threads_that_arrive_during_forks_wait_for_the_last_one() {
        let gate = Gate::new(|| Ok(()));
        gate.hold();
        gate.hold();
        thread::scope(|scope| {
            let late = enter_on_thread(&gate, scope);
            gate.release();
            assert!(!late.is_finished());
            gate.release();
            late.join().unwrap().unwrap();
        });
        assert_eq!(gate.inside(), BRIEF);
        gate.release();
        assert_eq!(
            gate.state.load(Ordering::Relaxed),
            BRIEF,
            "without a fork, `release` changes nothing"
        );
        gate.hold();
        assert!(gate.begin_anew(0), "no thread was let in");
        assert_eq!(gate.state.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn no_thread_waits_forever_for_a_fork() {
        let gate = Gate::new(|| Ok(()));
        gate.hold();
        thread::scope(|scope| enter_on_thread(&gate, scope).join().unwrap().unwrap());
        let begun = Instant::now();
        gate.enter(Use::LooksUp).unwrap();
        assert!(begun.elapsed() < PATIENCE, "only the first thread waits");
        let child = Gate::new(|| Ok(()));
        child
            .state
            .store(gate.state.load(Ordering::Relaxed), Ordering::Relaxed);
        assert!(
            !child.begin_anew(0),
            "threads were inside that the child lacks"
        );
        gate.leave(Use::LooksUp);
        gate.leave(Use::IsBrief);
        gate.release();
        assert_eq!(gate.state.load(Ordering::Relaxed), 0);
    }

    /// Even if a trial has succeeded before the refusal is returned.
    #[cfg(feature = "library")]
    #[test]
    fn a_failed_trial_refuses_the_thread() {
        let gate = Gate::new(|| Err(Failure::KEPT_OUT));
        gate.must_be_tried();
        let refused = gate.enter(Use::LooksUp);
        gate.try_it(|| true);
        assert_eq!(refused, Err(Failure::KEPT_OUT));
        assert_eq!(gate.enter(Use::LooksUp), Ok(()));
    }

    #[test]
    fn many_forks_can_be_pending_at_the_same_time() {
        let gate = Gate::new(|| Ok(()));
        thread::scope(|scope| {
            for _ in 0..100 {
                scope.spawn(|| {
                    gate.hold();
                    thread::yield_now();
                    gate.release();
                });
            }
        });
        assert_eq!(gate.state.load(Ordering::Relaxed), 0);
    }
}
