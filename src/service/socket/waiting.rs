//! Waiting for a change: `SCardGetStatusChange`, whose logic is the client's.
//!
//! The daemon tells of every change of every reader, once; then it has to be asked again. Up to
//! protocol 4:5 it says how the readers are in the same moment, and tells of each change after it.
//!
//! In 4:6 it only registers, so that the readers have to be asked for afterwards, and a change can
//! be told in the middle of that. So on the connection that waits nothing is asked but the number of
//! the readers, which is not zero, as a change begins: its answer shows that the registration stands.
//! The readers are asked for on a second connection.

use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use super::client::Client;
use super::readers::{Questions, SIZED};
use super::stream::{Ended, GaveUp, Limit};
use super::wire::{Answer, Command, Garbled, MAX_SLOTS, Reader, Requests, state, words};
use crate::codes::ReturnCode;
use crate::service::{Failure, ReaderQuery};
use crate::values::Atr;

/// The name under which readers that come and go are waited for.
const PLUG_AND_PLAY: &[u8] = b"\\\\?PnP?\\Notification";

/// Since this one, the daemon counts how often readers came or went.
const COUNTED: u32 = 5;

/// Bits of what is known, and of what is seen.
mod flag {
    pub(super) const IGNORE: u32 = 0x001;
    pub(super) const CHANGED: u32 = 0x002;
    pub(super) const UNKNOWN: u32 = 0x004;
    pub(super) const UNAVAILABLE: u32 = 0x008;
    pub(super) const EMPTY: u32 = 0x010;
    pub(super) const PRESENT: u32 = 0x020;
    pub(super) const EXCLUSIVE: u32 = 0x080;
    pub(super) const IN_USE: u32 = 0x100;
    pub(super) const MUTE: u32 = 0x200;
}

/// The count of the last change of readers that any client of this process has seen.
static CHANGES: AtomicU16 = AtomicU16::new(0);

/// Counts how often readers were attached or detached.
///
/// Only since 4:5 does the daemon count, and it does so after it has reported the reader. No two
/// clients share a count: a caller may have the count that it passes from another context.
#[derive(Debug, Default)]
pub(super) struct Seen {
    names: Vec<Vec<u8>>,
    daemons: u32,
    count: u16,
}

impl Seen {
    /// Takes the readers and, if it is known, the daemon's count.
    pub(super) fn note(&mut self, readers: &[Reader], daemons: Option<u32>) {
        let names = || readers.iter().map(|reader| &reader.name);
        let daemons = daemons.unwrap_or(self.daemons);
        if self.count == 0 || daemons != self.daemons || !names().eq(&self.names) {
            self.names = names().cloned().collect();
            self.daemons = daemons;
            self.count = match CHANGES.fetch_add(1, Ordering::Relaxed) {
                // It has wrapped around, and zero would mean that nothing is known.
                u16::MAX => CHANGES.fetch_add(1, Ordering::Relaxed).wrapping_add(1),
                before => before + 1,
            };
        }
    }
}

/// The readers at one moment.
struct Moment {
    readers: Vec<Reader>,
    /// How often readers came or went.
    count: u32,
}

/// What a wait looks for.
fn is_plug_and_play(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(PLUG_AND_PLAY)
}

/// What there is to say of a reader, and whether the caller does not know it.
fn compare(known: u32, reader: &Reader) -> (u32, bool) {
    use flag::*;
    let is = |bits: u32| reader.state & bits != 0;
    let knew = |bits: u32| known & bits != 0;
    let count = reader.event_count & 0xFFFF;
    let mut seen = count << 16;
    let mut changed = known == 0 || knew(UNKNOWN);
    changed |= known >> 16 != 0 && known >> 16 != count;
    if is(state::UNKNOWN) {
        seen = UNAVAILABLE;
        changed |= !knew(UNAVAILABLE);
    } else {
        changed |= knew(UNAVAILABLE);
    }
    if is(state::ABSENT) {
        seen = seen & !UNAVAILABLE | EMPTY;
        changed |= knew(PRESENT);
    } else if is(state::PRESENT) {
        seen = seen & !UNAVAILABLE | PRESENT;
        changed |= knew(EMPTY) || is(state::SWALLOWED) != knew(MUTE);
        if is(state::SWALLOWED) {
            seen |= MUTE;
        }
    }
    match reader.sharing {
        -1 => {
            seen |= EXCLUSIVE;
            changed |= knew(IN_USE);
        }
        0 => changed |= knew(IN_USE | EXCLUSIVE),
        1.. if is(state::PRESENT) => {
            seen |= IN_USE;
            changed |= knew(EXCLUSIVE);
        }
        _ => {}
    }
    (seen, changed)
}

impl Moment {
    fn find(&self, name: &[u8]) -> Option<&Reader> {
        self.readers.iter().find(|reader| reader.name == name)
    }

    fn knows_all(&self, queries: &[ReaderQuery<'_>]) -> bool {
        let mut names = queries.iter().map(|query| query.name.to_bytes());
        names.all(|name| self.find(name).is_some() || is_plug_and_play(name))
    }

    /// Answers, and says whether one of the readers has changed. `first_count` is that of the
    /// beginning of the wait.
    fn answer(&self, queries: &mut [ReaderQuery<'_>], first_count: u32) -> bool {
        let mut any = false;
        for query in queries {
            let known = query.current_state;
            if known & flag::IGNORE != 0 {
                query.event_state = 0;
                continue;
            }
            let name = query.name.to_bytes();
            let (seen, changed, atr) = match self.find(name) {
                Some(reader) => {
                    let (seen, changed) = compare(known, reader);
                    let is_present = reader.state & state::PRESENT != 0;
                    let atr = if is_present {
                        reader.atr
                    } else {
                        Atr::default()
                    };
                    (seen, changed, atr)
                }
                None if is_plug_and_play(name) => {
                    let count = self.count & 0xFFFF;
                    let before = match known >> 16 {
                        0 => first_count & 0xFFFF,
                        before => before,
                    };
                    (count << 16, count != before, query.atr)
                }
                None => {
                    let gone = flag::UNKNOWN | flag::UNAVAILABLE;
                    (gone, known & flag::UNKNOWN == 0, query.atr)
                }
            };
            query.event_state = match changed {
                true => seen | flag::CHANGED,
                false => seen,
            };
            query.atr = atr;
            any |= changed;
        }
        any
    }
}

impl Client {
    /// Waits until a reader differs from what the caller knows.
    pub(in crate::service) fn get_status_change(
        &mut self,
        timeout_ms: u32,
        readers: &mut [ReaderQuery<'_>],
    ) -> Result<(), Failure> {
        if readers
            .iter()
            .all(|it| it.current_state & flag::IGNORE != 0)
        {
            return Ok(());
        }
        if timeout_ms == 0 {
            let now = self.moment(Questions::NONE)?;
            if !now.knows_all(readers) {
                return Err(ReturnCode::E_UNKNOWN_READER.into());
            }
            let first = now.count;
            return match now.answer(readers, first) {
                true => Ok(()),
                false => Err(ReturnCode::E_TIMEOUT.into()),
            };
        }
        let wait = Duration::from_millis(timeout_ms.into());
        let end = (timeout_ms != u32::MAX).then(|| Instant::now() + wait);
        let (mut registration, now) = self.register()?;
        if !now.knows_all(readers) {
            self.take_back(registration)?;
            return Err(ReturnCode::E_UNKNOWN_READER.into());
        }
        let (first, mut now) = (now.count, now);
        loop {
            if now.answer(readers, first) {
                self.take_back(registration)?;
                return Ok(());
            }
            if let Some(code) = self.wait_for_change(registration, end)? {
                return Err(code.into());
            }
            (registration, now) = self.register()?;
        }
    }

    /// The readers now, after what is asked already.
    fn moment(&mut self, asked: Questions) -> Result<Moment, ReturnCode> {
        let counts = self.minor >= COUNTED;
        let asked = match counts {
            true => asked.with(Command::ReaderEvents, &[]),
            false => asked,
        };
        let (come, readers) = self.ask_for_readers(asked, None, if counts { 2 } else { 0 })?;
        Ok(self.moment_of(&come, readers))
    }

    /// The daemon's count comes before the readers: what changes in between is seen, and counts
    /// later.
    fn moment_of(&mut self, come: &[u8], readers: Vec<Reader>) -> Moment {
        let daemons = (self.minor >= COUNTED).then(|| words::<2>(come)[0]);
        self.seen.note(&readers, daemons);
        let count = self.seen.count.into();
        Moment { readers, count }
    }

    /// Has the daemon tell of the next change, and gives the readers.
    fn register(&mut self) -> Result<(Registration, Moment), ReturnCode> {
        match self.minor >= SIZED {
            true => self.register_beside(),
            false => self.register_here(),
        }
    }

    /// Up to protocol 4:5.
    fn register_here(&mut self) -> Result<(Registration, Moment), ReturnCode> {
        let counts = self.minor >= COUNTED;
        let asked = match counts {
            true => Questions::NONE.with(Command::ReaderEvents, &[]),
            false => Questions::NONE,
        };
        let asked = asked.with(Command::WaitChange, &[]);
        let answer = Answer::Readers {
            before: if counts { 2 } else { 0 },
            sized: false,
            after: 0,
        };
        let come = self.gather(asked.as_bytes(), &[], answer)?;
        let now = self.moment_of(&come, answer.readers(&come));
        Ok((Registration::Stands, now))
    }

    /// Since protocol 4:6.
    fn register_beside(&mut self) -> Result<(Registration, Moment), ReturnCode> {
        let mut beside = match self.beside.take() {
            Some(beside) => beside,
            None => {
                let beside = self.connect_beside().map_err(|failure| failure.code)?;
                Box::new(beside)
            }
        };
        let asked = Requests::<16>::NONE.with(Command::WaitChange, &[]);
        let asked = asked.with(Command::StatesSize, &[]);
        let mut answer = self.gather(asked.as_bytes(), &[], Answer::Words(1))?;
        let mut registration = Registration::Stands;
        if words(&answer) == [0] {
            // The change, whose code follows.
            answer = self.gather(&[], &[], Answer::Words(2))?;
            let [code, _] = words(&answer);
            registration = Registration::Over(ReturnCode::from_raw(code));
        }
        let [.., size] = words::<2>(
            &[
                &[0; 4],
                answer.last_chunk::<4>().unwrap_or(&[0; 4]).as_slice(),
            ]
            .concat(),
        );
        if !(1..=MAX_SLOTS).contains(&size) {
            return Err(self.garbled(Garbled));
        }
        let now = beside.moment(Questions::NONE)?;
        self.beside = Some(beside);
        Ok((registration, now))
    }

    /// Waits for the change that was registered for. Gives the code that the wait ends with, if it
    /// does.
    fn wait_for_change(
        &mut self,
        registration: Registration,
        end: Option<Instant>,
    ) -> Result<Option<ReturnCode>, ReturnCode> {
        if let Registration::Over(code) = registration {
            return Ok((code != ReturnCode::S_SUCCESS).then_some(code));
        }
        let limit = Limit {
            deadline: end,
            bell: self.bell.clone(),
        };
        match self.wait_for_bytes(&limit) {
            Ok(()) => {}
            Err(Ended::GaveUp(why)) => {
                self.take_back(registration)?;
                return Ok(Some(match why {
                    GaveUp::Deadline => ReturnCode::E_TIMEOUT,
                    GaveUp::Rung => ReturnCode::E_CANCELLED,
                }));
            }
            Err(ended) => return Err(self.die_of(ended)),
        }
        let change = self.gather(&[], &[], Answer::Words(2))?;
        let [_, code] = words(&change);
        Ok((code != 0).then(|| ReturnCode::from_raw(code)))
    }

    /// There is one answer in any case: this one's, or the change, if that came first.
    fn take_back(&mut self, registration: Registration) -> Result<(), ReturnCode> {
        if registration == Registration::Stands {
            let asked = Requests::<8>::NONE.with(Command::StopWaiting, &[]);
            self.gather(asked.as_bytes(), &[], Answer::Words(2))?;
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Registration {
    Stands,
    /// The change came already, with this code.
    Over(ReturnCode),
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::flag::*;
    use super::*;

    fn reader(name: &str, state: u32, sharing: i32, event_count: u32) -> Reader {
        Reader {
            name: name.as_bytes().to_vec(),
            event_count,
            state,
            sharing,
            atr: Atr::default(),
            protocol: 0,
        }
    }

    /// As `SCardGetStatusChange` of pcsc-lite 1.9.9 to 2.5.1 has it.
    #[test]
    fn what_has_changed_is_what_the_caller_does_not_know() {
        let (absent, present) = (state::ABSENT, state::PRESENT | 0x30);
        let mute = state::PRESENT | state::SWALLOWED;
        for (known, state, sharing, count, seen, changed) in [
            // Nothing is known.
            (0, absent, 0, 0, EMPTY, true),
            (0, present, 0, 3, 3 << 16 | PRESENT, true),
            // All of it is.
            (EMPTY, absent, 0, 4, 4 << 16 | EMPTY, false),
            (4 << 16 | EMPTY, absent, 0, 4, 4 << 16 | EMPTY, false),
            (4 << 16 | EMPTY, absent, 0, 0x1_0004, 4 << 16 | EMPTY, false),
            (PRESENT | MUTE, mute, 0, 0, PRESENT | MUTE, false),
            // Another count, card or no card, mute or not.
            (4 << 16 | EMPTY, absent, 0, 5, 5 << 16 | EMPTY, true),
            (EMPTY, present, 0, 0, PRESENT, true),
            (PRESENT, absent, 0, 0, EMPTY, true),
            (PRESENT, mute, 0, 0, PRESENT | MUTE, true),
            (PRESENT | MUTE, present, 0, 0, PRESENT, true),
            // Who uses it: that somebody begins to is no change.
            (PRESENT, present, 1, 0, PRESENT | IN_USE, false),
            (PRESENT, present, -1, 0, PRESENT | EXCLUSIVE, false),
            (PRESENT | IN_USE, present, -1, 0, PRESENT | EXCLUSIVE, true),
            (PRESENT | EXCLUSIVE, present, 2, 0, PRESENT | IN_USE, true),
            (PRESENT | IN_USE, present, 0, 0, PRESENT, true),
            (EMPTY, absent, 1, 0, EMPTY, false),
            // It cannot be read, or can again, or was away.
            (PRESENT, state::UNKNOWN, 0, 9, UNAVAILABLE, true),
            (UNAVAILABLE, state::UNKNOWN, 0, 9, UNAVAILABLE, false),
            (UNAVAILABLE, present, 0, 0, PRESENT, true),
            (UNKNOWN | UNAVAILABLE, absent, 0, 0, EMPTY, true),
        ] {
            let answer = compare(known, &reader("A", state, sharing, count));
            assert_eq!(answer, (seen, changed), "{known:#x} {state:#x} {sharing}");
        }
    }

    #[test]
    fn readers_that_come_and_go_are_counted() {
        let both = || vec![reader("A", 2, 0, 0), reader("B", 2, 0, 0)];
        let (mut seen, mut other) = (Seen::default(), Seen::default());
        let mut counts = BTreeSet::new();
        let mut note = |seen: &mut Seen, readers: &[Reader], daemons, is_new| {
            let before = seen.count;
            seen.note(readers, daemons);
            assert_eq!(seen.count != before, is_new);
            assert_eq!(counts.insert(seen.count), is_new, "another client's");
        };
        for (readers, daemons, is_new) in [
            (vec![], None, true),
            (vec![], None, false),
            (both(), None, true),
            (both(), Some(1), true),
            (both(), Some(1), false),
            (vec![reader("B", 4, 0, 0)], Some(1), true),
            (vec![reader("B", 2, 0, 0)], None, false),
        ] {
            note(&mut seen, &readers, daemons, is_new);
            note(&mut other, &readers, daemons, is_new);
        }
        for turn in 0..=u32::from(u16::MAX) {
            seen.note(&both(), Some(turn));
            assert_ne!(seen.count, 0);
        }

        let ask = |known, first, now| {
            let moment = Moment {
                readers: both(),
                count: now,
            };
            let mut queries = [ReaderQuery::knowing(c"\\\\?PnP?\\Notification", known)];
            assert!(moment.knows_all(&queries));
            let changed = moment.answer(&mut queries, first);
            (queries[0].event_state, changed)
        };
        assert_eq!(ask(0, 5, 5), (5 << 16, false));
        assert_eq!(ask(0, 5, 6), (6 << 16 | CHANGED, true));
        assert_eq!(ask(5 << 16, 6, 6), (6 << 16 | CHANGED, true));
        assert_eq!(ask(6 << 16, 6, 0x5_0006), (6 << 16, false));
    }

    #[test]
    fn a_reader_that_is_gone_is_told_once_and_one_that_is_ignored_never() {
        let moment = Moment {
            readers: vec![reader("A", 2, 0, 0)],
            count: 0,
        };
        let mut queries = [
            ReaderQuery::knowing(c"B", PRESENT),
            ReaderQuery::knowing(c"B", UNKNOWN),
            ReaderQuery::knowing(c"A", IGNORE),
        ];
        assert!(!moment.knows_all(&queries));
        assert!(moment.answer(&mut queries, 0));
        let seen = queries.map(|query| query.event_state);
        let gone = UNKNOWN | UNAVAILABLE;
        assert_eq!(seen, [gone | CHANGED, gone, 0]);
    }
}
