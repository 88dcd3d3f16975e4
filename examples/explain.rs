//! Says what return codes mean, in every family that has them.
//!
//! ```text
//! explain 0x80100068 -2146434968 SCARD_W_RESET_CARD CKR_PIN_LOCKED 0x00050007
//! ```
//!
//! Takes numbers, names, and lines that end with a code in parentheses, as this library's
//! errors do. Without arguments, reads one a line from standard input. Ends with 1 if
//! something had no meaning.

use std::io::{self, BufRead, Write};
use std::process::ExitCode;

use scard::ReturnCode;
use scard::codes::{self, Meaning};

fn main() -> io::Result<ExitCode> {
    let mut out = io::stdout().lock();
    match explain_all(&mut out) {
        Ok(true) => Ok(ExitCode::SUCCESS),
        Ok(false) => Ok(ExitCode::FAILURE),
        // Whoever reads has seen enough, as in `explain … | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error),
    }
}

/// Whether everything had a meaning.
fn explain_all(out: &mut impl Write) -> io::Result<bool> {
    let mut all_known = true;
    let mut arguments = std::env::args_os().skip(1).peekable();
    if arguments.peek().is_some() {
        for argument in arguments {
            all_known &= explain(out, &argument.to_string_lossy())?;
        }
        return Ok(all_known);
    }
    for line in io::stdin().lock().split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        if !line.trim().is_empty() {
            all_known &= explain(out, &line)?;
        }
    }
    Ok(all_known)
}

/// Whether the text had a meaning.
fn explain(out: &mut impl Write, text: &str) -> io::Result<bool> {
    let text = text.trim();
    let mut meanings = codes::parse(text).peekable();
    writeln!(out, "{text}")?;
    if meanings.peek().is_none() {
        match text.parse::<ReturnCode>() {
            Ok(code) => writeln!(out, "  unknown code {code:#010X} ({})", code.raw() as i32)?,
            Err(_) => writeln!(out, "  unknown: neither a code nor the name of one")?,
        }
        return Ok(false);
    }
    for meaning in meanings {
        describe(out, &meaning)?;
    }
    Ok(true)
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
