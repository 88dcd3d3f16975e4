//! A PIN pad that follows the structures of Part 10: it turns what its user types into a command.
//! Written from the description of CCID, not after the library.

/// A parsed request for the entry of PINs.
struct Structure<'a> {
    format: u8,
    block: u8,
    length: u8,
    /// The offsets of the current and of the new PIN.
    offsets: Vec<usize>,
    most: usize,
    least: usize,
    command: &'a [u8],
}

impl<'a> Structure<'a> {
    /// `PIN_VERIFY_STRUCTURE` takes 19 bytes before its command, `PIN_MODIFY_STRUCTURE` 24.
    fn read(input: &'a [u8], modifies: bool) -> Option<Structure<'a>> {
        let header = if modifies { 24 } else { 19 };
        let (fixed, command) = input.split_at_checked(header)?;
        let len = u32::from_le_bytes(fixed[header - 4..].try_into().ok()?);
        if len as usize != command.len() || command.len() < 5 {
            return None;
        }
        let digits = if modifies { 7 } else { 5 };
        let offsets = match (modifies, fixed[9] & 2 != 0) {
            (false, _) => vec![0],
            (true, true) => vec![fixed[5].into(), fixed[6].into()],
            (true, false) => vec![fixed[6].into()],
        };
        Some(Structure {
            format: fixed[2],
            block: fixed[3],
            length: fixed[4],
            offsets,
            most: fixed[digits].into(),
            least: fixed[digits + 1].into(),
            command,
        })
    }

    /// Inserts a PIN into the data at an offset.
    fn insert(&self, data: &mut Vec<u8>, offset: usize, pin: &str) {
        let in_bits =
            |is_bytes: bool, number: u8| usize::from(number) * if is_bytes { 8 } else { 1 };
        let digits = pin.bytes().map(|digit| digit - b'0');
        let (width, values): (usize, Vec<u8>) = match self.format & 3 {
            0 => (8, digits.collect()),
            1 => (4, digits.collect()),
            _ => (8, pin.bytes().collect()),
        };
        let size = (width * values.len()).div_ceil(8);
        let block = usize::from(self.block & 15);
        let mut start = offset * 8 + in_bits(self.format & 0x80 != 0, (self.format >> 3) & 15);
        if block == 0 {
            // No space is reserved for it.
            let end = data.len().max(start / 8 + size);
            data.resize(end, 0xFF);
        } else if self.format & 4 != 0 {
            start += block * 8 - width * values.len();
        }
        for (i, value) in values.iter().enumerate() {
            set_bits(data, start + i * width, width, *value);
        }
        let at = in_bits(self.length & 0x10 != 0, self.length & 15);
        let width = usize::from(self.block >> 4);
        set_bits(data, offset * 8 + at, width, pin.len() as u8);
    }
}

/// Sets bits, most significant first.
fn set_bits(data: &mut [u8], at: usize, width: usize, value: u8) {
    for bit in 0..width {
        let position = at + bit;
        let mask = 0x80 >> (position % 8);
        if value >> (width - 1 - bit) & 1 == 1 {
            data[position / 8] |= mask;
        } else {
            data[position / 8] &= !mask;
        }
    }
}

/// The command that the pad sends when these PINs are typed: a single one, or the current and the
/// new one; otherwise the pad's own answer.
pub fn typed(input: &[u8], modifies: bool, pins: &[&str]) -> Result<Vec<u8>, [u8; 2]> {
    let request = Structure::read(input, modifies).ok_or([0x6B, 0x80])?;
    if pins.len() != request.offsets.len() {
        return Err([0x64, 0x00]);
    }
    if pins
        .iter()
        .any(|pin| pin.len() < request.least || pin.len() > request.most)
    {
        return Err([0x64, 0x03]);
    }
    let (header, data) = request.command.split_at(5);
    let mut data = data.to_vec();
    for (pin, offset) in pins.iter().zip(&request.offsets) {
        // A PIN without a reserved place is appended.
        let offset = if request.block & 15 == 0 {
            data.len()
        } else {
            *offset
        };
        request.insert(&mut data, offset, pin);
    }
    let mut command = header.to_vec();
    command[4] = data.len() as u8;
    command.extend(data);
    Ok(command)
}
