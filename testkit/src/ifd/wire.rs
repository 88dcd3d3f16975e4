//! The wire between the kit and its driver (`driver/ifd.rs`): numbers in native
//! byte order, because both ends run on the same machine.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use super::IfdError;

/// The longest message: longer than the daemon's longest command.
const MAX_LEN: usize = 1 << 20;

/// What the driver sends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// The first request of a connection.
    Hello {
        lun: u32,
        purpose: u32,
        device: String,
    },
    Close,
    GetAttribute {
        tag: u32,
    },
    SetAttribute {
        tag: u32,
        value: Vec<u8>,
    },
    SetProtocol {
        protocol: u32,
    },
    Power(u32),
    Transmit(Vec<u8>),
    Control {
        code: u32,
        input: Vec<u8>,
    },
    /// Is there a card?
    Presence(Round),
}

/// A round of a thread of the daemon, from one wait to the next: the thread's
/// number, and how often it has waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Round {
    thread: u32,
    waits: u32,
}

/// Purposes of connections.
pub(crate) const REQUESTS: u32 = 0;
pub(crate) const EVENTS: u32 = 1;

/// Actions of [`Request::Power`].
pub(crate) const POWER_UP: u32 = 500;
pub(crate) const POWER_DOWN: u32 = 501;
pub(crate) const RESET: u32 = 502;

/// Codes of answers to [`Request::Presence`].
pub(crate) const PRESENT: IfdError = IfdError::new(615);
pub(crate) const ABSENT: IfdError = IfdError::ICC_NOT_PRESENT;

/// Attributes that every slot has: `SCARD_ATTR_ATR_STRING`, and its name in
/// drivers.
pub(crate) const ATTRIBUTE_ATR: u32 = 0x0009_0303;
pub(crate) const TAG_ATR: u32 = 0x0303;

/// The daemon's query for each slot after the first: can it be used at the same
/// time as another one of the reader?
pub(crate) const TAG_SLOT_THREAD_SAFE: u32 = 0x0FAC;

/// The daemon's query after it has added a reader: how many slots does it have?
pub(crate) const TAG_SLOTS_NUMBER: u32 = 0x0FAE;

/// Set by the daemon when a reader was unplugged.
pub(crate) const TAG_DEVICE_REMOVED: u32 = 0x0FB4;

/// An answer: the data of a success, or a response code.
pub(crate) type Answer = Result<Vec<u8>, IfdError>;

impl Request {
    fn parse(kind: u8, a: u32, b: u32, data: Vec<u8>) -> io::Result<Self> {
        Ok(match kind {
            0 => Self::Hello {
                lun: a,
                purpose: b,
                device: String::from_utf8_lossy(&data).into_owned(),
            },
            1 => Self::Close,
            2 => Self::GetAttribute { tag: a },
            3 => Self::SetAttribute {
                tag: a,
                value: data,
            },
            4 => Self::SetProtocol { protocol: a },
            5 => Self::Power(a),
            6 => Self::Transmit(data),
            7 => Self::Control {
                code: a,
                input: data,
            },
            8 => Self::Presence(Round {
                thread: a,
                waits: b,
            }),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        })
    }
}

/// Waits for the next request.
pub(crate) fn receive(mut stream: &UnixStream) -> io::Result<Request> {
    let length = number(stream)? as usize;
    if !(9..=MAX_LEN).contains(&length) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message)?;
    let word = |at: usize| {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&message[at..at + 4]);
        u32::from_ne_bytes(bytes)
    };
    let (kind, a, b) = (message[0], word(1), word(5));
    message.drain(..9);
    Request::parse(kind, a, b, message)
}

/// Waits for the end of a round, which the driver sends on the connection for
/// events.
pub(crate) fn end_of_round(stream: &UnixStream) -> io::Result<Round> {
    Ok(Round {
        thread: number(stream)?,
        waits: number(stream)?,
    })
}

fn number(mut stream: &UnixStream) -> io::Result<u32> {
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes)?;
    Ok(u32::from_ne_bytes(bytes))
}

pub(crate) fn send(stream: &UnixStream, answer: &Answer) -> io::Result<()> {
    match answer {
        Ok(data) => send_parts(stream, 0, data),
        Err(error) => send_parts(stream, error.code(), &[]),
    }
}

/// Answers the query for a card, with the number of the last change.
pub(crate) fn send_presence(stream: &UnixStream, code: IfdError, change: u64) -> io::Result<()> {
    send_parts(stream, code.code(), &change.to_ne_bytes())
}

fn send_parts(mut stream: &UnixStream, code: u32, data: &[u8]) -> io::Result<()> {
    let length = u32::try_from(data.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut message = Vec::with_capacity(8 + data.len());
    message.extend_from_slice(&length.to_ne_bytes());
    message.extend_from_slice(&code.to_ne_bytes());
    message.extend_from_slice(data);
    stream.write_all(&message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, a: u32, b: u32, data: &[u8]) -> Vec<u8> {
        let mut message = (9 + data.len() as u32).to_ne_bytes().to_vec();
        message.push(kind);
        message.extend(a.to_ne_bytes());
        message.extend(b.to_ne_bytes());
        message.extend(data);
        message
    }

    #[test]
    fn requests_are_told_apart() {
        for (sent, request) in [
            (
                message(0, 0x10002, 1, b"/dev/null:3"),
                Request::Hello {
                    lun: 0x10002,
                    purpose: EVENTS,
                    device: "/dev/null:3".into(),
                },
            ),
            (message(1, 0, 0, &[]), Request::Close),
            (message(2, 7, 0, &[]), Request::GetAttribute { tag: 7 }),
            (
                message(3, 7, 0, &[1]),
                Request::SetAttribute {
                    tag: 7,
                    value: vec![1],
                },
            ),
            (
                message(4, 1, 0, &[0; 4]),
                Request::SetProtocol { protocol: 1 },
            ),
            (message(5, 500, 0, &[]), Request::Power(POWER_UP)),
            (message(6, 1, 258, &[0]), Request::Transmit(vec![0])),
            (message(6, 1, 258, &[]), Request::Transmit(vec![])),
            (
                message(7, 9, 0, &[5]),
                Request::Control {
                    code: 9,
                    input: vec![5],
                },
            ),
            (
                message(8, 4, 2, &[]),
                Request::Presence(Round {
                    thread: 4,
                    waits: 2,
                }),
            ),
        ] {
            let (mut driver, kit) = UnixStream::pair().unwrap();
            driver.write_all(&sent).unwrap();
            assert_eq!(receive(&kit).unwrap(), request);
        }
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for sent in [
            message(9, 0, 0, &[]),
            8u32.to_ne_bytes().to_vec(),
            u32::MAX.to_ne_bytes().to_vec(),
            vec![1, 0],
        ] {
            let (mut driver, kit) = UnixStream::pair().unwrap();
            driver.write_all(&sent).unwrap();
            drop(driver);
            assert!(receive(&kit).is_err(), "{sent:?}");
        }
    }
}
