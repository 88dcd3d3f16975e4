//! Explains return codes and status words, in every family that defines them.
//!
//! ```text
//! explain 0x80100068 -2146434968 SCARD_W_RESET_CARD CKR_PIN_LOCKED 0x00050007 6A82
//! explain "SCardTransmit failed: FFFFFFFF80100068"
//! explain < program.log
//! ```
//!
//! Each argument is a code or a line that contains some. Without arguments, reads lines from
//! standard input, and skips those without codes. Exits with 1 if it found no codes, or an unknown
//! one.

use std::io::{self, BufRead, IsTerminal, Write};
use std::process::ExitCode;

use lexopt::Parser;
use scard::StatusWord;
use scard::codes::{self, Found, Meaning};

mod common;

const USAGE: &str = "\
usage: explain CODE-OR-LINE...
       explain < LOG

Explains return codes and status words: hexadecimal with or without 0x, decimal, or names,
anywhere in a line. Exits with 1 if it found no codes, or an unknown one.";

fn main() -> ExitCode {
    common::run(USAGE, |arguments| {
        let mut out = io::stdout().lock();
        match explain_all(arguments, &mut out) {
            Ok(true) => Ok(ExitCode::SUCCESS),
            Ok(false) => Ok(ExitCode::FAILURE),
            // The pipe is closed, as in `explain … | head`.
            Err(error) if is_closed(error.as_ref()) => Ok(ExitCode::SUCCESS),
            Err(error) => Err(error),
        }
    })
}

fn is_closed(error: &(dyn std::error::Error + 'static)) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Whether any codes were found, and all of them are known.
fn explain_all(mut arguments: Parser, out: &mut impl Write) -> common::Result<bool> {
    // Raw, because a negative number is not an option.
    let texts: Vec<_> = arguments.raw_args()?.skip_while(|it| it == "--").collect();
    if !texts.is_empty() {
        let mut all_known = true;
        for text in texts {
            let text = text.to_string_lossy();
            if text.starts_with("--") {
                return Err(lexopt::Error::UnexpectedOption(text.into_owned()).into());
            }
            let known = explain(out, &text)?;
            if known.is_none() {
                writeln!(
                    out,
                    "{}\n  unknown: neither a code nor the name of one",
                    text.trim()
                )?;
            }
            all_known &= known.unwrap_or(false);
        }
        return Ok(all_known);
    }
    if io::stdin().is_terminal() {
        return Err(lexopt::Error::from("nothing to explain").into());
    }
    let mut all_known = None;
    for line in io::stdin().lock().split(b'\n') {
        let known = explain(out, &String::from_utf8_lossy(&line?))?;
        all_known = known
            .map(|known| known && all_known != Some(false))
            .or(all_known);
    }
    Ok(all_known.unwrap_or(false))
}

/// Whether all codes in the line are known; `None` if it has none.
fn explain(out: &mut impl Write, line: &str) -> io::Result<Option<bool>> {
    let found = codes::scan(line);
    if found.is_empty() {
        return Ok(None);
    }
    writeln!(out, "{}", line.trim())?;
    let mut all_known = true;
    for found in found {
        if let Found::StatusWord(status) = found {
            describe_status(out, StatusWord(status))?;
            continue;
        }
        for meaning in found.meanings() {
            describe(out, &meaning)?;
        }
        if let (Found::Code { number, .. }, None) = (found, found.meanings().next()) {
            let number = number.unwrap_or_default();
            writeln!(out, "  unknown code {number:#010X} ({})", number as i32)?;
            all_known = false;
        }
    }
    Ok(Some(all_known))
}

fn describe_status(out: &mut impl Write, status: StatusWord) -> io::Result<()> {
    let name = status
        .name()
        .map_or(String::new(), |name| format!("{name}: "));
    writeln!(out, "  {name}{}", status.description())?;
    writeln!(out, "    number:   {status:04X}")?;
    writeln!(out, "    family:   status word of a card")?;
    if let Some(tries) = status.remaining_tries() {
        writeln!(out, "    tries:    {tries} left")?;
    }
    Ok(())
}

fn describe(out: &mut impl Write, meaning: &Meaning) -> io::Result<()> {
    let code = meaning.code();
    writeln!(out, "  {}: {}", meaning.name(), meaning.description())?;
    writeln!(out, "    number:   {code:#010X} ({})", code as i32)?;
    writeln!(out, "    family:   {}", meaning.family())?;
    if let Some(system) = meaning.system_code().filter(|system| *system != code) {
        writeln!(out, "              system code {system} as HRESULT")?;
    }
    if let Some(platforms) = meaning.only_on() {
        let names: Vec<String> = platforms.iter().map(|p| p.to_string()).collect();
        writeln!(out, "    only on:  {}", names.join(", "))?;
    }
    if let Some(severity) = meaning.severity() {
        writeln!(out, "    severity: {severity}")?;
    }
    writeln!(out, "    to do:    {}", meaning.recovery().advice())
}
