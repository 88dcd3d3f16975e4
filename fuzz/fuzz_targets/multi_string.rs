//! Reads arbitrary bytes as a list of names.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for name in scard::fuzzing::split_multi_string(bytes) {
        assert!(!name.as_bytes().is_empty());
        assert!(!name.as_bytes().contains(&0));
    }
});
