//! The service that does what the test wants: under the real client library, and
//! as every version of the protocol sees it.
#![cfg(target_os = "linux")]

use std::ffi::CStr;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use pcsc::ffi::DWORD;
use pcsc::{Attribute, Card, Context, Error, Protocols, ReaderState, ShareMode, State, ctl_code};
use scard_testkit::fake::{Answer, Gate, Message, Reader, Request, Service};
use scard_testkit::{TestkitError, isolated};

const SOON: Duration = Duration::from_secs(5);
const NOT: Duration = Duration::from_millis(100);

const READER: &CStr = c"Fake Reader 00 00";

const SELECT: &[u8] = &[0x00, 0xA4, 0x04, 0x00, 0x02, 0xA0, 0x00];

fn context() -> Context {
    Context::establish(pcsc::Scope::User).expect("a context")
}

fn connect(context: &Context) -> Result<Card, Error> {
    context.connect(READER, ShareMode::Shared, Protocols::ANY)
}

fn transmit(card: &Card, command: &[u8]) -> Result<Vec<u8>, Error> {
    let mut buffer = vec![0; 65_548];
    card.transmit(command, &mut buffer).map(<[u8]>::to_vec)
}

/// Answers these messages as the closure wants, others as ever.
fn script(
    service: &Service,
    message: Message,
    mut answer: impl FnMut(&Request) -> Answer + Send + 'static,
) {
    service.script(move |request| match request.message == message {
        true => answer(request),
        false => Answer::normal(),
    });
}

#[test]
fn every_call_of_the_client_library_has_its_answer() {
    isolated(|| {
        let service = Service::start().unwrap();
        let context = context();
        assert_eq!(context.list_readers_owned().unwrap(), [READER.to_owned()]);
        let unknown = c"Another Reader";
        let refused = context.connect(unknown, ShareMode::Shared, Protocols::ANY);
        assert_eq!(refused.err(), Some(Error::UnknownReader));
        let mut card = connect(&context).unwrap();
        let answer = [SELECT, &[0x90, 0x00]].concat();
        assert_eq!(transmit(&card, SELECT).unwrap(), answer);
        let code = ctl_code(1);
        let mut buffer = [0; 264];
        assert_eq!(card.control(code, &[1, 2], &mut buffer).unwrap(), [1, 2]);
        let attribute = card.get_attribute(Attribute::VendorName, &mut buffer);
        assert_eq!(attribute.unwrap(), [0, 1, 1, 0]);
        card.set_attribute(Attribute::VendorName, &[7]).unwrap();
        card.transaction().unwrap();
        let status = card.status2_owned().unwrap();
        assert_eq!(status.reader_names(), [READER.to_owned()]);
        assert_eq!(status.atr(), scard_testkit::atr::T1);
        assert_eq!(status.protocol2(), Some(pcsc::Protocol::T1));
        let leave = pcsc::Disposition::LeaveCard;
        card.reconnect(ShareMode::Shared, Protocols::T0, leave)
            .unwrap();
        assert!(card.disconnect(leave).is_ok());
        assert!(context.release().is_ok());
        for (message, count) in [
            (Message::Establish, 1),
            (Message::Connect, 2),
            (Message::Transmit, 1),
            (Message::Control, 1),
            (Message::GetAttribute, 1),
            (Message::SetAttribute, 1),
            (Message::Begin, 1),
            (Message::End, 1),
            (Message::Reconnect, 1),
            (Message::Disconnect, 1),
            (Message::Release, 1),
        ] {
            assert_eq!(service.count(message), count, "{message:?}");
        }
        let log = service.log();
        let transmit = log.iter().find(|r| r.message == Message::Transmit).unwrap();
        assert_eq!(transmit.data, SELECT);
        let control = log.iter().find(|r| r.message == Message::Control).unwrap();
        assert_eq!(DWORD::from(control.word(1)), code);
        let connect = log.iter().find(|r| r.message == Message::Connect).unwrap();
        assert_eq!(connect.reader(), unknown.to_bytes());
        service.clear_log();
        assert_eq!((service.log().len(), service.connections()), (0, 1));
        assert!(!service.panicked());
    });
}

#[test]
fn clients_that_wait_are_told_of_changes() {
    isolated(|| {
        let service = Service::start().unwrap();
        service.set_readers([Reader::empty("Fake Reader 00 00")]);
        let context = context();
        assert_eq!(connect(&context).err(), Some(Error::NoSmartcard));
        let mut states = [ReaderState::new(READER, State::UNAWARE)];
        for _ in 0..100 {
            context
                .get_status_change(Duration::ZERO, &mut states)
                .unwrap();
            states[0].sync_current_state();
            // The last that a client asks before it waits.
            let last = match service.count(Message::StatesArray) {
                0 => Message::WaitForChange,
                _ => Message::StatesArray,
            };
            let before = service.count(last);
            let waited = thread::scope(|scope| {
                let waiting = scope.spawn(|| context.get_status_change(SOON, &mut states));
                service.wait_for(last, before + 1, SOON).unwrap();
                service.set_readers([Reader::new("Fake Reader 00 00")]);
                waiting.join().unwrap()
            });
            waited.unwrap();
            assert!(states[0].event_state().contains(State::PRESENT));
            service.set_readers([Reader::empty("Fake Reader 00 00")]);
            states[0] = ReaderState::new(READER, State::UNAWARE);
        }
        let patience = Duration::from_millis(20);
        context.get_status_change(SOON, &mut states).unwrap();
        states[0].sync_current_state();
        let early = context.get_status_change(patience, &mut states);
        assert_eq!(early, Err(Error::Timeout));

        let cancelled = thread::scope(|scope| {
            let waiting = scope.spawn(|| context.get_status_change(SOON, &mut states));
            // One that comes before the wait has no effect.
            while !waiting.is_finished() {
                context.cancel().unwrap();
                thread::sleep(Duration::from_millis(1));
            }
            waiting.join().unwrap()
        });
        assert_eq!(cancelled, Err(Error::Cancelled));
    });
}

#[test]
fn handles_protocols_and_codes_are_as_the_script_has_them() {
    isolated(|| {
        let service = Service::start().unwrap();
        script(&service, Message::Connect, |request| match request.number {
            0 => Answer::code(0x8010_006A),
            1 => Answer::normal().protocol(1),
            _ => Answer::normal().handle(7),
        });
        let context = context();
        assert_eq!(connect(&context).err(), Some(Error::SecurityViolation));
        let card = connect(&context).unwrap();
        let protocol = card.status2_owned();
        assert_eq!(protocol.unwrap().protocol2(), Some(pcsc::Protocol::T1));
        let card = connect(&context).unwrap();
        transmit(&card, SELECT).unwrap();
        let last = service.log().pop().unwrap();
        assert_eq!((last.message, last.word(0)), (Message::Transmit, 7));

        script(&service, Message::GetAttribute, |_| {
            Answer::data([0xAB; 300]).length(2)
        });
        let mut buffer = [0; 264];
        let value = card.get_attribute(Attribute::VendorName, &mut buffer);
        assert_eq!(value.unwrap(), [0xAB; 2]);
    });
}

#[test]
fn lengths_are_what_the_script_claims() {
    isolated(|| {
        let service = Service::start().unwrap();
        script(&service, Message::Transmit, |request| {
            match request.data[0] {
                0xBA => Answer::data([1, 2, 3]).length(2).cut(usize::MAX),
                0xBB => Answer::normal().length(u32::MAX),
                0xBC => Answer::code(0x8010_0016),
                _ => Answer::normal(),
            }
        });
        let card = connect(&context()).unwrap();
        assert_eq!(transmit(&card, &[0xBC, 0]), Err(Error::NotTransacted));
        assert_eq!(transmit(&card, &[0xBA, 0]).unwrap(), [1, 2]);
        let card = connect(&context()).unwrap();
        let error = transmit(&card, &[0xBB, 0]);
        assert_eq!(error, Err(Error::InsufficientBuffer));
    });
}

#[test]
fn answers_are_cut_and_connections_closed() {
    isolated(|| {
        let service = Service::start().unwrap();
        for bytes in [0, 3, 32, 33] {
            script(&service, Message::Transmit, move |_| {
                Answer::normal().cut(bytes)
            });
            let card = connect(&context()).unwrap();
            assert_eq!(transmit(&card, SELECT), Err(Error::CommError), "{bytes}");
        }
        // All of it, and then the end.
        script(&service, Message::Transmit, |_| Answer::normal().cut(1000));
        let card = connect(&context()).unwrap();
        transmit(&card, SELECT).unwrap();
        assert!(transmit(&card, SELECT).is_err());

        script(&service, Message::Establish, |_| Answer::hang_up());
        assert!(Context::establish(pcsc::Scope::User).is_err());
        service.script(|_| Answer::normal());
        let card = connect(&context()).unwrap();
        service.hang_up();
        assert!(transmit(&card, SELECT).is_err());
    });
}

#[test]
fn answers_stop_at_gates_and_come_late() {
    isolated(|| {
        let service = Service::start().unwrap();
        for bytes in [0, 10, 1000] {
            let gate = Gate::new();
            script(&service, Message::Transmit, {
                let gate = gate.clone();
                move |request| match request.data[0] {
                    0xBA => Answer::normal().stall_after(bytes, &gate),
                    _ => Answer::normal(),
                }
            });
            let card = connect(&context()).unwrap();
            thread::scope(|scope| {
                let other = scope.spawn(|| {
                    gate.wait_for(1, SOON).unwrap();
                    let late = gate.wait_for(2, Duration::ZERO).unwrap_err();
                    assert!(matches!(late, TestkitError::Timeout { .. }), "{late}");
                    // Others are answered meanwhile.
                    transmit(&connect(&context()).unwrap(), SELECT).unwrap();
                    thread::sleep(NOT);
                    let opened = Instant::now();
                    gate.open();
                    opened
                });
                transmit(&card, &[0xBA, 0]).unwrap();
                let answered = Instant::now();
                let opened = other.join().unwrap();
                // After the whole answer, only the next has to wait.
                assert_eq!(answered < opened, bytes == 1000);
            });
            gate.close();
            script(&service, Message::Transmit, |_| {
                Answer::normal().delay(NOT).delay_after(34, NOT)
            });
            let begun = Instant::now();
            transmit(&card, SELECT).unwrap();
            assert!(begun.elapsed() >= 2 * NOT);
        }
    });
}

#[test]
fn readers_change_with_each_answer() {
    isolated(|| {
        let service = Service::start().unwrap();
        let all: Vec<Reader> = (0..16u8).map(|n| Reader::new([b'a' + n; 127])).collect();
        script(&service, Message::ReaderStates, move |request| {
            // For their length, and for the names.
            Answer::readers(all[..1 + request.number / 2 % 16].to_vec())
        });
        // What later versions ask instead.
        let context = context();
        for number in 0..32 {
            let names = context.list_readers_owned().unwrap();
            if service.count(Message::ReaderStates) > 0 {
                assert_eq!(names.len(), 1 + number % 16);
                assert!(names.iter().all(|name| name.to_bytes().len() == 127));
            }
        }
    });
}

#[test]
fn it_ends_with_its_handle_whatever_it_does() {
    isolated(|| {
        let gate = Gate::new();
        for round in 0..3 {
            let service = Service::start().unwrap();
            script(&service, Message::Transmit, {
                let gate = gate.clone();
                move |request| match request.data[0] {
                    0xBA => Answer::normal().stall(&gate),
                    _ => Answer::normal().delay(Duration::from_secs(600)),
                }
            });
            let cards = [0xBA, 0xBB].map(|class| (connect(&context()).unwrap(), class));
            let others = cards.map(|(card, class)| {
                thread::spawn(move || transmit(&card, &[class, 0]).unwrap_err())
            });
            gate.wait_for(round + 1, SOON).unwrap();
            service.wait_for(Message::Transmit, 2, SOON).unwrap();
            let begun = Instant::now();
            let socket = service.socket_path().to_owned();
            drop(service);
            assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
            assert!(!socket.exists());
            for other in others {
                assert_eq!(other.join().unwrap(), Error::CommError);
            }
            // The kernel may still list a thread that has done everything.
            while !threads().is_empty() {
                assert!(begun.elapsed() < SOON, "{:?}", threads());
                thread::yield_now();
            }
            let error = Context::establish(pcsc::Scope::User).err();
            assert_eq!(error, Some(Error::NoService));
        }
    });
}

/// The threads of the service.
fn threads() -> Vec<String> {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let named = threads.filter_map(|task| {
        let name = std::fs::read_to_string(task.ok()?.path().join("comm")).ok()?;
        name.starts_with("fake ").then_some(name)
    });
    named.collect()
}

#[test]
fn a_script_can_have_the_first_message() {
    isolated(|| {
        let refused = |request: &Request| match request.message {
            // Of a major version that no client has: the client library of pcsc-lite 2.5 asks
            // again, for ever, where the version that refuses it is its own.
            Message::Version => Answer::code(0x8010_001E).word(0, 5),
            _ => Answer::normal(),
        };
        let service = Service::start_with([Reader::new("R")], refused).unwrap();
        let error = Context::establish(pcsc::Scope::User).err();
        assert_eq!(error, Some(Error::ServiceStopped));
        service.script(|_| Answer::normal());
        assert_eq!(context().list_readers_owned().unwrap(), [c"R".to_owned()]);
    });
}

#[test]
fn a_script_that_panics_closes_the_connection() {
    isolated(|| {
        let service = Service::start().unwrap();
        script(&service, Message::Transmit, |_| panic!("on purpose"));
        let card = connect(&context()).unwrap();
        assert_eq!(transmit(&card, SELECT), Err(Error::CommError));
        assert!(service.panicked());
        service.script(|_| Answer::normal());
        transmit(&connect(&context()).unwrap(), SELECT).unwrap();
    });
}

/// A client of its own, for the versions that the installed library does not speak.
struct Client(UnixStream);

impl Client {
    /// Also says which version the service names, and the code of the refusal.
    fn connect(service: &Service, major: u32, minor: u32) -> (Self, [u32; 3]) {
        let stream = UnixStream::connect(service.socket_path()).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let mut client = Self(stream);
        client.send(0x11, &[major, minor, 0]);
        let answer = client.words();
        (client, answer)
    }

    fn send(&mut self, command: u32, words: &[u32]) {
        let header = [4 * words.len() as u32, command];
        let words = header.iter().chain(words);
        let bytes: Vec<u8> = words.flat_map(|word| word.to_ne_bytes()).collect();
        self.0.write_all(&bytes).unwrap();
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    fn words<const N: usize>(&mut self) -> [u32; N] {
        let bytes = self.bytes(4 * N);
        std::array::from_fn(|n| u32::from_ne_bytes(bytes[4 * n..4 * n + 4].try_into().unwrap()))
    }

    /// The names among so many reader states.
    fn names(&mut self, states: usize) -> Vec<String> {
        let bytes = self.bytes(184 * states);
        let names = bytes.chunks(184).map(|state| {
            let name = state[..128].split(|b| *b == 0).next().unwrap();
            String::from_utf8_lossy(name).into_owned()
        });
        names.filter(|name| !name.is_empty()).collect()
    }
}

#[test]
fn all_versions_are_spoken() {
    let service = Service::start().unwrap();
    for minor in [4, 5, 6] {
        let (_, answer) = Client::connect(&service, 4, minor);
        // Its own, as that of the real service, whichever is in force.
        assert_eq!(answer, [4, 6, 0]);
    }
    for (major, minor) in [(4, 3), (4, 7), (5, 4), (u32::MAX, 0)] {
        let (mut client, answer) = Client::connect(&service, major, minor);
        assert_eq!(answer, [4, 6, 0x8010_001E]);
        // The real service, too, goes on.
        client.send(0x11, &[4, 4, 0]);
        assert_eq!(client.words(), [4, 6, 0]);
    }
}

#[test]
fn up_to_version_4_5_states_come_with_the_registration() {
    let service = Service::start().unwrap();
    for minor in [4, 5] {
        let (mut client, _) = Client::connect(&service, 4, minor);
        let (mut other, _) = Client::connect(&service, 4, minor);
        for round in 0..100 {
            client.send(0x13, &[]);
            assert!(!client.names(16).is_empty());
            if round % 2 == 0 {
                // It is told once, and stops to wait by it.
                for _ in 0..2 {
                    service.set_readers([Reader::new("One"), Reader::empty("Two")]);
                }
            }
            client.send(0x14, &[]);
            assert_eq!(client.words(), [0, 0]);
            client.send(0x12, &[]);
            assert_eq!(client.names(16), ["One", "Two"]);
        }
        client.send(0x01, &[2, 0, 0]);
        let [_, context, code] = client.words();
        assert_eq!(code, 0);
        client.send(0x13, &[]);
        client.names(16);
        other.send(0x0D, &[context, 0]);
        assert_eq!(other.words(), [context, 0]);
        assert_eq!(client.words(), [0, 0x8010_0002]);
        client.send(0x15, &[]);
        assert_eq!(client.words(), [2, 0]);
    }
}

#[test]
fn from_version_4_6_on_states_are_asked_for_by_number() {
    let service = Service::start().unwrap();
    let (mut client, _) = Client::connect(&service, 4, 6);
    client.send(0x13, &[]);
    client.send(0x16, &[]);
    assert_eq!(client.words(), [2]);
    client.send(0x17, &[]);
    assert_eq!(client.names(2), ["Fake Reader 00 00"]);
    let readers = ["a", "b", "c"].map(Reader::new);
    service.set_readers(readers.clone());
    assert_eq!(client.words(), [0, 0]);
    // The number never falls again.
    for readers in [&readers[..], &readers[..1]] {
        service.set_readers(readers.to_vec());
        client.send(0x16, &[]);
        assert_eq!(client.words(), [3]);
        client.send(0x17, &[]);
        assert_eq!(client.names(3).len(), readers.len());
    }
    service.script(|request| match request.message {
        Message::StatesSize => Answer::normal().word(0, u32::MAX),
        Message::StatesArray => Answer::readers([Reader::new("z")]).then([1, 2, 3]),
        Message::Change => Answer::code(0x8010_0001),
        Message::Status => Answer::raw([1, 2]),
        _ => Answer::normal(),
    });
    client.send(0x16, &[]);
    assert_eq!(client.words(), [u32::MAX]);
    client.send(0x17, &[]);
    assert_eq!(client.names(3), ["z"]);
    assert_eq!(client.bytes(3), [1, 2, 3]);
    client.send(0x0B, &[1, 0]);
    assert_eq!(client.bytes(2), [1, 2]);
    client.send(0x13, &[]);
    client.send(0x16, &[]);
    client.bytes(4);
    service.set_readers(readers);
    assert_eq!(client.words(), [0, 0x8010_0001]);
}

#[test]
fn what_is_no_message_ends_the_connection_and_nothing_else() {
    let service = Service::start().unwrap();
    let (mut lasting, _) = Client::connect(&service, 4, 4);
    let mut bytes = 0x2545_F491_4F6C_DD1D_u64;
    for _ in 0..300 {
        let mut stream = UnixStream::connect(service.socket_path()).unwrap();
        let garbage: Vec<u8> = (0..64)
            .map(|_| {
                bytes ^= bytes << 13;
                bytes ^= bytes >> 7;
                bytes ^= bytes << 17;
                bytes as u8
            })
            .collect();
        let _ = stream.write_all(&garbage);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        // To its end.
        let _ = stream.read_to_end(&mut Vec::new());
    }
    lasting.send(0x12, &[]);
    assert_eq!(lasting.names(16), ["Fake Reader 00 00"]);
    assert_eq!(service.connections(), 301);
    let begun = Instant::now();
    while service.open_connections() > 1 {
        assert!(begun.elapsed() < SOON);
        thread::yield_now();
    }
    assert!(!service.panicked());
}

#[test]
fn programs_find_it_by_their_environment() {
    let service = Service::start().unwrap();
    let output = service
        .command("sh")
        .args(["-c", "test -S \"$PCSCLITE_CSOCK_NAME\""])
        .status();
    assert!(output.unwrap().success());
}
