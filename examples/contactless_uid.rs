//! Prints the UID and the kind of each card put on a contactless reader, until Ctrl-C.
//!
//! For contact cards, reports that they have no UID.

use std::process::ExitCode;

use lexopt::Arg::Long;
use lexopt::ValueExt;
use scard::{
    Atr, CardFilter, ConnectOptions, Context, ErrorKind, Monitor, MonitorOptions, Transmit,
};

use common::say;

mod common;

const USAGE: &str = "\
usage: contactless_uid [--reader READER] [--once]

Prints the UID and the kind of each card put on a contactless reader, until Ctrl-C.

  --reader READER  part of the reader's name, its number, or `serial:` and its serial number;
                   default: any reader
  --once           exit after the first card";

fn main() -> ExitCode {
    common::run(USAGE, |mut arguments| {
        let (mut reader, mut once) = (None, false);
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("reader") => reader = Some(arguments.value()?.string()?),
                Long("once") => once = true,
                other => return Err(other.unexpected().into()),
            }
        }
        show(reader, once)
    })
}

fn show(reader: Option<String>, once: bool) -> common::Result<()> {
    let context = Context::establish()?;
    let cards = match reader {
        Some(reader) => CardFilter::new().reader(&context.find_reader(reader)?),
        None => CardFilter::new(),
    };
    let mut monitor = context.monitor(MonitorOptions::new())?;
    let stop = monitor.abort_handle();
    ctrlc::set_handler(move || stop.abort())?;

    loop {
        match show_next(&context, &mut monitor, &cards, once) {
            Ok(()) if once => return Ok(()),
            Ok(()) => {}
            // Ctrl-C.
            Err(error) if error.kind() == ErrorKind::Cancelled => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits for a card, shows it, and waits for its removal.
fn show_next(
    context: &Context,
    monitor: &mut Monitor,
    cards: &CardFilter,
    once: bool,
) -> scard::Result<()> {
    let found = monitor.wait_for_card(cards, None)?;
    match uid(context, found.reader_name()) {
        Ok(uid) => say!("{}  {}", hex::encode_upper(uid), kind(&found.atr())),
        // Removed again, or a contact card.
        Err(error) => say!("no UID: {error:#}"),
    }
    match once {
        true => Ok(()),
        false => monitor.wait_for_removal(&CardFilter::new().same_card(&found), None),
    }
}

fn uid(context: &Context, reader: &scard::ReaderName) -> common::Result<Vec<u8>> {
    let mut card = context.connect(reader, ConnectOptions::new())?;
    Ok(card.contactless().uid()?)
}

/// The kind of card, as the reader encodes it in the ATR.
fn kind(atr: &Atr) -> String {
    match atr.parse().storage_card() {
        Some(card) => card.to_string(),
        None => "a card with a processor, or with contacts".to_owned(),
    }
}
