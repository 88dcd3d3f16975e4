//! Who may be in pcsc-lite's client library, and when: what it does not guard itself.
//!
//! Seen in 1.9.9, 2.3.3 and 2.5.1, in `winscard_clnt.c`:
//!
//! - `SCardDisconnect` looks for the handle that it has ended in the lists of *all* contexts of
//!   the process, without the lock that guards them (`SCardRemoveHandle`). Where another thread
//!   frees its context at this moment, the process crashes; the soak test saw it. So contexts
//!   do not come and go meanwhile: [`keep_lists`].
//! - When the process ends, the library destroys the list of contexts in which every call looks
//!   its handle up, and does not ask whether another thread is in a call (`destructor`). A
//!   worker that cleans up while `main` returns then crashes a process whose work was done. So
//!   the gate is closed before that, as C's `atexit` allows: calls that are looking up, or that
//!   change the lists, are waited for a moment, and others are refused.
//! - A forked child has a copy of the library's lock, and nobody to unlock it if another thread
//!   had it. It has it for long only while contexts come and go, so a fork waits for that.
//!
//! On other platforms everybody may be in at any time.

use std::cell::RefCell;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use pcsc::ffi::LONG;

use crate::ReturnCode;
use crate::platform::Platform;

/// Looking up takes less than a microsecond; this is for a thread that is not running just
/// then. Those that wait in a call, for a card or an event, look the same, so that a process
/// in which one does ends this much later.
const LOOKING_UP: Duration = Duration::from_millis(5);
/// The calls that change the lists return at once while the service runs.
const CHANGING: Duration = Duration::from_millis(200);
const STEP: Duration = Duration::from_micros(100);

static LISTS: Mutex<()> = Mutex::new(());

/// Keeps contexts from coming and going while a handle goes.
///
/// The calls that do so return at once while the service runs. A disconnect that resets the
/// card can wait for other programs, and so would everybody; it is left out.
pub(super) fn keep_lists() -> Option<MutexGuard<'static, ()>> {
    (Platform::CURRENT == Platform::PcscLite)
        .then(|| LISTS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// What a call does with the lists of the client library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Looks a handle up at its beginning; then it may wait for a long time.
    LooksUp,
    /// Adds or removes an entry, at any time.
    Changes,
}

/// Set when the gate is closed.
const CLOSED: usize = 1 << (usize::BITS - 1);
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

/// The calls that are in the library, by weight, and [`CLOSED`].
static GATE: Gate = Gate(AtomicUsize::new(0));

struct Gate(AtomicUsize);

impl Gate {
    /// Whoever is let in has to [leave](Gate::leave).
    #[inline]
    fn enter(&self, by: Use) -> Result<(), ReturnCode> {
        let before = self.0.fetch_add(by.weight(), Ordering::Acquire);
        match before & CLOSED {
            0 => Ok(()),
            _ => self.enter_at_the_end(by),
        }
    }

    /// The thread that ends the process may have more to do before the library goes.
    #[cold]
    fn enter_at_the_end(&self, by: Use) -> Result<(), ReturnCode> {
        if LAST_THREAD.load(Ordering::Relaxed) == this_thread() {
            return Ok(());
        }
        self.leave(by);
        Err(ReturnCode::E_SYSTEM_CANCELLED)
    }

    #[inline]
    fn leave(&self, by: Use) {
        self.0.fetch_sub(by.weight(), Ordering::Release);
    }

    fn close(&self) {
        self.0.fetch_or(CLOSED, Ordering::AcqRel);
    }

    fn empty(&self) {
        self.0.fetch_and(CLOSED, Ordering::AcqRel);
    }

    fn is_anybody_inside(&self) -> bool {
        self.0.load(Ordering::Acquire) & !CLOSED != 0
    }

    fn is_anything_changing(&self) -> bool {
        self.0.load(Ordering::Acquire) & !CLOSED >= CHANGES
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
    let begun = Instant::now();
    while GATE.is_anybody_inside() {
        let limit = if GATE.is_anything_changing() {
            CHANGING
        } else {
            LOOKING_UP
        };
        if begun.elapsed() >= limit {
            break;
        }
        thread::sleep(STEP);
    }
}

thread_local! {
    /// What the thread that forks has locked, in the parent and in the child.
    static KEPT: RefCell<Option<MutexGuard<'static, ()>>> = const { RefCell::new(None) };
}

/// The process is about to fork: waits, for a moment, until nobody changes the lists.
pub(super) fn before_fork() {
    let begun = Instant::now();
    let kept = loop {
        match LISTS.try_lock() {
            Ok(kept) => break kept,
            Err(TryLockError::Poisoned(kept)) => break kept.into_inner(),
            Err(TryLockError::WouldBlock) if begun.elapsed() >= CHANGING => return,
            Err(TryLockError::WouldBlock) => thread::sleep(STEP),
        }
    };
    // Without room for it, it is unlocked here.
    let _ = KEPT.try_with(|place| place.borrow_mut().replace(kept));
}

pub(super) fn after_fork_in_parent() {
    let _ = KEPT.try_with(|place| place.borrow_mut().take());
}

/// Of those who were inside, none is here.
pub(super) fn after_fork_in_child() {
    let kept = KEPT.try_with(|place| place.borrow_mut().take());
    GATE.empty();
    if !matches!(kept, Ok(Some(_))) {
        // Somebody had the lock of the library, and will never unlock it here.
        GATE.close();
    }
}

#[cfg(test)]
mod tests {
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
}
