//! The counterpart of the cards' cryptography: the program `openssl`.

use std::path::{Path, PathBuf};
use std::process::Command;

use openpgp_card::ocard::crypto::PublicKeyMaterial;

/// A directory for the files that `openssl` reads and writes.
pub(crate) struct Openssl(tempfile::TempDir);

impl Openssl {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn run(&self, arguments: &str) -> Vec<u8> {
        let output = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(self.0.path())
            .output()
            .expect("openssl is installed");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {arguments}: {said}");
        output.stdout
    }

    /// The file with a key of the card.
    fn key(&self, key: &PublicKeyMaterial, kind: Kind) -> PathBuf {
        self.write("card.der", &public_key(key, kind))
    }

    /// Fails if this is not a signature of the data, which is the message for Ed25519, and the
    /// SHA-256 digest for the others.
    pub(crate) fn verify(
        &self,
        key: &PublicKeyMaterial,
        kind: Kind,
        data: &[u8],
        signature: &[u8],
    ) {
        self.key(key, kind);
        self.write("data", data);
        let signature = match kind {
            Kind::P256 => ecdsa(signature),
            _ => signature.to_vec(),
        };
        self.write("signature", &signature);
        let how = match kind {
            Kind::Ed25519 => "-rawin",
            _ => "-pkeyopt digest:sha256",
        };
        self.run(&format!(
            "pkeyutl -verify -pubin -keyform DER -inkey card.der -in data -sigfile signature {how}"
        ));
    }

    /// Encrypts for an RSA key of the card.
    pub(crate) fn encrypt(&self, key: &PublicKeyMaterial, data: &[u8]) -> Vec<u8> {
        self.key(key, Kind::Rsa);
        self.write("data", data);
        self.run("pkeyutl -encrypt -pubin -keyform DER -inkey card.der -in data")
    }

    /// Agrees on a secret with a key of the card. Returns the secret, and the public key for the
    /// card.
    pub(crate) fn agree(&self, key: &PublicKeyMaterial, kind: Kind) -> (Vec<u8>, Vec<u8>) {
        self.key(key, kind);
        self.run(match kind {
            Kind::X25519 => "genpkey -algorithm X25519 -out own.pem",
            _ => "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out own.pem",
        });
        let public = self.run("pkey -in own.pem -pubout -outform DER");
        self.run("pkey -pubin -inform DER -in card.der -out card.pem");
        let secret = self.run("pkeyutl -derive -inkey own.pem -peerkey card.pem");
        let len = if kind == Kind::X25519 { 32 } else { 65 };
        (secret, public[public.len() - len..].to_vec())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ed25519,
    X25519,
    P256,
    Rsa,
}

fn public_key(key: &PublicKeyMaterial, kind: Kind) -> Vec<u8> {
    let prefix = match kind {
        Kind::Ed25519 => "302a300506032b6570032100",
        Kind::X25519 => "302a300506032b656e032100",
        Kind::P256 => "3059301306072a8648ce3d020106082a8648ce3d030107034200",
        Kind::Rsa => "300d06092a864886f70d0101010500",
    };
    let prefix = hex::decode(prefix).unwrap();
    match key {
        PublicKeyMaterial::E(key) => [&prefix, key.data()].concat(),
        PublicKeyMaterial::R(key) => {
            let numbers = [integer(key.n()), integer(key.v())].concat();
            let bits = [&[0][..], &der(0x30, &numbers)].concat();
            der(0x30, &[prefix, der(0x03, &bits)].concat())
        }
    }
}

/// Encodes a signature that consists of two numbers of the same length.
fn ecdsa(signature: &[u8]) -> Vec<u8> {
    let (r, s) = signature.split_at(signature.len() / 2);
    der(0x30, &[integer(r), integer(s)].concat())
}

fn integer(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let mut number = bytes[zeros..].to_vec();
    if number.first().is_none_or(|first| *first >= 0x80) {
        number.insert(0, 0);
    }
    der(0x02, &number)
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let [.., high, low] = content.len().to_be_bytes();
    let mut object = vec![tag];
    match content.len() {
        0..0x80 => object.push(low),
        0x80..0x100 => object.extend([0x81, low]),
        _ => object.extend([0x82, high, low]),
    }
    object.extend_from_slice(content);
    object
}
