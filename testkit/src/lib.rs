//! Virtual smart-card readers and cards for the tests of any PC/SC application.
//!
//! A [`Sandbox`] is a private, real `pcscd` with virtual readers: the
//! application under test talks to it through the system's PC/SC library, as
//! with real readers. A [`VirtualCard`] is a closure from command to answer.
//! This needs no hardware and, on most systems, no root.
//!
//! - Cards are inserted and removed while the application runs
//!   ([`VirtualReader::insert`], [`VirtualReader::remove`]), torn out during a
//!   command ([`Reply::Drop`]), slow ([`VirtualCard::delay`]) or mute
//!   ([`Reply::Mute`]).
//! - Readers are plugged in and unplugged ([`Sandbox::plug`]), and fail as real
//!   ones do ([`VirtualReader::fail_next`]), with the kit's own driver.
//! - A [`CardHandle`] reports what a card has seen: every command, every
//!   power-on and every reset.
//! - The daemon can be killed, paused and restarted on the same socket path
//!   ([`Sandbox::kill`], [`Sandbox::pause`], [`Sandbox::restart`]).
//! - A [`fake::Service`] in place of the daemon returns answers that no real one
//!   does: wrong, late, truncated or none.
//! - Any number of sandboxes run at the same time, each starting in a few
//!   milliseconds.
//! - [`isolated`] runs a test that itself calls PC/SC in a separate process;
//!   [`isolated_with_peer`] adds second programs to it.
//! - The program `with-virtual-readers` runs any command with virtual readers:
//!   `with-virtual-readers --readers 2 -- pcsc_scan -r`.
//!
//! # A test
//!
//! ```no_run
//! use scard_testkit::{Sandbox, VirtualCard, isolated};
//!
//! #[test]
//! # fn hidden() {}
//! fn the_card_is_selected() {
//!     isolated(|| {
//!         let sandbox = Sandbox::builder().readers(2).start().unwrap();
//!         let card = sandbox
//!             .reader(0)
//!             .insert(VirtualCard::new(|command: &[u8]| match command {
//!                 [0x00, 0xA4, 0x04, 0x00, ..] => [0x90, 0x00],
//!                 _ => [0x6D, 0x00],
//!             }))
//!             .unwrap();
//!
//!         // Instead of these lines, for which the test also needs the crate `pcsc`: the
//!         // application under test.
//!         let context = pcsc::Context::establish(pcsc::Scope::User).unwrap();
//!         let reader = std::ffi::CString::new(sandbox.reader(0).name()).unwrap();
//!         let client = context
//!             .connect(&reader, pcsc::ShareMode::Shared, pcsc::Protocols::ANY)
//!             .unwrap();
//!         let mut buffer = [0; 258];
//!         let select = [0x00, 0xA4, 0x04, 0x00, 0x05, 0xA0, 0x00, 0x00, 0x00, 0x01];
//!         assert_eq!(client.transmit(&select, &mut buffer).unwrap(), [0x90, 0x00]);
//!
//!         assert_eq!(card.log()[0].command, select);
//!     });
//! }
//! # the_card_is_selected();
//! ```
//!
//! # A test of a program
//!
//! A test of a separate program needs no [`isolated`]: [`Sandbox::command`]
//! starts the program.
//!
//! ```no_run
//! use scard_testkit::{Sandbox, VirtualCard};
//!
//! # macro_rules! env { ($name:literal) => { $name } }
//! #[test]
//! # fn hidden() {}
//! fn the_tool_shows_whose_card_it_is() {
//!     let sandbox = Sandbox::builder()
//!         .card(0, VirtualCard::openpgp())
//!         .start()
//!         .unwrap();
//!     let output = sandbox
//!         .command(env!("CARGO_BIN_EXE_my-tool"))
//!         .arg("status")
//!         .output()
//!         .unwrap();
//!     assert!(output.status.success(), "{output:?}");
//!     let said = String::from_utf8_lossy(&output.stdout);
//!     assert!(said.contains("Demonstration"), "{said}");
//! }
//! # the_tool_shows_whose_card_it_is();
//! ```
//!
//! # A test without a process of its own
//!
//! The PC/SC library of a process talks to one daemon, for which [`isolated`] starts a
//! process. The crate `scard` with its feature `socket` needs no such library: a
//! context of it can be that of any sandbox, also in a plain test beside others.
//!
//! ```ignore
//! use scard::{ConnectOptions, ContextOptions};
//! use scard_testkit::{Sandbox, VirtualCard};
//!
//! #[test]
//! fn the_card_answers() {
//!     let sandbox = Sandbox::builder().card(0, VirtualCard::iso()).start().unwrap();
//!     let options = ContextOptions::new().socket_path(sandbox.socket_path());
//!     let context = options.establish().unwrap();
//!     let reader = sandbox.reader(0).name();
//!     let mut card = context.connect(reader, ConnectOptions::new()).unwrap();
//!     let challenge = card.transmit(&[0x00, 0x84, 0x00, 0x00, 0x08]).unwrap();
//!     assert!(challenge.ends_with(&[0x90, 0x00]));
//! }
//! ```
//!
//! # In CI
//!
//! A job for GitHub Actions:
//!
//! ```yaml
//! jobs:
//!   test:
//!     runs-on: ubuntu-latest
//!     steps:
//!       - uses: actions/checkout@v4
//!       - run: sudo apt-get update
//!       - run: sudo apt-get install -y libpcsclite-dev pcscd vsmartcard-vpcd umockdev
//!       # So that the kit needs no root.
//!       - run: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0
//!       - run: cargo test
//! ```
//!
//! # Cards
//!
//! | | |
//! |---|---|
//! | [`VirtualCard::new`] | a closure from command to answer |
//! | [`VirtualCard::scripted`] | a table of commands and answers |
//! | [`VirtualCard::with_applet`] | an [`Applet`], which is also notified of power and resets |
//! | [`VirtualCard::on_own_thread`] | an [`Applet`] that is not `Send` |
//! | [`VirtualCard::program`] | a program in any language, started by the kit |
//! | [`VirtualReader::address`] | a program written for `vpcd`, which connects to it |
//! | [`VirtualCard::iso`], [`openpgp`](VirtualCard::openpgp), [`piv`](VirtualCard::piv) | for first tests |
//!
//! # Two drivers
//!
//! A driver is the library through which the daemon talks to readers. The kit
//! supports two; [`SandboxBuilder::driver`] chooses one, and the API for readers
//! and cards is the same with both.
//!
//! | | [`Driver::Vpcd`] (the default) | [`Driver::Kit`] |
//! |---|---|---|
//! | comes from | the vsmartcard project, must be installed | this crate |
//! | a card is seen | within 400 ms | at once |
//! | readers | in pairs | single, or with any number of slots |
//! | plugging in and unplugging | no | yes: [`Sandbox::plug`] |
//! | commands | 2 to 65,535 bytes | any length |
//! | answers | 1 to 65,535 bytes | any legal size: up to 65,538 bytes |
//! | failures on demand | no | [`VirtualReader::fail_next`] |
//! | control codes, PIN pads | no | [`VirtualReader::on_control`] |
//! | attributes | its own | [`VirtualReader::set_attribute`] |
//! | network ports | yes | none |
//! | external programs as cards | [`VirtualReader::address`] | no |
//!
//! `vpcd` is an independent project with other users, so tests with it do not
//! depend on this kit's idea of a driver. Use it where it is sufficient, and the
//! kit's own driver for what only that one can do, and for fast tests.
//!
//! With `SCARD_TESTKIT_DRIVER=kit` in the environment, sandboxes whose test
//! chooses no driver use the kit's, with readers in pairs as with `vpcd`: so the
//! same tests run with both.
//!
//! The slots of a reader work at the same time, unless
//! [`ReaderModel::slots_take_turns`] or, for all readers of the kit's driver,
//! `SCARD_TESTKIT_SLOTS=take-turns` in the environment says otherwise.
//!
//! ```no_run
//! use scard_testkit::{Driver, IfdCall, IfdError, Sandbox, VirtualCard};
//!
//! # fn main() -> Result<(), scard_testkit::TestkitError> {
//! let sandbox = Sandbox::builder()
//!     .driver(Driver::Kit)
//!     .hot_plug("ACS ACR122U")
//!     .start()?;
//! let reader = sandbox.plug("ACS ACR122U")?;
//! reader.insert(VirtualCard::iso())?;
//! reader.fail_next(IfdCall::Transmit, IfdError::COMMUNICATION_ERROR)?;
//! // The application sends a command, and sees it fail.
//! reader.swap(VirtualCard::iso())?;
//! // The application sees one card removed and another inserted.
//! reader.unplug()?;
//! # Ok(()) }
//! ```
//!
//! # What must be installed
//!
//! Linux with `pcscd`; for [`Driver::Vpcd`] the driver `vpcd` of the vsmartcard
//! project; for plugging in readers `libumockdev-preload`. On Debian and Ubuntu:
//!
//! ```text
//! apt-get install pcscd vsmartcard-vpcd umockdev
//! ```
//!
//! The kit needs root or unprivileged user namespaces. If something is missing,
//! [`TestkitError`] says what to do. `SCARD_TESTKIT_PCSCD`, `SCARD_TESTKIT_VPCD`
//! and `SCARD_TESTKIT_UMOCKDEV` name another daemon, driver (`libifdvpcd.so`) and
//! `libumockdev-preload.so.0`.
//!
//! The kit's driver is compiled with the crate, by the same `rustc`, for the
//! machine that compiles: tests built for another machine cannot use it there.
//!
//! # Platform notes
//!
//! On other systems than Linux this crate is empty, so that it can remain a
//! development dependency; gate the tests that use it with
//! `#[cfg(target_os = "linux")]`.
//!
//! # Limits
//!
//! `vpcd` has the following limits: readers come in pairs and cannot be
//! unplugged, the daemon looks for cards every 400 ms, a command has 2 to 65,535
//! bytes (the single bytes 00, 01, 02 and 04 would be taken for power and reset),
//! and there are no PIN pads and no control codes except the one for the maximum
//! APDU size.
//!
//! With the kit's driver, the names of readers to be plugged in must be announced
//! to the builder ([`SandboxBuilder::hot_plug`]), because the daemon reads them
//! when it starts.
#![cfg(target_os = "linux")]

pub mod atr;
mod backend;
mod builder;
mod card;
mod card_handle;
mod daemon;
mod demo;
mod directory;
mod error;
pub mod fake;
mod ifd;
mod isolate;
mod model;
mod own_thread;
mod peer;
mod ports;
mod process;
mod program;
mod reader;
mod sandbox;
mod slot;
mod status;
mod sync;
mod usb_reader;
mod vpcd;

pub use builder::{Driver, SandboxBuilder};
pub use card::{Applet, Reply, VirtualCard};
pub use card_handle::{CardHandle, CardStats, Exchange};
pub use demo::{IsoCard, OpenPgpCard, PivCard};
pub use error::TestkitError;
pub use ifd::{ControlCall, IfdCall, IfdError};
pub use isolate::{isolated, isolated_with_peer};
pub use model::ReaderModel;
pub use own_thread::Requests;
pub use peer::{Link, Peer, Peers};
pub use reader::VirtualReader;
pub use sandbox::Sandbox;
pub use usb_reader::UsbReader;
