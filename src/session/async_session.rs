//! Sessions whose runs are futures.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, Waker};
use std::thread;
use std::time::Duration;

use super::{AsyncSessionGuard, Session, SessionBuilder, SessionCard, SessionError};
use crate::channel::{Limits, begin, started};
use crate::context::AsyncContext;
use crate::error::{BoxError, Error, Operation, Refusal, Result};
use crate::limits::{Abandoned, AbortHandle, GivenUp, Permit, UnderWay, Worker, do_elsewhere};
use crate::values::ReaderName;

/// A [`Session`] whose runs are futures. Requires the feature `async`.
///
/// The work is an ordinary closure that runs on the session's own thread and may block. Hooks and
/// observers are called there, too. Recovery, hooks, deadline and events are those of [`Session`].
///
/// ```no_run
/// # async fn demo() -> Result<(), Box<dyn std::error::Error>> {
/// use scard::apdu::ExchangeError;
/// use scard::{AsyncContext, AsyncSession, Command};
///
/// let context = AsyncContext::establish().await?;
/// let select = Command::select(b"\xA0\x00\x00\x03\x08")?;
/// let mut session = AsyncSession::builder(&context)
///     .setup(move |card| Ok::<_, ExchangeError>(card.exchange(&select)?.ok().map(drop)?))
///     .open_async()
///     .await?;
/// let get_challenge = Command::new(0x00, 0x84, 0x00, 0x00)?.expecting(8)?;
/// let challenge = session
///     .run(move |card| Ok::<_, ExchangeError>(card.exchange(&get_challenge)?.ok()?))
///     .await?;
/// println!("{challenge:02X?}");
/// # Ok(())
/// # }
/// ```
///
/// # Dropping a future
///
/// Dropping the future of a run stops the run: it makes no further call, sends no further command,
/// and abandons the call in progress as at a [time-out](crate::Card::set_timeout). Calls of the
/// work fail with [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled); whatever else the work
/// does cannot be interrupted.
///
/// The session stays usable. The next run waits for the dropped one to finish, then recovers and
/// sets up the card as after a deadline.
///
/// Dropping the session ends it without waiting.
pub struct AsyncSession {
    place: Place,
    /// Started by the first run.
    worker: Option<Worker>,
    /// The session's values when it was last here.
    reader: Option<ReaderName>,
    identity: Option<Vec<u8>>,
    /// Changes to apply before the next run, made while the session was away.
    changes: Vec<Change>,
}

/// The way of the session back from a dropped run.
type WayBack = Pin<Box<dyn Future<Output = Result<Box<Session>, Abandoned>> + Send>>;

type Change = Box<dyn FnOnce(&mut Session) + Send>;

/// The place of the session.
enum Place {
    Here(Box<Session>),
    OnItsWayBack(WayBack),
    /// With a future that owns it, or lost: its thread ended in a panic that was not the work's.
    Away,
}

/// The result of a run, or its panic.
type Outcome<T> = thread::Result<T>;

impl AsyncSession {
    /// Returns a builder for a session with the service of `context`;
    /// [`SessionBuilder::open_async`] opens it.
    pub fn builder(context: &AsyncContext) -> SessionBuilder {
        Session::builder(context.context())
    }

    /// Returns the reader that the card is in, or was last in; see [`Session::reader_name`]. After
    /// the future of a run was dropped, this is updated by the next run.
    pub fn reader_name(&self) -> Option<&ReaderName> {
        self.reader.as_ref()
    }

    /// Returns the identity that the session began with; see [`Session::identity`].
    pub fn identity(&self) -> Option<&[u8]> {
        self.identity.as_deref()
    }

    /// Forgets the identity: see [`Session::forget_identity`].
    pub fn forget_identity(&mut self) {
        self.identity = None;
        self.change(Session::forget_identity);
    }

    /// Replaces the credentials for the next run; see [`Session::set_login`].
    pub fn set_login<E: Into<BoxError>>(
        &mut self,
        login: impl FnMut(&mut SessionCard<'_>) -> Result<(), E> + Send + 'static,
    ) {
        self.change(move |session| session.set_login(login));
    }

    /// Sets the time-out of the next runs; see [`Session::set_timeout`].
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.change(move |session| session.set_timeout(timeout));
    }

    /// Changes the session now or, if it is away, before the next run.
    fn change(&mut self, change: impl FnOnce(&mut Session) + Send + 'static) {
        match &mut self.place {
            Place::Here(session) => change(session),
            Place::OnItsWayBack(_) | Place::Away => self.changes.push(Box::new(change)),
        }
    }

    /// Releases the card now; see [`Session::release`].
    ///
    /// # Errors
    ///
    /// Fails only if the session's thread ended in a panic of the library.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it was polled, or while a dropped run finishes, the card is
    /// not released. Later, the card is released even if the future is dropped.
    pub async fn release(&mut self) -> Result<()> {
        self.perform(Session::release).await
    }

    /// Performs a piece of work in a transaction, after the set-up. Its commands reach the card at
    /// most once. See [`Session::run`].
    ///
    /// The [time-out](SessionBuilder::timeout) starts when a dropped run has finished.
    ///
    /// # Errors
    ///
    /// Those of [`Session::run`], and [`SessionError::Card`] if no thread can be started; the session
    /// stays usable.
    ///
    /// # Panics
    ///
    /// Panics if the work does. The session stays usable.
    ///
    /// # Platform notes
    ///
    /// Those of [`Session::run`].
    ///
    /// # Cancel safety
    ///
    /// [Dropping the future](AsyncSession#dropping-a-future) stops the run before its next command.
    /// The work can report its progress through shared state.
    pub async fn run<T, E>(
        &mut self,
        work: impl FnMut(&mut SessionCard<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, SessionError>
    where
        T: Send + 'static,
        E: Into<BoxError>,
    {
        let outcome = self.perform(|session| session.run(work)).await;
        outcome.map_err(SessionError::Card)?
    }

    /// Performs a piece of work that can be repeated. See [`Session::run_restartable`].
    ///
    /// # Errors
    ///
    /// Those of [`Session::run_restartable`].
    ///
    /// # Panics
    ///
    /// Panics if the work does. The session stays usable.
    ///
    /// # Cancel safety
    ///
    /// That of [`run`](AsyncSession::run).
    pub async fn run_restartable<T, E>(
        &mut self,
        work: impl FnMut(&mut SessionCard<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, SessionError>
    where
        T: Send + 'static,
        E: Into<BoxError>,
    {
        let outcome = self.perform(|session| session.run_restartable(work)).await;
        outcome.map_err(SessionError::Card)?
    }

    /// Begins a piece of work and returns its card, whose calls are futures. See
    /// [`Session::begin`].
    ///
    /// ```no_run
    /// # async fn demo(session: &mut scard::AsyncSession) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut card = session.begin().await?;
    /// let challenge = card.transmit(b"\x00\x84\x00\x00\x08").await?;
    /// card.end().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The [time-out](SessionBuilder::timeout) starts here and covers the whole work.
    ///
    /// # Errors
    ///
    /// Those of [`Session::begin`].
    ///
    /// # Cancel safety
    ///
    /// That of [`run`](AsyncSession::run). If the work began anyway, it ends at once.
    pub async fn begin(&mut self) -> Result<AsyncSessionGuard<'_>, SessionError> {
        AsyncSessionGuard::begin(self).await
    }

    /// Checks that the card is still there, and if not, recovers now. See [`Session::keep_alive`].
    ///
    /// # Errors
    ///
    /// Those of [`Session::keep_alive`].
    ///
    /// # Cancel safety
    ///
    /// That of [`run`](AsyncSession::run): the next run recovers. If the future is dropped while
    /// the status is requested, the next run connects again.
    pub async fn keep_alive(&mut self) -> Result<(), SessionError> {
        let outcome = self.perform(Session::keep_alive).await;
        outcome.map_err(SessionError::Card)?
    }

    /// Returns the blocking session; [`AsyncSession::from`] is the inverse. Waits only for a
    /// dropped run to finish.
    ///
    /// # Errors
    ///
    /// Fails only if the session's thread ended in a panic of the library.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the session.
    pub async fn into_session(mut self) -> Result<Session> {
        let mut session = self.come_back().await?;
        for change in self.changes.drain(..) {
            change(&mut session);
        }
        Ok(*session)
    }

    /// Returns the session, after any dropped run has finished.
    async fn come_back(&mut self) -> Result<Box<Session>> {
        let none = Abandoned::before_it_began(GivenUp::NoThread);
        let back = match &mut self.place {
            // Remains in place if this future is dropped.
            Place::OnItsWayBack(way_back) => Some(way_back.await),
            Place::Here(_) | Place::Away => None,
        };
        let place = std::mem::replace(&mut self.place, Place::Away);
        let back = match (back, place) {
            (Some(back), _) => back,
            (None, Place::Here(session)) => Ok(session),
            (None, _) => Err(none),
        };
        back.map_err(lost)
    }

    fn put_back(&mut self, session: Box<Session>) {
        self.reader = session.reader_name().cloned();
        self.identity = session.identity().map(<[u8]>::to_vec);
        self.place = Place::Here(session);
    }

    /// Ends the work of a guard, if there is any, after the call in progress and without waiting.
    pub(super) fn end_work_later(&mut self) {
        if started(&mut self.worker).is_err() {
            // The next run ends the work.
            return;
        }
        let way_back: WayBack = match std::mem::replace(&mut self.place, Place::Away) {
            Place::Here(session) if session.state.suspended.is_none() => {
                self.place = Place::Here(session);
                return;
            }
            Place::Here(session) => Box::pin(std::future::ready(Ok(session))),
            Place::OnItsWayBack(way_back) => way_back,
            Place::Away => return,
        };
        let job = |way_back: &mut WayBack, _: &Permit<'_>| {
            // The call in progress on this thread is over.
            match way_back
                .as_mut()
                .poll(&mut TaskContext::from_waker(Waker::noop()))
            {
                Poll::Ready(Ok(mut session)) => {
                    session.end_suspended_work();
                    Ok(session)
                }
                Poll::Ready(Err(abandoned)) => Err(abandoned),
                Poll::Pending => Err(Abandoned::before_it_began(GivenUp::NoThread)),
            }
        };
        if let Ok(under_way) = begin(&mut self.worker, way_back, &Limits::default(), job) {
            self.place = Place::OnItsWayBack(Box::pin(async { under_way.await?.1 }));
        }
    }

    /// Calls `f` with the session on its thread.
    pub(super) async fn perform<T: Send + 'static>(
        &mut self,
        f: impl FnOnce(&mut Session) -> T + Send + 'static,
    ) -> Result<T> {
        // Without a thread, `f` would lose the session.
        started(&mut self.worker).map_err(lost)?;
        let session = self.come_back().await?;
        let stop = AbortHandle::within(session.abort_handle());
        let changes = std::mem::take(&mut self.changes);
        let stopped_by = stop.clone();
        let job = move |session: &mut Box<Session>, _: &Permit<'_>| {
            for change in changes {
                change(session);
            }
            // A panic of the work is passed to its caller, as in a blocking session.
            session.stopped_by(&stopped_by, |session| {
                catch_unwind(AssertUnwindSafe(|| f(session)))
            })
        };
        let run = Run {
            under_way: Some(
                begin(&mut self.worker, session, &Limits::default(), job).map_err(lost)?,
            ),
            session: self,
            stop,
        };
        match run.await? {
            Ok(given) => Ok(given),
            Err(panic) => resume_unwind(panic),
        }
    }
}

/// Returns the error of a session whose thread has ended.
#[cold]
fn lost(abandoned: Abandoned) -> Error {
    Error::given_up(Operation::Connect, Refusal::given_up(abandoned))
}

/// A run while its future exists.
struct Run<'a, T: Send + 'static> {
    session: &'a mut AsyncSession,
    under_way: Option<UnderWay<(Box<Session>, Outcome<T>)>>,
    stop: AbortHandle,
}

impl<T: Send + 'static> Future for Run<'_, T> {
    type Output = Result<Outcome<T>>;

    fn poll(self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let Some(under_way) = &mut this.under_way else {
            let none = Abandoned::before_it_began(GivenUp::NoThread);
            return Poll::Ready(Err(lost(none)));
        };
        let Poll::Ready(outcome) = Pin::new(under_way).poll(context) else {
            return Poll::Pending;
        };
        this.under_way = None;
        Poll::Ready(match outcome {
            Ok((session, outcome)) => {
                this.session.put_back(session);
                Ok(outcome)
            }
            Err(abandoned) => Err(lost(abandoned)),
        })
    }
}

impl<T: Send + 'static> Drop for Run<'_, T> {
    fn drop(&mut self) {
        if let Some(under_way) = self.under_way.take() {
            self.stop.abort();
            let back = async { under_way.await.map(|(session, _)| session) };
            self.session.place = Place::OnItsWayBack(Box::pin(back));
        }
    }
}

impl From<Session> for AsyncSession {
    fn from(session: Session) -> AsyncSession {
        let mut this = AsyncSession {
            place: Place::Away,
            worker: None,
            reader: None,
            identity: None,
            changes: Vec::new(),
        };
        this.put_back(Box::new(session));
        this
    }
}

impl Drop for AsyncSession {
    fn drop(&mut self) {
        match (
            std::mem::replace(&mut self.place, Place::Away),
            &self.worker,
        ) {
            (Place::Here(session), Some(worker)) => worker.do_later(move || drop(session)),
            (Place::Here(session), None) => do_elsewhere(move || drop(session)),
            // It ends there when the run has finished.
            (Place::OnItsWayBack(_) | Place::Away, _) => {}
        }
    }
}

impl fmt::Debug for AsyncSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncSession")
            .field("reader_name", &self.reader)
            .finish_non_exhaustive()
    }
}

impl SessionBuilder {
    /// Connects, identifies the card and sets it up, for runs that are futures. Requires the
    /// feature `async`.
    ///
    /// # Errors
    ///
    /// Those of [`SessionBuilder::open`].
    ///
    /// # Panics
    ///
    /// Panics if a hook does.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the calls, with the guarantees of a
    /// [run](AsyncSession#dropping-a-future), and ends the session.
    pub async fn open_async(self) -> Result<AsyncSession, SessionError> {
        let mut session = AsyncSession::from(self.build());
        let opened = session.perform(Session::open).await;
        opened.map_err(SessionError::Card)??;
        Ok(session)
    }
}
