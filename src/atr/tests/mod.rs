//! Tests of the reading: real cards, composed ATRs, and everything that is no ATR.

mod build;
mod malformed;
mod samples;
mod values;

use super::Atr;

/// An ATR from hex digits with spaces.
fn atr(text: &str) -> Atr {
    let digits = text.replace(' ', "");
    Atr::new(&hex::decode(digits).expect(text))
}
