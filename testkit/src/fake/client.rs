//! A connection: its requests and their answers.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use super::answer::Pause;
use super::message::set_word;
use super::service::{Shared, State};
use super::{Answer, Message, Reader, Request};
use crate::sync::lock;

/// Reader states up to protocol 4:5.
const STATES: usize = 16;

/// Space for the value of an attribute, which begins at word 2.
const ATTRIBUTE: usize = 264;

const SHARE_DIRECT: u32 = 3;

const CANCELLED: u32 = 0x8010_0002;
const UNKNOWN_READER: u32 = 0x8010_0009;
const NO_SMARTCARD: u32 = 0x8010_000C;
const SERVICE_STOPPED: u32 = 0x8010_001E;

pub(super) struct Client {
    number: usize,
    stream: UnixStream,
    /// Held during a whole answer: notifications of waiting clients come from
    /// another thread.
    writing: Mutex<()>,
    /// Of the protocol 4.
    minor: AtomicU32,
}

impl Client {
    pub(super) fn new(number: usize, stream: UnixStream) -> Self {
        Self {
            number,
            stream,
            writing: Mutex::new(()),
            minor: AtomicU32::new(4),
        }
    }

    pub(super) fn hang_up(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    pub(super) fn serve(&self, shared: &Arc<Shared>) {
        while let Ok(mut request) = Request::receive(&self.stream, self.number) {
            // A change that comes after a request is reported after its answer: the
            // client would miss a change reported before the states it requested.
            let _writing = lock(&self.writing);
            let answer = shared.ask(&mut request);
            let bytes = self.compose(shared, &mut shared.state(), &request, &answer, 0);
            if self.send(shared, &bytes, &answer).is_err() {
                break;
            }
        }
        self.hang_up();
    }

    /// Sends the client the change it waits for.
    pub(super) fn notify(&self, shared: &Arc<Shared>, code: u32) {
        let mut request = Request {
            message: Message::Change,
            connection: self.number,
            number: 0,
            words: Vec::new(),
            data: Vec::new(),
        };
        let answer = shared.ask(&mut request);
        let _writing = lock(&self.writing);
        let bytes = self.compose(shared, &mut shared.state(), &request, &answer, code);
        if self.send(shared, &bytes, &answer).is_err() {
            self.hang_up();
        }
    }

    /// Carries out a request and returns the bytes of its answer.
    fn compose(
        &self,
        shared: &Arc<Shared>,
        state: &mut State,
        request: &Request,
        answer: &Answer,
        mut code: u32,
    ) -> Vec<u8> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let layout = request.message.layout();
        let mut bytes = request.words.clone();
        bytes.resize(4 * layout.answer, 0);
        let mut handle = None;
        let mut protocol = 0;
        let mut data = None;
        let readers = answer.readers.as_ref().unwrap_or(&state.readers).clone();
        match request.message {
            Message::Version => {
                let minor = request.word(1);
                if request.word(0) == 4 && (4..=6).contains(&minor) {
                    self.minor.store(minor, Ordering::SeqCst);
                } else {
                    code = SERVICE_STOPPED;
                }
                // Its own, also if it accepts an older one.
                set_word(&mut bytes, 0, 4);
                set_word(&mut bytes, 1, 6);
            }
            Message::Establish => {
                let context = answer
                    .handle
                    .unwrap_or_else(|| NEXT.fetch_add(1, Ordering::SeqCst));
                state.contexts.insert(context, self.number);
                handle = Some(context);
            }
            Message::Connect => {
                handle = Some(NEXT.fetch_add(1, Ordering::SeqCst));
                protocol = preferred(request.word(34));
                let reader = readers.iter().find(|r| r.is_named(request.reader()));
                code = match reader {
                    None => UNKNOWN_READER,
                    Some(reader) if !reader.has_card() && request.word(33) != SHARE_DIRECT => {
                        NO_SMARTCARD
                    }
                    Some(_) => 0,
                };
            }
            Message::Reconnect => protocol = preferred(request.word(2)),
            Message::Transmit => data = Some([&request.data[..], &[0x90, 0x00]].concat()),
            Message::Control => data = Some(request.data.clone()),
            Message::GetAttribute => data = Some(request.word(1).to_be_bytes().to_vec()),
            Message::ReaderStates => bytes = Reader::states(&readers, STATES),
            Message::WaitForChange => {
                if !answer.is_changed {
                    state.waiting.insert(self.number);
                }
                if self.minor.load(Ordering::SeqCst) < 6 {
                    bytes = Reader::states(&readers, STATES);
                }
            }
            // The change came first, and is the answer.
            Message::StopWaiting if !state.waiting.remove(&self.number) => bytes.clear(),
            Message::Cancel => {
                let connection = state.contexts.get(&request.word(0)).copied();
                let waiting = connection.filter(|it| state.waiting.remove(it));
                if let Some(connection) = waiting {
                    shared.notify(state, connection, CANCELLED);
                }
            }
            Message::ReaderEvents => set_word(&mut bytes, 0, state.changes),
            Message::StatesSize => {
                let states = u32::try_from(state.states(readers.len()));
                set_word(&mut bytes, 0, states.unwrap_or(u32::MAX));
            }
            Message::StatesArray => bytes = Reader::states(&readers, state.states(readers.len())),
            Message::StopWaiting
            | Message::Release
            | Message::Disconnect
            | Message::Begin
            | Message::End
            | Message::Status
            | Message::SetAttribute
            | Message::Change => {}
        }
        if let Some(raw) = &answer.raw {
            return raw.clone();
        }
        let code = answer.code.unwrap_or(code);
        let mut put = |index: Option<usize>, value: u32| {
            if let Some(index) = index {
                set_word(&mut bytes, index, value);
            }
        };
        put(layout.code, code);
        if let Some(handle) = answer.handle.or(handle) {
            put(layout.handle, handle);
        }
        put(layout.protocol, answer.protocol.unwrap_or(protocol));
        let mut follows = Vec::new();
        if let Some(normal) = data {
            let data = answer.data.clone().unwrap_or(normal);
            let length = if code == 0 { data.len() } else { 0 };
            put(layout.length, u32::try_from(length).unwrap_or(u32::MAX));
            follows = data;
            follows.truncate(length);
        }
        if let Some(length) = answer.length {
            put(layout.length, length);
        }
        if request.message == Message::GetAttribute {
            // Within the words.
            follows.resize(ATTRIBUTE, 0);
            bytes[8..8 + ATTRIBUTE].copy_from_slice(&follows);
            follows.clear();
        }
        for (index, value) in &answer.words {
            set_word(&mut bytes, *index, *value);
        }
        bytes.extend(follows);
        bytes.extend(&answer.rest);
        bytes
    }

    /// Sends the bytes of an answer, with its pauses. An error ends the connection.
    fn send(&self, shared: &Shared, bytes: &[u8], answer: &Answer) -> io::Result<()> {
        let end = answer.cut.unwrap_or(bytes.len()).min(bytes.len());
        let mut pauses = answer.pauses.clone();
        pauses.sort_by_key(|(after, _)| *after);
        let mut sent = 0;
        for (after, pause) in pauses {
            let after = after.min(end);
            (&self.stream).write_all(&bytes[sent..after])?;
            sent = after;
            match pause {
                Pause::For(time) => shared.sleep(time),
                Pause::At(gate) => shared.pass(&gate),
            }
            // The end of the service ends the pause, and there is no answer.
            if shared.ended.load(Ordering::SeqCst) {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
        }
        (&self.stream).write_all(&bytes[sent..end])?;
        match answer.cut {
            Some(_) => Err(io::ErrorKind::BrokenPipe.into()),
            None => Ok(()),
        }
    }
}

/// The protocol for a connection to a card: T=1, or else the requested one.
fn preferred(protocols: u32) -> u32 {
    [2, 1, 4, 8]
        .into_iter()
        .find(|protocol| protocols & protocol != 0)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::time::Duration;

    use super::super::Gate;
    use super::*;

    #[test]
    fn what_was_held_back_is_not_sent_because_the_service_ends() {
        let answers = [
            Answer::normal().delay_after(2, Duration::from_secs(600)),
            Answer::normal().stall_after(2, &Gate::new()),
        ];
        for answer in answers {
            let (mut program, stream) = UnixStream::pair().unwrap();
            let shared = Shared::default();
            shared.ended.store(true, Ordering::SeqCst);
            let client = Client::new(0, stream);
            assert!(client.send(&shared, &[1, 2, 3, 4], &answer).is_err());
            drop(client);
            let mut sent = Vec::new();
            program.read_to_end(&mut sent).unwrap();
            assert_eq!(sent, [1, 2]);
        }
    }
}
