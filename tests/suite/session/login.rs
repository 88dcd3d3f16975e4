//! A PIN is presented when the program asks for it, and once if it is wrong.

use super::*;
use scard::{Command, LoginWithheld, SessionHook};
use scard_testkit::{CardHandle, VirtualCard};

/// The card's persistent state.
struct Pin {
    value: &'static [u8; 4],
    tries: u8,
}

/// The PIN that the holder of a card knows.
#[derive(Clone)]
struct Holder(Arc<Mutex<Pin>>);

impl Holder {
    fn new() -> Holder {
        let pin = Pin {
            value: b"1234",
            tries: 3,
        };
        Holder(Arc::new(Mutex::new(pin)))
    }

    /// SELECT, a serial number, VERIFY, numbered commands.
    fn card(&self, serial: u8) -> VirtualCard {
        let pin = self.0.clone();
        VirtualCard::new(move |command: &[u8]| {
            let mut pin = pin.lock().unwrap();
            match command {
                [0, 0x20, 0, 1, 4, ..] if pin.tries == 0 => Reply::from([0x69, 0x83]),
                [0, 0x20, 0, 1, 4, tried @ ..] if tried == pin.value => {
                    pin.tries = 3;
                    Reply::from(OK)
                }
                [0, 0x20, 0, 1, 4, ..] => {
                    pin.tries -= 1;
                    Reply::from([0x63, 0xC0 | pin.tries])
                }
                // Pulled out by its holder, who knows the right PIN by now.
                [0, 0x20, 0, 1] => Reply::Drop,
                [0, 0xCA, ..] => Reply::from([serial, 0x90, 0x00]),
                _ => Reply::from(OK),
            }
        })
        .atr(scard_testkit::atr::T1)
    }

    fn tries(&self) -> u8 {
        self.0.lock().unwrap().tries
    }

    /// Another program changes the PIN.
    fn change(&self) {
        self.0.lock().unwrap().value = b"4321";
    }
}

fn verify(pin: &[u8; 4]) -> impl FnMut(&mut SessionCard<'_>) -> Result<(), BoxError> + Send {
    let pin = *pin;
    move |card| {
        let verify = Command::new(0, 0x20, 0, 1)?.with_data(pin)?;
        Ok(card.exchange(&verify)?.ok().map(drop)?)
    }
}

/// The same, but this call is canceled by the user before its first command.
fn canceled_at(
    call: u32,
    pin: &[u8; 4],
) -> impl FnMut(&mut SessionCard<'_>) -> Result<(), BoxError> + Send {
    let mut login = verify(pin);
    let mut calls = 0;
    move |card| {
        calls += 1;
        match calls == call {
            true => Err("canceled by the user".into()),
            false => login(card),
        }
    }
}

/// How often a PIN was presented.
fn presented(card: &CardHandle) -> usize {
    let log = card.log();
    log.iter()
        .filter(|it| it.command.get(1) == Some(&0x20))
        .count()
}

struct Desk {
    holder: Holder,
    fixture: Fixture,
    told: Told,
}

impl Desk {
    fn new() -> Desk {
        let holder = Holder::new();
        let sandbox = Sandbox::builder().driver(Driver::Kit).readers(2);
        let sandbox = sandbox.card(0, holder.card(1)).start().unwrap();
        Desk {
            fixture: Fixture::of(sandbox),
            told: Told::default(),
            holder,
        }
    }

    fn builder(&self) -> SessionBuilder {
        let told = self.told.clone();
        Session::builder(&self.fixture.context)
            .reader(&self.fixture.reader)
            .timeout(Some(LONG))
            .keep_alive(Duration::from_millis(5))
            .on_event(move |event| told.push(event))
    }

    /// The session notices each of several resets, and recovers.
    fn reset_and_idle(&self, session: &mut Session) {
        for _ in 0..3 {
            self.fixture.reset_by_another();
            let reconnected = self.told.reconnects();
            wait_until("the session to see the reset", || {
                let _ = session.keep_alive();
                self.told.reconnects() > reconnected
            });
        }
    }
}

fn works(session: &mut Session) -> Result<(), SessionError> {
    session.run(|card| card.transmit(COMMAND)).map(drop)
}

fn failures(told: &Told, hook: SessionHook) -> usize {
    told.count(|event| matches!(event, SessionEvent::HookFailed { hook: it, .. } if *it == hook))
}

#[test]
fn an_idle_session_repeats_no_set_up_that_was_refused() {
    isolated(|| {
        let desk = Desk::new();
        let mut session = desk.builder().setup(verify(b"1234")).open().unwrap();
        desk.holder.change();
        desk.reset_and_idle(&mut session);
        assert_eq!(desk.holder.tries(), 2);
        assert_eq!(failures(&desk.told, SessionHook::SetUp), 1);
        // The program asks, once.
        let error = works(&mut session).unwrap_err();
        assert!(matches!(error, SessionError::Hook(_)), "{error:?}");
        assert_eq!(desk.holder.tries(), 1);
        desk.reset_and_idle(&mut session);
        assert_eq!(desk.holder.tries(), 1);
    });
}

#[test]
fn refused_credentials_are_presented_once() {
    isolated(|| {
        let desk = Desk::new();
        let mut session = desk
            .builder()
            .identity(serial)
            .login(verify(b"1234"))
            .build();
        works(&mut session).unwrap();
        desk.holder.change();
        desk.reset_and_idle(&mut session);
        assert_eq!(desk.holder.tries(), 3, "nobody has asked");
        let error = works(&mut session).unwrap_err();
        assert!(matches!(error, SessionError::Login(_)), "{error:?}");
        assert_eq!(error.recovery(), Recovery::AskUser);
        assert_eq!(failures(&desk.told, SessionHook::Login), 1);
        for _ in 0..5 {
            desk.fixture.reset_by_another();
            let error = session.run_restartable(|card| card.transmit(COMMAND));
            let error = error.unwrap_err();
            let withheld = matches!(error, SessionError::LoginWithheld(LoginWithheld::Refused));
            assert!(withheld, "{error:?}");
        }
        assert_eq!(desk.holder.tries(), 2);
        session.set_login(verify(b"4321"));
        works(&mut session).unwrap();
        assert_eq!(desk.holder.tries(), 3);
        assert!(desk.told.all().contains(&SessionEvent::LoggedIn));
    });
}

#[test]
fn opening_does_not_log_in_and_the_first_run_does() {
    isolated(|| {
        let desk = Desk::new();
        for when in [SetUpWhen::OnLoss, SetUpWhen::OnReset] {
            desk.fixture.card.clear_log();
            let builder = desk.builder().setup_when(when).login(verify(b"1234"));
            let mut session = builder.open().unwrap();
            assert_eq!(presented(&desk.fixture.card), 0);
            works(&mut session).unwrap();
            assert_eq!(presented(&desk.fixture.card), 1);
            works(&mut session).unwrap();
            let again = usize::from(when == SetUpWhen::OnLoss);
            assert_eq!(presented(&desk.fixture.card), 1 + again);
        }
    });
}

#[test]
fn credentials_are_presented_to_no_other_card() {
    isolated(|| {
        let desk = Desk::new();
        let reader = desk.fixture.sandbox.reader(0);
        let other = Holder::new();
        let mut known = desk
            .builder()
            .identity(serial)
            .login(verify(b"1234"))
            .build();
        let mut unknown = desk.builder().login(verify(b"1234")).build();
        works(&mut known).unwrap();
        works(&mut unknown).unwrap();
        let before = presented(&desk.fixture.card);

        // The same card, which only one of them can recognize.
        desk.fixture.reset_by_another();
        works(&mut known).unwrap();
        let error = works(&mut unknown).unwrap_err();
        let why = LoginWithheld::CardNotIdentified;
        let withheld = matches!(error, SessionError::LoginWithheld(it) if it == why);
        assert!(withheld, "{error:?}");
        assert_eq!(presented(&desk.fixture.card), before + 1);
        unknown.set_login(verify(b"1234"));
        works(&mut unknown).unwrap();

        let other = reader.swap(other.card(2)).unwrap();
        let error = works(&mut known).unwrap_err();
        assert!(matches!(error, SessionError::WrongCard { .. }), "{error:?}");
        let error = works(&mut unknown).unwrap_err();
        let withheld = matches!(error, SessionError::LoginWithheld(it) if it == why);
        assert!(withheld, "{error:?}");
        // Accepting any card does not extend to the credentials.
        known.forget_identity();
        let error = works(&mut known).unwrap_err();
        let withheld = matches!(error, SessionError::LoginWithheld(it) if it == why);
        assert!(withheld, "{error:?}");
        assert_eq!(presented(&other), 0);
        known.set_login(verify(b"1234"));
        works(&mut known).unwrap();
        assert_eq!(presented(&other), 1);
    });
}

/// Then it is unknown whether the card has counted a try.
#[test]
fn a_login_that_the_card_did_not_answer_is_not_repeated() {
    isolated(|| {
        let desk = Desk::new();
        let mut session = desk.builder().identity(serial).build();
        works(&mut session).unwrap();
        session.set_login(verify(b"1234"));
        let reader = desk.fixture.sandbox.reader(0);
        let error = IfdError::COMMUNICATION_ERROR;
        // The connection is unchanged, so this is the VERIFY.
        reader.fail_next(IfdCall::Transmit, error).unwrap();
        let error = session.run_restartable(|card| card.transmit(COMMAND));
        let error = error.unwrap_err();
        let interrupted = matches!(
            error,
            SessionError::Interrupted {
                completed: 0,
                in_login: true,
                ..
            }
        );
        assert!(interrupted, "{error:?}");
        for _ in 0..3 {
            let error = works(&mut session).unwrap_err();
            let why = LoginWithheld::OutcomeUnknown;
            let withheld = matches!(error, SessionError::LoginWithheld(it) if it == why);
            assert!(withheld, "{error:?}");
        }
        assert_eq!(presented(&desk.fixture.card), 0);
        session.set_login(verify(b"1234"));
        works(&mut session).unwrap();
        assert_eq!(presented(&desk.fixture.card), 1);
    });
}

/// Whatever the hook returns: an answer of the card may have been the refusal.
#[test]
fn credentials_are_not_presented_again_if_the_card_fails_after_an_answer() {
    isolated(|| {
        for hides_failure in [false, true] {
            let desk = Desk::new();
            let mut session = desk.builder().identity(serial).build();
            works(&mut session).unwrap();
            session.set_login(move |card: &mut SessionCard<'_>| -> Result<(), BoxError> {
                let verify = Command::new(0, 0x20, 0, 1)?.with_data(b"0000")?;
                let refused = card.exchange(&verify)?.ok().unwrap_err();
                match card.transmit(b"\x00\x20\x00\x01") {
                    Err(error) if !hides_failure => Err(error.into()),
                    _ => Err(refused.into()),
                }
            });
            let error = works(&mut session).unwrap_err();
            let interrupted = matches!(
                error,
                SessionError::Interrupted {
                    completed: 1,
                    in_login: true,
                    ..
                }
            );
            assert!(interrupted, "{error:?}");
            let reader = desk.fixture.sandbox.reader(0);
            reader.insert(&desk.fixture.card).unwrap();
            for _ in 0..3 {
                let error = works(&mut session).unwrap_err();
                let why = LoginWithheld::OutcomeUnknown;
                let withheld = matches!(error, SessionError::LoginWithheld(it) if it == why);
                assert!(withheld, "{error:?}");
                assert_eq!(error.recovery(), Recovery::AskUser);
            }
            assert_eq!(desk.holder.tries(), 2);
            session.set_login(verify(b"1234"));
            works(&mut session).unwrap();
            assert_eq!(desk.holder.tries(), 3);
        }
    });
}

/// The PIN that its hook is about to present may be that of the card that was there.
#[test]
fn credentials_are_not_presented_to_a_card_that_came_meanwhile() {
    isolated(|| {
        let desk = Desk::new();
        let (other, sandbox) = (desk.holder.card(2), &desk.fixture.sandbox);
        let other = sandbox.reader(1).insert(other).unwrap();
        sandbox.reader(1).remove().unwrap();
        let mut login = verify(b"0000");
        let mut swaps = 0;
        let (swap, swapped) = mpsc::sync_channel(0);
        let (done, is_done) = mpsc::sync_channel(0);
        let mut session = desk
            .builder()
            .login(move |card: &mut SessionCard<'_>| {
                swaps += 1;
                if swaps == 1 {
                    swap.send(()).unwrap();
                    is_done.recv().unwrap();
                }
                login(card)
            })
            .build();
        std::thread::scope(|scope| {
            let other = &other;
            scope.spawn(move || {
                swapped.recv().unwrap();
                sandbox.reader(0).swap(other).unwrap();
                done.send(()).unwrap();
            });
            let error = works(&mut session).unwrap_err();
            let why = LoginWithheld::CardNotIdentified;
            let withheld = matches!(error, SessionError::LoginWithheld(it) if it == why);
            assert!(withheld, "{error:?}");
        });
        assert_eq!(presented(&other) + presented(&desk.fixture.card), 0);
        session.set_login(verify(b"1234"));
        works(&mut session).unwrap();
        assert_eq!(presented(&other), 1);
    });
}

#[test]
fn a_login_that_ends_before_its_first_command_is_called_in_the_next_run() {
    isolated(|| {
        let desk = Desk::new();
        let mut session = desk.builder().login(canceled_at(1, b"1234")).build();
        let error = works(&mut session).unwrap_err();
        assert!(matches!(error, SessionError::Login(_)), "{error:?}");
        works(&mut session).unwrap();
    });
}

#[test]
fn an_idle_session_repeats_no_set_up_that_panicked() {
    isolated(|| {
        let desk = Desk::new();
        let set_up = |card: &mut SessionCard<'_>| -> Result<()> {
            let answer = card.transmit(b"\x00\x20\x00\x01\x040000")?;
            assert_eq!(answer, OK);
            Ok(())
        };
        let mut session = desk.builder().setup(set_up).build();
        let panics = catch_unwind(AssertUnwindSafe(|| works(&mut session)));
        assert!(panics.is_err());
        desk.reset_and_idle(&mut session);
        assert_eq!(presented(&desk.fixture.card), 1);
    });
}

/// A call that ended before its first command is none that takes back what was presented before.
#[test]
fn credentials_that_were_presented_stay_with_their_card() {
    isolated(|| {
        let desk = Desk::new();
        let mut session = desk
            .builder()
            .login(canceled_at(2, b"1234"))
            .setup_when(SetUpWhen::Always)
            .build();
        works(&mut session).unwrap();
        let error = works(&mut session).unwrap_err();
        assert!(matches!(error, SessionError::Login(_)), "{error:?}");
        desk.fixture.reset_by_another();
        let error = works(&mut session).unwrap_err();
        let why = LoginWithheld::CardNotIdentified;
        let withheld = matches!(error, SessionError::LoginWithheld(it) if it == why);
        assert!(withheld, "{error:?}");
        assert_eq!(presented(&desk.fixture.card), 1);
    });
}
