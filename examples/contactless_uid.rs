//! Prints the UID and the kind of each card that is put on a contactless reader, until Ctrl-C.
//!
//! `contactless_uid [--once]`
//!
//! Contact cards have no UID, and it says so.

use std::error::Error;

use scard::{Atr, CardFilter, ConnectOptions, Context, ErrorKind, Monitor, MonitorOptions};

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
    match uid(context, found.reader()) {
        Ok(uid) => println!("{}  {}", hex::encode_upper(uid), kind(&found.atr())),
        // Taken away again, or a card with contacts.
        Err(error) => println!("no UID: {error}"),
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

/// What Part 3 has readers put into the ATR of a storage card: `80 4F 0C`, the number of the
/// PC/SC workgroup, the standard, and the name of the card.
fn kind(atr: &Atr) -> String {
    let start = b"\x80\x4F\x0C\xA0\x00\x00\x03\x06";
    let bytes = atr.as_bytes();
    let Some(historical) = bytes.get(4..).and_then(|bytes| bytes.strip_prefix(start)) else {
        return "a card with a processor, or with contacts".to_owned();
    };
    match historical {
        [_, 0x00, 0x01, ..] => "MIFARE Classic 1K".to_owned(),
        [_, 0x00, 0x02, ..] => "MIFARE Classic 4K".to_owned(),
        [_, 0x00, 0x03, ..] => "MIFARE Ultralight".to_owned(),
        [_, 0x00, 0x26, ..] => "MIFARE Mini".to_owned(),
        [_, 0xF0, 0x04, ..] => "Topaz or Jewel".to_owned(),
        [_, 0xF0, 0x11, ..] | [_, 0xF0, 0x12, ..] => "FeliCa".to_owned(),
        [standard, a, b, ..] => format!("storage card {a:02X}{b:02X} of standard {standard:02X}"),
        _ => "a storage card".to_owned(),
    }
}
