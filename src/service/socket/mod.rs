//! The socket of pcsc-lite's daemon, spoken to in its own protocol: no C, and no client library.
//!
//! A context is a connection, and so is a card; nothing is shared between them. The daemon answers
//! one request after the other. What it does not say, the client knows: the logic of
//! `SCardGetStatusChange`, the name of a handle's reader, and that a call waits for the transactions
//! of others, is its own.
//!
//! What is waited for can be given up at any time. The answer may still come, and would be taken for
//! that to the next request: so none is sent until it has.
#![forbid(unsafe_code)]

mod bell;
mod calls;
mod client;
mod handshake;
mod readers;
mod stream;
mod waiting;
mod wire;

pub(crate) use bell::Bell;
pub(crate) use client::Client;
pub(crate) use stream::Limit;
#[cfg(fuzzing)]
pub use wire::read_answers;
