//! Calls to the reader: control codes and attributes.

use super::Connection;
use crate::codes::{Platform, ReturnCode};
use crate::error::{Error, Operation, Result};
use crate::limits::Permit;
use crate::limits::pause::Pause;
use crate::service;
use crate::values::{Attribute, ControlCode};

impl Connection {
    /// Whether the service refused a call because another connection holds a transaction, which it
    /// checks first. (With another's exclusive access, there would be no connection.)
    fn is_refused_for_transaction(&self, error: &Error) -> bool {
        Platform::CURRENT == Platform::PcscLite
            && error.code() == ReturnCode::E_SHARING_VIOLATION
            && !self.in_transaction
            && !self.access.is_exclusive()
    }

    pub(crate) fn set_wait_for_transactions(&mut self, wait: bool) {
        self.waits_for_transactions = wait;
    }

    /// Makes a call that pcsc-lite refuses at once while another connection holds a transaction,
    /// and repeats it until none does or the caller has given up. For commands and the status, the
    /// client library waits in the same way.
    fn beside_others<T>(
        &mut self,
        permit: &Permit<'_>,
        operation: Operation,
        mut call: impl FnMut(&mut Connection) -> Result<T>,
    ) -> Result<T> {
        let (mut pause, waits) = (Pause::brief(), self.waits_for_transactions);
        loop {
            if !permit.grant() {
                return Err(self.left(operation));
            }
            match call(self) {
                Err(error) if waits && self.is_refused_for_transaction(&error) => {
                    permit.withdraw();
                }
                answer => return answer,
            }
            permit.pause(&mut pause);
        }
    }

    pub(crate) fn control(
        &mut self,
        permit: &Permit<'_>,
        code: ControlCode,
        input: &[u8],
    ) -> Result<Vec<u8>> {
        let mut output = vec![0; service::MAX_ANSWER_LEN];
        let len = self.beside_others(permit, Operation::Control, |connection| {
            // A reset of the card does not concern the reader: the service does not report it here.
            let made = connection.make(Operation::Control, |context, handle| {
                service::control(context, handle, code.raw(), input, &mut output)
            });
            made.map_err(|failure| connection.failed(Operation::Control, failure))
        })?;
        output.truncate(len);
        output.shrink_to_fit();
        Ok(output)
    }

    pub(crate) fn attribute(
        &mut self,
        permit: &Permit<'_>,
        attribute: Attribute,
    ) -> Result<Vec<u8>> {
        self.beside_others(permit, Operation::GetAttribute, |connection| {
            connection.call(Operation::GetAttribute, |context, handle| {
                service::get_attribute(context, handle, attribute.raw())
            })
        })
    }

    pub(crate) fn set_attribute(
        &mut self,
        permit: &Permit<'_>,
        attribute: Attribute,
        value: &[u8],
    ) -> Result<()> {
        self.beside_others(permit, Operation::SetAttribute, |connection| {
            connection.call(Operation::SetAttribute, |context, handle| {
                service::set_attribute(context, handle, attribute.raw(), value)
            })
        })
    }
}
