//! Features by pseudo-APDUs (PPDU), for drivers without control codes: amendment 1 of PC/SC Part
//! 10.
//!
//! The CCID driver included in Windows has no control code for features. Some readers, such as the
//! DIGIPASS 870, 875 and 920, accept commands of class FF instead, `FF C2 01`, which are sent like
//! commands for the card. A reader that does not know them passes them on to the card, which
//! refuses them.
//!
//! ```no_run
//! # fn demo(mut card: scard::Card) -> Result<(), Box<dyn std::error::Error>> {
//! use scard::Transmit;
//! use scard::features::{Feature, PinFormat, PinPadAnswer, PinVerification, ppdu};
//!
//! let mut transaction = card.transaction()?;
//! let features = ppdu::features(&transaction.transmit(ppdu::LIST)?);
//! if features.contains(&Feature::VERIFY_PIN_DIRECT) {
//!     let request = PinVerification::iso(0x80, PinFormat::ascii().block_len(8));
//!     let command = ppdu::command(Feature::VERIFY_PIN_DIRECT, &request.to_bytes()?)?;
//!     // The status word is the card's answer to the PIN, as with a control code.
//!     let answer = PinPadAnswer::from_bytes(transaction.transmit(&command.to_bytes())?);
//!     println!("{}", answer.outcome());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`ReaderProperties::ppdu_support`](super::ReaderProperties::ppdu_support) reports other ways to
//! send pseudo-APDUs.

use super::entry::InvalidPinRequest;
use super::feature::Feature;
use crate::apdu::{Command, Form, StatusWord};

/// The command that asks for the features: `FF C2 01 00 00`.
pub const LIST: &[u8] = &[0xFF, 0xC2, 0x01, 0x00, 0x00];

/// Parses an answer to [`LIST`], including the status word: one byte for each feature. Returns no
/// features if the status word is not 9000, as from a reader that does not know the command.
pub fn features(answer: &[u8]) -> Vec<Feature> {
    match answer.split_last_chunk() {
        Some((tags, word)) if StatusWord::from(*word) == StatusWord::SUCCESS => {
            tags.iter().map(|tag| Feature::from_raw(*tag)).collect()
        }
        _ => Vec::new(),
    }
}

/// Returns the command that uses a feature: `FF C2 01`, its number, and the input that its control
/// code would take. The command [is secret](Command::is_secret).
///
/// The answer is that of the control code. For a PIN, this is the card's status word.
///
/// # Errors
///
/// If the input is longer than 255 bytes.
pub fn command(feature: Feature, input: &[u8]) -> Result<Command, InvalidPinRequest> {
    let command = Command::pseudo(0xC2, 0x01, feature.raw()).expecting_all();
    command
        .with_form(Form::Short)
        .and_then(|command| command.with_data(input))
        .map_err(|_| InvalidPinRequest::new("a pseudo-APDU carries up to 255 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_single_bytes() {
        let found = features(b"\x06\x07\x0A\x90\x00");
        let expected = [
            Feature::VERIFY_PIN_DIRECT,
            Feature::MODIFY_PIN_DIRECT,
            Feature::IFD_PIN_PROPERTIES,
        ];
        assert_eq!(found, expected);
        for none in [&b""[..], b"\x90", b"\x90\x00", b"\x06\x6D\x00", b"\x6E\x00"] {
            assert!(features(none).is_empty(), "{none:02X?}");
        }
    }

    #[test]
    fn a_feature_is_used_with_its_input_and_marked_secret() {
        let verify = command(Feature::VERIFY_PIN_DIRECT, b"\x01\x02").unwrap();
        assert_eq!(*verify.to_bytes(), *b"\xFF\xC2\x01\x06\x02\x01\x02\x00");
        assert!(verify.is_secret());
        let ask = command(Feature::IFD_PIN_PROPERTIES, b"").unwrap();
        assert_eq!(*ask.to_bytes(), *b"\xFF\xC2\x01\x0A\x00");
        assert!(command(Feature::VERIFY_PIN_DIRECT, &[0; 256]).is_err());
    }
}
