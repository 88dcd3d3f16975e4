//! Detects forked children, and handles forks and the end of the process.

use std::sync::atomic::{AtomicU32, Ordering};

/// The number of forks between the process that first used this library and this one.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// A process. A number distinguishes it from its children, made by C's `fork`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process(u32);

impl Process {
    /// No existing process.
    pub(crate) const NONE: Process = Process(u32::MAX);

    /// The current process.
    pub(crate) fn current() -> Process {
        watch();
        Process(FORKS.load(Ordering::Relaxed))
    }

    /// The number of forks that led to it.
    pub(crate) fn number(self) -> u32 {
        self.0
    }

    /// Whether the current process is a child of this one.
    #[inline]
    pub(crate) fn is_forked(self) -> bool {
        self.0 != FORKS.load(Ordering::Relaxed)
    }
}

/// Closes the copy of a descriptor in a forked child, where only threads that it does not have, and
/// memory that it does not free, refer to it any more.
#[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
pub(super) fn close_copy(copy: &std::os::fd::OwnedFd) {
    use std::os::fd::AsRawFd;
    // SAFETY: it is open, and is not used or closed again.
    unsafe { rustix::io::close(copy.as_raw_fd()) };
}

/// Registers for forks and the end of the process, at the first call. Where that is not possible,
/// the process forks and ends as it would without this library.
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
        /// Not a `Once`: if another thread forked the process while this one was in it, the child
        /// would wait for it forever.
        static ARE_SET: AtomicBool = AtomicBool::new(false);
        if !ARE_SET.load(Ordering::Acquire) {
            register();
            ARE_SET.store(true, Ordering::Release);
        }
    }

    /// Several threads may get here; the handlers allow for running twice.
    #[cold]
    fn register() {
        #[cfg(feature = "library")]
        // SAFETY: the handler is a function of this program and does not unwind.
        unsafe {
            atexit(at_exit)
        };
        // SAFETY: the handlers are functions of this program and do not unwind; they do only what a
        // child may do.
        unsafe { pthread_atfork(Some(before_fork), Some(in_parent), Some(in_child)) };
    }
}
