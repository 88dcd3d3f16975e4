//! The chain of causes, from [`std::error::Error::source`]: one line for each error.
//!
//! The cause is in `source()` and never in `Display`, which prints only what the layer itself adds.
//! Reports that walk the chain, such as those of `anyhow`, repeat nothing. `{:#}` prints the whole
//! chain.

use std::fmt;
use std::io;

use super::Error;

/// Any error, boxed: the error type of the hooks and the work of a [`Session`](crate::Session).
///
/// `?` converts every error into it, and strings, too.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

type Dyn = dyn std::error::Error + 'static;

impl Error {
    /// Finds the failed PC/SC call behind any error.
    ///
    /// This is the first [`Error`] in the [chain of causes](std::error::Error::source), including
    /// one inside an [`io::Error`].
    ///
    /// ```
    /// use scard::{Error, ErrorKind};
    ///
    /// /// A reader that is not plugged in is not a failure of this program.
    /// fn is_temporary(error: &(dyn std::error::Error + 'static)) -> bool {
    ///     Error::find(error).is_some_and(|error| error.kind() == ErrorKind::ReaderGone)
    /// }
    /// # assert!(!is_temporary(&std::fmt::Error));
    /// ```
    ///
    /// With `anyhow` (`eyre` works the same way):
    ///
    /// ```no_run
    /// use anyhow::Context as _;
    /// use scard::attributes::VENDOR_NAME;
    /// use scard::{Context, Control, Error};
    ///
    /// fn vendor() -> anyhow::Result<String> {
    ///     let context = Context::establish()?;
    ///     let readers = context.readers()?;
    ///     let first = readers.first().context("no reader")?;
    ///     let mut reader = context.open_reader(first)?;
    ///     reader.attribute_value(VENDOR_NAME).context("cannot name the vendor")
    /// }
    ///
    /// if let Err(error) = vendor() {
    ///     eprintln!("{error:#}");
    ///     if let Some(error) = Error::find(error.as_ref()) {
    ///         eprintln!("{}", error.advice());
    ///     }
    /// }
    /// ```
    pub fn find<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Error> {
        chain(error).find_map(|error| {
            let inside = error
                .downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref);
            error
                .downcast_ref()
                .or_else(|| inside.and_then(|inside| inside.downcast_ref()))
        })
    }
}

/// An error and its causes, outermost first.
pub(crate) fn chain(error: &Dyn) -> impl Iterator<Item = &Dyn> {
    std::iter::successors(Some(error), |error| error.source())
}

/// Writes the text of a layer, followed by its cause with `{:#}`.
pub(crate) fn write_layer(
    f: &mut fmt::Formatter<'_>,
    adds: fmt::Arguments<'_>,
    below: Option<&Dyn>,
) -> fmt::Result {
    f.write_fmt(adds)?;
    if let (true, Some(below)) = (f.alternate(), below) {
        for error in chain(below) {
            write!(f, ": {error}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apdu::{Command, ExchangeError, InvalidCommand, Response, Step, TooLong};
    use crate::attributes::{AttributeError, MAX_CLK, TypedAttribute};
    use crate::codes::ReturnCode;
    use crate::contactless::ContactlessError;
    use crate::error::{HandleError, Operation, Recovery};
    use crate::features::{PinFormat, PinVerification};
    use crate::session::{NotThisCard, SessionError};
    use crate::values::{Atr, Attribute, ReaderName, ShareMode};

    fn reset() -> Error {
        let reader = ReaderName::new("R").unwrap();
        Error::on_reader(Operation::Transmit, ReturnCode::W_RESET_CARD, &reader)
    }

    /// Every error that wraps a failed call, with the text that its layer adds.
    fn around_a_call() -> Vec<(&'static str, BoxError)> {
        let command = Command::new(0x00, 0xB0, 0x00, 0x00).unwrap().header();
        let exchange = |command, step| ExchangeError::Card {
            error: reset(),
            command,
            step,
            answered: 0,
        };
        let interrupted = |work: BoxError| SessionError::Interrupted {
            error: reset(),
            completed: 1,
            work,
            in_login: false,
        };
        let in_work = exchange(Some(command), Step::Command);
        let session = SessionError::Card(reset());
        vec![
            ("", reset().into()),
            (
                "command 00 B0 00 00 failed",
                exchange(Some(command), Step::Command).into(),
            ),
            (
                "command 00 B0 00 00, GET RESPONSE 2 failed",
                exchange(Some(command), Step::GetResponse { number: 2 }).into(),
            ),
            ("the exchange failed", ExchangeError::from(reset()).into()),
            (
                "reading SCARD_ATTR_MAX_CLK failed",
                MAX_CLK.of_answer(Err(reset())).unwrap_err().into(),
            ),
            (
                "the command for the contactless card failed",
                ContactlessError::from(reset()).into(),
            ),
            (
                "closing or converting the handle failed",
                HandleError::new((), reset()).into(),
            ),
            ("the work failed", SessionError::Work(reset().into()).into()),
            (
                "the work failed: command 00 B0 00 00 failed",
                SessionError::Work(in_work.clone().into()).into(),
            ),
            ("the session cannot recover", session.into()),
            (
                "the session had no usable card before its deadline",
                SessionError::Deadline {
                    cause: Some(reset()),
                }
                .into(),
            ),
            (
                "the work was interrupted after 1 command",
                interrupted(reset().into()).into(),
            ),
            (
                "the work was interrupted after 1 command: command 00 B0 00 00 failed",
                interrupted(in_work.into()).into(),
            ),
            (
                "the work was interrupted after 1 command",
                interrupted("the program hides it".into()).into(),
            ),
            (
                "identifying or setting up the card failed",
                SessionError::Hook(reset().into()).into(),
            ),
            // `io::Error` prints the error inside it.
            ("", io::Error::from(reset()).into()),
            (
                "the work failed",
                SessionError::Work(io::Error::from(reset()).into()).into(),
            ),
            (
                "the session cannot start: the session cannot recover",
                anyhow::Error::from(SessionError::Card(reset()))
                    .context("the session cannot start")
                    .into(),
            ),
        ]
    }

    /// Errors that wrap no call.
    fn of_other_kinds() -> Vec<BoxError> {
        let command = Command::new(0x00, 0xB0, 0x00, 0x00).unwrap().header();
        let status = Response::parse(&[0x6A, 0x82]).unwrap().ok().unwrap_err();
        let number = TypedAttribute::<u32>::new(Attribute::MAXINPUT, |_| None);
        let value = number.read(&[1, 2, 3]).unwrap_err();
        let request = PinVerification::new(Vec::new(), PinFormat::ascii());
        let problem = Response::parse(&[]).unwrap_err();
        vec![
            InvalidCommand::Class.into(),
            ExchangeError::from(InvalidCommand::Class).into(),
            status.into(),
            ExchangeError::from(status).into(),
            problem.into(),
            ExchangeError::Answer {
                problem,
                command,
                step: Step::Command,
            }
            .into(),
            TooLong::NoWay.into(),
            ExchangeError::TooLong {
                command,
                len: 300,
                reason: TooLong::NoWay,
            }
            .into(),
            value.clone().into(),
            AttributeError::from(value).into(),
            ContactlessError::NoStatusWord.into(),
            ContactlessError::Length.into(),
            request.to_bytes().unwrap_err().into(),
            "no code".parse::<ReturnCode>().unwrap_err().into(),
            "3B".parse::<Command>().unwrap_err().into(),
            "no bytes".parse::<Atr>().unwrap_err().into(),
            "no mode".parse::<ShareMode>().unwrap_err().into(),
            NotThisCard::new("no application").into(),
            ReaderName::new("\0").unwrap_err().into(),
            SessionError::Deadline { cause: None }.into(),
            SessionError::WrongCard {
                expected: vec![1],
                found: vec![2],
            }
            .into(),
        ]
    }

    fn lines(error: &Dyn) -> Vec<String> {
        chain(error).map(ToString::to_string).collect()
    }

    #[track_caller]
    fn assert_said_once(error: &Dyn) {
        let lines = lines(error);
        for (i, line) in lines.iter().enumerate() {
            assert!(!line.is_empty() && !line.contains('\n'), "{lines:#?}");
            for (j, other) in lines.iter().enumerate() {
                assert!(i == j || !line.contains(other.as_str()), "{lines:#?}");
            }
        }
    }

    #[test]
    fn every_error_leads_to_the_call_and_says_nothing_twice() {
        for (adds, error) in around_a_call() {
            assert_eq!(Error::find(&*error), Some(&reset()), "{error:?}");
            assert_said_once(&*error);
            // One line with the whole chain.
            let expected = match adds {
                "" => reset().to_string(),
                adds => format!("{adds}: {}", reset()),
            };
            assert_eq!(lines(&*error).join(": "), expected);
            let of_the_library = !adds.contains("start");
            if of_the_library {
                assert_eq!(format!("{error:#}"), expected);
                assert_eq!(error.to_string(), lines(&*error)[0]);
                let is_io = error.is::<io::Error>();
                assert!(is_io || format!("{error:?}") == expected, "{error:?}");
            }
        }
    }

    #[test]
    fn other_errors_say_all_in_their_own_line() {
        for error in of_other_kinds() {
            assert_eq!(Error::find(&*error), None, "{error:?}");
            assert!(error.source().is_none(), "{error:?}");
            assert_eq!(format!("{error:#}"), error.to_string());
            assert_eq!(format!("{error:?}"), error.to_string());
            assert_said_once(&*error);
        }
    }

    #[test]
    fn their_own_text_is_in_the_chain_of_wrapped_errors_once() {
        let work = SessionError::Work("no".into());
        assert_eq!(lines(&work), ["the work failed", "no"]);
        assert_eq!(format!("{work:#}"), "the work failed: no");
    }

    #[test]
    fn the_words_of_a_program_break_no_line() {
        let work = SessionError::Work("no\nmore \x1b[2J".into());
        assert_eq!(format!("{work:?}"), r"the work failed: no\nmore \u{1b}[2J");
    }

    #[test]
    fn what_helps_is_that_of_the_call() {
        let reset = reset();
        let (code, kind, recovery) = (reset.code(), reset.kind(), reset.recovery());
        macro_rules! assert_same {
            ($( $error:expr ),+) => {
                $(
                    let error = $error;
                    assert_eq!(error.error(), Some(&reset));
                    assert_eq!((error.code(), error.kind()), (Some(code), Some(kind)));
                    assert_eq!(error.recovery(), recovery);
                )+
            };
        }
        assert_same!(
            ExchangeError::from(reset.clone()),
            MAX_CLK.of_answer(Err(reset.clone())).unwrap_err(),
            ContactlessError::from(reset.clone()),
            SessionError::Card(reset.clone())
        );
        let error = HandleError::new((), reset.clone());
        assert_eq!((error.code(), error.kind()), (code, kind));
        assert_eq!((error.error(), error.recovery()), (&reset, recovery));

        let invalid = ExchangeError::from(InvalidCommand::Class);
        assert_eq!(
            (invalid.kind(), invalid.recovery()),
            (None, Recovery::FixCall)
        );
        let length = ContactlessError::Length;
        assert_eq!(
            (length.code(), length.recovery()),
            (None, Recovery::FixCall)
        );
        let status = ContactlessError::NoStatusWord;
        assert_eq!((status.kind(), status.recovery()), (None, Recovery::None));
    }
}
