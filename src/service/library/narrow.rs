//! The calls that take names, which are bytes in pcsc-lite and on macOS. `wide.rs` exports the same
//! for Windows.

use std::ffi::{CStr, c_char};

use pcsc::ffi::{DWORD, LONG, SCARDCONTEXT};
pub(super) use pcsc::ffi::{
    SCARD_READERSTATE, SCardConnect, SCardGetStatusChange, SCardListReaders, SCardStatus,
};

// Not in the bindings.
unsafe extern "C" {
    pub(super) fn SCardListReaderGroups(
        context: SCARDCONTEXT,
        groups: *mut c_char,
        groups_len: *mut DWORD,
    ) -> LONG;
}

/// The unit of lengths.
pub(super) type Unit = u8;

/// A name in the form the calls take.
pub(super) struct Name<'a>(&'a CStr);

impl<'a> Name<'a> {
    pub(super) fn new(name: &'a CStr) -> Name<'a> {
        Name(name)
    }

    /// NUL-terminated, and valid as long as the name.
    pub(super) fn as_ptr(&self) -> *const c_char {
        self.0.as_ptr()
    }
}

/// Converts names written by a call.
pub(super) fn to_bytes(names: Vec<Unit>) -> Vec<u8> {
    names
}
