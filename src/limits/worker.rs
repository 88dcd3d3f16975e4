//! Threads that make calls, and how callers wait for them.

#[cfg(all(test, model))]
#[path = "../../tests/models/worker.rs"]
mod model;

use std::sync::Arc;
use std::time::Instant;

use super::meeting::{Call, Meeting};
use super::{Abandoned, AbortHandle, GivenUp, Pending, Permit};
use crate::service::Process;
use crate::sync::mpsc::{self, Sender};
use crate::sync::{lock, start_thread};

pub(super) type Job = Box<dyn FnOnce() + Send>;

/// A thread that makes calls, one after the other. It ends when this is dropped and the current
/// call has returned.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(super) jobs: Jobs,
}

/// The queue to a worker's thread.
#[derive(Debug, Clone)]
pub(super) struct Jobs {
    /// Always `Some` until this is dropped.
    sender: Option<Sender<Job>>,
    /// The process that has the thread; a forked child does not.
    process: Process,
}

impl Jobs {
    /// Returns whether the thread is running.
    pub(super) fn send(&self, job: Job) -> bool {
        if self.is_forked() {
            return false;
        }
        let sent = self.sender.as_ref().map(|sender| sender.send(job));
        sent.is_some_and(|sent| sent.is_ok())
    }

    pub(super) fn is_forked(&self) -> bool {
        self.process.is_forked()
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        if self.is_forked() {
            // The thread may have held its lock at the moment of the fork.
            std::mem::forget(self.sender.take());
        }
    }
}

impl Worker {
    pub(crate) fn start() -> Option<Worker> {
        let (jobs, todo) = mpsc::channel::<Job>();
        start_thread("scard", move || todo.into_iter().for_each(|job| job())).ok()?;
        Some(Worker::with(jobs))
    }

    fn with(jobs: Sender<Job>) -> Worker {
        Worker {
            jobs: Jobs {
                sender: Some(jobs),
                process: Process::current(),
            },
        }
    }

    /// Runs a job on the thread, after the current one.
    pub(crate) fn do_later(&self, job: impl FnOnce() + Send + 'static) {
        self.jobs.send(Box::new(job));
    }

    /// Sends a call to the thread. If the thread has panicked, the subject of the call is dropped.
    pub(super) fn send<S, T>(
        &self,
        meeting: &Arc<Meeting<(S, T)>>,
        mut subject: S,
        call: impl FnOnce(&mut S, &Permit<'_>) -> T + Send + 'static,
    ) -> Result<(), Abandoned>
    where
        S: Send + 'static,
        T: Send + 'static,
    {
        let there = Lost(Arc::clone(meeting));
        let job: Job = Box::new(move || {
            let given = call(&mut subject, &Permit(Some(&*there.0)));
            there.0.return_with((subject, given));
            drop(there);
        });
        match self.jobs.send(job) {
            true => Ok(()),
            false => Err(Abandoned::before_it_began(GivenUp::NoThread)),
        }
    }

    /// Makes a call and waits for it. The subject of the call moves to the thread and back; if the
    /// caller gives up, it is dropped there when the call returns, together with the result.
    pub(crate) fn run<S, T>(
        &self,
        subject: S,
        deadline: Option<Instant>,
        abort: Option<&AbortHandle>,
        pending: &Pending,
        call: impl FnOnce(&mut S, &Permit<'_>) -> T + Send + 'static,
    ) -> Result<(S, T), Abandoned>
    where
        S: Send + 'static,
        T: Send + 'static,
    {
        let meeting = Arc::new(Meeting::new(pending));
        let _registration = abort.map(|abort| abort.register(Arc::clone(&meeting) as Arc<_>));
        self.send(&meeting, subject, call)?;
        meeting.wait(deadline, abort)
    }
}

/// Ends a call, and notifies the caller if it did not return.
pub(super) struct Lost<T>(pub(super) Arc<Meeting<T>>);

impl<T> Drop for Lost<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        if std::mem::take(&mut state.is_pending) {
            state.pending.remove();
        }
        if !state.left && matches!(state.call, Call::UnderWay) {
            state.call = Call::Lost;
            self.0.notify(state);
        }
    }
}

/// Runs a job that may take a while on a new thread, or on this one if none can be started.
pub(crate) fn do_elsewhere(job: impl FnOnce() + Send + 'static) {
    match Worker::start() {
        Some(worker) => worker.do_later(job),
        None => job(),
    }
}

#[cfg(all(test, not(model)))]
mod tests {
    use std::sync::mpsc::{Receiver, channel};
    use std::thread;
    use std::time::Duration;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn in_a_moment() -> Option<Instant> {
        Some(Instant::now() + Duration::from_millis(20))
    }

    /// Reports when and on which thread it is dropped.
    struct Witness(Sender<thread::ThreadId>);

    impl Drop for Witness {
        fn drop(&mut self) {
            let _ = self.0.send(thread::current().id());
        }
    }

    fn witness() -> (Witness, Receiver<thread::ThreadId>) {
        let (dropped, seen) = channel();
        (Witness(dropped), seen)
    }

    #[test]
    fn a_permit_tells_whether_its_caller_can_leave_and_has_left() {
        let states = |permit: &Permit<'_>| {
            let (can_leave, has_left) = (permit.is_conditional(), permit.is_void());
            (can_leave, has_left, permit.grant())
        };
        assert_eq!(states(&Permit::GRANTED), (false, false, true));
        #[cfg(feature = "async")]
        {
            let now = Instant::now();
            assert_eq!(states(&Permit::until(None)), (false, false, true));
            assert_eq!(states(&Permit::until(Some(&now))), (true, true, false));
            let later = now + LONG;
            assert_eq!(states(&Permit::until(Some(&later))), (true, false, true));
        }
        let worker = Worker::start().unwrap();
        let (go_on, wait) = channel::<()>();
        let (sender, receiver) = channel();
        let abort = AbortHandle::new();
        let other = abort.clone();
        let leaver = thread::spawn(move || {
            let before = receiver.recv_timeout(LONG).unwrap();
            other.abort();
            (before, receiver)
        });
        let left = worker.run(
            (),
            None,
            Some(&abort),
            &Pending::NotCounted,
            move |_, permit| {
                let _ = sender.send((permit.is_conditional(), permit.is_void()));
                let _ = wait.recv();
                let _ = sender.send((permit.is_conditional(), permit.is_void()));
            },
        );
        assert!(left.is_err());
        let (before, receiver) = leaver.join().unwrap();
        drop(go_on);
        let after = receiver.recv_timeout(LONG).unwrap();
        assert_eq!((before, after), ((true, false), (true, true)));
    }

    #[test]
    fn a_call_returns_its_subject() {
        let worker = Worker::start().unwrap();
        for deadline in [None, Some(Instant::now() + LONG)] {
            let (subject, given) = worker
                .run(
                    vec![1],
                    deadline,
                    None,
                    &Pending::NotCounted,
                    |subject, permit| {
                        subject.push(2);
                        permit.grant()
                    },
                )
                .unwrap();
            assert_eq!(subject, [1, 2]);
            assert!(given);
        }
    }

    #[test]
    fn a_call_that_takes_too_long_is_given_up_and_cleaned_up_on_its_thread() {
        let worker = Worker::start().unwrap();
        let (subject, dropped) = witness();
        let (go_on, wait) = channel::<()>();
        let (late_permit, receiver) = channel();
        let left = worker.run(
            subject,
            in_a_moment(),
            None,
            &Pending::NotCounted,
            move |_, permit| {
                let _ = wait.recv();
                let _ = late_permit.send(permit.grant());
            },
        );
        let abandoned = left.err().unwrap();
        assert_eq!(abandoned.why, GivenUp::Deadline);
        assert!(!abandoned.permitted);
        assert!(dropped.try_recv().is_err(), "it is still in use");
        go_on.send(()).unwrap();
        assert!(!receiver.recv_timeout(LONG).unwrap(), "too late to do more");
        let cleaner = dropped.recv_timeout(LONG).unwrap();
        assert_ne!(cleaner, thread::current().id());
    }

    /// The result for a caller that gives up after the call has done this with its permit.
    fn left_after(permitted: impl FnOnce(&Permit<'_>) + Send + 'static) -> Abandoned {
        let worker = Worker::start().unwrap();
        let (go_on, wait) = channel::<()>();
        let (sender, receiver) = channel();
        let abort = AbortHandle::new();
        let aborted = abort.clone();
        thread::spawn(move || receiver.recv_timeout(LONG).map(|()| aborted.abort()));
        let left = worker.run(
            (),
            None,
            Some(&abort),
            &Pending::NotCounted,
            move |_, permit| {
                permitted(permit);
                let _ = sender.send(());
                let _ = wait.recv();
            },
        );
        drop(go_on);
        left.err().unwrap()
    }

    #[test]
    fn a_caller_knows_what_it_permitted_before_it_left() {
        assert!(left_after(|permit| assert!(permit.grant())).permitted);
    }

    #[test]
    fn a_caller_knows_that_a_permitted_action_was_not_taken() {
        let left = left_after(|permit| {
            assert!(permit.grant());
            permit.withdraw();
        });
        assert!(!left.permitted);
    }

    #[test]
    fn an_abort_ends_the_wait_and_is_never_lost() {
        let worker = Worker::start().unwrap();
        for before in [true, false] {
            let abort = AbortHandle::new();
            let (go_on, wait) = channel::<()>();
            let other = abort.clone();
            let aborter = thread::spawn(move || other.abort());
            if before {
                aborter.join().unwrap();
            }
            let left = worker.run((), None, Some(&abort), &Pending::NotCounted, move |_, _| {
                let _ = wait.recv();
            });
            assert_eq!(left.err().unwrap().why, GivenUp::Aborted);
            assert!(abort.is_aborted());
            assert!(lock(&abort.0.state).waiting.is_empty());
            drop(go_on);
        }
    }

    #[test]
    fn a_panic_in_a_call_is_reported_at_once() {
        let worker = Worker::start().unwrap();
        let lost = worker.run((), None, None, &Pending::NotCounted, |_, _| {
            panic!("on purpose")
        });
        assert_eq!(lost.err().unwrap().why, GivenUp::NoThread);
        // Eventually the thread is gone, and that is reported, too.
        let (subject, dropped) = witness();
        let lost = worker.run(subject, None, None, &Pending::NotCounted, |_, _| ());
        assert_eq!(lost.err().unwrap().why, GivenUp::NoThread);
        dropped.recv_timeout(LONG).unwrap();
    }
}
