//! Sends command APDUs given in hex and prints the answers:
//!
//! `transmit [--reader NAME] 00A4040005A000000308 "00 84 00 00 08"`
//!
//! `transmit [--reader NAME] --script FILE`
//!
//! The commands run in one transaction, on the first reader that gets a card within ten
//! seconds unless one is named. A script has a command on each line, with the status word
//! that is expected, in which `x` is any digit; `#` begins a comment:
//!
//! ```text
//! 00A4040005A000000308 => 9000   # select
//! 00 84 00 00 08       => 61xx
//! 0020008000                     # any answer will do
//! ```

use std::process::ExitCode;
use std::time::Duration;

use scard::{CardFilter, ConnectOptions, Context, Disposition, ReaderName, Response, StatusWord};

/// How long to wait for a card.
const PATIENCE: Option<Duration> = Some(Duration::from_secs(10));

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

const USAGE: &str = "usage: transmit [--reader NAME] HEX-APDU... | --script FILE";

/// A command, and what is expected.
struct Line {
    /// Where it is from, for messages.
    place: String,
    command: Vec<u8>,
    status: Option<String>,
}

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
    let lines = if arguments.next_if_eq("--script").is_some() {
        let file = arguments.next().ok_or(USAGE)?;
        let script = std::fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
        let numbered = script.lines().zip(1..);
        let lines = numbered.map(|(line, number)| read(line, format!("{file}, line {number}")));
        lines.filter_map(Result::transpose).collect()
    } else {
        let lines = arguments.map(|argument| read(&argument, format!("{argument:?}")));
        lines
            .filter_map(Result::transpose)
            .collect::<Result<Vec<_>>>()
    }?;
    if lines.is_empty() {
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
    for line in &lines {
        println!("> {}", hex::encode_upper(&line.command));
        let answer = transaction.transmit(&line.command)?;
        let response = Response::parse(&answer)?;
        let (data, status) = (hex::encode_upper(response.data()), response.status());
        println!("< {data} [{status:04X}]");
        if let Some(expected) = line.status.as_deref().filter(|it| !fits(status, it)) {
            return Err(format!("{}: {expected} was expected, not {status}", line.place).into());
        }
    }
    transaction.end(Disposition::Leave)?;
    card.disconnect(Disposition::Leave)?;
    Ok(())
}

/// A line of a script; none if there is only a comment.
fn read(line: &str, place: String) -> Result<Option<Line>> {
    let code = line.split('#').next().unwrap_or_default().trim();
    if code.is_empty() {
        return Ok(None);
    }
    let (command, status) = match code.split_once("=>") {
        Some((command, status)) => (command, Some(status.trim().to_ascii_lowercase())),
        None => (code, None),
    };
    let digit = |it: char| it == 'x' || it.is_ascii_hexdigit();
    if let Some(status) = status
        .iter()
        .find(|it| it.len() != 4 || !it.chars().all(digit))
    {
        return Err(format!("{place}: {status:?} is no status word").into());
    }
    let digits: String = command.trim().split([' ', ':']).collect();
    let command = hex::decode(&digits).map_err(|error| format!("{place}: {error}"))?;
    Ok(Some(Line {
        place,
        command,
        status,
    }))
}

/// Whether a status word is the expected one, in which `x` is any digit.
fn fits(status: StatusWord, expected: &str) -> bool {
    let digits = format!("{status:04x}");
    let mut both = digits.chars().zip(expected.chars());
    both.all(|(digit, expected)| expected == 'x' || expected == digit)
}
