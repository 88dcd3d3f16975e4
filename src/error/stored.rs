//! Serializing errors for logs, with the feature `serde`. They cannot be deserialized.

use std::fmt;

use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

use super::{Error, ErrorKind, Recovery, Seen, SeenReader};
use crate::values::ReaderName;

/// The name of a variant in kebab case: `card-reset`.
struct Word<T>(T);

impl<T: fmt::Debug> fmt::Display for Word<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, letter) in format!("{:?}", self.0).char_indices() {
            if letter.is_uppercase() && i > 0 {
                f.write_str("-")?;
            }
            write!(f, "{}", letter.to_ascii_lowercase())?;
        }
        Ok(())
    }
}

impl Serialize for ErrorKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Word(self))
    }
}

impl Serialize for Recovery {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Word(self))
    }
}

/// Serializes the reader and the [name](Seen::name) of what was seen in it, with further details.
impl Serialize for SeenReader {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename = "SeenReader")]
        struct Stored<'a> {
            reader_name: &'a ReaderName,
            seen: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            reason: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            kind: Option<ErrorKind>,
        }
        let (reason, kind) = match self.seen() {
            Seen::Refused { reason } => (Some(reason.as_str()), None),
            Seen::Failed { kind } => (None, Some(*kind)),
            _ => (None, None),
        };
        let stored = Stored {
            reader_name: self.reader_name(),
            seen: self.seen().name(),
            reason,
            kind,
        };
        stored.serialize(serializer)
    }
}

/// Serializes the call, the code, the reader, the kind and the recovery (as words such as
/// `card-reset`), what was seen in the readers, and the output of `Display`. Absent parts are
/// omitted.
impl Serialize for Error {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let has_seen = !self.seen().is_empty();
        let fields = 5 + usize::from(self.reader_name().is_some()) + usize::from(has_seen);
        let mut error = serializer.serialize_struct("Error", fields)?;
        error.serialize_field("operation", self.operation().function_name())?;
        error.serialize_field("code", &self.code())?;
        match self.reader_name() {
            Some(name) => error.serialize_field("reader_name", name)?,
            None => error.skip_field("reader_name")?,
        }
        error.serialize_field("kind", &self.kind())?;
        error.serialize_field("recovery", &self.recovery())?;
        match has_seen {
            true => error.serialize_field("seen", self.seen())?,
            false => error.skip_field("seen")?,
        }
        error.serialize_field("text", &self.to_string())?;
        error.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::codes::ReturnCode;
    use crate::error::Operation;

    #[test]
    fn an_error_is_stored_with_what_it_says() {
        let reader = ReaderName::new("R").unwrap();
        let error = Error::on_reader(Operation::Transmit, ReturnCode::W_RESET_CARD, &reader);
        let stored = json!({
            "operation": "SCardTransmit",
            "code": "SCARD_W_RESET_CARD, 0x80100068",
            "reader_name": "R",
            "kind": "card-reset",
            "recovery": "reconnect",
            "text": "SCardTransmit on \"R\" failed: the card was reset \
                     (SCARD_W_RESET_CARD, 0x80100068)",
        });
        assert_eq!(serde_json::to_value(&error).unwrap(), stored);
        let error = Error::new(Operation::ListReaders, ReturnCode::from_raw(0x8010_00FF));
        let stored = serde_json::to_value(&error).unwrap();
        assert_eq!(stored["code"], "0x801000FF");
        assert_eq!(stored["kind"], "unknown");
        assert_eq!(stored.get("reader_name"), None);
        assert_eq!(stored.get("seen"), None);
    }

    #[test]
    fn what_was_seen_is_stored_with_its_words() {
        let reader = |name| ReaderName::new(name).unwrap();
        let reason = "no application".to_owned();
        let kind = ErrorKind::Communication;
        let error = Error::new(Operation::GetStatusChange, ReturnCode::E_TIMEOUT).with_seen(vec![
            SeenReader::new(reader("A"), Seen::Empty),
            SeenReader::new(reader("B"), Seen::Refused { reason }),
            SeenReader::new(reader("C"), Seen::Failed { kind }),
        ]);
        let stored = json!([
            {"reader_name": "A", "seen": "empty"},
            {"reader_name": "B", "seen": "refused", "reason": "no application"},
            {"reader_name": "C", "seen": "failed", "kind": "communication"},
        ]);
        assert_eq!(serde_json::to_value(&error).unwrap()["seen"], stored);
    }
}
