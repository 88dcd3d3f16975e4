//! Deadlines and attempts.

use super::*;

#[test]
fn deadlines_hold_whatever_is_waited_for() {
    isolated(|| {
        let fixture = fixture_with(card());
        let limited = || {
            builder(&fixture, &Told::default())
                .timeout(Some(LIMIT))
                .open()
        };
        let no_op = |session: &mut Session| session.run(|card| card.transmit(COMMAND));
        let mut session = limited().unwrap();

        // Another program's transaction, for a run and for an open.
        let mut kept = limited().unwrap();
        let mut other = fixture.connect();
        let transaction = other.transaction().unwrap();
        let cause = assert_deadline(|| no_op(&mut session)).unwrap();
        assert_eq!(cause.kind(), ErrorKind::DeadlineExceeded);
        assert_deadline(limited);
        assert_deadline(|| kept.keep_alive());
        transaction.end(Disposition::Leave).unwrap();
        drop(other);
        works(&mut session, 0);

        // A card.
        let slot = fixture.sandbox.reader(0);
        slot.remove().unwrap();
        let cause = assert_deadline(|| no_op(&mut session)).unwrap();
        assert_eq!(cause.kind(), ErrorKind::CardRemoved);
        let cause = assert_deadline(limited).unwrap();
        assert_eq!(cause.kind(), ErrorKind::NoCard);
        slot.insert(&fixture.card).unwrap();
        works(&mut session, 1);

        // An exclusive holder.
        fixture.sandbox.restart().unwrap();
        let exclusive = fixture.connect_exclusive();
        let cause = assert_deadline(|| no_op(&mut session)).unwrap();
        assert_eq!(cause.kind(), ErrorKind::SharingViolation);
        drop(exclusive);
        works(&mut session, 2);

        // A service that is stopped, while a connection is open and while none is.
        fixture.sandbox.pause().unwrap();
        for _ in 0..2 {
            assert_deadline(|| no_op(&mut session));
        }
        assert_deadline(limited);
        let begun = Instant::now();
        drop(session);
        assert!(begun.elapsed() < SOON / 4);
        fixture.sandbox.resume().unwrap();
        let mut session = limited().unwrap();
        fixture.sandbox.pause().unwrap();
        // The connection is open and nothing was given up yet.
        let begun = Instant::now();
        drop(session);
        assert!(begun.elapsed() < SOON / 4);
        fixture.sandbox.resume().unwrap();
        session = limited().unwrap();

        // A service that is not there.
        fixture.sandbox.kill().unwrap();
        let cause = assert_deadline(|| no_op(&mut session)).unwrap();
        assert_eq!(cause.kind(), ErrorKind::ServiceGone);
        fixture.sandbox.restart().unwrap();
        works(&mut session, 3);
        assert_eq!(numbers(&fixture.card), [0, 1, 2, 3]);
    });
}

#[test]
fn a_deadline_in_the_middle_of_the_work_interrupts_it() {
    isolated(|| {
        let slow = Applications::card(b"one").delay(LIMIT / 10);
        let fixture = fixture_with(slow);
        let told = Told::default();
        let builder = builder(&fixture, &told).identity(|_| Ok::<_, Error>(Vec::new()));
        let mut session = builder.timeout(Some(LIMIT)).open().unwrap();
        let interrupted = session.run(|card| -> Result<()> {
            for number in 0.. {
                card.transmit(&numbered(APPLICATION, number))?;
            }
            Ok(())
        });
        match interrupted.unwrap_err() {
            SessionError::Interrupted {
                error, completed, ..
            } => {
                assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
                assert!((1..10).contains(&completed), "{completed}");
            }
            error => panic!("{error:?}"),
        }
        works(&mut session, 100);
    });
}

#[test]
fn a_call_that_was_given_up_is_recovered_by_connecting_again() {
    isolated(|| {
        let fixture = fixture_with(card());
        let told = Told::default();
        let options = ConnectOptions::new().timeout(Some(LIMIT));
        let builder = builder(&fixture, &told).connect_options(options);
        let mut session = builder.open().unwrap();
        let mut other = fixture.connect();
        let transaction = other.transaction().unwrap();
        told.clear();
        let running = in_background(move || works(&mut session, 0));
        told.wait(|event| matches!(event, SessionEvent::Recovering { attempt: 2, .. }));
        transaction.end(Disposition::Leave).unwrap();
        finish(&running);
        assert!(
            told.recoveries()
                .iter()
                .all(|it| *it == Recovery::ConnectAgain)
        );
        assert_eq!(numbers(&fixture.card), [0]);
    });
}

#[test]
fn attempts_are_limited() {
    isolated(|| {
        let fixture = fixture_with(card());
        let told = Told::default();
        let mut session = builder(&fixture, &told).attempts(1).open().unwrap();
        fixture.reset_by_another();
        works(&mut session, 0);
        told.clear();
        let failed = session.run(|card| {
            // Each time again.
            fixture.sandbox.restart().unwrap();
            card.transmit(&numbered(APPLICATION, 1))
        });
        let failed = failed.unwrap_err();
        // Nothing is known of the card that the command was for.
        let gone = Some(ErrorKind::ServiceGone);
        assert_eq!(failed.error().map(Error::kind), gone, "{failed:?}");
        assert!(told.recoveries().len() <= 1);
        works(&mut session, 2);
    });
}

#[test]
fn a_session_need_not_wait_for_a_card() {
    isolated(|| {
        let fixture = fixture_with(card());
        let told = Told::default();
        let builder = builder(&fixture, &told).wait_for_card(false);
        let mut session = builder.open().unwrap();
        let slot = fixture.sandbox.reader(0);
        slot.remove().unwrap();
        let error = session.run(|card| card.transmit(COMMAND)).unwrap_err();
        assert!(matches!(&error, SessionError::Card(_)), "{error:?}");
        assert_eq!(error.error().map(Error::kind), Some(ErrorKind::NoCard));
        slot.insert(&fixture.card).unwrap();
        works(&mut session, 0);
        slot.remove().unwrap();
        slot.insert(&fixture.card).unwrap();
        works(&mut session, 1);
    });
}
