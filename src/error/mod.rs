//! Errors: which call failed, on which reader, and the exact code it gave.

mod handle;
//mod kind;
mod operation;

use std::fmt;

use crate::{ReaderName, ReturnCode};

pub use handle::HandleError;
//pub use kind::{ErrorKind, Recovery};
pub use operation::Operation;

/// Who found the fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The PC/SC service (or its client library, or the driver) returned the code.
    Service,
    /// This library refused the call before it was made, because it could not succeed. The
    /// code is the one the service would be expected to give.
    Library,
}

/// A PC/SC call that failed.
///
/// One word in size. [`Display`](fmt::Display) says all there is to know in one line:
///
/// ```text
/// SCardTransmit on "ACS ACR122U 00 00" failed: the card was reset (SCARD_W_RESET_CARD, 0x80100068)
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Box<Inner>);

/// The result of a PC/SC call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Clone, PartialEq, Eq)]
struct Inner {
    operation: Operation,
    code: ReturnCode,
    reader: Option<ReaderName>,
    refusal: Option<&'static str>,
}

impl Error {
    #[cold]
    pub(crate) fn new(operation: Operation, code: ReturnCode) -> Error {
        Error(Box::new(Inner {
            operation,
            code,
            reader: None,
            refusal: None,
        }))
    }

    #[cold]
    pub(crate) fn on_reader(operation: Operation, code: ReturnCode, reader: &ReaderName) -> Error {
        let mut error = Error::new(operation, code);
        error.0.reader = Some(reader.clone());
        error
    }

    /// A call that is not made at all; `why` reads on after "failed:".
    #[cold]
    pub(crate) fn refused(operation: Operation, reader: &ReaderName, why: &'static str) -> Error {
        let mut error = Error::on_reader(operation, ReturnCode::E_INVALID_PARAMETER, reader);
        error.0.refusal = Some(why);
        error
    }

    /// The call that failed.
    pub fn operation(&self) -> Operation {
        self.0.operation
    }

    /// The exact code.
    pub fn code(&self) -> ReturnCode {
        self.0.code
    }

    /// The reader, where the call was about one.
    pub fn reader(&self) -> Option<&ReaderName> {
        self.0.reader.as_ref()
    }

    /// Whether the service answered with the code or this library refused the call.
    pub fn origin(&self) -> Origin {
        match self.0.refusal {
            None => Origin::Service,
            Some(_) => Origin::Library,
        }
    }

    /// What went wrong, without operation, reader and number.
    pub fn description(&self) -> &'static str {
        self.0.refusal.unwrap_or_else(|| self.0.code.description())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.operation.fmt(f)?;
        if let Some(reader) = self.reader() {
            write!(f, " on \"{reader}\"")?;
        }
        write!(
            f,
            " failed: {} ({})",
            self.description(),
            self.0.code.identity()
        )
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("operation", &self.0.operation)
            .field("code", &self.0.code)
            .field("reader", &self.0.reader)
            .field("origin", &self.origin())
            .field("description", &self.description())
            .finish()
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_says_call_reader_meaning_name_and_number() {
        let reader = ReaderName::new("Reader X").unwrap();
        let error = Error::on_reader(Operation::Transmit, ReturnCode::W_RESET_CARD, &reader);
        assert_eq!(
            error.to_string(),
            "SCardTransmit on \"Reader X\" failed: the card was reset \
             (SCARD_W_RESET_CARD, 0x80100068)"
        );
        assert_eq!(error.origin(), Origin::Service);

        let error = Error::new(
            Operation::EstablishContext,
            ReturnCode::from_raw(0x8010_00FF),
        );
        assert_eq!(
            error.to_string(),
            "SCardEstablishContext failed: unknown code (0x801000FF)"
        );
    }

    #[test]
    fn a_refused_call_says_why() {
        let reader = ReaderName::new("R").unwrap();
        let error = Error::refused(Operation::Transmit, &reader, "the command is empty");
        assert_eq!(
            error.to_string(),
            "SCardTransmit on \"R\" failed: the command is empty \
             (SCARD_E_INVALID_PARAMETER, 0x80100004)"
        );
        assert_eq!(error.origin(), Origin::Library);
    }

    #[test]
    fn errors_travel_and_are_small() {
        fn travels<T: std::error::Error + Send + Sync + 'static>() {}
        travels::<Error>();
        assert_eq!(size_of::<Result<()>>(), size_of::<usize>());
    }
}
