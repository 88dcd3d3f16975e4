//! What requests for the entry of PINs have in common.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::format::PinFormat;

bitflags::bitflags! {
    /// What ends the entry of a PIN: `bEntryValidationCondition`. Any of them does.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct EntryValidation: u8 {
        /// The most digits there can be were entered.
        const MAX_DIGITS = 0x01;
        /// The key for "enter" was pressed.
        const KEY = 0x02;
        /// The time is over.
        const TIMEOUT = 0x04;
    }
}

/// The messages that the reader shows, by their numbers in the reader: `bNumberMessage` and
/// `bMsgIndex`. Which text has which number is up to the reader; 0 usually asks for the PIN, 1
/// for a new one, and 2 for the new one again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PinMessages {
    /// None.
    None,
    /// This one.
    One(u8),
    /// These two, one after the other. For changes of a PIN.
    Two(u8, u8),
    /// These three, one after the other. For changes of a PIN.
    Three(u8, u8, u8),
    /// Those that the reader takes for right (0xFF).
    OfReader,
}

impl PinMessages {
    /// The number of messages, and their indexes.
    pub(super) const fn parts(self) -> (u8, [u8; 3]) {
        match self {
            PinMessages::None => (0, [0; 3]),
            PinMessages::One(a) => (1, [a, 0, 0]),
            PinMessages::Two(a, b) => (2, [a, b, 0]),
            PinMessages::Three(a, b, c) => (3, [a, b, c]),
            PinMessages::OfReader => (0xFF, [0, 1, 2]),
        }
    }
}

/// A request for the entry of a PIN that cannot be put into bytes.
///
/// The calls that send requests report it as
/// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument), and send nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{why}")]
pub struct InvalidPinRequest {
    why: &'static str,
}

impl InvalidPinRequest {
    pub(super) const fn new(why: &'static str) -> InvalidPinRequest {
        InvalidPinRequest { why }
    }

    /// Why not.
    pub const fn description(&self) -> &'static str {
        self.why
    }
}

/// How long the user has, unless the request says otherwise.
const TIMEOUT: u8 = 30;

/// What verification and modification have in common.
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

    /// `wPINMaxExtraDigit`: the most, then the fewest.
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

    /// `bTeoPrologue`, `ulDataLength` and `abData`. The blocks for PINs begin at these bytes of
    /// the data.
    pub(super) fn push_command(
        &self,
        blocks: &[u8],
        bytes: &mut Vec<u8>,
    ) -> Result<(), InvalidPinRequest> {
        let Some((header, body)) = self.command.split_first_chunk::<4>() else {
            let why = "the command for a PIN is shorter than four bytes";
            return Err(InvalidPinRequest::new(why));
        };
        let (lc, data) = match body.split_first() {
            None => (None, &[][..]),
            Some((lc, data)) if usize::from(*lc) == data.len() => (Some(*lc), data),
            Some(_) => {
                let why = "the length in the command for a PIN is not that of its data";
                return Err(InvalidPinRequest::new(why));
            }
        };
        if self.without_lc && !data.is_empty() {
            let why = "a command with data has a length";
            return Err(InvalidPinRequest::new(why));
        }
        for offset in blocks {
            self.format.check_place(data, *offset)?;
        }
        if let [one, other] = *blocks {
            self.format.check_apart(data, [one, other])?;
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

/// A command with data of up to 255 bytes.
pub(super) fn command(header: [u8; 4], data: &[u8]) -> Vec<u8> {
    let mut command = header.to_vec();
    // At most two blocks of 30 bytes.
    command.push(u8::try_from(data.len()).unwrap_or(u8::MAX));
    command.extend(data);
    command
}

/// Whole seconds in a byte, not less than there are.
pub(super) fn seconds(time: Duration) -> u8 {
    let part = u64::from(time.subsec_nanos() > 0);
    u8::try_from(time.as_secs().saturating_add(part)).unwrap_or(u8::MAX)
}

/// The settings that both requests have.
macro_rules! entry_settings {
    () => {
        /// How long the user has, 30 seconds without this. The reader counts whole seconds, up
        /// to 255; more is taken for 255, and a part of a second for a whole one. Zero is the
        /// time that the reader takes for right.
        ///
        /// To be shorter than the time that the call has:
        /// [PIN pads and time](crate::features#pin-pads-and-time).
        pub fn timeout(mut self, timeout: Duration) -> Self {
            self.entry.timeout = seconds(timeout);
            self
        }

        /// How long the user has after the first key, for readers that
        /// [tell these times apart](crate::features::ReaderProperties::has_second_timeout).
        /// Zero, which it is without this, is what the reader takes for right.
        pub fn timeout_after_first_key(mut self, timeout: Duration) -> Self {
            self.entry.timeout2 = seconds(timeout);
            self
        }

        /// How many digits the PIN can have; 4 to 8 without this. The reader refuses others.
        pub fn digits(mut self, digits: RangeInclusive<u8>) -> Self {
            self.entry.digits = digits;
            self
        }

        /// What ends the entry; the key for "enter" without this.
        pub fn ends_with(mut self, validation: EntryValidation) -> Self {
            self.entry.validation = validation;
            self
        }

        /// The language of the messages, as Windows numbers languages; 0x0409, American
        /// English, without this.
        pub fn language(mut self, language: u16) -> Self {
            self.entry.language = language;
            self
        }

        /// Leaves out Lc where the command has no data, so that it has four bytes instead of five.
        ///
        /// The reader puts the PIN behind it and sets Lc. Part 10 does not say which of the two it
        /// is to get, and readers differ: the driver for CCID readers prepares the SPR532 of SCM for
        /// four bytes, and only for those.
        pub fn without_lc(mut self) -> Self {
            self.entry.without_lc = true;
            self
        }

        /// `bTeoPrologue`: what the block of protocol T=1 begins with, for readers that want to
        /// be told. Zeroes without this.
        pub fn t1_prologue(mut self, prologue: [u8; 3]) -> Self {
            self.entry.prologue = prologue;
            self
        }
    };
}

pub(super) use entry_settings;
