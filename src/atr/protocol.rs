//! The interface bytes for T=0 and T=1.

use std::fmt;

use super::interface::{InterfaceByte, InterfaceMeaning};

/// The parameters of T=0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct T0Parameters {
    wi: u8,
}

impl T0Parameters {
    /// The default without interface bytes: WI = 10.
    pub const DEFAULT: T0Parameters = T0Parameters { wi: 10 };

    pub(super) fn of(bytes: &[InterfaceByte]) -> T0Parameters {
        bytes
            .iter()
            .find_map(|byte| match byte.meaning() {
                InterfaceMeaning::WaitingTime(wi) => Some(T0Parameters { wi }),
                _ => None,
            })
            .unwrap_or(T0Parameters::DEFAULT)
    }

    /// Returns the waiting time integer WI.
    ///
    /// The card may take WI × 960 × Fi/f for a character. 0 is reserved.
    #[doc(alias = "WI")]
    pub const fn waiting_time_integer(self) -> u8 {
        self.wi
    }
}

/// The parameters of T=1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct T1Parameters {
    ifsc: u8,
    cwi: u8,
    bwi: u8,
    error_detection: ErrorDetection,
}

impl T1Parameters {
    /// The defaults without interface bytes: IFSC = 32, CWI = 13, BWI = 4, LRC.
    pub const DEFAULT: T1Parameters = T1Parameters {
        ifsc: 32,
        cwi: 13,
        bwi: 4,
        error_detection: ErrorDetection::Lrc,
    };

    /// The highest BWI that is not reserved.
    pub(super) const MAX_BWI: u8 = 9;

    pub(super) fn of(bytes: &[InterfaceByte]) -> T1Parameters {
        let mut parameters = T1Parameters::DEFAULT;
        for byte in bytes {
            match byte.meaning() {
                InterfaceMeaning::InformationFieldSize(ifsc) => parameters.ifsc = ifsc,
                InterfaceMeaning::WaitingTimes { bwi, cwi } => {
                    (parameters.bwi, parameters.cwi) = (bwi, cwi);
                }
                InterfaceMeaning::ErrorDetection(code) => parameters.error_detection = code,
                _ => {}
            }
        }
        parameters
    }

    /// Returns IFSC, the maximum length of an information field sent to the card, in bytes.
    ///
    /// 0 and 255 are reserved.
    #[doc(alias = "IFSC")]
    pub const fn information_field_size(self) -> u8 {
        self.ifsc
    }

    /// Returns CWI: within a block, characters are at most 11 + 2^CWI etu apart.
    #[doc(alias = "CWI")]
    pub const fn character_waiting_integer(self) -> u8 {
        self.cwi
    }

    /// Returns CWT, in etu.
    #[doc(alias = "CWT")]
    pub const fn character_waiting_time(self) -> u32 {
        T1Parameters::character_etu(self.cwi)
    }

    pub(super) const fn character_etu(cwi: u8) -> u32 {
        11 + (1 << (cwi & 0x0F))
    }

    /// Returns BWI: the card answers a block within 11 etu + 2^BWI × 960 × 372/f.
    ///
    /// Values above 9 are reserved.
    #[doc(alias = "BWI")]
    pub const fn block_waiting_integer(self) -> u8 {
        self.bwi
    }

    /// Returns how errors are detected.
    #[doc(alias = "EDC")]
    pub const fn error_detection(self) -> ErrorDetection {
        self.error_detection
    }
}

/// The error detection of T=1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorDetection {
    /// One byte: the exclusive or of all other bytes.
    Lrc,
    /// Two bytes: a cyclic redundancy code.
    Crc,
    /// A byte with reserved bits set.
    Reserved(u8),
}

impl ErrorDetection {
    pub(super) const fn from_raw(byte: u8) -> ErrorDetection {
        match byte {
            0 => ErrorDetection::Lrc,
            1 => ErrorDetection::Crc,
            _ => ErrorDetection::Reserved(byte),
        }
    }
}

impl fmt::Display for ErrorDetection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrorDetection::Lrc => f.write_str("error detection by LRC"),
            ErrorDetection::Crc => f.write_str("error detection by CRC"),
            ErrorDetection::Reserved(byte) => {
                write!(f, "error detection reserved ({byte:#04X})")
            }
        }
    }
}
