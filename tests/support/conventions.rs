//! Cards and readers that do what ISO 7816 leaves open each in its own way, as public reports
//! describe them: each with the options that it needs, and with commands and what comes of them.

use scard::apdu::{Continuation, ExchangeOptions};
use scard_testkit::VirtualCard;
use scard_testkit::atr::{T0, T1};

use super::iso7816::CHAINS;

/// A card that answers one command after the other.
pub type Answers<'a> = Box<dyn FnMut(&[u8]) -> Vec<u8> + Send + 'a>;

/// One card or reader, and how to talk to it.
pub struct Convention {
    pub name: &'static str,
    pub atr: &'static [u8],
    /// For the library.
    pub options: ExchangeOptions,
    /// For the example `transmit`.
    pub arguments: &'static [&'static str],
    pub card: fn() -> Answers<'static>,
    /// Command, data of the answer, status word.
    pub script: Vec<(String, Vec<u8>, &'static str)>,
}

impl Convention {
    pub fn is_t0(&self) -> bool {
        self.atr == T0
    }

    pub fn card(&self) -> VirtualCard {
        VirtualCard::new((self.card)()).atr(self.atr)
    }
}

fn hex(text: &str) -> Vec<u8> {
    hex::decode(text.replace(' ', "")).unwrap()
}

/// What the card keeps: more than a short answer.
pub fn content(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}

/// A command with this body, in hex, short or extended.
fn with_body(header: &str, len: usize, le: &str) -> String {
    let lc = match len {
        0..=255 => format!("{len:02X}"),
        _ => format!("00{len:04X}"),
    };
    format!("{header}{lc}{}{le}", hex::encode_upper(content(len)))
}

/// GET RESPONSE works with one class alone; the others are refused with this status word.
fn get_response_of_class(class: u8, refusal: &'static str) -> Answers<'static> {
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

fn emv_t0() -> Answers<'static> {
    get_response_of_class(0x00, "6E00")
}

fn proprietary_t0() -> Answers<'static> {
    get_response_of_class(0x80, "6D00")
}

fn ctap_t1() -> Answers<'static> {
    get_response_of_class(0x80, "6E00")
}

fn interindustry_t1() -> Answers<'static> {
    get_response_of_class(0x00, "6881")
}

/// The OATH application of a YubiKey: LIST in two pieces.
fn oath() -> Answers<'static> {
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

/// DESFire: GetVersion in three frames, WriteData and ReadData of more than a frame, and an
/// authentication whose challenge is the program's.
fn desfire() -> Answers<'static> {
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
            [0x90, _, 0, 0, lc, ..] if command.len() > 5 && usize::from(*lc) > FRAME => hex("917E"),
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

/// WriteData of DESFire, of so many bytes, to file 1.
fn desfire_write(len: usize) -> String {
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

/// A SIM of GSM 11.11.
fn sim() -> Answers<'static> {
    Box::new(|command| match command {
        [0xA0, 0xA4, 0, 0, 2, 0x3F, 0x00] => hex("9F16"),
        [0xA0, 0xC0, 0, 0, 0x16] => [content(22), hex("9000")].concat(),
        [0xA0, ..] => hex("6D00"),
        _ => hex("6E00"),
    })
}

/// Over T=0, holds back the data that belong to a warning, and counts the tries of a PIN.
fn warning_t0() -> Answers<'static> {
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

/// A reader that loses what is longer than 240 bytes, in both directions, before a card that
/// chains.
fn reader_of_240() -> Answers<'static> {
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

/// Over T=0, takes long commands in ENVELOPEs.
fn envelope() -> Answers<'static> {
    let (mut whole, mut rest) = (Vec::<u8>::new(), Vec::new());
    Box::new(move |command| match command {
        [0x00, 0xC2, 0, 0, lc, part @ ..] if usize::from(*lc) == part.len() => {
            whole.extend(part);
            let lc = usize::from(u16::from_be_bytes([whole[5], whole[6]]));
            if whole.len() < 7 + lc {
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

/// Takes chains and says so.
fn chains() -> Answers<'static> {
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

/// Has 256 bytes more than a short command can ask for, and does not say so.
fn long_file() -> Answers<'static> {
    Box::new(|command| match command {
        [0x00, 0xB0, 0, 0, 0] => [content(256), hex("9000")].concat(),
        _ => hex("6D00"),
    })
}

/// Instructions that ISO 7816 does not allow.
fn odd_instructions() -> Answers<'static> {
    Box::new(|command| match command {
        [0xB0, 0x60, 0, 0, 0] | [0xFF, 0x9A, 1, 0, 0] => [content(8), hex("9000")].concat(),
        [0xFF, 0xC2, 0, 1, 2, 0x81, 0x00, 0] => hex("C003009000 9000"),
        _ => hex("6D00"),
    })
}

fn usual() -> ExchangeOptions {
    ExchangeOptions::new()
}

/// All of them.
pub fn conventions() -> Vec<Convention> {
    let get = |header: &str| vec![(header.to_owned(), content(40), "9000")];
    let line = |command: &str, data: Vec<u8>, status| (command.to_owned(), data, status);
    let sum = |len: usize| (len as u16).to_be_bytes().to_vec();
    vec![
        Convention {
            name: "EMV over T=0",
            atr: T0,
            options: usual(),
            arguments: &[],
            card: emv_t0,
            script: get("80CA000000"),
        },
        Convention {
            name: "its own class over T=0",
            atr: T0,
            options: usual(),
            arguments: &[],
            card: proprietary_t0,
            script: get("80CA000000"),
        },
        Convention {
            name: "its own class over T=0, without a first refusal",
            atr: T0,
            options: usual().continuation(Continuation::SameClass),
            arguments: &["--with", "continuation=same-class"],
            card: proprietary_t0,
            script: get("80CA000000"),
        },
        Convention {
            name: "CTAP over T=1",
            atr: T1,
            options: usual(),
            arguments: &[],
            card: ctap_t1,
            script: get("8010000001AA00"),
        },
        Convention {
            name: "interindustry over T=1",
            atr: T1,
            options: usual().continuation(Continuation::Interindustry),
            arguments: &["--with", "continuation=interindustry"],
            card: interindustry_t1,
            script: get("80CA000000"),
        },
        Convention {
            name: "YubiKey OATH",
            atr: T1,
            options: usual().continuation(Continuation::Oath),
            arguments: &["--with", "continuation=oath"],
            card: oath,
            script: vec![line("00A1000000", content(300), "9000")],
        },
        Convention {
            name: "DESFire",
            atr: T1,
            options: usual()
                .continuation(Continuation::Desfire)
                .max_command_data(59),
            arguments: &[
                "--with",
                "continuation=desfire",
                "--with",
                "max-command-data=59",
            ],
            card: desfire,
            script: vec![
                line("9060000000", content(150), "9100"),
                line(&desfire_write(40), vec![], "9100"),
                line(&desfire_write(200), vec![], "9100"),
                line("90BD0000070100000000000000", content(200), "9100"),
                line("90AA0000010000", content(8), "91AF"),
                line("9045000000", vec![], "911C"),
            ],
        },
        Convention {
            name: "SIM",
            atr: T0,
            options: usual(),
            arguments: &[],
            card: sim,
            script: vec![line("A0A40000023F00", content(22), "9000")],
        },
        Convention {
            name: "data of a warning over T=0",
            atr: T0,
            options: usual(),
            arguments: &[],
            card: warning_t0,
            script: vec![
                line("00A4040002CAFE00", content(20), "6283"),
                line("00A4040003CAFE0100", vec![], "6285"),
                line("00200081043132333400", vec![], "63C2"),
                line("002000810431323334", vec![], "63C2"),
            ],
        },
        Convention {
            name: "no data of warnings over T=0",
            atr: T0,
            options: usual().data_of_warnings(false),
            arguments: &["--with", "data-of-warnings=no"],
            card: warning_t0,
            script: vec![line("00A4040002CAFE00", vec![], "6283")],
        },
        Convention {
            name: "a reader of 240 bytes",
            atr: T1,
            options: usual()
                .chaining(true)
                .max_command_data(240)
                .max_answer_data(240),
            arguments: &[
                "--with",
                "chaining=yes",
                "--with",
                "max-command-data=240",
                "--with",
                "max-answer-data=240",
            ],
            card: reader_of_240,
            script: vec![
                line(&with_body("00DB3FFF", 250, ""), vec![], "9000"),
                line("00CA000000", content(250), "9000"),
                line(&with_body("00DB3FFF", 700, ""), vec![], "9000"),
                line("00CA000000", content(700), "9000"),
            ],
        },
        Convention {
            name: "a chain that the ATR promises",
            atr: CHAINS,
            options: usual(),
            arguments: &[],
            card: chains,
            script: vec![line(&with_body("00DB3FFF", 700, ""), sum(700), "9000")],
        },
        Convention {
            name: "ENVELOPE over T=0",
            atr: T0,
            options: usual().envelope(true),
            arguments: &["--with", "envelope=yes"],
            card: envelope,
            script: vec![line(
                &with_body("00DB3FFF", 700, "0000"),
                content(700).into_iter().rev().collect(),
                "9000",
            )],
        },
        Convention {
            name: "a file that is longer than its command can say",
            atr: T1,
            options: usual().allow_less(true),
            arguments: &["--with", "allow-less=yes"],
            card: long_file,
            script: vec![line("00B0000000012C", content(256), "9000")],
        },
        Convention {
            name: "instructions 6X and 9X",
            atr: T1,
            options: usual(),
            arguments: &[],
            card: odd_instructions,
            script: vec![
                line("B060000000", content(8), "9000"),
                line("FF9A010000", content(8), "9000"),
            ],
        },
        Convention {
            name: "instructions 6X and 9X over T=0",
            atr: T0,
            options: usual().any_instruction(true),
            arguments: &["--with", "any-instruction=yes"],
            card: odd_instructions,
            script: vec![
                line("B060000000", content(8), "9000"),
                line("FF9A010000", content(8), "9000"),
                line("FFC200010281 0000", hex("C003009000"), "9000"),
            ],
        },
    ]
}
