//! What a card and a directly opened reader have in common: a PC/SC context of their own and
//! a handle in it.

mod context;

use std::fmt;

use crate::Attribute;
use crate::control::ControlCode;
use crate::error::{CardCondition, Error, ErrorKind, Operation, Result};
use crate::name::{ReaderName, split_multi_string};
use crate::options::{Disposition, Initialization, Protocol, Scope, ShareMode};
use crate::platform::Platform;
use crate::status::CardStatus;
use crate::sys::{self, CardHandle, Failure, Process, ProtocolInfo};
use crate::trace;
use crate::worker::Permit;
use crate::{Protocols, ReturnCode};

pub(crate) use context::OwnedContext;

/// How a connection uses its reader: `dwShareMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Card(ShareMode),
    Direct,
}

impl Access {
    const fn raw(self) -> u32 {
        match self {
            Access::Card(share_mode) => share_mode.raw(),
            Access::Direct => crate::options::SHARE_DIRECT,
        }
    }

    fn is_exclusive(self) -> bool {
        self == Access::Card(ShareMode::Exclusive)
    }
}

/// What was agreed on with the card and the service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Agreed {
    /// That of the card; without meaning for direct access.
    pub(crate) share_mode: ShareMode,
    /// The protocol of the last successful connect or reconnect: what commands are sent with.
    protocol: Protocol,
    /// Whether it is still the active one as far as can be known.
    is_current: bool,
}

impl Agreed {
    /// The protocol, if it is known.
    pub(crate) fn protocol(&self) -> Option<Protocol> {
        self.is_current.then_some(self.protocol)
    }

    pub(crate) fn forget(&mut self) {
        self.is_current = false;
    }

    fn set(&mut self, access: Access, protocol: Protocol) {
        if let Access::Card(share_mode) = access {
            self.share_mode = share_mode;
        }
        self.protocol = protocol;
        self.is_current = true;
    }

    /// Takes from an error what it says about the protocol.
    fn note(&mut self, error: &Error) {
        self.is_current &= match error.card_condition() {
            Some(condition) => condition == CardCondition::Unchanged,
            None => !ends_protocol(error),
        };
    }
}

/// Whether the protocol is not known any more after this error.
fn ends_protocol(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::CardReset
            | ErrorKind::CardRemoved
            | ErrorKind::NoCard
            | ErrorKind::ProtocolMismatch
            | ErrorKind::ReaderGone
            | ErrorKind::ServiceGone
            | ErrorKind::DeadlineExceeded
            | ErrorKind::Abandoned
    )
}

/// The error of a command, of which `agreed` takes what it says about the protocol. What else
/// there is of the connection may be lent to the caller of a command that succeeds.
#[cold]
fn transmit_error(failure: Failure, reader: &ReaderName, agreed: &mut Agreed) -> Error {
    let error = Error::on_reader(Operation::Transmit, failure, reader);
    agreed.note(&error);
    error
}

/// Room for the longest answer, or nothing. The whole of it is overwritten when it is dropped:
/// not byte by byte as by `Zeroizing`, which takes long for so many.
#[derive(Default)]
struct ReceiveBuffer(Vec<u8>);

impl ReceiveBuffer {
    fn new() -> ReceiveBuffer {
        ReceiveBuffer(vec![0; sys::MAX_APDU_LEN])
    }
}

impl Drop for ReceiveBuffer {
    fn drop(&mut self) {
        self.0.fill(0);
        // Without it the compiler could leave that out, as nobody reads it.
        zeroize::optimization_barrier(self.0.as_slice());
    }
}

/// A connected handle in a context of its own. Dropping it disconnects.
pub(crate) struct Connection {
    handle: CardHandle,
    /// Released after the handle is disconnected.
    context: OwnedContext,
    reader: ReaderName,
    exclusive: bool,
    agreed: Agreed,
    /// Its protocol, as commands are sent with it.
    protocol_info: ProtocolInfo,
    disposition_on_drop: Disposition,
    connected: bool,
    in_transaction: bool,
    /// A reset that had to be acknowledged to the service before the caller learned of it.
    /// Until the caller reconnects, calls answer with it as the service would.
    unacknowledged: Option<ReturnCode>,
    /// That of the context; none while there is no buffer, and while a reset waits to be
    /// acknowledged: one look instead of three for each command.
    ready: Process,
    /// Where answers are received: always the full size, because an answer that does not
    /// fit is lost although its command ran. Allocated at the first command.
    received: ReceiveBuffer,
}

/// Without the buffer: it has the last answer in it.
impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("reader", &self.reader)
            .field("exclusive", &self.exclusive)
            .field("connected", &self.connected)
            .field("in_transaction", &self.in_transaction)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Whether this process is a child of the one that connected.
    pub(crate) fn is_forked(&self) -> bool {
        self.context.is_forked()
    }

    #[cfg(feature = "async")]
    pub(crate) fn in_transaction(&self) -> bool {
        self.in_transaction
    }

    /// `SCardConnect`, in a new context.
    pub(crate) fn open(
        scope: Scope,
        reader: &ReaderName,
        access: Access,
        protocols: Protocols,
        disposition_on_drop: Disposition,
    ) -> Result<Connection> {
        let context = OwnedContext::establish(scope).map_err(|error| error.with_reader(reader))?;
        let connected = trace::call(Operation::Connect, Some(reader), || {
            sys::connect(
                context.handle(),
                reader.as_c_str(),
                access.raw(),
                Platform::CURRENT.preferred_protocols(protocols),
            )
        })
        .map_err(|code| Error::on_reader(Operation::Connect, code, reader))?;
        let mut agreed = Agreed {
            share_mode: ShareMode::Shared,
            protocol: Platform::CURRENT.protocol(connected.protocol),
            is_current: true,
        };
        agreed.set(access, agreed.protocol);
        Ok(Connection {
            handle: connected.handle,
            context,
            reader: reader.clone(),
            exclusive: access.is_exclusive(),
            agreed,
            protocol_info: ProtocolInfo::of(connected.protocol),
            disposition_on_drop,
            connected: true,
            in_transaction: false,
            unacknowledged: None,
            ready: Process::NONE,
            received: ReceiveBuffer::default(),
        })
    }

    pub(crate) fn agreed(&self) -> Agreed {
        self.agreed
    }

    /// Takes from the error of a call what it says about the protocol.
    pub(crate) fn note(&mut self, error: &Error) {
        self.agreed.note(error);
    }

    /// Makes a call on the handle, unless a reset waits to be acknowledged.
    fn call<T, F: Into<Failure> + trace::Code>(
        &self,
        operation: Operation,
        call: impl FnOnce(CardHandle) -> Result<T, F>,
    ) -> Result<T> {
        match self.unacknowledged {
            None => {
                let returned = self.make(operation, call);
                returned.map_err(|failure| self.error(operation, failure))
            }
            Some(code) => Err(self.error(operation, code)),
        }
    }

    /// Makes a call on the handle, and tells of it.
    fn make<T, F: trace::Code>(
        &self,
        operation: Operation,
        call: impl FnOnce(CardHandle) -> Result<T, F>,
    ) -> Result<T, F> {
        trace::call(operation, Some(&self.reader), || call(self.handle))
    }

    fn make_reconnect(
        &self,
        access: Access,
        protocols: u32,
        initialization: Initialization,
    ) -> Result<u32, ReturnCode> {
        self.make(Operation::Reconnect, |handle| {
            sys::reconnect(handle, access.raw(), protocols, initialization.raw())
        })
    }

    fn make_end_transaction(&self, disposition: Disposition) -> Result<(), ReturnCode> {
        self.make(Operation::EndTransaction, |handle| {
            sys::end_transaction(handle, disposition.raw())
        })
    }

    fn make_disconnect(&self, disposition: Disposition) -> Result<(), ReturnCode> {
        self.make(Operation::Disconnect, |handle| {
            sys::disconnect(handle, disposition.raw())
        })
    }

    #[cold]
    fn error(&self, operation: Operation, failure: impl Into<Failure>) -> Error {
        Error::on_reader(operation, failure, &self.reader)
    }

    pub(crate) fn reconnect(
        &mut self,
        access: Access,
        protocols: Protocols,
        initialization: Initialization,
    ) -> Result<Protocol> {
        let protocols = Platform::CURRENT.preferred_protocols(protocols);
        let protocol = self
            .make_reconnect(access, protocols, initialization)
            .map_err(|code| self.error(Operation::Reconnect, code))?;
        self.set_unacknowledged(None);
        self.in_transaction &= Platform::CURRENT.reconnect_keeps_transaction();
        if self.exclusive && !access.is_exclusive() && !self.in_transaction {
            self.release_exclusive_lock();
        }
        self.exclusive = access.is_exclusive();
        self.protocol_info = ProtocolInfo::of(protocol);
        let protocol = Platform::CURRENT.protocol(protocol);
        self.agreed.set(access, protocol);
        Ok(protocol)
    }

    /// pcsc-lite implements exclusive access as a lock, the same one that a transaction
    /// takes, and does not release it when a reconnect ends the exclusive access: every
    /// other program would wait for it without end. Ending "the transaction" releases it.
    fn release_exclusive_lock(&self) {
        if Platform::CURRENT != Platform::PcscLite {
            return;
        }
        // More than one if a transaction could not be ended before.
        for _ in 0..4 {
            if self.make_end_transaction(Disposition::Leave).is_err() {
                break;
            }
        }
    }

    pub(crate) fn begin_transaction(&mut self) -> Result<()> {
        self.call(Operation::BeginTransaction, sys::begin_transaction)?;
        self.in_transaction = true;
        Ok(())
    }

    /// Ends the transaction. After anything but [`Disposition::Leave`] the protocol is open.
    pub(crate) fn end_transaction(&mut self, disposition: Disposition) -> Result<()> {
        self.in_transaction = false;
        self.agreed.is_current &= disposition == Disposition::Leave;
        let ended = self.make_end_transaction(disposition);
        if ended == Err(ReturnCode::W_RESET_CARD) {
            self.release_transaction_of_reset_card();
        }
        ended.map_err(|code| self.error(Operation::EndTransaction, code))
    }

    /// pcsc-lite refuses to end a transaction while a reset of the card is not acknowledged,
    /// and goes on to exclude everybody else. A reconnect with direct access acknowledges
    /// without negotiating a protocol in the caller's place; the caller still gets to know.
    fn release_transaction_of_reset_card(&mut self) {
        if Platform::CURRENT != Platform::PcscLite || self.exclusive {
            return;
        }
        let acknowledged = self.make_reconnect(Access::Direct, 0, Initialization::Leave);
        if acknowledged.is_ok() {
            self.set_unacknowledged(Some(ReturnCode::W_RESET_CARD));
            if let Err(code) = self.make_end_transaction(Disposition::Leave) {
                tracing::debug!(%code, reader = %self.reader, "SCardEndTransaction failed again");
            }
        }
    }

    pub(crate) fn status(&self) -> Result<CardStatus> {
        let status = self.call(Operation::Status, sys::status)?;
        let (state, event_count) = Platform::CURRENT.card_state(status.state);
        Ok(CardStatus {
            readers: split_multi_string(&status.names),
            state,
            raw_state: status.state,
            event_count,
            protocol: match status.protocol {
                0 => None,
                value => Some(Platform::CURRENT.protocol(value)),
            },
            atr: status.atr,
        })
    }

    /// Whether [`send`](Connection::send) is all that a command needs.
    #[inline]
    pub(crate) fn is_ready(&self) -> bool {
        !self.ready.is_forked()
    }

    fn get_ready(&mut self) {
        self.ready = match self.received.0.is_empty() || self.unacknowledged.is_some() {
            true => Process::NONE,
            false => self.context.process,
        };
    }

    fn set_unacknowledged(&mut self, code: Option<ReturnCode>) {
        self.unacknowledged = code;
        self.get_ready();
    }

    /// Sends a command and gives the answer. For a connection that is ready, if nobody is to
    /// be told.
    #[inline]
    pub(crate) fn send(&mut self, command: &[u8]) -> Result<&[u8]> {
        let (handle, received) = (self.handle, self.received.0.as_mut_slice());
        match sys::transmit(handle, &self.protocol_info, command, received) {
            Ok(len) => Ok(received.get(..len).unwrap_or_default()),
            Err(failure) => Err(transmit_error(failure, &self.reader, &mut self.agreed)),
        }
    }

    /// Sends a command and gives the answer. With `is_secret`, neither is shown; otherwise
    /// the header decides.
    pub(crate) fn transmit(&mut self, command: &[u8], is_secret: bool) -> Result<&[u8]> {
        if self.received.0.is_empty() {
            self.received = ReceiveBuffer::new();
            self.get_ready();
        }
        let (handle, protocol) = (self.handle, &self.protocol_info);
        let sent = match self.unacknowledged {
            None => trace::transmit(
                &self.reader,
                command,
                is_secret,
                &mut self.received.0,
                |received| sys::transmit(handle, protocol, command, received),
            ),
            Some(code) => Err(code.into()),
        };
        match sent {
            Ok(len) => Ok(self.received(len)),
            Err(failure) => Err(transmit_error(failure, &self.reader, &mut self.agreed)),
        }
    }

    /// The answer to the last command.
    pub(crate) fn received(&self, len: usize) -> &[u8] {
        self.received.0.get(..len).unwrap_or_default()
    }

    /// Sends a command, unless the caller has left by the time that nobody else holds a
    /// transaction. A command that was given up is never sent late.
    pub(crate) fn transmit_permitted(
        &mut self,
        permit: &Permit<'_>,
        command: &[u8],
        is_secret: bool,
    ) -> Result<usize> {
        let began = self.wait_for_others()?;
        let sent = if permit.grant() {
            self.transmit(command, is_secret).map(<[u8]>::len)
        } else {
            Err(self.left(Operation::Transmit))
        };
        self.let_others(began);
        sent
    }

    /// Reconnects, unless the caller has left by the time that nobody else holds a
    /// transaction. A reset that was given up does not come late.
    pub(crate) fn reconnect_permitted(
        &mut self,
        permit: &Permit<'_>,
        access: Access,
        protocols: Protocols,
        initialization: Initialization,
    ) -> Result<Protocol> {
        let resets = initialization != Initialization::Leave;
        let becomes_exclusive = access.is_exclusive() && !self.exclusive;
        let mut began = false;
        if resets && becomes_exclusive {
            self.wait_for_exclusive_access();
        } else if resets && permit.is_conditional() {
            // A reset that waits to be acknowledged is no reason not to reset.
            began = self.wait_for_others().unwrap_or(false);
        }
        let reconnected = if permit.grant() {
            self.reconnect(access, protocols, initialization)
        } else {
            Err(self.left(Operation::Reconnect))
        };
        self.let_others(began);
        if reconnected.is_err() && resets && becomes_exclusive {
            self.give_up_exclusive_access();
        }
        reconnected
    }

    /// Waits until no other connection to the card is left, without doing anything to it.
    ///
    /// pcsc-lite resets the card before it looks whether others are connected, and its client
    /// library repeats the call ten times a second until nobody is: a reset in the same call
    /// would be one every tenth of a second.
    fn wait_for_exclusive_access(&mut self) {
        if Platform::CURRENT != Platform::PcscLite {
            return;
        }
        let exclusive = Access::Card(ShareMode::Exclusive);
        let leave = Initialization::Leave;
        // One of them includes the active protocol. What fails here fails in the call that
        // follows.
        for protocols in [Protocols::ANY, Protocols::RAW] {
            let protocols = Platform::CURRENT.preferred_protocols(protocols);
            match self.make_reconnect(exclusive, protocols, leave) {
                Ok(_) => {
                    self.exclusive = true;
                    return;
                }
                Err(ReturnCode::E_PROTO_MISMATCH) => {}
                Err(_) => return,
            }
        }
    }

    /// Goes back to what was before [`Connection::wait_for_exclusive_access`], after the card
    /// was, or may have been, reset.
    fn give_up_exclusive_access(&mut self) {
        if !self.exclusive {
            return;
        }
        let (direct, leave) = (Access::Direct, Initialization::Leave);
        if self.make_reconnect(direct, 0, leave).is_ok() {
            self.exclusive = false;
            self.set_unacknowledged(Some(ReturnCode::W_RESET_CARD));
            if !self.in_transaction {
                self.release_exclusive_lock();
            }
        }
    }

    /// Disconnects, unless the caller has left by the time that nobody else holds a
    /// transaction.
    pub(crate) fn disconnect_permitted(
        &mut self,
        permit: &Permit<'_>,
        disposition: Disposition,
    ) -> Result<()> {
        if disposition != Disposition::Leave && permit.is_conditional() {
            // Ends with the connection.
            let _ = self.wait_for_others();
        }
        if permit.grant() {
            self.disconnect(disposition)
        } else {
            Err(self.left(Operation::Disconnect))
        }
    }

    /// Begins a transaction if there is none and others could hold one. Says whether it did.
    fn wait_for_others(&mut self) -> Result<bool> {
        if self.in_transaction || self.exclusive {
            return Ok(false);
        }
        self.begin_transaction()?;
        Ok(true)
    }

    fn let_others(&mut self, began: bool) {
        if !began {
            return;
        }
        if let Err(error) = self.end_transaction(Disposition::Leave) {
            tracing::debug!(%error, "the transaction around a call");
        }
    }

    /// What a call gives that nobody waits for.
    fn left(&self, operation: Operation) -> Error {
        self.error(operation, ReturnCode::E_CANCELLED)
    }

    pub(crate) fn control(&self, code: ControlCode, input: &[u8]) -> Result<Vec<u8>> {
        // A reset of the card is no matter for the reader: the service does not report it
        // here.
        let mut output = vec![0; sys::MAX_APDU_LEN];
        let len = self
            .make(Operation::Control, |handle| {
                sys::control(handle, code.raw(), input, &mut output)
            })
            .map_err(|failure| self.error(Operation::Control, failure))?;
        output.truncate(len);
        output.shrink_to_fit();
        Ok(output)
    }

    pub(crate) fn attribute(&self, attribute: Attribute) -> Result<Vec<u8>> {
        self.call(Operation::GetAttribute, |handle| {
            sys::get_attribute(handle, attribute.raw())
        })
    }

    pub(crate) fn set_attribute(&self, attribute: Attribute, value: &[u8]) -> Result<()> {
        self.call(Operation::SetAttribute, |handle| {
            sys::set_attribute(handle, attribute.raw(), value)
        })
    }

    /// Disconnects; on failure the connection is as it was.
    pub(crate) fn disconnect(&mut self, disposition: Disposition) -> Result<()> {
        self.make_disconnect(disposition)
            .map_err(|code| self.error(Operation::Disconnect, code))?;
        self.connected = false;
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if !self.connected || self.context.is_forked() {
            return;
        }
        if let Err(code) = self.make_disconnect(self.disposition_on_drop) {
            tracing::debug!(%code, reader = %self.reader, "SCardDisconnect failed in a drop");
        }
    }
}
