//! Windows without the service, which it starts with the first reader and stops some time after the
//! last one is unplugged.

use std::thread;
use std::time::Duration;

use scard::{
    CardFilter, Context, Error, ErrorKind, Event, Monitor, MonitorOptions, Recovery, ReturnCode,
    Session,
};
use scard_on_windows as scard;
use scard_testkit::isolated;

use crate::world::{
    NO_READERS_AVAILABLE, NO_SERVICE, SERVICE_STOPPED, other_program_begins, plug, start_service,
    unplug, unplug_readers, wait_until, world,
};

const LIMIT: Option<Duration> = Some(Duration::from_secs(20));

/// The codes with which Windows reports that there is no service because there is no reader.
const GONE: [(u32, u32); 4] = [
    (NO_SERVICE, NO_SERVICE),
    (SERVICE_STOPPED, SERVICE_STOPPED),
    (SERVICE_STOPPED, NO_SERVICE),
    // While the service starts or stops: the code of the remote procedure call.
    (1722, NO_SERVICE),
];

fn without_service((stopped, no_service): (u32, u32)) {
    let mut world = world();
    world.stopped = stopped;
    world.no_service = no_service;
}

#[test]
fn without_readers_the_list_of_readers_is_empty() {
    isolated(|| {
        plug(&["R"]);
        let context = Context::establish().unwrap();
        for codes in GONE {
            unplug();
            without_service(codes);
            for context in [&context, &Context::lazy()] {
                assert_eq!(context.readers().unwrap(), [""; 0], "{codes:X?}");
                assert_eq!(context.readers_in("SCard$DefaultReaders").unwrap(), [""; 0]);
                assert_eq!(context.reader_groups().unwrap(), [""; 0], "{codes:X?}");
                assert!(context.reader_states().unwrap().is_empty(), "{codes:X?}");
            }
            plug(&["R"]);
            assert_eq!(context.readers().unwrap(), ["R"], "{codes:X?}");
            assert_eq!(context.reader_states().unwrap().len(), 1);
        }
    });
}

/// The advice is not to start a service.
#[test]
fn without_a_service_the_advice_is_to_plug_in_a_reader() {
    isolated(|| {
        for code in [NO_SERVICE, SERVICE_STOPPED] {
            world().no_service = code;
            let error = Context::establish().unwrap_err();
            assert_eq!(error.code(), ReturnCode::from_raw(code));
            assert_eq!(error.kind(), ErrorKind::ReaderGone);
            assert_eq!(error.recovery(), Recovery::AttachReader);
            let text = error.to_string();
            assert!(text.contains("no reader"), "{text}");
            let advice = error.advice();
            assert!(advice.contains("reader"), "{advice}");
            let error = Context::lazy().connect("R", scard::ConnectOptions::new());
            assert_eq!(error.unwrap_err().recovery(), Recovery::AttachReader);
        }
    });
}

/// A program that starts before the first reader is plugged in waits for it, using Windows' event.
#[test]
fn the_first_reader_is_waited_for() {
    isolated(|| {
        for codes in GONE {
            without_service(codes);
            let context = Context::lazy();
            let waiting = thread::spawn(move || context.wait_for_card(&CardFilter::new(), LIMIT));
            wait_until(|world| world.started_events > 0);
            plug(&["R"]);
            let found = waiting.join().unwrap().unwrap();
            assert_eq!(found.reader_name(), "R");
            unplug();
        }
    });
}

#[test]
fn a_wait_that_times_out_without_readers_advises_to_attach_one() {
    isolated(|| {
        let limit = Some(Duration::from_millis(200));
        let error = Context::lazy()
            .wait_for_card(&CardFilter::new(), limit)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        assert_eq!(error.recovery(), Recovery::AttachReader);
    });
}

/// Checks that a monitor makes few calls in a second without events.
fn is_calm(monitor: &mut Monitor) {
    let before = world().calls;
    assert!(monitor.next_timeout(Duration::from_secs(1)).is_none());
    let calls = world().calls - before;
    assert!(calls <= 40, "{calls} calls");
}

/// A monitor does not poll while there is no service.
#[test]
fn a_monitor_waits_calmly_for_readers() {
    isolated(|| {
        plug(&["R"]);
        let context = Context::establish().unwrap();
        let mut monitor = context.monitor(MonitorOptions::new()).unwrap();
        let next = |monitor: &mut Monitor| monitor.next_timeout(LIMIT.unwrap());
        for codes in GONE {
            assert!(matches!(
                next(&mut monitor),
                Some(Event::ReaderAttached { .. })
            ));
            assert!(matches!(
                next(&mut monitor),
                Some(Event::CardInserted { .. })
            ));
            without_service(codes);
            unplug();
            // The list of readers may be queried first, and be empty, before the wait fails.
            let gone = [(); 3].map(|()| next(&mut monitor).expect("an event"));
            let mut gone = gone.each_ref().map(Event::name);
            gone.sort_unstable();
            assert_eq!(gone, ["card-removed", "reader-detached", "service-lost"]);
            wait_until(|world| world.started_events > 0);
            is_calm(&mut monitor);
            plug(&["R"]);
            assert!(matches!(next(&mut monitor), Some(Event::ServiceRestored)));
        }
    });
}

/// The code that a wait and a connect return while the service runs without readers, as it does for
/// some time after the last one is unplugged. `None`: the wait waits, and the reader is unknown.
const NO_READERS: [Option<u32>; 2] = [None, Some(NO_READERS_AVAILABLE)];

#[test]
fn a_service_without_readers_has_empty_lists() {
    isolated(|| {
        start_service();
        let context = Context::establish().unwrap();
        for code in NO_READERS {
            world().without_readers = code;
            assert_eq!(context.readers().unwrap(), [""; 0]);
            assert_eq!(context.readers_in("SCard$DefaultReaders").unwrap(), [""; 0]);
            assert_eq!(context.reader_groups().unwrap(), [""; 0]);
            assert!(context.reader_states().unwrap().is_empty());
            let error = context.connect("R", scard::ConnectOptions::new());
            let error = error.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ReaderGone, "{error}");
            assert_eq!(error.recovery(), Recovery::AttachReader, "{error}");
        }
    });
}

/// Both at the start of a monitor and later.
#[test]
fn a_monitor_waits_calmly_while_the_service_has_no_readers() {
    isolated(|| {
        start_service();
        let context = Context::establish().unwrap();
        for code in NO_READERS {
            world().without_readers = code;
            let mut monitor = context.monitor(MonitorOptions::new()).unwrap();
            let next = |monitor: &mut Monitor| monitor.next_timeout(LIMIT.unwrap());
            for _ in 0..2 {
                is_calm(&mut monitor);
                plug(&["R"]);
                let attached = next(&mut monitor);
                assert!(
                    matches!(attached, Some(Event::ReaderAttached { .. })),
                    "{attached:?}"
                );
                assert!(matches!(
                    next(&mut monitor),
                    Some(Event::CardInserted { .. })
                ));
                unplug_readers();
                assert!(matches!(
                    next(&mut monitor),
                    Some(Event::CardRemoved { .. })
                ));
                assert!(matches!(
                    next(&mut monitor),
                    Some(Event::ReaderDetached { .. })
                ));
            }
        }
    });
}

#[test]
fn waits_and_sessions_go_on_when_a_service_without_readers_gets_one() {
    isolated(|| {
        start_service();
        let context = Context::establish().unwrap();
        for code in NO_READERS {
            world().without_readers = code;
            let limit = Some(Duration::from_millis(200));
            let error = context
                .wait_for_card(&CardFilter::new(), limit)
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
            assert_eq!(error.recovery(), Recovery::AttachReader, "{error}");

            let waits = world().waits;
            let waiting = context.clone();
            let waiting = thread::spawn(move || waiting.wait_for_card(&CardFilter::new(), LIMIT));
            wait_until(|world| world.waits > waits + 1);
            plug(&["R"]);
            assert_eq!(waiting.join().unwrap().unwrap().reader_name(), "R");

            let mut session = Session::builder(&context).timeout(LIMIT).open().unwrap();
            let send = |card: &mut scard::SessionCard<'_>| card.transmit(&[0, 0, 0, 0]);
            assert_eq!(session.run(send).unwrap(), [0x90, 0x00]);
            unplug_readers();
            let commands = world().commands;
            let waits = world().waits;
            let waiting = thread::spawn(move || session.run(send));
            wait_until(|world| world.waits > waits + 1);
            assert_eq!(world().commands, commands);
            plug(&["R"]);
            assert_eq!(waiting.join().unwrap().unwrap(), [0x90, 0x00]);
            unplug_readers();
        }
    });
}

/// Whatever a session is doing when the last reader is unplugged, it continues with the next one.
#[test]
fn a_session_survives_the_end_of_the_service() {
    isolated(|| {
        for codes in GONE {
            without_service(codes);
            plug(&["R"]);
            let context = Context::establish().unwrap();
            let mut session = Session::builder(&context).timeout(LIMIT).open().unwrap();
            let send = |card: &mut scard::SessionCard<'_>| card.transmit(&[0, 0, 0, 0]);
            assert_eq!(session.run(send).unwrap(), [0x90, 0x00]);
            // While it waits for another program: the call ends with SCARD_E_SYSTEM_CANCELLED.
            other_program_begins();
            let waiting = thread::spawn(move || session.run(send).map(|answer| (answer, session)));
            wait_until(|world| world.blocked > 0);
            unplug();
            wait_until(|world| world.blocked == 0 && world.started_events > 0);
            plug(&["R"]);
            let (answer, mut session) = waiting.join().unwrap().unwrap();
            assert_eq!(answer, [0x90, 0x00]);
            // Between two pieces of work.
            unplug();
            plug(&["R"]);
            assert_eq!(session.run(send).unwrap(), [0x90, 0x00]);
            unplug();
        }
    });
}

#[test]
fn the_end_of_the_service_is_not_reported_as_a_cancellation() {
    isolated(|| {
        plug(&["R"]);
        let context = Context::establish().unwrap();
        let mut card = context.connect("R", scard::ConnectOptions::new()).unwrap();
        other_program_begins();
        let waiting = thread::spawn(move || card.transmit(&[0, 0, 0, 0]));
        wait_until(|world| world.blocked > 0);
        unplug();
        let error: Error = waiting.join().unwrap().unwrap_err();
        assert_eq!(error.code(), ReturnCode::E_SYSTEM_CANCELLED);
        assert_eq!(error.kind(), ErrorKind::ServiceGone);
        assert_eq!(error.recovery(), Recovery::ConnectAgain);
    });
}
