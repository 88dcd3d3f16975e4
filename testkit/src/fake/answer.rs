//! What is answered.

use std::time::Duration;

use super::{Gate, Reader};

/// What the service answers, and when. Begins as the answer that would be given
/// without a script, of which anything can be changed.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Answer {
    /// All of it.
    pub(super) raw: Option<Vec<u8>>,
    pub(super) readers: Option<Vec<Reader>>,
    pub(super) data: Option<Vec<u8>>,
    pub(super) code: Option<u32>,
    pub(super) handle: Option<u32>,
    pub(super) protocol: Option<u32>,
    pub(super) length: Option<u32>,
    pub(super) words: Vec<(usize, u32)>,
    pub(super) rest: Vec<u8>,
    pub(super) pauses: Vec<(usize, Pause)>,
    pub(super) cut: Option<usize>,
}

#[derive(Clone, Debug)]
pub(super) enum Pause {
    For(Duration),
    At(Gate),
}

impl Answer {
    /// As without a script.
    pub fn normal() -> Self {
        Self::default()
    }

    /// With this code, where the message has one. Data follows the code 0 only.
    pub fn code(code: u32) -> Self {
        Self {
            code: Some(code),
            ..Self::default()
        }
    }

    /// With this data: the response to a command or a control code, the value of
    /// an attribute (of which 264 bytes count).
    pub fn data(data: impl Into<Vec<u8>>) -> Self {
        Self {
            data: Some(data.into()),
            ..Self::default()
        }
    }

    /// With other readers than [`Service::set_readers`](super::Service::set_readers) has set,
    /// for this once; where the message has reader states or their number.
    pub fn readers(readers: impl IntoIterator<Item = Reader>) -> Self {
        Self {
            readers: Some(readers.into_iter().collect()),
            ..Self::default()
        }
    }

    /// These bytes and no others; without any, nothing is answered.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            raw: Some(bytes.into()),
            ..Self::default()
        }
    }

    /// None: the connection is closed.
    pub fn hang_up() -> Self {
        Self::normal().cut(0)
    }

    /// Another context ([`Establish`](super::Message::Establish)) or card
    /// ([`Connect`](super::Message::Connect)).
    pub fn handle(mut self, handle: u32) -> Self {
        self.handle = Some(handle);
        self
    }

    /// Another active protocol ([`Connect`](super::Message::Connect),
    /// [`Reconnect`](super::Message::Reconnect)): 1 for T=0, 2 for T=1, 4 for raw.
    pub fn protocol(mut self, protocol: u32) -> Self {
        self.protocol = Some(protocol);
        self
    }

    /// Claims this length of the data, whatever is sent.
    pub fn length(mut self, length: u32) -> Self {
        self.length = Some(length);
        self
    }

    /// Another value of a word, counted from 0: see [`Message`](super::Message).
    pub fn word(mut self, index: usize, value: u32) -> Self {
        self.words.push((index, value));
        self
    }

    /// With these bytes behind it.
    pub fn then(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.rest.extend_from_slice(bytes.as_ref());
        self
    }

    /// So much later.
    pub fn delay(self, delay: Duration) -> Self {
        self.delay_after(0, delay)
    }

    /// With a pause after so many bytes.
    pub fn delay_after(mut self, bytes: usize, delay: Duration) -> Self {
        self.pauses.push((bytes, Pause::For(delay)));
        self
    }

    /// When the gate is open.
    pub fn stall(self, gate: &Gate) -> Self {
        self.stall_after(0, gate)
    }

    /// Stops after so many bytes until the gate is open.
    pub fn stall_after(mut self, bytes: usize, gate: &Gate) -> Self {
        self.pauses.push((bytes, Pause::At(gate.clone())));
        self
    }

    /// Closes the connection after so many bytes, or after all of them if they are
    /// fewer.
    pub fn cut(mut self, bytes: usize) -> Self {
        self.cut = Some(bytes);
        self
    }
}
