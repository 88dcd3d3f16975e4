//! The computer behind the functions in `winscard.rs`: the service, which runs while there are
//! readers and for some time after that, the cards, and other programs.
#![allow(unreachable_pub)]

use std::collections::BTreeMap;
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};

pub const INVALID_HANDLE: u32 = 6;
pub const CANCELLED: u32 = 0x8010_0002;
pub const INSUFFICIENT_BUFFER: u32 = 0x8010_0008;
pub const UNKNOWN_READER: u32 = 0x8010_0009;
pub const TIMEOUT: u32 = 0x8010_000A;
pub const SHARING_VIOLATION: u32 = 0x8010_000B;
pub const NO_SMARTCARD: u32 = 0x8010_000C;
pub const PROTO_MISMATCH: u32 = 0x8010_000F;
pub const SYSTEM_CANCELLED: u32 = 0x8010_0012;
pub const NOT_TRANSACTED: u32 = 0x8010_0016;
pub const NO_SERVICE: u32 = 0x8010_001D;
pub const READER_UNAVAILABLE: u32 = 0x8010_0017;
pub const SERVICE_STOPPED: u32 = 0x8010_001E;
pub const NO_READERS_AVAILABLE: u32 = 0x8010_002E;
pub const RESET_CARD: u32 = 0x8010_0068;
pub const REMOVED_CARD: u32 = 0x8010_0069;

/// `SCARD_PROTOCOL_RAW` on Windows.
pub const RAW: u32 = 0x1_0000;
/// `SCARD_SHARE_EXCLUSIVE` and `SCARD_SHARE_DIRECT`.
const EXCLUSIVE: u32 = 1;
pub const DIRECT: u32 = 3;

pub const ATR: &[u8] = &[0x3B, 0x80, 0x01, 0x81];
pub const PLUG_AND_PLAY: &str = r"\\?PnP?\Notification";

/// The group of readers that are in no other group.
pub const DEFAULT_GROUP: &str = "SCard$DefaultReaders";

/// A reader.
#[derive(Clone, Debug)]
pub struct Reader {
    pub name: Vec<u16>,
    pub group: &'static str,
    pub has_card: bool,
    /// The number of insertions and removals of cards.
    events: u32,
    /// The connection that holds a transaction; [`OTHER_PROGRAM`] for another program.
    transaction: Option<i64>,
    /// The active protocol of all connections.
    protocol: u32,
}

/// A card's applet: maps a command to the answer.
pub type Applet = fn(&[u8]) -> Vec<u8>;

/// The holder of another program's transaction.
const OTHER_PROGRAM: i64 = -1;

/// What a connection must acknowledge before it can be used again.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Pending {
    Nothing,
    Reset,
    Removal,
}

/// A connection.
#[derive(Clone, Debug)]
struct Connection {
    start: u32,
    context: i64,
    reader: Vec<u16>,
    mode: u32,
    protocol: u32,
    pending: Pending,
}

#[derive(Debug)]
pub struct World {
    pub running: bool,
    /// The number of starts of the service: handles of an earlier start are invalid.
    start: u32,
    last_handle: i64,
    pub readers: Vec<Reader>,
    /// A reader that is listed but unknown to a wait.
    pub ghost: Option<&'static str>,
    /// The start of each context, and whether the context was cancelled.
    contexts: BTreeMap<i64, (u32, bool)>,
    connections: BTreeMap<i64, Connection>,
    /// The codes without the service: of calls in a context, and of `SCardEstablishContext`.
    pub stopped: u32,
    pub no_service: u32,
    /// The code of a wait and a connect while the service runs without readers. `None`: the wait
    /// waits, and the reader is unknown.
    pub without_readers: Option<u32>,
    /// The code of a wait for more than ten readers.
    pub too_many: u32,
    /// The code if the buffer is too small for an attribute.
    pub too_small: u32,
    /// The code of the next command, which is not sent.
    pub fails_with: Option<u32>,
    /// The answer to every command, instead of SW 9000.
    pub answer: Option<Vec<u8>>,
    /// The applet that answers commands, if any.
    pub applet: Option<Applet>,
    /// Answers to `SCardControl`, by code.
    pub controls: BTreeMap<u32, Vec<u8>>,

    /// The number of calls that wait for another program's transaction.
    pub blocked: usize,
    /// Numbers of calls, and the greatest lengths passed. `calls` counts all calls that reach a
    /// service.
    pub calls: usize,
    pub waits: usize,
    pub commands: usize,
    pub resets: usize,
    pub longest_buffer: usize,
    pub longest_wait: usize,
    pub started_events: usize,
}

impl Default for World {
    fn default() -> World {
        World {
            running: false,
            start: 0,
            last_handle: 0,
            readers: Vec::new(),
            ghost: None,
            contexts: BTreeMap::new(),
            connections: BTreeMap::new(),
            stopped: SERVICE_STOPPED,
            no_service: NO_SERVICE,
            without_readers: None,
            too_many: 0x8010_0004,
            too_small: INSUFFICIENT_BUFFER,
            fails_with: None,
            answer: None,
            applet: None,
            controls: BTreeMap::new(),
            blocked: 0,
            calls: 0,
            waits: 0,
            commands: 0,
            resets: 0,
            longest_buffer: 0,
            longest_wait: 0,
            started_events: 0,
        }
    }
}

static WORLD: LazyLock<Mutex<World>> = LazyLock::new(Mutex::default);
pub static CHANGED: Condvar = Condvar::new();

pub fn world() -> MutexGuard<'static, World> {
    WORLD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until a condition holds. A test that waits too long is ended by its time limit.
pub fn wait_until(is_so: impl Fn(&World) -> bool) {
    let mut world = world();
    while !is_so(&world) {
        world = CHANGED.wait(world).unwrap();
    }
}

pub fn units(text: &str) -> Vec<u16> {
    text.encode_utf16().collect()
}

impl Reader {
    pub fn new(name: Vec<u16>) -> Reader {
        Reader {
            name,
            group: DEFAULT_GROUP,
            has_card: true,
            events: 1,
            transaction: None,
            protocol: 0,
        }
    }
}

/// Plugs in more readers, with cards. The first reader starts the service.
pub fn plug(names: &[&str]) {
    plug_in(names.iter().map(|name| Reader::new(units(name))));
}

pub fn plug_in(readers: impl IntoIterator<Item = Reader>) {
    start_service();
    world().readers.extend(readers);
    CHANGED.notify_all();
}

/// Starts the service, unless it runs.
pub fn start_service() {
    let mut world = world();
    if !world.running {
        world.start += 1;
        world.running = true;
    }
    CHANGED.notify_all();
}

/// Unplugs all readers; the service keeps running.
pub fn unplug_readers() {
    world().readers.clear();
    CHANGED.notify_all();
}

/// Unplugs all readers; the service ends, which ends all waits.
pub fn unplug() {
    let mut world = world();
    world.readers.clear();
    world.running = false;
    CHANGED.notify_all();
}

/// Another program begins a transaction on every card.
pub fn other_program_begins() {
    let mut world = world();
    for reader in &mut world.readers {
        reader.transaction = Some(OTHER_PROGRAM);
    }
}

/// The other program ends its transactions, and resets the cards if `with_reset`, as it also does
/// by ending without disconnecting.
pub fn other_program_ends(with_reset: bool) {
    let mut world = world();
    for number in 0..world.readers.len() {
        world.readers[number].transaction = None;
        if with_reset {
            world.reset(number, None);
        }
    }
    CHANGED.notify_all();
}

/// Ends this program's transactions as if they had been idle for five seconds.
pub fn five_seconds_pass() {
    let mut world = world();
    for number in 0..world.readers.len() {
        let holder = world.readers[number].transaction;
        if holder.is_some_and(|holder| holder != OTHER_PROGRAM) {
            world.readers[number].transaction = None;
            world.reset(number, None);
        }
    }
    CHANGED.notify_all();
}

/// Removes the card, or inserts one.
pub fn exchange(reader: usize, has_card: bool) {
    let mut world = world();
    world.readers[reader].has_card = has_card;
    world.readers[reader].events += 1;
    world.readers[reader].protocol = 0;
    let name = world.readers[reader].name.clone();
    for connection in world.connections.values_mut() {
        if connection.reader == name {
            connection.pending = Pending::Removal;
        }
    }
    CHANGED.notify_all();
}

impl World {
    /// The numbers of contexts and connections.
    pub fn open_handles(&self) -> (usize, usize) {
        (self.contexts.len(), self.connections.len())
    }

    /// Whether this program holds a transaction.
    pub fn is_in_transaction(&self) -> bool {
        let holders = self.readers.iter().filter_map(|it| it.transaction);
        holders.into_iter().any(|holder| holder != OTHER_PROGRAM)
    }

    fn of_this_start(&self, start: Option<u32>) -> Result<(), u32> {
        match start {
            _ if !self.running => Err(self.stopped),
            Some(start) if start == self.start => Ok(()),
            _ => Err(INVALID_HANDLE),
        }
    }

    pub fn establish(&mut self) -> Result<i64, u32> {
        if !self.running {
            return Err(self.no_service);
        }
        self.last_handle += 1;
        self.contexts.insert(self.last_handle, (self.start, false));
        Ok(self.last_handle)
    }

    pub fn release(&mut self, context: i64) -> Result<(), u32> {
        self.contexts.remove(&context).ok_or(INVALID_HANDLE)?;
        // Connections that are still open end with a reset.
        let left: Vec<i64> = self
            .connections
            .iter()
            .filter(|(_, it)| it.context == context)
            .map(|(handle, _)| *handle)
            .collect();
        for handle in left {
            self.disconnect(handle, 1).ok();
        }
        CHANGED.notify_all();
        Ok(())
    }

    pub fn cancel(&mut self, context: i64) {
        if let Some(context) = self.contexts.get_mut(&context) {
            context.1 = true;
        }
        CHANGED.notify_all();
    }

    pub fn context(&self, context: i64) -> Result<(), u32> {
        self.of_this_start(self.contexts.get(&context).map(|(start, _)| *start))
    }

    /// Begins a wait, which earlier cancellations do not affect.
    pub fn begin_wait(&mut self, context: i64) -> Result<u32, u32> {
        self.context(context)?;
        self.waits += 1;
        CHANGED.notify_all();
        self.contexts.insert(context, (self.start, false));
        Ok(self.start)
    }

    /// Whether a wait that began in this start can continue.
    pub fn goes_on(&self, context: i64, start: u32) -> Result<(), u32> {
        if !self.running || self.start != start {
            return Err(SYSTEM_CANCELLED);
        }
        match self.contexts.get(&context) {
            Some((_, true)) => Err(CANCELLED),
            _ => self.has_readers(),
        }
    }

    fn has_readers(&self) -> Result<(), u32> {
        match self.without_readers {
            Some(code) if self.readers.is_empty() => Err(code),
            _ => Ok(()),
        }
    }

    fn number_of(&self, name: &[u16]) -> Result<usize, u32> {
        let number = self.readers.iter().position(|reader| reader.name == name);
        number.ok_or(UNKNOWN_READER)
    }

    /// The event state of a reader.
    pub fn event_state(&self, name: &[u16], current: u32) -> Result<(u32, bool), u32> {
        if name == units(PLUG_AND_PLAY) {
            return Ok(((self.readers.len() as u32) << 16, false));
        }
        match self.number_of(name) {
            Ok(number) => {
                let reader = &self.readers[number];
                let is_used = self.connections.values().any(|it| it.reader == reader.name);
                let state = match (reader.has_card, is_used) {
                    (false, _) => 0x10,
                    (true, false) => 0x20,
                    (true, true) => 0x120,
                };
                Ok((reader.events << 16 | state, reader.has_card))
            }
            Err(unknown) if current & 0xFFFF == 0 => Err(unknown),
            Err(_) => Ok((0xC, false)), // unknown and unavailable
        }
    }

    /// Chooses one of the accepted protocols.
    fn agree(&self, number: usize, mode: u32, accepted: u32) -> Result<u32, u32> {
        let reader = &self.readers[number];
        match (mode, reader.has_card) {
            (DIRECT, _) => return Ok(0),
            (_, false) => return Err(NO_SMARTCARD),
            _ => {}
        }
        let active = match reader.protocol {
            // The card supports T=1 and RAW.
            0 => accepted & (2 | RAW),
            active => accepted & active,
        };
        match active {
            0 => Err(PROTO_MISMATCH),
            _ if active & 2 != 0 => Ok(2),
            raw => Ok(raw),
        }
    }

    pub fn connect(
        &mut self,
        context: i64,
        reader: Vec<u16>,
        mode: u32,
        accepted: u32,
    ) -> Result<(i64, u32), u32> {
        self.context(context)?;
        self.has_readers()?;
        let number = self.number_of(&reader)?;
        let mut others = self.connections.values().filter(|it| it.reader == reader);
        if others.any(|it| it.mode == EXCLUSIVE || mode == EXCLUSIVE) {
            return Err(SHARING_VIOLATION);
        }
        let protocol = self.agree(number, mode, accepted)?;
        if protocol != 0 {
            self.readers[number].protocol = protocol;
        }
        self.last_handle += 1;
        let connection = Connection {
            start: self.start,
            context,
            reader,
            mode,
            protocol,
            pending: Pending::Nothing,
        };
        self.connections.insert(self.last_handle, connection);
        CHANGED.notify_all();
        Ok((self.last_handle, protocol))
    }

    /// The connection, and the number of its reader.
    fn connection(&self, card: i64) -> Result<(&Connection, usize), u32> {
        let connection = self.connections.get(&card);
        self.of_this_start(connection.map(|it| it.start))?;
        let connection = connection.ok_or(INVALID_HANDLE)?;
        let number = self.number_of(&connection.reader);
        Ok((connection, number.map_err(|_| READER_UNAVAILABLE)?))
    }

    /// The number of a connection's reader, if the connection can be used.
    pub fn usable(&self, card: i64) -> Result<usize, u32> {
        let (connection, number) = self.connection(card)?;
        match connection.pending {
            Pending::Nothing => Ok(number),
            Pending::Reset => Err(RESET_CARD),
            Pending::Removal => Err(REMOVED_CARD),
        }
    }

    pub fn is_held_by_another(&self, card: i64) -> Result<bool, u32> {
        let number = self.usable(card)?;
        Ok(self.readers[number]
            .transaction
            .is_some_and(|it| it != card))
    }

    /// Resets a card, which all connections but one must acknowledge.
    fn reset(&mut self, number: usize, by: Option<i64>) {
        self.resets += 1;
        let name = self.readers[number].name.clone();
        self.readers[number].protocol = 0;
        for (handle, connection) in &mut self.connections {
            if connection.reader == name && Some(*handle) != by {
                connection.pending = Pending::Reset;
            }
        }
    }

    /// Ends the transaction, if there is one.
    pub fn reconnect(
        &mut self,
        card: i64,
        mode: u32,
        accepted: u32,
        initialization: u32,
    ) -> Result<u32, u32> {
        let (_, number) = self.connection(card)?;
        if self.readers[number].transaction == Some(card) {
            self.readers[number].transaction = None;
            CHANGED.notify_all();
        }
        if initialization != 0 {
            self.reset(number, Some(card));
        }
        let protocol = self.agree(number, mode, accepted)?;
        if protocol != 0 {
            self.readers[number].protocol = protocol;
        }
        if let Some(connection) = self.connections.get_mut(&card) {
            connection.mode = mode;
            connection.protocol = protocol;
            connection.pending = Pending::Nothing;
        }
        Ok(protocol)
    }

    pub fn disconnect(&mut self, card: i64, disposition: u32) -> Result<(), u32> {
        match self.connection(card) {
            Ok((_, number)) => {
                if self.readers[number].transaction == Some(card) {
                    self.readers[number].transaction = None;
                }
                if disposition != 0 {
                    self.reset(number, Some(card));
                }
            }
            Err(READER_UNAVAILABLE) => {}
            Err(code) => return Err(code),
        }
        self.connections.remove(&card);
        CHANGED.notify_all();
        Ok(())
    }

    pub fn begin(&mut self, card: i64) -> Result<(), u32> {
        let number = self.usable(card)?;
        self.readers[number].transaction = Some(card);
        CHANGED.notify_all();
        Ok(())
    }

    pub fn end(&mut self, card: i64, disposition: u32) -> Result<(), u32> {
        let number = self.usable(card)?;
        if self.readers[number].transaction != Some(card) {
            return Err(NOT_TRANSACTED);
        }
        self.readers[number].transaction = None;
        if disposition != 0 {
            self.reset(number, None);
        }
        CHANGED.notify_all();
        Ok(())
    }

    pub fn start(&self) -> u32 {
        self.start
    }

    /// The names, the state and the protocol of a connection.
    pub fn status(&self, card: i64) -> Result<(Vec<u16>, u32, u32), u32> {
        let number = self.usable(card)?;
        let protocol = self.connections.get(&card).map_or(0, |it| it.protocol);
        let state = match (self.readers[number].has_card, protocol) {
            (false, _) => 1,
            (true, 0) => 5,
            (true, _) => 6,
        };
        Ok((self.readers[number].name.clone(), state, protocol))
    }
}
