//! Reader features and PIN pads, with a reader that answers like one with a PIN pad.
#![cfg(target_os = "linux")]

use std::sync::mpsc;
use std::time::{Duration, Instant};

use scard::apdu::StatusWord;
use scard::features::{
    EntryValidation, Feature, PinFormat, PinModification, PinOffset, PinOutcome, PinPadAnswer,
    PinVerification, PpduSupport, ReaderFeatures,
};
use scard::{Control as _, ControlCode, ErrorKind, Operation, Origin, ReturnCode, Session};
use scard_testkit::{ControlCall, Driver, IfdError, Sandbox, VirtualReader, isolated};

use crate::support::random::Random;
use crate::support::*;

const GET_FEATURES: u32 = 0x4200_0D48;
const VERIFY: u32 = 0x4233_0006;
const MODIFY: u32 = 0x4233_0007;
const PAD_PROPERTIES: u32 = 0x4233_000A;
const ABORT: u32 = 0x4233_000B;
const DISPLAY: u32 = 0x4233_0011;
const PROPERTIES: u32 = 0x4233_0012;

/// The features that a PIN pad announces.
fn feature_list() -> Vec<u8> {
    let mut list = Vec::new();
    for code in [VERIFY, MODIFY, PAD_PROPERTIES, ABORT, DISPLAY, PROPERTIES] {
        list.extend([code as u8, 4]);
        list.extend(code.to_be_bytes());
    }
    list
}

/// A sandbox of the kit's driver whose first reader has a card.
fn kit() -> Fixture {
    let sandbox = Sandbox::builder().driver(Driver::Kit).readers(2);
    Fixture::of(sandbox.card(0, plain_card()).start().unwrap())
}

/// Gives a reader a PIN pad whose user's input leads to this answer.
fn pin_pad(reader: &VirtualReader, answer: impl Fn() -> [u8; 2] + Send + 'static) {
    let control = move |code, _: &[u8]| match code {
        GET_FEATURES => Ok(feature_list()),
        VERIFY | MODIFY => Ok(answer().to_vec()),
        PAD_PROPERTIES => Ok(vec![0x10, 0x02, 0x02, 0x01]),
        DISPLAY => Ok(vec![16, 0, 2, 0]),
        PROPERTIES => Ok(vec![
            0x06, 1, 4, 0x07, 1, 12, 0x09, 1, 1, 0x0A, 4, 0, 0, 1, 0, 0x0B, 2, 0xE6, 0x08,
        ]),
        ABORT => Ok(Vec::new()),
        _ => Err(IfdError::NOT_SUPPORTED),
    };
    reader.on_control(control).unwrap();
}

/// The data that arrived with this control code.
fn arrived(fixture: &Fixture, code: u32) -> Vec<Vec<u8>> {
    let log = fixture.sandbox.reader(0).control_log().unwrap();
    let calls = log.into_iter().filter(|call| call.code == code);
    calls.map(|call: ControlCall| call.input).collect()
}

fn request() -> PinVerification {
    PinVerification::iso(0x80, PinFormat::ascii().block_len(8))
}

#[test]
fn the_pad_gets_the_bytes_of_part_10() {
    isolated(|| {
        let fixture = kit();
        pin_pad(fixture.sandbox.reader(0), || [0x90, 0x00]);
        let mut card = fixture.connect();
        let features = card.features().unwrap();
        assert_eq!(features.iter().count(), 6);
        assert_eq!(
            features.control_code(Feature::VERIFY_PIN_DIRECT),
            Some(ControlCode::from_raw(VERIFY))
        );

        let verify = PinVerification::iso(0x01, PinFormat::iso_9564_format_2())
            .digits(4..=12)
            .timeout(Duration::from_secs(20))
            .language(0x0813);
        let answer = card.verify_pin(&features, &verify).unwrap();
        assert!(answer.outcome().is_done());
        assert_eq!(answer.as_bytes(), [0x90, 0x00]);
        assert_eq!(
            arrived(&fixture, VERIFY),
            [hex::decode(
                "1400894704 0C04 02 01 1308 00 000000 0D000000 00200001 08 20FFFFFFFFFFFFFF"
                    .replace(' ', "")
            )
            .unwrap()]
        );

        let modify = PinModification::iso(0x81, PinFormat::ascii().block_len(8))
            .digits(6..=8)
            .ends_with(EntryValidation::KEY | EntryValidation::TIMEOUT);
        let mut transaction = card.transaction().unwrap();
        let answer = transaction.modify_pin(&features, &modify).unwrap();
        assert!(answer.outcome().is_done());
        assert_eq!(
            arrived(&fixture, MODIFY),
            [hex::decode(
                "1E00820800 0008 0806 03 06 03 0904 000102 000000 15000000 00240081 10 \
                 FFFFFFFFFFFFFFFF FFFFFFFFFFFFFFFF"
                    .replace(' ', "")
            )
            .unwrap()]
        );
        assert!(fixture.card.log().is_empty(), "nothing was transmitted");
    });
}

#[test]
fn a_reader_that_was_opened_directly_has_its_pad() {
    isolated(|| {
        let fixture = kit();
        pin_pad(fixture.sandbox.reader(0), || [0x63, 0xC1]);
        let mut reader = fixture.context.open_reader(&fixture.reader).unwrap();
        let features = reader.features().unwrap();
        let answer = reader.verify_pin(&features, &request()).unwrap();
        let wrong = PinOutcome::Wrong {
            tries_left: Some(1),
        };
        assert_eq!(answer.outcome(), wrong);
        let change = PinModification::iso(0x80, PinFormat::bcd().block_len(4));
        let answer = reader.modify_pin(&features, &change).unwrap();
        assert_eq!(answer.outcome(), wrong);
        let none = scard::features::ReaderFeatures::default();
        let error = reader.verify_pin(&none, &request()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert_eq!(error.reader_name(), Some(&fixture.reader));
        assert_eq!(arrived(&fixture, VERIFY).len(), 1);
    });
}

#[test]
fn what_the_user_does_is_no_error() {
    isolated(|| {
        let fixture = kit();
        let (user, answers) = mpsc::channel::<[u8; 2]>();
        pin_pad(fixture.sandbox.reader(0), move || answers.recv().unwrap());
        let mut card = fixture.connect();
        let features = card.features().unwrap();
        let change = PinModification::iso(0x80, PinFormat::bcd().block_len(4));
        for (word, outcome) in [
            ([0x90, 0x00], PinOutcome::Done),
            (
                [0x63, 0xC2],
                PinOutcome::Wrong {
                    tries_left: Some(2),
                },
            ),
            (
                [0x63, 0xC0],
                PinOutcome::Wrong {
                    tries_left: Some(0),
                },
            ),
            ([0x63, 0x00], PinOutcome::Wrong { tries_left: None }),
            ([0x69, 0x83], PinOutcome::Blocked),
            ([0x64, 0x00], PinOutcome::TimedOut),
            ([0x64, 0x01], PinOutcome::Cancelled),
            ([0x64, 0x02], PinOutcome::NewPinsDiffer),
            ([0x64, 0x03], PinOutcome::WrongLength),
            ([0x6B, 0x80], PinOutcome::InvalidRequest),
            ([0x6A, 0x88], PinOutcome::Other(StatusWord(0x6A88))),
        ] {
            user.send(word).unwrap();
            let answer = card.verify_pin(&features, &request()).unwrap();
            assert_eq!((answer.as_bytes(), answer.outcome()), (&word[..], outcome));
            user.send(word).unwrap();
            let answer = card.modify_pin(&features, &change).unwrap();
            assert_eq!(answer.outcome(), outcome);
        }
    });
}

/// A pad whose user types these PINs; it sends the command to the card and to the returned channel.
fn typing_pad(fixture: &Fixture, pins: &'static [&'static str]) -> mpsc::Receiver<Vec<u8>> {
    let (sender, sent) = mpsc::channel();
    let control = move |code, input: &[u8]| match code {
        GET_FEATURES => Ok(feature_list()),
        _ => match pin_pad::typed(input, code == MODIFY, pins) {
            Ok(command) => {
                sender.send(command).unwrap();
                Ok(vec![0x90, 0x00])
            }
            Err(answer) => Ok(answer.to_vec()),
        },
    };
    fixture.sandbox.reader(0).on_control(control).unwrap();
    sent
}

#[test]
fn a_pad_makes_the_right_command_of_a_pin() {
    isolated(|| {
        let fixture = kit();
        let sent = typing_pad(&fixture, &["12345"]);
        let mut card = fixture.connect();
        let features = card.features().unwrap();
        let counted_in_bits = PinFormat::bcd()
            .position(PinOffset::Bits(8))
            .block_len(8)
            .length(4, PinOffset::Bits(4));
        for (format, data) in [
            (PinFormat::ascii(), "3132333435"),
            (PinFormat::ascii().block_len(8), "3132333435FFFFFF"),
            (
                PinFormat::ascii().block_len(8).filler(0),
                "3132333435000000",
            ),
            (PinFormat::bcd().block_len(4), "12345FFF"),
            (
                PinFormat::bcd().block_len(4).justified_right().filler(0),
                "00012345",
            ),
            (PinFormat::binary().block_len(6), "0102030405FF"),
            (PinFormat::iso_9564_format_2(), "2512345FFFFFFFFF"),
            (counted_in_bits, "0512345FFFFFFFFFFF"),
            (
                PinFormat::ascii()
                    .block_len(6)
                    .position(PinOffset::Bytes(1))
                    .length(8, PinOffset::Bytes(0)),
                "053132333435FF",
            ),
        ] {
            let verify = PinVerification::iso(0x80, format).digits(4..=6);
            let answer = card.verify_pin(&features, &verify).unwrap();
            assert!(answer.outcome().is_done(), "{format:?}");
            let command = format!("00200080{:02X}{data}", data.len() / 2);
            assert_eq!(hex::encode_upper(sent.recv().unwrap()), command);

            let change = PinModification::iso_new_only(0x80, format).digits(4..=6);
            let answer = card.modify_pin(&features, &change).unwrap();
            assert!(answer.outcome().is_done(), "{format:?}");
            let command = format!("00240180{:02X}{data}", data.len() / 2);
            assert_eq!(hex::encode_upper(sent.recv().unwrap()), command);
        }
        let short = request().digits(6..=8);
        let answer = card.verify_pin(&features, &short).unwrap();
        assert_eq!(answer.outcome(), PinOutcome::WrongLength);
        // The pad asks for two PINs, and the user types one.
        let both = PinModification::iso(0x80, PinFormat::ascii());
        let answer = card.modify_pin(&features, &both).unwrap();
        assert_eq!(answer.outcome(), PinOutcome::TimedOut);
    });
}

#[test]
fn a_pad_makes_the_right_command_of_two_pins() {
    isolated(|| {
        let fixture = kit();
        let sent = typing_pad(&fixture, &["1234", "567890"]);
        let mut card = fixture.connect();
        let features = card.features().unwrap();
        for (format, data) in [
            (PinFormat::ascii(), "31323334353637383930"),
            (
                PinFormat::ascii().block_len(8),
                "31323334FFFFFFFF353637383930FFFF",
            ),
            (
                PinFormat::iso_9564_format_2(),
                "241234FFFFFFFFFF26567890FFFFFFFF",
            ),
        ] {
            let change = PinModification::iso(0x81, format);
            let answer = card.modify_pin(&features, &change).unwrap();
            assert!(answer.outcome().is_done(), "{format:?}");
            let command = format!("00240081{:02X}{data}", data.len() / 2);
            assert_eq!(hex::encode_upper(sent.recv().unwrap()), command);
        }
        // The program's own command: the new PIN after one of the program's bytes.
        let mut command = b"\x80\x24\x00\x01\x09".to_vec();
        command.extend(b"\xFF\xFF\xFF\xFF\x2A\xFF\xFF\xFF\xFF");
        let change = PinModification::new(command, PinFormat::bcd().block_len(4)).offsets(0, 5);
        let answer = card.modify_pin(&features, &change).unwrap();
        assert!(answer.outcome().is_done());
        let command = "80240001091234FFFF2A567890FF";
        assert_eq!(hex::encode_upper(sent.recv().unwrap()), command);
    });
}

#[test]
fn properties_are_there_with_and_without_a_card() {
    isolated(|| {
        let fixture = kit();
        pin_pad(fixture.sandbox.reader(0), || [0x90, 0x00]);
        pin_pad(fixture.sandbox.reader(1), || [0x90, 0x00]);
        for name in [&fixture.reader, &fixture.empty_reader] {
            let mut reader = fixture.context.open_reader(name).unwrap();
            let features = reader.features().unwrap();
            let properties = reader.reader_properties(&features).unwrap();
            assert_eq!(properties.max_apdu_data_size(), Some(0x1_0000));
            assert_eq!(properties.min_pin_size(), Some(4));
            assert_eq!(properties.max_pin_size(), Some(12));
            assert_eq!(properties.ppdu_support(), Some(PpduSupport::CONTROL));
            assert_eq!(properties.vendor_id(), Some(0x08E6));
            assert_eq!(properties.product_id(), None);
            let pad = reader.pin_pad_properties(&features).unwrap().unwrap();
            assert_eq!(pad.lcd_layout(), 0x0210);
            assert_eq!(pad.entry_validation(), EntryValidation::KEY);
            assert!(pad.has_second_timeout());
            let display = reader.display_properties(&features).unwrap().unwrap();
            assert_eq!((display.max_characters(), display.max_lines()), (16, 2));
            reader.abort_pin_entry(&features).unwrap();
        }
        assert_eq!(arrived(&fixture, ABORT), [b""]);
    });
}

#[test]
fn a_reader_without_features_has_none_and_gets_nothing() {
    isolated(|| {
        let fixture = kit();
        let mut card = fixture.connect();
        let features = card.features().unwrap();
        assert!(features.is_empty());
        assert!(card.reader_properties(&features).unwrap().is_empty());
        assert_eq!(card.pin_pad_properties(&features).unwrap(), None);
        assert_eq!(card.display_properties(&features).unwrap(), None);

        let verify = card.verify_pin(&features, &request());
        let error = assert_fails(
            verify,
            Operation::Control,
            ReturnCode::E_UNSUPPORTED_FEATURE,
        );
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert_eq!(error.origin(), Origin::Library);
        assert_eq!(error.reader_name(), Some(&fixture.reader));
        assert!(!error.command_may_have_run());
        let abort = card.abort_pin_entry(&features);
        assert_eq!(abort.unwrap_err().kind(), ErrorKind::Unsupported);
        let log = fixture.sandbox.reader(0).control_log().unwrap();
        assert_eq!(log.len(), 1, "only the question for the features");
        assert_works(&mut card);
    });
}

#[test]
fn a_request_that_is_no_request_is_not_sent() {
    isolated(|| {
        let fixture = kit();
        pin_pad(fixture.sandbox.reader(0), || [0x90, 0x00]);
        let mut card = fixture.connect();
        let features = card.features().unwrap();
        let verify = PinVerification::iso(0x80, PinFormat::ascii().block_len(16));
        let error = card.verify_pin(&features, &verify).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains("15 bytes"), "{error}");
        assert!(arrived(&fixture, VERIFY).is_empty());
    });
}

#[test]
fn failures_of_the_driver_are_errors_with_their_code() {
    isolated(|| {
        let fixture = kit();
        let reader = fixture.sandbox.reader(0);
        reader
            .on_control(|_, _| Err(IfdError::NO_SUCH_DEVICE))
            .unwrap();
        let mut card = fixture.connect();
        let error = card.features().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ReaderGone, "{error}");
        assert_eq!(error.operation(), Operation::Control);
    });
}

#[test]
fn a_user_who_takes_too_long_for_the_program_costs_the_card() {
    isolated(|| {
        let fixture = kit();
        let (release, held) = mpsc::channel::<()>();
        pin_pad(fixture.sandbox.reader(0), move || {
            let _ = held.recv_timeout(SOON);
            [0x90, 0x00]
        });
        let mut card = fixture.connect();
        let features = card.features().unwrap();
        card.set_timeout(Some(NEVER));
        let begun = Instant::now();
        let error = card.verify_pin(&features, &request()).unwrap_err();
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        assert!(error.command_may_have_run());
        assert!(card.is_abandoned());
        release.send(()).unwrap();
        drop(card);
        assert_works(&mut fixture.connect());
    });
}

#[test]
fn another_thread_stops_waiting_for_the_user() {
    isolated(|| {
        let fixture = kit();
        let (release, held) = mpsc::channel::<()>();
        let (began, begun) = mpsc::channel::<()>();
        pin_pad(fixture.sandbox.reader(0), move || {
            began.send(()).unwrap();
            let _ = held.recv_timeout(SOON);
            [0x64, 0x01]
        });
        let mut card = fixture.connect();
        let features = card.features().unwrap();
        let stop = card.make_abortable();
        let entry = in_background(move || card.verify_pin(&features, &request()));
        begun.recv_timeout(SOON).unwrap();
        stop.abort();
        let error = finish(&entry).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        assert!(error.command_may_have_run());
        release.send(()).unwrap();
    });
}

#[test]
fn within_is_long_enough_for_a_pad_with_a_time_of_its_own() {
    isolated(|| {
        let fixture = kit();
        pin_pad(fixture.sandbox.reader(0), || {
            std::thread::sleep(NEVER);
            [0x64, 0x00]
        });
        let mut card = fixture.connect();
        let features = card.features().unwrap();
        let request = request().timeout(Duration::from_secs(1));
        let outcome = card.within(SOON, |card| card.verify_pin(&features, &request));
        assert_eq!(outcome.unwrap().outcome(), PinOutcome::TimedOut);
        assert!(!card.is_abandoned());
        assert_works(&mut card);
    });
}

#[test]
fn the_pad_waits_until_nobody_else_has_the_card() {
    isolated(|| {
        let fixture = kit();
        pin_pad(fixture.sandbox.reader(0), || [0x90, 0x00]);
        let mut card = fixture.connect();
        let mut direct = fixture.context.open_reader(&fixture.reader).unwrap();
        let features = card.features().unwrap();
        let mut other = fixture.connect();
        let transaction = other.transaction().unwrap();
        // With direct access, too, unless it must not wait.
        direct.set_wait_for_transactions(false);
        let error = direct.verify_pin(&features, &request()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SharingViolation);
        let entry = in_background(move || card.verify_pin(&features, &request()));
        assert_blocked(&entry);
        assert!(arrived(&fixture, VERIFY).is_empty());
        drop(transaction);
        assert!(finish(&entry).unwrap().outcome().is_done());
        assert_eq!(arrived(&fixture, VERIFY).len(), 1);
    });
}

/// The reader would ask for the PIN: what has happened to the card does not stop it.
#[test]
fn nobody_is_asked_for_a_pin_for_a_card_that_was_reset() {
    isolated(|| {
        let fixture = kit();
        pin_pad(fixture.sandbox.reader(0), || [0x90, 0x00]);
        let mut card = fixture.connect();
        let features = card.features().unwrap();
        fixture.reset_by_another();
        let error = card.verify_pin(&features, &request()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CardReset);
        assert!(!error.command_may_have_run());
        assert!(arrived(&fixture, VERIFY).is_empty());
        reconnect(&mut card, scard::Initialization::Leave).unwrap();
        let answer = card.verify_pin(&features, &request()).unwrap();
        assert!(answer.outcome().is_done());
    });
}

#[test]
fn a_session_verifies_on_the_pad() {
    isolated(|| {
        let fixture = kit();
        pin_pad(fixture.sandbox.reader(0), || [0x63, 0xC1]);
        let mut session = Session::builder(&fixture.context)
            .reader(&fixture.reader)
            .open()
            .unwrap();
        let answer: Result<PinPadAnswer, scard::SessionError> = session.run(|card| {
            let features = card.features()?;
            card.verify_pin(&features, &request())
        });
        let one_left = PinOutcome::Wrong {
            tries_left: Some(1),
        };
        assert_eq!(answer.unwrap().outcome(), one_left);
        assert_eq!(arrived(&fixture, VERIFY).len(), 1);
    });
}

#[test]
fn hostile_answers_are_answers() {
    isolated(|| {
        let fixture = kit();
        let mut random = Random::new(0xFEA7);
        let reader = fixture.sandbox.reader(0);
        reader
            .on_control(move |_, _| {
                let len = random.below(400);
                Ok((0..len).map(|_| random.below(24) as u8).collect())
            })
            .unwrap();
        let mut card = fixture.connect();
        for _ in 0..300 {
            let features = card.features().unwrap();
            let log = reader.control_log().unwrap();
            let answer = log.last().unwrap().answer.clone().unwrap();
            assert_eq!(features, ReaderFeatures::from_bytes(&answer));
            let _ = card.reader_properties(&features).unwrap();
            let _ = card.pin_pad_properties(&features).unwrap();
            if features.has(Feature::VERIFY_PIN_DIRECT) {
                let _ = card.verify_pin(&features, &request()).unwrap().outcome();
            }
        }
        assert_works(&mut card);
    });
}

#[test]
fn another_driver_without_pin_pad() {
    isolated(|| {
        let sandbox = Sandbox::builder().driver(Driver::Vpcd);
        let fixture = Fixture::of(sandbox.card(0, plain_card()).start().unwrap());
        let mut card = fixture.connect();
        let features = card.features().unwrap();
        assert!(!features.has(Feature::VERIFY_PIN_DIRECT));
        let properties = card.reader_properties(&features).unwrap();
        // Newer versions of this driver have this control code; that of Debian 12 has none.
        let expected = features.has(Feature::GET_TLV_PROPERTIES);
        assert_eq!(
            properties.max_apdu_data_size(),
            expected.then_some(0x1_0000)
        );
    });
}

/// Drivers that do not support a control code, and how they report it.
#[test]
fn a_driver_that_refuses_the_question_has_no_features() {
    isolated(|| {
        let fixture = kit();
        let reader = fixture.sandbox.reader(0);
        let (mut card, none) = (fixture.connect(), ReaderFeatures::default());
        for refusal in [
            IfdError::NOT_SUPPORTED,
            IfdError::ERROR_NOT_SUPPORTED,
            IfdError::COMMUNICATION_ERROR,
            IfdError::RESPONSE_TIMEOUT,
        ] {
            reader.on_control(move |_, _| Err(refusal)).unwrap();
            assert_eq!(card.features().unwrap(), none, "{refusal:?}");
            let mut direct = fixture.context.open_reader(&fixture.reader).unwrap();
            assert_eq!(direct.features().unwrap(), none, "{refusal:?}");
        }
        // Any other code still fails.
        let code = ControlCode::from_raw(VERIFY);
        let error = card.control(code, &[]).unwrap_err();
        assert_eq!(error.code(), ReturnCode::E_NOT_TRANSACTED);
        #[cfg(feature = "async")]
        smol::block_on(async {
            use scard::{AsyncCard, AsyncControl};
            let mut card = AsyncCard::from(card);
            let features = AsyncControl::features(&mut card).await;
            assert_eq!(features.unwrap(), none);
        });
    });
}

#[test]
fn a_session_does_nothing_about_a_driver_that_refuses_the_question() {
    isolated(|| {
        let fixture = kit();
        let reader = fixture.sandbox.reader(0);
        let refuse = |_, _: &[u8]| Err(IfdError::COMMUNICATION_ERROR);
        reader.on_control(refuse).unwrap();
        let (told, events) = mpsc::channel();
        let mut session = Session::builder(&fixture.context)
            .reader(&fixture.reader)
            .setup_when(scard::SetUpWhen::OnReset)
            .setup(|card| card.transmit(COMMAND).map(drop))
            .on_event(move |event| told.send(event.name()).unwrap())
            .open()
            .unwrap();
        for _ in 0..2 {
            let features = session.run(|card| card.features()).unwrap();
            assert!(features.is_empty());
        }
        drop(session);
        // The beginning of a transaction takes its time on a busy machine.
        let events = events.iter().filter(|it| *it != "waited-for-others");
        assert_eq!(events.collect::<Vec<&str>>(), ["connected", "set-up"]);
    });
}

#[cfg(feature = "async")]
#[test]
fn a_pad_can_be_awaited() {
    use scard::{AsyncCard, AsyncControl as _, AsyncReader};

    isolated(|| {
        let fixture = kit();
        pin_pad(fixture.sandbox.reader(0), || [0x64, 0x01]);
        let mut card = AsyncCard::from(fixture.connect());
        smol::block_on(async {
            let features = card.features().await.unwrap();
            let mut transaction = card.transaction().await.unwrap();
            let answer = transaction.verify_pin(&features, &request()).await.unwrap();
            assert_eq!(answer.outcome(), PinOutcome::Cancelled);
            drop(transaction);
            let none = ReaderFeatures::default();
            let refused = card.verify_pin(&none, &request()).await;
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unsupported);
        });
        drop(card);
        let reader = fixture.context.open_reader(&fixture.reader).unwrap();
        let mut reader = AsyncReader::from(reader);
        smol::block_on(async {
            let features = reader.features().await.unwrap();
            let properties = reader.reader_properties(&features).await.unwrap();
            assert_eq!(properties.max_pin_size(), Some(12));
        });
    });
}
