use std::fmt;

/// The severity in a code's name: the letter after `SCARD_`, `SEC_`, `CRYPT_` or `CERT_`.
///
/// Codes that begin with `NTE_` are all errors.
///
/// It cannot be derived from the number: all codes of the SCard facility have the same severity
/// bits.
///
/// Severities are ordered; the worst is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Severity {
    /// `S`: success.
    Success,
    /// `I`: the call succeeded, with additional information or a next step.
    Information,
    /// `P`: a progress message, not a failure.
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
