//! Queries of a reader wait for the transactions of other connections, as commands do.
#![cfg(target_os = "linux")]

use std::time::{Duration, Instant};

use scard::{
    Attribute, ConnectOptions, Context, Control, ControlCode, ErrorKind, ReaderName, Result,
};
use scard_testkit::{
    Driver, IfdError, Sandbox, VirtualCard, VirtualReader, isolated, isolated_with_peer,
};

use crate::support::*;

const LIMIT: Duration = Duration::from_millis(150);

/// The number of control codes that are given up.
const CONTROLS: usize = 12;

/// A control code that the reader answers, with the kit's driver.
const CODE: ControlCode = ControlCode::from_raw(0x4233_0077);

/// An attribute that can be set.
const NAME: Attribute = Attribute::VENDOR_NAME;

fn kit() -> Fixture {
    let sandbox = Sandbox::builder().driver(Driver::Kit).readers(2);
    let fixture = Fixture::of(sandbox.card(0, plain_card()).start().unwrap());
    let reader = fixture.sandbox.reader(0);
    reader.set_attribute(NAME.raw(), *b"ACME").unwrap();
    let control = |code, input: &[u8]| match code == CODE.raw() {
        true => Ok(input.to_vec()),
        false => Err(IfdError::NOT_SUPPORTED),
    };
    reader.on_control(control).unwrap();
    fixture
}

fn vpcd() -> Fixture {
    let sandbox = Sandbox::builder().driver(Driver::Vpcd).readers(2);
    Fixture::of(sandbox.card(0, plain_card()).start().unwrap())
}

/// How often the control code has reached the reader.
fn arrived(reader: &VirtualReader) -> usize {
    let log = reader.control_log().unwrap();
    log.iter().filter(|call| call.code == CODE.raw()).count()
}

/// Makes one of the queries, none of which fails because of another connection's transaction.
fn ask_one(asked: &mut impl Control, question: usize) -> Result<()> {
    match question {
        0 => asked.control(CODE, b"input").map(drop),
        1 => asked.attribute(NAME).map(drop),
        2 => asked.set_attribute(NAME, b"Other"),
        _ => asked.features().map(drop),
    }
}

fn ask(asked: &mut impl Control) -> [Result<()>; 4] {
    [0, 1, 2, 3].map(|question| ask_one(asked, question))
}

#[track_caller]
fn answers(asked: &mut impl Control) {
    for answer in ask(asked) {
        answer.unwrap();
    }
}

/// Makes the queries while another connection holds a transaction.
fn waits<T: Control + Send + 'static>(fixture: &Fixture, mut asked: T) {
    for question in 0..4 {
        let mut other = fixture.connect();
        let transaction = other.transaction().unwrap();
        let waiting = in_background(move || (ask_one(&mut asked, question), asked));
        assert_blocked(&waiting);
        drop(transaction);
        let (answer, mut back) = finish(&waiting);
        // After the wait, vpcd still does not know what it does not support.
        let without = ask(&mut back);
        let kind = |answer: &Result<()>| answer.as_ref().err().map(scard::Error::kind);
        assert_eq!(kind(&answer), kind(&without[question]), "{answer:?}");
        assert_ne!(kind(&answer), Some(ErrorKind::SharingViolation));
        asked = back;
    }
}

#[test]
fn questions_wait_for_the_end_of_a_transaction() {
    isolated(|| {
        let fixture = kit();
        waits(&fixture, fixture.connect());
        let direct = fixture.context.open_reader(&fixture.reader).unwrap();
        waits(&fixture, direct);
        let mut card = fixture.connect();
        card.set_timeout(Some(SOON));
        waits(&fixture, card);
        // The queries that waited, and those that did not.
        assert_eq!(arrived(fixture.sandbox.reader(0)), 3 * (1 + 4));
    });
}

#[test]
fn questions_wait_for_the_end_of_a_transaction_with_another_driver() {
    isolated(|| {
        let fixture = vpcd();
        waits(&fixture, fixture.connect());
        let direct = fixture.context.open_reader(&fixture.reader).unwrap();
        waits(&fixture, direct);
    });
}

#[test]
fn a_limit_ends_the_wait_and_nothing_is_sent() {
    isolated(|| {
        let fixture = kit();
        let mut other = fixture.connect();
        // The connects come first: they would wait, too.
        let questions = [0; CONTROLS].into_iter().chain([1, 2, 3]);
        let cards: Vec<_> = questions.map(|it| (it, fixture.connect())).collect();
        let transaction = other.transaction().unwrap();
        let mut not_sent = 0;
        for (question, mut card) in cards {
            card.set_timeout(Some(LIMIT));
            let begun = Instant::now();
            let answer = ask_one(&mut card, question);
            let (error, took) = (answer.unwrap_err(), begun.elapsed());
            assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
            assert!(took >= LIMIT && took < LIMIT + SOON / 4, "{took:?}");
            assert!(card.is_abandoned());
            not_sent += usize::from(question == 0 && !error.command_may_have_run());
        }
        // At the deadline, the service may be just about to refuse the code, so not always.
        assert_ne!(not_sent, 0);
        // A given-up query does not arrive late.
        drop(transaction);
        std::thread::sleep(NEVER);
        assert_eq!(arrived(fixture.sandbox.reader(0)), 0);
        assert_eq!(other.attribute(NAME).unwrap(), b"ACME");
    });
}

#[test]
fn an_abort_ends_the_wait() {
    isolated(|| {
        let fixture = kit();
        let mut card = fixture.connect();
        let abort = card.make_abortable();
        let mut other = fixture.connect();
        let _transaction = other.transaction().unwrap();
        let answer = in_background(move || card.control(CODE, b"input"));
        assert_blocked(&answer);
        abort.abort();
        let error = finish(&answer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
    });
}

#[test]
fn without_waiting_the_answer_of_the_service_comes_at_once() {
    isolated(|| {
        let fixture = kit();
        let mut card = fixture.connect();
        let mut direct = fixture.context.open_reader(&fixture.reader).unwrap();
        let mut limited = fixture.connect();
        limited.set_timeout(Some(SOON));
        card.set_wait_for_transactions(false);
        direct.set_wait_for_transactions(false);
        limited.set_wait_for_transactions(false);
        let mut other = fixture.connect();
        let mut transaction = other.transaction().unwrap();
        for answers in [ask(&mut card), ask(&mut direct), ask(&mut limited)] {
            for answer in answers {
                let error = answer.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::SharingViolation);
                assert!(!error.command_may_have_run());
            }
        }
        // The connection that holds the transaction does not wait.
        answers(&mut transaction);
        drop(transaction);
        answers(&mut card);
        answers(&mut limited);
        let mut transaction = other.transaction().unwrap();
        card.set_wait_for_transactions(true);
        let answer = in_background(move || card.attribute(NAME));
        assert_blocked(&answer);
        transaction.transmit(COMMAND).unwrap();
        drop(transaction);
        finish(&answer).unwrap();
    });
}

#[cfg(feature = "async")]
#[test]
fn questions_in_futures_wait_and_can_be_told_not_to() {
    use scard::{AsyncCard, AsyncControl, AsyncReader};

    async fn asked(asked: &mut impl AsyncControl) -> Result<()> {
        asked.control(CODE, b"input").await?;
        asked.attribute(NAME).await?;
        asked.set_attribute(NAME, b"Other").await?;
        asked.features().await.map(drop)
    }

    isolated(|| {
        let fixture = kit();
        let mut card = AsyncCard::from(fixture.connect());
        let mut direct = AsyncReader::from(fixture.context.open_reader(&fixture.reader).unwrap());
        let mut other = fixture.connect();
        let transaction = other.transaction().unwrap();
        card.set_wait_for_transactions(false);
        direct.set_wait_for_transactions(false);
        let error = smol::block_on(asked(&mut card)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SharingViolation);
        let error = smol::block_on(asked(&mut direct)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SharingViolation);
        card.set_wait_for_transactions(true);
        direct.set_wait_for_transactions(true);
        let of_card = in_background(move || smol::block_on(asked(&mut card)));
        let for_reader = in_background(move || smol::block_on(asked(&mut direct)));
        assert_blocked(&of_card);
        assert_blocked(&for_reader);
        drop(transaction);
        finish(&of_card).unwrap();
        finish(&for_reader).unwrap();
    });
}

/// One use of the card, as by any program: 30 ms, then a pause.
fn use_card(context: &Context, reader: &ReaderName) -> Result<()> {
    let mut card = context.connect(reader, ConnectOptions::new())?;
    let mut transaction = card.transaction()?;
    for _ in 0..3 {
        transaction.transmit(COMMAND)?;
    }
    drop(transaction);
    std::thread::sleep(Duration::from_millis(30));
    Ok(())
}

#[test]
fn no_question_fails_beside_a_program_that_polls() {
    isolated_with_peer(
        |peers| {
            let card = VirtualCard::new(|_: &[u8]| OK).delay(Duration::from_millis(10));
            let sandbox = Sandbox::builder().driver(Driver::Kit).readers(1);
            let sandbox = sandbox.card(0, card).start().unwrap();
            let reader = sandbox.reader(0);
            reader.set_attribute(NAME.raw(), *b"ACME").unwrap();
            let other = peers.spawn();
            let context = Context::establish().unwrap();
            let options = ConnectOptions::new().timeout(Some(SOON));
            let mut card = context.connect(reader.name(), options).unwrap();
            other.send(reader.name());
            other.recv();
            for _ in 0..100 {
                card.features().unwrap();
                card.attribute(NAME).unwrap();
                card.set_attribute(NAME, b"Other").unwrap();
                card.status().unwrap();
                card.transmit(COMMAND).unwrap();
            }
            other.kill();
        },
        |link| {
            let reader = ReaderName::new(link.recv()).unwrap();
            let context = Context::establish().unwrap();
            link.send("begun");
            loop {
                let _ = use_card(&context, &reader);
            }
        },
    );
}
