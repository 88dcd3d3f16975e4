//! Measures sides that take turns, and prints their medians.

use std::time::{Duration, Instant};

use super::{Answer, Effort};

/// One side of a comparison.
pub(super) struct Side<'a> {
    name: &'static str,
    of: Of,
    /// Does the work once, and returns how long the measured part took.
    work: Box<dyn FnMut() -> Answer<Duration> + 'a>,
    times: Vec<Duration>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    C,
    Pcsc,
    Other,
}

impl<'a> Side<'a> {
    fn new(name: &'static str, of: Of, work: impl FnMut() -> Answer<Duration> + 'a) -> Side<'a> {
        Side {
            name,
            of,
            work: Box::new(work),
            times: Vec::new(),
        }
    }

    /// The base of the comparison.
    pub(super) fn c(name: &'static str, work: impl FnMut() -> Answer<Duration> + 'a) -> Side<'a> {
        Side::new(name, Of::C, work)
    }

    /// The same by the `pcsc` crate.
    pub(super) fn pcsc(
        name: &'static str,
        work: impl FnMut() -> Answer<Duration> + 'a,
    ) -> Side<'a> {
        Side::new(name, Of::Pcsc, work)
    }

    pub(super) fn other(
        name: &'static str,
        work: impl FnMut() -> Answer<Duration> + 'a,
    ) -> Side<'a> {
        Side::new(name, Of::Other, work)
    }
}

/// The average time of `count` repetitions.
pub(super) fn each(count: u32, mut work: impl FnMut() -> Answer) -> Answer<Duration> {
    let begun = Instant::now();
    for _ in 0..count {
        work()?;
    }
    Ok(begun.elapsed() / count)
}

/// Lets the sides take turns, starting each round with another one.
fn alternate(
    effort: Effort,
    rounds: usize,
    sides: &mut [Side<'_>],
    mut between: impl FnMut(),
) -> Answer {
    let (rounds, count) = (effort.rounds(rounds), sides.len());
    let warm_up = rounds.div_ceil(20);
    for round in 0..warm_up + rounds {
        for turn in 0..count {
            let side = &mut sides[(round + turn) % count];
            let time = (side.work)()?;
            if round >= warm_up {
                side.times.push(time);
            }
        }
        between();
    }
    Ok(())
}

/// Lets the sides take turns, and prints a row for each: its median divided by those of the C calls
/// and of the `pcsc` crate, if present.
pub(super) fn compare(
    effort: Effort,
    rounds: usize,
    mut sides: Vec<Side<'_>>,
    between: impl FnMut(),
) -> Answer {
    alternate(effort, rounds, &mut sides, between)?;
    rows(&mut sides, "", median);
    Ok(())
}

/// The same, followed by the slowest time of each side.
pub(super) fn compare_with_worst(
    effort: Effort,
    rounds: usize,
    mut sides: Vec<Side<'_>>,
    between: impl FnMut(),
) -> Answer {
    alternate(effort, rounds, &mut sides, between)?;
    rows(&mut sides, "", median);
    let worst = |times: &mut [Duration]| times.iter().max().copied().unwrap_or_default();
    rows(&mut sides, "the slowest, ", worst);
    Ok(())
}

/// Prints a row for each side, for the time chosen from its measurements.
fn rows(sides: &mut [Side<'_>], prefix: &str, choose: impl Fn(&mut [Duration]) -> Duration) {
    let chosen = sides.iter_mut().map(|side| choose(&mut side.times));
    let chosen: Vec<Duration> = chosen.collect();
    let time_of = |of| {
        let at = sides.iter().position(|side| side.of == of)?;
        chosen.get(at).copied()
    };
    for (side, time) in sides.iter().zip(&chosen) {
        let name = format!("{prefix}{}", side.name);
        row(&name, *time, time_of(Of::C), time_of(Of::Pcsc));
    }
}

/// Prints a row of [`super::RATIOS`].
pub(super) fn row(name: &str, median: Duration, c: Option<Duration>, pcsc: Option<Duration>) {
    let (c, pcsc) = (ratio(median, c), ratio(median, pcsc));
    println!("{name}\t{c}\t{pcsc}\t{}", shown(median));
}

pub(super) fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

pub(super) fn ratio(time: Duration, base: Option<Duration>) -> String {
    match base {
        Some(base) if !base.is_zero() => {
            format!("{:.2}", time.as_secs_f64() / base.as_secs_f64())
        }
        _ => String::new(),
    }
}

/// Formats a time in a suitable unit.
pub(super) fn shown(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    match micros {
        ..100.0 => format!("{micros:.1} µs"),
        ..10_000.0 => format!("{micros:.0} µs"),
        ..1_000_000.0 => format!("{:.1} ms", micros / 1e3),
        _ => format!("{:.1} s", micros / 1e6),
    }
}

/// Prints a row for each side: its median divided by the first one's, and the median.
pub(super) fn ratios(effort: Effort, rounds: usize, mut sides: Vec<Side<'_>>) -> Answer {
    alternate(effort, rounds, &mut sides, || {})?;
    let mut first = None;
    for side in &mut sides {
        let median = median(&mut side.times);
        let first = *first.get_or_insert(median);
        let ratio = ratio(median, Some(first));
        println!("{}\t{ratio}\t{}", side.name, shown(median));
    }
    Ok(())
}
