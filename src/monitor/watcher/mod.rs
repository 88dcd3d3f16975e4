//! Watches: asks the service, waits, asks again, and pauses if that is fruitless.

use std::time::{Duration, Instant};

use super::aside::SeenAside;
use super::tracker::Tracker;
use super::view::View;
use crate::codes::{Platform, ReturnCode};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::pause::Pause;
use crate::look::{Lookout, PLUG_AND_PLAY, Source, may_be_too_many};
use crate::service::{ReaderQuery, block_on};
use crate::values::ReaderName;

/// The longest wait where the service does not report everything, and after news. pcsc-lite misses
/// readers that are attached while a wait begins.
pub(super) const ROUND: Duration = Duration::from_secs(1);

/// The longest wait through a library, and for a mute card: since 2.0.1, pcsc-lite's library locks
/// out all threads of the process for 0.4 seconds when that ends.
const LONGEST: Duration = Duration::from_secs(16);

/// Returns the limit of the next wait after one without news.
pub(super) fn longer(wait: Duration) -> Duration {
    wait.saturating_mul(2).min(LONGEST)
}

/// How long the service must answer to be considered stable.
const STEADY: Duration = Duration::from_secs(5);

/// How many waits without news are considered normal.
const FRUITLESS: u32 = 3;

/// The number of rounds that may run at full speed.
const BURST: u32 = 256;

/// The average minimum interval between rounds.
const PACE: Duration = Duration::from_millis(1);

/// The source of the service's answers, and the destination of the results.
pub(super) trait Host: Source + Sized {
    /// Takes the current state.
    fn post(&self, view: &View);
    fn is_closed(&self) -> bool;
    /// Returns whether this reader is watched.
    fn is_about(&self, _: &ReaderName) -> bool {
        true
    }
    /// Returns whether this reader had a mute card at the last look.
    fn was_mute(&self, _: &ReaderName) -> bool {
        false
    }
    /// Watches this reader elsewhere until it differs from this state, because asking about it
    /// takes long. Returns whether that succeeded.
    fn watch_aside(&self, _: &ReaderName, _state: u32) -> bool {
        false
    }
    /// Returns what was seen elsewhere since the last call.
    fn seen_aside(&self) -> Vec<SeenAside> {
        Vec::new()
    }
    /// Pauses for this long, or until closed.
    fn pause(&self, pause: Duration);
    /// The same, or until the service starts, if the system reports that.
    fn pause_without_service(&self, pause: Duration) {
        self.pause(pause);
    }
    fn now(&self) -> Instant;
}

/// Watches until the host is closed.
pub(super) struct Watcher<'a, H> {
    host: &'a H,
    platform: Platform,
    tracker: Tracker,
    /// Whether nothing was asked in this context yet.
    is_first: bool,
    /// Whether the service supports the plug-and-play entry.
    has_plug_and_play: bool,
    /// The maximum number of entries in one call, once known.
    capacity: Option<usize>,
    /// How many times in a row the service did not know a reader that it had listed.
    unknown: u32,
    /// The number of consecutive rounds without a result.
    fruitless: u32,
    /// The longest wait where the service reports everything, but perhaps not as a wait begins.
    wait: Duration,
    pace: Pace,
}

impl<'a, H: Host> Watcher<'a, H> {
    pub(super) fn new(host: &'a H, platform: Platform, use_changes: bool) -> Watcher<'a, H> {
        Watcher {
            host,
            platform,
            tracker: Tracker::new(platform, use_changes),
            is_first: true,
            has_plug_and_play: platform.has_plug_and_play(),
            capacity: None,
            unknown: 0,
            fruitless: 0,
            wait: ROUND,
            pace: Pace::new(host.now()),
        }
    }

    /// Watches until the host is closed.
    pub(super) fn run(mut self) {
        let mut pause = Pause::default();
        while !self.host.is_closed() {
            let begun = self.host.now();
            let error = match block_on(Lookout::establish(self.host, self.platform)) {
                Ok(mut lookout) => self.attend(&mut lookout),
                Err(error) => Some(error),
            };
            let Some(error) = error else {
                continue;
            };
            if self.host.now().saturating_duration_since(begun) >= STEADY {
                pause = Pause::default();
            }
            tracing::debug!(%error, "the monitor has lost the service");
            // The next service may be a different one.
            self.has_plug_and_play = self.platform.has_plug_and_play();
            self.capacity = None;
            self.unknown = 0;
            self.tracker.lose(error);
            self.host.post(self.tracker.view());
            self.host.pause_without_service(pause.next());
        }
    }

    /// Watches until the service is lost. Returns `None` if the host is closed, or if another
    /// context should be tried.
    ///
    /// A failure other than the loss of the service may concern only the context. The service is
    /// lost if another context fails, too.
    fn attend(&mut self, lookout: &mut Lookout<'_, H>) -> Option<Error> {
        self.is_first = true;
        self.tracker.begin_anew();
        while !self.host.is_closed() {
            let before = self.tracker.view().clone();
            let timed_out = match self.round(lookout) {
                Ok(timed_out) => timed_out,
                // The host was closed during the wait.
                Err(_) if self.host.is_closed() => return None,
                Err(error) if self.is_first || error.kind() == ErrorKind::ServiceGone => {
                    return Some(error);
                }
                Err(error) => {
                    tracing::debug!(%error, "the monitor tries another context");
                    self.take_it_slowly(true);
                    return None;
                }
            };
            self.wait = match timed_out {
                true => longer(self.wait),
                false => ROUND,
            };
            self.take_it_slowly(!timed_out && *self.tracker.view() == before);
        }
        None
    }

    /// Lists the readers and waits until one of them changes. Returns whether none did in time.
    fn round(&mut self, lookout: &mut Lookout<'_, H>) -> Result<bool> {
        let listed = self.list(lookout)?;
        if self.tracker.list(listed) && !self.is_first {
            // Reports readers that are gone; nothing is known about new ones yet.
            self.host.post(self.tracker.view());
        }
        self.look_aside();
        let known = self.tracker.known_states();
        let capacity = self.capacity.unwrap_or(usize::MAX).max(1);
        let plug_and_play = self.has_plug_and_play && known.len() < capacity;
        let mut limit = if self.is_first || self.tracker.is_incomplete() {
            Duration::ZERO
        } else if plug_and_play && self.is_notified_of_everything() {
            match self.host.is_exact() {
                true => Duration::MAX,
                false => self.wait,
            }
        } else {
            ROUND
        };
        // If there are too many for one call, the excess ones are only asked about, not waited for.
        let (waiting, asking) = known.split_at(known.len().min(capacity));
        for part in asking.chunks(capacity) {
            match self.ask(lookout, Duration::ZERO, part, false) {
                Ok(true) => limit = Duration::ZERO,
                Ok(false) => {}
                Err(error) => return self.go_on(error, part.len(), false),
            }
        }
        let in_time = match self.ask(lookout, limit, waiting, plug_and_play) {
            Ok(in_time) => in_time,
            // A service that does not wait for the first reader: the list reports it.
            Err(error) if waiting.is_empty() && is_without_readers(&error) => {
                self.host.pause(limit.min(ROUND));
                false
            }
            Err(error) => return self.go_on(error, waiting.len(), plug_and_play),
        };
        if self.unknown == 1 {
            self.unknown = 0;
        }
        if self.is_first {
            self.is_first = false;
            self.tracker.found();
        }
        // Before the state is posted, so that new waits are not delayed by them.
        self.put_mute_ones_aside();
        self.host.post(self.tracker.view());
        let timed_out = !in_time && !limit.is_zero();
        if timed_out && !self.is_notified_of_known_readers() {
            self.tracker.ask_anew();
        }
        Ok(timed_out)
    }

    /// Takes what was seen of mute cards, and puts known mute cards aside.
    fn look_aside(&mut self) {
        let seen = self.host.seen_aside();
        let has_seen = !seen.is_empty();
        for SeenAside { reader, seen } in seen {
            self.tracker.see_aside(&reader, seen);
        }
        if has_seen && !self.is_first {
            self.host.post(self.tracker.view());
        }
        self.put_mute_ones_aside();
    }

    fn put_mute_ones_aside(&mut self) {
        if self.platform != Platform::PcscLite {
            return;
        }
        for (reader, state) in self.tracker.mute_ones(|name| self.host.was_mute(name)) {
            if self.host.watch_aside(&reader, state) {
                self.tracker.put_aside(&reader);
            }
        }
    }

    /// Returns whether the service reports everything, if nothing goes wrong.
    fn is_notified_of_everything(&self) -> bool {
        self.tracker.counts_readers() && self.is_notified_of_known_readers() && self.unknown < 2
    }

    fn is_notified_of_known_readers(&self) -> bool {
        self.tracker.is_notified_of_everything(self.host.is_exact())
    }

    /// Returns the readers, without those that the service lists but does not know.
    fn list(&mut self, lookout: &mut Lookout<'_, H>) -> Result<Vec<ReaderName>> {
        let is_about = |name: &&ReaderName| self.host.is_about(name);
        let mut listed =
            block_on(lookout.list(|names| self.tracker.is_list(names.iter().filter(is_about))))?;
        listed.retain(|name| self.host.is_about(name));
        if self.unknown > 1 {
            let before = listed.len();
            let mut is_known = |name: &std::ffi::CStr| {
                let asked = &mut [ReaderQuery::unaware(name)];
                let answer = block_on(lookout.look(Duration::ZERO, asked));
                !answer.is_err_and(|error| error.code() == ReturnCode::E_UNKNOWN_READER)
            };
            listed.retain(|name| is_known(name.as_c_str()));
            if listed.len() == before {
                self.unknown = 1;
                self.has_plug_and_play &= is_known(PLUG_AND_PLAY);
            }
        }
        Ok(listed)
    }

    /// Makes one call for these readers. Returns whether it returned before its limit.
    fn ask(
        &mut self,
        lookout: &mut Lookout<'_, H>,
        limit: Duration,
        readers: &[(ReaderName, u32)],
        plug_and_play: bool,
    ) -> Result<bool> {
        let mut watched: Vec<ReaderQuery<'_>> = readers
            .iter()
            .map(|(name, state)| ReaderQuery::knowing(name.as_c_str(), *state))
            .collect();
        if plug_and_play {
            let state = self.tracker.plug_and_play();
            watched.push(ReaderQuery::knowing(PLUG_AND_PLAY, state));
        }
        if watched.is_empty() {
            // There is nothing to wait for.
            self.host.pause(limit);
            return Ok(false);
        }
        let in_time = block_on(lookout.look(limit, &mut watched))?;
        if let (true, Some(seen)) = (plug_and_play, watched.get(readers.len())) {
            // An answer without a change also contains a count.
            if in_time || seen.event_state >> 16 != 0 {
                self.tracker.see_plug_and_play(seen.event_state);
            }
        }
        if in_time {
            for ((name, _), seen) in readers.iter().zip(&watched) {
                self.tracker.see(name, seen.event_state, seen.atr);
            }
        }
        Ok(in_time)
    }

    /// Handles a failed call: with another round, if that may help.
    fn go_on(&mut self, error: Error, readers: usize, plug_and_play: bool) -> Result<bool> {
        match error.code() {
            // Unplugged since the list was made, or listed by mistake.
            ReturnCode::E_UNKNOWN_READER | ReturnCode::E_NO_READERS_AVAILABLE => {
                self.unknown = self.unknown.saturating_add(1).min(2);
            }
            code if may_be_too_many(code) && readers > 0 && plug_and_play => {
                self.capacity = Some(readers);
            }
            code if may_be_too_many(code) && readers > 1 => {
                self.capacity = Some(readers.div_ceil(2));
            }
            // Closing is detected before the next round.
            ReturnCode::E_CANCELLED => {}
            _ => return Err(error),
        }
        Ok(false)
    }

    /// Pauses if the last rounds were fruitless or too fast.
    fn take_it_slowly(&mut self, was_fruitless: bool) {
        self.fruitless = match was_fruitless {
            true => self.fruitless.saturating_add(1),
            false => 0,
        };
        let longer = self.fruitless.saturating_sub(FRUITLESS);
        let pause = match longer {
            0 => self.pace.pause(self.host.now()),
            _ => Pause::after(longer - 1),
        };
        if !pause.is_zero() {
            self.host.pause(pause);
        }
    }
}

fn is_without_readers(error: &Error) -> bool {
    error.code() == ReturnCode::E_NO_READERS_AVAILABLE
}

/// Lets a burst of rounds pass, then slows them down.
#[derive(Debug)]
struct Pace {
    left: u32,
    since: Instant,
}

impl Pace {
    fn new(now: Instant) -> Pace {
        Pace {
            left: BURST,
            since: now,
        }
    }

    /// Returns how long to wait before the next round.
    fn pause(&mut self, now: Instant) -> Duration {
        let passed = now.saturating_duration_since(self.since);
        let earned = passed.as_millis() / PACE.as_millis();
        if earned > 0 {
            let earned = u32::try_from(earned).unwrap_or(BURST);
            self.left = self.left.saturating_add(earned).min(BURST);
            self.since = now;
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Duration::ZERO
            }
            None => {
                // The pause pays for the next round and earns no credit.
                self.since = now + PACE;
                PACE
            }
        }
    }
}

#[cfg(test)]
mod tests;
