//! Sessions at work while everything that can happen to cards happens, at random.
//!
//! A program of its own because it keeps every core busy: cargo runs programs one after the
//! other, so no test with a deadline runs beside it.
//!
//! `SCARD_CHAOS_SEED` repeats the choices of a run, `SCARD_CHAOS_SECONDS` and
//! `SCARD_CHAOS_FAULTS` say when it ends: at whichever comes last. A run of more than a minute
//! needs `SCARD_TESTKIT_TIMEOUT` (in seconds), too:
//!
//! ```sh
//! SCARD_TESTKIT_TIMEOUT=3600 SCARD_CHAOS_FAULTS=10000 \
//!     cargo test --all-features --test chaos -- --nocapture
//! ```
//!
//! With `SCARD_TESTKIT_DRIVER=kit`, readers are plugged in and unplugged as well.
#![cfg(target_os = "linux")]
#![allow(unsafe_code)]

#[path = "../support/mod.rs"]
mod support;

mod saboteur;
mod worker;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use scard::{ConnectOptions, Context, MonitorOptions, ReaderName};
use scard_testkit::{CardHandle, Sandbox, TestkitError, VirtualCard, isolated_with_peer};

use support::applet::{NOT_SELECTED, number_of};
use support::random::Random;
use worker::{RESTARTABLE, Report};

const READERS: usize = 4;

/// Readers from this one on see other cards than the right one.
const SWAPPED: usize = 2;

/// The sessions, by the reader that they use. Each has an application of its own.
const WORKERS: [usize; 7] = [0, 0, 1, 1, 2, 2, 3];

/// How long each run may take.
const DEADLINE: Duration = Duration::from_secs(3);

/// How much longer it may take on a busy machine.
const TOLERANCE: Duration = Duration::from_secs(2);

/// How long it takes to put a card into a reader. The daemon looks whether the card of a
/// connection is still there, and then sends the command. On a busy machine much can happen in
/// between, and a card that is exchanged by then gets a command that was meant for the other.
const BY_HAND: Duration = Duration::from_millis(250);

/// A reader that comes and goes, with a name that makes the list of readers much longer.
const PLUGGED: &str = "Reader That Comes And Goes [With a Long Name] (0123456789ABCDEF)";

/// How long cleaning up may take.
const CLEAN: Duration = Duration::from_secs(20);

/// What all threads see.
struct World {
    sandbox: Sandbox,
    names: Vec<ReaderName>,
    /// The card that belongs in each reader.
    right: Vec<CardHandle>,
    /// A card that does not, for the readers that see one.
    wrong: Vec<Option<CardHandle>>,
    /// Whether readers can be plugged in.
    has_hot_plug: bool,
    stop: AtomicBool,
    faults: Mutex<BTreeMap<&'static str, usize>>,
    violations: Mutex<Vec<String>>,
}

impl World {
    fn new(random: &mut Random) -> World {
        let right: Vec<CardHandle> = (0..READERS)
            .map(|reader| worker::Shaky::card(&[reader as u8], random.fork()).into())
            .collect();
        let builder = || {
            let builder = Sandbox::builder().readers(READERS);
            let cards = right.iter().enumerate();
            cards.fold(builder, |builder, (reader, card)| {
                builder.card(reader, card)
            })
        };
        let (sandbox, has_hot_plug) = match builder().hot_plug(PLUGGED).start() {
            Err(TestkitError::NeedsKitDriver { .. }) => (builder().start(), false),
            sandbox => (sandbox, true),
        };
        let sandbox = sandbox.expect("the sandbox");
        let wrong = |reader: usize| {
            let serial = [0x80 | reader as u8];
            let card: VirtualCard = worker::Shaky::card(&serial, Random::new(0));
            (reader >= SWAPPED).then(|| card.into())
        };
        World {
            names: (0..READERS)
                .map(|reader| ReaderName::new(sandbox.reader(reader).name()).unwrap())
                .collect(),
            wrong: (0..READERS).map(wrong).collect(),
            right,
            sandbox,
            has_hot_plug,
            stop: AtomicBool::new(false),
            faults: Mutex::default(),
            violations: Mutex::default(),
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn count(&self, fault: &'static str) {
        *self.faults.lock().unwrap().entry(fault).or_default() += 1;
    }

    fn violation(&self, violation: String) {
        self.violations.lock().unwrap().push(violation);
    }

    fn faults(&self) -> usize {
        self.faults.lock().unwrap().values().sum()
    }

    /// Everything is as it was in the beginning.
    fn restore(&self) {
        let _ = self.sandbox.resume();
        if self.sandbox.pid().is_none() {
            self.sandbox.restart().expect("the daemon");
        }
        for reader in 0..READERS {
            self.put(reader, &self.right[reader]);
            let slot = self.sandbox.reader(reader);
            slot.wait_until_published().expect("the right card");
        }
    }

    /// Brings this card into the reader, whatever is in it.
    fn put(&self, reader: usize, card: &CardHandle) {
        let slot = self.sandbox.reader(reader);
        let is_there = |card: &CardHandle| card.is_inserted() && slot.card().is_some();
        if is_there(card) {
            return;
        }
        slot.remove_now();
        // Of a daemon that is killed meanwhile nothing is to be heard.
        let _ = slot.wait_until_published();
        thread::sleep(BY_HAND);
        let _ = slot.insert_now(card);
        let _ = slot.wait_until_published();
    }
}

fn threads(process: &str) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task"));
    tasks.expect("a process").count()
}

/// Threads here and in the daemon, which has one for each context.
fn usage(world: &World) -> (usize, usize) {
    let daemon = world.sandbox.pid().expect("a daemon").to_string();
    (threads("self"), threads(&daemon))
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn no_command_reaches_a_card_twice_and_none_is_lost() {
    chaos(12, 0);
}

/// Runs for hours if it is told to.
#[test]
#[ignore = "takes minutes; see the top of this file"]
fn soak() {
    chaos(0, 10_000);
}

/// At least so many seconds and faults, unless the environment says otherwise.
fn chaos(seconds: u64, faults: u64) {
    isolated_with_peer(
        |peers| {
            let clock = Instant::now().elapsed().as_nanos() as u64;
            let seed = number("SCARD_CHAOS_SEED")
                .unwrap_or_else(|| u64::from(std::process::id()) << 20 ^ clock);
            println!("SCARD_CHAOS_SEED={seed}");
            let seconds = Duration::from_secs(number("SCARD_CHAOS_SECONDS").unwrap_or(seconds));
            let faults = number("SCARD_CHAOS_FAULTS").unwrap_or(faults) as usize;

            let mut random = Random::new(seed);
            let world = World::new(&mut random);
            let context = Context::establish().unwrap();
            let unused = usage(&world);
            let begun = Instant::now();
            let mut next_word = Duration::from_secs(30);
            let reports: Vec<Report> = thread::scope(|scope| {
                let workers: Vec<_> = WORKERS
                    .iter()
                    .enumerate()
                    .map(|(application, reader)| {
                        let (world, context, random) = (&world, &context, random.fork());
                        let application = application as u8;
                        scope.spawn(move || {
                            worker::work(world, context, *reader, application, random)
                        })
                    })
                    .collect();
                let (a, b, c) = (random.fork(), random.fork(), random.fork());
                let (d, e) = (random.fork(), random.fork());
                let (world, context) = (&world, &context);
                let mut saboteurs = vec![
                    scope.spawn(move || saboteur::serve(world, context, a)),
                    scope.spawn(move || saboteur::swap(world, b)),
                    scope.spawn(move || saboteur::die(world, peers, c)),
                    scope.spawn(move || saboteur::fork(world, context, d)),
                    scope.spawn(move || saboteur::list(world, context)),
                ];
                if world.has_hot_plug {
                    saboteurs.push(scope.spawn(move || saboteur::plug(world, e)));
                }
                saboteurs.extend((0..READERS).map(|reader| {
                    let random = random.fork();
                    scope.spawn(move || saboteur::disturb(world, context, reader, random))
                }));
                while begun.elapsed() < seconds || world.faults() < faults {
                    thread::sleep(Duration::from_millis(50));
                    if begun.elapsed() > next_word {
                        println!("{:?}: {} faults", begun.elapsed(), world.faults());
                        next_word *= 2;
                    }
                    if workers.iter().any(|worker| worker.is_finished()) {
                        break;
                    }
                }
                world.stop.store(true, Ordering::SeqCst);
                for saboteur in saboteurs {
                    saboteur.join().expect("a saboteur");
                }
                world.restore();
                let reports = workers.into_iter().map(|worker| worker.join());
                reports.map(|report| report.expect("a worker")).collect()
            });
            println!(
                "{} faults in {:?}: {:?}",
                world.faults(),
                begun.elapsed(),
                world.faults.lock().unwrap()
            );
            for (application, report) in reports.iter().enumerate() {
                println!("session {application}: {report}");
            }
            check(&world, &reports);

            drop(context);
            let cleaning = Instant::now();
            while usage(&world) > unused || usage(&world).1 > unused.1 {
                let now = usage(&world);
                assert!(cleaning.elapsed() < CLEAN, "{now:?} is left of {unused:?}");
                thread::sleep(Duration::from_millis(20));
            }
        },
        |link| {
            let reader = ReaderName::new(link.recv()).unwrap();
            loop {
                let Ok(context) = Context::establish() else {
                    continue;
                };
                let Ok(mut card) = context.connect(&reader, ConnectOptions::new()) else {
                    continue;
                };
                let Ok(mut transaction) = card.transaction() else {
                    continue;
                };
                let _ = transaction.transmit(&support::applet::select(0xFF));
                // Another thread is in a call when the process ends.
                let _monitor = context.monitor(MonitorOptions::new());
                link.send("held");
                match link.recv().as_str() {
                    "exit" => std::process::exit(0),
                    // SAFETY: ends this process.
                    _ => unsafe { libc::_exit(0) },
                }
            }
        },
    );
}

/// Compares what the callers know with what the cards know.
fn check(world: &World, reports: &[Report]) {
    let mut wrong = world.violations.lock().unwrap().clone();
    for (application, report) in reports.iter().enumerate() {
        for violation in &report.violations {
            wrong.push(format!("session {application}: {violation}"));
        }
    }
    let mut arrived: BTreeMap<(u8, u32), usize> = BTreeMap::new();
    for (reader, card) in world.right.iter().enumerate() {
        assert!(!card.panicked());
        for exchange in card.log() {
            let Some(command) = number_of(&exchange.command) else {
                continue;
            };
            *arrived.entry(command).or_default() += 1;
            if exchange.response.as_deref() == Some(NOT_SELECTED) {
                wrong.push(format!(
                    "{command:x?} got to another application in {reader}"
                ));
            }
            if WORKERS[usize::from(command.0)] != reader {
                wrong.push(format!("{command:x?} got to reader {reader}"));
            }
        }
    }
    for card in world.wrong.iter().flatten() {
        for exchange in card.log() {
            if let Some(command) = number_of(&exchange.command) {
                wrong.push(format!("{command:x?} got to a wrong card"));
            }
        }
    }
    for (&(application, number), &times) in &arrived {
        if times > 1 && number & RESTARTABLE == 0 {
            wrong.push(format!("{number:x} of {application} arrived {times} times"));
        }
    }
    let mut acknowledged = 0;
    for (application, report) in reports.iter().enumerate() {
        for &number in &report.acknowledged {
            acknowledged += 1;
            if !arrived.contains_key(&(application as u8, number)) {
                wrong.push(format!("{number:x} of {application} never arrived"));
            }
        }
    }
    let commands: usize = arrived.values().sum();
    println!("{commands} numbered commands arrived, {acknowledged} were acknowledged");
    let shown = wrong.len().min(50);
    assert!(
        wrong.is_empty(),
        "{} violations:\n{}",
        wrong.len(),
        wrong[..shown].join("\n")
    );
}
