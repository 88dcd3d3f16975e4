//! What the examples share as programs: arguments, output, exit codes. What each does with cards is
//! in its own file.
#![allow(dead_code, unused_macros, reason = "no example needs all of it")]

use std::fmt;
use std::io::{self, Write};
use std::process::{self, ExitCode, Termination};
use std::time::Duration;

use lexopt::Parser;
use scard::{CardFilter, Context, ReaderName};

pub(crate) type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// How long to wait for a card.
const PATIENCE: Option<Duration> = Some(Duration::from_secs(10));

/// Runs a program and returns its exit code: 1 for an error, which it prints on standard error with
/// advice, and 2 for wrong arguments, which are a [`lexopt::Error`]. `--help` prints the usage.
pub(crate) fn run<T: Termination>(
    usage: &str,
    program: impl FnOnce(Parser) -> Result<T>,
) -> ExitCode {
    let mut arguments = Parser::from_env();
    let asks_for_help = arguments.try_raw_args().is_some_and(|raw| {
        let mut options = raw.as_slice().iter().take_while(|it| *it != "--");
        options.any(|it| it == "--help" || it == "-h")
    });
    if asks_for_help {
        print(format_args!("{usage}"));
        return ExitCode::SUCCESS;
    }
    let error = match program(arguments) {
        Ok(done) => return done.report(),
        Err(error) => error,
    };
    // Standard error may be closed, too.
    let mut out = io::stderr().lock();
    let _ = writeln!(out, "{error:#}");
    if error.is::<lexopt::Error>() {
        let _ = writeln!(out, "\n{usage}");
        return ExitCode::from(2);
    }
    if let Some(error) = scard::Error::find(error.as_ref()) {
        let _ = writeln!(out, "{}", error.advice());
    }
    ExitCode::FAILURE
}

/// Prints a line. Exits quietly if the pipe is closed, as in `list | head -1`.
pub(crate) fn print(line: fmt::Arguments<'_>) {
    match writeln!(io::stdout().lock(), "{line}") {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => process::exit(0),
        Err(error) => {
            let _ = writeln!(io::stderr(), "cannot write: {error}");
            process::exit(1);
        }
    }
}

/// `println!` for a pipe that may be closed.
macro_rules! say {
    ($($arguments:tt)*) => { $crate::common::print(format_args!($($arguments)*)) };
}
#[allow(unused_imports, reason = "no example needs all of it")]
pub(crate) use say;

/// The requested reader, by part of its name, its number, or `serial:` and its serial number;
/// without a request, waits for the first reader with a card.
pub(crate) fn reader(context: &Context, wanted: Option<String>) -> Result<ReaderName> {
    if let Some(wanted) = wanted {
        return Ok(context.find_reader(wanted)?);
    }
    let found = context.wait_for_card(&CardFilter::new(), PATIENCE)?;
    Ok(found.reader_name().clone())
}

/// The value of an option; the error names the option and what it expects.
pub(crate) fn value<T>(
    arguments: &mut Parser,
    option: &str,
    expected: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T> {
    let value = arguments.value()?;
    let parsed = value.to_str().and_then(parse);
    parsed.ok_or_else(|| wrong(format!("{option}: {value:?} is not {expected}")))
}

/// The error for an argument with an invalid value.
pub(crate) fn wrong(message: impl fmt::Display) -> Box<dyn std::error::Error> {
    lexopt::Error::Custom(message.to_string().into()).into()
}
