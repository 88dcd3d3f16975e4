//! The service, whose mood decides how many answers are wrong.
//!
//! Left out are faults that this library cannot detect or protect its process from, because of the
//! client library below it: well-formed answers followed by other bytes, handles of existing cards,
//! ATRs longer than their field.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use scard_testkit::fake::{Answer, Gate, Message, Reader, Request};

pub(crate) use scard_testkit::fake;

use crate::support::random::Random;
use crate::world::FORGED;

const MOST: usize = 65_548;

/// One in this many answers is wrong; 0 means none.
const MOODS: &[u64] = &[0, 60, 20, 5];

/// A valid name, which differs from any truncated or mixed-up one.
pub(crate) fn name(number: usize) -> Vec<u8> {
    let mut name = format!("Reader {number:02} ").into_bytes();
    name.resize(127, b'a' + number as u8);
    name
}

/// The letters of a name without a NUL, which is read together with the bytes after it.
const ENDLESS: u8 = b'Y';

pub(crate) fn may_be_shown(shown: &[u8]) -> bool {
    shown.starts_with(&[ENDLESS]) || (0..16).any(|number| shown == name(number))
}

#[derive(Clone)]
pub(crate) struct Moods {
    seed: u64,
    wrong: Arc<AtomicU64>,
    faults: Arc<AtomicU64>,
    gate: Gate,
    history: Arc<Mutex<VecDeque<(Request, Answer)>>>,
}

/// A running service, which can be replaced by another.
pub(crate) struct Service(fake::Service);

impl Service {
    pub(crate) fn start(moods: &Moods) -> Service {
        let readers = (0..2).map(|number| Reader::new(name(number)));
        let moods = moods.clone();
        let mut messages = HashMap::<usize, u64>::new();
        let script = move |request: &Request| {
            let number = messages.entry(request.connection).or_default();
            *number += 1;
            let answer = moods.answer(request, *number);
            moods.remember(request, &answer);
            answer
        };
        Service(fake::Service::start_with(readers, script).expect("a service"))
    }

    pub(crate) fn panicked(&self) -> bool {
        self.0.panicked()
    }
}

impl Moods {
    pub(crate) fn new(seed: u64) -> Moods {
        Moods {
            seed,
            wrong: Arc::new(AtomicU64::new(MOODS[1])),
            faults: Arc::default(),
            gate: Gate::new(),
            history: Arc::default(),
        }
    }

    /// From now on, everything is answered correctly.
    pub(crate) fn calm_down(&self) {
        self.wrong.store(0, Ordering::SeqCst);
        self.gate.open();
    }

    /// Changes the mood, the readers, or the service.
    pub(crate) fn swing(&self, service: Service, random: &mut Random) -> Service {
        let mood = MOODS[random.below(MOODS.len() as u64) as usize];
        self.wrong.store(mood, Ordering::SeqCst);
        service.0.clear_log();
        if random.one_in(2) {
            self.gate.open();
            self.gate.close();
        }
        match random.below(24) {
            0..16 => service.0.set_readers(readers(random)),
            16..20 => service.0.hang_up(),
            20 => {
                drop(service);
                return Service::start(self);
            }
            _ => {}
        }
        service
    }

    /// The number of answers that were wrong or late.
    pub(crate) fn faults(&self) -> u64 {
        self.faults.load(Ordering::SeqCst)
    }

    fn remember(&self, request: &Request, answer: &Answer) {
        let mut history = self.history.lock().unwrap();
        history.push_back((request.clone(), answer.clone()));
        if history.len() > 5_000 {
            history.pop_front();
        }
    }

    /// The last messages on the connection of a command that contains this.
    pub(crate) fn history(&self, part: &[u8]) -> Vec<String> {
        let history = self.history.lock().unwrap();
        let has = |request: &Request| request.data.windows(part.len()).any(|it| it == part);
        let Some((asked, _)) = history.iter().rev().find(|(request, _)| has(request)) else {
            return Vec::new();
        };
        let same = history
            .iter()
            .filter(|(request, _)| request.connection == asked.connection);
        let shown = same.map(|(request, answer)| {
            let data = &request.data[..request.data.len().min(20)];
            let answer = format!("{answer:02X?}");
            let answer = &answer[..answer.len().min(1_000)];
            format!("{:?} {data:02X?}: {answer}", request.message)
        });
        let mut shown: Vec<String> = shown.collect();
        shown.drain(..shown.len().saturating_sub(30));
        shown
    }

    /// The answer to a request. Depends only on the seed, the mood, the connection and the number
    /// of messages on it.
    fn answer(&self, request: &Request, number: u64) -> Answer {
        let connection = request.connection as u64;
        let mut random = Random::new(self.seed ^ connection << 32 ^ number);
        random.next();
        let wrong = match request.message {
            // These block all threads of the process.
            Message::Version | Message::Establish => 6,
            _ => 1,
        } * self.wrong.load(Ordering::SeqCst);
        let answer = right(request, &mut random);
        if wrong == 0 || !random.one_in(wrong) {
            return answer;
        }
        self.faults.fetch_add(1, Ordering::SeqCst);
        let bytes = random.below(48) as usize;
        match random.below(16) {
            0..4 => Answer::code(code(&mut random)),
            4..6 => answer.cut(bytes),
            6 => answer.stall(&self.gate),
            7 => answer.stall_after(bytes, &self.gate),
            8 => answer.delay(Duration::from_millis(random.below(300))),
            9 => answer.delay_after(bytes, Duration::from_millis(random.below(300))),
            _ => lie(request, answer, &mut random),
        }
    }
}

/// An answer that a service could return.
fn right(request: &Request, random: &mut Random) -> Answer {
    match (request.message, request.data.get(..2)) {
        // Names may come from an earlier list.
        (Message::Connect, _) => Answer::code(0),
        // MANAGE CHANNEL.
        (Message::Transmit, Some([_, 0x70])) => Answer::data([1, 0x90, 0x00]),
        (Message::Transmit, _) if random.one_in(8) => {
            let ends: [[u8; 2]; 4] = [[0x61, 0x10], [0x6C, 0x08], [0x6A, 0x82], [0x91, 0xAF]];
            let end = ends[random.below(4) as usize];
            Answer::data([&request.data[..], &end].concat())
        }
        (Message::Control, _) if request.word(1) == 0x4200_0D48 => {
            let features = [0x06, 0x07, 0x0A, 0x0B, 0x11, 0x12].iter();
            let features = features.flat_map(|tag| [*tag, 4, 0x42, 0x33, 0, *tag]);
            Answer::data(features.collect::<Vec<u8>>())
        }
        _ => Answer::normal(),
    }
}

/// An answer that no service would return.
fn lie(request: &Request, answer: Answer, random: &mut Random) -> Answer {
    let any = random.next() as u32;
    let lengths = [MOST as u32 + 1, i32::MAX as u32, 1 << 31, u32::MAX];
    let length = lengths[random.below(4) as usize];
    let protocols = [0, 1, 2, 4, 8, 0x10000, any];
    let protocol = protocols[random.below(7) as usize];
    match request.message {
        Message::Establish => answer.handle(1 + any % 64),
        Message::Connect | Message::Reconnect => answer.protocol(protocol),
        Message::Transmit | Message::Control if random.one_in(2) => {
            // The payload would be mistaken for the next answer.
            let forged = [FORGED, &[0x90, 0x00]].concat();
            let mut next = vec![0; 4 * (request.words.len() / 4)];
            let at = next.len() - 8;
            next[at..at + 4].copy_from_slice(&(forged.len() as u32).to_ne_bytes());
            answer.length(length).then(next).then(forged)
        }
        Message::Transmit | Message::Control => {
            let lengths = [0, 1, 2, 255, 256, 65_535, 65_536, MOST];
            let mut data = request.data.clone();
            data.resize(lengths[random.below(8) as usize], any as u8);
            Answer::data(data)
        }
        Message::GetAttribute => Answer::data(any.to_be_bytes()).length(match random.below(3) {
            0 => length,
            _ => random.below(300) as u32,
        }),
        Message::ReaderStates | Message::WaitForChange | Message::StatesArray => {
            Answer::readers(readers(random))
        }
        Message::Change | Message::StopWaiting => Answer::code(code(random)),
        _ => Answer::code(any),
    }
}

fn code(random: &mut Random) -> u32 {
    let codes = [
        0x8010_0001, // SCARD_F_INTERNAL_ERROR
        0x8010_0002, // SCARD_E_CANCELLED
        0x8010_0003, // SCARD_E_INVALID_HANDLE
        0x8010_0008, // SCARD_E_INSUFFICIENT_BUFFER
        0x8010_0009, // SCARD_E_UNKNOWN_READER
        0x8010_000A, // SCARD_E_TIMEOUT
        0x8010_000B, // SCARD_E_SHARING_VIOLATION
        0x8010_000C, // SCARD_E_NO_SMARTCARD
        0x8010_000F, // SCARD_E_PROTO_MISMATCH
        0x8010_0013, // SCARD_F_COMM_ERROR
        0x8010_0016, // SCARD_E_NOT_TRANSACTED
        0x8010_0017, // SCARD_E_READER_UNAVAILABLE
        0x8010_001D, // SCARD_E_NO_SERVICE
        0x8010_001E, // SCARD_E_SERVICE_STOPPED
        0x8010_001F, // SCARD_E_UNSUPPORTED_FEATURE
        0x8010_0066, // SCARD_W_UNRESPONSIVE_CARD
        0x8010_0067, // SCARD_W_UNPOWERED_CARD
        0x8010_0068, // SCARD_W_RESET_CARD
        0x8010_0069, // SCARD_W_REMOVED_CARD
        0x8010_006A, // SCARD_W_SECURITY_VIOLATION
        122,
        234,
        u32::MAX,
        random.next() as u32,
    ];
    codes[random.below(codes.len() as u64) as usize]
}

fn readers(random: &mut Random) -> Vec<Reader> {
    let count = [0, 1, 2, 16][random.below(4) as usize];
    let mut readers: Vec<Reader> = (0..count)
        .map(|number| match random.below(4) {
            0 => Reader::empty(name(number)),
            _ => Reader::new(name(number)),
        })
        .collect();
    if let (true, Some(reader)) = (random.one_in(3), readers.last_mut()) {
        match random.below(4) {
            0 => {
                reader.name = [ENDLESS; 128];
                reader.event_counter = u32::from(b'Y');
            }
            1 => reader.atr_length = random.below(35) as u32,
            _ => {
                reader.event_counter = random.next() as u32;
                reader.state = random.next() as u32;
                reader.sharing = random.next() as i32;
                reader.protocol = random.next() as u32;
            }
        }
    }
    readers
}
