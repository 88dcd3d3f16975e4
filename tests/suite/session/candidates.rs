//! The next card, if one is unsuitable.

use super::*;
use scard::{NotThisCard, Protocols};
use scard_testkit::VirtualCard;

/// Two cards, the second one with the application of the sessions.
fn two_cards(first: VirtualCard) -> (Fixture, Told) {
    let sandbox = Sandbox::builder().driver(Driver::Kit).readers(2);
    let sandbox = sandbox.card(0, first).card(1, card()).start().unwrap();
    (Fixture::of(sandbox), Told::default())
}

fn without_application() -> VirtualCard {
    VirtualCard::new(|_: &[u8]| [0x6A, 0x82]).atr(scard_testkit::atr::T1)
}

/// Selects the application, or reports that this is not the card.
fn find(card: &mut SessionCard<'_>) -> Result<(), BoxError> {
    match card.transmit(&select(APPLICATION))?.as_slice() {
        OK => Ok(()),
        [0x6A, 0x82] => Err(NotThisCard::new("no application 7").into()),
        answer => Err(format!("{answer:02X?}").into()),
    }
}

fn any_reader(fixture: &Fixture, told: &Told) -> SessionBuilder {
    let told = told.clone();
    Session::builder(&fixture.context)
        .setup(find)
        .timeout(Some(LONG))
        .on_event(move |event| told.push(event))
}

#[test]
fn the_application_is_found_in_whichever_reader() {
    isolated(|| {
        let (fixture, told) = two_cards(without_application());
        let mut session = any_reader(&fixture, &told).open().unwrap();
        assert_eq!(session.reader_name(), Some(&fixture.empty_reader));
        works(&mut session, 1);
        let skipped = told.all().into_iter().filter_map(|event| match event {
            SessionEvent::CardSkipped {
                reader_name, seen, ..
            } => Some((reader_name, seen.to_string())),
            _ => None,
        });
        let expected = (
            fixture.reader.clone(),
            "refused: no application 7".to_owned(),
        );
        assert_eq!(skipped.collect::<Vec<_>>(), [expected]);
    });
}

#[test]
fn a_card_with_the_application_is_waited_for() {
    isolated(|| {
        let (fixture, told) = two_cards(without_application());
        let second = fixture.sandbox.reader(1);
        second.remove().unwrap();
        let builder = any_reader(&fixture, &told);
        let opening = in_background(move || builder.open().unwrap());
        told.wait(|event| *event == SessionEvent::WaitingForCard);
        // The right card comes into the reader of the wrong one.
        fixture.sandbox.reader(0).swap(card()).unwrap();
        let session = finish(&opening);
        assert_eq!(session.reader_name(), Some(&fixture.reader));
    });
}

#[test]
fn what_was_seen_is_reported() {
    isolated(|| {
        let (fixture, told) = two_cards(without_application());
        fixture.sandbox.reader(1).remove().unwrap();
        let builder = any_reader(&fixture, &told).timeout(Some(DEADLINE));
        let cause = assert_deadline(DEADLINE, || builder.open()).unwrap();
        let seen: Vec<&str> = cause.seen().iter().map(|it| it.seen().name()).collect();
        assert_eq!(seen, ["refused", "empty"]);
        let error = any_reader(&fixture, &told).wait_for_card(false).open();
        let error = error.unwrap_err();
        assert_eq!(error.kind(), Some(ErrorKind::NoCard));
        let text = error.error().unwrap().to_string();
        assert!(text.contains(": refused: no application 7;"), "{text}");
    });
}

/// Without such a report, a refusal is final.
#[test]
fn another_error_of_a_set_up_is_about_this_card() {
    isolated(|| {
        let (fixture, told) = two_cards(without_application());
        let error = any_reader(&fixture, &told).setup(set_up).open();
        assert!(matches!(error, Err(SessionError::Hook(_))), "{error:?}");
        assert_eq!(told.connects(), 1);
    });
}

#[test]
fn a_card_that_another_program_holds_makes_way() {
    isolated(|| {
        let (fixture, told) = two_cards(card());
        let holder = fixture.connect_exclusive();
        let mut session = any_reader(&fixture, &told).open().unwrap();
        assert_eq!(session.reader_name(), Some(&fixture.empty_reader));
        works(&mut session, 1);
        drop(session);
        // Even if connects should wait.
        let waits = ConnectOptions::new().wait_for_access(true);
        let builder = any_reader(&fixture, &told).connect_options(waits);
        let begun = Instant::now();
        let session = builder.open().unwrap();
        assert_eq!(session.reader_name(), Some(&fixture.empty_reader));
        assert!(begun.elapsed() < LONG / 2, "{:?}", begun.elapsed());
        // If there is no other card, the session waits for this one.
        drop(session);
        fixture.sandbox.reader(1).remove().unwrap();
        let builder = any_reader(&fixture, &told).timeout(Some(DEADLINE));
        let cause = assert_deadline(DEADLINE, || builder.open()).unwrap();
        let seen: Vec<&str> = cause.seen().iter().map(|it| it.seen().name()).collect();
        assert_eq!(seen, ["held", "empty"], "{cause}");
        drop(holder);
        any_reader(&fixture, &told).open().unwrap();
    });
}

#[test]
fn a_card_without_an_accepted_protocol_makes_way() {
    isolated(|| {
        let (fixture, told) = two_cards(card().atr(scard_testkit::atr::T0));
        let options = ConnectOptions::new().protocols(Protocols::T1);
        let builder = any_reader(&fixture, &told).connect_options(options);
        let session = builder.open().unwrap();
        assert_eq!(session.reader_name(), Some(&fixture.empty_reader));
    });
}

/// Each attempt may use up a try of the wrong card.
#[test]
fn an_idle_session_asks_a_card_that_was_turned_away_no_more() {
    isolated(|| {
        let (fixture, told) = two_cards(without_application());
        fixture.sandbox.reader(1).remove().unwrap();
        let slot = fixture.sandbox.reader(0);
        let skipped = || told.count(|it| matches!(it, SessionEvent::CardSkipped { .. }));
        let no_card = |result: Result<(), SessionError>| {
            assert_eq!(result.unwrap_err().kind(), Some(ErrorKind::NoCard));
        };
        let mut session = any_reader(&fixture, &told).wait_for_card(false).build();
        no_card(session.run(|_| Ok::<_, Error>(())));
        for _ in 0..3 {
            no_card(session.keep_alive());
        }
        assert_eq!((skipped(), told.connects()), (1, 1));
        // The program asks for it.
        no_card(session.run(|_| Ok::<_, Error>(())));
        assert_eq!(skipped(), 2);
        // Then any of them may be the right one.
        session.forget_identity();
        no_card(session.keep_alive());
        assert_eq!(skipped(), 3);
        slot.swap(card()).unwrap();
        session.keep_alive().unwrap();
        works(&mut session, 1);
    });
}

/// The first card does not lend its identity to the session.
#[test]
fn the_card_with_the_application_is_the_one_that_is_identified() {
    isolated(|| {
        let (fixture, told) = two_cards(without_application());
        let identify = |card: &mut SessionCard<'_>| -> Result<Vec<u8>> {
            Ok(card.reader_name().as_bytes().to_vec())
        };
        let mut session = any_reader(&fixture, &told).identity(identify).build();
        works(&mut session, 1);
        assert_eq!(session.reader_name(), Some(&fixture.empty_reader));
        let name = fixture.empty_reader.as_bytes();
        assert_eq!(session.identity(), Some(name));
        works(&mut session, 2);
    });
}

#[test]
fn a_set_up_that_panics_does_not_identify_its_card() {
    isolated(|| {
        let (fixture, told) = two_cards(without_application());
        let identify = |card: &mut SessionCard<'_>| -> Result<Vec<u8>> {
            Ok(card.reader_name().as_bytes().to_vec())
        };
        let mut panics = true;
        let set_up = move |card: &mut SessionCard<'_>| -> Result<(), BoxError> {
            assert!(!std::mem::take(&mut panics), "as it is to");
            find(card)
        };
        let builder = any_reader(&fixture, &told).identity(identify);
        let mut session = builder.setup(set_up).build();
        let run = || session.run(|card| card.transmit(COMMAND));
        assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
        assert_eq!((session.identity(), session.reader_name()), (None, None));
        works(&mut session, 1);
        assert_eq!(session.reader_name(), Some(&fixture.empty_reader));
    });
}
