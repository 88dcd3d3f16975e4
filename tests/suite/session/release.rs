//! A session lets go of its card.

use super::*;
use crate::support::usage::threads_named;
use scard::Card;

fn connect_exclusively(fixture: &Fixture) -> Result<Card> {
    fixture.try_connect(ConnectOptions::new().share_mode(ShareMode::Exclusive))
}

fn is_held(fixture: &Fixture) -> bool {
    match connect_exclusively(fixture) {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::SharingViolation);
            true
        }
    }
}

#[test]
fn a_session_lets_go_on_request() {
    isolated(|| {
        let fixture = fixture_with(card());
        let (mut session, told) = open(&fixture);
        works(&mut session, 1);
        assert!(is_held(&fixture));
        let identity = session.identity().map(<[u8]>::to_vec);
        session.release();
        session.release();
        assert_eq!(told.count(|event| *event == SessionEvent::Released), 1);
        let other = connect_exclusively(&fixture).unwrap();
        // It is not taken back without a request.
        session.keep_alive().unwrap();
        drop(other);
        session.keep_alive().unwrap();
        assert!(!is_held(&fixture));
        told.clear();
        works(&mut session, 2);
        assert_eq!((told.connects(), told.setups()), (1, 1));
        assert_eq!(session.identity().map(<[u8]>::to_vec), identity);
        session.keep_alive().unwrap();
        assert!(is_held(&fixture));
    });
}

/// While it has no card.
#[test]
fn a_session_that_was_told_to_let_go_does_not_connect_unasked() {
    isolated(|| {
        let fixture = fixture_with(card());
        let (mut session, told) = open(&fixture);
        let slot = fixture.sandbox.reader(0);
        slot.remove().unwrap();
        session.keep_alive().unwrap_err();
        session.release();
        slot.insert(&fixture.card).unwrap();
        session.keep_alive().unwrap();
        assert!(!is_held(&fixture));
        assert_eq!(told.count(|event| *event == SessionEvent::Released), 0);
        works(&mut session, 1);
        assert!(is_held(&fixture));
    });
}

#[test]
fn an_idle_session_lets_go() {
    isolated(|| {
        let fixture = fixture_with(card());
        let told = Told::default();
        let builder = builder(&fixture, &told).keep_alive(Duration::from_millis(1));
        let mut session = builder.release_after(NEVER).open().unwrap();
        works(&mut session, 1);
        assert!(is_held(&fixture));
        wait_until("the card to be free", || !is_held(&fixture));
        told.clear();
        works(&mut session, 2);
        assert_eq!(told.all().first(), Some(&SessionEvent::Released));
        assert_eq!((told.connects(), told.setups()), (1, 1));
        // Keeping it alive does not count as use.
        wait_until("the card to be free", || {
            session.keep_alive().unwrap();
            !is_held(&fixture)
        });
        // Neither thread nor card is left behind.
        works(&mut session, 3);
        drop(session);
        assert!(!is_held(&fixture));
        wait_until("the end of the thread", || threads_named("scard-idle") == 0);
    });
}

#[test]
fn a_session_in_use_does_not_let_go() {
    isolated(|| {
        let fixture = fixture_with(card());
        let told = Told::default();
        let short = Duration::from_millis(1);
        let mut session = builder(&fixture, &told)
            .release_after(short)
            .open()
            .unwrap();
        let answer = session.run(|card| {
            let other = fixture.use_by_another();
            // Longer than its idle time.
            assert_blocked(&other);
            card.transmit(&numbered(APPLICATION, 1))
        });
        assert_eq!(answer.unwrap(), OK);
    });
}

/// The previous run was longer ago than the session's idle time.
#[test]
fn a_guard_is_a_use() {
    isolated(|| {
        let fixture = fixture_with(card());
        let idle = Duration::from_secs(2);
        let told = Told::default();
        let mut session = builder(&fixture, &told).release_after(idle).build();
        works(&mut session, 1);
        let ran = Instant::now();
        let guard = session.begin().unwrap();
        let other = fixture.use_by_another();
        while ran.elapsed() < idle {
            assert_blocked(&other);
        }
        guard.end().unwrap();
        finish(&other).unwrap();
        // It is idle from now on.
        session.keep_alive().unwrap();
        assert_blocked(&in_background({
            let (context, reader) = (fixture.context.clone(), fixture.reader.clone());
            move || {
                let exclusive = ConnectOptions::new().share_mode(ShareMode::Exclusive);
                while context.connect(&reader, exclusive.clone()).is_err() {}
            }
        }));
        assert_eq!(told.count(|event| *event == SessionEvent::Released), 0);
    });
}

#[test]
fn what_failed_before_it_let_go_is_not_recovered_from() {
    isolated(|| {
        let sandbox = Sandbox::builder().driver(Driver::Kit).readers(2);
        let fixture = Fixture::of(sandbox.card(0, card()).start().unwrap());
        let told = Told::default();
        let builder = builder(&fixture, &told).release_after(Duration::from_millis(20));
        let mut session = builder.open().unwrap();
        let reader = fixture.sandbox.reader(0);
        let error = IfdError::COMMUNICATION_ERROR;
        // The work does without the command that failed.
        let work = session.run(|card| {
            reader.fail_next(IfdCall::Transmit, error).unwrap();
            Ok::<_, Error>(card.transmit(COMMAND).is_ok())
        });
        assert!(!work.unwrap());
        wait_until("the session to let go", || !is_held(&fixture));
        told.clear();
        works(&mut session, 1);
        assert!(told.recoveries().is_empty(), "{:?}", told.all());
    });
}
