//! Connected cards whose calls are futures.

use std::time::{Duration, Instant};

use super::Card;
use super::async_reader::AsyncReader;
use super::async_transaction::AsyncTransaction;
use super::transaction::Hold;
use crate::apdu::{Command, CommandBytes, ExchangeError, ExchangeOptions, Response};
use crate::channel::Channel;
use crate::channel::call::Call;
use crate::connection::Access;
use crate::error::{HandleError, Result};
use crate::exchange::{AsyncControl, AsyncTransmit};
use crate::limits::AbortHandle;
use crate::values::{
    Atr, Attribute, CardStatus, ControlCode, Disposition, Initialization, Protocol, Protocols,
    ReaderName, ShareMode,
};

/// A [`Card`] whose calls are futures. Requires the feature `async`.
///
/// Works with every executor, or without one: the calls run on the card's own thread or, over the
/// socket ([`ContextOptions`](crate::ContextOptions)), wait on one thread for all cards of the
/// process. The executor's thread is never blocked, not even when the card is dropped. Wakers are
/// called on that thread, and subscribers of `tracing` on both: neither must block it.
///
/// ```no_run
/// # async fn demo() -> scard::Result<()> {
/// use scard::{AsyncContext, ConnectOptions, Disposition};
///
/// let context = AsyncContext::establish().await?;
/// if let Some(reader) = context.readers().await?.first() {
///     let mut card = context.connect(reader, ConnectOptions::new()).await?;
///     let answer = card.transmit(b"\x00\xA4\x04\x00\x05\xA0\x00\x00\x03\x08").await?;
///     println!("{answer:02X?}");
///     card.disconnect(Disposition::Leave).await?;
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Dropping a future
///
/// A PC/SC call cannot be interrupted. Dropping the future of a call, as `select!` and the
/// time-outs of executors do, abandons the call, with the guarantees of a
/// [time-out](Card::set_timeout):
///
/// - Before its first poll, nothing has happened, and nothing will.
/// - While the call is in progress, the card is *abandoned*: every later call fails at once with
///   [`ErrorKind::Abandoned`](crate::ErrorKind::Abandoned). The call continues in the background
///   until the service answers, and is then undone: a transaction that begins too late ends, and
///   the connection is closed.
/// - A command that was still waiting for another program's transaction is not sent. A command that
///   was sent has run or will run. Whether it was sent is not reported.
/// - If the call had returned but the future was not polled again, the card is not abandoned. The
///   call took effect and its answer is lost; a transaction that it began ends.
///
/// To stop waiting without losing the card, keep the future and poll it later: pin it outside the
/// loop and pass `&mut future` to `select!`.
///
/// # Limits
///
/// Time-outs, [`within`](AsyncCard::within) and [abort handles](AsyncCard::make_abortable) work as
/// for a [`Card`]. Unlike a dropped future, their errors report whether the command may have run.
/// They need no executor timer.
#[derive(Debug)]
#[must_use = "dropping a card disconnects it"]
pub struct AsyncCard {
    channel: Channel,
    exchange_options: ExchangeOptions,
}

impl AsyncCard {
    /// See [`Card::MAX_APDU_LEN`].
    pub const MAX_APDU_LEN: usize = Card::MAX_APDU_LEN;

    /// See [`Card::MAX_ANSWER_LEN`].
    pub const MAX_ANSWER_LEN: usize = Card::MAX_ANSWER_LEN;

    pub(crate) fn new(channel: Channel, exchange_options: ExchangeOptions) -> AsyncCard {
        AsyncCard {
            channel,
            exchange_options,
        }
    }

    pub(super) fn channel(&mut self) -> &mut Channel {
        &mut self.channel
    }

    /// Returns the reader that the card is in.
    pub fn reader_name(&self) -> &ReaderName {
        self.channel.reader_name()
    }

    /// Returns the share mode of this connection.
    pub fn share_mode(&self) -> ShareMode {
        self.channel.agreed().share_mode
    }

    /// See [`Card::protocol`].
    pub fn protocol(&self) -> Option<Protocol> {
        self.channel.agreed().protocol()
    }

    /// Sets the time-out of each call on this card, counted from the first poll of its future;
    /// `None` means no limit. See [`Card::set_timeout`].
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.channel.set_timeout(timeout);
    }

    /// Sets the options of this card's exchanges. See [`Card::set_exchange_options`].
    pub fn set_exchange_options(&mut self, options: ExchangeOptions) {
        self.exchange_options = options;
    }

    /// Returns the options of this card's exchanges. See [`Card::exchange_options`].
    pub fn exchange_options(&self) -> ExchangeOptions {
        self.exchange_options
    }

    /// Calls `f` with a limit on its total time, counted from the first poll. See [`Card::within`].
    ///
    /// ```no_run
    /// # async fn demo(mut card: scard::AsyncCard) -> Result<(), scard::apdu::ExchangeError> {
    /// use std::time::Duration;
    /// use scard::Command;
    /// use scard::apdu::ExchangeError;
    ///
    /// let select = Command::select(b"\xA0\x00\x00\x03\x08")?;
    /// let get_challenge = Command::new(0x00, 0x84, 0x00, 0x00)?.expecting(8)?;
    /// let challenge = card
    ///     .within(Duration::from_secs(2), async |card| -> Result<_, ExchangeError> {
    ///         let mut transaction = card.transaction().await?;
    ///         transaction.exchange(&select).await?.ok()?;
    ///         Ok(transaction.exchange(&get_challenge).await?.ok()?)
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops that of the call in progress; see [Dropping a
    /// future](AsyncCard#dropping-a-future). The limit is removed in any case.
    pub async fn within<T>(
        &mut self,
        limit: Duration,
        f: impl AsyncFnOnce(&mut AsyncCard) -> T,
    ) -> T {
        /// Removes the limit.
        struct Within<'a>(&'a mut AsyncCard, Option<Instant>);

        impl Drop for Within<'_> {
            fn drop(&mut self) {
                self.0.channel.set_end(self.1);
            }
        }

        let before = self.channel.end_within(limit);
        let within = Within(self, before);
        f(&mut *within.0).await
    }

    /// See [`Card::set_wait_for_transactions`].
    pub fn set_wait_for_transactions(&mut self, wait: bool) {
        self.channel.set_wait_for_transactions(wait);
    }

    /// Returns a handle that stops the calls on this card from anywhere, now and later. See
    /// [`Card::make_abortable`].
    pub fn make_abortable(&mut self) -> AbortHandle {
        self.channel.abort_handle()
    }

    /// Returns whether the card was abandoned by a time-out, an abort or a dropped future: every
    /// call fails now.
    pub fn is_abandoned(&self) -> bool {
        self.channel.is_abandoned()
    }

    /// Sends a command APDU and returns the answer, including the status word. See
    /// [`Card::transmit`].
    ///
    /// Corresponds to `SCardTransmit`.
    ///
    /// # Errors
    ///
    /// Those of [`Card::transmit`].
    ///
    /// # Cancel safety
    ///
    /// [Dropping the future](AsyncCard#dropping-a-future) abandons the card. The command is not
    /// sent if it was not sent yet; whether it was is not reported.
    #[doc(alias = "SCardTransmit")]
    pub async fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>> {
        Ok(self.transmit_ref(command).await?.to_vec())
    }

    /// Like [`transmit`](AsyncCard::transmit), but lends the card's own receive buffer until
    /// the next call. The command is still copied, for the thread that makes the call.
    ///
    /// # Errors
    ///
    /// Those of [`Card::transmit`].
    ///
    /// # Cancel safety
    ///
    /// That of [`transmit`](AsyncCard::transmit).
    #[doc(alias = "SCardTransmit")]
    pub async fn transmit_ref(&mut self, command: &[u8]) -> Result<&[u8]> {
        self.channel
            .transmit_detached(CommandBytes::new(command))
            .await
    }

    /// Exchanges a command and returns the complete answer. See [`Card::exchange`].
    ///
    /// ```no_run
    /// # async fn demo(mut card: scard::AsyncCard) -> Result<(), scard::apdu::ExchangeError> {
    /// use scard::Command;
    ///
    /// let select = Command::select(b"\xA0\x00\x00\x03\x08")?;
    /// let file_control_information = card.exchange(&select).await?.ok()?;
    /// println!("{file_control_information:02X?}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Card::exchange`].
    ///
    /// # Cancel safety
    ///
    /// [Dropping the future](AsyncCard#dropping-a-future) abandons the card if one of the commands
    /// is in progress. Which of them were sent is not reported.
    pub async fn exchange(&mut self, command: &Command) -> Result<Response, ExchangeError> {
        let options = self.exchange_options();
        self.exchange_with(command, &options).await
    }

    /// Like [`exchange`](AsyncCard::exchange), with options.
    ///
    /// # Errors
    ///
    /// Those of [`Card::exchange`].
    ///
    /// # Cancel safety
    ///
    /// That of [`exchange`](AsyncCard::exchange).
    pub async fn exchange_with(
        &mut self,
        command: &Command,
        options: &ExchangeOptions,
    ) -> Result<Response, ExchangeError> {
        let mut transaction = self.transaction().await?;
        transaction.exchange_with(command, options).await
    }

    /// Reconnects: acknowledges another program's reset, resets the card, or changes share mode and
    /// protocol. See [`Card::reconnect`].
    ///
    /// Corresponds to `SCardReconnect`.
    ///
    /// # Errors
    ///
    /// Those of [`Card::reconnect`].
    ///
    /// # Platform notes
    ///
    /// Those of [`Card::reconnect`].
    ///
    /// # Cancel safety
    ///
    /// [Dropping the future](AsyncCard#dropping-a-future) abandons the card. A reset that waits for
    /// another program is not carried out late.
    #[doc(alias = "SCardReconnect")]
    pub async fn reconnect(
        &mut self,
        share_mode: ShareMode,
        protocols: Protocols,
        initialization: Initialization,
    ) -> Result<Protocol> {
        let access = Access::Card(share_mode);
        let call = Call::reconnect(access, protocols, initialization);
        self.channel.call_detached(call).await
    }

    /// Begins a transaction: until it ends, no other connection can use the card. Waits while
    /// another program holds a transaction. See [`Card::transaction`].
    ///
    /// Corresponds to `SCardBeginTransaction`.
    ///
    /// ```no_run
    /// # async fn demo(mut card: scard::AsyncCard) -> Result<(), scard::apdu::ExchangeError> {
    /// use scard::{Command, Disposition};
    ///
    /// let mut transaction = card.transaction().await?;
    /// transaction.exchange(&Command::select(b"\xA0\x00\x00\x03\x08")?).await?.ok()?;
    /// let challenge = Command::new(0x00, 0x84, 0x00, 0x00)?.expecting(8)?;
    /// println!("{:02X?}", transaction.exchange(&challenge).await?.ok()?);
    /// transaction.end(Disposition::Leave).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Card::transaction`].
    ///
    /// # Cancel safety
    ///
    /// [Dropping the future](AsyncCard#dropping-a-future) abandons the card; a transaction
    /// that begins anyway ends at once.
    #[doc(alias = "SCardBeginTransaction")]
    pub async fn transaction(&mut self) -> Result<AsyncTransaction<'_>> {
        self.channel
            .call_detached(Call::begin_transaction())
            .await?;
        Ok(AsyncTransaction::new(self, Hold::begun(false)))
    }

    /// Begins a transaction, first acknowledging any reset by another program. See
    /// [`Card::transaction_acknowledging_reset`].
    ///
    /// # Errors
    ///
    /// Those of [`Card::transaction_acknowledging_reset`].
    ///
    /// # Cancel safety
    ///
    /// That of [`AsyncCard::transaction`].
    #[doc(alias = "SCardBeginTransaction")]
    pub async fn transaction_acknowledging_reset(
        &mut self,
        protocols: Protocols,
    ) -> Result<AsyncTransaction<'_>> {
        let begin = Call::begin_transaction_acknowledging_reset(protocols);
        let was_reset = self.channel.call_detached(begin).await?;
        self.channel.resets_are_reported();
        Ok(AsyncTransaction::new(self, Hold::begun(was_reset)))
    }

    /// Returns the state of the card, its ATR and the active protocol. See [`Card::status`].
    ///
    /// Corresponds to `SCardStatus`.
    ///
    /// # Errors
    ///
    /// Those of [`Card::status`].
    ///
    /// # Cancel safety
    ///
    /// [Dropping the future](AsyncCard#dropping-a-future) abandons the card.
    #[doc(alias = "SCardStatus")]
    pub async fn status(&mut self) -> Result<CardStatus> {
        self.channel.call_detached(Call::status()).await
    }

    /// Releases the card and keeps direct access to its reader.
    ///
    /// Corresponds to `SCardReconnect` with `SCARD_SHARE_DIRECT`.
    ///
    /// # Errors
    ///
    /// Those of [`Card::reconnect`]; the error contains the card.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the card: the connection ends.
    #[doc(alias = "SCardReconnect")]
    pub async fn into_reader(
        mut self,
        initialization: Initialization,
    ) -> Result<AsyncReader, HandleError<AsyncCard>> {
        let call = Call::reconnect(Access::Direct, Protocols::empty(), initialization);
        match self.channel.call_detached(call).await {
            Ok(_) => Ok(AsyncReader::new(self.channel)),
            Err(error) => Err(HandleError::new(self, error)),
        }
    }

    /// Returns the blocking card; [`AsyncCard::from`] is the inverse.
    ///
    /// Waits only if a dropped transaction has not ended yet.
    ///
    /// # Errors
    ///
    /// That of a limit, if this takes too long; the card is then abandoned.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the card: the connection ends.
    pub async fn into_card(mut self) -> Result<Card, HandleError<AsyncCard>> {
        match self.channel.attach().await {
            Ok(()) => Ok(Card::new(self.channel, self.exchange_options)),
            Err(error) => Err(HandleError::new(self, error)),
        }
    }

    /// Disconnects and applies `disposition` to the card. See [`Card::disconnect`].
    ///
    /// Corresponds to `SCardDisconnect`.
    ///
    /// # Errors
    ///
    /// Those of [`Card::disconnect`]. The error contains the card.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the card: the connection ends. A reset that waits for another
    /// program is not carried out late.
    #[doc(alias = "SCardDisconnect")]
    pub async fn disconnect(
        mut self,
        disposition: Disposition,
    ) -> Result<(), HandleError<AsyncCard>> {
        let call = Call::disconnect(disposition);
        match self.channel.call_detached(call).await {
            Ok(()) => Ok(()),
            Err(error) => Err(HandleError::new(self, error)),
        }
    }
}

impl AsyncControl for AsyncCard {
    fn reader_name(&self) -> &ReaderName {
        self.reader_name()
    }

    async fn control(&mut self, code: ControlCode, input: &[u8]) -> Result<Vec<u8>> {
        self.channel.call_detached(Call::control(code, input)).await
    }

    async fn attribute(&mut self, attribute: Attribute) -> Result<Vec<u8>> {
        self.channel.call_detached(Call::attribute(attribute)).await
    }

    async fn set_attribute(&mut self, attribute: Attribute, value: &[u8]) -> Result<()> {
        let call = Call::set_attribute(attribute, value);
        self.channel.call_detached(call).await
    }

    /// In a transaction.
    async fn control_exclusively(&mut self, code: ControlCode, input: &[u8]) -> Result<Vec<u8>> {
        self.transaction().await?.control(code, input).await
    }
}

impl AsyncTransmit for AsyncCard {
    fn protocol(&self) -> Option<Protocol> {
        self.protocol()
    }

    async fn atr(&mut self) -> Result<Atr> {
        Ok(self.status().await?.atr())
    }

    async fn send(&mut self, command: CommandBytes<'_>) -> Result<&[u8]> {
        self.channel.transmit_detached(command).await
    }

    fn exchange_options(&self) -> ExchangeOptions {
        self.exchange_options()
    }

    /// In a transaction.
    async fn exchange_with(
        &mut self,
        command: &Command,
        options: &ExchangeOptions,
    ) -> Result<Response, ExchangeError> {
        self.exchange_with(command, options).await
    }
}

/// Does not affect the card, and does not wait.
impl From<Card> for AsyncCard {
    fn from(card: Card) -> AsyncCard {
        let Card {
            mut channel,
            exchange_options,
        } = card;
        channel.detach();
        AsyncCard::new(channel, exchange_options)
    }
}
