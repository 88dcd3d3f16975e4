use super::*;
use crate::error::Operation;

#[test]
fn numbers_are_a_dword_of_either_width() {
    assert_eq!(number(&7_u32.to_ne_bytes()), Some(7));
    assert_eq!(number(&7_u64.to_ne_bytes()), Some(7));
    assert_eq!(number(&u32::MAX.to_ne_bytes()), Some(u32::MAX));
    assert_eq!(number(&(1_u64 << 32).to_ne_bytes()), None);
    for len in [0, 1, 2, 3, 5, 6, 7, 9, 300] {
        assert_eq!(number(&vec![0; len]), None, "{len}");
    }
}

#[test]
fn bytes_and_booleans() {
    assert_eq!(byte(&[2]), Some(2));
    assert_eq!(byte(&2_u32.to_ne_bytes()), Some(2));
    assert_eq!(byte(&256_u32.to_ne_bytes()), None);
    assert_eq!(byte(&[]), None);
    assert_eq!(bool(&[0]), Some(false));
    assert_eq!(bool(&[0xFF]), Some(true));
    assert_eq!(bool(&256_u32.to_ne_bytes()), Some(true));
    assert_eq!(bool(&[0, 0]), None);
}

#[test]
fn texts_end_at_the_first_nul() {
    let read = |bytes: &[u8]| VENDOR_NAME.read(bytes).unwrap();
    assert_eq!(read(b"Ludovic\0"), "Ludovic");
    assert_eq!(read(b"ACME\0\0\0junk"), "ACME");
    assert_eq!(read(b"ACME"), "ACME");
    assert_eq!(read(b""), "");
    assert_eq!(read(b"\0"), "");
    assert_eq!(read(b"\xFFx"), "\u{FFFD}x");
}

#[test]
fn channels() {
    let channel = |raw| ChannelId::from_raw(raw).channel();
    assert_eq!(channel(0x0001_0002), Channel::Serial { port: 2 });
    assert_eq!(channel(0x0002_0001), Channel::Parallel { port: 1 });
    assert_eq!(channel(0x0004_0000), Channel::Keyboard);
    assert_eq!(channel(0x0008_0003), Channel::Scsi { id: 3 });
    assert_eq!(channel(0x0010_0001), Channel::Ide { device: 1 });
    let usb = Channel::Usb { bus: 2, device: 17 };
    assert_eq!(channel(0x0020_0211), usb);
    let vendor = Channel::Vendor {
        kind: 0xF3,
        number: 9,
    };
    assert_eq!(channel(0x00F3_0009), vendor);
    let other = Channel::Other {
        kind: 0x100,
        number: 9,
    };
    assert_eq!(channel(0x0100_0009), other);
    assert_eq!(
        ChannelId::from_raw(0).to_string(),
        "channel 0 of type 0x0000"
    );
}

#[test]
fn wrong_values_are_errors_that_name_the_attribute() {
    let error = VENDOR_IFD_VERSION.read(&[1, 2, 3]).unwrap_err();
    assert_eq!(error.attribute(), Attribute::VENDOR_IFD_VERSION);
    assert_eq!(error.as_bytes(), [1, 2, 3]);
    assert_eq!(
        error.to_string(),
        "the driver returned no value of SCARD_ATTR_VENDOR_IFD_VERSION: [01, 02, 03]"
    );
    let long = MAX_CLK.read(&[0; 300]).unwrap_err().to_string();
    assert!(long.ends_with("and more, 300 bytes"), "{long}");
    assert!(long.len() < 200, "{long}");
    assert!(ATR_STRING.read(&[0x3B; 40]).is_err());
    // As long as winscard's buffers, and longer than an ATR.
    assert_eq!(ATR_STRING.read(&[0x3B; 36]).unwrap().len(), 36);
    let own = TypedAttribute::<()>::new(Attribute::from_raw(0x7_A0FF), |_| None);
    let text = own.read(&[]).unwrap_err().to_string();
    assert_eq!(
        text,
        "the driver returned no value of the attribute 0x7A0FF: []"
    );
    assert!(format!("{own:?}").contains("0x7A0FF"));
}

#[test]
fn errors_of_the_call_and_of_the_value_name_the_attribute() {
    let missing = Error::new(Operation::GetAttribute, ReturnCode::E_UNSUPPORTED_FEATURE);
    let failed = MAX_CLK.of_answer(Err(missing.clone())).unwrap_err();
    assert_eq!(failed.attribute(), Attribute::MAX_CLK);
    assert_eq!(failed.error(), Some(&missing));
    assert_eq!(failed.to_string(), "reading SCARD_ATTR_MAX_CLK failed");
    let wrong = MAX_IFSD.of_answer(Ok(vec![1, 2, 3])).unwrap_err();
    assert_eq!(wrong.attribute(), Attribute::MAX_IFSD);
    assert_eq!(wrong.error(), None);
    assert_eq!(MAX_IFSD.of_answer(Ok(vec![0; 4])), Ok(0));
}

#[test]
fn every_typed_attribute_has_the_number_of_its_name() {
    for (konst, attribute) in NAMES {
        let name = format!("SCARD_ATTR_{konst}");
        assert_eq!(attribute.name(), Some(name.as_str()));
    }
}
