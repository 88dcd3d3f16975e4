//! Calls whose answers have a length known only to the service.

use pcsc::ffi::DWORD;

use super::{failure_of_answer, length, length_within};
use crate::codes::{Platform, ReturnCode};
use crate::service::Failure;

/// Fits most answers on the first call. pcsc-lite refuses larger buffers for attributes.
pub(super) const FIRST_LEN: usize = 264;

/// The same for a list of readers: fits all that pcsc-lite before 2.5 can have.
pub(super) const LIST_LEN: usize = 4096;

/// How far pcsc-lite may write past the buffer of a list. Before 2.0.1 it measures the list, then
/// copies it, and another thread can lengthen it in between: at most to 16 names of 128 bytes each
/// or, if a service omits the NULs, of the 2,944 bytes of the table.
pub(super) const LIST_OVERRUN: usize = match Platform::CURRENT {
    Platform::PcscLite => 1 << 16,
    _ => 0,
};

/// More than any list of readers or attribute needs; a service that requests more is broken.
const MAX_LEN: usize = 1 << 20;

/// The maximum number of calls for an answer that keeps growing.
const MAX_CALLS: usize = 16;

/// Whether the code means that the answer does not fit into its buffer.
pub(super) fn is_too_small(code: ReturnCode) -> bool {
    matches!(
        code,
        ReturnCode::E_INSUFFICIENT_BUFFER | ReturnCode::INSUFFICIENT_BUFFER | ReturnCode::MORE_DATA
    )
}

/// Calls with a buffer, and again with a larger one while the answer does not fit. The buffer's
/// vector has room for `overrun` more units. Lengths are in units: bytes, or 16-bit units for names
/// on Windows.
///
/// The answer can grow between two calls, when a reader is plugged in.
pub(super) fn sized_answer<U: Copy + Default>(
    first_len: usize,
    overrun: usize,
    mut call: impl FnMut(&mut Vec<U>, &mut DWORD) -> Result<(), Failure>,
) -> Result<Vec<U>, Failure> {
    let mut buffer = Vec::with_capacity(first_len + overrun);
    buffer.resize(first_len, U::default());
    let mut failure = Failure::from(ReturnCode::E_INSUFFICIENT_BUFFER);
    for _ in 0..MAX_CALLS {
        let mut len = length(buffer.len());
        match call(&mut buffer, &mut len) {
            Ok(()) => {
                buffer.truncate(length_within(len, buffer.len())?);
                return Ok(buffer);
            }
            Err(refused) if is_too_small(refused.code) => {
                failure = failure_of_answer(refused, len, buffer.len());
                // If the service does not report the needed length, double the buffer.
                let needed = usize::try_from(len).unwrap_or(usize::MAX);
                let needed = needed.max(buffer.len().saturating_mul(2));
                if needed > MAX_LEN {
                    break;
                }
                buffer.clear();
                buffer.reserve(needed + overrun);
                buffer.resize(needed, U::default());
            }
            Err(failure) => return Err(failure),
        }
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A service whose answers have these lengths, call by call.
    fn service(lens: &[usize]) -> (Result<Vec<u8>, Failure>, usize) {
        let mut calls = 0;
        let answer = sized_answer(FIRST_LEN, 0, |buffer: &mut Vec<u8>, len| {
            let wanted = lens.get(calls).copied().unwrap_or(usize::MAX);
            calls += 1;
            *len = length(wanted);
            match buffer.get_mut(..wanted) {
                Some(part) => {
                    part.fill(0xAA);
                    Ok(())
                }
                None => Err(ReturnCode::E_INSUFFICIENT_BUFFER.into()),
            }
        });
        (answer, calls)
    }

    #[test]
    fn a_short_answer_takes_one_call() {
        assert_eq!(service(&[3]), (Ok(vec![0xAA; 3]), 1));
        assert_eq!(service(&[0]), (Ok(vec![]), 1));
    }

    #[test]
    fn an_answer_that_grows_between_the_calls_is_asked_for_again() {
        assert_eq!(service(&[300, 700, 700]), (Ok(vec![0xAA; 700]), 3));
    }

    #[test]
    fn too_small_is_said_in_three_ways() {
        for code in [
            ReturnCode::E_INSUFFICIENT_BUFFER,
            ReturnCode::from_raw(122),
            ReturnCode::from_raw(234),
        ] {
            let mut calls = 0;
            let answer = sized_answer(FIRST_LEN, 1000, |buffer: &mut Vec<u8>, len| {
                calls += 1;
                assert!(buffer.capacity() >= buffer.len() + 1000);
                *len = length(2000);
                if buffer.len() < 2000 {
                    Err(code.into())
                } else {
                    Ok(())
                }
            });
            assert_eq!((answer.map(|it| it.len()), calls), (Ok(2000), 2), "{code}");
            let failure = failure_of_answer(code.into(), length(9), 8);
            assert_eq!(failure.needed_len, Some(9));
        }
    }

    #[test]
    fn a_service_that_is_never_satisfied_is_left() {
        let (answer, calls) = service(&[]);
        let failure = answer.unwrap_err();
        assert_eq!(failure.code, ReturnCode::E_INSUFFICIENT_BUFFER);
        let absurd = usize::try_from(DWORD::MAX).unwrap_or(usize::MAX);
        assert_eq!(failure.needed_len, Some(absurd));
        assert_eq!(calls, 1, "an absurd length is not allocated");
        let mut calls = 0;
        let answer = sized_answer(FIRST_LEN, 0, |_: &mut Vec<u8>, len| {
            calls += 1;
            *len = 0;
            Err(ReturnCode::E_INSUFFICIENT_BUFFER.into())
        });
        assert_eq!(answer, Err(ReturnCode::E_INSUFFICIENT_BUFFER.into()));
        assert!(calls <= MAX_CALLS);
    }

    #[test]
    fn success_with_an_absurd_length_is_a_fault() {
        let answer = sized_answer(FIRST_LEN, 0, |_: &mut Vec<u8>, len| {
            *len = DWORD::MAX;
            Ok(())
        });
        assert_eq!(answer, Err(ReturnCode::F_INTERNAL_ERROR.into()));
    }
}
