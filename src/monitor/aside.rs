//! Mute cards are watched aside: by a thread and a PC/SC context of their own.
//!
//! pcsc-lite's library sleeps 0.4 seconds for each mute card that it is asked about, in each wait
//! and after each event. Whoever waits for something else does not ask about it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::thread::{Ended, Shared, Stoppable, WaitControl};
use super::watcher::ROUND;
use crate::codes::{Platform, ReturnCode};
use crate::look::{Lookout, Source, reader_states_of};
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
    static MUTE: Mutex<VecDeque<ReaderName>> = Mutex::new(VecDeque::new());
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
    waits: Vec<(ReaderName, Arc<WaitControl>)>,
    stopped: bool,
}

impl Aside {
    /// Ends all waits, and has none begin.
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

    /// The wait of the thread that watches this reader.
    pub(super) fn wait_for(&self, reader: &ReaderName) -> Option<Arc<WaitControl>> {
        let state = lock(&self.state);
        let waiting = state.waits.iter().find(|(name, _)| name == reader);
        waiting.map(|(_, waiting)| Arc::clone(waiting))
    }

    /// Looks at this reader, in which a card was mute. Says whether none is any more.
    pub(super) fn look_at(&self, address: &Address, reader: &ReaderName) -> bool {
        let states = reader_states_of(address, |name| name == reader);
        let state = states.ok().and_then(|mut states| states.pop());
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

    /// A place among those who are stopped, unless that has happened.
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

/// Whether it had a mute card last.
pub(super) fn was_mute(reader: &ReaderName) -> bool {
    lock(&MUTE).contains(reader)
}

/// Waits, on another thread, until a reader differs from this state; then the monitor's own wait
/// is ended. Says whether there is such a thread.
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
    let thread = thread::Builder::new().name("scard-mute".to_owned());
    let is_there = thread.spawn(watch).is_ok();
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
    let mut lookout = Lookout::establish(source, Platform::CURRENT).ok()?;
    let mut asked = [ReaderQuery::knowing(reader.as_c_str(), state)];
    // What is not known yet is answered at once. That another program powers the card up is told
    // by nobody, so waits end without an answer, too: sooner where the card was not mute for long.
    let mut wait = ROUND;
    loop {
        wait = match lookout.look(Some(wait), &mut asked) {
            Ok(true) => break,
            Ok(false) => (wait * 2).min(LONGEST),
            // It was powered up, or was to be.
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

/// Notes the readers in the order in which they were seen last: the oldest may be long gone.
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

    use super::*;
    use crate::error::{Error, Operation, Result};
    use crate::look::Service;

    const MUTE: u32 = 0x220;

    fn name(name: &str) -> ReaderName {
        ReaderName::new(name).unwrap()
    }

    /// A service in which each wait ends as is written, and the limits of the waits.
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

        fn establish(&self) -> Result<Script> {
            Ok(self.clone())
        }
    }

    impl Service for Script {
        fn list_readers(&mut self) -> Result<Vec<ReaderName>> {
            Ok(vec![name("A")])
        }

        fn status_change(
            &mut self,
            limit: Option<Duration>,
            readers: &mut [ReaderQuery<'_>],
        ) -> Result<bool> {
            let code = ReturnCode::E_CANCELLED;
            let cancelled = Err(Error::new(Operation::GetStatusChange, code));
            let wait = match &mut *self.waits.borrow_mut() {
                // A look that is to agree with the one before.
                waits if limit.is_none_or(|it| it.is_zero()) => waits[0],
                waits if waits.len() > 1 => {
                    self.limits.borrow_mut().extend(limit);
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
    fn the_readers_that_were_mute_last_are_remembered() {
        let mut mute = VecDeque::new();
        for number in 0..2 * MAX_REMEMBERED {
            note(&mut mute, &name(&format!("R{number}")), true);
            // Still plugged in.
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

    /// Its thread does not end before it has something to tell: another one would begin.
    #[test]
    fn a_reader_is_looked_at_again_after_a_power_up_and_watched_on() {
        use Wait::{IsCancelled, IsInterrupted, Passes, Sees};
        let (answers, s) = (0x0002_0020, ROUND);
        let waits = [Passes, Passes, IsInterrupted, Passes, Sees(answers)];
        let limits = vec![s, 2 * s, 4 * s, s];
        assert_eq!(seen(&waits), (Some(answers), limits));
        assert_eq!(seen(&[Passes, IsCancelled]).0, None);
        assert_eq!(seen(&[IsInterrupted, IsCancelled]).0, None);
    }
}
