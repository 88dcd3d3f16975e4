//! Cards and readers with their own interpretation of what ISO 7816 leaves open, as described in
//! public reports: each with the options that it needs, and with commands and their results.

use scard::apdu::{Continuation, ExchangeOptions};
use scard_testkit::VirtualCard;
use scard_testkit::atr::{T0, T1};

use super::iso7816::CHAINS;
pub use cards::content;
use cards::*;

mod cards;

/// A card that answers one command after another.
pub type Answers<'a> = Box<dyn FnMut(&[u8]) -> Vec<u8> + Send + 'a>;

/// One card or reader, and how to talk to it.
pub struct Convention {
    pub name: &'static str,
    pub atr: &'static [u8],
    /// The options for the library.
    pub options: ExchangeOptions,
    /// The arguments for the example `transmit`.
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
                .max_command_data(54),
            arguments: &[
                "--with",
                "continuation=desfire",
                "--with",
                "max-command-data=54",
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
            name: "DESFire, written to frame by frame",
            atr: T1,
            options: usual(),
            arguments: &[],
            card: desfire_by_hand,
            script: vec![
                line("908D00000A010000000600 00AABBCC00", vec![], "91AF"),
                line("90AF000002DDEE00", vec![], "91AF"),
                line("90AF000001FF00", vec![], "9100"),
            ],
        },
        Convention {
            name: "DESFire, written to frame by frame, with its options",
            atr: T1,
            options: usual()
                .continuation(Continuation::Desfire)
                .max_command_data(54),
            arguments: &[
                "--with",
                "continuation=desfire",
                "--with",
                "max-command-data=54",
            ],
            card: desfire_by_hand,
            script: vec![
                line(&desfire_write(200), vec![], "9100"),
                line("908D00000A010000000600 00AABBCC00", vec![], "91AF"),
                line("90AF000002DDEE00", vec![], "91AF"),
                line("90AF000001FF00", vec![], "9100"),
            ],
        },
        Convention {
            name: "a contactless card in a reader that reports T=0",
            atr: T0,
            options: usual().ignore_t0(true),
            arguments: &["--with", "ignore-t0=yes"],
            card: contactless_t0,
            script: vec![
                line("00A4040002CAFE00", content(20), "9000"),
                line("9060000000", content(8), "9100"),
            ],
        },
        Convention {
            name: "SIM",
            atr: T0,
            options: usual(),
            arguments: &[],
            card: sim,
            script: vec![
                line("A0A40000023F00", content(22), "9000"),
                line("A0C2000003D10100", content(5), "9E05"),
            ],
        },
        Convention {
            name: "a GET RESPONSE of its own",
            atr: T1,
            options: usual().continuation(OWN),
            arguments: &["--with", "continuation=D0:12"],
            card: own_get_response,
            script: get("00CA000000"),
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
            name: "ENVELOPE over T=0, with an end",
            atr: T0,
            options: usual().envelope(true).envelope_end(true),
            arguments: &["--with", "envelope=yes", "--with", "envelope-end=yes"],
            card: envelope_with_end,
            script: vec![line(
                &with_body("00DB3FFF", 700, "0000"),
                content(700).into_iter().rev().collect(),
                "9000",
            )],
        },
        Convention {
            name: "a file that is longer than its command can say",
            atr: T1,
            options: usual().allow_incomplete(true),
            arguments: &["--with", "allow-incomplete=yes"],
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
