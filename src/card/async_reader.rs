//! Direct access to a reader, with futures.

use std::time::Duration;

use super::async_card::AsyncCard;
use super::reader::Reader;
use crate::apdu::ExchangeOptions;
use crate::channel::Channel;
use crate::channel::call::Call;
use crate::connection::Access;
use crate::error::{HandleError, Result};
use crate::exchange::AsyncControl;
use crate::limits::AbortHandle;
use crate::values::{
    Attribute, CardStatus, ControlCode, Disposition, Initialization, Protocols, ReaderName,
    ShareMode,
};

/// A [`Reader`] whose calls are futures: direct access, with or without a card. Requires the
/// feature `async`.
///
/// ```no_run
/// # async fn demo(context: &scard::AsyncContext, name: &scard::ReaderName) -> scard::Result<()> {
/// use scard::{AsyncControl, Attribute, Initialization, Protocols, ShareMode};
///
/// let mut reader = context.open_reader(name).await?;
/// let vendor = reader.attribute(Attribute::VENDOR_NAME).await?;
/// let card = reader.into_card(ShareMode::Shared, Protocols::ANY, Initialization::Reset);
/// let mut card = card.await?;
/// # Ok(())
/// # }
/// ```
///
/// Dropping a future abandons the reader if the call was in progress; see
/// [`AsyncCard`](AsyncCard#dropping-a-future).
///
/// Dropping the reader disconnects without waiting and leaves a card as it is.
#[derive(Debug)]
#[must_use = "dropping a reader disconnects it"]
pub struct AsyncReader {
    channel: Channel,
}

impl AsyncReader {
    pub(crate) fn new(channel: Channel) -> AsyncReader {
        AsyncReader { channel }
    }

    /// See [`AsyncCard::set_timeout`].
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.channel.set_timeout(timeout);
    }

    /// See [`Card::set_wait_for_transactions`](crate::Card::set_wait_for_transactions).
    pub fn set_wait_for_transactions(&mut self, wait: bool) {
        self.channel.set_wait_for_transactions(wait);
    }

    /// See [`AsyncCard::make_abortable`].
    pub fn make_abortable(&mut self) -> AbortHandle {
        self.channel.abort_handle()
    }

    /// See [`AsyncCard::is_abandoned`].
    pub fn is_abandoned(&self) -> bool {
        self.channel.is_abandoned()
    }

    /// Returns the name of the reader.
    pub fn reader_name(&self) -> &ReaderName {
        self.channel.reader_name()
    }

    /// Changes from direct access to a connection to the card in the reader. See
    /// [`Reader::into_card`].
    ///
    /// Corresponds to `SCardReconnect`.
    ///
    /// # Errors
    ///
    /// Those of [`Reader::into_card`]; the error contains the reader.
    ///
    /// # Platform notes
    ///
    /// Those of [`Reader::into_card`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the reader: the connection ends.
    #[doc(alias = "SCardReconnect")]
    pub async fn into_card(
        mut self,
        share_mode: ShareMode,
        protocols: Protocols,
        initialization: Initialization,
    ) -> Result<AsyncCard, HandleError<AsyncReader>> {
        let access = Access::Card(share_mode);
        let call = Call::reconnect(access, protocols, initialization);
        match self.channel.call_detached(call).await {
            Ok(_) => Ok(AsyncCard::new(self.channel, ExchangeOptions::new())),
            Err(error) => Err(HandleError::new(self, error)),
        }
    }

    /// Returns the blocking reader; [`AsyncReader::from`] is the inverse.
    ///
    /// # Errors
    ///
    /// Those of [`AsyncCard::into_card`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the reader: the connection ends.
    pub async fn into_reader(mut self) -> Result<Reader, HandleError<AsyncReader>> {
        match self.channel.attach().await {
            Ok(()) => Ok(Reader::new(self.channel)),
            Err(error) => Err(HandleError::new(self, error)),
        }
    }

    /// Acknowledges another program's reset, or resets the card, and keeps direct access. See
    /// [`Reader::reconnect`].
    ///
    /// Corresponds to `SCardReconnect` with `SCARD_SHARE_DIRECT`.
    ///
    /// # Errors
    ///
    /// Those of [`Reader::reconnect`].
    ///
    /// # Cancel safety
    ///
    /// That of [`AsyncCard::reconnect`].
    #[doc(alias = "SCardReconnect")]
    pub async fn reconnect(&mut self, initialization: Initialization) -> Result<()> {
        let call = Call::reconnect(Access::Direct, Protocols::empty(), initialization);
        self.channel.call_detached(call).await.map(drop)
    }

    /// Returns whether there is a card, and its ATR.
    ///
    /// Corresponds to `SCardStatus`.
    ///
    /// # Errors
    ///
    /// Those of [`Card::status`](crate::Card::status).
    ///
    /// # Cancel safety
    ///
    /// [Dropping the future](AsyncCard#dropping-a-future) abandons the reader.
    #[doc(alias = "SCardStatus")]
    pub async fn status(&mut self) -> Result<CardStatus> {
        self.channel.call_detached(Call::status()).await
    }

    /// Disconnects and applies `disposition` to a card.
    ///
    /// Corresponds to `SCardDisconnect`.
    ///
    /// # Errors
    ///
    /// Those of [`Card::disconnect`](crate::Card::disconnect). The error contains the reader.
    ///
    /// # Cancel safety
    ///
    /// That of [`AsyncCard::disconnect`].
    #[doc(alias = "SCardDisconnect")]
    pub async fn disconnect(
        mut self,
        disposition: Disposition,
    ) -> Result<(), HandleError<AsyncReader>> {
        let call = Call::disconnect(disposition);
        match self.channel.call_detached(call).await {
            Ok(()) => Ok(()),
            Err(error) => Err(HandleError::new(self, error)),
        }
    }
}

impl AsyncControl for AsyncReader {
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
}

/// Does not affect the reader, and does not wait.
impl From<Reader> for AsyncReader {
    fn from(reader: Reader) -> AsyncReader {
        let mut channel = reader.into_channel();
        channel.detach();
        AsyncReader { channel }
    }
}
