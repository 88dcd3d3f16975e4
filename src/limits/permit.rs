//! Permission for a call to do something irreversible.

use std::fmt;
#[cfg(feature = "async")]
use std::time::Instant;

use super::Here;
use super::pause::Pause;
use crate::service::Limit;
#[cfg(feature = "async")]
use crate::sync::now;

/// Asks whether the caller still waits, before doing something irreversible.
pub(crate) struct Permit<'a>(pub(super) Option<&'a dyn Grant>);

pub(super) trait Grant: Sync {
    fn has_left(&self) -> bool;
    fn grant(&self) -> bool;
    /// The granted action was not taken.
    fn withdraw(&self) {}
    /// The limits, if the call ends by itself when the caller gives up.
    fn here(&self) -> Option<&Here> {
        None
    }
}

/// A caller that no longer waits, but has set a time limit.
#[cfg(feature = "async")]
impl Grant for Instant {
    fn has_left(&self) -> bool {
        *self <= now()
    }

    fn grant(&self) -> bool {
        !self.has_left()
    }
}

impl Permit<'_> {
    /// The permit of a call on the caller's own thread.
    pub(crate) const GRANTED: Permit<'static> = Permit(None);

    /// The permit of a call that no one waits for and that must have no effects after this time.
    #[cfg(feature = "async")]
    pub(crate) fn until(end: Option<&Instant>) -> Permit<'_> {
        Permit(end.map(|end| end as &dyn Grant))
    }

    /// Whether the caller can give up at all.
    pub(crate) fn is_conditional(&self) -> bool {
        self.0.is_some()
    }

    /// The limits of a call that ends by itself when the caller gives up.
    pub(crate) fn here(&self) -> Option<&Here> {
        self.0.and_then(Grant::here)
    }

    /// The limit to pass to the service.
    pub(crate) fn limit(&self) -> Limit {
        self.here()
            .map(|here| here.limit().clone())
            .unwrap_or_default()
    }

    /// The limit of what is left to do after the call.
    pub(crate) fn rest(&self) -> Limit {
        self.here().map(Here::rest).unwrap_or_default()
    }

    /// Waits for the next pause, at most until the limits of a call that ends by itself.
    pub(crate) async fn pause(&self, pause: &mut Pause) {
        match self.here() {
            // A pause that is given up ends early, too.
            Some(here) => {
                let _ = here.limit().pause(pause.next()).await;
            }
            None => pause.take(None, None),
        }
    }

    /// Whether the caller has already left, so that everything done now must be undone.
    pub(crate) fn is_void(&self) -> bool {
        self.0.is_some_and(|caller| caller.has_left())
    }

    /// Whether the caller still waits. If so, and it gives up later, it will know that this was
    /// permitted.
    pub(crate) fn grant(&self) -> bool {
        self.0.is_none_or(|caller| caller.grant())
    }

    /// Records that the permitted action was not taken, for callers that give up before the next
    /// [grant](Permit::grant).
    pub(crate) fn withdraw(&self) {
        if let Some(caller) = self.0 {
            caller.withdraw();
        }
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}
