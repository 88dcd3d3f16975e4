//! Builders of sandboxes.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::backend::Backend;
use crate::card_handle::CardHandle;
use crate::daemon::{Daemon, Installation, find_vpcd};
use crate::directory::Directory;
use crate::error::TestkitError;
use crate::ifd::{self, Bus, Device, IfdSlot, Server, find_umockdev, write_bundle};
use crate::model::ReaderModel;
use crate::ports::{PortPair, check_loopback};
use crate::reader::VirtualReader;
use crate::sandbox::Sandbox;
use crate::slot::Slot;
use crate::status::DaemonStatus;
use crate::usb_reader::HotPlug;

/// The driver of builders that choose none.
const DRIVER_VARIABLE: &str = "SCARD_TESTKIT_DRIVER";

/// Whether the slots of all readers of the kit's driver take turns.
const SLOTS_VARIABLE: &str = "SCARD_TESTKIT_SLOTS";

/// The driver of a sandbox's readers: the library through which the daemon
/// talks to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Driver {
    /// `vpcd` of the vsmartcard project, as installed in the system. The daemon
    /// looks for cards every 400 ms; readers come in pairs.
    Vpcd,
    /// The kit's own driver, which comes with this crate. The daemon sees cards
    /// at once; readers can be single or have many slots, can be plugged in and
    /// unplugged, and can fail as real ones do.
    Kit,
}

/// Describes a [`Sandbox`] to be started. Created by [`Sandbox::builder`].
#[derive(Debug)]
#[must_use = "a sandbox is made by `start`"]
pub struct SandboxBuilder {
    driver: Option<Driver>,
    /// `None`: as many as there are models, or else one.
    readers: Option<usize>,
    models: Vec<ReaderModel>,
    hot_plug: Vec<String>,
    cards: Vec<(usize, CardHandle)>,
    timeout: Duration,
    debug_log: bool,
}

impl SandboxBuilder {
    pub(crate) fn new() -> Self {
        Self {
            driver: None,
            readers: None,
            models: Vec::new(),
            hot_plug: Vec::new(),
            cards: Vec::new(),
            timeout: Duration::from_secs(10),
            debug_log: false,
        }
    }

    /// The driver of all readers. Default: [`Driver::Vpcd`], unless the
    /// environment variable `SCARD_TESTKIT_DRIVER` is `kit`: then it is
    /// [`Driver::Kit`], with readers in pairs as with `vpcd`, so that the same
    /// tests can run with both.
    pub fn driver(mut self, driver: Driver) -> Self {
        self.driver = Some(driver);
        self
    }

    /// The minimum number of readers; 0 for none. Default: those named by
    /// [`reader`](Self::reader), or else one (with `vpcd`, one pair).
    ///
    /// With `vpcd`, readers come in pairs, so there is always an even number.
    /// Readers not named by [`reader`](Self::reader) are called
    /// `Virtual Reader A 00 00`, `Virtual Reader B 00 00` and so on; with `vpcd`,
    /// `Virtual Reader A 00 00` and `Virtual Reader A 00 01` are a pair, followed
    /// by B. [`Sandbox::max_readers`] returns the maximum.
    pub fn readers(mut self, count: usize) -> Self {
        self.readers = Some(count);
        self
    }

    /// Adds a reader with this name, to which the daemon appends ` 00 00`, or one
    /// with several [slots](ReaderModel::slots). With `vpcd` it is a pair,
    /// ` 00 00` and ` 00 01`. Named readers come first, in the order of the calls.
    /// Each name can be used once.
    pub fn reader(mut self, model: impl Into<ReaderModel>) -> Self {
        self.models.push(model.into());
        self
    }

    /// Announces that readers of this name may be plugged in later, by
    /// [`Sandbox::plug`](crate::Sandbox::plug), any number of them. The daemon
    /// reads the names of USB readers when it starts.
    ///
    /// Needs [`Driver::Kit`], and the library `libumockdev-preload`, of the package
    /// `umockdev` on Debian and Ubuntu. The sandbox then has no other readers,
    /// unless [`readers`](Self::readers) or [`reader`](Self::reader) is called.
    pub fn hot_plug(mut self, name: impl Into<String>) -> Self {
        self.hot_plug.push(name.into());
        self
    }

    /// Inserts a card into reader `reader` from the start.
    /// [`start`](Self::start) waits for all cards together.
    pub fn card(mut self, reader: usize, card: impl Into<CardHandle>) -> Self {
        self.cards.push((reader, card.into()));
        self
    }

    /// How long [`insert`](VirtualReader::insert) and similar calls wait for the
    /// daemon; 10 seconds by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Whether the daemon writes everything, including APDUs, into its
    /// [log](Sandbox::daemon_log), rather than only errors.
    pub fn debug_log(mut self, debug: bool) -> Self {
        self.debug_log = debug;
        self
    }

    /// Starts the daemon, and waits until it accepts connections, knows every
    /// reader and has published every card.
    ///
    /// # Errors
    /// If something is missing or refused: see [`TestkitError`].
    pub fn start(self) -> Result<Sandbox, TestkitError> {
        let (driver, default_slots) = self.choose_driver()?;
        self.check_models(driver)?;
        let count = self.slot_count(default_slots);
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
        // Only now: a name for each reader, whose number is checked by now.
        let mut models = self.all_models(default_slots);
        let take_turns = slots_take_turns()?;
        for model in &mut models {
            model.slots_take_turns |= take_turns;
        }
        let dir = Directory::for_sandbox()?;
        let socket = dir.socket()?;
        let status = Arc::new(DaemonStatus::new(socket.clone()));
        for sub in ["run", "conf", "drivers", "lib"] {
            let sub = dir.path().join(sub);
            fs::create_dir(&sub)
                .map_err(TestkitError::io(format!("creating {}", sub.display())))?;
        }
        let made = match driver {
            Driver::Vpcd => Made::by_vpcd(dir.path(), &models, &status)?,
            Driver::Kit => Made::by_kit(dir.path(), &models)?,
        };
        let readers = made
            .slots
            .into_iter()
            .map(|slot| VirtualReader::new(slot, self.timeout, Arc::clone(&status)))
            .collect();
        let mut variables: Vec<(&str, &OsStr)> = Vec::new();
        if let Some(server) = &made.server {
            variables.push((ifd::SOCKET_VARIABLE, server.path().as_os_str()));
        }
        let umockdev;
        let usb_root = dir.path().join("usb");
        let hot_plug = match &made.server {
            Some(server) if !self.hot_plug.is_empty() => {
                if !Path::new(&installation.usb_drivers).is_dir() {
                    return Err(TestkitError::NoUsbDrivers {
                        directory: installation.usb_drivers,
                    });
                }
                umockdev = find_umockdev()?;
                variables.push(("UMOCKDEV_DIR", usb_root.as_os_str()));
                variables.push(("LD_PRELOAD", umockdev.as_os_str()));
                let bus = usb_bus(dir.path(), &usb_root, &self.hot_plug)
                    .map_err(TestkitError::io("creating a virtual USB bus"))?;
                Some(Arc::new(HotPlug::new(
                    bus,
                    self.hot_plug,
                    Arc::clone(server),
                    Arc::clone(&status),
                    self.timeout,
                    take_turns,
                )))
            }
            _ => None,
        };
        let sandbox = Sandbox {
            daemon: Mutex::new(Daemon::prepare(
                &installation,
                dir.path(),
                self.debug_log,
                &variables,
            )?),
            readers,
            timeout: self.timeout,
            status,
            socket,
            hot_plug,
            _server: made.server,
            _ports: made.ports,
            _dir: dir,
        };
        for (index, card) in self.cards {
            sandbox.readers[index].insert_now(card)?;
        }
        sandbox.start_daemon()?;
        sandbox.check_preload()?;
        Ok(sandbox)
    }

    /// The driver, and its default number of slots per reader.
    fn choose_driver(&self) -> Result<(Driver, u8), TestkitError> {
        match self.driver {
            Some(Driver::Vpcd) => Ok((Driver::Vpcd, 2)),
            Some(Driver::Kit) => Ok((Driver::Kit, 1)),
            None => match env::var(DRIVER_VARIABLE).as_deref() {
                Err(_) | Ok("" | "vpcd") => Ok((Driver::Vpcd, 2)),
                Ok("kit") => Ok((Driver::Kit, 2)),
                Ok(value) => Err(TestkitError::UnknownSetting {
                    variable: DRIVER_VARIABLE,
                    value: value.into(),
                    known: "\"vpcd\" or \"kit\"",
                }),
            },
        }
    }

    fn check_models(&self, driver: Driver) -> Result<(), TestkitError> {
        if driver == Driver::Vpcd && !self.hot_plug.is_empty() {
            return Err(TestkitError::NeedsKitDriver {
                what: "plugging in readers",
            });
        }
        for name in &self.hot_plug {
            ReaderModel::new(name).check_name()?;
            if name.contains('<') {
                return Err(TestkitError::InvalidReaderName {
                    name: name.clone(),
                    reason: "the name of a USB reader cannot contain '<'",
                });
            }
        }
        for (at, model) in self.models.iter().enumerate() {
            model.check_name()?;
            let name = model.full_name();
            if self.models[..at].iter().any(|m| m.full_name() == name) {
                return Err(TestkitError::InvalidReaderName {
                    name,
                    reason: "another reader has the same name",
                });
            }
            if driver == Driver::Vpcd && model.slots.is_some_and(|slots| slots != 2) {
                return Err(TestkitError::NeedsKitDriver {
                    what: "a reader with a number of slots other than two",
                });
            }
            if driver == Driver::Kit && model.port.is_some() {
                return Err(TestkitError::NeedsVpcd {
                    what: "a reader with a TCP port",
                });
            }
            if driver == Driver::Vpcd && model.slots_take_turns {
                return Err(TestkitError::NeedsKitDriver {
                    what: "a reader whose slots take turns",
                });
            }
        }
        Ok(())
    }

    fn named_slots(&self, default_slots: u8) -> usize {
        self.models
            .iter()
            .map(|model| usize::from(model.slots.unwrap_or(default_slots)))
            .sum()
    }

    /// The number of readers without a given name.
    fn unnamed_readers(&self, default_slots: u8) -> usize {
        let wanted = match self.readers {
            Some(count) => count,
            None => usize::from(self.models.is_empty() && self.hot_plug.is_empty()),
        };
        wanted
            .saturating_sub(self.named_slots(default_slots))
            .div_ceil(default_slots.into())
    }

    /// The number of slots of all readers; clients see each as a reader.
    fn slot_count(&self, default_slots: u8) -> usize {
        self.unnamed_readers(default_slots)
            .saturating_mul(default_slots.into())
            .saturating_add(self.named_slots(default_slots))
    }

    /// All readers, with their numbers of slots.
    fn all_models(&self, default_slots: u8) -> Vec<ReaderModel> {
        let others = (0..)
            .map(|n| match u8::try_from(n) {
                Ok(n @ 0..26) => format!("Virtual Reader {}", char::from(b'A' + n)),
                _ => format!("Virtual Reader {}", n + 1),
            })
            .filter(|name| !self.models.iter().any(|m| m.full_name() == *name))
            .map(ReaderModel::new)
            .take(self.unnamed_readers(default_slots));
        let mut models: Vec<ReaderModel> = self.models.iter().cloned().chain(others).collect();
        for model in &mut models {
            model.slots.get_or_insert(default_slots);
        }
        models
    }
}

/// Whether the environment says that all slots of a reader take turns.
fn slots_take_turns() -> Result<bool, TestkitError> {
    match env::var(SLOTS_VARIABLE).as_deref() {
        Err(_) | Ok("") => Ok(false),
        Ok("take-turns") => Ok(true),
        Ok(value) => Err(TestkitError::UnknownSetting {
            variable: SLOTS_VARIABLE,
            value: value.into(),
            known: "\"take-turns\"",
        }),
    }
}

/// The readers of a driver, and what they need.
struct Made {
    slots: Vec<Backend>,
    ports: Vec<PortPair>,
    server: Option<Arc<Server>>,
}

impl Made {
    /// The driver keeps its state per library, so each pair needs a copy.
    fn by_vpcd(
        dir: &Path,
        models: &[ReaderModel],
        status: &Arc<DaemonStatus>,
    ) -> Result<Self, TestkitError> {
        let driver = find_vpcd()?;
        check_loopback().map_err(TestkitError::NoLoopback)?;
        let mut made = Self {
            slots: Vec::new(),
            ports: Vec::new(),
            server: None,
        };
        let mut config = String::new();
        for (index, model) in models.iter().enumerate() {
            let pair = match model.port {
                Some(first) => PortPair::reserve_at(first)
                    .map_err(|source| TestkitError::PortsTaken { first, source })?,
                None => PortPair::reserve()
                    .map_err(TestkitError::io("reserving TCP ports for the readers"))?,
            };
            let library = library(dir, index);
            fs::copy(&driver, &library)
                .map_err(TestkitError::io(format!("copying {}", driver.display())))?;
            let device = format!("/dev/null:{}", pair.first());
            config += &entry(model, index, &device, &library);
            for (name, port) in model.slot_names(0, 2).into_iter().zip(pair.first()..) {
                let slot = Slot::new(name, port, Arc::clone(status));
                made.slots.push(Backend::Vpcd(Arc::new(slot)));
            }
            made.ports.push(pair);
        }
        configure(dir, &config)?;
        Ok(made)
    }

    /// The daemon numbers the readers of a library, so each needs a copy.
    fn by_kit(dir: &Path, models: &[ReaderModel]) -> Result<Self, TestkitError> {
        let socket = dir.join("ifd");
        let server = Server::listen(&socket).map_err(TestkitError::io(format!(
            "listening at {}",
            socket.display()
        )))?;
        let mut slots = Vec::new();
        let mut config = String::new();
        for (index, model) in models.iter().enumerate() {
            let library = library(dir, index);
            ifd::write_library(&library)
                .map_err(TestkitError::io(format!("writing {}", library.display())))?;
            let device = format!("/dev/null:{index}");
            config += &entry(model, index, &device, &library);
            let own: Vec<_> = model
                .slot_names(0, model.slots.unwrap_or(1))
                .into_iter()
                .map(|name| Arc::new(IfdSlot::new(name, 0)))
                .collect();
            slots.extend(own.iter().cloned().map(Backend::Kit));
            let reader = Device {
                slots: own,
                slots_take_turns: model.slots_take_turns,
            };
            server.add(device, Arc::new(reader));
        }
        configure(dir, &config)?;
        Ok(Self {
            slots,
            ports: Vec::new(),
            server: Some(Arc::new(server)),
        })
    }
}

/// The bus for readers of these names, and their drivers.
fn usb_bus(dir: &Path, root: &Path, names: &[String]) -> std::io::Result<Bus> {
    for (kind, name) in names.iter().enumerate() {
        ifd::write_library(&write_bundle(&dir.join("drivers"), kind, name)?)?;
    }
    Bus::new(root.to_owned())
}

fn library(dir: &Path, index: usize) -> std::path::PathBuf {
    dir.join(format!("lib/{index}.so"))
}

/// A reader in the daemon's configuration.
fn entry(model: &ReaderModel, index: usize, device: &str, library: &Path) -> String {
    format!(
        "FRIENDLYNAME \"{}\"\nDEVICENAME {device}\nLIBPATH {}\nCHANNELID {index}\n\n",
        model.full_name(),
        library.display(),
    )
}

fn configure(dir: &Path, config: &str) -> Result<(), TestkitError> {
    fs::write(dir.join("conf/readers.conf"), config)
        .map_err(TestkitError::io("writing the daemon's configuration"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(builder: &SandboxBuilder, default_slots: u8) -> Vec<String> {
        let names: Vec<String> = builder
            .all_models(default_slots)
            .iter()
            .flat_map(|model| model.slot_names(0, model.slots.unwrap()))
            .collect();
        assert_eq!(names.len(), builder.slot_count(default_slots));
        names
    }

    #[test]
    fn readers_come_in_pairs_named_pairs_first() {
        let builder = Sandbox::builder()
            .readers(5)
            .reader("ACS ACR122U")
            .reader("Virtual Reader A");
        assert_eq!(
            names(&builder, 2),
            [
                "ACS ACR122U 00 00",
                "ACS ACR122U 00 01",
                "Virtual Reader A 00 00",
                "Virtual Reader A 00 01",
                "Virtual Reader B 00 00",
                "Virtual Reader B 00 01"
            ]
        );
        assert_eq!(names(&Sandbox::builder(), 2).len(), 2);
    }

    #[test]
    fn single_readers_and_slots_add_up() {
        let builder = Sandbox::builder()
            .readers(5)
            .reader(ReaderModel::new("Triple").slots(3));
        assert_eq!(
            names(&builder, 1),
            [
                "Triple 00 00",
                "Triple 00 01",
                "Triple 00 02",
                "Virtual Reader A 00 00",
                "Virtual Reader B 00 00",
            ]
        );
        assert_eq!(names(&Sandbox::builder(), 1), ["Virtual Reader A 00 00"]);
        assert_eq!(names(&Sandbox::builder().readers(0), 1), [""; 0]);
        assert_eq!(names(&Sandbox::builder().reader("A"), 1), ["A 00 00"]);
    }

    #[test]
    fn equal_names_are_refused() {
        let twice = Sandbox::builder().reader("a").reader("a");
        let error = twice.check_models(Driver::Vpcd).unwrap_err();
        assert!(error.to_string().contains("the same name"));
    }

    #[test]
    fn slots_need_the_kits_driver() {
        let model = ReaderModel::new("a");
        for model in [model.clone().slots(3), model.slots_take_turns()] {
            let builder = Sandbox::builder().reader(model);
            let error = builder.check_models(Driver::Vpcd).unwrap_err();
            assert!(matches!(error, TestkitError::NeedsKitDriver { .. }));
            assert!(builder.check_models(Driver::Kit).is_ok());
        }
    }
}
