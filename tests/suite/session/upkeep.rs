//! Choosing a reader, stopping, and keeping the card alive.

use super::*;
use crate::support::usage::{threads, threads_since};

#[test]
fn any_reader_will_do_and_the_last_one_is_preferred() {
    isolated(|| {
        let fixture = fixture_with(card());
        let second = fixture.sandbox.reader(1).insert(card()).unwrap();
        let empty = fixture.empty_reader.clone();
        let wanted = CardFilter::new().matching(move |state| *state.reader_name() == empty);
        let builder = Session::builder(&fixture.context).setup(set_up);
        let mut session = builder.cards(wanted).open().unwrap();
        assert_eq!(session.reader_name(), Some(&fixture.empty_reader));
        works(&mut session, 0);
        let mut session = Session::builder(&fixture.context)
            .setup(set_up)
            .open()
            .unwrap();
        assert_eq!(session.reader_name(), Some(&fixture.reader));
        fixture.sandbox.reader(0).remove().unwrap();
        works(&mut session, 1);
        assert_eq!(session.reader_name(), Some(&fixture.empty_reader));
        fixture.sandbox.reader(0).insert(&fixture.card).unwrap();
        fixture.sandbox.restart().unwrap();
        works(&mut session, 2);
        assert_eq!(session.reader_name(), Some(&fixture.empty_reader));
        assert_eq!(numbers(&second), [0, 1, 2]);
    });
}

#[test]
fn an_abort_stops_a_session_that_waits_for_a_card() {
    isolated(|| {
        let fixture = fixture_with(card());
        fixture.sandbox.reader(0).remove().unwrap();
        let abort = AbortHandle::new();
        let told = Told::default();
        let builder = builder(&fixture, &told)
            .timeout(None)
            .connect_options(ConnectOptions::new().abort_handle(&abort));
        let opening = in_background(move || builder.open().map(drop));
        told.wait(|event| *event == SessionEvent::WaitingForCard);
        assert_blocked(&opening);
        abort.abort();
        let error = finish(&opening).unwrap_err();
        let kind = error.error().map(Error::kind);
        assert_eq!(kind, Some(ErrorKind::Cancelled), "{error:?}");
    });
}

#[test]
fn without_a_deadline_a_session_waits_and_has_no_thread() {
    isolated(|| {
        let fixture = fixture_with(card());
        let before = threads();
        let told = Told::default();
        let mut session = builder(&fixture, &told).timeout(None).open().unwrap();
        assert_eq!(threads_since(&before), 0);
        works(&mut session, 0);
        fixture.sandbox.reader(0).remove().unwrap();
        let running = in_background(move || works(&mut session, 1));
        assert_blocked(&running);
        fixture.sandbox.reader(0).insert(&fixture.card).unwrap();
        finish(&running);
    });
}

#[test]
fn a_session_is_kept_alive_between_runs() {
    isolated(|| {
        let fixture = fixture_with(card());
        let told = Told::default();
        let builder = builder(&fixture, &told).keep_alive(Duration::from_millis(10));
        let mut session = builder.setup_when(SetUpWhen::OnReset).open().unwrap();
        let powered_off = fixture.card.power_offs();
        told.clear();
        let (order, orders) = mpsc::channel();
        let running = in_background(move || {
            let number = session.wait_for(|time| orders.recv_timeout(time).ok());
            works(&mut session, number);
            session
        });
        // The daemon would have powered an unused card down.
        assert_blocked(&running);
        assert!(told.all().is_empty(), "{:?}", told.all());
        assert_eq!(fixture.card.power_offs(), powered_off);
        // The session notices what happens meanwhile before the next run.
        fixture.reset_by_another();
        told.wait(|event| *event == SessionEvent::SetUp);
        fixture.sandbox.restart().unwrap();
        told.wait(|event| matches!(event, SessionEvent::Connected { .. }));
        told.wait(|event| *event == SessionEvent::SetUp);
        order.send(5).unwrap();
        let mut session = finish(&running);
        assert_eq!(numbers(&fixture.card), [5]);
        session.keep_alive().unwrap();

        // A missing card or service does not block the caller.
        let slot = fixture.sandbox.reader(0);
        slot.remove().unwrap();
        let error = session.keep_alive().unwrap_err();
        assert_eq!(error.error().map(Error::kind), Some(ErrorKind::NoCard));
        fixture.sandbox.kill().unwrap();
        let begun = Instant::now();
        let mut waits = 0;
        session.wait_for(|time| {
            std::thread::sleep(time);
            waits += 1;
            (waits == 3).then_some(())
        });
        assert!(begun.elapsed() < SOON / 4, "{:?}", begun.elapsed());
        fixture.sandbox.restart().unwrap();
        assert!(session.keep_alive().is_err());
        slot.insert(&fixture.card).unwrap();
        session.keep_alive().unwrap();
        told.clear();
        works(&mut session, 6);
        assert!(told.all().is_empty(), "{:?}", told.all());
    });
}

#[test]
fn a_transaction_is_kept_alive_while_the_user_thinks() {
    isolated(|| {
        let fixture = fixture_with(card());
        let told = Told::default();
        let builder = builder(&fixture, &told).keep_alive(Duration::from_millis(10));
        let mut session = builder.open().unwrap();
        let slept = |time: Duration| {
            assert!(time <= Duration::from_millis(10));
            std::thread::sleep(time);
        };
        let mut waits = 0;
        let answer = session.run(|card| {
            let number = card.wait_for(|time| {
                slept(time);
                waits += 1;
                (waits == 5).then_some(waits)
            })?;
            card.transmit(&numbered(APPLICATION, number))
        });
        assert_eq!((answer.unwrap().as_slice(), waits), (OK, 5));

        // Pulling the card out ends the wait. Nothing was done yet, so the work begins again.
        let slot = fixture.sandbox.reader(0);
        let mut calls = 0;
        let answer = session.run(|card| {
            calls += 1;
            if calls == 1 {
                slot.remove().unwrap();
                let lost = card.wait_for::<()>(|time| {
                    slept(time);
                    None
                });
                slot.insert(&fixture.card).unwrap();
                lost?;
            }
            card.transmit(&numbered(APPLICATION, 6))
        });
        assert_eq!((answer.unwrap().as_slice(), calls), (OK, 2));

        // It does not go past the deadline.
        drop(session);
        let mut session = builder_with_upkeep(&fixture).open().unwrap();
        session.set_timeout(Some(DEADLINE));
        assert_deadline(DEADLINE, || {
            session.run(|card| {
                card.wait_for::<()>(|time| {
                    slept(time);
                    None
                })
            })
        });
        session.set_timeout(Some(LONG));
        works(&mut session, 7);
        assert_eq!(numbers(&fixture.card), [5, 6, 7]);
    });
}

/// However an idle session learns that the card is gone.
#[test]
fn a_card_that_is_lost_between_runs_is_told_once() {
    isolated(|| {
        let fixture = fixture_with(card());
        let (mut session, told) = open(&fixture);
        let lost = || told.count(|event| matches!(event, SessionEvent::CardLost { .. }));
        for times in [1, 2] {
            fixture.sandbox.reader(0).remove().unwrap();
            for _ in 0..3 {
                session.keep_alive().unwrap_err();
            }
            assert_eq!(lost(), times, "{:?}", told.all());
            fixture.sandbox.reader(0).insert(&fixture.card).unwrap();
            session.keep_alive().unwrap();
            assert_eq!(lost(), times);
        }
    });
}

/// Keeping the card alive does not replace the set-up that it left out.
#[test]
fn a_set_up_that_failed_is_made_by_the_next_run() {
    isolated(|| {
        let fixture = fixture_with(card());
        let told = Told::default();
        let mut fails = true;
        let mut session = builder(&fixture, &told)
            .setup_when(SetUpWhen::OnReset)
            .setup(move |card| match std::mem::take(&mut fails) {
                true => Err("not now".into()),
                false => set_up(card),
            })
            .build();
        let error = session.run(|card| card.transmit(COMMAND)).unwrap_err();
        assert!(matches!(error, SessionError::Hook(_)), "{error:?}");
        fixture.reset_by_another();
        session.keep_alive().unwrap();
        assert_eq!(told.setups(), 0);
        works(&mut session, 1);
        assert_eq!(told.setups(), 1);
        // And then it is not repeated.
        works(&mut session, 2);
        assert_eq!(told.setups(), 1);
    });
}
