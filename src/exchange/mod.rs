//! Exchanges over whatever commands can be sent to.

mod carrier;
mod logical;

pub(crate) use carrier::{Carrier, Exchanges, exchange};
pub use logical::LogicalChannel;
#[cfg(feature = "async")]
pub(crate) use logical::OpenChannel;
