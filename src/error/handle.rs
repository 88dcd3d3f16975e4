//! Errors that return a handle.

use std::fmt;

use super::{Error, ErrorKind, Recovery, write_layer};
use crate::codes::{ReturnCode, debug_as_line};

/// The error of an operation that consumes a handle, with the handle.
///
/// In a function that returns [`Error`], `?` converts it and drops the handle. In a function that
/// returns a boxed error or `anyhow::Error`, `?` boxes it together with the handle, which stays
/// connected as long as the box lives; use `.map_err(HandleError::into_error)?` to drop the handle.
/// See also [how to print it](Error#errors-that-wrap-this-one).
///
/// ```no_run
/// # fn demo(card: scard::Card) -> scard::Result<()> {
/// use scard::Disposition;
///
/// match card.disconnect(Disposition::Reset) {
///     Ok(()) => Ok(()),
///     Err(failed) => {
///         let (card, error) = failed.into_parts();
///         eprintln!("{error}; still connected to {}", card.reader_name());
///         Err(error)
///     }
/// }
/// # }
/// ```
pub struct HandleError<H> {
    /// Boxed, so that results with this error stay small.
    handle: Box<H>,
    error: Error,
}

impl<H> HandleError<H> {
    #[cold]
    pub(crate) fn new(handle: H, error: Error) -> HandleError<H> {
        HandleError {
            handle: Box::new(handle),
            error,
        }
    }

    /// Returns the error.
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// Returns the [`Error::code`].
    pub fn code(&self) -> ReturnCode {
        self.error.code()
    }

    /// Returns the [`Error::kind`].
    pub fn kind(&self) -> ErrorKind {
        self.error.kind()
    }

    /// Returns the [`Error::recovery`].
    pub fn recovery(&self) -> Recovery {
        self.error.recovery()
    }

    /// Returns the handle, to try again.
    pub fn into_handle(self) -> H {
        *self.handle
    }

    /// Drops the handle and returns the error.
    pub fn into_error(self) -> Error {
        self.error
    }

    /// Returns the handle and the error.
    pub fn into_parts(self) -> (H, Error) {
        (*self.handle, self.error)
    }
}

impl<H> From<HandleError<H>> for Error {
    fn from(failed: HandleError<H>) -> Error {
        failed.error
    }
}

impl<H> fmt::Display for HandleError<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let adds = format_args!("closing or converting the handle failed");
        write_layer(f, adds, Some(&self.error))
    }
}

debug_as_line!(HandleError<H>);

impl<H> std::error::Error for HandleError<H> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}
