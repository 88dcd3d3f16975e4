use std::time::Duration;

use super::*;
use crate::ControlCode;
use crate::apdu::{ExchangeOptions, StatusWord};
use crate::codes::Platform;

/// A request for an eight-byte ASCII PIN, as most cards use it.
fn verification() -> PinVerification {
    PinVerification::iso(0x80, PinFormat::ascii().block_len(8))
}

#[test]
fn verification_is_packed_and_little_endian() {
    let request = verification()
        .timeout(Duration::from_secs(60))
        .timeout_after_first_key(Duration::from_secs(15))
        .digits(6..=8)
        .ends_with(EntryValidation::KEY | EntryValidation::MAX_DIGITS)
        .messages(PinMessages::One(2))
        .language(0x040C)
        .t1_prologue([1, 2, 3]);
    let expected = [
        60, 15, // bTimerOut, bTimerOut2
        0x82, 0x08, 0x00, // bmFormatString, bmPINBlockString, bmPINLengthFormat
        8, 6,    // wPINMaxExtraDigit 0x0608
        0x03, // bEntryValidationCondition
        0x01, // bNumberMessage
        0x0C, 0x04, // wLangId
        0x02, // bMsgIndex
        1, 2, 3, // bTeoPrologue
        13, 0, 0, 0, // ulDataLength
        0x00, 0x20, 0x00, 0x80, 0x08, // VERIFY
        0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
    ];
    assert_eq!(request.to_bytes().unwrap(), expected);
}

#[test]
fn modification_is_packed_and_little_endian() {
    let request = PinModification::iso(0x81, PinFormat::ascii().block_len(6).filler(0))
        .timeout(Duration::from_millis(29_001))
        .digits(4..=6);
    let expected = [
        30, 0, // bTimerOut, bTimerOut2
        0x82, 0x06, 0x00, // bmFormatString, bmPINBlockString, bmPINLengthFormat
        0, 6, // bInsertionOffsetOld, bInsertionOffsetNew
        6, 4,    // wPINMaxExtraDigit 0x0406
        0x03, // bConfirmPIN
        0x02, // bEntryValidationCondition
        0x03, // bNumberMessage
        0x09, 0x04, // wLangId
        0, 1, 2, // bMsgIndex1 to 3
        0, 0, 0, // bTeoPrologue
        17, 0, 0, 0, // ulDataLength
        0x00, 0x24, 0x00, 0x81, 12, // CHANGE REFERENCE DATA
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    assert_eq!(request.to_bytes().unwrap(), expected);
}

#[test]
fn a_change_that_asks_only_for_the_new_pin_shows_fewer_messages() {
    let format = PinFormat::iso_9564_format_2();
    let once = PinModification::iso_new_only(0x01, format).confirms(false);
    let bytes = once.to_bytes().unwrap();
    assert_eq!(bytes[2..7], [0x89, 0x47, 0x04, 0, 0]);
    assert_eq!(bytes[9], 0, "bConfirmPIN");
    assert_eq!((bytes[11], &bytes[14..17]), (1, &[1, 0, 0][..]));
    assert_eq!(bytes[20..24], [13, 0, 0, 0]);
    let command = b"\x00\x24\x01\x01\x08\x20\xFF\xFF\xFF\xFF\xFF\xFF\xFF";
    assert_eq!(bytes[24..], command[..]);

    let twice = PinModification::iso_new_only(0x01, format);
    let bytes = twice.to_bytes().unwrap();
    assert_eq!(
        (bytes[9], bytes[11], &bytes[14..17]),
        (1, 2, &[1, 2, 0][..])
    );
    let both_once = PinModification::iso(0x01, format).confirms(false);
    let bytes = both_once.to_bytes().unwrap();
    assert_eq!(
        (bytes[9], bytes[11], &bytes[14..17]),
        (2, 2, &[0, 1, 0][..])
    );
    assert_eq!(
        bytes[5..7],
        [0, 8],
        "the second block begins after the first"
    );
    let own = both_once
        .messages(PinMessages::ReaderDefault)
        .to_bytes()
        .unwrap();
    assert_eq!((own[11], &own[14..17]), (0xFF, &[0, 1, 2][..]));
}

#[test]
fn formats() {
    let bytes = |format: PinFormat| format.to_bytes().unwrap();
    assert_eq!(bytes(PinFormat::binary()), [0x80, 0, 0]);
    assert_eq!(bytes(PinFormat::bcd()), [0x81, 0, 0]);
    assert_eq!(bytes(PinFormat::ascii()), [0x82, 0, 0]);
    assert_eq!(bytes(PinFormat::bcd().justified_right()), [0x85, 0, 0]);
    let bits = PinFormat::bcd().position(PinOffset::Bits(8)).block_len(8);
    // What smart-card middleware uses for GlobalPlatform PINs, counted in bits.
    assert_eq!(
        bytes(bits.length(4, PinOffset::Bits(4))),
        [0x41, 0x48, 0x04]
    );
    let length = PinFormat::ascii().length(8, PinOffset::Bytes(1));
    assert_eq!(
        bytes(length.position(PinOffset::Bytes(2))),
        [0x92, 0x80, 0x11]
    );
    let most = PinFormat::ascii()
        .position(PinOffset::Bytes(15))
        .block_len(15)
        .length(15, PinOffset::Bits(15));
    assert_eq!(bytes(most), [0xFA, 0xFF, 0x0F]);
}

#[test]
fn values_that_do_not_fit_are_errors_and_not_truncated() {
    for format in [
        PinFormat::ascii().position(PinOffset::Bytes(16)),
        PinFormat::ascii().position(PinOffset::Bits(255)),
        PinFormat::ascii().block_len(16),
        PinFormat::ascii().length(16, PinOffset::Bits(0)),
        PinFormat::ascii().length(4, PinOffset::Bits(16)),
    ] {
        assert!(format.to_bytes().is_err(), "{format:?}");
        assert!(PinVerification::iso(0, format).to_bytes().is_err());
        assert!(PinModification::iso(0, format).to_bytes().is_err());
    }
    // An absurd block makes an absurd command, not a panic.
    let absurd = PinFormat::ascii().block_len(255);
    assert!(PinModification::iso(0, absurd).to_bytes().is_err());

    #[allow(clippy::reversed_empty_ranges)]
    let reversed = verification().digits(9..=8);
    assert!(reversed.to_bytes().is_err());
    assert!(verification().digits(8..=8).to_bytes().is_ok());
    let two = verification().messages(PinMessages::Two(0, 1));
    let invalid = two.to_bytes().unwrap_err();
    let reason = "a PIN verification has at most one message";
    assert_eq!(
        (invalid.description(), invalid.to_string().as_str()),
        (reason, reason)
    );
    let short = PinVerification::new([0x00, 0x20, 0x00], PinFormat::ascii());
    assert!(short.to_bytes().is_err());
    let header = PinVerification::new([0x00, 0x20, 0x00, 0x80], PinFormat::ascii());
    assert!(header.to_bytes().is_ok());
}

#[test]
fn requests_that_contradict_themselves_are_refused() {
    let format = PinFormat::ascii().block_len(8);
    let reason = |request: Result<Vec<u8>, InvalidPinRequest>| request.unwrap_err().to_string();
    let verify = |command: &[u8]| PinVerification::new(command, format).to_bytes();
    assert!(verify(b"\x00\x20\x00\x80\x0812345678").is_ok());
    for command in [
        &b"\x00\x20\x00\x80\x07\x31\x32\x33\x34\x35\x36\x37\x38"[..],
        b"\x00\x20\x00\x80\x09\x31\x32\x33\x34\x35\x36\x37\x38",
        b"\x00\x20\x00\x80\x08",
        b"\x00\x20\x00\x80\x00\x00",
    ] {
        let said = "Lc of the PIN command does not match its data";
        assert_eq!(reason(verify(command)), said, "{command:02X?}");
    }
    // A PIN that does not fit its block, in any encoding; one digit fewer does.
    let behind_length = PinFormat::ascii().position(PinOffset::Bytes(1));
    for (format, most) in [
        (PinFormat::ascii().block_len(6), 6),
        (PinFormat::binary().block_len(6), 6),
        (PinFormat::bcd().block_len(6), 12),
        (PinFormat::iso_9564_format_2(), 14),
        (behind_length.length(3, PinOffset::Bits(0)), 7),
    ] {
        let digits = |most| {
            PinVerification::iso(0x80, format)
                .digits(4..=most)
                .to_bytes()
        };
        assert!(digits(most).is_ok(), "{format:?}");
        assert!(digits(most + 1).is_err(), "{format:?}");
        let change = PinModification::iso(0x80, format);
        assert!(change.clone().digits(4..=most).to_bytes().is_ok());
        assert!(change.digits(4..=most + 1).to_bytes().is_err());
    }
    // A block that is not within the data.
    let behind = "the PIN block ends after the data of the command";
    assert_eq!(reason(verify(b"\x00\x20\x00\x80\x041234")), behind);
    let two = PinModification::new(b"\x00\x24\x00\x80\x0812345678", format);
    assert_eq!(reason(two.clone().offsets(0, 8).to_bytes()), behind);
    assert_eq!(reason(two.clone().offsets(8, 0).to_bytes()), behind);
    assert!(two.offsets(8, 0).asks_current(false).to_bytes().is_ok());
    // As middleware requests GlobalPlatform PINs: a block of 8 bytes after the first 8 bits.
    let bits = PinFormat::bcd().position(PinOffset::Bits(8)).block_len(8);
    let bits = bits.length(4, PinOffset::Bits(4));
    let command = b"\x00\x20\x00\x01\x08\x20\xFF\xFF\xFF\xFF\xFF\xFF\xFF";
    assert!(PinVerification::new(*command, bits).to_bytes().is_ok());
}

#[test]
fn a_command_without_data_has_four_or_five_bytes() {
    let format = PinFormat::ascii();
    let verify = PinVerification::iso(0x80, format);
    let bytes = verify.clone().to_bytes().unwrap();
    assert_eq!(bytes[15..], *b"\x05\0\0\0\x00\x20\x00\x80\x00");
    let bytes = verify.without_lc().to_bytes().unwrap();
    assert_eq!(bytes[15..], *b"\x04\0\0\0\x00\x20\x00\x80");
    let change = PinModification::iso(0x80, format).without_lc();
    let bytes = change.to_bytes().unwrap();
    assert_eq!(bytes[20..], *b"\x04\0\0\0\x00\x24\x00\x80");
    let filled = PinVerification::iso(0x80, format.block_len(8)).without_lc();
    assert!(filled.to_bytes().is_err());
}

#[test]
fn times_are_rounded_up_to_whole_seconds() {
    let seconds = |time| verification().timeout(time).to_bytes().unwrap()[0];
    assert_eq!(verification().to_bytes().unwrap()[0], 30);
    assert_eq!(seconds(Duration::ZERO), 0);
    assert_eq!(seconds(Duration::from_nanos(1)), 1);
    assert_eq!(seconds(Duration::from_millis(1500)), 2);
    assert_eq!(seconds(Duration::from_secs(255)), 255);
    assert_eq!(seconds(Duration::from_secs(256)), 255);
    assert_eq!(seconds(Duration::MAX), 255);
}

#[test]
fn a_pin_without_padding_has_a_command_without_data() {
    let request = PinVerification::iso(0x82, PinFormat::ascii());
    let bytes = request.to_bytes().unwrap();
    assert_eq!(bytes[15..], [5, 0, 0, 0, 0x00, 0x20, 0x00, 0x82, 0x00]);
}

#[test]
fn features_have_the_codes_of_their_platform() {
    for platform in [Platform::Windows, Platform::MacOs, Platform::PcscLite] {
        let code = platform.control_code(3500);
        let mut answer = vec![0x06, 0x04];
        answer.extend(code.to_be_bytes());
        let features = ReaderFeatures::from_bytes(&answer);
        let found = features.control_code(Feature::VERIFY_PIN_DIRECT);
        assert_eq!(found, Some(ControlCode::from_raw(code)), "{platform}");
    }
    // The answer of a Windows driver: two features with codes from 0x310000 on.
    let windows = b"\x06\x04\x00\x31\x36\xB0\x07\x04\x00\x31\x36\xB4";
    let features = ReaderFeatures::from_bytes(windows);
    let codes: Vec<u32> = features.iter().map(|(_, code)| code.raw()).collect();
    assert_eq!(codes, [0x0031_36B0, 0x0031_36B4]);
    assert_eq!(Platform::Windows.control_code(3500), 0x0031_36B0);
}

#[test]
fn junk_among_features_is_ignored() {
    let bytes = [
        0x00, 0x00, // nothing
        0x06, 0x02, 0x42, 0x33, // too short
        0x06, 0x04, 0x42, 0x33, 0x00, 0x06, // right
        0x06, 0x04, 0x42, 0x33, 0x00, 0x07, // once more
        0x07, 0x04, 0x00, 0x00, 0x00, 0x00, // no code
        0xEE, 0x04, 0x12, 0x34, 0x56, 0x78, // unknown
        0x08, 0x05, 1, 2, 3, 4, 5, // too long
        0x0A, 0x04, 0x42, // cut off
    ];
    let features = ReaderFeatures::from_bytes(&bytes);
    let code = |raw| Some(ControlCode::from_raw(raw));
    assert_eq!(features.iter().count(), 3);
    assert_eq!(
        features.control_code(Feature::VERIFY_PIN_DIRECT),
        code(0x4233_0006)
    );
    assert_eq!(
        features.control_code(Feature::from_raw(0xEE)),
        code(0x1234_5678)
    );
    for none in [
        Feature::MODIFY_PIN_DIRECT,
        Feature::MCT_READER_DIRECT,
        Feature::IFD_PIN_PROPERTIES,
    ] {
        assert!(!features.has(none), "{none:?}");
    }
    for end in 0..=bytes.len() {
        let _ = ReaderFeatures::from_bytes(&bytes[..end]);
    }
    assert!(ReaderFeatures::from_bytes(&[]).is_empty());
}

#[test]
fn properties_are_little_endian_of_any_width() {
    let bytes = [
        0x01, 0x02, 0x10, 0x02, // wLcdLayout
        0x02, 0x01, 0x07, // bEntryValidationCondition
        0x03, 0x01, 0x01, // bTimeOut2
        0x04, 0x02, 0x10, 0x00, // wLcdMaxCharacters
        0x05, 0x02, 0x02, 0x00, // wLcdMaxLines
        0x06, 0x01, 0x04, // bMinPINSize
        0x07, 0x02, 0x08, 0x00, // bMaxPINSize, wider than it has to be
        0x08, 0x05, b'1', b'.', b'2', 0, 0, // sFirmwareID
        0x09, 0x01, 0x02, // bPPDUSupport
        0x0A, 0x04, 0x00, 0x00, 0x01, 0x00, // dwMaxAPDUDataSize
        0x0B, 0x02, 0xE6, 0x08, // wIdVendor
        0x0C, 0x02, 0x37, 0x34, // wIdProduct
        0x77, 0x01, 0x42, // unknown
    ];
    let properties = ReaderProperties::from_bytes(&bytes);
    assert_eq!(properties.lcd_layout(), Some(0x0210));
    assert_eq!(properties.entry_validation(), Some(EntryValidation::all()));
    assert_eq!(properties.has_second_timeout(), Some(true));
    assert_eq!(properties.lcd_max_characters(), Some(16));
    assert_eq!(properties.lcd_max_lines(), Some(2));
    assert_eq!(properties.min_pin_size(), Some(4));
    assert_eq!(properties.max_pin_size(), Some(8));
    assert_eq!(properties.firmware().as_deref(), Some("1.2"));
    assert_eq!(properties.ppdu_support(), Some(PpduSupport::TRANSMIT));
    assert_eq!(properties.max_apdu_data_size(), Some(0x1_0000));
    assert_eq!(properties.vendor_id(), Some(0x08E6));
    assert_eq!(properties.product_id(), Some(0x3437));
    let unknown = Property::from_raw(0x77);
    assert_eq!(properties.value(unknown), Some(&[0x42][..]));
    assert_eq!(properties.iter().count(), 13);
}

#[test]
fn properties_of_a_wrong_length_have_no_value_but_are_kept() {
    let bytes = [
        0x0A, 0x00, // empty
        0x0B, 0x05, 1, 2, 3, 4, 5, // too long
        0x06, 0x02, 0x00, 0x01, // 256 digits
        0x0C, 0x02, 0x37, // cut off
    ];
    let properties = ReaderProperties::from_bytes(&bytes);
    assert_eq!(properties.max_apdu_data_size(), None);
    assert_eq!(
        properties.value(Property::MAX_APDU_DATA_SIZE),
        Some(&[][..])
    );
    assert_eq!(properties.vendor_id(), None);
    assert_eq!(properties.min_pin_size(), None);
    assert_eq!(properties.product_id(), None);
    assert_eq!(properties.value(Property::ID_PRODUCT), None);
    assert!(ReaderProperties::from_bytes(&[]).is_empty());
}

#[test]
fn properties_of_pad_and_display() {
    let pad = PinPadProperties::from_bytes(&[0x10, 0x02, 0x07, 0x00]).unwrap();
    assert_eq!(pad.lcd_layout(), 0x0210);
    assert_eq!(pad.entry_validation(), EntryValidation::all());
    assert!(!pad.has_second_timeout());
    assert_eq!(pad.display(), None);
    assert_eq!(PinPadProperties::from_bytes(&[0; 3]), None);
    for len in [4, 5, 6, 7, 9, 12] {
        let pad = PinPadProperties::from_bytes(&[0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0][..len]);
        let pad = pad.unwrap();
        assert_eq!(pad.entry_validation(), EntryValidation::KEY, "{len}");
        assert!(pad.has_second_timeout() && pad.display().is_none());
    }
    // Before 2.02.06 there were eight.
    let old = PinPadProperties::from_bytes(&[0x10, 0x02, 16, 0, 2, 0, 0x02, 0x01]).unwrap();
    assert_eq!(old.lcd_layout(), 0x0210);
    assert_eq!(old.entry_validation(), EntryValidation::KEY);
    assert!(old.has_second_timeout());
    let size = old.display().unwrap();
    assert_eq!((size.max_characters(), size.max_lines()), (16, 2));
    let display = DisplayProperties::from_bytes(&[16, 0, 2, 0]).unwrap();
    assert_eq!((display.max_characters(), display.max_lines()), (16, 2));
    assert_eq!(DisplayProperties::from_bytes(&[]), None);
}

#[test]
fn every_status_word_has_one_outcome() {
    for word in 0..=u16::MAX {
        let expected = match word {
            0x9000 => PinOutcome::Done,
            0x6300 => PinOutcome::Wrong { tries_left: None },
            _ if word & 0xFFF0 == 0x63C0 => PinOutcome::Wrong {
                tries_left: Some((word & 15) as u8),
            },
            0x6983 => PinOutcome::Blocked,
            0x6400 => PinOutcome::TimedOut,
            0x6401 => PinOutcome::Cancelled,
            0x6402 => PinOutcome::NewPinsDiffer,
            0x6403 => PinOutcome::WrongLength,
            0x6B80 => PinOutcome::InvalidRequest,
            _ => PinOutcome::Other(StatusWord(word)),
        };
        let answer = PinPadAnswer::from_bytes(word.to_be_bytes());
        assert_eq!(answer.outcome(), expected);
        assert_eq!(answer.status_word(), Some(StatusWord(word)));
        assert_eq!(expected.is_done(), word == 0x9000);
        // Only a reader can report that nothing was entered.
        let of_card = PinOutcome::from_card(StatusWord(word));
        match matches!(word, 0x6400..=0x6403 | 0x6B80) {
            true => assert_eq!(of_card, PinOutcome::Other(StatusWord(word))),
            false => assert_eq!(of_card, expected),
        }
    }
    let longer = PinPadAnswer::from_bytes([0xAA, 0x90, 0x00]);
    assert!(longer.outcome().is_done());
    assert_eq!(longer.as_bytes(), [0xAA, 0x90, 0x00]);
    for short in [&[][..], &[0x90]] {
        let answer = PinPadAnswer::from_bytes(short);
        assert_eq!(answer.outcome(), PinOutcome::NoStatusWord);
    }
}

#[test]
fn outcomes_read_as_clauses() {
    let text = |word| PinOutcome::from_status_word(StatusWord(word)).to_string();
    assert_eq!(text(0x63C1), "the PIN is wrong, 1 try is left");
    assert_eq!(text(0x63C0), "the PIN is wrong, 0 tries are left");
    assert_eq!(
        text(0x6A88),
        "the answer to the PIN was: referenced data or reference data not found (6A88)"
    );
}

#[test]
fn tags_have_names_and_unknown_ones_are_kept() {
    assert_eq!(
        format!("{:?}", Feature::VERIFY_PIN_DIRECT),
        "Feature(FEATURE_VERIFY_PIN_DIRECT, 0x06)"
    );
    assert_eq!(format!("{:?}", Property::from_raw(0xFE)), "Property(0xFE)");
    for raw in 0..=u8::MAX {
        assert_eq!(Feature::from_raw(raw).raw(), raw);
        let is_named = matches!(raw, 0x01..=0x13 | 0x20);
        assert_eq!(Feature::from_raw(raw).name().is_some(), is_named, "{raw}");
        let is_named = matches!(raw, 0x01..=0x0C);
        assert_eq!(Property::from_raw(raw).name().is_some(), is_named, "{raw}");
    }
}

/// SplitMix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[test]
fn any_bytes_are_read_without_a_panic() {
    let mut state = 0x5CA2D;
    for _ in 0..20_000 {
        let len = next(&mut state) as usize % 300;
        // Often small, so that there are valid tags and lengths.
        let bytes: Vec<u8> = (0..len)
            .map(|_| match next(&mut state) {
                random if random % 3 == 0 => (random >> 8) as u8,
                random => (random >> 8) as u8 % 16,
            })
            .collect();
        let features = ReaderFeatures::from_bytes(&bytes);
        assert!(features.iter().count() * 6 <= len);
        assert!(features.iter().all(|(_, code)| code.raw() != 0));
        for (feature, _) in features.iter() {
            assert!(features.has(feature));
        }
        let properties = ReaderProperties::from_bytes(&bytes);
        let size: usize = properties.iter().map(|(_, value)| value.len() + 2).sum();
        assert!(size <= len);
        let _ = (properties.max_apdu_data_size(), properties.firmware());
        let _ = (properties.min_pin_size(), properties.ppdu_support());
        let _ = PinPadProperties::from_bytes(&bytes);
        let _ = PinPadAnswer::from_bytes(bytes).outcome();
    }
}

#[test]
fn every_well_formed_list_is_read_back() {
    let mut state = 7;
    for _ in 0..2_000 {
        let entries: Vec<(u8, u32)> = (0..next(&mut state) % 30)
            .map(|_| (next(&mut state) as u8, next(&mut state) as u32 | 1))
            .collect();
        let mut bytes = Vec::new();
        for (tag, code) in &entries {
            bytes.extend([*tag, 4]);
            bytes.extend(code.to_be_bytes());
        }
        let features = ReaderFeatures::from_bytes(&bytes);
        let back: Vec<(u8, u32)> = features
            .iter()
            .map(|(feature, code)| (feature.raw(), code.raw()))
            .collect();
        assert_eq!(back, entries);
    }
}

#[test]
fn limits_reported_by_a_reader_become_exchange_options() {
    let properties = ReaderProperties::from_bytes(&[0x0A, 4, 0, 0, 1, 0]);
    let options = ExchangeOptions::new().for_reader(&properties);
    assert_eq!(options, ExchangeOptions::new().reader_max_data(0x1_0000));
    // A reader that reports nothing changes nothing.
    let silent = ReaderProperties::from_bytes(&[]);
    assert_eq!(options.for_reader(&silent), options);
}
