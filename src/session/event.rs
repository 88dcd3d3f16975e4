//! What a session tells of itself.

use std::fmt;

use crate::error::{Error, Recovery};
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
            SessionEvent::WaitingForCard | SessionEvent::Identified | SessionEvent::SetUp => {}
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
