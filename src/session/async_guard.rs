//! Session guards whose calls are futures.

use std::fmt;

use zeroize::Zeroizing;

use super::card::SessionCard;
use super::{AsyncSession, SessionError};
use crate::apdu::{Command, CommandBytes, ExchangeError, ExchangeOptions, Response};
use crate::error::{Error, Result};
use crate::exchange::{AsyncControl, AsyncTransmit, Control, Transmit};
use crate::features::ReaderFeatures;
use crate::values::{Atr, Attribute, CardStatus, ControlCode, Protocol, ReaderName};

/// The card of an [`AsyncSession`] for a piece of work: a [`SessionGuard`](crate::SessionGuard)
/// whose calls are futures. Created by [`AsyncSession::begin`]. Requires the feature `async`.
///
/// Further calls are in [`AsyncTransmit`] and [`AsyncControl`].
///
/// Dropping the guard ends the work and ignores errors; [`end`](AsyncSessionGuard::end) returns
/// them. A drop does not wait: the transaction ends on the session's thread, even if the session is
/// not used again, and the next run begins after it. In both cases the session recovers from
/// failures before the next run.
///
/// # Dropping a future
///
/// Dropping the future of a call stops the call as [in a run](AsyncSession#dropping-a-future). If
/// the call was in progress, the connection is dropped with it, and every later call of this guard
/// fails with [`ErrorKind::Abandoned`](crate::ErrorKind::Abandoned). The next run connects again.
///
/// # Platform notes
///
/// Windows resets the card to end a transaction that is idle for five seconds: do not await
/// anything else for long.
#[must_use = "dropping it ends the work"]
pub struct AsyncSessionGuard<'a> {
    work: Work<'a>,
    reader_name: ReaderName,
    protocol: Option<Protocol>,
    exchange_options: ExchangeOptions,
    /// The last answer, which [`AsyncTransmit`] lends.
    answer: Zeroizing<Vec<u8>>,
}

/// A session whose work ends when this is dropped.
struct Work<'a>(&'a mut AsyncSession);

impl Drop for Work<'_> {
    fn drop(&mut self) {
        self.0.end_work_later();
    }
}

impl<'a> AsyncSessionGuard<'a> {
    pub(super) async fn begin(
        session: &'a mut AsyncSession,
    ) -> Result<AsyncSessionGuard<'a>, SessionError> {
        // Created before the work begins, in case this future is dropped.
        let work = Work(session);
        let begun = work.0.perform(|session| {
            let card = session.begin()?;
            let about = (card.reader_name().clone(), card.protocol());
            let options = card.exchange_options();
            card.suspend();
            Ok((about, options))
        });
        let ((reader_name, protocol), exchange_options) =
            begun.await.map_err(SessionError::Card)??;
        Ok(AsyncSessionGuard {
            work,
            reader_name,
            protocol,
            exchange_options,
            answer: Zeroizing::default(),
        })
    }

    /// Returns the reader that the card is in.
    pub fn reader_name(&self) -> &ReaderName {
        &self.reader_name
    }

    /// See [`Card::transmit`](crate::Card::transmit).
    ///
    /// # Errors
    ///
    /// Those of [`Card::transmit`](crate::Card::transmit).
    ///
    /// # Cancel safety
    ///
    /// [Dropping the future](AsyncSessionGuard#dropping-a-future) drops the connection. The command
    /// is not sent if it was not sent yet; whether it was is not reported.
    #[doc(alias = "SCardTransmit")]
    pub async fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>> {
        AsyncTransmit::transmit(self, command).await
    }

    /// See [`Card::exchange`](crate::Card::exchange).
    ///
    /// # Errors
    ///
    /// Those of [`Card::exchange`](crate::Card::exchange).
    ///
    /// # Cancel safety
    ///
    /// [Dropping the future](AsyncSessionGuard#dropping-a-future) drops the connection. Which
    /// commands of the exchange were sent is not reported.
    pub async fn exchange(&mut self, command: &Command) -> Result<Response, ExchangeError> {
        AsyncTransmit::exchange(self, command).await
    }

    /// See [`Card::status`](crate::Card::status).
    ///
    /// # Errors
    ///
    /// Those of [`Card::status`](crate::Card::status).
    ///
    /// # Cancel safety
    ///
    /// [Dropping the future](AsyncSessionGuard#dropping-a-future) drops the connection.
    #[doc(alias = "SCardStatus")]
    pub async fn status(&mut self) -> Result<CardStatus> {
        self.call(|card| card.status()).await
    }

    /// Ends the work and its transaction.
    ///
    /// # Errors
    ///
    /// Those of [`Transaction::end`](crate::Transaction::end). The work is over anyway.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the work ends as if the guard was dropped.
    pub async fn end(self) -> Result<()> {
        self.work
            .0
            .perform(|session| session.resume()?.end())
            .await?
    }

    /// Calls `f` with the card on the session's thread.
    async fn call<T, E>(
        &mut self,
        f: impl FnOnce(&mut SessionCard<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let called = self.work.0.perform(|session| {
            let mut card = session.resume()?;
            let given = f(&mut card);
            card.suspend();
            given
        });
        called.await?
    }
}

impl AsyncControl for AsyncSessionGuard<'_> {
    fn reader_name(&self) -> &ReaderName {
        &self.reader_name
    }

    async fn control(&mut self, code: ControlCode, input: &[u8]) -> Result<Vec<u8>> {
        // It may contain a PIN.
        let input = Zeroizing::new(input.to_vec());
        self.call(move |card| card.control(code, &input)).await
    }

    async fn features(&mut self) -> Result<ReaderFeatures> {
        self.call(|card| card.features()).await
    }

    async fn attribute(&mut self, attribute: Attribute) -> Result<Vec<u8>> {
        self.call(move |card| card.attribute(attribute)).await
    }

    async fn set_attribute(&mut self, attribute: Attribute, value: &[u8]) -> Result<()> {
        let value = Zeroizing::new(value.to_vec());
        self.call(move |card| card.set_attribute(attribute, &value))
            .await
    }
}

impl AsyncTransmit for AsyncSessionGuard<'_> {
    fn protocol(&self) -> Option<Protocol> {
        self.protocol
    }

    async fn atr(&mut self) -> Result<Atr> {
        Ok(self.status().await?.atr())
    }

    async fn send(&mut self, command: CommandBytes<'_>) -> Result<&[u8]> {
        let (bytes, is_marked) = (Zeroizing::new(command.to_vec()), command.is_marked());
        let sent = self.call(move |card| {
            let answer = card.send(CommandBytes::marked(&bytes, is_marked))?;
            Ok::<_, Error>(Zeroizing::new(answer.to_vec()))
        });
        self.answer = sent.await?;
        Ok(&self.answer)
    }

    fn exchange_options(&self) -> ExchangeOptions {
        self.exchange_options
    }

    /// The whole exchange runs on the session's thread.
    async fn exchange_with(
        &mut self,
        command: &Command,
        options: &ExchangeOptions,
    ) -> Result<Response, ExchangeError> {
        let (command, options) = (command.clone(), *options);
        self.call(move |card| card.exchange_with(&command, &options))
            .await
    }
}

impl fmt::Debug for AsyncSessionGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncSessionGuard")
            .field("reader_name", &self.reader_name)
            .finish_non_exhaustive()
    }
}
