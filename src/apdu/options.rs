//! Options of exchanges.

use std::fmt;

use super::command::{Command, Expected, Form};
use super::continuation::Continuation;
use super::encoding::{EXTENDED_EXPECTED, SHORT_DATA, SHORT_EXPECTED};
use crate::values::{Atr, Protocol};

/// Options and limits of an [exchange](crate::Card::exchange): what ISO 7816 leaves open, and where
/// real cards and readers differ.
///
/// They are set for one call with [`exchange_with`](crate::Card::exchange_with), for a card with
/// [`ConnectOptions::exchange_options`](crate::ConnectOptions::exchange_options) (and so for a
/// [session](crate::SessionBuilder::connect_options)) or
/// [`Card::set_exchange_options`](crate::Card::set_exchange_options). The
/// [cookbook](crate::guide::cookbook#talk-to-unusual-cards-and-readers) has an example
/// of each.
///
/// A command whose body or expected answer does not fit short lengths is sent, in this order of
/// preference:
///
/// 1. with extended length, if that is [possible](Self::extended_length) and
///    [ENVELOPE](Self::envelope)s were not chosen for T=0;
/// 2. if only the expected answer is too long for a short command: asking for the maximum, 256
///    bytes. More is fetched if the card announces it with 61XX. A card that returns 256 bytes
///    without an announcement may have more: that is [an error](super::AnswerProblem::PossiblyIncomplete)
///    unless [allowed](Self::allow_incomplete);
/// 3. of class `90`: in DESFire [frames](Continuation::Desfire), if that was chosen;
/// 4. over T=0, unless it is for the reader (class FF): in [ENVELOPE](Self::envelope)s, if that was
///    chosen;
/// 5. as a [chain](Self::chaining) of short commands, if the card is known to support that;
/// 6. not at all: [`ExchangeError::TooLong`](super::ExchangeError::TooLong).
///
/// A command in [`Form::Extended`] is sent unchanged.
///
/// [`Debug`](fmt::Debug) shows only what differs from the default.
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
    any_instruction: bool,
    ignore_t0: bool,
    pub(super) allow_incomplete: bool,
    pub(super) max_rounds: u32,
    pub(super) max_size: usize,
    card: Capabilities,
}

/// The capabilities that the card reports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Capabilities {
    chaining: bool,
    extended_length: bool,
}

impl ExchangeOptions {
    /// Returns the default options: nothing that the ATR does not promise, up to 512 rounds and
    /// answers up to 131,072 bytes.
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
            ignore_t0: false,
            allow_incomplete: false,
            max_rounds: 512,
            max_size: 131_072,
            card: Capabilities {
                chaining: false,
                extended_length: false,
            },
        }
    }

    /// Sets how the card announces the rest of an answer, and how that is fetched. The default is
    /// [`Continuation::Auto`].
    pub const fn continuation(mut self, continuation: Continuation) -> ExchangeOptions {
        self.continuation = continuation;
        self
    }

    /// Sets whether card and reader support extended lengths.
    ///
    /// By default, they do if the card's ATR says so, the reader does not deny it
    /// ([`reader_max_data`](Self::reader_max_data)), and the protocol is not T=0, which itself has
    /// no extended lengths.
    pub const fn extended_length(mut self, possible: bool) -> ExchangeOptions {
        self.extended_length = Some(possible);
        self
    }

    /// Sets the maximum amount of data that the reader accepts in one command:
    /// `dwMaxAPDUDataSize` of PC/SC Part 10. Up to 256 means a reader without extended length,
    /// 1 to 255 one with even shorter commands. A command with extended length asks for no longer
    /// answer either; the response contains [the requested length](super::Response::requested_len).
    ///
    /// By default, the [reader is asked](crate::Transmit::reader_max_data) before a long command to
    /// a card that supports extended lengths. Set this to avoid the query, for instance with
    /// [`for_reader`](Self::for_reader).
    pub const fn reader_max_data(mut self, max: u32) -> ExchangeOptions {
        self.reader_max_data = Some(max);
        self
    }

    /// Sets the maximum number of bytes of data in one command, for readers and cards that accept
    /// less than a command could carry. Known values are 240, 250 and 252, and 54 for DESFire
    /// frames, whose wrapped command has at most 60 bytes. A longer body is sent in parts of this
    /// size, in the same way as a body that is too long without this limit. At least 1; the default
    /// is 65,536, which is no limit.
    pub const fn max_command_data(mut self, bytes: u32) -> ExchangeOptions {
        self.max_command = at_least_one(bytes);
        self
    }

    /// Sets the maximum number of bytes to ask for in one command, for readers that lose longer
    /// answers. Applies to GET RESPONSE and to commands repeated after 6CXX, too. At least 1; the
    /// default is 65,536, which is no limit.
    ///
    /// A command that expects a [number](super::Expected::Exactly) of bytes never asks for more than
    /// [there is room for](crate::Card::MAX_ANSWER_LEN): 65,533 on Windows. One that expects
    /// [all](super::Expected::All) does, because cards treat a number that exceeds what they have
    /// differently (READ BINARY: 6282). For a card that has as much, set 65,533 here.
    ///
    /// The card announces the rest with 61XX, or the response contains [the requested
    /// length](super::Response::requested_len). A card that insists on more than this returns nothing:
    /// the status word is its 6CXX. Further DESFire frames are not limited: the card determines
    /// their size.
    pub const fn max_answer_data(mut self, bytes: u32) -> ExchangeOptions {
        self.max_answer = at_least_one(bytes);
        self
    }

    /// Sets whether the card accepts a long body as a chain of commands, which is marked by a bit
    /// in their class.
    ///
    /// By default, it does if the ATR says so and the class is an interindustry class. A card that
    /// ignores the bit would take a part for the whole command, so the library does not try.
    pub const fn chaining(mut self, possible: bool) -> ExchangeOptions {
        self.chaining = Some(possible);
        self
    }

    /// Sets whether a command with a body that is too long for T=0 is sent in ENVELOPE commands
    /// (`00 C2 00 00`), which ISO 7816-3 specifies for extended lengths over T=0. The default is
    /// `false`: few cards support this, and none reports it. Over T=0, it takes precedence over
    /// [extended length](Self::extended_length).
    pub const fn envelope(mut self, possible: bool) -> ExchangeOptions {
        self.envelope = possible;
        self
    }

    /// Sets whether an ENVELOPE without data follows the last one: the "end of data string" of ISO
    /// 7816-4, for cards that cannot detect the end otherwise. The default is `false`, because the
    /// enclosed command contains its length.
    pub const fn envelope_end(mut self, sent: bool) -> ExchangeOptions {
        self.envelope_end = sent;
        self
    }

    /// Sets whether the data of a warning is fetched over T=0, as EMV and ETSI TS 102 221 specify:
    /// a card that answers 62XX or 63XX to a command with a body holds back the data until GET
    /// RESPONSE. The default is `true`. A card that refuses this GET RESPONSE has no data, unless it
    /// announced some in between (61XX, 6CXX): then the exchange fails with
    /// [`RestRefused`](super::AnswerProblem::RestRefused).
    ///
    /// Only applies to commands that [expect data](Command::expected): nothing is sent after a
    /// VERIFY that is answered with 63CX.
    pub const fn data_of_warnings(mut self, fetched: bool) -> ExchangeOptions {
        self.data_of_warnings = fetched;
        self
    }

    /// Sets whether instructions 6X and 9X are sent over T=0, where a card could take them for
    /// procedure bytes. The default is `false`. Over other protocols they are always sent, and so
    /// are commands of class FF, which the reader answers.
    ///
    /// For cards that use such instructions over T=0 contrary to ISO 7816. For readers that report
    /// T=0 although it is not the link to the card, see [`ignore_t0`](Self::ignore_t0).
    pub const fn any_instruction(mut self, sent: bool) -> ExchangeOptions {
        self.any_instruction = sent;
        self
    }

    /// Sets whether T=0 is ignored where the reader reports it, because it is not the link to the
    /// card: some readers report T=0 for contactless cards. Commands are then sent as over T=1,
    /// with Le after a body, with [any instruction](Self::any_instruction), and with extended
    /// lengths if card and reader support them. The default is `false`.
    pub const fn ignore_t0(mut self, ignored: bool) -> ExchangeOptions {
        self.ignore_t0 = ignored;
        self
    }

    /// Sets whether a command may end with less data than it expects because less was requested:
    /// for example, a command that expects 300 bytes but can ask for only 256. The response
    /// contains [the requested length](super::Response::requested_len). By default, this fails with
    /// [`AnswerProblem::PossiblyIncomplete`](super::AnswerProblem::PossiblyIncomplete).
    pub const fn allow_incomplete(mut self, allowed: bool) -> ExchangeOptions {
        self.allow_incomplete = allowed;
        self
    }

    /// Sets how many further commands the card may ask for, GET RESPONSE and commands repeated with
    /// another Le, beyond those that its data justifies: one for every 16 bytes so far, or for every
    /// half of a smaller [`max_answer_data`](Self::max_answer_data). The default is 512.
    pub const fn max_rounds(mut self, max: u32) -> ExchangeOptions {
        self.max_rounds = max;
        self
    }

    /// Sets the maximum total length of the answer in bytes. The default is 131,072.
    pub const fn max_size(mut self, max: usize) -> ExchangeOptions {
        self.max_size = max;
        self
    }

    /// Returns whether the way to send the command depends on the card's ATR.
    pub(crate) fn depend_on_card(&self, command: &Command) -> bool {
        if command.form() == Form::Extended || !self.is_long(command) {
            return false;
        }
        let extends = self.extended_length.is_none();
        // Over T=0 a command may still be sent another way; then the card is asked in vain.
        let goes_whole = self.extended_length == Some(true) && self.extends(command, false);
        let chains = command.data().len() > self.piece() && self.chaining.is_none() && !goes_whole;
        extends || chains
    }

    /// Adds what the card reports.
    pub(crate) fn for_card(mut self, atr: &Atr) -> ExchangeOptions {
        self.card = capabilities(atr);
        self
    }

    /// Returns whether the way to send a command that depends on the card also depends on the
    /// reader.
    pub(crate) fn depend_on_reader(&self, command: &Command, protocol: Option<Protocol>) -> bool {
        self.reader_max_data.is_none()
            && command.form() == Form::Auto
            && self.extends(command, self.is_t0(protocol))
            && self.extended_length.is_none()
    }

    /// Adds what the reader reports.
    pub(crate) fn with_reported(mut self, max_data: Option<u32>) -> ExchangeOptions {
        self.reader_max_data = self.reader_max_data.or(max_data);
        self
    }

    /// Returns whether the card is reached by T=0.
    pub(super) fn is_t0(&self, protocol: Option<Protocol>) -> bool {
        protocol == Some(Protocol::T0) && !self.ignore_t0
    }

    /// Returns whether the link supports the instruction of a command.
    pub(super) fn allows_instruction(&self, command: &Command, is_t0: bool) -> bool {
        let is_safe = !is_t0 || !command.is_for_card() || self.any_instruction;
        is_safe || !command.header().is_procedure_byte()
    }

    /// Returns the maximum number of bytes to ask for in one command.
    pub(super) fn most_expected(&self, extended: bool) -> u32 {
        let reader = match self.reader_max_data {
            Some(max) if extended => max.max(SHORT_EXPECTED),
            _ => EXTENDED_EXPECTED,
        };
        self.max_answer.min(reader)
    }

    /// Returns the maximum number of further commands, after this much data.
    pub(super) fn rounds_after(&self, len: usize) -> usize {
        let max = usize::try_from(self.max_rounds).unwrap_or(usize::MAX);
        let piece = usize::try_from(self.max_answer / 2).unwrap_or(usize::MAX);
        max.saturating_add(len / piece.clamp(1, 16))
    }

    /// Returns the maximum number of bytes of data in a short command.
    pub(super) fn piece(&self) -> usize {
        let reader = match self.reader_max_data {
            None | Some(0) => u32::MAX,
            Some(max) => max,
        };
        let piece = usize::try_from(self.max_command.min(reader)).unwrap_or(usize::MAX);
        piece.min(SHORT_DATA)
    }

    /// Returns whether a command does not fit short lengths, or those of the reader.
    fn is_long(&self, command: &Command) -> bool {
        command.data().len() > self.piece() || command.needs_extended()
    }

    /// Returns whether a command that does not fit short lengths is sent with extended ones.
    pub(super) fn extends(&self, command: &Command, is_t0: bool) -> bool {
        let possible = match self.extended_length {
            Some(possible) => possible && !(is_t0 && self.envelope && command.is_for_card()),
            None => !is_t0 && self.card.extended_length && self.reader_extends(command),
        };
        let fits = |max: u32| usize::try_from(max).is_ok_and(|max| command.data().len() <= max);
        command.needs_extended() && possible && fits(self.max_command)
    }

    /// Returns whether the reader does not deny support for a command with extended lengths.
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

    /// Returns whether chaining is possible, and whether for proprietary classes, too.
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
            ignore_t0,
            allow_incomplete
        );
        show!(max_rounds, max_size, card);
        shown.finish_non_exhaustive()
    }
}

/// Returns the capabilities in the card's historical bytes. Those not mentioned are unsupported.
fn capabilities(atr: &Atr) -> Capabilities {
    let reported = atr.parse().capabilities();
    reported.map_or(Capabilities::default(), |card| Capabilities {
        chaining: card.command_chaining(),
        extended_length: card.extended_length(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_only_changed_options() {
        let usual = ExchangeOptions::new();
        assert_eq!(format!("{usual:?}"), "ExchangeOptions { .. }");
        let oath = usual.continuation(Continuation::Oath).max_rounds(3);
        assert_eq!(
            format!("{oath:?}"),
            "ExchangeOptions { continuation: Oath, max_rounds: 3, .. }"
        );
    }

    #[test]
    fn the_atr_is_read_only_if_the_card_decides() {
        let of = |len, options: ExchangeOptions| {
            let command = Command::new(0x00, 0xDB, 0x3F, 0xFF).unwrap();
            options.depend_on_card(&command.with_data(vec![0; len]).unwrap())
        };
        let usual = ExchangeOptions::new();
        assert!(!of(255, usual) && of(256, usual));
        let extends = usual.extended_length(true);
        assert!(!of(400, extends));
        // Too long for one command, so it is chained.
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
