//! What a wait that ended without success saw in each reader.

use std::fmt;

use super::{Error, ErrorKind};
use crate::codes::ReturnCode;
use crate::values::{ReaderFlags, ReaderName, ReaderState};

/// What was seen in a reader, and why it did not meet the condition.
///
/// [`Display`](fmt::Display) prints a short phrase for people, [`name`](Seen::name) returns a word
/// for programs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Seen {
    /// There is no card.
    Empty,
    /// There is a working card: the wait was for its removal.
    Present,
    /// There is a card that does not answer.
    Mute,
    /// Another program has exclusive access to the card.
    Held,
    /// The card or the reader has none of the accepted protocols, or another one is active.
    ProtocolMismatch,
    /// The card answers to reset, but refused the parameters chosen by the reader (PPS).
    ParametersRefused,
    /// The card does not match the [`CardFilter`](crate::CardFilter).
    NotMatching,
    /// The program refused the card.
    #[non_exhaustive]
    Refused {
        /// The reason given by the program.
        reason: String,
    },
    /// The service cannot read the reader's state.
    Unavailable,
    /// The service does not know the reader.
    Unknown,
    /// A call failed.
    #[non_exhaustive]
    Failed {
        /// The kind of error.
        kind: ErrorKind,
    },
}

impl Seen {
    /// Returns a stable lower-case name for programs, such as `protocol-mismatch`.
    pub fn name(&self) -> &'static str {
        match self {
            Seen::Empty => "empty",
            Seen::Present => "present",
            Seen::Mute => "mute",
            Seen::Held => "held",
            Seen::ProtocolMismatch => "protocol-mismatch",
            Seen::ParametersRefused => "parameters-refused",
            Seen::NotMatching => "not-matching",
            Seen::Refused { .. } => "refused",
            Seen::Unavailable => "unavailable",
            Seen::Unknown => "unknown",
            Seen::Failed { .. } => "failed",
        }
    }

    /// What a failed connect tells about its reader.
    pub(crate) fn of_connect(error: &Error) -> Seen {
        match error.kind() {
            ErrorKind::NoCard | ErrorKind::CardRemoved => Seen::Empty,
            ErrorKind::CardUnsupported if error.is_refusal_of_parameters() => {
                Seen::ParametersRefused
            }
            ErrorKind::CardUnresponsive => Seen::Mute,
            ErrorKind::SharingViolation => Seen::Held,
            ErrorKind::ProtocolMismatch => Seen::ProtocolMismatch,
            ErrorKind::ReaderGone if error.code() == ReturnCode::E_UNKNOWN_READER => Seen::Unknown,
            ErrorKind::ReaderGone => Seen::Unavailable,
            kind => Seen::Failed { kind },
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Seen::Empty => "empty",
            Seen::Present => "the card is there",
            Seen::Mute => "the card does not answer",
            Seen::Held => "another program has exclusive access",
            Seen::ProtocolMismatch => "none of the accepted protocols is possible",
            Seen::ParametersRefused => "the card refused the parameters of the reader",
            Seen::NotMatching => "another card",
            // The text comes from the program, possibly from a card.
            Seen::Refused { reason } => return write!(f, "refused: {}", reason.escape_debug()),
            Seen::Unavailable => "its state cannot be read",
            Seen::Unknown => "unknown to the service",
            Seen::Failed { kind } => return kind.fmt(f),
        })
    }
}

/// A reader and what was seen in it: an entry of [`Error::seen`].
///
/// ```
/// use scard::{Error, Seen};
///
/// fn hint(error: &Error) -> &'static str {
///     match error.seen().iter().any(|it| *it.seen() == Seen::Mute) {
///         true => "Is the card the right way round?",
///         false => "Insert your card.",
///     }
/// }
/// ```
///
/// [`Display`](fmt::Display) prints `"ACS ACR122U 00 00": empty`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SeenReader {
    reader_name: ReaderName,
    seen: Seen,
}

impl SeenReader {
    pub(crate) fn new(reader_name: ReaderName, seen: Seen) -> SeenReader {
        SeenReader { reader_name, seen }
    }

    /// Returns the reader's name.
    pub fn reader_name(&self) -> &ReaderName {
        &self.reader_name
    }

    /// Returns what was seen in the reader.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }
}

/// Converts a reader's state. A card that answers and is free is [`Seen::NotMatching`].
impl From<&ReaderState> for SeenReader {
    fn from(state: &ReaderState) -> SeenReader {
        let has = |flag| state.flags().contains(flag);
        let seen = if has(ReaderFlags::UNKNOWN) {
            Seen::Unknown
        } else if has(ReaderFlags::UNAVAILABLE) {
            Seen::Unavailable
        } else if !state.has_card() {
            Seen::Empty
        } else if state.is_mute() {
            Seen::Mute
        } else if has(ReaderFlags::EXCLUSIVE) {
            Seen::Held
        } else {
            Seen::NotMatching
        };
        SeenReader::new(state.reader_name().clone(), seen)
    }
}

impl fmt::Display for SeenReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Quoted(&self.reader_name).fmt(f)?;
        write!(f, ": {}", self.seen)
    }
}

/// A reader's name in quotes, escaped, because it comes from a device.
pub(super) struct Quoted<'a>(pub(super) &'a ReaderName);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escaped())
    }
}

/// What was seen in several readers, in parentheses; nothing if there are none.
pub(super) struct InReaders<'a>(pub(super) &'a [SeenReader]);

impl fmt::Display for InReaders<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, reader) in self.0.iter().enumerate() {
            write!(f, "{}{reader}", if number == 0 { " (" } else { "; " })?;
        }
        match self.0.is_empty() {
            true => Ok(()),
            false => f.write_str(")"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes::Platform;
    use crate::error::{Operation, Refusal};
    use crate::values::Atr;

    fn name(name: &str) -> ReaderName {
        ReaderName::new(name).unwrap()
    }

    /// One of each.
    fn all() -> [Seen; 11] {
        let kind = ErrorKind::Communication;
        let reason = "no application".to_owned();
        [
            Seen::Empty,
            Seen::Present,
            Seen::Mute,
            Seen::Held,
            Seen::ProtocolMismatch,
            Seen::ParametersRefused,
            Seen::NotMatching,
            Seen::Refused { reason },
            Seen::Unavailable,
            Seen::Unknown,
            Seen::Failed { kind },
        ]
    }

    #[test]
    fn each_has_a_word_and_a_phrase_of_its_own() {
        let words: std::collections::HashSet<_> = all().iter().map(Seen::name).collect();
        let phrases: std::collections::HashSet<_> = all().iter().map(Seen::to_string).collect();
        assert_eq!((words.len(), phrases.len()), (11, 11));
        assert!(words.iter().all(|it| *it == it.to_ascii_lowercase()));
    }

    #[test]
    fn a_look_is_told_as_what_it_saw() {
        for (flags, seen) in [
            (0x10, Seen::Empty),
            (0x0E, Seen::Unknown),
            (0x0A, Seen::Unavailable),
            (0x220, Seen::Mute),
            (0xA0, Seen::Held),
            (0x120, Seen::NotMatching),
            (0x0003_0022, Seen::NotMatching),
            (0, Seen::Empty),
        ] {
            let state = ReaderState {
                reader_name: name("R"),
                event_state: flags,
                atr: Atr::default(),
            };
            assert_eq!(*SeenReader::from(&state).seen(), seen, "{flags:#x}");
        }
    }

    #[test]
    fn a_connect_that_failed_says_what_is_in_its_reader() {
        for (code, seen) in [
            (ReturnCode::E_NO_SMARTCARD, Seen::Empty),
            (ReturnCode::W_UNPOWERED_CARD, Seen::Mute),
            (
                ReturnCode::W_UNRESPONSIVE_CARD,
                match Platform::CURRENT {
                    Platform::PcscLite => Seen::ParametersRefused,
                    _ => Seen::Mute,
                },
            ),
            (ReturnCode::E_SHARING_VIOLATION, Seen::Held),
            (ReturnCode::E_PROTO_MISMATCH, Seen::ProtocolMismatch),
            (ReturnCode::E_UNKNOWN_READER, Seen::Unknown),
            (ReturnCode::E_READER_UNAVAILABLE, Seen::Unavailable),
            (
                ReturnCode::E_NO_SERVICE,
                Seen::Failed {
                    kind: ErrorKind::ServiceGone,
                },
            ),
        ] {
            let error = Error::new(Operation::Connect, code);
            assert_eq!(Seen::of_connect(&error), seen, "{code}");
        }
    }

    #[test]
    fn an_error_says_what_was_seen_and_cannot_be_forged() {
        let reason = "wrong\nnumber".to_owned();
        let error = Error::given_up(Operation::GetStatusChange, Refusal::NO_CARD_IN_TIME);
        assert!(error.seen().is_empty());
        let error = error.with_seen(vec![
            SeenReader::new(name("A \"00\""), Seen::Empty),
            SeenReader::new(name("B"), Seen::Refused { reason }),
        ]);
        assert_eq!(error.seen().len(), 2);
        assert_eq!(
            error.to_string(),
            "SCardGetStatusChange failed: no matching card was inserted within the time-out \
             (\"A \\\"00\\\"\": empty; \"B\": refused: wrong\\nnumber) (SCARD_E_TIMEOUT, 0x8010000A)"
        );
        assert!(format!("{error:#?}").contains("SeenReader {"));
    }
}
