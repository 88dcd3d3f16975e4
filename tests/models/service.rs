//! The service of a model: one reader with one card, and the calls that can wait.
//!
//! It has the same calls with their rules, and fails the test when the library breaks a vital one,
//! by using a handle after its end, or releasing a context during a call in it.
#![cfg_attr(model = "loom", allow(dead_code))]

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::ops::RangeInclusive;
use std::sync::PoisonError;
use std::time::Duration;

use crate::codes::ReturnCode;
use crate::sync::model::lazy_static;
use crate::sync::{Condvar, Mutex, MutexGuard, lock};
use crate::values::{Atr, Scope};

/// What can be wrong with the daemon's socket. Here, nothing is.
#[allow(dead_code, unsafe_code)]
#[path = "../../src/service/daemon.rs"]
mod daemon;
pub(crate) use daemon::Obstacle;

#[path = "../../src/service/blocking.rs"]
mod blocking;
pub(crate) use blocking::block_on;

pub(crate) const MAX_APDU_LEN: usize = 65_548;
pub(crate) const MAX_ANSWER_LEN: usize = MAX_APDU_LEN;

/// The only reader.
pub(crate) const READER: &str = "R";

/// The address makes no difference here.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Address {
    pub(crate) scope: Scope,
    pub(crate) way: Way,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Way {
    #[default]
    Model,
    #[allow(dead_code)]
    Socket(Option<std::sync::Arc<std::path::Path>>),
}

impl Way {
    pub(crate) fn is_exact(&self) -> bool {
        false
    }

    fn is_socket(&self) -> bool {
        false
    }

    fn socket(&self) -> std::sync::Arc<std::path::Path> {
        std::path::Path::new("").into()
    }

    pub(crate) fn ends_calls(&self) -> bool {
        false
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Limit(());

impl Limit {
    pub(crate) fn new(_: Option<std::time::Instant>, _: Option<&Canceller>) -> Limit {
        Limit(())
    }

    pub(crate) fn of_rest(&self) -> Limit {
        Limit(())
    }

    pub(crate) fn is_suspending(&self) -> bool {
        false
    }

    pub(crate) fn is_stopped(&self) -> bool {
        false
    }

    pub(crate) async fn pause(&self, _: Duration) -> Result<(), ReturnCode> {
        Ok(())
    }
}

impl Canceller {
    pub(crate) fn ahead(_: &Way) -> Option<Canceller> {
        None
    }
}

#[derive(Debug)]
pub(crate) struct ContextHandle(u64);

impl ContextHandle {
    pub(crate) fn ends_calls(&self) -> bool {
        false
    }

    pub(crate) fn set_limit(&mut self, _: Limit) {}

    pub(crate) fn is_suspending(&self) -> bool {
        false
    }

    pub(crate) fn is_under_way(&self) -> bool {
        false
    }

    pub(crate) fn hang_up(&mut self) {}

    pub(crate) fn only_waited(&self) -> bool {
        false
    }

    pub(crate) async fn settle(&mut self) {}

    pub(crate) fn is_vacant(&self) -> bool {
        false
    }

    pub(crate) fn hand_on(&mut self) -> Option<ContextHandle> {
        None
    }

    pub(crate) fn canceller(&mut self) -> Canceller {
        Canceller(self.0)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Canceller(u64);

#[derive(Debug, Clone, Copy)]
pub(crate) struct CardHandle(u64);

/// There is only one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process(bool);

impl Process {
    pub(crate) const NONE: Process = Process(false);

    pub(crate) fn current() -> Process {
        Process(true)
    }

    pub(crate) fn number(self) -> u32 {
        0
    }

    pub(crate) fn is_forked(self) -> bool {
        !self.0
    }
}

/// There is no such event.
#[derive(Debug)]
pub(crate) enum StartedEvent {}

impl StartedEvent {
    pub(crate) fn access() -> Option<StartedEvent> {
        None
    }

    pub(crate) fn wait(&self, _limit: Duration) -> bool {
        match *self {}
    }
}

#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) handle: CardHandle,
    pub(crate) protocol: u32,
}

#[derive(Debug)]
pub(crate) struct Status {
    pub(crate) names: Vec<u8>,
    pub(crate) state: u32,
    pub(crate) protocol: u32,
    pub(crate) atr: Atr,
}

#[derive(Debug)]
pub(crate) struct ReaderQuery<'a> {
    pub(crate) name: &'a CStr,
    pub(crate) current_state: u32,
    pub(crate) event_state: u32,
    pub(crate) atr: Atr,
}

impl<'a> ReaderQuery<'a> {
    pub(crate) fn unaware(name: &'a CStr) -> ReaderQuery<'a> {
        ReaderQuery::knowing(name, 0)
    }

    pub(crate) fn knowing(name: &'a CStr, current_state: u32) -> ReaderQuery<'a> {
        ReaderQuery {
            name,
            current_state,
            event_state: 0,
            atr: Atr::default(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: ReturnCode,
    pub(crate) needed_len: Option<usize>,
    pub(crate) ours: Option<Ours>,
    pub(crate) obstacle: Option<Obstacle>,
}

/// Never used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code)]
pub(crate) enum Ours {
    KeptOut,
    Contradictory,
    OtherProtocol(ProtocolVersion),
}

/// There is only one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ProtocolVersion;

impl ProtocolVersion {
    pub(crate) const OLDEST: ProtocolVersion = ProtocolVersion;
    pub(crate) const NEWEST: ProtocolVersion = ProtocolVersion;
}

impl std::fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("4:4")
    }
}

impl From<ReturnCode> for Failure {
    fn from(code: ReturnCode) -> Failure {
        Failure {
            code,
            needed_len: None,
            ours: None,
            obstacle: None,
        }
    }
}

#[derive(Default)]
struct Service {
    next: u64,
    contexts: BTreeMap<u64, InContext>,
    /// The context of each handle.
    handles: BTreeMap<u64, u64>,
    /// The handle that holds a transaction.
    holder: Option<u64>,
    /// The number of insertions and removals of the card.
    changes: u32,
    /// The first bytes of the commands that the card has received.
    sent: Vec<u8>,
    /// How often each first byte may have been sent by the end.
    expected: Vec<(u8, RangeInclusive<usize>)>,
}

/// Checks the state at the end of a run, when all threads have ended.
impl Drop for Service {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        assert!(self.handles.is_empty(), "a connection is left");
        assert!(self.contexts.is_empty(), "a context is left");
        assert_eq!(self.holder, None, "a transaction is left");
        for (first, times) in &self.expected {
            let sent = self.sent.iter().filter(|it| *it == first).count();
            assert!(times.contains(&sent), "sent {sent} times");
        }
    }
}

#[derive(Default)]
struct InContext {
    calls: usize,
    waits: bool,
    cancelled: bool,
}

lazy_static! {
    static ref SERVICE: Mutex<Service> = Mutex::new(Service::default());
    static ref CHANGED: Condvar = Condvar::new();
}

type Guard = MutexGuard<'static, Service>;

fn service() -> Guard {
    lock(&SERVICE)
}

fn notify(service: Guard) {
    drop(service);
    CHANGED.notify_all();
}

/// Sets how often commands with this first byte may have been sent by the end.
pub(crate) fn expect(first: u8, times: RangeInclusive<usize>) {
    service().expected.push((first, times));
}

/// Waits until no context is left.
pub(crate) fn wait_until_unused() {
    let mut service = service();
    while !service.contexts.is_empty() {
        service = wait(service);
    }
}

/// Inserts or removes the card.
pub(crate) fn change() {
    let mut service = service();
    service.changes += 1;
    notify(service);
}

fn wait(service: Guard) -> Guard {
    CHANGED
        .wait(service)
        .unwrap_or_else(PoisonError::into_inner)
}

impl Service {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn context_of(&self, card: CardHandle) -> u64 {
        *self.handles.get(&card.0).expect("a handle that has ended")
    }

    fn enter(&mut self, context: u64) {
        let context = self.contexts.get_mut(&context);
        let context = context.expect("a context that was released");
        context.calls += 1;
        assert_eq!(context.calls, 1, "two calls at once in a context");
    }

    fn leave(&mut self, context: u64) {
        let context = self.contexts.get_mut(&context);
        context
            .expect("a context that was released in a call")
            .calls -= 1;
    }

    /// Whether another handle holds a transaction.
    fn is_held(&self, card: Option<u64>) -> bool {
        self.holder.is_some() && self.holder != card
    }
}

/// Makes a call on a card when no other handle holds a transaction.
fn on_card<T>(card: CardHandle, call: impl FnOnce(&mut Service) -> T) -> T {
    let mut service = service();
    let context = service.context_of(card);
    service.enter(context);
    while service.is_held(Some(card.0)) {
        service = wait(service);
    }
    let answer = call(&mut service);
    service.leave(context);
    notify(service);
    answer
}

pub(crate) async fn establish_context(
    _address: &Address,
    _limit: Limit,
) -> Result<ContextHandle, Failure> {
    let mut service = service();
    let number = service.number();
    service.contexts.insert(number, InContext::default());
    Ok(ContextHandle(number))
}

pub(crate) async fn release_context(context: &mut ContextHandle) -> Result<(), Failure> {
    let mut service = service();
    let released = service.contexts.remove(&context.0);
    let released = released.expect("a context that was released before");
    assert_eq!(released.calls, 0, "released while a call is in it");
    // Its handles end with the context.
    let holder = service.holder.and_then(|it| service.handles.get(&it));
    assert_ne!(holder, Some(&context.0), "the card is reset");
    service.handles.retain(|_, of| *of != context.0);
    notify(service);
    Ok(())
}

pub(crate) async fn is_valid_context(context: &mut ContextHandle) -> Result<(), Failure> {
    let known = service().contexts.contains_key(&context.0);
    known
        .then_some(())
        .ok_or(ReturnCode::E_INVALID_HANDLE.into())
}

pub(crate) async fn list_readers(
    context: &mut ContextHandle,
    _group: Option<&CStr>,
) -> Result<Vec<u8>, Failure> {
    is_valid_context(context).await?;
    Ok(format!("{READER}\0\0").into_bytes())
}

pub(crate) async fn list_reader_groups(context: &mut ContextHandle) -> Result<Vec<u8>, Failure> {
    is_valid_context(context).await?;
    Ok(b"G\0\0".to_vec())
}

pub(crate) async fn get_status_change(
    context: &mut ContextHandle,
    timeout_ms: u32,
    readers: &mut [ReaderQuery<'_>],
) -> Result<(), Failure> {
    let mut service = service();
    service.enter(context.0);
    let waits = timeout_ms > 0;
    let mut timed_out = !waits;
    let answer = loop {
        let mut changed = false;
        for reader in &mut *readers {
            let is_reader = reader.name.to_bytes() == READER.as_bytes();
            let count = if is_reader { service.changes + 1 } else { 1 };
            let card = if count % 2 == 0 { 0x20 } else { 0x10 };
            let flags = if is_reader { card } else { 0 };
            reader.event_state = count << 16 | flags;
            reader.atr = Atr::new(if flags == 0x20 { &[0x3B] } else { &[] }).unwrap();
            let known = reader.current_state >> 16;
            changed |= known != count && (is_reader || known != 0);
        }
        let context = service.contexts.get_mut(&context.0).expect("released");
        if std::mem::take(&mut context.cancelled) {
            break Err(ReturnCode::E_CANCELLED);
        }
        context.waits = waits;
        match (changed, timed_out) {
            (true, _) => break Ok(()),
            (false, true) => break Err(ReturnCode::E_TIMEOUT),
            (false, false) if timeout_ms == u32::MAX => service = wait(service),
            (false, false) => {
                let limit = Duration::from_millis(timeout_ms.into());
                let waited = CHANGED.wait_timeout(service, limit);
                let (awake, slept) = waited.unwrap_or_else(PoisonError::into_inner);
                (service, timed_out) = (awake, slept.timed_out());
            }
        }
    };
    let waited_in = service.contexts.get_mut(&context.0).expect("released");
    waited_in.waits = false;
    service.leave(context.0);
    Ok(answer?)
}

/// Has no effect if the wait has not begun.
pub(crate) fn cancel(context: &Canceller) -> Result<(), Failure> {
    let mut service = service();
    let context = service.contexts.get_mut(&context.0);
    let context = context.expect("a context that was released");
    context.cancelled |= context.waits;
    notify(service);
    Ok(())
}

pub(crate) async fn connect(
    context: &mut ContextHandle,
    reader: &CStr,
    _share_mode: u32,
    _protocols: u32,
) -> Result<Connected, Failure> {
    assert_eq!(reader.to_bytes(), READER.as_bytes());
    let mut service = service();
    service.enter(context.0);
    while service.is_held(None) {
        service = wait(service);
    }
    service.leave(context.0);
    let number = service.number();
    service.handles.insert(number, context.0);
    notify(service);
    Ok(Connected {
        handle: CardHandle(number),
        protocol: 2,
    })
}

pub(crate) async fn reconnect(
    _context: &mut ContextHandle,
    card: CardHandle,
    _share_mode: u32,
    _protocols: u32,
    _initialization: u32,
) -> Result<u32, Failure> {
    on_card(card, |_| Ok(2))
}

/// Never called: connections end with their contexts.
pub(crate) async fn disconnect(
    _context: &mut ContextHandle,
    _card: CardHandle,
    _disposition: u32,
) -> Result<(), Failure> {
    panic!("connections end with their contexts")
}

pub(crate) async fn begin_transaction(
    _context: &mut ContextHandle,
    card: CardHandle,
) -> Result<(), Failure> {
    on_card(card, |service| {
        service.holder = Some(card.0);
        Ok(())
    })
}

pub(crate) async fn end_transaction(
    _context: &mut ContextHandle,
    card: CardHandle,
    _disposition: u32,
) -> Result<(), Failure> {
    on_card(card, |service| {
        let held = service.holder.take();
        held.map(drop).ok_or(ReturnCode::E_NOT_TRANSACTED.into())
    })
}

pub(crate) async fn status(
    _context: &mut ContextHandle,
    card: CardHandle,
) -> Result<Status, Failure> {
    on_card(card, |_| {
        Ok(Status {
            names: format!("{READER}\0\0").into_bytes(),
            state: 0x34,
            protocol: 2,
            atr: Atr::new(&[0x3B]).unwrap(),
        })
    })
}

pub(crate) async fn transmit(
    _context: &mut ContextHandle,
    card: CardHandle,
    _protocol: u32,
    command: &[u8],
    answer: &mut [u8],
) -> Result<usize, Failure> {
    on_card(card, |service| {
        service.sent.extend(command.first());
        answer[..2].copy_from_slice(&[0x90, 0x00]);
        Ok(2)
    })
}

pub(crate) fn transmit_at_once(
    context: &mut ContextHandle,
    card: CardHandle,
    protocol: u32,
    command: &[u8],
    answer: &mut [u8],
) -> Result<usize, Failure> {
    block_on(transmit(context, card, protocol, command, answer))
}

pub(crate) async fn control(
    _context: &mut ContextHandle,
    _card: CardHandle,
    _code: u32,
    _input: &[u8],
    _output: &mut [u8],
) -> Result<usize, Failure> {
    Err(ReturnCode::E_UNEXPECTED.into())
}

pub(crate) async fn get_attribute(
    _context: &mut ContextHandle,
    _card: CardHandle,
    _id: u32,
) -> Result<Vec<u8>, Failure> {
    Err(ReturnCode::E_UNEXPECTED.into())
}

pub(crate) async fn set_attribute(
    _context: &mut ContextHandle,
    _card: CardHandle,
    _id: u32,
    _value: &[u8],
) -> Result<(), Failure> {
    Err(ReturnCode::E_UNEXPECTED.into())
}
