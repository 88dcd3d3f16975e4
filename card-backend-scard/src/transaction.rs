//! A transaction, of a card or of a session.

use std::sync::{Mutex, PoisonError};

use card_backend::{CardCaps, CardTransaction, PinType, SmartcardError};
use scard::Transmit;
use scard::features::Feature;

use crate::error::of_call;
use crate::reader::Reader;

/// The transaction held by callers. They require `Sync`, but the card need not be: it can only be
/// accessed through `&mut`, so the mutex is never locked.
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
    /// The answer can have any length, so `buf_size` is not needed.
    ///
    /// Sent as secret, because callers cannot mark secrets such as keys to be imported or
    /// deciphered.
    fn transmit(&mut self, cmd: &[u8], _buf_size: usize) -> Result<Vec<u8>, SmartcardError> {
        self.card().transmit_secret(cmd).map_err(|e| of_call(&e))
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

#[cfg(test)]
mod tests {
    use scard::apdu::CommandBytes;
    use scard::{Atr, Control, ControlCode, Error, Operation, Protocol, ReaderName, ReturnCode};

    use super::*;

    /// Accepts only commands that are marked as secret.
    struct Discreet(ReaderName);

    impl Control for Discreet {
        fn reader_name(&self) -> &ReaderName {
            &self.0
        }

        fn control(&mut self, _: ControlCode, _: &[u8]) -> scard::Result<Vec<u8>> {
            let code = ReturnCode::E_UNSUPPORTED_FEATURE;
            Err(Error::from_code(Operation::Control, code, &self.0))
        }
    }

    impl Transmit for Discreet {
        fn protocol(&self) -> Option<Protocol> {
            Some(Protocol::T1)
        }

        fn atr(&mut self) -> scard::Result<Atr> {
            Ok(Atr::new(&[0x3B, 0x80]).expect("not too long"))
        }

        fn send(&mut self, command: CommandBytes<'_>) -> scard::Result<&[u8]> {
            assert!(command.is_secret(), "{command:?}");
            Ok(&[0x90, 0x00])
        }
    }

    #[test]
    fn all_commands_of_callers_are_secret() {
        let card = Discreet(ReaderName::new("Discreet").unwrap());
        let mut transaction = OpenTransaction::new(card, Reader::default(), false);
        for command in [
            // Imports a key, also in parts; deciphers.
            &b"\x00\xDB\x3F\xFF\x02\x4D\x00"[..],
            b"\x10\xDB\x3F\xFF\x02\x4D\x00",
            b"\x00\x2A\x80\x86\x01\x00\x00",
            b"\x00\xC0\x00\x00\x10",
            b"\x00\xCA\x00\x4F\x00",
        ] {
            assert_eq!(transaction.transmit(command, 256).unwrap(), [0x90, 0x00]);
        }
    }
}
