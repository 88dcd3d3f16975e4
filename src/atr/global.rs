//! The interface bytes for all protocols: bit rate, guard time, mode, clock, classes.

use std::fmt;

/// The factors Fi and Di (TA1), which determine the possible bit rate.
///
/// The reader and the card start with 372 clock cycles per bit (elementary time unit, etu); after
/// that, Fi/Di cycles are possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BitRate(u8);

impl BitRate {
    /// The default without TA1: Fi = 372, Di = 1.
    pub const DEFAULT: BitRate = BitRate(0x11);

    pub(super) const fn from_raw(ta1: u8) -> BitRate {
        BitRate(ta1)
    }

    /// Returns the byte TA1.
    pub const fn raw(self) -> u8 {
        self.0
    }

    /// Returns the clock rate conversion integer; `None` if reserved.
    pub const fn fi(self) -> Option<u16> {
        Some(match self.0 >> 4 {
            0 | 1 => 372,
            2 => 558,
            3 => 744,
            4 => 1116,
            5 => 1488,
            6 => 1860,
            9 => 512,
            10 => 768,
            11 => 1024,
            12 => 1536,
            13 => 2048,
            _ => return None,
        })
    }

    /// Returns the bit rate adjustment integer; `None` if reserved.
    pub const fn di(self) -> Option<u8> {
        Some(match self.0 & 0x0F {
            1 => 1,
            2 => 2,
            3 => 4,
            4 => 8,
            5 => 16,
            6 => 32,
            7 => 64,
            8 => 12,
            9 => 20,
            _ => return None,
        })
    }

    /// Returns the maximum clock frequency for Fi, in hertz; `None` if reserved.
    #[doc(alias = "fmax")]
    pub const fn max_frequency(self) -> Option<u32> {
        Some(match self.0 >> 4 {
            0 => 4_000_000,
            1 | 9 => 5_000_000,
            2 => 6_000_000,
            3 => 8_000_000,
            4 => 12_000_000,
            5 => 16_000_000,
            6 | 13 => 20_000_000,
            10 => 7_500_000,
            11 => 10_000_000,
            12 => 15_000_000,
            _ => return None,
        })
    }

    /// Returns the bits per second at a clock frequency in hertz, rounded down.
    ///
    /// `None` if a factor is reserved.
    pub const fn bits_per_second(self, frequency: u32) -> Option<u64> {
        match (self.fi(), self.di()) {
            (Some(fi), Some(di)) => Some(frequency as u64 * di as u64 / fi as u64),
            _ => None,
        }
    }
}

impl Default for BitRate {
    /// [`BitRate::DEFAULT`].
    fn default() -> BitRate {
        BitRate::DEFAULT
    }
}

impl fmt::Display for BitRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fi() {
            Some(fi) => write!(f, "Fi = {fi}")?,
            None => f.write_str("Fi reserved")?,
        }
        match self.di() {
            Some(di) => write!(f, ", Di = {di}")?,
            None => f.write_str(", Di reserved")?,
        }
        if let Some(max) = self.max_frequency() {
            write!(f, ", at most {} MHz", f64::from(max) / 1e6)?;
            if let Some(bits) = self.bits_per_second(max) {
                write!(f, ": {bits} bit/s")?;
            }
        }
        Ok(())
    }
}

/// The programming voltage and current (TB1). Deprecated: readers ignore it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Programming(u8);

impl Programming {
    pub(super) const fn from_raw(tb1: u8) -> Programming {
        Programming(tb1)
    }

    /// Returns the byte TB1.
    pub const fn raw(self) -> u8 {
        self.0
    }

    /// Returns PI1, in volts; `None` if the contact VPP is not connected, or the value is reserved.
    #[doc(alias = "PI1")]
    pub const fn volts(self) -> Option<u8> {
        match self.0 & 0x1F {
            volts @ 5..=25 => Some(volts),
            _ => None,
        }
    }

    /// Returns II, the maximum current in milliamperes; `None` if reserved.
    #[doc(alias = "II")]
    pub const fn milliamperes(self) -> Option<u8> {
        match self.0 >> 5 & 3 {
            0 => Some(25),
            1 => Some(50),
            2 => Some(100),
            _ => None,
        }
    }

    /// Returns whether the contact VPP is connected in the card.
    pub const fn is_connected(self) -> bool {
        self.0 & 0x1F != 0
    }
}

impl fmt::Display for Programming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_connected() {
            return f.write_str("VPP is not connected (deprecated)");
        }
        match self.volts() {
            Some(volts) => write!(f, "programming voltage {volts} V")?,
            None => f.write_str("programming voltage reserved")?,
        }
        match self.milliamperes() {
            Some(current) => write!(f, ", at most {current} mA (deprecated)"),
            None => f.write_str(", current reserved (deprecated)"),
        }
    }
}

/// The extra guard time N (TC1): the pause that the card requires between characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ExtraGuardTime(u8);

impl ExtraGuardTime {
    pub(super) const fn from_raw(tc1: u8) -> ExtraGuardTime {
        ExtraGuardTime(tc1)
    }

    /// Returns N; 0 without TC1.
    pub const fn n(self) -> u8 {
        self.0
    }

    /// Returns whether N is 255: no extra time with T=0, and one etu less than usual with T=1.
    pub const fn is_minimum(self) -> bool {
        self.0 == 255
    }
}

impl fmt::Display for ExtraGuardTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("no extra guard time"),
            255 => f.write_str("N = 255: 12 etu per character with T=0, 11 with T=1"),
            n => write!(f, "N = {n}: extra guard time"),
        }
    }
}

/// Whether the protocol and the bit rate can be negotiated after the reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Negotiable, because TA2 is absent.
    Negotiable,
    /// Not negotiable: TA2 specifies them.
    Specific(SpecificMode),
}

/// The specific mode (TA2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpecificMode(u8);

impl SpecificMode {
    pub(super) const fn from_raw(ta2: u8) -> SpecificMode {
        SpecificMode(ta2)
    }

    /// Returns the byte TA2.
    pub const fn raw(self) -> u8 {
        self.0
    }

    /// Returns the number T of the protocol to use.
    pub const fn protocol(self) -> u8 {
        self.0 & 0x0F
    }

    /// Returns whether the card can change to negotiable mode with a warm reset.
    pub const fn is_changeable(self) -> bool {
        self.0 & 0x80 == 0
    }

    /// Returns whether the bit rate is defined implicitly, and not by TA1.
    pub const fn is_implicit(self) -> bool {
        self.0 & 0x10 != 0
    }
}

impl fmt::Display for SpecificMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "specific mode, T={}", self.protocol())?;
        f.write_str(if self.is_changeable() {
            ", can change"
        } else {
            ", cannot change"
        })?;
        f.write_str(if self.is_implicit() {
            ", bit rate implicit"
        } else {
            ", bit rate as in TA1"
        })
    }
}

/// Whether the reader may stop the clock, and how (XI in the first TA for T=15).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ClockStop {
    /// Not allowed. Also the default.
    #[default]
    NotSupported,
    /// Allowed in the low state.
    Low,
    /// Allowed in the high state.
    High,
    /// Allowed in either state.
    NoPreference,
}

impl ClockStop {
    pub(super) const fn from_raw(byte: u8) -> ClockStop {
        match byte >> 6 {
            0 => ClockStop::NotSupported,
            1 => ClockStop::Low,
            2 => ClockStop::High,
            _ => ClockStop::NoPreference,
        }
    }
}

impl fmt::Display for ClockStop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ClockStop::NotSupported => "clock must not stop",
            ClockStop::Low => "clock may stop low",
            ClockStop::High => "clock may stop high",
            ClockStop::NoPreference => "clock may stop low or high",
        })
    }
}

bitflags::bitflags! {
    /// The classes of operating conditions, or supply voltages (UI in the first TA for T=15).
    ///
    /// Unnamed bits are reserved, and kept.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct OperatingClasses: u8 {
        /// 5 V.
        const A = 1;
        /// 3 V.
        const B = 2;
        /// 1.8 V.
        const C = 4;
    }
}

impl OperatingClasses {
    pub(super) const fn from_raw(byte: u8) -> OperatingClasses {
        OperatingClasses::from_bits_retain(byte & 0x3F)
    }

    /// Returns whether ISO 7816-3 reserves the combination, such as A and C without B.
    pub const fn is_reserved(self) -> bool {
        !matches!(self.bits(), 1 | 2 | 3 | 4 | 6 | 7)
    }
}

impl Default for OperatingClasses {
    /// The default of ISO 7816-3, class A.
    fn default() -> OperatingClasses {
        OperatingClasses::A
    }
}

impl fmt::Display for OperatingClasses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = [
            (OperatingClasses::A, "A (5 V)"),
            (OperatingClasses::B, "B (3 V)"),
            (OperatingClasses::C, "C (1.8 V)"),
        ]
        .into_iter()
        .filter(|(class, _)| self.contains(*class))
        .map(|(_, name)| name)
        .collect();
        match names.as_slice() {
            [] => write!(f, "classes {:#04X}", self.bits())?,
            names => write!(f, "class {}", names.join(", "))?,
        }
        if self.is_reserved() {
            f.write_str(" (reserved combination)")?;
        }
        Ok(())
    }
}

/// The use of the contact C6, SPU (the first TB for T=15).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ContactC6 {
    /// Not used by the card. Also the default.
    #[default]
    NotUsed,
    /// Standard use, with the seven bits that specify it.
    Standard(u8),
    /// Proprietary use, with the seven bits that specify it.
    Proprietary(u8),
}

impl ContactC6 {
    pub(super) const fn from_raw(byte: u8) -> ContactC6 {
        match byte {
            0 => ContactC6::NotUsed,
            1..=0x7F => ContactC6::Standard(byte),
            _ => ContactC6::Proprietary(byte & 0x7F),
        }
    }
}

impl fmt::Display for ContactC6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ContactC6::NotUsed => f.write_str("contact C6 not used"),
            ContactC6::Standard(bits) => write!(f, "contact C6: standard use {bits:#04X}"),
            ContactC6::Proprietary(bits) => {
                write!(f, "contact C6: proprietary use {bits:#04X}")
            }
        }
    }
}
