//! The examples run against virtual cards and print what they promise.
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use scard_testkit::{Sandbox, VirtualCard};

use crate::build::example;
use crate::support::mifare::Mifare;
use crate::support::{SOON, reconnect};

mod apdus;
mod pin_verify;

/// Builds the examples first, which may exceed the time of an isolated test.
#[track_caller]
fn isolated(test: impl FnOnce()) {
    crate::build::examples();
    scard_testkit::isolated(test);
}

fn run(sandbox: &Sandbox, name: &str, arguments: &[&str]) -> Output {
    let mut command = sandbox.command(example(name));
    command.args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

fn sandbox() -> Sandbox {
    Sandbox::builder()
        .readers(2)
        .card(0, VirtualCard::iso())
        .start()
        .unwrap()
}

#[test]
fn reconnect_tells_its_story() {
    isolated(|| {
        let sandbox = sandbox();
        let story = stdout(&run(&sandbox, "reconnect", &[]));
        println!("{story}");
        let steps: Vec<&str> = story.split("\n== ").skip(1).collect();
        assert_eq!(steps.len(), 9, "{story}");
        let has = |step: usize, text: &str| {
            assert!(
                steps[step].contains(text),
                "step {step} lacks {text:?}\n{story}"
            );
        };
        let works = "9000\n";
        let reset = "failed: the card was reset (SCARD_W_RESET_CARD, 0x80100068)";
        let mismatch = "(SCARD_E_PROTO_MISMATCH, 0x8010000F)";
        has(0, works);
        has(0, "protocol  T=1");
        has(
            1,
            &format!("SCardTransmit on \"{}\" {reset}", sandbox.reader(0).name()),
        );
        for step in [2, 3, 4] {
            has(step, "reconnect T=1");
            has(step, works);
        }
        has(5, mismatch);
        has(5, "protocol  T=1");
        has(5, works);
        has(6, mismatch);
        has(6, "protocol  not known");
        has(6, reset);
        has(6, works);
        has(7, "protocol  T=1");
        has(7, works);
        has(8, "done");
    });
}

#[test]
fn reconnect_says_when_there_is_no_card() {
    isolated(|| {
        let sandbox = Sandbox::builder().readers(2).start().unwrap();
        let output = run(&sandbox, "reconnect", &[]);
        assert!(!output.status.success());
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(
            message.contains("no matching card was inserted within the time-out"),
            "{message}"
        );
    });
}

#[test]
fn list_shows_readers_and_cards() {
    isolated(|| {
        let sandbox = sandbox();
        let listing = stdout(&run(&sandbox, "list", &[]));
        let lines: Vec<&str> = listing.lines().collect();
        assert_eq!(lines[0], sandbox.reader(0).name());
        assert!(lines[1].starts_with("  card 3B "), "{listing}");
        assert_eq!(lines[2..], [sandbox.reader(1).name(), "  no card"]);
    });
}

#[test]
fn atr_explains_hex_and_the_cards_in_the_readers() {
    isolated(|| {
        let sandbox = Sandbox::builder()
            .readers(2)
            .card(1, VirtualCard::iso().atr(scard_testkit::atr::CONTACTLESS))
            .start()
            .unwrap();
        let yubikey = "3B FD 13 00 00 81 31 FE 15 80 73 C0 21 C0 57 59 75 62 69 4B 65 79 40";
        let words: Vec<&str> = yubikey.split(' ').collect();
        for arguments in [&[yubikey][..], &[&yubikey.replace(' ', ":")], &words] {
            let printed = stdout(&run(&sandbox, "atr", arguments));
            let lines: Vec<&str> = printed.lines().collect();
            assert_eq!(lines[0], yubikey);
            assert_eq!(lines[1], "  TS    3B            direct convention");
            assert!(printed.contains("extended length: yes"), "{printed}");
            assert!(printed.ends_with("TCK   40            check byte, correct\n"));
        }

        let printed = stdout(&run(&sandbox, "atr", &["3B80", "0182"]));
        let wrong = "problem: the check byte TCK is 82 but should be 81";
        assert_eq!(printed.lines().last().map(str::trim), Some(wrong));

        let printed = stdout(&run(&sandbox, "atr", &[]));
        let lines: Vec<&str> = printed.lines().collect();
        assert_eq!(lines[..2], [sandbox.reader(0).name(), "  no card"]);
        assert_eq!(lines[2], sandbox.reader(1).name());
        assert!(lines[3].starts_with("  3B 8F 80 01 80 4F 0C "), "{printed}");
        let card = "MIFARE Classic 1K, ISO 14443 A, part 3";
        assert!(lines.iter().any(|it| it.trim() == card), "{printed}");

        for wrong in [&["3"][..], &["3B0G"], &[""]] {
            let code = run(&sandbox, "atr", wrong).status.code();
            assert_eq!(code, Some(2), "{wrong:?}");
        }
    });
}

/// Starts an example that keeps running, and returns its lines as they come.
fn start(sandbox: &Sandbox, name: &str, arguments: &[&str]) -> (Child, Receiver<String>) {
    let mut command = sandbox.command(example(name));
    command.args(arguments).stdout(Stdio::piped());
    let mut program = command.spawn().unwrap();
    let output = BufReader::new(program.stdout.take().unwrap());
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            println!("{line}");
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    (program, lines)
}

#[cfg(feature = "async")]
#[test]
fn async_asks_all_cards_at_once_and_leaves_a_mute_one() {
    isolated(|| {
        let sandbox = sandbox();
        let select = b"\x00\xA4\x04\x00\x05\xA0\x00\x00\x03\x08";
        let asked = |card: &scard_testkit::CardHandle| {
            let log = card.log();
            log.iter().filter(|it| it.command == select).count()
        };
        let printed = stdout(&run(&sandbox, "async", &[]));
        let first = sandbox.reader(0);
        let piv = format!("{}: PIV ", first.name());
        assert!(printed.starts_with(&piv), "{printed}");
        assert_eq!(printed.lines().count(), 1, "{printed}");

        let second = sandbox.reader(1);
        let mute = VirtualCard::new(|_: &[u8]| scard_testkit::Reply::Mute);
        let mute = second.insert(mute).unwrap();
        let printed = stdout(&run(&sandbox, "async", &[]));
        let lines: Vec<&str> = printed.lines().collect();
        assert!(lines[0].starts_with(&piv), "{printed}");
        assert!(lines[1].starts_with(second.name()), "{printed}");
        assert!(lines[1].contains("the deadline passed"), "{printed}");
        assert_eq!((asked(&first.card().unwrap()), asked(&mute)), (2, 1));
    });
}

/// Waits for a line with this beginning.
#[track_caller]
fn expect(lines: &Receiver<String>, start: &str) {
    let mut seen = Vec::new();
    loop {
        match lines.recv_timeout(SOON) {
            Ok(line) if line.trim_start().starts_with(start) => return,
            Ok(line) => seen.push(line),
            Err(_) => panic!("no {start:?}, only {seen:#?}"),
        }
    }
}

#[test]
fn session_reads_badges_whatever_happens() {
    isolated(|| {
        let sandbox = sandbox();
        let (mut program, lines) = start(&sandbox, "session", &["3"]);
        let slot = sandbox.reader(0);
        let badge = slot.card().unwrap();
        expect(&lines, "badge 1");

        // The same badge is not read again, whatever other programs do.
        let context = scard::Context::establish().unwrap();
        let name = scard::ReaderName::new(slot.name()).unwrap();
        let mut other = context
            .connect(&name, scard::ConnectOptions::new())
            .unwrap();
        reconnect(&mut other, scard::Initialization::Reset).unwrap();
        expect(&lines, "reconnected");
        drop(other);
        sandbox.restart().unwrap();
        expect(&lines, "connected to");
        let read = |badge: &scard_testkit::CardHandle| {
            let log = badge.log();
            let reads = log
                .iter()
                .filter(|it| it.command.starts_with(&[0xFF, 0xCA]));
            reads.count()
        };
        assert_eq!(read(&badge), 1);

        slot.remove().unwrap();
        expect(&lines, "waiting for a card");
        slot.insert(&badge).unwrap();
        expect(&lines, "badge 2");
        slot.remove().unwrap();
        let next = slot.insert(VirtualCard::iso()).unwrap();
        expect(&lines, "badge 3");
        assert!(program.wait().unwrap().success());
        assert_eq!((read(&badge), read(&next)), (2, 1));
    });
}

#[test]
fn session_says_what_was_interrupted() {
    isolated(|| {
        let sandbox = Sandbox::builder().readers(1).start().unwrap();
        let slot = sandbox.reader(0);
        let tear_out = |command: &[u8]| match command {
            [0xFF, 0xCA, ..] => scard_testkit::Reply::Drop,
            _ => scard_testkit::Reply::from([0x90, 0x00]),
        };
        slot.insert(VirtualCard::new(tear_out)).unwrap();
        let (mut program, lines) = start(&sandbox, "session", &["1"]);
        expect(
            &lines,
            "please try again, reading the badge was interrupted: SCardTransmit on ",
        );
        slot.insert(VirtualCard::iso()).unwrap();
        expect(&lines, "badge 1");
        assert!(program.wait().unwrap().success());
    });
}

#[test]
fn session_leaves_a_card_that_refuses_alone() {
    isolated(|| {
        let sandbox = Sandbox::builder().readers(1).start().unwrap();
        let slot = sandbox.reader(0);
        let refuse = |_: &[u8]| scard_testkit::Reply::Answer(vec![0x6A, 0x82]);
        let refusing = slot.insert(VirtualCard::new(refuse)).unwrap();
        let (mut program, lines) = start(&sandbox, "session", &["1"]);
        expect(&lines, "card skipped");
        slot.remove().unwrap();
        slot.insert(VirtualCard::iso()).unwrap();
        expect(&lines, "badge 1");
        assert!(program.wait().unwrap().success());
        let read = |it: &scard_testkit::Exchange| it.command.starts_with(&[0xFF, 0xCA]);
        assert!(!refusing.log().iter().any(read), "a badge was read");
    });
}

/// Sends the signal that a terminal sends on Ctrl-C.
fn interrupt(program: &Child) {
    let process = libc::pid_t::try_from(program.id()).unwrap();
    // SAFETY: takes numbers, and the process was not waited for yet.
    #[allow(unsafe_code)]
    let sent = unsafe { libc::kill(process, libc::SIGINT) };
    assert_eq!(sent, 0);
}

#[test]
fn monitor_shows_what_happens_until_ctrl_c() {
    isolated(|| {
        let sandbox = sandbox();
        let (mut program, lines) = start(&sandbox, "monitor", &[]);
        let next = || lines.recv_timeout(SOON).expect("no line");
        let name = sandbox.reader(0).name();
        let shows = |line: &str, event: &str| {
            let (time, rest) = line.split_once("  ").expect(line);
            assert_eq!(time.len(), "00:00:00.000".len(), "{line}");
            assert!(rest.starts_with(name) && rest.contains(event), "{line}");
        };
        shows(&next(), "reader attached");
        let card = next();
        shows(&card, "card inserted (3B ");
        assert!(card.contains("): T="), "{card}");
        assert!(next().ends_with("reader attached"));
        sandbox.reader(0).remove().unwrap();
        shows(&next(), "card removed");
        interrupt(&program);
        assert!(program.wait().unwrap().success());
        assert!(lines.recv_timeout(SOON).is_err(), "one more line");
    });
}

#[test]
fn monitor_shows_json_to_machines() {
    isolated(|| {
        let sandbox = sandbox();
        let (mut program, lines) = start(&sandbox, "monitor", &["--json"]);
        let next = || -> serde_json::Value {
            let line = lines.recv_timeout(SOON).expect("no line");
            serde_json::from_str(&line).expect(&line)
        };
        let name = sandbox.reader(0).name();
        let (attached, inserted, other) = (next(), next(), next());
        assert_eq!(attached["event"], "reader-attached");
        assert_eq!(inserted["event"], "card-inserted");
        assert_eq!(inserted["reader_name"], name);
        // As the feature `serde` stores it.
        let atr = scard::Atr::new(scard_testkit::atr::T1).unwrap();
        assert_eq!(inserted["atr"], atr.to_string());
        #[cfg(feature = "serde")]
        assert_eq!(inserted["atr"], serde_json::to_value(atr).unwrap());
        assert!(inserted["time"].as_f64().unwrap() >= attached["time"].as_f64().unwrap());
        assert_eq!(other["reader_name"], sandbox.reader(1).name());
        sandbox.kill().unwrap();
        let lost = next();
        assert_eq!(lost["event"], "service-lost");
        assert_eq!(lost["reader_name"], serde_json::Value::Null);
        assert!(lost["text"].as_str().unwrap().contains("SCARD_"), "{lost}");
        interrupt(&program);
        assert!(program.wait().unwrap().success());
    });
}

#[test]
fn all_say_what_they_take() {
    isolated(|| {
        let sandbox = sandbox();
        for name in crate::build::names() {
            let help = run(&sandbox, &name, &["--help"]);
            let usage = stdout(&help);
            assert!(usage.starts_with(&format!("usage: {name}")), "{usage}");
            assert!(usage.lines().all(|line| line.len() <= 100), "{usage}");
            let wrong = run(&sandbox, &name, &["--nonsense"]);
            assert_eq!(wrong.status.code(), Some(2), "{name}");
            assert_eq!(wrong.stdout, b"", "{name}");
            let said = String::from_utf8_lossy(&wrong.stderr);
            assert!(said.contains("--nonsense"), "{said}");
            assert!(said.ends_with(&usage), "{said}");
            // All examples with a reader argument treat it alike.
            if usage.contains("--reader") {
                let unknown = run(&sandbox, &name, &["--reader", "nowhere", "00"]);
                assert!(!unknown.status.success(), "{name}");
            }
        }
    });
}

#[test]
fn a_pipe_that_is_closed_ends_them_quietly() {
    isolated(|| {
        let sandbox = sandbox();
        for (name, arguments) in [
            ("list", &[][..]),
            ("reconnect", &[]),
            ("transmit", &["00840000"]),
            ("atr", &["3B00"]),
            ("monitor", &[]),
            ("session", &[]),
            ("contactless_uid", &[]),
        ] {
            let mut command = sandbox.command(example(name));
            command.args(arguments).stdout(Stdio::piped());
            let mut program = command.stderr(Stdio::piped()).spawn().unwrap();
            drop(program.stdout.take());
            let output = program.wait_with_output().unwrap();
            assert!(output.status.success(), "{name}: {output:?}");
            assert_eq!(output.stderr, b"", "{name}");
        }
    });
}

#[test]
fn an_error_says_what_helps() {
    isolated(|| {
        let sandbox = sandbox();
        sandbox.kill().unwrap();
        for name in ["list", "transmit", "pin_verify"] {
            let output = run(&sandbox, name, &["00"][..usize::from(name == "transmit")]);
            assert_eq!(output.status.code(), Some(1));
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(said.lines().count(), 2, "{said}");
            assert!(!said.contains("Error {"), "{said}");
        }
    });
}

#[test]
fn contactless_uid_shows_each_card() {
    isolated(|| {
        let sandbox = Sandbox::builder().readers(2).start().unwrap();
        let (mut program, lines) = start(&sandbox, "contactless_uid", &[]);
        let next = || lines.recv_timeout(SOON).expect("no line");
        let slot = sandbox.reader(0);
        slot.insert(Mifare::new().card()).unwrap();
        assert_eq!(next(), "04A1B2C3  MIFARE Classic 1K, ISO 14443 A, part 3");
        slot.remove().unwrap();
        slot.insert(VirtualCard::iso()).unwrap();
        let refused = next();
        assert!(refused.starts_with("no UID: "), "{refused}");
        assert!(refused.contains("6E00"), "{refused}");
        interrupt(&program);
        assert!(program.wait().unwrap().success());

        let once = run(&sandbox, "contactless_uid", &["--once"]);
        assert_eq!(stdout(&once).lines().count(), 1);
    });
}
