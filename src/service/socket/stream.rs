//! Sends bytes to the daemon and receives them, within a time limit.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown,
    SocketAddrUnix, SocketFlags, SocketType, connect, recv, recvmsg, sendmsg, shutdown,
    socket_with,
};

use super::bell::Bell;
use super::client::given_up;
use super::ready::{Socket, Task, blocked, suspended};
use crate::codes::ReturnCode;
use crate::service::process::close_copy;
use crate::service::{Failure, Obstacle, Process};

/// The pauses between attempts to connect while the daemon's queue of new clients is full.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LAST_PAUSE: Duration = Duration::from_millis(20);

/// How long calls may take, and what ends them early.
#[derive(Debug, Clone, Default)]
pub(crate) struct Limit {
    pub(crate) deadline: Option<Instant>,
    pub(crate) bell: Option<Arc<Bell>>,
    /// The task of calls that are suspended instead of blocking their thread.
    pub(crate) task: Option<Arc<Task>>,
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
        self.deadline.is_none() && self.bell.is_none() && self.task.is_none()
    }

    /// The time left; `None` if there is no deadline.
    pub(super) fn left(&self) -> Option<Duration> {
        let deadline = self.deadline?;
        Some(deadline.saturating_duration_since(Instant::now()))
    }

    /// The limit of calls that are suspended instead of blocking their thread.
    #[cfg_attr(not(feature = "async"), allow(dead_code))]
    pub(crate) fn suspending(deadline: Option<Instant>, task: Arc<Task>) -> Limit {
        Limit {
            deadline,
            bell: None,
            task: Some(task),
        }
    }

    /// The limit of what is left to do after a call: none, but a task remains a task.
    pub(crate) fn of_rest(&self) -> Limit {
        Limit {
            task: self.task.as_ref().map(|_| Arc::default()),
            ..Limit::default()
        }
    }

    pub(crate) fn is_suspending(&self) -> bool {
        self.task.is_some()
    }

    /// Whether the task was stopped.
    pub(crate) fn is_stopped(&self) -> bool {
        self.task.as_ref().is_some_and(|task| task.is_stopped())
    }

    /// Whether the deadline has passed or the call is to end, although nothing waits.
    pub(super) fn check(&self) -> Result<(), GaveUp> {
        let now = Instant::now();
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            return Err(GaveUp::Deadline);
        }
        let has_rung = |bell: &Arc<Bell>| {
            blocked(None, Some(now), Some(bell)).is_err_and(|it| it == Ended::GaveUp(GaveUp::Rung))
        };
        match self.is_stopped() || self.bell.as_ref().is_some_and(has_rung) {
            true => Err(GaveUp::Rung),
            false => Ok(()),
        }
    }

    /// The limit of a wait within a call.
    pub(super) fn of_wait(&self, deadline: Option<Instant>, bell: &Option<Arc<Bell>>) -> Limit {
        Limit {
            deadline,
            bell: bell.clone(),
            task: self.task.clone(),
        }
    }

    /// Waits until the socket is ready.
    async fn wait(&self, socket: &Arc<OwnedFd>, events: PollFlags) -> Result<(), Ended> {
        self.wait_until(Some((socket, events)), self.deadline).await
    }

    async fn wait_until(
        &self,
        socket: Option<Socket<'_>>,
        until: Option<Instant>,
    ) -> Result<(), Ended> {
        match &self.task {
            Some(task) => suspended(task, socket, until).await,
            None => blocked(socket, until, self.bell.as_deref()),
        }
    }

    /// Waits for this time, unless the deadline passes or the call is to end first.
    pub(crate) async fn pause(&self, pause: Duration) -> Result<(), GaveUp> {
        let end = Instant::now() + pause;
        loop {
            let now = Instant::now();
            if self.deadline.is_some_and(|deadline| deadline <= now) {
                return Err(GaveUp::Deadline);
            }
            if end <= now {
                return Ok(());
            }
            let until = self.deadline.map_or(end, |deadline| deadline.min(end));
            // Other outcomes are checked above; if the wait fails, the pause simply continues.
            if self.wait_until(None, Some(until)).await == Err(Ended::GaveUp(GaveUp::Rung)) {
                return Err(GaveUp::Rung);
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
    socket: Arc<OwnedFd>,
    process: Process,
}

impl Stream {
    pub(super) async fn connect(path: &Path, limit: &Limit) -> Result<Stream, Failure> {
        let gone = |error: Errno| match Obstacle::of(&error.into()) {
            Some(obstacle) => Failure::from(obstacle),
            None => ReturnCode::E_NO_SERVICE.into(),
        };
        if let Some(obstacle) = Obstacle::of_path(path) {
            return Err(obstacle.into());
        }
        let address = SocketAddrUnix::new(path).map_err(gone)?;
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
                    limit.pause(pause).await.map_err(given_up)?;
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
        Ok(Stream {
            socket: Arc::new(socket),
            process: Process::current(),
        })
    }

    /// Sends the request, then the payload, within the limit.
    pub(super) async fn send(
        &self,
        request: &[u8],
        payload: &[u8],
        limit: &Limit,
    ) -> Result<(), Ended> {
        if limit.is_none() {
            return self.send_at_once(request, payload);
        }
        let parts = &mut [IoSlice::new(request), IoSlice::new(payload)];
        let mut left = parts.as_mut_slice();
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            if !self.send_more(&mut left, SendFlags::DONTWAIT)? {
                limit.wait(&self.socket, PollFlags::OUT).await?;
            }
        }
        Ok(())
    }

    /// Sends the request, then the payload.
    #[inline]
    pub(super) fn send_at_once(&self, request: &[u8], payload: &[u8]) -> Result<(), Ended> {
        let parts = &mut [IoSlice::new(request), IoSlice::new(payload)];
        let mut left = parts.as_mut_slice();
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            self.send_more(&mut left, SendFlags::empty())?;
        }
        Ok(())
    }

    /// Returns whether there was room.
    #[inline]
    fn send_more(&self, left: &mut &mut [IoSlice<'_>], flags: SendFlags) -> Result<bool, Ended> {
        let none = &mut SendAncillaryBuffer::default();
        // A library must not cause a SIGPIPE in its process.
        match sendmsg(&self.socket, left, none, flags | SendFlags::NOSIGNAL) {
            Ok(sent) => IoSlice::advance_slices(left, sent),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(false),
            Err(_) => return Err(Ended::Failed(ReturnCode::E_NO_SERVICE)),
        }
        Ok(true)
    }

    /// Receives into `first` until it is full, and anything already available after that into
    /// `other`, within the limit. Adds the number of bytes to `received`, which is where it starts.
    pub(super) async fn receive(
        &self,
        first: &mut [u8],
        other: &mut [u8],
        received: &mut usize,
        limit: &Limit,
    ) -> Result<(), Ended> {
        if limit.is_none() {
            return self.receive_at_once(first, other, received);
        }
        while *received < first.len() {
            limit.wait(&self.socket, PollFlags::IN).await?;
            self.receive_more(first, other, received, RecvFlags::DONTWAIT)?;
        }
        Ok(())
    }

    /// Like [`receive`](Stream::receive), without a limit.
    #[inline]
    pub(super) fn receive_at_once(
        &self,
        first: &mut [u8],
        other: &mut [u8],
        received: &mut usize,
    ) -> Result<(), Ended> {
        while *received < first.len() {
            self.receive_more(first, other, received, RecvFlags::empty())?;
        }
        Ok(())
    }

    #[inline]
    fn receive_more(
        &self,
        first: &mut [u8],
        other: &mut [u8],
        received: &mut usize,
        flags: RecvFlags,
    ) -> Result<(), Ended> {
        let rest = first.get_mut(*received..).unwrap_or_default();
        let parts = &mut [IoSliceMut::new(rest), IoSliceMut::new(other)];
        let none = &mut RecvAncillaryBuffer::default();
        match recvmsg(&self.socket, parts, none, flags) {
            Ok(message) if message.bytes == 0 => Err(Ended::Failed(ReturnCode::F_COMM_ERROR)),
            Ok(message) => {
                *received += message.bytes;
                Ok(())
            }
            Err(Errno::INTR | Errno::AGAIN) => Ok(()),
            // The daemon closed the connection without reading the request.
            Err(Errno::CONNRESET) => Err(Ended::Failed(ReturnCode::W_SECURITY_VIOLATION)),
            Err(_) => Err(Ended::Failed(ReturnCode::F_COMM_ERROR)),
        }
    }

    /// Whether the daemon has neither sent anything nor hung up.
    pub(super) fn is_quiet(&self) -> bool {
        let look = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        recv(&self.socket, &mut [0; 1], look).is_err_and(|error| error == Errno::AGAIN)
    }

    /// Waits until bytes are available.
    pub(super) async fn wait(&self, limit: &Limit) -> Result<(), Ended> {
        loop {
            limit.wait(&self.socket, PollFlags::IN).await?;
            let look = RecvFlags::PEEK | RecvFlags::DONTWAIT;
            match recv(&self.socket, &mut [0; 1], look) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                _ => return Ok(()),
            }
        }
    }
}

impl Drop for Stream {
    /// Ends the connection, although the thread of the tasks may still watch the socket, and forked
    /// children may have copies of it. Such a child, which does not have that thread, only closes
    /// its copy.
    fn drop(&mut self) {
        let is_watched = Arc::strong_count(&self.socket) > 1;
        match self.process.is_forked() {
            true if is_watched => close_copy(&self.socket),
            true => {}
            false => drop(shutdown(&self.socket, Shutdown::Both)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::service::block_on;

    #[test]
    fn a_connection_ends_although_its_socket_is_watched() {
        let path = std::env::temp_dir().join(format!("scard-stream-{}", std::process::id()));
        let daemon = UnixListener::bind(&path).unwrap();
        let stream = block_on(Stream::connect(&path, &Limit::default())).unwrap();
        std::fs::remove_file(&path).unwrap();
        let (mut client, _) = daemon.accept().unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let watched = Arc::clone(&stream.socket);
        drop(stream);
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        drop(watched);
    }
}
