//! The calls that list readers and query their states.

use std::ffi::CStr;
use std::ptr;

use pcsc::ffi;

use super::multi::{FIRST_LEN, LIST_LEN, LIST_OVERRUN, sized_answer};
use super::names::{self, Name, SCARD_READERSTATE, Unit};
use super::table::{READERS, Worth, worth_of_list};
use super::{Context, atr_of, call, length, narrow, widen};
use crate::codes::{Platform, ReturnCode};
use crate::service::gate::Use;
use crate::service::unfinished::{MAX_UNFINISHED, UNFINISHED, are_finished};
use crate::service::{Failure, ReaderQuery};
use crate::values::Atr;

/// The multi-string of reader names.
pub(in crate::service) fn list_readers(
    context: Context,
    group: Option<&CStr>,
) -> Result<Vec<u8>, Failure> {
    let group = group.filter(|_| Platform::CURRENT == Platform::Windows);
    let group = group.map(Name::new);
    let groups = group.as_ref().map_or(ptr::null(), Name::as_ptr);
    let list = || {
        let listed = sized_answer(LIST_LEN, LIST_OVERRUN, |buffer: &mut Vec<Unit>, len| {
            // SAFETY: `groups` is null, which asks for all of them, or on Windows ends with two
            // NULs; `buffer` has room for `len` units and for any list that the call can write
            // past them; all outlive the call.
            call(Use::IsBrief, || unsafe {
                names::SCardListReaders(context.0, groups, buffer.as_mut_ptr().cast(), len)
            })
        });
        listed.map(names::to_bytes)
    };
    let ask = || READERS.ask(list, |list| worth_of_list(list));
    for _ in 0..MAX_UNFINISHED {
        let names = ask()?;
        if Platform::CURRENT != Platform::PcscLite || are_finished(&names) {
            return Ok(names);
        }
        std::thread::sleep(UNFINISHED);
    }
    ask()
}

/// The multi-string of group names.
pub(in crate::service) fn list_reader_groups(context: Context) -> Result<Vec<u8>, Failure> {
    let listed = sized_answer(FIRST_LEN, 0, |buffer: &mut Vec<Unit>, len| {
        // SAFETY: `buffer` has room for `len` units, and both outlive the call.
        call(Use::IsBrief, || unsafe {
            names::SCardListReaderGroups(context.0, buffer.as_mut_ptr().cast(), len)
        })
    });
    listed.map(names::to_bytes)
}

/// Waits until a reader differs from the state known to the caller. A `timeout_ms` of `u32::MAX`
/// means no limit. The states are returned even with `SCARD_E_TIMEOUT`.
pub(in crate::service) fn get_status_change(
    context: Context,
    timeout_ms: u32,
    readers: &mut [ReaderQuery<'_>],
) -> Result<(), Failure> {
    let mut limit = timeout_ms;
    let look = || {
        let looked = Looked::now(context, limit, readers);
        // A second look only confirms what the first one found.
        limit = 0;
        looked
    };
    let looked = READERS.ask(look, Looked::worth)?;
    for (reader, state) in readers.iter_mut().zip(&looked.states) {
        (reader.event_state, reader.atr) = read_state(state);
    }
    match looked.in_time {
        true => Ok(()),
        false => Err(ReturnCode::E_TIMEOUT.into()),
    }
}

/// The outputs of `SCardGetStatusChange`.
struct Looked {
    states: Vec<SCARD_READERSTATE>,
    in_time: bool,
}

impl Looked {
    fn now(
        context: Context,
        timeout_ms: u32,
        readers: &[ReaderQuery<'_>],
    ) -> Result<Looked, Failure> {
        let names: Vec<Name<'_>> = readers.iter().map(|it| Name::new(it.name)).collect();
        let mut states: Vec<SCARD_READERSTATE> = readers
            .iter()
            .zip(&names)
            .map(|(reader, name)| SCARD_READERSTATE {
                szReader: name.as_ptr(),
                pvUserData: ptr::null_mut(),
                dwCurrentState: widen(reader.current_state),
                dwEventState: 0,
                cbAtr: 0,
                rgbAtr: [0; ffi::ATR_BUFFER_SIZE],
            })
            .collect();
        // SAFETY: the count passed is that of the entries in `states`, each with a name that
        // `names` keeps alive; `states` outlives the call.
        let answer = call(Use::LooksUp, || unsafe {
            names::SCardGetStatusChange(
                context.0,
                widen(timeout_ms),
                states.as_mut_ptr(),
                length(states.len()),
            )
        });
        let in_time = match answer {
            Ok(()) => true,
            Err(failure) if failure.code == ReturnCode::E_TIMEOUT => false,
            Err(failure) => return Err(failure),
        };
        Ok(Looked { states, in_time })
    }

    /// An answer without a change claims nothing: the next look compares again.
    fn worth(&self) -> Worth {
        match self.in_time {
            true => Worth::Doubtful,
            false => Worth::Sure,
        }
    }
}

impl PartialEq for Looked {
    fn eq(&self, other: &Looked) -> bool {
        let states = |looked: &Looked| looked.states.iter().map(read_state).collect::<Vec<_>>();
        self.in_time == other.in_time && states(self) == states(other)
    }
}

fn read_state(state: &SCARD_READERSTATE) -> (u32, Atr) {
    // Copied, because the structure is packed on macOS.
    let (event_state, atr_len, atr) = (state.dwEventState, state.cbAtr, state.rgbAtr);
    let atr_len = usize::try_from(atr_len).unwrap_or(usize::MAX);
    (narrow(event_state), atr_of(&atr, atr_len))
}

/// Ends a wait for a change on this context, but not one that has not begun yet.
pub(in crate::service) fn cancel(context: Context) -> Result<(), Failure> {
    // SAFETY: takes a handle by value; the service checks it.
    call(Use::IsBrief, || unsafe { ffi::SCardCancel(context.0) })
}
