//! Cards that work at the same time, one thread each.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use scard::{ConnectOptions, Context, ReaderName};
use scard_testkit::{Driver, Sandbox};

use super::measure::{median, ratio};
use super::stage::{COMMAND, plain_card, socket_context, start};
use super::{Answer, Effort, raw};

/// As far as the daemon has room for as many readers.
const COUNTS: [usize; 6] = [1, 2, 4, 8, 16, 40];
const COMMANDS: usize = 5;
const DELAY: Duration = Duration::from_millis(20);

/// Sends a command over a thread's connection.
type Send = Box<dyn FnMut() -> Answer + std::marker::Send>;
type Connect<'a> = Box<dyn Fn(&str) -> Answer<Send> + 'a>;

pub(super) fn run(driver: Driver, effort: Effort) -> Answer {
    let room = match effort.smoke {
        true => 2,
        false => Sandbox::max_readers()?,
    };
    let counts: Vec<usize> = COUNTS.into_iter().filter(|it| *it <= room).collect();
    let most = counts.last().copied().unwrap_or(1);
    let mut sandbox = Sandbox::builder().readers(most);
    for reader in 0..most {
        sandbox = sandbox.card(reader, plain_card().delay(DELAY));
    }
    let sandbox = start(sandbox, driver)?;
    let names: Vec<&str> = sandbox.readers().iter().map(|r| r.name()).collect();
    let context = Context::establish()?;
    let shared = pcsc::Context::establish(pcsc::Scope::User)?;
    let by_pcsc = |context: &pcsc::Context, name: &str| {
        let (mode, any) = (pcsc::ShareMode::Shared, pcsc::Protocols::ANY);
        let name = std::ffi::CString::new(name)?;
        let card = context.connect(&name, mode, any)?;
        let mut buffer = vec![0; raw::BUFFER];
        Ok(Box::new(move || {
            card.transmit(COMMAND, &mut buffer)?;
            Ok(())
        }) as Send)
    };
    let by_socket = socket_context()?;
    let ours = |context: &Context, name: &str| {
        let mut card = context.connect(&ReaderName::new(name)?, ConnectOptions::new())?;
        Ok(Box::new(move || {
            card.transmit_ref(COMMAND)?;
            Ok(())
        }) as Send)
    };
    let ways: [Connect<'_>; 4] = [
        Box::new(|name| ours(&context, name)),
        Box::new(|name| ours(&by_socket, name)),
        Box::new(|name| by_pcsc(&pcsc::Context::establish(pcsc::Scope::User)?, name)),
        Box::new(|name| by_pcsc(&shared, name)),
    ];
    let mut of_one = [None; 4];
    for count in counts {
        let mut times: [Vec<Duration>; 4] = Default::default();
        for _ in 0..effort.rounds(3).min(3) {
            for (way, times) in ways.iter().zip(&mut times) {
                times.push(at_once(way, &names[..count])?);
            }
        }
        let mut cells = vec![count.to_string()];
        for (times, of_one) in times.iter_mut().zip(&mut of_one) {
            let time = median(times);
            let of_one = of_one.get_or_insert(time);
            cells.push(ratio(time, Some(*of_one)));
        }
        println!("{}", cells.join("\t"));
    }
    Ok(())
}

/// How long it takes until all threads have sent their commands.
fn at_once(connect: &Connect<'_>, names: &[&str]) -> Answer<Duration> {
    let mut cards = Vec::new();
    for name in names {
        cards.push(connect(name)?);
    }
    let (ready, done) = (Barrier::new(cards.len() + 1), Barrier::new(cards.len() + 1));
    thread::scope(|scope| {
        let threads: Vec<_> = cards
            .into_iter()
            .map(|mut send| {
                let (ready, done) = (&ready, &done);
                scope.spawn(move || {
                    ready.wait();
                    let sent = (0..COMMANDS).try_for_each(|_| send().map_err(|e| e.to_string()));
                    done.wait();
                    // Not dropped here: with the C library, connections that end at the same time
                    // can crash the process.
                    (sent, send)
                })
            })
            .collect();
        ready.wait();
        let begun = Instant::now();
        done.wait();
        let time = begun.elapsed();
        for thread in threads {
            let (sent, _connection) = thread.join().map_err(|_| "a thread panicked")?;
            sent?;
        }
        Ok(time)
    })
}
