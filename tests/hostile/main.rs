//! Tests the library with a service that does what no real one does.
//!
//! A separate program because it keeps every core busy: cargo runs programs one after the other, so
//! no test with a deadline runs at the same time.
//!
//! The whole API is called at random. `SCARD_HOSTILE_SEED` repeats the choices of a run,
//! `SCARD_HOSTILE_SECONDS` is its minimum duration, and `SCARD_HOSTILE_FAULTS` the minimum number
//! of wrong answers. A run of more than half a minute also needs `SCARD_TESTKIT_TIMEOUT` (in
//! seconds):
//!
//! ```sh
//! SCARD_TESTKIT_TIMEOUT=180 SCARD_HOSTILE_SECONDS=60 \
//!     cargo test --all-features --test hostile the_whole_api -- --nocapture
//! ```
#![cfg(target_os = "linux")]
#![allow(unsafe_code)]

#[path = "../support/mod.rs"]
mod support;

mod calls;
mod cases;
#[cfg(feature = "async")]
mod futures;
mod moods;
mod world;

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use scard::{Monitor, MonitorOptions};
use scard_testkit::isolated;

use moods::{Moods, Service};
use support::random::Random;
use support::{SOON, usage::workers};
use world::World;

const WORKERS: usize = 6;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// No call panics, is late, or returns the answer to another command.
#[test]
fn the_whole_api_keeps_its_guarantees_whatever_the_service_does() {
    isolated(|| {
        let clock = Instant::now().elapsed().as_nanos() as u64;
        let seed = number("SCARD_HOSTILE_SEED")
            .unwrap_or_else(|| u64::from(std::process::id()) << 20 ^ clock);
        println!("SCARD_HOSTILE_SEED={seed}");
        let seconds = Duration::from_secs(number("SCARD_HOSTILE_SECONDS").unwrap_or(5));
        let faults = number("SCARD_HOSTILE_FAULTS").unwrap_or_default();
        let mut random = Random::new(seed);
        let moods = Moods::new(random.next());
        let world = World::new(&moods);
        let mut service = Service::start(&moods);
        let end = Instant::now() + seconds;
        let service = thread::scope(|scope| {
            scope.spawn(|| world.watch());
            let mut threads: Vec<_> = (0..WORKERS)
                .map(|_| (random.fork(), &world))
                .map(|(random, world)| scope.spawn(move || calls::work(world, random)))
                .collect();
            threads.push(scope.spawn(|| listen(&world)));
            // On a busy machine, the first answer may take longer.
            let goes_on = || !world.has_checked() && Instant::now() < end + SOON;
            while Instant::now() < end || moods.faults() < faults || goes_on() {
                thread::sleep(Duration::from_millis(10 + random.below(90)));
                service = moods.swing(service, &mut random);
            }
            moods.calm_down();
            world.stop();
            for thread in threads {
                if thread.join().is_err() {
                    world.violated("a panic".into());
                }
            }
            world.watched();
            service
        });
        // Calls that were given up end now, because everything is answered.
        let begun = Instant::now();
        while workers() > 0 && begun.elapsed() < SOON {
            thread::sleep(Duration::from_millis(10));
        }
        if workers() > 0 {
            world.violated(format!("{} threads are left", workers()));
        }
        assert!(!service.panicked());
        println!("{} answers were wrong", moods.faults());
        world.report();
    });
}

/// Receives events for the whole time.
fn listen(world: &World) {
    let mut seen = BTreeMap::<String, usize>::new();
    while !world.stopped() {
        let Some(context) = calls::establish(world) else {
            continue;
        };
        let call = world.begin("Context::monitor", world::LIMIT);
        let monitor = context.monitor(MonitorOptions::new().use_changes(true));
        drop(call);
        let Ok(mut monitor) = monitor else { continue };
        world.drop("Context", context);
        while !world.stopped() && !Monitor::is_stopped(&monitor) {
            let call = world.begin("Monitor::next_timeout", world::LIMIT);
            let event = monitor.next_timeout(world::LIMIT);
            drop(call);
            let Some(event) = event else { continue };
            if let Some(reader) = event.reader_name() {
                world.check_name(reader.as_bytes());
            }
            let event = format!("{event:?}");
            let kind = event.split([' ', '{', '(']).next().unwrap_or_default();
            *seen.entry(kind.to_owned()).or_default() += 1;
        }
        world.drop("Monitor", monitor);
    }
    println!("events: {seen:?}");
}
