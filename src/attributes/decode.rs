//! Decodes values from bytes; `None` if they are not a valid value.

use super::value::{CardPresence, ChannelId, IfdVersion};
use crate::codes::Platform;
use crate::values::{Atr, Protocol};

/// A `DWORD`: 32 bits, or 64 with pcsc-lite.
pub(super) fn number(bytes: &[u8]) -> Option<u32> {
    if let Ok(bytes) = bytes.try_into() {
        return Some(u32::from_ne_bytes(bytes));
    }
    u32::try_from(u64::from_ne_bytes(bytes.try_into().ok()?)).ok()
}

/// A byte; some drivers return a `DWORD`.
pub(super) fn byte(bytes: &[u8]) -> Option<u8> {
    match bytes {
        [byte] => Some(*byte),
        more => u8::try_from(number(more)?).ok(),
    }
}

pub(super) fn bool(bytes: &[u8]) -> Option<bool> {
    match bytes {
        [byte] => Some(*byte != 0),
        more => Some(number(more)? != 0),
    }
}

/// Text up to the first NUL; there may be none, one or several. Bytes that are not UTF-8 are
/// replaced: on Windows, text is in the code page.
pub(super) fn text(bytes: &[u8]) -> Option<String> {
    let text = bytes.split(|&byte| byte == 0).next()?;
    Some(String::from_utf8_lossy(text).into_owned())
}

pub(super) fn version(bytes: &[u8]) -> Option<IfdVersion> {
    number(bytes).map(IfdVersion::from_raw)
}

pub(super) fn channel(bytes: &[u8]) -> Option<ChannelId> {
    number(bytes).map(ChannelId::from_raw)
}

pub(super) fn presence(bytes: &[u8]) -> Option<CardPresence> {
    byte(bytes).map(CardPresence::from_raw)
}

/// In this platform's numbering.
pub(super) fn protocol(bytes: &[u8]) -> Option<Protocol> {
    number(bytes).map(|value| Platform::CURRENT.protocol(value))
}

/// Even if it is too long, up to the capacity.
pub(super) fn atr(bytes: &[u8]) -> Option<Atr> {
    Atr::received(bytes)
}
