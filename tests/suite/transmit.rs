//! Commands and answers of every size, and refusals.
#![cfg(target_os = "linux")]

use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use scard::apdu::ExchangeOptions;
use scard::{Card, Command, Control, ErrorKind, Operation, Origin, ReturnCode};
use scard_testkit::{Driver, Reply, Sandbox, VirtualCard, isolated};

use crate::support::*;

#[test]
fn answers_come_back_unchanged_at_every_size() {
    isolated(|| {
        // Answers with as many bytes as the command asks for, then the status word.
        let card = VirtualCard::new(|command: &[u8]| {
            let len = usize::from(command[5]) << 8 | usize::from(command[6]);
            let mut answer: Vec<u8> = (0..len).map(|i| i as u8).collect();
            answer.extend(OK);
            answer
        });
        let fixture = fixture_with(card);
        let mut card = fixture.connect();
        for len in [0usize, 1, 255, 256, 257, 4096, 32_768, 65_533] {
            let command = [0x00, 0xB0, 0x00, 0x00, 0x00, (len >> 8) as u8, len as u8];
            let answer = card.transmit(&command).unwrap();
            assert_eq!(answer.len(), len + 2);
            assert!(answer[..len].iter().enumerate().all(|(i, b)| *b == i as u8));
            assert_eq!(card.transmit_ref(&command).unwrap(), answer);
        }
    });
}

#[test]
fn commands_reach_the_card_unchanged_at_every_size() {
    isolated(|| {
        let fixture = fixture();
        let mut card = fixture.connect();
        for len in [4, 5, 260, 261, 4096, 65_535] {
            let command: Vec<u8> = (0..len).map(|i| i as u8).collect();
            fixture.card.clear_log();
            assert_eq!(card.transmit(&command).unwrap(), OK);
            assert_eq!(fixture.card.log()[0].command, command);
        }
    });
}

/// The largest command of ISO 7816-4, and the largest answer: `vpcd` carries neither.
#[test]
fn the_largest_command_and_answer_work_end_to_end() {
    isolated(|| {
        let whole: Vec<u8> = (0..65_536_u32).map(|i| (i % 251) as u8).collect();
        let answer = [&whole[..], OK].concat();
        let card = VirtualCard::new(move |_: &[u8]| answer.clone());
        let sandbox = Sandbox::builder().driver(Driver::Kit).readers(2);
        let fixture = Fixture::of(sandbox.card(0, card).start().unwrap());
        let mut card = fixture.connect();
        let put = Command::new(0x00, 0xDB, 0x3F, 0xFF).unwrap();
        let put = put.with_data(&whole[..65_535]).unwrap();
        let put = put.expecting(65_536).unwrap();
        assert_eq!(put.to_bytes().len(), 65_544);
        fixture.card.clear_log();
        let extended = ExchangeOptions::new().extended_length(true);
        let response = card.exchange_with(&put, &extended).unwrap();
        assert_eq!(fixture.card.log()[0].command, *put.to_bytes());
        assert_eq!(response.ok().unwrap(), whole);
        assert_eq!(card.transmit(&put.to_bytes()).unwrap().len(), 65_538);
    });
}

#[test]
fn empty_and_oversized_commands_never_reach_the_service() {
    isolated(|| {
        let fixture = fixture();
        let mut card = fixture.connect();
        fixture.card.clear_log();
        for command in [vec![], vec![0; Card::MAX_APDU_LEN + 1], vec![0; 70_000]] {
            let error = assert_fails(
                card.transmit(&command),
                Operation::Transmit,
                ReturnCode::E_INVALID_PARAMETER,
            );
            assert_eq!(error.origin(), Origin::Library);
            assert_eq!(error.reader_name(), Some(&fixture.reader));
            assert!(error.to_string().contains("the command is"), "{error}");
        }
        assert_eq!(fixture.card.log().len(), 0);
        assert_works(&mut card);
    });
}

#[test]
fn a_card_torn_out_during_a_command_is_an_error_and_no_hang() {
    isolated(|| {
        let fixture = fixture_with(VirtualCard::new(|_: &[u8]| Reply::Drop));
        let mut card = fixture.connect();
        let torn = assert_fails(
            card.transmit(COMMAND),
            Operation::Transmit,
            ReturnCode::E_NOT_TRANSACTED,
        );
        assert_eq!(torn.kind(), ErrorKind::Communication);
        assert!(torn.command_may_have_run());
        assert_eq!(fixture.card.log().len(), 1, "the command reached the card");
    });
}

#[test]
fn a_daemon_that_dies_is_an_error_of_every_call_and_no_hang() {
    isolated(|| {
        let fixture = fixture();
        let mut card = fixture.connect();
        let mut reader = fixture.context.open_reader(&fixture.empty_reader).unwrap();
        fixture.sandbox.kill().unwrap();
        let first = card.transmit(COMMAND).unwrap_err();
        assert!(
            [ReturnCode::F_COMM_ERROR, ReturnCode::E_NO_SERVICE].contains(&first.code()),
            "{first}"
        );
        for _restarted in [false, true] {
            let gone = ReturnCode::E_NO_SERVICE;
            assert_fails(card.transmit(COMMAND), Operation::Transmit, gone);
            assert_fails(card.status(), Operation::Status, gone);
            assert_fails(
                reconnect(&mut card, scard::Initialization::Leave),
                Operation::Reconnect,
                gone,
            );
            assert_fails(card.transaction(), Operation::BeginTransaction, gone);
            let control = reader.control(scard::ControlCode::GET_FEATURE_REQUEST, &[]);
            assert!(control.is_err());
            assert!(reader.attribute(scard::Attribute::ATR_STRING).is_err());
            if !_restarted {
                fixture.sandbox.restart().unwrap();
            }
        }
        // The error returns the handle, which can be dropped.
        let failed = card.disconnect(scard::Disposition::Leave).unwrap_err();
        assert_eq!(failed.error().operation(), Operation::Disconnect);
        assert_eq!(failed.error().code(), ReturnCode::E_NO_SERVICE);
        assert_eq!(failed.into_handle().reader_name(), &fixture.reader);
        // The user's context has survived.
        assert_works(&mut fixture.connect());
    });
}

#[test]
fn calls_that_wait_end_when_the_daemon_dies() {
    isolated(|| {
        let fixture = fixture();
        let mut holder = fixture.connect();
        let (mut a, mut b, mut c) = (fixture.connect(), fixture.connect(), fixture.connect());
        let transaction = holder.transaction().unwrap();
        let (context, reader) = (fixture.context.clone(), fixture.reader.clone());
        let calls = [
            in_background(move || a.transmit(COMMAND).map(drop)),
            in_background(move || b.transaction().map(drop)),
            in_background(move || c.status().map(drop)),
            in_background(move || {
                let options = scard::ConnectOptions::new();
                context.connect(&reader, options).map(drop)
            }),
        ];
        calls.iter().for_each(assert_blocked);
        fixture.sandbox.kill().unwrap();
        for call in &calls {
            let error = finish(call).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ServiceGone, "{error}");
            assert_eq!(error.recovery(), scard::Recovery::ConnectAgain);
        }
        drop(transaction);
    });
}

#[test]
fn debug_shows_no_answer() {
    isolated(|| {
        let secret = [0xC0, 0xFF, 0xEE, 0x5E, 0xC2, 0xE7];
        let fixture = fixture_with(VirtualCard::new(move |_: &[u8]| secret));
        let mut card = fixture.connect();
        assert_eq!(card.transmit(COMMAND).unwrap(), secret);
        let mut printed = format!("{card:?} {card:#?} {:?}", fixture.context);
        printed += &format!("{:?}", card.transaction().unwrap());
        let reader = card.into_reader(scard::Initialization::Leave).unwrap();
        printed += &format!("{reader:?}");
        let without_spaces: String = printed.split_whitespace().collect();
        for bytes in ["192,255,238", "c0,ff,ee", "c0ffee"] {
            assert!(!without_spaces.to_lowercase().contains(bytes), "{printed}");
        }
        assert!(printed.len() < 3000, "{printed}");
    });
}

/// Two cards, each of which answers only while the other one has a command, too.
#[test]
fn commands_to_two_cards_run_at_the_same_time() {
    isolated(|| {
        let busy = Arc::new((Mutex::new([0usize; 2]), Condvar::new()));
        let meeting = |me: usize| {
            let busy = Arc::clone(&busy);
            VirtualCard::new(move |_: &[u8]| {
                let (rounds, changed) = &*busy;
                let mut rounds = rounds.lock().unwrap();
                rounds[me] += 1;
                changed.notify_all();
                let alone = |rounds: &mut [usize; 2]| rounds[1 - me] < rounds[me];
                let waited = changed.wait_timeout_while(rounds, SOON, alone).unwrap();
                if waited.1.timed_out() {
                    [0x6F, 0x00]
                } else {
                    [0x90, 0x00]
                }
            })
        };
        // Two slots of one reader may have to take turns.
        let sandbox = Sandbox::builder()
            .readers(3)
            .card(0, meeting(0))
            .card(2, meeting(1))
            .start()
            .unwrap();
        let context = scard::Context::establish().unwrap();
        let cards = [0, 2].into_iter().map(|reader| {
            let name = scard::ReaderName::new(sandbox.reader(reader).name()).unwrap();
            context
                .connect(&name, scard::ConnectOptions::new())
                .unwrap()
        });
        let threads: Vec<_> = cards
            .map(|mut card| {
                thread::spawn(move || {
                    for _ in 0..25 {
                        assert_works(&mut card);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("the cards waited for each other");
        }
    });
}
