//! The steps of an attempt on a connected card: identify, set up, log in, work.

use super::State;
use super::builder::{Config, Events, SetUpWhen};
use super::card::SessionCard;
use super::error::SessionError;
use super::event::{SessionEvent, SessionHook};
use super::hooks::{Hooks, Identification, call_hook, failure_behind};
use super::recovery::{Trial, action, is_recovered_from_later};
use crate::error::{BoxError, Error, Result};
use crate::values::ShareMode;

/// Why an attempt ended without success.
pub(super) enum Stop {
    Recover(Error),
    Fail(SessionError),
    /// A hook rejected the card.
    NotThisCard {
        reason: String,
    },
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Recover(error)
    }
}

pub(super) fn can_recover(error: &Error, trial: &Trial) -> bool {
    action(error.recovery()).is_some() && trial.over().is_none()
}

/// Identifies the card if it may have been replaced, sets it up and logs in if that is due.
pub(super) fn prepare(
    card: &mut SessionCard<'_>,
    config: &Config,
    hooks: &mut Hooks,
    state: &mut State,
    events: &mut Events,
    trial: &Trial,
) -> Result<(), Stop> {
    if trial.is_upkeep && state.hook_failed {
        // The hook is called again only in a run.
        return Ok(());
    }
    // Remains if a hook panics.
    state.hook_failed = true;
    let prepared = identify(card, hooks, state, events).and_then(|identity| {
        set_up(card, config, hooks, state, events)?;
        // Not before: another card may be the right one.
        state.identity = identity;
        state.is_identified = true;
        state.reader = Some(card.reader_name().clone());
        log_in(card, hooks, state, events, trial)
    });
    state.hook_failed = matches!(
        prepared,
        Err(Stop::Fail(SessionError::Hook(_) | SessionError::Login(_)))
    );
    prepared
}

/// Returns the identity of the card, which is the right one.
fn identify(
    card: &mut SessionCard<'_>,
    hooks: &mut Hooks,
    state: &mut State,
    events: &mut Events,
) -> Result<Option<Vec<u8>>, Stop> {
    let (Some(identity), false) = (&mut hooks.identity, state.is_identified) else {
        return Ok(state.identity.clone());
    };
    let which = SessionHook::Identity;
    let found = call_hook(card, identity, which, events, &mut state.ladder)?;
    match &state.identity {
        Some(expected) if *expected != found => {
            return Err(Stop::Fail(SessionError::WrongCard {
                expected: expected.clone(),
                found,
            }));
        }
        _ => {}
    }
    events.tell(SessionEvent::Identified);
    Ok(Some(found))
}

fn set_up(
    card: &mut SessionCard<'_>,
    config: &Config,
    hooks: &mut Hooks,
    state: &mut State,
    events: &mut Events,
) -> Result<(), Stop> {
    let lost = match config.setup_when {
        SetUpWhen::Always => true,
        SetUpWhen::OnLoss => card.share_mode() == ShareMode::Shared,
        SetUpWhen::OnReset => false,
    };
    if lost || !state.set_up {
        state.set_up = false;
        if let Some(setup) = &mut hooks.setup {
            call_hook(card, setup, SessionHook::SetUp, events, &mut state.ladder)?;
            events.tell(SessionEvent::SetUp);
        }
        state.needs_login = true;
    }
    Ok(())
}

fn log_in(
    card: &mut SessionCard<'_>,
    hooks: &mut Hooks,
    state: &mut State,
    events: &mut Events,
    trial: &Trial,
) -> Result<(), Stop> {
    if let (true, false, Some(login)) = (state.needs_login, trial.is_upkeep, &mut hooks.login) {
        let identification = match hooks.identity {
            Some(_) => Identification::ByIdentity,
            None => Identification::ByConnection {
                connection: state.connection,
                resets: state.resets,
            },
        };
        login.perform(card, identification, events, &mut state.ladder)?;
        state.needs_login = false;
    }
    state.set_up = true;
    Ok(())
}

/// Performs the work and classifies its failure.
pub(super) fn attend<T, E: Into<BoxError>>(
    card: &mut SessionCard<'_>,
    state: &mut State,
    work: &mut impl FnMut(&mut SessionCard<'_>) -> Result<T, E>,
) -> Result<T, Stop> {
    // Remains false if the work panics.
    let is_set_up = std::mem::take(&mut state.set_up);
    let answer = work(card);
    let progress = card.take_progress();
    state.set_up = is_set_up && !progress.has_failed();
    state.ladder.note(&progress);
    let work = match answer.map_err(E::into) {
        Ok(value) => {
            // This work succeeded despite the failure; the next one needs the card.
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
            in_login: false,
        }),
        Some(error) => Stop::Recover(error),
    })
}
