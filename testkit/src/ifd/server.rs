//! The server that connects the driver with the slot of each connection.

use std::collections::HashMap;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use super::wire::{self, Request};
use super::{IfdError, IfdSlot};
use crate::sync::lock;

/// A reader, with all of its slots.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) slots: Vec<Arc<IfdSlot>>,
    /// Only one slot can be used at a time.
    pub(crate) slots_take_turns: bool,
}

/// The readers, by the names by which the daemon opens them.
type Devices = Mutex<HashMap<String, Arc<Device>>>;

/// Answers the drivers of one sandbox's daemon.
#[derive(Debug)]
pub(crate) struct Server {
    path: PathBuf,
    devices: Arc<Devices>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn listen(path: &Path) -> io::Result<Self> {
        let listener = UnixListener::bind(path)?;
        let devices = Arc::<Devices>::default();
        let ended = Arc::<AtomicBool>::default();
        let thread = thread::Builder::new().name("ifd".into()).spawn({
            let (devices, ended) = (Arc::clone(&devices), Arc::clone(&ended));
            move || {
                for stream in listener.incoming() {
                    if ended.load(Ordering::SeqCst) {
                        break;
                    }
                    let Ok(stream) = stream else { continue };
                    let devices = Arc::clone(&devices);
                    thread::spawn(move || greet(&devices, stream));
                }
            }
        })?;
        Ok(Self {
            path: path.to_owned(),
            devices,
            ended,
            thread: Some(thread),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a reader, which the daemon will open by this name.
    pub(crate) fn add(&self, name: String, device: Arc<Device>) {
        lock(&self.devices).insert(name, device);
    }

    /// Removes a reader. The daemon keeps what it has opened.
    pub(crate) fn remove(&self, name: &str) {
        lock(&self.devices).remove(name);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes it, unless it has ended by itself.
        if UnixStream::connect(&self.path).is_ok() {
            if let Some(thread) = self.thread.take() {
                let _ = thread.join();
            }
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Accepts a connection, and serves it in the same thread.
fn greet(devices: &Devices, stream: UnixStream) {
    let Ok(Request::Hello {
        lun,
        purpose,
        device,
    }) = wire::receive(&stream)
    else {
        return;
    };
    // "usb:1209/5c5c:libudev:0:/dev/bus/usb/001/002", or the configured name.
    let name = device
        .split_once(":libudev:")
        .and_then(|(_, rest)| rest.split_once(':'))
        .map_or(device.as_str(), |(_, node)| node);
    let device = lock(devices).get(name).cloned();
    let slot = device.as_ref().and_then(|device| {
        let slot = device.slots.get((lun & 0xFFFF) as usize);
        slot.map(|slot| (slot, device))
    });
    let Some((slot, device)) = slot else {
        let _ = wire::send(&stream, &Err(IfdError::NO_SUCH_DEVICE));
        return;
    };
    match purpose {
        wire::REQUESTS => slot.open(stream, device, lun),
        wire::EVENTS => slot.watch(stream),
        _ => {}
    }
}
