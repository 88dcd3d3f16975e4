//! The hooks of a session, and what their failures mean.

use std::fmt;

use super::builder::Events;
use super::card::{Progress, SessionCard};
use super::error::{LoginWithheld, SessionError};
use super::event::{SessionEvent, SessionHook};
use super::recovery::Ladder;
use super::steps::Stop;
use crate::codes::debug_as_line;
use crate::error::{BoxError, Error, chain};

pub(super) type Hook<T> =
    Box<dyn FnMut(&mut SessionCard<'_>) -> Result<T, BoxError> + Send + 'static>;

/// Returns a hook from a closure with any error type.
pub(super) fn hook<T, E: Into<BoxError>>(
    mut hook: impl FnMut(&mut SessionCard<'_>) -> Result<T, E> + Send + 'static,
) -> Hook<T> {
    Box::new(move |card| hook(card).map_err(E::into))
}

/// The hooks of a session.
#[derive(Default)]
pub(super) struct Hooks {
    pub(super) setup: Option<Hook<()>>,
    pub(super) identity: Option<Hook<Vec<u8>>>,
    pub(super) login: Option<Login>,
}

/// The error with which an identity or set-up hook rejects a card.
///
/// The session tries the next card that it may use. If there is none, it waits for one, unless it
/// is configured [not to wait](crate::SessionBuilder::wait_for_card). The reason is reported in
/// [`SessionEvent::CardSkipped`] and [`Error::seen`].
///
/// ```no_run
/// use scard::apdu::StatusWord;
/// use scard::{BoxError, Command, Context, NotThisCard, Session};
///
/// let context = Context::establish()?;
/// let piv = Command::select(b"\xA0\x00\x00\x03\x08")?;
/// let session = Session::builder(&context)
///     .setup(move |card| -> Result<(), BoxError> {
///         match card.exchange(&piv)? {
///             answer if answer.status().is_success() => Ok(()),
///             answer if answer.status() == StatusWord::FILE_NOT_FOUND => {
///                 Err(NotThisCard::new("it has no PIV application").into())
///             }
///             answer => Err(answer.ok().unwrap_err().into()),
///         }
///     })
///     .open()?;
/// println!("the card is in {}", session.reader_name().unwrap());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct NotThisCard {
    reason: String,
}

debug_as_line!(NotThisCard);

impl NotThisCard {
    /// Returns the error with a human-readable reason.
    pub fn new(reason: impl Into<String>) -> NotThisCard {
        NotThisCard {
            reason: reason.into(),
        }
    }

    /// Finds it in the causes of an error.
    fn find(error: &BoxError) -> Option<&NotThisCard> {
        let error: &(dyn std::error::Error + 'static) = &**error;
        chain(error).find_map(|error| error.downcast_ref())
    }

    /// Returns the reason.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for NotThisCard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not this card: {}", self.reason)
    }
}

impl std::error::Error for NotThisCard {}

/// Returns the failure of the card that the error of a hook or of the work is about: that of the
/// last call or, if that call succeeded, the failure of an earlier call that was returned. An error
/// that passed through `anyhow` without a context can be recognised only by its text.
pub(super) fn failure_behind(error: &BoxError, progress: &Progress) -> Option<Error> {
    if progress.failure.is_some() || !progress.has_failed() {
        return progress.failure.clone();
    }
    let error: &(dyn std::error::Error + 'static) = &**error;
    let found = Error::find(error);
    let texts: Vec<String> = chain(error).map(ToString::to_string).collect();
    let is_returned = |failure: &&Error| match found {
        Some(found) => found == *failure,
        None => texts.contains(&failure.to_string()),
    };
    progress.failures.iter().rev().find(is_returned).cloned()
}

/// Calls a hook, which can be repeated after any failure of the card.
pub(super) fn call_hook<T>(
    card: &mut SessionCard<'_>,
    hook: &mut Hook<T>,
    which: SessionHook,
    events: &mut Events,
    ladder: &mut Ladder,
) -> Result<T, Stop> {
    let answer = hook(card);
    let progress = card.take_progress();
    ladder.note(&progress);
    answer.map_err(|error| match failure_behind(&error, &progress) {
        Some(failure) => Stop::Recover(failure),
        None => match NotThisCard::find(&error) {
            Some(NotThisCard { reason }) => Stop::NotThisCard {
                reason: reason.clone(),
            },
            None => refused(which, error, events),
        },
    })
}

/// Handles a hook that failed although the card did not.
fn refused(hook: SessionHook, error: BoxError, events: &mut Events) -> Stop {
    let message = error.to_string();
    events.tell(SessionEvent::HookFailed { hook, message });
    Stop::Fail(match hook {
        SessionHook::Login => SessionError::Login(error),
        SessionHook::Identity | SessionHook::SetUp => SessionError::Hook(error),
    })
}

/// The login hook, which consumes tries, and its outcome.
pub(super) struct Login {
    hook: Hook<()>,
    /// The card that the hook was called for last, and whether a command of it may have run.
    called_for: Option<(Identification, bool)>,
    withheld: Option<LoginWithheld>,
}

/// How a card was identified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Identification {
    /// By the identity that the session began with.
    ByIdentity,
    /// By the connection, which is the same and was not reconnected.
    ByConnection { connection: u64, resets: u64 },
}

impl Identification {
    /// Returns whether the card is still in its reader, even if it was reset.
    fn has_stayed(self, before: Identification) -> bool {
        use Identification::ByConnection;
        match (before, self) {
            (
                ByConnection { connection, .. },
                ByConnection {
                    connection: now, ..
                },
            ) => connection == now,
            _ => self == before,
        }
    }
}

impl Login {
    pub(super) fn new(hook: Hook<()>) -> Login {
        Login {
            hook,
            called_for: None,
            withheld: None,
        }
    }

    /// Forgets the card: from now on it may be another one.
    pub(super) fn forget_card(&mut self) {
        if self.called_for.is_some() && self.withheld.is_none() {
            self.withheld = Some(LoginWithheld::CardNotIdentified);
        }
    }

    /// Logs in, unless that could consume another card's tries or a second try of this one.
    pub(super) fn perform(
        &mut self,
        card: &mut SessionCard<'_>,
        identification: Identification,
        events: &mut Events,
        ladder: &mut Ladder,
    ) -> Result<(), Stop> {
        let is_same = self
            .called_for
            .is_none_or(|(before, has_run)| match has_run {
                true => identification == before,
                false => identification.has_stayed(before),
            });
        let unidentified = (!is_same).then_some(LoginWithheld::CardNotIdentified);
        if let Some(reason) = self.withheld.or(unidentified) {
            return Err(Stop::Fail(SessionError::LoginWithheld(reason)));
        }
        let had_run = self.called_for.is_some_and(|(_, has_run)| has_run);
        // Both remain if the hook panics.
        self.withheld = Some(LoginWithheld::Refused);
        self.called_for = Some((identification, true));
        let answer = (self.hook)(card);
        let progress = card.take_progress();
        ladder.note(&progress);
        self.called_for = Some((identification, had_run || progress.touched));
        let error = match answer {
            Ok(()) => {
                self.withheld = None;
                events.tell(SessionEvent::LoggedIn);
                return Ok(());
            }
            Err(error) => error,
        };
        Err(match failure_behind(&error, &progress) {
            None => {
                // No command may have run: the user canceled, for example.
                self.withheld = progress.touched.then_some(LoginWithheld::Refused);
                refused(SessionHook::Login, error, events)
            }
            Some(failure) => {
                // A try may have been consumed, unless no command has run.
                self.withheld = progress.touched.then_some(LoginWithheld::OutcomeUnknown);
                match progress.touched {
                    true => Stop::Fail(SessionError::Interrupted {
                        error: failure,
                        completed: progress.completed,
                        work: error,
                        in_login: true,
                    }),
                    false => Stop::Recover(failure),
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_stays_through_a_reset_but_not_necessarily_through_a_reconnection() {
        let by_connection =
            |connection, resets| Identification::ByConnection { connection, resets };
        let before = by_connection(1, 1);
        assert!(by_connection(1, 2).has_stayed(before));
        assert!(!by_connection(2, 2).has_stayed(before));
        let by_identity = Identification::ByIdentity;
        assert!(by_identity.has_stayed(by_identity));
        assert!(!by_identity.has_stayed(before));
    }
}
