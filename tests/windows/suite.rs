//! The library as compiled for Windows, over functions that behave as winscard is documented and
//! reported to.
//!
//! A separate package, because it compiles the library for Windows (`Cargo.toml` says how), and a
//! separate program, because it defines winscard's functions (`winscard.rs`). Their behaviour is in
//! `world.rs`. `ci/windows` tests over Wine's winscard.
#![cfg(target_os = "linux")]

mod winscard;
mod world;

mod cards;
mod codes;
mod numbers;
mod readers;
mod service;
