//! Asks all cards for the PIV application at the same time, with a time-out of three seconds per
//! call:
//!
//! `cargo run --features async --example async`
//!
//! Uses tokio; any other executor works, too.

use std::process::ExitCode;
use std::time::Duration;

use scard::{AsyncContext, ConnectOptions, Disposition, Error, ReaderName};
use tokio::runtime;
use tokio::task::JoinSet;

use common::say;

mod common;

const USAGE: &str = "\
usage: async

Asks all cards for the PIV application at the same time.";

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
    // Ends even a call that is kept waiting by the card or another program. Its effects are undone
    // when it returns; a command that is not sent by then is never sent.
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
