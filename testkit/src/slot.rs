//! The card's side of one reader of the driver.
//!
//! The driver listens on a port. A connection to it is a card: the driver
//! accepts one when the daemon asks whether a card is present, every 400 ms,
//! and passes on "get ATR" to learn whether it still is. Each connection is
//! served by a thread of its own, so that nothing a card does can hold up the
//! removal of that card or the insertion of the next.
//!
//! Two things make this more complicated than connecting and closing:
//!
//! - The driver notices the end of a connection only when it next uses it. If
//!   the same look accepted a new card's connection and found the old one dead
//!   after a failed command, the daemon would never see the reader empty and
//!   never power on the new card. So a removal first makes sure that the daemon
//!   has published it (`Absence`): a connection without a card (a probe) refuses
//!   "get ATR" by closing.
//! - The driver's queue of connections has one place. A connection that is not
//!   yet accepted is therefore kept for the next card, or serves as the probe.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::ops::ControlFlow;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::card::Reply;
use crate::card_handle::CardHandle;
use crate::error::TestkitError;
use crate::status::DaemonStatus;
use crate::sync::{lock, wait};
use crate::vpcd::{self, Message};

/// After this many looks that find no card, on new connections, the daemon has
/// published that there is none. For daemons that cannot be asked: the looks
/// come from one thread, which publishes before it looks again.
const REFUSALS: u8 = 2;

/// The maximum number of "get ATR" before a new card is powered on: twice when
/// the daemon starts, once by each look, once by the power-on itself. More mean
/// that the daemon did not notice the change of cards.
const LOOKS_BEFORE_POWER: u8 = 4;

/// How long to try without pause to reach a daemon that starts.
const KNOCKING: Duration = Duration::from_millis(150);

#[derive(Debug)]
pub(crate) struct Slot {
    name: String,
    port: u16,
    status: Arc<DaemonStatus>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// The daemon runs or is being started.
    daemon: bool,
    card: Option<CardHandle>,
    link: Option<Link>,
    /// The number of connections so far; each gets the next number.
    links: u64,
    absence: Absence,
    /// When the daemon may have begun to listen.
    since: Instant,
    /// Why the last attempt to connect to the driver has failed.
    refusal: Option<io::ErrorKind>,
}

/// Whether the daemon is known to see the reader as empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Absence {
    /// It may believe that there is a card; `refusals` looks were refused.
    Doubtful { refusals: u8 },
    /// It has published that there is none.
    Published,
}

const DOUBTFUL: Absence = Absence::Doubtful { refusals: 0 };

impl State {
    /// The likely reason why the daemon does not see the state of the reader.
    fn likely(&self, address: SocketAddr) -> String {
        match (&self.link, self.refusal) {
            (_, Some(refusal)) => format!(
                "vpcd cannot be reached at {address} ({refusal}): is the loopback interface up \
                 (`ip link set lo up`), and is pcscd running?"
            ),
            (Some(link), None) if !link.used => format!(
                "vpcd listens at {address} but has not accepted the connection: pcscd is paused, \
                 or busy with a command to a reader"
            ),
            (Some(_), None) => "pcscd has queried the reader but not notified its clients: \
                                it is paused, or could not power on the card (see \
                                Sandbox::daemon_log)"
                .into(),
            (None, None) => "nothing is connected to vpcd".into(),
        }
    }
}

/// The current connection. Its thread continues only while the number is its own.
#[derive(Debug)]
struct Link {
    id: u64,
    stream: Option<Arc<TcpStream>>,
    /// The driver has accepted it.
    used: bool,
    /// The card that it presents.
    card: Option<CardHandle>,
    /// The card was removed: it no longer answers.
    torn: bool,
    /// The driver waits for an answer.
    busy: bool,
    /// Clients can see the card.
    published: bool,
}

impl Link {
    fn presents(&self) -> bool {
        self.card.is_some() && !self.torn
    }
}

/// How far the daemon is with a new card; local to the connection's thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Insertion {
    Looked(u8),
    PoweredOn,
    AtrRead,
    Done,
}

impl Slot {
    pub(crate) fn new(name: String, port: u16, status: Arc<DaemonStatus>) -> Self {
        Self {
            name,
            port,
            status,
            state: Mutex::new(State {
                daemon: false,
                card: None,
                link: None,
                links: 0,
                absence: Absence::Published,
                since: Instant::now(),
                refusal: None,
            }),
            changed: Condvar::new(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn card(&self) -> Option<CardHandle> {
        lock(&self.state).card.clone()
    }

    pub(crate) fn has_daemon(&self) -> bool {
        lock(&self.state).daemon
    }

    /// A new daemon is about to run: it knows of no card.
    pub(crate) fn daemon_starts(self: &Arc<Self>) {
        let mut state = lock(&self.state);
        self.hang_up(&mut state);
        state.daemon = true;
        state.absence = Absence::Published;
        state.since = Instant::now();
    }

    /// Connects the cards of a daemon that is just starting, then leaves the
    /// readers to their threads.
    ///
    /// A daemon looks twice at each reader when it opens it, one reader after
    /// another, each within a fraction of a millisecond. A card that is connected
    /// by then need not wait 400 ms for the next look, so it pays to try without
    /// pause for a moment, in the daemon's order.
    pub(crate) fn knock(slots: &[Arc<Self>]) {
        for slot in slots {
            while slot.awaits_daemon() {
                if let Ok(stream) = TcpStream::connect(slot.address()) {
                    let mut state = lock(&slot.state);
                    if state.link.is_none() {
                        slot.open_link(&mut state, Some(stream));
                    }
                }
            }
        }
        for slot in slots {
            slot.renew(&mut lock(&slot.state));
        }
    }

    fn awaits_daemon(&self) -> bool {
        let state = lock(&self.state);
        state.daemon
            && state.card.is_some()
            && state.link.is_none()
            && state.since.elapsed() < KNOCKING
    }

    /// The daemon has ended, or the sandbox ends.
    pub(crate) fn daemon_ended(&self) {
        let mut state = lock(&self.state);
        state.daemon = false;
        self.hang_up(&mut state);
        state.absence = Absence::Published;
    }

    pub(crate) fn insert(self: &Arc<Self>, card: &CardHandle) -> Result<(), TestkitError> {
        let mut state = lock(&self.state);
        if state.card.is_some() {
            return Err(TestkitError::ReaderOccupied {
                reader: self.name.clone(),
            });
        }
        card.claim()?;
        state.card = Some(card.clone());
        self.renew(&mut state);
        Ok(())
    }

    pub(crate) fn remove(self: &Arc<Self>) {
        self.take_out(lock(&self.state));
    }

    fn take_out(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let Some(card) = state.card.take() else {
            return;
        };
        card.release();
        match &mut state.link {
            // Never accepted: the next card takes it over, or it is a probe.
            Some(link) if !link.used => {}
            // The driver will notice when it next asks, and so will we: this
            // says more than closing now, and looks the same to the daemon.
            Some(link) if !link.busy => {
                link.torn = true;
                link.published = false;
            }
            // It waits for an answer: release it.
            Some(_) => self.hang_up(&mut state),
            None => {}
        }
        self.renew(&mut state);
        drop(state);
        self.changed.notify_all();
        card.lose_power();
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
                (None, _) if state.absence == Absence::Published => return Ok(()),
                (Some(wanted), Some(present)) if wanted.is(present) => {
                    if !state.daemon {
                        return Err(TestkitError::DaemonNotRunning);
                    }
                    if state.link.as_ref().is_some_and(|link| link.published) {
                        return Ok(());
                    }
                }
                (Some(_), _) => {
                    return Err(TestkitError::CardGone {
                        reader: self.name.clone(),
                    });
                }
                // Another thread has inserted a card meanwhile, and the daemon
                // has seen it: so it had seen the empty reader.
                (None, Some(_)) if state.link.as_ref().is_some_and(Link::presents) => {
                    return Ok(());
                }
                (None, _) => {}
            }
            let likely = state.likely(self.address());
            state = wait(&self.changed, state, deadline).ok_or_else(|| TestkitError::Timeout {
                what: match card {
                    Some(_) => format!("pcscd to publish the card in {:?}", self.name),
                    None => format!("pcscd to publish {:?} as empty", self.name),
                },
                after: timeout,
                likely,
            })?;
        }
    }

    /// The address where the driver waits for the card of this slot.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Ends the connection in use.
    fn hang_up(&self, state: &mut State) {
        if let Some(link) = state.link.take() {
            match link.stream {
                Some(stream) if link.busy => vpcd::tear(&stream),
                Some(stream) => drop(stream.shutdown(Shutdown::Both)),
                None => {}
            }
            if link.card.is_some() {
                state.absence = DOUBTFUL;
            }
        }
        self.changed.notify_all();
    }

    /// Opens a connection if one is needed and missing.
    fn renew(self: &Arc<Self>, state: &mut State) {
        let needed = state.card.is_some() || state.absence != Absence::Published;
        if state.daemon && needed && state.link.is_none() {
            self.open_link(state, None);
        }
    }

    fn open_link(self: &Arc<Self>, state: &mut State, stream: Option<TcpStream>) {
        let stream = stream.map(Arc::new);
        state.links += 1;
        let id = state.links;
        state.link = Some(Link {
            id,
            stream: stream.clone(),
            used: false,
            card: None,
            torn: false,
            busy: false,
            published: false,
        });
        let slot = Arc::clone(self);
        std::thread::Builder::new()
            .name(format!("vpcd-{}", self.port))
            .spawn(move || slot.serve(id, stream))
            .expect("a thread for a virtual card");
    }

    /// The state, if connection `id` is still the one in use.
    fn current(&self, id: u64) -> Option<MutexGuard<'_, State>> {
        let state = lock(&self.state);
        let current = state.link.as_ref().is_some_and(|link| link.id == id);
        current.then_some(state)
    }

    /// Serves a connection until it ends.
    fn serve(self: Arc<Self>, id: u64, stream: Option<Arc<TcpStream>>) {
        let Some(stream) = stream.or_else(|| self.connect(id)) else {
            return;
        };
        let _ = stream.set_nodelay(true);
        let mut insertion = Insertion::Looked(0);
        loop {
            let message = vpcd::receive(&stream);
            let step = match message {
                Ok(message) => self.handle(id, &stream, message, &mut insertion),
                Err(_) => ControlFlow::Break(()),
            };
            if step.is_break() {
                break;
            }
        }
        if let Some(mut state) = self.current(id) {
            let card = state.link.as_ref().and_then(|link| link.card.clone());
            self.hang_up(&mut state);
            self.renew(&mut state);
            drop(state);
            if let Some(card) = card {
                card.lose_power();
            }
        }
    }

    /// Connects to the driver, as soon as it listens.
    fn connect(&self, id: u64) -> Option<Arc<TcpStream>> {
        let address = self.address();
        loop {
            let since = self.current(id)?.since;
            // No longer: while the driver's queue is full, the kernel drops
            // attempts and repeats them only after a second.
            match TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
                Ok(stream) => {
                    let stream = Arc::new(stream);
                    let mut state = self.current(id)?;
                    state.refusal = None;
                    state.link.as_mut()?.stream = Some(Arc::clone(&stream));
                    return Some(stream);
                }
                Err(e) => self.current(id)?.refusal = Some(e.kind()),
            }
            std::thread::sleep(match since.elapsed() < Duration::from_secs(5) {
                true => Duration::from_millis(2),
                false => Duration::from_millis(50),
            });
        }
    }

    fn handle(
        self: &Arc<Self>,
        id: u64,
        stream: &TcpStream,
        message: Message,
        insertion: &mut Insertion,
    ) -> ControlFlow<()> {
        let card = {
            let Some(mut guard) = self.current(id) else {
                return ControlFlow::Break(());
            };
            let state = &mut *guard;
            let Some(link) = &mut state.link else {
                return ControlFlow::Break(());
            };
            if !link.used {
                link.used = true;
                if state.absence == Absence::Published {
                    link.card = state.card.clone();
                }
                if link.card.is_some() {
                    state.absence = DOUBTFUL;
                }
            }
            let unnoticed =
                *insertion == Insertion::Looked(LOOKS_BEFORE_POWER) && message == Message::GetAtr;
            match &link.card {
                Some(card) if !link.torn && !unnoticed => {
                    if *insertion == Insertion::AtrRead {
                        *insertion = Insertion::Done;
                    }
                    link.published = *insertion == Insertion::Done;
                    link.busy = matches!(message, Message::Command(_) | Message::GetAtr);
                    let card = card.clone();
                    if link.published {
                        self.changed.notify_all();
                    }
                    card
                }
                _ => {
                    drop(guard);
                    return self.refuse(id, stream, &message);
                }
            }
        };
        match message {
            Message::PowerOn => {
                if matches!(insertion, Insertion::Looked(_)) {
                    *insertion = Insertion::PoweredOn;
                }
                card.power_on();
            }
            Message::PowerOff => card.power_off(),
            Message::Reset => card.reset(),
            Message::GetAtr => {
                self.answer(id, stream, card.atr())?;
                match *insertion {
                    Insertion::Looked(n) => *insertion = Insertion::Looked(n + 1),
                    Insertion::PoweredOn => {
                        *insertion = Insertion::AtrRead;
                        if self.status.confirm(&self.name, true) == Some(true) {
                            *insertion = Insertion::Done;
                            if let Some(link) = &mut self.current(id).or_break()?.link {
                                link.published = true;
                            }
                            self.changed.notify_all();
                        }
                    }
                    Insertion::AtrRead | Insertion::Done => {}
                }
            }
            Message::Command(command) => {
                let (number, reply) = card.process(command, vpcd::MAX_LEN);
                match reply {
                    Reply::Answer(answer) => {
                        card.answered(number, &answer);
                        self.answer(id, stream, &answer)?;
                    }
                    Reply::Mute => loop {
                        let state = self.current(id).or_break()?;
                        drop(self.changed.wait(state));
                    },
                    Reply::Drop | Reply::Fail(_) => {
                        self.take_out(self.current(id).or_break()?);
                        return ControlFlow::Break(());
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn answer(&self, id: u64, stream: &TcpStream, answer: &[u8]) -> ControlFlow<()> {
        {
            let mut state = self.current(id).or_break()?;
            if let Some(link) = &mut state.link {
                link.busy = false;
            }
        }
        vpcd::send(stream, answer).ok().or_break()
    }

    /// Handles a message on a connection that has no card, or no longer has one.
    fn refuse(self: &Arc<Self>, id: u64, stream: &TcpStream, message: &Message) -> ControlFlow<()> {
        match message {
            // These have no answer, so they tell the driver nothing.
            Message::PowerOff | Message::PowerOn | Message::Reset => {
                return ControlFlow::Continue(());
            }
            Message::Command(_) => {
                vpcd::tear(stream);
                return ControlFlow::Break(());
            }
            Message::GetAtr => {}
        }
        let _ = stream.shutdown(Shutdown::Both);
        {
            let state = self.current(id).or_break()?;
            if state.absence == Absence::Published {
                return ControlFlow::Break(());
            }
        }
        let confirmed = self.status.confirm(&self.name, false);
        let mut state = self.current(id).or_break()?;
        let probe = state.link.take().is_some_and(|link| link.card.is_none());
        let refusals = match state.absence {
            Absence::Doubtful { refusals } if probe => refusals + 1,
            _ => 0,
        };
        state.absence = match confirmed {
            Some(true) => Absence::Published,
            Some(false) => DOUBTFUL,
            None if refusals >= REFUSALS => Absence::Published,
            None => Absence::Doubtful { refusals },
        };
        self.renew(&mut state);
        self.changed.notify_all();
        ControlFlow::Break(())
    }
}

/// `?` that ends the connection if there is no value.
trait OrBreak<T> {
    fn or_break(self) -> ControlFlow<(), T>;
}

impl<T> OrBreak<T> for Option<T> {
    fn or_break(self) -> ControlFlow<(), T> {
        self.map_or(ControlFlow::Break(()), ControlFlow::Continue)
    }
}
