//! The connection to the smart-card service.

#[cfg(feature = "async")]
mod async_context;
#[cfg(feature = "async")]
mod detached;
mod options;
mod selector;

use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::card::{Card, ConnectOptions, Reader};
use crate::channel::{Limits, Opening, run};
use crate::codes::{Platform, ReturnCode};
use crate::connection::{Home, OwnedContext, SharedContext, Spare};
use crate::error::{Error, ErrorKind, Operation, Recovery, Refusal, Result};
use crate::look::{Contexts, none_without_service, reader_states, readers_of};
#[cfg(doc)]
use crate::values::ReaderFlags;
use crate::values::{InvalidReaderName, ReaderName, ReaderState};

use crate::limits::{Abandoned, Permit, do_elsewhere};
use crate::service::{self, Address, Canceller, ContextHandle, Failure, Limit, Way, block_on};
use crate::sync::{Mutex, lock};
use crate::trace;

pub use options::ContextOptions;
pub use selector::{FindReaderError, ReaderSelector};

#[cfg(feature = "async")]
pub use async_context::AsyncContext;

/// Returns the valid name of a reader to connect to.
pub(crate) fn valid<N>(reader_name: N) -> Result<ReaderName>
where
    N: TryInto<ReaderName, Error: Into<InvalidReaderName>>,
{
    reader_name.try_into().map_err(|invalid| {
        let invalid: InvalidReaderName = invalid.into();
        tracing::debug!(%invalid);
        let refusal = Refusal::argument("the reader name contains a NUL byte");
        Error::given_up(Operation::Connect, refusal)
    })
}

/// The groups that contain all readers where there are no others.
const ALL_READERS: [&CStr; 2] = [c"SCard$DefaultReaders", c"SCard$AllReaders"];

fn group_name(group: &str) -> Result<CString> {
    CString::new(group).map_err(|_| {
        let refusal = Refusal::argument("the group name contains a NUL byte");
        Error::given_up(Operation::ListReaders, refusal)
    })
}

/// Returns the listed names. Without a reader there may be no service, which is not an error.
fn names_of(listed: Result<Vec<u8>>) -> Result<Vec<ReaderName>> {
    none_without_service(readers_of(listed))
}

/// Makes a call that does not concern a card. If it has limits and does not end by itself, it runs on
/// a thread of its own.
pub(crate) fn within<T: Send + 'static>(
    way: &Way,
    limits: &Limits,
    operation: Operation,
    call: impl AsyncFnOnce(&Permit<'_>) -> Result<T> + Send + 'static,
) -> Result<T> {
    if limits.are_none() {
        return block_on(call(&Permit::GRANTED));
    }
    refuse_more(limits, operation)?;
    if way.ends_calls() {
        let here = limits.here(|| Canceller::ahead(way));
        let answer = block_on(call(&here.permit()));
        return match here.gave_up_on(&answer) {
            Some(abandoned) => Err(gave_up(operation, abandoned)),
            None => answer,
        };
    }
    let call = |(): &mut (), permit: &Permit<'_>| block_on(call(permit));
    match run(&mut None, (), limits, call) {
        Ok(((), answer)) => answer,
        Err(abandoned) => Err(gave_up(operation, abandoned)),
    }
}

/// Fails if too many calls were given up.
fn refuse_more(limits: &Limits, operation: Operation) -> Result<()> {
    match limits.refuse_more() {
        Some(refusal) => Err(Error::given_up(operation, refusal)),
        None => Ok(()),
    }
}

fn gave_up(operation: Operation, abandoned: Abandoned) -> Error {
    tracing::debug!(%operation, ?abandoned, "a call was given up");
    Error::given_up(operation, Refusal::given_up(abandoned))
}

/// A connection to the smart-card service of this computer.
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
/// Cheap to clone, and can be shared between threads. Every [`Card`] and [`Reader`] that it opens
/// has its own PC/SC context: PC/SC allows only one call at a time in a context, so cards in a
/// shared context would wait for each other.
///
/// In a forked child it uses a new PC/SC context.
///
/// A `Context` outlives the service: after a restart of the service, the next call establishes a
/// new PC/SC context. Open cards and readers are lost and have to be connected again.
///
/// # Platform notes
///
/// Windows also has a database of card types (`SCardListCards`, `SCardLocateCards`,
/// `SCardGetCardTypeProviderName`) and a cache for the drivers of cards (`SCardReadCache`,
/// `SCardWriteCache`). This library does not include them: they serve Windows' own drivers, no
/// other platform has them, and Wine, in which this library's calls of winscard are tested, does not
/// implement them, so nothing would show that they work. Programs can call these functions through
/// the crate `windows-sys`, with a PC/SC context of their own. To find cards of a certain type
/// without the database, use [`CardFilter::atr_masked`].
///
/// [`CardFilter::atr_masked`]: crate::CardFilter::atr_masked
#[derive(Debug, Clone)]
pub struct Context(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: ContextOptions,
    limits: Limits,
    /// `None` before the first call of a lazy context, and after an abandoned call, which may still
    /// block it.
    current: Mutex<Option<Arc<SharedContext>>>,
    spare: Arc<Spare>,
    /// Whether dropping waits only briefly.
    is_hurried: AtomicBool,
    /// Whether dropping must not block.
    #[cfg(feature = "async")]
    detached: AtomicBool,
}

impl Context {
    /// Connects to the service, in the user scope and without a time-out; [`ContextOptions`] can
    /// change both.
    ///
    /// Corresponds to `SCardEstablishContext`.
    ///
    /// # Errors
    ///
    /// `SCARD_E_NO_SERVICE` if the service is not running.
    ///
    /// # Platform notes
    ///
    /// pcsc-lite answers `SCARD_E_NO_SERVICE` for many causes. The error names the one that the
    /// daemon's socket shows: [deployment](crate::guide::deployment#starting) lists them.
    ///
    /// pcsc-lite supports 200 contexts at a time for all programs. When they are used up, it
    /// answers `SCARD_W_SECURITY_VIOLATION`, as for a program that polkit denies access, or
    /// `SCARD_E_NO_SERVICE`.
    ///
    /// On Windows the service runs only while there is a reader. Without one, the normal answer is
    /// `SCARD_E_NO_SERVICE` or `SCARD_E_SERVICE_STOPPED`, which means [`ErrorKind::ReaderGone`]:
    /// plug in a reader. [`Context::lazy`] needs no reader.
    #[doc(alias = "SCardEstablishContext")]
    pub fn establish() -> Result<Context> {
        ContextOptions::new().establish()
    }

    /// Returns a context that connects to the service when a call needs it.
    ///
    /// For programs that may start before the service or the first reader is available. It makes no
    /// call and cannot fail.
    ///
    /// [`Context::monitor`], [`Context::wait_for_card`] and [`Session`](crate::Session)s wait for
    /// the service as they do for a reader or a card. Every other call fails with
    /// `SCARD_E_NO_SERVICE` without the service, like [`Context::establish`]; on Windows, where
    /// that means that there is no reader, lists of readers are empty.
    ///
    /// ```no_run
    /// use scard::{CardFilter, ConnectOptions, Context};
    ///
    /// let context = Context::lazy();
    /// // Whatever has to be started, plugged in and inserted for it:
    /// let found = context.wait_for_card(&CardFilter::new(), None)?;
    /// let card = context.connect(found.reader_name(), ConnectOptions::new())?;
    /// # Ok::<(), scard::Error>(())
    /// ```
    ///
    /// # Platform notes
    ///
    /// On Windows, monitors and waits are notified when the service starts; elsewhere they check up
    /// to once a second.
    #[doc(alias = "SCardAccessStartedEvent")]
    pub fn lazy() -> Context {
        ContextOptions::new().lazy()
    }

    /// Returns whether this context is valid.
    ///
    /// Corresponds to `SCardIsValidContext` and has the same limitation: pcsc-lite answers from the
    /// client library's memory, so the context stays valid when the service is gone. Use
    /// [`Context::readers`] to find out whether the service is running.
    ///
    /// # Errors
    ///
    /// Any code except `SCARD_E_INVALID_HANDLE` and Windows' `ERROR_INVALID_HANDLE`, which are
    /// reported as `Ok(false)`.
    #[doc(alias = "SCardIsValidContext")]
    pub fn is_valid(&self) -> Result<bool> {
        self.call(Operation::IsValidContext, Inner::is_valid)
    }

    /// Returns the names of all readers, in the order of the service. An empty list is not an
    /// error.
    ///
    /// Corresponds to `SCardListReaders`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ServiceGone`], for instance `SCARD_E_NO_SERVICE`, if the service is not running,
    /// except on Windows; and [`ErrorKind::StaleProcess`].
    ///
    /// # Platform notes
    ///
    /// On Windows the service runs only while there is a reader. If it is not running
    /// (`SCARD_E_NO_SERVICE`, `SCARD_E_SERVICE_STOPPED`), the list is empty, even if an administrator
    /// has disabled the service. A service that fails in another way, such as while it starts or
    /// stops, is an error.
    #[doc(alias = "SCardListReaders")]
    pub fn readers(&self) -> Result<Vec<ReaderName>> {
        self.call(Operation::ListReaders, Inner::all_readers)
    }

    /// Returns the names of the readers in a [group](Context::reader_groups). A group that does not
    /// exist is empty.
    ///
    /// Corresponds to `SCardListReaders` with `mszGroups`.
    ///
    /// # Errors
    ///
    /// Those of [`Context::readers`], and `SCARD_E_INVALID_PARAMETER` if the name contains a NUL
    /// byte.
    ///
    /// # Platform notes
    ///
    /// On Windows, `SCard$AllReaders` contains all readers, and an administrator can create further
    /// groups. pcsc-lite and macOS have no groups: there `SCard$DefaultReaders` and
    /// `SCard$AllReaders` contain all readers.
    #[doc(alias = "SCardListReaders")]
    pub fn readers_in(&self, group: &str) -> Result<Vec<ReaderName>> {
        let group = group_name(group)?;
        let list =
            async move |inner: &Inner, permit: &Permit<'_>| inner.readers_in(permit, &group).await;
        self.call(Operation::ListReaders, list)
    }

    /// Returns the names of the reader groups.
    ///
    /// Corresponds to `SCardListReaderGroups`.
    ///
    /// # Errors
    ///
    /// Those of [`Context::readers`].
    ///
    /// # Platform notes
    ///
    /// On Windows, those of [`Context::readers`]. Groups are a Windows concept; pcsc-lite always
    /// reports one group, `SCard$DefaultReaders`.
    #[doc(alias = "SCardListReaderGroups")]
    pub fn reader_groups(&self) -> Result<Vec<String>> {
        self.call(Operation::ListReaderGroups, Inner::reader_groups)
    }

    /// Returns the current states of all readers.
    ///
    /// Corresponds to `SCardGetStatusChange` with a time-out of zero. Does not wait for a change
    /// and does not disturb any card. A reader that the service lists but does not know is
    /// [unknown](ReaderFlags::UNKNOWN).
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
    /// Those of [`Context::readers`].
    ///
    /// # Platform notes
    ///
    /// On Windows, those of [`Context::readers`].
    ///
    /// pcsc-lite's library takes 0.4 seconds for each reader with a [mute](ReaderState::is_mute)
    /// card, whatever the query. [`wait_for_card`](Context::wait_for_card) skips the readers that
    /// its filter excludes.
    #[doc(alias = "SCardGetStatusChange")]
    pub fn reader_states(&self) -> Result<Vec<ReaderState>> {
        self.call(Operation::GetStatusChange, Inner::reader_states)
    }

    /// Connects to the card in a reader.
    ///
    /// Corresponds to `SCardConnect`.
    ///
    /// ```no_run
    /// # fn demo(context: &scard::Context) -> scard::Result<()> {
    /// use scard::ConnectOptions;
    ///
    /// // By its name, from `readers` or as text:
    /// let mut card = context.connect("ACS ACR122U 00 00", ConnectOptions::new())?;
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
    /// | `SCARD_E_SHARING_VIOLATION` | another program has exclusive access, as gpg's scdaemon does by default, or exclusive access was requested and another program is connected; [`ConnectOptions::wait_for_access`] waits |
    /// | `SCARD_E_PROTO_MISMATCH` | the card or its reader supports none of the protocols, or another protocol is active already |
    /// | `SCARD_E_SERVER_TOO_BUSY` | too many calls with limits [were abandoned](ContextOptions::timeout) and have not returned |
    /// | `SCARD_W_UNRESPONSIVE_CARD`, `SCARD_W_UNPOWERED_CARD` | something is inserted that does not answer like a card; with [`ErrorKind::CardUnsupported`] (pcsc-lite) it does, but refused the protocol parameters: a reset or another protocol may help. With pcsc-lite also a card whose last reset failed, while another program is connected to it: [`Reader::reconnect`] resets it again |
    /// | `SCARD_E_NO_SERVICE` | the service is not running |
    /// | `SCARD_E_INVALID_PARAMETER` | the name is [invalid](InvalidReaderName) |
    #[doc(alias = "SCardConnect")]
    pub fn connect<N>(&self, reader_name: N, options: ConnectOptions) -> Result<Card>
    where
        N: TryInto<ReaderName, Error: Into<InvalidReaderName>>,
    {
        let exchange_options = options.exchange_options;
        let channel = self.connecting(&valid(reader_name)?, options).open()?;
        Ok(Card::new(channel, exchange_options))
    }

    fn connecting(&self, reader: &ReaderName, options: ConnectOptions) -> Opening {
        let inherited = options.timeout.unwrap_or(self.0.options.timeout);
        let mut opening = Card::opening(self.home(), reader, options.timeout(inherited));
        opening.limits = opening.limits.counted_with(&self.0.limits);
        opening
    }

    /// Opens a reader for direct access, with or without a card.
    ///
    /// Corresponds to `SCardConnect` with `SCARD_SHARE_DIRECT` and no protocol.
    ///
    /// # Errors
    ///
    /// `SCARD_E_UNKNOWN_READER` if there is no such reader, `SCARD_E_SHARING_VIOLATION` if another
    /// program has exclusive access, `SCARD_E_NO_SERVICE` if the service is not running.
    #[doc(alias = "SCARD_SHARE_DIRECT")]
    pub fn open_reader<N>(&self, reader_name: N) -> Result<Reader>
    where
        N: TryInto<ReaderName, Error: Into<InvalidReaderName>>,
    {
        let channel = self.opening(&valid(reader_name)?).open()?;
        Ok(Reader::new(channel))
    }

    fn opening(&self, reader: &ReaderName) -> Opening {
        Reader::opening(self.home(), reader, self.0.limits.clone())
    }

    /// Releases the PC/SC context if this is the last clone, and returns errors.
    ///
    /// Corresponds to `SCardReleaseContext`. Dropping does the same, ignoring errors. Cards
    /// and readers stay connected.
    ///
    /// # Errors
    ///
    /// `SCARD_E_NO_SERVICE` if the service is gone; nothing is left to release then.
    #[doc(alias = "SCardReleaseContext")]
    pub fn release(self) -> Result<()> {
        let (way, limits) = (self.address().way.clone(), self.0.limits.clone());
        let Some(last) = self.into_last() else {
            return Ok(());
        };
        let release = async move |permit: &Permit<'_>| last.release(permit).await;
        within(&way, &limits, Operation::ReleaseContext, release)
    }

    /// Returns the PC/SC context, if there is one and this is the last clone.
    fn into_last(self) -> Option<OwnedContext> {
        let mut inner = Arc::into_inner(self.0)?;
        let current = inner.current.get_mut();
        let current = current.unwrap_or_else(PoisonError::into_inner).take();
        current.and_then(Arc::into_inner)?.into_owned()
    }

    /// Returns where PC/SC contexts are established.
    pub(crate) fn address(&self) -> &Address {
        &self.0.options.address
    }

    /// Returns where cards are connected. Without a PC/SC context of its own, it keeps none either,
    /// which might be all that keeps the service from ending.
    pub(crate) fn home(&self) -> Home {
        let is_established = lock(&self.0.current).is_some();
        Home::new(self.address(), is_established.then_some(&self.0.spare))
    }

    /// Returns the time-out of each call.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.0.options.timeout
    }

    /// Makes a call, within the time-out.
    fn call<T: Send + 'static>(
        &self,
        operation: Operation,
        call: impl AsyncFnOnce(&Inner, &Permit<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if self.0.limits.are_none() {
            return block_on(call(&self.0, &Permit::GRANTED));
        }
        let inner = Arc::clone(&self.0);
        let call = async move |permit: &Permit<'_>| call(&inner, permit).await;
        let answer = within(&self.address().way, &self.0.limits, operation, call);
        if let Err(error) = &answer {
            if error.kind() == ErrorKind::DeadlineExceeded {
                self.0.abandon_current();
            }
        }
        answer
    }

    /// Returns the limits of each call.
    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Makes the drop of the last clone wait only briefly, if it has no limit of its own.
    pub(crate) fn hurry_if_last(&self) {
        if self.0.limits.are_none() && Arc::strong_count(&self.0) == 1 {
            self.0.is_hurried.store(true, Ordering::Relaxed);
        }
    }
}

impl Drop for Inner {
    /// With a time-out, releasing the context has one, too.
    fn drop(&mut self) {
        let current = self.current.get_mut();
        let current = current.unwrap_or_else(PoisonError::into_inner).take();
        if current.as_ref().is_none_or(|current| current.is_forked()) {
            return;
        }
        let limits = match *self.is_hurried.get_mut() {
            true => Limits::of_a_moment(),
            false => self.limits.clone(),
        };
        #[cfg(feature = "async")]
        let is_detached = *self.detached.get_mut();
        #[cfg(not(feature = "async"))]
        let is_detached = false;
        if self.options.address.way.ends_calls() && (is_detached || !limits.are_none()) {
            if let Some(last) = current.and_then(Arc::into_inner) {
                last.hang_up();
            }
            return;
        }
        if is_detached {
            return do_elsewhere(move || drop(current));
        }
        if !limits.are_none() {
            // If this takes too long, it continues in the background.
            let _ = run(&mut None, current, &limits, |current, _| {
                drop(current.take())
            });
        }
    }
}

impl Inner {
    /// Returns the previous context, to be dropped unlocked because its release can take long.
    fn replace(&self, context: Option<Arc<SharedContext>>) -> Option<Arc<SharedContext>> {
        let mut current = lock(&self.current);
        std::mem::replace(&mut *current, context)
    }

    /// Leaves the current context to an abandoned call, which may be stuck in it: the next call
    /// gets another one.
    fn abandon_current(&self) {
        if self.options.address.way.ends_calls() {
            // The call had a context of its own.
            return;
        }
        if let Some(last) = self.replace(None).and_then(Arc::into_inner) {
            do_elsewhere(move || drop(last));
        }
    }

    fn current(&self, permit: &Permit<'_>) -> Result<Arc<SharedContext>> {
        let current = lock(&self.current).clone();
        match current {
            Some(current) if !current.is_forked() => Ok(current),
            _ => self.renew(permit),
        }
    }

    fn renew(&self, permit: &Permit<'_>) -> Result<Arc<SharedContext>> {
        if permit.is_void() {
            let operation = Operation::EstablishContext;
            return Err(Error::new(operation, ReturnCode::E_CANCELLED));
        }
        let renewed = OwnedContext::establish(&self.options.address, Limit::default());
        let renewed = Arc::new(SharedContext::new(block_on(renewed)?));
        drop(self.replace(Some(Arc::clone(&renewed))));
        Ok(renewed)
    }

    /// Makes a call in the current context; or, if it ends by itself, in one of its own, so that it
    /// need not wait for its turn.
    async fn make<T>(
        &self,
        permit: &Permit<'_>,
        operation: Operation,
        call: impl AsyncFn(&mut ContextHandle) -> Result<T, Failure>,
    ) -> Result<Result<T, Failure>> {
        if permit.here().is_some() {
            let context = OwnedContext::establish(&self.options.address, permit.limit());
            let mut context = context.await?;
            return Ok(trace::call(operation, None, call(context.handle())).await);
        }
        let current = self.current(permit)?;
        Ok(current.call(|context| block_on(trace::call(operation, None, call(context)))))
    }

    async fn is_valid(&self, permit: &Permit<'_>) -> Result<bool> {
        let operation = Operation::IsValidContext;
        let current = lock(&self.current).clone();
        if permit.here().is_some() && current.is_some_and(|current| !current.is_forked()) {
            // Answered without the service, so nothing has to be waited for.
            return Ok(true);
        }
        let asked = self.make(permit, operation, service::is_valid_context);
        match asked.await? {
            Ok(()) => Ok(true),
            Err(failure) => match failure.code {
                // The latter comes from winscard.
                ReturnCode::E_INVALID_HANDLE | ReturnCode::INVALID_HANDLE => Ok(false),
                _ => Err(Error::new(operation, failure)),
            },
        }
    }

    /// Makes a read-only call, and repeats it in a new context if the service of the old one is
    /// gone.
    async fn ask<T>(
        &self,
        permit: &Permit<'_>,
        operation: Operation,
        call: impl AsyncFn(&mut ContextHandle) -> Result<T, Failure>,
    ) -> Result<T> {
        let error = match self.make(permit, operation, &call).await? {
            Ok(answer) => return Ok(answer),
            Err(failure) => Error::new(operation, failure),
        };
        if error.recovery() != Recovery::ConnectAgain || permit.here().is_some() {
            return Err(error);
        }
        match self.renew(permit) {
            Ok(_) => {
                let asked = self.make(permit, operation, &call).await?;
                asked.map_err(|failure| Error::new(operation, failure))
            }
            Err(renewal) if renewal.means_no_reader() => Err(renewal),
            Err(_) => Err(error),
        }
    }

    async fn reader_groups(&self, permit: &Permit<'_>) -> Result<Vec<String>> {
        let names = self.ask(
            permit,
            Operation::ListReaderGroups,
            service::list_reader_groups,
        );
        let names = names_of(names.await)?;
        Ok(names.iter().map(ReaderName::to_string).collect())
    }

    async fn readers_in(&self, permit: &Permit<'_>, group: &CStr) -> Result<Vec<ReaderName>> {
        let mut readers = self.readers(permit, Some(group)).await?;
        if Platform::CURRENT != Platform::Windows && !ALL_READERS.contains(&group) {
            readers.clear();
        }
        Ok(readers)
    }

    async fn all_readers(&self, permit: &Permit<'_>) -> Result<Vec<ReaderName>> {
        self.readers(permit, None).await
    }

    /// Returns all readers, or on Windows those in a group.
    async fn readers(&self, permit: &Permit<'_>, group: Option<&CStr>) -> Result<Vec<ReaderName>> {
        let list = async |context: &mut ContextHandle| service::list_readers(context, group).await;
        names_of(self.ask(permit, Operation::ListReaders, list).await)
    }

    async fn reader_states(&self, permit: &Permit<'_>) -> Result<Vec<ReaderState>> {
        // In a context of its own: this call must never coincide with another one on its context.
        let (address, limit) = (&self.options.address, permit.limit());
        reader_states(&Contexts { address, limit }).await
    }
}
