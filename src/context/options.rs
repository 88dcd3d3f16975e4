//! Options for establishing contexts.

#[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::{Context, Inner, within};
use crate::channel::Limits;
use crate::connection::{OwnedContext, SharedContext};
use crate::error::{Operation, Result};
use crate::limits::{Pending, Permit};
#[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
use crate::service::Way;
use crate::service::{Address, Limit};
use crate::sync::Mutex;
use crate::values::Scope;

/// Options for establishing a [`Context`].
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
    pub(super) address: Address,
    pub(super) timeout: Option<Duration>,
}

impl ContextOptions {
    /// Returns the default options: user scope, no time-out.
    pub fn new() -> ContextOptions {
        ContextOptions::default()
    }

    /// Sets the scope of the resource manager.
    pub fn scope(mut self, scope: Scope) -> ContextOptions {
        self.address.scope = scope;
        self
    }

    /// Talks to pcsc-lite's daemon directly over its socket instead of through its C library: for
    /// this context and every card, reader, monitor and session created from it. Without the
    /// feature `library`, all contexts do this.
    ///
    /// The socket is named by the environment variable `PCSCLITE_CSOCK_NAME`; the default is
    /// `/run/pcscd/pcscd.comm` on Linux, `/var/run/pcscd/pcscd.comm` elsewhere. The variable is
    /// ignored in a program that runs with other privileges than the user who started it.
    ///
    /// Calls, codes and their meaning are the same. Errors of establishing a context name the
    /// socket. Requires the feature `socket`, on Linux or BSD.
    #[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
    #[cfg_attr(docsrs, doc(cfg(feature = "socket")))]
    pub fn socket(mut self) -> ContextOptions {
        self.address.way = Way::Socket(None);
        self
    }

    /// Like [`socket`](ContextOptions::socket), with the socket at `path`, so that one program can
    /// use several services. So can tests: with the sandboxes of `scard-testkit`, and without its
    /// `isolated`.
    ///
    /// ```no_run
    /// use scard::ContextOptions;
    ///
    /// let context = ContextOptions::new()
    ///     .socket_path("/run/other/pcscd.comm")
    ///     .establish()?;
    /// # Ok::<(), scard::Error>(())
    /// ```
    #[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
    #[cfg_attr(docsrs, doc(cfg(feature = "socket")))]
    pub fn socket_path(mut self, path: impl AsRef<Path>) -> ContextOptions {
        self.address.way = Way::Socket(Some(path.as_ref().into()));
        self
    }

    /// Sets the time-out of each call of the context and of every card and reader opened through
    /// it, unless [`ConnectOptions::timeout`](crate::ConnectOptions::timeout) says otherwise.
    ///
    /// A call that takes longer fails with
    /// [`ErrorKind::DeadlineExceeded`](crate::ErrorKind::DeadlineExceeded). The context stays
    /// usable; for cards and readers see [`Card::set_timeout`](crate::Card::set_timeout). Dropping
    /// the context takes no longer than a call. Without a time-out, calls and drops wait as long as
    /// the service hangs.
    ///
    /// An abandoned call occupies a thread until the service answers, and a loop that reconnects
    /// would accumulate threads. Therefore, while a context and its cards have 32 abandoned calls
    /// in progress, further calls of the context with a time-out fail at once with
    /// [`ErrorKind::ServiceBusy`](crate::ErrorKind::ServiceBusy): connecting, listing, and waiting
    /// for cards. Calls on connected cards and [`Context::monitor`] still work. This ends when the
    /// service answers again or is restarted. [`establish`](ContextOptions::establish) has a
    /// separate limit of 32 abandoned calls in a process.
    ///
    /// Over the socket only waits for cards, and cards that were abandoned during a call, leave
    /// something behind and are counted.
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
        let (limits, establish) = self.establishing();
        let operation = Operation::EstablishContext;
        let context = within(&self.address.way, &limits, operation, establish)?;
        Ok(self.context(Some(context)))
    }

    /// Returns a context that connects to the service when a call needs it. See [`Context::lazy`].
    pub fn lazy(self) -> Context {
        self.context(None)
    }

    pub(super) fn establishing(
        &self,
    ) -> (
        Limits,
        impl AsyncFnOnce(&Permit<'_>) -> Result<OwnedContext> + Send + use<>,
    ) {
        let limits = Limits::new(self.timeout, None).counted_by(&Pending::OfProcess);
        let address = self.address.clone();
        let establish = async move |permit: &Permit<'_>| {
            OwnedContext::establish(&address, permit.limit()).await
        };
        (limits, establish)
    }

    pub(super) fn context(self, mut context: Option<OwnedContext>) -> Context {
        if let Some(context) = &mut context {
            // That of establishing it is over.
            context.handle().set_limit(Limit::default());
        }
        let limits = Limits::new(self.timeout, None).counted_by(&Pending::of_new_context());
        Context(Arc::new(Inner {
            options: self,
            limits,
            current: Mutex::new(context.map(|it| Arc::new(SharedContext::new(it)))),
            spare: Arc::default(),
            is_hurried: AtomicBool::new(false),
            #[cfg(feature = "async")]
            detached: AtomicBool::new(false),
        }))
    }
}
