//! Requests to the fake service.

use std::io::{self, Read};

/// The longest data that can follow a request: that of a command.
pub(super) const MAX_DATA: usize = 65_548;

/// A kind of request. Each has the 32-bit words that its description lists;
/// unless noted, its answer has the same words, filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Message {
    /// `SCardEstablishContext`: scope, context, code.
    Establish,
    /// `SCardReleaseContext`: context, code.
    Release,
    /// `SCardConnect`: context, the reader's name (32 words), share mode,
    /// protocols, card, active protocol, code.
    Connect,
    /// `SCardReconnect`: card, share mode, protocols, initialization, active
    /// protocol, code.
    Reconnect,
    /// `SCardDisconnect`: card, disposition, code.
    Disconnect,
    /// `SCardBeginTransaction`: card, code.
    Begin,
    /// `SCardEndTransaction`: card, disposition, code.
    End,
    /// `SCardTransmit`: card, protocol, size of its structure, length of the
    /// command, protocol and size again for the answer, space for the answer or
    /// its length, code. The data follows, in the answer only if the code is 0.
    Transmit,
    /// `SCardControl`: card, control code, length of the data, space for the
    /// answer, length of the answer, code. The data follows, in the answer only
    /// if the code is 0.
    Control,
    /// `SCardStatus`, which also requests the reader states: card, code.
    Status,
    /// `SCardCancel`: context, code. Comes on a separate connection.
    Cancel,
    /// `SCardGetAttrib`: card, attribute, value (66 words), length, code.
    GetAttribute,
    /// `SCardSetAttrib`: as [`GetAttribute`](Self::GetAttribute).
    SetAttribute,
    /// The first message of a connection: major and minor version, code.
    Version,
    /// The states of the readers, up to version 4:5. Has no words; the answer is
    /// 16 reader states.
    ReaderStates,
    /// The client waits for the next [`Change`](Self::Change). Has no words. Up to
    /// version 4:5 the answer is 16 reader states; from 4:6 on there is none.
    WaitForChange,
    /// The client stops waiting. Has no words; answered with 0 and a code, unless
    /// the change came first.
    StopWaiting,
    /// How often the list of readers has changed, from version 4:5 on. Has no
    /// words; the answer is that number and a code.
    ReaderEvents,
    /// How many reader states there are, from version 4:6 on. Has no words; the
    /// answer is the number.
    StatesSize,
    /// The states of the readers, from version 4:6 on. Has no words; the answer
    /// is as many reader states as [`StatesSize`](Self::StatesSize) said.
    StatesArray,
    /// Not a request: the notification of a client that waits for a change, 0 and
    /// a code. The code is 0 for a change, and SCARD_E_CANCELLED after a
    /// [`Cancel`](Self::Cancel).
    Change,
}

/// The layout of a message, in words.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Layout {
    /// Words of a request.
    pub(super) request: usize,
    /// Words of an answer, without the reader states.
    pub(super) answer: usize,
    pub(super) handle: Option<usize>,
    pub(super) protocol: Option<usize>,
    /// The length of the data that follows a request.
    pub(super) sent: Option<usize>,
    /// The length of the answered data.
    pub(super) length: Option<usize>,
    pub(super) code: Option<usize>,
}

impl Layout {
    /// Request and answer are the same words, the last of which is the code.
    const fn same(words: usize) -> Self {
        Self {
            request: words,
            ..Self::answer(words)
        }
    }

    /// A request without words.
    const fn answer(words: usize) -> Self {
        Self {
            request: 0,
            answer: words,
            handle: None,
            protocol: None,
            sent: None,
            length: None,
            code: words.checked_sub(1),
        }
    }
}

impl Message {
    fn numbered(number: u32) -> Option<Self> {
        Some(match number {
            0x01 => Self::Establish,
            0x02 => Self::Release,
            0x04 => Self::Connect,
            0x05 => Self::Reconnect,
            0x06 => Self::Disconnect,
            0x07 => Self::Begin,
            0x08 => Self::End,
            0x09 => Self::Transmit,
            0x0A => Self::Control,
            0x0B => Self::Status,
            0x0D => Self::Cancel,
            0x0F => Self::GetAttribute,
            0x10 => Self::SetAttribute,
            0x11 => Self::Version,
            0x12 => Self::ReaderStates,
            0x13 => Self::WaitForChange,
            0x14 => Self::StopWaiting,
            0x15 => Self::ReaderEvents,
            0x16 => Self::StatesSize,
            0x17 => Self::StatesArray,
            _ => return None,
        })
    }

    pub(super) fn layout(self) -> Layout {
        match self {
            Self::Establish => Layout {
                handle: Some(1),
                ..Layout::same(3)
            },
            Self::Connect => Layout {
                handle: Some(35),
                protocol: Some(36),
                ..Layout::same(38)
            },
            Self::Reconnect => Layout {
                protocol: Some(4),
                ..Layout::same(6)
            },
            Self::Transmit => Layout {
                sent: Some(3),
                length: Some(6),
                ..Layout::same(8)
            },
            Self::Control => Layout {
                sent: Some(2),
                length: Some(4),
                ..Layout::same(6)
            },
            Self::GetAttribute | Self::SetAttribute => Layout {
                length: Some(68),
                ..Layout::same(70)
            },
            Self::Disconnect | Self::End | Self::Version => Layout::same(3),
            Self::Release | Self::Begin | Self::Status | Self::Cancel => Layout::same(2),
            Self::StopWaiting | Self::ReaderEvents | Self::Change => Layout::answer(2),
            Self::StatesSize => Layout {
                code: None,
                ..Layout::answer(1)
            },
            Self::ReaderStates | Self::WaitForChange | Self::StatesArray => Layout::answer(0),
        }
    }
}

/// A request of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// The kind of request.
    pub message: Message,
    /// The connection, numbered from 0 in the order in which clients connected.
    /// A PC/SC context is a connection.
    pub connection: usize,
    /// How many requests of this kind came before, on all connections.
    pub number: usize,
    /// The words of the request, as bytes.
    pub words: Vec<u8>,
    /// The data that follows them: a command, or the data of a control code.
    pub data: Vec<u8>,
}

impl Request {
    /// A word of the request; 0 if it has fewer words.
    pub fn word(&self, index: usize) -> u32 {
        word(&self.words, index)
    }

    /// The name of the reader in a [`Connect`](Message::Connect); empty in others.
    pub fn reader(&self) -> &[u8] {
        let name = match self.message {
            Message::Connect => self.words.get(4..132).unwrap_or_default(),
            _ => &[],
        };
        name.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// Reads the next request, without its number. Like the real service, hangs up
    /// on anything else.
    pub(super) fn receive(mut stream: impl Read, connection: usize) -> io::Result<Self> {
        let mut header = [0; 8];
        stream.read_exact(&mut header)?;
        let message = Message::numbered(word(&header, 1)).ok_or(io::ErrorKind::InvalidData)?;
        let layout = message.layout();
        if word(&header, 0) as usize != 4 * layout.request {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut words = vec![0; 4 * layout.request];
        stream.read_exact(&mut words)?;
        let length = layout.sent.map_or(0, |index| word(&words, index) as usize);
        if length > MAX_DATA {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut data = vec![0; length];
        stream.read_exact(&mut data)?;
        Ok(Self {
            message,
            connection,
            number: 0,
            words,
            data,
        })
    }
}

fn word(bytes: &[u8], index: usize) -> u32 {
    let bytes = bytes.chunks_exact(4).nth(index);
    bytes.map_or(0, |word| {
        u32::from_ne_bytes([word[0], word[1], word[2], word[3]])
    })
}

/// Sets a word, if it exists.
pub(super) fn set_word(bytes: &mut [u8], index: usize, value: u32) {
    if let Some(word) = bytes.chunks_exact_mut(4).nth(index) {
        word.copy_from_slice(&value.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(size: u32, number: u32, rest: &[u8]) -> Vec<u8> {
        [&size.to_ne_bytes(), &number.to_ne_bytes(), rest].concat()
    }

    #[test]
    fn requests_are_read_with_their_data() {
        let mut words = [0; 32];
        set_word(&mut words, 3, 2);
        let sent = message(32, 9, &[&words[..], &[0xBA, 0xBE, 0xFF]].concat());
        let request = Request::receive(&sent[..], 3).unwrap();
        assert_eq!(
            (request.message, request.connection),
            (Message::Transmit, 3)
        );
        assert_eq!((request.word(3), request.word(8)), (2, 0));
        assert_eq!(request.data, [0xBA, 0xBE]);

        let mut words = [0; 152];
        words[4..9].copy_from_slice(b"R 00\0");
        let request = Request::receive(&message(152, 4, &words)[..], 0).unwrap();
        assert_eq!(request.reader(), b"R 00");
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let mut long = [0; 32];
        set_word(&mut long, 3, MAX_DATA as u32 + 1);
        for sent in [
            message(8, 0, &[0; 8]),
            message(8, 0x0C, &[0; 8]),
            message(u32::MAX, 2, &[0; 8]),
            message(12, 2, &[0; 12]),
            message(32, 9, &long),
            message(8, 2, &[0; 7]),
            vec![8],
        ] {
            assert!(Request::receive(&sent[..], 0).is_err(), "{sent:?}");
        }
    }
}
