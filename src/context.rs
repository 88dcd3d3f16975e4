//! The handle to the smart-card service.

#[cfg(feature = "async")]
mod detached;
mod snapshot;

#[cfg(feature = "async")]
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::ReturnCode;
use crate::card::Card;
use crate::channel::{Limits, Opening, run};
use crate::connection::OwnedContext;
use crate::error::{Error, ErrorKind, Operation, Recovery, Refusal, Result};
use crate::name::{ReaderName, split_multi_string};
use crate::options::{ConnectOptions, Scope};
use crate::reader::Reader;
use crate::status::ReaderState;
use crate::sys::{self, ContextHandle, Failure};
use crate::trace;
#[cfg(feature = "async")]
use crate::worker::drop_elsewhere;

pub(crate) use snapshot::{may_be_too_many, reader_states};

/// How a [`Context`] is established.
///
/// ```no_run
/// use std::time::Duration;
/// use scard::{ContextOptions, Scope};
///
/// let context = ContextOptions::new()
///     .scope(Scope::System)
///     .timeout(Some(Duration::from_secs(5)))
///     .establish()?;
/// # Ok::<(), scard::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use]
pub struct ContextOptions {
    scope: Scope,
    timeout: Option<Duration>,
}

impl ContextOptions {
    /// The scope of the user, no limits of time.
    pub fn new() -> ContextOptions {
        ContextOptions::default()
    }

    /// Which resource manager it is.
    pub fn scope(mut self, scope: Scope) -> ContextOptions {
        self.scope = scope;
        self
    }

    /// How long each call may take: those of the context, and those of every card and reader
    /// that is opened through it, unless [`ConnectOptions::timeout`] says otherwise.
    ///
    /// A call that takes longer fails with
    /// [`ErrorKind::DeadlineExceeded`](crate::ErrorKind::DeadlineExceeded). The context stays
    /// usable; for cards and readers see [`Card::set_timeout`].
    pub fn timeout(mut self, timeout: Option<Duration>) -> ContextOptions {
        self.timeout = timeout;
        self
    }

    /// Connects to the service.
    ///
    /// Corresponds to `SCardEstablishContext`.
    ///
    /// # Errors
    ///
    /// Those of [`Context::establish`].
    #[doc(alias = "SCardEstablishContext")]
    pub fn establish(self) -> Result<Context> {
        let establish = self.establishing();
        let context = within(self.timeout, Operation::EstablishContext, establish)?;
        Ok(self.context(context))
    }

    fn establishing(&self) -> impl FnOnce() -> Result<OwnedContext> + Send + use<> {
        let scope = self.scope;
        move || OwnedContext::establish(scope)
    }

    fn context(self, context: OwnedContext) -> Context {
        Context(Arc::new(Inner {
            options: self,
            current: Mutex::new(Some(Arc::new(context))),
            #[cfg(feature = "async")]
            detached: AtomicBool::new(false),
        }))
    }
}

/// Makes a call that is not on a card, on a thread of its own if it has a limit.
fn within<T: Send + 'static>(
    timeout: Option<Duration>,
    operation: Operation,
    call: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    if timeout.is_none() {
        return call();
    }
    let limits = Limits::new(timeout, None);
    match run(&mut None, (), &limits, |_, _| call()) {
        Ok(((), answer)) => answer,
        Err(abandoned) => {
            tracing::debug!(%operation, ?abandoned, "a call was given up");
            Err(Error::given_up(operation, Refusal::given_up(abandoned)))
        }
    }
}

/// The smart-card service of this computer, as this program sees it.
///
/// ```no_run
/// use scard::{ConnectOptions, Context};
///
/// let context = Context::establish()?;
/// for reader in context.readers()? {
///     println!("{reader}");
/// }
/// # Ok::<(), scard::Error>(())
/// ```
///
/// Cheap to clone and free to share between threads. Every [`Card`] and [`Reader`] that it
/// opens gets a PC/SC context of its own: PC/SC lets only one call at a time through a
/// context, so that cards in a shared one would wait for each other.
///
/// A forked child that goes on with it gets a PC/SC context of its own.
///
/// A `Context` outlives the service: after the service was restarted, the next call
/// establishes a new PC/SC context. Cards and readers that were open before are gone; they
/// have to be connected again.
#[derive(Debug, Clone)]
pub struct Context(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: ContextOptions,
    /// `None` after a call was given up, which may go on to block it.
    current: Mutex<Option<Arc<OwnedContext>>>,
    /// Whether the thread that drops it must not be kept waiting.
    #[cfg(feature = "async")]
    detached: AtomicBool,
}

impl Context {
    /// Connects to the service, in the scope of the user and without limits of time;
    /// [`ContextOptions`] has both.
    ///
    /// Corresponds to `SCardEstablishContext`.
    ///
    /// # Errors
    ///
    /// `SCARD_E_NO_SERVICE` if the service does not run.
    ///
    /// # Platform notes
    ///
    /// pcsc-lite has 200 contexts at a time for all programs. When they are used up, its
    /// answer is `SCARD_W_SECURITY_VIOLATION`, as for a program that must not use it, or
    /// `SCARD_E_NO_SERVICE`.
    ///
    /// On Windows the service runs only while there is a reader; without one,
    /// `SCARD_E_NO_SERVICE` or `SCARD_E_SERVICE_STOPPED` is the ordinary answer.
    #[doc(alias = "SCardEstablishContext")]
    pub fn establish() -> Result<Context> {
        ContextOptions::new().establish()
    }

    /// Whether the service takes this context for a valid one.
    ///
    /// Corresponds to `SCardIsValidContext`, and says as little: pcsc-lite answers from the
    /// client library's memory, so that the context stays valid when the service is gone.
    /// [`Context::readers`] tells more.
    ///
    /// # Errors
    ///
    /// `SCARD_E_INVALID_HANDLE` if it is not valid.
    #[doc(alias = "SCardIsValidContext")]
    pub fn is_valid(&self) -> Result<()> {
        self.call(Operation::IsValidContext, |inner| {
            let current = inner.current()?;
            let _turn = current.turn();
            let asked = || sys::is_valid_context(current.handle());
            trace::call(Operation::IsValidContext, None, asked)
                .map_err(|code| Error::new(Operation::IsValidContext, code))
        })
    }

    /// The names of all readers, in the order of the service; none is no error.
    ///
    /// Corresponds to `SCardListReaders`.
    ///
    /// # Errors
    ///
    /// `SCARD_E_NO_SERVICE` if the service does not run.
    #[doc(alias = "SCardListReaders")]
    pub fn readers(&self) -> Result<Vec<ReaderName>> {
        self.call(Operation::ListReaders, Inner::readers)
    }

    /// The names of the groups that readers are in.
    ///
    /// Corresponds to `SCardListReaderGroups`.
    ///
    /// # Errors
    ///
    /// `SCARD_E_NO_SERVICE` if the service does not run.
    ///
    /// # Platform notes
    ///
    /// Groups are an idea of Windows. pcsc-lite always has the one group
    /// `SCard$DefaultReaders`.
    #[doc(alias = "SCardListReaderGroups")]
    pub fn reader_groups(&self) -> Result<Vec<String>> {
        self.call(Operation::ListReaderGroups, Inner::reader_groups)
    }

    /// All readers and what is in them at this moment.
    ///
    /// Corresponds to `SCardGetStatusChange` with a time limit of zero. It does not wait and
    /// does not disturb any card.
    ///
    /// ```no_run
    /// # fn demo(context: &scard::Context) -> scard::Result<()> {
    /// let states = context.reader_states()?;
    /// let with_card = states.iter().find(|state| state.has_card() && !state.is_mute());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `SCARD_E_NO_SERVICE` if the service does not run.
    #[doc(alias = "SCardGetStatusChange")]
    pub fn reader_states(&self) -> Result<Vec<ReaderState>> {
        self.call(Operation::GetStatusChange, Inner::reader_states)
    }

    /// Connects to the card in a reader.
    ///
    /// Corresponds to `SCardConnect`.
    ///
    /// ```no_run
    /// # fn demo(context: &scard::Context, reader: &scard::ReaderName) -> scard::Result<()> {
    /// use scard::ConnectOptions;
    ///
    /// let mut card = context.connect(reader, ConnectOptions::new())?;
    /// let answer = card.transmit(&[0x00, 0x84, 0x00, 0x00, 0x08])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Waits while another program holds a transaction on the card.
    ///
    /// # Errors
    ///
    /// | Code | |
    /// |---|---|
    /// | `SCARD_E_NO_SMARTCARD` | there is no card |
    /// | `SCARD_E_UNKNOWN_READER` | there is no such reader |
    /// | `SCARD_E_SHARING_VIOLATION` | another program has exclusive access, or exclusive access was asked for and another program is connected |
    /// | `SCARD_E_PROTO_MISMATCH` | the card talks none of the protocols; or another protocol is active already |
    /// | `SCARD_W_UNRESPONSIVE_CARD`, `SCARD_W_UNPOWERED_CARD` | there is something that does not answer as a card |
    /// | `SCARD_E_NO_SERVICE` | the service does not run |
    #[doc(alias = "SCardConnect")]
    pub fn connect(&self, reader: &ReaderName, options: ConnectOptions) -> Result<Card> {
        let channel = self.connecting(reader, options).open()?;
        Ok(Card::new(channel))
    }

    fn connecting(&self, reader: &ReaderName, options: ConnectOptions) -> Opening {
        let inherited = options.timeout.unwrap_or(self.0.options.timeout);
        Card::opening(self.0.options.scope, reader, options.timeout(inherited))
    }

    /// Opens a reader for direct access, whether there is a card or not.
    ///
    /// Corresponds to `SCardConnect` with `SCARD_SHARE_DIRECT` and no protocol.
    ///
    /// # Errors
    ///
    /// `SCARD_E_UNKNOWN_READER` if there is no such reader, `SCARD_E_SHARING_VIOLATION` if
    /// another program has exclusive access, `SCARD_E_NO_SERVICE` if the service does not
    /// run.
    #[doc(alias = "SCARD_SHARE_DIRECT")]
    pub fn open_reader(&self, reader: &ReaderName) -> Result<Reader> {
        let channel = self.opening(reader).open()?;
        Ok(Reader::new(channel))
    }

    fn opening(&self, reader: &ReaderName) -> Opening {
        let limits = Limits::new(self.0.options.timeout, None);
        Reader::opening(self.0.options.scope, reader, limits)
    }

    /// Releases the PC/SC context if this is the last clone, and says if that failed.
    ///
    /// Corresponds to `SCardReleaseContext`. Dropping does the same without saying. Cards
    /// and readers stay connected.
    ///
    /// # Errors
    ///
    /// `SCARD_E_NO_SERVICE` if the service is gone; nothing is left to release then.
    #[doc(alias = "SCardReleaseContext")]
    pub fn release(self) -> Result<()> {
        let timeout = self.timeout();
        let Some(last) = self.into_last() else {
            return Ok(());
        };
        within(timeout, Operation::ReleaseContext, || last.release())
    }

    /// The PC/SC context, if this is the last clone and there is one.
    fn into_last(self) -> Option<OwnedContext> {
        let mut inner = Arc::into_inner(self.0)?;
        let current = inner.current.get_mut();
        let current = current.unwrap_or_else(PoisonError::into_inner).take();
        current.and_then(Arc::into_inner)
    }

    pub(crate) fn scope(&self) -> Scope {
        self.0.options.scope
    }

    /// The limit of each call.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.0.options.timeout
    }

    /// Makes a call, within the time-out.
    fn call<T: Send + 'static>(
        &self,
        operation: Operation,
        call: impl FnOnce(&Inner) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let timeout = self.0.options.timeout;
        if timeout.is_none() {
            return call(&self.0);
        }
        let inner = Arc::clone(&self.0);
        let answer = within(timeout, operation, move || call(&inner));
        if let Err(error) = &answer {
            if error.kind() == ErrorKind::DeadlineExceeded {
                // The call may be stuck in it.
                self.0.replace(None);
            }
        }
        answer
    }
}

impl Drop for Inner {
    /// With a time-out, the end of the context has one, too.
    fn drop(&mut self) {
        let timeout = self.options.timeout;
        let current = self.current.get_mut();
        let current = current.unwrap_or_else(PoisonError::into_inner).take();
        let is_own = current.as_ref().is_some_and(|current| !current.is_forked());
        #[cfg(feature = "async")]
        if is_own && *self.detached.get_mut() {
            return drop_elsewhere(current);
        }
        if timeout.is_some() && is_own {
            // If it takes too long, it goes on by itself.
            let _ = within(timeout, Operation::ReleaseContext, move || {
                drop(current);
                Ok(())
            });
        }
    }
}

impl Inner {
    fn replace(&self, context: Option<Arc<OwnedContext>>) {
        let current = self.current.lock();
        let before = std::mem::replace(
            &mut *current.unwrap_or_else(PoisonError::into_inner),
            context,
        );
        drop(before);
    }

    fn current(&self) -> Result<Arc<OwnedContext>> {
        let current = self.current.lock();
        let current = current.unwrap_or_else(PoisonError::into_inner).clone();
        match current {
            Some(current) if !current.is_forked() => Ok(current),
            _ => self.renew(),
        }
    }

    fn renew(&self) -> Result<Arc<OwnedContext>> {
        let renewed = Arc::new(OwnedContext::establish(self.options.scope)?);
        self.replace(Some(Arc::clone(&renewed)));
        Ok(renewed)
    }

    /// Makes a call that only reads; once more in a new context if the service that the old
    /// one belonged to is gone.
    fn ask<T>(
        &self,
        operation: Operation,
        call: impl Fn(ContextHandle) -> Result<T, Failure>,
    ) -> Result<T> {
        let call = |context: &OwnedContext| {
            let _turn = context.turn();
            trace::call(operation, None, || call(context.handle()))
        };
        let error = match call(&*self.current()?) {
            Ok(answer) => return Ok(answer),
            Err(failure) => Error::new(operation, failure),
        };
        if error.recovery() != Recovery::ConnectAgain {
            return Err(error);
        }
        match self.renew() {
            Ok(renewed) => call(&renewed).map_err(|failure| Error::new(operation, failure)),
            Err(_) => Err(error),
        }
    }

    fn reader_groups(&self) -> Result<Vec<String>> {
        let names = self.ask(Operation::ListReaderGroups, sys::list_reader_groups)?;
        let names = split_multi_string(&names);
        Ok(names.iter().map(ReaderName::to_string).collect())
    }

    fn readers(&self) -> Result<Vec<ReaderName>> {
        readers_of(self.ask(Operation::ListReaders, sys::list_readers))
    }

    fn reader_states(&self) -> Result<Vec<ReaderState>> {
        // A context of its own: this call must never meet another one on its context.
        reader_states(&OwnedContext::establish(self.options.scope)?)
    }
}

/// The readers that a context sees.
pub(crate) fn list_readers(context: &OwnedContext) -> Result<Vec<ReaderName>> {
    let list = || sys::list_readers(context.handle());
    let listed = trace::watch(Operation::ListReaders, list);
    readers_of(listed.map_err(|failure| Error::new(Operation::ListReaders, failure)))
}

/// The names in a list; that there is none is no error.
fn readers_of(listed: Result<Vec<u8>>) -> Result<Vec<ReaderName>> {
    match listed {
        Ok(names) => Ok(split_multi_string(&names)),
        Err(error) if error.code() == ReturnCode::E_NO_READERS_AVAILABLE => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
