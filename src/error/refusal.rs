//! Calls that this library refuses because they could not succeed, and calls that it gave up.

use super::{ErrorKind, Recovery};
use crate::codes::ReturnCode;
use crate::limits::{Abandoned, GivenUp};
use crate::service;

/// Why a call was refused or given up. The code is the nearest one in PC/SC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Refusal {
    pub(super) code: ReturnCode,
    pub(super) kind: ErrorKind,
    pub(super) recovery: Recovery,
    /// Reads on after "failed:".
    pub(super) why: &'static str,
    pub(super) command_may_have_run: bool,
    /// Whether the call was begun. If not, the connection and the card are unchanged.
    pub(super) begun: bool,
}

impl Refusal {
    /// A call on a connection that was given up with an earlier call.
    pub(crate) const ABANDONED: Refusal = Refusal {
        code: ReturnCode::E_INVALID_HANDLE,
        kind: ErrorKind::Abandoned,
        recovery: Recovery::ConnectAgain,
        why: "the connection was lost when an earlier call was given up",
        command_may_have_run: false,
        begun: false,
    };

    /// A call on a connection that ended with an earlier call.
    pub(crate) const ENDED: Refusal = Refusal {
        why: "the connection ended with an earlier call",
        ..Refusal::ABANDONED
    };

    /// A call that could hang like earlier ones.
    pub(crate) const TOO_MANY_PENDING: Refusal = Refusal {
        code: ReturnCode::E_SERVER_TOO_BUSY,
        kind: ErrorKind::ServiceBusy,
        recovery: Recovery::RetryLater,
        why: "too many calls were given up and have not returned yet",
        command_may_have_run: false,
        begun: false,
    };

    pub(crate) const TRANSACTION_LOST: Refusal = Refusal {
        code: ReturnCode::E_NOT_TRANSACTED,
        kind: ErrorKind::NotInTransaction,
        recovery: Recovery::None,
        why: "the transaction ended with the reconnect and could not be begun again",
        command_may_have_run: false,
        begun: false,
    };

    /// A connect to a card without any protocol. pcsc-lite does not distinguish this from a
    /// protocol that the card refused after it was reset.
    pub(crate) const NO_PROTOCOL: Refusal = Refusal::argument("no protocol is acceptable");

    /// A connection that was made by another process.
    pub(crate) const FORKED: Refusal = Refusal {
        code: ReturnCode::E_INVALID_HANDLE,
        kind: ErrorKind::Abandoned,
        recovery: Recovery::ConnectAgain,
        why: "the connection belongs to the process that this one was forked from",
        command_may_have_run: false,
        begun: false,
    };

    /// A call kept out of the PC/SC library because another thread is tearing it down at the end of
    /// the process, or because a fork left it with a lock that no one unlocks.
    pub(crate) const KEPT_OUT: Refusal = Refusal {
        code: ReturnCode::E_SYSTEM_CANCELLED,
        kind: ErrorKind::Cancelled,
        recovery: Recovery::None,
        why: "the process is ending, or a fork has made its PC/SC library unusable",
        command_may_have_run: false,
        begun: false,
    };

    /// Answers that were mixed up with those of other threads on every attempt.
    pub(crate) const CONTRADICTORY: Refusal = Refusal {
        code: ReturnCode::F_INTERNAL_ERROR,
        kind: ErrorKind::Internal,
        recovery: Recovery::RetryLater,
        why: "the answers of the PC/SC library contradict each other",
        command_may_have_run: false,
        begun: false,
    };

    /// A daemon whose protocol version is too old or too new.
    pub(crate) const OTHER_PROTOCOL: Refusal = Refusal {
        code: ReturnCode::E_SERVICE_STOPPED,
        kind: ErrorKind::Unsupported,
        recovery: Recovery::AskAdministrator,
        why: "the daemon speaks no supported protocol version",
        command_may_have_run: false,
        begun: false,
    };

    /// There is no reader to connect to.
    pub(crate) const NO_CARD: Refusal = Refusal {
        code: ReturnCode::E_NO_SMARTCARD,
        kind: ErrorKind::NoCard,
        recovery: Recovery::InsertCard,
        why: "no reader has a usable card",
        command_may_have_run: false,
        begun: false,
    };

    /// A wait that ended without a matching card.
    pub(crate) const NO_CARD_IN_TIME: Refusal = Refusal {
        code: ReturnCode::E_TIMEOUT,
        kind: ErrorKind::DeadlineExceeded,
        recovery: Recovery::InsertCard,
        why: "no matching card was inserted within the time-out",
        command_may_have_run: false,
        begun: false,
    };

    /// A wait for a card that ended without any reader attached.
    pub(crate) const NO_READER_IN_TIME: Refusal = Refusal {
        recovery: Recovery::AttachReader,
        why: "no reader was attached within the time-out",
        ..Refusal::NO_CARD_IN_TIME
    };

    /// A wait for a card in certain readers that ended without one of them.
    pub(crate) const NO_MATCHING_READER_IN_TIME: Refusal = Refusal {
        why: "no matching reader was attached within the time-out",
        ..Refusal::NO_READER_IN_TIME
    };

    /// A wait that ended without the service becoming available.
    pub(crate) const NO_SERVICE_IN_TIME: Refusal = Refusal {
        recovery: Recovery::RetryLater,
        why: "the smart-card service was not available within the time-out",
        ..Refusal::NO_CARD_IN_TIME
    };

    /// A wait for a removal that ended with the card still there.
    pub(crate) const CARD_STILL_THERE: Refusal = Refusal {
        code: ReturnCode::E_TIMEOUT,
        kind: ErrorKind::DeadlineExceeded,
        recovery: Recovery::AskUser,
        why: "the card was not removed within the time-out",
        command_may_have_run: false,
        begun: false,
    };

    /// A monitor without any information when its caller stops waiting.
    pub(crate) const NOTHING_KNOWN_IN_TIME: Refusal = Refusal {
        code: ReturnCode::E_TIMEOUT,
        kind: ErrorKind::DeadlineExceeded,
        recovery: Recovery::RetryLater,
        why: "the service did not report its readers within the time-out",
        command_may_have_run: false,
        begun: true,
    };

    /// Why a command is refused, if it is.
    pub(crate) fn of_command(command: &[u8]) -> Option<Refusal> {
        if command.is_empty() {
            Some(Refusal::argument("the command is empty"))
        } else if command.len() > service::MAX_APDU_LEN {
            let why = "the command is longer than the 65,548 bytes that PC/SC can carry";
            Some(Refusal::argument(why))
        } else {
            None
        }
    }

    /// A call that was given up. A command may have been sent only if permitted, and the connection
    /// is lost only if the call was under way.
    pub(crate) fn given_up(abandoned: Abandoned) -> Refusal {
        let (code, kind, recovery, why) = match abandoned.why {
            GivenUp::Deadline if !abandoned.begun => (
                ReturnCode::E_TIMEOUT,
                ErrorKind::DeadlineExceeded,
                Recovery::RetryLater,
                "the deadline had passed before the call began",
            ),
            GivenUp::Deadline => (
                ReturnCode::E_TIMEOUT,
                ErrorKind::DeadlineExceeded,
                Recovery::ConnectAgain,
                "the deadline passed",
            ),
            GivenUp::Aborted => (
                ReturnCode::E_CANCELLED,
                ErrorKind::Cancelled,
                Recovery::None,
                "the call was aborted",
            ),
            GivenUp::NoThread => (
                ReturnCode::E_NO_MEMORY,
                ErrorKind::Internal,
                Recovery::ConnectAgain,
                "no thread could be started for a call with a deadline",
            ),
        };
        Refusal {
            code,
            kind,
            recovery,
            why,
            command_may_have_run: abandoned.permitted,
            begun: abandoned.begun,
        }
    }

    /// A reader without the requested feature.
    pub(crate) const NO_FEATURE: Refusal = Refusal {
        code: ReturnCode::E_UNSUPPORTED_FEATURE,
        kind: ErrorKind::Unsupported,
        recovery: Recovery::FixCall,
        why: "the reader does not have this feature",
        command_may_have_run: false,
        begun: false,
    };

    pub(crate) const fn argument(why: &'static str) -> Refusal {
        Refusal {
            code: ReturnCode::E_INVALID_PARAMETER,
            kind: ErrorKind::InvalidArgument,
            recovery: Recovery::FixCall,
            why,
            command_may_have_run: false,
            begun: false,
        }
    }

    /// Each of them.
    #[cfg(test)]
    pub(super) fn all() -> Vec<Refusal> {
        let before = [GivenUp::Deadline, GivenUp::Aborted, GivenUp::NoThread];
        let before = before.map(Abandoned::before_it_began);
        let under_way = before.map(|abandoned| Abandoned {
            begun: true,
            ..abandoned
        });
        let given_up = before.into_iter().chain(under_way).map(Refusal::given_up);
        let mut all = vec![
            Refusal::ABANDONED,
            Refusal::ENDED,
            Refusal::TOO_MANY_PENDING,
            Refusal::TRANSACTION_LOST,
            Refusal::NO_PROTOCOL,
            Refusal::FORKED,
            Refusal::KEPT_OUT,
            Refusal::CONTRADICTORY,
            Refusal::NO_CARD,
            Refusal::NO_CARD_IN_TIME,
            Refusal::NO_READER_IN_TIME,
            Refusal::NO_MATCHING_READER_IN_TIME,
            Refusal::NO_SERVICE_IN_TIME,
            Refusal::CARD_STILL_THERE,
            Refusal::NOTHING_KNOWN_IN_TIME,
            Refusal::NO_FEATURE,
        ];
        all.extend(given_up);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{CardCondition, Error, Operation};
    use crate::values::Initialization;

    fn reconnect(why: GivenUp, begun: bool) -> Error {
        let abandoned = Abandoned {
            begun,
            ..Abandoned::before_it_began(why)
        };
        let error = Error::given_up(Operation::Reconnect, Refusal::given_up(abandoned));
        error.of_reconnect(Initialization::Reset)
    }

    /// The advice depends on whether the connection was lost with the call.
    #[test]
    fn a_deadline_before_the_call_leaves_the_connection() {
        let before = reconnect(GivenUp::Deadline, false);
        assert_eq!(before.kind(), ErrorKind::DeadlineExceeded);
        assert_eq!(before.recovery(), Recovery::RetryLater);
        assert_eq!(before.card_condition(), Some(CardCondition::Unchanged));
        assert_eq!(
            before.description(),
            "the deadline had passed before the call began"
        );

        let under_way = reconnect(GivenUp::Deadline, true);
        assert_eq!(under_way.kind(), ErrorKind::DeadlineExceeded);
        assert_eq!(under_way.recovery(), Recovery::ConnectAgain);
        assert_eq!(under_way.card_condition(), Some(CardCondition::Lost));
        assert_eq!(under_way.description(), "the deadline passed");
    }

    #[test]
    fn an_abort_before_the_call_does_nothing_to_the_card() {
        for (begun, condition) in [
            (false, CardCondition::Unchanged),
            (true, CardCondition::Lost),
        ] {
            let error = reconnect(GivenUp::Aborted, begun);
            assert_eq!(error.kind(), ErrorKind::Cancelled);
            assert_eq!(error.card_condition(), Some(condition));
        }
    }
}
