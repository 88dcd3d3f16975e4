//! The thread of the futures is disturbed: by answers at the wrong moment, panics of a subscriber,
//! forks, and a program that may open no more files.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::Wake;
use std::thread;

use scard::{AsyncControl, ControlCode, Disposition};
use tracing::callsite::DefaultCallsite;
use tracing::span::{Attributes, Id, Record};

use super::*;
use crate::support::executor::Woken;
use crate::support::usage::limit_descriptors;

const HELD: u32 = 0x8010_000B;

fn async_context_at(path: &Path) -> AsyncContext {
    AsyncContext::from(context_at(path))
}

fn messages(service: &Service) -> Vec<Message> {
    service.log().into_iter().map(|it| it.message).collect()
}

/// A waker that keeps the thread busy, although it should not.
struct Slow {
    arrived: Mutex<Sender<()>>,
    go_on: Mutex<Receiver<()>>,
}

impl Wake for Slow {
    fn wake(self: Arc<Self>) {
        let _ = self.arrived.lock().unwrap().send(());
        let _ = self.go_on.lock().unwrap().recv_timeout(SOON);
    }
}

/// Keeps the shared thread busy with this call, which waits for the gate, until the sender is
/// dropped.
pub(super) fn occupy<T>(
    call: Pin<&mut impl Future<Output = T>>,
    service: &Service,
    gate: &Gate,
) -> Sender<()> {
    let ((arrived, has_arrived), (release, go_on)) = (channel(), channel());
    let slow = Arc::new(Slow {
        arrived: Mutex::new(arrived),
        go_on: Mutex::new(go_on),
    });
    let polled = call.poll(&mut Task::from_waker(&Waker::from(slow)));
    assert!(matches!(polled, Poll::Pending));
    service.wait_for(Message::Control, 1, SOON).unwrap();
    gate.open();
    has_arrived.recv_timeout(SOON).unwrap();
    release
}

/// What the daemon answers to a call while the thread is busy, until `meanwhile` has happened.
fn answered_late<T>(
    service: &Service,
    context: &AsyncContext,
    meanwhile: impl FnOnce() -> T,
    busy: &Gate,
) -> T {
    let mut other = block_on(context.connect(name(1), ConnectOptions::new())).unwrap();
    let mut call = Box::pin(other.control(ControlCode::from_raw(1), &[]));
    let release = occupy(call.as_mut(), service, busy);
    let given = meanwhile();
    drop(release);
    block_on(call).unwrap();
    given
}

/// The command waits for another client; that it need not wait any longer is read when its future
/// was already dropped.
#[test]
fn no_command_is_sent_after_its_future_was_dropped() {
    isolated(|| {
        let service = service_with(2);
        let context = async_context_at(service.socket_path());
        let mut card = block_on(context.connect(name(0), ConnectOptions::new())).unwrap();
        let (held, busy) = (Gate::new(), Gate::new());
        service.script({
            let (held, busy) = (held.clone(), busy.clone());
            move |request| match request.message {
                Message::Transmit => Answer::code(HELD),
                Message::Status => Answer::normal().stall(&held),
                Message::Control => Answer::normal().stall(&busy),
                _ => Answer::normal(),
            }
        });
        let mut call = Box::pin(card.transmit(COMMAND));
        begin(call.as_mut());
        held.wait_for(1, SOON).unwrap();
        let drop_it = || {
            held.open();
            drop(call);
        };
        answered_late(&service, &context, drop_it, &busy);
        drop(card);
        wait_for_the_end_of_all_connections(&service);
        assert_eq!(service.count(Message::Transmit), 1);
    });
}

/// The daemon hangs up after the command was sent; that is noticed after the abort.
#[test]
fn a_command_that_was_sent_may_have_run() {
    isolated(|| {
        let service = service_with(2);
        let context = async_context_at(service.socket_path());
        let abort = AbortHandle::new();
        let options = ConnectOptions::new().abort_handle(&abort);
        let mut card = block_on(context.connect(name(0), options)).unwrap();
        let (sent, busy) = (Gate::new(), Gate::new());
        service.script({
            let (sent, busy) = (sent.clone(), busy.clone());
            move |request| match request.message {
                Message::Transmit => Answer::hang_up().stall(&sent),
                Message::Control => Answer::normal().stall(&busy),
                _ => Answer::normal(),
            }
        });
        let mut call = Box::pin(card.transmit(COMMAND));
        begin(call.as_mut());
        sent.wait_for(1, SOON).unwrap();
        let connections = service.open_connections();
        let hang_up = || {
            sent.open();
            // With the other card, it was one more.
            wait_until("it hangs up", || service.open_connections() == connections);
            abort.abort();
        };
        answered_late(&service, &context, hang_up, &busy);
        let error = block_on(call).unwrap_err();
        assert!(error.command_may_have_run(), "{error:?}");
    });
}

/// A subscriber that panics on threads of the library: at the next event, or in each span.
struct Panics;

/// What it does when it is asked for the current span the next time.
static CALL: Mutex<Option<Box<dyn FnOnce() + Send>>> = Mutex::new(None);

static PANICS: AtomicU8 = AtomicU8::new(NEVER);
const NEVER: u8 = 0;
const AT_EVENT: u8 = 1;
const IN_SPANS: u8 = 2;

fn is_here() -> bool {
    let here = thread::current();
    here.name().is_some_and(|name| name.starts_with("scard"))
}

impl tracing::Subscriber for Panics {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        if event.metadata().target() == "scard::call" && is_here() {
            let (at, once) = (Ordering::SeqCst, Ordering::SeqCst);
            let panics = PANICS.compare_exchange(AT_EVENT, NEVER, at, once);
            assert!(panics.is_err(), "on purpose");
        }
    }

    fn enter(&self, _: &Id) {
        let panics = PANICS.load(Ordering::SeqCst) == IN_SPANS && is_here();
        assert!(!panics, "on purpose");
    }

    fn exit(&self, _: &Id) {}

    fn current_span(&self) -> tracing_core::span::Current {
        let call = CALL.try_lock().ok().and_then(|mut call| call.take());
        if let Some(call) = call {
            call();
        }
        static CALLSITE: DefaultCallsite = DefaultCallsite::new(&META);
        static META: tracing::Metadata<'static> = tracing::metadata! {
            name: "a span",
            target: "tests",
            level: tracing::Level::INFO,
            fields: &[],
            callsite: &CALLSITE,
            kind: tracing::metadata::Kind::SPAN,
        };
        tracing_core::span::Current::new(Id::from_u64(1), &META)
    }
}

/// The record of the command panics, after it ran. What is dropped then does not wait for the daemon.
#[test]
fn a_panic_in_one_call_does_not_stop_the_others() {
    isolated(|| {
        tracing::subscriber::set_global_default(Panics).unwrap();
        let service = service_with(2);
        let context = async_context_at(service.socket_path());
        let connect = |number| block_on(context.connect(name(number), ConnectOptions::new()));
        let (mut card, mut other) = (connect(0).unwrap(), connect(1).unwrap());
        block_on(works(&mut card));
        let gate = stop(&service, |request| request.message == Message::Release);
        PANICS.store(AT_EVENT, Ordering::SeqCst);
        let error = block_on(card.transmit(COMMAND)).unwrap_err();
        assert!(error.command_may_have_run(), "{error:?}");
        assert!(card.is_abandoned());
        block_on(works(&mut other));
        gate.open();
        drop(other);
        wait_for_the_end_of_all_connections(&service);
    });
}

#[test]
fn the_thread_survives_spans_that_cannot_be_entered() {
    isolated(|| {
        tracing::subscriber::set_global_default(Panics).unwrap();
        let service = service_with(1);
        let context = async_context_at(service.socket_path());
        let mut card = block_on(context.connect(name(0), ConnectOptions::new())).unwrap();
        let span = tracing::info_span!("of the program");
        let within = span.enter();
        PANICS.store(IN_SPANS, Ordering::SeqCst);
        let error = block_on(card.status()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
        PANICS.store(NEVER, Ordering::SeqCst);
        drop(within);
        assert_eq!(block_on(context.readers()).unwrap().len(), 1);
        assert_eq!(own_threads(), ["scard futures"]);
    });
}

/// It has the descriptors until it ends.
fn sleeping_child() -> libc::pid_t {
    // SAFETY: the child only sleeps, for a limited time.
    match unsafe { libc::fork() } {
        0 => loop {
            // SAFETY: no memory is involved.
            unsafe { libc::alarm(30) };
            // SAFETY: as above.
            unsafe { libc::pause() };
        },
        child => child,
    }
}

fn end(child: libc::pid_t) {
    // SAFETY: no memory is involved.
    unsafe { libc::kill(child, libc::SIGKILL) };
    // SAFETY: the status is not asked for.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
}

#[test]
fn what_is_dropped_ends_although_a_child_lives_on() {
    isolated(|| {
        let service = service_with(1);
        let options = ContextOptions::new().socket_path(service.socket_path());
        let context = block_on(options.clone().establish_async()).unwrap();
        let limited = options.timeout(Some(SOON)).establish().unwrap();
        let gate = stop(&service, |request| request.message == Message::Connect);
        let mut call = Box::pin(context.connect(name(0), ConnectOptions::new()));
        begin(call.as_mut());
        gate.wait_for(1, SOON).unwrap();
        let child = sleeping_child();
        drop(call);
        gate.open();
        drop((context, limited));
        wait_for_the_end_of_all_connections(&service);
        end(child);
    });
}

#[test]
fn a_context_with_a_limit_stays_valid_when_the_service_is_gone() {
    let service = service_with(1);
    let options = ContextOptions::new().socket_path(service.socket_path());
    for limit in [None, Some(SOON)] {
        let service = service_with(1);
        let options = options.clone().socket_path(service.socket_path());
        let context = options.timeout(limit).establish().unwrap();
        drop(service);
        assert!(context.is_valid().unwrap(), "{limit:?}");
    }
}

/// The connection that no one takes is ended on the thread.
#[test]
fn a_future_that_is_dropped_after_its_answer_takes_no_thread() {
    isolated(|| {
        let service = service_with(1);
        let context = async_context_at(service.socket_path());
        let (first, last) = (Gate::new(), Gate::new());
        service.script({
            let (first, last) = (first.clone(), last.clone());
            move |request| match request.message {
                Message::Version => Answer::normal().stall(&first),
                Message::Release => Answer::normal().stall(&last),
                _ => Answer::normal(),
            }
        });
        for round in 1..=10 {
            let woken = Woken::new();
            let mut call = Box::pin(context.connect(name(0), ConnectOptions::new()));
            assert!(woken.poll(call.as_mut()).is_pending());
            first.wait_for(round, SOON).unwrap();
            first.open();
            woken.wait();
            first.close();
            drop(call);
        }
        last.wait_for(10, SOON).unwrap();
        assert_eq!(own_threads(), ["scard futures"]);
        last.open();
        wait_for_the_end_of_all_connections(&service);
    });
}

/// As in a program that has enough of them or has given up the right to open files. Then the system
/// does not even wait for a socket.
#[test]
fn a_connected_card_needs_no_further_descriptors() {
    isolated(|| {
        let service = service_with(2);
        let context = async_context_at(service.socket_path());
        let options = ConnectOptions::new().disposition_on_drop(Disposition::Reset);
        let connect = |number| block_on(context.connect(name(number), options.clone()));
        let (mut card, other) = (connect(0).unwrap(), connect(1).unwrap());
        wait_until("the thread ends", || own_threads().is_empty());
        let before = limit_descriptors(0);
        block_on(works(&mut card));
        drop(card);
        wait_until("its connection ends", || service.open_connections() == 1);
        let gate = stop(&service, |request| request.message == Message::Release);
        service.clear_log();
        // Does not wait.
        drop(other);
        gate.wait_for(1, SOON).unwrap();
        assert!(messages(&service).contains(&Message::End), "it was reset");
        gate.open();
        limit_descriptors(before);
    });
}

#[test]
fn a_subscriber_may_drop_a_card_while_another_is_dropped() {
    isolated(|| {
        tracing::subscriber::set_global_default(Panics).unwrap();
        let service = service_with(2);
        let context = async_context_at(service.socket_path());
        let connect = |number| block_on(context.connect(name(number), ConnectOptions::new()));
        let (card, other) = (connect(0).unwrap(), connect(1).unwrap());
        *CALL.lock().unwrap() = Some(Box::new(move || drop(other)));
        finish(&in_background(move || drop(card)));
        wait_for_the_end_of_all_connections(&service);
    });
}

thread_local! {
    /// As a thread's own executor.
    static TASK: RefCell<Option<Pin<Box<dyn Future<Output = ()>>>>> = const { RefCell::new(None) };
}

/// Those that were used first are destroyed last.
#[test]
fn a_transaction_ends_with_the_thread_locals_of_its_thread() {
    isolated(|| {
        let service = service_with(1);
        let context = async_context_at(service.socket_path());
        let thread = thread::spawn(move || {
            TASK.with(|_| {});
            let mut card = block_on(context.connect(name(0), ConnectOptions::new())).unwrap();
            let has_begun = Rc::new(Cell::new(false));
            let note = Rc::clone(&has_begun);
            let mut task: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async move {
                let _transaction = card.transaction().await.unwrap();
                note.set(true);
                std::future::pending().await
            });
            let woken = Woken::new();
            loop {
                assert!(woken.poll(task.as_mut()).is_pending());
                // On a busy machine the transaction begins at the first poll.
                if has_begun.get() {
                    break;
                }
                woken.wait();
            }
            TASK.set(Some(task));
        });
        thread.join().unwrap();
        wait_for_the_end_of_all_connections(&service);
        assert_eq!(service.count(Message::End), 1);
    });
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn a_forked_child_closes_what_it_drops() {
    isolated(|| {
        let service = service_with(1);
        let context = async_context_at(service.socket_path());
        let mut card = block_on(context.connect(name(0), ConnectOptions::new())).unwrap();
        block_on(works(&mut card));
        // SAFETY: the child closes a descriptor and ends.
        match unsafe { libc::fork() } {
            0 => {
                let before = descriptors();
                drop(card);
                let status = i32::from(before - descriptors() != 1);
                // SAFETY: ends this process.
                unsafe { libc::_exit(status) }
            }
            child => {
                let mut status = 0;
                // SAFETY: waits for our own child; the output outlives the call.
                unsafe { libc::waitpid(child, &mut status, 0) };
                assert_eq!(status, 0);
            }
        }
        block_on(works(&mut card));
    });
}

/// While the thread waits for another call.
#[test]
fn no_descriptor_of_a_dropped_card_stays_open() {
    const CARDS: usize = 12;
    isolated(|| {
        let (service, other_service) = (service_with(CARDS), service_with(1));
        let other_context = async_context_at(other_service.socket_path());
        let mut other = block_on(other_context.connect(name(0), ConnectOptions::new())).unwrap();
        let gate = stop_commands(&other_service, 0xEE);
        let mut call = Box::pin(other.transmit(&[0xEE; 5]));
        begin(call.as_mut());
        gate.wait_for(1, SOON).unwrap();
        let context = async_context_at(service.socket_path());
        let before = descriptors();
        let connect = |number| block_on(context.connect(name(number), ConnectOptions::new()));
        let mut cards: Vec<_> = (0..CARDS).map(|number| connect(number).unwrap()).collect();
        cards.iter_mut().for_each(|card| block_on(works(card)));
        service.hang_up();
        wait_until("the connections end", || service.open_connections() == 0);
        // Without the thread.
        let cards = cards.into_iter().map(|card| block_on(card.into_card()));
        cards.for_each(drop);
        // The service has some, too.
        wait_until("the descriptors are closed", || descriptors() <= before);
        gate.open();
        block_on(call).unwrap();
    });
}
