//! Waits for the insertion and removal of cards.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::filter::CardFilter;
use super::mailbox::Closed;
use super::power::PowerUps;
use super::view::View;
use super::{Monitor, MonitorOptions, given_up, too_many_pending};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Operation, Refusal, Result, Seen, SeenReader};
use crate::limits::GivenUp;
use crate::sync::now;
use crate::values::{ReaderName, ReaderState};

impl Context {
    /// Waits for a card that answers and returns the state of its reader. The card may be present
    /// already; of several, the one in the first reader is returned.
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
    /// The wait includes readers that are attached meanwhile, and a service that starts or returns.
    /// To stop it from another thread, use [`Monitor::wait_for_card`].
    ///
    /// A mute card, which does not answer, is powered up by connecting to it if it may match, up to
    /// three times with pauses. This usually helps, and the card is found once it answers.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::DeadlineExceeded`] if there was no such card in time: the error says whether
    /// card, reader or service was missing, and [`Error::seen`](crate::Error::seen) what was in
    /// each reader. The answer of the service if waiting does not help, such as
    /// `SCARD_W_SECURITY_VIOLATION`. With a time-out, [`ErrorKind::ServiceBusy`] if too many
    /// abandoned calls of this context have not ended, as while the service hangs.
    ///
    /// # Platform notes
    ///
    /// pcsc-lite's library takes 0.4 seconds to report a mute card. Such a card delays the
    /// process's first wait that includes its reader, but no later one; [`CardFilter::reader`] and
    /// [`CardFilter::reader_matching`] exclude readers. Since 2.0.1 the library holds a
    /// process-wide lock meanwhile, which delays other looks at readers as well.
    pub fn wait_for_card(
        &self,
        filter: &CardFilter,
        timeout: Option<Duration>,
    ) -> Result<ReaderState> {
        let deadline = end(timeout);
        let mut monitor = self.monitor_for(filter, timeout)?;
        let found = monitor.card_until(filter, None, deadline)?;
        found.ok_or_else(|| monitor.give_up_without(filter))
    }

    /// Waits until no reader has a matching card, mute cards included. An unplugged reader has no
    /// card, and neither has a service that ended.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::DeadlineExceeded`] if there still is a matching card, in [these
    /// readers](crate::Error::seen), or its presence is unknown; the answer of the service if
    /// waiting does not help, such as `SCARD_W_SECURITY_VIOLATION`; [`ErrorKind::ServiceBusy`] as
    /// for [`wait_for_card`](Context::wait_for_card).
    pub fn wait_for_removal(&self, filter: &CardFilter, timeout: Option<Duration>) -> Result<()> {
        let deadline = end(timeout);
        let mut monitor = self.monitor_for(filter, timeout)?;
        let is_gone = monitor.removal_until(filter, deadline)?;
        is_gone.ok_or_else(|| monitor.give_up_with(filter))
    }
}

impl Context {
    /// Returns a monitor for one wait.
    fn monitor_for(&self, filter: &CardFilter, timeout: Option<Duration>) -> Result<Monitor> {
        let pending = self.limits().pending();
        if timeout.is_some() && pending.is_full() {
            return Err(too_many_pending());
        }
        let options = MonitorOptions::new().only_about(filter);
        Monitor::start(self.address(), options, pending)
    }
}

impl Monitor {
    /// [`Context::wait_for_card`] with this monitor. Starts from the current state, and takes no
    /// events. A mute card is powered up three times for all waits of the monitor together.
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
        found.ok_or_else(|| no_card(self, filter))
    }

    /// [`Context::wait_for_removal`] with this monitor. Starts from the current state, and takes no
    /// events.
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
        let is_gone = self.removal_until(filter, end(timeout))?;
        is_gone.ok_or_else(|| still_there(self, filter))
    }

    /// Returns the card in the preferred reader, or else the first that answers; `None` at the
    /// deadline.
    pub(crate) fn card_until(
        &self,
        filter: &CardFilter,
        preferred: Option<&ReaderName>,
        deadline: Option<Instant>,
    ) -> Result<Option<ReaderState>> {
        let mut power_ups = self.power_ups();
        let answer = |view: &View| card_or_power_up(view, filter, preferred, &mut power_ups);
        self.look_until(deadline, answer)?.transpose()
    }

    /// Watches all readers until they yield an answer; returns `None` at the deadline. Attached but
    /// unknown readers are passed by name.
    pub(crate) fn states_until<T>(
        &self,
        deadline: Option<Instant>,
        mut answer: impl FnMut(&[ReaderState], &BTreeSet<ReaderName>) -> Option<T>,
    ) -> Result<Option<T>> {
        let answer = |view: &View| match view.failure() {
            Some(error) => Some(Err(error.clone())),
            None => answer(&view.states(), &view.unanswered).map(Ok),
        };
        self.look_until(deadline, answer)?.transpose()
    }

    pub(super) fn power_ups(&self) -> PowerUps {
        PowerUps::new(&self.shared, &self.pending)
    }

    /// Waits until the card is gone; returns `None` at the deadline.
    fn removal_until(&self, filter: &CardFilter, deadline: Option<Instant>) -> Result<Option<()>> {
        let is_gone = |view: &View| no_card_in(view, filter);
        self.look_until(deadline, is_gone)?.transpose()
    }

    /// Returns why [`card_until`](Monitor::card_until) found no card by its deadline. The thread is
    /// counted if it does not end.
    pub(crate) fn give_up_without(&mut self, filter: &CardFilter) -> Error {
        self.count_its_end();
        no_card(self, filter)
    }

    fn give_up_with(&mut self, filter: &CardFilter) -> Error {
        self.count_its_end();
        still_there(self, filter)
    }

    /// Watches the state until it yields an answer; returns `None` at the deadline.
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

/// Returns the awaited card, or why there will be none.
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

/// The same; if there is none, mute cards are powered up.
pub(super) fn card_or_power_up(
    view: &View,
    filter: &CardFilter,
    preferred: Option<&ReaderName>,
    power_ups: &mut PowerUps,
) -> Option<Result<ReaderState>> {
    let found = card_in(view, filter, preferred);
    if found.is_none() {
        power_ups.begin(view, filter);
    }
    found
}

/// Returns whether all of these cards are gone, or why that cannot be known.
///
/// A service that ended has no cards. One that refuses to answer does not say.
pub(super) fn no_card_in(view: &View, filter: &CardFilter) -> Option<Result<()>> {
    if let Some(error) = view.failure() {
        return Some(Err(error.clone()));
    }
    let refusal = view.service.lost.as_ref();
    let is_gone = |error: &Error| error.kind() == ErrorKind::ServiceGone || error.means_no_reader();
    if refusal.is_some_and(|error| !is_gone(error)) {
        return None;
    }
    let still_there = view.cards().any(|card| filter.matches(card));
    (!still_there && view.is_complete()).then_some(Ok(()))
}

/// Returns the deadline. A time-out past the end of the clock is no limit.
pub(super) fn end(timeout: Option<Duration>) -> Option<Instant> {
    timeout.and_then(|timeout| now().checked_add(timeout))
}

/// Returns why there is no card, as far as the monitor knows.
pub(super) fn no_card(monitor: &Monitor, filter: &CardFilter) -> Error {
    why_no_card(monitor.shared.mailbox.latest().as_ref(), filter)
}

fn why_no_card(view: Option<&View>, filter: &CardFilter) -> Error {
    let error = |refusal| Error::given_up(Operation::GetStatusChange, refusal);
    let Some(view) = view else {
        return error(Refusal::NOTHING_KNOWN_IN_TIME);
    };
    let seen = view.seen(filter);
    let lost = view.service.lost.as_ref();
    match lost {
        Some(lost) if lost.means_no_reader() => error(Refusal::NO_READER_IN_TIME),
        Some(lost) => error(Refusal::NO_SERVICE_IN_TIME).because_of(lost),
        None if !seen.is_empty() => error(Refusal::NO_CARD_IN_TIME).with_seen(seen),
        None if filter.is_about_all() => error(Refusal::NO_READER_IN_TIME),
        None => error(Refusal::NO_MATCHING_READER_IN_TIME),
    }
}

/// Returns where the card still is, as far as the monitor knows.
pub(super) fn still_there(monitor: &Monitor, filter: &CardFilter) -> Error {
    why_still_there(monitor.shared.mailbox.latest().as_ref(), filter)
}

fn why_still_there(view: Option<&View>, filter: &CardFilter) -> Error {
    let error = |refusal| Error::given_up(Operation::GetStatusChange, refusal);
    let Some(view) = view else {
        return error(Refusal::NOTHING_KNOWN_IN_TIME);
    };
    if let Some(lost) = &view.service.lost {
        return error(Refusal::NO_SERVICE_IN_TIME).because_of(lost);
    }
    let cards = view.cards().filter(|card| filter.matches(card));
    let seen = cards.map(|card| match SeenReader::from(card) {
        it if *it.seen() == Seen::NotMatching => {
            SeenReader::new(card.reader_name().clone(), Seen::Present)
        }
        it => it,
    });
    let unanswered = view.unanswered_in(filter);
    error(Refusal::CARD_STILL_THERE).with_seen(seen.chain(unanswered).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes::Platform;
    use crate::codes::ReturnCode;
    use crate::monitor::tracker::Tracker;

    #[test]
    fn a_refusal_by_the_service_is_not_taken_for_a_removal() {
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
        // As with too many contexts for the service.
        assert_eq!(answer(ReturnCode::E_NO_MEMORY, 1), None);
    }

    #[test]
    fn a_failed_wait_reports_what_was_in_the_readers() {
        use crate::values::Atr;
        let name = |name: &str| ReaderName::new(name).unwrap();
        let says = |view: Option<&View>, filter: &CardFilter| {
            let error = why_no_card(view, filter);
            let seen = error.seen().iter().map(ToString::to_string);
            (error.description(), seen.collect::<Vec<_>>())
        };
        let any = CardFilter::new();
        let nothing = "the service did not report its readers within the time-out";
        assert_eq!(says(None, &any), (nothing, vec![]));
        let mut tracker = Tracker::new(Platform::PcscLite, false);
        let no_reader = "no reader was attached within the time-out";
        assert_eq!(says(Some(tracker.view()), &any), (no_reader, vec![]));
        let no_card = "no matching card was inserted within the time-out";
        let b = any.clone().reader(&name("B"));
        let unknown = vec!["\"B\": unknown to the service".to_owned()];
        assert_eq!(says(Some(tracker.view()), &b), (no_card, unknown));

        tracker.list(vec![name("A"), name("B"), name("C"), name("D")]);
        for (reader, flags) in [("A", 0x10), ("B", 0x220), ("C", 0x20), ("D", 0x08)] {
            tracker.see(&name(reader), flags | 0x0001_0002, Atr::default());
        }
        let mute = "\"B\": the card does not answer".to_owned();
        let seen = vec![
            "\"A\": empty".to_owned(),
            mute.clone(),
            "\"C\": another card".to_owned(),
            "\"D\": its state cannot be read".to_owned(),
        ];
        assert_eq!(says(Some(tracker.view()), &any), (no_card, seen));
        assert_eq!(says(Some(tracker.view()), &b), (no_card, vec![mute]));
        let error = why_still_there(Some(tracker.view()), &any);
        let seen: Vec<_> = error.seen().iter().map(|it| it.seen().name()).collect();
        assert_eq!(seen, ["mute", "present"]);

        tracker.lose(Error::new(
            Operation::EstablishContext,
            ReturnCode::F_COMM_ERROR,
        ));
        let no_service = "the smart-card service was not available within the time-out";
        assert_eq!(says(Some(tracker.view()), &any), (no_service, vec![]));
    }
}
