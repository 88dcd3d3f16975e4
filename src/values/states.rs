//! What PC/SC says of a connected card and of a reader.

use super::Atr;
use super::Protocol;
use super::ReaderName;
use crate::codes::Platform;

bitflags::bitflags! {
    /// The state of the card as `SCardStatus` reports it.
    ///
    /// # Platform notes
    ///
    /// Windows reports one step on the way from absent to ready; here it becomes the set of
    /// all that is true at this step, which is what the others report.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct CardState: u32 {
        /// The state is not known, for instance because the driver failed.
        const UNKNOWN = 0x01;
        /// There is no card.
        const ABSENT = 0x02;
        /// There is a card.
        const PRESENT = 0x04;
        /// The card is in position; with pcsc-lite: it is there and does not answer.
        const SWALLOWED = 0x08;
        /// The card has power.
        const POWERED = 0x10;
        /// The card waits for its protocol to be agreed.
        const NEGOTIABLE = 0x20;
        /// A protocol is agreed.
        const SPECIFIC = 0x40;
    }

    /// The state of a reader as `SCardGetStatusChange` reports it: the low half of
    /// `dwEventState`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct ReaderFlags: u32 {
        /// The reader is not watched.
        const IGNORE = 0x0001;
        /// Something differs from what the caller knew.
        const CHANGED = 0x0002;
        /// The service does not know the reader.
        const UNKNOWN = 0x0004;
        /// The reader's state cannot be read.
        const UNAVAILABLE = 0x0008;
        /// There is no card.
        const EMPTY = 0x0010;
        /// There is a card.
        const PRESENT = 0x0020;
        /// There is a card with the ATR that was asked for.
        const ATRMATCH = 0x0040;
        /// Another program uses the card exclusively.
        const EXCLUSIVE = 0x0080;
        /// Programs use the card.
        const INUSE = 0x0100;
        /// There is a card, and it does not answer.
        const MUTE = 0x0200;
        /// The card has no power.
        const UNPOWERED = 0x0400;
    }
}

impl CardState {
    /// The state at one of the steps 0 to 6 that Windows counts.
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

/// The answer of [`Card::status`](crate::Card::status) and
/// [`Reader::status`](crate::Reader::status).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardStatus {
    pub(crate) readers: Vec<ReaderName>,
    pub(crate) state: CardState,
    pub(crate) raw_state: u32,
    pub(crate) event_count: Option<u16>,
    pub(crate) protocol: Option<Protocol>,
    pub(crate) atr: Atr,
}

impl CardStatus {
    /// The names of the reader; more than one only on Windows, where a reader can have
    /// several.
    pub fn reader_names(&self) -> &[ReaderName] {
        &self.readers
    }

    /// The state of the card.
    pub fn state(&self) -> CardState {
        self.state
    }

    /// `dwState` as the service gave it: a mask, or an ordinal on Windows.
    pub fn raw_state(&self) -> u32 {
        self.raw_state
    }

    /// How many insertions and removals the service has counted in this reader, modulo
    /// 65,536; `None` where it does not say (Windows, macOS).
    pub fn event_count(&self) -> Option<u16> {
        self.event_count
    }

    /// The active protocol; `None` while none is agreed, as with direct access.
    pub fn protocol(&self) -> Option<Protocol> {
        self.protocol
    }

    /// The card's answer to reset; empty without a card.
    pub fn atr(&self) -> Atr {
        self.atr
    }
}

/// One reader in the answer of [`Context::reader_states`](crate::Context::reader_states).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReaderState {
    pub(crate) reader: ReaderName,
    pub(crate) event_state: u32,
    pub(crate) atr: Atr,
}

impl ReaderState {
    /// The reader's name.
    pub fn reader(&self) -> &ReaderName {
        &self.reader
    }

    /// What is true of the reader. Without [`ReaderFlags::CHANGED`], which compares with
    /// what the caller knew: nothing.
    pub fn flags(&self) -> ReaderFlags {
        ReaderFlags::from_bits_retain(self.event_state & 0xFFFF) - ReaderFlags::CHANGED
    }

    /// `dwEventState` as the service gave it.
    pub fn raw_state(&self) -> u32 {
        self.event_state
    }

    /// Whether there is a card. It may not answer: see [`is_mute`](ReaderState::is_mute).
    pub fn has_card(&self) -> bool {
        self.flags().contains(ReaderFlags::PRESENT)
    }

    /// Whether there is a card that does not answer.
    pub fn is_mute(&self) -> bool {
        self.flags().contains(ReaderFlags::MUTE)
    }

    /// How many insertions and removals the service has counted in this reader, modulo
    /// 65,536; `None` where it does not count (macOS).
    pub fn event_count(&self) -> Option<u16> {
        Platform::CURRENT.event_count(self.event_state)
    }

    /// The card's answer to reset; empty without a card.
    pub fn atr(&self) -> Atr {
        self.atr
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reader_state_is_split_into_flags_and_count() {
        let state = ReaderState {
            reader: ReaderName::new("R").unwrap(),
            event_state: 0xFFFF_0122,
            atr: Atr::default(),
        };
        assert_eq!(state.flags(), ReaderFlags::PRESENT | ReaderFlags::INUSE);
        assert_eq!(state.raw_state(), 0xFFFF_0122);
        assert!(state.has_card());
        assert!(!state.is_mute());
    }

    #[test]
    fn a_mute_card_is_there() {
        let state = ReaderState {
            reader: ReaderName::new("R").unwrap(),
            event_state: (ReaderFlags::PRESENT | ReaderFlags::MUTE).bits(),
            atr: Atr::default(),
        };
        assert!(state.has_card());
        assert!(state.is_mute());
    }
}
