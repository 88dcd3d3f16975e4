//! Sessions at work while everything that can happen to cards does happen, at random.
//!
//! A separate program because it keeps every core busy: cargo runs programs one after the other, so
//! no test with a deadline runs at the same time.
//!
//! `SCARD_CHAOS_SEED` repeats the choices of a run. It ends after `SCARD_CHAOS_SECONDS` and
//! `SCARD_CHAOS_FAULTS`, whichever is reached last. A run of more than a minute also needs
//! `SCARD_TESTKIT_TIMEOUT` (in seconds):
//!
//! ```sh
//! SCARD_TESTKIT_TIMEOUT=7200 SCARD_CHAOS_FAULTS=20000 \
//!     cargo test --all-features --test chaos -- --nocapture
//! ```
//!
//! With `SCARD_TESTKIT_DRIVER=kit`, readers are also plugged in and unplugged, and cards are
//! sometimes mute after being inserted or reset.
#![cfg(target_os = "linux")]
#![allow(unsafe_code)]

#[path = "../support/mod.rs"]
mod support;

mod card;
mod check;
mod saboteur;
mod worker;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use scard::{ConnectOptions, Context, MonitorOptions, ReaderFlags, ReaderName, ReaderState};
use scard_testkit::{CardHandle, Sandbox, TestkitError, isolated_with_peer};

use card::{Pin, Shaky};
use check::check;
use support::random::Random;
use worker::{Report, Worker};

const READERS: usize = 4;

/// From this reader on, cards are swapped for others.
const SWAPPED: usize = 2;

/// What a session uses, and how. Each session has its own application.
struct Role {
    /// The only reader; `None` for any reader, except that of the [unwanted
    /// card](worker::UNWANTED).
    reader: Option<usize>,
    has_identity: bool,
    logs_in: bool,
    /// Whether it releases the card while idle.
    lets_go: bool,
    /// Whether it uses guards, and between them keeps the card alive, changes its time-out and
    /// forgets its identity.
    has_guards: bool,
}

/// Where cards are swapped, sessions have an identity.
const ROLES: [Role; 10] = [
    Role::of(Some(0)),
    Role::of(Some(0)).logging_in(),
    Role::of(Some(1)),
    Role::of(Some(1)).letting_go(),
    Role::of(Some(2)).identifying(),
    Role::of(Some(2)).identifying().logging_in(),
    Role::of(Some(3)).identifying().logging_in().letting_go(),
    Role::of(None).identifying().logging_in(),
    Role::of(None).letting_go(),
    Role::of(Some(3)).identifying().logging_in().with_guards(),
];

/// The time limit of a run, unless the session changes it.
const DEADLINE: Duration = Duration::from_secs(3);

/// How much longer a run may take on a busy machine.
const TOLERANCE: Duration = Duration::from_secs(2);

/// How long it takes to put a card into a reader. The daemon checks that a connection's card is
/// still there before it sends a command. On a busy machine, a card exchanged between the two would
/// receive a command meant for the other.
const BY_HAND: Duration = Duration::from_millis(250);

/// A reader that is attached and detached, with a name that makes the list of readers much longer.
const PLUGGED: &str = "Reader That Comes And Goes [With a Long Name] (0123456789ABCDEF)";

/// The time limit for cleaning up.
const CLEAN: Duration = Duration::from_secs(20);

impl Role {
    const fn of(reader: Option<usize>) -> Role {
        Role {
            reader,
            has_identity: false,
            logs_in: false,
            lets_go: false,
            has_guards: false,
        }
    }

    const fn identifying(mut self) -> Role {
        self.has_identity = true;
        self
    }

    const fn logging_in(mut self) -> Role {
        self.logs_in = true;
        self
    }

    const fn letting_go(mut self) -> Role {
        self.lets_go = true;
        self
    }

    const fn with_guards(mut self) -> Role {
        self.has_guards = true;
        self
    }
}

/// The state shared by all threads.
struct World {
    sandbox: Sandbox,
    names: Vec<ReaderName>,
    /// The card that belongs in each reader.
    right: Vec<CardHandle>,
    /// Another card, for the readers whose cards are swapped.
    wrong: Vec<Option<CardHandle>>,
    /// The PINs, by the cards' serial numbers.
    pins: BTreeMap<u8, Pin>,
    /// Whether readers can be plugged in, and made to fail.
    has_kit: bool,
    /// Set at the end, when nothing happens to the cards any more.
    stop: Arc<AtomicBool>,
    faults: Mutex<BTreeMap<&'static str, usize>>,
    violations: Mutex<Vec<String>>,
}

impl World {
    fn new(random: &mut Random) -> World {
        let readers = 0..READERS as u8;
        let serials = readers.clone().chain(readers.map(wrong_serial));
        let pins: BTreeMap<u8, Pin> = serials.map(|serial| (serial, Pin::new())).collect();
        let stop = Arc::default();
        let mut card = |serial| -> CardHandle {
            Shaky::card(serial, &pins[&serial], random.fork(), &stop).into()
        };
        let right: Vec<CardHandle> = (0..READERS as u8).map(&mut card).collect();
        let wrong = (0..READERS as u8).map(|reader| {
            let is_swapped = usize::from(reader) >= SWAPPED;
            is_swapped.then(|| card(wrong_serial(reader)))
        });
        let wrong = wrong.collect();
        let builder = || {
            let builder = Sandbox::builder().readers(READERS);
            let cards = right.iter().enumerate();
            cards.fold(builder, |builder, (reader, card)| {
                builder.card(reader, card)
            })
        };
        let (sandbox, has_kit) = match builder().hot_plug(PLUGGED).start() {
            Err(TestkitError::NeedsKitDriver { .. }) => (builder().start(), false),
            sandbox => (sandbox, true),
        };
        let sandbox = sandbox.expect("the sandbox");
        World {
            names: (0..READERS)
                .map(|reader| ReaderName::new(sandbox.reader(reader).name()).unwrap())
                .collect(),
            wrong,
            right,
            sandbox,
            has_kit,
            pins,
            stop,
            faults: Mutex::default(),
            violations: Mutex::default(),
        }
    }

    /// Every card, with its serial number.
    fn cards(&self) -> impl Iterator<Item = (u8, &CardHandle, &Pin)> {
        let right = self.right.iter().zip(0..);
        let wrong = self.wrong.iter().zip(0..);
        let wrong = wrong.filter_map(|(card, reader)| Some((card.as_ref()?, wrong_serial(reader))));
        let cards = right.chain(wrong);
        cards.map(|(card, serial)| (serial, card, self.pin_of(serial)))
    }

    fn pin_of(&self, serial: u8) -> &Pin {
        &self.pins[&serial]
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

    /// Restores the initial state.
    fn restore(&self) {
        let _ = self.sandbox.resume();
        if self.sandbox.pid().is_none() {
            self.sandbox.restart().expect("the daemon");
        }
        for reader in 0..READERS {
            let slot = self.sandbox.reader(reader);
            if self.has_kit {
                slot.clear_faults().expect("the kit's driver");
            }
            self.put(reader, &self.right[reader]);
            slot.wait_until_published().expect("the right card");
        }
    }

    /// Inserts the cards anew that the daemon has lost until then: a reset that began before a card
    /// was inserted, and ends after it was noticed, makes the reader empty. Returns those that it
    /// does not see; it may not have noticed them yet.
    fn insert_lost(&self, context: &Context, lost: &[ReaderName]) -> Vec<ReaderName> {
        let states = context.reader_states().unwrap_or_default();
        let is_empty = |state: &&ReaderState| state.flags().contains(ReaderFlags::EMPTY);
        let unseen = states.iter().filter(is_empty);
        let unseen = unseen.map(|state| state.reader_name().clone());
        let unseen: Vec<_> = unseen.filter(|it| self.names.contains(it)).collect();
        for (reader, name) in self.names.iter().enumerate() {
            if unseen.contains(name) && lost.contains(name) {
                self.sandbox.reader(reader).remove_now();
                self.put(reader, &self.right[reader]);
                self.count("card lost by the service");
                if self.faults.lock().unwrap()["card lost by the service"] > READERS {
                    self.violation(format!("the card in {name} is lost again and again"));
                }
            }
        }
        unseen
    }

    /// Puts this card into the reader, after removing any other.
    fn put(&self, reader: usize, card: &CardHandle) {
        let slot = self.sandbox.reader(reader);
        let is_there = |card: &CardHandle| card.is_inserted() && slot.card().is_some();
        if is_there(card) {
            return;
        }
        slot.remove_now();
        // Fails if the daemon is killed meanwhile.
        let _ = slot.wait_until_published();
        thread::sleep(BY_HAND);
        let _ = slot.insert_now(card);
        let _ = slot.wait_until_published();
    }
}

/// The serial number of the other card for a reader.
fn wrong_serial(reader: u8) -> u8 {
    0x80 | reader
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
fn no_command_reaches_a_card_twice_none_is_lost_and_no_try_is_used_twice() {
    chaos(12, 0);
}

/// Can run for hours: see the top of this file.
#[test]
#[ignore = "takes minutes; see the top of this file"]
fn soak() {
    chaos(0, 20_000);
}

/// Runs for at least these numbers of seconds and faults, unless the environment sets others.
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
            let mut next_report = Duration::from_secs(30);
            let reports: Vec<Report> = thread::scope(|scope| {
                let workers: Vec<_> = (0..ROLES.len() as u8)
                    .map(|application| {
                        let worker = Worker::new(&world, &context, application, random.fork());
                        scope.spawn(move || worker.work())
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
                if world.has_kit {
                    saboteurs.push(scope.spawn(move || saboteur::plug(world, e)));
                }
                saboteurs.extend((0..READERS).map(|reader| {
                    let random = random.fork();
                    scope.spawn(move || saboteur::disturb(world, context, reader, random))
                }));
                while begun.elapsed() < seconds || world.faults() < faults {
                    thread::sleep(Duration::from_millis(50));
                    if begun.elapsed() > next_report {
                        println!("{:?}: {} faults", begun.elapsed(), world.faults());
                        next_report *= 2;
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
                let mut lost = Vec::new();
                while !workers.iter().all(|worker| worker.is_finished()) {
                    thread::sleep(BY_HAND);
                    lost = world.insert_lost(context, &lost);
                }
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
                assert!(
                    cleaning.elapsed() < CLEAN,
                    "{now:?} threads are left, {unused:?} before"
                );
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
                // Another thread is making a call when the process ends.
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
