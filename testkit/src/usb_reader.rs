//! Readers that are plugged in and unplugged while the daemon runs.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::backend::Backend;
use crate::error::TestkitError;
use crate::ifd::{Address, Bus, Device, IfdSlot, Server};
use crate::model::ReaderModel;
use crate::reader::VirtualReader;
use crate::status::DaemonStatus;
use crate::sync::lock;

/// What plugging needs, shared by all plugged readers.
#[derive(Debug)]
pub(crate) struct HotPlug {
    bus: Mutex<Bus>,
    /// The kinds of readers that the daemon knows.
    names: Vec<String>,
    server: Arc<Server>,
    status: Arc<DaemonStatus>,
    timeout: Duration,
    slots_take_turns: bool,
    plugged: Mutex<Vec<Arc<Plugged>>>,
}

/// A reader that is plugged in, or was.
#[derive(Debug)]
pub(crate) struct Plugged {
    name: String,
    address: Address,
    device: Arc<Device>,
    here: AtomicBool,
}

impl HotPlug {
    pub(crate) fn new(
        bus: Bus,
        names: Vec<String>,
        server: Arc<Server>,
        status: Arc<DaemonStatus>,
        timeout: Duration,
        slots_take_turns: bool,
    ) -> Self {
        Self {
            bus: Mutex::new(bus),
            names,
            server,
            status,
            timeout,
            slots_take_turns,
            plugged: Mutex::default(),
        }
    }

    /// The slots of all plugged readers.
    pub(crate) fn slots(&self) -> Vec<Arc<IfdSlot>> {
        let plugged = lock(&self.plugged);
        plugged
            .iter()
            .flat_map(|reader| reader.device.slots.iter().cloned())
            .collect()
    }

    pub(crate) fn daemon_ended(&self) {
        lock(&self.bus).daemon_ended();
    }

    pub(crate) fn plug(
        self: &Arc<Self>,
        model: &ReaderModel,
        daemon: bool,
    ) -> Result<UsbReader, TestkitError> {
        model.check_name()?;
        let kind = self.names.iter().position(|name| *name == model.name);
        let Some(kind) = kind else {
            return Err(TestkitError::UnknownUsbReader {
                name: model.name.clone(),
                known: self.names.clone(),
            });
        };
        // One at a time: the numbers depend on the order.
        let mut bus = lock(&self.bus);
        let mut plugged = lock(&self.plugged);
        let number = (0..)
            .find(|n| {
                !plugged
                    .iter()
                    .any(|p| p.name == model.name && p.device.slots[0].number() == *n)
            })
            .unwrap_or(0);
        let slots: Vec<Arc<IfdSlot>> = model
            .slot_names(number, model.slots.unwrap_or(1))
            .into_iter()
            .map(|name| Arc::new(IfdSlot::new(name, number)))
            .collect();
        if daemon {
            slots.iter().for_each(|slot| slot.daemon_starts());
        }
        let reader = Arc::new(Plugged {
            name: model.name.clone(),
            address: bus.next_address(),
            device: Arc::new(Device {
                slots,
                slots_take_turns: self.slots_take_turns || model.slots_take_turns,
            }),
            here: AtomicBool::new(true),
        });
        self.server
            .add(reader.address.node(), Arc::clone(&reader.device));
        plugged.push(Arc::clone(&reader));
        bus.add(
            &reader.address,
            kind,
            model.interface.as_deref(),
            model.serial.as_deref(),
        )
        .map_err(TestkitError::io("plugging in a virtual USB device"))?;
        let slots = reader.device.slots.iter();
        Ok(UsbReader {
            slots: slots
                .map(|slot| {
                    let slot = Backend::Kit(Arc::clone(slot));
                    VirtualReader::new(slot, self.timeout, Arc::clone(&self.status))
                })
                .collect(),
            reader,
            hot_plug: Arc::clone(self),
        })
    }

    fn unplug(&self, reader: &Plugged) -> Result<(), TestkitError> {
        let mut bus = lock(&self.bus);
        if !reader.here.swap(false, Ordering::SeqCst) {
            return Ok(());
        }
        lock(&self.plugged).retain(|other| !std::ptr::eq(&**other, reader));
        self.server.remove(&reader.address.node());
        for slot in &reader.device.slots {
            slot.unplug();
        }
        bus.remove(&reader.address)
            .map_err(TestkitError::io("unplugging a virtual USB device"))
    }
}

/// A reader that was plugged in by [`Sandbox::plug`](crate::Sandbox::plug).
///
/// It is a [`VirtualReader`], the first slot, and can be
/// [unplugged](Self::unplug). It cannot be plugged in again: as with real
/// readers, the same model is a new reader to the daemon. Dropping it does not
/// unplug it.
#[derive(Debug)]
pub struct UsbReader {
    slots: Vec<VirtualReader>,
    reader: Arc<Plugged>,
    hot_plug: Arc<HotPlug>,
}

impl UsbReader {
    /// The slots; most readers have one.
    pub fn slots(&self) -> &[VirtualReader] {
        &self.slots
    }

    /// Whether it is plugged in.
    pub fn is_plugged(&self) -> bool {
        self.reader.here.load(Ordering::SeqCst)
    }

    /// Unplugs the reader with its cards, and waits until clients of the daemon
    /// no longer see it. The cards can then be inserted elsewhere.
    ///
    /// # Errors
    /// [`Timeout`](TestkitError::Timeout), for example if the daemon is paused;
    /// [`Io`](TestkitError::Io).
    pub fn unplug(&self) -> Result<(), TestkitError> {
        self.unplug_now()?;
        self.wait_until_published()
    }

    /// Unplugs the reader and returns at once. A pending command fails
    /// immediately. Does nothing if the reader is already unplugged.
    ///
    /// # Errors
    /// [`Io`](TestkitError::Io).
    pub fn unplug_now(&self) -> Result<(), TestkitError> {
        self.hot_plug.unplug(&self.reader)
    }

    /// Waits until clients of the daemon see the reader as it is: with all its
    /// slots and their cards, or not at all.
    ///
    /// # Errors
    /// [`Timeout`](TestkitError::Timeout);
    /// [`DaemonNotRunning`](TestkitError::DaemonNotRunning).
    pub fn wait_until_published(&self) -> Result<(), TestkitError> {
        let timeout = self.hot_plug.timeout;
        let deadline = Instant::now() + timeout;
        for slot in &self.reader.device.slots {
            if self.is_plugged() {
                slot.wait_until_added(timeout, deadline)?;
                slot.wait_until_published(timeout, deadline)?;
            } else {
                slot.wait_until_closed(timeout, deadline)?;
                self.wait_until_unlisted(slot.name(), deadline)?;
            }
        }
        Ok(())
    }

    /// The daemon removes the name just after it has closed the reader.
    fn wait_until_unlisted(&self, name: &str, deadline: Instant) -> Result<(), TestkitError> {
        // A reader of the same name may have been plugged in meanwhile.
        while !self.hot_plug.slots().iter().any(|s| s.name() == name) {
            match self.hot_plug.status.readers() {
                Ok(readers) if readers.iter().any(|r| r.name == name) => {}
                // Gone, or there is no daemon to ask.
                _ => break,
            }
            if Instant::now() >= deadline {
                return Err(TestkitError::Timeout {
                    what: format!("pcscd to remove reader {name:?} from its list"),
                    after: self.hot_plug.timeout,
                    likely: "it is paused, or blocked in a call to another reader; \
                             Sandbox::daemon_log may say more"
                        .into(),
                });
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }
}

impl Deref for UsbReader {
    type Target = VirtualReader;

    fn deref(&self) -> &VirtualReader {
        // There is at least one.
        &self.slots[0]
    }
}
