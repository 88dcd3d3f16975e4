//! From a command to its whole answer: which commands that takes, without sending any.

use std::fmt;

use zeroize::Zeroizing;

use super::class;
use super::command::{Command, Expected};
use super::command_bytes::CommandBytes;
use super::continuation::Rule;
use super::encoding::{EXTENDED_EXPECTED, SHORT_EXPECTED, encode};
use super::error::{AnswerProblem, ExchangeError, Step};
use super::header::Header;
use super::options::ExchangeOptions;
use super::response::{Response, split};
use super::status_family::StatusFamily;
use super::status_word::{StatusClass, StatusWord};
use super::way::Way;
use crate::error::Error;
use crate::service::MAX_ANSWER_LEN;
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
    way: Way,
    rule: Rule,
    step: Step,
    /// What the command under way asks for.
    expected: Option<u32>,
    /// What it would ask for if nothing limited that: what the whole command expects, or what the
    /// card has announced.
    wanted: u32,
    /// The command under way was sent once already, with another Le.
    corrected: bool,
    /// The command that fetches more, and the status word that announced it.
    fetch: (Header, StatusWord),
    /// The card may hold back the data that belong to a warning.
    may_hold_back: bool,
    /// The warning whose data are fetched, and the step that it ended.
    warning: Option<(StatusWord, Step)>,
    rounds: u32,
    answered: u32,
    options: ExchangeOptions,
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
    /// card that answers 9000 at once has no answer to give. Commands of class FF, which the
    /// reader answers, go as they are.
    ///
    /// The options know nothing of the card's ATR and the reader here:
    /// [`extended_length`](ExchangeOptions::extended_length) and
    /// [`chaining`](ExchangeOptions::chaining) are impossible unless set.
    ///
    /// # Errors
    ///
    /// [`ExchangeError::TooLong`]; [`ExchangeError::Instruction`] over T=0.
    pub fn new(
        command: &'c Command,
        protocol: Option<Protocol>,
        options: &ExchangeOptions,
    ) -> Result<Exchange<'c>, ExchangeError> {
        let is_t0 = protocol == Some(Protocol::T0);
        let header = command.header();
        let for_card = header.class != class::PSEUDO;
        if is_t0 && for_card && header.is_procedure_byte() && !options.any_instruction {
            return Err(ExchangeError::Instruction { command: header });
        }
        let rule = Rule::of(options.continuation, header, is_t0);
        let way = Way::of(command, &rule, is_t0, options)?;
        let possible = command.expected().number(way.is_extended());
        let says_le = way.says_le(command, is_t0);
        let asked = asked(command.expected(), possible).map(|asked| asked.min(options.max_answer));
        let mut exchange = Exchange {
            whole: command,
            step: way.first_step(command),
            expected: asked.filter(|_| says_le),
            wanted: wanted(command, possible),
            corrected: false,
            fetch: (rule.get_response(), StatusWord::SUCCESS),
            may_hold_back: is_t0
                && for_card
                && !says_le
                && possible.is_some()
                && options.data_of_warnings
                && rule.fetches(),
            warning: None,
            rounds: 0,
            answered: 0,
            options: *options,
            bytes: Zeroizing::default(),
            data: Zeroizing::default(),
            way,
            rule,
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
    /// - 61XX, or what the [`Continuation`](super::Continuation) has instead: the rest is
    ///   fetched. The status word of the whole is that of the last command; if that is an error,
    ///   the rest was refused, and the exchange fails with [`AnswerProblem::RestRefused`].
    /// - 6CXX: the command is sent again with this Le, once, if it had another one. Not the last
    ///   part of a chain: a card that has dropped the parts before would take it for the whole.
    ///   [`max_answer_data`](ExchangeOptions::max_answer_data) limits this Le, too; where the
    ///   command asked for as much already, 6CXX ends the exchange.
    /// - 62XX and 63XX over T=0 to a command that expects data and could not say so: the data
    ///   are [fetched](ExchangeOptions::data_of_warnings), and the warning is the status word of
    ///   the whole, also if there are none.
    /// - 9000 for a part of a chain, 91AF for one of DESFire's frames: the next part follows.
    ///   Anything else ends the exchange, and so does 91AF without data for the last part.
    ///
    /// # Errors
    ///
    /// [`ExchangeError::Answer`] if it has no status word, if the rest of the answer is refused,
    /// if the card wants to go on past the limits of the options, or if it gives as much as it
    /// [was asked for](AnswerProblem::AskedForLess), and that was less than the command expects.
    pub fn answered(mut self, answer: &[u8]) -> Result<Next<'c>, ExchangeError> {
        let (data, status) = split(answer).map_err(|problem| self.problem(problem))?;
        self.answered = self.answered.saturating_add(1);
        if let Step::Part { number, of } = self.step {
            if number < of {
                let number = number + 1;
                return match self.way.goes_on_after(status) {
                    true => Ok(self.go_on(Step::Part { number, of })),
                    false => self.done(data, status),
                };
            }
        }
        if let Some((asked, available)) = self.correction(status) {
            self.one_more_round()?;
            self.expected = Some(asked);
            self.wanted = available;
            self.corrected = true;
            let step = self.step;
            return Ok(self.go_on(step));
        }
        if let Some((header, le)) = self.rule.announced(data, status) {
            self.take(data)?;
            return self.fetch(header, status, le);
        }
        match self.step {
            Step::GetResponse { .. } => self.fetched(data, status),
            Step::Command | Step::Part { .. } => {
                if self.may_hold_back && data.is_empty() && status.is_warning() {
                    self.warning = Some((status, self.step));
                    let possible = self.whole.expected().number(false);
                    let header = self.rule.get_response();
                    let wanted = wanted(self.whole, possible);
                    return self.fetch(header, status, wanted);
                }
                self.done(data, status)
            }
        }
    }

    /// The Le with which the command is to be sent again, and what the card has.
    fn correction(&self, status: StatusWord) -> Option<(u32, u32)> {
        let available = status.correct_le()?;
        let asked = available.min(self.options.max_answer);
        let is_other = self.expected.is_some_and(|refused| refused != asked);
        let is_part = matches!(self.step, Step::Part { .. });
        (!is_part && !self.corrected && is_other).then_some((asked, available))
    }

    /// What is fetched is here, or was refused.
    fn fetched(mut self, data: &[u8], status: StatusWord) -> Result<Next<'c>, ExchangeError> {
        let is_frame = self.fetch.0 != self.rule.get_response();
        let is_refusal = match status.class() {
            StatusClass::ExecutionError | StatusClass::CheckingError => true,
            // DESFire says in the last frame what became of the command.
            StatusClass::Other => {
                let family = StatusFamily::of_command(self.whole.header());
                data.is_empty() && !is_frame && !status.is_success_in(family)
            }
            StatusClass::Success | StatusClass::Warning => false,
        };
        if !is_refusal {
            return self.done(data, status);
        }
        let second = match is_frame {
            true => None,
            false => self.rule.second(status),
        };
        if let Some(header) = second {
            self.one_more_round()?;
            self.fetch.0 = header;
            let step = self.step;
            return Ok(self.go_on(step));
        }
        match self.warning {
            // Nothing was announced, so nothing is missing.
            Some((warning, _)) if self.data.is_empty() => self.done(&[], warning),
            _ => Err(self.problem(AnswerProblem::RestRefused {
                announced: self.fetch.1,
                refused: status,
            })),
        }
    }

    fn fetch(
        mut self,
        header: Header,
        announced: StatusWord,
        wanted: u32,
    ) -> Result<Next<'c>, ExchangeError> {
        self.one_more_round()?;
        let number = match self.step {
            Step::GetResponse { number } => {
                self.rule.settled();
                number.saturating_add(1)
            }
            Step::Command | Step::Part { .. } => 1,
        };
        self.fetch = (header, announced);
        let possible = wanted.min(SHORT_EXPECTED);
        self.expected = Some(possible.min(self.options.max_answer));
        self.wanted = wanted;
        self.corrected = false;
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
        let len = |data: &[u8]| u32::try_from(data.len()).unwrap_or(u32::MAX);
        let before = len(&self.data);
        self.take(data)?;
        // The last command asked for less than there may be, and got that.
        let asked_for = self
            .expected
            .filter(|asked| (*asked..self.wanted).contains(&len(data)))
            .map(|asked| before.saturating_add(asked));
        if let (Some(asked), Expected::Exactly(expected), false) =
            (asked_for, self.whole.expected(), self.options.allow_less)
        {
            if len(&self.data) < expected {
                return Err(self.problem(AnswerProblem::AskedForLess { asked, expected }));
            }
        }
        let (status, step) = self.warning.unwrap_or((status, self.step));
        Ok(Next::Done(Response {
            data: std::mem::take(&mut *self.data),
            status,
            command: Some(self.whole.header()),
            step,
            asked_for,
            secret: self.whole.is_secret(),
        }))
    }

    fn take(&mut self, data: &[u8]) -> Result<(), ExchangeError> {
        let len = self.data.len().saturating_add(data.len());
        if len > self.options.max_size {
            let max = self.options.max_size;
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
        if self.rounds >= self.options.max_rounds {
            let max = self.options.max_rounds;
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
        self.bytes.clear();
        match self.step {
            Step::GetResponse { .. } => {
                encode(self.fetch.0, &[], self.expected, false, &mut self.bytes);
            }
            step => self
                .way
                .write(self.whole, step, self.expected, &mut self.bytes),
        }
    }
}

/// The most data of an answer that there is room for, with the status word.
const MAX_RECEIVED: u32 = match MAX_ANSWER_LEN - size_of::<StatusWord>() {
    room if room < EXTENDED_EXPECTED as usize => room as u32,
    _ => EXTENDED_EXPECTED,
};

/// How much is asked for: no more than there is room for, because an answer that does not fit is
/// lost although its command has run.
///
/// But all remains all. Its Le is no number: READ BINARY with one answers at the end of a file with a
/// warning (6282), and without one does not.
fn asked(expected: Expected, possible: Option<u32>) -> Option<u32> {
    match expected {
        Expected::Exactly(_) => possible.map(|possible| possible.min(MAX_RECEIVED)),
        Expected::None | Expected::All => possible,
    }
}

/// How much of an answer a command is after, with lengths that can say this much.
fn wanted(command: &Command, possible: Option<u32>) -> u32 {
    match command.expected() {
        Expected::Exactly(wanted) => wanted,
        Expected::None | Expected::All => possible.unwrap_or(SHORT_EXPECTED),
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
