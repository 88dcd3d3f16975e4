//! What a session does about a failure, and how often and how long.

use std::time::{Duration, Instant};

use super::candidates::{Candidate, Look, Presence};
use super::card::Progress;
use crate::codes::{Platform, ReturnCode};
use crate::error::{Error, ErrorKind, Operation, Recovery};
use crate::limits::AbortHandle;
use crate::limits::pause::Pause;

/// What a session can do by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Reconnect, leaving the card as it is.
    Acknowledge,
    /// Reconnect with a warm reset.
    Reset,
    /// Reconnect with a cold reset.
    Unpower,
    /// Give up the connection, look or wait for a card, connect.
    ConnectAgain,
    /// The same again, later.
    Retry,
}

/// What helps against this, if a session can do it.
pub(super) fn action(recovery: Recovery) -> Option<Action> {
    match recovery {
        Recovery::Reconnect => Some(Action::Acknowledge),
        Recovery::ResetCard => Some(Action::Reset),
        Recovery::InsertCard | Recovery::AttachReader | Recovery::ConnectAgain => {
            Some(Action::ConnectAgain)
        }
        Recovery::RetryLater => Some(Action::Retry),
        Recovery::RestartProcess
        | Recovery::AskUser
        | Recovery::AskAdministrator
        | Recovery::FixCall
        | Recovery::None => None,
    }
}

/// What is done, one after the other, about a card that does not answer.
#[derive(Debug, Default)]
pub(super) struct Ladder {
    climbed: usize,
    /// The cards that it is about, one in each reader.
    cards: Vec<Candidate>,
}

impl Ladder {
    const RUNGS: [Action; 3] = [Action::Reset, Action::Unpower, Action::ConnectAgain];

    /// How often each of them is tried.
    const ROUNDS: usize = 2;

    /// What to try next; nothing after that. Without a connection there is nothing to reset, and
    /// each rung is a new one, which powers the card up.
    pub(super) fn next(&mut self, is_connected: bool) -> Option<Action> {
        let rungs = Ladder::RUNGS.iter().cycle();
        let mut rungs = rungs.take(Ladder::RUNGS.len() * Ladder::ROUNDS);
        let action = rungs.nth(self.climbed)?;
        self.climbed += 1;
        Some(match is_connected {
            true => *action,
            false => Action::ConnectAgain,
        })
    }

    /// Begins anew after a card has gone.
    pub(super) fn see(&mut self, look: Look<'_>) {
        let before = self.cards.len();
        self.cards
            .retain(|it| !matches!(look.card_in(&it.reader_name), Presence::None));
        if self.cards.len() != before {
            self.climbed = 0;
        }
    }

    /// Begins anew for a card that was put in meanwhile.
    pub(super) fn tries(&mut self, card: &Candidate) {
        let in_reader = |it: &&mut Candidate| it.reader_name == card.reader_name;
        match self.cards.iter_mut().find(in_reader) {
            Some(before) => {
                if card.follows(before) {
                    self.climbed = 0;
                }
                before.clone_from(card);
            }
            None => self.cards.push(card.clone()),
        }
    }

    /// Begins anew if the card has answered.
    pub(super) fn note(&mut self, progress: &Progress) {
        if progress.completed > 0 {
            self.reset();
        }
    }

    /// It has come to its end.
    pub(super) fn reset(&mut self) {
        self.climbed = 0;
    }
}

/// Whether this says that the card does not answer.
pub(super) fn is_silence(error: &Error) -> bool {
    error.kind() == ErrorKind::CardUnresponsive || error.recovery() == Recovery::ResetCard
}

/// The limits of one run.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) end: Option<Instant>,
    /// Whether to wait for a card.
    pub(super) wait: bool,
    /// Whether it is not for work: no login is made then, and no hook repeated that has failed.
    pub(super) is_upkeep: bool,
    limit: Option<u32>,
    attempts: u32,
    pause: Pause,
    /// The failure that was recovered from last.
    last: Option<Error>,
    /// How often in a row there was an answer that may have been true for a moment only.
    doubts: u32,
}

/// After so many of them in a row they are believed.
const BELIEVED: u32 = 3;

/// Why there is no further attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// There have been as many as there may be.
    Attempts,
    /// The deadline has passed.
    Deadline,
}

impl Trial {
    pub(super) fn new(timeout: Option<Duration>, limit: Option<u32>, wait: bool) -> Trial {
        Trial {
            // A deadline past the end of the clock is none.
            end: timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
            wait,
            is_upkeep: false,
            limit,
            attempts: 0,
            pause: Pause::default(),
            last: None,
            doubts: 0,
        }
    }

    pub(super) fn left(&self) -> Option<Duration> {
        let end = self.end?;
        Some(end.saturating_duration_since(Instant::now()))
    }

    pub(super) fn is_over(&self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }

    /// Whether there can be no further attempt.
    pub(super) fn over(&self) -> Option<Over> {
        if self.is_over() {
            Some(Over::Deadline)
        } else if self.limit.is_some_and(|limit| self.attempts >= limit) {
            Some(Over::Attempts)
        } else {
            None
        }
    }

    /// Counts a further attempt, and says which one it is.
    pub(super) fn next(&mut self) -> Result<u32, Over> {
        if let Some(over) = self.over() {
            return Err(over);
        }
        self.attempts = self.attempts.saturating_add(1);
        Ok(self.attempts)
    }

    /// What helps. Where an answer may have been true for a moment only, that is to ask again.
    pub(super) fn recovery(&mut self, error: &Error) -> Recovery {
        let is_doubtful = is_doubtful(Platform::CURRENT, error);
        self.doubts = match is_doubtful {
            true => self.doubts.saturating_add(1),
            // It is still to be acknowledged after a reconnect that was refused.
            false if error.kind() == ErrorKind::CardReset => self.doubts,
            false => 0,
        };
        match is_doubtful && self.doubts < BELIEVED {
            true => Recovery::RetryLater,
            false => error.recovery(),
        }
    }

    /// What was doubted is over.
    pub(super) fn has_reconnected(&mut self) {
        self.doubts = 0;
    }

    pub(super) fn recovers_from(&mut self, error: &Error) {
        self.last = Some(error.clone());
    }

    pub(super) fn last(&self) -> Option<Error> {
        self.last.clone()
    }

    /// What tells most about a run that ended at its deadline with this.
    pub(super) fn cause(&self, error: Error) -> Error {
        match &self.last {
            Some(last) if error.kind() == ErrorKind::DeadlineExceeded => last.clone(),
            _ => error,
        }
    }

    /// The first attempt comes at once, unless it is to be later; the others after pauses.
    pub(super) fn pause(&mut self, action: Action, abort: Option<&AbortHandle>) {
        if self.attempts > 1 || action == Action::Retry {
            self.pause.take(self.end, abort);
        }
    }

    /// Something was waited for, and has come: what follows is no repetition.
    pub(super) fn fresh(&mut self) {
        self.pause = Pause::default();
    }
}

/// Whether the next answer tells more than this one. pcsc-lite reports a daemon that dies while
/// it is asked in the same way as a denial by polkit: a dead one is not there when it is asked
/// again, and one that denies denies again. And it refuses the protocols of a connection that
/// is made at the moment at which the card loses its power, whatever they are.
fn is_doubtful(platform: Platform, error: &Error) -> bool {
    match (error.operation(), error.code()) {
        (_, ReturnCode::W_SECURITY_VIOLATION) => {
            platform != Platform::Windows && error.recovery() == Recovery::AskAdministrator
        }
        (Operation::Connect | Operation::Reconnect, ReturnCode::E_PROTO_MISMATCH) => {
            platform == Platform::PcscLite
        }
        _ => false,
    }
}

/// Whether the next run has to do something about this failure of the one before. A deadline is
/// over with its run.
pub(super) fn is_recovered_from_later(error: &Error) -> bool {
    error.kind() != ErrorKind::DeadlineExceeded && action(error.recovery()).is_some()
}

/// Whether a reset may help where a mere reconnect has failed with this.
pub(super) fn wants_reset(error: &Error) -> bool {
    error.kind() == ErrorKind::ProtocolMismatch
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Refusal;
    use crate::values::ReaderName;

    fn against(operation: Operation, code: ReturnCode) -> Option<Action> {
        action(Error::new(operation, code).recovery())
    }

    #[test]
    fn every_failure_that_passes_has_its_recovery() {
        use Operation as Op;
        for (operation, code, expected) in [
            (Op::Transmit, ReturnCode::W_RESET_CARD, Action::Acknowledge),
            (
                Op::BeginTransaction,
                ReturnCode::W_RESET_CARD,
                Action::Acknowledge,
            ),
            (
                Op::Transmit,
                ReturnCode::E_PROTO_MISMATCH,
                Action::Acknowledge,
            ),
            (Op::Transmit, ReturnCode::E_NOT_TRANSACTED, Action::Reset),
            (
                Op::Transmit,
                ReturnCode::W_REMOVED_CARD,
                Action::ConnectAgain,
            ),
            (
                Op::Transmit,
                ReturnCode::E_NO_SMARTCARD,
                Action::ConnectAgain,
            ),
            (
                Op::Connect,
                ReturnCode::E_NO_SMARTCARD,
                Action::ConnectAgain,
            ),
            (Op::Transmit, ReturnCode::F_COMM_ERROR, Action::ConnectAgain),
            (Op::Status, ReturnCode::E_NO_SERVICE, Action::ConnectAgain),
            (
                Op::EstablishContext,
                ReturnCode::F_COMM_ERROR,
                Action::Retry,
            ),
            (Op::Connect, ReturnCode::E_SHARING_VIOLATION, Action::Retry),
        ] {
            assert_eq!(
                against(operation, code),
                Some(expected),
                "{operation} {code}"
            );
        }
    }

    /// A reader that is unplugged, in every call: the connection is gone, and another is made
    /// when the reader is back. (The virtual readers of the tests cannot be unplugged.)
    #[cfg(not(windows))]
    #[test]
    fn an_unplugged_reader_is_waited_for() {
        for operation in [
            Operation::Transmit,
            Operation::BeginTransaction,
            Operation::EndTransaction,
            Operation::Reconnect,
            Operation::Control,
        ] {
            let action = against(operation, ReturnCode::E_INVALID_VALUE);
            assert_eq!(action, Some(Action::ConnectAgain), "{operation}");
        }
        for (operation, code) in [
            (Operation::Status, ReturnCode::E_READER_UNAVAILABLE),
            (Operation::Transmit, ReturnCode::E_READER_UNAVAILABLE),
            (Operation::Connect, ReturnCode::E_UNKNOWN_READER),
            (Operation::GetStatusChange, ReturnCode::E_UNKNOWN_READER),
            (Operation::ListReaders, ReturnCode::E_NO_READERS_AVAILABLE),
        ] {
            assert_eq!(against(operation, code), Some(Action::ConnectAgain));
        }
    }

    #[test]
    fn what_a_session_cannot_help_is_left_alone() {
        for (operation, code) in [
            (Operation::Transmit, ReturnCode::E_INVALID_PARAMETER),
            (Operation::Connect, ReturnCode::W_SECURITY_VIOLATION),
            (Operation::Connect, ReturnCode::E_PROTO_MISMATCH),
            (Operation::Transmit, ReturnCode::from_raw(0x1234)),
        ] {
            assert_eq!(against(operation, code), None, "{operation} {code}");
        }
    }

    #[cfg(not(windows))]
    #[test]
    fn a_denial_is_believed_when_it_is_repeated() {
        let denied = Error::new(
            Operation::EstablishContext,
            ReturnCode::W_SECURITY_VIOLATION,
        );
        let gone = Error::new(Operation::EstablishContext, ReturnCode::E_NO_SERVICE);
        let mut trial = Trial::new(None, None, true);
        for _ in 0..3 {
            assert_eq!(trial.recovery(&denied), Recovery::RetryLater);
            assert_eq!(trial.recovery(&denied), Recovery::RetryLater);
            assert_eq!(trial.recovery(&gone), Recovery::RetryLater);
        }
        assert_eq!(trial.recovery(&denied), Recovery::RetryLater);
        assert_eq!(trial.recovery(&denied), Recovery::RetryLater);
        assert_eq!(trial.recovery(&denied), Recovery::AskAdministrator);
    }

    #[test]
    fn a_protocol_that_is_refused_for_a_moment_is_asked_for_again() {
        let refused = Error::new(Operation::Connect, ReturnCode::E_PROTO_MISMATCH);
        assert!(is_doubtful(Platform::PcscLite, &refused));
        assert!(!is_doubtful(Platform::Windows, &refused));
        let reconnect = Error::new(Operation::Reconnect, ReturnCode::E_PROTO_MISMATCH);
        assert!(is_doubtful(Platform::PcscLite, &reconnect));
        let transmit = Error::new(Operation::Transmit, ReturnCode::E_PROTO_MISMATCH);
        assert!(!is_doubtful(Platform::PcscLite, &transmit));
    }

    #[cfg(not(windows))]
    #[test]
    fn a_denial_is_doubted_where_it_can_be_a_daemon_that_died() {
        let code = ReturnCode::W_SECURITY_VIOLATION;
        let denied = Error::new(Operation::Connect, code);
        assert!(is_doubtful(Platform::PcscLite, &denied));
        assert!(!is_doubtful(Platform::Windows, &denied));
        // It broke, without a doubt.
        assert!(!is_doubtful(
            Platform::PcscLite,
            &Error::new(Operation::Transmit, code)
        ));
    }

    #[cfg(not(any(windows, target_os = "macos")))]
    #[test]
    fn resets_between_two_refusals_do_not_make_the_second_one_the_first() {
        let refused = Error::new(Operation::Reconnect, ReturnCode::E_PROTO_MISMATCH);
        let reset = Error::new(Operation::BeginTransaction, ReturnCode::W_RESET_CARD);
        let mut trial = Trial::new(None, None, true);
        for _ in 0..2 {
            assert_eq!(trial.recovery(&refused), Recovery::RetryLater);
            assert_eq!(trial.recovery(&reset), Recovery::Reconnect);
        }
        assert_eq!(trial.recovery(&refused), Recovery::FixCall);
        trial.has_reconnected();
        assert_eq!(trial.recovery(&refused), Recovery::RetryLater);
    }

    /// Nothing but another protocol is worth a reset, which takes other programs' state.
    #[test]
    fn a_reset_follows_a_protocol_that_is_not_accepted_and_nothing_else() {
        for code in ReturnCode::known() {
            let error = Error::new(Operation::Reconnect, code);
            let is_mismatch = code == ReturnCode::E_PROTO_MISMATCH;
            assert_eq!(wants_reset(&error), is_mismatch, "{code}");
        }
    }

    #[test]
    fn the_first_attempt_comes_at_once_and_pauses_begin_anew_after_a_wait() {
        let pauses = |trial: &mut Trial, action| {
            let before = trial.pause.taken();
            trial.next().unwrap();
            trial.pause(action, None);
            trial.pause.taken() - before
        };
        let mut trial = Trial::new(None, None, true);
        assert_eq!(pauses(&mut trial, Action::Acknowledge), 0);
        assert_eq!(pauses(&mut trial, Action::Acknowledge), 1);
        assert_eq!(pauses(&mut trial, Action::ConnectAgain), 1);
        trial.fresh();
        assert_eq!(trial.pause.taken(), 0);
        // What is to be later is, also at first.
        let mut trial = Trial::new(None, None, true);
        assert_eq!(pauses(&mut trial, Action::Retry), 1);
    }

    /// The caller learns what it was that did not pass, not that the time was over.
    #[test]
    fn a_deadline_has_the_last_failure_as_its_cause() {
        let late = Error::given_up(Operation::GetStatusChange, Refusal::NO_CARD_IN_TIME);
        let reset = Error::new(Operation::Transmit, ReturnCode::W_RESET_CARD);
        let gone = Error::new(Operation::Connect, ReturnCode::E_NO_SERVICE);
        let mut trial = Trial::new(None, None, true);
        assert_eq!(trial.cause(late.clone()), late);
        trial.recovers_from(&reset);
        assert_eq!(trial.last(), Some(reset.clone()));
        assert_eq!(trial.cause(late.clone()), reset);
        assert_eq!(trial.cause(gone.clone()), gone);
        // A deadline is over with its run, and what nothing helps against is nobody's work.
        assert!(is_recovered_from_later(&reset));
        assert!(is_recovered_from_later(&gone));
        assert!(!is_recovered_from_later(&late));
        let wrong = Error::new(Operation::Transmit, ReturnCode::E_INVALID_PARAMETER);
        assert!(!is_recovered_from_later(&wrong));
    }

    #[test]
    fn as_much_is_tried_without_a_connection_as_with_one() {
        let climb = |is_connected| {
            let mut ladder = Ladder::default();
            std::iter::from_fn(|| ladder.next(is_connected)).collect::<Vec<_>>()
        };
        let connected = climb(true);
        assert_eq!(connected[..3], Ladder::RUNGS);
        assert_eq!(climb(false), vec![Action::ConnectAgain; connected.len()]);
    }

    #[test]
    fn the_ladder_begins_anew_with_each_card() {
        use crate::values::{Atr, ReaderState};
        use std::collections::BTreeSet;

        // The count tells nothing, as of a reader that was plugged in again.
        let state = |flags: u32| ReaderState {
            reader_name: ReaderName::new("A").unwrap(),
            event_state: 0x0001_0000 | flags,
            atr: Atr::default(),
        };
        let unanswered = &BTreeSet::new();
        let mut ladder = Ladder::default();
        let (present, empty) = ([state(0x20)], [state(0x10)]);
        let card = Candidate::from(&present[0]);
        for gone in [&empty[..], &[]] {
            ladder.tries(&card);
            while ladder.next(true).is_some() {}
            let states = &present;
            ladder.see(Look { states, unanswered });
            ladder.tries(&card);
            assert_eq!(ladder.next(true), None);
            let states = gone;
            ladder.see(Look { states, unanswered });
            ladder.tries(&card);
            assert_eq!(ladder.next(true), Some(Action::Reset));
        }
    }

    #[test]
    fn attempts_and_time_are_limited() {
        let mut trial = Trial::new(None, Some(2), true);
        assert_eq!(trial.next(), Ok(1));
        assert_eq!(trial.next(), Ok(2));
        assert_eq!(trial.next(), Err(Over::Attempts));
        let mut trial = Trial::new(Some(Duration::ZERO), None, true);
        assert_eq!(trial.next(), Err(Over::Deadline));
        assert!(trial.is_over());
        let mut trial = Trial::new(Some(Duration::MAX), None, true);
        assert_eq!((trial.left(), trial.next()), (None, Ok(1)));
    }
}
