//! The commands as their bytes.
//!
//! ```
//! use scard::contactless::command;
//!
//! assert_eq!(command::get_uid(), [0xFF, 0xCA, 0x00, 0x00, 0x00]);
//! ```

use zeroize::Zeroizing;

use super::error::ContactlessError;
use super::key::{Key, KeyKind, KeyPlace};

/// The class of commands for the reader.
const CLA: u8 = 0xFF;

/// GET DATA for the UID: `FF CA 00 00 00`.
pub fn get_uid() -> Vec<u8> {
    vec![CLA, 0xCA, 0x00, 0x00, 0x00]
}

/// GET DATA for the historical bytes of the ATS of an ISO 14443 A card: `FF CA 01 00 00`.
pub fn get_historical_bytes() -> Vec<u8> {
    vec![CLA, 0xCA, 0x01, 0x00, 0x00]
}

/// LOAD KEYS: `FF 82`, the place, the number of the key there, and the key.
///
/// The bytes are overwritten when they are dropped.
///
/// # Errors
///
/// [`ContactlessError::Length`] if the key is empty or longer than 255 bytes.
pub fn load_key(
    place: KeyPlace,
    number: u8,
    key: &Key,
) -> Result<Zeroizing<Vec<u8>>, ContactlessError> {
    let header = [CLA, 0x82, place.raw(), number];
    with_data(header, key.as_bytes()).map(Zeroizing::new)
}

/// GENERAL AUTHENTICATE: `FF 86 00 00 05 01`, the address, the kind of the key and its number
/// in the reader.
pub fn authenticate(address: u16, kind: KeyKind, number: u8) -> Vec<u8> {
    let [high, low] = address.to_be_bytes();
    vec![
        CLA,
        0x86,
        0x00,
        0x00,
        0x05,
        0x01,
        high,
        low,
        kind.raw(),
        number,
    ]
}

/// READ BINARY: `FF B0`, the address and the length. 256 bytes, or as many as there are up to
/// that, is the byte 0.
///
/// # Errors
///
/// [`ContactlessError::Length`] if the length is 0 or more than 256.
pub fn read_binary(address: u16, len: usize) -> Result<Vec<u8>, ContactlessError> {
    let le = match len {
        256 => 0,
        len => match u8::try_from(len) {
            Ok(len) if len > 0 => len,
            _ => return Err(ContactlessError::Length),
        },
    };
    let [high, low] = address.to_be_bytes();
    Ok(vec![CLA, 0xB0, high, low, le])
}

/// UPDATE BINARY: `FF D6`, the address and the data. MIFARE Classic takes 16 bytes at once,
/// MIFARE Ultralight 4.
///
/// # Errors
///
/// [`ContactlessError::Length`] if there is no data or more than 255 bytes.
pub fn update_binary(address: u16, data: &[u8]) -> Result<Vec<u8>, ContactlessError> {
    let [high, low] = address.to_be_bytes();
    with_data([CLA, 0xD6, high, low], data)
}

/// INCREMENT: adds to a value block. `FF C2 00 03` with the data object A0, of amendment 1.
pub fn increment(block: u8, by: u32) -> Vec<u8> {
    change_value(0xA0, block, by)
}

/// DECREMENT: subtracts from a value block. `FF C2 00 03` with the data object A1, of
/// amendment 1.
pub fn decrement(block: u8, by: u32) -> Vec<u8> {
    change_value(0xA1, block, by)
}

fn change_value(tag: u8, block: u8, by: u32) -> Vec<u8> {
    let [a, b, c, d] = by.to_le_bytes();
    vec![
        CLA, 0xC2, 0x00, 0x03, 0x0B, tag, 0x09, 0x80, 0x01, block, 0x81, 0x04, a, b, c, d, 0x00,
    ]
}

fn with_data(header: [u8; 4], data: &[u8]) -> Result<Vec<u8>, ContactlessError> {
    let len = match u8::try_from(data.len()) {
        Ok(len) if len > 0 => len,
        _ => return Err(ContactlessError::Length),
    };
    // All at once: what grows leaves copies behind.
    let mut command = Vec::with_capacity(header.len() + 1 + data.len());
    command.extend(header);
    command.push(len);
    command.extend(data);
    Ok(command)
}
