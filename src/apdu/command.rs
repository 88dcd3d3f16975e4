//! Commands.

use std::fmt;
use std::str::FromStr;

use zeroize::Zeroizing;

use super::class;
use super::encoding::{
    self, EXTENDED_DATA, EXTENDED_EXPECTED, SHORT_DATA, SHORT_EXPECTED, decode, encode,
};
use super::error::InvalidCommand;
use super::header::Header;
use crate::codes::debug_as_line;
use crate::values::{InvalidHex, hex};

/// The length of the answer that a command asks for: Le.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Expected {
    /// No data.
    None,
    /// This number of bytes, 1 to 65,536.
    Exactly(u32),
    /// All available data: 00 in a short command, 0000 in an extended one.
    All,
}

impl Expected {
    /// Returns the length requested by a short or an extended command.
    pub(super) fn number(self, extended: bool) -> Option<u32> {
        let most = if extended {
            EXTENDED_EXPECTED
        } else {
            SHORT_EXPECTED
        };
        match self {
            Expected::None => None,
            Expected::Exactly(number) => Some(number.min(most)),
            Expected::All => Some(most),
        }
    }
}

/// The encoding of the lengths of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// Short if the lengths allow it, otherwise extended. How a command that is too long for short
    /// lengths is [exchanged](crate::Card::exchange) depends on the card; see
    /// [`ExchangeOptions`](super::ExchangeOptions).
    Auto,
    /// One-byte lengths: up to 255 bytes of data, up to 256 bytes expected.
    Short,
    /// Two-byte lengths: up to 65,535 bytes of data, up to 65,536 bytes expected.
    Extended,
}

/// A command APDU of ISO 7816-4, which is always valid.
///
/// ```
/// use scard::apdu::Command;
///
/// let select = Command::select(b"\xA0\x00\x00\x03\x08")?;
/// assert_eq!(*select.to_bytes(), *b"\x00\xA4\x04\x00\x05\xA0\x00\x00\x03\x08\x00");
///
/// let read = Command::new(0x00, 0xB0, 0x00, 0x00)?.expecting(16)?;
/// assert_eq!(*read.to_bytes(), *b"\x00\xB0\x00\x00\x10");
/// assert_eq!(Command::parse(b"\x00\xB0\x00\x00\x10")?, read);
/// assert_eq!("00 B0 00 00 10".parse(), Ok(read));
/// # Ok::<(), scard::apdu::InvalidCommand>(())
/// ```
///
/// # Secrets
///
/// The body is overwritten when a command is dropped. [`Debug`](fmt::Debug) and
/// [`Display`](fmt::Display) show header and lengths; the alternate `{:#?}` shows the body, too,
/// unless the command [is secret](Command::is_secret). The same applies to the
/// [trace](crate::trace). The caller has to overwrite the data of answers.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    header: Header,
    data: Zeroizing<Vec<u8>>,
    expected: Expected,
    form: Form,
    sensitive: bool,
}

impl Command {
    /// Returns a command without data that expects none.
    ///
    /// Any instruction is accepted, even 6X and 9X. Over T=0, most cards could not distinguish
    /// these from procedure bytes, so an [exchange](crate::Card::exchange)
    /// [refuses](super::ExchangeOptions::any_instruction) them.
    ///
    /// # Errors
    ///
    /// [`InvalidCommand::Class`] for class FF, which is not a valid class.
    pub fn new(class: u8, instruction: u8, p1: u8, p2: u8) -> Result<Command, InvalidCommand> {
        match class {
            class::PSEUDO => Err(InvalidCommand::Class),
            _ => Ok(Command::with_header(class, instruction, p1, p2)),
        }
    }

    /// Returns a command of class FF, which PC/SC Part 3 and reader vendors use for commands to the
    /// reader instead of the card.
    ///
    /// ```
    /// use scard::apdu::Command;
    ///
    /// let get_uid = Command::pseudo(0xCA, 0x00, 0x00).expecting_all();
    /// assert_eq!(*get_uid.to_bytes(), *b"\xFF\xCA\x00\x00\x00");
    /// ```
    pub fn pseudo(instruction: u8, p1: u8, p2: u8) -> Command {
        Command::with_header(class::PSEUDO, instruction, p1, p2)
    }

    fn with_header(class: u8, instruction: u8, p1: u8, p2: u8) -> Command {
        Command {
            header: Header {
                class,
                instruction,
                p1,
                p2,
            },
            data: Zeroizing::default(),
            expected: Expected::None,
            form: Form::Auto,
            sensitive: false,
        }
    }

    /// Returns the SELECT command for an application identifier: `00 A4 04 00`, expecting all of
    /// the answer.
    ///
    /// # Errors
    ///
    /// If the identifier is longer than 65,535 bytes; valid identifiers have up to 16.
    pub fn select(application: &[u8]) -> Result<Command, InvalidCommand> {
        let select = Command::new(0x00, 0xA4, 0x04, 0x00)?;
        Ok(select.with_data(application)?.expecting_all())
    }

    /// Sets the body. An empty body is no body.
    ///
    /// # Errors
    ///
    /// If there are more than 65,535 bytes, or more than 255 for a [short](Form::Short) command.
    pub fn with_data(mut self, data: impl Into<Vec<u8>>) -> Result<Command, InvalidCommand> {
        self.data = Zeroizing::new(data.into());
        self.checked()
    }

    /// Sets the expected length of the answer; zero means [none](Expected::None).
    ///
    /// # Errors
    ///
    /// If there are more than 65,536 bytes, or more than 256 for a [short](Form::Short) command.
    pub fn expecting(mut self, len: u32) -> Result<Command, InvalidCommand> {
        self.expected = match len {
            0 => Expected::None,
            len => Expected::Exactly(len),
        };
        self.checked()
    }

    /// Expects [all](Expected::All) of the answer.
    pub fn expecting_all(mut self) -> Command {
        self.expected = Expected::All;
        self
    }

    /// Sets the encoding of the lengths. The default is [`Form::Auto`].
    ///
    /// # Errors
    ///
    /// If a command is too long for [`Form::Short`].
    pub fn with_form(mut self, form: Form) -> Result<Command, InvalidCommand> {
        self.form = form;
        self.checked()
    }

    /// Marks the command and its answer as [secret](Command::is_secret).
    pub fn sensitive(mut self) -> Command {
        self.sensitive = true;
        self
    }

    /// Moves the command to another logical channel, 0 to 19.
    ///
    /// Interindustry classes contain a channel. Of the proprietary classes, 8X is treated as in
    /// GlobalPlatform and ETSI TS 102 221.
    ///
    /// # Errors
    ///
    /// For other classes and other numbers. From channel 4 on, a class can express only one kind of
    /// secure messaging: that of ISO 7816-4 without authenticated header.
    pub fn on_channel(mut self, channel: u8) -> Result<Command, InvalidCommand> {
        let moved = class::on_channel(self.header.class, channel);
        self.header.class = moved.ok_or(InvalidCommand::Channel {
            class: self.header.class,
            channel,
        })?;
        Ok(self)
    }

    fn checked(self) -> Result<Command, InvalidCommand> {
        let len = self.data.len();
        if len > EXTENDED_DATA {
            return Err(InvalidCommand::DataTooLong { len });
        }
        let expected = match self.expected {
            Expected::Exactly(number) => number,
            Expected::None | Expected::All => 0,
        };
        if expected > EXTENDED_EXPECTED {
            return Err(InvalidCommand::ExpectedTooLong { len: expected });
        }
        if self.form == Form::Short && self.needs_extended() {
            return Err(InvalidCommand::NotShort { len, expected });
        }
        Ok(self)
    }

    /// Returns whether the card answers the command, not the reader.
    pub(super) fn is_for_card(&self) -> bool {
        self.header.class != class::PSEUDO
    }

    /// Returns whether the command does not fit short lengths.
    pub(super) fn needs_extended(&self) -> bool {
        let long = matches!(self.expected, Expected::Exactly(number) if number > SHORT_EXPECTED);
        self.data.len() > SHORT_DATA || long
    }

    /// Parses a command.
    ///
    /// Le 00 and 0000 are [`Expected::All`]. A command with extended lengths keeps them:
    /// [`to_bytes`](Command::to_bytes) returns the same bytes again.
    ///
    /// # Errors
    ///
    /// [`InvalidCommand`], also for class FF, which only [`Command::parse_pseudo`] accepts.
    pub fn parse(bytes: &[u8]) -> Result<Command, InvalidCommand> {
        match bytes {
            [class::PSEUDO, _, _, _, ..] => Err(InvalidCommand::Class),
            _ => Command::parse_pseudo(bytes),
        }
    }

    /// Parses a command, which may have [class FF](Command::pseudo).
    ///
    /// # Errors
    ///
    /// [`InvalidCommand`] if the bytes are not a command.
    pub fn parse_pseudo(bytes: &[u8]) -> Result<Command, InvalidCommand> {
        let decoded = decode(bytes)?;
        let command = Command {
            header: decoded.header,
            data: decoded.data,
            expected: match decoded.le {
                None => Expected::None,
                Some(0) => Expected::All,
                Some(le) => Expected::Exactly(u32::from(le)),
            },
            form: match decoded.extended {
                true => Form::Extended,
                false => Form::Auto,
            },
            sensitive: false,
        };
        command.checked()
    }

    /// Returns the bytes of the command, which are overwritten when dropped.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::default();
        self.encode_into(&mut bytes);
        bytes
    }

    /// Appends the bytes of the command.
    pub fn encode_into(&self, bytes: &mut Vec<u8>) {
        let extended = self.is_extended();
        let expected = self.expected.number(extended);
        encode(self.header, &self.data, expected, extended, bytes);
    }

    /// Returns whether the lengths are encoded with two bytes.
    pub fn is_extended(&self) -> bool {
        self.form == Form::Extended || self.needs_extended()
    }

    /// Returns class, instruction and parameters.
    pub fn header(&self) -> Header {
        self.header
    }

    /// Returns the body.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Returns the expected length of the answer.
    pub fn expected(&self) -> Expected {
        self.expected
    }

    /// Returns the encoding of the lengths.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Returns the logical channel in the class; `None` for classes without one.
    pub fn channel(&self) -> Option<u8> {
        class::channel(self.header.class)
    }

    /// Returns whether the body is never shown: because the command was marked
    /// [`sensitive`](Command::sensitive), or because it is one of VERIFY, CHANGE REFERENCE DATA,
    /// RESET RETRY COUNTER, ENABLE and DISABLE VERIFICATION REQUIREMENT (20, 21, 24 to 29, 2C, 2D),
    /// ENVELOPE (C2, C3), which can carry one of them, and the PC/SC commands LOAD KEYS (FF 82) and
    /// UPDATE BINARY (FF D6), which can write keys. The program has to mark other commands that
    /// carry keys, such as PUT KEY and vendor commands.
    pub fn is_secret(&self) -> bool {
        self.sensitive || self.header.is_secret()
    }

    /// Returns the MANAGE CHANNEL command that opens a logical channel. The card chooses its number
    /// and returns it as one byte. See [`LogicalChannel`](crate::LogicalChannel).
    pub fn open_channel() -> Command {
        Command {
            expected: Expected::Exactly(1),
            ..Command::with_header(0x00, 0x70, 0x00, 0x00)
        }
    }

    /// Returns the MANAGE CHANNEL command that closes a logical channel, to be sent on the basic
    /// one.
    pub fn close_channel(channel: u8) -> Command {
        Command::with_header(0x00, 0x70, 0x80, channel)
    }
}

impl TryFrom<&[u8]> for Command {
    type Error = InvalidCommand;

    /// See [`Command::parse`].
    fn try_from(bytes: &[u8]) -> Result<Command, InvalidCommand> {
        Command::parse(bytes)
    }
}

/// Parses the hex of a whole command, with or without spaces or colons between bytes, like
/// [`Command::parse`]: class FF is refused. [`Display`](fmt::Display) is not the inverse, because
/// it does not show the body. The caller has to overwrite the text.
impl FromStr for Command {
    type Err = ParseCommandError;

    fn from_str(text: &str) -> Result<Command, ParseCommandError> {
        let mut bytes = Zeroizing::default();
        hex::parse_into(text, &mut bytes)?;
        Ok(Command::parse(&bytes)?)
    }
}

/// Text that is not a command.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseCommandError {
    /// The text is not hexadecimal.
    #[error(transparent)]
    Hex(#[from] InvalidHex),
    /// The bytes are not a command.
    #[error(transparent)]
    Command(#[from] InvalidCommand),
}

debug_as_line!(ParseCommandError);

/// Prints header and lengths: `00 A4 04 00, 5 bytes, expecting all`.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.header.fmt(f)?;
        match self.data.len() {
            0 => {}
            1 => f.write_str(", 1 byte")?,
            len => write!(f, ", {len} bytes")?,
        }
        match self.expected {
            Expected::None => Ok(()),
            Expected::Exactly(len) => write!(f, ", expecting {len}"),
            Expected::All => f.write_str(", expecting all"),
        }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({self}")?;
        if f.alternate() && !self.data.is_empty() {
            f.write_str(": ")?;
            match self.is_secret() {
                true => f.write_str("secret")?,
                false => super::hex(f, &self.data)?,
            }
        }
        f.write_str(")")
    }
}

const _: () = assert!(crate::service::MAX_APDU_LEN >= 4 + 3 + encoding::EXTENDED_DATA + 2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_read_like_its_bytes() {
        for text in [
            "00A40400",
            "00 a4 04 00 02 3f 00",
            "00:A4:04:00:02:3F:00:00",
            "00B0000000 1000",
        ] {
            let bytes = hex::parse(text).unwrap();
            let command: Command = text.parse().unwrap();
            assert_eq!(*command.to_bytes(), bytes);
        }
    }

    #[test]
    fn errors_say_what_is_wrong_without_the_body() {
        let error = |text: &str| text.parse::<Command>().unwrap_err().to_string();
        assert_eq!(
            error("00 20 00 80 04 31 32 33 3"),
            "the byte at position 24 has only one digit"
        );
        let short = InvalidCommand::NoHeader { len: 1 };
        assert_eq!("00".parse::<Command>(), Err(short.into()));
        let pseudo = "FFCA000000".parse::<Command>();
        assert_eq!(pseudo, Err(InvalidCommand::Class.into()));
    }
}
