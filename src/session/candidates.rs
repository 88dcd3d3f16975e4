//! The cards that a session has tried in vain.

use crate::error::{Error, Recovery, Seen, SeenReader};
use crate::monitor::CardFilter;
use crate::values::{ReaderName, ReaderState};

/// A card that a session may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) reader_name: ReaderName,
    /// How often cards have come and gone in the reader, where that is known.
    count: Option<u16>,
    pub(super) is_mute: bool,
}

impl Candidate {
    /// The card in a reader whose state cannot be asked for.
    pub(super) fn in_reader(reader_name: ReaderName) -> Candidate {
        Candidate {
            reader_name,
            count: None,
            is_mute: false,
        }
    }

    /// Whether this is another card in the same reader, or the same one put in again.
    pub(super) fn follows(&self, before: &Candidate) -> bool {
        self.reader_name == before.reader_name
            && matches!((self.count, before.count), (Some(now), Some(then)) if now != then)
    }

    /// Whether this is the card in the reader now, as far as is known.
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

/// A card that was turned away.
#[derive(Debug)]
struct TurnedAway {
    card: Candidate,
    seen: Seen,
    /// Why, if it may do later: another program may leave it.
    passing: Option<Error>,
}

/// The cards that were turned away in this run, each until another one is in its reader.
#[derive(Debug, Default)]
pub(super) struct TurnedAways(Vec<TurnedAway>);

impl TurnedAways {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Turns a card away for as long as it is in its reader.
    pub(super) fn for_good(&mut self, card: Candidate, seen: Seen) {
        self.turn_away(card, seen, None);
    }

    /// Turns a card away until no other is left to try.
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

    /// Lets those in again that were turned away for now, and returns the failure of the one for
    /// which there is most hope.
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
        // Of several the first.
        failures.reduce(|best, it| if hope(&it) > hope(&best) { it } else { best })
    }

    fn find(&self, state: &ReaderState) -> Option<&TurnedAway> {
        self.0.iter().find(|it| it.card.is_in(state))
    }

    /// Whether a card in this reader has been turned away.
    pub(super) fn concerns(&self, reader_name: &ReaderName) -> bool {
        self.0.iter().any(|it| it.card.reader_name == *reader_name)
    }

    /// The card to try: one that answers, in the reader that is preferred or the first; or else
    /// one that is mute, which a connect may power up.
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

    /// What was seen in the readers that matter.
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
