//! A badge reader that works for months: it reads every badge once, goes on after resets by
//! other programs, removals and restarts of the service, and tells what it does.
//!
//! `session [BADGES]`
//!
//! With a number, it ends after so many badges. Reset the card with another program, pull it
//! out, restart the service: it goes on. Without a reader:
//!
//! ```sh
//! cargo build -p scard-testkit --bin with-virtual-readers
//! target/debug/with-virtual-readers -- cargo run --example session -- 1
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use scard::{
    BoxError, Command, Context, NotThisCard, Recovery, Session, SessionCard, SessionError,
    SessionEvent, StatusWord,
};

/// Asks a contactless reader for the number of the badge.
const GET_UID: &[u8] = &[0xFF, 0xCA, 0x00, 0x00, 0x00];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let badges: Option<usize> = match std::env::args().nth(1) {
        Some(badges) => Some(badges.parse()?),
        None => None,
    };
    let gone = Arc::new(AtomicBool::new(false));
    let badge_left = Arc::clone(&gone);

    let context = Context::lazy();
    let mut session = Session::builder(&context)
        .setup(select)
        .timeout(None)
        .keep_alive(Duration::from_millis(250))
        .on_event(move |event| {
            println!("  {}", describe(event));
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
                println!("badge {seen}: {}", number(&answer));
            }
            Err(error @ SessionError::Interrupted { .. }) => {
                // Gone too soon. The command is not sent again for this badge.
                println!("please try again: {error:#}");
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        if badges == Some(seen) {
            break;
        }
        // Until there is another one. Looking after the session finds that out.
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
        [number @ .., 0x90, 0x00] => format!("{number:02X?}"),
        refusal => format!("has no number, answers {refusal:02X?}"),
    }
}

/// A card without the application is left alone, until there is another one.
fn select(card: &mut SessionCard<'_>) -> Result<(), BoxError> {
    let answer = card.exchange(&Command::select(b"\xA0\x00\x00\x03\x08")?)?;
    if answer.status() == StatusWord::FILE_NOT_FOUND {
        return Err(NotThisCard::because("it does not have the application").into());
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

fn describe(event: &SessionEvent) -> String {
    match event {
        SessionEvent::Recovering { error, .. } | SessionEvent::CardLost { error, .. } => {
            error.to_string()
        }
        SessionEvent::Connected {
            reader_name: reader,
            ..
        } => format!("connected to {reader}"),
        event => format!("{event:?}"),
    }
}
