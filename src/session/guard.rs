//! Work in a session without a closure.

use std::fmt;
use std::ops::{Deref, DerefMut};

use super::card::SessionCard;
use super::recovery::{Action, action, is_recovered_from_later};
use crate::error::{Error, Result};
use crate::exchange::forward::{forward_control, forward_transmit};
use crate::exchange::{Control, Transmit};

/// The card of a [`Session`](crate::Session) for a piece of work; dereferences to [`SessionCard`].
/// Created by [`Session::begin`](crate::Session::begin).
///
/// Dropping the guard ends the work and ignores errors; [`end`](SessionGuard::end) returns them. In
/// both cases the session recovers from failures before the next run.
#[must_use = "dropping it ends the work"]
pub struct SessionGuard<'a> {
    card: SessionCard<'a>,
}

impl<'a> SessionGuard<'a> {
    pub(super) fn new(mut card: SessionCard<'a>) -> SessionGuard<'a> {
        if let Some(state) = &mut card.owner {
            // Remains false if the guard is leaked.
            state.set_up = false;
        }
        SessionGuard { card }
    }

    /// Ends the work and its transaction.
    ///
    /// # Errors
    ///
    /// Those of [`Transaction::end`](crate::Transaction::end). The work is over anyway.
    pub fn end(mut self) -> Result<()> {
        self.finish()
    }

    /// Continues the work without borrowing the session, until the session resumes it.
    #[cfg(feature = "async")]
    pub(super) fn suspend(mut self) {
        if let Some(state) = self.card.owner.take() {
            state.suspended = Some(self.card.suspend());
        }
    }

    fn finish(&mut self) -> Result<()> {
        let Some(state) = self.card.owner.take() else {
            return Ok(());
        };
        let progress = self.card.take_progress();
        state.set_up = !progress.has_failed() && !std::thread::panicking();
        state.ladder.note(&progress);
        let ended = self.card.finish_with_deadline();
        state.pending = progress.failure.filter(is_recovered_from_later);
        if let Err(error) = &ended {
            state.set_up = false;
            // This connection may lock out other programs.
            let recovery = state.pending.as_ref().map(Error::recovery);
            state.is_unfit = matches!(recovery.and_then(action), None | Some(Action::Retry));
            tracing::debug!(%error, "the end of a session's work failed");
        }
        ended
    }
}

impl<'a> Deref for SessionGuard<'a> {
    type Target = SessionCard<'a>;

    fn deref(&self) -> &SessionCard<'a> {
        &self.card
    }
}

impl<'a> DerefMut for SessionGuard<'a> {
    fn deref_mut(&mut self) -> &mut SessionCard<'a> {
        &mut self.card
    }
}

impl Control for SessionGuard<'_> {
    forward_control!(self => self.card);
}

impl Transmit for SessionGuard<'_> {
    forward_transmit!(self => self.card);
}

impl Drop for SessionGuard<'_> {
    fn drop(&mut self) {
        // A failure was traced.
        let _ = self.finish();
    }
}

impl fmt::Debug for SessionGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SessionGuard").field(&self.card).finish()
    }
}
