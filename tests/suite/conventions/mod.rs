//! Cards and readers that deviate from others, each with the options that it needs.
#![cfg(target_os = "linux")]

mod answers;
mod commands;
mod example;

use scard::apdu::{
    AnswerProblem, Command, Continuation, Exchange, ExchangeError, ExchangeOptions, Form, Next,
    Response, StatusWord, Step, TooLong,
};
use scard::{ConnectOptions, Protocol, Session};
use scard_testkit::isolated;

use crate::support::conventions::{Answers, Convention, content, conventions};
use crate::support::iso7816::CHAINS;
use crate::support::*;

fn hex(text: &str) -> Vec<u8> {
    hex::decode(text.replace(' ', "")).unwrap()
}

/// A command whose form of lengths is chosen automatically.
fn command(text: &str) -> Command {
    let command = Command::parse_pseudo(&hex(text)).unwrap();
    command.with_form(Form::Auto).unwrap()
}

/// Exchanges with a card that is a function, and also returns the commands.
fn exchange(
    command: &Command,
    is_t0: bool,
    options: &ExchangeOptions,
    card: &mut Answers<'_>,
) -> (Result<Response, ExchangeError>, Vec<String>) {
    let protocol = Some(if is_t0 { Protocol::T0 } else { Protocol::T1 });
    let mut sent = Vec::new();
    let mut exchange = match Exchange::new(command, protocol, options) {
        Ok(exchange) => exchange,
        Err(error) => return (Err(error), sent),
    };
    loop {
        assert!(sent.len() < 2000, "it does not end");
        sent.push(hex::encode_upper(exchange.command()));
        let answer = card(exchange.command());
        match exchange.answered(&answer) {
            Ok(Next::Send(next)) => exchange = next,
            Ok(Next::Done(response)) => return (Ok(response), sent),
            Err(error) => return (Err(error), sent),
        }
    }
}

/// A card that returns these answers one after another.
fn script(answers: &[&str]) -> Answers<'static> {
    let mut answers: Vec<Vec<u8>> = answers.iter().rev().map(|it| hex(it)).collect();
    Box::new(move |_| answers.pop().expect("one command too many"))
}

fn over_t0(text: &str, answers: &[&str]) -> (Result<Response, ExchangeError>, Vec<String>) {
    exchange(
        &command(text),
        true,
        &ExchangeOptions::new(),
        &mut script(answers),
    )
}

/// The results of a card's commands, over any kind of handle.
fn follows_its_script(
    convention: &Convention,
    mut exchange: impl FnMut(&Command) -> Result<Response, ExchangeError>,
) {
    for (text, data, status) in &convention.script {
        let place = format!("{}: {text:.20}", convention.name);
        let response = exchange(&command(text)).unwrap_or_else(|it| panic!("{place}: {it}"));
        assert_eq!(format!("{:04X}", response.status()), *status, "{place}");
        assert_eq!(response.data(), data, "{place}");
    }
}

#[test]
fn each_card_works_with_its_options() {
    for convention in conventions() {
        let (mut card, is_t0) = ((convention.card)(), convention.is_t0());
        // Only handles query the ATR.
        let options = match convention.atr == CHAINS {
            true => convention.options.chaining(true),
            false => convention.options,
        };
        follows_its_script(&convention, |command| {
            exchange(command, is_t0, &options, &mut card).0
        });
    }
}

/// No option is superfluous: without it, the card does not follow its script.
#[test]
fn each_option_is_needed() {
    let usual = ExchangeOptions::new();
    // Options that only save a command are not needed.
    let spares = [
        "its own class over T=0, without a first refusal",
        "interindustry over T=1",
    ];
    for convention in conventions() {
        if convention.options == usual {
            continue;
        }
        let (mut card, is_t0) = ((convention.card)(), convention.is_t0());
        let as_usual = convention.script.iter().all(|(text, data, status)| {
            match exchange(&command(text), is_t0, &usual, &mut card).0 {
                Ok(response) => {
                    response.data() == data && format!("{:04X}", response.status()) == *status
                }
                Err(_) => false,
            }
        });
        let spared = spares.contains(&convention.name);
        assert_eq!(as_usual, spared, "{}", convention.name);
    }
}

#[test]
fn options_hold_for_a_call_for_a_card_and_for_a_session() {
    for convention in conventions() {
        isolated(|| {
            let fixture = fixture_with(convention.card());
            let mut card = fixture.connect();
            follows_its_script(&convention, |command| {
                card.exchange_with(command, &convention.options)
            });
            card.set_exchange_options(convention.options);
            assert_eq!(card.exchange_options(), convention.options);
            follows_its_script(&convention, |command| card.exchange(command));
            let mut transaction = card.transaction().unwrap();
            follows_its_script(&convention, |command| transaction.exchange(command));
            drop(transaction);
            drop(card);

            let options = ConnectOptions::new().exchange_options(convention.options);
            let mut card = fixture.try_connect(options.clone()).unwrap();
            follows_its_script(&convention, |command| card.exchange(command));
            let mut session = Session::builder(&fixture.context)
                .reader(&fixture.reader)
                .connect_options(options)
                .open()
                .unwrap();
            let run = session.run(|card| {
                follows_its_script(&convention, |command| card.exchange(command));
                Ok::<_, scard::Error>(())
            });
            run.unwrap();
            let mut guard = session.begin().unwrap();
            follows_its_script(&convention, |command| guard.exchange(command));
        });
    }
}

#[cfg(feature = "async")]
#[test]
fn options_hold_for_futures() {
    use crate::support::executor::block_on;

    for convention in conventions() {
        isolated(|| {
            let fixture = fixture_with(convention.card());
            let options = ConnectOptions::new().exchange_options(convention.options);
            let card = fixture.try_connect(options).unwrap();
            let mut card = scard::AsyncCard::from(card);
            follows_its_script(&convention, |command| block_on(card.exchange(command)));
            let mut transaction = block_on(card.transaction()).unwrap();
            follows_its_script(&convention, |command| {
                block_on(transaction.exchange(command))
            });
        });
    }
}
