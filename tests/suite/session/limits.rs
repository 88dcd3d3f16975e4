//! Deadlines and attempts.

use super::*;

#[test]
fn deadlines_hold_whatever_is_waited_for() {
    isolated(|| {
        let fixture = fixture_with(card());
        // Whatever should succeed has more time.
        let patient = || builder(&fixture, &Told::default()).open().unwrap();
        let limited = || {
            builder(&fixture, &Told::default())
                .timeout(Some(DEADLINE))
                .open()
        };
        let no_op = |session: &mut Session| {
            session.set_timeout(Some(DEADLINE));
            let answer = session.run(|card| card.transmit(COMMAND));
            session.set_timeout(Some(LONG));
            answer
        };
        let mut session = patient();

        // Waits for another program's transaction, in a run and in an open.
        let mut kept = patient();
        kept.set_timeout(Some(LIMIT));
        let mut other = fixture.connect();
        let transaction = other.transaction().unwrap();
        let cause = assert_deadline(DEADLINE, || no_op(&mut session)).unwrap();
        assert_eq!(cause.kind(), ErrorKind::DeadlineExceeded);
        assert_deadline(DEADLINE, limited);
        assert_deadline(LIMIT, || kept.keep_alive());
        transaction.end(Disposition::Leave).unwrap();
        drop(other);
        works(&mut session, 0);

        // For a card.
        let slot = fixture.sandbox.reader(0);
        slot.remove().unwrap();
        let cause = assert_deadline(DEADLINE, || no_op(&mut session)).unwrap();
        assert_eq!(cause.kind(), ErrorKind::CardRemoved);
        let cause = assert_deadline(DEADLINE, limited).unwrap();
        assert_eq!(cause.kind(), ErrorKind::NoCard);
        slot.insert(&fixture.card).unwrap();
        works(&mut session, 1);

        // For the end of exclusive access.
        fixture.sandbox.restart().unwrap();
        let exclusive = fixture.connect_exclusive();
        let cause = assert_deadline(DEADLINE, || no_op(&mut session)).unwrap();
        assert_eq!(cause.kind(), ErrorKind::SharingViolation);
        drop(exclusive);
        works(&mut session, 2);

        // For a stopped service, with an open connection and without.
        fixture.sandbox.pause().unwrap();
        for _ in 0..2 {
            assert_deadline(DEADLINE, || no_op(&mut session));
        }
        assert_deadline(DEADLINE, limited);
        session.set_timeout(Some(LIMIT));
        let begun = Instant::now();
        drop(session);
        assert!(begun.elapsed() < SOON / 4);
        fixture.sandbox.resume().unwrap();
        let mut session = patient();
        session.set_timeout(Some(LIMIT));
        fixture.sandbox.pause().unwrap();
        // The connection is open, and nothing has been given up yet.
        let begun = Instant::now();
        drop(session);
        assert!(begun.elapsed() < SOON / 4);
        fixture.sandbox.resume().unwrap();
        session = patient();

        // For a missing service.
        fixture.sandbox.kill().unwrap();
        let cause = assert_deadline(DEADLINE, || no_op(&mut session)).unwrap();
        assert_eq!(cause.kind(), ErrorKind::ServiceGone);
        fixture.sandbox.restart().unwrap();
        works(&mut session, 3);
        assert_eq!(numbers(&fixture.card), [0, 1, 2, 3]);
    });
}

#[test]
fn a_deadline_in_the_middle_of_the_work_interrupts_it() {
    isolated(|| {
        let slow = Applications::card(b"one").delay(DEADLINE / 10);
        let fixture = fixture_with(slow);
        let told = Told::default();
        let builder = builder(&fixture, &told).identity(|_| Ok::<_, Error>(Vec::new()));
        let mut session = builder.open().unwrap();
        session.set_timeout(Some(DEADLINE));
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
        session.set_timeout(Some(LONG));
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
            // In each run again.
            fixture.sandbox.restart().unwrap();
            card.transmit(&numbered(APPLICATION, 1))
        });
        let failed = failed.unwrap_err();
        // Nothing is known about the card of the command.
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

/// Even without a card, and with a connection on which another program keeps the session out.
#[test]
fn another_time_holds_from_the_next_run_on() {
    isolated(|| {
        let fixture = fixture_with(card());
        let mut session = builder(&fixture, &Told::default()).build();
        works(&mut session, 0);
        session.set_timeout(Some(LIMIT));
        let mut other = fixture.connect();
        let held = other.transaction().unwrap();
        assert_deadline(LIMIT, || session.run(|card| card.transmit(COMMAND)));
        drop(held);
        let slot = fixture.sandbox.reader(0);
        slot.remove().unwrap();
        assert_deadline(LIMIT, || session.begin().map(drop));
        // Longer than before: it still waits when the other one has ended.
        session.set_timeout(None);
        let running = in_background(move || works(&mut session, 1));
        assert_blocked(&running);
        slot.insert(&fixture.card).unwrap();
        finish(&running);
        assert_eq!(numbers(&fixture.card), [0, 1]);
    });
}

#[test]
fn a_session_tells_how_long_it_waited_for_others() {
    isolated(|| {
        let fixture = fixture_with(card());
        let (mut session, told) = open(&fixture);
        let waits = || {
            let events = told.all().into_iter();
            let duration = events.filter_map(|event| match event {
                SessionEvent::WaitedForOthers { duration, .. } => Some(duration),
                _ => None,
            });
            duration.collect::<Vec<_>>()
        };
        for begins in [false, true] {
            told.clear();
            let mut other = fixture.connect();
            let held = other.transaction().unwrap();
            let begun = Instant::now();
            let (starts, started) = mpsc::channel();
            let running = in_background(move || {
                starts.send(()).unwrap();
                match begins {
                    true => session.begin().map(drop).unwrap(),
                    false => works(&mut session, 1),
                }
                session
            });
            started.recv_timeout(SOON).unwrap();
            let has_started = Instant::now();
            assert_blocked(&running);
            let least = has_started.elapsed();
            held.end(Disposition::Leave).unwrap();
            session = finish(&running);
            let waits = waits();
            // The thread may be late to get there.
            let around = least / 2..=begun.elapsed();
            assert!(
                matches!(waits[..], [one] if around.contains(&one)),
                "{waits:?} is not once {around:?}"
            );
        }
    });
}

/// How late waits for a card end: on a busy machine some are late, but not all.
#[test]
fn waits_for_a_card_end_at_their_deadline() {
    const WAITS: usize = 8;
    const LATE: Duration = Duration::from_millis(20);
    isolated(|| {
        let fixture = fixture_with(card());
        let wanted = CardFilter::new().reader(&fixture.empty_reader);
        let open = || {
            let builder = Session::builder(&fixture.context).reader(&fixture.empty_reader);
            let error = builder.timeout(Some(LIMIT)).open().unwrap_err();
            assert!(matches!(error, SessionError::Deadline { .. }), "{error:?}");
        };
        let wait = || {
            let error = fixture.context.wait_for_card(&wanted, Some(LIMIT));
            assert_eq!(error.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
        };
        let calls: [(&str, &dyn Fn()); 2] = [("open", &open), ("wait_for_card", &wait)];
        for (name, call) in calls {
            let mut late: Vec<Duration> = (0..WAITS)
                .map(|_| {
                    let begun = Instant::now();
                    call();
                    let took = begun.elapsed();
                    assert!(took >= LIMIT, "{name} gave up after {took:?}");
                    took - LIMIT
                })
                .collect();
            late.sort();
            println!("{name}: {late:.1?} past the deadline");
            assert!(late[0] < LATE, "{name}: {late:.1?} past the deadline");
        }
    });
}

/// A mute card that turns out to be the wrong one, while the service hangs.
#[test]
fn a_card_that_is_not_meant_is_let_go_of_in_time() {
    isolated(|| {
        let sandbox = Sandbox::builder().driver(Driver::Kit).readers(1);
        let sandbox = Arc::new(sandbox.start().unwrap());
        let reader = sandbox.reader(0);
        reader
            .fail_next(IfdCall::PowerOn, IfdError::POWER_ACTION)
            .unwrap();
        reader
            .insert_now(Applications::card(b"one").atr(atr::T1))
            .unwrap();
        let context = Context::establish().unwrap();
        wait_until("the card to be mute", || {
            let states = context.reader_states().unwrap();
            states.iter().any(|state| state.is_mute())
        });
        let (hangs, (paused, was_paused)) = (Arc::clone(&sandbox), mpsc::channel());
        let other = CardFilter::new().matching(move |state| {
            // Once the connect has powered it up.
            if !state.is_mute() {
                hangs.pause().unwrap();
                paused.send(()).unwrap();
            }
            false
        });
        // A look at a mute card takes 0.4 seconds.
        let limit = 5 * LIMIT;
        let builder = Session::builder(&context).cards(other);
        let opening = in_background(move || {
            let begun = Instant::now();
            let error = builder.timeout(Some(limit)).open().unwrap_err();
            (error.to_string(), begun.elapsed())
        });
        let (error, took) = finish(&opening);
        assert!(took < limit + SOON / 4, "{error} after {took:?}");
        sandbox.resume().unwrap();
        was_paused.try_recv().unwrap();
    });
}
