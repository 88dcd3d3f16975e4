//! Explains ATRs, byte by byte.
//!
//! ```text
//! atr 3B FD 13 00 00 81 31 FE 15 80 73 C0 21 C0 57 59 75 62 69 4B 65 79 40
//! atr
//! ```
//!
//! Takes one ATR as hex digits, optionally with spaces or colons between bytes. Without arguments,
//! explains the ATRs of the cards in the readers.

use std::process::ExitCode;

use lexopt::Arg::Value;
use lexopt::ValueExt;
use scard::{Atr, Context, ReaderFlags};

use common::say;

mod common;

const USAGE: &str = "\
usage: atr [HEX-DIGITS]...

Explains an ATR byte by byte; without arguments, the ATRs of the cards in the readers.";

fn main() -> ExitCode {
    common::run(USAGE, |mut arguments| {
        let mut digits = None;
        while let Some(argument) = arguments.next()? {
            match argument {
                Value(more) => *digits.get_or_insert_with(String::new) += &more.string()?,
                other => return Err(other.unexpected().into()),
            }
        }
        match digits {
            None => Ok(explain_cards()?),
            Some(digits) => explain_hex(&digits),
        }
    })
}

fn explain_hex(digits: &str) -> common::Result<()> {
    let atr: Atr = digits.parse().map_err(common::wrong)?;
    if atr.is_empty() {
        return Err(common::wrong("an ATR has at least one byte"));
    }
    explain(&atr, "");
    Ok(())
}

fn explain_cards() -> scard::Result<()> {
    let states = Context::establish()?.reader_states()?;
    if states.is_empty() {
        say!("no reader");
    }
    for state in &states {
        say!("{}", state.reader_name());
        if state.flags().contains(ReaderFlags::MUTE) {
            say!("  card does not answer");
        } else if state.atr().is_empty() {
            say!("  no card");
        } else {
            explain(&state.atr(), "  ");
        }
    }
    Ok(())
}

/// Prints the ATR, then its meaning, indented.
fn explain(atr: &Atr, indent: &str) {
    say!("{indent}{atr}");
    for line in atr.parse().to_string().lines() {
        say!("{indent}  {line}");
    }
}
