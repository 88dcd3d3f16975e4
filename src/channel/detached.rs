//! Channels that never block their owner's thread: calls are futures, and drops run elsewhere, on the
//! worker or as tasks.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use super::{Attempts, Channel, Limits, Opening};
use crate::apdu::CommandBytes;
use crate::channel::call::{About, Call, Job};
use crate::connection::Connection;
use crate::error::{Operation, Refusal, Result};
use crate::limits::{
    Abandoned, Answer, GivenUp, Here, Permit, UnderWay, Worker, begin_task, can_have_tasks,
    do_elsewhere, hand_over_task, spawn_task,
};
use crate::service::{Limit, block_on};
use crate::trace;
use crate::values::Disposition;

/// The state of a channel that never blocks its owner's thread.
#[derive(Debug, Default)]
pub(super) struct Detached {
    /// The end of a dropped transaction, which was not waited for. The connection comes back with
    /// it.
    on_its_way_back: Option<Box<WayBack>>,
}

/// What a call returns: the connection, and its result.
type Back<T> = (Box<Connection>, Result<T>);

type WayBack = UnderWay<Back<()>>;

impl Opening {
    /// Like [`Opening::open`].
    pub(crate) async fn open_detached(self) -> Result<Channel> {
        if let Some(refusal) = self.refusal() {
            return Err(self.refuse(refusal));
        }
        let mut worker = None;
        let prevented = self.prevented();
        let attempts = self.attempts(&prevented);
        let begun = match self.target.home.address.way.ends_calls() {
            true => {
                let connect = |here, answer| attempts.make_in_task(here, answer);
                self.limits.begin_task(connect)
            }
            false => {
                let connect = |(): &mut (), permit: &Permit<'_>| block_on(attempts.make(permit));
                begin(&mut worker, (), &self.limits, connect)
            }
        };
        let opened = match begun {
            Ok(under_way) => {
                under_way.set_discard(|((), opened)| {
                    if let Ok(connection) = opened {
                        end_unclaimed(Box::new(connection), None, Disposition::Leave);
                    }
                });
                under_way.await
            }
            Err(abandoned) => Err(abandoned),
        };
        match opened {
            Ok(((), opened)) => {
                let mut channel = self.channel(opened?, worker);
                channel.detach();
                Ok(channel)
            }
            Err(abandoned) => Err(self.given_up(abandoned, &prevented)),
        }
    }
}

impl Attempts {
    async fn make_in_task(self, here: Here, answer: Answer<((), Result<Connection>)>) {
        let mut opened = self.make(&here.permit()).await;
        if let Some(abandoned) = here.gave_up_on(&opened) {
            return answer.give_up(abandoned);
        }
        if let Ok(connection) = &mut opened {
            connection.set_limit(Limit::default());
        }
        answer.give(((), opened));
    }
}

/// Ends a connection that no one wants any more: as a task, or on this thread, a worker's.
fn end_unclaimed(
    mut connection: Box<Connection>,
    deadline: Option<Instant>,
    disposition: Disposition,
) {
    match connection.ends_calls() {
        true => spawn_task(move |limit| end(connection, limit, deadline, disposition)),
        false => block_on(end(connection, Limit::default(), deadline, disposition)),
    }
}

impl Limits {
    /// Makes a call as a task, within these limits.
    pub(crate) fn hand_over_task<T: Send + 'static, F: Future<Output = ()> + 'static>(
        &self,
        job: impl FnOnce(Here, Answer<T>) -> F + Send + 'static,
    ) -> Result<UnderWay<T>, Abandoned> {
        let (deadline, abort) = (self.deadline(), self.abort.as_ref());
        hand_over_task(deadline, abort, &self.pending, job)
    }

    /// Like [`Limits::hand_over_task`], but begins the call on this thread.
    fn begin_task<T: Send + 'static, F: Future<Output = ()> + Send + 'static>(
        &self,
        job: impl FnOnce(Here, Answer<T>) -> F,
    ) -> Result<UnderWay<T>, Abandoned> {
        let (deadline, abort) = (self.deadline(), self.abort.as_ref());
        begin_task(deadline, abort, &self.pending, job)
    }
}

impl<J: Job> Call<J> {
    async fn make_in_task(
        self,
        mut connection: Box<Connection>,
        here: Here,
        answer: Answer<Back<J::Given>>,
    ) {
        connection.set_limit(here.limit().clone());
        let given = self.make(&mut connection, &here.permit()).await;
        connection.set_limit(here.rest());
        if let Some(abandoned) = connection.gave_up(&given, &here) {
            connection.abandon(&here);
            return answer.give_up(abandoned);
        }
        connection.set_limit(Limit::default());
        answer.give((connection, given));
    }
}

impl Channel {
    /// Makes the calls futures from now on.
    pub(crate) fn detach(&mut self) {
        self.detached.get_or_insert_default();
    }

    /// Waits for a connection that is on its way back; then calls are made on the caller's thread.
    pub(crate) async fn attach(&mut self) -> Result<()> {
        let about = About::new(Operation::EndTransaction);
        if self.is_on_its_way_back() {
            let limits = self.limits_of(about)?;
            self.come_back(about, &limits, limits.deadline()).await?;
        }
        self.detached = None;
        // The first call with a limit starts a new one.
        self.worker = None;
        Ok(())
    }

    pub(super) fn is_on_its_way_back(&self) -> bool {
        let detached = self.detached.as_ref();
        detached.is_some_and(|detached| detached.on_its_way_back.is_some())
    }

    /// Like [`Channel::call`].
    pub(crate) async fn call_detached<J: Job>(&mut self, call: Call<J>) -> Result<J::Given> {
        let about = call.about;
        call.check(&self.reader)?;
        if !self.is_on_its_way_back() {
            self.usable(about)?;
        }
        let mut limits = self.limits_of(about)?;
        let deadline = limits.deadline();
        self.come_back(about, &limits, deadline).await?;
        self.prepare_thread(about)?;
        let connection = self.take(about)?;
        // Coming back was a part of the call.
        limits.change(|limits| (limits.timeout, limits.until) = (None, deadline));
        match self.begin_call(connection, &limits, call) {
            Ok(under_way) => {
                let away = Away {
                    channel: self,
                    about,
                    under_way,
                    over: false,
                };
                away.await
            }
            Err(abandoned) => Err(self.give_up(about, abandoned)),
        }
    }

    /// Starts the thread for a call if necessary. Fails before the connection leaves the channel, so
    /// that it is not lost.
    fn prepare_thread(&mut self, about: About) -> Result<()> {
        let is_there = match self.usable(about)?.ends_calls() {
            true => can_have_tasks(),
            false => started(&mut self.worker).is_ok(),
        };
        match is_there {
            true => Ok(()),
            false => {
                let abandoned = Abandoned::before_it_began(GivenUp::NoThread);
                Err(self.refuse(about, Refusal::given_up(abandoned)))
            }
        }
    }

    /// Begins a call, as a task if it can be one.
    fn begin_call<J: Job>(
        &mut self,
        mut connection: Box<Connection>,
        limits: &Limits,
        call: Call<J>,
    ) -> Result<UnderWay<Back<J::Given>>, Abandoned> {
        let under_way = match connection.ends_calls() {
            true => limits
                .begin_task(move |here, answer| call.make_in_task(connection, here, answer))?,
            false => begin(&mut self.worker, connection, limits, call.on_worker())?,
        };
        under_way.set_discard(|(connection, _)| {
            end_unclaimed(connection, None, Disposition::Leave);
        });
        Ok(under_way)
    }

    /// Sends a command.
    pub(crate) async fn transmit_detached(&mut self, command: CommandBytes<'_>) -> Result<&[u8]> {
        let len = self.call_detached(Call::transmit(command)).await?;
        self.received(len)
    }

    /// Waits for the end of a dropped transaction.
    async fn come_back(
        &mut self,
        about: About,
        limits: &Limits,
        deadline: Option<Instant>,
    ) -> Result<()> {
        let Some(under_way) = self.way_back() else {
            return Ok(());
        };
        if under_way.is_forked() {
            return Err(self.refuse(about, Refusal::FORKED));
        }
        let came = match under_way.set_limits(deadline, limits.abort.as_ref()) {
            // Stays in place if this future is dropped, which has not begun a call of its own.
            Ok(()) => under_way.await,
            Err(abandoned) => Err(abandoned),
        };
        if let Some(detached) = &mut self.detached {
            detached.on_its_way_back = None;
        }
        match came {
            Ok((connection, ended)) => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "ending a dropped transaction failed");
                }
                self.connection = Some(connection);
                Ok(())
            }
            Err(abandoned) => Err(self.give_up(about, abandoned)),
        }
    }

    fn way_back(&mut self) -> Option<&mut WayBack> {
        self.detached.as_mut()?.on_its_way_back.as_deref_mut()
    }

    /// Starts ending the transaction, if there is one, without waiting.
    pub(crate) fn end_transaction_later(&mut self) {
        let Some(connection) = self
            .connection
            .take_if(|it| it.in_transaction() && !it.is_forked())
        else {
            return;
        };
        self.agreed = connection.agreed();
        let call = Call::end_transaction(Disposition::Leave);
        let limits = Limits::default().counted_with(&self.limits);
        match self.begin_call(connection, &limits, call) {
            Ok(under_way) => {
                let detached = self.detached.get_or_insert_default();
                detached.on_its_way_back = Some(Box::new(under_way));
            }
            // The transaction ended with the connection.
            Err(_) => self.lose_connection(),
        }
    }

    /// Starts ending the connection, without waiting.
    pub(super) fn end_later(&mut self) {
        let Some(mut connection) = self.connection.take() else {
            let (deadline, disposition) = (
                self.limits.of_clean_up().deadline(),
                self.disposition_on_drop,
            );
            if let Some(way_back) = self.way_back().filter(|it| !it.is_forked()) {
                way_back.set_discard(move |(connection, _)| {
                    end_unclaimed(connection, deadline, disposition);
                });
                way_back.continue_unclaimed();
            }
            return;
        };
        // A forked child has no worker; the drop of the connection handles that.
        if connection.is_forked() || connection.is_over() {
            return;
        }
        let disposition = self.disposition_on_drop;
        let deadline = self.limits.of_clean_up().deadline();
        if connection.ends_calls() && can_have_tasks() {
            return end_unclaimed(connection, deadline, disposition);
        }
        let end = move || block_on(end(connection, Limit::default(), deadline, disposition));
        match &self.worker {
            Some(worker) => worker.do_later(end),
            None => do_elsewhere(end),
        }
    }
}

async fn end(
    mut connection: Box<Connection>,
    limit: Limit,
    deadline: Option<Instant>,
    disposition: Disposition,
) {
    connection.set_limit(limit);
    let permit = Permit::until(deadline.as_ref());
    connection.end(&permit, disposition).await;
}

/// A call while its future exists. The connection comes back with it if possible.
struct Away<'a, T: Send + 'static> {
    channel: &'a mut Channel,
    about: About,
    under_way: UnderWay<Back<T>>,
    over: bool,
}

impl<T: Send + 'static> Future for Away<'_, T> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        let this = self.get_mut();
        let Poll::Ready(outcome) = Pin::new(&mut this.under_way).poll(context) else {
            return Poll::Pending;
        };
        this.over = true;
        Poll::Ready(match outcome {
            Ok((connection, given)) => {
                this.channel.connection = Some(connection);
                given
            }
            Err(abandoned) => Err(this.channel.give_up(this.about, abandoned)),
        })
    }
}

impl<T: Send + 'static> Drop for Away<'_, T> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        match self.under_way.leave() {
            // The call had returned; only its result is lost.
            Some((connection, given)) => {
                self.channel.connection = Some(connection);
                if self.about.operation == Operation::BeginTransaction && given.is_ok() {
                    self.channel.end_transaction_later();
                }
            }
            None => {
                let (operation, reader_name) = (self.about.operation, self.channel.reader_name());
                tracing::debug!(%operation, %reader_name, "the future of a call was dropped");
                self.channel.lose_connection();
            }
        }
    }
}

/// Begins a call on the worker, starting one if necessary.
pub(crate) fn begin<S: Send + 'static, T: Send + 'static>(
    worker: &mut Option<Worker>,
    subject: S,
    limits: &Limits,
    call: impl FnOnce(&mut S, &Permit<'_>) -> T + Send + 'static,
) -> Result<UnderWay<(S, T)>, Abandoned> {
    let (deadline, abort) = (limits.deadline(), limits.abort.as_ref());
    let call = trace::in_span(call);
    started(worker)?.begin(subject, deadline, abort, &limits.pending, call)
}

/// Returns the worker, starting one if necessary.
pub(crate) fn started(worker: &mut Option<Worker>) -> Result<&Worker, Abandoned> {
    if worker.as_ref().is_none_or(Worker::is_forked) {
        *worker = Worker::start();
    }
    let none = || Abandoned::before_it_began(GivenUp::NoThread);
    worker.as_ref().ok_or_else(none)
}
