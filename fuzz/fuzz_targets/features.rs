//! Reads arbitrary bytes as a reader's answers about its features.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scard::features::pace::{PaceAnswer, PaceCapabilities};
use scard::features::{PinPadAnswer, PinPadProperties, ReaderFeatures, ReaderProperties, ppdu};

fuzz_target!(|bytes: &[u8]| {
    let features = ReaderFeatures::from_bytes(bytes);
    for (feature, code) in features.iter() {
        assert_eq!(
            features.control_code(feature).is_some(),
            features.has(feature)
        );
        let _ = (feature.name(), code);
    }
    let properties = ReaderProperties::from_bytes(bytes);
    let _ = format!("{features:?} {properties:?}");
    let _ = (properties.max_apdu_data_size(), properties.firmware());
    let _ = properties.false_pin_pad();
    let _ = PinPadProperties::from_bytes(bytes);
    let _ = PinPadAnswer::from_bytes(bytes).outcome().to_string();
    assert!(ppdu::features(bytes).len() <= bytes.len());
    let _ = PaceCapabilities::from_answer(bytes);
    if let Ok(answer) = PaceAnswer::from_bytes(bytes) {
        assert!(answer.card_access().len() + answer.id_icc().len() < bytes.len());
        assert!(!answer.result().to_string().is_empty());
    }
});
