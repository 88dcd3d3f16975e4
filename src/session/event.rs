//! Events of sessions.

use std::fmt;
use std::time::Duration;

use crate::error::{Error, Recovery, Seen, SeenReader};
use crate::values::{Initialization, Protocol, ReaderName};

/// Something that a [`Session`](crate::Session) did by itself, reported to
/// [`SessionBuilder::on_event`](crate::SessionBuilder::on_event).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionEvent {
    /// A call failed, and the session recovers from it.
    #[non_exhaustive]
    Recovering {
        /// The failure.
        error: Error,
        /// How the session recovers.
        recovery: Recovery,
        /// The number of this recovery within the run, from 1.
        attempt: u32,
    },
    /// No reader that the session may use has a card that was not rejected. The session waits for
    /// the card, the reader or the service.
    WaitingForCard,
    /// The card, the reader or the service is gone, and the session does not wait for it. Reported
    /// by [`keep_alive`](crate::Session::keep_alive) and by runs that do [not
    /// wait](crate::SessionBuilder::wait_for_card), once until the session is connected again.
    #[non_exhaustive]
    CardLost {
        /// The failure that showed the loss.
        error: Error,
    },
    /// The session connected, for the first time or again.
    #[non_exhaustive]
    Connected {
        /// The reader that the card is in.
        reader_name: ReaderName,
        /// The protocol that was negotiated.
        protocol: Option<Protocol>,
    },
    /// The session reconnected: after another program's reset, or with a reset of its own.
    #[non_exhaustive]
    Reconnected {
        /// How the card was initialized. [`Leave`](Initialization::Leave) acknowledges a reset.
        initialization: Initialization,
        /// The protocol that is active now.
        protocol: Protocol,
    },
    /// The card has the right identity.
    Identified,
    /// The card was set up.
    SetUp,
    /// The [login](crate::SessionBuilder::login) succeeded.
    LoggedIn,
    /// A hook failed although the card answered. Set-up and identity hooks are called again in the
    /// next run, the login only with new credentials.
    #[non_exhaustive]
    HookFailed {
        /// The hook that failed.
        hook: SessionHook,
        /// The error, as `Display` prints it.
        message: String,
    },
    /// A card is unsuitable. The session tries the next one, or waits for one.
    #[non_exhaustive]
    CardSkipped {
        /// The reader that it is in.
        reader_name: ReaderName,
        /// Why it is unsuitable.
        seen: Seen,
    },
    /// A transaction began after a wait for another program. Waits within a connect are not
    /// counted.
    #[non_exhaustive]
    WaitedForOthers {
        /// The duration of the wait.
        duration: Duration,
    },
    /// The session released its card: because it was [idle](crate::SessionBuilder::release_after),
    /// which the next call of the session reports, or [on request](crate::Session::release).
    Released,
}

/// A function that a session calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SessionHook {
    /// [`SessionBuilder::identity`](crate::SessionBuilder::identity).
    Identity,
    /// [`SessionBuilder::setup`](crate::SessionBuilder::setup).
    SetUp,
    /// [`SessionBuilder::login`](crate::SessionBuilder::login).
    Login,
}

impl SessionHook {
    /// Returns a stable, machine-readable name: `identity`, `set-up`, `login`.
    pub fn name(self) -> &'static str {
        match self {
            SessionHook::Identity => "identity",
            SessionHook::SetUp => "set-up",
            SessionHook::Login => "login",
        }
    }
}

/// Prints the hook for people, for instance `the set-up`.
impl fmt::Display for SessionHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            SessionHook::Identity => "the identification",
            SessionHook::SetUp => "the set-up",
            SessionHook::Login => "the login",
        })
    }
}

impl SessionEvent {
    /// Returns a stable, machine-readable name such as `waiting-for-card`. It does not change
    /// between versions of this library.
    pub fn name(&self) -> &'static str {
        match self {
            SessionEvent::Recovering { .. } => "recovering",
            SessionEvent::WaitingForCard => "waiting-for-card",
            SessionEvent::CardLost { .. } => "card-lost",
            SessionEvent::Connected { .. } => "connected",
            SessionEvent::Reconnected { .. } => "reconnected",
            SessionEvent::Identified => "identified",
            SessionEvent::SetUp => "set-up",
            SessionEvent::LoggedIn => "logged-in",
            SessionEvent::HookFailed { .. } => "hook-failed",
            SessionEvent::CardSkipped { .. } => "card-skipped",
            SessionEvent::WaitedForOthers { .. } => "waited-for-others",
            SessionEvent::Released => "released",
        }
    }
}

/// Prints the event in one line: `connected to "ACS ACR122U 00 00", T=1`.
impl fmt::Display for SessionEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SessionEvent::Recovering { error, attempt, .. } => {
                write!(f, "recovering, attempt {attempt}: {error}")
            }
            SessionEvent::WaitingForCard => f.pad("waiting for a card"),
            SessionEvent::CardLost { error } => write!(f, "card lost: {error}"),
            SessionEvent::Connected {
                reader_name,
                protocol,
            } => {
                write!(f, "connected to \"{}\"", reader_name.escaped())?;
                match protocol {
                    Some(protocol) => write!(f, ", {protocol}"),
                    None => Ok(()),
                }
            }
            SessionEvent::Reconnected {
                initialization,
                protocol,
            } => {
                let how = match initialization {
                    Initialization::Leave => "without a reset",
                    Initialization::Reset => "with a warm reset",
                    Initialization::Unpower => "with a cold reset",
                };
                write!(f, "reconnected {how}, {protocol}")
            }
            SessionEvent::Identified => f.pad("card identified"),
            SessionEvent::SetUp => f.pad("card set up"),
            SessionEvent::LoggedIn => f.pad("logged in"),
            // The text comes from the program, perhaps from a card.
            SessionEvent::HookFailed { hook, message } => {
                write!(f, "{hook} failed: {}", message.escape_debug())
            }
            SessionEvent::CardSkipped { reader_name, seen } => {
                write!(
                    f,
                    "card skipped, {}",
                    SeenReader::new(reader_name.clone(), seen.clone())
                )
            }
            SessionEvent::WaitedForOthers { duration } => {
                write!(f, "waited {duration:.1?} for other programs")
            }
            SessionEvent::Released => f.pad("released the card"),
        }
    }
}

/// The serialized form of events: for logs, and write-only because errors cannot be deserialized.
#[cfg(feature = "serde")]
#[derive(serde::Serialize, Default)]
#[serde(rename = "SessionEvent")]
struct StoredEvent<'a> {
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reader_name: Option<&'a ReaderName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<Protocol>,
    #[serde(skip_serializing_if = "Option::is_none")]
    initialization: Option<Initialization>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery: Option<Recovery>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a Error>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hook: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seen: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    milliseconds: Option<u64>,
}

/// Serializes the [name](SessionEvent::name) and the fields: `{"event": "connected", "reader_name":
/// …}`.
#[cfg(feature = "serde")]
impl serde::Serialize for SessionEvent {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut stored = StoredEvent {
            event: self.name(),
            ..StoredEvent::default()
        };
        match self {
            SessionEvent::CardLost { error } => stored.error = Some(error),
            SessionEvent::Recovering {
                error,
                recovery,
                attempt,
            } => {
                stored.error = Some(error);
                stored.recovery = Some(*recovery);
                stored.attempt = Some(*attempt);
            }
            SessionEvent::Connected {
                reader_name,
                protocol,
            } => {
                stored.reader_name = Some(reader_name);
                stored.protocol = *protocol;
            }
            SessionEvent::Reconnected {
                initialization,
                protocol,
            } => {
                stored.initialization = Some(*initialization);
                stored.protocol = Some(*protocol);
            }
            SessionEvent::HookFailed { hook, message } => {
                stored.hook = Some(hook.name());
                stored.message = Some(message);
            }
            SessionEvent::CardSkipped { reader_name, seen } => {
                stored.reader_name = Some(reader_name);
                stored.seen = Some(seen.name());
                stored.message = match seen {
                    Seen::Refused { reason } => Some(reason),
                    _ => None,
                };
            }
            SessionEvent::WaitedForOthers { duration } => {
                let milliseconds = u64::try_from(duration.as_millis());
                stored.milliseconds = Some(milliseconds.unwrap_or(u64::MAX));
            }
            SessionEvent::WaitingForCard
            | SessionEvent::Identified
            | SessionEvent::SetUp
            | SessionEvent::LoggedIn
            | SessionEvent::Released => {}
        }
        stored.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes::ReturnCode;
    use crate::error::Operation;

    /// One of each.
    fn all() -> [SessionEvent; 6] {
        let error = Error::new(Operation::Transmit, ReturnCode::W_RESET_CARD);
        [
            SessionEvent::Recovering {
                recovery: error.recovery(),
                error,
                attempt: 2,
            },
            SessionEvent::WaitingForCard,
            SessionEvent::Connected {
                reader_name: ReaderName::new("R\n").unwrap(),
                protocol: Some(Protocol::T1),
            },
            SessionEvent::Reconnected {
                initialization: Initialization::Leave,
                protocol: Protocol::T0,
            },
            SessionEvent::Identified,
            SessionEvent::SetUp,
        ]
    }

    #[test]
    fn names_and_texts() {
        let told = all().map(|event| (event.name(), event.to_string()));
        let told = told.each_ref().map(|(name, text)| (*name, text.as_str()));
        assert_eq!(
            told,
            [
                (
                    "recovering",
                    "recovering, attempt 2: SCardTransmit failed: the card was reset \
                     (SCARD_W_RESET_CARD, 0x80100068)"
                ),
                ("waiting-for-card", "waiting for a card"),
                ("connected", r#"connected to "R\n", T=1"#),
                ("reconnected", "reconnected without a reset, T=0"),
                ("identified", "card identified"),
                ("set-up", "card set up"),
            ]
        );
    }

    #[cfg(feature = "serde")]
    #[test]
    fn events_are_serialized_with_their_fields() {
        use serde_json::json;

        let stored = all().map(|event| json!(event));
        assert_eq!(stored[0]["event"], "recovering");
        assert_eq!(stored[0]["recovery"], "reconnect");
        assert_eq!(stored[0]["error"]["kind"], "card-reset");
        assert_eq!(
            stored[2],
            json!({"event": "connected", "reader_name": "R\n", "protocol": "T=1"})
        );
        assert_eq!(
            stored[3],
            json!({"event": "reconnected", "protocol": "T=0", "initialization": "leave"})
        );
        assert_eq!(stored[5], json!({"event": "set-up"}));
    }
}
