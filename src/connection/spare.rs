//! Contexts that are kept for the next card.

use std::sync::{Arc, PoisonError, Weak};

use super::OwnedContext;
use crate::error::Result;
use crate::service::{Address, Limit};
use crate::sync::{Mutex, lock};

/// Where cards are connected.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    pub(crate) address: Address,
    pub(super) spare: Weak<Spare>,
}

impl Home {
    /// Without a spare context.
    pub(crate) fn at(address: &Address) -> Home {
        Home {
            address: address.clone(),
            spare: Weak::new(),
        }
    }

    /// The library gains nothing by a spare context.
    pub(crate) fn with(address: &Address, spare: &Arc<Spare>) -> Home {
        let mut home = Home::at(address);
        if address.way.ends_calls() {
            home.spare = Arc::downgrade(spare);
        }
        home
    }

    /// The spare context, or a new one.
    pub(super) async fn context(&self, limit: Limit) -> Result<OwnedContext> {
        match self.spare.upgrade().and_then(|spare| spare.take(&limit)) {
            Some(context) => Ok(context),
            None => OwnedContext::establish(&self.address, limit).await,
        }
    }

    /// Keeps a context in which nothing was connected, or ends it.
    pub(super) fn leave(&self, context: OwnedContext) {
        if let Some(spare) = self.spare.upgrade() {
            spare.keep(context);
        }
    }
}

/// The context of a card that was disconnected, if it can be that of the next one. Shared by a
/// [`Context`](crate::Context) and its cards, and ends with the former.
///
/// The daemon starts a thread for each connection, which takes longer than connecting a card.
#[derive(Debug, Default)]
pub(crate) struct Spare(Mutex<Option<OwnedContext>>);

impl Spare {
    /// Returns the context, unless it has ended or is that of a parent process.
    fn take(&self, limit: &Limit) -> Option<OwnedContext> {
        let mut context = lock(&self.0).take()?;
        if context.is_forked() {
            return None;
        }
        if !context.handle().is_vacant() {
            context.hang_up();
            return None;
        }
        context.handle().set_limit(limit.clone());
        Some(context)
    }

    pub(super) fn has_room(&self) -> bool {
        lock(&self.0).is_none()
    }

    /// Keeps a context in which nothing is connected any more, instead of another one.
    pub(super) fn keep(&self, mut context: OwnedContext) {
        context.handle().set_limit(Limit::default());
        let unwanted = match context.handle().is_vacant() {
            true => lock(&self.0).replace(context),
            false => Some(context),
        };
        if let Some(mut unwanted) = unwanted {
            unwanted.hang_up();
        }
    }
}

/// Does not wait for the service.
impl Drop for Spare {
    fn drop(&mut self) {
        let spare = self.0.get_mut();
        let spare = spare.unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut context) = spare.filter(|it| !it.is_forked()) {
            context.hang_up();
        }
    }
}
