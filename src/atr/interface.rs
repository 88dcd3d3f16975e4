//! The interface bytes TA1, TB1, TC1, TD1, TA2 and so on, with their meanings.

use std::fmt;

use super::global::{
    BitRate, ClockStop, ContactC6, ExtraGuardTime, OperatingClasses, Programming, SpecificMode,
};
use super::problem::AtrProblem;
use super::protocol::{ErrorDetection, T1Parameters};

/// The number T that is not a protocol: the bytes after it apply to all protocols.
pub(super) const GLOBAL: u8 = 15;

/// The name of an interface byte, such as `TA1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InterfaceName {
    index: u8,
    letter: char,
}

impl InterfaceName {
    pub(super) const fn new(letter: char, index: u8) -> InterfaceName {
        InterfaceName { index, letter }
    }

    /// Returns `A`, `B`, `C` or `D`.
    pub const fn letter(self) -> char {
        self.letter
    }

    /// Returns the index, from 1.
    pub const fn index(self) -> u8 {
        self.index
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("T{}{}", self.letter, self.index))
    }
}

/// One interface byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InterfaceByte {
    name: InterfaceName,
    value: u8,
    meaning: InterfaceMeaning,
}

impl InterfaceByte {
    /// Returns the name.
    pub const fn name(&self) -> InterfaceName {
        self.name
    }

    /// Returns the value.
    pub const fn value(&self) -> u8 {
        self.value
    }

    /// Returns the meaning.
    pub const fn meaning(&self) -> InterfaceMeaning {
        self.meaning
    }
}

/// The meaning of an interface byte. [`Display`](fmt::Display) prints it in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InterfaceMeaning {
    /// TA1: Fi and Di.
    BitRate(BitRate),
    /// TB1: programming voltage and current. Deprecated.
    Programming(Programming),
    /// TC1: extra guard time.
    ExtraGuardTime(ExtraGuardTime),
    /// A TD: the number T, and the bytes that follow.
    Next {
        /// The protocol offered, or 15 for global bytes.
        t: u8,
        /// The bytes that follow: bits 0 to 3 are TA, TB, TC and TD of the next index.
        follows: u8,
        /// The index of this TD.
        index: u8,
    },
    /// TA2: the card is in specific mode.
    SpecificMode(SpecificMode),
    /// TB2: programming voltage in tenths of a volt. Deprecated.
    ProgrammingVoltage(u8),
    /// TC2: the waiting time integer WI of T=0.
    WaitingTime(u8),
    /// The first TA for T=1: IFSC, the maximum block size that the card accepts.
    InformationFieldSize(u8),
    /// The first TB for T=1.
    WaitingTimes {
        /// The block waiting time integer BWI.
        bwi: u8,
        /// The character waiting time integer CWI.
        cwi: u8,
    },
    /// The first TC for T=1: the error detection code.
    ErrorDetection(ErrorDetection),
    /// The first TA for T=15: clock stop and classes of operating conditions.
    ClockStopAndClasses(ClockStop, OperatingClasses),
    /// The first TB for T=15: the use of the contact C6.
    ContactC6(ContactC6),
    /// A byte without a meaning in ISO 7816-3 for this T.
    Unassigned {
        /// The number T in the preceding TD.
        t: u8,
    },
}

impl InterfaceMeaning {
    fn of(name: InterfaceName, value: u8, t: u8, is_first: bool) -> InterfaceMeaning {
        match (name.letter, name.index, t) {
            ('D', index, _) => InterfaceMeaning::Next {
                t: value & 0x0F,
                follows: value >> 4,
                index,
            },
            ('A', 1, _) => InterfaceMeaning::BitRate(BitRate::from_raw(value)),
            ('B', 1, _) => InterfaceMeaning::Programming(Programming::from_raw(value)),
            ('C', 1, _) => InterfaceMeaning::ExtraGuardTime(ExtraGuardTime::from_raw(value)),
            ('A', 2, _) => InterfaceMeaning::SpecificMode(SpecificMode::from_raw(value)),
            ('B', 2, _) => InterfaceMeaning::ProgrammingVoltage(value),
            ('C', 2, _) => InterfaceMeaning::WaitingTime(value),
            _ if !is_first => InterfaceMeaning::Unassigned { t },
            ('A', _, 1) => InterfaceMeaning::InformationFieldSize(value),
            ('B', _, 1) => InterfaceMeaning::WaitingTimes {
                bwi: value >> 4,
                cwi: value & 0x0F,
            },
            ('C', _, 1) => InterfaceMeaning::ErrorDetection(ErrorDetection::from_raw(value)),
            ('A', _, GLOBAL) => InterfaceMeaning::ClockStopAndClasses(
                ClockStop::from_raw(value),
                OperatingClasses::from_raw(value),
            ),
            ('B', _, GLOBAL) => InterfaceMeaning::ContactC6(ContactC6::from_raw(value)),
            _ => InterfaceMeaning::Unassigned { t },
        }
    }

    /// Whether ISO 7816-3 reserves the value. Deprecated bytes are not checked, because readers
    /// ignore them.
    fn is_reserved(self) -> bool {
        match self {
            InterfaceMeaning::BitRate(rate) => rate.fi().is_none() || rate.di().is_none(),
            InterfaceMeaning::SpecificMode(mode) => mode.raw() & 0x60 != 0,
            InterfaceMeaning::WaitingTime(wi) => wi == 0,
            InterfaceMeaning::InformationFieldSize(ifsc) => matches!(ifsc, 0 | 255),
            InterfaceMeaning::WaitingTimes { bwi, .. } => bwi > T1Parameters::MAX_BWI,
            InterfaceMeaning::ErrorDetection(code) => {
                matches!(code, ErrorDetection::Reserved(_))
            }
            InterfaceMeaning::ClockStopAndClasses(_, classes) => classes.is_reserved(),
            _ => false,
        }
    }
}

/// `TA2, TB2 and TD2`, or nothing.
pub(super) fn names_of_next(follows: u8, index: u8) -> Option<String> {
    let names: Vec<String> = present(follows)
        .map(|letter| InterfaceName::new(letter, index).to_string())
        .collect();
    let (last, others) = names.split_last()?;
    Some(match others {
        [] => last.clone(),
        _ => format!("{} and {last}", others.join(", ")),
    })
}

impl fmt::Display for InterfaceMeaning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            InterfaceMeaning::BitRate(rate) => rate.fmt(f),
            InterfaceMeaning::Programming(programming) => programming.fmt(f),
            InterfaceMeaning::ExtraGuardTime(time) => time.fmt(f),
            InterfaceMeaning::Next { t, follows, index } => {
                match t {
                    GLOBAL => f.write_str("T=15: global bytes")?,
                    _ => write!(f, "T={t}")?,
                }
                match names_of_next(follows, index.saturating_add(1)) {
                    Some(names) => write!(f, ", next: {names}"),
                    None => f.write_str(", the last"),
                }
            }
            InterfaceMeaning::SpecificMode(mode) => mode.fmt(f),
            InterfaceMeaning::ProgrammingVoltage(tenths @ 50..=250) => write!(
                f,
                "programming voltage {}.{} V (deprecated)",
                tenths / 10,
                tenths % 10
            ),
            InterfaceMeaning::ProgrammingVoltage(_) => {
                f.write_str("programming voltage, reserved value (deprecated)")
            }
            InterfaceMeaning::WaitingTime(0) => f.write_str("T=0: WI = 0, reserved"),
            InterfaceMeaning::WaitingTime(wi) => {
                write!(f, "T=0: WI = {wi}, waiting time {wi} × 960 × Fi/f")
            }
            InterfaceMeaning::InformationFieldSize(ifsc @ (0 | 255)) => {
                write!(f, "T=1: IFSC = {ifsc}, reserved")
            }
            InterfaceMeaning::InformationFieldSize(ifsc) => {
                write!(
                    f,
                    "T=1: IFSC = {ifsc}, the maximum number of bytes per block"
                )
            }
            InterfaceMeaning::WaitingTimes { bwi, cwi } => {
                let reserved = if bwi > T1Parameters::MAX_BWI {
                    " (reserved)"
                } else {
                    ""
                };
                write!(
                    f,
                    "T=1: BWI = {bwi}{reserved}, CWI = {cwi}: {} etu between characters",
                    T1Parameters::character_etu(cwi)
                )
            }
            InterfaceMeaning::ErrorDetection(code) => write!(f, "T=1: {code}"),
            InterfaceMeaning::ClockStopAndClasses(stop, classes) => {
                write!(f, "{stop}; {classes}")
            }
            InterfaceMeaning::ContactC6(usage) => usage.fmt(f),
            InterfaceMeaning::Unassigned { t } => write!(f, "T={t}: no meaning in ISO 7816-3"),
        }
    }
}

/// The letters for the bits that are set.
fn present(bits: u8) -> impl Iterator<Item = char> {
    ['A', 'B', 'C', 'D']
        .into_iter()
        .enumerate()
        .filter(move |(bit, _)| bits >> bit & 1 == 1)
        .map(|(_, letter)| letter)
}

/// All interface bytes of an ATR, and the properties derived from them.
#[derive(Debug, Default)]
pub(super) struct Chain {
    pub(super) bytes: Vec<InterfaceByte>,
    /// The offered protocols, in order, each once.
    pub(super) offered: Vec<u8>,
    pub(super) needs_tck: bool,
    /// Whether no byte is missing.
    pub(super) is_complete: bool,
}

impl Chain {
    /// Reads the interface bytes that T0 announces off the front of `rest`.
    pub(super) fn read(t0: u8, rest: &[u8], problems: &mut Vec<AtrProblem>) -> Chain {
        let mut chain = Chain::default();
        let mut rest = rest.iter().copied();
        let (mut follows, mut t, mut before) = (t0 >> 4, 0, None);
        // Bit 4 × T + letter: only the first byte of each kind has a meaning.
        let mut seen = 0u64;
        for index in 1..=u8::MAX {
            let mut next = None;
            for letter in present(follows) {
                let name = InterfaceName::new(letter, index);
                let Some(value) = rest.next() else {
                    problems.push(AtrProblem::InterfaceByteMissing(name));
                    return chain;
                };
                let bit = 1u64 << (4 * u32::from(t & 0x0F) + (u32::from(letter) - u32::from('A')));
                let meaning = InterfaceMeaning::of(name, value, t, seen & bit == 0);
                if index > 2 {
                    seen |= bit;
                }
                if meaning.is_reserved() {
                    problems.push(AtrProblem::ReservedValue { name, value });
                }
                if letter == 'D' {
                    next = Some(value);
                }
                chain.bytes.push(InterfaceByte {
                    name,
                    value,
                    meaning,
                });
            }
            let Some(td) = next else { break };
            (follows, t) = (td >> 4, td & 0x0F);
            chain.offer(t, before, problems);
            before = Some(t);
        }
        if chain.offered.is_empty() {
            // T=0 is offered if there is no TD1, or if T=15 is the only number T.
            chain.offered.push(0);
        }
        chain.is_complete = true;
        chain
    }

    /// Records the number T of a TD.
    fn offer(&mut self, t: u8, before: Option<u8>, problems: &mut Vec<AtrProblem>) {
        self.needs_tck |= t != 0;
        match before {
            None if t == GLOBAL => problems.push(AtrProblem::T15First),
            Some(before) if before > t => {
                problems.push(AtrProblem::ProtocolOrder { before, after: t });
            }
            _ => {}
        }
        if t != GLOBAL && !self.offered.contains(&t) {
            self.offered.push(t);
        }
    }
}
