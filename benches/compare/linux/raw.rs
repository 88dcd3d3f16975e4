//! PC/SC as called by a C program.

use std::ffi::CStr;
use std::ptr;

use pcsc::ffi::{self, DWORD, LONG};

use super::Answer;

/// The largest possible answer.
pub(super) const BUFFER: usize = ffi::MAX_BUFFER_SIZE_EXTENDED;

fn check(call: &str, returned: LONG) -> Answer {
    match returned {
        0 => Ok(()),
        code => Err(format!("{call}: {:#010X}", code as u32).into()),
    }
}

/// A context, released when it is dropped.
pub(super) struct Context(ffi::SCARDCONTEXT);

impl Context {
    pub(super) fn establish() -> Answer<Context> {
        let mut context = 0;
        // SAFETY: the reserved pointers may be null, and `context` outlives the call.
        let returned = unsafe {
            ffi::SCardEstablishContext(
                ffi::SCARD_SCOPE_USER,
                ptr::null(),
                ptr::null(),
                &mut context,
            )
        };
        check("SCardEstablishContext", returned)?;
        Ok(Context(context))
    }

    pub(super) fn connect(&self, reader: &CStr) -> Answer<Card> {
        let (mut handle, mut protocol) = (0, 0);
        // SAFETY: the name ends with NUL, and the outputs outlive the call.
        let returned = unsafe {
            ffi::SCardConnect(
                self.0,
                reader.as_ptr(),
                ffi::SCARD_SHARE_SHARED,
                ffi::SCARD_PROTOCOL_ANY,
                &mut handle,
                &mut protocol,
            )
        };
        check("SCardConnect", returned)?;
        Ok(Card { handle, protocol })
    }

    /// Waits without limit until a reader differs from its entry.
    pub(super) fn status_change(&self, states: &mut [ffi::SCARD_READERSTATE]) -> Answer {
        let count = DWORD::try_from(states.len())?;
        // SAFETY: the count passed is that of the entries, and the caller keeps their names alive.
        let returned =
            unsafe { ffi::SCardGetStatusChange(self.0, ffi::INFINITE, states.as_mut_ptr(), count) };
        check("SCardGetStatusChange", returned)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: takes a handle by value.
        unsafe { ffi::SCardReleaseContext(self.0) };
    }
}

/// An entry for [`Context::status_change`]. The name must live as long as the entry is used.
pub(super) fn state(reader: &CStr) -> ffi::SCARD_READERSTATE {
    ffi::SCARD_READERSTATE {
        szReader: reader.as_ptr(),
        pvUserData: ptr::null_mut(),
        dwCurrentState: 0,
        dwEventState: 0,
        cbAtr: 0,
        rgbAtr: [0; ffi::ATR_BUFFER_SIZE],
    }
}

/// A connected card, disconnected when it is dropped.
pub(super) struct Card {
    handle: ffi::SCARDHANDLE,
    protocol: DWORD,
}

impl Card {
    /// Returns the code on failure.
    #[inline]
    pub(super) fn try_transmit(&self, command: &[u8], answer: &mut [u8]) -> Result<usize, u32> {
        let pci = match self.protocol {
            ffi::SCARD_PROTOCOL_T0 => &raw const ffi::g_rgSCardT0Pci,
            _ => &raw const ffi::g_rgSCardT1Pci,
        };
        let mut len = answer.len() as DWORD;
        // SAFETY: the lengths passed are those of the buffers; the PCI is one of the library's.
        let returned = unsafe {
            ffi::SCardTransmit(
                self.handle,
                pci,
                command.as_ptr(),
                command.len() as DWORD,
                ptr::null_mut(),
                answer.as_mut_ptr(),
                &mut len,
            )
        };
        match returned {
            0 => Ok(len as usize),
            code => Err(code as u32),
        }
    }

    #[inline]
    pub(super) fn transmit(&self, command: &[u8], answer: &mut [u8]) -> Answer<usize> {
        self.try_transmit(command, answer)
            .map_err(|code| format!("SCardTransmit: {code:#010X}").into())
    }

    pub(super) fn begin(&self) -> Answer {
        // SAFETY: takes a handle by value.
        let returned = unsafe { ffi::SCardBeginTransaction(self.handle) };
        check("SCardBeginTransaction", returned)
    }

    /// Begins as a program does that expects resets by other programs.
    pub(super) fn begin_acknowledging_reset(&mut self) -> Answer {
        // SAFETY: takes a handle by value.
        match unsafe { ffi::SCardBeginTransaction(self.handle) } {
            ffi::SCARD_W_RESET_CARD => {
                self.reconnect(ffi::SCARD_LEAVE_CARD)?;
                self.begin()
            }
            returned => check("SCardBeginTransaction", returned),
        }
    }

    pub(super) fn end(&self) -> Answer {
        // SAFETY: takes a handle by value.
        let returned = unsafe { ffi::SCardEndTransaction(self.handle, ffi::SCARD_LEAVE_CARD) };
        check("SCardEndTransaction", returned)
    }

    pub(super) fn reconnect(&mut self, initialization: DWORD) -> Answer {
        // SAFETY: the output outlives the call.
        let returned = unsafe {
            ffi::SCardReconnect(
                self.handle,
                ffi::SCARD_SHARE_SHARED,
                ffi::SCARD_PROTOCOL_ANY,
                initialization,
                &mut self.protocol,
            )
        };
        check("SCardReconnect", returned)
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        // SAFETY: takes a handle by value.
        unsafe { ffi::SCardDisconnect(self.handle, ffi::SCARD_LEAVE_CARD) };
    }
}
