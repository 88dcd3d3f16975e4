//! The example `explain` as it is run: arguments, standard input, output and exit code.

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
    to do:    Reconnect, leaving the card as it is, and set up its state anew: select the \
application, verify the PIN.
";

/// Whether every line of the expected text is in the output, together and in order. Lines may
/// follow it.
fn assert_says(output: &str, expected: &str) {
    assert!(output.contains(expected), "{output}");
}

#[test]
fn a_code_is_explained_in_each_of_its_forms() {
    for form in [
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

    let output = from_input("nonsense\n0x80100068\n");
    assert_eq!(output.status.code(), Some(1));
    assert_says(text(&output), RESET);

    let output = from_input("");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output), "");
}

#[cfg(unix)]
#[test]
fn an_argument_that_is_no_text_is_unknown() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let output = explain().arg(OsStr::from_bytes(b"\xFF")).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}
