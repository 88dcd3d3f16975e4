//! Waiting until a socket is ready: in the thread of the call, or, for the calls of futures, in a
//! thread that waits for many of them.

use std::cell::Cell;
use std::future::poll_fn;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::bell::Bell;
use super::stream::{Ended, GaveUp};

/// How often a socket is tried if the system does not wait for it: a program that may open no more
/// files may not wait for those it has, either.
const TRY_AGAIN: Duration = Duration::from_millis(10);

/// A socket and the events that it is to be ready for.
pub(super) type Socket<'a> = (&'a Arc<OwnedFd>, PollFlags);

/// A socket that is waited for, and for what.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    socket: Arc<OwnedFd>,
    events: PollFlags,
}

impl Watched {
    pub(crate) fn is(&self, other: &Watched) -> bool {
        Arc::ptr_eq(&self.socket, &other.socket) && self.events == other.events
    }

    /// Whether nothing else uses the socket any more.
    pub(crate) fn is_unused(&self) -> bool {
        Arc::strong_count(&self.socket) == 1
    }
}

/// The call of a future. It waits by being suspended.
#[derive(Debug, Default)]
pub(crate) struct Task {
    is_stopped: AtomicBool,
    /// Wakes the thread that waits for it; `None` for what is not to be stopped.
    bell: Option<Arc<Bell>>,
}

impl Task {
    pub(crate) fn new(bell: &Arc<Bell>) -> Task {
        Task {
            is_stopped: AtomicBool::new(false),
            bell: Some(Arc::clone(bell)),
        }
    }

    /// Makes it give up its waits from now on.
    pub(crate) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Release);
        if let Some(bell) = &self.bell {
            bell.ring();
        }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Acquire)
    }
}

/// What a suspended call waits for.
#[derive(Debug)]
pub(crate) struct Wanted {
    task: Arc<Task>,
    pub(crate) socket: Option<Watched>,
    pub(crate) until: Option<Instant>,
}

thread_local! {
    /// What the call that was polled last waits for. Not to be dropped: without a destructor, it can
    /// be used in those of other thread-locals.
    static WANTED: Cell<ManuallyDrop<Option<Wanted>>> = const { Cell::new(ManuallyDrop::new(None)) };
    /// Whether the socket of the call that is polled next is ready.
    static IS_READY: Cell<bool> = const { Cell::new(false) };
}

impl Wanted {
    /// What the call waits for that was suspended on this thread just now.
    pub(crate) fn take() -> Option<Wanted> {
        Wanted::replace(None)
    }

    fn replace(wanted: Option<Wanted>) -> Option<Wanted> {
        ManuallyDrop::into_inner(WANTED.replace(ManuallyDrop::new(wanted)))
    }

    /// Says, before the call is polled again, whether its socket is ready.
    pub(crate) fn resume(is_ready: bool) {
        IS_READY.set(is_ready);
    }

    /// Whether it has to give up: its time has come, or it is stopped.
    pub(crate) fn is_over(&self) -> bool {
        let is_late = |until: Instant| until <= Instant::now();
        self.task.is_stopped() || self.until.is_some_and(is_late)
    }
}

/// Suspends the call until the socket is ready, the time has come, or the call is stopped.
pub(super) async fn suspended(
    task: &Arc<Task>,
    socket: Option<Socket<'_>>,
    until: Option<Instant>,
) -> Result<(), Ended> {
    let mut is_suspended = false;
    poll_fn(|_| {
        let is_ready = IS_READY.take();
        if std::mem::replace(&mut is_suspended, true) && is_ready {
            return Poll::Ready(Ok(()));
        }
        if task.is_stopped() {
            return Poll::Ready(Err(Ended::GaveUp(GaveUp::Rung)));
        }
        if until.is_some_and(|until| until <= Instant::now()) {
            return Poll::Ready(Err(Ended::GaveUp(GaveUp::Deadline)));
        }
        drop(Wanted::replace(Some(Wanted {
            task: Arc::clone(task),
            socket: socket.map(|(socket, events)| Watched {
                socket: Arc::clone(socket),
                events,
            }),
            until,
        })));
        Poll::Pending
    })
    .await
}

/// Waits until one of the sockets is ready, the bell rings, or the time has come. Returns the sockets
/// that may be ready.
pub(crate) fn wait_for_any(
    sockets: &[Watched],
    bell: &Bell,
    until: Option<Instant>,
) -> Vec<Watched> {
    let mut watched = Vec::with_capacity(1 + sockets.len());
    watched.push(PollFd::new(bell, PollFlags::IN));
    watched.extend(sockets.iter().map(|it| PollFd::new(&*it.socket, it.events)));
    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
    let polled = poll_for(&mut watched, left);
    let may_be_ready = paused_instead(polled, left);
    let is_ready = |it: &PollFd<'_>| may_be_ready || !it.revents().is_empty();
    let mut events = watched.iter().map(is_ready);
    if events.next().unwrap_or_default() {
        bell.reset();
    }
    let ready = sockets.iter().zip(events).filter(|(_, is_ready)| *is_ready);
    ready.map(|(socket, _)| socket.clone()).collect()
}

/// Pauses if the system did not wait, and returns whether it paused: then sockets are to be tried.
fn paused_instead(polled: Result<usize, Errno>, left: Option<Duration>) -> bool {
    let failed = polled.is_err_and(|error| error != Errno::INTR);
    if failed {
        std::thread::sleep(left.map_or(TRY_AGAIN, |left| left.min(TRY_AGAIN)));
    }
    failed
}

fn poll_for(watched: &mut [PollFd<'_>], left: Option<Duration>) -> Result<usize, Errno> {
    // A time too long for a `Timespec` is no limit.
    let time = left.and_then(|left| Timespec::try_from(left).ok());
    poll(watched, time.as_ref())
}

/// Blocks this thread until the socket is ready, the time has come, or the bell rings.
pub(super) fn blocked(
    socket: Option<Socket<'_>>,
    until: Option<Instant>,
    bell: Option<&Bell>,
) -> Result<(), Ended> {
    let mut watched = Vec::with_capacity(2);
    if let Some((socket, events)) = socket {
        watched.push(PollFd::new(&**socket, events));
    }
    if let Some(bell) = bell {
        watched.push(PollFd::from_borrowed_fd(bell.as_fd(), PollFlags::IN));
    }
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let polled = poll_for(&mut watched, left);
        if paused_instead(polled, left) {
            let is_late = left.is_some_and(|left| left.is_zero());
            match socket {
                _ if is_late => return Err(Ended::GaveUp(GaveUp::Deadline)),
                Some(_) => return Ok(()),
                None => continue,
            }
        }
        match polled {
            Ok(0) => return Err(Ended::GaveUp(GaveUp::Deadline)),
            // What was received takes precedence over the bell.
            Ok(_) => {
                let mut events = watched.iter().map(|it| !it.revents().is_empty());
                let is_ready = socket.is_some() && events.next().unwrap_or_default();
                return match is_ready {
                    true => Ok(()),
                    false => Err(Ended::GaveUp(GaveUp::Rung)),
                };
            }
            Err(_) => {}
        }
    }
}
