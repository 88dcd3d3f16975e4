//! The program `with-virtual-readers`.
#![cfg(target_os = "linux")]

use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

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
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("exit 130", 130)] {
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
        (
            &["--readers", "x", "true"][..],
            "--readers: \"x\" is not a number of readers (see --help)",
        ),
        (&["--readers", "1000", "true"], "1000 readers"),
        (&["--readers", huge, "true"], huge),
        (&["--readers", huge, "--name", "R", "true"], huge),
        (&["--readers", huge, "--port", "1", "true"], huge),
        (
            &["--cards", "-1", "true"],
            "--cards: \"-1\" is not a number of cards",
        ),
        (
            &["--cards", "3", "true"],
            "--cards 3: more cards than readers (2)",
        ),
        (&["--cards", huge, "true"], "more cards than readers (2)"),
        (
            &["--driver", "kit", "--cards", "2", "true"],
            "more cards than readers (1)",
        ),
        (
            &["--atr", "3", "true"],
            "--atr: \"3\" is not an ATR (2 to 33 bytes in hexadecimal)",
        ),
        (&["--atr", "3G00", "true"], "--atr: \"3G00\" is not"),
        (
            &["--driver", "ccid", "true"],
            "--driver: \"ccid\" is not vpcd or kit",
        ),
        (
            &["--card", "emv", "true"],
            "--card: \"emv\" is not iso, openpgp or piv",
        ),
        (
            &["--port", "65536", "true"],
            "--port: \"65536\" is not a port (1 to 65535)",
        ),
        (&["--port", "0", "true"], "--port: \"0\" is not a port"),
        (
            &["--port", "65535", "true"],
            "--port 65535: 2 readers need as many consecutive ports, and 65535 is the last",
        ),
        (
            &["--port", "65533", "--readers", "3", "true"],
            "--port 65533: 4 readers",
        ),
        (
            &["--driver", "kit", "--port", "4000", "true"],
            "--port requires --driver vpcd",
        ),
        (
            &["--external", "--driver", "kit", "true"],
            "--external requires --driver vpcd",
        ),
        (
            &["--external", "--cards", "1", "true"],
            "--cards cannot be used with --external: the cards of --external are other programs",
        ),
        (
            &["--card", "piv", "--external", "true"],
            "--card cannot be used with --external",
        ),
        (
            &["--card-program", "cat", "--external", "true"],
            "--card-program cannot be used with --external",
        ),
        (
            &["--external", "--atr", "3B00", "true"],
            "--atr cannot be used with --external",
        ),
        (&["--whatever", "true"], "whatever"),
        (&[], "COMMAND"),
    ] {
        let (status, _, stderr) = runner(arguments);
        assert_eq!(status, Some(125), "{stderr}");
        assert!(stderr.contains(part), "{stderr}");
        assert!(!stderr.contains("Driver::"), "{stderr}");
    }
    let (status, stdout, _) = runner(&["--help"]);
    assert_eq!(status, Some(0));
    assert!(stdout.contains("Usage"));
    assert!(stdout.lines().all(|line| line.len() <= 80), "{stdout}");
}

#[test]
fn readers_without_a_name_are_called_as_the_help_says() {
    let help = runner(&["--help"]).1;
    for (arguments, names) in [
        (&["--readers", "2"][..], ["A 00 00", "B 00 00"]),
        (
            &["--name", "Virtual Reader", "--readers", "2"],
            ["00 00", "2 00 00"],
        ),
    ] {
        let arguments = [&["--driver", "kit", "-v"], arguments, &["true"]].concat();
        let (status, _, stderr) = runner(&arguments);
        assert_eq!(status, Some(0), "{stderr}");
        for name in names {
            let name = format!("Virtual Reader {name}");
            assert!(stderr.contains(&format!("{name:?}: ")), "{stderr}");
            let stem = name.trim_end_matches(" 00 00");
            assert!(help.contains(stem), "{stem} in {help}");
        }
    }
}

/// A network of its own has one that is down.
#[test]
fn a_loopback_that_is_down_is_explained_by_options() {
    let output = Command::new("unshare")
        .args(["--map-root-user", "--net", "--"])
        .arg(env!("CARGO_BIN_EXE_with-virtual-readers"))
        .args(["--driver", "vpcd", "true"])
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(125), "{stderr}");
    assert!(stderr.contains("or --driver kit"), "{stderr}");
    assert!(!stderr.contains("Driver::"), "{stderr}");
}

/// Starts the runner with a script that prints "ready" when it can be sent signals.
fn start(script: &str) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_with-virtual-readers"))
        .args(["sh", "-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    (child, lines)
}

fn send(signal: &str, child: &Child) {
    let kill = Command::new("kill")
        .args(["-s", signal, &child.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
}

/// Where the sandbox was that has this socket.
fn sandbox(socket: &str) -> &Path {
    Path::new(socket).parent().unwrap().parent().unwrap()
}

#[test]
fn signals_are_passed_on_and_nothing_stays() {
    for signal in ["TERM", "INT", "HUP", "QUIT", "USR1", "USR2"] {
        let script = format!(
            "trap 'echo \"$PCSCLITE_CSOCK_NAME\"; exit 9' {signal}; echo ready; \
             while :; do sleep 0.01; done"
        );
        let (mut child, mut lines) = start(&script);
        send(signal, &child);
        let socket = lines.next().unwrap().unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(9), "{signal}");
        assert!(!sandbox(&socket).exists(), "{signal}");
    }
}

#[test]
fn a_signal_that_ends_the_command_ends_the_runner_and_nothing_stays() {
    for (signal, number) in [("TERM", 15), ("INT", 2), ("KILL", 9), ("SEGV", 11)] {
        let script =
            format!("ulimit -c 0; echo ready; echo \"$PCSCLITE_CSOCK_NAME\"; kill -{signal} $$");
        let (mut child, mut lines) = start(&script);
        let socket = lines.next().unwrap().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(number), "{signal}");
        assert!(!sandbox(&socket).exists(), "{signal}");
    }
}

/// A daemon that does this when it is started, by the shell, in this directory.
fn daemon(dir: &Path, before: &str) -> Command {
    let daemon = dir.join("daemon");
    let script = format!(
        "#!/bin/sh\nPATH=$PATH:/usr/sbin:/usr/local/sbin:/sbin\n\
         case $1 in --foreground) {before};; esac\nexec $DAEMON \"$@\"\n"
    );
    fs::write(&daemon, script).unwrap();
    fs::set_permissions(&daemon, Permissions::from_mode(0o755)).unwrap();
    let files = dir.join("files");
    fs::create_dir(&files).unwrap();
    let installed = std::env::var_os("SCARD_TESTKIT_PCSCD");
    let mut command = Command::new("env");
    command
        .env("DAEMON", installed.unwrap_or("pcscd".into()))
        .env("SCARD_TESTKIT_PCSCD", daemon)
        .env("DIR", dir)
        .env("TMPDIR", files);
    command
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir.join("files")).unwrap().next().is_none()
}

#[test]
fn a_signal_before_the_command_ends_the_runner_and_nothing_stays() {
    for (signal, number) in [("INT", 2), ("TERM", 15), ("HUP", 1), ("USR1", 10)] {
        let dir = tempfile::tempdir().unwrap();
        let output = daemon(dir.path(), &format!("kill -s {signal} $RUNNER"))
            .args(["sh", "-c", "export RUNNER=$$; exec \"$0\" echo it-has-run"])
            .arg(env!("CARGO_BIN_EXE_with-virtual-readers"))
            .output()
            .unwrap();
        assert_eq!(output.status.signal(), Some(number), "{output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
        assert!(is_empty(dir.path()), "{signal}");
    }
}

/// The terminal sends it to all that are in the foreground: the command is not there yet.
#[test]
fn ctrl_c_before_the_command_ends_the_runner_and_nothing_stays() {
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("keys");
    assert!(
        Command::new("mkfifo")
            .arg(&keys)
            .status()
            .unwrap()
            .success()
    );
    // Also for writing, so that it neither has to be waited for nor ends.
    let keys = File::options().read(true).write(true).open(&keys).unwrap();
    // That the terminal shows it says that the signal was sent.
    let press = "printf '\\003' >$DIR/keys; \
                 until grep -q '\\^C' $DIR/screen; do sleep 0.01; done";
    let runner = env!("CARGO_BIN_EXE_with-virtual-readers");
    let output = daemon(dir.path(), press)
        .args(["script", "-qefc", &format!("exec {runner} echo it-has-run")])
        .arg(dir.path().join("screen"))
        .stdin(keys)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(128 + 2), "{output:?}");
    let screen = String::from_utf8_lossy(&output.stdout);
    assert!(!screen.contains("it-has-run"), "{screen}");
    assert!(is_empty(dir.path()));
}

#[test]
fn a_command_that_is_ended_while_it_asks_for_a_pin_leaves_the_terminal_as_it_was() {
    let runner = env!("CARGO_BIN_EXE_with-virtual-readers");
    // In a terminal, of `script`. Each time it is said what is set afterwards.
    let ended = |how: &str| {
        let script = format!("{runner} sh -c 'stty -echo; {how}'; stty -a");
        let output = Command::new("script")
            .args(["-qec", &script, "/dev/null"])
            .stdin(Stdio::piped())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains("icanon"), "{said}");
        said.contains("-echo ")
    };
    assert!(!ended("kill -INT $$"));
    // What a command that ends by itself has set is what it wants.
    assert!(ended("exit 0"));
}

#[test]
fn cards_are_of_the_kind_asked_for() {
    for (kind, part) in [
        (&["--card", "iso"][..], "3B 80 01 81"),
        (&["--card", "openpgp"], "3B DA 18 FF"),
        (&["--card", "piv"], "3B 80 01 81"),
        (
            &["--card-program", "while read line; do echo 9000; done"],
            "3B 80 01 81",
        ),
    ] {
        let (status, _, stderr) = runner(&[kind, &["-v", "true"]].concat());
        assert_eq!(status, Some(0), "{stderr}");
        assert!(stderr.contains(part), "{part:?} in {stderr}");
    }
}

#[test]
fn readers_wait_for_external_cards_at_the_port_asked_for() {
    // Free a moment ago, with its neighbour.
    let port = loop {
        let one = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = one.local_addr().unwrap().port();
        if port < u16::MAX && TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            break port;
        }
    };
    let text = port.to_string();
    let mut child = Command::new(env!("CARGO_BIN_EXE_with-virtual-readers"))
        .args(["--external", "--port", &text, "--", "cat"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = lines.next().unwrap().unwrap();
    assert!(line.contains(&format!("127.0.0.1:{port}")), "{line}");
    // A card, which is asked for its answer to reset.
    let mut card = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut message = [0; 3];
    card.read_exact(&mut message).unwrap();
    assert_eq!(message, [0, 1, 4]);
    card.write_all(&[0, 2, 0x3B, 0x00]).unwrap();
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}
