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

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pcsc::ffi::LONG;

use crate::codes::Platform;
use crate::service::Failure;
use crate::service::gate::{Gate, PATIENCE, STEP, Use};

/// How long the end of the process waits for calls that may wait. Looking up takes less than a
/// microsecond; this is for a thread that is not running just then. Those that wait in a call,
/// for a card or an event, look the same, so that a process in which one does ends this much
/// later.
const AT_THE_END: Duration = Duration::from_millis(20);
/// As [`AT_THE_END`], and nothing breaks if it is too short.
const AT_A_FORK: Duration = Duration::from_millis(2);
/// The same at a fork, which keeps all others waiting, too: for a connection, say, whose end waits
/// for the driver.
const PATIENCE_AT_A_FORK: Duration = Duration::from_millis(250);

static LIBRARY: Gate = Gate::new(try_library);

/// Makes a call in the library, which does not unwind. While the process ends it is not made:
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

/// The process ends: lets nobody in any more but this thread, and waits a moment for those who
/// are in.
pub(in crate::service) fn close_for_good() {
    if LIBRARY.close_but_for_this_thread() {
        LIBRARY.wait(0, AT_THE_END, PATIENCE);
    }
}

/// Lets nobody in while the process forks. Says whether nobody is inside.
pub(in crate::service) fn hold() -> bool {
    LIBRARY.hold();
    LIBRARY.wait(0, AT_A_FORK, PATIENCE_AT_A_FORK)
}

pub(in crate::service) fn release() {
    LIBRARY.release();
}

/// In a child: of those who were inside, none is here.
pub(in crate::service) fn begin_anew(was_empty: bool) {
    IS_BEING_TRIED.store(false, Ordering::Relaxed);
    if !(LIBRARY.begin_anew(0) && was_empty) {
        LIBRARY.must_be_tried();
    }
}

/// In a child that cannot go on.
pub(in crate::service) fn give_up() {
    LIBRARY.close();
}

static IS_BEING_TRIED: AtomicBool = AtomicBool::new(false);

/// Has a thread take the library's locks. If it does not come back, a thread of the parent held
/// one of them, or the service hangs, and this one is refused instead of joining it.
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
