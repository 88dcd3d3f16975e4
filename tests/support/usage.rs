//! What is in use here and in the daemon, and a process that holds the card.

use std::time::{Duration, Instant};

use scard::{ConnectOptions, Context, ReaderFlags, ReaderName};
use scard_testkit::Link;

use super::{Fixture, SOON, wait_until};

/// What is in use on both sides.
#[derive(Debug)]
pub struct Usage {
    /// The threads of the library in this process.
    workers: usize,
    /// The daemon has a thread for each context.
    threads_in_daemon: usize,
    card_in_use: bool,
}

pub fn usage(fixture: &Fixture) -> Usage {
    let daemon = fixture.sandbox.pid().expect("a daemon").to_string();
    let threads = std::fs::read_dir(format!("/proc/{daemon}/task"));
    let states = Context::establish().unwrap().reader_states().unwrap();
    Usage {
        workers: workers(),
        threads_in_daemon: threads.expect("a process").count(),
        card_in_use: states[0].flags().contains(ReaderFlags::INUSE),
    }
}

/// How many threads make calls here.
pub fn workers() -> usize {
    threads_named("scard")
}

/// Waits until no more than this many threads make calls here.
#[track_caller]
pub fn wait_for_workers(limit: usize) {
    wait_until(&format!("at most {limit} workers"), || workers() <= limit);
}

/// The threads of this process, with their names.
pub fn threads() -> Vec<(u32, String)> {
    let threads = std::fs::read_dir("/proc/self/task").expect("a process");
    let named = threads.filter_map(|thread| {
        let path = thread.ok()?.path();
        // It may have ended.
        let name = std::fs::read_to_string(path.join("comm")).ok()?;
        let id = path.file_name()?.to_str()?.parse().ok()?;
        Some((id, name.trim_end().to_owned()))
    });
    named.collect()
}

/// How many threads of this process have this name.
pub fn threads_named(name: &str) -> usize {
    threads().iter().filter(|(_, it)| it == name).count()
}

/// How many threads were not there before. A smaller number of all may only mean that the kernel has
/// forgotten one that was joined before.
pub fn threads_since(before: &[(u32, String)]) -> usize {
    let is_new = |(id, _): &&(u32, String)| before.iter().all(|(it, _)| it != id);
    threads().iter().filter(is_new).count()
}

/// The names of the threads of the library.
pub fn own_threads() -> Vec<String> {
    let names = threads().into_iter().map(|(_, name)| name);
    names.filter(|name| name.starts_with("scard")).collect()
}

/// What is in use at rest. The daemon takes a moment to clean up, so this is the minimum of several
/// looks.
pub fn usage_at_rest(fixture: &Fixture) -> Usage {
    // Over the socket, the connection of one card is kept.
    drop(fixture.connect());
    let looks = (0..20).map(|_| {
        std::thread::sleep(Duration::from_millis(5));
        usage(fixture)
    });
    looks
        .min_by_key(|usage| (usage.threads_in_daemon, usage.workers))
        .expect("a look")
}

/// The other side does not report when it has cleaned up, so this polls.
#[track_caller]
pub fn assert_becomes(fixture: &Fixture, expected: &Usage) {
    let begun = Instant::now();
    loop {
        let now = usage(fixture);
        let is_clean = now.workers <= expected.workers
            && now.threads_in_daemon <= expected.threads_in_daemon
            && now.card_in_use == expected.card_in_use;
        if is_clean {
            return;
        }
        assert!(begun.elapsed() < SOON, "{now:?} is left of {expected:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The other process, which holds a transaction from "hold" to "release".
pub fn holder(link: &mut Link) {
    let reader = ReaderName::new(link.recv()).unwrap();
    loop {
        assert_eq!(link.recv(), "hold");
        // Connected only in between, so that the test can measure usage before and after.
        let context = Context::establish().unwrap();
        let mut card = context.connect(&reader, ConnectOptions::new()).unwrap();
        let transaction = card.transaction().unwrap();
        link.send("held");
        assert_eq!(link.recv(), "release");
        drop(transaction);
        drop((card, context));
        link.send("released");
    }
}

/// Sets how many descriptors this process may have open to open another. Returns the limit before.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
pub fn limit_descriptors(limit: libc::rlim_t) -> libc::rlim_t {
    let mut limits = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the output outlives the call.
    let read = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limits) };
    let before = std::mem::replace(&mut limits.rlim_cur, limit);
    // SAFETY: the input outlives the call.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limits) };
    assert_eq!((read, set), (0, 0));
    before
}
