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
//! - A forked child has a copy of the library's lock, and nobody to unlock it if another thread
//!   had it: while contexts come and go, and for a moment in every call. (A call that waits for
//!   another one on the same context has it, too, and so there are none: a context is used by
//!   one thread at a time.) So a fork lets nobody in, and waits for those who may have it.
//!
//! On other platforms everybody may be in at any time.
#![cfg_attr(not(unix), allow(dead_code))]

use std::cell::RefCell;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use pcsc::ffi::LONG;

use crate::ReturnCode;
use crate::platform::Platform;

/// Looking up takes less than a microsecond; this is for a thread that is not running just
/// then. Those that wait in a call, for a card or an event, look the same, so that a process
/// in which one does ends this much later.
const LOOKING_UP: Duration = Duration::from_millis(20);
/// The calls that change the lists return at once while the service runs; this is for one that
/// hangs, and a busy machine.
const CHANGING: Duration = Duration::from_secs(1);
/// As [`LOOKING_UP`], and nothing breaks if it is too short for once.
const AT_A_FORK: Duration = Duration::from_millis(2);
const STEP: Duration = Duration::from_micros(100);

/// What a call does with the library's list of contexts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Looks a handle up at its beginning. Then it may wait for a long time, and where that is
    /// for another program, look it up again from time to time.
    LooksUp,
    /// Adds or removes an entry, at any time.
    Changes,
}

/// Set when the gate is closed, for good.
const CLOSED: usize = 1 << (usize::BITS - 1);
/// Set while nobody is let in.
const HELD: usize = 1 << (usize::BITS - 2);
/// What a call that changes counts; one that looks up counts 1.
const CHANGES: usize = 1 << (usize::BITS / 2);

impl Use {
    const fn weight(self) -> usize {
        match self {
            Use::LooksUp => 1,
            Use::Changes => CHANGES,
        }
    }
}

/// The calls that are in the library, by weight, [`CLOSED`] and [`HELD`].
static GATE: Gate = Gate(AtomicUsize::new(0));

struct Gate(AtomicUsize);

impl Gate {
    /// Whoever is let in has to [leave](Gate::leave).
    #[inline]
    fn enter(&self, by: Use) -> Result<(), ReturnCode> {
        let before = self.0.fetch_add(by.weight(), Ordering::Acquire);
        match before & (CLOSED | HELD) {
            0 => Ok(()),
            _ => self.enter_with_care(by),
        }
    }

    #[cold]
    fn enter_with_care(&self, by: Use) -> Result<(), ReturnCode> {
        loop {
            let state = self.0.load(Ordering::Acquire);
            // The thread that ends the process may have more to do before the library goes.
            if state & CLOSED != 0 && LAST_THREAD.load(Ordering::Relaxed) != this_thread() {
                self.leave(by);
                return Err(ReturnCode::E_SYSTEM_CANCELLED);
            }
            if state & HELD == 0 {
                return Ok(());
            }
            // Another thread forks.
            self.leave(by);
            while self.0.load(Ordering::Acquire) & HELD != 0 {
                thread::sleep(STEP);
            }
            self.0.fetch_add(by.weight(), Ordering::Acquire);
        }
    }

    #[inline]
    fn leave(&self, by: Use) {
        self.0.fetch_sub(by.weight(), Ordering::Release);
    }

    fn close(&self) {
        self.0.fetch_or(CLOSED, Ordering::AcqRel);
    }

    fn hold(&self) {
        self.0.fetch_or(HELD, Ordering::AcqRel);
    }

    fn release(&self) {
        self.0.fetch_and(!HELD, Ordering::AcqRel);
    }

    /// Forgets those who are inside, and lets others in.
    fn empty(&self) {
        self.0.fetch_and(CLOSED, Ordering::AcqRel);
    }

    fn is_anybody_inside(&self) -> bool {
        self.0.load(Ordering::Acquire) & !(CLOSED | HELD) != 0
    }

    fn is_anything_changing(&self) -> bool {
        self.0.load(Ordering::Acquire) & !(CLOSED | HELD) >= CHANGES
    }

    /// Waits for those who are inside, but for those who may be so for long. Says whether
    /// nobody changes anything any more. (Of those who come now and are not let in, the count
    /// knows for a moment: what it says later is not to be asked.)
    fn wait(&self, looking_up: Duration) -> bool {
        let begun = Instant::now();
        while self.is_anybody_inside() {
            let changing = self.is_anything_changing();
            let limit = if changing { CHANGING } else { looking_up };
            if begun.elapsed() >= limit {
                return !changing;
            }
            thread::sleep(STEP);
        }
        true
    }
}

/// Makes a call in the library, which does not unwind. While the process ends it is not made,
/// and answered with the code for that.
#[inline]
pub(super) fn pass(by: Use, call: impl FnOnce() -> LONG) -> Result<LONG, ReturnCode> {
    if Platform::CURRENT != Platform::PcscLite {
        return Ok(call());
    }
    GATE.enter(by)?;
    let returned = call();
    GATE.leave(by);
    Ok(returned)
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
    GATE.close();
    GATE.wait(LOOKING_UP);
}

/// One fork at a time.
static FORKING: Mutex<()> = Mutex::new(());

/// A fork that the thread is about to make.
struct Fork {
    /// Unlocked by this thread in the parent, and by its copy in the child.
    _one_at_a_time: MutexGuard<'static, ()>,
    /// Whether the library can be used in the child.
    is_clean: bool,
}

thread_local! {
    static FORK: RefCell<Option<Fork>> = const { RefCell::new(None) };
}

/// The process is about to fork.
pub(super) fn before_fork() {
    let one_at_a_time = FORKING.lock().unwrap_or_else(PoisonError::into_inner);
    GATE.hold();
    let fork = Fork {
        _one_at_a_time: one_at_a_time,
        is_clean: GATE.wait(AT_A_FORK),
    };
    // Without room for it, it is unlocked here.
    let _ = FORK.try_with(|place| place.borrow_mut().replace(fork));
}

fn take_fork() -> Option<Fork> {
    let taken = FORK.try_with(|place| place.borrow_mut().take());
    taken.ok().flatten()
}

pub(super) fn after_fork_in_parent() {
    GATE.release();
    drop(take_fork());
}

/// Of those who were inside, none is here.
pub(super) fn after_fork_in_child() {
    let fork = take_fork();
    if !fork.is_some_and(|fork| fork.is_clean) {
        // Somebody has the lock of the library, and ours, and will never unlock them here.
        GATE.close();
    }
    GATE.empty();
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn who_is_inside_is_known_and_nobody_comes_after_the_end() {
        let gate = Gate(AtomicUsize::new(0));
        gate.enter(Use::LooksUp).unwrap();
        assert!(gate.is_anybody_inside() && !gate.is_anything_changing());
        gate.enter(Use::Changes).unwrap();
        gate.close();
        assert!(gate.is_anything_changing());
        gate.leave(Use::Changes);
        assert!(gate.is_anybody_inside() && !gate.is_anything_changing());
        gate.leave(Use::LooksUp);
        assert!(!gate.is_anybody_inside());
        for by in [Use::LooksUp, Use::Changes] {
            assert_eq!(gate.enter(by), Err(ReturnCode::E_SYSTEM_CANCELLED));
        }
        assert!(!gate.is_anybody_inside(), "who is refused does not count");
    }

    #[test]
    fn who_comes_during_a_fork_waits() {
        let gate = Gate(AtomicUsize::new(0));
        let arrived = AtomicBool::new(false);
        gate.hold();
        thread::scope(|scope| {
            let late = scope.spawn(|| {
                arrived.store(true, Ordering::Relaxed);
                gate.enter(Use::Changes)
            });
            while !arrived.load(Ordering::Relaxed) {
                thread::yield_now();
            }
            // Time to come in, if it were let in: that it waits cannot be seen.
            thread::sleep(STEP * 20);
            assert!(!late.is_finished());
            gate.release();
            late.join().unwrap().unwrap();
        });
        assert!(gate.is_anything_changing());
        gate.hold();
        gate.empty();
        assert!(!gate.is_anybody_inside());
        gate.enter(Use::LooksUp).unwrap();
    }
}
