//! The numbers of control codes.

use std::fmt;

use crate::codes::Platform;

/// A control code for the reader's driver: `dwControlCode` of `SCardControl`.
///
/// ```
/// use scard::ControlCode;
///
/// // The same request on every platform, though the numbers differ.
/// assert_eq!(ControlCode::from_function(3400), ControlCode::GET_FEATURE_REQUEST);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ControlCode(u32);

impl ControlCode {
    /// `CM_IOCTL_GET_FEATURE_REQUEST` of PC/SC Part 10: asks the reader for its features.
    #[doc(alias = "CM_IOCTL_GET_FEATURE_REQUEST")]
    pub const GET_FEATURE_REQUEST: ControlCode = ControlCode::from_function(3400);

    /// `SCARD_CTL_CODE(function)`: the code of a driver's function on this platform.
    #[doc(alias = "SCARD_CTL_CODE")]
    pub const fn from_function(function: u32) -> ControlCode {
        ControlCode(Platform::CURRENT.control_code(function))
    }

    /// The code with this number.
    pub const fn from_raw(raw: u32) -> ControlCode {
        ControlCode(raw)
    }

    /// The number.
    pub const fn raw(self) -> u32 {
        self.0
    }
}

impl fmt::Debug for ControlCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ControlCode({:#010X})", self.0)
    }
}
