//! The thread of a monitor: how it waits, and how a wait is ended from outside.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::filter::CardFilter;
use super::mailbox::Mailbox;
use super::view::View;
use super::watcher::{Host, Watcher};
use crate::codes::{Platform, ReturnCode};
use crate::connection::OwnedContext;
use crate::error::{Error, Operation, Result};
use crate::limits::{Pending, Wake};
use crate::look::{Service, Source};
use crate::service::{self, ContextHandle, Process, ReaderQuery};
use crate::sync::{AtomicBool, Condvar, Mutex, lock, now, thread};
use crate::values::{ReaderName, Scope};

/// How often a wait in the service is tried to be ended.
const FIRST_CANCEL: Duration = Duration::from_micros(200);
const LAST_CANCEL: Duration = Duration::from_millis(50);

/// What the monitor and its thread have in common.
#[derive(Debug)]
pub(super) struct Shared {
    scope: Scope,
    /// The readers that are watched.
    readers: CardFilter,
    /// The process that the thread runs in. A forked child has none.
    process: Process,
    pub(super) mailbox: Mailbox,
    waiting: Arc<WaitControl>,
}

/// The waits of the thread, and its end.
#[derive(Debug, Default)]
struct WaitControl {
    stopped: AtomicBool,
    wait: Mutex<CurrentWait>,
    changed: Condvar,
    ended: Mutex<End>,
    end: Condvar,
}

/// Whether the thread has ended, and where it is counted until then.
#[derive(Debug, Default)]
struct End {
    is_there: bool,
    counted: Option<Pending>,
}

/// A wait, or that there is none.
#[derive(Debug, Default)]
struct CurrentWait {
    context: Option<ContextHandle>,
    /// The one who ends the wait is in a call with the context, which has to be there as long.
    is_cancelling: bool,
}

impl Wake for Shared {
    fn wake(&self) {
        self.stop();
    }
}

impl Shared {
    /// Starts the thread, and does not wait for it; `None` if there can be none.
    pub(super) fn start(
        scope: Scope,
        use_changes: bool,
        readers: CardFilter,
    ) -> Option<Arc<Shared>> {
        let shared = Arc::new(Shared {
            scope,
            readers,
            process: Process::current(),
            mailbox: Mailbox::default(),
            waiting: Arc::default(),
        });
        let watched = Arc::clone(&shared);
        let watch = move || {
            let ended = Ended(watched);
            Watcher::new(&ended.0, Platform::CURRENT, use_changes).run();
        };
        let thread = thread::Builder::new().name("scard-monitor".to_owned());
        thread.spawn(watch).ok()?;
        Some(shared)
    }

    pub(super) fn scope(&self) -> Scope {
        self.scope
    }

    /// Whether this process is a child of the one that started the thread.
    pub(super) fn is_forked(&self) -> bool {
        self.process.is_forked()
    }

    /// Stops for good, and never blocks.
    ///
    /// In a forked child there is nothing to stop: the wait that it would cancel is that of
    /// its parent, and the thread may have held the locks.
    pub(super) fn stop(&self) {
        if self.is_forked() {
            return;
        }
        // Also if the waker of an executor panics.
        let _ends_the_wait = CancelOnDrop(&self.waiting);
        self.mailbox.close();
    }

    /// Waits until the thread has released its context, but no longer than this. Says whether it
    /// has.
    pub(super) fn wait_for_end(&self, limit: Option<Duration>) -> bool {
        self.waiting.wait_for_end(limit)
    }

    /// Counts the thread among the calls that were given up, until it has ended.
    pub(super) fn count_until_end(&self, pending: &Pending) {
        let mut end = lock(&self.waiting.ended);
        if !end.is_there && end.counted.is_none() {
            pending.add();
            end.counted = Some(pending.clone());
        }
    }
}

struct CancelOnDrop<'a>(&'a Arc<WaitControl>);

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl WaitControl {
    /// The thread is about to wait in this context; not any more if it was stopped.
    fn enter(&self, context: ContextHandle) -> bool {
        let mut wait = lock(&self.wait);
        let stopped = self.stopped.load(Ordering::SeqCst);
        if !stopped {
            wait.context = Some(context);
        }
        !stopped
    }

    /// The thread waits no longer. From now on the context may end: nobody uses it.
    fn leave(&self) {
        let mut wait = lock(&self.wait);
        wait.context = None;
        self.changed.notify_all();
        while wait.is_cancelling {
            let woken = self.changed.wait(wait);
            wait = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends the wait, and has none begin.
    ///
    /// `SCardCancel` is lost if the wait has not quite begun, so that it has to be repeated;
    /// and it can block, as any call. So it has a thread of its own. Without one, the wait goes
    /// on to its end, and nobody waits for that.
    fn cancel(self: &Arc<Self>) {
        if self.stopped.swap(true, Ordering::SeqCst) || lock(&self.wait).context.is_none() {
            return;
        }
        let waiting = Arc::clone(self);
        let thread = thread::Builder::new().name("scard-cancel".to_owned());
        if let Err(error) = thread.spawn(move || waiting.cancel_until_left()) {
            tracing::debug!(%error, "there is no thread that ends a monitor's wait");
        }
    }

    fn cancel_until_left(&self) {
        let mut pause = FIRST_CANCEL;
        let mut wait = lock(&self.wait);
        while let Some(context) = wait.context {
            wait.is_cancelling = true;
            drop(wait);
            // It is repeated, so that it does not matter if one fails.
            if let Err(code) = service::cancel(context) {
                tracing::trace!(%code, "SCardCancel");
            }
            wait = lock(&self.wait);
            wait.is_cancelling = false;
            self.changed.notify_all();
            let is_waiting = |wait: &mut CurrentWait| wait.context.is_some();
            let waited = self.changed.wait_timeout_while(wait, pause, is_waiting);
            wait = waited.unwrap_or_else(PoisonError::into_inner).0;
            pause = pause.saturating_mul(2).min(LAST_CANCEL);
        }
    }

    fn end(&self) {
        let mut end = lock(&self.ended);
        end.is_there = true;
        if let Some(pending) = end.counted.take() {
            pending.remove();
        }
        drop(end);
        self.end.notify_all();
    }

    fn wait_for_end(&self, limit: Option<Duration>) -> bool {
        let deadline = limit.and_then(|limit| now().checked_add(limit));
        let mut ended = lock(&self.ended);
        while !ended.is_there {
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
}

/// The thread has ended, however it did.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.mailbox.close();
        self.0.waiting.end();
    }
}

/// A context that a monitor waits in.
pub(super) struct StoppableContext {
    context: OwnedContext,
    waiting: Arc<WaitControl>,
}

impl Source for Arc<Shared> {
    type Service = StoppableContext;

    fn establish(&self) -> Result<StoppableContext> {
        Ok(StoppableContext {
            context: OwnedContext::establish(self.scope)?,
            waiting: Arc::clone(&self.waiting),
        })
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

    fn pause(&self, pause: Duration) {
        self.mailbox.pause(pause);
    }

    fn now(&self) -> Instant {
        now()
    }
}

impl Service for StoppableContext {
    fn list_readers(&self) -> Result<Vec<ReaderName>> {
        self.context.list_readers()
    }

    fn status_change(
        &self,
        limit: Option<Duration>,
        readers: &mut [ReaderQuery<'_>],
    ) -> Result<bool> {
        if limit.is_some_and(|limit| limit.is_zero()) {
            return self.context.status_change(limit, readers);
        }
        if !self.waiting.enter(self.context.handle()) {
            let (operation, code) = (Operation::GetStatusChange, ReturnCode::E_CANCELLED);
            return Err(Error::new(operation, code));
        }
        let answer = self.context.status_change(limit, readers);
        self.waiting.leave();
        answer
    }
}
