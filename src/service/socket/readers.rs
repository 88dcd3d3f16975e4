//! Queries the readers and their states.

use std::ffi::CStr;

use super::client::{Client, FIRST_PAUSE, given_up};
use super::wire::{Answer, Command, Reader, Requests, words};
use crate::codes::ReturnCode;
use crate::service::unfinished::{MAX_UNFINISHED, UNFINISHED, are_finished};
use crate::service::{CardHandle, Failure, Status};

/// The minor version since which there can be more than 16 readers.
pub(super) const SIZED: u32 = 6;

/// The minor version since which the daemon counts attached and detached readers.
const COUNTED: u32 = 5;

/// The maximum number of further looks until two in a row agree.
const MAX_AGREEING: usize = 4;

/// Requests for the readers, with other requests before and after.
pub(super) type Questions = Requests<64>;

/// The readers, as the daemon has sent them.
#[derive(Debug)]
pub(super) struct Readers {
    /// How often the list has changed, if the daemon counts that.
    pub(super) changes: Option<u32>,
    pub(super) readers: Vec<Reader>,
}

impl Readers {
    /// Whether no card and no reader changed between the two.
    fn agree(&self, other: &Readers) -> bool {
        let key = |it: &Reader| (it.event_count, it.state, it.atr);
        let is_same = |(a, b): (&Reader, &Reader)| a.name == b.name && key(a) == key(b);
        self.readers.len() == other.readers.len()
            && self.readers.iter().zip(&other.readers).all(is_same)
    }
}

impl Client {
    /// The request for the daemon's count, if it counts, and the number of words in the answer.
    ///
    /// It comes before the readers, so a change in between is in the readers and counted the next
    /// time.
    pub(super) fn asking_for_count(&self) -> (Questions, usize) {
        match self.minor >= COUNTED {
            true => (Questions::NONE.with(Command::ReaderEvents, &[]), 2),
            false => (Questions::NONE, 0),
        }
    }

    /// The requests for the readers after those before, and the answer to all, with this number of
    /// words after the readers.
    fn asking_for_readers(
        &self,
        (mut asked, before): (Questions, usize),
        after: usize,
    ) -> (Questions, Answer) {
        let sized = self.minor >= SIZED;
        let commands: &[Command] = match sized {
            false => &[Command::ReadersState],
            true => &[
                Command::StatesSize,
                Command::StatesArray,
                Command::StatesSize,
            ],
        };
        for command in commands {
            asked = asked.with(*command, &[]);
        }
        let answer = Answer::Readers {
            before,
            sized,
            after,
        };
        (asked, answer)
    }

    /// The readers in a complete answer.
    pub(super) fn readers_in(&self, answer: Answer, bytes: &[u8]) -> Readers {
        Readers {
            changes: (self.minor >= COUNTED).then(|| words::<1>(bytes)[0]),
            readers: answer.readers(bytes),
        }
    }

    /// Queries the readers until two answers in a row agree, because the daemon changes its table
    /// while sending it; see `crate::look`. If they never agree, the last one counts.
    ///
    /// The first two are requested at once.
    pub(super) async fn query_readers(&mut self) -> Result<Readers, ReturnCode> {
        let (once, answer) = self.asking_for_readers(self.asking_for_count(), 0);
        self.usable()?;
        let twice = [once.as_bytes(), once.as_bytes()].concat();
        let first = self.gather(&twice, &[], answer).await;
        if first.is_err() {
            // Another answer is to come.
            self.hang_up();
        }
        let mut seen = self.readers_in(answer, &first?);
        let mut request: &[u8] = &[];
        for _ in 0..MAX_AGREEING {
            let again = self.gather(request, &[], answer).await?;
            let again = self.readers_in(answer, &again);
            let agree = again.agree(&seen);
            seen = again;
            if agree {
                break;
            }
            request = once.as_bytes();
        }
        Ok(seen)
    }

    /// The multi-string of the names of all readers, in any group.
    pub(in crate::service) async fn list_readers(
        &mut self,
        _: Option<&CStr>,
    ) -> Result<Vec<u8>, Failure> {
        let mut looks = 0;
        loop {
            let seen = self.query_readers().await?;
            let mut list: Vec<u8> = Vec::new();
            for reader in &seen.readers {
                list.extend(&reader.name);
                list.push(0);
            }
            if looks < MAX_UNFINISHED && !are_finished(&list) {
                looks += 1;
                self.limit.pause(UNFINISHED).await.map_err(given_up)?;
                continue;
            }
            self.seen.note(&seen);
            if list.is_empty() {
                return Err(ReturnCode::E_NO_READERS_AVAILABLE.into());
            }
            list.push(0);
            return Ok(list);
        }
    }

    /// The multi-string of group names, the same as in the client library.
    pub(in crate::service) async fn list_reader_groups(&self) -> Result<Vec<u8>, Failure> {
        Ok(b"SCard$DefaultReaders\0\0".to_vec())
    }

    /// The values come from the query of the reader; the query of the handle only tells whether it
    /// is valid.
    pub(in crate::service) async fn status(&mut self, card: CardHandle) -> Result<Status, Failure> {
        let (handle, name) = self.reader_of(card)?;
        let mut pause = FIRST_PAUSE;
        loop {
            let status = self.query_status(handle, &name).await;
            if let Some(status) = self.unless_held(status, &mut pause).await {
                return status;
            }
        }
    }

    async fn query_status(&mut self, handle: u32, name: &[u8]) -> Result<Status, Failure> {
        let (asked, answer) = self.asking_for_readers((Questions::NONE, 0), 2);
        let asked = asked.with(Command::Status, &[handle, 0]);
        let bytes = self.gather(asked.as_bytes(), &[], answer).await?;
        let mut readers = answer.readers(&bytes).into_iter();
        let reader = readers.find(|reader| reader.name == name);
        let reader = reader.ok_or(ReturnCode::E_READER_UNAVAILABLE)?;
        let code = bytes.last_chunk::<4>().map_or([1], |code| words(code));
        match code {
            [0] => {}
            [code] => return Err(ReturnCode::from_raw(code).into()),
        }
        let mut names = reader.name;
        names.push(0);
        Ok(Status {
            names,
            state: reader.event_count << 16 | reader.state & 0xFFFF,
            protocol: reader.protocol,
            atr: reader.atr,
        })
    }
}
