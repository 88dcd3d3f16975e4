//! A private daemon with its readers.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::builder::SandboxBuilder;
use crate::daemon::{Daemon, Installation, tail};
use crate::directory::Directory;
use crate::error::TestkitError;
use crate::ifd::Server;
use crate::model::ReaderModel;
use crate::ports::PortPair;
use crate::reader::VirtualReader;
use crate::slot::Slot;
use crate::status::DaemonStatus;
use crate::sync::lock;
use crate::usb_reader::{HotPlug, UsbReader};

/// The environment variable by which the PC/SC client library finds its daemon.
pub(crate) const SOCKET_VARIABLE: &str = "PCSCLITE_CSOCK_NAME";

/// A private `pcscd` with virtual readers.
///
/// It is a real daemon in its own mount namespace: any number of them run at the
/// same time, next to the system's, without root if the system allows
/// unprivileged user namespaces. A client reaches it through
/// [`socket_path`](Self::socket_path); see [`command`](Self::command) and
/// [`isolated`](crate::isolated()).
///
/// Dropping it ends the daemon and removes every file. If this process is
/// killed, the daemon ends by itself.
///
/// `vpcd` listens on TCP ports of all interfaces without access control: anyone
/// who can reach the machine during a test could pose as a card.
#[derive(Debug)]
pub struct Sandbox {
    pub(crate) readers: Vec<VirtualReader>,
    pub(crate) timeout: Duration,
    pub(crate) status: Arc<DaemonStatus>,
    pub(crate) socket: PathBuf,
    /// The fields below are dropped in this order: the daemon, then what it uses.
    pub(crate) daemon: Mutex<Daemon>,
    /// The virtual USB bus, if readers can be plugged in.
    pub(crate) hot_plug: Option<Arc<HotPlug>>,
    pub(crate) _server: Option<Arc<Server>>,
    pub(crate) _ports: Vec<PortPair>,
    pub(crate) _dir: Directory,
}

impl Sandbox {
    /// Begins the description of a sandbox to be started.
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
        SandboxBuilder::new()
    }

    /// The readers. With `vpcd` there is an even number.
    pub fn readers(&self) -> &[VirtualReader] {
        &self.readers
    }

    /// Reader `index`, from 0.
    ///
    /// # Panics
    /// If there is no such reader.
    #[track_caller]
    pub fn reader(&self, index: usize) -> &VirtualReader {
        let readers = self.readers.len();
        self.readers
            .get(index)
            .unwrap_or_else(|| panic!("{}", TestkitError::NoSuchReader { index, readers }))
    }

    /// Plugs a reader in, and waits until clients of the daemon can see it with
    /// all its slots.
    ///
    /// ```no_run
    /// use scard_testkit::{Driver, Sandbox, VirtualCard};
    ///
    /// # fn main() -> Result<(), scard_testkit::TestkitError> {
    /// let sandbox = Sandbox::builder()
    ///     .driver(Driver::Kit)
    ///     .hot_plug("ACS ACR122U")
    ///     .start()?;
    /// let reader = sandbox.plug("ACS ACR122U")?;
    /// assert_eq!(reader.name(), "ACS ACR122U 00 00");
    /// reader.insert(VirtualCard::iso())?;
    /// reader.unplug()?;
    /// # Ok(()) }
    /// ```
    ///
    /// The daemon assigns readers of the same name the lowest free number, as in
    /// ` 01 00`, when they are plugged in and again when it is restarted:
    /// [`name`](VirtualReader::name) returns the result. Plugged readers stay
    /// plugged in over restarts.
    ///
    /// # Errors
    /// [`NeedsKitDriver`](TestkitError::NeedsKitDriver);
    /// [`UnknownUsbReader`](TestkitError::UnknownUsbReader) if the name was not
    /// announced to the builder;
    /// [`DaemonNotRunning`](TestkitError::DaemonNotRunning);
    /// [`Timeout`](TestkitError::Timeout), also if the daemon has no place for
    /// another reader. The reader is not plugged in then.
    pub fn plug(&self, model: impl Into<ReaderModel>) -> Result<UsbReader, TestkitError> {
        let reader = self.plug_now(model)?;
        match reader.wait_until_published() {
            Ok(()) => Ok(reader),
            Err(error) => {
                reader.unplug_now()?;
                Err(error)
            }
        }
    }

    /// Plugs a reader in and returns at once;
    /// [`wait_until_published`](UsbReader::wait_until_published) waits. If the
    /// daemon was killed, the next one finds the reader. A paused daemon has room
    /// for about ten changes; the next one waits for up to 10 seconds.
    ///
    /// # Errors
    /// The same as for [`plug`](Self::plug), except for those of waiting;
    /// [`Io`](TestkitError::Io).
    pub fn plug_now(&self, model: impl Into<ReaderModel>) -> Result<UsbReader, TestkitError> {
        let model = model.into();
        let Some(hot_plug) = &self.hot_plug else {
            return Err(match &self._server {
                Some(_) => TestkitError::UnknownUsbReader {
                    name: model.name,
                    known: Vec::new(),
                },
                None => TestkitError::NeedsKitDriver {
                    what: "plugging in readers",
                },
            });
        };
        let daemon = lock(&self.daemon);
        hot_plug.plug(&model, daemon.pid().is_some())
    }

    /// The daemon's socket: the value of `PCSCLITE_CSOCK_NAME` for its clients.
    /// It stays the same over restarts.
    ///
    /// The crate `scard` takes it for a context:
    /// [a test without a process of its own](crate#a-test-without-a-process-of-its-own).
    pub fn socket_path(&self) -> &Path {
        &self.socket
    }

    /// A command whose PC/SC library talks to this sandbox.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env(SOCKET_VARIABLE, &self.socket);
        command
    }

    /// How many readers a sandbox can have: the limit of the installed daemon,
    /// usually 16, or 200 if it has none (pcsc-lite 2.5 and newer).
    ///
    /// # Errors
    /// [`PcscdNotFound`](TestkitError::PcscdNotFound), or
    /// [`Io`](TestkitError::Io) if the daemon could not be asked.
    pub fn max_readers() -> Result<usize, TestkitError> {
        Installation::find().map(|installation| installation.max_readers)
    }

    /// Whether the PC/SC library of this process talks to this sandbox: true within
    /// [`isolated`](crate::isolated()), for the sandbox that is started first.
    pub fn is_default(&self) -> bool {
        env::var_os(SOCKET_VARIABLE).is_some_and(|path| path == self.socket.as_os_str())
    }

    /// The output of the daemon so far, including earlier ones before restarts.
    pub fn daemon_log(&self) -> String {
        lock(&self.daemon).log()
    }

    /// The daemon's process id, unless it was killed.
    pub fn pid(&self) -> Option<u32> {
        lock(&self.daemon).pid()
    }

    /// Kills the daemon (SIGKILL) and returns when it has ended. Cards stay in
    /// their readers. Does nothing if the daemon was already killed.
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

    /// Lets the daemon continue after [`pause`](Self::pause).
    ///
    /// # Errors
    /// [`TestkitError::DaemonNotRunning`].
    pub fn resume(&self) -> Result<(), TestkitError> {
        lock(&self.daemon).signal(Signal::CONT)
    }

    /// Starts a new daemon on the same socket path, after killing the old one
    /// if it still runs, and waits until it has published the inserted cards.
    ///
    /// # Errors
    /// The same as for [`SandboxBuilder::start`].
    pub fn restart(&self) -> Result<(), TestkitError> {
        let mut daemon = lock(&self.daemon);
        self.kill_locked(&mut daemon)?;
        self.start(&mut daemon)
    }

    fn kill_locked(&self, daemon: &mut Daemon) -> Result<(), TestkitError> {
        daemon.kill()?;
        for reader in &self.readers {
            reader.backend().daemon_ended();
        }
        if let Some(hot_plug) = &self.hot_plug {
            for slot in hot_plug.slots() {
                slot.daemon_ended();
            }
            hot_plug.daemon_ended();
        }
        Ok(())
    }

    pub(crate) fn start_daemon(&self) -> Result<(), TestkitError> {
        self.start(&mut lock(&self.daemon))
    }

    /// Checks that the daemon sees our USB devices: without the library it would
    /// run anyway, and never see a reader.
    pub(crate) fn check_preload(&self) -> Result<(), TestkitError> {
        let log = self.daemon_log();
        // The message of the dynamic linker.
        if self.hot_plug.is_some() && log.contains("cannot be preloaded") {
            return Err(TestkitError::DaemonDidNotStart {
                reason: "libumockdev-preload could not be loaded into it".into(),
                log: tail(&log),
            });
        }
        Ok(())
    }

    fn start(&self, daemon: &mut Daemon) -> Result<(), TestkitError> {
        for reader in &self.readers {
            reader.backend().daemon_starts();
        }
        let plugged = self.hot_plug.as_ref().map_or(Vec::new(), |h| h.slots());
        for slot in &plugged {
            slot.daemon_starts();
        }
        let slots: Vec<_> = self
            .readers
            .iter()
            .filter_map(|reader| reader.backend().vpcd().cloned())
            .collect();
        std::thread::spawn(move || Slot::knock(&slots));
        let names: Vec<&str> = self.readers.iter().map(VirtualReader::name).collect();
        daemon.start(&self.status, &names)?;
        let deadline = Instant::now() + self.timeout;
        for reader in self.readers.iter().filter(|r| r.card().is_some()) {
            reader
                .backend()
                .wait_until_published(self.timeout, deadline)?;
        }
        Ok(())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        for reader in &self.readers {
            reader.backend().daemon_ended();
            reader.remove_now();
        }
        for slot in self.hot_plug.iter().flat_map(|hot_plug| hot_plug.slots()) {
            slot.daemon_ended();
            slot.unplug();
        }
    }
}
