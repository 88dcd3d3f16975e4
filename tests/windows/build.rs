//! Compiles the sources as for Windows: see `Cargo.toml`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // The package has no such feature: there is no socket on Windows.
    println!("cargo::rustc-check-cfg=cfg(feature, values(\"socket\"))");
    println!("cargo::rustc-cfg=stand_in=\"windows\"");
}
