//! Sessions whose runs are futures: what becomes of one that is dropped, under several
//! executors. Recovery itself is that of the module `session`.
#![cfg(all(target_os = "linux", feature = "async"))]

mod changes;
mod held;
mod no_thread;

use std::panic::AssertUnwindSafe;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use scard::{
    AbortHandle, AsyncContext, AsyncControl, AsyncSession, AsyncTransmit, Attribute,
    ConnectOptions, ControlCode, Error, ErrorKind, Origin, Recovery, Result, SessionBuilder,
    SessionError, SessionEvent,
};
use scard_testkit::{VirtualCard, isolated};
use smol::channel::{Receiver, Sender, unbounded};
use smol::future::FutureExt;

use crate::support::applet::{Applications, SERIAL, numbered, select};
use crate::support::executor::*;
use crate::support::session::*;
use crate::support::usage::*;
use crate::support::*;

/// How long futures are polled before they are dropped, and a deadline to be exceeded.
const LIMIT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(20);

/// The events that a session reported, and a word for each.
#[derive(Clone)]
struct Told(Arc<Mutex<Vec<SessionEvent>>>, Sender<()>, Receiver<()>);

impl Default for Told {
    fn default() -> Told {
        let (sender, receiver) = unbounded();
        Told(Arc::default(), sender, receiver)
    }
}

impl Told {
    fn push(&self, event: &SessionEvent) {
        self.0.lock().unwrap().push(event.clone());
        self.1.try_send(()).unwrap();
    }

    fn take(&self) -> Vec<SessionEvent> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    /// Waits until it reports this.
    async fn wait(&self, wanted: &SessionEvent) {
        let told = async {
            while !self.0.lock().unwrap().contains(wanted) {
                self.2.recv().await.unwrap();
            }
        };
        let late = async {
            sleep(SOON).await;
            panic!("only {:?}", self.take());
        };
        told.or(late).await;
    }
}

fn builder(fixture: &Fixture, told: &Told) -> SessionBuilder {
    let told = told.clone();
    AsyncSession::builder(&AsyncContext::from(fixture.context.clone()))
        .reader(&fixture.reader)
        .setup(set_up)
        .identity(serial)
        .timeout(Some(LONG))
        .on_event(move |event| told.push(event))
}

async fn open(fixture: &Fixture) -> (AsyncSession, Told) {
    let told = Told::default();
    let session = builder(fixture, &told).open_async().await.unwrap();
    fixture.card.clear_log();
    told.take();
    (session, told)
}

/// Sends one numbered command, which reaches the right application.
async fn works(session: &mut AsyncSession, number: u32) {
    let answer = session.run(move |card| card.transmit(&numbered(APPLICATION, number)));
    assert_eq!(answer.await.unwrap(), OK, "command {number}");
}

#[test]
fn a_session_recovers_as_it_does_without_futures() {
    isolated(|| {
        everywhere(fixture_with(card()), |fixture| async move {
            let (mut session, told) = open(&fixture).await;
            assert_eq!(session.reader_name(), Some(&fixture.reader));
            assert_eq!(session.identity(), Some(&b"one"[..]));
            works(&mut session, 0).await;
            fixture.reset_by_another();
            told.take();
            works(&mut session, 1).await;
            let recoveries = told.take();
            assert!(matches!(
                recoveries[0],
                SessionEvent::Recovering {
                    recovery: Recovery::Reconnect,
                    ..
                }
            ));
            fixture.sandbox.restart().unwrap();
            session.keep_alive().await.unwrap();
            let twice = session.run_restartable(|card| {
                card.transmit(&numbered(APPLICATION, 2))?;
                card.transmit(&numbered(APPLICATION, 3))
            });
            assert_eq!(twice.await.unwrap(), OK);
            assert_eq!(numbers(&fixture.card), [0, 1, 2, 3]);

            // The result of the work is returned.
            let failed = session.run(|_| Err::<(), _>("my own reason")).await;
            match failed.unwrap_err() {
                SessionError::Work(error) => assert_eq!(error.to_string(), "my own reason"),
                error => panic!("{error:?}"),
            }

            // Another card, after forgetting the previous one.
            let slot = fixture.sandbox.reader(0);
            slot.remove().unwrap();
            slot.insert(Applications::card(b"two")).unwrap();
            let wrong = session.keep_alive().await.unwrap_err();
            assert!(matches!(wrong, SessionError::WrongCard { .. }));
            session.forget_identity();
            assert_eq!(session.identity(), None);
            session.keep_alive().await.unwrap();
            assert_eq!(session.identity(), Some(&b"two"[..]));
            slot.remove().unwrap();
            slot.insert(&fixture.card).unwrap();

            // There and back.
            session.forget_identity();
            let mut session = session.into_session().await.unwrap();
            session.run(|card| card.transmit(SERIAL)).unwrap();
            let mut session = AsyncSession::from(session);
            assert_eq!(session.identity(), Some(&b"one"[..]));
            works(&mut session, 4).await;
        });
    });
}

/// No command is sent for a run whose future is gone, and the next one works.
#[test]
fn a_dropped_run_stops_before_its_next_command() {
    isolated(|| {
        everywhere(fixture_with(card()), |fixture| async move {
            let (mut session, told) = open(&fixture).await;
            let mut expected = Vec::new();
            for round in 0..3 {
                let (first, second) = (round * 10, round * 10 + 1);
                let (arrived, arrives) = smol::channel::bounded(1);
                let (go_on, waits) = channel::<()>();
                let (result, results) = smol::channel::bounded(1);
                let waits = Mutex::new(waits);
                let run = session.run(move |card| {
                    card.transmit(&numbered(APPLICATION, first))?;
                    arrived.send_blocking(()).unwrap();
                    let _ = waits.lock().unwrap().recv();
                    let late = card.transmit(&numbered(APPLICATION, second));
                    result.send_blocking(late.clone()).unwrap();
                    late
                });
                let early = smol::future::or(async { Some(run.await) }, async {
                    arrives.recv().await.unwrap();
                    None
                });
                assert!(early.await.is_none());
                drop(go_on);
                // The work learns of it.
                let error = results.recv().await.unwrap().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Cancelled);
                assert!(!error.command_may_have_run());
                expected.push(first);
                works(&mut session, round * 10 + 2).await;
                expected.push(round * 10 + 2);
                assert_eq!(numbers(&fixture.card), expected);
                let setups = told.take();
                let setups = setups.iter().filter(|event| **event == SessionEvent::SetUp);
                assert_eq!(setups.count(), 2, "one for each run");
            }
        });
    });
}

#[test]
fn a_dropped_run_gives_up_what_is_under_way() {
    isolated(|| {
        everywhere(fixture_with(card()), |fixture| async move {
            let (mut session, told) = open(&fixture).await;
            // A card that another program holds.
            let mut holder = fixture.connect();
            let held = holder.transaction().unwrap();
            let run = session.run(|card| card.transmit(&numbered(APPLICATION, 0)));
            give_up(run, LIMIT / 4).await;
            // It is usable before the other one lets go; the session only waits for that.
            let waiting = session.run(|card| card.transmit(&numbered(APPLICATION, 1)));
            give_up(waiting, LIMIT / 4).await;
            drop(held);
            drop(holder);
            works(&mut session, 2).await;

            // A missing card.
            let slot = fixture.sandbox.reader(0);
            slot.remove().unwrap();
            let run = session.run(|card| card.transmit(&numbered(APPLICATION, 3)));
            let early = smol::future::or(async { Some(run.await) }, async {
                told.wait(&SessionEvent::WaitingForCard).await;
                None
            });
            assert!(early.await.is_none());
            slot.insert(&fixture.card).unwrap();
            works(&mut session, 4).await;

            // A missing service.
            fixture.sandbox.kill().unwrap();
            let run = session.run(|card| card.transmit(&numbered(APPLICATION, 5)));
            give_up(run, LIMIT / 4).await;
            fixture.sandbox.restart().unwrap();
            works(&mut session, 6).await;
            // And a run that has not begun.
            drop(session.run(|card| card.transmit(&numbered(APPLICATION, 7))));
            assert_eq!(numbers(&fixture.card), [2, 4, 6]);
        });
    });
}

#[test]
fn a_command_that_is_under_way_is_left() {
    isolated(|| {
        let slow = || VirtualCard::new(|_: &[u8]| OK).delay(LIMIT * 3);
        everywhere(fixture_with(slow()), |fixture| async move {
            let told = Told::default();
            let unused = usage_at_rest(&fixture);
            let session = AsyncSession::builder(&AsyncContext::from(fixture.context.clone()));
            let session = session.on_event({
                let told = told.clone();
                move |event| told.push(event)
            });
            let mut session = session.open_async().await.unwrap();
            fixture.card.clear_log();
            let before = fixture.card.commands();
            let run = session.run(|card| {
                card.transmit(COMMAND)?;
                card.transmit(COMMAND)
            });
            let arrived = fixture.card.clone();
            let early = smol::future::or(async { Some(run.await) }, async {
                let wait = move || arrived.wait_for_commands(before + 1, SOON);
                smol::unblock(wait).await.unwrap();
                None
            });
            assert!(early.await.is_none());
            told.take();
            assert_eq!(
                session.run(|card| card.transmit(COMMAND)).await.unwrap(),
                OK
            );
            // The connection went with the command, and the second one was never sent.
            assert!(matches!(told.take()[0], SessionEvent::Connected { .. }));
            assert_eq!(fixture.card.log().len(), 2);
            drop(session);
            assert_becomes(&fixture, &unused);
        });
    });
}

#[test]
fn deadlines_and_abort_handles_are_those_of_the_session() {
    isolated(|| {
        everywhere(fixture_with(card()), |fixture| async move {
            let (told, abort) = (Told::default(), AbortHandle::new());
            let options = ConnectOptions::new().abort_handle(&abort);
            // Long enough for what should succeed.
            let deadline = LIMIT * 5;
            let session = builder(&fixture, &told).timeout(Some(deadline));
            let session = session.connect_options(options).open_async();
            let mut session = session.await.unwrap();
            let mut holder = fixture.connect();
            let held = holder.transaction().unwrap();
            let begun = Instant::now();
            let late = session.run(|card| card.transmit(COMMAND)).await;
            assert!(
                matches!(late, Err(SessionError::Deadline { .. })),
                "{late:?}"
            );
            assert!(begun.elapsed() >= deadline);
            // A dropped run stops only itself.
            give_up(session.run(|card| card.transmit(COMMAND)), LIMIT / 4).await;
            assert!(!abort.is_aborted());
            drop(held);
            works(&mut session, 0).await;
            // The handle stops it for good.
            let held = holder.transaction().unwrap();
            let (answer, ()) = smol::future::zip(
                session.run(|card| card.transmit(&numbered(APPLICATION, 1))),
                async {
                    sleep(LIMIT / 4).await;
                    abort.abort();
                },
            )
            .await;
            drop(held);
            for answer in [answer, session.run(|card| card.transmit(COMMAND)).await] {
                let error = answer.unwrap_err();
                let error = error.error().unwrap();
                assert_eq!(error.kind(), ErrorKind::Cancelled);
            }
            let stopped = ConnectOptions::new().abort_handle(&abort);
            let session = builder(&fixture, &told).connect_options(stopped);
            assert!(session.open_async().await.is_err());
            fixture.card.clear_log();
        });
    });
}

#[test]
fn a_panic_of_the_work_goes_to_its_caller_and_the_session_works_on() {
    isolated(|| {
        everywhere(fixture_with(card()), |fixture| async move {
            let (mut session, _) = open(&fixture).await;
            let run = session.run(|card| -> Result<()> {
                card.transmit(&numbered(APPLICATION, 0))?;
                panic!("on purpose")
            });
            let panic = AssertUnwindSafe(run).catch_unwind().await.unwrap_err();
            assert_eq!(panic.downcast_ref(), Some(&"on purpose"));
            works(&mut session, 1).await;
            assert_eq!(numbers(&fixture.card), [0, 1]);
            // The panic of an abandoned run is discarded.
            let (went, goes) = smol::channel::bounded::<()>(1);
            let run = session.run(move |_| -> Result<()> {
                let _ = goes.recv_blocking();
                panic!("on purpose")
            });
            give_up(run, LIMIT / 10).await;
            drop(went);
            works(&mut session, 2).await;
        });
    });
}

#[test]
fn opening_can_be_dropped() {
    isolated(|| {
        everywhere(fixture_with(card()), |fixture| async move {
            let unused = usage_at_rest(&fixture);
            let told = Told::default();
            let slot = fixture.sandbox.reader(0);
            slot.remove().unwrap();
            let early = smol::future::or(
                async { Some(builder(&fixture, &told).open_async().await) },
                async {
                    told.wait(&SessionEvent::WaitingForCard).await;
                    None
                },
            );
            assert!(early.await.is_none());
            slot.insert(&fixture.card).unwrap();
            let (mut session, _) = open(&fixture).await;
            works(&mut session, 0).await;
            let mut holder = fixture.connect();
            let held = holder.transaction().unwrap();
            give_up(builder(&fixture, &told).open_async(), LIMIT / 4).await;
            drop(held);
            drop(holder);
            drop(session);
            assert_becomes(&fixture, &unused);
            assert_eq!(numbers(&fixture.card), [0]);
        });
    });
}

#[test]
fn the_executor_goes_on_while_a_session_waits_and_ends() {
    isolated(|| {
        let fixture = fixture_with(card());
        let unused = usage_at_rest(&fixture);
        current_thread().block_on(async {
            let ticks = Ticks::start();
            let (mut session, told) = open(&fixture).await;
            fixture.sandbox.reader(0).remove().unwrap();
            let running = tokio::spawn(async move {
                works(&mut session, 0).await;
                session
            });
            told.wait(&SessionEvent::WaitingForCard).await;
            ticks.go_on(20).await;
            let inserted = fixture.sandbox.reader(0).insert(&fixture.card);
            inserted.unwrap();
            let mut session = running.await.unwrap();
            // With a stopped daemon, whatever waits for it would wait forever.
            fixture.sandbox.pause().unwrap();
            let stuck = session.run(|card| card.transmit(COMMAND));
            assert!(tokio::time::timeout(LIMIT, stuck).await.is_err());
            drop(session);
            ticks.go_on(20).await;
            fixture.sandbox.resume().unwrap();
            // Without a deadline the end of the connection has none, either. One session has a
            // thread, the other has had none so far.
            let endless = || builder(&fixture, &told).timeout(None).open_async();
            let used = endless().await.unwrap();
            let unused = endless().await.unwrap().into_session().await.unwrap();
            let unused = AsyncSession::from(unused);
            fixture.sandbox.pause().unwrap();
            drop((used, unused));
            ticks.go_on(20).await;
            fixture.sandbox.resume().unwrap();
        });
        assert_becomes(&fixture, &unused);
    });
}

/// Hooks, the work and the program use the errors of `anyhow`.
#[test]
fn errors_of_anyhow_go_through_a_session() {
    async fn program(session: &mut AsyncSession, number: u32) -> anyhow::Result<usize> {
        let run = session.run(move |card| -> anyhow::Result<usize> {
            let answer = card.transmit(&numbered(APPLICATION, number));
            anyhow::ensure!(answer.context("cannot send")? == OK, "refused");
            Ok(card.completed())
        });
        Ok(run.await?)
    }
    isolated(|| {
        everywhere(fixture_with(card()), |fixture| async move {
            let builder = builder(&fixture, &Told::default());
            let mut session = builder
                .setup(|card| -> anyhow::Result<()> {
                    let answer = card.transmit(&select(APPLICATION))?;
                    anyhow::ensure!(answer == OK, "no application");
                    Ok(())
                })
                .identity(|card| card.transmit(SERIAL).context("no serial number"))
                .open_async()
                .await
                .unwrap();
            assert_eq!(program(&mut session, 0).await.unwrap(), 1);
            fixture.reset_by_another();
            assert_eq!(program(&mut session, 1).await.unwrap(), 1);

            let late = session.run(|_| -> anyhow::Result<()> { anyhow::bail!("no") });
            let error = anyhow::Error::from(late.await.unwrap_err());
            assert_eq!(format!("{error:#}"), "the work failed: no");
            let refused = session.run(|card| card.transmit(&[]).context("no command"));
            let error = anyhow::Error::from(refused.await.unwrap_err());
            let found = Error::find(error.as_ref()).unwrap();
            assert_eq!(found.kind(), ErrorKind::InvalidArgument);
            let text = format!("the session cannot recover: {found}");
            assert_eq!(format!("{error:#}"), text);
        });
    });
}
