//! Answers of the reader to commands for contactless cards.

use std::fmt;

use super::error::ContactlessError;
use crate::apdu::StatusWord;

/// The kind of request, on which the meaning of a status word depends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Request {
    /// GET DATA.
    GetData,
    /// LOAD KEYS.
    LoadKeys,
    /// GENERAL AUTHENTICATE.
    Authenticate,
    /// READ BINARY.
    ReadBinary,
    /// UPDATE BINARY.
    UpdateBinary,
    /// INCREMENT or DECREMENT.
    ChangeValue,
}

impl Request {
    const fn asks_for_data(self) -> bool {
        matches!(self, Request::GetData | Request::ReadBinary)
    }
}

/// A status word as the answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Status {
    request: Request,
    word: StatusWord,
}

impl Status {
    /// Returns the status of a request from its status word.
    pub const fn new(request: Request, word: StatusWord) -> Status {
        Status { request, word }
    }

    /// Returns the data of an answer whose status word is 9000; for READ BINARY, also the data, if
    /// any, of an answer that ends early (6282).
    ///
    /// # Errors
    ///
    /// [`ContactlessError::Status`] with any other status word, [`ContactlessError::NoStatusWord`]
    /// without one; [`ContactlessError::NoData`] if GET DATA or READ BINARY succeed without data.
    pub fn check(request: Request, answer: &[u8]) -> Result<&[u8], ContactlessError> {
        let (data, word) = answer
            .split_last_chunk()
            .ok_or(ContactlessError::NoStatusWord)?;
        // INCREMENT and DECREMENT also report their result in a data object.
        let word = match (request, data, word) {
            (Request::ChangeValue, [0xC0, 0x03, _, sw1, sw2, ..], [0x90, 0x00]) => &[*sw1, *sw2],
            _ => word,
        };
        match StatusWord(u16::from_be_bytes(*word)) {
            StatusWord::SUCCESS if data.is_empty() && request.asks_for_data() => {
                Err(ContactlessError::NoData)
            }
            StatusWord::SUCCESS => Ok(data),
            StatusWord::END_OF_FILE if request == Request::ReadBinary && !data.is_empty() => {
                Ok(data)
            }
            word => Err(ContactlessError::Status(Status::new(request, word))),
        }
    }

    /// Returns the status word.
    pub const fn word(self) -> StatusWord {
        self.word
    }

    /// Returns the kind of request.
    pub const fn request(self) -> Request {
        self.request
    }

    /// Returns whether a contact card may have answered this instead of its reader: a refusal of
    /// the command as such.
    pub(crate) fn may_be_of_contact_card(self) -> bool {
        match self.request {
            Request::GetData => self.word.is_checking_error(),
            _ => self.meaning() == StatusMeaning::Unsupported,
        }
    }

    /// Returns the meaning of the status word.
    pub const fn meaning(self) -> StatusMeaning {
        use Request::{Authenticate, LoadKeys, ReadBinary, UpdateBinary};

        match (self.word.raw(), self.request) {
            (0x9000, _) => StatusMeaning::Success,
            (0x6281, _) => StatusMeaning::DataCorrupted,
            (0x6282, _) => StatusMeaning::EndReached,
            (0x6300, _) => StatusMeaning::Failed,
            (0x6581, _) => StatusMeaning::MemoryFailure,
            (0x6700, _) => StatusMeaning::WrongLength,
            (0x6981, _) => StatusMeaning::WrongCard,

            (0x6982, LoadKeys) => StatusMeaning::CardKeyUnsupported,
            (0x6983, LoadKeys) => StatusMeaning::ReaderKeyUnsupported,
            (0x6984, LoadKeys) => StatusMeaning::PlainKeyUnsupported,
            (0x6985, LoadKeys) => StatusMeaning::EncryptedKeyUnsupported,
            (0x6986, LoadKeys) => StatusMeaning::NoVolatileMemory,
            (0x6987, LoadKeys) => StatusMeaning::NoNonVolatileMemory,
            (0x6989, LoadKeys) => StatusMeaning::WrongKeyLength,
            (0x6988, LoadKeys | Authenticate) => StatusMeaning::NoSuchKeyNumber,

            (0x6983, Authenticate) => StatusMeaning::CannotAuthenticate,
            (0x6984, Authenticate) => StatusMeaning::KeyUnusable,
            (0x6986, Authenticate) => StatusMeaning::UnknownKeyKind,

            (0x6982, _) => StatusMeaning::NotAuthenticated,
            (0x6986, ReadBinary | UpdateBinary) => StatusMeaning::NotAllowed,
            (0x6A81, _) => StatusMeaning::Unsupported,
            (0x6A82, _) => StatusMeaning::NotFound,
            (0x6B00, _) => StatusMeaning::WrongParameters,
            (0x6C00..=0x6CFF, _) => StatusMeaning::LengthIs(self.word.sw2()),
            (0x6800 | 0x6D00 | 0x6E00, _) => StatusMeaning::Unsupported,
            _ => StatusMeaning::Other,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:04X})", self.meaning(), self.word.raw())
    }
}

macro_rules! meanings {
    ($( $(#[$doc:meta])* $name:ident $(($type:ty))? = $text:literal; )+) => {
        /// The meaning of a status word in the answer of a contactless reader.
        ///
        /// [`Display`](fmt::Display) prints a clause for logs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum StatusMeaning {
            $( $(#[$doc])* $name $(($type))?, )+
        }

        impl StatusMeaning {
            /// Returns a clause for logs.
            pub const fn description(self) -> &'static str {
                match self {
                    $( StatusMeaning::$name { .. } => $text, )+
                }
            }
        }
    };
}

meanings! {
    /// 9000.
    Success = "success";
    /// 6281: part of the data may be wrong.
    DataCorrupted = "part of the data may be wrong";
    /// 6282: fewer bytes are available than requested.
    EndReached = "fewer bytes are available than requested";
    /// 6300: the command failed for an unspecified reason. For GENERAL AUTHENTICATE, a wrong key;
    /// often, the card was removed.
    Failed = "the command failed";
    /// 6581: the memory of the card does not exist, or could not be written.
    MemoryFailure = "the card has no such memory, or it cannot be written";
    /// 6700: the length of the command is wrong.
    WrongLength = "the length of the command is wrong";
    /// 6981: the command is not for this kind of card.
    WrongCard = "the command is not for this kind of card";
    /// 6982: the required key was not presented; for GENERAL AUTHENTICATE, a wrong key.
    NotAuthenticated = "the required key was not presented";
    /// 6986: the card does not allow this.
    NotAllowed = "the card does not allow this";
    /// 6982 to LOAD KEYS: the reader does not accept card keys.
    CardKeyUnsupported = "the reader does not accept card keys";
    /// 6983 to LOAD KEYS: the reader does not accept reader keys.
    ReaderKeyUnsupported = "the reader does not accept reader keys";
    /// 6984 to LOAD KEYS: the reader accepts only encrypted keys.
    PlainKeyUnsupported = "the reader accepts only encrypted keys";
    /// 6985 to LOAD KEYS: the reader does not accept encrypted keys.
    EncryptedKeyUnsupported = "the reader does not accept encrypted keys";
    /// 6986 to LOAD KEYS: the reader has no [volatile](super::KeyPlace::Volatile) memory.
    NoVolatileMemory = "the reader has no volatile memory for keys";
    /// 6987 to LOAD KEYS: the reader has no [non-volatile](super::KeyPlace::NonVolatile)
    /// memory.
    NoNonVolatileMemory = "the reader has no non-volatile memory for keys";
    /// 6988: the reader has no key slot with this number.
    NoSuchKeyNumber = "the reader has no key slot with this number";
    /// 6989: the length of the key is wrong.
    WrongKeyLength = "the length of the key is wrong";
    /// 6983 to GENERAL AUTHENTICATE: authentication to the card is not possible.
    CannotAuthenticate = "authentication to the card is not possible";
    /// 6984 to GENERAL AUTHENTICATE: the key cannot be used; usually none was loaded.
    KeyUnusable = "the key cannot be used";
    /// 6986 to GENERAL AUTHENTICATE: the reader does not know this kind of key.
    UnknownKeyKind = "the reader does not know this kind of key";
    /// 6800, 6A81, 6D00 or 6E00: the reader cannot do this.
    Unsupported = "the reader cannot do this";
    /// 6A82: there is no such block or byte.
    NotFound = "the card has no such block";
    /// 6B00: P1 or P2 is wrong.
    WrongParameters = "the parameters are wrong";
    /// 6Cxx: this many bytes are available; 0 means 256.
    LengthIs(u8) = "the requested length is wrong";
    /// Any other status word.
    Other = "the status word is unknown";
}

impl fmt::Display for StatusMeaning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.description())
    }
}
