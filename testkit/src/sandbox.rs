//! A private daemon with its readers.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::card::CardHandle;
use crate::daemon::{Daemon, Installation};
use crate::directory::Directory;
use crate::error::TestkitError;
use crate::ports::PortPair;
use crate::reader::VirtualReader;
use crate::slot::Slot;
use crate::status::DaemonStatus;
use crate::sync::lock;

/// The environment variable by which the PC/SC client library finds its daemon.
pub(crate) const SOCKET_VARIABLE: &str = "PCSCLITE_CSOCK_NAME";

/// What `pcscd` can have as a name, its own suffix and the final NUL apart.
const MAX_NAME: usize = 128 - " 00 00\0".len();

/// A private `pcscd` with virtual readers.
///
/// It is a real daemon in a mount namespace of its own: any number of them run
/// side by side, next to the system's, and none needs root where the system
/// allows unprivileged user namespaces. A client reaches it through
/// [`socket_path`](Self::socket_path); see [`command`](Self::command) and
/// [`isolated`](crate::isolated()).
///
/// Dropping it ends the daemon and removes every file. If this process is
/// killed, the daemon ends by itself.
///
/// The driver listens on TCP ports of all interfaces and has no access control:
/// whoever can reach the machine while a test runs could pose as a card.
#[derive(Debug)]
pub struct Sandbox {
    readers: Vec<VirtualReader>,
    timeout: Duration,
    status: Arc<DaemonStatus>,
    socket: PathBuf,
    /// The fields below are dropped in this order: the daemon, then what it uses.
    daemon: Mutex<Daemon>,
    _ports: Vec<PortPair>,
    _dir: Directory,
}

/// What a [`Sandbox`] is to have. Made by [`Sandbox::builder`].
#[derive(Debug)]
#[must_use = "a sandbox is made by `start`"]
pub struct SandboxBuilder {
    /// `None`: as many as there are names, or else one pair.
    readers: Option<usize>,
    names: Vec<String>,
    cards: Vec<(usize, CardHandle)>,
    timeout: Duration,
    debug_log: bool,
}

impl SandboxBuilder {
    /// At least so many readers; 0 for none. Without this call there is a pair, or the
    /// pairs that [`reader`](Self::reader) names.
    ///
    /// The driver has them in pairs, so there will be an even number. Pairs
    /// without a [`reader`](Self::reader) name of their own are called `Virtual
    /// Reader A 00 00` and `Virtual Reader A 00 01`, `Virtual Reader B 00 00`
    /// and so on. Most daemons can have 16 readers:
    /// [`Sandbox::max_readers`].
    pub fn readers(mut self, count: usize) -> Self {
        self.readers = Some(count);
        self
    }

    /// A pair of readers with this name, to which the daemon adds ` 00 00` and
    /// ` 00 01`. Named pairs come first, in the order of the calls. Each name can
    /// be given once.
    pub fn reader(mut self, name: impl Into<String>) -> Self {
        self.names.push(name.into());
        self
    }

    /// A card that is in reader `reader` from the start.
    /// [`start`](Self::start) waits for all of them together.
    pub fn card(mut self, reader: usize, card: impl Into<CardHandle>) -> Self {
        self.cards.push((reader, card.into()));
        self
    }

    /// How long [`insert`](VirtualReader::insert) and the like wait for the
    /// daemon; 10 seconds by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Whether the daemon writes everything, APDUs included, into its
    /// [log](Sandbox::daemon_log), and not errors alone.
    pub fn debug_log(mut self, debug: bool) -> Self {
        self.debug_log = debug;
        self
    }

    /// Starts the daemon, and waits until it accepts connections, has every
    /// reader and has published every card.
    ///
    /// # Errors
    /// What is missing or refused: see [`TestkitError`].
    pub fn start(self) -> Result<Sandbox, TestkitError> {
        self.check_names()?;
        let count = self.pair_count().saturating_mul(2);
        if let Some(&(index, _)) = self.cards.iter().find(|(index, _)| *index >= count) {
            return Err(TestkitError::NoSuchReader {
                index,
                readers: count,
            });
        }
        let installation = Installation::find()?;
        if count > installation.max_readers {
            return Err(TestkitError::TooManyReaders {
                wanted: count,
                limit: installation.max_readers,
            });
        }
        // Only now: a name for each of the readers, of whatever number.
        let names = self.pair_names();
        let dir = Directory::for_sandbox()?;
        let socket = dir.socket()?;
        let ports = names
            .iter()
            .map(|_| PortPair::reserve())
            .collect::<Result<Vec<_>, _>>()
            .map_err(TestkitError::io("reserving TCP ports for the readers"))?;
        configure(dir.path(), &installation.driver, &names, &ports)
            .map_err(TestkitError::io("writing the daemon's configuration"))?;

        let status = Arc::new(DaemonStatus::new(socket.clone()));
        let readers = pc_sc_names(&names)
            .into_iter()
            .zip(
                ports
                    .iter()
                    .flat_map(|pair| [pair.first(), pair.first() + 1]),
            )
            .map(|(name, port)| {
                let slot = Slot::new(name, port, Arc::clone(&status));
                VirtualReader::new(Arc::new(slot), self.timeout)
            })
            .collect();
        let sandbox = Sandbox {
            daemon: Mutex::new(Daemon::prepare(&installation, dir.path(), self.debug_log)?),
            readers,
            timeout: self.timeout,
            status,
            socket,
            _ports: ports,
            _dir: dir,
        };
        for (index, card) in self.cards {
            sandbox.readers[index].insert_now(card)?;
        }
        sandbox.start(&mut lock(&sandbox.daemon))?;
        Ok(sandbox)
    }

    fn check_names(&self) -> Result<(), TestkitError> {
        for (at, name) in self.names.iter().enumerate() {
            let reason = if name.is_empty() {
                "it is empty"
            } else if self.names[..at].contains(name) {
                "the daemon would give two pairs of readers the same names"
            } else if name.len() > MAX_NAME {
                "it is longer than 121 bytes"
            } else if name.contains(|c: char| c == '"' || c.is_control()) {
                "the daemon's configuration cannot express quotes and control characters"
            } else {
                continue;
            };
            return Err(TestkitError::InvalidReaderName {
                name: name.clone(),
                reason,
            });
        }
        Ok(())
    }

    fn pair_count(&self) -> usize {
        let unnamed = usize::from(self.names.is_empty());
        let wanted = self.readers.map_or(unnamed, |count| count.div_ceil(2));
        wanted.max(self.names.len())
    }

    /// The friendly names of the pairs.
    fn pair_names(&self) -> Vec<String> {
        let others = (0..)
            .map(|n| match u8::try_from(n) {
                Ok(n @ 0..26) => format!("Virtual Reader {}", char::from(b'A' + n)),
                _ => format!("Virtual Reader {}", n + 1),
            })
            .filter(|name| !self.names.contains(name))
            .take(self.pair_count() - self.names.len());
        self.names.iter().cloned().chain(others).collect()
    }
}

/// The names that the daemon makes of the pairs' names.
fn pc_sc_names(pairs: &[String]) -> Vec<String> {
    pairs
        .iter()
        .flat_map(|pair| [format!("{pair} 00 00"), format!("{pair} 00 01")])
        .collect()
}

/// Writes the daemon's configuration. The driver keeps its state per library,
/// so each pair of readers has a copy.
fn configure(
    dir: &Path,
    driver: &Path,
    names: &[String],
    ports: &[PortPair],
) -> std::io::Result<()> {
    for sub in ["run", "conf", "empty"] {
        fs::create_dir(dir.join(sub))?;
    }
    let mut config = String::new();
    for (index, (name, pair)) in names.iter().zip(ports).enumerate() {
        let library = dir.join(format!("vpcd-{index}.so"));
        fs::copy(driver, &library)?;
        config += &format!(
            "FRIENDLYNAME \"{name}\"\nDEVICENAME /dev/null:{}\nLIBPATH {}\nCHANNELID {index}\n\n",
            pair.first(),
            library.display(),
        );
    }
    fs::write(dir.join("conf/readers.conf"), config)
}

impl Sandbox {
    /// Describes a sandbox to be started.
    ///
    /// ```
    /// use scard_testkit::{Sandbox, VirtualCard};
    ///
    /// # fn main() -> Result<(), scard_testkit::TestkitError> {
    /// let sandbox = Sandbox::builder()
    ///     .reader("ACS ACR122U")
    ///     .card(0, VirtualCard::iso())
    ///     .start()?;
    /// assert_eq!(sandbox.reader(0).name(), "ACS ACR122U 00 00");
    /// # Ok(()) }
    /// ```
    pub fn builder() -> SandboxBuilder {
        SandboxBuilder {
            readers: None,
            names: Vec::new(),
            cards: Vec::new(),
            timeout: Duration::from_secs(10),
            debug_log: false,
        }
    }

    /// The readers. There is an even number.
    pub fn readers(&self) -> &[VirtualReader] {
        &self.readers
    }

    /// Reader `index`, from 0.
    ///
    /// # Panics
    /// If there are not so many.
    #[track_caller]
    pub fn reader(&self, index: usize) -> &VirtualReader {
        let count = self.readers.len();
        self.readers
            .get(index)
            .unwrap_or_else(|| panic!("there is no reader {index}: the sandbox has {count}"))
    }

    /// The daemon's socket: the value of `PCSCLITE_CSOCK_NAME` for its clients.
    /// It stays the same over restarts.
    pub fn socket_path(&self) -> &Path {
        &self.socket
    }

    /// A command whose PC/SC library talks to this sandbox.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env(SOCKET_VARIABLE, &self.socket);
        command
    }

    /// How many readers the installed daemon can have: 16, as most are built.
    ///
    /// # Errors
    /// [`PcscdNotFound`](TestkitError::PcscdNotFound),
    /// [`DriverNotFound`](TestkitError::DriverNotFound), or
    /// [`Io`](TestkitError::Io) if the daemon could not be asked.
    pub fn max_readers() -> Result<usize, TestkitError> {
        Installation::find().map(|installation| installation.max_readers)
    }

    /// Whether the PC/SC library of this process talks to this sandbox: within
    /// [`isolated`](crate::isolated()), of the sandbox that is started first.
    pub fn is_default(&self) -> bool {
        env::var_os(SOCKET_VARIABLE).is_some_and(|path| path == self.socket.as_os_str())
    }

    /// What the daemon has written so far, restarts included.
    pub fn daemon_log(&self) -> String {
        lock(&self.daemon).log()
    }

    /// The daemon's process id, unless it was killed.
    pub fn pid(&self) -> Option<u32> {
        lock(&self.daemon).pid()
    }

    /// Kills the daemon (SIGKILL) and returns when it has ended. Cards stay in
    /// their readers. Does nothing if it was killed already.
    ///
    /// # Errors
    /// [`TestkitError::Io`] if the namespace has ended as well.
    pub fn kill(&self) -> Result<(), TestkitError> {
        self.kill_locked(&mut lock(&self.daemon))
    }

    /// Stops the daemon (SIGSTOP): its clients hang.
    ///
    /// # Errors
    /// [`TestkitError::DaemonNotRunning`].
    pub fn pause(&self) -> Result<(), TestkitError> {
        lock(&self.daemon).pause()
    }

    /// Lets the daemon go on after [`pause`](Self::pause).
    ///
    /// # Errors
    /// [`TestkitError::DaemonNotRunning`].
    pub fn resume(&self) -> Result<(), TestkitError> {
        lock(&self.daemon).signal(Signal::CONT)
    }

    /// Starts a new daemon on the same socket path, after killing the old one
    /// if it still runs, and waits until it has published the cards that are in
    /// their readers.
    ///
    /// # Errors
    /// As [`SandboxBuilder::start`].
    pub fn restart(&self) -> Result<(), TestkitError> {
        let mut daemon = lock(&self.daemon);
        self.kill_locked(&mut daemon)?;
        self.start(&mut daemon)
    }

    fn kill_locked(&self, daemon: &mut Daemon) -> Result<(), TestkitError> {
        daemon.kill()?;
        for reader in &self.readers {
            reader.slot().daemon_ended();
        }
        Ok(())
    }

    fn start(&self, daemon: &mut Daemon) -> Result<(), TestkitError> {
        for reader in &self.readers {
            reader.slot().daemon_starts();
        }
        let slots: Vec<_> = self.readers.iter().map(|r| Arc::clone(r.slot())).collect();
        std::thread::spawn(move || Slot::knock(&slots));
        let names: Vec<&str> = self.readers.iter().map(VirtualReader::name).collect();
        daemon.start(&self.status, &names)?;
        let deadline = Instant::now() + self.timeout;
        for reader in self.readers.iter().filter(|r| r.card().is_some()) {
            reader.slot().wait_until_published(self.timeout, deadline)?;
        }
        Ok(())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        for reader in &self.readers {
            reader.slot().daemon_ended();
            reader.remove_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_come_in_pairs_named_pairs_first() {
        let names = Sandbox::builder()
            .readers(5)
            .reader("ACS ACR122U")
            .reader("Virtual Reader A")
            .pair_names();
        assert_eq!(
            pc_sc_names(&names),
            [
                "ACS ACR122U 00 00",
                "ACS ACR122U 00 01",
                "Virtual Reader A 00 00",
                "Virtual Reader A 00 01",
                "Virtual Reader B 00 00",
                "Virtual Reader B 00 01"
            ]
        );
        assert_eq!(Sandbox::builder().pair_names().len(), 1);
    }

    #[test]
    fn names_that_the_daemon_cannot_have_are_refused() {
        let long = "x".repeat(MAX_NAME + 1);
        for name in ["", "a\"b", "a\nb", "a\0b", &long] {
            let error = Sandbox::builder().reader(name).check_names().unwrap_err();
            assert!(
                matches!(error, TestkitError::InvalidReaderName { .. }),
                "{error}"
            );
        }
        assert!(Sandbox::builder().reader(&long[1..]).check_names().is_ok());
        let twice = Sandbox::builder().reader("a").reader("a").check_names();
        assert!(twice.unwrap_err().to_string().contains("same names"));
    }
}
