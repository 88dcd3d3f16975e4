//! Results of PIN entries.

use std::fmt;

use crate::apdu::StatusWord;

/// The answer to a PIN entry request: from the card if the reader sent the command, otherwise from
/// the reader.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[must_use = "the PIN may be wrong"]
pub struct PinPadAnswer {
    bytes: Vec<u8>,
}

impl PinPadAnswer {
    /// Returns an answer from its bytes.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> PinPadAnswer {
        PinPadAnswer {
            bytes: bytes.into(),
        }
    }

    /// Returns the unchanged bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the status word, which is the last two bytes; `None` if there are fewer.
    pub fn status_word(&self) -> Option<StatusWord> {
        let word = self.bytes.last_chunk()?;
        Some(StatusWord(u16::from_be_bytes(*word)))
    }

    /// Returns the meaning of the answer.
    pub fn outcome(&self) -> PinOutcome {
        match self.status_word() {
            Some(word) => PinOutcome::from_status_word(word),
            None => PinOutcome::NoStatusWord,
        }
    }
}

/// The outcome of a PIN entry.
///
/// [`Display`](fmt::Display) prints a clause for the user or a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PinOutcome {
    /// 9000: the card verified or changed the PIN.
    Done,
    /// 6300 and 63Cx: the PIN was wrong.
    Wrong {
        /// The number of tries left (63Cx); `None` if the card does not report it.
        tries_left: Option<u8>,
    },
    /// 6983: the PIN is blocked.
    Blocked,
    /// 6400, from the reader: the user did not complete the entry in time. The card has seen
    /// nothing.
    TimedOut,
    /// 6401, from the reader: the user pressed the cancel key.
    Cancelled,
    /// 6402, from the reader: the new PIN and its repetition differ.
    NewPinsDiffer,
    /// 6403, from the reader: the PIN has too few or too many digits.
    WrongLength,
    /// 6B80, from the reader: a value in the request is invalid.
    InvalidRequest,
    /// Any other status word.
    Other(StatusWord),
    /// The answer has fewer than two bytes.
    NoStatusWord,
}

impl PinOutcome {
    /// Returns the meaning of a status word as the answer of a PIN pad. For a card's answer to a
    /// PIN that was typed at the computer, use [`from_card`](PinOutcome::from_card).
    pub const fn from_status_word(word: StatusWord) -> PinOutcome {
        match word.raw() {
            0x9000 => PinOutcome::Done,
            0x6300 => PinOutcome::Wrong { tries_left: None },
            0x63C0..=0x63CF => PinOutcome::Wrong {
                tries_left: word.remaining_tries(),
            },
            0x6983 => PinOutcome::Blocked,
            0x6400 => PinOutcome::TimedOut,
            0x6401 => PinOutcome::Cancelled,
            0x6402 => PinOutcome::NewPinsDiffer,
            0x6403 => PinOutcome::WrongLength,
            0x6B80 => PinOutcome::InvalidRequest,
            _ => PinOutcome::Other(word),
        }
    }

    /// Returns the meaning of a status word as the answer of a card to a command that was not sent
    /// by a PIN pad: status words that Part 10 defines for readers are
    /// [`Other`](PinOutcome::Other).
    ///
    /// ```
    /// use scard::StatusWord;
    /// use scard::features::PinOutcome;
    ///
    /// let word = StatusWord(0x6400);
    /// assert_eq!(PinOutcome::from_status_word(word), PinOutcome::TimedOut);
    /// assert_eq!(PinOutcome::from_card(word), PinOutcome::Other(word));
    /// ```
    pub const fn from_card(word: StatusWord) -> PinOutcome {
        let outcome = PinOutcome::from_status_word(word);
        if outcome.is_from_reader() {
            return PinOutcome::Other(word);
        }
        outcome
    }

    /// Returns whether the PIN was verified or changed.
    pub const fn is_done(self) -> bool {
        matches!(self, PinOutcome::Done)
    }

    /// Returns whether the answer comes from the reader, according to Part 10: the card has not
    /// seen a PIN, and no try was consumed. (A card that answers VERIFY with the same words is
    /// indistinguishable.)
    pub const fn is_from_reader(self) -> bool {
        matches!(
            self,
            PinOutcome::TimedOut
                | PinOutcome::Cancelled
                | PinOutcome::NewPinsDiffer
                | PinOutcome::WrongLength
                | PinOutcome::InvalidRequest
        )
    }
}

impl fmt::Display for PinOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PinOutcome::Done => f.write_str("the card accepted the PIN"),
            PinOutcome::Wrong { tries_left: None } => f.write_str("the PIN is wrong"),
            PinOutcome::Wrong {
                tries_left: Some(1),
            } => f.write_str("the PIN is wrong, 1 try is left"),
            PinOutcome::Wrong {
                tries_left: Some(tries),
            } => write!(f, "the PIN is wrong, {tries} tries are left"),
            PinOutcome::Blocked => f.write_str("the PIN is blocked"),
            PinOutcome::TimedOut => f.write_str("no PIN was entered in time"),
            PinOutcome::Cancelled => f.write_str("PIN entry was cancelled"),
            PinOutcome::NewPinsDiffer => f.write_str("the new PIN and its repetition differ"),
            PinOutcome::WrongLength => f.write_str("the PIN has too few or too many digits"),
            PinOutcome::InvalidRequest => f.write_str("the reader rejected the request"),
            PinOutcome::Other(word) => write!(f, "the answer to the PIN was: {word}"),
            PinOutcome::NoStatusWord => f.write_str("the answer to the PIN has no status word"),
        }
    }
}
