//! Speaks the protocol of pcsc-lite's daemon over its socket, without C code or the client library.
//!
//! Each context, with its cards, has its own connection; contexts share nothing. The daemon answers
//! requests in order. The rest is up to the client: the logic of `SCardGetStatusChange`, the reader
//! name of a handle, and waiting for transactions of other clients.
//!
//! A request can be given up at any time. Its answer may still arrive, and would be mistaken for
//! the answer to the next request, so no other request is sent before that.
#![forbid(unsafe_code)]

mod bell;
mod calls;
mod client;
mod handshake;
mod readers;
#[cfg_attr(not(feature = "async"), allow(dead_code))]
mod ready;
mod stream;
mod waiting;
mod wire;

pub(crate) use bell::Bell;
pub(crate) use client::Client;
#[cfg(feature = "async")]
pub(crate) use ready::{Task, Wanted, Watched, wait_for_any};
pub(crate) use stream::Limit;
#[cfg(fuzzing)]
pub use wire::read_answers;
