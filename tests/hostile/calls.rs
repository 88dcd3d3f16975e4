//! Makes all calls of the API at random, with a time limit for each.

use std::thread;
use std::time::Duration;

use scard::apdu::ExchangeOptions;
use scard::contactless::{Key, KeyKind, KeyPlace};
use scard::features::{PinFormat, PinModification, PinVerification};
use scard::{
    AbortHandle, Card, CardFilter, Command, ConnectOptions, Context, ContextOptions, Control as _,
    Disposition, Initialization, LogicalChannel, MonitorOptions, Protocols, Reader, ReaderName,
    Session, SessionCard, SetUpWhen, ShareMode, Transaction, Transmit,
};

#[cfg(feature = "async")]
use crate::futures;
use crate::support::random::Random;
use crate::world::{LIMIT, Tag, World};

/// Measures a call.
macro_rules! timed {
    ($world:expr, $name:expr, $call:expr) => {{
        let call = $world.begin($name, LIMIT);
        let answer = $call;
        drop(call);
        answer
    }};
}
#[cfg(feature = "async")]
pub(crate) use timed;

/// Makes one of the queries that all handles support. Several calls have a common limit.
macro_rules! ask {
    ($world:expr, $random:expr, $handle:expr, $type:literal, [$($await:tt)*]) => {{
        let (world, handle): (&World, _) = ($world, $handle);
        let tag = world.tag();
        match $random.below(4) {
            0 => {
                let code = scard::ControlCode::from_function(1 + $random.below(100) as u32);
                let call = world.begin(concat!($type, "::control"), LIMIT);
                let answer = handle.control(code, tag.bytes())$($await)*;
                drop(call);
                if let Ok(answer) = answer {
                    world.check(&tag, &answer);
                }
            }
            1 => {
                let call = world.begin(concat!($type, "::attribute"), LIMIT);
                let _ = handle.attribute(scard::Attribute::VENDOR_NAME)$($await)*;
                drop(call);
                let call = world.begin(concat!($type, "::attribute_value"), LIMIT);
                let _ = handle.attribute_value(scard::attributes::VENDOR_IFD_VERSION)$($await)*;
                drop(call);
            }
            2 => {
                let call = world.begin(concat!($type, "::status"), LIMIT);
                let _ = handle.status()$($await)*;
                drop(call);
            }
            _ => {
                let call = world.begin(concat!($type, "::features"), LIMIT);
                let features = handle.features()$($await)*;
                drop(call);
                if let Ok(features) = features {
                    let call = world.begin(concat!($type, " asks for properties"), 3 * LIMIT);
                    let _ = handle.reader_properties(&features)$($await)*;
                    let _ = handle.pin_pad_properties(&features)$($await)*;
                    let _ = handle.display_properties(&features)$($await)*;
                    drop(call);
                }
            }
        }
    }};
}
#[cfg(feature = "async")]
pub(crate) use ask;

/// Makes calls of handles that can change something: sets attributes, enters PINs.
macro_rules! ask_more {
    ($world:expr, $random:expr, $handle:expr, $type:literal, [$($await:tt)*]) => {{
        let (world, handle): (&World, _) = ($world, $handle);
        if $random.one_in(2) {
            let call = world.begin(concat!($type, "::set_attribute"), LIMIT);
            let _ = handle.set_attribute(scard::Attribute::VENDOR_NAME, b"x")$($await)*;
            drop(call);
        } else {
            let call = world.begin(concat!($type, "::features"), LIMIT);
            let features = handle.features()$($await)*;
            drop(call);
            if let Ok(features) = features {
                let (verify, modify) = $crate::calls::pins();
                // On a card, each one uses a transaction.
                let call = world.begin(concat!($type, " enters PINs"), 7 * LIMIT);
                let _ = handle.verify_pin(&features, &verify)$($await)*;
                let _ = handle.modify_pin(&features, &modify)$($await)*;
                let _ = handle.abort_pin_entry(&features)$($await)*;
                drop(call);
            }
        }
    }};
}
#[cfg(feature = "async")]
pub(crate) use ask_more;

pub(crate) fn pins() -> (PinVerification, PinModification) {
    let format = || PinFormat::ascii().block_len(8);
    (
        PinVerification::iso(0x81, format()),
        PinModification::iso(0x81, format()),
    )
}

pub(crate) fn work(world: &World, mut random: Random) {
    let mut kept = None;
    while !world.stopped() {
        let context = match kept.take() {
            Some(context) => context,
            None => match establish(world) {
                Some(context) => context,
                None => continue,
            },
        };
        // Waits are rare, so that there are many other calls.
        match random.below(30) {
            0..4 => lists(world, &context),
            14..17 => reader(world, &context, &mut random),
            17 => waits(world, &context, &mut random),
            18 => aborts(world, &context, &mut random),
            19..22 => session(world, &context, &mut random),
            #[cfg(feature = "async")]
            22..30 => futures::work(world, &context, &mut random),
            _ => card(world, &context, &mut random),
        }
        match random.below(30) {
            0 => {
                let _ = timed!(world, "Context::release", context.release());
            }
            1 => world.drop("Context", context),
            _ => kept = Some(context),
        }
    }
    world.drop("Context", kept);
}

pub(crate) fn establish(world: &World) -> Option<Context> {
    let options = ContextOptions::new().timeout(Some(LIMIT));
    timed!(world, "ContextOptions::establish", options.establish()).ok()
}

/// A reader's name, mostly an existing one.
pub(crate) fn some_reader(world: &World, context: &Context, random: &mut Random) -> ReaderName {
    let known = ReaderName::new("Reader").unwrap();
    if random.one_in(10) {
        return known;
    }
    let readers = timed!(world, "Context::readers", context.readers());
    let readers = readers.unwrap_or_default();
    for reader in &readers {
        world.check_name(reader.as_bytes());
    }
    let at = random.below(readers.len().max(1) as u64) as usize;
    readers.into_iter().nth(at).unwrap_or(known)
}

pub(crate) fn some_options(random: &mut Random) -> ConnectOptions {
    let share_mode = match random.below(3) {
        0 => ShareMode::Exclusive,
        _ => ShareMode::Shared,
    };
    let on_drop = match random.below(4) {
        0 => Disposition::Reset,
        _ => Disposition::Leave,
    };
    ConnectOptions::new()
        .share_mode(share_mode)
        .protocols(some_protocols(random))
        .disposition_on_drop(on_drop)
        .timeout(Some(LIMIT))
}

pub(crate) fn some_protocols(random: &mut Random) -> Protocols {
    let all = [Protocols::ANY, Protocols::T0, Protocols::T1, Protocols::RAW];
    all[random.below(4) as usize]
}

pub(crate) fn some_disposition(random: &mut Random) -> Disposition {
    let all = [
        Disposition::Leave,
        Disposition::Reset,
        Disposition::Unpower,
        Disposition::Eject,
    ];
    all[random.below(4) as usize]
}

pub(crate) fn some_initialization(random: &mut Random) -> Initialization {
    let all = [
        Initialization::Leave,
        Initialization::Reset,
        Initialization::Unpower,
    ];
    all[random.below(3) as usize]
}

/// A command with the tag in its data.
pub(crate) fn tagged(tag: &Tag) -> Command {
    let command = Command::new(0x80, 0x10, 0, 0).unwrap();
    let command = command.with_data(tag.bytes()).unwrap();
    command.expecting_all()
}

fn lists(world: &World, context: &Context) {
    let _ = timed!(world, "Context::is_valid", context.is_valid());
    let _ = timed!(world, "Context::reader_groups", context.reader_groups());
    let states = timed!(world, "Context::reader_states", context.reader_states());
    for state in states.unwrap_or_default() {
        world.check_name(state.reader_name().as_bytes());
        let _ = format!("{:?} {:?}", state, state.atr().parse());
    }
}

fn card(world: &World, context: &Context, random: &mut Random) {
    let reader = some_reader(world, context, random);
    let options = some_options(random);
    let connected = timed!(world, "Context::connect", context.connect(&reader, options));
    let Ok(mut card) = connected else { return };
    for _ in 0..random.below(6) {
        match random.below(9) {
            0..3 => transmit(world, &mut card),
            3 => ask!(world, random, &mut card, "Card", []),
            4 => ask_more!(world, random, &mut card, "Card", []),
            5 => {
                let protocols = some_protocols(random);
                let how = some_initialization(random);
                let call = world.begin("Card::reconnect", LIMIT);
                let _ = card.reconnect(ShareMode::Shared, protocols, how);
                drop(call);
            }
            6 => transaction(world, &mut card, random),
            7 => {
                let call = world.begin("Card::within", LIMIT);
                card.within(LIMIT, |card| whole(world, card, random));
                drop(call);
            }
            _ => {
                let how = some_initialization(random);
                let direct = timed!(world, "Card::into_reader", card.into_reader(how));
                card = match direct {
                    Ok(reader) => match back(world, reader, random) {
                        Some(card) => card,
                        None => return,
                    },
                    Err(error) => error.into_handle(),
                };
            }
        }
    }
    match random.below(3) {
        0 => {
            let how = some_disposition(random);
            let _ = timed!(world, "Card::disconnect", card.disconnect(how));
        }
        _ => world.drop("Card", card),
    }
}

fn back(world: &World, reader: Reader, random: &mut Random) -> Option<Card> {
    let how = some_initialization(random);
    let call = world.begin("Reader::into_card", LIMIT);
    let card = reader.into_card(ShareMode::Shared, Protocols::ANY, how);
    drop(call);
    card.map_err(|error| world.drop("Reader", error)).ok()
}

fn transmit(world: &World, card: &mut Card) {
    let tag = world.tag();
    let answer = timed!(world, "Card::transmit", card.transmit(&tag.command()));
    if let Ok(answer) = answer {
        world.check(&tag, &answer);
    }
    let tag = world.tag();
    let call = world.begin("Card::transmit_ref", LIMIT);
    let answer = card.transmit_ref(&tag.command());
    drop(call);
    if let Ok(answer) = answer {
        world.check(&tag, answer);
    }
}

/// A transaction, whose calls each have a limit.
fn transaction(world: &World, card: &mut Card, random: &mut Random) {
    let begun = timed!(world, "Card::transaction", card.transaction());
    let Ok(mut transaction) = begun else { return };
    for _ in 0..random.below(4) {
        in_transaction(world, &mut transaction, random);
    }
    if random.one_in(2) {
        let how = some_disposition(random);
        let _ = timed!(world, "Transaction::end", transaction.end(how));
    } else {
        world.drop("Transaction", transaction);
    }
}

fn in_transaction(world: &World, transaction: &mut Transaction<'_>, random: &mut Random) {
    match random.below(4) {
        0 => {
            let tag = world.tag();
            let call = world.begin("Transaction::transmit", LIMIT);
            let answer = transaction.transmit(&tag.command());
            drop(call);
            if let Ok(answer) = answer {
                world.check(&tag, &answer);
            }
        }
        1 => {
            let call = world.begin("Transaction::reconnect", LIMIT);
            let _ = transaction.reconnect(
                ShareMode::Shared,
                some_protocols(random),
                some_initialization(random),
            );
            drop(call);
            let _ = transaction.interrupted();
        }
        2 => ask_more!(world, random, &mut *transaction, "Transaction", []),
        _ => ask!(world, random, &mut *transaction, "Transaction", []),
    }
}

/// Operations that take several commands, with one limit for each whole operation.
fn whole(world: &World, card: &mut Card, random: &mut Random) {
    let tag = world.tag();
    match random.below(5) {
        0 => {
            if let Ok(answer) = card.exchange(&tagged(&tag)) {
                world.check(&tag, answer.data());
            }
        }
        1 => {
            if let Ok(mut channel) = card.logical_channel() {
                in_channel(world, &mut channel, &tag);
                if random.one_in(2) {
                    let _ = channel.close();
                }
            }
        }
        2 => {
            let mut contactless = card.contactless();
            let _ = contactless.uid();
            let _ = contactless.historical_bytes();
            let key = Key::new([0xFF; 6]);
            let _ = contactless.load_key(KeyPlace::Volatile, 0, &key);
            let _ = contactless.authenticate(4, KeyKind::A, 0);
            let _ = contactless.read_binary(4, 16);
            let _ = contactless.update_binary(4, &[0; 16]);
            let _ = contactless.increment(4, 1);
            let _ = contactless.decrement(4, 1);
        }
        3 => {
            if let Ok(mut transaction) = card.transaction() {
                let options = ExchangeOptions::new();
                if let Ok(answer) = transaction.exchange_with(&tagged(&tag), &options) {
                    world.check(&tag, answer.data());
                }
                if let Ok(mut channel) = transaction.logical_channel() {
                    in_channel(world, &mut channel, &tag);
                }
                let _ = transaction.contactless().uid();
                let _ = transaction.end(some_disposition(random));
            }
        }
        _ => {
            let _ = card.features().map(|features| {
                let (verify, modify) = pins();
                let _ = card.verify_pin(&features, &verify);
                let _ = card.modify_pin(&features, &modify);
            });
        }
    }
}

fn in_channel(world: &World, channel: &mut LogicalChannel<'_, impl Transmit>, tag: &Tag) {
    let _ = channel.number();
    if let Ok(answer) = channel.exchange(&tagged(tag)) {
        world.check(tag, answer.data());
    }
    if let Ok(answer) = channel.transmit(&tag.command()) {
        world.check(tag, &answer);
    }
}

fn reader(world: &World, context: &Context, random: &mut Random) {
    let name = some_reader(world, context, random);
    let opened = timed!(world, "Context::open_reader", context.open_reader(&name));
    let Ok(mut reader) = opened else { return };
    for _ in 0..random.below(4) {
        match random.below(3) {
            0 => ask!(world, random, &mut reader, "Reader", []),
            1 => ask_more!(world, random, &mut reader, "Reader", []),
            _ => {
                let how = some_initialization(random);
                let _ = timed!(world, "Reader::reconnect", reader.reconnect(how));
            }
        }
    }
    match random.below(3) {
        0 => world.drop("Reader", reader),
        1 => {
            let how = some_disposition(random);
            let _ = timed!(world, "Reader::disconnect", reader.disconnect(how));
        }
        _ => {
            if let Some(card) = back(world, reader, random) {
                world.drop("Card", card);
            }
        }
    }
}

fn waits(world: &World, context: &Context, random: &mut Random) {
    let filter = CardFilter::new();
    match random.below(3) {
        0 => {
            let call = world.begin("Context::wait_for_card", LIMIT);
            let found = context.wait_for_card(&filter, Some(LIMIT));
            drop(call);
            if let Ok(found) = found {
                world.check_name(found.reader_name().as_bytes());
                let filter = CardFilter::new().same_card(&found);
                let call = world.begin("Context::wait_for_removal", LIMIT);
                let _ = context.wait_for_removal(&filter, Some(LIMIT));
                drop(call);
            }
        }
        1 => {
            let call = world.begin("Context::monitor", LIMIT);
            let monitor = context.monitor(MonitorOptions::new());
            drop(call);
            let Ok(mut monitor) = monitor else { return };
            let call = world.begin("Monitor::wait_for_card", LIMIT);
            let _ = monitor.wait_for_card(&filter, Some(LIMIT));
            drop(call);
            let call = world.begin("Monitor::wait_for_removal", LIMIT);
            let _ = monitor.wait_for_removal(&filter, Some(LIMIT));
            drop(call);
            world.drop("Monitor", monitor);
        }
        _ => {
            let abort = AbortHandle::new();
            let options = MonitorOptions::new().abort_handle(&abort);
            let call = world.begin("Context::monitor", LIMIT);
            let monitor = context.monitor(options);
            drop(call);
            let Ok(mut monitor) = monitor else { return };
            thread::scope(|scope| {
                scope.spawn(|| {
                    thread::sleep(LIMIT / 2);
                    abort.abort();
                });
                let call = world.begin("Monitor until it is aborted", LIMIT);
                while monitor.next().is_some() {}
                drop(call);
            });
            world.drop("Monitor", monitor);
        }
    }
}

/// Calls without a limit, which another thread aborts.
fn aborts(world: &World, context: &Context, random: &mut Random) {
    let reader = some_reader(world, context, random);
    let abort = AbortHandle::new();
    let options = ConnectOptions::new().timeout(None).abort_handle(&abort);
    let after = Duration::from_millis(random.below(100));
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(after);
            abort.abort();
        });
        let call = world.begin("Context::connect until it is aborted", LIMIT);
        let card = context.connect(&reader, options);
        drop(call);
        let Ok(mut card) = card else { return };
        let call = world.begin("Card until it is aborted", LIMIT);
        while !abort.is_aborted() {
            let tag = world.tag();
            if let Ok(answer) = card.transmit(&tag.command()) {
                world.check(&tag, &answer);
            }
            whole(world, &mut card, random);
        }
        drop(call);
        world.drop("aborted Card", card);
    });
}

/// A session, whose deadline covers all recoveries of an open or a run.
fn session(world: &World, context: &Context, random: &mut Random) {
    let mut builder = Session::builder(context).timeout(Some(LIMIT));
    if random.one_in(2) {
        builder = builder.reader(&some_reader(world, context, random));
    }
    if random.one_in(2) {
        builder = builder.identity(|card| card.transmit(&[0, 0xCA, 0, 0]));
    }
    let select = [0x00, 0xA4, 0x04, 0x00, 0x01, 0x07];
    builder = builder
        .setup(move |card| card.transmit(&select).map(drop))
        .setup_when(match random.below(2) {
            0 => SetUpWhen::OnLoss,
            _ => SetUpWhen::Always,
        })
        .wait_for_card(random.one_in(2))
        .keep_alive(LIMIT / 10);
    let opened = timed!(world, "SessionBuilder::open", builder.open());
    let Ok(mut session) = opened else { return };
    for _ in 0..random.below(10) {
        match random.below(6) {
            0 => {
                let _ = timed!(world, "Session::keep_alive", session.keep_alive());
            }
            1 => {
                let call = world.begin("Session::run_restartable", LIMIT);
                let _ = session.run_restartable(|card| in_session(world, card, &mut random.fork()));
                drop(call);
            }
            2 => {
                let mut times = 0;
                let call = world.begin("Session::wait_for", 3 * LIMIT);
                session.wait_for(|time| {
                    thread::sleep(time);
                    times += 1;
                    (times > 2).then_some(())
                });
                drop(call);
            }
            _ => {
                let call = world.begin("Session::run", LIMIT);
                let _ = session.run(|card| in_session(world, card, random));
                drop(call);
            }
        }
    }
    world.drop("Session", session);
}

pub(crate) fn in_session(
    world: &World,
    card: &mut SessionCard<'_>,
    random: &mut Random,
) -> scard::Result<()> {
    let tag = world.tag();
    match random.below(4) {
        0 => {
            if let Ok(answer) = card.exchange(&tagged(&tag)) {
                world.check(&tag, answer.data());
            }
        }
        1 => ask!(world, random, &mut *card, "SessionCard", []),
        2 => {
            if let Ok(mut channel) = card.logical_channel() {
                in_channel(world, &mut channel, &tag);
            }
        }
        _ => {}
    }
    let tag = world.tag();
    let answer = card.transmit(&tag.command())?;
    world.check(&tag, &answer);
    Ok(())
}
