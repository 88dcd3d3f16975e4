//! The traits of [`card_backend`] over [`scard`]: for `openpgp-card` and other crates that
//! reach their cards through these traits, in place of `card-backend-pcsc`.
//!
//! - [`ScardBackend`] is a connected [`Card`](scard::Card). Another program's reset is acknowledged
//!   when a transaction begins; nothing else is repaired.
//! - [`SessionBackend`] is a [`Session`](scard::Session): it also waits for cards, connects again
//!   to cards that were torn out, and survives a restart of the service.
//!
//! With either, what fails in the middle of a transaction fails: no command reaches the card
//! twice. The next transaction finds the card ready again, or says why not.
//!
//! ```no_run
//! use card_backend_scard::ScardBackend;
//! use scard::{ConnectOptions, Context};
//!
//! # fn open<T>(_: Box<dyn card_backend::CardBackend + Send + Sync>) -> Result<T, Box<dyn std::error::Error>> { todo!() }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let context = Context::establish()?;
//! for backend in ScardBackend::cards(&context, ConnectOptions::new())? {
//!     // With openpgp-card: openpgp_card::Card::new(backend?)?
//!     let card: () = open(backend?.into())?;
//! }
//! # Ok(()) }
//! ```
//!
//! # Which application is selected
//!
//! Another program may select another application between two transactions, and commands that are
//! meant for one application must not reach the other: a PIN could use up a try there. So the
//! application that the caller of [`transaction`](card_backend::CardBackend::transaction) names is
//! selected whenever another program may have used the card. With
//! [`ShareMode::Shared`](scard::ShareMode::Shared) that is always, with
//! [`ShareMode::Exclusive`](scard::ShareMode::Exclusive) after a reset. Most cards forget a
//! verified PIN when an application is selected: verify it in the transaction that needs it.
//! [`select_when`](ScardBackend::select_when) says otherwise.
//!
//! # What is known of resets and sizes
//!
//! [`was_reset`](card_backend::CardTransaction::was_reset) is true in a transaction before which the
//! card was reset or connected anew, and with a [`SessionBackend`] also where the application was
//! selected again: what was verified is not any more.
//!
//! [`limit_card_caps`](card_backend::CardBackend::limit_card_caps) knows readers that take short
//! APDUs only or have a longest one (`dwMaxAPDUDataSize` of PC/SC Part 10), and T=0, which has
//! no extended lengths.
//!
//! # PIN pads
//!
//! PINs are entered at readers that have `FEATURE_VERIFY_PIN_DIRECT` and
//! `FEATURE_MODIFY_PIN_DIRECT`, unless they are [known](scard::features::FalsePinPad) to have no
//! PIN pad. The user has 30 seconds. What the user or the card refuses is a status word, as from
//! the card: `6401` is "cancelled", `6400` "time-out".
//!
//! # Traces
//!
//! [`show_apdus`](scard::trace::show_apdus) shows the length of what callers send and of its
//! answers, not the bytes: keys are among them, which callers cannot mark.
//!
//! # Errors
//!
//! [`SmartcardError`](card_backend::SmartcardError) has texts only, so they are those of
//! [`scard::Error`] with its causes. `SCARD_E_NOT_TRANSACTED` is
//! [`NotTransacted`](card_backend::SmartcardError::NotTransacted), as callers expect.

mod card;
mod error;
mod reader;
mod session;
mod transaction;

pub use card::ScardBackend;
pub use session::SessionBackend;
