//! Pauses between attempts.

use std::thread;
use std::time::{Duration, Instant};

use super::AbortHandle;

/// Pauses that grow from 10 ms to a second.
#[derive(Debug, Default)]
pub(crate) struct Pause {
    taken: u32,
}

impl Pause {
    /// How often a pause looks up.
    const SLICE: Duration = Duration::from_millis(50);

    pub(crate) fn next(&mut self) -> Duration {
        let pause = Pause::after(self.taken);
        self.taken = self.taken.saturating_add(1);
        pause
    }

    /// The pause after so many others.
    pub(crate) fn after(taken: u32) -> Duration {
        Duration::from_millis(10)
            .saturating_mul(1 << taken.min(7))
            .min(Duration::from_secs(1))
    }

    /// Takes the next one, not past the deadline, and not past an abort.
    pub(crate) fn take(&mut self, deadline: Option<Instant>, abort: Option<&AbortHandle>) {
        let begun = Instant::now();
        let mut pause = self.next();
        if let Some(deadline) = deadline {
            pause = pause.min(deadline.saturating_duration_since(begun));
        }
        loop {
            let left = pause.saturating_sub(begun.elapsed());
            if left.is_zero() || abort.is_some_and(AbortHandle::is_aborted) {
                return;
            }
            thread::sleep(left.min(Pause::SLICE));
        }
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
    }

    #[test]
    fn a_pause_ends_at_the_deadline_and_at_an_abort() {
        let begun = Instant::now();
        let mut pause = Pause { taken: 100 };
        pause.take(Some(begun), None);
        let abort = AbortHandle::new();
        abort.abort();
        pause.take(None, Some(&abort));
        assert!(begun.elapsed() < Duration::from_millis(400));
    }
}
