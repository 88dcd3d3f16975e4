//! Calls that are given up during a command.

use super::*;

/// Gives the slow command up with the card held in each way, although the drop should reset the
/// card.
#[track_caller]
fn assert_given_up(give_up: fn(&Fixture, ConnectOptions, Hold, &mut dyn FnMut())) {
    let fixture = slow_fixture();
    for hold in HOLDS {
        let mut others = Others::beside(&fixture, hold);
        let options = hold.options().disposition_on_drop(Disposition::Reset);
        give_up(&fixture, options, hold, &mut || others.note());
        // The connection ends after the command, which runs to completion.
        others.see(Left);
        assert_answered(&fixture);
    }
}

#[test]
fn a_passed_deadline_leaves_the_card() {
    isolated(|| {
        assert_given_up(|fixture, options, hold, note| {
            let mut card = fixture.try_connect(options).unwrap();
            hold.take(&mut card);
            note();
            let commands = fixture.card.commands();
            card.set_timeout(Some(SLOWNESS / 2));
            let error = card.transmit(SLOW).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
            assert_eq!(fixture.card.commands(), commands + 1, "too busy a machine");
        });
    });
}

#[test]
fn an_abort_leaves_the_card() {
    isolated(|| {
        assert_given_up(|fixture, options, hold, note| {
            let abort = AbortHandle::new();
            let mut card = fixture.try_connect(options.abort_handle(&abort)).unwrap();
            hold.take(&mut card);
            note();
            let commands = fixture.card.commands();
            let slow = in_background(move || card.transmit(SLOW).map(drop));
            fixture.card.wait_for_commands(commands + 1, SOON).unwrap();
            abort.abort();
            let error = finish(&slow).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Cancelled);
        });
    });
}

#[cfg(feature = "async")]
#[test]
fn a_dropped_future_leaves_the_card() {
    use crate::support::executor::{Woken, block_on};
    use scard::AsyncContext;

    isolated(|| {
        assert_given_up(|fixture, options, hold, note| {
            let context = AsyncContext::from(fixture.context.clone());
            let mut card = block_on(context.connect(&fixture.reader, options)).unwrap();
            if hold == InTransaction {
                mem::forget(block_on(card.transaction()).unwrap());
            }
            assert_eq!(block_on(card.transmit(COMMAND)).unwrap(), OK);
            note();
            let commands = fixture.card.commands();
            let mut slow = Box::pin(card.transmit(SLOW));
            assert!(Woken::new().poll(slow.as_mut()).is_pending());
            fixture.card.wait_for_commands(commands + 1, SOON).unwrap();
            drop(slow);
            assert!(card.is_abandoned());
        });
    });
}
