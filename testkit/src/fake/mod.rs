//! A fake service, for answers that no real `pcscd` returns.
//!
//! A [`Service`] takes the place of the daemon and speaks its protocol to the
//! system's PC/SC client library. By default it has one reader with a card that
//! answers each command with the command itself and 9000. A
//! [script](Service::script) replaces its answers: with wrong codes and lengths,
//! existing handles, answers that are truncated, late or endless.
//!
//! ```no_run
//! use std::time::Duration;
//! use scard_testkit::fake::{Answer, Gate, Message, Service};
//! use scard_testkit::isolated;
//!
//! #[test]
//! # fn hidden() {}
//! fn a_command_that_is_not_answered() {
//!     isolated(|| {
//!         let service = Service::start().unwrap();
//!         let gate = Gate::new();
//!         service.script({
//!             let gate = gate.clone();
//!             move |request| match request.message {
//!                 // The second command stops after 3 bytes of its answer,
//!                 Message::Transmit if request.number == 1 => {
//!                     Answer::normal().stall_after(3, &gate)
//!                 }
//!                 // others that begin with BA claim more than they send,
//!                 Message::Transmit if request.data.starts_with(&[0xBA]) => {
//!                     Answer::normal().length(u32::MAX)
//!                 }
//!                 // and a transaction fails with SCARD_E_READER_UNAVAILABLE.
//!                 Message::Begin => Answer::code(0x8010_0017),
//!                 _ => Answer::normal(),
//!             }
//!         });
//!         // The application under test connects and sends commands. Then:
//!         gate.wait_for(1, Duration::from_secs(5)).unwrap();
//!         // It hangs in its second command. What does its user see?
//!         gate.open();
//!         assert_eq!(service.count(Message::Establish), 1);
//!     });
//! }
//! # a_command_that_is_not_answered();
//! ```
//!
//! It knows no rules beyond the form of messages: transactions and exclusive
//! access keep nobody out, a reset resets nothing, and all handles are equivalent.
//! To see what a real service does, use a [`Sandbox`](crate::Sandbox).
//!
//! It speaks versions 4:4 to 4:6 of the protocol, as requested by the client:
//! those of the client libraries 1.8.24 to 2.5.

mod answer;
mod client;
mod gate;
mod message;
mod reader;
mod service;

pub use answer::Answer;
pub use gate::Gate;
pub use message::{Message, Request};
pub use reader::Reader;
pub use service::Service;
