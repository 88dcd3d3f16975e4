//! The steps of an attempt: find a card and connect, identify, set up, work.

use super::State;
use super::builder::{Config, Events, Hook, Hooks, SetUpWhen};
use super::card::{Progress, SessionCard};
use super::error::SessionError;
use super::event::SessionEvent;
use super::recovery::{Trial, action, is_recovered_from_later};
use crate::card::Card;
use crate::channel::Limits;
use crate::context::within;
use crate::error::{BoxError, Error, ErrorKind, Operation, Refusal, Result, chain};
use crate::look::reader_states_of;
use crate::monitor::{CardFilter, Monitor, MonitorOptions};
use crate::values::{ReaderName, ShareMode};

/// Why an attempt ended without success.
pub(super) enum Stop {
    Recover(Error),
    Fail(SessionError),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Recover(error)
    }
}

pub(super) fn can_recover(error: &Error, trial: &Trial) -> bool {
    action(error.recovery()).is_some() && trial.over().is_none()
}

/// Looks for the card, and does not wait for it. If the readers cannot be listed any more, the
/// card may be in the reader that was chosen or used before.
pub(super) fn look(config: &Config, state: &State, trial: &Trial) -> Result<Option<ReaderName>> {
    let (wanted, preferred) = (wanted(config, state), state.reader.clone());
    let scope = config.context.scope();
    let found = limited(config, trial, move || {
        let states = reader_states_of(scope, |name| wanted.is_about(name))?;
        let found = wanted.choose(&states, preferred.as_ref());
        Ok(found.map(|state| state.reader_name().clone()))
    });
    match found {
        Err(error) if error.kind() == ErrorKind::StaleProcess => {
            let known = config.wanted.only_reader().or(state.reader.as_ref());
            let known = known.filter(|name| {
                config.wanted.takes_any_card_in(name) && !state.refused.contains(name)
            });
            known.cloned().map(Some).ok_or(error)
        }
        found => found,
    }
}

/// Waits for the card: none at the deadline.
fn wait(config: &Config, state: &State, trial: &Trial) -> Result<Option<ReaderName>> {
    let wanted = wanted(config, state);
    let mut options = MonitorOptions::new().only_about(&wanted);
    if let Some(abort) = &config.options.abort {
        options = options.abort_handle(abort);
    }
    let mut monitor = Monitor::start(
        config.context.scope(),
        options,
        config.context.limits().pending(),
    )?;
    monitor.is_given_up();
    let found = monitor.card_until(&wanted, state.reader.as_ref(), trial.end)?;
    Ok(found.map(|state| state.reader_name().clone()))
}

/// The cards that this run may use.
fn wanted(config: &Config, state: &State) -> CardFilter {
    let refused = state.refused.clone();
    let wanted = config.wanted.clone();
    wanted.reader_matching(move |name| !refused.contains(name))
}

/// Begins a transaction, and connects first if there is no connection.
pub(super) fn begin<'a>(
    card: &'a mut Option<Card>,
    config: &Config,
    state: &mut State,
    events: &mut Events,
    trial: &mut Trial,
) -> Result<SessionCard<'a>, Stop> {
    let card = match card {
        Some(card) => card,
        none => none.insert(connect(config, state, events, trial)?),
    };
    card.set_end(trial.end);
    let transaction = card.transaction()?;
    Ok(SessionCard::new(transaction, config.keep_alive, trial.end))
}

/// Finds a card and connects to it.
fn connect(
    config: &Config,
    state: &mut State,
    events: &mut Events,
    trial: &mut Trial,
) -> Result<Card, Stop> {
    state.set_up = false;
    state.unidentified = true;
    let no_card = || Error::given_up(Operation::GetStatusChange, Refusal::NO_CARD);
    let reader = match look(config, state, trial)? {
        Some(reader) => reader,
        None if !trial.wait => return Err(Stop::Recover(no_card())),
        None => {
            events.tell(SessionEvent::WaitingForCard);
            let found = wait(config, state, trial)?;
            match found {
                Some(reader) => {
                    trial.fresh();
                    reader
                }
                None => {
                    return Err(Stop::Fail(SessionError::Deadline {
                        cause: Some(trial.last().unwrap_or_else(no_card)),
                    }));
                }
            }
        }
    };
    let own = config.call_timeout();
    let limit = match (own, trial.left()) {
        (Some(own), Some(left)) => Some(own.min(left)),
        (own, left) => own.or(left),
    };
    let options = config.options.clone().timeout(limit);
    let mut card = config.context.connect(&reader, options)?;
    card.set_timeout(own);
    let protocol = card.protocol();
    state.loss_is_told = false;
    events.tell(SessionEvent::Connected {
        reader_name: reader,
        protocol,
    });
    Ok(card)
}

/// Makes a call that is not on the card, within the limits of the run.
pub(super) fn limited<T: Send + 'static>(
    config: &Config,
    trial: &Trial,
    call: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let (left, abort) = (trial.left(), config.options.abort.clone());
    let limits = Limits::new(left, abort).counted_with(config.context.limits());
    within(&limits, Operation::GetStatusChange, move |_| call())
}

/// Identifies the card if it could be another one, and sets it up if that is due.
pub(super) fn prepare(
    card: &mut SessionCard<'_>,
    config: &Config,
    hooks: &mut Hooks,
    state: &mut State,
    events: &mut Events,
) -> Result<(), Stop> {
    if let (true, Some(identity)) = (state.unidentified, &mut hooks.identity) {
        let found = call_hook(card, identity)?;
        match &state.identity {
            Some(expected) if *expected != found => {
                return Err(Stop::Fail(SessionError::WrongCard {
                    expected: expected.clone(),
                    found,
                }));
            }
            _ => state.identity = Some(found),
        }
        events.tell(SessionEvent::Identified);
    }
    if state.unidentified {
        state.unidentified = false;
        state.reader = Some(card.reader_name().clone());
    }
    let lost = match config.setup_when {
        SetUpWhen::Always => true,
        SetUpWhen::OnLoss => card.share_mode() == ShareMode::Shared,
        SetUpWhen::OnReset => false,
    };
    if lost || !state.set_up {
        state.set_up = false;
        if let Some(setup) = &mut hooks.setup {
            call_hook(card, setup)?;
            events.tell(SessionEvent::SetUp);
        }
    }
    Ok(())
}

/// Calls a hook, which can be repeated whatever it has done.
pub(super) fn call_hook<T>(card: &mut SessionCard<'_>, hook: &mut Hook<T>) -> Result<T, Stop> {
    let answer = hook(card);
    let progress = card.take_progress();
    answer.map_err(|error| match failure_behind(&error, &progress) {
        Some(failure) => Stop::Recover(failure),
        None => Stop::Fail(SessionError::Hook(error)),
    })
}

/// The failure of the card that the error of a hook or of the work is about: that of the last call,
/// or if that has succeeded, the one of an earlier call that was returned. An error that comes by
/// way of `anyhow` without a context can be told by its text alone.
fn failure_behind(error: &BoxError, progress: &Progress) -> Option<Error> {
    if progress.failure.is_some() || !progress.has_failed() {
        return progress.failure.clone();
    }
    let error: &(dyn std::error::Error + 'static) = &**error;
    let found = Error::find(error);
    let texts: Vec<String> = chain(error).map(ToString::to_string).collect();
    let is_returned = |failure: &&Error| match found {
        Some(found) => found == *failure,
        None => texts.contains(&failure.to_string()),
    };
    progress.failures.iter().rev().find(is_returned).cloned()
}

/// Does the work, and says what its failure means.
pub(super) fn attend<T, E: Into<BoxError>>(
    card: &mut SessionCard<'_>,
    state: &mut State,
    work: &mut impl FnMut(&mut SessionCard<'_>) -> Result<T, E>,
) -> Result<T, Stop> {
    // Stays so in a panic.
    state.set_up = false;
    let answer = work(card);
    let progress = card.take_progress();
    state.set_up = !progress.has_failed();
    let work = match answer.map_err(E::into) {
        Ok(value) => {
            // The work may do without what failed; the next one needs the card.
            state.pending = progress.failure.filter(is_recovered_from_later);
            return Ok(value);
        }
        Err(work) => work,
    };
    Err(match failure_behind(&work, &progress) {
        None => Stop::Fail(SessionError::Work(work)),
        Some(error) if progress.touched => Stop::Fail(SessionError::Interrupted {
            error,
            completed: progress.completed,
            work,
        }),
        Some(error) => Stop::Recover(error),
    })
}
