//! All clients at the same time on one card, which is removed and reset in between: everything is
//! signed once, and the clients are informed.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use card_backend::CardBackend;
use card_backend_scard::{ScardBackend, SessionBackend};
use openpgp_card::ocard::{KeyType, algorithm::AlgoSimple};
use openpgp_card::{Card, state};
use scard::{ConnectOptions, Context, Disposition, Initialization, Protocols, Session, ShareMode};
use scard_testkit::{Sandbox, isolated};

use crate::applets::{Signatures, opcard_with};
use crate::clients::{Gpg, output, says};
use crate::openpgp::{OPENPGP, generate, secret};

/// The number of signatures of each signer.
const ROUNDS: u32 = 25;

/// A signer's own record of its signatures.
#[derive(Default)]
struct Known {
    made: Vec<Vec<u8>>,
    /// The command failed, but may have run.
    uncertain: Vec<Vec<u8>>,
}

/// Ends the other threads, even if a signer panics.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn session(context: &Context) -> Card<state::Open> {
    let session = Session::builder(context).timeout(Some(Duration::from_secs(60)));
    Card::new(SessionBackend::new(session, OPENPGP)).unwrap()
}

/// Signs data that is unique to this call.
fn sign(card: &mut Card<state::Open>, signer: u32, number: u32, known: &mut Known) {
    let mut data = vec![0; 32];
    data[..4].copy_from_slice(&signer.to_be_bytes());
    data[4..8].copy_from_slice(&number.to_be_bytes());
    let Ok(mut transaction) = card.transaction() else {
        return;
    };
    let ocard = transaction.card();
    if ocard.verify_pw1_sign(secret("123456")).is_err() {
        return;
    }
    match ocard.pso_compute_digital_signature(data.clone()) {
        Ok(_) => known.made.push(data),
        Err(_) => known.uncertain.push(data),
    }
}

#[test]
fn signatures_are_counted_once_whatever_happens_to_the_card() {
    isolated(|| {
        let watch = Arc::new(Mutex::new(Signatures::default()));
        let card = opcard_with(Arc::clone(&watch));
        let sandbox = Sandbox::builder().card(0, card).start().unwrap();
        let reader = sandbox.reader(0);
        let card = reader.card().unwrap();
        let context = Context::establish().unwrap();
        generate(
            &mut session(&context),
            KeyType::Signing,
            AlgoSimple::Curve25519,
        );

        let over = AtomicBool::new(false);
        let torn = AtomicU32::new(0);
        // Opened before anything happens to the card.
        let cards: Vec<_> = (0..3u32)
            .zip(std::iter::repeat_with(|| session(&context)))
            .collect();
        let known = thread::scope(|scope| {
            let _over = Over(&over);
            let signers: Vec<_> = cards
                .into_iter()
                .map(|(signer, mut card)| {
                    scope.spawn(move || {
                        let mut known = Known::default();
                        for number in 0..ROUNDS {
                            sign(&mut card, signer, number, &mut known);
                        }
                        known
                    })
                })
                .collect();
            // Removes the card, while it works and while it is idle, and inserts it again.
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    let at_work = torn.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
                    let before = card.commands();
                    if at_work {
                        watch.lock().unwrap().tear_in = Some(3);
                        while card.is_inserted() && !over.load(Ordering::SeqCst) {
                            thread::yield_now();
                        }
                    } else {
                        let some = |stats: &scard_testkit::CardStats| stats.commands > before + 9;
                        let _ = card.wait_until(Duration::from_millis(500), some);
                    }
                    watch.lock().unwrap().tear_in = None;
                    reader.swap(&card).unwrap();
                }
            });
            // Resets the card between the transactions of others.
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    let name = &context.readers().unwrap()[0];
                    let options = ConnectOptions::new();
                    if let Ok(mut other) = context.connect(name, options) {
                        let _ = other.reconnect(
                            ShareMode::Shared,
                            Protocols::ANY,
                            Initialization::Reset,
                        );
                        let _ = other.transmit(&[0x00, 0xCA, 0x00, 0x4F, 0x00]);
                        let _ = other.disconnect(Disposition::Reset);
                    }
                }
            });
            // Third-party programs, which may fail but must end.
            scope.spawn(|| {
                let gpg = Gpg::new(&sandbox);
                while !over.load(Ordering::SeqCst) {
                    let _ = gpg.card_status();
                    let mut opensc = sandbox.command("opensc-tool");
                    output(opensc.args(["--reader", "0", "--atr"]));
                    let mut scan = sandbox.command("timeout");
                    output(scan.args(["1", "pcsc_scan", "-n"]));
                }
            });
            let signers = signers.into_iter().map(|signer| signer.join().unwrap());
            signers.collect::<Vec<Known>>()
        });

        let made: Vec<_> = known.iter().flat_map(|k| k.made.clone()).collect();
        let uncertain: HashSet<_> = known.iter().flat_map(|k| k.uncertain.clone()).collect();
        let signed = std::mem::take(&mut watch.lock().unwrap().made);
        let distinct: HashSet<_> = signed.iter().cloned().collect();
        assert_eq!(distinct.len(), signed.len(), "something was signed twice");
        assert!(made.iter().all(|data| distinct.contains(data)));
        let interrupted = distinct
            .iter()
            .filter(|data| uncertain.contains(*data))
            .count();
        assert_eq!(signed.len(), made.len() + interrupted);
        // The card's own counter, read by a later client.
        let mut later = session(&context);
        let counter = later
            .transaction()
            .unwrap()
            .digital_signature_count()
            .unwrap();
        assert_eq!(usize::try_from(counter).unwrap(), signed.len());
        println!(
            "{} signatures: {} known, {interrupted} interrupted; card removed {} times",
            signed.len(),
            made.len(),
            torn.load(Ordering::SeqCst)
        );
        // The test must have covered both.
        assert!(!made.is_empty() && interrupted > 0);
    });
}

#[test]
fn all_clients_read_the_same_card() {
    isolated(|| {
        let sandbox = Sandbox::builder()
            .card(0, opcard_with(Arc::default()))
            .start()
            .unwrap();
        let context = Context::establish().unwrap();
        thread::scope(|scope| {
            let reads = |backend: Box<dyn CardBackend + Send + Sync>| {
                let mut card = Card::<state::Open>::new(backend).unwrap();
                for _ in 0..20 {
                    let mut transaction = card.transaction().unwrap();
                    let aid = transaction.card().application_related_data().unwrap();
                    assert_eq!(aid.application_id().unwrap().serial(), 0x1234_5678);
                }
            };
            scope.spawn(move || {
                let cards =
                    ScardBackend::cards(&Context::establish().unwrap(), ConnectOptions::new());
                reads(cards.unwrap().next().unwrap().unwrap().into());
            });
            let session = Session::builder(&context);
            scope.spawn(move || reads(SessionBackend::new(session, OPENPGP).into()));
            let sandbox = &sandbox;
            scope.spawn(move || says(&Gpg::new(sandbox).card_status(), "12345678"));
            scope.spawn(move || {
                let mut opensc = sandbox.command("opensc-tool");
                says(
                    &output(opensc.args(["--reader", "0", "--atr"])),
                    "3b:da:18:ff",
                );
            });
            scope.spawn(move || {
                // It does not end on its own.
                let scan = output(sandbox.command("timeout").args(["2", "pcsc_scan", "-n"]));
                let text = String::from_utf8_lossy(&scan.stdout);
                assert!(text.contains("3B DA 18 FF"), "{scan:?}");
            });
        });
    });
}
