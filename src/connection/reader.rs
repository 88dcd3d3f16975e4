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

    /// Returns the answer to a call that pcsc-lite refuses at once while another connection holds a
    /// transaction. If it was refused, this returns `None` after a pause, and the call is to be
    /// repeated, until the caller has given up. For commands and the status, the client library
    /// waits in the same way.
    async fn unless_held<T>(
        &self,
        permit: &Permit<'_>,
        answer: Result<T>,
        pause: &mut Pause,
    ) -> Option<Result<T>> {
        match answer {
            Err(error)
                if self.waits_for_transactions && self.is_refused_for_transaction(&error) =>
            {
                permit.withdraw();
                permit.pause(pause).await;
                None
            }
            answer => Some(answer),
        }
    }

    fn granted(&self, permit: &Permit<'_>, operation: Operation) -> Result<()> {
        match permit.grant() {
            true => Ok(()),
            false => Err(self.left(operation)),
        }
    }

    pub(crate) async fn control(
        &mut self,
        permit: &Permit<'_>,
        code: ControlCode,
        input: &[u8],
    ) -> Result<Vec<u8>> {
        let mut output = vec![0; service::MAX_ANSWER_LEN];
        let mut pause = Pause::brief();
        let len = loop {
            self.granted(permit, Operation::Control)?;
            let output = output.as_mut_slice();
            // A reset of the card does not concern the reader: the service does not report it here.
            let made = self.make(Operation::Control, |context, handle| {
                service::control(context, handle, code.raw(), input, output)
            });
            let answer = match made.await {
                Ok(len) => Ok(len),
                Err(failure) => Err(self.failed(Operation::Control, failure).await),
            };
            if let Some(answer) = self.unless_held(permit, answer, &mut pause).await {
                break answer?;
            }
        };
        output.truncate(len);
        output.shrink_to_fit();
        Ok(output)
    }

    pub(crate) async fn attribute(
        &mut self,
        permit: &Permit<'_>,
        attribute: Attribute,
    ) -> Result<Vec<u8>> {
        let mut pause = Pause::brief();
        loop {
            self.granted(permit, Operation::GetAttribute)?;
            let got = self.call(Operation::GetAttribute, |context, handle| {
                service::get_attribute(context, handle, attribute.raw())
            });
            let got = got.await;
            if let Some(got) = self.unless_held(permit, got, &mut pause).await {
                return got;
            }
        }
    }

    pub(crate) async fn set_attribute(
        &mut self,
        permit: &Permit<'_>,
        attribute: Attribute,
        value: &[u8],
    ) -> Result<()> {
        let mut pause = Pause::brief();
        loop {
            self.granted(permit, Operation::SetAttribute)?;
            let set = self.call(Operation::SetAttribute, |context, handle| {
                service::set_attribute(context, handle, attribute.raw(), value)
            });
            let set = set.await;
            if let Some(set) = self.unless_held(permit, set, &mut pause).await {
                return set;
            }
        }
    }
}
