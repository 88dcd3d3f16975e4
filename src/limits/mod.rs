//! Calls that can be given up: they run on their own thread, and the caller waits for them as long
//! as it wants.
//!
//! A waiting PC/SC call cannot be interrupted from outside: in pcsc-lite, releasing its context or
//! disconnecting its handle from another thread frees memory that the call still uses. So the call
//! owns what it works on. When the caller gives up, the call continues, and drops what it worked on
//! when it returns: that ends a transaction begun too late, and disconnects a card connected too
//! late.
//!
//! Over the socket of pcsc-lite's daemon a wait can be interrupted, so a call ends [`Here`], on its
//! caller's thread; only cleaning up after it takes a thread. There the calls of futures are
//! [tasks], which share one thread.

mod abort;
#[cfg(feature = "async")]
mod clock;
#[cfg(feature = "async")]
mod future;
mod here;
mod meeting;
pub(crate) mod pause;
mod pending;
mod permit;
#[cfg(feature = "async")]
mod tasks;
mod worker;

pub use abort::AbortHandle;
pub(crate) use abort::{Registration, Wake};
#[cfg(feature = "async")]
pub(crate) use clock::Alarm;
#[cfg(feature = "async")]
pub(crate) use future::UnderWay;
pub(crate) use here::Here;
pub(crate) use pending::{Counted, Pending};
pub(crate) use permit::Permit;
#[cfg(feature = "async")]
pub(crate) use tasks::{Answer, begin_task, can_have_tasks, hand_over_task, spawn_task};
pub(crate) use worker::{Worker, do_elsewhere};

/// Why a call was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GivenUp {
    /// The deadline passed.
    Deadline,
    /// An [`AbortHandle`] was used.
    Aborted,
    /// The thread could not be started, or panicked.
    NoThread,
}

/// A call that was given up: whether it had begun, and whether it had been
/// [permitted](Permit::grant).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Abandoned {
    pub(crate) why: GivenUp,
    pub(crate) begun: bool,
    pub(crate) permitted: bool,
}

impl Abandoned {
    pub(crate) const fn before_it_began(why: GivenUp) -> Abandoned {
        Abandoned {
            why,
            begun: false,
            permitted: false,
        }
    }
}
