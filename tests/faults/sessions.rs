//! Sessions whose reader is unplugged and plugged in again, simulated by one answer of a service
//! that knows the reader again afterwards.

use std::sync::{Arc, Mutex};

use scard::{Operation, ReturnCode, Session, SessionError, SessionEvent};
use scard_testkit::isolated;

use crate::standin::{disarm, inject};
use crate::support::{COMMAND, Fixture, OK, fixture};
use crate::{fault, long};

/// A session with the card, and its events.
fn session(fixture: &Fixture) -> (Session, Arc<Mutex<Vec<SessionEvent>>>) {
    let events = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&events);
    let session = Session::builder(&fixture.context)
        .reader(&fixture.reader)
        // Without a time-out, calls are made on this thread.
        .timeout(None)
        .on_event(move |event| sink.lock().unwrap().push(event.clone()))
        .open()
        .unwrap();
    events.lock().unwrap().clear();
    (session, events)
}

fn is_connected_again(events: &Mutex<Vec<SessionEvent>>) -> bool {
    let events = events.lock().unwrap();
    events
        .iter()
        .any(|event| matches!(event, SessionEvent::Connected { .. }))
}

#[test]
fn a_session_connects_again_when_its_reader_is_back() {
    isolated(|| {
        let fixture = fixture();
        for (operation, code) in [
            (Operation::BeginTransaction, ReturnCode::E_INVALID_VALUE),
            (Operation::Transmit, ReturnCode::E_INVALID_VALUE),
        ] {
            let (mut session, events) = session(&fixture);
            fixture.card.clear_log();
            inject(fault(operation, long(code.raw())));
            let answer = session.run(|card| card.transmit(COMMAND));
            assert!(!disarm(), "{operation} was not called");
            assert_eq!(answer.unwrap(), OK);
            assert!(is_connected_again(&events), "{operation}: {events:?}");
            assert_eq!(fixture.card.log().len(), 1, "the command must run once");
        }
    });
}

#[test]
fn a_session_does_not_repeat_commands_that_may_have_run_when_its_reader_is_unplugged() {
    isolated(|| {
        let fixture = fixture();
        let (mut session, events) = session(&fixture);
        fixture.card.clear_log();
        let gone = long(ReturnCode::E_READER_UNAVAILABLE.raw());
        let mut unplugged = fault(Operation::Transmit, gone);
        unplugged.after_the_call = true;
        inject(unplugged);
        let answer: Result<_, SessionError> = session.run(|card| card.transmit(COMMAND));
        match answer {
            Err(SessionError::Interrupted {
                error, completed, ..
            }) => {
                assert_eq!(error.code(), ReturnCode::E_READER_UNAVAILABLE);
                assert!(error.command_may_have_run());
                assert_eq!(completed, 0);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(fixture.card.log().len(), 1, "the command must run once");

        // The next run finds the reader again.
        let answer = session.run(|card| card.transmit(COMMAND));
        assert_eq!(answer.unwrap(), OK);
        assert!(is_connected_again(&events));
        assert_eq!(fixture.card.log().len(), 2);
    });
}

/// The reset, which cannot be acknowledged, must not be taken for new information each time.
#[test]
fn a_session_gives_up_in_the_end_if_its_protocols_are_refused() {
    isolated(|| {
        let fixture = fixture();
        let (mut session, events) = session(&fixture);
        fixture.reset_by_another();
        let mut refused = fault(
            Operation::Reconnect,
            long(ReturnCode::E_PROTO_MISMATCH.raw()),
        );
        refused.lasts = true;
        inject(refused);
        let answer = session.run(|card| card.transmit(COMMAND));
        disarm();
        match answer {
            Err(SessionError::Card(error)) => assert_eq!(
                (error.operation(), error.code()),
                (Operation::Reconnect, ReturnCode::E_PROTO_MISMATCH)
            ),
            other => panic!("{other:?}, {events:?}"),
        }
    });
}
