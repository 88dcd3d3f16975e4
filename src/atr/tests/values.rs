//! The value tables, row by row.

use super::{Atr, atr};
use crate::atr::{
    AtrProblem, BitRate, Category, ContactlessAtr, DataObject, FileAccess, FileReferences,
    LifeCycle, SelectionMethods, StorageName, StorageStandard, TypeB, WriteBehavior,
};

/// An ATR with only these historical bytes.
fn with_historical(historical: &[u8]) -> Atr {
    let mut bytes = vec![0x3B, historical.len() as u8];
    bytes.extend(historical);
    Atr::new(&bytes).unwrap()
}

#[test]
fn fi_and_di() {
    let fi = [
        372, 372, 558, 744, 1116, 1488, 1860, 0, 0, 512, 768, 1024, 1536, 2048, 0, 0,
    ];
    let mhz = [
        4.0, 5.0, 6.0, 8.0, 12.0, 16.0, 20.0, 0.0, 0.0, 5.0, 7.5, 10.0, 15.0, 20.0,
    ];
    let di = [0, 1, 2, 4, 8, 16, 32, 64, 12, 20, 0, 0, 0, 0, 0, 0];
    for ta1 in 0..=255u8 {
        let bytes = [0x3B, 0x10, ta1];
        let rate = Atr::new(&bytes).unwrap().parse().bit_rate();
        let (high, low) = (usize::from(ta1 >> 4), usize::from(ta1 & 0x0F));
        assert_eq!(rate.raw(), ta1);
        assert_eq!(rate.fi().unwrap_or(0), fi[high]);
        assert_eq!(rate.di().unwrap_or(0), di[low]);
        let expected = mhz.get(high).copied().unwrap_or(0.0);
        assert_eq!(f64::from(rate.max_frequency().unwrap_or(0)) / 1e6, expected);
        assert_eq!(
            rate.bits_per_second(1).is_some(),
            fi[high] != 0 && di[low] != 0
        );
    }
    assert_eq!(BitRate::default().fi(), Some(372));
    assert_eq!(BitRate::default().di(), Some(1));
    // 5 MHz × 32 / 512, as in every card with TA1 = 96.
    let rate = atr("3B 10 96").parse().bit_rate();
    assert_eq!(rate.bits_per_second(5_000_000), Some(312_500));
    assert_eq!(
        rate.to_string(),
        "Fi = 512, Di = 32, at most 5 MHz: 312500 bit/s"
    );
}

#[test]
fn categories() {
    let category = |byte| with_historical(&[byte]).parse().historical().category();
    for byte in 0..=255u8 {
        let expected = match byte {
            0x00 => Category::StatusAtEnd,
            0x10 => Category::DirReference,
            0x80 => Category::DataObjects,
            0x81..=0x8F => Category::Reserved(byte),
            _ => Category::Proprietary(byte),
        };
        assert_eq!(category(byte), Some(expected));
    }
    assert_eq!(atr("3B 00").parse().historical().category(), None);
    let reading = with_historical(&[0x10, 0x42, 0x01]).parse();
    assert_eq!(reading.historical().dir_reference(), Some(0x42));
    assert_eq!(reading.problems(), []);
}

#[test]
fn every_tag() {
    let objects = |bytes: &[u8], check: &dyn Fn(&[DataObject<'_>])| {
        let reading = with_historical(bytes).parse();
        let objects: Vec<DataObject<'_>> = reading.historical().objects().collect();
        check(&objects);
    };
    let value: &[u8] = &[0xAA, 0xBB];
    let other = |tag| DataObject::Other { tag, value };
    for tag in 0..=15u8 {
        let expected = match tag {
            1 => DataObject::Country(value),
            2 => DataObject::IssuerIdentification(value),
            4 => DataObject::InitialAccess(value),
            5 => DataObject::IssuerData(value),
            6 => DataObject::PreIssuing(value),
            13 => DataObject::ExtendedHeaderList(value),
            15 => DataObject::ApplicationIdentifier(value),
            7 | 8 => continue,
            // Card service data are one byte.
            _ => other(tag),
        };
        objects(&[0x80, tag << 4 | 2, 0xAA, 0xBB], &|read| {
            assert_eq!(read, [expected], "{tag}");
        });
    }
    // Several objects, and the status at the end without a header.
    objects(
        &[0x00, 0x11, 0xCC, 0x62, 0xAA, 0xBB, 0x05, 0x90, 0x00],
        &|read| {
            let [country, pre_issuing, DataObject::Status(status)] = read else {
                panic!("{read:?}");
            };
            assert_eq!(*country, DataObject::Country(&[0xCC]));
            assert_eq!(*pre_issuing, DataObject::PreIssuing(value));
            assert_eq!(status.life_cycle(), Some(LifeCycle::Activated));
            assert_eq!(status.status_word(), Some(0x9000));
        },
    );
    for (bytes, life, word) in [
        (&[0x80, 0x81, 0x05][..], Some(LifeCycle::Activated), None),
        (&[0x80, 0x82, 0x62, 0x83], None, Some(0x6283)),
        (
            &[0x80, 0x83, 0x01, 0x90, 0x00],
            Some(LifeCycle::Creation),
            Some(0x9000),
        ),
    ] {
        let status = with_historical(bytes)
            .parse()
            .historical()
            .status()
            .unwrap();
        assert_eq!((status.life_cycle(), status.status_word()), (life, word));
    }
}

#[test]
fn life_cycles() {
    for byte in 0..=255u8 {
        let expected = match byte {
            0 => "not reported".to_owned(),
            1 => "creation".to_owned(),
            3 => "initialization".to_owned(),
            4 | 6 => "operational, deactivated".to_owned(),
            5 | 7 => "operational, activated".to_owned(),
            12..=15 => "terminated".to_owned(),
            2 | 8..=11 => format!("reserved ({byte:02X})"),
            _ => format!("proprietary ({byte:02X})"),
        };
        let reading = with_historical(&[0x80, 0x81, byte]).parse();
        let life_cycle = reading.historical().status().unwrap().life_cycle();
        assert_eq!(life_cycle.unwrap().to_string(), expected);
    }
}

#[test]
fn capabilities_bit_by_bit() {
    let capabilities = |bytes: &[u8]| {
        let mut historical = vec![0x80, 0x70 | bytes.len() as u8];
        historical.extend(bytes);
        with_historical(&historical).parse().capabilities()
    };
    assert_eq!(capabilities(&[]), None);
    assert_eq!(capabilities(&[0; 4]), None);
    for byte in 0..=255u8 {
        let first = capabilities(&[byte]).unwrap();
        let (methods, files) = (first.selection_methods(), first.file_references());
        assert_eq!(methods.bits() | files.bits(), byte);
        assert_eq!(methods.contains(SelectionMethods::PATH), byte & 0x20 != 0);
        assert_eq!(
            files.contains(FileReferences::RECORD_NUMBER),
            byte & 0x02 != 0
        );
        assert!(!first.extended_length() && !first.command_chaining());
        assert_eq!(
            (first.data_coding(), first.logical_channels()),
            (None, None)
        );

        let coding = capabilities(&[0, byte]).unwrap().data_coding().unwrap();
        assert_eq!(coding.raw(), byte);
        assert_eq!(coding.has_tlv_files(), byte >> 7 == 1);
        assert_eq!(coding.is_ff_a_tag(), byte >> 4 & 1 == 1);
        assert_eq!(u32::from(coding.unit_quartets()), 1 << (byte % 16));
        let write = match byte >> 5 & 3 {
            0 => WriteBehavior::Once,
            1 => WriteBehavior::Proprietary,
            2 => WriteBehavior::Or,
            _ => WriteBehavior::And,
        };
        assert_eq!(coding.write_behavior(), write);

        let third = capabilities(&[0, 0, byte]).unwrap();
        assert_eq!(third.command_chaining(), byte >> 7 == 1);
        assert_eq!(third.extended_length(), byte >> 6 & 1 == 1);
        assert_eq!(third.extended_length_in_file(), byte >> 5 & 1 == 1);
        let channels = third.logical_channels().unwrap();
        assert_eq!(channels.assigned_by_card(), byte >> 4 & 1 == 1);
        assert_eq!(channels.assigned_by_program(), byte >> 3 & 1 == 1);
        assert_eq!(channels.maximum(), byte % 8 + 1);
    }
}

#[test]
fn card_service_data() {
    let service = |byte| {
        let reading = with_historical(&[0x80, 0x31, byte]).parse();
        reading.historical().card_service_data().unwrap()
    };
    for byte in 0..=255u8 {
        let data = service(byte);
        assert_eq!(data.raw(), byte);
        assert_eq!(data.selects_full_name(), byte & 0x80 != 0);
        assert_eq!(data.selects_partial_name(), byte & 0x40 != 0);
        assert_eq!(data.has_dir_file(), byte & 0x20 != 0);
        assert_eq!(data.has_atr_file(), byte & 0x10 != 0);
        assert_eq!(data.has_master_file(), byte & 0x01 == 0);
        let access = match byte & 0x0E {
            0x08 => FileAccess::ReadBinary,
            0x00 => FileAccess::ReadRecord,
            0x04 => FileAccess::GetData,
            other => FileAccess::Reserved(other >> 1),
        };
        assert_eq!(data.file_access(), access);
    }
    assert_eq!(
        service(0xF8).to_string(),
        "selection by full name, by partial name, EF.DIR, EF.ATR, \
         read with READ BINARY, with master file"
    );
}

#[test]
fn storage_cards_keep_their_numbers() {
    assert_eq!(StorageStandard::FELICA.raw(), 0x11);
    assert_eq!(
        StorageStandard::ISO_14443_A_3.to_string(),
        "ISO 14443 A, part 3"
    );
    for number in 0..=u16::MAX {
        let name = StorageName::from_raw(number);
        assert_eq!(name.raw(), number);
        let is_named = match number {
            0x0005 => false,
            0x0000..=0x003D | 0xF004 | 0xF011 | 0xF012 | 0xFF28 => true,
            _ => false,
        };
        assert_eq!(name.text().is_some(), is_named, "{number:#X}");
    }
    assert_eq!(
        StorageName::from_raw(0x1234).to_string(),
        "unknown card 0x1234"
    );
    assert_eq!(StorageName::from_raw(0x1234).acs_sak(), None);
    assert_eq!(StorageName::ACS_JCOP_30.acs_sak(), Some(0x28));
    assert_eq!(
        StorageName::from_raw(0xFF08).to_string(),
        "card with SAK 0x08 (readers of ACS)"
    );
    // The identifier of another organisation is not a storage card.
    let other = atr("3B 8B 80 01 80 4F 08 A0 00 00 03 08 03 00 01 00");
    assert_eq!(other.parse().storage_card(), None);
}

#[test]
fn type_b_is_split_into_its_parts() {
    let reading = atr("3B 88 80 01 E1 F3 5E 11 77 81 E1 60 23").parse();
    let expected = TypeB {
        application_data: [0xE1, 0xF3, 0x5E, 0x11],
        protocol_info: [0x77, 0x81, 0xE1],
        buffer_length_index: 6,
    };
    let contactless = reading.contactless();
    assert_eq!(
        contactless,
        Some(ContactlessAtr::Iso14443_4 {
            type_b: Some(expected)
        })
    );
}

/// Each condition on its own.
#[test]
fn other_bytes_are_not_read_as_type_b() {
    for historical in [
        [0xE1, 0xF3, 0x5E, 0x11, 0x77, 0x81, 0xE1, 0x61],
        [0xE1, 0xF3, 0x5E, 0x11, 0x77, 0x80, 0xE1, 0x60],
        [0xE1, 0xF3, 0x5E, 0x11, 0x77, 0x89, 0xE1, 0x60],
    ] {
        let mut bytes = vec![0x3B, 0x88, 0x80, 0x01];
        bytes.extend(historical);
        bytes.push(bytes[1..].iter().fold(0, |check, byte| check ^ byte));
        let contactless = Atr::new(&bytes).unwrap().parse().contactless();
        let is_type_b = matches!(
            contactless,
            Some(ContactlessAtr::Iso14443_4 { type_b: Some(_) })
        );
        assert!(!is_type_b, "{historical:02X?}");
    }
}

#[test]
fn programming_voltage_and_current() {
    for tb1 in 0..=255u8 {
        let reading = Atr::new(&[0x3B, 0x20, tb1]).unwrap().parse();
        let programming = reading.programming().unwrap();
        assert_eq!(programming.raw(), tb1);
        let volts = Some(tb1 & 0x1F).filter(|volts| (5..=25).contains(volts));
        assert_eq!(programming.volts(), volts);
        let current = [Some(25), Some(50), Some(100), None][usize::from(tb1 >> 5 & 3)];
        assert_eq!(programming.milliamperes(), current);
        assert_eq!(programming.is_connected(), tb1 & 0x1F != 0);
    }
}

#[test]
fn extra_guard_times() {
    for tc1 in 0..=255u8 {
        let reading = Atr::new(&[0x3B, 0x40, tc1]).unwrap().parse();
        let time = reading.extra_guard_time();
        assert_eq!((time.n(), time.is_minimum()), (tc1, tc1 == 255));
    }
}

#[test]
fn waiting_times_of_t1() {
    for (cwi, etu) in [(0, 12), (1, 13), (5, 43), (15, 32_779)] {
        let reading = Atr::new(&[0x3B, 0x80, 0x81, 0x21, cwi]).unwrap().parse();
        let t1 = reading.t1().unwrap();
        assert_eq!(t1.character_waiting_integer(), cwi);
        assert_eq!(t1.character_waiting_time(), etu);
    }
}

/// Only the first byte of a letter and protocol has a meaning, and bytes before TD2 belong to no
/// protocol.
#[test]
fn bytes_of_other_letters_and_protocols_do_not_come_first() {
    for (bytes, ifsc) in [
        // TB3 of T=0 before TA4 of T=1.
        (&[0x3B, 0x80, 0x80, 0xA0, 0x00, 0x11, 0xFE][..], 254),
        // TA2 before TA3.
        (&[0x3B, 0x80, 0x91, 0x01, 0x11, 0x40], 64),
        // TA3 before TA4.
        (&[0x3B, 0x80, 0x80, 0x91, 0x40, 0x11, 0xFE], 64),
    ] {
        let t1 = Atr::new(bytes).unwrap().parse().t1().unwrap();
        assert_eq!(t1.information_field_size(), ifsc, "{bytes:02X?}");
    }
}

#[test]
fn bytes_and_lines_have_names() {
    let reading = atr("3B F0 11 00 00 B1 40 71 FE 45 01").parse();
    let names: Vec<String> = reading
        .interface_bytes()
        .iter()
        .map(|byte| format!("{}{}", byte.name().letter(), byte.name().index()))
        .collect();
    let expected = ["A1", "B1", "C1", "D1", "A2", "B2", "D2", "A3", "B3"];
    assert_eq!(names, expected);
    let reading = atr("3B 04 4A 43 4F 50").parse();
    let lines: Vec<_> = reading.lines().collect();
    let lines: Vec<_> = lines.iter().map(|it| (it.name(), it.meaning())).collect();
    assert_eq!(
        lines,
        [
            ("TS", "direct convention"),
            ("T0", "no interface bytes; historical bytes: 4"),
            ("hist", "historical bytes: proprietary: \"JCOP\""),
        ]
    );
}

#[test]
fn contactless_forms_have_texts() {
    let storage = atr("3B 8F 80 01 80 4F 0C A0 00 00 03 06 03 00 01 00 00 00 00 6A").parse();
    let contactless = storage.contactless().unwrap();
    let card = storage.storage_card().unwrap();
    assert_eq!(contactless.to_string(), card.to_string());
    let other = atr("3B 80 80 01 01").parse().contactless().unwrap();
    assert_eq!(other.to_string(), "contactless form (ISO 14443-4)");
}

#[test]
fn a_status_is_read_only_at_the_end_of_complete_bytes() {
    let complete = atr("3B 06 00 11 CC 05 90 00").parse();
    assert!(complete.historical().status().is_some());
    let cut_off = atr("3B 07 00 11 CC 05 90 00").parse();
    assert_eq!(cut_off.historical().status(), None);
}

#[test]
fn card_service_data_of_two_bytes_are_a_problem() {
    let reading = with_historical(&[0x80, 0x32, 0xAA, 0xBB]).parse();
    let problem = AtrProblem::ObjectLength { tag: 3, length: 2 };
    assert_eq!(reading.problems(), [problem]);
}

#[test]
fn an_identifier_has_only_its_own_bytes() {
    let reading = with_historical(&[0x80, 0x4F, 0x02, 0xAA, 0xBB, 0x11, 0xCC]).parse();
    let lines: Vec<_> = reading.lines().collect();
    let bytes: Vec<&[u8]> = lines.iter().map(|line| line.bytes()).collect();
    assert_eq!(
        bytes[2..],
        [&[0x80][..], &[0x4F, 0x02, 0xAA, 0xBB], &[0x11, 0xCC]]
    );
}

#[test]
fn the_longest_atr_is_not_too_long() {
    let too_long = |len| {
        let bytes = vec![0x3B; len];
        let problems = Atr::received(&bytes).unwrap().parse().problems().to_vec();
        problems
            .iter()
            .any(|it| matches!(it, AtrProblem::TooLong(_)))
    };
    assert!(!too_long(Atr::MAX_LEN) && too_long(Atr::MAX_LEN + 1));
}

#[test]
fn a_reading_prints_every_byte() {
    let reading = atr("3B FD 13 00 00 81 31 FE 15 80 73 C0 21 C0 57 59 75 62 69 4B 65 79 40");
    let expected = "\
TS    3B            direct convention
T0    FD            next: TA1, TB1, TC1 and TD1; historical bytes: 13
TA1   13            Fi = 372, Di = 4, at most 5 MHz: 53763 bit/s
TB1   00            VPP is not connected (deprecated)
TC1   00            no extra guard time
TD1   81            T=1, next: TD2
TD2   31            T=1, next: TA3 and TB3
TA3   FE            T=1: IFSC = 254, the maximum number of bytes per block
TB3   15            T=1: BWI = 1, CWI = 5: 43 etu between characters
hist  80            historical bytes: data objects
      73 C0 21 C0   card capabilities:
                      selection: full name, partial name
                      file references: none
                      data coding: proprietary write, data unit of a byte
                      extended length: yes
                      command chaining: yes
                      no logical channels
      57 59 75 62 69 4B 65 79  card issuer's data: \"YubiKey\"
TCK   40            check byte, correct";
    assert_eq!(reading.parse().to_string(), expected);
}
