//! Monitors for asynchronous tasks.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::{Duration, Instant};

use futures_core::Stream;

use super::filter::CardFilter;
use super::mailbox::Closed;
use super::thread::Shared;
use super::view::View;
use super::wait::{card_or_power_up, end, no_card, no_card_in, still_there};
use super::{Event, Monitor, MonitorOptions, given_up, too_many_pending};
use crate::context::{AsyncContext, Context};
use crate::error::Result;
use crate::limits::{AbortHandle, Alarm, GivenUp, Wake};
use crate::sync::now;
use crate::values::ReaderState;

/// A [`Monitor`] as a [`Stream`]. Requires the feature `async`.
///
/// ```no_run
/// # async fn demo() -> scard::Result<()> {
/// use scard::{AsyncContext, Event, MonitorOptions};
///
/// let context = AsyncContext::establish().await?;
/// let mut events = context.monitor(MonitorOptions::new())?;
/// while let Some(event) = events.next().await {
///     match event {
///         Event::CardInserted { atr, .. } => println!("a card: {atr}"),
///         other => println!("{other}"),
///     }
/// }
/// # Ok(())
/// # }
/// ```
///
/// The first events are the readers and cards already present. The stream ends when its [abort
/// handle](EventStream::abort_handle) is used.
///
/// Works with every executor, or without one. Neither calls nor dropping block the calling thread.
/// Only one task is notified: the last one that polled.
pub struct EventStream {
    monitor: Monitor,
}

impl EventStream {
    pub(crate) fn start(context: &Context, options: MonitorOptions) -> Result<EventStream> {
        let pending = context.limits().pending();
        Ok(Monitor::start(context.address(), options, pending)?.into_stream())
    }
}

impl Monitor {
    /// Converts the monitor into a stream, which starts with the pending events. Requires the
    /// feature `async`.
    pub fn into_stream(self) -> EventStream {
        EventStream { monitor: self }
    }
}

impl EventStream {
    /// Waits for the next event; returns `None` once the stream is stopped. Equivalent to `next` of
    /// the stream extension traits.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no event.
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|task| self.poll_event(task)).await
    }

    fn poll_event(&self, task: &mut task::Context<'_>) -> Poll<Option<Event>> {
        if self.monitor.is_stopped() {
            return Poll::Ready(None);
        }
        self.monitor.shared.mailbox.poll_next(task).map(Result::ok)
    }

    /// [`AsyncContext::wait_for_card`](crate::AsyncContext::wait_for_card) with this monitor.
    /// Starts from the current state, and takes no events.
    ///
    /// # Errors
    ///
    /// Those of [`Monitor::wait_for_card`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn wait_for_card(
        &mut self,
        filter: &CardFilter,
        timeout: Option<Duration>,
    ) -> Result<ReaderState> {
        let mut power_ups = self.monitor.power_ups();
        let answer = |view: &View| card_or_power_up(view, filter, None, &mut power_ups);
        let found = self.look_until(end(timeout), answer).await?;
        found.unwrap_or_else(|| Err(no_card(&self.monitor, filter)))
    }

    /// [`AsyncContext::wait_for_removal`](crate::AsyncContext::wait_for_removal) with this monitor.
    /// Starts from the current state, and takes no events.
    ///
    /// # Errors
    ///
    /// Those of [`Monitor::wait_for_removal`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn wait_for_removal(
        &mut self,
        filter: &CardFilter,
        timeout: Option<Duration>,
    ) -> Result<()> {
        let answer = |view: &View| no_card_in(view, filter);
        let found = self.look_until(end(timeout), answer).await?;
        found.unwrap_or_else(|| Err(still_there(&self.monitor, filter)))
    }

    /// Watches the state until it yields an answer; returns `None` at the deadline.
    async fn look_until<T>(
        &self,
        deadline: Option<Instant>,
        mut answer: impl FnMut(&View) -> Option<T>,
    ) -> Result<Option<T>> {
        let shared = &self.monitor.shared;
        let _alarm = match deadline {
            Some(deadline) => {
                let caller = Arc::new(Look(Arc::clone(shared)));
                let alarm = Alarm::set(deadline, caller);
                Some(alarm.ok_or_else(|| given_up(GivenUp::NoThread))?)
            }
            None => None,
        };
        let mut known = None;
        poll_fn(|task| {
            loop {
                if self.monitor.is_stopped() {
                    return Poll::Ready(Err(given_up(GivenUp::Aborted)));
                }
                match shared.mailbox.poll_news(known, task) {
                    Poll::Ready(Ok((number, view))) => {
                        known = Some(number);
                        if let Some(answer) = answer(&view) {
                            return Poll::Ready(Ok(Some(answer)));
                        }
                    }
                    Poll::Ready(Err(Closed)) => {}
                    Poll::Pending if deadline.is_some_and(|it| it <= now()) => {
                        return Poll::Ready(Ok(None));
                    }
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await
    }

    /// Returns whether the stream is stopped: there are no further events.
    pub fn is_stopped(&self) -> bool {
        self.monitor.is_stopped()
    }

    /// Returns the handle that stops the stream from any thread or task.
    pub fn abort_handle(&self) -> AbortHandle {
        self.monitor.abort_handle()
    }
}

/// The monitor of one wait. If the service has not answered when the wait ends, it counts as an
/// abandoned call.
struct OneWait(EventStream);

impl OneWait {
    fn begin(context: &AsyncContext, filter: &CardFilter) -> Result<OneWait> {
        // A future can be dropped, so a time-out makes no difference.
        if context.context().limits().pending().is_full() {
            return Err(too_many_pending());
        }
        let options = MonitorOptions::new().only_about(filter);
        context.monitor(options).map(OneWait)
    }
}

impl Drop for OneWait {
    fn drop(&mut self) {
        let monitor = &mut self.0.monitor;
        let shared = &monitor.shared;
        if !shared.is_forked() && shared.mailbox.latest().is_none() {
            monitor.count_its_end();
        }
    }
}

impl Stream for EventStream {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, task: &mut task::Context<'_>) -> Poll<Option<Event>> {
        self.poll_event(task)
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream")
            .field("is_stopped", &self.is_stopped())
            .finish_non_exhaustive()
    }
}

/// Wakes the waiting task.
struct Look(Arc<Shared>);

impl Wake for Look {
    fn wake(&self) {
        self.0.mailbox.wake();
    }
}

impl AsyncContext {
    /// Starts watching the readers. See [`Context::monitor`](crate::Context::monitor); this call
    /// does not wait for the current state, so it cannot time out.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) if no thread can be started.
    #[doc(alias = "SCardGetStatusChange")]
    pub fn monitor(&self, options: MonitorOptions) -> Result<EventStream> {
        EventStream::start(self.context(), options)
    }

    /// Waits for a card that answers. See
    /// [`Context::wait_for_card`](crate::Context::wait_for_card).
    ///
    /// # Errors
    ///
    /// Those of [`Context::wait_for_card`](crate::Context::wait_for_card);
    /// [`ErrorKind::ServiceBusy`](crate::ErrorKind::ServiceBusy) also without a time-out.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the wait and has no other effect. While the service hangs, the wait
    /// counts as an abandoned call.
    pub async fn wait_for_card(
        &self,
        filter: &CardFilter,
        timeout: Option<Duration>,
    ) -> Result<ReaderState> {
        let mut wait = OneWait::begin(self, filter)?;
        wait.0.wait_for_card(filter, timeout).await
    }

    /// Waits until no reader has a matching card. See
    /// [`Context::wait_for_removal`](crate::Context::wait_for_removal).
    ///
    /// # Errors
    ///
    /// Those of [`Context::wait_for_removal`](crate::Context::wait_for_removal);
    /// [`ErrorKind::ServiceBusy`](crate::ErrorKind::ServiceBusy) also without a time-out.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the wait and has no other effect. While the service hangs, the wait
    /// counts as an abandoned call.
    pub async fn wait_for_removal(
        &self,
        filter: &CardFilter,
        timeout: Option<Duration>,
    ) -> Result<()> {
        let mut wait = OneWait::begin(self, filter)?;
        wait.0.wait_for_removal(filter, timeout).await
    }
}
