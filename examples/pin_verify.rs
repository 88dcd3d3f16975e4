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

use common::{Result, say, value};

mod common;

const USAGE: &str = "\
usage: pin_verify [OPTION]...

Verifies a PIN, entered at the reader's PIN pad if it has one, otherwise at the keyboard.

  --reader READER  part of the reader's name, its number, or `serial:` and its serial number;
                   default: the first reader that has a card within ten seconds
  --select AID     the application that has the PIN, by its AID in hex, such as A000000308 for PIV;
                   default: what the card has selected
  --reference HEX  which PIN, as P2 of VERIFY; default: 80
  --block BYTES    pad the PIN with FF to this length, as PIV (8) and others require
  --keyboard       do not use the PIN pad";

/// Which PIN, and the format that the card expects.
struct Request {
    application: Option<Vec<u8>>,
    reference: u8,
    block: Option<u8>,
    keyboard: bool,
}

fn main() -> ExitCode {
    common::run(USAGE, |mut arguments| {
        let mut reader = None;
        let mut request = Request {
            application: None,
            reference: 0x80,
            block: None,
            keyboard: false,
        };
        let arguments = &mut arguments;
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("reader") => reader = Some(arguments.value()?.string()?),
                Long("select") => {
                    let expected = "an AID in hex (1 to 16 bytes)";
                    let aid = |hex: &str| hex::decode(hex.replace([' ', ':'], "")).ok();
                    let aid = |hex: &str| aid(hex).filter(|aid| (1..=16).contains(&aid.len()));
                    request.application = Some(value(arguments, "--select", expected, aid)?);
                }
                Long("reference") => {
                    let hex = |digits: &str| u8::from_str_radix(digits, 16).ok();
                    request.reference = value(arguments, "--reference", "a byte in hex", hex)?;
                }
                Long("block") => {
                    let bytes = |text: &str| text.parse().ok().filter(|it| (1..=15).contains(it));
                    let expected = "a number of bytes (1 to 15)";
                    request.block = Some(value(arguments, "--block", expected, bytes)?);
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
    match tries_left(&mut card.transaction()?, request)? {
        PinOutcome::Done => say!("no PIN is needed now"),
        PinOutcome::Wrong {
            tries_left: Some(tries),
        } => say!("tries left: {tries}"),
        PinOutcome::Other(word)
            if request.application.is_none() && matches!(word.raw(), 0x6985 | 0x6A88 | 0x6D00) =>
        {
            let why = format!(
                "the card refuses queries about PIN {:02X}",
                request.reference
            );
            let hint = "if it is a PIN of an application, select that with --select";
            return Err(format!("{why}: {word}; {hint}").into());
        }
        PinOutcome::Wrong { tries_left: None } => say!("tries left: not known"),
        other => say!("tries left: not known ({other})"),
    }
    let format = PinFormat::ascii().block_len(request.block.unwrap_or(0));
    let features = card.features()?;
    let outcome = if features.has(Feature::VERIFY_PIN_DIRECT) && !request.keyboard {
        say!("enter the PIN on the reader");
        let on_pad = PinVerification::iso(request.reference, format);
        let on_pad = on_pad.timeout(Duration::from_secs(30));
        let mut transaction = card.transaction()?;
        select(&mut transaction, request)?;
        transaction.verify_pin(&features, &on_pad)?.outcome()
    } else {
        // Ask before the transaction, so that other programs do not wait for the user.
        let command = Command::verify(request.reference, format, &ask(request.block)?)?;
        let mut transaction = card.transaction()?;
        select(&mut transaction, request)?;
        PinOutcome::from_card(transaction.exchange(&command)?.status())
    };
    say!("{outcome}");
    match outcome {
        PinOutcome::Done => Ok(()),
        _ => Err("not verified".into()),
    }
}

/// In every transaction: between them, other programs may have selected their own.
fn select(card: &mut impl Transmit, request: &Request) -> Result<()> {
    if let Some(application) = &request.application {
        let answer = card.exchange(&Command::select(application)?)?;
        answer.ok().map_err(|error| format!("--select: {error}"))?;
    }
    Ok(())
}

/// VERIFY without data queries the state and uses up no try.
fn tries_left(card: &mut impl Transmit, request: &Request) -> Result<PinOutcome> {
    select(card, request)?;
    let ask = Command::new(0x00, 0x20, 0x00, request.reference)?;
    Ok(PinOutcome::from_card(card.exchange(&ask)?.status()))
}

/// Reads the PIN, from the terminal without echo, or from a pipe.
fn ask(block: Option<u8>) -> Result<Pin> {
    let mut pin = Zeroizing::new(String::with_capacity(64));
    if io::stdin().is_terminal() {
        // Ctrl-C would end the program before the terminal is restored.
        ctrlc::set_handler(|| {})?;
        *pin = rpassword::prompt_password("PIN: ")?;
    } else {
        io::stdin().lock().read_line(&mut pin)?;
        let len = pin.trim_end_matches(['\r', '\n']).len();
        pin.truncate(len);
    }
    match block {
        Some(block) if pin.len() > block.into() => {
            let len = pin.len();
            Err(format!("the PIN has {len} bytes; the block has room for {block}").into())
        }
        _ => Ok(Pin::new(std::mem::take(&mut *pin))),
    }
}
