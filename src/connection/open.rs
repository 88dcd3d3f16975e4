//! Connecting, in a new context or in the one kept from the last card.

use super::{Access, Agreed, Connection, Home, OwnedContext, ReceiveBuffer, numbers};
use crate::codes::{Platform, ReturnCode};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::limits::Permit;
use crate::service::{self, Failure, Process};
use crate::trace;
use crate::values::{Disposition, Protocols, ReaderName, ShareMode};

/// What to connect to, and how.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) home: Home,
    pub(crate) reader: ReaderName,
    pub(crate) access: Access,
    pub(crate) protocols: Protocols,
}

impl Target {
    /// `SCardConnect` in a context of its own. Not begun if the caller has given up.
    pub(crate) async fn connect(&self, permit: &Permit<'_>) -> Result<Connection> {
        if permit.is_void() {
            return Err(self.error(ReturnCode::E_CANCELLED));
        }
        if let Some(spare) = self.home.take_spare(permit.limit()) {
            match self.connect_in(spare, permit).await {
                // A new context may still work.
                Err(error) if !is_of_card(&error) && !permit.is_void() => {}
                connected => return connected,
            }
        }
        let context = OwnedContext::establish(&self.home.address, permit.limit()).await;
        let context = context.map_err(|error| error.with_reader(&self.reader))?;
        if permit.is_void() {
            self.home.leave(context);
            return Err(self.error(ReturnCode::E_CANCELLED));
        }
        self.connect_in(context, permit).await
    }

    async fn connect_in(
        &self,
        mut context: OwnedContext,
        permit: &Permit<'_>,
    ) -> Result<Connection> {
        let (access, reader) = (self.access, &self.reader);
        let accepted = Platform::CURRENT.preferred_protocols(self.protocols);
        let connect = async {
            let (handle, reader) = (context.handle(), reader.as_c_str());
            let connected = service::connect(handle, reader, access.raw(), accepted).await?;
            numbers::add_card(connected.handle, handle)?;
            Ok::<_, Failure>(connected)
        };
        let connected = trace::call(Operation::Connect, Some(reader), connect).await;
        if context.handle().is_under_way() {
            match permit.here() {
                Some(here) => context.abandon(here),
                None => drop(context),
            }
            let cancelled = Failure::from(ReturnCode::E_CANCELLED);
            return Err(self.error(connected.err().unwrap_or(cancelled)));
        }
        let connected = match connected {
            Ok(connected) => connected,
            Err(failure) => {
                let error = self.error(failure);
                if is_of_card(&error) {
                    self.home.leave(context);
                }
                return Err(error);
            }
        };
        let mut agreed = Agreed {
            share_mode: ShareMode::Shared,
            protocol: Platform::CURRENT.protocol(connected.protocol),
            is_current: true,
        };
        agreed.set(access, agreed.protocol);
        let mut connection = Connection {
            handle: connected.handle,
            context,
            home: self.home.clone(),
            reader: reader.clone(),
            agreed,
            access,
            protocol: connected.protocol,
            in_transaction: false,
            lock_is_left: false,
            unreported_reset: false,
            unacknowledged: None,
            waits_for_transactions: true,
            ready: Process::NONE,
            received: ReceiveBuffer::default(),
        };
        if !access.accepts(connected.protocol, accepted) {
            connection.end(&Permit::GRANTED, Disposition::Leave).await;
            return Err(self.error(ReturnCode::E_PROTO_MISMATCH));
        }
        connection.context.handle().set_limit(permit.rest());
        Ok(connection)
    }

    fn error(&self, failure: impl Into<Failure>) -> Error {
        Error::on_reader(Operation::Connect, failure, &self.reader)
    }
}

/// Whether the failure of a connect says nothing against its context.
fn is_of_card(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NoCard
            | ErrorKind::CardUnresponsive
            | ErrorKind::CardUnsupported
            | ErrorKind::ProtocolMismatch
            | ErrorKind::ReaderGone
            | ErrorKind::SharingViolation
    )
}
