//! The card as the work of a session sees it.

use std::fmt;
use std::time::{Duration, Instant};

use super::State;
use crate::apdu::{Command, CommandBytes, ExchangeError, ExchangeOptions, Response};
use crate::card::{Card, Hold, Transaction};
use crate::error::{Error, ErrorKind, Result};
use crate::exchange::{Control, Transmit};
use crate::features::ReaderFeatures;
use crate::values::{
    Atr, Attribute, CardStatus, ControlCode, Disposition, Protocol, ReaderName, ShareMode,
};

/// The longest single wait without keep-alive interval and deadline.
const FOREVER: Duration = Duration::from_secs(24 * 60 * 60);

/// The card of a [`Session`](crate::Session) during one run: a transaction in which the session
/// counts the commands.
pub struct SessionCard<'a> {
    transaction: Transaction<'a>,
    progress: Progress,
    keep_alive: Option<Duration>,
    end: Option<Instant>,
    /// The session that learns the outcome of the work, while a guard owns this card. It is stored
    /// here and not in the guard so that both stay together if guards swap their cards.
    pub(super) owner: Option<&'a mut State>,
}

/// Work that was begun and is resumed later, without borrowing its session.
pub(super) struct SuspendedWork {
    hold: Hold,
    progress: Progress,
    keep_alive: Option<Duration>,
    end: Option<Instant>,
}

/// The progress of a piece of work.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Commands that were answered.
    pub(super) completed: usize,
    /// Whether a command has run or may have run.
    pub(super) touched: bool,
    /// Whether the card itself answered: a driver also answers for a dead one.
    pub(super) card_answered: bool,
    /// The failure of the last call, if that failed.
    pub(super) failure: Option<Error>,
    /// The most recent failures.
    pub(super) failures: Vec<Error>,
}

impl Progress {
    /// How many failures are kept.
    const KEPT: usize = 16;

    /// Returns whether any call has failed.
    pub(super) fn has_failed(&self) -> bool {
        !self.failures.is_empty()
    }

    fn answered(&mut self) {
        self.completed = self.completed.saturating_add(1);
        self.touched = true;
        self.failure = None;
    }

    fn failed(&mut self, error: &Error) {
        self.touched |= error.command_may_have_run();
        if self.failures.len() >= Progress::KEPT {
            self.failures.remove(0);
        }
        self.failures.push(error.clone());
        self.failure = Some(error.clone());
    }

    fn note<T>(&mut self, answer: Result<T>) -> Result<T> {
        match &answer {
            Ok(_) => self.failure = None,
            Err(error) => self.failed(error),
        }
        answer
    }

    fn note_command<T>(&mut self, answer: Result<T>) -> Result<T> {
        match &answer {
            Ok(_) => self.answered(),
            Err(error) => self.failed(error),
        }
        answer
    }
}

impl<'a> SessionCard<'a> {
    pub(super) fn new(
        transaction: Transaction<'a>,
        keep_alive: Option<Duration>,
        end: Option<Instant>,
    ) -> SessionCard<'a> {
        SessionCard {
            transaction,
            progress: Progress::default(),
            keep_alive,
            end,
            owner: None,
        }
    }

    /// Returns the progress so far, and resets it.
    pub(super) fn take_progress(&mut self) -> Progress {
        std::mem::take(&mut self.progress)
    }

    /// Suspends the work and ends the borrow of the card. The transaction continues.
    pub(super) fn suspend(&mut self) -> SuspendedWork {
        SuspendedWork {
            hold: self.transaction.suspend(),
            progress: self.take_progress(),
            keep_alive: self.keep_alive,
            end: self.end,
        }
    }

    pub(super) fn resume(
        card: &'a mut Card,
        work: SuspendedWork,
        owner: &'a mut State,
    ) -> SessionCard<'a> {
        card.set_end(work.end);
        SessionCard {
            transaction: Transaction::resume(card, work.hold),
            progress: work.progress,
            keep_alive: work.keep_alive,
            end: work.end,
            owner: Some(owner),
        }
    }

    /// Ends the transaction, and the deadline of the card.
    pub(super) fn finish_with_deadline(&mut self) -> Result<()> {
        self.transaction.end_with_deadline()
    }

    /// Ends the transaction.
    pub(super) fn finish(self) -> Result<()> {
        self.transaction.end(Disposition::Leave)
    }

    /// Returns how many commands of this piece of work were answered.
    pub fn completed(&self) -> usize {
        self.progress.completed
    }

    /// Returns the reader that the card is in.
    pub fn reader_name(&self) -> &ReaderName {
        self.transaction.reader_name()
    }

    /// Returns the share mode of the connection.
    pub fn share_mode(&self) -> ShareMode {
        self.transaction.share_mode()
    }

    /// See [`Card::protocol`](crate::Card::protocol).
    pub fn protocol(&self) -> Option<Protocol> {
        self.transaction.protocol()
    }

    /// See [`Card::transmit`](crate::Card::transmit).
    ///
    /// # Errors
    ///
    /// Those of [`Card::transmit`](crate::Card::transmit). Return the error to the session, as `?`
    /// does; the session recovers if nothing was done yet.
    #[doc(alias = "SCardTransmit")]
    pub fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>> {
        Transmit::transmit(self, command)
    }

    /// See [`Card::transmit_ref`](crate::Card::transmit_ref).
    ///
    /// # Errors
    ///
    /// Those of [`SessionCard::transmit`].
    #[doc(alias = "SCardTransmit")]
    pub fn transmit_ref(&mut self, command: &[u8]) -> Result<&[u8]> {
        Transmit::transmit_ref(self, command)
    }

    /// See [`Card::exchange`](crate::Card::exchange).
    ///
    /// # Errors
    ///
    /// Those of [`Card::exchange`](crate::Card::exchange). Return the error to the session, as `?`
    /// does; the session recovers if nothing was done yet. Each command of the exchange counts.
    pub fn exchange(&mut self, command: &Command) -> Result<Response, ExchangeError> {
        Transmit::exchange(self, command)
    }

    /// See [`Card::exchange_with`](crate::Card::exchange_with).
    ///
    /// # Errors
    ///
    /// Those of [`Card::exchange`](crate::Card::exchange).
    pub fn exchange_with(
        &mut self,
        command: &Command,
        options: &ExchangeOptions,
    ) -> Result<Response, ExchangeError> {
        Transmit::exchange_with(self, command, options)
    }

    /// See [`Card::status`](crate::Card::status).
    ///
    /// # Errors
    ///
    /// Those of [`Card::status`](crate::Card::status).
    #[doc(alias = "SCardStatus")]
    pub fn status(&mut self) -> Result<CardStatus> {
        let answer = self.transaction.status();
        self.progress.note(answer)
    }

    /// Waits for something other than the card, such as a user typing a PIN, and keeps the
    /// transaction alive meanwhile.
    ///
    /// `wait` is called repeatedly with a duration. It waits that long and returns what it was
    /// waiting for, or `None`. Between calls, the card is asked for its status, on the same thread,
    /// because two threads cannot use a PC/SC context at once. The duration is the interval of
    /// [`SessionBuilder::keep_alive`](crate::SessionBuilder::keep_alive); without an interval, it
    /// is all that is left of the run, and nothing is kept alive.
    ///
    /// ```no_run
    /// # fn demo(
    /// #     session: &mut scard::Session,
    /// #     typed: std::sync::mpsc::Receiver<scard::features::Pin>,
    /// # ) -> Result<(), scard::SessionError> {
    /// use scard::features::PinFormat;
    /// use scard::{BoxError, Command};
    ///
    /// session.run(|card| -> Result<(), BoxError> {
    ///     let pin = card.wait_for(|time| typed.recv_timeout(time).ok())?;
    ///     let verify = Command::verify(0x80, PinFormat::ascii().block_len(8), &pin)?;
    ///     card.exchange(&verify)?.ok()?;
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Other programs wait for the card meanwhile. Ask before the run where you can.
    ///
    /// # Errors
    ///
    /// Those of [`SessionCard::status`], as soon as the card is found lost;
    /// [`ErrorKind::DeadlineExceeded`] at the session's deadline.
    ///
    /// # Platform notes
    ///
    /// Windows resets a card whose transaction has been idle for five seconds; any call on
    /// the card counts. pcsc-lite and macOS have no such limit.
    pub fn wait_for<T>(&mut self, mut wait: impl FnMut(Duration) -> Option<T>) -> Result<T> {
        loop {
            if let Some(found) = wait(slice(self.keep_alive, self.end)) {
                return Ok(found);
            }
            match self.transaction.status() {
                // This says nothing about the card.
                Err(error) if error.kind() == ErrorKind::StaleProcess => {}
                answer => drop(self.progress.note(answer)?),
            }
        }
    }
}

/// Returns the maximum length of one wait.
pub(super) fn slice(keep_alive: Option<Duration>, end: Option<Instant>) -> Duration {
    let left = end.map_or(FOREVER, |end| end.saturating_duration_since(Instant::now()));
    keep_alive.unwrap_or(FOREVER).min(left)
}

impl Control for SessionCard<'_> {
    fn reader_name(&self) -> &ReaderName {
        self.reader_name()
    }

    /// Counts as a command, because the driver may send commands to the card.
    fn control(&mut self, code: ControlCode, input: &[u8]) -> Result<Vec<u8>> {
        let answer = self.transaction.control(code, input);
        self.progress.note_command(answer)
    }

    /// An unsupported query is not a failure: nothing happened to the card.
    fn features(&mut self) -> Result<ReaderFeatures> {
        let answer = self.transaction.features();
        self.progress.note_command(answer)
    }

    fn attribute(&mut self, attribute: Attribute) -> Result<Vec<u8>> {
        let answer = self.transaction.attribute(attribute);
        self.progress.note(answer)
    }

    fn set_attribute(&mut self, attribute: Attribute, value: &[u8]) -> Result<()> {
        let answer = self.transaction.set_attribute(attribute, value);
        self.progress.note(answer)
    }
}

impl Transmit for SessionCard<'_> {
    fn protocol(&self) -> Option<Protocol> {
        self.protocol()
    }

    fn atr(&mut self) -> Result<Atr> {
        Ok(self.status()?.atr())
    }

    /// Counts the command.
    fn send(&mut self, command: CommandBytes<'_>) -> Result<&[u8]> {
        let answer = self.transaction.send(command);
        self.progress.card_answered |= answer.is_ok();
        self.progress.note_command(answer)
    }

    fn exchange_options(&self) -> ExchangeOptions {
        self.transaction.exchange_options()
    }

    /// Does not count as a command: the card is not asked.
    fn reader_max_data(&mut self) -> Option<u32> {
        self.transaction.reader_max_data()
    }
}

impl fmt::Debug for SessionCard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionCard")
            .field("reader_name", self.reader_name())
            .field("completed", &self.completed())
            .finish_non_exhaustive()
    }
}
