//! Values that are neither numbers nor text.

use std::fmt;

/// The version of a reader or its driver: `0xMMmmbbbb`.
///
/// ```
/// use scard::attributes::IfdVersion;
///
/// let version = IfdVersion::from_raw(0x0105_0003);
/// assert_eq!((version.major(), version.minor(), version.build()), (1, 5, 3));
/// assert_eq!(version.to_string(), "1.5.3");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IfdVersion(u32);

impl IfdVersion {
    /// Creates a version from its number.
    pub const fn from_raw(raw: u32) -> IfdVersion {
        IfdVersion(raw)
    }

    /// Returns the number.
    pub const fn raw(self) -> u32 {
        self.0
    }

    /// Returns the major version.
    pub const fn major(self) -> u8 {
        (self.0 >> 24) as u8
    }

    /// Returns the minor version.
    pub const fn minor(self) -> u8 {
        (self.0 >> 16) as u8
    }

    /// Returns the build number.
    pub const fn build(self) -> u16 {
        self.0 as u16
    }
}

impl fmt::Display for IfdVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major(), self.minor(), self.build())
    }
}

/// The channel that a reader is attached to: `0xDDDDCCCC`, the type and the number.
///
/// ```
/// use scard::attributes::{Channel, ChannelId};
///
/// let id = ChannelId::from_raw(0x0020_0107);
/// assert_eq!(id.channel(), Channel::Usb { bus: 1, device: 7 });
/// assert_eq!(id.to_string(), "USB bus 1 device 7");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(u32);

/// The decoded channel that a reader is attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Channel {
    /// A serial port.
    Serial {
        /// The port number.
        port: u16,
    },
    /// A parallel port.
    Parallel {
        /// The port number.
        port: u16,
    },
    /// A PS/2 keyboard.
    Keyboard,
    /// SCSI.
    Scsi {
        /// The device number.
        id: u16,
    },
    /// IDE.
    Ide {
        /// The device number.
        device: u16,
    },
    /// USB.
    ///
    /// PC/SC Part 3 specifies a 16-bit device number; the driver for CCID readers of pcsc-lite and
    /// macOS puts the bus into its high byte.
    Usb {
        /// The high byte: 0 if only devices are counted.
        bus: u8,
        /// The low byte.
        device: u8,
    },
    /// A vendor-defined type: 0xF0 to 0xFF.
    Vendor {
        /// The type.
        kind: u8,
        /// The channel number.
        number: u16,
    },
    /// Any other type.
    Other {
        /// The type.
        kind: u16,
        /// The channel number.
        number: u16,
    },
}

impl ChannelId {
    /// Creates an identifier from its number.
    pub const fn from_raw(raw: u32) -> ChannelId {
        ChannelId(raw)
    }

    /// Returns the number.
    pub const fn raw(self) -> u32 {
        self.0
    }

    /// Decodes the channel.
    pub const fn channel(self) -> Channel {
        let (kind, number) = ((self.0 >> 16) as u16, self.0 as u16);
        match kind {
            0x01 => Channel::Serial { port: number },
            0x02 => Channel::Parallel { port: number },
            0x04 => Channel::Keyboard,
            0x08 => Channel::Scsi { id: number },
            0x10 => Channel::Ide { device: number },
            0x20 => Channel::Usb {
                bus: (number >> 8) as u8,
                device: number as u8,
            },
            0xF0..=0xFF => Channel::Vendor {
                kind: kind as u8,
                number,
            },
            kind => Channel::Other { kind, number },
        }
    }
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.channel().fmt(f)
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Channel::Serial { port } => write!(f, "serial port {port}"),
            Channel::Parallel { port } => write!(f, "parallel port {port}"),
            Channel::Keyboard => f.write_str("keyboard"),
            Channel::Scsi { id } => write!(f, "SCSI device {id}"),
            Channel::Ide { device } => write!(f, "IDE device {device}"),
            Channel::Usb { bus, device } => write!(f, "USB bus {bus} device {device}"),
            Channel::Vendor { kind, number } => {
                write!(f, "channel {number} of vendor type {kind:#04X}")
            }
            Channel::Other { kind, number } => write!(f, "channel {number} of type {kind:#06X}"),
        }
    }
}

/// Whether there is a card, as reported by the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CardPresence {
    /// 0: no card.
    Absent,
    /// 1: a card that is not in position; reported only by readers that draw cards in.
    NotInPosition,
    /// 2: a card.
    Present,
    /// 4: a card that the reader has confiscated.
    Confiscated,
    /// Any other value.
    Other(u8),
}

impl CardPresence {
    /// Interprets a raw value.
    pub const fn from_raw(raw: u8) -> CardPresence {
        match raw {
            0 => CardPresence::Absent,
            1 => CardPresence::NotInPosition,
            2 => CardPresence::Present,
            4 => CardPresence::Confiscated,
            other => CardPresence::Other(other),
        }
    }
}

impl fmt::Display for CardPresence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CardPresence::Absent => f.pad("no card"),
            CardPresence::NotInPosition => f.pad("card not in position"),
            CardPresence::Present => f.pad("card present"),
            CardPresence::Confiscated => f.pad("card confiscated"),
            CardPresence::Other(raw) => write!(f, "presence {raw:#04X}"),
        }
    }
}

/// The type of the card, as derived from the ATR by the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CardType {
    /// 0: unknown.
    Unknown,
    /// 1: asynchronous, as in ISO 7816-3.
    Asynchronous,
    /// 2: synchronous.
    Synchronous,
    /// Any other value.
    Other(u8),
}

impl CardType {
    /// Interprets a raw value.
    pub const fn from_raw(raw: u8) -> CardType {
        match raw {
            0 => CardType::Unknown,
            1 => CardType::Asynchronous,
            2 => CardType::Synchronous,
            other => CardType::Other(other),
        }
    }
}
