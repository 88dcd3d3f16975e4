//! What can go wrong with contactless cards.

use std::fmt;

use super::answer::Status;
use crate::codes::ReturnCode;
use crate::error::{Error, ErrorKind, Recovery, write_layer};

/// Why a command for a contactless card did not do what it was to do.
///
/// See [how to print it](Error#errors-around-this-one).
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ContactlessError {
    /// The call failed.
    #[error(fmt = call_failed)]
    Call(#[from] Error),
    /// The reader answered with another status word than 9000.
    #[error("the reader for contactless cards refused: {0}")]
    Status(Status),
    /// It was the card that refused, with this status word, and not the reader: it is a card with
    /// contacts, by its ATR, and its reader has passed a command on that is meant for the reader.
    #[error("the card refused a command for contactless readers; by its ATR it has contacts: {0}")]
    ContactCard(Status),
    /// The reader answered 9000 and gave no data, where there have to be some.
    #[error("the reader answered without the data that were asked for")]
    NoData,
    /// The reader answered with fewer than two bytes.
    #[error("the answer of the reader has no status word")]
    NoStatusWord,
    /// The command cannot carry so much, or so little. Nothing was sent.
    #[error("the command cannot carry so many bytes")]
    Length,
}

fn call_failed(error: &Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let adds = format_args!("the command for the contactless card failed");
    write_layer(f, adds, Some(error))
}

impl ContactlessError {
    /// The PC/SC call that failed, if that is what happened.
    pub fn error(&self) -> Option<&Error> {
        match self {
            ContactlessError::Call(error) => Some(error),
            _ => None,
        }
    }

    /// [`Error::code`], if a call failed.
    pub fn code(&self) -> Option<ReturnCode> {
        self.error().map(Error::code)
    }

    /// [`Error::kind`], if a call failed.
    pub fn kind(&self) -> Option<ErrorKind> {
        self.error().map(Error::kind)
    }

    /// What helps. [`Recovery::None`] after a status word, whose meaning [`Status`] has.
    pub fn recovery(&self) -> Recovery {
        match self {
            ContactlessError::Call(error) => error.recovery(),
            ContactlessError::Length => Recovery::FixCall,
            ContactlessError::Status(_)
            | ContactlessError::ContactCard(_)
            | ContactlessError::NoData
            | ContactlessError::NoStatusWord => Recovery::None,
        }
    }

    /// The status word with its meaning, if there is one.
    pub fn status(&self) -> Option<Status> {
        match self {
            ContactlessError::Status(status) | ContactlessError::ContactCard(status) => {
                Some(*status)
            }
            _ => None,
        }
    }
}
