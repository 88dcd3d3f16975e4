//! How a session recovers from failures, and its limits.

use std::time::{Duration, Instant};

use super::candidates::{Candidate, Look, Presence};
use super::card::Progress;
use crate::codes::{Platform, ReturnCode};
use crate::error::{Error, ErrorKind, Operation, Recovery};
use crate::limits::AbortHandle;
use crate::limits::pause::Pause;

/// A recovery that a session can make by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Reconnect without a reset.
    Acknowledge,
    /// Reconnect with a warm reset.
    Reset,
    /// Reconnect with a cold reset.
    Unpower,
    /// Drop the connection, look or wait for a card, connect.
    ConnectAgain,
    /// Retry later.
    Retry,
}

/// Returns the action for a recovery, if a session can make it.
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

/// The steps, in order, to revive a card that does not answer.
#[derive(Debug, Default)]
pub(super) struct Ladder {
    climbed: usize,
    /// When the first step was taken.
    since: Option<Instant>,
    /// The cards concerned, one in each reader.
    cards: Vec<Candidate>,
}

impl Ladder {
    const RUNGS: [Action; 3] = [Action::Reset, Action::Unpower, Action::ConnectAgain];

    /// How many times each step is tried.
    const ROUNDS: usize = 2;

    /// Returns the next step, or `None` at the end, after connecting anew until the service has
    /// looked. Without a connection, connecting anew is the first step, and the only one except with
    /// pcsc-lite.
    pub(super) fn next(&mut self, is_connected: bool) -> Option<Action> {
        let steps = Ladder::RUNGS.len() * Ladder::ROUNDS;
        let since = *self.since.get_or_insert_with(Instant::now);
        if self.climbed == steps {
            return (!has_looked_since(since)).then_some(Action::ConnectAgain);
        }
        let before = match (is_connected, Platform::CURRENT) {
            (true, _) => self.climbed,
            (false, Platform::PcscLite) => self.climbed + Ladder::RUNGS.len() - 1,
            // A connect powers the card up.
            (false, _) => Ladder::RUNGS.len() - 1,
        };
        self.climbed += 1;
        Ladder::RUNGS.into_iter().cycle().nth(before)
    }

    /// Restarts after a card was removed.
    pub(super) fn see(&mut self, look: Look<'_>) {
        let before = self.cards.len();
        self.cards
            .retain(|it| !matches!(look.card_in(&it.reader_name), Presence::None));
        if self.cards.len() != before {
            self.restart();
        }
    }

    /// Restarts for a card that was inserted meanwhile.
    pub(super) fn tries(&mut self, card: &Candidate) {
        let in_reader = |it: &&mut Candidate| it.reader_name == card.reader_name;
        match self.cards.iter_mut().find(in_reader) {
            Some(before) => {
                let is_another = card.follows(before);
                before.clone_from(card);
                if is_another {
                    self.restart();
                }
            }
            None => self.cards.push(card.clone()),
        }
    }

    /// Restarts if the card answered. If it failed afterwards, the end is as far away as at the
    /// start, but the steps continue: a card that is reset in vain is powered down next.
    pub(super) fn note(&mut self, progress: &Progress) {
        if progress.card_answered {
            match progress.has_failed() {
                true => self.climbed %= Ladder::RUNGS.len(),
                false => self.restart(),
            }
        }
    }

    /// Restarts when all steps were tried.
    pub(super) fn restart(&mut self) {
        (self.climbed, self.since) = (0, None);
    }
}

/// Returns whether the card does not answer.
pub(super) fn is_silence(error: &Error) -> bool {
    error.kind() == ErrorKind::CardUnresponsive || error.recovery() == Recovery::ResetCard
}

/// The limits of one run.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) end: Option<Instant>,
    /// Whether to wait for a card.
    pub(super) wait: bool,
    /// Whether there is no work: then no login is made, and no failed hook repeated.
    pub(super) is_upkeep: bool,
    limit: Option<u32>,
    attempts: u32,
    pause: Pause,
    /// The last failure that was recovered from.
    last: Option<Error>,
    /// The number of consecutive answers that may be transient.
    doubts: u32,
    /// When the first of them came.
    doubted_since: Instant,
}

/// The number of consecutive transient answers after which they are accepted.
const BELIEVED: u32 = 3;

/// Where a driver does not report changes, pcsc-lite looks for them every 0.4 seconds, on a busy
/// machine later. Until then, a card that was removed is still present, but does not answer or
/// refuses every protocol.
const LOOKED: Duration = Duration::from_secs(1);

/// Whether the service knows by now whether the card is still there.
fn has_looked_since(since: Instant) -> bool {
    Platform::CURRENT != Platform::PcscLite || since.elapsed() >= LOOKED
}

/// Why there is no further attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// The limit of attempts is reached.
    Attempts,
    /// The deadline has passed.
    Deadline,
}

impl Trial {
    pub(super) fn new(timeout: Option<Duration>, limit: Option<u32>, wait: bool) -> Trial {
        Trial {
            // A deadline past the end of the clock is no deadline.
            end: timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
            wait,
            is_upkeep: false,
            limit,
            attempts: 0,
            pause: Pause::default(),
            last: None,
            doubts: 0,
            doubted_since: Instant::now(),
        }
    }

    pub(super) fn left(&self) -> Option<Duration> {
        let end = self.end?;
        Some(end.saturating_duration_since(Instant::now()))
    }

    pub(super) fn is_over(&self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }

    /// Returns why there can be no further attempt.
    pub(super) fn over(&self) -> Option<Over> {
        if self.is_over() {
            Some(Over::Deadline)
        } else if self.limit.is_some_and(|limit| self.attempts >= limit) {
            Some(Over::Attempts)
        } else {
            None
        }
    }

    /// Counts a further attempt and returns its number.
    pub(super) fn next(&mut self) -> Result<u32, Over> {
        if let Some(over) = self.over() {
            return Err(over);
        }
        self.attempts = self.attempts.saturating_add(1);
        Ok(self.attempts)
    }

    /// Returns the recovery. For an answer that may be transient, this is a retry.
    pub(super) fn recovery(&mut self, error: &Error) -> Recovery {
        let is_doubtful = is_doubtful(Platform::CURRENT, error);
        if is_doubtful && self.doubts == 0 {
            self.doubted_since = Instant::now();
        }
        self.doubts = match is_doubtful {
            true => self.doubts.saturating_add(1),
            // The reset is still unacknowledged after a refused reconnect.
            false if error.kind() == ErrorKind::CardReset => self.doubts,
            false => 0,
        };
        let is_denied = error.kind() == ErrorKind::AccessDenied;
        let is_settled = is_denied || has_looked_since(self.doubted_since);
        match is_doubtful && !(is_settled && self.doubts >= BELIEVED) {
            true => Recovery::RetryLater,
            false => error.recovery(),
        }
    }

    /// Forgets transient answers.
    pub(super) fn has_reconnected(&mut self) {
        self.doubts = 0;
    }

    pub(super) fn recovers_from(&mut self, error: &Error) {
        self.last = Some(error.clone());
    }

    pub(super) fn last(&self) -> Option<Error> {
        self.last.clone()
    }

    /// Returns the most informative cause of a run that ended at its deadline with `error`.
    pub(super) fn cause(&self, error: Error) -> Error {
        match &self.last {
            Some(last) if error.kind() == ErrorKind::DeadlineExceeded => last.clone(),
            _ => error,
        }
    }

    /// Pauses before an attempt. The first recovery is immediate, unless it is a retry.
    pub(super) fn pause(&mut self, action: Action, abort: Option<&AbortHandle>) {
        if self.attempts > 1 || action == Action::Retry {
            self.pause.take(self.end, abort);
        }
    }

    /// A wait succeeded: what follows is not a repetition.
    pub(super) fn fresh(&mut self) {
        self.pause = Pause::default();
    }
}

/// Returns whether this answer may be transient. pcsc-lite reports a daemon that dies during the
/// call in the same way as a denial by polkit, and a starting daemon makes its socket accessible a
/// moment after creating it: the next call finds it dead or accessible, or is denied again. It also
/// refuses every protocol of a connection that is made at the moment the card loses power.
fn is_doubtful(platform: Platform, error: &Error) -> bool {
    let is_denied =
        error.kind() == ErrorKind::AccessDenied && error.recovery() == Recovery::AskAdministrator;
    match (error.operation(), error.code()) {
        (Operation::Connect | Operation::Reconnect, ReturnCode::E_PROTO_MISMATCH) => {
            platform == Platform::PcscLite
        }
        _ => is_denied && platform != Platform::Windows,
    }
}

/// Returns whether the next run has to recover from this failure. A deadline ends with its run.
pub(super) fn is_recovered_from_later(error: &Error) -> bool {
    error.kind() != ErrorKind::DeadlineExceeded && action(error.recovery()).is_some()
}

/// Returns whether a reset may help after a plain reconnect failed with this.
pub(super) fn wants_reset(error: &Error) -> bool {
    error.kind() == ErrorKind::ProtocolMismatch
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Refusal;
    use crate::values::ReaderName;

    impl Ladder {
        /// As if the first step had been taken long ago.
        fn long_ago() -> Ladder {
            Ladder {
                since: Instant::now().checked_sub(LOOKED),
                ..Ladder::default()
            }
        }
    }

    fn against(operation: Operation, code: ReturnCode) -> Option<Action> {
        action(Error::new(operation, code).recovery())
    }

    #[test]
    fn every_temporary_failure_has_its_recovery() {
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

    /// Whichever call reports an unplugged reader, the session connects again when the reader is
    /// back. (The virtual readers of the tests cannot be unplugged.)
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
    fn failures_that_a_session_cannot_remedy_are_returned() {
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
    fn a_denial_is_accepted_when_repeated() {
        let denied = Error::new(
            Operation::EstablishContext,
            ReturnCode::W_SECURITY_VIOLATION,
        );
        let no_permission = Error::new(
            Operation::EstablishContext,
            crate::service::Obstacle::NoPermission,
        );
        let gone = Error::new(Operation::EstablishContext, ReturnCode::E_NO_SERVICE);
        for denied in [denied, no_permission] {
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
    }

    #[test]
    fn a_protocol_that_is_refused_temporarily_is_requested_again() {
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
    fn a_denial_is_retried_where_the_daemon_may_have_died() {
        let code = ReturnCode::W_SECURITY_VIOLATION;
        let denied = Error::new(Operation::Connect, code);
        assert!(is_doubtful(Platform::PcscLite, &denied));
        assert!(!is_doubtful(Platform::Windows, &denied));
        // Here the connection broke for certain.
        assert!(!is_doubtful(
            Platform::PcscLite,
            &Error::new(Operation::Transmit, code)
        ));
    }

    #[cfg(not(any(windows, target_os = "macos")))]
    #[test]
    fn resets_between_refusals_do_not_restart_their_count() {
        let refused = Error::new(Operation::Reconnect, ReturnCode::E_PROTO_MISMATCH);
        let reset = Error::new(Operation::BeginTransaction, ReturnCode::W_RESET_CARD);
        let mut trial = Trial::new(None, None, true);
        // Not even if they are more, before the service has looked.
        for _ in 0..4 {
            assert_eq!(trial.recovery(&refused), Recovery::RetryLater);
            assert_eq!(trial.recovery(&reset), Recovery::Reconnect);
        }
        trial.doubted_since = Instant::now().checked_sub(LOOKED).unwrap();
        assert_eq!(trial.recovery(&refused), Recovery::FixCall);
        trial.has_reconnected();
        assert_eq!(trial.recovery(&refused), Recovery::RetryLater);
    }

    /// Only another protocol justifies a reset, which loses the state of other programs.
    #[test]
    fn the_card_is_reset_only_for_a_protocol_that_is_not_accepted() {
        for code in ReturnCode::known() {
            let error = Error::new(Operation::Reconnect, code);
            let is_mismatch = code == ReturnCode::E_PROTO_MISMATCH;
            assert_eq!(wants_reset(&error), is_mismatch, "{code}");
        }
    }

    #[test]
    fn the_first_attempt_is_immediate_and_pauses_restart_after_a_wait() {
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
        // A retry is delayed, even the first.
        let mut trial = Trial::new(None, None, true);
        assert_eq!(pauses(&mut trial, Action::Retry), 1);
    }

    /// The caller learns the persistent failure, not merely that time ran out.
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
        // A deadline ends with its run, and a failure without a remedy needs no recovery.
        assert!(is_recovered_from_later(&reset));
        assert!(is_recovered_from_later(&gone));
        assert!(!is_recovered_from_later(&late));
        let wrong = Error::new(Operation::Transmit, ReturnCode::E_INVALID_PARAMETER);
        assert!(!is_recovered_from_later(&wrong));
    }

    #[test]
    fn the_number_of_attempts_is_the_same_with_and_without_a_connection() {
        let climb = |is_connected| {
            let mut ladder = Ladder::long_ago();
            std::iter::from_fn(|| ladder.next(is_connected)).collect::<Vec<_>>()
        };
        let (connected, unconnected) = (climb(true), climb(false));
        assert_eq!(connected[..3], Ladder::RUNGS);
        assert_eq!(unconnected.len(), connected.len());
        assert_eq!(unconnected[0], Action::ConnectAgain);
        if Platform::CURRENT == Platform::PcscLite {
            assert_eq!(unconnected[1..], connected[..connected.len() - 1]);
        }
    }

    #[cfg(not(any(windows, target_os = "macos")))]
    #[test]
    fn the_card_is_connected_again_until_the_service_has_looked() {
        for is_connected in [true, false] {
            let mut ladder = Ladder::default();
            for _ in 0..20 {
                assert!(ladder.next(is_connected).is_some());
            }
            assert_eq!(ladder.next(is_connected), Some(Action::ConnectAgain));
            ladder.since = Ladder::long_ago().since;
            assert_eq!(ladder.next(is_connected), None);
        }
    }

    #[test]
    fn the_steps_restart_with_each_card() {
        use crate::values::{Atr, ReaderState};
        use std::collections::BTreeSet;

        // The count is useless, as for a reader that was plugged in again.
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
            ladder.since = Ladder::long_ago().since;
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
