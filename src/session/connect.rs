//! Finds a session's card, waits for it, connects and begins a transaction.

use std::time::{Duration, Instant};

use super::State;
use super::builder::{Config, Events};
use super::candidates::{Candidate, Look};
use super::card::SessionCard;
use super::error::SessionError;
use super::event::SessionEvent;
use super::recovery::{Action, Trial};
use super::steps::Stop;
use crate::card::{Card, Reader};
use crate::channel::Limits;
use crate::context::within;
use crate::error::{Error, ErrorKind, Operation, Recovery, Refusal, Result, Seen, SeenReader};
use crate::limits::Permit;
use crate::look::Contexts;
use crate::monitor::{Monitor, MonitorOptions, quick_states_of};
use crate::values::{CardState, Initialization, Protocols, ReaderName};

/// A transaction that begins within this time did not wait for another program.
const SOON: Duration = Duration::from_millis(50);

/// What a look at the readers found.
pub(super) struct Found {
    pub(super) candidate: Option<Candidate>,
    /// The content of the relevant readers.
    seen: Vec<SeenReader>,
}

impl Found {
    fn new(look: Look<'_>, config: &Config, state: &mut State) -> Found {
        state.turned_away.see(look);
        state.ladder.see(look);
        let (wanted, preferred) = (&config.wanted, state.reader.as_ref());
        let turned_away = &state.turned_away;
        Found {
            candidate: turned_away.choose(look.states, wanted, preferred),
            seen: turned_away.report(look.states, wanted),
        }
    }
}

/// Looks for the card without waiting. If the readers can no longer be listed, the card may be in
/// the reader that was chosen or used before.
///
/// With pcsc-lite each mute card takes 0.4 seconds. Other readers that had one are therefore asked
/// only if no card answers without them.
pub(super) fn look(config: &Config, state: &mut State, trial: &Trial) -> Result<Found> {
    let used = [
        config.wanted.only_reader(),
        state.reader.as_ref(),
        state.candidate.as_ref().map(|it| &it.reader_name),
    ];
    let used: Vec<ReaderName> = used.into_iter().flatten().cloned().collect();
    let (found, skipped) = look_at(config, state, trial, move |name| !used.contains(name))?;
    match &found.candidate {
        Some(card) if !card.is_mute => Ok(found),
        _ if !skipped => Ok(found),
        _ => look_at(config, state, trial, |_| false).map(|(found, _)| found),
    }
}

/// Looks once. Returns whether readers were skipped that had a mute card.
fn look_at(
    config: &Config,
    state: &mut State,
    trial: &Trial,
    may_skip: impl Fn(&ReaderName) -> bool + Send + 'static,
) -> Result<(Found, bool)> {
    let (address, wanted) = (config.context.address().clone(), config.wanted.clone());
    let states = async move |permit: &Permit<'_>| {
        let (address, limit) = (&address, permit.limit());
        let contexts = Contexts { address, limit };
        quick_states_of(&contexts, |name| wanted.is_about(name), may_skip).await
    };
    match limited(config, trial, states) {
        Err(error) if error.kind() == ErrorKind::StaleProcess => {
            let known = config.wanted.only_reader().or(state.reader.as_ref());
            let known = known.filter(|name| {
                config.wanted.takes_any_card_in(name) && !state.turned_away.concerns(name)
            });
            let known = known.cloned().ok_or(error)?;
            let found = Found {
                candidate: Some(Candidate::in_reader(known)),
                seen: Vec::new(),
            };
            Ok((found, false))
        }
        states => {
            let (states, unanswered) = &states?;
            let found = Found::new(Look { states, unanswered }, config, state);
            Ok((found, !unanswered.is_empty()))
        }
    }
}

/// Waits for the card, until the deadline.
fn wait(config: &Config, state: &mut State, trial: &Trial) -> Result<Found> {
    let mut options = MonitorOptions::new().only_about(&config.wanted);
    if let Some(abort) = &config.options.abort {
        options = options.abort_handle(abort);
    }
    let mut monitor = Monitor::start(
        config.context.address(),
        options,
        config.context.limits().pending(),
    )?;
    monitor.count_its_end();
    let mut last = Vec::new();
    let waited = monitor.states_until(trial.end, |states, unanswered| {
        let found = Found::new(Look { states, unanswered }, config, state);
        last.clone_from(&found.seen);
        found.candidate.is_some().then_some(found)
    })?;
    Ok(waited.unwrap_or(Found {
        candidate: None,
        seen: last,
    }))
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
    let begun = Instant::now();
    let transaction = card.transaction()?;
    let duration = begun.elapsed();
    if duration >= SOON {
        events.tell(SessionEvent::WaitedForOthers { duration });
    }
    Ok(SessionCard::new(transaction, config.keep_alive, trial.end))
}

/// Finds a card and connects to it. If that fails, the next card is tried.
fn connect(
    config: &Config,
    state: &mut State,
    events: &mut Events,
    trial: &mut Trial,
) -> Result<Card, Stop> {
    state.card_is_new();
    state.connection += 1;
    loop {
        let candidate = find(config, state, events, trial)?;
        let reader_name = candidate.reader_name.clone();
        state.ladder.tries(&candidate);
        let before = state.candidate.replace(candidate.clone());
        state.has_connected &= before.is_some_and(|it| candidate.is_same_as(&it));
        let connected = connect_with(config, trial, &reader_name, config.options.protocols);
        let connected = match connected {
            Err(error) if error.is_refusal_of_parameters() => {
                negotiate_again(config, events, trial, &reader_name, error)
            }
            connected => connected,
        };
        let mut card = match connected {
            Ok(card) => card,
            Err(error) if makes_way(&error) => {
                state.turned_away.for_now(candidate, error);
                continue;
            }
            Err(error) => return Err(Stop::Recover(error)),
        };
        card.set_timeout(config.call_timeout());
        // The connection may end here.
        card.set_end(trial.end);
        if candidate.is_mute && !config.wanted.takes_any_card_in(&reader_name) {
            // The card could not be examined before.
            let found = look(config, state, trial)?.candidate;
            let found = found.filter(|it| it.reader_name == reader_name && !it.is_mute);
            if found.is_none() {
                state.turned_away.for_good(candidate, Seen::NotMatching);
                continue;
            }
            state.candidate = found;
        }
        let protocol = card.protocol();
        state.loss_is_told = false;
        state.has_connected = true;
        events.tell(SessionEvent::Connected {
            reader_name,
            protocol,
        });
        return Ok(card);
    }
}

/// Returns the time-out of the next call.
fn limit(config: &Config, trial: &Trial) -> Option<Duration> {
    match (config.call_timeout(), trial.left()) {
        (Some(own), Some(left)) => Some(own.min(left)),
        (own, left) => own.or(left),
    }
}

fn connect_with(
    config: &Config,
    trial: &Trial,
    reader_name: &ReaderName,
    protocols: Protocols,
) -> Result<Card> {
    let options = config.options.clone().protocols(protocols);
    // The session itself waits, looking for another card meanwhile.
    let options = options.wait_for_access(false).timeout(limit(config, trial));
    config.context.connect(reader_name, options)
}

/// Recovers a card that refused the protocol parameters: resets it and connects again, with all
/// accepted protocols, then with each alone. The service does not try a second protocol by itself.
fn negotiate_again(
    config: &Config,
    events: &mut Events,
    trial: &mut Trial,
    reader_name: &ReaderName,
    mut refused: Error,
) -> Result<Card> {
    let accepted = config.options.protocols;
    let single = accepted.iter().filter(|it| *it != accepted);
    for protocols in std::iter::once(accepted).chain(single) {
        let Ok(attempt) = trial.next() else { break };
        trial.recovers_from(&refused);
        events.tell(SessionEvent::Recovering {
            error: refused.clone(),
            recovery: Recovery::ResetCard,
            attempt,
        });
        trial.pause(Action::Reset, config.options.abort.as_ref());
        open_directly(config, trial, reader_name)?.reconnect(Initialization::Reset)?;
        match connect_with(config, trial, reader_name, protocols) {
            Err(error) if error.is_refusal_of_parameters() => refused = error,
            // The card does not support this protocol.
            Err(error) if error.kind() == ErrorKind::ProtocolMismatch => {}
            connected => return connected,
        }
    }
    Err(refused)
}

/// Resets a card that could not be connected, if it still has no power. Once a reset has failed,
/// pcsc-lite does not power the card up at a connect, as long as another program is connected.
pub(super) fn revive(
    config: &Config,
    trial: &Trial,
    reader_name: &ReaderName,
    initialization: Initialization,
) -> Result<()> {
    let mut reader = open_directly(config, trial, reader_name)?;
    // That may have waited for another program, which has reset the card meanwhile.
    let state = reader.status()?.state();
    match state.contains(CardState::PRESENT) && !state.contains(CardState::POWERED) {
        true => reader.reconnect(initialization),
        false => Ok(()),
    }
}

fn open_directly(config: &Config, trial: &Trial, reader_name: &ReaderName) -> Result<Reader> {
    let limits = Limits::new(limit(config, trial), config.options.abort.clone())
        .counted_with(config.context.limits());
    let opening = Reader::opening(config.context.home(), reader_name, limits);
    let mut reader = Reader::new(opening.open()?);
    reader.set_timeout(limit(config, trial));
    Ok(reader)
}

/// Returns the next card to connect to, after waiting for it if configured.
fn find(
    config: &Config,
    state: &mut State,
    events: &mut Events,
    trial: &mut Trial,
) -> Result<Candidate, Stop> {
    let found = look(config, state, trial)?;
    if let Some(candidate) = found.candidate {
        return Ok(candidate);
    }
    if let Some(error) = state.turned_away.take_failure() {
        return Err(Stop::Recover(error.with_seen(found.seen)));
    }
    let no_card = |seen| {
        let error = Error::given_up(Operation::GetStatusChange, Refusal::NO_CARD);
        error.with_seen(seen)
    };
    if !trial.wait {
        return Err(Stop::Recover(no_card(found.seen)));
    }
    events.tell(SessionEvent::WaitingForCard);
    let waited = wait(config, state, trial)?;
    if let Some(candidate) = waited.candidate {
        trial.fresh();
        return Ok(candidate);
    }
    let cause = match trial.last() {
        Some(error) => error.with_seen(waited.seen),
        None => no_card(waited.seen),
    };
    Err(Stop::Fail(SessionError::Deadline { cause: Some(cause) }))
}

/// Returns whether another card may be tried after this failure to connect.
fn makes_way(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::SharingViolation
            | ErrorKind::ProtocolMismatch
            | ErrorKind::CardUnresponsive
            | ErrorKind::CardUnsupported
    )
}

/// Makes a call that does not concern the card, within the limits of the run.
pub(super) fn limited<T: Send + 'static>(
    config: &Config,
    trial: &Trial,
    call: impl AsyncFnOnce(&Permit<'_>) -> Result<T> + Send + 'static,
) -> Result<T> {
    let (left, abort) = (trial.left(), config.options.abort.clone());
    let limits = Limits::new(left, abort).counted_with(config.context.limits());
    let way = &config.context.address().way;
    within(way, &limits, Operation::GetStatusChange, call)
}
