//! A slot of a reader of the kit's driver.
//!
//! The daemon looks at a slot when the driver tells it to, and the driver tells
//! the kit when the daemon has done with a look: its thread for the slot begins
//! to wait again, and by then it has told its clients. So each change of what
//! the slot shows has a number, a look is answered with the current one, and
//! the wait that follows in the same thread of the daemon means that this
//! change is published.
//!
//! A card that follows another is held back until the daemon has published the
//! empty slot in between. Otherwise it would never know, and not power it on.
//!
//! A command that is under way when its card leaves is answered by whoever
//! takes the card out. The thread that is still in the card's program goes on
//! alone, and another serves the daemon from then on.

use std::collections::HashMap;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use super::wire::{self, Answer, Request};
use super::{Faults, Hooks, IfdCall, IfdError};
use crate::card::{CardHandle, Reply};
use crate::error::TestkitError;
use crate::sync::{lock, wait};

#[derive(Debug)]
pub(crate) struct IfdSlot {
    name: Names,
    state: Mutex<State>,
    changed: Condvar,
    faults: Mutex<Faults>,
    hooks: Mutex<Hooks>,
}

/// The names that the slot has had: one, unless the daemon has given the reader
/// another number than was expected.
#[derive(Debug)]
struct Names {
    name: String,
    /// The number of the reader that is in it.
    number: u32,
    next: OnceLock<Box<Names>>,
}

impl Names {
    fn new(name: String, number: u32) -> Self {
        Self {
            name,
            number,
            next: OnceLock::new(),
        }
    }

    fn last(&self) -> &Self {
        let mut last = self;
        while let Some(next) = last.next.get() {
            last = next;
        }
        last
    }

    /// The daemon has opened the reader as this number.
    fn number(&self, number: u32) {
        let last = self.last();
        // "… NN SS"
        let Some((start, slot)) = last.name.rsplit_once(' ') else {
            return;
        };
        let Some((start, _)) = start.rsplit_once(' ') else {
            return;
        };
        let name = format!("{start} {number:02X} {slot}");
        if name != last.name {
            let _ = last.next.set(Box::new(Self::new(name, number)));
        }
    }
}

#[derive(Debug)]
struct State {
    /// The daemon runs or is being started.
    daemon: bool,
    /// The reader was unplugged.
    gone: bool,
    /// The daemon has made the reader known.
    added: bool,
    card: Option<CardHandle>,
    /// The card that looks are told of.
    shown: Option<CardHandle>,
    /// The number of the last change in what looks are told.
    change: u64,
    /// The last change that clients of the daemon can see.
    published: Option<u64>,
    /// What the daemon's threads were told since they last waited.
    looks: HashMap<u32, Look>,
    link: Option<Link>,
    /// Connections so far: each gets the next number.
    links: u64,
    /// The command under way.
    command: Option<u64>,
    commands: u64,
}

#[derive(Clone, Copy, Debug)]
struct Look {
    change: u64,
    present: bool,
    /// The card left between the look and the power-on that followed: what the
    /// daemon makes of that is not what it was told last.
    doubtful: bool,
}

/// The connection of the running daemon.
#[derive(Debug)]
struct Link {
    id: u64,
    /// Slots of the reader, all together.
    slots: u8,
    requests: Arc<UnixStream>,
    events: Option<Arc<UnixStream>>,
}

impl State {
    /// Shows something else, and has the daemon look at it.
    fn show(&mut self, card: Option<CardHandle>) {
        self.shown = card;
        self.touch();
    }

    fn touch(&mut self) {
        self.change += 1;
        self.wake();
    }

    /// Ends the daemon's wait.
    fn wake(&self) {
        if let Some(events) = self.link.as_ref().and_then(|link| link.events.as_ref()) {
            // When there is no room, there is a reason to wake in it already.
            let _ = (&**events).write(&[1]);
        }
    }

    fn is_published(&self) -> bool {
        self.published == Some(self.change)
    }

    fn is_current(&self, id: u64) -> bool {
        self.link.as_ref().is_some_and(|link| link.id == id)
    }
}

/// What becomes of the thread that served a request.
enum Next {
    Answer(Answer),
    /// Another thread answers, or will.
    Leave,
}

impl IfdSlot {
    /// A slot of reader `number`, which is in the name.
    pub(crate) fn new(name: String, number: u32) -> Self {
        Self {
            name: Names::new(name, number),
            state: Mutex::new(State {
                daemon: false,
                gone: false,
                added: false,
                card: None,
                shown: None,
                change: 0,
                published: None,
                looks: HashMap::new(),
                link: None,
                links: 0,
                command: None,
                commands: 0,
            }),
            changed: Condvar::new(),
            faults: Mutex::default(),
            hooks: Mutex::default(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name.last().name
    }

    pub(crate) fn number(&self) -> u32 {
        self.name.last().number
    }

    pub(crate) fn card(&self) -> Option<CardHandle> {
        lock(&self.state).card.clone()
    }

    pub(crate) fn has_daemon(&self) -> bool {
        lock(&self.state).daemon
    }

    /// A new daemon is about to run: it knows of no card.
    pub(crate) fn daemon_starts(&self) {
        let mut state = lock(&self.state);
        self.hang_up(&mut state);
        state.daemon = true;
    }

    /// The daemon has ended, or the sandbox ends.
    pub(crate) fn daemon_ended(&self) {
        let mut state = lock(&self.state);
        state.daemon = false;
        self.hang_up(&mut state);
        let card = state.card.clone();
        drop(state);
        if let Some(card) = card {
            card.lose_power();
        }
    }

    pub(crate) fn insert(&self, card: &CardHandle) -> Result<(), TestkitError> {
        let mut state = lock(&self.state);
        if state.gone {
            return Err(TestkitError::Unplugged {
                reader: self.name().to_owned(),
            });
        }
        if state.card.is_some() {
            return Err(TestkitError::ReaderOccupied {
                reader: self.name().to_owned(),
            });
        }
        card.claim()?;
        state.card = Some(card.clone());
        if state.link.is_none() || state.is_published() {
            state.show(Some(card.clone()));
        }
        Ok(())
    }

    pub(crate) fn remove(self: &Arc<Self>) {
        self.take_out(lock(&self.state));
    }

    /// Exchanges the card for another, which nothing tells the daemon.
    pub(super) fn exchange(&self, card: &CardHandle) -> Result<(), TestkitError> {
        let mut state = lock(&self.state);
        if state.shown.is_none() || !state.is_published() {
            return Err(TestkitError::NoCard {
                reader: self.name().to_owned(),
            });
        }
        card.claim()?;
        let old = state.card.replace(card.clone());
        state.shown = Some(card.clone());
        drop(state);
        if let Some(old) = old {
            old.release();
            old.lose_power();
        }
        Ok(())
    }

    /// Changes what goes wrong with calls of a kind.
    pub(super) fn change_faults(&self, call: IfdCall, change: impl FnOnce(&mut Faults)) {
        change(&mut lock(&self.faults));
        if call == IfdCall::Presence {
            lock(&self.state).touch();
        }
    }

    pub(super) fn hooks(&self) -> MutexGuard<'_, Hooks> {
        lock(&self.hooks)
    }

    fn take_out(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let Some(card) = state.card.take() else {
            return;
        };
        card.release();
        if state.shown.is_some() {
            state.show(None);
        }
        if state.command.take().is_some() {
            self.abandon(&state);
        }
        drop(state);
        self.changed.notify_all();
        card.lose_power();
    }

    /// The reader is unplugged: its card goes with it, and what is under way
    /// fails. Looks find what they found before, so that the end of the reader
    /// is the next that clients learn.
    pub(crate) fn unplug(self: &Arc<Self>) {
        let mut state = lock(&self.state);
        state.gone = true;
        let card = state.card.take();
        if state.command.take().is_some() {
            self.abandon(&state);
        }
        drop(state);
        self.changed.notify_all();
        if let Some(card) = card {
            card.release();
            card.lose_power();
        }
    }

    /// Fails the command under way, and has another thread serve the daemon.
    fn abandon(self: &Arc<Self>, state: &State) {
        let Some(link) = &state.link else { return };
        let _ = wire::send(&link.requests, &Err(IfdError::COMMUNICATION_ERROR));
        let (slot, id, stream) = (Arc::clone(self), link.id, Arc::clone(&link.requests));
        thread::spawn(move || slot.serve(id, &stream));
    }

    /// Waits until the daemon has made a plugged reader known.
    pub(crate) fn wait_until_added(
        &self,
        timeout: Duration,
        deadline: Instant,
    ) -> Result<(), TestkitError> {
        let mut state = lock(&self.state);
        while !(state.added && state.published.is_some()) {
            if !state.daemon {
                return Err(TestkitError::DaemonNotRunning);
            }
            state = wait(&self.changed, state, deadline).ok_or_else(|| TestkitError::Timeout {
                what: format!("publishing of reader {:?}", self.name()),
                after: timeout,
            })?;
        }
        Ok(())
    }

    /// Waits until the daemon has closed an unplugged reader, if it had opened
    /// it.
    pub(crate) fn wait_until_closed(
        &self,
        timeout: Duration,
        deadline: Instant,
    ) -> Result<(), TestkitError> {
        let mut state = lock(&self.state);
        while state.link.is_some() {
            state = wait(&self.changed, state, deadline).ok_or_else(|| TestkitError::Timeout {
                what: format!("removal of reader {:?} by the daemon", self.name()),
                after: timeout,
            })?;
        }
        Ok(())
    }

    pub(crate) fn wait_until_published(
        &self,
        timeout: Duration,
        deadline: Instant,
    ) -> Result<(), TestkitError> {
        let mut state = lock(&self.state);
        let card = state.card.clone();
        loop {
            match (&card, &state.card) {
                (None, None) if !state.daemon || state.gone || state.is_published() => {
                    return Ok(());
                }
                (Some(wanted), Some(present)) if wanted.is(present) => {
                    if !state.daemon {
                        return Err(TestkitError::DaemonNotRunning);
                    }
                    if state.shown.is_some() && state.is_published() {
                        return Ok(());
                    }
                }
                (Some(_), _) => {
                    return Err(TestkitError::CardGone {
                        reader: self.name().to_owned(),
                    });
                }
                // Another thread has inserted a card meanwhile, which is shown
                // once the empty slot was published.
                (None, Some(_)) if state.shown.is_some() => return Ok(()),
                (None, _) => {}
            }
            state = wait(&self.changed, state, deadline).ok_or_else(|| TestkitError::Timeout {
                what: match card {
                    Some(_) => format!("publishing of the card in reader {:?}", self.name()),
                    None => format!("publishing of reader {:?} as empty", self.name()),
                },
                after: timeout,
            })?;
        }
    }

    /// Ends the connections in use.
    fn hang_up(&self, state: &mut State) {
        if let Some(link) = state.link.take() {
            let _ = link.requests.shutdown(Shutdown::Both);
            if let Some(events) = link.events {
                let _ = events.shutdown(Shutdown::Both);
            }
        }
        state.command = None;
        state.looks.clear();
        state.published = None;
        state.added = false;
        state.shown = state.card.clone();
        self.changed.notify_all();
    }

    /// The daemon has opened the slot: serves its requests.
    pub(super) fn open(self: &Arc<Self>, stream: UnixStream, slots: u8, lun: u32) {
        // The daemon numbers readers in the upper half and slots in the lower.
        self.name.number(lun >> 16);
        let stream = Arc::new(stream);
        let id = {
            let mut state = lock(&self.state);
            self.hang_up(&mut state);
            state.links += 1;
            // Only the first is asked for the number of slots.
            state.added = lun & 0xFFFF != 0;
            state.link = Some(Link {
                id: state.links,
                slots,
                requests: Arc::clone(&stream),
                events: None,
            });
            state.links
        };
        if wire::send(&stream, &Ok(Vec::new())).is_ok() {
            self.serve(id, &stream);
        }
    }

    fn serve(self: &Arc<Self>, id: u64, stream: &UnixStream) {
        while let Ok(request) = wire::receive(stream) {
            let close = request == Request::Close;
            match self.handle(id, request) {
                Next::Answer(answer) if wire::send(stream, &answer).is_err() => break,
                Next::Answer(_) if close => break,
                Next::Answer(_) => {}
                Next::Leave => return,
            }
        }
        self.ended(id);
    }

    /// A connection has ended: so has the daemon, or it has closed the slot.
    fn ended(&self, id: u64) {
        let mut state = lock(&self.state);
        if state.is_current(id) {
            self.hang_up(&mut state);
            let card = state.card.clone();
            drop(state);
            if let Some(card) = card {
                card.lose_power();
            }
        }
    }

    /// The daemon's connection for events: says which of its threads begins to
    /// wait.
    pub(super) fn watch(self: &Arc<Self>, stream: UnixStream) {
        let stream = Arc::new(stream);
        let id = {
            let mut state = lock(&self.state);
            let Some(link) = &mut state.link else { return };
            link.events = Some(Arc::clone(&stream));
            link.id
        };
        if wire::send(&stream, &Ok(Vec::new())).is_err() {
            return;
        }
        while let Ok(thread) = wire::number(&stream) {
            let mut state = lock(&self.state);
            if !state.is_current(id) {
                return;
            }
            match state.looks.remove(&thread) {
                Some(look) if look.doubtful => state.wake(),
                Some(look) => {
                    state.published = Some(look.change);
                    if state.is_published() && state.shown.is_none() && state.card.is_some() {
                        let card = state.card.clone();
                        state.show(card);
                    }
                    self.changed.notify_all();
                }
                None => {}
            }
        }
        self.ended(id);
    }

    fn handle(self: &Arc<Self>, id: u64, request: Request) -> Next {
        let call = match &request {
            Request::Presence { thread } => return Next::Answer(self.presence(id, *thread)),
            Request::Hello { .. } | Request::Close => return Next::Answer(Ok(Vec::new())),
            // The daemon's last question about a reader that it adds; to each
            // of the further slots it is none.
            Request::GetAttribute {
                tag: wire::TAG_SLOTS_NUMBER,
            } => return Next::Answer(self.added(id)),
            Request::Transmit(_) => IfdCall::Transmit,
            Request::Power(wire::POWER_UP) => IfdCall::PowerOn,
            Request::Power(wire::RESET) => IfdCall::Reset,
            Request::Power(_) => IfdCall::PowerOff,
            Request::SetProtocol => IfdCall::SetProtocol,
            Request::Control { .. } => IfdCall::Control,
            Request::GetAttribute { .. } => IfdCall::GetAttribute,
            Request::SetAttribute { .. } => IfdCall::SetAttribute,
        };
        let (delay, failure) = lock(&self.faults).take(call);
        let ticket = match &request {
            // These end when the card leaves.
            Request::Transmit(_) | Request::Power(_) => match self.begin(id) {
                Some(ticket) => Some(ticket),
                None => return Next::Answer(Err(IfdError::COMMUNICATION_ERROR)),
            },
            _ => None,
        };
        if !delay.is_zero() {
            thread::sleep(delay);
        }
        let answer = match (failure, request) {
            (failure, Request::Control { code, input }) => {
                self.hooks().control(code, input, failure)
            }
            (Some(error), _) => Err(error),
            (None, Request::Transmit(command)) => match self.transmit(ticket, command) {
                Some(answer) => answer,
                None => return Next::Leave,
            },
            (None, Request::Power(action)) => self.power(action),
            (None, Request::SetProtocol) => Ok(Vec::new()),
            (None, Request::GetAttribute { tag }) => self.attribute(tag).ok_or(IfdError::TAG),
            (None, Request::SetAttribute { tag, value }) => {
                if tag != wire::TAG_DEVICE_REMOVED {
                    self.hooks().set_attribute(tag, value);
                }
                Ok(Vec::new())
            }
            (None, Request::Presence { .. } | Request::Hello { .. } | Request::Close) => {
                Ok(Vec::new())
            }
        };
        match ticket {
            Some(ticket) if !self.finish(ticket) => Next::Leave,
            _ => Next::Answer(answer),
        }
    }

    fn added(&self, id: u64) -> Answer {
        let mut state = lock(&self.state);
        state.added |= state.is_current(id);
        let slots = state.link.as_ref().map_or(1, |link| link.slots);
        self.changed.notify_all();
        Ok(vec![slots])
    }

    fn presence(&self, id: u64, thread: u32) -> Answer {
        let (delay, failure) = lock(&self.faults).take(IfdCall::Presence);
        if !delay.is_zero() {
            thread::sleep(delay);
        }
        let mut state = lock(&self.state);
        let present =
            failure.is_none() && matches!(&state.shown, Some(card) if !card.atr().is_empty());
        if state.is_current(id) {
            let change = state.change;
            let before = state.looks.get(&thread);
            let doubtful = before.is_some_and(|look| look.doubtful || look.present && !present);
            let look = Look {
                change,
                present,
                doubtful,
            };
            state.looks.insert(thread, look);
        }
        if let Some(error) = failure {
            // It may have been the last failure.
            if !lock(&self.faults).fails_every(IfdCall::Presence) {
                state.touch();
            }
            return Err(error);
        }
        Err(IfdError::new(match present {
            true => wire::PRESENT,
            false => wire::ABSENT,
        }))
    }

    /// Begins something that the removal of the card ends.
    fn begin(&self, id: u64) -> Option<u64> {
        let mut state = lock(&self.state);
        if state.gone || state.shown.is_none() || !state.is_current(id) {
            return None;
        }
        state.commands += 1;
        state.command = Some(state.commands);
        state.command
    }

    /// Whether it has not been ended in the meantime.
    fn finish(&self, ticket: u64) -> bool {
        let mut state = lock(&self.state);
        let mine = state.command == Some(ticket);
        if mine {
            state.command = None;
        }
        mine
    }

    fn shown(&self) -> Option<CardHandle> {
        lock(&self.state).shown.clone()
    }

    fn attribute(&self, tag: u32) -> Option<Vec<u8>> {
        let set = self.hooks().attribute(tag);
        set.or_else(|| match tag {
            wire::ATTRIBUTE_ATR | wire::TAG_ATR => self.shown().map(|card| card.atr().to_vec()),
            _ => None,
        })
    }

    fn power(&self, action: u32) -> Answer {
        let Some(card) = self.shown() else {
            return Err(IfdError::COMMUNICATION_ERROR);
        };
        match action {
            wire::POWER_UP => card.power_on(),
            wire::RESET => card.reset(),
            wire::POWER_DOWN => {
                card.power_off();
                return Ok(Vec::new());
            }
            _ => return Err(IfdError::NOT_SUPPORTED),
        }
        Ok(card.atr().to_vec())
    }

    /// `None`: it is answered when the card is removed.
    fn transmit(self: &Arc<Self>, ticket: Option<u64>, command: Vec<u8>) -> Option<Answer> {
        let Some(card) = self.shown() else {
            return Some(Err(IfdError::COMMUNICATION_ERROR));
        };
        let (number, reply) = card.process(command);
        match reply {
            Reply::Answer(answer) => {
                card.answered(number, &answer);
                Some(Ok(answer))
            }
            Reply::Mute => None,
            Reply::Drop => {
                let state = lock(&self.state);
                if state.command.is_some() && state.command == ticket {
                    // Answers as well.
                    self.take_out(state);
                }
                None
            }
        }
    }
}
