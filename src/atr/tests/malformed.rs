//! Any bytes can be read, consistently, and printed.

use super::build::Random;
use super::{atr, samples};
use crate::atr::{AtrProblem, InterfaceName, Tck};
use crate::{Atr, AtrReading};

/// Calls everything, and checks what must hold for any bytes.
fn exercise(bytes: &[u8]) -> AtrReading {
    let reading = Atr::received(bytes).unwrap().parse();
    let bytes = reading.atr();
    let bytes = bytes.as_bytes();
    // The lines contain every byte, once and in order.
    let shown: Vec<u8> = reading.lines().flat_map(|it| it.bytes().to_vec()).collect();
    assert_eq!(shown, bytes, "{reading}");
    for line in reading.lines() {
        assert!(!line.meaning().is_empty(), "{line:?}");
    }
    let problems = reading.problems();
    let printed = reading.to_string();
    assert_eq!(
        printed
            .lines()
            .filter(|it| it.starts_with("problem: "))
            .count(),
        problems.len()
    );
    // What is reported as missing is missing, and vice versa.
    let missing = problems.iter().any(|problem| {
        matches!(
            problem,
            AtrProblem::Empty
                | AtrProblem::FormatByteMissing
                | AtrProblem::InterfaceByteMissing(_)
                | AtrProblem::HistoricalBytesMissing { .. }
                | AtrProblem::TckMissing
        )
    });
    let announced = bytes.get(1).map_or(0, |t0| usize::from(t0 & 0x0F));
    let historical = reading.historical();
    if !missing {
        assert_eq!(historical.as_bytes().len(), announced, "{reading}");
        assert_ne!(reading.tck(), Tck::Missing, "{reading}");
        assert!(!reading.offered().is_empty(), "{reading}");
    }
    let in_lines: usize = historical.parts().map(|part| part.bytes.len()).sum();
    assert!(in_lines <= historical.as_bytes().len());
    let _ = (reading.contactless(), reading.mode(), reading.protocols());
    let _ = (reading.t0(), reading.t1(), reading.contact_c6());
    let _ = (reading.clock_stop(), reading.operating_classes());
    let _ = (historical.status(), historical.application_identifier());
    let _ = (historical.dir_reference(), historical.card_service_data());
    reading
}

#[test]
fn all_atrs_of_up_to_two_bytes() {
    assert_eq!(exercise(&[]).problems(), [AtrProblem::Empty]);
    for first in 0..=255 {
        let problems = exercise(&[first]).problems().to_vec();
        assert!(problems.contains(&AtrProblem::FormatByteMissing));
        let known = matches!(first, 0x3B | 0x3F);
        assert_eq!(problems.len(), if known { 1 } else { 2 });
        for second in 0..=255 {
            let reading = exercise(&[first, second]);
            let complete = second == 0;
            let right = known && complete;
            assert_eq!(reading.problems().is_empty(), right, "{reading}");
        }
    }
}

#[test]
fn random_bytes() {
    let mut random = Random::new(14443);
    for round in 0..40_000u32 {
        let len = random.below(40);
        let mut bytes: Vec<u8> = (0..len).map(|_| random.byte()).collect();
        // Every second one begins like an ATR.
        if let (Some(first), 0) = (bytes.first_mut(), round % 2) {
            *first = 0x3B;
        }
        exercise(&bytes);
    }
}

#[test]
fn cards_with_a_byte_changed_or_cut_off() {
    let mut random = Random::new(4);
    for bytes in samples::all() {
        let whole = exercise(&bytes);
        for len in 0..bytes.len() {
            let reading = exercise(&bytes[..len]);
            if whole.problems().is_empty() {
                assert!(!reading.problems().is_empty(), "{reading}");
            }
        }
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= random.byte().max(1);
            let reading = exercise(&bytes);
            // The check byte, if any, detects every single change.
            if at > 1 && whole.tck() == Tck::Correct {
                assert!(!reading.problems().is_empty(), "{reading}");
            }
        }
        let mut longer = bytes.clone();
        longer.push(random.byte());
        let reading = exercise(&longer);
        if whole.problems().is_empty() {
            assert!(!reading.problems().is_empty(), "{reading}");
        }
    }
}

#[test]
fn more_bytes_than_an_atr_can_have() {
    // As if 15 historical bytes followed more interface bytes than there is room for.
    let mut bytes = vec![0x3B, 0xFF];
    bytes.extend([0x11, 0x00, 0x00, 0xF1].repeat(4));
    bytes.extend([0x11, 0x00, 0x00, 0x01]);
    bytes.extend([0x5A; 14]);
    assert_eq!(bytes.len(), 36);
    let problems = exercise(&bytes).problems().to_vec();
    assert_eq!(problems[0], AtrProblem::TooLong(36));
    let sentence = "there are 36 bytes, but at most 33 are allowed";
    assert_eq!(problems[0].to_string(), sentence);

    // An ATR followed by extra bytes.
    let mut bytes = vec![0x3B, 0x00];
    bytes.resize(34, 0xFF);
    let problems = [AtrProblem::TooLong(34), AtrProblem::ExtraBytes(32)];
    assert_eq!(exercise(&bytes).problems(), problems);
}

#[test]
fn every_problem_is_reported() {
    let name = InterfaceName::new;
    let cases: &[(&str, &[AtrProblem], &str)] = &[
        ("", &[AtrProblem::Empty], "there are no bytes"),
        ("3B", &[AtrProblem::FormatByteMissing], "T0 is missing"),
        (
            "3C 00",
            &[AtrProblem::UnknownConvention(0x3C)],
            "TS is 3C, neither 3B nor 3F",
        ),
        (
            "3B 80",
            &[AtrProblem::InterfaceByteMissing(name('D', 1))],
            "TD1 is missing: the ATR ends before it",
        ),
        (
            "3B 02 01",
            &[AtrProblem::HistoricalBytesMissing {
                announced: 2,
                present: 1,
            }],
            "historical bytes are missing: T0 announces 2, there are 1",
        ),
        (
            "3B 80 01",
            &[AtrProblem::TckMissing],
            "the check byte TCK is missing",
        ),
        (
            "3B 80 01 82",
            &[AtrProblem::TckWrong {
                sent: 0x82,
                expected: 0x81,
            }],
            "the check byte TCK is 82 but should be 81",
        ),
        (
            "3B 01 55 54",
            &[AtrProblem::TckNotAllowed],
            "there is a check byte TCK, which is not allowed with T=0 alone",
        ),
        (
            "3B 00 01",
            &[AtrProblem::ExtraBytes(1)],
            "there is an extra byte at the end",
        ),
        (
            "3B 80 01 81 00 00",
            &[AtrProblem::ExtraBytes(2)],
            "there are 2 extra bytes at the end",
        ),
        (
            "3B 80 0F 8F",
            &[AtrProblem::T15First],
            "TD1 has T=15, which is not a protocol",
        ),
        (
            "3B 80 81 00 01",
            &[AtrProblem::ProtocolOrder {
                before: 1,
                after: 0,
            }],
            "T=0 comes after T=1, out of order",
        ),
        (
            "3B 80 40 00",
            &[AtrProblem::ReservedValue {
                name: name('C', 2),
                value: 0,
            }],
            "the value 00 of TC2 is reserved",
        ),
        (
            "3B 80 81 11 FF EF",
            &[AtrProblem::ReservedValue {
                name: name('A', 3),
                value: 0xFF,
            }],
            "the value FF of TA3 is reserved",
        ),
        (
            "3B 01 85",
            &[AtrProblem::ReservedCategory(0x85)],
            "the category 85 of the historical bytes is reserved",
        ),
        (
            "3B 03 00 90 00",
            &[AtrProblem::StatusMissing],
            "the historical bytes have category 00 but no three-byte status at the end",
        ),
        (
            "3B 01 10",
            &[AtrProblem::DirReferenceMissing],
            "the historical bytes have category 10 but no DIR data reference",
        ),
        (
            "3B 03 80 65 01",
            &[AtrProblem::ObjectTooLong {
                tag: 6,
                announced: 5,
                present: 1,
            }],
            "the historical data object with tag 6 has 1 of 5 bytes",
        ),
        (
            "3B 02 80 70",
            &[AtrProblem::ObjectLength { tag: 7, length: 0 }],
            "the historical data object with tag 7 cannot have length 0",
        ),
    ];
    for (bytes, problems, sentence) in cases {
        let reading = atr(bytes).parse();
        // Category 00 with "90 00" also has an object that is too long.
        let found: Vec<AtrProblem> = reading
            .problems()
            .iter()
            .filter(|it| !matches!(it, AtrProblem::ObjectTooLong { tag: 9, .. }))
            .copied()
            .collect();
        assert_eq!(found, *problems, "{bytes}");
        assert_eq!(problems[0].to_string(), *sentence);
    }
}
