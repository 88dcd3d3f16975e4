//! What can go wrong with contactless cards.

use super::answer::Status;
use crate::error::Error;

/// Why a command for a contactless card did not do what it was to do.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ContactlessError {
    /// The call failed.
    #[error(transparent)]
    Call(#[from] Error),
    /// The reader answered with another status word than 9000.
    #[error("the reader for contactless cards refused: {0}")]
    Status(Status),
    /// The reader answered with fewer than two bytes.
    #[error("the answer of the reader has no status word")]
    NoStatusWord,
    /// The command cannot carry so much, or so little. Nothing was sent.
    #[error("the command cannot carry so many bytes")]
    Length,
}

impl ContactlessError {
    /// The status word with its meaning, if there is one.
    pub fn status(&self) -> Option<Status> {
        match self {
            ContactlessError::Status(status) => Some(*status),
            _ => None,
        }
    }
}
