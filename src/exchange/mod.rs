//! The traits of everything that takes commands or control codes, and the calls built on them. Each
//! asynchronous trait or type is in the file of its blocking twin.

mod contactless;
mod control;
pub(crate) mod forward;
mod logical;
mod transmit;

#[cfg(feature = "async")]
pub use contactless::AsyncContactless;
pub use contactless::Contactless;
#[cfg(feature = "async")]
pub use control::AsyncControl;
pub use control::Control;
#[cfg(feature = "async")]
pub use logical::AsyncLogicalChannel;
pub use logical::LogicalChannel;
#[cfg(feature = "async")]
pub use transmit::AsyncTransmit;
pub use transmit::Transmit;
