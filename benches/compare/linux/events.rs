//! How long it takes from a change in the driver to the event, and what a monitor costs.
//!
//! A card is inserted into and removed from a virtual reader whose driver reports each change to
//! the daemon at once. All sides wait for the same changes at the same time, each on a thread.

use std::ffi::CString;
use std::fs;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use pcsc::ffi;
use scard::{Context, Event, MonitorOptions};
use scard_testkit::{CardHandle, Driver, Sandbox, VirtualCard};

use super::measure::{median, row, shown};
use super::stage::{socket_context, start};
use super::{Answer, Effort, raw};

const CHANGES: usize = 2_000;
/// A monitor slows down at more than a thousand changes a second.
const PAUSE: Duration = Duration::from_millis(3);
const SOON: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(5);
/// The number of readers in the table `monitor`.
const MANY: usize = 16;

/// One of the sides.
struct Waiter {
    name: &'static str,
    /// When it noticed each change.
    changes: Receiver<Instant>,
    /// The IDs of its threads.
    threads: Vec<String>,
    delays: Vec<Duration>,
}

pub(super) fn run(driver: Driver, effort: Effort) -> Answer {
    measure(driver, 1, effort)
}

pub(super) fn run_with_many(driver: Driver, effort: Effort) -> Answer {
    measure(driver, MANY, effort)
}

fn measure(driver: Driver, readers: usize, effort: Effort) -> Answer {
    let sandbox = start(Sandbox::builder().readers(readers), driver)?;
    let mut names = Vec::new();
    for reader in sandbox.readers() {
        names.push(CString::new(reader.name())?);
    }
    let last = readers - 1;
    let mut waiters = [
        by_c(names.clone())?,
        by_pcsc(names)?,
        by_monitor("`Monitor`", &Context::establish()?)?,
        by_monitor("socket: `Monitor`", &socket_context()?)?,
    ];
    let card = CardHandle::from(VirtualCard::iso());
    let slot = sandbox.reader(last);
    let changes = effort.rounds(CHANGES);
    let mut cost = Vec::new();
    for round in 0..changes + 20 {
        // The first rounds warm up.
        if round == 20 {
            cost = costs(&waiters)?;
        }
        let changed = Instant::now();
        match round % 2 {
            0 => drop(slot.insert_now(&card)?),
            _ => slot.remove_now(),
        }
        for waiter in &mut waiters {
            let at = waiter.changes.recv_timeout(SOON)?;
            if round >= 20 {
                waiter.delays.push(at - changed);
            }
        }
        slot.wait_until_published()?;
        thread::sleep(PAUSE);
    }
    let each = u32::try_from(changes)?;
    let spent: Vec<Cost> = costs(&waiters)?
        .iter()
        .zip(&cost)
        .map(|(after, before)| after.since(before))
        .collect();
    let medians: Vec<Duration> = waiters
        .iter_mut()
        .map(|waiter| median(&mut waiter.delays))
        .collect();
    // They are sorted since the median was taken.
    let worst = waiters.iter().map(|Waiter { delays, .. }| {
        let worst = delays.get(delays.len() * 99 / 100);
        worst.copied().unwrap_or_default()
    });
    let processor = spent.iter().map(|cost| cost.processor / each);
    // The first two are the base of the comparison.
    let rows = |prefix: &str, times: &[Duration], skipped: usize| {
        let [of_c, of_pcsc] = [0, 1].map(|at| times.get(at).copied());
        for (waiter, time) in waiters.iter().zip(times).skip(skipped) {
            row(&format!("{prefix}{}", waiter.name), *time, of_c, of_pcsc);
        }
    };
    rows("", &medians, 0);
    rows("99th percentile, ", &worst.collect::<Vec<_>>(), 2);
    let processor: Vec<_> = processor.collect();
    rows("processor time per event, ", &processor, 2);
    if !effort.smoke {
        let before = costs(&waiters)?;
        thread::sleep(IDLE);
        let after = costs(&waiters)?;
        for ((waiter, before), after) in waiters.iter().zip(&before).zip(&after) {
            let spent = after.since(before);
            println!(
                "processor time while idle for {} s, {}\t\t\t{} ({} wake-ups)",
                IDLE.as_secs(),
                waiter.name,
                shown(spent.processor),
                spent.sleeps
            );
        }
    }
    Ok(())
}

/// The processor time of threads so far, and how often they slept.
#[derive(Default)]
struct Cost {
    processor: Duration,
    sleeps: u64,
}

impl Cost {
    fn since(&self, before: &Cost) -> Cost {
        Cost {
            processor: self.processor.saturating_sub(before.processor),
            sleeps: self.sleeps - before.sleeps,
        }
    }
}

fn costs(waiters: &[Waiter]) -> Answer<Vec<Cost>> {
    let mut costs = Vec::new();
    for waiter in waiters {
        let mut cost = Cost::default();
        for thread in &waiter.threads {
            let spent = fs::read_to_string(format!("/proc/self/task/{thread}/schedstat"))?;
            let nanos = spent.split_whitespace().next().ok_or("no time")?;
            cost.processor += Duration::from_nanos(nanos.parse()?);
            let status = fs::read_to_string(format!("/proc/self/task/{thread}/status"))?;
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            cost.sleeps += line.ok_or("no count")?.trim().parse::<u64>()?;
        }
        costs.push(cost);
    }
    Ok(costs)
}

fn this_thread() -> Answer<String> {
    let path = fs::read_link("/proc/thread-self")?;
    let number = path.file_name().ok_or("the thread has no number")?;
    Ok(number.to_string_lossy().into_owned())
}

/// Runs a loop on a thread, which sends the time at which it has the initial state, then that of
/// each change. Waits for the first.
fn wait(
    name: &'static str,
    work: impl FnOnce(&Sender<Instant>) -> Answer + Send + 'static,
) -> Answer<Waiter> {
    let (noticed, changes) = mpsc::channel();
    let (begin, begun) = mpsc::channel();
    thread::spawn(move || {
        let begun = this_thread().map_err(|error| error.to_string());
        let _ = begin.send(begun);
        // Ends with the daemon, or when the receiver is dropped.
        let _ = work(&noticed);
    });
    let threads = vec![begun.recv_timeout(SOON)??];
    changes.recv_timeout(SOON)?;
    Ok(Waiter {
        name,
        changes,
        threads,
        delays: Vec::new(),
    })
}

/// The loop of a program without a library.
fn by_c(names: Vec<CString>) -> Answer<Waiter> {
    let context = raw::Context::establish()?;
    wait("C: a loop of `SCardGetStatusChange`", move |noticed| {
        let mut states: Vec<_> = names.iter().map(|name| raw::state(name)).collect();
        let presence = ffi::SCARD_STATE_PRESENT | ffi::SCARD_STATE_EMPTY;
        let mut is_first = true;
        loop {
            context.status_change(&mut states)?;
            for state in &mut states {
                let changed = (state.dwCurrentState ^ state.dwEventState) & presence != 0;
                if changed && !is_first {
                    noticed.send(Instant::now())?;
                }
                state.dwCurrentState = state.dwEventState & !ffi::SCARD_STATE_CHANGED;
            }
            if is_first {
                noticed.send(Instant::now())?;
                is_first = false;
            }
        }
    })
}

fn by_pcsc(names: Vec<CString>) -> Answer<Waiter> {
    let context = pcsc::Context::establish(pcsc::Scope::User)?;
    wait("`pcsc`: the same loop", move |noticed| {
        let unaware = pcsc::State::UNAWARE;
        let mut states: Vec<_> = names
            .into_iter()
            .map(|name| pcsc::ReaderState::new(name, unaware))
            .collect();
        let presence = pcsc::State::PRESENT | pcsc::State::EMPTY;
        let mut is_first = true;
        loop {
            context.get_status_change(None, &mut states)?;
            for state in &mut states {
                let before = state.current_state() & presence;
                if before != state.event_state() & presence && !is_first {
                    noticed.send(Instant::now())?;
                }
                state.sync_current_state();
            }
            if is_first {
                noticed.send(Instant::now())?;
                is_first = false;
            }
        }
    })
}

fn by_monitor(name: &'static str, context: &Context) -> Answer<Waiter> {
    let others = threads_of_monitors()?;
    let mut monitor = context.monitor(MonitorOptions::new())?;
    while monitor.next_timeout(Duration::ZERO).is_some() {}
    let mut waiter = wait(name, move |noticed| {
        // A monitor has the initial state from the start.
        noticed.send(Instant::now())?;
        for event in monitor {
            if matches!(
                event,
                Event::CardInserted { .. } | Event::CardRemoved { .. }
            ) {
                noticed.send(Instant::now())?;
            }
        }
        Ok(())
    })?;
    let threads = threads_of_monitors()?.into_iter();
    let own = threads.filter(|thread| !others.contains(thread));
    waiter.threads.extend(own);
    Ok(waiter)
}

fn threads_of_monitors() -> Answer<Vec<String>> {
    let mut threads = Vec::new();
    for thread in fs::read_dir("/proc/self/task")? {
        let thread = thread?.file_name().to_string_lossy().into_owned();
        let name = fs::read_to_string(format!("/proc/self/task/{thread}/comm"))?;
        if name.trim() == "scard-monitor" {
            threads.push(thread);
        }
    }
    Ok(threads)
}
