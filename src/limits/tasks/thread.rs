//! The thread of the tasks: one for the whole process, which exists only while it is needed.
//!
//! The models leave it out, because it waits in `poll`; `tests/suite/socket_async` disturbs it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use tracing::Span;

use super::{Call, Job, MovingCall, Wake};
use crate::service::{Bell, Limit, Process, Task, Wanted, Watched, wait_for_any};
use crate::sync::{Mutex, lock, start_thread, thread};

/// How long the thread stays when there is nothing to do.
const LINGER: Duration = Duration::from_secs(5);

/// How many connections without a call it watches.
const IDLE: usize = 8;

static THREAD: Mutex<Option<Thread>> = Mutex::new(None);

/// The thread, as others see it. Apart from its own stack, it stays for good, so that a card that is
/// connected needs no descriptors for its next call.
struct Thread {
    /// The process that it runs in; a forked child has no thread.
    process: Process,
    is_running: bool,
    shared: Arc<Mutex<Shared>>,
    bell: Arc<Bell>,
}

/// What the thread and others share.
#[derive(Default)]
struct Shared {
    new: Vec<New>,
    /// The sockets that the thread watches, from before it waits. It watches that of a connection
    /// whose call has ended as well: the next call need not wake it.
    watched: Vec<Watched>,
    /// When the thread wakes up by itself.
    until: Option<Instant>,
}

/// What is handed over to the thread.
enum New {
    /// A call that begins there, and the span of who handed it over.
    Job(Job, Span),
    /// A call that was begun and suspended elsewhere.
    Begun(Running<MovingCall>),
}

impl Thread {
    fn new() -> Option<Thread> {
        Some(Thread {
            process: Process::current(),
            is_running: false,
            shared: Arc::default(),
            bell: Bell::new().ok()?,
        })
    }

    fn start(&mut self) -> Option<()> {
        if !self.is_running {
            let (shared, bell) = (Arc::clone(&self.shared), Arc::clone(&self.bell));
            let run = move || {
                let _here = Here;
                run(&shared, &bell);
            };
            start_thread("scard futures", run).ok()?;
            self.is_running = true;
        }
        Some(())
    }

    /// The limit of a call that is suspended, and what ends its waits.
    fn limit(&self, deadline: Option<Instant>) -> (Limit, Arc<dyn Wake>) {
        let task = Arc::new(Task::new(&self.bell));
        (Limit::suspending(deadline, Arc::clone(&task)), task)
    }
}

/// Whether there is a thread for tasks: it is started if necessary, and stays for a while.
pub(crate) fn can_have_tasks() -> bool {
    started(&mut lock(&THREAD)).is_some()
}

fn started(current: &mut Option<Thread>) -> Option<&mut Thread> {
    let is_forked = |thread: &mut Thread| thread.process.is_forked();
    if let Some(Thread { shared, .. }) = current.take_if(is_forked) {
        // The parent's are not to be touched.
        std::mem::forget(shared);
    }
    if current.is_none() {
        *current = Thread::new();
    }
    let thread = current.as_mut()?;
    thread.start()?;
    Some(thread)
}

/// Hands a job to the thread, starting it if necessary. The job is made with the limit of its calls,
/// and with what ends their waits.
pub(super) fn hand_over<R>(
    deadline: Option<Instant>,
    make: impl FnOnce(Limit, Arc<dyn Wake>) -> (Job, R),
) -> Option<R> {
    // Unlocked, because this runs foreign code.
    let span = Span::current();
    let mut current = lock(&THREAD);
    let thread = started(&mut current)?;
    let (limit, stop) = thread.limit(deadline);
    let (job, made) = make(limit, stop);
    let bell = Arc::clone(&thread.bell);
    // The thread ends only while `THREAD` is locked.
    lock(&thread.shared).new.push(New::Job(job, span));
    drop(current);
    bell.ring();
    Some(made)
}

/// Begins a call, which continues on the thread if it is suspended.
pub(super) fn begin<R>(
    deadline: Option<Instant>,
    make: impl FnOnce(Limit, Arc<dyn Wake>) -> (MovingCall, R),
) -> Option<R> {
    let (limit, stop) = started(&mut lock(&THREAD))?.limit(deadline);
    // Unlocked, because this runs foreign code.
    let (call, made) = make(limit, stop);
    let mut running = Running::new(call, Span::none());
    if running.go_on(false) {
        running.span = Span::current();
        continue_on_thread(running);
    }
    Some(made)
}

/// Without a thread, the call is lost, as in a panic.
fn continue_on_thread(running: Running<MovingCall>) {
    let mut current = lock(&THREAD);
    let Some(thread) = started(&mut current) else {
        drop(current);
        // Not while `THREAD` is locked.
        return drop(running);
    };
    let bell = Arc::clone(&thread.bell);
    let will_be_noticed = lock(&thread.shared).add(running);
    drop(current);
    if !will_be_noticed {
        bell.ring();
    }
}

impl Shared {
    /// Adds a suspended call. Returns whether the thread wakes up when the call can go on. (What
    /// stops the call later rings the bell.)
    fn add(&mut self, running: Running<MovingCall>) -> bool {
        let will_be_noticed = running.wanted.as_ref().is_some_and(|wanted| {
            let socket = wanted.socket.as_ref();
            let is_watched = socket.is_some_and(|it| self.watches(it));
            let is_in_time = wanted
                .until
                .is_none_or(|end| self.until.is_some_and(|it| it <= end));
            is_watched && is_in_time && !wanted.is_over()
        });
        self.new.push(New::Begun(running));
        will_be_noticed
    }

    fn watches(&self, socket: &Watched) -> bool {
        self.watched.iter().any(|it| it.is(socket))
    }

    /// Lists what is to be watched: what these calls wait for, and what was watched before, except
    /// connections that `ended`: what comes when no call waits is an end. Returns when to wake up.
    fn watch(
        &mut self,
        running: &[Running<Call>],
        ended: &[Watched],
        watched: &mut Vec<Watched>,
    ) -> Option<Instant> {
        watched.clear();
        let has_ended = |it: &Watched| it.is_unused() || ended.iter().any(|ended| ended.is(it));
        self.watched.retain(|it| !has_ended(it));
        let room = IDLE + running.len();
        let excess = self.watched.len().saturating_sub(room);
        self.watched.drain(..excess);
        for socket in running.iter().filter_map(Running::socket) {
            if !self.watches(socket) {
                self.watched.push(socket.clone());
            }
        }
        let ends = running.iter().filter_map(|it| it.wanted.as_ref()?.until);
        let rest = running.is_empty().then(|| Instant::now() + LINGER);
        self.until = ends.chain(rest).min();
        watched.extend_from_slice(&self.watched);
        self.until
    }
}

impl Wake for Task {
    fn wake(&self) {
        self.stop();
    }
}

/// A call and what it waits for; nothing before it is polled for the first time.
struct Running<C> {
    call: Option<C>,
    span: Span,
    wanted: Option<Wanted>,
}

impl<F: Future<Output = ()> + ?Sized> Running<Pin<Box<F>>> {
    fn new(call: Pin<Box<F>>, span: Span) -> Self {
        Running {
            call: Some(call),
            span,
            wanted: None,
        }
    }

    fn socket(&self) -> Option<&Watched> {
        self.wanted.as_ref()?.socket.as_ref()
    }

    /// Continues the call. Returns whether it is suspended again.
    fn go_on(&mut self, is_ready: bool) -> bool {
        Wanted::resume(is_ready);
        let (call, span) = (self.call.as_mut(), &self.span);
        let polled = call.and_then(|call| {
            let mut context = Context::from_waker(Waker::noop());
            caught(|| span.in_scope(|| call.as_mut().poll(&mut context)))
        });
        Wanted::resume(false);
        self.wanted = Wanted::take();
        let is_suspended = polled.is_some_and(|polled| polled.is_pending());
        if !is_suspended {
            let ended = self.call.take();
            caught(|| drop(ended));
        }
        is_suspended
    }
}

/// Runs a part of a call. If it panics, as a subscriber may, that must not end the other calls.
fn caught<T>(part: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(part)).ok()
}

fn run(shared: &Mutex<Shared>, bell: &Bell) {
    let mut running: Vec<Running<Call>> = Vec::new();
    let (mut new, mut watched, mut ready) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        let begun = Instant::now();
        let until = loop {
            let mut shared = lock(shared);
            if shared.new.is_empty() {
                break shared.watch(&running, &ready, &mut watched);
            }
            std::mem::swap(&mut shared.new, &mut new);
            drop(shared);
            running.extend(new.drain(..).filter_map(received));
        };
        // A socket in it would stay open.
        ready.clear();
        ready = wait_for_any(&watched, bell, until);
        if running.is_empty() && begun.elapsed() >= LINGER && has_ended(shared) {
            return;
        }
        std::mem::swap(&mut lock(shared).new, &mut new);
        running.extend(new.drain(..).filter_map(received));
        running.retain_mut(|it| {
            let wanted = it.socket();
            let place = wanted.and_then(|wanted| ready.iter().position(|it| it.is(wanted)));
            if let Some(place) = place {
                ready.swap_remove(place);
            }
            let is_over = it.wanted.as_ref().is_none_or(Wanted::is_over);
            match place.is_some() || is_over {
                true => it.go_on(place.is_some()),
                false => true,
            }
        });
    }
}

/// A call that goes on here; `None` if it has ended.
fn received(new: New) -> Option<Running<Call>> {
    match new {
        New::Job(job, span) => {
            let mut running = Running::new(caught(job)?, span);
            running.go_on(false).then_some(running)
        }
        New::Begun(Running { call, span, wanted }) => Some(Running {
            call: call.map(|call| call as Call),
            span,
            wanted,
        }),
    }
}

/// Whether there is still nothing to do, so that the thread ends.
fn has_ended(shared: &Mutex<Shared>) -> bool {
    let mut current = lock(&THREAD);
    let mut shared = lock(shared);
    let is_idle = shared.new.is_empty();
    if let Some(thread) = current.as_mut() {
        thread.is_running = !is_idle;
    }
    if is_idle {
        shared.watched.clear();
    }
    is_idle
}

/// Notes the end of the thread if it panics.
struct Here;

impl Drop for Here {
    fn drop(&mut self) {
        if thread::panicking() {
            if let Some(thread) = lock(&THREAD).as_mut() {
                thread.is_running = false;
                lock(&thread.shared).watched.clear();
            }
        }
    }
}
