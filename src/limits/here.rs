//! Calls on the caller's own thread, which end by themselves when the caller would give up.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

use super::pending::Counted;
use super::permit::Grant;
use super::{Abandoned, AbortHandle, GivenUp, Pending, Permit, Registration, Wake};
use crate::service::{self, Canceller, Failure, Limit};
use crate::sync::now;

/// The limits of a call on the caller's thread.
pub(crate) struct Here {
    deadline: Option<Instant>,
    abort: Option<AbortHandle>,
    limit: Limit,
    permitted: Cell<bool>,
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
        let registration = match (abort, &canceller) {
            (Some(abort), Some(canceller)) => {
                let registration = abort.register(Arc::new(Ring(canceller.clone())));
                // An abort before the registration woke no one.
                if abort.is_aborted() {
                    Ring(canceller.clone()).wake();
                }
                Some(registration)
            }
            _ => None,
        };
        Here {
            deadline,
            abort: abort.cloned(),
            limit: Limit::new(deadline, canceller.as_ref()),
            permitted: Cell::new(false),
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

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub(super) fn abort(&self) -> Option<&AbortHandle> {
        self.abort.as_ref()
    }

    /// Counts an abandoned call for as long as it continues.
    pub(crate) fn count(&self) -> Counted {
        self.pending.count()
    }

    /// Why a failed call was given up, if it was.
    pub(crate) fn gave_up(&self) -> Option<Abandoned> {
        Some(Abandoned {
            why: self.why()?,
            begun: true,
            permitted: self.permitted.get(),
        })
    }

    fn why(&self) -> Option<GivenUp> {
        if self.abort.as_ref().is_some_and(AbortHandle::is_aborted) {
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
        self.permitted.set(self.permitted.get() || !has_left);
        !has_left
    }

    fn withdraw(&self) {
        self.permitted.set(false);
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
