//! Repeated use leaves nothing behind, here and in the daemon.
//!
//! `SCARD_FLAT_CYCLES` is the number of cycles: 300 by default, 10,000 in `ci/flat`; a tenth for
//! monitors and whatever else takes longer.
#![cfg(all(target_os = "linux", target_env = "gnu"))]
#![allow(unsafe_code)]

use std::fs;
use std::time::{Duration, Instant};

use scard::{
    CardFilter, ConnectOptions, Context, ContextOptions, Disposition, MonitorOptions, Session,
};
use scard_testkit::{Driver, Sandbox, isolated};

use crate::support::usage::threads;
use crate::support::*;

/// How many more bytes may be in use after any number of cycles: what the allocator keeps for
/// threads. Leaking one block in every fifth of 10,000 cycles exceeds this.
const SLACK: usize = 64 * 1024;

fn cycles() -> usize {
    let set = std::env::var("SCARD_FLAT_CYCLES").ok();
    set.map_or(300, |text| text.parse().expect("a number"))
}

/// What could grow.
#[derive(Debug, Clone, PartialEq, Eq)]
struct InUse {
    threads: usize,
    descriptors: usize,
    threads_of_daemon: usize,
    descriptors_of_daemon: usize,
}

impl InUse {
    fn look(daemon: u32) -> InUse {
        let count = |path: String| fs::read_dir(path).expect("a process").count();
        // The thread for all deadlines stays until the last known one has passed, needed or not, and
        // that for all futures over the socket for a while.
        let (shared, others): (Vec<_>, Vec<_>) = threads()
            .into_iter()
            .partition(|(_, name)| ["scard clock", "scard futures"].contains(&name.as_str()));
        assert!(shared.len() <= 2, "{shared:?}");
        InUse {
            threads: others.len(),
            descriptors: count("/proc/self/fd".to_owned()),
            threads_of_daemon: count(format!("/proc/{daemon}/task")),
            descriptors_of_daemon: count(format!("/proc/{daemon}/fd")),
        }
    }

    fn is_within(&self, limit: &InUse) -> bool {
        self.threads <= limit.threads
            && self.descriptors <= limit.descriptors
            && self.threads_of_daemon <= limit.threads_of_daemon
            && self.descriptors_of_daemon <= limit.descriptors_of_daemon
    }
}

/// The number of allocated bytes, including those of the PC/SC library.
fn allocated() -> usize {
    // SAFETY: takes nothing, and gives numbers.
    unsafe { libc::mallinfo2() }.uordblks
}

/// Repeats, and checks that nothing grows. What is allocated once and for all comes with the first
/// cycles.
fn assert_flat(cycles: usize, mut cycle: impl FnMut(&Fixture)) {
    let sandbox = Sandbox::builder().driver(Driver::Kit).readers(2);
    let sandbox = sandbox.card(0, plain_card()).start().unwrap();
    let fixture = Fixture::of(sandbox);
    let daemon = fixture.sandbox.pid().unwrap();
    // Over the socket, the connection of one card is kept.
    drop(fixture.connect());
    let unused = InUse::look(daemon);
    let mut repeat = |times: usize| {
        for _ in 0..times {
            cycle(&fixture);
            // The virtual card logs commands in this process.
            fixture.card.clear_log();
        }
        // Nothing reports when the other side, or a thread, has ended.
        let begun = Instant::now();
        loop {
            let now = InUse::look(daemon);
            if now.is_within(&unused) {
                return allocated();
            }
            assert!(begun.elapsed() < SOON, "{now:?}, at first {unused:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let before = repeat(cycles.div_ceil(4).min(500));
    let begun = Instant::now();
    let after = repeat(cycles);
    let took = begun.elapsed();
    let grown = after.saturating_sub(before);
    println!("{cycles} cycles in {took:?}: {unused:?} before and after, {grown} bytes more");
    assert!(grown <= SLACK, "{before} bytes, then {after}");
}

#[test]
fn connections() {
    isolated(|| {
        assert_flat(cycles(), |fixture| {
            assert_works(&mut fixture.connect());
            fixture.connect().disconnect(Disposition::Leave).unwrap();
            drop(fixture.context.open_reader(&fixture.empty_reader).unwrap());
        });
    });
}

#[test]
fn connections_with_time_outs() {
    isolated(|| {
        let options = ConnectOptions::new().timeout(Some(SOON));
        assert_flat(cycles(), |fixture| {
            let mut card = fixture.try_connect(options.clone()).unwrap();
            drop(card.transaction().unwrap());
            assert_works(&mut card);
            card.make_abortable().abort();
            assert!(card.transmit(COMMAND).is_err());
        });
    });
}

#[test]
fn contexts() {
    isolated(|| {
        assert_flat(cycles(), |_| {
            let limited = ContextOptions::new().timeout(Some(SOON));
            assert_eq!(limited.establish().unwrap().readers().unwrap().len(), 2);
            Context::establish().unwrap().release().unwrap();
        });
    });
}

#[test]
fn sessions() {
    isolated(|| {
        assert_flat(cycles() / 2, |fixture| {
            let builder = Session::builder(&fixture.context).reader(&fixture.reader);
            let mut session = builder.timeout(Some(SOON)).open().unwrap();
            let answer = session.run(|card| card.transmit(COMMAND));
            assert_eq!(answer.unwrap(), OK);
        });
    });
}

#[test]
fn monitors() {
    isolated(|| {
        assert_flat(cycles() / 10, |fixture| {
            let mut monitor = fixture.context.monitor(MonitorOptions::new()).unwrap();
            assert!(monitor.next().is_some());
            monitor.abort_handle().abort();
            assert!(monitor.next().is_none());
            drop(monitor);
            drop(fixture.context.monitor(MonitorOptions::new()).unwrap());
            let found = fixture.context.wait_for_card(&CardFilter::new(), None);
            assert_eq!(found.unwrap().reader_name(), &fixture.reader);
        });
    });
}

#[cfg(feature = "async")]
mod futures {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context as Task, Waker};

    use scard::AsyncContext;

    use super::*;
    // A context without threads.
    use crate::support::executor::block_on;

    /// What wakes the thread that futures share over the socket stays for good.
    fn assert_flat(cycles: usize, cycle: impl FnMut(&Fixture)) {
        drop(block_on(AsyncContext::establish()));
        super::assert_flat(cycles, cycle);
    }

    /// Polls once, and drops.
    fn begin_and_leave<T>(future: impl Future<Output = T>) {
        let _ = pin!(future).poll(&mut Task::from_waker(Waker::noop()));
    }

    fn connect(fixture: &Fixture, options: ConnectOptions) -> scard::AsyncCard {
        let context = AsyncContext::from(fixture.context.clone());
        block_on(context.connect(&fixture.reader, options)).unwrap()
    }

    #[test]
    fn connections_by_futures() {
        isolated(|| {
            let limited = || ConnectOptions::new().timeout(Some(SOON));
            assert_flat(cycles(), |fixture| {
                let mut card = connect(fixture, ConnectOptions::new());
                assert_eq!(block_on(card.transmit(COMMAND)).unwrap(), OK);
                drop(card);
                let mut card = connect(fixture, limited());
                drop(block_on(card.transaction()).unwrap());
                assert_eq!(block_on(card.transmit(COMMAND)).unwrap(), OK);
            });
        });
    }

    #[test]
    fn connections_whose_futures_are_dropped() {
        isolated(|| {
            // The next one waits for the given-up transaction, polling every tenth of a second.
            assert_flat(cycles() / 10, |fixture| {
                let context = AsyncContext::from(fixture.context.clone());
                begin_and_leave(context.connect(&fixture.reader, ConnectOptions::new()));
                begin_and_leave(connect(fixture, ConnectOptions::new()).transmit(COMMAND));
                begin_and_leave(connect(fixture, ConnectOptions::new()).transaction());
                begin_and_leave(context.readers());
            });
        });
    }

    #[test]
    fn streams() {
        isolated(|| {
            assert_flat(cycles() / 10, |fixture| {
                let context = AsyncContext::from(fixture.context.clone());
                let mut events = context.monitor(MonitorOptions::new()).unwrap();
                assert!(block_on(events.next()).is_some());
                let any = CardFilter::new();
                let found = block_on(events.wait_for_card(&any, Some(SOON)));
                assert_eq!(found.unwrap().reader_name(), &fixture.reader);
                events.abort_handle().abort();
                assert!(block_on(events.next()).is_none());
                begin_and_leave(context.monitor(MonitorOptions::new()).unwrap().next());
            });
        });
    }
}
