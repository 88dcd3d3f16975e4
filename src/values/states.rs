//! The states of connected cards and of readers.

use std::fmt;
use std::str::FromStr;

use super::Atr;
use super::Protocol;
use super::ReaderName;
use super::words::{FlagWords, ParseValueError};
use crate::codes::{Platform, stored_as_text};

bitflags::bitflags! {
    /// The state of a card as reported by `SCardStatus`.
    ///
    /// # Platform notes
    ///
    /// Windows reports a single step between absent and ready; it is converted to the set of flags
    /// that hold at this step, as reported by the other platforms.
    ///
    /// [`Display`](fmt::Display) prints `present, powered, specific`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct CardState: u32 {
        /// The state is not known, for instance because the driver failed.
        const UNKNOWN = 0x01;
        /// There is no card.
        const ABSENT = 0x02;
        /// There is a card.
        const PRESENT = 0x04;
        /// The card is in position; with pcsc-lite, it is present but does not answer.
        const SWALLOWED = 0x08;
        /// The card has power.
        const POWERED = 0x10;
        /// The card waits for protocol negotiation.
        const NEGOTIABLE = 0x20;
        /// A protocol has been negotiated.
        const SPECIFIC = 0x40;
    }

    /// The state of a reader as reported by `SCardGetStatusChange`: the low half of `dwEventState`.
    ///
    /// [`Display`](fmt::Display) prints `present, in-use`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct ReaderFlags: u32 {
        /// The reader is not watched.
        const IGNORE = 0x0001;
        /// The state differs from the one the caller knew.
        const CHANGED = 0x0002;
        /// The service does not know the reader.
        const UNKNOWN = 0x0004;
        /// The reader's state cannot be read.
        const UNAVAILABLE = 0x0008;
        /// There is no card.
        const EMPTY = 0x0010;
        /// There is a card.
        const PRESENT = 0x0020;
        /// There is a card with the requested ATR.
        const ATRMATCH = 0x0040;
        /// Another program uses the card exclusively.
        const EXCLUSIVE = 0x0080;
        /// The card is in use.
        const INUSE = 0x0100;
        /// There is a card that does not answer.
        const MUTE = 0x0200;
        /// The card has no power.
        const UNPOWERED = 0x0400;
    }
}

const CARD_WORDS: FlagWords = FlagWords {
    words: &[
        (CardState::UNKNOWN.bits(), "unknown"),
        (CardState::ABSENT.bits(), "absent"),
        (CardState::PRESENT.bits(), "present"),
        (CardState::SWALLOWED.bits(), "swallowed"),
        (CardState::POWERED.bits(), "powered"),
        (CardState::NEGOTIABLE.bits(), "negotiable"),
        (CardState::SPECIFIC.bits(), "specific"),
    ],
    separator: ", ",
    expected: "a card state",
};

const READER_WORDS: FlagWords = FlagWords {
    words: &[
        (ReaderFlags::IGNORE.bits(), "ignore"),
        (ReaderFlags::CHANGED.bits(), "changed"),
        (ReaderFlags::UNKNOWN.bits(), "unknown"),
        (ReaderFlags::UNAVAILABLE.bits(), "unavailable"),
        (ReaderFlags::EMPTY.bits(), "empty"),
        (ReaderFlags::PRESENT.bits(), "present"),
        (ReaderFlags::ATRMATCH.bits(), "atr-match"),
        (ReaderFlags::EXCLUSIVE.bits(), "exclusive"),
        (ReaderFlags::INUSE.bits(), "in-use"),
        (ReaderFlags::MUTE.bits(), "mute"),
        (ReaderFlags::UNPOWERED.bits(), "unpowered"),
    ],
    separator: ", ",
    expected: "a reader flag",
};

macro_rules! flag_words {
    ($type:ident, $words:ident, $expected:literal) => {
        /// The flags joined by commas, in lower case; `none` for the empty set.
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                $words.write(self.bits(), f)
            }
        }

        /// Parses the output of `Display`, ignoring case. `|` means the same as a comma.
        impl FromStr for $type {
            type Err = ParseValueError;

            fn from_str(text: &str) -> Result<$type, ParseValueError> {
                $words.read(text).map($type::from_bits_retain)
            }
        }

        stored_as_text!($type, $expected);
    };
}

flag_words!(CardState, CARD_WORDS, "card states");
flag_words!(ReaderFlags, READER_WORDS, "reader flags");

impl CardState {
    /// The state for one of the steps 0 to 6 that Windows reports.
    pub(crate) fn from_ordinal(ordinal: u32) -> CardState {
        let powered = CardState::PRESENT | CardState::POWERED;
        match ordinal {
            1 => CardState::ABSENT,
            2 => CardState::PRESENT,
            3 => CardState::PRESENT | CardState::SWALLOWED,
            4 => powered,
            5 => powered | CardState::NEGOTIABLE,
            6 => powered | CardState::SPECIFIC,
            _ => CardState::UNKNOWN,
        }
    }
}

/// The status of a card and its reader.
///
/// Returned by [`Card::status`](crate::Card::status) and [`Reader::status`](crate::Reader::status).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct CardStatus {
    pub(crate) reader_names: Vec<ReaderName>,
    pub(crate) state: CardState,
    pub(crate) raw_state: u32,
    pub(crate) event_count: Option<u16>,
    pub(crate) protocol: Option<Protocol>,
    pub(crate) atr: Atr,
}

impl CardStatus {
    /// Returns the names of the reader; only on Windows can there be more than one.
    pub fn reader_names(&self) -> &[ReaderName] {
        &self.reader_names
    }

    /// Returns the state of the card.
    pub fn state(&self) -> CardState {
        self.state
    }

    /// Returns `dwState` as reported by the service: a mask, or an ordinal on Windows.
    pub fn raw_state(&self) -> u32 {
        self.raw_state
    }

    /// Returns the service's count of insertions and removals in this reader, modulo 65,536.
    ///
    /// `None` on platforms that do not report it here (Windows, macOS).
    pub fn event_count(&self) -> Option<u16> {
        self.event_count
    }

    /// Returns the active protocol; `None` if none has been negotiated, as with direct access.
    pub fn protocol(&self) -> Option<Protocol> {
        self.protocol
    }

    /// Returns the card's answer to reset; empty without a card.
    pub fn atr(&self) -> Atr {
        self.atr
    }
}

/// The state of one reader, returned by [`Context::reader_states`](crate::Context::reader_states).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(from = "StoredState", into = "StoredState"))]
pub struct ReaderState {
    pub(crate) reader_name: ReaderName,
    pub(crate) event_state: u32,
    pub(crate) atr: Atr,
}

impl ReaderState {
    /// Returns the reader's name.
    pub fn reader_name(&self) -> &ReaderName {
        &self.reader_name
    }

    /// Returns the reader's flags.
    ///
    /// They never include [`ReaderFlags::CHANGED`], because there is no earlier state to compare
    /// with.
    pub fn flags(&self) -> ReaderFlags {
        ReaderFlags::from_bits_retain(self.event_state & 0xFFFF) - ReaderFlags::CHANGED
    }

    /// Returns `dwEventState` as reported by the service.
    pub fn raw_state(&self) -> u32 {
        self.event_state
    }

    /// Returns whether there is a card, even if it [does not answer](ReaderState::is_mute).
    pub fn has_card(&self) -> bool {
        self.flags().contains(ReaderFlags::PRESENT)
    }

    /// Returns whether there is a card that does not answer.
    pub fn is_mute(&self) -> bool {
        self.flags().contains(ReaderFlags::MUTE)
    }

    /// Returns the service's count of insertions and removals in this reader, modulo 65,536.
    ///
    /// `None` on platforms that do not count (macOS).
    pub fn event_count(&self) -> Option<u16> {
        Platform::CURRENT.event_count(self.event_state)
    }

    /// Returns the card's answer to reset; empty without a card.
    pub fn atr(&self) -> Atr {
        self.atr
    }
}

/// The serialized form of a [`ReaderState`], with its flags for people who read logs.
#[cfg(feature = "serde")]
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename = "ReaderState")]
struct StoredState {
    reader_name: ReaderName,
    flags: ReaderFlags,
    raw_state: u32,
    atr: Atr,
}

#[cfg(feature = "serde")]
impl From<ReaderState> for StoredState {
    fn from(state: ReaderState) -> StoredState {
        StoredState {
            flags: state.flags(),
            raw_state: state.event_state,
            reader_name: state.reader_name,
            atr: state.atr,
        }
    }
}

#[cfg(feature = "serde")]
impl From<StoredState> for ReaderState {
    fn from(stored: StoredState) -> ReaderState {
        ReaderState {
            reader_name: stored.reader_name,
            event_state: stored.raw_state,
            atr: stored.atr,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_has_its_own_word() {
        for (_, flag) in CardState::all().iter_names() {
            let text = flag.to_string();
            assert!(!text.contains("0x"), "{text}");
            assert_eq!(text.parse(), Ok(flag));
        }
        for (_, flag) in ReaderFlags::all().iter_names() {
            let text = flag.to_string();
            assert!(!text.contains("0x"), "{text}");
            assert_eq!(text.parse(), Ok(flag));
        }
    }

    #[test]
    fn sets_of_flags_are_read_back() {
        let ready = CardState::PRESENT | CardState::POWERED | CardState::SPECIFIC;
        assert_eq!(ready.to_string(), "present, powered, specific");
        assert_eq!("PRESENT | powered|specific".parse(), Ok(ready));
        let used = ReaderFlags::PRESENT | ReaderFlags::INUSE;
        assert_eq!(used.to_string(), "present, in-use");
        assert_eq!(format!("{:>8}", ReaderFlags::empty()), "    none");
        for bits in 0..=0x0FFF {
            let flags = ReaderFlags::from_bits_retain(bits);
            assert_eq!(flags.to_string().parse(), Ok(flags));
            let state = CardState::from_bits_retain(bits);
            assert_eq!(state.to_string().parse(), Ok(state));
        }
        assert_eq!(
            "present, gone"
                .parse::<CardState>()
                .unwrap_err()
                .to_string(),
            r#""gone" is not a card state"#
        );
    }

    #[test]
    fn reader_state_is_split_into_flags_and_count() {
        let state = ReaderState {
            reader_name: ReaderName::new("R").unwrap(),
            event_state: 0xFFFF_0122,
            atr: Atr::default(),
        };
        assert_eq!(state.flags(), ReaderFlags::PRESENT | ReaderFlags::INUSE);
        assert_eq!(state.raw_state(), 0xFFFF_0122);
        let counts = Platform::CURRENT != Platform::MacOs;
        assert_eq!(state.event_count(), counts.then_some(0xFFFF));
        assert!(state.has_card());
        assert!(!state.is_mute());
    }

    #[test]
    fn a_mute_card_is_present() {
        let state = ReaderState {
            reader_name: ReaderName::new("R").unwrap(),
            event_state: (ReaderFlags::PRESENT | ReaderFlags::MUTE).bits(),
            atr: Atr::default(),
        };
        assert!(state.has_card());
        assert!(state.is_mute());
    }

    fn status() -> CardStatus {
        CardStatus {
            reader_names: vec![ReaderName::new("R").unwrap()],
            state: CardState::PRESENT | CardState::SPECIFIC,
            raw_state: 0x0007_0044,
            event_count: Some(7),
            protocol: Some(Protocol::T1),
            atr: Atr::new(&[0x3B, 0x00]).unwrap(),
        }
    }

    #[test]
    fn a_status_has_the_values_it_was_built_from() {
        let status = status();
        assert_eq!(status.reader_names(), ["R"]);
        assert_eq!(status.state(), CardState::PRESENT | CardState::SPECIFIC);
        assert_eq!(status.raw_state(), 0x0007_0044);
        assert_eq!(status.event_count(), Some(7));
        assert_eq!(status.protocol(), Some(Protocol::T1));
        assert_eq!(status.atr().as_bytes(), [0x3B, 0x00]);
    }

    #[cfg(feature = "serde")]
    #[test]
    fn states_are_serialized_with_their_fields() {
        use serde_json::json;

        let state = ReaderState {
            reader_name: ReaderName::new("R").unwrap(),
            event_state: 0x0003_0122,
            atr: Atr::new(&[0x3B, 0x00]).unwrap(),
        };
        let stored = json!({
            "reader_name": "R",
            "flags": "present, in-use",
            "raw_state": 0x0003_0122,
            "atr": "3B 00",
        });
        assert_eq!(json!(state), stored);
        assert_eq!(
            serde_json::from_value::<ReaderState>(stored).unwrap(),
            state
        );

        let status = status();
        let stored = json!({
            "reader_names": ["R"],
            "state": "present, specific",
            "raw_state": 0x0007_0044,
            "event_count": 7,
            "protocol": "T=1",
            "atr": "3B 00",
        });
        assert_eq!(json!(status), stored);
        assert_eq!(
            serde_json::from_value::<CardStatus>(stored).unwrap(),
            status
        );
    }
}
