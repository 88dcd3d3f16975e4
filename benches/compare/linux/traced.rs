//! How long a command takes with a subscriber of `tracing`.
//!
//! A separate table, and so a separate process: once a process has had a subscriber, `tracing`
//! stays slower in it.

use scard_testkit::Driver;
use tracing::dispatcher::with_default;

use super::measure::{Side, compare, each};
use super::stage::{COMMAND, Stage, plain_card};
use super::{Answer, Effort, raw, subscriber};

const TURN: u32 = 8;

pub(super) fn run(driver: Driver, effort: Effort) -> Answer {
    let stage = Stage::new(driver, plain_card())?;
    let c = stage.connect_raw()?;
    let (mut ignored, mut recorded) = (stage.connect()?, stage.connect()?);
    let (of_others, of_calls) = (subscriber::of_others(), subscriber::of_calls());
    let mut buffer = vec![0; raw::BUFFER];
    let sides = vec![
        Side::c("C: `SCardTransmit`", || {
            each(TURN, || c.transmit(COMMAND, &mut buffer).map(drop))
        }),
        Side::other("`transmit_ref`, subscriber for other targets", || {
            with_default(&of_others, || {
                each(TURN, || {
                    ignored.transmit_ref(COMMAND)?;
                    Ok(())
                })
            })
        }),
        Side::other("`transmit_ref`, every call recorded", || {
            with_default(&of_calls, || {
                each(TURN, || {
                    recorded.transmit_ref(COMMAND)?;
                    Ok(())
                })
            })
        }),
    ];
    compare(effort, 1_000, sides, stage.tidy())
}
