//! Has the sources compiled as they are for Windows: see `Cargo.toml`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cfg=stand_in=\"windows\"");
}
