//! The library with a real service, and its pure parts through the public API.
//!
//! A single program, because each takes seconds to link. `cargo test --test suite monitor::` runs
//! one module: no module's name ends with another's name.
//!
//! The tests outside this directory must be separate programs; each says why in its first lines.

#[cfg(target_os = "linux")]
#[path = "../support/mod.rs"]
mod support;
#[cfg(not(target_os = "linux"))]
#[path = "../support/elsewhere.rs"]
mod support;

mod access;
mod apdu;
mod attributes;
mod before_the_service;
mod beside;
mod build;
mod card_async;
mod codes;
mod connection;
mod contactless;
mod context;
mod conventions;
mod deadline;
mod direct;
mod endings;
mod examples;
mod exchange;
mod explain;
mod features;
mod find_reader;
mod flat;
mod forward;
mod given_up;
mod hot_plug;
mod house;
mod kept;
mod look;
mod mock;
mod monitor;
mod monitor_async;
mod mute;
mod names;
mod no_service;
#[cfg(feature = "pcsc-2")]
mod pcsc_crate;
mod pins;
mod recipes;
mod reconnect;
mod session;
mod session_async;
mod side_by_side;
mod slots;
mod socket;
mod socket_async;
mod threads;
mod trace;
mod transaction;
mod transmit;
mod windows;
