//! Calls whose answer has a length that only the service knows.

use pcsc::ffi::DWORD;

use super::{Failure, length, length_within};
use crate::ReturnCode;

/// Fits most answers at the first call. pcsc-lite refuses larger buffers for attributes.
const FIRST_LEN: usize = 264;

/// More than any list of readers or attribute has; a service that asks for more is broken.
const MAX_LEN: usize = 1 << 20;

/// How often an answer may have grown since the call before.
const MAX_CALLS: usize = 16;

/// Calls with a buffer, and again with a larger one as long as the answer does not fit.
///
/// The answer can grow in between: a reader may be plugged in between two calls.
pub(crate) fn sized_answer(
    mut call: impl FnMut(&mut [u8], &mut DWORD) -> Result<(), ReturnCode>,
) -> Result<Vec<u8>, Failure> {
    let mut buffer = vec![0; FIRST_LEN];
    let mut failure = Failure::from(ReturnCode::E_INSUFFICIENT_BUFFER);
    for _ in 0..MAX_CALLS {
        let mut len = length(buffer.len());
        match call(&mut buffer, &mut len) {
            Ok(()) => {
                buffer.truncate(length_within(len, buffer.len())?);
                return Ok(buffer);
            }
            Err(code @ ReturnCode::E_INSUFFICIENT_BUFFER) => {
                failure = Failure::of_answer(code, len, buffer.len());
                // A service that does not say how much it needs gets twice as much.
                let needed = usize::try_from(len).unwrap_or(usize::MAX);
                let needed = needed.max(buffer.len().saturating_mul(2));
                if needed > MAX_LEN {
                    break;
                }
                buffer.clear();
                buffer.resize(needed, 0);
            }
            Err(code) => return Err(code.into()),
        }
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A service whose answer has these lengths, call by call.
    fn service(lens: &[usize]) -> (Result<Vec<u8>, Failure>, usize) {
        let mut calls = 0;
        let answer = sized_answer(|buffer, len| {
            let wanted = lens.get(calls).copied().unwrap_or(usize::MAX);
            calls += 1;
            *len = length(wanted);
            match buffer.get_mut(..wanted) {
                Some(part) => {
                    part.fill(0xAA);
                    Ok(())
                }
                None => Err(ReturnCode::E_INSUFFICIENT_BUFFER),
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
    fn a_service_that_is_never_satisfied_is_left() {
        let (answer, calls) = service(&[]);
        let failure = answer.unwrap_err();
        assert_eq!(failure.code, ReturnCode::E_INSUFFICIENT_BUFFER);
        let absurd = usize::try_from(DWORD::MAX).unwrap_or(usize::MAX);
        assert_eq!(failure.needed_len, Some(absurd));
        assert_eq!(calls, 1, "an absurd length is not allocated");
        let mut calls = 0;
        let answer = sized_answer(|_, len| {
            calls += 1;
            *len = 0;
            Err(ReturnCode::E_INSUFFICIENT_BUFFER)
        });
        assert_eq!(answer, Err(ReturnCode::E_INSUFFICIENT_BUFFER.into()));
        assert!(calls <= MAX_CALLS);
    }

    #[test]
    fn success_with_an_absurd_length_is_a_fault() {
        let answer = sized_answer(|_, len| {
            *len = DWORD::MAX;
            Ok(())
        });
        assert_eq!(answer, Err(ReturnCode::F_INTERNAL_ERROR.into()));
    }
}
