//! Cards and their answers.

use std::fmt;
use std::process::Command;
use std::time::Duration;

use crate::atr;
use crate::demo::{IsoCard, OpenPgpCard, PivCard};
use crate::error::TestkitError;
use crate::ifd::IfdError;
use crate::own_thread::{OwnThread, Requests};
use crate::program::ProgramCard;

/// What a card does with a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Answers with these bytes, status word included. An empty answer acts
    /// like [`Reply::Drop`], and so does one of more than 65,535 bytes with
    /// [`Driver::Vpcd`](crate::Driver::Vpcd), which cannot carry it.
    /// [`Driver::Kit`](crate::Driver::Kit) carries more than PC/SC does: the
    /// largest answer of ISO 7816-4 has 65,538 bytes, and one that is too long
    /// for the daemon is a failed command.
    Answer(Vec<u8>),
    /// Leaves the reader during the command, like a card that is torn out. The
    /// reader is empty afterwards.
    Drop,
    /// Never answers. The daemon waits until the card is removed.
    Mute,
    /// Runs the command, but the reader fails to receive the answer. With
    /// [`Driver::Vpcd`](crate::Driver::Vpcd), which does not support this, it
    /// acts like [`Reply::Drop`].
    Fail(IfdError),
}

impl From<Vec<u8>> for Reply {
    fn from(answer: Vec<u8>) -> Self {
        Self::Answer(answer)
    }
}

impl From<&[u8]> for Reply {
    fn from(answer: &[u8]) -> Self {
        Self::Answer(answer.to_vec())
    }
}

impl<const N: usize> From<[u8; N]> for Reply {
    fn from(answer: [u8; N]) -> Self {
        Self::Answer(answer.to_vec())
    }
}

impl<const N: usize> From<&[u8; N]> for Reply {
    fn from(answer: &[u8; N]) -> Self {
        Self::Answer(answer.to_vec())
    }
}

/// The program of a virtual card, for cards with their own state.
///
/// If the answers do not depend on power and resets, a closure is simpler:
/// [`VirtualCard::new`]. An applet that is not `Send` is created on the card's
/// own thread: [`VirtualCard::on_own_thread`].
pub trait Applet {
    /// Answers a command. With `vpcd`, a command of the single byte 00, 01, 02 or
    /// 04 never gets here: see [`VirtualCard`](VirtualCard#limits).
    fn process(&mut self, command: &[u8]) -> Reply;

    /// The card was powered on (cold reset).
    fn power_on(&mut self) {}

    /// The card lost power: it was powered off or left the reader.
    fn power_off(&mut self) {}

    /// The card was reset without losing power (warm reset).
    fn reset(&mut self) {}
}

struct Closure<F>(F);

impl<F, R> Applet for Closure<F>
where
    F: FnMut(&[u8]) -> R,
    R: Into<Reply>,
{
    fn process(&mut self, command: &[u8]) -> Reply {
        (self.0)(command).into()
    }
}

/// A card to be inserted into a [`VirtualReader`](crate::VirtualReader).
///
/// ```
/// use std::time::Duration;
/// use scard_testkit::{Reply, VirtualCard, atr};
///
/// let card = VirtualCard::new(|command: &[u8]| match command {
///     [0x00, 0xA4, ..] => Reply::from([0x90, 0x00]),
///     [0x00, 0xB0, ..] => Reply::Drop, // torn out by a READ BINARY
///     _ => Reply::from([0x6D, 0x00]),
/// })
/// .atr(atr::T0)
/// .delay(Duration::from_millis(20));
/// # drop(card);
/// ```
///
/// # Limits
///
/// On the wire of `vpcd`, a command of one byte looks like an order of the
/// driver: a client that sends the single byte 00 (power off), 01 (power on), 02
/// (reset) or 04 (get ATR) makes the card do that. For 04 its call returns the
/// ATR; for the others it hangs until the card is removed. No command APDU is
/// that short. (With [`Driver::Kit`](crate::Driver::Kit) they are commands like
/// any other.)
pub struct VirtualCard {
    pub(crate) atr: Vec<u8>,
    pub(crate) delay: Duration,
    pub(crate) strict_power: bool,
    pub(crate) applet: Box<dyn Applet + Send>,
}

impl VirtualCard {
    /// A card that answers with what the closure returns: bytes (a `Vec`, an
    /// array, a slice) or a [`Reply`].
    ///
    /// If the closure panics, the card leaves the reader ([`Reply::Drop`]), and
    /// [`CardHandle::panicked`](crate::CardHandle::panicked) returns true.
    pub fn new<F, R>(process: F) -> Self
    where
        F: FnMut(&[u8]) -> R + Send + 'static,
        R: Into<Reply> + 'static,
    {
        Self::with_applet(Closure(process))
    }

    /// A card with a program that is also notified of power and resets.
    pub fn with_applet(applet: impl Applet + Send + 'static) -> Self {
        Self {
            atr: atr::T1.to_vec(),
            delay: Duration::ZERO,
            strict_power: false,
            applet: Box::new(applet),
        }
    }

    /// A card whose program has its own thread, for an [`Applet`] that is not
    /// `Send` or not `'static`: one with an `Rc`, or that borrows the flash memory
    /// that it works on. Use [`with_applet`](Self::with_applet) for all others.
    ///
    /// The closure runs on a new thread at once. Create the applet in it, and
    /// [serve](Requests::serve) the requests with it: commands, power and resets, one
    /// after the other. `serve` returns when the card is dropped; then the thread
    /// ends.
    ///
    /// ```
    /// use std::rc::Rc;
    /// use scard_testkit::{Applet, Reply, VirtualCard};
    ///
    /// struct Counter(Rc<std::cell::Cell<u8>>); // not `Send`
    ///
    /// impl Applet for Counter {
    ///     fn process(&mut self, _command: &[u8]) -> Reply {
    ///         self.0.set(self.0.get() + 1);
    ///         Reply::from([self.0.get(), 0x90, 0x00])
    ///     }
    /// }
    ///
    /// let card = VirtualCard::on_own_thread(|requests| {
    ///     requests.serve(&mut Counter(Rc::default()));
    /// });
    /// # drop(card);
    /// ```
    ///
    /// If the closure returns or panics, the card leaves its reader at the next
    /// request, and [`CardHandle::panicked`](crate::CardHandle::panicked) returns
    /// true.
    pub fn on_own_thread(program: impl FnOnce(Requests) + Send + 'static) -> Self {
        Self::with_applet(OwnThread::start(program))
    }

    /// A card that is a program, in any language. This starts it, and dropping the
    /// card kills it. It reads lines from its standard input and answers each
    /// command with one line on its standard output, which it must not buffer:
    ///
    /// | It reads | It writes |
    /// |---|---|
    /// | a command in hexadecimal, as in `00A4040005A000000001` | the answer in hexadecimal, as in `9000`; or `drop` or `mute`: [`Reply::Drop`], [`Reply::Mute`] |
    /// | `power-on`, `power-off`, `reset` | nothing |
    ///
    /// ```
    /// use std::process::Command;
    /// use scard_testkit::VirtualCard;
    ///
    /// # fn main() -> Result<(), scard_testkit::TestkitError> {
    /// let mut program = Command::new("sh");
    /// let script = "while read line; do case $line in [0-9A-F]*) echo 9000;; esac; done";
    /// program.args(["-c", script]);
    /// let card = VirtualCard::program(program)?;
    /// # drop(card);
    /// # Ok(()) }
    /// ```
    ///
    /// If the program ends or writes anything else, the card leaves its reader, the
    /// fault is printed, and [`CardHandle::panicked`](crate::CardHandle::panicked)
    /// returns true.
    ///
    /// # Errors
    /// [`Io`](TestkitError::Io) if the program cannot be started.
    pub fn program(command: Command) -> Result<Self, TestkitError> {
        ProgramCard::start(command).map(Self::with_applet)
    }

    /// A card that knows these commands and answers any other with 6D00
    /// (instruction not supported). Of several equal commands the first counts.
    ///
    /// ```
    /// # use scard_testkit::VirtualCard;
    /// let card = VirtualCard::scripted([
    ///     (vec![0x00, 0xA4, 0x04, 0x00], vec![0x90, 0x00]),
    ///     (vec![0x00, 0x84, 0x00, 0x00, 0x02], vec![0x12, 0x34, 0x90, 0x00]),
    /// ]);
    /// # drop(card);
    /// ```
    pub fn scripted<I, C, R>(script: I) -> Self
    where
        I: IntoIterator<Item = (C, R)>,
        C: Into<Vec<u8>>,
        R: Into<Reply>,
    {
        let script: Vec<(Vec<u8>, Reply)> = script
            .into_iter()
            .map(|(command, reply)| (command.into(), reply.into()))
            .collect();
        Self::new(move |command: &[u8]| {
            script
                .iter()
                .find(|(known, _)| known == command)
                .map_or(Reply::from([0x6D, 0x00]), |(_, reply)| reply.clone())
        })
    }

    /// The ISO 7816-4 demonstration card: see [`IsoCard`].
    pub fn iso() -> Self {
        Self::with_applet(IsoCard::new())
    }

    /// The OpenPGP demonstration card: see [`OpenPgpCard`].
    pub fn openpgp() -> Self {
        Self::with_applet(OpenPgpCard::new()).atr(OpenPgpCard::ATR)
    }

    /// The PIV demonstration card: see [`PivCard`].
    pub fn piv() -> Self {
        Self::with_applet(PivCard::new())
    }

    /// The card's answer to reset, 1 to 33 bytes; by default [`atr::T1`]. The kit
    /// does not check it, so that tests can use invalid ones, too. (An empty one
    /// acts as an empty reader.)
    #[must_use]
    pub fn atr(mut self, atr: impl Into<Vec<u8>>) -> Self {
        self.atr = atr.into();
        self
    }

    /// How long the card takes for every command.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Whether a command that reaches the card while it is not powered makes
    /// it leave the reader, instead of being processed anyway. Off by default.
    #[must_use]
    pub fn strict_power(mut self, strict: bool) -> Self {
        self.strict_power = strict;
        self
    }
}

impl fmt::Debug for VirtualCard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtualCard")
            .field("atr", &self.atr)
            .field("delay", &self.delay)
            .field("strict_power", &self.strict_power)
            .finish_non_exhaustive()
    }
}
