//! The handshake: agrees on a version of the protocol.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use super::client::Client;
use super::wire::{Answer, Command, Requests, words};
use crate::codes::ReturnCode;
use crate::service::{Failure, Ours, ProtocolVersion};

const MAJOR: u32 = ProtocolVersion::NEWEST.major;
const OLDEST: u32 = ProtocolVersion::OLDEST.minor;
const NEWEST: u32 = ProtocolVersion::NEWEST.minor;

/// The versions that daemons agreed to last, each in the place of its path. They are requested first,
/// because an older daemon refuses the newest one, and writes that to its log, for every card that is
/// connected. For daemons that share a place, this can be the other's.
static AGREED: [AtomicU32; 32] = [const { AtomicU32::new(NEWEST) }; 32];

fn agreed_at(path: &Path) -> &'static AtomicU32 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    let [first, others @ ..] = &AGREED;
    let place = hasher.finish() % (others.len() as u64 + 1);
    let place = usize::try_from(place).unwrap_or_default();
    others.get(place).unwrap_or(first)
}

impl Client {
    /// Agrees on a version. The same write requests the context: a daemon that refuses the version
    /// establishes it anyway, and that answer is valid.
    ///
    /// A daemon that accepts an older version reports its own version, but uses the older one.
    pub(super) async fn handshake(&mut self, scope: u32) -> Result<(), Failure> {
        let agreed = agreed_at(&self.path);
        let requested = agreed.load(Ordering::Relaxed);
        let hello = Requests::<48>::NONE.with(Command::Version, &[MAJOR, requested, 0]);
        let request = hello.with(Command::Establish, &[scope, 0, 0]);
        let answer = self
            .gather(request.as_bytes(), &[], Answer::Words(6))
            .await?;
        let [major, minor, refused, _, context, code] = words(&answer);
        let newest = minor.min(NEWEST);
        self.minor = match (major, minor, refused) {
            // It may have replaced the other one.
            (MAJOR, _, 0) if newest > requested => self.accept(newest).await?,
            (_, _, 0) => requested,
            (MAJOR, OLDEST..=NEWEST, _) => self.accept(minor).await?,
            _ => return Err(self.refuse(ProtocolVersion { major, minor })),
        };
        agreed.store(self.minor, Ordering::Relaxed);
        if code != 0 {
            return Err(ReturnCode::from_raw(code).into());
        }
        self.context = context;
        Ok(())
    }

    /// Requests this version, which is the daemon's own.
    async fn accept(&mut self, minor: u32) -> Result<u32, Failure> {
        let request = Requests::<20>::NONE.with(Command::Version, &[MAJOR, minor, 0]);
        let answer = self
            .gather(request.as_bytes(), &[], Answer::Words(3))
            .await?;
        match words(&answer) {
            [_, _, 0] => Ok(minor),
            [major, minor, _] => Err(self.refuse(ProtocolVersion { major, minor })),
        }
    }

    /// The handshake of a second connection of the same client.
    pub(super) async fn handshake_like(&mut self, first: &Client) -> Result<(), Failure> {
        self.minor = self.accept(first.minor).await?;
        Ok(())
    }

    fn refuse(&mut self, theirs: ProtocolVersion) -> Failure {
        tracing::debug!(?theirs, "the daemon speaks another protocol");
        Failure {
            ours: Some(Ours::OtherProtocol(theirs)),
            ..ReturnCode::E_SERVICE_STOPPED.into()
        }
    }
}
