//! Releases a card that has been idle for a while.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::card::Card;
use crate::limits::do_elsewhere;
use crate::service::Process;
use crate::sync::{Condvar, Mutex, lock, now, start_thread};

/// Keeps the card of a session between its runs, for a limited time.
pub(super) struct Idle {
    time: Duration,
    /// When the idle time is over.
    end: Option<Instant>,
    shared: Arc<Shared>,
    /// The process of the thread.
    process: Option<Process>,
}

#[derive(Default)]
struct Shared {
    kept: Mutex<Kept>,
    changed: Condvar,
}

#[derive(Default)]
struct Kept {
    /// The card, and when to release it.
    card: Option<(Card, Instant)>,
    /// Whether the last card was released.
    is_released: bool,
    has_ended: bool,
}

impl Idle {
    pub(super) fn new(time: Duration) -> Idle {
        Idle {
            time,
            end: None,
            shared: Arc::default(),
            process: None,
        }
    }

    /// Notes that the card was used.
    pub(super) fn begin(&mut self) {
        self.end = None;
    }

    /// Keeps a card until it is taken or its idle time is over. Returns it if no thread can be
    /// started.
    pub(super) fn keep(&mut self, card: Card) -> Option<Card> {
        let Some(end) = self.end.or_else(|| now().checked_add(self.time)) else {
            return Some(card);
        };
        self.end = Some(end);
        if self.process.is_none_or(Process::is_forked) {
            // The state of a parent process stays with the parent.
            let shared = Arc::<Shared>::default();
            let watched = Arc::clone(&shared);
            if start_thread("scard-idle", move || watched.watch()).is_err() {
                return Some(card);
            }
            self.shared = shared;
            self.process = Some(Process::current());
        }
        lock(&self.shared.kept).card = Some((card, end));
        self.shared.changed.notify_all();
        None
    }

    /// Returns the card if it is still kept, and whether it was released meanwhile.
    pub(super) fn take(&mut self) -> (Option<Card>, bool) {
        if self.process.is_none_or(Process::is_forked) {
            return (None, false);
        }
        let mut kept = lock(&self.shared.kept);
        let card = kept.card.take().map(|(card, _)| card);
        (card, std::mem::take(&mut kept.is_released))
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        if !self.process.is_some_and(Process::is_forked) {
            lock(&self.shared.kept).has_ended = true;
            self.shared.changed.notify_all();
        }
    }
}

impl Shared {
    fn watch(&self) {
        let mut kept = lock(&self.kept);
        while !kept.has_ended {
            let end = kept.card.as_ref().map(|(_, end)| *end);
            let left = end.map(|end| end.saturating_duration_since(now()));
            kept = match left {
                None => self.changed.wait(kept).unwrap_or_else(|e| e.into_inner()),
                Some(left) if left.is_zero() => {
                    let card = kept.card.take();
                    kept.is_released = true;
                    drop(kept);
                    // Disconnecting may take long.
                    do_elsewhere(move || drop(card));
                    lock(&self.kept)
                }
                Some(left) => {
                    let waited = self.changed.wait_timeout(kept, left);
                    waited.unwrap_or_else(|e| e.into_inner()).0
                }
            };
        }
    }
}
