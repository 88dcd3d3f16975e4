//! How a command is split for sending.

use zeroize::Zeroizing;

use super::class;
use super::command::{Command, Form};
use super::continuation::{Rule, next_frame};
use super::encoding::encode;
use super::error::{ExchangeError, Step, TooLong};
use super::header::Header;
use super::options::ExchangeOptions;
use super::status_word::StatusWord;

const ENVELOPE: u8 = 0xC2;

/// The commands in which a whole command is sent to the card.
pub(super) struct Way {
    kind: Kind,
    /// The maximum number of bytes of data in a part.
    piece: usize,
}

enum Kind {
    /// Unchanged, with short lengths.
    Short,
    /// Unchanged, with extended lengths.
    Extended,
    /// As a chain of commands; all but the last have this class.
    Chain { class: u8 },
    /// In DESFire frames.
    Frames,
    /// With extended lengths, in ENVELOPEs of this class, optionally with an empty one at the end.
    Envelope {
        class: u8,
        whole: Zeroizing<Vec<u8>>,
        end: bool,
    },
}

impl Way {
    pub(super) fn of(
        command: &Command,
        rule: &Rule,
        is_t0: bool,
        options: &ExchangeOptions,
    ) -> Result<Way, ExchangeError> {
        let piece = options.piece();
        let kind = match command.form() {
            Form::Extended => Kind::Extended,
            Form::Auto if options.extends(command, is_t0) => Kind::Extended,
            _ if command.data().len() <= piece => Kind::Short,
            _ => in_parts(command, rule, is_t0, options)?,
        };
        Ok(Way { kind, piece })
    }

    /// Returns the first step of an exchange.
    pub(super) fn first_step(&self, command: &Command) -> Step {
        let (len, ends) = match &self.kind {
            Kind::Short | Kind::Extended => return Step::Command,
            Kind::Chain { .. } | Kind::Frames => (command.data().len(), 0),
            Kind::Envelope { whole, end, .. } => (whole.len(), usize::from(*end)),
        };
        Step::Part {
            number: 1,
            total: u32::try_from(len.div_ceil(self.piece) + ends).unwrap_or(u32::MAX),
        }
    }

    /// Returns whether the lengths of the whole command are extended.
    pub(super) fn is_extended(&self) -> bool {
        matches!(self.kind, Kind::Extended | Kind::Envelope { .. })
    }

    /// Returns whether the last command contains Le. T=0 carries data in one direction at a time,
    /// so a command with a body cannot; commands to the reader do not use it.
    pub(super) fn says_le(&self, command: &Command, is_t0: bool) -> bool {
        match self.kind {
            Kind::Extended => true,
            Kind::Envelope { .. } => false,
            Kind::Short | Kind::Chain { .. } | Kind::Frames => {
                !is_t0 || command.data().is_empty() || !command.is_for_card()
            }
        }
    }

    /// Returns whether the card accepted a part other than the last.
    pub(super) fn goes_on_after(&self, status: StatusWord) -> bool {
        match self.kind {
            Kind::Frames => status == StatusWord::DESFIRE_MORE,
            _ => status == StatusWord::SUCCESS,
        }
    }

    /// Encodes the command of a step other than GET RESPONSE.
    pub(super) fn write(
        &self,
        command: &Command,
        step: Step,
        expected: Option<u32>,
        bytes: &mut Vec<u8>,
    ) {
        let header = command.header();
        let Step::Part { number, total } = step else {
            let extended = matches!(self.kind, Kind::Extended);
            return encode(header, command.data(), expected, extended, bytes);
        };
        let is_last = number >= total;
        let (header, whole, expected) = match &self.kind {
            Kind::Envelope { class, whole, .. } => {
                let envelope = Header {
                    class: *class,
                    instruction: ENVELOPE,
                    p1: 0x00,
                    p2: 0x00,
                };
                (envelope, whole.as_slice(), None)
            }
            Kind::Frames if number > 1 => (next_frame(), command.data(), expected),
            Kind::Chain { class } if !is_last => {
                let part = Header {
                    class: *class,
                    ..header
                };
                (part, command.data(), None)
            }
            _ => (header, command.data(), expected),
        };
        let index = usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
        let part = whole.chunks(self.piece).nth(index).unwrap_or_default();
        encode(header, part, expected, false, bytes);
    }
}

/// Sends a body that does not fit a single command.
fn in_parts(
    command: &Command,
    rule: &Rule,
    is_t0: bool,
    options: &ExchangeOptions,
) -> Result<Kind, ExchangeError> {
    if rule.splits() {
        return Ok(Kind::Frames);
    }
    let header = command.header();
    let for_card = command.is_for_card();
    if is_t0 && for_card && options.envelope {
        let mut whole = Zeroizing::default();
        let expected = command.expected().number(true);
        encode(header, command.data(), expected, true, &mut whole);
        let class = class::interindustry(header.class);
        let end = options.envelope_end;
        return Ok(Kind::Envelope { class, whole, end });
    }
    let (possible, any_class) = options.chain();
    let chained = class::chained(header.class, any_class).filter(|_| possible);
    match chained {
        Some(class) => Ok(Kind::Chain { class }),
        None => Err(ExchangeError::TooLong {
            command: header,
            len: command.data().len(),
            reason: match (class::chained(header.class, true), is_t0 && for_card) {
                (Some(_), true) => TooLong::NoWayOverT0,
                (Some(_), false) => TooLong::NoWay,
                (None, true) => TooLong::NoChainingOverT0,
                (None, false) => TooLong::NoChaining,
            },
        }),
    }
}
