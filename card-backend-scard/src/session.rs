//! A session.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use card_backend::{CardBackend, CardCaps, CardTransaction, SmartcardError};
use scard::{BoxError, NotThisCard, Protocol, ReaderName, Session, SessionBuilder, Transmit as _};

use crate::card::select;
use crate::error::{not_selected, of_session};
use crate::reader::Reader;
use crate::transaction::OpenTransaction;

/// A [`Session`] with an application of a card, which callers of [`card_backend`] use in
/// transactions. Each one begins by preparing the card as necessary: it waits for it, connects
/// again, and acknowledges resets.
///
/// ```no_run
/// use card_backend_scard::SessionBackend;
/// use scard::Session;
///
/// # fn demo(context: &scard::Context) {
/// let openpgp = b"\xD2\x76\x00\x01\x24\x01";
/// let backend = SessionBackend::new(Session::builder(context), openpgp);
/// // With openpgp-card: openpgp_card::Card::new(backend)?
/// # drop(backend);
/// # }
/// ```
///
/// The caller may cache data of the card for as long as it has the backend. So give the session an
/// [identity](SessionBuilder::identity) if cards could be exchanged.
#[derive(Debug)]
pub struct SessionBackend {
    session: Mutex<Session>,
    application: Vec<u8>,
    seen: Arc<Mutex<Seen>>,
}

/// What the set-up has found out.
#[derive(Debug, Default)]
struct Seen {
    reader_name: Option<ReaderName>,
    reader: Reader,
    protocol: Option<Protocol>,
    /// The number of set-ups, after a reset or a connect.
    resets: u64,
}

impl SessionBackend {
    /// Builds a session that selects `application` and ignores cards without it. This replaces the
    /// builder's [set-up](SessionBuilder::setup); [`setup_when`](SessionBuilder::setup_when) and
    /// all other settings apply.
    ///
    /// Makes no call: the first transaction connects.
    pub fn new(builder: SessionBuilder, application: &[u8]) -> SessionBackend {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (notes, name) = (Arc::clone(&seen), application.to_vec());
        let builder = builder.setup(move |card| -> Result<(), BoxError> {
            let status = select(card, &name)?;
            if !status.is_success() {
                return Err(NotThisCard::new(not_selected(&name, status)).into());
            }
            if lock(&notes).reader_name.as_ref() != Some(card.reader_name()) {
                let (reader, reader_name) = (Reader::of(card), card.reader_name().clone());
                let mut notes = lock(&notes);
                notes.reader = reader;
                notes.reader_name = Some(reader_name);
            }
            // The next card in the same reader may use another protocol.
            let protocol = card.protocol();
            let mut notes = lock(&notes);
            notes.protocol = protocol;
            notes.resets += 1;
            Ok(())
        });
        SessionBackend {
            session: Mutex::new(builder.build()),
            application: application.to_vec(),
            seen,
        }
    }

    /// The session.
    pub fn session(&mut self) -> &mut Session {
        self.session
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<SessionBackend> for Box<dyn CardBackend + Send + Sync> {
    fn from(backend: SessionBackend) -> Self {
        Box::new(backend)
    }
}

impl CardBackend for SessionBackend {
    fn limit_card_caps(&self, card_caps: CardCaps) -> CardCaps {
        let seen = lock(&self.seen);
        seen.reader.limit(card_caps, seen.protocol)
    }

    /// Fails if the application differs from that of the session.
    fn transaction(
        &mut self,
        reselect_application: Option<&[u8]>,
    ) -> Result<Box<dyn CardTransaction + Send + Sync + '_>, SmartcardError> {
        if reselect_application.is_some_and(|application| application != self.application) {
            return Err(SmartcardError::Error(
                "the session is for another application of the card".into(),
            ));
        }
        let before = lock(&self.seen).resets;
        let session = self
            .session
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        let guard = session.begin().map_err(|e| of_session(&e))?;
        let (reader, now) = {
            let seen = lock(&self.seen);
            (seen.reader.clone(), seen.resets)
        };
        // Nothing was lost by the first set-up.
        let was_reset = before > 0 && now > before;
        Ok(Box::new(OpenTransaction::new(guard, reader, was_reset)))
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
