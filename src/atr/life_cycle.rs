//! The status information in the historical bytes (tag 8, or the last three bytes).

use std::fmt;

/// The status that a card reports after a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StatusInformation {
    life_cycle: Option<LifeCycle>,
    status_word: Option<u16>,
}

impl StatusInformation {
    /// `None` unless there are one, two or three bytes.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<StatusInformation> {
        let (life_cycle, status_word) = match *bytes {
            [life_cycle] => (Some(life_cycle), None),
            [sw1, sw2] => (None, Some([sw1, sw2])),
            [life_cycle, sw1, sw2] => (Some(life_cycle), Some([sw1, sw2])),
            _ => return None,
        };
        Some(StatusInformation {
            life_cycle: life_cycle.map(LifeCycle::from_raw),
            status_word: status_word.map(u16::from_be_bytes),
        })
    }

    /// Returns the life cycle status.
    pub fn life_cycle(&self) -> Option<LifeCycle> {
        self.life_cycle
    }

    /// Returns the status word SW1 SW2, such as 0x9000.
    ///
    /// 0 means that the card does not report it.
    #[doc(alias = "SW1")]
    pub fn status_word(&self) -> Option<u16> {
        self.status_word
    }
}

impl fmt::Display for StatusInformation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(life_cycle) = self.life_cycle {
            write!(f, "life cycle: {life_cycle}")?;
        }
        let comma = if self.life_cycle.is_some() { ", " } else { "" };
        match self.status_word {
            None => Ok(()),
            Some(0) => write!(f, "{comma}no status word"),
            Some(word) => write!(f, "{comma}status word {word:04X}"),
        }
    }
}

/// The life cycle status of a card (ISO 7816-4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LifeCycle {
    /// 00: not reported by the card.
    NotReported,
    /// 01.
    Creation,
    /// 03.
    Initialization,
    /// 05 or 07: operational and activated.
    Activated,
    /// 04 or 06: operational and deactivated.
    Deactivated,
    /// 0C to 0F.
    Terminated,
    /// 10 and above: proprietary.
    Proprietary(u8),
    /// A reserved value: 02 or 08 to 0B.
    Reserved(u8),
}

impl LifeCycle {
    pub(super) const fn from_raw(byte: u8) -> LifeCycle {
        match byte {
            0 => LifeCycle::NotReported,
            1 => LifeCycle::Creation,
            3 => LifeCycle::Initialization,
            4 | 6 => LifeCycle::Deactivated,
            5 | 7 => LifeCycle::Activated,
            0x0C..=0x0F => LifeCycle::Terminated,
            0x10.. => LifeCycle::Proprietary(byte),
            2 | 8..=0x0B => LifeCycle::Reserved(byte),
        }
    }
}

impl fmt::Display for LifeCycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LifeCycle::NotReported => f.write_str("not reported"),
            LifeCycle::Creation => f.write_str("creation"),
            LifeCycle::Initialization => f.write_str("initialization"),
            LifeCycle::Activated => f.write_str("operational, activated"),
            LifeCycle::Deactivated => f.write_str("operational, deactivated"),
            LifeCycle::Terminated => f.write_str("terminated"),
            LifeCycle::Proprietary(byte) => write!(f, "proprietary ({byte:02X})"),
            LifeCycle::Reserved(byte) => write!(f, "reserved ({byte:02X})"),
        }
    }
}
