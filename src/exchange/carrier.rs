//! What exchanges go over.

use crate::apdu::{Command, Exchange, ExchangeError, ExchangeOptions, Next, Response};
use crate::error::Result;
use crate::trace;
use crate::values::{Atr, Protocol, ReaderName};

/// What sends one command at a time while nobody else uses the card.
pub(crate) trait Carrier {
    fn reader(&self) -> &ReaderName;

    fn protocol(&self) -> Option<Protocol>;

    fn atr(&mut self) -> Result<Atr>;

    /// Sends a command; `is_secret` for one that is shown nowhere.
    fn send(&mut self, command: &[u8], is_secret: bool) -> Result<&[u8]>;
}

/// Exchanges a command over a carrier. The futures of
/// [`AsyncTransaction`](crate::AsyncTransaction) do the same.
pub(crate) fn exchange(
    carrier: &mut impl Carrier,
    command: &Command,
    options: &ExchangeOptions,
) -> Result<Response, ExchangeError> {
    let _span = trace::exchange(carrier.reader(), command).entered();
    let mut options = *options;
    if options.depend_on_card(command) {
        options = options.for_card(&carrier.atr()?);
    }
    let mut exchange = Exchange::new(command, carrier.protocol(), &options)?;
    loop {
        let next = match carrier.send(exchange.command(), exchange.is_secret()) {
            Ok(answer) => exchange.answered(answer)?,
            Err(error) => return Err(exchange.failed(error)),
        };
        match next {
            Next::Send(another) => exchange = another,
            Next::Done(response) => return Ok(response),
        }
    }
}

/// What exchanges commands: a card, a transaction, a card in a session.
pub(crate) trait Exchanges: Send {
    fn reader(&self) -> &ReaderName;

    fn exchange_with(
        &mut self,
        command: &Command,
        options: &ExchangeOptions,
    ) -> Result<Response, ExchangeError>;
}
