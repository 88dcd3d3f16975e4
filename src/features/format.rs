//! The format of a PIN in a command.

use super::entry::InvalidPinRequest;

/// A position in the data of a command, from its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PinOffset {
    /// A number of bits, 15 at most.
    Bits(u8),
    /// A number of bytes, 15 at most.
    Bytes(u8),
}

impl PinOffset {
    /// Returns the unit, and the number if it fits four bits.
    const fn parts(self) -> (bool, Option<u8>) {
        let (bytes, number) = match self {
            PinOffset::Bits(number) => (false, number),
            PinOffset::Bytes(number) => (true, number),
        };
        (bytes, nibble(number))
    }

    pub(super) fn bits(self) -> usize {
        match self {
            PinOffset::Bits(bits) => usize::from(bits),
            PinOffset::Bytes(bytes) => usize::from(bytes) * 8,
        }
    }

    pub(super) fn bytes_rounded_up(self) -> usize {
        self.bits().div_ceil(8)
    }
}

const fn nibble(number: u8) -> Option<u8> {
    if number <= 15 { Some(number) } else { None }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Encoding {
    Binary = 0,
    Bcd = 1,
    Ascii = 2,
}

impl Encoding {
    /// Returns the bits of a character.
    pub(super) const fn width(self) -> usize {
        match self {
            Encoding::Bcd => 4,
            Encoding::Binary | Encoding::Ascii => 8,
        }
    }
}

/// How the reader puts a PIN into the command: `bmFormatString`, `bmPINBlockString` and
/// `bmPINLengthFormat`.
///
/// ```
/// use scard::features::{PinFormat, PinOffset};
///
/// // "1234" becomes 31 32 33 34 FF FF FF FF.
/// let padded = PinFormat::ascii().block_len(8);
/// assert_eq!(padded.to_bytes()?, [0x82, 0x08, 0x00]);
///
/// // "1234" becomes 24 12 34 FF FF FF FF FF.
/// assert_eq!(PinFormat::iso_9564_format_2().to_bytes()?, [0x89, 0x47, 0x04]);
/// # Ok::<(), scard::features::InvalidPinRequest>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub struct PinFormat {
    pub(super) encoding: Encoding,
    pub(super) right: bool,
    pub(super) position: PinOffset,
    pub(super) block_len: u8,
    pub(super) length_bits: u8,
    pub(super) length_position: PinOffset,
    pub(super) filler: u8,
    /// The first byte of the data, if the PIN is not at the beginning.
    pub(super) lead: u8,
}

impl PinFormat {
    const fn new(encoding: Encoding) -> PinFormat {
        PinFormat {
            encoding,
            right: false,
            position: PinOffset::Bytes(0),
            block_len: 0,
            length_bits: 0,
            length_position: PinOffset::Bits(0),
            filler: 0xFF,
            lead: 0,
        }
    }

    /// Returns the format with one byte for each digit, its ASCII code, at the beginning of the
    /// data.
    pub const fn ascii() -> PinFormat {
        PinFormat::new(Encoding::Ascii)
    }

    /// Returns the format with half a byte for each digit, at the beginning of the data.
    pub const fn bcd() -> PinFormat {
        PinFormat::new(Encoding::Bcd)
    }

    /// Returns the format with one byte for each digit, its value, at the beginning of the data.
    pub const fn binary() -> PinFormat {
        PinFormat::new(Encoding::Binary)
    }

    /// Returns the PIN block format of ISO 9564-1 format 2, which GlobalPlatform uses, too: `2`,
    /// the number of digits, the digits in BCD, filled with `F` to eight bytes.
    ///
    /// The standard allows 4 to 12 digits; this block has room for 14. What a card accepts is up to
    /// the card: set [`digits`](super::PinVerification::digits) to its limits.
    ///
    /// It is encoded in the way that most readers support, `89 47 04`: the digits from the second
    /// byte on, in a block of seven bytes, and the length in four bits after the first four.
    pub const fn iso_9564_format_2() -> PinFormat {
        let block = PinFormat::bcd()
            .position(PinOffset::Bytes(1))
            .block_len(7)
            .length(4, PinOffset::Bits(4));
        PinFormat {
            lead: 0x20,
            ..block
        }
    }

    /// Sets the size of the formatted PIN in bytes, 15 at most: a shorter PIN is filled. 0, the
    /// default, does not fill the PIN.
    pub const fn block_len(self, bytes: u8) -> PinFormat {
        PinFormat {
            block_len: bytes,
            ..self
        }
    }

    /// Sets the filler of the block in commands created by [`PinVerification::iso`] and
    /// [`PinModification::iso`]; 0xFF by default. The reader keeps it where there is no digit.
    ///
    /// [`PinVerification::iso`]: super::PinVerification::iso
    /// [`PinModification::iso`]: super::PinModification::iso
    pub const fn filler(self, filler: u8) -> PinFormat {
        PinFormat { filler, ..self }
    }

    /// Places the digits on the right of the block, the filler on the left.
    pub const fn justified_right(self) -> PinFormat {
        PinFormat {
            right: true,
            ..self
        }
    }

    /// Sets the position of the PIN in the data.
    pub const fn position(self, position: PinOffset) -> PinFormat {
        PinFormat { position, ..self }
    }

    /// Lets the reader write the number of digits into the data, in this number of bits, 15 at
    /// most, at this position, which must not overlap the digits.
    pub const fn length(self, bits: u8, position: PinOffset) -> PinFormat {
        PinFormat {
            length_bits: bits,
            length_position: position,
            ..self
        }
    }

    /// Returns `bmFormatString`, `bmPINBlockString` and `bmPINLengthFormat`.
    ///
    /// # Errors
    ///
    /// If a length or position is greater than 15: there are four bits for each.
    pub const fn to_bytes(self) -> Result<[u8; 3], InvalidPinRequest> {
        let (in_bytes, Some(position)) = self.position.parts() else {
            return Err(InvalidPinRequest::new(
                "the position of the PIN is greater than 15",
            ));
        };
        let (length_in_bytes, Some(length_position)) = self.length_position.parts() else {
            return Err(InvalidPinRequest::new(
                "the position of the PIN length is greater than 15",
            ));
        };
        let (Some(block_len), Some(length_bits)) =
            (nibble(self.block_len), nibble(self.length_bits))
        else {
            return Err(InvalidPinRequest::new(
                "the PIN has more than 15 bytes, or its length more than 15 bits",
            ));
        };
        Ok([
            (in_bytes as u8) << 7 | position << 3 | (self.right as u8) << 2 | self.encoding as u8,
            length_bits << 4 | block_len,
            (length_in_bytes as u8) << 4 | length_position,
        ])
    }

    /// Checks that a PIN with this number of digits fits the block, and the number fits its field.
    pub(super) fn check_fit(self, digits: usize) -> Result<(), InvalidPinRequest> {
        let room = usize::from(self.block_len) * 8 / self.encoding.width();
        if self.block_len > 0 && digits > room {
            return Err(InvalidPinRequest::new(
                "the block is too short for the longest PIN",
            ));
        }
        if self.length_bits > 0 && digits >> self.length_bits.min(15) > 0 {
            return Err(InvalidPinRequest::new(
                "the number of digits does not fit its bits",
            ));
        }
        let size = digits * self.encoding.width();
        let first = match self.right && self.block_len > 0 {
            true => (self.position.bits() + usize::from(self.block_len) * 8).saturating_sub(size),
            false => self.position.bits(),
        };
        let number = self.length_position.bits();
        let ends_before = number + usize::from(self.length_bits) <= first;
        if self.length_bits > 0 && !ends_before && number < first + size {
            return Err(InvalidPinRequest::new("the PIN length overlaps the digits"));
        }
        Ok(())
    }

    /// Returns the number of bytes up to the last digit of the longest PIN.
    fn digits_end(self, digits: usize) -> usize {
        let size = match self.right && self.block_len > 0 {
            true => usize::from(self.block_len) * 8,
            false => digits * self.encoding.width(),
        };
        (self.position.bits() + size).div_ceil(8)
    }

    /// Checks that the block is within the data of a command, from this byte on. If there is no
    /// data, the reader adds it.
    pub(super) fn check_place(
        self,
        data: &[u8],
        offset: u8,
        digits: usize,
    ) -> Result<(), InvalidPinRequest> {
        let end = usize::from(offset) + self.digits_end(digits).max(usize::from(self.block_len));
        if !data.is_empty() && self.block_len > 0 && end > data.len() {
            return Err(InvalidPinRequest::new(
                "the PIN block ends after the data of the command",
            ));
        }
        let number = self.length_position.bits() + usize::from(self.length_bits);
        let number_end = usize::from(offset) + number.div_ceil(8);
        if !data.is_empty() && self.length_bits > 0 && number_end > data.len() {
            return Err(InvalidPinRequest::new(
                "the PIN length is after the data of the command",
            ));
        }
        Ok(())
    }

    /// Checks that two PINs do not overlap in the data of a command if they begin at these bytes.
    /// If there are neither data nor blocks, the reader places one after the other.
    pub(super) fn check_apart(
        self,
        data: &[u8],
        [one, other]: [u8; 2],
        digits: usize,
    ) -> Result<(), InvalidPinRequest> {
        let is_placed = !data.is_empty() || self.block_len > 0;
        let number_end = match self.length_bits {
            0 => 0,
            bits => (self.length_position.bits() + usize::from(bits)).div_ceil(8),
        };
        let block_end = self.position.bytes_rounded_up() + usize::from(self.block_len);
        let end = self.digits_end(digits).max(block_end).max(number_end);
        if is_placed && usize::from(one.abs_diff(other)) < end {
            return Err(InvalidPinRequest::new(
                "the new PIN would overwrite the current one: set the offsets",
            ));
        }
        Ok(())
    }

    /// Returns the data into which the reader writes a PIN. Empty for a PIN that is not filled.
    pub(super) fn block(self) -> Vec<u8> {
        if self.block_len == 0 {
            return Vec::new();
        }
        let mut block = vec![self.lead; self.position.bytes_rounded_up()];
        block.resize(block.len() + usize::from(self.block_len), self.filler);
        block
    }
}

#[cfg(test)]
mod tests {
    use super::super::PinVerification;
    use super::*;

    #[test]
    fn a_pin_ends_within_the_data_wherever_it_begins() {
        let request = |format, digits| {
            let request = PinVerification::new(b"\x00\x20\x00\x80\x0812345678", format);
            request.digits(4..=digits).to_bytes()
        };
        let ascii = PinFormat::ascii().block_len(8);
        assert!(request(ascii, 8).is_ok());
        let shifted = ascii.position(PinOffset::Bytes(1));
        assert!(request(shifted, 7).is_ok());
        let error = request(shifted, 8).unwrap_err().to_string();
        assert_eq!(error, "the PIN block ends after the data of the command");
        let half = PinFormat::bcd().block_len(8).position(PinOffset::Bits(4));
        assert!(request(half, 15).is_ok() && request(half, 16).is_err());
        assert!(request(shifted.justified_right(), 4).is_err());
    }

    #[test]
    fn a_length_does_not_overlap_the_digits() {
        let reason = |request: Result<Vec<u8>, InvalidPinRequest>| request.unwrap_err().to_string();
        let request = |format| {
            let request = PinVerification::new(b"\x00\x20\x00\x80\x0812345678", format);
            request.digits(4..=7).to_bytes()
        };
        let length = |bits, place| PinFormat::ascii().block_len(7).length(bits, place);
        let at = PinOffset::Bytes;
        let said = "the PIN length is after the data of the command";
        assert_eq!(reason(request(length(8, at(8)))), said);
        assert!(request(length(8, at(7))).is_ok());
        let said = "the PIN length overlaps the digits";
        let over = PinVerification::iso(0x80, length(8, at(0))).digits(4..=7);
        assert_eq!(reason(over.to_bytes()), said);
        let right = length(4, at(2)).justified_right();
        let over = PinVerification::iso(0x80, right).digits(4..=5);
        assert_eq!(reason(over.to_bytes()), said);
        let over = PinVerification::iso(0x80, right).digits(4..=4);
        assert!(over.to_bytes().is_ok());
    }
}
