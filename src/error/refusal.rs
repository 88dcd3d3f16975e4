//! Calls that this library does not make, because they could not succeed.

use super::{ErrorKind, Recovery};
use crate::ReturnCode;

/// Why a call was not made. The code is the one the service would be expected to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(super) code: ReturnCode,
    pub(super) kind: ErrorKind,
    pub(super) recovery: Recovery,
    /// Reads on after "failed:".
    pub(super) why: &'static str,
}

impl Refusal {
    pub(crate) const EMPTY_COMMAND: Refusal = Refusal::argument("the command is empty");

    pub(crate) const LONG_COMMAND: Refusal =
        Refusal::argument("the command is longer than the 65,548 bytes that PC/SC can carry");

    pub(crate) const TRANSACTION_LOST: Refusal = Refusal {
        code: ReturnCode::E_NOT_TRANSACTED,
        kind: ErrorKind::NotInTransaction,
        recovery: Recovery::None,
        why: "the transaction ended with the reconnect and could not be begun again",
    };

    const fn argument(why: &'static str) -> Refusal {
        Refusal {
            code: ReturnCode::E_INVALID_PARAMETER,
            kind: ErrorKind::InvalidArgument,
            recovery: Recovery::FixCall,
            why,
        }
    }
}
