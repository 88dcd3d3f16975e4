//! pcsc-lite's daemon, seen from outside: where its socket is, and why it cannot be reached.
#![cfg_attr(not(unix), allow(dead_code))]

use std::io::{Error, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use super::{Address, Failure};
use crate::codes::{Platform, ReturnCode};

#[cfg(unix)]
unsafe extern "C" {
    safe fn getuid() -> u32;
    safe fn geteuid() -> u32;
    safe fn getgid() -> u32;
    safe fn getegid() -> u32;
}

/// The same numbers on every Unix: no descriptor left in the process, or in the system.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;
/// A socket of another type. Another number, as on MIPS, only makes errors less specific.
const EPROTOTYPE: i32 = match cfg!(target_os = "linux") {
    true => 91,
    false => 41,
};

/// The socket's path in the builds of most systems.
const PATH: &str = match cfg!(target_os = "linux") {
    true => "/run/pcscd/pcscd.comm",
    false => "/var/run/pcscd/pcscd.comm",
};

/// The daemon's socket, unless the program names another one.
#[cfg(unix)]
pub(super) fn default_path() -> Arc<Path> {
    // The variable is not for a program that runs with more rights than the one who started it.
    let is_trusted = getuid() == geteuid() && getgid() == getegid();
    let named = std::env::var_os("PCSCLITE_CSOCK_NAME").filter(|_| is_trusted);
    named.map_or_else(|| Path::new(PATH).into(), |it| Path::new(&it).into())
}

#[cfg(not(unix))]
pub(super) fn default_path() -> Arc<Path> {
    Path::new(PATH).into()
}

/// What prevents a connection to the daemon, or a context in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Obstacle {
    /// No socket can have this path.
    BadPath,
    NoSocket,
    /// The daemon that created the socket has ended.
    NothingListens,
    NoPermission,
    /// In this process, or in the system.
    NoDescriptor,
    /// The daemon closes a connection that polkit denies, or for which it has no context left. The
    /// two look alike.
    HungUp,
}

impl Obstacle {
    #[cfg(test)]
    pub(crate) const ALL: [Obstacle; 6] = [
        Obstacle::BadPath,
        Obstacle::NoSocket,
        Obstacle::NothingListens,
        Obstacle::NoPermission,
        Obstacle::NoDescriptor,
        Obstacle::HungUp,
    ];

    /// What a failed connect to the socket means; `None` for an unusual error.
    pub(super) fn of(error: &Error) -> Option<Obstacle> {
        match (error.kind(), error.raw_os_error()) {
            (ErrorKind::NotFound | ErrorKind::NotADirectory, _) => Some(Obstacle::NoSocket),
            (ErrorKind::ConnectionRefused, _) => Some(Obstacle::NothingListens),
            (ErrorKind::PermissionDenied, _) => Some(Obstacle::NoPermission),
            (_, Some(EMFILE | ENFILE)) => Some(Obstacle::NoDescriptor),
            _ => None,
        }
    }

    /// Checks the path before anything is done with it.
    #[cfg(unix)]
    pub(super) fn of_path(path: &Path) -> Option<Obstacle> {
        use std::os::unix::net::SocketAddr;
        let is_bad = path.as_os_str().is_empty() || SocketAddr::from_pathname(path).is_err();
        is_bad.then_some(Obstacle::BadPath)
    }

    /// Looks at the socket after a connection to it has failed without saying why.
    ///
    /// A datagram socket cannot connect to the daemon's stream socket, but fails in the same way if
    /// there is an obstacle. The attempt never waits, and the daemon does not notice it.
    #[cfg(unix)]
    pub(super) fn at(path: &Path) -> Option<Obstacle> {
        use std::os::unix::net::UnixDatagram;
        let bad = Obstacle::of_path(path);
        if bad.is_some() {
            return bad;
        }
        let looked = UnixDatagram::unbound().and_then(|socket| socket.connect(path));
        let error = looked.err()?;
        match error.raw_os_error() {
            Some(EPROTOTYPE) => Some(Obstacle::HungUp),
            _ => Obstacle::of(&error),
        }
    }

    #[cfg(not(unix))]
    pub(super) fn at(_: &Path) -> Option<Obstacle> {
        None
    }
}

impl From<Obstacle> for Failure {
    /// With the code that pcsc-lite's library returns.
    fn from(obstacle: Obstacle) -> Failure {
        Failure {
            obstacle: Some(obstacle),
            ..ReturnCode::E_NO_SERVICE.into()
        }
    }
}

impl Address {
    /// The daemon's socket, if the failure to establish a context is about it.
    pub(crate) fn socket_of(&self, failure: Failure) -> Option<Arc<Path>> {
        let is_known = self.way.is_socket() || failure.obstacle.is_some();
        is_known.then(|| self.way.socket())
    }

    /// Adds what the daemon's socket tells about the failure to establish a context: the codes that
    /// pcsc-lite's library returns have several causes.
    #[cold]
    pub(super) fn explain(&self, mut failure: Failure) -> Failure {
        let has_several_causes = matches!(
            failure.code,
            ReturnCode::E_NO_SERVICE | ReturnCode::F_COMM_ERROR | ReturnCode::W_SECURITY_VIOLATION
        );
        if Platform::CURRENT == Platform::PcscLite && has_several_causes {
            let look = || Obstacle::at(&self.way.socket());
            failure.obstacle = failure.obstacle.or_else(look);
        }
        failure
    }
}
