//! Errors: the failed call, the reader, the exact code, its meaning and the recovery.

mod advice;
mod chain;
mod classify;
mod handle;
mod io;
mod kind;
mod operation;
#[cfg(feature = "pcsc-2")]
mod pcsc_crate;
mod refusal;
mod seen;
#[cfg(feature = "serde")]
mod stored;
#[cfg(test)]
mod tables;
mod translate;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::codes::{Platform, ReturnCode};
use crate::service::{Failure, Obstacle, Ours, ProtocolVersion};
use crate::values::{Initialization, ReaderName};

pub use chain::BoxError;
pub(crate) use chain::{chain, write_layer};
pub use handle::HandleError;
pub use kind::{CardCondition, ErrorKind, Recovery};
pub use operation::Operation;
pub(crate) use refusal::Refusal;
use seen::{InReaders, Quoted};
pub use seen::{Seen, SeenReader};

/// The source of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// The PC/SC service, its client library or the driver returned the code.
    Service,
    /// This library refused the call because it could not succeed, or gave it up at its deadline.
    ///
    /// The code is the nearest one in PC/SC.
    Library,
}

kind::phrases! {
    Origin:
    Service = "PC/SC",
    Library = "this library",
}

/// A failed PC/SC call.
///
/// [`Display`](fmt::Display) prints a complete report in one line:
///
/// ```text
/// SCardTransmit on "ACR122U 00" failed: the card was reset (SCARD_W_RESET_CARD, 0x80100068)
/// ```
///
/// Programs branch on [`kind`](Error::kind), which is the same for all codes with the same meaning,
/// or act on [`recovery`](Error::recovery):
///
/// ```no_run
/// # fn demo(mut card: scard::Card) -> scard::Result<()> {
/// use scard::{ErrorKind, Initialization, Protocols, ShareMode};
///
/// # let command = [0x00, 0x84, 0x00, 0x00, 0x08];
/// match card.transmit(&command) {
///     Ok(answer) => println!("{answer:02X?}"),
///     Err(error) => match error.kind() {
///         ErrorKind::CardReset => {
///             card.reconnect(ShareMode::Shared, Protocols::ANY, Initialization::Leave)?;
///         }
///         ErrorKind::CardRemoved | ErrorKind::ReaderGone => println!("put it back"),
///         _ => return Err(error),
///     },
/// }
/// # Ok(())
/// # }
/// ```
///
/// It is one word in size, `Send`, `Sync` and `'static`.
///
/// # Errors that wrap this one
///
/// [`ExchangeError`](crate::apdu::ExchangeError),
/// [`AttributeError`](crate::attributes::AttributeError),
/// [`ContactlessError`](crate::contactless::ContactlessError), [`HandleError`] and
/// [`SessionError`](crate::SessionError) cover more than one call. If a failed call is the cause,
/// it is their [`source`](std::error::Error::source), and they print only what they add to it:
///
/// - `{error}`: the attempted operation, `command 00 A4 04 00 failed`;
/// - `{error:#}`, and `{error:?}`, which `main` prints: with its causes, in one line, `command 00 A4
///   04 00 failed: SCardTransmit on "ACR122U 00" failed: the card was reset (SCARD_W_RESET_CARD,
///   0x80100068)`.
///
/// Print them with `{error:#}`, unless something else walks the chain, as `anyhow`, `eyre` and most
/// error loggers do. The chain contains no repetitions. Causes other than a failed call, such as a
/// rejected status word, are part of `{error}`.
///
/// Each of them has `error()`, `code()`, `kind()` and `recovery()` of the failed call.
/// [`Error::find`] finds the call behind errors of any other type.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Error(Box<Inner>);

/// The result of a PC/SC call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Clone, PartialEq, Eq, Hash)]
struct Inner {
    operation: Operation,
    code: ReturnCode,
    reader: Option<ReaderName>,
    refusal: Option<Refusal>,
    needed_len: Option<usize>,
    /// The protocol version of a daemon that speaks an unsupported one.
    spoken: Option<ProtocolVersion>,
    /// Why no context could be established, if the daemon could not be reached.
    obstacle: Option<Obstacle>,
    /// The daemon's socket, if the error is about it.
    socket: Option<Arc<Path>>,
    /// The call by which the code is interpreted: the one that failed, except after
    /// [`Error::of_refused_parameters`].
    meant_as: Operation,
    /// The initialization that a failed reconnect requested.
    initialization: Option<Initialization>,
    /// Whether the card was reset before the call that failed.
    was_reset: bool,
    /// The readers seen by a wait that ended without success.
    seen: Vec<SeenReader>,
}

impl Error {
    #[cold]
    pub(crate) fn new(operation: Operation, failure: impl Into<Failure>) -> Error {
        let failure = failure.into();
        let (refusal, spoken) = match failure.ours {
            None => (None, None),
            Some(Ours::KeptOut) => (Some(Refusal::KEPT_OUT), None),
            Some(Ours::Contradictory) => (Some(Refusal::CONTRADICTORY), None),
            Some(Ours::OtherProtocol(spoken)) => (Some(Refusal::OTHER_PROTOCOL), Some(spoken)),
        };
        Error(Box::new(Inner {
            operation,
            code: failure.code,
            reader: None,
            refusal,
            needed_len: failure.needed_len,
            spoken,
            obstacle: match operation {
                Operation::EstablishContext => failure.obstacle,
                _ => None,
            },
            socket: None,
            meant_as: operation,
            initialization: None,
            was_reset: false,
            seen: Vec::new(),
        }))
    }

    #[cold]
    pub(crate) fn on_reader(
        operation: Operation,
        failure: impl Into<Failure>,
        reader: &ReaderName,
    ) -> Error {
        Error::new(operation, failure).with_reader(reader)
    }

    /// Creates an error for a call not made through PC/SC.
    ///
    /// For implementations of [`Transmit`](crate::Transmit) and [`Control`](crate::Control).
    ///
    /// The kind, the recovery, and whether the command may have run follow from the operation and
    /// the code, as for errors from the service.
    ///
    /// ```
    /// use scard::{Error, ErrorKind, Operation, ReaderName, ReturnCode};
    ///
    /// let name = ReaderName::new("Remote reader")?;
    /// let error = Error::from_code(Operation::Transmit, ReturnCode::W_REMOVED_CARD, &name);
    /// assert_eq!(error.kind(), ErrorKind::CardRemoved);
    /// # Ok::<(), scard::InvalidReaderName>(())
    /// ```
    pub fn from_code(operation: Operation, code: ReturnCode, reader_name: &ReaderName) -> Error {
        Error::on_reader(operation, code, reader_name)
    }

    #[cold]
    pub(crate) fn refused(operation: Operation, reader: &ReaderName, refusal: Refusal) -> Error {
        Error::given_up(operation, refusal).with_reader(reader)
    }

    /// A refused call that is not about a reader.
    #[cold]
    pub(crate) fn given_up(operation: Operation, refusal: Refusal) -> Error {
        let mut error = Error::new(operation, refusal.code);
        error.0.refusal = Some(refusal);
        error
    }

    pub(crate) fn with_reader(mut self, reader: &ReaderName) -> Error {
        self.0.reader = Some(reader.clone());
        self
    }

    /// Adds why the service could not be reached meanwhile.
    pub(crate) fn because_of(mut self, lost: &Error) -> Error {
        self.0.obstacle = lost.0.obstacle;
        self.0.socket.clone_from(&lost.0.socket);
        self
    }

    pub(crate) fn at_socket(mut self, socket: Option<Arc<Path>>) -> Error {
        self.0.socket = socket;
        self
    }

    pub(crate) fn of_reconnect(mut self, initialization: Initialization) -> Error {
        self.0.initialization = Some(initialization);
        self
    }

    /// A reconnect that failed after the card was reset.
    pub(crate) fn after_reset(mut self) -> Error {
        self.0.was_reset = true;
        self
    }

    /// A reconnect that failed although the card answers. The code is interpreted as that of a
    /// connect, which fails with it for the same reason.
    pub(crate) fn of_refused_parameters(mut self) -> Error {
        self.0.meant_as = Operation::Connect;
        self
    }

    /// Whether the service thus reports that there is no reader: on Windows it does not run then.
    pub(crate) fn means_no_reader(&self) -> bool {
        classify::means_no_reader(Platform::CURRENT, self.operation(), self.code())
    }

    /// Whether the card answers, but refused the protocol parameters.
    pub(crate) fn is_refusal_of_parameters(&self) -> bool {
        self.kind() == ErrorKind::CardUnsupported && self.code() == ReturnCode::W_UNRESPONSIVE_CARD
    }

    /// Adds what was seen in each reader.
    pub(crate) fn with_seen(mut self, seen: Vec<SeenReader>) -> Error {
        self.0.seen = seen;
        self
    }

    /// Returns the call that failed.
    pub fn operation(&self) -> Operation {
        self.0.operation
    }

    /// Returns the exact code.
    pub fn code(&self) -> ReturnCode {
        self.0.code
    }

    /// Returns the name of the reader, if the call was about one.
    pub fn reader_name(&self) -> Option<&ReaderName> {
        self.0.reader.as_ref()
    }

    /// Returns the kind of error, the same for all codes with the same meaning.
    pub fn kind(&self) -> ErrorKind {
        self.meaning().0
    }

    fn meaning(&self) -> (ErrorKind, Recovery) {
        let Inner { meant_as, code, .. } = *self.0;
        match (self.0.refusal, self.0.obstacle) {
            (Some(refusal), _) => (refusal.kind, refusal.recovery),
            (None, Some(obstacle)) => classify::before_service(obstacle, code),
            (None, None) => classify::classify(Platform::CURRENT, meant_as, code),
        }
    }

    /// Returns an instruction to a person, with a full stop.
    ///
    /// It is more specific than the [advice](Recovery::advice) for the [recovery](Error::recovery).
    pub fn advice(&self) -> &'static str {
        match self.0.obstacle {
            Some(obstacle) => advice::of_obstacle(obstacle),
            None => advice::of_error(self.kind(), self.operation(), self.recovery()),
        }
    }

    /// Returns the action that resolves the error.
    pub fn recovery(&self) -> Recovery {
        self.meaning().1
    }

    /// Returns whether the service or this library produced the error.
    pub fn origin(&self) -> Origin {
        match self.0.refusal {
            None => Origin::Service,
            Some(_) => Origin::Library,
        }
    }

    /// Returns whether the command may have reached the card or the reader.
    ///
    /// For transmit and control calls. If `false`, the command certainly did not run, and can be
    /// sent again.
    pub fn command_may_have_run(&self) -> bool {
        match self.0.refusal {
            Some(refusal) => {
                refusal.command_may_have_run
                    && matches!(self.0.operation, Operation::Transmit | Operation::Control)
            }
            None => classify::may_have_run(Platform::CURRENT, self.0.operation, self.0.code),
        }
    }

    /// Returns the length in bytes of a response that did not fit, if PC/SC reports it.
    ///
    /// The buffers of this library have room for every valid response, so this happens only with
    /// drivers that break the rules.
    pub fn needed_len(&self) -> Option<usize> {
        self.0.needed_len
    }

    /// Returns the condition of the card after a failed reconnect; `None` for other calls.
    pub fn card_condition(&self) -> Option<CardCondition> {
        let initialization = self.0.initialization?;
        let never_begun = self.0.refusal.is_some_and(|refusal| !refusal.begun);
        Some(match self.kind() {
            ErrorKind::DeadlineExceeded | ErrorKind::Cancelled if never_begun => {
                CardCondition::Unchanged
            }
            kind => match CardCondition::after(kind, initialization) {
                CardCondition::Unchanged if self.0.was_reset => CardCondition::MayBeReset,
                condition => condition,
            },
        })
    }

    /// Returns what a wait that ended without success saw in each reader.
    ///
    /// Tells why no reader met the condition, for instance in
    /// [`Context::wait_for_card`](crate::Context::wait_for_card). Empty for other calls, and if
    /// there was no reader.
    pub fn seen(&self) -> &[SeenReader] {
        &self.0.seen
    }

    /// Returns what went wrong: a clause without the operation, the reader or the code.
    pub fn description(&self) -> &'static str {
        match (self.0.refusal, self.0.obstacle) {
            (_, Some(obstacle)) => classify::describe_obstacle(obstacle),
            (Some(refusal), None) => refusal.why,
            (None, None) => classify::describe(Platform::CURRENT, self.0.meant_as, self.0.code),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.operation.fmt(f)?;
        if let Some(reader) = self.reader_name() {
            write!(f, " on {}", Quoted(reader))?;
        }
        if let Some(socket) = &self.0.socket {
            write!(f, " at {socket:?}")?;
        }
        write!(
            f,
            " failed: {}{}{} ({})",
            self.description(),
            Spoken(self.0.spoken),
            InReaders(&self.0.seen),
            self.0.code.identity()
        )
    }
}

/// The version the daemon speaks, and the supported ones.
struct Spoken(Option<ProtocolVersion>);

impl fmt::Display for Spoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => Ok(()),
            Some(theirs) => {
                let (oldest, newest) = (ProtocolVersion::OLDEST, ProtocolVersion::NEWEST);
                write!(f, ": {theirs} instead of {oldest} to {newest}")
            }
        }
    }
}

/// Prints the same as [`Display`](fmt::Display), because `main` prints returned errors with `{:?}`;
/// the alternate form `{:#?}` prints every field.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !f.alternate() {
            return fmt::Display::fmt(self, f);
        }
        let mut debug = f.debug_struct("Error");
        debug
            .field("operation", &self.operation())
            .field("code", &self.code())
            .field("reader_name", &self.reader_name())
            .field("kind", &self.kind())
            .field("recovery", &self.recovery())
            .field("origin", &self.origin())
            .field("description", &self.description());
        if matches!(self.operation(), Operation::Transmit | Operation::Control) {
            debug.field("command_may_have_run", &self.command_may_have_run());
        }
        if let Some(socket) = &self.0.socket {
            debug.field("socket", socket);
        }
        if let Some(needed_len) = self.needed_len() {
            debug.field("needed_len", &needed_len);
        }
        if let Some(condition) = self.card_condition() {
            debug.field("card_condition", &condition);
        }
        if !self.seen().is_empty() {
            debug.field("seen", &self.seen());
        }
        debug.finish()
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_says_call_reader_meaning_name_and_number() {
        let reader = ReaderName::new("Reader X").unwrap();
        let error = Error::on_reader(Operation::Transmit, ReturnCode::W_RESET_CARD, &reader);
        assert_eq!(
            error.to_string(),
            "SCardTransmit on \"Reader X\" failed: the card was reset \
             (SCARD_W_RESET_CARD, 0x80100068)"
        );
        assert_eq!(error.origin(), Origin::Service);

        let error = Error::new(
            Operation::EstablishContext,
            ReturnCode::from_raw(0x8010_00FF),
        );
        assert_eq!(
            error.to_string(),
            "SCardEstablishContext failed: unknown code (0x801000FF)"
        );
    }

    #[test]
    fn a_reader_name_cannot_forge_an_error() {
        let reader = ReaderName::new("evil\n\"(SCARD_S_SUCCESS, 0x00000000)").unwrap();
        let error = Error::on_reader(Operation::Transmit, ReturnCode::W_RESET_CARD, &reader);
        assert_eq!(
            error.to_string(),
            "SCardTransmit on \"evil\\n\\\"(SCARD_S_SUCCESS, 0x00000000)\" failed: \
             the card was reset (SCARD_W_RESET_CARD, 0x80100068)"
        );
    }

    #[test]
    fn debug_is_readable_and_tells_everything_if_asked() {
        let reader = ReaderName::new("R").unwrap();
        let error = Error::on_reader(Operation::Transmit, ReturnCode::W_RESET_CARD, &reader);
        assert_eq!(format!("{error:?}"), error.to_string());
        let boxed: BoxError = error.clone().into();
        assert_eq!(format!("{boxed:?}"), error.to_string());
        let all = format!("{error:#?}");
        let fields: Vec<&str> = all.lines().map(str::trim).collect();
        for field in [
            "operation: Transmit,",
            "kind: CardReset,",
            "recovery: Reconnect,",
            "origin: Service,",
            "description: \"the card was reset\",",
            "command_may_have_run: false,",
        ] {
            assert!(fields.contains(&field), "{all}");
        }
    }

    #[test]
    fn a_refused_call_says_why_and_sent_nothing() {
        let reader = ReaderName::new("R").unwrap();
        let refusal = Refusal::of_command(&[]).unwrap();
        let error = Error::refused(Operation::Transmit, &reader, refusal);
        assert_eq!(
            error.to_string(),
            "SCardTransmit on \"R\" failed: the command is empty \
             (SCARD_E_INVALID_PARAMETER, 0x80100004)"
        );
        assert_eq!(error.origin(), Origin::Library);
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert_eq!(error.recovery(), Recovery::FixCall);
        assert!(!error.command_may_have_run());

        let error = Error::refused(Operation::Transmit, &reader, Refusal::TRANSACTION_LOST);
        assert_eq!(error.kind(), ErrorKind::NotInTransaction);
        assert!(!error.command_may_have_run());
    }

    /// The call says it that was refused: what the gate is by then does not matter, and the code
    /// alone says nothing.
    #[test]
    fn a_call_that_was_kept_out_is_no_answer_of_the_service() {
        let kept_out = Failure {
            ours: Some(Ours::KeptOut),
            ..ReturnCode::E_SYSTEM_CANCELLED.into()
        };
        let error = Error::new(Operation::Transmit, kept_out);
        assert_eq!(error.origin(), Origin::Library);
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        assert!(!error.command_may_have_run());
        let of_service = Error::new(Operation::Transmit, error.code());
        assert_eq!(of_service.origin(), Origin::Service);
        assert_eq!(of_service.kind(), ErrorKind::ServiceGone);
        let reader = ReaderName::new("R").unwrap();
        let of_other = Error::from_code(Operation::Transmit, error.code(), &reader);
        assert_eq!(of_other.origin(), Origin::Service);
    }

    #[test]
    fn errors_travel_and_are_small() {
        fn travels<T: std::error::Error + Send + Sync + Clone + std::hash::Hash + 'static>() {}
        travels::<Error>();
        assert_eq!(size_of::<Result<()>>(), size_of::<usize>());
    }
}
