//! Commands, answers and status words of ISO 7816-4, and their exchange.
//!
//! ```no_run
//! # fn demo(mut card: scard::Card) -> Result<(), scard::apdu::ExchangeError> {
//! use scard::apdu::{Command, StatusWord};
//!
//! let select = Command::select(b"\xA0\x00\x00\x03\x08")?;
//! let response = card.exchange(&select)?;
//! match response.status() {
//!     StatusWord::SUCCESS => println!("{:02X?}", response.data()),
//!     StatusWord::FILE_NOT_FOUND => println!("another kind of card"),
//!     status => println!("{status}"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! - [`Command`]: the four cases, short and extended; always valid.
//! - [`Card::exchange`](crate::Card::exchange), and the same on everything that [takes
//!   commands](crate::Transmit): sends a command and returns the complete answer, over T=0 and T=1.
//! - [`ExchangeOptions`]: settings in which cards and readers differ, such as extended length,
//!   chaining, the [`Continuation`] of answers, sizes, and limits of an exchange.
//! - [`Response`] with [`StatusWord`], converted into a result by what the caller accepts.
//! - [`LogicalChannel`](crate::LogicalChannel): a logical channel of the card.
//!
//! [`Card::transmit`](crate::Card::transmit) sends bytes unchanged, and nothing else.

mod class;
mod command;
mod command_bytes;
mod continuation;
mod encoding;
mod error;
mod exchange;
mod header;
mod options;
mod response;
mod status_cryptoki;
mod status_family;
mod status_word;
mod way;

pub use command::{Command, Expected, Form, ParseCommandError};
pub use command_bytes::CommandBytes;
pub use continuation::Continuation;
pub use error::{AnswerProblem, ExchangeError, InvalidCommand, StatusError, Step, TooLong};
pub use exchange::{Exchange, Next};
pub use header::Header;
pub use options::ExchangeOptions;
pub use response::Response;
pub use status_family::StatusFamily;
pub use status_word::{StatusClass, StatusWord};

pub(crate) use crate::values::hex::write as hex;
