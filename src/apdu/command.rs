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
use crate::values::{InvalidHex, hex};

/// How much of an answer a command asks for: Le.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Expected {
    /// No data.
    None,
    /// As many bytes, 1 to 65,536.
    Exactly(u32),
    /// All there is: 00 in a short command, 0000 in an extended one.
    All,
}

impl Expected {
    /// What is asked for in a short or an extended command.
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

/// How the lengths of a command are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// Short if the lengths allow it, otherwise extended. What becomes of a command that is
    /// too long for short lengths when it is [exchanged](crate::Card::exchange) depends on
    /// the card: [`ExchangeOptions`](super::ExchangeOptions).
    Auto,
    /// With lengths of one byte: up to 255 bytes of data, up to 256 expected.
    Short,
    /// With lengths of two bytes: up to 65,535 bytes of data, up to 65,536 expected.
    Extended,
}

/// A command APDU of ISO 7816-4 that can be sent as it is: there are no invalid ones.
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
/// [`Display`](fmt::Display) show header and lengths; the alternate `{:#?}` shows the body,
/// too, unless the command [is secret](Command::is_secret). The same holds for the
/// [trace](crate::trace). The data of an answer are the caller's to overwrite.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    header: Header,
    data: Zeroizing<Vec<u8>>,
    expected: Expected,
    form: Form,
    sensitive: bool,
}

impl Command {
    /// A command without data that expects none.
    ///
    /// Any instruction is fine, 6X and 9X, too; over T=0, most cards could not tell those from
    /// procedure bytes, so that an [exchange](crate::Card::exchange)
    /// [refuses](super::ExchangeOptions::any_instruction) them there.
    ///
    /// # Errors
    ///
    /// Class FF is not a valid class.
    pub fn new(class: u8, instruction: u8, p1: u8, p2: u8) -> Result<Command, InvalidCommand> {
        match class {
            class::PSEUDO => Err(InvalidCommand::Class),
            _ => Ok(Command::with_header(class, instruction, p1, p2)),
        }
    }

    /// A command of class FF, which PC/SC Part 3 and readers' vendors have for the reader, not
    /// for the card.
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

    /// SELECT of an application by its identifier: `00 A4 04 00`, with all of the answer.
    ///
    /// # Errors
    ///
    /// An identifier of more than 65,535 bytes; it has up to 16.
    pub fn select(application: &[u8]) -> Result<Command, InvalidCommand> {
        let select = Command::new(0x00, 0xA4, 0x04, 0x00)?;
        Ok(select.with_data(application)?.expecting_all())
    }

    /// With a body. An empty one is none.
    ///
    /// # Errors
    ///
    /// More than 65,535 bytes; more than 255 if the command is to be [short](Form::Short).
    pub fn with_data(mut self, data: impl Into<Vec<u8>>) -> Result<Command, InvalidCommand> {
        self.data = Zeroizing::new(data.into());
        self.checked()
    }

    /// Expecting an answer of as many bytes; zero is [none](Expected::None).
    ///
    /// # Errors
    ///
    /// More than 65,536 bytes; more than 256 if the command is to be [short](Form::Short).
    pub fn expecting(mut self, len: u32) -> Result<Command, InvalidCommand> {
        self.expected = match len {
            0 => Expected::None,
            len => Expected::Exactly(len),
        };
        self.checked()
    }

    /// Expecting [all](Expected::All) of the answer.
    pub fn expecting_all(mut self) -> Command {
        self.expected = Expected::All;
        self
    }

    /// With short or extended lengths. [`Form::Auto`] unless set.
    ///
    /// # Errors
    ///
    /// [`Form::Short`] for a command that is too long for it.
    pub fn in_form(mut self, form: Form) -> Result<Command, InvalidCommand> {
        self.form = form;
        self.checked()
    }

    /// Marks the command as [secret](Command::is_secret), answer included.
    pub fn sensitive(mut self) -> Command {
        self.sensitive = true;
        self
    }

    /// The same command on another logical channel, 0 to 19.
    ///
    /// Channels are part of the interindustry classes. Of the proprietary ones, 8X has them as
    /// GlobalPlatform and ETSI TS 102 221 do.
    ///
    /// # Errors
    ///
    /// Other classes, and other numbers. From channel 4 on, a class can say only one kind of
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

    /// Whether short lengths cannot say what the command has and expects.
    pub(super) fn needs_extended(&self) -> bool {
        let long = matches!(self.expected, Expected::Exactly(number) if number > SHORT_EXPECTED);
        self.data.len() > SHORT_DATA || long
    }

    /// Reads a command.
    ///
    /// Le 00 and 0000 are [`Expected::All`]. A command with extended lengths keeps them:
    /// [`to_bytes`](Command::to_bytes) gives the same bytes again.
    ///
    /// # Errors
    ///
    /// What is wrong with it. Class FF is refused: [`Command::parse_pseudo`].
    pub fn parse(bytes: &[u8]) -> Result<Command, InvalidCommand> {
        match bytes {
            [class::PSEUDO, _, _, _, ..] => Err(InvalidCommand::Class),
            _ => Command::parse_pseudo(bytes),
        }
    }

    /// Reads a command, which may be one of [class FF](Command::pseudo).
    ///
    /// # Errors
    ///
    /// What is wrong with it.
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

    /// The command in bytes, which are overwritten when they are dropped.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::default();
        self.encode_into(&mut bytes);
        bytes
    }

    /// Appends the command in bytes.
    pub fn encode_into(&self, bytes: &mut Vec<u8>) {
        let extended = self.is_extended();
        let expected = self.expected.number(extended);
        encode(self.header, &self.data, expected, extended, bytes);
    }

    /// Whether the lengths are written with two bytes.
    pub fn is_extended(&self) -> bool {
        self.form == Form::Extended || self.needs_extended()
    }

    /// Class, instruction and parameters.
    pub fn header(&self) -> Header {
        self.header
    }

    /// The body.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// How much of the answer it asks for.
    pub fn expected(&self) -> Expected {
        self.expected
    }

    /// How its lengths are to be written.
    pub fn form(&self) -> Form {
        self.form
    }

    /// The logical channel that the class says; `None` for classes that say none.
    pub fn channel(&self) -> Option<u8> {
        class::channel(self.header.class)
    }

    /// Whether the body is shown nowhere: because the command was marked
    /// [`sensitive`](Command::sensitive), or because it is one of VERIFY, CHANGE REFERENCE
    /// DATA, RESET RETRY COUNTER, ENABLE and DISABLE VERIFICATION REQUIREMENT (20, 21, 24 to
    /// 29, 2C, 2D), ENVELOPE (C2, C3), which can carry one of them, and the PC/SC commands LOAD
    /// KEYS (FF 82) and UPDATE BINARY (FF D6), which can write keys. Others that carry keys,
    /// such as PUT KEY and commands of a maker, are for the program to mark.
    pub fn is_secret(&self) -> bool {
        self.sensitive || self.header.is_secret()
    }

    /// MANAGE CHANNEL that opens a logical channel and lets the card choose its number, which
    /// is the answer's one byte. See [`LogicalChannel`](crate::LogicalChannel).
    pub fn open_channel() -> Command {
        Command {
            expected: Expected::Exactly(1),
            ..Command::with_header(0x00, 0x70, 0x00, 0x00)
        }
    }

    /// MANAGE CHANNEL that closes a logical channel, sent on the basic one.
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

/// Reads the hex of a whole command, with or without spaces or colons between bytes, as
/// [`Command::parse`] reads its bytes: class FF is refused. [`Display`](fmt::Display) prints
/// something else, because it does not show the body. The text is the caller's to overwrite.
impl FromStr for Command {
    type Err = ParseCommandError;

    fn from_str(text: &str) -> Result<Command, ParseCommandError> {
        let mut bytes = Zeroizing::default();
        hex::parse_into(text, &mut bytes)?;
        Ok(Command::parse(&bytes)?)
    }
}

/// Text that is not a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseCommandError {
    /// It is not hexadecimal.
    #[error(transparent)]
    Hex(#[from] InvalidHex),
    /// The bytes are not a command.
    #[error(transparent)]
    Command(#[from] InvalidCommand),
}

/// `00 A4 04 00, 5 bytes, expecting all`
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
    fn hex_is_read_as_its_bytes_are() {
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
