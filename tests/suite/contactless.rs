//! A contactless storage card, on a virtual reader that follows Part 3.
#![cfg(target_os = "linux")]

use scard::apdu::StatusWord;
use scard::contactless::{
    ContactlessError, Key, KeyKind, KeyPlace, Request, Status, StatusMeaning,
};
use scard::{ConnectOptions, Context, ErrorKind, ReaderName, Session, Transmit as _};
use scard_testkit::{Sandbox, VirtualCard, isolated};

use crate::support::mifare::{ATR, FACTORY, Mifare, UID, value_block};
use crate::support::{Fixture, fixture_with};

const KEY_A: [u8; 6] = *b"\xA0\xA1\xA2\xA3\xA4\xA5";
const KEY_B: [u8; 6] = *b"\xB0\xB1\xB2\xB3\xB4\xB5";

/// Sector 1 has its own keys. Only key B writes its first block, its second block is a purse, and
/// only key B reads its third block.
fn fixture() -> Fixture {
    let card = Mifare::new()
        .sector(1, KEY_A, [0b100, 0b110, 0b011], KEY_B)
        .block(4, *b"read by both 000")
        .block(5, value_block(1000, 5));
    fixture_with(card.card())
}

#[track_caller]
fn assert_means<T: std::fmt::Debug>(result: Result<T, ContactlessError>, expected: StatusMeaning) {
    let status = result.unwrap_err().status().expect("a status word");
    assert_eq!(status.meaning(), expected, "{status}");
}

#[test]
fn uid_and_no_historical_bytes() {
    isolated(|| {
        let fixture = fixture();
        let mut card = fixture.connect();
        assert_eq!(card.status().unwrap().atr().as_bytes(), ATR);
        let mut card = card.contactless();
        assert_eq!(card.uid().unwrap(), UID);
        assert_means(card.historical_bytes(), StatusMeaning::Unsupported);
    });
}

#[test]
fn a_card_from_the_factory_is_read_and_written() {
    isolated(|| {
        let fixture = fixture();
        let mut card = fixture.connect();
        let mut transaction = card.transaction().unwrap();
        let mut card = transaction.contactless();
        let key = Key::new(FACTORY);
        card.load_key(KeyPlace::Volatile, 0, &key).unwrap();
        card.authenticate(8, KeyKind::A, 0).unwrap();
        assert_eq!(card.read_binary(8, 16).unwrap(), [0; 16]);
        card.update_binary(9, b"sixteen bytes...").unwrap();
        assert_eq!(card.read_binary(9, 16).unwrap(), b"sixteen bytes...");
        let trailer = card.read_binary(11, 16).unwrap();
        assert_eq!(trailer[..6], [0; 6], "key A cannot be read");
        let log = fixture.card.log();
        assert_eq!(log[0].command[..5], [0xFF, 0x82, 0x00, 0x00, 0x06]);
        assert_eq!(log[1].command, b"\xFF\x86\x00\x00\x05\x01\x00\x08\x60\x00");
        assert_eq!(log[2].command, b"\xFF\xB0\x00\x08\x10");
    });
}

#[test]
fn without_the_right_key_nothing_is_read() {
    isolated(|| {
        let fixture = fixture();
        let mut card = fixture.connect();
        let mut card = card.contactless();
        // No key at all.
        assert_means(card.read_binary(4, 16), StatusMeaning::NotAuthenticated);
        assert_means(
            card.update_binary(4, &[0; 16]),
            StatusMeaning::NotAuthenticated,
        );
        assert_means(
            card.authenticate(4, KeyKind::A, 0),
            StatusMeaning::KeyUnusable,
        );

        // The wrong key.
        let key = Key::new(FACTORY);
        card.load_key(KeyPlace::Volatile, 0, &key).unwrap();
        assert_means(card.authenticate(4, KeyKind::A, 0), StatusMeaning::Failed);
        assert_means(card.read_binary(4, 16), StatusMeaning::NotAuthenticated);

        // The key of another sector.
        card.authenticate(8, KeyKind::A, 0).unwrap();
        assert_means(card.read_binary(4, 16), StatusMeaning::NotAuthenticated);
        card.read_binary(8, 16).unwrap();

        // A wrong key ends the previous authentication.
        assert_means(card.authenticate(4, KeyKind::B, 0), StatusMeaning::Failed);
        assert_means(card.read_binary(8, 16), StatusMeaning::NotAuthenticated);
    });
}

#[test]
fn keys_allow_what_the_sector_says() {
    isolated(|| {
        let fixture = fixture();
        let mut card = fixture.connect();
        let mut card = card.contactless();
        let (a, b) = (Key::new(KEY_A), Key::new(KEY_B));
        card.load_key(KeyPlace::Volatile, 0, &a).unwrap();
        card.load_key(KeyPlace::Volatile, 1, &b).unwrap();

        card.authenticate(4, KeyKind::A, 0).unwrap();
        assert_eq!(card.read_binary(4, 16).unwrap(), b"read by both 000");
        assert_means(
            card.update_binary(4, &[1; 16]),
            StatusMeaning::NotAuthenticated,
        );
        assert_means(card.read_binary(6, 16), StatusMeaning::NotAuthenticated);
        card.decrement(5, 250).unwrap();
        assert_means(card.increment(5, 1), StatusMeaning::NotAuthenticated);
        assert_eq!(card.read_binary(5, 16).unwrap(), value_block(750, 5));

        card.authenticate(4, KeyKind::B, 1).unwrap();
        card.update_binary(4, &[1; 16]).unwrap();
        assert_eq!(card.read_binary(4, 16).unwrap(), [1; 16]);
        card.read_binary(6, 16).unwrap();
        card.increment(5, 0x0001_0000).unwrap();
        assert_eq!(
            card.read_binary(5, 16).unwrap(),
            value_block(0x0001_0000 + 750, 5)
        );
        assert_means(card.decrement(4, 1), StatusMeaning::NotAuthenticated);
    });
}

#[test]
fn what_reader_and_card_do_not_take_has_a_meaning() {
    isolated(|| {
        let fixture = fixture();
        let mut card = fixture.connect();
        let mut card = card.contactless();
        let key = Key::new(FACTORY);
        assert_means(
            card.load_key(KeyPlace::NonVolatile, 0, &key),
            StatusMeaning::NoNonVolatileMemory,
        );
        assert_means(
            card.load_key(KeyPlace::Volatile, 9, &key),
            StatusMeaning::NoSuchKeyNumber,
        );
        assert_means(
            card.load_key(KeyPlace::Other(0x40), 0, &key),
            StatusMeaning::EncryptedKeyUnsupported,
        );
        assert_means(
            card.load_key(KeyPlace::Volatile, 0, &Key::new([0; 5])),
            StatusMeaning::WrongKeyLength,
        );
        card.load_key(KeyPlace::Volatile, 0, &key).unwrap();
        assert_means(
            card.authenticate(4, KeyKind::Other(0), 0),
            StatusMeaning::UnknownKeyKind,
        );
        assert_means(
            card.authenticate(200, KeyKind::A, 0),
            StatusMeaning::MemoryFailure,
        );
        card.authenticate(8, KeyKind::A, 0).unwrap();
        assert_means(card.read_binary(200, 16), StatusMeaning::NotFound);
        assert_means(card.read_binary(8, 4), StatusMeaning::LengthIs(16));
        assert_means(card.update_binary(8, &[0; 4]), StatusMeaning::WrongLength);
        assert_means(card.increment(8, 1), StatusMeaning::WrongCard);

        // Values that no command can carry are not sent.
        let before = fixture.card.log().len();
        let none = card.update_binary(8, &[]);
        assert!(matches!(none, Err(ContactlessError::Length)));
        assert!(card.read_binary(8, 257).is_err());
        assert_eq!(fixture.card.log().len(), before);
    });
}

#[test]
fn a_reset_of_the_card_is_an_error_of_the_call() {
    isolated(|| {
        let fixture = fixture();
        let mut card = fixture.connect();
        fixture.reset_by_another();
        match card.contactless().uid() {
            Err(ContactlessError::Call(error)) => assert_eq!(error.kind(), ErrorKind::CardReset),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_session_reads_the_uid() {
    isolated(|| {
        let fixture = fixture();
        let mut session = Session::builder(&fixture.context).open().unwrap();
        let uid = session.run(|card| card.contactless().uid());
        assert_eq!(uid.unwrap(), UID);
        // Recovery from a failure before anything was done.
        fixture.reset_by_another();
        let uid = session.run(|card| card.contactless().uid());
        assert_eq!(uid.unwrap(), UID);
    });
}

#[test]
fn hostile_answers_are_answers() {
    isolated(|| {
        // Answers too short for PC/SC come last: the service may take them for a removed card.
        let mut answers = [
            &[0x90, 0x00][..],
            &[0xC0, 0x03, 0x90, 0x00],
            &[0x6C, 0x00],
            &[0x90],
            &[],
        ]
        .into_iter()
        .cycle();
        let card = VirtualCard::new(move |_: &[u8]| answers.next().unwrap().to_vec());
        let sandbox = Sandbox::builder()
            .driver(scard_testkit::Driver::Kit)
            .card(0, card);
        let sandbox = sandbox.start().unwrap();
        let name = ReaderName::new(sandbox.reader(0).name()).unwrap();
        let context = Context::establish().unwrap();
        let mut card = context.connect(&name, ConnectOptions::new()).unwrap();
        let mut card = card.contactless();
        let mut seen = Vec::new();
        for _ in 0..5 {
            seen.push(match card.increment(1, 1) {
                Ok(()) => "done",
                Err(ContactlessError::NoStatusWord) => "no status word",
                Err(ContactlessError::Call(_)) => "no answer",
                Err(ContactlessError::Status(status)) => {
                    let expected = Status::new(Request::ChangeValue, StatusWord(0x6C00));
                    assert_eq!(status, expected);
                    "status"
                }
                Err(other) => panic!("{other}"),
            });
        }
        assert_eq!(seen[..3], ["done", "done", "status"], "{seen:?}");
        assert!(!seen[3..].contains(&"done"), "{seen:?}");
    });
}

#[cfg(feature = "async")]
#[test]
fn futures_read_and_write_too() {
    use scard::{AsyncCard, AsyncTransmit as _};

    isolated(|| {
        let fixture = fixture();
        smol::block_on(async {
            let mut card = AsyncCard::from(fixture.connect());
            assert_eq!(card.contactless().uid().await.unwrap(), UID);
            let get_uid = [0xFF, 0xCA, 0x00, 0x00, 0x00];
            let answer = card.transmit_ref(&get_uid).await.unwrap().to_vec();
            assert_eq!(answer, [&UID[..], b"\x90\x00"].concat());

            let mut transaction = card.transaction().await.unwrap();
            assert_eq!(transaction.transmit_ref(&get_uid).await.unwrap(), answer);
            let mut card = transaction.contactless();
            assert_means(card.historical_bytes().await, StatusMeaning::Unsupported);
            let key = Key::new(FACTORY);
            card.load_key(KeyPlace::Volatile, 0, &key).await.unwrap();
            card.authenticate(8, KeyKind::A, 0).await.unwrap();
            card.update_binary(9, b"sixteen bytes...").await.unwrap();
            let written = card.read_binary(9, 16).await.unwrap();
            assert_eq!(written, b"sixteen bytes...");
        });
    });
}

/// A card that answers every command with these bytes.
fn answering(atr: &[u8], answer: &'static [u8]) -> VirtualCard {
    VirtualCard::new(move |_: &[u8]| answer).atr(atr)
}

#[test]
fn nothing_is_no_uid() {
    isolated(|| {
        let fixture = fixture_with(answering(ATR, &[0x90, 0x00]));
        let mut card = fixture.connect();
        let mut card = card.contactless();
        for empty in [card.uid(), card.historical_bytes(), card.read_binary(4, 16)] {
            assert!(matches!(empty, Err(ContactlessError::NoData)), "{empty:?}");
        }
        // Correct if there is no data to return.
        let key = Key::new(FACTORY);
        card.load_key(KeyPlace::Volatile, 0, &key).unwrap();
        card.update_binary(4, &[0; 16]).unwrap();
    });
}

#[test]
fn a_card_with_contacts_that_refuses_is_told_from_a_reader() {
    use scard_testkit::atr::{T0, T1};

    for (atr, answer, is_card) in [
        (T1, &[0x6E, 0x00][..], true),
        (T0, &[0x6D, 0x00], true),
        (T1, &[0x68, 0x81], true),
        (T1, &[0x69, 0x85], true),
        // Not a refusal of the command.
        (T1, &[0x63, 0x00], false),
        (ATR, &[0x6E, 0x00], false),
        (ATR, &[0x6A, 0x81], false),
    ] {
        isolated(|| {
            let fixture = fixture_with(answering(atr, answer));
            let mut card = fixture.connect();
            let error = card.contactless().uid().unwrap_err();
            let word = error.status().unwrap().word();
            assert_eq!(word.to_bytes(), answer);
            assert_eq!(error.recovery(), scard::Recovery::None);
            let by_card = matches!(error, ContactlessError::ContactCard(_));
            assert_eq!(by_card, is_card, "{error}");
            #[cfg(feature = "async")]
            {
                use crate::support::executor::block_on;
                use scard::AsyncTransmit as _;

                let mut card = scard::AsyncCard::from(card);
                let error = block_on(card.contactless().uid()).unwrap_err();
                let by_card = matches!(error, ContactlessError::ContactCard(_));
                assert_eq!(by_card, is_card, "{error}");
            }
        });
    }
}
