//! Programs that start before the service does.
#![cfg(target_os = "linux")]

use std::sync::mpsc::Receiver;
use std::time::Duration;

use scard::{
    CardFilter, Context, ContextOptions, ErrorKind, Event, MonitorOptions, Result, ReturnCode,
    Session,
};
use scard_testkit::isolated;

use crate::support::*;

/// A missing service, and a context created without it.
fn not_there() -> (Fixture, Context) {
    let fixture = fixture();
    fixture.sandbox.kill().unwrap();
    (fixture, Context::lazy())
}

/// Calls that wait for the service, and work once it starts.
#[track_caller]
fn has_it_later<T>(fixture: &Fixture, call: &Receiver<T>) -> T {
    assert_blocked(call);
    fixture.sandbox.restart().unwrap();
    finish(call)
}

#[test]
fn a_context_is_made_without_any_call() {
    isolated(|| {
        // There has been no service yet.
        let context = Context::lazy();
        let fixture = fixture();
        assert_eq!(context.readers().unwrap().len(), 2);
        assert!(context.is_valid().unwrap());
        fixture.sandbox.kill().unwrap();
        for lazy in [
            ContextOptions::new(),
            ContextOptions::new().timeout(Some(SOON)),
        ] {
            let context = lazy.lazy();
            let error = context.readers().unwrap_err();
            assert_eq!(error.code(), ReturnCode::E_NO_SERVICE);
            assert_eq!(error.kind(), ErrorKind::ServiceGone);
            fixture.sandbox.restart().unwrap();
            assert_eq!(context.readers().unwrap().len(), 2);
            fixture.sandbox.kill().unwrap();
        }
        context.release().unwrap_err();
        Context::lazy().release().unwrap();
    });
}

#[test]
fn a_monitor_begins_before_the_service() {
    isolated(|| {
        let (fixture, context) = not_there();
        let mut monitor = context.monitor(MonitorOptions::new()).unwrap();
        let first = monitor.next_timeout(SOON).unwrap();
        let Event::ServiceLost { error, .. } = &first else {
            panic!("{first:?}");
        };
        assert_eq!(error.code(), ReturnCode::E_NO_SERVICE);
        let inserted = in_background(move || {
            monitor.find(|event| matches!(event, Event::CardInserted { .. }))
        });
        let inserted = has_it_later(&fixture, &inserted).unwrap();
        assert_eq!(inserted.reader_name(), Some(&fixture.reader));
    });
}

#[test]
fn a_wait_for_a_card_begins_before_the_service() {
    isolated(|| {
        let (fixture, context) = not_there();
        let waits = context.clone();
        let found = in_background(move || waits.wait_for_card(&CardFilter::new(), Some(SOON)));
        let found = has_it_later(&fixture, &found).unwrap();
        assert_eq!(*found.reader_name(), fixture.reader);
        // Without a service there is no card.
        fixture.sandbox.kill().unwrap();
        let limit = Some(Duration::from_secs(1));
        context.wait_for_removal(&CardFilter::new(), limit).unwrap();
    });
}

#[test]
fn a_session_begins_before_the_service() {
    isolated(|| {
        let (fixture, context) = not_there();
        let answer: Receiver<Result<Vec<u8>, String>> = in_background(move || {
            let session = Session::builder(&context).timeout(Some(SOON));
            let mut session = session.open().map_err(|error| format!("{error:#}"))?;
            let answer = session.run(|card| card.transmit(COMMAND));
            answer.map_err(|error| format!("{error:#}"))
        });
        assert_eq!(has_it_later(&fixture, &answer).as_deref(), Ok(OK));
    });
}

#[cfg(feature = "async")]
mod futures {
    use scard::AsyncContext;

    use super::*;
    use crate::support::executor::block_on;

    #[test]
    fn a_wait_for_a_card_begins_before_the_service() {
        isolated(|| {
            let (fixture, _) = not_there();
            let context = AsyncContext::lazy();
            let error = block_on(context.readers()).unwrap_err();
            assert_eq!(error.code(), ReturnCode::E_NO_SERVICE);
            let found = in_background(move || {
                block_on(context.wait_for_card(&CardFilter::new(), Some(SOON)))
            });
            let found = has_it_later(&fixture, &found).unwrap();
            assert_eq!(*found.reader_name(), fixture.reader);
        });
    }
}
