//! Selects readers by user input.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use super::Context;
use crate::card::Reader;
use crate::codes::ReturnCode;
use crate::error::{Error, ErrorKind, Recovery, write_layer};
use crate::exchange::Control;
use crate::values::{Attribute, ReaderName, ReaderState};

/// Selects a reader by user input, from a command line or a configuration. Used by
/// [`Context::find_reader`].
///
/// ```no_run
/// # fn demo(context: &scard::Context) -> Result<(), Box<dyn std::error::Error>> {
/// use scard::ConnectOptions;
///
/// // "", "1", "serial:0001234" or a part of a name such as "acr122":
/// let wanted = std::env::args().nth(1).unwrap_or_default();
/// let reader_name = context.find_reader(&wanted)?;
/// let card = context.connect(&reader_name, ConnectOptions::new())?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReaderSelector {
    /// The only reader that has a card.
    #[default]
    WithCard,
    /// The reader with this index in [`Context::readers`], from 0.
    Number(usize),
    /// The reader with this name or, if there is none, the only reader whose name contains it.
    /// ASCII letters match in either case.
    Name(String),
    /// The reader with this serial number, either in its [name](ReaderName::parts) (pcsc-lite) or
    /// as [`Attribute::VENDOR_IFD_SERIAL_NO`].
    Serial(String),
}

impl From<&str> for ReaderSelector {
    /// Parses text: the empty string is [`WithCard`](ReaderSelector::WithCard), a number is a
    /// [`Number`](ReaderSelector::Number), `serial:` begins a [`Serial`](ReaderSelector::Serial),
    /// and everything else is a [`Name`](ReaderSelector::Name).
    fn from(text: &str) -> ReaderSelector {
        if text.is_empty() {
            ReaderSelector::WithCard
        } else if let Some(serial) = text.strip_prefix("serial:") {
            ReaderSelector::Serial(serial.to_owned())
        } else if let Ok(number) = text.parse() {
            ReaderSelector::Number(number)
        } else {
            ReaderSelector::Name(text.to_owned())
        }
    }
}

impl From<String> for ReaderSelector {
    fn from(text: String) -> ReaderSelector {
        ReaderSelector::from(text.as_str())
    }
}

impl From<&String> for ReaderSelector {
    fn from(text: &String) -> ReaderSelector {
        ReaderSelector::from(text.as_str())
    }
}

impl From<&ReaderSelector> for ReaderSelector {
    fn from(wanted: &ReaderSelector) -> ReaderSelector {
        wanted.clone()
    }
}

impl FromStr for ReaderSelector {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<ReaderSelector, Infallible> {
        Ok(ReaderSelector::from(text))
    }
}

impl fmt::Display for ReaderSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReaderSelector::WithCard => f.write_str("a reader with a card"),
            ReaderSelector::Number(number) => write!(f, "reader {number}"),
            ReaderSelector::Name(name) => write!(f, "a reader named {name:?}"),
            ReaderSelector::Serial(serial) => write!(f, "a reader with serial number {serial:?}"),
        }
    }
}

/// Why no reader was found.
///
/// `Display` lists the available readers. See also [how to print it](Error#errors-that-wrap-this-one).
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum FindReaderError {
    /// The readers could not be listed or queried.
    #[error(fmt = call_failed)]
    Call(#[from] Error),
    /// No reader matches.
    #[error("there is no {}{}", text_after_article(wanted), Listed(readers))]
    #[non_exhaustive]
    NotFound {
        /// The requested reader.
        wanted: ReaderSelector,
        /// All readers.
        readers: Vec<ReaderState>,
    },
    /// More than one reader matches.
    #[error("expected one match for {wanted}, found {}{}", matches.len(), Listed(readers))]
    #[non_exhaustive]
    Ambiguous {
        /// The requested reader.
        wanted: ReaderSelector,
        /// The matching readers.
        matches: Vec<ReaderName>,
        /// All readers.
        readers: Vec<ReaderState>,
    },
}

/// Prints the same as [`Display`](fmt::Display), in several lines, because `main` prints returned
/// errors with `{:?}`.
impl fmt::Debug for FindReaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:#}")
    }
}

fn call_failed(error: &Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write_layer(
        f,
        format_args!("the readers cannot be queried"),
        Some(error),
    )
}

impl FindReaderError {
    /// Returns the error of the failed PC/SC call, if there is one.
    pub fn error(&self) -> Option<&Error> {
        match self {
            FindReaderError::Call(error) => Some(error),
            FindReaderError::NotFound { .. } | FindReaderError::Ambiguous { .. } => None,
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

    /// Returns the remedy: attaching a reader if there is none, otherwise asking the user for
    /// another one.
    pub fn recovery(&self) -> Recovery {
        match self {
            FindReaderError::Call(error) => error.recovery(),
            FindReaderError::NotFound { readers, .. } if readers.is_empty() => {
                Recovery::AttachReader
            }
            FindReaderError::NotFound { .. } | FindReaderError::Ambiguous { .. } => {
                Recovery::AskUser
            }
        }
    }
}

fn text_after_article(wanted: &ReaderSelector) -> String {
    let text = wanted.to_string();
    text.strip_prefix("a ").map(str::to_owned).unwrap_or(text)
}

/// The readers, each on a line with its number.
struct Listed<'a>(&'a [ReaderState]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("; no readers are attached");
        }
        f.write_str("; available readers:")?;
        for (number, state) in self.0.iter().enumerate() {
            let card = if state.has_card() { " (card)" } else { "" };
            write!(f, "\n{number}: {}{card}", state.reader_name())?;
        }
        Ok(())
    }
}

/// Compares the serial number reported by a driver, which may end with NUL.
fn is_serial(reported: &[u8], wanted: &str) -> bool {
    let end = reported.iter().position(|&byte| byte == 0);
    let reported = reported.get(..end.unwrap_or(reported.len()));
    let is_same = |it: &[u8]| it.eq_ignore_ascii_case(wanted.as_bytes());
    !wanted.is_empty() && reported.is_some_and(is_same)
}

/// Returns whether a queried reader has this serial number. A reader that cannot be opened or does
/// not answer does not match; a failure that concerns all readers is an error.
pub(super) fn has_serial(asked: Result<Vec<u8>, Error>, wanted: &str) -> Result<bool, Error> {
    use ErrorKind::{AccessDenied, Cancelled, DeadlineExceeded, ServiceBusy, ServiceGone};
    match asked {
        Ok(reported) => Ok(is_serial(&reported, wanted)),
        Err(error) => match error.kind() {
            AccessDenied | Cancelled | DeadlineExceeded | ServiceBusy | ServiceGone => Err(error),
            _ => Ok(false),
        },
    }
}

/// Returns the readers that match without being queried.
pub(super) fn matching(wanted: &ReaderSelector, readers: &[ReaderState]) -> Vec<ReaderName> {
    let name = |state: &ReaderState| state.reader_name().to_string().to_ascii_lowercase();
    let with = |matches: &dyn Fn(&ReaderState) -> bool| -> Vec<ReaderName> {
        let found = readers.iter().filter(|state| matches(state));
        found.map(|state| state.reader_name().clone()).collect()
    };
    match wanted {
        ReaderSelector::WithCard => with(&ReaderState::has_card),
        ReaderSelector::Number(number) => {
            let found = readers.get(*number);
            found
                .map(|state| state.reader_name().clone())
                .into_iter()
                .collect()
        }
        ReaderSelector::Name(part) => {
            let part = part.to_ascii_lowercase();
            let exact = with(&|state| name(state) == part);
            match exact.is_empty() {
                true => with(&|state| name(state).contains(&part)),
                false => exact,
            }
        }
        ReaderSelector::Serial(serial) => {
            let has = |it: std::borrow::Cow<'_, str>| it.eq_ignore_ascii_case(serial);
            with(&|state| state.reader_name().parts().serial().is_some_and(has))
        }
    }
}

/// Returns the only match.
pub(super) fn decide(
    wanted: &ReaderSelector,
    mut matches: Vec<ReaderName>,
    readers: Vec<ReaderState>,
) -> Result<ReaderName, FindReaderError> {
    let wanted = wanted.clone();
    match (matches.pop(), matches.is_empty()) {
        (Some(found), true) => Ok(found),
        (None, _) => Err(FindReaderError::NotFound { wanted, readers }),
        (Some(last), false) => {
            matches.push(last);
            Err(FindReaderError::Ambiguous {
                wanted,
                matches,
                readers,
            })
        }
    }
}

impl Context {
    /// Finds a reader by a [`ReaderSelector`], or by text that is parsed as one.
    ///
    /// Does not disturb any card. To find a serial number that is in no reader's name, each reader
    /// is [opened](Context::open_reader) and queried; a reader that cannot be opened does not
    /// match.
    ///
    /// # Errors
    ///
    /// [`FindReaderError`], which lists the available readers, if none or more than one matches, or
    /// the readers cannot be listed.
    pub fn find_reader(
        &self,
        wanted: impl Into<ReaderSelector>,
    ) -> Result<ReaderName, FindReaderError> {
        let wanted = &wanted.into();
        let readers = self.reader_states()?;
        let mut matches = matching(wanted, &readers);
        if let (ReaderSelector::Serial(serial), true) = (wanted, matches.is_empty()) {
            for state in &readers {
                let opened = self.open_reader(state.reader_name());
                let asked = |mut reader: Reader| reader.attribute(Attribute::VENDOR_IFD_SERIAL_NO);
                if has_serial(opened.and_then(asked), serial)? {
                    matches.push(state.reader_name().clone());
                }
            }
        }
        decide(wanted, matches, readers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::Atr;

    fn readers() -> Vec<ReaderState> {
        let state = |name: &str, event_state| ReaderState {
            reader_name: ReaderName::new(name).unwrap(),
            event_state,
            atr: Atr::default(),
        };
        vec![
            state("ACS ACR122U 00 00", 0x10),
            state("Yubico YubiKey (0001234) 01 00", 0x20),
            state("ACS ACR122U", 0x10),
        ]
    }

    fn found(text: &str) -> Result<String, String> {
        let wanted = ReaderSelector::from(text);
        let readers = readers();
        let matches = matching(&wanted, &readers);
        let decided = decide(&wanted, matches, readers);
        let name = decided.map(|name| name.to_string());
        name.map_err(|error| error.to_string())
    }

    #[test]
    fn readers_are_found_by_the_names_people_use() {
        let yubikey = Ok("Yubico YubiKey (0001234) 01 00".to_owned());
        for text in [
            "",
            "1",
            "yubi",
            "serial:0001234",
            "Yubico YubiKey (0001234) 01 00",
        ] {
            assert_eq!(found(text), yubikey, "{text:?}");
        }
        // A complete name takes precedence over part of another.
        assert_eq!(found("acs acr122u"), Ok("ACS ACR122U".to_owned()));
        assert_eq!(found("0"), Ok("ACS ACR122U 00 00".to_owned()));
    }

    #[test]
    fn a_failed_search_lists_the_readers() {
        let list = "; available readers:\n0: ACS ACR122U 00 00\n\
                    1: Yubico YubiKey (0001234) 01 00 (card)\
                    \n2: ACS ACR122U";
        for (text, said) in [
            ("3", "there is no reader 3"),
            ("omnikey", "there is no reader named \"omnikey\""),
            ("serial:1", "there is no reader with serial number \"1\""),
            (
                "acr",
                "expected one match for a reader named \"acr\", found 2",
            ),
        ] {
            assert_eq!(found(text), Err(format!("{said}{list}")));
        }
        let none = decide(&ReaderSelector::WithCard, Vec::new(), Vec::new()).unwrap_err();
        let said = "there is no reader with a card; no readers are attached";
        assert_eq!(none.to_string(), said);
    }

    #[test]
    fn a_serial_number_may_end_with_nul() {
        assert!(is_serial(b"12AB\0", "12ab"));
        assert!(is_serial(b"12AB", "12AB"));
        assert!(!is_serial(b"12AB5", "12AB"));
        assert!(!is_serial(b"", "12AB"));
    }
}
