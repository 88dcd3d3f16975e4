//! Handles of cards, in a reader or outside: what has happened to them.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::card::{Applet, Reply, VirtualCard};
use crate::error::TestkitError;
use crate::sync::{lock, wait};

/// What has happened to a card since it was created.
///
/// A command is counted when it arrives, before its answer, and so before the
/// client's call returns. Power and resets may be counted a moment after the
/// PC/SC call that caused them has returned, because `vpcd` does not wait
/// for the card to confirm them; [`CardHandle::wait_until`] waits for the count.
/// In any case they are counted before a later command to the same card.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CardStats {
    /// How often it was powered on: at insertion and by cold resets.
    pub power_ons: usize,
    /// How often the daemon powered it off. Being torn out does not count.
    pub power_offs: usize,
    /// How often it was reset without losing power.
    pub resets: usize,
    /// How many commands reached it.
    pub commands: usize,
    /// Whether it is powered now.
    pub powered: bool,
}

/// A command that reached a card, and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The command APDU, as the card received it.
    pub command: Vec<u8>,
    /// The answer; `None` while the card works on it, and if it returned none.
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

/// A card, in a reader or outside; clones refer to the same card.
///
/// A removed card keeps its state and its log, and can be inserted again, in the
/// same reader or another.
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

    /// A snapshot of all counters.
    ///
    /// Power and resets may be counted a moment after the PC/SC call that
    /// caused them has returned: see [`CardStats`].
    pub fn stats(&self) -> CardStats {
        lock(&self.0.record).stats
    }

    /// How often the card was powered on: at insertion and by cold resets.
    ///
    /// `pcscd` powers a card on at insertion, and off again if no client has
    /// connected to it: with `vpcd` after 400 ms, with the kit's driver after 5
    /// seconds or at the next change. May be counted a moment after the call that
    /// caused it: see [`CardStats`].
    pub fn power_ons(&self) -> usize {
        self.stats().power_ons
    }

    /// How often the daemon powered the card off. May be counted a moment after
    /// the call that caused it: see [`CardStats`].
    pub fn power_offs(&self) -> usize {
        self.stats().power_offs
    }

    /// How often the card was reset without losing power. May be counted a moment
    /// after the call that caused it: see [`CardStats`].
    pub fn resets(&self) -> usize {
        self.stats().resets
    }

    /// How many commands reached the card.
    pub fn commands(&self) -> usize {
        self.stats().commands
    }

    /// The exchanges since the card was created or the log cleared.
    pub fn log(&self) -> Vec<Exchange> {
        lock(&self.0.record).log.clone()
    }

    /// Clears the log of exchanges. The counters stay as they are.
    pub fn clear_log(&self) {
        let mut record = lock(&self.0.record);
        record.cleared += record.log.len();
        record.log.clear();
    }

    /// Whether the card's program has panicked, which makes a card leave its
    /// reader unexpectedly.
    pub fn panicked(&self) -> bool {
        self.0.panicked.load(Ordering::SeqCst)
    }

    /// Waits until `commands` commands have reached the card since it was created
    /// (each is counted when it arrives, before its answer).
    ///
    /// # Errors
    /// [`TestkitError::Timeout`].
    pub fn wait_for_commands(
        &self,
        commands: usize,
        timeout: Duration,
    ) -> Result<(), TestkitError> {
        self.wait_until(timeout, |stats| stats.commands >= commands)
            .map_err(|_| {
                let stats = self.stats();
                let whereabouts = self.whereabouts(&stats);
                TestkitError::Timeout {
                    what: format!("command {commands} to reach the card"),
                    after: timeout,
                    likely: format!("{whereabouts} (commands received: {})", stats.commands),
                }
            })
    }

    /// Waits until the counters meet a condition.
    ///
    /// Use it to check power and resets, which may be counted a moment after the
    /// PC/SC call that caused them has returned:
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
                    what: "the card to meet the test's condition".into(),
                    after: timeout,
                    likely: format!("{} ({stats:?})", self.whereabouts(&stats)),
                })?;
        }
        Ok(())
    }

    /// The known state of a card after an unsuccessful wait.
    fn whereabouts(&self, stats: &CardStats) -> &'static str {
        if self.panicked() {
            "its program panicked, and the card left its reader"
        } else if !self.is_inserted() {
            "it is not in a reader"
        } else if stats.power_ons == 0 {
            "pcscd has not powered it on yet"
        } else {
            "is the client connected to this reader of this sandbox?"
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

    /// Runs a command and returns its number in the log. The driver carries
    /// answers of up to `longest` bytes.
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

    /// Records the answer of a command in the log.
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

    /// Calls the card's program; `None` if it panics.
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

    #[test]
    fn a_wait_in_vain_says_where_the_card_is() {
        let card = CardHandle::from(VirtualCard::new(|command: &[u8]| match command {
            [0xFF, ..] => panic!("on purpose"),
            _ => Reply::from([0x90, 0x00]),
        }));
        let says = |expected: &str| {
            let error = card.wait_for_commands(9, Duration::ZERO).unwrap_err();
            let expected =
                format!("timed out after 0ns waiting for command 9 to reach the card: {expected}");
            assert_eq!(error.to_string(), expected);
        };
        says("it is not in a reader (commands received: 0)");
        card.claim().unwrap();
        says("pcscd has not powered it on yet (commands received: 0)");
        card.power_on();
        card.process(vec![0, 0xCA, 0, 0], vpcd::MAX_LEN);
        says("is the client connected to this reader of this sandbox? (commands received: 1)");
        card.process(vec![0xFF], vpcd::MAX_LEN);
        says("its program panicked, and the card left its reader (commands received: 2)");
    }
}
