//! The command line and the tables.

mod allocations;
mod build;
mod cards;
mod commands;
mod counting;
mod events;
mod hand_over;
mod kit;
mod long;
mod measure;
mod raw;
mod stage;
mod steps;
mod subscriber;
mod traced;

use std::env;
use std::error::Error;
use std::process::{Command, ExitCode, Stdio};

use scard_testkit::Driver;

type Answer<T = ()> = Result<T, Box<dyn Error>>;

/// How much to measure.
#[derive(Clone, Copy)]
struct Effort {
    /// Only a few rounds of everything, to check that it runs.
    smoke: bool,
}

impl Effort {
    fn rounds(self, full: usize) -> usize {
        match self.smoke {
            true => 2,
            false => full,
        }
    }
}

/// A table.
struct Topic {
    name: &'static str,
    title: &'static str,
    /// The headings of the first column, and of the columns repeated for each driver.
    columns: &'static [&'static str],
    /// Each driver is measured in its own process, because a process uses one daemon. If there are
    /// none, this process makes the table.
    drivers: &'static [Driver],
    /// Whether this process, the daemon and the card share a processor. Where they take turns
    /// anyway, the table would otherwise measure where the system schedules their threads.
    on_one_processor: bool,
    /// Prints the rows, with tabs between cells.
    run: fn(Driver, Effort) -> Answer,
}

const BOTH: &[Driver] = &[Driver::Vpcd, Driver::Kit];
const RATIOS: &[&str] = &["", "/ C", "/ `pcsc`", "median"];

const TOPICS: &[Topic] = &[
    Topic {
        name: "instructions",
        title: "One command: instructions in this process, and allocations",
        columns: &["", "instructions", "over C", "allocations"],
        drivers: &[Driver::Kit],
        on_one_processor: true,
        run: counting::run,
    },
    Topic {
        name: "commands",
        title: "One command of 5 bytes, answer of 10: time, on one processor",
        columns: RATIOS,
        drivers: BOTH,
        on_one_processor: true,
        run: commands::run,
    },
    Topic {
        name: "traced",
        title: "One command with a subscriber of `tracing`: time, on one processor",
        columns: RATIOS,
        drivers: BOTH,
        on_one_processor: true,
        run: traced::run,
    },
    Topic {
        name: "long",
        title: "Reading 64 KiB: time, on one processor",
        columns: RATIOS,
        drivers: BOTH,
        on_one_processor: true,
        run: long::run,
    },
    Topic {
        name: "steps",
        title: "Connections: time, on one processor",
        columns: RATIOS,
        drivers: BOTH,
        on_one_processor: true,
        run: steps::run,
    },
    Topic {
        name: "hand-over",
        title: "Waiting for another program's transaction: from its end to the start of the next",
        columns: RATIOS,
        drivers: &[Driver::Kit],
        on_one_processor: false,
        run: hand_over::run,
    },
    Topic {
        name: "cards",
        title: "Cards in parallel, one thread each, 5 commands of 20 ms: time relative to one card",
        columns: &[
            "cards",
            "`scard`",
            "socket",
            "`pcsc`, one context per card",
            "`pcsc`, one context",
        ],
        drivers: BOTH,
        on_one_processor: false,
        run: cards::run,
    },
    Topic {
        name: "events",
        title: "A card is inserted or removed: time from the driver to the waiting thread",
        columns: RATIOS,
        drivers: &[Driver::Kit],
        on_one_processor: false,
        run: events::run,
    },
    Topic {
        name: "monitor",
        title: "The same with 16 readers",
        columns: RATIOS,
        drivers: &[Driver::Kit],
        on_one_processor: false,
        run: events::run_with_many,
    },
    Topic {
        name: "kit",
        title: "Virtual cards with `vpcd`: time per command, on one processor",
        columns: &["", "/ `scard-testkit`", "median"],
        drivers: &[Driver::Vpcd],
        on_one_processor: true,
        run: kit::run,
    },
    Topic {
        name: "build",
        title: "Clean `cargo build` of the library",
        columns: &["", "crates", "time", "/ `pcsc`"],
        drivers: &[],
        on_one_processor: false,
        run: build::run,
    },
];

pub(super) fn main() -> ExitCode {
    match command_line() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn command_line() -> Answer<ExitCode> {
    let args: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    // Child processes of this one.
    match *words {
        ["of-topic", name, driver, effort] => {
            let effort = Effort {
                smoke: effort == "smoke",
            };
            let topic = TOPICS.iter().find(|topic| topic.name == name);
            let driver = BOTH.iter().find(|known| driver_name(**known) == driver);
            let (topic, driver) = topic.zip(driver).ok_or("no such table")?;
            if topic.on_one_processor {
                stay_on_one_processor()?;
            }
            (topic.run)(*driver, effort)?;
            return Ok(ExitCode::SUCCESS);
        }
        ["of-count", side, reader, commands] => {
            counting::count(side, reader, commands.parse()?)?;
            return Ok(ExitCode::SUCCESS);
        }
        _ => {}
    }
    // From tools that list tests.
    if words.contains(&"--list") {
        return Ok(ExitCode::SUCCESS);
    }
    // `cargo bench` passes `--bench`; `cargo test` only checks that it runs.
    let smoke = !words.contains(&"--bench") || words.contains(&"--smoke");
    let wanted: Vec<&str> = words
        .iter()
        .copied()
        .filter(|word| !word.starts_with('-'))
        .collect();
    for name in &wanted {
        if !TOPICS.iter().any(|topic| topic.name == *name) {
            let names: Vec<&str> = TOPICS.iter().map(|topic| topic.name).collect();
            return Err(
                format!("unknown table {name}; the tables are {}", names.join(", ")).into(),
            );
        }
    }
    let mut within = true;
    for topic in TOPICS {
        // A build takes too long for a smoke test.
        let is_wanted = match wanted.is_empty() {
            true => !(smoke && topic.drivers.is_empty()),
            false => wanted.contains(&topic.name),
        };
        if is_wanted {
            let rows = show(topic, Effort { smoke })?;
            if topic.name == "instructions" {
                within = counting::is_within(&rows);
            }
        }
    }
    let check = words.contains(&"--check");
    if check && !within {
        eprintln!("above the limit: {}", counting::LIMITS);
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Pins this thread, and all threads and processes it starts, to one processor.
fn stay_on_one_processor() -> Answer {
    // SAFETY: all zeros is a valid, empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    let size = size_of_val(&set);
    // SAFETY: the size passed is that of the set.
    if unsafe { libc::sched_getaffinity(0, size, &mut set) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    // The first one has the most interrupts.
    let last = (0..libc::CPU_SETSIZE as usize)
        // SAFETY: a number within the set.
        .rfind(|processor| unsafe { libc::CPU_ISSET(*processor, &set) })
        .ok_or("there is no processor")?;
    // SAFETY: only changes the set.
    unsafe { libc::CPU_ZERO(&mut set) };
    // SAFETY: a number within the set.
    unsafe { libc::CPU_SET(last, &mut set) };
    // SAFETY: the size passed is that of the set.
    match unsafe { libc::sched_setaffinity(0, size, &set) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error().into()),
    }
}

fn driver_name(driver: Driver) -> &'static str {
    match driver {
        Driver::Vpcd => "vpcd",
        _ => "kit",
    }
}

/// Makes a table and prints it.
fn show(topic: &Topic, effort: Effort) -> Answer<Vec<Vec<String>>> {
    println!("\n**{}**\n", topic.title);
    if topic.drivers.is_empty() {
        heading(topic.columns.iter().map(|column| (*column).to_owned()));
        (topic.run)(Driver::Kit, effort)?;
        return Ok(Vec::new());
    }
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (at, driver) in topic.drivers.iter().enumerate() {
        for (line, row) in measured(topic, *driver, effort)?.into_iter().enumerate() {
            match rows.get_mut(line) {
                // The first cell is the row's name.
                Some(known) if at > 0 => known.extend(row.into_iter().skip(1)),
                _ => rows.push(row),
            }
        }
    }
    let (first, columns) = topic
        .columns
        .split_first()
        .ok_or("the table has no columns")?;
    let of_driver = |driver: &Driver| match topic.drivers {
        [_] => String::new(),
        _ => format!("{}: ", driver_name(*driver)),
    };
    let all = topic.drivers.iter().flat_map(|driver| {
        let prefix = of_driver(driver);
        columns
            .iter()
            .map(move |column| format!("{prefix}{column}"))
    });
    heading(std::iter::once((*first).to_owned()).chain(all));
    for row in &rows {
        println!("| {} |", row.join(" | "));
    }
    Ok(rows)
}

fn heading(columns: impl Iterator<Item = String>) {
    let columns: Vec<String> = columns.collect();
    println!("| {} |", columns.join(" | "));
    println!("|---{}|", "|---:".repeat(columns.len() - 1));
}

/// The rows, measured in a separate process.
fn measured(topic: &Topic, driver: Driver, effort: Effort) -> Answer<Vec<Vec<String>>> {
    let how_much = match effort.smoke {
        true => "smoke",
        false => "full",
    };
    let child = Command::new(env::current_exe()?)
        .args(["of-topic", topic.name, driver_name(driver), how_much])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    if !child.status.success() {
        return Err(format!(
            "the process for table {} failed: {}",
            topic.name, child.status
        )
        .into());
    }
    let cells = |line: &str| line.split('\t').map(str::to_owned).collect();
    Ok(String::from_utf8(child.stdout)?
        .lines()
        .map(cells)
        .collect())
}
