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

/// The work of a call.
pub(crate) trait Job<T>:
    AsyncFnOnce(&mut Connection, &Permit<'_>) -> Result<T> + Send + 'static
{
}

impl<T, F> Job<T> for F where
    F: AsyncFnOnce(&mut Connection, &Permit<'_>) -> Result<T> + Send + 'static
{
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

impl<J> Call<J> {
    fn new<T>(operation: Operation, job: J) -> Call<J>
    where
        J: Job<T>,
    {
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

    pub(crate) async fn make<T>(self, connection: &mut Connection, permit: &Permit<'_>) -> Result<T>
    where
        J: Job<T>,
    {
        // Calls that end something are always made.
        let given = match permit.is_void() && !self.about.ends_something() {
            true => Err(connection.left(self.about.operation)),
            false => (self.job)(connection, permit).await,
        };
        given.map_err(|error| {
            let error = self.about.complete(error);
            connection.note(&error);
            error
        })
    }
}

impl<J> Call<J> {
    /// The call as a worker makes it.
    pub(crate) fn on_worker<T>(
        self,
    ) -> impl FnOnce(&mut Box<Connection>, &Permit<'_>) -> Result<T> + Send + 'static
    where
        J: Job<T>,
    {
        |connection, permit| block_on(self.make(connection, permit))
    }
}

impl Call<()> {
    pub(crate) fn reconnect(
        access: Access,
        protocols: Protocols,
        initialization: Initialization,
    ) -> Call<impl Job<Protocol>> {
        let none = access != Access::Direct && protocols.is_empty();
        let job = async move |connection: &mut Connection, permit: &Permit<'_>| {
            connection
                .reconnect_permitted(permit, access, protocols, initialization)
                .await
        };
        Call {
            about: About {
                operation: Operation::Reconnect,
                initialization: Some(initialization),
            },
            refusal: none.then_some(Refusal::NO_PROTOCOL),
            job,
        }
    }

    pub(crate) fn begin_transaction() -> Call<impl Job<()>> {
        let begin = async |connection: &mut Connection, _: &Permit<'_>| {
            connection.begin_transaction().await
        };
        Call::new(Operation::BeginTransaction, begin)
    }

    /// Returns whether a reset was acknowledged.
    pub(crate) fn begin_transaction_acknowledging_reset(
        protocols: Protocols,
    ) -> Call<impl Job<bool>> {
        let begin = async move |connection: &mut Connection, permit: &Permit<'_>| {
            connection
                .begin_transaction_acknowledging_reset(permit, protocols)
                .await
        };
        Call {
            refusal: protocols.is_empty().then_some(Refusal::NO_PROTOCOL),
            ..Call::new(Operation::BeginTransaction, begin)
        }
    }

    pub(crate) fn end_transaction(disposition: Disposition) -> Call<impl Job<()>> {
        let end = async move |connection: &mut Connection, permit: &Permit<'_>| {
            // A call that was given up leaves the card as it is.
            let disposition = match permit.grant() {
                true => disposition,
                false => Disposition::Leave,
            };
            connection.end_transaction(disposition).await
        };
        Call::new(Operation::EndTransaction, end)
    }

    pub(crate) fn status() -> Call<impl Job<CardStatus>> {
        let status = async |connection: &mut Connection, _: &Permit<'_>| connection.status().await;
        Call::new(Operation::Status, status)
    }

    /// Returns the length of the response, which stays in the connection. The call keeps a copy of
    /// the command, and zeroizes it.
    pub(crate) fn transmit(command: CommandBytes<'_>) -> Call<impl Job<usize> + use<>> {
        let refusal = Refusal::of_command(&command);
        let marked = command.is_marked();
        let command = Zeroizing::new(match refusal {
            None => command.to_vec(),
            Some(_) => Vec::new(),
        });
        let transmit = async move |connection: &mut Connection, permit: &Permit<'_>| {
            let command = CommandBytes::marked(&command, marked);
            connection.transmit_permitted(permit, command).await
        };
        Call {
            refusal,
            ..Call::new(Operation::Transmit, transmit)
        }
    }

    pub(crate) fn control(code: ControlCode, input: &[u8]) -> Call<impl Job<Vec<u8>> + use<>> {
        let input = Zeroizing::new(input.to_vec());
        let control = async move |connection: &mut Connection, permit: &Permit<'_>| {
            connection.control(permit, code, &input).await
        };
        Call::new(Operation::Control, control)
    }

    pub(crate) fn attribute(attribute: Attribute) -> Call<impl Job<Vec<u8>>> {
        let get = async move |connection: &mut Connection, permit: &Permit<'_>| {
            connection.attribute(permit, attribute).await
        };
        Call::new(Operation::GetAttribute, get)
    }

    pub(crate) fn set_attribute(attribute: Attribute, value: &[u8]) -> Call<impl Job<()> + use<>> {
        let value = Zeroizing::new(value.to_vec());
        let set = async move |connection: &mut Connection, permit: &Permit<'_>| {
            connection.set_attribute(permit, attribute, &value).await
        };
        Call::new(Operation::SetAttribute, set)
    }

    /// On failure the connection is unchanged, unless the call was given up.
    pub(crate) fn disconnect(disposition: Disposition) -> Call<impl Job<()>> {
        let disconnect = async move |connection: &mut Connection, permit: &Permit<'_>| {
            connection.disconnect_permitted(permit, disposition).await
        };
        Call::new(Operation::Disconnect, disconnect)
    }
}
