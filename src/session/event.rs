//! What a session tells of itself.

use crate::error::{Error, Recovery};
use crate::values::{Initialization, Protocol, ReaderName};

/// Something that a [`Session`](crate::Session) did by itself:
/// [`SessionBuilder::on_event`](crate::SessionBuilder::on_event).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionEvent {
    /// A call failed, and the session does something about it.
    Recovering {
        /// What failed.
        error: Error,
        /// What is done.
        recovery: Recovery,
        /// How often something was done in this run, from 1.
        attempt: u32,
    },
    /// No reader that the session may use has a card, and it waits for one: for the card, the
    /// reader or the service.
    WaitingForCard,
    /// The session is connected, for the first time or again.
    Connected {
        /// The reader that the card is in.
        reader: ReaderName,
        /// The protocol that was negotiated.
        protocol: Option<Protocol>,
    },
    /// The connection goes on after another program's reset or with one of its own.
    Reconnected {
        /// What was done to the card: [`Leave`](Initialization::Leave) acknowledges a reset.
        initialization: Initialization,
        /// The protocol that is active now.
        protocol: Protocol,
    },
    /// The identity of the card was asked for and is the right one.
    Identified,
    /// The card was set up.
    SetUp,
}
