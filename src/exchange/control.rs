//! Calls on readers, with or without a card.

#[cfg(feature = "async")]
use std::future::Future;

use super::forward::forward_control;
use crate::attributes::{AttributeError, TypedAttribute};
use crate::codes::ReturnCode;
use crate::error::{Error, ErrorKind, Operation, Refusal, Result};
use crate::features::{
    DisplayProperties, Feature, InvalidPinRequest, PinModification, PinPadAnswer, PinPadProperties,
    PinVerification, ReaderFeatures, ReaderProperties,
};
use crate::values::{Attribute, ControlCode, ReaderName};

/// Control codes and attributes of a reader, and the calls built on them: the reader's
/// [features](crate::features), its PIN pad, [typed attributes](crate::attributes).
///
/// [`Card`](crate::Card), [`Transaction`](crate::Transaction), [`SessionCard`](crate::SessionCard),
/// [`LogicalChannel`](crate::LogicalChannel) and [`Reader`](crate::Reader) implement this trait.
/// Its methods need `use scard::Control`; programs that only exchange commands with a card need no
/// import.
///
/// In a [`Session`](crate::Session), a control code counts as a command, because the driver may
/// send commands to the card.
///
/// ```no_run
/// use scard::features::Feature;
/// use scard::{Control, attributes};
///
/// fn describe(reader: &mut impl Control) -> Result<String, Box<dyn std::error::Error>> {
///     let vendor = reader.attribute_value(attributes::VENDOR_NAME)?;
///     let features = reader.features()?;
///     Ok(match features.has(Feature::VERIFY_PIN_DIRECT) {
///         true => format!("{vendor}, with a PIN pad"),
///         false => vendor,
///     })
/// }
/// # fn demo(mut card: scard::Card, mut reader: scard::Reader) {
/// let _ = (describe(&mut card), describe(&mut reader));
/// # }
/// ```
///
/// # Implementing `Control`
///
/// For a mock or a remote reader, [`reader_name`](Control::reader_name) is sufficient: by default,
/// the reader has no features and no attributes. For an example, see [`Transmit`](crate::Transmit).
pub trait Control {
    /// Returns the name of the reader.
    fn reader_name(&self) -> &ReaderName;

    /// Sends a control code and input to the reader's driver and returns its output.
    ///
    /// Corresponds to `SCardControl`. Waits while another program holds a transaction.
    ///
    /// # Errors
    ///
    /// 0x8010001F (pcsc-lite, macOS) or `SCARD_E_UNSUPPORTED_FEATURE` and system codes (Windows) if
    /// the driver does not know the code; `SCARD_E_SHARING_VIOLATION` while another program holds a
    /// transaction, if it [does not wait](crate::Card::set_wait_for_transactions) (pcsc-lite). The
    /// default implementation fails with [`ErrorKind::Unsupported`].
    #[doc(alias = "SCardControl")]
    fn control(&mut self, code: ControlCode, input: &[u8]) -> Result<Vec<u8>> {
        let _ = (code, input);
        Err(unsupported(Operation::Control, self.reader_name()))
    }

    /// Returns an attribute of the reader or the card, as the driver reports it.
    ///
    /// Corresponds to `SCardGetAttrib`. Waits while another program holds a transaction.
    ///
    /// # Errors
    ///
    /// 0x8010001F (pcsc-lite, macOS) or `SCARD_E_UNSUPPORTED_FEATURE` and system codes (Windows) if
    /// the driver does not know the attribute; `SCARD_E_SHARING_VIOLATION` while another program
    /// holds a transaction, if it [does not wait](crate::Card::set_wait_for_transactions)
    /// (pcsc-lite). The default implementation fails with [`ErrorKind::Unsupported`].
    #[doc(alias = "SCardGetAttrib")]
    fn attribute(&mut self, attribute: Attribute) -> Result<Vec<u8>> {
        let _ = attribute;
        Err(unsupported(Operation::GetAttribute, self.reader_name()))
    }

    /// Sets an attribute of the reader or the card.
    ///
    /// Corresponds to `SCardSetAttrib`. Waits while another program holds a transaction.
    ///
    /// # Errors
    ///
    /// Those of [`attribute`](Control::attribute).
    #[doc(alias = "SCardSetAttrib")]
    fn set_attribute(&mut self, attribute: Attribute, value: &[u8]) -> Result<()> {
        let _ = (attribute, value);
        Err(unsupported(Operation::SetAttribute, self.reader_name()))
    }

    /// Like [`control`](Control::control), while no other program can use the card. PIN entry uses
    /// it.
    ///
    /// A [`Card`](crate::Card) begins a transaction for this. All other implementors are in a
    /// transaction already or cannot have one, and simply call [`control`](Control::control).
    ///
    /// # Errors
    ///
    /// Those of [`Card::transaction`](crate::Card::transaction) and
    /// [`control`](Control::control).
    fn control_exclusively(&mut self, code: ControlCode, input: &[u8]) -> Result<Vec<u8>> {
        self.control(code, input)
    }

    /// Returns the value of a typed attribute; see [`attributes`](crate::attributes).
    ///
    /// Corresponds to `SCardGetAttrib`.
    ///
    /// # Errors
    ///
    /// [`AttributeError::Call`] with the errors of [`attribute`](Control::attribute);
    /// [`AttributeError::Value`] if the driver's bytes are not a valid value.
    #[doc(alias = "SCardGetAttrib")]
    fn attribute_value<T>(&mut self, attribute: TypedAttribute<T>) -> Result<T, AttributeError>
    where
        Self: Sized,
    {
        attribute.of_answer(self.attribute(attribute.attribute()))
    }

    /// Returns the features of the reader; see [`features`](crate::features).
    ///
    /// Corresponds to `SCardControl` with `CM_IOCTL_GET_FEATURE_REQUEST`. A driver that does not
    /// know this code has no features. Some drivers answer unknown codes with
    /// `SCARD_E_NOT_TRANSACTED`, which is treated the same.
    ///
    /// # Errors
    ///
    /// Those of [`control`](Control::control), except
    /// [`ErrorKind::Unsupported`] and `SCARD_E_NOT_TRANSACTED`.
    #[doc(alias = "CM_IOCTL_GET_FEATURE_REQUEST")]
    fn features(&mut self) -> Result<ReaderFeatures> {
        features_of(self.control(ControlCode::GET_FEATURE_REQUEST, &[]))
    }

    /// Returns the properties of the reader; empty if it lacks
    /// [`FEATURE_GET_TLV_PROPERTIES`](Feature::GET_TLV_PROPERTIES).
    ///
    /// Corresponds to `SCardControl`.
    ///
    /// # Errors
    ///
    /// Those of [`control`](Control::control).
    #[doc(alias = "FEATURE_GET_TLV_PROPERTIES")]
    fn reader_properties(&mut self, features: &ReaderFeatures) -> Result<ReaderProperties> {
        match features.control_code(Feature::GET_TLV_PROPERTIES) {
            None => Ok(ReaderProperties::default()),
            Some(code) => Ok(ReaderProperties::from_bytes(&self.control(code, &[])?)),
        }
    }

    /// Returns the properties of the PIN pad; `None` if the reader lacks
    /// [`FEATURE_IFD_PIN_PROPERTIES`](Feature::IFD_PIN_PROPERTIES) or its answer is too short.
    ///
    /// Corresponds to `SCardControl`.
    ///
    /// # Errors
    ///
    /// Those of [`control`](Control::control).
    #[doc(alias = "FEATURE_IFD_PIN_PROPERTIES")]
    fn pin_pad_properties(
        &mut self,
        features: &ReaderFeatures,
    ) -> Result<Option<PinPadProperties>> {
        match features.control_code(Feature::IFD_PIN_PROPERTIES) {
            None => Ok(None),
            Some(code) => Ok(PinPadProperties::from_bytes(&self.control(code, &[])?)),
        }
    }

    /// Returns the size of the reader's display; `None` if the reader lacks
    /// [`FEATURE_IFD_DISPLAY_PROPERTIES`](Feature::IFD_DISPLAY_PROPERTIES) or its answer is too
    /// short.
    ///
    /// Corresponds to `SCardControl`.
    ///
    /// # Errors
    ///
    /// Those of [`control`](Control::control).
    #[doc(alias = "FEATURE_IFD_DISPLAY_PROPERTIES")]
    fn display_properties(
        &mut self,
        features: &ReaderFeatures,
    ) -> Result<Option<DisplayProperties>> {
        match features.control_code(Feature::IFD_DISPLAY_PROPERTIES) {
            None => Ok(None),
            Some(code) => Ok(DisplayProperties::from_bytes(&self.control(code, &[])?)),
        }
    }

    /// Ends a PIN entry that was begun with
    /// [`FEATURE_VERIFY_PIN_START`](Feature::VERIFY_PIN_START) or
    /// [`FEATURE_MODIFY_PIN_START`](Feature::MODIFY_PIN_START).
    ///
    /// Corresponds to `SCardControl`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`], with nothing sent, if the
    /// reader lacks [`FEATURE_ABORT`](Feature::ABORT); otherwise those of
    /// [`control`](Control::control).
    #[doc(alias = "FEATURE_ABORT")]
    fn abort_pin_entry(&mut self, features: &ReaderFeatures) -> Result<()> {
        let code = code_of(features, Feature::ABORT, self.reader_name())?;
        self.control(code, &[]).map(drop)
    }

    /// Lets the user enter a PIN at the reader, and the card verify it. The program does not see
    /// the PIN.
    ///
    /// Corresponds to `SCardControl` with
    /// [`FEATURE_VERIFY_PIN_DIRECT`](Feature::VERIFY_PIN_DIRECT). It takes as long as the user
    /// does; see [PIN pads and time](crate::features#pin-pads-and-time).
    ///
    /// Runs [exclusively](Control::control_exclusively): no other program can use the card
    /// meanwhile, and the user is not asked for the PIN of a card that was reset or swapped.
    /// Commands that need the PIN belong in the same transaction: begin a
    /// [`Transaction`](crate::Transaction) first and call its `verify_pin`.
    ///
    /// With [direct access](crate::Reader) there are no transactions, and another connection must
    /// have powered up the card and negotiated its protocol; otherwise, the answer depends on the
    /// reader.
    ///
    /// # Errors
    ///
    /// A wrong PIN and a cancelled entry are [not errors](PinPadAnswer::outcome).
    ///
    /// [`ErrorKind::Unsupported`] if the reader lacks the
    /// feature, and [`ErrorKind::InvalidArgument`] if the
    /// request cannot be encoded; nothing is sent then. Otherwise those of
    /// [`Card::transaction`](crate::Card::transaction) and
    /// [`control`](Control::control).
    #[doc(alias = "FEATURE_VERIFY_PIN_DIRECT")]
    fn verify_pin(
        &mut self,
        features: &ReaderFeatures,
        request: &PinVerification,
    ) -> Result<PinPadAnswer> {
        let code = code_of(features, Feature::VERIFY_PIN_DIRECT, self.reader_name())?;
        let request = encoded(request.to_bytes(), self.reader_name())?;
        let answer = self.control_exclusively(code, &request)?;
        Ok(PinPadAnswer::from_bytes(answer))
    }

    /// Lets the user enter PINs at the reader, and the card change its PIN. The program does not
    /// see the PINs.
    ///
    /// Corresponds to `SCardControl` with
    /// [`FEATURE_MODIFY_PIN_DIRECT`](Feature::MODIFY_PIN_DIRECT), and runs like
    /// [`verify_pin`](Control::verify_pin).
    ///
    /// # Errors
    ///
    /// Those of [`verify_pin`](Control::verify_pin).
    #[doc(alias = "FEATURE_MODIFY_PIN_DIRECT")]
    fn modify_pin(
        &mut self,
        features: &ReaderFeatures,
        request: &PinModification,
    ) -> Result<PinPadAnswer> {
        let code = code_of(features, Feature::MODIFY_PIN_DIRECT, self.reader_name())?;
        let request = encoded(request.to_bytes(), self.reader_name())?;
        let answer = self.control_exclusively(code, &request)?;
        Ok(PinPadAnswer::from_bytes(answer))
    }
}

/// Forwards to the card or reader.
impl<T: Control + ?Sized> Control for &mut T {
    forward_control!(self => (**self));
}

impl<T: Control + ?Sized> Control for Box<T> {
    forward_control!(self => (**self));
}

/// [`Control`] with futures. Requires the feature `async`.
///
/// [`AsyncCard`](crate::AsyncCard), [`AsyncTransaction`](crate::AsyncTransaction),
/// [`AsyncLogicalChannel`](crate::AsyncLogicalChannel) and [`AsyncReader`](crate::AsyncReader)
/// implement this trait. Each method corresponds to the [`Control`] method of the same name, and
/// fails with the same errors.
///
/// # Cancel safety
///
/// [Dropping a future](crate::AsyncCard#dropping-a-future) abandons the card or reader.
#[cfg(feature = "async")]
pub trait AsyncControl: Send {
    /// Returns the name of the reader.
    fn reader_name(&self) -> &ReaderName;

    /// [`Control::control`] as a future.
    #[doc(alias = "SCardControl")]
    fn control(
        &mut self,
        code: ControlCode,
        input: &[u8],
    ) -> impl Future<Output = Result<Vec<u8>>> + Send {
        let _ = (code, input);
        async move { Err(unsupported(Operation::Control, self.reader_name())) }
    }

    /// [`Control::attribute`] as a future.
    #[doc(alias = "SCardGetAttrib")]
    fn attribute(&mut self, attribute: Attribute) -> impl Future<Output = Result<Vec<u8>>> + Send {
        let _ = attribute;
        async move { Err(unsupported(Operation::GetAttribute, self.reader_name())) }
    }

    /// [`Control::set_attribute`] as a future.
    #[doc(alias = "SCardSetAttrib")]
    fn set_attribute(
        &mut self,
        attribute: Attribute,
        value: &[u8],
    ) -> impl Future<Output = Result<()>> + Send {
        let _ = (attribute, value);
        async move { Err(unsupported(Operation::SetAttribute, self.reader_name())) }
    }

    /// [`Control::control_exclusively`] as a future.
    fn control_exclusively(
        &mut self,
        code: ControlCode,
        input: &[u8],
    ) -> impl Future<Output = Result<Vec<u8>>> + Send {
        self.control(code, input)
    }

    /// [`Control::attribute_value`] as a future.
    #[doc(alias = "SCardGetAttrib")]
    fn attribute_value<T>(
        &mut self,
        attribute: TypedAttribute<T>,
    ) -> impl Future<Output = Result<T, AttributeError>> + Send {
        async move { attribute.of_answer(self.attribute(attribute.attribute()).await) }
    }

    /// [`Control::features`] as a future.
    #[doc(alias = "CM_IOCTL_GET_FEATURE_REQUEST")]
    fn features(&mut self) -> impl Future<Output = Result<ReaderFeatures>> + Send {
        async move { features_of(self.control(ControlCode::GET_FEATURE_REQUEST, &[]).await) }
    }

    /// [`Control::reader_properties`] as a future.
    #[doc(alias = "FEATURE_GET_TLV_PROPERTIES")]
    fn reader_properties(
        &mut self,
        features: &ReaderFeatures,
    ) -> impl Future<Output = Result<ReaderProperties>> + Send {
        async move {
            match features.control_code(Feature::GET_TLV_PROPERTIES) {
                None => Ok(ReaderProperties::default()),
                Some(code) => Ok(ReaderProperties::from_bytes(
                    &self.control(code, &[]).await?,
                )),
            }
        }
    }

    /// [`Control::pin_pad_properties`] as a future.
    #[doc(alias = "FEATURE_IFD_PIN_PROPERTIES")]
    fn pin_pad_properties(
        &mut self,
        features: &ReaderFeatures,
    ) -> impl Future<Output = Result<Option<PinPadProperties>>> + Send {
        async move {
            match features.control_code(Feature::IFD_PIN_PROPERTIES) {
                None => Ok(None),
                Some(code) => Ok(PinPadProperties::from_bytes(
                    &self.control(code, &[]).await?,
                )),
            }
        }
    }

    /// [`Control::display_properties`] as a future.
    #[doc(alias = "FEATURE_IFD_DISPLAY_PROPERTIES")]
    fn display_properties(
        &mut self,
        features: &ReaderFeatures,
    ) -> impl Future<Output = Result<Option<DisplayProperties>>> + Send {
        async move {
            match features.control_code(Feature::IFD_DISPLAY_PROPERTIES) {
                None => Ok(None),
                Some(code) => Ok(DisplayProperties::from_bytes(
                    &self.control(code, &[]).await?,
                )),
            }
        }
    }

    /// [`Control::abort_pin_entry`] as a future.
    #[doc(alias = "FEATURE_ABORT")]
    fn abort_pin_entry(
        &mut self,
        features: &ReaderFeatures,
    ) -> impl Future<Output = Result<()>> + Send {
        async move {
            let code = code_of(features, Feature::ABORT, self.reader_name())?;
            self.control(code, &[]).await.map(drop)
        }
    }

    /// [`Control::verify_pin`] as a future.
    #[doc(alias = "FEATURE_VERIFY_PIN_DIRECT")]
    fn verify_pin(
        &mut self,
        features: &ReaderFeatures,
        request: &PinVerification,
    ) -> impl Future<Output = Result<PinPadAnswer>> + Send {
        async move {
            let code = code_of(features, Feature::VERIFY_PIN_DIRECT, self.reader_name())?;
            let request = encoded(request.to_bytes(), self.reader_name())?;
            let answer = self.control_exclusively(code, &request).await?;
            Ok(PinPadAnswer::from_bytes(answer))
        }
    }

    /// [`Control::modify_pin`] as a future.
    #[doc(alias = "FEATURE_MODIFY_PIN_DIRECT")]
    fn modify_pin(
        &mut self,
        features: &ReaderFeatures,
        request: &PinModification,
    ) -> impl Future<Output = Result<PinPadAnswer>> + Send {
        async move {
            let code = code_of(features, Feature::MODIFY_PIN_DIRECT, self.reader_name())?;
            let request = encoded(request.to_bytes(), self.reader_name())?;
            let answer = self.control_exclusively(code, &request).await?;
            Ok(PinPadAnswer::from_bytes(answer))
        }
    }
}

#[cfg(feature = "async")]
impl<T: AsyncControl> AsyncControl for &mut T {
    forward_control!(async self => (**self));
}

#[cold]
fn unsupported(operation: Operation, reader_name: &ReaderName) -> Error {
    Error::refused(operation, reader_name, Refusal::NO_FEATURE)
}

/// A driver that does not know the query has no features. Not every driver has a separate code for
/// that.
fn features_of(answer: Result<Vec<u8>>) -> Result<ReaderFeatures> {
    let is_unknown = |error: &Error| match error.kind() {
        ErrorKind::Unsupported => true,
        ErrorKind::Communication => error.code() == ReturnCode::E_NOT_TRANSACTED,
        _ => false,
    };
    match answer {
        Ok(answer) => Ok(ReaderFeatures::from_bytes(&answer)),
        Err(error) if is_unknown(&error) => Ok(ReaderFeatures::default()),
        Err(error) => Err(error),
    }
}

fn code_of(
    features: &ReaderFeatures,
    feature: Feature,
    reader_name: &ReaderName,
) -> Result<ControlCode> {
    let code = features.control_code(feature);
    code.ok_or_else(|| unsupported(Operation::Control, reader_name))
}

fn encoded(
    request: Result<Vec<u8>, InvalidPinRequest>,
    reader_name: &ReaderName,
) -> Result<Vec<u8>> {
    request.map_err(|invalid| {
        let refusal = Refusal::argument(invalid.description());
        Error::refused(Operation::Control, reader_name, refusal)
    })
}
