//! Powering up cards that did not answer when they were inserted.
//!
//! Such a card stays mute until somebody connects to it, and then it mostly answers.

use std::sync::Arc;

use crate::connection::{Access, Connection};
use crate::error::Seen;
use crate::limits::pause::Pause;
use crate::limits::{AbortHandle, Pending, Permit, Worker};
use crate::values::{Protocols, ReaderName, ShareMode};

use super::filter::CardFilter;
use super::thread::Shared;
use super::view::View;

/// How often a card is tried to be powered up in one wait.
const ATTEMPTS: u32 = 3;

/// How many of the pauses between attempts are left out, because they are shorter than a power-up.
const SHORT_PAUSES: u32 = 4;

/// What one wait does about mute cards. It never waits for it: each card has a thread.
pub(super) struct PowerUps {
    shared: Arc<Shared>,
    pending: Pending,
    /// Ends the pauses and the attempts, with the wait.
    over: AbortHandle,
    /// The cards that were taken care of.
    begun: Vec<(ReaderName, u64)>,
}

impl PowerUps {
    pub(super) fn new(shared: &Arc<Shared>, pending: &Pending) -> PowerUps {
        PowerUps {
            shared: Arc::clone(shared),
            pending: pending.clone(),
            over: AbortHandle::new(),
            begun: Vec::new(),
        }
    }

    /// Begins with each mute card that can be meant, once.
    pub(super) fn begin(&mut self, view: &View, filter: &CardFilter) {
        let meant = view
            .mute_cards()
            .filter(|(state, _)| filter.can_mean_mute(state));
        for (state, number) in meant {
            let card = (state.reader_name().clone(), number);
            if self.begun.contains(&card) {
                continue;
            }
            let (shared, reader) = (Arc::clone(&self.shared), card.0.clone());
            let (over, counted) = (self.over.clone(), self.pending.count());
            self.begun.push(card);
            match Worker::start() {
                Some(worker) => worker.do_later(move || {
                    power_up(&shared, &reader, &over);
                    drop(counted);
                }),
                None => tracing::debug!(%reader, "there is no thread to power a mute card up"),
            }
        }
    }
}

impl Drop for PowerUps {
    fn drop(&mut self) {
        self.over.abort();
    }
}

/// Connects, which powers the card up, and leaves it as it is then. pcsc-lite does not tell the
/// monitor of that.
fn power_up(shared: &Arc<Shared>, reader: &ReaderName, over: &AbortHandle) {
    let mut pause = Pause::longer(SHORT_PAUSES);
    for attempt in 1..=ATTEMPTS {
        if over.is_aborted() {
            return;
        }
        let (permit, access) = (Permit::GRANTED, Access::Card(ShareMode::Shared));
        let address = shared.address();
        let error = match Connection::open(&permit, address, reader, access, Protocols::ANY) {
            Ok(_) => {
                tracing::debug!(%reader, attempt, "a mute card was powered up");
                return shared.has_changed(reader);
            }
            Err(error) => error,
        };
        tracing::debug!(%reader, attempt, %error, "a mute card was not powered up");
        if Seen::of_connect(&error) != Seen::Mute {
            // It is no longer what it was.
            return shared.has_changed(reader);
        }
        if attempt < ATTEMPTS {
            pause.take(None, Some(over));
        }
    }
}
