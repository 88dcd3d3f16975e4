//! The commands, for programs that do not use [`Contactless`](crate::Contactless).
//!
//! ```
//! use scard::contactless::command;
//!
//! assert_eq!(*command::get_uid()?.to_bytes(), [0xFF, 0xCA, 0x00, 0x00, 0x00]);
//! # Ok::<(), scard::contactless::ContactlessError>(())
//! ```
//!
//! # Errors
//!
//! [`ContactlessError::Length`] if an argument does not fit into the command; functions without
//! arguments of variable length never fail.

use super::error::ContactlessError;
use super::key::{Key, KeyKind, KeyPlace};
use crate::apdu::{Command, Form, InvalidCommand};

type Result<T = Command> = std::result::Result<T, ContactlessError>;

/// Returns GET DATA for the UID: `FF CA 00 00 00`.
///
/// # Errors
///
/// None.
pub fn get_uid() -> Result {
    Ok(command(0xCA, 0x00, 0x00, &[])?.expecting_all())
}

/// Returns GET DATA for the historical bytes of the ATS of an ISO 14443 A card: `FF CA 01 00 00`.
///
/// # Errors
///
/// None.
pub fn get_historical_bytes() -> Result {
    Ok(command(0xCA, 0x01, 0x00, &[])?.expecting_all())
}

/// Returns LOAD KEYS: `FF 82`, the place, the key number, and the key. The command [is
/// secret](Command::is_secret).
///
/// # Errors
///
/// [`ContactlessError::Length`] if the key is empty or longer than 255 bytes.
pub fn load_key(place: KeyPlace, number: u8, key: &Key) -> Result {
    with_data(0x82, place.raw(), number, key.as_bytes())
}

/// Returns GENERAL AUTHENTICATE: `FF 86 00 00 05 01`, the address, the kind of key and its number
/// in the reader.
///
/// # Errors
///
/// None.
pub fn authenticate(address: u16, kind: KeyKind, number: u8) -> Result {
    let [high, low] = address.to_be_bytes();
    command(0x86, 0x00, 0x00, &[0x01, high, low, kind.raw(), number])
}

/// Returns READ BINARY: `FF B0`, the address and the length. A length byte of 0 means 256 bytes, or
/// as many as there are.
///
/// # Errors
///
/// [`ContactlessError::Length`] if the length is 0 or more than 256.
pub fn read_binary(address: u16, len: usize) -> Result {
    let [high, low] = address.to_be_bytes();
    let len = u32::try_from(len).map_err(|_| ContactlessError::Length)?;
    match len {
        0 => Err(ContactlessError::Length),
        len => command(0xB0, high, low, &[])?
            .expecting(len)
            .map_err(too_long),
    }
}

/// Returns UPDATE BINARY: `FF D6`, the address and the data. MIFARE Classic accepts 16 bytes at a
/// time, MIFARE Ultralight 4.
///
/// # Errors
///
/// [`ContactlessError::Length`] if there is no data or more than 255 bytes.
pub fn update_binary(address: u16, data: &[u8]) -> Result {
    let [high, low] = address.to_be_bytes();
    with_data(0xD6, high, low, data)
}

/// Returns INCREMENT, which adds to a value block: `FF C2 00 03` with the data object A0, of
/// amendment 1.
///
/// # Errors
///
/// None.
pub fn increment(block: u8, by: u32) -> Result {
    change_value(0xA0, block, by)
}

/// Returns DECREMENT, which subtracts from a value block: `FF C2 00 03` with the data object A1, of
/// amendment 1.
///
/// # Errors
///
/// None.
pub fn decrement(block: u8, by: u32) -> Result {
    change_value(0xA1, block, by)
}

fn change_value(tag: u8, block: u8, by: u32) -> Result {
    let [a, b, c, d] = by.to_le_bytes();
    let objects = [tag, 0x09, 0x80, 0x01, block, 0x81, 0x04, a, b, c, d];
    Ok(command(0xC2, 0x00, 0x03, &objects)?.expecting_all())
}

fn with_data(instruction: u8, p1: u8, p2: u8, data: &[u8]) -> Result {
    match data {
        [] => Err(ContactlessError::Length),
        data => command(instruction, p1, p2, data),
    }
}

/// Readers accept only short lengths here.
fn command(instruction: u8, p1: u8, p2: u8, data: &[u8]) -> Result {
    Command::pseudo(instruction, p1, p2)
        .with_form(Form::Short)
        .and_then(|command| command.with_data(data))
        .map_err(too_long)
}

fn too_long(_: InvalidCommand) -> ContactlessError {
    ContactlessError::Length
}
