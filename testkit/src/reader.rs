//! Readers: inserting and removing cards, and waiting until the daemon has noticed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backend::Backend;
use crate::card_handle::CardHandle;
use crate::error::TestkitError;
use crate::ifd::IfdSlot;
use crate::status::DaemonStatus;

/// A reader of a [`Sandbox`](crate::Sandbox).
///
/// With [`Driver::Vpcd`](crate::Driver::Vpcd) the daemon looks at its virtual
/// readers every 400 ms; with [`Driver::Kit`](crate::Driver::Kit) it looks as
/// soon as something changes. [`insert`] and [`remove`] wait until it has
/// published the change to its clients, so that a test can continue at once;
/// [`insert_now`] and [`remove_now`] do not wait.
///
/// The next card after a removal is held back until the daemon has seen the
/// empty reader, so that it sees both changes. It misses changes undone before
/// it looks: a card that is inserted and removed at once, or a removal after
/// which the sandbox is killed.
///
/// [`insert`]: Self::insert
/// [`insert_now`]: Self::insert_now
/// [`remove`]: Self::remove
/// [`remove_now`]: Self::remove_now
#[derive(Debug)]
pub struct VirtualReader {
    backend: Backend,
    timeout: Duration,
    status: Arc<DaemonStatus>,
}

impl VirtualReader {
    pub(crate) fn new(backend: Backend, timeout: Duration, status: Arc<DaemonStatus>) -> Self {
        Self {
            backend,
            timeout,
            status,
        }
    }

    pub(crate) fn backend(&self) -> &Backend {
        &self.backend
    }

    /// The slot of the kit's driver.
    pub(crate) fn kit(&self) -> Result<&Arc<IfdSlot>, TestkitError> {
        self.backend.kit().ok_or(TestkitError::NeedsKitDriver {
            what: "simulating faults or answers of a reader",
        })
    }

    /// The reader's name in PC/SC.
    pub fn name(&self) -> &str {
        self.backend.name()
    }

    /// The card in the reader.
    pub fn card(&self) -> Option<CardHandle> {
        self.backend.card()
    }

    /// The address for a card that is an external program written for `vpcd`,
    /// instead of one of the kit's cards. Leave the reader empty, start the
    /// program, and call [`wait_for_card`](Self::wait_for_card).
    ///
    /// ```no_run
    /// use scard_testkit::{Driver, Sandbox};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let sandbox = Sandbox::builder().driver(Driver::Vpcd).start()?;
    /// let reader = sandbox.reader(0);
    /// // With the crate `vpicc`: VPicc over this stream. Or pass the address to a program.
    /// let card = std::net::TcpStream::connect(reader.address()?)?;
    /// reader.wait_for_card()?;
    /// # drop(card);
    /// # Ok(()) }
    /// ```
    ///
    /// [`ReaderModel::port`](crate::ReaderModel::port) chooses the port.
    ///
    /// # Errors
    /// [`NeedsVpcd`](TestkitError::NeedsVpcd).
    pub fn address(&self) -> Result<SocketAddr, TestkitError> {
        match self.backend.vpcd() {
            Some(slot) => Ok(slot.address()),
            None => Err(TestkitError::NeedsVpcd {
                what: "a card that connects over TCP",
            }),
        }
    }

    /// Waits until clients of the daemon see a card in the reader, no matter where
    /// it comes from: for cards that connect to [`address`](Self::address).
    ///
    /// # Errors
    /// [`Timeout`](TestkitError::Timeout).
    pub fn wait_for_card(&self) -> Result<(), TestkitError> {
        let deadline = Instant::now() + self.timeout;
        let has_card = || {
            let readers = self.status.readers().unwrap_or_default();
            readers.iter().any(|r| r.name == self.name() && r.card)
        };
        // The second query waits for the event that follows the change.
        while !has_card() || self.status.confirm(self.name(), true) != Some(true) {
            std::thread::sleep(Duration::from_millis(2));
            if Instant::now() >= deadline {
                return Err(TestkitError::Timeout {
                    what: format!("a card in reader {:?}", self.name()),
                    after: self.timeout,
                    likely: match self.address() {
                        Ok(address) => {
                            format!("no card has connected to {address}, or it does not answer")
                        }
                        Err(_) => "no card was inserted".into(),
                    },
                });
            }
        }
        Ok(())
    }

    /// Inserts a card, either new or removed from a reader, and waits until
    /// clients of the daemon can see it.
    ///
    /// # Errors
    /// [`ReaderOccupied`](TestkitError::ReaderOccupied),
    /// [`CardInUse`](TestkitError::CardInUse),
    /// [`DaemonNotRunning`](TestkitError::DaemonNotRunning), or
    /// [`Timeout`](TestkitError::Timeout), for example if the daemon is paused.
    /// The card then stays inserted, as after [`insert_now`](Self::insert_now).
    pub fn insert(&self, card: impl Into<CardHandle>) -> Result<CardHandle, TestkitError> {
        if !self.backend.has_daemon() {
            return Err(TestkitError::DaemonNotRunning);
        }
        let card = self.insert_now(card)?;
        self.wait_until_published()?;
        Ok(card)
    }

    /// Inserts a card and returns at once. The daemon sees it at its next look;
    /// [`wait_until_published`](Self::wait_until_published) waits for that.
    ///
    /// # Errors
    /// [`ReaderOccupied`](TestkitError::ReaderOccupied),
    /// [`CardInUse`](TestkitError::CardInUse).
    pub fn insert_now(&self, card: impl Into<CardHandle>) -> Result<CardHandle, TestkitError> {
        let card = card.into();
        self.backend.insert(&card)?;
        Ok(card)
    }

    /// Removes the card, and waits until clients of the daemon can see that the
    /// reader is empty. Also waits if the card has left by itself
    /// ([`Reply::Drop`](crate::Reply::Drop)) or there was none.
    ///
    /// # Errors
    /// [`Timeout`](TestkitError::Timeout), for example if the daemon is paused.
    pub fn remove(&self) -> Result<(), TestkitError> {
        self.remove_now();
        self.wait_until_published()
    }

    /// Removes the card and returns at once. A pending command fails
    /// immediately; the daemon sees the empty reader at its next look.
    pub fn remove_now(&self) {
        self.backend.remove();
    }

    /// Removes the card, if there is one, inserts another, and waits until
    /// clients of the daemon can see that. They can see both changes: the
    /// daemon counts an event for each.
    ///
    /// # Errors
    /// The same as for [`insert`](Self::insert).
    pub fn swap(&self, card: impl Into<CardHandle>) -> Result<CardHandle, TestkitError> {
        self.remove_now();
        self.insert(card)
    }

    /// Waits until clients of the daemon see the current state of the reader,
    /// with its card or empty. To insert several cards and wait once, call
    /// [`insert_now`](Self::insert_now) for all readers, then this for all.
    ///
    /// # Errors
    /// [`Timeout`](TestkitError::Timeout);
    /// [`DaemonNotRunning`](TestkitError::DaemonNotRunning) if there is a card
    /// and no daemon.
    pub fn wait_until_published(&self) -> Result<(), TestkitError> {
        self.backend
            .wait_until_published(self.timeout, Instant::now() + self.timeout)
    }
}
