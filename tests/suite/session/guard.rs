//! Work that is not a closure.

use scard::{Response, SessionGuard, Transmit};

use super::*;

/// As in the traits of other crates: one method begins, another one sends.
trait Backend {
    type Card<'a>: Transmit + 'a
    where
        Self: 'a;

    fn begin(&mut self) -> Result<Self::Card<'_>, SessionError>;
}

struct OverSession(Session);

impl Backend for OverSession {
    type Card<'a> = SessionGuard<'a>;

    fn begin(&mut self) -> Result<SessionGuard<'_>, SessionError> {
        self.0.begin()
    }
}

fn random(backend: &mut impl Backend) -> Response {
    let mut card = backend.begin().unwrap();
    let command = "0084000008".parse().unwrap();
    card.exchange(&command).unwrap()
}

#[test]
fn traits_of_others_are_implemented_over_a_guard() {
    isolated(|| {
        let fixture = fixture_with(card());
        let (session, _) = open(&fixture);
        assert!(random(&mut OverSession(session)).status().is_success());
    });
}

#[test]
fn a_guard_excludes_others_and_is_set_up() {
    isolated(|| {
        let fixture = fixture_with(card());
        let (mut session, told) = open(&fixture);
        fixture.reset_by_another();
        let mut card = session.begin().unwrap();
        assert_eq!(told.recoveries(), [Recovery::Reconnect]);
        assert_eq!(told.setups(), 1);
        assert_eq!(card.transmit(&numbered(APPLICATION, 1)).unwrap(), OK);
        assert_eq!(card.completed(), 1);
        let other = fixture.use_by_another();
        assert_blocked(&other);
        card.end().unwrap();
        finish(&other).unwrap();
        works(&mut session, 2);
        // Dropped, and by a panic.
        drop(session.begin().unwrap());
        let panics = catch_unwind(AssertUnwindSafe(|| {
            let _card = session.begin().unwrap();
            panic!("on purpose");
        }));
        assert!(panics.is_err());
        finish(&fixture.use_by_another()).unwrap();
        works(&mut session, 3);
    });
}

/// The program handles failures in a guard; the next work finds the card ready.
#[test]
fn the_session_recovers_after_a_guard() {
    isolated(|| {
        let fixture = fixture_with(card());
        let (mut session, told) = open(&fixture);
        for ended in [true, false] {
            told.clear();
            let mut card = session.begin().unwrap();
            assert_eq!(card.transmit(&numbered(APPLICATION, 1)).unwrap(), OK);
            let slot = fixture.sandbox.reader(0);
            slot.remove().unwrap();
            slot.insert(fixture.card.clone()).unwrap();
            let error = card.transmit(&numbered(APPLICATION, 2)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::CardRemoved);
            match ended {
                true => drop(card.end()),
                false => drop(card),
            }
            works(&mut session, 3);
            assert_eq!(told.connects(), 1);
            assert_eq!(told.setups(), 2);
        }
    });
}

/// Each session learns what happened to its own card, whichever guard has ended its work.
#[test]
fn guards_can_swap_their_cards() {
    isolated(|| {
        let fixture = fixture_with(card());
        fixture.sandbox.reader(1).insert(card()).unwrap();
        let options = ConnectOptions::new().share_mode(ShareMode::Exclusive);
        let open = |reader: &ReaderName| {
            let told = Told::default();
            let builder = builder(&fixture, &told).reader(reader);
            let session = builder.connect_options(options.clone()).open().unwrap();
            told.clear();
            (session, told)
        };
        let (mut one, told_by_one) = open(&fixture.reader);
        let (mut two, told_by_two) = open(&fixture.empty_reader);
        let (mut first, mut second) = (one.begin().unwrap(), two.begin().unwrap());
        let slot = fixture.sandbox.reader(1);
        slot.remove().unwrap();
        slot.insert(card()).unwrap();
        second.transmit(&numbered(APPLICATION, 1)).unwrap_err();
        std::mem::swap(&mut *first, &mut *second);
        assert_eq!(*first.reader_name(), fixture.empty_reader);
        drop((first, second));
        works(&mut one, 2);
        works(&mut two, 3);
        assert_eq!((told_by_one.setups(), told_by_one.connects()), (0, 0));
        assert_eq!((told_by_two.setups(), told_by_two.connects()), (1, 1));
    });
}

/// Other programs are no longer kept out once the session works again.
#[test]
fn a_leaked_guard_ends_with_the_next_run() {
    isolated(|| {
        let fixture = fixture_with(card());
        let (mut session, _) = open(&fixture);
        std::mem::forget(session.begin().unwrap());
        works(&mut session, 1);
        finish(&fixture.use_by_another()).unwrap();
        let mut card = fixture.connect();
        std::mem::forget(card.transaction().unwrap());
        drop(card.transaction().unwrap());
        finish(&fixture.use_by_another()).unwrap();
    });
}

#[test]
fn a_panic_in_a_guard_makes_a_set_up_necessary() {
    isolated(|| {
        let fixture = fixture_with(card());
        let told = Told::default();
        let options = ConnectOptions::new().share_mode(ShareMode::Exclusive);
        let builder = builder(&fixture, &told).connect_options(options);
        let mut session = builder.open().unwrap();
        told.clear();
        works(&mut session, 1);
        assert_eq!(told.setups(), 0);
        let panics = catch_unwind(AssertUnwindSafe(|| {
            let _card = session.begin().unwrap();
            panic!("on purpose");
        }));
        assert!(panics.is_err());
        works(&mut session, 2);
        assert_eq!(told.setups(), 1);
    });
}

/// A deadline that passed in one run requires no recovery in the next.
#[test]
fn a_passed_deadline_is_over_with_its_run() {
    isolated(|| {
        let fixture = fixture_with(card());
        let builder = builder_with_upkeep(&fixture).attempts(0);
        let mut session = builder.open().unwrap();
        let late = |card: &mut SessionCard<'_>| {
            std::thread::sleep(DEADLINE);
            let error = card.transmit(&numbered(APPLICATION, 1)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        };
        session.set_timeout(Some(DEADLINE));
        late(&mut session.begin().unwrap());
        session.set_timeout(Some(LONG));
        works(&mut session, 2);
        session.set_timeout(Some(DEADLINE));
        let done = session.run(|card| {
            late(card);
            Ok::<_, Error>(())
        });
        done.unwrap();
        session.set_timeout(Some(LONG));
        works(&mut session, 3);
    });
}

#[test]
fn a_guard_keeps_the_time_of_the_session() {
    isolated(|| {
        let fixture = fixture_with(card());
        let mut session = builder_with_upkeep(&fixture).open().unwrap();
        session.set_timeout(Some(DEADLINE));
        let mut other = fixture.connect();
        let held = other.transaction().unwrap();
        assert_deadline(DEADLINE, || session.begin().map(drop));
        drop(held);
        let mut card = session.begin().unwrap();
        let late = card.wait_for(|time| {
            std::thread::sleep(time);
            None::<()>
        });
        assert_eq!(late.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
        drop(card);
        session.set_timeout(Some(LONG));
        works(&mut session, 1);
    });
}
