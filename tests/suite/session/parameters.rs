//! Cards that answer, but refuse the parameters of the protocol.

use super::*;

const REFUSED: IfdError = IfdError::PTS_FAILURE;

fn kit(atr: &[u8]) -> Fixture {
    let sandbox = Sandbox::builder().driver(Driver::Kit).readers(2);
    Fixture::of(sandbox.card(0, card().atr(atr)).start().unwrap())
}

#[test]
fn a_card_that_refuses_once_is_reset_and_used() {
    isolated(|| {
        let fixture = kit(atr::T0_T1);
        let reader = fixture.sandbox.reader(0);
        reader.fail_next(IfdCall::SetProtocol, REFUSED).unwrap();
        let told = Told::default();
        let mut session = builder(&fixture, &told).open().unwrap();
        works(&mut session, 1);
        assert_eq!(told.recoveries(), [Recovery::ResetCard]);
        assert_eq!(fixture.card.resets(), 1);
    });
}

#[test]
fn a_card_that_refuses_one_protocol_is_used_with_the_other() {
    isolated(|| {
        let fixture = kit(atr::T0_T1);
        let reader = fixture.sandbox.reader(0);
        // The service tries this protocol first, and no other.
        reader.refuse_protocol(1, REFUSED).unwrap();
        let told = Told::default();
        let mut session = builder(&fixture, &told).open().unwrap();
        works(&mut session, 1);
        assert_eq!(told.recoveries(), [Recovery::ResetCard; 2]);
        let negotiated = |event: &SessionEvent| match event {
            SessionEvent::Connected { protocol, .. } => *protocol,
            _ => None,
        };
        let negotiated: Vec<_> = told.all().iter().filter_map(negotiated).collect();
        assert_eq!(negotiated, [Protocol::T0]);
    });
}

/// The error of a session with a card that always refuses.
#[track_caller]
fn assert_refused(session: Result<Session, SessionError>) {
    let error = session.unwrap_err();
    let SessionError::Card(cause) = &error else {
        panic!("{error:?}");
    };
    assert_eq!(cause.code(), ReturnCode::W_UNRESPONSIVE_CARD);
    assert_eq!(cause.kind(), ErrorKind::CardUnsupported);
    assert_eq!(cause.recovery(), Recovery::FixCall);
    let seen: Vec<&str> = cause.seen().iter().map(|it| it.seen().name()).collect();
    assert_eq!(seen, ["parameters-refused"]);
    let text = format!("{error:#}");
    assert!(text.contains("refused the protocol parameters"), "{text}");
    assert!(!text.contains("does not answer"), "{text}");
}

#[test]
fn a_card_that_always_refuses_is_said_to() {
    isolated(|| {
        let fixture = kit(atr::T0_T1);
        let reader = fixture.sandbox.reader(0);
        reader.fail_every(IfdCall::SetProtocol, REFUSED).unwrap();
        let told = Told::default();
        assert_refused(builder(&fixture, &told).open());
        // With both, with T=0, with T=1.
        assert_eq!(told.recoveries(), [Recovery::ResetCard; 3]);
        assert_eq!(fixture.card.resets(), 3);
        // A single protocol is tried once.
        told.clear();
        let options = ConnectOptions::new().protocols(Protocols::T1);
        assert_refused(builder(&fixture, &told).connect_options(options).open());
        assert_eq!(told.recoveries(), [Recovery::ResetCard]);
        let options = ConnectOptions::new().share_mode(ShareMode::Exclusive);
        assert_refused(builder(&fixture, &told).connect_options(options).open());
    });
}

#[test]
fn a_card_that_refuses_makes_way_for_the_next() {
    isolated(|| {
        let fixture = kit(atr::T0_T1);
        let reader = fixture.sandbox.reader(0);
        reader.fail_every(IfdCall::SetProtocol, REFUSED).unwrap();
        fixture.sandbox.reader(1).insert(card()).unwrap();
        let told = Told::default();
        let session = builder(&fixture, &told).cards(CardFilter::new()).open();
        assert_eq!(session.unwrap().reader_name(), Some(&fixture.empty_reader));
    });
}

#[test]
fn the_deadline_holds_while_it_is_tried() {
    isolated(|| {
        let fixture = kit(atr::T0_T1);
        let reader = fixture.sandbox.reader(0);
        reader.fail_every(IfdCall::SetProtocol, REFUSED).unwrap();
        reader.delay_every(IfdCall::Reset, DEADLINE * 2).unwrap();
        let builder = builder_with_upkeep(&fixture).timeout(Some(DEADLINE));
        let cause = assert_deadline(DEADLINE, || builder.open());
        assert_eq!(cause.unwrap().kind(), ErrorKind::CardUnsupported);
    });
}

/// After another program's reset, the protocol is negotiated again.
#[test]
fn a_card_that_refuses_at_a_reconnect_is_negotiated_again() {
    isolated(|| {
        let fixture = kit(atr::T0_T1);
        let (mut session, told) = open(&fixture);
        let reader = fixture.sandbox.reader(0);
        let mut other = fixture.context.open_reader(&fixture.reader).unwrap();
        other.reconnect(Initialization::Reset).unwrap();
        reader.refuse_protocol(1, REFUSED).unwrap();
        works(&mut session, 1);
        let recoveries = told.recoveries();
        let expected = [Recovery::Reconnect, Recovery::ConnectAgain];
        assert_eq!(recoveries.get(..2), Some(&expected[..]), "{recoveries:?}");
    });
}
