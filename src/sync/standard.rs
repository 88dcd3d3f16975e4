//! The standard library's types, except for the locks where processes fork.

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

/// A global variable; in a model, one for each run.
macro_rules! global {
    ($(#[$meta:meta])* static $name:ident: $type:ty = $value:expr;) => {
        $(#[$meta])*
        static $name: $type = $value;
    };
}
pub(crate) use global;
