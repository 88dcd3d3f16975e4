//! Features of readers beyond passing on commands: PC/SC Part 10, "IFDs with Secure PIN Entry
//! Capabilities".
//!
//! Ask a reader once for its [features](ReaderFeatures). They include the control codes, which
//! differ between drivers and platforms.
//!
//! ```no_run
//! # fn demo(mut card: scard::Card) -> scard::Result<()> {
//! use std::time::Duration;
//! use scard::Control;
//! use scard::features::{Feature, PinFormat, PinOutcome, PinVerification};
//!
//! let features = card.features()?;
//! if !features.has(Feature::VERIFY_PIN_DIRECT) {
//!     return Ok(()); // No PIN pad: the program has to ask.
//! }
//! let request = PinVerification::iso(0x80, PinFormat::ascii().block_len(8))
//!     .digits(4..=8)
//!     .timeout(Duration::from_secs(30));
//!
//! // No other program can use the card while the user types.
//! let mut transaction = card.transaction()?;
//! match transaction.verify_pin(&features, &request)?.outcome() {
//!     PinOutcome::Done => println!("verified"),
//!     PinOutcome::Wrong { tries_left: Some(n) } => println!("wrong, {n} tries left"),
//!     PinOutcome::Cancelled | PinOutcome::TimedOut => println!("nothing was entered"),
//!     other => println!("{other}"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The methods are in [`Control`](crate::Control), which every handle implements, including a
//! direct [`Reader`](crate::Reader). For features without a method, call
//! [`Control::control`](crate::Control::control) with [`ReaderFeatures::control_code`].
//! [`PinVerification::to_bytes`] and [`PinModification::to_bytes`] are also the input of the
//! `START` features.
//!
//! See also:
//!
//! - [`Pin`] and [`Command::verify`](crate::Command::verify): PINs that are typed at the computer,
//!   in the same formats.
//! - [`ppdu`]: features without control codes.
//! - [`pace`]: PACE between reader and card, with a password entered at the reader.
//!
//! [`ReaderProperties::false_pin_pad`] identifies readers that claim a PIN pad but have none, or
//! pass on the digits to the computer.
//!
//! # PIN pads and time
//!
//! A call to a PIN pad takes as long as the user does. Four limits apply meanwhile:
//!
//! - **The reader's**: [`PinVerification::timeout`] sets how long the reader waits for the user.
//!   Then it answers [`PinOutcome::TimedOut`], and nothing has reached the card.
//! - **The program's**: [`Card::set_timeout`](crate::Card::set_timeout),
//!   [`Card::within`](crate::Card::within) and an [`AbortHandle`](crate::AbortHandle) end the call
//!   as they end any other. But this does not cancel the PIN entry: the user can continue typing,
//!   and the PIN can reach the card and consume a try.
//!   [`Error::command_may_have_run`](crate::Error::command_may_have_run) is `true`, and the card is
//!   abandoned. Therefore give the reader less time than the call, and keep the program's limits
//!   for readers that exceed theirs.
//! - **The session's**: in a [`Session`](crate::Session) the deadline of the run applies.
//! - **Other programs'**: the entry waits for their transactions, then runs in a transaction of its
//!   own. With direct access there is no transaction: other programs can begin theirs as soon as
//!   the entry is over.
//!
//! [`FEATURE_ABORT`](Feature::ABORT) ends an entry that was begun with
//! [`FEATURE_VERIFY_PIN_START`](Feature::VERIFY_PIN_START). It does not reach a reader during a
//! [direct](Feature::VERIFY_PIN_DIRECT) entry, because the service makes one call to a reader at a
//! time.
//!
//! # Platform notes
//!
//! Most readers have [`VERIFY_PIN_DIRECT`](Feature::VERIFY_PIN_DIRECT),
//! [`MODIFY_PIN_DIRECT`](Feature::MODIFY_PIN_DIRECT) and
//! [`GET_TLV_PROPERTIES`](Feature::GET_TLV_PROPERTIES) at best. The CCID driver of pcsc-lite and
//! macOS never has the `START` and `FINISH` features; drivers on Windows may. The drivers included
//! in Windows do not support PIN pads: install the vendor's driver.

mod answer;
mod entry;
mod false_pads;
mod feature;
mod format;
mod list;
mod modify;
pub mod pace;
mod pad;
pub mod ppdu;
mod properties;
mod typed;
mod verify;

pub use answer::{PinOutcome, PinPadAnswer};
pub use entry::{EntryValidation, InvalidPinRequest, PinMessages};
pub use false_pads::FalsePinPad;
pub use feature::{Feature, Property};
pub use format::{PinFormat, PinOffset};
pub use list::ReaderFeatures;
pub use modify::PinModification;
pub use pad::{DisplayProperties, PinPadProperties};
pub use properties::{PpduSupport, ReaderProperties};
pub use typed::Pin;
pub use verify::PinVerification;

#[cfg(test)]
mod tests;
