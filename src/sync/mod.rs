//! Threads, locks and time for the concurrent core: those of the standard library or, in a model,
//! of the model checker.
//!
//! Code that waits only through this module can be tested in every possible order of its threads:
//! the models in `tests/models` do that, and `ci/model` runs them.
//!
//! # Forks
//!
//! A forked child has a copy of every lock, but only one thread. A lock held by another thread of
//! the parent at that moment stays locked forever, with its data half changed. So, where processes
//! fork, [`Mutex`] and [`Condvar`] are not those of the standard library: a fork waits until no
//! thread holds a lock, and lets none lock until it is done (`service::fork`). For that, code that
//! holds a lock makes no PC/SC call, waits for nothing but another of these locks, and runs no code
//! of the program: no waker, no subscriber, no `Drop` of the program's values.
//!
//! | Lock | In a child |
//! |---|---|
//! | every [`Mutex`]: a context's current PC/SC context and its spare one, an abort handle, the clock of deadlines, the thread of the futures over the socket and its queue, the rendezvous of a call and its caller, a monitor's queue and its waits | safe, as above |
//! | [`Condvar`]: waiting threads hold no lock | safe; the parent's waiting threads are forgotten |
//! | [`Turn`], held during a PC/SC call | a child never takes one of its parent: it belongs to a PC/SC context, and those are not used in a child (`SharedContext::is_forked`) |
//! | [`mpsc`], the queue to a worker | a child never sends on one of its parent, nor drops it (`worker::Jobs`) |
//! | the signal that a waiting thread sleeps on inside [`Condvar`] | not referenced in a child |
//! | the gates and the registration of the handlers | atomic integers, see `service::fork` |
//! | pcsc-lite's, in its client library | see `service::library::gate` |
//! | those of `tracing` and its subscribers | not ours: a subscriber used in a child must be safe there |
//!
//! There are no others; a test in this file checks that.

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

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::PoisonError;

/// Starts a thread. The work is boxed, so that all share the code for it.
pub(crate) fn start_thread(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let work: Box<dyn FnOnce() + Send> = Box::new(work);
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(work).map(drop)
}

/// Locks the mutex, ignoring poisoning.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A value that one thread at a time has for as long as it wants, including during a PC/SC call.
#[derive(Debug)]
pub(crate) struct Turn<T> {
    /// `None` while a thread has the value.
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

    /// Lends the value to this thread, waiting until no other has it.
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

    /// Types that wait for other threads and are not from this module.
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
                // Tests, and the files that define the locks.
                _ if ["tests", "model", "sync"].contains(&name) => {}
                true => each_file(&path, see),
                false => see(&path),
            }
        }
    }

    #[test]
    fn all_locks_are_safe_at_a_fork() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let (mut files, mut found) = (0, Vec::new());
        each_file(&source, &mut |file| {
            files += 1;
            let code = code(file);
            // Up to the end of the path, or of the list of names after it.
            let used = code.split("std::sync::").skip(1);
            let used = used.map(|rest| match rest.strip_prefix('{') {
                Some(list) => list.split('}').next().unwrap(),
                None => rest.split([';', '(', '<', '>', ' ']).next().unwrap(),
            });
            for names in used {
                // `LISTS` of the gate: held by threads that a fork waits for there.
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
