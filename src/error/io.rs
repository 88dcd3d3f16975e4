//! Conversions to and from [`io::Error`].

use std::io;

use super::{Error, ErrorKind, HandleError, Operation};

impl From<Error> for io::Error {
    /// Wraps the error in an [`io::Error`] of the nearest kind.
    ///
    /// [`Error::try_from`] extracts it again, and [`Error::find`] finds it.
    #[doc = include_str!("io.md")]
    fn from(error: Error) -> io::Error {
        io::Error::new(nearest(error.kind(), error.operation()), error)
    }
}

impl TryFrom<io::Error> for Error {
    type Error = io::Error;

    /// Extracts the [`Error`] that an [`io::Error`] was created from.
    ///
    /// # Errors
    ///
    /// The [`io::Error`] itself if it was not created from one.
    fn try_from(error: io::Error) -> Result<Error, io::Error> {
        error.downcast::<Error>()
    }
}

impl<H> From<HandleError<H>> for io::Error {
    fn from(failed: HandleError<H>) -> io::Error {
        failed.into_error().into()
    }
}

/// The nearest kind.
fn nearest(kind: ErrorKind, operation: Operation) -> io::ErrorKind {
    match kind {
        ErrorKind::CardReset => io::ErrorKind::ConnectionReset,
        ErrorKind::ServiceGone if operation == Operation::EstablishContext => {
            io::ErrorKind::ConnectionRefused
        }
        ErrorKind::ServiceGone => io::ErrorKind::ConnectionAborted,
        ErrorKind::CardRemoved | ErrorKind::Abandoned => io::ErrorKind::NotConnected,
        ErrorKind::NoCard | ErrorKind::ReaderGone => io::ErrorKind::NotFound,
        ErrorKind::SharingViolation | ErrorKind::ServiceBusy => io::ErrorKind::ResourceBusy,
        ErrorKind::AccessDenied
        | ErrorKind::WrongPin
        | ErrorKind::PinBlocked
        | ErrorKind::PinRequired => io::ErrorKind::PermissionDenied,
        ErrorKind::Timeout | ErrorKind::DeadlineExceeded => io::ErrorKind::TimedOut,
        ErrorKind::InvalidArgument | ErrorKind::ProtocolMismatch => io::ErrorKind::InvalidInput,
        ErrorKind::Unsupported | ErrorKind::CardUnsupported => io::ErrorKind::Unsupported,
        _ => io::ErrorKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;
    use crate::codes::ReturnCode;
    use crate::error::tables::assert_written;
    use crate::values::ReaderName;

    #[test]
    fn io_errors_keep_the_error_inside() {
        let reader = ReaderName::new("R").unwrap();
        let error = Error::on_reader(Operation::Transmit, ReturnCode::W_RESET_CARD, &reader);
        let io = io::Error::from(error.clone());
        assert_eq!(io.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(io.to_string(), error.to_string());
        assert_eq!(Error::try_from(io).unwrap(), error);

        let other = io::Error::from(io::ErrorKind::NotFound);
        let back = Error::try_from(other).unwrap_err();
        assert_eq!(back.kind(), io::ErrorKind::NotFound);
    }

    /// The table in the documentation of the conversion.
    #[test]
    fn the_documentation_shows_the_kinds() {
        let mut text = String::from("\n| [`Error::kind`] | [`io::Error::kind`] |\n|---|---|\n");
        for &kind in ErrorKind::ALL {
            let everywhere = nearest(kind, Operation::Unknown);
            writeln!(
                text,
                "| [`{kind:?}`](ErrorKind::{kind:?}) | `{everywhere:?}` |"
            )
            .unwrap();
            for &operation in Operation::ALL {
                let here = nearest(kind, operation);
                if here != everywhere {
                    writeln!(text, "| the same, from `{operation}` | `{here:?}` |").unwrap();
                }
            }
        }
        assert_written("io.md", include_str!("io.md"), &text);
    }
}
