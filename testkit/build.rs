//! Compiles the kit's driver, `driver/ifd.rs`, into a library that the kit
//! contains and hands to its daemons.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

const SOURCE: &str = "driver/ifd.rs";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={SOURCE}");
    let library = Path::new(&variable("OUT_DIR")).join("ifd.so");
    if variable("CARGO_CFG_TARGET_OS") == "linux" {
        compile(&library);
    } else {
        // The crate is empty there.
        fs::write(&library, "").expect("a file in OUT_DIR");
    }
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|e| panic!("{name}, which cargo sets: {e}"))
}

/// For the host, whatever the target: the daemon that loads it is the host's.
fn compile(library: &Path) {
    let host = variable("HOST");
    let mut rustc = Command::new(variable("RUSTC"));
    rustc
        .args(["--crate-name", "scard_testkit_ifd", "--edition", "2024"])
        .args(["--crate-type", "cdylib", "--target", &host])
        .args(["-C", "panic=abort", "-C", "opt-level=2"])
        .args(["-C", "strip=symbols", "-o"])
        .arg(library)
        .arg(SOURCE);
    if host.contains("musl") {
        rustc.args(["-C", "target-feature=-crt-static"]);
    }
    let output = rustc
        .output()
        .unwrap_or_else(|e| panic!("{rustc:?} could not be started: {e}"));
    assert!(
        output.status.success(),
        "the test kit's driver, {SOURCE}, could not be compiled for {host} ({}):\n{rustc:?}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr),
    );
}
