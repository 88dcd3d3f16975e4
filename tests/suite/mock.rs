//! The traits over a card without PC/SC.

use std::collections::VecDeque;

use scard::apdu::{Command, CommandBytes, ExchangeError, InvalidCommand, Step};
use scard::attributes::{self, AttributeError};
use scard::contactless::{ContactlessError, Key, KeyPlace, StatusMeaning};
use scard::features::{Feature, PinFormat, PinModification, PinOutcome, PinVerification};
use scard::{
    Atr, Attribute, Contactless, Control, ControlCode, Error, ErrorKind, LogicalChannel, Operation,
    Protocol, ReaderName, Result, ReturnCode, Transmit,
};

/// FEATURE_VERIFY_PIN_DIRECT, FEATURE_MODIFY_PIN_DIRECT, FEATURE_ABORT.
const FEATURES: &[u8] = &[
    0x06, 0x04, 0, 0, 0x0D, 0x06, 0x07, 0x04, 0, 0, 0x0D, 0x07, 0x0B, 0x04, 0, 0, 0x0D, 0x0B,
];

/// Answers the commands of a script, and accepts no others.
struct Scripted {
    name: ReaderName,
    script: VecDeque<(Vec<u8>, Vec<u8>)>,
    answer: Vec<u8>,
    /// Whether each command was secret.
    secret: Vec<bool>,
    controls: Vec<ControlCode>,
    has_pin_pad: bool,
}

fn scripted(script: &[(&[u8], &[u8])]) -> Scripted {
    let owned = |(command, answer): &(&[u8], &[u8])| (command.to_vec(), answer.to_vec());
    Scripted {
        name: ReaderName::new("Scripted").unwrap(),
        script: script.iter().map(owned).collect(),
        answer: Vec::new(),
        secret: Vec::new(),
        controls: Vec::new(),
        has_pin_pad: false,
    }
}

impl Scripted {
    fn error(&self, operation: Operation, code: ReturnCode) -> Error {
        Error::from_code(operation, code, &self.name)
    }
}

impl Control for Scripted {
    fn reader_name(&self) -> &ReaderName {
        &self.name
    }

    fn control(&mut self, code: ControlCode, input: &[u8]) -> Result<Vec<u8>> {
        self.controls.push(code);
        match (self.has_pin_pad, code.raw()) {
            (true, 0x0D06) if !input.is_empty() => Ok(vec![0x63, 0xC2]),
            (true, 0x0D07) if !input.is_empty() => Ok(vec![0x90, 0x00]),
            (true, 0x0D0B) => Ok(Vec::new()),
            (true, _) if code == ControlCode::GET_FEATURE_REQUEST => Ok(FEATURES.to_vec()),
            _ => Err(self.error(Operation::Control, ReturnCode::E_UNSUPPORTED_FEATURE)),
        }
    }

    fn attribute(&mut self, attribute: Attribute) -> Result<Vec<u8>> {
        match attribute {
            Attribute::VENDOR_NAME => Ok(b"Nobody\0".to_vec()),
            Attribute::MAXINPUT => Ok(vec![1]),
            _ => Err(self.error(Operation::GetAttribute, ReturnCode::E_UNSUPPORTED_FEATURE)),
        }
    }
}

impl Transmit for Scripted {
    fn protocol(&self) -> Option<Protocol> {
        Some(Protocol::T1)
    }

    /// Says that the card supports chaining.
    fn atr(&mut self) -> Result<Atr> {
        Ok(Atr::new(b"\x3B\x85\x80\x01\x80\x73\x00\x00\x80\x77").unwrap())
    }

    fn send(&mut self, command: CommandBytes<'_>) -> Result<&[u8]> {
        let next = self.script.pop_front();
        let gone = || self.error(Operation::Transmit, ReturnCode::W_REMOVED_CARD);
        let (expected, answer) = next.ok_or_else(gone)?;
        assert_eq!(*command, *expected, "{command}");
        self.secret.push(command.is_secret());
        self.answer = answer;
        Ok(&self.answer)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.script.is_empty(), "{:02X?} was not sent", self.script);
        }
    }
}

/// Code of an application that knows neither PC/SC nor the test.
struct Badge<T>(T);

impl<T: Transmit> Badge<T> {
    fn name(&mut self) -> Result<Vec<u8>, ExchangeError> {
        let select = Command::select(b"\xF0\x01")?;
        self.0.exchange(&select)?.ok()?;
        let read = Command::new(0x00, 0xB0, 0x00, 0x00)?.expecting(3)?;
        Ok(self.0.exchange(&read)?.ok()?)
    }
}

const OK: &[u8] = b"\x90\x00";
const SELECT: &[u8] = b"\x00\xA4\x04\x00\x02\xF0\x01\x00";
const READ: &[u8] = b"\x00\xB0\x00\x00\x03";
const OPEN: &[u8] = b"\x00\x70\x00\x00\x01";

#[test]
fn an_application_works_over_a_mock_and_a_borrowed_one() {
    let script: &[(&[u8], &[u8])] = &[
        (SELECT, b"\x61\x02"),
        (b"\x00\xC0\x00\x00\x02", b"\x6F\x00\x90\x00"),
        (READ, b"\x6C\x02"),
        (b"\x00\xB0\x00\x00\x02", b"me\x90\x00"),
    ];
    let mut card = scripted(script);
    assert_eq!(Badge(&mut card).name().unwrap(), b"me");
    assert_eq!(card.secret, [false; 4]);
    assert_eq!(Badge(scripted(script)).name().unwrap(), b"me");
    let boxed: &mut dyn Transmit = &mut scripted(script);
    assert_eq!(Badge(boxed).name().unwrap(), b"me");
}

#[test]
fn a_long_command_goes_as_the_card_says_it_can() {
    let (mut first, mut last) = (
        b"\x10\xDB\x3F\xFF\xFF".to_vec(),
        b"\x00\xDB\x3F\xFF\x2D".to_vec(),
    );
    first.extend([7; 255]);
    last.extend([7; 45]);
    let mut card = scripted(&[(&first, OK), (&last, OK)]);
    let put = Command::new(0x00, 0xDB, 0x3F, 0xFF).unwrap();
    let put = put.with_data([7; 300]).unwrap();
    card.exchange(&put).unwrap().ok().unwrap();
}

#[test]
fn errors_of_a_mock_are_errors_of_a_card() {
    let mut card = scripted(&[(SELECT, b"\x61\x02")]);
    let error = card
        .exchange(&Command::select(b"\xF0\x01").unwrap())
        .unwrap_err();
    let step = Step::GetResponse { number: 1 };
    assert!(matches!(error, ExchangeError::Card { step: at, answered: 1, .. } if at == step));
    let error = error.error().unwrap();
    assert_eq!(error.kind(), ErrorKind::CardRemoved);
    assert_eq!(error.reader_name(), Some(card.reader_name()));
}

#[test]
fn a_contactless_card_may_be_a_mock() {
    let mut card = scripted(&[
        (b"\xFF\xCA\x00\x00\x00", b"\x04\x01\x02\x03\x90\x00"),
        (b"\xFF\x82\x00\x00\x06\x01\x02\x03\x04\x05\x06", OK),
        (b"\xFF\xB0\x00\x04\x10", b"\x69\x82"),
    ]);
    assert_eq!(card.contactless().uid().unwrap(), [4, 1, 2, 3]);
    let key = Key::new([1, 2, 3, 4, 5, 6]);
    let mut contactless = Contactless::new(&mut card as &mut dyn Transmit);
    contactless.load_key(KeyPlace::Volatile, 0, &key).unwrap();
    let refused = contactless.read_binary(4, 16).unwrap_err();
    assert_eq!(
        refused.status().unwrap().meaning(),
        StatusMeaning::NotAuthenticated
    );
    assert_eq!(card.secret, [false, true, false]);
    match card.contactless().uid().unwrap_err() {
        ContactlessError::Call(error) => assert_eq!(error.kind(), ErrorKind::CardRemoved),
        other => panic!("{other}"),
    }
}

#[test]
fn a_logical_channel_takes_what_a_card_takes() {
    let mut card = scripted(&[
        (OPEN, b"\x01\x90\x00"),
        (b"\x01\xA4\x04\x00\x02\xF0\x01\x00", OK),
        (b"\x01\xB0\x00\x00\x03", b"you\x90\x00"),
        // For any channel in the class, and for a proprietary class.
        (b"\x01\x84\x00\x00\x08", OK),
        (b"\x81\x84\x00\x00\x08", OK),
        // Another one, opened from there.
        (b"\x01\x70\x00\x00\x01", b"\x05\x90\x00"),
        (b"\x41\x84\x00\x00\x08", OK),
        (b"\x01\x70\x80\x05", OK),
        (b"\x00\x70\x80\x01", OK),
    ]);
    let mut channel = card.logical_channel().unwrap();
    assert_eq!(Badge(&mut channel).name().unwrap(), b"you");
    assert_eq!(channel.transmit(b"\x02\x84\x00\x00\x08").unwrap(), OK);
    assert_eq!(channel.transmit_ref(b"\x80\x84\x00\x00\x08").unwrap(), OK);
    let mut another = LogicalChannel::open(&mut channel as &mut dyn Transmit).unwrap();
    assert_eq!(
        (another.number(), another.reader_name().to_string()),
        (5, "Scripted".into())
    );
    another.transmit(b"\x00\x84\x00\x00\x08").unwrap();
    another.close().unwrap();
    channel.close().unwrap();
}

#[test]
fn a_class_that_cannot_carry_the_channel_is_refused_and_nothing_is_sent() {
    let mut card = scripted(&[(OPEN, b"\x01\x90\x00")]);
    let mut channel = card.logical_channel().unwrap();
    for command in [b"\xFF\xCA\x00\x00\x00", b"\xA0\xB0\x00\x00\x03"] {
        let error = channel.transmit(command).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(!error.command_may_have_run());
        assert!(error.to_string().contains("logical channel"), "{error}");
    }
    // Commands for the reader: the error says what to do.
    let refused = channel.contactless().uid().unwrap_err();
    let error = refused.error().unwrap().to_string();
    assert!(error.contains("send it on the card itself"), "{error}");
    let own = Command::new(0xA0, 0xB0, 0x00, 0x00).unwrap();
    let error = channel.exchange(&own).unwrap_err();
    let invalid = InvalidCommand::Channel {
        class: 0xA0,
        channel: 1,
    };
    assert!(
        matches!(error, ExchangeError::Invalid(it) if it == invalid),
        "{error}"
    );
    drop(channel);
}

#[test]
fn what_is_secret_is_marked_whichever_way_it_goes() {
    let mut card = scripted(&[
        (b"\x00\x20\x00\x80\x01\x31", OK),
        (b"\x80\xD8\x01\x81\x01\x31", OK),
        (b"\x80\xD8\x01\x81\x01\x31", OK),
        (b"\x00\xCB\x3F\xFF\x00", b"\x61\x01"),
        (b"\x00\xC0\x00\x00\x01", b"\x31\x90\x00"),
        (OPEN, b"\x01\x90\x00"),
        (b"\x81\xD8\x01\x81\x01\x31", OK),
        (b"\x81\xD8\x01\x81\x01\x31", OK),
    ]);
    card.transmit(b"\x00\x20\x00\x80\x01\x31").unwrap();
    card.transmit_secret(b"\x80\xD8\x01\x81\x01\x31").unwrap();
    card.transmit(b"\x80\xD8\x01\x81\x01\x31").unwrap();
    let get = Command::new(0x00, 0xCB, 0x3F, 0xFF)
        .unwrap()
        .expecting_all()
        .sensitive();
    card.exchange(&get).unwrap().ok().unwrap();
    let mut channel = card.logical_channel().unwrap();
    channel
        .transmit_secret(b"\x80\xD8\x01\x81\x01\x31")
        .unwrap();
    channel.transmit(b"\x80\xD8\x01\x81\x01\x31").unwrap();
    drop(channel);
    assert_eq!(
        card.secret,
        [true, true, false, true, true, false, true, false]
    );
    // Data without a header may be a part of anything.
    assert!(CommandBytes::new(b"123").is_secret());
    let shown = CommandBytes::new(b"\x80\xD8\x01\x81\x01\x31");
    assert_eq!(
        format!("{shown:#?} {shown}"),
        "CommandBytes(80 D8 01 81, 6 bytes) 80 D8 01 81, 6 bytes"
    );
}

fn enters_pins(reader: &mut impl Control) {
    let features = reader.features().unwrap();
    assert!(features.has(Feature::VERIFY_PIN_DIRECT));
    let verify = PinVerification::iso(0x80, PinFormat::ascii());
    let outcome = reader.verify_pin(&features, &verify).unwrap().outcome();
    assert_eq!(
        outcome,
        PinOutcome::Wrong {
            tries_left: Some(2)
        }
    );
    let modify = PinModification::iso(0x80, PinFormat::ascii());
    assert!(
        reader
            .modify_pin(&features, &modify)
            .unwrap()
            .outcome()
            .is_done()
    );
    reader.abort_pin_entry(&features).unwrap();
    assert!(reader.reader_properties(&features).unwrap().is_empty());
    assert_eq!(reader.pin_pad_properties(&features).unwrap(), None);
    assert_eq!(reader.display_properties(&features).unwrap(), None);
}

#[test]
fn a_pin_pad_may_be_a_mock() {
    let mut card = scripted(&[]);
    card.has_pin_pad = true;
    enters_pins(&mut card);
    enters_pins(&mut (&mut card));
    assert_eq!(card.controls.len(), 2 * 4);

    let mut card = scripted(&[(OPEN, b"\x01\x90\x00")]);
    card.has_pin_pad = true;
    enters_pins(&mut card.logical_channel().unwrap());
}

#[test]
fn attributes_of_a_mock_have_types() {
    let mut card = scripted(&[]);
    assert_eq!(
        card.attribute_value(attributes::VENDOR_NAME).unwrap(),
        "Nobody"
    );
    let wrong = card.attribute_value(attributes::MAXINPUT).unwrap_err();
    assert!(matches!(wrong, AttributeError::Value(_)), "{wrong}");
    let none = card.attribute_value(attributes::MAX_CLK).unwrap_err();
    assert!(
        matches!(none, AttributeError::Call { error, .. } if error.kind() == ErrorKind::Unsupported)
    );
}

/// Has only a name.
struct Bare(ReaderName);

impl Control for Bare {
    fn reader_name(&self) -> &ReaderName {
        &self.0
    }
}

#[test]
fn without_control_codes_there_is_no_feature_and_no_attribute() {
    let mut reader = Bare(ReaderName::new("Bare").unwrap());
    let features = reader.features().unwrap();
    assert!(features.is_empty());
    let verify = PinVerification::iso(0x80, PinFormat::ascii());
    let error = reader.verify_pin(&features, &verify).unwrap_err();
    assert_eq!(
        (error.kind(), error.operation()),
        (ErrorKind::Unsupported, Operation::Control)
    );
    let error = reader.attribute(Attribute::VENDOR_NAME).unwrap_err();
    let (kind, operation) = (ErrorKind::Unsupported, Operation::GetAttribute);
    assert_eq!((error.kind(), error.operation()), (kind, operation));
    assert_eq!(error.reader_name(), Some(&reader.0));
}

#[cfg(feature = "async")]
mod futures {
    use scard::features::{PinPadAnswer, ReaderFeatures};
    use scard::{AsyncControl, AsyncTransmit, Command, Response};
    use smol::block_on;

    use super::{
        Atr, Attribute, CommandBytes, Control, ControlCode, Protocol, ReaderName, Result, Scripted,
        Transmit,
    };
    use super::{OK, OPEN, attributes, scripted};

    type ExchangeResult = std::result::Result<Response, super::ExchangeError>;

    /// [`Scripted`], which answers later.
    struct Later(Scripted);

    impl AsyncControl for Later {
        fn reader_name(&self) -> &ReaderName {
            self.0.reader_name()
        }

        async fn control(&mut self, code: ControlCode, input: &[u8]) -> Result<Vec<u8>> {
            smol::future::yield_now().await;
            self.0.control(code, input)
        }

        async fn attribute(&mut self, attribute: Attribute) -> Result<Vec<u8>> {
            self.0.attribute(attribute)
        }
    }

    impl AsyncTransmit for Later {
        fn protocol(&self) -> Option<Protocol> {
            Transmit::protocol(&self.0)
        }

        async fn atr(&mut self) -> Result<Atr> {
            Transmit::atr(&mut self.0)
        }

        async fn send(&mut self, command: CommandBytes<'_>) -> Result<&[u8]> {
            smol::future::yield_now().await;
            Transmit::send(&mut self.0, command)
        }
    }

    async fn exchange(mut card: impl AsyncTransmit, command: &Command) -> ExchangeResult {
        card.exchange(command).await
    }

    async fn modify_pin(
        mut reader: impl AsyncControl,
        features: &ReaderFeatures,
    ) -> Result<PinPadAnswer> {
        let modify = super::PinModification::iso(0x80, super::PinFormat::ascii());
        reader.modify_pin(features, &modify).await
    }

    async fn uid(card: &mut impl AsyncTransmit) -> Vec<u8> {
        card.contactless().uid().await.unwrap()
    }

    #[test]
    fn everything_works_over_a_mock() {
        block_on(async {
            let mut card = Later(scripted(&[
                (b"\xFF\xCA\x00\x00\x00", b"\x04\x01\x90\x00"),
                (b"\xFF\x82\x20\x01\x01\x31", OK),
                (super::SELECT, b"\x61\x02"),
                (b"\x00\xC0\x00\x00\x02", b"\x6F\x00\x90\x00"),
                (OPEN, b"\x02\x90\x00"),
                (b"\x82\xD8\x01\x81\x01\x31", OK),
                (b"\x02\x84\x00\x00\x01", b"\x31\x90\x00"),
                (b"\x02\x70\x00\x00\x01", b"\x04\x90\x00"),
                (b"\x40\x84\x00\x00\x01", b"\x32\x90\x00"),
                (b"\x02\x70\x80\x04", OK),
                (b"\x00\x70\x80\x02", OK),
            ]));
            assert_eq!(uid(&mut card).await, [4, 1]);
            let key = super::Key::new([0x31]);
            let place = super::KeyPlace::NonVolatile;
            card.contactless().load_key(place, 1, &key).await.unwrap();
            let select = Command::select(b"\xF0\x01").unwrap();
            let response = exchange(&mut card, &select).await.unwrap();
            assert_eq!(response.ok().unwrap(), [0x6F, 0x00]);

            let mut channel = card.logical_channel().await.unwrap();
            let put_key = b"\x80\xD8\x01\x81\x01\x31";
            channel.transmit_secret(put_key).await.unwrap();
            let challenge = channel.transmit_ref(b"\x00\x84\x00\x00\x01").await;
            assert_eq!(challenge.unwrap(), b"\x31\x90\x00");
            let refused = channel.contactless().uid().await.unwrap_err();
            let refused = refused.error().unwrap().to_string();
            assert!(refused.contains("send it on the card itself"), "{refused}");
            let mut another = channel.logical_channel().await.unwrap();
            let challenge = another.transmit(b"\x00\x84\x00\x00\x01").await.unwrap();
            assert_eq!(challenge, b"\x32\x90\x00");
            another.close().await.unwrap();
            channel.close().await.unwrap();
            let secret = [1, 5].map(|place| card.0.secret[place]);
            assert_eq!(
                (secret, card.0.secret.iter().filter(|it| **it).count()),
                ([true; 2], 2)
            );
        });
    }

    #[test]
    fn the_reader_answers_its_questions() {
        block_on(async {
            let mut card = Later(scripted(&[]));
            card.0.has_pin_pad = true;
            let features = card.features().await.unwrap();
            let verify = super::PinVerification::iso(0x80, super::PinFormat::ascii());
            let answer = card.verify_pin(&features, &verify).await.unwrap();
            assert_eq!(answer.as_bytes(), [0x63, 0xC2]);
            let answer = modify_pin(&mut card, &features).await.unwrap();
            assert_eq!(answer.as_bytes(), OK);
            card.abort_pin_entry(&features).await.unwrap();
            assert_eq!(card.pin_pad_properties(&features).await.unwrap(), None);
            let vendor = card.attribute_value(attributes::VENDOR_NAME).await.unwrap();
            assert_eq!(vendor, "Nobody");
        });
    }
}
