//! Querying the readers and their states.
//!
//! Since 2.5.0, pcsc-lite's client library registers for events in `SCardGetStatusChange` and
//! requests the size and the contents of its table of readers in two further messages. An event
//! that arrives in between is read as an answer. The call then fails with `0x8010001F`, or all
//! names are shifted and existing readers are reported as unknown, also to other threads using the
//! shared table at that moment.
//!
//! So a reader counts as gone or new only if a context that has never registered for events lists
//! it so, and a context that may have misread an answer is not used again.
//!
//! The service of pcsc-lite changes its table while sending it: a card can appear with its own
//! count but the previous card's ATR, or none, or not be counted yet. So a change is believed only
//! if two looks in a row agree.
//!
//! Over the socket, nothing is misread, and each look already consists of two that agree.

mod snapshot;

use std::ffi::CStr;
use std::time::Duration;

use crate::codes::{Platform, ReturnCode};
use crate::connection::OwnedContext;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::service::{self, Address, Limit, ReaderQuery};
use crate::trace;
use crate::values::{ReaderFlags, ReaderName, split_multi_string};

pub(crate) use snapshot::{may_be_too_many, none_without_service, reader_states, reader_states_of};

/// The name under which PC/SC reports readers being attached and detached; not known to macOS.
pub(crate) const PLUG_AND_PLAY: &CStr = c"\\\\?PnP?\\Notification";

/// The maximum number of attempts at one look. At worst, every fifth look was observed to be
/// misread.
const MAX_LOOKS: usize = 16;

/// The maximum number of looks after one that found a change, until two in a row agree.
const MAX_AGREEING: usize = 4;

/// Where contexts come from.
pub(crate) trait Source {
    type Service: Service;

    async fn establish(&self) -> Result<Self::Service>;

    /// [`Way::is_exact`](crate::service::Way::is_exact).
    fn is_exact(&self) -> bool {
        false
    }
}

/// The calls needed to look at the readers.
pub(crate) trait Service {
    /// `SCardListReaders`.
    async fn list_readers(&mut self) -> Result<Vec<ReaderName>>;

    /// `SCardGetStatusChange`. Returns whether there was a change.
    async fn status_change(
        &mut self,
        limit: Duration,
        readers: &mut [ReaderQuery<'_>],
    ) -> Result<bool>;
}

/// New contexts there.
pub(crate) struct Contexts<'a> {
    pub(crate) address: &'a Address,
    /// The limit of each, if calls in it end by themselves.
    pub(crate) limit: Limit,
}

impl Contexts<'_> {
    pub(crate) fn at(address: &Address) -> Contexts<'_> {
        Contexts {
            address,
            limit: Limit::default(),
        }
    }
}

impl Source for Contexts<'_> {
    type Service = OwnedContext;

    async fn establish(&self) -> Result<OwnedContext> {
        OwnedContext::establish(self.address, self.limit.clone()).await
    }

    fn is_exact(&self) -> bool {
        self.address.way.is_exact()
    }
}

impl Service for OwnedContext {
    async fn list_readers(&mut self) -> Result<Vec<ReaderName>> {
        let list = service::list_readers(self.handle(), None);
        let listed = trace::watch(Operation::ListReaders, list).await;
        readers_of(listed.map_err(|failure| Error::new(Operation::ListReaders, failure)))
    }

    async fn status_change(
        &mut self,
        limit: Duration,
        readers: &mut [ReaderQuery<'_>],
    ) -> Result<bool> {
        // `INFINITE`.
        let limit = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX);
        let look = service::get_status_change(self.handle(), limit, readers);
        match trace::watch(Operation::GetStatusChange, look).await {
            Ok(()) => Ok(true),
            Err(failure) if failure.code == ReturnCode::E_TIMEOUT => Ok(false),
            Err(failure) => Err(Error::new(Operation::GetStatusChange, failure)),
        }
    }
}

/// The names in a list. An empty list is not an error.
pub(crate) fn readers_of(listed: Result<Vec<u8>>) -> Result<Vec<ReaderName>> {
    match listed {
        Ok(names) => Ok(split_multi_string(&names)),
        Err(error) if error.code() == ReturnCode::E_NO_READERS_AVAILABLE => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Looks at the readers, with a new context after each answer that may have been misread.
pub(crate) struct Lookout<'a, S: Source> {
    source: &'a S,
    service: S::Service,
    may_misread: bool,
    /// Whether this context has ever registered for events.
    has_looked: bool,
}

impl<'a, S: Source> Lookout<'a, S> {
    pub(crate) async fn establish(source: &'a S, platform: Platform) -> Result<Lookout<'a, S>> {
        Ok(Lookout {
            source,
            service: source.establish().await?,
            may_misread: platform == Platform::PcscLite && !source.is_exact(),
            has_looked: false,
        })
    }

    async fn renew(&mut self) -> Result<()> {
        self.service = self.source.establish().await?;
        self.has_looked = false;
        Ok(())
    }

    /// Lists the readers. An unexpected list is confirmed by a new context.
    pub(crate) async fn list(
        &mut self,
        is_expected: impl FnOnce(&[ReaderName]) -> bool,
    ) -> Result<Vec<ReaderName>> {
        let listed = self.service.list_readers().await;
        let is_credible = match &listed {
            Ok(names) => is_expected(names),
            Err(error) => error.kind() == ErrorKind::ServiceGone,
        };
        let is_final = is_credible || !self.may_misread || !self.has_looked;
        if is_final || self.renew().await.is_err() {
            return listed;
        }
        self.service.list_readers().await
    }

    /// Waits until a reader differs from its known state, or for this long. Returns whether one
    /// did. If one of the readers does not exist, the error is
    /// `SCARD_E_UNKNOWN_READER`.
    pub(crate) async fn look(
        &mut self,
        limit: Duration,
        readers: &mut [ReaderQuery<'_>],
    ) -> Result<bool> {
        let in_time = self.look_once(limit, readers).await?;
        if in_time && self.may_misread {
            self.agree(readers).await?;
        }
        Ok(in_time)
    }

    /// Looks until two looks in a row agree on each reader. If they never do, the last one
    /// counts.
    async fn agree(&mut self, readers: &mut [ReaderQuery<'_>]) -> Result<()> {
        let can_be_asked = |it: &ReaderQuery<'_>| it.name != PLUG_AND_PLAY && !is_mute(it);
        let readers = readers.iter_mut();
        let mut left: Vec<&mut ReaderQuery<'_>> = readers.filter(|it| can_be_asked(it)).collect();
        let mut looks = 0;
        while !left.is_empty() && looks < MAX_AGREEING {
            looks += 1;
            let unaware = left.iter().map(|it| ReaderQuery::unaware(it.name));
            let mut again: Vec<ReaderQuery<'_>> = unaware.collect();
            if !self.look_once(Duration::ZERO, &mut again).await? {
                // There must be an answer, because no state is known for these readers.
                break;
            }
            let changed = ReaderFlags::CHANGED.bits();
            let seen = |it: &ReaderQuery<'_>| (it.event_state | changed, it.atr);
            let mut again = again.iter().map(seen);
            left.retain_mut(|it| match again.next() {
                Some(new) if new != seen(it) => {
                    (it.event_state, it.atr) = new;
                    can_be_asked(it)
                }
                _ => false,
            });
        }
        Ok(())
    }

    /// Looks once, repeating it in a new context after each answer that may have been misread.
    async fn look_once(
        &mut self,
        limit: Duration,
        readers: &mut [ReaderQuery<'_>],
    ) -> Result<bool> {
        let mut looks = 0;
        loop {
            self.has_looked = true;
            let answer = self.service.status_change(limit, readers).await;
            if !self.may_misread || !is_doubtful(&answer, readers) {
                return answer;
            }
            looks += 1;
            self.renew().await?;
            let listed = self.service.list_readers().await?;
            let is_there = |name: &CStr| listed.iter().any(|listed| listed.as_c_str() == name);
            let mut names = readers.iter().map(|reader| reader.name);
            let unknown = || Error::new(Operation::GetStatusChange, ReturnCode::E_UNKNOWN_READER);
            if names.any(|name| name != PLUG_AND_PLAY && !is_there(name)) {
                return Err(unknown());
            }
            if looks == MAX_LOOKS {
                return Err(answer.err().unwrap_or_else(unknown));
            }
            tracing::debug!("querying the readers in another context");
        }
    }
}

/// Whether this is a mute card. Looking at one again takes pcsc-lite 0.4 seconds.
fn is_mute(seen: &ReaderQuery<'_>) -> bool {
    seen.event_state & ReaderFlags::MUTE.bits() != 0
}

/// Whether the answer may be a misread event.
fn is_doubtful(answer: &Result<bool>, readers: &[ReaderQuery<'_>]) -> bool {
    let unknown = ReaderFlags::UNKNOWN.bits();
    match answer {
        Ok(in_time) => *in_time && readers.iter().any(|it| it.event_state & unknown != 0),
        Err(error) => match error.code() {
            ReturnCode::E_UNEXPECTED | ReturnCode::E_UNKNOWN_READER => true,
            // Part of a reader's state, read as the code.
            code => code.raw() >> 16 != ReturnCode::E_UNEXPECTED.raw() >> 16,
        },
    }
}

#[cfg(test)]
mod tests;
