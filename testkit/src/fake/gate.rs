//! Gates that stop answers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::error::TestkitError;
use crate::sync::{lock, wait};

/// Stops answers until the test opens it. Clones refer to the same gate.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    open: bool,
    /// How often it was opened.
    opened: usize,
    arrived: usize,
}

impl Gate {
    /// Creates a closed gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits until `answers` answers in total have come to the gate.
    ///
    /// # Errors
    /// [`Timeout`](TestkitError::Timeout).
    pub fn wait_for(&self, answers: usize, timeout: Duration) -> Result<(), TestkitError> {
        let deadline = Instant::now() + timeout;
        let mut state = lock(&self.0.state);
        while state.arrived < answers {
            let arrived = state.arrived;
            state =
                wait(&self.0.changed, state, deadline).ok_or_else(|| TestkitError::Timeout {
                    what: format!("{answers} answers to reach a gate"),
                    after: timeout,
                    likely: format!("{arrived} arrived; did the client send the other requests?"),
                })?;
        }
        Ok(())
    }

    /// Lets all waiting and future answers pass.
    pub fn open(&self) {
        let mut state = lock(&self.0.state);
        state.open = true;
        state.opened += 1;
        self.0.changed.notify_all();
    }

    /// Stops future answers again.
    pub fn close(&self) {
        lock(&self.0.state).open = false;
    }

    /// Waits until the gate is open, or the service ends.
    pub(super) fn pass(&self, ended: &AtomicBool) {
        let mut state = lock(&self.0.state);
        state.arrived += 1;
        self.0.changed.notify_all();
        // It may be closed again before this thread wakes up.
        let opened = state.opened;
        while !(state.open || state.opened > opened || ended.load(Ordering::SeqCst)) {
            state = self
                .0
                .changed
                .wait(state)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    /// The service has ended.
    pub(super) fn wake(&self) {
        let _state = lock(&self.0.state);
        self.0.changed.notify_all();
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn what_has_come_passes_even_if_the_gate_closes_at_once() {
        const SOON: Duration = Duration::from_secs(5);
        let (gate, ended) = (Gate::new(), AtomicBool::new(false));
        thread::scope(|scope| {
            for n in 1..100 {
                let waiting = scope.spawn(|| gate.pass(&ended));
                gate.wait_for(n, SOON).unwrap();
                gate.open();
                gate.close();
                waiting.join().unwrap();
            }
            let last = scope.spawn(|| gate.pass(&ended));
            gate.wait_for(100, SOON).unwrap();
            assert!(!last.is_finished());
            ended.store(true, Ordering::SeqCst);
            gate.wake();
        });
    }
}
