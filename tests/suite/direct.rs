//! Direct access to a reader, and switching to the card and back.
#![cfg(target_os = "linux")]

use std::time::Duration;

use scard::{
    Attribute, CardState, Control, ControlCode, Disposition, Initialization, Operation, Protocol,
    Protocols, ReturnCode, ShareMode,
};
use scard_testkit::{Driver, IfdCall, Sandbox, isolated};

use crate::support::*;

/// The only attribute of the virtual readers' driver, which has its own number for it.
const DRIVERS_ATR: Attribute = Attribute::from_raw(0x0303);

#[test]
fn direct_access_needs_no_card() {
    isolated(|| {
        let fixture = fixture();
        let mut reader = fixture.context.open_reader(&fixture.empty_reader).unwrap();
        assert_eq!(reader.reader_name(), &fixture.empty_reader);
        let status = reader.status().unwrap();
        assert_eq!(status.state(), CardState::ABSENT);
        assert_eq!(
            status.reader_names(),
            std::slice::from_ref(&fixture.empty_reader)
        );
        assert!(status.atr().is_empty());
        reader.disconnect(Disposition::Leave).unwrap();
    });
}

#[test]
fn direct_access_to_a_card_negotiates_nothing() {
    isolated(|| {
        let fixture = fixture();
        let mut reader = fixture.context.open_reader(&fixture.reader).unwrap();
        let status = reader.status().unwrap();
        assert_eq!(
            status.state(),
            CardState::PRESENT | CardState::POWERED | CardState::NEGOTIABLE
        );
        assert_eq!(status.protocol(), None);
        assert_eq!(status.atr().as_bytes(), scard_testkit::atr::T1);
    });
}

#[test]
fn direct_access_moves_to_general_access() {
    isolated(|| {
        let fixture = fixture();
        for initialization in [
            Initialization::Leave,
            Initialization::Reset,
            Initialization::Unpower,
        ] {
            let reader = fixture.context.open_reader(&fixture.reader).unwrap();
            let mut card = reader
                .into_card(ShareMode::Shared, Protocols::ANY, initialization)
                .unwrap();
            assert_eq!(card.protocol(), Some(Protocol::T1));
            assert_works(&mut card);
            card.disconnect(Disposition::Leave).unwrap();
        }
    });
}

#[test]
fn a_card_without_power_gets_it_back_by_a_reset_and_not_by_leave() {
    isolated(|| {
        let fixture = fixture_with(plain_card().strict_power(true));
        let is_off = |stats: &scard_testkit::CardStats| stats.power_offs >= stats.power_ons;
        // The card is unused, so the daemon powers it down.
        fixture.card.wait_until(SOON, is_off).unwrap();
        let direct = fixture.context.open_reader(&fixture.reader).unwrap();
        let mut card = direct
            .into_card(ShareMode::Shared, Protocols::ANY, Initialization::Leave)
            .unwrap();
        assert!(
            is_off(&fixture.card.stats()),
            "the service reports success and leaves the card without power"
        );
        reconnect(&mut card, Initialization::Reset).unwrap();
    });
}

/// The daemon waits for the reset, and would then take the power from a card that is used only
/// directly.
#[test]
fn a_card_that_is_reset_on_the_way_from_direct_access_keeps_its_power() {
    isolated(|| {
        let card = plain_card().strict_power(true);
        let kit = Sandbox::builder().driver(Driver::Kit).readers(2);
        let fixture = Fixture::of(kit.card(0, card).start().unwrap());
        let slot = fixture.sandbox.reader(0);
        // Longer than an unused card has power.
        slot.delay_every(IfdCall::Reset, Duration::from_secs(6))
            .unwrap();
        let direct = fixture.context.open_reader(&fixture.reader).unwrap();
        let mut card = direct
            .into_card(ShareMode::Shared, Protocols::ANY, Initialization::Reset)
            .unwrap();
        assert_works(&mut card);
        assert_eq!(fixture.card.stats().power_offs, 0);
    });
}

#[test]
fn no_card_gives_the_reader_back() {
    isolated(|| {
        let fixture = fixture();
        let reader = fixture.context.open_reader(&fixture.empty_reader).unwrap();
        let failed = reader
            .into_card(ShareMode::Shared, Protocols::ANY, Initialization::Leave)
            .unwrap_err();
        let (mut reader, error) = failed.into_parts();
        assert_eq!(error.operation(), Operation::Reconnect);
        assert_eq!(error.code(), ReturnCode::E_NO_SMARTCARD);
        assert_eq!(error.reader_name(), Some(&fixture.empty_reader));
        assert_eq!(reader.status().unwrap().state(), CardState::ABSENT);
    });
}

#[test]
fn direct_access_resets_the_card_without_a_protocol() {
    isolated(|| {
        let fixture = fixture();
        let mut card = fixture.connect();
        let mut reader = fixture.context.open_reader(&fixture.reader).unwrap();
        for initialization in [Initialization::Reset, Initialization::Unpower] {
            reader.reconnect(initialization).unwrap();
            assert_eq!(reader.status().unwrap().protocol(), None);
            assert_fails(
                card.transmit(COMMAND),
                Operation::Transmit,
                ReturnCode::W_RESET_CARD,
            );
        }
        reconnect(&mut card, Initialization::Leave).unwrap();
        assert_works(&mut card);
    });
}

#[test]
fn a_reader_is_told_what_happens_to_the_card_until_it_acknowledges_it() {
    isolated(|| {
        let fixture = fixture();
        let mut reader = fixture.context.open_reader(&fixture.reader).unwrap();
        fixture.reset_by_another();
        let reset = ReturnCode::W_RESET_CARD;
        for _ in 0..2 {
            assert_fails(reader.status(), Operation::Status, reset);
        }
        reader.reconnect(Initialization::Leave).unwrap();
        assert!(reader.status().is_ok());

        let slot = fixture.sandbox.reader(0);
        slot.remove().unwrap();
        let removed = ReturnCode::W_REMOVED_CARD;
        assert_fails(reader.status(), Operation::Status, removed);
        let acknowledged = reader.reconnect(Initialization::Leave);
        assert_fails(
            acknowledged,
            Operation::Reconnect,
            ReturnCode::E_NO_SMARTCARD,
        );
        slot.insert(plain_card()).unwrap();
        assert_fails(reader.status(), Operation::Status, removed);
        reader.reconnect(Initialization::Leave).unwrap();
        assert!(reader.status().is_ok());
    });
}

#[test]
fn a_refused_move_to_the_card_leaves_a_usable_reader() {
    isolated(|| {
        let fixture = fixture();
        let reader = fixture.context.open_reader(&fixture.reader).unwrap();
        let failed = reader
            .into_card(ShareMode::Shared, Protocols::T0, Initialization::Reset)
            .unwrap_err();
        assert_eq!(failed.error().code(), ReturnCode::E_PROTO_MISMATCH);
        let mut reader = failed.into_handle();
        // The card was reset anyway.
        assert_fails(reader.status(), Operation::Status, ReturnCode::W_RESET_CARD);
        reader.reconnect(Initialization::Leave).unwrap();
        assert!(reader.status().is_ok());
        let mut card = reader
            .into_card(ShareMode::Shared, Protocols::ANY, Initialization::Leave)
            .unwrap();
        assert_works(&mut card);
    });
}

#[test]
fn the_card_can_be_given_up_for_direct_access() {
    isolated(|| {
        let fixture = fixture();
        let card = fixture.connect();
        let mut reader = card.into_reader(Initialization::Leave).unwrap();
        assert!(reader.status().is_ok());
        let mut card = reader
            .into_card(ShareMode::Exclusive, Protocols::T1, Initialization::Leave)
            .unwrap();
        assert_eq!(card.share_mode(), ShareMode::Exclusive);
        assert_works(&mut card);
    });
}

#[test]
fn the_card_can_be_reset_on_the_way_to_direct_access() {
    isolated(|| {
        let fixture = fixture();
        for initialization in [Initialization::Reset, Initialization::Unpower] {
            let before = fixture.card.stats();
            let mut reader = fixture.connect().into_reader(initialization).unwrap();
            let after = fixture.card.stats();
            assert_eq!(
                after.resets + after.power_ons,
                before.resets + before.power_ons + 1
            );
            assert_eq!(reader.status().unwrap().protocol(), None);
            reader.disconnect(Disposition::Leave).unwrap();
        }
    });
}

#[test]
fn attributes_and_control_codes() {
    isolated(|| {
        let sandbox = Sandbox::builder()
            .driver(Driver::Vpcd)
            .card(0, plain_card());
        let fixture = Fixture::of(sandbox.start().unwrap());
        let mut reader = fixture.context.open_reader(&fixture.reader).unwrap();
        let atr = reader.attribute(DRIVERS_ATR).unwrap();
        assert_eq!(atr, scard_testkit::atr::T1);

        // With this driver, no buffer for the name is large enough for the daemon.
        assert_fails(
            reader.attribute(Attribute::DEVICE_FRIENDLY_NAME),
            Operation::GetAttribute,
            ReturnCode::E_INSUFFICIENT_BUFFER,
        );

        // An unsupported attribute: 0x8010001F with pcsc-lite.
        let unsupported = ReturnCode::from_raw(0x8010_001F);
        let unknown = Attribute::from_raw(0x7_FFFF);
        assert_fails(
            reader.attribute(unknown),
            Operation::GetAttribute,
            unsupported,
        );
        let set = reader.set_attribute(Attribute::SUPRESS_T1_IFS_REQUEST, &[1]);
        assert_eq!(set.unwrap_err().operation(), Operation::SetAttribute);
        let control = ControlCode::from_function(2048);
        assert_fails(
            reader.control(control, &[1, 2, 3]),
            Operation::Control,
            unsupported,
        );
        assert_fails(
            reader.control(control, &[]),
            Operation::Control,
            unsupported,
        );

        // The same on a card.
        let mut card = fixture.connect();
        assert_eq!(card.attribute(DRIVERS_ATR).unwrap(), atr);
        assert_fails(card.control(control, &[]), Operation::Control, unsupported);
        assert!(card.set_attribute(unknown, &[]).is_err());
    });
}

#[test]
fn absurd_attribute_and_control_input_is_an_error() {
    isolated(|| {
        let fixture = fixture();
        let mut reader = fixture.context.open_reader(&fixture.reader).unwrap();
        let huge = vec![0; 70_000];
        assert_fails(
            reader.set_attribute(Attribute::VENDOR_NAME, &huge),
            Operation::SetAttribute,
            ReturnCode::E_INSUFFICIENT_BUFFER,
        );
        assert_fails(
            reader.control(ControlCode::GET_FEATURE_REQUEST, &huge),
            Operation::Control,
            ReturnCode::E_INSUFFICIENT_BUFFER,
        );
        assert!(reader.status().is_ok());
    });
}
