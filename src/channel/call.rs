//! The calls on a connection, independent of the thread that makes them.

use zeroize::Zeroizing;

use crate::apdu::CommandBytes;
use crate::connection::{Access, Connection};
use crate::error::{Error, Operation, Refusal, Result};
use crate::limits::Permit;
use crate::values::{
    Attribute, CardStatus, ControlCode, Disposition, Initialization, Protocol, Protocols,
    ReaderName,
};

/// The work of a call.
pub(crate) trait Job<T>:
    FnOnce(&mut Connection, &Permit<'_>) -> Result<T> + Send + 'static
{
}

impl<T, F> Job<T> for F where F: FnOnce(&mut Connection, &Permit<'_>) -> Result<T> + Send + 'static {}

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

    pub(crate) fn make<T>(self, connection: &mut Connection, permit: &Permit<'_>) -> Result<T>
    where
        J: Job<T>,
    {
        // Calls that end something are always made.
        let given = match permit.is_void() && !self.about.ends_something() {
            true => Err(connection.left(self.about.operation)),
            false => (self.job)(connection, permit),
        };
        given.map_err(|error| {
            let error = self.about.complete(error);
            connection.note(&error);
            error
        })
    }
}

impl Call<()> {
    pub(crate) fn reconnect(
        access: Access,
        protocols: Protocols,
        initialization: Initialization,
    ) -> Call<impl Job<Protocol>> {
        let none = access != Access::Direct && protocols.is_empty();
        let job = move |connection: &mut Connection, permit: &Permit<'_>| {
            connection.reconnect_permitted(permit, access, protocols, initialization)
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
        Call::new(Operation::BeginTransaction, |connection, _| {
            connection.begin_transaction()
        })
    }

    /// Returns whether a reset was acknowledged.
    pub(crate) fn begin_transaction_acknowledging_reset(
        protocols: Protocols,
    ) -> Call<impl Job<bool>> {
        let begin = move |connection: &mut Connection, permit: &Permit<'_>| {
            connection.begin_transaction_acknowledging_reset(permit, protocols)
        };
        Call {
            refusal: protocols.is_empty().then_some(Refusal::NO_PROTOCOL),
            ..Call::new(Operation::BeginTransaction, begin)
        }
    }

    pub(crate) fn end_transaction(disposition: Disposition) -> Call<impl Job<()>> {
        Call::new(Operation::EndTransaction, move |connection, permit| {
            // A call that was given up leaves the card as it is.
            let disposition = match permit.grant() {
                true => disposition,
                false => Disposition::Leave,
            };
            connection.end_transaction(disposition)
        })
    }

    pub(crate) fn status() -> Call<impl Job<CardStatus>> {
        Call::new(Operation::Status, |connection, _| connection.status())
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
        Call {
            refusal,
            ..Call::new(Operation::Transmit, move |connection, permit| {
                connection.transmit_permitted(permit, CommandBytes::marked(&command, marked))
            })
        }
    }

    pub(crate) fn control(code: ControlCode, input: &[u8]) -> Call<impl Job<Vec<u8>> + use<>> {
        let input = Zeroizing::new(input.to_vec());
        Call::new(Operation::Control, move |connection, permit| {
            connection.control(permit, code, &input)
        })
    }

    pub(crate) fn attribute(attribute: Attribute) -> Call<impl Job<Vec<u8>>> {
        Call::new(Operation::GetAttribute, move |connection, permit| {
            connection.attribute(permit, attribute)
        })
    }

    pub(crate) fn set_attribute(attribute: Attribute, value: &[u8]) -> Call<impl Job<()> + use<>> {
        let value = Zeroizing::new(value.to_vec());
        Call::new(Operation::SetAttribute, move |connection, permit| {
            connection.set_attribute(permit, attribute, &value)
        })
    }

    /// On failure the connection is unchanged, unless the call was given up.
    pub(crate) fn disconnect(disposition: Disposition) -> Call<impl Job<()>> {
        Call::new(Operation::Disconnect, move |connection, permit| {
            connection.disconnect_permitted(permit, disposition)
        })
    }
}
