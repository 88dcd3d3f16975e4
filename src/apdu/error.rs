//! What can be wrong with a command, an answer, and the way between.

use std::fmt;

use super::header::Header;
use super::status_family::StatusFamily;
use super::status_word::StatusWord;
use crate::codes::ReturnCode;
use crate::error::{Error, ErrorKind, HandleError, Recovery, chain, write_layer};

/// Why bytes or values are no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCommand {
    /// Fewer than four bytes.
    #[error("a command has at least four bytes, this one {len}")]
    NoHeader {
        /// How many it has.
        len: usize,
    },
    /// Class FF.
    #[error("class FF is invalid for a card; PC/SC's commands for the reader are made as such")]
    Class,
    /// More data than an extended length can say.
    #[error("{len} bytes of data are too many, 65535 is the most")]
    DataTooLong {
        /// How many there are.
        len: usize,
    },
    /// More than an extended length can ask for.
    #[error("an answer of {len} bytes cannot be asked for, 65536 is the most")]
    ExpectedTooLong {
        /// How many were asked for.
        len: u32,
    },
    /// Too long for short lengths, which were asked for.
    #[error(
        "{len} bytes of data and {expected} expected do not fit a short command: 255 and 256 do"
    )]
    NotShort {
        /// How many bytes of data there are.
        len: usize,
        /// How many are expected.
        expected: u32,
    },
    /// Six bytes with 00 as the fifth: an extended length has two more.
    #[error("the extended length is cut off after its first byte")]
    HalfALength,
    /// An extended length of zero with something after it.
    #[error("the extended length says that there are no data, but more follows")]
    NoData,
    /// The bytes after the length are neither the data nor the data and Le.
    #[error("the length says {declared} bytes of data, and {present} bytes follow")]
    WrongLength {
        /// What Lc says.
        declared: usize,
        /// What comes after it.
        present: usize,
    },
    /// A logical channel that the class cannot say.
    #[error("class {class:02X} cannot be moved to logical channel {channel}")]
    Channel {
        /// The class.
        class: u8,
        /// The channel.
        channel: u8,
    },
}

/// Where in an [exchange](crate::Card::exchange) something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// The command as a whole.
    Command,
    /// A part of a command that was chained.
    Part {
        /// Which one, from 1.
        number: u32,
        /// How many there are.
        of: u32,
    },
    /// A GET RESPONSE, or what the [`Continuation`](super::Continuation) has instead.
    GetResponse {
        /// Which one, from 1.
        number: u32,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Command => f.write_str("the command"),
            Step::Part { number, of } => write!(f, "part {number} of {of}"),
            Step::GetResponse { number } => write!(f, "GET RESPONSE {number}"),
        }
    }
}

/// The command, and the step if it is not the command as a whole.
struct Where(Option<Header>, Step);

impl fmt::Display for Where {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(command) => write!(f, "command {command}")?,
            None => f.write_str("the command")?,
        }
        match self.1 {
            Step::Command => Ok(()),
            step => write!(f, ", {step}"),
        }
    }
}

/// A status word that was not accepted.
///
/// ```text
/// command 00 A4 04 00 failed: file or application not found (6A82)
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{}{}: {}", Where(*.command, *.step), self.what(), self.status.display_in(self.family()))]
pub struct StatusError {
    pub(super) command: Option<Header>,
    pub(super) step: Step,
    pub(super) status: StatusWord,
}

impl StatusError {
    /// Whose meaning the status word has, as far as the command's class tells: what `Display` goes
    /// by.
    pub fn family(&self) -> StatusFamily {
        StatusFamily::of(self.command)
    }

    /// What became of the command: it can be refused although the status word is a success.
    fn what(&self) -> &'static str {
        if !self
            .status
            .description_in(self.family())
            .starts_with("success")
        {
            return " failed";
        }
        match self.step {
            Step::Part { number, of } if number < of => " ended the command early",
            _ => " gave an answer that was not accepted",
        }
    }

    /// The command; `None` if the response was not got by an
    /// [exchange](crate::Card::exchange).
    pub fn command(&self) -> Option<Header> {
        self.command
    }

    /// Which step of the exchange the status word came from. If it is not the last one, the
    /// card ended the exchange early.
    pub fn step(&self) -> Step {
        self.step
    }

    /// The status word.
    pub fn status(&self) -> StatusWord {
        self.status
    }
}

impl StatusWord {
    /// The status word behind any error: the first [`StatusError`] or [`ExchangeError`] in its
    /// chain of causes that was made of one. [`Error::find`] does the same for failed calls.
    ///
    /// ```
    /// use scard::StatusWord;
    ///
    /// fn is_not_found(error: &(dyn std::error::Error + 'static)) -> bool {
    ///     StatusWord::find(error) == Some(StatusWord::FILE_NOT_FOUND)
    /// }
    /// # assert!(!is_not_found(&std::fmt::Error));
    /// ```
    pub fn find(error: &(dyn std::error::Error + 'static)) -> Option<StatusWord> {
        chain(error).find_map(|error| {
            let status = error.downcast_ref::<StatusError>().map(StatusError::status);
            let exchange = error.downcast_ref::<ExchangeError>();
            status.or_else(|| exchange.and_then(ExchangeError::status))
        })
    }
}

/// What is wrong with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerProblem {
    /// It has fewer than two bytes.
    #[error("the answer has {len} bytes and no status word")]
    NoStatusWord {
        /// How many it has.
        len: usize,
    },
    /// The card wants to be asked again and again.
    #[error("the card wanted more than {max} further commands")]
    TooManyRounds {
        /// [`ExchangeOptions::max_rounds`](super::ExchangeOptions::max_rounds).
        max: u32,
    },
    /// The card gives more and more.
    #[error("the answer is longer than {max} bytes")]
    TooMuchData {
        /// [`ExchangeOptions::max_size`](super::ExchangeOptions::max_size).
        max: usize,
    },
    /// The card announced the rest of an answer, and refuses to give it: the data are lost. The
    /// status word is that of GET RESPONSE or its like, not the command's own, which has run.
    /// [`ExchangeOptions::continuation`](super::ExchangeOptions::continuation) knows other ways to
    /// ask.
    #[error(
        "the card announced the rest of the answer ({announced:04X}) and refused it: {refused}"
    )]
    RestRefused {
        /// The status word that announced it.
        announced: StatusWord,
        /// The status word that refused it.
        refused: StatusWord,
    },
    /// The command expects more than could be asked for, and the card gave as much as it was asked
    /// for: there may be more. [`ExchangeOptions::extended_length`] asks for all of it, a greater
    /// [`ExchangeOptions::max_answer_data`] for more, and [`ExchangeOptions::allow_less`] returns
    /// what there is. On Windows there is [room](crate::Card::MAX_ANSWER_LEN) for 65,533 bytes: read
    /// what is longer in parts.
    ///
    /// [`ExchangeOptions::extended_length`]: super::ExchangeOptions::extended_length
    /// [`ExchangeOptions::max_answer_data`]: super::ExchangeOptions::max_answer_data
    /// [`ExchangeOptions::allow_less`]: super::ExchangeOptions::allow_less
    #[error(
        "{expected} bytes were expected, only {asked} could be asked for, and there may be more: \
         see ExchangeOptions::extended_length, max_answer_data and allow_less"
    )]
    AskedForLess {
        /// How much was asked for in all.
        asked: u32,
        /// How much the command expects.
        expected: u32,
    },
    /// The card opened a logical channel and did not say which.
    #[error("the answer does not say a logical channel from 1 to 19")]
    NoChannel,
}

/// Why a command is too long for the way to the card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum TooLong {
    /// Extended length and chaining were ruled out, or are not known to be possible.
    #[error(
        "neither extended length nor chaining is known to be possible; \
         ExchangeOptions::extended_length and chaining say that it is"
    )]
    NoWay,
    /// The same over T=0, which has no extended length of its own.
    #[error(
        "chaining is not known to be possible, and T=0 has no extended length; \
         ExchangeOptions::chaining and envelope say that the card takes it"
    )]
    NoWayOverT0,
    /// Chaining would be possible, but not with this class.
    #[error(
        "extended length is not known to be possible, and the class has no chaining; \
         ExchangeOptions::extended_length says that it is"
    )]
    NoChaining,
}

/// Why an [exchange](crate::Card::exchange) failed, and everything else that can go wrong with
/// a command, so that one function can use `?` on all of it.
///
/// ```no_run
/// use scard::Card;
/// use scard::apdu::{Command, ExchangeError};
///
/// fn read(card: &mut Card) -> Result<Vec<u8>, ExchangeError> {
///     let mut transaction = card.transaction()?;
///     let select = Command::select(b"\xA0\x00\x00\x03\x08")?;
///     transaction.exchange(&select)?.ok()?;
///     let read = Command::new(0x00, 0xB0, 0x00, 0x00)?.expecting_all();
///     Ok(transaction.exchange(&read)?.ok()?)
/// }
/// ```
///
/// See [how to print it](Error#errors-around-this-one): a call that failed is its source, and
/// everything else is in its `Display`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeError {
    /// There is no such command. Nothing was sent.
    #[error(transparent)]
    Invalid(#[from] InvalidCommand),
    /// The command does not get to this card through this reader as far as is known. Nothing
    /// was sent. [`ExchangeOptions`](super::ExchangeOptions) can say more.
    #[error("command {command} with {len} bytes of data: {why}")]
    #[non_exhaustive]
    TooLong {
        /// The command.
        command: Header,
        /// The length of its body.
        len: usize,
        /// Why.
        why: TooLong,
    },
    /// An instruction that a card could not tell from a procedure byte of T=0. Nothing was sent.
    /// [`ExchangeOptions::any_instruction`](super::ExchangeOptions::any_instruction) sends it.
    #[error(
        "command {command}: over T=0, instructions 6X and 9X are taken for procedure bytes; \
         ExchangeOptions::any_instruction sends them anyway"
    )]
    #[non_exhaustive]
    Instruction {
        /// The command.
        command: Header,
    },
    /// A PC/SC call failed.
    #[error(fmt = call_failed)]
    #[non_exhaustive]
    Card {
        /// How.
        #[source]
        error: Error,
        /// The command; `None` outside of an exchange.
        command: Option<Header>,
        /// The step that failed.
        step: Step,
        /// How many commands of the exchange had been answered before.
        answered: u32,
    },
    /// The card's answer is not a valid response.
    #[error("{} failed: {problem}", Where(Some(*.command), *.step))]
    #[non_exhaustive]
    Answer {
        /// What is wrong with it.
        problem: AnswerProblem,
        /// The command.
        command: Header,
        /// The step that was answered.
        step: Step,
    },
    /// The status word was not accepted.
    #[error(transparent)]
    Status(#[from] StatusError),
}

fn call_failed(
    error: &Error,
    command: &Option<Header>,
    step: &Step,
    _answered: &u32,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    match command {
        Some(_) => write_layer(
            f,
            format_args!("{} failed", Where(*command, *step)),
            Some(error),
        ),
        None => write_layer(
            f,
            format_args!("a call around the exchange failed"),
            Some(error),
        ),
    }
}

impl ExchangeError {
    /// The PC/SC call that failed, if that is what happened.
    pub fn error(&self) -> Option<&Error> {
        match self {
            ExchangeError::Card { error, .. } => Some(error),
            _ => None,
        }
    }

    /// [`Error::code`], if a call failed.
    pub fn code(&self) -> Option<ReturnCode> {
        self.error().map(Error::code)
    }

    /// [`Error::kind`], if a call failed.
    pub fn kind(&self) -> Option<ErrorKind> {
        self.error().map(Error::kind)
    }

    /// What helps. [`Recovery::None`] after an answer of the card: what to do about a
    /// [status word](ExchangeError::status), the application knows.
    pub fn recovery(&self) -> Recovery {
        match self {
            ExchangeError::Card { error, .. } => error.recovery(),
            ExchangeError::Invalid(_)
            | ExchangeError::TooLong { .. }
            | ExchangeError::Instruction { .. } => Recovery::FixCall,
            ExchangeError::Answer { .. } | ExchangeError::Status(_) => Recovery::None,
        }
    }

    /// The status word, if it is what was not accepted.
    pub fn status(&self) -> Option<StatusWord> {
        match self {
            ExchangeError::Status(error) => Some(error.status),
            _ => None,
        }
    }

    /// Whether the command, or a part of it, may have reached the card. `false` is certain;
    /// then it can be sent again.
    ///
    /// Even if the step that failed did not get there, those before it did.
    pub fn command_may_have_run(&self) -> bool {
        match self {
            ExchangeError::Invalid(_)
            | ExchangeError::TooLong { .. }
            | ExchangeError::Instruction { .. } => false,
            ExchangeError::Card {
                error, answered, ..
            } => *answered > 0 || error.command_may_have_run(),
            ExchangeError::Answer { .. } | ExchangeError::Status(_) => true,
        }
    }
}

impl From<Error> for ExchangeError {
    /// Of a call outside of an exchange.
    fn from(error: Error) -> ExchangeError {
        ExchangeError::Card {
            error,
            command: None,
            step: Step::Command,
            answered: 0,
        }
    }
}

impl<H> From<HandleError<H>> for ExchangeError {
    fn from(error: HandleError<H>) -> ExchangeError {
        Error::from(error).into()
    }
}
