//! Smart cards over PC/SC: a safe, typed API with exact reconnect semantics and errors that
//! say what to do.
//!
//! `scard` talks to the smart-card service of the platform: winscard on Windows, pcsc-lite
//! on Linux and BSD, PCSC.framework on macOS. With the feature `socket` it can talk to pcsc-lite's
//! daemon itself, without any C library: [which to use](#features-library-and-socket).
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
//! [pyscard](guide::from_pyscard), from [Java or .NET](guide::from_others)? And what
//! [reconnect](guide::reconnect) really does, and [how connections end](guide::endings).
//!
//! # The parts
//!
//! - [`Context`]: the service. Lists readers, connects to cards. [`Context::lazy`] begins before
//!   the service is there.
//! - [`Card`]: a connected card. [`transmit`](Card::transmit) sends commands,
//!   [`reconnect`](Card::reconnect) acknowledges other programs' resets or resets the card.
//! - [`Transaction`]: keeps others away from the card while commands belong together.
//! - [`apdu`]: commands, answers and status words of ISO 7816-4. [`exchange`](Card::exchange)
//!   sends a [`Command`] and fetches the whole answer.
//! - [`Transmit`]: what all cards have, in a transaction, a session or a [`LogicalChannel`] too.
//!   Write code for an application over it, and test it with a mock. [`Control`] is the same for
//!   readers.
//! - [`Session`]: work that goes on after resets, removals and restarts, and never sends a
//!   command twice.
//! - [`Monitor`]: tells when readers and cards come and go;
//!   [`Context::wait_for_card`] waits for one.
//! - [`Reader`]: direct access to a reader, with or without a card.
//! - [`features`]: what a reader can do, and PINs that are entered at its PIN pad.
//! - [`attributes`]: attributes of readers and cards, with types.
//! - [`contactless`]: UIDs, and the keys and blocks of contactless storage cards.
//! - [`Error`]: which call failed, on which reader, the exact [`ReturnCode`], what it means and
//!   what helps. [How to print](Error#errors-around-this-one) the errors that contain it, and
//!   [how to find it](Error::find) behind `anyhow::Error`.
//! - [`Card::set_timeout`], [`Card::within`], [`ContextOptions::timeout`], [`AbortHandle`]:
//!   limits of time, and stopping from another thread.
#![cfg_attr(
    feature = "async",
    doc = "- [`AsyncContext`], [`AsyncCard`], [`AsyncTransaction`], [`AsyncReader`],"
)]
#![cfg_attr(
    feature = "async",
    doc = "  [`AsyncTransmit`], [`AsyncSession`], [`EventStream`]: the same as futures, for every executor."
)]
#![cfg_attr(
    not(feature = "async"),
    doc = "- With the feature `async`: the same as futures, for every executor."
)]
//! - With the feature `serde`: [values that programs log and store](#feature-serde).
//! - [`atr`]: what the answer to reset of a card says.
//! - [`codes`]: return codes of PC/SC and of what is built on it.
//! - [`trace`]: what is reported to `tracing`.
//!
//! # Guarantees
//!
//! - Every return value reaches the caller as the exact code, known or not.
//! - No call panics, whatever the service, the driver or the card answers.
//! - One card never waits for another: each has a PC/SC context of its own.
//! - Bodies of commands that carry secrets are shown nowhere, and overwritten after use.
//! - Dropping resets no card, unless [the program chose so](ConnectOptions::disposition_on_drop),
//!   and so waits for no other program.
//!
//! # Features `library` and `socket`
//!
//! There are two ways to the service:
//!
//! - `library`, the default, calls the PC/SC library of the system: winscard, PCSC.framework, or
//!   the client library of pcsc-lite. On Linux and BSD the build needs `libpcsclite` and
//!   `pkg-config`.
//! - `socket` speaks the protocol of pcsc-lite's daemon, on Linux and BSD, and does nothing
//!   elsewhere. `ContextOptions::socket` and `ContextOptions::socket_path` choose it for a context
//!   and all that comes from it. With `default-features = false` every context uses it: nothing
//!   of C is linked, and `rustix` is the one dependency that is added.
//!
//! Use `socket`
//!
//! - for programs that are linked statically, that are cross-compiled, or that run in a container or
//!   a Flatpak, whichever pcsc-lite the host has;
//! - for several daemons at once, or a reader at another computer;
//! - where time counts: a card's call with a limit needs no second thread, and a transaction that
//!   others let go of is taken over within some 20 ms instead of 200. (Futures, and calls of a
//!   [`Context`] with a limit, take a thread over both.)
//!
//! Keep `library` everywhere else: it is what the distribution maintains. It is the only way on
//! Windows and macOS; for programs that something has to listen to or to answer instead of the daemon
//! by replacing pcsc-lite's library, as `pcsc-spy` and clients of remote desktops do; and for old
//! daemons.
//!
//! `socket` speaks versions 4:4, 4:5 and 4:6 of the protocol: those of pcsc-lite 1.8.24 (of 2018) and
//! newer, and of each daemon that accepts one of these. With any other daemon, all calls fail with
//! [`ErrorKind::Unsupported`], and the error names its version and these. 4:3, of pcsc-lite 1.8.9 to
//! 1.8.23, is none of them: a wait for events is another one there.
//!
//! # Feature `serde`
//!
//! Stored as the text that they display, and read back: [`Atr`] (`3B 80 80 01 01`), [`Protocol`],
//! [`Protocols`] (`T=0 or T=1`), [`ShareMode`], [`Disposition`], [`Initialization`], [`Scope`],
//! [`Usage`], [`CardState`] and [`ReaderFlags`] (`present, in-use`), [`Attribute`]
//! (`SCARD_ATTR_VENDOR_NAME`) and [`ControlCode`]. A [`ReaderName`] is its text, or its bytes if it
//! is not UTF-8.
//!
//! Shorter than what they display, and read back, too: [`StatusWord`] (`6A82`), and [`ReturnCode`]
//! with the other [`codes`] (`SCARD_W_RESET_CARD, 0x80100068`). [`CardStatus`] and [`ReaderState`]
//! are structs of these.
//!
//! Only stored: [`Error`] with call, code, reader, kind, recovery, text and what was
//! [seen](SeenReader), and [`Event`] and [`SessionEvent`] with their [name](Event::name) and what
//! they have:
//!
//! ```json
//! {"event": "card-inserted", "reader_name": "ACS ACR122U 00 00", "atr": "3B 80 80 01 01"}
//! ```
//!
//! They are not read back, because no error is made by anything but a call that failed, and those that a program makes itself.
//!
//! # Processes
//!
//! Cards and readers belong to the process that opened them. In a forked child their calls fail
//! with [`ErrorKind::Abandoned`], and dropping them does nothing. A [`Context`] and a [`Session`]
//! can be used there: they connect anew. A [`Monitor`] is stopped. Children are those of C's `fork`. [What becomes of the card](guide::endings) when one of
//! these processes ends has a page of its own.
//!
//! A process may fork and end at any time, also while other threads are in a call: a child never
//! waits for a thread that only its parent has, and an [`AbortHandle`] that is used in it stops
//! nothing of its parent. With the library of pcsc-lite:
//!
//! - A fork takes 2 ms more while another thread is in a call that may wait (a [`Monitor`] always
//!   is), and up to 250 ms more while one waits for a service that hangs, or for a driver that
//!   takes its time when a connection ends. The first call of such a child finds out whether
//!   pcsc-lite's library can be used there, which can take a second. If it cannot, all calls of
//!   the child fail with `SCARD_E_SYSTEM_CANCELLED` and [`Origin::Library`].
//! - The end of the process takes 20 ms more while another thread is in a call that may wait, and
//!   up to a second more while one waits for a service that hangs, or for a driver that takes its
//!   time when a connection ends. Calls that others begin once C's `exit` has come to its handlers
//!   fail with `SCARD_E_SYSTEM_CANCELLED` and [`Origin::Library`]; the thread that ends the process can go on.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(any(
    feature = "library",
    all(feature = "socket", unix, not(target_vendor = "apple"))
)))]
compile_error!(
    "scard needs a way to the smart-card service: enable its feature `library`, or, on Linux and \
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

/// What the fuzz targets need beside the public items.
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
