//! Channels, with their threads in many orders: see [`crate::sync::model`].
//!
//! Two channels use the same card. A call that is given up leaves nothing behind, and without a
//! permit no command is sent.
#![cfg(not(model = "loom"))]

use super::*;
use crate::ErrorKind;
use crate::connection::Home;
use crate::service;
use crate::sync::model::{check, pass};
use crate::sync::thread;
use crate::values::{Protocols, ShareMode};

const MOMENT: Duration = Duration::from_millis(20);

fn opening(timeout: Option<Duration>, abort: Option<AbortHandle>) -> Opening {
    Opening {
        target: Target {
            home: Home::new(&Default::default(), None),
            reader: ReaderName::new(service::READER).unwrap(),
            access: Access::Card(ShareMode::Shared),
            protocols: Protocols::ANY,
        },
        disposition_on_drop: Disposition::Leave,
        waits_for_access: false,
        limits: Limits::new(timeout, abort),
    }
}

/// Another channel, which uses the card in a transaction and without limits.
fn another() -> thread::JoinHandle<()> {
    thread::spawn(|| {
        let mut other = opening(None, None).open().unwrap();
        other.call(Call::begin_transaction()).unwrap();
        other.transmit(CommandBytes::new(&[0xEE, 0, 0, 0])).unwrap();
        other
            .call(Call::end_transaction(Disposition::Leave))
            .unwrap();
    })
}

/// At the end, the command with this first byte must have been sent once if it was answered, and
/// not at all if the error says that it did not run. (The service checks that nothing is left
/// behind.)
fn expect(answer: Result<&[u8]>, class: u8) -> Result<()> {
    let times = match &answer {
        Ok(_) => 1..=1,
        Err(error) => {
            let why = error.kind();
            use ErrorKind::{Abandoned, Cancelled, DeadlineExceeded};
            assert!(
                matches!(why, Abandoned | Cancelled | DeadlineExceeded),
                "{error}"
            );
            0..=usize::from(error.command_may_have_run())
        }
    };
    service::expect(class, times);
    answer.map(drop)
}

#[test]
fn a_call_that_is_given_up_leaves_nothing_behind() {
    check(|| {
        let other = another();
        let clock = thread::spawn(|| pass(MOMENT));
        match opening(Some(MOMENT), None).open() {
            Ok(mut channel) => {
                for class in 1..3 {
                    let answer = channel.transmit(CommandBytes::new(&[class, 0, 0, 0]));
                    let failed = expect(answer, class).is_err();
                    assert_eq!(channel.is_abandoned(), failed);
                }
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::DeadlineExceeded),
        }
        clock.join().unwrap();
        other.join().unwrap();
    });
}

#[test]
fn a_call_that_is_stopped_leaves_nothing_behind() {
    check(|| {
        let other = another();
        let abort = AbortHandle::new();
        let stops = abort.clone();
        let stopper = thread::spawn(move || stops.abort());
        if let Ok(mut channel) = opening(None, Some(abort)).open() {
            let began = channel.call(Call::begin_transaction()).is_ok();
            let _ = expect(channel.transmit(CommandBytes::new(&[1, 0, 0, 0])), 1);
            if began {
                // Calls that end something are made anyway.
                let _ = channel.call(Call::end_transaction(Disposition::Leave));
            }
        }
        stopper.join().unwrap();
        other.join().unwrap();
    });
}

#[cfg(feature = "async")]
mod futures {
    use std::pin::pin;
    use std::task::Poll;

    use super::*;
    use crate::sync::model::{Task, block_on};

    /// Polls a future this many times, then drops it. Returns its output if it completed by then.
    fn polled<T>(future: impl Future<Output = T>, times: usize) -> Option<T> {
        let (mut future, task) = (pin!(future), Task::new());
        for _ in 0..times {
            if let Poll::Ready(output) = task.poll(&mut future.as_mut()) {
                return Some(output);
            }
            thread::yield_now();
        }
        None
    }

    fn open() -> Channel {
        block_on(Box::pin(opening(None, None).open_detached())).unwrap()
    }

    #[test]
    fn a_connect_that_is_dropped_leaves_nothing_behind() {
        for times in 1..4 {
            check(move || {
                let other = another();
                drop(polled(opening(None, None).open_detached(), times));
                other.join().unwrap();
            });
        }
    }

    #[test]
    fn a_command_that_is_dropped_runs_once_or_not_at_all() {
        for times in 0..3 {
            check(move || {
                let other = another();
                let mut channel = open();
                let answer = polled(
                    channel.transmit_detached(CommandBytes::new(&[1, 0, 0, 0])),
                    times,
                );
                match answer {
                    Some(answer) => expect(answer, 1).unwrap(),
                    None if times == 0 => service::expect(1, 0..=0),
                    None => service::expect(1, 0..=1),
                }
                let next = Box::pin(channel.transmit_detached(CommandBytes::new(&[2, 0, 0, 0])));
                let next = expect(block_on(next), 2);
                // The call returned or never began, and the card still works; or the card is lost.
                assert_eq!(next.is_err(), channel.is_abandoned());
                drop(channel);
                other.join().unwrap();
            });
        }
    }

    /// The end of a dropped transaction is still pending when the next call begins, or when the
    /// channel is also dropped.
    #[test]
    fn a_transaction_that_is_dropped_ends() {
        for times in 0..4 {
            check(move || {
                let other = another();
                let mut channel = open();
                let begin = channel.call_detached(Call::begin_transaction());
                let began = polled(begin, times);
                if began.is_some() {
                    channel.end_transaction_later();
                }
                if times % 2 == 0 && !channel.is_abandoned() {
                    let next = channel.transmit_detached(CommandBytes::new(&[1, 0, 0, 0]));
                    block_on(Box::pin(next)).unwrap();
                }
                // The other one waits for the end of the transaction, not of the channel.
                if times < 3 {
                    other.join().unwrap();
                    drop(channel);
                } else {
                    drop(channel);
                    other.join().unwrap();
                }
            });
        }
    }

    #[test]
    fn a_deadline_leaves_nothing_behind() {
        check(|| {
            let other = another();
            let clock = thread::spawn(|| pass(MOMENT));
            let opened = block_on(Box::pin(opening(Some(MOMENT), None).open_detached()));
            if let Ok(mut channel) = opened {
                for class in 1..3 {
                    let command = [class, 0, 0, 0];
                    let answer = Box::pin(channel.transmit_detached(CommandBytes::new(&command)));
                    let _ = expect(block_on(answer), class);
                }
            }
            clock.join().unwrap();
            other.join().unwrap();
            crate::limits::Alarm::outlast();
        });
    }
}
