//! Errors as they are written to a log, for the feature `serde`. They are not read back.

use std::fmt;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::{Error, ErrorKind, Recovery};

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

/// The call, the code, the reader if there is one, kind and recovery as words such as
/// `card-reset`, and the text that `Display` prints.
impl Serialize for Error {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = 5 + usize::from(self.reader_name().is_some());
        let mut error = serializer.serialize_struct("Error", fields)?;
        error.serialize_field("operation", self.operation().function_name())?;
        error.serialize_field("code", &self.code())?;
        match self.reader_name() {
            Some(name) => error.serialize_field("reader_name", name)?,
            None => error.skip_field("reader_name")?,
        }
        error.serialize_field("kind", &self.kind())?;
        error.serialize_field("recovery", &self.recovery())?;
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
    use crate::values::ReaderName;

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
    }
}
