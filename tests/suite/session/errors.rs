//! Work and hooks with the errors of `anyhow`.

use anyhow::{Context as _, ensure};

use super::*;
use crate::support::applet::SERIAL;

fn select_application(card: &mut SessionCard<'_>) -> anyhow::Result<()> {
    let answer = card
        .transmit(&select(APPLICATION))
        .context("cannot select")?;
    ensure!(answer == OK, "no application: {answer:02X?}");
    Ok(())
}

fn serial_number(card: &mut SessionCard<'_>) -> anyhow::Result<Vec<u8>> {
    card.transmit(SERIAL).context("no serial number")
}

/// Without a context, `anyhow` hides the type of an error that it boxes.
#[test]
fn a_failure_is_known_by_its_text_and_a_foreign_one_is_not() {
    isolated(|| {
        let fixture = fixture_with(super::card());
        let (mut session, told) = open(&fixture);
        let unknown = scard::Attribute::from_raw(0x1234_5678);
        let mut runs = 0;
        let bare = session.run(|card| -> anyhow::Result<()> {
            runs += 1;
            let refused = card.attribute(unknown);
            card.status()?;
            refused?;
            Ok(())
        });
        let bare = bare.unwrap_err();
        assert!(matches!(bare, SessionError::Card(_)), "{bare:?}");
        assert_eq!((bare.kind(), runs), (Some(ErrorKind::Unsupported), 1));

        // An error of another connection to the same reader.
        let mut other = fixture.connect();
        fixture.reset_by_another();
        let foreign = other.transmit(COMMAND).unwrap_err();
        let _ = session.keep_alive();
        told.clear();
        let mut runs = 0;
        let work = session.run(|card| {
            runs += 1;
            let _ = card.attribute(unknown);
            card.status()?;
            Err::<(), _>(foreign.clone())
        });
        assert!(matches!(work, Err(SessionError::Work(_))), "{work:?}");
        assert_eq!((runs, told.recoveries().len()), (1, 0));
    });
}

fn send(card: &mut SessionCard<'_>, number: u32) -> anyhow::Result<()> {
    let answer = card.transmit(&numbered(APPLICATION, number));
    ensure!(answer.context("cannot send")? == OK, "refused");
    Ok(())
}

/// A program that does not know the errors of the library.
fn program(session: &mut Session, number: u32) -> anyhow::Result<()> {
    session.run(|card| -> anyhow::Result<()> { send(card, number) })?;
    Ok(())
}

fn open_with_anyhow(fixture: &Fixture, told: &Told) -> anyhow::Result<Session> {
    let session = builder(fixture, told)
        .setup(select_application)
        .identity(serial_number)
        .open()?;
    Ok(session)
}

#[test]
fn a_session_recovers_from_what_is_behind_an_error_of_anyhow() {
    isolated(|| {
        let (fixture, told) = (fixture_with(card()), Told::default());
        let mut session = open_with_anyhow(&fixture, &told).unwrap();
        program(&mut session, 0).unwrap();
        told.clear();
        fixture.reset_by_another();
        program(&mut session, 1).unwrap();
        assert_eq!(told.recoveries(), [Recovery::Reconnect]);

        // The service ends during the work, before any of its commands has run.
        let mut restarts = 0;
        session
            .run(|card| -> anyhow::Result<()> {
                if restarts < 2 {
                    restarts += 1;
                    fixture.sandbox.restart().unwrap();
                }
                send(card, 2)
            })
            .unwrap();
        assert_eq!(numbers(&fixture.card), [0, 1, 2]);
    });
}

#[test]
fn an_error_of_anyhow_comes_back_whole() {
    isolated(|| {
        let (fixture, told) = (fixture_with(card()), Told::default());
        let mut session = open_with_anyhow(&fixture, &told).unwrap();

        // The program's own error.
        let failed = session.run(|_| -> anyhow::Result<()> { anyhow::bail!("no") });
        let failed = failed.unwrap_err();
        assert!(matches!(failed, SessionError::Work(_)), "{failed:?}");
        assert_eq!(format!("{failed:#}"), "the work failed: no");
        assert_eq!((failed.kind(), failed.recovery()), (None, Recovery::None));

        // During the work.
        let mut interrupted = || -> anyhow::Result<()> {
            session.run(|card| -> anyhow::Result<()> {
                send(card, 0)?;
                fixture.sandbox.restart().unwrap();
                send(card, 1)
            })?;
            Ok(())
        };
        let error = interrupted().unwrap_err();
        let found = Error::find(error.as_ref()).unwrap();
        assert_eq!(found.kind(), ErrorKind::ServiceGone);
        let chain: Vec<String> = error.chain().map(ToString::to_string).collect();
        let own = [&chain[0], &chain[1]];
        let may = found.command_may_have_run();
        let and_one = if may {
            " and one that may have run"
        } else {
            ""
        };
        let after = format!("the work was interrupted after 1 command{and_one}");
        assert_eq!(own, [&after, "cannot send"]);
        assert_eq!(chain[2..], [found.to_string()]);
        assert_eq!(
            error.downcast_ref::<SessionError>().unwrap().error(),
            Some(found)
        );

        program(&mut session, 2).unwrap();
        assert_eq!(numbers(&fixture.card), [0, 2]);
    });
}

/// The last call succeeds, but the work and the hook return an earlier failure.
#[test]
fn a_failure_that_is_returned_late_is_a_failure_of_the_card() {
    fn late(card: &mut SessionCard<'_>) -> anyhow::Result<()> {
        let refused = card.transmit(&[]);
        card.status()?;
        refused.context("late")?;
        Ok(())
    }
    isolated(|| {
        let (fixture, told) = (fixture_with(card()), Told::default());
        let mut session = open_with_anyhow(&fixture, &told).unwrap();
        let in_work = session.run(late).unwrap_err();
        let in_hook = builder(&fixture, &told).setup(late).open().unwrap_err();
        for error in [in_work, in_hook] {
            assert!(matches!(error, SessionError::Card(_)), "{error:?}");
            assert_eq!(error.kind(), Some(ErrorKind::InvalidArgument));
        }

        // A failure that is not returned does not count.
        let own = session.run(|card| -> anyhow::Result<()> {
            let _ = card.transmit(&[]);
            card.status()?;
            anyhow::bail!("no")
        });
        assert!(matches!(own, Err(SessionError::Work(_))), "{own:?}");
        program(&mut session, 0).unwrap();
        assert_eq!(numbers(&fixture.card), [0]);
    });
}
