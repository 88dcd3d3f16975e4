//! Who is inside of a lock of this library, so that a fork can wait until nobody is.
#![cfg_attr(not(unix), allow(dead_code))]

use std::cell::Cell;
use std::marker::PhantomData;
use std::time::Duration;

use super::gate::{Gate, PATIENCE, Use};
use super::process;

static LOCKS: Gate = Gate::new(|| Ok(()));

thread_local! {
    /// How many locks this thread is inside of. Works at any time, also while a thread ends.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// For as long as there is one, its thread is inside of a lock, or about to be.
pub(crate) struct Inside {
    /// It belongs to its thread.
    _here: PhantomData<*const ()>,
}

impl Inside {
    /// Waits while another thread forks; not if this thread is inside already, or the fork would
    /// wait for it in vain.
    #[inline]
    pub(crate) fn enter() -> Inside {
        let depth = DEPTH.get();
        if depth == 0 {
            process::watch();
            // It is never closed.
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

/// What this thread counts: in a child, it is there as it was.
fn own() -> usize {
    match DEPTH.get() {
        0 => 0,
        _ => Use::IsBrief.weight(),
    }
}

/// Lets nobody in while the process forks. Says whether no other thread is inside.
pub(super) fn hold() -> bool {
    LOCKS.hold();
    LOCKS.wait(own(), Duration::ZERO, PATIENCE)
}

pub(super) fn release() {
    LOCKS.release();
}

/// In a child: the other threads are not here. Says whether they were not inside, as far as that
/// was not known before.
pub(super) fn begin_anew() -> bool {
    LOCKS.begin_anew(own())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn a_fork_lets_nobody_in_but_those_who_are_inside() {
        let inside = Inside::enter();
        assert!(hold(), "the thread that forks does not wait for itself");
        drop(Inside::enter());
        let (comes, came) = mpsc::channel();
        let late = thread::spawn(move || {
            comes.send(()).unwrap();
            drop(Inside::enter());
        });
        came.recv().unwrap();
        assert!(!late.is_finished());
        release();
        late.join().unwrap();
        assert_ne!(own(), 0);
        drop(inside);
        assert_eq!(own(), 0);
    }
}
