//! The rendezvous of a call and its caller.

use std::sync::PoisonError;
use std::task::Waker;
use std::time::Instant;

use super::abort::Wake;
use super::permit::Grant;
use super::{Abandoned, AbortHandle, GivenUp, Pending};
use crate::sync::{Condvar, Mutex, MutexGuard, lock, now};

/// The rendezvous of a call and its caller.
pub(super) struct Meeting<T> {
    pub(super) state: Mutex<MeetingState<T>>,
    changed: Condvar,
}

/// What takes a value that no one waits for any more.
type Discard<T> = Box<dyn FnOnce(T) + Send>;

pub(super) struct MeetingState<T> {
    /// The caller has left.
    pub(super) left: bool,
    /// Without it, the value is dropped.
    discard: Option<Discard<T>>,
    /// The call may do something irreversible.
    permitted: bool,
    pub(super) call: Call<T>,
    /// The task of a caller that does not block its thread.
    pub(super) waker: Option<Waker>,
    pub(super) pending: Pending,
    /// The caller has left while the call was under way; it is counted until it returns.
    pub(super) is_pending: bool,
}

pub(super) enum Call<T> {
    UnderWay,
    Returned(T),
    /// It ended without a value, because it was given up.
    #[cfg(feature = "async")]
    GaveUp(Abandoned),
    /// It panicked.
    Lost,
}

impl<T> Meeting<T> {
    pub(super) fn new(pending: &Pending) -> Meeting<T> {
        Meeting {
            state: Mutex::new(MeetingState {
                left: false,
                discard: None,
                permitted: false,
                call: Call::UnderWay,
                waker: None,
                pending: pending.clone(),
                is_pending: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// The call's side: hands over the value, or discards it if no one waits any more.
    pub(super) fn return_with(&self, value: T) {
        let mut state = lock(&self.state);
        if state.left {
            drop(state);
            return self.discard(value);
        }
        state.call = Call::Returned(value);
        self.notify(state);
    }

    /// Sets what takes the value if no one waits for it any more, on the thread of the call.
    #[cfg(feature = "async")]
    pub(super) fn set_discard(&self, discard: impl FnOnce(T) + Send + 'static) {
        let before = lock(&self.state).discard.replace(Box::new(discard));
        drop(before);
    }

    pub(super) fn discard(&self, value: T) {
        let discard = lock(&self.state).discard.take();
        match discard {
            Some(discard) => discard(value),
            None => drop(value),
        }
    }

    /// The call's side: reports that it was given up, unless no one waits any more.
    #[cfg(feature = "async")]
    pub(super) fn give_up_with(&self, abandoned: Abandoned) {
        let mut state = lock(&self.state);
        if !state.left {
            state.call = Call::GaveUp(abandoned);
            self.notify(state);
        }
    }

    /// Wakes the caller, with the state unlocked, because a waker runs foreign code.
    pub(super) fn notify(&self, mut state: MutexGuard<'_, MeetingState<T>>) {
        let waker = state.waker.take();
        drop(state);
        self.changed.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The caller's side.
    pub(super) fn wait(
        &self,
        deadline: Option<Instant>,
        abort: Option<&AbortHandle>,
    ) -> Result<T, Abandoned> {
        let mut state = lock(&self.state);
        loop {
            if let Some(outcome) = state.look(deadline, abort) {
                return outcome;
            }
            state = match deadline {
                None => self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(now());
                    self.changed
                        .wait_timeout(state, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
    }
}

impl<T> MeetingState<T> {
    /// The caller's check: `None` if it has to wait.
    pub(super) fn look(
        &mut self,
        deadline: Option<Instant>,
        abort: Option<&AbortHandle>,
    ) -> Option<Result<T, Abandoned>> {
        match std::mem::replace(&mut self.call, Call::UnderWay) {
            Call::Returned(value) => return Some(Ok(value)),
            #[cfg(feature = "async")]
            Call::GaveUp(abandoned) => return Some(Err(abandoned)),
            Call::Lost => return Some(Err(self.abandoned(GivenUp::NoThread))),
            Call::UnderWay => {}
        }
        // Checked with the state locked: a later abort wakes this caller.
        let why = if abort.is_some_and(AbortHandle::is_aborted) {
            GivenUp::Aborted
        } else if deadline.is_some_and(|deadline| deadline <= now()) {
            GivenUp::Deadline
        } else {
            return None;
        };
        self.leave_under_way();
        Some(Err(self.abandoned(why)))
    }

    pub(super) fn leave_under_way(&mut self) {
        self.left = true;
        self.is_pending = true;
        self.pending.add();
    }

    fn abandoned(&self, why: GivenUp) -> Abandoned {
        Abandoned {
            why,
            begun: true,
            permitted: self.permitted,
        }
    }
}

impl<T: Send> Wake for Meeting<T> {
    fn wake(&self) {
        // Locked first, so that a caller between its check and its sleep is not missed.
        self.notify(lock(&self.state));
    }
}

impl<T: Send> Grant for Meeting<T> {
    fn has_left(&self) -> bool {
        lock(&self.state).left
    }

    fn grant(&self) -> bool {
        let mut state = lock(&self.state);
        state.permitted |= !state.left;
        !state.left
    }

    fn withdraw(&self) {
        lock(&self.state).permitted = false;
    }
}
