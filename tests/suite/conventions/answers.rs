//! How answers continue, and when they do not.

use super::*;
use crate::support::random::Random;

#[test]
fn get_response_is_repeated_once_with_the_other_class_and_no_command_is() {
    let (response, sent) = over_t0("80CA000000", &["6128", "6D00", "AABB9000"]);
    assert_eq!(response.unwrap().ok().unwrap(), [0xAA, 0xBB]);
    assert_eq!(sent, ["80CA000000", "00C0000028", "80C0000028"]);
    // In the class that worked, even if that takes several attempts.
    let answers = ["6101", "6E00", "AA6102", "BBCC9000"];
    let (response, sent) = over_t0("80CA000000", &answers);
    assert_eq!(response.unwrap().ok().unwrap(), [0xAA, 0xBB, 0xCC]);
    assert_eq!(sent[1..], ["00C0000001", "80C0000001", "80C0000002"]);
    // A wrong length is not a reason to try another class, nor is a refusal after a success.
    let (response, sent) = over_t0("80CA000000", &["6104", "6C01", "AA9000"]);
    assert_eq!(response.unwrap().ok().unwrap(), [0xAA]);
    assert_eq!(sent[1..], ["00C0000004", "00C0000001"]);
    let (refused, sent) = over_t0("80CA000000", &["6101", "AA6101", "6D00"]);
    assert!(refused.is_err());
    assert_eq!(sent.len(), 3);
}

#[test]
fn a_refusal_to_give_the_rest_is_not_the_status_of_the_command() {
    for (text, answers, announced, refused) in [
        ("00B0000000", &["AA6102", "6D00"][..], 0x6102, 0x6D00),
        ("80CA000000", &["6128", "6E00", "6D00"], 0x6128, 0x6D00),
        ("80CA000000", &["6128", "6985"], 0x6128, 0x6985),
        ("80CA000000", &["6128", "6400"], 0x6128, 0x6400),
        ("A0A40000023F00", &["9F16", "6F00"], 0x9F16, 0x6F00),
        ("A0A40000023F00", &["9F16", "9404"], 0x9F16, 0x9404),
        ("00B0000000", &["6101", "6C02", "6C03"], 0x6101, 0x6C03),
        // Neither data nor a refusal.
        ("00B0000000", &["6110", "9000"], 0x6110, 0x9000),
        ("00B0000000", &["AA6110", "6282"], 0x6110, 0x6282),
        ("A0A40000023F00", &["9F02", "910B"], 0x9F02, 0x910B),
        ("A0C2000003D10100", &["9E05", "6F00"], 0x9E05, 0x6F00),
        // What is asked for without an announcement may be announced then.
        (
            "00A4040002CAFE00",
            &["6283", "6110", "6F00"],
            0x6110,
            0x6F00,
        ),
        (
            "00A4040002CAFE00",
            &["6283", "6C10", "6F00"],
            0x6C10,
            0x6F00,
        ),
        ("00A4040002CAFE00", &["6283", "6C00"], 0x6283, 0x6C00),
        // Not even after a warning whose data has begun to arrive.
        (
            "00A4040002CAFE00",
            &["6283", "AA6102", "6F00"],
            0x6102,
            0x6F00,
        ),
    ] {
        let (error, _) = over_t0(text, answers);
        let error = error.unwrap_err();
        let ExchangeError::Answer { problem, step, .. } = &error else {
            panic!("{error}");
        };
        let expected = AnswerProblem::RestRefused {
            announced: StatusWord(announced),
            refused: StatusWord(refused),
        };
        assert_eq!(*problem, expected, "{text}");
        assert!(matches!(step, Step::GetResponse { .. }));
        assert_eq!(error.status(), None);
        assert!(error.command_may_have_run());
    }
    // A SIM reports with its answer that it has a command for the phone.
    let (response, _) = over_t0("A0A40000023F00", &["9F01", "AA910B"]);
    assert_eq!(response.unwrap().status(), StatusWord(0x910B));
    // DESFire reports the result of the command at the end; it does not know GET RESPONSE.
    let options = ExchangeOptions::new();
    let mut card = script(&["AA91AF", "91AE"]);
    let (response, _) = exchange(&command("90BD000000"), false, &options, &mut card);
    assert_eq!(response.unwrap().status(), StatusWord(0x91AE));
    let mut card = script(&["AA91AF", "6E00"]);
    let (refused, sent) = exchange(&command("90BD000000"), false, &options, &mut card);
    assert!(refused.is_err());
    assert_eq!(sent, ["90BD000000", "90AF000000"]);
    // A warning about the data is a warning about the command.
    let (response, _) = over_t0("00B0000000", &["AA6102", "BB6282"]);
    let response = response.unwrap();
    assert_eq!(response.status(), StatusWord::END_OF_FILE);
    assert_eq!(response.data(), [0xAA, 0xBB]);
}

#[test]
fn data_of_a_warning_is_fetched_for_commands_that_expect_some() {
    let (response, sent) = over_t0("00A4040002CAFE00", &["6283", "6C02", "AABB9000"]);
    let response = response.unwrap();
    assert_eq!(response.status(), StatusWord::FILE_DEACTIVATED);
    assert_eq!(response.step(), Step::Command);
    assert_eq!(response.data(), [0xAA, 0xBB]);
    assert_eq!(sent, ["00A4040002CAFE", "00C0000000", "00C0000002"]);
    // In as many pieces as it takes; and the class of GET RESPONSE may be wrong.
    let answers = ["6310", "6E00", "AA6101", "BB9000"];
    let (response, sent) = over_t0("80F24000024F0010", &answers);
    let response = response.unwrap();
    assert_eq!(response.status(), StatusWord(0x6310));
    assert_eq!(response.data(), [0xAA, 0xBB]);
    assert_eq!(sent[1..], ["00C0000010", "80C0000010", "80C0000001"]);
    // Whatever refuses it: there was no data.
    for refusal in ["6985", "6D00", "6F00", "6A82"] {
        let (response, _) = over_t0("00A4040002CAFE00", &["6283", refusal]);
        let response = response.unwrap();
        assert_eq!(response.status(), StatusWord::FILE_DEACTIVATED);
        assert_eq!(response.step(), Step::Command);
        assert!(response.data().is_empty());
    }
    for (text, answer) in [
        // Nothing is expected.
        ("002000810431323334", "63C2"),
        ("00A4040002CAFE", "6283"),
        // The card could return its data with the warning.
        ("00B0000010", "AA6282"),
        ("00B0000010", "6282"),
        // It is not a warning.
        ("00A4040002CAFE00", "6A82"),
        ("00A4040002CAFE00", "9000"),
        // The reader answers, not the card.
        ("FFC2000302CAFE00", "6300"),
    ] {
        let (response, sent) = over_t0(text, &[answer]);
        assert_eq!(sent.len(), 1, "{text} {answer}");
        let status = format!("{:04X}", response.unwrap().status());
        assert!(answer.ends_with(&status));
    }
    // Over T=1 the data would have come with the warning.
    let select = command("00A4040002CAFE00");
    let options = ExchangeOptions::new();
    let (_, sent) = exchange(&select, false, &options, &mut script(&["6283"]));
    assert_eq!(sent.len(), 1);
}

#[test]
fn nothing_is_fetched_if_the_caller_does_so() {
    let options = ExchangeOptions::new()
        .continuation(Continuation::Never)
        .any_instruction(true);
    for (text, answer) in [
        ("00A4040002CAFE00", "6110"),
        ("00A4040002CAFE00", "6283"),
        ("A0A40000023F00", "9F16"),
        ("9060000000", "AA91AF"),
    ] {
        let (response, sent) = exchange(&command(text), true, &options, &mut script(&[answer]));
        assert_eq!(sent.len(), 1);
        let status = format!("{:04X}", response.unwrap().status());
        assert!(answer.ends_with(&status));
    }
}

#[test]
fn desfire_has_a_success_of_its_own() {
    let options = ExchangeOptions::new();
    let run = |text: &str, answer: &str| {
        let answers = &mut script(&[answer]);
        exchange(&command(text), false, &options, answers).0
    };
    let response = run("90F5000001 01 00", "AABB9100").unwrap();
    assert!(response.clone().accept_warnings().is_ok());
    assert_eq!(response.ok().unwrap(), [0xAA, 0xBB]);
    let refused = run("90BD0000070100000000000000", "919D").unwrap();
    assert_eq!(
        refused.ok().unwrap_err().to_string(),
        "command 90 BD 00 00 failed: not permitted by the configuration (919D)"
    );
    // A success there is not one elsewhere: for CTAP it means "not ready".
    let not_ready = run("8011000000", "019100").unwrap();
    let error = not_ready.ok().unwrap_err();
    assert_eq!(error.status(), StatusWord::DESFIRE_SUCCESS);
    // The meanings of a SIM, too.
    let error = run("A0100000", "9804").unwrap().ok().unwrap_err();
    assert!(error.to_string().contains("the PIN is wrong"), "{error}");
}

#[test]
fn a_sim_has_successes_of_its_own() {
    for (answers, is_ok) in [
        (&["9000"][..], true),
        (&["910B"], true),
        (&["9203"], true),
        (&["9F02", "AABB910B"], true),
        (&["9240"], false),
        (&["9404"], false),
    ] {
        let (response, _) = over_t0("A0A40000023F00", answers);
        assert_eq!(response.unwrap().ok().is_ok(), is_ok, "{answers:?}");
    }
    // A command whose answer is not fetched is not done.
    let never = ExchangeOptions::new().continuation(Continuation::Never);
    let select = command("A0A40000023F00");
    let (response, _) = exchange(&select, true, &never, &mut script(&["9F02"]));
    let says = response.unwrap().ok().unwrap_err().to_string();
    assert_eq!(
        says,
        "command A0 A4 00 00 returned an answer that was not accepted: \
         success; an answer is available (9F02)"
    );
}

#[test]
fn a_success_is_not_said_to_be_a_failure() {
    let options = ExchangeOptions::new()
        .continuation(Continuation::Desfire)
        .max_command_data(2);
    let write = command("908D000005010203040500");
    let (response, sent) = exchange(&write, false, &options, &mut script(&["9100"]));
    assert_eq!(sent.len(), 1);
    let says = response.unwrap().ok().unwrap_err().to_string();
    assert_eq!(
        says,
        "command 90 8D 00 00, part 1 of 3 ended the command early: success (9100)"
    );
    let (response, _) = exchange(&write, false, &options, &mut script(&["919D"]));
    let says = response.unwrap().ok().unwrap_err().to_string();
    assert!(says.contains("part 1 of 3 failed: not permitted"), "{says}");
    // The card waits for more, and nothing is sent that it could take for the end.
    let mut card = script(&["91AF", "91AF", "91AF"]);
    let (response, sent) = exchange(&write, false, &options, &mut card);
    assert_eq!(sent.len(), 3);
    assert_eq!(response.unwrap().status(), StatusWord::DESFIRE_MORE);
}

/// Cards that answer anything, with every option: each exchange ends, within the limits.
#[test]
fn no_card_makes_any_option_go_on_for_ever() {
    let mut random = Random::new(14);
    for round in 0..20_000 {
        let len = [0, 1, 59, 255, 256, 700][random.below(6) as usize];
        let class = [0x00, 0x80, 0x90, 0xA0, 0xE0, 0xFF][random.below(6) as usize];
        let instruction = random.next() as u8;
        let new = match class {
            0xFF => Command::pseudo(instruction, 0, 0),
            _ => Command::new(class, instruction, 0, 0).unwrap(),
        };
        let new = new.with_data(content(len)).unwrap();
        let new = match random.below(3) {
            0 => new.expecting_all(),
            1 => new.expecting(1 + random.below(600) as u32).unwrap(),
            _ => new,
        };
        let continuation = match random.below(8) {
            0 => Continuation::SameClass,
            1 => Continuation::Interindustry,
            2 => Continuation::Gsm,
            3 => Continuation::Oath,
            4 => Continuation::Desfire,
            5 => Continuation::Never,
            6 => Continuation::Command {
                class: random.next() as u8,
                instruction: random.next() as u8,
            },
            _ => Continuation::Auto,
        };
        let piece = 1 + random.below(300);
        let answer = random.below(300) as usize;
        let options = ExchangeOptions::new()
            .continuation(continuation)
            .chaining(random.one_in(2))
            .envelope(random.one_in(2))
            .envelope_end(random.one_in(2))
            .data_of_warnings(random.one_in(2))
            .any_instruction(random.one_in(2))
            .ignore_t0(random.one_in(2))
            .allow_incomplete(random.one_in(2))
            .extended_length(random.one_in(3))
            .max_command_data(piece as u32)
            .max_answer_data(answer as u32)
            .max_rounds(20)
            .max_size(2000);
        let mut card: Answers<'_> = Box::new(|_| {
            let len = [0, 1, 2, 2, 2, 5, 258][random.below(7) as usize];
            let mut answer: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
            if let [.., sw1, sw2] = answer.as_mut_slice() {
                let words = [
                    0x6100_u16, 0x6C00, 0x9000, 0x91AF, 0x9F00, 0x6283, 0x6E00, 0x6D00, 0x9100,
                ];
                let [first, second] = words[random.below(9) as usize].to_be_bytes();
                *sw1 = first;
                if second != 0 || matches!(first, 0x90 | 0x91) {
                    *sw2 = second;
                }
            }
            answer
        });
        let (result, sent) = exchange(&new, round % 2 == 0, &options, &mut card);
        let parts = 1 + (len + 9).div_ceil(piece.min(255) as usize);
        let justified = 2000 / (answer / 2).clamp(1, 16);
        assert!(sent.len() <= parts + 20 + 1 + justified, "{}", sent.len());
        for sent in &sent {
            assert!(Command::parse_pseudo(&hex(sent)).is_ok(), "{sent}");
        }
        // What is for the reader does not reach the card.
        let is_for_reader = sent.iter().all(|it| it.starts_with("FF"));
        assert!(class != 0xFF || is_for_reader, "{new} {sent:?}");
        if let Ok(response) = result {
            assert!(response.data().len() <= 2000);
        }
    }
}
