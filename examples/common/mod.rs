//! What an example is as a program: arguments, output, exit codes. What it does is in its own file.

use std::fmt;
use std::io::{self, Write};
use std::process::{self, ExitCode, Termination};

use lexopt::Parser;

pub(crate) type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// Runs a program. An error goes to standard error, with what helps, and ends it with 1; wrong
/// arguments, which are a [`lexopt::Error`], with 2. `--help` prints the usage.
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
        say(format_args!("{usage}"));
        return ExitCode::SUCCESS;
    }
    let error = match program(arguments) {
        Ok(done) => return done.report(),
        Err(error) => error,
    };
    // Nobody may read this, either.
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

/// Prints a line. If nobody reads it any more, as in `list | head -1`, the program is done.
fn say(line: fmt::Arguments<'_>) {
    match writeln!(io::stdout().lock(), "{line}") {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => process::exit(0),
        Err(error) => {
            let _ = writeln!(io::stderr(), "cannot write: {error}");
            process::exit(1);
        }
    }
}
