use super::*;
use crate::apdu::StatusWord;

#[test]
fn commands_are_those_of_part_3() {
    let key = Key::new([1, 2, 3, 4, 5, 6]);
    let load_key = command::load_key(KeyPlace::NonVolatile, 7, &key);
    assert!(load_key.as_ref().unwrap().is_secret());
    assert!(command::update_binary(7, &[0xFF; 16]).unwrap().is_secret());
    let value = [
        0xFF, 0xC2, 0, 3, 11, 0xA1, 9, 0x80, 1, 5, 0x81, 4, 4, 3, 2, 1, 0,
    ];
    for (command, expected) in [
        (command::get_uid(), &[0xFF, 0xCA, 0, 0, 0][..]),
        (command::get_historical_bytes(), &[0xFF, 0xCA, 1, 0, 0]),
        (load_key, &[0xFF, 0x82, 0x20, 7, 6, 1, 2, 3, 4, 5, 6]),
        (
            command::authenticate(0x0104, KeyKind::B, 7),
            &[0xFF, 0x86, 0, 0, 5, 1, 0x01, 0x04, 0x61, 7],
        ),
        (command::read_binary(0x0104, 16), &[0xFF, 0xB0, 1, 4, 16]),
        (
            command::update_binary(4, &[9; 4]),
            &[0xFF, 0xD6, 0, 4, 4, 9, 9, 9, 9],
        ),
        (
            command::increment(5, 100),
            &[
                0xFF, 0xC2, 0, 3, 11, 0xA0, 9, 0x80, 1, 5, 0x81, 4, 100, 0, 0, 0, 0,
            ],
        ),
        (command::decrement(5, 0x0102_0304), &value),
    ] {
        assert_eq!(**command.unwrap().to_bytes(), *expected);
    }
}

#[test]
fn length_limits_are_enforced() {
    for (len, le) in [(1, 1), (255, 255), (256, 0)] {
        let read = command::read_binary(0, len).unwrap();
        assert_eq!(*read.to_bytes(), [0xFF, 0xB0, 0, 0, le]);
    }
    for len in [0, 257, usize::MAX] {
        let read = command::read_binary(0, len);
        assert!(matches!(read, Err(ContactlessError::Length)), "{len}");
    }
    for len in [0, 256, 1000] {
        assert!(command::update_binary(0, &vec![0; len]).is_err(), "{len}");
        let key = Key::new(vec![0; len]);
        assert!(command::load_key(KeyPlace::Volatile, 0, &key).is_err());
    }
    assert!(command::update_binary(0, &[0; 255]).is_ok());
}

#[test]
fn no_output_contains_a_key() {
    let key = Key::new([0xAB; 6]);
    assert_eq!(format!("{key:?} {key:#?}"), "Key(6 bytes) Key(6 bytes)");
    let clone = key.clone();
    assert_eq!(clone.as_bytes(), [0xAB; 6]);
}

#[test]
fn the_meaning_of_a_status_word_depends_on_the_request() {
    let meaning = |request, word| Status::new(request, StatusWord(word)).meaning();
    use Request::*;
    for (request, word, expected) in [
        (GetData, 0x9000, StatusMeaning::Success),
        (GetData, 0x6A81, StatusMeaning::Unsupported),
        (GetData, 0x6282, StatusMeaning::EndReached),
        (GetData, 0x6C07, StatusMeaning::LengthIs(7)),
        (LoadKeys, 0x6982, StatusMeaning::CardKeyUnsupported),
        (LoadKeys, 0x6983, StatusMeaning::ReaderKeyUnsupported),
        (LoadKeys, 0x6984, StatusMeaning::PlainKeyUnsupported),
        (LoadKeys, 0x6985, StatusMeaning::EncryptedKeyUnsupported),
        (LoadKeys, 0x6986, StatusMeaning::NoVolatileMemory),
        (LoadKeys, 0x6987, StatusMeaning::NoNonVolatileMemory),
        (LoadKeys, 0x6988, StatusMeaning::NoSuchKeyNumber),
        (LoadKeys, 0x6989, StatusMeaning::WrongKeyLength),
        (Authenticate, 0x6300, StatusMeaning::Failed),
        (Authenticate, 0x6581, StatusMeaning::MemoryFailure),
        (Authenticate, 0x6982, StatusMeaning::NotAuthenticated),
        (Authenticate, 0x6983, StatusMeaning::CannotAuthenticate),
        (Authenticate, 0x6984, StatusMeaning::KeyUnusable),
        (Authenticate, 0x6986, StatusMeaning::UnknownKeyKind),
        (Authenticate, 0x6988, StatusMeaning::NoSuchKeyNumber),
        (ReadBinary, 0x6281, StatusMeaning::DataCorrupted),
        (ReadBinary, 0x6981, StatusMeaning::WrongCard),
        (ReadBinary, 0x6982, StatusMeaning::NotAuthenticated),
        (ReadBinary, 0x6986, StatusMeaning::NotAllowed),
        (ReadBinary, 0x6A82, StatusMeaning::NotFound),
        (UpdateBinary, 0x6581, StatusMeaning::MemoryFailure),
        (UpdateBinary, 0x6700, StatusMeaning::WrongLength),
        (ChangeValue, 0x6D00, StatusMeaning::Unsupported),
        (ChangeValue, 0x1234, StatusMeaning::Other),
    ] {
        assert_eq!(meaning(request, word), expected, "{request:?} {word:04X}");
    }
    let requests = [
        GetData,
        LoadKeys,
        Authenticate,
        ReadBinary,
        UpdateBinary,
        ChangeValue,
    ];
    for request in requests {
        for word in 0..=u16::MAX {
            let status = Status::new(request, StatusWord(word));
            assert_eq!((status.word().raw(), status.request()), (word, request));
            assert_eq!(status.meaning() == StatusMeaning::Success, word == 0x9000);
        }
    }
}

#[test]
fn a_failure_can_be_in_a_data_object() {
    let check = |request, answer| Status::check(request, answer).map_err(|it| it.status());
    let failed = &[0xC0, 0x03, 0x01, 0x69, 0x82, 0x90, 0x00];
    let status = Status::new(Request::ChangeValue, StatusWord(0x6982));
    assert_eq!(check(Request::ChangeValue, failed), Err(Some(status)));
    assert_eq!(check(Request::ReadBinary, failed), Ok(&failed[..5]));
    let done = &[0xC0, 0x03, 0x00, 0x90, 0x00, 0x90, 0x00];
    assert!(check(Request::ChangeValue, done).is_ok());
}

#[test]
fn answers_are_data_or_an_error() {
    let check = |answer| Status::check(Request::ReadBinary, answer);
    assert_eq!(check(&[1, 2, 0x90, 0x00]).unwrap(), [1, 2]);
    // A success without data is a success only if no data was requested.
    assert!(matches!(
        check(&[0x90, 0x00]),
        Err(ContactlessError::NoData)
    ));
    let uid = Status::check(Request::GetData, &[0x90, 0x00]);
    assert!(matches!(uid, Err(ContactlessError::NoData)));
    for request in [
        Request::LoadKeys,
        Request::Authenticate,
        Request::UpdateBinary,
    ] {
        assert!(Status::check(request, &[0x90, 0x00]).is_ok(), "{request:?}");
    }
    // Data before the end is not lost.
    assert_eq!(check(&[1, 2, 0x62, 0x82]).unwrap(), [1, 2]);
    assert!(check(&[0x62, 0x82]).is_err());
    assert!(Status::check(Request::GetData, &[1, 2, 0x62, 0x82]).is_err());
    for short in [&[][..], &[0x90]] {
        let error = check(short).unwrap_err();
        assert!(matches!(error, ContactlessError::NoStatusWord));
        assert_eq!(error.status(), None);
    }
    let error = check(&[1, 2, 0x69, 0x82]).unwrap_err();
    assert_eq!(
        error.status().unwrap().meaning(),
        StatusMeaning::NotAuthenticated
    );
    assert_eq!(
        error.to_string(),
        "the contactless reader refused: the required key was not presented (6982)"
    );
}
