//! PINs that are typed at the computer, and PIN pads without control codes.
#![cfg(target_os = "linux")]

use scard::apdu::Command;
use scard::features::{
    Feature, Pin, PinFormat, PinModification, PinOffset, PinOutcome, PinPadAnswer, PinVerification,
    ppdu,
};
use scard_testkit::{VirtualCard, isolated};

use crate::support::pin_pad::typed;
use crate::support::random::Random;
use crate::support::*;

/// A format that a PIN pad supports, as for PINs.
fn format(random: &mut Random) -> PinFormat {
    let format = match random.below(3) {
        0 => PinFormat::ascii(),
        1 => PinFormat::bcd(),
        _ => PinFormat::binary(),
    };
    // Without padding, only the digits are known.
    if random.one_in(4) {
        return format;
    }
    let format = format.block_len(1 + random.below(12) as u8);
    let format = match random.below(3) {
        0 => format.justified_right(),
        _ => format,
    };
    match random.below(4) {
        0 => PinFormat::iso_9564_format_2(),
        1 => format.position(PinOffset::Bytes(random.below(3) as u8)),
        2 => {
            let place = PinOffset::Bytes(1);
            format.position(place).length(8, PinOffset::Bytes(0))
        }
        _ => format.filler(random.next() as u8),
    }
}

/// What the user types, and how many digits the pad accepts.
fn pin(random: &mut Random) -> &'static str {
    &"9876543210"[..1 + random.below(10) as usize]
}

#[test]
fn a_typed_pin_and_one_at_the_pad_are_the_same_command() {
    let mut random = Random::new(9564);
    let (mut verified, mut changed) = (0, 0);
    for _ in 0..20_000 {
        let format = format(&mut random);
        let (current, new) = (pin(&mut random), pin(&mut random));
        let lens = [current.len() as u8, new.len() as u8];
        let most = lens[0].max(lens[1]);

        let here = Command::verify(0x81, format, &Pin::new(current));
        let request = PinVerification::iso(0x81, format).digits(1..=lens[0]);
        assert_eq!(here.is_ok(), request.to_bytes().is_ok(), "{format:?}");
        if let (Ok(here), Ok(request)) = (here, request.to_bytes()) {
            let there = typed(&request, false, &[current]).unwrap();
            assert_eq!(*here.to_bytes(), there, "{format:?} {current}");
            verified += 1;
        }

        let here = Command::change_pin(0x81, format, &Pin::new(current), &Pin::new(new));
        let request = PinModification::iso(0x81, format).digits(1..=most);
        assert_eq!(here.is_ok(), request.to_bytes().is_ok(), "{format:?}");
        if let (Ok(here), Ok(request)) = (here, request.to_bytes()) {
            let there = typed(&request, true, &[current, new]).unwrap();
            assert_eq!(*here.to_bytes(), there, "{format:?} {current} {new}");
            changed += 1;
        }

        let here = Command::set_pin(0x81, format, &Pin::new(new));
        let request = PinModification::iso_new_only(0x81, format).digits(1..=lens[1]);
        if let (Ok(here), Ok(request)) = (here, request.to_bytes()) {
            let there = typed(&request, true, &[new]).unwrap();
            assert_eq!(*here.to_bytes(), there, "{format:?} {new}");
        }
    }
    assert!(verified > 5000 && changed > 5000, "{verified} {changed}");
}

#[test]
fn a_typed_pin_is_verified_by_the_card() {
    isolated(|| {
        let card = VirtualCard::new(|command: &[u8]| match command {
            b"\x00\x20\x00\x80\x081234\xFF\xFF\xFF\xFF" => [0x90, 0x00],
            _ => [0x63, 0xC2],
        });
        let fixture = fixture_with(card);
        let mut card = fixture.connect();
        let format = PinFormat::ascii().block_len(8);
        let mut verify = |pin: &str| {
            let command = Command::verify(0x80, format, &Pin::new(pin)).unwrap();
            PinOutcome::from_status_word(card.exchange(&command).unwrap().status())
        };
        assert_eq!(verify("1234"), PinOutcome::Done);
        let tries_left = Some(2);
        assert_eq!(verify("12345"), PinOutcome::Wrong { tries_left });
    });
}

/// A reader with Windows' own driver: features by commands of class FF. Its user types 1234.
#[test]
fn a_pin_pad_works_without_control_codes() {
    isolated(|| {
        let reader = |command: &[u8]| match command {
            [0xFF, 0xC2, 0x01, 0x00, 0x00] => vec![0x06, 0x07, 0x90, 0x00],
            [0xFF, 0xC2, 0x01, 0x06, lc, input @ ..] => {
                let request = &input[..usize::from(*lc)];
                match typed(request, false, &["1234"]).as_deref() {
                    Ok(b"\x00\x20\x00\x80\x081234\xFF\xFF\xFF\xFF") => vec![0x90, 0x00],
                    _ => vec![0x6B, 0x80],
                }
            }
            _ => vec![0x6D, 0x00],
        };
        let fixture = fixture_with(VirtualCard::new(reader));
        let mut card = fixture.connect();
        let features = ppdu::features(&card.transmit(ppdu::LIST).unwrap());
        assert_eq!(
            features,
            [Feature::VERIFY_PIN_DIRECT, Feature::MODIFY_PIN_DIRECT]
        );
        let request = PinVerification::iso(0x80, PinFormat::ascii().block_len(8));
        let request = request.to_bytes().unwrap();
        let command = ppdu::command(Feature::VERIFY_PIN_DIRECT, &request).unwrap();
        let answer = card.transmit(&command.to_bytes()).unwrap();
        assert!(PinPadAnswer::from_bytes(answer).outcome().is_done());
        // The same through an exchange.
        let response = card.exchange(&command).unwrap();
        assert!(PinOutcome::from_status_word(response.status()).is_done());
    });
    isolated(|| {
        // If the card gets the query, there are no features.
        let fixture = fixture_with(VirtualCard::new(|_: &[u8]| [0x6E, 0x00]));
        let answer = fixture.connect().transmit(ppdu::LIST).unwrap();
        assert!(ppdu::features(&answer).is_empty());
    });
}
