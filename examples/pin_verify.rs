//! Verifies a PIN: on the reader's PIN pad if it has one, otherwise with the keyboard.
//!
//! `pin_verify [--reference HEX] [--block BYTES] [--keyboard]`
//!
//! The reference is that of VERIFY, 80 without this. With a block the PIN is filled with FF, as
//! PIV and others want it (8). Every wrong PIN uses up a try: this shows how many are left.

use std::error::Error;
use std::io::{self, BufRead, IsTerminal};
use std::time::Duration;

use scard::features::{Feature, PinFormat, PinOutcome, PinVerification};
use scard::{CardFilter, ConnectOptions, Context, Control, Transmit};
use zeroize::Zeroizing;

const USAGE: &str = "usage: pin_verify [--reference HEX] [--block BYTES] [--keyboard]";

fn main() -> Result<(), Box<dyn Error>> {
    let (mut reference, mut block, mut keyboard) = (0x80, 0, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--reference" => {
                reference = u8::from_str_radix(&arguments.next().ok_or(USAGE)?, 16)?;
            }
            "--block" => block = arguments.next().ok_or(USAGE)?.parse()?,
            "--keyboard" => keyboard = true,
            _ => return Err(USAGE.into()),
        }
    }
    let context = Context::establish()?;
    let found = context.wait_for_card(&CardFilter::new(), Some(Duration::from_secs(10)))?;
    let mut card = context.connect(found.reader_name(), ConnectOptions::new())?;
    match tries_left(&mut card.transaction()?, reference)? {
        PinOutcome::Done => println!("no PIN is needed now"),
        PinOutcome::Wrong { tries_left } => println!("tries left: {}", in_words(tries_left)),
        other => println!("tries left: not known ({other})"),
    }
    let features = card.features()?;
    let outcome = if features.has(Feature::VERIFY_PIN_DIRECT) && !keyboard {
        println!("enter the PIN on the reader");
        let format = PinFormat::ascii().block_len(block);
        let request = PinVerification::iso(reference, format).timeout(Duration::from_secs(30));
        let mut transaction = card.transaction()?;
        transaction.verify_pin(&features, &request)?.outcome()
    } else {
        // Asked for before the transaction: other programs do not wait for the user.
        let command = command(reference, block, &ask()?)?;
        outcome_of(&mut card.transaction()?, &command)?
    };
    println!("{outcome}");
    match outcome {
        PinOutcome::Done => Ok(()),
        _ => Err("not verified".into()),
    }
}

/// VERIFY without data asks for the state and uses up no try.
fn tries_left(card: &mut impl Transmit, reference: u8) -> scard::Result<PinOutcome> {
    outcome_of(card, &[0x00, 0x20, 0x00, reference])
}

fn in_words(tries: Option<u8>) -> String {
    tries.map_or("not known".to_owned(), |tries| tries.to_string())
}

fn command(reference: u8, block: u8, pin: &str) -> Result<Zeroizing<Vec<u8>>, Box<dyn Error>> {
    let len = pin.len().max(block.into());
    if pin.is_empty() || len > 15 || (block > 0 && pin.len() > block.into()) {
        return Err("a PIN has one to fifteen characters, and fits the block".into());
    }
    // As long as it gets from the start: what grows leaves copies behind.
    let mut command = Zeroizing::new(Vec::with_capacity(5 + len));
    command.extend([0x00, 0x20, 0x00, reference, len as u8]);
    command.extend(pin.as_bytes());
    command.resize(5 + len, 0xFF);
    Ok(command)
}

fn outcome_of(card: &mut impl Transmit, command: &[u8]) -> scard::Result<PinOutcome> {
    let answer = card.transmit(command)?;
    Ok(scard::features::PinPadAnswer::from_bytes(answer).outcome())
}

/// The PIN, from the terminal without showing it, or from a pipe.
fn ask() -> io::Result<Zeroizing<String>> {
    if io::stdin().is_terminal() {
        return rpassword::prompt_password("PIN: ").map(Zeroizing::new);
    }
    let mut pin = Zeroizing::new(String::with_capacity(64));
    io::stdin().lock().read_line(&mut pin)?;
    let len = pin.trim_end_matches(['\r', '\n']).len();
    pin.truncate(len);
    Ok(pin)
}
