//! PACE, the protocol that protects contactless cards with a password, as a feature of the reader:
//! [`FEATURE_EXECUTE_PACE`](super::Feature::EXECUTE_PACE), of amendment 1 of PC/SC Part 10 and BSI
//! TR-03119.
//!
//! The reader establishes and keeps a channel with the card: programs send commands as before, and
//! the reader protects them. The user enters the password at the reader, unless the request
//! contains it.
//!
//! ```no_run
//! # fn demo(mut card: scard::Card) -> Result<(), Box<dyn std::error::Error>> {
//! use scard::features::pace::{CAPABILITIES, Pace, PaceAnswer, PaceCapabilities, Password};
//! use scard::features::{Feature, Pin};
//! use scard::Control;
//!
//! let features = card.features()?;
//! let code = features.control_code(Feature::EXECUTE_PACE).ok_or("no PACE")?;
//! let can = PaceCapabilities::from_answer(&card.control(code, CAPABILITIES)?)?;
//! if can.contains(PaceCapabilities::PACE) {
//!     let request = Pace::new(Password::Can).secret(Pin::new("123456"));
//!     let answer = card.control_exclusively(code, &request.to_bytes()?)?;
//!     let answer = PaceAnswer::from_bytes(&answer)?;
//!     println!("{}", answer.result());
//! }
//! # Ok(())
//! # }
//! ```

use std::fmt;

use zeroize::Zeroizing;

use super::entry::InvalidPinRequest;
use super::typed::Pin;
use crate::apdu::StatusWord;
use crate::codes::debug_as_line;

/// The input that asks for [`PaceCapabilities`]: function 1.
pub const CAPABILITIES: &[u8] = &[0x01, 0x00, 0x00];

/// The input that ends a channel: function 3, for readers with [`PaceCapabilities::DESTROY`].
pub const DESTROY: &[u8] = &[0x03, 0x00, 0x00];

bitflags::bitflags! {
    /// The PACE capabilities of a reader.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct PaceCapabilities: u8 {
        /// Qualified signatures.
        const ESIGN = 0x10;
        /// The German eID, with terminal authentication.
        const EID = 0x20;
        /// PACE itself.
        const PACE = 0x40;
        /// A channel can be [ended](DESTROY).
        const DESTROY = 0x80;
    }
}

impl PaceCapabilities {
    /// Parses an answer to [`CAPABILITIES`].
    ///
    /// # Errors
    ///
    /// If the answer is invalid, or reports a failure of the reader.
    pub fn from_answer(answer: &[u8]) -> Result<PaceCapabilities, InvalidPaceAnswer> {
        match Fields::of_output(answer)? {
            (PaceResult::SUCCESS, Fields(&[.., bits])) => {
                Ok(PaceCapabilities::from_bits_retain(bits))
            }
            _ => Err(InvalidPaceAnswer(())),
        }
    }
}

/// The kind of password: its number in TR-03110.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Password {
    /// The machine-readable zone of a passport or identity card.
    Mrz,
    /// The card access number, which is printed on the card.
    Can,
    /// The PIN.
    Pin,
    /// The PUK.
    Puk,
    /// Any other number.
    Other(u8),
}

impl Password {
    /// Returns the number.
    pub const fn raw(self) -> u8 {
        match self {
            Password::Mrz => 0x01,
            Password::Can => 0x02,
            Password::Pin => 0x03,
            Password::Puk => 0x04,
            Password::Other(raw) => raw,
        }
    }
}

/// The request for a channel: `EstablishPACEChannel`, function 2.
///
/// ```
/// use scard::features::pace::{Pace, Password};
///
/// // The user enters the PIN at the reader.
/// let request = Pace::new(Password::Pin);
/// assert_eq!(*request.to_bytes()?, [0x02, 0x05, 0x00, 0x03, 0x00, 0x00, 0x00, 0x00]);
/// # Ok::<(), scard::features::InvalidPinRequest>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Pace {
    password: Password,
    secret: Option<Pin>,
    chat: Vec<u8>,
    certificate_description: Vec<u8>,
}

impl Pace {
    /// Returns a request with this kind of password, which the user enters at the reader.
    pub fn new(password: Password) -> Pace {
        Pace {
            password,
            secret: None,
            chat: Vec::new(),
            certificate_description: Vec::new(),
        }
    }

    /// Sets the password itself, if it is no secret to the computer, such as the one printed on the
    /// card.
    pub fn secret(mut self, secret: Pin) -> Pace {
        self.secret = Some(secret);
        self
    }

    /// Sets the requested rights (CHAT), for terminal authentication.
    pub fn chat(mut self, chat: impl Into<Vec<u8>>) -> Pace {
        self.chat = chat.into();
        self
    }

    /// Sets the description of the certificate, which the reader shows.
    pub fn certificate_description(mut self, description: impl Into<Vec<u8>>) -> Pace {
        self.certificate_description = description.into();
        self
    }

    /// Returns the input for the control code, which is overwritten when dropped.
    ///
    /// # Errors
    ///
    /// If the password or CHAT is longer than 255 bytes, or the total longer than 65,535 bytes.
    pub fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>, InvalidPinRequest> {
        let secret = self.secret.as_ref().map_or(&[][..], Pin::as_bytes);
        let too_long = || InvalidPinRequest::new("a part of the PACE request is too long");
        let short = |part: &[u8]| u8::try_from(part.len()).map_err(|_| too_long());
        let (chat, description) = (&self.chat, &self.certificate_description);
        let len = 5 + chat.len() + secret.len() + description.len();
        let word = |len: usize| u16::try_from(len).map_err(|_| too_long());
        let (chat_len, secret_len) = (short(chat)?, short(secret)?);
        let (len_bytes, description_len) = (word(len)?, word(description.len())?);
        // Growing would leave a copy behind that is never overwritten.
        let mut bytes = Zeroizing::new(Vec::with_capacity(3 + len));
        bytes.push(0x02);
        bytes.extend_from_slice(&len_bytes.to_le_bytes());
        bytes.extend_from_slice(&[self.password.raw(), chat_len]);
        bytes.extend_from_slice(chat);
        bytes.push(secret_len);
        bytes.extend_from_slice(secret);
        bytes.extend_from_slice(&description_len.to_le_bytes());
        bytes.extend_from_slice(description);
        Ok(bytes)
    }
}

/// The result of a request for a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PaceResult(u32);

impl PaceResult {
    /// The channel is established.
    pub const SUCCESS: PaceResult = PaceResult(0);
    /// The user pressed the cancel key.
    pub const CANCELLED: PaceResult = PaceResult(0xF020_0001);
    /// The user entered nothing in time.
    pub const TIMED_OUT: PaceResult = PaceResult(0xF020_0002);

    /// Returns the result with this number.
    pub const fn from_raw(raw: u32) -> PaceResult {
        PaceResult(raw)
    }

    /// Returns the number.
    pub const fn raw(self) -> u32 {
        self.0
    }

    /// Returns the status word with which the card refused one of the reader's commands, if it did.
    /// 63CX and 6300 after the last step mean a wrong password.
    pub const fn status(self) -> Option<StatusWord> {
        match self.0 >> 16 {
            0xF000..=0xF006 => Some(StatusWord(self.0 as u16)),
            _ => None,
        }
    }

    /// Returns the meaning: a clause without capital and full stop.
    pub const fn description(self) -> &'static str {
        match self.0 {
            0 => "the channel is established",
            0xD000_0001 => "the lengths in the request contradict each other",
            0xD000_0002 => "the request has unexpected data",
            0xD000_0003 => "the parts of the request are inconsistent",
            0xE000_0001 => "the card does not support PACE",
            0xE000_0002 => "the reader does not support the algorithm",
            0xE000_0003 => "the reader does not support this password",
            0xF010_0001 => "the card did not answer",
            0xF010_0002 => "there is no card",
            0xF020_0001 => "the entry was cancelled",
            0xF020_0002 => "nothing was entered in time",
            _ => match self.0 >> 16 {
                0xF000 => "the card refused the selection of EF.CardAccess",
                0xF001 => "the card refused access to EF.CardAccess",
                0xF002 => "the card refused to set the password (MSE: Set AT)",
                0xF003..=0xF006 => "the card refused a step of the protocol (GENERAL AUTHENTICATE)",
                _ => "the reader failed for an unknown reason",
            },
        }
    }
}

impl fmt::Display for PaceResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.description())?;
        if let Some(status) = self.status() {
            write!(f, ": {status}")?;
        }
        write!(f, " ({:#010X})", self.0)
    }
}

/// The answer to a request for a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "the password may be wrong"]
pub struct PaceAnswer {
    result: PaceResult,
    status: Option<StatusWord>,
    card_access: Vec<u8>,
    current_car: Vec<u8>,
    previous_car: Vec<u8>,
    id_icc: Vec<u8>,
}

impl PaceAnswer {
    /// Parses an answer. Missing fields are empty.
    ///
    /// # Errors
    ///
    /// If the answer has fewer than six bytes, or its lengths contradict each other.
    pub fn from_bytes(answer: &[u8]) -> Result<PaceAnswer, InvalidPaceAnswer> {
        let (result, mut fields) = Fields::of_output(answer)?;
        let mut read = PaceAnswer {
            result,
            status: None,
            card_access: Vec::new(),
            current_car: Vec::new(),
            previous_car: Vec::new(),
            id_icc: Vec::new(),
        };
        if fields.is_empty() {
            return Ok(read);
        }
        let &[sw1, sw2] = fields.take_chunk()?;
        read.status = Some(StatusWord::from([sw1, sw2]));
        // A reader that failed may end here.
        if !fields.is_empty() {
            read.card_access = fields.long()?;
        }
        // Only for terminal authentication.
        if !fields.is_empty() {
            read.current_car = fields.short()?;
            read.previous_car = fields.short()?;
            read.id_icc = fields.long()?;
        }
        match fields.is_empty() {
            true => Ok(read),
            false => Err(InvalidPaceAnswer(())),
        }
    }

    /// Returns the result of the request.
    pub fn result(&self) -> PaceResult {
        self.result
    }

    /// Returns the card's status word to MSE: Set AT; 63CX contains the number of tries left.
    pub fn status(&self) -> Option<StatusWord> {
        self.status
    }

    /// Returns EF.CardAccess.
    pub fn card_access(&self) -> &[u8] {
        &self.card_access
    }

    /// Returns the reference of the current certification authority (CARcurr).
    pub fn current_car(&self) -> &[u8] {
        &self.current_car
    }

    /// Returns the reference of the previous certification authority (CARprev).
    pub fn previous_car(&self) -> &[u8] {
        &self.previous_car
    }

    /// Returns the card's ephemeral public key (IDicc).
    pub fn id_icc(&self) -> &[u8] {
        &self.id_icc
    }
}

/// Bytes that are not an answer to a PACE request, or that report a failure of the reader where a
/// success is required.
#[derive(Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("the reader's answer to a PACE request is invalid")]
pub struct InvalidPaceAnswer(());

debug_as_line!(InvalidPaceAnswer);

/// The rest of an answer.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Splits off the result.
    fn of_output(answer: &'a [u8]) -> Result<(PaceResult, Fields<'a>), InvalidPaceAnswer> {
        let mut fields = Fields(answer);
        let result = PaceResult(u32::from_le_bytes(*fields.take_chunk()?));
        let len = usize::from(u16::from_le_bytes(*fields.take_chunk()?));
        match fields.0.len() == len {
            true => Ok((result, fields)),
            false => Err(InvalidPaceAnswer(())),
        }
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take_chunk<const N: usize>(&mut self) -> Result<&'a [u8; N], InvalidPaceAnswer> {
        let (chunk, rest) = self.0.split_first_chunk().ok_or(InvalidPaceAnswer(()))?;
        self.0 = rest;
        Ok(chunk)
    }

    fn take(&mut self, len: usize) -> Result<Vec<u8>, InvalidPaceAnswer> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(InvalidPaceAnswer(()))?;
        self.0 = rest;
        Ok(taken.to_vec())
    }

    /// Takes a field with a one-byte length.
    fn short(&mut self) -> Result<Vec<u8>, InvalidPaceAnswer> {
        let &[len] = self.take_chunk()?;
        self.take(usize::from(len))
    }

    /// Takes a field with a two-byte length.
    fn long(&mut self) -> Result<Vec<u8>, InvalidPaceAnswer> {
        let len = u16::from_le_bytes(*self.take_chunk()?);
        self.take(usize::from(len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_has_its_parts_in_order() {
        let request = Pace::new(Password::Can)
            .secret(Pin::new("123456"))
            .chat([0x7F, 0x4C])
            .certificate_description([0x30]);
        let expected = b"\x02\x0E\x00\x02\x02\x7F\x4C\x06123456\x01\x00\x30";
        assert_eq!(**request.to_bytes().unwrap(), *expected);
        assert!(!format!("{request:?}").contains("31"), "{request:?}");
        for request in [
            Pace::new(Password::Pin).secret(Pin::new([0; 256])),
            Pace::new(Password::Pin).chat([0; 256]),
            Pace::new(Password::Pin).certificate_description([0; 65_531]),
        ] {
            assert!(request.to_bytes().is_err());
        }
        let most = Pace::new(Password::Pin).certificate_description([0; 65_530]);
        assert_eq!(most.to_bytes().unwrap().len(), 3 + 65_535);
    }

    #[test]
    fn capabilities_are_bits() {
        let can = PaceCapabilities::from_answer(b"\0\0\0\0\x01\0\x60").unwrap();
        assert_eq!(can, PaceCapabilities::PACE | PaceCapabilities::EID);
        // Some readers put a length before the bits.
        let can = PaceCapabilities::from_answer(b"\0\0\0\0\x02\0\x01\x40").unwrap();
        assert_eq!(can, PaceCapabilities::PACE);
        for wrong in [
            &b""[..],
            b"\0\0\0\0\0\0",
            b"\0\0\0\0\x02\0\x40",
            b"\x01\0\0\xD0\x01\0\x40",
        ] {
            assert!(
                PaceCapabilities::from_answer(wrong).is_err(),
                "{wrong:02X?}"
            );
        }
    }

    #[test]
    fn incomplete_answers_are_refused() {
        let whole = b"\0\0\0\0\x0E\0\x90\x00\x02\x00\x31\x32\x01\x41\x01\x42\x02\x00\x01\x02";
        let answer = PaceAnswer::from_bytes(whole).unwrap();
        assert_eq!(answer.result(), PaceResult::SUCCESS);
        assert_eq!(answer.status(), Some(StatusWord::SUCCESS));
        assert_eq!(answer.card_access(), b"\x31\x32");
        assert_eq!(answer.current_car(), b"\x41");
        assert_eq!(answer.previous_car(), b"\x42");
        assert_eq!(answer.id_icc(), b"\x01\x02");
        // Truncated anywhere, even if the length field matches.
        for len in 0..whole.len() {
            let mut cut = whole[..len].to_vec();
            assert!(PaceAnswer::from_bytes(&cut).is_err(), "{len}");
            if let (Some(at), true) = (cut.get_mut(4), len >= 6) {
                *at = (len - 6) as u8;
                let reads = PaceAnswer::from_bytes(&cut).is_ok();
                assert_eq!(reads, matches!(len, 6 | 8 | 12), "{len}");
            }
        }
        let wrong_password = PaceAnswer::from_bytes(b"\xC2\x63\x06\xF0\0\0").unwrap();
        let result = wrong_password.result();
        assert_eq!(result.status(), Some(StatusWord(0x63C2)));
        assert!(
            result.to_string().ends_with("2 left (63C2) (0xF00663C2)"),
            "{result}"
        );
        let cancelled = PaceAnswer::from_bytes(b"\x01\0\x20\xF0\0\0").unwrap();
        assert_eq!(cancelled.result(), PaceResult::CANCELLED);
        assert_eq!(cancelled.status(), None);
    }
}
