//! The backend of a reader: a slot of one of the drivers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::card_handle::CardHandle;
use crate::error::TestkitError;
use crate::ifd::IfdSlot;
use crate::slot::Slot;

#[derive(Clone, Debug)]
pub(crate) enum Backend {
    Vpcd(Arc<Slot>),
    Kit(Arc<IfdSlot>),
}

/// Passes a call on to the slot, which has a function of the same name.
macro_rules! pass_on {
    ($($(#[$doc:meta])* fn $name:ident(&self $(, $arg:ident: $type:ty)*) $(-> $result:ty)?;)*) => {
        $($(#[$doc])*
        pub(crate) fn $name(&self $(, $arg: $type)*) $(-> $result)? {
            match self {
                Self::Vpcd(slot) => slot.$name($($arg),*),
                Self::Kit(slot) => slot.$name($($arg),*),
            }
        })*
    };
}

impl Backend {
    pass_on! {
        fn name(&self) -> &str;
        fn card(&self) -> Option<CardHandle>;
        fn has_daemon(&self) -> bool;
        /// A new daemon is about to run: it knows of no card.
        fn daemon_starts(&self);
        /// The daemon has ended, or the sandbox ends.
        fn daemon_ended(&self);
        fn insert(&self, card: &CardHandle) -> Result<(), TestkitError>;
        fn remove(&self);
        fn wait_until_published(
            &self,
            timeout: Duration,
            deadline: Instant
        ) -> Result<(), TestkitError>;
    }

    pub(crate) fn kit(&self) -> Option<&Arc<IfdSlot>> {
        match self {
            Self::Kit(slot) => Some(slot),
            Self::Vpcd(_) => None,
        }
    }

    pub(crate) fn vpcd(&self) -> Option<&Arc<Slot>> {
        match self {
            Self::Vpcd(slot) => Some(slot),
            Self::Kit(_) => None,
        }
    }
}
