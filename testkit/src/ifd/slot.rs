//! A slot of a reader of the kit's driver.
//!
//! The daemon looks at a slot when the driver requests it, and the driver
//! notifies the kit when the daemon has finished a look: the daemon's thread for
//! the slot begins to wait again, and by then it has notified its clients. So
//! each change of the slot has a number, a look is answered with the current
//! one, and the following wait in the same thread of the daemon means that this
//! change is published.
//!
//! A card that follows another is held back until the daemon has published the
//! empty slot in between. Otherwise the daemon would never notice the exchange,
//! and not power the new card on.
//!
//! If a card leaves during a command, the thread that removes the card answers
//! the command. The thread that is still in the card's program continues alone,
//! and another one serves the daemon from then on.

use std::net::Shutdown;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use super::state::{Names, State};
use super::wire;
use super::{Faults, Hooks, IfdCall, IfdError};
use crate::card_handle::CardHandle;
use crate::error::TestkitError;
use crate::sync::{lock, wait};

#[derive(Debug)]
pub(crate) struct IfdSlot {
    pub(super) name: Names,
    pub(super) state: Mutex<State>,
    pub(super) changed: Condvar,
    pub(super) faults: Mutex<Faults>,
    pub(super) hooks: Mutex<Hooks>,
}

impl IfdSlot {
    /// A slot of reader `number`, which is part of the name.
    pub(crate) fn new(name: String, number: u32) -> Self {
        Self {
            name: Names::new(name, number),
            state: Mutex::default(),
            changed: Condvar::new(),
            faults: Mutex::default(),
            hooks: Mutex::default(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name.last().name
    }

    pub(crate) fn number(&self) -> u32 {
        self.name.last().number
    }

    pub(crate) fn card(&self) -> Option<CardHandle> {
        lock(&self.state).card.clone()
    }

    pub(crate) fn has_daemon(&self) -> bool {
        lock(&self.state).daemon
    }

    /// A new daemon is about to run: it knows of no card.
    pub(crate) fn daemon_starts(&self) {
        let mut state = lock(&self.state);
        self.hang_up(&mut state);
        state.daemon = true;
    }

    /// The daemon has ended, or the sandbox ends.
    pub(crate) fn daemon_ended(&self) {
        let mut state = lock(&self.state);
        state.daemon = false;
        self.hang_up(&mut state);
        let card = state.card.clone();
        drop(state);
        if let Some(card) = card {
            card.lose_power();
        }
    }

    pub(crate) fn insert(&self, card: &CardHandle) -> Result<(), TestkitError> {
        let mut state = lock(&self.state);
        if state.gone {
            return Err(TestkitError::Unplugged {
                reader: self.name().to_owned(),
            });
        }
        if state.card.is_some() {
            return Err(TestkitError::ReaderOccupied {
                reader: self.name().to_owned(),
            });
        }
        card.claim()?;
        state.card = Some(card.clone());
        if state.link.is_none() || state.is_published() {
            state.show(Some(card.clone()));
        }
        Ok(())
    }

    pub(crate) fn remove(self: &Arc<Self>) {
        self.take_out(lock(&self.state));
    }

    /// Exchanges the card for another without notifying the daemon.
    pub(super) fn exchange(&self, card: &CardHandle) -> Result<(), TestkitError> {
        let mut state = lock(&self.state);
        if state.shown.is_none() || !state.is_published() {
            return Err(TestkitError::NoCard {
                reader: self.name().to_owned(),
            });
        }
        card.claim()?;
        let old = state.card.replace(card.clone());
        state.shown = Some(card.clone());
        drop(state);
        if let Some(old) = old {
            old.release();
            old.lose_power();
        }
        Ok(())
    }

    /// Changes the faults of a kind of call.
    pub(super) fn change_faults(&self, call: IfdCall, change: impl FnOnce(&mut Faults)) {
        change(&mut lock(&self.faults));
        if call == IfdCall::Presence {
            lock(&self.state).touch();
        }
    }

    pub(super) fn hooks(&self) -> MutexGuard<'_, Hooks> {
        lock(&self.hooks)
    }

    pub(super) fn take_out(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let Some(card) = state.card.take() else {
            return;
        };
        card.release();
        if state.shown.is_some() {
            state.show(None);
        }
        if state.command.take().is_some() {
            self.abandon(&state);
        }
        drop(state);
        self.changed.notify_all();
        card.lose_power();
    }

    /// The reader is unplugged: its card goes with it, and a pending command
    /// fails. Looks find the same as before, so that the next change that
    /// clients see is the end of the reader.
    pub(crate) fn unplug(self: &Arc<Self>) {
        let mut state = lock(&self.state);
        state.gone = true;
        let card = state.card.take();
        if state.command.take().is_some() {
            self.abandon(&state);
        }
        drop(state);
        self.changed.notify_all();
        if let Some(card) = card {
            card.release();
            card.lose_power();
        }
    }

    /// Fails the pending command, and lets another thread serve the daemon.
    fn abandon(self: &Arc<Self>, state: &State) {
        let Some(link) = &state.link else { return };
        let _ = wire::send(&link.requests, &Err(IfdError::COMMUNICATION_ERROR));
        let (slot, id, stream) = (Arc::clone(self), link.id, Arc::clone(&link.requests));
        thread::spawn(move || slot.serve(id, &stream));
    }

    /// Waits until the daemon has published a plugged reader.
    pub(crate) fn wait_until_added(
        &self,
        timeout: Duration,
        deadline: Instant,
    ) -> Result<(), TestkitError> {
        let mut state = lock(&self.state);
        while !(state.added && state.published.is_some()) {
            if !state.daemon {
                return Err(TestkitError::DaemonNotRunning);
            }
            let link = state.link.is_some();
            state = wait(&self.changed, state, deadline).ok_or_else(|| TestkitError::Timeout {
                what: format!("pcscd to publish reader {:?}", self.name()),
                after: timeout,
                likely: state_of_daemon(link),
            })?;
        }
        Ok(())
    }

    /// Waits until the daemon has closed an unplugged reader, if it had opened
    /// it.
    pub(crate) fn wait_until_closed(
        &self,
        timeout: Duration,
        deadline: Instant,
    ) -> Result<(), TestkitError> {
        let mut state = lock(&self.state);
        while state.link.is_some() {
            let link = state.link.is_some();
            state = wait(&self.changed, state, deadline).ok_or_else(|| TestkitError::Timeout {
                what: format!("pcscd to close reader {:?}", self.name()),
                after: timeout,
                likely: state_of_daemon(link),
            })?;
        }
        Ok(())
    }

    pub(crate) fn wait_until_published(
        &self,
        timeout: Duration,
        deadline: Instant,
    ) -> Result<(), TestkitError> {
        let mut state = lock(&self.state);
        let card = state.card.clone();
        loop {
            match (&card, &state.card) {
                (None, None) if !state.daemon || state.gone || state.is_published() => {
                    return Ok(());
                }
                (Some(wanted), Some(present)) if wanted.is(present) => {
                    if !state.daemon {
                        return Err(TestkitError::DaemonNotRunning);
                    }
                    if state.shown.is_some() && state.is_published() {
                        return Ok(());
                    }
                }
                (Some(_), _) => {
                    return Err(TestkitError::CardGone {
                        reader: self.name().to_owned(),
                    });
                }
                // Another thread has inserted a card meanwhile, which is shown
                // once the empty slot is published.
                (None, Some(_)) if state.shown.is_some() => return Ok(()),
                (None, _) => {}
            }
            let link = state.link.is_some();
            state = wait(&self.changed, state, deadline).ok_or_else(|| TestkitError::Timeout {
                what: match card {
                    Some(_) => format!("pcscd to publish the card in {:?}", self.name()),
                    None => format!("pcscd to publish {:?} as empty", self.name()),
                },
                after: timeout,
                likely: state_of_daemon(link),
            })?;
        }
    }

    /// Ends the connections in use.
    pub(super) fn hang_up(&self, state: &mut State) {
        if let Some(link) = state.link.take() {
            let _ = link.requests.shutdown(Shutdown::Both);
            if let Some(events) = link.events {
                let _ = events.shutdown(Shutdown::Both);
            }
        }
        state.command = None;
        state.looks.clear();
        state.published = None;
        state.added = false;
        state.shown = state.card.clone();
        self.changed.notify_all();
    }
}

/// The likely reason why the daemon does not proceed, given whether it has opened
/// the slot.
fn state_of_daemon(opened: bool) -> String {
    match opened {
        true => "it has opened the reader but does not query it: it is paused, or busy with a call",
        false => "it has not opened the reader; Sandbox::daemon_log may say why",
    }
    .into()
}
