//! Calls that can be given up: they run on a thread of their own, and the caller waits for
//! them as long as it wants.
//!
//! A PC/SC call that waits cannot be interrupted from outside: releasing its context or
//! disconnecting its handle from another thread frees memory that it still uses (pcsc-lite).
//! So the call keeps what it works on, by ownership. When the caller leaves, the call goes
//! on by itself, and what it worked on is dropped when it returns: that ends a transaction
//! which was won too late, and disconnects a card which was connected too late.

#[cfg(feature = "async")]
mod clock;
#[cfg(feature = "async")]
mod future;
#[cfg(all(test, model))]
#[path = "../../tests/models/worker.rs"]
mod model;
pub(crate) mod pause;
mod pending;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, PoisonError};
use std::task::Waker;
use std::time::Instant;

use crate::service::Process;
use crate::sync::mpsc::{self, Sender};
use crate::sync::{Condvar, Mutex, MutexGuard, lock, now, thread};

#[cfg(feature = "async")]
pub(crate) use clock::Alarm;
#[cfg(feature = "async")]
pub(crate) use future::UnderWay;
pub(crate) use pending::Pending;

/// Why a call was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GivenUp {
    /// The deadline passed.
    Deadline,
    /// An [`AbortHandle`] was used.
    Aborted,
    /// The thread could not be started, or ended in a panic.
    NoThread,
}

/// A call that was given up, whether it had begun, and whether it had been
/// [permitted](Permit::grant) by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Abandoned {
    pub(crate) why: GivenUp,
    pub(crate) begun: bool,
    pub(crate) permitted: bool,
}

impl Abandoned {
    pub(crate) const fn before_it_began(why: GivenUp) -> Abandoned {
        Abandoned {
            why,
            begun: false,
            permitted: false,
        }
    }
}

/// Stops the calls of a card, or a [`Monitor`](crate::Monitor), from any thread.
///
/// Clones stop the same. Stopping is final: a call that is under way returns to its caller
/// with [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) at once, and so does every
/// later one. What was under way goes on behind the scenes until the service answers, and is
/// cleaned up then.
///
/// ```no_run
/// # fn demo(context: &scard::Context, reader: &scard::ReaderName) -> scard::Result<()> {
/// use scard::{AbortHandle, ConnectOptions};
///
/// let abort = AbortHandle::new();
/// let mut card = context.connect(reader, ConnectOptions::new().abort_handle(&abort))?;
/// std::thread::spawn(move || {
///     // When the user closes the window:
///     abort.abort();
/// });
/// let answer = card.transmit(&[0x00, 0x84, 0x00, 0x00, 0x08])?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct AbortHandle(Arc<Stop>);

#[derive(Default)]
struct Stop {
    state: Mutex<StopState>,
    /// Stops what this stops, too.
    parent: Option<AbortHandle>,
}

#[derive(Default)]
struct StopState {
    aborted: bool,
    waiting: Vec<Waiter>,
    next: u64,
}

/// A caller that waits.
#[derive(Clone)]
struct Waiter {
    /// Its own.
    number: u64,
    /// It waits in no other: neither is it in a forked child, nor is what wakes it.
    process: Process,
    caller: Arc<dyn Wake>,
}

/// A caller that can be told to look up.
pub(crate) trait Wake: Send + Sync {
    /// Called once the handle is aborted, which it stays.
    fn wake(&self);
}

impl AbortHandle {
    /// A handle that stops nothing yet; give it to
    /// [`ConnectOptions::abort_handle`](crate::ConnectOptions::abort_handle).
    pub fn new() -> AbortHandle {
        AbortHandle::default()
    }

    /// Stops every call of the cards that were connected with this handle, and every monitor
    /// that was begun with it, now and later.
    pub fn abort(&self) {
        let waiting = {
            let mut state = lock(&self.0.state);
            state.aborted = true;
            state.waiting.clone()
        };
        // A waker of an executor that panics keeps nobody else from being woken.
        let mut panic = None;
        let here = waiting.iter().filter(|it| !it.process.is_forked());
        for Waiter { caller, .. } in here {
            if let Err(reason) = catch_unwind(AssertUnwindSafe(|| caller.wake())) {
                panic = Some(reason);
            }
        }
        if let Some(reason) = panic {
            resume_unwind(reason);
        }
    }

    /// A handle that stops less than `parent` does, which stops what this one stops, too.
    #[cfg(feature = "async")]
    pub(crate) fn within(parent: Option<AbortHandle>) -> AbortHandle {
        AbortHandle(Arc::new(Stop {
            state: Mutex::default(),
            parent,
        }))
    }

    /// Whether [`abort`](AbortHandle::abort) was called.
    pub fn is_aborted(&self) -> bool {
        let aborted = lock(&self.0.state).aborted;
        aborted || self.0.parent.as_ref().is_some_and(AbortHandle::is_aborted)
    }

    /// Has a caller woken by [`abort`](AbortHandle::abort), until the registration ends.
    pub(crate) fn register(&self, caller: Arc<dyn Wake>) -> Registration {
        let parent = self.0.parent.as_ref();
        let with_parent = parent.map(|parent| Box::new(parent.register(Arc::clone(&caller))));
        let mut state = lock(&self.0.state);
        let number = state.next;
        state.next += 1;
        state.waiting.push(Waiter {
            number,
            process: Process::current(),
            caller,
        });
        Registration {
            handle: self.clone(),
            number,
            _with_parent: with_parent,
        }
    }
}

impl fmt::Debug for AbortHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AbortHandle")
            .field("aborted", &self.is_aborted())
            .finish_non_exhaustive()
    }
}

/// Two handles are equal if they stop the same.
impl PartialEq for AbortHandle {
    fn eq(&self, other: &AbortHandle) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for AbortHandle {}

/// A caller's place among those that an abort wakes.
#[derive(Debug)]
pub(crate) struct Registration {
    handle: AbortHandle,
    number: u64,
    _with_parent: Option<Box<Registration>>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut state = lock(&self.handle.0.state);
        let place = state.waiting.iter().position(|it| it.number == self.number);
        let caller = place.map(|place| state.waiting.remove(place));
        // With the state unlocked: this can be the end of what the caller waited for.
        drop(state);
        drop(caller);
    }
}

/// Where a call and its caller meet again.
struct Meeting<T> {
    state: Mutex<MeetingState<T>>,
    changed: Condvar,
}

struct MeetingState<T> {
    /// The caller has left.
    left: bool,
    /// The call may do what cannot be undone.
    permitted: bool,
    call: Call<T>,
    /// The task of a caller that does not wait on its thread.
    waker: Option<Waker>,
    pending: Pending,
    /// The caller has left the call under way, which is counted until it is over.
    is_pending: bool,
}

enum Call<T> {
    UnderWay,
    Returned(T),
    /// It ended in a panic.
    Lost,
}

impl<T> Meeting<T> {
    fn new(pending: &Pending) -> Meeting<T> {
        Meeting {
            state: Mutex::new(MeetingState {
                left: false,
                permitted: false,
                call: Call::UnderWay,
                waker: None,
                pending: pending.clone(),
                is_pending: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// The call's side: hands over what it has. Gives it back if nobody waits any more.
    fn return_with(&self, value: T) -> Option<T> {
        let mut state = lock(&self.state);
        if state.left {
            return Some(value);
        }
        state.call = Call::Returned(value);
        self.notify(state);
        None
    }

    /// Makes the caller look, with the state unlocked: what a waker does is not ours.
    fn notify(&self, mut state: MutexGuard<'_, MeetingState<T>>) {
        let waker = state.waker.take();
        drop(state);
        self.changed.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The caller's side.
    fn wait(&self, deadline: Option<Instant>, abort: Option<&AbortHandle>) -> Result<T, Abandoned> {
        let mut state = lock(&self.state);
        loop {
            if let Some(outcome) = state.look(deadline, abort) {
                return outcome;
            }
            state = match deadline {
                None => self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(now());
                    self.changed
                        .wait_timeout(state, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
    }
}

impl<T> MeetingState<T> {
    /// The caller's look: `None` if there is reason to wait.
    fn look(
        &mut self,
        deadline: Option<Instant>,
        abort: Option<&AbortHandle>,
    ) -> Option<Result<T, Abandoned>> {
        match std::mem::replace(&mut self.call, Call::UnderWay) {
            Call::Returned(value) => return Some(Ok(value)),
            Call::Lost => return Some(Err(self.abandoned(GivenUp::NoThread))),
            Call::UnderWay => {}
        }
        // Looked at with the state locked: an abort that comes later wakes us.
        let why = if abort.is_some_and(AbortHandle::is_aborted) {
            GivenUp::Aborted
        } else if deadline.is_some_and(|deadline| deadline <= now()) {
            GivenUp::Deadline
        } else {
            return None;
        };
        self.leave_under_way();
        Some(Err(self.abandoned(why)))
    }

    fn leave_under_way(&mut self) {
        self.left = true;
        self.is_pending = true;
        self.pending.add();
    }

    fn abandoned(&self, why: GivenUp) -> Abandoned {
        Abandoned {
            why,
            begun: true,
            permitted: self.permitted,
        }
    }
}

impl<T: Send> Wake for Meeting<T> {
    fn wake(&self) {
        // With the state locked first, so that a caller between its look and its sleep is not
        // missed.
        self.notify(lock(&self.state));
    }
}

/// Asks whether the caller still waits, before something is done that cannot be undone.
pub(crate) struct Permit<'a>(Option<&'a dyn Grant>);

trait Grant {
    fn has_left(&self) -> bool;
    fn grant(&self) -> bool;
}

/// A caller that has gone on already and has set a time.
#[cfg(feature = "async")]
impl Grant for Instant {
    fn has_left(&self) -> bool {
        *self <= now()
    }

    fn grant(&self) -> bool {
        !self.has_left()
    }
}

impl<T> Grant for Meeting<T> {
    fn has_left(&self) -> bool {
        lock(&self.state).left
    }

    fn grant(&self) -> bool {
        let mut state = lock(&self.state);
        state.permitted |= !state.left;
        !state.left
    }
}

impl Permit<'_> {
    /// For a call on the caller's own thread.
    pub(crate) const GRANTED: Permit<'static> = Permit(None);

    /// For a call that is not waited for, and not to have effects after this time.
    #[cfg(feature = "async")]
    pub(crate) fn until(end: Option<&Instant>) -> Permit<'_> {
        Permit(end.map(|end| end as &dyn Grant))
    }

    /// Whether the caller can leave at all.
    pub(crate) fn is_conditional(&self) -> bool {
        self.0.is_some()
    }

    /// Whether the caller has left already, so that all that is done now has to be undone.
    pub(crate) fn is_void(&self) -> bool {
        self.0.is_some_and(|caller| caller.has_left())
    }

    /// Whether the caller still waits. If so, and if it gives up later, it will know that
    /// this was permitted.
    pub(crate) fn grant(&self) -> bool {
        self.0.is_none_or(|caller| caller.grant())
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// A thread that makes calls, one after the other. It ends when this is dropped and the call
/// that is under way has returned.
#[derive(Debug)]
pub(crate) struct Worker {
    jobs: Jobs,
}

/// The way to the thread of a worker.
#[derive(Debug, Clone)]
struct Jobs {
    /// Always there, until this is dropped.
    sender: Option<Sender<Job>>,
    /// A forked child does not have the thread.
    process: Process,
}

impl Jobs {
    /// Says whether the thread is there.
    fn send(&self, job: Job) -> bool {
        if self.is_forked() {
            return false;
        }
        let sent = self.sender.as_ref().map(|sender| sender.send(job));
        sent.is_some_and(|sent| sent.is_ok())
    }

    fn is_forked(&self) -> bool {
        self.process.is_forked()
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        if self.is_forked() {
            // The thread may have been in it at that moment, and have locked it.
            std::mem::forget(self.sender.take());
        }
    }
}

impl Worker {
    pub(crate) fn start() -> Option<Worker> {
        let (jobs, todo) = mpsc::channel::<Job>();
        let thread = thread::Builder::new().name("scard".to_owned());
        thread
            .spawn(move || todo.into_iter().for_each(|job| job()))
            .ok()?;
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

    /// Does something on the thread, after what is under way there.
    pub(crate) fn do_later(&self, job: impl FnOnce() + Send + 'static) {
        self.jobs.send(Box::new(job));
    }

    /// Gives a call to the thread. If that has ended, in a panic, what the call was to work on
    /// is dropped.
    fn send<S, T>(
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
            // If nobody waits: dropped here, on this thread.
            drop(there.0.return_with((subject, given)));
            drop(there);
        });
        match self.jobs.send(job) {
            true => Ok(()),
            false => Err(Abandoned::before_it_began(GivenUp::NoThread)),
        }
    }

    /// Makes a call and waits for it. What the call works on moves there and back; if the
    /// caller leaves, it is dropped there when the call returns, with what it gave.
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

/// Ends a call, and tells the caller if it has not returned.
struct Lost<T>(Arc<Meeting<T>>);

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

/// Does something on a thread of its own, because it can take its time. Without a thread, here.
pub(crate) fn do_elsewhere(job: impl FnOnce() + Send + 'static) {
    match Worker::start() {
        Some(worker) => worker.do_later(job),
        None => job(),
    }
}

#[cfg(all(test, not(model)))]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn in_a_moment() -> Option<Instant> {
        Some(Instant::now() + Duration::from_millis(20))
    }

    /// Says when it is dropped, and on which thread.
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
    fn a_call_brings_its_subject_back() {
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
    fn a_call_that_takes_too_long_is_left_and_cleaned_up_there() {
        let worker = Worker::start().unwrap();
        let (subject, dropped) = witness();
        let (go_on, wait) = channel::<()>();
        let (late_permit, asked) = channel();
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
        assert!(!asked.recv_timeout(LONG).unwrap(), "too late to do more");
        let cleaner = dropped.recv_timeout(LONG).unwrap();
        assert_ne!(cleaner, thread::current().id());
    }

    #[test]
    fn a_caller_knows_what_it_permitted_before_it_left() {
        let worker = Worker::start().unwrap();
        let (go_on, wait) = channel::<()>();
        let left = worker.run(
            (),
            in_a_moment(),
            None,
            &Pending::NotCounted,
            move |_, permit| {
                assert!(permit.grant());
                let _ = wait.recv();
            },
        );
        assert!(left.err().unwrap().permitted);
        drop(go_on);
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
    fn a_panic_in_a_call_is_told_and_not_waited_for() {
        let worker = Worker::start().unwrap();
        let lost = worker.run((), None, None, &Pending::NotCounted, |_, _| {
            panic!("on purpose")
        });
        assert_eq!(lost.err().unwrap().why, GivenUp::NoThread);
        // Sooner or later the thread is gone, and that is told, too.
        let (subject, dropped) = witness();
        let lost = worker.run(subject, None, None, &Pending::NotCounted, |_, _| ());
        assert_eq!(lost.err().unwrap().why, GivenUp::NoThread);
        dropped.recv_timeout(LONG).unwrap();
    }

    #[test]
    fn an_abort_wakes_those_who_wait_and_not_those_who_have_left() {
        struct Woken(AtomicBool);

        impl Wake for Woken {
            fn wake(&self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }

        for leaves in 0..3 {
            let abort = AbortHandle::new();
            let callers = [(); 3].map(|()| Arc::new(Woken(AtomicBool::new(false))));
            let mut waiting: Vec<Registration> = callers
                .iter()
                .map(|caller| abort.register(Arc::clone(caller) as Arc<_>))
                .collect();
            drop(waiting.remove(leaves));
            abort.abort();
            for (i, caller) in callers.iter().enumerate() {
                assert_eq!(caller.0.load(Ordering::SeqCst), i != leaves, "{i} {leaves}");
            }
        }
    }

    #[test]
    fn a_permit_says_whether_its_caller_can_leave_and_has() {
        let told = |permit: &Permit<'_>| {
            let (can_leave, has_left) = (permit.is_conditional(), permit.is_void());
            (can_leave, has_left, permit.grant())
        };
        assert_eq!(told(&Permit::GRANTED), (false, false, true));
        #[cfg(feature = "async")]
        {
            let now = Instant::now();
            assert_eq!(told(&Permit::until(None)), (false, false, true));
            assert_eq!(told(&Permit::until(Some(&now))), (true, true, false));
            let later = now + LONG;
            assert_eq!(told(&Permit::until(Some(&later))), (true, false, true));
        }
        let worker = Worker::start().unwrap();
        let (go_on, wait) = channel::<()>();
        let (tell, asked) = channel();
        let abort = AbortHandle::new();
        let other = abort.clone();
        let leaver = thread::spawn(move || {
            let before = asked.recv_timeout(LONG).unwrap();
            other.abort();
            (before, asked)
        });
        let left = worker.run(
            (),
            None,
            Some(&abort),
            &Pending::NotCounted,
            move |_, permit| {
                let _ = tell.send((permit.is_conditional(), permit.is_void()));
                let _ = wait.recv();
                let _ = tell.send((permit.is_conditional(), permit.is_void()));
            },
        );
        assert!(left.is_err());
        let (before, asked) = leaver.join().unwrap();
        drop(go_on);
        let after = asked.recv_timeout(LONG).unwrap();
        assert_eq!((before, after), ((true, false), (true, true)));
    }

    #[test]
    fn handles_are_equal_if_they_stop_the_same() {
        let abort = AbortHandle::new();
        assert_eq!(abort, abort.clone());
        assert_ne!(abort, AbortHandle::new());
        assert_eq!(format!("{abort:?}"), "AbortHandle { aborted: false, .. }");
    }
}
