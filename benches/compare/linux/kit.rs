//! How fast virtual cards are: the test kit's and those of the crate `vpicc`.

use std::fs;
use std::thread;
use std::time::Duration;

use scard::{CardFilter, Context};
use scard_testkit::{Driver, Sandbox};

use super::measure::{Side, each, ratios};
use super::stage::{ANSWER, COMMAND, plain_card, start};
use super::{Answer, Effort, raw};

struct OfVpicc;

impl vpicc::VSmartCard for OfVpicc {
    fn atr(&self) -> &[u8] {
        scard_testkit::atr::T1
    }

    fn execute(&mut self, _: &[u8]) -> Vec<u8> {
        ANSWER.to_vec()
    }
}

pub(super) fn run(driver: Driver, effort: Effort) -> Answer {
    let sandbox = start(Sandbox::builder().readers(2).card(0, plain_card()), driver)?;
    let port = port_of_second_reader(&sandbox)?;
    thread::spawn(move || {
        let connection = vpicc::connect_socket(format!("127.0.0.1:{port}"))?;
        connection.run(&mut OfVpicc)
    });
    let second = scard::ReaderName::new(sandbox.reader(1).name())?;
    let soon = Some(Duration::from_secs(10));
    Context::establish()?.wait_for_card(&CardFilter::new().reader(&second), soon)?;

    let context = raw::Context::establish()?;
    let name = |reader: usize| std::ffi::CString::new(sandbox.reader(reader).name());
    let (of_kit, of_vpicc) = (context.connect(&name(0)?)?, context.connect(&name(1)?)?);
    let mut buffer = vec![0; raw::BUFFER];
    let mut other = vec![0; raw::BUFFER];
    let sides = vec![
        Side::c("`scard_testkit::VirtualCard`", || {
            each(1, || of_kit.transmit(COMMAND, &mut buffer).map(drop))
        }),
        Side::other("`vpicc` 0.1", || {
            each(1, || of_vpicc.transmit(COMMAND, &mut other).map(drop))
        }),
    ];
    ratios(effort, 60, sides)
}

/// The port at which the driver listens for a card in the second reader, which is the one after the
/// first reader's. The daemon's arguments name the directory of the driver's configuration.
fn port_of_second_reader(sandbox: &Sandbox) -> Answer<u16> {
    let pid = sandbox.pid().ok_or("the daemon is not running")?;
    let line = fs::read(format!("/proc/{pid}/cmdline"))?;
    let line = String::from_utf8(line)?;
    let mut words = line.split('\0').skip_while(|word| *word != "--config");
    let directory = words.nth(1).ok_or("the daemon has no configuration")?;
    let readers = fs::read_to_string(format!("{directory}/readers.conf"))?;
    let first = readers
        .split_once("/dev/null:")
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .ok_or("the configuration names no port")?;
    Ok(first.parse::<u16>()? + 1)
}
