//! Querying readers from many threads while readers and cards come and go, and after the service
//! has lost readers.
#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use scard::{
    CardFilter, ConnectOptions, Context, ErrorKind, Event, Monitor, MonitorOptions, ReaderFlags,
    ReaderName, Recovery, Session,
};
use scard_testkit::{Driver, ReaderModel, Sandbox, VirtualReader, isolated};

use crate::support::*;

fn name(reader: &VirtualReader) -> ReaderName {
    ReaderName::new(reader.name()).unwrap()
}

/// How long readers come and go: `SCARD_LOOK_SECONDS` makes it longer.
fn length() -> Duration {
    let text = std::env::var("SCARD_LOOK_SECONDS").ok();
    Duration::from_secs(text.and_then(|text| text.parse().ok()).unwrap_or(4))
}

/// Repeats something on a separate thread, until the end.
fn repeat<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    done: &'scope AtomicBool,
    mut what: impl FnMut() + Send + 'scope,
) {
    scope.spawn(move || {
        while !done.load(Ordering::Relaxed) {
            what();
        }
    });
}

/// Stops the repetitions, also on a panic.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Before pcsc-lite 2.0.1, a list of readers is torn, and written past its buffer, if another
/// thread makes it longer meanwhile.
#[test]
fn readers_are_listed_while_one_comes_and_goes() {
    /// Long, so that the length of the list differs greatly with and without the eight slots.
    const NAME: &str =
        "Long Reader Name [Contactless Interface With a Longer Name] (0123456789ABCDEF)";
    isolated(|| {
        let builder = Sandbox::builder().driver(Driver::Kit).readers(1);
        let sandbox = builder
            .hot_plug(NAME)
            .card(0, plain_card())
            .start()
            .unwrap();
        let stays = name(sandbox.reader(0));
        let plug = || sandbox.plug(ReaderModel::new(NAME).slots(8)).unwrap();
        let reader = plug();
        let slots = reader.slots().iter().map(name);
        let known: BTreeSet<ReaderName> = slots.chain([stays.clone()]).collect();
        reader.unplug().unwrap();

        let context = Context::establish().unwrap();
        let mut monitor = context.monitor(MonitorOptions::new()).unwrap();
        let mut card = context.connect(&stays, ConnectOptions::new()).unwrap();
        let done = AtomicBool::new(false);
        let check = |names: BTreeSet<ReaderName>| {
            assert!(
                names.contains(&stays) && names.is_subset(&known),
                "{names:?}"
            );
        };
        thread::scope(|scope| {
            let _stop = Stop(&done);
            for _ in 0..4 {
                let context = Context::establish().unwrap();
                repeat(scope, &done, move || {
                    let readers = context.readers().unwrap();
                    let names: BTreeSet<_> = readers.iter().cloned().collect();
                    assert_eq!(names.len(), readers.len(), "one is there twice");
                    check(names);
                });
            }
            repeat(scope, &done, || {
                let states = context.reader_states().unwrap();
                let unknown = states
                    .iter()
                    .find(|it| it.flags().contains(ReaderFlags::UNKNOWN));
                assert_eq!(unknown, None);
                check(states.iter().map(|it| it.reader_name().clone()).collect());
                let full = states
                    .iter()
                    .filter(|it| it.has_card())
                    .map(|it| it.reader_name());
                assert_eq!(full.collect::<Vec<_>>(), [&stays]);
            });
            repeat(scope, &done, || {
                let status = card.status().unwrap();
                assert_eq!(status.reader_names(), std::slice::from_ref(&stays));
                assert_eq!(status.atr(), scard_testkit::atr::T1[..]);
                assert_eq!(status.protocol(), Some(scard::Protocol::T1));
            });
            let end = Instant::now() + length();
            while Instant::now() < end {
                plug().unplug().unwrap();
                while let Some(event) = monitor.next_timeout(Duration::ZERO) {
                    let reader = event.reader_name();
                    assert!(reader.is_some_and(|it| known.contains(it)), "{event:?}");
                    let detached = matches!(event, Event::ReaderDetached { .. });
                    assert!(!detached || reader != Some(&stays), "{event:?}");
                }
            }
        });
    });
}

/// pcsc-lite 2.5 reads an event as an answer if a card comes or goes at the wrong moment.
#[test]
fn readers_stay_while_their_cards_come_and_go() {
    const READERS: usize = 12;
    const PAUSE: Duration = Duration::from_millis(100);
    isolated(|| {
        let builder = Sandbox::builder().driver(Driver::Kit).readers(READERS);
        let sandbox = builder.card(0, plain_card()).start().unwrap();
        let stays = name(sandbox.reader(0));
        let context = Context::establish().unwrap();
        let wanted = CardFilter::new().reader(&stays);
        let mut monitors = [(); 2].map(|()| context.monitor(MonitorOptions::new()).unwrap());
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let _stop = Stop(&done);
            for (at, slot) in sandbox.readers().iter().enumerate().skip(1) {
                let mut begin = Some(PAUSE * at as u32 / READERS as u32);
                repeat(scope, &done, move || {
                    thread::sleep(begin.take().unwrap_or_default());
                    slot.insert_now(plain_card()).unwrap();
                    thread::sleep(PAUSE);
                    slot.remove_now();
                    thread::sleep(PAUSE);
                });
            }
            repeat(scope, &done, || {
                let states = context.reader_states().unwrap();
                assert_eq!(states.len(), READERS);
                let unknown = states
                    .iter()
                    .find(|it| it.flags().contains(ReaderFlags::UNKNOWN));
                assert_eq!(unknown, None);
            });
            repeat(scope, &done, || {
                let session = Session::builder(&context).cards(wanted.clone());
                session.wait_for_card(false).open().unwrap();
            });
            repeat(scope, &done, || {
                context.wait_for_card(&wanted, Some(SOON)).unwrap();
            });
            thread::sleep(length());
        });
        for monitor in &mut monitors {
            let mut attached = 0;
            while let Some(event) = monitor.next_timeout(Duration::ZERO) {
                match event {
                    Event::ReaderAttached { .. } => attached += 1,
                    Event::ReaderDetached { .. } | Event::ServiceLost { .. } => {
                        panic!("{event:?}")
                    }
                    _ => {}
                }
            }
            assert_eq!(attached, READERS);
        }
    });
}

/// What the monitor reports about the killed service and the next one: that it is back, or that
/// this process cannot read its answers.
fn next_of_service(monitor: &mut Monitor) -> Option<Event> {
    let events = std::iter::from_fn(|| monitor.next_timeout(SOON));
    let mut of_service = events.filter(|event| event.reader_name().is_none());
    of_service.next()
}

/// From then on, the client library of pcsc-lite 2.5 refuses every list. Connections work.
#[test]
fn a_service_that_comes_back_with_fewer_readers() {
    const NAME: &str = "ACS ACR122U";
    isolated(|| {
        let builder = Sandbox::builder().driver(Driver::Kit).readers(1);
        let sandbox = builder
            .hot_plug(NAME)
            .card(0, plain_card())
            .start()
            .unwrap();
        let stays = name(sandbox.reader(0));
        let plugged = [(); 6].map(|()| sandbox.plug(NAME).unwrap());
        let context = Context::establish().unwrap();
        assert_eq!(context.readers().unwrap().len(), 7);
        let open = || {
            let session = Session::builder(&context).reader(&stays);
            let session = session.keep_alive(Duration::from_millis(10));
            session.timeout(Some(SOON)).open()
        };
        let mut session = open().unwrap();
        let mut monitor = context.monitor(MonitorOptions::new()).unwrap();
        sandbox.kill().unwrap();
        for reader in &plugged[..5] {
            reader.unplug_now().unwrap();
        }
        sandbox.restart().unwrap();

        // Whatever can be listed, a session that has its reader continues, and another one begins.
        let ask = |session: &mut Session| session.run(|card| card.transmit(COMMAND));
        assert_eq!(ask(&mut session).unwrap(), OK);
        session.keep_alive().unwrap();
        let mut slices = 0..3;
        let mut wait = |time| {
            thread::sleep(time);
            slices.next().is_none().then_some(())
        };
        session.run(|card| card.wait_for(&mut wait)).unwrap();
        assert_eq!(ask(&mut session).unwrap(), OK);
        assert_eq!(ask(&mut open().unwrap()).unwrap(), OK);

        let lost = next_of_service(&mut monitor).unwrap();
        assert!(matches!(lost, Event::ServiceLost { .. }), "{lost:?}");
        let error = match context.readers() {
            Ok(readers) => {
                assert_eq!(readers.len(), 2);
                assert_eq!(next_of_service(&mut monitor), Some(Event::ServiceRestored));
                println!("this library can list the readers");
                return;
            }
            Err(error) => error,
        };
        let is_stale = |error: &scard::Error| {
            let (kind, recovery) = (error.kind(), error.recovery());
            assert_eq!(kind, ErrorKind::StaleProcess, "{error}");
            assert_eq!(recovery, Recovery::RestartProcess, "{error}");
        };
        is_stale(&error);
        is_stale(&context.reader_states().unwrap_err());
        is_stale(
            &context
                .wait_for_card(&CardFilter::new(), Some(SOON))
                .unwrap_err(),
        );
        let any = CardFilter::new();
        is_stale(&monitor.wait_for_card(&any, Some(SOON)).unwrap_err());
        let mut card = context.connect(&stays, ConnectOptions::new()).unwrap();
        is_stale(&card.status().unwrap_err());
        assert_works(&mut card);
        // A session that would have to look for its card cannot.
        let anywhere = Session::builder(&context).open().unwrap_err();
        let anywhere = format!("{anywhere:#}");
        assert!(anywhere.contains("any more"), "{anywhere}");

        // Once the service has more readers than before, everything works again.
        let mut more = Vec::new();
        while context.readers().is_err() {
            assert!(more.len() < 12, "{:?}", context.readers());
            more.push(sandbox.plug(NAME).unwrap());
        }
        assert_eq!(context.readers().unwrap().len(), 2 + more.len());
        let restored = next_of_service(&mut monitor);
        assert_eq!(restored, Some(Event::ServiceRestored));
    });
}
