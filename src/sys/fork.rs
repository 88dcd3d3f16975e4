//! Whether this process is a forked child, for where a system call would cost too much.

#[cfg(unix)]
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// How many forks there were between the first context and this process.
static FORKS: AtomicU32 = AtomicU32::new(0);
static ARE_COUNTED: AtomicBool = AtomicBool::new(false);

#[cfg(unix)]
unsafe extern "C" {
    fn pthread_atfork(
        prepare: Option<extern "C" fn()>,
        parent: Option<extern "C" fn()>,
        child: Option<extern "C" fn()>,
    ) -> c_int;
}

#[cfg(unix)]
fn count_forks() -> bool {
    extern "C" fn in_child() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: the handler does what a signal handler may.
    unsafe { pthread_atfork(None, None, Some(in_child)) == 0 }
}

#[cfg(not(unix))]
fn count_forks() -> bool {
    true
}

/// The process, as far as it is known without asking the system. A fork that the C library
/// does not make is not seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lineage(u32);

impl Lineage {
    /// As if there were forks all the time.
    pub(crate) const UNKNOWN: Lineage = Lineage(u32::MAX);

    pub(crate) fn of_this_process() -> Lineage {
        // Two threads that do this at once count each fork twice, which does no harm.
        if !ARE_COUNTED.load(Ordering::Relaxed) {
            if !count_forks() {
                return Lineage::UNKNOWN;
            }
            ARE_COUNTED.store(true, Ordering::Relaxed);
        }
        Lineage(FORKS.load(Ordering::Relaxed))
    }

    /// Whether there may have been a fork since.
    #[inline]
    pub(crate) fn may_be_forked(self) -> bool {
        self.0 != FORKS.load(Ordering::Relaxed)
    }
}
