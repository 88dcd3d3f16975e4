//! The table of readers in pcsc-lite's client library, which all threads of a process share.
//!
//! `SCardListReaders`, `SCardStatus` and `SCardGetStatusChange` receive it from the service and
//! read their answers from it. Before 2.0.1 no lock protects it: another thread's call can replace
//! the table while an answer is assembled. Names are then cut or missing, a list is longer or
//! shorter than its stated length, and a state can belong to another reader.
//!
//! So the calls that use the table are counted. An answer is believed if no other call overlapped
//! with its own, or if an earlier answer was the same; a list must also be well-formed. A
//! single-threaded program pays for two atomic operations. Calls that bypass this library are not
//! noticed.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::codes::{Platform, ReturnCode};
use crate::service::Failure;

/// The table of this process.
pub(in crate::service) static READERS: Table = Table::new();

/// The maximum number of calls for one answer. Two answers nearly always agree, and two of three if
/// readers come and go in step with the calls.
const MAX_CALLS: usize = 64;

/// pcsc-lite has 128 bytes for a name and its NUL.
const MAX_NAME_LEN: usize = 127;

/// The upper half of the count is the number of calls begun, the lower half of those under way.
const EPOCH: usize = 1 << (usize::BITS / 2);

/// Counts the calls that use the table.
#[derive(Debug)]
pub(in crate::service) struct Table(AtomicUsize);

/// How trustworthy an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Worth {
    /// It does not come from the table, or claims nothing.
    Sure,
    /// It may be mixed up if another call overlapped.
    Doubtful,
    /// It cannot be true.
    Torn,
}

impl Table {
    const fn new() -> Table {
        Table(AtomicUsize::new(0))
    }

    /// Makes a call, and returns whether no other one overlapped with it.
    fn visit<T>(&self, call: impl FnOnce() -> T) -> (T, bool) {
        let before = self.0.fetch_add(EPOCH + 1, Ordering::AcqRel);
        let answer = call();
        let after = self.0.fetch_sub(1, Ordering::AcqRel);
        // The halves have 16 bits on 32-bit systems: to be missed, exactly 65,536 calls would have
        // to overlap with this one.
        let alone = before % EPOCH == 0 && after == before.wrapping_add(EPOCH + 1);
        (answer, alone)
    }

    /// In a forked child, where the other threads do not exist.
    #[cfg_attr(not(unix), allow(dead_code))]
    pub(in crate::service) fn forget_others(&self) {
        self.0.store(0, Ordering::Release);
    }

    /// Repeats the call until the answer can be believed.
    pub(super) fn ask<T: PartialEq>(
        &self,
        mut call: impl FnMut() -> Result<T, Failure>,
        worth: impl Fn(&T) -> Worth,
    ) -> Result<T, Failure> {
        if Platform::CURRENT != Platform::PcscLite {
            return call();
        }
        let mut before = Vec::new();
        for _ in 0..MAX_CALLS {
            let (answer, alone) = self.visit(&mut call);
            let worth = match &answer {
                Ok(answer) => worth(answer),
                Err(failure) => worth_of(failure.code),
            };
            match worth {
                Worth::Sure => return answer,
                Worth::Doubtful if alone || before.contains(&answer) => return answer,
                Worth::Doubtful => before.push(answer),
                Worth::Torn => {}
            }
        }
        Err(Failure::CONTRADICTORY)
    }
}

/// The table may briefly lack a reader, or all of them.
fn worth_of(code: ReturnCode) -> Worth {
    match code {
        ReturnCode::E_NO_READERS_AVAILABLE
        | ReturnCode::E_UNKNOWN_READER
        | ReturnCode::E_READER_UNAVAILABLE => Worth::Doubtful,
        _ => Worth::Sure,
    }
}

/// In a well-formed list, names are not empty, too long or repeated, each ends with a NUL, and
/// another NUL ends the list.
pub(super) fn worth_of_list(list: &[u8]) -> Worth {
    let mut seen = BTreeSet::new();
    let mut is_new = |name| seen.insert(name);
    let whole = list.strip_suffix(b"\0\0").is_some_and(|names| {
        names
            .split(|&byte| byte == 0)
            .all(|name| (1..=MAX_NAME_LEN).contains(&name.len()) && is_new(name))
    });
    match whole {
        true => Worth::Doubtful,
        false => Worth::Torn,
    }
}

#[cfg(all(test, not(any(windows, target_os = "macos"))))]
mod tests {
    use super::*;

    /// Returns these answers, call by call, each with or without an overlapping call of another
    /// thread.
    fn ask(answers: &[(Result<&'static [u8], ReturnCode>, bool)]) -> Result<Vec<u8>, Failure> {
        let table = Table::new();
        let mut answers = answers.iter();
        let answer = table.ask(
            || {
                let (answer, overlapped) = answers.next().expect("one more call");
                if *overlapped {
                    table.visit(|| ());
                }
                Ok(answer.map(<[u8]>::to_vec)?)
            },
            |list| worth_of_list(list),
        );
        assert_eq!(answers.next(), None, "not all calls were made");
        answer
    }

    const A: &[u8] = b"A\0\0";
    const AB: &[u8] = b"A\0B\0\0";
    const CUT: &[u8] = b"A\0B";
    const NONE: Result<&[u8], ReturnCode> = Err(ReturnCode::E_NO_READERS_AVAILABLE);

    #[test]
    fn a_call_that_is_alone_is_believed() {
        assert_eq!(ask(&[(Ok(A), false)]), Ok(A.to_vec()));
        assert_eq!(
            ask(&[(NONE, false)]),
            Err(ReturnCode::E_NO_READERS_AVAILABLE.into())
        );
    }

    #[test]
    fn two_answers_have_to_agree_if_calls_overlap() {
        assert_eq!(ask(&[(Ok(A), true), (Ok(A), true)]), Ok(A.to_vec()));
        assert_eq!(ask(&[(Ok(A), true), (Ok(AB), false)]), Ok(AB.to_vec()));
        let restless = [(Ok(A), true), (NONE, true), (Ok(AB), true), (Ok(A), true)];
        assert_eq!(ask(&restless), Ok(A.to_vec()));
        let gone = ask(&[(Ok(A), true), (NONE, true), (NONE, true)]);
        assert_eq!(gone, Err(ReturnCode::E_NO_READERS_AVAILABLE.into()));
    }

    #[test]
    fn a_torn_list_is_never_believed() {
        assert_eq!(ask(&[(Ok(CUT), false), (Ok(A), false)]), Ok(A.to_vec()));
        assert_eq!(
            ask(&[(Ok(CUT), true); MAX_CALLS]),
            Err(Failure::CONTRADICTORY)
        );
        assert_eq!(
            ask(&[(Ok(CUT), false); MAX_CALLS]),
            Err(Failure::CONTRADICTORY)
        );
    }

    #[test]
    fn what_is_not_about_readers_is_believed_at_once() {
        let code = ReturnCode::E_NO_SERVICE;
        assert_eq!(ask(&[(Err(code), true)]), Err(code.into()));
    }

    #[test]
    fn a_call_is_alone_only_if_none_overlaps() {
        let table = Table::new();
        assert!(table.visit(|| ()).1);
        let ((_, inner), outer) = table.visit(|| table.visit(|| ()));
        assert!(!inner && !outer);
        // A call that began earlier, and one that is still running.
        table.0.fetch_add(EPOCH + 1, Ordering::AcqRel);
        assert!(!table.visit(|| table.0.fetch_sub(1, Ordering::AcqRel)).1);
        assert!(table.visit(|| ()).1);
        let entered = || table.0.fetch_add(EPOCH + 1, Ordering::AcqRel);
        assert!(!table.visit(entered).1);
        assert!(!table.visit(|| ()).1);
        table.forget_others();
        assert!(table.visit(|| ()).1);
    }

    #[test]
    fn a_list_is_whole_or_torn() {
        let long = [b'x'; MAX_NAME_LEN];
        let longest = [&long[..], b"\0\0"].concat();
        for list in [A, AB, b"A\0AB\0B\0\0", &longest] {
            assert_eq!(worth_of_list(list), Worth::Doubtful, "{list:?}");
        }
        let too_long = [&long[..], b"x\0\0"].concat();
        for list in [
            &b""[..],
            b"\0",
            b"\0\0",
            b"A",
            b"A\0",
            CUT,
            b"A\0B\0",
            b"A\0\0\0",
            b"A\0\0B\0\0",
            b"A\0B\0A\0\0",
            &too_long[..],
        ] {
            assert_eq!(worth_of_list(list), Worth::Torn, "{list:?}");
        }
    }
}
