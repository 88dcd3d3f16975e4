//! A card as a contactless one.

use std::fmt;

#[cfg(feature = "async")]
use super::AsyncTransmit;
use super::transmit::Transmit;
use crate::apdu::{Command, CommandBytes};
use crate::contactless::command;
use crate::contactless::{ContactlessError, Key, KeyKind, KeyPlace, Request, Status};
use crate::values::Atr;

type Result<T, E = ContactlessError> = std::result::Result<T, E>;

/// A contactless card: [`contactless`](crate::contactless).
///
/// Made by [`contactless`](Transmit::contactless), which everything that takes commands has.
pub struct Contactless<'a, T: ?Sized> {
    card: &'a mut T,
}

impl<'a, T: Transmit + ?Sized> Contactless<'a, T> {
    /// [`Transmit::contactless`], also for a `dyn Transmit`.
    pub fn new(card: &'a mut T) -> Contactless<'a, T> {
        Contactless { card }
    }

    /// The UID of the card. 4, 7 or 10 bytes with ISO 14443 A, 4 with B, 8 with ISO 15693 and
    /// FeliCa.
    ///
    /// It is no proof of anything: cards and phones can have any, and some a new one each time.
    ///
    /// # Errors
    ///
    /// [`StatusMeaning::Unsupported`](crate::contactless::StatusMeaning::Unsupported) with a card
    /// that has none; [`ContactlessError::ContactCard`] with a card with contacts, which gets the
    /// command if its reader does not know it; [`ContactlessError::NoData`] from a reader that
    /// answers with nothing.
    pub fn uid(&mut self) -> Result<Vec<u8>> {
        self.send(Request::GetData, &command::get_uid()?)
    }

    /// The historical bytes of the ATS, which ISO 14443-4 A cards have.
    ///
    /// # Errors
    ///
    /// Those of [`uid`](Contactless::uid).
    pub fn historical_bytes(&mut self) -> Result<Vec<u8>> {
        self.send(Request::GetData, &command::get_historical_bytes()?)
    }

    /// Loads a key into the reader, in a place with a number, for
    /// [`authenticate`](Contactless::authenticate). The card is not asked.
    ///
    /// It stays there for all programs, until it is replaced or, with
    /// [`KeyPlace::Volatile`], the power is lost.
    ///
    /// # Errors
    ///
    /// [`ContactlessError::Length`] if the key is empty or longer than 255 bytes. Status words
    /// say what the reader cannot take.
    pub fn load_key(&mut self, place: KeyPlace, number: u8, key: &Key) -> Result<()> {
        let command = command::load_key(place, number, key)?;
        self.send(Request::LoadKeys, &command).map(drop)
    }

    /// Authenticates to a block with a key that was loaded under this number. With MIFARE
    /// Classic that holds for all blocks of its sector, until another is authenticated to.
    ///
    /// # Errors
    ///
    /// [`StatusMeaning::Failed`](crate::contactless::StatusMeaning::Failed) or
    /// [`StatusMeaning::NotAuthenticated`](crate::contactless::StatusMeaning::NotAuthenticated) with a wrong key,
    /// depending on the reader.
    pub fn authenticate(&mut self, address: u16, kind: KeyKind, number: u8) -> Result<()> {
        let command = command::authenticate(address, kind, number)?;
        self.send(Request::Authenticate, &command).map(drop)
    }

    /// Reads from an address on, which is the number of a block with most cards. The reader may
    /// give more or fewer bytes than were asked for.
    ///
    /// # Errors
    ///
    /// [`ContactlessError::Length`] if the length is 0 or more than 256.
    /// [`StatusMeaning::NotAuthenticated`](crate::contactless::StatusMeaning::NotAuthenticated) without the right key.
    pub fn read_binary(&mut self, address: u16, len: usize) -> Result<Vec<u8>> {
        let command = command::read_binary(address, len)?;
        self.send(Request::ReadBinary, &command)
    }

    /// Writes to an address, which is the number of a block with most cards.
    ///
    /// The last block of a sector of MIFARE Classic has its keys and what they allow: wrong
    /// bytes there lock the sector for ever.
    ///
    /// # Errors
    ///
    /// [`ContactlessError::Length`] if there is no data or more than 255 bytes.
    /// [`StatusMeaning::NotAuthenticated`](crate::contactless::StatusMeaning::NotAuthenticated) without the right key.
    pub fn update_binary(&mut self, address: u16, data: &[u8]) -> Result<()> {
        let command = command::update_binary(address, data)?;
        self.send(Request::UpdateBinary, &command).map(drop)
    }

    /// Adds to a value block. Few readers have this.
    ///
    /// # Errors
    ///
    /// [`StatusMeaning::Unsupported`](crate::contactless::StatusMeaning::Unsupported) where there is none.
    pub fn increment(&mut self, block: u8, by: u32) -> Result<()> {
        let command = command::increment(block, by)?;
        self.send(Request::ChangeValue, &command).map(drop)
    }

    /// Subtracts from a value block. Few readers have this.
    ///
    /// # Errors
    ///
    /// [`StatusMeaning::Unsupported`](crate::contactless::StatusMeaning::Unsupported) where there is none.
    pub fn decrement(&mut self, block: u8, by: u32) -> Result<()> {
        let command = command::decrement(block, by)?;
        self.send(Request::ChangeValue, &command).map(drop)
    }

    fn send(&mut self, request: Request, command: &Command) -> Result<Vec<u8>> {
        let bytes = command.to_bytes();
        let bytes = CommandBytes::marked(&bytes, command.is_secret());
        let checked = Status::check(request, self.card.send(bytes)?).map(<[u8]>::to_vec);
        match checked {
            Err(ContactlessError::Status(status)) if status.may_be_of_contact_card() => {
                Err(refused_by(self.card.atr(), status))
            }
            checked => checked,
        }
    }
}

impl<T: ?Sized> fmt::Debug for Contactless<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contactless").finish_non_exhaustive()
    }
}

/// Who has refused: a reader, or a card whose ATR is none that readers make up.
fn refused_by(atr: crate::error::Result<Atr>, status: Status) -> ContactlessError {
    match atr {
        Ok(atr) if atr.parse().contactless().is_none() => ContactlessError::ContactCard(status),
        _ => ContactlessError::Status(status),
    }
}

/// A [`Contactless`] card whose calls are futures. Needs the feature `async`.
///
/// Made by [`contactless`](AsyncTransmit::contactless). Each method does what the one of the same
/// name of [`Contactless`] does, and fails with the same errors.
///
/// # Cancel safety
///
/// That of [`AsyncTransmit`](AsyncTransmit#cancel-safety).
#[cfg(feature = "async")]
pub struct AsyncContactless<'a, T> {
    card: &'a mut T,
}

#[cfg(feature = "async")]
impl<'a, T: AsyncTransmit> AsyncContactless<'a, T> {
    pub(super) fn new(card: &'a mut T) -> AsyncContactless<'a, T> {
        AsyncContactless { card }
    }

    /// [`Contactless::uid`] as a future.
    pub async fn uid(&mut self) -> Result<Vec<u8>> {
        self.send(Request::GetData, &command::get_uid()?).await
    }

    /// [`Contactless::historical_bytes`] as a future.
    pub async fn historical_bytes(&mut self) -> Result<Vec<u8>> {
        self.send(Request::GetData, &command::get_historical_bytes()?)
            .await
    }

    /// [`Contactless::load_key`] as a future.
    pub async fn load_key(&mut self, place: KeyPlace, number: u8, key: &Key) -> Result<()> {
        let command = command::load_key(place, number, key)?;
        self.send(Request::LoadKeys, &command).await.map(drop)
    }

    /// [`Contactless::authenticate`] as a future.
    pub async fn authenticate(&mut self, address: u16, kind: KeyKind, number: u8) -> Result<()> {
        let command = command::authenticate(address, kind, number)?;
        self.send(Request::Authenticate, &command).await.map(drop)
    }

    /// [`Contactless::read_binary`] as a future.
    pub async fn read_binary(&mut self, address: u16, len: usize) -> Result<Vec<u8>> {
        let command = command::read_binary(address, len)?;
        self.send(Request::ReadBinary, &command).await
    }

    /// [`Contactless::update_binary`] as a future.
    pub async fn update_binary(&mut self, address: u16, data: &[u8]) -> Result<()> {
        let command = command::update_binary(address, data)?;
        self.send(Request::UpdateBinary, &command).await.map(drop)
    }

    /// [`Contactless::increment`] as a future.
    pub async fn increment(&mut self, block: u8, by: u32) -> Result<()> {
        let command = command::increment(block, by)?;
        self.send(Request::ChangeValue, &command).await.map(drop)
    }

    /// [`Contactless::decrement`] as a future.
    pub async fn decrement(&mut self, block: u8, by: u32) -> Result<()> {
        let command = command::decrement(block, by)?;
        self.send(Request::ChangeValue, &command).await.map(drop)
    }

    async fn send(&mut self, request: Request, command: &Command) -> Result<Vec<u8>> {
        let bytes = command.to_bytes();
        let bytes = CommandBytes::marked(&bytes, command.is_secret());
        let checked = Status::check(request, self.card.send(bytes).await?).map(<[u8]>::to_vec);
        match checked {
            Err(ContactlessError::Status(status)) if status.may_be_of_contact_card() => {
                Err(refused_by(self.card.atr().await, status))
            }
            checked => checked,
        }
    }
}

#[cfg(feature = "async")]
impl<T> fmt::Debug for AsyncContactless<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncContactless").finish_non_exhaustive()
    }
}
