//! Prints a line for each event at the readers, until Ctrl-C.
//!
//! `monitor [--json]`
//!
//! Each line has the time (UTC), the reader and the event; with `--json` it is a JSON object, whose
//! `event` and `atr` are as the library's feature `serde` stores them.
//! Without a reader:
//!
//! ```sh
//! cargo build -p scard-testkit --bin with-virtual-readers
//! target/debug/with-virtual-readers -- cargo run --example monitor
//! ```

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lexopt::Arg::Long;
use scard::{Atr, Context, Event, MonitorOptions};
use serde_json::json;

use common::say;

mod common;

const USAGE: &str = "\
usage: monitor [--json]

Prints a line for each event at the readers, until Ctrl-C: the time (UTC), the reader, the event.

  --json  print JSON objects: time (seconds since 1970), event, text, and where the event has them
          reader_name and atr (\"3B 80 80 01 01\")";

fn main() -> ExitCode {
    common::run(USAGE, |mut arguments| {
        let mut json = false;
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("json") => json = true,
                other => return Err(other.unexpected().into()),
            }
        }
        monitor(json)
    })
}

fn monitor(json: bool) -> common::Result<()> {
    let context = Context::lazy();
    let monitor = context.monitor(MonitorOptions::new().use_changes(true))?;
    let stop = monitor.abort_handle();
    ctrlc::set_handler(move || stop.abort())?;

    for event in monitor {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        match json {
            true => say!("{}", as_json(&event, now)),
            false => say!("{}", as_text(&event, now)),
        }
    }
    Ok(())
}

fn as_text(event: &Event, now: Duration) -> String {
    let (seconds, millis) = (now.as_secs() % 86_400, now.subsec_millis());
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let time = format!("{hour:02}:{minute:02}:{second:02}.{millis:03}");
    let reading = event.atr().map(|atr| format!(": {}", reading(&atr)));
    format!("{time}  {event}{}", reading.unwrap_or_default())
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
        object["atr"] = json!(atr.to_string());
    }
    object.to_string()
}

/// The protocols that the card offers, and the manufacturer's historical bytes.
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
