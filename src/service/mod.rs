//! The PC/SC calls, one function each, and the state of the process.
//!
//! Arguments and results are numbers and bytes: handles that only this module creates, `u32`,
//! [`ReturnCode`]. Higher layers decide which calls are allowed when. The calls are made by one of
//! two implementations, chosen for each context: `library`, the system's PC/SC library, or
//! `socket`, which speaks to pcsc-lite's daemon directly.
//!
//! All unsafe code of `scard` is here: the calls of C functions, and the fork handlers in
//! [`process`].
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
#[cfg(not(all(feature = "socket", unix, not(target_vendor = "apple"))))]
use std::time::Duration;
use std::time::Instant;

use crate::codes::{Platform, ReturnCode};
use crate::values::{Atr, Scope};

mod blocking;
mod daemon;
mod fork;
mod gate;
#[cfg(feature = "library")]
mod library;
mod locks;
mod process;
#[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
mod socket;
mod started;
mod unfinished;

pub(crate) use blocking::block_on;
pub(crate) use daemon::Obstacle;
#[cfg(unix)]
pub(crate) use locks::Inside;
pub(crate) use process::Process;
pub(crate) use started::StartedEvent;

/// The largest possible command or response: an extended APDU with its length fields and status
/// word.
pub(crate) const MAX_APDU_LEN: usize = 65_548;

/// The size of response buffers. Some drivers on Windows use only the low 16 bits of the length,
/// such as that of a built-in NFC reader, or refuse a length that becomes too long with the CCID
/// header, which was seen with 65,548 bytes for `SCardControl`.
pub(crate) const MAX_ANSWER_LEN: usize = match Platform::CURRENT {
    Platform::Windows => 65_535,
    _ => MAX_APDU_LEN,
};

/// Where a context is established.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Address {
    pub(crate) scope: Scope,
    pub(crate) way: Way,
}

/// The implementation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    #[cfg(feature = "library")]
    Library,
    /// The socket at this path, or at the path from the environment or the system's default.
    #[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
    Socket(Option<Arc<Path>>),
}

impl Way {
    fn is_socket(&self) -> bool {
        match self {
            #[cfg(feature = "library")]
            Way::Library => false,
            #[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
            Way::Socket(_) => true,
        }
    }

    /// The daemon's socket, or where the library expects it.
    fn socket(&self) -> Arc<Path> {
        match self {
            #[cfg(feature = "library")]
            Way::Library => daemon::default_path(),
            #[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
            Way::Socket(path) => path.clone().unwrap_or_else(daemon::default_path),
        }
    }

    /// Whether waiting calls end by themselves when their [`Limit`] is reached.
    pub(crate) fn ends_calls(&self) -> bool {
        self.is_socket()
    }

    /// Whether the readers are reported as they are at one time, and `SCardGetStatusChange` also
    /// reports readers that are attached as it begins, and the exchange of a card in a reader whose
    /// event counter is zero.
    pub(crate) fn is_exact(&self) -> bool {
        self.is_socket()
    }
}

impl Default for Way {
    fn default() -> Way {
        #[cfg(feature = "library")]
        return Way::Library;
        #[cfg(not(feature = "library"))]
        return Way::Socket(None);
    }
}

/// An established context.
#[derive(Debug)]
pub(crate) enum ContextHandle {
    #[cfg(feature = "library")]
    Library(library::Context),
    #[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
    Socket(Box<socket::Client>),
}

impl ContextHandle {
    /// The number that the service assigned, if the context is looked up by it.
    pub(crate) fn looked_up_number(&self) -> Option<u64> {
        match self {
            #[cfg(feature = "library")]
            ContextHandle::Library(context) => context.looked_up_number(),
            #[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
            ContextHandle::Socket(_) => None,
        }
    }

    /// [`Way::ends_calls`].
    pub(crate) fn ends_calls(&self) -> bool {
        match self {
            #[cfg(feature = "library")]
            ContextHandle::Library(_) => false,
            #[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
            ContextHandle::Socket(_) => true,
        }
    }

    /// Sets the limit of calls from now on, if they end by themselves.
    #[cfg_attr(
        not(all(feature = "socket", unix, not(target_vendor = "apple"))),
        allow(unused_variables)
    )]
    pub(crate) fn set_limit(&mut self, limit: Limit) {
        match self {
            #[cfg(feature = "library")]
            ContextHandle::Library(_) => {}
            #[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
            ContextHandle::Socket(client) => client.limit = limit,
        }
    }

    /// Ends the connection to the service, which notices it, without a wait. Also where a forked
    /// child has copies of the descriptor, which must not do this itself.
    pub(crate) fn hang_up(&mut self) {
        match self {
            #[cfg(feature = "library")]
            ContextHandle::Library(_) => {}
            #[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
            ContextHandle::Socket(client) => client.hang_up(),
        }
    }

    /// Whether calls are suspended instead of blocking their thread.
    pub(crate) fn is_suspending(&self) -> bool {
        match self {
            #[cfg(feature = "library")]
            ContextHandle::Library(_) => false,
            #[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
            ContextHandle::Socket(client) => client.limit.is_suspending(),
        }
    }

    /// Whether a call that was given up is still under way. No other call is made before
    /// [`settle`](ContextHandle::settle).
    pub(crate) fn is_under_way(&self) -> bool {
        match self {
            #[cfg(feature = "library")]
            ContextHandle::Library(_) => false,
            #[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
            ContextHandle::Socket(client) => client.is_under_way(),
        }
    }

    /// Whether a call that was given up was waiting until another connection lets the card go, and
    /// had no effect.
    pub(crate) fn only_waited(&self) -> bool {
        match self {
            #[cfg(feature = "library")]
            ContextHandle::Library(_) => false,
            #[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
            ContextHandle::Socket(client) => client.only_waited(),
        }
    }

    /// Waits for the call that was given up and undoes its effects.
    pub(crate) async fn settle(&mut self) {
        match self {
            #[cfg(feature = "library")]
            ContextHandle::Library(_) => {}
            #[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
            ContextHandle::Socket(client) => client.settle().await,
        }
    }

    /// Whether the context can be that of another card: nothing is connected in it, and nothing
    /// is to come from the service.
    pub(crate) fn is_vacant(&self) -> bool {
        match self {
            #[cfg(feature = "library")]
            ContextHandle::Library(_) => false,
            #[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
            ContextHandle::Socket(client) => client.is_vacant(),
        }
    }

    /// Moves the context to another handle, if it still exists. This one can make no more calls.
    pub(crate) fn hand_on(&mut self) -> Option<ContextHandle> {
        match self {
            #[cfg(feature = "library")]
            ContextHandle::Library(_) => None,
            #[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
            ContextHandle::Socket(client) => {
                let client = client.hand_on()?;
                Some(ContextHandle::Socket(Box::new(client)))
            }
        }
    }

    /// The canceller of waits in this context.
    pub(crate) fn canceller(&mut self) -> Canceller {
        match self {
            #[cfg(feature = "library")]
            ContextHandle::Library(context) => Canceller::Library(*context),
            #[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
            ContextHandle::Socket(client) => Canceller::Socket(client.canceller()),
        }
    }
}

/// Ends a wait for a change from another thread. Must not be used after its context has ended.
#[derive(Debug, Clone)]
pub(crate) enum Canceller {
    #[cfg(feature = "library")]
    Library(library::Context),
    /// `None` if no descriptor could be created.
    #[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
    Socket(Option<Arc<socket::Bell>>),
}

impl Canceller {
    /// A canceller for a context that is yet to be established, if calls end by themselves.
    pub(crate) fn ahead(way: &Way) -> Option<Canceller> {
        match way {
            #[cfg(feature = "library")]
            Way::Library => None,
            #[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
            Way::Socket(_) => Some(Canceller::Socket(socket::Bell::new().ok())),
        }
    }
}

/// The limit of calls that end by themselves.
#[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
pub(crate) use socket::Limit;

#[cfg(all(fuzzing, feature = "socket", unix, not(target_vendor = "apple")))]
pub use socket::read_answers;

/// What suspends the calls of futures.
#[cfg(all(
    feature = "async",
    feature = "socket",
    unix,
    not(target_vendor = "apple")
))]
pub(crate) use socket::{Bell, Task, Wanted, Watched, wait_for_any};

/// Without the socket, no calls end by themselves, and none are suspended.
#[cfg(not(all(feature = "socket", unix, not(target_vendor = "apple"))))]
#[derive(Debug, Clone, Default)]
pub(crate) struct Limit(());

#[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
impl Limit {
    pub(crate) fn new(deadline: Option<Instant>, canceller: Option<&Canceller>) -> Limit {
        let bell = match canceller {
            Some(Canceller::Socket(bell)) => bell.clone(),
            _ => None,
        };
        Limit {
            deadline,
            bell,
            task: None,
        }
    }
}

#[cfg(not(all(feature = "socket", unix, not(target_vendor = "apple"))))]
impl Limit {
    pub(crate) fn new(_: Option<Instant>, _: Option<&Canceller>) -> Limit {
        Limit(())
    }

    pub(crate) fn of_rest(&self) -> Limit {
        Limit(())
    }

    #[cfg_attr(not(feature = "async"), allow(dead_code))]
    pub(crate) fn is_suspending(&self) -> bool {
        false
    }

    pub(crate) fn is_stopped(&self) -> bool {
        false
    }

    pub(crate) async fn pause(&self, pause: Duration) -> Result<(), ReturnCode> {
        std::thread::sleep(pause);
        Ok(())
    }
}

/// A connected card or reader, in its context.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CardHandle(u64);

impl CardHandle {
    /// The number that the service assigned.
    pub(crate) fn number(self) -> u64 {
        self.0
    }
}

/// A new connection and the protocol the service reports for it.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) handle: CardHandle,
    pub(crate) protocol: u32,
}

/// The outputs of `SCardStatus`.
#[derive(Debug, PartialEq)]
pub(crate) struct Status {
    pub(crate) names: Vec<u8>,
    pub(crate) state: u32,
    pub(crate) protocol: u32,
    pub(crate) atr: Atr,
}

/// A failed call, with the length of an answer that did not fit into its buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: ReturnCode,
    pub(crate) needed_len: Option<usize>,
    /// The reason, if the failure is this library's and not the service's.
    pub(crate) ours: Option<Ours>,
    /// Why no context could be established, if pcsc-lite's daemon could not be reached.
    pub(crate) obstacle: Option<Obstacle>,
}

/// Why a call failed without a failure of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ours {
    /// The call was not made: the process is ending, or is a forked child that cannot make calls or
    /// cannot tell whether it can.
    KeptOut,
    /// The call was answered, but no answer could be trusted.
    Contradictory,
    /// The daemon speaks this version of its protocol, which is not a supported one.
    #[cfg_attr(
        not(all(feature = "socket", unix, not(target_vendor = "apple"))),
        allow(dead_code)
    )]
    OtherProtocol(ProtocolVersion),
}

/// A version of the protocol of pcsc-lite's daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ProtocolVersion {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

impl ProtocolVersion {
    /// The supported versions: 4:4 of pcsc-lite 1.8.24 to 2.2.3, 4:5 of 2.3 and 2.4, 4:6 of 2.5.
    pub(crate) const OLDEST: ProtocolVersion = ProtocolVersion { major: 4, minor: 4 };
    pub(crate) const NEWEST: ProtocolVersion = ProtocolVersion { major: 4, minor: 6 };
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

impl Failure {
    pub(crate) const KEPT_OUT: Failure = Failure {
        code: ReturnCode::E_SYSTEM_CANCELLED,
        needed_len: None,
        ours: Some(Ours::KeptOut),
        obstacle: None,
    };

    #[cfg_attr(not(feature = "library"), allow(dead_code))]
    pub(crate) const CONTRADICTORY: Failure = Failure {
        code: ReturnCode::F_INTERNAL_ERROR,
        needed_len: None,
        ours: Some(Ours::Contradictory),
        obstacle: None,
    };
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

/// One reader in a call of `SCardGetStatusChange`: the state known to the caller, then the actual
/// one.
#[derive(Debug)]
pub(crate) struct ReaderQuery<'a> {
    pub(crate) name: &'a CStr,
    pub(crate) current_state: u32,
    pub(crate) event_state: u32,
    pub(crate) atr: Atr,
}

impl<'a> ReaderQuery<'a> {
    /// A reader whose state is unknown to the caller.
    pub(crate) fn unaware(name: &'a CStr) -> ReaderQuery<'a> {
        ReaderQuery::knowing(name, 0)
    }

    /// A reader with the state known to the caller.
    pub(crate) fn knowing(name: &'a CStr, current_state: u32) -> ReaderQuery<'a> {
        ReaderQuery {
            name,
            current_state,
            event_state: 0,
            atr: Atr::default(),
        }
    }
}

/// Dispatches a call to the implementation of its context.
macro_rules! in_context {
    ($context:ident, $call:ident($($argument:expr),*)) => {
        match $context {
            #[cfg(feature = "library")]
            ContextHandle::Library(context) => Ok(library::$call(*context, $($argument),*)?),
            #[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
            ContextHandle::Socket(client) => Ok(client.$call($($argument),*).await?),
        }
    };
}

/// Dispatches a call on a card to the implementation of its context.
macro_rules! on_card {
    ($context:ident, $call:ident($card:ident $(, $argument:expr)*)) => {
        match $context {
            #[cfg(feature = "library")]
            ContextHandle::Library(_) => Ok(library::$call($card, $($argument),*)?),
            #[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
            ContextHandle::Socket(client) => Ok(client.$call($card, $($argument),*).await?),
        }
    };
}

/// Over the socket, the limit becomes that of the context.
#[cfg_attr(
    not(all(feature = "socket", unix, not(target_vendor = "apple"))),
    allow(unused_variables)
)]
pub(crate) async fn establish_context(
    address: &Address,
    limit: Limit,
) -> Result<ContextHandle, Failure> {
    let scope = address.scope.raw();
    let established = match &address.way {
        #[cfg(feature = "library")]
        Way::Library => library::establish_context(scope).map(ContextHandle::Library),
        #[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
        Way::Socket(_) => socket::Client::establish(address.way.socket(), scope, limit)
            .await
            .map(|client| ContextHandle::Socket(Box::new(client))),
    };
    established.map_err(|failure| address.explain(failure))
}

pub(crate) async fn release_context(context: &mut ContextHandle) -> Result<(), Failure> {
    in_context!(context, release_context())
}

pub(crate) async fn is_valid_context(context: &mut ContextHandle) -> Result<(), Failure> {
    in_context!(context, is_valid_context())
}

/// The multi-string of the names of all readers, or of those in a group. Only Windows has groups;
/// the other services always list all readers.
pub(crate) async fn list_readers(
    context: &mut ContextHandle,
    group: Option<&CStr>,
) -> Result<Vec<u8>, Failure> {
    in_context!(context, list_readers(group))
}

/// The multi-string of group names.
pub(crate) async fn list_reader_groups(context: &mut ContextHandle) -> Result<Vec<u8>, Failure> {
    in_context!(context, list_reader_groups())
}

/// Waits until a reader differs from the state known to the caller. A `timeout_ms` of `u32::MAX`
/// means no limit. The states are returned even with `SCARD_E_TIMEOUT`.
pub(crate) async fn get_status_change(
    context: &mut ContextHandle,
    timeout_ms: u32,
    readers: &mut [ReaderQuery<'_>],
) -> Result<(), Failure> {
    in_context!(context, get_status_change(timeout_ms, readers))
}

/// Ends a wait for a change in a context, but not one that has not begun yet.
pub(crate) fn cancel(wait: &Canceller) -> Result<(), Failure> {
    match wait {
        #[cfg(feature = "library")]
        Canceller::Library(context) => library::cancel(*context),
        #[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
        Canceller::Socket(bell) => {
            let bell = bell.as_ref().ok_or(ReturnCode::E_NO_MEMORY)?;
            bell.ring();
            Ok(())
        }
    }
}

pub(crate) async fn connect(
    context: &mut ContextHandle,
    reader: &CStr,
    share_mode: u32,
    protocols: u32,
) -> Result<Connected, Failure> {
    in_context!(context, connect(reader, share_mode, protocols))
}

/// Returns the protocol that is active afterwards.
pub(crate) async fn reconnect(
    context: &mut ContextHandle,
    card: CardHandle,
    share_mode: u32,
    protocols: u32,
    initialization: u32,
) -> Result<u32, Failure> {
    on_card!(
        context,
        reconnect(card, share_mode, protocols, initialization)
    )
}

/// Not for pcsc-lite's library: see [`library::gate`].
pub(crate) async fn disconnect(
    context: &mut ContextHandle,
    card: CardHandle,
    disposition: u32,
) -> Result<(), Failure> {
    on_card!(context, disconnect(card, disposition))
}

pub(crate) async fn begin_transaction(
    context: &mut ContextHandle,
    card: CardHandle,
) -> Result<(), Failure> {
    on_card!(context, begin_transaction(card))
}

pub(crate) async fn end_transaction(
    context: &mut ContextHandle,
    card: CardHandle,
    disposition: u32,
) -> Result<(), Failure> {
    on_card!(context, end_transaction(card, disposition))
}

pub(crate) async fn status(
    context: &mut ContextHandle,
    card: CardHandle,
) -> Result<Status, Failure> {
    on_card!(context, status(card))
}

/// Returns the length of the response in `answer`.
#[inline]
pub(crate) async fn transmit(
    context: &mut ContextHandle,
    card: CardHandle,
    protocol: u32,
    command: &[u8],
    answer: &mut [u8],
) -> Result<usize, Failure> {
    on_card!(context, transmit(card, protocol, command, answer))
}

/// Like [`transmit`], on this thread.
#[inline]
pub(crate) fn transmit_at_once(
    context: &mut ContextHandle,
    card: CardHandle,
    protocol: u32,
    command: &[u8],
    answer: &mut [u8],
) -> Result<usize, Failure> {
    match context {
        #[cfg(feature = "library")]
        ContextHandle::Library(_) => library::transmit(card, protocol, command, answer),
        #[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
        ContextHandle::Socket(client) => client.transmit_at_once(card, protocol, command, answer),
    }
}

/// Returns the length of the output in `output`.
pub(crate) async fn control(
    context: &mut ContextHandle,
    card: CardHandle,
    code: u32,
    input: &[u8],
    output: &mut [u8],
) -> Result<usize, Failure> {
    on_card!(context, control(card, code, input, output))
}

pub(crate) async fn get_attribute(
    context: &mut ContextHandle,
    card: CardHandle,
    id: u32,
) -> Result<Vec<u8>, Failure> {
    on_card!(context, get_attribute(card, id))
}

pub(crate) async fn set_attribute(
    context: &mut ContextHandle,
    card: CardHandle,
    id: u32,
    value: &[u8],
) -> Result<(), Failure> {
    on_card!(context, set_attribute(card, id, value))
}
