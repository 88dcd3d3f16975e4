//! The library as it is on Windows, over functions that answer as winscard is documented and
//! reported to.
//!
//! A package of its own, because the library is compiled for Windows here (`Cargo.toml` says how),
//! and a program of its own, because it defines winscard's functions (`winscard.rs`). What they do
//! is in `world.rs`. Wine's winscard, which is another one, is tested by `ci/windows`.
#![cfg(target_os = "linux")]

mod winscard;
mod world;

mod cards;
mod codes;
mod numbers;
mod readers;
mod service;
