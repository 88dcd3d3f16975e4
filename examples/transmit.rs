//! Sends command APDUs given in hex and prints the answers:
//!
//! `transmit 00A4040005A000000308 "00 84 00 00 08"`
//!
//! The commands run in one transaction. Each line of a script has a command and, optionally, the
//! expected status word, in which `x` is any digit; `#` begins a comment:
//!
//! ```text
//! 00A4040005A000000308 => 9000   # select
//! 00 84 00 00 08       => 61xx
//! 0020008000                     # any answer
//! ```

use std::path::PathBuf;
use std::process::ExitCode;

use lexopt::Arg::{Long, Value};
use lexopt::ValueExt;
use scard::apdu::{Continuation, ExchangeOptions, Expected, Form};
use scard::{Command, ConnectOptions, Context, Disposition, Response, StatusWord, Transaction};

use common::{Result, say, wrong};

mod common;

const USAGE: &str = "\
usage: transmit [OPTION]... HEX-APDU...
       transmit [OPTION]... --script FILE

Sends commands as they are, and prints the answers.

  --reader READER      part of the reader's name, its number, or `serial:` and its serial number;
                       default: the first reader that has a card within ten seconds
  --exchange           fetch whole answers, and send long commands as card and reader support them
  --with OPTION=VALUE  the same, with an option that the card or the reader needs:
                         continuation=auto|same-class|interindustry|gsm|oath|desfire|never|CLA:INS
                         max-answer-data=N, max-command-data=N, reader-max-data=N
                         max-rounds=N, max-size=N
                         allow-incomplete, any-instruction, chaining, data-of-warnings, envelope,
                         envelope-end, extended-length, ignore-t0: yes or no";

/// A command, the expected status word, and where both come from.
type Line = (Vec<u8>, Option<String>, String);

fn main() -> ExitCode {
    common::run(USAGE, |mut arguments| {
        let (mut reader, mut exchange) = (None, None);
        let mut lines = Vec::new();
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("reader") => reader = Some(arguments.value()?.string()?),
                Long("exchange") => exchange = exchange.or(Some(ExchangeOptions::new())),
                Long("with") => {
                    let option = arguments.value()?.string()?;
                    exchange = Some(with(exchange.unwrap_or_default(), &option)?);
                }
                Long("script") => lines.append(&mut read_script(arguments.value()?.into())?),
                Value(command) => {
                    let command = command.string()?;
                    lines.extend(read(&command, format!("\"{command}\"")).map_err(wrong)?);
                }
                other => return Err(other.unexpected().into()),
            }
        }
        match lines.is_empty() {
            true => Err(wrong("there is no command")),
            false => transmit(reader, &lines, exchange.as_ref()),
        }
    })
}

fn transmit(
    reader: Option<String>,
    lines: &[Line],
    exchange: Option<&ExchangeOptions>,
) -> Result<()> {
    let context = Context::establish()?;
    let reader = common::reader(&context, reader)?;
    let mut card = context.connect(&reader, ConnectOptions::new())?;
    let mut transaction = card.transaction()?;
    for (command, expected, place) in lines {
        // Prints no PIN.
        match Command::parse_pseudo(command) {
            Ok(secret) if secret.is_secret() => say!("> {secret}"),
            _ => say!("> {}", hex::encode_upper(command)),
        }
        let response = send(&mut transaction, command, exchange)?;
        let status = response.status();
        say!("< {} [{status:04X}]", hex::encode_upper(response.data()));
        if let Some(requested_len) = response.requested_len() {
            say!("# asked for {requested_len} bytes, there may be more");
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
            let command = Command::parse_pseudo(command)?;
            // The options determine how lengths are encoded, not the hex, unless only extended
            // lengths can ask for as much.
            let asks_for_more = command.is_extended()
                && command.expected() == Expected::All
                && command.data().len() <= 255;
            let command = match asks_for_more {
                true => command,
                false => command.with_form(Form::Auto)?,
            };
            Ok(card.exchange_with(&command, options)?)
        }
    }
}

/// Adds an option given as `NAME=VALUE`.
fn with(options: ExchangeOptions, option: &str) -> Result<ExchangeOptions> {
    let Some((name, value)) = option.split_once('=') else {
        return Err(wrong(format!("--with: \"{option}\" is not OPTION=VALUE")));
    };
    let not = |expected| wrong(format!("--with {name}: \"{value}\" is not {expected}"));
    let yes = || match value {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err(not("yes or no")),
    };
    let number = || value.parse::<u32>().map_err(|_| not("a number below 2^32"));
    Ok(match name {
        "continuation" => options.continuation(match value {
            "auto" => Continuation::Auto,
            "same-class" => Continuation::SameClass,
            "interindustry" => Continuation::Interindustry,
            "gsm" => Continuation::Gsm,
            "oath" => Continuation::Oath,
            "desfire" => Continuation::Desfire,
            "never" => Continuation::Never,
            // The card's own command: class and instruction.
            own => {
                let unknown = || not("a way to continue, nor CLA:INS in hex");
                let (class, instruction) = own.split_once(':').ok_or_else(unknown)?;
                let byte = |text| u8::from_str_radix(text, 16).map_err(|_| unknown());
                Continuation::Command {
                    class: byte(class)?,
                    instruction: byte(instruction)?,
                }
            }
        }),
        "allow-incomplete" => options.allow_incomplete(yes()?),
        "any-instruction" => options.any_instruction(yes()?),
        "chaining" => options.chaining(yes()?),
        "data-of-warnings" => options.data_of_warnings(yes()?),
        "envelope" => options.envelope(yes()?),
        "envelope-end" => options.envelope_end(yes()?),
        "extended-length" => options.extended_length(yes()?),
        "ignore-t0" => options.ignore_t0(yes()?),
        "max-answer-data" => options.max_answer_data(number()?),
        "max-command-data" => options.max_command_data(number()?),
        "max-rounds" => options.max_rounds(number()?),
        "max-size" => options.max_size(number()? as usize),
        "reader-max-data" => options.reader_max_data(number()?),
        _ => return Err(wrong(format!("--with: there is no option \"{name}\""))),
    })
}

fn read_script(file: PathBuf) -> Result<Vec<Line>> {
    let name = file.display();
    let script = std::fs::read_to_string(&file).map_err(|error| format!("{name}: {error}"))?;
    let lines = script.lines().zip(1..);
    let lines = lines.filter_map(|(line, number)| {
        let place = format!("{name}, line {number}");
        read(line, place).transpose()
    });
    Ok(lines.collect::<Result<_, String>>()?)
}

/// Reads a line of a script; `None` if it has only a comment.
fn read(line: &str, place: String) -> Result<Option<Line>, String> {
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
        return Err(format!("{place}: \"{status}\" is not a status word"));
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
