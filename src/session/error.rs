//! Errors of sessions.

use std::fmt;

use crate::codes::{ReturnCode, debug_as_line};
use crate::error::{BoxError, Error, ErrorKind, Recovery, write_layer};

/// An error of [`Session::run`](crate::Session::run) and its siblings.
///
/// The session stays usable: the next run recovers and sets up the card first.
///
/// See [how to print it](Error#errors-that-wrap-this-one). The error of the work or hook is the
/// [source](std::error::Error::source), unchanged; [`work`](SessionError::work) returns it with its
/// type.
///
/// ```no_run
/// use scard::apdu::ExchangeError;
/// use scard::{Command, Session, SessionError};
///
/// type Data = Option<Vec<u8>>;
///
/// fn read(session: &mut Session, command: &Command) -> Result<Data, SessionError> {
///     let answer = session.run(|card| -> Result<_, ExchangeError> {
///         Ok(card.exchange(command)?.ok()?)
///     });
///     match answer {
///         Ok(data) => Ok(Some(data)),
///         Err(error) => match error.work() {
///             Some(ExchangeError::Status(_)) => Ok(None),
///             _ => Err(error),
///         },
///     }
/// }
/// ```
#[non_exhaustive]
pub enum SessionError {
    /// The work failed for a reason of its own, not because of a failure of the card.
    Work(BoxError),
    /// The card, the reader or the service failed, and the session cannot recover. No command of
    /// the work of [`run`](crate::Session::run) has reached the card.
    Card(Error),
    /// The deadline passed before a command of the work of [`run`](crate::Session::run) could be
    /// sent, or before that of [`run_restartable`](crate::Session::run_restartable) succeeded.
    #[non_exhaustive]
    Deadline {
        /// The failure that the session was recovering from; `None` if it had just begun.
        cause: Option<Error>,
    },
    /// The card failed in the middle of the work, or of the
    /// [login](crate::SessionBuilder::login). Neither is repeated, because commands of it have run
    /// or may have run.
    #[non_exhaustive]
    Interrupted {
        /// The failure. [`Error::command_may_have_run`] says whether the failed command may have
        /// run.
        error: Error,
        /// The number of commands that were answered before.
        completed: usize,
        /// The error that the work or the login returned.
        work: BoxError,
        /// Whether it was the login: none of the work has run then.
        in_login: bool,
    },
    /// No reader has the card that the session began with, but at least one has another card. Of
    /// several cards, this describes the last one examined.
    #[non_exhaustive]
    WrongCard {
        /// The identity of the card that the session began with.
        expected: Vec<u8>,
        /// The identity of this card.
        found: Vec<u8>,
    },
    /// The set-up or identity hook failed for a reason of its own.
    Hook(BoxError),
    /// The [login](crate::SessionBuilder::login) failed for a reason of its own. If a command of it
    /// has run, the card refused the credentials, and they are not presented again.
    Login(BoxError),
    /// The login was withheld because it could waste a try.
    LoginWithheld(LoginWithheld),
    /// The card does not answer, despite warm resets, cold resets and new connections. No command
    /// of the work of [`run`](crate::Session::run) has reached the card.
    #[non_exhaustive]
    Unresponsive {
        /// The last failure.
        error: Error,
    },
}

debug_as_line!(SessionError);

/// Why a session does not [log in](crate::SessionBuilder::login).
/// [`Session::set_login`](crate::Session::set_login) resolves each of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LoginWithheld {
    /// The same credentials were refused before.
    Refused,
    /// The login was called for a card before, and this may be another card.
    CardNotIdentified,
    /// The card failed in the middle of the login. That may have consumed a try, and the card may
    /// have refused the credentials.
    OutcomeUnknown,
}

impl fmt::Display for LoginWithheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            LoginWithheld::Refused => "the credentials were refused before",
            LoginWithheld::CardNotIdentified => "the credentials may be for another card",
            LoginWithheld::OutcomeUnknown => {
                "the card failed during the last login, which may have used up a try"
            }
        })
    }
}

impl SessionError {
    /// Returns the failure of the card, the reader or the service, even if it is behind the error
    /// of the work or of a hook.
    pub fn error(&self) -> Option<&Error> {
        match self {
            SessionError::Card(error)
            | SessionError::Interrupted { error, .. }
            | SessionError::Unresponsive { error } => Some(error),
            SessionError::Deadline { cause } => cause.as_ref(),
            SessionError::Work(error) | SessionError::Hook(error) | SessionError::Login(error) => {
                Error::find(&**error)
            }
            SessionError::WrongCard { .. } | SessionError::LoginWithheld(_) => None,
        }
    }

    /// Returns [`Error::code`] if there is an [`error`](SessionError::error).
    pub fn code(&self) -> Option<ReturnCode> {
        self.error().map(Error::code)
    }

    /// Returns [`Error::kind`] if there is an [`error`](SessionError::error). Without one,
    /// [`ErrorKind::DeadlineExceeded`] at the deadline.
    pub fn kind(&self) -> Option<ErrorKind> {
        match self {
            SessionError::Unresponsive { .. } => Some(ErrorKind::CardUnresponsive),
            SessionError::Deadline { cause: None } => Some(ErrorKind::DeadlineExceeded),
            _ => self.error().map(Error::kind),
        }
    }

    /// Returns the remedy. If a session can apply it, the next run does.
    pub fn recovery(&self) -> Recovery {
        match self {
            SessionError::Deadline { cause: None } => Recovery::RetryLater,
            SessionError::WrongCard { .. } | SessionError::Unresponsive { .. } => {
                Recovery::InsertCard
            }
            SessionError::Login(_) | SessionError::LoginWithheld(_) => Recovery::AskUser,
            _ => self.error().map_or(Recovery::None, Error::recovery),
        }
    }

    /// Returns the error of the work, if it is of this type.
    pub fn work<E: std::error::Error + 'static>(&self) -> Option<&E> {
        match self {
            SessionError::Work(work) | SessionError::Interrupted { work, .. } => {
                work.downcast_ref()
            }
            _ => None,
        }
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let below = std::error::Error::source(self);
        match self {
            SessionError::Work(_) => write_layer(f, format_args!("the work failed"), below),
            SessionError::Card(_) => {
                write_layer(f, format_args!("the session cannot recover"), below)
            }
            SessionError::Deadline { cause: None } => {
                write_layer(f, format_args!("the session's deadline passed"), None)
            }
            SessionError::Deadline { cause: Some(_) } => {
                let adds = format_args!("the session had no usable card before its deadline");
                write_layer(f, adds, below)
            }
            SessionError::Interrupted {
                error,
                completed,
                in_login,
                ..
            } => {
                let what = if *in_login { "login" } else { "work" };
                let plural = if *completed == 1 { "" } else { "s" };
                let may = match error.command_may_have_run() {
                    true => " and one that may have run",
                    false => "",
                };
                write_layer(
                    f,
                    format_args!(
                        "the {what} was interrupted after {completed} command{plural}{may}"
                    ),
                    below,
                )
            }
            SessionError::WrongCard { .. } => {
                f.write_str("this is not the card that the session began with")
            }
            SessionError::Hook(_) => write_layer(
                f,
                format_args!("identifying or setting up the card failed"),
                below,
            ),
            SessionError::Login(_) => write_layer(f, format_args!("the login failed"), below),
            SessionError::LoginWithheld(why) => write!(f, "the login is withheld: {why}"),
            SessionError::Unresponsive { .. } => {
                write_layer(f, format_args!("the card does not answer"), below)
            }
        }
    }
}

impl std::error::Error for SessionError {
    /// Returns the error of the work or hook, or the failure of the card. If the work turned that
    /// failure into another error, the source is the failure.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SessionError::Work(error) | SessionError::Hook(error) | SessionError::Login(error) => {
                Some(&**error)
            }
            SessionError::Card(error) | SessionError::Unresponsive { error } => Some(error),
            SessionError::Deadline { cause } => cause.as_ref().map(|cause| cause as _),
            SessionError::Interrupted { error, work, .. } => match Error::find(&**work) {
                Some(found) if found == error => Some(&**work),
                _ => Some(error),
            },
            SessionError::WrongCard { .. } | SessionError::LoginWithheld(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;
    use crate::apdu::ExchangeError;
    use crate::error::Operation;

    fn interrupted(code: ReturnCode, completed: usize) -> SessionError {
        SessionError::Interrupted {
            error: Error::new(Operation::Transmit, code),
            completed,
            work: "x".into(),
            in_login: false,
        }
    }

    #[test]
    fn messages_state_how_far_the_work_got() {
        let once = interrupted(ReturnCode::W_RESET_CARD, 1);
        assert_eq!(
            format!("{once}, {once:#}"),
            "the work was interrupted after 1 command, \
             the work was interrupted after 1 command: \
             SCardTransmit failed: the card was reset (SCARD_W_RESET_CARD, 0x80100068)"
        );
        let may = interrupted(ReturnCode::E_NOT_TRANSACTED, 2).to_string();
        assert!(
            may.ends_with(" after 2 commands and one that may have run"),
            "{may}"
        );
        let deadline = SessionError::Deadline { cause: None };
        assert_eq!(deadline.to_string(), "the session's deadline passed");
        assert_eq!(deadline.error(), None);
    }

    #[test]
    fn an_error_of_the_work_does_not_hide_the_failed_call() {
        let failure = Error::new(Operation::Transmit, ReturnCode::W_RESET_CARD);
        for (work, is_shown) in [
            (BoxError::from(ExchangeError::from(failure.clone())), true),
            (BoxError::from("something else"), false),
        ] {
            let text = work.to_string();
            let error = SessionError::Interrupted {
                error: failure.clone(),
                completed: 0,
                work,
                in_login: false,
            };
            assert_eq!(format!("{error:#}").contains(&text), is_shown);
            assert_eq!(Error::find(&error), Some(&failure));
            assert_eq!(error.work::<ExchangeError>().is_some(), is_shown);
        }
    }

    #[test]
    fn an_error_of_the_work_keeps_its_meaning() {
        let failure = Error::new(Operation::Transmit, ReturnCode::W_WRONG_CHV);
        for error in [
            SessionError::Work(failure.clone().into()),
            SessionError::Hook(ExchangeError::from(failure.clone()).into()),
            SessionError::Card(failure.clone()),
        ] {
            assert_eq!(error.error(), Some(&failure));
            assert_eq!(error.code(), Some(ReturnCode::W_WRONG_CHV));
            assert_eq!(error.kind(), Some(ErrorKind::WrongPin));
            assert_eq!(error.recovery(), Recovery::AskUser);
        }
        let own = SessionError::Work("no".into());
        assert_eq!((own.kind(), own.recovery()), (None, Recovery::None));
        assert_eq!(own.source().unwrap().to_string(), "no");
        let late = SessionError::Deadline { cause: None };
        let kind = Some(ErrorKind::DeadlineExceeded);
        assert_eq!((late.kind(), late.recovery()), (kind, Recovery::RetryLater));
        let wrong = SessionError::WrongCard {
            expected: vec![1],
            found: vec![2],
        };
        assert_eq!(
            (wrong.kind(), wrong.recovery()),
            (None, Recovery::InsertCard)
        );
    }
}
