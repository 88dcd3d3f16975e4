//! How long commands reach the card, and what is refused.

use scard_testkit::{Driver, IfdError, Sandbox};

use super::*;
use crate::support::iso7816::{EXTENDS, Iso7816, get, put};

#[test]
fn odd_instructions_are_refused_where_they_cannot_work() {
    let options = ExchangeOptions::new();
    for instruction in 0..=0xFF_u8 {
        let command = Command::new(0x80, instruction, 0, 0).unwrap();
        let over = |protocol, options: &_| Exchange::new(&command, protocol, options).map(drop);
        let (t0, t1) = (Some(Protocol::T0), Some(Protocol::T1));
        assert!(over(t1, &options).is_ok() && over(None, &options).is_ok());
        assert!(over(t0, &options.any_instruction(true)).is_ok());
        let refused = matches!(instruction >> 4, 6 | 9);
        match over(t0, &options) {
            Ok(()) => assert!(!refused, "{instruction:02X}"),
            Err(error) => {
                assert!(refused, "{instruction:02X}");
                assert!(!error.command_may_have_run());
                let why = error.to_string();
                assert!(why.contains("ExchangeOptions::any_instruction"), "{why}");
            }
        }
        let pseudo = Command::pseudo(instruction, 0, 0);
        assert!(Exchange::new(&pseudo, t0, &options).is_ok());
    }
}

/// A reader that reports how much data it accepts in one command, with a card that supports
/// extended length.
fn reader_of(max: u32) -> Fixture {
    let sandbox = Sandbox::builder().driver(Driver::Kit).readers(2);
    let card = Iso7816::keeping(EXTENDS, vec![]);
    let fixture = Fixture::of(sandbox.card(0, card).start().unwrap());
    let control = move |code, _: &[u8]| match code {
        0x4200_0D48 => Ok(hex("120442330012")),
        0x4233_0012 => Ok([&[0x0A, 4], &max.to_le_bytes()[..]].concat()),
        _ => Err(IfdError::NOT_SUPPORTED),
    };
    fixture.sandbox.reader(0).on_control(control).unwrap();
    fixture
}

#[test]
fn the_reader_is_asked_before_a_long_command() {
    for (max, is_sent) in [
        (65_536, true),
        (300, true),
        (299, false),
        (256, false),
        (0, false),
    ] {
        isolated(|| {
            let fixture = reader_of(max);
            let mut card = fixture.connect();
            let put = put(&content(300));
            let controls = || fixture.sandbox.reader(0).control_log().unwrap().len();
            let (before, commands) = (controls(), fixture.card.log().len());
            match card.exchange(&put) {
                Ok(response) => assert!(is_sent && response.ok().is_ok()),
                Err(error) => assert!(!is_sent && matches!(error, ExchangeError::TooLong { .. })),
            }
            assert_eq!(fixture.card.log().len() - commands, usize::from(is_sent));
            assert_eq!(controls() - before, 2);
            // Not queried for commands that do not depend on it.
            let before = controls();
            let _ = card.exchange(&get());
            let told = ExchangeOptions::new().reader_max_data(max);
            let _ = card.exchange_with(&put, &told);
            assert_eq!(controls(), before);

            // A query of the reader is not a command of a session's work.
            let mut session = Session::builder(&fixture.context).open().unwrap();
            let run = session.run(|card| {
                let done = card.exchange(&put).is_ok();
                assert_eq!(card.completed(), usize::from(done));
                Ok::<_, scard::Error>(())
            });
            run.unwrap();
        });
    }
}

#[test]
fn parts_are_as_long_as_card_and_reader_take_them() {
    let put = command("00DB3FFF00").expecting(0).unwrap();
    for (size, len) in [
        (240, 700),
        (250, 250),
        (252, 253),
        (1, 3),
        (0, 3),
        (59, 255),
    ] {
        let put = put.clone().with_data(content(len)).unwrap();
        for (options, size) in [
            (ExchangeOptions::new().max_command_data(size), size.max(1)),
            // A reader that reports 0 accepts only short commands.
            (
                ExchangeOptions::new().reader_max_data(size),
                if size == 0 { 255 } else { size },
            ),
        ] {
            let mut card: Answers<'_> = Box::new(|_| hex("9000"));
            let (response, sent) = exchange(&put, false, &options.chaining(true), &mut card);
            response.unwrap().ok().unwrap();
            let pieces: Vec<Vec<u8>> = sent.iter().map(|it| hex(&it[10..])).collect();
            assert_eq!(pieces.concat(), content(len));
            assert_eq!(pieces.len(), len.div_ceil(size as usize));
            assert!(pieces.iter().all(|it| it.len() <= size as usize));
        }
    }
    // Class 90 may belong to another card than DESFire, which must not get a part as if it were the
    // whole.
    let write = command("908D000000").with_data(content(300)).unwrap();
    let refused = Exchange::new(&write, None, &ExchangeOptions::new());
    assert!(matches!(refused, Err(ExchangeError::TooLong { .. })));
    // No extended length if the caller's limit is lower.
    let long = put.with_data(content(400)).unwrap();
    let options = ExchangeOptions::new().extended_length(true).chaining(true);
    let mut card: Answers<'_> = Box::new(|_| hex("9000"));
    let (_, sent) = exchange(&long, false, &options, &mut card);
    assert_eq!(sent.len(), 1);
    let (_, sent) = exchange(&long, false, &options.max_command_data(300), &mut card);
    assert_eq!(sent.len(), 2);
}

#[test]
fn no_more_is_asked_for_than_the_reader_takes() {
    let options = ExchangeOptions::new().max_answer_data(240);
    for (text, first) in [
        ("00B0000000", "00B00000F0"),
        ("00B00000F1", "00B00000F0"),
        ("00B0000010", "00B0000010"),
        ("00A4040001AA00", "00A4040001AAF0"),
    ] {
        let (_, sent) = exchange(&command(text), false, &options, &mut script(&["AA9000"]));
        assert_eq!(sent, [first]);
    }
    let mut card = script(&["6100", "AA61FF", "BB9000"]);
    let (_, sent) = exchange(&command("00B0000000"), true, &options, &mut card);
    assert_eq!(sent[1..], ["00C00000F0", "00C00000F0"]);
    // Over T=0 Le is left out, and the data held back is requested with it.
    let mut card = script(&["6283", "AA9000"]);
    let (_, sent) = exchange(&command("00A4040001AA00"), true, &options, &mut card);
    assert_eq!(sent, ["00A4040001AA", "00C00000F0"]);
    // An extended one is shortened, too.
    let extended = options.extended_length(true);
    let mut card = script(&["AA9000"]);
    let (_, sent) = exchange(&command("00B0000000012C"), false, &extended, &mut card);
    assert_eq!(sent, ["00B000000000F0"]);
}

#[test]
fn nobody_gets_less_than_was_expected_without_a_word() {
    let full = hex::encode(content(256));
    let read = command("00B0000000012C");
    let run = |options: ExchangeOptions, answers: &[&str]| {
        exchange(&read, false, &options, &mut script(answers)).0
    };
    let usual = ExchangeOptions::new();
    let silent = format!("{full}9000");
    let error = run(usual, &[&silent]).unwrap_err();
    let problem = AnswerProblem::PossiblyIncomplete {
        requested: 256,
        expected: 300,
    };
    assert!(
        matches!(error, ExchangeError::Answer { problem: it, .. } if it == problem),
        "{error}"
    );
    let says = error.to_string();
    assert!(says.contains("ExchangeOptions::extended_length"), "{says}");
    let response = run(usual.allow_incomplete(true), &[&silent]).unwrap();
    assert_eq!(response.requested_len(), Some(256));
    assert_eq!(response.data().len(), 256);
    // What the card announces is fetched.
    let announced = format!("{full}612C");
    let rest = format!("{}9000", hex::encode(content(44)));
    let response = run(usual, &[&announced, &rest]).unwrap();
    assert_eq!(
        (response.requested_len(), response.data().len()),
        (None, 300)
    );
    // A card that returns less than requested has no more.
    let response = run(usual, &["AA9000"]).unwrap();
    assert_eq!((response.requested_len(), response.data().len()), (None, 1));
    let response = run(usual, &["6C02", "AABB9000"]).unwrap();
    assert_eq!((response.requested_len(), response.data().len()), (None, 2));
    // A failure is not a truncated answer.
    assert_eq!(run(usual, &["6A82"]).unwrap().requested_len(), None);
    let announced = "ExchangeOptions::extended_length, max_answer_data and allow_incomplete";
    assert!(says.contains(announced), "{says}");
    // `All` means as much as one command can request.
    let read = command("00B0000000");
    let (response, _) = exchange(&read, false, &usual, &mut script(&[&silent]));
    assert_eq!(response.unwrap().requested_len(), None);
    let extended = read.clone().with_form(Form::Extended).unwrap();
    let fewer = usual.max_answer_data(300);
    let silent = format!("{}9000", hex::encode(content(300)));
    let (response, sent) = exchange(&extended, false, &fewer, &mut script(&[&silent]));
    assert_eq!(sent, ["00B0000000012C"]);
    assert_eq!(response.unwrap().requested_len(), Some(300));
    let fewer = usual.max_answer_data(2);
    let (response, _) = exchange(&read, false, &fewer, &mut script(&["AABB9000"]));
    assert_eq!(response.unwrap().requested_len(), Some(2));
}

/// GET RESPONSE does not get around it.
#[test]
fn nobody_gets_less_by_get_response_without_a_word() {
    let answer = |len, status: &str| format!("{}{status}", hex::encode(content(len)));
    let less = |requested, expected| AnswerProblem::PossiblyIncomplete {
        requested,
        expected,
    };
    let run = |text: &str, is_t0, options: ExchangeOptions, answers: &[&str]| {
        exchange(&command(text), is_t0, &options, &mut script(answers))
    };
    let usual = ExchangeOptions::new();
    let limited = usual.max_answer_data(240);
    let select = |le| format!("00A4040001AA{le}");
    let (full, rest) = (answer(240, "9000"), answer(10, "9000"));

    // The reader's limit cuts off a part of the announced data, and the card does not announce the
    // rest again.
    for (text, status) in [("00A4040001AAFA", "61FA"), ("A0A4000001AAFA", "9FFA")] {
        let (result, sent) = run(text, true, limited, &[status, &full]);
        assert!(sent[1].ends_with("C00000F0"), "{}", sent[1]);
        let error = result.unwrap_err();
        assert!(
            matches!(error, ExchangeError::Answer { problem, .. } if problem == less(240, 250)),
            "{error}"
        );
        let (result, _) = run(text, true, limited.allow_incomplete(true), &[status, &full]);
        let response = result.unwrap();
        assert_eq!(
            (response.requested_len(), response.data().len()),
            (Some(240), 240)
        );
        // The card announces the rest again.
        let (result, sent) = run(text, true, limited, &[status, &answer(240, "610A"), &rest]);
        let response = result.unwrap();
        assert_eq!(
            (response.requested_len(), response.data().len()),
            (None, 250)
        );
        assert!(sent[2].ends_with("C000000A"), "{}", sent[2]);
    }
    let (result, _) = run(&select("00"), true, limited, &["61FA", &full]);
    assert_eq!(result.unwrap().requested_len(), Some(240));
    // The command got what it expected, although there was more.
    let (result, _) = run(&select("10"), true, limited, &["61FA", &full]);
    assert_eq!(result.unwrap().requested_len(), Some(240));
    // Earlier requests count.
    let answers = &[&answer(100, "61FA")[..], &full];
    let (result, _) = run("00B0000000015E", false, limited, answers);
    let error = result.unwrap_err();
    assert!(
        matches!(error, ExchangeError::Answer { problem, .. } if problem == less(340, 350)),
        "{error}"
    );

    // Short lengths cut off the data of a warning.
    let long = "00A40400000001AA012C";
    let (result, sent) = run(long, true, usual, &["6283", &answer(256, "9000")]);
    assert_eq!(sent[1], "00C0000000");
    let error = result.unwrap_err();
    assert!(
        matches!(error, ExchangeError::Answer { problem, .. } if problem == less(256, 300)),
        "{error}"
    );
    let (result, _) = run(long, true, usual, &["6283", &answer(255, "9000")]);
    assert_eq!(result.unwrap().requested_len(), None);
    let answers = ["6283", &answer(256, "612C"), &answer(44, "9000")];
    let response = run(long, true, usual, &answers).0.unwrap();
    assert_eq!(
        (response.requested_len(), response.data().len()),
        (None, 300)
    );
    // 6100 says that there is at least as much.
    let (result, _) = run(long, true, usual, &["6100", &answer(256, "9000")]);
    let error = result.unwrap_err();
    assert!(
        matches!(error, ExchangeError::Answer { problem, .. } if problem == less(256, 300)),
        "{error}"
    );
    let answers = ["6100", &answer(256, "612C"), &answer(44, "9000")];
    let response = run(long, true, usual, &answers).0.unwrap();
    assert_eq!(
        (response.requested_len(), response.data().len()),
        (None, 300)
    );
    // With a number, it says what there is.
    let (result, _) = run(long, true, usual, &["61FF", &answer(255, "9000")]);
    assert_eq!(result.unwrap().requested_len(), None);
}

#[test]
fn another_le_is_limited_as_the_first_is() {
    let options = ExchangeOptions::new().max_answer_data(240);
    let run = |text: &str, answers: &[&str]| {
        exchange(&command(text), false, &options, &mut script(answers))
    };
    let answer = |len, status: &str| format!("{}{status}", hex::encode(content(len)));
    // The card has less.
    let (result, sent) = run("00B0000000", &["6C80", &answer(128, "9000")]);
    assert_eq!(sent, ["00B00000F0", "00B0000080"]);
    assert_eq!(result.unwrap().requested_len(), None);
    // It has more, and insists: no other request is left.
    let (result, sent) = run("00B0000000", &["6CFA"]);
    assert_eq!(sent, ["00B00000F0"]);
    assert_eq!(result.unwrap().status(), StatusWord(0x6CFA));
    // It has more than the limit, but the command requested less than that.
    let full = answer(240, "9000");
    let (result, sent) = run("00B0000010", &["6CFA", &full]);
    assert_eq!(sent, ["00B0000010", "00B00000F0"]);
    assert_eq!(result.unwrap().requested_len(), Some(240));
    let (result, sent) = run("00CA000000", &["6110", "6CFA", &full]);
    assert_eq!(sent[1..], ["00C0000010", "00C00000F0"]);
    assert_eq!(result.unwrap().requested_len(), Some(240));
    // Nor is a command repeated with the refused Le.
    let (result, sent) = exchange(
        &command("00B0000000"),
        false,
        &ExchangeOptions::new(),
        &mut script(&["6C00"]),
    );
    assert_eq!(sent, ["00B0000000"]);
    assert_eq!(result.unwrap().status(), StatusWord(0x6C00));
    // Without the limit, the card gets the Le that it wants.
    let unlimited = ExchangeOptions::new();
    let mut card = script(&["6CFA", &full]);
    let (result, sent) = exchange(&command("00B0000000"), false, &unlimited, &mut card);
    assert_eq!(sent[1], "00B00000FA");
    assert_eq!(result.unwrap().requested_len(), None);
}

#[test]
fn envelopes_come_before_extended_lengths_over_t0() {
    let put = command("00DB3FFF00").with_data(content(300)).unwrap();
    let options = ExchangeOptions::new().envelope(true).extended_length(true);
    let first = |protocol| {
        let exchange = Exchange::new(&put, Some(protocol), &options).unwrap();
        hex::encode_upper(&exchange.command()[..7])
    };
    assert_eq!(first(Protocol::T0), "00C20000FF00DB");
    assert_eq!(first(Protocol::T1), "00DB3FFF00012C");
    // A command that is already extended is sent as it is.
    let extended = put.clone().with_form(Form::Extended).unwrap();
    let exchange = Exchange::new(&extended, Some(Protocol::T0), &options).unwrap();
    assert_eq!(exchange.command()[..4], hex("00DB3FFF"));
    // The end is sent once all data is accepted.
    let (_, sent) = exchange_t0(&put, options.envelope_end(true), &["9000", "9000", "9000"]);
    assert_eq!(sent.len(), 3);
    assert_eq!(sent[2], "00C20000");
}

fn exchange_t0(
    command: &Command,
    options: ExchangeOptions,
    answers: &[&str],
) -> (Result<Response, ExchangeError>, Vec<String>) {
    exchange(command, true, &options, &mut script(answers))
}

#[test]
fn a_refused_envelope_is_not_the_answer_of_the_command() {
    let put = command("00DB3FFF00").with_data(content(600)).unwrap();
    let options = ExchangeOptions::new().envelope(true);
    let (response, sent) = exchange(&put, true, &options, &mut script(&["6D00"]));
    let first = &sent[0];
    assert!(first.starts_with("00C20000FF00DB3FFF000258"), "{first}");
    let response = response.unwrap();
    assert_eq!(
        response.step(),
        Step::Part {
            number: 1,
            total: 3
        }
    );
    assert!(response.accept(|_| true).is_err());
    // Over another protocol it is not needed.
    assert!(Exchange::new(&put, Some(Protocol::T1), &options).is_err());
    let error = Exchange::new(&put, Some(Protocol::T0), &ExchangeOptions::new()).unwrap_err();
    let says = error.to_string();
    assert!(says.contains("chaining and envelope"), "{says}");
}

#[test]
fn only_wrapped_commands_go_in_frames_and_none_for_the_reader_in_parts() {
    let options = ExchangeOptions::new()
        .continuation(Continuation::Desfire)
        .max_command_data(54);
    let refused = |command: &Command, is_t0, options: &ExchangeOptions| {
        let (result, sent) = exchange(command, is_t0, options, &mut script(&[]));
        assert!(sent.is_empty());
        match result.unwrap_err() {
            ExchangeError::TooLong { reason, .. } => reason,
            error => panic!("{error}"),
        }
    };
    let update = command("00D6000000").with_data(content(128)).unwrap();
    assert_eq!(refused(&update, false, &options), TooLong::NoWay);
    let mut card: Answers<'_> = Box::new(|_| hex("9000"));
    let (result, sent) = exchange(&update, false, &options.chaining(true), &mut card);
    assert!(result.unwrap().ok().is_ok());
    assert!(sent.len() == 3 && sent[0].starts_with("10D6") && sent[2].starts_with("00D6"));
    let write = command("90D6000000").with_data(content(128)).unwrap();
    let mut card = script(&["91AF", "91AF", "9100"]);
    let (result, _) = exchange(&write, false, &options, &mut card);
    assert!(result.unwrap().ok().is_ok());

    let load = Command::pseudo(0xD6, 0, 0).with_data(content(300)).unwrap();
    let options = options.chaining(true).envelope(true);
    for is_t0 in [true, false] {
        assert_eq!(refused(&load, is_t0, &options), TooLong::NoChaining);
        let whole = options.max_command_data(300).extended_length(true);
        let (_, sent) = exchange(&load, is_t0, &whole, &mut script(&["9000"]));
        assert_eq!(sent.len(), 1);
    }
}

#[test]
fn a_command_that_is_too_long_names_the_options_that_help() {
    let says = |class, protocol| {
        let put = Command::new(class, 0xDB, 0, 0).unwrap();
        let put = put.with_data(content(300)).unwrap();
        let exchange = Exchange::new(&put, Some(protocol), &ExchangeOptions::new());
        exchange.unwrap_err().to_string()
    };
    for class in [0x00, 0x80, 0xE0] {
        let over_t1 = says(class, Protocol::T1);
        assert!(over_t1.contains("ExchangeOptions::extended_length and chaining"));
        let over_t0 = says(class, Protocol::T0);
        assert!(over_t0.contains("ExchangeOptions::chaining and envelope"));
    }
    assert!(says(0x10, Protocol::T0).contains("ExchangeOptions::envelope says"));
    assert!(says(0x10, Protocol::T1).contains("ExchangeOptions::extended_length says"));
}

#[test]
fn long_answers_in_small_pieces_are_within_the_rounds() {
    let len = 65_536;
    let options = ExchangeOptions::new().max_answer_data(100);
    let mut left = len;
    let mut card: Answers<'_> = Box::new(|sent| {
        let piece = left.min(usize::from(*sent.last().unwrap()));
        left -= piece;
        let status = [0x61, left.min(255) as u8];
        let status = if left == 0 { [0x90, 0x00] } else { status };
        [content(piece), status.to_vec()].concat()
    });
    let (result, _) = exchange(&command("00B0000000"), false, &options, &mut card);
    assert_eq!(result.unwrap().data().len(), len);
    let mut left = len;
    let mut card: Answers<'_> = Box::new(|_| {
        let piece = left.min(59);
        left -= piece;
        let status = if left == 0 { "9100" } else { "91AF" };
        [content(piece), hex(status)].concat()
    });
    let read = command("90BD0000070100000000000000");
    let (result, _) = exchange(&read, false, &ExchangeOptions::new(), &mut card);
    assert_eq!(result.unwrap().data().len(), len);
    // Where no round is left, nothing is asked for that was not announced.
    let none = ExchangeOptions::new().max_rounds(0);
    let select = command("00A4040001AA00");
    let (response, sent) = exchange(&select, true, &none, &mut script(&["6283"]));
    assert_eq!(response.unwrap().status(), StatusWord::FILE_DEACTIVATED);
    assert_eq!(sent.len(), 1);
    let one = none.max_rounds(1);
    let select = command("80A4040001AA00");
    let (response, _) = exchange(&select, true, &one, &mut script(&["6283", "6E00"]));
    assert_eq!(response.unwrap().status(), StatusWord::FILE_DEACTIVATED);
}

#[test]
fn frames_of_the_limit_are_no_answers_that_were_cut_off() {
    let options = ExchangeOptions::new().max_answer_data(59);
    let frame = |status: &str| format!("{}{status}", hex::encode(content(59)));
    let read = command("90BD0000070100000000000000");
    let mut card = script(&[&frame("91AF"), &frame("9100")]);
    let (result, sent) = exchange(&read, false, &options, &mut card);
    let response = result.unwrap();
    assert_eq!(
        (response.requested_len(), response.data().len()),
        (None, 118)
    );
    assert_eq!(sent[1], "90AF000000");
    let mut card = script(&[&frame("9100")]);
    let (result, _) = exchange(&read, false, &options, &mut card);
    assert_eq!(result.unwrap().requested_len(), None);
}

#[test]
fn no_more_is_asked_for_with_extended_length_than_the_reader_takes() {
    let options = ExchangeOptions::new().reader_max_data(500);
    let read = command("00B0000000").with_form(Form::Extended).unwrap();
    let full = format!("{}9000", hex::encode(content(500)));
    let (result, sent) = exchange(&read, false, &options, &mut script(&[&full]));
    assert_eq!(sent, ["00B000000001F4"]);
    assert_eq!(result.unwrap().requested_len(), Some(500));
    let (_, sent) = exchange(
        &read,
        false,
        &options.reader_max_data(65_536),
        &mut script(&["9000"]),
    );
    assert_eq!(sent, ["00B00000000000"]);
}

#[test]
fn no_pin_is_presented_twice() {
    for instruction in [
        0x20, 0x21, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2C, 0x2D, 0x22,
    ] {
        for class in [0x00, 0x80, 0xA0] {
            let text = format!("{class:02X}{instruction:02X}0081043132333400");
            let card = &mut script(&["6C02", "9000"]);
            let (response, sent) = exchange(&command(&text), false, &ExchangeOptions::new(), card);
            let is_other = instruction == 0x22;
            assert_eq!(sent.len(), 1 + usize::from(is_other), "{text}");
            assert_eq!(response.unwrap().status() == StatusWord::SUCCESS, is_other);
        }
    }
}
