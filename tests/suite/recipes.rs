//! Checks of all examples and recipes, in the documentation and in `examples/`.

use std::fs;
use std::path::{Path, PathBuf};

/// Everything that a reader may copy: doc comments, guides, README and examples.
fn texts() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["src", "examples", "testkit/src", "card-backend-scard/src"];
    let mut folders: Vec<PathBuf> = folders.iter().map(|it| root.join(it)).collect();
    let readmes = [
        "README.md",
        "testkit/README.md",
        "card-backend-scard/README.md",
    ];
    let mut found: Vec<PathBuf> = readmes.iter().map(|it| root.join(it)).collect();
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

/// The lines of a file that are documentation or, of examples, code.
fn shown(path: &Path) -> Vec<(usize, String)> {
    let text = fs::read_to_string(path).unwrap();
    let all =
        path.extension().is_some_and(|it| it == "md") || path.iter().any(|it| it == "examples");
    let line = |(number, line): (usize, &str)| {
        let documented = line.trim_start().strip_prefix("//");
        let documented = documented.and_then(|it| it.strip_prefix(['/', '!']));
        let shown = documented.map(|it| it.strip_prefix(' ').unwrap_or(it));
        Some((number, shown.or(all.then_some(line))?.to_owned()))
    };
    (1..).zip(text.lines()).filter_map(line).collect()
}

#[test]
fn no_example_drops_an_answer() {
    let mut wrong = Vec::new();
    for path in texts() {
        for (number, line) in shown(&path) {
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

/// Longer lines scroll sideways on a page of the documentation that is 1,200 pixels wide.
#[test]
fn no_code_is_wider_than_its_page() {
    const COLUMNS: usize = 90;
    let mut wrong = Vec::new();
    for path in texts() {
        if path.iter().any(|it| it == "examples") {
            continue;
        }
        let mut is_code = false;
        for (number, line) in shown(&path) {
            if line.trim_start().starts_with("```") {
                is_code = !is_code;
            } else if is_code && !line.starts_with("# ") && line.chars().count() > COLUMNS {
                wrong.push(format!("{}:{number}: {line}", path.display()));
            }
        }
        assert!(!is_code, "{}", path.display());
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
