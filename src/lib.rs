//! Smart cards over PC/SC: a safe, typed API with exact reconnect semantics and errors that
//! say what to do.
//!
//! `scard` talks to the platform's smart-card service: winscard on Windows, pcsc-lite on Linux and
//! BSD, PCSC.framework on macOS. With the feature `socket` it can talk to pcsc-lite's daemon
//! directly, without a C library: [which to use](#features-library-and-socket).
//!
//! ```no_run
//! use std::time::Duration;
//! use scard::{CardFilter, ConnectOptions, Context, Disposition};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let context = Context::lazy();
//!     let half_a_minute = Some(Duration::from_secs(30));
//!     let found = context.wait_for_card(&CardFilter::new(), half_a_minute)?;
//!
//!     let mut card = context.connect(found.reader_name(), ConnectOptions::new())?;
//!     let select = b"\x00\xA4\x04\x00\x07\xA0\x00\x00\x02\x47\x10\x01";
//!     let answer = card.transmit(select)?;
//!     println!("{:02X?}", answer);
//!
//!     card.disconnect(Disposition::Leave)?;
//!     Ok(())
//! }
//! ```
//!
//! New to smart cards? [PC/SC in ten minutes](guide::pcsc). In a hurry? The
//! [cookbook](guide::cookbook). Coming from [the `pcsc` crate](guide::from_pcsc_crate), from
//! [pyscard](guide::from_pyscard), from [Java or .NET](guide::from_others)? See also what
//! [reconnect](guide::reconnect) really does and [how connections end](guide::endings). Before
//! you ship: [deployment](guide::deployment), from polkit to Flatpak.
//!
//! # The parts
//!
//! - [`Context`]: the service. Lists readers and connects to cards. [`Context::lazy`] works before
//!   the service has started.
//! - [`Card`]: a connected card. [`transmit`](Card::transmit) sends commands,
//!   [`reconnect`](Card::reconnect) acknowledges other programs' resets or resets the card.
//! - [`Transaction`]: keeps other programs away from the card during a series of commands.
//! - [`apdu`]: commands, answers and status words of ISO 7816-4. [`exchange`](Card::exchange)
//!   sends a [`Command`] and fetches the whole answer.
//! - [`Transmit`]: the interface that cards share with transactions, session cards and
//!   [`LogicalChannel`]s. Write an application over it, and test it with a mock. [`Control`] is the
//!   same for readers.
//! - [`Session`]: work that continues after resets, removals and restarts, and never sends a
//!   command twice.
//! - [`Monitor`]: reports when readers and cards come and go;
//!   [`Context::wait_for_card`] waits for a card.
//! - [`Reader`]: direct access to a reader, with or without a card.
//! - [`features`]: a reader's features, and PINs entered at its PIN pad.
//! - [`attributes`]: typed attributes of readers and cards.
//! - [`contactless`]: UIDs, and the keys and blocks of contactless storage cards.
//! - [`Error`]: which call failed, on which reader, the exact [`ReturnCode`], what it means and
//!   what helps. [How to print](Error#errors-that-wrap-this-one) the errors that contain it, and
//!   [how to find it](Error::find) behind `anyhow::Error`.
//! - [`Card::set_timeout`], [`Card::within`], [`ContextOptions::timeout`], [`AbortHandle`]:
//!   time-outs, and stopping calls from another thread.
#![cfg_attr(
    feature = "async",
    doc = "- [`AsyncContext`], [`AsyncCard`], [`AsyncTransaction`], [`AsyncReader`],"
)]
#![cfg_attr(
    feature = "async",
    doc = "  [`AsyncTransmit`], [`AsyncSession`], [`EventStream`]: the same as futures, for any executor."
)]
#![cfg_attr(
    not(feature = "async"),
    doc = "- With the feature `async`: the same as futures, for any executor."
)]
//! - With the feature `serde`: [values that programs log and store](#feature-serde).
//! - [`atr`]: what a card's answer to reset says.
//! - [`codes`]: return codes of PC/SC and of the layers built on it.
//! - [`trace`]: what is reported to `tracing`.
//!
//! # Guarantees
//!
//! - Every return value reaches the caller as the exact code, known or not.
//! - No call panics, whatever the service, the driver or the card answers.
//! - One card never waits for another: each has a PC/SC context of its own.
//! - The bodies of commands that carry secrets are never shown, and are overwritten after use.
//! - Dropping a card does not reset it, unless [the program asks for
//!   that](ConnectOptions::disposition_on_drop), and so does not wait for other programs.
//!
//! # Features `library` and `socket`
//!
//! There are two ways to reach the service:
//!
//! - `library`, the default, calls the system's PC/SC library: winscard, PCSC.framework, or
//!   pcsc-lite's client library. On Linux and BSD the build needs `libpcsclite` and `pkg-config`.
//! - `socket` speaks the protocol of pcsc-lite's daemon on Linux and BSD, and does nothing
//!   elsewhere. `ContextOptions::socket` and `ContextOptions::socket_path` choose it for a context
//!   and everything opened through it. With `default-features = false, features = ["socket"]` every
//!   context uses it: no C library is linked, and `rustix` is the only added dependency.
//!
//! Use `socket`
//!
//! - for programs that are linked statically or cross-compiled, or that run in a container or a
//!   Flatpak, whichever pcsc-lite the host has;
//! - for several daemons at once, or a reader on another computer;
//! - where time or threads matter: calls with a limit need no second thread, the futures of all
//!   cards share one, and a transaction that another program ends is taken over within about 20 ms
//!   instead of 200.
//!
//! Keep `library` everywhere else: it is what the distribution maintains. It is the only way on
//! Windows and macOS, with older daemons, and where something replaces pcsc-lite's library, as
//! `pcsc-spy` and remote-desktop clients do.
//!
//! `socket` speaks versions 4:4, 4:5 and 4:6 of the protocol: those of pcsc-lite 1.8.24 (2018) and
//! newer, and of each daemon that accepts one of these. With any other daemon, all calls fail with
//! [`ErrorKind::Unsupported`], and the error names its version and these. Version 4:3, of pcsc-lite
//! 1.8.9 to 1.8.23, is not supported: it waits for events in another way.
//!
//! # Feature `serde`
//!
//! Stored as their `Display` text, and read back: [`Atr`] (`3B 80 80 01 01`), [`Protocol`],
//! [`Protocols`] (`T=0 or T=1`), [`ShareMode`], [`Disposition`], [`Initialization`], [`Scope`],
//! [`Usage`], [`CardState`] and [`ReaderFlags`] (`present, in-use`), [`Attribute`]
//! (`SCARD_ATTR_VENDOR_NAME`) and [`ControlCode`]. A [`ReaderName`] is its text, or its bytes if it
//! is not UTF-8.
//!
//! Stored in a shorter form than their `Display` text, and read back: [`StatusWord`] (`6A82`), and
//! [`ReturnCode`] with the other [`codes`] (`SCARD_W_RESET_CARD, 0x80100068`). [`CardStatus`] and
//! [`ReaderState`] are structs of these.
//!
//! Only stored: [`Error`] with call, code, reader, kind, recovery, text and what was
//! [seen](SeenReader), and [`Event`] and [`SessionEvent`] with their [name](Event::name) and
//! fields:
//!
//! ```json
//! {"event": "card-inserted", "reader_name": "ACS ACR122U 00 00", "atr": "3B 80 80 01 01"}
//! ```
//!
//! They are not read back: an error comes only from a failed call, or from a program that makes
//! one itself.
//!
//! # Processes
//!
//! Cards and readers belong to the process that opened them. In a child created with C's `fork`,
//! their calls fail with [`ErrorKind::Abandoned`], and dropping them does nothing. A [`Context`]
//! and a [`Session`] can be used there: they connect anew. A [`Monitor`] is stopped. A separate
//! page describes [what happens to the card](guide::endings) when one of these processes ends.
//!
//! A process may fork and exit at any time, even while other threads are in a call: a child never
//! waits for a thread that exists only in its parent, and an [`AbortHandle`] used in the child
//! stops nothing in the parent. With pcsc-lite's library:
//!
//! - A fork takes 2 ms longer while another thread is in a call that may wait (a [`Monitor`] always
//!   is), and up to 250 ms longer while a thread waits for a service that hangs, or for a driver
//!   that is slow to end a connection. The first call in such a child finds out whether pcsc-lite's
//!   library can be used there, which can take a second. If it cannot, all calls in the child fail
//!   with `SCARD_E_SYSTEM_CANCELLED` and [`Origin::Library`].
//! - Exiting takes a moment longer while another thread is in a call that may wait (well below a
//!   millisecond while the process's other threads sleep, and a few while they compute; 20 ms except
//!   on Linux), and up to a second longer while a thread waits for a service that hangs, or for a
//!   driver that is slow to end a connection. Calls that other threads begin once C's `exit` runs
//!   its handlers fail with `SCARD_E_SYSTEM_CANCELLED` and [`Origin::Library`]; the exiting thread
//!   can still make calls.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(any(
    feature = "library",
    all(feature = "socket", unix, not(target_vendor = "apple"))
)))]
compile_error!(
    "scard cannot reach the smart-card service: enable its feature `library`, or, on Linux and \
     BSD, `socket`"
);

pub mod apdu;
pub mod atr;
pub mod attributes;
mod card;
mod channel;
pub mod codes;
mod connection;
pub mod contactless;
mod context;
mod error;
mod exchange;
pub mod features;
pub mod guide;
mod limits;
mod look;
mod monitor;
#[cfg(not(all(test, model)))]
mod service;
#[cfg(all(test, model))]
#[path = "../tests/models/service.rs"]
mod service;
mod session;
mod sync;
pub mod trace;
mod values;

pub use apdu::{Command, Response, StatusWord};
pub use atr::{AtrProblem, AtrReading, CardCapabilities};
#[cfg(feature = "async")]
pub use card::{AsyncCard, AsyncReader, AsyncTransaction};
pub use card::{Card, ConnectOptions, Reader, Transaction};
pub use codes::{Platform, ReturnCode, Severity};
#[cfg(feature = "async")]
pub use context::AsyncContext;
pub use context::{Context, ContextOptions, FindReaderError, ReaderSelector};
pub use error::{
    BoxError, CardCondition, Error, ErrorKind, HandleError, Operation, Origin, Recovery, Result,
    Seen, SeenReader,
};
#[cfg(feature = "async")]
pub use exchange::{AsyncContactless, AsyncControl, AsyncLogicalChannel, AsyncTransmit};
pub use exchange::{Contactless, Control, LogicalChannel, Transmit};
pub use limits::AbortHandle;
#[cfg(feature = "async")]
pub use monitor::EventStream;
pub use monitor::{CardFilter, Event, Monitor, MonitorOptions, Usage};
#[cfg(feature = "async")]
pub use session::{AsyncSession, AsyncSessionGuard};
pub use session::{
    LoginWithheld, NotThisCard, Session, SessionBuilder, SessionCard, SessionError, SessionEvent,
    SessionGuard, SessionHook, SetUpWhen,
};
pub use values::{
    Atr, Attribute, CardState, CardStatus, ControlCode, Disposition, Initialization, InvalidAtr,
    InvalidHex, InvalidReaderName, ParseAtrError, ParseValueError, Protocol, Protocols,
    ReaderFlags, ReaderName, ReaderNameParts, ReaderState, Scope, ShareMode,
};

#[cfg(test)]
mod tests;

/// Private functions that the fuzz targets call.
#[cfg(fuzzing)]
#[doc(hidden)]
#[allow(missing_docs)]
pub mod fuzzing {
    pub fn split_multi_string(bytes: &[u8]) -> Vec<crate::values::ReaderName> {
        crate::values::split_multi_string(bytes)
    }

    #[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
    pub use crate::service::read_answers;
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
