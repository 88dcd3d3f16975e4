//! Expected events: programs cannot create events.

use std::time::Duration;

use scard::{Atr, Event, Monitor, ReaderName, Usage};

/// What an event about a reader must report.
#[derive(Debug, Clone, PartialEq)]
pub struct Expected {
    name: &'static str,
    reader: ReaderName,
    atr: Option<Atr>,
    usage: Option<Usage>,
}

impl PartialEq<Expected> for Event {
    fn eq(&self, expected: &Expected) -> bool {
        self.name() == expected.name
            && self.reader_name() == Some(&expected.reader)
            && self.atr() == expected.atr
            && self.usage() == expected.usage
    }
}

fn expected(name: &'static str, reader: &ReaderName) -> Expected {
    Expected {
        name,
        reader: reader.clone(),
        atr: None,
        usage: None,
    }
}

pub fn attached(reader: &ReaderName) -> Expected {
    expected("reader-attached", reader)
}

pub fn detached(reader: &ReaderName) -> Expected {
    expected("reader-detached", reader)
}

/// A card with T=1.
pub fn inserted(reader: &ReaderName) -> Expected {
    let mut inserted = expected("card-inserted", reader);
    inserted.atr = Some(Atr::new(scard_testkit::atr::T1).unwrap());
    inserted
}

pub fn removed(reader: &ReaderName) -> Expected {
    expected("card-removed", reader)
}

pub fn used(reader: &ReaderName, usage: Usage) -> Expected {
    let mut used = expected("use-changed", reader);
    used.usage = Some(usage);
    used
}

/// The events that are already there.
pub fn pending(monitor: &mut Monitor) -> Vec<Event> {
    std::iter::from_fn(|| monitor.next_timeout(Duration::ZERO)).collect()
}
