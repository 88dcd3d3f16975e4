//! Contexts whose owner's thread must not be blocked.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Context, ContextOptions, Inner, gave_up, group_name, refuse_more};
use crate::card::ConnectOptions;
use crate::channel::{Channel, Limits, begin};
use crate::error::{ErrorKind, Operation, Result};
use crate::limits::{Answer, Here, Permit};
use crate::service::{Way, block_on};
use crate::values::{ReaderName, ReaderState};

/// Makes a call that does not concern a card, as a task if it can be one, or else on a thread of its
/// own.
async fn within<T: Send + 'static>(
    way: &Way,
    limits: &Limits,
    operation: Operation,
    call: impl AsyncFnOnce(&Permit<'_>) -> Result<T> + Send + 'static,
) -> Result<T> {
    refuse_more(limits, operation)?;
    let begun = match way.ends_calls() {
        // An unclaimed context hangs up.
        true => limits.hand_over_task(async move |here: Here, answer: Answer<_>| {
            let given = call(&here.permit()).await;
            match here.gave_up_on(&given) {
                Some(abandoned) => answer.give_up(abandoned),
                None => answer.give(((), given)),
            }
        }),
        false => {
            let call = |(): &mut (), permit: &Permit<'_>| block_on(call(permit));
            begin(&mut None, (), limits, call)
        }
    };
    let answer = match begun {
        Ok(under_way) => under_way.await,
        Err(abandoned) => Err(abandoned),
    };
    match answer {
        Ok(((), answer)) => answer,
        Err(abandoned) => Err(gave_up(operation, abandoned)),
    }
}

impl ContextOptions {
    /// Like [`ContextOptions::establish`].
    pub(crate) async fn establish_detached(self) -> Result<Context> {
        let (limits, establish) = self.establishing();
        let operation = Operation::EstablishContext;
        let context = within(&self.address.way, &limits, operation, establish).await?;
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
        self.call_detached(Operation::ListReaders, Inner::all_readers)
            .await
    }

    pub(crate) async fn readers_in_detached(&self, group: &str) -> Result<Vec<ReaderName>> {
        let group = group_name(group)?;
        let list =
            async move |inner: &Inner, permit: &Permit<'_>| inner.readers_in(permit, &group).await;
        self.call_detached(Operation::ListReaders, list).await
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
        let (way, limits) = (self.address().way.clone(), self.0.limits.clone());
        let Some(last) = self.into_last() else {
            return Ok(());
        };
        let release = async move |permit: &Permit<'_>| last.release(permit).await;
        within(&way, &limits, Operation::ReleaseContext, release).await
    }

    /// Makes a call, within the time-out.
    async fn call_detached<T: Send + 'static>(
        &self,
        operation: Operation,
        call: impl AsyncFnOnce(&Inner, &Permit<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let mut stuck = Stuck(Some(&self.0));
        let inner = Arc::clone(&self.0);
        let call = async move |permit: &Permit<'_>| call(&inner, permit).await;
        let answer = within(&self.address().way, &self.0.limits, operation, call).await;
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
