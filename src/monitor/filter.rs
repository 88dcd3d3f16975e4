//! Conditions on cards.

use std::fmt;
use std::sync::Arc;

use crate::values::{ReaderName, ReaderState};

/// Selects cards, for [`Context::wait_for_card`](crate::Context::wait_for_card) and similar calls.
/// A card matches if it meets all conditions; without conditions, every card matches.
///
/// ```
/// use scard::{CardFilter, ReaderName};
///
/// // Cards of one kind in any reader but the built-in one:
/// let filter = CardFilter::new()
///     .atr(&[0x3B, 0x7F, 0x96, 0x00, 0x00])
///     .reader_matching(|name| !name.to_string().starts_with("Built-in"));
/// // Any card in this reader:
/// let filter = CardFilter::new().reader(&ReaderName::new("ACS ACR122U 00 00")?);
/// # Ok::<(), scard::InvalidReaderName>(())
/// ```
///
/// Conditions on the reader use its name alone: a wait does not ask about other readers, so their
/// cards cannot delay it. A card that does not answer is powered up before conditions on the card
/// are checked.
#[derive(Clone, Default)]
#[must_use]
pub struct CardFilter {
    reader: Option<ReaderName>,
    readers: Vec<ReaderCondition>,
    conditions: Vec<Condition>,
}

type ReaderCondition = Arc<dyn Fn(&ReaderName) -> bool + Send + Sync>;

#[derive(Clone)]
struct Condition {
    is_met: Arc<dyn Fn(&ReaderState) -> bool + Send + Sync>,
    /// Whether it can be checked before the card has answered.
    judges_mute: bool,
}

impl CardFilter {
    /// Returns a filter that every card matches.
    pub fn new() -> CardFilter {
        CardFilter::default()
    }

    /// Matches only cards in this reader.
    pub fn reader(mut self, name: &ReaderName) -> CardFilter {
        let name = name.clone();
        match &self.reader {
            Some(before) if *before != name => self.reader_matching(|_| false),
            _ => {
                self.reader = Some(name);
                self
            }
        }
    }

    /// Matches only cards in readers with this serial number in their [name](ReaderName::parts).
    /// ASCII letters match in either case.
    ///
    /// ```
    /// # use scard::CardFilter;
    /// // In every slot of this reader, wherever it is plugged in:
    /// let filter = CardFilter::new().serial("0001234");
    /// ```
    ///
    /// # Platform notes
    ///
    /// On Windows, names contain no serial numbers.
    /// [`Context::find_reader`](crate::Context::find_reader) asks the readers.
    pub fn serial(self, serial: &str) -> CardFilter {
        let serial = serial.to_owned();
        self.reader_matching(move |name| {
            let found = name
                .parts()
                .serial()
                .map(|it| it.eq_ignore_ascii_case(&serial));
            found.unwrap_or(false)
        })
    }

    /// Matches only cards in readers of this model, according to their [name](ReaderName::parts).
    /// ASCII letters match in either case.
    pub fn model(self, model: &str) -> CardFilter {
        let model = model.to_owned();
        self.reader_matching(move |name| name.parts().model().eq_ignore_ascii_case(&model))
    }

    /// Matches only cards in readers for whose name `condition` returns true.
    pub fn reader_matching(
        mut self,
        condition: impl Fn(&ReaderName) -> bool + Send + Sync + 'static,
    ) -> CardFilter {
        self.readers.push(Arc::new(condition));
        self
    }

    /// Returns whether every card in this reader matches.
    pub(crate) fn takes_any_card_in(&self, name: &ReaderName) -> bool {
        self.conditions.is_empty() && self.is_about(name)
    }

    /// Returns the only reader that can match, if there is one.
    pub(crate) fn only_reader(&self) -> Option<&ReaderName> {
        self.reader.as_ref()
    }

    /// Returns whether cards in this reader can match.
    pub(crate) fn is_about(&self, name: &ReaderName) -> bool {
        self.reader.as_ref().is_none_or(|reader| reader == name)
            && self.readers.iter().all(|is_met| is_met(name))
    }

    /// Returns whether cards in every reader can match.
    pub(crate) fn is_about_all(&self) -> bool {
        self.reader.is_none() && self.readers.is_empty()
    }

    /// Returns whether there is a mute card that may match once it answers.
    pub(crate) fn can_mean_mute(&self, state: &ReaderState) -> bool {
        let mut judged = self.conditions.iter().filter(|it| it.judges_mute);
        state.is_mute() && self.is_about(state.reader_name()) && judged.all(|it| (it.is_met)(state))
    }

    /// Matches only cards with exactly this answer to reset.
    pub fn atr(self, atr: &[u8]) -> CardFilter {
        let atr = atr.to_vec();
        self.matching(move |state| state.atr() == *atr)
    }

    /// Matches only cards whose answer to reset has this length, and these bits where the mask has
    /// ones: the usual description of card families. If the mask is shorter, the remaining bytes
    /// must be equal; if it is longer, the excess is ignored.
    ///
    /// ```
    /// # use scard::CardFilter;
    /// // Whatever the last two bytes are:
    /// let filter = CardFilter::new().atr_masked(&[0x3B, 0x02, 0x00, 0x00], &[0xFF, 0xFF, 0, 0]);
    /// ```
    pub fn atr_masked(self, atr: &[u8], mask: &[u8]) -> CardFilter {
        let (atr, mask) = (atr.to_vec(), mask.to_vec());
        self.matching(move |state| {
            let found = state.atr();
            let masks = mask.iter().copied().chain(std::iter::repeat(0xFF));
            let mut bytes = found.as_bytes().iter().zip(&atr).zip(masks);
            found.len() == atr.len() && bytes.all(|((a, b), mask)| a & mask == b & mask)
        })
    }

    /// Matches only the card that the reader had in this state, and no longer once the card was
    /// removed, even if it is reinserted.
    ///
    /// # Platform notes
    ///
    /// Without an event counter (macOS), a reinserted card cannot be distinguished from one that
    /// stayed. Elsewhere the counter restarts with the service and, since pcsc-lite 2.0, with a
    /// reader that is plugged in again: a card found afterwards may be taken for the same card.
    pub fn same_card(self, then: &ReaderState) -> CardFilter {
        let count = then.event_count();
        let mut filter = self.reader(then.reader_name());
        filter.conditions.push(Condition {
            is_met: Arc::new(move |state| state.event_count() == count && state.has_card()),
            judges_mute: true,
        });
        filter
    }

    /// Matches only cards for which `condition` returns true. It is called for readers with a card,
    /// including a mute one, whenever something has changed. For conditions on the reader, use
    /// [`reader_matching`](CardFilter::reader_matching).
    pub fn matching(
        mut self,
        condition: impl Fn(&ReaderState) -> bool + Send + Sync + 'static,
    ) -> CardFilter {
        self.conditions.push(Condition {
            is_met: Arc::new(condition),
            judges_mute: false,
        });
        self
    }

    /// Returns whether there is a card that matches.
    pub fn matches(&self, state: &ReaderState) -> bool {
        state.has_card()
            && self.is_about(state.reader_name())
            && self.conditions.iter().all(|it| (it.is_met)(state))
    }

    /// Returns the matching card in the preferred reader, or else the first that answers and
    /// matches.
    pub(crate) fn choose<'a>(
        &self,
        states: impl IntoIterator<Item = &'a ReaderState>,
        preferred: Option<&ReaderName>,
    ) -> Option<&'a ReaderState> {
        let states = states.into_iter();
        let mut found = states.filter(|state| !state.is_mute() && self.matches(state));
        let first = found.next()?;
        let is_preferred = |state: &&ReaderState| preferred == Some(state.reader_name());
        std::iter::once(first)
            .chain(found)
            .find(is_preferred)
            .or(Some(first))
    }
}

impl fmt::Debug for CardFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CardFilter")
            .field("reader_name", &self.reader)
            .field("reader_conditions", &self.readers.len())
            .field("conditions", &self.conditions.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::Atr;

    fn state(reader: &str, flags: u32, count: u32, atr: &[u8]) -> ReaderState {
        ReaderState {
            reader_name: ReaderName::new(reader).unwrap(),
            event_state: flags | (count << 16),
            atr: Atr::new(atr).unwrap(),
        }
    }

    #[test]
    fn all_conditions_must_be_met() {
        let card = state("A", 0x20, 1, &[0x3B, 1, 2]);
        assert!(CardFilter::new().matches(&card));
        assert!(
            !CardFilter::new().matches(&state("A", 0x10, 1, &[])),
            "no card"
        );
        let a = CardFilter::new().reader(card.reader_name());
        assert!(a.matches(&card));
        assert!(!a.matches(&state("B", 0x20, 1, &[0x3B, 1, 2])));
        let both = a.clone().atr(&[0x3B, 1, 2]);
        assert!(both.matches(&card));
        assert!(!both.matches(&state("A", 0x20, 1, &[0x3B, 1])));
        assert!(!a.clone().matching(|_| false).matches(&card));
        let b = ReaderName::new("B").unwrap();
        assert!(!a.clone().reader(&b).matches(&card));
        assert!(a.clone().reader(card.reader_name()).matches(&card));
        // Known without looking at the card.
        assert!(a.takes_any_card_in(card.reader_name()) && !a.takes_any_card_in(&b));
        assert!(CardFilter::new().takes_any_card_in(&b));
        assert!(!both.takes_any_card_in(card.reader_name()));
    }

    #[test]
    fn an_atr_is_compared_only_where_the_mask_has_ones() {
        let card = state("A", 0x20, 1, &[0x3B, 0x12, 0x34]);
        let matches = |atr: &[u8], mask: &[u8]| {
            let filter = CardFilter::new().atr_masked(atr, mask);
            filter.matches(&card)
        };
        assert!(matches(&[0x3B, 0x12, 0x34], &[]));
        assert!(matches(&[0x3B, 0x10, 0x99], &[0xFF, 0xF0, 0]));
        assert!(!matches(&[0x3B, 0x20, 0x99], &[0xFF, 0xF0, 0]));
        assert!(!matches(&[0x3B, 0x12], &[0xFF, 0xFF]));
        assert!(!matches(&[0x3B, 0x12, 0x34, 0x56], &[0; 9]));
        assert!(matches(&[0x3B, 0x12, 0x34], &[0xFF; 9]));
    }

    #[test]
    fn a_preferred_card_or_else_the_first_that_answers_is_chosen() {
        let mute = state("A", 0x220, 1, &[]);
        let states = [mute, state("B", 0x20, 1, &[]), state("C", 0x20, 1, &[])];
        let chosen = |preferred: &str| {
            let preferred = ReaderName::new(preferred).unwrap();
            let chosen = CardFilter::new().choose(&states, Some(&preferred));
            chosen.unwrap().reader_name().to_string()
        };
        assert_eq!(chosen("C"), "C");
        assert_eq!(chosen("A"), "B");
        assert_eq!(CardFilter::new().choose(&states, None), Some(&states[1]));
        assert_eq!(CardFilter::new().choose(&states[..1], None), None);
    }

    #[test]
    fn a_reader_is_matched_by_the_parts_of_its_name() {
        let card = state("Yubico YubiKey (00AB34) 01 00", 0x20, 1, &[0x3B]);
        let serial = |serial| CardFilter::new().serial(serial).matches(&card);
        assert!(serial("00AB34") && serial("00ab34"));
        assert!(!serial("00AB3") && !serial(""));
        let model = |model| CardFilter::new().model(model).matches(&card);
        assert!(model("Yubico YubiKey") && model("yubico yubikey"));
        assert!(!model("YubiKey") && !model(""));
        let both = CardFilter::new().model("Yubico YubiKey").serial("00AB34");
        assert!(both.is_about(card.reader_name()));
        let without = state("Yubico YubiKey 01 00", 0x20, 1, &[0x3B]);
        assert!(!both.is_about(without.reader_name()));
    }

    #[test]
    fn a_mute_card_may_match_if_its_reader_does() {
        let mute = state("A", 0x220, 1, &[]);
        let means = |filter: CardFilter| filter.can_mean_mute(&mute);
        let then = state("A", 0x20, 1, &[0x3B]);
        assert!(means(CardFilter::new().atr(&[0x3B]).matching(|_| false)));
        assert!(means(CardFilter::new().reader(mute.reader_name())));
        assert!(means(CardFilter::new().same_card(&then)));
        assert!(!means(
            CardFilter::new().reader_matching(|name| name == "B")
        ));
        #[cfg(not(target_os = "macos"))]
        assert!(!means(CardFilter::new().same_card(&state(
            "A",
            0x20,
            3,
            &[]
        ))));
        assert!(!CardFilter::new().can_mean_mute(&then), "it answers");
    }

    #[test]
    fn the_same_card_is_one_that_was_not_removed() {
        let then = state("A", 0x20, 1, &[0x3B]);
        let same = CardFilter::new().same_card(&then);
        assert!(same.matches(&then));
        assert!(
            same.matches(&state("A", 0x220, 1, &[])),
            "mute, but present"
        );
        assert!(!same.matches(&state("B", 0x20, 1, &[0x3B])));
        assert!(!same.matches(&state("A", 0x10, 1, &[])));
        #[cfg(not(target_os = "macos"))]
        assert!(!same.matches(&state("A", 0x20, 3, &[0x3B])));
    }
}
