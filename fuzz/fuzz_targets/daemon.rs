//! Reads arbitrary bytes as answers of the daemon.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| scard::fuzzing::read_answers(bytes));
