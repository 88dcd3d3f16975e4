//! Connections that are kept for the next context.
//!
//! The daemon starts a thread for each connection, which takes longer than connecting a card. So
//! while a process has a context in a daemon, it keeps the connection of one that ended, for each
//! daemon. The connection has no cards, and the daemon's context in it is what the next one gets.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::stream::Stream;
use crate::service::{Inside, Process};

static DAEMONS: Mutex<Vec<Daemon>> = Mutex::new(Vec::new());

fn with_daemons<T>(look: impl FnOnce(&mut Vec<Daemon>) -> T) -> T {
    // So that no other thread holds the lock when the process forks.
    let _inside = Inside::enter();
    look(&mut DAEMONS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The daemon at a path, for contexts of one scope.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    path: Arc<Path>,
    scope: u32,
    /// A forked child has its own connections.
    process: Process,
}

struct Daemon {
    place: Place,
    /// The number of contexts.
    users: usize,
    kept: Option<Kept>,
}

/// A connection with a context and without cards.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) stream: Stream,
    pub(super) minor: u32,
    pub(super) context: u32,
}

/// A context, from before it is established until it has ended.
#[derive(Debug)]
pub(super) struct User(Place);

impl User {
    /// Returns the new user, and the connection that was kept, if it still exists.
    pub(super) fn new(path: &Arc<Path>, scope: u32) -> (User, Option<Kept>) {
        let place = Place {
            path: Arc::clone(path),
            scope,
            process: Process::current(),
        };
        let kept = with_daemons(|daemons| {
            // A child closes its copies of the descriptors.
            daemons.retain(|it| !it.place.process.is_forked());
            if let Some(daemon) = daemons.iter_mut().find(|it| it.place == place) {
                daemon.users += 1;
                return daemon.kept.take();
            }
            let (place, users, kept) = (place.clone(), 1, None);
            daemons.push(Daemon { place, users, kept });
            None
        });
        let is_alive = |kept: &Kept| {
            let is_quiet = kept.stream.is_quiet();
            if !is_quiet {
                kept.stream.shut_down();
            }
            is_quiet
        };
        (User(place), kept.filter(is_alive))
    }

    /// Whether the connection of this user is to be kept when it ends: there are other users, and
    /// no connection is kept.
    pub(super) fn can_keep(&self) -> bool {
        self.with_daemon(|it| it.has_room()).unwrap_or_default()
    }

    /// Keeps the connection, if that is still wanted. Returns whether it does.
    pub(super) fn keep(&self, connection: Kept) -> bool {
        let keep = |daemon: &mut Daemon| {
            let has_room = daemon.has_room();
            if has_room {
                daemon.kept = Some(connection);
            }
            has_room
        };
        self.with_daemon(keep).unwrap_or_default()
    }

    fn with_daemon<T>(&self, look: impl FnOnce(&mut Daemon) -> T) -> Option<T> {
        with_daemons(|daemons| daemons.iter_mut().find(|it| it.place == self.0).map(look))
    }
}

impl Daemon {
    fn has_room(&self) -> bool {
        self.users > 1 && self.kept.is_none()
    }
}

/// With the last user, the kept connection ends.
impl Drop for User {
    fn drop(&mut self) {
        if self.0.process.is_forked() {
            return;
        }
        let without_users = with_daemons(|daemons| {
            let place = daemons.iter().position(|it| it.place == self.0)?;
            let daemon = daemons.get_mut(place)?;
            daemon.users -= 1;
            (daemon.users == 0).then(|| daemons.swap_remove(place))
        });
        if let Some(kept) = without_users.and_then(|it| it.kept) {
            kept.stream.shut_down();
        }
    }
}
