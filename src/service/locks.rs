//! Counts the threads that hold a lock of this library, so that a fork can wait until none does.
#![cfg_attr(not(unix), allow(dead_code))]

use std::cell::Cell;
use std::marker::PhantomData;
use std::time::Duration;

use super::gate::{Gate, PATIENCE, Use};
use super::process;

static LOCKS: Gate = Gate::new(|| Ok(()));

thread_local! {
    /// How many locks this thread holds. Works at any time, even while a thread ends.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// While this exists, its thread holds a lock, or is about to.
pub(crate) struct Inside {
    /// Bound to its thread.
    _here: PhantomData<*const ()>,
}

impl Inside {
    /// Waits while another thread forks, unless this thread already holds a lock: the fork waits
    /// for this thread.
    #[inline]
    pub(crate) fn enter() -> Inside {
        let depth = DEPTH.get();
        if depth == 0 {
            process::watch();
            // This gate is never closed.
            let _ = LOCKS.enter(Use::IsBrief);
        }
        DEPTH.set(depth + 1);
        Inside { _here: PhantomData }
    }
}

impl Drop for Inside {
    #[inline]
    fn drop(&mut self) {
        let depth = DEPTH.get() - 1;
        DEPTH.set(depth);
        if depth == 0 {
            LOCKS.leave(Use::IsBrief);
        }
    }
}

/// The weight of this thread, which a child keeps.
fn own() -> usize {
    match DEPTH.get() {
        0 => 0,
        _ => Use::IsBrief.weight(),
    }
}

/// Keeps threads out while the process forks. Returns whether no other thread is inside.
pub(super) fn hold() -> bool {
    LOCKS.hold();
    LOCKS.wait(own(), Duration::ZERO, PATIENCE)
}

pub(super) fn release() {
    LOCKS.release();
}

/// In a child, where the other threads do not exist. Returns whether none of them was let in after
/// [`hold`].
pub(super) fn begin_anew() -> bool {
    LOCKS.begin_anew(own())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn a_fork_lets_in_only_threads_that_are_already_inside() {
        let inside = Inside::enter();
        assert!(hold(), "the forking thread does not wait for itself");
        drop(Inside::enter());
        let (arrived, has_arrived) = mpsc::channel();
        let late = thread::spawn(move || {
            arrived.send(()).unwrap();
            drop(Inside::enter());
        });
        has_arrived.recv().unwrap();
        assert!(!late.is_finished());
        release();
        late.join().unwrap();
        assert_ne!(own(), 0);
        drop(inside);
        assert_eq!(own(), 0);
    }
}
