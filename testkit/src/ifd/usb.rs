//! A virtual USB bus that the daemon takes for a real one: devices in a separate
//! `/sys`, and the messages by which `udev` announces them.
//!
//! `libumockdev-preload` shows the daemon this `/sys`, and a socket `event…` in
//! our directory in place of the kernel's connection to `udev`.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::TestkitError;

/// Reserved for use without a vendor by <https://pid.codes>.
const VENDOR: u16 = 0x1209;
/// The product number of the first kind of reader.
const FIRST_PRODUCT: u16 = 0xA000;

const LIBRARY: &str = "libumockdev-preload.so.0";

/// How long a message may wait for space in the daemon's queue.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the library that makes the bus visible is installed.
pub(crate) fn find_umockdev() -> Result<PathBuf, TestkitError> {
    let (tried, found) = match env::var_os("SCARD_TESTKIT_UMOCKDEV") {
        Some(path) => {
            let path = PathBuf::from(path);
            (path.display().to_string(), path.is_file().then_some(path))
        }
        None => (
            format!("{LIBRARY} in {}", crate::daemon::LIBRARY_PLACES),
            crate::daemon::find_library(LIBRARY),
        ),
    };
    found.ok_or(TestkitError::UmockdevNotFound { looked_for: tried })
}

/// Creates the directory of a driver for a kind of reader: the daemon finds the
/// library and the name by the product number. Returns the path for the library.
pub(crate) fn write_bundle(drivers: &Path, kind: usize, name: &str) -> io::Result<PathBuf> {
    let contents = drivers.join(format!("kit-{kind}.bundle/Contents"));
    fs::create_dir_all(contents.join("Linux"))?;
    // The daemon's parser needs each string on a separate line.
    let plist = format!(
        "<key>CFBundleExecutable</key>\n<string>ifd.so</string>\n\
         <key>ifdVendorID</key>\n<string>{VENDOR:#06X}</string>\n\
         <key>ifdProductID</key>\n<string>{:#06X}</string>\n\
         <key>ifdFriendlyName</key>\n<string>{}</string>\n",
        product(kind),
        name.replace('&', "&amp;"),
    );
    fs::write(contents.join("Info.plist"), plist)?;
    Ok(contents.join("Linux/ifd.so"))
}

fn product(kind: usize) -> u16 {
    u16::try_from(kind).map_or(u16::MAX, |kind| FIRST_PRODUCT.saturating_add(kind))
}

/// The bus of one sandbox.
#[derive(Debug)]
pub(crate) struct Bus {
    root: PathBuf,
    /// The number of devices so far; no number is used twice.
    devices: u32,
    messages: u64,
}

/// A device on the bus.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    bus: u32,
    device: u32,
}

impl Address {
    /// The file by which the daemon names it.
    pub(crate) fn node(&self) -> String {
        format!("/dev/bus/usb/{:03}/{:03}", self.bus, self.device)
    }

    fn name(&self) -> String {
        format!("{}-{}", self.bus, self.device)
    }

    fn path(&self) -> String {
        format!("/devices/kit/usb{}/{}", self.bus, self.name())
    }

    fn interface(&self) -> String {
        format!("{}:1.0", self.name())
    }
}

impl Bus {
    pub(crate) fn new(root: PathBuf) -> io::Result<Self> {
        for dir in ["dev", "sys/class", "sys/bus/usb/devices", "sys/devices"] {
            fs::create_dir_all(root.join(dir))?;
        }
        Ok(Self {
            root,
            devices: 0,
            messages: 0,
        })
    }

    /// The address of the next device.
    pub(crate) fn next_address(&mut self) -> Address {
        let number = self.devices;
        self.devices += 1;
        Address {
            bus: 1 + number / 127,
            device: 1 + number % 127,
        }
    }

    /// Plugs a device in.
    pub(crate) fn add(
        &mut self,
        address: &Address,
        kind: usize,
        interface: Option<&str>,
        serial: Option<&str>,
    ) -> io::Result<()> {
        let sys = self.root.join("sys");
        let device = self.sys(&address.path());
        let own_interface = device.join(address.interface());
        fs::create_dir_all(&own_interface)?;
        let write =
            |dir: &Path, name: &str, value: String| fs::write(dir.join(name), format!("{value}\n"));
        write(&device, "idVendor", format!("{VENDOR:04x}"))?;
        write(&device, "idProduct", format!("{:04x}", product(kind)))?;
        write(&device, "busnum", address.bus.to_string())?;
        write(&device, "devnum", address.device.to_string())?;
        if let Some(serial) = serial {
            write(&device, "serial", serial.into())?;
        }
        let node = address.node();
        let event = format!(
            "DEVTYPE=usb_device\nDEVNAME={}\nBUSNUM={:03}\nDEVNUM={:03}",
            node.trim_start_matches("/dev/"),
            address.bus,
            address.device
        );
        write(&device, "uevent", event)?;
        write(&own_interface, "uevent", "DEVTYPE=usb_interface".into())?;
        write(&own_interface, "bInterfaceNumber", "00".into())?;
        if let Some(interface) = interface {
            write(&own_interface, "interface", interface.into())?;
        }
        symlink("../../../../bus/usb", device.join("subsystem"))?;
        symlink("../../../../../bus/usb", own_interface.join("subsystem"))?;
        // Last: a daemon that is just starting finds the device by these.
        let links = sys.join("bus/usb/devices");
        let target = PathBuf::from(format!("../../..{}", address.path()));
        symlink(&target, links.join(address.name()))?;
        symlink(
            target.join(address.interface()),
            links.join(address.interface()),
        )?;
        self.tell("add", address)
    }

    /// Unplugs a device.
    pub(crate) fn remove(&mut self, address: &Address) -> io::Result<()> {
        let links = self.root.join("sys/bus/usb/devices");
        fs::remove_file(links.join(address.interface()))?;
        fs::remove_file(links.join(address.name()))?;
        fs::remove_dir_all(self.sys(&address.path()))?;
        self.tell("remove", address)
    }

    /// Forgets the sockets of a daemon that has ended.
    pub(crate) fn daemon_ended(&self) {
        for socket in self.sockets() {
            let _ = fs::remove_file(socket);
        }
    }

    fn sys(&self, path: &str) -> PathBuf {
        self.root.join(format!("sys{path}"))
    }

    /// The daemon's sockets. There are none until it begins to listen; it looks
    /// for devices afterwards.
    fn sockets(&self) -> Vec<PathBuf> {
        fs::read_dir(&self.root)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("event"))
            .map(|entry| entry.path())
            .collect()
    }

    fn tell(&mut self, action: &str, address: &Address) -> io::Result<()> {
        self.messages += 1;
        let path = format!("{}/{}", address.path(), address.interface());
        let message = message(action, &path, self.messages);
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(QUEUE_TIMEOUT))?;
        for path in self.sockets() {
            match socket.send_to(&message, &path) {
                Ok(_) => {}
                // Left by a daemon that was killed.
                Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// A message of `udev` about a USB interface, as libudev reads it.
fn message(action: &str, path: &str, number: u64) -> Vec<u8> {
    /// Two strings, the length of this header, the offset and the length of the
    /// properties, and four hashes to filter by.
    const HEADER: usize = 40;
    let mut properties = Vec::new();
    for (name, value) in [
        ("ACTION", action),
        ("DEVPATH", path),
        ("SUBSYSTEM", "usb"),
        ("DEVTYPE", "usb_interface"),
        ("SEQNUM", &number.to_string()),
    ] {
        properties.extend_from_slice(format!("{name}={value}\0").as_bytes());
    }
    let length = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes();
    let mut message = b"libudev\0".to_vec();
    message.extend_from_slice(&0xFEED_CAFE_u32.to_be_bytes());
    message.extend_from_slice(&length(HEADER));
    message.extend_from_slice(&length(HEADER));
    message.extend_from_slice(&length(properties.len()));
    message.extend_from_slice(&murmur_hash2(b"usb").to_be_bytes());
    message.extend_from_slice(&murmur_hash2(b"usb_interface").to_be_bytes());
    message.extend_from_slice(&[0; 8]);
    debug_assert_eq!(message.len(), HEADER);
    message.extend_from_slice(&properties);
    message
}

/// The hash by which listeners filter messages, seed 0.
fn murmur_hash2(data: &[u8]) -> u32 {
    const M: u32 = 0x5BD1_E995;
    let mut hash = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = chunk
            .iter()
            .rev()
            .fold(0, |k, byte| k << 8 | u32::from(*byte));
        k = k.wrapping_mul(M);
        k ^= k >> 24;
        k = k.wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        hash ^= rest
            .iter()
            .rev()
            .fold(0, |k, byte| k << 8 | u32::from(*byte));
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_murmur_hash_2() {
        // Values from systemd's test-hash and the reference implementation.
        assert_eq!(murmur_hash2(b""), 0);
        let all: Vec<u32> = ["u", "us", "usb", "usb_", "usb_i"]
            .iter()
            .map(|text| murmur_hash2(text.as_bytes()))
            .collect();
        let mut different = all.clone();
        different.sort_unstable();
        different.dedup();
        assert_eq!(all.len(), different.len());
    }

    #[test]
    fn no_address_is_given_twice() {
        let dir = tempfile::tempdir().unwrap();
        let mut bus = Bus::new(dir.path().join("usb")).unwrap();
        let nodes: Vec<String> = (0..300).map(|_| bus.next_address().node()).collect();
        assert_eq!(nodes[0], "/dev/bus/usb/001/001");
        assert_eq!(nodes[126], "/dev/bus/usb/001/127");
        assert_eq!(nodes[127], "/dev/bus/usb/002/001");
        let mut different = nodes.clone();
        different.sort();
        different.dedup();
        assert_eq!(nodes.len(), different.len());
    }

    #[test]
    fn nothing_stays_of_an_unplugged_device() {
        let dir = tempfile::tempdir().unwrap();
        let mut bus = Bus::new(dir.path().join("usb")).unwrap();
        let address = bus.next_address();
        bus.add(&address, 0, Some("Contact"), Some("1")).unwrap();
        let links = dir.path().join("usb/sys/bus/usb/devices");
        let interface = links.join("1-1:1.0");
        assert_eq!(fs::read(interface.join("interface")).unwrap(), b"Contact\n");
        assert_eq!(fs::read(links.join("1-1/serial")).unwrap(), b"1\n");
        for dir in [&interface, &links.join("1-1")] {
            let subsystem = dir.join("subsystem").canonicalize().unwrap();
            assert!(subsystem.ends_with("sys/bus/usb"), "{subsystem:?}");
        }
        bus.remove(&address).unwrap();
        assert_eq!(fs::read_dir(&links).unwrap().count(), 0);
    }
}
