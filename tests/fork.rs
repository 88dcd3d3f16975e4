//! A forked child does no harm to its parent's cards.
#![cfg(target_os = "linux")]
#![allow(unsafe_code)]

#[cfg(feature = "async")]
#[path = "support/executor.rs"]
mod executor;
mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use scard::{Context, ErrorKind, Operation, ReturnCode};
use scard_testkit::isolated;
use support::*;

/// Runs something in a forked child and gives its exit status.
///
/// The child has this thread alone, so it must not wait for another one; it ends without
/// running what is registered for the end.
fn in_child(f: impl FnOnce() -> bool) -> i32 {
    // SAFETY: see above; the test has a process of its own.
    match unsafe { libc::fork() } {
        0 => {
            let status = if f() { 0 } else { 1 };
            // SAFETY: ends this process.
            unsafe { libc::_exit(status) }
        }
        child => {
            assert!(child > 0, "fork failed");
            let mut status = 0;
            // SAFETY: waits for our own child; the output outlives the call.
            assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
            status
        }
    }
}

#[test]
fn a_forked_child_cannot_use_its_parents_card_and_drops_it_without_harm() {
    isolated(|| {
        let fixture = fixture();
        for limited in [false, true] {
            let mut card = fixture.connect();
            card.set_timeout(limited.then_some(SOON));
            assert_works(&mut card);
            let mut reader = Some(fixture.context.open_reader(&fixture.reader).unwrap());
            let mut card = Some(card);
            let status = in_child(|| {
                let error = card.as_mut().unwrap().transmit(COMMAND).unwrap_err();
                drop(card.take());
                drop(reader.take());
                error.operation() == Operation::Transmit && error.kind() == ErrorKind::Abandoned
            });
            assert_eq!(status, 0);
            assert_works(card.as_mut().unwrap());
            assert!(reader.as_mut().unwrap().status().is_ok());
        }
    });
}

#[test]
fn a_forked_child_gets_a_context_of_its_own() {
    isolated(|| {
        let fixture = fixture();
        assert_eq!(fixture.context.readers().unwrap().len(), 2);
        // Releasing an inherited one does nothing, as dropping does.
        let mut inherited = Some(Context::establish().unwrap());
        let status = in_child(|| inherited.take().is_some_and(|it| it.release().is_ok()));
        assert_eq!(status, 0);
        // A context renews itself, so it is its release that shows the parent's is whole.
        inherited.unwrap().release().unwrap();

        let status = in_child(|| {
            let readers = fixture.context.readers();
            let mut card = fixture.connect();
            readers.is_ok_and(|readers| readers.len() == 2) && card.transmit(COMMAND).is_ok()
        });
        assert_eq!(status, 0);
        assert_eq!(fixture.context.readers().unwrap().len(), 2);
        assert_works(&mut fixture.connect());
    });
}

/// The library and pcsc-lite's have locks that another thread may have at this moment.
fn forks_while(fixture: &Fixture, busy: impl Fn() + Sync) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    busy();
                }
            });
        }
        for _ in 0..50 {
            let status = in_child(|| fixture.connect().transmit(COMMAND).is_ok());
            assert_eq!(status, 0);
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn children_have_the_library_to_themselves() {
    isolated(|| {
        let fixture = fixture();
        forks_while(&fixture, || drop(Context::establish().unwrap()));
        forks_while(&fixture, || drop(fixture.context.readers().unwrap()));
    });
}

#[test]
fn a_child_is_refused_if_a_thread_of_its_parent_was_stuck() {
    isolated(|| {
        let fixture = fixture();
        fixture.sandbox.pause().unwrap();
        let stuck = in_background(Context::establish);
        assert_blocked(&stuck);
        let status = in_child(|| {
            let refused = |error: scard::Error| error.code() == ReturnCode::E_SYSTEM_CANCELLED;
            Context::establish().is_err_and(refused)
        });
        assert_eq!(status, 0);
        fixture.sandbox.resume().unwrap();
        finish(&stuck).unwrap();
        assert_works(&mut fixture.connect());
    });
}

/// Nothing is waited for that only the parent has.
#[cfg(feature = "async")]
#[test]
fn a_forked_child_does_not_wait_for_the_threads_of_its_parent() {
    use executor::block_on;
    use scard::{AsyncContext, AsyncSession, ConnectOptions, Disposition};

    isolated(|| {
        let fixture = fixture();
        let context = AsyncContext::from(fixture.context.clone());
        let connect = || block_on(context.connect(&fixture.reader, ConnectOptions::new()));
        let mut card = Some(connect().unwrap());
        let mut on_its_way = Some(connect().unwrap());
        let session = AsyncSession::builder(&context).open_async();
        let mut session = Some(block_on(session).unwrap());
        assert_eq!(
            block_on(card.as_mut().unwrap().transmit(COMMAND)).unwrap(),
            OK
        );
        let status = in_child(|| {
            let forked = |error: scard::Error| error.kind() == ErrorKind::Abandoned;
            let error = block_on(card.as_mut().unwrap().transmit(COMMAND)).unwrap_err();
            let refused = forked(error);
            drop(card.take());
            // A deadline has a thread, too.
            let mut own = block_on(
                context.connect(&fixture.reader, ConnectOptions::new().timeout(Some(SOON))),
            )
            .unwrap();
            let works = block_on(own.transmit(COMMAND)).is_ok();
            let run = session.as_mut().unwrap().run(|card| card.transmit(COMMAND));
            refused
                && works
                && block_on(context.readers()).is_ok()
                && block_on(run).is_ok()
                && block_on(own.disconnect(Disposition::Leave)).is_ok()
        });
        assert_eq!(status, 0);
        drop(block_on(on_its_way.as_mut().unwrap().transaction()).unwrap());
        let status = in_child(|| {
            let error = block_on(on_its_way.as_mut().unwrap().status()).unwrap_err();
            drop(on_its_way.take());
            error.kind() == ErrorKind::Abandoned
        });
        assert_eq!(status, 0);
        // The parent's are whole.
        for card in [&mut card, &mut on_its_way] {
            let card = card.as_mut().unwrap();
            assert_eq!(block_on(card.transmit(COMMAND)).unwrap(), OK);
        }
        let run = session.as_mut().unwrap().run(|card| card.transmit(COMMAND));
        assert_eq!(block_on(run).unwrap(), OK);
    });
}
