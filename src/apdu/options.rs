//! What an exchange may do.

use std::fmt;

use super::command::{Command, Expected, Form};
use super::continuation::Continuation;
use super::encoding::{EXTENDED_EXPECTED, SHORT_DATA, SHORT_EXPECTED};
use crate::values::{Atr, Protocol};

/// What an [exchange](crate::Card::exchange) may do, and where it ends: what ISO 7816 leaves open,
/// and what real cards and readers do differently.
///
/// For one call with [`exchange_with`](crate::Card::exchange_with), for a card with
/// [`ConnectOptions::exchange_options`](crate::ConnectOptions::exchange_options) (and so for a
/// [session](crate::SessionBuilder::connect_options)) or
/// [`Card::set_exchange_options`](crate::Card::set_exchange_options). The
/// [cookbook](crate::guide::cookbook#talk-to-cards-and-readers-that-are-different) has an example
/// of each.
///
/// A command whose body or expected answer does not fit short lengths goes, in this order:
///
/// 1. with extended length, if that is [possible](Self::extended_length) and
///    [ENVELOPE](Self::envelope)s were not chosen for T=0;
/// 2. if only the expected answer is too long for a short command: asking for as much as one
///    can, 256 bytes. More is fetched if the card tells by 61XX that there is more. A card that
///    gives the 256 bytes and says nothing may have more: that is
///    [an error](super::AnswerProblem::AskedForLess) unless [allowed](Self::allow_less);
/// 3. in [frames](Continuation::Desfire) of DESFire, if that was chosen;
/// 4. over T=0: in [ENVELOPE](Self::envelope)s, if that was chosen;
/// 5. as a [chain](Self::chaining) of short commands, if the card is known to understand one;
/// 6. not at all: [`ExchangeError::TooLong`](super::ExchangeError::TooLong).
///
/// A command that is [`Form::Extended`] is sent as it is.
///
/// [`Debug`](fmt::Debug) shows what is not as usual.
#[derive(Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct ExchangeOptions {
    extended_length: Option<bool>,
    chaining: Option<bool>,
    reader_max_data: Option<u32>,
    max_command: u32,
    pub(super) max_answer: u32,
    pub(super) continuation: Continuation,
    pub(super) envelope: bool,
    pub(super) envelope_end: bool,
    pub(super) data_of_warnings: bool,
    pub(super) any_instruction: bool,
    pub(super) allow_less: bool,
    pub(super) max_rounds: u32,
    pub(super) max_size: usize,
    card: Capabilities,
}

/// What the card says of itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Capabilities {
    chaining: bool,
    extended_length: bool,
}

impl ExchangeOptions {
    /// Nothing that the ATR does not promise, up to 512 rounds and 131,072 bytes of answer.
    pub const fn new() -> ExchangeOptions {
        ExchangeOptions {
            extended_length: None,
            chaining: None,
            reader_max_data: None,
            max_command: EXTENDED_EXPECTED,
            max_answer: EXTENDED_EXPECTED,
            continuation: Continuation::Auto,
            envelope: false,
            envelope_end: false,
            data_of_warnings: true,
            any_instruction: false,
            allow_less: false,
            max_rounds: 512,
            max_size: 131_072,
            card: Capabilities {
                chaining: false,
                extended_length: false,
            },
        }
    }

    /// How the card announces the rest of an answer, and how that is fetched.
    /// [`Continuation::Auto`] unless set.
    pub const fn continuation(mut self, continuation: Continuation) -> ExchangeOptions {
        self.continuation = continuation;
        self
    }

    /// Whether card and reader take extended lengths.
    ///
    /// Unless set, they do if the ATR says so of the card, the reader does not deny it
    /// ([`reader_max_data`](Self::reader_max_data)), and the protocol is not T=0, which has no
    /// extended lengths of its own.
    pub const fn extended_length(mut self, possible: bool) -> ExchangeOptions {
        self.extended_length = Some(possible);
        self
    }

    /// The most data that the reader takes in one command: `dwMaxAPDUDataSize` of PC/SC Part
    /// 10. Up to 256 is a reader without extended length, and from 1 to 255 one with short
    /// commands that are shorter still.
    ///
    /// Unless set, the [reader is asked](crate::Transmit::reader_max_data) before a long command
    /// to a card that takes extended lengths. Set it to spare that, for instance with
    /// [`of_reader`](Self::of_reader).
    pub const fn reader_max_data(mut self, max: u32) -> ExchangeOptions {
        self.reader_max_data = Some(max);
        self
    }

    /// The most bytes of data in one command, for readers and cards that take fewer than a
    /// command could carry: 240, 250 or 252 are known, and 54 for the frames of DESFire, whose
    /// whole wrapped command has 60 bytes at most. A longer body is sent in parts of this size, as a
    /// longer one is without it. At least 1; 65,536 unless set, which is no limit.
    pub const fn max_command_data(mut self, bytes: u32) -> ExchangeOptions {
        self.max_command = at_least_one(bytes);
        self
    }

    /// The most bytes of data to ask for in one command, for readers that lose longer answers:
    /// also in GET RESPONSE, and where the card wants another Le by 6CXX. At least 1; 65,536 unless
    /// set, which is no limit.
    ///
    /// A command that expects a [number](super::Expected::Exactly) of bytes never asks for more than
    /// [there is room for](crate::Card::MAX_ANSWER_LEN): 65,533 on Windows. One that expects
    /// [all](super::Expected::All) does, because a card may treat a number that exceeds what it has
    /// differently (READ BINARY: 6282). For a card that has as much, set 65,533 here.
    ///
    /// The card announces the rest by 61XX, or the response says
    /// [what was asked for](super::Response::asked_for). A card that insists on more than this
    /// gives nothing: the status word is its 6CXX.
    pub const fn max_answer_data(mut self, bytes: u32) -> ExchangeOptions {
        self.max_answer = at_least_one(bytes);
        self
    }

    /// Whether the card takes a long body as a chain of commands, which have a bit in their
    /// class for that.
    ///
    /// Unless set, it does if the ATR says so and the class is an interindustry one. A card
    /// that ignores the bit would take a part for the whole, so there is no trying.
    pub const fn chaining(mut self, possible: bool) -> ExchangeOptions {
        self.chaining = Some(possible);
        self
    }

    /// Whether a command with a body that is too long for T=0 goes in ENVELOPE commands
    /// (`00 C2 00 00`), as ISO 7816-3 has it for extended lengths over T=0. Not unless set: few
    /// cards know it, and none says so. Over T=0 it comes before
    /// [extended length](Self::extended_length).
    pub const fn envelope(mut self, possible: bool) -> ExchangeOptions {
        self.envelope = possible;
        self
    }

    /// Whether an ENVELOPE without data follows the last one: the "end of data string" that
    /// ISO 7816-4 has for cards that cannot tell the end otherwise. Not unless set: what is sent is a
    /// command that says its length.
    pub const fn envelope_end(mut self, sent: bool) -> ExchangeOptions {
        self.envelope_end = sent;
        self
    }

    /// Whether the data that belong to a warning are fetched over T=0, as EMV and ETSI TS 102 221
    /// have it: a card that answers 62XX or 63XX to a command with a body holds back the data
    /// until GET RESPONSE. So unless set.
    ///
    /// Only for commands that [expect data](Command::expected): a VERIFY that is answered with
    /// 63CX is not followed by anything.
    pub const fn data_of_warnings(mut self, fetched: bool) -> ExchangeOptions {
        self.data_of_warnings = fetched;
        self
    }

    /// Whether instructions 6X and 9X are sent over T=0, too, where a card could take them for
    /// procedure bytes. Not unless set. Over any other protocol they are sent anyway, and so are
    /// commands of class FF, which the reader answers.
    ///
    /// For readers that report T=0 for a card without contacts, and cards that have such
    /// instructions over T=0 in spite of ISO 7816.
    pub const fn any_instruction(mut self, sent: bool) -> ExchangeOptions {
        self.any_instruction = sent;
        self
    }

    /// Whether a command may end with less than it expects because less was asked for: one that
    /// expects 300 bytes, over a way that can ask for 256. The response says
    /// [what was asked for](super::Response::asked_for). Unless set, that is
    /// [`AnswerProblem::AskedForLess`](super::AnswerProblem::AskedForLess).
    pub const fn allow_less(mut self, allowed: bool) -> ExchangeOptions {
        self.allow_less = allowed;
        self
    }

    /// How many commands the card may ask for beside the one that is exchanged: GET RESPONSE,
    /// and those that are repeated with another Le. 512 unless set.
    pub const fn max_rounds(mut self, max: u32) -> ExchangeOptions {
        self.max_rounds = max;
        self
    }

    /// How many bytes the answer may have in all. 131,072 unless set.
    pub const fn max_size(mut self, max: usize) -> ExchangeOptions {
        self.max_size = max;
        self
    }

    /// Whether what to do with the command depends on the card's ATR.
    pub(crate) fn depend_on_card(&self, command: &Command) -> bool {
        if command.form() == Form::Extended || !self.is_long(command) {
            return false;
        }
        let extends = self.extended_length.is_none();
        // Over T=0 a command may go another way yet; then the card is asked in vain.
        let goes_whole = self.extended_length == Some(true) && self.extends(command, false);
        let chains = command.data().len() > self.piece() && self.chaining.is_none() && !goes_whole;
        extends || chains
    }

    /// With what the card says of itself.
    pub(crate) fn for_card(mut self, atr: &Atr) -> ExchangeOptions {
        self.card = capabilities(atr);
        self
    }

    /// Whether what to do with a command that depends on the card depends on the reader, too.
    pub(crate) fn depend_on_reader(&self, command: &Command, protocol: Option<Protocol>) -> bool {
        self.reader_max_data.is_none()
            && command.form() == Form::Auto
            && self.extends(command, protocol == Some(Protocol::T0))
            && self.extended_length.is_none()
    }

    /// With what the reader says of itself.
    pub(crate) fn for_reader(mut self, max_data: Option<u32>) -> ExchangeOptions {
        self.reader_max_data = self.reader_max_data.or(max_data);
        self
    }

    /// The most bytes of data in a short command.
    pub(super) fn piece(&self) -> usize {
        let reader = match self.reader_max_data {
            None | Some(0) => u32::MAX,
            Some(max) => max,
        };
        let piece = usize::try_from(self.max_command.min(reader)).unwrap_or(usize::MAX);
        piece.min(SHORT_DATA)
    }

    /// Whether a command does not fit short lengths, or those of the reader.
    fn is_long(&self, command: &Command) -> bool {
        command.data().len() > self.piece() || command.needs_extended()
    }

    /// Whether a command that does not fit short lengths goes with extended ones.
    pub(super) fn extends(&self, command: &Command, is_t0: bool) -> bool {
        let possible = match self.extended_length {
            Some(possible) => possible && !(is_t0 && self.envelope),
            None => !is_t0 && self.card.extended_length && self.reader_extends(command),
        };
        let fits = |max: u32| usize::try_from(max).is_ok_and(|max| command.data().len() <= max);
        command.needs_extended() && possible && fits(self.max_command)
    }

    /// Whether the reader does not deny that it takes a command with extended lengths.
    fn reader_extends(&self, command: &Command) -> bool {
        let expected = match command.expected() {
            Expected::Exactly(expected) => expected,
            Expected::None | Expected::All => 0,
        };
        self.reader_max_data.is_none_or(|max| {
            let data_fits = usize::try_from(max).is_ok_and(|max| command.data().len() <= max);
            max > SHORT_EXPECTED && data_fits && expected <= max
        })
    }

    /// Whether chaining is possible, and for proprietary classes, too.
    pub(super) fn chain(&self) -> (bool, bool) {
        match self.chaining {
            Some(possible) => (possible, possible),
            None => (self.card.chaining, false),
        }
    }
}

const fn at_least_one(bytes: u32) -> u32 {
    if bytes == 0 { 1 } else { bytes }
}

impl Default for ExchangeOptions {
    fn default() -> ExchangeOptions {
        ExchangeOptions::new()
    }
}

impl fmt::Debug for ExchangeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usual = ExchangeOptions::new();
        let mut shown = f.debug_struct("ExchangeOptions");
        macro_rules! show {
            ($($field:ident),+) => {
                $( if self.$field != usual.$field {
                    shown.field(stringify!($field), &self.$field);
                } )+
            };
        }
        show!(
            continuation,
            extended_length,
            chaining,
            envelope,
            envelope_end,
            reader_max_data
        );
        show!(
            max_command,
            max_answer,
            data_of_warnings,
            any_instruction,
            allow_less
        );
        show!(max_rounds, max_size, card);
        shown.finish_non_exhaustive()
    }
}

/// What the card says of itself in its historical bytes. What it does not say is not possible.
fn capabilities(atr: &Atr) -> Capabilities {
    let told = atr.parse().capabilities();
    told.map_or(Capabilities::default(), |card| Capabilities {
        chaining: card.command_chaining(),
        extended_length: card.extended_length(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_what_is_not_as_usual() {
        let usual = ExchangeOptions::new();
        assert_eq!(format!("{usual:?}"), "ExchangeOptions { .. }");
        let oath = usual.continuation(Continuation::Oath).max_rounds(3);
        assert_eq!(
            format!("{oath:?}"),
            "ExchangeOptions { continuation: Oath, max_rounds: 3, .. }"
        );
    }

    #[test]
    fn the_card_is_asked_whenever_its_answer_matters() {
        let of = |len, options: ExchangeOptions| {
            let command = Command::new(0x00, 0xDB, 0x3F, 0xFF).unwrap();
            options.depend_on_card(&command.with_data(vec![0; len]).unwrap())
        };
        let usual = ExchangeOptions::new();
        assert!(!of(255, usual) && of(256, usual));
        let extends = usual.extended_length(true);
        assert!(!of(400, extends));
        // Too long for the one command, so that it is to be chained.
        assert!(of(400, extends.max_command_data(300)));
        assert!(of(250, extends.max_command_data(240)));
        assert!(!of(400, extends.max_command_data(300).chaining(true)));
        assert!(!of(400, usual.extended_length(false).chaining(false)));
    }

    #[test]
    fn capabilities_are_read_from_the_historical_bytes() {
        let of = |atr: &[u8]| {
            let found = capabilities(&Atr::new(atr).unwrap());
            (found.chaining, found.extended_length)
        };
        // A YubiKey, an OpenPGP card, the virtual cards of the tests.
        let yubikey = b"\x3B\xFD\x13\x00\x00\x81\x31\xFE\x15\x80\x73\xC0\x21\xC0\x57\x59\x75\x62\x69\x4B\x65\x79\x40";
        let openpgp =
            b"\x3B\xDA\x18\xFF\x81\xB1\xFE\x75\x1F\x03\x00\x31\xC5\x73\xC0\x01\x40\x00\x90\x00\x0C";
        assert_eq!(of(yubikey), (true, true));
        assert_eq!(of(openpgp), (false, true));
        assert_eq!(of(b"\x3B\x80\x01\x81"), (false, false));
        assert_eq!(of(b"\x3B\x85\x01\x80\x73\x00\x00\x80\xF6"), (true, false));
        for atr in [&yubikey[..], openpgp] {
            for len in 0..atr.len() {
                of(&atr[..len]);
            }
        }
    }
}
