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
        watch();
        Process(FORKS.load(Ordering::Relaxed))
    }

    /// The number of forks before it.
    pub(crate) fn number(self) -> u32 {
        self.0
    }

    /// Whether this is another process than that.
    #[inline]
    pub(crate) fn is_forked(self) -> bool {
        self.0 != FORKS.load(Ordering::Relaxed)
    }
}

/// Has forks and the end of the process known, from the first call on. Where they cannot be, the
/// process ends and forks as it would without.
#[inline]
pub(super) fn watch() {
    #[cfg(unix)]
    hooks::set();
}

#[cfg(unix)]
mod hooks {
    use std::ffi::c_int;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::FORKS;
    use crate::service::fork;
    #[cfg(feature = "library")]
    use crate::service::library::{gate, table};

    unsafe extern "C" {
        #[cfg(feature = "library")]
        fn atexit(handler: extern "C" fn()) -> c_int;
        fn pthread_atfork(
            prepare: Option<extern "C" fn()>,
            parent: Option<extern "C" fn()>,
            child: Option<extern "C" fn()>,
        ) -> c_int;
    }

    #[cfg(feature = "library")]
    extern "C" fn at_exit() {
        gate::close_for_good();
    }

    extern "C" fn before_fork() {
        fork::before();
    }

    extern "C" fn in_parent() {
        fork::after_in_parent();
    }

    extern "C" fn in_child() {
        FORKS.fetch_add(1, Ordering::Relaxed);
        fork::after_in_child();
        #[cfg(feature = "library")]
        table::READERS.forget_others();
    }

    #[inline]
    pub(super) fn set() {
        /// Not a `Once`: where another thread forked the process while this one was in it, it
        /// would be waited for without end in the child.
        static ARE_SET: AtomicBool = AtomicBool::new(false);
        if !ARE_SET.load(Ordering::Acquire) {
            register();
            ARE_SET.store(true, Ordering::Release);
        }
    }

    /// More than one thread may come here: the handlers know that they may run twice.
    #[cold]
    fn register() {
        #[cfg(feature = "library")]
        // SAFETY: the handler is a function of this program and does not unwind.
        unsafe {
            atexit(at_exit)
        };
        // SAFETY: the handlers are functions of this program and do not unwind; what the handlers do, a child may do.
        unsafe { pthread_atfork(Some(before_fork), Some(in_parent), Some(in_child)) };
    }
}
