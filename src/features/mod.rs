//! What a reader can do beyond passing commands on: PC/SC Part 10, "IFDs with Secure PIN Entry
//! Capabilities".
//!
//! A reader is asked once for its [features](ReaderFeatures). They tell what it has and the
//! control codes for that, which differ from driver to driver and from platform to platform.
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
//! // Nobody else gets at the card while the user types.
//! let mut transaction = card.transaction()?;
//! match transaction.verify_pin(&features, &request)?.outcome() {
//!     PinOutcome::Done => println!("verified"),
//!     PinOutcome::Wrong { tries_left: Some(tries) } => println!("wrong, {tries} tries left"),
//!     PinOutcome::Cancelled | PinOutcome::TimedOut => println!("nothing was entered"),
//!     other => println!("{other}"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The methods are those of [`Control`](crate::Control), which every handle has, and a direct
//! [`Reader`](crate::Reader). Features without a method there are used by their control code:
//! [`Control::control`](crate::Control::control) with [`ReaderFeatures::control_code`].
//! [`PinVerification::to_bytes`] and [`PinModification::to_bytes`] are the input of the `START`
//! features, too.
//!
//! # PIN pads and time
//!
//! A call to a PIN pad takes as long as its user. Four clocks run meanwhile:
//!
//! - **The reader's**: [`PinVerification::timeout`] says how long it waits for the user. Then
//!   it answers [`PinOutcome::TimedOut`]; nothing has reached the card.
//! - **The program's**: [`Card::set_timeout`](crate::Card::set_timeout),
//!   [`Card::within`](crate::Card::within) and an [`AbortHandle`](crate::AbortHandle) end the
//!   call as they end any other. But a PIN entry cannot be called off that way: the user can go on typing,
//!   and the PIN can reach the card and use up a try.
//!   [`Error::command_may_have_run`](crate::Error::command_may_have_run) is `true`, and the
//!   card is abandoned. So give the reader less time than the call has, and leave the ends of
//!   the program for readers that do not keep to theirs.
//! - **The session's**: in a [`Session`](crate::Session) the deadline of the run counts.
//! - **Other programs'**: the entry waits for their transactions, and is made in one of its own.
//!   With direct access there is none: others can begin theirs as soon as the entry is over.
//!
//! [`FEATURE_ABORT`](Feature::ABORT) ends an entry that was begun with
//! [`FEATURE_VERIFY_PIN_START`](Feature::VERIFY_PIN_START). It does not reach a reader that is
//! in the middle of a [direct](Feature::VERIFY_PIN_DIRECT) entry: the service makes one call
//! to a reader at a time.
//!
//! # Platform notes
//!
//! Most readers have [`VERIFY_PIN_DIRECT`](Feature::VERIFY_PIN_DIRECT),
//! [`MODIFY_PIN_DIRECT`](Feature::MODIFY_PIN_DIRECT) and
//! [`GET_TLV_PROPERTIES`](Feature::GET_TLV_PROPERTIES) at best. The driver of pcsc-lite and
//! macOS for CCID readers never has the `START` and `FINISH` features; drivers on Windows may.
//! Those of Windows that come with the system have no PIN pad at all: it takes the maker's
//! driver.

mod answer;
mod entry;
mod feature;
mod format;
mod list;
mod modify;
mod pad;
mod properties;
mod verify;

pub use answer::{PinOutcome, PinPadAnswer};
pub use entry::{EntryValidation, InvalidPinRequest, PinMessages};
pub use feature::{Feature, Property};
pub use format::{PinFormat, PinOffset};
pub use list::ReaderFeatures;
pub use modify::PinModification;
pub use pad::{DisplayProperties, PinPadProperties};
pub use properties::{PpduSupport, ReaderProperties};
pub use verify::PinVerification;

#[cfg(test)]
mod tests;
