//! From a command to its whole answer: which commands that takes, without sending any.

use std::fmt;

use zeroize::Zeroizing;

use super::class;
use super::command::{Command, Form};
use super::command_bytes::CommandBytes;
use super::encoding::{SHORT_DATA, encode};
use super::error::{AnswerProblem, ExchangeError, Step, TooLong};
use super::header::Header;
use super::options::ExchangeOptions;
use super::response::{Response, split};
use super::status_word::StatusWord;
use crate::error::Error;
use crate::values::Protocol;

/// An exchange under way, for programs that reach their cards by other ways than PC/SC:
/// [`Card::exchange`](crate::Card::exchange) is this and
/// [`Card::transmit`](crate::Card::transmit). It does no input and output of its own.
///
/// ```
/// use scard::apdu::{Command, Exchange, ExchangeError, ExchangeOptions, Next, Response};
///
/// fn exchange(
///     command: &Command,
///     mut transmit: impl FnMut(&[u8]) -> Vec<u8>,
/// ) -> Result<Response, ExchangeError> {
///     let mut exchange = Exchange::new(command, None, &ExchangeOptions::new())?;
///     loop {
///         let answer = transmit(exchange.command());
///         match exchange.answered(&answer)? {
///             Next::Send(next) => exchange = next,
///             Next::Done(response) => return Ok(response),
///         }
///     }
/// }
/// # let select = Command::select(b"\xA0\x00\x00\x03\x08")?;
/// # let response = exchange(&select, |command| match command[1] {
/// #     0xA4 => vec![0x61, 0x02],
/// #     _ => vec![0x6F, 0x00, 0x90, 0x00],
/// # })?;
/// # assert_eq!(response.ok()?, [0x6F, 0x00]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub struct Exchange<'c> {
    whole: &'c Command,
    extended: bool,
    /// The class of all parts but the last.
    part_class: u8,
    step: Step,
    /// What the command under way asks for.
    expected: Option<u32>,
    /// The command under way was sent once already, with another Le.
    corrected: bool,
    rounds: u32,
    answered: u32,
    max_rounds: u32,
    max_size: usize,
    /// The command under way.
    bytes: Zeroizing<Vec<u8>>,
    /// The answer so far.
    data: Zeroizing<Vec<u8>>,
}

/// What an exchange does next.
#[derive(Debug)]
pub enum Next<'c> {
    /// It goes on with another [command](Exchange::command).
    Send(Exchange<'c>),
    /// It is over.
    Done(Response),
}

impl<'c> Exchange<'c> {
    /// Decides how the command is sent.
    ///
    /// Over T=0 a command with a body goes without Le, and the card says by 61XX that there is
    /// an answer: that protocol carries data in one direction at a time. PC/SC does not say
    /// who is to leave Le out; of drivers, some do, and others fail (GemCCID on Windows
    /// reports a mute card). A command without body and Le stays four bytes. What differs for
    /// the caller: 61XX has all there is fetched, which can be more than was expected; and a
    /// card that answers 9000 at once has no answer to give.
    ///
    /// Commands of class FF are treated no differently, although the reader answers them: over
    /// T=0, one with body and Le is better sent as it is, with
    /// [`transmit`](crate::Card::transmit).
    ///
    /// The options know nothing of the card's ATR here:
    /// [`extended_length`](ExchangeOptions::extended_length) and
    /// [`chaining`](ExchangeOptions::chaining) are impossible unless set.
    ///
    /// # Errors
    ///
    /// [`ExchangeError::TooLong`].
    pub fn new(
        command: &'c Command,
        protocol: Option<Protocol>,
        options: &ExchangeOptions,
    ) -> Result<Exchange<'c>, ExchangeError> {
        let is_t0 = protocol == Some(Protocol::T0);
        let extended = match command.form() {
            Form::Extended => true,
            Form::Short => false,
            Form::Auto => command.needs_extended() && options.extend(command, is_t0),
        };
        let len = command.data().len();
        let header = command.header();
        let (mut part_class, mut step) = (header.class, Step::Command);
        if !extended && len > SHORT_DATA {
            let (possible, any_class) = options.chain();
            let chained = class::chained(header.class, any_class).filter(|_| possible);
            part_class = chained.ok_or(ExchangeError::TooLong {
                command: header,
                len,
                why: match possible {
                    true => TooLong::NoChaining,
                    false => TooLong::NoWay,
                },
            })?;
            let of = u32::try_from(len.div_ceil(SHORT_DATA)).unwrap_or(u32::MAX);
            step = Step::Part { number: 1, of };
        }
        let without_le = is_t0 && !extended && len > 0;
        let mut exchange = Exchange {
            whole: command,
            extended,
            part_class,
            step,
            expected: match without_le {
                true => None,
                false => command.expected().number(extended),
            },
            corrected: false,
            rounds: 0,
            answered: 0,
            max_rounds: options.max_rounds,
            max_size: options.max_size,
            bytes: Zeroizing::default(),
            data: Zeroizing::default(),
        };
        exchange.write();
        Ok(exchange)
    }

    /// The command to be sent now.
    pub fn command(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether it is [secret](Command::is_secret), and so is its answer.
    pub fn is_secret(&self) -> bool {
        self.whole.is_secret()
    }

    /// The command to be sent now, marked if the whole one is.
    pub(crate) fn to_send(&self) -> CommandBytes<'_> {
        CommandBytes::marked(&self.bytes, self.is_secret())
    }

    /// Where the exchange is.
    pub fn step(&self) -> Step {
        self.step
    }

    /// Takes the answer to the command, status word included.
    ///
    /// - 61XX: the rest is fetched by GET RESPONSE, in the same class; without the bits for
    ///   chaining and secure messaging, because the answer is protected as a whole.
    ///   Proprietary classes are kept, but 8X and EX lose secure messaging as GlobalPlatform
    ///   and ETSI have it.
    /// - 6CXX: the command is sent again with this Le, once, if it had one. Not the last part
    ///   of a chain: a card that has dropped the parts before would take it for the whole.
    /// - 9000 for a part of a chain: the next part follows. Anything else ends the exchange.
    ///
    /// # Errors
    ///
    /// [`ExchangeError::Answer`] if it has no status word, or if the card wants to go on past
    /// the limits of the options.
    pub fn answered(mut self, answer: &[u8]) -> Result<Next<'c>, ExchangeError> {
        let (data, status) = split(answer).map_err(|problem| self.problem(problem))?;
        self.answered = self.answered.saturating_add(1);
        if let Step::Part { number, of } = self.step {
            if number < of {
                if status == StatusWord::SUCCESS {
                    return Ok(self.go_on(Step::Part {
                        number: number + 1,
                        of,
                    }));
                }
                return self.done(data, status);
            }
        }
        let le = match self.step {
            Step::Part { .. } => None,
            Step::Command | Step::GetResponse { .. } => status.correct_le(),
        };
        if let (Some(le), Some(_), false) = (le, self.expected, self.corrected) {
            self.one_more_round()?;
            self.expected = Some(le);
            self.corrected = true;
            let step = self.step;
            return Ok(self.go_on(step));
        }
        let Some(more) = status.more_available() else {
            return self.done(data, status);
        };
        self.take(data)?;
        self.one_more_round()?;
        self.expected = Some(more);
        self.corrected = false;
        let number = match self.step {
            Step::GetResponse { number } => number.saturating_add(1),
            Step::Command | Step::Part { .. } => 1,
        };
        Ok(self.go_on(Step::GetResponse { number }))
    }

    /// Ends the exchange because the command could not be sent, or not be answered.
    pub fn failed(self, error: Error) -> ExchangeError {
        ExchangeError::Card {
            error,
            command: Some(self.whole.header()),
            step: self.step,
            answered: self.answered,
        }
    }

    fn go_on(mut self, step: Step) -> Next<'c> {
        self.step = step;
        self.write();
        Next::Send(self)
    }

    fn done(mut self, data: &[u8], status: StatusWord) -> Result<Next<'c>, ExchangeError> {
        self.take(data)?;
        Ok(Next::Done(Response {
            data: std::mem::take(&mut *self.data),
            status,
            command: Some(self.whole.header()),
            step: self.step,
            secret: self.whole.is_secret(),
        }))
    }

    fn take(&mut self, data: &[u8]) -> Result<(), ExchangeError> {
        let len = self.data.len().saturating_add(data.len());
        if len > self.max_size {
            let max = self.max_size;
            return Err(self.problem(AnswerProblem::TooMuchData { max }));
        }
        if len > self.data.capacity() {
            // Growing in place would leave a copy behind that nobody overwrites.
            let capacity = len.max(self.data.capacity().saturating_mul(2));
            let mut grown = Zeroizing::new(Vec::with_capacity(capacity));
            grown.extend_from_slice(&self.data);
            self.data = grown;
        }
        self.data.extend_from_slice(data);
        Ok(())
    }

    fn one_more_round(&mut self) -> Result<(), ExchangeError> {
        if self.rounds >= self.max_rounds {
            let max = self.max_rounds;
            return Err(self.problem(AnswerProblem::TooManyRounds { max }));
        }
        self.rounds += 1;
        Ok(())
    }

    fn problem(&self, problem: AnswerProblem) -> ExchangeError {
        ExchangeError::Answer {
            problem,
            command: self.whole.header(),
            step: self.step,
        }
    }

    /// Writes the command of this step.
    fn write(&mut self) {
        let header = self.whole.header();
        let (header, data, expected) = match self.step {
            Step::Command => (header, self.whole.data(), self.expected),
            Step::Part { number, of } => {
                let index = usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
                let part = self.whole.data().chunks(SHORT_DATA).nth(index);
                let part = part.unwrap_or_default();
                match number < of {
                    true => {
                        let class = self.part_class;
                        (Header { class, ..header }, part, None)
                    }
                    false => (header, part, self.expected),
                }
            }
            Step::GetResponse { .. } => {
                let header = Header {
                    class: class::of_get_response(header.class),
                    instruction: 0xC0,
                    p1: 0x00,
                    p2: 0x00,
                };
                (header, &[][..], self.expected)
            }
        };
        self.bytes.clear();
        let extended = self.extended && self.step == Step::Command;
        encode(header, data, expected, extended, &mut self.bytes);
    }
}

impl fmt::Debug for Exchange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("command", self.whole)
            .field("step", &self.step)
            .field("answered", &self.answered)
            .finish_non_exhaustive()
    }
}
