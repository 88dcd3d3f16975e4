//! Conversions to and from the error of the `pcsc` crate, version 2.

use super::{Error, Operation};
use crate::codes::ReturnCode;

/// Needs the feature `pcsc-2`.
impl From<pcsc::Error> for ReturnCode {
    /// Returns the code of the error. `pcsc::Error::UnknownError` stands for every code the `pcsc`
    /// crate does not know; that code is lost.
    fn from(error: pcsc::Error) -> ReturnCode {
        ReturnCode::from_raw(error as u32)
    }
}

/// Needs the feature `pcsc-2`.
impl From<pcsc::Error> for Error {
    /// Creates an error of [`Operation::Unknown`]: the `pcsc` crate does not report which call
    /// failed.
    fn from(error: pcsc::Error) -> Error {
        Error::new(Operation::Unknown, ReturnCode::from(error))
    }
}

/// Needs the feature `pcsc-2`.
impl From<ReturnCode> for pcsc::Error {
    /// Returns the error of the `pcsc` crate for this code; `UnknownError` if there is none.
    fn from(code: ReturnCode) -> pcsc::Error {
        PCSC_ERRORS
            .iter()
            .copied()
            .find(|error| *error as u32 == code.raw())
            .unwrap_or(pcsc::Error::UnknownError)
    }
}

/// Needs the feature `pcsc-2`.
impl From<Error> for pcsc::Error {
    /// See the conversion from [`ReturnCode`]. The operation and the reader are lost.
    fn from(error: Error) -> pcsc::Error {
        error.code().into()
    }
}

/// All errors of the `pcsc` crate.
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
}
