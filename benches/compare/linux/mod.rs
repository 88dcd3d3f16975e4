//! The command line, and the tables.

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

/// How much is measured.
#[derive(Clone, Copy)]
struct Effort {
    /// A round of everything, to see that it runs.
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
    /// Of the first column, and of those that each driver gives.
    columns: &'static [&'static str],
    /// A process for each, because a process has one daemon. Where there is none, the table
    /// is made by this process.
    drivers: &'static [Driver],
    /// Whether this process, the daemon and the card share a processor. Where they take turns
    /// anyway, it is how far apart their threads happen to run that would be measured.
    on_one_processor: bool,
    /// Prints its rows: cells with tabs between.
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
        title: "A transaction that another one waits for: from its end to the other's beginning",
        columns: RATIOS,
        drivers: &[Driver::Kit],
        on_one_processor: false,
        run: hand_over::run,
    },
    Topic {
        name: "cards",
        title: "Cards on as many threads, 5 commands of 20 ms each: times that of one card",
        columns: &[
            "cards",
            "`scard`",
            "socket",
            "`pcsc`, a context each",
            "`pcsc`, one context",
        ],
        drivers: BOTH,
        on_one_processor: false,
        run: cards::run,
    },
    Topic {
        name: "events",
        title: "A card comes or goes: from the driver to the one who waits",
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
        title: "Virtual cards of `vpcd`: time for a command, on one processor",
        columns: &["", "times `scard-testkit`", "median"],
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
    // Processes that this one starts.
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
    // What asks for the names of tests.
    if words.contains(&"--list") {
        return Ok(ExitCode::SUCCESS);
    }
    // `cargo bench` says so; `cargo test` wants to know whether it runs.
    let smoke = !words.contains(&"--bench") || words.contains(&"--smoke");
    let wanted: Vec<&str> = words
        .iter()
        .copied()
        .filter(|word| !word.starts_with('-'))
        .collect();
    for name in &wanted {
        if !TOPICS.iter().any(|topic| topic.name == *name) {
            let names: Vec<&str> = TOPICS.iter().map(|topic| topic.name).collect();
            return Err(format!("no table {name}; there are {}", names.join(", ")).into());
        }
    }
    let mut within = true;
    for topic in TOPICS {
        // A build takes longer than a look whether everything runs.
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
        eprintln!("more than what is allowed: {}", counting::LIMITS);
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// For this thread, and for all threads and processes that it starts.
fn stay_on_one_processor() -> Answer {
    // SAFETY: a set of no processors.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    let size = size_of_val(&set);
    // SAFETY: the set is as long as the call is told.
    if unsafe { libc::sched_getaffinity(0, size, &mut set) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    // The first one has the most interrupts.
    let last = (0..libc::CPU_SETSIZE as usize)
        // SAFETY: a number within the set.
        .rfind(|processor| unsafe { libc::CPU_ISSET(*processor, &set) })
        .ok_or("there is no processor")?;
    // SAFETY: changes the set alone.
    unsafe { libc::CPU_ZERO(&mut set) };
    // SAFETY: a number within the set.
    unsafe { libc::CPU_SET(last, &mut set) };
    // SAFETY: the set is as long as the call is told.
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
                // The first cell is what the row is about.
                Some(known) if at > 0 => known.extend(row.into_iter().skip(1)),
                _ => rows.push(row),
            }
        }
    }
    let (first, columns) = topic.columns.split_first().ok_or("a table has columns")?;
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

/// The rows that a process of its own gives.
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
        return Err(format!("the table {} ends with {}", topic.name, child.status).into());
    }
    let cells = |line: &str| line.split('\t').map(str::to_owned).collect();
    Ok(String::from_utf8(child.stdout)?
        .lines()
        .map(cells)
        .collect())
}
