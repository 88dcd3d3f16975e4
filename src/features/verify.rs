//! The request for a PIN that the card is to verify.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::entry::{
    Entry, EntryValidation, InvalidPinRequest, PinMessages, command, entry_settings, seconds,
};
use super::format::PinFormat;

/// A PIN that is entered at the reader, and verified by the card: `PIN_VERIFY_STRUCTURE`.
///
/// ```
/// use scard::features::{PinFormat, PinVerification};
///
/// let request = PinVerification::iso(0x01, PinFormat::iso_9564_format_2()).digits(4..=12);
/// let same = PinVerification::new(
///     b"\x00\x20\x00\x01\x08\x20\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
///     PinFormat::iso_9564_format_2(),
/// );
/// assert_eq!(request.to_bytes()?, same.digits(4..=12).to_bytes()?);
/// # Ok::<(), scard::features::InvalidPinRequest>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[doc(alias = "PIN_VERIFY_STRUCTURE")]
#[must_use]
pub struct PinVerification {
    entry: Entry,
}

impl PinVerification {
    /// With a command of the program's own, into whose data the reader puts the PIN. It has no
    /// PIN in it, but what is to stand around one.
    pub fn new(command: impl Into<Vec<u8>>, format: PinFormat) -> PinVerification {
        PinVerification {
            entry: Entry::new(command.into(), format, PinMessages::One(0)),
        }
    }

    /// With the command VERIFY of ISO 7816-4 (`00 20 00`) for the PIN with this reference.
    ///
    /// With a [block](PinFormat::block_len) the data is there, filled; without one there is
    /// none (Lc is 0, or [left out](PinVerification::without_lc)), and the reader adds the PIN and
    /// sets Lc.
    pub fn iso(reference: u8, format: PinFormat) -> PinVerification {
        let header = [0x00, 0x20, 0x00, reference];
        PinVerification::new(command(header, &format.block()), format)
    }

    entry_settings!();

    /// The message that the reader shows; the one with the index 0 without this. One at most.
    pub fn messages(mut self, messages: PinMessages) -> PinVerification {
        self.entry.messages = messages;
        self
    }

    /// The bytes of `PIN_VERIFY_STRUCTURE`: packed, the lowest byte of each number first, on
    /// every platform. For [`FEATURE_VERIFY_PIN_DIRECT`](super::Feature::VERIFY_PIN_DIRECT) and
    /// [`FEATURE_VERIFY_PIN_START`](super::Feature::VERIFY_PIN_START).
    ///
    /// # Errors
    ///
    /// The format, the digits, the messages or the command are impossible, or contradict each
    /// other: a PIN of the most digits does not fit its block, the block or the length of the PIN
    /// does not fit the data, the length stands where the digits do, Lc is not the length of the
    /// data.
    pub fn to_bytes(&self) -> Result<Vec<u8>, InvalidPinRequest> {
        let entry = &self.entry;
        let (messages, [message, ..]) = entry.messages.parts();
        if !matches!(messages, 0 | 1 | 0xFF) {
            return Err(InvalidPinRequest::new(
                "there is one message at most when a PIN is verified",
            ));
        }
        let mut bytes = vec![entry.timeout, entry.timeout2];
        bytes.extend(entry.format.to_bytes()?);
        bytes.extend(entry.digits()?);
        bytes.extend([entry.validation.bits(), messages]);
        bytes.extend(entry.language());
        bytes.push(message);
        entry.push_command(&[0], &mut bytes)?;
        Ok(bytes)
    }
}
