//! Connections and transactions where Windows behaves differently from pcsc-lite.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use scard::apdu::{AnswerProblem, Command, ExchangeError, ExchangeOptions, Form};
use scard::{
    Attribute, Card, ConnectOptions, Context, Control as _, ControlCode, Disposition, ErrorKind,
    Initialization, Protocol, Protocols, Recovery, ReturnCode, Session, ShareMode,
};
use scard_on_windows as scard;
use scard_testkit::isolated;

use crate::world::{
    five_seconds_pass, other_program_begins, other_program_ends, plug, wait_until, world,
};

const LIMIT: Option<Duration> = Some(Duration::from_secs(20));
const COMMAND: &[u8] = &[0, 0, 0, 0];

fn card() -> Card {
    plug(&["R"]);
    let context = Context::establish().unwrap();
    context.connect("R", ConnectOptions::new()).unwrap()
}

/// `SCardReconnect` ends the transaction, and the library begins it again; other programs may have
/// used the card in between.
#[test]
fn a_transaction_begins_again_after_a_reconnect_ended_it() {
    isolated(|| {
        let mut card = card();
        for initialization in [Initialization::Leave, Initialization::Reset] {
            let mut transaction = card.transaction().unwrap();
            assert!(!transaction.interrupted());
            let reconnected =
                transaction.reconnect(ShareMode::Shared, Protocols::ANY, initialization);
            assert_eq!(reconnected.unwrap(), Protocol::T1);
            assert!(transaction.interrupted());
            assert!(world().is_in_transaction());
            assert_eq!(transaction.transmit(COMMAND).unwrap(), [0x90, 0x00]);
            transaction.end(Disposition::Leave).unwrap();
            assert!(!world().is_in_transaction());
        }
    });
}

/// Windows ends a transaction that is idle for five seconds, by resetting the card.
#[test]
fn an_idle_transaction_ends_with_a_reset() {
    isolated(|| {
        let mut card = card();
        let mut transaction = card.transaction().unwrap();
        transaction.transmit(COMMAND).unwrap();
        five_seconds_pass();
        let error = transaction.transmit(COMMAND).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CardReset);
        assert_eq!(error.recovery(), Recovery::Reconnect);
        assert!(!error.command_may_have_run());
        assert_eq!(world().commands, 1);
        // Acknowledges the reset, and begins a new transaction.
        transaction
            .reconnect(ShareMode::Shared, Protocols::ANY, Initialization::Leave)
            .unwrap();
        assert!(transaction.interrupted());
        transaction.transmit(COMMAND).unwrap();
        five_seconds_pass();
        let error = transaction.end(Disposition::Leave).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CardReset);
        card.reconnect(ShareMode::Shared, Protocols::ANY, Initialization::Leave)
            .unwrap();
        assert_eq!(card.transmit(COMMAND).unwrap(), [0x90, 0x00]);
    });
}

/// A session repeats the work from its set-up.
#[test]
fn a_session_continues_after_an_idle_transaction_was_reset() {
    isolated(|| {
        plug(&["R"]);
        let context = Context::establish().unwrap();
        let mut set_up = 0;
        let (sender, set_ups) = mpsc::channel();
        let mut session = Session::builder(&context)
            .timeout(LIMIT)
            .setup(move |card| {
                set_up += 1;
                sender.send(set_up).unwrap();
                card.transmit(COMMAND).map(drop)
            })
            .open()
            .unwrap();
        let mut runs = 0;
        let answer = session.run_restartable(|card| {
            runs += 1;
            card.transmit(COMMAND)?;
            if runs == 1 {
                five_seconds_pass();
            }
            card.transmit(COMMAND)
        });
        assert_eq!(answer.unwrap(), [0x90, 0x00]);
        assert_eq!(runs, 2);
        // When it was opened, when the work began, and after the reset.
        assert_eq!(set_ups.try_iter().last(), Some(3));
    });
}

/// Windows resets the card of a process that ends without disconnecting. Handles of this library
/// disconnect when dropped, and so do not reset it.
#[test]
fn every_dropped_handle_disconnects_without_a_reset() {
    isolated(|| {
        plug(&["R"]);
        let context = Context::establish().unwrap();
        let mut card = context.connect("R", ConnectOptions::new()).unwrap();
        let reader = context.open_reader("R").unwrap();
        let mut session = Session::builder(&context).timeout(LIMIT).open().unwrap();
        session.run(|card| card.transmit(COMMAND)).unwrap();
        drop(card.transaction().unwrap());
        std::mem::forget(card.transaction().unwrap());
        drop((card, reader, session, context));
        wait_until(|world| world.open_handles() == (0, 0));
        assert_eq!(world().resets, 0);
    });
}

/// The connection of a call that was given up is ended without the caller.
#[test]
fn a_connection_that_was_given_up_is_disconnected_in_the_end() {
    isolated(|| {
        let mut card = card();
        other_program_begins();
        card.set_timeout(Some(Duration::from_millis(100)));
        let error = card.transmit(COMMAND).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        assert!(!error.command_may_have_run());
        drop(card);
        other_program_ends(false);
        wait_until(|world| world.open_handles() == (0, 0));
        let world = world();
        assert_eq!((world.resets, world.commands), (0, 0));
    });
}

/// Windows resets the card of a program that ends without disconnecting.
#[test]
fn the_end_of_another_program_resets_its_card() {
    isolated(|| {
        let mut card = card();
        let context = Context::establish().unwrap();
        let mut session = Session::builder(&context).timeout(LIMIT).open().unwrap();
        session.run(|card| card.transmit(COMMAND)).unwrap();
        other_program_begins();
        let waiting = thread::spawn(move || session.run(|card| card.transmit(COMMAND)));
        wait_until(|world| world.blocked > 0);
        other_program_ends(true);
        assert_eq!(waiting.join().unwrap().unwrap(), [0x90, 0x00]);
        let error = card.transmit(COMMAND).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CardReset);
    });
}

/// An attribute that is too long for the first buffer is returned, whichever code reports it.
#[test]
fn a_buffer_that_is_too_small_grows() {
    isolated(|| {
        let mut card = card();
        for code in [0x8010_0008, 122, 234] {
            world().too_small = code;
            let value = card.attribute(Attribute::VENDOR_NAME).unwrap();
            assert_eq!(value.len(), 300, "{code:#X}");
        }
    });
}

/// The stand-in's driver uses the low 16 bits of a length, and refuses an escape's length that is
/// too long with the CCID header.
#[test]
fn answer_buffers_have_a_length_that_every_driver_accepts() {
    isolated(|| {
        let mut card = card();
        assert_eq!(Card::MAX_ANSWER_LEN, 65_535);
        for data in [0, 256, 65_533] {
            let mut answer = vec![0xAA; data];
            answer.extend([0x90, 0x00]);
            world().answer = Some(answer.clone());
            assert_eq!(card.transmit(COMMAND).unwrap(), answer);
        }
        let code = ControlCode::from_function(2048);
        world().controls.insert(code.raw(), vec![0x55; 65_535]);
        assert_eq!(card.control(code, &[]).unwrap().len(), 65_535);
        assert_eq!(world().longest_buffer, 65_535);

        // An answer that does not fit is lost, not truncated. The error says that the command ran.
        for data in 65_534..=65_536 {
            world().answer = Some(vec![0xAA; data + 2]);
            let error = card.transmit(COMMAND).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BufferTooSmall);
            assert_eq!(error.needed_len(), Some(data + 2));
            assert!(error.command_may_have_run());
        }
        world().answer = None;
        assert_eq!(card.transmit(COMMAND).unwrap(), [0x90, 0x00]);
    });
}

/// A card with more data than fits, which returns as much as requested.
fn returns_all_it_is_asked_for(command: &[u8]) -> Vec<u8> {
    let le = match *command {
        [_, _, _, _, 0, 0, 0] => 65_536,
        [_, _, _, _, 0, high, low] => usize::from(u16::from_be_bytes([high, low])),
        _ => panic!("no extended Le: {command:?}"),
    };
    let mut answer = vec![0x11; le];
    answer.extend([0x90, 0x00]);
    answer
}

/// A command that expects a number of bytes asks only for what fits into the buffer. The caller
/// learns that there may be more, and nothing is lost.
#[test]
fn no_more_is_requested_than_fits_into_the_buffer() {
    isolated(|| {
        let mut card = card();
        world().applet = Some(returns_all_it_is_asked_for);
        let options = ExchangeOptions::new().extended_length(true);
        let read = Command::new(0x00, 0xB0, 0x00, 0x00).unwrap();
        for expected in 65_534..=65_536 {
            let read = read.clone().expecting(expected).unwrap();
            let error = card.exchange_with(&read, &options).unwrap_err();
            let asked = 65_533;
            assert!(
                matches!(
                    error,
                    ExchangeError::Answer { problem, .. }
                        if problem == AnswerProblem::PossiblyIncomplete { requested: asked, expected }
                ),
                "{error}"
            );
            let response = card
                .exchange_with(&read, &options.allow_incomplete(true))
                .unwrap();
            assert_eq!(response.data().len(), 65_533);
            assert_eq!(response.requested_len(), Some(asked));
        }
        let fits = read.clone().expecting(65_533).unwrap();
        let response = card.exchange_with(&fits, &options).unwrap();
        assert_eq!(
            (response.data().len(), response.requested_len()),
            (65_533, None)
        );

        // "All" sets no limit, unless an option does.
        let all = read.expecting_all().with_form(Form::Extended).unwrap();
        let error = card.exchange_with(&all, &options).unwrap_err();
        let error = error.error().unwrap();
        assert_eq!(error.kind(), ErrorKind::BufferTooSmall);
        assert_eq!(error.needed_len(), Some(65_538));
        let limited = options.max_answer_data(65_533);
        let response = card.exchange_with(&all, &limited).unwrap();
        assert_eq!(response.requested_len(), Some(65_533));
    });
}

#[test]
fn other_protocols_and_exclusive_access_are_refused_with_windows_codes() {
    isolated(|| {
        plug(&["R"]);
        let context = Context::establish().unwrap();
        let t0 = ConnectOptions::new().protocols(Protocols::T0);
        let error = context.connect("R", t0).unwrap_err();
        assert_eq!(error.code(), ReturnCode::E_PROTO_MISMATCH);
        assert_eq!(error.kind(), ErrorKind::ProtocolMismatch);
        let exclusive = ConnectOptions::new().share_mode(ShareMode::Exclusive);
        let card = context.connect("R", exclusive.clone()).unwrap();
        let error = context.connect("R", exclusive).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SharingViolation);
        drop(card);
    });
}
