//! The cards and their commands.

use scard::apdu::Continuation;

use super::Answers;

pub(super) fn hex(text: &str) -> Vec<u8> {
    hex::decode(text.replace(' ', "")).unwrap()
}

/// The content of the card: longer than a short answer.
pub fn content(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}

/// A command with this body, in hex, short or extended.
pub(super) fn with_body(header: &str, len: usize, le: &str) -> String {
    let lc = match len {
        0..=255 => format!("{len:02X}"),
        _ => format!("00{len:04X}"),
    };
    format!("{header}{lc}{}{le}", hex::encode_upper(content(len)))
}

/// GET RESPONSE works with one class only; others are refused with this status word.
pub(super) fn get_response_of_class(class: u8, refusal: &'static str) -> Answers<'static> {
    let mut rest = Vec::new();
    Box::new(move |command| match command {
        [0x80, 0xCA, 0, 0, ..] | [0x80, 0x10, ..] => {
            rest = content(40);
            hex("6128")
        }
        [it, 0xC0, 0, 0, le] if *it == class => {
            let piece = rest.drain(..usize::from(*le).min(rest.len()));
            let mut answer: Vec<u8> = piece.collect();
            answer.extend(match rest.len() {
                0 => [0x90, 0x00],
                left => [0x61, left as u8],
            });
            answer
        }
        [_, 0xC0, ..] => hex(refusal),
        _ => hex("6D00"),
    })
}

pub(super) fn emv_t0() -> Answers<'static> {
    get_response_of_class(0x00, "6E00")
}

pub(super) fn proprietary_t0() -> Answers<'static> {
    get_response_of_class(0x80, "6D00")
}

pub(super) fn ctap_t1() -> Answers<'static> {
    get_response_of_class(0x80, "6E00")
}

pub(super) fn interindustry_t1() -> Answers<'static> {
    get_response_of_class(0x00, "6881")
}

/// The OATH application of a YubiKey: LIST in two pieces.
pub(super) fn oath() -> Answers<'static> {
    let mut rest = Vec::new();
    Box::new(move |command| match command {
        [0x00, 0xA1, 0, 0, ..] => {
            rest = content(300).split_off(200);
            [&content(200)[..], &hex("6164")].concat()
        }
        [0x00, 0xA5, 0, 0, 0] if !rest.is_empty() => {
            [std::mem::take(&mut rest), hex("9000")].concat()
        }
        _ => hex("6D00"),
    })
}

/// DESFire: GetVersion in three frames, WriteData and ReadData longer than a frame, and an
/// authentication with the program's challenge.
pub(super) fn desfire() -> Answers<'static> {
    /// The length of a whole command, including header and lengths.
    const COMMAND: usize = 60;
    /// The length of an answer's data.
    const FRAME: usize = 59;
    let (mut rest, mut written, mut missing) = (Vec::new(), Vec::new(), 0);
    Box::new(move |command| {
        let more = |rest: &mut Vec<u8>| {
            let len = rest.len().min(FRAME);
            let mut answer: Vec<u8> = rest.drain(..len).collect();
            answer.extend([0x91, if rest.is_empty() { 0x00 } else { 0xAF }]);
            answer
        };
        match command {
            _ if command.len() > COMMAND => hex("917E"),
            [0x90, 0x60, 0, 0, 0] => {
                rest = content(150);
                more(&mut rest)
            }
            [0x90, 0xAF, 0, 0, 0] if !rest.is_empty() => more(&mut rest),
            [0x90, 0xAF, 0, 0, _, data @ .., 0] if missing > 0 => {
                written.extend(data);
                missing -= data.len();
                vec![0x91, if missing == 0 { 0x00 } else { 0xAF }]
            }
            [
                0x90,
                0x8D,
                0,
                0,
                _,
                _file,
                _,
                _,
                _,
                low,
                high,
                _,
                data @ ..,
                0,
            ] => {
                written = data.to_vec();
                missing = usize::from(u16::from_le_bytes([*low, *high])) - data.len();
                vec![0x91, if missing == 0 { 0x00 } else { 0xAF }]
            }
            [0x90, 0xBD, 0, 0, 7, ..] => {
                rest = written.clone();
                more(&mut rest)
            }
            [0x90, 0xAA, 0, 0, 1, ..] => hex("000102030405060791AF"),
            [0x90, ..] => hex("911C"),
            _ => hex("6E00"),
        }
    })
}

/// DESFire, with a program that sends each frame of its data itself.
pub(super) fn desfire_by_hand() -> Answers<'static> {
    let mut card = desfire();
    Box::new(move |command| match command {
        // Would be taken for the end of the data.
        [0x90, 0xAF, 0, 0, 0] => hex("917E"),
        _ => card(command),
    })
}

/// WriteData of DESFire to file 1, with `len` bytes.
pub(super) fn desfire_write(len: usize) -> String {
    let body = len + 7;
    let lc = match body {
        0..=255 => format!("{body:02X}"),
        _ => format!("00{body:04X}"),
    };
    let le = if body > 255 { "0000" } else { "00" };
    let [low, high] = (len as u16).to_le_bytes();
    let data = hex::encode_upper(content(len));
    format!("908D0000{lc}01000000{low:02X}{high:02X}00{data}{le}")
}

pub(super) const OWN: Continuation = Continuation::Command {
    class: 0xD0,
    instruction: 0x12,
};

/// GET RESPONSE has another class and another instruction.
pub(super) fn own_get_response() -> Answers<'static> {
    Box::new(|command| match command {
        [0x00, 0xCA, 0, 0, 0] => hex("6128"),
        [0xD0, 0x12, 0, 0, 40] => [content(40), hex("9000")].concat(),
        _ => hex("6D00"),
    })
}

/// Has an answer only for a command with Le, as over the link that it has in truth.
pub(super) fn contactless_t0() -> Answers<'static> {
    Box::new(|command| match command {
        [0x00, 0xA4, 4, 0, 2, _, _, 0] => [content(20), hex("9000")].concat(),
        [0x00, 0xA4, 4, 0, 2, _, _] => hex("9000"),
        [0x90, 0x60, 0, 0, 0] => [content(8), hex("9100")].concat(),
        _ => hex("6D00"),
    })
}

/// A SIM of GSM 11.11.
pub(super) fn sim() -> Answers<'static> {
    Box::new(|command| match command {
        [0xA0, 0xA4, 0, 0, 2, 0x3F, 0x00] => hex("9F16"),
        [0xA0, 0xC0, 0, 0, 0x16] => [content(22), hex("9000")].concat(),
        // A download that failed, with the reason.
        [0xA0, 0xC2, 0, 0, 3, ..] => hex("9E05"),
        [0xA0, 0xC0, 0, 0, 0x05] => [content(5), hex("9000")].concat(),
        [0xA0, ..] => hex("6D00"),
        _ => hex("6E00"),
    })
}

/// Over T=0, holds back the data of a warning, and counts the tries of a PIN.
pub(super) fn warning_t0() -> Answers<'static> {
    let mut held = Vec::new();
    Box::new(move |command| match command {
        [0x00, 0xA4, 4, 0, 2, _, _] => {
            held = content(20);
            hex("6283")
        }
        [0x00, 0xA4, 4, 0, 3, ..] => hex("6285"),
        [0x00, 0xC0, 0, 0, 0x00] if !held.is_empty() => hex("6C14"),
        [0x00, 0xC0, 0, 0, 0x14] if !held.is_empty() => {
            [std::mem::take(&mut held), hex("9000")].concat()
        }
        // Would be reported if it were sent after VERIFY.
        [0x00, 0xC0, ..] => hex("6F00"),
        [0x00, 0x20, 0, 0x81, 4, ..] => hex("63C2"),
        _ => hex("6D00"),
    })
}

/// A reader that loses data beyond 240 bytes in both directions, with a card that chains.
pub(super) fn reader_of_240() -> Answers<'static> {
    let (mut kept, mut rest) = (Vec::new(), Vec::new());
    Box::new(move |command| {
        let (class, instruction) = (command[0], command[1]);
        match (instruction, &command[4..]) {
            (0xDB, [lc, data @ ..]) => {
                if *lc > 240 {
                    return hex("6F00");
                }
                kept.extend_from_slice(data);
                if class == 0x00 {
                    rest = std::mem::take(&mut kept);
                }
                hex("9000")
            }
            (0xCA | 0xC0, [le]) => {
                if *le == 0 || *le > 240 {
                    return hex("6F00");
                }
                let len = rest.len().min(usize::from(*le));
                let mut answer: Vec<u8> = rest.drain(..len).collect();
                answer.extend(match rest.len() {
                    0 => [0x90, 0x00],
                    left => [0x61, u8::try_from(left).unwrap_or(0)],
                });
                answer
            }
            _ => hex("6D00"),
        }
    })
}

/// Over T=0, accepts long commands in ENVELOPEs.
pub(super) fn envelope() -> Answers<'static> {
    envelopes(false)
}

/// The same, and waits for an ENVELOPE without data.
pub(super) fn envelope_with_end() -> Answers<'static> {
    envelopes(true)
}

pub(super) fn envelopes(end: bool) -> Answers<'static> {
    let (mut whole, mut rest) = (Vec::<u8>::new(), Vec::new());
    Box::new(move |command| match command {
        [0x00, 0xC2, 0, 0, lengths @ ..] => {
            let part = lengths.get(1..).unwrap_or_default();
            assert_eq!(usize::from(*lengths.first().unwrap_or(&0)), part.len());
            whole.extend(part);
            let lc = usize::from(u16::from_be_bytes([whole[5], whole[6]]));
            if whole.len() < 7 + lc || end && !part.is_empty() {
                return hex("9000");
            }
            rest = whole.split_off(7);
            rest.truncate(lc);
            whole.clear();
            rest.reverse();
            hex("6100")
        }
        [0x00, 0xC0, 0, 0, le] => {
            let le = if *le == 0 { 256 } else { usize::from(*le) };
            let len = rest.len().min(le);
            let mut answer: Vec<u8> = rest.drain(..len).collect();
            answer.extend(match rest.len() {
                0 => [0x90, 0x00],
                left => [0x61, u8::try_from(left).unwrap_or(0)],
            });
            answer
        }
        _ => hex("6700"),
    })
}

/// Supports chaining and says so in its ATR.
pub(super) fn chains() -> Answers<'static> {
    let mut kept = Vec::new();
    Box::new(move |command| match command {
        [class @ (0x00 | 0x10), 0xDB, 0x3F, 0xFF, lc, data @ ..]
            if usize::from(*lc) == data.len() =>
        {
            kept.extend_from_slice(data);
            match class {
                0x10 => hex("9000"),
                _ => {
                    let len = std::mem::take(&mut kept).len() as u16;
                    [len.to_be_bytes(), [0x90, 0x00]].concat()
                }
            }
        }
        _ => hex("6700"),
    })
}

/// Has 256 bytes more than a short command can request, and does not say so.
pub(super) fn long_file() -> Answers<'static> {
    Box::new(|command| match command {
        [0x00, 0xB0, 0, 0, 0] => [content(256), hex("9000")].concat(),
        _ => hex("6D00"),
    })
}

/// Instructions that ISO 7816 does not allow.
pub(super) fn odd_instructions() -> Answers<'static> {
    Box::new(|command| match command {
        [0xB0, 0x60, 0, 0, 0] | [0xFF, 0x9A, 1, 0, 0] => [content(8), hex("9000")].concat(),
        [0xFF, 0xC2, 0, 1, 2, 0x81, 0x00, 0] => hex("C003009000 9000"),
        _ => hex("6D00"),
    })
}
