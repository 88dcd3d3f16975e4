//! Stops a thread that makes a call of the library at one of its allocations, even while it holds a
//! lock that is not the library's, such as those of the standard library's channels.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::thread;

/// The number of the thread to be stopped: the library's first one that allocates after the last
/// [`arm`] and did not before, or the one that is shared by all futures. 0 if there is none.
static ARMED: AtomicUsize = AtomicUsize::new(0);
/// How many allocations it makes before it is stopped.
static LEFT: AtomicUsize = AtomicUsize::new(0);
static IS_STOPPED: AtomicBool = AtomicBool::new(false);
static THREAD: AtomicI32 = AtomicI32::new(0);

thread_local! {
    static NUMBER: Cell<usize> = const { Cell::new(0) };
}

struct Stopping;

// SAFETY: the system's allocator does what is asked of one, and is always asked.
unsafe impl GlobalAlloc for Stopping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let armed = ARMED.load(Ordering::SeqCst);
        if armed != 0 && has_name(b"scard\0") {
            stop(armed);
        } else if armed != 0 && has_name(b"scard futures\0") {
            NUMBER.set(0);
            stop(armed);
        }
        // SAFETY: what the caller says of its argument.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: what the caller says of its arguments; the block is from the same allocator.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Stopping = Stopping;

fn has_name(asked: &[u8]) -> bool {
    let mut name = [0_u8; 16];
    // SAFETY: a name has at most 16 bytes, with its NUL.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    name.starts_with(asked)
}

fn stop(armed: usize) {
    if NUMBER.get() == 0 {
        NUMBER.set(armed);
        // SAFETY: a system call without effects.
        THREAD.store(unsafe { libc::gettid() }, Ordering::SeqCst);
    }
    if NUMBER.get() != armed || LEFT.fetch_sub(1, Ordering::SeqCst) != 1 {
        return;
    }
    IS_STOPPED.store(true, Ordering::SeqCst);
    while IS_STOPPED.load(Ordering::SeqCst) {
        thread::yield_now();
    }
}

/// Makes the next thread that makes calls stop at this allocation, counted from 1.
pub(crate) fn arm(allocation: usize) {
    LEFT.store(allocation, Ordering::SeqCst);
    ARMED.fetch_add(1, Ordering::SeqCst);
}

pub(crate) fn is_stopped() -> bool {
    IS_STOPPED.load(Ordering::SeqCst)
}

/// Whether it waits for something.
pub(crate) fn is_asleep() -> bool {
    let stat = format!("/proc/self/task/{}/stat", THREAD.load(Ordering::SeqCst));
    // After the name, in parentheses.
    std::fs::read_to_string(stat).is_ok_and(|stat| stat.contains(") S "))
}

/// Lets it continue, without being stopped again.
pub(crate) fn release() {
    LEFT.store(usize::MAX, Ordering::SeqCst);
    IS_STOPPED.store(false, Ordering::SeqCst);
}
