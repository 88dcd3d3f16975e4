//! How long it takes to build the library and the `pcsc` crate, with their dependencies.

use std::collections::BTreeSet;
use std::env;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use scard_testkit::Driver;

use super::measure::{median, ratio, shown};
use super::{Answer, Effort};

/// The packages to build, and their features.
const BUILDS: [(&str, &str, &[&str]); 3] = [
    ("`pcsc`", "pcsc", &[]),
    ("`scard`", "scard", &[]),
    (
        "`scard`, only feature `socket`",
        "scard",
        &["--no-default-features", "--features", "socket"],
    ),
];

pub(super) fn run(_: Driver, effort: Effort) -> Answer {
    let mut times: [Vec<Duration>; 3] = Default::default();
    for _ in 0..effort.rounds(3) {
        for ((_, package, features), times) in BUILDS.iter().zip(&mut times) {
            times.push(clean_build(package, features)?);
        }
    }
    let mut base = None;
    for ((name, package, features), times) in BUILDS.iter().zip(&mut times) {
        let time = median(times);
        let base = *base.get_or_insert(time);
        let (crates, ratio) = (crates(package, features)?, ratio(time, Some(base)));
        println!("| {name} | {crates} | {} | {ratio} |", shown(time));
    }
    Ok(())
}

fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo
}

/// The number of crates in the build, including the package itself.
fn crates(package: &str, features: &[&str]) -> Answer<usize> {
    let tree = cargo()
        .args(["tree", "--locked", "--package", package])
        .args(features)
        .args(["--edges", "normal,build", "--prefix", "none"])
        .args(["--format", "{p}"])
        .stderr(Stdio::inherit())
        .output()?;
    if !tree.status.success() {
        return Err(format!("cargo tree: {}", tree.status).into());
    }
    let lines = String::from_utf8(tree.stdout)?;
    // Repeated crates are marked.
    let crates: BTreeSet<_> = lines
        .lines()
        .map(|line| line.trim_end_matches(" (*)"))
        .collect();
    Ok(crates.len())
}

fn clean_build(package: &str, features: &[&str]) -> Answer<Duration> {
    let target = tempfile::tempdir()?;
    let begun = Instant::now();
    let build = cargo()
        .args(["build", "--locked", "--package", package])
        .args(features)
        .arg("--target-dir")
        .arg(target.path())
        .stderr(Stdio::null())
        .status()?;
    let time = begun.elapsed();
    match build.success() {
        true => Ok(time),
        false => Err(format!("cargo build --package {package}: {build}").into()),
    }
}
