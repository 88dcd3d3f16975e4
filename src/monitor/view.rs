//! The state of all readers at one moment, and the events between two moments.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::event::{Event, Usage};
use super::filter::CardFilter;
use crate::error::{Error, Recovery, Seen, SeenReader};
use crate::values::{ReaderName, ReaderState};

/// All readers at one moment. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct View {
    pub(super) service: ServiceView,
    pub(super) readers: BTreeMap<ReaderName, Arc<ReaderView>>,
    /// Attached readers whose state is unknown because they had a mute card.
    pub(super) unanswered: BTreeSet<ReaderName>,
}

/// The service at one moment. Initially it is available.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct ServiceView {
    /// The number of losses.
    pub(super) losses: u64,
    /// The answer at the last loss.
    pub(super) last: Option<Error>,
    /// The current answer, if the service is lost.
    pub(super) lost: Option<Error>,
    /// How many times it has answered so, up to [`BELIEVED`].
    pub(super) failures: u32,
}

/// How many times a failure must occur to be accepted: pcsc-lite reports a daemon that dies during
/// a call in the same way as a denial by polkit.
pub(super) const BELIEVED: u32 = 3;

/// A reader at one moment. Arrivals are counted, so two moments can be compared however much
/// happened between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReaderView {
    /// A new number each time it is plugged in.
    pub(super) attachment: u64,
    pub(super) available: bool,
    pub(super) card: Option<CardView>,
    /// The number of cards inserted so far, as far as known.
    pub(super) cards: u64,
    pub(super) usage: Usage,
    /// The state according to the service.
    pub(super) state: ReaderState,
}

/// A card at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CardView {
    /// The number of the card among those inserted.
    pub(super) number: u64,
    pub(super) mute: bool,
}

/// Tells the cards of a reader apart. The number alone does not: it counts from one again for each
/// attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Insertion {
    attachment: u64,
    number: u64,
}

impl View {
    /// Returns the states of all readers.
    pub(super) fn states(&self) -> Vec<ReaderState> {
        let readers = self.readers.values();
        readers.map(|reader| reader.state.clone()).collect()
    }

    /// Returns the readers that have a card, including mute ones.
    pub(super) fn cards(&self) -> impl Iterator<Item = &ReaderState> {
        let readers = self.readers.values();
        readers
            .filter(|reader| reader.card.is_some())
            .map(|reader| &reader.state)
    }

    /// Returns the mute cards.
    pub(super) fn mute_cards(&self) -> impl Iterator<Item = (&ReaderState, Insertion)> {
        self.readers.values().filter_map(|reader| {
            let card = reader.card.filter(|card| card.mute)?;
            let insertion = Insertion {
                attachment: reader.attachment,
                number: card.number,
            };
            Some((&reader.state, insertion))
        })
    }

    /// Returns what is in the readers that can match, and why it does not match.
    pub(super) fn seen(&self, filter: &CardFilter) -> Vec<SeenReader> {
        let readers = self.readers.values().map(|reader| &reader.state);
        let about = readers.filter(|state| filter.is_about(state.reader_name()));
        let mut seen: Vec<SeenReader> = about.map(SeenReader::from).collect();
        seen.extend(self.unanswered_in(filter));
        seen.sort_by(|a, b| a.reader_name().cmp(b.reader_name()));
        if let (Some(name), true) = (filter.only_reader(), seen.is_empty()) {
            if filter.is_about(name) {
                seen.push(SeenReader::new(name.clone(), Seen::Unknown));
            }
        }
        seen
    }

    /// Returns the readers that can match and are not known yet.
    pub(super) fn unanswered_in(&self, filter: &CardFilter) -> impl Iterator<Item = SeenReader> {
        let unanswered = self.unanswered.iter().filter(|name| filter.is_about(name));
        unanswered.map(|name| SeenReader::new(name.clone(), Seen::Mute))
    }

    /// Returns whether all attached readers are known.
    pub(super) fn is_complete(&self) -> bool {
        self.unanswered.is_empty()
    }

    /// Returns the failure that makes waiting for a card futile.
    pub(super) fn failure(&self) -> Option<&Error> {
        let passes = |error: &Error| {
            use Recovery::{AttachReader, ConnectAgain, InsertCard, RetryLater};
            matches!(
                error.recovery(),
                AttachReader | ConnectAgain | InsertCard | RetryLater
            )
        };
        let lost = self.service.lost.as_ref();
        lost.filter(|error| !passes(error) && self.service.failures >= BELIEVED)
    }

    /// Returns the events that lead from one moment to a later one.
    pub(super) fn events_since(&self, before: &View) -> Vec<Event> {
        let mut events = Vec::new();
        let (old, new) = (&before.service, &self.service);
        let lost_meanwhile = old.losses != new.losses;
        if old.lost.is_some() && (lost_meanwhile || new.lost.is_none()) {
            events.push(Event::ServiceRestored);
        }
        if lost_meanwhile {
            if let Some(error) = new.last.clone() {
                events.push(Event::ServiceLost { error });
            }
        }
        for (name, old) in &before.readers {
            let stays = |new: &&Arc<ReaderView>| new.attachment == old.attachment;
            if self.readers.get(name).filter(stays).is_none() {
                old.leaves(name, &mut events);
            }
        }
        if lost_meanwhile && new.lost.is_none() {
            events.push(Event::ServiceRestored);
        }
        for (name, new) in &self.readers {
            let stays = |old: &&Arc<ReaderView>| new.attachment == old.attachment;
            match before.readers.get(name).filter(stays) {
                Some(old) => new.changes(name, old, &mut events),
                None => new.comes(name, &mut events),
            }
        }
        events
    }
}

impl ReaderView {
    fn comes(&self, name: &ReaderName, events: &mut Vec<Event>) {
        let reader = || name.clone();
        events.push(Event::ReaderAttached {
            reader_name: reader(),
        });
        if !self.available {
            events.push(Event::ReaderUnavailable {
                reader_name: reader(),
            });
        }
        self.shows_card(name, events);
        if self.usage != Usage::default() {
            let usage = self.usage;
            let reader = reader();
            events.push(Event::UseChanged {
                reader_name: reader,
                usage,
            });
        }
    }

    fn leaves(&self, name: &ReaderName, events: &mut Vec<Event>) {
        let reader = || name.clone();
        if self.card.is_some() {
            events.push(Event::CardRemoved {
                reader_name: reader(),
            });
        }
        events.push(Event::ReaderDetached {
            reader_name: reader(),
        });
    }

    fn changes(&self, name: &ReaderName, before: &ReaderView, events: &mut Vec<Event>) {
        let reader = || name.clone();
        if self.available && !before.available {
            events.push(Event::ReaderAvailable {
                reader_name: reader(),
            });
        }
        let atr = self.state.atr();
        let came = self.card.is_some_and(|card| card.number > before.cards);
        let exchanged = self.card.is_some() && before.card.is_some();
        if self.cards.saturating_sub(before.cards) > u64::from(came) && !exchanged {
            events.push(Event::CardMissed {
                reader_name: reader(),
            });
        }
        match (before.card, self.card) {
            (Some(_), None) => events.push(Event::CardRemoved {
                reader_name: reader(),
            }),
            (Some(old), Some(new)) if old.number != new.number => {
                if old.mute || new.mute {
                    events.push(Event::CardRemoved {
                        reader_name: reader(),
                    });
                    self.shows_card(name, events);
                } else {
                    let reader = reader();
                    events.push(Event::CardExchanged {
                        reader_name: reader,
                        atr,
                    });
                }
            }
            (Some(old), Some(new)) if old.mute != new.mute => self.shows_card(name, events),
            (Some(_), Some(new)) if !new.mute && atr != before.state.atr() => {
                let reader = reader();
                events.push(Event::AtrChanged {
                    reader_name: reader,
                    atr,
                });
            }
            (None, Some(_)) => self.shows_card(name, events),
            (Some(_), Some(_)) | (None, None) => {}
        }
        if before.available && !self.available {
            events.push(Event::ReaderUnavailable {
                reader_name: reader(),
            });
        }
        if self.usage != before.usage {
            let usage = self.usage;
            let reader = reader();
            events.push(Event::UseChanged {
                reader_name: reader,
                usage,
            });
        }
    }

    fn shows_card(&self, name: &ReaderName, events: &mut Vec<Event>) {
        let reader = name.clone();
        match self.card {
            Some(card) if card.mute => events.push(Event::CardMute {
                reader_name: reader,
            }),
            Some(_) => {
                let atr = self.state.atr();
                events.push(Event::CardInserted {
                    reader_name: reader,
                    atr,
                });
            }
            None => {}
        }
    }
}
