//! The calls with names, which consist of bytes with pcsc-lite and on macOS. `wide.rs` exports the
//! same for Windows.

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

/// What lengths count.
pub(super) type Unit = u8;

/// A name as the calls take it.
pub(super) struct Name<'a>(&'a CStr);

impl<'a> Name<'a> {
    pub(super) fn new(name: &'a CStr) -> Name<'a> {
        Name(name)
    }

    /// With NUL at its end, and valid as long as the name.
    pub(super) fn as_ptr(&self) -> *const c_char {
        self.0.as_ptr()
    }
}

/// Names that a call has written.
pub(super) fn to_bytes(names: Vec<Unit>) -> Vec<u8> {
    names
}
