//! Commands as bytes to send.

use std::fmt;
use std::ops::Deref;

use zeroize::Zeroizing;

use super::class;
use super::header::Header;

/// The bytes of a command, and whether it is secret: the argument of
/// [`Transmit::send`](crate::Transmit::send).
///
/// ```
/// use scard::apdu::CommandBytes;
///
/// let get_challenge = CommandBytes::new(b"\x00\x84\x00\x00\x08");
/// assert!(!get_challenge.is_secret());
///
/// let put_key = CommandBytes::new(b"\x80\xD8\x01\x81\x02\x4B\x31").sensitive();
/// assert!(put_key.is_secret());
/// assert_eq!(format!("{put_key:?}"), "CommandBytes(80 D8 01 81, 7 bytes)");
/// ```
///
/// [`Debug`](fmt::Debug) and [`Display`](fmt::Display) show the header and the length of the
/// whole command, never the body.
#[derive(Clone, Copy)]
pub struct CommandBytes<'a> {
    bytes: &'a [u8],
    sensitive: bool,
}

impl<'a> CommandBytes<'a> {
    /// Returns a command that is secret if its header says so.
    #[inline]
    pub const fn new(bytes: &'a [u8]) -> CommandBytes<'a> {
        CommandBytes::marked(bytes, false)
    }

    #[inline]
    pub(crate) const fn marked(bytes: &'a [u8], sensitive: bool) -> CommandBytes<'a> {
        CommandBytes { bytes, sensitive }
    }

    /// Marks the command and its answer as secret.
    pub const fn sensitive(mut self) -> CommandBytes<'a> {
        self.sensitive = true;
        self
    }

    /// Returns the bytes.
    #[inline]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Returns whether neither the body nor the answer may be shown: the command was marked
    /// [`sensitive`](CommandBytes::sensitive), its header is one of those listed at
    /// [`Command::is_secret`](super::Command::is_secret), or it has no header.
    pub fn is_secret(self) -> bool {
        self.sensitive || self.header().is_none_or(Header::is_secret)
    }

    #[inline]
    pub(crate) const fn is_marked(self) -> bool {
        self.sensitive
    }

    /// Returns the bytes with another logical channel in the class; `None` if the class cannot
    /// carry it.
    pub(crate) fn on_channel(self, channel: u8) -> Option<Zeroizing<Vec<u8>>> {
        let mut moved = Zeroizing::new(self.bytes.to_vec());
        if let Some(class) = moved.first_mut() {
            *class = class::on_channel(*class, channel)?;
        }
        Some(moved)
    }

    /// Returns the first four bytes; `None` if there are fewer.
    pub fn header(self) -> Option<Header> {
        Header::split(self.bytes).map(|(header, _)| header)
    }
}

impl Deref for CommandBytes<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.bytes
    }
}

impl<'a> From<&'a [u8]> for CommandBytes<'a> {
    fn from(bytes: &'a [u8]) -> CommandBytes<'a> {
        CommandBytes::new(bytes)
    }
}

/// Prints header and length: `00 20 00 81, 13 bytes`.
impl fmt::Display for CommandBytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(header) = self.header() {
            write!(f, "{header}, ")?;
        }
        match self.bytes.len() {
            1 => f.write_str("1 byte"),
            len => write!(f, "{len} bytes"),
        }
    }
}

impl fmt::Debug for CommandBytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CommandBytes({self})")
    }
}
