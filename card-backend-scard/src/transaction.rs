//! A transaction, of a card or of a session.

use std::sync::{Mutex, PoisonError};

use card_backend::{CardCaps, CardTransaction, PinType, SmartcardError};
use scard::Transmit;
use scard::features::Feature;

use crate::error::of_call;
use crate::reader::Reader;

/// What callers hold. They demand `Sync`, which the card need not be: nothing of it can be reached
/// without `&mut`.
pub(crate) struct OpenTransaction<T> {
    card: Mutex<T>,
    reader: Reader,
    was_reset: bool,
}

impl<T: Transmit> OpenTransaction<T> {
    pub(crate) fn new(card: T, reader: Reader, was_reset: bool) -> OpenTransaction<T> {
        OpenTransaction {
            card: Mutex::new(card),
            reader,
            was_reset,
        }
    }

    fn card(&mut self) -> &mut T {
        self.card.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Transmit + Send> CardTransaction for OpenTransaction<T> {
    /// The answer has whatever length it has: `buf_size` is not needed.
    fn transmit(&mut self, cmd: &[u8], _buf_size: usize) -> Result<Vec<u8>, SmartcardError> {
        self.card().transmit(cmd).map_err(|e| of_call(&e))
    }

    fn feature_pinpad_verify(&self) -> bool {
        self.reader.has(Feature::VERIFY_PIN_DIRECT)
    }

    fn feature_pinpad_modify(&self) -> bool {
        self.reader.has(Feature::MODIFY_PIN_DIRECT)
    }

    fn pinpad_verify(
        &mut self,
        pin: PinType,
        card_caps: &Option<CardCaps>,
    ) -> Result<Vec<u8>, SmartcardError> {
        let reader = self.reader.clone();
        reader.verify(self.card(), pin, card_caps)
    }

    fn pinpad_modify(
        &mut self,
        pin: PinType,
        card_caps: &Option<CardCaps>,
    ) -> Result<Vec<u8>, SmartcardError> {
        let reader = self.reader.clone();
        reader.modify(self.card(), pin, card_caps)
    }

    fn was_reset(&self) -> bool {
        self.was_reset
    }
}
