//! Direct access to a reader.

use std::time::Duration;

use crate::Protocols;
use crate::attribute::Attribute;
use crate::card::Card;
use crate::channel::{Channel, Limits};
use crate::connection::Access;
use crate::control::ControlCode;
use crate::error::{HandleError, Result};
use crate::name::ReaderName;
use crate::options::{Disposition, Initialization, Scope, ShareMode};
use crate::status::CardStatus;
use crate::worker::AbortHandle;

/// Direct access to a reader, with or without a card in it (`SCARD_SHARE_DIRECT`).
///
/// For control codes and attributes of the reader. No protocol is negotiated, so there is
/// nothing to transmit with: [`into_card`](Reader::into_card) gets there.
///
/// ```no_run
/// # fn demo(context: &scard::Context, name: &scard::ReaderName) -> scard::Result<()> {
/// use scard::{Attribute, Initialization, Protocols, ShareMode};
///
/// let mut reader = context.open_reader(name)?;
/// let vendor = reader.attribute(Attribute::VENDOR_NAME)?;
/// let mut card = reader.into_card(ShareMode::Shared, Protocols::ANY, Initialization::Reset)?;
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
/// Dropping it disconnects and leaves a card as it is.
#[derive(Debug)]
#[must_use = "dropping a reader disconnects it"]
pub struct Reader {
    channel: Channel,
}

impl Reader {
    pub(crate) fn open(scope: Scope, reader: &ReaderName, limits: Limits) -> Result<Reader> {
        let (channel, _) = Channel::open(
            scope,
            reader,
            Access::Direct,
            Protocols::empty(),
            Disposition::Leave,
            limits,
        )?;
        Ok(Reader { channel })
    }

    pub(crate) fn new(channel: Channel) -> Reader {
        Reader { channel }
    }

    /// See [`Card::set_timeout`].
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.channel.set_timeout(timeout);
    }

    /// See [`Card::abort_handle`].
    pub fn abort_handle(&mut self) -> AbortHandle {
        self.channel.abort_handle()
    }

    /// See [`Card::is_abandoned`].
    pub fn is_abandoned(&self) -> bool {
        self.channel.is_abandoned()
    }

    /// The name of the reader.
    pub fn name(&self) -> &ReaderName {
        self.channel.reader()
    }

    /// Moves on from direct to general access: the card in the reader.
    ///
    /// Corresponds to `SCardReconnect`.
    ///
    /// # Errors
    ///
    /// Those of [`Card::reconnect`]; the reader comes back with the error. If the card was
    /// to be reset, that can have happened; [`Reader::reconnect`] acknowledges it.
    ///
    /// # Platform notes
    ///
    /// pcsc-lite takes the power from a card that nobody uses, and direct access is no use
    /// of it. [`Initialization::Leave`] does not bring the power back; take
    /// [`Initialization::Reset`] or [`Initialization::Unpower`] unless another connection
    /// keeps the card in use.
    pub fn into_card(
        mut self,
        share_mode: ShareMode,
        protocols: Protocols,
        initialization: Initialization,
    ) -> Result<Card, HandleError<Reader>> {
        let reconnected =
            self.channel
                .reconnect(Access::Card(share_mode), protocols, initialization);
        match reconnected {
            Ok(protocol) => Ok(Card::new(self.channel, share_mode, protocol)),
            Err(error) => Err(HandleError::new(self, error)),
        }
    }

    /// Acknowledges another program's reset, or resets the card, and keeps direct access.
    ///
    /// Corresponds to `SCardReconnect` with `SCARD_SHARE_DIRECT`.
    ///
    /// # Errors
    ///
    /// `SCARD_E_NO_SMARTCARD` if there is no card, `SCARD_W_UNRESPONSIVE_CARD` if it does
    /// not answer to the reset.
    #[doc(alias = "SCardReconnect")]
    pub fn reconnect(&mut self, initialization: Initialization) -> Result<()> {
        self.channel
            .reconnect(Access::Direct, Protocols::empty(), initialization)
            .map(drop)
    }

    /// Sends a control code and input to the reader's driver and gives its output.
    ///
    /// Corresponds to `SCardControl`.
    ///
    /// # Errors
    ///
    /// Those of [`Card::control`].
    #[doc(alias = "SCardControl")]
    pub fn control(&mut self, code: ControlCode, input: &[u8]) -> Result<Vec<u8>> {
        self.channel.control(code, input)
    }

    /// An attribute of the reader or the card, as the driver gives it.
    ///
    /// Corresponds to `SCardGetAttrib`.
    ///
    /// # Errors
    ///
    /// Those of [`Card::attribute`].
    #[doc(alias = "SCardGetAttrib")]
    pub fn attribute(&mut self, attribute: Attribute) -> Result<Vec<u8>> {
        self.channel.attribute(attribute)
    }

    /// Sets an attribute of the reader or the card.
    ///
    /// Corresponds to `SCardSetAttrib`.
    ///
    /// # Errors
    ///
    /// Those of [`Card::attribute`].
    #[doc(alias = "SCardSetAttrib")]
    pub fn set_attribute(&mut self, attribute: Attribute, value: &[u8]) -> Result<()> {
        self.channel.set_attribute(attribute, value)
    }

    /// Whether there is a card, and its ATR.
    ///
    /// Corresponds to `SCardStatus`.
    ///
    /// # Errors
    ///
    /// Those of [`Card::status`].
    #[doc(alias = "SCardStatus")]
    pub fn status(&mut self) -> Result<CardStatus> {
        self.channel.status()
    }

    /// Ends the connection and does with a card what `disposition` says.
    ///
    /// Corresponds to `SCardDisconnect`.
    ///
    /// # Errors
    ///
    /// Those of [`Card::disconnect`]. The reader comes back with the error.
    #[doc(alias = "SCardDisconnect")]
    pub fn disconnect(mut self, disposition: Disposition) -> Result<(), HandleError<Reader>> {
        match self.channel.disconnect(disposition) {
            Ok(()) => Ok(()),
            Err(error) => Err(HandleError::new(self, error)),
        }
    }
}
