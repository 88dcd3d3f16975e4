//! Forked children do not affect their parent's cards.
//!
//! A separate program because it replaces two PC/SC functions, and has an allocator that stops
//! threads.
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

/// Runs a function in a forked child, and returns the exit status.
///
/// The child has only this thread, so it must not wait for another one. It ends without running
/// exit handlers. If it hangs, it is killed.
fn in_child(f: impl FnOnce() -> bool) -> i32 {
    // SAFETY: see above; the test has its own process.
    match unsafe { libc::fork() } {
        0 => {
            // SAFETY: the signal has no handler, so it ends this process.
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
fn a_forked_child_has_its_own_context() {
    isolated(|| {
        let fixture = fixture();
        assert_eq!(fixture.context.readers().unwrap().len(), 2);
        // Releasing an inherited context does nothing, like dropping it.
        let mut inherited = Some(Context::establish().unwrap());
        let status = in_child(|| inherited.take().is_some_and(|it| it.release().is_ok()));
        assert_eq!(status, 0);
        // A context renews itself, so only its release shows that the parent's is intact.
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

/// A child that used its connection would take the answers of its parent.
#[cfg(feature = "socket")]
#[test]
fn a_forked_child_does_not_use_the_connection_that_its_parent_keeps() {
    use scard_testkit::fake::{Answer, Reader, Service};
    use std::os::unix::fs::FileTypeExt;
    isolated(|| {
        let name = "Fake Reader 00 00";
        let service = Service::start_with([Reader::new(name)], |_| Answer::normal()).unwrap();
        let options = scard::ContextOptions::new().socket_path(service.socket_path());
        let context = options.establish().unwrap();
        let use_a_card = || {
            let card = context.connect(name, ConnectOptions::new());
            card.is_ok_and(|mut card| card.transmit(COMMAND).is_ok())
        };
        assert!(use_a_card());
        for forks in 1..=3 {
            // The child keeps one of its own.
            assert_eq!(in_child(|| use_a_card() && use_a_card()), 0);
            assert!(use_a_card());
            assert_eq!(service.connections(), 2 + forks);
        }
        // Nor does it close the descriptor, whose number may be another one's there.
        let status = in_child(|| {
            for descriptor in 3..1000 {
                // SAFETY: this process uses none of them any more.
                unsafe { libc::close(descriptor) };
            }
            let files: Vec<_> = (0..30).map(|_| std::fs::File::open("/dev/null")).collect();
            let is_open = |it: &std::io::Result<std::fs::File>| {
                let metadata = it.as_ref().ok().and_then(|it| it.metadata().ok());
                metadata.is_some_and(|it| it.file_type().is_char_device())
            };
            use_a_card() && files.iter().all(is_open)
        });
        assert_eq!(status, 0);
        drop(context);
        wait_until("no connection is left", || service.open_connections() == 0);
    });
}

/// Forks repeatedly while threads use what the child will need.
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
        assert_eq!(failed, None, "a child hung (14) or failed");
    });
}

/// Whether this library refused the call. The origin matters, because services can also return the
/// code.
fn is_kept_out(error: scard::Error) -> bool {
    let meant = (error.code(), error.kind(), error.origin());
    let refusal = (
        ReturnCode::E_SYSTEM_CANCELLED,
        ErrorKind::Cancelled,
        Origin::Library,
    );
    meant == refusal
}

/// Whether a call in a child returns, if the parent's threads are nearly always in pcsc-lite's
/// locks. A thread that is not scheduled cannot leave before the fork; then the child is refused,
/// but must not hang.
fn comes_back<T>(call: scard::Result<T>) -> bool {
    match call {
        Ok(_) => true,
        Err(error) => is_kept_out(error),
    }
}

#[test]
fn children_can_use_the_library_whatever_the_parents_threads_do() {
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

/// A lock of the program, which its own fork handlers take. They are registered first, so the
/// library's handlers run before them.
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
        // SAFETY: the handlers only change an atomic.
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

// Over the socket, there is nothing that a child could find locked.
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

/// A lock of the PC/SC library, simulated by the replaced functions. One of them holds it for as
/// long as the test requires.
static KEEPS_IT: AtomicBool = AtomicBool::new(false);
static IS_LOCKED: AtomicBool = AtomicBool::new(false);

/// The PC/SC library's function.
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

/// A thread that is looking up a handle during a fork can hold a lock of the library for longer
/// than the fork waits, if it is not scheduled.
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

/// A child must not wait for anything that only exists in the parent.
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
        let mut second = Some(connect().unwrap());
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
            // The session's thread does not exist here, either.
            drop(session_to_drop.take());
            // A deadline uses a thread, too.
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
        drop(block_on(second.as_mut().unwrap().transaction()).unwrap());
        let status = in_child(|| {
            let error = block_on(second.as_mut().unwrap().status()).unwrap_err();
            drop(second.take());
            error.kind() == ErrorKind::Abandoned
        });
        assert_eq!(status, 0);
        // The parent's are intact.
        for card in [&mut card, &mut second] {
            let card = card.as_mut().unwrap();
            assert_eq!(block_on(card.transmit(COMMAND)).unwrap(), OK);
        }
        let run = session.as_mut().unwrap().run(|card| card.transmit(COMMAND));
        assert_eq!(block_on(run).unwrap(), OK);
    });
}

/// It does not matter where the thread of a call is when the process forks: a lock that it holds is
/// never released in the child, even one of the standard library.
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
                    // The thread waits for the next call.
                    None if stop::is_asleep() => break 'all,
                    None => thread::yield_now(),
                }
            }
            stops += 1;
            let status = in_child(|| {
                // The child has no thread that could answer.
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

/// The lock of the deadlines, which all futures of the process share.
#[cfg(feature = "async")]
#[test]
fn the_clock_is_free_in_a_child() {
    use scard::{AsyncContext, CardFilter, EventStream};
    use support::executor::block_on;

    isolated(|| {
        let fixture = fixture();
        let context = AsyncContext::from(fixture.context.clone());
        let any = CardFilter::new();
        // The card is there, so this does little more than set and remove a deadline.
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

/// What a child does with inherited handles does not affect waits in the parent.
#[cfg(feature = "async")]
#[test]
fn a_child_wakes_no_task_of_its_parent() {
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
        assert!(!abort.is_aborted(), "only the child aborted");
        abort.abort();
        wait_until("its task is woken", || woken.0.load(Ordering::SeqCst) == 1);
        fixture.sandbox.resume().unwrap();
    });
}
