//! Subscribers of `tracing`.

use std::fmt::{Debug, Write};
use std::hint::black_box;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Dispatch, Event, Metadata, Subscriber};

/// Formats events of its target into a string, and discards it.
struct Writer {
    wants: &'static str,
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a string cannot fail.
        let _ = write!(self.0, " {field}={value:?}");
    }
}

/// A subscriber that formats the calls of this library.
pub(super) fn of_calls() -> Dispatch {
    Dispatch::new(Writer { wants: "scard" })
}

/// A subscriber for other targets.
pub(super) fn of_others() -> Dispatch {
    Dispatch::new(Writer { wants: "other" })
}

impl Subscriber for Writer {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        match self.enabled(metadata) {
            true => Interest::always(),
            false => Interest::never(),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with(self.wants)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::with_capacity(256));
        event.record(&mut line);
        black_box(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
