//! Commands and their bytes.

mod exchanging;

use scard::Protocol;
use scard::apdu::{
    AnswerProblem, Command, Exchange, ExchangeError, ExchangeOptions, Expected, Form,
    InvalidCommand, Next, Response, StatusWord, Step, TooLong,
};

use crate::support::random::Random;

fn hex(text: &str) -> Vec<u8> {
    hex::decode(text.replace(' ', "")).unwrap()
}

fn command(header: &str) -> Command {
    Command::parse(&hex(header)).unwrap()
}

/// A body that shows where each byte belongs.
fn body(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}

#[test]
fn the_four_cases_short_and_extended() {
    let new = || Command::new(0x00, 0xCB, 0x3F, 0xFF).unwrap();
    let bytes = |command: &Command| hex::encode_upper(&*command.to_bytes());
    let data = |len| new().with_data(body(len)).unwrap();

    // Case 1.
    assert_eq!(bytes(&new()), "00CB3FFF");
    assert_eq!(
        bytes(&new().with_form(Form::Extended).unwrap()),
        "00CB3FFF",
        "no length, no form"
    );
    // Case 2, at the limits.
    for (expected, le) in [
        (1, "01"),
        (255, "FF"),
        (256, "00"),
        (257, "000101"),
        (65_535, "00FFFF"),
        (65_536, "000000"),
    ] {
        let it = new().expecting(expected).unwrap();
        assert_eq!(bytes(&it), format!("00CB3FFF{le}"), "{expected}");
        assert_eq!(it.is_extended(), expected > 256);
    }
    assert_eq!(bytes(&new().expecting_all()), "00CB3FFF00");
    let extended = new().expecting_all().with_form(Form::Extended).unwrap();
    assert_eq!(bytes(&extended), "00CB3FFF000000");
    let one = new().expecting(1).unwrap().with_form(Form::Extended);
    assert_eq!(bytes(&one.unwrap()), "00CB3FFF000001");
    // Case 3.
    for (len, lc) in [
        (1, "01"),
        (255, "FF"),
        (256, "000100"),
        (257, "000101"),
        (65_535, "00FFFF"),
    ] {
        let expected = format!("00CB3FFF{lc}{}", hex::encode_upper(body(len)));
        assert_eq!(bytes(&data(len)), expected, "{len}");
        assert_eq!(data(len).is_extended(), len > 255);
    }
    let extended = data(2).with_form(Form::Extended).unwrap();
    assert_eq!(bytes(&extended), "00CB3FFF0000020001");
    // Case 4: both lengths have the same form.
    assert_eq!(bytes(&data(2).expecting_all()), "00CB3FFF02000100");
    assert_eq!(bytes(&data(2).expecting(256).unwrap()), "00CB3FFF02000100");
    assert_eq!(
        bytes(&data(2).expecting(257).unwrap()),
        "00CB3FFF00000200010101"
    );
    let long = bytes(&data(256).expecting(256).unwrap());
    assert!(long.starts_with("00CB3FFF00010000") && long.ends_with("0100"));
    let long = bytes(&data(256).expecting_all());
    assert!(long.ends_with("0000"), "as much as there is");
    assert_eq!(data(65_535).expecting_all().to_bytes().len(), 65_544);
}

#[test]
fn invalid_commands_cannot_be_made() {
    let new = || Command::new(0x00, 0xCB, 0x3F, 0xFF).unwrap();
    assert_eq!(
        Command::new(0xFF, 0xCA, 0, 0).unwrap_err(),
        InvalidCommand::Class
    );
    assert_eq!(
        new().with_data(body(65_536)).unwrap_err(),
        InvalidCommand::DataTooLong { len: 65_536 }
    );
    assert_eq!(
        new().expecting(65_537).unwrap_err(),
        InvalidCommand::ExpectedTooLong { len: 65_537 }
    );
    // In any order.
    let short = || new().with_form(Form::Short).unwrap();
    let long = new().with_data(body(256)).unwrap();
    for result in [
        short().with_data(body(256)),
        short().expecting(257),
        long.with_form(Form::Short),
    ] {
        assert!(matches!(result, Err(InvalidCommand::NotShort { .. })));
    }
    assert!(short().with_data(body(255)).unwrap().expecting(256).is_ok());
}

#[test]
fn what_is_wrong_with_bytes_is_said() {
    for (bytes, message) in [
        ("", "a command has at least four bytes, this one has 0"),
        (
            "00A404",
            "a command has at least four bytes, this one has 3",
        ),
        (
            "FFCA0000",
            "class FF is invalid for a card; use Command::pseudo for commands to the reader",
        ),
        (
            "00A404000200",
            "the length field says 2 bytes of data, but 1 follow",
        ),
        (
            "00A404000200010203",
            "the length field says 2 bytes of data, but 4 follow",
        ),
        (
            "00A404000000",
            "the extended length is truncated after its first byte",
        ),
        (
            "00A4040000000000",
            "the extended length is zero, but data follows",
        ),
        (
            "00A404000000020001FF",
            "the length field says 2 bytes of data, but 3 follow",
        ),
        (
            "00A4040000000200",
            "the length field says 2 bytes of data, but 1 follow",
        ),
    ] {
        let error = Command::parse(&hex(bytes)).unwrap_err();
        assert_eq!(error.to_string(), message, "{bytes}");
    }
    assert!(Command::parse_pseudo(&hex("FFCA000000")).is_ok());
}

#[test]
fn commands_survive_the_way_to_bytes_and_back() {
    let mut random = Random::new(7816);
    let lengths = [0, 1, 2, 254, 255, 256, 257, 1000, 65_534, 65_535];
    for _ in 0..3000 {
        let one = |random: &mut Random| random.next() as u8;
        let (class, instruction) = (one(&mut random), one(&mut random));
        let Ok(new) = Command::new(class, instruction, one(&mut random), one(&mut random)) else {
            continue;
        };
        let len = lengths[random.below(lengths.len() as u64) as usize];
        let made = new.with_data(body(len)).unwrap();
        let made = match random.below(3) {
            0 => made,
            1 => made.expecting(1 + random.below(65_536) as u32).unwrap(),
            _ => made.expecting_all(),
        };
        let made = match random.below(3) {
            0 => made.with_form(Form::Extended).unwrap(),
            _ => made,
        };
        let bytes = made.to_bytes();
        let read = Command::parse(&bytes).unwrap();
        assert_eq!(*read.to_bytes(), *bytes);
        assert_eq!(read.header(), made.header());
        assert_eq!(read.data(), made.data());
        let most = if made.is_extended() { 65_536 } else { 256 };
        let read_as = match made.expected() {
            Expected::Exactly(number) if number == most => Expected::All,
            expected => expected,
        };
        assert_eq!(read.expected(), read_as);
        let mut appended = vec![0xAA];
        made.encode_into(&mut appended);
        assert_eq!(appended[1..], **bytes);
    }
}

#[test]
fn any_bytes_are_a_command_or_an_error() {
    let mut random = Random::new(4);
    for _ in 0..200_000 {
        let len = random.below(14) as usize;
        // Zeros may look like lengths.
        let byte = |random: &mut Random| match random.one_in(2) {
            true => random.below(4) as u8,
            false => random.next() as u8,
        };
        let bytes: Vec<u8> = (0..len).map(|_| byte(&mut random)).collect();
        if let Ok(read) = Command::parse_pseudo(&bytes) {
            assert_eq!(*read.to_bytes(), bytes);
        }
    }
}

#[test]
fn secret_bodies_are_not_printed() {
    let shown = command("00A4040002CAFE");
    assert_eq!(shown.to_string(), "00 A4 04 00, 2 bytes");
    assert_eq!(format!("{shown:?}"), "Command(00 A4 04 00, 2 bytes)");
    assert_eq!(
        format!("{shown:#?}"),
        "Command(00 A4 04 00, 2 bytes: CA FE)"
    );
    let hidden = "Command(00 A4 04 00, 2 bytes: secret)";
    assert_eq!(format!("{:#?}", shown.sensitive()), hidden);
    for instruction in [0x20, 0x21, 0x24, 0x25, 0x26, 0x28, 0x2C, 0x2D, 0xC2] {
        for class in [0x00, 0x0C, 0x41, 0x80, 0xFF] {
            let bytes = [class, instruction, 0, 0x81, 2, 0xCA, 0xFE];
            let secret = Command::parse_pseudo(&bytes).unwrap();
            assert!(secret.is_secret());
            let printed = format!("{secret} {secret:?} {secret:#?}");
            assert!(!printed.contains("CA FE"), "{printed}");
        }
    }
    assert!(
        Command::parse_pseudo(&hex("FF82000002CAFE"))
            .unwrap()
            .is_secret()
    );
    assert!(!command("0082000002CAFE").is_secret());
    let verify = command("0020008100").expecting_all();
    assert_eq!(verify.to_string(), "00 20 00 81, expecting all");
    assert_eq!(
        command("00B0000010").to_string(),
        "00 B0 00 00, expecting 16"
    );

    let response = Response::parse(&hex("CAFE9000")).unwrap();
    assert_eq!(
        format!("{response:?}"),
        "Response(2 bytes, StatusWord(SUCCESS, 9000))"
    );
    assert!(format!("{response:#?}").contains("CA FE"));
}

#[test]
fn commands_move_to_channels_and_say_theirs() {
    let select = command("00A40400");
    for (channel, class) in [(0, 0x00), (3, 0x03), (4, 0x40), (19, 0x4F)] {
        let moved = select.clone().on_channel(channel).unwrap();
        assert_eq!(moved.header().class, class);
        assert_eq!(moved.channel(), Some(channel));
    }
    assert_eq!(
        select.on_channel(20).unwrap_err().to_string(),
        "class 00 cannot be moved to logical channel 20"
    );
    assert!(command("A0A40000").on_channel(1).is_err());
    assert_eq!(*Command::open_channel().to_bytes(), hex("0070000001"));
    assert_eq!(*Command::close_channel(5).to_bytes(), hex("00708005"));
}

#[test]
fn responses_are_what_the_caller_accepts() {
    let of = |answer: &str| Response::parse(&hex(answer)).unwrap();
    assert_eq!(of("01029000").ok().unwrap(), [1, 2]);
    for refused in ["6282", "63C2", "6110", "6A82", "9100", "0000", "FFFF"] {
        let error = of(refused).ok().unwrap_err();
        assert_eq!(
            error.status().raw(),
            u16::from_be_bytes(hex(refused).try_into().unwrap())
        );
    }
    assert_eq!(of("016282").accept_warnings().unwrap().data(), [1]);
    assert!(of("63C0").accept_warnings().is_ok());
    for refused in ["6110", "6400", "6A82", "9100"] {
        assert!(of(refused).accept_warnings().is_err());
    }
    let more = |status: StatusWord| status.sw1() == 0x91;
    assert_eq!(of("0191AF").accept(more).unwrap().into_data(), [1]);
    assert_eq!(
        of("6A82").ok().unwrap_err().to_string(),
        "the command failed: file or application not found (6A82)"
    );
    for (answer, len) in [("", 0), ("90", 1)] {
        let problem = Response::parse(&hex(answer)).unwrap_err();
        assert_eq!(problem, AnswerProblem::NoStatusWord { len });
    }
}
