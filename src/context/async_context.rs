//! The smart-card service, with futures.

use super::selector::{decide, has_serial, matching};
use super::{Context, ContextOptions, FindReaderError, ReaderSelector, valid};
use crate::card::{AsyncCard, AsyncReader, ConnectOptions};
use crate::error::Result;
use crate::exchange::AsyncControl;
use crate::values::{Attribute, Disposition, InvalidReaderName, ReaderName, ReaderState};

/// A [`Context`] whose calls are futures. Requires the feature `async`.
///
/// ```no_run
/// # async fn demo() -> scard::Result<()> {
/// use scard::{AsyncContext, ConnectOptions};
///
/// let context = AsyncContext::establish().await?;
/// let states = context.reader_states().await?;
/// for state in states.iter().filter(|state| state.has_card()) {
///     let mut card = context.connect(state.reader_name(), ConnectOptions::new()).await?;
///     let status = card.status().await?;
///     println!("{}: {:?}", card.reader_name(), status.atr());
/// }
/// # Ok(())
/// # }
/// ```
///
/// Cheap to clone, and can be shared. Works with every executor, or without one: each call runs on
/// a thread of its own or, over the socket ([`ContextOptions`]), waits on the one that all cards
/// share.
///
/// # Dropping a future
///
/// A call cannot be interrupted: it continues in the background until the service answers, and is
/// then undone. A card that is connected too late is disconnected. The context stays usable: the
/// next call does not wait for an abandoned one.
#[derive(Debug, Clone)]
pub struct AsyncContext {
    context: Context,
}

impl AsyncContext {
    /// Connects to the service. See [`Context::establish`].
    ///
    /// Corresponds to `SCardEstablishContext`.
    ///
    /// # Errors
    ///
    /// Those of [`Context::establish`].
    ///
    /// # Platform notes
    ///
    /// Those of [`Context::establish`].
    ///
    /// # Cancel safety
    ///
    /// [Dropping the future](AsyncContext#dropping-a-future) loses nothing.
    #[doc(alias = "SCardEstablishContext")]
    pub async fn establish() -> Result<AsyncContext> {
        ContextOptions::new().establish_async().await
    }

    /// Returns a context that connects to the service when a call needs it. See [`Context::lazy`];
    /// for options, use [`ContextOptions::lazy`] with `AsyncContext::from`.
    pub fn lazy() -> AsyncContext {
        AsyncContext::from(Context::lazy())
    }

    /// Returns the blocking context.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Returns the names of all readers, in the order of the service. An empty list is not an
    /// error.
    ///
    /// Corresponds to `SCardListReaders`.
    ///
    /// # Errors
    ///
    /// Those of [`Context::readers`].
    ///
    /// # Cancel safety
    ///
    /// [Dropping the future](AsyncContext#dropping-a-future) loses nothing.
    #[doc(alias = "SCardListReaders")]
    pub async fn readers(&self) -> Result<Vec<ReaderName>> {
        self.context.readers_detached().await
    }

    /// Returns the names of the readers in a [group](AsyncContext::reader_groups).
    ///
    /// Corresponds to `SCardListReaders` with `mszGroups`.
    ///
    /// # Errors
    ///
    /// Those of [`Context::readers_in`].
    ///
    /// # Platform notes
    ///
    /// Those of [`Context::readers_in`].
    ///
    /// # Cancel safety
    ///
    /// [Dropping the future](AsyncContext#dropping-a-future) loses nothing.
    #[doc(alias = "SCardListReaders")]
    pub async fn readers_in(&self, group: &str) -> Result<Vec<ReaderName>> {
        self.context.readers_in_detached(group).await
    }

    /// Returns the names of the reader groups.
    ///
    /// Corresponds to `SCardListReaderGroups`.
    ///
    /// # Errors
    ///
    /// Those of [`Context::reader_groups`].
    ///
    /// # Platform notes
    ///
    /// Those of [`Context::reader_groups`].
    ///
    /// # Cancel safety
    ///
    /// [Dropping the future](AsyncContext#dropping-a-future) loses nothing.
    #[doc(alias = "SCardListReaderGroups")]
    pub async fn reader_groups(&self) -> Result<Vec<String>> {
        self.context.reader_groups_detached().await
    }

    /// Returns the current states of all readers.
    ///
    /// Corresponds to `SCardGetStatusChange` with a time-out of zero. Does not wait for a change
    /// and does not disturb any card.
    ///
    /// # Errors
    ///
    /// Those of [`Context::reader_states`].
    ///
    /// # Platform notes
    ///
    /// Those of [`Context::reader_states`].
    ///
    /// # Cancel safety
    ///
    /// [Dropping the future](AsyncContext#dropping-a-future) loses nothing.
    #[doc(alias = "SCardGetStatusChange")]
    pub async fn reader_states(&self) -> Result<Vec<ReaderState>> {
        self.context.reader_states_detached().await
    }

    /// Connects to the card in a reader. Waits while another program holds a transaction on the
    /// card. See [`Context::connect`].
    ///
    /// Corresponds to `SCardConnect`.
    ///
    /// # Errors
    ///
    /// Those of [`Context::connect`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, a card that is connected too late is disconnected.
    #[doc(alias = "SCardConnect")]
    pub async fn connect<N>(&self, reader_name: N, options: ConnectOptions) -> Result<AsyncCard>
    where
        N: TryInto<ReaderName, Error: Into<InvalidReaderName>>,
    {
        let name = valid(reader_name)?;
        let exchange_options = options.exchange_options;
        let channel = self.context.connect_detached(&name, options).await?;
        Ok(AsyncCard::new(channel, exchange_options))
    }

    /// Opens a reader for direct access, with or without a card. See [`Context::open_reader`].
    ///
    /// Corresponds to `SCardConnect` with `SCARD_SHARE_DIRECT` and no protocol.
    ///
    /// # Errors
    ///
    /// Those of [`Context::open_reader`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, a reader that is opened too late is closed.
    #[doc(alias = "SCARD_SHARE_DIRECT")]
    pub async fn open_reader<N>(&self, reader_name: N) -> Result<AsyncReader>
    where
        N: TryInto<ReaderName, Error: Into<InvalidReaderName>>,
    {
        let name = valid(reader_name)?;
        let opened = self.context.open_reader_detached(&name).await;
        opened.map(AsyncReader::new)
    }

    /// Finds a reader by selector. See [`Context::find_reader`].
    ///
    /// # Errors
    ///
    /// Those of [`Context::find_reader`].
    ///
    /// # Cancel safety
    ///
    /// [Dropping the future](AsyncContext#dropping-a-future) loses nothing.
    pub async fn find_reader(
        &self,
        wanted: impl Into<ReaderSelector>,
    ) -> Result<ReaderName, FindReaderError> {
        let wanted = &wanted.into();
        let readers = self.reader_states().await?;
        let mut matches = matching(wanted, &readers);
        if let (ReaderSelector::Serial(serial), true) = (wanted, matches.is_empty()) {
            for state in &readers {
                let asked = match self.open_reader(state.reader_name()).await {
                    Ok(mut reader) => {
                        let asked = reader.attribute(Attribute::VENDOR_IFD_SERIAL_NO).await;
                        // A drop would not wait for the end of the connection.
                        let _ = reader.disconnect(Disposition::Leave).await;
                        asked
                    }
                    Err(error) => Err(error),
                };
                if has_serial(asked, serial)? {
                    matches.push(state.reader_name().clone());
                }
            }
        }
        decide(wanted, matches, readers)
    }

    /// Releases the PC/SC context if this is the last clone, and returns errors. See
    /// [`Context::release`].
    ///
    /// Corresponds to `SCardReleaseContext`. Dropping does the same, ignoring errors and without
    /// waiting.
    ///
    /// # Errors
    ///
    /// Those of [`Context::release`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the context is released anyway.
    #[doc(alias = "SCardReleaseContext")]
    pub async fn release(self) -> Result<()> {
        self.context.release_detached().await
    }
}

/// Keeps the PC/SC context, but releases it without blocking from now on.
impl From<Context> for AsyncContext {
    fn from(context: Context) -> AsyncContext {
        context.detach();
        AsyncContext { context }
    }
}

impl ContextOptions {
    /// Connects to the service. Requires the feature `async`.
    ///
    /// Corresponds to `SCardEstablishContext`.
    ///
    /// ```no_run
    /// # async fn demo() -> scard::Result<()> {
    /// use std::time::Duration;
    /// use scard::ContextOptions;
    ///
    /// let limit = Some(Duration::from_secs(5));
    /// let context = ContextOptions::new().timeout(limit).establish_async().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Context::establish`].
    ///
    /// # Cancel safety
    ///
    /// [Dropping the future](AsyncContext#dropping-a-future) loses nothing.
    #[doc(alias = "SCardEstablishContext")]
    pub async fn establish_async(self) -> Result<AsyncContext> {
        let context = self.establish_detached().await?;
        Ok(AsyncContext { context })
    }
}
