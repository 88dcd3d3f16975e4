//! Answers of the fake service.

use std::time::Duration;

use super::{Gate, Reader};

/// What the service answers, and when. Starts as the answer that the service
/// would give without a script; every part of it can be changed.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Answer {
    /// Replaces the whole answer.
    pub(super) raw: Option<Vec<u8>>,
    pub(super) readers: Option<Vec<Reader>>,
    pub(super) data: Option<Vec<u8>>,
    pub(super) code: Option<u32>,
    pub(super) handle: Option<u32>,
    pub(super) protocol: Option<u32>,
    pub(super) length: Option<u32>,
    pub(super) words: Vec<(usize, u32)>,
    pub(super) rest: Vec<u8>,
    pub(super) is_changed: bool,
    pub(super) pauses: Vec<(usize, Pause)>,
    pub(super) cut: Option<usize>,
}

#[derive(Clone, Debug)]
pub(super) enum Pause {
    For(Duration),
    At(Gate),
}

impl Answer {
    /// The same answer as without a script.
    pub fn normal() -> Self {
        Self::default()
    }

    /// With this code, if the message has one. Data follows only the code 0.
    pub fn code(code: u32) -> Self {
        Self {
            code: Some(code),
            ..Self::default()
        }
    }

    /// With this data: the answer to a command or a control code, or the value of
    /// an attribute (of which only 264 bytes are used).
    pub fn data(data: impl Into<Vec<u8>>) -> Self {
        Self {
            data: Some(data.into()),
            ..Self::default()
        }
    }

    /// With these readers instead of those of
    /// [`Service::set_readers`](super::Service::set_readers), for this answer only;
    /// if the message has reader states or their number.
    pub fn readers(readers: impl IntoIterator<Item = Reader>) -> Self {
        Self {
            readers: Some(readers.into_iter().collect()),
            ..Self::default()
        }
    }

    /// Exactly these bytes; if empty, no answer.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            raw: Some(bytes.into()),
            ..Self::default()
        }
    }

    /// No answer: the connection is closed.
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

    /// Claims this length of the data, whatever its real length.
    pub fn length(mut self, length: u32) -> Self {
        self.length = Some(length);
        self
    }

    /// Sets a word, counted from 0, to another value: see [`Message`](super::Message).
    pub fn word(mut self, index: usize, value: u32) -> Self {
        self.words.push((index, value));
        self
    }

    /// Followed by these bytes.
    pub fn then(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.rest.extend_from_slice(bytes.as_ref());
        self
    }

    /// Followed by the change for which the client registers
    /// ([`WaitForChange`](super::Message::WaitForChange)), so that it waits no longer.
    pub fn then_change(mut self) -> Self {
        self.is_changed = true;
        self.then([0; 8])
    }

    /// Delayed by this time.
    pub fn delay(self, delay: Duration) -> Self {
        self.delay_after(0, delay)
    }

    /// With a pause after `bytes` bytes.
    pub fn delay_after(mut self, bytes: usize, delay: Duration) -> Self {
        self.pauses.push((bytes, Pause::For(delay)));
        self
    }

    /// Waits until the gate is open.
    pub fn stall(self, gate: &Gate) -> Self {
        self.stall_after(0, gate)
    }

    /// Stops after `bytes` bytes until the gate is open.
    pub fn stall_after(mut self, bytes: usize, gate: &Gate) -> Self {
        self.pauses.push((bytes, Pause::At(gate.clone())));
        self
    }

    /// Closes the connection after `bytes` bytes, or after the whole answer if it
    /// is shorter.
    pub fn cut(mut self, bytes: usize) -> Self {
        self.cut = Some(bytes);
        self
    }
}
