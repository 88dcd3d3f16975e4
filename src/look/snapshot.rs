//! Snapshots of the readers and their states.

use std::time::Duration;

use super::{Contexts, Lookout, Source};
use crate::codes::{Platform, ReturnCode};
use crate::error::{Error, ErrorKind, Operation, Recovery, Result};
use crate::service::ReaderQuery;
use crate::values::{Atr, ReaderFlags, ReaderName, ReaderState};

/// The maximum number of attempts when readers change between the list and the look.
pub(super) const MAX_SNAPSHOTS: usize = 16;

/// After how many answers that a reader is unknown the readers are queried one by one.
const SOME_REFUSALS: usize = 8;

/// How often a listed reader must be reported as unknown for that to be believed.
const MAX_UNKNOWN: usize = 4;

/// Whether the code can mean that there were too many readers in one call of
/// `SCardGetStatusChange`. pcsc-lite before 2.5 accepts 16, Windows 10. Windows reports it with
/// codes of PC/SC or its own, and over a remote desktop with any code of the remote procedure call.
pub(crate) fn may_be_too_many(code: ReturnCode) -> bool {
    match code.kind() {
        ErrorKind::InvalidArgument | ErrorKind::BufferTooSmall => true,
        ErrorKind::Unknown => (1700..1800).contains(&code.raw()),
        _ => false,
    }
}

/// Queries all readers in new contexts.
pub(crate) async fn reader_states(contexts: &Contexts<'_>) -> Result<Vec<ReaderState>> {
    reader_states_of(contexts, |_| true).await
}

/// Queries the readers whose names match. The others are skipped, because with pcsc-lite each mute
/// card takes 0.4 seconds.
pub(crate) async fn reader_states_of(
    contexts: &Contexts<'_>,
    is_about: impl Fn(&ReaderName) -> bool,
) -> Result<Vec<ReaderState>> {
    none_without_service(snapshot(contexts, Platform::CURRENT, is_about).await)
}

/// Without a reader there may be no service, which is not an error here.
pub(crate) fn none_without_service<T>(asked: Result<Vec<T>>) -> Result<Vec<T>> {
    match asked {
        Err(error) if error.means_no_reader() => Ok(Vec::new()),
        asked => asked,
    }
}

/// The readers and their states. On Windows the service stops with the last reader, so the next
/// query may go to a new one.
pub(super) async fn snapshot(
    source: &impl Source,
    platform: Platform,
    is_about: impl Fn(&ReaderName) -> bool,
) -> Result<Vec<ReaderState>> {
    match snapshot_once(source, platform, &is_about).await {
        Err(error)
            if platform == Platform::Windows && error.recovery() == Recovery::ConnectAgain =>
        {
            snapshot_once(source, platform, &is_about).await
        }
        seen => seen,
    }
}

async fn snapshot_once(
    source: &impl Source,
    platform: Platform,
    is_about: impl Fn(&ReaderName) -> bool,
) -> Result<Vec<ReaderState>> {
    let mut lookout = Lookout::establish(source, platform).await?;
    let mut failed = None;
    let mut capacity = usize::MAX;
    let mut tries = 0;
    while tries < MAX_SNAPSHOTS {
        let mut readers = lookout.list(|_| false).await?;
        readers.retain(&is_about);
        if tries > SOME_REFUSALS {
            return look_at_each(&mut lookout, readers).await;
        }
        let (error, asked) = match look_at_all(&mut lookout, &readers, capacity).await {
            Ok(states) => return Ok(states),
            Err(refused) => refused,
        };
        match error.code() {
            // A reader was unplugged since the list, possibly the last one.
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

/// Looks at the readers, at most this many per call. On failure, returns the error and the number
/// of readers in the failed call.
async fn look_at_all(
    lookout: &mut Lookout<'_, impl Source>,
    readers: &[ReaderName],
    capacity: usize,
) -> Result<Vec<ReaderState>, (Error, usize)> {
    let unaware = readers.iter().map(|it| ReaderQuery::unaware(it.as_c_str()));
    let mut watched: Vec<ReaderQuery<'_>> = unaware.collect();
    for part in watched.chunks_mut(capacity) {
        match lookout.look(Duration::ZERO, part).await {
            Ok(true) => {}
            // No state is known for these readers, so each of them is a change.
            Ok(false) => {
                let code = ReturnCode::E_TIMEOUT;
                return Err((Error::new(Operation::GetStatusChange, code), part.len()));
            }
            Err(refusal) => return Err((refusal, part.len())),
        }
    }
    let states = readers.iter().zip(watched);
    Ok(states
        .map(|(reader, seen)| ReaderState {
            reader_name: reader.clone(),
            event_state: seen.event_state,
            atr: seen.atr,
        })
        .collect())
}

/// Looks at the readers one by one, because the service lists one that it does not know, as Windows
/// does with readers of other sessions. That one is reported as unknown.
async fn look_at_each(
    lookout: &mut Lookout<'_, impl Source>,
    readers: Vec<ReaderName>,
) -> Result<Vec<ReaderState>> {
    let mut states = Vec::new();
    for reader in readers {
        states.extend(look_at_one(lookout, reader).await?);
    }
    Ok(states)
}

/// Looks at one reader. One that is no longer listed is gone, not unknown.
async fn look_at_one(
    lookout: &mut Lookout<'_, impl Source>,
    reader: ReaderName,
) -> Result<Option<ReaderState>> {
    for _ in 0..MAX_UNKNOWN {
        match look_at_all(lookout, std::slice::from_ref(&reader), 1).await {
            Ok(seen) => return Ok(seen.into_iter().next()),
            Err((error, _)) if error.code() == ReturnCode::E_UNKNOWN_READER => {}
            Err((error, _)) => return Err(error),
        }
        if !lookout.list(|_| false).await?.contains(&reader) {
            return Ok(None);
        }
    }
    Ok(Some(ReaderState {
        reader_name: reader,
        event_state: (ReaderFlags::UNKNOWN | ReaderFlags::UNAVAILABLE).bits(),
        atr: Atr::default(),
    }))
}
