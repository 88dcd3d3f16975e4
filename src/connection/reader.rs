//! Calls to the reader: control codes and attributes.

use super::Connection;
use crate::codes::{Platform, ReturnCode};
use crate::error::{Error, Operation, Result};
use crate::limits::Permit;
use crate::limits::pause::Pause;
use crate::service::{self, ContextHandle};
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
    async fn beside_others<T>(
        &mut self,
        permit: &Permit<'_>,
        operation: Operation,
        mut call: impl AsyncFnMut(&mut Connection) -> Result<T>,
    ) -> Result<T> {
        let (mut pause, waits) = (Pause::brief(), self.waits_for_transactions);
        loop {
            if !permit.grant() {
                return Err(self.left(operation));
            }
            match call(self).await {
                Err(error) if waits && self.is_refused_for_transaction(&error) => {
                    permit.withdraw();
                }
                answer => return answer,
            }
            permit.pause(&mut pause).await;
        }
    }

    pub(crate) async fn control(
        &mut self,
        permit: &Permit<'_>,
        code: ControlCode,
        input: &[u8],
    ) -> Result<Vec<u8>> {
        let mut output = vec![0; service::MAX_ANSWER_LEN];
        let control = async |connection: &mut Connection| {
            let output = output.as_mut_slice();
            // A reset of the card does not concern the reader: the service does not report it here.
            let made = connection.make(Operation::Control, async |context, handle| {
                service::control(context, handle, code.raw(), input, output).await
            });
            match made.await {
                Ok(len) => Ok(len),
                Err(failure) => Err(connection.failed(Operation::Control, failure).await),
            }
        };
        let len = self
            .beside_others(permit, Operation::Control, control)
            .await?;
        output.truncate(len);
        output.shrink_to_fit();
        Ok(output)
    }

    pub(crate) async fn attribute(
        &mut self,
        permit: &Permit<'_>,
        attribute: Attribute,
    ) -> Result<Vec<u8>> {
        let get = async |connection: &mut Connection| {
            let get = async |context: &mut ContextHandle, handle| {
                service::get_attribute(context, handle, attribute.raw()).await
            };
            connection.call(Operation::GetAttribute, get).await
        };
        self.beside_others(permit, Operation::GetAttribute, get)
            .await
    }

    pub(crate) async fn set_attribute(
        &mut self,
        permit: &Permit<'_>,
        attribute: Attribute,
        value: &[u8],
    ) -> Result<()> {
        let set = async |connection: &mut Connection| {
            let set = async |context: &mut ContextHandle, handle| {
                service::set_attribute(context, handle, attribute.raw(), value).await
            };
            connection.call(Operation::SetAttribute, set).await
        };
        self.beside_others(permit, Operation::SetAttribute, set)
            .await
    }
}
