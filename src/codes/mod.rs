//! Return codes: every number has a place, and every known one a name, a severity and a
//! description.
//!
//! [`ReturnCode`] is what PC/SC functions return. The other families meet a program that
//! uses smart cards one level up: [`CryptokiRv`] in a PKCS #11 module, [`SspiStatus`] in a
//! logon with a card, [`CryptoApiStatus`] where Windows uses its keys and certificates,
//! [`WlanReason`] in a network that asks for a certificate on one.
//!
//! [`lookup()`], [`lookup_name`] and [`parse`] find the meanings of a code in all families,
//! [`scan()`] finds the codes in a line of a log, and the example `explain` prints what they mean:
//!
//! ```text
//! $ cargo run -q --example explain -- -2146434968
//! ```
//!
//! Numbers and names are those of the C headers; a test compares them with the constants of
//! `pcsc-sys`, `windows-sys` and `cryptoki-sys`. The descriptions are this library's own.

mod crypto_api;
mod cryptoki;
mod lookup;
mod platform;
mod scan;
mod scard;
mod severity;
mod sspi;
pub(crate) mod stored;
mod table;
mod text;
mod wlan;

pub use crypto_api::CryptoApiStatus;
pub use cryptoki::CryptokiRv;
pub use lookup::{Family, Meaning, lookup, lookup_name, parse};
pub use platform::Platform;
pub use scan::{Found, scan};
pub use scard::ReturnCode;
pub use severity::Severity;
pub use sspi::SspiStatus;
pub(crate) use stored::stored_as_text;
pub use text::{ParseCodeError, parse_number};
pub use wlan::WlanReason;
