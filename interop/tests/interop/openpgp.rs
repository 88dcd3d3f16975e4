//! Nitrokey's OpenPGP application with `openpgp-card`, over a card and over a session.

use std::time::Duration;

use card_backend::CardBackend;
use card_backend_scard::{ScardBackend, SessionBackend};
use openpgp_card::ocard::algorithm::AlgoSimple;
use openpgp_card::ocard::crypto::{Cryptogram, PublicKeyMaterial};
use openpgp_card::ocard::data::{Fingerprint, KeyGenerationTime};
use openpgp_card::ocard::{KeyType, StatusBytes};
use openpgp_card::{Card, Error, state};
use scard::{ConnectOptions, Context, Session};
use scard_testkit::{Sandbox, isolated};
use secrecy::{SecretBox, SecretString};

use crate::applets::opcard;
use crate::openssl::{Kind, Openssl};

pub(crate) const OPENPGP: &[u8] = &[0xD2, 0x76, 0x00, 0x01, 0x24, 0x01];

/// Runs a test with the same card over both backends in turn.
fn with_both(test: fn(Card<state::Open>)) {
    let sandbox = Sandbox::builder().readers(1).start().unwrap();
    let context = Context::establish().unwrap();
    for over_session in [false, true] {
        let card = sandbox.reader(0).insert(opcard()).unwrap();
        let backend: Box<dyn CardBackend + Send + Sync> = if over_session {
            let session = Session::builder(&context).timeout(Some(Duration::from_secs(120)));
            SessionBackend::new(session, OPENPGP).into()
        } else {
            let mut cards = ScardBackend::cards(&context, ConnectOptions::new()).unwrap();
            cards.next().expect("a card").unwrap().into()
        };
        test(Card::new(backend).unwrap());
        sandbox.reader(0).remove().unwrap();
        assert!(!card.panicked());
    }
}

fn pin(pin: &str) -> SecretString {
    pin.to_owned().into()
}

pub(crate) fn secret(pin: &str) -> SecretBox<[u8]> {
    pin.as_bytes().to_vec().into_boxed_slice().into()
}

fn status<T>(result: Result<T, Error>) -> Option<StatusBytes> {
    match result {
        Ok(_) => None,
        Err(Error::CardStatus(status)) => Some(status),
        Err(other) => panic!("{other}"),
    }
}

/// The number of tries left for the user's PIN, queried from the card.
fn tries(transaction: &mut Card<state::Transaction<'_>>) -> u8 {
    transaction.invalidate_cache().unwrap();
    transaction.pw_status_bytes().unwrap().err_count_pw1()
}

/// Generates a key, after verifying the administrator's PIN.
pub(crate) fn generate(
    card: &mut Card<state::Open>,
    slot: KeyType,
    algorithm: AlgoSimple,
) -> PublicKeyMaterial {
    let mut transaction = card.transaction().unwrap();
    let mut admin = transaction.as_admin_card(Some(pin("12345678"))).unwrap();
    admin.set_algorithm(slot, algorithm).unwrap();
    let fingerprint =
        |_: &PublicKeyMaterial, _: KeyGenerationTime, _: KeyType| Ok(Fingerprint::from([0x11; 20]));
    admin.generate_key(fingerprint, slot).unwrap().0
}

#[test]
fn pins_are_refused_accepted_and_changed() {
    isolated(|| {
        with_both(|mut card| {
            let mut transaction = card.transaction().unwrap();
            assert_eq!(
                status(transaction.verify_user_pin(pin("654321"))),
                Some(StatusBytes::PasswordNotChecked(2))
            );
            assert_eq!(tries(&mut transaction), 2);
            assert_eq!(status(transaction.verify_user_pin(pin("123456"))), None);
            assert_eq!(tries(&mut transaction), 3);
            transaction
                .change_user_pin(pin("123456"), pin("abcdef"))
                .unwrap();
            drop(transaction);
            let mut transaction = card.transaction().unwrap();
            assert!(status(transaction.verify_user_pin(pin("123456"))).is_some());
            assert_eq!(status(transaction.verify_user_pin(pin("abcdef"))), None);
            assert_eq!(status(transaction.verify_admin_pin(pin("12345678"))), None);
        });
    });
}

#[test]
fn keys_are_generated_and_sign() {
    isolated(|| {
        with_both(|mut card| {
            let openssl = Openssl::new();
            let digest: Vec<u8> = (0..32).collect();
            // RSA signs the digest with its algorithm identifier, SHA-256.
            let algorithm = hex::decode("3031300d060960864801650304020105000420").unwrap();
            let with_algorithm = [&algorithm[..], &digest].concat();
            for (algorithm, kind, to_sign) in [
                (AlgoSimple::Curve25519, Kind::Ed25519, &digest),
                (AlgoSimple::NIST256, Kind::P256, &digest),
                (AlgoSimple::RSA2k, Kind::Rsa, &with_algorithm),
            ] {
                let key = generate(&mut card, KeyType::Signing, algorithm);
                let mut transaction = card.transaction().unwrap();
                let ocard = transaction.card();
                ocard.verify_pw1_sign(secret("123456")).unwrap();
                let signature = ocard
                    .pso_compute_digital_signature(to_sign.clone())
                    .unwrap();
                openssl.verify(&key, kind, &digest, &signature);
                // The counter starts with a new key.
                assert_eq!(transaction.digital_signature_count().unwrap(), 1);
            }
        });
    });
}

#[test]
fn an_rsa_key_decrypts() {
    isolated(|| {
        with_both(|mut card| {
            let openssl = Openssl::new();
            let key = generate(&mut card, KeyType::Decryption, AlgoSimple::RSA2k);
            let encrypted = openssl.encrypt(&key, b"a session key");
            let mut transaction = card.transaction().unwrap();
            let ocard = transaction.card();
            ocard.verify_pw1_user(secret("123456")).unwrap();
            // A long command of 257 bytes.
            let decrypted = ocard.decipher(Cryptogram::RSA(&encrypted)).unwrap();
            assert_eq!(decrypted, b"a session key");
        });
    });
}

#[test]
fn ecdh_agrees_on_the_same_secret() {
    isolated(|| {
        with_both(|mut card| {
            let openssl = Openssl::new();
            for (algorithm, kind) in [
                (AlgoSimple::Curve25519, Kind::X25519),
                (AlgoSimple::NIST256, Kind::P256),
            ] {
                let key = generate(&mut card, KeyType::Decryption, algorithm);
                let (secret_here, public) = openssl.agree(&key, kind);
                let mut transaction = card.transaction().unwrap();
                let ocard = transaction.card();
                ocard.verify_pw1_user(secret("123456")).unwrap();
                let secret_there = ocard.decipher(Cryptogram::ECDH(&public)).unwrap();
                assert_eq!(secret_there, secret_here, "{kind:?}");
            }
        });
    });
}

#[test]
fn a_long_certificate_is_written_and_read_back() {
    isolated(|| {
        with_both(|mut card| {
            let certificate: Vec<u8> = (0..2000).map(|n: u32| n as u8).collect();
            let mut transaction = card.transaction().unwrap();
            let ocard = transaction.card();
            ocard.verify_pw3(secret("12345678")).unwrap();
            ocard
                .set_cardholder_certificate(certificate.clone())
                .unwrap();
            assert_eq!(transaction.cardholder_certificate().unwrap(), certificate);
        });
    });
}
