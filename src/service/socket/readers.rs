//! Queries the readers and their states.

use std::ffi::CStr;

use zeroize::Zeroizing;

use super::client::{Client, given_up};
use super::wire::{Answer, Command, Reader, Requests, words};
use crate::codes::ReturnCode;
use crate::service::unfinished::{MAX_UNFINISHED, UNFINISHED, are_finished};
use crate::service::{CardHandle, Failure, Status};

/// The minor version since which there can be more than 16 readers.
pub(super) const SIZED: u32 = 6;

/// Requests for the readers, with other requests before and after.
pub(super) type Questions = Requests<64>;

impl Client {
    /// Queries the readers between the requests `before` and `after`. Also returns the whole
    /// answer, in which `words_before` words come before the readers.
    pub(super) async fn ask_for_readers(
        &mut self,
        before: Questions,
        after: Option<(Command, u32)>,
        words_before: usize,
    ) -> Result<(Zeroizing<Vec<u8>>, Vec<Reader>), ReturnCode> {
        let sized = self.minor >= SIZED;
        let mut asked = before;
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
        if let Some((command, handle)) = after {
            asked = asked.with(command, &[handle, 0]);
        }
        let answer = Answer::Readers {
            before: words_before,
            sized,
            after: if after.is_some() { 2 } else { 0 },
        };
        let bytes = self.gather(asked.as_bytes(), &[], answer).await?;
        let readers = answer.readers(&bytes);
        Ok((bytes, readers))
    }

    async fn readers(&mut self) -> Result<Vec<Reader>, ReturnCode> {
        Ok(self.ask_for_readers(Questions::NONE, None, 0).await?.1)
    }

    /// The multi-string of the names of all readers, in any group.
    pub(in crate::service) async fn list_readers(
        &mut self,
        _: Option<&CStr>,
    ) -> Result<Vec<u8>, Failure> {
        let mut looks = 0;
        loop {
            let readers = self.readers().await?;
            let mut list: Vec<u8> = Vec::new();
            for reader in &readers {
                list.extend(&reader.name);
                list.push(0);
            }
            if looks < MAX_UNFINISHED && !are_finished(&list) {
                looks += 1;
                self.limit.pause(UNFINISHED).await.map_err(given_up)?;
                continue;
            }
            self.seen.note(&readers, None);
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
        self.polled(async |client: &mut Client| {
            let status = Some((Command::Status, handle));
            let (answer, readers) = client.ask_for_readers(Questions::NONE, status, 0).await?;
            let reader = readers.into_iter().find(|reader| reader.name == name);
            let reader = reader.ok_or(ReturnCode::E_READER_UNAVAILABLE)?;
            let code = answer.last_chunk::<4>().map_or([1], |code| words(code));
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
        })
        .await
    }
}
