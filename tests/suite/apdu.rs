//! Commands and what they are in bytes; exchanges with cards that are functions.

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

/// A body that says where each byte belongs.
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
        bytes(&new().in_form(Form::Extended).unwrap()),
        "00CB3FFF",
        "no length, no form"
    );
    // Case 2, at the borders.
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
    let extended = new().expecting_all().in_form(Form::Extended).unwrap();
    assert_eq!(bytes(&extended), "00CB3FFF000000");
    let one = new().expecting(1).unwrap().in_form(Form::Extended);
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
    let extended = data(2).in_form(Form::Extended).unwrap();
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
    // In whichever order.
    let short = || new().in_form(Form::Short).unwrap();
    let long = new().with_data(body(256)).unwrap();
    for result in [
        short().with_data(body(256)),
        short().expecting(257),
        long.in_form(Form::Short),
    ] {
        assert!(matches!(result, Err(InvalidCommand::NotShort { .. })));
    }
    assert!(short().with_data(body(255)).unwrap().expecting(256).is_ok());
}

#[test]
fn what_is_wrong_with_bytes_is_said() {
    for (bytes, message) in [
        ("", "a command has at least four bytes, this one 0"),
        ("00A404", "a command has at least four bytes, this one 3"),
        (
            "FFCA0000",
            "class FF is invalid for a card; PC/SC's commands for the reader are made as such",
        ),
        (
            "00A404000200",
            "the length says 2 bytes of data, and 1 bytes follow",
        ),
        (
            "00A404000200010203",
            "the length says 2 bytes of data, and 4 bytes follow",
        ),
        (
            "00A404000000",
            "the extended length is cut off after its first byte",
        ),
        (
            "00A4040000000000",
            "the extended length says that there are no data, but more follows",
        ),
        (
            "00A404000000020001FF",
            "the length says 2 bytes of data, and 3 bytes follow",
        ),
        (
            "00A4040000000200",
            "the length says 2 bytes of data, and 1 bytes follow",
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
            0 => made.in_form(Form::Extended).unwrap(),
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
        // Zeroes are what lengths are made of.
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

/// Exchanges with a card that is a function, and gives what it was sent, too.
fn exchange(
    command: &Command,
    protocol: Option<Protocol>,
    options: &ExchangeOptions,
    mut card: impl FnMut(&[u8]) -> Vec<u8>,
) -> (Result<Response, ExchangeError>, Vec<Vec<u8>>) {
    let mut sent = Vec::new();
    let mut exchange = match Exchange::new(command, protocol, options) {
        Ok(exchange) => exchange,
        Err(error) => return (Err(error), sent),
    };
    loop {
        assert!(sent.len() < 2000, "it does not end");
        sent.push(exchange.command().to_vec());
        let answer = card(exchange.command());
        match exchange.answered(&answer) {
            Ok(Next::Send(next)) => exchange = next,
            Ok(Next::Done(response)) => return (Ok(response), sent),
            Err(error) => return (Err(error), sent),
        }
    }
}

/// A card that gives these answers one after the other.
fn script(answers: &[&str]) -> impl FnMut(&[u8]) -> Vec<u8> {
    let mut answers: Vec<Vec<u8>> = answers.iter().rev().map(|it| hex(it)).collect();
    move |_| answers.pop().expect("one command too many")
}

fn plain(command: &Command, answers: &[&str]) -> (Result<Response, ExchangeError>, Vec<String>) {
    let options = ExchangeOptions::new();
    let (result, sent) = exchange(command, Some(Protocol::T1), &options, script(answers));
    (result, sent.iter().map(hex::encode_upper).collect())
}

#[test]
fn the_rest_of_an_answer_is_fetched_in_the_same_class() {
    for (class, fetching) in [
        ("00", "00"),
        ("02", "02"),
        ("0C", "00"),
        ("65", "45"),
        ("A0", "A0"),
    ] {
        let select = command(&format!("{class}A4040002CAFE00"));
        let answers = ["AA6102", "BBCC6100", "DD9000"];
        let (response, sent) = plain(&select, &answers);
        let response = response.unwrap();
        assert_eq!(response.step(), Step::GetResponse { number: 2 });
        assert_eq!(response.ok().unwrap(), hex("AABBCCDD"));
        assert_eq!(
            sent[1..],
            [format!("{fetching}C0000002"), format!("{fetching}C0000000")]
        );
    }
    // Whatever ends it.
    let (response, _) = plain(&command("00B0000000"), &["AA6102", "BB6282"]);
    let response = response.unwrap();
    assert_eq!(response.status(), StatusWord::END_OF_FILE);
    assert_eq!(response.data(), [0xAA, 0xBB]);
    let (refused, _) = plain(&command("00B0000000"), &["AA6102", "6D00"]);
    assert_eq!(
        refused.unwrap_err().to_string(),
        "command 00 B0 00 00, GET RESPONSE 1 failed: the card announced the rest of the answer \
         (6102) and refused it: instruction not supported (6D00)"
    );
}

#[test]
fn a_wrong_le_is_corrected_once() {
    let (response, sent) = plain(&command("00B0000000"), &["6C02", "AABB9000"]);
    assert_eq!(response.unwrap().ok().unwrap(), [0xAA, 0xBB]);
    assert_eq!(sent, ["00B0000000", "00B0000002"]);
    // In the same form.
    let extended = command("00B00000000000");
    let (_, sent) = plain(&extended, &["6C02", "AABB9000"]);
    assert_eq!(sent, ["00B00000000000", "00B00000000002"]);
    // Of GET RESPONSE, too.
    let (response, sent) = plain(
        &command("00B0000000"),
        &["6104", "6C01", "AA6101", "6C02", "BBCC9000"],
    );
    assert_eq!(response.unwrap().ok().unwrap(), [0xAA, 0xBB, 0xCC]);
    assert_eq!(
        sent[1..],
        ["00C0000004", "00C0000001", "00C0000001", "00C0000002"]
    );
    // Not twice, and not without an Le.
    let (response, sent) = plain(&command("00B0000000"), &["6C02", "6C03"]);
    assert_eq!(response.unwrap().status(), StatusWord(0x6C03));
    assert_eq!(sent.len(), 2);
    let (response, sent) = plain(&command("00200081"), &["6C02"]);
    assert_eq!(response.unwrap().status(), StatusWord(0x6C02));
    assert_eq!(sent.len(), 1);
}

#[test]
fn the_last_part_of_a_chain_is_not_sent_twice() {
    let put = Command::new(0x00, 0xDB, 0x3F, 0xFF).unwrap();
    let put = put.with_data(body(600)).unwrap().expecting_all();
    let chains = ExchangeOptions::new().chaining(true);
    let answers = ["9000", "9000", "6C02"];
    let (response, sent) = exchange(&put, Some(Protocol::T1), &chains, script(&answers));
    let response = response.unwrap();
    assert_eq!(response.status(), StatusWord(0x6C02));
    assert_eq!(response.step(), Step::Part { number: 3, of: 3 });
    assert_eq!(sent.len(), 3);
    assert!(response.accept_warnings().is_err());
    // GET RESPONSE after a chain is a command of its own.
    let answers = ["9000", "9000", "6104", "6C01", "AA9000"];
    let (response, _) = exchange(&put, Some(Protocol::T1), &chains, script(&answers));
    assert_eq!(response.unwrap().ok().unwrap(), [0xAA]);
}

#[test]
fn t0_sends_no_le_with_a_body_and_gives_the_same() {
    let select = command("00A4040002CAFE00");
    let t0 = |sent: &[u8]| match sent {
        [0x00, 0xA4, 0x04, 0x00, 0x02, 0xCA, 0xFE] => hex("6104"),
        [0x00, 0xC0, 0x00, 0x00, 0x04] => hex("6F0200009000"),
        _ => hex("6700"),
    };
    let t1 = |sent: &[u8]| match sent {
        [0x00, 0xA4, 0x04, 0x00, 0x02, 0xCA, 0xFE, 0x00] => hex("6F0200009000"),
        _ => hex("6700"),
    };
    let options = ExchangeOptions::new();
    let over_t0 = exchange(&select, Some(Protocol::T0), &options, t0)
        .0
        .unwrap();
    let over_t1 = exchange(&select, Some(Protocol::T1), &options, t1)
        .0
        .unwrap();
    assert_eq!(over_t0.ok().unwrap(), over_t1.ok().unwrap());
    let unknown = exchange(&select, None, &options, t1).0.unwrap();
    assert!(unknown.ok().is_ok());
    // Without a body, nothing is left out.
    let read = command("00B0000010");
    let (_, sent) = exchange(&read, Some(Protocol::T0), &options, script(&["9000"]));
    assert_eq!(sent, [hex("00B0000010")]);
}

#[test]
fn long_bodies_are_chained_or_extended_or_refused() {
    let t1 = Some(Protocol::T1);
    let data = body(600);
    let put = Command::new(0x00, 0xDB, 0x3F, 0xFF).unwrap();
    let put = put.with_data(data.clone()).unwrap().expecting_all();
    let chains = ExchangeOptions::new().chaining(true);
    let ok = |_: &[u8]| hex("9000");

    let (response, sent) = exchange(&put, t1, &chains, ok);
    assert_eq!(response.unwrap().step(), Step::Part { number: 3, of: 3 });
    assert_eq!(sent.len(), 3);
    assert_eq!(sent[0][..5], hex("10DB3FFFFF"));
    assert_eq!(sent[1][..5], hex("10DB3FFFFF"));
    assert_eq!(sent[2][..5], hex("00DB3FFF5A"));
    assert_eq!(sent[2].last(), Some(&0x00), "Le comes last");
    let joined: Vec<u8> = sent.iter().flat_map(|it| &it[5..]).copied().collect();
    assert_eq!(joined[..600], data);
    assert_eq!(joined.len(), 601);

    let extends = chains.extended_length(true);
    let (_, sent) = exchange(&put, t1, &extends, ok);
    assert_eq!(sent, [put.to_bytes().to_vec()]);

    let refused = |command: &Command, options: ExchangeOptions, why: TooLong| {
        let (error, sent) = exchange(command, t1, &options, ok);
        let error = error.unwrap_err();
        assert!(
            matches!(error, ExchangeError::TooLong { why: it, .. } if it == why),
            "{error}"
        );
        assert!(!error.command_may_have_run());
        assert!(sent.is_empty());
    };
    refused(&put, ExchangeOptions::new(), TooLong::NoWay);
    let chained_already = Command::new(0x10, 0xDB, 0, 0).unwrap();
    let chained_already = chained_already.with_data(data.clone()).unwrap();
    refused(&chained_already, chains, TooLong::NoChaining);

    // One that was made extended is sent so.
    let forced = put.clone().in_form(Form::Extended).unwrap();
    let (_, sent) = exchange(&forced, Some(Protocol::T0), &ExchangeOptions::new(), ok);
    assert_eq!(sent, [forced.to_bytes().to_vec()]);

    // The borders.
    for (len, parts) in [(255, 1), (256, 2), (510, 2), (511, 3), (65_535, 257)] {
        let put = Command::new(0x00, 0xDB, 0x3F, 0xFF).unwrap();
        let put = put.with_data(body(len)).unwrap();
        let (response, sent) = exchange(&put, t1, &chains, ok);
        assert!(response.unwrap().ok().is_ok());
        assert_eq!(sent.len(), parts, "{len}");
        let joined: Vec<u8> = sent.iter().flat_map(|it| &it[5..]).copied().collect();
        assert_eq!(joined, body(len));
    }
}

#[test]
fn a_long_answer_is_asked_for_as_far_as_short_lengths_go() {
    let read = Command::new(0x00, 0xB0, 0, 0)
        .unwrap()
        .expecting(300)
        .unwrap();
    let (response, sent) = plain(&read, &["AA6101", "BB9000"]);
    assert_eq!(response.unwrap().ok().unwrap(), [0xAA, 0xBB]);
    assert_eq!(sent[0], "00B0000000");
}

#[test]
fn a_chain_that_the_card_ends_did_not_succeed() {
    let put = Command::new(0x00, 0xDB, 0x3F, 0xFF).unwrap();
    let put = put.with_data(body(600)).unwrap();
    let chains = ExchangeOptions::new().chaining(true);
    for (answers, status) in [
        (&["6884"][..], 0x6884),
        (&["9000", "6A80"], 0x6A80),
        (&["9000", "6110"], 0x6110),
        (&["6C05"], 0x6C05),
        (&["6300"], 0x6300),
    ] {
        let (response, sent) = exchange(&put, None, &chains, script(answers));
        let response = response.unwrap();
        let step = Step::Part {
            number: answers.len() as u32,
            of: 3,
        };
        assert_eq!((response.step(), response.status().raw()), (step, status));
        assert_eq!(sent.len(), answers.len());
        assert!(response.clone().accept_warnings().is_err());
        let error = response.accept(|_| true).unwrap_err();
        assert!(
            error
                .to_string()
                .contains(&format!(", part {} of 3 failed: ", answers.len()))
        );
    }
}

#[test]
fn hostile_cards_come_to_an_end() {
    let read = command("00B0000000");
    let options = ExchangeOptions::new();
    let run = |options: &ExchangeOptions, card: &dyn Fn(&[u8]) -> Vec<u8>| {
        let (result, sent) = exchange(&read, None, options, card);
        let error = result.unwrap_err();
        assert!(error.command_may_have_run());
        match error {
            ExchangeError::Answer { problem, .. } => (problem, sent.len()),
            error => panic!("{error}"),
        }
    };
    let too_many = AnswerProblem::TooManyRounds { max: 512 };
    assert_eq!(run(&options, &|_| hex("6100")), (too_many, 513));
    assert_eq!(run(&options, &|_| hex("AA61FF")), (too_many, 513));
    // Correcting the Le of every GET RESPONSE is a round, too.
    let mean = |sent: &[u8]| match sent {
        [_, 0xC0, _, _, 0x00] => hex("6C01"),
        _ => hex("AA6100"),
    };
    assert_eq!(run(&options, &mean), (too_many, 513));
    let few = options.max_rounds(0);
    let none = AnswerProblem::TooManyRounds { max: 0 };
    assert_eq!(run(&few, &|_| hex("6101")), (none, 1));
    assert_eq!(run(&few, &|_| hex("6C01")), (none, 1));

    let large = |_: &[u8]| [body(65_000), hex("6100")].concat();
    let too_much = AnswerProblem::TooMuchData { max: 131_072 };
    assert_eq!(run(&options, &large), (too_much, 3));
    let small = options.max_size(3);
    let too_much = AnswerProblem::TooMuchData { max: 3 };
    assert_eq!(run(&small, &|_| hex("AABBCCDD9000")), (too_much, 1));

    assert_eq!(
        run(&options, &|_| vec![]),
        (AnswerProblem::NoStatusWord { len: 0 }, 1)
    );
    assert_eq!(
        run(&options, &|_| vec![0x90]),
        (AnswerProblem::NoStatusWord { len: 1 }, 1)
    );
    let cut_off = |sent: &[u8]| match sent {
        [_, 0xC0, ..] => vec![0x61],
        _ => hex("6110"),
    };
    assert_eq!(
        run(&options, &cut_off),
        (AnswerProblem::NoStatusWord { len: 1 }, 2)
    );
    // More than was asked for is no reason to lose it.
    let (response, _) = exchange(&command("00B0000001"), None, &options, |_| hex("AABB9000"));
    assert_eq!(response.unwrap().ok().unwrap(), [0xAA, 0xBB]);
}

/// Cards that say anything, over every kind of command.
#[test]
fn no_card_makes_it_panic_or_go_on_for_ever() {
    let mut random = Random::new(816);
    for round in 0..3000 {
        let len = [0, 1, 255, 256, 700][random.below(5) as usize];
        let new = Command::new(random.below(255) as u8, 0xCB, 0, 0).unwrap();
        let new = new.with_data(body(len)).unwrap();
        let new = match random.below(3) {
            0 => new.expecting_all(),
            1 => new.expecting(1 + random.below(65_536) as u32).unwrap(),
            _ => new,
        };
        let mut options = ExchangeOptions::new().max_rounds(20).max_size(2000);
        if random.one_in(2) {
            options = options.chaining(true);
        }
        if random.one_in(3) {
            options = options.extended_length(random.one_in(2));
        }
        let protocol = [None, Some(Protocol::T0), Some(Protocol::T1)][round % 3];
        let (result, sent) = exchange(&new, protocol, &options, |_| {
            let len = [0, 1, 2, 2, 2, 5, 258][random.below(7) as usize];
            let mut answer: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
            if let [.., sw1, _] = answer.as_mut_slice() {
                *sw1 = [0x61, 0x6C, 0x90, 0x61, 0x6A][random.below(5) as usize];
            }
            if let ([.., 0x90, sw2], false) = (answer.as_mut_slice(), random.one_in(3)) {
                *sw2 = 0;
            }
            answer
        });
        assert!(sent.len() <= 3 + 20, "{}", sent.len());
        assert!(sent.iter().all(|it| Command::parse(it).is_ok()), "{new}");
        if let Ok(response) = result {
            assert!(response.data().len() <= 2000);
        }
    }
}
