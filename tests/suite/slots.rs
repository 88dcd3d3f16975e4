//! Slots that cannot be used at the same time, as in most readers with several: the daemon holds up
//! calls to one while another is busy.
#![cfg(target_os = "linux")]

use std::sync::mpsc;
use std::time::{Duration, Instant};

use scard::{ConnectOptions, Context, ContextOptions, ReaderName};
use scard_testkit::{Driver, ReaderModel, Sandbox, VirtualCard, isolated};

use crate::support::*;

/// Long enough for a busy machine.
const LIMIT: Duration = Duration::from_secs(4);

/// How long a card takes if the test has failed.
const SLOW: Duration = Duration::from_secs(12);

#[test]
fn a_slow_card_delays_no_card_in_another_reader() {
    isolated(|| {
        let builder = Sandbox::builder().driver(Driver::Kit);
        let twin = ReaderModel::new("Twin").slots(2).slots_take_turns();
        let sandbox = builder.reader(twin).reader("Other").start().unwrap();
        let (release, released) = mpsc::channel::<()>();
        let slow = VirtualCard::new(move |_: &[u8]| {
            let _ = released.recv_timeout(SLOW);
            OK
        });
        let slow = sandbox.reader(0).insert(slow).unwrap();
        for reader in [1, 2] {
            sandbox.reader(reader).insert(plain_card()).unwrap();
        }
        let name = |slot: usize| ReaderName::new(sandbox.reader(slot).name()).unwrap();

        let context = ContextOptions::new().timeout(Some(LIMIT));
        let context = context.establish().unwrap();
        let connect = |slot| context.connect(name(slot), ConnectOptions::new());
        let idle = connect(1).unwrap();
        let mut other = connect(2).unwrap();
        let slot = name(0);
        let busy = in_background(move || {
            let context = Context::establish()?;
            let mut card = context.connect(&slot, ConnectOptions::new())?;
            card.transmit(COMMAND)
        });
        slow.wait_for_commands(1, SOON).unwrap();

        let mut late = Vec::new();
        let mut timed = |what: &str, call: &mut dyn FnMut() -> scard::Result<()>| {
            let begun = Instant::now();
            let answer = call();
            let after = begun.elapsed();
            if answer.is_err() || after > LIMIT {
                late.push(format!("{what}: {answer:?} after {after:?}"));
            }
        };
        let mut idle = Some(idle);
        timed("drop of the card in the other slot", &mut || {
            drop(idle.take());
            Ok(())
        });
        timed("transmit to the other reader", &mut || {
            other.transmit(COMMAND).map(drop)
        });
        timed("connect to the other reader", &mut || connect(2).map(drop));
        timed("another context, without a limit", &mut || {
            Context::establish().map(drop)
        });
        drop(release);
        assert_eq!(finish(&busy).unwrap(), OK);
        assert!(late.is_empty(), "{late:#?}");
    });
}
