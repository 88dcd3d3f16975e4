//! The answer to reset: its bytes, and what they say.
//!
//! [`Atr`] holds the bytes; [`Atr::parse`] reads them after ISO 7816-3 (how to talk to the
//! card) and ISO 7816-4 (what the card says of itself in its historical bytes), and after
//! PC/SC Part 3 for the answers that readers make up for contactless cards.
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
//! println!("{reading}"); // every byte, with its name and its meaning
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
    /// What the bytes say. Of malformed bytes, what can be read of them, with
    /// [what is wrong](AtrReading::problems).
    pub fn parse(&self) -> AtrReading {
        AtrReading::new(*self)
    }
}
