//! The example `explain` as a program: arguments, standard input, output and exit code.

use std::io::Write;
use std::process::{Command, Output, Stdio};

fn explain() -> Command {
    let mut command = Command::new(crate::build::example("explain"));
    command.stdin(Stdio::null());
    command
}

fn text(output: &Output) -> &str {
    assert_eq!(output.stderr, b"");
    std::str::from_utf8(&output.stdout).unwrap()
}

fn explained(arguments: &[&str]) -> String {
    let output = explain().args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    text(&output).to_owned()
}

fn from_input(input: &str) -> Output {
    let mut child = explain()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    child.wait_with_output().unwrap()
}

const RESET: &str = "  SCARD_W_RESET_CARD: the card was reset
    number:   0x80100068 (-2146434968)
    family:   PC/SC
    severity: warning
    to do:    Reconnect without resetting the card, and set up its state again: select the \
application, verify the PIN.
";

/// Checks that the output contains the lines of the expected text, together and in order. More
/// lines may follow.
fn assert_says(output: &str, expected: &str) {
    assert!(output.contains(expected), "{output}");
}

#[test]
fn a_code_is_explained_in_each_of_its_forms() {
    for form in [
        "0xffffffff80100068",
        "-0x7fefff98",
        "the rv 18446744071563116648 (SCARD_W_RESET_CARD) is from C",
        "0x80100068",
        "80100068",
        "-2146434968",
        "2148532328",
        "SCARD_W_RESET_CARD",
        "W_RESET_CARD",
        "SCardTransmit on \"R\" failed: the card was reset (SCARD_W_RESET_CARD, 0x80100068)",
    ] {
        let output = explained(&[form]);
        assert!(output.starts_with(&format!("{form}\n{RESET}")), "{output}");
    }
}

#[test]
fn the_other_families_are_explained() {
    assert_says(
        &explained(&["CKR_PIN_LOCKED"]),
        "  CKR_PIN_LOCKED: the PIN is locked after too many wrong attempts\n    \
         number:   0x000000A4 (164)\n    family:   PKCS #11\n",
    );
    assert_says(
        &explained(&["0x00050007"]),
        "  ONEX_NO_RESPONSE_TO_IDENTITY: the authenticator did not react to the identity\n    \
         number:   0x00050007 (327687)\n    family:   WLAN\n",
    );
    assert_says(
        &explained(&["SEC_I_CONTINUE_NEEDED"]),
        "    family:   SSPI\n    severity: information\n",
    );
}

#[test]
fn every_family_that_has_the_number_is_named() {
    let output = explained(&["0"]);
    for name in [
        "SCARD_S_SUCCESS",
        "SEC_E_OK",
        "CKR_OK",
        "WLAN_REASON_CODE_SUCCESS",
    ] {
        assert_says(&output, &format!("\n  {name}: "));
    }
    let output = explained(&["0x8010001F"]);
    assert_says(&output, "\n  SCARD_E_UNEXPECTED: ");
    assert_says(&output, "\n  SCARD_E_UNSUPPORTED_FEATURE: ");
    assert_says(&output, "\n    only on:  macOS, pcsc-lite\n");
}

#[test]
fn a_wrapped_system_code_is_unwrapped() {
    assert_says(
        &explained(&["0x80070006"]),
        "    family:   Windows system code\n              system code 6 as HRESULT\n",
    );
}

#[test]
fn several_arguments_are_explained_in_order() {
    let output = explained(&["0x80100068", "CKR_PIN_LOCKED"]);
    let pin = output.find("\nCKR_PIN_LOCKED\n").unwrap();
    assert!(output.find(RESET).unwrap() < pin);
}

#[test]
fn the_unknown_is_called_so_and_the_rest_explained() {
    let output = explain()
        .args(["0x801000FF", "W_RESET_CARD"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let expected =
        format!("0x801000FF\n  unknown code 0x801000FF (-2146434817)\nW_RESET_CARD\n{RESET}");
    assert!(text(&output).starts_with(&expected), "{}", text(&output));

    let line = "SCardConnect failed: unknown code (0x801000FF)";
    let output = explain().arg(line).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let expected = format!("{line}\n  unknown code 0x801000FF (-2146434817)\n");
    assert_eq!(text(&output), expected);

    for nonsense in ["SCARD_W_LOST_CARD", "", "0x123456789"] {
        let output = explain().arg(nonsense).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let expected = format!("{nonsense}\n  unknown: neither a code nor the name of one\n");
        assert_eq!(text(&output), expected);
    }
}

#[test]
fn without_arguments_lines_are_read() {
    let output = from_input("0x80100068\r\n\n  SCARD_W_RESET_CARD");
    assert_eq!(output.status.code(), Some(0));
    let expected = format!("0x80100068\n{RESET}");
    assert!(text(&output).starts_with(&expected), "{}", text(&output));
    assert_eq!(text(&output).matches(RESET).count(), 2);

    for nothing in ["", "\n", "nonsense\nno code\n"] {
        let output = from_input(nothing);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(text(&output), "");
    }
}

#[test]
fn a_log_is_searched_for_codes() {
    let output = from_input(
        "10:31:07.123 pcscd[6543]: started\n\
         10:31:08.001 pcscd[6543]: SCardTransmit rv=FFFFFFFF80100068\n\
         10:31:08.002 pcscd[6543]: SW1=0x63, SW2=0xC2\n\
         sun.security.smartcardio.PCSCException: SCARD_W_RESET_CARD\n",
    );
    assert_eq!(output.status.code(), Some(0));
    let printed = text(&output);
    assert!(printed.starts_with("10:31:08.001 "), "{printed}");
    assert_eq!(printed.matches(RESET).count(), 2);
    assert_says(
        printed,
        "    family:   status word of a card\n    tries:    2 left\n",
    );

    let output = from_input("SCardConnect: 0x801000FF\nSCardConnect: 0x80100068\n");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_status_word_is_explained_as_one() {
    for form in [
        "6A82",
        "0x6a82",
        "6A 82",
        "< 6A 82 : File not found",
        "SW=6A82",
    ] {
        let expected = format!(
            "{form}\n  FILE_NOT_FOUND: file or application not found\n    \
             number:   6A82\n    family:   status word of a card\n"
        );
        assert_eq!(explained(&[form]), expected);
    }
}

#[test]
fn the_codes_of_windows_cryptography_are_explained() {
    assert_says(
        &explained(&["CryptographicException (HRESULT: 0x80090016)"]),
        "  NTE_BAD_KEYSET: the key container does not exist, or cannot be opened\n    \
         number:   0x80090016 (-2146893802)\n    family:   CryptoAPI\n    severity: error\n",
    );
}

#[test]
fn wrong_options_are_refused_and_negative_numbers_are_none() {
    let output = explain().args(["--all", "6A82"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(explained(&["--", "-2146434968"]).contains(RESET));
}

#[cfg(unix)]
#[test]
fn an_argument_that_is_no_text_is_unknown() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let output = explain().arg(OsStr::from_bytes(b"\xFF")).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_closed_pipe_is_no_error() {
    let mut command = explain();
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"0x80100068\n").unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stderr, b"");
}

#[cfg(target_os = "linux")]
#[test]
fn on_a_terminal_without_arguments_it_says_what_it_takes() {
    let terminal = crate::support::terminal::Terminal::open();
    let output = explain().stdin(terminal.end()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(output.stdout, b"");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("\nusage: explain "), "{said}");
}
