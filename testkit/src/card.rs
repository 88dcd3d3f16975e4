//! Cards: what they answer, and what is known about what happened to them.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::atr;
use crate::demo::{IsoCard, OpenPgpCard, PivCard};
use crate::error::TestkitError;
use crate::ifd::IfdError;
use crate::own_thread::{OwnThread, Requests};
use crate::program::ProgramCard;
use crate::sync::{lock, wait};

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
    atr: Vec<u8>,
    delay: Duration,
    strict_power: bool,
    applet: Box<dyn Applet + Send>,
}

impl VirtualCard {
    /// A card that answers with what the closure returns: bytes (a `Vec`, an
    /// array, a slice) or a [`Reply`].
    ///
    /// A closure that panics makes the card leave the reader
    /// ([`Reply::Drop`]); [`CardHandle::panicked`] tells afterwards.
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

    /// A card whose program has a thread of its own, for an [`Applet`] that cannot
    /// be sent to another thread, or that borrows what its thread has: make it in
    /// the closure, and [serve](Requests::serve) the requests there. The thread ends
    /// with the card.
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
    /// request; [`CardHandle::panicked`] tells afterwards.
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
    /// reader; [`CardHandle::panicked`] tells afterwards, and what is wrong is
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

/// What happened to a card since it was made.
///
/// A command counts as it arrives, before its answer: it is counted when the
/// client's call returns. Power and resets may be counted a moment after the
/// PC/SC call that caused them has returned, because `vpcd` does not wait
/// for the card to confirm them; [`CardHandle::wait_until`] waits for the count.
/// A later command of the same card comes after them in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CardStats {
    /// Times it was powered on: at insertion and by cold resets.
    pub power_ons: usize,
    /// Times the daemon powered it off. Being torn out does not count.
    pub power_offs: usize,
    /// Times it was reset without losing its power.
    pub resets: usize,
    /// Commands that reached it.
    pub commands: usize,
    /// Whether it has power now.
    pub powered: bool,
}

/// A command that reached a card, and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The command APDU, as the card received it.
    pub command: Vec<u8>,
    /// The answer; `None` while the card works on it and where it gave none.
    pub response: Option<Vec<u8>>,
    /// When the command arrived.
    pub at: Instant,
}

#[derive(Default)]
struct Record {
    stats: CardStats,
    log: Vec<Exchange>,
    /// Exchanges that were cleared from the log.
    cleared: usize,
}

struct Inner {
    atr: Vec<u8>,
    delay: Duration,
    strict_power: bool,
    applet: Mutex<Box<dyn Applet + Send>>,
    record: Mutex<Record>,
    changed: Condvar,
    inserted: AtomicBool,
    panicked: AtomicBool,
}

/// A card, in a reader or outside; clones are the same card.
///
/// It keeps its state and its log when it is removed, and can be inserted
/// again, in the same reader or another.
#[derive(Clone)]
pub struct CardHandle(Arc<Inner>);

impl From<VirtualCard> for CardHandle {
    fn from(card: VirtualCard) -> Self {
        Self(Arc::new(Inner {
            atr: card.atr,
            delay: card.delay,
            strict_power: card.strict_power,
            applet: Mutex::new(card.applet),
            record: Mutex::default(),
            changed: Condvar::new(),
            inserted: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
        }))
    }
}

impl From<&CardHandle> for CardHandle {
    fn from(card: &CardHandle) -> Self {
        card.clone()
    }
}

impl CardHandle {
    /// The card's answer to reset.
    pub fn atr(&self) -> &[u8] {
        &self.0.atr
    }

    /// Whether the card is in a reader.
    pub fn is_inserted(&self) -> bool {
        self.0.inserted.load(Ordering::SeqCst)
    }

    /// Everything that was counted, at one moment.
    ///
    /// Power and resets may be counted a moment after the PC/SC call that
    /// caused them has returned: see [`CardStats`].
    pub fn stats(&self) -> CardStats {
        lock(&self.0.record).stats
    }

    /// Times the card was powered on: at insertion and by cold resets.
    ///
    /// `pcscd` powers a card on at insertion, and off again when nobody has
    /// connected to it after 400 ms with `vpcd`, after 5 seconds or at the next
    /// change with the kit's driver. May be counted a moment after the call that
    /// caused it: see [`CardStats`].
    pub fn power_ons(&self) -> usize {
        self.stats().power_ons
    }

    /// Times the daemon powered the card off. May be counted a moment after the
    /// call that caused it: see [`CardStats`].
    pub fn power_offs(&self) -> usize {
        self.stats().power_offs
    }

    /// Times the card was reset without losing its power. May be counted a
    /// moment after the call that caused it: see [`CardStats`].
    pub fn resets(&self) -> usize {
        self.stats().resets
    }

    /// Commands that reached the card.
    pub fn commands(&self) -> usize {
        self.stats().commands
    }

    /// The exchanges since the card was made or the log cleared.
    pub fn log(&self) -> Vec<Exchange> {
        lock(&self.0.record).log.clone()
    }

    /// Forgets the exchanges so far. The counters stay as they are.
    pub fn clear_log(&self) {
        let mut record = lock(&self.0.record);
        record.cleared += record.log.len();
        record.log.clear();
    }

    /// Whether the card's program has panicked: the cause of a card that left
    /// its reader unexpectedly.
    pub fn panicked(&self) -> bool {
        self.0.panicked.load(Ordering::SeqCst)
    }

    /// Waits until `commands` commands have reached the card since it was made
    /// (each counts as it arrives, before it is answered).
    ///
    /// # Errors
    /// [`TestkitError::Timeout`].
    pub fn wait_for_commands(
        &self,
        commands: usize,
        timeout: Duration,
    ) -> Result<(), TestkitError> {
        self.wait_until(timeout, |stats| stats.commands >= commands)
            .map_err(|_| TestkitError::Timeout {
                what: format!("command {commands} at the card"),
                after: timeout,
                likely: self.whereabouts(),
            })
    }

    /// Waits until what happened to the card meets a condition.
    ///
    /// The way to look at power and resets, which may be counted a moment after
    /// the PC/SC call that caused them has returned:
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # fn after_a_reset(card: &scard_testkit::CardHandle) -> Result<(), scard_testkit::TestkitError> {
    /// card.wait_until(Duration::from_secs(5), |stats| stats.resets == 1)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`TestkitError::Timeout`].
    pub fn wait_until(
        &self,
        timeout: Duration,
        mut condition: impl FnMut(&CardStats) -> bool,
    ) -> Result<(), TestkitError> {
        let deadline = Instant::now() + timeout;
        let mut record = lock(&self.0.record);
        while !condition(&record.stats) {
            let stats = record.stats;
            record =
                wait(&self.0.changed, record, deadline).ok_or_else(|| TestkitError::Timeout {
                    what: "what the test awaits of the card".into(),
                    after: timeout,
                    likely: format!("{} ({stats:?})", self.whereabouts_with(&stats)),
                })?;
        }
        Ok(())
    }

    /// What is known of a card that was waited for in vain.
    fn whereabouts(&self) -> String {
        self.whereabouts_with(&self.stats())
    }

    fn whereabouts_with(&self, stats: &CardStats) -> String {
        let commands = stats.commands;
        if self.panicked() {
            format!(
                "its program has panicked, and it has left its reader after {commands} commands"
            )
        } else if !self.is_inserted() {
            format!("it is in no reader, and has had {commands} commands")
        } else if stats.power_ons == 0 {
            "the daemon has not powered it on yet".into()
        } else {
            format!("it has had {commands}; does the client talk to this sandbox and this reader?")
        }
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Takes the card for a reader.
    pub(crate) fn claim(&self) -> Result<(), TestkitError> {
        match self.0.inserted.swap(true, Ordering::SeqCst) {
            true => Err(TestkitError::CardInUse),
            false => Ok(()),
        }
    }

    /// The card has left its reader.
    pub(crate) fn release(&self) {
        self.0.inserted.store(false, Ordering::SeqCst);
    }

    pub(crate) fn power_on(&self) {
        self.update(|stats| {
            stats.power_ons += 1;
            stats.powered = true;
        });
        self.tell(|applet| applet.power_on());
    }

    pub(crate) fn power_off(&self) {
        self.update(|stats| {
            stats.power_offs += 1;
            stats.powered = false;
        });
        self.tell(|applet| applet.power_off());
    }

    /// The connection to the reader has ended, and with it the power.
    pub(crate) fn lose_power(&self) {
        let mut had_power = false;
        self.update(|stats| had_power = std::mem::take(&mut stats.powered));
        if had_power {
            self.tell(|applet| applet.power_off());
        }
    }

    pub(crate) fn reset(&self) {
        self.update(|stats| stats.resets += 1);
        self.tell(|applet| applet.reset());
    }

    /// Runs a command and says under which number it is in the log. The driver
    /// carries answers of up to so many bytes.
    pub(crate) fn process(&self, command: Vec<u8>, longest: usize) -> (usize, Reply) {
        let (number, powered) = {
            let mut record = lock(&self.0.record);
            record.stats.commands += 1;
            record.log.push(Exchange {
                command: command.clone(),
                response: None,
                at: Instant::now(),
            });
            self.0.changed.notify_all();
            (record.cleared + record.log.len() - 1, record.stats.powered)
        };
        if self.0.strict_power && !powered {
            return (number, Reply::Drop);
        }
        if !self.0.delay.is_zero() {
            std::thread::sleep(self.0.delay);
        }
        let reply = self
            .tell(|applet| applet.process(&command))
            .unwrap_or(Reply::Drop);
        match reply {
            Reply::Answer(answer) if answer.is_empty() || answer.len() > longest => {
                (number, Reply::Drop)
            }
            reply => (number, reply),
        }
    }

    /// Notes the answer of a command in the log.
    pub(crate) fn answered(&self, number: usize, answer: &[u8]) {
        let mut record = lock(&self.0.record);
        let cleared = record.cleared;
        let exchange = number
            .checked_sub(cleared)
            .and_then(|index| record.log.get_mut(index));
        if let Some(exchange) = exchange {
            exchange.response = Some(answer.to_vec());
        }
    }

    fn update(&self, change: impl FnOnce(&mut CardStats)) {
        change(&mut lock(&self.0.record).stats);
        self.0.changed.notify_all();
    }

    /// Calls the card's program; `None` when it panics.
    fn tell<R>(&self, call: impl FnOnce(&mut dyn Applet) -> R) -> Option<R> {
        let mut applet = lock(&self.0.applet);
        match catch_unwind(AssertUnwindSafe(|| call(&mut **applet))) {
            Ok(result) => Some(result),
            Err(_) => {
                self.0.panicked.store(true, Ordering::SeqCst);
                None
            }
        }
    }
}

impl fmt::Debug for CardHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CardHandle")
            .field("atr", &self.0.atr)
            .field("inserted", &self.is_inserted())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vpcd;

    #[test]
    fn commands_without_power_are_refused_if_asked_for() {
        let answers = |strict, prepare: fn(&CardHandle)| {
            let card = CardHandle::from(VirtualCard::iso().strict_power(strict));
            prepare(&card);
            let (_, reply) = card.process(vec![0, 0xCA, 0, 0], vpcd::MAX_LEN);
            assert_eq!(card.commands(), 1);
            reply != Reply::Drop
        };
        assert!(!answers(true, |_| {}));
        assert!(answers(false, |_| {}));
        assert!(answers(true, CardHandle::power_on));
        assert!(!answers(true, |card| {
            card.power_on();
            card.power_off();
        }));
    }

    #[test]
    fn answers_that_the_driver_cannot_carry_take_the_card_away() {
        for (length, carried) in [(0, false), (1, true), (65_535, true), (65_536, false)] {
            let card = VirtualCard::new(move |_: &[u8]| vec![0; length]);
            let (_, reply) = CardHandle::from(card).process(vec![0; 4], vpcd::MAX_LEN);
            assert_eq!(reply != Reply::Drop, carried, "{length}");
        }
    }
}
