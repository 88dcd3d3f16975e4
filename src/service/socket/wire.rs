//! The layouts of the protocol: writes requests, and reads and checks answers.
//!
//! All numbers have 32 bits, in native byte order. A request has a header with the length of its
//! structure and the command. An answer has none, so the client must know what to expect: mostly
//! the structure of the request, with the return code as its last word.

use zeroize::Zeroize;

use crate::values::Atr;

/// The maximum length of a payload in either direction.
pub(super) const MAX_PAYLOAD: usize = crate::service::MAX_APDU_LEN;

/// The maximum length of an attribute's value.
pub(super) const ATTRIBUTE: usize = 264;

/// The length of the field for a reader's name, which includes the NUL.
pub(super) const NAME: usize = 128;

/// The length of one reader's record.
pub(super) const RECORD: usize = 184;

/// The number of records in every answer up to protocol 4:5.
pub(super) const SLOTS: u32 = 16;

/// More readers than any daemon has.
pub(super) const MAX_SLOTS: u32 = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Command {
    Establish = 0x01,
    Release = 0x02,
    Connect = 0x04,
    Reconnect = 0x05,
    Disconnect = 0x06,
    Begin = 0x07,
    End = 0x08,
    Transmit = 0x09,
    Control = 0x0A,
    Status = 0x0B,
    GetAttribute = 0x0F,
    SetAttribute = 0x10,
    Version = 0x11,
    ReadersState = 0x12,
    WaitChange = 0x13,
    StopWaiting = 0x14,
    ReaderEvents = 0x15,
    StatesSize = 0x16,
    StatesArray = 0x17,
}

/// The bytes of one or more requests.
#[derive(Debug)]
pub(super) struct Requests<const ROOM: usize> {
    bytes: [u8; ROOM],
    len: usize,
}

impl<const ROOM: usize> Requests<ROOM> {
    pub(super) const NONE: Requests<ROOM> = Requests {
        bytes: [0; ROOM],
        len: 0,
    };

    /// Appends a request with the words of its structure. Words that do not fit are dropped; no
    /// caller has that many.
    #[inline]
    pub(super) fn with(mut self, command: Command, words: &[u32]) -> Requests<ROOM> {
        let len = u32::try_from(4 * words.len()).unwrap_or(u32::MAX);
        self.add(len);
        self.add(command as u32);
        words.iter().for_each(|word| self.add(*word));
        self
    }

    #[inline]
    fn add(&mut self, word: u32) {
        let end = self.len + 4;
        if let Some(room) = self.bytes.get_mut(self.len..end) {
            room.copy_from_slice(&word.to_ne_bytes());
            self.len = end;
        }
    }

    /// Overwrites the bytes, which contained a secret.
    pub(super) fn wipe(&mut self) {
        self.bytes.zeroize();
    }

    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// The expected layout of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// This number of words.
    Words(usize),
    /// This number of words, of which the last is the return code and the one before it the length
    /// of the payload, which follows if the code is zero.
    Payload(usize),
    /// Words, the readers, and words. Since protocol 4:6 the readers are `sized`: preceded and
    /// followed by the number of readers at that time.
    Readers {
        before: usize,
        sized: bool,
        after: usize,
    },
}

/// An answer that makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Garbled;

impl Answer {
    /// The minimum number of bytes still missing after those received.
    pub(super) fn missing(self, bytes: &[u8]) -> Result<usize, Garbled> {
        let whole = match self {
            Answer::Words(count) => 4 * count,
            Answer::Payload(count) => 4 * count + payload_len(bytes, count)?,
            Answer::Readers {
                before,
                sized: false,
                after,
            } => 4 * before + RECORD * SLOTS as usize + 4 * after,
            Answer::Readers { before, after, .. } => match sized_readers(bytes, 4 * before)? {
                Sized::All { end, .. } => end + 4 * after,
                Sized::Missing { end } => end,
            },
        };
        whole.checked_sub(bytes.len()).ok_or(Garbled)
    }

    /// The records of the readers in a complete answer.
    fn records(self, answer: &[u8]) -> &[u8] {
        let Answer::Readers { before, sized, .. } = self else {
            return &[];
        };
        let (begin, end) = match sized {
            false => (4 * before, 4 * before + RECORD * SLOTS as usize),
            true => match sized_readers(answer, 4 * before) {
                Ok(Sized::All { records, end }) => {
                    (4 * before + 4, 4 * before + 4 + records.min(end))
                }
                _ => return &[],
            },
        };
        answer.get(begin..end).unwrap_or_default()
    }

    /// The readers in a complete answer.
    pub(super) fn readers(self, answer: &[u8]) -> Vec<Reader> {
        let records = self.records(answer).chunks_exact(RECORD);
        records.filter_map(Reader::read).collect()
    }
}

/// The length of the payload; 0 while it is not known.
fn payload_len(bytes: &[u8], words_before: usize) -> Result<usize, Garbled> {
    let Some([len, code]) = bytes
        .get(..4 * words_before)
        .and_then(|it| it.last_chunk::<8>())
        .map(|it| words::<2>(it))
    else {
        return Ok(0);
    };
    match usize::try_from(len) {
        _ if code != 0 => Ok(0),
        Ok(len) if len <= MAX_PAYLOAD => Ok(len),
        _ => Err(Garbled),
    }
}

/// How much of a sized list of readers has been received.
enum Sized {
    /// The length of the records, and where the number after them ends.
    All { records: usize, end: usize },
    /// At least the bytes up to here are missing.
    Missing { end: usize },
}

/// There are as many records as the first number says, or more if readers were attached before they
/// were sent, but not more than the last number. An additional record begins with a name, which has
/// more than four letters, or with the NUL and the remains of a removed one; as a number, neither
/// is a valid count.
fn sized_readers(bytes: &[u8], begin: usize) -> Result<Sized, Garbled> {
    let number = |at: usize| {
        let bytes = bytes.get(at..at + 4)?;
        Some(words::<1>(bytes)[0])
    };
    let is_number = |number: u32| (1..=MAX_SLOTS).contains(&number);
    let Some(first) = number(begin) else {
        return Ok(Sized::Missing { end: begin + 4 });
    };
    if !is_number(first) {
        return Err(Garbled);
    }
    let records = begin + 4;
    for count in first..=MAX_SLOTS {
        let len = RECORD * count as usize;
        let Some(next) = number(records + len) else {
            return Ok(Sized::Missing {
                end: records + len + 4,
            });
        };
        if is_number(next) {
            let end = records + len + 4;
            return match next >= first {
                true => Ok(Sized::All { records: len, end }),
                false => Err(Garbled),
            };
        }
    }
    Err(Garbled)
}

/// Packs bytes into words, padding the last one with zeros. Bytes that do not fit are dropped.
pub(super) fn pack(bytes: &[u8], words: &mut [u32]) {
    for (word, bytes) in words.iter_mut().zip(bytes.chunks(4)) {
        let mut whole = [0; 4];
        for (to, from) in whole.iter_mut().zip(bytes) {
            *to = *from;
        }
        *word = u32::from_ne_bytes(whole);
    }
}

/// The words of an answer.
#[inline]
pub(super) fn words<const N: usize>(bytes: &[u8]) -> [u32; N] {
    let mut words = [0; N];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(4)) {
        if let Ok(bytes) = bytes.try_into() {
            *word = u32::from_ne_bytes(bytes);
        }
    }
    words
}

/// Bits of a reader's state.
pub(super) mod state {
    pub(crate) const UNKNOWN: u32 = 0x01;
    pub(crate) const ABSENT: u32 = 0x02;
    pub(crate) const PRESENT: u32 = 0x04;
    /// Mute.
    pub(crate) const SWALLOWED: u32 = 0x08;
}

/// The state of a reader as reported by the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reader {
    /// Never empty, and without NUL.
    pub(super) name: Vec<u8>,
    /// The number of card insertions and removals.
    pub(super) event_count: u32,
    /// See [`state`].
    pub(super) state: u32,
    /// −1 for exclusive access, otherwise the number of connections.
    pub(super) sharing: i32,
    /// Empty if the daemon has not read it yet.
    pub(super) atr: Atr,
    pub(super) protocol: u32,
}

impl Reader {
    /// `None` for a free slot, whose other bytes are arbitrary. The daemon can change a record
    /// while sending it, so its parts can be inconsistent.
    fn read(record: &[u8]) -> Option<Reader> {
        let (name, rest) = record.split_at_checked(NAME)?;
        let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
        // A name without a NUL is still being written.
        if name.is_empty() || name.len() == NAME {
            return None;
        }
        let [event_count, state, sharing] = words(rest);
        // 33 bytes, and 3 of padding.
        let (bytes, tail) = rest.get(12..)?.split_at_checked(36)?;
        let [atr_len, protocol] = words(tail);
        // A length one above the maximum means that it has not been read yet.
        let atr = usize::try_from(atr_len).ok().filter(|&len| len <= 33);
        let atr = atr.and_then(|len| Atr::received(bytes.get(..len)?));
        Some(Reader {
            name: name.to_vec(),
            event_count,
            state,
            sharing: sharing as i32,
            atr: atr.unwrap_or_default(),
            protocol,
        })
    }
}

/// Reads bytes as each kind of answer, in the same way as a client.
#[cfg(any(test, fuzzing))]
#[allow(unreachable_pub)]
pub fn read_answers(bytes: &[u8]) {
    let mut kinds = vec![Answer::Words(38), Answer::Payload(6), Answer::Payload(8)];
    for sized in [false, true] {
        for (before, after) in [(0, 0), (2, 0), (0, 2)] {
            kinds.push(Answer::Readers {
                before,
                sized,
                after,
            });
        }
    }
    for kind in kinds {
        let mut received = 0;
        while let Ok(missing @ 1..) = kind.missing(bytes.get(..received).unwrap_or_default()) {
            assert!(missing <= 8 + RECORD * MAX_SLOTS as usize);
            received += missing;
            if received > bytes.len() {
                break;
            }
        }
        for reader in kind.readers(bytes) {
            assert!(!reader.name.is_empty() && !reader.name.contains(&0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &[u8]) -> Vec<u8> {
        let mut record = vec![0; RECORD];
        record[..name.len()].copy_from_slice(name);
        for (at, word) in [
            (128, 7_u32),
            (132, 0x34),
            (136, u32::MAX),
            (176, 3),
            (180, 2),
        ] {
            record[at..at + 4].copy_from_slice(&word.to_ne_bytes());
        }
        record[140..143].copy_from_slice(&[0x3B, 0x80, 0x01]);
        record
    }

    fn number(number: u32) -> Vec<u8> {
        number.to_ne_bytes().to_vec()
    }

    /// Receives the whole answer in pieces as requested by `missing`.
    fn whole(answer: Answer, bytes: &[u8]) -> Result<(), Garbled> {
        let mut received = 0;
        loop {
            match answer.missing(&bytes[..received])? {
                0 => break,
                missing => received += missing,
            }
            assert!(received <= bytes.len(), "{received} of {}", bytes.len());
        }
        assert_eq!(received, bytes.len());
        Ok(())
    }

    #[test]
    fn requests_are_a_header_and_words_and_do_not_exceed_their_capacity() {
        let asked = Requests::<32>::NONE.with(Command::Status, &[7, 0]);
        let asked = asked.with(Command::StopWaiting, &[]);
        let words = [8, 0x0B, 7, 0, 0, 0x14].map(u32::to_ne_bytes);
        assert_eq!(asked.as_bytes(), words.as_flattened());
        let full = asked.with(Command::End, &[1, 2, 3]);
        assert_eq!(full.as_bytes().len(), 32);
        let mut packed = [1; 3];
        pack(b"abcde", &mut packed);
        let expected = [*b"abcd", *b"e\0\0\0"].map(u32::from_ne_bytes);
        assert_eq!(packed, [expected[0], expected[1], 1]);
    }

    #[test]
    fn a_record_is_read_as_a_reader_and_a_free_slot_as_none() {
        let reader = Reader::read(&record(b"A 00 00")).unwrap();
        assert_eq!(reader.name, b"A 00 00");
        let numbers = (reader.event_count, reader.state, reader.protocol);
        assert_eq!((numbers, reader.sharing), ((7, 0x34, 2), -1));
        assert_eq!(reader.atr, [0x3B, 0x80, 0x01]);
        for free in [record(b""), record(b"\0left over"), record(&[b'x'; 128])] {
            assert_eq!(Reader::read(&free), None);
        }
        // An ATR that has not been read yet, and invalid lengths.
        for len in [34, 35, u32::MAX] {
            let mut odd = record(b"A");
            odd[176..180].copy_from_slice(&len.to_ne_bytes());
            assert!(Reader::read(&odd).unwrap().atr.is_empty());
        }
    }

    #[test]
    fn a_sized_list_ends_at_its_number_even_if_readers_were_attached_meanwhile() {
        let readers = Answer::Readers {
            before: 1,
            sized: true,
            after: 2,
        };
        let (a, b, gone) = (record(b"A 00 00"), record(b"B 01 00"), record(b"\0 02 00"));
        let tail = [number(8), number(9)].concat();
        let of = |parts: &[&[u8]]| [&number(5), parts.concat().as_slice(), &tail].concat();
        for (first, records, last, found) in [
            (1, vec![&a], 1, 1),
            (2, vec![&a, &gone], 2, 1),
            // Readers were attached before or after the records were sent.
            (1, vec![&a, &b, &gone], 3, 2),
            (1, vec![&a], 4, 1),
        ] {
            let records: Vec<u8> = records.into_iter().flatten().copied().collect();
            let answer = of(&[&number(first), &records, &number(last)]);
            assert_eq!(whole(readers, &answer), Ok(()));
            assert_eq!(readers.readers(&answer).len(), found);
        }
        for (first, last) in [(0, 0), (MAX_SLOTS + 1, 1), (2, 1)] {
            let records = [&a[..], &b].concat();
            let answer = of(&[&number(first), &records, &number(last)]);
            assert_eq!(whole(readers, &answer), Err(Garbled), "{first} {last}");
        }
        let old = Answer::Readers {
            before: 0,
            sized: false,
            after: 0,
        };
        let answer = [a, vec![0; RECORD * (SLOTS as usize - 1)]].concat();
        assert_eq!(whole(old, &answer), Ok(()));
        assert_eq!(old.readers(&answer).len(), 1);
    }

    #[test]
    fn arbitrary_bytes_are_either_an_answer_or_refused() {
        let mut seed = 1_u32;
        for len in (0..4000).step_by(97) {
            let bytes = (0..len).map(|at| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                // Mostly small numbers, because those are plausible lengths.
                if at % 4 == 0 { (seed >> 29) as u8 } else { 0 }
            });
            read_answers(&bytes.collect::<Vec<u8>>());
        }
    }

    #[test]
    fn a_payload_follows_a_success_and_has_the_stated_length() {
        let answer = |len: u32, code: u32, payload: usize| {
            [number(1), number(len), number(code), vec![9; payload]].concat()
        };
        let payload = Answer::Payload(3);
        assert_eq!(whole(payload, &answer(5, 0, 5)), Ok(()));
        assert_eq!(whole(payload, &answer(0, 0, 0)), Ok(()));
        assert_eq!(whole(payload, &answer(u32::MAX, 6, 0)), Ok(()));
        for len in [MAX_PAYLOAD as u32 + 1, u32::MAX] {
            assert_eq!(whole(payload, &answer(len, 0, 0)), Err(Garbled));
        }
        assert_eq!(whole(Answer::Words(2), &[0; 8]), Ok(()));
    }
}
