//! Return codes with their names, severities and descriptions. Unknown numbers are kept as they
//! are.
//!
//! [`ReturnCode`] is what PC/SC functions return. The other families come from the layers above:
//! [`CryptokiRv`] from PKCS #11 modules, [`SspiStatus`] from smart-card logon, [`CryptoApiStatus`]
//! from Windows' use of the card's keys and certificates, [`WlanReason`] from wireless networks
//! that require a certificate.
//!
//! [`lookup()`], [`lookup_name`] and [`parse`] look a code up in all families, [`scan()`] finds the
//! codes in a line of a log, and the example `explain` prints what they mean:
//!
//! ```text
//! $ cargo run -q --example explain -- -2146434968
//! ```
//!
//! Numbers and names match the C headers; a test compares them with the constants of `pcsc-sys`,
//! `windows-sys` and `cryptoki-sys`. The descriptions are this library's own.

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
pub(crate) use text::{debug_as_line, write_line};
pub use wlan::WlanReason;
