//! What a monitor tells.

use std::fmt;

use crate::error::Error;
use crate::values::{Atr, ReaderName};

/// Something that has changed at the readers.
///
/// For each reader the events make sense in their order: it is attached before there is
/// anything in it, a card is removed before the reader is detached, and whoever applies them
/// one after the other to what was known before knows what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// There is this reader, empty as long as nothing else is told.
    ReaderAttached {
        /// Its name.
        reader: ReaderName,
    },
    /// The reader is gone. If there was a card in it, that was told to be removed.
    ReaderDetached {
        /// Its name.
        reader: ReaderName,
    },
    /// The service cannot read the state of this reader. If there was a card in it, that was
    /// told to be removed.
    ReaderUnavailable {
        /// Its name.
        reader: ReaderName,
    },
    /// The service can read the state of this reader again. It is empty as long as nothing
    /// else is told.
    ReaderAvailable {
        /// Its name.
        reader: ReaderName,
    },
    /// There is a card now, and it answers. If a [mute](Event::CardMute) one was there, that
    /// is the one.
    CardInserted {
        /// Where it is.
        reader: ReaderName,
        /// Its answer to reset.
        atr: Atr,
    },
    /// There is something that does not answer as a card: it is put in the wrong way round, is
    /// defective, or answered no longer to its last reset.
    CardMute {
        /// Where it is.
        reader: ReaderName,
    },
    /// The card was removed, and there is one again, maybe the same: seen at the event
    /// counter of the service or, where there is none (macOS), at another ATR.
    CardExchanged {
        /// Where it is.
        reader: ReaderName,
        /// The answer to reset of the card that is there now.
        atr: Atr,
    },
    /// A card came and went before anything more could be known of it: seen at the event
    /// counter of the service.
    CardMissed {
        /// Where it was.
        reader: ReaderName,
    },
    /// The card was not removed and has another answer to reset: some answer differently to
    /// the first reset and to later ones.
    AtrChanged {
        /// Where it is.
        reader: ReaderName,
        /// The new one.
        atr: Atr,
    },
    /// There is no card any more.
    CardRemoved {
        /// Where it was.
        reader: ReaderName,
    },
    /// Programs have begun or stopped to use the reader; told only if
    /// [`MonitorOptions::use_changes`](crate::MonitorOptions::use_changes) asks for it.
    UseChanged {
        /// Its name.
        reader: ReaderName,
        /// How it is used now.
        usage: Usage,
    },
    /// The service ended, or refuses to answer, or this process cannot read its answers
    /// ([`ErrorKind::StaleProcess`](crate::ErrorKind::StaleProcess)). All readers are reported
    /// detached next. Connections that are open work on in a stale process: finish what is under
    /// way, and restart the program.
    ///
    /// A service that hangs is not noticed. [`Context::readers`](crate::Context::readers) within a
    /// time-out finds out.
    ServiceLost {
        /// What it answered last.
        error: Error,
    },
    /// The service is there again. Its readers are told next.
    ServiceRestored,
}

/// How programs use a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Usage {
    /// No program is connected.
    #[default]
    Unused,
    /// Programs are connected to the card.
    Shared,
    /// One program has it for itself.
    Exclusive,
}

impl Event {
    /// The reader that it is about; none for what concerns the service.
    pub fn reader(&self) -> Option<&ReaderName> {
        match self {
            Event::ReaderAttached { reader }
            | Event::ReaderDetached { reader }
            | Event::ReaderUnavailable { reader }
            | Event::ReaderAvailable { reader }
            | Event::CardInserted { reader, .. }
            | Event::CardMute { reader }
            | Event::CardExchanged { reader, .. }
            | Event::CardMissed { reader }
            | Event::AtrChanged { reader, .. }
            | Event::CardRemoved { reader }
            | Event::UseChanged { reader, .. } => Some(reader),
            Event::ServiceLost { .. } | Event::ServiceRestored => None,
        }
    }

    /// The answer to reset of the card that is in the reader now.
    pub fn atr(&self) -> Option<Atr> {
        match self {
            Event::CardInserted { atr, .. }
            | Event::CardExchanged { atr, .. }
            | Event::AtrChanged { atr, .. } => Some(*atr),
            _ => None,
        }
    }
}

/// What has happened, without the reader: `card inserted (3B 80 80 01 01)`.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Event::ReaderAttached { .. } => "reader attached",
            Event::ReaderDetached { .. } => "reader detached",
            Event::ReaderUnavailable { .. } => "reader unavailable",
            Event::ReaderAvailable { .. } => "reader available again",
            Event::CardInserted { .. } => "card inserted",
            Event::CardMute { .. } => "card does not answer",
            Event::CardExchanged { .. } => "card exchanged",
            Event::CardMissed { .. } => "card came and went",
            Event::AtrChanged { .. } => "card has another ATR",
            Event::CardRemoved { .. } => "card removed",
            Event::UseChanged { usage, .. } => match usage {
                Usage::Unused => "not in use",
                Usage::Shared => "in use",
                Usage::Exclusive => "in exclusive use",
            },
            Event::ServiceLost { error } => return write!(f, "service lost: {error}"),
            Event::ServiceRestored => "service restored",
        };
        match self.atr() {
            Some(atr) => write!(f, "{what} ({atr})"),
            None => f.pad(what),
        }
    }
}
