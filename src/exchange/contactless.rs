//! Commands for contactless cards.

use std::fmt;

#[cfg(feature = "async")]
use super::AsyncTransmit;
use super::transmit::Transmit;
use crate::apdu::{Command, CommandBytes};
use crate::contactless::command;
use crate::contactless::{ContactlessError, Key, KeyKind, KeyPlace, Request, Status};
use crate::values::Atr;

type Result<T, E = ContactlessError> = std::result::Result<T, E>;

/// A contactless card; see [`contactless`](crate::contactless).
///
/// Created by [`Transmit::contactless`].
pub struct Contactless<'a, T: ?Sized> {
    card: &'a mut T,
}

impl<'a, T: Transmit + ?Sized> Contactless<'a, T> {
    /// Like [`Transmit::contactless`], but also accepts a `dyn Transmit`.
    pub fn new(card: &'a mut T) -> Contactless<'a, T> {
        Contactless { card }
    }

    /// Returns the UID of the card: 4, 7 or 10 bytes for ISO 14443 A, 4 for B, 8 for ISO 15693 and
    /// FeliCa.
    ///
    /// A UID proves nothing: cards and phones can have any UID, and some use a new one each time.
    ///
    /// # Errors
    ///
    /// [`StatusMeaning::Unsupported`](crate::contactless::StatusMeaning::Unsupported) if the card
    /// has no UID; [`ContactlessError::ContactCard`] if the card has contacts and its reader passed
    /// on the command; [`ContactlessError::NoData`] if the reader answers without data.
    pub fn uid(&mut self) -> Result<Vec<u8>> {
        self.send(Request::GetData, &command::get_uid()?)
    }

    /// Returns the historical bytes of the ATS, which ISO 14443-4 A cards have.
    ///
    /// # Errors
    ///
    /// Those of [`uid`](Contactless::uid).
    pub fn historical_bytes(&mut self) -> Result<Vec<u8>> {
        self.send(Request::GetData, &command::get_historical_bytes()?)
    }

    /// Loads a key into the reader under a number, for [`authenticate`](Contactless::authenticate).
    /// Sends nothing to the card.
    ///
    /// All programs can use the key until it is replaced or, with [`KeyPlace::Volatile`], the
    /// reader loses power.
    ///
    /// # Errors
    ///
    /// [`ContactlessError::Length`] if the key is empty or longer than 255 bytes. Status words
    /// report what the reader does not support.
    pub fn load_key(&mut self, place: KeyPlace, number: u8, key: &Key) -> Result<()> {
        let command = command::load_key(place, number, key)?;
        self.send(Request::LoadKeys, &command).map(drop)
    }

    /// Authenticates to a block with the key that was loaded under this number. For MIFARE Classic,
    /// this covers all blocks of the sector, until the next authentication.
    ///
    /// # Errors
    ///
    /// [`StatusMeaning::Failed`](crate::contactless::StatusMeaning::Failed) or
    /// [`StatusMeaning::NotAuthenticated`](crate::contactless::StatusMeaning::NotAuthenticated)
    /// with a wrong key, depending on the reader.
    pub fn authenticate(&mut self, address: u16, kind: KeyKind, number: u8) -> Result<()> {
        let command = command::authenticate(address, kind, number)?;
        self.send(Request::Authenticate, &command).map(drop)
    }

    /// Reads from an address, which is a block number for most cards. The reader may return more or
    /// fewer bytes than requested.
    ///
    /// # Errors
    ///
    /// [`ContactlessError::Length`] if the length is 0 or more than 256.
    /// [`StatusMeaning::NotAuthenticated`](crate::contactless::StatusMeaning::NotAuthenticated)
    /// without the right key.
    pub fn read_binary(&mut self, address: u16, len: usize) -> Result<Vec<u8>> {
        let command = command::read_binary(address, len)?;
        self.send(Request::ReadBinary, &command)
    }

    /// Writes to an address, which is a block number for most cards.
    ///
    /// The last block of a MIFARE Classic sector contains its keys and access conditions: wrong
    /// bytes there lock the sector for ever.
    ///
    /// # Errors
    ///
    /// [`ContactlessError::Length`] if there is no data or more than 255 bytes.
    /// [`StatusMeaning::NotAuthenticated`](crate::contactless::StatusMeaning::NotAuthenticated)
    /// without the right key.
    pub fn update_binary(&mut self, address: u16, data: &[u8]) -> Result<()> {
        let command = command::update_binary(address, data)?;
        self.send(Request::UpdateBinary, &command).map(drop)
    }

    /// Adds to a value block. Few readers support this.
    ///
    /// # Errors
    ///
    /// [`StatusMeaning::Unsupported`](crate::contactless::StatusMeaning::Unsupported) if the reader
    /// does not support it.
    pub fn increment(&mut self, block: u8, by: u32) -> Result<()> {
        let command = command::increment(block, by)?;
        self.send(Request::ChangeValue, &command).map(drop)
    }

    /// Subtracts from a value block. Few readers support this.
    ///
    /// # Errors
    ///
    /// [`StatusMeaning::Unsupported`](crate::contactless::StatusMeaning::Unsupported) if the reader
    /// does not support it.
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

/// Returns the origin of a refusal: the reader, or a card whose ATR was not made up by a reader.
fn refused_by(atr: crate::error::Result<Atr>, status: Status) -> ContactlessError {
    match atr {
        Ok(atr) if atr.parse().contactless().is_none() => ContactlessError::ContactCard(status),
        _ => ContactlessError::Status(status),
    }
}

/// A [`Contactless`] card whose calls are futures. Requires the feature `async`.
///
/// Created by [`AsyncTransmit::contactless`]. Each method corresponds to the [`Contactless`] method
/// of the same name, and fails with the same errors.
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
