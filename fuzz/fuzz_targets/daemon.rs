//! Any bytes may come from a daemon: an answer ends, or is none.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| scard::fuzzing::read_answers(bytes));
