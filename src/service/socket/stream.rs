//! Sends bytes to the daemon and receives them, within a time limit.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, connect, recvmsg, sendmsg, socket_with,
};

use super::bell::Bell;
use super::client::given_up;
use crate::codes::ReturnCode;
use crate::service::{Failure, Obstacle};

/// The pauses between attempts to connect while the daemon's queue of new clients is full.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LAST_PAUSE: Duration = Duration::from_millis(20);

/// How long calls may take, and the bell that ends them early.
#[derive(Debug, Clone, Default)]
pub(crate) struct Limit {
    pub(crate) deadline: Option<Instant>,
    pub(crate) bell: Option<Arc<Bell>>,
}

/// Why a wait was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GaveUp {
    Deadline,
    /// The bell rang.
    Rung,
}

impl Limit {
    pub(super) fn is_none(&self) -> bool {
        self.deadline.is_none() && self.bell.is_none()
    }

    /// The time left; `None` if there is no deadline.
    pub(super) fn left(&self) -> Option<Duration> {
        let deadline = self.deadline?;
        Some(deadline.saturating_duration_since(Instant::now()))
    }

    /// Waits until the socket is ready.
    fn wait(&self, socket: &OwnedFd, ready: PollFlags) -> Result<(), Ended> {
        self.poll(Some((socket, ready)), self.left())
    }

    /// Waits for this time, unless the deadline passes or the bell rings first.
    pub(super) fn pause(&self, pause: Duration) -> Result<(), GaveUp> {
        let end = Instant::now() + pause;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let of_limit = self.left();
            if of_limit.is_some_and(|left| left.is_zero()) {
                return Err(GaveUp::Deadline);
            }
            if left.is_zero() {
                return Ok(());
            }
            let shorter = of_limit.map_or(left, |of_limit| of_limit.min(left));
            // Other outcomes are checked above; if `poll` fails, the pause simply continues.
            if self.poll(None, Some(shorter)) == Err(Ended::GaveUp(GaveUp::Rung)) {
                return Err(GaveUp::Rung);
            }
        }
    }

    fn poll(
        &self,
        socket: Option<(&OwnedFd, PollFlags)>,
        left: Option<Duration>,
    ) -> Result<(), Ended> {
        let end = left.and_then(|left| Instant::now().checked_add(left));
        let mut watched = Vec::with_capacity(2);
        if let Some((socket, ready)) = socket {
            watched.push(PollFd::new(socket, ready));
        }
        if let Some(bell) = &self.bell {
            watched.push(PollFd::new(bell, PollFlags::IN));
        }
        loop {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            // A time too long for a `Timespec` is no limit.
            let time = left.and_then(|left| Timespec::try_from(left).ok());
            match poll(&mut watched, time.as_ref()) {
                Ok(0) => return Err(Ended::GaveUp(GaveUp::Deadline)),
                // What was received takes precedence over the bell.
                Ok(_) => {
                    let mut events = watched.iter().map(|it| !it.revents().is_empty());
                    let is_ready = socket.is_some() && events.next().unwrap_or_default();
                    return match is_ready {
                        true => Ok(()),
                        false => Err(Ended::GaveUp(GaveUp::Rung)),
                    };
                }
                Err(Errno::INTR) => {}
                Err(_) => return Err(Ended::Failed(ReturnCode::F_COMM_ERROR)),
            }
        }
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The wait was given up. The answer may still arrive.
    GaveUp(GaveUp),
    /// The connection failed, with the code that pcsc-lite's library returns then.
    Failed(ReturnCode),
}

/// A connection to the daemon.
#[derive(Debug)]
pub(super) struct Stream {
    socket: OwnedFd,
}

impl Stream {
    pub(super) fn connect(path: &Path, limit: &Limit) -> Result<Stream, Failure> {
        let gone = |error: Errno| match Obstacle::of(&error.into()) {
            Some(obstacle) => Failure::from(obstacle),
            None => ReturnCode::E_NO_SERVICE.into(),
        };
        let address = SocketAddrUnix::new(path).map_err(|_| Obstacle::NoSocket)?;
        let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
        // With a hanging daemon, a blocking connect would ignore the limit.
        let flags = match limit.is_none() {
            true => SocketFlags::CLOEXEC,
            false => SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        };
        let socket = socket_with(family, kind, flags, None).map_err(gone)?;
        let mut pause = FIRST_PAUSE;
        loop {
            match connect(&socket, &address) {
                Ok(()) => break,
                Err(Errno::AGAIN) if !limit.is_none() => {
                    limit.pause(pause).map_err(given_up)?;
                    pause = (pause * 2).min(LAST_PAUSE);
                }
                // The connection may be established anyway; otherwise the next attempt does it.
                Err(Errno::INTR) => {}
                Err(Errno::ISCONN) => break,
                Err(error) => return Err(gone(error)),
            }
        }
        if !limit.is_none() {
            rustix::io::ioctl_fionbio(&socket, false).map_err(gone)?;
        }
        Ok(Stream { socket })
    }

    /// Sends the request, then the payload.
    #[inline]
    pub(super) fn send(&self, request: &[u8], payload: &[u8], limit: &Limit) -> Result<(), Ended> {
        // A library must not cause a SIGPIPE in its process.
        let flags = match limit.is_none() {
            true => SendFlags::NOSIGNAL,
            false => SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
        };
        let mut parts = [IoSlice::new(request), IoSlice::new(payload)];
        let mut left = parts.as_mut_slice();
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            match sendmsg(
                &self.socket,
                left,
                &mut SendAncillaryBuffer::default(),
                flags,
            ) {
                Ok(sent) => IoSlice::advance_slices(&mut left, sent),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if !limit.is_none() => {
                    limit.wait(&self.socket, PollFlags::OUT)?;
                }
                Err(_) => return Err(Ended::Failed(ReturnCode::E_NO_SERVICE)),
            }
        }
        Ok(())
    }

    /// Receives into `first` until it is full, and anything already available after that into
    /// `other`. Adds the number of bytes to `received`, which is where it starts.
    #[inline]
    pub(super) fn receive(
        &self,
        first: &mut [u8],
        other: &mut [u8],
        received: &mut usize,
        limit: &Limit,
    ) -> Result<(), Ended> {
        let len = first.len();
        while *received < len {
            if !limit.is_none() {
                limit.wait(&self.socket, PollFlags::IN)?;
            }
            let rest = first.get_mut(*received..).unwrap_or_default();
            let parts = &mut [IoSliceMut::new(rest), IoSliceMut::new(other)];
            let (none, flags) = (&mut RecvAncillaryBuffer::default(), RecvFlags::empty());
            match recvmsg(&self.socket, parts, none, flags) {
                Ok(message) if message.bytes == 0 => {
                    return Err(Ended::Failed(ReturnCode::F_COMM_ERROR));
                }
                Ok(message) => *received += message.bytes,
                Err(Errno::INTR | Errno::AGAIN) => {}
                // The daemon closed the connection without reading the request.
                Err(Errno::CONNRESET) => {
                    return Err(Ended::Failed(ReturnCode::W_SECURITY_VIOLATION));
                }
                Err(_) => return Err(Ended::Failed(ReturnCode::F_COMM_ERROR)),
            }
        }
        Ok(())
    }

    /// Waits until bytes are available.
    pub(super) fn wait(&self, limit: &Limit) -> Result<(), Ended> {
        limit.wait(&self.socket, PollFlags::IN)
    }
}
