//! Handlers that run on the forking thread, so that no other thread holds a lock of this library or
//! of pcsc-lite's when the child is made.
//!
//! Two gates are held: first that of pcsc-lite's library, if it is used, then that of the locks.
//!
//! - Threads in pcsc-lite's library take no lock of ours there, and threads that hold a lock of
//!   ours make no call. So both leave whatever the state of the other gate, and their order does
//!   not matter for that. The locks are last because every thread needs them, and they are free
//!   within microseconds.
//! - Threads waiting at a gate are not inside, so no fork waits for them, nor do forks wait for
//!   each other.
//! - Other handlers of the program may run between ours and the fork, and wait for a lock of the
//!   program whose owner waits at a gate. The owner is let in after a second, and the count tells
//!   the child whether a thread was inside.
//!
//! The handlers are registered without a lock, because a fork can happen meanwhile; so they may be
//! registered, and run, more than once. Then only the first and the last run count.
#![cfg_attr(not(unix), allow(dead_code))]

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(feature = "library")]
use super::library::gate;
use super::locks;

/// The fork that this thread is about to make.
#[derive(Clone, Copy)]
struct Forking {
    /// How many handlers have run.
    handlers: u32,
    #[cfg(feature = "library")]
    library_is_empty: bool,
    locks_are_free: bool,
}

/// Set in a child in which no call can be made.
static IS_OF_NO_USE: AtomicBool = AtomicBool::new(false);

/// Whether this process is a child in which no call can be made. (The gate of the library keeps them
/// out there.)
#[cfg_attr(
    not(all(feature = "socket", unix, not(target_vendor = "apple"))),
    allow(dead_code)
)]
pub(super) fn is_of_no_use() -> bool {
    IS_OF_NO_USE.load(Ordering::Relaxed)
}

thread_local! {
    static FORKING: Cell<Forking> = const {
        Cell::new(Forking {
            handlers: 0,
            #[cfg(feature = "library")]
            library_is_empty: false,
            locks_are_free: false,
        })
    };
}

pub(super) fn is_forking() -> bool {
    FORKING.get().handlers > 0
}

pub(super) fn before() {
    let mut fork = FORKING.get();
    fork.handlers += 1;
    if fork.handlers == 1 {
        #[cfg(feature = "library")]
        {
            fork.library_is_empty = gate::hold();
        }
        fork.locks_are_free = locks::hold();
    }
    FORKING.set(fork);
}

/// The fork, if this is its last handler.
fn end() -> Option<Forking> {
    let mut fork = FORKING.get();
    fork.handlers = fork.handlers.checked_sub(1)?;
    FORKING.set(fork);
    (fork.handlers == 0).then_some(fork)
}

pub(super) fn after_in_parent() {
    if end().is_some() {
        locks::release();
        #[cfg(feature = "library")]
        gate::release();
    }
}

pub(super) fn after_in_child() {
    let Some(fork) = end() else {
        return;
    };
    #[cfg(feature = "library")]
    gate::begin_anew(fork.library_is_empty);
    if !(locks::begin_anew() && fork.locks_are_free) {
        // It is not known which lock was held. Refuse calls rather than use what it guards.
        IS_OF_NO_USE.store(true, Ordering::Relaxed);
        #[cfg(feature = "library")]
        gate::give_up();
    }
}
