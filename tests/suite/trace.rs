//! What is reported to `tracing`, and what never is: secrets.
#![cfg(target_os = "linux")]

use std::cell::RefCell;
use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use scard::apdu::{Command, ExchangeOptions};
use scard::{Control, ControlCode, Initialization, Session, Transmit as _};
use scard_testkit::atr::{T0, T1};
use scard_testkit::{Reply, VirtualCard, isolated};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_core::span::Current;

use crate::support::iso7816::{CHAINS, Iso7816, get, put, select};
use crate::support::usage::wait_for_workers;
use crate::support::*;

thread_local! {
    /// The current spans of this thread.
    static INSIDE: RefCell<Vec<(u64, &'static Metadata<'static>)>> = const { RefCell::new(Vec::new()) };
}

/// Records everything, at every level.
#[derive(Clone, Default)]
struct Told(Arc<(Mutex<String>, Mutex<Vec<&'static Metadata<'static>>>)>);

impl Told {
    /// Records everything in the process from now on.
    fn listen() -> Told {
        let told = Told::default();
        tracing::subscriber::set_global_default(told.clone()).unwrap();
        told
    }

    fn take(&self) -> String {
        std::mem::take(&mut self.0.0.lock().unwrap())
    }

    fn line(&self, metadata: &Metadata<'_>, record: impl FnOnce(&mut Line)) {
        let mut line = Line(String::new());
        write!(line.0, "{} {}", metadata.level(), metadata.target()).unwrap();
        write!(line.0, " {}", metadata.name()).unwrap();
        record(&mut line);
        line.0.push('\n');
        self.0.0.lock().unwrap().push_str(&line.0);
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl Subscriber for Told {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.line(span.metadata(), |line| span.record(line));
        let mut spans = self.0.1.lock().unwrap();
        spans.push(span.metadata());
        Id::from_u64(spans.len() as u64)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        let mut line = Line(String::new());
        values.record(&mut line);
        self.0.0.lock().unwrap().push_str(&line.0);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        self.line(event.metadata(), |line| {
            event.record(line);
            if let Some((number, _)) = INSIDE.with_borrow(|inside| inside.last().copied()) {
                write!(line.0, " in={number}").unwrap();
            }
        });
    }

    fn enter(&self, span: &Id) {
        let number = span.into_u64();
        let metadata = self.0.1.lock().unwrap()[number as usize - 1];
        INSIDE.with_borrow_mut(|inside| inside.push((number, metadata)));
    }

    fn exit(&self, _: &Id) {
        INSIDE.with_borrow_mut(Vec::pop);
    }

    fn current_span(&self) -> Current {
        match INSIDE.with_borrow(|inside| inside.last().copied()) {
            Some((number, metadata)) => Current::new(Id::from_u64(number), metadata),
            None => Current::none(),
        }
    }
}

/// Checks that nothing contains the bytes, in any notation.
#[track_caller]
fn assert_hides(secret: &[u8], printed: &str) {
    let squeezed: String = printed
        .to_lowercase()
        .chars()
        .filter(|it| !it.is_whitespace())
        .collect();
    let squeezed = squeezed.replace("0x", "").replace(['\\', 'x'], "");
    let text = String::from_utf8(secret.to_vec()).unwrap().to_lowercase();
    let join = |each: &dyn Fn(&u8) -> String, gap| {
        let bytes: Vec<String> = secret.iter().map(each).collect();
        bytes.join(gap)
    };
    let hex: &dyn Fn(&u8) -> String = &|byte| format!("{byte:02x}");
    let decimal: &dyn Fn(&u8) -> String = &|byte| byte.to_string();
    for form in [
        text,
        join(hex, ""),
        join(hex, ","),
        join(hex, ":"),
        join(decimal, ","),
    ] {
        assert!(!squeezed.contains(&form), "{form} is in:\n{printed}");
    }
}

const PIN: &[u8] = b"Pq7Zk9Wv";

fn verify() -> Command {
    let verify = Command::new(0x00, 0x20, 0x00, 0x81).unwrap();
    verify.with_data(PIN).unwrap()
}

/// `{}` and both `{:?}`.
macro_rules! printed {
    ($($it:expr),* $(,)?) => {{
        let mut all = String::new();
        $( write!(all, "{:?} {:#?} ", $it, $it).unwrap(); )*
        all
    }};
}

#[test]
fn what_assert_hides_looks_for_is_found() {
    for shown in [
        "Pq7Zk9Wv",
        "50 71 37 5A 6B 39 57 76",
        "[80, 113, 55, 90, 107, 57, 87, 118]",
        "0x50, 0x71, 0x37, 0x5a, 0x6b, 0x39, 0x57, 0x76",
    ] {
        let found = std::panic::catch_unwind(|| assert_hides(PIN, shown));
        assert!(found.is_err(), "{shown}");
    }
}

#[test]
fn a_pin_is_told_nowhere() {
    for shows in [false, true] {
        for atr in [T0, T1] {
            isolated(|| {
                let told = Told::listen();
                scard::trace::show_apdus(shows);
                let fixture = fixture_with(Iso7816::card(atr));
                let mut card = fixture.connect();
                let (verify, raw) = (verify(), verify().to_bytes());
                let mut all = printed!(verify, raw.len());
                all += &verify.to_string();

                card.transmit(&raw).unwrap();
                let response = card.exchange(&verify).unwrap();
                all += &printed!(card, response);
                let error = response.ok().unwrap_err();
                all += &format!("{error} {:?}", scard::apdu::ExchangeError::from(error));
                // A chain of secrets, and a command that only its caller knows to be secret.
                let long = PIN.repeat(50);
                let change = Command::new(0x00, 0x24, 0x00, 0x81).unwrap();
                let change = change.with_data(long.clone()).unwrap();
                let chains = ExchangeOptions::new().chaining(true);
                all += &printed!(change, card.exchange_with(&change, &chains).unwrap());
                let marked = put(PIN).sensitive();
                all += &printed!(marked, card.exchange(&marked).unwrap());
                card.transmit_secret(&put(PIN).to_bytes()).unwrap();
                // … and whose answer is.
                card.transmit_secret(&get().to_bytes()).unwrap();
                let marked = get().sensitive();
                let response = card.exchange(&marked).unwrap();
                assert_eq!(response.data(), PIN, "what was put");
                all += &printed!(response);
                // Bytes that are not a command at all.
                let _ = card.transmit(&PIN[..3]);
                all += &printed!(card.control(ControlCode::GET_FEATURE_REQUEST, PIN));
                all += &printed!(card.set_attribute(scard::Attribute::ATR_STRING, PIN));

                // On a separate thread.
                card.set_timeout(Some(SOON));
                card.transmit(&raw).unwrap();
                let _ = card.exchange(&verify).unwrap();
                let mut transaction = card.transaction().unwrap();
                let _ = transaction.exchange(&verify).unwrap();
                let mut channel = transaction.logical_channel().unwrap();
                channel.transmit_secret(&put(PIN).to_bytes()).unwrap();
                all += &printed!(channel);
                channel.close().unwrap();
                all += &printed!(transaction);
                drop(transaction);

                let builder = Session::builder(&fixture.context).reader(&fixture.reader);
                let mut session = builder.open().unwrap();
                let run = session.run(|card| {
                    card.transmit(&verify.to_bytes())?;
                    card.transmit_secret(&put(PIN).to_bytes())?;
                    all += &printed!(card);
                    Ok::<_, scard::apdu::ExchangeError>(card.exchange(&verify)?.ok()?)
                });
                let run = run.unwrap_err();
                all += &format!("{run} {}", printed!(run, session));
                drop(session);

                // Errors of a command with a secret.
                fixture.reset_by_another();
                let error = card.transmit(&raw).unwrap_err();
                all += &format!("{error} {}", printed!(error));
                let error = card.exchange(&verify).unwrap_err();
                all += &format!("{error} {}", printed!(error));

                let told = told.take();
                assert_hides(PIN, &format!("{all}{told}"));
                assert!(told.contains("command=00 20 00 81"), "{told}");
                assert_eq!(told.contains("command=secret"), shows, "{told}");
            });
        }
    }
}

#[test]
fn a_pin_is_not_told_by_calls_that_are_given_up() {
    isolated(|| {
        let told = Told::listen();
        scard::trace::show_apdus(true);
        let mute = VirtualCard::new(|command: &[u8]| match command[1] {
            0x20 => Reply::Mute,
            _ => Reply::from([0x90, 0x00]),
        });
        let fixture = fixture_with(mute);
        let mut card = fixture.connect();
        card.set_timeout(Some(Duration::from_millis(200)));
        let error = card.exchange(&verify()).unwrap_err();
        let again = card.transmit(&verify().to_bytes()).unwrap_err();
        let all = format!("{error} {again} {}", printed!(error, again, card));
        fixture.sandbox.reader(0).remove().unwrap();
        drop(card);
        // The abandoned thread may still report something until it ends.
        wait_for_workers(0);
        assert_hides(PIN, &format!("{all}{}", told.take()));
    });
}

#[cfg(feature = "async")]
#[test]
fn a_pin_is_not_told_by_futures() {
    isolated(|| {
        let told = Told::listen();
        scard::trace::show_apdus(true);
        let fixture = fixture_with(Iso7816::card(T1));
        smol::block_on(async {
            let mut card = scard::AsyncCard::from(fixture.connect());
            card.transmit(&verify().to_bytes()).await.unwrap();
            let response = card.exchange(&verify()).await.unwrap();
            let mut all = printed!(card, response);
            let marked = put(PIN).sensitive();
            let _ = card.exchange(&marked).await.unwrap();
            let bytes = marked.to_bytes();
            let secret = scard::AsyncTransmit::transmit_secret(&mut card, &bytes);
            secret.await.unwrap();
            let mut transaction = card.transaction().await.unwrap();
            let _ = transaction.exchange(&verify()).await.unwrap();
            all += &printed!(transaction);
            drop(transaction);
            drop(card);
            let told = told.take();
            assert!(told.contains("command=00 20 00 81"), "{told}");
            assert_hides(PIN, &format!("{all}{told}"));
        });
    });
}

#[test]
fn every_call_is_told_with_reader_code_and_duration() {
    isolated(|| {
        let told = Told::listen();
        let fixture = fixture_with(Iso7816::card(CHAINS));
        let name = format!("reader_name={:?}", fixture.reader);
        let mut card = fixture.connect();
        card.status().unwrap();
        card.transmit(&select().to_bytes()).unwrap();
        card.exchange(&get()).unwrap().ok().unwrap();
        reconnect(&mut card, Initialization::Reset).unwrap();
        drop(card.transaction().unwrap());
        let _ = card.control(ControlCode::GET_FEATURE_REQUEST, &[]);
        let _ = card.attribute(scard::Attribute::ATR_STRING);
        card.set_timeout(Some(SOON));
        card.exchange(&put(&[0xAA; 300])).unwrap().ok().unwrap();
        card.set_timeout(None);
        fixture.reset_by_another();
        card.transmit(COMMAND).unwrap_err();
        drop(card);
        let lines = told.take();
        let calls: Vec<&str> = lines
            .lines()
            .filter(|it| it.contains("scard::call"))
            .collect();
        let of = |operation: &str| {
            let start = format!("operation={operation} ");
            let found: Vec<&&str> = calls.iter().filter(|it| it.contains(&start)).collect();
            assert!(!found.is_empty(), "no {operation} in\n{lines}");
            found
        };
        for operation in [
            "SCardConnect",
            "SCardReconnect",
            "SCardBeginTransaction",
            "SCardEndTransaction",
            "SCardStatus",
            "SCardTransmit",
            "SCardControl",
            "SCardGetAttrib",
        ] {
            for line in of(operation) {
                assert!(line.starts_with("DEBUG "), "{line}");
                for field in [name.as_str(), " code=ReturnCode(", " duration="] {
                    assert!(line.contains(field), "{field} is not in {line}");
                }
            }
        }
        for operation in ["SCardEstablishContext", "SCardReleaseContext"] {
            assert!(of(operation)[0].contains("code=ReturnCode(SCARD_S_SUCCESS, 0x00000000)"));
        }
        let transmits = of("SCardTransmit");
        let first = "command=00 A4 04 00 sent=11 received=5 status=success (9000)";
        assert!(transmits[0].contains(first), "{}", transmits[0]);
        let fetched = "command=00 C0 00 00 sent=5 received=258 status=success; more";
        assert!(transmits.iter().any(|it| it.contains(fetched)), "{lines}");
        let failed = transmits.last().unwrap();
        assert!(failed.contains("SCARD_W_RESET_CARD"), "{failed}");
        assert!(!failed.contains("received="), "{failed}");
        let spans = calls.iter().filter(|it| it.contains(" exchange "));
        let spans: Vec<&&str> = spans.collect();
        assert_eq!(spans.len(), 2, "{lines}");
        assert!(
            spans[0].ends_with("command=00 CB 3F FF, 2 bytes, expecting all"),
            "{}",
            spans[0]
        );
        // Only on request.
        assert!(!lines.contains("scard::apdu"), "{lines}");
        assert!(!lines.contains("AA AA"), "{lines}");
    });
}

#[test]
fn the_calls_of_an_exchange_are_in_its_span_on_whichever_thread() {
    isolated(|| {
        let told = Told::listen();
        let fixture = fixture_with(Iso7816::card(T1));
        let mut card = fixture.connect();
        let transmits = |told: &Told, span: &str| {
            let told = told.take();
            let transmits = told.lines().filter(|it| it.contains("=SCardTransmit "));
            let outside: Vec<&str> = transmits.filter(|it| !it.ends_with(span)).collect();
            assert!(outside.is_empty(), "{told}");
            assert!(told.contains("=SCardTransmit "), "{told}");
        };
        told.take();
        let _ = card.exchange(&get()).unwrap();
        transmits(&told, " in=1");
        card.set_timeout(Some(SOON));
        let _ = card.exchange(&get()).unwrap();
        transmits(&told, " in=2");
        #[cfg(feature = "async")]
        smol::block_on(async {
            let mut card = scard::AsyncCard::from(card);
            let _ = card.exchange(&get()).await.unwrap();
            transmits(&told, " in=3");
        });
    });
}

#[test]
fn whole_commands_are_told_when_asked_for() {
    isolated(|| {
        let told = Told::listen();
        let fixture = fixture_with(Iso7816::card(T1));
        let mut card = fixture.connect();
        scard::trace::show_apdus(true);
        card.transmit(&select().to_bytes()).unwrap();
        let shown = told.take();
        let line = shown.lines().find(|it| it.starts_with("TRACE scard::apdu"));
        let expected = "command=00 A4 04 00 05 A0 00 00 03 08 00 answer=6F 01 00 90 00";
        assert!(line.unwrap().ends_with(expected), "{shown}");
        scard::trace::show_apdus(false);
        card.transmit(&select().to_bytes()).unwrap();
        assert!(!told.take().contains("scard::apdu"));
    });
}

#[test]
fn a_channel_without_a_valid_number_is_told() {
    isolated(|| {
        let told = Told::listen();
        let answers = [vec![0x01, 0x00, 0x90, 0x00], vec![0x14, 0x90, 0x00]];
        let mut remaining = answers.into_iter();
        let channel = VirtualCard::new(move |_| remaining.next().unwrap_or(vec![0x6D, 0x00]));
        let fixture = fixture_with(channel);
        let mut card = fixture.connect();
        for answer in ["answer=[1, 0]", "answer=[20]"] {
            assert!(card.logical_channel().is_err());
            let log = told.take();
            let line = log.lines().find(|it| it.contains("stays open")).unwrap();
            assert!(line.contains(answer), "{line}");
        }
    });
}
