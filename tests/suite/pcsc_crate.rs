//! What the guide says about C's PC/SC and the `pcsc` crate, shown with the crate; for unknown
//! answers, see `faults`.
#![cfg(target_os = "linux")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Barrier, Condvar, Mutex};

use pcsc::{Card, Context, Error, Protocols, ReaderState, Scope, ShareMode, State};
use scard_testkit::{Sandbox, VirtualCard, VirtualReader, isolated};

use crate::support::*;

fn establish() -> Context {
    Context::establish(Scope::User).unwrap()
}

fn connect(context: &Context, reader: &VirtualReader, mode: ShareMode, accept: Protocols) -> Card {
    let reader = std::ffi::CString::new(reader.name()).unwrap();
    context.connect(&reader, mode, accept).unwrap()
}

fn shared(context: &Context, reader: &VirtualReader) -> Card {
    connect(context, reader, ShareMode::Shared, Protocols::ANY)
}

#[test]
fn dropping_a_card_resets_it_there() {
    isolated(|| {
        let fixture = fixture();
        let card = shared(&establish(), fixture.sandbox.reader(0));
        let resets = fixture.card.resets();
        drop(card);
        let reset_once = |stats: &scard_testkit::CardStats| stats.resets == resets + 1;
        fixture.card.wait_until(SOON, reset_once).unwrap();
    });
}

/// Each card waits until the other one gets a command, too, and reports whether it did.
#[test]
fn cards_that_share_a_context_wait_for_each_other() {
    isolated(|| {
        let asked = Arc::new((Mutex::new(0), Condvar::new()));
        let meeting = || {
            let asked = Arc::clone(&asked);
            VirtualCard::new(move |_: &[u8]| {
                let (asked, changed) = &*asked;
                let mut asked = asked.lock().unwrap();
                *asked += 1;
                changed.notify_all();
                let (_asked, waited) = changed
                    .wait_timeout_while(asked, NEVER * 2, |asked| *asked < 2)
                    .unwrap();
                [0x90, u8::from(waited.timed_out())]
            })
        };
        let sandbox = Sandbox::builder().readers(2);
        let sandbox = sandbox.card(0, meeting()).card(1, meeting());
        let sandbox = sandbox.start().unwrap();
        let one = establish();
        for (contexts, in_time) in [
            ([one.clone(), one], false),
            ([establish(), establish()], true),
        ] {
            *asked.0.lock().unwrap() = 0;
            let begin = Arc::new(Barrier::new(2));
            let answers = [0, 1].map(|i| {
                let (card, begin) = (shared(&contexts[i], sandbox.reader(i)), Arc::clone(&begin));
                in_background(move || {
                    begin.wait();
                    card.transmit(COMMAND, &mut [0; 258]).map(<[u8]>::to_vec)
                })
            });
            let answers = answers.map(|answer| finish(&answer).unwrap());
            assert_eq!(answers.iter().all(|answer| answer == OK), in_time);
        }
    });
}

/// One thread waits in a context, another lists readers in it: the whole process is blocked until
/// the wait is over.
#[test]
fn a_context_that_waits_can_block_the_whole_process() {
    isolated(|| {
        let fixture = fixture();
        let context = establish();
        let time = NEVER * 8;
        let waiting = {
            let context = context.clone();
            let reader = std::ffi::CString::new(fixture.sandbox.reader(1).name()).unwrap();
            in_background(move || {
                let mut states = [ReaderState::new(reader, State::UNAWARE)];
                context.get_status_change(None, &mut states)?;
                states[0].sync_current_state();
                context.get_status_change(Some(time), &mut states)
            })
        };
        assert_blocked(&waiting);
        let listing = in_background(move || context.list_readers_len());
        assert_blocked(&listing);
        let other = in_background(|| Context::establish(Scope::User).map(drop));
        assert_blocked(&other);
        assert_eq!(finish(&waiting), Err(Error::Timeout));
        finish(&listing).unwrap();
        finish(&other).unwrap();
    });
}

#[test]
fn a_cancel_before_the_wait_is_lost() {
    isolated(|| {
        let fixture = fixture();
        let context = establish();
        context.cancel().unwrap();
        let reader = std::ffi::CString::new(fixture.sandbox.reader(1).name()).unwrap();
        let mut states = [ReaderState::new(reader, State::UNAWARE)];
        context.get_status_change(None, &mut states).unwrap();
        states[0].sync_current_state();
        let waited = context.get_status_change(Some(NEVER), &mut states);
        assert_eq!(waited, Err(Error::Timeout));
    });
}

#[test]
fn a_command_whose_answer_does_not_fit_has_run() {
    isolated(|| {
        let fixture = fixture();
        let card = shared(&establish(), fixture.sandbox.reader(0));
        let answer = card.transmit(COMMAND, &mut [0; 1]).map(<[u8]>::to_vec);
        assert_eq!(answer, Err(Error::InsufficientBuffer));
        assert_eq!(fixture.card.log().len(), 1);
    });
}

#[test]
fn a_transmit_without_a_protocol_panics_there() {
    isolated(|| {
        let fixture = fixture();
        let reader = fixture.sandbox.reader(0);
        let card = connect(
            &establish(),
            reader,
            ShareMode::Direct,
            Protocols::UNDEFINED,
        );
        let transmit = || card.transmit(COMMAND, &mut [0; 258]).map(drop);
        assert!(catch_unwind(AssertUnwindSafe(transmit)).is_err());
    });
}

#[test]
fn a_context_with_clones_is_not_released_there() {
    isolated(|| {
        let _fixture = fixture();
        let context = establish();
        let clone = context.clone();
        let (context, error) = context.release().unwrap_err();
        assert_eq!(error, Error::CantDispose);
        drop(clone);
        context.release().map_err(|(_, error)| error).unwrap();
    });
}
