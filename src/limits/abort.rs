//! Handles that stop calls from any thread.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use crate::service::Process;
use crate::sync::{Mutex, lock};

/// Stops the calls of a card, or a [`Monitor`](crate::Monitor), from any thread.
///
/// Clones stop the same calls. Stopping is final: a call under way returns
/// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) at once, and so does every later one. The
/// service's part of the call continues in the background, and is cleaned up when it returns.
///
/// ```no_run
/// # fn demo(context: &scard::Context, reader: &scard::ReaderName) -> scard::Result<()> {
/// use scard::{AbortHandle, ConnectOptions};
///
/// let abort = AbortHandle::new();
/// let mut card = context.connect(reader, ConnectOptions::new().abort_handle(&abort))?;
/// std::thread::spawn(move || {
///     // When the user closes the window:
///     abort.abort();
/// });
/// let answer = card.transmit(&[0x00, 0x84, 0x00, 0x00, 0x08])?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct AbortHandle(pub(super) Arc<Stop>);

#[derive(Default)]
pub(super) struct Stop {
    pub(super) state: Mutex<StopState>,
    /// A handle that also stops everything this one stops.
    pub(super) parent: Option<AbortHandle>,
}

#[derive(Default)]
pub(super) struct StopState {
    aborted: bool,
    pub(super) waiting: Vec<Waiter>,
    next: u64,
}

/// A waiting caller.
#[derive(Clone)]
pub(super) struct Waiter {
    /// Identifies this waiter.
    number: u64,
    /// The process it waits in: a forked child has neither the caller nor what wakes it.
    process: Process,
    caller: Arc<dyn Wake>,
}

/// A caller that can be woken.
pub(crate) trait Wake: Send + Sync {
    /// Called when the handle has been aborted, which is permanent.
    fn wake(&self);
}

impl AbortHandle {
    /// Creates a handle.
    ///
    /// Pass it to [`ConnectOptions::abort_handle`](crate::ConnectOptions::abort_handle).
    pub fn new() -> AbortHandle {
        AbortHandle::default()
    }

    /// Stops all current and future calls of the cards and monitors that use this handle.
    pub fn abort(&self) {
        let waiting = {
            let mut state = lock(&self.0.state);
            state.aborted = true;
            state.waiting.clone()
        };
        // A waker that panics must not keep the others from being woken.
        let mut panic = None;
        let here = waiting.iter().filter(|it| !it.process.is_forked());
        for Waiter { caller, .. } in here {
            if let Err(reason) = catch_unwind(AssertUnwindSafe(|| caller.wake())) {
                panic = Some(reason);
            }
        }
        if let Some(reason) = panic {
            resume_unwind(reason);
        }
    }

    /// Creates a handle that is also stopped by `parent`.
    #[cfg(feature = "async")]
    pub(crate) fn within(parent: Option<AbortHandle>) -> AbortHandle {
        AbortHandle(Arc::new(Stop {
            state: Mutex::default(),
            parent,
        }))
    }

    /// Returns whether [`abort`](AbortHandle::abort) was called.
    pub fn is_aborted(&self) -> bool {
        let aborted = lock(&self.0.state).aborted;
        aborted || self.0.parent.as_ref().is_some_and(AbortHandle::is_aborted)
    }

    /// Registers a caller to be woken by [`abort`](AbortHandle::abort) until the registration is
    /// dropped.
    pub(crate) fn register(&self, caller: Arc<dyn Wake>) -> Registration {
        let parent = self.0.parent.as_ref();
        let with_parent = parent.map(|parent| Box::new(parent.register(Arc::clone(&caller))));
        let mut state = lock(&self.0.state);
        let number = state.next;
        state.next += 1;
        state.waiting.push(Waiter {
            number,
            process: Process::current(),
            caller,
        });
        Registration {
            handle: self.clone(),
            number,
            _with_parent: with_parent,
        }
    }
}

impl fmt::Debug for AbortHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AbortHandle")
            .field("aborted", &self.is_aborted())
            .finish_non_exhaustive()
    }
}

/// Two handles are equal if they stop the same calls.
impl PartialEq for AbortHandle {
    fn eq(&self, other: &AbortHandle) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for AbortHandle {}

/// A caller's registration to be woken by an abort.
#[derive(Debug)]
pub(crate) struct Registration {
    handle: AbortHandle,
    number: u64,
    _with_parent: Option<Box<Registration>>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut state = lock(&self.handle.0.state);
        let place = state.waiting.iter().position(|it| it.number == self.number);
        let caller = place.map(|place| state.waiting.remove(place));
        // Unlocked first: this may drop what the caller waited for.
        drop(state);
        drop(caller);
    }
}

#[cfg(all(test, not(model)))]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn an_abort_wakes_waiting_callers_but_not_those_that_left() {
        struct Woken(AtomicBool);

        impl Wake for Woken {
            fn wake(&self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }

        for leaves in 0..3 {
            let abort = AbortHandle::new();
            let callers = [(); 3].map(|()| Arc::new(Woken(AtomicBool::new(false))));
            let mut waiting: Vec<Registration> = callers
                .iter()
                .map(|caller| abort.register(Arc::clone(caller) as Arc<_>))
                .collect();
            drop(waiting.remove(leaves));
            abort.abort();
            for (i, caller) in callers.iter().enumerate() {
                assert_eq!(caller.0.load(Ordering::SeqCst), i != leaves, "{i} {leaves}");
            }
        }
    }

    #[test]
    fn handles_are_equal_if_they_stop_the_same_calls() {
        let abort = AbortHandle::new();
        assert_eq!(abort, abort.clone());
        assert_ne!(abort, AbortHandle::new());
        assert_eq!(format!("{abort:?}"), "AbortHandle { aborted: false, .. }");
    }
}
