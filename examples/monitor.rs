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
    let reader = event
        .reader_name()
        .map_or("-".to_owned(), ToString::to_string);
    let reading = event.atr().map(|atr| format!(": {}", reading(&atr)));
    format!(
        "{time}  {reader:<32}  {event}{}",
        reading.unwrap_or_default()
    )
}

fn as_json(event: &Event, now: Duration) -> String {
    let mut object = json!({
        "time": now.as_secs_f64(),
        "event": event.name(),
        "text": event.to_string(),
    });
    if let Some(reader) = event.reader_name() {
        object["reader_name"] = json!(reader.to_string());
    }
    if let Some(atr) = event.atr() {
        object["atr"] = json!(hex::encode_upper(atr.as_bytes()));
    }
    object.to_string()
}

/// The protocols that the card offers, and what its maker has put into the historical bytes.
fn reading(atr: &Atr) -> String {
    let reading = atr.parse();
    let protocols: Vec<String> = reading.offered().iter().map(|t| format!("T={t}")).collect();
    let protocols = protocols.join(" ");
    if let Some(card) = reading.storage_card() {
        return format!("{protocols}, {card}");
    }
    match reading.historical().as_bytes() {
        [] => protocols,
        bytes => format!("{protocols}, historical bytes \"{}\"", bytes.escape_ascii()),
    }
}
