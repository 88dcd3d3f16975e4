//! Powering up cards that did not answer when they were inserted.
//!
//! Such a card stays mute until a program connects to it; then it usually answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::connection::{Access, Home, Target};
use crate::error::{Result, Seen};
use crate::limits::pause::Pause;
use crate::limits::{Pending, Permit, Worker};
use crate::service::{Address, Process, block_on};
use crate::sync::{Mutex, global, lock};
use crate::values::{Protocols, ReaderName, ShareMode};

use super::filter::CardFilter;
use super::thread::Shared;
use super::view::{Insertion, View};

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

impl PowerUp {
    /// Adds a monitor, and returns those that were closed meanwhile.
    fn join(&mut self, shared: &Arc<Shared>) -> Vec<Arc<Shared>> {
        let stays = |it: &Arc<Shared>| !it.mailbox.is_closed() && !Arc::ptr_eq(it, shared);
        let monitors = std::mem::take(&mut self.monitors).into_iter();
        let (open, others) = monitors.partition(stays);
        self.monitors = open;
        self.monitors.push(Arc::clone(shared));
        others
    }
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

#[derive(Debug)]
struct Tried {
    card: Insertion,
    attempts: u32,
    /// Whether it is still there, and mute.
    is_mute: bool,
}

impl MuteCards {
    fn change_waits(&self, change: impl FnOnce(usize) -> usize) {
        let mut state = lock(&self.0);
        state.waits = change(state.waits);
    }

    /// Notes which of the cards are still there, and mute.
    fn note(&self, view: &View) {
        let mut state = lock(&self.0);
        for (reader, tried) in &mut state.tried {
            let mut mute = view.mute_cards();
            tried.is_mute = mute.any(|(it, card)| it.reader_name() == reader && card == tried.card);
        }
    }

    /// Returns whether attempts are left for this mute card.
    fn has_attempts_for(&self, reader: &ReaderName, card: Insertion) -> bool {
        let new = Tried {
            card,
            attempts: 0,
            is_mute: true,
        };
        let mut state = lock(&self.0);
        let tried = state.tried.entry(reader.clone()).or_insert(new);
        if tried.card != card {
            (tried.card, tried.attempts) = (card, 0);
        }
        tried.is_mute = true;
        tried.attempts < ATTEMPTS
    }

    /// Returns whether a further attempt is wanted.
    fn want_attempt(&self, reader: &ReaderName) -> bool {
        let state = lock(&self.0);
        let wanted = |tried: &Tried| tried.is_mute && tried.attempts < ATTEMPTS;
        state.waits > 0 && state.tried.get(reader).is_some_and(wanted)
    }

    fn count_attempt(&self, reader: &ReaderName) {
        if let Some(tried) = lock(&self.0).tried.get_mut(reader) {
            tried.attempts += 1;
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
        self.shared.mute_cards.note(view);
        let meant = view
            .mute_cards()
            .filter(|(state, _)| filter.can_mean_mute(state));
        for (state, card) in meant {
            let reader = state.reader_name();
            let Some(under_way) = UnderWay::begin(&self.shared, reader, card) else {
                continue;
            };
            let counted = self.pending.count();
            match Worker::start() {
                Some(worker) => worker.do_later(move || {
                    power_up(under_way, connect);
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
pub(super) struct UnderWay {
    place: Place,
    has_ended: bool,
}

impl UnderWay {
    /// Begins, or joins a power-up in progress, if attempts are left.
    ///
    /// Both are decided while no power-up can end, because a wait must not join one that has just
    /// ended.
    pub(super) fn begin(
        shared: &Arc<Shared>,
        reader: &ReaderName,
        card: Insertion,
    ) -> Option<UnderWay> {
        let place = (shared.address().clone(), reader.clone());
        let mut under_way = lock(&UNDER_WAY);
        if !shared.mute_cards.has_attempts_for(reader, card) {
            return None;
        }
        match under_way.get_mut(&place) {
            Some(it) if !it.process.is_forked() => {
                let closed = it.join(shared);
                drop(under_way);
                // Unlocked first: this may drop a filter of the program.
                drop(closed);
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

    /// Returns whether another attempt is wanted. If not, this power-up has ended, and the next
    /// wait begins a new one.
    pub(super) fn goes_on(&mut self) -> bool {
        if self.has_ended {
            // The place may belong to another power-up by now.
            return false;
        }
        let mut under_way = lock(&UNDER_WAY);
        let wants = |it: &Arc<Shared>| it.mute_cards.want_attempt(self.reader());
        let this = under_way.get(&self.place);
        self.has_ended = !this.is_some_and(|this| this.monitors.iter().any(wants));
        let ended = self.has_ended.then(|| under_way.remove(&self.place));
        drop(under_way);
        // With it go filters of the program.
        drop(ended);
        !self.has_ended
    }

    /// Returns the participating monitors.
    fn monitors(&self) -> Vec<Arc<Shared>> {
        let under_way = lock(&UNDER_WAY);
        let this = under_way.get(&self.place);
        this.map_or(Vec::new(), |this| this.monitors.clone())
    }

    fn count_attempt(&self) {
        for shared in self.monitors() {
            shared.mute_cards.count_attempt(self.reader());
        }
    }

    /// Makes the monitors look at the card.
    fn report_change(&self) {
        for shared in self.monitors() {
            shared.has_changed(self.reader());
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if !self.has_ended {
            let ended = lock(&UNDER_WAY).remove(&self.place);
            drop(ended);
        }
    }
}

/// Connects, which powers up the card, and disconnects without a reset.
fn connect((address, reader): &Place) -> Result<()> {
    let target = Target {
        home: Home::new(address, None),
        reader: reader.clone(),
        access: Access::Card(ShareMode::Shared),
        protocols: Protocols::ANY,
    };
    block_on(target.connect(&Permit::GRANTED)).map(drop)
}

/// Connects until no monitor sees a mute card any more: pcsc-lite does not report the power-up, and
/// the answer may be that of a card that was removed meanwhile, while waits for the next one joined.
fn power_up(mut under_way: UnderWay, connect: impl Fn(&Place) -> Result<()>) {
    let mut pause = Pause::longer(SHORT_PAUSES);
    while under_way.goes_on() {
        under_way.count_attempt();
        let seen = match connect(&under_way.place) {
            Ok(()) => Seen::Present,
            Err(error) => Seen::of_connect(&error),
        };
        tracing::debug!(reader = %under_way.reader(), %seen, "tried to power up a mute card");
        if seen != Seen::Mute {
            under_way.report_change();
        }
        if under_way.goes_on() {
            pause.take(None, None);
        }
    }
}

#[cfg(all(test, not(model)))]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::codes::{Platform, ReturnCode};
    use crate::error::{Error, Operation};
    use crate::monitor::tracker::Tracker;
    use crate::values::Atr;

    fn monitor() -> Arc<Shared> {
        Shared::new(Address::default(), CardFilter::new())
    }

    /// Begins to power up a card in this reader.
    fn begin(shared: &Arc<Shared>, reader: &str) -> Option<UnderWay> {
        begin_with(1, shared, reader)
    }

    /// The same with the card of this number.
    fn begin_with(number: u32, shared: &Arc<Shared>, reader: &str) -> Option<UnderWay> {
        let reader = ReaderName::new(reader).unwrap();
        let mut tracker = Tracker::new(Platform::PcscLite, false);
        tracker.list(vec![reader.clone()]);
        for count in 1..2 * number {
            let state = [0x10, 0x220][count as usize % 2];
            tracker.see(&reader, count << 16 | state, Atr::default());
        }
        let (_, card) = tracker.view().mute_cards().next().unwrap();
        UnderWay::begin(shared, &reader, card)
    }

    #[test]
    fn a_power_up_that_has_ended_does_not_affect_the_next() {
        let monitor = monitor();
        let mut old = begin(&monitor, "ended").unwrap();
        assert!(!old.goes_on(), "nobody waits");
        let _wait = PowerUps::new(&monitor, &Pending::NotCounted);
        let mut new = begin(&monitor, "ended").unwrap();
        assert!(!old.goes_on());
        drop(old);
        assert!(new.goes_on());
        assert!(begin(&monitor, "ended").is_none());
    }

    /// Whatever came of the attempt for the card before.
    #[test]
    fn a_wait_that_joins_for_the_next_card_gets_its_attempts() {
        let removed = || Error::new(Operation::Connect, ReturnCode::E_NO_SMARTCARD);
        for first in [Ok(()), Err(removed())] {
            let monitor = monitor();
            let _wait = PowerUps::new(&monitor, &Pending::NotCounted);
            let under_way = begin(&monitor, "next").unwrap();
            let attempts = Cell::new(0);
            power_up(under_way, |_| {
                attempts.set(attempts.get() + 1);
                match attempts.get() {
                    1 => {
                        assert!(begin_with(2, &monitor, "next").is_none());
                        first.clone()
                    }
                    _ => first.clone(),
                }
            });
            // One more than with the same card.
            assert_eq!(attempts.get(), ATTEMPTS + 1);
        }
    }

    /// The next card in the reader may be one that answers.
    #[test]
    fn a_card_that_is_gone_gets_no_further_attempt() {
        let monitor = monitor();
        let _wait = PowerUps::new(&monitor, &Pending::NotCounted);
        let mut under_way = begin(&monitor, "gone").unwrap();
        assert!(under_way.goes_on());
        monitor.mute_cards.note(&View::default());
        assert!(!under_way.goes_on());
    }

    /// It may hang for long, while waits begin and end.
    #[test]
    fn a_power_up_does_not_keep_closed_monitors_alive() {
        let (first, second, third) = (monitor(), monitor(), monitor());
        let under_way = begin(&first, "closed");
        assert!(begin(&second, "closed").is_none());
        first.stop();
        second.stop();
        assert!(begin(&third, "closed").is_none());
        assert!(begin(&third, "closed").is_none());
        let held = [&first, &second, &third].map(Arc::strong_count);
        assert_eq!(held, [1, 1, 2]);
        drop(under_way);
    }
}
