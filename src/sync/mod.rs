//! Threads, locks and the time, as the concurrent core uses them: those of the standard
//! library, and in a model those of the model checker.
//!
//! What is built on this and on nothing else that waits can be tried in every order that the
//! threads may run in: the models in `tests/models` do that, and `ci/model` runs them.
//!
//! # Forks
//!
//! A forked child has a copy of every lock and one thread. A lock that another thread of the
//! parent held at that moment stays locked for ever, with what it guards half changed. So
//! [`Mutex`] and [`Condvar`] are not those of the standard library where processes fork: a fork
//! waits until no thread is inside of a lock, and lets none in until it is made (`service::fork`).
//! For that, code that holds a lock makes no call of PC/SC, waits for nothing but another of these
//! locks, and runs no code of the program: no waker, no subscriber, no `Drop` of what it gave us.
//!
//! | Lock | In a child |
//! |---|---|
//! | every [`Mutex`]: a context's current PC/SC context, an abort handle, the clock of deadlines, the meeting of a call and its caller, a monitor's queue and its waits | safe, as above |
//! | [`Condvar`]: those who wait are inside of no lock | safe; those of the parent are forgotten |
//! | [`Turn`], held during a call of PC/SC | a child never takes one of its parent: it belongs to a PC/SC context, and those are not used in a child (`SharedContext::is_forked`) |
//! | [`mpsc`], the way to a worker | a child never sends on one of its parent, nor drops it (`worker::Jobs`) |
//! | what a waiting thread sleeps on inside of [`Condvar`] | known to nobody in a child |
//! | the gates themselves, the registration of the handlers | atomic numbers, see `service::fork` |
//! | pcsc-lite's, inside of its client library | see `service::library::gate` |
//! | those of `tracing` and its subscribers | not ours: a subscriber that is to be used in a child has to be safe there |
//!
//! There are no others; a test in this file looks for them.

#[cfg(all(unix, not(all(test, model))))]
mod locks;
#[cfg(all(test, model))]
#[path = "../../tests/models/sync/mod.rs"]
pub(crate) mod model;
#[cfg(not(all(test, model)))]
mod standard;

#[cfg(all(test, model))]
pub(crate) use model::{AtomicBool, Condvar, Mutex, MutexGuard, global, mpsc, now, thread};
#[cfg(not(all(test, model)))]
pub(crate) use standard::{AtomicBool, Condvar, Mutex, MutexGuard, global, mpsc, now, thread};

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::PoisonError;

/// Locks, also what a panic has left locked.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What one thread at a time has for as long as it wants, also during a call of PC/SC.
#[derive(Debug)]
pub(crate) struct Turn<T> {
    /// `None` while a thread has it.
    value: Mutex<Option<T>>,
    over: Condvar,
}

impl<T> Turn<T> {
    pub(crate) fn of(value: T) -> Turn<T> {
        Turn {
            value: Mutex::new(Some(value)),
            over: Condvar::new(),
        }
    }

    /// Lends it to this thread, when no other one has it.
    pub(crate) fn lend<R>(&self, use_it: impl FnOnce(&mut T) -> R) -> R {
        let mut value = self.take();
        let returned = catch_unwind(AssertUnwindSafe(|| use_it(&mut value)));
        *lock(&self.value) = Some(value);
        self.over.notify_one();
        returned.unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn take(&self) -> T {
        let mut value = lock(&self.value);
        loop {
            if let Some(taken) = value.take() {
                return taken;
            }
            let woken = self.over.wait(value);
            value = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// `None` in a child of a process in which a thread had it.
    pub(crate) fn into_inner(mut self) -> Option<T> {
        let value = self.value.get_mut();
        value.unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[cfg(all(test, not(model)))]
mod tests {
    use std::fs;
    use std::path::Path;

    /// What waits for other threads, and is not this file's.
    const OTHERS: [&str; 7] = [
        "Mutex", "Condvar", "RwLock", "Once", "LazyLock", "Barrier", "mpsc",
    ];

    /// The code of a file, without its tests at the end and without comments.
    fn code(file: &Path) -> String {
        let text = fs::read_to_string(file).unwrap();
        let code = text.split("mod tests {").next().unwrap().lines();
        let code = code.filter(|line| !line.trim_start().starts_with("//"));
        code.collect()
    }

    fn each_file(folder: &Path, see: &mut impl FnMut(&Path)) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            match path.is_dir() {
                // Of a test, and where the locks are made.
                _ if ["tests", "model", "sync"].contains(&name) => {}
                true => each_file(&path, see),
                false => see(&path),
            }
        }
    }

    #[test]
    fn there_are_no_locks_but_those_that_are_safe_at_a_fork() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let (mut files, mut found) = (0, Vec::new());
        each_file(&source, &mut |file| {
            files += 1;
            let code = code(file);
            // Up to the end of the path, or of the list of names behind it.
            let used = code.split("std::sync::").skip(1);
            let used = used.map(|rest| match rest.strip_prefix('{') {
                Some(list) => list.split('}').next().unwrap(),
                None => rest.split([';', '(', '<', '>', ' ']).next().unwrap(),
            });
            for names in used {
                // `LISTS` of the gate: held by those whom a fork waits for there.
                let is_known = file.ends_with("service/library/gate.rs");
                if !is_known && OTHERS.iter().any(|other| names.contains(other)) {
                    found.push(format!("{}: {names}", file.display()));
                }
            }
        });
        assert!(files > 50);
        assert!(found.is_empty(), "{found:#?}");
    }
}
