//! Tests both backends with a real `pcscd` and the kit's OpenPGP demonstration card. `ci/interop`
//! has more, with published applications and `openpgp-card`.
#![cfg(target_os = "linux")]

use std::time::Duration;

use card_backend::{CardBackend, CardCaps, CardTransaction, PinType, SmartcardError};
use card_backend_scard::{ScardBackend, SessionBackend};
use scard::{
    Card, ConnectOptions, Context, Disposition, Initialization, Protocols, Session, SetUpWhen,
    ShareMode,
};
use scard_testkit::{Driver, Sandbox, VirtualCard, atr, isolated};

const OPENPGP: &[u8] = &[0xD2, 0x76, 0x00, 0x01, 0x24, 0x01];
const COUNTER: &[u8] = &[0x00, 0xCA, 0x00, 0x93, 0x00];
const SIGN: &[u8] = &[0x00, 0x2A, 0x9E, 0x9A, 0x01, 0x07, 0x00];
const VERIFY: &[u8] = b"\x00\x20\x00\x81\x06123456";

type Backend = Box<dyn CardBackend + Send + Sync>;

fn sandbox() -> Sandbox {
    let builder = Sandbox::builder().card(0, VirtualCard::openpgp());
    builder.start().unwrap()
}

fn connect(context: &Context) -> Card {
    let readers = context.readers().unwrap();
    context.connect(&readers[0], ConnectOptions::new()).unwrap()
}

/// Both backends for the card.
fn backends(context: &Context) -> [Backend; 2] {
    let builder = Session::builder(context).timeout(Some(Duration::from_secs(30)));
    [
        ScardBackend::new(connect(context)).into(),
        SessionBackend::new(builder, OPENPGP).into(),
    ]
}

fn verify_and_sign(transaction: &mut dyn CardTransaction) -> [u8; 2] {
    let verified = transaction.transmit(VERIFY, 256).unwrap();
    assert_eq!(verified, [0x90, 0x00]);
    let answer = transaction.transmit(SIGN, 256).unwrap();
    *answer.last_chunk().unwrap()
}

/// Resets the card, as another program.
fn reset_by_another(context: &Context) {
    let mut other = connect(context);
    other
        .reconnect(ShareMode::Shared, Protocols::ANY, Initialization::Reset)
        .unwrap();
    other.disconnect(Disposition::Leave).unwrap();
}

#[test]
fn a_reset_is_reported_and_the_application_selected_again() {
    isolated(|| {
        let _sandbox = sandbox();
        let context = Context::establish().unwrap();
        for mut backend in backends(&context) {
            let mut transaction = backend.transaction(Some(OPENPGP)).unwrap();
            assert!(!transaction.was_reset());
            assert_eq!(verify_and_sign(&mut *transaction), [0x90, 0x00]);
            drop(transaction);
            reset_by_another(&context);
            let mut transaction = backend.transaction(Some(OPENPGP)).unwrap();
            assert!(transaction.was_reset());
            assert_eq!(verify_and_sign(&mut *transaction), [0x90, 0x00]);
        }
    });
}

#[test]
fn an_application_selected_by_another_program_is_not_used() {
    isolated(|| {
        // Has two applications; the answer tells which one received the command.
        let mut selected = 0;
        let card = VirtualCard::new(move |command: &[u8]| {
            if let [0x00, 0xA4, 0x04, 0x00, _, application, ..] = *command {
                selected = application;
            }
            [selected, 0x90, 0x00]
        });
        let _sandbox = Sandbox::builder().card(0, card).start().unwrap();
        let context = Context::establish().unwrap();
        let mut other = connect(&context);
        for mut backend in backends(&context) {
            for _ in 0..2 {
                other.transmit(b"\x00\xA4\x04\x00\x01\x77").unwrap();
                let mut transaction = backend.transaction(Some(OPENPGP)).unwrap();
                let answer = transaction.transmit(COUNTER, 256).unwrap();
                assert_eq!(answer, [OPENPGP[0], 0x90, 0x00]);
            }
        }
        // Unless the caller chooses so.
        let mut backend = ScardBackend::new(connect(&context)).select_when(SetUpWhen::OnReset);
        other.transmit(b"\x00\xA4\x04\x00\x01\x77").unwrap();
        let mut transaction = backend.transaction(Some(OPENPGP)).unwrap();
        let answer = transaction.transmit(COUNTER, 256).unwrap();
        assert_eq!(answer, [0x77, 0x90, 0x00]);
    });
}

#[test]
fn the_error_names_a_missing_application() {
    isolated(|| {
        let _sandbox = sandbox();
        let context = Context::establish().unwrap();
        let mut backend = ScardBackend::new(connect(&context));
        let error = backend.transaction(Some(b"\xA0\x00\x00\x03\x08")).err();
        let text = error.expect("the card does not have it").to_string();
        assert!(text.contains("A000000308"), "{text}");
        assert!(text.contains("6A82"), "{text}");
        // The card can still be used with the right application, and directly.
        drop(backend.transaction(Some(OPENPGP)).unwrap());
        let mut card = backend.into_card();
        card.transmit(COUNTER).unwrap();

        let builder = Session::builder(&context);
        let mut session = SessionBackend::new(builder, OPENPGP);
        let error = session.transaction(Some(b"\xA0\x00\x00\x03\x08")).err();
        assert!(error.is_some_and(|e| e.to_string().contains("another application")));
    });
}

#[test]
fn an_application_is_selected_over_t0() {
    isolated(|| {
        // Supports data in one direction at a time.
        let card = VirtualCard::new(|command: &[u8]| match command {
            [0x00, 0xA4, 0x04, 0x00, 6, name @ ..] if name == OPENPGP => vec![0x61, 0x10],
            [0x00, 0xA4, ..] => vec![0x67, 0x00],
            _ => vec![0x90, 0x00],
        });
        let card = card.atr(atr::T0);
        let _sandbox = Sandbox::builder().card(0, card).start().unwrap();
        let context = Context::establish().unwrap();
        for mut backend in backends(&context) {
            let mut transaction = backend.transaction(Some(OPENPGP)).unwrap();
            assert_eq!(transaction.transmit(COUNTER, 256).unwrap(), [0x90, 0x00]);
        }
    });
}

#[test]
fn a_session_survives_the_removal_of_its_card() {
    isolated(|| {
        let sandbox = sandbox();
        let reader = sandbox.reader(0);
        let context = Context::establish().unwrap();
        let card = reader.card().unwrap();
        let [mut of_card, mut of_session] = backends(&context);
        for backend in [&mut of_card, &mut of_session] {
            drop(backend.transaction(Some(OPENPGP)).unwrap());
        }
        let mut transaction = of_session.transaction(Some(OPENPGP)).unwrap();
        transaction.transmit(VERIFY, 256).unwrap();
        reader.swap(&card).unwrap();
        assert!(transaction.transmit(SIGN, 256).is_err());
        drop(transaction);
        let mut transaction = of_session.transaction(Some(OPENPGP)).unwrap();
        assert!(transaction.was_reset());
        assert_eq!(verify_and_sign(&mut *transaction), [0x90, 0x00]);
        // The command was not sent to the card again.
        let counter = transaction.transmit(COUNTER, 256).unwrap();
        assert_eq!(counter, [0, 0, 1, 0x90, 0x00]);
        drop(transaction);
        // A connection ends with its card.
        match of_card.transaction(Some(OPENPGP)) {
            Err(SmartcardError::CardNotFound(name)) => assert_eq!(name, reader.name()),
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("the old connection works"),
        }
    });
}

#[test]
fn sizes_are_those_of_the_current_card() {
    isolated(|| {
        let sandbox = Sandbox::builder().start().unwrap();
        let context = Context::establish().unwrap();
        let builder = Session::builder(&context).timeout(Some(Duration::from_secs(30)));
        let mut backend = SessionBackend::new(builder, OPENPGP);
        let of_card = CardCaps::new(true, true, 2048, 2048, 127, 127);
        for (atr, extended) in [(atr::T1, true), (atr::T0, false), (atr::T1, true)] {
            let card = VirtualCard::new(|_: &[u8]| [0x90, 0x00]).atr(atr);
            sandbox.reader(0).insert(card).unwrap();
            drop(backend.transaction(Some(OPENPGP)).unwrap());
            let caps = backend.limit_card_caps(of_card);
            assert_eq!(caps.ext_support(), extended, "{atr:X?}");
            sandbox.reader(0).remove().unwrap();

            sandbox
                .reader(1)
                .insert(VirtualCard::new(|_: &[u8]| [0x90, 0x00]).atr(atr))
                .unwrap();
            let name = sandbox.reader(1).name();
            let card = context.connect(name, ConnectOptions::new()).unwrap();
            let caps = ScardBackend::new(card).limit_card_caps(of_card);
            assert_eq!(caps.ext_support(), extended, "{atr:X?}");
            sandbox.reader(1).remove().unwrap();
        }
    });
}

#[test]
fn cards_are_found_in_all_readers() {
    isolated(|| {
        let sandbox = Sandbox::builder()
            .readers(3)
            .card(0, VirtualCard::openpgp())
            .card(2, VirtualCard::openpgp())
            .start()
            .unwrap();
        let context = Context::establish().unwrap();
        let found = ScardBackend::cards(&context, ConnectOptions::new()).unwrap();
        let names: Vec<String> = found
            .map(|backend| backend.unwrap().into_card().reader_name().to_string())
            .collect();
        let expected = [sandbox.reader(0).name(), sandbox.reader(2).name()];
        assert_eq!(names, expected);
    });
}

#[test]
fn pins_are_entered_at_the_reader() {
    isolated(|| {
        let sandbox = Sandbox::builder()
            .driver(Driver::Kit)
            .card(0, VirtualCard::openpgp())
            .start()
            .unwrap();
        let reader = sandbox.reader(0);
        const FEATURES: u32 = 0x4200_0D48;
        const VERIFY_DIRECT: u32 = 0x4233_0006;
        const MODIFY_DIRECT: u32 = 0x4233_0007;
        reader
            .on_control(|code, _| match code {
                FEATURES => {
                    let mut features = vec![0x06, 4];
                    features.extend(VERIFY_DIRECT.to_be_bytes());
                    features.extend([0x07, 4]);
                    features.extend(MODIFY_DIRECT.to_be_bytes());
                    Ok(features)
                }
                VERIFY_DIRECT => Ok(vec![0x63, 0xC2]),
                _ => Ok(vec![0x64, 0x01]),
            })
            .unwrap();
        let context = Context::establish().unwrap();
        let caps = Some(CardCaps::new(true, true, 2048, 2048, 127, 127));
        for mut backend in backends(&context) {
            let mut transaction = backend.transaction(Some(OPENPGP)).unwrap();
            assert!(transaction.feature_pinpad_verify());
            assert!(transaction.feature_pinpad_modify());
            let answer = transaction.pinpad_verify(PinType::Admin, &caps).unwrap();
            assert_eq!(answer, [0x63, 0xC2]);
            let answer = transaction.pinpad_modify(PinType::User, &caps).unwrap();
            assert_eq!(answer, [0x64, 0x01]);
            assert!(transaction.pinpad_verify(PinType::User, &None).is_err());
            drop(transaction);

            let log = reader.control_log().unwrap();
            let of = |code| log.iter().rfind(|call| call.code == code).unwrap();
            let verify = &of(VERIFY_DIRECT).input;
            assert_eq!(verify[5..7], [8, 8], "maximum and minimum number of digits");
            assert_eq!(verify[19..], [0x00, 0x20, 0x00, 0x83, 0x00]);
            let modify = &of(MODIFY_DIRECT).input;
            assert_eq!(modify[7..9], [8, 6], "maximum and minimum number of digits");
            assert_eq!(modify[24..], [0x00, 0x24, 0x00, 0x81, 0x00]);
        }
    });
}

#[test]
fn a_reader_without_a_pin_pad_has_none() {
    isolated(|| {
        let _sandbox = sandbox();
        let context = Context::establish().unwrap();
        for mut backend in backends(&context) {
            let mut transaction = backend.transaction(Some(OPENPGP)).unwrap();
            assert!(!transaction.feature_pinpad_verify());
            assert!(transaction.pinpad_verify(PinType::User, &None).is_err());
        }
    });
}
