//! Parses arbitrary bytes as a command. A command has only one encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scard::apdu::Command;

fuzz_target!(|bytes: &[u8]| {
    for command in [Command::parse(bytes), Command::parse_pseudo(bytes)] {
        match command {
            Ok(command) => {
                let again = command.to_bytes();
                assert_eq!(**again, *bytes);
                let _ = format!("{command} {command:?} {command:#?}");
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
});
