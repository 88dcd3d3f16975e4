//! Contactless cards: the commands of PC/SC Part 3 that the reader itself answers.
//!
//! A contactless storage card such as MIFARE Classic does not support ISO 7816 commands. Instead,
//! the reader accepts commands of class FF and carries them out on the card. The UID can be
//! requested for every contactless card.
//!
//! ```no_run
//! # fn demo(mut card: scard::Card) -> Result<(), Box<dyn std::error::Error>> {
//! use scard::Transmit;
//! use scard::contactless::{Key, KeyKind, KeyPlace};
//!
//! // Keeps other programs out between the commands.
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
//! [`Contactless`](crate::Contactless) is created by
//! [`Transmit::contactless`](crate::Transmit::contactless). For other ways to reach the reader,
//! [`command`] has the commands, and [`Status::check`] parses the answers.
//!
//! # Supported commands
//!
//! Part 3 revision 2.01.09 with its amendment 1: GET DATA, LOAD KEYS, GENERAL AUTHENTICATE, READ
//! BINARY, UPDATE BINARY, and INCREMENT and DECREMENT by data objects (`FF C2 00 03`). Restoring,
//! transferring (`FF D7` on several readers) and reading (`FF B1`) value blocks are vendor commands
//! and not included: send them with [`Card::transmit`](crate::Card::transmit).
//!
//! # Platform notes
//!
//! These commands are answered by the reader's firmware or driver: which of them are supported, and
//! the meaning of status words, differ between readers. The CCID driver of pcsc-lite and macOS
//! passes them on. After a failed authentication, some readers have to power off the antenna or
//! scan again: [reset](crate::Card::reconnect) the card then.

mod answer;
pub mod command;
mod error;
mod key;

pub use answer::{Request, Status, StatusMeaning};
pub use error::ContactlessError;
pub use key::{Key, KeyKind, KeyPlace};

#[cfg(test)]
mod tests;
