//! Child processes with time limits.

use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, getpid, kill_process, pidfd_open};

/// Waits for a child to end; `None` if it does not end in time.
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
        wait_for_end(io::stdin().lock());
        let _ = kill_process(getpid(), Signal::KILL);
    });
}

/// Reads until the end of the input. A signal does not end it: the test may have
/// its own handlers.
fn wait_for_end(mut input: impl Read) {
    let mut sink = [0; 64];
    loop {
        match input.read(&mut sink) {
            Ok(0) => return,
            Err(e) if e.kind() != io::ErrorKind::Interrupted => return,
            Ok(_) | Err(_) => {}
        }
    }
}

/// Describes how a child ended.
pub(crate) fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "ended".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_not_the_end_of_input() {
        struct Input(Vec<io::Result<usize>>);
        impl Read for &mut Input {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                self.0.pop().expect("nothing is read after the end")
            }
        }
        let interrupted = || Err(io::ErrorKind::Interrupted.into());
        let mut input = Input(vec![Ok(0), interrupted(), Ok(1), interrupted()]);
        wait_for_end(&mut input);
        assert!(input.0.is_empty());
    }
}
