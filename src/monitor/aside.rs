//! Watches mute cards separately, with their own threads and PC/SC contexts.
//!
//! pcsc-lite's library sleeps 0.4 seconds for each mute card that it is asked about, in each wait
//! and after each event. Other waits therefore do not ask about mute cards.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::thread::{Ended, Shared, Stoppable, WaitControl};
use super::watcher::{ROUND, longer};
use crate::codes::{Platform, ReturnCode};
use crate::error::Result;
use crate::look::{Contexts, Lookout, Source, reader_states_of};
use crate::service::{Address, ReaderQuery, block_on};
use crate::sync::{Mutex, global, lock, start_thread};
use crate::values::{Atr, ReaderFlags, ReaderName, ReaderState};

/// The maximum number of readers remembered.
const MAX_REMEMBERED: usize = 64;

global! {
    /// Readers that had a mute card when anything in the process last asked. They do not delay the
    /// first look of the next monitor or session.
    static MUTE: Mutex<VecDeque<ReaderName>> = Mutex::new(VecDeque::new());
}

/// What a thread saw in its reader, or that it could not look.
#[derive(Debug)]
pub(super) struct SeenAside {
    pub(super) reader: ReaderName,
    pub(super) seen: Option<(u32, Atr)>,
}

/// The threads, and what they saw.
#[derive(Debug, Default)]
pub(super) struct Aside {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    seen: Vec<SeenAside>,
    waits: Vec<(ReaderName, Arc<WaitControl>)>,
    stopped: bool,
}

impl Aside {
    /// Ends all waits, and prevents new ones.
    pub(super) fn stop(&self) {
        let mut state = lock(&self.state);
        state.stopped = true;
        let waits = state.waits.clone();
        drop(state);
        waits.iter().for_each(|(_, waiting)| waiting.cancel());
    }

    pub(super) fn take_seen(&self) -> Vec<SeenAside> {
        std::mem::take(&mut lock(&self.state).seen)
    }

    /// Returns the wait of the thread that watches this reader.
    pub(super) fn wait_for(&self, reader: &ReaderName) -> Option<Arc<WaitControl>> {
        let state = lock(&self.state);
        let waiting = state.waits.iter().find(|(name, _)| name == reader);
        waiting.map(|(_, waiting)| Arc::clone(waiting))
    }

    /// Looks at this reader, which had a mute card. Returns whether it no longer has one.
    pub(super) fn look_at(&self, address: &Address, reader: &ReaderName) -> bool {
        let contexts = Contexts::at(address);
        let states = quick_states_of(&contexts, |name| name == reader, |_| false);
        let state = block_on(states)
            .ok()
            .and_then(|(mut states, _)| states.pop());
        if state.as_ref().is_some_and(ReaderState::is_mute) {
            return false;
        }
        let is_known = |state: &ReaderState| !state.flags().contains(ReaderFlags::UNKNOWN);
        let state = state.filter(is_known);
        let seen = state.map(|state| (state.raw_state(), state.atr()));
        let reader = reader.clone();
        lock(&self.state).seen.push(SeenAside { reader, seen });
        true
    }

    /// Registers a wait to be stopped, unless that already happened.
    fn begin(&self, reader: &ReaderName) -> Option<Arc<WaitControl>> {
        let waiting = Arc::<WaitControl>::default();
        let mut state = lock(&self.state);
        if state.stopped {
            return None;
        }
        state.waits.push((reader.clone(), Arc::clone(&waiting)));
        Some(waiting)
    }

    fn end(&self, waiting: &Arc<WaitControl>, seen: SeenAside) {
        let mut state = lock(&self.state);
        state.waits.retain(|(_, it)| !Arc::ptr_eq(it, waiting));
        state.seen.push(seen);
    }
}

/// Returns whether the reader had a mute card when last asked.
pub(super) fn was_mute(reader: &ReaderName) -> bool {
    lock(&MUTE).contains(reader)
}

/// Queries these readers, except those that had a mute card when last asked and may be skipped.
/// Returns also the names of the latter.
pub(crate) async fn quick_states_of(
    contexts: &Contexts<'_>,
    is_about: impl Fn(&ReaderName) -> bool,
    may_skip: impl Fn(&ReaderName) -> bool,
) -> Result<(Vec<ReaderState>, BTreeSet<ReaderName>)> {
    let skipped = RefCell::new(BTreeSet::new());
    let states = reader_states_of(contexts, |name| {
        let is_skipped = is_about(name) && may_skip(name) && was_mute(name);
        if is_skipped {
            skipped.borrow_mut().insert(name.clone());
        }
        is_about(name) && !is_skipped
    })
    .await?;
    for state in &states {
        remember(state.reader_name(), state.is_mute());
    }
    Ok((states, skipped.into_inner()))
}

/// Waits on another thread until a reader differs from this state, then ends the monitor's own
/// wait. Returns whether such a thread exists.
pub(super) fn watch_aside(shared: &Arc<Shared>, reader: &ReaderName, state: u32) -> bool {
    remember(reader, true);
    let Some(waiting) = shared.aside.begin(reader) else {
        return false;
    };
    let ended = Ended::later(shared);
    let (name, control) = (reader.clone(), Arc::clone(&waiting));
    let watch = move || {
        let source = Stoppable {
            address: ended.shared().address().clone(),
            waiting: Arc::clone(&control),
        };
        let seen = look(&source, &control, &name, state);
        if let Some((state, _)) = seen {
            remember(&name, state & ReaderFlags::MUTE.bits() != 0);
        }
        let shared = ended.shared();
        shared.aside.end(&control, SeenAside { reader: name, seen });
        shared.look_aside();
    };
    let is_there = start_thread("scard-mute", watch).is_ok();
    if !is_there {
        let reader = reader.clone();
        shared.aside.end(&waiting, SeenAside { reader, seen: None });
    }
    is_there
}

fn look(
    source: &impl Source,
    waiting: &WaitControl,
    reader: &ReaderName,
    state: u32,
) -> Option<(u32, Atr)> {
    let mut lookout = block_on(Lookout::establish(source, Platform::CURRENT)).ok()?;
    let mut asked = [ReaderQuery::knowing(reader.as_c_str(), state)];
    // Unknown states are answered at once. Nothing reports that another program powered up the
    // card, so waits also end without an answer: sooner if the card became mute recently.
    let mut wait = ROUND;
    loop {
        wait = match block_on(lookout.look(wait, &mut asked)) {
            Ok(true) => break,
            Ok(false) => longer(wait),
            // The card was powered up, or that was attempted.
            Err(error) if error.code() == ReturnCode::E_CANCELLED => {
                waiting.take_news().then_some(ROUND)?
            }
            Err(_) => return None,
        };
    }
    let [seen] = asked;
    let is_known = seen.event_state & ReaderFlags::UNKNOWN.bits() == 0;
    is_known.then_some((seen.event_state, seen.atr))
}

fn remember(reader: &ReaderName, is_mute: bool) {
    note(&mut lock(&MUTE), reader, is_mute);
}

/// Notes readers in the order in which they were last seen: the oldest may be long gone.
fn note(mute: &mut VecDeque<ReaderName>, reader: &ReaderName, is_mute: bool) {
    mute.retain(|it| it != reader);
    if is_mute {
        mute.push_back(reader.clone());
    }
    if mute.len() > MAX_REMEMBERED {
        mute.pop_front();
    }
}

#[cfg(all(test, not(model)))]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::time::Duration;

    use super::*;
    use crate::error::{Error, Operation};
    use crate::look::Service;

    const MUTE: u32 = 0x220;

    fn name(name: &str) -> ReaderName {
        ReaderName::new(name).unwrap()
    }

    /// A service with scripted ends of waits, and the limits of the waits.
    #[derive(Clone)]
    struct Script {
        waits: Rc<RefCell<Vec<Wait>>>,
        limits: Rc<RefCell<Vec<Duration>>>,
        waiting: Arc<WaitControl>,
    }

    #[derive(Clone, Copy)]
    enum Wait {
        Passes,
        IsInterrupted,
        IsCancelled,
        Sees(u32),
    }

    impl Source for Script {
        type Service = Script;

        async fn establish(&self) -> Result<Script> {
            Ok(self.clone())
        }
    }

    impl Service for Script {
        async fn list_readers(&mut self) -> Result<Vec<ReaderName>> {
            Ok(vec![name("A")])
        }

        async fn status_change(
            &mut self,
            limit: Duration,
            readers: &mut [ReaderQuery<'_>],
        ) -> Result<bool> {
            let code = ReturnCode::E_CANCELLED;
            let cancelled = Err(Error::new(Operation::GetStatusChange, code));
            let wait = match &mut *self.waits.borrow_mut() {
                // A look that has to agree with the one before.
                waits if limit.is_zero() => waits[0],
                waits if waits.len() > 1 => {
                    self.limits.borrow_mut().push(limit);
                    waits.remove(0)
                }
                waits => waits[0],
            };
            match wait {
                Wait::Passes => Ok(false),
                Wait::IsInterrupted => {
                    self.waiting.interrupt();
                    cancelled
                }
                Wait::IsCancelled => cancelled,
                Wait::Sees(state) => {
                    for it in readers {
                        it.event_state = state;
                    }
                    Ok(true)
                }
            }
        }
    }

    fn seen(waits: &[Wait]) -> (Option<u32>, Vec<Duration>) {
        let script = Script {
            waits: Rc::new(RefCell::new(waits.to_vec())),
            limits: Rc::default(),
            waiting: Arc::default(),
        };
        let seen = look(&script, &script.waiting, &name("A"), MUTE);
        let limits = script.limits.take();
        (seen.map(|(state, _)| state), limits)
    }

    #[test]
    fn the_readers_that_most_recently_had_a_mute_card_are_remembered() {
        let mut mute = VecDeque::new();
        for number in 0..2 * MAX_REMEMBERED {
            note(&mut mute, &name(&format!("R{number}")), true);
            // The reader is still plugged in.
            note(&mut mute, &name("R0"), true);
        }
        assert_eq!(mute.len(), MAX_REMEMBERED);
        for reader in ["R0", "R127", "R100"] {
            assert!(mute.contains(&name(reader)), "{reader}");
        }
        assert!(!mute.contains(&name("R1")));
        note(&mut mute, &name("R0"), false);
        note(&mut mute, &name("R0"), false);
        assert!(!mute.contains(&name("R0")));
        assert_eq!(mute.len(), MAX_REMEMBERED - 1);
    }

    /// The thread must not end before it has something to report, or another one would begin.
    #[test]
    fn a_reader_is_queried_again_after_a_power_up_and_still_watched() {
        use Wait::{IsCancelled, IsInterrupted, Passes, Sees};
        let (answers, s) = (0x0002_0020, ROUND);
        let waits = [Passes, Passes, IsInterrupted, Passes, Sees(answers)];
        let limits = vec![s, 2 * s, 4 * s, s];
        assert_eq!(seen(&waits), (Some(answers), limits));
        assert_eq!(seen(&[Passes, IsCancelled]).0, None);
        assert_eq!(seen(&[IsInterrupted, IsCancelled]).0, None);
    }
}
