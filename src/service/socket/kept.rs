//! Connections that are kept for the next card.
//!
//! The daemon starts a thread for each connection, which takes longer than connecting a card. So
//! while a process has another context in a daemon, it keeps the connection of a card that was
//! disconnected, one for each [`Place`]. The daemon's context in it becomes that of the next card.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::stream::Stream;
use crate::service::daemon::effective_ids;
use crate::service::{Inside, Process};

static DAEMONS: Mutex<Vec<Daemon>> = Mutex::new(Vec::new());

fn with_daemons<T>(look: impl FnOnce(&mut Vec<Daemon>) -> T) -> T {
    // So that no other thread holds the lock when the process forks.
    let _inside = Inside::enter();
    look(&mut DAEMONS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Where a new connection would lead, and whose it would be.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    path: Arc<Path>,
    /// Another socket may have taken the path, or a relative path may lead to another one. `None` if
    /// there is no socket.
    file: Option<(u64, u64, i64, i64)>,
    /// The daemon judges by the user who connected.
    ids: (u32, u32),
    scope: u32,
    /// A forked child has its own connections.
    process: Process,
}

impl Place {
    fn now(path: &Arc<Path>, scope: u32) -> Place {
        let number = |it: fs::Metadata| (it.dev(), it.ino(), it.ctime(), it.ctime_nsec());
        Place {
            path: Arc::clone(path),
            file: fs::metadata(path).ok().map(number),
            ids: effective_ids(),
            scope,
            process: Process::current(),
        }
    }
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
    pub(super) fn new(path: &Arc<Path>, scope: u32) -> User {
        let place = Place::now(path, scope);
        with_daemons(|daemons| {
            // A child closes its copies of the descriptors.
            daemons.retain(|it| !it.place.process.is_forked());
            match daemons.iter_mut().find(|it| it.place == place) {
                Some(daemon) => daemon.users += 1,
                None => daemons.push(Daemon {
                    place: place.clone(),
                    users: 1,
                    kept: None,
                }),
            }
        });
        User(place)
    }

    /// Returns the connection that was kept, if it still exists.
    pub(super) fn take_kept(&self) -> Option<Kept> {
        let kept = self.with_daemon(|it| it.kept.take()).flatten()?;
        if !kept.stream.is_quiet() {
            kept.stream.shut_down();
            return None;
        }
        Some(kept)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_of_a_user_and_a_file() {
        let dir = std::env::temp_dir().join(format!("scard-place-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        let path: Arc<Path> = dir.join("socket").into();
        let nowhere = Place::now(&path, 0);
        fs::write(&path, []).unwrap();
        let first = Place::now(&path, 0);
        assert_eq!(first, Place::now(&path, 0));
        assert_ne!(first, nowhere);
        assert_ne!(first, Place::now(&path, 2));
        let (user, group) = first.ids;
        let ids = (user + 1, group);
        assert_ne!(
            first,
            Place {
                ids,
                ..first.clone()
            }
        );
        // Another file, while the first one still exists.
        fs::rename(&path, dir.join("before")).unwrap();
        fs::write(&path, []).unwrap();
        assert_ne!(first, Place::now(&path, 0));
        fs::remove_dir_all(&dir).unwrap();
    }
}
