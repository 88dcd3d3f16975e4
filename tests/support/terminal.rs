//! A terminal for programs, with the test as its user.

use std::fs::File;
use std::io::Write;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::ptr;

#[derive(Debug)]
pub struct Terminal {
    ours: File,
    theirs: OwnedFd,
}

#[allow(unsafe_code)]
impl Terminal {
    pub fn open() -> Terminal {
        let (mut ours, mut theirs) = (-1, -1);
        // SAFETY: both numbers are written to, and the rest may be null.
        let opened = unsafe {
            libc::openpty(
                &mut ours,
                &mut theirs,
                ptr::null_mut(),
                ptr::null(),
                ptr::null(),
            )
        };
        assert_eq!(opened, 0);
        // SAFETY: it was just opened, and nobody else has it.
        let ours = unsafe { File::from_raw_fd(ours) };
        // SAFETY: as above.
        let theirs = unsafe { OwnedFd::from_raw_fd(theirs) };
        Terminal { ours, theirs }
    }

    /// The program's end of the terminal.
    pub fn end(&self) -> OwnedFd {
        self.theirs.try_clone().unwrap()
    }

    /// Starts a program in a new session, with this terminal.
    pub fn spawn(&self, command: &mut Command) -> Child {
        command
            .stdin(self.end())
            .stdout(self.end())
            .stderr(self.end());
        let begin_session = || {
            // SAFETY: takes nothing.
            let session = unsafe { libc::setsid() };
            // SAFETY: takes numbers; 0 is standard input, which is the terminal by now.
            let controls = unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) };
            match session == -1 || controls == -1 {
                true => Err(std::io::Error::last_os_error()),
                false => Ok(()),
            }
        };
        // SAFETY: makes system calls and nothing else.
        unsafe { command.pre_exec(begin_session) };
        command.spawn().unwrap()
    }

    pub fn type_in(&self, typed: &[u8]) {
        (&self.ours).write_all(typed).unwrap();
    }

    /// Whether the terminal echoes input.
    pub fn shows_input(&self) -> bool {
        let mut settings = MaybeUninit::<libc::termios>::uninit();
        // SAFETY: the number is that of a terminal, and the settings are written to.
        let read = unsafe { libc::tcgetattr(self.ours.as_raw_fd(), settings.as_mut_ptr()) };
        assert_eq!(read, 0);
        // SAFETY: the call has succeeded.
        let settings = unsafe { settings.assume_init() };
        settings.c_lflag & libc::ECHO != 0
    }
}
