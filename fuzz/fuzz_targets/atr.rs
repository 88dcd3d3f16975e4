//! Reads arbitrary bytes as an ATR.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scard::Atr;

fuzz_target!(|bytes: &[u8]| {
    let Ok(atr) = Atr::new(bytes) else {
        return assert!(bytes.len() > Atr::MAX_LEN);
    };
    assert_eq!(atr.to_string().parse(), Ok(atr));
    let reading = atr.parse();
    // Computes and formats everything.
    let _ = (reading.to_string(), format!("{reading:?}"));
    let _ = (reading.storage_card(), reading.contactless());
    for problem in reading.problems() {
        assert!(!problem.to_string().is_empty());
    }
});
