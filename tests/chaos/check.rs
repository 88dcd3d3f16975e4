//! Compares what the callers observed with what the cards received.

use std::collections::BTreeMap;

use crate::card::{NOT_VERIFIED, Presented};
use crate::support::applet::{NOT_SELECTED, number_of};
use crate::worker::{Answer, RESTARTABLE, Report, UNWANTED};
use crate::{ROLES, World};

pub(crate) fn check(world: &World, reports: &[Report]) {
    let mut wrong = world.violations.lock().unwrap().clone();
    for (application, report) in reports.iter().enumerate() {
        for violation in &report.violations {
            wrong.push(format!("session {application}: {violation}"));
        }
    }
    check_commands(world, reports, &mut wrong);
    check_logins(world, reports, &mut wrong);
    let shown = wrong.len().min(50);
    assert!(
        wrong.is_empty(),
        "{} violations:\n{}",
        wrong.len(),
        wrong[..shown].join("\n")
    );
}

/// Checks that no command reached a card twice or a card other than its session's, and none was
/// lost.
fn check_commands(world: &World, reports: &[Report], wrong: &mut Vec<String>) {
    let mut arrived: BTreeMap<(u8, u32), usize> = BTreeMap::new();
    for (serial, card, _) in world.cards() {
        assert!(!card.panicked());
        for exchange in card.log() {
            let Some((application, number)) = number_of(&exchange.command) else {
                continue;
            };
            *arrived.entry((application, number)).or_default() += 1;
            match exchange.response.as_deref() {
                Some(NOT_SELECTED) => {
                    wrong.push(format!(
                        "{number:x} of {application} reached another application on {serial:x}"
                    ));
                }
                Some(NOT_VERIFIED) => {
                    wrong.push(format!(
                        "{number:x} of {application} arrived without a login"
                    ));
                }
                _ => {}
            }
            let is_its_card = match reports[usize::from(application)].card_of(number) {
                Some(expected) => expected == serial,
                None => serial != UNWANTED,
            };
            if !is_its_card {
                wrong.push(format!("{number:x} of {application} reached {serial:x}"));
            }
        }
    }
    for (&(application, number), &times) in &arrived {
        if times > 1 && number & RESTARTABLE == 0 {
            wrong.push(format!("{number:x} of {application} arrived {times} times"));
        }
    }
    let mut acknowledged = 0;
    for (application, report) in reports.iter().enumerate() {
        for &number in &report.acknowledged {
            acknowledged += 1;
            if !arrived.contains_key(&(application as u8, number)) {
                wrong.push(format!("{number:x} of {application} never arrived"));
            }
        }
    }
    let commands: usize = arrived.values().sum();
    println!("{commands} numbered commands arrived, {acknowledged} were acknowledged");
}

/// Checks that no try was used twice: credentials that were refused, or whose outcome is unknown,
/// are not presented again, nor to another card.
fn check_logins(world: &World, reports: &[Report], wrong: &mut Vec<String>) {
    let mut arrived: BTreeMap<(u8, u32), (u8, Presented)> = BTreeMap::new();
    for (serial, _, pin) in world.cards() {
        if pin.was_blocked() {
            wrong.push(format!("the PIN of {serial:x} was blocked"));
        }
        for it in pin.presented() {
            let key = (it.application, it.attempt);
            if arrived.insert(key, (serial, it)).is_some() {
                wrong.push(format!("login {key:?} arrived twice"));
            }
        }
    }
    let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
    for (application, report) in reports.iter().enumerate() {
        // The last outcome of each set of credentials, and on which card.
        let mut last: BTreeMap<u32, (Answer, Option<u8>)> = BTreeMap::new();
        for (number, attempt) in report.attempts.iter().enumerate() {
            let got_to = arrived.get(&(application as u8, number as u32));
            let name = match (attempt.answer, got_to) {
                (Answer::Accepted, Some((_, it))) if it.is_accepted => "accepted",
                (Answer::Refused, Some((_, it))) if !it.is_accepted => "refused",
                (Answer::Unknown, Some(_)) => "presented, without an answer",
                (Answer::Unknown, None) => "possibly presented, but was not",
                (Answer::NotSent, None) => "not presented",
                _ => {
                    wrong.push(format!("login {number} of {application}: {attempt:?}"));
                    "wrong"
                }
            };
            *outcomes.entry(name).or_default() += 1;
            let serial = got_to.map(|(serial, _)| *serial);
            if let (Some(expected), Some(serial)) = (attempt.card, serial) {
                if expected != serial {
                    wrong.push(format!(
                        "login {number} of {application} reached {serial:x}"
                    ));
                }
            }
            let before = last.get(&attempt.credentials).copied();
            if let Some((Answer::Refused | Answer::Unknown, _)) = before {
                wrong.push(format!(
                    "login {number} of {application} was repeated after {before:?}: {attempt:?}"
                ));
            }
            let elsewhere = before.and_then(|(_, serial)| serial);
            if serial.is_some() && elsewhere.is_some() && elsewhere != serial {
                wrong.push(format!("login {number} of {application} reached two cards"));
            }
            let known = (attempt.answer, serial.or(elsewhere));
            last.insert(attempt.credentials, known);
        }
        if !ROLES[application].logs_in && !report.attempts.is_empty() {
            wrong.push(format!("session {application} logged in unexpectedly"));
        }
    }
    let unheard = arrived.keys().filter(|(application, attempt)| {
        let attempts = &reports[usize::from(*application)].attempts;
        *attempt as usize >= attempts.len()
    });
    wrong.extend(unheard.map(|it| format!("login {it:?} is unknown to its session")));
    println!("logins: {outcomes:?}");
}
