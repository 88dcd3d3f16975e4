//! A client of the daemon: one context, and the cards that are connected in it.

use std::env;
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

/// Pauses while another client has the card.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LAST_PAUSE: Duration = Duration::from_millis(20);

/// Nothing is asked any more so short before the deadline: an answer that comes late costs the
/// connection.
const MARGIN: Duration = Duration::from_millis(5);

/// A context, over a connection of its own.
#[derive(Debug)]
pub(crate) struct Client {
    pub(super) stream: Stream,
    pub(super) path: Arc<Path>,
    /// Of the protocol's version that was agreed on.
    pub(super) minor: u32,
    pub(super) context: u32,
    /// A handle that is not this context's costs the connection: none is sent but these.
    pub(super) cards: Vec<Card>,
    /// Whether calls wait for others' transactions.
    blocks: bool,
    pub(in crate::service) limit: Limit,
    /// An answer that was not waited for.
    pub(super) owed: Option<Owed>,
    /// No answer can be believed any more, or there will be none.
    is_dead: bool,
    pub(super) bell: Option<Arc<Bell>>,
    /// Since protocol 4:6, the connection on which it is asked about readers during a wait.
    pub(super) beside: Option<Box<Client>>,
    pub(super) seen: Seen,
}

#[derive(Debug)]
pub(super) struct Card {
    pub(super) handle: u32,
    pub(super) reader: Vec<u8>,
    /// For how many more transactions others may have the card when they are begun.
    pub(super) wary: u32,
}

/// An answer that was not waited for, and the request that it is to.
#[derive(Debug)]
pub(super) struct Owed {
    request: Vec<u8>,
    answer: Answer,
    come: Zeroizing<Vec<u8>>,
}

impl Client {
    pub(in crate::service) fn establish(
        path: Arc<Path>,
        scope: u32,
        limit: Limit,
    ) -> Result<Client, Failure> {
        if fork::is_of_no_use() {
            return Err(Failure::KEPT_OUT);
        }
        let mut client = Client::connect_to(path, limit)?;
        client.shake_hands(scope)?;
        Ok(client)
    }

    fn connect_to(path: Arc<Path>, limit: Limit) -> Result<Client, Failure> {
        let stream = Stream::connect(&path, &limit)?;
        Ok(Client {
            stream,
            path,
            minor: 0,
            context: 0,
            cards: Vec::new(),
            blocks: env::var_os("PCSCLITE_NO_BLOCKING").is_none(),
            limit,
            owed: None,
            is_dead: false,
            bell: None,
            beside: None,
            seen: Seen::default(),
        })
    }

    /// Another connection of this client, without a context.
    pub(super) fn connect_beside(&self) -> Result<Client, Failure> {
        let mut beside = Client::connect_to(Arc::clone(&self.path), self.limit.clone())?;
        beside.shake_hands_like(self)?;
        Ok(beside)
    }

    /// Whether a request can be sent.
    #[inline]
    pub(super) fn usable(&self) -> Result<(), ReturnCode> {
        match self.is_dead || self.owed.is_some() {
            false => Ok(()),
            true => Err(ReturnCode::E_NO_SERVICE),
        }
    }

    #[cold]
    pub(super) fn die_of(&mut self, ended: Ended) -> ReturnCode {
        self.is_dead = true;
        match ended {
            Ended::Failed(code) => code,
            Ended::GaveUp(why) => given_up(why),
        }
    }

    #[cold]
    pub(super) fn garbled(&mut self, _: Garbled) -> ReturnCode {
        self.is_dead = true;
        ReturnCode::F_COMM_ERROR
    }

    /// Gives up an answer, which may still come.
    #[cold]
    pub(super) fn leave(
        &mut self,
        request: &[u8],
        answer: Answer,
        come: &[u8],
        ended: Ended,
    ) -> ReturnCode {
        let Ended::GaveUp(why) = ended else {
            return self.die_of(ended);
        };
        self.owed = Some(Owed {
            request: request.to_vec(),
            answer,
            come: Zeroizing::new(come.to_vec()),
        });
        given_up(why)
    }

    pub(in crate::service) fn is_under_way(&self) -> bool {
        self.owed.is_some()
    }

    /// Waits for an answer that was given up. What it says was begun too late ends: it would reset
    /// the card at the end of the connection.
    pub(in crate::service) fn settle(&mut self) {
        const EXCLUSIVE: u32 = 1;
        self.limit = Limit::default();
        let Some(mut owed) = self.owed.take() else {
            return;
        };
        if self.take(owed.answer, &mut owed.come).is_err() {
            self.is_dead = true;
            return;
        }
        let [_, command, first, share, ..] = words::<8>(&owed.request);
        let is = |asked: Command| command == asked as u32;
        let Answer::Words(count) = owed.answer else {
            return;
        };
        let answer = words::<38>(&owed.come);
        let word = |back: usize| answer.get(..count).and_then(|it| it.iter().nth_back(back));
        if word(0) != Some(&0) {
            return;
        }
        if is(Command::Begin) {
            self.leave_lock(first);
        } else if is(Command::Reconnect) && share == EXCLUSIVE {
            self.leave_exclusive_access(first);
        } else if is(Command::Connect) {
            let share = words::<{ 2 + 38 }>(&owed.request)[2 + 33];
            if let (EXCLUSIVE, Some(handle)) = (share, word(2)) {
                self.leave_exclusive_access(*handle);
            }
        }
    }

    /// Exclusive access is a lock, which stays when the access is changed.
    fn leave_exclusive_access(&mut self, handle: u32) {
        const DIRECT: u32 = 3;
        let _ = self.ask(Command::Reconnect, [handle, DIRECT, 0, 0, 0, 0]);
        self.leave_lock(handle);
    }

    fn leave_lock(&mut self, handle: u32) {
        let ended = self.ask(Command::End, [handle, 0, 0]);
        tracing::debug!(?ended, "what came too late");
    }

    /// Sends requests and waits for the whole of their answer.
    pub(super) fn gather(
        &mut self,
        request: &[u8],
        payload: &[u8],
        answer: Answer,
    ) -> Result<Zeroizing<Vec<u8>>, ReturnCode> {
        self.usable()?;
        if let Err(ended) = self.stream.send(request, payload, &self.limit) {
            // Of a part of a request there is no answer.
            return Err(self.die_of(ended));
        }
        let mut come = Zeroizing::new(Vec::new());
        match self.take(answer, &mut come) {
            Ok(()) => Ok(come),
            Err(Untaken::Garbled) => Err(self.garbled(Garbled)),
            Err(Untaken::Ended(ended)) => Err(self.leave(request, answer, &come, ended)),
        }
    }

    fn take(&self, answer: Answer, come: &mut Vec<u8>) -> Result<(), Untaken> {
        loop {
            let missing = answer.missing(come).map_err(|Garbled| Untaken::Garbled)?;
            if missing == 0 {
                return Ok(());
            }
            let (begin, mut received) = (come.len(), 0);
            come.resize(begin + missing, 0);
            let room = come.get_mut(begin..).unwrap_or_default();
            let taken = self
                .stream
                .receive(room, &mut [], &mut received, &self.limit);
            come.truncate(begin + received);
            taken.map_err(Untaken::Ended)?;
        }
    }

    /// Waits until something has come that was not asked for.
    pub(super) fn wait_for_bytes(&self, limit: &Limit) -> Result<(), Ended> {
        self.stream.wait(limit)
    }

    /// A request whose answer has the same words, the last of them the code.
    pub(super) fn ask<const N: usize>(
        &mut self,
        command: Command,
        words: [u32; N],
    ) -> Result<[u32; N], ReturnCode> {
        let request = Requests::<{ 8 + 152 }>::NONE.with(command, &words);
        let answer = self.gather(request.as_bytes(), &[], Answer::Words(N))?;
        checked(super::wire::words(&answer))
    }

    /// The handle, as it is sent.
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

    /// Asks again while another client has the card.
    #[inline]
    pub(super) fn polled<T>(
        &mut self,
        mut ask: impl FnMut(&mut Client) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut pause = FIRST_PAUSE;
        loop {
            match ask(self) {
                Err(refused) if refused.code == ReturnCode::E_SHARING_VIOLATION && self.blocks => {
                    self.pause(&mut pause)?;
                }
                answer => return answer,
            }
        }
    }

    /// Waits for another client. Nothing is under way meanwhile, and nothing is when this gives up.
    #[cold]
    fn pause(&mut self, pause: &mut Duration) -> Result<(), ReturnCode> {
        let rest = self.limit.left().map(|left| left.saturating_sub(MARGIN));
        let next = match rest {
            // To the deadline.
            Some(Duration::ZERO) => MARGIN * 2,
            Some(rest) => (*pause).min(rest),
            None => *pause,
        };
        *pause = (*pause * 3 / 2).min(LAST_PAUSE);
        let paused = self.limit.pause(next);
        paused.map_err(given_up)
    }
}

enum Untaken {
    Garbled,
    Ended(Ended),
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
