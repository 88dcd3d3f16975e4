//! Threads, locks and the time, as the concurrent core uses them: those of the standard
//! library, and in a model those of the model checker.
//!
//! What is built on this and on nothing else that waits can be tried in every order that the
//! threads may run in: the files `model.rs` beside the code do that, and `ci/model` runs them.

#[cfg(all(test, model))]
pub(crate) mod model;
#[cfg(not(all(test, model)))]
mod standard;

#[cfg(all(test, model))]
pub(crate) use model::{AtomicBool, Condvar, Mutex, MutexGuard, global, mpsc, now, thread};
#[cfg(all(not(all(test, model)), feature = "async"))]
pub(crate) use standard::global;
#[cfg(not(all(test, model)))]
pub(crate) use standard::{AtomicBool, Condvar, Mutex, MutexGuard, mpsc, now, thread};

use std::sync::PoisonError;

/// Locks, also what a panic has left locked.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
