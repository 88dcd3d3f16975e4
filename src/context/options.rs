//! How a context is established.

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
    pub(super) address: Address,
    pub(super) timeout: Option<Duration>,
}

impl ContextOptions {
    /// The scope of the user, no limits of time.
    pub fn new() -> ContextOptions {
        ContextOptions::default()
    }

    /// Which resource manager it is.
    pub fn scope(mut self, scope: Scope) -> ContextOptions {
        self.address.scope = scope;
        self
    }

    /// Speaks to pcsc-lite's daemon itself, in the protocol of its socket, instead of through its C
    /// library: for this context, and every card, reader, monitor and session that comes from it.
    /// Without the feature `library`, all contexts do.
    ///
    /// The socket is the one that the environment variable `PCSCLITE_CSOCK_NAME` names, or
    /// `/run/pcscd/pcscd.comm` (`/var/run/pcscd/pcscd.comm` but on Linux). The variable is ignored in
    /// a program that runs with other rights than those of the user who started it.
    ///
    /// Calls, codes and their meaning are the same.
    #[cfg(all(feature = "socket", unix, not(target_vendor = "apple")))]
    #[cfg_attr(docsrs, doc(cfg(feature = "socket")))]
    pub fn socket(mut self) -> ContextOptions {
        self.address.way = Way::Socket(None);
        self
    }

    /// The same with another socket, so that one program can use several services. Tests can, too:
    /// with the sandboxes of `scard-testkit`, and without its `isolated`.
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

    /// How long each call may take: those of the context, and those of every card and reader
    /// that is opened through it, unless
    /// [`ConnectOptions::timeout`](crate::ConnectOptions::timeout) says otherwise.
    ///
    /// A call that takes longer fails with
    /// [`ErrorKind::DeadlineExceeded`](crate::ErrorKind::DeadlineExceeded). The context stays
    /// usable; for cards and readers see [`Card::set_timeout`](crate::Card::set_timeout). Dropping
    /// the context takes no longer than a call. Without a limit, calls and drops wait as long as the service hangs.
    ///
    /// A call that was given up keeps a thread until the service answers, and a loop that connects
    /// again would make more and more. So while 32 calls of a context and its cards are under way
    /// that were given up, further calls of the context that have a limit fail at once with
    /// [`ErrorKind::ServiceBusy`](crate::ErrorKind::ServiceBusy): connecting, listing, and waiting
    /// for cards. Calls on cards that are connected, and [`Context::monitor`], go on. It ends when
    /// the service answers again or is restarted. [`establish`](ContextOptions::establish) has a
    /// limit of its own, 32 calls in a process.
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
        let context = within(&limits, Operation::EstablishContext, establish)?;
        Ok(self.context(Some(context)))
    }

    /// A context that connects to the service when a call needs it. See [`Context::lazy`].
    pub fn lazy(self) -> Context {
        self.context(None)
    }

    pub(super) fn establishing(
        &self,
    ) -> (
        Limits,
        impl FnOnce(&Permit<'_>) -> Result<OwnedContext> + Send + use<>,
    ) {
        let limits = Limits::new(self.timeout, None).counted_by(&Pending::OfProcess);
        let address = self.address.clone();
        (limits, move |_| {
            OwnedContext::establish(&address, Limit::default())
        })
    }

    pub(super) fn context(self, context: Option<OwnedContext>) -> Context {
        let limits = Limits::new(self.timeout, None).counted_by(&Pending::of_new_context());
        Context(Arc::new(Inner {
            options: self,
            limits,
            current: Mutex::new(context.map(|it| Arc::new(SharedContext::new(it)))),
            is_hurried: AtomicBool::new(false),
            #[cfg(feature = "async")]
            detached: AtomicBool::new(false),
        }))
    }
}
