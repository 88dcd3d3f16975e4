//! `examples/pin_verify.rs`.

use std::io::Write;
use std::process::{Output, Stdio};

use scard_testkit::{CardHandle, Driver, Exchange, Reply, Sandbox, VirtualCard};

use super::{isolated, sandbox, stdout};
use crate::build::example;
use crate::support::terminal::Terminal;
use crate::support::wait_until;

/// Runs `pin_verify` with this input.
fn pin_verify(sandbox: &Sandbox, arguments: &[&str], typed: &str) -> Output {
    let mut command = sandbox.command(example("pin_verify"));
    command.args(["--reference", "01"]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut program = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut input = program.stdin.take().unwrap();
    // It may not read its input.
    let _ = input.write_all(typed.as_bytes());
    drop(input);
    program.wait_with_output().unwrap()
}

#[test]
fn asks_on_the_pad() {
    isolated(|| {
        let sandbox = Sandbox::builder().driver(Driver::Kit);
        let sandbox = sandbox.card(0, VirtualCard::iso()).start().unwrap();
        let reader = sandbox.reader(0);
        // The user cancels, then enters the PIN.
        let mut entries = 0;
        reader
            .on_control(move |code, _| match code {
                0x4200_0D48 => Ok(vec![0x06, 0x04, 0x42, 0x33, 0x00, 0x06]),
                _ => {
                    entries += 1;
                    Ok(vec![
                        0x64 + 0x2C * u8::from(entries > 1),
                        u8::from(entries == 1),
                    ])
                }
            })
            .unwrap();
        let cancelled = pin_verify(&sandbox, &[], "");
        assert!(!cancelled.status.success());
        let printed = String::from_utf8_lossy(&cancelled.stdout);
        assert_eq!(
            printed.lines().collect::<Vec<_>>(),
            [
                "tries left: 3",
                "enter the PIN on the reader",
                "PIN entry was cancelled"
            ]
        );
        let printed = stdout(&pin_verify(&sandbox, &["--block", "8"], ""));
        assert!(printed.ends_with("the card accepted the PIN\n"));
        let log = reader.control_log().unwrap();
        let request = hex::encode_upper(&log[3].input);
        let expected = "1E00820800080402010904000000000D0000000020000108FFFFFFFFFFFFFFFF";
        assert_eq!(request, expected);
    });
}

#[test]
fn asks_at_the_keyboard_and_shows_no_pin() {
    isolated(|| {
        let sandbox = sandbox();
        let wrong = pin_verify(&sandbox, &[], "9876\n");
        assert!(!wrong.status.success());
        let text = String::from_utf8([wrong.stdout, wrong.stderr].concat()).unwrap();
        assert!(text.contains("tries left: 3\n"), "{text}");
        assert!(
            text.contains("the PIN is wrong, 2 tries are left\n"),
            "{text}"
        );
        assert!(!text.contains("9876"), "{text}");

        let printed = stdout(&pin_verify(&sandbox, &["--keyboard"], "1234\r\n"));
        let lines: Vec<&str> = printed.lines().collect();
        assert_eq!(lines, ["tries left: 2", "the card accepted the PIN"]);
        let card = sandbox.reader(0).card().unwrap();
        let verify = b"\x00\x20\x00\x01\x041234";
        assert!(card.log().iter().any(|it| it.command == verify));

        let before = card.log().len();
        for (arguments, typed, message) in [
            (&[][..], "\n", "the PIN is empty\n"),
            (
                &["--block", "8"],
                "123456789\n",
                "the PIN has 9 bytes; the block has room for 8\n",
            ),
        ] {
            let refused = pin_verify(&sandbox, arguments, typed);
            assert!(!refused.status.success());
            assert_eq!(String::from_utf8_lossy(&refused.stderr), message);
        }
        // Only the query of the tries left.
        assert_eq!(card.log().len(), before + 2);
    });
}

/// Commands that begin like this.
fn sent(card: &CardHandle, start: &[u8]) -> usize {
    let log = card.log();
    log.iter()
        .filter(|it| it.command.starts_with(start))
        .count()
}

const SELECT: &[u8] = &[0x00, 0xA4, 0x04, 0x00];
const VERIFY: &[u8] = &[0x00, 0x20, 0x00, 0x80];

#[test]
fn selects_the_application() {
    isolated(|| {
        let sandbox = Sandbox::builder().card(0, VirtualCard::piv());
        let sandbox = sandbox.start().unwrap();
        let card = sandbox.reader(0).card().unwrap();
        let verify = |select: &[&str]| {
            let piv = ["--reference", "80", "--block", "8"];
            pin_verify(&sandbox, &[&piv, select].concat(), "123456\n")
        };
        // Before any PIN is asked for.
        let hint = "the card refuses queries about PIN 80: conditions of use not satisfied (6985); \
                    if it is a PIN of an application, select that with --select\n";
        let refused = verify(&[]);
        assert_eq!(refused.status.code(), Some(1));
        assert_eq!(refused.stdout, b"");
        assert_eq!(String::from_utf8_lossy(&refused.stderr), hint);
        let unknown = verify(&["--select", "F0 00 00 00 00"]);
        assert_eq!(unknown.status.code(), Some(1));
        let said = String::from_utf8_lossy(&unknown.stderr);
        assert!(
            said.starts_with("--select: ") && said.contains("6A82"),
            "{said}"
        );
        assert_eq!(sent(&card, VERIFY), 1);

        let printed = stdout(&verify(&["--select", "A0:00:00:03:08"]));
        let lines: Vec<&str> = printed.lines().collect();
        assert_eq!(lines, ["tries left: 3", "the card accepted the PIN"]);
        // For the query and for the PIN.
        assert_eq!((sent(&card, SELECT), sent(&card, VERIFY)), (3, 3));
    });
}

#[test]
fn selects_the_application_for_the_pad() {
    isolated(|| {
        let sandbox = Sandbox::builder().driver(Driver::Kit);
        let sandbox = sandbox.card(0, VirtualCard::piv()).start().unwrap();
        let reader = sandbox.reader(0);
        let card = reader.card().unwrap();
        let selected = card.clone();
        reader
            .on_control(move |code, _| match code {
                0x4200_0D48 => Ok(vec![0x06, 0x04, 0x42, 0x33, 0x00, 0x06]),
                // Only if it was selected again.
                _ => Ok(vec![0x90, u8::from(sent(&selected, SELECT) != 2)]),
            })
            .unwrap();
        let arguments = ["--reference", "80", "--select", "A000000308"];
        let printed = stdout(&pin_verify(&sandbox, &arguments, ""));
        assert!(
            printed.ends_with("the card accepted the PIN\n"),
            "{printed}"
        );
    });
}

#[test]
fn stops_where_the_query_shows_that_no_pin_can_be_right() {
    isolated(|| {
        let sandbox = Sandbox::builder().readers(2).start().unwrap();
        let slot = sandbox.reader(0);
        for (query, selects, asks) in [
            (0x6985, false, false),
            (0x6A88, false, false),
            (0x6D00, false, false),
            (0x6700, false, true),
            (0x6D00, true, true),
        ] {
            let card = slot
                .insert(VirtualCard::new(move |command: &[u8]| match command {
                    [_, 0x20, _, _] => Reply::from(u16::to_be_bytes(query)),
                    _ => Reply::from([0x90, 0x00]),
                }))
                .unwrap();
            let select: &[&str] = if selects {
                &["--select", "A000000308"]
            } else {
                &[]
            };
            let output = pin_verify(
                &sandbox,
                &[&["--reference", "80"], select].concat(),
                "1234\n",
            );
            assert_eq!(output.status.success(), asks, "{query:04X}");
            assert_eq!(sent(&card, VERIFY), 1 + usize::from(asks), "{query:04X}");
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(said.contains("--select"), !asks, "{said}");
            slot.remove().unwrap();
        }
    });
}

#[test]
fn names_the_option_that_is_wrong() {
    isolated(|| {
        let sandbox = sandbox();
        for (option, value, expected) in [
            ("--select", "A0000003080", "an AID in hex (1 to 16 bytes)"),
            ("--select", "", "an AID in hex (1 to 16 bytes)"),
            ("--reference", "100", "a byte in hex"),
            ("--block", "0", "a number of bytes (1 to 15)"),
            ("--block", "16", "a number of bytes (1 to 15)"),
        ] {
            let output = pin_verify(&sandbox, &[option, value], "1234\n");
            assert_eq!(output.status.code(), Some(2));
            let said = String::from_utf8_lossy(&output.stderr);
            let message = format!("{option}: {value:?} is not {expected}");
            assert_eq!(said.lines().next(), Some(&*message));
        }
    });
}

/// Ctrl-C while the terminal does not echo input.
#[test]
fn leaves_the_terminal_as_it_was() {
    isolated(|| {
        let sandbox = sandbox();
        let terminal = Terminal::open();
        let mut command = sandbox.command(example("pin_verify"));
        let mut program = terminal.spawn(command.args(["--reference", "01"]));
        wait_until("the terminal to hide the PIN", || !terminal.shows_input());
        terminal.type_in(b"12\x03");
        assert!(!program.wait().unwrap().success());
        assert!(terminal.shows_input());
        let card = sandbox.reader(0).card().unwrap();
        let verify = |it: &Exchange| it.command.len() > 5 && it.command[1] == 0x20;
        assert!(!card.log().iter().any(verify));
    });
}
