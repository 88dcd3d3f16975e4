//! A PC/SC context that ends with its owner.

use super::numbers;
use crate::error::{Error, Operation, Result};
use crate::limits::{Here, Permit};
use crate::service::{self, Address, Canceller, ContextHandle, Failure, Limit, Process, block_on};
use crate::sync::Turn;
use crate::trace;

/// An established context that is released on drop.
///
/// It belongs to the process that established it. A forked child shares the connection to the
/// service with its parent, and using it would break the parent's.
#[derive(Debug)]
pub(crate) struct OwnedContext {
    handle: ContextHandle,
    pub(super) process: Process,
    released: bool,
}

impl OwnedContext {
    pub(crate) async fn establish(address: &Address, limit: Limit) -> Result<OwnedContext> {
        // First, because it registers for the end of the process.
        let process = Process::current();
        let establish = async {
            let handle = service::establish_context(address, limit).await?;
            numbers::add_context(&handle)?;
            Ok::<_, Failure>(handle)
        };
        match trace::call(Operation::EstablishContext, None, establish).await {
            Ok(handle) => Ok(OwnedContext {
                handle,
                process,
                released: false,
            }),
            Err(failure) => {
                let error = Error::new(Operation::EstablishContext, failure);
                Err(error.at_socket(address.socket_of(failure)))
            }
        }
    }

    pub(crate) fn handle(&mut self) -> &mut ContextHandle {
        &mut self.handle
    }

    /// Ends the context of a call that was given up, after any call still under way in it, without
    /// waiting.
    pub(super) fn abandon(mut self, here: &Here) {
        here.do_afterwards(async move |limit| {
            self.handle.set_limit(limit);
            self.handle.settle().await;
        });
    }

    /// The canceller of waits in this context.
    pub(crate) fn canceller(&mut self) -> Canceller {
        self.handle.canceller()
    }

    /// Whether this process is a child of the one that established it.
    pub(crate) fn is_forked(&self) -> bool {
        self.process.is_forked()
    }

    /// Whether the context has ended.
    pub(crate) fn is_released(&self) -> bool {
        self.released
    }

    /// Releases the context, unless it is already released or belongs to another process. It has
    /// ended then even if the service reports a failure.
    pub(super) async fn end(&mut self) -> Result<(), Failure> {
        if self.released || self.is_forked() {
            return Ok(());
        }
        self.released = true;
        let released = trace::call(
            Operation::ReleaseContext,
            None,
            service::release_context(&mut self.handle),
        )
        .await;
        // It is released even if the service could not be reached.
        numbers::remove_context(&self.handle);
        released
    }

    /// Releases the context because later calls could receive the answers to earlier ones.
    pub(super) async fn end_out_of_step(&mut self) {
        let released = self.end().await;
        tracing::debug!(
            ?released,
            "a context was released because its answers are out of step"
        );
    }

    /// Moves the context out of its owner, for which it has then been released.
    pub(super) fn hand_on(&mut self) -> Option<OwnedContext> {
        self.released = true;
        let handle = self.handle.hand_on()?;
        Some(OwnedContext {
            handle,
            process: self.process,
            released: false,
        })
    }

    /// Ends the context without a wait: the service notices it as well. Not in a child.
    pub(crate) fn hang_up(&mut self) {
        self.handle.hang_up();
        self.released = true;
    }

    pub(crate) async fn release(mut self, permit: &Permit<'_>) -> Result<()> {
        self.handle.set_limit(permit.limit());
        self.end()
            .await
            .map_err(|failure| Error::new(Operation::ReleaseContext, failure))
    }
}

impl Drop for OwnedContext {
    fn drop(&mut self) {
        if self.handle.is_suspending() && !self.released && !self.is_forked() {
            return self.hang_up();
        }
        if let Err(Failure { code, .. }) = block_on(self.end()) {
            tracing::debug!(%code, "SCardReleaseContext failed on drop");
        }
    }
}

/// A context that several threads use, one at a time. In pcsc-lite, a second thread waiting for the
/// context would keep every thread of the process out of the library.
#[derive(Debug)]
pub(crate) struct SharedContext {
    process: Process,
    turn: Turn<OwnedContext>,
}

impl SharedContext {
    pub(crate) fn new(context: OwnedContext) -> SharedContext {
        SharedContext {
            process: context.process,
            turn: Turn::of(context),
        }
    }

    /// Whether this process is a child of the one that established it.
    pub(crate) fn is_forked(&self) -> bool {
        self.process.is_forked()
    }

    /// Makes a call when it is this thread's turn. Not for a child.
    pub(crate) fn call<T>(&self, call: impl FnOnce(&mut ContextHandle) -> T) -> T {
        self.turn.lend(|context| call(context.handle()))
    }

    pub(crate) fn into_owned(self) -> Option<OwnedContext> {
        self.turn.into_inner()
    }

    /// Ends the context without a wait. Not in a child.
    pub(crate) fn hang_up(self) {
        if let Some(mut context) = self.into_owned() {
            context.hang_up();
        }
    }
}
