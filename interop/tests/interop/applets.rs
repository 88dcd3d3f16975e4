//! The applications as virtual cards, with the work of their devices' firmware around them.

use std::sync::{Arc, Mutex};

use heapless::VecView;
use iso7816::command::CommandView;
use iso7816::{Command, Instruction, Status};
use scard_testkit::{Applet, OpenPgpCard, Reply, VirtualCard};

use crate::trussed::{Client, with_client};

/// The maximum length of a command or answer, including chaining.
const LONGEST: usize = 7609;

/// Nitrokey's OpenPGP application.
pub(crate) fn opcard() -> VirtualCard {
    opcard_with(Arc::default())
}

/// The same, with a record of its signatures.
pub(crate) fn opcard_with(watch: Arc<Mutex<Signatures>>) -> VirtualCard {
    VirtualCard::on_own_thread(|requests| {
        with_client("opcard", |client| {
            let mut application = Chained::new(opcard::Card::new(client, opcard_options()));
            application.watch = watch;
            requests.serve(&mut application);
        });
    })
    .atr(OpenPgpCard::ATR)
}

fn opcard_options() -> opcard::Options {
    let mut options = opcard::Options::default();
    options.serial = [0x12, 0x34, 0x56, 0x78];
    options
}

/// Nitrokey's PIV application.
pub(crate) fn piv() -> VirtualCard {
    VirtualCard::on_own_thread(|requests| {
        with_client("piv", |client| {
            let options = piv_authenticator::Options::default();
            let piv = piv_authenticator::Authenticator::new(client, options);
            requests.serve(&mut Chained::new(piv));
        });
    })
}

/// The signatures that an application has made.
#[derive(Debug, Default)]
pub(crate) struct Signatures {
    /// The signed data, in order.
    pub(crate) made: Vec<Vec<u8>>,
    /// After this many more signatures, the card is removed before it answers.
    pub(crate) tear_in: Option<usize>,
}

/// An application of one of the two crates.
trait Application {
    fn answer(&mut self, command: CommandView<'_>, answer: &mut VecView<u8>) -> Result<(), Status>;
    fn restart(&mut self);
}

impl Application for opcard::Card<Client<'_>> {
    fn answer(&mut self, command: CommandView<'_>, answer: &mut VecView<u8>) -> Result<(), Status> {
        self.handle(command, answer)
    }

    fn restart(&mut self) {
        self.reset();
    }
}

impl Application for piv_authenticator::Authenticator<Client<'_>> {
    fn answer(&mut self, command: CommandView<'_>, answer: &mut VecView<u8>) -> Result<(), Status> {
        self.respond(command, answer)
    }

    fn restart(&mut self) {
        self.deselect();
    }
}

/// An application with command chaining and GET RESPONSE.
struct Chained<A> {
    application: A,
    command: Option<Command<LONGEST>>,
    rest: Vec<u8>,
    /// The data signed by the command.
    signed: Option<Vec<u8>>,
    watch: Arc<Mutex<Signatures>>,
}

impl<A: Application> Chained<A> {
    fn new(application: A) -> Self {
        Self {
            application,
            command: None,
            rest: Vec::new(),
            signed: None,
            watch: Arc::default(),
        }
    }

    fn run(&mut self, command: &[u8]) -> Result<(Vec<u8>, Status), Status> {
        let part = Command::<LONGEST>::try_from(command).map_err(|_| Status::WrongLength)?;
        if part.instruction() == Instruction::GetResponse && self.command.is_none() {
            return Ok(self.part_of_rest(part.expected()));
        }
        self.rest.clear();
        let last = part.class().chain().last_or_only();
        let whole = match self.command.take() {
            Some(mut whole) => {
                whole
                    .extend_from_command(&part)
                    .map_err(|_| Status::WrongLength)?;
                whole
            }
            None => part,
        };
        if !last {
            self.command = Some(whole);
            return Ok((Vec::new(), Status::Success));
        }
        let mut answer = heapless::Vec::<u8, LONGEST>::new();
        self.application.answer(whole.as_view(), &mut answer)?;
        if let [_, 0x2A, 0x9E, 0x9A, ..] = command {
            self.signed = Some(whole.data().to_vec());
        }
        self.rest = answer.to_vec();
        Ok(self.part_of_rest(whole.expected()))
    }

    fn part_of_rest(&mut self, longest: usize) -> (Vec<u8>, Status) {
        let part: Vec<u8> = self.rest.drain(..longest.min(self.rest.len())).collect();
        let status = match self.rest.len() {
            0 => Status::Success,
            rest => Status::MoreAvailable(u8::try_from(rest).unwrap_or(0)),
        };
        (part, status)
    }
}

impl<A: Application> Applet for Chained<A> {
    fn process(&mut self, command: &[u8]) -> Reply {
        let (mut answer, status) = match self.run(command) {
            Ok(answered) => answered,
            Err(status) => (Vec::new(), status),
        };
        if let Some(data) = self.signed.take() {
            let mut watch = self.watch.lock().expect("no thread panics with the lock");
            watch.made.push(data);
            match watch.tear_in {
                Some(0) => {
                    watch.tear_in = None;
                    return Reply::Drop;
                }
                Some(more) => watch.tear_in = Some(more - 1),
                None => {}
            }
        }
        let status: [u8; 2] = status.into();
        answer.extend(status);
        Reply::Answer(answer)
    }

    fn power_off(&mut self) {
        self.reset();
    }

    fn reset(&mut self) {
        self.command = None;
        self.rest.clear();
        self.application.restart();
    }
}
