//! Prints the UID and the kind of each card that is put on a contactless reader, until Ctrl-C.
//!
//! `contactless_uid [--once]`
//!
//! Contact cards have no UID, and it says so.

use std::error::Error;

use scard::{
    Atr, CardFilter, ConnectOptions, Context, ErrorKind, Monitor, MonitorOptions, Transmit,
};

fn main() -> Result<(), Box<dyn Error>> {
    let once = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--once") => true,
        Some(_) => return Err("usage: contactless_uid [--once]".into()),
    };
    let context = Context::establish()?;
    let mut monitor = context.monitor(MonitorOptions::new())?;
    let stop = monitor.abort_handle();
    ctrlc::set_handler(move || stop.abort())?;

    loop {
        match show_next(&context, &mut monitor, once) {
            Ok(()) if once => return Ok(()),
            Ok(()) => {}
            // Ctrl-C.
            Err(error) if error.kind() == ErrorKind::Cancelled => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits for a card, shows it, and waits until it is gone.
fn show_next(context: &Context, monitor: &mut Monitor, once: bool) -> scard::Result<()> {
    let found = monitor.wait_for_card(&CardFilter::new(), None)?;
    match uid(context, found.reader_name()) {
        Ok(uid) => println!("{}  {}", hex::encode_upper(uid), kind(&found.atr())),
        // Taken away again, or a card with contacts.
        Err(error) => println!("no UID: {error:#}"),
    }
    match once {
        true => Ok(()),
        false => monitor.wait_for_removal(&CardFilter::new().same_card(&found), None),
    }
}

fn uid(context: &Context, reader: &scard::ReaderName) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut card = context.connect(reader, ConnectOptions::new())?;
    Ok(card.contactless().uid()?)
}

/// What the reader has put into the ATR.
fn kind(atr: &Atr) -> String {
    match atr.parse().storage_card() {
        Some(card) => card.to_string(),
        None => "a card with a processor, or with contacts".to_owned(),
    }
}
