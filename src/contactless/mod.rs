//! Contactless cards: the commands of PC/SC Part 3 that the reader itself answers.
//!
//! A contactless storage card such as MIFARE Classic knows no ISO 7816 commands. The reader
//! takes commands of the class FF instead, and does what they say with the card. The UID can be
//! asked for with every contactless card.
//!
//! ```no_run
//! # fn demo(mut card: scard::Card) -> Result<(), Box<dyn std::error::Error>> {
//! use scard::Transmit;
//! use scard::contactless::{Key, KeyKind, KeyPlace};
//!
//! // Several commands belong together here: nobody else gets in between.
//! let mut transaction = card.transaction()?;
//! let mut card = transaction.contactless();
//! println!("{:02X?}", card.uid()?);
//!
//! card.load_key(KeyPlace::Volatile, 0, &Key::new([0xFF; 6]))?;
//! card.authenticate(4, KeyKind::A, 0)?;
//! let block = card.read_binary(4, 16)?;
//! card.update_binary(5, &block)?;
//! # Ok(())
//! # }
//! ```
//!
//! [`Contactless`](crate::Contactless) is made by [`Transmit::contactless`](crate::Transmit::contactless),
//! which everything that takes commands has. For other ways to the reader, [`command`] has each
//! command, and [`Status::check`] reads the answer.
//!
//! # What is there
//!
//! Part 3 revision 2.01.09 with its amendment 1: GET DATA, LOAD KEYS, GENERAL AUTHENTICATE, READ
//! BINARY, UPDATE BINARY, and INCREMENT and DECREMENT by data objects (`FF C2 00 03`). Restore
//! and transfer of value blocks are commands of makers (`FF D7` with several readers), as is
//! the reading of a value (`FF B1`), and they are not here: send them with
//! [`Card::transmit`](crate::Card::transmit).
//!
//! # Platform notes
//!
//! These commands are answered by the firmware of the reader, or its driver: which of them there
//! are, and which status word says what, differs from reader to reader. The driver for CCID
//! readers of pcsc-lite and macOS passes them on. Some readers want to be told to power off the
//! antenna or to scan again after a failed authentication: the card has to be
//! [reset](crate::Card::reconnect) then.

mod answer;
pub mod command;
mod error;
mod key;

pub use answer::{Request, Status, StatusMeaning};
pub use error::ContactlessError;
pub use key::{Key, KeyKind, KeyPlace};

#[cfg(test)]
mod tests;
