//! Sessions recover from what happens to cards, and no command reaches a card twice.
#![cfg(target_os = "linux")]

mod candidates;
mod errors;
mod guard;
mod limits;
mod login;
mod parameters;
mod recovery;
mod release;
mod silence;
mod upkeep;
mod work;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use scard::{
    AbortHandle, BoxError, CardFilter, ConnectOptions, Context, Control, ControlCode, Disposition,
    Error, ErrorKind, Initialization, Protocol, Protocols, ReaderName, Recovery, Result,
    ReturnCode, Session, SessionBuilder, SessionCard, SessionError, SessionEvent, SetUpWhen,
    ShareMode,
};
use scard_testkit::{Driver, IfdCall, IfdError, Reply, Sandbox, atr, isolated, isolated_with_peer};

use crate::support::applet::{Applications, numbered, select};
use crate::support::session::*;
use crate::support::*;

/// A deadline to be exceeded, one to be exceeded after something that should succeed, and one that
/// is not exceeded.
const LIMIT: Duration = Duration::from_millis(300);
const DEADLINE: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(20);

/// The events that a session reported.
#[derive(Clone, Default)]
struct Told(Arc<(Mutex<Vec<SessionEvent>>, Condvar)>);

impl Told {
    fn push(&self, event: &SessionEvent) {
        self.0.0.lock().unwrap().push(event.clone());
        self.0.1.notify_all();
    }

    fn all(&self) -> Vec<SessionEvent> {
        self.0.0.lock().unwrap().clone()
    }

    fn clear(&self) {
        self.0.0.lock().unwrap().clear();
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

    fn reconnects(&self) -> usize {
        self.count(|event| matches!(event, SessionEvent::Reconnected { .. }))
    }

    fn recoveries(&self) -> Vec<Recovery> {
        let recovery = |event| match event {
            SessionEvent::Recovering { recovery, .. } => Some(recovery),
            _ => None,
        };
        self.all().into_iter().filter_map(recovery).collect()
    }

    /// Waits until it reports this.
    #[track_caller]
    fn wait(&self, wanted: impl Fn(&SessionEvent) -> bool) {
        let (events, more) = &*self.0;
        let missing = |events: &mut Vec<SessionEvent>| !events.iter().any(&wanted);
        let events = events.lock().unwrap();
        let (events, _) = more.wait_timeout_while(events, SOON, missing).unwrap();
        assert!(events.iter().any(&wanted), "only {events:?}");
    }
}

fn builder(fixture: &Fixture, told: &Told) -> SessionBuilder {
    let told = told.clone();
    Session::builder(&fixture.context)
        .reader(&fixture.reader)
        .setup(set_up)
        .identity(serial)
        .timeout(Some(LONG))
        .on_event(move |event| told.push(event))
}

fn open(fixture: &Fixture) -> (Session, Told) {
    let told = Told::default();
    let session = builder(fixture, &told).open().unwrap();
    told.clear();
    (session, told)
}

/// Sends one numbered command, which reaches the right application.
#[track_caller]
fn works(session: &mut Session, number: u32) {
    let answer = session.run(|card| card.transmit(&numbered(APPLICATION, number)));
    assert_eq!(answer.unwrap(), OK, "command {number}");
}

/// The error, at the deadline and soon after.
#[track_caller]
fn assert_deadline<T: std::fmt::Debug>(
    deadline: Duration,
    call: impl FnOnce() -> Result<T, SessionError>,
) -> Option<Error> {
    let begun = Instant::now();
    let error = call().unwrap_err();
    let took = begun.elapsed();
    assert!(took >= deadline, "{error:?} after {took:?}");
    assert!(took < deadline + SOON / 4, "{error:?} after {took:?}");
    match error {
        SessionError::Deadline { cause, .. } => cause,
        error => panic!("{error:?}"),
    }
}

#[test]
fn sessions_can_be_sent_to_other_threads_and_shown() {
    fn sent<T: Send + std::fmt::Debug>() {}
    sent::<Session>();
    sent::<SessionBuilder>();
    sent::<SessionError>();
    fn error<T: std::error::Error + Send + Sync + 'static>() {}
    error::<SessionError>();
}

fn builder_with_upkeep(fixture: &Fixture) -> SessionBuilder {
    builder(fixture, &Told::default()).keep_alive(Duration::from_millis(10))
}
