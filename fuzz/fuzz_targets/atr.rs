//! Any bytes are read as an ATR.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scard::Atr;

fuzz_target!(|bytes: &[u8]| {
    let reading = Atr::new(bytes).parse();
    // Everything is computed and shown.
    let _ = (reading.to_string(), format!("{reading:?}"));
    let _ = (reading.storage_card(), reading.contactless());
    for problem in reading.problems() {
        assert!(!problem.to_string().is_empty());
    }
});
