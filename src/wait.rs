//! Waiting for a card.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::ReturnCode;
use crate::connection::OwnedContext;
use crate::context::list_readers;
use crate::error::{Error, Operation, Recovery, Refusal, Result};
use crate::name::ReaderName;
use crate::options::Scope;
use crate::platform::Platform;
use crate::status::ReaderFlags;
use crate::sys::{self, Watched};
use crate::worker::{Abandoned, AbortHandle, GivenUp};

/// How long one wait may be. pcsc-lite before 2.3 does not tell of a reader that was plugged
/// in between two waits, and an abort is looked for between them.
const ROUND: Duration = Duration::from_secs(1);

/// How long to wait where nothing tells that a reader was plugged in.
const BLIND: Duration = Duration::from_millis(500);

/// The name under which PC/SC tells that readers come and go; macOS does not know it.
const PLUG_AND_PLAY: &std::ffi::CStr = c"\\\\?PnP?\\Notification";

/// Says which readers to look at.
pub(crate) type ReaderFilter = Arc<dyn Fn(&ReaderName) -> bool + Send + Sync>;

/// Where to look for a card.
#[derive(Clone)]
pub(crate) struct Search {
    pub(crate) scope: Scope,
    pub(crate) wanted: ReaderFilter,
    /// The one to take if several readers have a card.
    pub(crate) preferred: Option<ReaderName>,
    pub(crate) abort: Option<AbortHandle>,
}

impl Search {
    /// The reader that has a card that answers, at this moment.
    pub(crate) fn look(&self) -> Result<Option<ReaderName>> {
        self.look_in(&OwnedContext::establish(self.scope)?, None)
    }

    /// Waits until a reader has a card that answers, or until the deadline: `None`. A service
    /// that is not there is waited for as well.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> Result<Option<ReaderName>> {
        let mut context = None;
        let mut pause = Pause::default();
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(None);
            }
            if self.abort.as_ref().is_some_and(AbortHandle::is_aborted) {
                let why = Abandoned::before_it_began(GivenUp::Aborted);
                return Err(Error::given_up(
                    Operation::GetStatusChange,
                    Refusal::given_up(why),
                ));
            }
            // Less than a millisecond would be no wait.
            let round = left
                .unwrap_or(ROUND)
                .min(ROUND)
                .max(Duration::from_millis(1));
            let look = match context.take() {
                Some(context) => Ok(context),
                None => OwnedContext::establish(self.scope),
            }
            .and_then(|context| Ok((self.look_in(&context, Some(round))?, context)));
            match look {
                Ok((Some(reader), _)) => return Ok(Some(reader)),
                Ok((None, used)) => {
                    context = Some(used);
                    pause = Pause::default();
                }
                Err(error) => match error.recovery() {
                    Recovery::ConnectAgain | Recovery::RetryLater | Recovery::AttachReader => {
                        pause.take(deadline, self.abort.as_ref());
                    }
                    _ => return Err(error),
                },
            }
        }
    }

    /// Looks for a card, and if there is none, waits until something changes.
    fn look_in(
        &self,
        context: &OwnedContext,
        round: Option<Duration>,
    ) -> Result<Option<ReaderName>> {
        let wanted = |name: &ReaderName| (self.wanted)(name);
        let names = list_readers(context)?;
        let names: Vec<ReaderName> = names.into_iter().filter(wanted).collect();
        let mut watched: Vec<Watched<'_>> = names
            .iter()
            .map(|name| Watched::unaware(name.as_c_str()))
            .collect();
        if round.is_some() && Platform::CURRENT != Platform::MacOs {
            watched.push(Watched::unaware(PLUG_AND_PLAY));
        }
        status_change(context, Duration::ZERO, &mut watched)?;
        let found = names.iter().zip(&watched).filter(|(_, seen)| {
            let flags = ReaderFlags::from_bits_truncate(seen.event_state);
            flags.contains(ReaderFlags::PRESENT) && !flags.contains(ReaderFlags::MUTE)
        });
        let found: Vec<&ReaderName> = found.map(|(name, _)| name).collect();
        let preferred = |name: &&&ReaderName| Some(**name) == self.preferred.as_ref();
        if let Some(name) = found.iter().find(preferred).or(found.first()) {
            return Ok(Some((*name).clone()));
        }
        let Some(round) = round else {
            return Ok(None);
        };
        // What is handed back is what a change is measured by, for the plug-and-play entry, too.
        for seen in &mut watched {
            seen.current_state = seen.event_state & !ReaderFlags::CHANGED.bits();
        }
        if watched.is_empty() {
            // Nothing would be waited for.
            thread::sleep(round.min(BLIND));
        }
        status_change(context, round, &mut watched)?;
        Ok(None)
    }
}

/// `SCardGetStatusChange`. That nothing changes in time is no failure.
fn status_change(
    context: &OwnedContext,
    limit: Duration,
    watched: &mut [Watched<'_>],
) -> Result<()> {
    if watched.is_empty() {
        return Ok(());
    }
    let limit = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX - 1);
    match sys::get_status_change(context.handle(), limit, watched) {
        Ok(()) | Err(ReturnCode::E_TIMEOUT) => Ok(()),
        Err(code) => Err(Error::new(Operation::GetStatusChange, code)),
    }
}

/// Pauses that grow from 10 ms to half a second.
#[derive(Debug, Default)]
pub(crate) struct Pause {
    taken: u32,
}

impl Pause {
    /// How often a pause looks up.
    const SLICE: Duration = Duration::from_millis(50);

    fn next(&mut self) -> Duration {
        let pause = Duration::from_millis(10)
            .saturating_mul(1 << self.taken.min(6))
            .min(Duration::from_millis(500));
        self.taken = self.taken.saturating_add(1);
        pause
    }

    /// Takes the next one, not past the deadline, and not past an abort.
    pub(crate) fn take(&mut self, deadline: Option<Instant>, abort: Option<&AbortHandle>) {
        let begun = Instant::now();
        let mut pause = self.next();
        if let Some(deadline) = deadline {
            pause = pause.min(deadline.saturating_duration_since(begun));
        }
        loop {
            let left = pause.saturating_sub(begun.elapsed());
            if left.is_zero() || abort.is_some_and(AbortHandle::is_aborted) {
                return;
            }
            thread::sleep(left.min(Pause::SLICE));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_short() {
        let mut pause = Pause::default();
        let taken: Vec<u128> = (0..8).map(|_| pause.next().as_millis()).collect();
        assert_eq!(taken, [10, 20, 40, 80, 160, 320, 500, 500]);
        pause.taken = u32::MAX;
        assert_eq!(pause.next(), Duration::from_millis(500));
    }

    #[test]
    fn a_pause_ends_at_the_deadline_and_at_an_abort() {
        let begun = Instant::now();
        let mut pause = Pause { taken: 100 };
        pause.take(Some(begun), None);
        let abort = AbortHandle::new();
        abort.abort();
        pause.take(None, Some(&abort));
        assert!(begun.elapsed() < Duration::from_millis(400));
    }
}
