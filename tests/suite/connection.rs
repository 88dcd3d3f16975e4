//! Connecting, sharing, disconnecting and dropping.
#![cfg(target_os = "linux")]

use std::thread;

use scard::{
    ConnectOptions, Control, Disposition, ErrorKind, Event, Initialization, MonitorOptions,
    Operation, Origin, Protocol, Protocols, ReaderFlags, ReaderName, Recovery, Result, ReturnCode,
    ShareMode,
};
use scard_testkit::{Driver, IfdCall, IfdError, Sandbox, atr, isolated};

use crate::support::*;

#[test]
fn a_connection_knows_its_reader_mode_and_protocol() {
    isolated(|| {
        let fixture = fixture();
        let mut card = fixture.connect();
        assert_eq!(card.reader_name(), &fixture.reader);
        assert_eq!(card.share_mode(), ShareMode::Shared);
        assert_eq!(card.protocol(), Some(Protocol::T1));
        let status = card.status().unwrap();
        assert_eq!(status.reader_names(), std::slice::from_ref(&fixture.reader));
        assert_eq!(status.protocol(), Some(Protocol::T1));
        assert_eq!(status.atr().as_bytes(), atr::T1);
        assert!(status.state().contains(scard::CardState::PRESENT));
    });
}

#[test]
fn the_protocol_is_the_cards_choice_among_the_accepted_ones() {
    isolated(|| {
        let fixture = fixture_with(plain_card().atr(atr::T0));
        assert_eq!(fixture.connect().protocol(), Some(Protocol::T0));
        assert_fails(
            fixture.try_connect(ConnectOptions::new().protocols(Protocols::T1)),
            Operation::Connect,
            ReturnCode::E_PROTO_MISMATCH,
        );
        let none = ConnectOptions::new().protocols(Protocols::empty());
        let error = assert_fails(
            fixture.try_connect(none),
            Operation::Connect,
            ReturnCode::E_INVALID_PARAMETER,
        );
        assert_eq!(error.origin(), scard::Origin::Library);
    });
}

/// The negotiated protocol stays, for all connections, until the card is reset.
#[test]
fn a_second_connection_has_to_accept_the_protocol_of_the_first() {
    isolated(|| {
        let fixture = fixture_with(plain_card().atr(atr::T0_T1));
        let only = |protocols| fixture.try_connect(ConnectOptions::new().protocols(protocols));
        let mut first = only(Protocols::T1).unwrap();
        let mismatch = ReturnCode::E_PROTO_MISMATCH;
        assert_fails(only(Protocols::T0), Operation::Connect, mismatch);
        assert_eq!(fixture.connect().protocol(), Some(Protocol::T1));
        assert_works(&mut first);
        fixture.connect().disconnect(Disposition::Reset).unwrap();
        assert_eq!(only(Protocols::T0).unwrap().protocol(), Some(Protocol::T0));
    });
}

#[test]
fn a_card_that_does_not_answer_is_not_connected_and_can_be_lost_by_a_reset() {
    isolated(|| {
        let sandbox = Sandbox::builder().driver(Driver::Kit).readers(2);
        let fixture = Fixture::of(sandbox.card(0, plain_card()).start().unwrap());
        let slot = fixture.sandbox.reader(0);
        let mut card = fixture.connect();
        slot.fail_every(IfdCall::Reset, IfdError::COMMUNICATION_ERROR)
            .unwrap();
        assert_fails(
            reconnect(&mut card, scard::Initialization::Reset),
            Operation::Reconnect,
            ReturnCode::W_UNRESPONSIVE_CARD,
        );
        drop(card);
        slot.remove().unwrap();
        slot.fail_every(IfdCall::PowerOn, IfdError::COMMUNICATION_ERROR)
            .unwrap();
        let mut monitor = fixture.context.monitor(MonitorOptions::new()).unwrap();
        slot.insert_now(plain_card()).unwrap();
        assert!(monitor.any(|event| matches!(event, Event::CardMute { .. })));
        assert_fails(
            fixture.try_connect(ConnectOptions::new()),
            Operation::Connect,
            ReturnCode::W_UNPOWERED_CARD,
        );
        // Contexts that outlive the test are leaks to `ci/valgrind`.
        assert!(monitor.close(None));
    });
}

/// pcsc-lite returns the same code for a card that does not answer.
#[test]
fn a_card_that_refuses_the_parameters_is_told_as_such() {
    #[track_caller]
    fn assert_refused<T>(result: Result<T>, operation: Operation) {
        let error = assert_fails(result, operation, ReturnCode::W_UNRESPONSIVE_CARD);
        assert_eq!(error.kind(), ErrorKind::CardUnsupported);
        assert_eq!(error.recovery(), Recovery::FixCall);
        assert_eq!(error.origin(), Origin::Service);
        let text = error.to_string();
        assert!(text.contains("refused the protocol parameters"), "{text}");
        let advice = "Reset the card, or accept another protocol.";
        assert_eq!(error.advice(), advice);
    }

    isolated(|| {
        let sandbox = Sandbox::builder().driver(Driver::Kit).readers(2);
        let card = plain_card().atr(atr::T0_T1);
        let fixture = Fixture::of(sandbox.card(0, card).start().unwrap());
        let slot = fixture.sandbox.reader(0);
        let refuse = || {
            slot.fail_next(IfdCall::SetProtocol, IfdError::PTS_FAILURE)
                .unwrap()
        };
        refuse();
        let refused = fixture.try_connect(ConnectOptions::new());
        assert_refused(refused, Operation::Connect);

        use Initialization::{Leave, Reset, Unpower};
        let mut card = fixture.connect();
        for initialization in [Reset, Unpower] {
            refuse();
            let refused = reconnect(&mut card, initialization);
            assert_refused(refused, Operation::Reconnect);
            // As after any reset, the state of the card is lost.
            assert_eq!(card.protocol(), None);
            assert_fails(
                card.transmit(COMMAND),
                Operation::Transmit,
                ReturnCode::W_RESET_CARD,
            );
            // After a reset without a new negotiation.
            refuse();
            assert_refused(reconnect(&mut card, Leave), Operation::Reconnect);
            reconnect(&mut card, Leave).unwrap();
            assert_works(&mut card);
        }
        // A card that does not answer is a different case.
        slot.fail_next(IfdCall::Reset, IfdError::POWER_ACTION)
            .unwrap();
        let error = reconnect(&mut card, Reset).unwrap_err();
        assert_eq!(error.code(), ReturnCode::W_UNRESPONSIVE_CARD);
        assert_eq!(error.kind(), ErrorKind::CardUnresponsive);
        let error = reconnect(&mut card, Leave).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CardUnresponsive);
        reconnect(&mut card, Unpower).unwrap();
        drop(card);

        // From direct access.
        let direct = fixture.context.open_reader(&fixture.reader).unwrap();
        refuse();
        let refused = direct.into_card(ShareMode::Shared, Protocols::ANY, Reset);
        let refused = refused.unwrap_err();
        let (mut direct, error) = refused.into_parts();
        assert_refused::<()>(Err(error), Operation::Reconnect);
        assert_eq!(direct.status().unwrap().atr().as_bytes(), atr::T0_T1);
    });
}

/// Others stay excluded, and are admitted again.
#[test]
fn exclusive_access_outlasts_refused_parameters() {
    isolated(|| {
        let sandbox = Sandbox::builder().driver(Driver::Kit).readers(2);
        let fixture = Fixture::of(sandbox.card(0, plain_card()).start().unwrap());
        let slot = fixture.sandbox.reader(0);
        let mut card = fixture.connect_exclusive();
        let error = IfdError::PTS_FAILURE;
        slot.fail_next(IfdCall::SetProtocol, error).unwrap();
        let exclusive = ShareMode::Exclusive;
        let reset = Initialization::Reset;
        let error = card
            .reconnect(exclusive, Protocols::ANY, reset)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CardUnsupported);
        let other = fixture.use_by_another();
        assert_blocked(&other);
        card.reconnect(exclusive, Protocols::ANY, reset).unwrap();
        assert_works(&mut card);
        assert_blocked(&other);
        drop(card);
        assert_eq!(finish(&other).unwrap(), OK);
    });
}

#[test]
fn two_can_share() {
    isolated(|| {
        let fixture = fixture();
        let (mut a, mut b) = (fixture.connect(), fixture.connect());
        assert_works(&mut a);
        assert_works(&mut b);
        assert_works(&mut a);
    });
}

#[test]
fn exclusive_excludes_and_is_excluded() {
    isolated(|| {
        let fixture = fixture();
        let exclusive = ConnectOptions::new().share_mode(ShareMode::Exclusive);
        let violation = ReturnCode::E_SHARING_VIOLATION;

        let shared = fixture.connect();
        assert_fails(
            fixture.try_connect(exclusive.clone()),
            Operation::Connect,
            violation,
        );
        drop(shared);

        let mut only = fixture.try_connect(exclusive.clone()).unwrap();
        for options in [ConnectOptions::new(), exclusive] {
            let error = assert_fails(fixture.try_connect(options), Operation::Connect, violation);
            assert_eq!(error.reader_name(), Some(&fixture.reader));
        }
        assert_fails(
            fixture.context.open_reader(&fixture.reader),
            Operation::Connect,
            violation,
        );
        assert_works(&mut only);
        drop(only);
        assert_works(&mut fixture.connect());
    });
}

#[test]
fn a_missing_card_and_a_missing_reader_are_told_apart() {
    isolated(|| {
        let fixture = fixture();
        let connect = |reader| fixture.context.connect(reader, ConnectOptions::new());
        let error = assert_fails(
            connect(&fixture.empty_reader),
            Operation::Connect,
            ReturnCode::E_NO_SMARTCARD,
        );
        assert_eq!(error.reader_name(), Some(&fixture.empty_reader));
        let unknown = ReaderName::new("No Such Reader 00 00").unwrap();
        let error = assert_fails(
            connect(&unknown),
            Operation::Connect,
            ReturnCode::E_UNKNOWN_READER,
        );
        assert_eq!(error.reader_name(), Some(&unknown));
        assert!(error.to_string().contains("No Such Reader 00 00"));
    });
}

#[test]
fn names_of_any_length_are_an_answer_not_a_crash() {
    isolated(|| {
        let fixture = fixture();
        for len in [0, 127, 128, 129, 4096, 1 << 20] {
            let name = ReaderName::new("x".repeat(len)).unwrap();
            let failed = fixture.context.connect(&name, ConnectOptions::new());
            let error = failed.unwrap_err();
            assert_eq!(error.operation(), Operation::Connect, "{len}");
            assert!(fixture.context.open_reader(&name).is_err(), "{len}");
        }
        assert_works(&mut fixture.connect());
    });
}

#[test]
fn disconnect_does_with_the_card_what_it_is_told() {
    isolated(|| {
        let fixture = fixture();
        // A witness keeps the card powered and sees the resets.
        let mut witness = fixture.connect();

        fixture.connect().disconnect(Disposition::Leave).unwrap();
        assert_works(&mut witness);

        let before = fixture.card.stats();
        fixture.connect().disconnect(Disposition::Reset).unwrap();
        assert_eq!(fixture.card.stats().resets, before.resets + 1);
        assert_fails(
            witness.transmit(COMMAND),
            Operation::Transmit,
            ReturnCode::W_RESET_CARD,
        );
        reconnect(&mut witness, scard::Initialization::Leave).unwrap();

        fixture.connect().disconnect(Disposition::Unpower).unwrap();
        // The driver does not wait until the card has lost power.
        fixture
            .card
            .wait_until(SOON, |stats| stats.power_offs == before.power_offs + 1)
            .unwrap();
        assert_fails(
            witness.transmit(COMMAND),
            Operation::Transmit,
            ReturnCode::W_RESET_CARD,
        );

        // These readers cannot eject; the connection ends anyway.
        fixture.connect().disconnect(Disposition::Eject).unwrap();
    });
}

#[test]
fn dropping_leaves_the_card_alone_unless_told_otherwise() {
    isolated(|| {
        let fixture = fixture();
        let mut witness = fixture.connect();
        drop(fixture.connect());
        assert_works(&mut witness);

        let resets = fixture.card.resets();
        let reset = ConnectOptions::new().disposition_on_drop(Disposition::Reset);
        drop(fixture.try_connect(reset).unwrap());
        assert_eq!(fixture.card.resets(), resets + 1);
    });
}

#[test]
fn while_a_transaction_is_held_some_calls_wait_and_some_do_not() {
    isolated(|| {
        let fixture = fixture();
        let mut holder = fixture.connect();
        let mut card = fixture.connect();
        let leaver = fixture.connect();
        let resetter = fixture.connect();
        let unpowerer = fixture.connect();
        let transaction = holder.transaction().unwrap();

        // Refused at once, as requested.
        card.set_wait_for_transactions(false);
        let violation = ReturnCode::E_SHARING_VIOLATION;
        let attribute = card.attribute(scard::Attribute::ATR_STRING);
        assert_fails(attribute, Operation::GetAttribute, violation);
        let control = card.control(scard::ControlCode::GET_FEATURE_REQUEST, &[]);
        assert_fails(control, Operation::Control, violation);
        // Done at once.
        assert_eq!(fixture.context.readers().unwrap().len(), 2);
        let states = fixture.context.reader_states().unwrap();
        assert!(states[0].flags().contains(ReaderFlags::INUSE));
        leaver.disconnect(Disposition::Leave).unwrap();

        // Waits until the transaction ends.
        let transmit = in_background(move || card.transmit(COMMAND));
        let mut other = fixture.connect_in_background();
        let reset = in_background(move || resetter.disconnect(Disposition::Reset).is_ok());
        let unpower = in_background(move || unpowerer.disconnect(Disposition::Unpower).is_ok());
        assert_blocked(&transmit);
        assert_blocked(&other.call);
        assert_blocked(&reset);
        assert_blocked(&unpower);
        drop(transaction);
        // The resets may come before or after the command, or during the connect.
        match finish(&transmit) {
            Ok(answer) => assert_eq!(answer, OK),
            Err(error) => assert_eq!(error.code(), ReturnCode::W_RESET_CARD),
        }
        assert!(finish(&reset));
        assert!(finish(&unpower));
        other.finish();
    });
}

#[test]
fn status_begin_and_reconnect_wait_for_a_transaction_to_end() {
    isolated(|| {
        let fixture = fixture();
        let mut holder = fixture.connect();
        let mut cards = [fixture.connect(), fixture.connect(), fixture.connect()];
        let transaction = holder.transaction().unwrap();
        let [ref mut a, ref mut b, ref mut c] = cards;
        thread::scope(|scope| {
            let status = scope.spawn(|| a.status().map(drop));
            let begin = scope.spawn(|| b.transaction().map(drop));
            let reconnect = scope.spawn(|| reconnect(c, scard::Initialization::Leave).map(drop));
            let calls = [status, begin, reconnect];
            thread::sleep(NEVER);
            for call in &calls {
                assert!(!call.is_finished(), "the call returned, it should wait");
            }
            drop(transaction);
            for call in calls {
                call.join().unwrap().unwrap();
            }
        });
    });
}

#[test]
fn dropping_a_card_never_waits() {
    isolated(|| {
        let fixture = fixture();
        let mut holder = fixture.connect();
        let (card, reader) = (
            fixture.connect(),
            fixture.context.open_reader(&fixture.reader).unwrap(),
        );
        let transaction = holder.transaction().unwrap();
        let dropped = in_background(move || drop((card, reader)));
        finish(&dropped);
        drop(transaction);
    });
}

/// A connect that waits, with its result discarded.
struct Connecting {
    call: std::sync::mpsc::Receiver<scard::Result<()>>,
}

impl Connecting {
    fn finish(&mut self) {
        finish(&self.call).unwrap();
    }
}

impl Fixture {
    fn connect_in_background(&self) -> Connecting {
        let (context, reader) = (self.context.clone(), self.reader.clone());
        Connecting {
            call: in_background(move || context.connect(&reader, ConnectOptions::new()).map(drop)),
        }
    }
}

/// A card with two protocols in a reader that supports one: pcsc-lite reports success with the
/// wrong one.
#[test]
fn a_protocol_that_was_not_accepted_is_refused_and_leaves_no_exclusive_access() {
    isolated(|| {
        let card = plain_card().atr(atr::T0_T1);
        let sandbox = Sandbox::builder().driver(Driver::Kit).readers(2);
        let fixture = Fixture::of(sandbox.card(0, card).start().unwrap());
        let slot = fixture.sandbox.reader(0);
        let refuse_t1 = || {
            // The protocol is negotiated again.
            let card = fixture.connect();
            card.disconnect(Disposition::Reset).unwrap();
            let refused = IfdError::PROTOCOL_NOT_SUPPORTED;
            slot.fail_next(IfdCall::SetProtocol, refused).unwrap();
            fixture.card.resets()
        };
        let exclusive = ConnectOptions::new().share_mode(ShareMode::Exclusive);

        let resets = refuse_t1();
        let refused = fixture.try_connect(exclusive.protocols(Protocols::T1));
        let code = refused.map(drop).unwrap_err().code();
        assert_eq!(code, ReturnCode::E_PROTO_MISMATCH);
        assert_eq!(fixture.card.resets(), resets);

        let resets = refuse_t1();
        let reader = fixture.context.open_reader(&fixture.reader).unwrap();
        let (mode, leave) = (ShareMode::Exclusive, Initialization::Leave);
        let refused = reader.into_card(mode, Protocols::T1, leave).unwrap_err();
        assert_eq!(refused.error().code(), ReturnCode::E_PROTO_MISMATCH);
        let reader = refused.into_handle();
        // Others are not kept out.
        assert_eq!(finish(&fixture.use_by_another()).unwrap(), OK);
        drop(reader);
        assert_eq!(fixture.card.resets(), resets);

        let mut card = fixture.connect();
        let _ = refuse_t1();
        let refused = card.reconnect(mode, Protocols::T1, leave).unwrap_err();
        assert_eq!(refused.code(), ReturnCode::E_PROTO_MISMATCH);
        assert_eq!(card.share_mode(), ShareMode::Shared);
        assert_eq!(finish(&fixture.use_by_another()).unwrap(), OK);
    });
}
