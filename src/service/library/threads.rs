//! Finds out when no other thread can be at the beginning of a call in the library.
//!
//! A call takes the library's lock and looks its handle up within microseconds, but on a busy
//! machine its thread may be kept from running for much longer than that. Linux tells what threads
//! do.
#![cfg_attr(not(target_os = "linux"), allow(dead_code))]

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

/// A thread that has run for so long is past the beginning of a call that it had begun before.
const RUN: Duration = Duration::from_millis(5);

/// A thread that has slept for so many times either.
const SLEEPS: u32 = 4;

/// The threads of the process other than this one, observed again and again.
#[derive(Debug)]
pub(super) struct Threads {
    seen: HashMap<String, Seen>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    /// How long the thread had run when it was seen first.
    run_before: Duration,
    /// How often it was seen asleep, each time after it had run.
    sleeps: u32,
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
        let seen = Threads::look()?.into_iter();
        let seen = seen.map(|(id, now)| (id, Seen::first(now))).collect();
        Some(Threads { seen })
    }

    /// Returns whether each thread either is past the beginning of a call, or has slept since the
    /// last observation. Then there was a moment at which no thread was at the beginning: those
    /// asleep wait for an answer or for a lock, and the lock's owner would not be asleep. `None` if
    /// the system does not tell.
    ///
    /// Threads that started since the first observation have begun no call.
    pub(super) fn observe_again(&mut self) -> Option<bool> {
        let last = std::mem::take(&mut self.seen);
        for (id, now) in Threads::look()? {
            if let Some(seen) = last.get(&id).and_then(|last| last.again(now)) {
                self.seen.insert(id, seen);
            }
        }
        Some(self.seen.values().all(|seen| seen.is_past))
    }

    fn look() -> Option<Vec<(String, Observation)>> {
        let own = fs::read_link("/proc/thread-self").ok()?;
        let own = own.file_name()?.to_str()?;
        // A kernel can be built not to count.
        if Observation::of(own)?.turns == 0 {
            return None;
        }
        let mut threads = Vec::new();
        for entry in fs::read_dir("/proc/self/task").ok()? {
            let id = entry.ok()?.file_name().into_string().ok()?;
            if own == id {
                continue;
            }
            match Observation::of(&id) {
                Some(now) => threads.push((id, now)),
                // The thread has ended.
                None if matches!(fs::exists(format!("/proc/self/task/{id}")), Ok(false)) => {}
                None => return None,
            }
        }
        Some(threads)
    }
}

impl Seen {
    fn first(now: Observation) -> Seen {
        Seen {
            run_before: now.run,
            sleeps: 0,
            now,
            is_past: false,
        }
    }

    /// `None` if this is another thread, with a number that was used before.
    fn again(&self, now: Observation) -> Option<Seen> {
        let last = &self.now;
        if now.run < last.run || now.turns < last.turns {
            return None;
        }
        let has_slept = now.is_asleep && *last == now;
        let has_run = now.turns != last.turns;
        let sleeps = self.sleeps + u32::from(now.is_asleep && has_run);
        // As of the last observation: others may sleep on a lock that this thread has just released.
        let has_run_long = last.run.saturating_sub(self.run_before) >= RUN;
        Some(Seen {
            sleeps,
            now,
            is_past: has_slept || has_run_long || self.sleeps >= SLEEPS,
            ..*self
        })
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
            let mut threads = Threads::observe();
            let begun = Instant::now();
            let mut are_past = false;
            while !are_past && begun.elapsed() < 10 * PATIENCE {
                thread::sleep(STEP);
                let observed = threads.as_mut().and_then(Threads::observe_again);
                are_past = observed.unwrap_or_default();
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
        let first = Seen::first(observation(10, 3, false));
        let again = |seen: &Seen, now| seen.again(now).unwrap();
        for now in [
            observation(10, 3, false),
            observation(10, 3, true),
            observation(10, 4, true),
            observation(14, 5, false),
            observation(15, 5, false),
        ] {
            assert!(!again(&first, now).is_past, "{now:?}");
        }
        let asleep = again(&first, observation(10, 3, true));
        assert!(again(&asleep, observation(10, 3, true)).is_past);
        assert!(!again(&asleep, observation(10, 4, true)).is_past);
        let has_run = again(&first, observation(15, 5, false));
        assert!(again(&has_run, observation(15, 5, false)).is_past);
        let mut ticks = first;
        for turns in 4..8 {
            ticks = again(&ticks, observation(10, turns, true));
            assert!(!ticks.is_past);
        }
        assert!(again(&ticks, observation(10, 8, true)).is_past);
        // Another thread with the same number.
        assert!(first.again(observation(1, 1, true)).is_none());
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
