//! Cards: what they answer.

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
    /// Leaves the reader in the middle of the command, as a card that is torn
    /// out. The reader is empty afterwards.
    Drop,
    /// Never answers. The daemon waits until the card is removed.
    Mute,
    /// Has run the command, and the reader fails to get its answer. With
    /// [`Driver::Vpcd`](crate::Driver::Vpcd), which has no such answer, it acts
    /// like [`Reply::Drop`].
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

/// The program of a virtual card, for cards with a state of their own.
///
/// A card whose commands do not depend on power and resets is simpler as a
/// closure: [`VirtualCard::new`]. One that cannot be sent to another thread is
/// made on the card's own: [`VirtualCard::on_own_thread`].
pub trait Applet {
    /// Answers a command. With `vpcd` one of the single byte 00, 01, 02 or 04
    /// never gets here: see [`VirtualCard`](VirtualCard#limits).
    fn process(&mut self, command: &[u8]) -> Reply;

    /// The card was powered on (cold reset).
    fn power_on(&mut self) {}

    /// The card lost its power: it was powered off or left the reader.
    fn power_off(&mut self) {}

    /// The card was reset without losing its power (warm reset).
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
/// On the wire of `vpcd` nothing tells a command of one byte from an order
/// of the driver: a client that sends the single byte 00 (power off), 01 (power
/// on), 02 (reset) or 04 (get ATR) makes the card do that. Its own call gets
/// the ATR for 04, and hangs until the card is removed for the others. No
/// command APDU is that short. (With [`Driver::Kit`](crate::Driver::Kit) they
/// are commands like any other.)
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
    /// A closure that panics makes the card leave the reader
    /// ([`Reply::Drop`]); [`CardHandle::panicked`](crate::CardHandle::panicked) tells afterwards.
    pub fn new<F, R>(process: F) -> Self
    where
        F: FnMut(&[u8]) -> R + Send + 'static,
        R: Into<Reply> + 'static,
    {
        Self::with_applet(Closure(process))
    }

    /// A card with a program that also hears of power and resets.
    pub fn with_applet(applet: impl Applet + Send + 'static) -> Self {
        Self {
            atr: atr::T1.to_vec(),
            delay: Duration::ZERO,
            strict_power: false,
            applet: Box::new(applet),
        }
    }

    /// A card whose program has a thread of its own, for an [`Applet`] that is not
    /// `Send` or not `'static`: one with an `Rc`, or that borrows the flash memory
    /// that it works on. [`with_applet`](Self::with_applet) is for all others.
    ///
    /// The closure is run on a new thread, now. Make the applet in it, and
    /// [serve](Requests::serve) the requests with it: commands, power and resets, one
    /// after the other. `serve` returns when the card is dropped, and then the
    /// thread ends.
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
    /// A closure that returns or panics makes the card leave its reader at the next
    /// request; [`CardHandle::panicked`](crate::CardHandle::panicked) tells afterwards.
    pub fn on_own_thread(program: impl FnOnce(Requests) + Send + 'static) -> Self {
        Self::with_applet(OwnThread::start(program))
    }

    /// A card that is a program, in any language, which this starts; it is killed
    /// when the card is dropped. It reads lines from its standard input and answers
    /// each command by one line on its standard output, which it must not buffer:
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
    /// program.args(["-c", "while read line; do case $line in [0-9A-F]*) echo 9000;; esac; done"]);
    /// let card = VirtualCard::program(program)?;
    /// # drop(card);
    /// # Ok(()) }
    /// ```
    ///
    /// A program that ends, or writes anything else, makes the card leave its
    /// reader; [`CardHandle::panicked`](crate::CardHandle::panicked) tells afterwards, and what is wrong is
    /// printed.
    ///
    /// # Errors
    /// [`Io`](TestkitError::Io) if it cannot be started.
    pub fn program(command: Command) -> Result<Self, TestkitError> {
        ProgramCard::start(command).map(Self::with_applet)
    }

    /// A card that knows these commands and answers any other with 6D00
    /// (instruction not supported). Of equal commands the first counts.
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

    /// The demonstration card: see [`IsoCard`].
    pub fn iso() -> Self {
        Self::with_applet(IsoCard::new())
    }

    /// The demonstration card of OpenPGP: see [`OpenPgpCard`].
    pub fn openpgp() -> Self {
        Self::with_applet(OpenPgpCard::new()).atr(OpenPgpCard::ATR)
    }

    /// The demonstration card of PIV: see [`PivCard`].
    pub fn piv() -> Self {
        Self::with_applet(PivCard::new())
    }

    /// The card's answer to reset; by default [`atr::T1`]. 1 to 33 bytes; the
    /// kit does not check it, so that wrong ones can be tested too. (An empty
    /// one acts as an empty reader.)
    #[must_use]
    pub fn atr(mut self, atr: impl Into<Vec<u8>>) -> Self {
        self.atr = atr.into();
        self
    }

    /// How long the card takes over every command.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Whether a command that reaches the card while it is not powered makes
    /// it leave the reader, instead of being processed all the same. Off by
    /// default.
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
