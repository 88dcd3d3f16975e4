//! The cards that a session has rejected.

use std::collections::BTreeSet;

use crate::error::{Error, Recovery, Seen, SeenReader};
use crate::monitor::CardFilter;
use crate::values::{ReaderName, ReaderState};

/// A card that a session may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) reader_name: ReaderName,
    /// The reader's event count, where known.
    count: Option<u16>,
    pub(super) is_mute: bool,
}

impl Candidate {
    /// Returns the card in a reader whose state is unavailable.
    pub(super) fn in_reader(reader_name: ReaderName) -> Candidate {
        Candidate {
            reader_name,
            count: None,
            is_mute: false,
        }
    }

    /// Returns whether this is another card in the same reader, or the same card reinserted.
    pub(super) fn follows(&self, before: &Candidate) -> bool {
        self.reader_name == before.reader_name
            && matches!((self.count, before.count), (Some(now), Some(then)) if now != then)
    }

    /// Returns whether this is the same card, as far as known.
    pub(super) fn is_same_as(&self, before: &Candidate) -> bool {
        self.reader_name == before.reader_name && !self.follows(before)
    }

    /// Returns whether this is the card in the reader now, as far as known.
    fn is_in(&self, state: &ReaderState) -> bool {
        let same_count = self.count.is_none() || self.count == state.event_count();
        self.reader_name == *state.reader_name() && same_count
    }
}

impl From<&ReaderState> for Candidate {
    fn from(state: &ReaderState) -> Candidate {
        Candidate {
            reader_name: state.reader_name().clone(),
            count: state.event_count(),
            is_mute: state.is_mute(),
        }
    }
}

/// The readers at one moment.
#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    pub(super) states: &'a [ReaderState],
    /// Attached readers that were not asked because they had a mute card.
    pub(super) unanswered: &'a BTreeSet<ReaderName>,
}

/// The content of a reader.
pub(super) enum Presence<'a> {
    Card(&'a ReaderState),
    /// No card, or no such reader.
    None,
    NotAsked,
}

impl<'a> Look<'a> {
    pub(super) fn card_in(&self, reader_name: &ReaderName) -> Presence<'a> {
        let state = self
            .states
            .iter()
            .find(|it| it.reader_name() == reader_name);
        match state {
            Some(state) if state.has_card() => Presence::Card(state),
            None if self.unanswered.contains(reader_name) => Presence::NotAsked,
            _ => Presence::None,
        }
    }
}

/// A rejected card.
#[derive(Debug)]
struct TurnedAway {
    card: Candidate,
    seen: Seen,
    /// The failure, if it may pass: another program may disconnect from the card.
    passing: Option<Error>,
}

/// The cards that were rejected in this run, each until its reader has another one.
#[derive(Debug, Default)]
pub(super) struct TurnedAways(Vec<TurnedAway>);

impl TurnedAways {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Forgets cards that were removed, and mute cards that now answer. Without an event count
    /// (macOS), or if the count restarts with its reader, nothing else distinguishes a new card
    /// from the one before.
    pub(super) fn see(&mut self, look: Look<'_>) {
        self.0
            .retain_mut(|it| match look.card_in(&it.card.reader_name) {
                Presence::Card(state) if state.is_mute() => {
                    it.card.is_mute = true;
                    true
                }
                Presence::Card(_) => !(it.card.is_mute && it.seen == Seen::Mute),
                Presence::NotAsked => true,
                Presence::None => false,
            });
    }

    /// Rejects a card for as long as it is in its reader.
    pub(super) fn for_good(&mut self, card: Candidate, seen: Seen) {
        self.turn_away(card, seen, None);
    }

    /// Rejects a card until no other is left to try.
    pub(super) fn for_now(&mut self, card: Candidate, error: Error) {
        self.turn_away(card, Seen::of_connect(&error), Some(error));
    }

    fn turn_away(&mut self, card: Candidate, seen: Seen, passing: Option<Error>) {
        self.0.retain(|it| it.card.reader_name != card.reader_name);
        self.0.push(TurnedAway {
            card,
            seen,
            passing,
        });
    }

    /// Forgets the cards that were rejected for now, and returns the most hopeful of their
    /// failures.
    pub(super) fn take_failure(&mut self) -> Option<Error> {
        let (passing, stays) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|it| it.passing.is_some());
        self.0 = stays;
        let passing: Vec<TurnedAway> = passing;
        let failures = passing.into_iter().filter_map(|it| it.passing);
        let hope = |error: &Error| match error.recovery() {
            Recovery::RetryLater => 2,
            Recovery::FixCall => 0,
            _ => 1,
        };
        // The first of equals.
        failures.reduce(|best, it| if hope(&it) > hope(&best) { it } else { best })
    }

    fn find(&self, state: &ReaderState) -> Option<&TurnedAway> {
        self.0.iter().find(|it| it.card.is_in(state))
    }

    /// Returns whether a card in this reader was rejected.
    pub(super) fn concerns(&self, reader_name: &ReaderName) -> bool {
        self.0.iter().any(|it| it.card.reader_name == *reader_name)
    }

    /// Returns the card to try: one that answers, in the preferred or the first reader; otherwise a
    /// mute one, which a connect may power up.
    pub(super) fn choose<'a>(
        &self,
        states: impl IntoIterator<Item = &'a ReaderState>,
        wanted: &CardFilter,
        preferred: Option<&ReaderName>,
    ) -> Option<Candidate> {
        let left = states.into_iter().filter(|it| self.find(it).is_none());
        let left: Vec<&ReaderState> = left.collect();
        let answers = wanted.choose(left.iter().copied(), preferred);
        let mute = || left.iter().copied().find(|it| wanted.can_mean_mute(it));
        answers.or_else(mute).map(Candidate::from)
    }

    /// Returns what was seen in the relevant readers.
    pub(super) fn report<'a>(
        &self,
        states: impl IntoIterator<Item = &'a ReaderState>,
        wanted: &CardFilter,
    ) -> Vec<SeenReader> {
        let states = states.into_iter();
        let relevant = states.filter(|it| wanted.is_about(it.reader_name()));
        let seen = relevant.map(|state| match self.find(state) {
            Some(it) => SeenReader::new(state.reader_name().clone(), it.seen.clone()),
            None => SeenReader::from(state),
        });
        seen.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::Atr;

    const EMPTY: u32 = 0x10;
    const PRESENT: u32 = 0x20;
    const MUTE: u32 = 0x220;

    /// A reader whose event count does not distinguish cards.
    fn state(reader: &str, flags: u32) -> ReaderState {
        ReaderState {
            reader_name: ReaderName::new(reader).unwrap(),
            event_state: 0x0001_0000 | flags,
            atr: Atr::default(),
        }
    }

    /// Rejects the card in A, looks at the readers, and returns whether the card in A may be tried.
    fn is_let_in(seen: Seen, before: u32, looks: &[&[ReaderState]]) -> bool {
        let mut turned_away = TurnedAways::default();
        turned_away.for_good(Candidate::from(&state("A", before)), seen);
        for states in looks {
            let unanswered = &BTreeSet::new();
            turned_away.see(Look { states, unanswered });
        }
        let now = [state("A", PRESENT)];
        turned_away.choose(&now, &CardFilter::new(), None).is_some()
    }

    fn refused() -> Seen {
        let reason = "no".to_owned();
        Seen::Refused { reason }
    }

    #[test]
    fn a_card_is_rejected_until_its_removal_is_seen() {
        let present: &[ReaderState] = &[state("A", PRESENT), state("B", EMPTY)];
        assert!(!is_let_in(refused(), PRESENT, &[]));
        assert!(!is_let_in(refused(), PRESENT, &[present, present]));
        let pulled: &[ReaderState] = &[state("A", EMPTY), state("B", PRESENT)];
        assert!(is_let_in(refused(), PRESENT, &[pulled]));
        assert!(is_let_in(refused(), PRESENT, &[present, pulled, present]));
        // Unplugged.
        assert!(is_let_in(refused(), PRESENT, &[&[]]));
        assert!(is_let_in(refused(), PRESENT, &[&[state("B", PRESENT)]]));
    }

    #[test]
    fn a_mute_card_is_tried_again_once_it_answers() {
        let (mute, answers) = ([state("A", MUTE)], [state("A", PRESENT)]);
        assert!(!is_let_in(Seen::Mute, MUTE, &[&mute, &mute]));
        assert!(is_let_in(Seen::Mute, MUTE, &[&mute, &answers]));
        // The card became mute only then.
        assert!(is_let_in(Seen::Mute, PRESENT, &[&mute, &answers]));
        // The service does not know that the card is mute.
        assert!(!is_let_in(Seen::Mute, PRESENT, &[&answers, &answers]));
        assert!(!is_let_in(refused(), MUTE, &[&answers]));
    }

    /// A mute card is slow and therefore asked last.
    #[test]
    fn a_reader_that_was_not_queried_is_not_considered_detached() {
        let mut turned_away = TurnedAways::default();
        turned_away.for_good(Candidate::from(&state("A", MUTE)), Seen::Mute);
        let unanswered = BTreeSet::from([ReaderName::new("A").unwrap()]);
        turned_away.see(Look {
            states: &[],
            unanswered: &unanswered,
        });
        let any = CardFilter::new();
        assert!(
            turned_away
                .choose(&[state("A", MUTE)], &any, None)
                .is_none()
        );
    }
}
