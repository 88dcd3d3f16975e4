//! Direct access to a reader.

use std::time::Duration;

use super::Card;
use crate::apdu::ExchangeOptions;
use crate::channel::call::Call;
use crate::channel::{Channel, Limits, Opening};
use crate::connection::{Access, Home, Target};
use crate::error::{HandleError, Result};
use crate::exchange::Control;
use crate::limits::AbortHandle;
use crate::values::{
    Attribute, CardStatus, ControlCode, Disposition, Initialization, Protocols, ReaderName,
    ShareMode,
};

/// Direct access to a reader, with or without a card in it (`SCARD_SHARE_DIRECT`).
///
/// Gives access to the control codes and attributes of the reader. No protocol is negotiated, so
/// nothing can be transmitted; [`into_card`](Reader::into_card) negotiates one.
///
/// ```no_run
/// # fn demo(context: &scard::Context, name: &scard::ReaderName) -> scard::Result<()> {
/// use scard::{Attribute, Control, Initialization, Protocols, ShareMode};
///
/// let mut reader = context.open_reader(name)?;
/// let vendor = reader.attribute(Attribute::VENDOR_NAME)?;
/// let reset = Initialization::Reset;
/// let mut card = reader.into_card(ShareMode::Shared, Protocols::ANY, reset)?;
/// # Ok(())
/// # }
/// ```
///
/// ```compile_fail
/// # fn demo(mut reader: scard::Reader) {
/// reader.transmit(&[0x00, 0x84, 0x00, 0x00, 0x08]);
/// # }
/// ```
///
/// Dropping the reader disconnects and leaves a card as it is.
#[derive(Debug)]
#[must_use = "dropping a reader disconnects it"]
pub struct Reader {
    channel: Channel,
}

impl Reader {
    pub(crate) fn opening(home: Home, reader: &ReaderName, limits: Limits) -> Opening {
        Opening {
            target: Target {
                home,
                reader: reader.clone(),
                access: Access::Direct,
                protocols: Protocols::empty(),
            },
            disposition_on_drop: Disposition::Leave,
            waits_for_access: false,
            limits,
        }
    }

    pub(crate) fn new(channel: Channel) -> Reader {
        Reader { channel }
    }

    #[cfg(feature = "async")]
    pub(crate) fn into_channel(self) -> Channel {
        self.channel
    }

    /// See [`Card::set_timeout`].
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.channel.set_timeout(timeout);
    }

    /// See [`Card::set_wait_for_transactions`].
    pub fn set_wait_for_transactions(&mut self, wait: bool) {
        self.channel.set_wait_for_transactions(wait);
    }

    /// See [`Card::make_abortable`].
    pub fn make_abortable(&mut self) -> AbortHandle {
        self.channel.abort_handle()
    }

    /// See [`Card::is_abandoned`].
    pub fn is_abandoned(&self) -> bool {
        self.channel.is_abandoned()
    }

    /// Returns the name of the reader.
    pub fn reader_name(&self) -> &ReaderName {
        self.channel.reader_name()
    }

    /// Changes from direct access to a connection to the card in the reader.
    ///
    /// Corresponds to `SCardReconnect`.
    ///
    /// # Errors
    ///
    /// Those of [`Card::reconnect`]; the error contains the reader. A requested reset may have
    /// happened anyway; [`Reader::reconnect`] acknowledges it.
    ///
    /// # Platform notes
    ///
    /// pcsc-lite powers down unused cards, and direct access does not count as use.
    /// [`Initialization::Leave`] does not power the card up again; use [`Initialization::Reset`] or
    /// [`Initialization::Unpower`] unless another connection uses the card.
    #[doc(alias = "SCardReconnect")]
    pub fn into_card(
        mut self,
        share_mode: ShareMode,
        protocols: Protocols,
        initialization: Initialization,
    ) -> Result<Card, HandleError<Reader>> {
        let call = Call::reconnect(Access::Card(share_mode), protocols, initialization);
        match self.channel.call(call) {
            Ok(_) => Ok(Card::new(self.channel, ExchangeOptions::new())),
            Err(error) => Err(HandleError::new(self, error)),
        }
    }

    /// Acknowledges another program's reset, or resets the card, and keeps direct access.
    ///
    /// Corresponds to `SCardReconnect` with `SCARD_SHARE_DIRECT`.
    ///
    /// # Errors
    ///
    /// `SCARD_E_NO_SMARTCARD` if there is no card, `SCARD_W_UNRESPONSIVE_CARD` if it does not
    /// answer the reset.
    #[doc(alias = "SCardReconnect")]
    pub fn reconnect(&mut self, initialization: Initialization) -> Result<()> {
        let call = Call::reconnect(Access::Direct, Protocols::empty(), initialization);
        self.channel.call(call).map(drop)
    }

    /// Returns whether there is a card, and its ATR.
    ///
    /// Corresponds to `SCardStatus`.
    ///
    /// # Errors
    ///
    /// Those of [`Card::status`].
    #[doc(alias = "SCardStatus")]
    pub fn status(&mut self) -> Result<CardStatus> {
        self.channel.call(Call::status())
    }

    /// Disconnects and applies `disposition` to a card.
    ///
    /// Corresponds to `SCardDisconnect`; see the platform notes of
    /// [`Card::disconnect`](crate::Card::disconnect).
    ///
    /// # Errors
    ///
    /// Those of [`Card::disconnect`]. The error contains the reader.
    #[doc(alias = "SCardDisconnect")]
    pub fn disconnect(mut self, disposition: Disposition) -> Result<(), HandleError<Reader>> {
        match self.channel.call(Call::disconnect(disposition)) {
            Ok(()) => Ok(()),
            Err(error) => Err(HandleError::new(self, error)),
        }
    }
}

impl Control for Reader {
    fn reader_name(&self) -> &ReaderName {
        self.reader_name()
    }

    fn control(&mut self, code: ControlCode, input: &[u8]) -> Result<Vec<u8>> {
        self.channel.call(Call::control(code, input))
    }

    fn attribute(&mut self, attribute: Attribute) -> Result<Vec<u8>> {
        self.channel.call(Call::attribute(attribute))
    }

    fn set_attribute(&mut self, attribute: Attribute, value: &[u8]) -> Result<()> {
        self.channel.call(Call::set_attribute(attribute, value))
    }
}
