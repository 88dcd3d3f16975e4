//! Control codes.

use std::fmt;
use std::str::FromStr;

use super::words::ParseValueError;
use crate::codes::{Platform, parse_number, stored_as_text};

/// A control code for the reader's driver: `dwControlCode` of `SCardControl`.
///
/// ```
/// use scard::ControlCode;
///
/// // The same request on every platform, although the numbers differ.
/// assert_eq!(ControlCode::from_function(3400), ControlCode::GET_FEATURE_REQUEST);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

    /// Creates a control code from its number.
    pub const fn from_raw(raw: u32) -> ControlCode {
        ControlCode(raw)
    }

    /// Returns the number.
    pub const fn raw(self) -> u32 {
        self.0
    }
}

/// Formats as `0x42000D48`.
impl fmt::Display for ControlCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:#010X}", self.0))
    }
}

/// Parses a number as read by [`parse_number`].
impl FromStr for ControlCode {
    type Err = ParseValueError;

    fn from_str(text: &str) -> Result<ControlCode, ParseValueError> {
        parse_number(text)
            .map(ControlCode)
            .ok_or_else(|| ParseValueError::new(text, "a control code"))
    }
}

stored_as_text!(ControlCode, "a control code");

impl fmt::Debug for ControlCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ControlCode({:#010X})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_read_back() {
        for raw in [0, 1, 0x0031_3520, 0x4200_0D48, u32::MAX] {
            let code = ControlCode::from_raw(raw);
            assert_eq!(code.to_string().parse(), Ok(code));
        }
        let code = ControlCode::from_raw(0x0031_3520);
        assert_eq!(format!("{code:>12}"), "  0x00313520");
        assert_eq!(
            "GET".parse::<ControlCode>().unwrap_err().to_string(),
            r#""GET" is not a control code"#
        );
    }
}
