//! To and from the errors of others.

use std::io;

use super::{Error, ErrorKind, HandleError, Operation};
use crate::codes::ReturnCode;

impl From<pcsc::Error> for ReturnCode {
    /// The code that the error stands for. `pcsc::Error::UnknownError` is what the `pcsc`
    /// crate makes of every code it does not know; the code itself is lost there.
    fn from(error: pcsc::Error) -> ReturnCode {
        ReturnCode::from_raw(error as u32)
    }
}

impl From<pcsc::Error> for Error {
    /// An error of [`Operation::Unknown`]: the `pcsc` crate does not say which call failed.
    fn from(error: pcsc::Error) -> Error {
        Error::new(Operation::Unknown, ReturnCode::from(error))
    }
}

impl From<ReturnCode> for pcsc::Error {
    /// The error of the `pcsc` crate for this code; `UnknownError` where it has none.
    fn from(code: ReturnCode) -> pcsc::Error {
        PCSC_ERRORS
            .iter()
            .copied()
            .find(|error| *error as u32 == code.raw())
            .unwrap_or(pcsc::Error::UnknownError)
    }
}

impl From<Error> for pcsc::Error {
    /// See the conversion from [`ReturnCode`]. Operation and reader are lost.
    fn from(error: Error) -> pcsc::Error {
        error.code().into()
    }
}

impl From<Error> for io::Error {
    /// An [`io::Error`] of the nearest kind, with the [`Error`] inside:
    /// [`Error::try_from`] gets it out again.
    fn from(error: Error) -> io::Error {
        let kind = match error.kind() {
            ErrorKind::CardReset => io::ErrorKind::ConnectionReset,
            ErrorKind::ServiceGone if error.operation() == Operation::EstablishContext => {
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
            ErrorKind::Cancelled => io::ErrorKind::Interrupted,
            ErrorKind::InvalidArgument | ErrorKind::ProtocolMismatch => io::ErrorKind::InvalidInput,
            ErrorKind::Unsupported | ErrorKind::CardUnsupported => io::ErrorKind::Unsupported,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

impl TryFrom<io::Error> for Error {
    type Error = io::Error;

    /// The [`Error`] that the [`io::Error`] was made of.
    ///
    /// # Errors
    ///
    /// The [`io::Error`] itself if it was not made of one.
    fn try_from(error: io::Error) -> Result<Error, io::Error> {
        error.downcast::<Error>()
    }
}

impl<H> From<HandleError<H>> for io::Error {
    fn from(failed: HandleError<H>) -> io::Error {
        failed.into_error().into()
    }
}

/// All that the `pcsc` crate has.
const PCSC_ERRORS: &[pcsc::Error] = {
    use pcsc::Error::*;
    &[
        InternalError,
        Cancelled,
        InvalidHandle,
        InvalidParameter,
        InvalidTarget,
        NoMemory,
        WaitedTooLong,
        InsufficientBuffer,
        UnknownReader,
        Timeout,
        SharingViolation,
        NoSmartcard,
        UnknownCard,
        CantDispose,
        ProtoMismatch,
        NotReady,
        InvalidValue,
        SystemCancelled,
        CommError,
        UnknownError,
        InvalidAtr,
        NotTransacted,
        ReaderUnavailable,
        Shutdown,
        PciTooSmall,
        ReaderUnsupported,
        DuplicateReader,
        CardUnsupported,
        NoService,
        ServiceStopped,
        #[cfg(windows)]
        Unexpected,
        IccInstallation,
        IccCreateorder,
        UnsupportedFeature,
        DirNotFound,
        FileNotFound,
        NoDir,
        NoFile,
        NoAccess,
        WriteTooMany,
        BadSeek,
        InvalidChv,
        UnknownResMng,
        NoSuchCertificate,
        CertificateUnavailable,
        NoReadersAvailable,
        CommDataLost,
        NoKeyContainer,
        ServerTooBusy,
        UnsupportedCard,
        UnresponsiveCard,
        UnpoweredCard,
        ResetCard,
        RemovedCard,
        SecurityViolation,
        WrongChv,
        ChvBlocked,
        Eof,
        CancelledByUser,
        CardNotAuthenticated,
        CacheItemNotFound,
        CacheItemStale,
        CacheItemTooBig,
    ]
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::ReaderName;

    #[test]
    fn every_error_of_the_pcsc_crate_comes_back() {
        for &theirs in PCSC_ERRORS {
            let code = ReturnCode::from(theirs);
            assert!(code.name().is_some(), "{theirs:?}");
            assert_eq!(pcsc::Error::from(code), theirs);
            let ours = Error::from(theirs);
            assert_eq!((ours.operation(), ours.code()), (Operation::Unknown, code));
            assert_eq!(pcsc::Error::from(ours), theirs);
        }
    }

    #[test]
    fn codes_that_the_pcsc_crate_lacks_become_its_unknown_error() {
        for raw in [0, 6, 0x8010_00FF, 0x8010_0034, u32::MAX] {
            let theirs = pcsc::Error::from(ReturnCode::from_raw(raw));
            assert_eq!(theirs, pcsc::Error::UnknownError, "{raw:#x}");
        }
    }

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

    #[test]
    fn io_kinds_are_the_nearest() {
        for (operation, code, kind) in [
            (
                Operation::EstablishContext,
                ReturnCode::E_NO_SERVICE,
                io::ErrorKind::ConnectionRefused,
            ),
            (
                Operation::Transmit,
                ReturnCode::E_NO_SERVICE,
                io::ErrorKind::ConnectionAborted,
            ),
            (
                Operation::Connect,
                ReturnCode::E_NO_SMARTCARD,
                io::ErrorKind::NotFound,
            ),
            (
                Operation::Connect,
                ReturnCode::E_SHARING_VIOLATION,
                io::ErrorKind::ResourceBusy,
            ),
            (
                Operation::Transmit,
                ReturnCode::from_raw(0x1234),
                io::ErrorKind::Other,
            ),
        ] {
            assert_eq!(io::Error::from(Error::new(operation, code)).kind(), kind);
        }
    }
}
