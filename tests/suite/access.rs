//! Connects that wait for another program's exclusive access.
#![cfg(target_os = "linux")]

use std::time::{Duration, Instant};

use scard::{AbortHandle, ConnectOptions, ErrorKind, Operation, ReturnCode, ShareMode};
use scard_testkit::isolated;

use crate::support::*;

const LIMIT: Duration = Duration::from_millis(300);

fn waiting() -> ConnectOptions {
    ConnectOptions::new().wait_for_access(true)
}

#[test]
fn exclusive_access_is_waited_for_if_that_is_asked_for() {
    isolated(|| {
        let fixture = fixture();
        for options in [waiting(), waiting().timeout(Some(SOON))] {
            let holder = fixture.connect_exclusive();
            let (context, reader) = (fixture.context.clone(), fixture.reader.clone());
            let connects = in_background(move || context.connect(&reader, options));
            assert_blocked(&connects);
            // By default, connects do not wait for it.
            assert_fails(
                fixture.try_connect(ConnectOptions::new()),
                Operation::Connect,
                ReturnCode::E_SHARING_VIOLATION,
            );
            drop(holder);
            assert_works(&mut finish(&connects).unwrap());
        }
        // Also for a connect with exclusive access.
        let other = fixture.connect();
        let (context, reader) = (fixture.context.clone(), fixture.reader.clone());
        let exclusive = waiting().share_mode(ShareMode::Exclusive);
        let connects = in_background(move || context.connect(&reader, exclusive));
        assert_blocked(&connects);
        drop(other);
        assert_works(&mut finish(&connects).unwrap());
    });
}

#[test]
fn what_is_waited_for_in_vain_is_told() {
    isolated(|| {
        let fixture = fixture();
        let holder = fixture.connect_exclusive();
        let begun = Instant::now();
        assert_fails(
            fixture.try_connect(waiting().timeout(Some(LIMIT))),
            Operation::Connect,
            ReturnCode::E_SHARING_VIOLATION,
        );
        let took = begun.elapsed();
        assert!(took > LIMIT / 2, "{took:?}");
        let abort = AbortHandle::new();
        let options = waiting().abort_handle(&abort);
        let (context, reader) = (fixture.context.clone(), fixture.reader.clone());
        let connects = in_background(move || context.connect(&reader, options));
        assert_blocked(&connects);
        abort.abort();
        let error = finish(&connects).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        drop(holder);
        // Other failures are returned at once.
        let empty = fixture.empty_reader.clone();
        assert_fails(
            fixture.context.connect(empty, waiting()),
            Operation::Connect,
            ReturnCode::E_NO_SMARTCARD,
        );
    });
}

#[cfg(feature = "async")]
#[test]
fn a_future_waits_for_exclusive_access() {
    use scard::AsyncContext;

    use crate::support::executor::block_on;

    isolated(|| {
        let fixture = fixture();
        let context = AsyncContext::from(fixture.context.clone());
        let holder = fixture.connect_exclusive();
        let limited = waiting().timeout(Some(LIMIT));
        let error = block_on(context.connect(&fixture.reader, limited)).unwrap_err();
        assert_eq!(error.code(), ReturnCode::E_SHARING_VIOLATION);
        let reader = fixture.reader.clone();
        let connects = in_background(move || block_on(context.connect(&reader, waiting())));
        assert_blocked(&connects);
        drop(holder);
        let mut card = finish(&connects).unwrap();
        assert_eq!(block_on(card.transmit(COMMAND)).unwrap(), OK);
    });
}
