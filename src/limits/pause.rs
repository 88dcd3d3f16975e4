//! Pauses between attempts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{AbortHandle, Wake};
use crate::sync::{Condvar, Mutex, lock};

/// Pauses that double from 10 ms to a second, unless they are [brief](Pause::brief).
#[derive(Debug)]
pub(crate) struct Pause {
    first: Duration,
    longest: Duration,
    taken: u32,
}

impl Default for Pause {
    fn default() -> Pause {
        Pause::longer(0)
    }
}

impl Pause {
    /// Pauses that continue after a number of earlier ones.
    pub(crate) fn longer(taken: u32) -> Pause {
        Pause {
            first: Duration::from_millis(10),
            longest: Duration::from_secs(1),
            taken,
        }
    }

    /// Pauses from 1 ms to 20 ms, between cheap queries.
    pub(crate) fn brief() -> Pause {
        Pause {
            first: Duration::from_millis(1),
            longest: Duration::from_millis(20),
            taken: 0,
        }
    }

    /// Returns the next, longer pause.
    pub(crate) fn next(&mut self) -> Duration {
        let doubled = self.first.saturating_mul(1 << self.taken.min(7));
        self.taken = self.taken.saturating_add(1);
        doubled.min(self.longest)
    }

    /// The number of pauses so far.
    #[cfg(test)]
    pub(crate) fn taken(&self) -> u32 {
        self.taken
    }

    /// The pause after a number of earlier ones.
    pub(crate) fn after(taken: u32) -> Duration {
        Pause::longer(taken).next()
    }

    /// Waits for the next pause, at most until the deadline or an abort.
    pub(crate) fn take(&mut self, deadline: Option<Instant>, abort: Option<&AbortHandle>) {
        let mut pause = self.next();
        if let Some(deadline) = deadline {
            pause = pause.min(deadline.saturating_duration_since(Instant::now()));
        }
        let bell = Arc::new(Bell::default());
        let _registration = abort.map(|abort| abort.register(Arc::clone(&bell) as Arc<dyn Wake>));
        // An abort before the registration woke no one.
        if !abort.is_some_and(AbortHandle::is_aborted) {
            bell.wait(pause);
        }
    }
}

/// Ends a pause.
#[derive(Default)]
struct Bell {
    has_rung: Mutex<bool>,
    rings: Condvar,
}

impl Bell {
    fn wait(&self, limit: Duration) {
        let has_rung = lock(&self.has_rung);
        let waited = self
            .rings
            .wait_timeout_while(has_rung, limit, |has_rung| !*has_rung);
        drop(waited);
    }
}

impl Wake for Bell {
    fn wake(&self) {
        *lock(&self.has_rung) = true;
        self.rings.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_short() {
        let mut pause = Pause::default();
        let taken: Vec<u128> = (0..8).map(|_| pause.next().as_millis()).collect();
        assert_eq!(taken, [10, 20, 40, 80, 160, 320, 640, 1000]);
        pause.taken = u32::MAX;
        assert_eq!(pause.next(), Duration::from_secs(1));
        let mut pause = Pause::brief();
        let taken: Vec<u128> = (0..7).map(|_| pause.next().as_millis()).collect();
        assert_eq!(taken, [1, 2, 4, 8, 16, 20, 20]);
    }

    #[test]
    fn a_pause_ends_at_the_deadline_and_at_an_abort() {
        let begun = Instant::now();
        let mut pause = Pause::longer(100);
        pause.take(Some(begun), None);
        let abort = AbortHandle::new();
        abort.abort();
        pause.take(None, Some(&abort));
        // Pauses of a second each.
        let abort = AbortHandle::new();
        let waits = abort.clone();
        let waiting = std::thread::spawn(move || Pause::longer(100).take(None, Some(&waits)));
        while lock(&abort.0.state).waiting.is_empty() {
            std::thread::yield_now();
        }
        abort.abort();
        waiting.join().unwrap();
        assert!(begun.elapsed() < Duration::from_millis(900));
    }
}
