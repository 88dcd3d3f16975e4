//! Errors of commands, answers and exchanges.

use std::fmt;

use super::header::Header;
use super::status_family::StatusFamily;
use super::status_word::StatusWord;
use crate::codes::{ReturnCode, debug_as_line};
use crate::error::{Error, ErrorKind, HandleError, Recovery, chain, write_layer};

/// The reason why bytes or values are not a valid command.
#[derive(Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCommand {
    /// Fewer than four bytes.
    #[error("a command has at least four bytes, this one has {len}")]
    NoHeader {
        /// The number of bytes.
        len: usize,
    },
    /// Class FF.
    #[error("class FF is invalid for a card; use Command::pseudo for commands to the reader")]
    Class,
    /// More data than an extended length can express.
    #[error("{len} bytes of data are too many; the maximum is 65535")]
    DataTooLong {
        /// The number of bytes.
        len: usize,
    },
    /// More than an extended length can ask for.
    #[error("a command cannot ask for {len} bytes; the maximum is 65536")]
    ExpectedTooLong {
        /// The requested number of bytes.
        len: u32,
    },
    /// Too long for short lengths, which were requested.
    #[error(
        "{len} bytes of data and {expected} expected do not fit a short command; \
         the limits are 255 and 256"
    )]
    NotShort {
        /// The number of bytes of data.
        len: usize,
        /// The expected number of bytes.
        expected: u32,
    },
    /// Six bytes with 00 as the fifth: an extended length has two more.
    #[error("the extended length is truncated after its first byte")]
    TruncatedLength,
    /// An extended length of zero, followed by more bytes.
    #[error("the extended length is zero, but data follows")]
    NoData,
    /// The bytes after the length are neither the data nor the data and Le.
    #[error("the length field says {declared} bytes of data, but {present} follow")]
    WrongLength {
        /// The value of Lc.
        declared: usize,
        /// The number of bytes after it.
        present: usize,
    },
    /// A logical channel that the class cannot express.
    #[error("class {class:02X} cannot be moved to logical channel {channel}")]
    Channel {
        /// The class.
        class: u8,
        /// The channel.
        channel: u8,
    },
}

debug_as_line!(InvalidCommand);

/// A step of an [exchange](crate::Card::exchange).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// The command as a whole.
    Command,
    /// A part of a chained command.
    Part {
        /// Its number, from 1.
        number: u32,
        /// The number of parts.
        total: u32,
    },
    /// A GET RESPONSE, or the equivalent of the [`Continuation`](super::Continuation).
    GetResponse {
        /// Its number, from 1.
        number: u32,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Command => f.write_str("the command"),
            Step::Part { number, total } => write!(f, "part {number} of {total}"),
            Step::GetResponse { number } => write!(f, "GET RESPONSE {number}"),
        }
    }
}

/// Prints the command, and the step unless it is the command as a whole.
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
#[derive(Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{}{}: {}", Where(*.command, *.step), self.what(), self.status.display_in(self.family()))]
pub struct StatusError {
    pub(super) command: Option<Header>,
    pub(super) step: Step,
    pub(super) status: StatusWord,
}

debug_as_line!(StatusError);

impl StatusError {
    /// Returns the family that defines the status word, according to the command's class. `Display`
    /// uses it.
    pub fn family(&self) -> StatusFamily {
        StatusFamily::of(self.command)
    }

    /// Returns what happened to the command, which can be refused although the status word is a
    /// success.
    fn what(&self) -> &'static str {
        if !self
            .status
            .description_in(self.family())
            .starts_with("success")
        {
            return " failed";
        }
        match self.step {
            Step::Part { number, total } if number < total => " ended the command early",
            _ => " returned an answer that was not accepted",
        }
    }

    /// Returns the command; `None` if the response does not come from an
    /// [exchange](crate::Card::exchange).
    pub fn command(&self) -> Option<Header> {
        self.command
    }

    /// Returns the step of the exchange that the status word came from. If it is not the last step,
    /// the card ended the exchange early.
    pub fn step(&self) -> Step {
        self.step
    }

    /// The status word.
    pub fn status(&self) -> StatusWord {
        self.status
    }
}

impl StatusWord {
    /// Returns the status word behind any error: that of the first [`StatusError`] or
    /// [`ExchangeError`] with a status word in its chain of sources. [`Error::find`] does the same
    /// for failed calls.
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

/// The problem with an answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerProblem {
    /// The answer has fewer than two bytes.
    #[error("the answer has {len} bytes and no status word")]
    NoStatusWord {
        /// The number of bytes.
        len: usize,
    },
    /// The card keeps asking for further commands.
    #[error("the card asked for more than {max} further commands with too little data")]
    TooManyRounds {
        /// [`ExchangeOptions::max_rounds`](super::ExchangeOptions::max_rounds).
        max: u32,
    },
    /// The card keeps returning more data.
    #[error("the answer is longer than {max} bytes")]
    TooMuchData {
        /// [`ExchangeOptions::max_size`](super::ExchangeOptions::max_size).
        max: usize,
    },
    /// The card announced the rest of an answer but refused to return it: the data is lost. The
    /// status word is that of GET RESPONSE or its equivalent, not of the command, which has run.
    /// [`ExchangeOptions::continuation`](super::ExchangeOptions::continuation) sets other ways to
    /// ask.
    #[error(
        "the card announced the rest of the answer ({announced:04X}) and did not return it: {refused}"
    )]
    RestRefused {
        /// The status word that announced the rest.
        announced: StatusWord,
        /// The status word that refused it, or came without data.
        refused: StatusWord,
    },
    /// The command expects more than could be requested, and the card returned as much as was
    /// requested: there may be more. [`ExchangeOptions::extended_length`] requests all of it, a
    /// larger [`ExchangeOptions::max_answer_data`] requests more, and
    /// [`ExchangeOptions::allow_incomplete`] accepts the incomplete answer. Windows has
    /// [room](crate::Card::MAX_ANSWER_LEN) for 65,533 bytes: read more in parts.
    ///
    /// [`ExchangeOptions::extended_length`]: super::ExchangeOptions::extended_length
    /// [`ExchangeOptions::max_answer_data`]: super::ExchangeOptions::max_answer_data
    /// [`ExchangeOptions::allow_incomplete`]: super::ExchangeOptions::allow_incomplete
    #[error(
        "{expected} bytes were expected, only {requested} could be requested, and there may be more: \
         see ExchangeOptions::extended_length, max_answer_data and allow_incomplete"
    )]
    PossiblyIncomplete {
        /// The total number of bytes requested.
        requested: u32,
        /// The number of bytes that the command expects.
        expected: u32,
    },
    /// The card opened a logical channel but did not return its number.
    #[error("the answer is not a logical channel from 1 to 19")]
    NoChannel,
}

debug_as_line!(AnswerProblem);

/// Why a command is too long to be sent to the card.
#[derive(Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum TooLong {
    /// Extended length and chaining were ruled out or are not known to be possible.
    #[error(
        "neither extended length nor chaining is known to be possible; \
         ExchangeOptions::extended_length and chaining say that it is"
    )]
    NoWay,
    /// The same over T=0, which itself has no extended length.
    #[error(
        "chaining is not known to be possible, and T=0 has no extended length; \
         ExchangeOptions::chaining and envelope say that the card takes it"
    )]
    NoWayOverT0,
    /// The class has no chaining, and extended length was ruled out or is not known to be possible.
    #[error(
        "extended length is not known to be possible, and the class has no chaining; \
         ExchangeOptions::extended_length says that it is"
    )]
    NoChaining,
    /// The same over T=0, which itself has no extended length.
    #[error(
        "the class has no chaining, and T=0 has no extended length; \
         ExchangeOptions::envelope says that the card takes it in ENVELOPEs"
    )]
    NoChainingOverT0,
}

debug_as_line!(TooLong);

/// An error of an [exchange](crate::Card::exchange), or anything else that can go wrong with a
/// command, so that one function can use `?` throughout.
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
/// See [how to print it](Error#errors-that-wrap-this-one): the source is a failed call; everything
/// else is in `Display`.
#[derive(Clone, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeError {
    /// The command is invalid. Nothing was sent.
    #[error(transparent)]
    Invalid(#[from] InvalidCommand),
    /// The command is too long for this card and reader, as far as known. Nothing was sent.
    /// [`ExchangeOptions`](super::ExchangeOptions) can provide more information.
    #[error("command {command} with {len} bytes of data: {reason}")]
    #[non_exhaustive]
    TooLong {
        /// The command.
        command: Header,
        /// The length of its body.
        len: usize,
        /// Why.
        reason: TooLong,
    },
    /// A card could not distinguish the instruction from a T=0 procedure byte. Nothing was sent.
    /// [`ExchangeOptions::any_instruction`](super::ExchangeOptions::any_instruction) allows it,
    /// and so does [`ignore_t0`](super::ExchangeOptions::ignore_t0) if T=0 is not the link to the card.
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
        /// The failure.
        #[source]
        error: Error,
        /// The command; `None` outside of an exchange.
        command: Option<Header>,
        /// The step that failed.
        step: Step,
        /// The number of commands of the exchange that were answered before.
        answered: u32,
    },
    /// The card's answer is not a valid response.
    #[error("{} failed: {problem}", Where(Some(*.command), *.step))]
    #[non_exhaustive]
    Answer {
        /// The problem.
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

debug_as_line!(ExchangeError);

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
        None => write_layer(f, format_args!("the exchange failed"), Some(error)),
    }
}

impl ExchangeError {
    /// Returns the error of the failed PC/SC call, if there is one.
    pub fn error(&self) -> Option<&Error> {
        match self {
            ExchangeError::Card { error, .. } => Some(error),
            _ => None,
        }
    }

    /// Returns [`Error::code`] if a call failed.
    pub fn code(&self) -> Option<ReturnCode> {
        self.error().map(Error::code)
    }

    /// Returns [`Error::kind`] if a call failed.
    pub fn kind(&self) -> Option<ErrorKind> {
        self.error().map(Error::kind)
    }

    /// Returns the remedy. [`Recovery::None`] after an answer of the card: only the application
    /// knows what to do about a [status word](ExchangeError::status).
    pub fn recovery(&self) -> Recovery {
        match self {
            ExchangeError::Card { error, .. } => error.recovery(),
            ExchangeError::Invalid(_)
            | ExchangeError::TooLong { .. }
            | ExchangeError::Instruction { .. } => Recovery::FixCall,
            ExchangeError::Answer { .. } | ExchangeError::Status(_) => Recovery::None,
        }
    }

    /// Returns the status word, if that was not accepted.
    pub fn status(&self) -> Option<StatusWord> {
        match self {
            ExchangeError::Status(error) => Some(error.status),
            _ => None,
        }
    }

    /// Returns whether the command, or a part of it, may have reached the card. `false` is certain:
    /// the command can be sent again.
    ///
    /// Even if the failed step did not reach the card, earlier steps did.
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
    /// Converts the error of a call outside an exchange.
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
