//! The standard library's, but for the locks where processes fork.

pub(crate) use std::sync::atomic::AtomicBool;
pub(crate) use std::sync::mpsc;
#[cfg(not(unix))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
pub(crate) use std::thread;
use std::time::Instant;

#[cfg(unix)]
pub(crate) use super::locks::{Condvar, Mutex, MutexGuard};

pub(crate) fn now() -> Instant {
    Instant::now()
}

/// A variable of the whole program; in a model, of one run of it.
macro_rules! global {
    ($(#[$meta:meta])* static $name:ident: $type:ty = $value:expr;) => {
        $(#[$meta])*
        static $name: $type = $value;
    };
}
pub(crate) use global;
