//! Who may be in pcsc-lite's client library, and when: what it does not guard itself.
//!
//! Seen in 1.9.9, 2.3.3 and 2.5.1, in `winscard_clnt.c`:
//!
//! - `SCardDisconnect` looks for the handle that it has ended in the lists of *all* contexts of
//!   the process, without the lock that guards them (`SCardRemoveHandle`; 2.4 has it). Where
//!   another thread frees its context at this moment, the process crashes; the soak test saw it.
//!   So it is never called: the handle ends with its context.
//! - When the process ends, the library destroys the list of contexts in which every call looks
//!   its handle up, and does not ask whether another thread is in a call (`destructor`). A
//!   worker that cleans up while `main` returns then crashes a process whose work was done. So
//!   the gate is closed before that, as C's `atexit` allows: calls that are looking up, or that
//!   change the list, are waited for a moment, and others are refused.
//! - A forked child has a copy of the library's locks, and nobody to unlock one that another
//!   thread held: while contexts come and go, while readers are listed (`readerStatesMutex` of
//!   2.x), and for a moment in every call. (A call that waits for another one on the same context
//!   holds one, too, and so there are none: a context is used by one thread at a time.) So a fork
//!   lets nobody in and waits for those who are inside. A call that waits for a card or an event
//!   stays inside for longer than a fork may take. It hardly ever holds a lock, but that cannot
//!   be seen from outside: a child of such a fork [tries them](try_library) first, on a thread
//!   that it can leave behind.
//!
//! On other platforms everybody may be in at any time.
#![cfg_attr(not(unix), allow(dead_code))]

use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pcsc::ffi::LONG;

use super::fork::is_forking;
use crate::codes::{Platform, ReturnCode};

/// How long the end of the process waits for calls that may wait. Looking up takes less than a
/// microsecond; this is for a thread that is not running just then. Those that wait in a call,
/// for a card or an event, look the same, so that a process in which one does ends this much
/// later.
const AT_THE_END: Duration = Duration::from_millis(20);
/// As [`AT_THE_END`], and nothing breaks if it is too short.
const AT_A_FORK: Duration = Duration::from_millis(2);
/// What takes no time while the service runs, and no longer than a moment on a busy machine:
/// this is for a service that hangs.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// The same at a fork, which keeps all others waiting, too: for a connection, say, whose end waits
/// for the driver.
const PATIENCE_AT_A_FORK: Duration = Duration::from_millis(250);
const STEP: Duration = Duration::from_micros(100);

/// What a call does with the library's locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Takes one at its beginning, to look a handle up. Then it may wait for a long time, and
    /// where that is for another program, look it up again from time to time.
    LooksUp,
    /// Can hold one at any time, and returns at once while the service runs.
    IsBrief,
}

/// What those who are inside for a moment only count; those who may wait count 1.
const BRIEF: usize = 1 << (usize::BITS / 2 - 2);
/// What a fork counts that is about to be made. Meanwhile nobody is let in.
const FORK: usize = 1 << (usize::BITS - 8);
/// Some fork takes so long that nobody waits for it any more.
const OVERDUE: usize = 1 << (usize::BITS - 3);
/// Set in a child that has to [try](try_library) first.
const UNTRIED: usize = 1 << (usize::BITS - 2);
/// Set when the gate is closed, for good.
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

/// Counts those who are inside, by weight, and the forks.
pub(super) struct Gate(AtomicUsize);

impl Gate {
    pub(super) const fn new() -> Gate {
        Gate(AtomicUsize::new(0))
    }

    /// Each success is paired with one [`leave`](Gate::leave).
    #[inline]
    pub(super) fn enter(&self, by: Use) -> Result<(), ReturnCode> {
        match self.0.fetch_add(by.weight(), Ordering::Acquire) & !INSIDE {
            0 => Ok(()),
            _ => self.enter_with_care(by),
        }
    }

    #[cold]
    fn enter_with_care(&self, by: Use) -> Result<(), ReturnCode> {
        let mut is_tried = false;
        loop {
            let state = self.0.load(Ordering::Acquire);
            // The thread that ends the process may have more to do before the library goes.
            if state & CLOSED != 0 && LAST_THREAD.load(Ordering::Relaxed) != this_thread() {
                self.leave(by);
                return Err(ReturnCode::E_SYSTEM_CANCELLED);
            }
            let is_held = is_held(state) && !is_forking();
            if !is_held && (is_tried || state & UNTRIED == 0) {
                return Ok(());
            }
            self.leave(by);
            if is_held {
                self.wait_for_forks();
            } else {
                try_library()?;
                is_tried = true;
            }
            self.0.fetch_add(by.weight(), Ordering::Acquire);
        }
    }

    #[inline]
    pub(super) fn leave(&self, by: Use) {
        self.0.fetch_sub(by.weight(), Ordering::Release);
    }

    /// Has nobody let in until [`release`](Gate::release).
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
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, change)
    }

    /// A handler of the program that runs between ours and the fork can wait for this thread.
    fn wait_for_forks(&self) {
        let begun = Instant::now();
        while is_held(self.0.load(Ordering::Acquire)) {
            if begun.elapsed() >= PATIENCE {
                let _ = self.change(|state| (state & FORKS != 0).then_some(state | OVERDUE));
            }
            thread::sleep(STEP);
        }
    }

    /// Waits for those who are inside, but for those who may be so for long no longer than this.
    /// Says whether all but `own` have left. (Of those who come now and are not let in, the count
    /// knows for a moment: what it says later is not to be asked.)
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

    fn inside(&self) -> usize {
        self.0.load(Ordering::Acquire) & INSIDE
    }

    /// In a child: nobody is inside but what `own` counts, and there is no fork. Says whether
    /// nobody else was let in since the fork's [`hold`](Gate::hold).
    pub(super) fn begin_anew(&self, own: usize) -> bool {
        let state = self.0.load(Ordering::Acquire);
        self.0
            .store(state & (CLOSED | UNTRIED) | own, Ordering::Release);
        state & OVERDUE == 0 || state & INSIDE == own
    }

    /// Says whether it was open.
    fn close(&self) -> bool {
        self.0.fetch_or(CLOSED, Ordering::AcqRel) & CLOSED == 0
    }
}

fn is_held(state: usize) -> bool {
    state & FORKS != 0 && state & OVERDUE == 0
}

static LIBRARY: Gate = Gate::new();

/// Makes a call in the library, which does not unwind. While the process ends it is not made,
/// and answered with the code for that.
#[inline]
pub(super) fn pass(by: Use, call: impl FnOnce() -> LONG) -> Result<LONG, ReturnCode> {
    if Platform::CURRENT != Platform::PcscLite {
        return Ok(call());
    }
    LIBRARY.enter(by)?;
    let returned = call();
    LIBRARY.leave(by);
    Ok(returned)
}

/// Whether calls are refused: the process ends, or it is a child that has not seen yet whether it
/// can use the library. pcsc-lite itself never answers with the code of that.
pub(crate) fn keeps_out() -> bool {
    let state = LIBRARY.0.load(Ordering::Relaxed);
    Platform::CURRENT == Platform::PcscLite && state & (CLOSED | UNTRIED) != 0
}

/// The thread that ends the process; zero as long as none does.
static LAST_THREAD: AtomicUsize = AtomicUsize::new(0);

/// A number that no other thread has. Works at any time, also while a thread ends.
fn this_thread() -> usize {
    thread_local! {
        static HERE: u8 = const { 0 };
    }
    HERE.with(|here| ptr::from_ref(here).addr())
}

/// The process ends: lets nobody in any more but this thread, and waits a moment for those who
/// are in.
pub(super) fn close_for_good() {
    LAST_THREAD.store(this_thread(), Ordering::Relaxed);
    if LIBRARY.close() {
        LIBRARY.wait(0, AT_THE_END, PATIENCE);
    }
}

/// Lets nobody in while the process forks. Says whether nobody is inside.
pub(super) fn hold() -> bool {
    LIBRARY.hold();
    LIBRARY.wait(0, AT_A_FORK, PATIENCE_AT_A_FORK)
}

pub(super) fn release() {
    LIBRARY.release();
}

/// In a child: of those who were inside, none is here.
pub(super) fn begin_anew(was_empty: bool) {
    IS_BEING_TRIED.store(false, Ordering::Relaxed);
    if !(LIBRARY.begin_anew(0) && was_empty) {
        LIBRARY.0.fetch_or(UNTRIED, Ordering::Relaxed);
    }
}

/// In a child that cannot go on.
pub(super) fn give_up() {
    LIBRARY.close();
}

static IS_BEING_TRIED: AtomicBool = AtomicBool::new(false);

/// Has a thread take the library's locks. If it does not come back, a thread of the parent held
/// one of them, or the service hangs, and this one is refused instead of joining it.
fn try_library() -> Result<(), ReturnCode> {
    let begun = Instant::now();
    if !IS_BEING_TRIED.swap(true, Ordering::AcqRel) {
        let thread = thread::Builder::new().name("scard-trial".to_owned());
        let tried = thread.spawn(|| {
            let before = LIBRARY
                .0
                .fetch_add(Use::LooksUp.weight(), Ordering::Acquire);
            if before & CLOSED == 0 && super::take_locks_of_library() {
                LIBRARY.0.fetch_and(!UNTRIED, Ordering::Relaxed);
            }
            LIBRARY.leave(Use::LooksUp);
            IS_BEING_TRIED.store(false, Ordering::Release);
        });
        if tried.is_err() {
            IS_BEING_TRIED.store(false, Ordering::Release);
            return Err(ReturnCode::E_SYSTEM_CANCELLED);
        }
    }
    while IS_BEING_TRIED.load(Ordering::Acquire) {
        if begun.elapsed() >= PATIENCE {
            return Err(ReturnCode::E_SYSTEM_CANCELLED);
        }
        thread::sleep(STEP);
    }
    Ok(())
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn who_is_inside_is_known_and_nobody_comes_after_the_end() {
        let gate = Gate::new();
        gate.enter(Use::LooksUp).unwrap();
        assert_eq!(gate.inside(), 1);
        gate.enter(Use::IsBrief).unwrap();
        assert!(gate.close());
        assert!(!gate.close(), "it was closed before");
        assert_eq!(gate.inside(), 1 + BRIEF);
        gate.leave(Use::IsBrief);
        assert!(!gate.wait(0, Duration::ZERO, PATIENCE));
        assert!(gate.wait(1, Duration::ZERO, PATIENCE));
        gate.leave(Use::LooksUp);
        assert!(gate.wait(0, Duration::ZERO, PATIENCE));
        for by in [Use::LooksUp, Use::IsBrief] {
            assert_eq!(gate.enter(by), Err(ReturnCode::E_SYSTEM_CANCELLED));
        }
        assert_eq!(gate.inside(), 0, "who is refused does not count");
    }

    /// Starts a thread that enters, and waits until it is at the gate.
    fn comes_late<'scope>(
        gate: &'scope Gate,
        scope: &'scope thread::Scope<'scope, '_>,
    ) -> thread::ScopedJoinHandle<'scope, Result<(), ReturnCode>> {
        let (comes, came) = std::sync::mpsc::channel();
        let late = scope.spawn(move || {
            comes.send(()).unwrap();
            gate.enter(Use::IsBrief)
        });
        came.recv().unwrap();
        late
    }

    #[test]
    fn who_comes_during_a_fork_waits_for_the_last_one() {
        let gate = Gate::new();
        gate.hold();
        gate.hold();
        thread::scope(|scope| {
            let late = comes_late(&gate, scope);
            gate.release();
            assert!(!late.is_finished());
            gate.release();
            late.join().unwrap().unwrap();
        });
        assert_eq!(gate.inside(), BRIEF);
        gate.release();
        assert_eq!(gate.0.load(Ordering::Relaxed), BRIEF, "there was no fork");
        gate.hold();
        assert!(gate.begin_anew(0), "nobody was let in");
        assert_eq!(gate.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn nobody_waits_for_ever_for_a_fork() {
        let gate = Gate::new();
        gate.hold();
        thread::scope(|scope| comes_late(&gate, scope).join().unwrap().unwrap());
        let begun = Instant::now();
        gate.enter(Use::LooksUp).unwrap();
        assert!(begun.elapsed() < PATIENCE, "one of them has waited");
        let child = Gate(AtomicUsize::new(gate.0.load(Ordering::Relaxed)));
        assert!(!child.begin_anew(0), "the child misses them");
        gate.leave(Use::LooksUp);
        gate.leave(Use::IsBrief);
        gate.release();
        assert_eq!(gate.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn there_is_room_for_many_forks_at_a_time() {
        let gate = Gate::new();
        thread::scope(|scope| {
            for _ in 0..100 {
                scope.spawn(|| {
                    gate.hold();
                    thread::yield_now();
                    gate.release();
                });
            }
        });
        assert_eq!(gate.0.load(Ordering::Relaxed), 0);
    }
}
