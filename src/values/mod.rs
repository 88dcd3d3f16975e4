//! The values of PC/SC: names, options, states and numbers. Nothing here makes a call.

mod atr;
mod attribute;
mod control_code;
pub(crate) mod hex;
mod name;
mod name_parts;
mod options;
mod platforms;
mod states;
pub(crate) mod words;

pub use atr::{Atr, InvalidAtr, ParseAtrError};
pub use attribute::Attribute;
pub use control_code::ControlCode;
pub use hex::InvalidHex;
pub(crate) use name::split_multi_string;
pub use name::{InvalidReaderName, ReaderName};
pub use name_parts::ReaderNameParts;
pub(crate) use options::SHARE_DIRECT;
pub use options::{Disposition, Initialization, Protocol, Protocols, Scope, ShareMode};
pub use states::{CardState, CardStatus, ReaderFlags, ReaderState};
pub use words::ParseValueError;
