//! The directory with a sandbox's files.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;

use crate::daemon::is_covered;
use crate::error::TestkitError;
use crate::isolate::{DIR_VARIABLE, PEER_VARIABLE};

/// Whether the directory created for this process is in use.
static DEFAULT_TAKEN: AtomicBool = AtomicBool::new(false);

/// The name of the daemon's socket within the directory.
const SOCKET: &str = "run/pcscd.comm";

/// The space for a path in `sockaddr_un`, without the final NUL.
const MAX_SOCKET_PATH: usize = 107;

#[derive(Debug)]
pub(crate) enum Directory {
    /// Created for this sandbox.
    Own(TempDir),
    /// Created by [`isolated`](crate::isolated()) for this process.
    Default(PathBuf),
}

impl Directory {
    pub(crate) fn for_sandbox() -> Result<Self, TestkitError> {
        // A peer is a client of the test's sandbox.
        if env::var_os(PEER_VARIABLE).is_none() {
            if let Some(path) = env::var_os(DIR_VARIABLE) {
                if !DEFAULT_TAKEN.swap(true, Ordering::SeqCst) {
                    return Ok(Self::Default(path.into()));
                }
            }
        }
        temporary().map(Self::Own)
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Own(dir) => dir.path(),
            Self::Default(path) => path,
        }
    }

    pub(crate) fn socket(&self) -> Result<PathBuf, TestkitError> {
        socket_in(self.path())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Self::Default(path) = self {
            // The next sandbox may use it; other files in it stay.
            for sub in ["run", "conf", "drivers", "usb", "lib"] {
                let _ = fs::remove_dir_all(path.join(sub));
            }
            let _ = fs::remove_file(path.join("log"));
            DEFAULT_TAKEN.store(false, Ordering::SeqCst);
        }
    }
}

pub(crate) fn socket_in(dir: &Path) -> Result<PathBuf, TestkitError> {
    let path = dir.join(SOCKET);
    if path.as_os_str().len() > MAX_SOCKET_PATH {
        return Err(TestkitError::SocketPathTooLong { path });
    }
    Ok(path)
}

/// Creates a directory whose path is short enough for sockets and not covered in
/// the daemon's namespace.
pub(crate) fn temporary() -> Result<TempDir, TestkitError> {
    let preferred = env::temp_dir();
    let name_len = "/scard-XXXXXX/".len() + SOCKET.len();
    let base = if preferred.as_os_str().len() + name_len > MAX_SOCKET_PATH || is_covered(&preferred)
    {
        Path::new("/tmp")
    } else {
        &preferred
    };
    tempfile::Builder::new()
        .prefix("scard-")
        .tempdir_in(base)
        .map_err(TestkitError::io(format!(
            "creating a directory in {}",
            base.display()
        )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_paths_are_limited() {
        let fits = MAX_SOCKET_PATH - SOCKET.len() - "/".len();
        assert!(socket_in(Path::new(&"x".repeat(fits))).is_ok());
        let error = socket_in(Path::new(&"x".repeat(fits + 1))).unwrap_err();
        assert!(matches!(error, TestkitError::SocketPathTooLong { .. }));
    }
}
