//! The thread of a monitor: how it waits, and how waits are cancelled.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::aside::{self, Aside, SeenAside};
use super::filter::CardFilter;
use super::mailbox::Mailbox;
use super::power::MuteCards;
use super::view::View;
use super::watcher::{Host, Watcher};
use crate::codes::{Platform, ReturnCode};
use crate::connection::OwnedContext;
use crate::error::{Error, Operation, Result};
use crate::limits::{Counted, Pending, Wake};
use crate::look::{Service, Source};
use crate::service::{
    self, Address, Canceller, Failure, Limit, Process, ReaderQuery, StartedEvent,
};
use crate::sync::{AtomicBool, Condvar, Mutex, lock, now, start_thread};
use crate::values::ReaderName;

/// The interval between attempts to cancel a wait in the service: first, and at most. The latter
/// also limits how long a stopped monitor still waits for the service to start.
const FIRST_CANCEL: Duration = Duration::from_micros(200);
const LAST_CANCEL: Duration = Duration::from_millis(50);

/// The state shared by the monitor and its thread.
#[derive(Debug)]
pub(super) struct Shared {
    address: Address,
    /// The watched readers.
    readers: CardFilter,
    /// The process of the thread. A forked child does not have it.
    process: Process,
    pub(super) mailbox: Mailbox,
    waiting: Arc<WaitControl>,
    pub(super) aside: Aside,
    pub(super) mute_cards: MuteCards,
    ended: Mutex<End>,
    end: Condvar,
}

/// The waits of a thread.
#[derive(Debug, Default)]
pub(super) struct WaitControl {
    stopped: AtomicBool,
    wait: Mutex<CurrentWait>,
    changed: Condvar,
}

/// The number of threads, and the counter of abandoned calls that includes them.
#[derive(Debug, Default)]
struct End {
    threads: u32,
    counted: Option<Counted>,
}

/// The current wait, if there is one.
#[derive(Debug, Default)]
struct CurrentWait {
    context: Option<Canceller>,
    /// The number of cancellers that are in a call with the context, which must live as long.
    cancelling: u32,
    /// Whether to look before the next wait.
    has_news: bool,
}

impl Wake for Shared {
    fn wake(&self) {
        self.stop();
    }
}

impl Shared {
    /// The state of a monitor whose thread was not started.
    pub(super) fn new(address: Address, readers: CardFilter) -> Arc<Shared> {
        Arc::new(Shared {
            address,
            readers,
            process: Process::current(),
            mailbox: Mailbox::default(),
            waiting: Arc::default(),
            aside: Aside::default(),
            mute_cards: MuteCards::default(),
            ended: Mutex::default(),
            end: Condvar::default(),
        })
    }

    /// Starts the thread without waiting for it. Returns `None` if it cannot be started.
    pub(super) fn start(
        address: Address,
        use_changes: bool,
        readers: CardFilter,
    ) -> Option<Arc<Shared>> {
        let shared = Shared::new(address, readers);
        let ended = Ended::later(&shared);
        let watch = move || {
            let ended = Closed(ended);
            Watcher::new(ended.0.shared(), Platform::CURRENT, use_changes).run();
        };
        start_thread("scard-monitor", watch).ok()?;
        Some(shared)
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Returns whether this process was forked from the one that started the thread.
    pub(super) fn is_forked(&self) -> bool {
        self.process.is_forked()
    }

    /// Stops for good. Never blocks.
    ///
    /// In a forked child there is nothing to stop: it would cancel the wait of its parent, and the
    /// thread may have held the locks.
    pub(super) fn stop(&self) {
        if self.is_forked() {
            return;
        }
        // Even if an executor's waker panics.
        let _ends_the_waits = CancelOnDrop(self);
        self.mailbox.close();
    }

    /// Waits at most this long until the threads have released their contexts. Returns whether they
    /// have.
    pub(super) fn wait_for_end(&self, limit: Option<Duration>) -> bool {
        let deadline = limit.and_then(|limit| now().checked_add(limit));
        let mut ended = lock(&self.ended);
        while ended.threads > 0 {
            ended = match deadline {
                None => self.end.wait(ended).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(now());
                    if left.is_zero() {
                        return false;
                    }
                    let woken = self.end.wait_timeout(ended, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        true
    }

    /// Counts the threads as abandoned calls until they have ended.
    pub(super) fn count_until_end(&self, pending: &Pending) {
        let mut end = lock(&self.ended);
        if end.threads > 0 && end.counted.is_none() {
            end.counted = Some(pending.count());
        }
    }

    /// Makes the thread look at what was seen aside. Returns when it does.
    pub(super) fn look_aside(&self) {
        self.waiting.interrupt();
    }

    /// The card in this reader changed in a way that the service does not report.
    pub(super) fn has_changed(&self, reader: &ReaderName) {
        if self.mailbox.is_closed() {
            return;
        }
        match self.aside.wait_for(reader) {
            // Its thread looks again and reports.
            Some(waiting) => waiting.interrupt(),
            None if self.aside.look_at(&self.address, reader) => self.look_aside(),
            None => {}
        }
    }
}

struct CancelOnDrop<'a>(&'a Shared);

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        self.0.waiting.cancel();
        self.0.aside.stop();
    }
}

impl WaitControl {
    /// Registers a wait in this context. Returns false if the thread was stopped.
    fn enter(&self, context: Canceller) -> bool {
        let mut wait = lock(&self.wait);
        let may_wait = !self.is_over(&wait);
        if may_wait {
            wait.context = Some(context);
        }
        may_wait
    }

    /// Returns whether no wait may begin.
    fn is_over(&self, wait: &CurrentWait) -> bool {
        wait.has_news || self.stopped.load(Ordering::SeqCst)
    }

    /// Allows waits again after [`interrupt`](WaitControl::interrupt). Returns whether there was
    /// one.
    pub(super) fn take_news(&self) -> bool {
        std::mem::take(&mut lock(&self.wait).has_news)
    }

    /// Ends the wait, on this thread, and prevents new ones until the news is taken.
    pub(super) fn interrupt(&self) {
        lock(&self.wait).has_news = true;
        self.cancel_until_left();
    }

    /// The wait is over. From now on the context may end because nothing uses it.
    fn leave(&self) {
        let mut wait = lock(&self.wait);
        wait.context = None;
        self.changed.notify_all();
        while wait.cancelling > 0 {
            let woken = self.changed.wait(wait);
            wait = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends the wait, and prevents new ones.
    ///
    /// `SCardCancel` is lost if the wait has not quite begun, so it has to be repeated; and like
    /// any call it can block. It therefore has its own thread. Without one, the wait runs to its
    /// end, and nothing waits for that.
    pub(super) fn cancel(self: &Arc<Self>) {
        if self.stopped.swap(true, Ordering::SeqCst) || lock(&self.wait).context.is_none() {
            return;
        }
        let waiting = Arc::clone(self);
        if let Err(error) = start_thread("scard-cancel", move || waiting.cancel_until_left()) {
            tracing::debug!(%error, "cannot start a thread to cancel a monitor's wait");
        }
    }

    fn cancel_until_left(&self) {
        let mut pause = FIRST_CANCEL;
        let mut wait = lock(&self.wait);
        while let Some(context) = wait.context.clone().filter(|_| self.is_over(&wait)) {
            wait.cancelling += 1;
            drop(wait);
            // A failure does not matter because the call is repeated.
            if let Err(Failure { code, .. }) = service::cancel(&context) {
                tracing::trace!(%code, "SCardCancel");
            }
            wait = lock(&self.wait);
            wait.cancelling -= 1;
            self.changed.notify_all();
            let is_waiting = |wait: &mut CurrentWait| wait.context.is_some();
            let waited = self.changed.wait_timeout_while(wait, pause, is_waiting);
            wait = waited.unwrap_or_else(PoisonError::into_inner).0;
            pause = pause.saturating_mul(2).min(LAST_CANCEL);
        }
    }
}

/// Marks the end of the watching thread, however it ends.
struct Closed(Ended);

impl Drop for Closed {
    fn drop(&mut self) {
        let shared = self.0.shared();
        shared.mailbox.close();
        shared.aside.stop();
    }
}

/// Marks the end of a thread, however it ends, or that it never started.
pub(super) struct Ended(Arc<Shared>);

impl Ended {
    /// Returns the marker for a thread that is about to start.
    pub(super) fn later(shared: &Arc<Shared>) -> Ended {
        lock(&shared.ended).threads += 1;
        Ended(Arc::clone(shared))
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        let mut end = lock(&self.0.ended);
        end.threads -= 1;
        if end.threads > 0 {
            return;
        }
        let counted = end.counted.take();
        drop(end);
        drop(counted);
        self.0.end.notify_all();
    }
}

/// A source of contexts whose waits can be cancelled.
pub(super) struct Stoppable {
    pub(super) address: Address,
    pub(super) waiting: Arc<WaitControl>,
}

/// A context in which a monitor waits.
pub(super) struct StoppableContext {
    context: OwnedContext,
    waiting: Arc<WaitControl>,
}

impl Source for Stoppable {
    type Service = StoppableContext;

    async fn establish(&self) -> Result<StoppableContext> {
        Ok(StoppableContext {
            context: OwnedContext::establish(&self.address, Limit::default()).await?,
            waiting: Arc::clone(&self.waiting),
        })
    }

    fn is_exact(&self) -> bool {
        self.address.way.is_exact()
    }
}

impl Source for Arc<Shared> {
    type Service = StoppableContext;

    async fn establish(&self) -> Result<StoppableContext> {
        let (address, waiting) = (self.address.clone(), Arc::clone(&self.waiting));
        Stoppable { address, waiting }.establish().await
    }

    fn is_exact(&self) -> bool {
        self.address.way.is_exact()
    }
}

impl Host for Arc<Shared> {
    fn post(&self, view: &View) {
        self.mailbox.post(view);
    }

    fn is_closed(&self) -> bool {
        self.mailbox.is_closed()
    }

    fn is_about(&self, name: &ReaderName) -> bool {
        self.readers.is_about(name)
    }

    fn was_mute(&self, name: &ReaderName) -> bool {
        aside::was_mute(name)
    }

    fn watch_aside(&self, name: &ReaderName, state: u32) -> bool {
        aside::watch_aside(self, name, state)
    }

    fn seen_aside(&self) -> Vec<SeenAside> {
        self.waiting.take_news();
        self.aside.take_seen()
    }

    fn pause(&self, pause: Duration) {
        self.mailbox.pause(pause);
    }

    /// An event that is already set while the service does not answer is meaningless.
    fn pause_without_service(&self, pause: Duration) {
        let is_new = |event: &StartedEvent| !event.wait(Duration::ZERO);
        let Some(event) = StartedEvent::access().filter(is_new) else {
            return self.pause(pause);
        };
        let deadline = now() + pause;
        while !self.mailbox.is_closed() {
            let left = deadline.saturating_duration_since(now());
            if left.is_zero() || event.wait(left.min(LAST_CANCEL)) {
                return;
            }
        }
    }

    fn now(&self) -> Instant {
        now()
    }
}

impl Service for StoppableContext {
    async fn list_readers(&mut self) -> Result<Vec<ReaderName>> {
        self.context.list_readers().await
    }

    async fn status_change(
        &mut self,
        limit: Duration,
        readers: &mut [ReaderQuery<'_>],
    ) -> Result<bool> {
        if limit.is_zero() {
            return self.context.status_change(limit, readers).await;
        }
        if !self.waiting.enter(self.context.canceller()) {
            let (operation, code) = (Operation::GetStatusChange, ReturnCode::E_CANCELLED);
            return Err(Error::new(operation, code));
        }
        let answer = self.context.status_change(limit, readers).await;
        self.waiting.leave();
        answer
    }
}

#[cfg(all(test, not(model)))]
mod tests {
    use super::*;

    /// Each look would need a context.
    #[test]
    fn a_closed_monitor_makes_no_queries() {
        let shared = Shared::new(Address::default(), CardFilter::new());
        shared.stop();
        shared.has_changed(&ReaderName::new("R").unwrap());
        assert!(shared.aside.take_seen().is_empty());
    }
}
