//! Lists the readers, their cards, and whether a card is in use.

use std::process::ExitCode;

use scard::{Context, ReaderFlags};

use common::say;

mod common;

const USAGE: &str = "\
usage: list

Lists the readers, their cards, and whether a card is in use.";

fn main() -> ExitCode {
    common::run(USAGE, |mut arguments| match arguments.next()? {
        Some(argument) => Err(argument.unexpected().into()),
        None => Ok(list()?),
    })
}

fn list() -> scard::Result<()> {
    let context = Context::establish()?;
    let states = context.reader_states()?;
    if states.is_empty() {
        say!("no reader");
    }
    for state in &states {
        say!("{}", state.reader_name());
        let flags = state.flags();
        let card = if flags.contains(ReaderFlags::MUTE) {
            "card does not answer".to_owned()
        } else if flags.contains(ReaderFlags::PRESENT) {
            format!("card {}", state.atr())
        } else if flags.contains(ReaderFlags::EMPTY) {
            "no card".to_owned()
        } else {
            "not available".to_owned()
        };
        let usage = if flags.contains(ReaderFlags::EXCLUSIVE) {
            ", in exclusive use"
        } else if flags.contains(ReaderFlags::INUSE) {
            ", in use"
        } else {
            ""
        };
        say!("  {card}{usage}");
    }
    Ok(())
}
