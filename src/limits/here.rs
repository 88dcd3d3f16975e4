//! Calls on the caller's own thread, which end by themselves when the caller would give up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::permit::Grant;
#[cfg(feature = "async")]
use super::spawn_task;
use super::{Abandoned, AbortHandle, GivenUp, Pending, Permit, Registration, Wake, do_elsewhere};
use crate::service::{self, Canceller, Failure, Limit, block_on};
use crate::sync::now;

/// The limits of a call on the caller's thread, or of a task.
pub(crate) struct Here {
    deadline: Option<Instant>,
    abort: Option<AbortHandle>,
    limit: Limit,
    permitted: AtomicBool,
    pending: Pending,
    _registration: Option<Registration>,
}

impl Here {
    /// An abort uses the canceller of the call's context. Without one, it is noticed only between
    /// PC/SC calls.
    pub(crate) fn new(
        deadline: Option<Instant>,
        abort: Option<&AbortHandle>,
        pending: &Pending,
        canceller: impl FnOnce() -> Option<Canceller>,
    ) -> Here {
        let canceller = abort.and_then(|_| canceller());
        let limit = Limit::new(deadline, canceller.as_ref());
        let wake = canceller.map(|canceller| Arc::new(Ring(canceller)) as Arc<dyn Wake>);
        Here::with(limit, deadline, abort, pending, wake)
    }

    /// `wake` ends the waits of the call.
    pub(super) fn with(
        limit: Limit,
        deadline: Option<Instant>,
        abort: Option<&AbortHandle>,
        pending: &Pending,
        wake: Option<Arc<dyn Wake>>,
    ) -> Here {
        let registration = match (abort, wake) {
            (Some(abort), Some(wake)) => {
                let registration = abort.register(Arc::clone(&wake));
                // An abort before the registration woke no one.
                if abort.is_aborted() {
                    wake.wake();
                }
                Some(registration)
            }
            _ => None,
        };
        Here {
            deadline,
            abort: abort.cloned(),
            limit,
            permitted: AtomicBool::new(false),
            pending: pending.clone(),
            _registration: registration,
        }
    }

    pub(crate) fn permit(&self) -> Permit<'_> {
        Permit(Some(self))
    }

    /// The limit to pass to the service.
    pub(crate) fn limit(&self) -> &Limit {
        &self.limit
    }

    /// The limit of what is left to do after the call.
    pub(crate) fn rest(&self) -> Limit {
        self.limit.of_rest()
    }

    /// Does what is left to do after a call that was given up, without waiting. It is counted until
    /// it is done.
    pub(crate) fn do_afterwards(&self, job: impl AsyncFnOnce(Limit) + Send + 'static) {
        let counted = self.pending.count();
        let job = async move |limit| {
            job(limit).await;
            drop(counted);
        };
        #[cfg(feature = "async")]
        if self.limit.is_suspending() {
            spawn_task(job);
            return;
        }
        do_elsewhere(move || block_on(job(Limit::default())));
    }

    /// Why a failed call was given up, if it was.
    pub(crate) fn gave_up(&self) -> Option<Abandoned> {
        Some(Abandoned {
            why: self.why()?,
            begun: true,
            permitted: self.permitted.load(Ordering::Relaxed),
        })
    }

    /// Why a call with this result was given up, if it was.
    pub(crate) fn gave_up_on<T, E>(&self, given: &Result<T, E>) -> Option<Abandoned> {
        given.as_ref().err().and_then(|_| self.gave_up())
    }

    fn why(&self) -> Option<GivenUp> {
        let is_aborted = self.abort.as_ref().is_some_and(AbortHandle::is_aborted);
        if is_aborted || self.limit.is_stopped() {
            return Some(GivenUp::Aborted);
        }
        let is_late = self.deadline.is_some_and(|deadline| deadline <= now());
        is_late.then_some(GivenUp::Deadline)
    }
}

impl Grant for Here {
    fn has_left(&self) -> bool {
        self.why().is_some()
    }

    fn grant(&self) -> bool {
        let has_left = self.has_left();
        self.permitted.fetch_or(!has_left, Ordering::Relaxed);
        !has_left
    }

    fn withdraw(&self) {
        self.permitted.store(false, Ordering::Relaxed);
    }

    fn here(&self) -> Option<&Here> {
        Some(self)
    }
}

/// Cancels a wait in the service.
struct Ring(Canceller);

impl Wake for Ring {
    fn wake(&self) {
        if let Err(Failure { code, .. }) = service::cancel(&self.0) {
            tracing::trace!(%code, "cancelling a wait failed");
        }
    }
}
