//! The request for a PIN verification at the reader.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::entry::{
    Entry, EntryValidation, InvalidPinRequest, PinMessages, command, entry_settings, seconds,
};
use super::format::PinFormat;

/// A request to enter a PIN at the reader and verify it by the card: `PIN_VERIFY_STRUCTURE`.
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
    /// Returns a request with a custom command, into whose data the reader writes the PIN. The
    /// command contains only the data around it.
    pub fn new(command: impl Into<Vec<u8>>, format: PinFormat) -> PinVerification {
        PinVerification {
            entry: Entry::new(command.into(), format, PinMessages::One(0)),
        }
    }

    /// Returns a request with the ISO 7816-4 command VERIFY (`00 20 00`) for the PIN with this
    /// reference.
    ///
    /// With a [block](PinFormat::block_len), the data is a filled block. Without one there is no
    /// data (Lc is 0 or [omitted](PinVerification::without_lc)), and the reader adds the PIN and
    /// sets Lc.
    pub fn iso(reference: u8, format: PinFormat) -> PinVerification {
        let header = [0x00, 0x20, 0x00, reference];
        PinVerification::new(command(header, &format.block()), format)
    }

    entry_settings!();

    /// Sets the message that the reader shows; by default the one with index 0. At most one.
    pub fn messages(mut self, messages: PinMessages) -> PinVerification {
        self.entry.messages = messages;
        self
    }

    /// Returns the bytes of `PIN_VERIFY_STRUCTURE`: packed and little-endian on every platform. For
    /// [`FEATURE_VERIFY_PIN_DIRECT`](super::Feature::VERIFY_PIN_DIRECT) and
    /// [`FEATURE_VERIFY_PIN_START`](super::Feature::VERIFY_PIN_START).
    ///
    /// # Errors
    ///
    /// If the format, the digits, the messages or the command are invalid or contradict each other:
    /// a PIN of maximum length does not fit its block, the block or the PIN length does not fit the
    /// data, the PIN length overlaps the digits, or Lc is not the length of the data.
    pub fn to_bytes(&self) -> Result<Vec<u8>, InvalidPinRequest> {
        let entry = &self.entry;
        let (messages, [message, ..]) = entry.messages.parts();
        if !matches!(messages, 0 | 1 | 0xFF) {
            return Err(InvalidPinRequest::new(
                "a PIN verification has at most one message",
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
