//! What is asked over any handle.

mod attributes;
mod contactless;
mod features;

pub use contactless::Contactless;
