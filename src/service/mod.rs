//! The calls of PC/SC, one function each, and what has to be known of the process.
//!
//! What goes in and comes out is numbers and bytes: handles that only this module makes, `u32`,
//! [`ReturnCode`]. Who may call what, and when, is decided above. Behind it stands what makes the
//! calls, chosen for each context: `library`, the system's PC/SC library, or `socket`, which speaks to
//! pcsc-lite's daemon itself.
//!
//! All of the unsafe code of `scard` is here: the calls of C's functions, and the handlers of forks
//! in [`process`].
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::fmt;
#[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
use std::path::Path;
#[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
use std::sync::Arc;
use std::time::Instant;

use crate::codes::{Platform, ReturnCode};
use crate::values::{Atr, Scope};

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

#[cfg(unix)]
pub(crate) use locks::Inside;
pub(crate) use process::Process;
pub(crate) use started::StartedEvent;

/// The largest command or answer that can pass: an extended APDU with its length fields and
/// status word.
pub(crate) const MAX_APDU_LEN: usize = 65_548;

/// How much room there is for an answer. Drivers on Windows look at the low 16 bits of the length
/// only, as of a built-in NFC reader, or refuse a length that the header of CCID makes too long,
/// which was seen of 65,548 bytes for `SCardControl`.
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

/// Which implementation it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    #[cfg(feature = "library")]
    Library,
    /// At this path, or where the environment or the system says.
    #[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
    Socket(Option<Arc<Path>>),
}

impl Way {
    /// Whether calls that wait end by themselves when that takes too long: see [`Limit`].
    pub(crate) fn ends_calls(&self) -> bool {
        match self {
            #[cfg(feature = "library")]
            Way::Library => false,
            #[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
            Way::Socket(_) => true,
        }
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
    /// The number that the service gave it, if it is what the context is found by.
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

    /// How long calls may take from now on, where they end by themselves.
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

    /// Whether a call was given up that is still under way. No other one is made before
    /// [`settle`](ContextHandle::settle).
    pub(crate) fn is_under_way(&self) -> bool {
        match self {
            #[cfg(feature = "library")]
            ContextHandle::Library(_) => false,
            #[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
            ContextHandle::Socket(client) => client.is_under_way(),
        }
    }

    /// Waits for the call that was given up, however long that takes, and undoes what comes of it.
    pub(crate) fn settle(&mut self) {
        match self {
            #[cfg(feature = "library")]
            ContextHandle::Library(_) => {}
            #[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
            ContextHandle::Socket(client) => client.settle(),
        }
    }

    /// What ends a wait in this context.
    pub(crate) fn canceller(&mut self) -> Canceller {
        match self {
            #[cfg(feature = "library")]
            ContextHandle::Library(context) => Canceller::Library(*context),
            #[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
            ContextHandle::Socket(client) => Canceller::Socket(client.canceller()),
        }
    }
}

/// What ends a wait for a change, from another thread. To be used as long as its context is there.
#[derive(Debug, Clone)]
pub(crate) enum Canceller {
    #[cfg(feature = "library")]
    Library(library::Context),
    /// `None` if there is no descriptor for it.
    #[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
    Socket(Option<Arc<socket::Bell>>),
}

impl Canceller {
    /// One of a context that is still to be established, where calls end by themselves.
    pub(crate) fn ahead(way: &Way) -> Option<Canceller> {
        match way {
            #[cfg(feature = "library")]
            Way::Library => None,
            #[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
            Way::Socket(_) => Some(Canceller::Socket(socket::Bell::new().ok())),
        }
    }
}

/// How long calls may take that end by themselves.
#[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
pub(crate) use socket::Limit;

#[cfg(all(fuzzing, feature = "socket", unix, not(target_vendor = "apple")))]
pub use socket::read_answers;

/// There are no calls that end by themselves.
#[cfg(not(all(feature = "socket", unix, not(target_vendor = "apple"))))]
#[derive(Debug, Clone, Default)]
pub(crate) struct Limit(());

impl Limit {
    #[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
    pub(crate) fn new(deadline: Option<Instant>, canceller: Option<&Canceller>) -> Limit {
        let bell = match canceller {
            Some(Canceller::Socket(bell)) => bell.clone(),
            _ => None,
        };
        Limit { deadline, bell }
    }

    #[cfg(not(all(feature = "socket", unix, not(target_vendor = "apple"))))]
    pub(crate) fn new(_: Option<Instant>, _: Option<&Canceller>) -> Limit {
        Limit(())
    }
}

/// A connected card or reader, in its context.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CardHandle(u64);

impl CardHandle {
    /// The number that the service gave it.
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

/// A call that failed, and how long the answer is where it did not fit its buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: ReturnCode,
    pub(crate) needed_len: Option<usize>,
    /// Why, if the code is ours and not the service's.
    pub(crate) ours: Option<Ours>,
}

/// Why a call failed that the service did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ours {
    /// It was not made: the process ends, or it is a child in which none can be made, or that
    /// cannot tell whether it can use the library.
    KeptOut,
    /// It was answered, but no answer could be believed.
    Contradictory,
    /// The daemon speaks this version of its protocol, which is none that is known.
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
    /// The versions that are known: 4:4 of pcsc-lite 1.8.24 to 2.2.3, 4:5 of 2.3 and 2.4, 4:6 of
    /// 2.5.
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
    };

    #[cfg_attr(not(feature = "library"), allow(dead_code))]
    pub(crate) const CONTRADICTORY: Failure = Failure {
        code: ReturnCode::F_INTERNAL_ERROR,
        needed_len: None,
        ours: Some(Ours::Contradictory),
    };
}

impl From<ReturnCode> for Failure {
    fn from(code: ReturnCode) -> Failure {
        Failure {
            code,
            needed_len: None,
            ours: None,
        }
    }
}

/// One reader in a call of `SCardGetStatusChange`: what the caller knows, then what is.
#[derive(Debug)]
pub(crate) struct ReaderQuery<'a> {
    pub(crate) name: &'a CStr,
    pub(crate) current_state: u32,
    pub(crate) event_state: u32,
    pub(crate) atr: Atr,
}

impl<'a> ReaderQuery<'a> {
    /// A reader of which the caller knows nothing.
    pub(crate) fn unaware(name: &'a CStr) -> ReaderQuery<'a> {
        ReaderQuery::knowing(name, 0)
    }

    /// A reader of which the caller knows this.
    pub(crate) fn knowing(name: &'a CStr, current_state: u32) -> ReaderQuery<'a> {
        ReaderQuery {
            name,
            current_state,
            event_state: 0,
            atr: Atr::default(),
        }
    }
}

/// Makes a call where its context is.
macro_rules! in_context {
    ($context:ident, $call:ident($($argument:expr),*)) => {
        match $context {
            #[cfg(feature = "library")]
            ContextHandle::Library(context) => Ok(library::$call(*context, $($argument),*)?),
            #[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
            ContextHandle::Socket(client) => Ok(client.$call($($argument),*)?),
        }
    };
}

/// Makes a call on a card where its context is.
macro_rules! on_card {
    ($context:ident, $call:ident($card:ident $(, $argument:expr)*)) => {
        match $context {
            #[cfg(feature = "library")]
            ContextHandle::Library(_) => Ok(library::$call($card, $($argument),*)?),
            #[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
            ContextHandle::Socket(client) => Ok(client.$call($card, $($argument),*)?),
        }
    };
}

/// Over the socket, the limit stays that of the context.
#[cfg_attr(
    not(all(feature = "socket", unix, not(target_vendor = "apple"))),
    allow(unused_variables)
)]
pub(crate) fn establish_context(address: &Address, limit: Limit) -> Result<ContextHandle, Failure> {
    let scope = address.scope.raw();
    match &address.way {
        #[cfg(feature = "library")]
        Way::Library => Ok(ContextHandle::Library(library::establish_context(scope)?)),
        #[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
        Way::Socket(path) => {
            let client = socket::Client::establish(path.as_ref(), scope, limit)?;
            Ok(ContextHandle::Socket(Box::new(client)))
        }
    }
}

pub(crate) fn release_context(context: &mut ContextHandle) -> Result<(), Failure> {
    in_context!(context, release_context())
}

pub(crate) fn is_valid_context(context: &mut ContextHandle) -> Result<(), Failure> {
    in_context!(context, is_valid_context())
}

/// The multi-string of the names of all readers, or of those in a group. Only Windows has
/// groups: the other services list all readers in any case.
pub(crate) fn list_readers(
    context: &mut ContextHandle,
    group: Option<&CStr>,
) -> Result<Vec<u8>, Failure> {
    in_context!(context, list_readers(group))
}

/// The multi-string of group names.
pub(crate) fn list_reader_groups(context: &mut ContextHandle) -> Result<Vec<u8>, Failure> {
    in_context!(context, list_reader_groups())
}

/// Waits until a reader differs from what the caller knows. `timeout_ms` of `u32::MAX`
/// waits without limit. What is there is given also with `SCARD_E_TIMEOUT`.
pub(crate) fn get_status_change(
    context: &mut ContextHandle,
    timeout_ms: u32,
    readers: &mut [ReaderQuery<'_>],
) -> Result<(), Failure> {
    in_context!(context, get_status_change(timeout_ms, readers))
}

/// Ends a wait for a change in a context; one that has not begun yet is not ended.
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

pub(crate) fn connect(
    context: &mut ContextHandle,
    reader: &CStr,
    share_mode: u32,
    protocols: u32,
) -> Result<Connected, Failure> {
    in_context!(context, connect(reader, share_mode, protocols))
}

/// Gives the protocol that is active afterwards.
pub(crate) fn reconnect(
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

/// Not for pcsc-lite: see [`library::gate`].
pub(crate) fn disconnect(
    context: &mut ContextHandle,
    card: CardHandle,
    disposition: u32,
) -> Result<(), Failure> {
    on_card!(context, disconnect(card, disposition))
}

pub(crate) fn begin_transaction(
    context: &mut ContextHandle,
    card: CardHandle,
) -> Result<(), Failure> {
    on_card!(context, begin_transaction(card))
}

pub(crate) fn end_transaction(
    context: &mut ContextHandle,
    card: CardHandle,
    disposition: u32,
) -> Result<(), Failure> {
    on_card!(context, end_transaction(card, disposition))
}

pub(crate) fn status(context: &mut ContextHandle, card: CardHandle) -> Result<Status, Failure> {
    on_card!(context, status(card))
}

/// Gives the length of the answer in `answer`.
#[inline]
pub(crate) fn transmit(
    context: &mut ContextHandle,
    card: CardHandle,
    protocol: u32,
    command: &[u8],
    answer: &mut [u8],
) -> Result<usize, Failure> {
    on_card!(context, transmit(card, protocol, command, answer))
}

/// Gives the length of the output in `output`.
pub(crate) fn control(
    context: &mut ContextHandle,
    card: CardHandle,
    code: u32,
    input: &[u8],
    output: &mut [u8],
) -> Result<usize, Failure> {
    on_card!(context, control(card, code, input, output))
}

pub(crate) fn get_attribute(
    context: &mut ContextHandle,
    card: CardHandle,
    id: u32,
) -> Result<Vec<u8>, Failure> {
    on_card!(context, get_attribute(card, id))
}

pub(crate) fn set_attribute(
    context: &mut ContextHandle,
    card: CardHandle,
    id: u32,
    value: &[u8],
) -> Result<(), Failure> {
    on_card!(context, set_attribute(card, id, value))
}
