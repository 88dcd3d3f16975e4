//! Events, with the real daemon.
#![cfg(target_os = "linux")]

use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::{Duration, Instant};

use scard::{
    AbortHandle, Atr, CardFilter, Context, ContextOptions, ErrorKind, Event, Initialization,
    Monitor, MonitorOptions, ReaderName, Recovery, ReturnCode, Usage,
};
use scard_testkit::{Sandbox, isolated};

use crate::support::events::*;
use crate::support::usage::{own_threads, threads};
use crate::support::*;

/// Waits for the next event, which must come.
#[track_caller]
fn next(monitor: &mut Monitor) -> Event {
    monitor.next_timeout(SOON).expect("no event")
}

fn watch(context: &Context) -> Monitor {
    context.monitor(MonitorOptions::new()).expect("a monitor")
}

#[test]
fn what_is_there_comes_first_and_then_what_changes() {
    isolated(|| {
        let fixture = fixture();
        let (reader, empty) = (&fixture.reader, &fixture.empty_reader);
        let mut monitor = watch(&fixture.context);
        let there = [attached(reader), inserted(reader), attached(empty)];
        assert_eq!(pending(&mut monitor), there);
        fixture.sandbox.reader(0).remove().unwrap();
        assert_eq!(next(&mut monitor), removed(reader));
        fixture.sandbox.reader(1).insert(plain_card()).unwrap();
        assert_eq!(next(&mut monitor), inserted(empty));
        assert_eq!(monitor.next_timeout(NEVER), None);
        assert!(!monitor.is_stopped());
    });
}

/// What the program itself does is not reported, unless requested.
#[test]
fn use_by_programs_is_told_if_wanted() {
    isolated(|| {
        let fixture = fixture();
        let mut silent = watch(&fixture.context);
        let options = MonitorOptions::new().use_changes(true);
        let mut monitor = fixture.context.monitor(options).unwrap();
        pending(&mut monitor);
        pending(&mut silent);
        let used = |usage| used(&fixture.reader, usage);
        let card = fixture.connect();
        assert_eq!(next(&mut monitor), used(Usage::Shared));
        drop(card);
        assert_eq!(next(&mut monitor), used(Usage::Unused));
        let card = fixture.connect_exclusive();
        assert_eq!(next(&mut monitor), used(Usage::Exclusive));
        // A new monitor reports it.
        let options = MonitorOptions::new().use_changes(true);
        let mut late = fixture.context.monitor(options).unwrap();
        let exclusive = used(Usage::Exclusive);
        assert!(pending(&mut late).iter().any(|it| *it == exclusive));
        drop(card);
        assert_eq!(next(&mut monitor), used(Usage::Unused));
        assert_eq!(pending(&mut silent), [] as [Event; 0]);
    });
}

#[test]
fn the_service_may_die_and_come_back() {
    isolated(|| {
        let fixture = fixture();
        let (reader, empty) = (&fixture.reader, &fixture.empty_reader);
        let mut monitor = watch(&fixture.context);
        pending(&mut monitor);
        for _ in 0..3 {
            fixture.sandbox.kill().unwrap();
            let Event::ServiceLost { error, .. } = next(&mut monitor) else {
                panic!("not lost");
            };
            // The same wherever the watcher may be.
            assert!(
                matches!(
                    error.kind(),
                    ErrorKind::ServiceGone | ErrorKind::AccessDenied
                ),
                "{error}"
            );
            for expected in [removed(reader), detached(reader), detached(empty)] {
                assert_eq!(next(&mut monitor), expected);
            }
            assert_eq!(monitor.next_timeout(NEVER), None);
            fixture.sandbox.restart().unwrap();
            assert_eq!(next(&mut monitor), Event::ServiceRestored);
            assert_card_remains(&mut monitor, reader);
        }
    });
}

/// Checks that the events lead to a card in the reader, whenever they come, and that no more come
/// then.
#[track_caller]
fn assert_card_remains(monitor: &mut Monitor, reader: &ReaderName) {
    let mut is_there = false;
    while let Some(event) = monitor.next_timeout(if is_there { NEVER } else { SOON }) {
        if event.reader_name() == Some(reader) {
            is_there = match event {
                Event::ReaderAttached { .. } | Event::ReaderDetached { .. } => false,
                Event::CardRemoved { .. } => false,
                Event::CardInserted { .. } | Event::CardExchanged { .. } => true,
                _ => is_there,
            };
        }
    }
    assert!(is_there, "there is no card in {reader}");
}

#[test]
fn it_can_begin_before_the_service() {
    isolated(|| {
        let fixture = fixture();
        fixture.sandbox.kill().unwrap();
        let mut monitor = watch(&fixture.context);
        let first = next(&mut monitor);
        let Event::ServiceLost { error, .. } = &first else {
            panic!("{first:?}");
        };
        assert_eq!(error.code(), ReturnCode::E_NO_SERVICE);
        assert_eq!(monitor.next_timeout(NEVER), None);
        fixture.sandbox.restart().unwrap();
        assert_eq!(next(&mut monitor), Event::ServiceRestored);
        assert_card_remains(&mut monitor, &fixture.reader);
    });
}

/// A hanging daemon does not hang a call with a limit.
#[test]
fn a_daemon_that_hangs_does_not_hang_the_monitor() {
    isolated(|| {
        let fixture = fixture();
        let mut monitor = watch(&fixture.context);
        pending(&mut monitor);
        let limited = ContextOptions::new().timeout(Some(NEVER)).lazy();
        // On a busy machine it may take longer.
        wait_until("the context", || limited.readers().is_ok());
        fixture.sandbox.pause().unwrap();
        assert_eq!(monitor.next_timeout(NEVER), None);
        let error = limited.monitor(MonitorOptions::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        let waited = limited.wait_for_card(&CardFilter::new(), Some(NEVER));
        assert_eq!(waited.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
        let begun = Instant::now();
        monitor.abort_handle().abort();
        assert_eq!(monitor.next(), None);
        drop(monitor);
        assert!(begun.elapsed() < Duration::from_secs(5));
        fixture.sandbox.resume().unwrap();
        assert_works(&mut fixture.connect());
    });
}

/// Whatever its thread does, and however busy the machine is meanwhile.
#[test]
fn dropping_a_monitor_does_not_wait_and_closing_it_does() {
    isolated(|| {
        let fixture = fixture();
        let closed = watch(&fixture.context);
        assert!(closed.close(Some(SOON)));
        let monitors: Vec<Monitor> = (0..6).map(|_| watch(&fixture.context)).collect();
        fixture.sandbox.pause().unwrap();
        let mut monitors = monitors.into_iter();
        assert!(!monitors.next().unwrap().close(Some(NEVER)));
        let drops = monitors.map(|monitor| {
            let begun = Instant::now();
            drop(monitor);
            begun.elapsed()
        });
        let fastest = drops.min().unwrap();
        assert!(fastest < Duration::from_millis(50), "{fastest:?}");
        fixture.sandbox.resume().unwrap();
    });
}

#[test]
fn an_abort_stops_it_for_good() {
    isolated(|| {
        let fixture = fixture();
        let mut monitor = watch(&fixture.context);
        let abort = monitor.abort_handle();
        abort.abort();
        assert!(monitor.is_stopped());
        // Including events not taken yet.
        assert_eq!(monitor.next(), None);
        assert_eq!(monitor.next_timeout(SOON), None);
        assert_eq!(monitor.next(), None);
        let filter = CardFilter::new();
        let error = monitor.wait_for_card(&filter, Some(SOON)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        let error = monitor.wait_for_removal(&filter, None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        // And whatever begins with it later.
        let options = MonitorOptions::new().abort_handle(&abort);
        assert_eq!(fixture.context.monitor(options).unwrap().next(), None);
    });
}

/// At every moment of a wait.
#[test]
fn a_stop_is_never_lost() {
    isolated(|| {
        let fixture = fixture();
        let rounds: u32 = 2_000;
        let mut late = 0;
        for round in 0..rounds {
            let mut watching = watch(&fixture.context);
            pending(&mut watching);
            let abort = watching.abort_handle();
            let waiter = thread::spawn(move || {
                let event = watching.next();
                (event, watching)
            });
            match round % 8 {
                0 => {}
                spins => {
                    // From zero to about 200 microseconds.
                    let end = Instant::now() + Duration::from_micros(u64::from(spins * spins * 4));
                    while Instant::now() < end {
                        std::hint::spin_loop();
                    }
                }
            }
            abort.abort();
            let (event, watching) = waiter.join().unwrap();
            assert_eq!(event, None);
            // The iterator ends whether or not the thread does, which without a cancel ends after a
            // second.
            late += u32::from(!watching.close(Some(Duration::from_millis(500))));
            // The machine may be busy at times; if cancels get lost, it happens every few rounds.
            assert!(late <= 5 + round / 100, "{late} of {round}");
        }
        assert_works(&mut fixture.connect());
        wait_until("the threads end", || own_threads().is_empty());
    });
}

#[test]
fn two_monitors_are_told_the_same() {
    isolated(|| {
        let fixture = fixture();
        let mut monitors = [watch(&fixture.context), watch(&fixture.context)];
        fixture.sandbox.reader(0).remove().unwrap();
        fixture.sandbox.reader(1).insert(plain_card()).unwrap();
        for monitor in &mut monitors {
            let (reader, empty) = (&fixture.reader, &fixture.empty_reader);
            let expected = [
                attached(reader),
                inserted(reader),
                attached(empty),
                removed(reader),
                inserted(empty),
            ];
            let told: Vec<Event> = expected.iter().map(|_| next(monitor)).collect();
            assert_eq!(told, expected);
        }
        // The end of one is not the end of the other.
        let [first, mut second] = monitors;
        drop(first);
        fixture.sandbox.reader(1).remove().unwrap();
        assert_eq!(next(&mut second), removed(&fixture.empty_reader));
    });
}

#[test]
fn waiting_for_a_card_and_for_its_removal() {
    isolated(|| {
        let fixture = fixture();
        let (context, slot) = (&fixture.context, fixture.sandbox.reader(0));
        let soon = Some(SOON);
        let any = CardFilter::new();
        let found = context.wait_for_card(&any, Some(Duration::ZERO));
        // Within no time at all, nothing is known yet.
        assert!(found.is_err_and(|error| error.kind() == ErrorKind::DeadlineExceeded));
        let found = context.wait_for_card(&any, soon).unwrap();
        assert_eq!(found.reader_name(), &fixture.reader);
        assert_eq!(found.atr(), Atr::new(scard_testkit::atr::T1).unwrap());
        let empty = CardFilter::new().reader(&fixture.empty_reader);
        context.wait_for_removal(&empty, soon).unwrap();

        let same = CardFilter::new().same_card(&found);
        let waiting = {
            let (context, same) = (context.clone(), same.clone());
            in_background(move || context.wait_for_removal(&same, soon))
        };
        assert_eq!(waiting.recv_timeout(NEVER), Err(RecvTimeoutError::Timeout));
        slot.remove().unwrap();
        finish(&waiting).unwrap();
        let waiting = {
            let (context, any) = (context.clone(), any.clone());
            in_background(move || context.wait_for_card(&any, soon))
        };
        assert_blocked(&waiting);
        slot.insert(&fixture.card).unwrap();
        assert_eq!(finish(&waiting).unwrap().reader_name(), &fixture.reader);
        // The reader that is back, not the one that stayed.
        context.wait_for_removal(&same, soon).unwrap();

        let other = CardFilter::new().atr(&[0x3B, 0x00]);
        let error = context.wait_for_card(&other, Some(NEVER)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        assert_eq!(error.recovery(), Recovery::InsertCard);
        assert!(error.to_string().contains("no matching card"), "{error}");
        let error = context.wait_for_removal(&any, Some(NEVER)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        assert!(error.to_string().contains("was not removed"), "{error}");
    });
}

#[test]
fn a_reset_makes_no_other_card() {
    isolated(|| {
        let fixture = fixture();
        let mut card = fixture.connect();
        let found = fixture.context.reader_states().unwrap().swap_remove(0);
        let same = CardFilter::new().same_card(&found);
        let mut monitor = watch(&fixture.context);
        pending(&mut monitor);
        for initialization in [Initialization::Reset, Initialization::Unpower] {
            reconnect(&mut card, initialization).unwrap();
            let now = fixture.context.reader_states().unwrap();
            assert!(same.matches(&now[0]), "{now:?}");
        }
        assert_eq!(monitor.next_timeout(NEVER), None);
    });
}

#[test]
fn a_transaction_delays_no_event() {
    isolated(|| {
        let fixture = fixture();
        let mut monitor = watch(&fixture.context);
        pending(&mut monitor);
        let mut card = fixture.connect();
        let transaction = card.transaction().unwrap();
        let slot = fixture.sandbox.reader(1);
        slot.insert(plain_card()).unwrap();
        assert_eq!(next(&mut monitor), inserted(&fixture.empty_reader));
        fixture.sandbox.reader(0).remove().unwrap();
        assert_eq!(next(&mut monitor), removed(&fixture.reader));
        // Nor does it prevent a monitor from starting.
        assert_eq!(pending(&mut watch(&fixture.context)).len(), 3);
        drop(transaction);
    });
}

#[test]
fn a_wait_outlives_the_service() {
    isolated(|| {
        let fixture = fixture();
        fixture.sandbox.reader(0).remove().unwrap();
        let context = fixture.context.clone();
        let waiting = in_background(move || context.wait_for_card(&CardFilter::new(), None));
        assert_blocked(&waiting);
        fixture.sandbox.kill().unwrap();
        assert_blocked(&waiting);
        fixture.sandbox.reader(0).insert_now(&fixture.card).unwrap();
        fixture.sandbox.restart().unwrap();
        assert_eq!(finish(&waiting).unwrap().reader_name(), &fixture.reader);
    });
}

#[test]
fn a_wait_is_aborted_from_another_thread() {
    isolated(|| {
        let fixture = fixture();
        let abort = AbortHandle::new();
        let options = MonitorOptions::new().abort_handle(&abort);
        let mut monitor = fixture.context.monitor(options).unwrap();
        let there = CardFilter::new();
        let waiting = in_background(move || monitor.wait_for_removal(&there, None));
        assert_blocked(&waiting);
        abort.abort();
        assert_eq!(finish(&waiting).unwrap_err().kind(), ErrorKind::Cancelled);
    });
}

/// This hangs every PC/SC call of a process that uses one context for everything: one thread waits
/// in it, another lists readers in it.
#[test]
fn the_deadlock_of_the_client_library_cannot_be_produced() {
    isolated(|| {
        let fixture = fixture();
        let context = fixture.context.clone();
        let mut monitor = watch(&context);
        pending(&mut monitor);
        let waiting = in_background(move || monitor.next());
        assert_blocked(&waiting);
        let (done, rounds) = (SOON, 200);
        let busy: Vec<_> = (0..4)
            .map(|_| {
                let (context, reader) = (context.clone(), fixture.reader.clone());
                in_background(move || {
                    for _ in 0..rounds {
                        assert_eq!(context.readers().unwrap().len(), 2);
                        assert!(context.is_valid().unwrap());
                        context.reader_states().unwrap();
                        context.reader_groups().unwrap();
                        let options = scard::ConnectOptions::new();
                        let mut card = context.connect(&reader, options).unwrap();
                        card.status().unwrap();
                        drop(context.monitor(MonitorOptions::new()).unwrap());
                    }
                })
            })
            .collect();
        for busy in &busy {
            busy.recv_timeout(done * 3).expect("the process hangs");
        }
        assert_eq!(waiting.recv_timeout(NEVER), Err(RecvTimeoutError::Timeout));
        fixture.sandbox.reader(0).remove().unwrap();
        assert_eq!(finish(&waiting).unwrap(), removed(&fixture.reader));
    });
}

/// Processor time of this process, in clock ticks, and how often its threads have waited.
fn effort(monitor_threads: &[u32]) -> (u64, u64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split(' ').collect();
    let time = |at: usize| fields[at].parse::<u64>().unwrap();
    let switches = monitor_threads.iter().map(|thread| {
        let path = format!("/proc/self/task/{thread}/status");
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find(|it| it.starts_with("voluntary"));
        line.and_then(|it| it.split_whitespace().last()?.parse().ok())
            .unwrap_or(u64::MAX)
    });
    (time(12) + time(13), switches.sum())
}

/// While nothing happens, a monitor looks at most once a second, over the socket never, and uses no
/// processor time.
#[test]
fn an_idle_monitor_is_idle() {
    isolated(|| {
        let fixture = fixture();
        let mut monitor = watch(&fixture.context);
        pending(&mut monitor);
        // So that the event counters are not zero, which causes a look, except over the socket.
        if cfg!(feature = "library") {
            for slot in fixture.sandbox.readers() {
                slot.remove().unwrap();
                slot.insert(plain_card()).unwrap();
            }
            while next(&mut monitor) != inserted(&fixture.empty_reader) {}
        }
        while monitor.next_timeout(NEVER).is_some() {}
        let mut threads = threads();
        threads.retain(|(_, name)| name == "scard-monitor");
        let threads: Vec<u32> = threads.into_iter().map(|(id, _)| id).collect();
        assert_eq!(threads.len(), 1);
        let before = effort(&threads);
        let seconds = 10;
        assert_eq!(monitor.next_timeout(Duration::from_secs(seconds)), None);
        let after = effort(&threads);
        let (ticks, waits) = (after.0 - before.0, after.1 - before.1);
        println!("{ticks} ticks of 10 ms, {waits} waits in {seconds} s");
        // The last round may not be over at the beginning.
        let rounds = match cfg!(feature = "library") {
            true => seconds + 1,
            false => 1,
        };
        // A round lists and waits: each exchange with the daemon takes one or two waits.
        assert!(waits <= 8 * rounds, "{waits}");
        assert!(ticks <= 2, "{ticks}");
    });
}

/// A consumer that does not take the events gets their sum, and delays nothing.
#[test]
fn who_does_not_look_is_told_what_is_there_in_the_end() {
    isolated(|| {
        let fixture = fixture();
        let mut idle = watch(&fixture.context);
        let mut busy = watch(&fixture.context);
        pending(&mut busy);
        let slot = fixture.sandbox.reader(0);
        for _ in 0..5 {
            slot.remove().unwrap();
            assert_eq!(next(&mut busy), removed(&fixture.reader));
            slot.insert(&fixture.card).unwrap();
            assert_eq!(next(&mut busy), inserted(&fixture.reader));
        }
        assert_card_remains(&mut idle, &fixture.reader);
    });
}

#[test]
fn a_forked_child_has_a_stopped_monitor() {
    isolated(|| {
        let sandbox = Sandbox::builder().readers(2).card(0, plain_card());
        let fixture = Fixture::of(sandbox.debug_log(true).start().unwrap());
        let mut monitor = watch(&fixture.context);
        let abort = monitor.abort_handle();
        wait_until("the thread waits in the service", || {
            // pcsc-lite 2 requests the states once the wait has begun.
            let log = fixture.sandbox.daemon_log();
            let last = |command| log.rfind(command);
            last("CMD_WAIT_READER_STATE_CHANGE") > last("CMD_STOP_WAITING")
        });
        // SAFETY: the child calls nothing but the monitor, which has no lock to wait for.
        #[allow(unsafe_code)]
        let child = unsafe { libc::fork() };
        if child == 0 {
            let stopped = monitor.is_stopped() && monitor.next().is_none();
            abort.abort();
            // It would cancel its parent's waits, again and again.
            let threads = std::fs::read_dir("/proc/self/task").unwrap().count();
            let stopped = stopped && threads == 1;
            drop(monitor);
            std::process::exit(if stopped { 0 } else { 1 });
        }
        let mut status = 0;
        // SAFETY: `status` outlives the call.
        #[allow(unsafe_code)]
        let waited = unsafe { libc::waitpid(child, &mut status, 0) };
        assert_eq!((waited, status), (child, 0));
        assert!(!monitor.is_stopped());
        assert_eq!(pending(&mut monitor).len(), 3);
    });
}
