//! How long a command takes with each way of sending it.

use std::time::{Duration, Instant};

use scard::{AsyncCard, Card, Command, Disposition, Transaction, Transmit};
use scard_testkit::Driver;
use smol::future::block_on;

use super::measure::{Side, compare, each};
use super::stage::{COMMAND, Stage, plain_card};
use super::{Answer, Effort, raw};

/// Commands per turn.
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

/// One PC/SC call per command.
fn alone(stage: &Stage, effort: Effort) -> Answer {
    let (first, second, pcsc) = (
        stage.connect_raw()?,
        stage.connect_raw()?,
        stage.connect_pcsc()?,
    );
    let (mut card, mut allocating) = (stage.connect()?, stage.connect()?);
    let (mut by_socket, mut in_time) = (stage.connect_by_socket()?, stage.connect_by_socket()?);
    in_time.set_timeout(LIMIT);
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
        Side::other("`transmit_ref`", || transmit_ref(&mut card)),
        Side::other("`transmit`", || {
            each(TURN, || {
                allocating.transmit(COMMAND)?;
                Ok(())
            })
        }),
        Side::other("socket: `transmit_ref`", || transmit_ref(&mut by_socket)),
        Side::other("socket: `transmit_ref` with a time-out", || {
            transmit_ref(&mut in_time)
        }),
    ];
    compare(effort, ROUNDS, sides, stage.tidy())?;
    // Dropping it would reset the card.
    pcsc.disconnect(pcsc::Disposition::LeaveCard)
        .map_err(|(_, error)| error)?;
    Ok(())
}

fn transmit_ref(card: &mut impl Transmit) -> Answer<Duration> {
    each(TURN, || {
        card.transmit_ref(COMMAND)?;
        Ok(())
    })
}

fn exchange(card: &mut impl Transmit, command: &Command) -> Answer<Duration> {
    each(TURN, || {
        let _ = card.exchange(command)?;
        Ok(())
    })
}

/// In a transaction, whose beginning and end are not measured.
fn in_transaction(stage: &Stage, effort: Effort) -> Answer {
    fn within(
        card: &mut Card,
        work: impl FnOnce(&mut Transaction<'_>) -> Answer<Duration>,
    ) -> Answer<Duration> {
        let mut transaction = card.transaction()?;
        let time = work(&mut transaction);
        transaction.end(Disposition::Leave)?;
        time
    }
    fn future(card: &mut AsyncCard) -> Answer<Duration> {
        block_on(async {
            let mut transaction = card.transaction().await?;
            let begun = Instant::now();
            for _ in 0..TURN {
                transaction.transmit(COMMAND).await?;
            }
            let time = begun.elapsed() / TURN;
            transaction.end(Disposition::Leave).await?;
            Ok(time)
        })
    }

    let c = stage.connect_raw()?;
    let mut cards = stage.both_ways()?;
    let mut limited = stage.both_ways()?;
    for card in &mut limited {
        card.set_timeout(LIMIT);
    }
    let mut futures = stage.both_ways()?.map(AsyncCard::from);
    let ([by_library, by_socket], [limited, limited_by_socket]) = (&mut cards, &mut limited);
    let [future_by_library, future_by_socket] = &mut futures;
    let command = &Command::parse(COMMAND)?;
    let mut buffer = vec![0; raw::BUFFER];
    let sides = vec![
        Side::c("in a transaction, C: `SCardTransmit`", || {
            c.begin()?;
            let time = each(TURN, || c.transmit(COMMAND, &mut buffer).map(drop));
            c.end()?;
            time
        }),
        Side::other("`exchange`", || {
            within(by_library, |card| exchange(card, command))
        }),
        Side::other("`transmit_ref` with a time-out", || {
            within(limited, |card| transmit_ref(card))
        }),
        Side::other("future of `transmit`", || future(future_by_library)),
        Side::other("socket: `exchange`", || {
            within(by_socket, |card| exchange(card, command))
        }),
        Side::other("socket: `transmit_ref` with a time-out", || {
            within(limited_by_socket, |card| transmit_ref(card))
        }),
        Side::other("socket: future of `transmit`", || future(future_by_socket)),
    ];
    compare(effort, ROUNDS, sides, stage.tidy())
}

/// With a transaction for each command.
fn whole_transactions(stage: &Stage, effort: Effort) -> Answer {
    fn future(card: &mut AsyncCard) -> Answer<Duration> {
        block_on(async {
            let begun = Instant::now();
            for _ in 0..TURN {
                card.transmit(COMMAND).await?;
            }
            Ok(begun.elapsed() / TURN)
        })
    }

    let (c, mut pcsc) = (stage.connect_raw()?, stage.connect_pcsc()?);
    let mut cards = stage.both_ways()?;
    let mut limited = stage.connect()?;
    limited.set_timeout(LIMIT);
    let mut futures = stage.both_ways()?.map(AsyncCard::from);
    let [by_library, by_socket] = &mut cards;
    let [future_by_library, future_by_socket] = &mut futures;
    let command = &Command::parse(COMMAND)?;
    let (mut buffer, mut of_pcsc) = (vec![0; raw::BUFFER], vec![0; raw::BUFFER]);
    let sides = vec![
        Side::c("with its own transaction, C: three calls", || {
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
        Side::other("`Card::exchange`", || exchange(by_library, command)),
        Side::other("`transmit_ref` with a time-out", || {
            transmit_ref(&mut limited)
        }),
        Side::other("future of `transmit`", || future(future_by_library)),
        Side::other("socket: `Card::exchange`", || exchange(by_socket, command)),
        Side::other("socket: future of `transmit`", || future(future_by_socket)),
    ];
    compare(effort, ROUNDS, sides, stage.tidy())?;
    pcsc.disconnect(pcsc::Disposition::LeaveCard)
        .map_err(|(_, error)| error)?;
    Ok(())
}
