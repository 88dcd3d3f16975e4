//! Shows what happens at the readers, a line for each event, until Ctrl-C.
//!
//! `monitor [--json]`
//!
//! Each line has the time (UTC), the reader and the event; with `--json` it is an object for
//! machines. Without a reader:
//!
//! ```sh
//! cargo build -p scard-testkit --bin with-virtual-readers
//! target/debug/with-virtual-readers -- cargo run --example monitor
//! ```

use std::error::Error;
use std::io::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use scard::{Atr, Context, Event, MonitorOptions};
use serde_json::json;

fn main() -> Result<(), Box<dyn Error>> {
    let json = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--json") => true,
        Some(_) => return Err("usage: monitor [--json]".into()),
    };
    let context = Context::establish()?;
    let monitor = context.monitor(MonitorOptions::new().use_changes(true))?;
    let stop = monitor.abort_handle();
    ctrlc::set_handler(move || stop.abort())?;

    let mut out = io::stdout().lock();
    for event in monitor {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let line = if json {
            as_json(&event, now)
        } else {
            as_text(&event, now)
        };
        if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
            break; // Nobody reads it any more.
        }
    }
    Ok(())
}

fn as_text(event: &Event, now: Duration) -> String {
    let (seconds, millis) = (now.as_secs() % 86_400, now.subsec_millis());
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let time = format!("{hour:02}:{minute:02}:{second:02}.{millis:03}");
    let reader = event.reader().map_or("-".to_owned(), ToString::to_string);
    let reading = event.atr().map(|atr| format!(": {}", reading(&atr)));
    format!(
        "{time}  {reader:<32}  {event}{}",
        reading.unwrap_or_default()
    )
}

fn as_json(event: &Event, now: Duration) -> String {
    // `CardInserted { .. }` is "CardInserted".
    let debug = format!("{event:?}");
    let kind = debug.split([' ', '{']).next();
    let mut object = json!({
        "time": now.as_secs_f64(),
        "event": kind,
        "text": event.to_string(),
    });
    if let Some(reader) = event.reader() {
        object["reader"] = json!(reader.to_string());
    }
    if let Some(atr) = event.atr() {
        object["atr"] = json!(hex::encode_upper(atr.as_bytes()));
    }
    object.to_string()
}

/// The protocols that the card offers, and what its maker has put into the historical bytes.
fn reading(atr: &Atr) -> String {
    let mut bytes = atr.as_bytes().iter().copied().skip(1);
    let format = bytes.next().unwrap_or_default();
    let mut protocols = Vec::new();
    let mut present = format;
    loop {
        // TA, TB and TC are of no interest here.
        let others = (present & 0x70).count_ones() as usize;
        bytes.by_ref().take(others).for_each(drop);
        let next = if present & 0x80 != 0 {
            bytes.next()
        } else {
            None
        };
        let Some(td) = next else { break };
        // 15 is no protocol: what follows holds for all of them.
        if td & 0x0F != 15 && !protocols.contains(&format!("T={}", td & 0x0F)) {
            protocols.push(format!("T={}", td & 0x0F));
        }
        present = td;
    }
    if protocols.is_empty() {
        protocols.push("T=0".to_owned());
    }
    let historical: Vec<u8> = bytes.take(usize::from(format & 0x0F)).collect();
    match historical.escape_ascii().to_string().as_str() {
        "" => protocols.join(" "),
        text => format!("{}, historical bytes \"{text}\"", protocols.join(" ")),
    }
}
