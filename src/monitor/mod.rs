//! Monitoring: readers and cards that come and go.

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

pub(crate) use aside::quick_states_of;
pub use event::{Event, Usage};
pub use filter::CardFilter;
use mailbox::Closed;
#[cfg(feature = "async")]
pub use stream::EventStream;
use thread::Shared;

/// Options of a [`Monitor`]: what it reports, and what stops it.
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
    /// The watched readers.
    readers: CardFilter,
}

impl MonitorOptions {
    /// Returns options that report readers and cards only.
    pub fn new() -> MonitorOptions {
        MonitorOptions::default()
    }

    /// Sets whether to report when programs begin or stop using a reader, as [`Event::UseChanged`].
    ///
    /// # Platform notes
    ///
    /// On Windows the service reports both. With pcsc-lite and macOS the monitor looks once a
    /// second and misses shorter uses.
    pub fn use_changes(mut self, use_changes: bool) -> MonitorOptions {
        self.use_changes = use_changes;
        self
    }

    /// Sets the handle that stops the monitor; it can be shared with other calls. By default the
    /// monitor has its own: [`Monitor::abort_handle`].
    pub fn abort_handle(mut self, abort: &AbortHandle) -> MonitorOptions {
        self.abort = Some(abort.clone());
        self
    }

    /// Watches only the readers whose cards can match.
    pub(crate) fn only_about(mut self, filter: &CardFilter) -> MonitorOptions {
        self.readers = filter.clone();
        self
    }
}

/// Reports changes at the readers.
///
/// ```no_run
/// use scard::{Context, Event, MonitorOptions};
///
/// let context = Context::lazy();
/// for event in context.monitor(MonitorOptions::new())? {
///     match event {
///         Event::CardInserted { atr, .. } => println!("a card: {atr}"),
///         other => println!("{other}"),
///     }
/// }
/// # Ok::<(), scard::Error>(())
/// ```
///
/// The first events are the readers and cards already present. They are available as soon as
/// [`Context::monitor`] returns, so nothing is missed between a list and a wait. Changes follow.
/// When the service ends, every reader is reported detached, and attached again when the service
/// returns; the monitor continues by itself.
///
/// A monitor has its own thread and PC/SC context; with pcsc-lite, which supports 200 contexts at a
/// time for all programs, one more of each for every mute card. It disturbs no cards, except that
/// [`wait_for_card`](Monitor::wait_for_card) powers up those that do not answer: with another
/// thread and context while it lasts, one for each card in the process.
///
/// # Stopping
///
/// When the [abort handle](Monitor::abort_handle) is used, from any thread, before, during or after
/// a wait, the iterator ends and [`next_timeout`](Monitor::next_timeout) returns `None`. Pending
/// events are dropped. Dropping the monitor stops it, too, but does not wait until its threads have
/// ended and its PC/SC contexts are released; [`close`](Monitor::close) does.
///
/// In a forked child the monitor is stopped. Stopping it there does not affect the parent's.
///
/// # Pending events
///
/// The monitor never waits for its consumer. Up to 256 changes are kept separately; later ones are
/// merged into the newest, as if the monitor had not looked in between: a card that came and went
/// is [`Event::CardMissed`], one that was removed and reinserted is [`Event::CardExchanged`], and
/// only the latest use of a reader is reported. After draining the events you know the current
/// state.
///
/// # Platform notes
///
/// | | Noticed at once | Noticed within a second |
/// |---|---|---|
/// | the socket | everything, except changes of a mute card | the removal of a mute card |
/// | Windows, pcsc-lite's library 2.3 and later | everything, except changes of a mute card | on Windows, the first reader; on pcsc-lite, the removal of a mute card |
/// | pcsc-lite's library before 2.3 | cards, detached readers, most attached readers | a reader that is attached between two waits |
/// | macOS | cards, detached readers | attached readers; there is no event counter, so an exchange shows only if the ATR differs |
///
/// Where readers are noticed at once, the service can miss one that is attached just as a wait
/// begins; that is noticed within a second after other news, and within 16 seconds at the latest.
/// Over the socket this does not happen.
///
/// With pcsc-lite, the power-up of a mute card by another program is noticed after 1 to 16 seconds:
/// the longer the card has been mute, the rarer the looks.
///
/// If a reader is replaced within the milliseconds between two looks, its card is reported removed
/// or exchanged.
///
/// Windows ends the service some time after the last reader is detached, which is reported as
/// [`Event::ServiceLost`]; the next reader comes with [`Event::ServiceRestored`].
///
/// While nothing happens, a monitor over the socket does not wake up. Elsewhere it looks once a
/// second or, where readers are noticed at once, less and less often, down to every 16 seconds; and
/// once a second if the event counter of a reader is zero, as after the start of the service,
/// because card swaps are not reported then. All look once a second for a reader that is
/// unavailable, and at intervals of up to 16 seconds for a mute card (pcsc-lite).
pub struct Monitor {
    shared: Arc<Shared>,
    abort: AbortHandle,
    _registration: Registration,
    /// The counter of abandoned calls.
    pending: Pending,
    /// Whether its thread counts as an abandoned call when it is dropped.
    given_up: bool,
}

impl Context {
    /// Starts watching the readers, and returns when their current state is known. If the service
    /// is not available, that is the first event.
    ///
    /// Built on `SCardGetStatusChange`. The [time-out](crate::ContextOptions::timeout) of the
    /// context limits this call, and does not apply to the monitor afterwards.
    ///
    /// # Errors
    ///
    /// Errors of the service are not returned: a service that ended or refuses to answer is
    /// [`Event::ServiceLost`]. [`ErrorKind::DeadlineExceeded`](crate::ErrorKind::DeadlineExceeded)
    /// if nothing is known within the time-out; [`ErrorKind::Internal`](crate::ErrorKind::Internal)
    /// if no thread can be started. If the abort handle was used before, the monitor is stopped,
    /// which is not an error.
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
    /// Starts the thread without waiting for it.
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
        // An abort before the registration notified nothing.
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

    /// Counts the thread as an abandoned call from drop to end: the service may hang.
    pub(crate) fn count_its_end(&mut self) {
        self.given_up = true;
    }

    /// Stops the monitor like a drop, and waits at most this long until its threads have ended and
    /// its PC/SC contexts are released. Returns whether the threads have ended.
    ///
    /// With pcsc-lite this can take 0.4 seconds because of a mute card, and as long as the service
    /// hangs.
    pub fn close(self, timeout: Option<Duration>) -> bool {
        self.shared.is_forked() || {
            self.shared.stop();
            self.shared.wait_for_end(timeout)
        }
    }

    /// Waits at most this long for the next event. Returns `None` if there was none in time or the
    /// monitor [is stopped](Monitor::is_stopped).
    ///
    /// With a time-out of zero, returns a pending event without waiting.
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Event> {
        self.next_until(wait::end(Some(timeout)))
    }

    fn next_until(&mut self, deadline: Option<Instant>) -> Option<Event> {
        if self.is_stopped() {
            return None;
        }
        self.shared.mailbox.next(deadline).ok().flatten()
    }

    /// Returns whether the monitor is stopped: there are no further events.
    pub fn is_stopped(&self) -> bool {
        // In a forked child, the thread may have held the lock.
        self.shared.is_forked() || self.shared.mailbox.is_closed()
    }

    /// Returns the handle that stops the monitor from any thread; see [Stopping](Monitor#stopping).
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
