//! The examples run against virtual cards and print what they promise.
#![cfg(target_os = "linux")]

mod support;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use scard_testkit::{IsoCard, Reply, Sandbox, VirtualCard, isolated};

/// Where cargo put an example: beside the directory of this test.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let target = test.parent().and_then(|deps| deps.parent()).unwrap();
    let example = target.join("examples").join(name);
    assert!(
        example.exists(),
        "{} is missing: build it with `cargo build --examples`",
        example.display()
    );
    example
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
        let works = "90, 00]";
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
            message.contains("no card that would do was inserted in time"),
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
fn transmit_sends_hex_and_prints_hex() {
    isolated(|| {
        let sandbox = sandbox();
        let select = "00A4040005A000000308";
        let unknown = hex::encode_upper(IsoCard::UNKNOWN_AID);
        let not_found = format!("00 A4 04 00 {:02X} {unknown}", IsoCard::UNKNOWN_AID.len());
        let printed = stdout(&run(&sandbox, "transmit", &[select, &not_found]));
        let lines: Vec<&str> = printed.lines().collect();
        assert_eq!(lines[0], format!("> {select}"));
        assert!(lines[1].ends_with("[9000]"), "{printed}");
        assert_eq!(lines[3], "<  [6A82]");

        let name = sandbox.reader(1).name();
        let output = run(&sandbox, "transmit", &["--reader", name, select]);
        assert!(!output.status.success());
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(message.contains("SCARD_E_NO_SMARTCARD"), "{message}");

        for wrong in [&["0G"][..], &["000"], &[], &["--reader"]] {
            assert!(
                !run(&sandbox, "transmit", wrong).status.success(),
                "{wrong:?}"
            );
        }
    });
}

#[test]
fn transmit_runs_scripts_and_says_what_was_not_expected() {
    isolated(|| {
        let sandbox = sandbox();
        let dir = std::env::temp_dir().join(format!("scard-script-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let run_script = |script: &str| {
            let file = dir.join("script");
            std::fs::write(&file, script).unwrap();
            run(&sandbox, "transmit", &["--script", file.to_str().unwrap()])
        };
        let printed = stdout(&run_script(
            "# The demonstration card\n\n\
             00A4040005A000000308 => 9000  # select\n\
             00 20 00 01 => 63Cx\n\
             00:84:00:00:02 => 9xX0\r\n\
             00CA0000\n",
        ));
        let lines: Vec<&str> = printed.lines().collect();
        assert_eq!(lines.len(), 8, "{printed}");
        assert_eq!(lines[3..6], ["<  [63C3]", "> 0084000002", "< 0102 [9000]"]);
        assert_eq!(lines[7], "<  [6D00]");

        for (script, message) in [
            (
                "00840000 => 6700\n00CA0000 => 9000\n00840000",
                ", line 2: 9000 was expected, not instruction not supported (6D00)",
            ),
            (
                "00840000 => 61xx",
                ", line 1: 61xx was expected, not wrong length (6700)",
            ),
            ("\n00840 => 9000", ", line 2: Odd number of digits"),
            ("00840000 => 90", ", line 1: \"90\" is no status word"),
            ("00840000 => 90g0", ", line 1: \"90g0\" is no status word"),
            ("# nothing", "usage: "),
        ] {
            let output = run_script(script);
            assert!(!output.status.success(), "{script}");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.contains(message), "{said}");
            assert!(!output.stdout.ends_with(b"> 00840000\n"), "it went on");
        }
        let missing = run(&sandbox, "transmit", &["--script", "/nowhere/to/be/found"]);
        assert!(!missing.status.success());
        let said = String::from_utf8_lossy(&missing.stderr);
        assert!(said.starts_with("/nowhere/to/be/found: "), "{said}");
        std::fs::remove_dir_all(&dir).unwrap();
    });
}

/// Starts an example that goes on, and gives its lines as they come.
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
        let mute = VirtualCard::new(|_: &[u8]| Reply::Mute);
        let mute = second.insert(mute).unwrap();
        let printed = stdout(&run(&sandbox, "async", &[]));
        let lines: Vec<&str> = printed.lines().collect();
        assert!(lines[0].starts_with(&piv), "{printed}");
        assert!(lines[1].starts_with(second.name()), "{printed}");
        assert!(lines[1].contains("the deadline passed"), "{printed}");
        assert_eq!((asked(&first.card().unwrap()), asked(&mute)), (2, 1));
    });
}

/// Waits for a line that begins so.
#[track_caller]
fn expect(lines: &Receiver<String>, start: &str) {
    let mut seen = Vec::new();
    loop {
        match lines.recv_timeout(support::SOON) {
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

        // The same badge is not read again, whatever others do.
        let context = scard::Context::establish().unwrap();
        let name = scard::ReaderName::new(slot.name()).unwrap();
        let mut other = context
            .connect(&name, scard::ConnectOptions::new())
            .unwrap();
        support::reconnect(&mut other, scard::Initialization::Reset).unwrap();
        expect(&lines, "Reconnected");
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
        expect(&lines, "WaitingForCard");
        slot.insert(&badge).unwrap();
        expect(&lines, "badge 2");
        slot.remove().unwrap();
        let next = slot.insert(VirtualCard::iso()).unwrap();
        expect(&lines, "badge 3");
        assert!(program.wait().unwrap().success());
        assert_eq!((read(&badge), read(&next)), (2, 1));
    });
}

/// What a terminal does at Ctrl-C.
fn interrupt(program: &Child) {
    let mut kill = Command::new("kill");
    let kill = kill.args(["-INT", &program.id().to_string()]);
    assert!(kill.status().unwrap().success());
}

#[test]
fn monitor_shows_what_happens_until_ctrl_c() {
    isolated(|| {
        let sandbox = sandbox();
        let (mut program, lines) = start(&sandbox, "monitor", &[]);
        let next = || lines.recv_timeout(support::SOON).expect("no line");
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
        assert!(lines.recv_timeout(support::SOON).is_err(), "one more line");
    });
}

#[test]
fn monitor_shows_json_to_machines() {
    isolated(|| {
        let sandbox = sandbox();
        let (mut program, lines) = start(&sandbox, "monitor", &["--json"]);
        let next = || -> serde_json::Value {
            let line = lines.recv_timeout(support::SOON).expect("no line");
            serde_json::from_str(&line).expect(&line)
        };
        let name = sandbox.reader(0).name();
        let (attached, inserted, other) = (next(), next(), next());
        assert_eq!(attached["event"], "ReaderAttached");
        assert_eq!(inserted["event"], "CardInserted");
        assert_eq!(inserted["reader"], name);
        let atr = hex::encode_upper(scard_testkit::atr::T1);
        assert_eq!(inserted["atr"], atr.as_str());
        assert!(inserted["time"].as_f64().unwrap() >= attached["time"].as_f64().unwrap());
        assert_eq!(other["reader"], sandbox.reader(1).name());
        sandbox.kill().unwrap();
        let lost = next();
        assert_eq!(lost["event"], "ServiceLost");
        assert_eq!(lost["reader"], serde_json::Value::Null);
        assert!(lost["text"].as_str().unwrap().contains("SCARD_"), "{lost}");
        interrupt(&program);
        assert!(program.wait().unwrap().success());
    });
}
