//! Queries what the daemon publishes about its readers.
//!
//! A client learns of cards through the daemon's published reader states, so
//! these prove that an insertion or a removal is visible. This reads them as the
//! client library does, but without the library: its socket path is one per
//! process, ours is one per sandbox. The messages are those of pcsc-lite 1.8 to
//! 2.5 (`winscard_msg.h`, `eventhandler.h`); if a daemon answers differently,
//! the caller falls back to what the driver does on the wire.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

const CMD_VERSION: u32 = 0x11;
const CMD_GET_READERS_STATE: u32 = 0x12;
const CMD_GET_READERS_STATE_ARRAY: u32 = 0x17;
const PROTOCOL_MAJOR: i32 = 4;
/// The oldest minor version that current daemons still serve.
const PROTOCOL_MINOR: i32 = 4;
/// The first minor version in which the number of readers has no limit. The
/// older query still returns the first 16 there.
const MINOR_WITH_ARRAY: i32 = 6;

/// The size of an entry of the daemon's answer, a `READER_STATE` structure.
const ENTRY_LEN: usize = 184;
const NAME_LEN: usize = 128;
const STATE_AT: usize = 132;
const SCARD_PRESENT: u32 = 0x0004;

/// How long the daemon may take to publish the driver's answer.
const PATIENCE: Duration = Duration::from_millis(50);

/// Queries the daemon of one sandbox.
#[derive(Debug)]
pub(crate) struct DaemonStatus {
    socket: PathBuf,
    minor: AtomicI32,
}

/// What the daemon publishes about one reader.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Published {
    pub(crate) name: String,
    pub(crate) card: bool,
}

impl DaemonStatus {
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self {
            socket,
            minor: AtomicI32::new(PROTOCOL_MINOR),
        }
    }

    /// The published readers; `Unsupported` if this daemon speaks another protocol.
    pub(crate) fn readers(&self) -> io::Result<Vec<Published>> {
        for _ in 0..2 {
            let asked = self.minor.load(Ordering::Relaxed);
            let (stream, minor) = open(&self.socket, asked)?;
            if minor == asked {
                return ask(stream, minor);
            }
            self.minor.store(minor, Ordering::Relaxed);
        }
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Whether the daemon publishes within a moment that `reader` has a card (or
    /// has none). `None` if it cannot be asked.
    pub(crate) fn confirm(&self, reader: &str, card: bool) -> Option<bool> {
        let started = Instant::now();
        // The daemon changes the state, then counts the event: a second query
        // sees both.
        let mut seen = 0;
        while seen < 2 {
            let readers = self.readers().ok()?;
            if readers.iter().find(|r| r.name == reader)?.card == card {
                seen += 1;
            } else if started.elapsed() > PATIENCE {
                return Some(false);
            }
        }
        Some(true)
    }
}

/// Opens a connection, and returns the daemon's minor version.
fn open(socket: &Path, minor: i32) -> io::Result<(UnixStream, i32)> {
    let mut stream = UnixStream::connect(socket)?;
    // A stopped daemon never answers.
    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
    let mut hello = request(CMD_VERSION, 12);
    for field in [PROTOCOL_MAJOR, minor, 0] {
        hello.extend_from_slice(&field.to_ne_bytes());
    }
    stream.write_all(&hello)?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    let major = i32::from_ne_bytes([answer[0], answer[1], answer[2], answer[3]]);
    if major != PROTOCOL_MAJOR {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let minor = i32::from_ne_bytes([answer[4], answer[5], answer[6], answer[7]]);
    Ok((stream, minor))
}

fn ask(mut stream: UnixStream, minor: i32) -> io::Result<Vec<Published>> {
    let command = match minor < MINOR_WITH_ARRAY {
        true => CMD_GET_READERS_STATE,
        false => CMD_GET_READERS_STATE_ARRAY,
    };
    stream.write_all(&request(command, 0))?;
    // The daemon hangs up after its answer, so read to the end. (The array can
    // grow between a query of its size and the answer.)
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    // It always has entries, even if only free ones.
    if answer.is_empty() || answer.len() % ENTRY_LEN != 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(parse(&answer))
}

/// The header of a message: `struct rxHeader`.
fn request(command: u32, body_len: u32) -> Vec<u8> {
    let mut message = body_len.to_ne_bytes().to_vec();
    message.extend_from_slice(&command.to_ne_bytes());
    message
}

fn parse(answer: &[u8]) -> Vec<Published> {
    answer
        .chunks_exact(ENTRY_LEN)
        .filter(|entry| entry[0] != 0)
        .map(|entry| {
            let name = entry[..NAME_LEN].split(|b| *b == 0).next().unwrap_or(&[]);
            let mut state = [0; 4];
            state.copy_from_slice(&entry[STATE_AT..STATE_AT + 4]);
            Published {
                name: String::from_utf8_lossy(name).into_owned(),
                card: u32::from_ne_bytes(state) & SCARD_PRESENT != 0,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Sandbox;

    #[test]
    fn states_are_parsed() {
        let mut answer = vec![0; 16 * ENTRY_LEN];
        answer[..6].copy_from_slice(b"Reader");
        answer[STATE_AT..STATE_AT + 4].copy_from_slice(&0x0003_0034u32.to_ne_bytes());
        answer[ENTRY_LEN] = b'B';
        answer[ENTRY_LEN + STATE_AT] = 2;
        let expected = |name: &str, card| Published {
            name: name.into(),
            card,
        };
        assert_eq!(
            parse(&answer),
            [expected("Reader", true), expected("B", false)]
        );
        assert_eq!(parse(&[]), []);
    }

    #[test]
    fn all_readers_of_a_daemon_are_asked_for() {
        let count = Sandbox::max_readers().unwrap().min(20);
        let sandbox = Sandbox::builder().readers(count).start().unwrap();
        let published = sandbox.status.readers().unwrap();
        let names: Vec<_> = sandbox.readers().iter().map(|r| r.name()).collect();
        assert_eq!(names.len(), count);
        assert_eq!(published.iter().map(|p| &p.name).collect::<Vec<_>>(), names);
    }
}
