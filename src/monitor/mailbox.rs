//! The queue between the watcher thread and the consumer.

use std::collections::VecDeque;
use std::sync::PoisonError;
#[cfg(feature = "async")]
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::event::Event;
use super::view::View;
use crate::sync::{Condvar, Mutex, MutexGuard, lock, now};

/// How many moments are kept apart for one who does not look. Later ones are put together.
pub(super) const CAPACITY: usize = if cfg!(all(test, model)) { 2 } else { 256 };

/// What is known of the readers, moment by moment.
///
/// It keeps moments, not events: however many there are, two of them can be put together to
/// what leads from the first to the second.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// What the events that were made so far lead to.
    told: View,
    /// Those of them that were not taken yet.
    events: VecDeque<Event>,
    /// What came after.
    moments: VecDeque<View>,
    /// How many there have been.
    posted: u64,
    closed: bool,
    /// The task of one who does not wait on its thread.
    #[cfg(feature = "async")]
    waker: Option<Waker>,
}

impl State {
    fn next_event(&mut self) -> Option<Event> {
        while self.events.is_empty() {
            let moment = self.moments.pop_front()?;
            self.events = moment.events_since(&self.told).into();
            self.told = moment;
        }
        self.events.pop_front()
    }

    fn news(&self, known: Option<u64>) -> Option<(u64, View)> {
        let is_news = self.posted > known.unwrap_or(0);
        is_news.then(|| (self.posted, self.latest().clone()))
    }

    fn latest(&self) -> &View {
        self.moments.back().unwrap_or(&self.told)
    }
}

/// The end: nobody watches any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Closed;

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Adds what is known now.
    pub(super) fn post(&self, view: &View) {
        let mut state = self.lock();
        if state.closed || (state.posted > 0 && state.latest() == view) {
            return;
        }
        state.posted += 1;
        // What is no event takes nobody's place: on Windows the service also tells of the use
        // of a reader to one who does not want to know.
        let is_event = !view.events_since(state.latest()).is_empty();
        if state.moments.len() >= CAPACITY || !is_event {
            state.moments.pop_back();
        }
        state.moments.push_back(view.clone());
        self.notify(state);
    }

    /// Ends everything; what was not taken is not taken any more.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        self.notify(state);
    }

    /// Makes everybody look, with the state unlocked: what a waker does is not ours.
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

    /// Makes everybody look.
    #[cfg(feature = "async")]
    pub(super) fn wake(&self) {
        self.notify(self.lock());
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Waits for the next event: `None` at the deadline.
    pub(super) fn next(&self, deadline: Option<Instant>) -> Result<Option<Event>, Closed> {
        self.wait(deadline, State::next_event)
    }

    /// Waits until more is known than at the moment with this number: what is known then, and
    /// its number. `None` at the deadline. Events are not taken.
    pub(super) fn news(
        &self,
        known: Option<u64>,
        deadline: Option<Instant>,
    ) -> Result<Option<(u64, View)>, Closed> {
        self.wait(deadline, |state| state.news(known))
    }

    /// What is known last, if anything is.
    pub(super) fn latest(&self) -> Option<View> {
        let state = self.lock();
        (state.posted > 0).then(|| state.latest().clone())
    }

    /// The next event, for one who does not wait on its thread.
    #[cfg(feature = "async")]
    pub(super) fn poll_next(&self, task: &mut Context<'_>) -> Poll<Result<Event, Closed>> {
        self.poll(task, State::next_event)
    }

    /// [`news`](Mailbox::news) for one who does not wait on its thread.
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
        // What its waker does when it is cloned or dropped is not ours, either.
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

    /// Waits so long, or until the end.
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
    /// What the events that were made so far lead to.
    pub(super) fn told(&self) -> View {
        self.lock().told.clone()
    }

    /// Whether some of them were not taken yet.
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

    /// A reader in which cards come and go: each call is one change.
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
    fn what_is_not_new_is_not_posted() {
        let mailbox = Mailbox::default();
        let view = View::default();
        mailbox.post(&view);
        let first = mailbox.news(None, None).unwrap().unwrap().0;
        mailbox.post(&view);
        let again = mailbox.news(None, None).unwrap().unwrap().0;
        assert_eq!(first, again);
    }

    #[test]
    fn a_pause_lasts_as_long_as_it_is_to_or_until_it_is_closed() {
        let mailbox = Mailbox::default();
        let begun = Instant::now();
        mailbox.pause(Duration::from_millis(20));
        assert!(begun.elapsed() >= Duration::from_millis(20));
        mailbox.close();
        mailbox.pause(Duration::from_secs(600));
        assert!(begun.elapsed() < Duration::from_secs(600));
    }

    #[test]
    fn who_keeps_up_is_told_everything() {
        let (mailbox, mut reader) = (Mailbox::default(), Reader::new());
        mailbox.post(reader.tracker.view());
        mailbox.post(reader.change());
        mailbox.post(&reader.tracker.view().clone());
        mailbox.post(reader.change());
        let told = ["reader attached", "card inserted (3B)", "card removed"];
        assert_eq!(all(&mailbox), told);
        assert!(all(&mailbox).is_empty());
    }

    #[test]
    fn who_does_not_look_is_told_the_sum_in_bounded_memory() {
        let (mailbox, mut reader) = (Mailbox::default(), Reader::new());
        mailbox.post(reader.tracker.view());
        for _ in 0..10_000 {
            mailbox.post(reader.change());
        }
        assert_eq!(mailbox.lock().moments.len(), CAPACITY);
        // One more, so that the end is a card.
        mailbox.post(reader.change());
        let events = all(&mailbox);
        assert!(events.len() <= CAPACITY + 2, "{}", events.len());
        assert_eq!(events.last().unwrap(), "card inserted (3B)");
        mailbox.post(reader.change());
        assert_eq!(all(&mailbox), ["card removed"]);
    }

    #[test]
    fn what_is_no_event_leaves_room_for_what_is() {
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
        assert_eq!(mailbox.lock().posted, posted + 2, "and who waits looks");
        let told = ["reader attached", "card inserted (3B)", "card removed"];
        assert_eq!(all(&mailbox), told);
    }

    #[test]
    fn what_is_put_together_is_told_as_if_nobody_had_looked_in_between() {
        let (mailbox, mut reader) = (Mailbox::default(), Reader::new());
        mailbox.post(reader.tracker.view());
        for _ in 0..CAPACITY - 1 {
            mailbox.post(reader.change());
        }
        // The last moment that has a place of its own gives it away, twice.
        mailbox.post(reader.change());
        mailbox.post(reader.change());
        let events = all(&mailbox);
        let last = ["card removed", "card came and went", "card inserted (3B)"];
        assert_eq!(events[events.len() - 3..], last);
        assert_eq!(events.len(), CAPACITY + 1);
    }

    #[test]
    fn the_end_is_final_and_wakes() {
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
    fn who_waits_for_a_state_takes_no_events() {
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
