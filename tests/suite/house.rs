//! The rooms of `src` and their order: `CONTRIBUTING.md` lists them from the ground up, and each
//! imports only rooms above it in the list. Also checks what is written in two places.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The rooms in the table under "Where things are", from the ground up.
fn rooms() -> Vec<String> {
    let text = fs::read_to_string(root().join("CONTRIBUTING.md")).unwrap();
    let table = text.split("## Where things are").nth(1).unwrap();
    let table = table.split("\n## ").next().unwrap();
    let rows = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `src/"));
    let cells = rows.map(|row| row.split(" |").next().unwrap());
    cells
        .flat_map(|cell| cell.split(", "))
        .map(|path| path.trim_matches(['`', '/']).replace("src/", ""))
        .map(|path| path.trim_end_matches(".rs").to_owned())
        .collect()
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, found),
            false if path.extension().is_some_and(|it| it == "rs") => found.push(path),
            false => {}
        }
    }
}

/// The code of a file, without comments and the tests at its end.
fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let text = text.split("\nmod tests {").next().unwrap();
    let lines = text.lines();
    let lines = lines.filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The first names behind `crate::`, also in lists.
fn imported(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let list = match rest.strip_prefix('{') {
            Some(list) => list.split(';').next().unwrap(),
            None => rest,
        };
        let mut depth = 0;
        let parts = list.split(|character| {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            character == ',' && depth == 0
        });
        let parts = if list.len() < rest.len() {
            parts.collect()
        } else {
            vec![rest]
        };
        for part in parts {
            let name = part
                .trim()
                .split(|it: char| !it.is_alphanumeric() && it != '_');
            names.extend(name.take(1).filter(|it| !it.is_empty()).map(str::to_owned));
        }
    }
    names
}

#[test]
fn rooms_know_only_those_below() {
    let rooms = rooms();
    assert!(rooms.len() > 15, "{rooms:?}");
    let source = root().join("src");
    let mut found = Vec::new();
    files(&source, &mut found);
    let (mut seen, mut wrong) = (BTreeSet::new(), Vec::new());
    for file in &found {
        let path = file.strip_prefix(&source).unwrap();
        let room = path.iter().next().unwrap().to_str().unwrap();
        let room = room.trim_end_matches(".rs");
        let is_test = path.iter().any(|it| it == "tests" || it == "tests.rs");
        if room == "lib" || is_test {
            continue;
        }
        seen.insert(room.to_owned());
        let Some(floor) = rooms.iter().position(|it| it == room) else {
            wrong.push(format!("{room} is not in the table"));
            continue;
        };
        for name in imported(&code(file)) {
            let below = rooms.iter().position(|it| *it == name);
            if name != room && below.is_none_or(|below| below > floor) {
                wrong.push(format!("{}: crate::{name}", path.display()));
            }
        }
    }
    for room in &rooms {
        if !seen.contains(room) {
            wrong.push(format!("there is no {room}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn imports_are_found() {
    let found = imported("use crate::{a, b::{c, d}, e::f};\nlet x = crate::g::h(crate::i);");
    assert_eq!(found.into_iter().collect::<String>(), "abegi");
}

/// Here and where GitHub runs it.
#[test]
fn the_oldest_rust_checks_the_same_packages_everywhere() {
    let checked = |file: &str| -> BTreeSet<String> {
        let text = fs::read_to_string(root().join(file)).unwrap();
        let checks = text.lines().filter(|line| line.contains(" check "));
        let packages = checks.filter_map(|line| line.split_once("--locked -p "));
        packages.map(|(_, package)| package.to_owned()).collect()
    };
    let here = checked("ci/targets");
    assert!(here.len() > 3, "{here:?}");
    assert_eq!(checked(".github/workflows/ci.yml"), here);
}
