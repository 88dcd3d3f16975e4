//! The thread of the tasks: one for the whole process, which exists only while it is needed.
//!
//! The models leave it out, because it waits in `poll`; `tests/suite/socket_async` disturbs it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use tracing::Span;

use super::{Call, Job, Wake};
use crate::service::{Bell, Limit, Next, Process, Task, Wanted, wait_for_any};
use crate::sync::{Mutex, lock, start_thread, thread};

/// How long the thread stays when there is nothing to do.
const LINGER: Duration = Duration::from_secs(5);

static THREAD: Mutex<Option<Thread>> = Mutex::new(None);

/// The thread, as others see it. Apart from its own stack, it stays for good, so that a card that is
/// connected needs no descriptors for its next call.
struct Thread {
    /// The process that it runs in; a forked child has no thread.
    process: Process,
    is_running: bool,
    jobs: Arc<Mutex<Vec<Handed>>>,
    bell: Arc<Bell>,
}

/// A job, with the span of who handed it over.
struct Handed(Job, Span);

impl Thread {
    fn new() -> Option<Thread> {
        Some(Thread {
            process: Process::current(),
            is_running: false,
            jobs: Arc::default(),
            bell: Bell::new().ok()?,
        })
    }

    fn start(&mut self) -> Option<()> {
        if !self.is_running {
            let (jobs, bell) = (Arc::clone(&self.jobs), Arc::clone(&self.bell));
            let run = move || {
                let _here = Here;
                run(&jobs, &bell);
            };
            start_thread("scard futures", run).ok()?;
            self.is_running = true;
        }
        Some(())
    }
}

/// Whether there is a thread for tasks: it is started if necessary, and stays for a while.
pub(crate) fn can_have_tasks() -> bool {
    started(&mut lock(&THREAD)).is_some()
}

fn started(current: &mut Option<Thread>) -> Option<&mut Thread> {
    let is_forked = |thread: &mut Thread| thread.process.is_forked();
    if let Some(Thread { jobs, .. }) = current.take_if(is_forked) {
        // The parent's are not to be touched.
        std::mem::forget(jobs);
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
    let span = Span::current();
    let mut current = lock(&THREAD);
    let thread = started(&mut current)?;
    let task: Arc<Task> = Arc::default();
    let limit = Limit::suspending(deadline, Arc::clone(&task));
    let bell = Arc::clone(&thread.bell);
    let stop = Stop {
        task,
        bell: Arc::clone(&bell),
    };
    let (job, made) = make(limit, Arc::new(stop));
    // The thread ends only while `THREAD` is locked.
    lock(&thread.jobs).push(Handed(job, span));
    drop(current);
    bell.ring();
    Some(made)
}

/// Ends the waits of a task.
struct Stop {
    task: Arc<Task>,
    bell: Arc<Bell>,
}

impl Wake for Stop {
    fn wake(&self) {
        self.task.stop();
        self.bell.ring();
    }
}

/// A call and what it waits for; nothing before it is polled for the first time.
struct Running {
    call: Option<Call>,
    span: Span,
    wanted: Option<Wanted>,
}

impl Running {
    fn begin(Handed(job, span): Handed) -> Option<Running> {
        Some(Running {
            call: Some(caught(job)?),
            span,
            wanted: None,
        })
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

fn run(jobs: &Mutex<Vec<Handed>>, bell: &Bell) {
    let mut running: Vec<Running> = Vec::new();
    loop {
        let new = std::mem::take(&mut *lock(jobs));
        for job in new {
            let begun = Running::begin(job);
            running.extend(begun.and_then(|mut it| it.go_on(false).then_some(it)));
        }
        let waits: Vec<&Wanted> = running.iter().filter_map(|it| it.wanted.as_ref()).collect();
        let longest = running.is_empty().then_some(LINGER);
        let begun = Instant::now();
        let mut next = wait_for_any(&waits, bell, longest).into_iter();
        if running.is_empty() && begun.elapsed() >= LINGER && has_ended(jobs) {
            return;
        }
        running.retain_mut(|it| {
            let next = match it.wanted {
                Some(_) => next.next().unwrap_or(Next::Wait),
                None => Next::GoOn,
            };
            next == Next::Wait || it.go_on(next == Next::GoOn)
        });
    }
}

/// Whether there is still nothing to do, so that the thread ends.
fn has_ended(jobs: &Mutex<Vec<Handed>>) -> bool {
    let mut current = lock(&THREAD);
    let is_idle = lock(jobs).is_empty();
    if let Some(thread) = current.as_mut() {
        thread.is_running = !is_idle;
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
            }
        }
    }
}
