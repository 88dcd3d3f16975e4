//! Tests of reading ATRs: real cards, composed ATRs and invalid bytes.

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
