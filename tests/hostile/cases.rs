//! Single faults of a service.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use scard::{
    Attribute, Card, ConnectOptions, Context, ContextOptions, Control, ControlCode, Disposition,
    ErrorKind, ReaderName, Session,
};
use scard_testkit::fake::{Answer, Gate, Message, Reader, Request, Service};
use scard_testkit::isolated;

use crate::moods::{may_be_shown, name};
use crate::support::{SOON, finish, in_background, wait_until};
use crate::world::FORGED;

/// A command whose answer claims an impossible length.
const LONG: &[u8] = &[0xBA, 0, 0, 0];
const PLAIN: &[u8] = &[0, 0x20, 0, 1];

type Call = fn(&mut Card) -> scard::Result<Vec<u8>>;

/// How long the end of a connection hangs.
const HANGS: Duration = Duration::from_secs(8);

/// The commands that have arrived, with the connections they came over.
fn commands(service: &Service) -> Vec<(usize, Vec<u8>)> {
    let log = service.log().into_iter();
    let commands = log.filter(|it| matches!(it.message, Message::Transmit | Message::Control));
    commands.map(|it| (it.connection, it.data)).collect()
}

/// The client library leaves the rest of the answer unread, which would be mistaken for the next
/// one.
#[test]
fn a_connection_is_no_longer_used_after_an_answer_that_is_too_long() {
    isolated(|| {
        let service = Service::start().unwrap();
        service.script(|request: &Request| match request.data.starts_with(LONG) {
            true => {
                let mut next = vec![0; 32];
                next[24] = FORGED.len() as u8;
                Answer::data([]).length(65_549).then(next).then(FORGED)
            }
            false => Answer::normal(),
        });
        let context = Context::establish().unwrap();
        let reader = context.readers().unwrap().remove(0);
        let calls: [(&str, Call); 4] = [
            ("transmit", |card| card.transmit(LONG)),
            ("control", |card| {
                card.control(ControlCode::from_function(1), LONG)
            }),
            ("within", |card| {
                card.within(Duration::from_secs(5), |card| card.transmit(LONG))
            }),
            ("in a transaction", |card| {
                card.transaction()?.transmit(LONG)
            }),
        ];
        for (name, call) in calls {
            let mut card = context.connect(&reader, ConnectOptions::new()).unwrap();
            call(&mut card).expect_err(name);
            let next = card.transmit(PLAIN);
            assert!(next.is_err(), "{name}, and then {next:02X?}");
            let last = commands(&service).pop().unwrap();
            assert_eq!(last.1, LONG, "{name}");
        }

        let mut session = Session::builder(&context).open().unwrap();
        let long = session.run(|card| card.transmit(LONG));
        assert!(long.is_err(), "{long:02X?}");
        let next = session.run(|card| card.transmit(PLAIN)).unwrap();
        assert_eq!(next, [PLAIN, &[0x90, 0x00]].concat());
        let [.., long, plain] = &commands(&service)[..] else {
            panic!("two commands");
        };
        assert_ne!(long.0, plain.0);
    });
}

/// Whether this ends a connection that has a card.
fn is_end(request: &Request, with_card: &mut Vec<usize>) -> bool {
    match request.message {
        Message::Connect => with_card.push(request.connection),
        Message::Disconnect => return true,
        Message::Release => return with_card.contains(&request.connection),
        _ => {}
    }
    false
}

#[test]
fn the_end_of_a_connection_that_hangs_delays_nothing_else() {
    isolated(|| {
        let service = Service::start().unwrap();
        // Open, and only used to count.
        let gate = Gate::new();
        gate.open();
        let mut with_card = Vec::new();
        service.script({
            let gate = gate.clone();
            move |request: &Request| match request.message {
                // SCARD_E_READER_UNAVAILABLE: the session connects again.
                Message::Transmit => Answer::code(0x8010_0017),
                _ if is_end(request, &mut with_card) => Answer::normal().stall(&gate).delay(HANGS),
                _ => Answer::normal(),
            }
        });
        let context = Context::establish().unwrap();
        let limit = Duration::from_secs(1);
        let session = Session::builder(&context).timeout(Some(limit));
        let mut session = session.open().unwrap();
        let begun = Instant::now();
        let run = session.run(|card| card.transmit(PLAIN));
        let ran = begun.elapsed();
        assert!(run.is_err());

        let options = ContextOptions::new().timeout(Some(Duration::from_secs(2)));
        let another = options.establish().map(drop).map_err(|e| e.code());
        let begun = Instant::now();
        drop((session, context));
        let dropped = begun.elapsed();
        gate.wait_for(1, SOON).expect("an end that hangs");
        assert_eq!(another, Ok(()));
        // Much less than the end takes; other tests keep every core busy.
        assert!(
            ran < limit + HANGS / 4 && dropped < HANGS / 4,
            "the run took {ran:?}, the drop {dropped:?}"
        );
    });
}

/// The client library of pcsc-lite before 2.0.1 has one list for all threads.
#[test]
fn lists_of_readers_are_consistent_while_readers_are_attached_and_detached() {
    isolated(|| {
        let all = || (0..16).map(|number| Reader::new(name(number)));
        let begun = Instant::now();
        let _service = Service::start_with(all(), move |request| match request.message {
            Message::ReaderStates | Message::StatesArray => {
                let few = begun.elapsed().as_micros() / 100 % 2 == 0;
                Answer::readers(all().take(if few { 1 } else { 16 }))
            }
            _ => Answer::normal(),
        })
        .unwrap();
        let end = begun + Duration::from_secs(5);
        let list = || {
            let context = Context::establish().unwrap();
            let mut seen = BTreeMap::<String, usize>::new();
            while Instant::now() < end {
                let answer = match context.readers() {
                    Ok(names) => {
                        let whole = |name: &ReaderName| may_be_shown(name.as_bytes());
                        let whole = names.iter().all(whole);
                        format!("{} names, whole: {whole}", names.len())
                    }
                    Err(error) => error.to_string(),
                };
                *seen.entry(answer).or_default() += 1;
            }
            seen
        };
        let seen = thread::scope(|scope| {
            let threads = [(); 3].map(|()| scope.spawn(list));
            threads.map(|thread| thread.join().unwrap())
        });
        let answers = seen.iter().flat_map(|seen| seen.keys());
        for answer in answers {
            let right = ["1 names, whole: true", "16 names, whole: true"];
            assert!(right.contains(&answer.as_str()), "{seen:#?}");
        }
    });
}

/// The handle that the service returns for every card; a connection that has ended must not use it.
const NUMBER: u32 = 7;

/// A service that returns one handle for all cards, and hangs up when the first card ends.
fn one_number() -> Service {
    let service = Service::start().unwrap();
    let mut first = None;
    service.script(move |request: &Request| match request.message {
        Message::Connect => {
            first.get_or_insert(request.connection);
            Answer::normal().handle(NUMBER)
        }
        Message::Release | Message::Disconnect if first == Some(request.connection) => {
            Answer::hang_up()
        }
        Message::Transmit if request.data.starts_with(&[0xBA]) => Answer::data([]).length(65_549),
        _ => Answer::normal(),
    });
    service
}

#[test]
fn a_card_whose_disconnect_failed_does_not_reach_another_card() {
    isolated(|| {
        let service = one_number();
        let context = Context::establish().unwrap();
        let reader = context.readers().unwrap().remove(0);
        let mut card = context.connect(&reader, ConnectOptions::new()).unwrap();
        card.transmit(&[0, 0x20, 0, 0]).unwrap();
        let failed = card.disconnect(Disposition::Leave).unwrap_err();
        let mut card = failed.into_handle();
        let other = context.connect(&reader, ConnectOptions::new()).unwrap();
        service.clear_log();
        let error = card.transmit(&[0, 0x20, 0, 1]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Abandoned);
        card.set_timeout(Some(SOON));
        let error = card.status().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Abandoned);
        drop(card);
        assert_eq!(service.log().len(), 0);
        drop(other);
    });
}

#[test]
fn a_card_whose_answer_was_too_long_does_not_reach_another_card() {
    isolated(|| {
        let service = one_number();
        let context = Context::establish().unwrap();
        let reader = context.readers().unwrap().remove(0);
        for timeout in [None, Some(SOON)] {
            let options = ConnectOptions::new()
                .disposition_on_drop(Disposition::Reset)
                .timeout(timeout);
            let mut card = context.connect(&reader, options).unwrap();
            card.transmit(&[0xBA, 0, 0, 0]).unwrap_err();
            assert!(card.is_abandoned());
            let other = context.connect(&reader, ConnectOptions::new()).unwrap();
            service.clear_log();
            drop(card);
            assert_eq!(service.log().len(), 0, "{timeout:?}");
            drop(other);
        }
    });
}

/// Calls that were given up before they began are not made.
#[test]
fn controls_and_attributes_that_are_given_up_are_not_sent() {
    isolated(|| {
        let service = Service::start().unwrap();
        let context = Context::establish().unwrap();
        let reader = context.readers().unwrap().remove(0);
        let mut sent = [0, 0];
        for number in 0..100 {
            let mut card = context.connect(&reader, ConnectOptions::new()).unwrap();
            card.set_timeout(Some(Duration::from_nanos(1)));
            let answer = match number % 2 {
                0 => card.control(ControlCode::from_function(1), b"x").map(drop),
                _ => card.set_attribute(Attribute::VENDOR_NAME, b"x"),
            };
            // The answer can arrive before the caller notices that the time is over.
            sent[number % 2] += match answer {
                Ok(()) => 1,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
                    usize::from(error.command_may_have_run())
                }
            };
        }
        // Once the connections have ended, no call is pending. That of the context stays, and one
        // may be kept.
        wait_until("the cards are gone", || service.open_connections() <= 2);
        assert_eq!(service.count(Message::Control), sent[0]);
        assert!(service.count(Message::SetAttribute) < 50);
    });
}

/// A fork does not make other calls wait for the slow end of a connection.
#[test]
fn a_fork_during_a_slow_release_delays_no_card() {
    isolated(|| {
        let service = Service::start().unwrap();
        let gate = Gate::new();
        let (mut slow, at_gate) = (None, gate.clone());
        service.script(move |request: &Request| match request.message {
            Message::Connect => {
                slow.get_or_insert(request.connection);
                Answer::normal()
            }
            Message::Release | Message::Disconnect if slow == Some(request.connection) => {
                Answer::normal().stall(&at_gate)
            }
            _ => Answer::normal(),
        });
        let context = Context::establish().unwrap();
        let reader = context.readers().unwrap().remove(0);
        let slow = context.connect(&reader, ConnectOptions::new()).unwrap();
        let mut other = context.connect(&reader, ConnectOptions::new()).unwrap();
        let dropped = in_background(move || drop(slow));
        gate.wait_for(1, SOON).unwrap();
        let begun = Instant::now();
        // SAFETY: the child ends at once.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: ends this process.
            unsafe { libc::_exit(0) }
        }
        other.transmit(&[0, 0x84, 0, 0]).unwrap();
        assert!(
            begun.elapsed() < Duration::from_millis(900),
            "{:?}",
            begun.elapsed()
        );
        // SAFETY: our own child.
        unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
        gate.open();
        finish(&dropped);
    });
}

/// pcsc-lite reports a length of 34 for an ATR that it has not read yet.
#[test]
fn a_card_that_has_not_been_read_yet_has_no_atr() {
    isolated(|| {
        let service = Service::start().unwrap();
        let mut reader = Reader::new("Fake Reader 00 00");
        reader.atr_length = 34;
        service.set_readers([reader]);
        let context = Context::establish().unwrap();
        let states = context.reader_states().unwrap();
        assert_eq!(states[0].atr().as_bytes(), b"");
        let mut card = context
            .connect(states[0].reader_name(), ConnectOptions::new())
            .unwrap();
        assert_eq!(card.status().unwrap().atr().as_bytes(), b"");
    });
}
