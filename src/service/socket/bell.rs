//! What ends a wait on a socket from another thread.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// Rung by any thread; whoever polls for it wakes up, until it is [quiet](Bell::quiet) again.
#[derive(Debug)]
pub(crate) struct Bell {
    heard: UnixStream,
    rung: UnixStream,
}

impl Bell {
    pub(in crate::service) fn new() -> io::Result<Arc<Bell>> {
        let (heard, rung) = UnixStream::pair()?;
        heard.set_nonblocking(true)?;
        rung.set_nonblocking(true)?;
        Ok(Arc::new(Bell { heard, rung }))
    }

    /// Never blocks. If nothing more fits, it rings already.
    pub(crate) fn ring(&self) {
        let _ = (&self.rung).write(&[0]);
    }

    pub(super) fn quiet(&self) {
        let mut rings = [0; 64];
        while let Ok(1..) = (&self.heard).read(&mut rings) {}
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.heard.as_fd()
    }
}
