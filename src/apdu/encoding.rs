//! The encoding of commands: the four cases of ISO 7816-4, short and extended.

use zeroize::Zeroizing;

use super::error::InvalidCommand;
use super::header::Header;

/// The maximum body length of a short command.
pub(super) const SHORT_DATA: usize = 255;
/// The maximum length that a short command can ask for.
pub(super) const SHORT_EXPECTED: u32 = 256;
/// The maximum body length of any command.
pub(super) const EXTENDED_DATA: usize = 65_535;
/// The maximum length that any command can ask for.
pub(super) const EXTENDED_EXPECTED: u32 = 65_536;

/// Encodes a command. A length that is too large is encoded as the maximum.
pub(super) fn encode(
    header: Header,
    data: &[u8],
    expected: Option<u32>,
    extended: bool,
    to: &mut Vec<u8>,
) {
    // Growing would leave a copy behind that is never overwritten.
    to.reserve_exact(header.bytes().len() + data.len() + 5);
    to.extend_from_slice(&header.bytes());
    let lc = u16::try_from(data.len()).unwrap_or(u16::MAX);
    if extended {
        if !data.is_empty() || expected.is_some() {
            to.push(0);
        }
        if !data.is_empty() {
            to.extend_from_slice(&lc.to_be_bytes());
            to.extend_from_slice(data);
        }
        if let Some(expected) = expected {
            // 65,536 is 0000.
            let le = u16::try_from(expected).unwrap_or(0);
            to.extend_from_slice(&le.to_be_bytes());
        }
    } else {
        if !data.is_empty() {
            to.push(lc as u8);
            to.extend_from_slice(data);
        }
        if let Some(expected) = expected {
            // 256 is 00.
            to.push(u8::try_from(expected).unwrap_or(0));
        }
    }
}

/// The parts of a command.
pub(super) struct Decoded {
    pub(super) header: Header,
    pub(super) data: Zeroizing<Vec<u8>>,
    /// Zero means all available data.
    pub(super) le: Option<u16>,
    pub(super) extended: bool,
}

/// Decodes a command.
pub(super) fn decode(command: &[u8]) -> Result<Decoded, InvalidCommand> {
    let too_short = InvalidCommand::NoHeader { len: command.len() };
    let (header, body) = Header::split(command).ok_or(too_short)?;
    let decoded = |data: &[u8], le, extended| Decoded {
        header,
        data: Zeroizing::new(data.to_vec()),
        le,
        extended,
    };
    let short = |le: u8| Some(u16::from(le));
    let long = |high: u8, low: u8| Some(u16::from_be_bytes([high, low]));
    match *body {
        [] => Ok(decoded(&[], None, false)),
        [le] => Ok(decoded(&[], short(le), false)),
        [0, _] => Err(InvalidCommand::TruncatedLength),
        [0, high, low] => Ok(decoded(&[], long(high, low), true)),
        [0, 0, 0, ..] => Err(InvalidCommand::NoData),
        [0, high, low, ref rest @ ..] => {
            let lc = usize::from(u16::from_be_bytes([high, low]));
            match rest.split_at_checked(lc) {
                Some((data, [])) => Ok(decoded(data, None, true)),
                Some((data, [high, low])) => Ok(decoded(data, long(*high, *low), true)),
                _ => Err(InvalidCommand::WrongLength {
                    declared: lc,
                    present: rest.len(),
                }),
            }
        }
        [lc, ref rest @ ..] => {
            let lc = usize::from(lc);
            match rest.split_at_checked(lc) {
                Some((data, [])) => Ok(decoded(data, None, false)),
                Some((data, [le])) => Ok(decoded(data, short(*le), false)),
                _ => Err(InvalidCommand::WrongLength {
                    declared: lc,
                    present: rest.len(),
                }),
            }
        }
    }
}
