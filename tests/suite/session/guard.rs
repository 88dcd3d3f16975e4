//! Work that is not a closure.

use scard::{Response, Transmit};

use super::*;

/// As traits of other crates have it: something that begins, and something that sends.
trait Backend {
    type Card<'a>: Transmit + 'a
    where
        Self: 'a;

    fn begin(&mut self) -> Result<Self::Card<'_>, SessionError>;
}

struct OverSession(Session);

struct Guarded<'a>(scard::SessionGuard<'a>);

impl scard::Control for Guarded<'_> {
    fn reader_name(&self) -> &ReaderName {
        self.0.reader_name()
    }
}

impl Transmit for Guarded<'_> {
    fn protocol(&self) -> Option<scard::Protocol> {
        self.0.protocol()
    }

    fn atr(&mut self) -> Result<scard::Atr> {
        Ok(self.0.status()?.atr())
    }

    fn send(&mut self, command: scard::apdu::CommandBytes<'_>) -> Result<&[u8]> {
        self.0.send(command)
    }
}

impl Backend for OverSession {
    type Card<'a> = Guarded<'a>;

    fn begin(&mut self) -> Result<Guarded<'_>, SessionError> {
        Ok(Guarded(self.0.begin()?))
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

/// What fails in a guard is up to the program; the next work finds the card ready.
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

#[test]
fn a_guard_keeps_the_time_of_the_session() {
    isolated(|| {
        let fixture = fixture_with(card());
        let builder = builder_with_deadline(&fixture);
        let mut session = builder.open().unwrap();
        let mut other = fixture.connect();
        let held = other.transaction().unwrap();
        assert_deadline(|| session.begin().map(drop));
        drop(held);
        let mut card = session.begin().unwrap();
        let late = card.wait_for(|time| {
            std::thread::sleep(time);
            None::<()>
        });
        assert_eq!(late.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
        drop(card);
        works(&mut session, 1);
    });
}
