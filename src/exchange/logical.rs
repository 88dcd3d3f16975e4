//! Logical channels.

use std::fmt;

use super::carrier::Exchanges;
use crate::apdu::{AnswerProblem, Command, ExchangeError, ExchangeOptions, Response, Step};
use crate::values::ReaderName;

/// A logical channel of the card that was opened, for as long as it is used.
///
/// Each channel has its own selected application. Made by
/// [`Card::logical_channel`](crate::Card::logical_channel) and its like, which it borrows.
///
/// ```no_run
/// # fn demo(mut card: scard::Card) -> Result<(), scard::apdu::ExchangeError> {
/// use scard::apdu::Command;
///
/// let mut channel = card.logical_channel()?;
/// channel.exchange(&Command::select(b"\xA0\x00\x00\x03\x08")?)?.ok()?;
/// channel.close()?;
/// # Ok(())
/// # }
/// ```
///
/// # Dropping
///
/// Closing takes a command to the card, and that can wait: for the card, or another program's
/// transaction. So a drop sends none and the channel stays open, which the
/// [trace](crate::trace) tells, until the card is reset. A card has few of them:
/// [`close`](LogicalChannel::close) it.
#[must_use = "a channel that is dropped stays open"]
pub struct LogicalChannel<'a> {
    over: &'a mut dyn Exchanges,
    channel: OpenChannel,
}

impl<'a> LogicalChannel<'a> {
    pub(crate) fn open(over: &'a mut dyn Exchanges) -> Result<LogicalChannel<'a>, ExchangeError> {
        let open = Command::open_channel();
        let response = over.exchange_with(&open, &ExchangeOptions::new())?;
        let channel = OpenChannel::of(&open, response)?;
        Ok(LogicalChannel { over, channel })
    }

    /// The number of the channel, 1 to 19.
    pub fn number(&self) -> u8 {
        self.channel.number()
    }

    /// Exchanges a command on this channel, whichever its class says:
    /// [`Command::on_channel`].
    ///
    /// # Errors
    ///
    /// Those of [`Card::exchange`](crate::Card::exchange), and
    /// [`InvalidCommand::Channel`](crate::apdu::InvalidCommand::Channel) if the class cannot say
    /// the channel.
    pub fn exchange(&mut self, command: &Command) -> Result<Response, ExchangeError> {
        self.exchange_with(command, &ExchangeOptions::new())
    }

    /// [`exchange`](LogicalChannel::exchange) with options.
    ///
    /// # Errors
    ///
    /// Those of [`exchange`](LogicalChannel::exchange).
    pub fn exchange_with(
        &mut self,
        command: &Command,
        options: &ExchangeOptions,
    ) -> Result<Response, ExchangeError> {
        let command = command.clone().on_channel(self.number())?;
        self.over.exchange_with(&command, options)
    }

    /// Closes the channel, by a command on the basic one.
    ///
    /// # Errors
    ///
    /// Those of [`Card::exchange`](crate::Card::exchange), and a status word other than 9000.
    /// Then the channel may still be open on the card.
    pub fn close(mut self) -> Result<(), ExchangeError> {
        let close = self.channel.close();
        let closed = self.over.exchange_with(&close, &ExchangeOptions::new())?;
        closed.ok()?;
        Ok(())
    }
}

impl Drop for LogicalChannel<'_> {
    fn drop(&mut self) {
        self.channel.dropped(self.over.reader());
    }
}

impl fmt::Debug for LogicalChannel<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogicalChannel")
            .field("reader", self.over.reader())
            .field("number", &self.number())
            .finish_non_exhaustive()
    }
}

/// A channel that the card has opened, whatever it is used over.
pub(crate) struct OpenChannel {
    number: u8,
    closing: bool,
}

impl OpenChannel {
    /// By the answer to the command that opens one.
    pub(crate) fn of(open: &Command, response: Response) -> Result<OpenChannel, ExchangeError> {
        match *response.ok()? {
            [number @ 1..=19] => Ok(OpenChannel {
                number,
                closing: false,
            }),
            _ => Err(ExchangeError::Answer {
                problem: AnswerProblem::NoChannel,
                command: open.header(),
                step: Step::Command,
            }),
        }
    }

    pub(crate) fn number(&self) -> u8 {
        self.number
    }

    /// The command that closes it, which is going to be sent.
    pub(crate) fn close(&mut self) -> Command {
        self.closing = true;
        Command::close_channel(self.number)
    }

    /// Nobody uses it any more.
    pub(crate) fn dropped(&self, reader: &ReaderName) {
        if !self.closing {
            tracing::debug!(
                ?reader,
                channel = self.number,
                "a logical channel was dropped and stays open"
            );
        }
    }
}
