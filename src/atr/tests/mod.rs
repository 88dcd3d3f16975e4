//! Tests of the reading: real cards, composed ATRs, and everything that is no ATR.

mod build;
mod malformed;
mod samples;
mod texts;
mod values;

use super::Atr;

/// An ATR from hex digits.
fn atr(text: &str) -> Atr {
    text.parse().expect(text)
}
