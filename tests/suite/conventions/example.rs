//! The example `transmit` with each scripted card.

use std::process::Output;

use scard_testkit::{Sandbox, VirtualCard};

use super::*;
use crate::build::{example, examples};

fn run(sandbox: &Sandbox, arguments: &[&str]) -> Output {
    let mut command = sandbox.command(example("transmit"));
    command.args(arguments).output().unwrap()
}

#[track_caller]
fn stdout(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// Each unusual card, with the options that it needs.
#[test]
fn scripts_run_over_each_card() {
    // May exceed the time of an isolated test.
    examples();
    for convention in conventions() {
        isolated(|| {
            let sandbox = Sandbox::builder().readers(2);
            let sandbox = sandbox.card(0, convention.card()).start().unwrap();
            let file = std::env::temp_dir().join(format!("convention-{}", std::process::id()));
            let script: Vec<String> = convention
                .script
                .iter()
                .map(|(command, _, status)| format!("{command} => {status}\n"))
                .collect();
            std::fs::write(&file, script.concat()).unwrap();
            let mut arguments = vec!["--exchange"];
            arguments.extend(convention.arguments);
            arguments.extend(["--script", file.to_str().unwrap()]);
            let printed = stdout(&run(&sandbox, &arguments));
            std::fs::remove_file(&file).unwrap();
            let answers: Vec<&str> = printed.lines().filter(|it| it.starts_with('<')).collect();
            let expected: Vec<String> = convention
                .script
                .iter()
                .map(|(_, data, status)| format!("< {} [{status}]", hex::encode_upper(data)))
                .collect();
            assert_eq!(answers, expected, "{}", convention.name);
        });
    }
}

#[test]
fn options_have_names() {
    examples();
    isolated(|| {
        let sandbox = Sandbox::builder().readers(2);
        let sandbox = sandbox.card(0, VirtualCard::iso()).start().unwrap();
        let command = "00A4040005F053434152";
        for wrong in [
            "oath",
            "continuation=x",
            "continuation=D0",
            "continuation=D0:100",
            "chaining=1",
            "max-rounds=-1",
            "x=yes",
        ] {
            let output = run(&sandbox, &["--with", wrong, command]);
            assert!(!output.status.success(), "{wrong}");
        }
        for right in [
            "continuation=never",
            "continuation=d0:c0",
            "max-size=1000",
            "allow-incomplete=yes",
            "extended-length=no",
            "reader-max-data=256",
            "max-rounds=1",
        ] {
            stdout(&run(&sandbox, &["--with", right, command]));
        }
    });
}
