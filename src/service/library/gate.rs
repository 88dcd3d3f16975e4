//! Guards pcsc-lite's client library where it does not guard itself.
//!
//! As seen in `winscard_clnt.c` of 1.9.9, 2.3.3 and 2.5.1:
//!
//! - `SCardDisconnect` looks for the handle that it has ended in the lists of *all* contexts of the
//!   process, without the lock that guards them (`SCardRemoveHandle`; 2.4 takes it). If another
//!   thread frees its context at this moment, the process crashes, as happened in the soak test. So
//!   it is never called: the handle ends with its context.
//! - When the process ends, the library destroys the list of contexts in which every call looks its
//!   handle up, even if another thread is in a call (`destructor`). A worker that cleans up while
//!   `main` returns would then crash a process that has done its work. So C's `atexit` is used to
//!   close the gate before that: calls that change the list are given a moment to finish, those
//!   that look up a handle [until they have done it](super::threads), and others are refused.
//! - A forked child has a copy of the library's locks, but no thread to unlock those that other
//!   threads held: while contexts are established or released, while readers are listed
//!   (`readerStatesMutex` of 2.x), and briefly in every call. (A call waiting for another one on
//!   the same context would hold one, too; this never happens, because a context is used by one
//!   thread at a time.) So a fork keeps threads out and waits for those inside. A call that waits
//!   for a card or an event stays inside for longer than a fork may take. It hardly ever holds a
//!   lock, but that cannot be seen from outside: a child of such a fork [tries the
//!   locks](try_library) first, on a thread that it can leave behind.
//!
//! On other platforms, any thread may be inside at any time.
#![cfg_attr(not(unix), allow(dead_code))]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pcsc::ffi::LONG;

use crate::codes::Platform;
use crate::service::Failure;
use crate::service::gate::{Gate, PATIENCE, STEP, Use};
use crate::service::library::threads::Threads;

/// How long the end of the process waits for calls that may wait, where it cannot be seen whether
/// they have looked their handle up, which takes less than a microsecond.
const AT_THE_END: Duration = Duration::from_millis(20);
/// How long a fork waits for them. Harmless if too short.
const AT_A_FORK: Duration = Duration::from_millis(2);
/// The limit for brief calls at a fork, which keeps all other threads waiting. For instance, the
/// end of a connection can wait for the driver.
const PATIENCE_AT_A_FORK: Duration = Duration::from_millis(250);

static LIBRARY: Gate = Gate::new(try_library);

/// Makes a call in the library, which does not unwind. While the process ends, the call is refused:
/// [`Failure::KEPT_OUT`].
#[inline]
pub(super) fn pass(by: Use, call: impl FnOnce() -> LONG) -> Result<LONG, Failure> {
    if Platform::CURRENT != Platform::PcscLite {
        return Ok(call());
    }
    LIBRARY.enter(by)?;
    let returned = call();
    LIBRARY.leave(by);
    Ok(returned)
}

/// At the end of the process: lets only this thread in from now on, and waits a moment for those
/// inside.
pub(in crate::service) fn close_for_good() {
    if LIBRARY.close_but_for_this_thread() && !LIBRARY.wait(0, Duration::ZERO, PATIENCE) {
        wait_for_lookups();
    }
}

/// Waits until the calls inside have looked their handles up.
fn wait_for_lookups() {
    let begun = Instant::now();
    let mut threads = Threads::observe();
    loop {
        thread::sleep(STEP);
        let limit = match threads.as_mut().and_then(Threads::observe_again) {
            Some(true) => return,
            Some(false) => PATIENCE,
            None => AT_THE_END,
        };
        if LIBRARY.is_empty() || begun.elapsed() >= limit {
            return;
        }
    }
}

/// Keeps threads out while the process forks. Returns whether none is inside.
pub(in crate::service) fn hold() -> bool {
    LIBRARY.hold();
    LIBRARY.wait(0, AT_A_FORK, PATIENCE_AT_A_FORK)
}

pub(in crate::service) fn release() {
    LIBRARY.release();
}

/// In a child, where the threads that were inside do not exist.
pub(in crate::service) fn begin_anew(was_empty: bool) {
    IS_BEING_TRIED.store(false, Ordering::Relaxed);
    if !(LIBRARY.begin_anew(0) && was_empty) {
        LIBRARY.must_be_tried();
    }
}

/// In a child in which no call can be made.
pub(in crate::service) fn give_up() {
    LIBRARY.close();
}

static IS_BEING_TRIED: AtomicBool = AtomicBool::new(false);

/// Makes a thread take the library's locks. If it does not return, a thread of the parent held one
/// of them, or the service hangs; then this thread is refused instead of joining it.
fn try_library() -> Result<(), Failure> {
    let begun = Instant::now();
    if !IS_BEING_TRIED.swap(true, Ordering::AcqRel) {
        let thread = thread::Builder::new().name("scard-trial".to_owned());
        let tried = thread.spawn(|| {
            LIBRARY.try_it(super::take_locks_of_library);
            IS_BEING_TRIED.store(false, Ordering::Release);
        });
        if tried.is_err() {
            IS_BEING_TRIED.store(false, Ordering::Release);
            return Err(Failure::KEPT_OUT);
        }
    }
    while IS_BEING_TRIED.load(Ordering::Acquire) {
        if begun.elapsed() >= PATIENCE {
            return Err(Failure::KEPT_OUT);
        }
        thread::sleep(STEP);
    }
    Ok(())
}
