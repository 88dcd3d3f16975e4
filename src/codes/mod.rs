//! The return codes of PC/SC: every value has a place, and every known one a name,
//! a severity and a description.

mod scard;
mod table;

pub use scard::{ReturnCode, Severity};
