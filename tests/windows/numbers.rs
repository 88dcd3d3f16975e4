//! Numbers that differ on Windows: the state of a card, RAW, control codes.

use scard::features::{Feature, PinFormat, PinOutcome, PinVerification};
use scard::{
    CardState, ConnectOptions, Context, Control as _, ControlCode, Initialization, Platform,
    Protocol, Protocols, ShareMode,
};
use scard_on_windows as scard;
use scard_testkit::isolated;

use crate::world::{exchange, plug, world};

/// `SCARD_CTL_CODE(3400)`, and a driver's codes for two features.
const GET_FEATURES: u32 = 0x0031_3520;
const VERIFY: u32 = 0x0031_36B0;
const PROPERTIES: u32 = 0x0031_36B4;

#[test]
fn this_is_windows() {
    assert_eq!(Platform::CURRENT, Platform::Windows);
}

#[test]
fn the_state_of_a_card_is_an_ordinal() {
    isolated(|| {
        plug(&["R"]);
        let context = Context::establish().unwrap();
        let mut card = context.connect("R", ConnectOptions::new()).unwrap();
        let status = card.status().unwrap();
        let powered = CardState::PRESENT | CardState::POWERED;
        assert_eq!(status.state(), powered | CardState::SPECIFIC);
        assert_eq!(status.raw_state(), 6);
        assert_eq!(status.protocol(), Some(Protocol::T1));
        assert_eq!(status.reader_names(), ["R"]);
        let mut reader = context.open_reader("R").unwrap();
        let status = reader.status().unwrap();
        assert_eq!(status.state(), powered | CardState::NEGOTIABLE);
        drop(card);
        exchange(0, false);
        reader.reconnect(Initialization::Leave).unwrap();
        assert_eq!(reader.status().unwrap().state(), CardState::ABSENT);
    });
}

#[test]
fn raw_has_its_own_number() {
    isolated(|| {
        plug(&["R"]);
        let context = Context::establish().unwrap();
        let raw = ConnectOptions::new().protocols(Protocols::RAW);
        let mut card = context.connect("R", raw).unwrap();
        assert_eq!(card.protocol(), Some(Protocol::Raw));
        // The stand-in checks the number in each command.
        assert_eq!(card.transmit(&[0, 0, 0, 0]).unwrap(), [0x90, 0x00]);
        let protocol = card.reconnect(ShareMode::Shared, Protocols::ANY, Initialization::Reset);
        assert_eq!(protocol.unwrap(), Protocol::T1);
        assert_eq!(card.transmit(&[0, 0, 0, 0]).unwrap(), [0x90, 0x00]);
    });
}

#[test]
fn features_are_found_by_windows_control_codes() {
    isolated(|| {
        plug(&["R"]);
        let mut list = Vec::new();
        for (feature, code) in [(0x06u8, VERIFY), (0x12, PROPERTIES)] {
            list.extend([feature, 4]);
            list.extend(code.to_be_bytes());
        }
        world().controls.insert(GET_FEATURES, list);
        world().controls.insert(VERIFY, vec![0x90, 0x00]);
        let context = Context::establish().unwrap();
        let mut card = context.connect("R", ConnectOptions::new()).unwrap();
        assert_eq!(ControlCode::GET_FEATURE_REQUEST.raw(), GET_FEATURES);
        let features = card.features().unwrap();
        let code = features.control_code(Feature::VERIFY_PIN_DIRECT);
        assert_eq!(code, Some(ControlCode::from_raw(VERIFY)));
        let verification = PinVerification::iso(0x81, PinFormat::ascii());
        let answer = card.verify_pin(&features, &verification).unwrap();
        assert_eq!(answer.outcome(), PinOutcome::Done);
    });
}
