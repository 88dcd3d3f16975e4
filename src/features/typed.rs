//! Commands with PINs typed at the computer.

use std::fmt;

use zeroize::Zeroizing;

use super::entry::InvalidPinRequest;
use super::format::{Encoding, PinFormat};
use crate::apdu::Command;

/// A PIN typed at the computer.
///
/// Its characters are overwritten when it is dropped, and so are those in commands created from it;
/// the caller has to overwrite the copy that it was created from.
///
/// ```
/// use scard::Command;
/// use scard::features::{Pin, PinFormat};
///
/// let pin = Pin::new("1234");
/// let verify = Command::verify(0x80, PinFormat::ascii().block_len(8), &pin)?;
/// assert_eq!(*verify.to_bytes(), *b"\x00\x20\x00\x80\x081234\xFF\xFF\xFF\xFF");
///
/// let verify = Command::verify(0x01, PinFormat::iso_9564_format_2(), &pin)?;
/// assert_eq!(*verify.to_bytes(), *b"\x00\x20\x00\x01\x08\x24\x12\x34\xFF\xFF\xFF\xFF\xFF");
/// # Ok::<(), scard::features::InvalidPinRequest>(())
/// ```
#[derive(Clone)]
pub struct Pin(Zeroizing<Vec<u8>>);

impl Pin {
    /// Returns a PIN from its characters: ASCII digits for formats of [digits](PinFormat::bcd), any
    /// bytes for [ASCII](PinFormat::ascii).
    pub fn new(typed: impl Into<Vec<u8>>) -> Pin {
        Pin(Zeroizing::new(typed.into()))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Does not show the PIN.
impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin")
    }
}

impl Command {
    /// Returns the ISO 7816-4 command VERIFY (`00 20 00`) for the PIN with this reference.
    ///
    /// The command is the one that a PIN pad creates from
    /// [`PinVerification::iso`](super::PinVerification::iso). It [is secret](Command::is_secret).
    ///
    /// # Errors
    ///
    /// If the PIN is empty, does not fit its block, or has characters that the format does not
    /// support.
    pub fn verify(
        reference: u8,
        format: PinFormat,
        pin: &Pin,
    ) -> Result<Command, InvalidPinRequest> {
        command(0x20, 0x00, reference, &[&format.fill(pin)?])
    }

    /// Returns the command CHANGE REFERENCE DATA (`00 24 00`) with the current PIN and the new one.
    ///
    /// The command is the one that a PIN pad creates from
    /// [`PinModification::iso`](super::PinModification::iso). It [is secret](Command::is_secret).
    ///
    /// # Errors
    ///
    /// Those of [`Command::verify`].
    pub fn change_pin(
        reference: u8,
        format: PinFormat,
        current: &Pin,
        new: &Pin,
    ) -> Result<Command, InvalidPinRequest> {
        let (current, new) = (format.fill(current)?, format.fill(new)?);
        command(0x24, 0x00, reference, &[&current, &new])
    }

    /// Returns the command CHANGE REFERENCE DATA with only the new PIN (`00 24 01`).
    ///
    /// The command is the one that a PIN pad creates from
    /// [`PinModification::iso_new_only`](super::PinModification::iso_new_only). It [is
    /// secret](Command::is_secret).
    ///
    /// # Errors
    ///
    /// Those of [`Command::verify`].
    pub fn set_pin(
        reference: u8,
        format: PinFormat,
        new: &Pin,
    ) -> Result<Command, InvalidPinRequest> {
        command(0x24, 0x01, reference, &[&format.fill(new)?])
    }
}

fn command(
    instruction: u8,
    p1: u8,
    reference: u8,
    blocks: &[&[u8]],
) -> Result<Command, InvalidPinRequest> {
    // Growing would leave a copy behind that is never overwritten.
    let mut data = Vec::with_capacity(blocks.iter().map(|block| block.len()).sum());
    blocks
        .iter()
        .for_each(|block| data.extend_from_slice(block));
    Command::new(0x00, instruction, p1, reference)
        .and_then(|command| command.with_data(data))
        .map_err(|_| InvalidPinRequest::new("the PIN is too long for a command"))
}

impl PinFormat {
    /// Returns the data that a PIN pad creates from a PIN, for commands other than
    /// [`Command::verify`], [`Command::change_pin`] and [`Command::set_pin`]. It is overwritten when
    /// dropped.
    ///
    /// ```
    /// use scard::Command;
    /// use scard::features::{Pin, PinFormat};
    ///
    /// // VERIFY CHV of a SIM.
    /// let format = PinFormat::ascii().block_len(8);
    /// let pin = format.fill(&Pin::new("1234"))?;
    /// let verify = Command::new(0xA0, 0x20, 0x00, 0x01)?.with_data(&pin[..])?;
    /// assert_eq!(*verify.to_bytes(), *b"\xA0\x20\x00\x01\x081234\xFF\xFF\xFF\xFF");
    ///
    /// // RESET RETRY COUNTER: the resetting code and the new PIN.
    /// let puk = format.fill(&Pin::new("12345678"))?;
    /// let codes = [&puk[..], &pin[..]].concat();
    /// let reset = Command::new(0x00, 0x2C, 0x00, 0x01)?.with_data(codes)?;
    /// assert!(verify.is_secret() && reset.is_secret());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Command::verify`].
    pub fn fill(self, pin: &Pin) -> Result<Zeroizing<Vec<u8>>, InvalidPinRequest> {
        // Positions that a PIN pad does not support are refused here, too.
        self.to_bytes()?;
        let Pin(pin) = pin;
        let digits = self.encoding != Encoding::Ascii;
        if pin.is_empty() {
            return Err(InvalidPinRequest::new("the PIN is empty"));
        }
        if digits && !pin.iter().all(u8::is_ascii_digit) {
            let reason = "the PIN has a character that is not a digit";
            return Err(InvalidPinRequest::new(reason));
        }
        self.check_fit(pin.len())?;
        let width = self.encoding.width();
        let mut data = Zeroizing::new(self.block());
        if data.is_empty() {
            let lead = self.position.bytes_rounded_up();
            let size = (self.position.bits() + width * pin.len()).div_ceil(8);
            *data = vec![self.filler; size];
            data.iter_mut()
                .take(lead)
                .for_each(|byte| *byte = self.lead);
        }
        let mut at = self.position.bits();
        if self.right && self.block_len > 0 {
            at += usize::from(self.block_len) * 8 - width * pin.len();
        }
        for &character in pin.iter() {
            let value = match digits {
                true => u16::from(character & 0x0F),
                false => u16::from(character),
            };
            set_bits(&mut data, at, width, value)?;
            at += width;
        }
        let count = u16::try_from(pin.len()).unwrap_or(u16::MAX);
        let width = usize::from(self.length_bits);
        set_bits(&mut data, self.length_position.bits(), width, count)?;
        Ok(data)
    }
}

/// Sets bits, most significant first.
fn set_bits(data: &mut [u8], at: usize, width: usize, value: u16) -> Result<(), InvalidPinRequest> {
    for bit in 0..width {
        let position = at + bit;
        let Some(byte) = data.get_mut(position / 8) else {
            let reason = "the format places part of the PIN after the data";
            return Err(InvalidPinRequest::new(reason));
        };
        let mask = 0x80 >> (position % 8);
        match value >> (width - 1 - bit) & 1 {
            1 => *byte |= mask,
            _ => *byte &= !mask,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::format::PinOffset;
    use super::*;

    fn data(format: PinFormat, pin: &str) -> Result<Vec<u8>, InvalidPinRequest> {
        let verify = Command::verify(0x81, format, &Pin::new(pin))?;
        assert!(verify.is_secret());
        assert_eq!(verify.to_bytes()[..4], [0x00, 0x20, 0x00, 0x81]);
        Ok(verify.data().to_vec())
    }

    #[test]
    fn the_usual_formats() {
        let ascii = PinFormat::ascii();
        let half = PinFormat::bcd().position(PinOffset::Bits(4));
        for (format, pin, expected) in [
            (ascii, "1234", &b"1234"[..]),
            (ascii.block_len(8), "123456", b"123456\xFF\xFF"),
            (ascii.block_len(8).filler(0), "12345678", b"12345678"),
            (ascii.block_len(6).filler(b' '), "pass", b"pass  "),
            (
                ascii.block_len(6).justified_right(),
                "12",
                b"\xFF\xFF\xFF\xFF12",
            ),
            (PinFormat::binary().block_len(4), "123", b"\x01\x02\x03\xFF"),
            (PinFormat::bcd(), "123", b"\x12\x3F"),
            (PinFormat::bcd().block_len(4), "12345", b"\x12\x34\x5F\xFF"),
            // From the middle of a byte on, no half byte is left over.
            (half, "123", b"\x01\x23"),
            (half, "1234", b"\x01\x23\x4F"),
            (half.length(4, PinOffset::Bits(0)), "12345", b"\x51\x23\x45"),
            (
                PinFormat::iso_9564_format_2(),
                "123456789012",
                b"\x2C\x12\x34\x56\x78\x90\x12\xFF",
            ),
        ] {
            assert_eq!(data(format, pin).unwrap(), expected, "{format:?}");
        }
    }

    #[test]
    fn changes_have_both_blocks_in_order() {
        let format = PinFormat::ascii().block_len(6);
        let (old, new) = (Pin::new("1234"), Pin::new("567890"));
        let change = Command::change_pin(0x81, format, &old, &new).unwrap();
        let bytes = b"\x00\x24\x00\x81\x0C1234\xFF\xFF567890";
        assert_eq!(*change.to_bytes(), *bytes);
        let set = Command::set_pin(0x81, format, &new).unwrap();
        assert_eq!(*set.to_bytes(), *b"\x00\x24\x01\x81\x06567890");
        assert!(change.is_secret() && set.is_secret());
    }

    #[test]
    fn pins_that_do_not_fit_the_format_are_refused() {
        for (format, pin) in [
            (PinFormat::ascii(), ""),
            (PinFormat::ascii().block_len(4), "12345"),
            (PinFormat::bcd().block_len(2), "12345"),
            (PinFormat::iso_9564_format_2(), "123456789012345"),
            (PinFormat::bcd(), "12a4"),
            (PinFormat::binary(), "12 4"),
            (PinFormat::ascii().block_len(16), "1234"),
            (PinFormat::ascii().length(4, PinOffset::Bytes(9)), "1234"),
            (PinFormat::ascii().length(2, PinOffset::Bits(0)), "1234"),
            // The length would overwrite digits.
            (PinFormat::ascii().length(4, PinOffset::Bits(4)), "1234"),
        ] {
            assert!(data(format, pin).is_err(), "{format:?} {pin}");
        }
        let long = Pin::new(vec![b'1'; 70_000]);
        assert!(Command::verify(0x81, PinFormat::ascii(), &long).is_err());
        assert_eq!(format!("{long:?}"), "Pin");
    }
}
