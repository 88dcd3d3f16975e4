//! Waiting until a socket is ready: in the thread of the call, or, for the calls of futures, in a
//! thread that waits for many of them.

use std::cell::Cell;
use std::future::poll_fn;
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

/// The call of a future. It waits by being suspended.
#[derive(Debug, Default)]
pub(crate) struct Task {
    is_stopped: AtomicBool,
}

impl Task {
    /// Makes it give up its waits from now on. The thread must be woken as well.
    pub(crate) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Release);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Acquire)
    }
}

/// What a suspended call waits for.
#[derive(Debug)]
pub(crate) struct Wanted {
    task: Arc<Task>,
    socket: Option<(Arc<OwnedFd>, PollFlags)>,
    until: Option<Instant>,
}

thread_local! {
    /// What the call that was polled last waits for.
    static WANTED: Cell<Option<Wanted>> = const { Cell::new(None) };
    /// Whether the socket of the call that is polled next is ready.
    static IS_READY: Cell<bool> = const { Cell::new(false) };
}

impl Wanted {
    /// What the call waits for that was suspended on this thread just now.
    pub(crate) fn take() -> Option<Wanted> {
        WANTED.take()
    }

    /// Says, before the call is polled again, whether its socket is ready.
    pub(crate) fn resume(is_ready: bool) {
        IS_READY.set(is_ready);
    }

    fn is_over(&self) -> bool {
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
        WANTED.set(Some(Wanted {
            task: Arc::clone(task),
            socket: socket.map(|(socket, events)| (Arc::clone(socket), events)),
            until,
        }));
        Poll::Pending
    })
    .await
}

/// What a suspended call can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Wait,
    /// Its socket is ready.
    GoOn,
    /// Its time has come, or it is stopped.
    GiveUp,
}

/// Waits until one of the calls can go on, the bell rings, or this time has passed. Returns what
/// each can do, in order.
pub(crate) fn wait_for_any(waits: &[&Wanted], bell: &Bell, longest: Option<Duration>) -> Vec<Next> {
    let mut watched = vec![PollFd::new(bell, PollFlags::IN)];
    let sockets = waits.iter().filter_map(|wait| wait.socket.as_ref());
    watched.extend(sockets.map(|(socket, events)| PollFd::new(&**socket, *events)));
    let until = waits.iter().filter_map(|wait| wait.until).min();
    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
    let left = match waits.iter().any(|wait| wait.is_over()) {
        true => Some(Duration::ZERO),
        false => left.into_iter().chain(longest).min(),
    };
    let polled = poll_for(&mut watched, left);
    let may_be_ready = paused_instead(polled, left);
    let mut events = watched.iter().map(|it| !it.revents().is_empty());
    if events.next().unwrap_or_default() || may_be_ready {
        bell.reset();
    }
    let next = |wait: &&Wanted| {
        let is_ready = wait.socket.is_some() && events.next().unwrap_or_default();
        match is_ready || wait.socket.is_some() && may_be_ready {
            true => Next::GoOn,
            false if wait.is_over() => Next::GiveUp,
            false => Next::Wait,
        }
    };
    waits.iter().map(next).collect()
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
