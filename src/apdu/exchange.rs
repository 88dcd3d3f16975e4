//! Turns a command into the commands to send and their answers into one, without input or output.

use std::fmt;

use zeroize::Zeroizing;

use super::command::{Command, Expected};
use super::command_bytes::CommandBytes;
use super::continuation::Rule;
use super::encoding::{EXTENDED_EXPECTED, SHORT_EXPECTED, encode};
use super::error::{AnswerProblem, ExchangeError, Step};
use super::header::Header;
use super::options::ExchangeOptions;
use super::response::{Response, split};
use super::status_word::{StatusClass, StatusWord};
use super::way::Way;
use crate::error::Error;
use crate::service::MAX_ANSWER_LEN;
use crate::values::Protocol;

/// An exchange in progress, for programs that reach their cards without PC/SC.
///
/// [`Card::exchange`](crate::Card::exchange) combines this with
/// [`Card::transmit`](crate::Card::transmit). It does no input or output.
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
    /// The length that the current command asks for.
    expected: Option<u32>,
    /// The length that it would ask for without limits: what the whole command expects, or what the
    /// card announced.
    wanted: u32,
    /// Whether the current command was already sent once, with another Le.
    corrected: bool,
    /// The command that fetches more, and the status word that announced it.
    fetch: (Header, StatusWord),
    /// Whether the card may hold back the data of a warning.
    may_hold_back: bool,
    /// Whether nothing announced the data that is fetched.
    is_guess: bool,
    /// The final status word, if not that of the last command, and the step that it ended.
    kept: Option<(StatusWord, Step)>,
    rounds: usize,
    answered: u32,
    options: ExchangeOptions,
    /// The current command.
    bytes: Zeroizing<Vec<u8>>,
    /// The answer so far.
    data: Zeroizing<Vec<u8>>,
}

/// The next step of an exchange.
#[derive(Debug)]
pub enum Next<'c> {
    /// The exchange continues with another [command](Exchange::command).
    Send(Exchange<'c>),
    /// The exchange is over.
    Done(Response),
}

impl<'c> Exchange<'c> {
    /// Begins an exchange by deciding how the command is sent.
    ///
    /// Over T=0, which carries data in one direction at a time, a command with a body is sent
    /// without Le, and the card announces its answer with 61XX. PC/SC does not specify who has to
    /// omit Le: some drivers do, others fail (GemCCID on Windows reports a mute card). A command
    /// without body and Le stays four bytes long. Differences for the caller: after 61XX everything
    /// is fetched, which can be more than was expected, and a card that answers 9000 at once has no
    /// answer. Commands of class FF, which the reader answers, are sent unchanged.
    ///
    /// Here, the options do not take the card's ATR and the reader into account:
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
        let is_t0 = options.is_t0(protocol);
        let header = command.header();
        if !options.allows_instruction(command, is_t0) {
            return Err(ExchangeError::Instruction { command: header });
        }
        let rule = Rule::of(options.continuation, header, is_t0);
        let way = Way::of(command, &rule, is_t0, options)?;
        let possible = command.expected().number(way.is_extended());
        let says_le = way.says_le(command, is_t0);
        let most = options.most_expected(way.is_extended());
        let asked = asked(command.expected(), possible).map(|asked| asked.min(most));
        let mut exchange = Exchange {
            whole: command,
            step: way.first_step(command),
            expected: asked.filter(|_| says_le),
            wanted: wanted(command, possible),
            corrected: false,
            fetch: (rule.get_response(), StatusWord::SUCCESS),
            may_hold_back: is_t0
                && command.is_for_card()
                && !says_le
                && possible.is_some()
                && options.data_of_warnings
                && rule.fetches(),
            is_guess: false,
            kept: None,
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

    /// Returns the command to send now.
    pub fn command(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns whether the command and its answer are [secret](Command::is_secret).
    pub fn is_secret(&self) -> bool {
        self.whole.is_secret()
    }

    /// Returns the command to send now, marked as secret if the whole command is.
    pub(crate) fn to_send(&self) -> CommandBytes<'_> {
        CommandBytes::marked(&self.bytes, self.is_secret())
    }

    /// Returns the current step of the exchange.
    pub fn step(&self) -> Step {
        self.step
    }

    /// Takes the answer to the command, including the status word.
    ///
    /// - 61XX, or the equivalent of the [`Continuation`](super::Continuation): the rest is fetched.
    ///   The final status word is that of the last command; if that is an error, the rest was
    ///   refused, and the exchange fails with [`AnswerProblem::RestRefused`], as it does if no data
    ///   comes where a length was announced.
    /// - 6CXX: the command is sent once more with this Le, if it had another one. This excludes the
    ///   last part of a chain, because a card that dropped the earlier parts would take it for the
    ///   whole command. [`max_answer_data`](ExchangeOptions::max_answer_data) limits this Le, too;
    ///   if the command asked for as much already, 6CXX ends the exchange. A command that presents
    ///   a PIN (instructions 20, 21, 24 to 29, 2C, 2D) is never repeated: it could use up a try.
    /// - 62XX and 63XX over T=0, to a command that expects data but could not say so: the data is
    ///   [fetched](ExchangeOptions::data_of_warnings), and the warning is the final status word,
    ///   even if there is no data. So is 9EXX of [SIMs](super::Continuation::Gsm), which announces
    ///   data.
    /// - 9000 for a part of a chain, 91AF for a DESFire frame: the next part follows. Anything else
    ///   ends the exchange, and so does 91AF without data for the last part.
    ///
    /// # Errors
    ///
    /// [`ExchangeError::Answer`] if the answer has no status word, if the rest of the answer is
    /// refused, if the card exceeds the limits of the options, or if it returns as much as [was
    /// requested](AnswerProblem::PossiblyIncomplete) but that was less than the command expects.
    pub fn answered(mut self, answer: &[u8]) -> Result<Next<'c>, ExchangeError> {
        let (data, status) = split(answer).map_err(|problem| self.problem(problem))?;
        self.answered = self.answered.saturating_add(1);
        if let Step::Part { number, total } = self.step {
            if number < total {
                let number = number + 1;
                return match self.way.goes_on_after(status) {
                    true => Ok(self.go_on(Step::Part { number, total })),
                    false => self.done(data, status),
                };
            }
        }
        if let Some((asked, available)) = self.correction(status) {
            self.one_more_round()?;
            self.expected = Some(asked);
            self.wanted = available;
            self.corrected = true;
            if std::mem::take(&mut self.is_guess) {
                self.fetch.1 = status;
            }
            let step = self.step;
            return Ok(self.go_on(step));
        }
        if let Some((header, le)) = self.rule.announced(data, status) {
            self.take(data)?;
            self.is_guess = false;
            if self.rule.keeps(status) {
                self.kept.get_or_insert((status, self.step));
            }
            // 00 says that there is at least as much.
            let lacking = match (status.sw2(), self.whole.expected()) {
                (0, Expected::Exactly(expected)) => expected.saturating_sub(len(&self.data)),
                _ => 0,
            };
            return self.fetch(header, status, le.max(lacking));
        }
        match self.step {
            Step::GetResponse { .. } => self.fetched(data, status),
            Step::Command | Step::Part { .. } => {
                let may_hold_back = self.may_hold_back && self.has_round_left();
                if may_hold_back && data.is_empty() && status.is_warning() {
                    self.is_guess = true;
                    self.kept = Some((status, self.step));
                    let possible = self.whole.expected().number(false);
                    let header = self.rule.get_response();
                    let wanted = wanted(self.whole, possible);
                    return self.fetch(header, status, wanted);
                }
                self.done(data, status)
            }
        }
    }

    /// Returns the Le with which to repeat the command, and the length that the card has.
    fn correction(&self, status: StatusWord) -> Option<(u32, u32)> {
        let available = status.correct_le()?;
        let asked = available.min(self.options.max_answer);
        let is_other = self.expected.is_some_and(|refused| refused != asked);
        let is_repeatable = match self.step {
            Step::Command => !self.whole.header().presents_pin(),
            Step::Part { .. } => false,
            Step::GetResponse { .. } => true,
        };
        (is_repeatable && !self.corrected && is_other).then_some((asked, available))
    }

    /// Handles fetched data, or a refusal.
    fn fetched(mut self, data: &[u8], status: StatusWord) -> Result<Next<'c>, ExchangeError> {
        let is_frame = self.is_frame();
        // A length was announced, and nothing came.
        let is_missing = data.is_empty() && !is_frame && !self.is_guess;
        let is_refusal = match status.class() {
            StatusClass::ExecutionError | StatusClass::CheckingError => true,
            // DESFire reports the result of the command in the last frame.
            StatusClass::Other => data.is_empty() && !is_frame,
            StatusClass::Success | StatusClass::Warning => is_missing,
        };
        if !is_refusal {
            return self.done(data, status);
        }
        let second = match is_frame || self.is_guess && !self.has_round_left() {
            true => None,
            false => self.rule.second(status),
        };
        if let Some(header) = second {
            self.one_more_round()?;
            self.fetch.0 = header;
            let step = self.step;
            return Ok(self.go_on(step));
        }
        match self.kept {
            // 6CXX says that there is data.
            Some((warning, _)) if self.is_guess && status.correct_le().is_none() => {
                self.done(&[], warning)
            }
            _ => Err(self.problem(AnswerProblem::RestRefused {
                announced: self.fetch.1,
                refused: status,
            })),
        }
    }

    /// Returns whether the current command fetches a DESFire frame.
    fn is_frame(&self) -> bool {
        self.fetch.0 != self.rule.get_response()
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
        self.expected = Some(match self.is_frame() {
            true => possible,
            false => possible.min(self.options.max_answer),
        });
        self.wanted = wanted;
        self.corrected = false;
        Ok(self.go_on(Step::GetResponse { number }))
    }

    /// Ends the exchange because the command could not be sent or was not answered.
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
        let before = len(&self.data);
        self.take(data)?;
        // The last command asked for less than there may be, and received that.
        let is_last_frame = self.rule.is_last_frame(status);
        let requested_len = self
            .expected
            .filter(|asked| !is_last_frame && (*asked..self.wanted).contains(&len(data)))
            .map(|asked| before.saturating_add(asked));
        if let (Some(requested), Expected::Exactly(expected), false) = (
            requested_len,
            self.whole.expected(),
            self.options.allow_incomplete,
        ) {
            if len(&self.data) < expected {
                return Err(self.problem(AnswerProblem::PossiblyIncomplete {
                    requested,
                    expected,
                }));
            }
        }
        let (status, step) = self.kept.unwrap_or((status, self.step));
        Ok(Next::Done(Response {
            data: std::mem::take(&mut *self.data),
            status,
            command: Some(self.whole.header()),
            step,
            requested_len,
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
            // Growing in place would leave a copy behind that is never overwritten.
            let capacity = len.max(self.data.capacity().saturating_mul(2));
            let mut grown = Zeroizing::new(Vec::with_capacity(capacity));
            grown.extend_from_slice(&self.data);
            self.data = grown;
        }
        self.data.extend_from_slice(data);
        Ok(())
    }

    fn has_round_left(&self) -> bool {
        self.rounds < self.options.rounds_after(self.data.len())
    }

    fn one_more_round(&mut self) -> Result<(), ExchangeError> {
        if !self.has_round_left() {
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

    /// Encodes the command of this step.
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

fn len(data: &[u8]) -> u32 {
    u32::try_from(data.len()).unwrap_or(u32::MAX)
}

/// The maximum length of response data that fits the buffer together with the status word.
const MAX_RECEIVED: u32 = match MAX_ANSWER_LEN - size_of::<StatusWord>() {
    room if room < EXTENDED_EXPECTED as usize => room as u32,
    _ => EXTENDED_EXPECTED,
};

/// Returns how much to ask for: no more than there is room for, because an answer that does not fit
/// is lost although its command has run.
///
/// But all remains all, which is not a number: at the end of a file, READ BINARY with a number
/// answers with a warning (6282), and without one does not.
fn asked(expected: Expected, possible: Option<u32>) -> Option<u32> {
    match expected {
        Expected::Exactly(_) => possible.map(|possible| possible.min(MAX_RECEIVED)),
        Expected::None | Expected::All => possible,
    }
}

/// Returns the length that a command asks for, with lengths that can express `possible`.
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
