//! The calls of a context and its cards, except those about readers.

use std::ffi::CStr;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::bell::Bell;
use super::client::{Card, Client};
use super::wire::{ATTRIBUTE, Answer, Command, Garbled, MAX_PAYLOAD, NAME, Requests, pack, words};
use crate::codes::ReturnCode;
use crate::service::{CardHandle, Connected, Failure};

/// How long the daemon sleeps before it refuses a transaction, with a margin.
const REFUSAL: Duration = Duration::from_millis(150);

/// How many transactions query the state first, after one that had to wait.
const CONTENDED: u32 = 16;

/// The size of `SCARD_IO_REQUEST`, which is passed on to the driver and ignored there.
const PCI_LEN: u32 = size_of::<[usize; 2]>() as u32;

/// Any protocol.
const ANY: u32 = 3;

impl Client {
    pub(in crate::service) fn release_context(&mut self) -> Result<(), ReturnCode> {
        self.query_client = None;
        if self.pending.is_some() {
            // No request can be sent; closing the connection has the same effect.
            return Ok(());
        }
        self.ask(Command::Release, [self.context, 0]).map(drop)
    }

    /// Answers as the client library does, without asking the daemon.
    pub(in crate::service) fn is_valid_context(&self) -> Result<(), ReturnCode> {
        Ok(())
    }

    pub(in crate::service) fn connect(
        &mut self,
        reader: &CStr,
        share_mode: u32,
        protocols: u32,
    ) -> Result<Connected, ReturnCode> {
        let name = reader.to_bytes();
        if name.len() > NAME {
            return Err(ReturnCode::E_INVALID_VALUE);
        }
        let name = name.get(..NAME - 1).unwrap_or(name);
        let mut request = [0; 38];
        let [context, named @ .., share, accepted, _, _, _] = &mut request;
        (*context, *share, *accepted) = (self.context, share_mode, protocols);
        pack(name, named);
        let answer = self.ask(Command::Connect, request)?;
        let [.., handle, protocol, _] = answer;
        self.add(handle, name);
        Ok(Connected {
            handle: CardHandle(handle.into()),
            protocol,
        })
    }

    fn add(&mut self, handle: u32, reader: &[u8]) {
        self.cards.push(Card {
            handle,
            reader: reader.to_vec(),
            contended: 0,
        });
    }

    pub(in crate::service) fn reconnect(
        &mut self,
        card: CardHandle,
        share_mode: u32,
        protocols: u32,
        initialization: u32,
    ) -> Result<u32, ReturnCode> {
        let handle = self.handle_of(card)?;
        let words = [handle, share_mode, protocols, initialization, 0, 0];
        let answer = self.polled(|client| Ok(client.ask(Command::Reconnect, words)?));
        let [.., protocol, _] = answer.map_err(|failure| failure.code)?;
        Ok(protocol)
    }

    pub(in crate::service) fn disconnect(
        &mut self,
        card: CardHandle,
        disposition: u32,
    ) -> Result<(), ReturnCode> {
        let handle = self.handle_of(card)?;
        self.ask(Command::Disconnect, [handle, disposition, 0])?;
        self.cards.retain(|card| card.handle != handle);
        Ok(())
    }

    /// The daemon sleeps before it refuses a transaction, but refuses a query of the state at once.
    /// So the state is queried first where another client may hold the card.
    pub(in crate::service) fn begin_transaction(
        &mut self,
        card: CardHandle,
    ) -> Result<(), ReturnCode> {
        let handle = self.handle_of(card)?;
        let is_short = self.limit.left().is_some_and(|left| left < REFUSAL);
        let mut asks_first = is_short
            || self
                .cards
                .iter()
                .any(|it| it.handle == handle && it.contended > 0);
        let mut contended = None;
        let begun = self.polled(|client| {
            if asks_first {
                client.ask_whether_held(handle).inspect_err(|code| {
                    if *code == ReturnCode::E_SHARING_VIOLATION {
                        contended = Some(CONTENDED);
                    }
                })?;
            }
            let begun = client.ask(Command::Begin, [handle, 0]);
            if begun == Err(ReturnCode::E_SHARING_VIOLATION) {
                (asks_first, contended) = (true, Some(CONTENDED));
            }
            Ok(begun.map(drop)?)
        });
        for card in self.cards.iter_mut().filter(|it| it.handle == handle) {
            card.contended = contended.unwrap_or(card.contended.saturating_sub(1));
        }
        begun.map_err(|failure| failure.code)
    }

    /// Fails if another client holds the card, or the answer does not come in time. Any other
    /// failure is returned by the call that follows.
    fn ask_whether_held(&mut self, handle: u32) -> Result<(), ReturnCode> {
        let asked = self.ask(Command::Status, [handle, 0]).map(drop);
        match asked {
            Err(ReturnCode::E_SHARING_VIOLATION) => asked,
            _ if self.usable().is_err() => asked,
            _ => Ok(()),
        }
    }

    pub(in crate::service) fn end_transaction(
        &mut self,
        card: CardHandle,
        disposition: u32,
    ) -> Result<(), ReturnCode> {
        let handle = self.handle_of(card)?;
        self.ask(Command::End, [handle, disposition, 0]).map(drop)
    }

    /// Returns the length of the response in `answer`.
    ///
    /// A caller that gives up while the answer to a command is missing does not know whether the
    /// command ran. So a command that was refused once is repeated only when no other client holds
    /// the card.
    #[inline]
    pub(in crate::service) fn transmit(
        &mut self,
        card: CardHandle,
        protocol: u32,
        command: &[u8],
        answer: &mut [u8],
    ) -> Result<usize, Failure> {
        let handle = self.handle_of(card)?;
        let (len, room) = (len_of(command), len_of(answer));
        let words = [handle, protocol, PCI_LEN, len, ANY, PCI_LEN, room, 0];
        let mut was_refused = false;
        self.polled(|client| {
            if was_refused && !client.limit.is_none() {
                client.ask_whether_held(handle)?;
            }
            was_refused = true;
            client.exchange(Command::Transmit, words, command, answer)
        })
    }

    /// Returns the length of the output in `output`.
    pub(in crate::service) fn control(
        &mut self,
        card: CardHandle,
        code: u32,
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, Failure> {
        let handle = self.handle_of(card)?;
        let words = [handle, code, len_of(input), len_of(output), 0, 0];
        self.exchange(Command::Control, words, input, output)
    }

    /// Sends a request with a payload, and receives an answer with one.
    #[inline]
    fn exchange<const N: usize>(
        &mut self,
        command: Command,
        request: [u32; N],
        payload: &[u8],
        answer: &mut [u8],
    ) -> Result<usize, Failure> {
        // The daemon closes the connection on a longer one.
        if payload.len() > MAX_PAYLOAD {
            return Err(ReturnCode::E_INSUFFICIENT_BUFFER.into());
        }
        self.usable()?;
        let asked = Requests::<{ 8 + 32 }>::NONE.with(command, &request);
        let request = asked.as_bytes();
        if let Err(ended) = self.stream.send(request, payload, &self.limit) {
            return Err(self.fail(ended).into());
        }
        let mut head = [0; 32];
        let head = head.get_mut(..4 * N).unwrap_or_default();
        let (expected, mut received) = (Answer::Payload(N), 0);
        let taken = self
            .stream
            .receive(head, answer, &mut received, &self.limit);
        if let Err(ended) = taken {
            let bytes = head.get(..received).unwrap_or_default();
            return Err(self.give_up(request, expected, bytes, ended).into());
        }
        let mut received = received - head.len();
        let [.., len, code] = words::<N>(head)[..] else {
            return Err(self.garbled(Garbled).into());
        };
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if code != 0 {
            if received > 0 {
                return Err(self.garbled(Garbled).into());
            }
            return Err(too_small(ReturnCode::from_raw(code), len, answer.len()));
        }
        let Some(rest) = answer.get_mut(..len) else {
            self.garbled(Garbled);
            return Err(too_small(
                ReturnCode::E_INSUFFICIENT_BUFFER,
                len,
                answer.len(),
            ));
        };
        if received > len {
            return Err(self.garbled(Garbled).into());
        }
        let taken = self
            .stream
            .receive(rest, &mut [], &mut received, &self.limit);
        match taken {
            Ok(()) => Ok(len),
            Err(ended) => {
                let bytes = [head, rest.get(..received).unwrap_or_default()].concat();
                let bytes = Zeroizing::new(bytes);
                Err(self.give_up(request, expected, &bytes, ended).into())
            }
        }
    }

    pub(in crate::service) fn get_attribute(
        &mut self,
        card: CardHandle,
        id: u32,
    ) -> Result<Vec<u8>, Failure> {
        let answer = self.attribute(Command::GetAttribute, card, id, &[], ATTRIBUTE)?;
        let (value, tail) = answer
            .get(8..)
            .unwrap_or_default()
            .split_at_checked(ATTRIBUTE)
            .unwrap_or_default();
        let [len, _] = words(tail);
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let fits = value.get(..len).map(<[u8]>::to_vec);
        fits.ok_or_else(|| too_small(ReturnCode::E_INSUFFICIENT_BUFFER, len, ATTRIBUTE))
    }

    pub(in crate::service) fn set_attribute(
        &mut self,
        card: CardHandle,
        id: u32,
        value: &[u8],
    ) -> Result<(), ReturnCode> {
        if value.len() > ATTRIBUTE {
            return Err(ReturnCode::E_INSUFFICIENT_BUFFER);
        }
        self.attribute(Command::SetAttribute, card, id, value, value.len())?;
        Ok(())
    }

    /// Exchanges the structure of an attribute, which has the value in the middle.
    fn attribute(
        &mut self,
        command: Command,
        card: CardHandle,
        id: u32,
        value: &[u8],
        len: usize,
    ) -> Result<Zeroizing<Vec<u8>>, ReturnCode> {
        const WORDS: usize = 4 + ATTRIBUTE / 4;
        let handle = self.handle_of(card)?;
        let mut words = Zeroizing::new([0; WORDS]);
        let [to, of, packed @ .., stated, _] = &mut *words;
        (*to, *of, *stated) = (handle, id, u32::try_from(len).unwrap_or_default());
        pack(value, packed);
        let mut request = Requests::<{ 8 + 4 * WORDS }>::NONE.with(command, &*words);
        let answer = self.gather(request.as_bytes(), &[], Answer::Words(WORDS));
        request.wipe();
        let answer = answer?;
        let code = answer
            .last_chunk::<4>()
            .map_or(0, |code| u32::from_ne_bytes(*code));
        match code {
            0 => Ok(answer),
            code => Err(ReturnCode::from_raw(code)),
        }
    }

    /// The bell that ends waits, after resetting it.
    pub(in crate::service) fn canceller(&mut self) -> Option<Arc<Bell>> {
        if self.bell.is_none() {
            self.bell = Bell::new().ok();
        }
        let bell = self.bell.as_ref()?;
        bell.reset();
        Some(Arc::clone(bell))
    }
}

/// A length in the protocol. No buffer is longer than that.
fn len_of(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// A failure, with the needed length if the buffer was too small.
#[cold]
fn too_small(code: ReturnCode, len: usize, room: usize) -> Failure {
    let is_too_small = code == ReturnCode::E_INSUFFICIENT_BUFFER && len > room;
    Failure {
        needed_len: is_too_small.then_some(len),
        ..code.into()
    }
}
