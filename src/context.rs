//! The handle to the smart-card service.

use std::sync::{Arc, Mutex, PoisonError};

use crate::card::Card;
use crate::connection::OwnedContext;
use crate::error::{Error, Operation, Recovery, Result};
use crate::name::{ReaderName, split_multi_string};
use crate::options::{ConnectOptions, Scope};
use crate::reader::Reader;
use crate::status::ReaderState;
use crate::sys::{self, ContextHandle, Failure, Watched};
use crate::{Atr, ReturnCode};

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
/// A `Context` outlives the service: after the service was restarted, the next call
/// establishes a new PC/SC context. Cards and readers that were open before are gone; they
/// have to be connected again.
#[derive(Debug, Clone)]
pub struct Context(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    scope: Scope,
    current: Mutex<Arc<OwnedContext>>,
}

/// How often the readers may change while their states are being asked for.
const MAX_SNAPSHOTS: usize = 16;

impl Context {
    /// Connects to the service, in the scope of the user.
    ///
    /// Corresponds to `SCardEstablishContext`.
    ///
    /// # Errors
    ///
    /// `SCARD_E_NO_SERVICE` if the service does not run, `SCARD_E_NO_MEMORY` if it has no
    /// context left (pcsc-lite: 200 at a time).
    ///
    /// # Platform notes
    ///
    /// On Windows the service runs only while there is a reader; without one,
    /// `SCARD_E_NO_SERVICE` or `SCARD_E_SERVICE_STOPPED` is the ordinary answer.
    #[doc(alias = "SCardEstablishContext")]
    pub fn establish() -> Result<Context> {
        Context::establish_in(Scope::default())
    }

    /// Connects to the service in the given scope.
    ///
    /// # Errors
    ///
    /// Those of [`Context::establish`].
    pub fn establish_in(scope: Scope) -> Result<Context> {
        let context = OwnedContext::establish(scope)?;
        Ok(Context(Arc::new(Inner {
            scope,
            current: Mutex::new(Arc::new(context)),
        })))
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
        sys::is_valid_context(self.current().handle())
            .map_err(|code| Error::new(Operation::IsValidContext, code))
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
        match self.call(Operation::ListReaders, sys::list_readers) {
            Ok(names) => Ok(split_multi_string(&names)),
            Err(error) if error.code() == ReturnCode::E_NO_READERS_AVAILABLE => Ok(Vec::new()),
            Err(error) => Err(error),
        }
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
        let names = self.call(Operation::ListReaderGroups, sys::list_reader_groups)?;
        Ok(split_multi_string(&names)
            .iter()
            .map(ReaderName::to_string)
            .collect())
    }

    /// All readers and what is in them at this moment.
    ///
    /// Corresponds to `SCardGetStatusChange` with a time limit of zero. It does not wait and
    /// does not disturb any card.
    ///
    /// ```no_run
    /// # fn demo(context: &scard::Context) -> scard::Result<()> {
    /// let states = context.reader_states()?;
    /// let with_card = states.iter().find(|state| state.has_card());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `SCARD_E_NO_SERVICE` if the service does not run.
    #[doc(alias = "SCardGetStatusChange")]
    pub fn reader_states(&self) -> Result<Vec<ReaderState>> {
        // A context of its own: this call must never meet another one on its context.
        let context = OwnedContext::establish(self.0.scope)?;
        let mut failed = ReturnCode::E_UNKNOWN_READER;
        for _ in 0..MAX_SNAPSHOTS {
            let readers = self.readers()?;
            if readers.is_empty() {
                return Ok(Vec::new());
            }
            let mut watched: Vec<Watched<'_>> = readers
                .iter()
                .map(|reader| Watched {
                    name: reader.as_c_str(),
                    current_state: 0,
                    event_state: 0,
                    atr: Atr::new(&[]),
                })
                .collect();
            match sys::get_status_change(context.handle(), 0, &mut watched) {
                Ok(()) => {
                    let states = readers.iter().zip(watched);
                    return Ok(states
                        .map(|(reader, seen)| ReaderState {
                            reader: reader.clone(),
                            event_state: seen.event_state,
                            atr: seen.atr,
                        })
                        .collect());
                }
                // A reader was unplugged since they were listed.
                Err(code @ ReturnCode::E_UNKNOWN_READER) => failed = code,
                Err(code) => return Err(Error::new(Operation::GetStatusChange, code)),
            }
        }
        Err(Error::new(Operation::GetStatusChange, failed))
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
    /// Waits without limit while another program holds a transaction on the card.
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
        Card::open(self.0.scope, reader, options)
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
        Reader::open(self.0.scope, reader)
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
        let Some(inner) = Arc::into_inner(self.0) else {
            return Ok(());
        };
        let current = inner
            .current
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        Arc::into_inner(current).map_or(Ok(()), OwnedContext::release)
    }

    fn current(&self) -> Arc<OwnedContext> {
        let current = self.0.current.lock();
        Arc::clone(&current.unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes a call that only reads; once more in a new context if the service that the old
    /// one belonged to is gone.
    fn call<T>(
        &self,
        operation: Operation,
        call: impl Fn(ContextHandle) -> Result<T, Failure>,
    ) -> Result<T> {
        let context = self.current();
        let error = match call(context.handle()) {
            Ok(answer) => return Ok(answer),
            Err(failure) => Error::new(operation, failure),
        };
        if error.recovery() != Recovery::ConnectAgain {
            return Err(error);
        }
        let Ok(renewed) = OwnedContext::establish(self.0.scope) else {
            return Err(error);
        };
        let renewed = Arc::new(renewed);
        let mut current = self
            .0
            .current
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *current = Arc::clone(&renewed);
        drop(current);
        call(renewed.handle()).map_err(|failure| Error::new(operation, failure))
    }
}
