//! Problems of ATRs.

use std::fmt;

use super::interface::InterfaceName;
use crate::values::Atr;

/// A problem of an ATR. [`Display`](fmt::Display) describes it in a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AtrProblem {
    /// There are no bytes.
    Empty,
    /// There are this many bytes, more than the 33 an ATR can have.
    TooLong(u8),
    /// TS is neither 3B nor 3F.
    UnknownConvention(u8),
    /// There is nothing after TS.
    FormatByteMissing,
    /// The ATR ends before an announced interface byte.
    InterfaceByteMissing(InterfaceName),
    /// The value of an interface byte is reserved for future use.
    #[non_exhaustive]
    ReservedValue {
        /// The byte.
        name: InterfaceName,
        /// Its value.
        value: u8,
    },
    /// TD1 has T=15, which is not a protocol.
    T15First,
    /// The numbers T are not in ascending order.
    #[non_exhaustive]
    ProtocolOrder {
        /// The number T of a TD.
        before: u8,
        /// The lower number T of the next TD.
        after: u8,
    },
    /// The ATR ends before the last historical byte.
    #[non_exhaustive]
    HistoricalBytesMissing {
        /// The number that T0 announces.
        announced: u8,
        /// The number present.
        present: u8,
    },
    /// The protocols require a check byte, but there is none.
    TckMissing,
    /// The check byte is not the exclusive or of the bytes before it.
    #[non_exhaustive]
    TckWrong {
        /// The check byte.
        sent: u8,
        /// The correct value.
        expected: u8,
    },
    /// There is a correct check byte, which is not allowed with T=0 alone.
    TckNotAllowed,
    /// There are this many extra bytes at the end.
    ExtraBytes(u8),
    /// The category indicator is one of the reserved 81 to 8F.
    ReservedCategory(u8),
    /// The category indicator is 00, but there is no three-byte status at the end.
    StatusMissing,
    /// The category indicator is 10, but no DIR data reference follows.
    DirReferenceMissing,
    /// A data object is longer than the rest of the historical bytes.
    #[non_exhaustive]
    ObjectTooLong {
        /// Its tag, 0 to 15.
        tag: u8,
        /// Its length.
        announced: u8,
        /// The number of bytes present.
        present: u8,
    },
    /// A data object has an invalid length for its tag.
    #[non_exhaustive]
    ObjectLength {
        /// Its tag, 0 to 15.
        tag: u8,
        /// Its length.
        length: u8,
    },
}

impl fmt::Display for AtrProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AtrProblem::Empty => f.write_str("there are no bytes"),
            AtrProblem::TooLong(len) => {
                write!(
                    f,
                    "there are {len} bytes, but at most {} are allowed",
                    Atr::MAX_LEN
                )
            }
            AtrProblem::UnknownConvention(ts) => {
                write!(f, "TS is {ts:02X}, neither 3B nor 3F")
            }
            AtrProblem::FormatByteMissing => f.write_str("T0 is missing"),
            AtrProblem::InterfaceByteMissing(name) => {
                write!(f, "{name} is missing: the ATR ends before it")
            }
            AtrProblem::ReservedValue { name, value } => {
                write!(f, "the value {value:02X} of {name} is reserved")
            }
            AtrProblem::T15First => f.write_str("TD1 has T=15, which is not a protocol"),
            AtrProblem::ProtocolOrder { before, after } => {
                write!(f, "T={after} comes after T={before}, out of order")
            }
            AtrProblem::HistoricalBytesMissing { announced, present } => write!(
                f,
                "historical bytes are missing: T0 announces {announced}, there are {present}"
            ),
            AtrProblem::TckMissing => f.write_str("the check byte TCK is missing"),
            AtrProblem::TckWrong { sent, expected } => {
                write!(
                    f,
                    "the check byte TCK is {sent:02X} but should be {expected:02X}"
                )
            }
            AtrProblem::TckNotAllowed => {
                f.write_str("there is a check byte TCK, which is not allowed with T=0 alone")
            }
            AtrProblem::ExtraBytes(1) => f.write_str("there is an extra byte at the end"),
            AtrProblem::ExtraBytes(count) => write!(f, "there are {count} extra bytes at the end"),
            AtrProblem::ReservedCategory(category) => {
                write!(
                    f,
                    "the category {category:02X} of the historical bytes is reserved"
                )
            }
            AtrProblem::StatusMissing => f.write_str(
                "the historical bytes have category 00 but no three-byte status at the end",
            ),
            AtrProblem::DirReferenceMissing => {
                f.write_str("the historical bytes have category 10 but no DIR data reference")
            }
            AtrProblem::ObjectTooLong {
                tag,
                announced,
                present,
            } => write!(
                f,
                "the historical data object with tag {tag:X} has {present} of {announced} bytes"
            ),
            AtrProblem::ObjectLength { tag, length } => write!(
                f,
                "the historical data object with tag {tag:X} cannot have length {length}"
            ),
        }
    }
}
