//! An exchange ends within its limits, whatever the card answers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scard::Protocol;
use scard::apdu::{Command, Continuation, Exchange, ExchangeOptions, Form, Next};

const ROUNDS: u32 = 40;
const SIZE: usize = 4096;

/// The command, the answers, whether the protocol is T=0, and the options.
type Input = (Vec<u8>, Vec<Vec<u8>>, bool, [u8; 4]);

fn options([continuation, flags, command, answer]: [u8; 4]) -> ExchangeOptions {
    let continuation = match continuation {
        0 => Continuation::SameClass,
        1 => Continuation::Interindustry,
        2 => Continuation::Gsm,
        3 => Continuation::Oath,
        4 => Continuation::Desfire,
        5 => Continuation::Never,
        6 => Continuation::Command {
            class: command,
            instruction: answer,
        },
        _ => Continuation::Auto,
    };
    let flag = |bit: u8| flags & bit != 0;
    ExchangeOptions::new()
        .continuation(continuation)
        .chaining(flag(1))
        .envelope(flag(2))
        .envelope_end(flag(64))
        .data_of_warnings(flag(4))
        .any_instruction(flag(8))
        .ignore_t0(flag(128))
        .allow_incomplete(flag(16))
        .extended_length(flag(32))
        .max_command_data(u32::from(command))
        .max_answer_data(u32::from(answer))
        .max_rounds(ROUNDS)
        .max_size(SIZE)
}

fuzz_target!(|input: Input| {
    let (command, answers, is_t0, choice) = input;
    let Ok(command) = Command::parse_pseudo(&command) else {
        return;
    };
    let command = command
        .with_form(Form::Auto)
        .expect("the automatic form is always possible");
    let protocol = Some(if is_t0 { Protocol::T0 } else { Protocol::T1 });
    let Ok(mut exchange) = Exchange::new(&command, protocol, &options(choice)) else {
        return;
    };
    // A long command has as many parts as its bytes need; these do not count as rounds.
    let piece = usize::from(choice[2]).clamp(1, 255);
    // Each byte of the answer justifies at most one round.
    let most = ROUNDS as usize + SIZE + (command.data().len() + 9).div_ceil(piece) + 4;
    let mut answers = answers.iter().cycle();
    for _ in 0..most {
        let Some(answer) = answers.next() else { return };
        assert!(Command::parse_pseudo(exchange.command()).is_ok());
        match exchange.answered(answer) {
            Ok(Next::Send(next)) => exchange = next,
            Ok(Next::Done(response)) => return assert!(response.data().len() <= SIZE),
            Err(error) => return assert!(!error.to_string().is_empty()),
        }
    }
    panic!("the exchange does not end");
});
