//! The program `with-virtual-readers`.
#![cfg(target_os = "linux")]

use std::process::{Command, Output, Stdio};

fn runner(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_with-virtual-readers"))
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn the_exit_status_is_the_commands() {
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)] {
        let (status, _, stderr) = runner(&["--", "sh", "-c", script]);
        assert_eq!(status, Some(code), "{script}: {stderr}");
    }
    assert_eq!(runner(&["/nowhere/command"]).0, Some(127));
    assert_eq!(runner(&["/"]).0, Some(126));
}

#[test]
fn the_command_reaches_the_daemon() {
    let script = "test -S \"$PCSCLITE_CSOCK_NAME\" && echo \"$1\"";
    let (status, stdout, stderr) = runner(&["sh", "-c", script, "-", "--readers"]);
    assert_eq!(
        (status, stdout.as_str()),
        (Some(0), "--readers\n"),
        "{stderr}"
    );
}

#[test]
fn readers_and_cards_are_those_asked_for() {
    let (status, _, stderr) = runner(&[
        "--readers",
        "4",
        "--cards",
        "1",
        "--name",
        "My Reader",
        "--atr",
        "3B 02 14 50",
        "-v",
        "--",
        "true",
    ]);
    assert_eq!(status, Some(0), "{stderr}");
    for part in [
        "\"My Reader 00 00\": card",
        "\"My Reader 00 01\": empty",
        "\"My Reader 2 00 01\": empty",
        "card 0: 0 commands",
        "3B 02 14 50",
    ] {
        assert!(stderr.contains(part), "{part:?} in {stderr}");
    }
}

#[test]
fn the_kits_driver_makes_single_readers() {
    let arguments = ["--driver", "kit", "--readers", "3", "--cards", "1"];
    let (status, _, stderr) = runner(&[&arguments[..], &["--name", "R", "-v", "true"]].concat());
    assert_eq!(status, Some(0), "{stderr}");
    for part in [
        "\"R 00 00\": card",
        "\"R 2 00 00\": empty",
        "\"R 3 00 00\": empty",
    ] {
        assert!(stderr.contains(part), "{part:?} in {stderr}");
    }
    assert!(!stderr.contains("00 01\""), "{stderr}");
}

#[test]
fn wrong_arguments_are_explained() {
    let huge = &*usize::MAX.to_string();
    for (arguments, part) in [
        (&["--readers", "x", "true"][..], "x"),
        (&["--readers", "1000", "true"], "1000 readers"),
        (&["--readers", huge, "true"], huge),
        (&["--readers", huge, "--name", "R", "true"], huge),
        (&["--cards", "3", "true"], "reader 2"),
        (&["--cards", huge, "true"], "reader 2"),
        (&["--atr", "3", "true"], "bytes"),
        (&["--atr", "3G00", "true"], "hexadecimal"),
        (&["--driver", "ccid", "true"], "vpcd or kit"),
        (&["--driver", "kit", "--cards", "2", "true"], "reader 1"),
        (&["--whatever", "true"], "whatever"),
        (&[], "COMMAND"),
    ] {
        let (status, _, stderr) = runner(arguments);
        assert_eq!(status, Some(125), "{stderr}");
        assert!(stderr.contains(part), "{stderr}");
    }
    let (status, stdout, _) = runner(&["--help"]);
    assert_eq!(status, Some(0));
    assert!(stdout.contains("Usage"));
}

#[test]
fn termination_is_passed_on_and_nothing_stays() {
    let script = "trap 'echo \"$PCSCLITE_CSOCK_NAME\"; exit 9' TERM; echo ready; \
                  while :; do sleep 0.01; done";
    let mut child = Command::new(env!("CARGO_BIN_EXE_with-virtual-readers"))
        .args(["sh", "-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    let kill = Command::new("kill").arg(child.id().to_string()).status();
    assert!(kill.unwrap().success());
    let socket = lines.next().unwrap().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(9));
    let dir = std::path::Path::new(&socket)
        .parent()
        .unwrap()
        .parent()
        .unwrap();
    assert!(!dir.exists());
}
