//! `examples/transmit.rs`.

use scard_testkit::IsoCard;

use super::{isolated, run, sandbox, stdout};

#[test]
fn sends_hex_and_prints_hex() {
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

        for wrong in [&["0G"][..], &["000"], &[], &["--reader"], &["--with", "x"]] {
            assert_eq!(
                run(&sandbox, "transmit", wrong).status.code(),
                Some(2),
                "{wrong:?}"
            );
        }
    });
}

#[test]
fn says_what_is_wrong_with_an_option() {
    isolated(|| {
        let sandbox = sandbox();
        for (option, message) in [
            ("chaining", "--with: \"chaining\" is not OPTION=VALUE"),
            ("chain=yes", "--with: there is no option \"chain\""),
            (
                "chaining=maybe",
                "--with chaining: \"maybe\" is not yes or no",
            ),
            (
                "max-rounds=-1",
                "--with max-rounds: \"-1\" is not a number below 2^32",
            ),
            (
                "max-size=",
                "--with max-size: \"\" is not a number below 2^32",
            ),
            (
                "continuation=C0",
                "--with continuation: \"C0\" is not a way to continue, nor CLA:INS in hex",
            ),
            (
                "continuation=00:0G",
                "--with continuation: \"00:0G\" is not a way to continue, nor CLA:INS in hex",
            ),
        ] {
            let output = run(&sandbox, "transmit", &["--with", option, "00840000"]);
            assert_eq!(output.status.code(), Some(2), "{option}");
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(said.lines().next(), Some(message));
        }
        for option in ["max-size=70000", "continuation=00:C0"] {
            stdout(&run(&sandbox, "transmit", &["--with", option, "00840000"]));
        }
    });
}

#[test]
fn runs_scripts_and_says_what_was_not_expected() {
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
            ("00840000 => 90", ", line 1: \"90\" is not a status word"),
            (
                "00840000 => 90g0",
                ", line 1: \"90g0\" is not a status word",
            ),
            ("# nothing", "there is no command\n\nusage: "),
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
