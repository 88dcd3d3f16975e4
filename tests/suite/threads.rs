//! Cards in many threads: pcsc-lite's client library does not guard its lists in every call, or at
//! the end of the process.
#![cfg(target_os = "linux")]
#![allow(unsafe_code)]

use std::ffi::{c_char, c_void};
use std::ptr;
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use scard::{ConnectOptions, Context, Disposition, ReaderName, ReturnCode};
use scard_testkit::{Link, Sandbox, isolated, isolated_with_peer};

use crate::support::*;

/// When an open-ended test ends; `SCARD_THREADS_SECONDS` sets its duration.
fn end() -> Instant {
    let seconds = std::env::var("SCARD_THREADS_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(2);
    Instant::now() + Duration::from_secs(seconds)
}

/// With `SCardDisconnect`, the process would crash here sooner or later: see `service::library::gate`.
#[test]
fn cards_come_and_go_in_many_threads() {
    isolated(|| {
        let fixture = fixture();
        let end = end();
        let connects: usize = thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let mut connects = 0;
                        while Instant::now() < end {
                            drop(fixture.context.open_reader(&fixture.empty_reader).unwrap());
                            connects += 1;
                        }
                        connects
                    })
                })
                .collect();
            let threads = threads.into_iter().map(|thread| thread.join().unwrap());
            threads.sum()
        });
        println!("{connects} connects");
        assert!(connects > 0);
        assert_works(&mut fixture.connect());
    });
}

/// The same with disconnects that do something to the card.
#[test]
fn cards_are_reset_and_ejected_while_contexts_come_and_go() {
    isolated(|| {
        let fixture = fixture();
        // The client library keeps contexts in a list: the longer it is, the sooner the crash
        // happens.
        let held: Vec<_> = (0..100).map(|_| Context::establish()).collect();
        // On a busy machine they take seconds.
        let end = end();
        let disconnects: usize = thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while Instant::now() < end {
                        drop(Context::establish());
                    }
                });
            }
            let dispositions = [
                Disposition::Reset,
                Disposition::Unpower,
                Disposition::Eject,
                Disposition::Leave,
            ];
            let threads = dispositions.map(|disposition| {
                let fixture = &fixture;
                scope.spawn(move || {
                    let mut disconnects = 0;
                    while Instant::now() < end {
                        // A reset by another thread may come at any moment.
                        if let Ok(card) = fixture.try_connect(ConnectOptions::new()) {
                            card.disconnect(disposition).unwrap();
                            disconnects += 1;
                        }
                    }
                    disconnects
                })
            });
            let threads = threads.into_iter().map(|thread| thread.join().unwrap());
            threads.sum()
        });
        drop(held);
        println!("{disconnects} disconnects");
        assert!(disconnects > 0);
        assert_works(&mut fixture.connect());
    });
}

#[test]
fn a_slow_card_delays_nobody_elses_coming_and_going() {
    isolated(|| {
        let slow = Duration::from_secs(2);
        // Slots of the same reader may have to wait for each other.
        let sandbox = Sandbox::builder().readers(3);
        let sandbox = sandbox.card(0, plain_card().delay(slow)).start().unwrap();
        let another = ReaderName::new(sandbox.reader(2).name()).unwrap();
        let fixture = Fixture::of(sandbox);
        let mut card = fixture.connect();
        let idle = fixture.connect();
        let begun = Instant::now();
        let answer = in_background(move || card.transmit(COMMAND));
        fixture.card.wait_for_commands(1, SOON).unwrap();
        drop(idle);
        drop(fixture.context.open_reader(&another).unwrap());
        assert!(begun.elapsed() < slow, "after {:?}", begun.elapsed());
        assert_eq!(finish(&answer).unwrap(), OK);
    });
}

/// The first reader of the test, with a card in it, as a peer sees it.
fn first_reader(context: &Context) -> scard::ReaderName {
    context.readers().unwrap().into_iter().next().unwrap()
}

/// Makes the end of the process take long, after everything that programs and libraries have
/// registered: C's streams are flushed last.
fn end_slowly() {
    #[repr(C)]
    struct Functions {
        read: usize,
        write: extern "C" fn(*mut c_void, *const c_char, usize) -> isize,
        seek: usize,
        close: usize,
    }
    unsafe extern "C" {
        fn fopencookie(
            cookie: *mut c_void,
            mode: *const c_char,
            functions: Functions,
        ) -> *mut libc::FILE;
    }
    extern "C" fn write(_: *mut c_void, _: *const c_char, len: usize) -> isize {
        thread::sleep(Duration::from_millis(50));
        isize::try_from(len).unwrap_or(isize::MAX)
    }
    let functions = Functions {
        read: 0,
        write,
        seek: 0,
        close: 0,
    };
    // SAFETY: glibc's own type for the functions; null stands for those that are not there.
    let stream = unsafe { fopencookie(ptr::null_mut(), c"w".as_ptr(), functions) };
    assert!(!stream.is_null());
    // SAFETY: the stream is open, and stays so.
    assert!(unsafe { libc::fputs(c"last words".as_ptr(), stream) } >= 0);
}

/// Uses PC/SC in detached threads, and ends meanwhile.
fn leave_threads_behind(_: &mut Link) {
    end_slowly();
    let context = Context::establish().unwrap();
    let reader = first_reader(&context);
    let (begun, all) = mpsc::channel();
    let forever = |mut work: Box<dyn FnMut() + Send>| {
        let begun = begun.clone();
        thread::spawn(move || {
            work();
            let _ = begun.send(());
            // Refused once the process ends; the results do not matter here.
            loop {
                work();
            }
        });
    };
    for _ in 0..2 {
        let (context, reader) = (context.clone(), reader.clone());
        forever(Box::new(move || drop(context.open_reader(&reader))));
        forever(Box::new(|| drop(Context::establish())));
    }
    let mut card = context
        .connect(&reader, scard::ConnectOptions::new())
        .unwrap();
    forever(Box::new(move || drop(card.transmit(COMMAND))));
    for _ in 0..5 {
        all.recv_timeout(SOON).unwrap();
    }
    std::process::exit(0);
}

/// `SCARD_ENDS` is the number of processes to end.
#[test]
fn a_process_ends_well_whatever_its_other_threads_do() {
    isolated_with_peer(
        |peers| {
            let _fixture = fixture();
            let ends = std::env::var("SCARD_ENDS").ok();
            let ends = ends.and_then(|text| text.parse().ok()).unwrap_or(5);
            for _ in 0..ends {
                peers.spawn().wait();
            }
        },
        leave_threads_behind,
    );
}

static CONTEXT: OnceLock<Context> = OnceLock::new();

/// Runs after everything registered later, and so after the library's own handlers.
extern "C" fn at_the_very_end() {
    let context = CONTEXT.get().unwrap();
    let are_two = |readers: &Vec<_>| readers.len() == 2;
    let other = thread::spawn(move || context.readers());
    let other = other.join().expect("a thread that does not panic");
    // The socket has nothing that could be gone by then, so calls still work.
    let is_well = match cfg!(feature = "library") {
        true => other.is_err_and(|error| error.code() == ReturnCode::E_SYSTEM_CANCELLED),
        false => other.as_ref().is_ok_and(are_two),
    };
    let last_words = context.readers().as_ref().is_ok_and(are_two);
    if !is_well || !last_words {
        eprintln!("others as they should: {is_well}, last words: {last_words}");
        // SAFETY: ends this process.
        unsafe { libc::_exit(1) }
    }
}

/// A program may end its cards where C's `atexit` lets it.
#[test]
fn the_thread_that_ends_the_process_can_end_its_cards_and_others_are_told() {
    isolated_with_peer(
        |peers| {
            let _fixture = fixture();
            peers.spawn().wait();
        },
        |_| {
            // SAFETY: a function of this program, which does not unwind.
            assert_eq!(unsafe { libc::atexit(at_the_very_end) }, 0);
            CONTEXT.set(Context::establish().unwrap()).unwrap();
            std::process::exit(0);
        },
    );
}
