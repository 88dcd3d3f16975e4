//! The calls on a connection, independent of the thread that makes them.

use zeroize::Zeroizing;

use crate::apdu::CommandBytes;
use crate::connection::{Access, Connection};
use crate::error::{Error, Operation, Refusal, Result};
use crate::limits::Permit;
use crate::service::block_on;
use crate::values::{
    Attribute, CardStatus, ControlCode, Disposition, Initialization, Protocol, Protocols,
    ReaderName,
};

/// The work of a call. While it is suspended it can move to another thread.
pub(crate) trait Job: Send + 'static {
    type Given: Send + 'static;

    fn make(
        self,
        connection: &mut Connection,
        permit: &Permit<'_>,
    ) -> impl Future<Output = Result<Self::Given>> + Send;
}

/// The properties of a call that its errors report.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About {
    pub(crate) operation: Operation,
    /// Set for a reconnect.
    initialization: Option<Initialization>,
}

impl About {
    pub(crate) const TRANSMIT: About = About::new(Operation::Transmit);

    pub(crate) const fn new(operation: Operation) -> About {
        About {
            operation,
            initialization: None,
        }
    }

    /// Whether others would keep waiting if the call were not made.
    pub(crate) fn ends_something(self) -> bool {
        matches!(
            self.operation,
            Operation::EndTransaction | Operation::Disconnect
        )
    }

    fn complete(self, error: Error) -> Error {
        match self.initialization {
            Some(initialization) => error.of_reconnect(initialization),
            None => error,
        }
    }

    #[cold]
    pub(crate) fn refuse(self, reader: &ReaderName, refusal: Refusal) -> Error {
        self.complete(Error::refused(self.operation, reader, refusal))
    }
}

/// A call that has not been made yet.
pub(crate) struct Call<J> {
    pub(crate) about: About,
    /// Why the call is refused, if it is.
    refusal: Option<Refusal>,
    job: J,
}

impl<J: Job> Call<J> {
    fn new(operation: Operation, job: J) -> Call<J> {
        Call {
            about: About::new(operation),
            refusal: None,
            job,
        }
    }

    /// Fails if the call is refused.
    pub(crate) fn check(&self, reader: &ReaderName) -> Result<()> {
        match self.refusal {
            Some(refusal) => Err(self.about.refuse(reader, refusal)),
            None => Ok(()),
        }
    }

    pub(crate) async fn make(
        self,
        connection: &mut Connection,
        permit: &Permit<'_>,
    ) -> Result<J::Given> {
        // Calls that end something are always made.
        let given = match permit.is_void() && !self.about.ends_something() {
            true => Err(connection.left(self.about.operation)),
            false => self.job.make(connection, permit).await,
        };
        given.map_err(|error| {
            let error = self.about.complete(error);
            connection.note(&error);
            error
        })
    }

    /// The call as a worker makes it.
    pub(crate) fn on_worker(
        self,
    ) -> impl FnOnce(&mut Box<Connection>, &Permit<'_>) -> Result<J::Given> + Send + 'static {
        |connection, permit| block_on(self.make(connection, permit))
    }
}

impl Call<()> {
    pub(crate) fn reconnect(
        access: Access,
        protocols: Protocols,
        initialization: Initialization,
    ) -> Call<Reconnect> {
        let none = access != Access::Direct && protocols.is_empty();
        Call {
            about: About {
                operation: Operation::Reconnect,
                initialization: Some(initialization),
            },
            refusal: none.then_some(Refusal::NO_PROTOCOL),
            job: Reconnect {
                access,
                protocols,
                initialization,
            },
        }
    }

    pub(crate) fn begin_transaction() -> Call<BeginTransaction> {
        Call::new(Operation::BeginTransaction, BeginTransaction)
    }

    pub(crate) fn begin_transaction_acknowledging_reset(
        protocols: Protocols,
    ) -> Call<BeginAcknowledgingReset> {
        let begin = BeginAcknowledgingReset(protocols);
        Call {
            refusal: protocols.is_empty().then_some(Refusal::NO_PROTOCOL),
            ..Call::new(Operation::BeginTransaction, begin)
        }
    }

    pub(crate) fn end_transaction(disposition: Disposition) -> Call<EndTransaction> {
        Call::new(Operation::EndTransaction, EndTransaction(disposition))
    }

    pub(crate) fn status() -> Call<Status> {
        Call::new(Operation::Status, Status)
    }

    pub(crate) fn transmit(command: CommandBytes<'_>) -> Call<Transmit> {
        let refusal = Refusal::of_command(&command);
        let transmit = Transmit {
            is_marked: command.is_marked(),
            command: Zeroizing::new(match refusal {
                None => command.to_vec(),
                Some(_) => Vec::new(),
            }),
        };
        Call {
            refusal,
            ..Call::new(Operation::Transmit, transmit)
        }
    }

    pub(crate) fn control(code: ControlCode, input: &[u8]) -> Call<Control> {
        let control = Control(code, Zeroizing::new(input.to_vec()));
        Call::new(Operation::Control, control)
    }

    pub(crate) fn attribute(attribute: Attribute) -> Call<GetAttribute> {
        Call::new(Operation::GetAttribute, GetAttribute(attribute))
    }

    pub(crate) fn set_attribute(attribute: Attribute, value: &[u8]) -> Call<SetAttribute> {
        let set = SetAttribute(attribute, Zeroizing::new(value.to_vec()));
        Call::new(Operation::SetAttribute, set)
    }

    pub(crate) fn disconnect(disposition: Disposition) -> Call<Disconnect> {
        Call::new(Operation::Disconnect, Disconnect(disposition))
    }
}

pub(crate) struct Reconnect {
    access: Access,
    protocols: Protocols,
    initialization: Initialization,
}

impl Job for Reconnect {
    type Given = Protocol;

    async fn make(self, connection: &mut Connection, permit: &Permit<'_>) -> Result<Protocol> {
        connection
            .reconnect_permitted(permit, self.access, self.protocols, self.initialization)
            .await
    }
}

pub(crate) struct BeginTransaction;

impl Job for BeginTransaction {
    type Given = ();

    async fn make(self, connection: &mut Connection, _: &Permit<'_>) -> Result<()> {
        connection.begin_transaction().await
    }
}

pub(crate) struct BeginAcknowledgingReset(Protocols);

impl Job for BeginAcknowledgingReset {
    /// Whether a reset was acknowledged.
    type Given = bool;

    async fn make(self, connection: &mut Connection, permit: &Permit<'_>) -> Result<bool> {
        connection
            .begin_transaction_acknowledging_reset(permit, self.0)
            .await
    }
}

pub(crate) struct EndTransaction(Disposition);

impl Job for EndTransaction {
    type Given = ();

    async fn make(self, connection: &mut Connection, permit: &Permit<'_>) -> Result<()> {
        // A call that was given up leaves the card as it is.
        let disposition = match permit.grant() {
            true => self.0,
            false => Disposition::Leave,
        };
        connection.end_transaction(disposition).await
    }
}

pub(crate) struct Status;

impl Job for Status {
    type Given = CardStatus;

    async fn make(self, connection: &mut Connection, _: &Permit<'_>) -> Result<CardStatus> {
        connection.status().await
    }
}

/// Keeps a copy of the command, and zeroizes it.
pub(crate) struct Transmit {
    command: Zeroizing<Vec<u8>>,
    is_marked: bool,
}

impl Job for Transmit {
    /// The length of the response, which stays in the connection.
    type Given = usize;

    async fn make(self, connection: &mut Connection, permit: &Permit<'_>) -> Result<usize> {
        let command = CommandBytes::marked(&self.command, self.is_marked);
        connection.transmit_permitted(permit, command).await
    }
}

pub(crate) struct Control(ControlCode, Zeroizing<Vec<u8>>);

impl Job for Control {
    type Given = Vec<u8>;

    async fn make(self, connection: &mut Connection, permit: &Permit<'_>) -> Result<Vec<u8>> {
        let Control(code, input) = &self;
        connection.control(permit, *code, input).await
    }
}

pub(crate) struct GetAttribute(Attribute);

impl Job for GetAttribute {
    type Given = Vec<u8>;

    async fn make(self, connection: &mut Connection, permit: &Permit<'_>) -> Result<Vec<u8>> {
        connection.attribute(permit, self.0).await
    }
}

pub(crate) struct SetAttribute(Attribute, Zeroizing<Vec<u8>>);

impl Job for SetAttribute {
    type Given = ();

    async fn make(self, connection: &mut Connection, permit: &Permit<'_>) -> Result<()> {
        let SetAttribute(attribute, value) = &self;
        connection.set_attribute(permit, *attribute, value).await
    }
}

pub(crate) struct Disconnect(Disposition);

impl Job for Disconnect {
    type Given = ();

    /// On failure the connection is unchanged, unless the call was given up.
    async fn make(self, connection: &mut Connection, permit: &Permit<'_>) -> Result<()> {
        connection.disconnect_permitted(permit, self.0).await
    }
}
