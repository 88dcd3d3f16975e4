//! Work in a session that is not a closure.

use std::fmt;
use std::ops::{Deref, DerefMut};

use super::State;
use super::card::SessionCard;
use super::recovery::{Action, action, is_recovered_from_later};
use crate::apdu::{CommandBytes, ExchangeOptions};
use crate::error::{Error, Result};
use crate::exchange::{Control, Transmit};
use crate::values::{Atr, Attribute, ControlCode, Protocol, ReaderName};

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
        // Stays so if it is leaked.
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
        self.state.set_up = !progress.has_failed() && !std::thread::panicking();
        let ended = self.card.finish_with_deadline();
        self.state.pending = progress.failure.filter(is_recovered_from_later);
        if let Err(error) = &ended {
            self.state.set_up = false;
            // Others may be kept out for as long as this connection lives.
            let recovery = self.state.pending.as_ref().map(Error::recovery);
            self.state.is_unfit = matches!(recovery.and_then(action), None | Some(Action::Retry));
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
    fn reader_name(&self) -> &ReaderName {
        self.card.reader_name()
    }

    fn control(&mut self, code: ControlCode, input: &[u8]) -> Result<Vec<u8>> {
        self.card.control(code, input)
    }

    fn attribute(&mut self, attribute: Attribute) -> Result<Vec<u8>> {
        self.card.attribute(attribute)
    }
}

impl Transmit for SessionGuard<'_> {
    fn protocol(&self) -> Option<Protocol> {
        self.card.protocol()
    }

    fn atr(&mut self) -> Result<Atr> {
        self.card.atr()
    }

    fn send(&mut self, command: CommandBytes<'_>) -> Result<&[u8]> {
        self.card.send(command)
    }

    fn exchange_options(&self) -> ExchangeOptions {
        self.card.exchange_options()
    }

    fn reader_max_data(&mut self) -> Option<u32> {
        self.card.reader_max_data()
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
