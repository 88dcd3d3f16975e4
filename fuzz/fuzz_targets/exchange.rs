//! Whatever a card answers, an exchange ends, within its limits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scard::Protocol;
use scard::apdu::{Command, Exchange, ExchangeOptions, Next};

const ROUNDS: u32 = 40;
const SIZE: usize = 4096;

fuzz_target!(|input: (Vec<u8>, Vec<Vec<u8>>, bool)| {
    let (command, answers, is_t0) = input;
    let Ok(command) = Command::parse(&command) else {
        return;
    };
    let protocol = Some(if is_t0 { Protocol::T0 } else { Protocol::T1 });
    let options = ExchangeOptions::new()
        .chaining(true)
        .max_rounds(ROUNDS)
        .max_size(SIZE);
    let Ok(mut exchange) = Exchange::new(&command, protocol, &options) else {
        return;
    };
    // A chain has as many commands as its body needs, and none of them is a round.
    let most = ROUNDS as usize + command.data().len() / 255 + 4;
    let mut answers = answers.iter().cycle();
    for _ in 0..most {
        let Some(answer) = answers.next() else { return };
        match exchange.answered(answer) {
            Ok(Next::Send(next)) => exchange = next,
            Ok(Next::Done(response)) => return assert!(response.data().len() <= SIZE),
            Err(error) => return assert!(!error.to_string().is_empty()),
        }
    }
    panic!("it goes on");
});
