//! A connected card.

use std::sync::{Mutex, PoisonError};

use card_backend::{CardBackend, CardCaps, CardTransaction, SmartcardError};
use scard::apdu::{Continuation, ExchangeError};
use scard::{
    Card, Command, ConnectOptions, Context, Protocols, SetUpWhen, ShareMode, StatusWord,
    Transaction, Transmit,
};

use crate::error::{not_selected, of_call, of_connect, of_exchange};
use crate::reader::Reader;
use crate::transaction::OpenTransaction;

/// A connected [`Card`], which callers of [`card_backend`] use in transactions.
///
/// ```no_run
/// use card_backend::CardBackend;
/// use card_backend_scard::ScardBackend;
///
/// # fn demo(card: scard::Card) -> Result<(), card_backend::SmartcardError> {
/// let mut backend = ScardBackend::new(card);
/// let mut transaction = backend.transaction(Some(b"\xD2\x76\x00\x01\x24\x01"))?;
/// let serial_number = transaction.transmit(b"\x00\xCA\x00\x4F\x00", 256)?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct ScardBackend {
    card: Mutex<Card>,
    reader: Reader,
    select_when: SetUpWhen,
}

impl ScardBackend {
    /// Wraps a card. Queries the reader's features, and sends nothing to the card.
    pub fn new(mut card: Card) -> ScardBackend {
        ScardBackend {
            reader: Reader::of(&mut card),
            card: Mutex::new(card),
            select_when: SetUpWhen::default(),
        }
    }

    /// Connects to each card that is currently in a reader. For a card that cannot be connected,
    /// the iterator returns an error.
    ///
    /// # Errors
    ///
    /// [`SmartcardError::ReaderError`] if readers cannot be listed.
    pub fn cards(
        context: &Context,
        options: ConnectOptions,
    ) -> Result<impl Iterator<Item = Result<ScardBackend, SmartcardError>> + use<>, SmartcardError>
    {
        let states = context
            .reader_states()
            .map_err(|e| SmartcardError::ReaderError(format!("{e:#}")))?;
        let context = context.clone();
        let present = states.into_iter().filter(|state| state.has_card());
        Ok(present.map(move |state| {
            let card = context.connect(state.reader_name(), options.clone());
            card.map(ScardBackend::new).map_err(|e| of_connect(&e))
        }))
    }

    /// Sets when a transaction begins by selecting the application: [which application is
    /// selected](crate#which-application-is-selected).
    #[must_use]
    pub fn select_when(mut self, when: SetUpWhen) -> ScardBackend {
        self.select_when = when;
        self
    }

    /// Returns the card.
    pub fn into_card(self) -> Card {
        self.card
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<ScardBackend> for Box<dyn CardBackend + Send + Sync> {
    fn from(backend: ScardBackend) -> Self {
        Box::new(backend)
    }
}

impl CardBackend for ScardBackend {
    fn limit_card_caps(&self, card_caps: CardCaps) -> CardCaps {
        let card = self.card.lock().unwrap_or_else(PoisonError::into_inner);
        self.reader.limit(card_caps, card.protocol())
    }

    fn transaction(
        &mut self,
        reselect_application: Option<&[u8]>,
    ) -> Result<Box<dyn CardTransaction + Send + Sync + '_>, SmartcardError> {
        let card = self.card.get_mut().unwrap_or_else(PoisonError::into_inner);
        // The protocol negotiated before, so that the sizes known to the caller remain valid after
        // a reset.
        let protocols = card.protocol().map_or(Protocols::ANY, Protocols::from);
        let mut transaction = card
            .transaction_acknowledging_reset(protocols)
            .map_err(|e| of_call(&e))?;
        let was_reset = transaction.was_reset();
        let select = match self.select_when {
            SetUpWhen::OnReset => was_reset,
            SetUpWhen::OnLoss => was_reset || transaction.share_mode() == ShareMode::Shared,
            _ => true,
        };
        if let (true, Some(application)) = (select, reselect_application) {
            select_application(&mut transaction, application)?;
        }
        Ok(Box::new(OpenTransaction::new(
            transaction,
            self.reader.clone(),
            was_reset,
        )))
    }
}

fn select_application(
    transaction: &mut Transaction<'_>,
    application: &[u8],
) -> Result<(), SmartcardError> {
    let status = select(transaction, application).map_err(|e| of_exchange(&e))?;
    match status.is_success() {
        true => Ok(()),
        false => Err(SmartcardError::Error(not_selected(application, status))),
    }
}

/// Sends SELECT by name, in the form that the protocol needs. Returns the status word; does not
/// fetch the answer's data.
pub(crate) fn select(
    card: &mut impl Transmit,
    application: &[u8],
) -> Result<StatusWord, ExchangeError> {
    let options = card.exchange_options().continuation(Continuation::Never);
    let select = Command::select(application)?;
    Ok(card.exchange_with(&select, &options)?.status())
}
