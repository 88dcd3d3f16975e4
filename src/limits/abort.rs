//! Handles that stop calls from any thread.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use crate::service::Process;
use crate::sync::{Mutex, lock};

/// Stops the calls of a card, or a [`Monitor`](crate::Monitor), from any thread.
///
/// Clones stop the same. Stopping is final: a call that is under way returns to its caller
/// with [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) at once, and so does every
/// later one. What was under way goes on behind the scenes until the service answers, and is
/// cleaned up then.
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
    /// Stops what this stops, too.
    pub(super) parent: Option<AbortHandle>,
}

#[derive(Default)]
pub(super) struct StopState {
    aborted: bool,
    pub(super) waiting: Vec<Waiter>,
    next: u64,
}

/// A caller that waits.
#[derive(Clone)]
pub(super) struct Waiter {
    /// Its own.
    number: u64,
    /// It waits in no other: neither is it in a forked child, nor is what wakes it.
    process: Process,
    caller: Arc<dyn Wake>,
}

/// A caller that can be told to look up.
pub(crate) trait Wake: Send + Sync {
    /// Called once the handle is aborted, which it stays.
    fn wake(&self);
}

impl AbortHandle {
    /// A handle that stops nothing yet; give it to
    /// [`ConnectOptions::abort_handle`](crate::ConnectOptions::abort_handle).
    pub fn new() -> AbortHandle {
        AbortHandle::default()
    }

    /// Stops every call of the cards that were connected with this handle, and every monitor
    /// that was begun with it, now and later.
    pub fn abort(&self) {
        let waiting = {
            let mut state = lock(&self.0.state);
            state.aborted = true;
            state.waiting.clone()
        };
        // A waker of an executor that panics keeps nobody else from being woken.
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

    /// A handle that stops less than `parent` does, which stops what this one stops, too.
    #[cfg(feature = "async")]
    pub(crate) fn within(parent: Option<AbortHandle>) -> AbortHandle {
        AbortHandle(Arc::new(Stop {
            state: Mutex::default(),
            parent,
        }))
    }

    /// Whether [`abort`](AbortHandle::abort) was called.
    pub fn is_aborted(&self) -> bool {
        let aborted = lock(&self.0.state).aborted;
        aborted || self.0.parent.as_ref().is_some_and(AbortHandle::is_aborted)
    }

    /// Has a caller woken by [`abort`](AbortHandle::abort), until the registration ends.
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

/// Two handles are equal if they stop the same.
impl PartialEq for AbortHandle {
    fn eq(&self, other: &AbortHandle) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for AbortHandle {}

/// A caller's place among those that an abort wakes.
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
        // With the state unlocked: this can be the end of what the caller waited for.
        drop(state);
        drop(caller);
    }
}

#[cfg(all(test, not(model)))]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn an_abort_wakes_those_who_wait_and_not_those_who_have_left() {
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
    fn handles_are_equal_if_they_stop_the_same() {
        let abort = AbortHandle::new();
        assert_eq!(abort, abort.clone());
        assert_ne!(abort, AbortHandle::new());
        assert_eq!(format!("{abort:?}"), "AbortHandle { aborted: false, .. }");
    }
}
