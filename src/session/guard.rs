//! Work in a session that is not a closure.

use std::fmt;
use std::ops::{Deref, DerefMut};

use super::State;
use super::card::SessionCard;
use super::recovery::action;
use crate::error::{Error, Result};

/// The card of a [`Session`](crate::Session) for a piece of work: a [`SessionCard`] until the work
/// ends. Made by [`Session::begin`](crate::Session::begin).
///
/// Dropping it ends the work and ignores errors; [`end`](SessionGuard::end) returns them. Either
/// way the session recovers before the next run from what has failed.
#[must_use = "dropping it ends the work"]
pub struct SessionGuard<'a> {
    card: SessionCard<'a>,
    state: &'a mut State,
    has_ended: bool,
}

impl<'a> SessionGuard<'a> {
    pub(super) fn new(card: SessionCard<'a>, state: &'a mut State) -> SessionGuard<'a> {
        // Stays so in a panic.
        state.set_up = false;
        SessionGuard {
            card,
            state,
            has_ended: false,
        }
    }

    /// Ends the work and its transaction.
    ///
    /// # Errors
    ///
    /// Those of [`Transaction::end`](crate::Transaction::end). The work is over anyway.
    pub fn end(mut self) -> Result<()> {
        self.finish()
    }

    fn finish(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.has_ended, true) {
            return Ok(());
        }
        let progress = self.card.take_progress();
        self.state.set_up = !progress.failed;
        let ended = self.card.finish_with_deadline();
        let is_helped = |error: &Error| action(error.recovery()).is_some();
        self.state.pending = progress.failure.filter(is_helped);
        if let Err(error) = &ended {
            self.state.set_up = false;
            // Others may be kept out for as long as this connection lives.
            self.state.is_unfit = self.state.pending.is_none();
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

impl Drop for SessionGuard<'_> {
    fn drop(&mut self) {
        // It was traced.
        let _ = self.finish();
    }
}

impl fmt::Debug for SessionGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SessionGuard").field(&self.card).finish()
    }
}
