//! Waiting for a card to come or go.

use std::time::{Duration, Instant};

use super::filter::CardFilter;
use super::mailbox::Closed;
use super::view::View;
use super::{Monitor, MonitorOptions, given_up};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Operation, Refusal, Result};
use crate::limits::GivenUp;
use crate::sync::now;
use crate::values::{ReaderName, ReaderState};

impl Context {
    /// Waits for a card that answers; one that is there already is found at once. Of several,
    /// it is the one in the first reader.
    ///
    /// ```no_run
    /// # fn demo(context: &scard::Context) -> scard::Result<()> {
    /// use std::time::Duration;
    /// use scard::{CardFilter, ConnectOptions};
    ///
    /// let minute = Some(Duration::from_secs(60));
    /// let found = context.wait_for_card(&CardFilter::new(), minute)?;
    /// let mut card = context.connect(found.reader_name(), ConnectOptions::new())?;
    /// // … and when the work is done:
    /// let this_card = CardFilter::new().same_card(&found);
    /// context.wait_for_removal(&this_card, minute)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Readers that are plugged in meanwhile count, and so does a service that comes back. To
    /// stop it from another thread, use [`Monitor::wait_for_card`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::DeadlineExceeded`] if there was none in
    /// time, and what the service answers if waiting does not help, such as
    /// `SCARD_W_SECURITY_VIOLATION`.
    pub fn wait_for_card(
        &self,
        filter: &CardFilter,
        timeout: Option<Duration>,
    ) -> Result<ReaderState> {
        let deadline = end(timeout);
        let mut monitor = self.monitor_for(timeout)?;
        let found = monitor.card_until(filter, None, deadline)?;
        // Who is late already does not wait for the end, too.
        monitor.patient = found.is_some();
        found.ok_or_else(no_card)
    }

    /// Waits until no reader has such a card, mute ones included. A reader that is unplugged
    /// has none, and neither has a service that ended.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::DeadlineExceeded`] if there is still
    /// one then, or it is not known, and what the service answers if waiting does not help,
    /// such as `SCARD_W_SECURITY_VIOLATION`.
    pub fn wait_for_removal(&self, filter: &CardFilter, timeout: Option<Duration>) -> Result<()> {
        let deadline = end(timeout);
        let mut monitor = self.monitor_for(timeout)?;
        let answer = monitor.removal_until(filter, deadline);
        monitor.patient = answer.is_ok();
        answer
    }
}

impl Context {
    /// A monitor for one wait.
    fn monitor_for(&self, timeout: Option<Duration>) -> Result<Monitor> {
        let pending = self.limits().pending();
        if timeout.is_some() && pending.is_full() {
            let refusal = Refusal::TOO_MANY_PENDING;
            return Err(Error::given_up(Operation::GetStatusChange, refusal));
        }
        Monitor::start(self.scope(), MonitorOptions::new(), pending)
    }
}

impl Monitor {
    /// [`Context::wait_for_card`] with this monitor. It looks at what is there now, and takes
    /// no events.
    ///
    /// # Errors
    ///
    /// Those of [`Context::wait_for_card`], and
    /// [`ErrorKind::Cancelled`] if the monitor was stopped.
    pub fn wait_for_card(
        &mut self,
        filter: &CardFilter,
        timeout: Option<Duration>,
    ) -> Result<ReaderState> {
        let found = self.card_until(filter, None, end(timeout))?;
        found.ok_or_else(no_card)
    }

    /// [`Context::wait_for_removal`] with this monitor. It looks at what is there now, and
    /// takes no events.
    ///
    /// # Errors
    ///
    /// Those of [`Context::wait_for_removal`], and
    /// [`ErrorKind::Cancelled`] if the monitor was stopped.
    pub fn wait_for_removal(
        &mut self,
        filter: &CardFilter,
        timeout: Option<Duration>,
    ) -> Result<()> {
        self.removal_until(filter, end(timeout))
    }

    /// The first card that answers, or one in the reader that is preferred; none at the
    /// deadline.
    pub(crate) fn card_until(
        &self,
        filter: &CardFilter,
        preferred: Option<&ReaderName>,
        deadline: Option<Instant>,
    ) -> Result<Option<ReaderState>> {
        let answer = |view: &View| card_in(view, filter, preferred);
        self.look_until(deadline, answer)?.transpose()
    }

    fn removal_until(&self, filter: &CardFilter, deadline: Option<Instant>) -> Result<()> {
        let is_gone = |view: &View| no_card_in(view, filter);
        self.look_until(deadline, is_gone)?
            .unwrap_or_else(|| Err(still_there()))
    }

    /// Looks at what is known until it is enough for an answer; none at the deadline.
    fn look_until<T>(
        &self,
        deadline: Option<Instant>,
        mut answer: impl FnMut(&View) -> Option<T>,
    ) -> Result<Option<T>> {
        let mut known = None;
        loop {
            if self.is_stopped() {
                return Err(given_up(GivenUp::Aborted));
            }
            match self.shared.mailbox.news(known, deadline) {
                Ok(Some((number, view))) => {
                    known = Some(number);
                    if let Some(answer) = answer(&view) {
                        return Ok(Some(answer));
                    }
                }
                Ok(None) => return Ok(None),
                Err(Closed) => {}
            }
        }
    }
}

/// The card that is waited for, or why there will be none.
pub(super) fn card_in(
    view: &View,
    filter: &CardFilter,
    preferred: Option<&ReaderName>,
) -> Option<Result<ReaderState>> {
    if let Some(error) = view.failure() {
        return Some(Err(error.clone()));
    }
    filter.choose(view.cards(), preferred).cloned().map(Ok)
}

/// Whether all of these cards are gone, or why that will not be known.
///
/// A service that has ended has no cards. One that refuses to answer does not say.
pub(super) fn no_card_in(view: &View, filter: &CardFilter) -> Option<Result<()>> {
    if let Some(error) = view.failure() {
        return Some(Err(error.clone()));
    }
    let refusal = view.service.lost.as_ref();
    if refusal.is_some_and(|error| error.kind() != ErrorKind::ServiceGone) {
        return None;
    }
    let still_there = view.cards().any(|card| filter.matches(card));
    (!still_there).then_some(Ok(()))
}

/// A time-out that goes past the end of the clock is none.
pub(super) fn end(timeout: Option<Duration>) -> Option<Instant> {
    timeout.and_then(|timeout| now().checked_add(timeout))
}

pub(super) fn no_card() -> Error {
    Error::given_up(Operation::GetStatusChange, Refusal::NO_CARD_IN_TIME)
}

pub(super) fn still_there() -> Error {
    Error::given_up(Operation::GetStatusChange, Refusal::CARD_STILL_THERE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes::Platform;
    use crate::codes::ReturnCode;
    use crate::monitor::tracker::Tracker;

    #[test]
    fn a_service_that_refuses_does_not_say_that_a_card_is_gone() {
        let answer = |code, times| {
            let mut tracker = Tracker::new(Platform::PcscLite, false);
            for _ in 0..times {
                tracker.lose(Error::new(Operation::EstablishContext, code));
            }
            let answer = no_card_in(tracker.view(), &CardFilter::new());
            answer.map(|answer| answer.map_err(|error| error.code()))
        };
        assert_eq!(answer(ReturnCode::E_NO_SERVICE, 1), Some(Ok(())));
        assert_eq!(answer(ReturnCode::F_COMM_ERROR, 1), Some(Ok(())));
        let denied = ReturnCode::W_SECURITY_VIOLATION;
        assert_eq!(answer(denied, 1), None);
        assert_eq!(answer(denied, 3), Some(Err(denied)));
        // As with more contexts than the service has room for.
        assert_eq!(answer(ReturnCode::E_NO_MEMORY, 1), None);
    }
}
