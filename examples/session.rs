//! A badge reader that works for months: it reads every badge once, recovers from resets by other
//! programs, removals and restarts of the service, and reports what it does.
//!
//! Try it: reset the card with another program, pull it out, restart the service. Without a reader:
//!
//! ```sh
//! cargo build -p scard-testkit --bin with-virtual-readers
//! target/debug/with-virtual-readers -- cargo run --example session -- 1
//! ```

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use lexopt::Arg::{Long, Value};
use lexopt::ValueExt;
use scard::{
    BoxError, CardFilter, Command, Context, NotThisCard, Recovery, Session, SessionCard,
    SessionError, SessionEvent, StatusWord,
};

use common::say;

mod common;

const USAGE: &str = "\
usage: session [--reader READER] [BADGES]

Reads the number of each badge once, whatever happens meanwhile. Ends after BADGES badges, or on
Ctrl-C.

  --reader READER  part of the reader's name, its number, or `serial:` and its serial number;
                   default: any reader, even one attached later";

/// Asks a contactless reader for the number of the badge.
const GET_UID: &[u8] = &[0xFF, 0xCA, 0x00, 0x00, 0x00];

fn main() -> ExitCode {
    common::run(USAGE, |mut arguments| {
        let (mut reader, mut badges) = (None, None);
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("reader") => reader = Some(arguments.value()?.string()?),
                Value(number) if badges.is_none() => badges = Some(number.parse()?),
                other => return Err(other.unexpected().into()),
            }
        }
        read_badges(reader, badges)
    })
}

fn read_badges(reader: Option<String>, badges: Option<usize>) -> common::Result<()> {
    let gone = Arc::new(AtomicBool::new(false));
    let badge_left = Arc::clone(&gone);

    let context = Context::lazy();
    let cards = match reader {
        Some(reader) => CardFilter::new().reader(&context.find_reader(reader)?),
        None => CardFilter::new(),
    };
    let mut session = Session::builder(&context)
        .cards(cards)
        .setup(select)
        .timeout(None)
        .keep_alive(Duration::from_millis(250))
        .on_event(move |event| {
            say!("  {event}");
            if is_departure(event) {
                badge_left.store(true, Ordering::Relaxed);
            }
        })
        .open()?;

    let mut seen = 0;
    while badges.is_none_or(|badges| seen < badges) {
        match session.run(|card| card.transmit(GET_UID)) {
            Ok(answer) => {
                seen += 1;
                say!("badge {seen}: {}", number(&answer));
            }
            Err(SessionError::Interrupted { error, .. }) => {
                // Removed too soon. The command is not sent again for this badge.
                say!("please try again, reading the badge was interrupted: {error}");
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        if badges == Some(seen) {
            break;
        }
        // Wait for another badge: the session's upkeep notices that this one is gone.
        gone.store(false, Ordering::Relaxed);
        session.wait_for(|time| {
            thread::sleep(time);
            gone.load(Ordering::Relaxed).then_some(())
        });
    }
    Ok(())
}

fn number(answer: &[u8]) -> String {
    match answer {
        [number @ .., 0x90, 0x00] => hex::encode_upper(number),
        refusal => format!("has no number, answers {}", hex::encode_upper(refusal)),
    }
}

/// A card without the application is skipped until another card is inserted.
fn select(card: &mut SessionCard<'_>) -> Result<(), BoxError> {
    let answer = card.exchange(&Command::select(b"\xA0\x00\x00\x03\x08")?)?;
    if answer.status() == StatusWord::FILE_NOT_FOUND {
        return Err(NotThisCard::new("it does not have the application").into());
    }
    Ok(answer.ok().map(drop)?)
}

fn is_departure(event: &SessionEvent) -> bool {
    let removed = |it: &Recovery| matches!(it, Recovery::InsertCard | Recovery::AttachReader);
    match event {
        SessionEvent::WaitingForCard | SessionEvent::CardLost { .. } => true,
        SessionEvent::Recovering { recovery, .. } => removed(recovery),
        _ => false,
    }
}
