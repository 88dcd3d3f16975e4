//! The kit's side of its own driver: the driver in the daemon
//! (`driver/ifd.rs`) asks, and the slots here answer.

mod faults;
mod hooks;
mod serve;
mod server;
mod slot;
mod state;
mod usb;
mod wire;

use std::fs;
use std::io;
use std::path::Path;

use faults::Faults;
pub use faults::{IfdCall, IfdError};
pub use hooks::ControlCall;
use hooks::Hooks;
pub(crate) use server::{Device, Server};
pub(crate) use slot::IfdSlot;
pub(crate) use usb::{Address, Bus, find_umockdev, write_bundle};

/// The environment variable by which the driver finds the kit.
pub(crate) const SOCKET_VARIABLE: &str = "SCARD_TESTKIT_IFD_SOCKET";

/// The driver, as the build script has compiled it.
const LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/ifd.so"));

/// Writes the driver into a file. The daemon distinguishes readers of the same
/// file by a number in their names, so each reader with the first number needs
/// its own file.
pub(crate) fn write_library(path: &Path) -> io::Result<()> {
    fs::write(path, LIBRARY)
}
