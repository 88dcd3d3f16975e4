//! Everything that `reconnect` is for, step by step, on the first reader that gets a
//! card within ten seconds, or on the reader named on the command line.
//!
//! The card is reset several times; nothing is written to it.

use std::process::ExitCode;
use std::time::Duration;

use scard::{
    Card, CardFilter, ConnectOptions, Context, Disposition, Initialization, Protocol, Protocols,
    ReaderName, ShareMode,
};

/// How long to wait for a card.
const PATIENCE: Option<Duration> = Some(Duration::from_secs(10));

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// SELECT of an application that most identity cards have (PIV).
const SELECT: &[u8] = b"\x00\xA4\x04\x00\x05\xA0\x00\x00\x03\x08";

fn main() -> ExitCode {
    match tell() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn tell() -> Result<()> {
    let context = Context::establish()?;
    let reader = match std::env::args().nth(1) {
        Some(name) => ReaderName::new(name)?,
        None => context
            .wait_for_card(&CardFilter::new(), PATIENCE)?
            .reader_name()
            .clone(),
    };

    step("Connect, shared");
    let mut card = context.connect(&reader, ConnectOptions::new())?;
    println!("reader    {reader}");
    println!("ATR       {}", card.status()?.atr());
    println!("protocol  {}", protocol(&card));
    select(&mut card);

    step("Another program resets the card");
    let mut other = context.connect(&reader, ConnectOptions::new())?;
    other.reconnect(ShareMode::Shared, Protocols::ANY, Initialization::Reset)?;
    select(&mut card);

    step("Leave: acknowledge the reset and go on");
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
    step("Leave, with a protocol that is not the active one: refused, nothing has changed");
    reconnect(&mut card, wrong, Initialization::Leave);
    println!("protocol  {}", protocol(&card));
    select(&mut card);

    step("Reset, with a protocol that the card may not have: it is reset, even if refused");
    reconnect(&mut card, wrong, Initialization::Reset);
    println!("protocol  {}", protocol(&card));
    select(&mut card);
    reconnect(&mut card, Protocols::ANY, Initialization::Unpower);
    select(&mut card);
    card.disconnect(Disposition::Leave)?;

    step("From direct access to the reader to general access to the card");
    let mut direct = context.open_reader(&reader)?;
    println!("state     {}", direct.status()?.state());
    let mut card = direct.into_card(ShareMode::Shared, Protocols::ANY, Initialization::Reset)?;
    println!("protocol  {}", protocol(&card));
    select(&mut card);

    step("Disconnect");
    card.disconnect(Disposition::Leave)?;
    println!("done");
    Ok(())
}

fn step(title: &str) {
    println!("\n== {title}");
}

fn protocol(card: &Card) -> String {
    card.protocol()
        .map_or("not known".to_owned(), |protocol| protocol.to_string())
}

fn select(card: &mut Card) {
    match card.transmit(SELECT) {
        Ok(answer) => println!("SELECT    {answer:02X?}"),
        Err(error) => println!("SELECT    {error}"),
    }
}

fn reconnect(card: &mut Card, protocols: Protocols, initialization: Initialization) {
    match card.reconnect(ShareMode::Shared, protocols, initialization) {
        Ok(protocol) => println!("reconnect {protocol}"),
        Err(error) => println!("reconnect {error}"),
    }
}
