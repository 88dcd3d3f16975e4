//! Drives a session: attempts, and recovery between them.

use std::time::Duration;

use super::card::{SessionCard, SuspendedWork};
use super::connect::{begin, look, revive};
use super::error::SessionError;
use super::event::SessionEvent;
use super::recovery::{Action, Over, Trial, action, is_silence, wants_reset};
use super::steps::{Stop, attend, can_recover, prepare};
use super::{Config, Session};
use crate::card::Card;
use crate::error::{BoxError, Error, ErrorKind, Operation, Recovery, Result, Seen};
use crate::values::{Disposition, Initialization, ReaderName};

/// How long a session with a deadline waits for a connection to end.
const RELEASE: Duration = Duration::from_secs(1);

/// The maximum number of recoveries outside of a run.
const BRIEF: u32 = 4;

impl Session {
    /// Connects, identifies and sets up, without work.
    pub(super) fn open(&mut self) -> Result<(), SessionError> {
        let mut trial = self.trial();
        trial.is_upkeep = true;
        self.work(trial, false, |_| Ok::<_, Error>(()))
    }

    /// Checks that the card is still there, and recovers if not.
    pub(super) fn look_after_card(&mut self) -> Result<(), SessionError> {
        let limit = self.config.attempts.unwrap_or(u32::MAX).min(BRIEF);
        let mut trial = Trial::new(self.config.timeout, Some(limit), false);
        trial.is_upkeep = true;
        self.let_go_if_unfit();
        if let (Some(card), None) = (&mut self.card, &self.state.pending) {
            card.set_end(trial.end);
            let status = match card.status().map(drop) {
                // A transaction reports what a status would.
                Err(error) if error.kind() == ErrorKind::StaleProcess => card
                    .transaction()
                    .and_then(|transaction| transaction.end(Disposition::Leave)),
                status => status,
            };
            if status.is_ok() {
                card.set_end(None);
            }
            match status {
                Ok(()) => return Ok(()),
                Err(error) => self.state.pending = Some(error),
            }
        }
        let kept = self.work(trial, false, |_| Ok::<_, Error>(()));
        if let Err(error) = kept.as_ref().map_err(SessionError::error) {
            self.reject_dead_card(error);
        }
        kept
    }

    /// Leaves a card alone that could not be connected because it does not answer, until the next
    /// run: each attempt powers it up.
    fn reject_dead_card(&mut self, error: Option<&Error>) {
        let is_dead = |it: &&Error| is_silence(it) || it.is_refusal_of_parameters();
        if let (Some(error), None) = (error.filter(is_dead), &self.card) {
            if let Some(card) = self.state.candidate.clone() {
                self.state
                    .turned_away
                    .for_good(card, Seen::of_connect(error));
            }
        }
    }

    /// Takes back the card that was kept between runs.
    pub(super) fn wake(&mut self) {
        let Some(idle) = &mut self.idle else { return };
        let (card, is_released) = idle.take();
        self.card = self.card.take().or(card);
        if is_released {
            // Without the connection there is nothing to recover.
            self.state.pending = None;
            self.is_released();
        }
    }

    /// Stores the card until the next run.
    pub(super) fn rest(&mut self) {
        if self.state.suspended.is_some() {
            return;
        }
        if let Some(idle) = &mut self.idle {
            self.card = self.card.take().and_then(|card| idle.keep(card));
        }
    }

    /// Notes that the card was released.
    pub(super) fn is_released(&mut self) {
        self.state.is_released = true;
        self.events.tell(SessionEvent::Released);
    }

    pub(super) fn trial(&self) -> Trial {
        let Config {
            timeout,
            attempts,
            wait_for_card,
            ..
        } = self.config;
        Trial::new(timeout, attempts, wait_for_card)
    }

    pub(super) fn work<T, E: Into<BoxError>>(
        &mut self,
        trial: Trial,
        restartable: bool,
        mut work: impl FnMut(&mut SessionCard<'_>) -> Result<T, E>,
    ) -> Result<T, SessionError> {
        let is_use = !trial.is_upkeep;
        let result = self.perform(trial, |session, trial| {
            session.attempt(trial, restartable, &mut work)
        });
        if let (true, Some(idle)) = (is_use, &mut self.idle) {
            idle.begin();
        }
        self.rest();
        result
    }

    /// Repeats attempts until one succeeds or the session cannot recover.
    pub(super) fn perform<T>(
        &mut self,
        mut trial: Trial,
        mut attempt: impl FnMut(&mut Session, &mut Trial) -> Result<T, Stop>,
    ) -> Result<T, SessionError> {
        self.wake();
        // It belongs to a leaked guard.
        self.state.suspended = None;
        self.state.is_released = false;
        self.let_go_if_unfit();
        let mut failed = self.state.pending.take();
        if !trial.is_upkeep {
            // A new run examines rejected cards again.
            self.state.turned_away.clear();
        }
        let result = loop {
            let attempted = match failed.take() {
                Some(error) => self.recover(error, &mut trial),
                None => Ok(()),
            }
            .and_then(|()| attempt(self, &mut trial));
            match attempted {
                Ok(value) => break Ok(value),
                Err(Stop::Recover(error)) => failed = Some(error),
                Err(Stop::Fail(SessionError::WrongCard { .. })) if self.has_other(&trial) => {}
                Err(Stop::Fail(error)) => break Err(error),
                Err(Stop::NotThisCard { reason }) => self.skip_card(Seen::Refused { reason }),
            }
        };
        if let Some(card) = &mut self.card {
            card.set_end(None);
        }
        result
    }

    /// Returns whether the right card may be in a reader that was not tried.
    fn has_other(&mut self, trial: &Trial) -> bool {
        let found = look(&self.config, &mut self.state, trial);
        matches!(found, Ok(found) if found.candidate.is_some())
    }

    /// Recovers from a failure.
    pub(super) fn recover(&mut self, error: Error, trial: &mut Trial) -> Result<(), Stop> {
        self.state.set_up = false;
        let recovery = match self.card.is_some() && error.is_refusal_of_parameters() {
            // A new connection is negotiated with every accepted protocol.
            true => Recovery::ConnectAgain,
            false => trial.recovery(&error),
        };
        // A lost connection says nothing about the card that may be there now.
        let absent = !trial.wait && self.card.is_none();
        let action = match recovery {
            Recovery::InsertCard | Recovery::AttachReader if absent => None,
            recovery => action(recovery),
        };
        let is_silent = action.is_some() && is_silence(&error);
        let action = match is_silent {
            true => match self.state.ladder.next(self.card.is_some()) {
                Some(action) => Some(action),
                None => return self.give_up_card(error, trial),
            },
            false => action,
        };
        let Some(action) = action else {
            if absent && !std::mem::replace(&mut self.state.loss_is_told, true) {
                let error = error.clone();
                self.events.tell(SessionEvent::CardLost { error });
            }
            self.remember(error.clone());
            return Err(Stop::Fail(SessionError::Card(error)));
        };
        let attempt = match trial.next() {
            Ok(attempt) => attempt,
            Err(over) => {
                self.remember(error.clone());
                return Err(Stop::Fail(match over {
                    Over::Attempts => SessionError::Card(error),
                    Over::Deadline => SessionError::Deadline {
                        cause: Some(trial.cause(error)),
                    },
                }));
            }
        };
        trial.recovers_from(&error);
        let failed_in = error.reader_name().cloned();
        self.events.tell(SessionEvent::Recovering {
            error,
            recovery,
            attempt,
        });
        trial.pause(action, self.config.options.abort.as_ref());
        match action {
            Action::Retry => {}
            Action::ConnectAgain => self.let_go(),
            Action::Acknowledge => self.reconnect(Initialization::Leave, trial)?,
            Action::Reset => self.reset(Initialization::Reset, failed_in, trial)?,
            Action::Unpower => self.reset(Initialization::Unpower, failed_in, trial)?,
        }
        Ok(())
    }

    /// Resets the card; without a connection, the one in the reader that failed.
    fn reset(
        &mut self,
        initialization: Initialization,
        failed_in: Option<ReaderName>,
        trial: &mut Trial,
    ) -> Result<()> {
        match failed_in {
            Some(reader_name) if self.card.is_none() => {
                revive(&self.config, trial, &reader_name, initialization)
            }
            _ => self.reconnect(initialization, trial),
        }
    }

    /// Gives up on a card that does not answer. If it never has, another card is tried.
    fn give_up_card(&mut self, error: Error, trial: &Trial) -> Result<(), Stop> {
        self.state.ladder.restart();
        if trial.wait && !self.state.has_connected {
            self.skip_card(Seen::Mute);
            return Ok(());
        }
        self.let_go();
        Err(Stop::Fail(SessionError::Unresponsive { error }))
    }

    /// Leaves an unsuitable card and tries the next one.
    fn skip_card(&mut self, seen: Seen) {
        let Some(card) = self.state.candidate.clone() else {
            return self.let_go();
        };
        let reader_name = card.reader_name.clone();
        self.events.tell(SessionEvent::CardSkipped {
            reader_name,
            seen: seen.clone(),
        });
        self.state.turned_away.for_good(card, seen);
        self.let_go();
    }

    fn reconnect(&mut self, mut initialization: Initialization, trial: &mut Trial) -> Result<()> {
        let Some(card) = &mut self.card else {
            return Ok(());
        };
        self.state.card_is_new();
        card.set_end(trial.end);
        let options = &self.config.options;
        let (share_mode, protocols) = (options.share_mode, options.protocols);
        let mut reconnected = card.reconnect(share_mode, protocols, initialization);
        if let (Initialization::Leave, Err(error)) = (initialization, &reconnected) {
            if wants_reset(error) {
                initialization = Initialization::Reset;
                reconnected = card.reconnect(share_mode, protocols, initialization);
            }
        }
        let protocol = reconnected?;
        trial.has_reconnected();
        self.events.tell(SessionEvent::Reconnected {
            initialization,
            protocol,
        });
        Ok(())
    }

    /// Notes what the next run has to do about a failure.
    pub(super) fn remember(&mut self, error: Error) {
        self.state.set_up = false;
        let abandoned = self.card.as_ref().is_some_and(Card::is_abandoned);
        let ends = error.operation() == Operation::EndTransaction;
        match action(error.recovery()) {
            _ if abandoned => self.let_go(),
            // The call was not begun.
            _ if error.kind() == ErrorKind::DeadlineExceeded => {}
            Some(Action::Acknowledge | Action::Reset | Action::Unpower) => {
                self.state.pending = Some(error)
            }
            Some(Action::ConnectAgain) => self.let_go(),
            // This connection may lock out other programs.
            Some(Action::Retry) | None if ends => self.let_go(),
            Some(Action::Retry) | None => {}
        }
    }

    pub(super) fn let_go_if_unfit(&mut self) {
        if std::mem::take(&mut self.state.is_unfit) {
            self.let_go();
        }
    }

    /// Ends the connection, within the session's limits.
    pub(super) fn let_go(&mut self) {
        let Some(mut card) = self.card.take() else {
            return;
        };
        if self.config.timeout.is_some() {
            let own = self.config.call_timeout().unwrap_or(RELEASE);
            card.set_timeout(Some(own.min(RELEASE)));
        }
        drop(card);
    }

    /// Makes one attempt: connects if necessary, identifies the card, sets it up, works.
    fn attempt<T, E: Into<BoxError>>(
        &mut self,
        trial: &mut Trial,
        restartable: bool,
        work: &mut impl FnMut(&mut SessionCard<'_>) -> Result<T, E>,
    ) -> Result<T, Stop> {
        let Session {
            card,
            state,
            config,
            hooks,
            events,
            ..
        } = self;
        let mut card = begin(card, config, state, events, trial)?;
        let prepared = prepare(&mut card, config, hooks, state, events, trial);
        let outcome = prepared.and_then(|()| match attend(&mut card, state, work) {
            Err(Stop::Fail(SessionError::Interrupted { error, .. }))
                if restartable && can_recover(&error, trial) =>
            {
                Err(Stop::Recover(error))
            }
            outcome => outcome,
        });
        let ended = card.finish();
        self.settle(outcome.as_ref().err(), ended);
        outcome
    }

    /// Connects, identifies and sets up as [`attempt`](Session::attempt) does, and keeps the
    /// transaction.
    pub(super) fn attempt_to_begin(&mut self, trial: &mut Trial) -> Result<SuspendedWork, Stop> {
        let Session {
            card,
            state,
            config,
            hooks,
            events,
            ..
        } = self;
        let mut card = begin(card, config, state, events, trial)?;
        match prepare(&mut card, config, hooks, state, events, trial) {
            Ok(()) => Ok(card.suspend()),
            Err(stop) => {
                let ended = card.finish();
                self.settle(Some(&stop), ended);
                Err(stop)
            }
        }
    }

    /// Notes the outcome of an attempt and of the end of its transaction.
    fn settle(&mut self, stop: Option<&Stop>, ended: Result<()>) {
        match stop {
            Some(Stop::Recover(_) | Stop::NotThisCard { .. }) => {}
            Some(Stop::Fail(SessionError::Interrupted { error, .. })) => {
                self.remember(error.clone());
            }
            Some(Stop::Fail(SessionError::WrongCard { .. })) => {
                let reason = "not the card that the session began with".to_owned();
                self.skip_card(Seen::Refused { reason });
            }
            _ => {
                if let Err(error) = ended {
                    self.remember(error);
                }
            }
        }
    }
}
