//! Implements the traits of [`card_backend`] with [`scard`], for `openpgp-card` and other crates
//! that access cards through these traits. It replaces `card-backend-pcsc`.
//!
//! - [`ScardBackend`] is a connected [`Card`](scard::Card). A reset by another program is
//!   acknowledged when a transaction begins; it does not recover from anything else.
//! - [`SessionBackend`] is a [`Session`](scard::Session): it also waits for cards, connects again
//!   to cards that were removed, and survives a restart of the service.
//!
//! With either, a failure in the middle of a transaction is returned, so no command reaches the
//! card twice. The next transaction prepares the card again, or returns an error.
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
//! Another program may select another application between two transactions, and commands meant for
//! one application must not reach the other: a PIN could use up a try there. So the application
//! that the caller of [`transaction`](card_backend::CardBackend::transaction) names is selected
//! whenever another program may have used the card. With
//! [`ShareMode::Shared`](scard::ShareMode::Shared) that is always, with
//! [`ShareMode::Exclusive`](scard::ShareMode::Exclusive) after a reset. Most cards forget a
//! verified PIN when an application is selected: verify it in the transaction that needs it.
//! [`select_when`](ScardBackend::select_when) changes this.
//!
//! # Resets and sizes
//!
//! [`was_reset`](card_backend::CardTransaction::was_reset) is true in a transaction if the card was
//! reset or connected again before it, and with a [`SessionBackend`] also if the application was
//! selected again: verified PINs are no longer verified.
//!
//! [`limit_card_caps`](card_backend::CardBackend::limit_card_caps) takes into account readers that
//! accept only short APDUs or have a maximum length (`dwMaxAPDUDataSize` of PC/SC Part 10), and
//! T=0, which has no extended lengths.
//!
//! # PIN pads
//!
//! PINs are entered at readers that have `FEATURE_VERIFY_PIN_DIRECT` and
//! `FEATURE_MODIFY_PIN_DIRECT`, unless they are [known](scard::features::FalsePinPad) to have no
//! PIN pad. The user has 30 seconds. A refusal by the user or the card is returned as a status
//! word, as if from the card: `6401` means "cancelled", `6400` "time-out".
//!
//! # Traces
//!
//! With [`show_apdus`](scard::trace::show_apdus), only the lengths of commands and answers are
//! shown, not the bytes: they can contain keys, which callers cannot mark as secret.
//!
//! # Errors
//!
//! [`SmartcardError`](card_backend::SmartcardError) only has texts; they are those of
//! [`scard::Error`] with its causes. `SCARD_E_NOT_TRANSACTED` is
//! [`NotTransacted`](card_backend::SmartcardError::NotTransacted), as callers expect.

mod card;
mod error;
mod reader;
mod session;
mod transaction;

pub use card::ScardBackend;
pub use session::SessionBackend;
