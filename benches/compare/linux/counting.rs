//! How many instructions and allocations a command takes in this process.
//!
//! The process that sends the commands runs under callgrind twice, with different numbers of
//! commands, so that the difference does not include the start. The daemon and the card are other
//! processes.

use std::env;
use std::ffi::CString;
use std::process::Command as Process;
use std::time::Duration;

use scard::{AsyncCard, Card, Command, ConnectOptions, Context, Disposition, ReaderName};
use scard_testkit::Driver;
use smol::future::block_on;
use tracing::dispatcher::with_default;

use super::stage::{COMMAND, Stage, plain_card, socket_context};
use super::{Answer, Effort, allocations, raw, subscriber};

struct Side {
    name: &'static str,
    /// Whether [`LIMITS`] apply.
    limited: bool,
    /// Sends this number of commands to the card in a reader.
    send: fn(&str, u32) -> Answer,
}

const fn side(name: &'static str, send: fn(&str, u32) -> Answer) -> Side {
    Side {
        name,
        limited: false,
        send,
    }
}

const fn limited(name: &'static str, send: fn(&str, u32) -> Answer) -> Side {
    Side {
        name,
        limited: true,
        send,
    }
}

/// The first one is the base of the comparison.
const SIDES: &[Side] = &[
    side("C: `SCardTransmit`", c),
    side("`pcsc`: `transmit`", pcsc),
    limited("`transmit_ref`", transmit_ref),
    limited("`transmit_ref` in a transaction", in_transaction),
    side(
        "`transmit_ref`, subscriber for other targets",
        |reader, n| with_default(&subscriber::of_others(), || transmit_ref(reader, n)),
    ),
    side("`transmit_ref`, every call recorded", |reader, n| {
        with_default(&subscriber::of_calls(), || transmit_ref(reader, n))
    }),
    side("`transmit`", transmit),
    side("`exchange` in a transaction", exchange),
    side(
        "`transmit_ref` in a transaction, with a time-out",
        limited_in_time,
    ),
    side("future of `transmit`, in a transaction", |reader, n| {
        future(connect(reader)?, n)
    }),
    side("socket: `transmit_ref`", |reader, n| {
        send(connect_by_socket(reader)?, n)
    }),
    side("socket: `transmit_ref` in a transaction", |reader, n| {
        send_in_transaction(connect_by_socket(reader)?, n)
    }),
    side(
        "socket: `transmit_ref` in a transaction, with a time-out",
        |reader, n| send_in_time(connect_by_socket(reader)?, n),
    ),
    side(
        "socket: future of `transmit`, in a transaction",
        |reader, n| future(connect_by_socket(reader)?, n),
    ),
];

const MOST_INSTRUCTIONS: i64 = 60;

pub(super) const LIMITS: &str = "60 instructions over C and no allocation for `transmit_ref`";

const WARM_UP: u32 = 20;

pub(super) fn run(driver: Driver, effort: Effort) -> Answer {
    let stage = Stage::new(driver, plain_card())?;
    let valgrind = Process::new("valgrind").arg("--version").output();
    let has_valgrind = valgrind.is_ok_and(|version| version.status.success());
    if !has_valgrind {
        eprintln!("instructions are not counted: valgrind is missing (apt-get install valgrind)");
    }
    let (few, many) = match effort.smoke {
        true => (20, 120),
        false => (100, 1_100),
    };
    let mut c = None;
    for Side { name, .. } in SIDES {
        let count = |commands| run_count(&stage, name, commands, has_valgrind);
        let (first, second) = (count(few)?, count(many)?);
        let commands = i64::from(many - few);
        let each = |more: u64, less: u64| (more as i64 - less as i64) as f64 / commands as f64;
        let allocated = each(second.allocations, first.allocations);
        let (instructions, over) = match (second.instructions, first.instructions) {
            (Some(more), Some(less)) => {
                let instructions = each(more, less);
                let c = *c.get_or_insert(instructions);
                (
                    format!("{instructions:.0}"),
                    format!("{:.0}", instructions - c),
                )
            }
            _ => ("?".to_owned(), "?".to_owned()),
        };
        println!("{name}\t{instructions}\t{over}\t{allocated:.0}");
        stage.virtual_card.clear_log();
    }
    Ok(())
}

/// Whether the rows are within [`LIMITS`]. Rows without a count are not.
pub(super) fn is_within(rows: &[Vec<String>]) -> bool {
    SIDES.iter().zip(rows).all(|(side, row)| {
        let number = |at: usize| row.get(at).and_then(|cell| cell.parse::<i64>().ok());
        let few = number(2).is_some_and(|over| over <= MOST_INSTRUCTIONS);
        !side.limited || (few && number(3) == Some(0))
    })
}

struct Counts {
    instructions: Option<u64>,
    allocations: u64,
}

fn run_count(stage: &Stage, side: &str, commands: u32, has_valgrind: bool) -> Answer<Counts> {
    let this = env::current_exe()?;
    let mut process = match has_valgrind {
        true => {
            let mut valgrind = Process::new("valgrind");
            valgrind
                .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
                .arg(this);
            valgrind
        }
        false => Process::new(this),
    };
    let output = process
        .args(["of-count", side, stage.sandbox.reader(0).name()])
        .arg(commands.to_string())
        .env("PCSCLITE_CSOCK_NAME", stage.sandbox.socket_path())
        .output()?;
    let messages = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("counting {side}: {messages}").into());
    }
    let collected = messages
        .lines()
        .find_map(|line| line.split_once("Collected :"));
    Ok(Counts {
        instructions: match collected {
            Some((_, number)) => Some(number.trim().parse()?),
            None if has_valgrind => {
                return Err(format!("output of valgrind: {messages}").into());
            }
            None => None,
        },
        allocations: String::from_utf8(output.stdout)?.trim().parse()?,
    })
}

/// Sends commands, and prints their number of allocations.
pub(super) fn count(name: &str, reader: &str, commands: u32) -> Answer {
    let side = SIDES.iter().find(|side| side.name == name);
    (side.ok_or("no such side")?.send)(reader, commands)
}

fn repeat(commands: u32, mut send: impl FnMut() -> Answer) -> Answer {
    for _ in 0..WARM_UP {
        send()?;
    }
    let before = allocations::count();
    for _ in 0..commands {
        send()?;
    }
    println!("{}", allocations::count() - before);
    Ok(())
}

fn c(reader: &str, commands: u32) -> Answer {
    let context = raw::Context::establish()?;
    let card = context.connect(&CString::new(reader)?)?;
    let mut buffer = vec![0; raw::BUFFER];
    repeat(commands, || card.transmit(COMMAND, &mut buffer).map(drop))
}

fn pcsc(reader: &str, commands: u32) -> Answer {
    let context = pcsc::Context::establish(pcsc::Scope::User)?;
    let (mode, any) = (pcsc::ShareMode::Shared, pcsc::Protocols::ANY);
    let card = context.connect(&CString::new(reader)?, mode, any)?;
    let mut buffer = vec![0; raw::BUFFER];
    repeat(commands, || {
        card.transmit(COMMAND, &mut buffer)?;
        Ok(())
    })
}

fn connect(reader: &str) -> Answer<Card> {
    let reader = ReaderName::new(reader)?;
    Ok(Context::establish()?.connect(&reader, ConnectOptions::new())?)
}

fn connect_by_socket(reader: &str) -> Answer<Card> {
    let reader = ReaderName::new(reader)?;
    Ok(socket_context()?.connect(&reader, ConnectOptions::new())?)
}

fn transmit_ref(reader: &str, commands: u32) -> Answer {
    send(connect(reader)?, commands)
}

fn send(mut card: Card, commands: u32) -> Answer {
    repeat(commands, || {
        card.transmit_ref(COMMAND)?;
        Ok(())
    })
}

fn send_in_transaction(mut card: Card, commands: u32) -> Answer {
    let mut transaction = card.transaction()?;
    repeat(commands, || {
        transaction.transmit_ref(COMMAND)?;
        Ok(())
    })
}

fn in_transaction(reader: &str, commands: u32) -> Answer {
    send_in_transaction(connect(reader)?, commands)
}

fn limited_in_time(reader: &str, commands: u32) -> Answer {
    send_in_time(connect(reader)?, commands)
}

fn send_in_time(mut card: Card, commands: u32) -> Answer {
    card.set_timeout(Some(Duration::from_secs(60)));
    send_in_transaction(card, commands)
}

fn transmit(reader: &str, commands: u32) -> Answer {
    let mut card = connect(reader)?;
    repeat(commands, || {
        card.transmit(COMMAND)?;
        Ok(())
    })
}

fn exchange(reader: &str, commands: u32) -> Answer {
    let mut card = connect(reader)?;
    let command = Command::parse(COMMAND)?;
    let mut transaction = card.transaction()?;
    repeat(commands, || {
        let _ = transaction.exchange(&command)?;
        Ok(())
    })
}

fn future(card: Card, commands: u32) -> Answer {
    let mut card = AsyncCard::from(card);
    let mut transaction = block_on(card.transaction())?;
    repeat(commands, || {
        block_on(transaction.transmit(COMMAND))?;
        Ok(())
    })?;
    Ok(block_on(transaction.end(Disposition::Leave))?)
}
