//! Connecting, and continuing after another program has reset the card.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use pcsc::ffi;
use scard::{Card, Initialization, Protocols, ReturnCode, Session, ShareMode};
use scard_testkit::Driver;

use super::measure::{Side, compare, each};
use super::stage::{COMMAND, Stage, plain_card};
use super::{Answer, Effort, raw};

pub(super) fn run(driver: Driver, effort: Effort) -> Answer {
    let stage = Stage::new(driver, plain_card())?;
    connections(&stage, effort)?;
    resets(&stage, effort)?;
    resets_in_transactions(&stage, effort)
}

fn connections(stage: &Stage, effort: Effort) -> Answer {
    // Keeps the card powered.
    let of_other = raw::Context::establish()?;
    let _other = of_other.connect(&stage.name)?;
    let in_context_of_its_own = || {
        each(1, || {
            let context = raw::Context::establish()?;
            drop(context.connect(&stage.name)?);
            drop(context);
            Ok(())
        })
    };
    let sides = vec![
        Side::c(
            "connect and disconnect, C: in a new context",
            in_context_of_its_own,
        ),
        Side::other("the same once more", in_context_of_its_own),
        Side::other("C: in an existing context", || {
            each(1, || stage.connect_raw().map(drop))
        }),
        Side::pcsc("`pcsc`: in an existing context", || {
            each(1, || {
                let left = stage
                    .connect_pcsc()?
                    .disconnect(pcsc::Disposition::LeaveCard);
                Ok(left.map_err(|(_, error)| error)?)
            })
        }),
        Side::other("`Context::connect` and drop", || {
            each(1, || stage.connect().map(drop))
        }),
        Side::other("socket: `Context::connect` and drop", || {
            each(1, || stage.connect_by_socket().map(drop))
        }),
    ];
    compare(effort, 1_000, sides, stage.tidy())?;
    let mut buffer = vec![0; raw::BUFFER];
    let mut of_pcsc = vec![0; raw::BUFFER];
    let sides = vec![
        Side::c("connect, command, disconnect, C: in a new context", || {
            each(1, || {
                let context = raw::Context::establish()?;
                context
                    .connect(&stage.name)?
                    .transmit(COMMAND, &mut buffer)?;
                Ok(())
            })
        }),
        Side::pcsc("`pcsc`: in a new context", || {
            each(1, || {
                let context = pcsc::Context::establish(pcsc::Scope::User)?;
                let (mode, any) = (pcsc::ShareMode::Shared, pcsc::Protocols::ANY);
                let card = context.connect(&stage.name, mode, any)?;
                card.transmit(COMMAND, &mut of_pcsc)?;
                let left = card.disconnect(pcsc::Disposition::LeaveCard);
                Ok(left.map_err(|(_, error)| error)?)
            })
        }),
        Side::other("`Context::connect`, `transmit_ref` and drop", || {
            each(1, || {
                stage.connect()?.transmit_ref(COMMAND)?;
                Ok(())
            })
        }),
        Side::other("socket: the same", || {
            each(1, || {
                stage.connect_by_socket()?.transmit_ref(COMMAND)?;
                Ok(())
            })
        }),
    ];
    compare(effort, 1_000, sides, stage.tidy())
}

/// Resets the card from another connection, and measures what follows.
fn after_reset(other: &mut raw::Card, mut work: impl FnMut() -> Answer) -> Answer<Duration> {
    other.reconnect(ffi::SCARD_RESET_CARD)?;
    let begun = Instant::now();
    work()?;
    Ok(begun.elapsed())
}

/// A command that fails, a reconnect, the command again.
fn by_c(card: &mut raw::Card, buffer: &mut [u8]) -> Answer {
    match card.try_transmit(COMMAND, buffer) {
        Err(code) if code == ReturnCode::W_RESET_CARD.raw() => {
            card.reconnect(ffi::SCARD_LEAVE_CARD)?;
            card.transmit(COMMAND, buffer)?;
            Ok(())
        }
        other => Err(format!("no reset seen: {other:X?}").into()),
    }
}

fn resets(stage: &Stage, effort: Effort) -> Answer {
    // A reset affects all connections, so each side is connected only during its turn. The resets
    // come from a separate context, as from another program.
    let of_other = raw::Context::establish()?;
    let other = RefCell::new(of_other.connect(&stage.name)?);
    let mut buffer = vec![0; raw::BUFFER];
    let mut of_again = vec![0; raw::BUFFER];
    let mut of_pcsc = vec![0; raw::BUFFER];
    let sides = vec![
        Side::c(
            "after a reset by another program, C: fail, reconnect, command",
            || {
                let mut card = stage.connect_raw()?;
                after_reset(&mut other.borrow_mut(), || by_c(&mut card, &mut buffer))
            },
        ),
        Side::other("the same once more", || {
            let mut card = stage.connect_raw()?;
            after_reset(&mut other.borrow_mut(), || by_c(&mut card, &mut of_again))
        }),
        Side::pcsc("`pcsc`: the same", || {
            let mut card = stage.connect_pcsc()?;
            let time = after_reset(&mut other.borrow_mut(), || {
                match card.transmit(COMMAND, &mut of_pcsc) {
                    Err(pcsc::Error::ResetCard) => {
                        let (mode, any) = (pcsc::ShareMode::Shared, pcsc::Protocols::ANY);
                        card.reconnect(mode, any, pcsc::Disposition::LeaveCard)?;
                        card.transmit(COMMAND, &mut of_pcsc)?;
                        Ok(())
                    }
                    other => Err(format!("no reset seen: {other:?}").into()),
                }
            });
            card.disconnect(pcsc::Disposition::LeaveCard)
                .map_err(|(_, error)| error)?;
            time
        }),
        Side::other("`Card`: the same", || {
            by_card(stage.connect()?, &mut other.borrow_mut())
        }),
        Side::other("socket: the same", || {
            by_card(stage.connect_by_socket()?, &mut other.borrow_mut())
        }),
    ];
    compare(effort, 300, sides, stage.tidy())
}

fn by_card(mut card: Card, other: &mut raw::Card) -> Answer<Duration> {
    // Allocates the buffer in advance, as on the other sides.
    card.transmit_ref(COMMAND)?;
    after_reset(other, || match card.transmit_ref(COMMAND) {
        Err(error) if error.code() == ReturnCode::W_RESET_CARD => {
            let (mode, any) = (ShareMode::Shared, Protocols::ANY);
            card.reconnect(mode, any, Initialization::Leave)?;
            card.transmit_ref(COMMAND)?;
            Ok(())
        }
        other => Err(format!("no reset seen: {other:?}").into()),
    })
}

/// What a session does automatically.
fn resets_in_transactions(stage: &Stage, effort: Effort) -> Answer {
    let of_other = raw::Context::establish()?;
    let other = RefCell::new(of_other.connect(&stage.name)?);
    let mut c = stage.connect_raw()?;
    let open = |context| Session::builder(context).reader(&stage.reader).open();
    let mut session = open(&stage.context)?;
    let mut by_socket = open(&stage.socket_context)?;
    let mut buffer = vec![0; raw::BUFFER];
    let run = |session: &mut Session| -> Answer<Duration> {
        after_reset(&mut other.borrow_mut(), || {
            session.run(|card| card.transmit(COMMAND).map(drop))?;
            Ok(())
        })
    };
    let sides = vec![
        Side::c(
            "after a reset by another program, C: begin, fail, reconnect, begin, command, end",
            || {
                after_reset(&mut other.borrow_mut(), || {
                    c.begin_acknowledging_reset()?;
                    c.transmit(COMMAND, &mut buffer)?;
                    c.end()
                })
            },
        ),
        Side::other("`Session::run`, which does this automatically", || {
            run(&mut session)
        }),
        Side::other("socket: the same", || run(&mut by_socket)),
    ];
    compare(effort, 300, sides, stage.tidy())
}
