//! The first four bytes of a command.

use std::fmt;

use super::class;

/// The header of a command: class, instruction and two parameters.
///
/// [`Display`](fmt::Display) prints them as hex: `00 A4 04 00`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Header {
    /// CLA.
    pub class: u8,
    /// INS.
    pub instruction: u8,
    /// P1.
    pub p1: u8,
    /// P2.
    pub p2: u8,
}

impl Header {
    pub(crate) const fn bytes(self) -> [u8; 4] {
        [self.class, self.instruction, self.p1, self.p2]
    }

    /// Splits the bytes of a command into its header and the rest.
    pub(crate) fn split(command: &[u8]) -> Option<(Header, &[u8])> {
        let (&[class, instruction, p1, p2], rest) = command.split_first_chunk()?;
        let header = Header {
            class,
            instruction,
            p1,
            p2,
        };
        Some((header, rest))
    }

    /// Returns whether a T=0 card could not distinguish the instruction from a procedure byte.
    pub(super) const fn is_procedure_byte(self) -> bool {
        matches!(self.instruction >> 4, 0x6 | 0x9)
    }

    /// Returns whether commands with this header carry secrets in their body: VERIFY, CHANGE
    /// REFERENCE DATA, RESET RETRY COUNTER, ENABLE and DISABLE VERIFICATION REQUIREMENT; ENVELOPE,
    /// which can contain any of them. In every class, because proprietary classes use the same
    /// numbers. Also PC/SC's LOAD KEYS and UPDATE BINARY, because a sector trailer contains two
    /// keys.
    pub(crate) fn is_secret(self) -> bool {
        match self.instruction {
            0xC2 | 0xC3 => true,
            0x82 | 0xD6 => self.class == class::PSEUDO,
            _ => self.presents_pin(),
        }
    }

    /// Returns whether commands with this header can present a PIN: VERIFY, CHANGE REFERENCE DATA,
    /// RESET RETRY COUNTER, ENABLE and DISABLE VERIFICATION REQUIREMENT, in every class.
    pub(super) fn presents_pin(self) -> bool {
        matches!(self.instruction, 0x20 | 0x21 | 0x24..=0x29 | 0x2C | 0x2D)
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::hex(f, &self.bytes())
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Header({self})")
    }
}
