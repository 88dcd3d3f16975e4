//! The caller's options: scope, share mode, protocols, initialization, disposition.

use std::fmt;
use std::str::FromStr;

use super::words::{FlagWords, ParseValueError, number, words};
use crate::codes::stored_as_text;

/// The scope of a context: `SCARD_SCOPE_USER` or `SCARD_SCOPE_SYSTEM`.
///
/// # Platform notes
///
/// Only Windows distinguishes them. pcsc-lite accepts and ignores both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[non_exhaustive]
pub enum Scope {
    /// The user's domain, for applications.
    #[default]
    User,
    /// The system's domain, for services that need access to every reader.
    System,
}

impl Scope {
    pub(crate) const fn raw(self) -> u32 {
        match self {
            Scope::User => 0,
            Scope::System => 2,
        }
    }
}

words!(Scope, "a scope (user or system)", {
    User = "user",
    System = "system",
});
stored_as_text!(Scope, "a scope");

/// `SCARD_SHARE_DIRECT`.
pub(crate) const SHARE_DIRECT: u32 = 3;

/// Whether other programs may use the card at the same time.
///
/// Direct access to a reader (`SCARD_SHARE_DIRECT`) is a type of its own,
/// [`Reader`](crate::Reader): without a card there is nothing to transmit to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum ShareMode {
    /// `SCARD_SHARE_SHARED`: others may connect, too.
    ///
    /// A [`Transaction`](crate::Transaction) keeps them out during a sequence of commands.
    #[default]
    Shared,
    /// `SCARD_SHARE_EXCLUSIVE`: no one else can connect until this connection ends.
    Exclusive,
}

impl ShareMode {
    pub(crate) const fn raw(self) -> u32 {
        match self {
            ShareMode::Exclusive => 1,
            ShareMode::Shared => 2,
        }
    }
}

words!(ShareMode, "a share mode (shared or exclusive)", {
    Shared = "shared",
    Exclusive = "exclusive",
});
stored_as_text!(ShareMode, "a share mode");

bitflags::bitflags! {
    /// The protocols a caller accepts: the bit mask `dwPreferredProtocols`.
    ///
    /// The bits have the same values on every platform and are translated where a platform uses
    /// others (`SCARD_PROTOCOL_RAW` on Windows).
    ///
    /// [`Display`](fmt::Display) prints `T=0 or T=1`, and [`str::parse`] reads that back:
    ///
    /// ```
    /// use scard::Protocols;
    ///
    /// assert_eq!(Protocols::ANY.to_string(), "T=0 or T=1");
    /// for text in ["T=0 or T=1", "T=0|T=1", "t=0, t=1", "any"] {
    ///     assert_eq!(text.parse(), Ok(Protocols::ANY));
    /// }
    /// assert_eq!("raw".parse(), Ok(Protocols::RAW));
    /// ```
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Protocols: u32 {
        /// T=0, character-oriented.
        const T0 = 1;
        /// T=1, block-oriented.
        const T1 = 2;
        /// No protocol: data is sent to the card or the reader unchanged.
        const RAW = 4;
        /// T=15. Known to pcsc-lite only, and used by no card.
        const T15 = 8;
        /// T=0 or T=1, as the card prefers: nearly always the right choice.
        const ANY = Self::T0.bits() | Self::T1.bits();
    }
}

impl Default for Protocols {
    /// [`Protocols::ANY`].
    fn default() -> Protocols {
        Protocols::ANY
    }
}

const PROTOCOL_WORDS: FlagWords = FlagWords {
    words: &[
        (Protocols::T0.bits(), "T=0"),
        (Protocols::T1.bits(), "T=1"),
        (Protocols::T15.bits(), "T=15"),
        (Protocols::RAW.bits(), "raw"),
    ],
    separator: " or ",
    expected: "a protocol (T=0, T=1, T=15, raw, any or none)",
};

/// Formats as `T=0 or T=1`; `none` for the empty set.
impl fmt::Display for Protocols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        PROTOCOL_WORDS.write(self.bits(), f)
    }
}

/// Parses the output of `Display`, ignoring case, and `any`. Between protocols, `|` and `,` mean
/// the same as `or`.
impl FromStr for Protocols {
    type Err = ParseValueError;

    fn from_str(text: &str) -> Result<Protocols, ParseValueError> {
        if text.trim().eq_ignore_ascii_case("any") {
            return Ok(Protocols::ANY);
        }
        PROTOCOL_WORDS.read(text).map(Protocols::from_bits_retain)
    }
}

stored_as_text!(Protocols, "protocols");

/// The active protocol between reader and card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Protocol {
    /// T=0, character-oriented.
    T0,
    /// T=1, block-oriented.
    T1,
    /// No protocol: data is sent to the card or the reader unchanged.
    Raw,
    /// T=15.
    T15,
    /// Any other value of `dwActiveProtocol`, as reported by the service.
    Other(u32),
}

impl Protocol {
    /// Returns the set of just this protocol; empty for [`Protocol::Other`].
    pub fn as_protocols(self) -> Protocols {
        match self {
            Protocol::T0 => Protocols::T0,
            Protocol::T1 => Protocols::T1,
            Protocol::Raw => Protocols::RAW,
            Protocol::T15 => Protocols::T15,
            Protocol::Other(_) => Protocols::empty(),
        }
    }
}

impl From<Protocol> for Protocols {
    fn from(protocol: Protocol) -> Protocols {
        protocol.as_protocols()
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Protocol::T0 => f.pad("T=0"),
            Protocol::T1 => f.pad("T=1"),
            Protocol::Raw => f.pad("raw"),
            Protocol::T15 => f.pad("T=15"),
            Protocol::Other(value) => f.pad(&format!("protocol {value:#x}")),
        }
    }
}

/// Parses the output of `Display`, ignoring case.
impl FromStr for Protocol {
    type Err = ParseValueError;

    fn from_str(text: &str) -> Result<Protocol, ParseValueError> {
        let named = [Protocol::T0, Protocol::T1, Protocol::Raw, Protocol::T15];
        let mut named = named.into_iter().zip(["T=0", "T=1", "raw", "T=15"]);
        let word = text.trim();
        if let Some((protocol, _)) = named.find(|(_, name)| name.eq_ignore_ascii_case(word)) {
            return Ok(protocol);
        }
        let word = word.to_ascii_lowercase();
        let number = word.strip_prefix("protocol ").and_then(number);
        number
            .map(Protocol::Other)
            .ok_or_else(|| ParseValueError::new(text, "a protocol (T=0, T=1, T=15 or raw)"))
    }
}

stored_as_text!(Protocol, "a protocol");

/// What to do with the card when reconnecting: `dwInitialization`.
///
/// Ejecting is only possible as a [`Disposition`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Initialization {
    /// `SCARD_LEAVE_CARD`: nothing. Use it to acknowledge another program's reset.
    Leave,
    /// `SCARD_RESET_CARD`: a warm reset. The card stays powered and loses its state.
    Reset,
    /// `SCARD_UNPOWER_CARD`: a cold reset. The card is powered down and up again.
    Unpower,
}

impl Initialization {
    pub(crate) const fn raw(self) -> u32 {
        match self {
            Initialization::Leave => 0,
            Initialization::Reset => 1,
            Initialization::Unpower => 2,
        }
    }
}

words!(Initialization, "an initialization (leave, reset or unpower)", {
    Leave = "leave",
    Reset = "reset",
    Unpower = "unpower",
});
stored_as_text!(Initialization, "an initialization");

/// What to do with the card when a connection or a transaction ends: `dwDisposition`.
///
/// See [`guide::endings`](crate::guide::endings) for what ends them and what other programs notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Disposition {
    /// `SCARD_LEAVE_CARD`: nothing.
    #[default]
    Leave,
    /// `SCARD_RESET_CARD`: a warm reset.
    Reset,
    /// `SCARD_UNPOWER_CARD`: the card is powered down.
    ///
    /// pcsc-lite powers it up again at once if other connections need it, and powers it down for
    /// good when no one uses the card any more.
    Unpower,
    /// `SCARD_EJECT_CARD`: the reader ejects the card, if it can.
    ///
    /// pcsc-lite supports this only with drivers for version 2.0 of its interface, and there are
    /// hardly any.
    Eject,
}

impl Disposition {
    pub(crate) const fn raw(self) -> u32 {
        match self {
            Disposition::Leave => 0,
            Disposition::Reset => 1,
            Disposition::Unpower => 2,
            Disposition::Eject => 3,
        }
    }
}

words!(Disposition, "a disposition (leave, reset, unpower or eject)", {
    Leave = "leave",
    Reset = "reset",
    Unpower = "unpower",
    Eject = "eject",
});
stored_as_text!(Disposition, "a disposition");

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use pcsc::ffi;

    use super::*;

    /// Checks printing, padding and reading back.
    fn is_word<T>(value: T, word: &str)
    where
        T: fmt::Display + Debug + PartialEq + FromStr<Err = ParseValueError>,
    {
        assert_eq!(value.to_string(), word);
        assert_eq!(format!("{value:>12}|"), format!("{word:>12}|"));
        assert_eq!(word.parse().as_ref(), Ok(&value));
        assert_eq!(word.to_uppercase().replace("0X", "0x").parse(), Ok(value));
    }

    #[test]
    fn words_are_read_in_either_case() {
        assert_eq!("T=0 OR t=1".parse(), Ok(Protocols::ANY));
        assert_eq!("PROTOCOL 0X40".parse(), Ok(Protocol::Other(0x40)));
    }

    #[test]
    fn a_protocol_converts_to_a_set_of_one() {
        for (protocol, protocols) in [
            (Protocol::T0, Protocols::T0),
            (Protocol::T1, Protocols::T1),
            (Protocol::Raw, Protocols::RAW),
            (Protocol::T15, Protocols::T15),
            (Protocol::Other(0x40), Protocols::empty()),
        ] {
            assert_eq!(protocol.as_protocols(), protocols);
            assert_eq!(Protocols::from(protocol), protocols);
        }
    }

    #[test]
    fn words_are_read_back() {
        is_word(Scope::User, "user");
        is_word(Scope::System, "system");
        is_word(ShareMode::Shared, "shared");
        is_word(ShareMode::Exclusive, "exclusive");
        is_word(Initialization::Leave, "leave");
        is_word(Initialization::Reset, "reset");
        is_word(Initialization::Unpower, "unpower");
        is_word(Disposition::Leave, "leave");
        is_word(Disposition::Reset, "reset");
        is_word(Disposition::Unpower, "unpower");
        is_word(Disposition::Eject, "eject");
        is_word(Protocol::T0, "T=0");
        is_word(Protocol::T1, "T=1");
        is_word(Protocol::Raw, "raw");
        is_word(Protocol::T15, "T=15");
    }

    #[test]
    fn protocols_are_read_back_whatever_their_bits() {
        for bits in (0..=16).chain([0x8000_0000, 0x8000_0003, u32::MAX]) {
            let protocols = Protocols::from_bits_retain(bits);
            assert_eq!(protocols.to_string().parse(), Ok(protocols));
            let protocol = Protocol::Other(bits);
            assert_eq!(protocol.to_string().parse(), Ok(protocol));
        }
        for (bits, text) in [
            (0, "none"),
            (1, "T=0"),
            (3, "T=0 or T=1"),
            (15, "T=0 or T=1 or T=15 or raw"),
            (0x8000_0001, "T=0 or 0x80000000"),
        ] {
            assert_eq!(Protocols::from_bits_retain(bits).to_string(), text);
        }
        assert_eq!(format!("{:6}|", Protocols::T0), "T=0   |");
    }

    #[test]
    fn errors_contain_the_invalid_text() {
        for (text, part) in [
            ("", ""),
            ("T=2", "T=2"),
            ("T=0|", ""),
            ("T=0 or T2", "T2"),
            ("T=0 T=1", "T=0 T=1"),
            ("0x1FFFFFFFF", "0x1FFFFFFFF"),
            ("12", "12"),
        ] {
            assert_eq!(text.parse::<Protocols>().unwrap_err().text(), part);
        }
        for text in ["", "any", "T=0|T=1", "protocol", "protocol 16"] {
            assert!(text.parse::<Protocol>().is_err(), "{text:?}");
        }
        assert_eq!(
            "warm".parse::<Initialization>().unwrap_err().to_string(),
            r#""warm" is not an initialization (leave, reset or unpower)"#
        );
    }

    #[test]
    #[allow(clippy::unnecessary_cast)]
    fn numbers_are_those_of_the_bindings() {
        assert_eq!(Scope::User.raw(), ffi::SCARD_SCOPE_USER as u32);
        assert_eq!(Scope::System.raw(), ffi::SCARD_SCOPE_SYSTEM as u32);
        assert_eq!(SHARE_DIRECT, ffi::SCARD_SHARE_DIRECT as u32);
        assert_eq!(ShareMode::Shared.raw(), ffi::SCARD_SHARE_SHARED as u32);
        assert_eq!(
            ShareMode::Exclusive.raw(),
            ffi::SCARD_SHARE_EXCLUSIVE as u32
        );
        assert_eq!(Initialization::Leave.raw(), ffi::SCARD_LEAVE_CARD as u32);
        assert_eq!(Initialization::Reset.raw(), ffi::SCARD_RESET_CARD as u32);
        assert_eq!(
            Initialization::Unpower.raw(),
            ffi::SCARD_UNPOWER_CARD as u32
        );
        assert_eq!(Disposition::Leave.raw(), ffi::SCARD_LEAVE_CARD as u32);
        assert_eq!(Disposition::Reset.raw(), ffi::SCARD_RESET_CARD as u32);
        assert_eq!(Disposition::Unpower.raw(), ffi::SCARD_UNPOWER_CARD as u32);
        assert_eq!(Disposition::Eject.raw(), ffi::SCARD_EJECT_CARD as u32);
        assert_eq!(Protocols::T0.bits(), ffi::SCARD_PROTOCOL_T0 as u32);
        assert_eq!(Protocols::T1.bits(), ffi::SCARD_PROTOCOL_T1 as u32);
        assert_eq!(Protocols::T15.bits(), ffi::SCARD_PROTOCOL_T15 as u32);
    }
}
