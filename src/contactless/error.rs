//! Errors of contactless cards.

use std::fmt;

use super::answer::Status;
use crate::codes::{ReturnCode, debug_as_line};
use crate::error::{Error, ErrorKind, Recovery, write_layer};

/// An error of a command for a contactless card.
///
/// See [how to print it](Error#errors-that-wrap-this-one).
#[derive(Clone, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ContactlessError {
    /// The call failed.
    #[error(fmt = call_failed)]
    Call(#[from] Error),
    /// The reader answered with a status word other than 9000.
    #[error("the contactless reader refused: {0}")]
    Status(Status),
    /// The card refused with this status word, not the reader: according to its ATR it is a contact
    /// card, and its reader passed on a command that was meant for the reader.
    #[error(
        "the card refused a command for contactless readers; its ATR is that of a contact card: {0}"
    )]
    ContactCard(Status),
    /// The reader answered 9000 without the requested data.
    #[error("the reader answered without the requested data")]
    NoData,
    /// The reader answered with fewer than two bytes.
    #[error("the reader's answer has no status word")]
    NoStatusWord,
    /// The command cannot carry this number of bytes. Nothing was sent.
    #[error("the command cannot carry this number of bytes")]
    Length,
}

debug_as_line!(ContactlessError);

fn call_failed(error: &Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let adds = format_args!("the command for the contactless card failed");
    write_layer(f, adds, Some(error))
}

impl ContactlessError {
    /// Returns the error of the failed PC/SC call, if there is one.
    pub fn error(&self) -> Option<&Error> {
        match self {
            ContactlessError::Call(error) => Some(error),
            _ => None,
        }
    }

    /// Returns [`Error::code`] if a call failed.
    pub fn code(&self) -> Option<ReturnCode> {
        self.error().map(Error::code)
    }

    /// Returns [`Error::kind`] if a call failed.
    pub fn kind(&self) -> Option<ErrorKind> {
        self.error().map(Error::kind)
    }

    /// Returns the remedy. [`Recovery::None`] after a status word; see its meaning in [`Status`].
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

    /// Returns the status word with its meaning, if there is one.
    pub fn status(&self) -> Option<Status> {
        match self {
            ContactlessError::Status(status) | ContactlessError::ContactCard(status) => {
                Some(*status)
            }
            _ => None,
        }
    }
}
