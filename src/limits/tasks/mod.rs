//! Calls of futures that share one thread, because they are suspended instead of blocking it.
//!
//! Once they have begun, calls are made on that thread to their end: what a future's owner does, and
//! when it polls, has no effect on them. A call on a card begins on its caller's thread, so that the
//! command is on its way before the other thread wakes up.

#[cfg(all(
    feature = "socket",
    unix,
    not(target_vendor = "apple"),
    not(all(test, model))
))]
mod thread;
/// No calls can be suspended.
#[cfg(not(all(
    feature = "socket",
    unix,
    not(target_vendor = "apple"),
    not(all(test, model))
)))]
mod thread {
    use super::{Arc, Instant, Job, Limit, MovingCall, Wake};

    pub(crate) fn can_have_tasks() -> bool {
        false
    }

    pub(super) fn hand_over<R>(
        _: Option<Instant>,
        _: impl FnOnce(Limit, Arc<dyn Wake>) -> (Job, R),
    ) -> Option<R> {
        None
    }

    pub(super) fn begin<R>(
        _: Option<Instant>,
        _: impl FnOnce(Limit, Arc<dyn Wake>) -> (MovingCall, R),
    ) -> Option<R> {
        None
    }
}

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

pub(crate) use self::thread::can_have_tasks;
use self::thread::{begin, hand_over};
use super::worker::Lost;
use super::{Abandoned, AbortHandle, GivenUp, Here, Pending, UnderWay, Wake};
use crate::service::Limit;
use crate::sync::now;

/// A call on its way to the thread, and there.
type Job = Box<dyn FnOnce() -> Call + Send>;
type Call = Pin<Box<dyn Future<Output = ()>>>;

/// A call that begins elsewhere.
type MovingCall = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a task gives to the future.
pub(crate) struct Answer<T>(Lost<T>);

impl<T> Answer<T> {
    pub(crate) fn give(self, value: T) {
        self.0.0.return_with(value);
    }

    pub(crate) fn give_up(self, abandoned: Abandoned) {
        self.0.0.give_up_with(abandoned);
    }
}

/// Makes a call as a task, which keeps these limits by itself. Dropping the future makes it end its
/// waits.
pub(crate) fn hand_over_task<T: Send + 'static, F: Future<Output = ()> + 'static>(
    deadline: Option<Instant>,
    abort: Option<&AbortHandle>,
    pending: &Pending,
    job: impl FnOnce(Here, Answer<T>) -> F + Send + 'static,
) -> Result<UnderWay<T>, Abandoned> {
    let (abort, counted_by) = (abort.cloned(), pending.clone());
    let begun = hand_over(deadline, |limit, stop| {
        let (under_way, answer) = under_way(pending, &stop);
        let job = move || {
            let here = Here::with(limit, deadline, abort.as_ref(), &counted_by, Some(stop));
            Box::pin(job(here, answer)) as Call
        };
        (Box::new(job), under_way)
    });
    begun.ok_or(Abandoned::before_it_began(GivenUp::NoThread))
}

/// Like [`hand_over_task`], but begins the call on this thread, until it is suspended.
pub(crate) fn begin_task<T: Send + 'static, F: Future<Output = ()> + Send + 'static>(
    deadline: Option<Instant>,
    abort: Option<&AbortHandle>,
    pending: &Pending,
    job: impl FnOnce(Here, Answer<T>) -> F,
) -> Result<UnderWay<T>, Abandoned> {
    let begun = begin(deadline, |limit, stop| {
        let (under_way, answer) = under_way(pending, &stop);
        let here = Here::with(limit, deadline, abort, pending, Some(stop));
        (Box::pin(job(here, answer)), under_way)
    });
    begun.ok_or(Abandoned::before_it_began(GivenUp::NoThread))
}

fn under_way<T: Send + 'static>(
    pending: &Pending,
    stop: &Arc<dyn Wake>,
) -> (UnderWay<T>, Answer<T>) {
    let under_way = UnderWay::of_task(pending, Arc::clone(stop));
    let answer = Answer(Lost(Arc::clone(under_way.meeting())));
    (under_way, answer)
}

/// Wakes a caller at a time, unless dropped before.
pub(super) struct TaskAlarm(Arc<dyn Wake>);

impl TaskAlarm {
    /// `None` if there is no thread for it.
    pub(super) fn set(at: Instant, caller: Arc<dyn Wake>) -> Option<TaskAlarm> {
        hand_over(None, |limit, stop| {
            let job = move || {
                Box::pin(async move {
                    let left = at.saturating_duration_since(now());
                    // The caller looks at the time itself.
                    let _ = limit.pause(left).await;
                    caller.wake();
                }) as Call
            };
            (Box::new(job), TaskAlarm(stop))
        })
    }
}

impl Drop for TaskAlarm {
    fn drop(&mut self) {
        self.0.wake();
    }
}

/// Begins something that no one waits for. Without a thread for it, the job is dropped.
pub(crate) fn spawn_task<F: Future<Output = ()> + 'static>(
    job: impl FnOnce(Limit) -> F + Send + 'static,
) {
    hand_over(None, |limit, _| {
        let job = || Box::pin(job(limit)) as Call;
        (Box::new(job), ())
    });
}
