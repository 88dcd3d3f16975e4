//! Reading 64 KiB, or as much of it as the drivers can carry.

use scard::apdu::{ExchangeOptions, Form};
use scard::{Card, Command};
use scard_testkit::{Driver, VirtualCard};

use super::measure::{Side, compare, each};
use super::stage::Stage;
use super::{Answer, Effort, raw};

/// The drivers carry 65,535 bytes at a time, status word included.
const LEN: usize = 65_533;
/// The length of each answer to GET RESPONSE.
const PIECE: usize = 256;
/// READ BINARY, with extended and short length.
const EXTENDED: &[u8] = &[0x00, 0xB0, 0x00, 0x00, 0x00, 0x00, 0x00];
const SHORT: &[u8] = &[0x00, 0xB0, 0x00, 0x00, 0x00];

/// A card that returns a long file at once, or in pieces with 61XX.
fn card() -> VirtualCard {
    let file: Vec<u8> = (0..LEN).map(|at| (at % 251) as u8).collect();
    let mut given = 0;
    VirtualCard::new(move |command: &[u8]| {
        let until = match command {
            EXTENDED => {
                given = 0;
                LEN
            }
            [_, 0xB0, ..] => {
                given = 0;
                PIECE
            }
            [_, 0xC0, ..] => LEN.min(given + PIECE),
            _ => return vec![0x6D, 0x00],
        };
        let mut answer = file[given..until].to_vec();
        given = until;
        answer.extend(match LEN - given {
            0 => [0x90, 0x00],
            left @ ..PIECE => [0x61, left as u8],
            _ => [0x61, 0x00],
        });
        answer
    })
}

pub(super) fn run(driver: Driver, effort: Effort) -> Answer {
    let stage = Stage::new(driver, card())?;
    at_once(&stage, effort)?;
    in_pieces(&stage, effort)
}

fn expect(len: usize) -> Answer {
    match len {
        LEN => Ok(()),
        _ => Err(format!("{len} bytes instead of {LEN}").into()),
    }
}

fn exchange(card: &mut Card, command: &Command) -> Answer {
    let mut transaction = card.transaction()?;
    let response = transaction.exchange_with(command, &ExchangeOptions::new())?;
    expect(response.ok()?.len())
}

fn at_once(stage: &Stage, effort: Effort) -> Answer {
    let (c, again, pcsc) = (
        stage.connect_raw()?,
        stage.connect_raw()?,
        stage.connect_pcsc()?,
    );
    let (whole, mut card, mut exchanging) =
        (stage.connect_raw()?, stage.connect()?, stage.connect()?);
    let command = Command::new(0x00, 0xB0, 0x00, 0x00)?
        .expecting_all()
        .with_form(Form::Extended)?;
    let mut buffers = [const { Vec::new() }; 4];
    buffers.fill(vec![0; raw::BUFFER]);
    let [of_c, of_again, of_pcsc, of_whole] = &mut buffers;
    let sides = vec![
        Side::c("extended length, C: one call", || {
            each(1, || expect(c.transmit(EXTENDED, of_c)? - 2))
        }),
        Side::other("the same once more", || {
            each(1, || expect(again.transmit(EXTENDED, of_again)? - 2))
        }),
        Side::pcsc("`pcsc`: `transmit`", || {
            each(1, || expect(pcsc.transmit(EXTENDED, of_pcsc)?.len() - 2))
        }),
        Side::other("`transmit_ref`", || {
            each(1, || expect(card.transmit_ref(EXTENDED)?.len() - 2))
        }),
    ];
    compare(effort, 400, sides, stage.tidy())?;
    let sides = vec![
        Side::c("in a transaction, and copied, C: three calls", || {
            each(1, || {
                whole.begin()?;
                let len = whole.transmit(EXTENDED, of_whole)? - 2;
                let file = of_whole[..len].to_vec();
                whole.end()?;
                expect(file.len())
            })
        }),
        Side::other("`exchange`", || {
            each(1, || exchange(&mut exchanging, &command))
        }),
    ];
    compare(effort, 400, sides, stage.tidy())?;
    pcsc.disconnect(pcsc::Disposition::LeaveCard)
        .map_err(|(_, error)| error)?;
    Ok(())
}

/// The loop of a program without a library.
fn read_in_pieces(
    mut transmit: impl FnMut(&[u8], &mut [u8]) -> Answer<usize>,
    buffer: &mut [u8],
) -> Answer<Vec<u8>> {
    let mut file = Vec::new();
    let mut command = SHORT.to_vec();
    loop {
        let len = transmit(&command, buffer)?;
        match buffer.get(..len) {
            Some([data @ .., 0x61, more]) => {
                file.extend_from_slice(data);
                command.clear();
                command.extend_from_slice(&[0x00, 0xC0, 0x00, 0x00, *more]);
            }
            Some([data @ .., 0x90, 0x00]) => {
                file.extend_from_slice(data);
                return Ok(file);
            }
            _ => return Err("unexpected answer".into()),
        }
    }
}

fn in_pieces(stage: &Stage, effort: Effort) -> Answer {
    let (c, again, mut pcsc) = (
        stage.connect_raw()?,
        stage.connect_raw()?,
        stage.connect_pcsc()?,
    );
    let mut card = stage.connect()?;
    let command = Command::new(0x00, 0xB0, 0x00, 0x00)?.expecting_all();
    let mut buffers = [const { Vec::new() }; 3];
    buffers.fill(vec![0; raw::BUFFER]);
    let [of_c, of_again, of_pcsc] = &mut buffers;
    let by_c = |card: &raw::Card, buffer: &mut [u8]| {
        card.begin()?;
        let send = |command: &[u8], answer: &mut [u8]| card.transmit(command, answer);
        expect(read_in_pieces(send, buffer)?.len())?;
        card.end()
    };
    let sides = vec![
        Side::c("GET RESPONSE, C: a loop in a transaction", || {
            each(1, || by_c(&c, of_c))
        }),
        Side::other("the same once more", || each(1, || by_c(&again, of_again))),
        Side::pcsc("`pcsc`: the same loop", || {
            each(1, || {
                let transaction = pcsc.transaction()?;
                let send = |command: &[u8], answer: &mut [u8]| {
                    Ok(transaction.transmit(command, answer)?.len())
                };
                expect(read_in_pieces(send, of_pcsc)?.len())?;
                let ended = transaction.end(pcsc::Disposition::LeaveCard);
                Ok(ended.map_err(|(_, error)| error)?)
            })
        }),
        Side::other("`exchange`", || each(1, || exchange(&mut card, &command))),
    ];
    compare(effort, 60, sides, stage.tidy())?;
    pcsc.disconnect(pcsc::Disposition::LeaveCard)
        .map_err(|(_, error)| error)?;
    Ok(())
}
