//! Cards that do not answer.

use super::*;
use scard::Card;
use scard_testkit::VirtualCard;

fn kit() -> Fixture {
    let sandbox = Sandbox::builder().driver(Driver::Kit).readers(2);
    Fixture::of(sandbox.card(0, card()).start().unwrap())
}

fn fail_next(fixture: &Fixture, call: IfdCall) {
    let error = match call {
        IfdCall::Transmit => IfdError::COMMUNICATION_ERROR,
        _ => IfdError::POWER_ACTION,
    };
    fixture.sandbox.reader(0).fail_next(call, error).unwrap();
}

/// From now on, until the faults are cleared.
fn never_answer(fixture: &Fixture) {
    let reader = fixture.sandbox.reader(0);
    for call in [IfdCall::Transmit, IfdCall::Reset, IfdCall::PowerOn] {
        reader.fail_every(call, IfdError::POWER_ACTION).unwrap();
    }
}

/// Removes the card and inserts it so that it does not come up.
fn insert_mute(fixture: &Fixture) {
    let reader = fixture.sandbox.reader(0);
    reader.remove().unwrap();
    fail_next(fixture, IfdCall::PowerOn);
    fail_next(fixture, IfdCall::Reset);
    reader.insert_now(&fixture.card).unwrap();
    wait_until("the card to be mute", || {
        let states = fixture.context.reader_states().unwrap();
        states.iter().any(|state| state.is_mute())
    });
}

#[test]
fn a_card_that_did_not_come_up_is_powered_again() {
    isolated(|| {
        let fixture = kit();
        insert_mute(&fixture);
        let (mut session, _) = open(&fixture);
        works(&mut session, 1);
        // Even a card chosen by its ATR.
        drop(session);
        insert_mute(&fixture);
        let told = Told::default();
        let atr = fixture.card.atr().to_vec();
        let cards = CardFilter::new().reader(&fixture.reader);
        let session = builder(&fixture, &told)
            .cards(cards.clone().atr(&atr))
            .open();
        session.unwrap();
        insert_mute(&fixture);
        let other = cards.atr(&[0x3B, 0x00]);
        let builder = builder(&fixture, &told).cards(other).wait_for_card(false);
        let error = builder.open().unwrap_err();
        let cause = error.error().unwrap();
        let seen: Vec<&str> = cause.seen().iter().map(|it| it.seen().name()).collect();
        assert_eq!(seen, ["not-matching"], "{cause}");
    });
}

#[test]
fn a_card_whose_reset_by_another_failed_is_powered_again() {
    isolated(|| {
        let fixture = kit();
        let (mut session, told) = open(&fixture);
        fail_next(&fixture, IfdCall::Reset);
        let mut other = fixture.connect();
        reconnect(&mut other, Initialization::Reset).unwrap_err();
        works(&mut session, 1);
        assert!(!told.recoveries().is_empty());
    });
}

/// A connection of another program, whose reset has failed.
fn reset_in_vain(fixture: &Fixture) -> Card {
    let mut other = fixture.connect();
    fail_next(fixture, IfdCall::Reset);
    reconnect(&mut other, Initialization::Reset).unwrap_err();
    other
}

/// pcsc-lite does not power it up at a connect then, as long as another program is connected.
#[test]
fn a_card_whose_reset_failed_before_the_session_is_reset_again() {
    isolated(|| {
        let fixture = kit();
        let other = reset_in_vain(&fixture);
        let error = fixture.try_connect(ConnectOptions::new()).unwrap_err();
        assert_eq!(error.code(), ReturnCode::W_UNPOWERED_CARD);
        let (mut session, _) = open(&fixture);
        works(&mut session, 1);
        drop(other);
    });
}

/// The card that is reset is the one that failed, also if another one was tried after it.
#[test]
fn a_mute_card_in_another_reader_is_not_reset_instead() {
    isolated(|| {
        let fixture = kit();
        let mute = fixture.sandbox.reader(1);
        for call in [IfdCall::PowerOn, IfdCall::Reset] {
            mute.fail_every(call, IfdError::POWER_ACTION).unwrap();
        }
        mute.insert_now(VirtualCard::iso()).unwrap();
        let other = reset_in_vain(&fixture);
        let told = Told::default();
        let session = Session::builder(&fixture.context)
            .setup(set_up)
            .timeout(Some(LONG));
        let session = session.on_event({
            let told = told.clone();
            move |event| told.push(event)
        });
        let session = session.open().unwrap();
        assert_eq!(session.reader_name(), Some(&fixture.reader));
        assert!(told.recoveries().len() <= 3, "{:?}", told.all());
        drop(other);
    });
}

/// Another program may have reset it, and has logged in since.
#[test]
fn a_card_that_has_power_again_is_not_reset() {
    isolated(|| {
        let fixture = kit();
        let other = Arc::new(Mutex::new(reset_in_vain(&fixture)));
        let mut recoveries = 0;
        let builder = Session::builder(&fixture.context).reader(&fixture.reader);
        let builder = builder.setup(set_up).timeout(Some(LONG)).on_event({
            let other = Arc::clone(&other);
            move |event| {
                if let SessionEvent::Recovering { .. } = event {
                    recoveries += 1;
                    // The second step would be the reset.
                    if recoveries == 2 {
                        reconnect(&mut other.lock().unwrap(), Initialization::Reset).unwrap();
                    }
                }
            }
        });
        works(&mut builder.open().unwrap(), 1);
        assert_works(&mut other.lock().unwrap());
    });
}

#[test]
fn a_reset_that_failed_is_followed_by_others() {
    isolated(|| {
        let fixture = kit();
        let (mut session, told) = open(&fixture);
        fail_next(&fixture, IfdCall::Transmit);
        fail_next(&fixture, IfdCall::Reset);
        let work = |card: &mut SessionCard<'_>| card.transmit(&numbered(APPLICATION, 1));
        assert_eq!(session.run_restartable(work).unwrap(), OK);
        assert!(told.recoveries().len() >= 2, "{:?}", told.all());
    });
}

#[test]
fn a_card_that_never_answers_is_said_not_to() {
    isolated(|| {
        let fixture = kit();
        let (mut session, told) = open(&fixture);
        let reader = fixture.sandbox.reader(0);
        never_answer(&fixture);
        let work = |card: &mut SessionCard<'_>| card.transmit(&numbered(APPLICATION, 1));
        let error = session.run_restartable(work).unwrap_err();
        assert!(
            matches!(error, SessionError::Unresponsive { .. }),
            "{error:?}"
        );
        assert!(error.to_string().starts_with("the card does not answer"));
        assert_eq!(error.kind(), Some(ErrorKind::CardUnresponsive));
        // Each of the three steps was tried twice, and the last one for up to a second in all.
        let recoveries = told.recoveries().len();
        assert!((6..=8).contains(&recoveries), "{:?}", told.all());
        // And is tried again when that may help.
        reader.clear_faults().unwrap();
        assert_eq!(session.run_restartable(work).unwrap(), OK);
    });
}

/// What was tried with one card does not count for the next, even if neither gets a command.
#[test]
fn each_card_that_is_inserted_is_given_its_chances() {
    isolated(|| {
        let fixture = kit();
        let told = Told::default();
        let observer = told.clone();
        let mut session = Session::builder(&fixture.context)
            .reader(&fixture.reader)
            .timeout(Some(LONG))
            .on_event(move |event| observer.push(event))
            .build();
        for _ in 0..4 {
            told.clear();
            insert_mute(&fixture);
            // The first attempt to power it up fails as well.
            fail_next(&fixture, IfdCall::PowerOn);
            fail_next(&fixture, IfdCall::Reset);
            session.run(|_| Ok::<_, Error>(())).unwrap();
            assert!(!told.recoveries().is_empty(), "{:?}", told.all());
        }
    });
}

/// A reader repeatedly fails during the set-up; the card answers each time.
#[test]
fn a_card_that_answers_the_set_up_is_not_said_to_be_silent() {
    isolated(|| {
        let fixture = kit();
        let told = Told::default();
        let reader = fixture.sandbox.reader(0);
        let failures = Arc::new(Mutex::new(0));
        let left = Arc::clone(&failures);
        let card = VirtualCard::new(move |command: &[u8]| match command {
            [0, 0x20, ..] if *left.lock().unwrap() > 0 => {
                *left.lock().unwrap() -= 1;
                Reply::Fail(IfdError::COMMUNICATION_ERROR)
            }
            _ => Reply::from(OK),
        });
        reader.swap(card.atr(scard_testkit::atr::T1)).unwrap();
        let fails_in_set_up = |card: &mut SessionCard<'_>| -> Result<()> {
            card.transmit(COMMAND)?;
            card.transmit(b"\x00\x20\x00\x00").map(drop)
        };
        let mut session = builder(&fixture, &told)
            .identity(|_| Ok::<_, Error>(Vec::new()))
            .setup(fails_in_set_up)
            .build();
        // More attempts than with a card that does not answer.
        *failures.lock().unwrap() = 8;
        session.run(|_| Ok::<_, Error>(())).unwrap();
        assert!(told.recoveries().len() >= 8, "{:?}", told.all());
    });
}

/// A driver answers for a dead card, too.
#[test]
fn the_answer_of_a_driver_is_none_of_the_card() {
    isolated(|| {
        let fixture = kit();
        let (mut session, told) = open(&fixture);
        never_answer(&fixture);
        let work = |card: &mut SessionCard<'_>| {
            card.features()?;
            card.transmit(COMMAND)
        };
        let error = session.run_restartable(work).unwrap_err();
        let silent = matches!(error, SessionError::Unresponsive { .. });
        assert!(silent, "{error:?} {:?}", told.all());
    });
}

/// Each of the failures is another incident.
#[test]
fn work_through_guards_ends_what_was_tried_before() {
    isolated(|| {
        let fixture = kit();
        let (mut session, told) = open(&fixture);
        for number in 0..8 {
            let mut card = session.begin().unwrap();
            card.transmit(&numbered(APPLICATION, number)).unwrap();
            card.end().unwrap();
            told.clear();
            let mut card = session.begin().unwrap();
            fail_next(&fixture, IfdCall::Transmit);
            card.transmit(COMMAND).unwrap_err();
            // It may have been ended by the failure.
            let _ = card.end();
            drop(session.begin().unwrap());
            assert_eq!(told.recoveries(), [Recovery::ResetCard], "{number}");
            let resets = told.count(|event| {
                let warm = Initialization::Reset;
                matches!(event, SessionEvent::Reconnected { initialization, .. } if *initialization == warm)
            });
            assert_eq!(resets, 1, "{number}: {:?}", told.all());
        }
    });
}

/// Each attempt powers it up.
#[test]
fn an_idle_session_leaves_a_dead_card_alone_until_the_program_asks() {
    isolated(|| {
        let fixture = kit();
        let (mut session, told) = open(&fixture);
        let reader = fixture.sandbox.reader(0);
        never_answer(&fixture);
        fixture.sandbox.restart().unwrap();
        wait_until("the session to give it up", || {
            told.clear();
            session.keep_alive().unwrap_err();
            told.recoveries().is_empty()
        });
        for _ in 0..3 {
            let error = session.keep_alive().unwrap_err();
            let seen: Vec<_> = error.error().unwrap().seen().iter().collect();
            assert_eq!(seen.len(), 1, "{error}");
            assert_eq!(seen[0].seen().name(), "mute", "{error}");
        }
        assert!(told.recoveries().is_empty(), "{:?}", told.all());
        reader.clear_faults().unwrap();
        works(&mut session, 1);
    });
}

/// A card that worked before says nothing of the next one.
#[test]
fn a_dead_card_after_a_good_one_is_waited_out() {
    isolated(|| {
        let fixture = kit();
        let told = Told::default();
        let observer = told.clone();
        let mut session = Session::builder(&fixture.context)
            .reader(&fixture.reader)
            .setup(set_up)
            .timeout(Some(LONG))
            .on_event(move |event| observer.push(event))
            .build();
        works(&mut session, 1);
        let reader = fixture.sandbox.reader(0);
        reader.remove().unwrap();
        for call in [IfdCall::Reset, IfdCall::PowerOn] {
            reader.fail_every(call, IfdError::POWER_ACTION).unwrap();
        }
        reader.insert_now(&fixture.card).unwrap();
        std::thread::scope(|scope| {
            let told = &told;
            scope.spawn(move || {
                told.wait(|event| matches!(event, SessionEvent::CardSkipped { .. }));
                reader.clear_faults().unwrap();
                reader.remove().unwrap();
                reader.insert(&fixture.card).unwrap();
            });
            works(&mut session, 2);
        });
    });
}

/// A card may have been removed while the service has not noticed it yet: if no driver tells it, it
/// looks every 0.4 seconds.
#[cfg(feature = "socket")]
#[test]
fn a_card_is_not_said_to_be_unusable_too_soon() {
    use scard::ContextOptions;
    use scard_testkit::fake::{Answer, Message, Reader, Service};

    const LOOK: Duration = Duration::from_millis(400);
    for code in [ReturnCode::W_UNPOWERED_CARD, ReturnCode::E_PROTO_MISMATCH] {
        let service = Service::start().unwrap();
        service.set_readers([Reader::new("Reader 0 00 00")]);
        let begun = Instant::now();
        service.script(move |request| match request.message {
            Message::Connect if begun.elapsed() < LOOK => Answer::code(code.raw()),
            _ => Answer::normal(),
        });
        let options = ContextOptions::new().socket_path(service.socket_path());
        let mut session = Session::builder(&options.lazy()).build();
        session.run(|card| card.transmit(COMMAND)).unwrap();
    }
}
