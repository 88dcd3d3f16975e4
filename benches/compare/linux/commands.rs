//! How long a command takes, by each way to send one.

use std::time::{Duration, Instant};

use scard::{AsyncCard, Command, Disposition};
use scard_testkit::Driver;
use smol::future::block_on;

use super::measure::{Side, compare, each};
use super::stage::{COMMAND, Stage, plain_card};
use super::{Answer, Effort, raw};

/// Commands in a turn.
const TURN: u32 = 8;
const ROUNDS: usize = 1_500;
/// Never reached.
const LIMIT: Option<Duration> = Some(Duration::from_secs(60));

pub(super) fn run(driver: Driver, effort: Effort) -> Answer {
    let stage = Stage::new(driver, plain_card())?;
    alone(&stage, effort)?;
    in_transaction(&stage, effort)?;
    whole_transactions(&stage, effort)
}

/// One call of PC/SC for each command.
fn alone(stage: &Stage, effort: Effort) -> Answer {
    let (first, second, pcsc) = (
        stage.connect_raw()?,
        stage.connect_raw()?,
        stage.connect_pcsc()?,
    );
    let (mut card, mut allocating) = (stage.connect()?, stage.connect()?);
    let mut buffers = [const { Vec::new() }; 3];
    buffers.fill(vec![0; raw::BUFFER]);
    let [of_first, of_second, of_pcsc] = &mut buffers;
    let sides = vec![
        Side::c("C: `SCardTransmit`", || {
            each(TURN, || first.transmit(COMMAND, of_first).map(drop))
        }),
        Side::other("the same once more", || {
            each(TURN, || second.transmit(COMMAND, of_second).map(drop))
        }),
        Side::pcsc("`pcsc`: `transmit`", || {
            each(TURN, || {
                pcsc.transmit(COMMAND, of_pcsc)?;
                Ok(())
            })
        }),
        Side::other("`transmit_ref`", || {
            each(TURN, || {
                card.transmit_ref(COMMAND)?;
                Ok(())
            })
        }),
        Side::other("`transmit`", || {
            each(TURN, || {
                allocating.transmit(COMMAND)?;
                Ok(())
            })
        }),
    ];
    compare(effort, ROUNDS, sides, stage.tidy())?;
    // Its drop would reset the card.
    pcsc.disconnect(pcsc::Disposition::LeaveCard)
        .map_err(|(_, error)| error)?;
    Ok(())
}

/// In a transaction, whose beginning and end do not count.
fn in_transaction(stage: &Stage, effort: Effort) -> Answer {
    let c = stage.connect_raw()?;
    let (mut exchanging, mut limited) = (stage.connect()?, stage.connect()?);
    limited.set_timeout(LIMIT);
    let mut future = AsyncCard::from(stage.connect()?);
    let command = Command::parse(COMMAND)?;
    let mut buffer = vec![0; raw::BUFFER];
    let sides = vec![
        Side::c("in a transaction, C: `SCardTransmit`", || {
            c.begin()?;
            let time = each(TURN, || c.transmit(COMMAND, &mut buffer).map(drop));
            c.end()?;
            time
        }),
        Side::other("`exchange`", || {
            let mut transaction = exchanging.transaction()?;
            let time = each(TURN, || {
                let _ = transaction.exchange(&command)?;
                Ok(())
            });
            transaction.end(Disposition::Leave)?;
            time
        }),
        Side::other("`transmit_ref` with a time-out", || {
            let mut transaction = limited.transaction()?;
            let time = each(TURN, || {
                transaction.transmit_ref(COMMAND)?;
                Ok(())
            });
            transaction.end(Disposition::Leave)?;
            time
        }),
        Side::other("future of `transmit`", || {
            block_on(async {
                let mut transaction = future.transaction().await?;
                let begun = Instant::now();
                for _ in 0..TURN {
                    transaction.transmit(COMMAND).await?;
                }
                let time = begun.elapsed() / TURN;
                transaction.end(Disposition::Leave).await?;
                Ok(time)
            })
        }),
    ];
    compare(effort, ROUNDS, sides, stage.tidy())
}

/// What holds a transaction for one command.
fn whole_transactions(stage: &Stage, effort: Effort) -> Answer {
    let (c, mut pcsc) = (stage.connect_raw()?, stage.connect_pcsc()?);
    let (mut exchanging, mut limited) = (stage.connect()?, stage.connect()?);
    limited.set_timeout(LIMIT);
    let mut future = AsyncCard::from(stage.connect()?);
    let command = Command::parse(COMMAND)?;
    let (mut buffer, mut of_pcsc) = (vec![0; raw::BUFFER], vec![0; raw::BUFFER]);
    let sides = vec![
        Side::c("with a transaction of its own, C: three calls", || {
            each(TURN, || {
                c.begin()?;
                c.transmit(COMMAND, &mut buffer)?;
                c.end()
            })
        }),
        Side::pcsc("`pcsc`: the same", || {
            each(TURN, || {
                let transaction = pcsc.transaction()?;
                transaction.transmit(COMMAND, &mut of_pcsc)?;
                let ended = transaction.end(pcsc::Disposition::LeaveCard);
                Ok(ended.map_err(|(_, error)| error)?)
            })
        }),
        Side::other("`Card::exchange`", || {
            each(TURN, || {
                let _ = exchanging.exchange(&command)?;
                Ok(())
            })
        }),
        Side::other("`transmit_ref` with a time-out", || {
            each(TURN, || {
                limited.transmit_ref(COMMAND)?;
                Ok(())
            })
        }),
        Side::other("future of `transmit`", || {
            block_on(async {
                let begun = Instant::now();
                for _ in 0..TURN {
                    future.transmit(COMMAND).await?;
                }
                Ok(begun.elapsed() / TURN)
            })
        }),
    ];
    compare(effort, ROUNDS, sides, stage.tidy())?;
    pcsc.disconnect(pcsc::Disposition::LeaveCard)
        .map_err(|(_, error)| error)?;
    Ok(())
}
