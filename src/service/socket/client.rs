//! A client of the daemon: one context, and the cards connected in it.

use std::env;
use std::mem;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::bell::Bell;
use super::stream::{Ended, GaveUp, Limit, Stream};
use super::waiting::Seen;
use super::wire::{Answer, Command, Garbled, Requests, words};
use crate::codes::ReturnCode;
use crate::service::{CardHandle, Failure, fork};

/// The pauses between attempts while another client holds the card.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LAST_PAUSE: Duration = Duration::from_millis(20);

/// No request is sent this close to the deadline, because a late answer makes the connection
/// unusable.
const MARGIN: Duration = Duration::from_millis(5);

/// A context, which has its own connection.
#[derive(Debug)]
pub(crate) struct Client {
    /// `None` once the connection has ended, or its answers can no longer be trusted.
    stream: Option<Stream>,
    pub(super) path: Arc<Path>,
    /// The minor version of the protocol in use.
    pub(super) minor: u32,
    pub(super) context: u32,
    /// The daemon closes the connection on a handle of another context, so only these are sent.
    pub(super) cards: Vec<Card>,
    /// Whether calls wait for transactions of other clients.
    blocks: bool,
    pub(in crate::service) limit: Limit,
    /// The answer to a request that was given up.
    pub(super) unanswered: Option<Unanswered>,
    /// Whether the current call waits until another client lets the card go, between attempts.
    is_waiting: bool,
    pub(super) bell: Option<Arc<Bell>>,
    /// The second connection for querying readers during a wait, since protocol 4:6.
    pub(super) query_client: Option<Box<Client>>,
    pub(super) seen: Seen,
}

#[derive(Debug)]
pub(super) struct Card {
    pub(super) handle: u32,
    pub(super) reader: Vec<u8>,
    /// How many more transactions query the state first, because another client may hold the card.
    pub(super) contended: u32,
}

/// The answer to a request that was given up, as far as it was received.
#[derive(Debug)]
pub(super) struct Unanswered {
    request: Vec<u8>,
    answer: Answer,
    bytes: Zeroizing<Vec<u8>>,
}

impl Client {
    pub(in crate::service) async fn establish(
        path: Arc<Path>,
        scope: u32,
        limit: Limit,
    ) -> Result<Client, Failure> {
        if fork::is_of_no_use() {
            return Err(Failure::KEPT_OUT);
        }
        let mut client = Client::open(path, limit).await?;
        client.handshake(scope).await?;
        Ok(client)
    }

    async fn open(path: Arc<Path>, limit: Limit) -> Result<Client, Failure> {
        let stream = Stream::connect(&path, &limit).await?;
        Ok(Client::new(stream, path, limit))
    }

    fn new(stream: Stream, path: Arc<Path>, limit: Limit) -> Client {
        Client {
            stream: Some(stream),
            path,
            minor: 0,
            context: 0,
            cards: Vec::new(),
            blocks: env::var_os("PCSCLITE_NO_BLOCKING").is_none(),
            limit,
            unanswered: None,
            is_waiting: false,
            bell: None,
            query_client: None,
            seen: Seen::default(),
        }
    }

    /// Whether no card is connected and the daemon has sent nothing and not hung up.
    pub(in crate::service) fn is_vacant(&self) -> bool {
        self.cards.is_empty() && self.usable().is_ok_and(Stream::is_quiet)
    }

    /// Moves the connection and its context to another client.
    pub(in crate::service) fn hand_on(&mut self) -> Option<Client> {
        let stream = self.stream.take()?;
        let limit = mem::take(&mut self.limit);
        Some(Client {
            minor: self.minor,
            context: self.context,
            ..Client::new(stream, Arc::clone(&self.path), limit)
        })
    }

    /// Opens another connection for this client, without a context.
    pub(super) async fn connect_query_client(&self) -> Result<Client, Failure> {
        let mut query_client = Client::open(Arc::clone(&self.path), self.limit.clone()).await?;
        query_client.handshake_like(self).await?;
        Ok(query_client)
    }

    pub(in crate::service) fn hang_up(&mut self) {
        self.stream = None;
        self.query_client = None;
    }

    /// The connection, if a request can be sent.
    #[inline]
    pub(super) fn usable(&self) -> Result<&Stream, ReturnCode> {
        match (&self.stream, &self.unanswered) {
            (Some(stream), None) => Ok(stream),
            _ => Err(ReturnCode::E_NO_SERVICE),
        }
    }

    #[cold]
    pub(super) fn fail(&mut self, ended: Ended) -> ReturnCode {
        self.hang_up();
        match ended {
            Ended::Failed(code) => code,
            Ended::GaveUp(why) => given_up(why),
        }
    }

    #[cold]
    pub(super) fn garbled(&mut self, _: Garbled) -> ReturnCode {
        self.hang_up();
        ReturnCode::F_COMM_ERROR
    }

    /// Gives up an answer, which may still arrive.
    #[cold]
    pub(super) fn give_up(
        &mut self,
        request: &[u8],
        answer: Answer,
        bytes: &[u8],
        ended: Ended,
    ) -> ReturnCode {
        let Ended::GaveUp(why) = ended else {
            return self.fail(ended);
        };
        self.unanswered = Some(Unanswered {
            request: request.to_vec(),
            answer,
            bytes: Zeroizing::new(bytes.to_vec()),
        });
        given_up(why)
    }

    pub(in crate::service) fn is_under_way(&self) -> bool {
        self.unanswered.is_some()
    }

    /// Whether a call that was given up only waited for another client, between attempts.
    pub(in crate::service) fn only_waited(&self) -> bool {
        self.is_waiting
    }

    /// Fails if another client holds the card, or the call is to end before it is made again. Any
    /// other failure of the query is left to the call itself.
    pub(super) async fn until_not_held(&mut self, handle: u32) -> Result<(), Failure> {
        self.is_waiting = true;
        let asked = self.ask(Command::Status, [handle, 0]).await;
        if asked == Err(ReturnCode::E_SHARING_VIOLATION) || self.usable().is_err() {
            asked?;
        }
        self.limit.check().map_err(given_up)?;
        self.is_waiting = false;
        Ok(())
    }

    /// Waits for an answer that was given up, and ends a transaction or exclusive access that began
    /// too late: left open, it would reset the card when the connection closes.
    pub(in crate::service) async fn settle(&mut self) {
        const EXCLUSIVE: u32 = 1;
        let Some(mut unanswered) = self.unanswered.take() else {
            return;
        };
        let received = self.receive(unanswered.answer, &mut unanswered.bytes).await;
        if received.is_err() {
            self.hang_up();
            return;
        }
        let [_, command, first, share, ..] = words::<8>(&unanswered.request);
        let is = |asked: Command| command == asked as u32;
        let Answer::Words(count) = unanswered.answer else {
            return;
        };
        let answer = words::<38>(&unanswered.bytes);
        let word = |back: usize| answer.get(..count).and_then(|it| it.iter().nth_back(back));
        if word(0) != Some(&0) {
            return;
        }
        if is(Command::Begin) {
            self.release_lock(first).await;
        } else if is(Command::Reconnect) && share == EXCLUSIVE {
            self.release_exclusive_access(first).await;
        } else if is(Command::Connect) {
            let share = words::<{ 2 + 38 }>(&unanswered.request)[2 + 33];
            if let (EXCLUSIVE, Some(handle)) = (share, word(2)) {
                self.release_exclusive_access(*handle).await;
            }
        }
    }

    /// Exclusive access holds a lock, which remains after a change to another share mode.
    async fn release_exclusive_access(&mut self, handle: u32) {
        const DIRECT: u32 = 3;
        let _ = self
            .ask(Command::Reconnect, [handle, DIRECT, 0, 0, 0, 0])
            .await;
        self.release_lock(handle).await;
    }

    async fn release_lock(&mut self, handle: u32) {
        let ended = self.ask(Command::End, [handle, 0, 0]).await;
        tracing::debug!(?ended, "ended a lock acquired too late");
    }

    /// Sends requests and receives the whole answer.
    pub(super) async fn gather(
        &mut self,
        request: &[u8],
        payload: &[u8],
        answer: Answer,
    ) -> Result<Zeroizing<Vec<u8>>, ReturnCode> {
        let sent = self.usable()?.send(request, payload, &self.limit).await;
        // An incomplete request is never answered.
        sent.map_err(|ended| self.fail(ended))?;
        let mut bytes = Zeroizing::new(Vec::new());
        match self.receive(answer, &mut bytes).await {
            Ok(()) => Ok(bytes),
            Err(NotReceived::Garbled) => Err(self.garbled(Garbled)),
            Err(NotReceived::Ended(ended)) => Err(self.give_up(request, answer, &bytes, ended)),
        }
    }

    async fn receive(&self, answer: Answer, bytes: &mut Vec<u8>) -> Result<(), NotReceived> {
        loop {
            let missing = answer
                .missing(bytes)
                .map_err(|Garbled| NotReceived::Garbled)?;
            if missing == 0 {
                return Ok(());
            }
            let (begin, mut received) = (bytes.len(), 0);
            bytes.resize(begin + missing, 0);
            let room = bytes.get_mut(begin..).unwrap_or_default();
            let stream = self.usable().map_err(Ended::Failed)?;
            let taken = stream.receive(room, &mut [], &mut received, &self.limit);
            let taken = taken.await;
            bytes.truncate(begin + received);
            taken?;
        }
    }

    /// Waits until the daemon has sent something unrequested.
    pub(super) async fn wait_for_bytes(&self, limit: &Limit) -> Result<(), Ended> {
        let stream = self.usable().map_err(Ended::Failed)?;
        stream.wait(limit).await
    }

    /// Sends a request whose answer has the same words, filled in where they are zero, with the
    /// return code as the last one.
    pub(super) async fn ask<const N: usize>(
        &mut self,
        command: Command,
        words: [u32; N],
    ) -> Result<[u32; N], ReturnCode> {
        let request = Requests::<{ 8 + 152 }>::NONE.with(command, &words);
        let answer = self
            .gather(request.as_bytes(), &[], Answer::Words(N))
            .await?;
        let answer = super::wire::words(&answer);
        let mut both = std::iter::zip(&words, &answer);
        match both.all(|(asked, answered)| *asked == 0 || asked == answered) {
            true => checked(answer),
            // It answers another request.
            false => Err(self.garbled(Garbled)),
        }
    }

    /// The handle in the protocol.
    #[inline]
    pub(super) fn handle_of(&self, card: CardHandle) -> Result<u32, ReturnCode> {
        let mut handles = self.cards.iter().map(|card| card.handle);
        let handle = handles.find(|handle| u64::from(*handle) == card.0);
        handle.ok_or(ReturnCode::E_INVALID_HANDLE)
    }

    pub(super) fn reader_of(&self, card: CardHandle) -> Result<(u32, Vec<u8>), ReturnCode> {
        let handle = self.handle_of(card)?;
        let card = self.cards.iter().find(|card| card.handle == handle);
        let card = card.ok_or(ReturnCode::E_INVALID_HANDLE)?;
        Ok((handle, card.reader.clone()))
    }

    /// Returns the answer to a request. If another client holds the card, it returns `None` after a
    /// pause, and the request is to be repeated.
    #[inline]
    pub(super) async fn unless_held<T>(
        &mut self,
        answer: Result<T, Failure>,
        pause: &mut Duration,
    ) -> Option<Result<T, Failure>> {
        let is_refused = |failure: &Failure| failure.code == ReturnCode::E_SHARING_VIOLATION;
        if !answer.as_ref().is_err_and(is_refused) {
            return Some(answer);
        }
        self.is_waiting = self.blocks;
        if !self.is_waiting {
            return Some(answer);
        }
        let paused = self.pause(pause).await;
        self.is_waiting = paused.is_err();
        paused.err().map(|code| Err(code.into()))
    }

    /// Pauses before the next attempt. No request is pending meanwhile, nor after giving up.
    #[cold]
    async fn pause(&mut self, pause: &mut Duration) -> Result<(), ReturnCode> {
        let rest = self.limit.left().map(|left| left.saturating_sub(MARGIN));
        let next = match rest {
            // Until the deadline.
            Some(Duration::ZERO) => MARGIN * 2,
            Some(rest) => (*pause).min(rest),
            None => *pause,
        };
        *pause = (*pause * 3 / 2).min(LAST_PAUSE);
        let paused = self.limit.pause(next).await;
        paused.map_err(given_up)
    }
}

enum NotReceived {
    Garbled,
    Ended(Ended),
}

impl From<Ended> for NotReceived {
    fn from(ended: Ended) -> NotReceived {
        NotReceived::Ended(ended)
    }
}

pub(super) fn given_up(why: GaveUp) -> ReturnCode {
    match why {
        GaveUp::Deadline => ReturnCode::E_TIMEOUT,
        GaveUp::Rung => ReturnCode::E_CANCELLED,
    }
}

fn checked<const N: usize>(words: [u32; N]) -> Result<[u32; N], ReturnCode> {
    match words.last() {
        Some(0) => Ok(words),
        code => Err(ReturnCode::from_raw(code.copied().unwrap_or_default())),
    }
}
