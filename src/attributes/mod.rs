//! Typed attributes.
//!
//! [`Control::attribute`](crate::Control::attribute) returns the bytes of any attribute. The
//! attributes here have a type as well as a number:
//! [`Control::attribute_value`](crate::Control::attribute_value), available on every handle,
//! returns a value of that type.
//!
//! ```no_run
//! # fn demo(mut reader: scard::Reader) -> Result<(), Box<dyn std::error::Error>> {
//! use scard::{Control, attributes};
//!
//! let vendor = reader.attribute_value(attributes::VENDOR_NAME)?;
//! let version = reader.attribute_value(attributes::VENDOR_IFD_VERSION)?;
//! println!("{vendor}, version {version}");
//! # Ok(())
//! # }
//! ```
//!
//! Define further typed attributes with [`TypedAttribute::new`].
//!
//! # Platform notes
//!
//! No attribute is available everywhere: reading a missing one fails with
//! [`ErrorKind::Unsupported`]. These are usually available:
//!
//! | | |
//! |---|---|
//! | everywhere | [`ATR_STRING`]; with most readers [`VENDOR_NAME`] and [`VENDOR_IFD_VERSION`] |
//! | pcsc-lite and macOS, with the driver for CCID readers | also: [`VENDOR_IFD_SERIAL_NO`] if the reader has one, [`CHANNEL_ID`], [`MAXINPUT`], [`ICC_PRESENCE`], [`ICC_INTERFACE_STATUS`] |
//! | pcsc-lite | also: [`DEVICE_FRIENDLY_NAME`] and [`DEVICE_SYSTEM_NAME`], which the service itself provides |
//! | Windows | also: most of those whose names begin with `CURRENT`, `DEFAULT` and `MAX`, [`VENDOR_IFD_TYPE`], [`CHANNEL_ID`], [`DEVICE_UNIT`], [`DEVICE_FRIENDLY_NAME`], [`DEVICE_SYSTEM_NAME`] |
//!
//! Numbers are in native byte order. Some drivers for pcsc-lite return numbers as that platform's
//! 64-bit `DWORD`, which is accepted if the value fits.

mod decode;
mod value;

use std::fmt;

use self::decode::{atr, bool, byte, channel, number, presence, protocol, text, version};
pub use self::value::{CardPresence, CardType, Channel, ChannelId, IfdVersion};
use crate::codes::{ReturnCode, debug_as_line};
use crate::error::{Error, ErrorKind, Recovery, write_layer};
use crate::values::{Atr, Attribute, Protocol};

/// An attribute with the type of its value.
#[derive(Clone, Copy)]
pub struct TypedAttribute<T> {
    attribute: Attribute,
    decode: fn(&[u8]) -> Option<T>,
}

impl<T> TypedAttribute<T> {
    /// Creates an attribute with a decoding function, which returns `None` for invalid values.
    ///
    /// ```
    /// use scard::Attribute;
    /// use scard::attributes::TypedAttribute;
    ///
    /// const OF_MAKER: TypedAttribute<u32> = TypedAttribute::new(
    ///     Attribute::from_raw(0x7_A0FF),
    ///     |bytes| Some(u32::from_ne_bytes(bytes.try_into().ok()?)),
    /// );
    /// let bytes = 261_u32.to_ne_bytes();
    /// assert_eq!(OF_MAKER.read(&bytes)?, 261);
    /// # Ok::<(), scard::attributes::InvalidAttributeValue>(())
    /// ```
    pub const fn new(attribute: Attribute, decode: fn(&[u8]) -> Option<T>) -> TypedAttribute<T> {
        TypedAttribute { attribute, decode }
    }

    /// Returns the attribute.
    pub const fn attribute(&self) -> Attribute {
        self.attribute
    }

    /// Decodes a value.
    ///
    /// # Errors
    ///
    /// [`InvalidAttributeValue`] if the bytes are not a value of this attribute, for instance
    /// because there are too few.
    pub fn read(&self, bytes: &[u8]) -> Result<T, InvalidAttributeValue> {
        (self.decode)(bytes).ok_or_else(|| InvalidAttributeValue {
            attribute: self.attribute,
            bytes: bytes.to_vec(),
        })
    }

    /// Decodes the result of the call.
    pub(crate) fn of_answer(&self, answer: Result<Vec<u8>, Error>) -> Result<T, AttributeError> {
        match answer {
            Ok(bytes) => Ok(self.read(&bytes)?),
            Err(error) => Err(AttributeError::of_call(self.attribute, error)),
        }
    }
}

impl<T> fmt::Debug for TypedAttribute<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TypedAttribute")
            .field(&self.attribute)
            .finish()
    }
}

/// The error for bytes from a driver that are not a value of the attribute.
#[derive(Clone, PartialEq, Eq, Hash, thiserror::Error)]
#[error("the driver returned no value of {}: {}", Named(*.attribute), Shown(.bytes))]
pub struct InvalidAttributeValue {
    attribute: Attribute,
    bytes: Vec<u8>,
}

debug_as_line!(InvalidAttributeValue);

impl InvalidAttributeValue {
    /// Returns the attribute.
    pub fn attribute(&self) -> Attribute {
        self.attribute
    }

    /// Returns the bytes, unchanged.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

struct Named(Attribute);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "the attribute {:#X}", self.0.raw()),
        }
    }
}

struct Shown<'a>(&'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The bytes of a faulty driver can be many.
        match self.0.get(..16) {
            Some(first) if self.0.len() > 16 => {
                write!(f, "{first:02X?} and more, {} bytes", self.0.len())
            }
            _ => write!(f, "{:02X?}", self.0),
        }
    }
}

/// The error of reading a typed attribute.
///
/// See [how to print it](Error#errors-that-wrap-this-one).
#[derive(Clone, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum AttributeError {
    /// The call failed.
    #[error(fmt = call_failed)]
    #[non_exhaustive]
    Call {
        /// The attribute that was to be read.
        attribute: Attribute,
        /// The error of the call.
        #[source]
        error: Error,
    },
    /// The call returned something that is not a value of the attribute.
    #[error(transparent)]
    Value(#[from] InvalidAttributeValue),
}

debug_as_line!(AttributeError);

fn call_failed(attribute: &Attribute, error: &Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let name = Named(*attribute);
    write_layer(f, format_args!("reading {name} failed"), Some(error))
}

impl AttributeError {
    /// Creates the error of a failed call.
    ///
    /// For implementations of [`Control`](crate::Control) and its asynchronous twin.
    pub fn of_call(attribute: Attribute, error: Error) -> AttributeError {
        AttributeError::Call { attribute, error }
    }

    /// Returns the attribute that was to be read.
    pub fn attribute(&self) -> Attribute {
        match self {
            AttributeError::Call { attribute, .. } => *attribute,
            AttributeError::Value(value) => value.attribute(),
        }
    }

    /// Returns the error of the failed PC/SC call, if a call failed.
    pub fn error(&self) -> Option<&Error> {
        match self {
            AttributeError::Call { error, .. } => Some(error),
            AttributeError::Value(_) => None,
        }
    }

    /// Returns the [`Error::code`], if a call failed.
    pub fn code(&self) -> Option<ReturnCode> {
        self.error().map(Error::code)
    }

    /// Returns the [`Error::kind`], if a call failed.
    pub fn kind(&self) -> Option<ErrorKind> {
        self.error().map(Error::kind)
    }

    /// Returns the recovery; [`Recovery::None`] if the driver returned an invalid value.
    pub fn recovery(&self) -> Recovery {
        self.error().map_or(Recovery::None, Error::recovery)
    }
}

macro_rules! typed {
    ($( $konst:ident: $type:ty = $decode:expr, $text:literal; )+) => {
        $(
            #[doc = concat!(
                "[`", stringify!($konst), "`](Attribute::", stringify!($konst), "): ", $text, "."
            )]
            pub const $konst: TypedAttribute<$type> =
                TypedAttribute::new(Attribute::$konst, $decode);
        )+

        #[cfg(test)]
        const NAMES: &[(&str, Attribute)] = &[$( (stringify!($konst), Attribute::$konst) ),+];
    };
}

typed! {
    VENDOR_NAME: String = text, "the name of the reader's manufacturer";
    VENDOR_IFD_TYPE: String = text, "the manufacturer's name for the model";
    VENDOR_IFD_VERSION: IfdVersion = version, "the version of the reader, or of its driver";
    VENDOR_IFD_SERIAL_NO: String = text, "the serial number";
    CHANNEL_ID: ChannelId = channel, "how the reader is attached";
    DEFAULT_CLK: u32 = number, "the default clock, in kHz";
    MAX_CLK: u32 = number, "the fastest clock, in kHz";
    DEFAULT_DATA_RATE: u32 = number, "the default data rate, in bit/s";
    MAX_DATA_RATE: u32 = number, "the highest data rate, in bit/s";
    MAX_IFSD: u32 = number, "the largest information field that the reader takes, in bytes";
    CHARACTERISTICS: u32 = number, "the mechanical characteristics of the reader, a bit for each";
    CURRENT_PROTOCOL_TYPE: Protocol = protocol, "the protocol that is active";
    CURRENT_CLK: u32 = number, "the clock that is active, in kHz";
    CURRENT_F: u32 = number, "the clock conversion factor";
    CURRENT_D: u32 = number, "the bit rate conversion factor";
    CURRENT_N: u32 = number, "the guard time";
    CURRENT_W: u32 = number, "the work waiting time";
    CURRENT_IFSC: u32 = number, "the information field size of the card, in bytes";
    CURRENT_IFSD: u32 = number, "the information field size of the reader, in bytes";
    CURRENT_BWT: u32 = number, "the block waiting time";
    CURRENT_CWT: u32 = number, "the character waiting time";
    ICC_PRESENCE: CardPresence = presence, "whether there is a card";
    ICC_INTERFACE_STATUS: bool = bool, "whether the card's contacts are active";
    ATR_STRING: Atr = atr, "the card's answer to reset";
    ICC_TYPE_PER_ATR: CardType = |bytes| byte(bytes).map(CardType::from_raw), "the type of the card";
    MAXINPUT: u32 = number, "the longest command that the reader takes, in bytes";
    DEVICE_UNIT: u32 = number, "the number of this reader among readers of the same name";
    DEVICE_FRIENDLY_NAME: String = text, "the name that is shown to users";
    DEVICE_SYSTEM_NAME: String = text, "the name that the system uses";
    SUPRESS_T1_IFS_REQUEST: bool = bool, "whether the driver leaves out the T=1 IFS request";
}

#[cfg(test)]
mod tests;
