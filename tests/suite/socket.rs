//! The daemon's socket, without its client library.
#![cfg(all(target_os = "linux", feature = "socket"))]

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use scard::{
    AbortHandle, Card, ConnectOptions, Context, ContextOptions, Disposition, ErrorKind, Event,
    Initialization, MonitorOptions, Operation, Protocols, ReturnCode, ShareMode,
};
use scard_testkit::fake::{Answer, Gate, Message, Reader, Service};
use scard_testkit::{Sandbox, VirtualCard, isolated};

use crate::support::fake::stop;
use crate::support::usage::workers;
use crate::support::*;

const NAME: &str = "Fake Reader 00 00";
const SERVICE_STOPPED: u32 = 0x8010_001E;
const SHARING_VIOLATION: u32 = 0x8010_000B;

fn context_at(path: &Path) -> Context {
    ContextOptions::new().socket_path(path).lazy()
}

/// A daemon that refuses all versions but this one.
fn daemon_of(major: u32, minor: u32) -> Service {
    daemon_with(Reader::new(NAME), major, minor)
}

fn daemon_with(reader: Reader, major: u32, minor: u32) -> Service {
    Service::start_with([reader], move |request| match request.message {
        Message::Version => {
            let answer = Answer::normal().word(0, major).word(1, minor);
            match (request.word(0), request.word(1)) == (major, minor) {
                true => answer,
                false => answer.word(2, SERVICE_STOPPED),
            }
        }
        _ => Answer::normal(),
    })
    .unwrap()
}

#[test]
fn each_version_that_is_known_is_spoken() {
    for minor in 4..=6 {
        let service = daemon_of(4, minor);
        let context = context_at(service.socket_path());
        assert_eq!(context.readers().unwrap(), [NAME]);
        let mut card = context.connect(NAME, ConnectOptions::new()).unwrap();
        assert_eq!(card.transmit(COMMAND).unwrap(), [COMMAND, OK].concat());
        assert_eq!(card.status().unwrap().reader_names(), [NAME]);
        let mut events = context.monitor(MonitorOptions::new()).unwrap();
        let (inserted, removed) = (Reader::new(NAME), Reader::empty(NAME));
        let mut wait_for = |name| while events.next().unwrap().name() != name {};
        wait_for("card-inserted");
        service.set_readers([removed]);
        wait_for("card-removed");
        service.set_readers([inserted, Reader::new("Another 00 00")]);
        wait_for("reader-attached");
    }
}

/// An older daemon writes a refusal to its log.
#[test]
fn an_older_version_is_requested_at_once_until_the_daemon_is_replaced() {
    // Other paths in this process could have the same place.
    isolated(versions_of_daemons_at_one_path);
}

fn versions_of_daemons_at_one_path() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pcscd.comm");
    let put = |socket: &Path| {
        let _ = std::fs::remove_file(&path);
        std::os::unix::fs::symlink(socket, &path).unwrap();
    };
    let versions = |service: &Service| {
        put(service.socket_path());
        service.clear_log();
        assert_eq!(context_at(&path).readers().unwrap(), [NAME]);
        let log = service.log().into_iter();
        let versions = log.filter(|it| it.message == Message::Version);
        versions.map(|it| it.word(1)).collect::<Vec<_>>()
    };
    let (old, newer, new) = (daemon_of(4, 4), daemon_of(4, 5), Service::start().unwrap());
    assert_eq!(versions(&old).last(), Some(&4));
    assert_eq!(versions(&old), [4]);
    assert_eq!(versions(&newer), [4, 5]);
    assert_eq!(versions(&newer), [5]);
    // Accepts older ones, too, and is asked for what only the newest has.
    assert_eq!(versions(&new), [5, 6]);
    assert_eq!(versions(&new), [6]);
    assert_eq!(versions(&old), [6, 4]);
    // So does the daemon here, if it is as new.
    let sandbox = Sandbox::builder().card(0, plain_card()).start().unwrap();
    put(sandbox.socket_path());
    let mut events = context_at(&path).monitor(MonitorOptions::new()).unwrap();
    let mut wait_for = |name| while events.next().unwrap().name() != name {};
    wait_for("card-inserted");
    sandbox.reader(0).remove().unwrap();
    wait_for("card-removed");
}

/// As the documentation of the kit has it: no process of its own, and two daemons at a time.
#[test]
fn a_test_needs_no_process_of_its_own() {
    let sandboxes = [1, 2].map(|number| {
        let card = VirtualCard::new(move |_: &[u8]| [number, 0x90, 0x00]);
        Sandbox::builder().card(0, card).start().unwrap()
    });
    let [first, second] = sandboxes.each_ref().map(|sandbox| {
        let options = ContextOptions::new().socket_path(sandbox.socket_path());
        let context = options.establish().unwrap();
        let reader = sandbox.reader(0).name();
        context.connect(reader, ConnectOptions::new()).unwrap()
    });
    std::thread::scope(|scope| {
        for (number, mut card) in [(1, first), (2, second)] {
            scope.spawn(move || {
                for _ in 0..20 {
                    assert_eq!(card.transmit(COMMAND).unwrap(), [number, 0x90, 0x00]);
                }
            });
        }
    });
}

#[test]
fn another_version_is_an_error_that_names_both() {
    for (major, minor, theirs) in [(4, 3, "4:3"), (4, 7, "4:7"), (5, 0, "5:0")] {
        let service = daemon_of(major, minor);
        let error = context_at(service.socket_path()).readers().unwrap_err();
        assert_eq!(error.operation(), Operation::EstablishContext);
        assert_eq!(error.code(), ReturnCode::E_SERVICE_STOPPED);
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let text = error.to_string();
        assert!(
            text.contains(&format!("{theirs} instead of 4:4 to 4:6")),
            "{text}"
        );
        assert!(text.contains(service.socket_path().to_str().unwrap()));
    }
}

/// One process and two services, both unknown to it when it started.
#[test]
fn one_program_uses_several_services() {
    let (first, second) = (Service::start().unwrap(), Service::start().unwrap());
    second.set_readers([Reader::new("B 00 00")]);
    let contexts = [&first, &second].map(|it| context_at(it.socket_path()));
    let readers = contexts.map(|it| it.readers().unwrap().pop().unwrap().to_string());
    assert_eq!(readers, [NAME, "B 00 00"]);
    let path = "/nowhere/pcscd.comm";
    let error = context_at(Path::new(path)).readers().unwrap_err();
    assert_eq!(error.code(), ReturnCode::E_NO_SERVICE);
    let text = error.to_string();
    let says = format!("at {path:?} failed: the smart-card service is not installed");
    assert!(text.contains(&says), "{text}");
}

/// Both ways to reach the daemon named by the environment.
#[test]
fn the_environment_names_the_socket() {
    isolated(|| {
        let sandbox = Sandbox::builder().card(0, plain_card()).start().unwrap();
        let name = sandbox.reader(0).name();
        let context = ContextOptions::new().socket().establish().unwrap();
        let mut card = context.connect(name, ConnectOptions::new()).unwrap();
        assert_works(&mut card);
        let other = Context::establish().unwrap();
        assert_eq!(other.readers().unwrap(), context.readers().unwrap());
    });
}

/// A lie ends the connection, and never corrupts memory or another command's answer.
#[test]
fn a_daemon_that_lies_loses_the_connection() {
    let lies: [fn() -> Answer; 6] = [
        || Answer::normal().length(65_549),
        || Answer::normal().length(u32::MAX),
        || Answer::normal().then(b"more than it said"),
        || Answer::code(0x8010_0016).then(b"data after a failure"),
        || Answer::normal().cut(7),
        || Answer::normal().cut(35),
    ];
    for lie in lies {
        let service = Service::start().unwrap();
        let context = context_at(service.socket_path());
        let mut card = context.connect(NAME, ConnectOptions::new()).unwrap();
        service.script(move |request| match request.message {
            Message::Transmit if request.number == 0 => lie(),
            _ => Answer::normal(),
        });
        card.transmit(COMMAND).unwrap_err();
        assert!(card.transmit(COMMAND).is_err(), "the connection is dead");
        let mut card = context.connect(NAME, ConnectOptions::new()).unwrap();
        assert_eq!(card.transmit(COMMAND).unwrap(), [COMMAND, OK].concat());
    }
}

#[test]
fn more_readers_than_were_ever_possible_are_seen() {
    let service = Service::start().unwrap();
    let name = |number| format!("Reader {number} 00 00");
    service.set_readers((0..40).map(|it| Reader::new(name(it))));
    let context = context_at(service.socket_path());
    assert_eq!(context.readers().unwrap().len(), 40);
    assert_eq!(context.reader_states().unwrap().len(), 40);
    let mut card = context.connect(name(39), ConnectOptions::new()).unwrap();
    assert_eq!(card.transmit(COMMAND).unwrap(), [COMMAND, OK].concat());
    let mut monitor = context.monitor(MonitorOptions::new()).unwrap();
    let mut attached = 0;
    while attached < 40 {
        let event = monitor.next().unwrap();
        attached += usize::from(matches!(event, Event::ReaderAttached { .. }));
    }
    // Fewer than before, for example after a restart of the service.
    service.set_readers([Reader::new(name(0))]);
    let mut detached = 0;
    while detached < 39 {
        let event = monitor.next().unwrap();
        detached += usize::from(matches!(event, Event::ReaderDetached { .. }));
    }
}

/// What a daemon of version 4:6 does if a change comes before the states are requested.
#[test]
fn a_change_in_the_middle_of_the_registration_is_not_read_as_an_answer() {
    let service = Service::start().unwrap();
    let context = context_at(service.socket_path());
    let gate = Gate::new();
    service.script({
        let gate = gate.clone();
        // Before the number of the readers, which is requested next.
        move |request| match request.message {
            Message::WaitForChange if request.number == 0 => {
                Answer::normal().then_change().stall(&gate)
            }
            _ => Answer::normal(),
        }
    });
    let mut monitor = context.monitor(MonitorOptions::new()).unwrap();
    gate.wait_for(1, SOON).unwrap();
    gate.open();
    service.wait_for(Message::WaitForChange, 2, SOON).unwrap();
    service.set_readers([Reader::empty(NAME)]);
    loop {
        match monitor.next().unwrap() {
            Event::CardRemoved { .. } => break,
            Event::ReaderDetached { .. } | Event::ServiceLost { .. } => panic!("it was there"),
            _ => {}
        }
    }
}

/// The daemon can change its table while sending it.
#[test]
fn readers_are_read_until_two_answers_agree() {
    let service = Arc::new(Service::start_with([Reader::new(NAME)], |_| Answer::normal()).unwrap());
    service.script({
        let service = Arc::downgrade(&service);
        move |request| {
            if request.message == Message::StatesArray {
                let mut reader = Reader::new(NAME);
                // Each query begins with an answer that no other one agrees with.
                reader.event_counter = if request.number % 3 == 0 { 99 } else { 7 };
                service.upgrade().unwrap().set_readers([reader]);
            }
            Answer::normal()
        }
    });
    let context = context_at(service.socket_path());
    for _ in 0..3 {
        let states = context.reader_states().unwrap();
        assert_eq!(states[0].event_count(), Some(7));
    }
    // A list and a look.
    assert_eq!(service.count(Message::StatesArray), 3 * (3 + 3));
}

/// One whose answer to the registration never fits the readers that it reports.
#[test]
fn a_monitor_ends_although_the_daemon_contradicts_itself() {
    let service = Arc::new(Service::start().unwrap());
    service.script({
        let service = Arc::downgrade(&service);
        move |request| {
            let counted = match request.message {
                Message::Version if request.word(1) > 4 => {
                    return Answer::normal().word(1, 4).word(2, SERVICE_STOPPED);
                }
                Message::Version => return Answer::normal().word(1, 4),
                Message::WaitForChange => 99,
                _ => 7,
            };
            let mut reader = Reader::new(NAME);
            reader.event_counter = counted;
            service.upgrade().unwrap().set_readers([reader]);
            Answer::normal()
        }
    });
    let context = context_at(service.socket_path());
    let monitor = context.monitor(MonitorOptions::new()).unwrap();
    service.wait_for(Message::WaitForChange, 3, SOON).unwrap();
    assert!(monitor.close(Some(SOON)));
}

/// No requests are sent while nothing happens.
#[test]
fn a_monitor_sleeps() {
    let sleeps = |minor| {
        let service = daemon_of(4, minor);
        let context = context_at(service.socket_path());
        let _monitor = context.monitor(MonitorOptions::new()).unwrap();
        service.wait_for(Message::WaitForChange, 1, SOON).unwrap();
        // The requests of the first round, whose number depends on the version, may take a while.
        let mut before = usize::MAX;
        wait_until(&format!("the monitor sleeps, 4:{minor}"), || {
            thread::sleep(Duration::from_millis(1500));
            let now = service.log().len();
            std::mem::replace(&mut before, now) == now
        });
    };
    thread::scope(|scope| {
        for minor in 4..=6 {
            scope.spawn(move || sleeps(minor));
        }
    });
}

/// As after the start of the daemon. The library of pcsc-lite takes a count of zero for an unknown
/// one, and misses the swap.
#[test]
fn a_swap_is_noticed_at_once_although_no_event_was_counted_before() {
    for minor in 4..=6 {
        let reader = |counted| {
            let mut reader = Reader::new(NAME);
            reader.event_counter = counted;
            reader
        };
        let service = daemon_with(reader(0), 4, minor);
        let context = context_at(service.socket_path());
        let mut events = context.monitor(MonitorOptions::new()).unwrap();
        while events.next().unwrap().name() != "card-inserted" {}
        assert_eq!(events.next_timeout(Duration::from_millis(1500)), None);
        let looks = service.count(Message::WaitForChange);
        assert!(looks <= 2, "{looks} looks");
        service.clear_log();
        service.set_readers([reader(2)]);
        let event = events.next_timeout(SOON).unwrap();
        assert_eq!(event.name(), "card-exchanged", "4:{minor}");
        // There is nothing to stop: the daemon has reported the change.
        assert!(!asked(&service).contains(&Message::StopWaiting));
    }
}

/// A reset by another program is not counted.
#[test]
fn another_atr_is_noticed_although_no_event_is_counted() {
    for (minor, counted) in [(4, 0), (4, 7), (5, 0), (6, 0), (6, 7)] {
        let reader = |atr: &[u8]| {
            let mut reader = Reader::new(NAME).atr(atr);
            reader.event_counter = counted;
            reader
        };
        let service = daemon_with(reader(&[0x3B, 0x01, 0x01]), 4, minor);
        let context = context_at(service.socket_path());
        let mut events = context.monitor(MonitorOptions::new()).unwrap();
        while events.next().unwrap().name() != "card-inserted" {}
        service.set_readers([reader(&[0x3B, 0x01, 0x02])]);
        let event = events.next_timeout(SOON).unwrap();
        assert_eq!(event.name(), "atr-changed", "4:{minor}, {counted}");
    }
}

/// The daemon has not read it yet when it reports the card.
#[test]
fn an_atr_that_comes_late_is_noticed_although_no_event_is_counted() {
    for minor in 4..=6 {
        let service = daemon_with(Reader::new(NAME).atr([]), 4, minor);
        let context = context_at(service.socket_path());
        let mut events = context.monitor(MonitorOptions::new()).unwrap();
        while events.next().unwrap().name() != "card-inserted" {}
        assert_eq!(events.next_timeout(Duration::from_millis(500)), None);
        service.set_readers([Reader::new(NAME).atr([0x3B, 0x01, 0x02])]);
        let event = events.next_timeout(SOON).unwrap();
        assert_eq!(event.name(), "atr-changed", "4:{minor}");
    }
}

/// A socket that is forwarded to a daemon, as by ssh.
struct Line {
    /// Keeps the path.
    _dir: tempfile::TempDir,
    path: PathBuf,
    /// How often something was sent after an answer.
    round_trips: Arc<AtomicUsize>,
    connections: Arc<Mutex<Vec<UnixStream>>>,
}

impl Line {
    fn to(daemon: &Path) -> Line {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("there.comm");
        let listener = UnixListener::bind(&path).unwrap();
        let daemon = daemon.to_owned();
        let (round_trips, connections) = <(Arc<AtomicUsize>, Arc<Mutex<Vec<_>>>)>::default();
        // It ends with the process.
        thread::spawn({
            let (round_trips, connections) = (round_trips.clone(), connections.clone());
            move || {
                for here in listener.incoming() {
                    let (here, there) = (here?, UnixStream::connect(&daemon)?);
                    connections.lock().unwrap().push(here.try_clone()?);
                    let answered = Arc::new(AtomicBool::new(true));
                    let ways = [
                        (here.try_clone()?, there.try_clone()?),
                        (there.try_clone()?, here.try_clone()?),
                    ];
                    for (way, (from, to)) in ways.into_iter().enumerate() {
                        let (answered, round_trips) = (answered.clone(), round_trips.clone());
                        thread::spawn(move || {
                            pass_on(from, to, || {
                                if way == 1 {
                                    answered.store(true, Ordering::SeqCst);
                                } else if answered.swap(false, Ordering::SeqCst) {
                                    round_trips.fetch_add(1, Ordering::SeqCst);
                                }
                            })
                        });
                    }
                }
                io::Result::Ok(())
            }
        });
        Line {
            _dir: dir,
            path,
            round_trips,
            connections,
        }
    }

    /// How many round trips there were meanwhile.
    fn count<T>(&self, work: impl FnOnce() -> T) -> (usize, T) {
        let before = self.round_trips.load(Ordering::SeqCst);
        let done = work();
        (self.round_trips.load(Ordering::SeqCst) - before, done)
    }

    fn end(&self) {
        for connection in self.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

/// Until one of them ends, and with it the other.
fn pass_on(mut from: UnixStream, mut to: UnixStream, seen: impl Fn()) {
    let mut bytes = [0; 4096];
    while let Ok(len @ 1..) = from.read(&mut bytes) {
        seen();
        if to.write_all(&bytes[..len]).is_err() {
            break;
        }
    }
    for socket in [from, to] {
        let _ = socket.shutdown(Shutdown::Both);
    }
}

/// What the cookbook says of a reader at another computer.
#[test]
fn over_a_forwarded_socket_a_command_is_one_round_trip() {
    isolated(|| {
        for minor in 4..=6 {
            let service = daemon_of(4, minor);
            let line = Line::to(service.socket_path());
            let context = context_at(&line.path);
            assert_eq!(context.readers().unwrap(), [NAME]);
            let (trips, card) = line.count(|| context.connect(NAME, ConnectOptions::new()));
            let mut card = card.unwrap();
            assert_eq!(trips, 2, "4:{minor}");
            for timeout in [None, Some(SOON)] {
                card.set_timeout(timeout);
                let (trips, answer) = line.count(|| card.transmit(COMMAND));
                assert_eq!((trips, answer.unwrap()), (1, [COMMAND, OK].concat()));
                let (trips, ended) = line.count(|| {
                    let mut transaction = card.transaction().unwrap();
                    transaction.transmit(COMMAND).unwrap();
                    transaction.end(Disposition::Leave)
                });
                ended.unwrap();
                assert_eq!(trips, 3, "{timeout:?}");
            }
            let mut events = context.monitor(MonitorOptions::new()).unwrap();
            while events.next().unwrap().name() != "card-inserted" {}
            service.set_readers([Reader::empty(NAME)]);
            while events.next().unwrap().name() != "card-removed" {}

            line.end();
            let error = card.transmit(COMMAND).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ServiceGone);
            while events.next().unwrap().name() != "service-lost" {}
            // It can be dialled again.
            service.set_readers([Reader::new(NAME)]);
            let mut card = context.connect(NAME, ConnectOptions::new()).unwrap();
            assert_eq!(card.transmit(COMMAND).unwrap(), [COMMAND, OK].concat());
        }
    });
}

/// The requests since the log was cleared, except for those at the start of every connection.
fn asked(service: &Service) -> Vec<Message> {
    let log = service.log().into_iter().map(|request| request.message);
    log.filter(|it| !matches!(it, Message::Version | Message::Establish))
        .collect()
}

/// A given-up call, and the effect of its late answer. An abort may come late: then there is no
/// other limit.
fn given_up(
    stalled: Message,
    call: impl Fn(&Context, &AbortHandle, Option<Duration>) -> scard::Result<()>,
) -> Vec<Message> {
    let mut seen = Vec::new();
    for aborts in [false, true] {
        let service = Service::start().unwrap();
        let context = context_at(service.socket_path());
        let gate = Gate::new();
        service.script({
            let gate = gate.clone();
            move |request| match request.message {
                it if it == stalled && request.number == 0 => {
                    Answer::normal().stall_after(3, &gate)
                }
                // Held by others, which is found out before the command is repeated.
                Message::Transmit if stalled == Message::Status => Answer::code(SHARING_VIOLATION),
                _ => Answer::normal(),
            }
        });
        let abort = AbortHandle::new();
        // Long enough to get to the gate.
        let timeout = (!aborts).then_some(Duration::from_secs(2));
        let error = std::thread::scope(|scope| {
            let aborter = scope.spawn(|| {
                gate.wait_for(1, SOON).unwrap();
                if aborts {
                    abort.abort();
                }
            });
            let error = call(&context, &abort, timeout).unwrap_err();
            aborter.join().unwrap();
            error
        });
        let expected = match aborts {
            true => ErrorKind::Cancelled,
            false => ErrorKind::DeadlineExceeded,
        };
        assert_eq!(error.kind(), expected);
        service.clear_log();
        gate.open();
        service.wait_for(Message::Release, 1, SOON).unwrap();
        wait_until("the clean-up is over", || workers() == 0);
        seen = asked(&service);
    }
    seen
}

/// A card whose next calls are given up.
fn card_to_give_up(
    context: &Context,
    abort: &AbortHandle,
    timeout: Option<Duration>,
) -> scard::Result<Card> {
    let mut card = context.connect(NAME, ConnectOptions::new().abort_handle(abort))?;
    card.set_timeout(timeout);
    Ok(card)
}

/// In a separate process, whose threads are counted.
#[test]
fn what_was_given_up_has_no_effect_when_it_comes_late() {
    isolated(|| {
        // It would reset the card at the end of the connection.
        let begun = given_up(Message::Begin, |context, abort, timeout| {
            let mut card = card_to_give_up(context, abort, timeout)?;
            card.transaction().map(drop)
        });
        assert_eq!(begun, [Message::End, Message::Release]);
        let connected = given_up(Message::Connect, |context, abort, timeout| {
            let exclusive = ConnectOptions::new().share_mode(ShareMode::Exclusive);
            let exclusive = exclusive.abort_handle(abort).timeout(timeout);
            context.connect(NAME, exclusive).map(drop)
        });
        let left = [Message::Reconnect, Message::End, Message::Release];
        assert_eq!(connected, left);
        let reconnected = given_up(Message::Reconnect, |context, abort, timeout| {
            let mut card = card_to_give_up(context, abort, timeout)?;
            let (exclusive, leave) = (ShareMode::Exclusive, Initialization::Leave);
            card.reconnect(exclusive, Protocols::ANY, leave).map(drop)
        });
        assert_eq!(reconnected, left);
        let sent = given_up(Message::Transmit, |context, abort, timeout| {
            let mut card = card_to_give_up(context, abort, timeout)?;
            let sent = card.transmit(COMMAND).map(drop);
            assert!(sent.as_ref().is_err_and(|it| it.command_may_have_run()));
            assert!(card.is_abandoned());
            sent
        });
        assert_eq!(sent, [Message::Release]);
        let waited = given_up(Message::Status, |context, abort, timeout| {
            let mut card = card_to_give_up(context, abort, timeout)?;
            let waited = card.transmit(COMMAND).map(drop);
            assert!(waited.as_ref().is_err_and(|it| !it.command_may_have_run()));
            waited
        });
        assert_eq!(waited, [Message::Release]);
    });
}

/// While others hold the card, the daemon refuses a command at once: nothing is sent to the card.
#[test]
fn a_command_that_waits_for_others_ends_in_time_and_was_not_sent() {
    isolated(|| {
        let fixture = fixture();
        let mut other = fixture.connect();
        let transaction = other.transaction().unwrap();
        let context = ContextOptions::new().socket().establish().unwrap();
        let options = ConnectOptions::new();
        let connected = in_background({
            let (context, reader) = (context.clone(), fixture.reader.clone());
            move || context.connect(&reader, options)
        });
        // The daemon makes it wait to connect.
        drop(transaction);
        let mut card = finish(&connected).unwrap();
        let transaction = other.transaction().unwrap();
        let limit = Duration::from_millis(500);
        card.set_timeout(Some(limit));
        let begun = Instant::now();
        let error = card.transmit(COMMAND).unwrap_err();
        let took = begun.elapsed();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        assert!(!error.command_may_have_run());
        assert!(took >= limit && took < limit + SOON / 4, "{took:?}");
        drop(transaction);
        assert_works(&mut other);
        assert_eq!(fixture.card.commands(), 1);
    });
}

/// Also after a call that waited for others, and then succeeded.
#[test]
fn a_command_that_was_sent_may_have_run() {
    let service = Service::start().unwrap();
    let context = context_at(service.socket_path());
    for waits in [Message::Status, Message::Reconnect, Message::Begin] {
        let mut card = context.connect(NAME, ConnectOptions::new()).unwrap();
        let (first, gate) = (service.count(waits), Gate::new());
        service.script({
            let gate = gate.clone();
            move |request| match request.message {
                it if it == waits && request.number == first => Answer::code(SHARING_VIOLATION),
                Message::Transmit => Answer::normal().stall(&gate),
                _ => Answer::normal(),
            }
        });
        let waited = match waits {
            Message::Status => card.status().map(drop),
            Message::Reconnect => reconnect(&mut card, Initialization::Leave).map(drop),
            _ => card.transaction().map(drop),
        };
        waited.unwrap();
        assert!(service.count(waits) > first + 1, "{waits:?}");
        card.set_timeout(Some(Duration::from_millis(100)));
        let error = card.transmit(COMMAND).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        assert!(error.command_may_have_run(), "{waits:?}");
        gate.open();
    }
}

/// The daemon would reset it for the lock.
#[test]
fn a_reset_that_was_given_up_before_it_began_leaves_the_card() {
    let service = Service::start().unwrap();
    let context = context_at(service.socket_path());
    let gate = stop(&service, |request| request.message == Message::Reconnect);
    let mut direct = context.open_reader(NAME).unwrap();
    direct.set_timeout(Some(Duration::from_millis(100)));
    let moved = direct.into_card(ShareMode::Shared, Protocols::ANY, Initialization::Reset);
    let (direct, error) = moved.unwrap_err().into_parts();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    drop(direct);
    gate.open();
    service.wait_for(Message::Release, 1, SOON).unwrap();
    let log = service.log().into_iter();
    let ends = log.filter(|it| it.message == Message::End);
    let ends: Vec<_> = ends.map(|end| end.word(1)).collect();
    assert_eq!(ends, [0], "it is left");
}

/// The first of the two calls may have taken the lock and acknowledged a reset.
#[test]
fn a_move_to_the_card_that_fails_when_it_is_repeated_is_undone() {
    const NO_SMARTCARD: u32 = 0x8010_000C;
    let service = Service::start().unwrap();
    let context = context_at(service.socket_path());
    let script = || {
        let first = service.count(Message::Reconnect);
        service.script(move |request| match request.message {
            Message::Reconnect if request.number == first => Answer::normal().protocol(0),
            Message::Reconnect if request.number == first + 1 => Answer::code(NO_SMARTCARD),
            _ => Answer::normal(),
        });
    };
    let leave = Initialization::Leave;
    let direct = context.open_reader(NAME).unwrap();
    script();
    let moved = direct.into_card(ShareMode::Exclusive, Protocols::ANY, leave);
    let (direct, error) = moved.unwrap_err().into_parts();
    assert_eq!(error.code(), ReturnCode::E_NO_SMARTCARD);
    assert_ne!(service.count(Message::End), 0, "the lock is released");
    drop(direct);

    let mut card = context.connect(NAME, ConnectOptions::new()).unwrap();
    script();
    let failed = card.reconnect(ShareMode::Shared, Protocols::ANY, leave);
    assert_eq!(failed.unwrap_err().code(), ReturnCode::E_NO_SMARTCARD);
    let unacknowledged = ReturnCode::W_RESET_CARD;
    assert_fails(card.transmit(COMMAND), Operation::Transmit, unacknowledged);
    reconnect(&mut card, leave).unwrap();
    assert_eq!(card.transmit(COMMAND).unwrap(), [COMMAND, OK].concat());
}
