use std::fmt;

/// How bad a code says its situation is: the letter after `SCARD_`, `SEC_`, `CRYPT_` or
/// `CERT_` in its name. Codes that begin with `NTE_` are all errors.
///
/// The number alone does not say it; all codes of the SCard facility have the same
/// severity bits.
///
/// In order, the worst is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Severity {
    /// `S`: success.
    Success,
    /// `I`: the call succeeded, and there is something to know or to do next.
    Information,
    /// `P`: a progress message, no failure of the caller's.
    Progress,
    /// `W`: a warning: the card needs attention before the operation can be done.
    Warning,
    /// `E`: an error: the operation was not done.
    Error,
    /// `F`: a fatal error inside the service or in the communication with it.
    Fatal,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Severity::Success => "success",
            Severity::Information => "information",
            Severity::Progress => "progress",
            Severity::Warning => "warning",
            Severity::Error => "error",
            Severity::Fatal => "fatal error",
        })
    }
}
