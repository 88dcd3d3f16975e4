//! Checks of all examples and recipes, in the documentation and in `examples/`.

use std::fs;
use std::path::{Path, PathBuf};

/// Everything that a reader may copy: doc comments, guides, README and examples.
fn texts() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src"), root.join("examples")];
    let mut found = vec![root.join("README.md")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.extension().and_then(|it| it.to_str()) {
                _ if path.is_dir() => folders.push(path),
                Some("rs" | "md") => found.push(path),
                _ => {}
            }
        }
    }
    found
}

/// Whether the statement sends a command and drops the answer, with the status word in it.
fn drops_an_answer(line: &str) -> bool {
    let sends = line.contains(".transmit(") || line.contains(".exchange(");
    let is_statement = ["?;", ".await;", ".unwrap();"]
        .iter()
        .any(|end| line.ends_with(end));
    let is_used = ["=", "println!", "Ok(", "ok()?"]
        .iter()
        .any(|use_| line.contains(use_));
    sends
        && (line.contains("?.map(drop)")
            || line.contains(").map(drop)") && !line.contains("ok()")
            || is_statement && !is_used)
}

#[test]
fn no_example_drops_an_answer() {
    let mut wrong = Vec::new();
    for path in texts() {
        let text = fs::read_to_string(&path).unwrap();
        let all =
            path.extension().is_some_and(|it| it == "md") || path.iter().any(|it| it == "examples");
        for (line, number) in text.lines().zip(1..) {
            let line = line.trim_start();
            let documented = line
                .strip_prefix("///")
                .or_else(|| line.strip_prefix("//!"));
            let Some(line) = documented.or(all.then_some(line)) else {
                continue;
            };
            if drops_an_answer(line.trim()) {
                wrong.push(format!("{}:{number}: {line}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn dropped_answers_are_found() {
    for dropped in [
        r#"card.transmit(b"\x00\xA4\x04\x00")?;"#,
        "card.transmit(SELECT).await?;",
        ".setup(|card| card.transmit(SELECT).map(drop))",
        "card.exchange(&select)?;",
    ] {
        assert!(drops_an_answer(dropped), "{dropped}");
    }
    for used in [
        "let answer = card.transmit(SELECT)?;",
        "card.exchange(&select)?.ok()?;",
        "Ok(card.exchange(&select)?.ok().map(drop)?)",
    ] {
        assert!(!drops_an_answer(used), "{used}");
    }
}
