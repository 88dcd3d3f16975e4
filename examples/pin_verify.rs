//! Verifies a PIN, entered at the reader's PIN pad if it has one, otherwise at the keyboard.
//!
//! Every wrong PIN uses up a try; the example shows how many are left.

use std::io::{self, BufRead, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use lexopt::Arg::Long;
use lexopt::ValueExt;
use scard::features::{Feature, Pin, PinFormat, PinOutcome, PinVerification};
use scard::{Command, ConnectOptions, Context, Control, Transmit};
use zeroize::Zeroizing;

use common::{Result, say};

mod common;

const USAGE: &str = "\
usage: pin_verify [OPTION]...

Verifies a PIN, entered at the reader's PIN pad if it has one, otherwise at the keyboard.

  --reader READER  part of the reader's name, its number, or `serial:` and its serial number;
                   default: the first reader that has a card within ten seconds
  --reference HEX  which PIN, as P2 of VERIFY; default: 80
  --block BYTES    pad the PIN with FF to this length, as PIV (8) and others require
  --keyboard       do not use the PIN pad";

/// Which PIN, and the format that the card expects.
struct Request {
    reference: u8,
    format: PinFormat,
    keyboard: bool,
}

fn main() -> ExitCode {
    common::run(USAGE, |mut arguments| {
        let mut reader = None;
        let mut request = Request {
            reference: 0x80,
            format: PinFormat::ascii(),
            keyboard: false,
        };
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("reader") => reader = Some(arguments.value()?.string()?),
                Long("reference") => {
                    let hex = |digits: &str| u8::from_str_radix(digits, 16);
                    request.reference = arguments.value()?.parse_with(hex)?;
                }
                Long("block") => {
                    request.format = request.format.block_len(arguments.value()?.parse()?);
                }
                Long("keyboard") => request.keyboard = true,
                other => return Err(other.unexpected().into()),
            }
        }
        verify(reader, &request)
    })
}

fn verify(reader: Option<String>, request: &Request) -> Result<()> {
    let context = Context::establish()?;
    let reader = common::reader(&context, reader)?;
    let mut card = context.connect(&reader, ConnectOptions::new())?;
    match tries_left(&mut card.transaction()?, request.reference)? {
        PinOutcome::Done => say!("no PIN is needed now"),
        PinOutcome::Wrong {
            tries_left: Some(tries),
        } => say!("tries left: {tries}"),
        PinOutcome::Wrong { tries_left: None } => say!("tries left: not known"),
        other => say!("tries left: not known ({other})"),
    }
    let features = card.features()?;
    let outcome = if features.has(Feature::VERIFY_PIN_DIRECT) && !request.keyboard {
        say!("enter the PIN on the reader");
        let on_pad = PinVerification::iso(request.reference, request.format);
        let on_pad = on_pad.timeout(Duration::from_secs(30));
        let mut transaction = card.transaction()?;
        transaction.verify_pin(&features, &on_pad)?.outcome()
    } else {
        // Ask before the transaction, so that other programs do not wait for the user.
        let command = Command::verify(request.reference, request.format, &ask()?)?;
        let response = card.transaction()?.exchange(&command)?;
        PinOutcome::from_card(response.status())
    };
    say!("{outcome}");
    match outcome {
        PinOutcome::Done => Ok(()),
        _ => Err("not verified".into()),
    }
}

/// VERIFY without data queries the state and uses up no try.
fn tries_left(card: &mut impl Transmit, reference: u8) -> Result<PinOutcome> {
    let ask = Command::new(0x00, 0x20, 0x00, reference)?;
    Ok(PinOutcome::from_card(card.exchange(&ask)?.status()))
}

/// Reads the PIN, from the terminal without echo, or from a pipe.
fn ask() -> Result<Pin> {
    if io::stdin().is_terminal() {
        // Ctrl-C would end the program before the terminal is restored.
        ctrlc::set_handler(|| {})?;
        return Ok(Pin::new(rpassword::prompt_password("PIN: ")?));
    }
    let mut pin = Zeroizing::new(String::with_capacity(64));
    io::stdin().lock().read_line(&mut pin)?;
    let len = pin.trim_end_matches(['\r', '\n']).len();
    pin.truncate(len);
    Ok(Pin::new(std::mem::take(&mut *pin)))
}
