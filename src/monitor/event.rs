//! The events of a monitor.

use std::fmt;
use std::hash::{Hash, Hasher};

use crate::codes::stored_as_text;
use crate::error::Error;
use crate::values::words::words;
use crate::values::{Atr, ReaderName};

/// A change at the readers.
///
/// The events of a reader are consistent: it is attached before a card is inserted, and a card is
/// removed before the reader is detached. Applying them one after the other yields the current
/// state.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A reader was attached. It is empty unless another event follows.
    #[non_exhaustive]
    ReaderAttached {
        /// The name of the reader.
        reader_name: ReaderName,
    },
    /// A reader was detached. Its card was reported removed before.
    #[non_exhaustive]
    ReaderDetached {
        /// The name of the reader.
        reader_name: ReaderName,
    },
    /// The service cannot read the state of this reader. Its card was reported removed before.
    #[non_exhaustive]
    ReaderUnavailable {
        /// The name of the reader.
        reader_name: ReaderName,
    },
    /// The service can read the state of this reader again. It is empty unless
    /// another event follows.
    #[non_exhaustive]
    ReaderAvailable {
        /// The name of the reader.
        reader_name: ReaderName,
    },
    /// A card was inserted and answers, or a [mute](Event::CardMute) card answers now.
    #[non_exhaustive]
    CardInserted {
        /// The reader of the card.
        reader_name: ReaderName,
        /// The card's answer to reset.
        atr: Atr,
    },
    /// A card does not answer: it is inserted the wrong way round, is defective, or did not
    /// answer its last reset.
    #[non_exhaustive]
    CardMute {
        /// The reader of the card.
        reader_name: ReaderName,
    },
    /// Between two looks, the card was removed and a card was inserted, maybe the same one.
    /// Detected by the event counter of the service or, without one (macOS), by a different ATR.
    #[non_exhaustive]
    CardExchanged {
        /// The reader of the card.
        reader_name: ReaderName,
        /// The answer to reset of the card now in the reader.
        atr: Atr,
    },
    /// A card was inserted and removed between two looks, according to the event counter of the
    /// service.
    #[non_exhaustive]
    CardMissed {
        /// The reader of the card.
        reader_name: ReaderName,
    },
    /// The card's answer to reset changed without a removal: some cards answer the first reset
    /// differently from later ones.
    #[non_exhaustive]
    AtrChanged {
        /// The reader of the card.
        reader_name: ReaderName,
        /// The new answer to reset.
        atr: Atr,
    },
    /// The card was removed.
    #[non_exhaustive]
    CardRemoved {
        /// The reader of the card.
        reader_name: ReaderName,
    },
    /// Programs began or stopped using the reader. Reported only with
    /// [`MonitorOptions::use_changes`](crate::MonitorOptions::use_changes).
    #[non_exhaustive]
    UseChanged {
        /// The name of the reader.
        reader_name: ReaderName,
        /// How the reader is used now.
        usage: Usage,
    },
    /// The service ended, refuses to answer, or sends answers that this process cannot read
    /// ([`ErrorKind::StaleProcess`](crate::ErrorKind::StaleProcess)). All readers are reported
    /// detached next. Open connections keep working in a stale process: finish the work in progress
    /// and restart the program.
    ///
    /// A hanging service is not noticed. Call [`Context::readers`](crate::Context::readers) with a
    /// time-out to find out.
    #[non_exhaustive]
    ServiceLost {
        /// The last answer of the service.
        error: Error,
    },
    /// The service is available again. Its readers are reported next.
    ServiceRestored,
}

/// How programs use a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[non_exhaustive]
pub enum Usage {
    /// No program is connected.
    #[default]
    Unused,
    /// Programs are connected to the card.
    Shared,
    /// One program has exclusive access.
    Exclusive,
}

words!(Usage, "a usage (unused, shared or exclusive)", {
    Unused = "unused",
    Shared = "shared",
    Exclusive = "exclusive",
});
stored_as_text!(Usage, "a usage");

impl Event {
    /// Returns a stable, machine-readable name such as `card-inserted`. It does not change between
    /// versions of this library.
    pub fn name(&self) -> &'static str {
        match self {
            Event::ReaderAttached { .. } => "reader-attached",
            Event::ReaderDetached { .. } => "reader-detached",
            Event::ReaderUnavailable { .. } => "reader-unavailable",
            Event::ReaderAvailable { .. } => "reader-available",
            Event::CardInserted { .. } => "card-inserted",
            Event::CardMute { .. } => "card-mute",
            Event::CardExchanged { .. } => "card-exchanged",
            Event::CardMissed { .. } => "card-missed",
            Event::AtrChanged { .. } => "atr-changed",
            Event::CardRemoved { .. } => "card-removed",
            Event::UseChanged { .. } => "use-changed",
            Event::ServiceLost { .. } => "service-lost",
            Event::ServiceRestored => "service-restored",
        }
    }

    /// Returns the reader concerned; `None` for events of the service.
    pub fn reader_name(&self) -> Option<&ReaderName> {
        match self {
            Event::ReaderAttached { reader_name }
            | Event::ReaderDetached { reader_name }
            | Event::ReaderUnavailable { reader_name }
            | Event::ReaderAvailable { reader_name }
            | Event::CardInserted { reader_name, .. }
            | Event::CardMute { reader_name }
            | Event::CardExchanged { reader_name, .. }
            | Event::CardMissed { reader_name }
            | Event::AtrChanged { reader_name, .. }
            | Event::CardRemoved { reader_name }
            | Event::UseChanged { reader_name, .. } => Some(reader_name),
            Event::ServiceLost { .. } | Event::ServiceRestored => None,
        }
    }

    /// Returns the answer to reset of the card now in the reader.
    pub fn atr(&self) -> Option<Atr> {
        match self {
            Event::CardInserted { atr, .. }
            | Event::CardExchanged { atr, .. }
            | Event::AtrChanged { atr, .. } => Some(*atr),
            _ => None,
        }
    }

    /// Returns how the reader is used now, if that changed.
    pub fn usage(&self) -> Option<Usage> {
        match self {
            Event::UseChanged { usage, .. } => Some(*usage),
            _ => None,
        }
    }

    /// Returns the last answer of the service, if the service was lost.
    pub fn error(&self) -> Option<&Error> {
        match self {
            Event::ServiceLost { error } => Some(error),
            _ => None,
        }
    }
}

impl Hash for Event {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
        self.reader_name().hash(state);
        self.atr().hash(state);
        self.usage().hash(state);
        self.error().map(Error::code).hash(state);
    }
}

/// Prints the [reader](Event::reader_name), if there is one, and the event:
/// `ACS ACR122U 00 00: card removed`.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = self.reader_name() {
            write!(f, "{}: ", name.escaped())?;
        }
        What(self).fmt(f)
    }
}

/// What happened, without the reader.
pub(super) struct What<'a>(pub(super) &'a Event);

impl fmt::Display for What<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.0 {
            Event::ReaderAttached { .. } => "reader attached",
            Event::ReaderDetached { .. } => "reader detached",
            Event::ReaderUnavailable { .. } => "reader unavailable",
            Event::ReaderAvailable { .. } => "reader available again",
            Event::CardInserted { .. } => "card inserted",
            Event::CardMute { .. } => "card does not answer",
            Event::CardExchanged { .. } => "card exchanged",
            Event::CardMissed { .. } => "card came and went",
            Event::AtrChanged { .. } => "card has another ATR",
            Event::CardRemoved { .. } => "card removed",
            Event::UseChanged { usage, .. } => match usage {
                Usage::Unused => "not in use",
                Usage::Shared => "in use",
                Usage::Exclusive => "in exclusive use",
            },
            Event::ServiceLost { error } => return write!(f, "service lost: {error}"),
            Event::ServiceRestored => "service restored",
        };
        match self.0.atr() {
            Some(atr) => write!(f, "{what} ({atr})"),
            None => f.write_str(what),
        }
    }
}

/// The serialized form of events: for logs, and write-only because errors cannot be deserialized.
#[cfg(feature = "serde")]
#[derive(serde::Serialize)]
#[serde(rename = "Event")]
struct StoredEvent<'a> {
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reader_name: Option<&'a ReaderName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    atr: Option<Atr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a Error>,
}

/// Serializes the [name](Event::name) and the fields:
/// `{"event": "card-inserted", "reader_name": …, "atr": …}`.
#[cfg(feature = "serde")]
impl serde::Serialize for Event {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let stored = StoredEvent {
            event: self.name(),
            reader_name: self.reader_name(),
            atr: self.atr(),
            usage: self.usage(),
            error: self.error(),
        };
        stored.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::codes::ReturnCode;
    use crate::error::Operation;

    /// One of each.
    fn all() -> Vec<Event> {
        let reader = || ReaderName::new("R").unwrap();
        let atr = Atr::new(&[0x3B, 0x00]).unwrap();
        let error = Error::new(Operation::GetStatusChange, ReturnCode::E_NO_SERVICE);
        vec![
            Event::ReaderAttached {
                reader_name: reader(),
            },
            Event::ReaderDetached {
                reader_name: reader(),
            },
            Event::ReaderUnavailable {
                reader_name: reader(),
            },
            Event::ReaderAvailable {
                reader_name: reader(),
            },
            Event::CardInserted {
                reader_name: reader(),
                atr,
            },
            Event::CardMute {
                reader_name: reader(),
            },
            Event::CardExchanged {
                reader_name: reader(),
                atr,
            },
            Event::CardMissed {
                reader_name: reader(),
            },
            Event::AtrChanged {
                reader_name: reader(),
                atr,
            },
            Event::CardRemoved {
                reader_name: reader(),
            },
            Event::UseChanged {
                reader_name: reader(),
                usage: Usage::Shared,
            },
            Event::ServiceLost { error },
            Event::ServiceRestored,
        ]
    }

    #[test]
    fn names_are_stable() {
        let names: Vec<&str> = all().iter().map(Event::name).collect();
        assert_eq!(
            names,
            [
                "reader-attached",
                "reader-detached",
                "reader-unavailable",
                "reader-available",
                "card-inserted",
                "card-mute",
                "card-exchanged",
                "card-missed",
                "atr-changed",
                "card-removed",
                "use-changed",
                "service-lost",
                "service-restored",
            ]
        );
    }

    #[test]
    fn an_event_is_printed_in_one_line_with_its_reader() {
        let reader_name = ReaderName::new("Reader\nB 00 00").unwrap();
        let removed = Event::CardRemoved { reader_name };
        assert_eq!(removed.to_string(), r"Reader\nB 00 00: card removed");
        assert_eq!(Event::ServiceRestored.to_string(), "service restored");
    }

    #[test]
    fn events_can_be_in_sets() {
        let set: HashSet<Event> = all().into_iter().chain(all()).collect();
        assert_eq!(set.len(), all().len());
    }

    #[test]
    fn usage_is_a_word() {
        for usage in [Usage::Unused, Usage::Shared, Usage::Exclusive] {
            assert_eq!(usage.to_string().parse(), Ok(usage));
        }
        assert_eq!(format!("{:>7}", Usage::Shared), " shared");
        assert_eq!(
            "used".parse::<Usage>().unwrap_err().to_string(),
            r#""used" is not a usage (unused, shared or exclusive)"#
        );
    }

    #[cfg(feature = "serde")]
    #[test]
    fn events_are_serialized_with_their_fields() {
        use serde_json::json;

        let stored: Vec<_> = all().iter().map(|it| json!(it)).collect();
        assert_eq!(
            stored[0],
            json!({"event": "reader-attached", "reader_name": "R"})
        );
        assert_eq!(
            stored[4],
            json!({"event": "card-inserted", "reader_name": "R", "atr": "3B 00"})
        );
        assert_eq!(
            stored[10],
            json!({"event": "use-changed", "reader_name": "R", "usage": "shared"})
        );
        assert_eq!(stored[11]["error"]["kind"], "service-gone");
        assert_eq!(stored[12], json!({"event": "service-restored"}));
    }
}
