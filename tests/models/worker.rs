//! The worker, with its threads in every order: see [`crate::sync::model`].

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::*;
use crate::sync::Condvar;
use crate::sync::model::{beginning, check, pass};
use crate::sync::thread::{self, ThreadId};

const MOMENT: Duration = Duration::from_millis(20);

/// A moment after the start.
fn in_a_moment() -> Option<Instant> {
    Some(beginning() + MOMENT)
}

/// Records the thread on which it is dropped.
struct Witness(Arc<Mutex<Vec<ThreadId>>>);

impl Drop for Witness {
    fn drop(&mut self) {
        seen(&self.0).push(thread::current().id());
    }
}

fn seen(dropped: &Mutex<Vec<ThreadId>>) -> std::sync::MutexGuard<'_, Vec<ThreadId>> {
    dropped.lock().unwrap_or_else(PoisonError::into_inner)
}

fn witness() -> (Witness, Arc<Mutex<Vec<ThreadId>>>) {
    let dropped = Arc::default();
    (Witness(Arc::clone(&dropped)), dropped)
}

/// A flag that the checker does not track, so no order depends on it.
#[derive(Clone, Default)]
struct Note(Arc<AtomicBool>);

impl Note {
    fn set(&self, value: bool) {
        self.0.store(value, Ordering::SeqCst);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Can be opened once, and waited for.
#[derive(Clone, Default)]
struct Gate(Arc<(crate::sync::Mutex<bool>, Condvar)>);

impl Gate {
    fn open(&self) {
        *lock(&self.0.0) = true;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let mut open = lock(&self.0.0);
        while !*open {
            open = self.0.1.wait(open).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Waits until the worker's earlier calls have returned and dropped their subjects.
fn assert_idle(worker: &Worker) {
    assert!(
        worker
            .run((), None, None, &Pending::NotCounted, |(), _| ())
            .is_ok()
    );
}

/// Checks that the subject is dropped once: by the caller if it has it, otherwise on the thread of
/// the call.
fn assert_dropped_once(kept: Option<Witness>, dropped: &Mutex<Vec<ThreadId>>) {
    let was_kept = kept.is_some();
    if was_kept {
        assert!(seen(dropped).is_empty(), "both have the subject");
        drop(kept);
    }
    let threads = seen(dropped);
    assert_eq!(threads.len(), 1, "neither or both had the subject");
    assert_eq!(threads[0] == thread::current().id(), was_kept);
}

#[test]
fn a_returning_call_and_a_leaving_caller_agree_which_of_them_has_the_subject() {
    check(|| {
        let worker = Worker::start().unwrap();
        let (subject, dropped) = witness();
        let clock = thread::spawn(|| pass(MOMENT));
        let answer = worker.run(
            subject,
            in_a_moment(),
            None,
            &Pending::NotCounted,
            |_, _| (),
        );
        let kept = match answer {
            Ok((subject, ())) => Some(subject),
            Err(abandoned) => {
                assert_eq!(abandoned.why, GivenUp::Deadline);
                assert_idle(&worker);
                None
            }
        };
        assert_dropped_once(kept, &dropped);
        clock.join().unwrap();
    });
}

#[test]
fn a_caller_knows_of_a_permit_and_none_is_granted_after_it_left() {
    check(|| {
        let worker = Worker::start().unwrap();
        let (granted, seen) = (Note::default(), Note::default());
        let (grant, left) = (granted.clone(), seen.clone());
        let clock = thread::spawn(|| pass(MOMENT));
        let answer = worker.run(
            (),
            in_a_moment(),
            None,
            &Pending::NotCounted,
            move |(), permit| {
                let had_left = left.get();
                grant.set(permit.grant());
                assert!(!(had_left && grant.get()), "permitted too late");
            },
        );
        seen.set(answer.is_err());
        if let Err(abandoned) = answer {
            assert_idle(&worker);
            assert_eq!(abandoned.permitted, granted.get());
        } else {
            assert!(granted.get());
        }
        clock.join().unwrap();
    });
}

/// An abort before, during and after the caller's check. The call waits for the caller to leave, so
/// a lost abort is a deadlock.
fn an_abort_ends_a_call(handles: fn() -> (AbortHandle, AbortHandle)) {
    check(move || {
        let worker = Worker::start().unwrap();
        let (abort, stops) = handles();
        let has_left = Gate::default();
        let wait = has_left.clone();
        let aborter = thread::spawn(move || stops.abort());
        let (subject, dropped) = witness();
        let answer = worker.run(
            subject,
            None,
            Some(&abort),
            &Pending::NotCounted,
            move |_, _| wait.pass(),
        );
        assert_eq!(answer.err().unwrap().why, GivenUp::Aborted);
        assert!(seen(&dropped).is_empty(), "the call still uses the subject");
        has_left.open();
        assert_idle(&worker);
        assert_dropped_once(None, &dropped);
        aborter.join().unwrap();
        let registered = |abort: &AbortHandle| lock(&abort.0.state).waiting.len();
        assert_eq!(registered(&abort), 0);
        assert_eq!(abort.0.parent.as_ref().map_or(0, registered), 0);
    });
}

#[test]
fn no_abort_is_lost() {
    an_abort_ends_a_call(|| {
        let abort = AbortHandle::new();
        (abort.clone(), abort)
    });
}

#[cfg(feature = "async")]
#[test]
fn no_abort_of_a_parent_is_lost() {
    an_abort_ends_a_call(|| {
        let parent = AbortHandle::new();
        (AbortHandle::within(Some(parent.clone())), parent)
    });
}

#[test]
fn an_abort_wakes_all_callers() {
    check(|| {
        let abort = AbortHandle::new();
        let callers: Vec<_> = (0..2)
            .map(|_| {
                let abort = abort.clone();
                thread::spawn(move || {
                    let meeting = Arc::new(Meeting::<()>::new(&Pending::NotCounted));
                    let _registration = abort.register(Arc::clone(&meeting) as Arc<_>);
                    let left = meeting.wait(None, Some(&abort));
                    assert_eq!(left.unwrap_err().why, GivenUp::Aborted);
                })
            })
            .collect();
        abort.abort();
        callers.into_iter().for_each(|it| it.join().unwrap());
        assert!(lock(&abort.0.state).waiting.is_empty());
    });
}

/// The call returns, the deadline passes and the call is aborted, all at the same time.
#[test]
fn a_wait_has_one_outcome_whatever_ends_it_first() {
    check(|| {
        let abort = AbortHandle::new();
        let meeting = Arc::new(Meeting::new(&Pending::NotCounted));
        let (subject, dropped) = witness();
        let there = Arc::clone(&meeting);
        let call = thread::spawn(move || {
            let here = Lost(there);
            here.0.return_with(subject);
            thread::current().id()
        });
        let stops = abort.clone();
        let aborter = thread::spawn(move || stops.abort());
        let clock = thread::spawn(|| pass(MOMENT));
        let _registration = abort.register(Arc::clone(&meeting) as Arc<_>);
        let answer = meeting.wait(in_a_moment(), Some(&abort));
        call.join().unwrap();
        assert_dropped_once(answer.ok(), &dropped);
        aborter.join().unwrap();
        clock.join().unwrap();
    });
}

/// The call ends without returning, as by a panic.
#[test]
fn a_call_that_is_lost_wakes_its_caller() {
    check(|| {
        let meeting = Arc::new(Meeting::<()>::new(&Pending::NotCounted));
        let there = Lost(Arc::clone(&meeting));
        let call = thread::spawn(move || drop(there));
        let lost = meeting.wait(None, None);
        assert_eq!(lost.unwrap_err().why, GivenUp::NoThread);
        call.join().unwrap();
    });
}

/// A thread ends with calls that it has not made, as by a panic.
#[test]
fn no_caller_waits_for_a_thread_that_has_ended() {
    check(|| {
        let (jobs, todo) = mpsc::channel::<Job>();
        let worker = Worker::with(jobs);
        let ends = thread::spawn(move || drop(todo));
        let (subject, dropped) = witness();
        let lost = worker.run(subject, None, None, &Pending::NotCounted, |_, _| ());
        assert_eq!(lost.err().unwrap().why, GivenUp::NoThread);
        ends.join().unwrap();
        assert_eq!(seen(&dropped).len(), 1);
    });
}

/// A worker that is dropped during a call finishes the call, then ends.
#[test]
fn a_worker_ends_when_its_last_call_has_returned() {
    check(|| {
        let worker = Worker::start().unwrap();
        let ended = Gate::default();
        let returns = ended.clone();
        let clock = thread::spawn(|| pass(MOMENT));
        let _ = worker.run(
            (),
            in_a_moment(),
            None,
            &Pending::NotCounted,
            move |(), _| returns.open(),
        );
        // The checker would report a thread that waits forever.
        drop(worker);
        ended.pass();
        clock.join().unwrap();
    });
}

#[cfg(feature = "async")]
mod futures {
    use super::*;
    use crate::sync::model::{Task, block_on};
    use std::task::Poll;

    #[test]
    fn no_wake_up_is_lost() {
        check(|| {
            let worker = Worker::start().unwrap();
            let call = worker
                .begin(1, None, None, &Pending::NotCounted, |one, _| *one + 1)
                .unwrap();
            assert_eq!(block_on(call), Ok((1, 2)));
        });
    }

    #[test]
    fn no_abort_is_lost() {
        for of_parent in [false, true] {
            check(move || {
                let worker = Worker::start().unwrap();
                let parent = AbortHandle::new();
                let abort = AbortHandle::within(Some(parent.clone()));
                let stops = if of_parent { parent } else { abort.clone() };
                let has_left = Gate::default();
                let wait = has_left.clone();
                let call = worker.begin(
                    (),
                    None,
                    Some(&abort),
                    &Pending::NotCounted,
                    move |(), _| wait.pass(),
                );
                let aborter = thread::spawn(move || stops.abort());
                let left = block_on(call.unwrap());
                assert_eq!(left.unwrap_err().why, GivenUp::Aborted);
                has_left.open();
                aborter.join().unwrap();
            });
        }
    }

    #[test]
    fn what_a_dropped_future_leaves_is_dropped_once_on_the_thread_of_the_call() {
        for polls in [0, 1, 2] {
            check(move || {
                let worker = Worker::start().unwrap();
                let (subject, dropped) = witness();
                let (granted, left) = (Note::default(), Note::default());
                let (grant, has_left) = (granted.clone(), left.clone());
                let call = worker.begin(
                    subject,
                    None,
                    None,
                    &Pending::NotCounted,
                    move |_, permit| {
                        let had_left = has_left.get();
                        grant.set(permit.grant());
                        assert!(!(had_left && grant.get()), "permitted too late");
                    },
                );
                let mut call = call.unwrap();
                let task = Task::new();
                let mut kept = None;
                for _ in 0..polls {
                    if let (None, Poll::Ready(answer)) = (&kept, task.poll(&mut call)) {
                        kept = Some(answer.unwrap().0);
                        break;
                    }
                }
                drop(call);
                left.set(true);
                assert_idle(&worker);
                assert_dropped_once(kept, &dropped);
            });
        }
    }

    #[test]
    fn a_leaving_caller_takes_the_subject_of_a_returned_call() {
        check(|| {
            let worker = Worker::start().unwrap();
            let (subject, dropped) = witness();
            let mut call = worker
                .begin(subject, None, None, &Pending::NotCounted, |_, _| ())
                .unwrap();
            let kept = call.leave().map(|(subject, ())| subject);
            if kept.is_none() {
                assert_idle(&worker);
            }
            assert_dropped_once(kept, &dropped);
        });
    }

    /// A task that moves passes another waker with each poll.
    #[test]
    fn the_last_waker_is_woken() {
        check(|| {
            let worker = Worker::start().unwrap();
            let mut call = worker
                .begin((), None, None, &Pending::NotCounted, |(), _| ())
                .unwrap();
            let (first, second) = (Task::new(), Task::new());
            if first.poll(&mut call).is_ready() {
                return;
            }
            while second.poll(&mut call).is_pending() {
                second.wait();
            }
        });
    }

    #[test]
    fn a_call_that_is_lost_wakes_its_task() {
        check(|| {
            let (jobs, todo) = mpsc::channel::<Job>();
            let worker = Worker::with(jobs);
            let (subject, dropped) = witness();
            let Ok(call) = worker.begin(subject, None, None, &Pending::NotCounted, |_, _| ())
            else {
                unreachable!("the receiver exists");
            };
            let ends = thread::spawn(move || drop(todo));
            let lost = block_on(call);
            assert_eq!(lost.err().unwrap().why, GivenUp::NoThread);
            ends.join().unwrap();
            assert_eq!(seen(&dropped).len(), 1);
        });
    }
}

/// The only thread for all deadlines.
#[cfg(feature = "async")]
mod alarms {
    use super::*;
    use crate::limits::{Alarm, Wake};
    #[cfg(not(model = "loom"))]
    use crate::sync::model::block_on;

    /// Counts the wake-ups, and can be waited for.
    #[derive(Default)]
    struct Bell {
        rings: AtomicUsize,
        gate: Gate,
    }

    impl Wake for Bell {
        fn wake(&self) {
            self.rings.fetch_add(1, Ordering::SeqCst);
            self.gate.open();
        }
    }

    fn set(ms: u64) -> (Arc<Bell>, Alarm) {
        let bell = Arc::new(Bell::default());
        let at = beginning() + Duration::from_millis(ms);
        let alarm = Alarm::set(at, Arc::clone(&bell) as Arc<_>).unwrap();
        (bell, alarm)
    }

    #[test]
    fn an_alarm_rings() {
        check(|| {
            let (bell, alarm) = set(20);
            pass(MOMENT);
            bell.gate.pass();
            drop(alarm);
            assert_eq!(bell.rings.load(Ordering::SeqCst), 1);
            Alarm::outlast();
        });
    }

    /// The thread sleeps until the later alarm, or is about to, and must be woken.
    #[test]
    fn an_earlier_alarm_wakes_the_thread() {
        check(|| {
            let (later, set_later) = set(50);
            let (bell, alarm) = set(20);
            pass(MOMENT);
            bell.gate.pass();
            assert_eq!(later.rings.load(Ordering::SeqCst), 0, "too early");
            drop((alarm, set_later));
            Alarm::outlast();
        });
    }

    /// One of two callers leaves early; the other is still woken.
    #[test]
    fn a_caller_that_left_does_not_delay_another() {
        check(|| {
            let (left, set_left) = set(10);
            let caller = thread::spawn(|| {
                let (bell, _alarm) = set(20);
                bell.gate.pass();
            });
            drop(set_left);
            pass(MOMENT);
            caller.join().unwrap();
            assert!(left.rings.load(Ordering::SeqCst) <= 1);
            Alarm::outlast();
        });
    }

    /// The thread is about to end, because it has been idle for long.
    #[test]
    fn an_alarm_that_is_set_while_the_thread_ends_rings() {
        check(|| {
            let (_, alarm) = set(20);
            drop(alarm);
            let clock = thread::spawn(|| pass(Duration::from_secs(60)));
            let (bell, _alarm) = set(30);
            clock.join().unwrap();
            bell.gate.pass();
            drop(_alarm);
            Alarm::outlast();
        });
    }

    /// Four threads with the same locks: too much for every order.
    #[cfg(not(model = "loom"))]
    #[test]
    fn a_future_ends_at_its_deadline_or_with_an_answer() {
        check(|| {
            let worker = Worker::start().unwrap();
            let (subject, dropped) = witness();
            let call = worker.begin(
                subject,
                in_a_moment(),
                None,
                &Pending::NotCounted,
                |_, _| (),
            );
            let clock = thread::spawn(|| pass(MOMENT));
            let answer = block_on(call.unwrap());
            if let Err(abandoned) = &answer {
                assert_eq!(abandoned.why, GivenUp::Deadline);
                assert_idle(&worker);
            }
            assert_dropped_once(answer.ok().map(|(subject, ())| subject), &dropped);
            clock.join().unwrap();
            drop(worker);
            Alarm::outlast();
        });
    }
}
