//! Connected cards.

#[cfg(feature = "async")]
mod async_card;
#[cfg(feature = "async")]
mod async_reader;
#[cfg(feature = "async")]
mod async_transaction;
mod connect_options;
mod limits;
mod reader;
mod transaction;

use crate::apdu::{Command, CommandBytes, ExchangeError, ExchangeOptions, Response};
use crate::channel::call::Call;
use crate::channel::{Channel, Limits, Opening};
use crate::connection::{Access, Home, Target};
use crate::error::{HandleError, Result};
use crate::exchange::{Control, Transmit};
use crate::values::{
    Atr, Attribute, CardStatus, ControlCode, Disposition, Initialization, Protocol, Protocols,
    ReaderName, ShareMode,
};

#[cfg(feature = "async")]
pub use async_card::AsyncCard;
#[cfg(feature = "async")]
pub use async_reader::AsyncReader;
#[cfg(feature = "async")]
pub use async_transaction::AsyncTransaction;
pub use connect_options::ConnectOptions;
pub use reader::Reader;
pub(crate) use transaction::Hold;
pub use transaction::Transaction;

/// A connection to the card in a reader.
///
/// ```no_run
/// use scard::{ConnectOptions, Context, Disposition};
///
/// let context = Context::establish()?;
/// if let Some(reader) = context.readers()?.first() {
///     let mut card = context.connect(reader, ConnectOptions::new())?;
///     let answer = card.transmit(b"\x00\xA4\x04\x00\x05\xA0\x00\x00\x03\x08")?;
///     println!("{answer:02X?}");
///     card.disconnect(Disposition::Leave)?;
/// }
/// # Ok::<(), scard::Error>(())
/// ```
///
/// Each card has its own PC/SC context. pcsc-lite has 200 contexts for all programs.
///
/// A card belongs to the process that connected it. A forked child must not use it; dropping
/// it there does nothing.
///
/// Eject is a disposition, not an initialization:
///
/// ```compile_fail
/// # fn demo(mut card: scard::Card) {
/// # use scard::{Disposition, Protocols, ShareMode};
/// card.reconnect(ShareMode::Shared, Protocols::ANY, Disposition::Eject);
/// # }
/// ```
///
/// A disconnected card cannot be used:
///
/// ```compile_fail
/// # fn demo(mut card: scard::Card) {
/// # use scard::Disposition;
/// card.disconnect(Disposition::Leave);
/// card.transmit(&[0x00, 0x84, 0x00, 0x00, 0x08]);
/// # }
/// ```
///
/// Dropping the card disconnects and leaves it as it is, unless
/// [`ConnectOptions::disposition_on_drop`] says otherwise. The [limits](Card::set_timeout) of its
/// calls apply to the drop, too; a drop that leaves the card as it is then takes 100 ms at most,
/// and what takes longer continues in the background. [A separate page](crate::guide::endings)
/// lists every way in which a connection can end, and what happens to the card.
///
/// While another program holds a transaction on the card, calls wait until it ends, or until a
/// [time-out](Card::set_timeout).
#[derive(Debug)]
#[must_use = "dropping a card disconnects it"]
pub struct Card {
    channel: Channel,
    exchange_options: ExchangeOptions,
}

impl Card {
    /// The maximum length of a command or answer, in bytes: an extended APDU.
    pub const MAX_APDU_LEN: usize = crate::service::MAX_APDU_LEN;

    /// The maximum length of a received answer, in bytes: [`MAX_APDU_LEN`](Card::MAX_APDU_LEN), but
    /// 65,535 on Windows, because some drivers truncate or refuse larger buffers.
    ///
    /// Answers are never truncated: a longer one is
    /// [`ErrorKind::BufferTooSmall`](crate::ErrorKind::BufferTooSmall) with
    /// [`needed_len`](crate::Error::needed_len), and its command [may have
    /// run](crate::Error::command_may_have_run). On Windows this affects answers of more than 65,533
    /// bytes of data. An [exchange](Card::exchange) of a command that
    /// [expects](crate::apdu::Command::expecting) more than that asks for 65,533 and, if the card
    /// returns as many, [reports it](crate::apdu::AnswerProblem::PossiblyIncomplete). One that expects
    /// [all](crate::apdu::Command::expecting_all) asks for all unless
    /// [limited](crate::apdu::ExchangeOptions::max_answer_data), and bytes that are
    /// [transmitted](Card::transmit) are sent as they are.
    pub const MAX_ANSWER_LEN: usize = crate::service::MAX_ANSWER_LEN;

    pub(crate) fn opening(home: Home, reader: &ReaderName, options: ConnectOptions) -> Opening {
        Opening {
            target: Target {
                home,
                reader: reader.clone(),
                access: Access::Card(options.share_mode),
                protocols: options.protocols,
            },
            disposition_on_drop: options.disposition_on_drop,
            waits_for_access: options.wait_for_access,
            limits: Limits::new(options.timeout.flatten(), options.abort),
        }
    }

    pub(crate) fn new(channel: Channel, exchange_options: ExchangeOptions) -> Card {
        Card {
            channel,
            exchange_options,
        }
    }

    /// Returns the reader that the card is in.
    pub fn reader_name(&self) -> &ReaderName {
        self.channel.reader_name()
    }

    /// Returns the share mode of this connection.
    pub fn share_mode(&self) -> ShareMode {
        self.channel.agreed().share_mode
    }

    /// Returns the negotiated protocol, or `None` if it is unknown: after an error that reports a
    /// reset or removal of the card, after a failed reconnect that may have reset the card, and
    /// after a transaction that ended with a reset. [`Card::reconnect`] determines it again.
    pub fn protocol(&self) -> Option<Protocol> {
        self.channel.agreed().protocol()
    }

    /// Sets the options of this card's exchanges, including those of its
    /// [transactions](Card::transaction) and logical channels.
    ///
    /// [`exchange_with`](Card::exchange_with) overrides them for one exchange, and
    /// [`ConnectOptions::exchange_options`] sets them for the connect. A card created from a
    /// [`Reader`] has the default options.
    pub fn set_exchange_options(&mut self, options: ExchangeOptions) {
        self.exchange_options = options;
    }

    /// Returns the options of this card's exchanges; see
    /// [`set_exchange_options`](Card::set_exchange_options).
    pub fn exchange_options(&self) -> ExchangeOptions {
        self.exchange_options
    }

    /// Sends a command APDU and returns the answer, including the status word.
    ///
    /// Corresponds to `SCardTransmit`. The receive buffer has room for the longest possible answer,
    /// so no answer is lost.
    ///
    /// ```no_run
    /// # fn demo(mut card: scard::Card) -> scard::Result<()> {
    /// let answer = card.transmit(&[0x00, 0x84, 0x00, 0x00, 0x08])?;
    /// if let [challenge @ .., 0x90, 0x00] = answer.as_slice() {
    ///     println!("{challenge:02X?}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Empty commands and commands longer than [`Card::MAX_APDU_LEN`] are refused before they reach
    /// the service.
    ///
    /// | Code | |
    /// |---|---|
    /// | `SCARD_W_RESET_CARD` | another program reset the card: [`reconnect`](Card::reconnect) |
    /// | `SCARD_W_REMOVED_CARD`, `SCARD_E_NO_SMARTCARD` | the card was removed |
    /// | `SCARD_E_NOT_TRANSACTED` | the driver failed; the command may have run |
    /// | `SCARD_E_PROTO_MISMATCH` | another protocol has become active |
    /// | `SCARD_E_INVALID_VALUE`, `SCARD_E_READER_UNAVAILABLE` | the reader was unplugged |
    /// | `SCARD_F_COMM_ERROR`, `SCARD_E_NO_SERVICE` | the service ended |
    /// | `SCARD_E_INSUFFICIENT_BUFFER` | the answer is longer than [`Card::MAX_ANSWER_LEN`]. With pcsc-lite the [connection has ended](Card::is_abandoned), because the rest of the answer would be taken for the next one |
    #[doc(alias = "SCardTransmit")]
    pub fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>> {
        self.transmit_ref(command).map(<[u8]>::to_vec)
    }

    /// Like [`transmit`](Card::transmit), without allocating: lends the card's receive buffer until
    /// the next call.
    ///
    /// # Errors
    ///
    /// Those of [`transmit`](Card::transmit).
    #[doc(alias = "SCardTransmit")]
    pub fn transmit_ref(&mut self, command: &[u8]) -> Result<&[u8]> {
        self.channel.transmit(CommandBytes::new(command))
    }

    /// Exchanges a command: sends it and returns the complete answer.
    ///
    /// Fetches the rest of the answer if the card has more (61XX), and repeats the command once
    /// with the right Le if the card asks for that (6CXX), unless it presents a PIN.
    ///
    /// Works the same over T=0 and T=1. A body of more than 255 bytes is sent with extended length
    /// or as a chain, if that is known to be possible: see [`ExchangeOptions`], which
    /// [`exchange_with`](Card::exchange_with) and
    /// [`set_exchange_options`](Card::set_exchange_options) take. The rules are in
    /// [`Exchange`](crate::apdu::Exchange).
    ///
    /// The exchange holds a transaction, because another program's command in between would lose
    /// the rest of the answer. Within a [`Transaction`] of the caller, this takes one PC/SC call
    /// instead of three.
    ///
    /// ```no_run
    /// # fn demo(mut card: scard::Card) -> Result<(), scard::apdu::ExchangeError> {
    /// use scard::Command;
    ///
    /// let select = Command::select(b"\xA0\x00\x00\x03\x08")?;
    /// let file_control_information = card.exchange(&select)?.ok()?;
    /// println!("{file_control_information:02X?}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Every status word that ends the exchange is a [`Response`]; [`Response::ok`] and its
    /// siblings decide whether it is a success.
    ///
    /// # Errors
    ///
    /// [`ExchangeError::Card`] with the errors of [`transaction`](Card::transaction) and
    /// [`transmit`](Card::transmit), and the step that failed; [`ExchangeError::TooLong`], and
    /// [`ExchangeError::Instruction`] over T=0, before anything is sent; [`ExchangeError::Answer`]
    /// if the card's answer has no status word, if the card refuses the announced rest of an
    /// answer, if more was expected than could be asked for, or if the card exceeds the limits of
    /// the options.
    pub fn exchange(&mut self, command: &Command) -> Result<Response, ExchangeError> {
        self.exchange_with(command, &self.exchange_options())
    }

    /// Like [`exchange`](Card::exchange), with options.
    ///
    /// # Errors
    ///
    /// Those of [`exchange`](Card::exchange).
    pub fn exchange_with(
        &mut self,
        command: &Command,
        options: &ExchangeOptions,
    ) -> Result<Response, ExchangeError> {
        self.transaction()?.exchange_with(command, options)
    }

    /// Reconnects: acknowledges another program's reset, resets the card, or changes share mode and
    /// protocol. Returns the active protocol.
    ///
    /// Corresponds to `SCardReconnect`.
    ///
    /// ```no_run
    /// # fn demo(mut card: scard::Card) -> scard::Result<()> {
    /// use scard::{Initialization, Protocols, ReturnCode, ShareMode};
    ///
    /// let command = [0x00, 0x84, 0x00, 0x00, 0x08];
    /// match card.transmit(&command) {
    ///     Err(error) if error.code() == ReturnCode::W_RESET_CARD => {
    ///         // Nothing was sent. The card has lost its state: selected application,
    ///         // verified PIN.
    ///         card.reconnect(ShareMode::Shared, Protocols::ANY, Initialization::Leave)?;
    ///         println!("{:02X?}", card.transmit(&command)?);
    ///     }
    ///     answer => println!("{:02X?}", answer?),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// - With [`Initialization::Leave`], `protocols` must include the active protocol, because it
    ///   is not negotiated again. After a reset the protocol is chosen anew.
    /// - After [`Initialization::Reset`] and [`Initialization::Unpower`] every *other* connection
    ///   to the card fails with `SCARD_W_RESET_CARD` until it reconnects.
    /// - A failed reconnect may have reset the card anyway. Then [`protocol`](Card::protocol) is
    ///   `None`, and commands fail with `SCARD_W_RESET_CARD` until a reconnect succeeds;
    ///   [`Error::card_condition`](crate::Error::card_condition) reports this.
    /// - An empty `protocols` is refused before anything is done.
    /// - If the reader does not support `protocols`, pcsc-lite can report success with another
    ///   protocol. This library returns `SCARD_E_PROTO_MISMATCH` instead, as Windows does.
    ///
    /// # Errors
    ///
    /// | Code | |
    /// |---|---|
    /// | `SCARD_E_PROTO_MISMATCH` | `protocols` does not include a possible protocol; with [`Initialization::Leave`] the connection continues as before |
    /// | `SCARD_E_NO_SMARTCARD`, `SCARD_W_REMOVED_CARD` | there is no card |
    /// | `SCARD_W_UNRESPONSIVE_CARD` | the card does not answer the reset; with [`ErrorKind::CardUnsupported`](crate::ErrorKind::CardUnsupported) (pcsc-lite) it does, but refused the protocol parameters |
    /// | `SCARD_E_SHARING_VIOLATION` | exclusive access is not possible now (not with pcsc-lite; see below) |
    /// | `SCARD_E_INVALID_VALUE`, `SCARD_E_READER_UNAVAILABLE` | the reader was unplugged |
    /// | `SCARD_E_NO_SERVICE` | the service ended: connect again |
    ///
    /// # Platform notes
    ///
    /// With pcsc-lite, a change to [`ShareMode::Exclusive`] waits until there is no other
    /// connection to the card. A reset is made by the end of a transaction, which reports it to other
    /// connections when it is over: pcsc-lite's `SCardReconnect` reports it before it is made, and
    /// would take away without another report what they select until then. In a transaction of the
    /// program and with exclusive access, others are kept out anyway.
    ///
    /// macOS 10.10 has been seen to fail the first command after a reset with `SCARD_W_RESET_CARD`
    /// once more; a second reconnect with [`Initialization::Leave`] clears this.
    #[doc(alias = "SCardReconnect")]
    pub fn reconnect(
        &mut self,
        share_mode: ShareMode,
        protocols: Protocols,
        initialization: Initialization,
    ) -> Result<Protocol> {
        let access = Access::Card(share_mode);
        self.channel
            .call(Call::reconnect(access, protocols, initialization))
    }

    /// Begins a transaction: until it ends, no other connection can use the card.
    ///
    /// Corresponds to `SCardBeginTransaction`. Waits while another program holds a transaction.
    ///
    /// ```no_run
    /// # fn demo(mut card: scard::Card) -> Result<(), scard::apdu::ExchangeError> {
    /// use scard::{Command, Disposition};
    ///
    /// let mut transaction = card.transaction()?;
    /// transaction.exchange(&Command::select(b"\xA0\x00\x00\x03\x08")?)?.ok()?;
    /// let challenge = Command::new(0x00, 0x84, 0x00, 0x00)?.expecting(8)?;
    /// println!("{:02X?}", transaction.exchange(&challenge)?.ok()?);
    /// transaction.end(Disposition::Leave)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `SCARD_W_RESET_CARD` or `SCARD_W_REMOVED_CARD` after a reset or removal, until
    /// [`reconnect`](Card::reconnect); otherwise those of [`transmit`](Card::transmit).
    /// [`transaction_acknowledging_reset`](Card::transaction_acknowledging_reset) reconnects by
    /// itself after a reset.
    #[doc(alias = "SCardBeginTransaction")]
    pub fn transaction(&mut self) -> Result<Transaction<'_>> {
        self.channel.call(Call::begin_transaction())?;
        Ok(Transaction::new(self, Hold::begun(false)))
    }

    /// Begins a transaction, first acknowledging any resets by another program.
    ///
    /// [`Transaction::was_reset`] returns whether there was a reset: verified PINs and session keys
    /// are lost then. The application has to be selected in any case, because another program may
    /// have selected another one.
    ///
    /// ```no_run
    /// # fn demo(mut card: scard::Card) -> Result<(), scard::apdu::ExchangeError> {
    /// use scard::{Command, Protocols};
    ///
    /// let mut transaction = card.transaction_acknowledging_reset(Protocols::ANY)?;
    /// transaction.exchange(&Command::select(b"\xA0\x00\x00\x03\x08")?)?.ok()?;
    /// if transaction.was_reset() {
    ///     // Verify the PIN again.
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Corresponds to `SCardBeginTransaction`, and `SCardReconnect` with [`Initialization::Leave`]
    /// in the share mode of the connection after each `SCARD_W_RESET_CARD`. `protocols` are the
    /// protocols that may be active afterwards.
    ///
    /// # Errors
    ///
    /// Those of [`Card::transaction`] except `SCARD_W_RESET_CARD`, and those of
    /// [`Card::reconnect`].
    ///
    /// # Platform notes
    ///
    /// pcsc-lite can begin a transaction while a reset is in progress. A second look
    /// (`SCardStatus`) detects nearly all such resets. After the rest, the first command fails with
    /// `SCARD_W_RESET_CARD` or `SCARD_E_PROTO_MISMATCH` and is not sent: call
    /// [`Transaction::reconnect`].
    #[doc(alias = "SCardBeginTransaction")]
    pub fn transaction_acknowledging_reset(
        &mut self,
        protocols: Protocols,
    ) -> Result<Transaction<'_>> {
        let begin = Call::begin_transaction_acknowledging_reset(protocols);
        let was_reset = self.channel.call(begin)?;
        self.channel.resets_are_reported();
        Ok(Transaction::new(self, Hold::begun(was_reset)))
    }

    /// Returns the state of the card, its ATR and the active protocol.
    ///
    /// Corresponds to `SCardStatus`.
    ///
    /// # Errors
    ///
    /// `SCARD_W_RESET_CARD` or `SCARD_W_REMOVED_CARD` after a reset or removal, until
    /// [`reconnect`](Card::reconnect); `SCARD_E_READER_UNAVAILABLE` if the reader was
    /// unplugged.
    #[doc(alias = "SCardStatus")]
    pub fn status(&mut self) -> Result<CardStatus> {
        self.channel.call(Call::status())
    }

    /// Releases the card and keeps direct access to its reader.
    ///
    /// Corresponds to `SCardReconnect` with `SCARD_SHARE_DIRECT`.
    ///
    /// # Errors
    ///
    /// Those of [`reconnect`](Card::reconnect); the error contains the card.
    #[doc(alias = "SCardReconnect")]
    pub fn into_reader(
        mut self,
        initialization: Initialization,
    ) -> Result<Reader, HandleError<Card>> {
        let call = Call::reconnect(Access::Direct, Protocols::empty(), initialization);
        match self.channel.call(call) {
            Ok(_) => Ok(Reader::new(self.channel)),
            Err(error) => Err(HandleError::new(self, error)),
        }
    }

    /// Disconnects and applies `disposition` to the card.
    ///
    /// Corresponds to `SCardDisconnect`. With anything but [`Disposition::Leave`] it waits while
    /// another program holds a transaction, until a [time-out](Card::set_timeout). A removed card
    /// or unplugged reader is not an error.
    ///
    /// # Errors
    ///
    /// `SCARD_E_NO_SERVICE` or `SCARD_F_COMM_ERROR` if the service ended;
    /// [`ErrorKind::DeadlineExceeded`](crate::ErrorKind::DeadlineExceeded) and
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) if the call was abandoned, which
    /// leaves the card as it is; [`ErrorKind::Abandoned`](crate::ErrorKind::Abandoned) if the
    /// connection had ended before. The error contains the card; unless its connection [has
    /// ended](Card::is_abandoned), the call can be repeated.
    ///
    /// # Platform notes
    ///
    /// In pcsc-lite's client library before version 2.4, `SCardDisconnect` is not thread-safe. With
    /// pcsc-lite the connection therefore ends with `SCardReleaseContext` (over the socket, if the
    /// context is kept for the next card, with `SCardDisconnect`), after an `SCardReconnect` for
    /// [`Disposition::Reset`] and [`Disposition::Unpower`] or an `SCardEndTransaction` for
    /// [`Disposition::Eject`]. With [`Disposition::Unpower`] the card is powered down and up again;
    /// the service powers it down for good when nothing uses it.
    #[doc(alias = "SCardDisconnect")]
    pub fn disconnect(mut self, disposition: Disposition) -> Result<(), HandleError<Card>> {
        match self.channel.call(Call::disconnect(disposition)) {
            Ok(()) => Ok(()),
            Err(error) => Err(HandleError::new(self, error)),
        }
    }

    pub(crate) fn in_transaction(&self) -> bool {
        self.channel.in_transaction()
    }

    pub(crate) fn begin_transaction_again(&mut self) -> Result<()> {
        self.channel.call(Call::begin_transaction())
    }

    pub(crate) fn end_transaction(&mut self, disposition: Disposition) -> Result<()> {
        self.channel.call(Call::end_transaction(disposition))
    }
}

impl Control for Card {
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

    /// In a transaction, because pcsc-lite passes on control codes even after a reset or removal of
    /// the card, but then refuses to begin a transaction.
    fn control_exclusively(&mut self, code: ControlCode, input: &[u8]) -> Result<Vec<u8>> {
        self.transaction()?.control(code, input)
    }
}

impl Transmit for Card {
    fn protocol(&self) -> Option<Protocol> {
        self.protocol()
    }

    fn atr(&mut self) -> Result<Atr> {
        Ok(self.status()?.atr())
    }

    fn send(&mut self, command: CommandBytes<'_>) -> Result<&[u8]> {
        self.channel.transmit(command)
    }

    fn exchange_options(&self) -> ExchangeOptions {
        self.exchange_options()
    }

    /// In a transaction.
    fn exchange_with(
        &mut self,
        command: &Command,
        options: &ExchangeOptions,
    ) -> Result<Response, ExchangeError> {
        self.exchange_with(command, options)
    }
}
