//! The future of a call, for callers that do not block their thread.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::clock::Alarm;
use super::meeting::{Call, Meeting};
use super::tasks::TaskAlarm;
use super::worker::Jobs;
use super::{Abandoned, AbortHandle, GivenUp, Pending, Permit, Registration, Wake, Worker};
use crate::service::Process;
use crate::sync::lock;

/// A call on a worker, or a task. Dropping it gives up the call, as a deadline does.
pub(crate) struct UnderWay<T: Send + 'static> {
    meeting: Arc<Meeting<T>>,
    deadline: Option<Instant>,
    abort: Option<AbortHandle>,
    /// The process that makes the call.
    process: Process,
    /// The worker, where an unclaimed answer is discarded: that also ends what the call worked on,
    /// which can take a while.
    jobs: Option<Jobs>,
    /// What ends the call's waits, if it is a task.
    stop: Option<Arc<dyn Wake>>,
    /// The caller has its answer or has left.
    over: bool,
    registration: Option<Registration>,
    alarm: Option<Alarm>,
    task_alarm: Option<TaskAlarm>,
}

impl Worker {
    /// Begins a call; see [`Worker::run`].
    pub(crate) fn begin<S, T>(
        &self,
        subject: S,
        deadline: Option<Instant>,
        abort: Option<&AbortHandle>,
        pending: &Pending,
        call: impl FnOnce(&mut S, &Permit<'_>) -> T + Send + 'static,
    ) -> Result<UnderWay<(S, T)>, Abandoned>
    where
        S: Send + 'static,
        T: Send + 'static,
    {
        let mut under_way = UnderWay::new(pending);
        under_way.jobs = Some(self.jobs.clone());
        under_way.set_limits(deadline, abort)?;
        self.send(&under_way.meeting, subject, call)?;
        Ok(under_way)
    }

    /// Whether this process is a child of the one that has the thread.
    pub(crate) fn is_forked(&self) -> bool {
        self.jobs.is_forked()
    }
}

impl<T: Send + 'static> UnderWay<T> {
    fn new(pending: &Pending) -> UnderWay<T> {
        UnderWay {
            meeting: Arc::new(Meeting::new(pending)),
            deadline: None,
            abort: None,
            process: Process::current(),
            jobs: None,
            stop: None,
            over: false,
            registration: None,
            alarm: None,
            task_alarm: None,
        }
    }

    /// A call that is made by a task, which keeps the limits itself.
    pub(super) fn of_task(pending: &Pending, stop: Arc<dyn Wake>) -> UnderWay<T> {
        let mut under_way = UnderWay::new(pending);
        under_way.stop = Some(stop);
        // If the task panics, no one knows what it did.
        Permit(Some(&*under_way.meeting)).grant();
        under_way
    }

    pub(super) fn meeting(&self) -> &Arc<Meeting<T>> {
        &self.meeting
    }

    /// Sets what takes an unclaimed answer, on the worker. For a task it must not block.
    pub(crate) fn set_discard(&self, discard: impl FnOnce(T) + Send + 'static) {
        self.meeting.set_discard(discard);
    }

    /// Lets the call continue to its end although it is dropped.
    pub(crate) fn continue_unclaimed(&mut self) {
        self.stop = None;
    }

    /// Sets the limits of the wait from now on.
    pub(crate) fn set_limits(
        &mut self,
        deadline: Option<Instant>,
        abort: Option<&AbortHandle>,
    ) -> Result<(), Abandoned> {
        (self.alarm, self.task_alarm) = (None, None);
        if let Some(deadline) = deadline {
            let caller: Arc<dyn Wake> = Arc::clone(&self.meeting) as Arc<_>;
            match self.stop {
                Some(_) => self.task_alarm = TaskAlarm::set(deadline, caller),
                None => self.alarm = Alarm::set(deadline, caller),
            }
            if self.alarm.is_none() && self.task_alarm.is_none() {
                return Err(Abandoned::before_it_began(GivenUp::NoThread));
            }
        }
        self.deadline = deadline;
        self.registration = abort.map(|abort| abort.register(Arc::clone(&self.meeting) as Arc<_>));
        self.abort = abort.cloned();
        Ok(())
    }

    /// Whether this process is a child of the one that makes the call, which will not return here.
    pub(crate) fn is_forked(&self) -> bool {
        self.process.is_forked()
    }

    /// Gives up the call, or returns its result if it has returned.
    pub(crate) fn leave(&mut self) -> Option<T> {
        self.over = true;
        if self.is_forked() {
            // The thread may have held a lock on the state.
            return None;
        }
        let mut state = lock(&self.meeting.state);
        let call = std::mem::replace(&mut state.call, Call::UnderWay);
        match call {
            Call::UnderWay => state.leave_under_way(),
            Call::Returned(_) | Call::GaveUp(_) | Call::Lost => state.left = true,
        }
        let waker = state.waker.take();
        drop(state);
        // Unlocked first, because this runs foreign code.
        drop(waker);
        if let Some(stop) = self.stop.take() {
            stop.wake();
        }
        match call {
            Call::Returned(value) => Some(value),
            Call::UnderWay | Call::GaveUp(_) | Call::Lost => None,
        }
    }
}

impl<T: Send + 'static> Future for UnderWay<T> {
    type Output = Result<T, Abandoned>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if this.is_forked() {
            this.over = true;
            return Poll::Ready(Err(Abandoned {
                why: GivenUp::NoThread,
                begun: true,
                // It continues in the parent.
                permitted: true,
            }));
        }
        // Unlocked, as below, because this runs foreign code.
        let waker = context.waker().clone();
        let mut state = lock(&this.meeting.state);
        let outcome = state.look(this.deadline, this.abort.as_ref());
        let before = match outcome {
            Some(_) => state.waker.take(),
            None => state.waker.replace(waker),
        };
        drop(state);
        drop(before);
        match outcome {
            Some(outcome) => {
                this.over = true;
                Poll::Ready(outcome)
            }
            None => Poll::Pending,
        }
    }
}

impl<T: Send + 'static> Unpin for UnderWay<T> {}

impl<T: Send + 'static> Drop for UnderWay<T> {
    fn drop(&mut self) {
        if self.is_forked() {
            // Other threads may have held the locks that these use.
            let alarms = (self.alarm.take(), self.task_alarm.take());
            std::mem::forget((self.registration.take(), alarms));
            return;
        }
        if self.over {
            return;
        }
        if let Some(value) = self.leave() {
            let meeting = Arc::clone(&self.meeting);
            let discard = move || meeting.discard(value);
            match &self.jobs {
                Some(jobs) => drop(jobs.send(Box::new(discard))),
                None => discard(),
            }
        }
    }
}

impl<T: Send + 'static> std::fmt::Debug for UnderWay<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UnderWay")
            .field("deadline", &self.deadline)
            .field("over", &self.over)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(model)))]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::task::{Wake, Waker};
    use std::thread::{self, Thread, ThreadId};
    use std::time::Duration;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    /// Unparks a thread and counts how often.
    struct Unpark(Thread, AtomicUsize);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.1.fetch_add(1, Ordering::SeqCst);
            self.0.unpark();
        }
    }

    fn waker() -> (Waker, Arc<Unpark>) {
        let unpark = Arc::new(Unpark(thread::current(), AtomicUsize::new(0)));
        (Waker::from(Arc::clone(&unpark)), unpark)
    }

    /// Polls only when woken; panics if a wake-up is lost.
    #[track_caller]
    fn block_on<F: Future + Unpin>(mut future: F) -> F::Output {
        let (waker, unpark) = waker();
        let mut woken = 0;
        loop {
            if let Poll::Ready(output) = poll(&mut future, &waker) {
                return output;
            }
            let begun = Instant::now();
            while unpark.1.load(Ordering::SeqCst) == woken {
                thread::park_timeout(LONG);
                assert!(begun.elapsed() < LONG, "a wake-up was lost");
            }
            woken = unpark.1.load(Ordering::SeqCst);
        }
    }

    fn poll<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
        Pin::new(future).poll(&mut Context::from_waker(waker))
    }

    /// Reports when and on which thread it is dropped.
    struct Witness(Sender<ThreadId>);

    impl Drop for Witness {
        fn drop(&mut self) {
            let _ = self.0.send(thread::current().id());
        }
    }

    fn witness() -> (Witness, Receiver<ThreadId>) {
        let (dropped, seen) = channel();
        (Witness(dropped), seen)
    }

    #[test]
    fn no_wake_up_is_lost() {
        let worker = Worker::start().unwrap();
        for number in 0..10_000_u32 {
            let limit = (number % 2 == 0).then(|| Instant::now() + LONG);
            let call = worker.begin(number, limit, None, &Pending::NotCounted, |number, _| {
                *number + 1
            });
            assert_eq!(block_on(call.unwrap()).unwrap(), (number, number + 1));
        }
    }

    /// An abort and the return of the call race with each other and with the poll.
    #[test]
    fn no_abort_is_lost() {
        let worker = Worker::start().unwrap();
        let (aborts, todo) = channel::<AbortHandle>();
        let aborter = thread::spawn(move || todo.into_iter().for_each(|abort| abort.abort()));
        for number in 0..10_000_u32 {
            let parent = AbortHandle::new();
            let abort = AbortHandle::within(Some(parent.clone()));
            let (go_on, wait) = channel::<()>();
            let call = worker.begin(
                (),
                None,
                Some(&abort),
                &Pending::NotCounted,
                move |(), _| wait.recv(),
            );
            let stops = if number % 2 == 0 { &abort } else { &parent };
            aborts.send(stops.clone()).unwrap();
            let abandoned = block_on(call.unwrap()).unwrap_err();
            assert_eq!(abandoned.why, GivenUp::Aborted);
            assert!(abort.is_aborted());
            assert_eq!(parent.is_aborted(), number % 2 == 1);
            assert!(lock(&parent.0.state).waiting.is_empty());
            assert!(lock(&abort.0.state).waiting.is_empty());
            drop(go_on);
        }
        drop(aborts);
        aborter.join().unwrap();
    }

    /// Dropped before, while and after the call returns: it is dropped on its thread each time.
    #[test]
    fn the_subject_of_a_dropped_future_is_dropped_on_the_thread_of_the_call() {
        let worker = Worker::start().unwrap();
        let (waker, _) = waker();
        for number in 0..10_000_u32 {
            let (subject, dropped) = witness();
            let (go_on, wait) = channel::<()>();
            let call = worker.begin(subject, None, None, &Pending::NotCounted, move |_, _| {
                wait.recv()
            });
            let mut call = call.unwrap();
            if number % 3 == 0 {
                assert!(poll(&mut call, &waker).is_pending());
            }
            match number % 2 {
                0 => {
                    drop(call);
                    drop(go_on);
                }
                _ => {
                    drop(go_on);
                    drop(call);
                }
            }
            let cleaner = dropped.recv_timeout(LONG).unwrap();
            assert_ne!(cleaner, thread::current().id());
        }
    }

    #[test]
    fn a_dropped_future_no_longer_grants_permits() {
        let worker = Worker::start().unwrap();
        let (go_on, wait) = channel::<()>();
        let (late_permit, asked) = channel();
        let call = worker.begin((), None, None, &Pending::NotCounted, move |(), permit| {
            let _ = wait.recv();
            let _ = late_permit.send(permit.grant());
        });
        drop(call.unwrap());
        drop(go_on);
        assert!(!asked.recv_timeout(LONG).unwrap());
    }

    #[test]
    fn a_returned_result_can_still_be_taken() {
        let worker = Worker::start().unwrap();
        let (waker, unpark) = waker();
        let mut call = worker
            .begin(1, None, None, &Pending::NotCounted, |one, _| *one + 1)
            .unwrap();
        if poll(&mut call, &waker).is_pending() {
            while unpark.1.load(Ordering::SeqCst) == 0 {
                thread::park_timeout(LONG);
            }
            assert_eq!(call.leave(), Some((1, 2)));
        }
        // The result of a call that has not returned cannot.
        let (go_on, wait) = channel::<()>();
        let call = worker.begin(1, None, None, &Pending::NotCounted, move |_, _| wait.recv());
        assert!(call.unwrap().leave().is_none());
        drop(go_on);
    }

    #[test]
    fn a_deadline_ends_the_wait() {
        let worker = Worker::start().unwrap();
        let (go_on, wait) = channel::<()>();
        let (grants, is_granted) = channel();
        let call = worker.begin((), None, None, &Pending::NotCounted, move |(), permit| {
            let _ = grants.send(permit.grant());
            wait.recv()
        });
        let mut call = call.unwrap();
        assert!(is_granted.recv_timeout(LONG).unwrap());
        let deadline = Instant::now() + Duration::from_millis(20);
        call.set_limits(Some(deadline), None).unwrap();
        let abandoned = block_on(call).unwrap_err();
        assert!(Instant::now() >= deadline);
        assert_eq!(abandoned.why, GivenUp::Deadline);
        assert!(abandoned.permitted);
        drop(go_on);
    }

    #[test]
    fn a_panic_in_a_call_wakes_the_caller() {
        let worker = Worker::start().unwrap();
        let call = worker.begin((), None, None, &Pending::NotCounted, |(), _| {
            panic!("on purpose")
        });
        let lost: Result<((), ()), _> = block_on(call.unwrap());
        assert_eq!(lost.unwrap_err().why, GivenUp::NoThread);
    }

    /// A task that moves passes a new waker with each poll.
    #[test]
    fn the_last_waker_is_woken() {
        let worker = Worker::start().unwrap();
        let (go_on, wait) = channel::<()>();
        let mut call = worker.begin((), None, None, &Pending::NotCounted, move |(), _| {
            wait.recv().is_ok()
        });
        let call = call.as_mut().unwrap();
        let ((first, woken), (second, woken_later)) = (waker(), waker());
        assert!(poll(call, &first).is_pending());
        assert!(poll(call, &second).is_pending());
        go_on.send(()).unwrap();
        let begun = Instant::now();
        while woken_later.1.load(Ordering::SeqCst) == 0 {
            thread::park_timeout(LONG);
            assert!(begun.elapsed() < LONG);
        }
        assert_eq!(woken.1.load(Ordering::SeqCst), 0);
        assert!(poll(call, &second).is_ready());
    }
}
