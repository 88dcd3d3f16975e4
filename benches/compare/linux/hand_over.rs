//! How long a program waits for a card after another one has ended its transaction.

use std::cell::Cell;
use std::thread;
use std::time::{Duration, Instant};

use scard::{Card, Disposition};
use scard_testkit::Driver;

use super::measure::{Side, compare_with_worst};
use super::stage::{Stage, plain_card};
use super::{Answer, Effort, raw};

const ROUNDS: usize = 60;

pub(super) fn run(driver: Driver, effort: Effort) -> Answer {
    let stage = Stage::new(driver, plain_card())?;
    // In a separate context, as in another program.
    let of_other = raw::Context::establish()?;
    let other = of_other.connect(&stage.name)?;
    let (first, second) = (stage.connect_raw()?, stage.connect_raw()?);
    let [mut by_library, mut by_socket] = stage.both_ways()?;
    let round = Cell::new(0);
    // Holds the card for a different time in each round, because some sides poll at intervals.
    let hand_over = |begin: &mut dyn FnMut() -> Answer<Instant>| {
        round.set(round.get() + 37);
        let held = Duration::from_millis(60 + round.get() % 200);
        other.begin()?;
        thread::scope(|scope| {
            let holder = scope.spawn(|| {
                thread::sleep(held);
                let ended = Instant::now();
                other.end().map_err(|error| error.to_string())?;
                Ok::<Instant, String>(ended)
            });
            let begun = begin();
            let ended = holder.join().map_err(|_| "a thread panicked")??;
            Ok(begun?.saturating_duration_since(ended))
        })
    };
    let by_c = |card: &raw::Card| {
        card.begin()?;
        let begun = Instant::now();
        card.end()?;
        Ok(begun)
    };
    let by_card = |card: &mut Card| {
        let transaction = card.transaction()?;
        let begun = Instant::now();
        transaction.end(Disposition::Leave)?;
        Ok(begun)
    };
    let sides = vec![
        Side::c("C: `SCardBeginTransaction`", || {
            hand_over(&mut || by_c(&first))
        }),
        Side::other("the same once more", || hand_over(&mut || by_c(&second))),
        Side::other("`Card::transaction`", || {
            hand_over(&mut || by_card(&mut by_library))
        }),
        Side::other("socket: `Card::transaction`", || {
            hand_over(&mut || by_card(&mut by_socket))
        }),
    ];
    compare_with_worst(effort, ROUNDS, sides, stage.tidy())
}
