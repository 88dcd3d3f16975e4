//! The queue between the watcher thread and the consumer.

use std::collections::VecDeque;
use std::sync::PoisonError;
#[cfg(feature = "async")]
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::event::Event;
use super::view::View;
use crate::sync::{Condvar, Mutex, MutexGuard, lock, now};

/// How many moments are kept apart for a consumer that does not look. Later ones are merged.
pub(super) const CAPACITY: usize = if cfg!(all(test, model)) { 2 } else { 256 };

/// What is known about the readers, moment by moment.
///
/// It keeps moments, not events, because any two moments can be merged into the events that lead
/// from the first to the second.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The state after the events created so far.
    reported: View,
    /// Created events that were not taken yet.
    events: VecDeque<Event>,
    /// Later moments.
    moments: VecDeque<View>,
    /// The number of moments so far.
    posted: u64,
    closed: bool,
    /// The task of an asynchronous consumer.
    #[cfg(feature = "async")]
    waker: Option<Waker>,
}

impl State {
    fn next_event(&mut self) -> Option<Event> {
        while self.events.is_empty() {
            let moment = self.moments.pop_front()?;
            self.events = moment.events_since(&self.reported).into();
            self.reported = moment;
        }
        self.events.pop_front()
    }

    fn news(&self, known: Option<u64>) -> Option<(u64, View)> {
        let is_news = self.posted > known.unwrap_or(0);
        is_news.then(|| (self.posted, self.latest().clone()))
    }

    fn latest(&self) -> &View {
        self.moments.back().unwrap_or(&self.reported)
    }
}

/// The monitor has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Closed;

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Adds the current state.
    pub(super) fn post(&self, view: &View) {
        let mut state = self.lock();
        if state.closed || (state.posted > 0 && state.latest() == view) {
            return;
        }
        state.posted += 1;
        // A moment without an event takes no place: on Windows the service reports use changes even
        // if they are not wanted.
        let is_event = !view.events_since(state.latest()).is_empty();
        if state.moments.len() >= CAPACITY || !is_event {
            state.moments.pop_back();
        }
        state.moments.push_back(view.clone());
        self.notify(state);
    }

    /// Closes the queue and drops the remaining events.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        self.notify(state);
    }

    /// Wakes all consumers, with the state unlocked: a waker may do anything.
    #[cfg_attr(not(feature = "async"), allow(unused_mut))]
    fn notify(&self, mut state: MutexGuard<'_, State>) {
        #[cfg(feature = "async")]
        let waker = state.waker.take();
        drop(state);
        self.changed.notify_all();
        #[cfg(feature = "async")]
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Wakes all consumers.
    #[cfg(feature = "async")]
    pub(super) fn wake(&self) {
        self.notify(self.lock());
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Waits for the next event. Returns `None` at the deadline.
    pub(super) fn next(&self, deadline: Option<Instant>) -> Result<Option<Event>, Closed> {
        self.wait(deadline, State::next_event)
    }

    /// Waits for a moment after the one with this number, and returns it with its number; `None` at
    /// the deadline. Takes no events.
    pub(super) fn news(
        &self,
        known: Option<u64>,
        deadline: Option<Instant>,
    ) -> Result<Option<(u64, View)>, Closed> {
        self.wait(deadline, |state| state.news(known))
    }

    /// Returns the latest state, if there is any.
    pub(super) fn latest(&self) -> Option<View> {
        let state = self.lock();
        (state.posted > 0).then(|| state.latest().clone())
    }

    /// Polls for the next event.
    #[cfg(feature = "async")]
    pub(super) fn poll_next(&self, task: &mut Context<'_>) -> Poll<Result<Event, Closed>> {
        self.poll(task, State::next_event)
    }

    /// [`news`](Mailbox::news) for an asynchronous consumer.
    #[cfg(feature = "async")]
    pub(super) fn poll_news(
        &self,
        known: Option<u64>,
        task: &mut Context<'_>,
    ) -> Poll<Result<(u64, View), Closed>> {
        self.poll(task, |state| state.news(known))
    }

    #[cfg(feature = "async")]
    fn poll<T>(
        &self,
        task: &mut Context<'_>,
        look: impl FnOnce(&mut State) -> Option<T>,
    ) -> Poll<Result<T, Closed>> {
        // Cloning or dropping a waker may do anything, too.
        let waker = task.waker().clone();
        let mut state = self.lock();
        let answer = match state.closed {
            true => Poll::Ready(Err(Closed)),
            false => look(&mut state).map_or(Poll::Pending, |found| Poll::Ready(Ok(found))),
        };
        let before = match answer {
            Poll::Pending => state.waker.replace(waker),
            Poll::Ready(_) => None,
        };
        drop(state);
        drop(before);
        answer
    }

    /// Waits for this long, or until the monitor ends.
    pub(super) fn pause(&self, pause: Duration) {
        let deadline = now().checked_add(pause);
        let _ = self.wait(deadline, |_| None::<()>);
    }

    fn wait<T>(
        &self,
        deadline: Option<Instant>,
        mut look: impl FnMut(&mut State) -> Option<T>,
    ) -> Result<Option<T>, Closed> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return Err(Closed);
            }
            if let Some(found) = look(&mut state) {
                return Ok(Some(found));
            }
            state = match deadline {
                None => self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(now());
                    if left.is_zero() {
                        return Ok(None);
                    }
                    self.changed
                        .wait_timeout(state, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
    }
}

#[cfg(all(test, model))]
impl Mailbox {
    /// The state after the events created so far.
    pub(super) fn reported(&self) -> View {
        self.lock().reported.clone()
    }

    /// Returns whether created events were not taken yet.
    pub(super) fn has_events(&self) -> bool {
        !self.lock().events.is_empty()
    }
}

#[cfg(all(test, not(model)))]
mod tests {
    use super::*;
    use crate::codes::Platform;
    use crate::monitor::event::What;
    use crate::monitor::tracker::Tracker;
    use crate::values::Atr;
    use crate::values::ReaderName;

    const NOW: Option<Duration> = Some(Duration::ZERO);

    fn until(limit: Option<Duration>) -> Option<Instant> {
        limit.map(|limit| Instant::now() + limit)
    }

    fn all(mailbox: &Mailbox) -> Vec<String> {
        let next = || mailbox.next(until(NOW)).unwrap();
        let events = std::iter::from_fn(next);
        events.map(|event| What(&event).to_string()).collect()
    }

    /// A reader whose card is inserted and removed, one change per call.
    struct Reader {
        tracker: Tracker,
        count: u32,
    }

    impl Reader {
        fn new() -> Reader {
            let mut tracker = Tracker::new(Platform::PcscLite, false);
            tracker.list(vec![ReaderName::new("R").unwrap()]);
            let mut reader = Reader { tracker, count: 0 };
            reader.see();
            reader
        }

        fn see(&mut self) {
            let present = self.count % 2 == 1;
            let flags = if present { 0x20 } else { 0x10 };
            let state = flags | (self.count << 16);
            let name = ReaderName::new("R").unwrap();
            self.tracker.see(&name, state, Atr::new(&[0x3B]).unwrap());
        }

        fn change(&mut self) -> &View {
            self.count += 1;
            self.see();
            self.tracker.view()
        }
    }

    #[test]
    fn an_unchanged_state_is_not_posted() {
        let mailbox = Mailbox::default();
        let view = View::default();
        mailbox.post(&view);
        let first = mailbox.news(None, None).unwrap().unwrap().0;
        mailbox.post(&view);
        let again = mailbox.news(None, None).unwrap().unwrap().0;
        assert_eq!(first, again);
    }

    #[test]
    fn a_pause_lasts_its_time_or_until_the_mailbox_is_closed() {
        let mailbox = Mailbox::default();
        let begun = Instant::now();
        mailbox.pause(Duration::from_millis(20));
        assert!(begun.elapsed() >= Duration::from_millis(20));
        mailbox.close();
        mailbox.pause(Duration::from_secs(600));
        assert!(begun.elapsed() < Duration::from_secs(600));
    }

    #[test]
    fn a_consumer_that_keeps_up_receives_every_event() {
        let (mailbox, mut reader) = (Mailbox::default(), Reader::new());
        mailbox.post(reader.tracker.view());
        mailbox.post(reader.change());
        mailbox.post(&reader.tracker.view().clone());
        mailbox.post(reader.change());
        let reported = ["reader attached", "card inserted (3B)", "card removed"];
        assert_eq!(all(&mailbox), reported);
        assert!(all(&mailbox).is_empty());
    }

    #[test]
    fn events_for_a_slow_consumer_are_merged_in_bounded_memory() {
        let (mailbox, mut reader) = (Mailbox::default(), Reader::new());
        mailbox.post(reader.tracker.view());
        for _ in 0..10_000 {
            mailbox.post(reader.change());
        }
        assert_eq!(mailbox.lock().moments.len(), CAPACITY);
        // One more change, so that a card is present at the end.
        mailbox.post(reader.change());
        let events = all(&mailbox);
        assert!(events.len() <= CAPACITY + 2, "{}", events.len());
        assert_eq!(events.last().unwrap(), "card inserted (3B)");
        mailbox.post(reader.change());
        assert_eq!(all(&mailbox), ["card removed"]);
    }

    #[test]
    fn moments_without_an_event_take_no_place() {
        let (mailbox, mut reader) = (Mailbox::default(), Reader::new());
        mailbox.post(reader.tracker.view());
        let mut posted = 1;
        for in_use in (0..10 * CAPACITY).map(|round| round % 2 == 0) {
            let mut view = reader.tracker.view().clone();
            let mut changed = view.readers.values_mut();
            let changed = std::sync::Arc::make_mut(changed.next().unwrap());
            changed.state.event_state |= if in_use { 0x100 } else { 0 };
            mailbox.post(&view);
            posted += 1;
        }
        mailbox.post(reader.change());
        mailbox.post(reader.change());
        assert_eq!(mailbox.lock().posted, posted + 2, "waits must see them");
        let reported = ["reader attached", "card inserted (3B)", "card removed"];
        assert_eq!(all(&mailbox), reported);
    }

    #[test]
    fn merged_moments_are_reported_as_if_the_monitor_had_not_looked_in_between() {
        let (mailbox, mut reader) = (Mailbox::default(), Reader::new());
        mailbox.post(reader.tracker.view());
        for _ in 0..CAPACITY - 1 {
            mailbox.post(reader.change());
        }
        // Merged into the last separate moment, twice.
        mailbox.post(reader.change());
        mailbox.post(reader.change());
        let events = all(&mailbox);
        let last = ["card removed", "card came and went", "card inserted (3B)"];
        assert_eq!(events[events.len() - 3..], last);
        assert_eq!(events.len(), CAPACITY + 1);
    }

    #[test]
    fn closing_is_final_and_wakes_waits() {
        let mailbox = Mailbox::default();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| mailbox.next(None));
            mailbox.close();
            assert_eq!(waiting.join().unwrap(), Err(Closed));
        });
        mailbox.post(Reader::new().tracker.view());
        assert_eq!(mailbox.next(until(NOW)), Err(Closed));
        assert_eq!(mailbox.news(None, None), Err(Closed));
        mailbox.pause(Duration::from_secs(3600));
    }

    #[test]
    fn a_wait_for_a_state_takes_no_events() {
        let (mailbox, mut reader) = (Mailbox::default(), Reader::new());
        assert_eq!(
            mailbox.news(None, until(NOW)),
            Ok(None),
            "nothing was known yet"
        );
        mailbox.post(reader.tracker.view());
        let (first, view) = mailbox.news(None, None).unwrap().unwrap();
        assert_eq!(view.cards().count(), 0);
        assert_eq!(mailbox.news(Some(first), until(NOW)), Ok(None));
        mailbox.post(reader.change());
        let (_, view) = mailbox.news(Some(first), None).unwrap().unwrap();
        assert_eq!(view.cards().count(), 1);
        assert_eq!(all(&mailbox).len(), 2);
    }
}
