//! Second processes of a test.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::isolate::{PEER_VARIABLE, end, read_output, run_again};
use crate::process::{describe, wait_timeout};
use crate::sync::lock;

/// How long [`Peer::recv`] and [`Link::recv`] wait.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts second processes for a test: see
/// [`isolated_with_peer`](crate::isolated_with_peer).
#[derive(Debug)]
pub struct Peers {
    test: String,
    call: usize,
    dir: PathBuf,
    count: AtomicUsize,
    failed: Arc<AtomicBool>,
}

impl Peers {
    pub(crate) fn new(test: String, call: usize, dir: PathBuf) -> Self {
        Self {
            test,
            call,
            dir,
            count: AtomicUsize::new(0),
            failed: Arc::default(),
        }
    }

    /// Starts a process that runs the peer's closure, and returns just before the
    /// closure runs.
    ///
    /// # Panics
    /// If the process does not get that far.
    #[track_caller]
    pub fn spawn(&self) -> Peer {
        let number = self.count.fetch_add(1, Ordering::SeqCst);
        let output = self.dir.join(format!("peer-{number}.out"));
        let socket = self.dir.join(format!("peer-{number}"));
        let start = || {
            let listener = UnixListener::bind(&socket)?;
            let child = run_again(&self.test, self.call, &self.dir, &output)?
                .env(PEER_VARIABLE, &socket)
                .spawn()?;
            Ok::<_, io::Error>((listener, child))
        };
        let (listener, mut child) =
            start().unwrap_or_else(|e| panic!("peer {number} could not be started: {e}"));
        let stream = accept(&listener, &mut child).unwrap_or_else(|e| {
            end(&mut child);
            let said = read_output(&output);
            panic!("peer {number} did not start: {e}\n--- its output ---\n{said}")
        });
        let _ = fs::remove_file(&socket);
        Peer {
            number,
            pid: child.id(),
            child: Mutex::new(Some(child)),
            lines: Mutex::new(Lines::new(stream)),
            output,
            failed: Arc::clone(&self.failed),
        }
    }

    /// Propagates the failure of a peer at the end of the test.
    #[track_caller]
    pub(crate) fn finish(&self) {
        assert!(
            !self.failed.load(Ordering::SeqCst),
            "a peer failed; its output is above"
        );
    }
}

/// Waits for the connection of a child, which may end before it connects.
fn accept(listener: &UnixListener, child: &mut Child) -> io::Result<UnixStream> {
    let started = Instant::now();
    let slice = Timespec {
        tv_sec: 0,
        tv_nsec: 50_000_000,
    };
    loop {
        let mut fds = [PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN)];
        match poll(&mut fds, Some(&slice)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return listener.accept().map(|(stream, _)| stream),
            Err(e) => return Err(e.into()),
        }
        if let Some(status) = child.try_wait()? {
            return Err(io::Error::other(describe(status)));
        }
        if started.elapsed() > PATIENCE {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}

/// A second process, as the test sees it. Dropping it kills it.
#[derive(Debug)]
pub struct Peer {
    number: usize,
    pid: u32,
    /// `None` once it has ended and was reaped.
    child: Mutex<Option<Child>>,
    lines: Mutex<Lines>,
    output: PathBuf,
    failed: Arc<AtomicBool>,
}

impl Peer {
    /// The process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a line to the peer's [`Link::recv`].
    ///
    /// # Panics
    /// If the peer has ended, or the text has more than one line.
    #[track_caller]
    pub fn send(&self, line: &str) {
        if let Err(e) = lock(&self.lines).send(line) {
            self.give_up(&format!("could not be sent {line:?}: {e}"));
        }
    }

    /// Waits for a line from the peer's [`Link::send`].
    ///
    /// # Panics
    /// With the peer's output, if no line comes within 30 seconds, or the peer has
    /// ended.
    #[track_caller]
    pub fn recv(&self) -> String {
        self.recv_timeout(PATIENCE)
            .unwrap_or_else(|| self.give_up(&format!("sent nothing within {PATIENCE:?}")))
    }

    /// Waits for a line from the peer for at most `timeout`.
    ///
    /// # Panics
    /// With the peer's output, if it has ended.
    #[track_caller]
    pub fn recv_timeout(&self, timeout: Duration) -> Option<String> {
        let received = lock(&self.lines).recv(timeout);
        received.unwrap_or_else(|e| self.give_up(&format!("sent nothing: {e}")))
    }

    /// Kills the process (SIGKILL) and waits for its end. The test fails if the
    /// peer had panicked before.
    pub fn kill(&self) {
        if let Some(mut child) = lock(&self.child).take() {
            // It may have ended by itself by now.
            match end(&mut child) {
                Some(status) if status.code().is_some_and(|code| code != 0) => {
                    self.note_failure(status);
                }
                _ => {}
            }
        }
    }

    /// Waits until the peer's closure has returned.
    ///
    /// # Panics
    /// If it has panicked, or does not end within 30 seconds.
    #[track_caller]
    pub fn wait(&self) {
        let Some(mut child) = lock(&self.child).take() else {
            return;
        };
        match wait_timeout(&mut child, PATIENCE) {
            Ok(Some(status)) if status.success() => {}
            Ok(Some(status)) => self.give_up(&format!("failed ({})", describe(status))),
            Ok(None) => {
                end(&mut child);
                self.give_up(&format!("did not end within {PATIENCE:?}"));
            }
            Err(e) => self.give_up(&format!("could not be waited for: {e}")),
        }
    }

    #[track_caller]
    fn give_up(&self, what: &str) -> ! {
        // If it is ending, let it finish its output.
        if let Some(child) = &mut *lock(&self.child) {
            let _ = wait_timeout(child, Duration::from_secs(1));
        }
        let said = read_output(&self.output);
        panic!("peer {} {what}\n--- its output ---\n{said}", self.number)
    }

    fn note_failure(&self, status: ExitStatus) {
        self.failed.store(true, Ordering::SeqCst);
        eprintln!(
            "peer {} failed ({})\n--- its output ---\n{}",
            self.number,
            describe(status),
            read_output(&self.output)
        );
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The peer's connection to the test.
#[derive(Debug)]
pub struct Link {
    lines: Lines,
}

impl Link {
    pub(crate) fn to_test(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).expect("the test's socket");
        Self {
            lines: Lines::new(stream),
        }
    }

    /// Sends a line to the test's [`Peer::recv`].
    ///
    /// # Panics
    /// If the test has dropped the peer, or the text has more than one line.
    #[track_caller]
    pub fn send(&mut self, line: &str) {
        if let Err(e) = self.lines.send(line) {
            panic!("could not send {line:?} to the test: {e}");
        }
    }

    /// Waits for a line from the test's [`Peer::send`].
    ///
    /// # Panics
    /// If no line comes within 30 seconds, or the test has dropped the peer.
    #[track_caller]
    pub fn recv(&mut self) -> String {
        match self.lines.recv(PATIENCE) {
            Ok(Some(line)) => line,
            Ok(None) => panic!("the test sent nothing within {PATIENCE:?}"),
            Err(e) => panic!("the test sent nothing: {e}"),
        }
    }

    /// Waits for a line from the test for at most `timeout`.
    ///
    /// # Panics
    /// If the test has dropped the peer.
    #[track_caller]
    pub fn recv_timeout(&mut self, timeout: Duration) -> Option<String> {
        self.lines
            .recv(timeout)
            .unwrap_or_else(|e| panic!("the test sent nothing: {e}"))
    }
}

/// Lines over a socket.
#[derive(Debug)]
struct Lines {
    stream: UnixStream,
    /// Received bytes that are not yet returned.
    pending: Vec<u8>,
}

impl Lines {
    fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            pending: Vec::new(),
        }
    }

    #[track_caller]
    fn send(&mut self, line: &str) -> io::Result<()> {
        assert!(!line.contains('\n'), "{line:?} is more than one line");
        self.stream.write_all(format!("{line}\n").as_bytes())
    }

    fn recv(&mut self, timeout: Duration) -> io::Result<Option<String>> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(end) = self.pending.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                return Ok(Some(String::from_utf8_lossy(&line[..end]).into_owned()));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.stream.set_read_timeout(Some(left))?;
            let mut buffer = [0; 1024];
            match self.stream.read(&mut buffer) {
                Ok(0) => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Ok(n) => self.pending.extend_from_slice(&buffer[..n]),
                Err(e)
                    if matches!(
                        e.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_arrive_whole() {
        let (a, mut b) = UnixStream::pair().unwrap();
        let mut lines = Lines::new(a);
        b.write_all(b"one\ntw").unwrap();
        assert_eq!(lines.recv(PATIENCE).unwrap().as_deref(), Some("one"));
        assert_eq!(lines.recv(Duration::from_millis(1)).unwrap(), None);
        b.write_all(b"o\n\n").unwrap();
        assert_eq!(lines.recv(PATIENCE).unwrap().as_deref(), Some("two"));
        assert_eq!(lines.recv(PATIENCE).unwrap().as_deref(), Some(""));
        drop(b);
        assert!(lines.recv(PATIENCE).is_err());
    }
}
