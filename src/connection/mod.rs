//! What a card and a directly opened reader have in common: a PC/SC context of their own and
//! a handle in it.

mod context;
#[cfg(not(all(test, model)))]
mod numbers;
#[cfg(all(test, model))]
#[path = "../../tests/models/numbers.rs"]
mod numbers;

use std::fmt;

use crate::apdu::CommandBytes;
use crate::codes::{Platform, ReturnCode};
use crate::error::{CardCondition, Error, ErrorKind, Operation, Result};
use crate::limits::Permit;
use crate::limits::pause::Pause;
use crate::service::{self, CardHandle, Failure, Process, ProtocolInfo};
use crate::trace;
use crate::values::{
    Attribute, CardStatus, ControlCode, Disposition, Initialization, Protocol, Protocols,
    ReaderName, Scope, ShareMode, split_multi_string,
};

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
            Access::Direct => crate::values::SHARE_DIRECT,
        }
    }

    fn is_exclusive(self) -> bool {
        self == Access::Card(ShareMode::Exclusive)
    }

    /// Whether a connection with this protocol is one that was asked for. pcsc-lite answers with
    /// success, and another protocol, where the reader does not support an accepted one.
    fn accepts(self, protocol: u32, accepted: u32) -> bool {
        self == Access::Direct || (protocol.is_power_of_two() && protocol & accepted != 0)
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

/// How often a protocol has to be refused while the card is reset by others to be believed.
const BELIEVED: u32 = 4;

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

/// Whether the answers of a context can no longer be told apart after this failure.
///
/// pcsc-lite's client library does not read an answer that claims more than its caller has room
/// for: the rest of it would be taken for the answer of the next call.
fn is_out_of_step(operation: Operation, failure: Failure) -> bool {
    Platform::CURRENT == Platform::PcscLite
        && matches!(operation, Operation::Transmit | Operation::Control)
        && failure.needed_len.is_some()
}

/// Whether a call that failed with this has done nothing, so that a disconnect has failed, too.
/// What is wrong with the card or the reader does not keep a connection from ending.
fn prevents_disconnect(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ServiceGone | ErrorKind::SharingViolation
    )
}

/// The error of a call whose answer has a length, and what it does to the connection. What else
/// there is of that may be lent to the caller of a command that succeeds.
#[cold]
fn failed_call(
    operation: Operation,
    failure: Failure,
    reader: &ReaderName,
    agreed: &mut Agreed,
    ready: &mut Process,
    context: &mut OwnedContext,
) -> Error {
    let error = Error::on_reader(operation, failure, reader);
    agreed.note(&error);
    if is_out_of_step(operation, failure) {
        *ready = Process::NONE;
        context.end_out_of_step();
    }
    error
}

/// Room for the longest answer, or nothing. The whole of it is overwritten when it is dropped:
/// not byte by byte as by `Zeroizing`, which takes long for so many.
#[derive(Default)]
struct ReceiveBuffer(Vec<u8>);

impl ReceiveBuffer {
    fn new() -> ReceiveBuffer {
        ReceiveBuffer(vec![0; service::MAX_APDU_LEN])
    }
}

impl Drop for ReceiveBuffer {
    fn drop(&mut self) {
        self.0.fill(0);
        // Without it the compiler could leave that out, as nobody reads it.
        zeroize::optimization_barrier(self.0.as_slice());
    }
}

/// A connected handle in a context of its own.
///
/// Dropping it ends the connection and leaves the card as it is: what is dropped without its
/// owner, after a call that was given up, must have no effect on the card.
pub(crate) struct Connection {
    handle: CardHandle,
    context: OwnedContext,
    reader: ReaderName,
    agreed: Agreed,
    access: Access,
    /// The protocol, as commands are sent with it.
    protocol_info: ProtocolInfo,
    in_transaction: bool,
    /// A reset was acknowledged, and no caller knows of it yet.
    unreported_reset: bool,
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
            .field("reader_name", &self.reader)
            .field("access", &self.access)
            .field("is_over", &self.is_over())
            .field("in_transaction", &self.in_transaction)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Whether this process is a child of the one that connected.
    pub(crate) fn is_forked(&self) -> bool {
        self.context.is_forked()
    }

    /// Whether the connection has ended: no call can be made.
    pub(crate) fn is_over(&self) -> bool {
        self.context.is_released()
    }

    pub(crate) fn in_transaction(&self) -> bool {
        self.in_transaction
    }

    /// `SCardConnect`, in a new context. It is not begun for a caller that has left.
    pub(crate) fn open(
        permit: &Permit<'_>,
        scope: Scope,
        reader: &ReaderName,
        access: Access,
        protocols: Protocols,
    ) -> Result<Connection> {
        let error = |code| Error::on_reader(Operation::Connect, code, reader);
        if permit.is_void() {
            return Err(error(ReturnCode::E_CANCELLED));
        }
        let context = OwnedContext::establish(scope).map_err(|error| error.with_reader(reader))?;
        if permit.is_void() {
            return Err(error(ReturnCode::E_CANCELLED));
        }
        let accepted = Platform::CURRENT.preferred_protocols(protocols);
        let connected = trace::call(Operation::Connect, Some(reader), || {
            let reader = reader.as_c_str();
            let connected = service::connect(context.handle(), reader, access.raw(), accepted)?;
            numbers::add_card(connected.handle, context.handle())?;
            Ok::<_, ReturnCode>(connected)
        })
        .map_err(error)?;
        let mut agreed = Agreed {
            share_mode: ShareMode::Shared,
            protocol: Platform::CURRENT.protocol(connected.protocol),
            is_current: true,
        };
        agreed.set(access, agreed.protocol);
        let connection = Connection {
            handle: connected.handle,
            context,
            reader: reader.clone(),
            agreed,
            access,
            protocol_info: ProtocolInfo::of(connected.protocol),
            in_transaction: false,
            unreported_reset: false,
            unacknowledged: None,
            ready: Process::NONE,
            received: ReceiveBuffer::default(),
        };
        // If not, it ends as every connection does.
        match access.accepts(connected.protocol, accepted) {
            true => Ok(connection),
            false => Err(error(ReturnCode::E_PROTO_MISMATCH)),
        }
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
            service::reconnect(handle, access.raw(), protocols, initialization.raw())
        })
    }

    fn make_end_transaction(&self, disposition: Disposition) -> Result<(), ReturnCode> {
        self.make(Operation::EndTransaction, |handle| {
            service::end_transaction(handle, disposition.raw())
        })
    }

    #[cold]
    fn error(&self, operation: Operation, failure: impl Into<Failure>) -> Error {
        Error::on_reader(operation, failure, &self.reader)
    }

    /// `before` is what access there was before the caller asked for another one.
    fn reconnect(
        &mut self,
        before: Access,
        access: Access,
        protocols: Protocols,
        initialization: Initialization,
    ) -> Result<Protocol> {
        let accepted = Platform::CURRENT.preferred_protocols(protocols);
        let protocol = self
            .make_reconnect(access, accepted, initialization)
            .map_err(|code| self.error(Operation::Reconnect, code))?;
        self.set_unacknowledged(None);
        self.in_transaction &= Platform::CURRENT.reconnect_keeps_transaction();
        if self.access.is_exclusive() && !access.is_exclusive() && !self.in_transaction {
            self.release_exclusive_lock();
        }
        self.access = access;
        if !access.accepts(protocol, accepted) {
            self.refuse_protocol(before);
            return Err(self.error(Operation::Reconnect, ReturnCode::E_PROTO_MISMATCH));
        }
        self.protocol_info = ProtocolInfo::of(protocol);
        let protocol = Platform::CURRENT.protocol(protocol);
        self.agreed.set(access, protocol);
        Ok(protocol)
    }

    /// Goes back to what a service leaves that refuses the protocol, after one that did not: no
    /// access to the card if there was none before, and no command until the caller has
    /// reconnected. (Only a card that was reset, by this call or another program, gets another
    /// protocol.)
    fn refuse_protocol(&mut self, before: Access) {
        self.agreed.forget();
        if before != Access::Direct {
            self.set_unacknowledged(Some(ReturnCode::W_RESET_CARD));
        }
        let became_exclusive = self.access.is_exclusive() && !before.is_exclusive();
        if became_exclusive || before == Access::Direct {
            let (direct, leave) = (Access::Direct, Initialization::Leave);
            if self.make_reconnect(direct, 0, leave).is_ok() {
                self.access = before;
                if became_exclusive && !self.in_transaction {
                    self.release_exclusive_lock();
                }
            }
        }
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

    /// Begins a transaction. One that was leaked ends first: pcsc-lite counts them.
    pub(crate) fn begin_transaction(&mut self) -> Result<()> {
        if std::mem::take(&mut self.in_transaction) {
            if let Err(code) = self.make_end_transaction(Disposition::Leave) {
                tracing::debug!(%code, reader_name = %self.reader, "a leaked transaction did not end");
            }
        }
        self.call(Operation::BeginTransaction, service::begin_transaction)?;
        self.in_transaction = true;
        Ok(())
    }

    /// Begins a transaction, acknowledging resets until it has one or nobody waits for it.
    /// Returns whether there was a reset that was not reported yet.
    ///
    /// pcsc-lite looks for resets before it locks the card: one that comes in between is found by
    /// a look afterwards. And while a reset is under way, it can refuse every protocol for a moment.
    pub(crate) fn begin_transaction_acknowledging_reset(
        &mut self,
        permit: &Permit<'_>,
        protocols: Protocols,
    ) -> Result<bool> {
        let keeps = Platform::CURRENT.reconnect_keeps_transaction();
        let (mut pause, mut mismatches) = (Pause::default(), 0);
        for resets in 0u32.. {
            let begun = match self.in_transaction {
                true => Ok(()),
                false => self.begin_transaction(),
            };
            let looked =
                begun.and_then(|()| self.call(Operation::Status, service::status).map(drop));
            let error = match looked {
                Ok(()) => break,
                Err(error) => error,
            };
            if error.kind() != ErrorKind::CardReset || permit.is_void() {
                return Err(self.without_transaction(error));
            }
            if resets > 1 {
                pause.take(None, None);
            }
            if !keeps {
                self.leave_transaction();
            }
            self.unreported_reset = true;
            self.note(&error);
            // Changes nothing at the card, so that it needs no permission.
            let leave = Initialization::Leave;
            let reconnected =
                self.reconnect_permitted(&Permit::GRANTED, self.access, protocols, leave);
            if let Err(error) = reconnected {
                let is_mismatch = error.kind() == ErrorKind::ProtocolMismatch;
                mismatches += u32::from(is_mismatch);
                if !keeps || !is_mismatch || mismatches == BELIEVED {
                    return Err(self.without_transaction(error.of_reconnect(leave)));
                }
                pause.take(None, None);
            }
        }
        Ok(self.unreported_reset)
    }

    /// The caller knows of the resets that were acknowledged.
    pub(crate) fn resets_are_reported(&mut self) {
        self.unreported_reset = false;
    }

    fn without_transaction(&mut self, error: Error) -> Error {
        self.leave_transaction();
        error
    }

    fn leave_transaction(&mut self) {
        if self.in_transaction {
            if let Err(error) = self.end_transaction(Disposition::Leave) {
                tracing::debug!(%error, "a transaction that is of no use did not end");
            }
        }
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
        if Platform::CURRENT != Platform::PcscLite || self.access.is_exclusive() {
            return;
        }
        let acknowledged = self.make_reconnect(Access::Direct, 0, Initialization::Leave);
        if acknowledged.is_ok() {
            self.set_unacknowledged(Some(ReturnCode::W_RESET_CARD));
            if let Err(code) = self.make_end_transaction(Disposition::Leave) {
                tracing::debug!(%code, reader_name = %self.reader, "SCardEndTransaction failed again");
            }
        }
    }

    pub(crate) fn status(&self) -> Result<CardStatus> {
        let status = self.call(Operation::Status, service::status)?;
        let (state, event_count) = Platform::CURRENT.card_state(status.state);
        Ok(CardStatus {
            reader_names: split_multi_string(&status.names),
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
        match service::transmit(handle, &self.protocol_info, command, received) {
            Ok(len) => Ok(received.get(..len).unwrap_or_default()),
            Err(failure) => {
                let (agreed, ready) = (&mut self.agreed, &mut self.ready);
                let context = &mut self.context;
                Err(failed_call(
                    Operation::Transmit,
                    failure,
                    &self.reader,
                    agreed,
                    ready,
                    context,
                ))
            }
        }
    }

    /// Sends a command and gives the answer.
    pub(crate) fn transmit(&mut self, command: CommandBytes<'_>) -> Result<&[u8]> {
        if self.received.0.is_empty() {
            self.received = ReceiveBuffer::new();
            self.get_ready();
        }
        let (handle, protocol) = (self.handle, &self.protocol_info);
        let sent = match self.unacknowledged {
            None => trace::transmit(&self.reader, command, &mut self.received.0, |received| {
                service::transmit(handle, protocol, &command, received)
            }),
            Some(code) => Err(code.into()),
        };
        match sent {
            Ok(len) => Ok(self.received(len)),
            Err(failure) => Err(self.failed(Operation::Transmit, failure)),
        }
    }

    #[cold]
    fn failed(&mut self, operation: Operation, failure: Failure) -> Error {
        let (agreed, ready) = (&mut self.agreed, &mut self.ready);
        let context = &mut self.context;
        failed_call(operation, failure, &self.reader, agreed, ready, context)
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
        command: CommandBytes<'_>,
    ) -> Result<usize> {
        let began = self.wait_for_others()?;
        let sent = if permit.grant() {
            self.transmit(command).map(<[u8]>::len)
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
        let has_lost_lock = self.has_lost_lock();
        self.in_transaction &= !has_lost_lock;
        let resets = initialization != Initialization::Leave;
        let becomes_exclusive = access.is_exclusive() && !self.access.is_exclusive();
        let (before, mut began) = (self.access, false);
        if resets && becomes_exclusive {
            self.wait_for_exclusive_access();
        } else if resets && permit.is_conditional() {
            // A reset that waits to be acknowledged is no reason not to reset.
            began = self.wait_for_others().unwrap_or(false);
        }
        let reconnected = if permit.grant() {
            self.reconnect(before, access, protocols, initialization)
        } else {
            Err(self.left(Operation::Reconnect))
        };
        self.let_others(began);
        if reconnected.is_err() && resets && becomes_exclusive {
            self.give_up_exclusive_access(before);
        }
        if reconnected.is_ok() && has_lost_lock && before.is_exclusive() && access.is_exclusive() {
            // Without it, the end of the next transaction would be refused.
            let _ = self.make(Operation::BeginTransaction, service::begin_transaction);
        }
        reconnected
    }

    /// Whether the service has unlocked the card, as pcsc-lite does when it is taken out. It keeps
    /// that to itself at a reconnect.
    fn has_lost_lock(&self) -> bool {
        let had_lock = self.in_transaction || self.access.is_exclusive();
        Platform::CURRENT == Platform::PcscLite
            && had_lock
            && self
                .make(Operation::Status, service::status)
                .is_err_and(|failure| failure.code == ReturnCode::W_REMOVED_CARD)
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
                    self.access = exclusive;
                    return;
                }
                Err(ReturnCode::E_PROTO_MISMATCH) => {}
                Err(_) => return,
            }
        }
    }

    /// Goes back to what was before [`Connection::wait_for_exclusive_access`], after the card
    /// was, or may have been, reset.
    fn give_up_exclusive_access(&mut self, before: Access) {
        if !self.access.is_exclusive() {
            return;
        }
        let (direct, leave) = (Access::Direct, Initialization::Leave);
        if self.make_reconnect(direct, 0, leave).is_ok() {
            self.access = before;
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

    /// Ends the connection of an owner who does not want to know how. If the disposition cannot
    /// be done, the drop that follows leaves the card as it is.
    pub(crate) fn end(&mut self, permit: &Permit<'_>, disposition: Disposition) {
        if let Err(error) = self.disconnect_permitted(permit, disposition) {
            tracing::debug!(%error, "the end of a connection that was dropped");
        }
    }

    /// Begins a transaction if there is none and others could hold one. Says whether it did.
    fn wait_for_others(&mut self) -> Result<bool> {
        if self.in_transaction || self.access.is_exclusive() {
            return Ok(false);
        }
        self.begin_transaction()?;
        Ok(true)
    }

    fn let_others(&mut self, began: bool) {
        if !began || self.is_over() {
            return;
        }
        if let Err(error) = self.end_transaction(Disposition::Leave) {
            tracing::debug!(%error, "the transaction around a call");
        }
    }

    /// What a call gives that nobody waits for.
    #[cold]
    pub(crate) fn left(&self, operation: Operation) -> Error {
        self.error(operation, ReturnCode::E_CANCELLED)
    }

    pub(crate) fn control(&mut self, code: ControlCode, input: &[u8]) -> Result<Vec<u8>> {
        // A reset of the card is no matter for the reader: the service does not report it
        // here.
        let mut output = vec![0; service::MAX_APDU_LEN];
        let made = self.make(Operation::Control, |handle| {
            service::control(handle, code.raw(), input, &mut output)
        });
        let len = match made {
            Ok(len) => len,
            Err(failure) => return Err(self.failed(Operation::Control, failure)),
        };
        output.truncate(len);
        output.shrink_to_fit();
        Ok(output)
    }

    pub(crate) fn attribute(&self, attribute: Attribute) -> Result<Vec<u8>> {
        self.call(Operation::GetAttribute, |handle| {
            service::get_attribute(handle, attribute.raw())
        })
    }

    pub(crate) fn set_attribute(&self, attribute: Attribute, value: &[u8]) -> Result<()> {
        self.call(Operation::SetAttribute, |handle| {
            service::set_attribute(handle, attribute.raw(), value)
        })
    }

    /// Ends the connection, after it has done with the card what `disposition` says.
    ///
    /// On failure the connection is as it was, or over.
    pub(crate) fn disconnect(&mut self, disposition: Disposition) -> Result<()> {
        let done = match Platform::CURRENT {
            Platform::PcscLite => self.prepare_release(disposition),
            _ => self.make(Operation::Disconnect, |handle| {
                service::disconnect(handle, disposition.raw())
            }),
        };
        let ended = done.and_then(|()| {
            self.ready = Process::NONE;
            match (Platform::CURRENT, self.context.end()) {
                (Platform::PcscLite, ended) => ended,
                // The connection has ended before.
                _ => Ok(()),
            }
        });
        ended.map_err(|code| self.error(Operation::Disconnect, code))
    }

    /// What is to be done before the context is released, where that is how a connection ends.
    ///
    /// In pcsc-lite's client library before 2.4, `SCardDisconnect` looks through the lists of all
    /// contexts of the process without their lock, and crashes where another thread makes or
    /// releases one. Releasing the context ends the connection as well. The service then resets
    /// the card of a connection that holds a transaction or has exclusive access: both end first.
    fn prepare_release(&mut self, disposition: Disposition) -> Result<(), ReturnCode> {
        let done = match disposition {
            Disposition::Leave => Ok(()),
            // Direct access needs no protocol, and not even a card.
            Disposition::Reset => self.reset_directly(Initialization::Reset),
            Disposition::Unpower => self.reset_directly(Initialization::Unpower),
            Disposition::Eject => self.eject(),
        };
        if let Err(code) = done {
            if prevents_disconnect(&self.error(Operation::Disconnect, code)) {
                return Err(code);
            }
        }
        if self.access.is_exclusive() {
            let left = self.make_reconnect(Access::Direct, 0, Initialization::Leave);
            if left.is_ok() {
                self.access = Access::Direct;
            }
            self.release_exclusive_lock();
        } else if self.in_transaction {
            // A reset that is not acknowledged yet keeps it from ending. The service does not
            // reset the card once more then.
            let _ = self.make_end_transaction(Disposition::Leave);
        }
        self.in_transaction = false;
        Ok(())
    }

    fn reset_directly(&mut self, initialization: Initialization) -> Result<(), ReturnCode> {
        self.make_reconnect(Access::Direct, 0, initialization)?;
        if self.access.is_exclusive() {
            self.release_exclusive_lock();
        }
        self.access = Access::Direct;
        Ok(())
    }

    /// The end of a transaction ejects the card as `SCardDisconnect` does.
    fn eject(&mut self) -> Result<(), ReturnCode> {
        if !self.in_transaction && !self.access.is_exclusive() {
            self.acknowledging(|it| {
                it.make(Operation::BeginTransaction, service::begin_transaction)
            })?;
        }
        self.in_transaction = false;
        self.acknowledging(|it| it.make_end_transaction(Disposition::Eject))
    }

    /// Makes a call, and once more after a reset that it is refused for.
    fn acknowledging(
        &self,
        call: impl Fn(&Connection) -> Result<(), ReturnCode>,
    ) -> Result<(), ReturnCode> {
        match call(self) {
            Err(ReturnCode::W_RESET_CARD) => {
                self.make_reconnect(Access::Direct, 0, Initialization::Leave)?;
                call(self)
            }
            answer => answer,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.is_over() || self.is_forked() {
            return;
        }
        if let Err(error) = self.disconnect(Disposition::Leave) {
            tracing::debug!(%error, "the end of a connection that was dropped");
        }
    }
}
