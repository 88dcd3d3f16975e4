//! The readers and what is in them at one moment.

use crate::ReturnCode;
use crate::connection::OwnedContext;
use crate::error::{Error, Operation, Result};
use crate::name::ReaderName;
use crate::status::ReaderState;
use crate::sys::{self, Watched};
use crate::trace;

use super::list_readers;

/// How often the readers may have changed between the list and the look.
const MAX_SNAPSHOTS: usize = 16;

/// Whether this can say that there were too many readers in one call of
/// `SCardGetStatusChange`. pcsc-lite before 2.5 takes 16, Windows 10.
pub(crate) fn may_be_too_many(code: ReturnCode) -> bool {
    matches!(
        code,
        ReturnCode::E_INVALID_PARAMETER | ReturnCode::E_INVALID_VALUE
    )
}

/// The readers that a context sees, and what is in them.
pub(crate) fn reader_states(context: &OwnedContext) -> Result<Vec<ReaderState>> {
    let list = || list_readers(context);
    snapshot(list, |readers| {
        let look = || sys::get_status_change(context.handle(), 0, readers);
        trace::watch(Operation::GetStatusChange, look)
    })
}

fn snapshot(
    list: impl Fn() -> Result<Vec<ReaderName>>,
    mut look: impl FnMut(&mut [Watched<'_>]) -> Result<(), ReturnCode>,
) -> Result<Vec<ReaderState>> {
    let mut failed = ReturnCode::E_UNKNOWN_READER;
    let mut capacity = usize::MAX;
    let mut tries = 0;
    while tries < MAX_SNAPSHOTS {
        let readers = list()?;
        let mut watched: Vec<Watched<'_>> = readers
            .iter()
            .map(|reader| Watched::unaware(reader.as_c_str()))
            .collect();
        let refused = watched.chunks_mut(capacity).find_map(|part| {
            let refusal = look(part).err()?;
            Some((refusal, part.len()))
        });
        match refused {
            None => {
                let states = readers.iter().zip(watched);
                return Ok(states
                    .map(|(reader, seen)| ReaderState {
                        reader: reader.clone(),
                        event_state: seen.event_state,
                        atr: seen.atr,
                    })
                    .collect());
            }
            // A reader was unplugged since they were listed, or the last one.
            Some((
                code @ (ReturnCode::E_UNKNOWN_READER | ReturnCode::E_NO_READERS_AVAILABLE),
                _,
            )) => {
                failed = code;
                tries += 1;
            }
            Some((code, asked)) if asked > 1 && may_be_too_many(code) => {
                capacity = asked.div_ceil(2);
            }
            Some((code, _)) => return Err(Error::new(Operation::GetStatusChange, code)),
        }
    }
    Err(Error::new(Operation::GetStatusChange, failed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readers(count: usize) -> Vec<ReaderName> {
        let names = (0..count).map(|number| ReaderName::new(format!("Reader {number}")));
        names.map(Result::unwrap).collect()
    }

    #[test]
    fn readers_are_asked_in_as_many_calls_as_the_service_wants() {
        for (count, taken) in [(0, 1), (1, 1), (10, 10), (25, 10), (25, 1), (16, 16)] {
            let mut calls = 0;
            let states = snapshot(
                || Ok(readers(count)),
                |part| {
                    calls += 1;
                    if part.len() > taken {
                        return Err(ReturnCode::E_INVALID_PARAMETER);
                    }
                    part.iter_mut().for_each(|it| it.event_state = 0x22);
                    Ok(())
                },
            );
            let states = states.unwrap();
            let names: Vec<_> = states.iter().map(|it| it.reader().clone()).collect();
            assert_eq!(names, readers(count));
            assert!(states.iter().all(|it| it.has_card()));
            assert!(calls <= count + 5, "{calls} calls");
        }
    }

    #[test]
    fn a_refusal_that_fewer_readers_do_not_cure_is_told() {
        let refusal = snapshot(|| Ok(readers(5)), |_| Err(ReturnCode::E_INVALID_PARAMETER));
        assert_eq!(refusal.unwrap_err().code(), ReturnCode::E_INVALID_PARAMETER);
    }

    #[test]
    fn readers_that_go_meanwhile_are_not_waited_for_for_ever() {
        let code = ReturnCode::E_UNKNOWN_READER;
        let mut calls = 0;
        let refusal = snapshot(
            || Ok(readers(5)),
            |_| {
                calls += 1;
                Err(code)
            },
        );
        assert_eq!(refusal.unwrap_err().code(), code);
        assert_eq!(calls, MAX_SNAPSHOTS);
    }
}
