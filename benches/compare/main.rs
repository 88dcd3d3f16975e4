//! What this library costs, beside raw C calls and beside the `pcsc` crate: tables of ratios,
//! all sides measured in one run.
//!
//! ```sh
//! cargo bench --all-features --bench compare                       # everything
//! cargo bench --all-features --bench compare -- commands events    # these tables alone
//! cargo bench --all-features --bench compare -- instructions --check
//! ```
//!
//! The sides take turns, many times, so that what else the machine does hits all alike; what
//! is compared are medians. Each table says how far apart the same code measured twice is.
//! Everything runs against a real `pcscd` with virtual readers: those of `vpcd`, and those of
//! the test kit's own driver.
#![allow(unsafe_code)]

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("not measured: virtual readers need Linux");
}
