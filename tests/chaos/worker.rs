//! Sessions that send numbered commands.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use scard::{BoxError, Context, Session, SessionCard, SessionError, SessionEvent, SetUpWhen};
use scard_testkit::{Applet, Reply, VirtualCard};

use crate::support::OK;
use crate::support::applet::{Applications, SERIAL, number_of, numbered, select};
use crate::support::random::Random;
use crate::{DEADLINE, SWAPPED, TOLERANCE, World};

/// Marks commands of work that may be repeated.
pub(crate) const RESTARTABLE: u32 = 1 << 31;

/// A card that is torn out in the middle of a command, now and then.
pub(crate) struct Shaky {
    card: Applications,
    random: Random,
}

impl Shaky {
    pub(crate) fn card(serial: &[u8], random: Random) -> VirtualCard {
        VirtualCard::with_applet(Shaky {
            card: Applications::new(serial),
            random,
        })
    }
}

impl Applet for Shaky {
    fn process(&mut self, command: &[u8]) -> Reply {
        if number_of(command).is_some() && self.random.one_in(2_000) {
            return Reply::Drop;
        }
        self.card.process(command)
    }

    fn power_on(&mut self) {
        self.card.power_on();
    }

    fn power_off(&mut self) {
        self.card.power_off();
    }

    fn reset(&mut self) {
        self.card.reset();
    }
}

/// What a session was told and what became of it.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) acknowledged: Vec<u32>,
    pub(crate) violations: Vec<String>,
    outcomes: BTreeMap<&'static str, usize>,
    recoveries: usize,
    slowest: Duration,
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

/// Works until it is stopped, and once more when all is well again.
pub(crate) fn work(
    world: &World,
    context: &Context,
    reader: usize,
    application: u8,
    mut random: Random,
) -> Report {
    let mut report = Report::default();
    let recoveries = Arc::new(Mutex::new(0));
    let mut next = 0;
    while !world.stopped() {
        let Some(mut session) = open(world, context, reader, application, &recoveries) else {
            continue;
        };
        while !world.stopped() && !random.one_in(500) {
            one_run(
                &mut session,
                application,
                &mut next,
                &mut random,
                &mut report,
            );
            std::thread::sleep(Duration::from_micros(random.below(2_000)));
        }
        if world.stopped() {
            last_run(&mut session, application, next, &mut report);
        }
    }
    report.recoveries = *recoveries.lock().unwrap();
    report
}

fn open(
    world: &World,
    context: &Context,
    reader: usize,
    application: u8,
    recoveries: &Arc<Mutex<usize>>,
) -> Option<Session> {
    let recoveries = Arc::clone(recoveries);
    let mut builder = Session::builder(context)
        .reader(&world.names[reader])
        .setup(move |card| set_up(card, application))
        .setup_when(SetUpWhen::OnLoss)
        .timeout(Some(DEADLINE))
        .on_event(move |event| {
            if let SessionEvent::Recovering { .. } = event {
                *recoveries.lock().unwrap() += 1;
            }
        });
    if reader >= SWAPPED {
        builder = builder.identity(move |card| -> Result<Vec<u8>, BoxError> {
            let answer = card.transmit(SERIAL)?;
            let serial = answer.strip_suffix(OK).ok_or("no serial")?;
            if serial != [reader as u8] {
                // The session must not begin with a wrong card.
                return Ok(vec![serial.first().copied().unwrap_or(0)]);
            }
            Ok(serial.to_vec())
        });
    }
    let session = builder.open().ok()?;
    // It began with the wrong card: that is its right then, and not what is tested.
    let right = session.identity().is_none_or(|it| it == [reader as u8]);
    right.then_some(session)
}

fn set_up(card: &mut SessionCard<'_>, application: u8) -> Result<(), BoxError> {
    match card.transmit(&select(application))?.as_slice() {
        OK => Ok(()),
        answer => Err(format!("{answer:02X?}").into()),
    }
}

fn one_run(
    session: &mut Session,
    application: u8,
    next: &mut u32,
    random: &mut Random,
    report: &mut Report,
) {
    let first = *next;
    let commands = 1 + random.below(3) as u32;
    *next += commands;
    let restartable = random.one_in(8);
    let mark = if restartable { RESTARTABLE } else { 0 };
    let mut acknowledged = Vec::new();
    let mut refused = None;
    let work = |card: &mut SessionCard<'_>| {
        for number in first..first + commands {
            let answer = card.transmit(&numbered(application, number | mark))?;
            acknowledged.push(number | mark);
            if answer != OK {
                refused = Some(format!("{number:x} was answered with {answer:02X?}"));
            }
        }
        Ok::<_, scard::Error>(())
    };
    let begun = Instant::now();
    let outcome = if restartable {
        session.run_restartable(work)
    } else {
        session.run(work)
    };
    let took = begun.elapsed();
    report.slowest = report.slowest.max(took);
    if took > DEADLINE + TOLERANCE {
        report.violations.push(format!("a run took {took:?}"));
    }
    report.violations.extend(refused);
    let outcome = match outcome {
        Ok(()) => "done",
        Err(SessionError::Interrupted { completed, .. }) => {
            if !restartable && completed != acknowledged.len() {
                report.violations.push(format!(
                    "{completed} commands completed and {} acknowledged",
                    acknowledged.len()
                ));
            }
            "interrupted"
        }
        Err(SessionError::Deadline { .. }) => "late",
        Err(SessionError::WrongCard { .. }) => "wrong card",
        Err(error) => {
            report.violations.push(format!("{error:?}"));
            "failed"
        }
    };
    *report.outcomes.entry(outcome).or_default() += 1;
    report.acknowledged.append(&mut acknowledged);
}

/// When everything is well again, the session works.
fn last_run(session: &mut Session, application: u8, next: u32, report: &mut Report) {
    let begun = Instant::now();
    loop {
        match session.run(|card| card.transmit(&numbered(application, next | RESTARTABLE))) {
            Ok(answer) if answer == OK => return,
            // The world is being restored.
            outcome if begun.elapsed() > 10 * DEADLINE => {
                report.violations.push(format!("at the end: {outcome:?}"));
                return;
            }
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}
