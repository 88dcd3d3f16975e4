//! Sends command APDUs given in hex and prints the answers:
//!
//! `transmit [--reader NAME] 00A4040005A000000308 "00 84 00 00 08"`
//!
//! The commands run in one transaction, on the first reader that gets a card within ten
//! seconds unless one is named.

use std::process::ExitCode;
use std::time::Duration;

use scard::{CardFilter, ConnectOptions, Context, Disposition, ReaderName};

/// How long to wait for a card.
const PATIENCE: Option<Duration> = Some(Duration::from_secs(10));

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

const USAGE: &str = "usage: transmit [--reader NAME] HEX-APDU...";

fn main() -> ExitCode {
    match transmit() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn transmit() -> Result<()> {
    let mut arguments = std::env::args().skip(1).peekable();
    let mut reader = None;
    if arguments.next_if_eq("--reader").is_some() {
        reader = Some(ReaderName::new(arguments.next().ok_or(USAGE)?)?);
    }
    let commands = arguments
        .map(|argument| from_hex(&argument))
        .collect::<Result<Vec<_>>>()?;
    if commands.is_empty() {
        return Err(USAGE.into());
    }

    let context = Context::establish()?;
    let reader = match reader {
        Some(reader) => reader,
        None => context
            .wait_for_card(&CardFilter::new(), PATIENCE)?
            .reader()
            .clone(),
    };
    let mut card = context.connect(&reader, ConnectOptions::new())?;
    let mut transaction = card.transaction()?;
    for command in &commands {
        let answer = transaction.transmit(command)?;
        println!("> {}", to_hex(command));
        match answer.as_slice() {
            [data @ .., sw1, sw2] => println!("< {} [{sw1:02X}{sw2:02X}]", to_hex(data)),
            short => println!("< {} (no status word)", to_hex(short)),
        }
    }
    transaction.end(Disposition::Leave)?;
    card.disconnect(Disposition::Leave)?;
    Ok(())
}

fn from_hex(text: &str) -> Result<Vec<u8>> {
    let digits: String = text.split([' ', ':']).collect();
    Ok(hex::decode(&digits).map_err(|error| format!("{text:?}: {error}"))?)
}

fn to_hex(bytes: &[u8]) -> String {
    hex::encode_upper(bytes)
}
