//! The calls of a context and its cards, except those about readers.

use std::ffi::CStr;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::bell::Bell;
use super::client::{Card, Client, FIRST_PAUSE};
use super::stream::Ended;
use super::wire::{ATTRIBUTE, Answer, Command, Garbled, MAX_PAYLOAD, NAME, Requests, pack, words};
use crate::codes::ReturnCode;
use crate::service::{CardHandle, Connected, Failure, block_on};

/// How long the daemon sleeps before it refuses a transaction, with a margin.
const REFUSAL: Duration = Duration::from_millis(150);

/// How many transactions query the state first, after one that had to wait.
const CONTENDED: u32 = 16;

/// The size of `SCARD_IO_REQUEST`, which is passed on to the driver and ignored there.
const PCI_LEN: u32 = size_of::<[usize; 2]>() as u32;

/// Any protocol.
const ANY: u32 = 3;

impl Client {
    pub(in crate::service) async fn release_context(&mut self) -> Result<(), ReturnCode> {
        let released = match self.unanswered {
            None => {
                let request = [self.context, 0];
                self.ask(Command::Release, request).await.map(drop)
            }
            // No request can be sent; the end of the connection has the same effect.
            Some(_) => Ok(()),
        };
        self.hang_up();
        released
    }

    /// Answers as the client library does, without asking the daemon.
    pub(in crate::service) async fn is_valid_context(&self) -> Result<(), ReturnCode> {
        Ok(())
    }

    pub(in crate::service) async fn connect(
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
        let answer = self.ask(Command::Connect, request).await?;
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

    pub(in crate::service) async fn reconnect(
        &mut self,
        card: CardHandle,
        share_mode: u32,
        protocols: u32,
        initialization: u32,
    ) -> Result<u32, ReturnCode> {
        let handle = self.handle_of(card)?;
        let words = [handle, share_mode, protocols, initialization, 0, 0];
        let mut pause = FIRST_PAUSE;
        loop {
            let answer = self.ask(Command::Reconnect, words).await;
            let answer = answer.map_err(Failure::from);
            if let Some(answer) = self.unless_held(answer, &mut pause).await {
                let [.., protocol, _] = answer.map_err(|failure| failure.code)?;
                return Ok(protocol);
            }
        }
    }

    pub(in crate::service) async fn disconnect(
        &mut self,
        card: CardHandle,
        disposition: u32,
    ) -> Result<(), ReturnCode> {
        let handle = self.handle_of(card)?;
        self.ask(Command::Disconnect, [handle, disposition, 0])
            .await?;
        self.cards.retain(|card| card.handle != handle);
        Ok(())
    }

    /// The daemon sleeps before it refuses a transaction, but refuses a query of the state at once.
    /// So the state is queried first where another client may hold the card.
    pub(in crate::service) async fn begin_transaction(
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
        let (mut pause, mut contended) = (FIRST_PAUSE, None);
        let begun = loop {
            let begun = match asks_first {
                true => self.begin_unless_held(handle, &mut contended).await,
                false => self.begin(handle, &mut contended).await,
            };
            asks_first |= contended.is_some();
            if let Some(begun) = self.unless_held(begun, &mut pause).await {
                break begun;
            }
        };
        for card in self.cards.iter_mut().filter(|it| it.handle == handle) {
            card.contended = contended.unwrap_or(card.contended.saturating_sub(1));
        }
        begun.map_err(|failure| failure.code)
    }

    async fn begin_unless_held(
        &mut self,
        handle: u32,
        contended: &mut Option<u32>,
    ) -> Result<(), Failure> {
        let asked = self.until_not_held(handle).await;
        if self.only_waited() {
            *contended = Some(CONTENDED);
        }
        asked?;
        self.begin(handle, contended).await
    }

    async fn begin(&mut self, handle: u32, contended: &mut Option<u32>) -> Result<(), Failure> {
        let begun = self.ask(Command::Begin, [handle, 0]).await;
        if begun == Err(ReturnCode::E_SHARING_VIOLATION) {
            *contended = Some(CONTENDED);
        }
        Ok(begun.map(drop)?)
    }

    pub(in crate::service) async fn end_transaction(
        &mut self,
        card: CardHandle,
        disposition: u32,
    ) -> Result<(), ReturnCode> {
        let handle = self.handle_of(card)?;
        self.ask(Command::End, [handle, disposition, 0])
            .await
            .map(drop)
    }

    /// Returns the length of the response in `answer`.
    pub(in crate::service) async fn transmit(
        &mut self,
        card: CardHandle,
        protocol: u32,
        command: &[u8],
        answer: &mut [u8],
    ) -> Result<usize, Failure> {
        let words = self.transmission(card, protocol, command, answer)?;
        let sent = self.exchange(Command::Transmit, words, command, answer);
        match sent.await {
            Err(refused) if refused.code == ReturnCode::E_SHARING_VIOLATION => {
                self.transmit_again(words, command, answer).await
            }
            sent => sent,
        }
    }

    /// Like [`transmit`](Client::transmit), on this thread.
    #[inline]
    pub(in crate::service) fn transmit_at_once(
        &mut self,
        card: CardHandle,
        protocol: u32,
        command: &[u8],
        answer: &mut [u8],
    ) -> Result<usize, Failure> {
        if !self.limit.is_none() {
            return block_on(self.transmit(card, protocol, command, answer));
        }
        let words = self.transmission(card, protocol, command, answer)?;
        match self.exchange_at_once(Command::Transmit, words, command, answer) {
            Err(refused) if refused.code == ReturnCode::E_SHARING_VIOLATION => {
                block_on(self.transmit_again(words, command, answer))
            }
            sent => sent,
        }
    }

    #[inline]
    fn transmission(
        &self,
        card: CardHandle,
        protocol: u32,
        command: &[u8],
        answer: &[u8],
    ) -> Result<[u32; 8], ReturnCode> {
        let handle = self.handle_of(card)?;
        let (len, room) = (len_of(command), len_of(answer));
        Ok([handle, protocol, PCI_LEN, len, ANY, PCI_LEN, room, 0])
    }

    /// Sends a command that was refused because another client holds the card: not before a query
    /// has shown that none does. A command that is given up while it waits was not sent.
    #[cold]
    async fn transmit_again(
        &mut self,
        words: [u32; 8],
        command: &[u8],
        answer: &mut [u8],
    ) -> Result<usize, Failure> {
        let mut pause = FIRST_PAUSE;
        loop {
            let sent = self.transmit_unless_held(words, command, answer).await;
            if let Some(sent) = self.unless_held(sent, &mut pause).await {
                return sent;
            }
        }
    }

    async fn transmit_unless_held(
        &mut self,
        words: [u32; 8],
        command: &[u8],
        answer: &mut [u8],
    ) -> Result<usize, Failure> {
        let [handle, ..] = words;
        self.until_not_held(handle).await?;
        let sent = self.exchange(Command::Transmit, words, command, answer);
        sent.await
    }

    /// Returns the length of the output in `output`.
    pub(in crate::service) async fn control(
        &mut self,
        card: CardHandle,
        code: u32,
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, Failure> {
        let handle = self.handle_of(card)?;
        let words = [handle, code, len_of(input), len_of(output), 0, 0];
        self.exchange(Command::Control, words, input, output).await
    }

    /// Sends a request with a payload, and receives an answer with one.
    async fn exchange<const N: usize>(
        &mut self,
        command: Command,
        words: [u32; N],
        payload: &[u8],
        answer: &mut [u8],
    ) -> Result<usize, Failure> {
        let mut exchange = self.begin_exchange(command, words, payload)?;
        let request = exchange.request.as_bytes();
        let sent = self.usable()?.send(request, payload, &self.limit).await;
        sent.map_err(|ended| self.fail(ended))?;
        let (head, received) = exchange.head();
        let stream = self.usable()?;
        let got = stream.receive(head, answer, received, &self.limit).await;
        got.map_err(|ended| self.lose(&exchange, &[], ended))?;
        let len = self.read_head(&mut exchange, answer.len())?;
        let data = answer.get_mut(..len).unwrap_or_default();
        let received = &mut exchange.received;
        let stream = self.usable()?;
        let got = stream.receive(data, &mut [], received, &self.limit).await;
        got.map_err(|ended| self.lose(&exchange, data, ended))?;
        Ok(len)
    }

    /// Like [`exchange`](Client::exchange), for a client without a limit: without what it costs to be
    /// able to suspend the call.
    #[inline]
    fn exchange_at_once<const N: usize>(
        &mut self,
        command: Command,
        words: [u32; N],
        payload: &[u8],
        answer: &mut [u8],
    ) -> Result<usize, Failure> {
        let mut exchange = self.begin_exchange(command, words, payload)?;
        let request = exchange.request.as_bytes();
        let sent = self.usable()?.send_at_once(request, payload);
        sent.map_err(|ended| self.fail(ended))?;
        let (head, received) = exchange.head();
        let got = self.usable()?.receive_at_once(head, answer, received);
        got.map_err(|ended| self.fail(ended))?;
        let len = self.read_head(&mut exchange, answer.len())?;
        let data = answer.get_mut(..len).unwrap_or_default();
        let received = &mut exchange.received;
        let got = self.usable()?.receive_at_once(data, &mut [], received);
        got.map_err(|ended| self.fail(ended))?;
        Ok(len)
    }

    #[inline]
    fn begin_exchange<const N: usize>(
        &self,
        command: Command,
        words: [u32; N],
        payload: &[u8],
    ) -> Result<Exchange<N>, Failure> {
        // The daemon closes the connection on a longer one.
        if payload.len() > MAX_PAYLOAD {
            return Err(ReturnCode::E_INSUFFICIENT_BUFFER.into());
        }
        Ok(Exchange {
            request: Requests::NONE.with(command, &words),
            head: [0; 32],
            received: 0,
        })
    }

    /// Reads the head of the answer. Returns the length of the data, as much of which was received
    /// as `received` says afterwards.
    #[inline]
    fn read_head<const N: usize>(
        &mut self,
        exchange: &mut Exchange<N>,
        room: usize,
    ) -> Result<usize, Failure> {
        exchange.received -= 4 * N;
        let [.., len, code] = words::<N>(&exchange.head)[..] else {
            return Err(self.garbled(Garbled).into());
        };
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if code != 0 {
            if exchange.received > 0 {
                return Err(self.garbled(Garbled).into());
            }
            return Err(too_small(ReturnCode::from_raw(code), len, room));
        }
        if len > room {
            self.garbled(Garbled);
            return Err(too_small(ReturnCode::E_INSUFFICIENT_BUFFER, len, room));
        }
        match exchange.received > len {
            true => Err(self.garbled(Garbled).into()),
            false => Ok(len),
        }
    }

    /// Gives up an answer, with as much of its data as was received.
    #[cold]
    fn lose<const N: usize>(
        &mut self,
        exchange: &Exchange<N>,
        data: &[u8],
        ended: Ended,
    ) -> Failure {
        let head = match data {
            [] => exchange.received.min(4 * N),
            _ => 4 * N,
        };
        let head = exchange.head.get(..head).unwrap_or_default();
        let data = data.get(..exchange.received).unwrap_or_default();
        let bytes = Zeroizing::new([head, data].concat());
        let request = exchange.request.as_bytes();
        self.give_up(request, Answer::Payload(N), &bytes, ended)
            .into()
    }

    pub(in crate::service) async fn get_attribute(
        &mut self,
        card: CardHandle,
        id: u32,
    ) -> Result<Vec<u8>, Failure> {
        let answer = self
            .attribute(Command::GetAttribute, card, id, &[], ATTRIBUTE)
            .await?;
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

    pub(in crate::service) async fn set_attribute(
        &mut self,
        card: CardHandle,
        id: u32,
        value: &[u8],
    ) -> Result<(), ReturnCode> {
        if value.len() > ATTRIBUTE {
            return Err(ReturnCode::E_INSUFFICIENT_BUFFER);
        }
        self.attribute(Command::SetAttribute, card, id, value, value.len())
            .await?;
        Ok(())
    }

    /// Exchanges the structure of an attribute, which has the value in the middle.
    async fn attribute(
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
        let answer = self
            .gather(request.as_bytes(), &[], Answer::Words(WORDS))
            .await;
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

/// A request with a payload that was sent, and the head of its answer, which has as many words as
/// the request.
struct Exchange<const N: usize> {
    request: Requests<{ 8 + 32 }>,
    head: [u8; 32],
    /// First of the head, then of the data.
    received: usize,
}

impl<const N: usize> Exchange<N> {
    fn head(&mut self) -> (&mut [u8], &mut usize) {
        let head = self.head.get_mut(..4 * N).unwrap_or_default();
        (head, &mut self.received)
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
