//! How many calls were given up and have not returned.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::service::Process;

/// Counts calls that their callers gave up and that have not returned yet: each of them keeps a
/// thread and a connection to the service.
#[derive(Debug, Clone, Default)]
pub(crate) enum Pending {
    #[default]
    NotCounted,
    /// Those that establish a context.
    OfProcess,
    /// Those of a context and its cards.
    OfContext(Arc<AtomicUsize>),
}

impl Pending {
    /// How many there may be before another call is refused.
    const LIMIT: usize = 32;

    /// The half of a count that is a number.
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

    /// How many of this process there are, from a count. The upper half says which process it is
    /// of: those of the process that this one was forked from will not return here.
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

    /// Whether no further call is to be begun.
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
        // It always says what the count becomes.
        let _ = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, changed);
    }

    pub(crate) fn add(&self) {
        self.change(|count| count + 1);
    }

    pub(crate) fn remove(&self) {
        self.change(|count| count.saturating_sub(1));
    }
}

/// A call that goes on when nobody waits for it any more.
#[derive(Debug)]
pub(crate) struct Counted(Pending);

impl Pending {
    /// Counts one until what is returned is dropped.
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
    fn so_many_may_be_pending_and_no_more() {
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
        // Another context has its own, and what is not counted has none.
        assert!(!Pending::of_new_context().is_full());
        for _ in 0..2 * Pending::LIMIT {
            Pending::NotCounted.add();
        }
        assert!(!Pending::NotCounted.is_full());
    }

    #[test]
    fn what_returns_too_often_is_counted_as_none() {
        let pending = Pending::of_new_context();
        pending.remove();
        assert!(!pending.is_full());
        pending.add();
        assert_eq!(number(&pending), 1);
    }

    /// Those of the process that this one was forked from never return here.
    #[test]
    fn those_of_another_process_do_not_count() {
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
