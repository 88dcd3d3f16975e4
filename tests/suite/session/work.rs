//! Which commands are repeated and which are not, and where they go.

use super::*;
use crate::support::iso7816::{self, Iso7816};
use scard::LogicalChannel;
use scard::apdu::ExchangeError;

/// The work of the next tests: three numbered commands, from `first` on.
fn three(card: &mut SessionCard<'_>, first: u32) -> Result<usize> {
    for number in first..first + 3 {
        assert_eq!(card.transmit(&numbered(APPLICATION, number))?, OK);
    }
    Ok(card.completed())
}

#[test]
fn interrupted_work_is_not_repeated() {
    isolated(|| {
        let faulty = Applications::card_with(b"one", [(2, Reply::Drop), (5, Reply::Drop)]);
        let fixture = fixture_with(faulty);
        let (mut session, told) = open(&fixture);
        let mut calls = 0;
        let interrupted = session.run(|card| {
            calls += 1;
            three(card, 0)
        });
        match interrupted.unwrap_err() {
            SessionError::Interrupted {
                error,
                completed,
                work,
                ..
            } => {
                assert_eq!((calls, completed), (1, 1));
                assert!(error.command_may_have_run());
                assert_eq!(work.downcast_ref(), Some(&error));
            }
            error => panic!("{error:?}"),
        }
        assert_eq!(numbers(&fixture.card), [0, 1], "and never 2");

        // The next run recovers, and repeats the set-up.
        let slot = fixture.sandbox.reader(0);
        slot.remove().unwrap();
        slot.insert(&fixture.card).unwrap();
        told.clear();
        works(&mut session, 10);
        assert_eq!(told.setups(), 1);
        assert!(!told.recoveries().is_empty() || told.connects() == 1);

        // Unless the work declares that it can be repeated.
        let card = fixture.card.clone();
        let running = in_background(move || {
            let mut calls = 0;
            let completed = session.run_restartable(|card| {
                calls += 1;
                three(card, 20)
            });
            (completed.unwrap(), calls)
        });
        card.wait_until(SOON, |stats| stats.commands >= 5 && !stats.powered)
            .unwrap();
        slot.remove().unwrap();
        slot.insert(&card).unwrap();
        assert_eq!(finish(&running), (3, 2));
        assert_eq!(numbers(&card), [0, 1, 10, 20, 21, 20, 21, 22]);
    });
}

/// A control code may make the reader send a command to the card.
#[test]
fn control_counts_as_a_command_and_a_status_does_not() {
    isolated(|| {
        let sandbox = Sandbox::builder().driver(Driver::Kit).readers(2);
        let fixture = Fixture::of(sandbox.card(0, card()).start().unwrap());
        let reader = fixture.sandbox.reader(0);
        reader.on_control(|_, _| Ok(Vec::new())).unwrap();
        let (mut session, _) = open(&fixture);
        for (controls, expected) in [(false, 2), (true, 1)] {
            let mut calls = 0;
            let answer = session.run(|card| {
                calls += 1;
                card.status()?;
                if controls {
                    card.control(ControlCode::GET_FEATURE_REQUEST, &[])?;
                    assert_eq!(card.completed(), 1);
                }
                if calls == 1 {
                    fixture.sandbox.restart().unwrap();
                }
                card.transmit(&numbered(APPLICATION, 0))
            });
            assert_eq!(calls, expected, "{answer:?}");
            let interrupted = matches!(answer, Err(SessionError::Interrupted { .. }));
            assert_eq!(interrupted, controls, "{answer:?}");
        }
    });
}

#[test]
fn work_that_fails_by_itself_is_told_apart() {
    isolated(|| {
        let fixture = fixture_with(card());
        let (mut session, told) = open(&fixture);
        let failed = session.run(|card| {
            card.transmit(&numbered(APPLICATION, 0)).unwrap();
            Err::<(), _>("no")
        });
        match failed.unwrap_err() {
            SessionError::Work(error) => assert_eq!(error.to_string(), "no"),
            error => panic!("{error:?}"),
        }

        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _ = session.run(|_| -> Result<()> { panic!("on purpose") });
        }));
        assert!(panicked.is_err());
        works(&mut session, 1);
        // The transaction has ended.
        let mut other = fixture.connect();
        let answer = in_background(move || other.transmit(&select(1)));
        assert_eq!(finish(&answer).unwrap(), OK);
        assert!(told.recoveries().is_empty());

        // A wrong call requires no recovery.
        let wrong = session.run(|card| card.transmit(&[]));
        let wrong = wrong.unwrap_err();
        assert!(matches!(&wrong, SessionError::Card(_)), "{wrong:?}");
        assert_eq!(wrong.error().unwrap().recovery(), Recovery::FixCall);

        // A failure that the work ignores does not count, and the next run repeats the set-up.
        told.clear();
        let status = session.run(|card| {
            fixture.sandbox.restart().unwrap();
            let _ = card.status();
            Ok::<_, Error>(())
        });
        assert!(status.is_ok());
        works(&mut session, 2);
        assert_eq!(told.recoveries(), [Recovery::ConnectAgain]);
        assert_eq!(numbers(&fixture.card), [0, 1, 2]);
    });
}

#[test]
fn hooks_that_fail_by_themselves_are_told_apart() {
    isolated(|| {
        let fixture = fixture_with(card());
        let refused = Session::builder(&fixture.context)
            .setup(|_| Err("not this card"))
            .open();
        match refused.unwrap_err() {
            SessionError::Hook(error) => assert_eq!(error.to_string(), "not this card"),
            error => panic!("{error:?}"),
        }
    });
}

#[test]
fn the_set_up_runs_when_it_is_told_to() {
    isolated(|| {
        let fixture = fixture_with(card());
        // Set-ups after open, two runs, a reset by another and two runs.
        for (when, share_mode, expected) in [
            (SetUpWhen::Always, ShareMode::Exclusive, [1, 2, 3, 4, 5]),
            (SetUpWhen::OnLoss, ShareMode::Exclusive, [1, 1, 1, 2, 2]),
            (SetUpWhen::OnLoss, ShareMode::Shared, [1, 2, 3, 4, 5]),
            (SetUpWhen::OnReset, ShareMode::Shared, [1, 1, 1, 2, 2]),
        ] {
            let told = Told::default();
            let mut session = builder(&fixture, &told)
                .connect_options(ConnectOptions::new().share_mode(share_mode))
                .setup_when(when)
                .open()
                .unwrap();
            let mut seen = vec![told.setups()];
            for round in 0..2 {
                for number in 0..2 {
                    works(&mut session, number);
                    seen.push(told.setups());
                }
                if round == 0 {
                    match share_mode {
                        ShareMode::Shared => fixture.reset_by_another(),
                        // Nothing else can, while the service lives.
                        ShareMode::Exclusive => fixture.sandbox.restart().unwrap(),
                    }
                }
            }
            assert_eq!(seen, expected, "{when:?} {share_mode:?}");
        }
    });
}

/// Another program selects its own application between two runs.
#[test]
fn commands_never_get_to_the_application_of_another_program() {
    isolated(|| {
        let fixture = fixture_with(card());
        let (mut session, _) = open(&fixture);
        let mut other = fixture.connect();
        for number in 0..5 {
            assert_eq!(other.transmit(&select(APPLICATION + 1)).unwrap(), OK);
            works(&mut session, number);
        }
        assert_eq!(numbers(&fixture.card), [0, 1, 2, 3, 4]);
    });
}

/// The channels of a card end with a reset, and the repeated work opens them again.
#[test]
fn a_logical_channel_is_used_within_runs() {
    isolated(|| {
        let fixture = fixture_with(Iso7816::card(scard_testkit::atr::T1));
        let told = Told::default();
        let observer = told.clone();
        let mut session = Session::builder(&fixture.context)
            .reader(&fixture.reader)
            .timeout(Some(LONG))
            .on_event(move |event| observer.push(event))
            .build();
        let slot = fixture.sandbox.reader(0);
        let exchange_again = || {
            slot.remove().unwrap();
            slot.insert(&fixture.card).unwrap();
        };
        // Lost before the channel is opened, and after.
        for lost_at in [None, Some(0), Some(1)] {
            let mut calls = 0;
            let mut work = |card: &mut SessionCard<'_>| -> Result<u8, ExchangeError> {
                calls += 1;
                if calls == 1 && lost_at == Some(0) {
                    exchange_again();
                }
                let mut channel = LogicalChannel::open(card)?;
                if calls == 1 && lost_at == Some(1) {
                    exchange_again();
                }
                channel.exchange(&iso7816::select())?.ok()?;
                // Stays open until a reset.
                Ok(channel.number())
            };
            let answer = session.run(&mut work);
            match (lost_at, answer) {
                (Some(1), Err(SessionError::Interrupted { completed, .. })) => {
                    assert_eq!(completed, 1);
                    calls = 0;
                    // Restartable work is repeated, with its own channel.
                    let again = session.run_restartable(|card| {
                        calls += 1;
                        let mut channel = LogicalChannel::open(card)?;
                        if calls == 1 {
                            exchange_again();
                        }
                        channel.exchange(&iso7816::select())?.ok()?;
                        let number = channel.number();
                        channel.close()?;
                        Ok::<_, ExchangeError>(number)
                    });
                    assert_eq!((again.unwrap(), calls), (1, 2));
                }
                (Some(1), answer) => panic!("{answer:?}"),
                (_, answer) => {
                    assert_eq!(answer.unwrap(), 1);
                    assert_eq!(calls, 1 + u32::from(lost_at.is_some()));
                }
            }
            fixture.reset_by_another();
            told.clear();
            let number =
                session.run(|card| Ok::<_, ExchangeError>(LogicalChannel::open(card)?.number()));
            assert_eq!(number.unwrap(), 1, "the card was reset in between");
            assert_eq!(told.reconnects(), 1);
            fixture.reset_by_another();
        }
    });
}
