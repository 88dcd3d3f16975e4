//! Cards that do not answer: waits for them power them up, and they do not delay waits for other
//! cards. Also what an unsuccessful wait saw.
#![cfg(target_os = "linux")]

use std::time::{Duration, Instant};

use scard::{
    CardFilter, ConnectOptions, Context, Error, ErrorKind, Event, Monitor, MonitorOptions,
    ReaderName, ReaderState, Recovery, Result, Seen, Session, SessionError, ShareMode,
};
use scard_testkit::{Driver, IfdCall, IfdError, Sandbox, VirtualReader, isolated};

use crate::support::events::*;
use crate::support::usage::{wait_for_workers, workers};
use crate::support::*;

/// Less than the 0.4 seconds that pcsc-lite takes for a mute card.
const LIMIT: Duration = Duration::from_millis(300);

struct Readers {
    sandbox: Sandbox,
    context: Context,
}

impl Readers {
    fn start(count: usize) -> Readers {
        let sandbox = Sandbox::builder().driver(Driver::Kit).readers(count);
        Readers {
            sandbox: sandbox.start().unwrap(),
            context: Context::establish().unwrap(),
        }
    }

    fn name(&self, reader: usize) -> ReaderName {
        name(self.sandbox.reader(reader))
    }

    fn state(&self, reader: usize) -> ReaderState {
        let states = self.context.reader_states().unwrap();
        let name = self.name(reader);
        let state = states.into_iter().find(|it| *it.reader_name() == name);
        state.unwrap()
    }

    /// Inserts a card that does not come up at this many attempts.
    fn insert_mute(&self, reader: usize, failures: usize) {
        let it = self.sandbox.reader(reader);
        fail_power_ups(it, failures);
        it.insert_now(plain_card()).unwrap();
        wait_until("the card is mute", || self.state(reader).is_mute());
    }

    fn insert_mute_for_ever(&self, reader: usize) {
        let it = self.sandbox.reader(reader);
        for call in [IfdCall::PowerOn, IfdCall::Reset] {
            it.fail_every(call, IfdError::POWER_ACTION).unwrap();
        }
        it.insert_now(plain_card()).unwrap();
        wait_until("the card is mute", || self.state(reader).is_mute());
    }

    fn wait(&self, filter: &CardFilter, limit: Duration) -> Result<ReaderState> {
        self.context.wait_for_card(filter, Some(limit))
    }

    /// How many times a card was powered up in vain.
    fn failed_power_ups(&self) -> usize {
        let log = self.sandbox.daemon_log();
        log.matches("Error powering up card").count()
    }
}

fn name(reader: &VirtualReader) -> ReaderName {
    ReaderName::new(reader.name()).unwrap()
}

fn fail_power_ups(reader: &VirtualReader, times: usize) {
    for _ in 0..times {
        let failing = reader.fail_next(IfdCall::PowerOn, IfdError::POWER_ACTION);
        failing.unwrap();
    }
}

/// What was seen, in words.
fn seen(error: &Error) -> Vec<&'static str> {
    error.seen().iter().map(|it| it.seen().name()).collect()
}

#[test]
fn a_wait_powers_a_mute_card_up() {
    isolated(|| {
        let it = Readers::start(1);
        it.insert_mute(0, 1);
        let found = it.wait(&CardFilter::new(), SOON).unwrap();
        assert_eq!(found.atr(), scard_testkit::atr::T1[..]);
        let options = ConnectOptions::new();
        assert_works(&mut it.context.connect(it.name(0), options).unwrap());
    });
}

#[test]
fn what_is_said_of_an_atr_is_judged_after_the_card_has_answered() {
    isolated(|| {
        let it = Readers::start(1);
        it.insert_mute(0, 2);
        let filter = CardFilter::new().atr(scard_testkit::atr::T1);
        let mut monitor = it.context.monitor(MonitorOptions::new()).unwrap();
        let found = monitor.wait_for_card(&filter, Some(SOON)).unwrap();
        assert!(!found.is_mute());

        it.sandbox.reader(0).remove().unwrap();
        it.insert_mute(0, 1);
        let other = CardFilter::new().atr(&[0x3B, 0x00]);
        let error = monitor.wait_for_card(&other, Some(10 * LIMIT));
        let error = error.unwrap_err();
        assert!(!it.state(0).is_mute(), "it was powered up");
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    });
}

#[test]
fn a_card_that_never_answers_is_tried_a_few_times_and_told() {
    isolated(|| {
        let it = Readers::start(2);
        it.insert_mute_for_ever(0);
        let begun = Instant::now();
        let limit = Duration::from_secs(4);
        let error = it.wait(&CardFilter::new(), limit).unwrap_err();
        assert!(begun.elapsed() >= limit);
        assert_eq!(
            it.failed_power_ups(),
            1 + 3,
            "at its insertion, and for the wait"
        );
        assert_eq!(seen(&error), ["mute", "empty"]);
        assert_eq!(error.recovery(), Recovery::InsertCard);
        let text = error.to_string();
        let mute = format!("(\"{}\": the card does not answer; ", it.name(0));
        assert!(text.contains(&mute), "{text}");
    });
}

/// Once at its insertion, and three times in each wait.
#[test]
fn a_wait_gives_a_card_up_that_others_may_try_again() {
    isolated(|| {
        let it = Readers::start(1);
        it.insert_mute(0, 4);
        let any = CardFilter::new();
        let error = it.wait(&any, Duration::from_secs(2)).unwrap_err();
        assert_eq!(seen(&error), ["mute"]);
        assert!(!it.wait(&any, SOON).unwrap().is_mute());
    });
}

/// Once at its insertion, and three times for the monitor.
#[test]
fn waits_that_follow_each_other_share_their_attempts() {
    isolated(|| {
        let it = Readers::start(1);
        it.insert_mute(0, 4);
        let any = CardFilter::new();
        let mut monitor = it.context.monitor(MonitorOptions::new()).unwrap();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(2) {
            let short = Some(Duration::from_millis(20));
            let error = monitor.wait_for_card(&any, short).unwrap_err();
            assert_eq!(seen(&error), ["mute"]);
        }
        // Another card, and another monitor.
        it.sandbox.reader(0).remove().unwrap();
        it.insert_mute(0, 1);
        assert!(!monitor.wait_for_card(&any, Some(SOON)).unwrap().is_mute());
        it.sandbox.reader(0).remove().unwrap();
        it.insert_mute(0, 1);
        assert!(!it.wait(&any, SOON).unwrap().is_mute());
    });
}

/// One thread per card, however many waits there are.
#[test]
fn power_ups_do_not_pile_up() {
    isolated(|| {
        let it = Readers::start(1);
        it.insert_mute_for_ever(0);
        let any = CardFilter::new();
        let monitor = || it.context.monitor(MonitorOptions::new()).unwrap();
        let mut monitors = [monitor(), monitor()];
        for monitor in &mut monitors {
            pending(monitor);
        }
        // The connect that powers it up hangs.
        it.sandbox.pause().unwrap();
        for turn in 0..20 {
            let monitor = &mut monitors[turn % 2];
            let short = Some(Duration::from_millis(10));
            monitor.wait_for_card(&any, short).unwrap_err();
            assert!(workers() <= 1, "{}", workers());
        }
        assert_eq!(workers(), 1);
        // It counts for all waits.
        it.sandbox.reader(0).clear_faults().unwrap();
        it.sandbox.resume().unwrap();
        for mut monitor in monitors {
            assert!(!monitor.wait_for_card(&any, Some(SOON)).unwrap().is_mute());
        }
        wait_for_workers(0);
    });
}

/// A reader that is plugged in again counts its cards anew.
#[test]
fn a_mute_card_in_a_reader_that_comes_back_is_another_one() {
    const MODEL: &str = "ACS ACR122U";
    isolated(|| {
        let sandbox = Sandbox::builder().driver(Driver::Kit).hot_plug(MODEL);
        let sandbox = sandbox.start().unwrap();
        let context = Context::establish().unwrap();
        let mut monitor = context.monitor(MonitorOptions::new()).unwrap();
        let any = CardFilter::new();
        let plug = |failures| {
            let reader = sandbox.plug(MODEL).unwrap();
            fail_power_ups(&reader, failures);
            reader.insert_now(plain_card()).unwrap();
            reader
        };
        let reader = plug(4);
        let limit = Duration::from_secs(3);
        let error = monitor.wait_for_card(&any, Some(limit)).unwrap_err();
        assert_eq!(seen(&error), ["mute"]);
        let before = name(&reader);
        reader.unplug().unwrap();
        assert!(monitor.any(|event| event == detached(&before)));
        let reader = plug(1);
        assert_eq!(name(&reader), before);
        let found = monitor.wait_for_card(&any, Some(SOON)).unwrap();
        assert!(!found.is_mute());
    });
}

/// The service does not report that another program has powered it up.
#[test]
fn a_card_that_another_program_has_to_itself_is_found() {
    isolated(|| {
        let it = Readers::start(1);
        it.insert_mute(0, 1);
        let mut monitor = it.context.monitor(MonitorOptions::new()).unwrap();
        pending(&mut monitor);
        // From the fourth second on it is looked at after four more.
        let late = monitor.next_timeout(Duration::from_millis(4500));
        assert_eq!(late, None);
        let exclusive = ConnectOptions::new().share_mode(ShareMode::Exclusive);
        let other = Context::establish().unwrap();
        let _held = other.connect(it.name(0), exclusive).unwrap();
        let limit = Duration::from_secs(2);
        let found = monitor.wait_for_card(&CardFilter::new(), Some(limit));
        assert!(!found.unwrap().is_mute());
    });
}

#[test]
fn a_mute_card_is_powered_up_again_after_a_restart_of_the_service() {
    isolated(|| {
        let it = Readers::start(1);
        it.insert_mute(0, 4);
        let mut monitor = it.context.monitor(MonitorOptions::new()).unwrap();
        let mut wait = |limit| monitor.wait_for_card(&CardFilter::new(), Some(limit));
        let error = wait(Duration::from_secs(2)).unwrap_err();
        assert_eq!(seen(&error), ["mute"]);
        fail_power_ups(it.sandbox.reader(0), 1);
        it.sandbox.restart().unwrap();
        wait_until("the card is mute again", || it.state(0).is_mute());
        assert!(!wait(SOON).unwrap().is_mute());
    });
}

#[test]
fn a_mute_card_that_is_not_meant_is_left_alone() {
    isolated(|| {
        let it = Readers::start(2);
        it.insert_mute(0, 1);
        let filter = CardFilter::new().reader(&it.name(1));
        let error = it.wait(&filter, LIMIT).unwrap_err();
        assert_eq!(seen(&error), ["empty"]);
        assert_eq!(error.seen()[0].reader_name(), &it.name(1));
        assert!(it.state(0).is_mute());
    });
}

#[test]
fn a_mute_card_elsewhere_delays_no_wait_for_another_reader() {
    isolated(|| {
        let it = Readers::start(2);
        it.insert_mute(0, 1);
        it.sandbox.reader(1).insert(plain_card()).unwrap();
        let name = it.name(1);
        let last = name.clone();
        let filters = [
            CardFilter::new().reader(&name),
            CardFilter::new().reader_matching(move |name| *name == last),
        ];
        for filter in filters {
            let mut found = None;
            assert_is_quick(|| found = it.wait(&filter, SOON).ok());
            let found = found.unwrap();
            assert_eq!(*found.reader_name(), name);
            let this = filter.same_card(&found);
            let waited = Some(Duration::from_secs(2));
            let error = it.context.wait_for_removal(&this, waited);
            assert_eq!(seen(&error.unwrap_err()), ["present"]);
        }
        assert!(it.state(0).is_mute(), "it was left alone");
    });
}

/// Since 2.0.1 the client library of pcsc-lite sleeps while holding a process-wide lock when it
/// sees a mute card, so that all threads that look at readers wait for 0.4 seconds, each time one
/// of them sees it.
fn limit_beside_a_mute_card() -> Duration {
    let daemon = std::env::var_os("SCARD_TESTKIT_PCSCD");
    let daemon = daemon.unwrap_or_else(|| "/usr/sbin/pcscd".into());
    let version = std::process::Command::new(daemon).arg("--version").output();
    match version.unwrap().stdout.starts_with(b"pcsc-lite version 1.") {
        true => LIMIT,
        false => SOON,
    }
}

/// The first monitor of a process must find out which cards are mute.
#[test]
fn a_mute_card_that_is_known_delays_nobody() {
    isolated(|| {
        let limit = limit_beside_a_mute_card();
        let it = Readers::start(3);
        it.insert_mute_for_ever(0);
        it.sandbox.reader(1).insert(plain_card()).unwrap();
        let mut monitor = it.context.monitor(MonitorOptions::new()).unwrap();
        let told = pending(&mut monitor);
        assert_eq!(told.len(), 5, "{told:?}");

        let good = it.name(1);
        let answers = CardFilter::new().atr(scard_testkit::atr::T1);
        // On a busy machine some take longer, but not all.
        let mut fastest = [SOON; 3];
        for _ in 0..3 {
            let begun = Instant::now();
            let found = it.wait(&answers, SOON).unwrap();
            assert_eq!(*found.reader_name(), good);
            let found_after = begun.elapsed();
            let changed = |monitor: &mut Monitor, name| {
                let begun = Instant::now();
                let event = monitor.next_timeout(SOON).unwrap();
                assert_eq!((event.name(), event.reader_name()), (name, Some(&good)));
                begun.elapsed()
            };
            it.sandbox.reader(1).remove_now();
            let removed_after = changed(&mut monitor, "card-removed");
            it.sandbox.reader(1).insert_now(plain_card()).unwrap();
            let inserted_after = changed(&mut monitor, "card-inserted");
            let times = [found_after, removed_after, inserted_after];
            fastest = std::array::from_fn(|at| fastest[at].min(times[at]));
        }
        assert!(fastest.iter().all(|it| *it < limit), "{fastest:?}");
        // And what happens to it is reported.
        it.sandbox.reader(0).clear_faults().unwrap();
        let options = ConnectOptions::new();
        drop(it.context.connect(it.name(0), options).unwrap());
        let event = monitor.next_timeout(SOON).unwrap();
        assert_eq!(
            (event.name(), event.reader_name()),
            ("card-inserted", Some(&it.name(0)))
        );
        it.sandbox.reader(0).remove().unwrap();
        assert_eq!(monitor.next_timeout(SOON).unwrap().name(), "card-removed");
        it.insert_mute_for_ever(0);
        assert_eq!(monitor.next_timeout(SOON).unwrap().name(), "card-mute");
        it.sandbox.reader(0).remove().unwrap();
        assert_eq!(monitor.next_timeout(SOON).unwrap().name(), "card-removed");
        assert!(monitor.close(Some(SOON)));
    });
}

/// On a busy machine some take longer, but not all.
#[track_caller]
fn assert_is_quick(mut call: impl FnMut()) {
    let times = [(); 3].map(|()| {
        let begun = Instant::now();
        call();
        begun.elapsed()
    });
    assert!(times.iter().any(|it| *it < LIMIT), "{times:?}");
}

/// Runs a session that may use any reader.
fn run_anywhere(it: &Readers) {
    let session = Session::builder(&it.context).timeout(Some(SOON));
    let answer = session.build().run(|card| card.transmit(COMMAND));
    assert_eq!(answer.unwrap(), OK);
}

#[test]
fn a_mute_card_that_a_monitor_knows_delays_no_session() {
    isolated(|| {
        let it = Readers::start(2);
        it.insert_mute_for_ever(0);
        it.sandbox.reader(1).insert(plain_card()).unwrap();
        let mut monitor = it.context.monitor(MonitorOptions::new()).unwrap();
        pending(&mut monitor);
        // It would hold the lock.
        assert!(monitor.close(Some(SOON)));
        assert_is_quick(|| run_anywhere(&it));
    });
}

/// The first session has to find out, and asks again if there is no other card.
#[test]
fn a_mute_card_that_a_session_knows_delays_no_other() {
    isolated(|| {
        let it = Readers::start(2);
        it.insert_mute_for_ever(0);
        it.sandbox.reader(1).insert(plain_card()).unwrap();
        run_anywhere(&it);
        assert_is_quick(|| run_anywhere(&it));
        it.sandbox.reader(1).remove().unwrap();
        it.sandbox.reader(0).clear_faults().unwrap();
        run_anywhere(&it);
    });
}

/// The whole state is known when the monitor begins, and when a removal is reported.
#[test]
fn a_card_that_was_mute_is_not_taken_for_none() {
    isolated(|| {
        let limit = limit_beside_a_mute_card().min(5 * LIMIT);
        let it = Readers::start(2);
        it.insert_mute_for_ever(0);
        for _ in 0..2 {
            let mut monitor = it.context.monitor(MonitorOptions::new()).unwrap();
            let told = pending(&mut monitor);
            let mute = told.iter().find(|event| event.name() == "card-mute");
            assert_eq!(mute.unwrap().reader_name(), Some(&it.name(0)));
            let any = CardFilter::new();
            let error = it.context.wait_for_removal(&any, Some(3 * limit));
            assert_eq!(seen(&error.unwrap_err()), ["mute"]);
            let error = it.wait(&any, limit).unwrap_err();
            assert_eq!(seen(&error), ["mute", "empty"]);
        }
    });
}

#[test]
fn a_service_that_comes_back_is_watched_with_its_mute_cards() {
    isolated(|| {
        let it = Readers::start(1);
        it.insert_mute_for_ever(0);
        let mut monitor = it.context.monitor(MonitorOptions::new()).unwrap();
        pending(&mut monitor);
        it.sandbox.restart().unwrap();
        let mute = |event: &Event| event.name() == "card-mute";
        assert!(monitor.any(|event| mute(&event)));
        it.sandbox.reader(0).remove().unwrap();
        let event = monitor.next_timeout(SOON).unwrap();
        assert_eq!(event.name(), "card-removed");
    });
}

#[test]
fn a_wait_says_what_was_missing() {
    isolated(|| {
        let it = Readers::start(2);
        it.sandbox.reader(0).insert(plain_card()).unwrap();
        let other = CardFilter::new().atr(&[0x3B, 0x00]);
        let error = it.wait(&other, LIMIT).unwrap_err();
        assert_eq!(seen(&error), ["not-matching", "empty"]);
        let held = ConnectOptions::new().share_mode(ShareMode::Exclusive);
        let held = it.context.connect(it.name(0), held).unwrap();
        let error = it.wait(&other, LIMIT).unwrap_err();
        assert_eq!(*error.seen()[0].seen(), Seen::Held);
        drop(held);

        let none = CardFilter::new().reader_matching(|_| false);
        let error = it.wait(&none, LIMIT).unwrap_err();
        assert_eq!(
            error.description(),
            "no matching reader was attached within the time-out"
        );
        let unknown = CardFilter::new().reader(&ReaderName::new("No reader").unwrap());
        let error = it.wait(&unknown, LIMIT).unwrap_err();
        assert_eq!(seen(&error), ["unknown"]);
        it.sandbox.kill().unwrap();
        let error = it.wait(&other, LIMIT).unwrap_err();
        assert_eq!(error.recovery(), Recovery::RetryLater);
        let text = error.description();
        assert!(
            text.starts_with("the smart-card service has ended"),
            "{text}"
        );
    });
}

/// How late a wait ends, at second best: single ones depend on how busy the machine is.
#[track_caller]
fn assert_on_time(mut wait: impl FnMut() -> ErrorKind) {
    let late = (0..6).map(|_| {
        let begun = Instant::now();
        assert_eq!(wait(), ErrorKind::DeadlineExceeded);
        begun.elapsed().checked_sub(LIMIT).expect("too early")
    });
    let mut late: Vec<Duration> = late.collect();
    late.sort();
    assert!(late[1] < Duration::from_millis(20), "{late:?} late");
}

/// Whatever is in the readers, and even without the service.
#[test]
fn waits_end_on_time() {
    isolated(|| {
        let it = Readers::start(2);
        let waits = |present: &str| {
            println!("{present}");
            let any = CardFilter::new();
            let other = any.clone().atr(&[0x3B, 0x00]);
            assert_on_time(|| it.wait(&other, LIMIT).unwrap_err().kind());
            let mut monitor = it.context.monitor(MonitorOptions::new()).unwrap();
            let mut wait = || monitor.wait_for_card(&other, Some(LIMIT)).unwrap_err();
            assert_on_time(|| wait().kind());
            assert_on_time(|| {
                let session = Session::builder(&it.context).cards(other.clone());
                match session.timeout(Some(LIMIT)).open() {
                    Err(SessionError::Deadline { .. }) => ErrorKind::DeadlineExceeded,
                    other => panic!("{other:?}"),
                }
            });
        };
        waits("no card");
        it.sandbox.reader(1).insert(plain_card()).unwrap();
        waits("another card");
        let present = CardFilter::new().reader(&it.name(1));
        assert_on_time(|| {
            let removed = it.context.wait_for_removal(&present, Some(LIMIT));
            removed.unwrap_err().kind()
        });
        it.insert_mute_for_ever(0);
        waits("a mute card");
        it.sandbox.kill().unwrap();
        waits("no service");
    });
}

#[cfg(feature = "async")]
mod futures {
    use super::*;
    use crate::support::executor::block_on;
    use scard::AsyncContext;

    #[test]
    fn a_wait_powers_a_mute_card_up() {
        isolated(|| {
            let it = Readers::start(2);
            it.insert_mute(0, 1);
            let context = AsyncContext::from(it.context.clone());
            let filter = CardFilter::new();
            let found = block_on(context.wait_for_card(&filter, Some(SOON))).unwrap();
            assert_eq!(*found.reader_name(), it.name(0));
            let other = CardFilter::new().reader(&it.name(1));
            let error = block_on(context.wait_for_card(&other, Some(LIMIT))).unwrap_err();
            assert_eq!(seen(&error), ["empty"]);
            assert_on_time(|| {
                let wait = context.wait_for_card(&other, Some(LIMIT));
                block_on(wait).unwrap_err().kind()
            });
        });
    }
}
