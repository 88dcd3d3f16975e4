//! The readers and what is in them at one moment.

use std::time::Duration;

use super::{Lookout, Source};
use crate::codes::{Platform, ReturnCode};
use crate::error::{Error, Operation, Result};
use crate::service::ReaderQuery;
use crate::values::{ReaderState, Scope};

/// How often the readers may have changed between the list and the look.
pub(super) const MAX_SNAPSHOTS: usize = 16;

/// Whether this can say that there were too many readers in one call of
/// `SCardGetStatusChange`. pcsc-lite before 2.5 takes 16, Windows 10.
pub(crate) fn may_be_too_many(code: ReturnCode) -> bool {
    matches!(
        code,
        ReturnCode::E_INVALID_PARAMETER | ReturnCode::E_INVALID_VALUE
    )
}

/// The readers, and what is in them, asked for in new contexts.
pub(crate) fn reader_states(scope: Scope) -> Result<Vec<ReaderState>> {
    snapshot(&scope, Platform::CURRENT)
}

pub(super) fn snapshot(source: &impl Source, platform: Platform) -> Result<Vec<ReaderState>> {
    let mut lookout = Lookout::establish(source, platform)?;
    let mut failed = None;
    let mut capacity = usize::MAX;
    let mut tries = 0;
    while tries < MAX_SNAPSHOTS {
        let readers = lookout.list(|_| false)?;
        let mut watched: Vec<ReaderQuery<'_>> = readers
            .iter()
            .map(|reader| ReaderQuery::unaware(reader.as_c_str()))
            .collect();
        let refused = watched.chunks_mut(capacity).find_map(|part| {
            let refusal = match lookout.look(Some(Duration::ZERO), part) {
                Ok(true) => return None,
                // Nothing is known of these readers, so that each of them is a change.
                Ok(false) => Error::new(Operation::GetStatusChange, ReturnCode::E_TIMEOUT),
                Err(refusal) => refusal,
            };
            Some((refusal, part.len()))
        });
        let Some((error, asked)) = refused else {
            let states = readers.iter().zip(watched);
            return Ok(states
                .map(|(reader, seen)| ReaderState {
                    reader_name: reader.clone(),
                    event_state: seen.event_state,
                    atr: seen.atr,
                })
                .collect());
        };
        match error.code() {
            // A reader was unplugged since they were listed, or the last one.
            ReturnCode::E_UNKNOWN_READER | ReturnCode::E_NO_READERS_AVAILABLE => {
                failed = Some(error);
                tries += 1;
            }
            code if asked > 1 && may_be_too_many(code) => capacity = asked.div_ceil(2),
            _ => return Err(error),
        }
    }
    let gone = || Error::new(Operation::GetStatusChange, ReturnCode::E_UNKNOWN_READER);
    Err(failed.unwrap_or_else(gone))
}
