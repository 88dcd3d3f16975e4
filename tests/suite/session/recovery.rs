//! Sessions recover from what happens to cards, readers and the service.

use super::*;

#[test]
fn a_session_survives_resets_by_others() {
    isolated(|| {
        let fixture = fixture_with(card());
        let (mut session, told) = open(&fixture);
        for (number, initialization) in [Initialization::Reset, Initialization::Unpower]
            .into_iter()
            .enumerate()
        {
            told.clear();
            let mut other = fixture.connect();
            reconnect(&mut other, initialization).unwrap();
            let mut calls = 0;
            let answer = session.run(|card| {
                calls += 1;
                card.transmit(&numbered(APPLICATION, number as u32))
            });
            assert_eq!((answer.unwrap().as_slice(), calls), (OK, 1));
            assert_eq!(told.recoveries(), [Recovery::Reconnect]);
            assert_eq!((told.setups(), told.connects()), (1, 0));
            assert_eq!(told.count(|event| *event == SessionEvent::Identified), 1);
        }
        assert_eq!(numbers(&fixture.card), [0, 1]);
    });
}

#[test]
fn a_session_waits_for_a_card_that_was_pulled() {
    isolated(|| {
        let fixture = fixture_with(card());
        let (mut session, told) = open(&fixture);
        let slot = fixture.sandbox.reader(0);
        for number in 0..2 {
            told.clear();
            slot.remove().unwrap();
            let running = in_background(move || {
                works(&mut session, number);
                session
            });
            told.wait(|event| *event == SessionEvent::WaitingForCard);
            assert_blocked(&running);
            slot.insert(&fixture.card).unwrap();
            session = finish(&running);
            assert_eq!(told.recoveries(), [Recovery::InsertCard]);
            assert_eq!((told.setups(), told.connects()), (1, 1));
        }
        // Removed and inserted again between two runs.
        slot.remove().unwrap();
        slot.insert(&fixture.card).unwrap();
        works(&mut session, 2);
        assert_eq!(numbers(&fixture.card), [0, 1, 2]);
    });
}

#[test]
fn another_card_is_refused_until_the_right_one_is_back() {
    isolated(|| {
        let fixture = fixture_with(card());
        let (mut session, told) = open(&fixture);
        assert_eq!(session.identity(), Some(&b"one"[..]));
        let slot = fixture.sandbox.reader(0);
        slot.remove().unwrap();
        let other = slot.insert(Applications::card(b"two")).unwrap();
        for _ in 0..2 {
            let refused = session.run(|card| card.transmit(&numbered(APPLICATION, 0)));
            match refused.unwrap_err() {
                SessionError::WrongCard {
                    expected, found, ..
                } => {
                    assert_eq!((&expected[..], &found[..]), (&b"one"[..], &b"two"[..]));
                }
                error => panic!("{error:?}"),
            }
        }
        assert_eq!(told.setups(), 0, "nothing is done to a wrong card");
        slot.remove().unwrap();
        slot.insert(&fixture.card).unwrap();
        works(&mut session, 1);
        assert_eq!((numbers(&other), numbers(&fixture.card)), (vec![], vec![1]));

        // Unless any card is accepted from now on.
        slot.remove().unwrap();
        slot.insert(&other).unwrap();
        session.forget_identity();
        works(&mut session, 2);
        assert_eq!(session.identity(), Some(&b"two"[..]));
    });
}

#[test]
fn the_right_card_is_found_in_another_reader() {
    isolated(|| {
        let fixture = fixture_with(card());
        let mut session = Session::builder(&fixture.context)
            .setup(set_up)
            .identity(serial)
            .timeout(Some(LONG))
            .open()
            .unwrap();
        let (first, second) = (fixture.sandbox.reader(0), fixture.sandbox.reader(1));
        first.remove().unwrap();
        let other = first.insert(Applications::card(b"two")).unwrap();
        second.insert(&fixture.card).unwrap();
        works(&mut session, 0);
        assert_eq!(session.reader_name(), Some(&fixture.empty_reader));
        // With only a wrong card, it fails; where it looks first does not change.
        second.remove().unwrap();
        let wrong = session.run(|card| card.transmit(&numbered(APPLICATION, 1)));
        assert!(matches!(wrong, Err(SessionError::WrongCard { .. })));
        second.insert(&fixture.card).unwrap();
        works(&mut session, 2);
        assert_eq!(
            (numbers(&other), numbers(&fixture.card)),
            (vec![], vec![0, 2])
        );
    });
}

fn is_retry(event: &SessionEvent) -> bool {
    let later = Recovery::RetryLater;
    matches!(event, SessionEvent::Recovering { recovery, .. } if *recovery == later)
}

#[test]
fn a_session_survives_the_service() {
    isolated(|| {
        let fixture = fixture_with(card());
        let (mut session, told) = open(&fixture);
        fixture.sandbox.restart().unwrap();
        works(&mut session, 0);
        assert_eq!(told.recoveries(), [Recovery::ConnectAgain]);
        told.clear();

        fixture.sandbox.kill().unwrap();
        let running = in_background(move || {
            works(&mut session, 1);
            session
        });
        told.wait(is_retry);
        assert_blocked(&running);
        fixture.sandbox.restart().unwrap();
        finish(&running);
        assert_eq!(numbers(&fixture.card), [0, 1]);
        assert_eq!(told.setups(), 1);
    });
}

#[test]
fn a_session_waits_for_a_program_that_has_the_card_to_itself() {
    isolated(|| {
        let fixture = fixture_with(card());
        let (mut session, told) = open(&fixture);
        // The session loses its connection, and another program is faster.
        fixture.sandbox.restart().unwrap();
        let exclusive = fixture.connect_exclusive();
        let running = in_background(move || works(&mut session, 0));
        told.wait(is_retry);
        assert_blocked(&running);
        drop(exclusive);
        finish(&running);
        let recoveries = told.recoveries();
        let mut recoveries = recoveries.iter();
        assert_eq!(recoveries.next(), Some(&Recovery::ConnectAgain));
        assert!(recoveries.all(|it| *it == Recovery::RetryLater));
        assert_eq!(numbers(&fixture.card), [0]);
    });
}

#[test]
fn a_session_waits_until_it_can_have_the_card_to_itself() {
    isolated(|| {
        let fixture = fixture_with(card());
        let other = fixture.connect();
        let told = Told::default();
        let exclusive = ConnectOptions::new().share_mode(ShareMode::Exclusive);
        let builder = builder(&fixture, &told).connect_options(exclusive);
        let opening = in_background(move || builder.open().unwrap());
        told.wait(|event| matches!(event, SessionEvent::Recovering { attempt: 2, .. }));
        drop(other);
        works(&mut finish(&opening), 0);
        let recoveries = told.recoveries();
        assert!(recoveries.iter().all(|it| *it == Recovery::RetryLater));
    });
}

/// pcsc-lite resets the card of a process that ends inside a transaction.
#[test]
fn a_session_survives_a_process_that_dies_in_a_transaction() {
    isolated_with_peer(
        |peers| {
            let fixture = fixture_with(card());
            let (mut session, _) = open(&fixture);
            for number in 0..10 {
                let peer = peers.spawn();
                peer.send(&fixture.reader.to_string());
                assert_eq!(peer.recv(), "held");
                // Occasionally, a new connection sees the reset.
                if number % 2 == 1 {
                    (session, _) = open_later(&fixture, || peer.kill());
                    works(&mut session, number);
                } else {
                    let running = in_background(move || {
                        works(&mut session, number);
                        session
                    });
                    assert_blocked(&running);
                    peer.kill();
                    session = finish(&running);
                }
            }
            assert_eq!(numbers(&fixture.card), (0..10).collect::<Vec<_>>());
        },
        |link| {
            let reader = ReaderName::new(link.recv()).unwrap();
            let context = Context::establish().unwrap();
            let mut card = context.connect(&reader, ConnectOptions::new()).unwrap();
            let _transaction = card.transaction().unwrap();
            link.send("held");
            link.recv();
        },
    );
}

/// Opens a session that must wait until `release`.
fn open_later(fixture: &Fixture, release: impl FnOnce()) -> (Session, Told) {
    let told = Told::default();
    let builder = builder(fixture, &told);
    let opening = in_background(move || builder.open().unwrap());
    assert_blocked(&opening);
    release();
    (finish(&opening), told)
}

#[test]
fn a_session_resets_a_card_whose_reader_has_failed() {
    isolated(|| {
        let sandbox = Sandbox::builder().driver(Driver::Kit).readers(2);
        let fixture = Fixture::of(sandbox.card(0, card()).start().unwrap());
        let (mut session, told) = open(&fixture);
        let resets = fixture.card.resets();
        let reader = fixture.sandbox.reader(0);
        let failed = session.run(|card| {
            let error = IfdError::COMMUNICATION_ERROR;
            reader.fail_next(IfdCall::Transmit, error).unwrap();
            card.transmit(&numbered(APPLICATION, 0))
        });
        let interrupted = matches!(failed, Err(SessionError::Interrupted { .. }));
        assert!(interrupted, "{failed:?}");
        assert_eq!(fixture.card.resets(), resets);
        works(&mut session, 1);
        assert_eq!(told.recoveries(), [Recovery::ResetCard]);
        assert_eq!(fixture.card.resets(), resets + 1);
        assert_eq!((told.setups(), told.connects()), (2, 0));
    });
}

/// RAW stays active until the card loses power or is reset.
#[test]
fn a_session_survives_another_protocol() {
    isolated(|| {
        let fixture = fixture_with(card());
        let (mut session, told) = open(&fixture);
        let mut other = fixture.connect();
        other
            .reconnect(ShareMode::Shared, Protocols::RAW, Initialization::Reset)
            .unwrap();
        works(&mut session, 0);
        let reset = told.count(|event| {
            matches!(
                event,
                SessionEvent::Reconnected {
                    initialization: Initialization::Reset,
                    ..
                }
            )
        });
        assert_eq!(reset, 1, "{:?}", told.all());
        assert_eq!(numbers(&fixture.card), [0]);
    });
}
