//! The calls, on all that have control codes.

#[cfg(feature = "async")]
use crate::asynchronous::{AsyncCard, AsyncReader, AsyncTransaction};
use crate::card::{Card, Reader, Transaction};
use crate::error::{Error, ErrorKind, Operation, Refusal, Result};
use crate::features::Feature;
use crate::features::PinModification;
use crate::features::PinPadAnswer;
use crate::features::PinVerification;
use crate::features::ReaderFeatures;
use crate::features::ReaderProperties;
use crate::features::{DisplayProperties, PinPadProperties};
use crate::session::SessionCard;
use crate::values::{ControlCode, ReaderName};

/// A driver that does not know the question knows no features.
fn features_of(answer: Result<Vec<u8>>) -> Result<ReaderFeatures> {
    match answer {
        Ok(answer) => Ok(ReaderFeatures::from_bytes(&answer)),
        Err(error) if error.kind() == ErrorKind::Unsupported => Ok(ReaderFeatures::default()),
        Err(error) => Err(error),
    }
}

fn control_code(
    features: &ReaderFeatures,
    feature: Feature,
    reader: &ReaderName,
) -> Result<ControlCode> {
    let refuse = || Error::refused(Operation::Control, reader, Refusal::NO_FEATURE);
    features.control_code(feature).ok_or_else(refuse)
}

/// A request as its bytes.
macro_rules! bytes {
    ($request:expr, $reader:expr) => {
        $request.to_bytes().map_err(|invalid| {
            let refusal = Refusal::argument(invalid.description());
            Error::refused(Operation::Control, $reader, refusal)
        })
    };
}

/// What every handle can ask of its reader. `$name` gives the reader's name.
macro_rules! calls {
    ($(#[$gate:meta])* $type:ty, $name:ident, [$($async:tt)?], [$($await:tt)*], $cancel:literal) => {
        $(#[$gate])*
        impl $type {
            /// The features that the reader has: [`features`](crate::features).
            ///
            /// Corresponds to `SCardControl` with `CM_IOCTL_GET_FEATURE_REQUEST`. A driver that
            /// does not know that has no features; some drivers answer with
            /// `SCARD_E_NOT_TRANSACTED` to what they do not know, and that is an error.
            ///
            /// # Errors
            ///
            /// Those of [`Card::control`](crate::Card::control), but for
            /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported).
            #[doc = $cancel]
            #[doc(alias = "CM_IOCTL_GET_FEATURE_REQUEST")]
            pub $($async)? fn features(&mut self) -> Result<ReaderFeatures> {
                features_of(self.control(ControlCode::GET_FEATURE_REQUEST, &[])$($await)*)
            }

            /// The properties of the reader; none if it does not have
            /// [`FEATURE_GET_TLV_PROPERTIES`](Feature::GET_TLV_PROPERTIES).
            ///
            /// Corresponds to `SCardControl`.
            ///
            /// # Errors
            ///
            /// Those of [`Card::control`](crate::Card::control).
            #[doc = $cancel]
            #[doc(alias = "FEATURE_GET_TLV_PROPERTIES")]
            pub $($async)? fn reader_properties(
                &mut self,
                features: &ReaderFeatures,
            ) -> Result<ReaderProperties> {
                match features.control_code(Feature::GET_TLV_PROPERTIES) {
                    None => Ok(ReaderProperties::default()),
                    Some(code) => {
                        let answer = self.control(code, &[])$($await)*?;
                        Ok(ReaderProperties::from_bytes(&answer))
                    }
                }
            }

            /// The properties of the PIN pad; `None` if the reader does not have
            /// [`FEATURE_IFD_PIN_PROPERTIES`](Feature::IFD_PIN_PROPERTIES) or answers with too
            /// little.
            ///
            /// Corresponds to `SCardControl`.
            ///
            /// # Errors
            ///
            /// Those of [`Card::control`](crate::Card::control).
            #[doc = $cancel]
            #[doc(alias = "FEATURE_IFD_PIN_PROPERTIES")]
            pub $($async)? fn pin_pad_properties(
                &mut self,
                features: &ReaderFeatures,
            ) -> Result<Option<PinPadProperties>> {
                match features.control_code(Feature::IFD_PIN_PROPERTIES) {
                    None => Ok(None),
                    Some(code) => {
                        let answer = self.control(code, &[])$($await)*?;
                        Ok(PinPadProperties::from_bytes(&answer))
                    }
                }
            }

            /// The size of the reader's display; `None` if the reader does not have
            /// [`FEATURE_IFD_DISPLAY_PROPERTIES`](Feature::IFD_DISPLAY_PROPERTIES) or answers
            /// with too little.
            ///
            /// Corresponds to `SCardControl`.
            ///
            /// # Errors
            ///
            /// Those of [`Card::control`](crate::Card::control).
            #[doc = $cancel]
            #[doc(alias = "FEATURE_IFD_DISPLAY_PROPERTIES")]
            pub $($async)? fn display_properties(
                &mut self,
                features: &ReaderFeatures,
            ) -> Result<Option<DisplayProperties>> {
                match features.control_code(Feature::IFD_DISPLAY_PROPERTIES) {
                    None => Ok(None),
                    Some(code) => {
                        let answer = self.control(code, &[])$($await)*?;
                        Ok(DisplayProperties::from_bytes(&answer))
                    }
                }
            }

            /// Ends the entry of a PIN that was begun with
            /// [`FEATURE_VERIFY_PIN_START`](Feature::VERIFY_PIN_START) or
            /// [`FEATURE_MODIFY_PIN_START`](Feature::MODIFY_PIN_START).
            ///
            /// Corresponds to `SCardControl`.
            ///
            /// # Errors
            ///
            /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported), with nothing sent, if
            /// the reader does not have [`FEATURE_ABORT`](Feature::ABORT); otherwise those of
            /// [`Card::control`](crate::Card::control).
            #[doc = $cancel]
            #[doc(alias = "FEATURE_ABORT")]
            pub $($async)? fn abort_pin_entry(&mut self, features: &ReaderFeatures) -> Result<()> {
                let code = control_code(features, Feature::ABORT, self.$name())?;
                self.control(code, &[])$($await)*.map(drop)
            }

            /// Has the user enter a PIN at the reader, and the card verify it. The program does
            /// not see the PIN.
            ///
            /// Corresponds to `SCardControl` with
            /// [`FEATURE_VERIFY_PIN_DIRECT`](Feature::VERIFY_PIN_DIRECT). It takes as long as
            /// the user: [PIN pads and time](crate::features#pin-pads-and-time).
            ///
            /// On a [`Card`] that is done in a transaction of its own: nobody else gets at the
            /// card meanwhile, and nobody is asked for a PIN for a card that was reset or
            /// exchanged. What the PIN is needed for belongs into the same transaction: begin
            /// it first, and call its own `verify_pin`.
            ///
            /// With [direct access](Reader) to a reader there is none, and somebody else has to
            /// have powered the card and agreed a protocol with it; what the reader answers
            /// otherwise is up to it.
            ///
            /// # Errors
            ///
            /// A wrong PIN and a user who presses "cancel" are [no
            /// errors](PinPadAnswer::outcome).
            ///
            /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if the reader does not
            /// have the feature, and
            /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) if the request
            /// cannot be put into bytes; nothing is sent then. Otherwise those of
            /// [`Card::transaction`](crate::Card::transaction) and
            /// [`Card::control`](crate::Card::control).
            #[doc = $cancel]
            #[doc(alias = "FEATURE_VERIFY_PIN_DIRECT")]
            pub $($async)? fn verify_pin(
                &mut self,
                features: &ReaderFeatures,
                request: &PinVerification,
            ) -> Result<PinPadAnswer> {
                let reader = self.$name();
                let code = control_code(features, Feature::VERIFY_PIN_DIRECT, reader)?;
                let request = bytes!(request, reader)?;
                #[allow(unused_mut)]
                let mut entry = self.pin_entry()$($await)*?;
                let answer = entry.control(code, &request)$($await)*?;
                Ok(PinPadAnswer::from_bytes(answer))
            }

            /// Has the user enter PINs at the reader, and the card change its own. The program
            /// does not see the PINs.
            ///
            /// Corresponds to `SCardControl` with
            /// [`FEATURE_MODIFY_PIN_DIRECT`](Feature::MODIFY_PIN_DIRECT). It takes as long as
            /// the user: [PIN pads and time](crate::features#pin-pads-and-time).
            ///
            /// # Errors
            ///
            /// Those of `verify_pin`.
            #[doc = $cancel]
            #[doc(alias = "FEATURE_MODIFY_PIN_DIRECT")]
            pub $($async)? fn modify_pin(
                &mut self,
                features: &ReaderFeatures,
                request: &PinModification,
            ) -> Result<PinPadAnswer> {
                let reader = self.$name();
                let code = control_code(features, Feature::MODIFY_PIN_DIRECT, reader)?;
                let request = bytes!(request, reader)?;
                #[allow(unused_mut)]
                let mut entry = self.pin_entry()$($await)*?;
                let answer = entry.control(code, &request)$($await)*?;
                Ok(PinPadAnswer::from_bytes(answer))
            }
        }
    };
}

/// What the entry of a PIN goes over. A control code is for the reader: pcsc-lite passes it on
/// whatever has happened to the card, but begins no transaction then.
impl Card {
    fn pin_entry(&mut self) -> Result<Transaction<'_>> {
        self.transaction()
    }
}

#[cfg(feature = "async")]
impl AsyncCard {
    async fn pin_entry(&mut self) -> Result<AsyncTransaction<'_>> {
        self.transaction().await
    }
}

/// What is in a transaction already, or cannot be in one.
macro_rules! entry_by_itself {
    ($(#[$gate:meta])* $type:ty, [$($async:tt)?]) => {
        $(#[$gate])*
        impl $type {
            $($async)? fn pin_entry(&mut self) -> Result<&mut Self> {
                Ok(self)
            }
        }
    };
}

entry_by_itself!(Transaction<'_>, []);
entry_by_itself!(SessionCard<'_>, []);
entry_by_itself!(Reader, []);
entry_by_itself!(
    #[cfg(feature = "async")]
    AsyncTransaction<'_>,
    [async]
);
entry_by_itself!(
    #[cfg(feature = "async")]
    AsyncReader,
    [async]
);

calls!(Card, reader, [], [], "");
calls!(Transaction<'_>, reader, [], [], "");
calls!(SessionCard<'_>, reader, [], [], "");
calls!(Reader, name, [], [], "");
calls!(
    #[cfg(feature = "async")]
    AsyncCard,
    reader,
    [async],
    [.await],
    "# Cancel safety\n\n[Dropping the future](AsyncCard#dropping-a-future) abandons the card."
);
calls!(
    #[cfg(feature = "async")]
    AsyncTransaction<'_>,
    reader,
    [async],
    [.await],
    "# Cancel safety\n\n[Dropping the future](AsyncCard#dropping-a-future) abandons the card."
);
calls!(
    #[cfg(feature = "async")]
    AsyncReader,
    name,
    [async],
    [.await],
    "# Cancel safety\n\n[Dropping the future](AsyncCard#dropping-a-future) abandons the reader."
);
