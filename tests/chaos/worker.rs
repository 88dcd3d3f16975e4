//! Sessions that send numbered commands.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use scard::{
    BoxError, Context, LoginWithheld, NotThisCard, Session, SessionCard, SessionError,
    SessionEvent, SetUpWhen,
};

use crate::card::{TRIES_LEFT, verify};
use crate::support::OK;
use crate::support::applet::{SERIAL, numbered, select};
use crate::support::random::Random;
use crate::{DEADLINE, ROLES, Role, TOLERANCE, World};

/// Marks commands of work that may be repeated.
pub(crate) const RESTARTABLE: u32 = 1 << 31;

/// The serial number of the card that sessions for any card reject.
pub(crate) const UNWANTED: u8 = 0;

/// What a session did, and the outcomes.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) acknowledged: Vec<u32>,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) violations: Vec<String>,
    /// The card that the commands from this number on are for.
    cards: Vec<(u32, Option<u8>)>,
    outcomes: BTreeMap<&'static str, usize>,
    recoveries: usize,
    slowest: Duration,
}

impl Report {
    /// The card that a command was for; `None` for any card.
    pub(crate) fn card_of(&self, number: u32) -> Option<u8> {
        let number = number & !RESTARTABLE;
        let later = self.cards.partition_point(|(first, _)| *first <= number);
        self.cards[later - 1].1
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?}, {} recoveries, slowest run {:?}",
            self.outcomes, self.recoveries, self.slowest
        )
    }
}

/// A call of the login hook.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    pub(crate) credentials: u32,
    pub(crate) run: u32,
    /// The card that the credentials are for, if there can be others.
    pub(crate) card: Option<u8>,
    pub(crate) answer: Answer,
}

impl Attempt {
    fn was_not_sent(&self) -> bool {
        matches!(self.answer, Answer::NotSent)
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer {
    Accepted,
    Refused,
    /// The card may have received the command.
    Unknown,
    NotSent,
}

/// The logins as seen by the program, by their numbers.
#[derive(Default)]
struct Logins {
    attempts: Vec<Attempt>,
    credentials: u32,
    run: u32,
}

/// The thread of a session.
pub(crate) struct Worker<'a> {
    world: &'a World,
    context: &'a Context,
    application: u8,
    role: &'static Role,
    random: Random,
    next: u32,
    /// The time limit of a run.
    limit: Duration,
    /// Whether the current credentials were refused.
    is_refused: bool,
    /// Whether the identity was forgotten since the credentials were set.
    has_forgotten: bool,
    logins: Arc<Mutex<Logins>>,
    recoveries: Arc<Mutex<usize>>,
    report: Report,
}

impl<'a> Worker<'a> {
    pub(crate) fn new(
        world: &'a World,
        context: &'a Context,
        application: u8,
        random: Random,
    ) -> Worker<'a> {
        Worker {
            world,
            context,
            application,
            role: &ROLES[usize::from(application)],
            random,
            next: 0,
            limit: DEADLINE,
            is_refused: false,
            has_forgotten: false,
            logins: Arc::default(),
            recoveries: Arc::default(),
            report: Report::default(),
        }
    }

    /// Works until it is stopped, and does a last run after everything is restored.
    pub(crate) fn work(mut self) -> Report {
        while !self.world.stopped() {
            let Some(mut session) = self.open() else {
                continue;
            };
            while !self.world.stopped() && !self.random.one_in(500) {
                self.one_run(&mut session);
                if self.role.has_guards {
                    self.between_runs(&mut session);
                }
                let pause = match self.role.lets_go && self.random.one_in(4) {
                    true => 30_000,
                    false => 2_000,
                };
                std::thread::sleep(Duration::from_micros(self.random.below(pause)));
                if self.role.lets_go && self.random.one_in(20) {
                    session.release();
                }
            }
            if self.world.stopped() {
                self.last_run(&mut session);
            }
        }
        self.report.recoveries = *self.recoveries.lock().unwrap();
        self.report.attempts = std::mem::take(&mut self.logins.lock().unwrap().attempts);
        self.report
    }

    fn open(&mut self) -> Option<Session> {
        let (application, recoveries) = (self.application, Arc::clone(&self.recoveries));
        let mut builder = Session::builder(self.context)
            .setup_when(SetUpWhen::OnLoss)
            .timeout(Some(DEADLINE))
            .keep_alive(Duration::from_secs(1))
            .on_event(move |event| {
                if let SessionEvent::Recovering { .. } = event {
                    *recoveries.lock().unwrap() += 1;
                }
            });
        builder = match self.role.reader {
            Some(reader) => builder
                .reader(&self.world.names[reader])
                .setup(move |card| set_up(card, application)),
            None => builder.setup(move |card| match serial(card)? {
                UNWANTED => Err(NotThisCard::new("it is unwanted").into()),
                _ => set_up(card, application),
            }),
        };
        if self.role.lets_go {
            let idle = Duration::from_millis(1 + self.random.below(20));
            builder = builder.release_after(idle);
        }
        if self.role.has_identity {
            builder = builder.identity(|card| Ok::<_, BoxError>(vec![serial(card)?]));
        }
        self.limit = DEADLINE;
        self.is_refused = false;
        self.has_forgotten = false;
        let (session, card) = match (self.role.reader, self.role.has_identity) {
            // The first run opens the session.
            (Some(reader), false) if self.role.logs_in => {
                let card = reader as u8;
                (builder.login(self.login(card)).build(), Some(card))
            }
            (reader, false) => (builder.open().ok()?, reader.map(|it| it as u8)),
            (reader, true) => {
                let mut session = builder.open().ok()?;
                let card = *session.identity()?.first()?;
                if reader.is_some_and(|it| it as u8 != card) {
                    // It was opened with the wrong card, which is allowed but not tested here.
                    return None;
                }
                if self.role.logs_in {
                    session.set_login(self.login(card));
                }
                (session, Some(card))
            }
        };
        self.report.cards.push((self.next, card));
        Some(session)
    }

    /// New credentials: the current PIN of this card.
    fn login(
        &mut self,
        card: u8,
    ) -> impl FnMut(&mut SessionCard<'_>) -> Result<(), BoxError> + Send + 'static {
        let (application, pin) = (self.application, self.world.pin_of(card).value());
        let logins = Arc::clone(&self.logins);
        let credentials = {
            let mut logins = logins.lock().unwrap();
            logins.credentials += 1;
            logins.credentials
        };
        move |session| {
            let number = {
                let mut logins = logins.lock().unwrap();
                let run = logins.run;
                logins.attempts.push(Attempt {
                    credentials,
                    run,
                    card: Some(card),
                    answer: Answer::Unknown,
                });
                logins.attempts.len() - 1
            };
            let answer = session.transmit(&verify(application, pin, number as u32));
            logins.lock().unwrap().attempts[number].answer = match &answer {
                Ok(answer) if answer == OK => Answer::Accepted,
                Ok(_) => Answer::Refused,
                Err(error) if error.command_may_have_run() => Answer::Unknown,
                Err(_) => Answer::NotSent,
            };
            match answer?.as_slice() {
                OK => Ok(()),
                _ => Err(format!("{:02X?}", session.transmit(TRIES_LEFT)?).into()),
            }
        }
    }

    fn one_run(&mut self, session: &mut Session) {
        let (first, application) = (self.next, self.application);
        let commands = 1 + self.random.below(3) as u32;
        self.next += commands;
        self.logins.lock().unwrap().run += 1;
        let restartable = !self.role.has_guards && self.random.one_in(8);
        let mark = if restartable { RESTARTABLE } else { 0 };
        let mut acknowledged = Vec::new();
        let mut refused = None;
        let mut work = |card: &mut SessionCard<'_>| {
            for number in first..first + commands {
                let answer = card.transmit(&numbered(application, number | mark))?;
                acknowledged.push(number | mark);
                if answer != OK {
                    refused = Some(format!("the answer to {number:x} was {answer:02X?}"));
                }
            }
            Ok::<_, scard::Error>(())
        };
        let begun = Instant::now();
        let outcome = if self.role.has_guards {
            session.begin().map(|mut card| {
                let worked = work(&mut card);
                worked.and(card.end())
            })
        } else if restartable {
            session.run_restartable(work).map(Ok)
        } else {
            session.run(work).map(Ok)
        };
        self.was_in_time("a run", begun);
        self.report.violations.extend(refused);
        self.note_card(session);
        let outcome = match outcome {
            Ok(Ok(())) => "done",
            Ok(Err(_)) => "failed in the guard",
            Err(SessionError::Interrupted { completed, .. }) => {
                let is_of_work = !self.was_refused_in_this_run();
                if is_of_work && !restartable && completed != acknowledged.len() {
                    self.report.violations.push(format!(
                        "{completed} commands completed and {} acknowledged",
                        acknowledged.len()
                    ));
                }
                "interrupted"
            }
            Err(SessionError::Deadline { .. }) => "late",
            Err(SessionError::WrongCard { .. }) => "wrong card",
            Err(error) => self.failed(session, error),
        };
        *self.report.outcomes.entry(outcome).or_default() += 1;
        self.report.acknowledged.append(&mut acknowledged);
    }

    /// Other calls of a session. None of them sends a command of the work, or logs in.
    fn between_runs(&mut self, session: &mut Session) {
        let logins = self.logins.lock().unwrap().attempts.len();
        let begun = Instant::now();
        let outcome = match self.random.below(4) {
            0 => match session.keep_alive() {
                Ok(()) => "kept alive",
                Err(_) => "not kept alive",
            },
            1 => {
                let mut looks = true;
                session.wait_for(|_| (!std::mem::take(&mut looks)).then_some(()));
                "waited"
            }
            2 => {
                self.limit = DEADLINE / (1 + self.random.below(2) as u32);
                session.set_timeout(Some(self.limit));
                "another time-out"
            }
            _ if self.random.one_in(10) && self.was_presented() => {
                session.forget_identity();
                self.has_forgotten = true;
                self.report.cards.push((self.next, None));
                "identity forgotten"
            }
            _ => return,
        };
        self.was_in_time(outcome, begun);
        self.note_card(session);
        if self.logins.lock().unwrap().attempts.len() != logins {
            let wrong = format!("logged in: {outcome}");
            self.report.violations.push(wrong);
        }
        *self.report.outcomes.entry(outcome).or_default() += 1;
    }

    /// Whether the current credentials may have reached a card. Otherwise they would be presented
    /// to the card that is identified next.
    fn was_presented(&self) -> bool {
        let logins = self.logins.lock().unwrap();
        let mut attempts = logins.attempts.iter();
        attempts.any(|it| it.credentials == logins.credentials && !it.was_not_sent())
    }

    fn was_in_time(&mut self, what: &str, begun: Instant) {
        let took = begun.elapsed();
        self.report.slowest = self.report.slowest.max(took);
        if took > self.limit + TOLERANCE {
            let late = format!("{what} took {took:?} of {:?}", self.limit);
            self.report.violations.push(late);
        }
    }

    /// Notes which card the session has found after its identity was forgotten.
    fn note_card(&mut self, session: &Session) {
        let found = session.identity().and_then(|it| it.first().copied());
        if let (Some((_, None)), Some(_)) = (self.report.cards.last(), found) {
            self.report.cards.push((self.next, found));
        }
    }

    /// Whether a refused login ended the run, whatever happened after the refusal.
    fn was_refused_in_this_run(&self) -> bool {
        let logins = self.logins.lock().unwrap();
        let last = logins.attempts.last();
        last.is_some_and(|it| it.run == logins.run && matches!(it.answer, Answer::Refused))
    }

    /// Gives the session new credentials if that is what it needs.
    fn failed(&mut self, session: &mut Session, error: SessionError) -> &'static str {
        let outcome = match error {
            SessionError::Login(_) if !self.is_refused => {
                self.is_refused = true;
                // Now, or after the next run, which must not present them.
                if self.random.one_in(2) {
                    self.renew_login(session);
                }
                return "login refused";
            }
            SessionError::LoginWithheld(LoginWithheld::Refused) if self.is_refused => {
                "login withheld"
            }
            SessionError::LoginWithheld(LoginWithheld::CardNotIdentified)
                if !self.role.has_identity || self.has_forgotten =>
            {
                "card not identified"
            }
            SessionError::LoginWithheld(LoginWithheld::OutcomeUnknown) => "outcome unknown",
            error => {
                self.report.violations.push(format!("{error:?}"));
                return "failed";
            }
        };
        self.renew_login(session);
        outcome
    }

    fn renew_login(&mut self, session: &mut Session) {
        if let (true, Some((_, Some(card)))) = (self.role.logs_in, self.report.cards.last()) {
            self.is_refused = false;
            self.has_forgotten = false;
            session.set_login(self.login(*card));
        }
    }

    /// Checks that the session works after everything is restored.
    fn last_run(&mut self, session: &mut Session) {
        let (application, next) = (self.application, self.next);
        let begun = Instant::now();
        loop {
            self.logins.lock().unwrap().run += 1;
            let number = numbered(application, next | RESTARTABLE);
            match session.run(|card| card.transmit(&number)) {
                Ok(answer) if answer == OK => return,
                Err(SessionError::WrongCard { .. } | SessionError::Deadline { .. })
                    if self.began_with_a_wrong_card() =>
                {
                    return;
                }
                Err(error @ (SessionError::Login(_) | SessionError::LoginWithheld(_))) => {
                    self.note_card(session);
                    self.failed(session, error);
                }
                // Everything is still being restored.
                outcome if begun.elapsed() > 10 * DEADLINE => {
                    let states = self.context.reader_states();
                    let last = format!("at the end: {outcome:?}, readers: {states:#?}");
                    self.report.violations.push(last);
                    return;
                }
                _ => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// Whether the session uses a swapped-in card, which is not there at the end.
    fn began_with_a_wrong_card(&self) -> bool {
        let last = self.report.cards.last();
        last.is_some_and(|(_, card)| card.is_some_and(|it| it & 0x80 != 0))
    }
}

fn serial(card: &mut SessionCard<'_>) -> Result<u8, BoxError> {
    let answer = card.transmit(SERIAL)?;
    match answer.as_slice() {
        [serial, 0x90, 0x00] => Ok(*serial),
        answer => Err(format!("no serial: {answer:02X?}").into()),
    }
}

fn set_up(card: &mut SessionCard<'_>, application: u8) -> Result<(), BoxError> {
    match card.transmit(&select(application))?.as_slice() {
        OK => Ok(()),
        answer => Err(format!("{answer:02X?}").into()),
    }
}
