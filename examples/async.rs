//! Asks every card for the PIV application, all at the same time, and waits at most three
//! seconds for each call:
//!
//! `cargo run --features async --example async`
//!
//! On tokio; any other executor does as well.

use std::process::ExitCode;
use std::time::Duration;

use scard::{AsyncContext, ConnectOptions, Disposition, Error, ReaderName};
use tokio::runtime;
use tokio::task::JoinSet;

use common::say;

mod common;

const USAGE: &str = "\
usage: async

Asks every card for the PIV application, all at the same time.";

const SELECT: &[u8] = b"\x00\xA4\x04\x00\x05\xA0\x00\x00\x03\x08";

fn main() -> ExitCode {
    common::run(USAGE, |mut arguments| {
        if let Some(argument) = arguments.next()? {
            return Err(argument.unexpected().into());
        }
        let runtime = runtime::Builder::new_current_thread().build()?;
        Ok(runtime.block_on(ask_all())?)
    })
}

async fn ask_all() -> Result<(), Error> {
    let context = AsyncContext::establish().await?;
    let mut asking = JoinSet::new();
    for state in context.reader_states().await? {
        if state.has_card() && !state.is_mute() {
            let (context, reader) = (context.clone(), state.reader_name().clone());
            asking.spawn(async move {
                let answer = ask(&context, &reader).await;
                (reader, answer)
            });
        }
    }
    if asking.is_empty() {
        say!("no reader with a card");
    }
    // In the order in which the cards answer.
    while let Some(Ok((reader, answer))) = asking.join_next().await {
        match answer {
            Ok(answer) => say!("{reader}: {answer}"),
            Err(error) => say!("{reader}: {error}"),
        }
    }
    Ok(())
}

async fn ask(context: &AsyncContext, reader: &ReaderName) -> Result<String, Error> {
    // Also ends a call that the card or another program keeps waiting. What it was doing is
    // undone when it returns; a command that still waited is not sent any more.
    let options = ConnectOptions::new().timeout(Some(Duration::from_secs(3)));
    let mut card = context.connect(reader, options).await?;
    let mut transaction = card.transaction().await?;
    let answer = transaction.transmit(SELECT).await?;
    transaction.end(Disposition::Leave).await?;
    card.disconnect(Disposition::Leave).await?;
    Ok(match answer.as_slice() {
        [data @ .., 0x90, 0x00] => format!("PIV {}", hex::encode_upper(data)),
        other => format!("no PIV, {}", hex::encode_upper(other)),
    })
}
