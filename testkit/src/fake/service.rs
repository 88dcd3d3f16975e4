//! The fake service.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs;
use std::os::unix::net::UnixListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::net::Shutdown;

use super::client::Client;
use super::{Answer, Gate, Message, Reader, Request};
use crate::directory::Directory;
use crate::error::TestkitError;
use crate::sandbox::SOCKET_VARIABLE;
use crate::sync::{lock, wait};

/// How long the end of the service waits for its threads, which only a script
/// can hold up.
const END: Duration = Duration::from_secs(5);

/// The minimum number of reader states in protocol 4:6.
const LEAST_STATES: usize = 2;

/// A service that answers as the test demands: see the [module](super).
///
/// Clients find it in the same way as a [`Sandbox`](crate::Sandbox): within
/// [`isolated`](crate::isolated()) the PC/SC library of the process talks to the
/// first of either that is started, and other programs to the one whose
/// [`command`](Self::command) starts them.
///
/// Dropping it closes all connections and removes the socket, like the end of a
/// daemon. Then another one can be started.
pub struct Service {
    shared: Arc<Shared>,
    listener: Arc<UnixListener>,
    thread: Option<JoinHandle<()>>,
    socket: PathBuf,
    _dir: Directory,
}

type Script = Box<dyn FnMut(&Request) -> Answer + Send>;

/// What the threads of the service share.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) ended: AtomicBool,
    script: Mutex<Option<Script>>,
    panicked: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
    /// The gates that answers have come to.
    gates: Mutex<Vec<Gate>>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) readers: Vec<Reader>,
    /// Reader states in protocol 4:6. Clients do not accept fewer than before.
    pub(super) states: usize,
    /// How often the list of readers has changed.
    pub(super) changes: u32,
    counts: HashMap<Message, usize>,
    log: Vec<Request>,
    pub(super) connections: usize,
    clients: HashMap<usize, Arc<Client>>,
    /// The connections of contexts.
    pub(super) contexts: HashMap<u32, usize>,
    /// The connections that wait for a change.
    pub(super) waiting: HashSet<usize>,
    threads: usize,
}

impl Service {
    /// Starts a service with one reader, `Fake Reader 00 00`, that has a card.
    ///
    /// # Errors
    /// [`Io`](TestkitError::Io),
    /// [`SocketPathTooLong`](TestkitError::SocketPathTooLong).
    pub fn start() -> Result<Self, TestkitError> {
        Self::begin([Reader::new("Fake Reader 00 00")].into(), None)
    }

    /// Starts a service with these readers and this [script](Self::script), which
    /// already answers the first message.
    ///
    /// # Errors
    /// The same as for [`start`](Self::start).
    pub fn start_with(
        readers: impl IntoIterator<Item = Reader>,
        script: impl FnMut(&Request) -> Answer + Send + 'static,
    ) -> Result<Self, TestkitError> {
        Self::begin(readers.into_iter().collect(), Some(Box::new(script)))
    }

    fn begin(readers: Vec<Reader>, script: Option<Script>) -> Result<Self, TestkitError> {
        let dir = Directory::for_sandbox()?;
        let socket = dir.socket()?;
        let listen = || {
            if let Some(parent) = socket.parent() {
                fs::create_dir(parent)?;
            }
            UnixListener::bind(&socket)
        };
        let listener = Arc::new(listen().map_err(TestkitError::io(format!(
            "listening at {}",
            socket.display()
        )))?);
        let shared = Arc::<Shared>::default();
        shared.show(&mut shared.state(), readers);
        *lock(&shared.script) = script;
        let thread = thread::Builder::new()
            .name("fake service".into())
            .spawn({
                let (shared, listener) = (Arc::clone(&shared), Arc::clone(&listener));
                move || shared.listen(&listener)
            })
            .map_err(TestkitError::io("starting a thread"))?;
        Ok(Self {
            shared,
            listener,
            thread: Some(thread),
            socket,
            _dir: dir,
        })
    }

    /// Answers every message from now on with what the closure returns. The
    /// closure is called for one message at a time, and must not wait: to delay
    /// an answer, use [`Answer::delay`] and [`Answer::stall`].
    ///
    /// If it panics, the connection is closed, and [`panicked`](Self::panicked)
    /// returns true.
    pub fn script(&self, script: impl FnMut(&Request) -> Answer + Send + 'static) {
        *lock(&self.shared.script) = Some(Box::new(script));
    }

    /// Whether a script has panicked.
    pub fn panicked(&self) -> bool {
        self.shared.panicked.load(Ordering::SeqCst)
    }

    /// Reports these readers from now on, and notifies clients that wait for a
    /// change.
    pub fn set_readers(&self, readers: impl IntoIterator<Item = Reader>) {
        let readers = readers.into_iter().collect();
        self.shared.show(&mut self.shared.state(), readers);
    }

    /// How many messages of this kind have arrived.
    pub fn count(&self, message: Message) -> usize {
        self.shared.state().count(message)
    }

    /// Waits until `count` messages of this kind have arrived in total. They may
    /// not be answered yet.
    ///
    /// # Errors
    /// [`Timeout`](TestkitError::Timeout).
    pub fn wait_for(
        &self,
        message: Message,
        count: usize,
        timeout: Duration,
    ) -> Result<(), TestkitError> {
        let deadline = Instant::now() + timeout;
        let mut state = self.shared.state();
        while state.count(message) < count {
            let arrived = state.count(message);
            state = wait(&self.shared.changed, state, deadline).ok_or_else(|| {
                TestkitError::Timeout {
                    what: format!("{count} {message:?} messages"),
                    after: timeout,
                    likely: format!("{arrived} arrived; is the client connected to this service?"),
                }
            })?;
        }
        Ok(())
    }

    /// The messages that have arrived since the start, or since the log was
    /// cleared.
    pub fn log(&self) -> Vec<Request> {
        self.shared.state().log.clone()
    }

    /// Clears the [log](Self::log) of messages. The counts stay as they are.
    pub fn clear_log(&self) {
        self.shared.state().log.clear();
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        self.shared.state().connections
    }

    /// How many connections are open.
    pub fn open_connections(&self) -> usize {
        self.shared.state().clients.len()
    }

    /// Closes all connections.
    pub fn hang_up(&self) {
        for client in self.shared.state().clients.values() {
            client.hang_up();
        }
    }

    /// The service's socket: the value of `PCSCLITE_CSOCK_NAME` for its clients.
    pub fn socket_path(&self) -> &Path {
        &self.socket
    }

    /// A command whose PC/SC library talks to this service.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env(SOCKET_VARIABLE, &self.socket);
        command
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("socket", &self.socket)
            .field("counts", &self.shared.state().counts)
            .finish_non_exhaustive()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.hang_up();
        // Ends the wait for the next client.
        let _ = rustix::net::shutdown(&*self.listener, Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = fs::remove_file(&self.socket);
        self.shared.end();
    }
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn listen(self: &Arc<Self>, listener: &UnixListener) {
        for stream in listener.incoming() {
            let mut state = self.state();
            if self.ended.load(Ordering::SeqCst) {
                break;
            }
            let Ok(stream) = stream else {
                // No descriptor is free, for one.
                drop(wait(
                    &self.changed,
                    state,
                    Instant::now() + Duration::from_millis(10),
                ));
                continue;
            };
            let number = state.connections;
            state.connections += 1;
            let client = Arc::new(Client::new(number, stream));
            state.clients.insert(number, Arc::clone(&client));
            self.spawn(&mut state, move |shared| {
                client.serve(shared);
                let mut state = shared.state();
                state.clients.remove(&number);
                state.waiting.remove(&number);
                state.contexts.retain(|_, connection| *connection != number);
            });
        }
    }

    /// Runs a part of the service in a thread that its end waits for. If no thread
    /// can be started, the part is left out.
    pub(super) fn spawn(
        self: &Arc<Self>,
        state: &mut State,
        part: impl FnOnce(&Arc<Self>) + Send + 'static,
    ) {
        let shared = Arc::clone(self);
        let thread = thread::Builder::new().name("fake client".into());
        let spawned = thread.spawn(move || {
            part(&shared);
            shared.state().threads -= 1;
            shared.changed.notify_all();
        });
        if spawned.is_ok() {
            state.threads += 1;
        }
    }

    /// Counts a message, and returns its answer.
    pub(super) fn ask(&self, request: &mut Request) -> Answer {
        {
            let mut state = self.state();
            let count = state.counts.entry(request.message).or_default();
            request.number = *count;
            *count += 1;
            state.log.push(request.clone());
        }
        self.changed.notify_all();
        let mut script = lock(&self.script);
        if self.ended.load(Ordering::SeqCst) {
            return Answer::hang_up();
        }
        let Some(script) = &mut *script else {
            return Answer::normal();
        };
        catch_unwind(AssertUnwindSafe(|| script(request))).unwrap_or_else(|_| {
            self.panicked.store(true, Ordering::SeqCst);
            Answer::hang_up()
        })
    }

    fn show(self: &Arc<Self>, state: &mut State, readers: Vec<Reader>) {
        let names = |readers: &[Reader]| readers.iter().map(|r| r.name).collect::<Vec<_>>();
        if names(&state.readers) != names(&readers) {
            state.changes = state.changes.wrapping_add(1);
        }
        state.readers = readers;
        for connection in std::mem::take(&mut state.waiting) {
            self.notify(state, connection, 0);
        }
    }

    /// Sends a client what it waits for, on a separate thread, because the client's
    /// own thread waits for requests.
    pub(super) fn notify(self: &Arc<Self>, state: &mut State, connection: usize, code: u32) {
        if let Some(client) = state.clients.get(&connection).cloned() {
            self.spawn(state, move |shared| client.notify(shared, code));
        }
    }

    /// Waits for a time, unless the service ends.
    pub(super) fn sleep(&self, time: Duration) {
        let deadline = Instant::now() + time;
        let mut state = self.state();
        while !self.ended.load(Ordering::SeqCst) {
            match wait(&self.changed, state, deadline) {
                Some(again) => state = again,
                None => return,
            }
        }
    }

    /// Waits at a gate, unless the service ends.
    pub(super) fn pass(&self, gate: &Gate) {
        {
            let mut gates = lock(&self.gates);
            if !gates.iter().any(|known| known.is(gate)) {
                gates.push(gate.clone());
            }
        }
        gate.pass(&self.ended);
    }

    /// Releases everything that waits, and waits for the threads.
    fn end(&self) {
        *lock(&self.script) = None;
        for gate in lock(&self.gates).drain(..) {
            gate.wake();
        }
        let deadline = Instant::now() + END;
        let mut state = self.state();
        self.changed.notify_all();
        while state.threads > 0 {
            match wait(&self.changed, state, deadline) {
                Some(again) => state = again,
                None => return,
            }
        }
    }
}

impl State {
    fn count(&self, message: Message) -> usize {
        self.counts.get(&message).copied().unwrap_or_default()
    }

    /// How many reader states protocol 4:6 has, with `readers` readers.
    pub(super) fn states(&mut self, readers: usize) -> usize {
        self.states = self.states.max(readers).max(LEAST_STATES);
        self.states
    }
}
