//! Why a session could not do what it was asked to.

use std::fmt;

use crate::error::Error;

/// Any error of a hook: what `?` makes of [`Error`](crate::Error) and of the program's own.
pub type HookError = Box<dyn std::error::Error + Send + Sync>;

/// Why [`Session::run`](crate::Session::run) and its like failed. `E` is the error of the
/// work.
///
/// The session can be used after each of them: the next run recovers and sets up the card
/// first.
#[derive(Debug)]
#[non_exhaustive]
pub enum SessionError<E> {
    /// The work failed for a reason of its own: its last call on the card had succeeded.
    Work(E),
    /// The card, the reader or the service failed, and nothing that the session can do helps.
    /// No command of the work has reached the card.
    Card(Error),
    /// The deadline passed before a command of the work could be sent.
    Deadline {
        /// What the session was recovering from; `None` if it had just begun.
        cause: Option<Error>,
    },
    /// The card failed in the middle of the work, which is not repeated: commands of it have
    /// run, or may have.
    Interrupted {
        /// What failed. [`Error::command_may_have_run`] says whether the command that failed
        /// may have run.
        error: Error,
        /// How many commands had been answered before.
        completed: usize,
        /// What the work made of the failure.
        work: E,
    },
    /// There is another card than the one that the session began with, in each reader that has
    /// one. Of several cards, this tells of the last that was looked at.
    WrongCard {
        /// The identity of the card that the session began with.
        expected: Vec<u8>,
        /// The identity of this card.
        found: Vec<u8>,
    },
    /// The set-up or the identity hook failed for a reason of its own.
    Hook(HookError),
}

impl<E> SessionError<E> {
    /// The failure of the card, the reader or the service, if that is what happened.
    pub fn card_error(&self) -> Option<&Error> {
        match self {
            SessionError::Card(error) | SessionError::Interrupted { error, .. } => Some(error),
            SessionError::Deadline { cause } => cause.as_ref(),
            SessionError::Work(_) | SessionError::WrongCard { .. } | SessionError::Hook(_) => None,
        }
    }
}

impl<E: fmt::Display> fmt::Display for SessionError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SessionError::Work(error) => error.fmt(f),
            SessionError::Card(error) => error.fmt(f),
            SessionError::Deadline { cause: None } => f.write_str("the deadline passed"),
            SessionError::Deadline { cause: Some(cause) } => {
                write!(f, "the deadline passed; last: {cause}")
            }
            SessionError::Interrupted {
                error, completed, ..
            } => {
                let plural = if *completed == 1 { "" } else { "s" };
                let may = if error.command_may_have_run() {
                    " and one that may have run"
                } else {
                    ""
                };
                write!(
                    f,
                    "interrupted after {completed} command{plural}{may}: {error}"
                )
            }
            SessionError::WrongCard { .. } => {
                f.write_str("there is another card than the one that the session began with")
            }
            SessionError::Hook(error) => write!(f, "setting up the card failed: {error}"),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for SessionError<E> {
    /// What lies behind the error in [`Display`](fmt::Display).
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SessionError::Work(error) => error.source(),
            SessionError::Interrupted { work, .. } => work.source(),
            SessionError::Hook(error) => error.source(),
            SessionError::Card(_)
            | SessionError::Deadline { .. }
            | SessionError::WrongCard { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes::ReturnCode;
    use crate::error::Operation;

    #[test]
    fn messages_say_how_far_it_got() {
        let interrupted = |code, completed| SessionError::Interrupted {
            error: Error::new(Operation::Transmit, code),
            completed,
            work: "x",
        };
        assert_eq!(
            interrupted(ReturnCode::W_RESET_CARD, 1).to_string(),
            "interrupted after 1 command: SCardTransmit failed: the card was reset \
             (SCARD_W_RESET_CARD, 0x80100068)"
        );
        let may = interrupted(ReturnCode::E_NOT_TRANSACTED, 2).to_string();
        assert!(
            may.starts_with("interrupted after 2 commands and one that may have run: "),
            "{may}"
        );
        let deadline = SessionError::Deadline::<&str> { cause: None };
        assert_eq!(deadline.to_string(), "the deadline passed");
        assert_eq!(deadline.card_error(), None);
    }
}
