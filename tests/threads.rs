//! Cards in many threads: pcsc-lite's client library does not guard its lists in every call.
#![cfg(target_os = "linux")]

mod support;

use std::thread;
use std::time::{Duration, Instant};

use scard_testkit::isolated;
use support::*;

/// Without a lock around the calls that change pcsc-lite's lists, the process crashes here
/// sooner or later: see `sys::keep_lists`. `SCARD_THREADS_SECONDS` makes it run longer.
#[test]
fn cards_come_and_go_in_many_threads() {
    isolated(|| {
        let fixture = fixture();
        let seconds = std::env::var("SCARD_THREADS_SECONDS").ok();
        let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(2);
        let end = Instant::now() + Duration::from_secs(seconds);
        let connects: usize = thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let mut connects = 0;
                        while Instant::now() < end {
                            drop(fixture.context.open_reader(&fixture.empty_reader).unwrap());
                            connects += 1;
                        }
                        connects
                    })
                })
                .collect();
            let threads = threads.into_iter().map(|thread| thread.join().unwrap());
            threads.sum()
        });
        println!("{connects} connects");
        assert!(connects > 0);
        assert_works(&mut fixture.connect());
    });
}

/// The lock is held for as long as a disconnect takes, which must not be as long as a slow
/// card does.
#[test]
fn a_slow_card_delays_nobody_elses_coming_and_going() {
    isolated(|| {
        let slow = Duration::from_secs(2);
        let fixture = fixture_with(plain_card().delay(slow));
        let mut card = fixture.connect();
        let idle = fixture.connect();
        let begun = Instant::now();
        let answer = in_background(move || card.transmit(COMMAND));
        fixture.card.wait_for_commands(1, SOON).unwrap();
        drop(idle);
        drop(fixture.context.open_reader(&fixture.empty_reader).unwrap());
        assert!(begun.elapsed() < slow, "after {:?}", begun.elapsed());
        assert_eq!(finish(&answer).unwrap(), OK);
    });
}
