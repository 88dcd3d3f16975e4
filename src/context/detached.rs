//! Contexts whose owner's thread must not be blocked.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Context, ContextOptions, Inner, group_name};
use crate::card::ConnectOptions;
use crate::channel::{Channel, Limits, begin};
use crate::error::{Error, ErrorKind, Operation, Refusal, Result};
use crate::limits::Permit;
use crate::values::{ReaderName, ReaderState};

/// Makes a call that does not concern a card, on a thread of its own.
async fn within<T: Send + 'static>(
    limits: &Limits,
    operation: Operation,
    call: impl FnOnce(&Permit<'_>) -> Result<T> + Send + 'static,
) -> Result<T> {
    if let Some(refusal) = limits.refuse_more() {
        return Err(Error::given_up(operation, refusal));
    }
    let answer = match begin(&mut None, (), limits, |(), permit| call(permit)) {
        Ok(under_way) => under_way.await,
        Err(abandoned) => Err(abandoned),
    };
    match answer {
        Ok(((), answer)) => answer,
        Err(abandoned) => {
            tracing::debug!(%operation, ?abandoned, "a call was given up");
            Err(Error::given_up(operation, Refusal::given_up(abandoned)))
        }
    }
}

impl ContextOptions {
    /// Like [`ContextOptions::establish`].
    pub(crate) async fn establish_detached(self) -> Result<Context> {
        let (limits, establish) = self.establishing();
        let context = within(&limits, Operation::EstablishContext, establish).await?;
        let context = self.context(Some(context));
        context.detach();
        Ok(context)
    }
}

impl Context {
    /// From now on, dropping the context does not block.
    pub(crate) fn detach(&self) {
        self.0.detached.store(true, Ordering::Relaxed);
    }

    pub(crate) async fn readers_detached(&self) -> Result<Vec<ReaderName>> {
        self.call_detached(Operation::ListReaders, |inner, permit| {
            inner.readers(permit, None)
        })
        .await
    }

    pub(crate) async fn readers_in_detached(&self, group: &str) -> Result<Vec<ReaderName>> {
        let group = group_name(group)?;
        self.call_detached(Operation::ListReaders, move |inner, permit| {
            inner.readers_in(permit, &group)
        })
        .await
    }

    pub(crate) async fn reader_groups_detached(&self) -> Result<Vec<String>> {
        self.call_detached(Operation::ListReaderGroups, Inner::reader_groups)
            .await
    }

    pub(crate) async fn reader_states_detached(&self) -> Result<Vec<ReaderState>> {
        self.call_detached(Operation::GetStatusChange, Inner::reader_states)
            .await
    }

    pub(crate) async fn connect_detached(
        &self,
        reader: &ReaderName,
        options: ConnectOptions,
    ) -> Result<Channel> {
        self.connecting(reader, options).open_detached().await
    }

    pub(crate) async fn open_reader_detached(&self, reader: &ReaderName) -> Result<Channel> {
        self.opening(reader).open_detached().await
    }

    pub(crate) async fn release_detached(self) -> Result<()> {
        let limits = self.0.limits.clone();
        let Some(last) = self.into_last() else {
            return Ok(());
        };
        within(&limits, Operation::ReleaseContext, |_| last.release()).await
    }

    /// Makes a call, within the time-out.
    async fn call_detached<T: Send + 'static>(
        &self,
        operation: Operation,
        call: impl FnOnce(&Inner, &Permit<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let mut stuck = Stuck(Some(&self.0));
        let inner = Arc::clone(&self.0);
        let limits = &self.0.limits;
        let answer = within(limits, operation, move |permit| call(&inner, permit)).await;
        if !matches!(&answer, Err(error) if error.kind() == ErrorKind::DeadlineExceeded) {
            stuck.0 = None;
        }
        answer
    }
}

/// Replaces the PC/SC context when dropped, because a call may still be running in it.
struct Stuck<'a>(Option<&'a Inner>);

impl Drop for Stuck<'_> {
    fn drop(&mut self) {
        if let Some(inner) = self.0 {
            inner.abandon_current();
        }
    }
}
