//! What this library costs compared with raw C calls and with the `pcsc` crate: tables of ratios,
//! with all sides measured in one run.
//!
//! ```sh
//! cargo bench --all-features --bench compare                       # everything
//! cargo bench --all-features --bench compare -- commands events    # only these tables
//! cargo bench --all-features --bench compare -- instructions --check
//! ```
//!
//! The sides take turns many times, so that other work on the machine affects all alike; the tables
//! compare medians. Each table shows how far apart two measurements of the same code are.
//! Everything runs against a real `pcscd` with virtual readers: those of `vpcd`, and those of the
//! test kit's own driver.
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
