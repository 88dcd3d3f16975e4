//! Sessions go on after what happens to cards, and no command reaches a card twice.
#![cfg(target_os = "linux")]

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use scard::{
    AbortHandle, CardFilter, ConnectOptions, Context, Disposition, Error, ErrorKind, HookError,
    Initialization, Protocols, ReaderName, Recovery, Result, Session, SessionBuilder, SessionCard,
    SessionError, SessionEvent, SetUpWhen, ShareMode,
};
use scard_testkit::{CardHandle, Reply, isolated, isolated_with_peer};
use support::applet::{Applications, NOT_SELECTED, SERIAL, number_of, numbered, select};
use support::*;

const APPLICATION: u8 = 7;

/// A deadline that is to be exceeded, and one that is not.
const LIMIT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(20);

fn card() -> scard_testkit::VirtualCard {
    Applications::card(b"one")
}

/// What a session told.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<SessionEvent>>>);

impl Told {
    fn all(&self) -> Vec<SessionEvent> {
        self.0.lock().unwrap().clone()
    }

    fn clear(&self) {
        self.0.lock().unwrap().clear();
    }

    fn count(&self, wanted: impl Fn(&SessionEvent) -> bool) -> usize {
        self.all().iter().filter(|event| wanted(event)).count()
    }

    fn setups(&self) -> usize {
        self.count(|event| *event == SessionEvent::SetUp)
    }

    fn connects(&self) -> usize {
        self.count(|event| matches!(event, SessionEvent::Connected { .. }))
    }

    fn recoveries(&self) -> Vec<Recovery> {
        let recovery = |event| match event {
            SessionEvent::Recovering { recovery, .. } => Some(recovery),
            _ => None,
        };
        self.all().into_iter().filter_map(recovery).collect()
    }

    /// Waits until it told of this.
    #[track_caller]
    fn wait(&self, wanted: impl Fn(&SessionEvent) -> bool) {
        let begun = Instant::now();
        while self.count(&wanted) == 0 {
            assert!(begun.elapsed() < SOON, "only {:?}", self.all());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn set_up(card: &mut SessionCard<'_>) -> Result<(), HookError> {
    match card.transmit(&select(APPLICATION))?.as_slice() {
        OK => Ok(()),
        answer => Err(format!("{answer:02X?}").into()),
    }
}

fn serial(card: &mut SessionCard<'_>) -> Result<Vec<u8>, HookError> {
    let answer = card.transmit(SERIAL)?;
    Ok(answer.strip_suffix(OK).ok_or("no serial")?.to_vec())
}

fn builder(fixture: &Fixture, told: &Told) -> SessionBuilder {
    let told = told.clone();
    Session::builder(&fixture.context)
        .reader(&fixture.reader)
        .setup(set_up)
        .identity(serial)
        .deadline(Some(LONG))
        .on_event(move |event| told.0.lock().unwrap().push(event.clone()))
}

fn open(fixture: &Fixture) -> (Session, Told) {
    let told = Told::default();
    let session = builder(fixture, &told).open().unwrap();
    told.clear();
    (session, told)
}

/// Sends one numbered command, which gets to the right application.
#[track_caller]
fn works(session: &mut Session, number: u32) {
    let answer = session.run(|card| card.transmit(&numbered(APPLICATION, number)));
    assert_eq!(answer.unwrap(), OK, "command {number}");
}

/// The numbered commands that reached the card, all of them answered by their application.
fn numbers(card: &CardHandle) -> Vec<u32> {
    let log = card.log();
    let numbers = log.iter().filter_map(|exchange| {
        let (_, number) = number_of(&exchange.command)?;
        assert_ne!(exchange.response.as_deref(), Some(NOT_SELECTED), "{number}");
        Some(number)
    });
    numbers.collect()
}

/// The error, at the deadline and soon after.
#[track_caller]
fn assert_deadline<T: std::fmt::Debug, E: std::fmt::Debug>(
    call: impl FnOnce() -> Result<T, SessionError<E>>,
) -> Option<Error> {
    let begun = Instant::now();
    let error = call().unwrap_err();
    let took = begun.elapsed();
    assert!(took >= LIMIT, "{error:?} after {took:?}");
    assert!(took < LIMIT + SOON / 4, "{error:?} after {took:?}");
    match error {
        SessionError::Deadline { cause } => cause,
        error => panic!("{error:?}"),
    }
}

#[test]
fn sessions_can_be_sent_to_other_threads_and_shown() {
    fn sent<T: Send + std::fmt::Debug>() {}
    sent::<Session>();
    sent::<SessionBuilder>();
    sent::<SessionError<Error>>();
    fn error<T: std::error::Error + Send + Sync + 'static>() {}
    error::<SessionError<Error>>();
}

#[test]
fn a_session_survives_resets_by_others() {
    isolated(|| {
        let fixture = fixture_with(card());
        let (mut session, told) = open(&fixture);
        for (number, initialization) in [Initialization::Reset, Initialization::Unpower]
            .into_iter()
            .enumerate()
        {
            told.clear();
            let mut other = fixture.connect();
            reconnect(&mut other, initialization).unwrap();
            let mut calls = 0;
            let answer = session.run(|card| {
                calls += 1;
                card.transmit(&numbered(APPLICATION, number as u32))
            });
            assert_eq!((answer.unwrap().as_slice(), calls), (OK, 1));
            assert_eq!(told.recoveries(), [Recovery::Reconnect]);
            assert_eq!((told.setups(), told.connects()), (1, 0));
            assert_eq!(told.count(|event| *event == SessionEvent::Identified), 1);
        }
        assert_eq!(numbers(&fixture.card), [0, 1]);
    });
}

#[test]
fn a_session_waits_for_a_card_that_was_pulled() {
    isolated(|| {
        let fixture = fixture_with(card());
        let (mut session, told) = open(&fixture);
        let slot = fixture.sandbox.reader(0);
        for number in 0..2 {
            told.clear();
            slot.remove().unwrap();
            let running = in_background(move || {
                works(&mut session, number);
                session
            });
            told.wait(|event| *event == SessionEvent::WaitingForCard);
            assert_blocked(&running);
            slot.insert(&fixture.card).unwrap();
            session = finish(&running);
            assert_eq!(told.recoveries(), [Recovery::InsertCard]);
            assert_eq!((told.setups(), told.connects()), (1, 1));
        }
        // Out and in again between two runs.
        slot.remove().unwrap();
        slot.insert(&fixture.card).unwrap();
        works(&mut session, 2);
        assert_eq!(numbers(&fixture.card), [0, 1, 2]);
    });
}

#[test]
fn another_card_is_refused_until_the_right_one_is_back() {
    isolated(|| {
        let fixture = fixture_with(card());
        let (mut session, told) = open(&fixture);
        assert_eq!(session.identity(), Some(&b"one"[..]));
        let slot = fixture.sandbox.reader(0);
        slot.remove().unwrap();
        let other = slot.insert(Applications::card(b"two")).unwrap();
        for _ in 0..2 {
            let refused = session.run(|card| card.transmit(&numbered(APPLICATION, 0)));
            match refused.unwrap_err() {
                SessionError::WrongCard { expected, found } => {
                    assert_eq!((&expected[..], &found[..]), (&b"one"[..], &b"two"[..]));
                }
                error => panic!("{error:?}"),
            }
        }
        assert_eq!(told.setups(), 0, "nothing is done to a wrong card");
        slot.remove().unwrap();
        slot.insert(&fixture.card).unwrap();
        works(&mut session, 1);
        assert_eq!((numbers(&other), numbers(&fixture.card)), (vec![], vec![1]));

        // Unless any is fine from now on.
        slot.remove().unwrap();
        slot.insert(&other).unwrap();
        session.forget_identity();
        works(&mut session, 2);
        assert_eq!(session.identity(), Some(&b"two"[..]));
    });
}

#[test]
fn the_right_card_is_found_in_another_reader() {
    isolated(|| {
        let fixture = fixture_with(card());
        let mut session = Session::builder(&fixture.context)
            .setup(set_up)
            .identity(serial)
            .deadline(Some(LONG))
            .open()
            .unwrap();
        let (first, second) = (fixture.sandbox.reader(0), fixture.sandbox.reader(1));
        first.remove().unwrap();
        let other = first.insert(Applications::card(b"two")).unwrap();
        second.insert(&fixture.card).unwrap();
        works(&mut session, 0);
        assert_eq!(session.reader(), Some(&fixture.empty_reader));
        // With a wrong card alone, it fails; where it looks first does not change.
        second.remove().unwrap();
        let wrong = session.run(|card| card.transmit(&numbered(APPLICATION, 1)));
        assert!(matches!(wrong, Err(SessionError::WrongCard { .. })));
        second.insert(&fixture.card).unwrap();
        works(&mut session, 2);
        assert_eq!(
            (numbers(&other), numbers(&fixture.card)),
            (vec![], vec![0, 2])
        );
    });
}

#[test]
fn a_session_survives_the_service() {
    isolated(|| {
        let fixture = fixture_with(card());
        let (mut session, told) = open(&fixture);
        fixture.sandbox.restart().unwrap();
        works(&mut session, 0);
        assert_eq!(told.recoveries(), [Recovery::ConnectAgain]);
        told.clear();

        fixture.sandbox.kill().unwrap();
        let running = in_background(move || {
            works(&mut session, 1);
            session
        });
        told.wait(|event| {
            let later = Recovery::RetryLater;
            matches!(event, SessionEvent::Recovering { recovery, .. } if *recovery == later)
        });
        assert_blocked(&running);
        fixture.sandbox.restart().unwrap();
        finish(&running);
        assert_eq!(numbers(&fixture.card), [0, 1]);
        assert_eq!(told.setups(), 1);
    });
}

#[test]
fn a_session_waits_for_a_program_that_has_the_card_to_itself() {
    isolated(|| {
        let fixture = fixture_with(card());
        let (mut session, told) = open(&fixture);
        // The session loses its connection, and somebody else is faster.
        fixture.sandbox.restart().unwrap();
        let exclusive = fixture.connect_exclusive();
        let running = in_background(move || works(&mut session, 0));
        assert_blocked(&running);
        drop(exclusive);
        finish(&running);
        let [first, later @ ..] = &told.recoveries()[..] else {
            panic!("no recovery");
        };
        assert_eq!(*first, Recovery::ConnectAgain);
        assert!(!later.is_empty() && later.iter().all(|it| *it == Recovery::RetryLater));
        assert_eq!(numbers(&fixture.card), [0]);
    });
}

/// pcsc-lite resets the card of a process that ends inside a transaction.
#[test]
fn a_session_survives_a_process_that_dies_in_a_transaction() {
    isolated_with_peer(
        |peers| {
            let fixture = fixture_with(card());
            let (mut session, _) = open(&fixture);
            for number in 0..10 {
                let peer = peers.spawn();
                peer.send(&fixture.reader.to_string());
                assert_eq!(peer.recv(), "held");
                // Now and then it is a new connection that meets the reset.
                if number % 2 == 1 {
                    (session, _) = open_later(&fixture, || peer.kill());
                    works(&mut session, number);
                } else {
                    let running = in_background(move || {
                        works(&mut session, number);
                        session
                    });
                    assert_blocked(&running);
                    peer.kill();
                    session = finish(&running);
                }
            }
            assert_eq!(numbers(&fixture.card), (0..10).collect::<Vec<_>>());
        },
        |link| {
            let reader = ReaderName::new(link.recv()).unwrap();
            let context = Context::establish().unwrap();
            let mut card = context.connect(&reader, ConnectOptions::new()).unwrap();
            let _transaction = card.transaction().unwrap();
            link.send("held");
            link.recv();
        },
    );
}

/// Opens a session that has to wait until `release`.
fn open_later(fixture: &Fixture, release: impl FnOnce()) -> (Session, Told) {
    let told = Told::default();
    let builder = builder(fixture, &told);
    let opening = in_background(move || builder.open().unwrap());
    assert_blocked(&opening);
    release();
    (finish(&opening), told)
}

/// RAW stays active until the card loses its power or is reset.
#[test]
fn a_session_survives_another_protocol() {
    isolated(|| {
        let fixture = fixture_with(card());
        let (mut session, told) = open(&fixture);
        let mut other = fixture.connect();
        other
            .reconnect(ShareMode::Shared, Protocols::RAW, Initialization::Reset)
            .unwrap();
        works(&mut session, 0);
        let reset = told.count(|event| {
            matches!(
                event,
                SessionEvent::Reconnected {
                    initialization: Initialization::Reset,
                    ..
                }
            )
        });
        assert_eq!(reset, 1, "{:?}", told.all());
        assert_eq!(numbers(&fixture.card), [0]);
    });
}

/// The work of the next tests: three numbered commands, from `first` on.
fn three(card: &mut SessionCard<'_>, first: u32) -> Result<usize> {
    for number in first..first + 3 {
        assert_eq!(card.transmit(&numbered(APPLICATION, number))?, OK);
    }
    Ok(card.completed())
}

#[test]
fn interrupted_work_is_not_repeated() {
    isolated(|| {
        let faulty = Applications::card_with(b"one", [(2, Reply::Drop), (5, Reply::Drop)]);
        let fixture = fixture_with(faulty);
        let (mut session, told) = open(&fixture);
        let mut calls = 0;
        let interrupted = session.run(|card| {
            calls += 1;
            three(card, 0)
        });
        match interrupted.unwrap_err() {
            SessionError::Interrupted {
                error,
                completed,
                work,
            } => {
                assert_eq!((calls, completed), (1, 1));
                assert!(error.command_may_have_run());
                assert_eq!(work, error);
            }
            error => panic!("{error:?}"),
        }
        assert_eq!(numbers(&fixture.card), [0, 1], "and never 2");

        // The next run recovers, and sets up anew.
        let slot = fixture.sandbox.reader(0);
        slot.remove().unwrap();
        slot.insert(&fixture.card).unwrap();
        told.clear();
        works(&mut session, 10);
        assert_eq!(told.setups(), 1);
        assert!(!told.recoveries().is_empty() || told.connects() == 1);

        // Unless the work says that it can be repeated.
        let card = fixture.card.clone();
        let running = in_background(move || {
            let mut calls = 0;
            let completed = session.run_restartable(|card| {
                calls += 1;
                three(card, 20)
            });
            (completed.unwrap(), calls)
        });
        card.wait_until(SOON, |stats| stats.commands >= 5 && !stats.powered)
            .unwrap();
        slot.remove().unwrap();
        slot.insert(&card).unwrap();
        assert_eq!(finish(&running), (3, 2));
        assert_eq!(numbers(&card), [0, 1, 10, 20, 21, 20, 21, 22]);
    });
}

#[test]
fn work_that_fails_by_itself_is_told_apart() {
    isolated(|| {
        let fixture = fixture_with(card());
        let (mut session, told) = open(&fixture);
        let failed = session.run(|card| {
            card.transmit(&numbered(APPLICATION, 0)).unwrap();
            Err::<(), _>("no")
        });
        assert!(matches!(failed.unwrap_err(), SessionError::Work("no")));

        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _ = session.run(|_| -> Result<()> { panic!("on purpose") });
        }));
        assert!(panicked.is_err());
        works(&mut session, 1);
        // The transaction has ended.
        let mut other = fixture.connect();
        let answer = in_background(move || other.transmit(&select(1)));
        assert_eq!(finish(&answer).unwrap(), OK);
        assert!(told.recoveries().is_empty());

        // A call that is wrong is nothing to recover from.
        let wrong = session.run(|card| card.transmit(&[]));
        let wrong = wrong.unwrap_err();
        assert!(matches!(&wrong, SessionError::Card(_)), "{wrong:?}");
        assert_eq!(wrong.card_error().unwrap().recovery(), Recovery::FixCall);

        // A failure that the work can do without is none, and the next run sets up.
        told.clear();
        let status = session.run(|card| {
            fixture.sandbox.restart().unwrap();
            let _ = card.status();
            Ok::<_, Error>(())
        });
        assert!(status.is_ok());
        works(&mut session, 2);
        assert_eq!(told.recoveries(), [Recovery::ConnectAgain]);
        assert_eq!(numbers(&fixture.card), [0, 1, 2]);
    });
}

#[test]
fn hooks_that_fail_by_themselves_are_told_apart() {
    isolated(|| {
        let fixture = fixture_with(card());
        let refused = Session::builder(&fixture.context)
            .setup(|_| Err("not this card".into()))
            .open();
        match refused.unwrap_err() {
            SessionError::Hook(error) => assert_eq!(error.to_string(), "not this card"),
            error => panic!("{error:?}"),
        }
    });
}

#[test]
fn the_set_up_runs_when_it_is_told_to() {
    isolated(|| {
        let fixture = fixture_with(card());
        // Set-ups after open, two runs, a reset by another and two runs.
        for (when, share_mode, expected) in [
            (SetUpWhen::Always, ShareMode::Exclusive, [1, 2, 3, 4, 5]),
            (SetUpWhen::OnLoss, ShareMode::Exclusive, [1, 1, 1, 2, 2]),
            (SetUpWhen::OnLoss, ShareMode::Shared, [1, 2, 3, 4, 5]),
            (SetUpWhen::OnReset, ShareMode::Shared, [1, 1, 1, 2, 2]),
        ] {
            let told = Told::default();
            let mut session = builder(&fixture, &told)
                .connect_options(ConnectOptions::new().share_mode(share_mode))
                .setup_when(when)
                .open()
                .unwrap();
            let mut seen = vec![told.setups()];
            for round in 0..2 {
                for number in 0..2 {
                    works(&mut session, number);
                    seen.push(told.setups());
                }
                if round == 0 {
                    match share_mode {
                        ShareMode::Shared => fixture.reset_by_another(),
                        // Nobody else can, while the service lives.
                        ShareMode::Exclusive => fixture.sandbox.restart().unwrap(),
                    }
                }
            }
            assert_eq!(seen, expected, "{when:?} {share_mode:?}");
        }
    });
}

/// Another program selects its own application between two runs.
#[test]
fn commands_never_get_to_the_application_of_another_program() {
    isolated(|| {
        let fixture = fixture_with(card());
        let (mut session, _) = open(&fixture);
        let mut other = fixture.connect();
        for number in 0..5 {
            assert_eq!(other.transmit(&select(APPLICATION + 1)).unwrap(), OK);
            works(&mut session, number);
        }
        assert_eq!(numbers(&fixture.card), [0, 1, 2, 3, 4]);
    });
}

#[test]
fn deadlines_hold_whatever_is_waited_for() {
    isolated(|| {
        let fixture = fixture_with(card());
        let limited = || {
            builder(&fixture, &Told::default())
                .deadline(Some(LIMIT))
                .open()
        };
        let no_op = |session: &mut Session| session.run(|card| card.transmit(COMMAND));
        let mut session = limited().unwrap();

        // Another program's transaction, for a run and for an open.
        let mut other = fixture.connect();
        let transaction = other.transaction().unwrap();
        let cause = assert_deadline(|| no_op(&mut session)).unwrap();
        assert_eq!(cause.kind(), ErrorKind::DeadlineExceeded);
        assert_deadline(limited);
        transaction.end(Disposition::Leave).unwrap();
        drop(other);
        works(&mut session, 0);

        // A card.
        let slot = fixture.sandbox.reader(0);
        slot.remove().unwrap();
        let cause = assert_deadline(|| no_op(&mut session)).unwrap();
        assert_eq!(cause.kind(), ErrorKind::CardRemoved);
        let cause = assert_deadline(limited).unwrap();
        assert_eq!(cause.kind(), ErrorKind::NoCard);
        slot.insert(&fixture.card).unwrap();
        works(&mut session, 1);

        // An exclusive holder.
        fixture.sandbox.restart().unwrap();
        let exclusive = fixture.connect_exclusive();
        let cause = assert_deadline(|| no_op(&mut session)).unwrap();
        assert_eq!(cause.kind(), ErrorKind::SharingViolation);
        drop(exclusive);
        works(&mut session, 2);

        // A service that is stopped, while a connection is open and while none is.
        fixture.sandbox.pause().unwrap();
        for _ in 0..2 {
            assert_deadline(|| no_op(&mut session));
        }
        assert_deadline(limited);
        let begun = Instant::now();
        drop(session);
        assert!(begun.elapsed() < SOON / 4);
        fixture.sandbox.resume().unwrap();
        let mut session = limited().unwrap();
        fixture.sandbox.pause().unwrap();
        // The connection is open and nothing was given up yet.
        let begun = Instant::now();
        drop(session);
        assert!(begun.elapsed() < SOON / 4);
        fixture.sandbox.resume().unwrap();
        session = limited().unwrap();

        // A service that is not there.
        fixture.sandbox.kill().unwrap();
        let cause = assert_deadline(|| no_op(&mut session)).unwrap();
        assert_eq!(cause.kind(), ErrorKind::ServiceGone);
        fixture.sandbox.restart().unwrap();
        works(&mut session, 3);
        assert_eq!(numbers(&fixture.card), [0, 1, 2, 3]);
    });
}

#[test]
fn a_deadline_in_the_middle_of_the_work_interrupts_it() {
    isolated(|| {
        let slow = Applications::card(b"one").delay(LIMIT / 4);
        let fixture = fixture_with(slow);
        let told = Told::default();
        let builder = builder(&fixture, &told).identity(|_| Ok(Vec::new()));
        let mut session = builder.deadline(Some(LIMIT)).open().unwrap();
        let interrupted = session.run(|card| -> Result<()> {
            for number in 0.. {
                card.transmit(&numbered(APPLICATION, number))?;
            }
            Ok(())
        });
        match interrupted.unwrap_err() {
            SessionError::Interrupted {
                error, completed, ..
            } => {
                assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
                assert!((1..4).contains(&completed), "{completed}");
            }
            error => panic!("{error:?}"),
        }
        works(&mut session, 100);
    });
}

#[test]
fn a_call_that_was_given_up_is_recovered_by_connecting_again() {
    isolated(|| {
        let fixture = fixture_with(card());
        let told = Told::default();
        let options = ConnectOptions::new().timeout(Some(LIMIT));
        let builder = builder(&fixture, &told).connect_options(options);
        let mut session = builder.open().unwrap();
        let mut other = fixture.connect();
        let transaction = other.transaction().unwrap();
        told.clear();
        let running = in_background(move || works(&mut session, 0));
        told.wait(|event| matches!(event, SessionEvent::Recovering { attempt: 2, .. }));
        transaction.end(Disposition::Leave).unwrap();
        finish(&running);
        assert!(
            told.recoveries()
                .iter()
                .all(|it| *it == Recovery::ConnectAgain)
        );
        assert_eq!(numbers(&fixture.card), [0]);
    });
}

#[test]
fn attempts_are_limited() {
    isolated(|| {
        let fixture = fixture_with(card());
        let told = Told::default();
        let mut session = builder(&fixture, &told).attempts(1).open().unwrap();
        fixture.reset_by_another();
        works(&mut session, 0);
        told.clear();
        let failed = session.run(|card| {
            // Each time again.
            fixture.sandbox.restart().unwrap();
            card.transmit(&numbered(APPLICATION, 1))
        });
        let failed = failed.unwrap_err();
        // Nothing is known of the card that the command was for.
        let gone = Some(ErrorKind::ServiceGone);
        assert_eq!(failed.card_error().map(Error::kind), gone, "{failed:?}");
        assert!(told.recoveries().len() <= 1);
        works(&mut session, 2);
    });
}

#[test]
fn a_session_need_not_wait_for_a_card() {
    isolated(|| {
        let fixture = fixture_with(card());
        let told = Told::default();
        let builder = builder(&fixture, &told).wait_for_card(false);
        let mut session = builder.open().unwrap();
        let slot = fixture.sandbox.reader(0);
        slot.remove().unwrap();
        let error = session.run(|card| card.transmit(COMMAND)).unwrap_err();
        assert!(matches!(&error, SessionError::Card(_)), "{error:?}");
        assert_eq!(error.card_error().map(Error::kind), Some(ErrorKind::NoCard));
        slot.insert(&fixture.card).unwrap();
        works(&mut session, 0);
        slot.remove().unwrap();
        slot.insert(&fixture.card).unwrap();
        works(&mut session, 1);
    });
}

#[test]
fn any_reader_will_do_and_the_last_one_is_preferred() {
    isolated(|| {
        let fixture = fixture_with(card());
        let second = fixture.sandbox.reader(1).insert(card()).unwrap();
        let empty = fixture.empty_reader.clone();
        let wanted = CardFilter::new().matching(move |state| *state.reader() == empty);
        let builder = Session::builder(&fixture.context).setup(set_up);
        let mut session = builder.cards(wanted).open().unwrap();
        assert_eq!(session.reader(), Some(&fixture.empty_reader));
        works(&mut session, 0);
        let mut session = Session::builder(&fixture.context)
            .setup(set_up)
            .open()
            .unwrap();
        assert_eq!(session.reader(), Some(&fixture.reader));
        fixture.sandbox.reader(0).remove().unwrap();
        works(&mut session, 1);
        assert_eq!(session.reader(), Some(&fixture.empty_reader));
        fixture.sandbox.reader(0).insert(&fixture.card).unwrap();
        fixture.sandbox.restart().unwrap();
        works(&mut session, 2);
        assert_eq!(session.reader(), Some(&fixture.empty_reader));
        assert_eq!(numbers(&second), [0, 1, 2]);
    });
}

#[test]
fn an_abort_stops_a_session_that_waits_for_a_card() {
    isolated(|| {
        let fixture = fixture_with(card());
        fixture.sandbox.reader(0).remove().unwrap();
        let abort = AbortHandle::new();
        let told = Told::default();
        let builder = builder(&fixture, &told)
            .deadline(None)
            .connect_options(ConnectOptions::new().abort_handle(&abort));
        let opening = in_background(move || builder.open().map(drop));
        told.wait(|event| *event == SessionEvent::WaitingForCard);
        assert_blocked(&opening);
        abort.abort();
        let error = finish(&opening).unwrap_err();
        let kind = error.card_error().map(Error::kind);
        assert_eq!(kind, Some(ErrorKind::Cancelled), "{error:?}");
    });
}

#[test]
fn without_a_deadline_a_session_waits_and_has_no_thread() {
    isolated(|| {
        let fixture = fixture_with(card());
        let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
        let before = threads();
        let told = Told::default();
        let mut session = builder(&fixture, &told).deadline(None).open().unwrap();
        assert_eq!(threads(), before);
        works(&mut session, 0);
        fixture.sandbox.reader(0).remove().unwrap();
        let running = in_background(move || works(&mut session, 1));
        assert_blocked(&running);
        fixture.sandbox.reader(0).insert(&fixture.card).unwrap();
        finish(&running);
    });
}

#[test]
fn a_session_is_kept_alive_between_runs() {
    isolated(|| {
        let fixture = fixture_with(card());
        let told = Told::default();
        let builder = builder(&fixture, &told).keep_alive(Duration::from_millis(10));
        let mut session = builder.setup_when(SetUpWhen::OnReset).open().unwrap();
        let powered_off = fixture.card.power_offs();
        told.clear();
        let (order, orders) = mpsc::channel();
        let running = in_background(move || {
            let number = session.wait_for(|time| orders.recv_timeout(time).ok());
            works(&mut session, number);
            session
        });
        // The daemon would have taken the power from a card that nobody uses.
        assert_blocked(&running);
        assert!(told.all().is_empty(), "{:?}", told.all());
        assert_eq!(fixture.card.power_offs(), powered_off);
        // What happens meanwhile is noticed before the next run.
        fixture.reset_by_another();
        told.wait(|event| *event == SessionEvent::SetUp);
        fixture.sandbox.restart().unwrap();
        told.wait(|event| matches!(event, SessionEvent::Connected { .. }));
        told.wait(|event| *event == SessionEvent::SetUp);
        order.send(5).unwrap();
        let mut session = finish(&running);
        assert_eq!(numbers(&fixture.card), [5]);
        session.keep_alive().unwrap();

        // A card or a service that is not there keeps nobody waiting.
        let slot = fixture.sandbox.reader(0);
        slot.remove().unwrap();
        let error = session.keep_alive().unwrap_err();
        assert_eq!(error.card_error().map(Error::kind), Some(ErrorKind::NoCard));
        fixture.sandbox.kill().unwrap();
        let begun = Instant::now();
        let mut waits = 0;
        session.wait_for(|time| {
            std::thread::sleep(time);
            waits += 1;
            (waits == 3).then_some(())
        });
        assert!(begun.elapsed() < SOON / 4, "{:?}", begun.elapsed());
        fixture.sandbox.restart().unwrap();
        assert!(session.keep_alive().is_err());
        slot.insert(&fixture.card).unwrap();
        session.keep_alive().unwrap();
        told.clear();
        works(&mut session, 6);
        assert!(told.all().is_empty(), "{:?}", told.all());
    });
}

#[test]
fn a_transaction_is_kept_alive_while_the_user_thinks() {
    isolated(|| {
        let fixture = fixture_with(card());
        let told = Told::default();
        let builder = builder(&fixture, &told).keep_alive(Duration::from_millis(10));
        let mut session = builder.open().unwrap();
        let slept = |time: Duration| {
            assert!(time <= Duration::from_millis(10));
            std::thread::sleep(time);
        };
        let mut waits = 0;
        let answer = session.run(|card| {
            let number = card.wait_for(|time| {
                slept(time);
                waits += 1;
                (waits == 5).then_some(waits)
            })?;
            card.transmit(&numbered(APPLICATION, number))
        });
        assert_eq!((answer.unwrap().as_slice(), waits), (OK, 5));

        // A card that is pulled ends the wait. Nothing was done yet, so the work begins again.
        let slot = fixture.sandbox.reader(0);
        let mut calls = 0;
        let answer = session.run(|card| {
            calls += 1;
            if calls == 1 {
                slot.remove().unwrap();
                let lost = card.wait_for::<()>(|time| {
                    slept(time);
                    None
                });
                slot.insert(&fixture.card).unwrap();
                lost?;
            }
            card.transmit(&numbered(APPLICATION, 6))
        });
        assert_eq!((answer.unwrap().as_slice(), calls), (OK, 2));

        // It does not go past the deadline.
        drop(session);
        let limited = builder_with_deadline(&fixture);
        let mut session = limited.open().unwrap();
        assert_deadline(|| {
            session.run(|card| {
                card.wait_for::<()>(|time| {
                    slept(time);
                    None
                })
            })
        });
        works(&mut session, 7);
        assert_eq!(numbers(&fixture.card), [5, 6, 7]);
    });
}

fn builder_with_deadline(fixture: &Fixture) -> SessionBuilder {
    builder(fixture, &Told::default())
        .deadline(Some(LIMIT))
        .keep_alive(Duration::from_millis(10))
}
