//! All uses of `reconnect`, step by step.
//!
//! The card is reset several times; nothing is written to it.

use std::process::ExitCode;

use lexopt::Arg::Long;
use lexopt::ValueExt;
use scard::{
    Card, ConnectOptions, Context, Disposition, Initialization, Protocol, Protocols, ShareMode,
};

use common::say;

mod common;

const USAGE: &str = "\
usage: reconnect [--reader READER]

Shows what each kind of reconnect does to a card and its connections. The card is reset several
times; nothing is written to it.

  --reader READER  part of the reader's name, its number, or `serial:` and its serial number;
                   default: the first reader that has a card within ten seconds";

/// SELECT of an application that most identity cards have (PIV).
const SELECT: &[u8] = b"\x00\xA4\x04\x00\x05\xA0\x00\x00\x03\x08";

fn main() -> ExitCode {
    common::run(USAGE, |mut arguments| {
        let mut reader = None;
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("reader") => reader = Some(arguments.value()?.string()?),
                other => return Err(other.unexpected().into()),
            }
        }
        show(reader)
    })
}

fn show(reader: Option<String>) -> common::Result<()> {
    let context = Context::establish()?;
    let reader = common::reader(&context, reader)?;

    step("Connect, shared");
    let mut card = context.connect(&reader, ConnectOptions::new())?;
    say!("reader    {reader}");
    say!("ATR       {}", card.status()?.atr());
    say!("protocol  {}", protocol(&card));
    select(&mut card);

    step("Another program resets the card");
    let mut other = context.connect(&reader, ConnectOptions::new())?;
    other.reconnect(ShareMode::Shared, Protocols::ANY, Initialization::Reset)?;
    select(&mut card);

    step("Leave: acknowledge the reset and continue");
    reconnect(&mut card, Protocols::ANY, Initialization::Leave);
    select(&mut card);
    other.disconnect(Disposition::Leave)?;

    step("Reset: a warm reset of our own");
    reconnect(&mut card, Protocols::ANY, Initialization::Reset);
    select(&mut card);

    step("Unpower: a cold reset");
    reconnect(&mut card, Protocols::ANY, Initialization::Unpower);
    select(&mut card);

    let wrong = match card.protocol() {
        Some(Protocol::T0) => Protocols::T1,
        _ => Protocols::T0,
    };
    step("Leave, with a protocol other than the active one: refused, nothing changes");
    reconnect(&mut card, wrong, Initialization::Leave);
    say!("protocol  {}", protocol(&card));
    select(&mut card);

    step("Reset, with a protocol that the card may not support: it is reset, even if refused");
    reconnect(&mut card, wrong, Initialization::Reset);
    say!("protocol  {}", protocol(&card));
    select(&mut card);
    reconnect(&mut card, Protocols::ANY, Initialization::Unpower);
    select(&mut card);
    card.disconnect(Disposition::Leave)?;

    step("Switch from direct access to the reader to the card in it");
    let mut direct = context.open_reader(&reader)?;
    say!("state     {}", direct.status()?.state());
    let mut card = direct.into_card(ShareMode::Shared, Protocols::ANY, Initialization::Reset)?;
    say!("protocol  {}", protocol(&card));
    select(&mut card);

    step("Disconnect");
    card.disconnect(Disposition::Leave)?;
    say!("done");
    Ok(())
}

fn step(title: &str) {
    say!("\n== {title}");
}

fn protocol(card: &Card) -> String {
    card.protocol()
        .map_or("not known".to_owned(), |protocol| protocol.to_string())
}

fn select(card: &mut Card) {
    match card.transmit(SELECT) {
        Ok(answer) => say!("SELECT    {}", hex::encode_upper(answer)),
        Err(error) => say!("SELECT    {error}"),
    }
}

fn reconnect(card: &mut Card, protocols: Protocols, initialization: Initialization) {
    match card.reconnect(ShareMode::Shared, protocols, initialization) {
        Ok(protocol) => say!("reconnect {protocol}"),
        Err(error) => say!("reconnect {error}"),
    }
}
