//! The process: whether it is a forked child, and what is done when it forks or ends.

use std::sync::atomic::{AtomicU32, Ordering};

/// How many forks there were between the process that used this library first and this one.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// A process. It costs a look at a number to tell it from its children, which are the
/// processes that C's `fork` makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process(u32);

impl Process {
    /// None that there is.
    pub(crate) const NONE: Process = Process(u32::MAX);

    /// This one.
    pub(crate) fn current() -> Process {
        hooks::set();
        Process(FORKS.load(Ordering::Relaxed))
    }

    /// Whether this is another process than that.
    #[inline]
    pub(crate) fn is_forked(self) -> bool {
        self.0 != FORKS.load(Ordering::Relaxed)
    }
}

#[cfg(unix)]
mod hooks {
    use std::ffi::c_int;
    use std::sync::Once;
    use std::sync::atomic::Ordering;

    use super::FORKS;
    use crate::sys::{gate, table};

    unsafe extern "C" {
        fn atexit(handler: extern "C" fn()) -> c_int;
        fn pthread_atfork(
            prepare: Option<extern "C" fn()>,
            parent: Option<extern "C" fn()>,
            child: Option<extern "C" fn()>,
        ) -> c_int;
    }

    extern "C" fn at_exit() {
        gate::close_for_good();
    }

    extern "C" fn before_fork() {
        gate::before_fork();
    }

    extern "C" fn in_parent() {
        gate::after_fork_in_parent();
    }

    extern "C" fn in_child() {
        FORKS.fetch_add(1, Ordering::Relaxed);
        gate::after_fork_in_child();
        table::READERS.forget_others();
    }

    /// Has all of that done, from the first call on. Where it cannot be, the process ends and
    /// forks as it would without.
    pub(super) fn set() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            // SAFETY: the handler is a function of this program and does not unwind.
            unsafe { atexit(at_exit) };
            // SAFETY: as above; what the handlers do, a child may do.
            unsafe { pthread_atfork(Some(before_fork), Some(in_parent), Some(in_child)) };
        });
    }
}

#[cfg(not(unix))]
mod hooks {
    pub(super) fn set() {}
}
