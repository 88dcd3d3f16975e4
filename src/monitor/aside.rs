//! Mute cards are watched aside: by a thread and a PC/SC context of their own.
//!
//! pcsc-lite's library sleeps 0.4 seconds for each mute card that it is asked about, in each wait
//! and after each event. Whoever waits for something else does not ask about it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::thread::{Ended, Shared, Stoppable, WaitControl};
use super::watcher::ROUND;
use crate::codes::Platform;
use crate::look::{Lookout, reader_states_of};
use crate::service::{Address, ReaderQuery};
use crate::sync::{Mutex, global, lock, thread};
use crate::values::{Atr, ReaderFlags, ReaderName, ReaderState};

/// How long a wait may become. Since pcsc-lite 2.0.1 its library keeps all threads of the process
/// out while it sleeps.
const LONGEST: Duration = Duration::from_secs(16);

/// How many readers are remembered at most.
const MAX_REMEMBERED: usize = 64;

global! {
    /// Readers that had a mute card when they were asked about last, by any monitor of the process:
    /// the first look of the next one is not held up by them.
    static MUTE: Mutex<BTreeSet<ReaderName>> = Mutex::new(BTreeSet::new());
}

/// What a thread has seen in its reader, or that it could not look.
#[derive(Debug)]
pub(super) struct SeenAside {
    pub(super) reader: ReaderName,
    pub(super) seen: Option<(u32, Atr)>,
}

/// The threads, and what they have seen.
#[derive(Debug, Default)]
pub(super) struct Aside {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    seen: Vec<SeenAside>,
    waits: Vec<Arc<WaitControl>>,
    stopped: bool,
}

impl Aside {
    /// Ends all waits, and has none begin.
    pub(super) fn stop(&self) {
        let mut state = lock(&self.state);
        state.stopped = true;
        let waits = state.waits.clone();
        drop(state);
        waits.iter().for_each(WaitControl::cancel);
    }

    pub(super) fn take_seen(&self) -> Vec<SeenAside> {
        std::mem::take(&mut lock(&self.state).seen)
    }

    /// Looks at this reader, in which no card is mute any more.
    pub(super) fn has_changed(&self, address: &Address, reader: &ReaderName) {
        let states = reader_states_of(address, |name| name == reader);
        let state = states.ok().and_then(|mut states| states.pop());
        let is_known = |state: &ReaderState| !state.flags().contains(ReaderFlags::UNKNOWN);
        let state = state.filter(is_known);
        let seen = state.map(|state| (state.raw_state(), state.atr()));
        let reader = reader.clone();
        lock(&self.state).seen.push(SeenAside { reader, seen });
    }

    /// A place among those who are stopped, unless that has happened.
    fn begin(&self) -> Option<Arc<WaitControl>> {
        let waiting = Arc::<WaitControl>::default();
        let mut state = lock(&self.state);
        if state.stopped {
            return None;
        }
        state.waits.push(Arc::clone(&waiting));
        Some(waiting)
    }

    fn end(&self, waiting: &Arc<WaitControl>, seen: SeenAside) {
        let mut state = lock(&self.state);
        state.waits.retain(|it| !Arc::ptr_eq(it, waiting));
        state.seen.push(seen);
    }
}

/// Whether it had a mute card last.
pub(super) fn was_mute(reader: &ReaderName) -> bool {
    lock(&MUTE).contains(reader)
}

/// Waits, on another thread, until a reader differs from this state; then the monitor's own wait
/// is ended. Says whether there is such a thread.
pub(super) fn watch_aside(shared: &Arc<Shared>, reader: &ReaderName, state: u32) -> bool {
    remember(reader, true);
    let Some(waiting) = shared.aside.begin() else {
        return false;
    };
    let ended = Ended::later(shared);
    let (name, control) = (reader.clone(), Arc::clone(&waiting));
    let watch = move || {
        let source = Stoppable {
            address: ended.shared().address().clone(),
            waiting: Arc::clone(&control),
        };
        let seen = look(&source, &name, state);
        if let Some((state, _)) = seen {
            remember(&name, state & ReaderFlags::MUTE.bits() != 0);
        }
        let shared = ended.shared();
        shared.aside.end(&control, SeenAside { reader: name, seen });
        shared.look_aside();
    };
    let thread = thread::Builder::new().name("scard-mute".to_owned());
    let is_there = thread.spawn(watch).is_ok();
    if !is_there {
        let reader = reader.clone();
        shared.aside.end(&waiting, SeenAside { reader, seen: None });
    }
    is_there
}

fn look(source: &Stoppable, reader: &ReaderName, state: u32) -> Option<(u32, Atr)> {
    let mut lookout = Lookout::establish(source, Platform::CURRENT).ok()?;
    let mut asked = [ReaderQuery::knowing(reader.as_c_str(), state)];
    // What is not known yet is answered at once. That another program powers the card up is told
    // by nobody, so waits end without an answer, too: sooner where the card was not mute for long.
    let mut wait = ROUND;
    while !lookout.look(Some(wait), &mut asked).ok()? {
        wait = (wait * 2).min(LONGEST);
    }
    let [seen] = asked;
    let is_known = seen.event_state & ReaderFlags::UNKNOWN.bits() == 0;
    is_known.then_some((seen.event_state, seen.atr))
}

fn remember(reader: &ReaderName, is_mute: bool) {
    let mut mute = lock(&MUTE);
    let before = match is_mute {
        true if mute.len() < MAX_REMEMBERED => mute.replace(reader.clone()),
        true => None,
        false => mute.take(reader),
    };
    drop(mute);
    drop(before);
}
