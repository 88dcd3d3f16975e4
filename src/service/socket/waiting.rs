//! Waiting for a change: the logic of `SCardGetStatusChange`, which is up to the client.
//!
//! The client registers for the next change of any reader, and again after each change. Up to
//! protocol 4:5 the answer to the registration contains the readers' states, so no change is
//! missed.
//!
//! In 4:6 it does not, so the readers must be queried afterwards, and the report of a change can
//! arrive in the middle of that. So the waiting connection only requests the number of readers,
//! whose answer proves that the registration is active; it is never zero, whereas a change begins
//! with a zero. The readers are queried on a second connection.

use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use super::client::{Client, given_up};
use super::readers::{Readers, SIZED};
use super::stream::{Ended, Limit};
use super::wire::{Answer, Command, Garbled, MAX_SLOTS, Reader, Requests, state, words};
use crate::codes::ReturnCode;
use crate::service::{Failure, ReaderQuery};
use crate::values::Atr;

/// The name that stands for readers being attached and detached.
const PLUG_AND_PLAY: &[u8] = b"\\\\?PnP?\\Notification";

/// Bits of the known and the actual state.
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

/// The number of the last change of readers noted by any client of this process.
static CHANGES: AtomicU16 = AtomicU16::new(0);

/// Numbers the changes of the list of readers.
///
/// The daemon has its own count since 4:5, but increments it only after reporting the reader.
/// Numbers are unique within the process, because a caller may pass one from another context.
#[derive(Debug, Default)]
pub(super) struct Seen {
    names: Vec<Vec<u8>>,
    daemons: u32,
    count: u16,
    /// What the caller knows of the cards, beside their states.
    atrs: Vec<(Vec<u8>, Atr)>,
}

impl Seen {
    /// Notes the readers and, if known, the daemon's count.
    pub(super) fn note(&mut self, seen: &Readers) {
        let names = || seen.readers.iter().map(|reader| &reader.name);
        let daemons = seen.changes.unwrap_or(self.daemons);
        if self.count == 0 || daemons != self.daemons || !names().eq(&self.names) {
            self.names = names().cloned().collect();
            self.daemons = daemons;
            self.count = match CHANGES.fetch_add(1, Ordering::Relaxed) {
                // Skips zero, which would mean that nothing is known.
                u16::MAX => CHANGES.fetch_add(1, Ordering::Relaxed).wrapping_add(1),
                before => before + 1,
            };
        }
    }

    /// Notes what the caller is told.
    fn told(&mut self, answered: &[ReaderQuery<'_>]) {
        let names = &self.names;
        self.atrs.retain(|(name, _)| {
            let mut queries = answered.iter();
            names.contains(name) && queries.all(|it| it.name.to_bytes() != name)
        });
        // Also of one that the daemon has not read yet.
        let told = answered
            .iter()
            .filter(|it| it.event_state & flag::PRESENT != 0);
        self.atrs
            .extend(told.map(|it| (it.name.to_bytes().to_vec(), it.atr)));
    }
}

/// The readers at one time.
struct Snapshot {
    readers: Vec<Reader>,
    /// The number of the last change of the list of readers.
    count: u32,
}

fn is_plug_and_play(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(PLUG_AND_PLAY)
}

/// The state of a reader, and whether it differs from the state known to the caller.
fn compare(known: u32, reader: &Reader) -> (u32, bool) {
    use flag::*;
    let is = |bits: u32| reader.state & bits != 0;
    let knew = |bits: u32| known & bits != 0;
    let count = reader.event_count & 0xFFFF;
    let mut seen = count << 16;
    let mut changed = known == 0 || knew(UNKNOWN);
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
    changed |= known >> 16 != seen >> 16;
    (seen, changed)
}

impl Snapshot {
    fn find(&self, name: &[u8]) -> Option<&Reader> {
        self.readers.iter().find(|reader| reader.name == name)
    }

    fn knows_all(&self, queries: &[ReaderQuery<'_>]) -> bool {
        let mut names = queries.iter().map(|query| query.name.to_bytes());
        names.all(|name| self.find(name).is_some() || is_plug_and_play(name))
    }

    /// Fills in the states, and returns whether one of the readers has changed. `first_count` is
    /// the count at the beginning of the wait. Another ATR is a change, too: that of a card that
    /// answers differently after a reset, which is not counted.
    fn answer(
        &self,
        queries: &mut [ReaderQuery<'_>],
        first_count: u32,
        atrs: &[(Vec<u8>, Atr)],
    ) -> bool {
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
                    let is_other = |(of, before): &(Vec<u8>, Atr)| of == name && *before != atr;
                    let is_known = known & flag::PRESENT != 0 && !atr.is_empty();
                    (seen, changed || is_known && atrs.iter().any(is_other), atr)
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
    pub(in crate::service) async fn get_status_change(
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
            let now = self.look().await?;
            if !now.knows_all(readers) {
                return Err(ReturnCode::E_UNKNOWN_READER.into());
            }
            let first = now.count;
            return match self.tell(&now, readers, first) {
                true => Ok(()),
                false => Err(ReturnCode::E_TIMEOUT.into()),
            };
        }
        let wait = Duration::from_millis(timeout_ms.into());
        let end = (timeout_ms != u32::MAX).then(|| Instant::now() + wait);
        let limit = self.limit.of_wait(end, &self.bell);
        let mut first = None;
        loop {
            let (registration, before) = self.register().await?;
            let is_unknown = first.is_none() && !before.knows_all(readers);
            let first_count = *first.get_or_insert(before.count);
            if is_unknown || before.answer(readers, first_count, &self.seen.atrs) {
                self.unregister(registration).await?;
            } else if let Some(code) = self.wait_for_change(registration, &limit).await? {
                return Err(code.into());
            }
            // Up to 4:5, the readers in the answer to the registration may be inconsistent.
            let now = self.look().await?;
            if is_unknown && !now.knows_all(readers) {
                return Err(ReturnCode::E_UNKNOWN_READER.into());
            }
            if self.tell(&now, readers, first_count) {
                return Ok(());
            }
            // For a daemon that contradicts itself.
            limit.check().map_err(given_up)?;
        }
    }

    /// [`Snapshot::answer`], with what the caller was told before.
    fn tell(&mut self, now: &Snapshot, readers: &mut [ReaderQuery<'_>], first_count: u32) -> bool {
        let has_changed = now.answer(readers, first_count, &self.seen.atrs);
        if has_changed {
            self.seen.told(readers);
        }
        has_changed
    }

    async fn look(&mut self) -> Result<Snapshot, ReturnCode> {
        let seen = self.query_readers().await?;
        Ok(self.snapshot(seen))
    }

    fn snapshot(&mut self, seen: Readers) -> Snapshot {
        self.seen.note(&seen);
        Snapshot {
            readers: seen.readers,
            count: self.seen.count.into(),
        }
    }

    /// Registers for the next change, and returns the readers.
    async fn register(&mut self) -> Result<(Registration, Snapshot), ReturnCode> {
        match self.minor >= SIZED {
            true => self.register_and_query().await,
            false => self.register_with_states().await,
        }
    }

    /// Up to protocol 4:5.
    async fn register_with_states(&mut self) -> Result<(Registration, Snapshot), ReturnCode> {
        let (asked, before) = self.asking_for_count();
        let asked = asked.with(Command::WaitChange, &[]);
        let answer = Answer::Readers {
            before,
            sized: false,
            after: 0,
        };
        let bytes = self.gather(asked.as_bytes(), &[], answer).await?;
        let seen = self.readers_in(answer, &bytes);
        Ok((Registration::Active, self.snapshot(seen)))
    }

    /// Since protocol 4:6.
    async fn register_and_query(&mut self) -> Result<(Registration, Snapshot), ReturnCode> {
        let mut query_client = match self.query_client.take() {
            Some(query_client) => query_client,
            None => {
                let query_client = self
                    .connect_query_client()
                    .await
                    .map_err(|failure| failure.code)?;
                Box::new(query_client)
            }
        };
        let asked = Requests::<16>::NONE.with(Command::WaitChange, &[]);
        let asked = asked.with(Command::StatesSize, &[]);
        let mut answer = self.gather(asked.as_bytes(), &[], Answer::Words(1)).await?;
        let mut registration = Registration::Active;
        if words(&answer) == [0] {
            // The change, followed by its return code.
            answer = self.gather(&[], &[], Answer::Words(2)).await?;
            let [code, _] = words(&answer);
            registration = Registration::Ended(ReturnCode::from_raw(code));
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
        let seen = query_client.query_readers().await;
        if seen.is_err() {
            // Still registered: the report of a change would be taken for an answer.
            self.hang_up();
        }
        let seen = seen?;
        self.query_client = Some(query_client);
        Ok((registration, self.snapshot(seen)))
    }

    /// Waits for the next change. Returns a code if that ends the wait.
    async fn wait_for_change(
        &mut self,
        registration: Registration,
        limit: &Limit,
    ) -> Result<Option<ReturnCode>, ReturnCode> {
        if let Registration::Ended(code) = registration {
            return Ok((code != ReturnCode::S_SUCCESS).then_some(code));
        }
        match self.wait_for_bytes(limit).await {
            Ok(()) => {}
            Err(Ended::GaveUp(why)) => {
                self.unregister(registration).await?;
                return Ok(Some(given_up(why)));
            }
            Err(ended) => return Err(self.fail(ended)),
        }
        let change = self.gather(&[], &[], Answer::Words(2)).await?;
        let [_, code] = words(&change);
        Ok((code != 0).then(|| ReturnCode::from_raw(code)))
    }

    /// There is exactly one answer: to this request, or the change if that came first.
    async fn unregister(&mut self, registration: Registration) -> Result<(), ReturnCode> {
        if registration == Registration::Active {
            let asked = Requests::<8>::NONE.with(Command::StopWaiting, &[]);
            self.gather(asked.as_bytes(), &[], Answer::Words(2)).await?;
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Registration {
    Active,
    /// The change has already arrived, with this code.
    Ended(ReturnCode),
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

    /// As in `SCardGetStatusChange` of pcsc-lite 1.9.9 to 2.5.1, but for a known count of zero: that
    /// library takes it for an unknown one, and misses changes.
    #[test]
    fn a_change_is_a_difference_from_the_state_known_to_the_caller() {
        let (absent, present) = (state::ABSENT, state::PRESENT | 0x30);
        let mute = state::PRESENT | state::SWALLOWED;
        for (known, state, sharing, count, seen, changed) in [
            // Nothing is known.
            (0, absent, 0, 0, EMPTY, true),
            (0, present, 0, 3, 3 << 16 | PRESENT, true),
            // Everything is known.
            (4 << 16 | EMPTY, absent, 0, 4, 4 << 16 | EMPTY, false),
            (4 << 16 | EMPTY, absent, 0, 0x1_0004, 4 << 16 | EMPTY, false),
            (PRESENT | MUTE, mute, 0, 0, PRESENT | MUTE, false),
            // A change of the count, the card's presence, or whether it is mute.
            (4 << 16 | EMPTY, absent, 0, 5, 5 << 16 | EMPTY, true),
            (EMPTY, absent, 0, 2, 2 << 16 | EMPTY, true),
            (PRESENT, present, 0, 2, 2 << 16 | PRESENT, true),
            (EMPTY, present, 0, 0, PRESENT, true),
            (PRESENT, absent, 0, 0, EMPTY, true),
            (PRESENT, mute, 0, 0, PRESENT | MUTE, true),
            (PRESENT | MUTE, present, 0, 0, PRESENT, true),
            // A change of use; the first connection is not reported as a change.
            (PRESENT, present, 1, 0, PRESENT | IN_USE, false),
            (PRESENT, present, -1, 0, PRESENT | EXCLUSIVE, false),
            (PRESENT | IN_USE, present, -1, 0, PRESENT | EXCLUSIVE, true),
            (PRESENT | EXCLUSIVE, present, 2, 0, PRESENT | IN_USE, true),
            (PRESENT | IN_USE, present, 0, 0, PRESENT, true),
            (EMPTY, absent, 1, 0, EMPTY, false),
            // The reader becomes unavailable, available again, or known again.
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
    fn attached_and_detached_readers_are_counted() {
        let both = || vec![reader("A", 2, 0, 0), reader("B", 2, 0, 0)];
        let (mut seen, mut other) = (Seen::default(), Seen::default());
        let mut counts = BTreeSet::new();
        let mut note = |seen: &mut Seen, readers: &[Reader], changes, is_new| {
            let before = seen.count;
            let readers = readers.to_vec();
            seen.note(&Readers { changes, readers });
            assert_eq!(seen.count != before, is_new);
            assert_eq!(
                counts.insert(seen.count),
                is_new,
                "clients must not share a count"
            );
        };
        for (readers, changes, is_new) in [
            (vec![], None, true),
            (vec![], None, false),
            (both(), None, true),
            (both(), Some(1), true),
            (both(), Some(1), false),
            (vec![reader("B", 4, 0, 0)], Some(1), true),
            (vec![reader("B", 2, 0, 0)], None, false),
        ] {
            note(&mut seen, &readers, changes, is_new);
            note(&mut other, &readers, changes, is_new);
        }
        for turn in 0..=u32::from(u16::MAX) {
            seen.note(&Readers {
                changes: Some(turn),
                readers: both(),
            });
            assert_ne!(seen.count, 0);
        }

        let ask = |known, first, now| {
            let snapshot = Snapshot {
                readers: both(),
                count: now,
            };
            let mut queries = [ReaderQuery::knowing(c"\\\\?PnP?\\Notification", known)];
            assert!(snapshot.knows_all(&queries));
            let changed = snapshot.answer(&mut queries, first, &[]);
            (queries[0].event_state, changed)
        };
        assert_eq!(ask(0, 5, 5), (5 << 16, false));
        assert_eq!(ask(0, 5, 6), (6 << 16 | CHANGED, true));
        assert_eq!(ask(5 << 16, 6, 6), (6 << 16 | CHANGED, true));
        assert_eq!(ask(6 << 16, 6, 0x5_0006), (6 << 16, false));
    }

    #[test]
    fn a_detached_reader_is_reported_once_and_an_ignored_one_never() {
        let snapshot = Snapshot {
            readers: vec![reader("A", 2, 0, 0)],
            count: 0,
        };
        let mut queries = [
            ReaderQuery::knowing(c"B", PRESENT),
            ReaderQuery::knowing(c"B", UNKNOWN),
            ReaderQuery::knowing(c"A", IGNORE),
        ];
        assert!(!snapshot.knows_all(&queries));
        assert!(snapshot.answer(&mut queries, 0, &[]));
        let seen = queries.map(|query| query.event_state);
        let gone = UNKNOWN | UNAVAILABLE;
        assert_eq!(seen, [gone | CHANGED, gone, 0]);
    }
}
