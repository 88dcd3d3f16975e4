//! Typed attributes, from a driver that has them all and from one that has almost none.
#![cfg(target_os = "linux")]

#[cfg(feature = "async")]
use scard::AsyncControl as _;
use scard::attributes::{self, AttributeError, CardPresence, CardType, Channel, IfdVersion};
use scard::{Attribute, Control as _, ErrorKind, Operation, Protocol};
use scard_testkit::{Driver, Sandbox, isolated};

use crate::support::*;

/// A sandbox whose first reader has these attributes.
fn fixture_with_attributes(table: &[(Attribute, &[u8])]) -> Fixture {
    let sandbox = Sandbox::builder().driver(Driver::Kit).readers(2);
    let fixture = Fixture::of(sandbox.card(0, plain_card()).start().unwrap());
    for (attribute, value) in table {
        let reader = fixture.sandbox.reader(0);
        reader.set_attribute(attribute.raw(), *value).unwrap();
    }
    fixture
}

#[test]
fn a_driver_that_has_them_all() {
    isolated(|| {
        let number = |number: u32| number.to_ne_bytes();
        let fixture = fixture_with_attributes(&[
            (Attribute::VENDOR_NAME, b"ACME\0\0"),
            (Attribute::VENDOR_IFD_TYPE, b"Pad 3000\0"),
            (Attribute::VENDOR_IFD_VERSION, &number(0x0102_0304)),
            (Attribute::VENDOR_IFD_SERIAL_NO, b"0815"),
            (Attribute::CHANNEL_ID, &number(0x0020_0309)),
            (Attribute::MAX_CLK, &number(4800)),
            (Attribute::MAX_DATA_RATE, &number(688_172)),
            (Attribute::MAX_IFSD, &u64::from(254_u32).to_ne_bytes()),
            (Attribute::CURRENT_PROTOCOL_TYPE, &number(2)),
            (Attribute::CURRENT_IFSC, &number(32)),
            (Attribute::CURRENT_IFSD, &number(254)),
            (Attribute::ICC_PRESENCE, &[2]),
            (Attribute::ICC_INTERFACE_STATUS, &[1]),
            (Attribute::ICC_TYPE_PER_ATR, &[1]),
            (Attribute::MAXINPUT, &number(261)),
            (Attribute::DEVICE_UNIT, &number(0)),
            (Attribute::DEVICE_FRIENDLY_NAME, b"ACME Pad 3000 00 00\0"),
            (Attribute::DEVICE_SYSTEM_NAME, b"ACME Pad 3000 00 00\0"),
            (Attribute::SUPRESS_T1_IFS_REQUEST, &[0]),
        ]);
        let mut card = fixture.connect();
        macro_rules! value {
            ($attribute:ident) => {
                card.attribute_value(attributes::$attribute).unwrap()
            };
        }
        assert_eq!(value!(VENDOR_NAME), "ACME");
        assert_eq!(value!(VENDOR_IFD_TYPE), "Pad 3000");
        assert_eq!(
            value!(VENDOR_IFD_VERSION),
            IfdVersion::from_raw(0x0102_0304)
        );
        assert_eq!(value!(VENDOR_IFD_VERSION).to_string(), "1.2.772");
        assert_eq!(value!(VENDOR_IFD_SERIAL_NO), "0815");
        let usb = Channel::Usb { bus: 3, device: 9 };
        assert_eq!(value!(CHANNEL_ID).channel(), usb);
        assert_eq!(value!(MAX_CLK), 4800);
        assert_eq!(value!(MAX_DATA_RATE), 688_172);
        assert_eq!(value!(MAX_IFSD), 254);
        assert_eq!(value!(CURRENT_PROTOCOL_TYPE), Protocol::T1);
        assert_eq!(value!(CURRENT_IFSC), 32);
        assert_eq!(value!(CURRENT_IFSD), 254);
        assert_eq!(value!(ICC_PRESENCE), CardPresence::Present);
        assert!(value!(ICC_INTERFACE_STATUS));
        assert_eq!(value!(ICC_TYPE_PER_ATR), CardType::Asynchronous);
        assert_eq!(value!(MAXINPUT), 261);
        assert_eq!(value!(DEVICE_UNIT), 0);
        assert_eq!(value!(DEVICE_FRIENDLY_NAME), "ACME Pad 3000 00 00");
        assert_eq!(value!(DEVICE_SYSTEM_NAME), "ACME Pad 3000 00 00");
        assert!(!value!(SUPRESS_T1_IFS_REQUEST));
        assert_eq!(value!(ATR_STRING).as_bytes(), scard_testkit::atr::T1);

        let mut transaction = card.transaction().unwrap();
        let name = transaction.attribute_value(attributes::VENDOR_NAME);
        assert_eq!(name.unwrap(), "ACME");
        drop(transaction);
        let mut reader = fixture.context.open_reader(&fixture.reader).unwrap();
        let unit = reader.attribute_value(attributes::DEVICE_UNIT);
        assert_eq!(unit.unwrap(), 0);
    });
}

#[test]
fn values_of_a_wrong_length_are_errors() {
    isolated(|| {
        let fixture = fixture_with_attributes(&[
            (Attribute::VENDOR_IFD_VERSION, b"1.5"),
            (Attribute::CHANNEL_ID, &[0; 9]),
            (Attribute::MAX_IFSD, &[0xFF; 8]),
            (Attribute::ICC_PRESENCE, &[]),
        ]);
        let mut reader = fixture.context.open_reader(&fixture.reader).unwrap();
        let version = reader.attribute_value(attributes::VENDOR_IFD_VERSION);
        match version.unwrap_err() {
            AttributeError::Value(invalid) => assert_eq!(invalid.as_bytes(), b"1.5"),
            other => panic!("{other}"),
        }
        let channel = reader.attribute_value(attributes::CHANNEL_ID);
        assert!(matches!(channel, Err(AttributeError::Value(_))));
        let ifsd = reader.attribute_value(attributes::MAX_IFSD);
        assert!(matches!(ifsd, Err(AttributeError::Value(_))));
        assert!(reader.attribute_value(attributes::ICC_PRESENCE).is_err());
    });
}

#[test]
fn what_a_driver_does_not_have_is_an_error_of_the_call() {
    isolated(|| {
        for driver in [Driver::Kit, Driver::Vpcd] {
            let sandbox = Sandbox::builder().driver(driver).readers(2);
            let fixture = Fixture::of(sandbox.card(0, plain_card()).start().unwrap());
            let mut card = fixture.connect();
            match card.attribute_value(attributes::MAX_DATA_RATE) {
                Err(AttributeError::Call { error, .. }) => {
                    assert_eq!(error.operation(), Operation::GetAttribute);
                    assert_eq!(error.kind(), ErrorKind::Unsupported, "{driver:?}");
                }
                other => panic!("{other:?}"),
            }
        }
    });
}

#[cfg(feature = "async")]
#[test]
fn attributes_can_be_awaited() {
    isolated(|| {
        let fixture = fixture_with_attributes(&[(Attribute::VENDOR_NAME, b"ACME\0")]);
        let mut card = scard::AsyncCard::from(fixture.connect());
        let name = smol::block_on(card.attribute_value(attributes::VENDOR_NAME));
        assert_eq!(name.unwrap(), "ACME");
    });
}
