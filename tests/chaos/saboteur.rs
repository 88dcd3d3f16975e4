//! The threads that make things happen to cards.

use std::thread;
use std::time::{Duration, Instant};

use scard::{Card, ConnectOptions, Context, Disposition, ErrorKind, Initialization, ShareMode};
use scard_testkit::{IfdCall, IfdError, Peers, ReaderModel};

use crate::card::CHANGE;
use crate::support::random::Random;
use crate::support::{OK, applet::select, reconnect};
use crate::{PLUGGED, READERS, World};

/// The time limit of a forked child on a busy machine.
const CHILD: Duration = Duration::from_secs(20);

fn pause(random: &mut Random, below: u64) {
    thread::sleep(Duration::from_millis(random.below(below)));
}

fn connect(world: &World, context: &Context, reader: usize, share_mode: ShareMode) -> Option<Card> {
    let options = ConnectOptions::new()
        .share_mode(share_mode)
        .timeout(Some(Duration::from_secs(2)));
    context.connect(&world.names[reader], options).ok()
}

/// Kills, restarts, stops and continues the service.
pub(crate) fn serve(world: &World, context: &Context, mut random: Random) {
    while !world.stopped() {
        pause(&mut random, 400);
        if random.one_in(3) {
            world.sandbox.kill().expect("killed");
            pause(&mut random, 40);
            // Waits for cards, which may be removed meanwhile.
            let _ = world.sandbox.restart();
            world.count("service killed and restarted");
            // No other program is connected yet.
            if random.one_in(2) {
                let reader = random.below(READERS as u64) as usize;
                exclusive(world, context, reader, &mut random);
            }
        } else {
            world.sandbox.pause().expect("paused");
            pause(&mut random, 60);
            world.sandbox.resume().expect("resumed");
            world.count("service stopped and continued");
        }
    }
}

/// Acts as other programs that use a card.
pub(crate) fn disturb(world: &World, context: &Context, reader: usize, mut random: Random) {
    while !world.stopped() {
        pause(&mut random, 8);
        match random.below(100) {
            0..2 => exclusive(world, context, reader, &mut random),
            2..22 => transaction(world, context, reader, &mut random),
            22..25 => change_pin(world, context, reader),
            25..27 => mute(world, context, reader),
            27..40 => reset(
                world,
                context,
                reader,
                Initialization::Unpower,
                "cold reset",
            ),
            _ => reset(world, context, reader, Initialization::Reset, "reset"),
        }
    }
}

fn reset(
    world: &World,
    context: &Context,
    reader: usize,
    initialization: Initialization,
    name: &'static str,
) {
    let Some(mut card) = connect(world, context, reader, ShareMode::Shared) else {
        return;
    };
    if reconnect(&mut card, initialization).is_ok() {
        world.count(name);
    }
}

/// Makes the next of each of these calls fail, so that the card is mute.
fn fail_next(world: &World, reader: usize, calls: &[IfdCall]) {
    let slot = world.sandbox.reader(reader);
    // Failures that are still pending must not add up.
    slot.clear_faults().expect("the kit's driver");
    for call in calls {
        let failing = slot.fail_next(*call, IfdError::POWER_ACTION);
        failing.expect("the kit's driver");
    }
}

/// Resets the card, which is mute afterwards.
fn mute(world: &World, context: &Context, reader: usize) {
    if !world.has_kit {
        return;
    }
    let Some(mut card) = connect(world, context, reader, ShareMode::Shared) else {
        return;
    };
    fail_next(world, reader, &[IfdCall::Reset]);
    if reconnect(&mut card, Initialization::Reset).is_err() {
        world.count("mute after a reset");
    }
}

/// Changes the PIN, as another program.
fn change_pin(world: &World, context: &Context, reader: usize) {
    let Some(mut card) = connect(world, context, reader, ShareMode::Shared) else {
        return;
    };
    if card.transmit(CHANGE).is_ok_and(|answer| answer == OK) {
        world.count("PIN changed");
    }
}

/// Holds a transaction for a while, and leaves another application selected.
fn transaction(world: &World, context: &Context, reader: usize, random: &mut Random) {
    let Some(mut card) = connect(world, context, reader, ShareMode::Shared) else {
        return;
    };
    let Ok(mut transaction) = card.transaction() else {
        return;
    };
    if transaction.transmit(&select(0xFE)).is_err() {
        return;
    }
    pause(random, 20);
    let end = match random.below(4) {
        0 => Disposition::Reset,
        1 => Disposition::Unpower,
        _ => Disposition::Leave,
    };
    if transaction.end(end).is_ok() {
        world.count("transaction held");
    }
}

fn exclusive(world: &World, context: &Context, reader: usize, random: &mut Random) {
    for _ in 0..20 {
        if let Some(mut card) = connect(world, context, reader, ShareMode::Exclusive) {
            let _ = card.transmit(&select(0xFD));
            pause(random, 100);
            world.count("exclusive access");
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Acts as people who remove cards, put them back, or insert others.
pub(crate) fn swap(world: &World, mut random: Random) {
    while !world.stopped() {
        let reader = random.below(READERS as u64) as usize;
        let slot = world.sandbox.reader(reader);
        for reader in 0..READERS {
            if world.sandbox.reader(reader).card().is_none() {
                world.put(reader, &world.right[reader]);
                world.count("card removed during a command");
            }
        }
        match &world.wrong[reader] {
            Some(wrong) if random.one_in(2) => {
                world.put(reader, wrong);
                pause(&mut random, 200);
                world.put(reader, &world.right[reader]);
                world.count("card swapped");
            }
            _ => {
                slot.remove_now();
                if random.one_in(2) {
                    let _ = slot.wait_until_published();
                }
                pause(&mut random, 100);
                if world.has_kit && random.one_in(3) {
                    fail_next(world, reader, &[IfdCall::PowerOn, IfdCall::Reset]);
                    world.count("mute when inserted");
                }
                world.put(reader, &world.right[reader]);
                world.count("card pulled");
            }
        }
        pause(&mut random, 500);
    }
}

/// Runs processes that end in various ways while holding a transaction.
pub(crate) fn die(world: &World, peers: &Peers, mut random: Random) {
    while !world.stopped() {
        pause(&mut random, 2_000);
        let reader = random.below(READERS as u64) as usize;
        let peer = peers.spawn();
        peer.send(&world.names[reader].to_string());
        if peer.recv_timeout(Duration::from_secs(5)).is_some() {
            pause(&mut random, 20);
            match random.below(3) {
                0 => peer.send("exit"),
                1 => peer.send("_exit"),
                _ => peer.kill(),
            }
            world.count("process ended in a transaction");
        }
        peer.kill();
    }
}

/// Forks the process; the child uses cards like any other process.
pub(crate) fn fork(world: &World, context: &Context, mut random: Random) {
    // On this thread's stack: in the child, new threads can get those of the others.
    let (context, names) = (context.clone(), world.names.clone());
    while !world.stopped() {
        pause(&mut random, 300);
        let reader = random.below(READERS as u64) as usize;
        let options = || ConnectOptions::new().timeout(Some(Duration::from_secs(2)));
        // SAFETY: the child makes calls and ends; the test is that this works.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let worked = (|| {
                let mut card = context.connect(&names[reader], options())?;
                // A command outside a transaction can reach the card in the transaction of another
                // client: the daemon looks for one, and waits for the reader only then.
                card.transaction()?.transmit(&select(0xFC))?;
                context.readers().map(drop)
            })();
            drop(worked);
            // SAFETY: ends this process.
            unsafe { libc::_exit(0) }
        }
        assert!(child > 0, "fork failed");
        let begun = Instant::now();
        let mut status = 0;
        // SAFETY: waits for our own child; the output outlives the call.
        while unsafe { libc::waitpid(child, &mut status, libc::WNOHANG) } != child {
            if begun.elapsed() > CHILD {
                world.violation("a forked child hangs".to_owned());
                // SAFETY: our own child, which has not been waited for yet.
                unsafe { libc::kill(child, libc::SIGKILL) };
            }
            thread::sleep(Duration::from_millis(1));
        }
        if libc::WIFSIGNALED(status) && begun.elapsed() <= CHILD {
            world.violation(format!("a forked child ended with {status:#x}"));
        }
        world.count("process forked");
    }
}

/// Plugs in and unplugs a reader with a random number of slots.
pub(crate) fn plug(world: &World, mut random: Random) {
    while !world.stopped() {
        pause(&mut random, 100);
        let slots = 1 + random.below(8) as u8;
        let Ok(reader) = world
            .sandbox
            .plug_now(ReaderModel::new(PLUGGED).slots(slots))
        else {
            continue;
        };
        pause(&mut random, 100);
        // A paused daemon can queue only a few changes.
        while reader.unplug_now().is_err() {
            pause(&mut random, 100);
        }
        world.count("reader plugged in and unplugged");
    }
}

/// Lists the readers all the time, and checks that every name exists.
pub(crate) fn list(world: &World, context: &Context) {
    while !world.stopped() {
        let readers = context.readers();
        let states = context.reader_states();
        let names = readers.into_iter().flatten();
        let names = names.chain(
            states
                .into_iter()
                .flatten()
                .map(|it| it.reader_name().clone()),
        );
        for name in names {
            let is_known = world.names.contains(&name) || name.to_string().starts_with(PLUGGED);
            if !is_known {
                world.violation(format!("there is no reader {name:?}"));
            }
        }
        if let Err(error) = Context::establish() {
            if !matches!(
                error.kind(),
                ErrorKind::ServiceGone | ErrorKind::AccessDenied
            ) {
                world.violation(format!("{error:?}"));
            }
        }
    }
}
