//! The calls that take names, as 16-bit units on Windows: in the calls that take bytes, characters
//! outside the code page become question marks. `narrow.rs` exports the same for the other
//! platforms.
#![allow(non_snake_case)]

use std::ffi::{CStr, c_void};
use std::marker::PhantomData;

use pcsc::ffi::{ATR_BUFFER_SIZE, DWORD, LONG, SCARDCONTEXT, SCARDHANDLE};

use super::utf16;

// Not in the bindings, which have only the calls that take bytes.
#[cfg_attr(windows, link(name = "winscard"))]
unsafe extern "system" {
    #[link_name = "SCardListReadersW"]
    pub(super) fn SCardListReaders(
        context: SCARDCONTEXT,
        groups: *const u16,
        readers: *mut u16,
        readers_len: *mut DWORD,
    ) -> LONG;
    #[link_name = "SCardListReaderGroupsW"]
    pub(super) fn SCardListReaderGroups(
        context: SCARDCONTEXT,
        groups: *mut u16,
        groups_len: *mut DWORD,
    ) -> LONG;
    #[link_name = "SCardConnectW"]
    pub(super) fn SCardConnect(
        context: SCARDCONTEXT,
        reader: *const u16,
        share_mode: DWORD,
        protocols: DWORD,
        card: *mut SCARDHANDLE,
        protocol: *mut DWORD,
    ) -> LONG;
    #[link_name = "SCardStatusW"]
    pub(super) fn SCardStatus(
        card: SCARDHANDLE,
        names: *mut u16,
        names_len: *mut DWORD,
        state: *mut DWORD,
        protocol: *mut DWORD,
        atr: *mut u8,
        atr_len: *mut DWORD,
    ) -> LONG;
    #[link_name = "SCardGetStatusChangeW"]
    pub(super) fn SCardGetStatusChange(
        context: SCARDCONTEXT,
        timeout: DWORD,
        readers: *mut SCARD_READERSTATE,
        readers_len: DWORD,
    ) -> LONG;
}

/// `SCARD_READERSTATEW`.
#[allow(non_camel_case_types)]
#[repr(C)]
pub(super) struct SCARD_READERSTATE {
    pub(super) szReader: *const u16,
    pub(super) pvUserData: *mut c_void,
    pub(super) dwCurrentState: DWORD,
    pub(super) dwEventState: DWORD,
    pub(super) cbAtr: DWORD,
    pub(super) rgbAtr: [u8; ATR_BUFFER_SIZE],
}

/// The unit of lengths.
pub(super) type Unit = u16;

/// A name in the form the calls take.
pub(super) struct Name<'a>(Vec<u16>, PhantomData<&'a CStr>);

impl<'a> Name<'a> {
    pub(super) fn new(name: &'a CStr) -> Name<'a> {
        let mut units = utf16::from_bytes(name.to_bytes());
        units.extend([0, 0]);
        Name(units, PhantomData)
    }

    /// Terminated by two NULs, so that it is also a list, and valid as long as the name.
    pub(super) fn as_ptr(&self) -> *const u16 {
        self.0.as_ptr()
    }
}

/// Converts names written by a call.
pub(super) fn to_bytes(names: Vec<Unit>) -> Vec<u8> {
    utf16::to_bytes(names)
}
