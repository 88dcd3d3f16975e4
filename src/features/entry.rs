//! Common parts of PIN entry requests.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::format::PinFormat;
use crate::codes::debug_as_line;

bitflags::bitflags! {
    /// The conditions that end a PIN entry: `bEntryValidationCondition`. Any one of them suffices.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct EntryValidation: u8 {
        /// The maximum number of digits was entered.
        const MAX_DIGITS = 0x01;
        /// The enter key was pressed.
        const KEY = 0x02;
        /// The time is over.
        const TIMEOUT = 0x04;
    }
}

/// The messages that the reader shows, by their index in the reader: `bNumberMessage` and
/// `bMsgIndex`. The reader defines the texts; usually, 0 asks for the PIN, 1 for a new PIN, and 2
/// for its repetition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PinMessages {
    /// No message.
    None,
    /// One message.
    One(u8),
    /// Two messages, one after the other, for PIN changes.
    Two(u8, u8),
    /// Three messages, one after the other, for PIN changes.
    Three(u8, u8, u8),
    /// The reader's default messages (0xFF).
    ReaderDefault,
}

impl PinMessages {
    /// Returns the number of messages, and their indexes.
    pub(super) const fn parts(self) -> (u8, [u8; 3]) {
        match self {
            PinMessages::None => (0, [0; 3]),
            PinMessages::One(a) => (1, [a, 0, 0]),
            PinMessages::Two(a, b) => (2, [a, b, 0]),
            PinMessages::Three(a, b, c) => (3, [a, b, c]),
            PinMessages::ReaderDefault => (0xFF, [0, 1, 2]),
        }
    }
}

/// A PIN entry request that cannot be encoded.
///
/// The calls that send requests report it as
/// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument), and send nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{reason}")]
pub struct InvalidPinRequest {
    reason: &'static str,
}

debug_as_line!(InvalidPinRequest);

impl InvalidPinRequest {
    pub(super) const fn new(reason: &'static str) -> InvalidPinRequest {
        InvalidPinRequest { reason }
    }

    /// Returns the reason.
    pub const fn description(&self) -> &'static str {
        self.reason
    }
}

/// The default time for the user, in seconds.
const TIMEOUT: u8 = 30;

/// The common part of verification and modification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) timeout: u8,
    pub(super) timeout2: u8,
    pub(super) format: PinFormat,
    pub(super) digits: RangeInclusive<u8>,
    pub(super) validation: EntryValidation,
    pub(super) messages: PinMessages,
    pub(super) language: u16,
    pub(super) prologue: [u8; 3],
    pub(super) command: Vec<u8>,
    pub(super) without_lc: bool,
}

impl Entry {
    pub(super) fn new(command: Vec<u8>, format: PinFormat, messages: PinMessages) -> Entry {
        Entry {
            timeout: TIMEOUT,
            timeout2: 0,
            format,
            digits: 4..=8,
            validation: EntryValidation::KEY,
            messages,
            language: 0x0409,
            prologue: [0; 3],
            command,
            without_lc: false,
        }
    }

    /// `wPINMaxExtraDigit`: maximum, then minimum.
    pub(super) fn digits(&self) -> Result<[u8; 2], InvalidPinRequest> {
        if self.digits.is_empty() {
            return Err(InvalidPinRequest::new(
                "the maximum PIN length is below the minimum",
            ));
        }
        self.format.check_fit(usize::from(*self.digits.end()))?;
        Ok([*self.digits.end(), *self.digits.start()])
    }

    /// `wLangId`.
    pub(super) fn language(&self) -> [u8; 2] {
        self.language.to_le_bytes()
    }

    /// `bTeoPrologue`, `ulDataLength` and `abData`. The PIN blocks begin at these bytes of the
    /// data.
    pub(super) fn push_command(
        &self,
        blocks: &[u8],
        bytes: &mut Vec<u8>,
    ) -> Result<(), InvalidPinRequest> {
        let Some((header, body)) = self.command.split_first_chunk::<4>() else {
            let reason = "the PIN command is shorter than four bytes";
            return Err(InvalidPinRequest::new(reason));
        };
        let (lc, data) = match body.split_first() {
            None => (None, &[][..]),
            Some((lc, data)) if usize::from(*lc) == data.len() => (Some(*lc), data),
            Some(_) => {
                let reason = "Lc of the PIN command does not match its data";
                return Err(InvalidPinRequest::new(reason));
            }
        };
        if self.without_lc && !data.is_empty() {
            let reason = "a command with data needs Lc";
            return Err(InvalidPinRequest::new(reason));
        }
        let digits = usize::from(*self.digits.end());
        for offset in blocks {
            self.format.check_place(data, *offset, digits)?;
        }
        if let [one, other] = *blocks {
            self.format.check_apart(data, [one, other], digits)?;
        }
        let lc = lc.filter(|_| !self.without_lc);
        // At most 4 + 1 + 255.
        let len = header.len() + usize::from(lc.is_some()) + data.len();
        bytes.extend(self.prologue);
        bytes.extend(u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend(header);
        bytes.extend(lc);
        bytes.extend(data);
        Ok(())
    }
}

/// Returns a command with up to 255 bytes of data.
pub(super) fn command(header: [u8; 4], data: &[u8]) -> Vec<u8> {
    let mut command = header.to_vec();
    // At most two blocks of 30 bytes.
    command.push(u8::try_from(data.len()).unwrap_or(u8::MAX));
    command.extend(data);
    command
}

/// Returns whole seconds as a byte, rounded up.
pub(super) fn seconds(time: Duration) -> u8 {
    let part = u64::from(time.subsec_nanos() > 0);
    u8::try_from(time.as_secs().saturating_add(part)).unwrap_or(u8::MAX)
}

/// The settings of both requests.
macro_rules! entry_settings {
    () => {
        /// Sets the time for the user; 30 seconds by default. The reader counts whole seconds up to
        /// 255: longer times become 255 seconds, and fractions are rounded up. Zero means the
        /// reader's default.
        ///
        /// Must be shorter than the time limit of the call; see [PIN pads and
        /// time](crate::features#pin-pads-and-time).
        pub fn timeout(mut self, timeout: Duration) -> Self {
            self.entry.timeout = seconds(timeout);
            self
        }

        /// Sets the time for the user after the first key, for readers that [distinguish these
        /// times](crate::features::ReaderProperties::has_second_timeout). Zero, the default, means
        /// the reader's default.
        pub fn timeout_after_first_key(mut self, timeout: Duration) -> Self {
            self.entry.timeout2 = seconds(timeout);
            self
        }

        /// Sets the valid numbers of digits; 4 to 8 by default. The reader refuses others.
        pub fn digits(mut self, digits: RangeInclusive<u8>) -> Self {
            self.entry.digits = digits;
            self
        }

        /// Sets what ends the entry; the enter key by default.
        pub fn ends_with(mut self, validation: EntryValidation) -> Self {
            self.entry.validation = validation;
            self
        }

        /// Sets the language of the messages, as a Windows language identifier; 0x0409, American
        /// English, by default.
        pub fn language(mut self, language: u16) -> Self {
            self.entry.language = language;
            self
        }

        /// Omits Lc if the command has no data, so that it has four bytes instead of five.
        ///
        /// The reader appends the PIN and sets Lc. Part 10 does not specify which form the reader
        /// expects, and readers differ: the CCID driver prepares the SCM SPR532 for four bytes, and
        /// only for those.
        pub fn without_lc(mut self) -> Self {
            self.entry.without_lc = true;
            self
        }

        /// Sets `bTeoPrologue`, the beginning of the T=1 block, for readers that need it; zeroes by
        /// default.
        pub fn t1_prologue(mut self, prologue: [u8; 3]) -> Self {
            self.entry.prologue = prologue;
            self
        }
    };
}

pub(super) use entry_settings;
