//! The README's example is the one of the documentation, which is compiled.
#![cfg(target_os = "linux")]

#[test]
fn the_readme_has_the_example_of_the_documentation() {
    let readme = include_str!("../README.md");
    let example = readme
        .split_once("```rust\n")
        .and_then(|(_, rest)| rest.split_once("```"))
        .map(|(example, _)| example);
    let docs: String = include_str!("../src/lib.rs")
        .lines()
        .skip_while(|line| *line != "//! ```no_run")
        .skip(1)
        .take_while(|line| *line != "//! ```")
        .map(|line| line.trim_start_matches("//!").trim_start_matches(' '))
        .filter(|line| !line.starts_with("# "))
        .map(|line| format!("{}\n", line.trim()))
        .collect();
    let example: Option<String> =
        example.map(|e| e.lines().map(|line| format!("{}\n", line.trim())).collect());
    assert_eq!(example, Some(docs));
}
