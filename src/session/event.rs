//! What a session tells of itself.

use std::fmt;
use std::time::Duration;

use crate::error::{Error, Recovery, Seen, SeenReader};
use crate::values::{Initialization, Protocol, ReaderName};

/// Something that a [`Session`](crate::Session) did by itself:
/// [`SessionBuilder::on_event`](crate::SessionBuilder::on_event).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionEvent {
    /// A call failed, and the session does something about it.
    #[non_exhaustive]
    Recovering {
        /// What failed.
        error: Error,
        /// What is done.
        recovery: Recovery,
        /// The number of this recovery in the run, from 1.
        attempt: u32,
    },
    /// No reader that the session may use has a card, and it waits for one: for the card, the
    /// reader or the service.
    WaitingForCard,
    /// The card, the reader or the service is gone, and the session does not wait for it now:
    /// [`keep_alive`](crate::Session::keep_alive) has found that out, or a run that is
    /// [not to wait](crate::SessionBuilder::wait_for_card). Told once, until it is connected
    /// again.
    #[non_exhaustive]
    CardLost {
        /// Why there is none.
        error: Error,
    },
    /// The session is connected, for the first time or again.
    #[non_exhaustive]
    Connected {
        /// The reader that the card is in.
        reader_name: ReaderName,
        /// The protocol that was negotiated.
        protocol: Option<Protocol>,
    },
    /// The connection goes on after another program's reset or with one of its own.
    #[non_exhaustive]
    Reconnected {
        /// What was done to the card: [`Leave`](Initialization::Leave) acknowledges a reset.
        initialization: Initialization,
        /// The protocol that is active now.
        protocol: Protocol,
    },
    /// The identity of the card was asked for and is the right one.
    Identified,
    /// The card was set up.
    SetUp,
    /// The [login](crate::SessionBuilder::login) succeeded.
    LoggedIn,
    /// A hook failed although the card has answered. It is not called again before the program asks
    /// for it: the set-up and the identity by the next run, the login by new credentials.
    #[non_exhaustive]
    HookFailed {
        /// Which one.
        hook: SessionHook,
        /// Its error, as `Display` prints it.
        message: String,
    },
    /// A card will not do, and the session turns to the next one, or waits for one.
    #[non_exhaustive]
    CardSkipped {
        /// The reader that it is in.
        reader_name: ReaderName,
        /// What is the matter with it.
        seen: Seen,
    },
    /// Another program held the card, and a transaction has begun after that. Waiting inside of a
    /// connect is not counted.
    #[non_exhaustive]
    WaitedForOthers {
        /// How long it took to begin.
        duration: Duration,
    },
    /// The session has let go of its card: because it was [idle](crate::SessionBuilder::release_after),
    /// which the next call of the session reports, or [on request](crate::Session::release).
    Released,
}

/// What a program gives a session to call.
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
    /// A word for machines: `identity`, `set-up`, `login`.
    pub fn name(self) -> &'static str {
        match self {
            SessionHook::Identity => "identity",
            SessionHook::SetUp => "set-up",
            SessionHook::Login => "login",
        }
    }
}

/// `the set-up`, for instance.
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
    /// What has happened, as a word for machines such as `waiting-for-card`. The words are stable:
    /// a new version of this library does not change them.
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

/// What has happened, in one line: `connected to "ACS ACR122U 00 00", T=1`.
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
                // The name comes from a device: it must not break the line or the quotes.
                let name = String::from_utf8_lossy(reader_name.as_bytes());
                write!(f, "connected to \"{}\"", name.escape_debug())?;
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
            // The text comes from the program, and may come from a card.
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
            SessionEvent::Released => f.pad("let go of the card"),
        }
    }
}

/// How events are stored: for logs, and not to be read back, because an error cannot be.
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

/// The [name](SessionEvent::name) and what the event has: `{"event": "connected", "reader_name": …}`.
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
                    Seen::Refused { why } => Some(why),
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
    fn events_are_stored_with_what_they_have() {
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
