//! Counts calls that were given up and have not returned.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::service::Process;

/// The count of calls that were given up and have not returned yet. Each holds a connection to the
/// service, and most a thread.
#[derive(Debug, Clone, Default)]
pub(crate) enum Pending {
    #[default]
    NotCounted,
    /// Calls that establish a context.
    OfProcess,
    /// Calls of a context and its cards.
    OfContext(Arc<AtomicUsize>),
}

impl Pending {
    /// How many may be pending before another call is refused.
    const LIMIT: usize = 32;

    /// The lower half of a count, which is the number.
    const MASK: usize = (1 << (usize::BITS / 2)) - 1;

    pub(crate) fn of_new_context() -> Pending {
        Pending::OfContext(Arc::default())
    }

    fn counter(&self) -> Option<&AtomicUsize> {
        static OF_PROCESS: AtomicUsize = AtomicUsize::new(0);
        match self {
            Pending::NotCounted => None,
            Pending::OfProcess => Some(&OF_PROCESS),
            Pending::OfContext(count) => Some(count),
        }
    }

    /// Extracts the number of pending calls of this process. The upper half of the count identifies
    /// its process: calls of the process that this one was forked from will not return here.
    fn of_this_process(count: usize) -> usize {
        match count & !Pending::MASK == Pending::this_process() {
            true => count & Pending::MASK,
            false => 0,
        }
    }

    fn this_process() -> usize {
        Pending::upper_half(Process::current().number())
    }

    fn upper_half(number: u32) -> usize {
        usize::try_from(number).unwrap_or_default() << (usize::BITS / 2)
    }

    /// Whether no further call may begin.
    pub(crate) fn is_full(&self) -> bool {
        let count = self.counter().map(|count| count.load(Ordering::Relaxed));
        count.is_some_and(|count| Pending::of_this_process(count) >= Pending::LIMIT)
    }

    fn change(&self, change: impl Fn(usize) -> usize) {
        let Some(count) = self.counter() else {
            return;
        };
        let changed =
            |count| Some(change(Pending::of_this_process(count)) | Pending::this_process());
        // Cannot fail: the closure always returns a new count.
        let _ = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, changed);
    }

    pub(crate) fn add(&self) {
        self.change(|count| count + 1);
    }

    pub(crate) fn remove(&self) {
        self.change(|count| count.saturating_sub(1));
    }
}

/// A call that continues although no one waits for it any more.
#[derive(Debug)]
pub(crate) struct Counted(Pending);

impl Pending {
    /// Counts a call until the returned value is dropped.
    pub(crate) fn count(&self) -> Counted {
        self.add();
        Counted(self.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.remove();
    }
}

#[cfg(all(test, not(model)))]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_pending_calls_is_limited() {
        let pending = Pending::of_new_context();
        let same = pending.clone();
        for _ in 0..Pending::LIMIT {
            assert!(!pending.is_full());
            same.add();
        }
        assert!(pending.is_full());
        pending.remove();
        assert!(!pending.is_full());
        pending.add();
        assert!(pending.is_full());
        // Other contexts have their own count.
        assert!(!Pending::of_new_context().is_full());
        for _ in 0..2 * Pending::LIMIT {
            Pending::NotCounted.add();
        }
        assert!(!Pending::NotCounted.is_full());
    }

    #[test]
    fn the_count_does_not_go_below_zero() {
        let pending = Pending::of_new_context();
        pending.remove();
        assert!(!pending.is_full());
        pending.add();
        assert_eq!(number(&pending), 1);
    }

    /// Calls of the process that this one was forked from never return here.
    #[test]
    fn calls_of_another_process_do_not_count() {
        assert_eq!(Pending::upper_half(3) >> (usize::BITS / 2), 3);
        for other in [1, 2, 0xFFFF] {
            let count = Pending::upper_half(other) | (Pending::LIMIT + 1);
            let pending = Pending::OfContext(Arc::new(AtomicUsize::new(count)));
            assert!(!pending.is_full(), "{other}");
            pending.remove();
            assert_eq!(number(&pending), 0, "{other}");
            pending.add();
            assert_eq!(number(&pending), 1, "{other}");
        }
    }

    fn number(pending: &Pending) -> usize {
        let Pending::OfContext(count) = pending else {
            panic!("{pending:?}");
        };
        Pending::of_this_process(count.load(Ordering::Relaxed))
    }
}
