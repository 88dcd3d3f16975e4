//! Sends command APDUs given in hex and prints the answers:
//!
//! `transmit [--reader READER] [HOW...] 00A4040005A000000308 "00 84 00 00 08"`
//!
//! `transmit [--reader READER] [HOW...] --script FILE`
//!
//! READER is a part of a name, a number or `serial:` and a serial number.
//!
//! Commands go as they are, unless HOW says that they are to be exchanged: `--exchange` fetches
//! whole answers and sends long commands as card and reader take them, and `--with OPTION=VALUE`
//! does so with an option that the card or the reader needs, such as `continuation=oath`,
//! `continuation=D0:C0` (class and instruction) or `max-answer-data=240`. [`with`] has all of them.
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

use scard::apdu::{Continuation, ExchangeOptions, Form};
use scard::{
    CardFilter, Command, ConnectOptions, Context, Disposition, Response, StatusWord, Transaction,
};

/// How long to wait for a card.
const PATIENCE: Option<Duration> = Some(Duration::from_secs(10));

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

const USAGE: &str = "usage: transmit [--reader READER] [--exchange] [--with OPTION=VALUE]... \
                     HEX-APDU... | --script FILE";

/// A command, the status word that is expected, and where both are from.
type Line = (Vec<u8>, Option<String>, String);

fn main() -> ExitCode {
    match transmit() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn transmit() -> Result<()> {
    let mut arguments = std::env::args().skip(1).peekable();
    let mut reader = None;
    if arguments.next_if_eq("--reader").is_some() {
        reader = Some(arguments.next().ok_or(USAGE)?);
    }
    let mut exchange = None;
    loop {
        if arguments.next_if_eq("--exchange").is_some() {
            exchange = exchange.or(Some(ExchangeOptions::new()));
        } else if arguments.next_if_eq("--with").is_some() {
            let option = arguments.next().ok_or(USAGE)?;
            exchange = Some(with(exchange.unwrap_or_default(), &option)?);
        } else {
            break;
        }
    }
    let texts: Vec<(String, String)> = if arguments.next_if_eq("--script").is_some() {
        let file = arguments.next().ok_or(USAGE)?;
        let script = std::fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
        let lines = script.lines().zip(1..);
        let place = |number| format!("{file}, line {number}");
        lines
            .map(|(line, number)| (line.into(), place(number)))
            .collect()
    } else {
        arguments
            .map(|it| (it.clone(), format!("{it:?}")))
            .collect()
    };
    let lines = texts
        .into_iter()
        .filter_map(|(text, place)| read(&text, place).transpose());
    let lines: Vec<Line> = lines.collect::<Result<_>>()?;
    if lines.is_empty() {
        return Err(USAGE.into());
    }

    let context = Context::establish()?;
    let reader = match reader {
        Some(reader) => context.find_reader(reader)?,
        None => context
            .wait_for_card(&CardFilter::new(), PATIENCE)?
            .reader_name()
            .clone(),
    };
    let mut card = context.connect(&reader, ConnectOptions::new())?;
    let mut transaction = card.transaction()?;
    for (command, expected, place) in &lines {
        println!("> {}", hex::encode_upper(command));
        let response = send(&mut transaction, command, exchange.as_ref())?;
        let status = response.status();
        println!("< {} [{status:04X}]", hex::encode_upper(response.data()));
        if let Some(asked_for) = response.asked_for() {
            println!("# {asked_for} bytes were asked for, there may be more");
        }
        if let Some(expected) = expected.as_deref().filter(|it| !fits(status, it)) {
            return Err(format!("{place}: {expected} was expected, not {status}").into());
        }
    }
    transaction.end(Disposition::Leave)?;
    card.disconnect(Disposition::Leave)?;
    Ok(())
}

/// Sends a command as it is, or exchanges it.
fn send(
    card: &mut Transaction<'_>,
    command: &[u8],
    exchange: Option<&ExchangeOptions>,
) -> Result<Response> {
    match exchange {
        None => Ok(Response::parse(&card.transmit(command)?)?),
        Some(options) => {
            // The options say how lengths are written, not the hex.
            let command = Command::parse_pseudo(command)?.in_form(Form::Auto)?;
            Ok(card.exchange_with(&command, options)?)
        }
    }
}

/// The options with another one, given as `NAME=VALUE`.
fn with(options: ExchangeOptions, option: &str) -> Result<ExchangeOptions> {
    let (name, value) = option.split_once('=').ok_or(USAGE)?;
    let unknown = || format!("{option}: there is no such option or value");
    let yes = || match value {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err(unknown()),
    };
    let number = || value.parse().map_err(|_| unknown());
    Ok(match name {
        "continuation" => options.continuation(match value {
            "auto" => Continuation::Auto,
            "same-class" => Continuation::SameClass,
            "interindustry" => Continuation::Interindustry,
            "gsm" => Continuation::Gsm,
            "oath" => Continuation::Oath,
            "desfire" => Continuation::Desfire,
            "never" => Continuation::Never,
            // A command of the card's own: class and instruction.
            own => {
                let (class, instruction) = own.split_once(':').ok_or_else(unknown)?;
                let byte = |text| u8::from_str_radix(text, 16).map_err(|_| unknown());
                Continuation::Command {
                    class: byte(class)?,
                    instruction: byte(instruction)?,
                }
            }
        }),
        "allow-less" => options.allow_less(yes()?),
        "any-instruction" => options.any_instruction(yes()?),
        "chaining" => options.chaining(yes()?),
        "data-of-warnings" => options.data_of_warnings(yes()?),
        "envelope" => options.envelope(yes()?),
        "envelope-end" => options.envelope_end(yes()?),
        "extended-length" => options.extended_length(yes()?),
        "max-answer-data" => options.max_answer_data(number()?),
        "max-command-data" => options.max_command_data(number()?),
        "max-rounds" => options.max_rounds(number()?),
        "max-size" => options.max_size(value.parse().map_err(|_| unknown())?),
        "reader-max-data" => options.reader_max_data(number()?),
        _ => return Err(unknown().into()),
    })
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
    let is_wrong = |it: &&String| it.len() != 4 || !it.chars().all(digit);
    if let Some(status) = status.iter().find(is_wrong) {
        return Err(format!("{place}: {status:?} is no status word").into());
    }
    let digits: String = command.trim().split([' ', ':']).collect();
    let command = hex::decode(&digits).map_err(|error| format!("{place}: {error}"))?;
    Ok(Some((command, status, place)))
}

/// Whether a status word is the expected one, in which `x` is any digit.
fn fits(status: StatusWord, expected: &str) -> bool {
    let digits = format!("{status:04x}");
    let mut both = digits.chars().zip(expected.chars());
    both.all(|(digit, expected)| expected == 'x' || expected == digit)
}
