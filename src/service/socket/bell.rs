//! Ends a wait on a socket from another thread.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// Any thread can ring it; threads that poll it wake up until it is [reset](Bell::reset).
#[derive(Debug)]
pub(crate) struct Bell {
    receiver: UnixStream,
    sender: UnixStream,
}

impl Bell {
    pub(crate) fn new() -> io::Result<Arc<Bell>> {
        let (receiver, sender) = UnixStream::pair()?;
        receiver.set_nonblocking(true)?;
        sender.set_nonblocking(true)?;
        Ok(Arc::new(Bell { receiver, sender }))
    }

    /// Never blocks. A full buffer means that it is already ringing.
    pub(crate) fn ring(&self) {
        let _ = (&self.sender).write(&[0]);
    }

    pub(super) fn reset(&self) {
        let mut rings = [0; 64];
        while (&self.receiver)
            .read(&mut rings)
            .is_ok_and(|len| len == rings.len())
        {}
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.receiver.as_fd()
    }
}
