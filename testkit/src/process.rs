//! Child processes with limits.

use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, getpid, kill_process, pidfd_open};

/// Waits for a child's end; `None` when it has not ended in time.
pub(crate) fn wait_timeout(child: &mut Child, timeout: Duration) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + timeout;
    if let Some(status) = child.try_wait()? {
        return Ok(Some(status));
    }
    let pid = Pid::from_child(child);
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => {
            let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
            loop {
                let left = deadline.saturating_duration_since(Instant::now());
                let limit = Timespec {
                    tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
                    tv_nsec: left.subsec_nanos().into(),
                };
                match poll(&mut fds, Some(&limit)) {
                    Err(rustix::io::Errno::INTR) => {}
                    Err(e) => return Err(e.into()),
                    Ok(_) => return child.try_wait(),
                }
            }
        }
        // Before Linux 5.3.
        Err(_) => loop {
            match child.try_wait()? {
                None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
                status => return Ok(status),
            }
        },
    }
}

/// Ends this process when its standard input, a pipe from its parent, ends. A
/// hanging test or a client stuck in a PC/SC call cannot outlive the run.
pub(crate) fn end_with_parent() {
    std::thread::spawn(|| {
        let mut input = io::stdin().lock();
        let mut sink = [0; 64];
        while !matches!(input.read(&mut sink), Ok(0) | Err(_)) {}
        let _ = kill_process(getpid(), Signal::KILL);
    });
}

/// A child's end in words.
pub(crate) fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "ended".into(),
    }
}
