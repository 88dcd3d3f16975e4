//! What happens at the readers: readers and cards that come and go.

mod aside;
mod event;
mod filter;
mod mailbox;
#[cfg(all(test, model))]
#[path = "../../tests/models/monitor.rs"]
mod model;
mod power;
#[cfg(feature = "async")]
mod stream;
mod thread;
mod tracker;
mod view;
mod wait;
mod watcher;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::context::Context;
use crate::error::{Error, Operation, Refusal, Result};
use crate::limits::{Abandoned, AbortHandle, GivenUp, Pending, Registration, Wake};
use crate::service::Address;

pub use event::{Event, Usage};
pub use filter::CardFilter;
use mailbox::Closed;
#[cfg(feature = "async")]
pub use stream::EventStream;
use thread::Shared;

/// What a [`Monitor`] reports, and what stops it.
///
/// ```
/// use scard::{AbortHandle, MonitorOptions};
///
/// let abort = AbortHandle::new();
/// let options = MonitorOptions::new().use_changes(true).abort_handle(&abort);
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct MonitorOptions {
    use_changes: bool,
    abort: Option<AbortHandle>,
    /// The readers that are meant.
    readers: CardFilter,
}

impl MonitorOptions {
    /// Readers and cards, and nothing else.
    pub fn new() -> MonitorOptions {
        MonitorOptions::default()
    }

    /// Whether to report when programs begin or stop to use a reader, as [`Event::UseChanged`].
    ///
    /// # Platform notes
    ///
    /// On Windows the service reports both. With pcsc-lite and macOS the monitor looks once
    /// a second, and so does not see a program that was faster.
    pub fn use_changes(mut self, use_changes: bool) -> MonitorOptions {
        self.use_changes = use_changes;
        self
    }

    /// The handle that stops the monitor, shared with whatever else it stops. Without it the
    /// monitor has one of its own: [`Monitor::abort_handle`].
    pub fn abort_handle(mut self, abort: &AbortHandle) -> MonitorOptions {
        self.abort = Some(abort.clone());
        self
    }

    /// Watches only the readers whose cards can be meant.
    pub(crate) fn only_about(mut self, filter: &CardFilter) -> MonitorOptions {
        self.readers = filter.clone();
        self
    }
}

/// Reports what happens at the readers.
///
/// ```no_run
/// use scard::{Context, Event, MonitorOptions};
///
/// let context = Context::lazy();
/// for event in context.monitor(MonitorOptions::new())? {
///     match event {
///         Event::CardInserted { reader_name: reader, atr, .. } => println!("{reader}: {atr}"),
///         Event::CardRemoved { reader_name: reader, .. } => println!("{reader} is empty"),
///         other => println!("{:?}: {other}", other.reader_name()),
///     }
/// }
/// # Ok::<(), scard::Error>(())
/// ```
///
/// The first events are the readers and cards that are there already. They can be taken as soon
/// as [`Context::monitor`] returns, so that nothing is missed between a list and a wait. Changes
/// follow. When the service ends, every reader is reported detached, and attached again
/// when the service returns; the monitor goes on by itself.
///
/// A monitor has a thread and a PC/SC context of its own and disturbs no card, but that
/// [`wait_for_card`](Monitor::wait_for_card) powers up those that do not answer.
///
/// # Stopping
///
/// The iterator ends, and [`next_timeout`](Monitor::next_timeout) returns `None`, when
/// the [abort handle](Monitor::abort_handle) is used, from any thread, before, during or after
/// a wait. Events that were not taken by then are dropped. Dropping the monitor stops it, too, and
/// does not wait until its thread has ended and its PC/SC context is released;
/// [`close`](Monitor::close) does.
///
/// In a forked child a monitor is stopped; stopping it there does nothing to the parent's.
///
/// # Events that were not taken
///
/// The monitor never waits for its consumer. Up to 256 changes are kept, each
/// on its own; later ones are merged with the newest of them, as if
/// nobody had looked in between: a card that came and went is [`Event::CardMissed`], one that
/// was taken out and put in is [`Event::CardExchanged`], and only the latest use of a reader
/// is reported. After draining the events you know the current state.
///
/// # Platform notes
///
/// | | What is noticed at once | At the latest after a second |
/// |---|---|---|
/// | Windows, pcsc-lite 2.3 and later | everything, but for a card that does not answer | on Windows, the first reader; on pcsc-lite, that a card that did not answer is removed |
/// | pcsc-lite before 2.3 | cards, readers that go, most readers that come | a reader that comes in the moment between two waits |
/// | macOS | cards, readers that go | readers that come; there is no event counter, so that an exchange shows only if the ATR differs |
///
/// That another program has powered up a card that did not answer is noticed by looks from a second
/// to 16 seconds apart (pcsc-lite): the longer the card has not answered, the rarer they are.
///
/// A reader that is replaced within the milliseconds between two looks shows as a card that is
/// removed or exchanged.
///
/// Windows ends the service some time after the last reader has gone; that is
/// [`Event::ServiceLost`], and the next reader comes with [`Event::ServiceRestored`].
///
/// Where all is noticed at once, nothing wakes up while nothing happens; elsewhere the monitor
/// does so once a second. It also does with a reader that is unavailable or whose event counter is
/// zero, as after the start of the service, which does not report card swaps then; and, up to every
/// 16 seconds, with a card that does not answer (pcsc-lite).
pub struct Monitor {
    shared: Arc<Shared>,
    abort: AbortHandle,
    _registration: Registration,
    /// Where calls are counted that go on when nobody waits for them.
    pending: Pending,
    /// Whether its thread is one of these when it is dropped.
    given_up: bool,
}

impl Context {
    /// Begins to watch the readers, and returns when it is known what is there. If the service is
    /// not, that is the first event.
    ///
    /// Built on `SCardGetStatusChange`. The [time-out](crate::ContextOptions::timeout) of the
    /// context limits how long this call waits, and does not apply to the monitor afterwards.
    ///
    /// # Errors
    ///
    /// None of the service: one that ended or refuses to answer is [`Event::ServiceLost`].
    /// [`ErrorKind::DeadlineExceeded`](crate::ErrorKind::DeadlineExceeded) if nothing is known
    /// within the time-out, [`ErrorKind::Internal`](crate::ErrorKind::Internal) if no thread can
    /// be started. A monitor whose abort handle was used before is stopped, which is no error.
    #[doc(alias = "SCardGetStatusChange")]
    pub fn monitor(&self, options: MonitorOptions) -> Result<Monitor> {
        let deadline = wait::end(self.timeout());
        let mut monitor = Monitor::start(self.address(), options, self.limits().pending())?;
        let mut known = None;
        loop {
            match monitor.shared.mailbox.news(known, deadline) {
                Ok(None) => {
                    monitor.count_its_end();
                    let refusal = Refusal::NOTHING_KNOWN_IN_TIME;
                    return Err(Error::given_up(Operation::GetStatusChange, refusal));
                }
                Ok(Some((number, view))) if !view.is_complete() => known = Some(number),
                Ok(Some(_)) | Err(Closed) => return Ok(monitor),
            }
        }
    }
}

fn given_up(why: GivenUp) -> Error {
    let refusal = Refusal::given_up(Abandoned::before_it_began(why));
    Error::given_up(Operation::GetStatusChange, refusal)
}

fn too_many_pending() -> Error {
    Error::given_up(Operation::GetStatusChange, Refusal::TOO_MANY_PENDING)
}

impl Monitor {
    /// Starts the thread, and does not wait for it.
    pub(crate) fn start(
        address: &Address,
        options: MonitorOptions,
        pending: &Pending,
    ) -> Result<Monitor> {
        let Some(shared) = Shared::start(address.clone(), options.use_changes, options.readers)
        else {
            return Err(given_up(GivenUp::NoThread));
        };
        let abort = options.abort.unwrap_or_default();
        let registration = abort.register(Arc::clone(&shared) as Arc<dyn Wake>);
        // An abort before the registration was told to nobody.
        if abort.is_aborted() {
            shared.stop();
        }
        Ok(Monitor {
            shared,
            abort,
            _registration: registration,
            pending: pending.clone(),
            given_up: false,
        })
    }

    /// Counts its thread from its drop to its end: the service may hang.
    pub(crate) fn count_its_end(&mut self) {
        self.given_up = true;
    }

    /// Stops the monitor as a drop does, and waits until its thread has ended and its PC/SC
    /// context is released, no longer than this. Returns whether it has ended.
    ///
    /// With pcsc-lite a card that does not answer can make it take 0.4 seconds, and a service that
    /// hangs as long as it does so.
    pub fn close(self, timeout: Option<Duration>) -> bool {
        self.shared.is_forked() || {
            self.shared.stop();
            self.shared.wait_for_end(timeout)
        }
    }

    /// Waits for the next event, no longer than this. Returns `None` if none came in time
    /// or the monitor [is stopped](Monitor::is_stopped).
    ///
    /// A time-out of zero returns what is there already.
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Event> {
        self.next_until(wait::end(Some(timeout)))
    }

    fn next_until(&mut self, deadline: Option<Instant>) -> Option<Event> {
        if self.is_stopped() {
            return None;
        }
        self.shared.mailbox.next(deadline).ok().flatten()
    }

    /// Whether there will be no further events.
    pub fn is_stopped(&self) -> bool {
        // In a forked child, the thread may have held the lock.
        self.shared.is_forked() || self.shared.mailbox.is_closed()
    }

    /// Stops the monitor from any thread; see [Stopping](Monitor#stopping).
    pub fn abort_handle(&self) -> AbortHandle {
        self.abort.clone()
    }
}

/// Waits for each event; ends when the monitor is stopped.
impl Iterator for Monitor {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.next_until(None)
    }
}

impl std::iter::FusedIterator for Monitor {}

impl Drop for Monitor {
    fn drop(&mut self) {
        if !self.shared.is_forked() {
            self.shared.stop();
            if self.given_up {
                self.shared.count_until_end(&self.pending);
            }
        }
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor")
            .field("is_stopped", &self.is_stopped())
            .finish_non_exhaustive()
    }
}
