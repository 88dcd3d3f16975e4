//! The answer to reset and its interpretation.
//!
//! [`Atr`] holds the bytes; [`Atr::parse`] interprets them according to ISO 7816-3 (communication
//! parameters), ISO 7816-4 (the card's description of itself in the historical bytes) and PC/SC
//! Part 3 (ATRs that readers compose for contactless cards).
//!
//! # Examples
//!
//! ```
//! use scard::{Atr, Protocols};
//!
//! let atr = Atr::new(b"\x3B\xFD\x13\0\0\x81\x31\xFE\x15\x80\x73\xC0\x21\xC0WYubiKey\x40")?;
//! let reading = atr.parse();
//! assert!(reading.problems().is_empty());
//! assert_eq!(reading.protocols(), Protocols::T1);
//!
//! let capabilities = reading.capabilities().expect("it has them");
//! assert!(capabilities.extended_length());
//! assert!(capabilities.command_chaining());
//!
//! println!("{reading}"); // every byte, with its name and meaning
//! # Ok::<(), scard::InvalidAtr>(())
//! ```

mod capabilities;
mod card_service;
mod contactless;
mod global;
mod historical;
mod interface;
mod life_cycle;
mod lines;
mod problem;
mod protocol;
mod reading;
#[cfg(test)]
mod tests;

pub use capabilities::{
    CardCapabilities, DataCoding, FileReferences, LogicalChannels, SelectionMethods, WriteBehavior,
};
pub use card_service::{CardServiceData, FileAccess};
pub use contactless::{ContactlessAtr, StorageCard, StorageName, StorageStandard, TypeB};
pub use global::{
    BitRate, ClockStop, ContactC6, ExtraGuardTime, Mode, OperatingClasses, Programming,
    SpecificMode,
};
pub use historical::{Category, DataObject, HistoricalBytes};
pub use interface::{InterfaceByte, InterfaceMeaning, InterfaceName};
pub use life_cycle::{LifeCycle, StatusInformation};
pub use lines::AtrLine;
pub use problem::AtrProblem;
pub use protocol::{ErrorDetection, T0Parameters, T1Parameters};
pub use reading::{AtrReading, Convention, Tck};

pub use crate::values::{Atr, InvalidAtr, ParseAtrError};

impl Atr {
    /// Interprets the bytes.
    ///
    /// A malformed ATR is read as far as possible; [`problems`](AtrReading::problems) lists its
    /// faults.
    pub fn parse(&self) -> AtrReading {
        AtrReading::new(*self)
    }
}
