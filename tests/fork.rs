//! A forked child does no harm to its parent's cards.
//!
//! A program of its own because it defines two of the PC/SC functions, in front of the real ones,
//! and an allocator that stops threads.
#![cfg_attr(not(feature = "library"), allow(unused_imports))]
#![cfg(target_os = "linux")]
#![allow(unsafe_code)]

#[cfg(feature = "async")]
#[path = "support/stop.rs"]
mod stop;
mod support;

use std::cell::RefCell;
use std::ffi::{CStr, c_void};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pcsc::ffi::{DWORD, LONG, SCARDCONTEXT, SCARDHANDLE};
use scard::{
    AbortHandle, Attribute, ConnectOptions, Context, Control, ErrorKind, Monitor, MonitorOptions,
    Operation, Origin, ReturnCode,
};
use scard_testkit::isolated;
use support::*;

/// Runs something in a forked child and gives its exit status.
///
/// The child has this thread alone, so it must not wait for another one; it ends without
/// running what is registered for the end. One that hangs is killed.
fn in_child(f: impl FnOnce() -> bool) -> i32 {
    // SAFETY: see above; the test has a process of its own.
    match unsafe { libc::fork() } {
        0 => {
            // SAFETY: there is no handler for the signal, so that it ends this process.
            unsafe { libc::alarm(20) };
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

/// Forks again and again while threads are busy with what the child will want.
fn forks_while(forks: usize, busy: impl Fn() + Sync, child: impl Fn() -> bool) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    busy();
                }
            });
        }
        let failed = (0..forks).find_map(|fork| match in_child(&child) {
            0 => None,
            status => Some((fork, status)),
        });
        stop.store(true, Ordering::Relaxed);
        assert_eq!(failed, None, "a child hangs (14) or fails");
    });
}

/// Whether this library refused the call, and says so: on Windows the code is the service's.
fn is_kept_out(error: scard::Error) -> bool {
    let meant = (error.code(), error.kind(), error.origin());
    let refusal = (
        ReturnCode::E_SYSTEM_CANCELLED,
        ErrorKind::Cancelled,
        Origin::Library,
    );
    meant == refusal
}

/// A call in a child of a process whose threads spend their time in locks of pcsc-lite's: one of
/// them may get no time to leave, and then the child is refused, which is not to hang.
fn comes_back<T>(call: scard::Result<T>) -> bool {
    match call {
        Ok(_) => true,
        Err(error) => is_kept_out(error),
    }
}

#[test]
fn children_have_the_library_to_themselves() {
    isolated(|| {
        let fixture = fixture();
        let child = || fixture.connect().transmit(COMMAND).is_ok();
        forks_while(50, || drop(Context::establish().unwrap()), child);
        forks_while(50, || drop(fixture.context.readers().unwrap()), child);
        thread_local! {
            static OWN: Context = Context::establish().unwrap();
        }
        let child = || comes_back(fixture.try_connect(ConnectOptions::new()));
        forks_while(
            150,
            || OWN.with(|own| assert!(own.is_valid().unwrap())),
            child,
        );
    });
}

#[test]
fn a_context_is_free_in_a_child() {
    isolated(|| {
        let fixture = fixture();
        let busy = || assert!(fixture.context.is_valid().unwrap());
        forks_while(200, busy, || comes_back(fixture.context.is_valid()));
    });
}

#[test]
fn an_abort_handle_is_free_in_a_child() {
    isolated(|| {
        let fixture = fixture();
        let abort = AbortHandle::new();
        let child = || {
            let options = ConnectOptions::new().abort_handle(&abort);
            let works = fixture.try_connect(options.timeout(Some(SOON))).is_ok();
            abort.abort();
            works && abort.is_aborted()
        };
        forks_while(100, || assert!(!abort.is_aborted()), child);
    });
}

#[test]
fn a_monitor_is_free_in_a_child() {
    isolated(|| {
        let fixture = fixture();
        let begin = || fixture.context.monitor(MonitorOptions::new()).unwrap();
        thread_local! {
            static OWN: RefCell<Option<Monitor>> = const { RefCell::new(None) };
        }
        let busy = || {
            OWN.with_borrow_mut(|own| {
                let own = own.get_or_insert_with(begin);
                own.next_timeout(Duration::ZERO);
            });
        };
        let inherited = RefCell::new(Some(begin()));
        let child = || {
            let mut inherited = inherited.take().unwrap();
            let is_stopped = inherited.is_stopped() && inherited.next().is_none();
            inherited.abort_handle().abort();
            drop(inherited);
            is_stopped && begin().next_timeout(SOON).is_some()
        };
        forks_while(100, busy, child);
    });
}

#[test]
fn forks_on_several_threads_do_not_wait_for_each_other() {
    isolated(|| {
        let fixture = fixture();
        let fork = || assert_eq!(in_child(|| fixture.connect().transmit(COMMAND).is_ok()), 0);
        forks_while(50, fork, || fixture.context.is_valid().is_ok());
    });
}

/// A lock of the program, which its own handlers guard at a fork. They are registered first, so
/// that those of the library run before.
static PROGRAM: AtomicBool = AtomicBool::new(false);

extern "C" fn lock_program() {
    while PROGRAM.swap(true, Ordering::Acquire) {
        thread::yield_now();
    }
}

extern "C" fn unlock_program() {
    PROGRAM.store(false, Ordering::Release);
}

#[test]
fn a_fork_waits_for_the_program_that_waits_for_the_library() {
    isolated(|| {
        let (lock, unlock) = (Some(lock_program as _), Some(unlock_program as _));
        // SAFETY: the handlers change a number.
        unsafe { libc::pthread_atfork(lock, unlock, unlock) };
        let fixture = fixture();
        let call = || {
            lock_program();
            let works = fixture.context.is_valid().is_ok();
            unlock_program();
            works
        };
        forks_while(2, || assert!(call()), call);
    });
}

// The socket has nothing that a child could find locked.
#[cfg(feature = "library")]
#[test]
fn a_child_is_refused_if_a_thread_of_its_parent_was_stuck() {
    isolated(|| {
        let fixture = fixture();
        fixture.sandbox.pause().unwrap();
        let stuck = in_background(Context::establish);
        assert_blocked(&stuck);
        let status = in_child(|| Context::establish().is_err_and(is_kept_out));
        assert_eq!(status, 0);
        fixture.sandbox.resume().unwrap();
        finish(&stuck).unwrap();
        assert_works(&mut fixture.connect());
    });
}

/// A lock of the PC/SC library as the stand-ins see it: one of them keeps it for as long as the
/// test wants.
static KEEPS_IT: AtomicBool = AtomicBool::new(false);
static IS_LOCKED: AtomicBool = AtomicBool::new(false);

/// The function of the PC/SC library.
fn real(name: &CStr) -> *mut c_void {
    // SAFETY: the name ends with NUL.
    let real = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
    assert!(!real.is_null());
    real
}

#[unsafe(no_mangle)]
unsafe extern "C" fn SCardEstablishContext(
    scope: DWORD,
    reserved1: *const c_void,
    reserved2: *const c_void,
    context: *mut SCARDCONTEXT,
) -> LONG {
    type Real =
        unsafe extern "C" fn(DWORD, *const c_void, *const c_void, *mut SCARDCONTEXT) -> LONG;
    while IS_LOCKED.load(Ordering::SeqCst) {
        thread::yield_now();
    }
    // SAFETY: that is its type.
    let real: Real = unsafe { std::mem::transmute(real(c"SCardEstablishContext")) };
    // SAFETY: what the caller says of its arguments.
    unsafe { real(scope, reserved1, reserved2, context) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn SCardGetAttrib(
    card: SCARDHANDLE,
    id: DWORD,
    value: *mut u8,
    len: *mut DWORD,
) -> LONG {
    type Real = unsafe extern "C" fn(SCARDHANDLE, DWORD, *mut u8, *mut DWORD) -> LONG;
    IS_LOCKED.store(KEEPS_IT.load(Ordering::SeqCst), Ordering::SeqCst);
    while KEEPS_IT.load(Ordering::SeqCst) {
        thread::yield_now();
    }
    IS_LOCKED.store(false, Ordering::SeqCst);
    // SAFETY: that is its type.
    let real: Real = unsafe { std::mem::transmute(real(c"SCardGetAttrib")) };
    // SAFETY: what the caller says of its arguments.
    unsafe { real(card, id, value, len) }
}

/// Whoever looks a handle up when the process forks may hold a lock of the library for longer
/// than a fork waits: if it has no time just then.
#[cfg(feature = "library")]
#[test]
fn a_child_does_not_wait_for_a_lock_of_the_library() {
    isolated(|| {
        let fixture = fixture();
        let mut card = fixture.connect();
        KEEPS_IT.store(true, Ordering::SeqCst);
        let asked = in_background(move || drop(card.attribute(Attribute::ATR_STRING)));
        while !IS_LOCKED.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        let status = in_child(|| {
            let begun = Instant::now();
            let mut try_twice = (0..2).map(|_| Context::establish());
            let are_refused = try_twice.all(|it| it.is_err_and(is_kept_out));
            are_refused && begun.elapsed() < Duration::from_secs(10)
        });
        KEEPS_IT.store(false, Ordering::SeqCst);
        finish(&asked);
        assert_eq!(status, 0);
        assert_works(&mut fixture.connect());
    });
}

/// Nothing is waited for that only the parent has.
#[cfg(feature = "async")]
#[test]
fn a_forked_child_does_not_wait_for_the_threads_of_its_parent() {
    use scard::{AsyncContext, AsyncSession, ConnectOptions, Disposition};
    use support::executor::block_on;

    isolated(|| {
        let fixture = fixture();
        let context = AsyncContext::from(fixture.context.clone());
        let connect = || block_on(context.connect(&fixture.reader, ConnectOptions::new()));
        let mut card = Some(connect().unwrap());
        let mut on_its_way = Some(connect().unwrap());
        let session = AsyncSession::builder(&context).open_async();
        let mut session = Some(block_on(session).unwrap());
        let session_to_drop = AsyncSession::builder(&context).open_async();
        let mut session_to_drop = Some(block_on(session_to_drop).unwrap());
        assert_eq!(
            block_on(card.as_mut().unwrap().transmit(COMMAND)).unwrap(),
            OK
        );
        let status = in_child(|| {
            let forked = |error: scard::Error| error.kind() == ErrorKind::Abandoned;
            let error = block_on(card.as_mut().unwrap().transmit(COMMAND)).unwrap_err();
            let refused = forked(error);
            drop(card.take());
            // The session's thread is not here, either.
            drop(session_to_drop.take());
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

/// Where the thread of a call is when the process forks makes no difference: a lock that it holds
/// then is never free in the child, be it one of the standard library's.
#[cfg(feature = "async")]
#[test]
fn a_child_waits_for_no_lock_that_the_thread_of_a_call_holds() {
    use std::pin::Pin;
    use std::task::{Context as Task, Poll, Waker};

    use scard::AsyncContext;
    use support::executor::block_on;

    fn poll<T>(call: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        call.poll(&mut Task::from_waker(Waker::noop()))
    }

    isolated(|| {
        let fixture = fixture();
        let context = AsyncContext::from(fixture.context.clone());
        let connect = || Box::pin(context.connect(&fixture.reader, ConnectOptions::new()));
        let mut stops = 0;
        'all: loop {
            stop::arm(stops + 1);
            let (mut call, mut card) = (Some(connect()), None);
            while !stop::is_stopped() {
                match &mut call {
                    Some(it) => match poll(it.as_mut()) {
                        Poll::Ready(outcome) => (call, card) = (None, Some(outcome.unwrap())),
                        Poll::Pending => thread::yield_now(),
                    },
                    // It waits for the next call.
                    None if stop::is_asleep() => break 'all,
                    None => thread::yield_now(),
                }
            }
            stops += 1;
            let status = in_child(|| {
                // The child has no thread that would answer.
                let is_over = call
                    .as_mut()
                    .is_none_or(|call| matches!(poll(call.as_mut()), Poll::Ready(Err(_))));
                drop((call.take(), card.take()));
                is_over
            });
            stop::release();
            assert_eq!(status, 0, "stopped at allocation {stops}");
            let card = call.map_or_else(|| card.unwrap(), |call| block_on(call).unwrap());
            block_on(card.disconnect(scard::Disposition::Leave)).unwrap();
        }
        assert!(stops > 1, "stopped {stops} times");
    });
}

/// The lock of the deadlines, which all futures of the process have in common.
#[cfg(feature = "async")]
#[test]
fn the_clock_is_free_in_a_child() {
    use scard::{AsyncContext, CardFilter, EventStream};
    use support::executor::block_on;

    isolated(|| {
        let fixture = fixture();
        let context = AsyncContext::from(fixture.context.clone());
        let any = CardFilter::new();
        // The card is there: so this sets the clock and takes it back, and hardly more.
        let look = |own: &mut Option<EventStream>| {
            let begin = || context.monitor(MonitorOptions::new()).unwrap();
            let own = own.get_or_insert_with(begin);
            comes_back(block_on(own.wait_for_card(&any, Some(SOON))))
        };
        thread_local! {
            static OWN: RefCell<Option<EventStream>> = const { RefCell::new(None) };
        }
        let busy = || OWN.with_borrow_mut(|own| assert!(look(own)));
        forks_while(100, busy, || look(&mut None));
    });
}

/// What a child does with what it shares is nothing to those who wait in the parent.
#[cfg(feature = "async")]
#[test]
fn a_child_wakes_nobody_of_its_parent() {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::{Context as Task, Wake};

    use scard::AsyncContext;

    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    isolated(|| {
        let fixture = fixture();
        let context = AsyncContext::from(fixture.context.clone());
        let abort = AbortHandle::new();
        fixture.sandbox.pause().unwrap();
        let options = ConnectOptions::new().abort_handle(&abort);
        let mut connect = pin!(context.connect(&fixture.reader, options));
        let woken = Arc::new(Woken(AtomicUsize::new(0)));
        let waker = Arc::clone(&woken).into();
        assert!(
            connect
                .as_mut()
                .poll(&mut Task::from_waker(&waker))
                .is_pending()
        );
        let status = in_child(|| {
            abort.abort();
            abort.is_aborted() && woken.0.load(Ordering::SeqCst) == 0
        });
        assert_eq!(status, 0);
        assert!(!abort.is_aborted(), "that was in the child");
        abort.abort();
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        fixture.sandbox.resume().unwrap();
    });
}
