//! Shared by the tests of blocking and asynchronous sessions.

use scard::{BoxError, SessionCard};
use scard_testkit::{CardHandle, VirtualCard};

use super::OK;
use super::applet::{Applications, NOT_SELECTED, SERIAL, number_of, select};

/// The application that the sessions use.
pub const APPLICATION: u8 = 7;

/// A card with applications.
pub fn card() -> VirtualCard {
    Applications::card(b"one")
}

/// Selects the application of the sessions.
pub fn set_up(card: &mut SessionCard<'_>) -> Result<(), BoxError> {
    match card.transmit(&select(APPLICATION))?.as_slice() {
        OK => Ok(()),
        answer => Err(format!("{answer:02X?}").into()),
    }
}

/// What distinguishes one card from another.
pub fn serial(card: &mut SessionCard<'_>) -> Result<Vec<u8>, BoxError> {
    let answer = card.transmit(SERIAL)?;
    Ok(answer.strip_suffix(OK).ok_or("no serial")?.to_vec())
}

/// The numbered commands that reached the card, all answered by their application.
pub fn numbers(card: &CardHandle) -> Vec<u32> {
    let log = card.log();
    let numbers = log.iter().filter_map(|exchange| {
        let (_, number) = number_of(&exchange.command)?;
        assert_ne!(exchange.response.as_deref(), Some(NOT_SELECTED), "{number}");
        Some(number)
    });
    numbers.collect()
}
