//! What becomes of the entry of a PIN.

use std::fmt;

use crate::apdu::StatusWord;

/// The answer to a request for the entry of a PIN: of the card, if the reader sent the command,
/// otherwise of the reader.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[must_use = "the PIN may be wrong"]
pub struct PinPadAnswer {
    bytes: Vec<u8>,
}

impl PinPadAnswer {
    /// An answer from its bytes.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> PinPadAnswer {
        PinPadAnswer {
            bytes: bytes.into(),
        }
    }

    /// The bytes, as they came.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The status word, which is the last two bytes; `None` if there are fewer.
    pub fn status_word(&self) -> Option<StatusWord> {
        let word = self.bytes.last_chunk()?;
        Some(StatusWord(u16::from_be_bytes(*word)))
    }

    /// What it means.
    pub fn outcome(&self) -> PinOutcome {
        match self.status_word() {
            Some(word) => PinOutcome::from_status_word(word),
            None => PinOutcome::NoStatusWord,
        }
    }
}

/// What became of the entry of a PIN.
///
/// [`Display`](fmt::Display) is a clause for the user or a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PinOutcome {
    /// 9000: the card has verified or changed the PIN.
    Done,
    /// 6300 and 63Cx: the PIN was wrong.
    Wrong {
        /// 63Cx: how many tries are left; `None` if the card does not say.
        tries_left: Option<u8>,
    },
    /// 6983: the PIN is blocked.
    Blocked,
    /// 6400: the user entered nothing in time, or not all. Of the reader: the card has seen
    /// nothing.
    TimedOut,
    /// 6401: the user pressed the key for "cancel". Of the reader.
    Cancelled,
    /// 6402: the new PIN and its repetition differ. Of the reader.
    NewPinsDiffer,
    /// 6403: the PIN has too few or too many digits. Of the reader.
    WrongLength,
    /// 6B80: the reader does not take a value in the request. Of the reader.
    InvalidRequest,
    /// Any other status word.
    Other(StatusWord),
    /// There are fewer than two bytes.
    NoStatusWord,
}

impl PinOutcome {
    /// What a status word means as the answer of a PIN pad. For that of a card to a PIN that was
    /// typed at the computer: [`from_card`](PinOutcome::from_card).
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

    /// What a status word means as the answer of a card, to which no PIN pad has sent the command:
    /// what Part 10 has for readers is [`Other`](PinOutcome::Other).
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
        if outcome.is_of_reader() {
            return PinOutcome::Other(word);
        }
        outcome
    }

    /// Whether the PIN is verified or changed.
    pub const fn is_done(self) -> bool {
        matches!(self, PinOutcome::Done)
    }

    /// Whether Part 10 gives the answer to the reader: the card has not seen a PIN, and no try
    /// is used up. (A card that answers VERIFY with the same words would be taken for it.)
    pub const fn is_of_reader(self) -> bool {
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
            PinOutcome::Done => f.write_str("the card has accepted the PIN"),
            PinOutcome::Wrong { tries_left: None } => f.write_str("the PIN is wrong"),
            PinOutcome::Wrong {
                tries_left: Some(1),
            } => f.write_str("the PIN is wrong, 1 try is left"),
            PinOutcome::Wrong {
                tries_left: Some(tries),
            } => write!(f, "the PIN is wrong, {tries} tries are left"),
            PinOutcome::Blocked => f.write_str("the PIN is blocked"),
            PinOutcome::TimedOut => f.write_str("no PIN was entered in time"),
            PinOutcome::Cancelled => f.write_str("the entry of the PIN was cancelled"),
            PinOutcome::NewPinsDiffer => f.write_str("the new PIN and its repetition differ"),
            PinOutcome::WrongLength => f.write_str("the PIN has too few or too many digits"),
            PinOutcome::InvalidRequest => f.write_str("the reader does not take the request"),
            PinOutcome::Other(word) => write!(f, "the answer to the PIN was: {word}"),
            PinOutcome::NoStatusWord => f.write_str("the answer to the PIN has no status word"),
        }
    }
}
