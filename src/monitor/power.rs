//! Powering up cards that did not answer when they were inserted.
//!
//! Such a card stays mute until a program connects to it; then it usually answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::connection::{Access, Connection};
use crate::error::Seen;
use crate::limits::pause::Pause;
use crate::limits::{Pending, Permit, Worker};
use crate::service::{Address, Process};
use crate::sync::{Mutex, global, lock};
use crate::values::{Protocols, ReaderName, ShareMode};

use super::filter::CardFilter;
use super::thread::Shared;
use super::view::View;

/// The number of attempts to power up a card for one monitor.
const ATTEMPTS: u32 = 3;

/// How many of the first pauses between attempts are skipped because they are shorter than a
/// power-up.
const SHORT_PAUSES: u32 = 4;

global! {
    /// The power-ups in progress, one thread for each reader, however many monitors wait.
    static UNDER_WAY: Mutex<BTreeMap<Place, PowerUp>> = Mutex::new(BTreeMap::new());
}

/// A reader of a service.
type Place = (Address, ReaderName);

/// A thread that powers up a card.
struct PowerUp {
    /// The process of the thread. A forked child does not have it.
    process: Process,
    monitors: Vec<Arc<Shared>>,
}

/// How a monitor handles mute cards, in all of its waits.
#[derive(Debug, Default)]
pub(super) struct MuteCards(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The number of waits for a card.
    waits: usize,
    /// The last mute card in each reader.
    tried: BTreeMap<ReaderName, Tried>,
}

#[derive(Debug, Default)]
struct Tried {
    number: u64,
    attempts: u32,
    is_under_way: bool,
}

impl MuteCards {
    fn change_waits(&self, change: impl FnOnce(usize) -> usize) {
        let mut state = lock(&self.0);
        state.waits = change(state.waits);
    }

    /// Returns whether to begin with this card.
    fn begin(&self, reader: &ReaderName, number: u64) -> bool {
        let mut state = lock(&self.0);
        let tried = state.tried.entry(reader.clone()).or_default();
        if tried.number != number {
            tried.number = number;
            tried.attempts = 0;
        }
        let begins = tried.attempts < ATTEMPTS && !tried.is_under_way;
        tried.is_under_way |= begins;
        begins
    }

    /// Returns whether a further attempt is wanted.
    fn want_attempt(&self, reader: &ReaderName) -> bool {
        let state = lock(&self.0);
        let tried = state.tried.get(reader);
        state.waits > 0 && tried.is_some_and(|it| it.attempts < ATTEMPTS)
    }

    fn count_attempt(&self, reader: &ReaderName) {
        if let Some(tried) = lock(&self.0).tried.get_mut(reader) {
            tried.attempts += 1;
        }
    }

    fn end(&self, reader: &ReaderName) {
        if let Some(tried) = lock(&self.0).tried.get_mut(reader) {
            tried.is_under_way = false;
        }
    }
}

/// How one wait handles mute cards. It is never blocked by them: each card has a thread.
pub(super) struct PowerUps {
    shared: Arc<Shared>,
    pending: Pending,
}

impl PowerUps {
    pub(super) fn new(shared: &Arc<Shared>, pending: &Pending) -> PowerUps {
        shared.mute_cards.change_waits(|waits| waits + 1);
        PowerUps {
            shared: Arc::clone(shared),
            pending: pending.clone(),
        }
    }

    /// Begins with each mute card that may match, once.
    pub(super) fn begin(&mut self, view: &View, filter: &CardFilter) {
        let meant = view
            .mute_cards()
            .filter(|(state, _)| filter.can_mean_mute(state));
        for (state, number) in meant {
            let reader = state.reader_name();
            if self.pending.is_full() {
                return;
            }
            if !self.shared.mute_cards.begin(reader, number) {
                continue;
            }
            let Some(under_way) = UnderWay::join(&self.shared, reader) else {
                continue;
            };
            let counted = self.pending.count();
            match Worker::start() {
                Some(worker) => worker.do_later(move || {
                    power_up(under_way);
                    drop(counted);
                }),
                None => tracing::debug!(%reader, "cannot start a thread to power up a mute card"),
            }
        }
    }
}

impl Drop for PowerUps {
    fn drop(&mut self) {
        self.shared
            .mute_cards
            .change_waits(|waits| waits.saturating_sub(1));
    }
}

/// The state of the thread that powers up a card.
struct UnderWay {
    place: Place,
    has_ended: bool,
}

impl UnderWay {
    /// Begins, or joins a power-up in progress.
    fn join(shared: &Arc<Shared>, reader: &ReaderName) -> Option<UnderWay> {
        let place = (shared.address().clone(), reader.clone());
        let mut under_way = lock(&UNDER_WAY);
        match under_way.get_mut(&place) {
            Some(it) if !it.process.is_forked() => {
                it.monitors.push(Arc::clone(shared));
                None
            }
            _ => {
                let this = PowerUp {
                    process: Process::current(),
                    monitors: vec![Arc::clone(shared)],
                };
                // Nothing of the parent process may be dropped here.
                std::mem::forget(under_way.insert(place.clone(), this));
                Some(UnderWay {
                    place,
                    has_ended: false,
                })
            }
        }
    }

    fn reader(&self) -> &ReaderName {
        &self.place.1
    }

    /// Returns whether a further attempt is wanted. If not, this has ended, and the next wait
    /// begins anew.
    fn goes_on(&mut self) -> bool {
        let mut under_way = lock(&UNDER_WAY);
        let monitors = under_way.get(&self.place).map(|it| it.monitors.as_slice());
        let mut monitors = monitors.unwrap_or_default().iter();
        let goes_on = monitors.any(|it| it.mute_cards.want_attempt(self.reader()));
        let ended = (!goes_on).then(|| under_way.remove(&self.place)).flatten();
        drop(under_way);
        if !goes_on {
            self.has_ended = true;
            self.end_for(ended);
        }
        goes_on
    }

    fn count_attempt(&self) {
        if let Some(it) = lock(&UNDER_WAY).get(&self.place) {
            let monitors = it.monitors.iter();
            monitors.for_each(|it| it.mute_cards.count_attempt(self.reader()));
        }
    }

    /// Ends, and returns the participating monitors.
    fn end(&mut self) -> Vec<Arc<Shared>> {
        if std::mem::replace(&mut self.has_ended, true) {
            return Vec::new();
        }
        let ended = lock(&UNDER_WAY).remove(&self.place);
        self.end_for(ended)
    }

    fn end_for(&self, ended: Option<PowerUp>) -> Vec<Arc<Shared>> {
        let monitors = ended.map(|it| it.monitors).unwrap_or_default();
        for shared in &monitors {
            shared.mute_cards.end(self.reader());
        }
        monitors
    }

    /// Ends after a change of the card.
    fn end_with_change(mut self) {
        for shared in self.end() {
            shared.has_changed(self.reader());
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.end();
    }
}

/// Connects, which powers up the card, and disconnects without a reset. pcsc-lite does not report
/// the power-up.
fn power_up(mut under_way: UnderWay) {
    let mut pause = Pause::longer(SHORT_PAUSES);
    while under_way.goes_on() {
        under_way.count_attempt();
        let (address, reader) = &under_way.place;
        let (permit, access) = (Permit::GRANTED, Access::Card(ShareMode::Shared));
        match Connection::open(&permit, address, reader, access, Protocols::ANY) {
            Ok(_) => {
                tracing::debug!(%reader, "a mute card was powered up");
                return under_way.end_with_change();
            }
            Err(error) => {
                tracing::debug!(%reader, %error, "a mute card was not powered up");
                if Seen::of_connect(&error) != Seen::Mute {
                    return under_way.end_with_change();
                }
            }
        }
        if under_way.goes_on() {
            pause.take(None, None);
        }
    }
}
