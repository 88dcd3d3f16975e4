//! The request for a PIN change at the reader.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::entry::{
    Entry, EntryValidation, InvalidPinRequest, PinMessages, command, entry_settings, seconds,
};
use super::format::PinFormat;

/// A request to change a PIN at the reader: `PIN_MODIFY_STRUCTURE`. The user enters the current
/// PIN, unless the command does not need it, and the new one twice.
///
/// ```
/// use scard::features::{PinFormat, PinModification};
///
/// let request = PinModification::iso(0x80, PinFormat::ascii().block_len(8));
/// assert_eq!(request.to_bytes()?.len(), 24 + 5 + 16);
/// # Ok::<(), scard::features::InvalidPinRequest>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[doc(alias = "PIN_MODIFY_STRUCTURE")]
#[must_use]
pub struct PinModification {
    entry: Entry,
    messages: Option<PinMessages>,
    offset_of_current: u8,
    offset_of_new: u8,
    asks_current: bool,
    confirms: bool,
}

impl PinModification {
    /// Returns a request with a custom command, into whose data the reader writes the PINs. The
    /// command contains only the data around them. [`offsets`](PinModification::offsets) sets where
    /// they begin.
    pub fn new(command: impl Into<Vec<u8>>, format: PinFormat) -> PinModification {
        PinModification {
            entry: Entry::new(command.into(), format, PinMessages::None),
            messages: None,
            offset_of_current: 0,
            offset_of_new: 0,
            asks_current: true,
            confirms: true,
        }
    }

    /// Returns a request with the ISO 7816-4 command CHANGE REFERENCE DATA (`00 24 00`) for the PIN
    /// with this reference: the current PIN and the new one.
    ///
    /// With a [block](PinFormat::block_len), the data consists of two filled blocks. Without one
    /// there is no data (Lc is 0 or [omitted](PinModification::without_lc)), and the reader adds
    /// the PINs, one after the other, and sets Lc.
    pub fn iso(reference: u8, format: PinFormat) -> PinModification {
        let block = format.block();
        // At most 30 bytes.
        let second = u8::try_from(block.len()).unwrap_or(u8::MAX);
        let header = [0x00, 0x24, 0x00, reference];
        let request = PinModification::new(command(header, &block.repeat(2)), format);
        request.offsets(0, second)
    }

    /// Returns a request with the command CHANGE REFERENCE DATA with only a new PIN (`00 24 01`),
    /// for cards that do not expect the current one with it.
    pub fn iso_new_only(reference: u8, format: PinFormat) -> PinModification {
        let header = [0x00, 0x24, 0x01, reference];
        PinModification::new(command(header, &format.block()), format).asks_current(false)
    }

    entry_settings!();

    /// Sets where the current PIN and the new one begin, in bytes of the data: the position in the
    /// [format](PinFormat::position) counts from there. The default is 0 for both, or the values
    /// set by [`iso`](PinModification::iso). A custom command with both PINs needs this: a request
    /// whose new PIN would overwrite the current one is refused.
    pub fn offsets(mut self, current: u8, new: u8) -> PinModification {
        self.offset_of_current = current;
        self.offset_of_new = new;
        self
    }

    /// Sets whether the user enters the current PIN; `true` by default.
    pub fn asks_current(mut self, asks: bool) -> PinModification {
        self.asks_current = asks;
        self
    }

    /// Sets whether the user enters the new PIN twice; `true` by default.
    pub fn confirms(mut self, confirms: bool) -> PinModification {
        self.confirms = confirms;
        self
    }

    /// Sets the messages that the reader shows, one for each entry. The defaults are the indexes
    /// that readers usually have: 0 for the current PIN, 1 for the new one, 2 for its repetition.
    pub fn messages(mut self, messages: PinMessages) -> PinModification {
        self.messages = Some(messages);
        self
    }

    /// Returns the bytes of `PIN_MODIFY_STRUCTURE`: packed and little-endian on every platform. For
    /// [`FEATURE_MODIFY_PIN_DIRECT`](super::Feature::MODIFY_PIN_DIRECT) and
    /// [`FEATURE_MODIFY_PIN_START`](super::Feature::MODIFY_PIN_START).
    ///
    /// # Errors
    ///
    /// If the format, the digits or the command are invalid or contradict each other, as for
    /// [`PinVerification::to_bytes`](super::PinVerification::to_bytes), or the two PINs overlap.
    pub fn to_bytes(&self) -> Result<Vec<u8>, InvalidPinRequest> {
        let entry = &self.entry;
        let usual = match (self.asks_current, self.confirms) {
            (true, true) => PinMessages::Three(0, 1, 2),
            (true, false) => PinMessages::Two(0, 1),
            (false, true) => PinMessages::Two(1, 2),
            (false, false) => PinMessages::One(1),
        };
        let (messages, indexes) = self.messages.unwrap_or(usual).parts();
        let mut bytes = vec![entry.timeout, entry.timeout2];
        bytes.extend(entry.format.to_bytes()?);
        bytes.extend([self.offset_of_current, self.offset_of_new]);
        bytes.extend(entry.digits()?);
        bytes.push(u8::from(self.confirms) | u8::from(self.asks_current) << 1);
        bytes.extend([entry.validation.bits(), messages]);
        bytes.extend(entry.language());
        bytes.extend(indexes);
        let both = [self.offset_of_current, self.offset_of_new];
        let blocks = match self.asks_current {
            true => &both[..],
            false => &both[1..],
        };
        entry.push_command(blocks, &mut bytes)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::PinOffset;
    use super::*;

    #[test]
    fn a_new_pin_does_not_overwrite_the_current_one() {
        let format = PinFormat::ascii().block_len(8);
        let command = [&b"\x00\x24\x00\x80\x10"[..], &[0xFF; 16]].concat();
        let change = |command: &[u8], format| PinModification::new(command, format);
        let error = change(&command, format).to_bytes().unwrap_err();
        let said = "the new PIN would overwrite the current one: set the offsets";
        assert_eq!(error.to_string(), said);
        for (current, new) in [(0, 8), (8, 0)] {
            assert!(
                change(&command, format)
                    .offsets(current, new)
                    .to_bytes()
                    .is_ok()
            );
        }
        for (current, new) in [(0, 7), (1, 0), (8, 8), (8, 1)] {
            let request = change(&command, format).offsets(current, new);
            assert!(request.to_bytes().is_err(), "{current} {new}");
        }
        // What stands before and behind the digits is of the block, too.
        let shifted = format.block_len(7).position(PinOffset::Bytes(1));
        let counted = format.block_len(6).length(8, PinOffset::Bytes(7));
        for format in [shifted, counted] {
            let at = |new| change(&command, format).digits(4..=6).offsets(0, new);
            assert!(at(7).to_bytes().is_err() && at(8).to_bytes().is_ok());
        }
        let new_only = change(&command, format).asks_current(false);
        assert!(new_only.to_bytes().is_ok());
        // Blocks that the reader adds overlap, too; PINs without blocks are placed one after the
        // other.
        let bare = b"\x00\x24\x00\x80\x00";
        assert!(change(bare, format).to_bytes().is_err());
        assert!(change(bare, format).offsets(0, 8).to_bytes().is_ok());
        assert!(change(bare, PinFormat::ascii()).to_bytes().is_ok());
        assert!(change(&command, PinFormat::ascii()).to_bytes().is_err());
    }
}
