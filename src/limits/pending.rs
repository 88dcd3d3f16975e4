//! How many calls there are that were given up.

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

    fn count(&self) -> Option<&AtomicUsize> {
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
        let number = usize::try_from(Process::current().number()).unwrap_or_default();
        number << (usize::BITS / 2)
    }

    /// Whether no further call is to be begun.
    pub(crate) fn is_full(&self) -> bool {
        let count = self.count().map(|count| count.load(Ordering::Relaxed));
        count.is_some_and(|count| Pending::of_this_process(count) >= Pending::LIMIT)
    }

    fn change(&self, change: impl Fn(usize) -> usize) {
        let Some(count) = self.count() else {
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
