//! Finds out when no other thread can be at the beginning of a call in the library.
//!
//! A call takes the library's lock and looks its handle up within microseconds, but on a busy
//! machine its thread may be kept from running for much longer than that. Linux tells what threads
//! do.
#![cfg_attr(not(target_os = "linux"), allow(dead_code))]

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

/// A thread that has run for so long is no longer at the beginning of a call that it had begun
/// before.
const RUN: Duration = Duration::from_millis(5);

/// The other threads of the process, observed again and again.
#[derive(Debug)]
pub(super) struct Threads {
    seen: HashMap<String, Seen>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    /// How long the thread had run when it was seen first.
    run_before: Duration,
    now: Observation,
    is_past: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Observation {
    run: Duration,
    /// How often the thread was given a processor.
    turns: u64,
    is_asleep: bool,
}

impl Threads {
    /// `None` if the system does not tell.
    pub(super) fn observe() -> Option<Threads> {
        let seen = HashMap::new();
        let mut threads = Threads { seen };
        threads.observe_again().map(|_| threads)
    }

    /// Returns whether each thread either has slept since the last observation, or has run for
    /// [`RUN`] since the first one. Then there was a moment at which no thread was at the beginning
    /// of a call: those asleep wait for an answer or for a lock, and the lock's owner would not be
    /// asleep. `None` if the system does not tell.
    pub(super) fn observe_again(&mut self) -> Option<bool> {
        let last = std::mem::take(&mut self.seen);
        let own = fs::read_link("/proc/thread-self").ok()?;
        let mut are_past = true;
        for entry in fs::read_dir("/proc/self/task").ok()? {
            let id = entry.ok()?.file_name().into_string().ok()?;
            if own.file_name().is_some_and(|own| own == id.as_str()) {
                continue;
            }
            let Some(now) = Observation::of(&id) else {
                // The thread has ended, or the system does not tell about any.
                match fs::exists(format!("/proc/self/task/{id}")) {
                    Ok(false) => continue,
                    _ => return None,
                }
            };
            let seen = Seen::again(last.get(&id), now);
            are_past &= seen.is_past;
            self.seen.insert(id, seen);
        }
        Some(are_past)
    }
}

impl Seen {
    fn again(last: Option<&Seen>, now: Observation) -> Seen {
        let run_before = last.map_or(now.run, |last| last.run_before);
        let has_slept = now.is_asleep && last.is_some_and(|last| last.now == now);
        Seen {
            run_before,
            now,
            is_past: has_slept || now.run.saturating_sub(run_before) >= RUN,
        }
    }
}

impl Observation {
    /// The turns are read before the state: a thread that is asleep and has no new turn at the next
    /// observation has slept in between.
    fn of(id: &str) -> Option<Observation> {
        let turns = fs::read_to_string(format!("/proc/self/task/{id}/schedstat")).ok()?;
        let stat = fs::read_to_string(format!("/proc/self/task/{id}/stat")).ok()?;
        Observation::parse(&turns, &stat)
    }

    /// `schedstat` has the nanoseconds run, those waited, and the turns; `stat` the state after the
    /// name in parentheses, which may have any characters.
    fn parse(schedstat: &str, stat: &str) -> Option<Observation> {
        let mut numbers = schedstat.split_ascii_whitespace();
        let run = numbers.next()?.parse().ok()?;
        let turns = numbers.nth(1)?.parse().ok()?;
        let (_, state) = stat.rsplit_once(") ")?;
        Some(Observation {
            run: Duration::from_nanos(run),
            turns,
            // Or has ended, but is still listed.
            is_asleep: state.starts_with(['S', 'Z', 'X']),
        })
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Instant;
    use std::{hint, thread};

    use super::*;
    use crate::service::gate::{PATIENCE, STEP};

    /// Whether a thread that does this is past the beginning of a call at some time.
    fn is_past(work: impl Fn(&AtomicBool) + Send) -> bool {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let is_over = &is_over;
            scope.spawn(move || work(is_over));
            let mut threads = Threads::observe().unwrap();
            let begun = Instant::now();
            let mut are_past = false;
            while !are_past && begun.elapsed() < 10 * PATIENCE {
                thread::sleep(STEP);
                are_past = threads.observe_again().unwrap();
            }
            is_over.store(true, Ordering::Relaxed);
            are_past
        })
    }

    #[test]
    fn threads_that_sleep_or_compute_are_past_the_beginning() {
        assert!(is_past(|is_over| {
            while !is_over.load(Ordering::Relaxed) {
                hint::spin_loop();
            }
        }));
        assert!(is_past(|is_over| {
            while !is_over.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(50));
            }
        }));
    }

    /// On a busy machine, a thread is kept from running for longer than anyone would wait.
    #[test]
    fn a_thread_that_waits_for_a_processor_is_not_past_the_beginning() {
        let observation = |run_ms, turns, is_asleep| Observation {
            run: Duration::from_millis(run_ms),
            turns,
            is_asleep,
        };
        let first = Seen::again(None, observation(10, 1, false));
        assert!(!first.is_past);
        for (now, is_past) in [
            (observation(10, 1, false), false),
            (observation(10, 1, true), false),
            (observation(10, 2, true), false),
            (observation(14, 5, false), false),
            (observation(15, 5, false), true),
        ] {
            assert_eq!(Seen::again(Some(&first), now).is_past, is_past, "{now:?}");
        }
        let asleep = Seen::again(Some(&first), observation(10, 1, true));
        assert!(Seen::again(Some(&asleep), observation(10, 1, true)).is_past);
        assert!(!Seen::again(Some(&asleep), observation(10, 2, true)).is_past);
    }

    #[test]
    fn a_thread_is_read_whatever_its_name() {
        let observation = |schedstat, stat| Observation::parse(schedstat, stat);
        let expected = Observation {
            run: Duration::from_nanos(30_000),
            turns: 7,
            is_asleep: true,
        };
        assert_eq!(
            observation("30000 12 7\n", "17 (a) R 1 (b) S 1 2\n"),
            Some(expected)
        );
        let running = observation("30000 12 7\n", "17 (a) R 1 2\n").unwrap();
        assert!(!running.is_asleep);
        for (schedstat, stat) in [
            ("", "17 (a) S 1\n"),
            ("1 2\n", "17 (a) S 1\n"),
            ("1 2 3\n", ""),
        ] {
            assert_eq!(observation(schedstat, stat), None);
        }
    }
}
