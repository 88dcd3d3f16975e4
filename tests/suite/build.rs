//! The examples as programs, built from the sources as they are now.
//!
//! With `--test suite`, cargo builds no examples, and those of an earlier build may be out of date.
//! So the tests have cargo build them, which takes a moment if nothing changed.

use std::env::{self, consts::EXE_SUFFIX};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The executable of an example.
pub(crate) fn example(name: &str) -> PathBuf {
    let program = examples().join(format!("{name}{EXE_SUFFIX}"));
    assert!(program.is_file(), "there is no {}", program.display());
    program
}

/// The names of all built examples.
#[cfg(target_os = "linux")]
pub(crate) fn names() -> Vec<String> {
    let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let files = std::fs::read_dir(sources).unwrap();
    let files = files.map(|it| it.unwrap().path()).filter(|it| it.is_file());
    let names = files.map(|it| it.file_stem().unwrap().to_str().unwrap().to_owned());
    names
        .filter(|it| cfg!(feature = "async") || it != "async")
        .collect()
}

/// Builds all examples, once per process, and returns their directory.
pub(crate) fn examples() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        // This program is `target/debug/deps/suite-…`, or `target/TRIPLE/debug/deps/suite-…`.
        let this = env::current_exe().unwrap();
        let profile = this.ancestors().nth(2).expect("cargo's directories");
        // In the process of an isolated test: its parent has built them.
        if env::var_os("SCARD_TESTKIT_TEST").is_none() {
            build(profile);
        }
        profile.join("examples")
    })
}

/// Builds the examples with the profile, target and features of this program.
fn build(profile: &Path) {
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    // Set by `cargo test`; this program may have been started without it.
    let cargo = env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--package", "scard", "--examples"]);
    command.args([
        "--manifest-path",
        concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
    ]);
    if cfg!(feature = "async") {
        command.args(["--features", "async"]);
    }
    command.arg("--profile").arg(match name(profile).as_str() {
        "debug" => "dev".to_owned(),
        other => other.to_owned(),
    });
    let mut target = profile.parent().expect("cargo's directories");
    // A file that cargo writes at the top of its target directory.
    if !target.join(".rustc_info.json").exists() {
        command.arg("--target").arg(name(target));
        target = target.parent().expect("cargo's directories");
    }
    command.arg("--target-dir").arg(target);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}
