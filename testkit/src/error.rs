//! The error type of the kit.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// What kept the kit from doing its work.
///
/// The messages are written for readers of a failed CI run: they name the
/// package to install or the setting to change. `Debug` prints the same message
/// with its causes, because `unwrap`, and `main` with `?`, print that.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum TestkitError {
    /// The PC/SC daemon is not installed.
    #[error(
        "pcscd was not found (looked for {looked_for}); install it \
         (Debian, Ubuntu: apt-get install pcscd) or set SCARD_TESTKIT_PCSCD to its path"
    )]
    PcscdNotFound {
        /// The places that were tried.
        looked_for: String,
    },

    /// The virtual reader driver is not installed.
    #[error(
        "vpcd, the virtual smart-card reader driver, was not found (looked for {looked_for}); \
         install it (Debian, Ubuntu: apt-get install vsmartcard-vpcd) or set \
         SCARD_TESTKIT_VPCD to the path of libifdvpcd.so"
    )]
    DriverNotFound {
        /// The places that were tried.
        looked_for: String,
    },

    /// The programs `unshare`, `mount` and `sh` could not be started.
    #[error(
        "unshare could not be started; install it (Debian, Ubuntu: apt-get install util-linux mount)"
    )]
    UnshareNotFound(#[source] io::Error),

    /// The system does not allow this process a mount namespace.
    #[error(
        "could not create a private mount namespace: {detail}. Run the tests as root or allow \
         unprivileged user namespaces: on Ubuntu 23.10 and later with \
         `sysctl kernel.apparmor_restrict_unprivileged_userns=0`, on older Debian releases with \
         `sysctl kernel.unprivileged_userns_clone=1`, for a container with \
         `--cap-add SYS_ADMIN --security-opt apparmor=unconfined --security-opt seccomp=unconfined`"
    )]
    NamespacesRefused {
        /// The output of `unshare` and `mount`.
        detail: String,
    },

    /// The library that shows the daemon virtual USB devices is not installed.
    #[error(
        "libumockdev-preload, which is needed to plug in readers, was not found (looked for \
         {looked_for}); install it (Debian, Ubuntu: apt-get install umockdev) or set \
         SCARD_TESTKIT_UMOCKDEV to the path of libumockdev-preload.so.0"
    )]
    UmockdevNotFound {
        /// The places that were tried.
        looked_for: String,
    },

    /// This `pcscd` does not support USB readers, or its directory of drivers for
    /// them is missing.
    #[error(
        "readers cannot be plugged in: this pcscd loads USB drivers from {directory:?}, which is \
         not a directory"
    )]
    NoUsbDrivers {
        /// Where it looks for drivers; empty if it does not.
        directory: String,
    },

    /// A reader to be plugged in was not announced before the daemon started.
    #[error(
        "reader {name:?} cannot be plugged in because it was not declared before pcscd started \
         (declared: {known:?}); add .hot_plug({name:?}) to the builder"
    )]
    UnknownUsbReader {
        /// The requested name.
        name: String,
        /// The names given to [`SandboxBuilder::hot_plug`](crate::SandboxBuilder::hot_plug).
        known: Vec<String>,
    },

    /// The reader was unplugged.
    #[error("reader {reader:?} was unplugged")]
    Unplugged {
        /// The reader's name.
        reader: String,
    },

    /// An environment variable of the kit has an invalid value.
    #[error("{variable} must be {known}, not {value:?}")]
    UnknownSetting {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: String,
        /// The valid values.
        known: &'static str,
    },

    /// Something that `vpcd` cannot do.
    #[error("{what} requires the kit's own driver: Sandbox::builder().driver(Driver::Kit)")]
    NeedsKitDriver {
        /// The requested operation.
        what: &'static str,
    },

    /// Something that only `vpcd` can do.
    #[error("{what} requires vpcd: Sandbox::builder().driver(Driver::Vpcd)")]
    NeedsVpcd {
        /// The requested operation.
        what: &'static str,
    },

    /// `vpcd` talks to its cards over TCP, and this system has no loopback network.
    #[error(
        "vpcd reaches its cards over 127.0.0.1, which is not available; bring up the loopback \
         interface (`ip link set lo up`) or use the kit's own driver, which needs no network \
         (SCARD_TESTKIT_DRIVER=kit or Sandbox::builder().driver(Driver::Kit))"
    )]
    NoLoopback(#[source] io::Error),

    /// The TCP ports requested for a reader are not free.
    #[error(
        "TCP ports {first} and {second} are not free; choose others, or specify none to let the \
         kit choose",
        second = first.wrapping_add(1)
    )]
    PortsTaken {
        /// The port of the first slot; the second has the next one.
        first: u16,
        /// The system's answer.
        #[source]
        source: io::Error,
    },

    /// More readers than this build of the daemon supports.
    #[error(
        "{wanted} readers were requested (vpcd creates them in pairs), but this pcscd supports at \
         most {limit}"
    )]
    TooManyReaders {
        /// The number of requested readers, with `vpcd` rounded up to whole pairs.
        wanted: usize,
        /// The daemon's limit.
        limit: usize,
    },

    /// The daemon ended or did not accept connections in time.
    #[error("pcscd did not start: {reason}\n--- last lines of its log ---\n{log}")]
    DaemonDidNotStart {
        /// What happened.
        reason: String,
        /// The last lines of its log.
        log: String,
    },

    /// The daemon was killed and not restarted.
    #[error("pcscd is not running in this sandbox (killed and not restarted?)")]
    DaemonNotRunning,

    /// A reader's name that `pcscd` does not accept.
    #[error("invalid reader name {name:?}: {reason}")]
    InvalidReaderName {
        /// The name.
        name: String,
        /// The reason.
        reason: &'static str,
    },

    /// A reader's index is too high.
    #[error("there is no reader {index}: the sandbox has {readers}, numbered from 0")]
    NoSuchReader {
        /// The requested index.
        index: usize,
        /// How many readers there are.
        readers: usize,
    },

    /// The reader already has a card.
    #[error("reader {reader:?} already has a card; remove it first")]
    ReaderOccupied {
        /// The reader's name.
        reader: String,
    },

    /// The daemon knows of no card in the reader.
    #[error("pcscd sees no card in reader {reader:?}")]
    NoCard {
        /// The reader's name.
        reader: String,
    },

    /// The card is already in a reader.
    #[error("the card is already in a reader; it can be in only one at a time")]
    CardInUse,

    /// The card left the reader before its insertion was published.
    #[error("the card was removed from reader {reader:?} before pcscd published it")]
    CardGone {
        /// The reader's name.
        reader: String,
    },

    /// The path of the socket is too long: a Unix socket's path has at most 107
    /// bytes.
    #[error(
        "the socket path {} is longer than the 107 bytes that Unix sockets allow; set TMPDIR to \
         a shorter path",
        path.display()
    )]
    SocketPathTooLong {
        /// The path.
        path: PathBuf,
    },

    /// Something did not happen in time.
    #[error("timed out after {after:?} waiting for {what}: {likely}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// For how long.
        after: Duration,
        /// What is known, and the likely fault.
        likely: String,
    },

    /// The system refused an operation.
    #[error("{what} failed")]
    Io {
        /// The operation.
        what: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

impl fmt::Debug for TestkitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut cause = self.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl TestkitError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unwrap_prints_the_instruction_and_the_cause() {
        let refused = TestkitError::NamespacesRefused {
            detail: "no".into(),
        };
        assert_eq!(format!("{refused:?}"), refused.to_string());
        let down = TestkitError::NoLoopback(io::Error::other("unreachable"));
        let printed = format!("{down:?}");
        assert!(printed.contains("ip link set lo up"), "{printed}");
        assert!(printed.ends_with(": unreachable"), "{printed}");
    }

    #[test]
    fn messages_with_parts_are_sentences() {
        let io = TestkitError::io("copying a file")(io::Error::other("disk full"));
        assert_eq!(format!("{io:?}"), "copying a file failed: disk full");
        let needs = TestkitError::NeedsKitDriver {
            what: "plugging in readers",
        };
        let expected = "plugging in readers requires the kit's own driver: \
                        Sandbox::builder().driver(Driver::Kit)";
        assert_eq!(needs.to_string(), expected);
        let setting = TestkitError::UnknownSetting {
            variable: "SCARD_TESTKIT_DRIVER",
            value: "ccid".into(),
            known: "\"vpcd\" or \"kit\"",
        };
        let expected = "SCARD_TESTKIT_DRIVER must be \"vpcd\" or \"kit\", not \"ccid\"";
        assert_eq!(setting.to_string(), expected);
    }
}
