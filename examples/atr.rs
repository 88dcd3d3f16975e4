//! Explains ATRs, byte by byte.
//!
//! ```text
//! atr 3B FD 13 00 00 81 31 FE 15 80 73 C0 21 C0 57 59 75 62 69 4B 65 79 40
//! atr
//! ```
//!
//! Takes one ATR as hex digits, with spaces or colons between bytes or without. Without
//! arguments, explains those of the cards in the readers.

use std::error::Error;
use std::process::ExitCode;

use scard::{Atr, Context, ReaderFlags};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let explained = match arguments.as_slice() {
        [] => explain_cards(),
        _ => explain_hex(&arguments.concat()),
    };
    match explained {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn explain_hex(text: &str) -> Result<(), Box<dyn Error>> {
    let atr: Atr = text.parse()?;
    if atr.is_empty() {
        return Err("usage: atr [hex digits]".into());
    }
    explain(&atr, "");
    Ok(())
}

fn explain_cards() -> Result<(), Box<dyn Error>> {
    let states = Context::establish()?.reader_states()?;
    if states.is_empty() {
        println!("no reader");
    }
    for state in &states {
        println!("{}", state.reader_name());
        if state.flags().contains(ReaderFlags::MUTE) {
            println!("  card does not answer");
        } else if state.atr().is_empty() {
            println!("  no card");
        } else {
            explain(&state.atr(), "  ");
        }
    }
    Ok(())
}

/// The ATR, then what it says, a little to the right.
fn explain(atr: &Atr, indent: &str) {
    println!("{indent}{atr}");
    for line in atr.parse().to_string().lines() {
        println!("{indent}  {line}");
    }
}
