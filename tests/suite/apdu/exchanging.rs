//! Exchanges with cards that are functions.

use super::*;

/// Exchanges with a card that is a function, and also returns the commands.
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

/// A card that returns these answers one after another.
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
    // Whatever ends the exchange.
    let (response, _) = plain(&command("00B0000000"), &["AA6102", "BB6282"]);
    let response = response.unwrap();
    assert_eq!(response.status(), StatusWord::END_OF_FILE);
    assert_eq!(response.data(), [0xAA, 0xBB]);
    let (refused, _) = plain(&command("00B0000000"), &["AA6102", "6D00"]);
    assert_eq!(
        refused.unwrap_err().to_string(),
        "command 00 B0 00 00, GET RESPONSE 1 failed: the card announced the rest of the answer \
         (6102) and did not return it: instruction not supported (6D00)"
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
    // For GET RESPONSE, too.
    let (response, sent) = plain(
        &command("00B0000000"),
        &["6104", "6C01", "AA6101", "6C02", "BBCC9000"],
    );
    assert_eq!(response.unwrap().ok().unwrap(), [0xAA, 0xBB, 0xCC]);
    assert_eq!(
        sent[1..],
        ["00C0000004", "00C0000001", "00C0000001", "00C0000002"]
    );
    // Not twice, nor without an Le.
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
    assert_eq!(
        response.step(),
        Step::Part {
            number: 3,
            total: 3
        }
    );
    assert_eq!(sent.len(), 3);
    assert!(response.accept_warnings().is_err());
    // GET RESPONSE after a chain is a separate command.
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
    assert_eq!(
        response.unwrap().step(),
        Step::Part {
            number: 3,
            total: 3
        }
    );
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

    let refused = |command: &Command, options: ExchangeOptions, reason: TooLong| {
        let (error, sent) = exchange(command, t1, &options, ok);
        let error = error.unwrap_err();
        assert!(
            matches!(error, ExchangeError::TooLong { reason: it, .. } if it == reason),
            "{error}"
        );
        assert!(!error.command_may_have_run());
        assert!(sent.is_empty());
    };
    refused(&put, ExchangeOptions::new(), TooLong::NoWay);
    let chained_already = Command::new(0x10, 0xDB, 0, 0).unwrap();
    let chained_already = chained_already.with_data(data.clone()).unwrap();
    refused(&chained_already, chains, TooLong::NoChaining);

    // A command created as extended is sent as such.
    let forced = put.clone().with_form(Form::Extended).unwrap();
    let (_, sent) = exchange(&forced, Some(Protocol::T0), &ExchangeOptions::new(), ok);
    assert_eq!(sent, [forced.to_bytes().to_vec()]);

    // The limits.
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
            total: 3,
        };
        assert_eq!((response.step(), response.status().raw()), (step, status));
        assert_eq!(sent.len(), answers.len());
        assert!(response.clone().accept_warnings().is_err());
        let error = response.accept(|_| true).unwrap_err();
        let what = match status {
            0x6110 => "ended the command early",
            _ => "failed",
        };
        let says = error.to_string();
        let expected = format!(", part {} of 3 {what}: ", answers.len());
        assert!(says.contains(&expected), "{says}");
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
    // A byte now and then does not justify another command for each.
    assert_eq!(run(&options, &|_| hex("AA61FF")), (too_many, 547));
    // Correcting the Le of every GET RESPONSE is a round, too.
    let mean = |sent: &[u8]| match sent {
        [_, 0xC0, _, _, 0x00] => hex("6C01"),
        _ => hex("AA6100"),
    };
    assert_eq!(run(&options, &mean), (too_many, 529));
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
    // Data beyond the requested length is not lost.
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
        assert!(sent.len() <= 3 + 20 + 2000 / 16, "{}", sent.len());
        assert!(sent.iter().all(|it| Command::parse(it).is_ok()), "{new}");
        if let Ok(response) = result {
            assert!(response.data().len() <= 2000);
        }
    }
}
