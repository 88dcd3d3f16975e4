//! Contexts that are kept for the next card.
//!
//! The daemon starts a thread for each connection, which takes longer than connecting a card.

use std::mem;
use std::sync::{Arc, Weak};

use super::OwnedContext;
use crate::service::{Address, Limit};
use crate::sync::{Mutex, lock};

/// Where cards are connected.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    pub(crate) address: Address,
    spare: Weak<Spare>,
}

impl Home {
    /// The library gains nothing by a spare context.
    pub(crate) fn new(address: &Address, spare: Option<&Arc<Spare>>) -> Home {
        let spare = spare.filter(|_| address.way.ends_calls());
        Home {
            address: address.clone(),
            spare: spare.map(Arc::downgrade).unwrap_or_default(),
        }
    }

    /// Takes the spare context, unless it has ended or is that of a parent process.
    pub(super) fn take_spare(&self, limit: Limit) -> Option<OwnedContext> {
        let mut context = self.spare.upgrade()?.take()?;
        if !context.handle().is_vacant() {
            context.hang_up();
            return None;
        }
        context.handle().set_limit(limit);
        Some(context)
    }

    pub(super) fn has_room(&self) -> bool {
        let spare = self.spare.upgrade();
        spare.is_some_and(|spare| lock(&spare.0).is_none())
    }

    /// Keeps a context in which nothing is connected any more, instead of another one. Otherwise it
    /// ends.
    pub(super) fn leave(&self, mut context: OwnedContext) {
        let Some(spare) = self.spare.upgrade() else {
            return;
        };
        context.handle().set_limit(Limit::default());
        let unwanted = match context.handle().is_vacant() {
            true => lock(&spare.0).replace(context),
            false => Some(context),
        };
        if let Some(mut unwanted) = unwanted {
            unwanted.hang_up();
        }
    }
}

/// The context of a card that was disconnected, if it can be that of the next one. Shared by a
/// [`Context`](crate::Context) and its cards, and ends with the former.
#[derive(Debug, Default)]
pub(crate) struct Spare(Mutex<Option<OwnedContext>>);

impl Spare {
    /// Returns the context, unless it is that of a parent process.
    fn take(&self) -> Option<OwnedContext> {
        let context = lock(&self.0).take()?;
        if context.is_forked() {
            // The child may have closed the descriptor, and the number may be another one's.
            mem::forget(context);
            return None;
        }
        Some(context)
    }
}

/// Does not wait for the service.
impl Drop for Spare {
    fn drop(&mut self) {
        if let Some(mut context) = self.take() {
            context.hang_up();
        }
    }
}
